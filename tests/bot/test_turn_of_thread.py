"""Turns of workers: which update a thread handles, and which records its unit may save."""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest
from telebot import TeleBot

from support.bots import said_to_business
from support.counters import USER, Undone
from support.processes import run_program
from support.threads import Log, in_thread
from support.updates import (
    ANNA,
    ANONYMOUS_ADMIN,
    BOT,
    CHANNEL,
    CHANNEL_AS_USER,
    CLARA,
    CONNECTION,
    FORUM,
    GROUP,
    GROUP_ANONYMOUS_BOT,
    TOKEN,
    button_press,
    in_topic,
    message,
    said,
    said_in_group,
    update,
)
from telesession import MemoryStorage
from telesession.bot import state_records
from telesession.bot.turns import Turn, _turns, unit_in_turn

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.bots import MakeBot

PRIVATE = said("hi").message
IN_GROUP = said_in_group("hi").message
IN_TOPIC = update("message", message(FORUM, ANNA, **in_topic(FORUM, 7))).message
BUSINESS = said_to_business("hi", CONNECTION).business_message
PRESSED = update("callback_query", button_press(ANNA, message=message(GROUP, BOT))).callback_query
ADMIN = update("message", message(GROUP, ANONYMOUS_ADMIN, sender_chat=GROUP)).message
OF_CHANNEL = update("message", message(GROUP, CHANNEL_AS_USER, sender_chat=CHANNEL)).message
GUEST = update("message", message(GROUP, ANNA, guest_query_id="5")).message


@pytest.fixture
def bot() -> TeleBot:
    return TeleBot(TOKEN, threaded=False)


@pytest.fixture
def turn(request: pytest.FixtureRequest, bot: TeleBot) -> Iterator[Turn]:
    turn = Turn(bot, request.param, is_in_order=True)
    turn.begin()
    yield turn
    turn.end()


class TestOfSender:
    """A state is of the sender if only updates that wait for this turn can need it."""

    @pytest.mark.parametrize(
        ("turn", "chat", "user", "more", "expected"),
        [
            (PRIVATE, USER, USER, {}, True),
            (PRIVATE, USER, CLARA["id"], {}, False),
            (PRIVATE, CLARA["id"], USER, {}, False),
            (IN_GROUP, GROUP["id"], USER, {}, True),
            (IN_GROUP, USER, USER, {}, False),
            (IN_GROUP, GROUP["id"], USER, {"message_thread_id": 7}, False),
            (IN_TOPIC, FORUM["id"], USER, {"message_thread_id": 7}, True),
            (IN_TOPIC, FORUM["id"], USER, {}, True),
            (IN_TOPIC, FORUM["id"], USER, {"message_thread_id": 8}, False),
            (BUSINESS, USER, USER, {"business_connection_id": CONNECTION}, True),
            (BUSINESS, USER, USER, {}, False),
            (PRIVATE, USER, USER, {"business_connection_id": CONNECTION}, False),
            (PRESSED, GROUP["id"], USER, {}, True),
            (PRESSED, GROUP["id"], BOT["id"], {}, False),
            (ADMIN, GROUP["id"], GROUP_ANONYMOUS_BOT, {}, False),
            (ADMIN, GROUP["id"], GROUP["id"], {}, True),
            (OF_CHANNEL, GROUP["id"], OF_CHANNEL.from_user.id, {}, False),
            (OF_CHANNEL, GROUP["id"], CHANNEL["id"], {}, True),
            (GUEST, GROUP["id"], USER, {}, False),
            (PRIVATE, USER, USER, {"bot_id": 1}, False),
            (PRIVATE, USER, USER, {"bot_id": None}, False),
            ([PRIVATE], USER, USER, {}, False),
            (None, USER, USER, {}, False),
        ],
        indirect=["turn"],
    )
    def test_a_place(  # noqa: PLR0917 -- one for each column of the table
        self, turn: Turn, bot: TeleBot, chat: int, user: int, more: dict[str, Any], expected: bool
    ) -> None:
        """Sender, chat, business connection and bot are the same; the topic is, or is not given."""
        place = {"business_connection_id": None, "message_thread_id": None, "bot_id": bot.bot_id}
        key = state_records.place_key(chat, user, **{**place, **more})

        assert expected == state_records._is_of_sender(key)

    def test_an_update_that_no_other_waits_for(self, bot: TeleBot) -> None:
        """Without a key of its workers, nothing is saved with the handler."""
        key = state_records.place_key(USER, USER, None, None, bot.bot_id)
        turn = Turn(bot, PRIVATE, is_in_order=False)
        turn.begin()
        in_turn = state_records._is_of_sender(key)
        turn.end()

        assert (False, False) == (in_turn, state_records._is_of_sender(key))


