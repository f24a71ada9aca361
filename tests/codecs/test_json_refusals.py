"""JSONCodec refuses to save what would not come back, and says where it is."""

from __future__ import annotations

import copy
import enum
import json
import threading
from collections import Counter, OrderedDict, defaultdict, deque, namedtuple
from dataclasses import dataclass, field
from datetime import datetime, timedelta, tzinfo
from fractions import Fraction
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, strategies as st

from support.storages import SpyStore
from support.values import CODEC, SECRET, TEXT, VALUES, decode, encode, many, told_by
from telesession import EncodeError, JSONCodec, MemoryStorage, Sessions, ttl

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def refusal(fields: dict[Any, Any]) -> EncodeError:
    with pytest.raises(EncodeError) as caught:
        CODEC.encode({"fields": fields}, "1")
    return caught.value


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
    "nested-ttl": ({"cart": {"apple": ttl(SECRET)}}, "cart[<str>]", "TimedValue"),
    "in-list": ({"log": ["a", {"b": [SECRET, generator()]}]}, "log[1][<str>][1]", "generator"),
    "in-tuple": ({"pair": (1, (2, Level.LOW))}, "pair[1][1]", "Level"),
    "in-set": ({"tags": {SECRET, Size.SMALL}}, "(an item of tags)", "Size"),
    "in-odd-keys": ({"d": {1: {2: Item()}}}, "d[<int>][<int>]", "Item"),
    "in-secret-keys": ({"d": {SECRET: {f"'{SECRET}": [object()]}}}, "d[<str>][<str>][0]", "object"),
    "key": ({"d": {Size.SMALL: SECRET}}, "(a key of d)", "Size"),
    "key-in-tuple": ({"d": {(1, Level.LOW): SECRET}}, "(a key of d)[1]", "Level"),
    "other-zone": ({"at": [datetime(2026, 1, 1, tzinfo=OtherZone())]}, "at[0]", "datetime"),
    "zone-without-key": ({"at": datetime(2026, 1, 1)}, "at", "datetime"),
    "cyclic": ({"ok": 1, "log": cyclic()}, "log[1][<str>][0]", "list"),
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
        path = f"[{'<str>' if kind is dict else 1}]{path}"
    error = refusal({"log": value})

    assert (f"log{path}", "object") == (error.path, error.type_name)


@pytest.mark.parametrize(("fields", "path", "kind"), list(REFUSED.values()), ids=list(REFUSED))
def test_a_refusal_shows_no_value(fields: dict[Any, Any], path: str, kind: str) -> None:
    """An `EncodeError` never shows the value, nor does anything it was raised from."""
    assert SECRET not in told_by(refusal(fields))


def test_a_refused_save_leaves_the_record() -> None:
    """A value that cannot be encoded leaves the old record, and the session goes on."""
    store = SpyStore()
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
