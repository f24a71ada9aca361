"""Answers that come to two processes, and handlers that ask the users of each other."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import contextmanager, nullcontext
from multiprocessing import Barrier
from pathlib import Path
from typing import TYPE_CHECKING, Any

from telebot import TeleBot

from support.addresses import open_leased
from support.bots import Host, Refusal, poll_update
from support.clocks import PATIENCE
from support.counters import QUESTION
from support.processes import run_program, run_together, say, watched
from support.updates import ANNA, BORIS, TOKEN, said
from telesession import Place, Session, Sessions, Storage, ask, use_questions
from telesession.bot.answers import Questions
from telesession.bot.workers import stop_workers, use_sequential_workers
from telesession.sessions import sessions_in_room
from telesession.testing import BotAPI

if TYPE_CHECKING:
    from collections.abc import Iterator

TESTS = Path(__file__).parents[1]
PROGRAM = """
import sys
sys.path.insert(0, sys.argv.pop(1))
from support.question_locks import main
main()
"""
# Begins the keys of the questions of the bot.
ROOM = f"@questions-{TOKEN.partition(':')[0]}:"
# Seconds until a server frees the locks of a killed process.
LEASE = 4
# Seconds for which a handler of the control waits for a question that another process has locked.
BRIEFLY = 0.5


def open_place(place: str, kind: str = "") -> Storage:
    """Open the storage of a bot; with `kind` `"free"` the locks of its answers are free."""
    storage = open_leased(place, LEASE)
    if kind == "free":
        hold: Callable[..., Any] = storage.hold

        def hold_others(key: str, timeout: float | None = None) -> Any:
            return nullcontext() if "#" in key else hold(key, timeout)

        storage.hold = hold_others  # type: ignore[method-assign]
    return storage


class Listener:
    """
    A bot without threads whose step notes the answer, does something, and counts.

    Args:
        storage: The storage of its questions and sessions.
        act: Called by the step.

    Attributes:
        heard: The functions that got messages, with the texts.
        sessions: The sessions of the step.
    """

    def __init__(self, storage: Storage, act: Callable[[], object] = bool) -> None:
        self.bot: Any = TeleBot(TOKEN, threaded=False)
        self.heard: list[tuple[str, str]] = []
        self.sessions = Sessions(initial=lambda: {"answers": 0}, storage=storage)
        self._storage = storage
        self._act = act
        use_questions(self.bot, self.sessions, steps=[self.step])
        self.bot.register_message_handler(self.handler)

    def ask(self) -> str:
        """Ask the user, and return the key of the lock of the answer."""
        ask(self.bot, said("hi").message, "well?", self.step)
        record: Any = sessions_in_room(ROOM, storage=self._storage).peek(QUESTION)
        (question,) = [field for name, field in record.items() if name.startswith("question:")]
        return f"{ROOM}{QUESTION}#{question['id']}"

    def step(self, message: Any, session: Session) -> None:
        """Get the answer."""
        self.heard.append(("step", message.text))
        self._act()
        session.answers += 1

    def handler(self, message: Any) -> None:
        """Get a message that is no answer."""
        self.heard.append(("handler", message.text))

    def deliver(self, text: str) -> None:
        """Deliver a message of the user."""
        self.bot.process_new_updates([said(text)])


class Answering:
    """A process whose step got an answer, and runs until it is told how to end."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def end(self, way: str) -> None:
        """Let the step return or raise, or kill the process, and wait for its end."""
        if way == "is killed":
            self._process.kill()
        self._process.communicate(f"{way}\n", timeout=PATIENCE)


