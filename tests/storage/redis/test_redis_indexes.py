"""Changes without a lock on a server, its indexes, and the numbers that it adds once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from support.redis_storages import failure, make_storage
from support.servers import Monitor, RedisWire, Server
from telesession import LockLostError
from telesession.storage import redis_hold, redis_indexes
from telesession.storage.base import Change
from telesession.storage.redis_scripts import ADD_ONCE, COMMIT, Script

if TYPE_CHECKING:
    from collections.abc import Callable

    import redis

    from telesession.storage.redis import RedisStorage


INDEX = "{telesession:@in:}:index"


def change(key: str, expected: bytes | None, payload: bytes | None) -> Change:
    return Change(f"@in:{key}", expected, payload, index="@in:")


def add(storage: RedisStorage, *numbers: int, payload: bytes = b"payload") -> list[int]:
    some = dict.fromkeys(numbers, payload)
    return storage.add_once("@in:", some, pages="@seen:", memory=3600)


def key_of(number: int) -> str:
    return f"@in:{number:016}"


def without(script: Script, text: str) -> Script:
    """A script without a part of its text."""
    assert text in script.text
    return Script(script.text.replace(text, ""))


# Replies that are lost.


CHANGES = {
    "new": change("a", None, b"new"),
    "replaced": change("b", b"old", b"new"),
    "deleted": change("c", b"old", None),
}


@pytest.mark.parametrize("made", CHANGES.values(), ids=CHANGES)
def test_a_commit_without_a_hold_is_done_once(
    wire: RedisWire, storage: RedisStorage, made: Change
) -> None:
    """After a lost reply, a commit recognises its own changes, and does not repeat them."""
    storage.commit([], [change("b", None, b"old"), change("c", None, b"old")])
    undo = Change(made.key, made.payload, made.expected, index="@in:")
    with make_storage(wire) as wired:
        wired.get("42")
        wire.lose_replies(then=lambda: storage.commit([], [undo]))
        wired.commit([], [made])

    assert (1, made.expected) == (wire.lost, storage.get(made.key))
    assert ["@in:b", "@in:c"] == storage.listed("@in:")


def test_control_without_a_note_a_commit_takes_its_changes_for_those_of_others(
    wire: RedisWire, storage: RedisStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the script does not look for its note, the second attempt reports a lost lock."""
    look = "if holds == 0 and redis.call('GET', KEYS[#KEYS]) then return 0 end"
    blind = without(COMMIT, look)
    monkeypatch.setattr(redis_hold, "COMMIT", blind)
    with make_storage(wire) as wired:
        wired.commit([], [change("z", None, b"new")])
        wire.lose_replies()
        with pytest.raises(LockLostError) as caught:
            wired.commit([], [CHANGES["new"]])

    assert (1, "@in:a") == (wire.lost, caught.value.key)


def test_a_commit_that_was_refused_stays_refused(wire: RedisWire, storage: RedisStorage) -> None:
    """After a lost refusal, equal payloads of another process are not taken for its own."""
    with make_storage(wire) as wired:
        storage.commit([], [CHANGES["new"]])
        for made in (CHANGES["new"], CHANGES["deleted"]):
            wire.lose_replies()
            with pytest.raises(LockLostError) as caught:
                wired.commit([], [made])
            assert made.key == caught.value.key

    assert (2, ["@in:a"]) == (wire.lost, storage.listed("@in:"))


def test_a_commit_with_a_hold_and_changes_is_done_once(
    wire: RedisWire, storage: RedisStorage
) -> None:
    """A session and an update that ends with it are written once, also after a lost reply."""
    storage.commit([], [change("a", None, b"update")])
    with make_storage(wire) as wired, wired.hold("42") as held:
        held.set(b"counted")
        wire.lose_replies(then=lambda: storage.set("42", b"counted since"))
        wired.commit([held], [change("a", b"update", None)])

    assert (1, b"counted since", None) == (wire.lost, storage.get("42"), storage.get("@in:a"))


def test_numbers_are_added_once_after_a_lost_reply(wire: RedisWire, storage: RedisStorage) -> None:
    """The second attempt gives the new numbers, even if their records have been deleted since."""

    def end() -> None:
        storage.commit([], [Change(key_of(8), b"payload", None, index="@in:")])

    with make_storage(wire) as wired:
        first = add(wired, 7)
        wire.lose_replies(then=end)
        second = add(wired, 7, 8, 9)
        third = add(wired, 7, 8, 9)

    assert (1, [7], [8, 9], []) == (wire.lost, first, second, third)
    assert [key_of(7), key_of(9)] == storage.listed("@in:")


