"""Steps on sequential workers: the end of a question is saved with the step, or not at all."""

from __future__ import annotations

import signal
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest
from telebot.util import quick_markup

from support.bots import Refusal, waiting_questions
from support.clocks import MICROSECOND
from support.counters import QUESTION, USER
from support.processes import run_program
from support.storages import SpyStorage, is_held
from support.threads import Log, in_thread, wait_for
from support.updates import ANNA, BORIS, button_press, said, update
from telesession import (
    MemoryStorage,
    Session,
    Sessions,
    SessionStateStorage,
    SQLiteStorage,
    Storage,
    ask,
    cancel,
    on_commit,
    use_questions,
)
from telesession.sessions import sessions_in_room

if TYPE_CHECKING:
    from pathlib import Path

    from freezegun.api import FrozenDateTimeFactory

    from support.bots import Host
    from telesession.testing import BotAPI

# The bot sends its questions.
pytestmark = pytest.mark.usefixtures("bot_api")

ROOM = "@questions-{}:"


class Interview:
    """
    A bot with one question, whose step does something and raises for some answers.

    Attributes:
        heard: The answers that the step got, and the texts that reached the message handler.
        sessions: The sessions of the step, which keep the latest answer.
    """

    def __init__(self, host: Host, storage: Storage | None = None, **options: Any) -> None:
        self.storage = storage or MemoryStorage()
        self.sessions = Sessions(storage=self.storage)
        self.host = host
        self.bot: Any = host.bot
        self.bot.current_states = SessionStateStorage(self.storage)
        self.heard: list[tuple[str, str]] = []
        self.options = options
        use_questions(host.bot, self.sessions, steps=[self.take, self.next_step])
        host.bot.register_message_handler(lambda m: self.heard.append(("handler", m.text)))

    def act(self, message: Any) -> None:
        """Called by the step before it ends; replaced by tests."""

    def take(self, message: Any, session: Session) -> None:
        self.heard.append(("step", message.text))
        session.answer = message.text
        self.act(message)
        if message.text.startswith("bad"):
            raise Refusal

    def next_step(self, message: Any) -> None:
        self.heard.append(("next", message.text))

    def ask(self, person: dict[str, Any] = ANNA) -> None:
        ask(self.bot, said("hi", person).message, "well?", self.take, **self.options)

    def say(self, *texts: str) -> None:
        self.host.deliver(*(said(text) for text in texts))

    @property
    def raised(self) -> list[type]:
        return [type(error) for error in self.host.raised]


def test_a_question_ends_with_its_step(ordered_host: Host) -> None:
    """While the step runs, its question still waits, and its lock is free; then it is over."""
    interview, seen = Interview(ordered_host), []
    interview.ask()
    place = ROOM.format(interview.bot.bot_id) + QUESTION
    interview.act = lambda message: seen.extend(
        [
            in_thread(waiting_questions, interview.storage),
            in_thread(is_held, interview.storage, place),
        ]
    )

    interview.say("good")

    assert ([[QUESTION], False], []) == (seen, waiting_questions(interview.storage))
    assert {"answer": "good"} == interview.sessions.peek(USER)


def test_its_end_and_the_session_are_one_commit(ordered_host: Host) -> None:
    """Both are written together."""
    storage = SpyStorage()
    interview = Interview(ordered_host, storage)
    interview.ask()
    storage.writes.clear()

    interview.say("good")

    assert (1, ["set", "delete"]) == (storage.calls["commit"], storage.writes)


