"""
A bot with questions that is killed at each moment of a dialog, and the bot that follows it.

`run_kills` runs this module as a program. It forks a process for each moment, kills it then, and
forks another one, which tells how the dialog goes on.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from telebot import TeleBot

from support.addresses import open_leased
from support.clocks import PATIENCE
from support.processes import fork, run_program, say
from telesession import (
    Place,
    Session,
    Sessions,
    Storage,
    ask,
    cancel,
    use_questions,
    use_sequential_workers,
)
from telesession.bot.inbox import Inbox
from telesession.sessions import sessions_in_room
from telesession.testing import BotAPI

if TYPE_CHECKING:
    from telesession.storage.base import Change, Hold

TESTS = Path(__file__).parents[1]
PROGRAM = """
import sys
sys.path.insert(0, sys.argv.pop(1))
from support.question_kills import main
main()
"""
# Seconds until a server frees the locks of a killed process.
LEASE = 4
WORKERS = 2
# The messages of the user: one for a handler that asks, two answers, another one for a handler that
# asks, and a command that ends its question.
TEXTS = ("hi", "one", "two", "again", "/stop")
# Their effects in the session of the user.
EFFECTS = ["handler hi", "first one", "second two", "handler again", "handler /stop, ended: True"]


@dataclass
class Outcome:
    """
    The dialog after the process was killed.

    Attributes:
        moment: The moment of the kill.
        saved: The effects that the killed process has saved in the session of the user.
        next: The function that gets the next message of the user.
        other: The function that gets the next message of the other user, who was asked, too.
        effects: The effects in the session of the user in the end.
        left: The keys of questions that wait in the end, and of updates in the inbox.
        raised: The names of the exceptions that nothing has asked for.
    """

    moment: str
    saved: list[str]
    next: str
    other: str
    effects: list[str]
    left: list[str]
    raised: list[str]


def run_kills(place: str, mode: str) -> list[Outcome]:
    """
    Kill a process at each moment of a dialog, and report what the next process finds.

    Args:
        place: The path of a file, or the URL of a server.
        mode: `"pool"` for telebot's own workers, `"workers"` for sequential ones, `"inbox"` for
            those with an inbox, and `"apart"` for the control: sequential workers whose commits
            write one record after the other.
    """
    command = [sys.executable, "-P", "-W", "error", "-c", PROGRAM, str(TESTS), place, mode]
    code, printed, complaints = run_program(command)
    assert (0, "") == (code, complaints), complaints
    return [Outcome(**each) for each in json.loads(printed)]


class Moments:
    """
    The moments of a dialog, of which one ends the process.

    Args:
        last: The number of the moment that ends the process, counted from 1; 0 is none.
        writing: The file descriptor for the names of the moments.
        apart: Whether commits write one record after the other.
    """

    def __init__(self, last: int, writing: int, *, apart: bool) -> None:
        self._last = last
        self._writing = writing
        self._apart = apart
        self._count = 0

    def come(self, name: str) -> None:
        """Let a moment come."""
        self._count += 1
        os.write(self._writing, f"{name}\n".encode())
        if self._count == self._last:
            os.kill(os.getpid(), signal.SIGKILL)

    def watch(self, bot: TeleBot, storage: Storage) -> None:
        """Let a moment come after each write, each message, and the lock of an answer."""
        bot.send_message = partial(self._send, bot.send_message)  # type: ignore[method-assign]
        storage.commit = partial(self._commit, storage.commit)  # type: ignore[method-assign]
        storage.hold = partial(self._hold, storage.hold)  # type: ignore[method-assign]

    def _send(self, send: Callable[..., Any], *args: Any, **options: Any) -> Any:
        sent = send(*args, **options)
        self.come("a question is sent")
        return sent

    def _commit(
        self, commit: Callable[..., None], holds: Sequence[Hold], also: Sequence[Change] = ()
    ) -> None:
        for some in [[hold] for hold in holds] if self._apart else [holds]:
            keys = [hold.key for hold in some if hold.note is not None]
            commit(some, also)
            if keys:
                written = {_name_of(key) for key in [*keys, *(change.key for change in also)]}
                self.come(f"written: {', '.join(sorted(written))}")

    def _hold(self, hold: Callable[..., Any], key: str, timeout: float | None = None) -> Any:
        held = hold(key, timeout)
        return _AnswerLock(self, held) if "#" in key else held


class _AnswerLock:
    """The lock of an answer, which is a moment when it is taken, and when it is free again."""

    def __init__(self, moments: Moments, hold: Any) -> None:
        self._moments = moments
        self._hold = hold

    def __enter__(self) -> Any:
        held = self._hold.__enter__()
        self._moments.come("the answer is locked")
        return held

    def __exit__(self, *error: object) -> None:
        self._hold.__exit__(*error)
        self._moments.come("the answer is free")


def _name_of(key: str) -> str:
    for room in ("questions", "inbox"):
        if key.startswith(f"@{room}-"):
            return {"questions": "question", "inbox": "update"}[room]
    return "session"


class Life:
    """
    One process of the bot.

    Args:
        place: See `run_kills`; so is `mode`.
        number: Of the bot and its user. Each moment has a user of its own.
        moments: The moments of its end, if it is killed.
    """

    def __init__(self, place: str, mode: str, number: int, moments: Moments | None = None) -> None:
        self._storage = open_leased(place, LEASE)
        self._api = BotAPI().start()
        self._number = number
        self._moments = moments
        self._heard: list[str] = []
        self._raised: list[str] = []
        self._has_changed = threading.Condition()
        self._bot: Any = TeleBot(
            f"{number}:kills",
            num_threads=WORKERS,
            exception_handler=self,  # type: ignore[arg-type]
        )
        if mode != "pool":
            inbox = self._storage if mode == "inbox" else None
            use_sequential_workers(self._bot, inbox=inbox).notify(self._note)
        self._sessions = Sessions(initial=lambda: {"effects": []}, storage=self._storage)
        self._questions = sessions_in_room(f"@questions-{number}:", storage=self._storage)
        use_questions(self._bot, self._sessions, steps=[self.first, self.second, self.third])
        self._bot.register_message_handler(self._sessions.with_session(self.handler))
        if moments is not None:
            moments.watch(self._bot, self._storage)

    @property
    def other(self) -> int:
        """The id of the other user, who is asked by the handler of the first message."""
        return 1000 + self._number

    def handle(self, error: Exception) -> bool:
        """Take an exception as an `exception_handler` does."""
        self._raised.append(type(error).__name__)
        return True

    def handler(self, message: Any, session: Session) -> None:
        """Ask both users, or the user again, or end the question."""
        self._begin("handler", message, session)
        if message.text == "hi":
            ask(self._bot, message, "first?", self.first)
            self._come("the handler goes on")
            ask(self._bot, Place(chat_id=self.other, user_id=self.other), "third?", self.third)
            self._come("the handler ends")
        elif message.text == "again":
            ask(self._bot, message, "second?", self.second)
        elif message.text == "/stop":
            session.effects[-1] += f", ended: {cancel(self._bot, message)}"

    def first(self, message: Any, session: Session) -> None:
        """Ask the second question."""
        self._begin("first", message, session)
        ask(self._bot, message, "second?", self.second)
        self._come("the step ends")

    def second(self, message: Any, session: Session) -> None:
        """End the dialog."""
        self._begin("second", message, session)

    def third(self, message: Any, session: Session) -> None:
        """Get the answer of the other user."""
        self._begin("third", message, session)

    def hear(self, user: int, text: str) -> str:
        """Deliver a message, and name the function that got it."""
        self._api.user(user).send(text)
        self._heard.clear()
        self.run()
        return " ".join(self._heard)

    def send(self, texts: Sequence[str]) -> None:
        """Let the user send messages, which are not delivered yet."""
        for text in texts:
            self._api.user(self._number).send(text)

    def run(self) -> None:
        """Poll once, and wait until all is handled."""
        with self._api.short_polls():
            updates = self._bot.get_updates(offset=self._bot.last_update_id + 1)
        self._bot.process_new_updates(updates)
        pool = self._bot.worker_pool
        if hasattr(pool, "unfinished"):
            with self._has_changed:
                assert self._has_changed.wait_for(lambda: pool.unfinished == 0, PATIENCE)
            return
        # Every worker has to come to the barrier, so none has a handler left to run.
        barrier = threading.Barrier(WORKERS + 1, timeout=PATIENCE)
        for _ in range(WORKERS):
            pool.put(barrier.wait)
        barrier.wait()

    def effects(self) -> list[str]:
        """The effects in the session of the user."""
        session: Any = self._sessions.peek(self._number) or {}
        return list(session.get("effects", ()))

    def left(self) -> list[str]:
        """The questions that wait, and the updates in the inbox."""
        waiting = [
            f"{key} {name}"
            for key, record in self._questions.items()
            for name in record
            if name.startswith("question:")
        ]
        inbox = Inbox(self._storage, self._number)
        return [*waiting, *(key for keys in inbox.pages_of_keys() for key in keys)]

    @property
    def raised(self) -> list[str]:
        """The names of the exceptions so far."""
        return self._raised

    def _begin(self, function: str, message: Any, session: Session) -> None:
        self._heard.append(function)
        self._come(f"the {'step' if function != 'handler' else function} begins")
        session.effects.append(f"{function} {message.text}")

    def _come(self, name: str) -> None:
        if self._moments is not None:
            self._moments.come(name)

    def _note(self) -> None:
        with self._has_changed:
            self._has_changed.notify_all()


def live(place: str, mode: str, number: int, last: int, writing: int) -> None:
    """Go through the dialog until the process is killed."""
    life = Life(place, mode, number, Moments(last, writing, apart=mode == "apart"))
    if mode == "inbox":
        life.send(TEXTS)
        life.run()
    else:
        for text in TEXTS:
            life.hear(number, text)


def go_on(place: str, mode: str, number: int, writing: int) -> None:
    """Go on with the dialog after the kill, and write the outcome."""
    life = Life(place, mode, number)
    saved = life.effects()
    if mode == "inbox":
        # No later poll has confirmed them, so Telegram delivers them again.
        life.send(TEXTS)
        life.run()
    outcome = {
        "saved": saved,
        "next": life.hear(number, "more"),
        "other": life.hear(life.other, "more"),
        "effects": life.effects(),
        "left": life.left(),
        "raised": life.raised,
    }
    os.write(writing, json.dumps(outcome).encode())


def _read(work: Callable[[int], None]) -> Callable[[], tuple[str, int]]:
    """Run something in a process; returns a function for its output and its exit code."""
    reading, writing = os.pipe()
    pid = fork(lambda: work(writing))
    os.close(writing)

    def result() -> tuple[str, int]:
        with open(reading) as output:
            text = output.read()
        return text, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    return result


def main() -> None:
    """Kill a process at each moment, and say the outcomes."""
    place, mode = sys.argv[1:]
    # Updates that are delivered again are logged as warnings.
    logging.getLogger("telesession").setLevel(logging.ERROR)
    names, code = _read(lambda writing: live(place, mode, 9999, 0, writing))()
    assert code == 0
    moments = names.split("\n")[:-1]
    numbers = range(1, len(moments) + 1)
    killed = [_read(lambda w, n=n: live(place, mode, n, n, w)) for n in numbers]
    for number, (found, code) in zip(numbers, [result() for result in killed], strict=True):
        assert (moments[:number], -signal.SIGKILL) == (found.split("\n")[:-1], code)
    next_lives = [_read(lambda w, n=n: go_on(place, mode, n, w)) for n in numbers]
    outcomes = [json.loads(result()[0]) for result in next_lives]
    named = [{"moment": moment, **each} for moment, each in zip(moments, outcomes, strict=True)]
    say(json.dumps(named))
