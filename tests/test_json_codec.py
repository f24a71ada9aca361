"""JSONCodec: readable JSON that brings back the same types, or refuses."""

from __future__ import annotations

import copy
import enum
import json
import random
import sqlite3
import struct
import threading
from collections import Counter, OrderedDict, defaultdict, deque, namedtuple
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time as clock, timedelta, timezone, tzinfo
from decimal import Decimal, localcontext
from fractions import Fraction
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from counted import CountedStore
from freezegun import freeze_time
from hypothesis import given, settings, strategies as st
from mutations import mutated

from telesession import (
    DecodeError,
    EncodeError,
    JSONCodec,
    MemoryStorage,
    PickleCodec,
    RedisStorage,
    Sessions,
    SQLiteStorage,
    Storage,
    ttl,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SECRET = "hunter2"
# What a text that is nearly JSON is made of.
CHARACTERS = b'{}[]",:$0123456789.eE+-ntf\\ \x00'
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


def refusal(fields: dict[Any, Any]) -> EncodeError:
    with pytest.raises(EncodeError) as caught:
        CODEC.encode({"fields": fields}, "1")
    return caught.value


# What you save is what you load.

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
many = settings(max_examples=150, deadline=None, derandomize=True, database=None)


@many
@given(fields=FIELDS)
def test_what_you_save_is_what_you_load(fields: dict[str, Any]) -> None:
    """Any value of the supported types, nested, comes back equal and of the same type."""
    payload = CODEC.encode({"fields": fields}, "1")

    assert shape(fields) == shape(decode(payload)["fields"])
    assert payload == CODEC.encode(decode(payload), "1")


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
            yield exits.enter_context(RedisStorage(server.url))


@many
@given(key=TEXT.filter(bool), fields=FIELDS)
def test_a_session_brings_back_what_was_saved(
    storage: Storage, key: str, fields: dict[str, Any]
) -> None:
    """In each storage and under any key, what a handler saved comes back; reading keeps it."""
    sessions = Sessions(storage=storage)
    sessions.delete(key)
    with sessions.open(key) as session:
        session.update(fields)
    payload = storage.get(key)
    with sessions.open(key) as session:
        read = dict(session)

    assert shape(fields) == shape(read)
    assert payload == storage.get(key)


@many
@given(fields=FIELDS)
def test_reading_writes_nothing(fields: dict[str, Any]) -> None:
    """A handler that only reads writes nothing, whatever it reads."""
    store = CountedStore()
    sessions = Sessions(storage=MemoryStorage(store, codec=CODEC))
    with sessions.open(1) as session:
        session.update(fields)
    with sessions.open(1) as session:
        read = dict(session)

    assert shape(fields) == shape(read)
    assert 1 == store.writes


@many
@given(value=st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from([*MARKS, "a"]), inner, max_size=2),
    ),
))  # fmt: skip
def test_a_tag_cannot_be_forged(value: Any) -> None:
    """Data that looks like a tag comes back as the data that it is."""
    assert shape(value) == shape(decode(encode(value))["fields"]["value"])


@many
@given(tag=st.sampled_from([tag for tag in MARKS if tag.startswith("$")]), value=VALUES)
def test_what_was_written_can_itself_be_saved(tag: str, value: Any) -> None:
    """The very text of a tag, read as plain JSON and saved as data, is not taken for the tag."""
    forged = written({tag: [value], "again": value})
    once = {tag: written(value)}

    assert shape([forged, once]) == shape(decode(encode([forged, once]))["fields"]["value"])


PLAIN: dict[str, Any] = {
    "nothing": None,
    "bools": [True, False],
    "ints": [0, -1, 2**63 - 1, -(2**63)],
    "floats": [0.5, -0.0, 1e300, 5e-324],
    "text": ["", "ä", "\U0001f600", "\x00", '"\\/'],
    "dict": {"apple": {"count": 1}, "": []},
    "dollars": {"$a": 1, "$b": 2},
}


