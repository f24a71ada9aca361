"""The tests of holds: locks, waiters, and writes under a lock."""

# ruff: noqa: SIM300 -- a test compares the expected number with the real one

from __future__ import annotations

import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from telesession.errors import LockTimeoutError
from telesession.testing.promises.subject import FOR_AGES, Subject, try_hold
from telesession.testing.threads import PATIENCE, in_thread, in_threads

if TYPE_CHECKING:
    from telesession.storage.base import Storage

# The calls by which a thread waits: for a lock, in a loop, or for a server or a file.
_WAITS = frozenset(("acquire", "flock", "lockf", "poll", "recv", "recv_into", "select", "sleep"))


class _Waiter(threading.Thread):
    """A thread that asks for a key, and notes its number when it has it."""

    def __init__(self, number: int, storage: Storage, order: list[int]) -> None:
        super().__init__(daemon=True)
        self._number = number
        self._hold = storage.hold("key", PATIENCE)
        self._order = order
        self._waits = threading.Event()

    def arrive(self) -> None:
        """Start, and return when the thread waits for those before it, or has the key."""
        self.start()
        if not self._waits.wait(PATIENCE):
            raise TimeoutError(
                "this test cannot tell whether a thread waits for this storage, because it waits "
                f"by none of the calls {sorted(_WAITS)}; override this test"
            )

    def run(self) -> None:
        sys.setprofile(self._look)
        try:
            with self._hold:
                self._order.append(self._number)
        finally:
            sys.setprofile(None)
            self._waits.set()

    def _look(self, _frame: object, event: str, call: Any) -> None:
        """Called by the interpreter before and after every call of a function."""
        if event == "c_call" and call.__name__ in _WAITS:
            # A lock that is free is taken without a wait.
            is_taken = getattr(call.__self__, "locked", None)
            if is_taken is None or is_taken():
                self._waits.set()


class HoldPromises(Subject):
    """The promises about exclusive use of a key."""

    def test_a_held_key_is_exclusive(self, storage: Storage) -> None:
        """`hold` lets one thread at a time use a key: all increments are counted."""
        storage.set("key", b"0")

        def count() -> None:
            for _ in range(25):
                with storage.hold("key", PATIENCE) as held:
                    number = int(held.get() or b"")
                    time.sleep(0)
                    held.set(b"%d" % (number + 1))

        in_threads([count] * 4)

        assert b"100" == storage.get("key")

    def test_a_held_key_is_busy_until_it_is_released(self, storage: Storage) -> None:
        """A key is busy for other threads while it is held, and free again afterwards."""
        with storage.hold("key"):
            during = in_thread(try_hold, storage, "key"), in_thread(try_hold, storage, "another")

        assert ("busy", "held") == during
        assert "held" == in_thread(try_hold, storage, "key")

    def test_a_wait_for_a_busy_key_ends_with_its_timeout(self, storage: Storage) -> None:
        """A key that stays busy raises `LockTimeoutError` with the key and the time."""

        def wait() -> LockTimeoutError:
            with pytest.raises(LockTimeoutError) as caught, storage.hold("key", 0.001):
                storage.set("key", b"a thread that holds nothing was here")
            return caught.value

        with storage.hold("key"):
            error = in_thread(wait)

        assert ("key", 0.001) == (error.key, error.seconds)
        assert storage.get("key") is None

    def test_waiters_get_a_key_in_the_order_of_their_arrival(self, storage: Storage) -> None:
        """`hold` is first come, first served."""
        order: list[int] = []
        waiters = [_Waiter(number, storage, order) for number in range(8)]
        with storage.hold("key"):
            for waiter in waiters:
                waiter.arrive()
        for waiter in waiters:
            waiter.join(PATIENCE)

        assert list(range(8)) == order

    def test_an_exception_releases_a_held_key(self, storage: Storage) -> None:
        """An exception in a block releases its key, and is raised as it is."""
        for error in (ValueError("in the block"), KeyboardInterrupt()):
            with pytest.raises(type(error)) as caught, storage.hold("key"):
                raise error
            assert error is caught.value
            assert "held" == in_thread(try_hold, storage, "key")

    def test_a_hold_whose_block_raises_writes_nothing(self, storage: Storage) -> None:
        """Noted writes are dropped if the block raises; those that `flush` wrote before stay."""

        def use(storage: Storage, key: str) -> None:
            with storage.hold(key) as held:
                if key == "flushed":
                    held.set(b"flushed")
                    held.flush()
                if key == "deleted":
                    held.delete()
                else:
                    held.set(b"dropped")
                raise ValueError(key)

        keys = ("replaced", "deleted", "flushed", "new")
        for key in keys[:3]:
            storage.set(key, b"old")
        for key in keys:
            with pytest.raises(ValueError, match=key):
                use(storage, key)

        assert [b"old", b"old", b"flushed", None] == [storage.get(key) for key in keys]

    def test_a_hold_reads_and_writes_its_key(self, storage: Storage) -> None:
        """A write in a hold is seen there at once, and by other threads after the end."""
        with storage.hold("key") as held:
            assert [None, False, False] == [held.get(), held.touch(FOR_AGES), held.delete()]
            held.set(b"payload", 5 * self.second)
            assert [b"payload", True] == [held.get(), held.touch(None)]
        self.tick(5 * self.second)
        assert b"payload" == storage.get("key")

        with storage.hold("key") as held:
            held.set(b"another", 5 * self.second)
            held.touch(10 * self.second)
            assert b"another" == held.get()
        self.tick(5 * self.second)
        with storage.hold("key") as held:
            assert [b"another", True] == [held.get(), held.delete()]
            assert [None, False] == [held.get(), held.touch(FOR_AGES)]
        assert storage.get("key") is None

    def test_what_a_hold_wrote_is_seen_by_others_at_flush(self, storage: Storage) -> None:
        """A change of a record in a hold is seen by other threads when `flush` has returned."""
        storage.set("key", b"old", self.second)
        seen = []
        with storage.hold("key") as held:
            held.set(b"new", 5 * self.second)
            held.flush()
            seen.append(in_thread(storage.get, "key"))
            held.touch(None)
            held.flush()
            self.tick(5 * self.second)
            seen.append(in_thread(storage.get, "key"))
            held.delete()
            held.flush()
            seen.append(in_thread(storage.get, "key"))
            held.set(b"newer")

        assert [b"new", b"new", None, b"newer"] == [*seen, storage.get("key")]

    def test_a_lifetime_that_a_hold_gave_ends(self, storage: Storage) -> None:
        """A lifetime from `set` or `touch` of a hold ends as any other."""
        with storage.hold("set") as held:
            held.set(b"payload", self.second)
        storage.set("touched", b"payload")
        with storage.hold("touched") as held:
            held.touch(self.second)
        self.tick(self.second)

        assert [None, None] == [storage.get("set"), storage.get("touched")]
