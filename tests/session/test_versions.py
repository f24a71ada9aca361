"""Records of older versions are brought up to date, newer ones refused."""

from __future__ import annotations

from typing import Any

import pytest

from telesession import DecodeError, MemoryStorage, Sessions, as_dict, ttl, ttl_left


def rename(fields: dict[str, Any]) -> None:
    fields["count"] = fields.pop("counter")


def double(fields: dict[str, Any]) -> dict[str, Any]:
    return {**fields, "count": fields["count"] * 2}


def add_history(fields: dict[str, Any]) -> None:
    fields["history"] = [fields["count"]]


MIGRATIONS = {7: add_history, 2: rename, 3: double}


def store(storage: MemoryStorage, version: int = 0, **fields: Any) -> bytes:
    """Put a record of a former program into the storage."""
    with Sessions(storage=storage, version=version).open(1) as session:
        session.update(fields)
    payload = storage.get("1")
    assert payload is not None
    return payload


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        (0, {"count": 10, "history": [10]}),
        (1, {"count": 10, "history": [10]}),
    ],
)
def test_older_records_take_the_missing_steps_in_order(
    storage: MemoryStorage, version: int, expected: dict[str, Any]
) -> None:
    """Older records pass through the missing steps in the order of their numbers."""
    store(storage, version, counter=5)
    sessions = Sessions(storage=storage, version=7, migrations=MIGRATIONS)

    with sessions.open(1) as session:
        assert expected == as_dict(session)


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        (2, {"count": 10, "history": [10]}),
        (3, {"count": 5, "history": [5]}),
        (6, {"count": 5, "history": [5]}),
        (7, {"count": 5}),
    ],
)
def test_steps_that_a_record_has_taken_are_not_taken_again(
    storage: MemoryStorage, version: int, expected: dict[str, Any]
) -> None:
    """A record passes through the steps beyond its own version only, whatever gaps there are."""
    store(storage, version, count=5)

    assert expected == Sessions(storage=storage, version=7, migrations=MIGRATIONS).peek(1)


def test_a_migrated_record_is_stored_as_the_new_version(storage: MemoryStorage) -> None:
    """What a handler was given migrated is stored so, even if it only reads."""
    store(storage, counter=5)
    with Sessions(storage=storage, version=7, migrations=MIGRATIONS).open(1):
        pass

    assert {"count": 10, "history": [10]} == Sessions(storage=storage, version=7).peek(1)


def test_peek_migrates_nothing_in_the_storage(storage: MemoryStorage) -> None:
    """`peek` shows a record migrated, and leaves it as it is."""
    payload = store(storage, counter=5)
    Sessions(storage=storage, version=7, migrations=MIGRATIONS).peek(1)

    assert payload == storage.get("1")


def test_a_newer_record_is_refused(storage: MemoryStorage) -> None:
    """After a rollback of the program nothing is re-stamped or overwritten."""
    payload = store(storage, 7, count=5)
    sessions = Sessions(storage=storage, version=3, migrations={2: rename, 3: double})

    with pytest.raises(DecodeError, match="of version 7, and this program knows up to 3"):
        sessions.open(1).__enter__()
    with pytest.raises(DecodeError) as caught:
        sessions.peek(1)
    # Nobody is told to delete it.
    assert (
        "run the newer program again, or pass version=7 and its migrations" == caught.value.remedy
    )
    assert payload == storage.get("1")


def test_a_program_without_versions_refuses_a_versioned_record(storage: MemoryStorage) -> None:
    """A record of version 1 is newer than a program that counts none."""
    payload = store(storage, 1, count=5)

    with pytest.raises(DecodeError):
        Sessions(storage=storage).open(1).__enter__()
    assert payload == storage.get("1")


def raise_error(_fields: dict[str, Any]) -> None:
    raise ZeroDivisionError("a secret")


@pytest.mark.parametrize(
    "migration",
    [raise_error, lambda fields: [fields], lambda fields: {1: 2}],
    ids=["raises", "no-dict", "no-names"],
)
def test_a_migration_that_fails_leaves_the_record(storage: MemoryStorage, migration: Any) -> None:
    """A migration that raises, or gives no fields, leaves the record and frees the session."""
    payload = store(storage, counter=5)
    sessions = Sessions(storage=storage, version=1, migrations={1: migration}, lock_timeout=0)

    for _ in range(2):
        with pytest.raises(DecodeError, match="migration 1") as caught:
            sessions.open(1).__enter__()
    assert "a secret" not in str(caught.value)
    assert payload == storage.get("1")


def test_a_handler_that_raises_leaves_the_old_version(storage: MemoryStorage) -> None:
    """A migration is a change like any other: rolled back with the handler."""
    payload = store(storage, counter=5)
    sessions = Sessions(storage=storage, version=7, migrations=MIGRATIONS)

    with pytest.raises(ZeroDivisionError), sessions.open(1):
        raise ZeroDivisionError
    assert payload == storage.get("1")


def test_a_migration_renews_no_deadline(storage: MemoryStorage, frozen_time: Any) -> None:
    """Loading never renews a TTL, also where the value is migrated, and the mark is kept."""
    store(storage, code=ttl("1234", 300), counter=1)
    frozen_time.tick(100)

    def lengthen(fields: dict[str, Any]) -> None:
        fields["code"] += "5"

    for _ in range(2):
        with Sessions(storage=storage, version=1, migrations={1: lengthen}).open(1) as session:
            assert ("12345", 200) == (session.code, ttl_left(session, "code"))


def test_a_migration_may_mark_and_unmark_fields(storage: MemoryStorage, frozen_time: Any) -> None:
    """Values may be `ttl(...)` in a migration, too; what it removes loses its mark."""
    store(storage, code=ttl("1234", 300), token=ttl("abcd", 300), counter=1)

    def change(fields: dict[str, Any]) -> dict[str, Any]:
        return {"counter": ttl(1, 10), "code": ttl(fields["code"], 0)}

    with Sessions(storage=storage, version=1, migrations={1: change}).open(1) as session:
        session.token = "new"
        left = [ttl_left(session, name) for name in ("counter", "code", "token")]

    assert [10, None, None] == left


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        ({"version": "1"}, TypeError),
        ({"version": True}, TypeError),
        ({"version": -1}, ValueError),
        ({"version": 1, "migrations": [rename]}, TypeError),
        ({"version": 1, "migrations": {2: rename}}, ValueError),
        ({"version": 1, "migrations": {0: rename}}, ValueError),
        ({"version": 1, "migrations": {"1": rename}}, ValueError),
        ({"version": 1, "migrations": {1: "rename"}}, TypeError),
        ({"migrations": {1: rename}}, ValueError),
    ],
)
def test_wrong_versions_are_refused_at_once(options: dict[str, Any], kind: Any) -> None:
    """Wrong options raise at construction, not at the first message."""
    with pytest.raises(kind, match=r"version|migration"):
        Sessions(**options)
