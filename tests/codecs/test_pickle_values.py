"""PickleCodec brings back what was saved, and a handler that only reads writes nothing."""

from __future__ import annotations

import array
import dataclasses
import pickle
import sys
import tracemalloc
from collections import Counter, OrderedDict, defaultdict, deque
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest
from hypothesis import given, settings, strategies as st

from support.clocks import examples
from support.storages import SpyStore
from support.values import (
    Basket,
    PickledColor,
    PickledItem,
    PickledMoney,
    PickledPoint,
    PickledSize,
    Tags,
    cyclic,
    read_pickled,
    write_pickled,
)
from telesession import MemoryStorage, PickleCodec, Sessions, save

if TYPE_CHECKING:
    from collections.abc import Callable


def shape(value: Any) -> Any:
    """A value as what can be compared by `==` down to the types, NaN and -0.0 included."""
    kind = type(value)
    if kind in (set, frozenset):
        return kind, sorted(map(repr, map(shape, value)))
    if isinstance(value, dict):
        return kind, [(shape(name), shape(item)) for name, item in value.items()]
    if isinstance(value, list | tuple | deque):
        return kind, [shape(item) for item in value]
    if dataclasses.is_dataclass(kind):
        return kind, [shape(getattr(value, field.name)) for field in dataclasses.fields(kind)]
    if isinstance(value, Basket | Tags):
        return kind, shape(vars(value)), sorted(value) if isinstance(value, Tags) else None
    return kind, value if kind is int else repr(value)


ATOMS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.complex_numbers(),
    st.text(st.characters(), max_size=20),
    st.binary(max_size=20),
    st.dates(),
    st.times(timezones=st.just(UTC)),
    st.datetimes(timezones=st.sampled_from([None, UTC, timezone(timedelta(hours=-3))])),
    st.timedeltas(),
    st.decimals(allow_nan=False),
    st.fractions(),
    st.uuids(),
    st.sampled_from(
        [
            *PickledColor,
            *PickledSize,
            PickledMoney(3, "EUR"),
            PickledPoint(1, 2),
            ...,
            10**4000,
            PurePosixPath("/"),
        ]
    ),
)
# The order of a set with NaN depends on addresses, like that of the set of instances below.
HASHABLE = ATOMS.filter(lambda value: value == value)  # noqa: PLR0124
VALUES = st.recursive(
    ATOMS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=3).map(tuple),
        st.sets(HASHABLE, max_size=6),
        st.frozensets(HASHABLE, max_size=6),
        st.dictionaries(st.one_of(ATOMS, st.tuples(ATOMS, ATOMS)), inner, max_size=4),
        st.builds(PickledItem, st.text(max_size=5), st.lists(inner, max_size=2)),
        st.builds(Basket, inner),
    ),
    max_leaves=12,
)
FIELDS = st.dictionaries(st.text(st.characters(), max_size=8), VALUES, min_size=1, max_size=4)
many = settings(max_examples=examples(80))


@many
@given(fields=FIELDS)
def test_what_you_save_is_what_you_load(fields: dict[str, Any]) -> None:
    """Plain data and sets, dates, numbers and instances come back equal and of the same types."""
    store: dict[str, bytes] = {}
    write_pickled(store, fields)

    assert shape(fields) == shape(read_pickled(store))


@many
@given(fields=FIELDS)
def test_reading_any_session_writes_nothing(fields: dict[str, Any]) -> None:
    """A handler that only reads writes nothing, whatever the session holds."""
    store = SpyStore()
    write_pickled(store, fields)
    payload = store["1"]
    read_pickled(store)
    read_pickled(store)

    assert (1, payload) == (store.writes, store["1"])


def shared() -> dict[str, Any]:
    value = ["x", "yz"]
    return {"one": value, "other": value, "yz": "yz", "names": ("one", "other")}


