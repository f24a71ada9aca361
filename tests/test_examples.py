"""The examples and the README, run as they are: by users of the bots, and in a terminal."""

from __future__ import annotations

import ast
import doctest
import importlib
import importlib.util
import inspect
import os
import re
import resource
import subprocess
import sys
import textwrap
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from stages import ROOT, Stage, Terminal, forget_settings, load, on_stage
from telebot import TeleBot, types
from telebot.storage import StatePickleStorage

import telesession
from telesession import Sessions, StorageError
from telesession.testing import OFFLINE_TOKEN, BotAPI, Group, run_polling

if TYPE_CHECKING:
    from collections.abc import Iterator

    from freezegun.api import FrozenDateTimeFactory


EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
NAMES = [path.stem for path in EXAMPLES]
MICROSECOND = 1e-6

pytestmark = pytest.mark.usefixtures("fresh_process")


@pytest.fixture(scope="module")
def terminals(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Terminal]]:
    """Every example, started at the same time and typed at as its docstring shows."""
    with pytest.MonkeyPatch.context() as patch:
        forget_settings(patch)
        terminals = {
            name: Terminal(name, f"{transcript(name)[0]}/quit\nhi\n", tmp_path_factory.mktemp(name))
            for name in NAMES
        }
    yield terminals
    for terminal in terminals.values():
        terminal.close()


def transcript(name: str) -> tuple[str, str]:
    """What is typed and what is printed in the chat that an example's docstring shows."""
    source = (ROOT / "examples" / f"{name}.py").read_text()
    docstring = ast.get_docstring(ast.parse(source)) or ""
    shown = [line for line in docstring.splitlines() if line.startswith("    ")]
    lines = textwrap.dedent("\n".join(shown)).splitlines()
    typed = [line.removeprefix("> ") for line in lines if line.startswith("> ")]
    printed = [line for line in lines if not line.startswith("> ")]
    return "".join(f"{line}\n" for line in typed), "".join(f"{line}\n" for line in printed)


class TestEveryExample:
    @pytest.mark.parametrize("name", NAMES)
    def test_it_is_tested(self, name: str) -> None:
        """Every file of the folder has a class of tests, here or with those of what it shows."""
        others = ("storage_examples", "states", "workers", "questions", "filters")
        modules = [importlib.import_module(f"test_{other}") for other in others]
        kinds = [k for module in (sys.modules[__name__], *modules) for k in vars(module).values()]
        assert {name} == {kind.example for kind in kinds if is_about_one(kind)} & {name}

    @pytest.mark.parametrize("name", NAMES)
    def test_it_chats_as_its_docstring_shows(
        self, name: str, terminals: dict[str, Terminal]
    ) -> None:
        """Typed at in a terminal it prints what its docstring shows, and ends at `/quit`."""
        expected = transcript(name)[1]
        printed, complaints, code = terminals[name].result()
        assert ("", 0) == (complaints, code)
        assert "" != expected
        if not doctest.OutputChecker().check_output(expected, printed, doctest.ELLIPSIS):
            assert expected == printed

    def test_importing_them_needs_no_network_and_no_token(self, tmp_path: Path) -> None:
        """Importing the examples opens no connection."""
        program = """
            import runpy, sys

            def refuse(event, arguments):
                if event in {"socket.connect", "socket.getaddrinfo", "socket.sendto"}:
                    raise SystemExit(f"{event}{arguments}")

            sys.addaudithook(refuse)
            for path in sys.argv[1:]:
                print(type(runpy.run_path(path)["bot"]).__name__)
            """
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(program), *map(str, EXAMPLES)],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        assert ("TeleBot\n" * len(EXAMPLES), "", 0) == (done.stdout, done.stderr, done.returncode)


def is_about_one(kind: Any) -> bool:
    return isinstance(kind, type) and hasattr(kind, "example")


class TestCounter:
    example = "counter"

    def test_two_lines_are_two_replies(self, tmp_path: Path) -> None:
        """Piped two lines and no more, it prints both replies in order and ends well."""
        expected = "you called the bot 1 times!\nyou called the bot 2 times!\n"
        assert (expected, "", 0) == Terminal("counter", "hi\nhi\n", tmp_path).result()

    def test_each_user_is_counted_alone(self, stage: Stage) -> None:
        """Two users who take turns do not see each other's counter, nor in a group."""
        group = stage.api.group(-100)
        replies = [stage.say(*turn) for turn in [(1, "a"), (2, "b"), (1, "c"), (1, "d", group)]]
        assert [[f"you called the bot {n} times!"] for n in (1, 1, 2, 3)] == replies

    def test_no_message_is_missed(self, stage: Stage) -> None:
        """Messages that arrive together are all counted, each once, in two threads."""
        for _ in range(20):
            for user in (1, 2):
                stage.user(user).send("hi")
        stage.polling.wait_idle()
        expected = sorted(f"you called the bot {n} times!" for n in range(1, 21))
        for user in (1, 2):
            replies = [m.text for m in stage.api.messages if m.chat_id == user]
            assert expected == sorted(replies)

    def test_it_answers_the_message_it_counts(self, stage: Stage) -> None:
        """Each reply is a reply to the message that was counted."""
        update = stage.user(1).send("hi")
        stage.polling.wait_idle()
        assert update["message"]["message_id"] == stage.latest(1).reply_to_message_id