@pytest.mark.parametrize("value", list(PLAIN.values()), ids=list(PLAIN))
def test_plain_data_is_plain_json(value: Any) -> None:
    """Str-keyed plain data is written as any JSON writer would."""
    assert shape(value) == shape(written(value))


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


@pytest.mark.parametrize(("value", "expected"), list(TAGGED.values()), ids=list(TAGGED))
def test_a_tag_is_readable(value: Any, expected: Any) -> None:
    """What JSON has no word for is an object with one key that says what it is."""
    assert expected == written(value)
    assert shape(value) == shape(decode(encode(value))["fields"]["value"])


def test_sqlite_queries_the_text() -> None:
    """SQLite's `json_extract(payload, '$.fields.counter')` works on what is stored."""
    payload = CODEC.encode({"fields": {"counter": 3, "cart": {"apple": 1.5}, "t": (1,)}}, "1")
    paths = "'$.fields.counter'", "'$.fields.cart.apple'"
    query = "SELECT " + ", ".join(f"json_extract(:payload, {path})" for path in paths)

    with sqlite3.connect(":memory:") as connection:
        found = connection.execute(query, {"payload": payload.decode()}).fetchone()
    connection.close()

    assert (3, 1.5) == found


@pytest.mark.parametrize("name", ["$set", "$", "a b", ""])
def test_a_field_of_any_name_can_be_queried(name: str) -> None:
    """The fields themselves are never a tag, whatever the only one of them is called."""
    payload = CODEC.encode({"fields": {name: [1]}, "ttl": {name: [30.0, 5.5]}}, "1")

    assert {"fields": {name: [1]}, "ttl": {name: [30.0, 5.5]}} == json.loads(payload)
    assert json.loads(payload) == decode(payload)


def test_the_library_s_own_parts_come_back() -> None:
    """Deadlines and the version of a record are plain JSON beside the fields."""
    record = {"fields": {"code": (1,)}, "ttl": {"code": [300.0, 1e9 + 0.123456]}, "version": 3}
    payload = CODEC.encode(record, "1")

    assert record == decode(payload)
    assert {"$tuple": [1]} == json.loads(payload)["fields"]["code"]
    assert payload.startswith(b'{"fields":{')


def test_a_field_ttl_works_over_json() -> None:
    """A field with a TTL is gone at its deadline, over JSON as over pickle."""
    sessions = Sessions(storage=MemoryStorage(codec=JSONCodec()))
    with freeze_time("2026-01-01", tick=False) as frozen:
        with sessions.open(1) as session:
            session.update(code=ttl((1, 2), 300), name="Ann")
        frozen.tick(timedelta(seconds=299))
        before = sessions.peek(1)
        frozen.tick(timedelta(seconds=1))

        assert {"code": (1, 2), "name": "Ann"} == before
        assert {"name": "Ann"} == sessions.peek(1)


@pytest.mark.parametrize("codec", [CODEC, None], ids=["before", "while-frozen"])
def test_frozen_dates_come_back_as_dates(codec: JSONCodec | None) -> None:
    """Under freezegun `now()` and `today()` are stored as the date and time they stand for."""
    real = {"now": datetime(2026, 1, 2, 3, tzinfo=UTC), "today": date(2026, 1, 2)}
    with freeze_time("2026-01-02 03:00"):
        used = codec or JSONCodec()
        fakes = {"now": datetime.now(UTC), "today": date.today()}
        payload = used.encode({"fields": fakes}, "1")
        read = used.decode(payload, "1")["fields"]
        frozen_types = [type(fake).__module__ for fake in fakes.values()]

    assert ["freezegun.api"] * 2 == frozen_types
    assert shape(real) == shape(read)
    assert payload == CODEC.encode({"fields": real}, "1")