@contextmanager
def answering(place: str, kind: str = "") -> Iterator[Answering]:
    """A process in which the step has the answer."""
    process = subprocess.Popen(
        _command_line("answer", place, kind),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with watched(process):
        assert process.stdout is not None
        assert "in the step\n" == process.stdout.readline()
        yield Answering(process)


def answer(place: str, kind: str) -> None:
    """Get an answer, and stay in its step until a line comes in."""

    def act() -> None:
        say("in the step")
        if sys.stdin.readline() == "raises\n":
            raise Refusal

    with open_place(place, kind) as storage:
        listener = Listener(storage, act)
        listener.bot.exception_handler = _Silence()
        listener.deliver("first")


class _Silence:
    """An `exception_handler` that handles all exceptions."""

    def handle(self, _exception: Exception) -> bool:
        """Do nothing."""
        return True


def make_threaded_host(workers: str) -> Host:
    """A bot with two threads: those of telebot, or `"sequential"` ones."""
    host = Host(threaded=True)
    if workers == "sequential":
        stop_workers(host.bot.worker_pool)
        use_sequential_workers(host.bot)
    return host


class Neighbours:
    """
    A bot whose handler asks its sender, and then the neighbour of the sender.

    The handler has the session of its sender all the time, and so has the step, which does the same
    for the answers "answer".

    Args:
        host: The bot.
        storage: The storage of its questions and sessions.
        meet: Called between the two questions. It waits until the neighbour's handler is as far.
        early: Whether the handler locks the question of its sender, and keeps the lock, instead of
            asking.
    """

    def __init__(
        self, host: Host, storage: Storage, meet: Callable[[], object], *, early: bool = False
    ) -> None:
        self.host = host
        self.bot: Any = host.bot
        self._meet = meet
        self._early = early
        timeout = BRIEFLY if early else PATIENCE
        sessions = Sessions(initial=lambda: {"turns": 0}, storage=storage)
        use_questions(self.bot, sessions, steps=[self.step])
        questions: Any = Questions.of(self.bot)
        self._records = questions.store._records
        self._records._kind.lock_timeout = timeout
        self.bot.register_message_handler(sessions.with_session(self.handler))

    def handler(self, message: Any, session: Session) -> None:
        """Ask both."""
        session.turns += 1
        me = message.from_user.id
        other = {ANNA["id"]: BORIS["id"], BORIS["id"]: ANNA["id"]}[me]
        with self._records.open(f"sender_in_chat:{me}:{me}") if self._early else nullcontext():
            if not self._early:
                ask(self.bot, message, "you?", self.step)
            self._meet()
            ask(self.bot, Place(chat_id=other, user_id=other), "neighbour?", self.step)

    def step(self, message: Any, session: Session) -> None:
        """Ask both again."""
        self.handler(message, session)

    def deliver(self, text: str, *people: dict[str, Any]) -> None:
        """Deliver a message of each person at the same time, and wait until all are handled."""
        self.bot.process_new_updates([said(text, person) for person in people])
        # No handler takes it, so all workers have ended when it was delivered.
        self.host.deliver(poll_update(1))

    @property
    def raised(self) -> list[str]:
        """The names of the exceptions of the handlers and steps."""
        return [type(error).__name__ for error in self.host.raised]


def run_neighbours(place: str, workers: str, *, early: bool = False) -> list[str]:
    """The exceptions of handlers in two processes that ask each other's users at the same time."""
    command = _command_line("ask_neighbours", place, workers, "early" if early else "")
    code, printed, complaints = run_program(command)
    assert (0, "") == (code, complaints), complaints
    raised: list[str] = json.loads(printed)
    return raised


def ask_neighbours(place: str, workers: str, kind: str) -> None:
    """Handle a message and an answer in two processes, and say the exceptions of handlers."""
    meeting = Barrier(2, timeout=PATIENCE)
    reading, writing = os.pipe()

    def work(number: int) -> None:
        me = (ANNA, BORIS)[number]
        with BotAPI(), open_place(place) as storage:
            host = make_threaded_host(workers)
            neighbours = Neighbours(host, storage, meeting.wait, early=kind == "early")
            neighbours.deliver("hi", me)
            if kind != "early":
                # The neighbour's handler has asked this user, too.
                meeting.wait()
                neighbours.deliver("answer", me)
            host.close()
            os.write(writing, json.dumps(neighbours.raised).encode() + b"\n")

    codes = run_together(2, work)
    assert [0, 0] == codes
    os.close(writing)
    with open(reading) as lines:
        say(json.dumps([name for line in lines for name in json.loads(line)]))


def _command_line(command: str, *args: str) -> list[str]:
    program = [sys.executable, "-P", "-W", "error", "-c", PROGRAM, str(TESTS)]
    return [*program, command, *args]


def main() -> None:
    """Run the command that the arguments name."""
    {"answer": answer, "ask_neighbours": ask_neighbours}[sys.argv[1]](*sys.argv[2:])
