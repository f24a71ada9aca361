"""
Runs of the bot of `support.interviews` with restarts, and the account of every message.

The users of a run answer each question twice, by messages and presses, and some answers make the
step raise. By hand: `python -m support.interview_runs PLACE --users 40 --ends 20`, in the folder
`tests`.
"""

from __future__ import annotations

import argparse
import itertools
import random
import signal
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from support.clocks import PATIENCE
from support.effect_bot import Refusal
from support.effect_runs import SIGNS, SILENCE, Life
from support.interviews import (
    AGAIN,
    DONE,
    Interview,
    Settings,
    make_bot,
    make_sessions,
    open_place,
)
from support.one_poller import OnePoller
from telesession import Sessions, Storage, use_sequential_workers
from telesession.bot.inbox import Inbox
from telesession.testing import run_polling

if TYPE_CHECKING:
    from telebot import TeleBot

    from telesession.testing import Call, SentMessage

# The number of the bot.
BOT_ID = 1
# Seconds without any progress after which a run is over.
PAUSE = 0.02


class Users(OnePoller):
    """
    A Bot API whose users answer: each question twice, and once more after each refused answer.

    Args:
        count: The number of users, whose ids are 1 and so on.
        seed: Of their answers.
        presses: The share of the answers that are presses of a button.
        bad: The share of the answers for which a step raises.

    Attributes:
        sent: user -> the numbers of the user's messages, and the ids of presses, in their order.
        done: The users who have answered all questions.
    """

    def __init__(
        self, count: int, seed: int = 1, *, presses: float = 0.3, bad: float = 0.2
    ) -> None:
        super().__init__()
        self.sent: dict[int, list[str]] = {user: [] for user in range(1, count + 1)}
        self.done: set[int] = set()
        self._rngs = {user: random.Random(f"{seed} {user}") for user in self.sent}
        self._presses = presses
        self._bad = bad
        self._is_paused = False
        self._held: list[SentMessage] = []

    def begin(self) -> None:
        """Let each user send a first message."""
        for user in self.sent:
            self._send(user)

    def pause(self) -> None:
        """Let no user answer until `go_on`."""
        with self._changed:
            self._is_paused = True

    def go_on(self) -> None:
        """Let the users answer that were asked meanwhile."""
        with self._changed:
            self._is_paused = False
            held, self._held = self._held, []
            for message in held:
                self._react(message)

    def wait_for_more(self, count: int) -> None:
        """Wait until the bot has sent so many more messages, or until all users are done."""
        target = len(self.messages) + count
        self.wait_for(
            lambda: len(self._history.sent) >= target or len(self.done) == len(self.sent),
            4 * PATIENCE,
            what=f"{count} messages",
        )

    def answer(self, call: Call) -> Any:
        """See `BotAPI.answer`."""
        result = super().answer(call)
        if call.method == "sendMessage":
            message = self._history.sent[-1]
            if self._is_paused:
                self._held.append(message)
            else:
                self._react(message)
        return result

    def _react(self, message: SentMessage) -> None:
        user = message.chat_id
        if message.text == DONE:
            self.done.add(user)
        elif message.text == AGAIN:
            self._send(user, is_bad=self._is_bad(user))
        else:
            for _ in range(2):
                self._answer(user, message)

    def _answer(self, user: int, message: SentMessage) -> None:
        is_bad = self._is_bad(user)
        if self._rngs[user].random() < self._presses:
            press = self.user(user).press(message, "bad" if is_bad else "good")
            self.sent[user].append(press["callback_query"]["id"])
        else:
            self._send(user, is_bad=is_bad)

    def _is_bad(self, user: int) -> bool:
        return self._rngs[user].random() < self._bad

    def _send(self, user: int, *, is_bad: bool = False) -> None:
        number = str(len(self.sent[user]))
        self.sent[user].append(number)
        self.user(user).send(f"{number} bad" if is_bad else number)


