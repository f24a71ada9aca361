"""The records of questions: after a restart, in a storage that fails, and what they cost."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from support.bots import ANNA_IN_GROUP, ROOT, Desk, Host, make_host, waiting_questions
from support.postgres_storages import make_storage
from support.storages import SpyStorage
from support.updates import ANNA, BORIS, BOT, GROUP, message, said_in_group, update
from telesession import (
    DecodeError,
    MemoryStorage,
    RedisStorage,
    Sessions,
    SQLiteStorage,
    Storage,
    StorageError,
    ask,
    use_questions,
)
from telesession.sessions import sessions_in_room

if TYPE_CHECKING:
    from pathlib import Path

    from telesession.testing import BotAPI


# Whoever asks sends a message.
pytestmark = pytest.mark.usefixtures("bot_api")


OpenStorage = Callable[[], Storage]


@pytest.fixture(params=["sqlite", "redis", "postgres"])
def open_storage(request: pytest.FixtureRequest, tmp_path: Path) -> OpenStorage:
    """What a process does to get to its durable storage."""
    if request.param == "sqlite":
        return lambda: SQLiteStorage(tmp_path / "questions.db")
    if request.param == "postgres":
        return partial(make_storage, request.getfixturevalue("postgres"))
    server = request.getfixturevalue("server")
    return lambda: RedisStorage(server.url)


PROGRAM = """
    import json, sys
    from telebot import TeleBot, types
    from telesession import Sessions, SQLiteStorage, ask, use_questions
    from telesession.testing import BotAPI

    def take_name(message, session):
        session.name = message.text
        bot.send_message(message.chat.id, f"hello, {message.text}")

    def begin(message):
        ask(bot, message, "your name?", take_name, timeout=3600)

    path, text = sys.argv[1:]
    with BotAPI() as api, SQLiteStorage(path) as storage:
        bot = TeleBot("1:offline", threaded=False)
        use_questions(bot, Sessions(storage=storage), steps=[take_name])
        bot.register_message_handler(begin)
        update = api.user(42).send(text)
        bot.process_new_updates([types.Update.de_json(json.dumps(update))])
        print(*[message.text for message in api.messages])
    """


class TestARestart:
    def test_another_process_gets_the_answer(self, tmp_path: Path) -> None:
        """
        One process asks and ends, another one hears the answer, with its session, and the file
        has nothing left of the question.
        """

        def run(text: str) -> str:
            program = [sys.executable, "-c", textwrap.dedent(PROGRAM)]
            done = subprocess.run(
                [*program, str(tmp_path / "bot.db"), text],
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
            )
            return done.stdout + done.stderr

        assert ["your name?\n", "hello, Ada\n"] == [run("hi"), run("Ada")]
        with SQLiteStorage(tmp_path / "bot.db") as storage:
            assert ["42"] == list(storage.keys())
            assert {"name": "Ada"} == Sessions(storage=storage).peek(42)

    def test_another_bot_gets_the_answer(self, open_storage: OpenStorage, bot_api: BotAPI) -> None:
        """
        A new bot with a new storage, on a file or a server, hears the answer and no other.
        """
        (before,) = make_host()
        with open_storage() as storage:
            Desk(before, storage)
            before.deliver(said_in_group("ask me"))
            assert [ANNA_IN_GROUP] == waiting_questions(storage)
        (after,) = make_host()
        with open_storage() as storage:
            desk = Desk(after, storage)
            after.deliver(
                said_in_group("not mine", BORIS), said_in_group("Ada"), said_in_group("bye")
            )
            assert [] == waiting_questions(storage)
        expected = [("handler", "not mine"), ("step", "Ada"), ("handler", "bye")]
        assert (expected, []) == (desk.heard, after.raised)

    @pytest.mark.parametrize(
        "name", ["os.system", "system", "never_called", "Desk.handle", "", None, ["step"], 5]
    )
    def test_only_listed_steps_are_called(
        self,
        name: Any,
        simple_host: Host,
        caplog: pytest.LogCaptureFixture,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """
        A record that names any other function, or no name at all, calls nothing: the message
        goes to the handlers, and the log has an error.
        """
        called: list[Any] = []
        monkeypatch.setattr(os, "system", called.append)
        monkeypatch.setitem(globals(), "never_called", called.append)
        storage = MemoryStorage()
        desk = Desk(simple_host, storage)
        forged = sessions_in_room(f"@questions-{BOT['id']}:", storage=storage)
        with forged.open(ANNA_IN_GROUP) as record:
            record["question:general:1"] = {"id": "1", "step": name, "message": 1}
        with caplog.at_level(logging.WARNING, "telesession"):
            simple_host.deliver(said_in_group("rm -rf"), said_in_group("hi"))
        assert ([], []) == (called, simple_host.raised)
        assert [("handler", "rm -rf"), ("handler", "hi")] == desk.heard
        assert [logging.ERROR] == [record.levelno for record in caplog.records]
        assert ("rm -rf" in caplog.text, []) == (False, waiting_questions(storage))

    def test_a_step_that_nobody_lists_any_more(
        self, tmp_path: Path, bot_api: BotAPI, caplog: pytest.LogCaptureFixture
    ) -> None:
        """
        To ask for a step that is not listed is a warning, once, on a storage that outlives the
        bot; after a restart its answer is an error in the log and goes to the handlers.
        """

        def take(message: Any) -> None:
            """Whom nobody listed."""

        (before,) = make_host()
        with SQLiteStorage(tmp_path / "bot.db") as storage:
            use_questions(before.bot, Sessions(storage=storage))
            with caplog.at_level(logging.WARNING, "telesession"):
                ask(before.bot, said_in_group("hi").message, "well?", take)
                ask(before.bot, said_in_group("hi").message, "well?", take)
        (warning,) = caplog.records
        assert (logging.WARNING, True) == (warning.levelno, "list it" in warning.getMessage())
        caplog.clear()
        (after,) = make_host()
        with SQLiteStorage(tmp_path / "bot.db") as storage:
            desk = Desk(after, storage)
            after.deliver(said_in_group("Ada"))
        (error,) = caplog.records
        assert (logging.ERROR, [("handler", "Ada")]) == (error.levelno, desk.heard)
        assert "steps=[...]" in error.getMessage()

    @pytest.mark.parametrize("kind", ["memory", "listed"])
    def test_other_steps_are_no_warning(
        self, kind: str, simple_host: Host, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        """
        A listed step is asked for without a warning, and so is any in memory.
        """

        def take(message: Any) -> None:
            """Who is asked for."""

        with SQLiteStorage(tmp_path / "bot.db") as file:
            storage = file if kind == "listed" else MemoryStorage()
            steps = [take] if kind == "listed" else []
            use_questions(simple_host.bot, Sessions(storage=storage), steps=steps)
            with caplog.at_level(logging.WARNING, "telesession"):
                ask(simple_host.bot, said_in_group("hi").message, "well?", take)
        assert [] == caplog.records


class TestWhatItCosts:
    def test_a_message_is_one_read_while_none_waits(self, host: Host) -> None:
        """
        As long as no question waits for its sender, a message is one read, and no lock.
        """
        storage = SpyStorage()
        desk = Desk(host, storage)
        ask(host.bot, said_in_group("hi", BORIS).message, "well?", desk.step)
        storage.calls.clear()
        host.deliver(said_in_group("a"), said_in_group("b"), said_in_group("/help"))
        assert ({"get": 3}, []) == (dict(storage.calls), host.raised)

    def test_a_service_message_is_nothing(self, simple_host: Host) -> None:
        """
        What cannot be an answer is not looked up.
        """
        storage = SpyStorage()
        Desk(simple_host, storage)
        payload = message(GROUP, ANNA, new_chat_title="Tea")
        del payload["text"]
        simple_host.deliver(update("message", payload))
        assert {} == storage.calls

    def test_a_bot_that_never_asked_pays_nothing(self, host: Host) -> None:
        """
        To attach sessions brings no reads for handlers that take none.
        """
        storage = SpyStorage()
        desk = Desk(host, storage, listens=False)
        desk.sessions.attach(host.bot)
        host.deliver(said_in_group("a"), said_in_group("/help"))
        assert ({}, 2) == (storage.calls, len(desk.heard))

    def test_a_question_and_its_answer(self, simple_host: Host) -> None:
        """
        To ask is two locks, reads and writes, because the number of the message is only known once
        it was sent; the answer is three reads, two locks and a delete.
        """
        storage = SpyStorage()
        desk = Desk(simple_host, storage)
        ask(simple_host.bot, said_in_group("hi").message, "well?", desk.step)
        assert {"hold": 2, "get": 2, "set": 2} == storage.calls
        storage.calls.clear()
        simple_host.deliver(said_in_group("Ada"))
        assert {"hold": 2, "get": 3, "delete": 1} == storage.calls

    def test_a_question_and_its_answer_in_line(self, ordered_host: Host) -> None:
        """
        With sequential workers, a question to the sender is one read and one write, beside the
        read of the message. The answer costs the same as without.
        """
        storage = SpyStorage()
        Desk(ordered_host, storage)
        ordered_host.deliver(said_in_group("ask me"))
        assert {"hold": 1, "get": 2, "set": 1} == storage.calls
        storage.calls.clear()
        ordered_host.deliver(said_in_group("Ada"))
        assert {"hold": 2, "get": 3, "delete": 1} == storage.calls


class TestAFailedRead:
    def test_it_is_an_error_and_not_no_question(self, host: Host) -> None:
        """
        While the storage cannot be read, nobody gets the message, and the exception handler
        gets the error; afterwards the question still waits.
        """
        storage = SpyStorage()
        desk = Desk(host, storage)
        host.deliver(said_in_group("ask me"))
        storage.fail("get")
        host.deliver(said_in_group("Ada"))
        assert ([StorageError], []) == ([type(error) for error in host.raised], desk.heard)
        host.deliver(said_in_group("Ada"))
        assert [("step", "Ada")] == desk.heard

    def test_a_record_that_cannot_be_read_stays(self, simple_host: Host) -> None:
        """
        A damaged record is an error for every message of its sender, and is left as it is.
        """
        storage = MemoryStorage()
        desk = Desk(simple_host, storage)
        key = f"@questions-{BOT['id']}:{ANNA_IN_GROUP}"
        storage.set(key, b"damaged")
        simple_host.deliver(said_in_group("Ada"), said_in_group("Bob", BORIS))
        assert [DecodeError] == [type(error) for error in simple_host.raised]
        assert ([("handler", "Bob")], b"damaged") == (desk.heard, storage.get(key))