def test_frozen_dates_come_back_as_dates_from_each_storage(storage: Storage) -> None:
    """What `now()` and `today()` gave under freezegun is, after a save, a plain date and time."""
    sessions = Sessions(storage=storage)
    with freeze_time("2026-01-02 03:00"), sessions.open("frozen") as session:
        session.update(now=datetime.now(UTC), today=date.today())

    real = {"now": datetime(2026, 1, 2, 3, tzinfo=UTC), "today": date(2026, 1, 2)}
    assert shape(real) == shape(sessions.peek("frozen"))


def test_a_context_of_decimal_makes_no_difference() -> None:
    """A thread that writes its decimals otherwise, or is less precise, saves and loads the same."""
    value = Decimal("1.2345678901234567890123E+50")
    expected = encode(value)
    with localcontext() as context:
        context.capitals, context.prec = 0, 3
        inside = encode(value)
        read = decode(expected)["fields"]["value"]

    assert expected == inside
    assert (str(value), Decimal) == (str(read), type(read))


def test_what_is_decoded_is_shared_with_nobody() -> None:
    """Two readers of one payload get objects of their own."""
    payload = encode([["a"], ({"b"},)])
    decode(payload)["fields"]["value"][0].append("c")
    decode(payload)["fields"]["value"][1][0].add("c")

    assert [["a"], ({"b"},)] == decode(payload)["fields"]["value"]


def test_the_codec_is_the_default_outside_memory() -> None:
    """A storage's records are JSON unless it says otherwise; those in memory are pickled."""
    assert (JSONCodec, PickleCodec) == (type(Storage.codec), type(MemoryStorage().codec))


# A handler that only reads writes nothing.


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({8, 16, 0, 24}, {24, 0, 16, 8}),
        ({"a", "b", (1, 2)}, {(1, 2), "b", "a"}),
        (frozenset({frozenset({8, 0}), 1}), frozenset({1, frozenset({0, 8})})),
        ([{0, 8}, {16, 8}], [{8, 0}, {8, 16}]),
    ],
    ids=["ints", "mixed", "nested", "in-list"],
)
def test_equal_sets_are_written_equally(one: Any, other: Any) -> None:
    """The order in which a set holds its items makes no difference."""
    assert encode(one) == encode(other)


def test_a_changed_order_of_a_dict_is_a_change() -> None:
    """The order of a dict is kept, so another order is another value."""
    assert encode({"a": 1, "b": 2}) != encode({"b": 2, "a": 1})
    assert ["b", "a"] == list(decode(encode({"b": 2, "a": 1}))["fields"]["value"])


EDITED = b' { "fields" : { "name" : "\\u0041nn", "at" : [ 1.50, { "$tuple" : [ ] } ] } }\n'


def test_an_edited_record_is_read_and_not_rewritten() -> None:
    """What somebody wrote with other spaces and spellings is read, and stays until it changes."""
    record = decode(EDITED)

    assert {"fields": {"name": "Ann", "at": [1.5, ()]}} == record
    assert EDITED == CODEC.encode(record, "1", EDITED)
    record["fields"]["name"] = "Bob"
    assert b'{"fields":{"name":"Bob","at":[1.5,{"$tuple":[]}]}}' == CODEC.encode(
        record, "1", EDITED
    )


@pytest.mark.parametrize(
    ("before", "after"),
    [([1], [1.0]), ([1], [True]), ([0.0], [-0.0]), ([1], (1,)), ({1}, frozenset({1})), (b"", "")],
    ids=["float", "bool", "sign-of-zero", "tuple", "frozenset", "text"],
)
def test_a_changed_type_is_a_change(before: Any, after: Any) -> None:
    """A value that equals the stored one but is of another type is written."""
    previous = encode(before)
    payload = CODEC.encode({"fields": {"value": after}}, "1", previous)

    assert previous != payload
    assert shape(after) == shape(decode(payload)["fields"]["value"])


# Or the save raises.


class Level(enum.IntEnum):
    LOW = 1


class Size(enum.StrEnum):
    SMALL = "small"


class Color(enum.Enum):
    RED = SECRET


