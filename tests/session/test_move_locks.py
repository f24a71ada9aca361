"""Moves of sessions that others use: whoever has one of the two keys is waited for."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest

from support.clocks import PATIENCE
from support.handlers import NEW_KEY, OLD_KEY, by_chats
from support.sessions import set_fields
from support.storages import Asked, WithoutLocks, fields_by_key, is_free, payloads
from support.threads import OtherThread, in_thread, in_threads
from telesession import LockTimeoutError, MemoryStorage, Session, Sessions, Storage

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.mark.parametrize("used", ["1", "2"])
def test_a_move_waits_for_those_who_use_one_of_the_two(
    used: str, moved_storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a handler does with the old session while the move waits moves with it."""
    sessions = Sessions(storage=moved_storage)
    set_fields(sessions, "1", counter=1)
    with OtherThread() as other:
        with sessions.open(used) as session:
            asked = Asked(moved_storage, monkeypatch)
            moving = other.submit(sessions.move, "1", "2")
            assert asked.event(used).wait(PATIENCE)
            assert False is moving.done()
            if used == "1":
                session.counter += 1
        moved = moving.result(PATIENCE)

    expected = {"counter": 2 if used == "1" else 1}
    assert (True, None, expected) == (moved, sessions.peek("1"), sessions.peek("2"))


@pytest.mark.parametrize("busy", ["1", "2"])
def test_a_move_gives_up_after_the_lock_timeout(busy: str, moved_storage: Storage) -> None:
    """A session that stays busy: `LockTimeoutError` with its key, and nothing has changed."""
    sessions = Sessions(storage=moved_storage, lock_timeout=0, prefix="shop:")
    set_fields(sessions, "1", counter=1)
    before = payloads(moved_storage)

    with moved_storage.hold(f"shop:{busy}"), pytest.raises(LockTimeoutError) as caught:
        sessions.move("1", "2")

    assert (busy, 0) == (caught.value.key, caught.value.seconds)
    assert before == payloads(moved_storage)
    assert [True, True] == [is_free(moved_storage, f"shop:{key}") for key in "12"]


def increment(sessions: Sessions[Session], times: int) -> None:
    """Count in the session that two threads move so often, under whichever key it then is."""
    left = times
    # The session escapes to the other key at most once for each of the moves.
    for key in "12" * 3 * times:
        with sessions.open(key) as session:
            if session:
                session.counter += 1
                left -= 1
        if not left:
            return


def count_on_the_move(storage: Storage, threads: int, times: int) -> dict[str, Any]:
    """What is stored after increments under both keys, while the session moves to and fro."""
    sessions = Sessions(storage=storage)
    set_fields(sessions, "1", counter=0)
    counting: list[Callable[[], Any]] = [lambda: increment(sessions, times)] * threads
    moving = [
        lambda keys=keys: [sessions.move(*keys) for _ in range(times)] for keys in ("12", "21")
    ]
    in_threads([*counting, *moving])
    return fields_by_key(sessions)


def test_increments_during_moves_are_not_lost(moved_storage: Storage) -> None:
    """Threads count under both keys while others move the session to and fro: all is counted."""
    left = count_on_the_move(moved_storage, threads=3, times=25)

    assert [{"counter": 75}] == list(left.values())


class MeetingStorage(WithoutLocks, MemoryStorage):
    """A storage without locks, where two threads have read before anybody writes."""

    def __init__(self) -> None:
        super().__init__()
        self.both_have_read: threading.Barrier | None = None
        self._thread = threading.local()

    def get(self, key: str) -> bytes | None:
        payload = super().get(key)
        if self.both_have_read is not None and payload and not vars(self._thread):
            self._thread.has_read = True
            self.both_have_read.wait()
        return payload


def test_without_locks_increments_during_moves_are_lost() -> None:
    """The control: where locks do nothing, a move and an increment tear the session in two."""
    storage = MeetingStorage()
    sessions = Sessions(storage=storage)
    set_fields(sessions, "1", counter=0)
    storage.both_have_read = threading.Barrier(2, timeout=PATIENCE)

    in_threads([lambda: increment(sessions, 1), lambda: sessions.move("1", "2")])
    storage.both_have_read = None
    left = fields_by_key(sessions)

    # Either the old session has come back with the increment, or the increment is gone.
    assert {"counter": 0} == left["2"]
    assert [{"counter": 1}] != list(left.values())


def test_moves_that_cross_do_not_wait_for_each_other_forever(moved_storage: Storage) -> None:
    """Moves between the same keys take their locks in one order, whichever way they go."""
    sessions = Sessions(storage=moved_storage, lock_timeout=PATIENCE)
    set_fields(sessions, "1", counter=1)

    def move_often(old: str, new: str) -> None:
        for _ in range(20):
            sessions.move(old, new)

    in_threads([lambda: move_often("1", "2"), lambda: move_often("2", "1")] * 2)

    assert [{"counter": 1}] == list(fields_by_key(sessions).values())


def test_sessions_that_nobody_uses_are_moved_from_any_thread() -> None:
    """A timer or a thread may move a session while handlers of others run."""
    sessions = by_chats()
    set_fields(sessions, OLD_KEY, counter=1)

    with sessions.open("chat:0"):
        moved = in_thread(sessions.move, OLD_KEY, NEW_KEY)

    assert (True, {NEW_KEY: {"counter": 1}}) == (moved, fields_by_key(sessions))