VALUES_THAT_COME_BACK: dict[str, Callable[[], Any]] = {
    "set-of-str": lambda: set(map(str, range(50))),
    "set-of-colliding-int": lambda: {24, 8, 0, 16},
    "set-that-was-large": lambda: set(range(1000)) - set(range(3, 1000)) | {64, 8},
    "frozenset": lambda: frozenset({"b", "a", 8, 0, 16}),
    "sets-in-sets": lambda: {frozenset({0, 8}), frozenset({8, 16, 0})},
    "set-of-none-and-tuples": lambda: {None, (None, "a"), (1, None)},
    "set-of-enum": lambda: set(PickledColor) | set(PickledSize),
    "set-of-frozen-dataclass": lambda: {PickledPoint(n, 8 * n) for n in range(20)},
    "instance": lambda: Basket({"content": "content"}),
    "instance-with-set": lambda: Basket({"b", "a"}),
    "dataclass": lambda: PickledItem("name", ["tags", "name"]),
    "slotted-dataclass": lambda: [PickledPoint(1, 2), PickledPoint(1, 2)],
    "namedtuple": lambda: [PickledMoney(1, "amount"), PickledMoney(1, "currency")],
    "enum": lambda: [PickledColor.RED, PickledSize.SMALL, PickledColor.RED],
    "subclass-of-set": lambda: Tags(["b", "a"]),
    "defaultdict": lambda: defaultdict(list, a=[1]),
    "ordered-dict": lambda: OrderedDict(b=1, a=2),
    "counter": lambda: Counter("abracadabra"),
    "deque": lambda: deque([1, 2], maxlen=2),
    "dates": lambda: [datetime(2026, 1, 1, tzinfo=UTC), date(2026, 1, 1), timedelta(1)],
    "numbers": lambda: [Decimal("1.50"), Fraction(1, 3), 1j, float("nan"), -0.0, 10**5000],
    "uuid": lambda: UUID(int=1),
    "odd-keys": lambda: {1: 1, 1.5: 2, None: 3, (1, "a"): 4, b"x": 5, frozenset({1}): 6},
    "interned-and-not": lambda: ["one", "".join(["o", "ne"]), sys.intern("".join(["o", "ne"]))],
    "short-strings": lambda: ["x", "xy"[:1], "", b"x", b"xy".replace(b"y", b""), b""],
    "shared": shared,
    "cyclic": cyclic,
    "large": lambda: ["x" * 100_000, b"x" * 100_000, list(range(10_000))],
    "code": lambda: [len, Basket],
    "array": lambda: [array.array("i", [1, 2]), bytearray(b"x"), range(3)],
}
with_each_value = pytest.mark.parametrize(
    "make", list(VALUES_THAT_COME_BACK.values()), ids=list(VALUES_THAT_COME_BACK)
)


@with_each_value
def test_reading_a_session_writes_nothing(make: Callable[[], Any]) -> None:
    """A handler that only reads writes nothing, though equal values may pickle differently."""
    store = SpyStore()
    write_pickled(store, {"one": make(), "other": make(), "content": 1})
    payload = store["1"]
    for _ in range(3):
        read_pickled(store)

    assert (1, payload) == (store.writes, store["1"])


@with_each_value
def test_saving_twice_writes_once(make: Callable[[], Any]) -> None:
    """`save` writes, and the end of a handler that changed nothing since does not."""
    store = SpyStore()
    with Sessions(storage=MemoryStorage(store)).open(1) as session:
        session.update(one=make(), other=make())
        save(session)
        save(session)

    assert 1 == store.writes


CHANGES: dict[str, tuple[Callable[[], Any], Callable[[Any], object]]] = {
    "list": (lambda: ["a"], lambda value: value.append("b")),
    "dict": (lambda: {"apple": 1}, lambda value: value.update(apple=2)),
    "dict-order": (lambda: {"a": 1, "b": 2}, lambda value: value.update(a=value.pop("a"))),
    "set": (lambda: {"a", "b"}, lambda value: value.add("c")),
    "set-of-equal-size": (lambda: {1, 2}, lambda value: (value.discard(1), value.add(3))),
    "instance": (lambda: Basket("a"), lambda value: setattr(value, "content", "b")),
    "dataclass": (lambda: PickledItem("a"), lambda value: value.tags.append("b")),
    "deep": (lambda: [{"a": [({"b": []},)]}], lambda value: value[0]["a"][0][0]["b"].append(1)),
    "type-of-number": (lambda: [1], lambda value: value.__setitem__(0, 1.0)),
    "sign-of-zero": (lambda: [0.0], lambda value: value.__setitem__(0, -0.0)),
    "bool": (lambda: [1], lambda value: value.__setitem__(0, True)),
    "cyclic": (cyclic, lambda value: value[0].update(more=1)),
}


@pytest.mark.parametrize(("make", "change"), list(CHANGES.values()), ids=list(CHANGES))
def test_a_nested_change_is_saved(make: Callable[[], Any], change: Callable[[Any], object]) -> None:
    """Nested changes count: the next handler sees what this one did to the value."""
    expected = make()
    change(expected)
    store = SpyStore()
    write_pickled(store, {"value": make()})

    with Sessions(storage=MemoryStorage(store)).open(1) as session:
        change(session.value)

    found = read_pickled(store)["value"]
    assert 2 == store.writes
    # A set has no order that its pickle would have to keep.
    assert (
        expected == found if type(found) is set else pickle.dumps(expected) == pickle.dumps(found)
    )