class Name(str):
    __slots__ = ()


Money = namedtuple("Money", "amount currency")  # noqa: PYI024


@dataclass
class Item:
    name: str = SECRET


@dataclass
class Cart:
    items: list[Item] = field(default_factory=list)
    size: Size = Size.SMALL


class Refusing:
    """Raises at whatever is asked of it."""

    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError(SECRET)


class OtherZone(tzinfo):
    def utcoffset(self, _when: datetime | None) -> timedelta:
        return timedelta(0)


def generator() -> Iterator[str]:
    yield SECRET


def cyclic() -> list[Any]:
    value: list[Any] = [SECRET]
    value.append({"again": [value, value]})
    return value


def deep(levels: int, wrap: Callable[[Any], Any] = lambda value: [value]) -> Any:
    value: Any = []
    for _ in range(levels):
        value = wrap(value)
    return value


REFUSED: dict[str, tuple[dict[Any, Any], str, str]] = {
    "generator": ({"made": generator()}, "made", "generator"),
    "function": ({"made": generator}, "made", "function"),
    "class": ({"made": Item}, "made", "type"),
    "object": ({"made": object()}, "made", "object"),
    "refusing": ({"made": Refusing()}, "made", "Refusing"),
    "int-enum": ({"level": Level.LOW}, "level", "Level"),
    "str-enum": ({"size": Size.SMALL}, "size", "Size"),
    "enum": ({"color": Color.RED}, "color", "Color"),
    "str-subclass": ({"name": Name(SECRET)}, "name", "Name"),
    "namedtuple": ({"price": Money(1, SECRET)}, "price", "Money"),
    "ordered-dict": ({"d": OrderedDict(a=1)}, "d", "OrderedDict"),
    "defaultdict": ({"d": defaultdict(int)}, "d", "defaultdict"),
    "counter": ({"d": Counter(SECRET)}, "d", "Counter"),
    "dataclass": ({"item": Item()}, "item", "Item"),
    "deque": ({"d": deque([1])}, "d", "deque"),
    "fraction": ({"f": Fraction(1, 3)}, "f", "Fraction"),
    "path": ({"p": PurePosixPath(SECRET)}, "p", "PurePosixPath"),
    "memoryview": ({"m": memoryview(SECRET.encode())}, "m", "memoryview"),
    "range": ({"r": range(3)}, "r", "range"),
    "ellipsis": ({"e": [...]}, "e[0]", "ellipsis"),
    "nested-ttl": ({"cart": {"apple": ttl(SECRET)}}, "cart['apple']", "Marked"),
    "in-list": ({"log": ["a", {"b": [SECRET, generator()]}]}, "log[1]['b'][1]", "generator"),
    "in-tuple": ({"pair": (1, (2, Level.LOW))}, "pair[1][1]", "Level"),
    "in-set": ({"tags": {SECRET, Size.SMALL}}, "(an item of tags)", "Size"),
    "in-odd-keys": ({"d": {1: {2: Item()}}}, "d[1][2]", "Item"),
    "key": ({"d": {Size.SMALL: SECRET}}, "(a key of d)", "Size"),
    "key-in-tuple": ({"d": {(1, Level.LOW): SECRET}}, "(a key of d)[1]", "Level"),
    "other-zone": ({"at": [datetime(2026, 1, 1, tzinfo=OtherZone())]}, "at[0]", "datetime"),
    "zone-without-key": ({"at": datetime(2026, 1, 1)}, "at", "datetime"),
    "cyclic": ({"ok": 1, "log": cyclic()}, "log[1]['again'][0]", "list"),
    "too-deep": ({"ok": 1, "log": deep(300)}, "log", "list"),
    "too-deep-tuples": ({"ok": 1, "log": deep(150, lambda value: (value,))}, "log", "tuple"),
    "far-too-deep": ({"ok": 1, "log": deep(100_000)}, "log", "list"),
    "field-name": ({1: SECRET}, "(a key of the session)", "int"),
    "half-a-field-name": ({"\ud83d": SECRET}, "(a key of the session)", "str"),
}


