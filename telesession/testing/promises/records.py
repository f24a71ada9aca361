"""The tests of records: reading, writing, lifetimes and keys."""

# ruff: noqa: SIM300 -- a test compares the expected number with the real one

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Any

from telesession.testing.promises.subject import FOR_AGES, HOSTILE_KEYS, Subject, try_hold
from telesession.testing.threads import in_thread, in_threads

if TYPE_CHECKING:
    from telesession.storage.base import Storage


class RecordPromises(Subject):
    """The promises about single records."""

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

    def test_close_may_be_repeated(self, storage: Storage) -> None:
        """`close` may be repeated, and the storage is a context manager that closes itself."""
        with storage as entered:
            entered.set("key", b"payload")

        assert storage is entered
        storage.close()
        storage.close()