@pytest.mark.parametrize("timeout", [None, 60])
def test_a_step_that_raises_changes_nothing(
    timeout: float | None, ordered_host: Host, storage: Storage
) -> None:
    """Its session, its states and its next question are undone, and its question waits again."""
    interview = Interview(ordered_host, storage, timeout=timeout)
    bot, called = interview.bot, []
    interview.ask()

    def act(message: Any) -> None:
        bot.set_state(USER, "here")
        ask(bot, message, "next?", interview.next_step)
        on_commit(called.append, message.text)

    interview.act = act
    interview.say("bad")
    after_raise = bot.get_state(USER), interview.sessions.peek(USER), called.copy()
    interview.say("good", "and more", "bye")

    assert ([Refusal], (None, None, [])) == (interview.raised, after_raise)
    assert ("here", {"answer": "good"}, ["good"]) == (
        bot.get_state(USER),
        interview.sessions.peek(USER),
        called,
    )
    assert [
        ("step", "bad"),
        ("step", "good"),
        ("next", "and more"),
        ("handler", "bye"),
    ] == interview.heard


def test_a_step_without_a_session_is_undone_too(ordered_host: Host) -> None:
    """The unit is that of the question, so a state of the step is part of it."""
    interview = Interview(ordered_host)
    bot = interview.bot

    def fail(message: Any) -> None:
        bot.set_state(USER, "here")
        raise Refusal

    ask(bot, said("hi").message, "well?", fail)
    interview.say("bad")

    assert ([Refusal], None, [QUESTION]) == (
        interview.raised,
        bot.get_state(USER),
        waiting_questions(interview.storage),
    )


@pytest.mark.parametrize(("more", "hears"), [(40 - MICROSECOND, "step"), (40, "handler")])
def test_it_waits_for_the_time_that_was_left(
    more: float, hears: str, ordered_host: Host, frozen_time: FrozenDateTimeFactory
) -> None:
    """A question that had 40 of 60 s left has 40 s again, also after a step of 30 s."""
    interview = Interview(ordered_host, timeout=60)
    interview.ask()
    frozen_time.tick(20)
    interview.act = lambda message: frozen_time.tick(30) and None

    interview.say("bad")
    frozen_time.tick(more)
    interview.say("good")

    assert [("step", "bad"), (hears, "good")] == interview.heard


def test_a_step_that_takes_longer_than_was_left_waits_again(
    ordered_host: Host, frozen_time: FrozenDateTimeFactory
) -> None:
    """The time that passes while the step runs is not the user's."""
    interview = Interview(ordered_host, timeout=60)
    interview.ask()
    interview.act = lambda message: frozen_time.tick(3600) and None

    interview.say("bad", "bad again")

    assert [("step", "bad"), ("step", "bad again")] == interview.heard


def test_what_a_question_asks_another_person_stays(ordered_host: Host) -> None:
    """It is written at once, and that person may have answered."""
    interview = Interview(ordered_host)
    interview.ask()
    interview.act = lambda message: interview.ask(BORIS)

    interview.say("bad")

    other = f"sender_in_chat:{BORIS['id']}:{BORIS['id']}"
    assert sorted([QUESTION, other]) == waiting_questions(interview.storage)


def test_a_storage_that_is_away_does_not_hide_what_the_step_raised(
    ordered_host: Host, caplog: pytest.LogCaptureFixture
) -> None:
    """The bot learns what the step raised, the log why the question lost time, and it waits on."""
    storage = SpyStorage()
    interview = Interview(ordered_host, storage, timeout=60)
    interview.ask()

    def act(message: Any) -> None:
        storage.fail("set")

    interview.act = act
    interview.say("bad secret")

    assert ([Refusal], [QUESTION]) == (interview.raised, waiting_questions(storage))
    assert (1, True, False) == (
        len(caplog.records),
        "the disk is full" in caplog.text,
        "secret" in caplog.text,
    )


def test_a_commit_that_fails_leaves_the_question(ordered_host: Host) -> None:
    """A value that cannot be stored is an error of the step, and nothing was written."""
    interview = Interview(ordered_host, timeout=60)

    def fail(message: Any, session: Session) -> None:
        session.lock = threading.Lock()

    ask(interview.bot, said("hi").message, "well?", fail)
    interview.say("good")

    assert (["EncodeError"], [QUESTION]) == (
        [error.__name__ for error in interview.raised],
        waiting_questions(interview.storage),
    )


