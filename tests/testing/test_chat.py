from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import telebot
from telebot import TeleBot, apihelper, types, util

from support.chats import Terminal, talk
from telesession import (
    MemoryStorage,
    Session,
    Sessions,
    SQLiteStorage,
    ask,
    use_questions,
    with_session,
)
from telesession.testing import OFFLINE_TOKEN, RecordingExceptionHandler, chat, run
from telesession.testing.terminal.keyboards import draw_markup, labels

ROOT = Path(__file__).parents[2]
SOURCE = Path(__file__).read_text().splitlines()

PROGRAM = """
import os
from telebot import TeleBot
from telesession.testing import OFFLINE_TOKEN, run

bot = TeleBot(os.environ.get("BOT_TOKEN", OFFLINE_TOKEN))

@bot.message_handler()
def shout(message):
    bot.reply_to(message, message.text.upper())

if __name__ == "__main__":
    run(bot)
"""


class LateTerminal(Terminal):
    """A terminal whose user waits for something at the end."""

    def __init__(self, text: str, wait: Callable[[], object]) -> None:
        super().__init__(text)
        self._wait = wait

    def readline(self, size: int = -1, /) -> str:
        line = super().readline(size)
        if not line:
            self._wait()
        return line


class RaisingHandler(telebot.ExceptionHandler):
    def handle(self, exception: Exception) -> bool:
        raise RuntimeError("no log")


class InterruptedTerminal(io.StringIO):
    def readline(self, size: int = -1, /) -> str:
        if line := super().readline(size):
            return line
        raise KeyboardInterrupt


@pytest.fixture(params=[True, False], ids=["threaded", "unthreaded"])
def bot(request: pytest.FixtureRequest) -> Any:
    bot: Any = TeleBot(OFFLINE_TOKEN, threaded=request.param)

    @bot.message_handler(commands=["menu"])
    def menu(message: Any) -> None:
        markup = types.InlineKeyboardMarkup()
        buttons = [("Yes", "1"), ("No", "nay"), ("2", "two")]
        markup.add(*(types.InlineKeyboardButton(a, callback_data=b) for a, b in buttons))
        markup.add(types.InlineKeyboardButton("Docs", url="https://example.org"))
        bot.send_message(message.chat.id, "sure?", reply_markup=markup)

    @bot.message_handler(commands=["ask"])
    def ask(message: Any) -> None:
        markup = types.ReplyKeyboardMarkup()
        markup.add("A", "B")
        markup.add("C")
        bot.send_message(message.chat.id, "which?", reply_markup=markup)

    add_keyboards(bot)

    @bot.message_handler(commands=["photo"])
    def photo(message: Any) -> None:
        bot.send_photo(message.chat.id, "id")
        bot.send_photo(message.chat.id, "id", caption="nice")

    add_talk(bot)
    return bot


def add_keyboards(bot: Any) -> None:
    @bot.message_handler(commands=["wide"])
    def wide(message: Any) -> None:
        labels = [f"button number {number}" for number in range(9)]
        reply = types.ReplyKeyboardMarkup(row_width=9)
        reply.add(*labels)
        bot.send_message(message.chat.id, "which?", reply_markup=reply)
        inline = types.InlineKeyboardMarkup(row_width=8)
        inline.add(*(types.InlineKeyboardButton(label, callback_data=label) for label in labels))
        bot.send_message(message.chat.id, "which?", reply_markup=inline)

    @bot.message_handler(commands=["emoji"])
    def emoji(message: Any) -> None:
        markup = types.ReplyKeyboardMarkup(row_width=1)
        markup.add("🍕", "ok")
        bot.send_message(message.chat.id, "which?", reply_markup=markup)

    add_reply_keyboards(bot)


def add_reply_keyboards(bot: Any) -> None:
    @bot.message_handler(commands=["remove"])
    def remove(message: Any) -> None:
        bot.send_message(message.chat.id, "gone", reply_markup=types.ReplyKeyboardRemove())

    @bot.message_handler(commands=["force"])
    def force(message: Any) -> None:
        bot.send_message(message.chat.id, "name?", reply_markup=types.ForceReply())

    @bot.message_handler(func=lambda message: message.reply_to_message is not None)
    def take_reply(message: Any) -> None:
        bot.send_message(message.chat.id, f"reply to {message.reply_to_message.text}")

    @bot.message_handler(commands=["ignore"])
    def ignore(message: Any) -> None:
        pass

    @bot.message_handler(commands=["hush"])
    def hush(message: Any) -> None:
        markup = types.InlineKeyboardMarkup()
        markup.add(types.InlineKeyboardButton("ok", callback_data="ignore"))
        bot.send_message(message.chat.id, "hush?", reply_markup=markup)

    @bot.callback_query_handler(lambda query: query.data == "ignore")
    def ignore_press(query: Any) -> None:
        bot.answer_callback_query(query.id)