class TestLoginCode:
    example = "login_code"

    def code(self, stage: Stage, user: int) -> str:
        (answer,) = stage.say(user, "/login")
        found = re.fullmatch(r"your code is (\d{6}); it is good for 120 s", answer)
        assert found is not None
        return found[1]

    def test_the_code_logs_in_once(self, stage: Stage) -> None:
        """The right code logs in, and is gone then."""
        code = self.code(stage, 1)
        assert ["welcome! Your logins so far: 1"] == stage.say(1, code)
        assert ["send /login to get a code"] == stage.say(1, code)
        assert ["welcome! Your logins so far: 2"] == stage.say(1, self.code(stage, 1))

    def test_the_code_is_there_until_its_deadline(
        self, frozen_time: FrozenDateTimeFactory, stage: Stage
    ) -> None:
        """The code is good a microsecond before its lifetime is over."""
        code = self.code(stage, 1)
        frozen_time.tick(120 - MICROSECOND)
        assert ["welcome! Your logins so far: 1"] == stage.say(1, code)

    def test_the_code_is_gone_at_its_deadline(
        self, frozen_time: FrozenDateTimeFactory, stage: Stage
    ) -> None:
        """The code is gone when its lifetime is over, and the bot knows that there was one."""
        code = self.code(stage, 1)
        frozen_time.tick(120)
        assert ["that code has expired; send /login to get a code"] == stage.say(1, code)

    def test_guesses_do_not_prolong_the_code(
        self, frozen_time: FrozenDateTimeFactory, stage: Stage
    ) -> None:
        """Handlers that read the code, and change other fields, leave its deadline alone."""
        code = self.code(stage, 1)
        frozen_time.tick(60)
        assert ["that is not your code; guesses left: 2"] == stage.say(1, "what?")
        frozen_time.tick(60)
        assert ["that code has expired; send /login to get a code"] == stage.say(1, code)

    def test_another_code_has_the_whole_lifetime(
        self, frozen_time: FrozenDateTimeFactory, stage: Stage
    ) -> None:
        """Asking again is an update of the field: the full lifetime begins anew."""
        self.code(stage, 1)
        frozen_time.tick(100)
        code = self.code(stage, 1)
        frozen_time.tick(100)
        assert ["welcome! Your logins so far: 1"] == stage.say(1, code)

    def test_three_wrong_guesses_are_enough(self, stage: Stage) -> None:
        """After three wrong guesses the code is gone."""
        code = self.code(stage, 1)
        answers = [*stage.say(1, "a"), *stage.say(1, "b"), *stage.say(1, "c"), *stage.say(1, code)]
        assert [
            "that is not your code; guesses left: 2",
            "that is not your code; guesses left: 1",
            "that is not your code either; send /login to get another",
            "send /login to get a code",
        ] == answers

    def test_codes_belong_to_one_user(
        self, frozen_time: FrozenDateTimeFactory, stage: Stage
    ) -> None:
        """Another user's code logs nobody in, and its expiry takes nobody else's code."""
        first = self.code(stage, 1)
        assert ["send /login to get a code"] == stage.say(2, first)
        frozen_time.tick(60)
        second = self.code(stage, 2)
        frozen_time.tick(60)
        assert ["that code has expired; send /login to get a code"] == stage.say(1, first)
        assert ["welcome! Your logins so far: 1"] == stage.say(2, second)