def test_a_value_that_is_shared_no_longer_is_a_change() -> None:
    """Where one list was in two fields, a copy of it in one of them is saved as a copy."""
    store: dict[str, bytes] = {}
    log = ["a"]
    write_pickled(store, {"log": log, "backup": log})
    with Sessions(storage=MemoryStorage(store)).open(1) as session:
        session.backup = list(session.log)
    with Sessions(storage=MemoryStorage(store)).open(1) as session:
        session.log.append("b")

    assert {"log": ["a", "b"], "backup": ["a"]} == read_pickled(store)


def test_a_shared_value_costs_a_handler_no_more_than_its_payload() -> None:
    """Values that share their parts are compared without taking them apart."""
    value: list[Any] = []
    for _ in range(18):
        value = [value, value]
    store: dict[str, bytes] = {}
    write_pickled(store, {"value": value})
    tracemalloc.start()
    try:
        with Sessions(storage=MemoryStorage(store)).open(1) as session:
            session.counter = 1
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert len(store["1"]) < 500
    assert peak < 2**19


@dataclasses.dataclass
class Cart:
    name: str = "cart"
    total: float = 0
    sizes: set[PickledSize] = dataclasses.field(default_factory=set)
    items: list[PickledItem] = dataclasses.field(default_factory=list)
    best: PickledItem | None = None
    counts: dict[str, int] = dataclasses.field(default_factory=dict)


@pytest.mark.parametrize(
    "change",
    [
        lambda cart: None,
        lambda cart: cart.items.append(PickledItem("name")),
        lambda cart: cart.items.extend([PickledItem("a", ["tags"]), PickledItem("name")]),
        lambda cart: setattr(cart, "best", PickledItem("best")),
        lambda cart: cart.sizes.update(PickledSize),
        lambda cart: cart.counts.update(name=1, total=2),
        lambda cart: setattr(cart, "total", 3),
    ],
    ids=["nothing", "item", "items", "optional", "enums", "dict", "int-as-float"],
)
def test_reading_a_typed_session_writes_nothing(change: Callable[[Cart], object]) -> None:
    """A handler that only reads a typed session writes nothing, nested dataclasses or not."""
    store = SpyStore()
    sessions = Sessions(storage=MemoryStorage(store), initial=Cart)
    with sessions.open(1) as cart:
        change(cart)
    payload = store["1"]
    for _ in range(3):
        with sessions.open(1) as cart:
            assert cart.name == "cart"

    assert (1, payload) == (store.writes, store["1"])


def test_what_is_decoded_is_shared_with_nobody() -> None:
    """Two readers of one payload get objects of their own."""
    codec = PickleCodec()
    payload = codec.encode({"fields": {"log": ["a"]}}, "1")
    codec.decode(payload, "1")["fields"]["log"].append("b")

    assert {"fields": {"log": ["a"]}} == codec.decode(payload, "1")


def test_an_unchanged_record_gives_the_previous_payload() -> None:
    """`encode` returns the bytes of `previous` where the record still says the same."""
    codec = PickleCodec()
    previous = codec.encode({"fields": {"tags": {"b", "a"}}}, "1")
    record = codec.decode(previous, "1")

    assert previous == codec.encode(record, "1", previous)
    record["fields"]["tags"].add("c")
    assert previous != codec.encode(record, "1", previous)


# Equal sets with three items in one slot of their tables iterate in the order of the insertions.
ORDERS = {
    "ints": ([6, 14, 22], [22, 14, 6]),
    "frozensets": ([frozenset([6, 14, 22])], [frozenset([22, 14, 6])]),
}


@pytest.mark.parametrize("kind", [set, frozenset])
@pytest.mark.parametrize(("one", "other"), ORDERS.values(), ids=ORDERS)
def test_a_set_that_was_made_in_another_order_is_no_change(
    kind: type, one: list[Any], other: list[Any]
) -> None:
    """`encode` returns the bytes of `previous` for an equal set that iterates in another order."""
    codec = PickleCodec()
    previous = codec.encode({"fields": {"value": [kind(one), {1: kind(one)}]}}, "1")
    record = {"fields": {"value": [kind(other), {1: kind(other)}]}}
    assert pickle.dumps(kind(one)) != pickle.dumps(kind(other))
    assert previous == codec.encode(record, "1", previous)


def test_a_set_that_is_shared_no_longer_is_a_change_though_it_is_equal() -> None:
    """Two fields that share a set, and two fields with equal sets, are different records."""
    codec, tags = PickleCodec(), {6, 14, 22}
    previous = codec.encode({"fields": {"one": tags, "other": tags}}, "1")
    apart = {"fields": {"one": {22, 14, 6}, "other": {22, 14, 6}}}
    assert previous != codec.encode(apart, "1", previous)