def add_failures(bot: Any) -> None:
    @bot.message_handler(commands=["refused"])
    def refused(message: Any) -> None:
        bot.send_message(message.chat.id, "")

    @bot.message_handler(commands=["chain"])
    def chain(message: Any) -> None:
        try:
            {}["lost"]
        except KeyError as error:
            raise ValueError("found") from error

    @bot.message_handler(commands=["unfit"])
    @with_session(storage=MemoryStorage())
    def unfit(message: Any, session: Session) -> None:
        session.lock = threading.Lock()

    @bot.message_handler(commands=["log"])
    def log(message: Any) -> None:
        telebot.logger.error("plain")
        error = KeyError("logged")
        telebot.logger.error("with a traceback", exc_info=error)
        raise error


def add_talk(bot: Any) -> None:
    add_failures(bot)

    @bot.message_handler(commands=["tell"])
    def tell(message: Any) -> None:
        bot.send_message(42, f"from {message.from_user.id}")

    @bot.message_handler(commands=["crash"])
    def crash(message: Any) -> None:
        raise KeyError("lost")

    @bot.message_handler(commands=["off"])
    def off(message: Any) -> None:
        bot.send_message(message.chat.id, "bye")
        bot.stop_bot()

    @bot.callback_query_handler(lambda query: True)
    def answer(query: Any) -> None:
        alert = query.data == "nay"
        bot.answer_callback_query(query.id, f"got {query.data}", show_alert=alert)
        bot.answer_callback_query(query.id)
        place = query.message.chat.id, query.message.message_id
        bot.edit_message_text(f"{query.from_user.id} said {query.data}", *place)

    @bot.message_handler()
    def echo(message: Any) -> None:
        bot.send_message(message.chat.id, f"{message.from_user.id}: {message.text}")