class TestShoppingCart:
    example = "shopping_cart"
    goods = ("tea 3.50", "cake 4.80")

    def test_the_message_follows_the_cart(self, stage: Stage) -> None:
        """Pressing a button changes the cart, and the message shows it."""
        more = [*self.goods, "pay", "empty"]
        assert ["your cart is empty"] == stage.say(1, "/shop")
        assert ("1 x tea\ntotal: 3.50", more) == stage.press(1, "tea")
        assert ("2 x tea\ntotal: 7.00", more) == stage.press(1, "tea")
        assert ("2 x tea\n1 x cake\ntotal: 11.80", more) == stage.press(1, "cake")
        assert ("your cart is empty", list(self.goods)) == stage.press(1, "empty")

    def test_every_press_is_answered(self, stage: Stage) -> None:
        """Each press is answered, so that the button stops waiting."""
        stage.say(1, "/shop")
        for label in ("tea", "cake", "empty", "tea", "pay"):
            stage.press(1, label)
        answers = stage.api.calls_of("answerCallbackQuery")
        notices = [call.params.get("text") for call in answers]
        assert [
            "tea is in your cart",
            "cake is in your cart",
            None,
            "tea is in your cart",
            None,
        ] == (notices)

    def test_the_cart_outlives_the_message(self, stage: Stage) -> None:
        """What was put into the cart, inside a dict of a dataclass, is there the next time."""
        stage.say(1, "/shop")
        stage.press(1, "cake")
        assert ["1 x cake\ntotal: 4.80"] == stage.say(1, "/shop")

    def test_paying_empties_the_cart(self, stage: Stage) -> None:
        """A cart that was paid is forgotten: the next one is new."""
        stage.say(1, "/shop")
        stage.press(1, "tea")
        assert ("1 x tea\ntotal: 3.50\npaid, thank you!", []) == stage.press(1, "pay")
        assert ["your cart is empty"] == stage.say(1, "/shop")

    def test_an_old_message_cannot_be_paid_twice(self, stage: Stage) -> None:
        """Paying from a message of before finds nothing to pay."""
        stage.say(1, "/shop")
        stage.press(1, "tea")
        old = stage.latest(1)
        stage.say(1, "/shop")
        stage.press(1, "pay")
        stage.user(1).press(old, "pay")
        stage.polling.wait_idle()
        assert ["there is nothing to pay", "1 x tea\ntotal: 3.50\npaid, thank you!"] == [
            message.text for message in stage.api.messages
        ]

    def test_carts_are_apart(self, stage: Stage) -> None:
        """Two users fill two carts."""
        stage.say(1, "/shop")
        stage.say(2, "/shop")
        stage.press(1, "tea")
        assert "1 x cake\ntotal: 4.80" == stage.press(2, "cake")[0]
        assert "2 x tea\ntotal: 7.00" == stage.press(1, "tea")[0]

    def test_presses_at_the_same_time_all_count(self, stage: Stage) -> None:
        """Ten presses that arrive together put ten into the cart."""
        stage.say(1, "/shop")
        for _ in range(10):
            stage.user(1).press(stage.latest(1), "tea")
        stage.polling.wait_idle()
        assert ["10 x tea\ntotal: 35.00"] == stage.say(1, "/shop")

    def test_a_refused_edit_leaves_the_cart(self, stage: Stage) -> None:
        """A handler that raises after it changed a nested value changes nothing."""
        stage.say(1, "/shop")
        stage.press(1, "tea")
        stage.api.fail_next("editMessageText", 400)
        stage.press(1, "tea")
        raised = [type(error).__name__ for error in stage.polling.exceptions]
        stage.polling.exceptions.clear()
        assert ["ApiTelegramException"] == raised
        assert ["1 x tea\ntotal: 3.50"] == stage.say(1, "/shop")

    def test_a_press_without_a_message_counts(self, stage: Stage) -> None:
        """A press whose message Telegram does not name is no reason to fail."""
        query = {"id": "1", "from": stage.user(1).json, "chat_instance": "1", "data": "tea"}
        stage.api.push({"callback_query": {**query, "inline_message_id": "x"}})
        stage.polling.wait_idle()
        assert ["1 x tea\ntotal: 3.50"] == stage.say(1, "/shop")


class TestForm:
    example = "form"

    def test_the_answers_meet(self, stage: Stage) -> None:
        """What one step put into the session, the next ones find there."""
        assert ["what is your name?"] == stage.say(1, "/book")
        assert ["for how many people, Ada?"] == stage.say(1, "Ada")
        assert ["a table for 4, booked by Ada: is that right?"] == stage.say(1, "4")
        assert ["see you, Ada!"] == stage.say(1, "yes")
        assert [] == stage.say(1, "yes")

    @pytest.mark.parametrize("answer", ["0", "13", "-1", "many", "4.5", "²", "/book"])
    def test_wrong_numbers_are_asked_for_again(self, stage: Stage, answer: str) -> None:
        """An impossible number is asked for again, and the name is kept."""
        stage.say(1, "/book")
        stage.say(1, "Ada")
        assert ["a number from 1 to 12, please"] == stage.say(1, answer)
        assert ["a table for 12, booked by Ada: is that right?"] == stage.say(1, "12")

    def test_a_command_is_no_name(self, stage: Stage) -> None:
        """A command or a photo is asked for again."""
        stage.say(1, "/book")
        assert ["just your name, please"] == stage.say(1, "/start")
        chat = {"id": 1, "type": "private"}
        sender = stage.user(1).json
        photo = {"message_id": 99, "from": sender, "chat": chat, "date": 1, "photo": []}
        stage.api.push({"message": photo})
        stage.polling.wait_idle()
        assert "just your name, please" == stage.latest(1).text
        assert ["for how many people, Ada?"] == stage.say(1, "Ada")

    @pytest.mark.parametrize("answers", [[], ["Ada"], ["Ada", "4"]], ids=len)
    def test_a_form_can_be_cancelled(self, stage: Stage, answers: list[str]) -> None:
        """A step that calls the handler of /cancel shares its session, which is forgotten."""
        for line in ["/book", *answers]:
            stage.say(1, line)
        assert ["nothing is booked"] == stage.say(1, "/cancel")
        assert None is stage.module.bookings.peek(1)
        assert ["nothing is booked"] == stage.say(1, "/cancel")

    def test_an_unfinished_form_is_forgotten(
        self, frozen_time: FrozenDateTimeFactory, stage: Stage
    ) -> None:
        """An hour after the last answer the answers are gone; every answer begins it anew."""
        stage.say(1, "/book")
        stage.say(1, "Ada")
        frozen_time.tick(3600 - MICROSECOND)
        assert ["a table for 4, booked by Ada: is that right?"] == stage.say(1, "4")
        frozen_time.tick(3600)
        assert ["nothing is booked"] == stage.say(1, "yes")

    def test_a_forgotten_name_ends_the_form(
        self, frozen_time: FrozenDateTimeFactory, stage: Stage
    ) -> None:
        """A number that comes too late books nothing for nobody."""
        stage.say(1, "/book")
        stage.say(1, "Ada")
        frozen_time.tick(3600)
        assert ["nothing is booked"] == stage.say(1, "4")

    def test_forms_are_apart(self, stage: Stage) -> None:
        """Two users fill in two forms by turns."""
        for line in ("/book", "Ada", "4"):
            stage.say(1, line)
            stage.say(2, line.replace("Ada", "Bob").replace("4", "5"))
        assert ["see you, Ada!"] == stage.say(1, "yes")
        assert ["see you, Bob!"] == stage.say(2, "yes")

    def test_groups_have_no_form(self, stage: Stage) -> None:
        """In a group nobody is asked, for anybody's message would be the answer."""
        assert [] == stage.say(1, "/book", stage.api.group(-100))


