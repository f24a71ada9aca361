"""`Storage.hold` of the base class: exclusive use of a key in one process."""

from __future__ import annotations

import pytest

from support.clocks import PATIENCE
from support.storages import FiveMethods, is_held
from support.threads import Interrupt, OtherThread, Waits, throw
from telesession import LockTimeoutError, MemoryStorage, Storage


@pytest.fixture(params=[MemoryStorage, FiveMethods])
def storage(request: pytest.FixtureRequest, waits: Waits) -> Storage:
    made: Storage = request.param()
    return made


def locks_kept(storage: Storage) -> int:
    return len(storage.process_state.locks)


def test_hold_gives_exclusive_use_for_the_block(storage: Storage) -> None:
    """hold(key, timeout) is exclusive use of a key from entering its block to leaving it."""
    holding = storage.hold("anna", 0)
    assert False is is_held(storage, "anna")
    with holding:
        assert (True, 1) == (is_held(storage, "anna"), locks_kept(storage))
    assert (False, 0) == (is_held(storage, "anna"), locks_kept(storage))


def test_hold_keeps_the_same_and_other_threads_out(storage: Storage) -> None:
    """A held key is out of reach for every thread, that of its holder included."""
    with OtherThread() as other, storage.hold("anna"):
        assert (True, True) == (is_held(storage, "anna"), other.call(is_held, storage, "anna"))
        assert (False, False) == (is_held(storage, "boris"), other.call(is_held, storage, "boris"))


@pytest.mark.parametrize("timeout", [0, 0.001])
def test_hold_times_out_on_entering(storage: Storage, timeout: float) -> None:
    """A key that stays busy is a LockTimeoutError with key and seconds, and nothing is held."""
    with OtherThread() as other, storage.hold("anna"):
        late = storage.hold("anna", timeout)
        with pytest.raises(LockTimeoutError) as caught:
            other.call(late.__enter__)
        assert ("anna", timeout) == (caught.value.key, caught.value.seconds)
    assert (False, 0) == (is_held(storage, "anna"), locks_kept(storage))


@pytest.mark.parametrize("timeout", [None, PATIENCE], ids=["none", "seconds"])
def test_hold_waits_for_its_turn(storage: Storage, waits: Waits, timeout: float | None) -> None:
    """Whoever asks for a busy key gets it when its holder leaves the block."""
    record = []

    def use() -> None:
        with storage.hold("anna", timeout):
            record.append("second")

    with OtherThread() as other:
        with storage.hold("anna"):
            using = other.submit(use)
            waits.next()
            record.append("first")
        using.result(PATIENCE)
    assert (["first", "second"], 0) == (record, locks_kept(storage))


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit, Interrupt])
def test_hold_ends_whatever_ended_its_block(storage: Storage, error: type[BaseException]) -> None:
    """An exception leaves the block as it is and frees the key."""
    with pytest.raises(error), storage.hold("anna"):
        raise error
    assert (False, 0) == (is_held(storage, "anna"), locks_kept(storage))


def test_hold_interrupted_while_waiting_holds_nothing(storage: Storage, waits: Waits) -> None:
    """A KeyboardInterrupt while entering leaves neither a waiter nor a lock behind."""
    with storage.hold("anna"):
        waits.disturb(lambda: throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            storage.hold("anna", 0).__enter__()
        assert True is is_held(storage, "anna")
    assert (False, 0) == (is_held(storage, "anna"), locks_kept(storage))


def test_hold_reads_and_writes_the_held_key(storage: Storage) -> None:
    """A hold shows its own writes at once, and does them at `flush` or at the end."""
    with storage.hold("anna") as held:
        assert (None, False, False) == (held.get(), held.touch(9), held.delete())
        held.set(b"one")
        assert (b"one", None, None) == (held.get(), storage.get("anna"), storage.get("boris"))
        held.flush()
        assert (b"one", b"one", None) == (held.get(), storage.get("anna"), storage.get("boris"))
        assert True is held.touch(9)
        held.set(b"two", 9)
        assert (b"two", b"one") == (held.get(), storage.get("anna"))
        held.flush()
        assert (True, False, b"two") == (held.delete(), held.delete(), storage.get("anna"))
    assert None is storage.get("anna")


def test_hold_drops_its_writes_if_its_block_raises(storage: Storage) -> None:
    """A noted write is dropped if the block raises; one that was flushed stays."""

    def use() -> None:
        with storage.hold("anna") as held:
            held.set(b"flushed")
            held.flush()
            held.set(b"dropped")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        use()
    assert b"flushed" == storage.get("anna")


def test_storages_do_not_share_locks() -> None:
    """The locks live in the storage: the same key of another storage is free."""
    one, other = MemoryStorage(), MemoryStorage()
    with one.hold("anna"):
        assert (True, False) == (is_held(one, "anna"), is_held(other, "anna"))


def test_reading_and_writing_need_no_hold(storage: Storage) -> None:
    """The methods of a storage never wait for whoever holds the key."""
    with OtherThread() as other, storage.hold("anna"):
        other.call(storage.set, "anna", b"one")
        read, deleted = other.call(storage.get, "anna"), other.call(storage.delete, "anna")
        assert (b"one", True) == (read, deleted)
