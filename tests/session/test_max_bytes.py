"""The option `max_bytes`: a record that is too large is refused, and nothing is written."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from support.sessions import set_fields
from support.storages import payloads
from telesession import (
    EncodeError,
    MemoryStorage,
    Session,
    Sessions,
    Storage,
    forget,
    save,
    ttl,
)

SECRET = "hunter2"


def size_of(storage: Storage, **fields: Any) -> int:
    """The bytes of a record, as the storage keeps it."""
    set_fields(Sessions(storage=storage, prefix="size:"), "1", **fields)
    payload = storage.get("size:1")
    assert payload is not None
    storage.delete("size:1")
    return len(payload)


class TestLimit:
    """A record of exactly `max_bytes` is written, and one byte more is refused."""

    def test_the_limit_is_exact(self, moved_storage: Storage) -> None:
        """The bytes are those of the payload, with every codec."""
        size = size_of(moved_storage, text="a" * 1000)
        set_fields(Sessions(storage=moved_storage, max_bytes=size), "1", text="a" * 1000)
        before = payloads(moved_storage)

        with pytest.raises(EncodeError, match=f"of {size} bytes.*max_bytes={size - 1}"):
            set_fields(Sessions(storage=moved_storage, max_bytes=size - 1), "2", text="a" * 1000)

        assert ["1"] == list(before)
        assert before == payloads(moved_storage)

    @pytest.mark.parametrize(
        "fields",
        [
            pytest.param({"log": ["x" * 600]}, id="nested"),
            pytest.param({"log": {"x" * 600}}, id="a set"),
            pytest.param({"log": ttl("x" * 600, 60)}, id="with a lifetime"),
        ],
    )
    def test_every_shape_of_record_is_measured(
        self, moved_storage: Storage, fields: dict[str, Any]
    ) -> None:
        """Packed, pickled and written as JSON, a record counts with all its bytes."""
        with pytest.raises(EncodeError) as caught:
            set_fields(Sessions(storage=moved_storage, max_bytes=500), "1", **fields)

        assert ("1", "log") == (caught.value.key, caught.value.path)
        assert [] == list(moved_storage.keys())

    def test_a_typed_session_is_measured(self) -> None:
        """The fields of a dataclass count as they are stored."""

        @dataclass
        class Notes:
            title: str = ""
            lines: list[str] = field(default_factory=list)

        sessions = Sessions(initial=Notes, storage=MemoryStorage(), max_bytes=500)
        with pytest.raises(EncodeError) as caught, sessions.open("1") as notes:
            notes.lines = ["x" * 600]
        with sessions.open("1") as notes:
            notes.title = "short"

        assert ("lines", "list") == (caught.value.path, caught.value.type_name)
        assert ["1"] == list(sessions.keys())

    def test_an_unchanged_record_may_be_larger(self) -> None:
        """A limit that comes later refuses no handler that only reads."""
        storage = MemoryStorage()
        set_fields(Sessions(storage=storage), text="x" * 600)
        sessions = Sessions(storage=storage, max_bytes=500, lifetime=60)
        with sessions.open("1") as session:
            assert 600 == len(session.text)
        with sessions.open("1") as session:
            forget(session)
        assert [] == list(storage.keys())


class TestMoves:
    """A move writes the whole record under another key."""

    @pytest.mark.parametrize("commit_on_error", [False, True])
    def test_a_large_record_does_not_move(
        self, moved_storage: Storage, commit_on_error: bool
    ) -> None:
        """It stays under its key, and the error has the new key as the user knows it."""
        sessions: Sessions[Session] = Sessions(
            storage=moved_storage, name="cart", max_bytes=500, commit_on_error=commit_on_error
        )
        set_fields(Sessions(storage=moved_storage, name="cart"), "1", text="x" * 600)
        before = payloads(moved_storage)
        with pytest.raises(EncodeError, match="max_bytes=500") as caught:
            sessions.move(1, 2)

        assert ("2", "text") == (caught.value.key, caught.value.path)
        assert before == payloads(moved_storage)

    def test_a_record_within_the_limit_moves(self, moved_storage: Storage) -> None:
        """A smaller session gets its new key."""
        sessions = Sessions(storage=moved_storage, max_bytes=5000)
        set_fields(sessions, "1", text="x" * 600)

        assert sessions.move(1, 2)
        assert ["2"] == list(sessions.keys())


class TestRefusal:
    """The error, and the records that stay as they were."""

    def test_the_error_names_the_largest_fields(self) -> None:
        """Three fields come with their sizes, the largest first, and no value is shown."""
        sessions = Sessions(storage=MemoryStorage(), max_bytes=500)
        log = [f"{SECRET}{number}" for number in range(90)]
        with pytest.raises(EncodeError) as caught:
            set_fields(sessions, tiny=1, cart={SECRET: "x" * 200}, log=log, note="y" * 30)
        text = str(caught.value)

        order = [text.index(f"{name} ") for name in ("log", "cart", "note")]
        assert (True, False, False) == (order == sorted(order), "tiny" in text, SECRET in text)
        assert ("log", "list") == (caught.value.path, caught.value.type_name)

    def test_the_sizes_are_those_of_the_fields(self) -> None:
        """The size of a field is that of a record that has no other field."""
        storage = MemoryStorage()
        size = size_of(storage, log=["x" * 600])
        with pytest.raises(EncodeError, match=rf"log {size} bytes"):
            set_fields(Sessions(storage=storage, max_bytes=500), log=["x" * 600], other=1)

    def test_nothing_of_the_transaction_is_written(self, moved_storage: Storage) -> None:
        """A session that is too large leaves the other sessions of its handler unwritten too."""
        sessions = Sessions(storage=moved_storage, max_bytes=500)
        set_fields(sessions, "1", text="before")
        before = payloads(moved_storage)

        with pytest.raises(EncodeError), sessions.open("1", "2") as (one, two):
            one.text, two.text = "after", "x" * 600

        assert before == payloads(moved_storage)

    def test_save_refuses_it_and_the_handler_goes_on(self) -> None:
        """After a refused `save` a handler may shrink the session, which is saved then."""
        sessions = Sessions(storage=MemoryStorage(), max_bytes=500)
        with sessions.open("1") as session:
            session.text = "x" * 600
            with pytest.raises(EncodeError):
                save(session)
            session.text = "short"
        assert {"text": "short"} == sessions.peek("1")

    def test_the_key_is_that_of_the_user(self) -> None:
        """In a room the error has the key that `open` takes."""
        sessions: Sessions[Session] = Sessions(storage=MemoryStorage(), name="cart", max_bytes=500)
        with pytest.raises(EncodeError, match="session '1'"):
            set_fields(sessions, text="x" * 600)


@pytest.mark.parametrize(
    ("limit", "kind"),
    [(0, ValueError), (-1, ValueError), (1.5, TypeError), (True, TypeError), ("9", TypeError)],
)
def test_a_bad_limit_is_refused_at_construction(limit: Any, kind: type[Exception]) -> None:
    """Wrong values of `max_bytes` raise when the sessions are made, naming the option."""
    with pytest.raises(kind, match="max_bytes"):
        Sessions(storage=MemoryStorage(), max_bytes=limit)