class TestGroupGame:
    example = "group_game"
    score = "guesses in this round: {}; rounds before: {}; your wins: {}"

    def number(self, stage: Stage, group: Group) -> str:
        return str(stage.module.games.peek(f"chat:{group.id}")["number"])

    def test_the_group_plays_together(self, stage: Stage) -> None:
        """Guesses of everybody in a group count for the group, wins for the player."""
        group = stage.api.group(-100)
        assert ["higher"] == stage.say(1, "0", group)
        assert ["lower"] == stage.say(2, "101", group)
        number = self.number(stage, group)
        assert [f"yes, {number}! Guesses: 3; your wins: 1"] == stage.say(2, number, group)
        assert [self.score.format(0, 1, 0)] == stage.say(1, "/score", group)
        assert [self.score.format(0, 1, 1)] == stage.say(2, "/score", group)

    def test_groups_are_apart_and_players_are_not(self, stage: Stage) -> None:
        """Another group has its own number, but a player's wins are the same there."""
        groups = [stage.api.group(-100), stage.api.group(-200)]
        for wins, group in enumerate(groups, start=1):
            stage.say(7, "0", group)
            number = self.number(stage, group)
            assert [f"yes, {number}! Guesses: 2; your wins: {wins}"] == stage.say(7, number, group)
        assert [self.score.format(0, 1, 2)] == stage.say(7, "/score", groups[0])

    def test_the_number_is_from_1_to_100(self, stage: Stage) -> None:
        """Whoever halves what is left needs seven guesses at most."""
        group, low, high, answers = stage.api.group(-100), 1, 100, [""]
        while "yes" not in answers[-1] and len(answers) <= 7:
            guess = (low + high) // 2
            answers += stage.say(1, str(guess), group)
            low, high = (guess + 1, high) if answers[-1] == "higher" else (low, guess - 1)
        assert "yes, " == answers[-1][:5]

    def test_no_guess_is_missed(self, stage: Stage) -> None:
        """Guesses of three players that arrive together are all counted."""
        group = stage.api.group(-100)
        for _ in range(10):
            for user in (1, 2, 3):
                stage.user(user).send("0", chat=group)
        stage.polling.wait_idle()
        assert [self.score.format(30, 0, 0)] == stage.say(1, "/score", group)

    def test_an_anonymous_admin_plays_for_the_group(self, stage: Stage) -> None:
        """An anonymous admin has the wins of the group, and of no other anonymous admin."""
        places = [stage.api.group(-100), stage.api.group(-200)]
        for wins, group in [(1, places[0]), (1, places[1]), (2, places[0])]:
            stage.say(1, "0", group)
            number = self.number(stage, group)
            stage.api.push({"message": anonymous(number, group, stage.api)})
            stage.polling.wait_idle()
            assert f"yes, {number}! Guesses: 2; your wins: {wins}" == stage.api.messages[-1].text

    def test_private_chats_are_told(self, stage: Stage) -> None:
        """Without a group there is no game."""
        expected = ["add me to a group, and guess my number from 1 to 100 together"]
        assert expected == stage.say(1, "50")


def anonymous(text: str, group: Group, api: BotAPI) -> dict[str, Any]:
    """A message of an anonymous group admin, as Telegram sends it."""
    made_up = {"id": 1087968824, "is_bot": True, "first_name": "Group"}
    return {
        "message_id": api.next_message_id(group.id),
        "from": {**made_up, "username": "GroupAnonymousBot"},
        "sender_chat": dict(group.json),
        "chat": dict(group.json),
        "date": 1,
        "text": text,
    }


