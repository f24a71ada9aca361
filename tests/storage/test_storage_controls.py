"""Storages that break one promise each, which the suite of every storage must catch."""

from __future__ import annotations

import itertools
import math
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from support.clocks import PATIENCE
from telesession.storage.base import Change, Hold, Record
from telesession.testing.storage_suite import FOR_AGES, StorageSuite

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from freezegun.api import FrozenDateTimeFactory

    from telesession import (
        Storage,
    )
from support.storages import FiveMethods, FrozenClockSuite, UnlockedHold, deadline_in


class EndsPayloadsAtNul(FiveMethods):
    def get(self, key: str) -> bytes | None:
        payload = super().get(key)
        return payload and payload.split(b"\0")[0]


class GivesWhatHasExpired(FiveMethods):
    def get(self, key: str) -> bytes | None:
        return self.records.get(key, (None, 0.0))[0]


class ExpiresLate(FiveMethods):
    def get(self, key: str) -> bytes | None:
        payload, deadline = self.records.get(key, (None, 0.0))
        return payload if time.monotonic() <= deadline else None


class ExpiresByWholeSeconds(FiveMethods):
    def get(self, key: str) -> bytes | None:
        payload, deadline = self.records.get(key, (None, 0.0))
        return payload if math.ceil(time.monotonic()) < deadline else None


class IgnoresWhatHasExpiredAlready(FiveMethods):
    def set(self, key: str, payload: bytes, lifetime: float | None = None) -> None:
        if time.monotonic() < deadline_in(lifetime):
            super().set(key, payload, lifetime)


class HasADefaultLifetime(FiveMethods):
    def set(self, key: str, payload: bytes, lifetime: float | None = None) -> None:
        super().set(key, payload, 3600 if lifetime is None else lifetime)


class KeepsTheLastLifetime(FiveMethods):
    def set(self, key: str, payload: bytes, lifetime: float | None = None) -> None:
        old = self.records.get(key)
        super().set(key, payload, lifetime)
        if old is not None and lifetime is None:
            self.records[key] = payload, old[1]


class HasWhatHasExpired(FiveMethods):
    def has(self, key: str) -> bool:
        return key in self.records


class GivesRecordsThatHaveExpired(FiveMethods):
    def get_record(self, key: str) -> Record | None:
        payload, _ = self.records.get(key, (None, 0.0))
        return None if payload is None else Record(payload, None)


class GivesWholeLifetimes(FiveMethods):
    def get_record(self, key: str) -> Record | None:
        record = super().get_record(key)
        deadline = self.records[key][1] if record else math.inf
        return record and record._replace(left=None if deadline == math.inf else FOR_AGES)


class PingsByARecord(FiveMethods):
    def ping(self) -> None:
        self.set("ping", b"")


class DeletesWhatHasExpired(FiveMethods):
    def delete(self, key: str) -> bool:
        return self.records.pop(key, None) is not None


class DeletesByPrefix(FiveMethods):
    def delete(self, key: str) -> bool:
        return [FiveMethods.delete(self, name) for name in list(self.keys(key))] != []


class TouchesNothing(FiveMethods):
    def touch(self, key: str, lifetime: float | None) -> bool:
        return self.has(key)


class TouchesThePayload(FiveMethods):
    def touch(self, key: str, lifetime: float | None) -> bool:
        self.set(key, b"touched", lifetime)
        return True


class NeverTakesALifetime(FiveMethods):
    def touch(self, key: str, lifetime: float | None) -> bool:
        return super().touch(key, lifetime) if lifetime is not None else self.has(key)


class TouchRevives(FiveMethods):
    def touch(self, key: str, lifetime: float | None) -> bool:
        if key in self.records:
            self.set(key, self.records[key][0], lifetime)
        return key in self.records


class TouchMakesRecords(FiveMethods):
    def touch(self, key: str, lifetime: float | None) -> bool:
        return super().touch(key, lifetime) or bool(self.set(key, b"", lifetime))


class LooksForThePrefixAnywhere(FiveMethods):
    def keys(self, prefix: str = "") -> Iterator[str]:
        return (key for key in super().keys("") if prefix in key)