@dataclass
class Report:
    """
    The account of a run.

    Attributes:
        faults: The faults of each user, and others.
        ends: The number of processes or bots that were ended before the last one.
        sent: The number of messages and presses.
        raised: The number of those for which a step raised.
    """

    faults: list[str] = field(default_factory=list)
    ends: int = 0
    sent: int = 0
    raised: int = 0

    def __str__(self) -> str:
        return f"{self.ends} ends, {self.sent} sent, {self.raised} raised, faults: {self.faults}"


def account(
    sent: Sequence[str],
    session: dict[str, Any],
    raised: Iterable[str],
    *,
    questions: int,
    in_order: bool,
) -> Iterable[str]:
    """
    The faults in the session of a user.

    Args:
        sent: The numbers of the user's messages and presses.
        session: The session.
        raised: The numbers of those for which a step raised.
        questions: The number of questions that the user has answered.
        in_order: Whether the bot handles the messages of a user in order.
    """
    entries = [entry.split() for entry in session.get("log", ())]
    numbers = [entry[-1] for entry in entries]
    taken, refused = Counter(numbers), set(raised)
    for number in dict.fromkeys([*sent, *numbers]):
        times = taken[number] + (number in refused)
        if number not in sent:
            yield f"{number} was not sent"
        elif times != 1:
            yield f"{number} was taken {times} times"
    asked = [int(entry[1]) for entry in entries if entry[0] == "step"]
    if asked != list(range(1, questions + 1)):
        yield f"the answers are those of the questions {asked}"
    if session.get("answers") != len(asked):
        yield f"{session.get('answers')} answers are counted, not {len(asked)}"
    if in_order and numbers != [number for number in sent if number in taken]:
        yield "the messages are not in order"


def make_report(
    users: Users, storage: Storage, raised: dict[int, set[str]], questions: int, *, in_order: bool
) -> Report:
    """The account of all users, and of the questions that wait."""
    sessions, report = make_sessions(storage), Report()
    for user, sent in users.sent.items():
        report.sent += len(sent)
        report.raised += len(raised[user])
        session: Any = sessions.peek(user) or {}
        found = account(sent, dict(session), raised[user], questions=questions, in_order=in_order)
        report.faults += [f"user {user}: {fault}" for fault in found]
    records = Sessions._in_room(f"@questions-{BOT_ID}:", storage=storage)
    report.faults += [
        f"{key} has a {name}" for key, record in records.items() for name in record if ":" in name
    ]
    return report


