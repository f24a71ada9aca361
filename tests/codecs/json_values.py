"""Values that JSONCodec writes, how to make any, and what to compare them by."""

from __future__ import annotations

import json
import struct
from contextlib import ExitStack
from datetime import UTC, date, datetime, time as clock, timedelta, timezone
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from clocks import PATIENCE
from hypothesis import settings, strategies as st
from unhurried import UNHURRIED

from telesession import DecodeError, JSONCodec, MemoryStorage, RedisStorage, SQLiteStorage, Storage

if TYPE_CHECKING:
    from collections.abc import Iterator

SECRET = "hunter2"
BERLIN = ZoneInfo("Europe/Berlin")
CODEC = JSONCodec()


def shape(value: Any) -> Any:
    """A value as what can be compared by `==` down to the types, NaN and -0.0 included."""
    kind = type(value)
    if kind in (set, frozenset):
        return kind, sorted(repr(shape(item)) for item in value)
    if kind is dict:
        return kind, [(shape(name), shape(item)) for name, item in value.items()]
    if kind in (list, tuple):
        return kind, [shape(item) for item in value]
    if kind is float:
        return kind, "nan" if value != value else struct.pack("d", value)  # noqa: PLR0124
    if kind in (datetime, clock):
        zone = value.tzinfo
        name = zone.key if isinstance(zone, ZoneInfo) else repr(zone)
        return kind, value.replace(tzinfo=None).isoformat(), type(zone), name, value.fold
    return kind, hex(value) if kind is int else repr(value)


def encode(value: Any) -> bytes:
    return CODEC.encode({"fields": {"value": value}}, "1")


def written(value: Any) -> Any:
    """A field's value as it stands in the JSON text."""
    return json.loads(encode(value))["fields"]["value"]


def decode(payload: bytes) -> dict[str, Any]:
    return CODEC.decode(payload, "1")


def decode_value(text: str) -> Any:
    return decode(b'{"fields":{"value":%s}}' % text.encode())["fields"]["value"]


def undecodable(payload: bytes) -> DecodeError:
    with pytest.raises(DecodeError) as caught:
        decode(payload)
    assert "1" == caught.value.key
    return caught.value


OFFSETS = st.timedeltas(timedelta(hours=-23, minutes=-59), timedelta(hours=23, minutes=59))
FIXED = st.one_of(
    st.just(UTC),
    OFFSETS.map(timezone),
    st.builds(timezone, OFFSETS, st.text(st.characters(codec="utf-8"), max_size=5)),
)
ZONES = st.sampled_from([BERLIN, ZoneInfo("UTC"), ZoneInfo("America/St_Johns")])
TZ = st.one_of(st.none(), FIXED, ZONES)
MARKS = ["$", "$set", "$dict", "$tuple", "$int", "$x", "fields", "ttl", '{"$', "\\", '"', "\x00"]
TEXT = st.one_of(st.text(st.characters(exclude_categories=[]), max_size=8), st.sampled_from(MARKS))
NAMES = st.one_of(st.text(st.characters(codec="utf-8"), max_size=8), st.sampled_from(MARKS))
HARD_FLOATS = [-0.0, 5e-324, 2.2250738585072014e-308, 1.7976931348623157e308, 1e22, 1e16, 2.0**63]
HARD_INTS = [2**63 - 1, 2**63, -(2**63), -(2**63) - 1, 2**64, 2**53 + 1]
ATOMS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(2**60, 2**70),
    st.sampled_from(HARD_INTS),
    st.integers(4999, 5000).map(lambda digits: -(10**digits)),
    st.floats(),
    st.sampled_from(HARD_FLOATS),
    st.complex_numbers(),
    TEXT,
    st.binary(max_size=8),
    st.dates(),
    st.times().flatmap(lambda t: TZ.map(lambda z: t.replace(tzinfo=z))),
    st.datetimes().flatmap(lambda t: TZ.map(lambda z: t.replace(tzinfo=z))),
    st.datetimes().map(lambda t: t.replace(fold=1, tzinfo=BERLIN)),
    st.timedeltas(),
    st.decimals(),
    st.sampled_from([Decimal("-0E+7"), Decimal("1E+999999"), Decimal("NaN123"), Decimal("-sNaN7")]),
    st.uuids(),
)


