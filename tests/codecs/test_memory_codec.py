"""`MemoryCodec`: the records in the dict that only its storage can reach."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings, strategies as st

from support.clocks import examples
from support.values import PickledPoint
from telesession import (
    DecodeError,
    EncodeError,
    MemoryStorage,
    PickleCodec,
    Session,
    Sessions,
    record,
    save,
    ttl,
    ttl_left,
)
from telesession.codecs.memory import MemoryCodec

if TYPE_CHECKING:
    from freezegun.api import FrozenDateTimeFactory

CODEC = MemoryCodec()
SECRET = "hunter2"

SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(st.characters(), max_size=20)
)


def payload_of(fields: dict[str, Any]) -> bytes:
    """The payload of a stored session in memory."""
    storage = MemoryStorage()
    with Sessions(storage=storage).open(1) as session:
        session.update(fields)
    payload = storage.get("1")
    assert payload is not None
    return payload


def is_pickled(payload: bytes) -> bool:
    return payload.startswith(b"\x80\x05")


@settings(max_examples=examples(80))
@given(st.dictionaries(st.text(st.characters(), max_size=20), SCALARS, max_size=20))
def test_scalars_come_back_as_what_they_are(fields: dict[str, Any]) -> None:
    """A scalar comes back of the same type, and so do NaN, half an emoji and a large integer."""
    payload = CODEC.encode({"fields": fields}, "1")
    loaded = CODEC.decode(payload, "1")["fields"]
    shapes = [
        [(name, type(value), repr(value)) for name, value in d.items()] for d in (fields, loaded)
    ]
    assert shapes[0] == shapes[1]


@pytest.mark.parametrize(
    ("fields", "pickled"),
    [
        ({"counter": 1, "name": "Ann", "rate": 0.5, "agreed": True, "age": None}, False),
        ({"counter": 2**63 - 1}, False),
        ({"counter": 2**100}, True),
        ({"half": "\ud83d"}, True),
        ({"log": []}, False),
        ({"cart": {"tea": 2}}, False),
        ({"carts": [{"tea": 2}]}, True),
        ({"pair": (1, 2)}, True),
        ({"raw": b"\x00"}, True),
        ({"point": PickledPoint(1, 2)}, True),
        ({"_hidden": 1}, False),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_plain_data_is_not_pickled(fields: dict[str, Any], pickled: bool) -> None:
    """A record of plain data is MessagePack, any other one a pickle, and each comes back whole."""
    payload = payload_of(fields)
    assert pickled == is_pickled(payload)
    assert fields == CODEC.decode(payload, "1")["fields"]


def test_fields_with_a_lifetime_are_kept_with_it() -> None:
    """A scalar with a lifetime is in a flat record too, and keeps its deadline."""
    storage = MemoryStorage()
    sessions = Sessions(initial={"code": ttl("1234", 300)}, storage=storage)
    with sessions.open(1) as session:
        before = ttl_left(session, "code")
        session.counter = 1
    payload = storage.get("1")
    with sessions.open(1) as session:
        after = ttl_left(session, "code")
    assert payload is not None
    assert (False, ["1234"]) == (is_pickled(payload), [session.code])
    assert 300 >= (before or 0) >= (after or 0) > 0


def test_a_version_is_kept() -> None:
    """A record with a version is a pickle, because a flat record has no place for it."""
    storage = MemoryStorage()
    with Sessions(initial={"counter": 1}, storage=storage, version=3).open(1):
        pass
    payload = storage.get("1")
    assert payload is not None
    assert {"fields": {"counter": 1}, "version": 3} == storage.codec.decode(payload, "1")


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\xc1",
        b"{}",
        b"\x81\x01\x02",
        b"\x91\x80",
        b"\x92\x80\x01",
        b"\x81\xa7hunter2",
        b"\x81\xa1a\xd9\xffhunter2",
        b"\x81\xa1a\x91\x01",
        b"\x80\x05hunter2",
        pickle.dumps([SECRET], 5),
    ],
)
def test_a_foreign_payload_is_a_decode_error(payload: bytes) -> None:
    """A payload that no session wrote is a `DecodeError` that shows nothing of it, and stays."""
    storage = MemoryStorage()
    storage.set("1", payload)
    with pytest.raises(DecodeError) as caught, Sessions(storage=storage).open(1):
        raise AssertionError
    shown = f"{caught.value!r} {caught.value.__cause__!r} {caught.value.__context__!r}"
    assert ("1", False) == (caught.value.key, SECRET in shown)
    assert payload == storage.get("1")


def test_a_value_that_would_not_come_back_is_refused() -> None:
    """The codec refuses what pickle refuses, by the same error, and stores nothing."""
    storage = MemoryStorage()
    with pytest.raises(EncodeError) as caught, Sessions(storage=storage).open(1) as session:
        session.act = lambda: None
    assert ("act", None) == (caught.value.path, storage.get("1"))


@pytest.mark.parametrize(
    ("make", "codec"),
    [
        (MemoryStorage, MemoryCodec),
        (lambda: MemoryStorage({}), PickleCodec),
        (lambda: MemoryStorage(codec=PickleCodec()), PickleCodec),
    ],
    ids=["own dict", "a user's dict", "a user's codec"],
)
def test_a_store_of_the_user_keeps_the_checksum(
    make: Callable[[], MemoryStorage], codec: type
) -> None:
    """Only a dict that nothing else can reach does without the checksum of `PickleCodec`."""
    assert codec is type(make().codec)


def test_a_stored_field_with_an_underscore_is_no_attribute() -> None:
    """A field whose name begins with `_` is an item only, after it was stored in memory too."""
    sessions = Sessions(storage=MemoryStorage())
    with sessions.open(1) as session:
        session["_hidden"] = 1
    with sessions.open(1) as session:
        assert (False, 1) == (hasattr(session, "_hidden"), session["_hidden"])


class TestAnUnchangedRecord:
    """The cost of a handler that changes nothing."""

    @pytest.fixture
    def written(self, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
        """The fields that were encoded."""
        seen: list[dict[str, Any]] = []

        def noting(write: Callable[..., bytes | None]) -> Callable[..., bytes | None]:
            def note(fields: dict[str, Any], *args: Any) -> bytes | None:
                seen.append(dict(fields))
                return write(fields, *args)

            return note

        write = staticmethod(noting(MemoryCodec.write_packed))
        monkeypatch.setattr(MemoryCodec, "write_packed", write)
        monkeypatch.setattr(record, "to_msgpack", noting(record.to_msgpack))
        return seen

    @pytest.mark.parametrize(
        ("initial", "handle", "is_encoded"),
        [
            ({"counter": 0}, lambda s: s.counter, False),
            ({"counter": 0, "code": ttl("1234", 300)}, lambda s: s.code, False),
            ({"counter": 0}, lambda s: setattr(s, "counter", 0), True),
            ({"counter": 0, "log": []}, lambda s: s.counter, True),
        ],
        ids=["reads", "reads beside a lifetime", "assigns", "has a list"],
    )
    def test_scalars_that_were_only_read_are_not_encoded(
        self,
        initial: dict[str, Any],
        handle: Callable[[Session], object],
        is_encoded: bool,
        written: list[dict[str, Any]],
    ) -> None:
        """Without an assignment, a record of scalars is not encoded to see that it is the same."""
        sessions = Sessions(initial=initial, storage=MemoryStorage())
        with sessions.open(1):
            pass
        written.clear()
        with sessions.open(1) as session:
            handle(session)
        assert is_encoded == bool(written)


def test_an_equal_value_beside_an_expired_field_is_not_written(
    clock: FrozenDateTimeFactory,
) -> None:
    """An expired field is no reason to write: it leaves the record with the next change."""
    storage = MemoryStorage()
    sessions = Sessions(initial={"counter": 0, "code": ttl("1234", 300)}, storage=storage)
    with sessions.open(1):
        pass
    before = storage.get("1")
    clock.tick(301)
    with sessions.open(1) as session:
        session.counter = 0
    assert before == storage.get("1")


class TestSavedInTheMiddle:
    """A list that `save` puts into a record of scalars."""

    @pytest.fixture
    def sessions(self) -> Sessions[Session]:
        sessions = Sessions(initial={"counter": 0}, storage=MemoryStorage())
        with sessions.open(1):
            pass
        return sessions

    def test_a_later_change_inside_is_saved(self, sessions: Sessions[Session]) -> None:
        """It is watched as any other list."""
        with sessions.open(1) as session:
            session.log = ttl(["a"], 300)
            save(session)
            session.log.append("b")
        stored = sessions.peek(1)
        assert stored is not None
        assert ["a", "b"] == stored.log

    def test_a_later_change_inside_renews_its_lifetime(
        self, sessions: Sessions[Session], clock: FrozenDateTimeFactory
    ) -> None:
        """Its lifetime begins anew with that change, as if there had been no `save`."""
        with sessions.open(1) as session:
            session.log = ttl(["a"], 300)
            save(session)
            clock.tick(100)
            session.log.append("b")
        with sessions.open(1) as session:
            left = ttl_left(session, "log")
        assert 300 == left