class TestChat:
    def test_each_line_is_a_message(self, bot: Any) -> None:
        """Every line is sent and its reply printed before the next one; blank ones are not."""
        assert ["1: a", "1: b", "1: c"] == talk(bot, "a", "", "b ", "c")

    def test_a_chat_may_follow_a_chat(self, bot: Any) -> None:
        """The same bot can chat again, as somebody else."""
        assert ["1: a"] == talk(bot, "a")
        assert ["7: b"] == talk(bot, "b", user_id=7)

    def test_quit_ends_it(self, bot: Any) -> None:
        """Nothing is read after /quit; with two slashes it is the bot's."""
        assert ["1: /quit"] == talk(bot, "//quit", "/quit", "a")

    def test_other_commands_are_the_bots(self, bot: Any) -> None:
        """A command that the chat does not know goes to the bot."""
        assert ["1: /start x"] == talk(bot, "/start x")

    def test_somebody_else_goes_on(self, bot: Any) -> None:
        """After /as the messages are another user's, in that user's private chat."""
        assert ["1: a", "42: b"] == talk(bot, "a", "/as 42", "b")

    def test_messages_to_others_say_so(self, bot: Any) -> None:
        """A message that goes to another chat than the one on the screen is marked."""
        expected = ["(to 42) from 1", "from 42"]
        assert expected == talk(bot, "/tell", "/as 42", "/tell")

    def test_groups_are_entered_and_left(self, bot: Any) -> None:
        """After /in the messages are in a group, also of another user; /in private goes back."""
        lines = "/in -100", "a", "/as 2", "b", "/tell", "/in private", "c"
        assert ["1: a", "2: b", "(to 42) from 2", "2: c"] == talk(bot, *lines)

    def test_buttons_are_shown_with_numbers(self, bot: Any) -> None:
        """The rows of an inline keyboard are shown below the message, with numbers."""
        assert ["sure?", "  [1] Yes  [2] No  [3] 2", "  [4] Docs"] == talk(bot, "/menu")

    def test_reply_keyboards_are_shown(self, bot: Any) -> None:
        """A reply keyboard is shown in a frame below the message, without numbers."""
        keyboard = ["  +-------+", "  | A | B |", "  |   C   |", "  +-------+"]
        assert ["which?", *keyboard] == talk(bot, "/ask")

    def test_a_wide_keyboard_is_wrapped(self, bot: Any) -> None:
        """No line of a keyboard is wider than a terminal of 80 columns, and all are as wide."""
        lines = talk(bot, "/wide")
        assert {80} >= {len(line) for line in lines if line.startswith("  [")} - set(range(80))
        framed = {len(line) for line in lines if line.startswith(("  |", "  +"))}
        assert (1, True) == (len(framed), max(framed) <= 80)
        labels = [f"button number {number}" for number in range(9)]
        assert [2] * 9 == ["\n".join(lines).count(label) for label in labels]

    def test_emojis_take_two_columns(self, bot: Any) -> None:
        """The frame fits labels with wide characters."""
        *_, top, first, second, bottom = talk(bot, "/emoji")
        assert ["  +----+", "  | 🍕 |", "  | ok |", "  +----+"] == [top, first, second, bottom]

    def test_a_label_is_pressed_by_typing_it(self, bot: Any) -> None:
        """A button of a reply keyboard sends its label, typed or named after /press."""
        assert ["1: A", "1: C"] == talk(bot, "/ask", "A", "/press C")[-2:]

    def test_a_removed_keyboard_says_so(self, bot: Any) -> None:
        """The removal of a reply keyboard is shown, and its buttons cannot be pressed then."""
        *_, text, mark, complaint = talk(bot, "/ask", "/remove", "/press A")
        assert ["gone", "  (keyboard removed)"] == [text, mark]
        assert "! there is no button to press" == complaint.partition(";")[0]

    def test_a_forced_reply_is_one(self, bot: Any) -> None:
        """After a message that forces a reply, the next line is one, and no other."""
        expected = ["name?", "  (your next line is a reply to this)", "reply to name?", "1: Bob"]
        assert expected == talk(bot, "/force", "Ada", "Bob")

    def test_silence_is_told(self, bot: Any) -> None:
        """After a line or a press to which the bot says nothing, the chat says so."""
        assert ["(no answer)", "1: a"] == talk(bot, "/ignore", "a")
        assert ["hush?", "  [1] ok", "(no answer)"] == talk(bot, "/hush", "/press ok")

    @pytest.mark.parametrize("line", ["/as 2", "/in -100", "/in", "/press x", "/crash", "/tell"])
    def test_only_silence_is_told(self, bot: Any, line: str) -> None:
        """Commands of the chat want no answer, and an exception or a message elsewhere is one."""
        assert "(no answer)" not in talk(bot, line)

    @pytest.mark.parametrize(
        ("choice", "expected"),
        [
            ("Yes", ["(notice) got 1", "(edited) 1 said 1"]),
            ("nay", ["(alert) got nay", "(edited) 1 said nay"]),
            ("1", ["(notice) got 1", "(edited) 1 said 1"]),
            ("2", ["(notice) got two", "(edited) 1 said two"]),
            ("3", ["(notice) got two", "(edited) 1 said two"]),
        ],
    )
    def test_buttons_are_pressed(self, bot: Any, choice: str, expected: Any) -> None:
        """A button is pressed by its data or label, and else by its number."""
        assert expected == talk(bot, "/menu", "x", f"/press {choice}")[4:]

    @pytest.mark.parametrize("choice", ["Maybe", "5", "0"])
    def test_impossible_presses_are_explained(self, bot: Any, choice: str) -> None:
        """Pressing a button that is not there is explained, and the chat goes on."""
        *complaint, reply = talk(bot, "/menu", f"/press {choice}", "a")[3:]
        assert ("! there is no button", "1: a") == (complaint[0][:20], reply)

    def test_without_buttons_there_is_nothing_to_press(self, bot: Any) -> None:
        """Only buttons in the chat on the screen can be pressed."""
        *_, complaint = talk(bot, "/menu", "/in -100", "a", "/press Yes")
        way = "for the latest: /in private"
        assert f"! there is no button here to press; {way}" == complaint

    @pytest.mark.parametrize(
        ("line", "expected"),
        [
            ("/as Ann", "! write it like this: /as 42"),
            ("/in", "! write it like this: /in -100 or /in private"),
        ],
    )
    def test_wrong_commands_are_explained(self, bot: Any, line: str, expected: Any) -> None:
        """A command of the chat that is not understood is explained."""
        assert [expected] == talk(bot, line)

    def test_media_are_named(self, bot: Any) -> None:
        """A message without a text is shown as what it is, with its caption."""
        assert ["(photo)", "(photo) nice"] == talk(bot, "/photo")

    def test_exceptions_are_shown(self, bot: Any) -> None:
        """An exception of a handler is printed with its file and line, and the chat goes on."""
        *report, message, answer = talk(bot, "/crash", "a")
        assert ["! KeyError: 'lost'", "1: a"] == [message, answer]
        assert ["! Traceback (most recent call last):"] == report[:1]
        frames = [line for line in report if line.startswith("!   File ")]
        line = SOURCE.index('        raise KeyError("lost")') + 1
        assert [f'!   File "{__file__}", line {line}, in crash'] == frames

    def test_calls_of_libraries_are_left_out(self, bot: Any) -> None:
        """A traceback has no call of telebot or telesession, nor one below them."""
        report = talk(bot, "/refused")
        frames = [line for line in report if line.startswith("!   File ")]
        assert [True] == [f'"{__file__}"' in frame for frame in frames]
        assert "! telebot.apihelper.ApiTelegramException" == report[-1].partition(":")[0]

    def test_causes_are_shown(self, bot: Any) -> None:
        """The exception that led to another one is shown with its own file and line."""
        report = talk(bot, "/chain")
        frames = [line for line in report if line.startswith("!   File ")]
        assert 2 == len(frames)
        assert ["! KeyError: 'lost'", "! ValueError: found"] == [
            line for line in report if line.startswith(("! KeyError", "! ValueError"))
        ]

    def test_an_exception_that_no_code_of_the_bot_saw_is_one_line(self, bot: Any) -> None:
        """If all calls are the library's, as at a commit, the message stands alone."""
        (line,) = talk(bot, "/unfit")
        assert "! telesession.errors.EncodeError: could not save session" == line[:56]

    def test_a_handled_exception_is_shown_too(self, bot: Any) -> None:
        """An exception that the bot's own handler handles is shown, and the handler gets it."""
        handler = bot.exception_handler = RecordingExceptionHandler()
        assert "! KeyError: 'lost'" == talk(bot, "/crash")[-1]
        assert ["KeyError('lost')"] == [repr(error) for error in handler.exceptions]
        assert handler is bot.exception_handler

    def test_an_exception_handler_that_raises_does_not_end_it(self, bot: Any) -> None:
        """An exception of the bot's own exception handler is shown after the first one."""
        bot.exception_handler = RaisingHandler()
        report = talk(bot, "/crash", "a")
        assert ["! KeyError: 'lost'", "! RuntimeError: no log", "1: a"] == [
            line for line in report if line.startswith(("! KeyError", "! RuntimeError", "1:"))
        ]

    def test_a_logged_exception_is_shown_once(
        self, bot: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        """During the chat it takes the exceptions from telebot's logger; before and after not."""
        telebot.logger.error("before", exc_info=KeyError("lost"))
        report = talk(bot, "/log")
        telebot.logger.error("after", exc_info=KeyError("lost"))
        assert ["before", "plain", "after"] == [record.message for record in caplog.records]
        assert ["! KeyError: 'logged'"] == [line for line in report if "Error" in line]

    def test_a_terminal_without_emojis_is_no_reason_to_stop(self, bot: Any) -> None:
        """A character that the terminal cannot show is replaced."""
        raw = io.BytesIO()
        stdout = io.TextIOWrapper(raw, encoding="ascii")
        chat(bot, stdin=io.StringIO("🍕\na\n"), stdout=stdout)
        assert b"1: ?\n1: a\n" == raw.getvalue()

    def test_a_bot_that_stops_ends_it(self, bot: Any) -> None:
        """If the bot stops itself, the chat says so and ends."""
        expected = "! the bot has stopped polling, and left updates unhandled"
        assert ["bye", expected] == talk(bot, "/off", "a")

    def test_ctrl_c_ends_it(self, bot: Any) -> None:
        """Ctrl-C ends the chat without a traceback."""
        assert ["1: a", ""] == talk(bot, "a", kind=InterruptedTerminal)

    def test_people_get_a_hint_and_a_prompt(self, bot: Any) -> None:
        """A terminal shows the hint and the commands, in 80 columns, and a prompt for a line."""
        hint, blank, *commands, answer, prompt = talk(bot, "a", kind=Terminal, hint="Try: a")
        assert ["Try: a", ""] == [hint, blank]
        names = (
            "/as 42",
            "/in -100",
            "/in private",
            "/topic 7",
            "/admin",
            "/anonymous",
            "/pay",
            "/press Yes",
            "/reply text",
            "/send photo",
            "/vote Paris",
            "/request -100",
            "/invite 42",
            "//quit",
            "/quit",
        )
        assert [] == [name for name in names if not any(f"  {name} " in line for line in commands)]
        assert 80 >= max(len(line) for line in commands)
        assert ["> 1: a", "> "] == [answer, prompt]

    def test_a_late_message_comes_above_the_prompt(self, bot: Any) -> None:
        """A message that the bot sends while the prompt waits does not stand behind it."""
        late = LateTerminal("a\n", lambda: bot.send_message(1, "late"))
        stdout = io.StringIO()
        chat(bot, stdin=late, stdout=stdout)
        assert ["> 1: a", "> ", "late", "> "] == stdout.getvalue().splitlines()[-4:]

    def test_a_hint_is_not_necessary(self, bot: Any) -> None:
        """Without a hint the commands come first; without a terminal, none of them."""
        assert "Each line goes to the bot" == talk(bot, kind=Terminal)[0][:25]
        assert [] == talk(bot, hint="Try: a")

    def test_the_standard_streams_are_the_default(
        self, bot: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Without streams given it reads and writes the program's own, as they are then."""
        monkeypatch.setattr(sys, "stdin", io.StringIO("a\n"))
        chat(bot)
        assert "1: a\n" == capsys.readouterr().out


class TestRun:
    @pytest.fixture
    def environment(self, tmp_path: Path) -> dict[str, Any]:
        (tmp_path / "program.py").write_text(PROGRAM)
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        environment.pop("BOT_TOKEN", None)
        return {"cwd": tmp_path, "env": environment}

    def test_a_program_answers_its_input(self, environment: dict[str, Any]) -> None:
        """A program piped some lines prints the replies in order and ends well."""
        command = [sys.executable, "-W", "error", "program.py"]
        done = subprocess.run(
            command,
            input="hi\nho\n",
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
            **environment,
        )
        assert ("HI\nHO\n", "", 0) == (done.stdout, done.stderr, done.returncode)

    def test_ctrl_c_ends_a_program(
        self, environment: dict[str, Any], request: pytest.FixtureRequest
    ) -> None:
        """A program that waits for input ends well at Ctrl-C."""
        # A program inherits what its parent ignores, as `nohup` does.
        former = signal.signal(signal.SIGINT, signal.default_int_handler)
        request.addfinalizer(lambda: signal.signal(signal.SIGINT, former))
        command = [sys.executable, "-W", "error", "program.py"]
        pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        with subprocess.Popen(command, text=True, **pipes, **environment) as program:
            program.stdin.write("hi\n")
            program.stdin.flush()
            assert "HI\n" == program.stdout.readline()
            program.send_signal(signal.SIGINT)
            assert 0 == program.wait(30)
            assert ("\n", "") == (program.stdout.read(), program.stderr.read())

    def test_without_an_input_it_ends(
        self, bot: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """A program that was started with a closed input has nothing to read."""
        monkeypatch.setattr(sys, "stdin", None)
        chat(bot)
        assert "" == capsys.readouterr().out

    def test_it_ends_with_the_reader_of_its_output(self, bot: Any) -> None:
        """After the end of a reader such as `head` no line is read, and nothing is raised."""
        reader, writer = os.pipe()
        os.close(reader)
        lines = io.StringIO("a\nb\nc\n")
        with open(writer, "w") as stdout:
            chat(bot, stdin=lines, stdout=stdout)
        assert "b\nc\n" == lines.read()

    def test_without_a_token_it_chats(
        self, bot: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Without BOT_TOKEN the bot runs in the terminal."""
        monkeypatch.delenv("BOT_TOKEN", raising=False)
        monkeypatch.setattr(sys, "stdin", io.StringIO("a\n"))
        run(bot)
        assert "1: a\n" == capsys.readouterr().out
        assert apihelper.API_URL is None

    def test_with_a_token_it_polls_telegram(
        self, bot: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """With BOT_TOKEN the bot polls, for every kind of update."""
        polls = []
        monkeypatch.setenv("BOT_TOKEN", OFFLINE_TOKEN)
        monkeypatch.setattr(bot, "infinity_polling", lambda **options: polls.append(options))
        run(bot)
        assert [{"allowed_updates": util.update_types}] == polls


class TestDrawMarkup:
    def test_a_button_may_be_a_bare_text(self) -> None:
        """The Bot API takes a text for a button that has nothing else, and so does the chat."""
        keyboard = {"keyboard": [["yes", {"text": "no"}]]}
        assert ["+----------+", "| yes | no |", "+----------+"] == list(draw_markup(keyboard))
        assert ["yes", "no"] == labels(keyboard)

    @pytest.mark.parametrize("kind", ["keyboard", "inline_keyboard"])
    @pytest.mark.parametrize("count", [1, 2, 3, 8])
    def test_rows_fit_80_columns(self, kind: str, count: int) -> None:
        """With labels of any length up to 70, no line is wider than 78 columns and an indent."""
        for length in range(1, 71):
            row = [{"text": "x" * length} for _ in range(count)]
            lines = list(draw_markup({kind: [row]}))
            assert [] == [line for line in lines if len(line) > 78]
            assert count * length == "".join(lines).count("x")

    def test_nothing_is_drawn_of_nothing(self) -> None:
        """No keyboard, and one without buttons, are no lines."""
        empty: list[dict[str, Any]] = [{}, {"keyboard": []}, {"keyboard": [[]]}]
        assert [[], [], []] == [list(draw_markup(markup)) for markup in empty]


def count_in(path: Path) -> str:
    """The answer to a message in a chat with a bot that has an inbox in a file."""
    with SQLiteStorage(path) as storage:
        bot = TeleBot(OFFLINE_TOKEN)
        Sessions(initial={"count": 0}, storage=storage).attach(bot, inbox=storage)

        @bot.message_handler()
        def count(message: types.Message, session: Session) -> None:
            session.count += 1
            bot.reply_to(message, str(session.count))

        screen = io.StringIO()
        chat(bot, stdin=io.StringIO("hi\n"), stdout=screen)
        bot.stop_bot()
    return screen.getvalue().strip()


def ask_or_show(path: Path, *lines: str) -> str:
    """The last line of a chat with a bot that keeps its questions in a file."""
    with SQLiteStorage(path) as storage:
        bot: Any = TeleBot(OFFLINE_TOKEN)
        button = types.InlineKeyboardButton("Yes", callback_data="y")
        markup = types.InlineKeyboardMarkup([[button]])

        @bot.message_handler(commands=["ask"])
        def begin(message: types.Message) -> None:
            ask(bot, message, "sure?", take, reply_markup=markup)

        @bot.message_handler(commands=["menu"])
        def menu(message: types.Message) -> None:
            bot.send_message(message.chat.id, "menu", reply_markup=markup)

        def take(query: types.CallbackQuery) -> None:
            bot.answer_callback_query(query.id, "an answer")

        @bot.callback_query_handler(lambda query: True)
        def other(query: types.CallbackQuery) -> None:
            bot.answer_callback_query(query.id, "no answer")

        use_questions(bot, Sessions(storage=storage), steps=[take])
        printed = talk(bot, "/in -5", *lines)
        bot.stop_bot()
    return printed[-1]


def test_a_message_is_not_taken_for_one_of_an_earlier_chat(tmp_path: Path) -> None:
    """A press on a message answers no question that waits since the chat before."""
    assert "(notice) an answer" == ask_or_show(tmp_path / "control.db", "/ask", "/press Yes")
    assert "  [1] Yes" == ask_or_show(tmp_path / "bot.db", "/ask")
    # The same number of messages, so numbers from 1 would be the same.
    lines = "/as 2", "/menu", "/as 1", "/press Yes"
    assert "(notice) no answer" == ask_or_show(tmp_path / "bot.db", *lines)


def test_a_bot_with_an_inbox_chats_again(tmp_path: Path) -> None:
    """The second chat of a bot with an inbox is answered, because its updates have new numbers."""
    assert ["1", "2"] == [count_in(tmp_path / "bot.db") for _ in range(2)]
