"""
Runs of the bot of `support.interviews` with restarts, and the account of every message.

The users of a run answer each question twice, by messages and presses, and some answers make the
step raise. By hand: `python -m support.interview_runs kills PLACE --ends 60`, in `tests`.
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
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
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
from telesession import Storage, use_sequential_workers
from telesession.bot.inbox import Inbox
from telesession.sessions import sessions_in_room
from telesession.testing import run_polling

if TYPE_CHECKING:
    from telebot import TeleBot

    from telesession.testing import Call, SentMessage

# The number of the bot.
BOT_ID = 1
# Seconds between two looks at the inbox.
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
    records = sessions_in_room(f"@questions-{BOT_ID}:", storage=storage)
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


class Processes:
    """
    The processes of one run, and the account of the messages that they got.

    Args:
        place: The path of a file, or the URL of a server.
        users: The users, with the Bot API, which is started.
        questions: The number of questions for each user.
        ends: The number of processes that are ended before the last one.
        seed: Of the random moments.
        folder: An empty folder.
    """

    def __init__(
        self, place: str, users: Users, questions: int, ends: int, *, seed: int, folder: Path
    ) -> None:
        self.users = users
        self.rng = random.Random(f"processes {seed}")
        self._ends = ends
        self._questions = questions
        self._log = (folder / "complaints").open("a+")
        self._raised = folder / "raised"
        self._raised.touch()
        self._settings = Settings(place, str(self._raised), questions, users.url)
        self._storage = open_place(self._settings)
        self._tokens = itertools.count(1)
        self._lives: list[Life] = []
        self._faults: list[str] = []

    def prepare(self, gap: int = 0) -> Life:
        """A new process, which is ready to begin."""
        changes = {"token": f"{BOT_ID}:life{next(self._tokens)}", "gap": gap}
        self._lives.append(
            InterviewLife(Settings(**{**vars(self._settings), **changes}), self._log)
        )
        return self._lives[-1]

    def begin(self, life: Life) -> None:
        """Let a process poll."""
        life.begin()
        self.users.wait_for_poll(life.settings.token, 1)

    def wait_for_a_moment(self) -> None:
        """Wait until a random number of messages was sent, so that each process has its share."""
        share = len(self.users.sent) * self._questions // self._ends
        self.users.wait_for_more(self.rng.randint(1, max(1, 2 * share)))

    def end(self, life: Life, number: int) -> None:
        """End a process by a signal, and note an exit code that is not as expected."""
        code = life.end(number)
        if code != (-number if number == signal.SIGKILL else 0):
            self._faults.append(f"a process ended with {code}")

    def finish(self, life: Life) -> Report:
        """Wait until the last process has handled all, stop it, and account for all messages."""
        _wait_for_the_end(self.users, self._storage)
        self.end(life, signal.SIGTERM)
        raised = _read(self._raised)
        report = make_report(self.users, self._storage, raised, self._questions, in_order=True)
        report.faults += [*self._faults, *_complaints(self._log)]
        report.ends = self._ends
        return report

    def close(self) -> None:
        """End all processes that still run."""
        for life in self._lives:
            life.close()
        self._storage.close()
        self._log.close()


@contextmanager
def _processes(
    place: str, users: Users, questions: int, ends: int, seed: int
) -> Iterator[Processes]:
    with tempfile.TemporaryDirectory(prefix="telesession-") as folder, users:
        run = Processes(place, users, questions, ends, seed=seed, folder=Path(folder))
        with closing(run):
            yield run


def run_kills(
    place: str, users: Users, questions: int, ends: int, *, seed: int = 1, gap: int = 0
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
    with _processes(place, users, questions, ends, seed) as run:
        life = run.prepare(gap)
        users.begin()
        for number in range(1, ends + 1):
            following = run.prepare(gap if number < ends else 0)
            run.begin(life)
            if gap:
                # It writes nothing, so this is the end of its output.
                life.wait_for_begins(1)
            else:
                run.wait_for_a_moment()
            run.end(life, signal.SIGKILL)
            life = following
        run.begin(life)
        return run.finish(life)


def run_replacements(
    place: str, users: Users, questions: int, ends: int, *, seed: int = 1
) -> Report:
    """
    Start the next process again and again before the former one is stopped or killed.

    The arguments are those of `run_kills`.
    """
    with _processes(place, users, questions, ends, seed) as run:
        life = run.prepare()
        users.begin()
        run.begin(life)
        for _ in range(ends):
            following = run.prepare()
            run.wait_for_a_moment()
            run.begin(following)
            users.wait_for_more(run.rng.randint(1, 5))
            run.end(life, run.rng.choice((signal.SIGTERM, signal.SIGKILL)))
            life = following
        return run.finish(life)


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


RUNS: dict[str, Callable[..., Report]] = {"kills": run_kills, "replacements": run_replacements}


def main() -> None:
    """Do a run and print its report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", choices=RUNS)
    parser.add_argument("place", help="the path of a new SQLite file, or the URL of a server")
    parser.add_argument("--users", type=int, default=40)
    parser.add_argument("--questions", type=int, default=20)
    parser.add_argument("--ends", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    users, run = Users(given.users, given.seed), RUNS[given.run]
    report = run(given.place, users, given.questions, given.ends, seed=given.seed)
    sys.stdout.write(f"{report}\n")


if __name__ == "__main__":
    main()