def is_hashable(value: Any) -> bool:
    try:
        return isinstance(hash(value), int)
    except (TypeError, ValueError, OverflowError):
        return False


HASHABLE = st.recursive(
    ATOMS.filter(is_hashable),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(tuple), st.frozensets(inner, max_size=3)
    ),
    max_leaves=4,
).filter(is_hashable)
VALUES = st.recursive(
    st.one_of(ATOMS, st.binary(max_size=4).map(bytearray)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=3).map(tuple),
        st.sets(HASHABLE, max_size=5),
        st.frozensets(HASHABLE, max_size=5),
        st.dictionaries(HASHABLE, inner, max_size=3),
        st.dictionaries(TEXT, inner, max_size=3),
        st.dictionaries(st.sampled_from(MARKS), inner, min_size=1, max_size=1),
    ),
    max_leaves=12,
)
FIELDS = st.dictionaries(NAMES, VALUES, min_size=1, max_size=4)
many = settings(UNHURRIED, max_examples=150)


@pytest.fixture(scope="module", params=["memory", "file", "server"])
def storage(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Storage]:
    """Each storage of the library, with this codec."""
    with ExitStack() as exits:
        if request.param == "memory":
            yield MemoryStorage(codec=CODEC)
        elif request.param == "file":
            path = tmp_path_factory.mktemp("sessions") / "bot.db"
            yield exits.enter_context(SQLiteStorage(path))
        else:
            server = request.getfixturevalue("running_server")
            yield exits.enter_context(RedisStorage(f"{server.url}?socket_timeout={PATIENCE}"))


TAGGED: dict[str, tuple[Any, Any]] = {
    "tuple": ((1, "a"), {"$tuple": [1, "a"]}),
    "set": ({"b", "a", "c"}, {"$set": ["a", "b", "c"]}),
    "frozenset": (frozenset({2, 1}), {"$frozenset": [1, 2]}),
    "bytes": (b"\x00\xff", {"$bytes": "AP8="}),
    "bytearray": (bytearray(b"\x00\xff"), {"$bytearray": "AP8="}),
    "date": (date(2026, 1, 2), {"$date": "2026-01-02"}),
    "naive": (datetime(2026, 1, 2, 3, 4), {"$datetime": "2026-01-02T03:04:00"}),
    "utc": (datetime(2026, 1, 2, tzinfo=UTC), {"$datetime": "2026-01-02T00:00:00+00:00"}),
    "zone": (
        datetime(2026, 10, 25, 2, 30, tzinfo=BERLIN, fold=1),
        {"$datetime": ["2026-10-25T02:30:00", {"zone": "Europe/Berlin", "fold": 1}]},
    ),
    "named-offset": (
        clock(1, tzinfo=timezone(timedelta(hours=1), "CET")),
        {"$time": ["01:00:00+01:00", {"name": "CET"}]},
    ),
    "time": (clock(1, 2, 3, 4), {"$time": "01:02:03.000004"}),
    "timedelta": (timedelta(-1, 2, 3), {"$timedelta": [-1, 2, 3]}),
    "decimal": (Decimal("1.50"), {"$decimal": "1.50"}),
    "uuid": (UUID(int=1), {"$uuid": "00000000-0000-0000-0000-000000000001"}),
    "complex": (1 - 2j, {"$complex": "(1-2j)"}),
    "nan": (float("nan"), {"$float": "nan"}),
    "infinity": (float("-inf"), {"$float": "-inf"}),
    "large-int": (2**64, {"$int": "0x10000000000000000"}),
    "half-an-emoji": ("a\ud83d", {"$str": "Ye2gvQ=="}),
    "keys": ({1: "a", "b": 2}, {"$dict": [[1, "a"], ["b", 2]]}),
    "like-a-tag": ({"$set": [1]}, {"$dict": [["$set", [1]]]}),
}
