"""Replies of a server that are lost on their way."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import pytest

from support.counts import count, handle, update
from support.redis_storages import WRITES, hasty, locks, make_storage
from telesession import StorageError
from telesession.testing.storage_suite import try_hold

if TYPE_CHECKING:
    from collections.abc import Callable

    import redis

    from support.servers import RedisWire
    from telesession.storage.redis import RedisStorage


@pytest.mark.parametrize("lost", ["lock", "commit"])
@pytest.mark.parametrize("options", [{}, {"lifetime": 60}], ids=["for-ever", "with-lifetime"])
def test_a_lost_reply_does_not_count_twice(
    wire: RedisWire, storage: RedisStorage, lost: str, options: dict[str, Any]
) -> None:
    """What redis-py sends again after a lost reply is done once, and nothing looks lost."""

    def work(session: Any) -> None:
        session.n += 1
        if lost == "commit":
            wire.lose_replies()

    with make_storage(wire) as wired:
        update(wired, **options)
        if lost == "lock":
            wire.lose_replies()
        handle(wired, work, lock_timeout=0, **options)

    assert (1, 2) == (wire.lost, count(storage))
    assert "held" == try_hold(storage, "42")


def test_a_lost_reply_is_not_a_lost_lock(
    wire: RedisWire, storage: RedisStorage, admin: redis.Redis
) -> None:
    """Even if the next holder has come and gone before the commit is sent again, both count."""

    def work(session: Any) -> None:
        session.n += 1
        wire.lose_replies(then=lambda: update(storage))

    with make_storage(wire) as wired:
        update(wired)
        handle(wired, work)

    assert (1, 3) == (wire.lost, count(storage))
    assert [] == locks(admin)


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
@pytest.mark.parametrize("flush", [False, True], ids=["commit", "flush"])
def test_whatever_is_written_is_written_once(
    wire: RedisWire, storage: RedisStorage, write: Callable[[Any], object], flush: bool
) -> None:
    """A reply may be lost to any commit; what the next holder did is not undone."""
    storage.set("42", b"old")
    with make_storage(wire) as wired, wired.hold("42") as held:
        write(held)
        if flush:
            wire.lose_replies()
            held.flush()
            assert 1 == wire.lost
            held.set(b"mine again")
        wire.lose_replies(then=lambda: storage.set("42", b"next"))

    assert b"next" == storage.get("42")


def test_an_old_commit_that_arrives_late_is_not_done(
    storage: RedisStorage, admin: redis.Redis
) -> None:
    """A commit that was on its way for long does not undo a later one of the same holder."""
    with storage.hold("42") as held:
        held.set(b"first")
        held.flush()
        held.set(b"second")
        held.flush()
        late = itertools.count(1)
        held._owner.next_number = lambda: next(late)
        held.set(b"first")
        held.flush()

    assert b"second" == storage.get("42")


def test_a_lost_reply_to_an_unlock_does_not_matter(wire: RedisWire, storage: RedisStorage) -> None:
    """A session that was only read is free, too."""
    with make_storage(wire) as wired, wired.hold("42"):
        wire.lose_replies()

    assert (1, "held") == (wire.lost, try_hold(storage, "42"))


@pytest.mark.parametrize("lost", ["lock", "commit"])
def test_a_process_need_not_wait_for_its_own_lost_lock(
    wire: RedisWire, storage: RedisStorage, lost: str
) -> None:
    """After all replies were lost nobody knows who has the lock; the next update finds out."""

    def work(session: Any) -> None:
        session.n += 1
        wire.lose_replies(2)

    with hasty(make_storage(wire)) as wired:
        update(wired)
        if lost == "lock":
            wire.lose_replies(2)
        with pytest.raises(StorageError) as caught:
            handle(wired, work)
        assert ("lock" if lost == "lock" else "write") == caught.value.action
        expected = count(storage) + 1
        assert expected == update(wired, lock_timeout=0)
    assert "held" == try_hold(storage, "42")