def test_control_without_a_note_a_number_is_not_new_to_the_call_that_added_it(
    wire: RedisWire, storage: RedisStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the script does not look for its note, the second attempt finds no new number."""
    monkeypatch.setattr(
        redis_indexes, "ADD_ONCE", without(ADD_ONCE, "if done then return done end")
    )
    with make_storage(wire) as wired:
        add(wired, 7)
        wire.lose_replies()
        assert [] == add(wired, 8)

    assert (1, b"payload") == (wire.lost, storage.get(key_of(8)))


# Round trips.


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (lambda storage: storage.commit([], [*CHANGES.values()][:1]), ["EVALSHA"]),
        (lambda storage: add(storage, *range(500)), ["EVALSHA"]),
        (add, []),
        (lambda storage: storage.listed("@in:"), ["ZRANGEBYLEX", "EVALSHA"]),
        (lambda storage: storage.listed("@in:", "@in:a"), ["ZRANGEBYLEX"]),
        (lambda storage: storage.commit([]), []),
    ],
    ids=["commit", "add", "add-nothing", "list", "list-nothing", "commit-nothing"],
)
def test_a_call_takes_one_round_trip(
    storage: RedisStorage,
    server: Server,
    call: Callable[[RedisStorage], object],
    expected: list[str],
) -> None:
    """A commit and an addition are one script, and a look at an empty index is one question."""
    add(storage, 9999)
    storage.listed("@in:")
    with Monitor(server) as monitor:
        call(storage)
        assert expected == monitor.so_far()


def test_a_look_costs_the_number_of_keys_in_the_index(
    storage: RedisStorage, server: Server, admin: redis.Redis
) -> None:
    """Sessions make a look no longer: the server never scans its keys."""
    admin.mset({f"telesession:{number}": b"" for number in range(10_000)})
    add(storage, *range(250))
    storage.listed("@in:")
    with Monitor(server) as monitor:
        keys = storage.listed("@in:")
        keys += storage.listed("@in:", keys[-1])
        keys += storage.listed("@in:", keys[-1])
        seen = monitor.so_far()

    assert [key_of(number) for number in range(250)] == keys
    assert ["ZRANGEBYLEX", "EVALSHA"] * 3 == seen


def test_a_commit_may_have_thousands_of_changes(storage: RedisStorage) -> None:
    """The number of arguments of a script does not limit a commit."""
    changes = [change(f"{number:05}", None, b"%d" % number) for number in range(9_000)]
    storage.commit([], changes)
    listed = storage.listed("@in:", limit=10_000)
    with storage.hold("42") as held:
        held.set(b"payload")
        undo = [each._replace(expected=each.payload, payload=None) for each in changes]
        storage.commit([held], undo)

    assert [each.key for each in changes] == listed
    assert (["42"], []) == (list(storage.keys()), storage.listed("@in:"))


# Keys on the server.


def test_records_that_vanished_leave_their_index(storage: RedisStorage, admin: redis.Redis) -> None:
    """A look removes the keys of evicted records, so that later looks do not see them."""
    add(storage, *range(150))
    for number in range(1, 149):
        admin.delete(f"telesession:{key_of(number)}")

    assert [key_of(0), key_of(149)] == storage.listed("@in:")
    assert [key_of(number).encode() for number in (0, 149)] == admin.zrange(INDEX, 0, -1)


def test_an_empty_index_is_no_key(storage: RedisStorage, admin: redis.Redis) -> None:
    """After the last record was deleted, only pages and short-lived notes are left."""
    add(storage, 7)
    storage.commit([], [change(f"{7:016}", b"payload", None)])
    names = sorted(admin.scan_iter())
    notes = [f"{{telesession:{key_of(7)}}}:done:".encode()] * 2

    assert [b"telesession:@seen:0", *notes] == sorted(name[: len(notes[0])] for name in names)
    assert all(0 < admin.pttl(name) <= 30_000 for name in names if name.startswith(b"{"))
    assert 30_000 < admin.pttl("telesession:@seen:0") <= 3_600_000


@pytest.mark.parametrize("name", [INDEX, "telesession:@seen:0", f"telesession:{key_of(1)}"])
def test_another_kind_of_key_is_an_error(
    storage: RedisStorage, admin: redis.Redis, name: str
) -> None:
    """If a key of another program is in the way, nothing is written, and the error says so."""
    admin.rpush(name, "of another program")
    errors = [failure(lambda storage: add(storage, 0, 1), storage)]
    if "seen" not in name:
        changes = [change(f"{number:016}", None, b"new") for number in range(2)]
        errors.append(failure(lambda storage: storage.commit([], changes), storage))

    assert {True} == {"something else by this name" in error.reason for error in errors}
    assert [name.encode()] == list(admin.scan_iter())


def test_a_number_takes_less_than_20_bytes(
    storage: RedisStorage, other: RedisStorage, admin: redis.Redis
) -> None:
    """The memory of 20,000 numbers in a row takes 20 bytes each, with all that is beside it."""
    for start in range(0, 20_000, 100):
        numbers = range(start, start + 100)
        add(storage, *numbers)
        storage.commit([], [change(f"{number:016}", b"payload", None) for number in numbers])
    used = [admin.memory_usage(name) for name in admin.scan_iter()]
    pages = [admin.memory_usage(name) for name in admin.scan_iter("telesession:*")]

    assert [] == add(other, *range(20_000))
    assert (True, True) == (sum(pages) <= 20_000, sum(used) <= 20 * 20_000)


def payloads_of(storage: RedisStorage, *numbers: int) -> list[Any]:
    return [storage.get(key_of(number)) for number in numbers]


def test_two_processes_add_a_number_once(storage: RedisStorage, other: RedisStorage) -> None:
    """The process that came second gets the other numbers only."""
    added = [add(storage, 1, 2, payload=b"one"), add(other, 2, 3, payload=b"two")]

    assert [[1, 2], [3]] == added
    assert [b"one", b"one", b"two"] == payloads_of(storage, 1, 2, 3)