class TestSharedList:
    example = "shared_list"

    def test_the_list_belongs_to_the_group(self, stage: Stage) -> None:
        """What anybody adds is on the list of the group, and counted for the person."""
        groups = [stage.api.group(-100), stage.api.group(-200)]
        assert ["added milk"] == stage.say(1, "/add milk", groups[0])
        assert ["added tea"] == stage.say(2, "/add tea", groups[0])
        assert ["milk, tea"] == stage.say(3, "/list", groups[0])
        assert ["nothing is wanted"] == stage.say(3, "/list", groups[1])
        assert ["you have added 1"] == stage.say(1, "/mine", groups[1])

    def test_the_list_moves_along(self, stage: Stage) -> None:
        """A group that becomes a supergroup has its list there, and it goes on."""
        group = stage.api.group(-100)
        stage.say(1, "/add milk", group)
        supergroup = stage.user(1).upgrade(group, -10042)
        stage.polling.wait_idle()

        assert ["added tea"] == stage.say(2, "/add tea", supergroup)
        assert ["milk, tea"] == stage.say(1, "/list", supergroup)
        assert ["chat:-10042"] == [key for key in stage.module.lists.keys() if "chat" in key]  # noqa: SIM118

    def test_a_list_can_be_cleared(self, stage: Stage) -> None:
        """What is bought is off the list, and what is no command is explained."""
        assert ["write what is wanted, such as /add milk"] == stage.say(1, "/add")
        stage.say(1, "/add milk")
        assert ["the list is empty"] == stage.say(1, "/bought")
        assert ["nothing is wanted"] == stage.say(1, "/list")
        assert ["/add milk, /list, /bought, /mine"] == stage.say(1, "hello")


class TestBounded:
    example = "bounded"

    def test_kept_lines_become_notes(self, stage: Stage) -> None:
        """Lines move from the scratch pad to the notes, and notes add up."""
        assert ["1 on the scratch pad"] == stage.say(1, "milk")
        assert ["2 on the scratch pad"] == stage.say(1, "tea")
        assert ["there are no notes"] == stage.say(1, "/notes")
        assert ["kept: 2"] == stage.say(1, "/keep")
        assert ["milk\ntea"] == stage.say(1, "/notes")
        assert ["1 on the scratch pad"] == stage.say(1, "jam")
        assert ["kept: 1"] == stage.say(1, "/keep")
        assert ["milk\ntea\njam"] == stage.say(1, "/notes")

    def test_the_scratch_pad_is_dropped_by_age(
        self, frozen_time: FrozenDateTimeFactory, stage: Stage
    ) -> None:
        """A TTLCache drops a pad ten minutes after its last line, and the notes stay."""
        stage.say(1, "milk")
        stage.say(1, "/keep")
        stage.say(1, "tea")
        frozen_time.tick(600 - MICROSECOND)
        assert ["2 on the scratch pad"] == stage.say(1, "jam")
        frozen_time.tick(600)
        assert ["1 on the scratch pad"] == stage.say(1, "ham")
        assert ["milk"] == stage.say(1, "/notes")

    def test_the_notes_are_bounded_by_bytes(self, stage: Stage) -> None:
        """An LRUCache by bytes drops the notes that were used least recently, and no others."""
        for user in (1, 2):
            stage.say(user, "milk")
            stage.say(user, "/keep")
        for key in range(100, 115):
            fill(stage, key)
        assert ["milk"] == stage.say(1, "/notes")
        fill(stage, 115)
        assert ["there are no notes"] == stage.say(2, "/notes")
        assert ["milk"] == stage.say(1, "/notes")

    def test_notebooks_are_apart(self, stage: Stage) -> None:
        """Two users have two pads and two notebooks."""
        stage.say(1, "milk")
        assert ["1 on the scratch pad"] == stage.say(2, "tea")
        stage.say(1, "/keep")
        assert ["there are no notes"] == stage.say(2, "/notes")
        assert ["milk"] == stage.say(1, "/notes")


def fill(stage: Stage, key: int) -> None:
    """Write 4 MiB into a notebook."""
    with stage.module.notes.open(key) as notebook:
        notebook.lines.append("x" * 2**22)