class ListsWhatHasExpired(FiveMethods):
    def keys(self, prefix: str = "") -> Iterator[str]:
        return iter([key for key in self.records if key.startswith(prefix)])


class ListsWhileOthersWrite(FiveMethods):
    def keys(self, prefix: str = "") -> Iterator[str]:
        return (key for key in self.records if key.startswith(prefix))


class ListsInPages(FiveMethods):
    def keys(self, prefix: str = "") -> Iterator[str]:
        for start in itertools.count(step=5):
            page = sorted(super().keys(prefix), reverse=True)[start : start + 5]
            if not page:
                return
            yield from page


class FoldsKeys(FiveMethods):
    def set(self, key: str, payload: bytes, lifetime: float | None = None) -> None:
        super().set(key.casefold(), payload, lifetime)

    def get(self, key: str) -> bytes | None:
        return super().get(key.casefold())


class RemembersPerThread(FiveMethods):
    def __init__(self) -> None:
        self.local = threading.local()
        self.mutex = threading.Lock()

    @property
    def records(self) -> dict[str, tuple[bytes, float]]:
        return self.local.__dict__


class CopiesOnWrite(FiveMethods):
    def __init__(self) -> None:
        super().__init__()
        self.all_have_copied = threading.Barrier(8, timeout=PATIENCE)

    def set(self, key: str, payload: bytes, lifetime: float | None = None) -> None:
        changed = dict(self.records)
        # The last of what each thread stores, and not what it touches.
        if key.endswith(" 49") and lifetime is not None:
            self.all_have_copied.wait()
        changed[key] = payload, deadline_in(lifetime)
        self.records = changed


class HoldsNothing(FiveMethods):
    def __init__(self) -> None:
        super().__init__()
        self.all_have_read = threading.Barrier(4, timeout=PATIENCE)

    @contextmanager
    def hold(self, key: str, timeout: float | None = None) -> Iterator[Any]:
        yield Bound(self, key)

    def get(self, key: str) -> bytes | None:
        payload = super().get(key)
        # What each thread reads that counts, before any of them has counted.
        if payload == b"0":
            self.all_have_read.wait()
        return payload


class HoldsEverything(FiveMethods):
    def hold(self, key: str, timeout: float | None = None) -> Any:
        return super().hold("the one key", timeout)


class HoldsByThread(FiveMethods):
    def __init__(self) -> None:
        super().__init__()
        self.lock = threading.RLock()

    @contextmanager
    def hold(self, key: str, timeout: float | None = None) -> Iterator[Any]:
        if not self.lock.acquire(timeout=-1 if timeout is None else timeout):
            raise TimeoutError(key)
        yield Bound(self, key)
        self.lock.release()


class ServesTheLastFirst(FiveMethods):
    def __init__(self) -> None:
        super().__init__()
        self.waiting: list[threading.Event] = []

    @contextmanager
    def hold(self, key: str, timeout: float | None = None) -> Iterator[Any]:
        turn = threading.Event()
        with self.mutex:
            self.waiting.insert(1, turn)
        if turn is not self.waiting[0]:
            turn.wait(timeout)
        yield Bound(self, key)
        with self.mutex:
            del self.waiting[0]
            if self.waiting:
                self.waiting[0].set()


class Bound:
    """Like what `Storage.hold` gives, but it forgets lifetimes."""

    def __init__(self, storage: Storage, key: str) -> None:
        self.storage, self.key = storage, key

    def get(self) -> bytes | None:
        return self.storage.get(self.key)

    def set(self, payload: bytes, lifetime: float | None = None) -> None:
        self.storage.set(self.key, payload)

    def delete(self) -> bool:
        return self.storage.delete(self.key)

    def touch(self, lifetime: float | None) -> bool:
        return self.storage.touch(self.key, None)

    def flush(self) -> None:
        pass


