"""The locks of questions: one answer among processes, and no circle with sessions."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from support.bots import Host, waiting_questions
from support.clocks import PATIENCE
from support.counters import QUESTION, USER
from support.inboxes import BOT_ID, MakeLife, records, send
from support.question_locks import (
    Listener,
    Neighbours,
    answering,
    make_threaded_host,
    open_place,
    run_neighbours,
)
from support.servers import patient_url
from support.storages import Asked
from support.threads import Log, began, wait_for
from support.updates import ANNA, BORIS, said
from telesession import Session, Sessions, ask, use_questions
from telesession.sessions import sessions_in_room

if TYPE_CHECKING:
    from support.servers import Server
    from telesession import Storage
    from telesession.testing import BotAPI

# The bot sends its questions.
pytestmark = pytest.mark.usefixtures("bot_api")


@pytest.fixture(params=["telebot's", "sequential"])
def workers(request: pytest.FixtureRequest) -> str:
    """The kind of workers of a bot."""
    kind: str = request.param
    return kind


@pytest.fixture
def threaded_host(workers: str) -> Iterator[Host]:
    """A bot with two threads."""
    host = make_threaded_host(workers)
    yield host
    host.close()


class TestOneAnswer:
    """While the step has an answer in a process that lives, no other update is the answer."""

    def test_another_process_gives_its_message_to_the_handlers(self, tmp_path: Path) -> None:
        """On SQLite at once, because the lock of a process that died is free."""
        place = str(tmp_path / "bot.db")
        with open_place(place) as storage:
            listener = Listener(storage)
            listener.ask()
            with answering(place) as other:
                listener.deliver("second")
                heard = listener.heard.copy()
                other.end("returns")

            assert [("handler", "second")] == heard
            assert ({"answers": 1}, []) == (
                listener.sessions.peek(USER),
                waiting_questions(storage),
            )

    @pytest.mark.parametrize(
        ("way", "hears"), [("returns", "handler"), ("raises", "step"), ("is killed", "step")]
    )
    def test_another_process_waits_for_a_lock_with_a_lease(
        self, server: Server, way: str, hears: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Then it hears whether the question still waits, and one answer counts."""
        place = patient_url(server)
        with open_place(place) as storage:
            listener, asked = Listener(storage), Asked(storage, monkeypatch)
            lock = listener.ask()
            with answering(place) as other, began(listener.deliver, "second"):
                wait_for(asked.event(lock))
                heard_before = listener.heard.copy()
                other.end(way)

            assert ([], [(hears, "second")]) == (heard_before, listener.heard)
            assert ({"answers": 1}, []) == (
                listener.sessions.peek(USER),
                waiting_questions(storage),
            )

    def test_control_without_the_lock_of_the_answer(
        self, place: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Both processes give their message to the step, and both answers count."""
        with open_place(place, "free") as storage:
            listener, asked = Listener(storage), Asked(storage, monkeypatch)
            listener.ask()
            with answering(place, "free") as other, began(listener.deliver, "second"):
                # The step of the first answer has the session.
                wait_for(asked.event(str(USER)))
                other.end("returns")

            assert [("step", "second")] == listener.heard
            assert {"answers": 2} == listener.sessions.peek(USER)


class TestNoCircle:
    """Two handlers have a session each, and ask their own users and then each other's."""

    def test_in_one_process(self, threaded_host: Host, storage: Storage) -> None:
        """Neither handlers nor steps wait for each other in a circle."""
        meeting = threading.Barrier(2, timeout=PATIENCE)
        neighbours = Neighbours(threaded_host, storage, meeting.wait)

        neighbours.deliver("hi", ANNA, BORIS)
        neighbours.deliver("answer", ANNA, BORIS)

        other = f"sender_in_chat:{BORIS['id']}:{BORIS['id']}"
        assert ([], sorted([QUESTION, other])) == (neighbours.raised, waiting_questions(storage))

    def test_control_in_one_process(self, threaded_host: Host, storage: Storage) -> None:
        """If each handler keeps the lock of its own user's question, they do."""
        meeting = threading.Barrier(2, timeout=PATIENCE)
        neighbours = Neighbours(threaded_host, storage, meeting.wait, early=True)

        neighbours.deliver("hi", ANNA, BORIS)

        assert ["DeadlockError"] == neighbours.raised

    def test_in_two_processes(self, place: str, workers: str) -> None:
        """No handler and no step waits until a time-out."""
        assert [] == run_neighbours(place, workers)

    def test_control_in_two_processes(self, place: str, workers: str) -> None:
        """If each handler keeps the lock of its own user's question, one of them does at least."""
        assert {"LockTimeoutError"} == set(run_neighbours(place, workers, early=True))


@pytest.fixture
def storages(place: str) -> Iterator[list[Storage]]:
    """The storages of two processes, which are closed after their bots."""
    with open_place(place) as one, open_place(place) as other:
        yield [one, other]


class TestReplacedProcess:
    """A process that polls takes over an update whose step runs in the former process."""

    def test_its_answer_goes_to_the_step_again(
        self,
        storages: list[Storage],
        make_life: MakeLife,
        bot_api: BotAPI,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """The commit of the former process writes nothing, and the question waits on."""
        heard: list[str] = []
        begun, release = threading.Event(), threading.Event()

        def step(message: Any, session: Session) -> None:
            heard.append("step")
            session.answer = message.text
            if len(heard) == 1:
                begun.set()
                wait_for(release)

        former, later = (make_life(storage) for storage in storages)
        for life, each in zip((former, later), storages, strict=True):
            use_questions(life.bot, Sessions(storage=each), steps=[step])
            life.bot.register_message_handler(lambda _: heard.append("handler"))
        ask(former.bot, said("hi").message, "well?", step)
        storage = storages[1]
        lock = Asked(storage, monkeypatch).event(lock_of_answer(storage))
        send(bot_api, "tea")
        former.poll()
        wait_for(begun)
        later.poll()
        wait_for(lock)
        release.set()
        former.wait()
        later.wait()

        assert (["step", "step"], {"answer": "tea"}, []) == (
            heard,
            Sessions(storage=storage).peek(USER),
            records(storage),
        )

    def test_new_workers_of_one_process_do_so_too(
        self,
        storage: Storage,
        make_life: MakeLife,
        bot_api: BotAPI,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """A bot polls again while a step of its former workers still runs."""
        life, heard = make_life(storage, workers={"drain": 0}), Log()
        release, asked = threading.Event(), Asked(storage, monkeypatch)

        def step(message: Any, session: Session) -> None:
            heard.add("step")
            session.answer = message.text
            wait_for(release)

        use_questions(life.bot, Sessions(storage=storage), steps=[step])
        life.bot.register_message_handler(lambda _: heard.add("handler"))
        ask(life.bot, said("hi").message, "well?", step)
        lock = asked.event(lock_of_answer(storage))
        send(bot_api, "tea")
        life.poll()
        heard.wait_for(1)
        lock.clear()
        life.bot.stop_bot()
        former = life.pool
        life.begin_again()
        life.poll(offset=0)
        wait_for(lock)
        release.set()
        life.wait()
        for worker in former.workers:
            worker.join(PATIENCE)

        assert (["step", "step"], {"answer": "tea"}, []) == (
            heard.entries,
            Sessions(storage=storage).peek(USER),
            records(storage),
        )


def lock_of_answer(storage: Storage) -> str:
    """The key of the lock of the answer of the user."""
    room = f"@questions-{BOT_ID}:"
    record: Any = sessions_in_room(room, storage=storage).peek(QUESTION)
    (question,) = [field for name, field in record.items() if name.startswith("question:")]
    return f"{room}{QUESTION}#{question['id']}"