def run_restarts(
    open_storage: Callable[[], Storage],
    workers: str,
    *,
    users: Users,
    questions: int,
    ends: int,
) -> Report:
    """
    Stop the bot again and again when it has nothing to do, and start another one.

    Args:
        open_storage: Opens the storage of each bot, which is closed when the bot has ended.
        workers: `"telebot's"` or `"sequential"`.
        users: The users, with the Bot API.
        questions: The number of questions for each user.
        ends: The number of bots that are replaced.
    """
    raised: dict[int, set[str]] = defaultdict(set)
    in_order = workers == "sequential"
    for number in range(ends + 1):
        with open_storage() as storage:
            bot = _make_bot(storage, workers, questions, raised)
            with run_polling(bot, users, timeout=2 * PATIENCE) as polling:
                if number == 0:
                    users.begin()
                users.go_on()
                # Each question is sent once.
                users.wait_for_more(len(users.sent) * questions // (ends + 1))
                if number < ends:
                    users.pause()
                else:
                    users.wait_for(
                        lambda: len(users.done) == len(users.sent), 4 * PATIENCE, what="all users"
                    )
                polling.wait_idle(4 * PATIENCE)
            if number == ends:
                report = make_report(users, storage, raised, questions, in_order=in_order)
    report.ends = ends
    return report


def _make_bot(
    storage: Storage, workers: str, questions: int, raised: dict[int, set[str]]
) -> TeleBot:
    bot = make_bot(f"{BOT_ID}:interviews", _Refusals())
    if workers == "sequential":
        use_sequential_workers(bot)
    Interview(bot, storage, questions, lambda user, number: raised[user].add(number))
    return bot


class _Refusals:
    """Handles the exceptions that steps raise on purpose."""

    def handle(self, exception: Exception) -> bool:
        """Take an exception as an `exception_handler` does."""
        return isinstance(exception, Refusal)


class InterviewLife(Life):
    """One process of the bot."""

    program = "support.interviews"


def run_kills(
    place: str, *, users: Users, questions: int, ends: int, seed: int = 1, gap: int = 0
) -> Report:
    """
    Kill a process with an inbox again and again, at random moments, and start another one.

    Args:
        place: The path of a file, or the URL of a server.
        users: The users, with the Bot API, which is not started yet.
        questions: The number of questions for each user.
        ends: The number of processes that are killed.
        seed: Of the moments.
        gap: In the control, the commit after which each process kills itself.
    """
    rng, tokens = random.Random(f"kills {seed}"), itertools.count(1)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="telesession-")))
        log = stack.enter_context((folder / "complaints").open("a+"))
        raised = folder / "raised"
        raised.touch()
        stack.enter_context(users)
        settings = Settings(place, str(raised), questions, users.url)
        storage = stack.enter_context(open_place(settings))

        def prepare(gap: int) -> Life:
            token = f"{BOT_ID}:life{next(tokens)}"
            life = InterviewLife(Settings(**{**vars(settings), "token": token, "gap": gap}), log)
            stack.callback(life.close)
            return life

        life = prepare(gap)
        users.begin()
        faults = []
        for number in range(1, ends + 1):
            following = prepare(gap if number < ends else 0)
            life.begin()
            if gap:
                life.wait_for_begins(1)
            else:
                users.wait_for_more(rng.randint(1, max(1, 2 * len(users.sent) * questions // ends)))
            code = life.end(signal.SIGKILL)
            faults += [f"a process ended with {code}"] * (code != -signal.SIGKILL)
            life = following
        life.begin()
        _wait_for_the_end(users, storage)
        code = life.end(signal.SIGTERM)
        faults += [f"the last process ended with {code}"] * (code != 0)
        report = make_report(users, storage, _read(raised), questions, in_order=True)
        report.faults += [*faults, *_complaints(log)]
    report.ends = ends
    return report


def _wait_for_the_end(users: Users, storage: Storage) -> None:
    """Wait until no update waits, or until nothing happens any more."""
    pause, inbox = threading.Event(), Inbox(storage, BOT_ID)
    calls, since = 0, time.monotonic()
    while users.unconfirmed or len(users.done) < len(users.sent) or any(inbox.pages_of_keys()):
        sends = len(users.messages)
        if sends != calls:
            calls, since = sends, time.monotonic()
        elif time.monotonic() - since > SILENCE:
            break
        pause.wait(PAUSE)


def _read(path: Path) -> dict[int, set[str]]:
    raised: dict[int, set[str]] = defaultdict(set)
    for line in path.read_text().splitlines():
        user, number = line.split()
        raised[int(user)].add(number)
    return raised


def _complaints(log: IO[str]) -> list[str]:
    log.seek(0)
    return [line.strip() for line in log if line.startswith(SIGNS)]


def main() -> None:
    """Do a run with kills and print its report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("place", help="the path of a new SQLite file, or the URL of a server")
    parser.add_argument("--users", type=int, default=40)
    parser.add_argument("--questions", type=int, default=20)
    parser.add_argument("--ends", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    users = Users(given.users, given.seed)
    report = run_kills(
        given.place, users=users, questions=given.questions, ends=given.ends, seed=given.seed
    )
    sys.stdout.write(f"{report}\n")


if __name__ == "__main__":
    main()