class Unwritten(Hold):
    """Notes what is written, writes it at `flush`, and forgets it on leaving."""

    def __init__(self, storage: Storage, key: str, timeout: float | None) -> None:
        super().__init__(storage, key, timeout)
        self.notes: list[tuple[bytes, float | None]] = []

    def get(self) -> bytes | None:
        return self.notes[-1][0] if self.notes else super().get()

    def set(self, payload: bytes, lifetime: float | None = None) -> None:
        self.notes.append((payload, lifetime))

    def flush(self) -> None:
        for payload, lifetime in self.notes:
            super().set(payload, lifetime)
        self.notes.clear()


class ForgetsTheLastWriteOfAHold(FiveMethods):
    def hold(self, key: str, timeout: float | None = None) -> Any:
        return Unwritten(self, key, timeout)


class WritesAtTheEndOnly(Unwritten):
    def flush(self) -> None:
        pass

    def __exit__(self, *error: object) -> None:
        super().flush()
        super().__exit__(*error)


class FlushesNothing(FiveMethods):
    def hold(self, key: str, timeout: float | None = None) -> Any:
        return WritesAtTheEndOnly(self, key, timeout)


class CommitsTheFirstHold(FiveMethods):
    def commit(self, holds: Sequence[Hold], also: Sequence[Change] = ()) -> None:
        super().commit(holds[:1], also)


class CommitsAtTheEndOnly(FiveMethods):
    def commit(self, holds: Sequence[Hold], also: Sequence[Change] = ()) -> None:
        super().commit([], also)


class FreesBeforeItWrites(FiveMethods):
    def __init__(self) -> None:
        super().__init__()
        self.all_have_read = threading.Barrier(4, timeout=PATIENCE)

    @contextmanager
    def hold(self, key: str, timeout: float | None = None) -> Iterator[Any]:
        yield UnlockedHold(self, key, timeout)

    def get(self, key: str) -> bytes | None:
        payload = super().get(key)
        if payload == b"0" and key == "a":
            self.all_have_read.wait()
        return payload


class CommitsTwice(FiveMethods):
    def commit(self, holds: Sequence[Hold], also: Sequence[Change] = ()) -> None:
        notes = [hold.note for hold in holds]
        super().commit(holds, also)
        for hold, note in zip(holds, notes, strict=True):
            hold.note = note


class CommitsWhatWasRead(FiveMethods):
    def commit(self, holds: Sequence[Hold], also: Sequence[Change] = ()) -> None:
        for hold in holds:
            if hold.note is None and (payload := hold.get()) is not None:
                hold.set(payload)
        super().commit(holds, also)


class CommitsForEver(FiveMethods):
    def commit(self, holds: Sequence[Hold], also: Sequence[Change] = ()) -> None:
        for hold in holds:
            if hold.note is not None:
                hold.note = hold.note._replace(action="set", lifetime=None)
        super().commit(holds, [change._replace(lifetime=None) for change in also])


class CommitsTouchesOnly(FiveMethods):
    def commit(self, holds: Sequence[Hold], also: Sequence[Change] = ()) -> None:
        for hold in holds:
            if hold.note is not None and hold.note.action == "touch":
                self.touch(hold.key, hold.note.lifetime)
                hold.take_note()
        super().commit(holds, also)


class ChangesNothingElse(FiveMethods):
    def commit(self, holds: Sequence[Hold], also: Sequence[Change] = ()) -> None:
        super().commit(holds)


class ExpectsNothing(FiveMethods):
    def commit(self, holds: Sequence[Hold], also: Sequence[Change] = ()) -> None:
        super().commit(holds, [change._replace(expected=self.get(change.key)) for change in also])


class ExpectsLast(FiveMethods):
    def commit(self, holds: Sequence[Hold], also: Sequence[Change] = ()) -> None:
        super().commit(holds)
        super().commit([], also)


class ExpectsOneByOne(FiveMethods):
    def commit(self, holds: Sequence[Hold], also: Sequence[Change] = ()) -> None:
        for change in also:
            super().commit([], [change])
        super().commit(holds)


class TakesNothingForEmpty(FiveMethods):
    def commit(self, holds: Sequence[Hold], also: Sequence[Change] = ()) -> None:
        super().commit(
            holds, [change._replace(expected=change.expected or None) for change in also]
        )