def keyless_zone() -> ZoneInfo:
    from importlib.resources import files
    from zoneinfo import TZPATH

    for root in TZPATH:
        try:
            with open(f"{root}/Europe/Berlin", "rb") as zone:
                return ZoneInfo.from_file(zone)
        except OSError:
            continue
    with files("tzdata.zoneinfo.Europe").joinpath("Berlin").open("rb") as zone:
        return ZoneInfo.from_file(zone)


REFUSED["zone-without-key"][0]["at"] = datetime(2026, 1, 1, tzinfo=keyless_zone())


@pytest.mark.parametrize(("fields", "path", "kind"), list(REFUSED.values()), ids=list(REFUSED))
def test_what_would_not_come_back_is_refused(fields: dict[Any, Any], path: str, kind: str) -> None:
    """Anything else is an `EncodeError` with the field's path and type, and what to do."""
    error = refusal(fields)

    assert ("1", path, kind) == (error.key, error.path, error.type_name)
    assert any(word in error.reason for word in ("store", "use"))


@many
@given(
    steps=st.lists(
        st.one_of(
            st.tuples(st.just(dict), TEXT), st.tuples(st.sampled_from([list, tuple]), st.just(1))
        ),
        max_size=6,
    ),
    neighbour=VALUES,
)
def test_a_refusal_names_the_path(steps: list[tuple[type, Any]], neighbour: Any) -> None:
    """However deep among values that can be stored one is that cannot, its path is named."""
    value, path = object(), ""
    for kind, place in steps:
        near = copy.deepcopy(neighbour)
        value = {"near": near, place: value} if kind is dict else kind((near, value))
        path = f"[{place!r}]{path}"
    error = refusal({"log": value})

    assert (f"log{path}", "object") == (error.path, error.type_name)


@pytest.mark.parametrize(("fields", "path", "kind"), list(REFUSED.values()), ids=list(REFUSED))
def test_a_refusal_shows_no_value(fields: dict[Any, Any], path: str, kind: str) -> None:
    """An `EncodeError` never shows the value, nor does anything it was raised from."""
    error: BaseException | None = refusal(fields)
    shown = ""
    while error is not None:
        shown += f"{error!s} {error!r}"
        error = error.__cause__ or error.__context__

    assert SECRET not in shown


def test_a_refused_save_leaves_the_record() -> None:
    """A value that cannot be encoded leaves the old record, and the session goes on."""
    store = CountedStore()
    sessions = Sessions(storage=MemoryStorage(store, codec=JSONCodec()))
    with sessions.open(1) as session:
        session.counter = 1
    before = store["1"]
    with pytest.raises(EncodeError), sessions.open(1) as session:
        session.update(counter=2, lock=threading.Lock())

    assert (before, {"counter": 1}) == (store["1"], sessions.peek(1))


def test_a_typed_session_brings_back_dataclasses_and_enums() -> None:
    """Typed sessions store dataclasses as dicts and enums as values, so JSON suits them."""
    store: dict[str, bytes] = {}
    sessions = Sessions(storage=MemoryStorage(store, codec=JSONCodec()), initial=Cart)
    with sessions.open(1) as cart:
        cart.items.append(Item("apple"))
    with sessions.open(1) as cart:
        read = (list(cart.items), cart.size, type(cart.size))
    fields = json.loads(store["1"])["fields"]

    assert ([Item("apple")], Size.SMALL, Size) == read
    assert {"items": [{"name": "apple"}], "size": "small"} == fields


@pytest.mark.parametrize("levels", [100, 190, 198])
def test_what_is_saved_loads_from_a_deeper_stack(levels: int) -> None:
    """Nested data that could be saved can be loaded, also where the stack is deep already."""
    payload = encode(deep(levels - 2))

    def load(frames: int) -> Any:
        return load(frames - 1) if frames else decode(payload)["fields"]["value"]

    assert deep(levels - 2) == load(300)