class TestCustomStorage:
    example = "custom_storage"

    @pytest.fixture
    def storage(self, tmp_path: Path) -> Any:
        storage = load("custom_storage").FileStorage(tmp_path / "records")
        del sys.modules["example_custom_storage"]
        return storage

    def test_tasks_are_added_and_crossed_off(self, stage: Stage) -> None:
        """The list is kept from message to message; a wrong number changes nothing."""
        assert ["1. milk"] == stage.say(1, "milk")
        assert ["1. milk\n2. tea"] == stage.say(1, "tea")
        assert ["1. milk\n2. tea"] == stage.say(1, "/done 3")
        assert ["1. milk\n2. tea"] == stage.say(1, "/done")
        assert ["1. tea"] == stage.say(1, "/done 1")
        assert ["nothing to do"] == stage.say(1, "/done 1")

    def test_lists_are_apart(self, stage: Stage) -> None:
        """Two users have two lists."""
        stage.say(1, "milk")
        assert ["1. tea"] == stage.say(2, "tea")
        assert ["1. milk\n2. jam"] == stage.say(1, "jam")

    def test_the_list_outlives_the_process(self, tmp_path: Path) -> None:
        """A second process in the same directory finds what the first one saved."""
        for line, expected in [("milk\n", "1. milk\n"), ("tea\n", "1. milk\n2. tea\n")]:
            assert (expected, "", 0) == Terminal("custom_storage", line, tmp_path).result()

    def test_the_list_outlives_the_bot_but_not_its_lifetime(
        self, frozen_time: FrozenDateTimeFactory, bot_api: BotAPI
    ) -> None:
        """The lifetime goes on over a restart, and every use renews it."""
        month = 30 * 24 * 3600
        answers = []
        for line, days in [("milk", 29), ("/done", 29), ("tea", 30), ("jam", 0)]:
            with on_stage("custom_storage", bot_api) as stage:
                answers += stage.say(1, line)
            frozen_time.tick(days * month / 30)
        assert ["1. milk", "1. milk", "1. milk\n2. tea", "1. jam"] == answers

    def test_no_write_of_many_users_is_lost(self, stage: Stage) -> None:
        """Messages of three users that arrive together are all in the lists."""
        for number in range(5):
            for user in (1, 2, 3):
                stage.user(user).send(str(number))
        stage.polling.wait_idle()
        lists = [sorted(stage.module.sessions.peek(user)["tasks"]) for user in (1, 2, 3)]
        assert [["0", "1", "2", "3", "4"]] * 3 == lists

    KEYS = (
        "42",
        "chat:-100",
        "",
        ".",
        "../42",
        "a/b",
        "A",
        "a",
        "%41",
        "é\n",
        "\ud800",
        "x" * 9999,
    )

    def test_any_string_is_a_key(self, storage: Any) -> None:
        """Keys of any characters and length are told apart, found, listed and deleted."""
        for key in self.KEYS:
            storage.set(key, repr(key).encode())
        assert [repr(key).encode() for key in self.KEYS] == [storage.get(key) for key in self.KEYS]
        assert sorted(self.KEYS) == sorted(storage.keys())
        assert ["A"] == list(storage.keys("A"))
        assert [True] * len(self.KEYS) == [storage.delete(key) for key in self.KEYS]
        assert [False] * len(self.KEYS) == [storage.delete(key) for key in self.KEYS]
        assert [] == list(storage.keys())

    def test_lifetimes_are_kept(self, storage: Any, frozen_time: FrozenDateTimeFactory) -> None:
        """A record is there a microsecond before its lifetime is over, and gone when it is."""
        storage.set("42", b"payload", 10)
        storage.set("43", b"payload")
        frozen_time.tick(10 - MICROSECOND)
        assert (b"payload", True) == (storage.get("42"), storage.touch("42", 10))
        frozen_time.tick(10)
        assert (None, False, False) == (
            storage.get("42"),
            storage.touch("42", 10),
            storage.delete("42"),
        )
        assert [b"payload", ["43"]] == [storage.get("43"), list(storage.keys())]

    def test_touch_gives_and_takes_lifetimes(
        self, storage: Any, frozen_time: FrozenDateTimeFactory
    ) -> None:
        """`touch` gives a lifetime and takes it away, and leaves the payload alone."""
        storage.set("given", b"payload")
        storage.set("taken", b"payload", 10)
        assert [True, True, False] == [
            storage.touch("given", 10),
            storage.touch("taken", None),
            storage.touch("missing", 10),
        ]
        frozen_time.tick(10)
        assert [None, b"payload"] == [storage.get("given"), storage.get("taken")]

    def test_a_failed_write_leaves_the_old_record(self, storage: Any, tmp_path: Path) -> None:
        """A write that fails halfway is a `StorageError`, and the old record is still whole."""
        storage.set("42", b"old")
        before = sorted(path.name for path in (tmp_path / "records").iterdir())
        with files_of_at_most(2**16), pytest.raises(StorageError) as caught:
            storage.set("42", b"x" * 2**17)
        assert ("write", "42", OSError) == (
            caught.value.action,
            caught.value.key,
            type(caught.value.__cause__),
        )
        assert b"old" == storage.get("42")
        assert before == sorted(path.name for path in (tmp_path / "records").iterdir())

    def test_a_failed_write_reaches_nobody(self, stage: Stage) -> None:
        """A handler whose session cannot be written raises, and the old list stays."""
        stage.say(1, "milk")
        Path("sessions").rename("elsewhere")
        stage.say(1, "tea")
        Path("elsewhere").rename("sessions")
        raised = [type(error) for error in stage.polling.exceptions]
        stage.polling.exceptions.clear()
        assert [StorageError] == raised
        assert ["1. milk\n2. jam"] == stage.say(1, "jam")

    @pytest.mark.parametrize(
        "action",
        [
            lambda storage: storage.get("42"),
            lambda storage: storage.set("42", b"payload"),
            lambda storage: list(storage.keys()),
        ],
        ids=["get", "set", "keys"],
    )
    def test_a_lost_directory_is_no_new_user(
        self, storage: Any, tmp_path: Path, action: Any
    ) -> None:
        """Without its directory the storage fails, instead of taking every record for missing."""
        (tmp_path / "records").rename(tmp_path / "elsewhere")
        with pytest.raises(StorageError):
            action(storage)

    @pytest.mark.parametrize(
        "action",
        [
            lambda storage: storage.get("42"),
            lambda storage: storage.set("42", b"payload"),
            lambda storage: storage.delete("42"),
        ],
        ids=["get", "set", "delete"],
    )
    def test_a_record_that_is_no_file_is_an_error(
        self, storage: Any, tmp_path: Path, action: Any
    ) -> None:
        """What the file system refuses is a `StorageError` that names the key."""
        storage.set("42", b"old")
        (path,) = (tmp_path / "records").iterdir()
        path.unlink()
        path.mkdir()
        (path / "in the way").touch()
        with pytest.raises(StorageError, match="'42'"):
            action(storage)

    def test_readers_see_the_old_or_the_new_record(self, storage: Any) -> None:
        """Somebody who reads while records are replaced never sees half of one."""
        payloads = [letter * 2**15 for letter in (b"a", b"b")]
        storage.set("42", payloads[0])
        stop = threading.Event()

        def read() -> set[bytes]:
            seen = {storage.get("42")}
            while not stop.is_set():
                seen.add(storage.get("42"))
            return seen

        with ThreadPoolExecutor(1) as pool:
            future = pool.submit(read)
            for number in range(30):
                storage.set("42", payloads[number % 2])
            stop.set()
            seen = future.result(30)
        assert set() == seen - set(payloads)


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """Let the system refuse to write more than so many bytes into any file."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
HEADINGS = [
    re.findall(r"^#+ (.*)$", README[: README.index(block)], re.MULTILINE)[-1] for block in BLOCKS
]
BOT, *REST = BLOCKS
BEFORE, AFTER = (block for block in REST if "fetch_rate" in block)
TEST_FILES = dict(re.findall(r"```python\n# (\w+\.py)\n(.*?)```", README, re.DOTALL))


class TestReadme:
    def test_the_bot_is_short(self) -> None:
        """The bot on the first screen has fewer than fifteen lines."""
        assert 15 > len(BOT.splitlines()) > 0

    def test_the_bot_is_the_counter(self) -> None:
        """The bot on the first screen is examples/counter.py, but for how it is run."""
        counter = (ROOT / "examples" / "counter.py").read_text().splitlines()
        different = [line for line in BOT.splitlines() if line not in counter]
        assert ['bot = TeleBot(os.environ["BOT_TOKEN"])', "bot.infinity_polling()"] == different
        handler = BOT[BOT.index("@bot") : BOT.index("bot.infinity")].rstrip()
        assert handler in "\n".join(counter)

    def test_the_bot_runs_as_it_is(self, bot_api: BotAPI, monkeypatch: pytest.MonkeyPatch) -> None:
        """Pasted and run with a token, the bot polls and counts each user alone."""
        monkeypatch.setenv("BOT_TOKEN", "1:pasted")
        program: dict[str, Any] = {}
        thread = threading.Thread(target=lambda: exec(BOT, program))
        thread.start()
        try:
            for number, user in enumerate((1, 2, 1), start=1):
                bot_api.user(user).send("hi")
                messages = bot_api.wait_for_messages(number)
        finally:
            with bot_api.short_polls():
                program["bot"].stop_bot()
                thread.join(30)
        assert [(1, 1), (2, 1), (1, 2)] == [
            (message.chat_id, int(re.sub(r"\D", "", message.text))) for message in messages
        ]
        assert "you called the bot 2 times!" == messages[-1].text
        assert {"1:pasted"} == {call.token for call in bot_api.calls}

    @pytest.mark.parametrize("block", BLOCKS, ids=HEADINGS)
    def test_every_block_is_python(self, block: str) -> None:
        """Every block of code compiles."""
        assert [] != compile(block, "README.md", "exec", ast.PyCF_ONLY_AST).body

    def test_every_block_does_what_it_says(self) -> None:
        """The blocks run one after the other, and say of each value what it is."""
        names: dict[str, Any] = {name: getattr(telesession, name) for name in telesession.__all__}
        names.update(TeleBot=TeleBot, TOKEN=OFFLINE_TOKEN, fetch_rate=lambda: 7)
        names.update(Message=types.Message, redis=SimpleNamespace(Redis=EmptyServer))
        # What is to be imported.
        StatePickleStorage(file_path=".state-save/states.pkl").set_state(1, 1, "name")
        bot = names["bot"] = TeleBot(OFFLINE_TOKEN)
        claims = []
        for block in REST:
            if block.startswith("# "):
                continue
            names["session"] = telesession.Session({"code": "1234"})
            claims += run_block(block, names)
        for used in {bot, names["bot"]}:
            used.stop_bot()
        assert ["{'visits': 1}", "['42']", "True", "None"] == [claim for claim, _ in claims]
        assert [claim for claim, _ in claims] == [repr(value) for _, value in claims]

    def test_a_global_dict_loses_messages(self, bot_api: BotAPI) -> None:
        """Control: the bot that the README warns of does not count one of two messages."""
        both = threading.Barrier(2, timeout=30)
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
        both = threading.Barrier(2, timeout=30)
        assert ["message 1", "message 1"] == talk(bot_api, AFTER, both.wait, [1, 2])

    def test_the_tests_pass(self, pytester: pytest.Pytester) -> None:
        """The tests that the README shows pass, beside the examples they are about."""
        for name, source in TEST_FILES.items():
            pytester.path.joinpath(name).write_text(source)
            module = pytester.path / name.removeprefix("test_")
            if not module.exists():
                module.write_text((ROOT / "examples" / module.name).read_text())
        assert ["conftest.py", "test_counter.py", "test_login_code.py"] == list(TEST_FILES)
        pytester.runpytest("-p", "no:cacheprovider").assert_outcomes(passed=2)

    def test_its_links_lead_somewhere(self) -> None:
        """Every link inside the repository leads to a file or to a heading."""
        headings = re.findall(r"^#+ (.*)$", README, re.MULTILINE)
        anchors = {f"#{re.sub(r'[^a-z0-9 -]', '', h.lower()).replace(' ', '-')}" for h in headings}
        links = [link for link in re.findall(r"\]\(([^)]+)\)", README) if "://" not in link]
        lost = [link for link in links if link not in anchors and not (ROOT / link).is_file()]
        assert (True, []) == (len(links) > 0, lost)

    def test_every_example_is_listed(self) -> None:
        """The table of examples has every file of the folder."""
        assert NAMES == sorted(
            re.findall(r"^\| \[\w+\.py\]\(examples/(\w+)\.py\)", README, re.MULTILINE)
        )

    def test_every_option_is_listed_with_its_default(self) -> None:
        """The table of options has every option and its default, in the order of the signature."""
        options = inspect.signature(Sessions).parameters.values()
        expected = {option.name: shown_default(option.default) for option in options}
        table = README[README.index("| option |") : README.index("To give several handlers")]
        rows = re.findall(r"^\| `(\w+)` \| (?:`(.*?)`|(one .*?)) \|", table, re.MULTILINE)
        actual = {name: code or words for name, code, words in rows}
        assert "one `MemoryStorage` for the whole process" == actual.pop("storage")
        assert "None" == expected.pop("storage")
        assert ("None", "{}") == (expected.pop("migrations"), actual.pop("migrations"))
        assert (list(expected), expected) == (list(actual), actual)

    def test_every_public_name_is_explained(self) -> None:
        """Each name that can be imported is mentioned."""
        unexplained = [name for name in telesession.__all__ if name not in README]
        assert [] == unexplained

    def test_every_error_has_a_remedy(self) -> None:
        """The table of errors has every subclass of `SessionError`."""
        names = re.findall(r"^\| `(\w+Error)`", README, re.MULTILINE)
        public = [getattr(telesession, name) for name in telesession.__all__]
        errors = [kind.__name__ for kind in public if is_session_error(kind)]
        assert sorted(errors) == sorted(names)


class EmptyServer:
    """A client of a server that has nothing to import."""

    def scan_iter(self, **_: object) -> Iterator[str]:
        return iter(())


def run_block(block: str, names: dict[str, Any]) -> list[tuple[str, Any]]:
    """Run a block, and return the values that it shows in comments, with what they really are."""
    claims = []
    for statement in ast.parse(block).body:
        source = ast.get_source_segment(block, statement) or ""
        decorated = textwrap.dedent(ast.unparse(statement))
        comment = block.splitlines()[(statement.end_lineno or 0) - 1].partition("# ")[2]
        if isinstance(statement, ast.Expr) and is_literal(comment):
            claims.append((comment, eval(source, names)))
        else:
            exec(decorated, names)
    return claims


def is_literal(text: str) -> bool:
    try:
        ast.literal_eval(text)
    except (SyntaxError, ValueError):
        return False
    return True


def talk(api: BotAPI, block: str, fetch: Any, users: list[int]) -> list[str]:
    """Let users write at the same time to a bot whose handlers fetch something."""
    bot = TeleBot(OFFLINE_TOKEN)
    names = {"bot": bot, "fetch_rate": fetch, "with_session": telesession.with_session}
    exec(block, names)
    with run_polling(bot, api) as polling:
        for user in users:
            api.user(user).send("hi")
        polling.wait_idle()
    return sorted(message.text.partition(",")[0] for message in api.messages)


def shown_default(default: Any) -> str:
    shown = getattr(default, "__name__", None) or repr(default)
    return shown.replace("'", '"')


def is_session_error(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, telesession.SessionError)