class ListsInTheOrderOfWrites(FiveMethods):
    def listed(self, prefix: str, after: str = "", limit: int = 100) -> list[str]:
        return [key for key in self.keys(prefix) if key > after][:limit]


class ListsTheStartAgain(FiveMethods):
    def listed(self, prefix: str, after: str = "", limit: int = 100) -> list[str]:
        return sorted(key for key in self.keys(prefix) if key >= after)[:limit]


class ListsAllThatFollow(FiveMethods):
    def listed(self, prefix: str, after: str = "", limit: int = 100) -> list[str]:
        return sorted(key for key in self.keys() if key > max(prefix, after))[:limit]


class ListsMoreThanTheLimit(FiveMethods):
    def listed(self, prefix: str, after: str = "", limit: int = 1_000) -> list[str]:
        return super().listed(prefix, after, limit)


class ListsVanishedRecords(FiveMethods):
    def __init__(self) -> None:
        super().__init__()
        self.index: set[str] = set()

    def commit(self, holds: Sequence[Hold], also: Sequence[Change] = ()) -> None:
        super().commit(holds, also)
        self.index |= {change.key for change in also}
        self.index -= {change.key for change in also if change.payload is None}

    def listed(self, prefix: str, after: str = "", limit: int = 100) -> list[str]:
        return sorted(key for key in self.index if key > after)[:limit]


class ListsFewerForVanishedRecords(ListsVanishedRecords):
    def listed(self, prefix: str, after: str = "", limit: int = 100) -> list[str]:
        return [key for key in super().listed(prefix, after, limit) if self.has(key)]


class AddsByRecords(FiveMethods):
    def add_once(
        self, prefix: str, payloads: Mapping[int, bytes], *, pages: str, memory: float
    ) -> list[int]:
        keys = {number: f"{prefix}{number:016}" for number in payloads}
        added = [number for number in payloads if not self.has(keys[number])]
        for number in added:
            self.set(keys[number], payloads[number])
        return added


class AddsEveryTime(FiveMethods):
    def add_once(
        self, prefix: str, payloads: Mapping[int, bytes], *, pages: str, memory: float
    ) -> list[int]:
        added = super().add_once(prefix, payloads, pages=pages, memory=memory)
        for number, payload in payloads.items():
            self.set(f"{prefix}{number:016}", payload)
        return added


class AddsInAnyOrder(FiveMethods):
    def add_once(
        self, prefix: str, payloads: Mapping[int, bytes], *, pages: str, memory: float
    ) -> list[int]:
        return sorted(super().add_once(prefix, payloads, pages=pages, memory=memory))


class AddsAThousand(FiveMethods):
    def add_once(
        self, prefix: str, payloads: Mapping[int, bytes], *, pages: str, memory: float
    ) -> list[int]:
        some = dict(list(payloads.items())[:1_000])
        return super().add_once(prefix, some, pages=pages, memory=memory)


class AddsWithoutMemory(FiveMethods):
    def add_once(
        self, prefix: str, payloads: Mapping[int, bytes], *, pages: str, memory: float
    ) -> list[int]:
        return super().add_once(prefix, payloads, pages=pages, memory=0)


class RemembersForEver(FiveMethods):
    def add_once(
        self, prefix: str, payloads: Mapping[int, bytes], *, pages: str, memory: float
    ) -> list[int]:
        return super().add_once(prefix, payloads, pages=pages, memory=1e9)


class AddsAnyNumber(FiveMethods):
    def add_once(
        self, prefix: str, payloads: Mapping[int, bytes], *, pages: str, memory: float
    ) -> list[int]:
        some = {abs(number) % 2**52: payload for number, payload in payloads.items()}
        return super().add_once(prefix, some, pages=pages, memory=memory)