# Undecodable bytes.

BAD: dict[str, bytes] = {
    "empty": b"",
    "no-object": b"[1]",
    "no-fields": b"{}",
    "null": b"null",
    "fields-no-object": b'{"fields":[]}',
    "fields-tag": b'{"fields":null}',
    "unknown-part": b'{"fields":{"a":1},"tzl":{"a":[1,2]}}',
    "trailing": b'{"fields":{}}x',
    "trailing-nul": b'{"fields":{}}\x00',
    "two-records": b'{"fields":{}}{"fields":{}}',
    "bom": b'\xef\xbb\xbf{"fields":{}}',
    "utf-16": '{"fields":{}}'.encode("utf-16"),
    "latin-1": '{"fields":{"a":"ä"}}'.encode("latin-1"),
    "surrogate": b'{"fields":{"a":"\xed\xa0\x80"}}',
    "escaped-surrogate": b'{"fields":{"a":"\\ud800"}}',
    "nan": b'{"fields":{"a":NaN}}',
    "infinite": b'{"fields":{"a":1e400}}',
    "infinite-edited": b'{"fields":{"a": -1e400}}',
    "huge-int": b'{"fields":{"a":' + b"9" * 5000 + b"}}",
    "comment": b'{"fields":{}/**/}',
    "single-quotes": b"{'fields':{}}",
    "control": b'{"fields":{"a":"\n"}}',
    "duplicate-part": b'{"fields":{"a":1},"fields":{}}',
    "duplicate-field": b'{"fields":{"a":1,"a":2}}',
    "duplicate-escaped": b'{"fields":{"a":1,"\\u0061":1}}',
    "duplicate-nested": b'{"fields":{"a":[{"b":1,"b":1}]}}',
    "deep": b'{"fields":{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}}",
    "deep-unclosed": b'{"fields":' * 100_000,
    "deep-tags": b'{"fields":{"a":' + b'{"$tuple":[' * 600 + b"]}" * 600 + b"}}",
}


@pytest.mark.parametrize("payload", list(BAD.values()), ids=list(BAD))
def test_what_is_no_record_is_refused(payload: bytes) -> None:
    """Undecodable bytes are a `DecodeError` with the key, and never an empty session."""
    undecodable(payload)


