"""The tests of commits: several records that are written together."""

# ruff: noqa: SIM300 -- a test compares the expected number with the real one

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from telesession.errors import LockLostError
from telesession.storage.base import Change
from telesession.testing.promises.subject import FOR_AGES, Subject, try_hold
from telesession.testing.threads import PATIENCE, in_thread, in_threads

if TYPE_CHECKING:
    from telesession.storage.base import Storage


class CommitPromises(Subject):
    """The promises about the commit of several holds."""

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