class AddsWithoutALock(FiveMethods):
    def __init__(self) -> None:
        super().__init__()
        self.all_have_read = threading.Barrier(4, timeout=PATIENCE)

    @contextmanager
    def hold(self, key: str, timeout: float | None = None) -> Iterator[Any]:
        yield UnlockedHold(self, key, timeout)

    def get(self, key: str) -> bytes | None:
        payload = super().get(key)
        # Each thread reads the page before any of them has written it.
        if payload is None:
            self.all_have_read.wait()
        return payload


class WrittenAnyway(Hold):
    def __exit__(self, *_: object) -> None:
        super().__exit__(None, None, None)


class WritesAfterErrors(FiveMethods):
    def hold(self, key: str, timeout: float | None = None) -> Any:
        return WrittenAnyway(self, key, timeout)


class ClosesOnce(FiveMethods):
    def close(self) -> None:
        del self.records


class EntersAsSomethingElse(FiveMethods):
    def __enter__(self) -> Any:
        return FiveMethods()


# The exception of a `pytest.raises` in which nothing was raised.
Failed = pytest.fail.Exception

CAUGHT: list[tuple[str, type[FiveMethods], type[BaseException]]] = [
    ("test_get_gives_the_bytes_that_were_set", EndsPayloadsAtNul, AssertionError),
    ("test_get_gives_none_for_whatever_is_not_there", GivesWhatHasExpired, AssertionError),
    ("test_a_record_expires_at_the_end_of_its_lifetime", ExpiresLate, AssertionError),
    ("test_a_record_expires_at_the_end_of_its_lifetime", ExpiresByWholeSeconds, AssertionError),
    ("test_a_lifetime_of_nothing_is_over_at_once", IgnoresWhatHasExpiredAlready, AssertionError),
    ("test_a_record_without_a_lifetime_stays", HasADefaultLifetime, AssertionError),
    ("test_set_replaces_payload_and_lifetime_together", KeepsTheLastLifetime, AssertionError),
    ("test_set_brings_back_what_was_deleted_or_expired", KeepsTheLastLifetime, AssertionError),
    ("test_has_says_whether_there_is_a_record", HasWhatHasExpired, AssertionError),
    ("test_get_record_gives_payloads", GivesRecordsThatHaveExpired, AssertionError),
    ("test_get_record_gives_the_rest_of_a_lifetime", GivesWholeLifetimes, AssertionError),
    ("test_ping_writes_nothing", PingsByARecord, AssertionError),
    ("test_delete_says_whether_there_was_a_record", DeletesWhatHasExpired, AssertionError),
    ("test_delete_leaves_other_records_alone", DeletesByPrefix, AssertionError),
    ("test_touch_renews_the_lifetime_and_keeps_the_payload", TouchesNothing, AssertionError),
    ("test_touch_renews_the_lifetime_and_keeps_the_payload", TouchesThePayload, AssertionError),
    ("test_touch_gives_and_takes_lifetimes", NeverTakesALifetime, AssertionError),
    ("test_touch_makes_no_record", TouchRevives, AssertionError),
    ("test_touch_makes_no_record", TouchMakesRecords, AssertionError),
    ("test_keys_gives_those_that_start_with_the_prefix", LooksForThePrefixAnywhere, AssertionError),
    ("test_keys_gives_live_keys_only", ListsWhatHasExpired, AssertionError),
    ("test_keys_survives_writes_of_another_thread", ListsWhileOthersWrite, RuntimeError),
    ("test_keys_survives_writes_of_another_thread", ListsInPages, AssertionError),
    ("test_keys_may_hold_any_character", FoldsKeys, AssertionError),
    ("test_every_method_may_be_called_from_any_thread", RemembersPerThread, AssertionError),
    ("test_no_write_of_many_threads_is_lost", CopiesOnWrite, AssertionError),
    ("test_a_held_key_is_exclusive", HoldsNothing, AssertionError),
    ("test_a_held_key_is_busy_until_it_is_released", HoldsEverything, AssertionError),
    ("test_a_wait_for_a_busy_key_ends_with_its_timeout", HoldsByThread, TimeoutError),
    ("test_waiters_get_a_key_in_the_order_of_their_arrival", ServesTheLastFirst, AssertionError),
    ("test_an_exception_releases_a_held_key", HoldsByThread, TimeoutError),
    ("test_a_hold_whose_block_raises_writes_nothing", WritesAfterErrors, AssertionError),
    ("test_a_hold_reads_and_writes_its_key", ForgetsTheLastWriteOfAHold, AssertionError),
    ("test_what_a_hold_wrote_is_seen_by_others_at_flush", FlushesNothing, AssertionError),
    ("test_a_lifetime_that_a_hold_gave_ends", HoldsNothing, AssertionError),
    ("test_a_commit_does_what_its_holds_have_noted", CommitsTheFirstHold, AssertionError),
    ("test_a_commit_does_what_its_holds_have_noted", CommitsAtTheEndOnly, AssertionError),
    ("test_after_a_commit_its_holds_are_left_as_usual", CommitsTwice, AssertionError),
    ("test_a_commit_holds_its_keys_until_it_has_written", FreesBeforeItWrites, AssertionError),
    ("test_a_commit_may_have_nothing_to_write", CommitsWhatWasRead, AssertionError),
    ("test_lifetimes_of_a_commit_end", CommitsForEver, AssertionError),
    ("test_a_commit_renews_a_record_that_has_just_expired", CommitsTouchesOnly, AssertionError),
    ("test_a_commit_changes_other_keys", ChangesNothingElse, AssertionError),
    ("test_a_change_of_another_record_writes_nothing", ExpectsNothing, Failed),
    ("test_a_change_of_another_record_writes_nothing", ExpectsLast, AssertionError),
    ("test_a_change_of_another_record_writes_nothing", ExpectsOneByOne, AssertionError),
    ("test_a_change_of_another_record_writes_nothing", TakesNothingForEmpty, Failed),
    ("test_listed_gives_an_index_in_pages", ListsInTheOrderOfWrites, AssertionError),
    ("test_listed_gives_an_index_in_pages", ListsTheStartAgain, AssertionError),
    ("test_listed_gives_an_index_in_pages", ListsAllThatFollow, AssertionError),
    ("test_listed_gives_a_hundred_keys", ListsMoreThanTheLimit, AssertionError),
    ("test_listed_gives_live_keys_only", ListsVanishedRecords, AssertionError),
    ("test_listed_gives_live_keys_only", ListsFewerForVanishedRecords, AssertionError),
    ("test_add_once_stores_new_numbers", AddsInAnyOrder, AssertionError),
    ("test_add_once_remembers_deleted_records", AddsByRecords, AssertionError),
    ("test_add_once_remembers_deleted_records", AddsEveryTime, AssertionError),
    ("test_add_once_forgets_numbers_with_time", AddsWithoutMemory, AssertionError),
    ("test_add_once_forgets_numbers_with_time", RemembersForEver, AssertionError),
    ("test_add_once_takes_many_numbers", AddsAThousand, AssertionError),
    ("test_add_once_refuses_other_numbers", AddsAnyNumber, Failed),
    ("test_threads_add_each_number_once", AddsWithoutALock, AssertionError),
    ("test_close_may_be_repeated", ClosesOnce, AttributeError),
    ("test_close_may_be_repeated", EntersAsSomethingElse, AssertionError),
]


@pytest.mark.parametrize(
    ("promise", "broken", "complaint"),
    [pytest.param(*row, id=f"{row[1].__name__}-{row[0][5:]}") for row in CAUGHT],
)
def test_the_suite_catches_a_broken_storage(
    promise: str,
    broken: Callable[[], Storage],
    complaint: type[BaseException],
    clock: FrozenDateTimeFactory,
) -> None:
    """A storage that breaks one promise fails the test of the suite that states it."""
    suite = FrozenClockSuite()
    suite.frozen = clock

    with pytest.raises(complaint):
        getattr(suite, promise)(broken())


def test_every_promise_has_a_storage_that_breaks_it() -> None:
    """No test of the suite is without a control."""
    promises = {name for name in dir(StorageSuite) if name.startswith("test_")}

    assert promises == {promise for promise, _, _ in CAUGHT}