class TestTurns:
    def test_a_thread_has_the_turn_that_it_began(self, bot: TeleBot) -> None:
        """Other threads have none, a turn inside is the turn until it ends, and none is left."""
        outer, inner = (Turn(bot, PRIVATE, is_in_order=True) for _ in range(2))
        seen = [Turn.of_thread()]
        for change in (outer.begin, inner.begin, inner.end, outer.end):
            change()
            seen.append(Turn.of_thread())
            assert None is in_thread(Turn.of_thread)

        assert [None, outer, inner, outer, None] == seen
        assert {} == _turns

    def test_a_thread_has_no_turn_of_another_one_of_its_number(self, bot: TeleBot) -> None:
        """A forked child may use the number of a thread of its parent, which had a turn."""
        turn = Turn(bot, PRIVATE, is_in_order=True)
        turn.begin()
        turn._thread = threading.Thread()
        found = Turn.of_thread()
        turn.end()

        assert None is found

    def test_without_a_unit_a_record_is_written_at_once(self) -> None:
        """Also in the turn of its sender."""
        assert None is unit_in_turn(MemoryStorage(), "key", is_of_sender=True)

    @pytest.mark.parametrize("get_key", [None, lambda message: None], ids=["by_sender", "none"])
    def test_a_worker_begins_and_ends_turns(self, make_sequential: MakeBot, get_key: Any) -> None:
        """A handler has the turn of its update, and none is left when it has raised."""
        bot = make_sequential(1, workers={} if get_key is None else {"get_key": get_key})
        seen: Log = Log()

        @bot.message_handler()
        def handle(message: Any) -> None:
            turn = Turn.of_thread()
            assert turn is not None
            seen.add((turn.update is message, turn.bot is bot, turn.is_in_order))
            raise Undone

        bot.process_new_updates([said("hi")])
        bot.worker_pool.put(lambda: seen.add(getattr(Turn.of_thread(), "update", "no turn")))
        is_in_order = get_key is None

        assert [(True, True, is_in_order), None] == seen.wait_for(2)
        bot.worker_pool.close()
        assert {} == _turns

    def test_telebots_pool_has_no_turns(self, make_bot: MakeBot) -> None:
        """The control: there, nothing waits for the update of a handler."""
        bot, seen = make_bot(1), Log()
        bot.register_message_handler(lambda message: seen.add(Turn.of_thread()))

        bot.process_new_updates([said("hi")])

        assert [None] == seen.wait_for(1)


FORKS = """
import os, sys, threading
from telebot import TeleBot
from telebot.types import Update
from telesession import Sessions, SessionStateStorage, SQLiteStorage, use_sequential_workers

storage = SQLiteStorage(sys.argv[1])
bot = TeleBot("1:offline", state_storage=SessionStateStorage(storage))
sessions = Sessions(storage=storage)
use_sequential_workers(bot, num_threads=1)
is_over = threading.Event()

@bot.message_handler()
@sessions.with_session
def handle(message, session):
    session.counter = 1
    if child := os.fork():
        assert os.waitpid(child, 0) == (child, 0)
        print("parent", bot.get_state(42), flush=True)
        is_over.set()
    else:
        bot.set_state(42, "of the child")
        print("child", bot.get_state(42), flush=True)
        os._exit(0)

user = {"id": 42, "is_bot": False, "first_name": "Ann"}
chat = {"id": 42, "type": "private", "first_name": "Ann"}
message = {"message_id": 1, "from": user, "chat": chat, "date": 1, "text": "hi"}
bot.process_new_updates([Update.de_json({"update_id": 1, "message": message})])
assert is_over.wait(60)
os._exit(0)
"""


def test_a_child_of_a_handler_writes_its_states_at_once(tmp_path: Path) -> None:
    """The unit is that of the parent, so the child does not note anything in it."""
    command = [sys.executable, "-W", "ignore", "-c", FORKS, str(tmp_path / "bot.db")]

    assert (0, "child of the child\nparent of the child\n", "") == run_program(command)