BAD_TAGS = [
    '{"$nothing":1}', '{"$":1}', '{"$tuple":1}', '{"$tuple":{"a":1}}', '{"$tuple":"ab"}',
    '{"$set":[1,1]}', '{"$set":[1,true]}', '{"$set":[[1]]}', '{"$set":"ab"}', '{"$set":null}',
    '{"$set":[{"$set":[]}]}', '{"$frozenset":[1,1.0]}', '{"$set":[{"$decimal":"sNaN"}]}',
    '{"$dict":{"a":1}}', '{"$dict":[1]}', '{"$dict":["ab"]}', '{"$dict":[[1,2,3]]}',
    '{"$dict":[[1,2],[1,3]]}', '{"$dict":[[[],1]]}', '{"$dict":{"ab":1}}', '{"$dict":"ab"}',
    '{"$int":5}', '{"$int":"5"}', '{"$int":"0x"}', '{"$int":"0X5"}', '{"$int":" 0x5"}',
    '{"$int":null}', '{"$int":"0x_5"}', '{"$float":1}', '{"$float":"NaN"}', '{"$float":"infinity"}',
    '{"$float":[]}', '{"$float":{"$float":"nan"}}', '{"$complex":"1"}', '{"$complex":1}',
    '{"$complex":"( 1+2j )"}', '{"$complex":[1,2]}', '{"$bytes":"A"}', '{"$bytes":"AP8"}',
    '{"$bytes":"A P8="}', '{"$bytes":"AP9="}', '{"$bytes":[0]}', '{"$bytes":3}',
    '{"$bytes":"\\u00e4"}',
    '{"$bytearray":3}', '{"$str":"/w=="}', '{"$str":1}', '{"$date":"20260102"}',
    '{"$date":"2026-02-30"}', '{"$date":1}', '{"$date":null}', '{"$datetime":"2026-01-02"}',
    '{"$datetime":"2026-01-02 03:04:00"}', '{"$datetime":[]}',
    '{"$datetime":["2026-01-02T03:04:00"]}',
    '{"$datetime":["2026-01-02T03:04:00",{}]}', '{"$datetime":["2026-01-02T03:04:00",{"fold":2}]}',
    '{"$datetime":["2026-01-02T03:04:00",{"fold":"1"}]}',
    '{"$datetime":["2026-01-02T03:04:00",{"zone":"Europe/Atlantis"}]}',
    '{"$datetime":["2026-01-02T03:04:00",{"zone":"../../etc/passwd"}]}',
    '{"$datetime":["2026-01-02T03:04:00",{"zone":"/etc/passwd"}]}',
    '{"$datetime":["2026-01-02T03:04:00",{"zone":"Europe"}]}',
    '{"$datetime":["2026-01-02T03:04:00",{"zone":""}]}',
    '{"$datetime":["2026-01-02T03:04:00",{"zone":"\\u0000"}]}',
    '{"$datetime":["2026-01-02T03:04:00",{"zone":3}]}',
    '{"$datetime":["2026-01-02T03:04:00",{"name":"CET"}]}',
    '{"$datetime":["2026-01-02T03:04:00",{"when":1}]}', '{"$datetime":["2026-01-02T03:04:00",1]}',
    '{"$time":"25:00:00"}', '{"$time":"T01:00:00"}', '{"$time":3}', '{"$timedelta":[1,2]}',
    '{"$timedelta":[0,86400,0]}', '{"$timedelta":[0,0,0.5]}', '{"$timedelta":5}',
    '{"$timedelta":[1000000000,0,0]}', '{"$timedelta":["1",0,0]}', '{"$timedelta":{"a":1}}',
    '{"$decimal":1.5}', '{"$decimal":"1_0"}', '{"$decimal":" 1"}', '{"$decimal":"one"}',
    '{"$decimal":[0,[1],-1]}', '{"$decimal":"1E+99999999999999999999"}',
    '{"$uuid":"{00000000000000000000000000000001}"}', '{"$uuid":1}', '{"$uuid":null}',
]  # fmt: skip


@pytest.mark.parametrize("text", BAD_TAGS)
def test_a_tag_of_the_wrong_shape_is_refused(text: str) -> None:
    """What no version of the codec wrote as a tag is a `DecodeError`, and not a guess."""
    with pytest.raises(DecodeError):
        decode_value(text)


@pytest.mark.parametrize("trapped", [True, False])
def test_a_careless_decimal_context_guesses_nothing(trapped: bool) -> None:
    """Where a thread has told decimals not to complain, damaged ones are refused all the same."""
    from decimal import InvalidOperation

    with localcontext() as context:
        context.traps[InvalidOperation] = trapped
        with pytest.raises(DecodeError):
            decode_value('{"$decimal":"one"}')


def test_a_decode_error_shows_no_value() -> None:
    """A `DecodeError` shows nothing of what was stored, nor does what it was raised from."""
    error = undecodable(b'{"fields":{"value":{"$uuid":"hunter2"}}}')

    assert SECRET not in f"{error} {error!r} {error.__cause__}"
    assert error.__suppress_context__


def test_a_pickled_record_is_named() -> None:
    """JSONCodec does not fall back to pickle: it says who wrote the record, and the ways out."""
    error = undecodable(PickleCodec().encode({"fields": {"a": 1}}, "1"))

    assert (
        "PickleCodec wrote it, and the storage has JSONCodec now",
        "give it a PickleCodec to go on with what is stored, or delete the record to start anew",
    ) == (error.reason, error.remedy)


