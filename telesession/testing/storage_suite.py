"""
One suite for pytest that every storage must pass: a test for each promise of `Storage`.

Import it into a test module and inherit from it. It needs pytest, as `telesession.testing.fixtures`
does.
"""

# ruff: noqa: SIM300 -- a test compares the expected number with the real one

from __future__ import annotations

import sys
import threading
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from telesession.errors import LockLostError, LockTimeoutError
from telesession.storage.base import Change
from telesession.testing.threads import PATIENCE, in_thread, in_threads

if TYPE_CHECKING:
    from telesession.storage.base import Storage

FOR_AGES = 10.0**9
# The calls by which a thread waits: for a lock, in a loop, or for a server or a file.
_WAITS = frozenset(("acquire", "flock", "lockf", "poll", "recv", "recv_into", "select", "sleep"))
HOSTILE_KEYS = [
    "", " ", "  ", "\0", "a\0", "a", "A", "a ", " a", "\n", "a\nb", "\r\n", "\t", "*", "?", "[a]",
    "%", "%a", "_", "\\", "\\x00", "'", '"', "'; DROP TABLE sessions; --", "{a}", "{a}b", "}{",
    "a:b", "a::b", "a/b", "../a", "é", "e\u0301", "ß", "ss", "İ", "i", "🦊", "\U0010ffff", "\ufeff",
    "\ud800", "-1", "1", "01", "1.0", "None", "x" * 10_000, "x" * 10_001,
]  # fmt: skip


def try_hold(storage: Storage, key: str) -> str:
    """The result of asking for a key without waiting."""
    try:
        with storage.hold(key, 0):
            return "held"
    except LockTimeoutError:
        return "busy"


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


