"""The README: short, and true."""

from __future__ import annotations

import re
import threading
from typing import Any

import pytest
from telebot import TeleBot

import telesession
from support.bots import ROOT
from support.clocks import PATIENCE
from support.pages import README, blocks_of, read
from telesession.testing import OFFLINE_TOKEN, BotAPI, run_polling

pytestmark = pytest.mark.usefixtures("fresh_process")

BOT, BEFORE, AFTER, DIALOG = (block.code for block in blocks_of(README, "python"))


class TestReadme:
    def test_it_is_short(self) -> None:
        """It has at most 150 lines."""
        assert 150 >= len(read(README).splitlines()) > 0

    def test_each_command_is_one_line(self) -> None:
        """The commands to try and to test are a line each, and each has a line for Windows."""
        shell = [block.code.splitlines() for block in blocks_of(README, "sh")][:2]
        windows = [block.code.splitlines() for block in blocks_of(README, "bat")]
        assert [1, 1, 1, 1] == [len(lines) for lines in [*shell, *windows]]
        assert [as_on_windows(line) for (line,) in shell] == [line for (line,) in windows]

    def test_the_bot_is_short(self) -> None:
        """The bot on the first screen has fewer than fifteen lines."""
        assert 15 > len(BOT.splitlines()) > 0

    def test_the_bot_is_the_counter(self) -> None:
        """The bot on the first screen is examples/counter.py without the apology and the chat."""
        counter = (ROOT / "examples" / "counter.py").read_text().splitlines()
        different = [line for line in BOT.splitlines() if line not in counter]
        assert [
            "from telebot import TeleBot, types",
            'bot = TeleBot(os.environ["BOT_TOKEN"])',
            "use_sequential_workers(bot)",
            "bot.infinity_polling()",
        ] == different
        handler = BOT[BOT.index("@bot") : BOT.index("bot.infinity")].rstrip()
        assert handler in "\n".join(counter)

    def test_the_bot_runs_as_it_is(self, bot_api: BotAPI, monkeypatch: pytest.MonkeyPatch) -> None:
        """Pasted and run with a token, the bot polls and counts each user alone."""
        monkeypatch.setenv("BOT_TOKEN", "1:pasted")
        program: dict[str, Any] = {}
        thread = threading.Thread(target=lambda: exec(BOT, program), daemon=True)
        thread.start()
        try:
            for number, user in enumerate((1, 2, 1), start=1):
                bot_api.user(user).send("hi")
                messages = bot_api.wait_for_messages(number, PATIENCE)
        finally:
            with bot_api.short_polls():
                program["bot"].stop_bot()
                thread.join(PATIENCE)
        assert False is thread.is_alive()
        assert [(1, 1), (2, 1), (1, 2)] == [
            (message.chat_id, int(re.sub(r"\D", "", message.text))) for message in messages
        ]
        assert "you called the bot 2 times!" == messages[-1].text
        assert {"1:pasted"} == {call.token for call in bot_api.calls}

    def test_a_global_dict_loses_messages(self, bot_api: BotAPI) -> None:
        """Control: the bot that the README warns of does not count one of two messages."""
        both = threading.Barrier(2, timeout=PATIENCE)
        assert ["message 1", "message 1"] == talk(bot_api, BEFORE, both.wait, [1, 1])

    def test_a_session_loses_none(self, bot_api: BotAPI) -> None:
        """Two messages of one user are handled one after the other, and both are counted."""
        alone = threading.Semaphore()

        def fetch() -> None:
            assert alone.acquire(blocking=False)
            alone.release()

        assert ["message 1", "message 2"] == talk(bot_api, AFTER, fetch, [1, 1])

    def test_other_users_do_not_wait(self, bot_api: BotAPI) -> None:
        """Messages of two users are handled at the same time."""
        both = threading.Barrier(2, timeout=PATIENCE)
        assert ["message 1", "message 1"] == talk(bot_api, AFTER, both.wait, [1, 2])

    def test_other_users_do_not_wait_for_a_queue(
        self, bot_api: BotAPI, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """While two messages of one user queue up, the first bot answers another user."""
        monkeypatch.setenv("BOT_TOKEN", OFFLINE_TOKEN)
        names: dict[str, Any] = {}
        exec(BOT.replace("bot.infinity_polling()", ""), names)
        bot, other_is_answered = names["bot"], threading.Event()
        reply = bot.reply_to

        def reply_to(message: Any, text: str) -> None:
            if message.from_user.id == 2:
                other_is_answered.set()
            # On telebot's own pool both of its workers would wait here or for the session.
            assert other_is_answered.wait(PATIENCE)
            reply(message, text)

        bot.reply_to = reply_to
        with run_polling(bot, bot_api, timeout=PATIENCE) as polling:
            for user in (1, 1, 2):
                bot_api.user(user).send("hi")
            polling.wait_idle(PATIENCE)
        counts = sorted((message.chat_id, message.text[-8]) for message in bot_api.messages)
        assert [(1, "1"), (1, "2"), (2, "1")] == counts

    def test_the_dialog_validates(self, bot_api: BotAPI) -> None:
        """Words are no age, nor is a photo: the bot asks again until it gets a number."""
        bot = TeleBot(OFFLINE_TOKEN, threaded=False)
        sessions = telesession.Sessions(storage=telesession.MemoryStorage())
        names: dict[str, Any] = {
            "bot": bot,
            "ask": telesession.ask,
            "use_questions": telesession.use_questions,
        }
        # Another storage than the one with the file.
        names |= {"Sessions": lambda storage: sessions, "SQLiteStorage": str}
        exec(DIALOG, names)
        ada = bot_api.user(1)
        with run_polling(bot, bot_api, timeout=PATIENCE) as polling:
            for text in ("/age", "twelve", "", "12"):
                ada.send(text) if text else ada.photo()
                polling.wait_idle(PATIENCE)
        said = [message.text for message in bot_api.messages]
        again = "a number, please"
        assert ["how old are you?", again, again, "12, thank you"] == said
        assert {"age": 12} == sessions.peek(1)


def as_on_windows(line: str) -> str:
    """A shell line as the command prompt of Windows wants it."""
    for posix, windows in (
        ("python3", "py"),
        (".venv/bin/", ".venv\\Scripts\\"),
        ("examples/", "examples\\"),
        ("'", '"'),
    ):
        line = line.replace(posix, windows)
    return line


def talk(api: BotAPI, block: str, fetch: Any, users: list[int]) -> list[str]:
    """Let users write at the same time to a bot whose handlers fetch something."""
    bot = TeleBot(OFFLINE_TOKEN)
    names = {"bot": bot, "fetch_rate": fetch, "with_session": telesession.with_session}
    exec(block, names)
    with run_polling(bot, api, timeout=PATIENCE) as polling:
        for user in users:
            api.user(user).send("hi")
        polling.wait_idle(PATIENCE)
    return sorted(message.text.partition(",")[0] for message in api.messages)