def test_a_json_record_is_named() -> None:
    """PickleCodec too says who wrote a record that is not its own, and the ways out."""
    with pytest.raises(DecodeError) as caught:
        PickleCodec().decode(encode(1), "1")

    assert (
        "JSONCodec wrote it, and the storage has PickleCodec now",
        "give it a JSONCodec to go on with what is stored, or delete the record to start anew",
    ) == (caught.value.reason, caught.value.remedy)


@many
@given(payload=st.one_of(
    st.binary(max_size=60),
    st.text(max_size=30).map(str.encode),
    st.text('{}[]",:$fieldstupn01e.-\\u ', max_size=40).map(
        lambda text: b'{"fields":{%b' % text.encode()
    ),
    st.recursive(
        st.one_of(st.none(), st.booleans(), st.floats(), st.integers(), st.text(max_size=4)),
        lambda inner: st.one_of(
            st.lists(inner, max_size=3),
            st.dictionaries(
                st.sampled_from([*TAGGED, *MARKS]).map("${}".format), inner, max_size=1
            ),
            st.dictionaries(st.sampled_from(MARKS), inner, max_size=2),
        ),
    ).map(lambda value: json.dumps({"fields": {"value": value}}).encode()),
))  # fmt: skip
def test_any_bytes_are_read_or_refused(payload: bytes) -> None:
    """Any bytes at all are a record, or a `DecodeError`; and what was read can be saved."""
    try:
        record, key = decode(payload), "1"
    except DecodeError as error:
        record, key = {"fields": {}}, error.key

    assert "1" == key
    assert shape(record) == shape(decode(CODEC.encode(record, "1")))


def test_a_mutated_record_never_raises_anything_else() -> None:
    """100,000 mutated payloads: each is read, or is a `DecodeError`; none is an empty session."""
    payloads = [
        CODEC.encode({"fields": {"counter": 1, "name": "Ann"}}, "1"),
        CODEC.encode({"fields": {"cart": {"apple": [1, 2.5, None]}, "log": ["a", "ä"] * 3}}, "1"),
        CODEC.encode({"fields": {"code": "1234"}, "ttl": {"code": [300.0, 1e9]}}, "1"),
        *(encode(value) for value, _ in TAGGED.values()),
    ]
    rng = random.Random(2026)
    outcomes: Counter[str] = Counter()
    for _ in range(100_000):
        payload = mutated(rng.choice(payloads), payloads, rng, CHARACTERS)
        try:
            record = CODEC.decode(payload, "1")
        except DecodeError as error:
            outcomes["refused" if error.key == "1" else "refused without the key"] += 1
        except BaseException as error:
            outcomes[f"{type(error).__name__} for {payload!r}"] += 1
        else:
            outcomes["read" if record["fields"] else f"emptied: {payload!r}"] += 1

    assert {"read", "refused"} == set(outcomes)


def test_an_undecodable_record_stays(storage: Storage) -> None:
    """In each storage a record that cannot be read is a `DecodeError`, and stays as it was."""
    sessions = Sessions(storage=storage, lock_timeout=0)
    payloads = [b'{"fields":{"a":1,"a":2}}', b"", b"\xff", b'{"fields":']
    for payload in payloads:
        storage.set("1", payload, 1000)
        for _ in range(2):
            with pytest.raises(DecodeError), sessions.open(1):
                pass
        with pytest.raises(DecodeError):
            sessions.peek(1)
        assert payload == storage.get("1")


def test_threads_share_a_codec() -> None:
    """One codec serves all threads at once."""
    wrong: list[int] = []
    barrier = threading.Barrier(4)

    def work(number: int) -> None:
        barrier.wait()
        fields = {"n": number, "pair": (number, {str(number)}), "at": datetime(2026, 1, number)}
        for _ in range(200):
            payload = CODEC.encode({"fields": fields}, str(number))
            if CODEC.decode(payload, str(number)) != {"fields": fields}:
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [] == wrong