class StorageSuite:
    """
    The promises of a storage, a test each; inherit from it and give it a storage.

        class TestMyStorage(StorageSuite):
            @pytest.fixture
            def storage(self):
                return MyStorage()

    Every test gets a storage of its own, which is empty. Threads call the storage, and time passes.
    Here the time is real: a few seconds in all. A suite with a clock that can be set overrides
    `tick`, and with it the three attributes, which are in seconds.

    Attributes:
        second: The unit of the lifetimes of the suite. On a machine so busy that four of them
            pass between two calls, make it longer.
        margin: How long before the end of its lifetime a record is asked for; less than five
            times `second`.
        ages: How long a record without a lifetime is watched.
    """

    second = 0.05
    margin = 0.2
    ages = 0.25

    @pytest.fixture
    def storage(self) -> Any:
        """An empty storage; to be overridden."""
        raise NotImplementedError(f"{type(self).__name__} needs a fixture named storage")

    def tick(self, seconds: float) -> None:
        """Let time pass for the records: at least this number of seconds."""
        # Servers count in milliseconds, and some round up.
        end = time.monotonic() + seconds + 0.005
        while (left := end - time.monotonic()) > 0:
            time.sleep(left)

    def test_get_gives_the_bytes_that_were_set(self, storage: Storage) -> None:
        """`get` gives the bytes that `set` got: empty ones, every value of a byte, a megabyte."""
        payloads = [b"", b"\0", b"\0a\0", b"  \n", bytes(range(256)), b"x" * 2**20]

        for payload in payloads:
            storage.set("key", payload)
            assert payload == storage.get("key")

    def test_get_gives_none_for_whatever_is_not_there(self, storage: Storage) -> None:
        """`get` gives `None` for never stored, deleted and expired alike."""
        storage.set("deleted", b"payload")
        storage.delete("deleted")
        storage.set("expired", b"payload", self.second)
        self.tick(self.second)

        assert [None] * 3 == [storage.get(key) for key in ("never stored", "deleted", "expired")]

    def test_a_record_expires_at_the_end_of_its_lifetime(self, storage: Storage) -> None:
        """A record is there a margin before its lifetime is over, and gone when it is."""
        storage.set("key", b"payload", 5 * self.second)
        self.tick(5 * self.second - self.margin)
        assert b"payload" == storage.get("key")

        self.tick(self.margin)
        assert storage.get("key") is None

    def test_a_lifetime_of_nothing_is_over_at_once(self, storage: Storage) -> None:
        """A record with a lifetime of 0 s is gone at once, and so is the former record."""
        storage.set("key", b"old")
        storage.set("key", b"new", 0)

        assert [None, False, []] == [storage.get("key"), storage.has("key"), list(storage.keys())]

    def test_a_record_without_a_lifetime_stays(self, storage: Storage) -> None:
        """A record that was stored without a lifetime is kept for ever."""
        storage.set("key", b"payload")
        self.tick(self.ages)

        assert b"payload" == storage.get("key")

    def test_set_replaces_payload_and_lifetime_together(self, storage: Storage) -> None:
        """`set` replaces payload and lifetime together: a longer, a shorter and no lifetime."""
        lifetimes = {"longer": (2, 6), "shorter": (6, 2), "for ever": (2, None), "back": (None, 2)}
        for number in (0, 1):
            for key, units in lifetimes.items():
                lifetime = units[number]
                seconds = None if lifetime is None else lifetime * self.second
                storage.set(key, b"%d" % number, seconds)
        self.tick(2 * self.second)

        assert [b"1", None, b"1", None] == [storage.get(key) for key in lifetimes]

    def test_set_brings_back_what_was_deleted_or_expired(self, storage: Storage) -> None:
        """A key whose record was deleted or has expired behaves like a new one."""
        for key in ("deleted", "expired"):
            storage.set(key, b"old", self.second)
        storage.delete("deleted")
        storage.set("deleted", b"new")
        self.tick(self.second)
        storage.set("expired", b"new")
        self.tick(self.second)

        assert [b"new", b"new"] == [storage.get("deleted"), storage.get("expired")]

    def test_has_says_whether_there_is_a_record(self, storage: Storage) -> None:
        """`has` says whether `get` would return a payload, an empty one too."""
        storage.set("empty", b"")
        storage.set("deleted", b"payload")
        storage.delete("deleted")
        storage.set("live", b"payload", 6 * self.second)
        storage.set("expired", b"payload", self.second)
        self.tick(self.second)

        expected = {"empty": True, "live": True, "deleted": False, "expired": False, "never": False}
        assert expected == {key: storage.has(key) for key in expected}

    def test_get_record_gives_payloads(self, storage: Storage) -> None:
        """`get_record` gives the payload of a live record, and `None` where `get` does."""
        storage.set("empty", b"")
        storage.set("live", b"payload", FOR_AGES)
        storage.set("deleted", b"payload")
        storage.delete("deleted")
        storage.set("expired", b"payload", self.second)
        self.tick(self.second)
        records = [storage.get_record(key) for key in ("empty", "live", "deleted", "expired", "no")]

        assert [b"", b"payload", None, None, None] == [each and each.payload for each in records]

    def test_get_record_gives_the_rest_of_a_lifetime(self, storage: Storage) -> None:
        """`get_record` gives the seconds that are left, and `None` for ever; or never any."""

        def left(key: str) -> Any:
            record = storage.get_record(key)
            return None if record is None else record.left

        lifetime, slack = 10.0**6, 0.002
        begun = time.monotonic()
        storage.set("set", b"payload", lifetime)
        storage.set("touched", b"payload")
        storage.touch("touched", lifetime)
        with storage.hold("held") as held:
            held.set(b"payload", lifetime)
        storage.set("lasting", b"payload", lifetime)
        storage.touch("lasting", None)
        self.tick(self.second)
        lefts = [left(key) for key in ("set", "touched", "held")]
        passed = time.monotonic() - begun

        if left("lasting") == "unknown":
            # The promise of the base class: a storage that cannot tell never does.
            assert ["unknown"] * 3 == lefts
            return
        assert left("lasting") is None
        shortest = lifetime - max(passed, self.second) - slack
        longest = lifetime - self.second + slack
        assert [True] * 3 == [shortest <= each <= longest for each in lefts]

    def test_ping_writes_nothing(self, storage: Storage) -> None:
        """`ping` of a storage that can be reached returns, and leaves no record."""
        storage.ping()
        storage.ping()

        assert [] == list(storage.keys())

    def test_delete_says_whether_there_was_a_record(self, storage: Storage) -> None:
        """`delete` says whether there was a live record, and may be repeated."""
        storage.set("live", b"payload")
        storage.set("expired", b"payload", self.second)
        self.tick(self.second)

        keys = ("live", "live", "expired", "expired", "never stored")
        actual = [storage.delete(key) for key in keys]

        assert [True, False, False, False, False] == actual
        assert [None, None] == [storage.get("live"), storage.get("expired")]

    def test_delete_leaves_other_records_alone(self, storage: Storage) -> None:
        """`delete` removes the record of one key, not of those that begin with it."""
        for key in ("a", "a:b", "ab", "b"):
            storage.set(key, key.encode())
        storage.delete("a")

        assert [None, b"a:b", b"ab", b"b"] == [storage.get(key) for key in ("a", "a:b", "ab", "b")]

    def test_touch_renews_the_lifetime_and_keeps_the_payload(self, storage: Storage) -> None:
        """`touch` counts a lifetime from now, longer or shorter, and keeps the payload."""
        storage.set("longer", b"longer", 5 * self.second)
        storage.set("shorter", b"shorter", 10 * self.second)
        self.tick(self.second)
        assert storage.touch("longer", 10 * self.second) is True
        assert storage.touch("shorter", 5 * self.second) is True
        self.tick(5 * self.second - self.margin)
        assert b"shorter" == storage.get("shorter")
        self.tick(self.margin)

        assert [b"longer", None] == [storage.get("longer"), storage.get("shorter")]

    def test_touch_gives_and_takes_lifetimes(self, storage: Storage) -> None:
        """`touch` gives a lifetime to a record that had none, and with `None` takes it away."""
        storage.set("given", b"payload")
        storage.set("taken", b"payload", 5 * self.second)
        storage.touch("given", self.second)
        storage.touch("taken", None)
        self.tick(5 * self.second)

        assert [None, b"payload"] == [storage.get("given"), storage.get("taken")]

    def test_touch_makes_no_record(self, storage: Storage) -> None:
        """`touch` says that there was no record, and does not bring one back."""
        storage.set("deleted", b"payload", FOR_AGES)
        storage.delete("deleted")
        storage.set("expired", b"payload", self.second)
        self.tick(self.second)
        missing = ("never stored", "deleted", "expired")

        assert [False] * 3 == [storage.touch(key, FOR_AGES) for key in missing]
        assert [None] * 3 == [storage.get(key) for key in missing]
        assert [] == list(storage.keys())

    def test_keys_gives_those_that_start_with_the_prefix(self, storage: Storage) -> None:
        """`keys(prefix)` takes the prefix literally, and gives every key without one."""
        stored = ["a", "a:1", "a:2", "A:3", "ab", "%", "%a", "*", "_a", "[a]", "ba:", ""]
        for key in stored:
            storage.set(key, b"payload")

        for prefix in ("", "a", "a:", "%", "*", "_", "[a", "?", "a:1", "a:1 "):
            expected = sorted(key for key in stored if key.startswith(prefix))
            assert expected == sorted(storage.keys(prefix))
        assert sorted(stored) == sorted(storage.keys())

    def test_keys_gives_live_keys_only(self, storage: Storage) -> None:
        """`keys` iterates over live keys: none that was deleted or has expired."""
        storage.set("live", b"payload")
        storage.set("touched", b"payload", 5 * self.second)
        storage.touch("touched", 11 * self.second)
        storage.set("deleted", b"payload")
        storage.set("expired", b"payload", self.second)
        storage.delete("deleted")
        self.tick(6 * self.second)

        assert ["live", "touched"] == sorted(storage.keys())

    def test_keys_survives_writes_of_another_thread(self, storage: Storage) -> None:
        """Writes of others during an iteration hide no key that was there all along."""
        lasting = [f"lasting {number}" for number in range(20)]
        for key in [*lasting, "passing"]:
            storage.set(key, b"payload")

        def write() -> None:
            for number in range(100):
                storage.set(f"new {number}", b"payload")
            storage.delete("passing")
            storage.set(lasting[0], b"another payload", FOR_AGES)

        keys = storage.keys()
        seen = [next(keys)]
        in_thread(write)
        seen.extend(keys)

        assert lasting == sorted((key for key in seen if key in lasting), key=lasting.index)

    def test_keys_may_hold_any_character(self, storage: Storage) -> None:
        """Any string is a key, and no two strings are the same key."""
        for number, key in enumerate(HOSTILE_KEYS):
            storage.set(key, b"%d" % number)

        assert sorted(HOSTILE_KEYS) == sorted(storage.keys())
        payloads = [b"%d" % number for number in range(len(HOSTILE_KEYS))]
        assert payloads == [storage.get(key) for key in HOSTILE_KEYS]
        assert [True] * len(HOSTILE_KEYS) == [storage.touch(key, FOR_AGES) for key in HOSTILE_KEYS]
        assert ["held"] * len(HOSTILE_KEYS) == [try_hold(storage, key) for key in HOSTILE_KEYS]
        assert [True] * len(HOSTILE_KEYS) == [storage.delete(key) for key in HOSTILE_KEYS]

    def test_every_method_may_be_called_from_any_thread(self, storage: Storage) -> None:
        """A record that one thread stores is seen, renewed, held and deleted by another one."""
        in_thread(storage.set, "key", b"payload")

        assert b"payload" == in_thread(storage.get, "key")
        assert in_thread(storage.has, "key") is True
        assert in_thread(storage.touch, "key", FOR_AGES) is True
        assert ["key"] == in_thread(list, storage.keys())
        assert "held" == in_thread(try_hold, storage, "key")
        assert in_thread(storage.delete, "key") is True
        assert storage.get("key") is None

    def test_no_write_of_many_threads_is_lost(self, storage: Storage) -> None:
        """Threads that write at the same time, each to keys of its own, find their own records."""

        def write(name: str) -> list[bytes | None]:
            for number in range(50):
                storage.set(f"{name} {number}", name.encode(), FOR_AGES)
                storage.touch(f"{name} {number}", None)
                storage.delete(f"{name} {number - 1}")
            return [storage.get(f"{name} {number}") for number in (48, 49)]

        actual = in_threads([partial(write, name) for name in "abcdefgh"])

        assert [[None, name.encode()] for name in "abcdefgh"] == actual
        assert [f"{name} 49" for name in "abcdefgh"] == sorted(storage.keys())

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

    def test_a_commit_does_what_its_holds_have_noted(self, storage: Storage) -> None:
        """Others see all writes of several holds when `commit` has returned, and none before."""
        for key in ("replaced", "deleted", "read"):
            storage.set(key, b"old")
        keys = ("new", "replaced", "deleted", "read")
        with (
            storage.hold("new") as new,
            storage.hold("replaced") as replaced,
            storage.hold("deleted") as deleted,
            storage.hold("read") as read,
        ):
            new.set(b"new")
            replaced.set(b"new")
            noted = deleted.delete(), read.get()
            before = in_thread(lambda: [storage.get(key) for key in keys])
            storage.commit([new, replaced, deleted, read])
            after = in_thread(lambda: [storage.get(key) for key in keys])

        assert (True, b"old") == noted
        assert [None, b"old", b"old", b"old"] == before
        assert [b"new", b"new", None, b"old"] == after
        assert after == [storage.get(key) for key in keys]

    def test_after_a_commit_its_holds_are_left_as_usual(self, storage: Storage) -> None:
        """Keys are free once their blocks are left, and a write is done once, by the commit."""
        with storage.hold("a") as a, storage.hold("b") as b:
            a.set(b"noted")
            b.delete()
            storage.commit([a, b])
            for key in "ab":
                storage.set(key, b"written since")

        assert [b"written since"] * 2 == [storage.get(key) for key in "ab"]
        assert ["held", "held"] == [in_thread(try_hold, storage, key) for key in "ab"]

    def test_a_commit_holds_its_keys_until_it_has_written(self, storage: Storage) -> None:
        """Increments of two keys by several threads, with a commit each, are all counted."""
        for key in "ab":
            storage.set(key, b"0")

        def count() -> None:
            for _ in range(25):
                with storage.hold("a", PATIENCE) as a, storage.hold("b", PATIENCE) as b:
                    numbers = int(a.get() or b""), int(b.get() or b"")
                    time.sleep(0)
                    a.set(b"%d" % (numbers[0] + 1))
                    b.set(b"%d" % (numbers[1] + 1))
                    storage.commit([a, b])

        in_threads([count] * 4)

        assert [b"100"] * 2 == [storage.get(key) for key in "ab"]

    def test_a_commit_may_have_nothing_to_write(self, storage: Storage) -> None:
        """Holds that have noted nothing leave their records and lifetimes unchanged."""
        storage.set("lasting", b"payload")
        storage.set("brief", b"payload", self.second)
        with storage.hold("lasting") as lasting, storage.hold("brief") as brief:
            lasting.get()
            brief.get()
            storage.commit([lasting, brief])
        with storage.hold("lasting") as lasting:
            storage.commit([lasting])
        storage.commit([])
        self.tick(self.second)

        assert [b"payload", None] == [storage.get(key) for key in ("lasting", "brief")]

    def test_lifetimes_of_a_commit_end(self, storage: Storage) -> None:
        """A lifetime that a hold or a change set with a `commit` ends as any other."""
        storage.set("touched", b"payload")
        storage.set("kept", b"payload", self.second)
        keys = ("set", "touched", "kept", "also")
        with (
            storage.hold("set") as written,
            storage.hold("touched") as touched,
            storage.hold("kept") as kept,
        ):
            written.set(b"payload", self.second)
            touched.touch(self.second)
            kept.touch(None)
            change = Change("also", None, b"payload", self.second)
            storage.commit([written, touched, kept], [change])
        before = [storage.get(key) for key in keys]
        self.tick(self.second)

        assert [b"payload"] * 4 == before
        assert [None, None, b"payload", None] == [storage.get(key) for key in keys]

    def test_a_commit_renews_a_record_that_has_just_expired(self, storage: Storage) -> None:
        """A record that was live when a hold renewed it is there after the `commit`."""
        for key in "ab":
            storage.set(key, b"payload", self.second)
        with storage.hold("a") as a, storage.hold("b") as b:
            assert [True, True] == [a.touch(FOR_AGES), b.touch(None)]
            self.tick(self.second)
            storage.commit([a, b])

        assert [b"payload"] * 2 == [storage.get(key) for key in "ab"]

    def test_a_commit_changes_other_keys(self, storage: Storage) -> None:
        """Changes of keys that no hold has are done with the holds, if all is as expected."""
        storage.set("replaced", b"old", FOR_AGES)
        storage.set("deleted", b"old")
        storage.set("expired", b"old", self.second)
        self.tick(self.second)
        changes = [
            Change("new", None, b"new"),
            Change("replaced", b"old", b"new"),
            Change("deleted", b"old", None),
            Change("expired", None, b"new"),
            Change("missing", None, None),
        ]
        with storage.hold("held") as held, storage.hold("read") as read:
            held.set(b"noted")
            storage.commit([held, read], changes)
        storage.commit([], [Change("last", None, b"new")])
        self.tick(self.ages)

        expected = {"held": b"noted"}
        expected |= dict.fromkeys(("new", "replaced", "expired", "last"), b"new")
        assert expected == {key: storage.get(key) for key in list(storage.keys())}

    def test_a_change_of_another_record_writes_nothing(self, storage: Storage) -> None:
        """If a record is not as a change expects it, nothing is written, and the error names it."""
        storage.set("a", b"old")
        storage.set("b", b"old")
        storage.set("expired", b"old", self.second)
        self.tick(self.second)
        fitting = Change("b", b"old", b"new")
        unfit = [
            Change("a", None, b"new"),
            Change("a", b"other", b"new"),
            Change("a", b"other", None),
            Change("missing", b"old", b"new"),
            Change("expired", b"old", b"new"),
            Change("missing", b"", b"new"),
        ]

        def commit(*changes: Change) -> None:
            with storage.hold("held") as held:
                held.set(b"noted")
                storage.commit([held], changes)

        for change in unfit:
            for changes in ([fitting, change], [change, fitting]):
                with pytest.raises(LockLostError) as caught:
                    commit(*changes)
                assert change.key == caught.value.key
                assert {"a": b"old", "b": b"old"} == {
                    key: storage.get(key) for key in list(storage.keys())
                }
        assert "held" == in_thread(try_hold, storage, "held")

    def test_listed_gives_an_index_in_pages(self, storage: Storage) -> None:
        """`listed` gives the keys of an index in order, after a key, and up to a limit."""
        keys = sorted(f"@in:{key}" for key in HOSTILE_KEYS)
        changes = [Change(key, None, b"payload", index="@in:") for key in reversed(keys)]
        storage.commit([], changes)
        storage.commit([], [Change("@in", None, b"payload", index="@in")])
        storage.set("@inside", b"payload")
        storage.set("@", b"payload")

        assert keys == storage.listed("@in:", limit=len(keys))
        assert keys == storage.listed("@in:", "@in", 1_000)
        assert keys[3:5] == storage.listed("@in:", keys[2], 2)
        assert keys[-1:] == storage.listed("@in:", keys[-2], 2)
        assert [] == storage.listed("@in:", keys[-1])
        assert [] == storage.listed("@in:", limit=0)
        assert [] == storage.listed("@out:")

    def test_listed_gives_a_hundred_keys(self, storage: Storage) -> None:
        """Without a limit, a call of `listed` gives up to 100 keys, and the next one the rest."""
        keys = [f"@in:{number:03}" for number in range(150)]
        storage.commit([], [Change(key, None, b"payload", index="@in:") for key in keys])

        assert [keys[:100], keys[100:]] == [
            storage.listed("@in:"),
            storage.listed("@in:", keys[99]),
        ]

    def test_listed_gives_live_keys_only(self, storage: Storage) -> None:
        """A deleted, vanished or expired record is not listed, and takes no place of another."""

        def change(key: str, expected: bytes | None, payload: bytes | None) -> Change:
            lifetime = self.second if key == "@expired" else None
            return Change(key, expected, payload, lifetime, "@")

        names = ["@deleted", "@expired", "@replaced", "@vanished", "@vanished too", "@z"]
        storage.commit([], [change(key, None, b"old") for key in names])
        storage.delete("@vanished")
        storage.delete("@vanished too")
        changes = [change("@deleted", b"old", None), change("@replaced", b"old", b"new")]
        with storage.hold("held") as held:
            held.set(b"payload")
            storage.commit([held], changes)
        with pytest.raises(LockLostError):
            storage.commit([], [change("@new", None, b"new"), change("@z", b"other", None)])
        before = storage.listed("@")
        self.tick(self.second)

        assert ["@expired", "@replaced", "@z"] == before
        assert [["@replaced", "@z"]] * 2 == [storage.listed("@"), storage.listed("@", limit=2)]

    def test_add_once_stores_new_numbers(self, storage: Storage) -> None:
        """`add_once` stores a record for each new number, and gives these in their order."""
        payloads = {number: b"%d" % number for number in (7, 0, 4095, 4096, 2**52 - 1, 3)}

        def add(*numbers: int) -> list[int]:
            some = {number: payloads[number] for number in numbers}
            return storage.add_once("@in:", some, pages="@seen:", memory=FOR_AGES)

        added = [add(), add(7, 0, 4095), add(7), add(*payloads), add(*payloads)]
        keys = [f"@in:{number:016}" for number in sorted(payloads)]

        assert [[], [7, 0, 4095], [], [4096, 2**52 - 1, 3], []] == added
        assert keys == storage.listed("@in:")
        assert [b"0", b"3", b"7", b"4095", b"4096", b"%d" % (2**52 - 1)] == [
            storage.get(key) for key in keys
        ]

    def test_add_once_remembers_deleted_records(self, storage: Storage) -> None:
        """A number is not added again after its record was changed or deleted."""

        def add(payload: bytes) -> list[int]:
            some = {1: payload, 2: payload}
            return storage.add_once("@", some, pages="+", memory=5 * self.second)

        added = [add(b"old")]
        one, two = storage.listed("@")
        changes = [Change(one, b"old", None, index="@"), Change(two, b"old", b"changed", index="@")]
        storage.commit([], changes)
        self.tick(self.second)
        added += [add(b"new")]

        assert [[1, 2], []] == added
        assert ([two], b"changed") == (storage.listed("@"), storage.get(two))

    def test_add_once_forgets_numbers_with_time(self, storage: Storage) -> None:
        """A number is new again after `memory` seconds without another number of its page."""

        def add(*numbers: int) -> list[int]:
            some = dict.fromkeys(numbers, b"payload")
            return storage.add_once("@", some, pages="+", memory=5 * self.second)

        added = [add(1, 5000)]
        self.tick(5 * self.second - self.margin)
        added += [add(2), add(1)]
        self.tick(self.margin)
        added += [add(1), add(5000)]
        self.tick(5 * self.second)
        added += [add(1)]

        assert [[1, 5000], [2], [], [], [5000], [1]] == added
        # A record outlives the memory of its number.
        assert [f"@{number:016}" for number in (1, 2, 5000)] == storage.listed("@")

    def test_add_once_takes_many_numbers(self, storage: Storage) -> None:
        """Thousands of numbers are added by one call, in their order."""
        payloads = {number * 3: b"%d" % number for number in reversed(range(3_000))}
        added = storage.add_once("@", payloads, pages="+", memory=FOR_AGES)
        keys = storage.listed("@", limit=5_000)

        assert list(payloads) == added
        assert sorted(f"@{number:016}" for number in payloads) == keys
        assert [b"0", b"2999"] == [storage.get(keys[0]), storage.get(keys[-1])]
        assert [] == storage.add_once("@", payloads, pages="+", memory=FOR_AGES)

    def test_add_once_refuses_other_numbers(self, storage: Storage) -> None:
        """A number that is negative, or not below 2**52, is a `ValueError`; nothing is stored."""
        for number in (-1, 2**52):
            with pytest.raises(ValueError, match=str(number)):
                storage.add_once("@", {1: b"", number: b""}, pages="+", memory=FOR_AGES)

        assert [] == list(storage.keys())

    def test_threads_add_each_number_once(self, storage: Storage) -> None:
        """Of threads that add the same numbers at the same time, each number is new for one."""
        numbers = range(4090, 4115)

        def add(name: str) -> list[int]:
            added = []
            for number in numbers:
                some = {number: name.encode()}
                added += storage.add_once("@", some, pages="+", memory=FOR_AGES)
            return added

        added = in_threads([partial(add, name) for name in "abcd"])

        assert list(numbers) == sorted(number for some in added for number in some)
        for name, some in zip("abcd", added, strict=True):
            assert [name.encode()] * len(some) == [storage.get(f"@{each:016}") for each in some]

    def test_close_may_be_repeated(self, storage: Storage) -> None:
        """`close` may be repeated, and the storage is a context manager that closes itself."""
        with storage as entered:
            entered.set("key", b"payload")

        assert storage is entered
        storage.close()
        storage.close()