def test_a_command_ends_it_though_its_handler_raises(ordered_host: Host) -> None:
    """As on telebot's own pool: the command is no answer, and `cancel` knows what it has ended."""
    interview, ended = Interview(ordered_host), []
    interview.ask()

    @interview.sessions.with_session
    def stop(message: Any, session: Session) -> None:
        ended.append(cancel(interview.bot, message))
        raise Refusal

    interview.bot.message_handlers.pop()
    interview.bot.register_message_handler(stop, commands=["stop"])
    interview.say("/stop")

    assert ([True], [], [Refusal]) == (
        ended,
        waiting_questions(interview.storage),
        interview.raised,
    )


def test_what_a_step_asks_is_answered_next(ordered_host: Host) -> None:
    """Messages of one batch: the next question is saved before the next message is handled."""
    interview = Interview(ordered_host)
    interview.ask()
    interview.act = lambda message: (
        ask(interview.bot, message, "next?", interview.next_step) and None
    )

    interview.bot.process_new_updates([said("one"), said("two"), said("three")])
    interview.host.deliver(said("four"))

    assert [
        ("step", "one"),
        ("next", "two"),
        ("handler", "three"),
        ("handler", "four"),
    ] == interview.heard


KILLED = """
import os, signal, sys, threading
from telebot import TeleBot
from telebot.types import Update
from telesession import Sessions, SQLiteStorage, ask, use_questions, use_sequential_workers
from telesession.testing import BotAPI

def take(message, session):
    session.answer = message.text
    bot.set_state(42, "here")
    os.kill(os.getpid(), signal.SIGKILL)

def said(text):
    user = {"id": 42, "is_bot": False, "first_name": "Ann"}
    chat = {"id": 42, "type": "private", "first_name": "Ann"}
    message = {"message_id": 1, "from": user, "chat": chat, "date": 1, "text": text}
    return Update.de_json({"update_id": 1, "message": message})

path, workers = sys.argv[1:]
with BotAPI():
    bot = TeleBot("1:offline")
    if workers == "sequential":
        use_sequential_workers(bot)
    use_questions(bot, Sessions(storage=SQLiteStorage(path)), steps=[take])
    ask(bot, said("hi").message, "well?", take, timeout=3600)
    bot.process_new_updates([said("an answer")])
    threading.Event().wait(60)
"""


@pytest.mark.parametrize("workers", ["sequential", "telebot's"])
def test_a_process_that_is_killed_in_the_step(workers: str, tmp_path: Path) -> None:
    """The question waits on, and nothing of the step is saved."""
    path = str(tmp_path / "bot.db")

    code, _, complaints = run_program([sys.executable, "-c", KILLED, path, workers])

    assert (-signal.SIGKILL, "") == (code, complaints)
    with SQLiteStorage(path) as storage:
        questions = list(sessions_in_room(ROOM.format(1), storage=storage).keys())
        assert (["sender_in_chat:42:42"], None) == (questions, Sessions(storage=storage).peek(42))


def test_a_press_waits_for_the_handler_that_asks(ordered_host: Host, bot_api: BotAPI) -> None:
    """A quick press on the question's button finds it, although presses overtake messages."""
    bot, heard = ordered_host.bot, Log()
    sessions = Sessions(storage=MemoryStorage())
    pressed, asked = threading.Event(), threading.Event()

    def take(query: Any) -> None:
        heard.add("step")

    @bot.message_handler()
    @sessions.with_session
    def begin(message: Any, session: Session) -> None:
        ask(bot, message, "well?", take, reply_markup=quick_markup({"yes": {"callback_data": "y"}}))
        asked.set()
        wait_for(pressed)

    use_questions(bot, sessions, steps=[take])
    bot.register_callback_query_handler(lambda query: heard.add("handler"), func=lambda _: True)
    bot.process_new_updates([said("hi")])
    wait_for(asked)
    (question,) = bot_api.messages
    press = update("callback_query", button_press(ANNA, message=question.json, data="y"))
    bot.process_new_updates([press])
    pressed.set()

    assert ["step"] == heard.wait_for(1)
