"""Users who answer twice, steps that raise, and restarts: every message is accounted for once."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest

from support.clocks import PATIENCE
from support.interview_runs import (
    Report,
    Users,
    account,
    run_kills,
    run_replacements,
    run_restarts,
)
from support.postgres_storages import make_storage
from support.servers import patient_url
from telesession import MemoryStorage, RedisStorage, SQLiteStorage, Storage
from telesession.bot.question_store import QuestionStore, Taken

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from telesession.storage.base import Hold

# The numbers of users, questions and restarts.
sizes = pytest.mark.parametrize(
    ("users", "questions", "ends"), [(8, 5, 2), pytest.param(40, 20, 20, marks=pytest.mark.long)]
)

OpenStorage = Callable[[], Storage]


class SharedStorage(MemoryStorage):
    """A storage in memory that survives a restart in the same process."""

    def close(self) -> None:
        """Stay open."""


@pytest.fixture(params=["memory", "sqlite", "redis", "postgres"])
def open_storage(request: pytest.FixtureRequest, tmp_path: Path) -> OpenStorage:
    """Opens the storage of a bot after each restart."""
    if request.param == "memory":
        storage = SharedStorage()
        return lambda: storage
    if request.param == "sqlite":
        return lambda: SQLiteStorage(tmp_path / "bot.db")
    if request.param == "postgres":
        return partial(make_storage, request.getfixturevalue("postgres"))
    url = patient_url(request.getfixturevalue("server"))
    return lambda: RedisStorage(url)


@sizes
@pytest.mark.parametrize("run", [run_kills, run_replacements], ids=["killed", "replaced"])
def test_bots_with_an_inbox(
    place: str, run: Callable[..., Report], users: int, questions: int, ends: int
) -> None:
    """
    However often a bot is killed or replaced, each message is taken by one step or one handler.

    Each answer counts once, the messages of a user are in order, and no question is left.
    """
    report = run(place, Users(users), questions, ends)

    assert ([], ends, True) == (report.faults, report.ends, report.raised > 0)


@sizes
@pytest.mark.parametrize("workers", ["telebot's", "sequential"])
def test_restarted_bots_without_an_inbox(
    open_storage: OpenStorage, workers: str, users: int, questions: int, ends: int
) -> None:
    """The same holds for bots that are stopped when they have nothing to do."""
    with Users(users) as api:
        report = run_restarts(open_storage, workers, users=api, questions=questions, ends=ends)

    assert ([], ends, True) == (report.faults, report.ends, report.raised > 0)


def test_control_updates_that_end_after_the_commit(place: str) -> None:
    """Killed between the commit of a step and the end of its update, a bot takes it twice."""
    report = run_kills(place, Users(8), questions=5, ends=1, gap=10)

    assert any("taken 2 times" in fault for fault in report.faults)


class MeetingStorage(SharedStorage):
    """A storage in which the two answers of the first user to the first question meet."""

    def __init__(self) -> None:
        super().__init__()
        self._uses = itertools.count()
        self._meeting = threading.Barrier(2, timeout=PATIENCE)

    def hold(self, key: str, timeout: float | None = None) -> AbstractContextManager[Hold]:
        """See `Storage.hold`."""
        # The first use of the session is that of the handler.
        if key == "1" and next(self._uses) in {1, 2}:
            self._meeting.wait()
        return super().hold(key, timeout)


def test_control_without_the_lock_of_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both answers to a question are given to its step."""

    @contextmanager
    def exclusively(store: Any, address: Any, _: Any) -> Iterator[Any]:
        found, no_lock = store.find(address), cast("Any", None)
        yield found and Taken(found, no_lock)

    monkeypatch.setattr(QuestionStore, "exclusively", exclusively)
    storage = MeetingStorage()
    with Users(1, presses=0, bad=0) as api:
        report = run_restarts(lambda: storage, "telebot's", users=api, questions=3, ends=0)

    assert any("the questions [1, 1," in fault for fault in report.faults)


def test_the_account_finds_each_fault() -> None:
    """Lost, doubled, strange and reordered messages, and wrong counts, are told apart."""
    log = ["handler 0", "step 1 2", "step 1 1", "handler 1", "handler 9", "handler 4"]

    found = account(
        ["0", "1", "2", "3", "4", "5"],
        {"answers": 1, "log": log},
        raised=["4", "5"],
        questions=2,
        in_order=True,
    )

    assert [
        "1 was taken 2 times",
        "3 was taken 0 times",
        "4 was taken 2 times",
        "9 was not sent",
        "the answers are those of the questions [1, 1]",
        "1 answers are counted, not 2",
        "the messages are not in order",
    ] == list(found)


def test_the_account_of_a_user_without_faults() -> None:
    """Each message has a step, a handler or an exception."""
    log = ["handler 0", "step 1 1", "handler 2"]

    found = account(
        ["0", "1", "2", "3"],
        {"answers": 1, "log": log},
        raised=["3"],
        questions=1,
        in_order=True,
    )

    assert [] == list(found)
