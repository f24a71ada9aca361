"""PickleCodec: what comes back, what is refused, and what damaged bytes can do."""

from __future__ import annotations

import array
import dataclasses
import enum
import json
import marshal
import pickle
import random
import resource
import sys
import threading
import traceback
import tracemalloc
import types
import zlib
from collections import Counter, OrderedDict, defaultdict, deque
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import UUID

import pytest
from counted import CountedStore
from hypothesis import given, settings, strategies as st
from mutations import mutated

from telesession import (
    DecodeError,
    EncodeError,
    MemoryStorage,
    PickleCodec,
    Session,
    Sessions,
    save,
    ttl,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

SECRET = "hunter2"


class Color(enum.Enum):
    RED = 1
    BLUE = "blue"


class Size(enum.StrEnum):
    SMALL = "small"
    LARGE = "large"


class Money(NamedTuple):
    amount: int
    currency: str


@dataclasses.dataclass
class Item:
    name: str = "apple"
    tags: list[Any] = dataclasses.field(default_factory=list)


@dataclasses.dataclass(frozen=True, slots=True)
class Point:
    x: int
    y: int


class Basket:
    """A class without `==` or a hash of its own."""

    def __init__(self, content: object) -> None:
        self.content = content


class Tags(set[str]):
    """A subclass of a builtin, with attributes."""

    def __init__(self, names: Iterable[str]) -> None:
        super().__init__(names)
        self.order = sorted(names)


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


def write(store: Any, fields: dict[str, Any]) -> None:
    """A handler that saves these fields under the key 1."""
    with Sessions(storage=MemoryStorage(store)).open(1) as session:
        session.update(fields)


def read(store: Any) -> dict[str, Any]:
    """A handler that only reads the session with the key 1."""
    with Sessions(storage=MemoryStorage(store)).open(1) as session:
        return dict(session)


def payload_of(fields: dict[str, Any]) -> bytes:
    store: dict[str, bytes] = {}
    write(store, fields)
    return store["1"]


# What you save is what you load.

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
        [*Color, *Size, Money(3, "EUR"), Point(1, 2), ..., 10**4000, PurePosixPath("/")]
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
        st.builds(Item, st.text(max_size=5), st.lists(inner, max_size=2)),
        st.builds(Basket, inner),
    ),
    max_leaves=12,
)
FIELDS = st.dictionaries(st.text(st.characters(), max_size=8), VALUES, min_size=1, max_size=4)


@settings(max_examples=80, deadline=None, derandomize=True, database=None)
@given(fields=FIELDS)
def test_what_you_save_is_what_you_load(fields: dict[str, Any]) -> None:
    """Plain data and sets, dates, numbers and instances come back equal and of the same types."""
    store: dict[str, bytes] = {}
    write(store, fields)

    assert shape(fields) == shape(read(store))


@settings(max_examples=80, deadline=None, derandomize=True, database=None)
@given(fields=FIELDS)
def test_reading_any_session_writes_nothing(fields: dict[str, Any]) -> None:
    """A handler that only reads writes nothing, whatever the session holds."""
    store = CountedStore()
    write(store, fields)
    payload = store["1"]
    read(store)
    read(store)

    assert (1, payload) == (store.writes, store["1"])


def cyclic() -> list[Any]:
    value: list[Any] = []
    value.append({"again": value})
    return value


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
    "set-of-enum": lambda: set(Color) | set(Size),
    "set-of-frozen-dataclass": lambda: {Point(n, 8 * n) for n in range(20)},
    "instance": lambda: Basket({"content": "content"}),
    "instance-with-set": lambda: Basket({"b", "a"}),
    "dataclass": lambda: Item("name", ["tags", "name"]),
    "slotted-dataclass": lambda: [Point(1, 2), Point(1, 2)],
    "namedtuple": lambda: [Money(1, "amount"), Money(1, "currency")],
    "enum": lambda: [Color.RED, Size.SMALL, Color.RED],
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
    store = CountedStore()
    write(store, {"one": make(), "other": make(), "content": 1})
    payload = store["1"]
    for _ in range(3):
        read(store)

    assert (1, payload) == (store.writes, store["1"])


@with_each_value
def test_saving_twice_writes_once(make: Callable[[], Any]) -> None:
    """`save` writes, and the end of a handler that changed nothing since does not."""
    store = CountedStore()
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
    "dataclass": (lambda: Item("a"), lambda value: value.tags.append("b")),
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
    store = CountedStore()
    write(store, {"value": make()})

    with Sessions(storage=MemoryStorage(store)).open(1) as session:
        change(session.value)

    found = read(store)["value"]
    assert 2 == store.writes
    # A set has no order that its pickle would have to keep.
    assert (
        expected == found if type(found) is set else pickle.dumps(expected) == pickle.dumps(found)
    )


def test_a_value_that_is_shared_no_longer_is_a_change() -> None:
    """Where one list was in two fields, a copy of it in one of them is saved as a copy."""
    store: dict[str, bytes] = {}
    log = ["a"]
    write(store, {"log": log, "backup": log})
    with Sessions(storage=MemoryStorage(store)).open(1) as session:
        session.backup = list(session.log)
    with Sessions(storage=MemoryStorage(store)).open(1) as session:
        session.log.append("b")

    assert {"log": ["a", "b"], "backup": ["a"]} == read(store)


def test_a_shared_value_costs_a_handler_no_more_than_its_payload() -> None:
    """Values that share their parts are compared without taking them apart."""
    value: list[Any] = []
    for _ in range(18):
        value = [value, value]
    store: dict[str, bytes] = {}
    write(store, {"value": value})
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
    sizes: set[Size] = dataclasses.field(default_factory=set)
    items: list[Item] = dataclasses.field(default_factory=list)
    best: Item | None = None
    counts: dict[str, int] = dataclasses.field(default_factory=dict)


@pytest.mark.parametrize(
    "change",
    [
        lambda cart: None,
        lambda cart: cart.items.append(Item("name")),
        lambda cart: cart.items.extend([Item("a", ["tags"]), Item("name")]),
        lambda cart: setattr(cart, "best", Item("best")),
        lambda cart: cart.sizes.update(Size),
        lambda cart: cart.counts.update(name=1, total=2),
        lambda cart: setattr(cart, "total", 3),
    ],
    ids=["nothing", "item", "items", "optional", "enums", "dict", "int-as-float"],
)
def test_reading_a_typed_session_writes_nothing(change: Callable[[Cart], object]) -> None:
    """A handler that only reads a typed session writes nothing, nested dataclasses or not."""
    store = CountedStore()
    sessions = Sessions(storage=MemoryStorage(store), initial=Cart)
    with sessions.open(1) as cart:
        change(cart)
    payload = store["1"]
    for _ in range(3):
        with sessions.open(1) as cart:
            assert cart.name == "cart"

    assert (1, payload) == (store.writes, store["1"])


# Or the save raises.


class Refusing:
    """Does not let itself be pickled."""

    def __reduce__(self) -> Any:
        raise RuntimeError(SECRET)

    def __repr__(self) -> str:
        return SECRET


class Unreadable(Exception):
    """Like many an exception: it pickles, and does not unpickle."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)


class Untouchable:
    """Raises at whatever is asked of it."""

    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError(SECRET)


class BadName(str):
    """A key that cannot be shown."""

    __slots__ = ()

    def __repr__(self) -> str:
        raise RuntimeError(SECRET)


class Turncoat:
    """Pickles well, and comes back as something else."""

    def __reduce__(self) -> Any:
        return int, ()


def generator() -> Iterator[int]:
    yield 1


def local_instance() -> Any:
    class Local:
        pass

    return Local()


def knot() -> list[Any]:
    """A list that holds itself, and then what cannot be stored."""
    value: list[Any] = [{"text": SECRET}]
    value.append(value)
    value.append({"deep": [value, generator()]})
    return value


def deep(levels: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(levels):
        value = [value]
    return value


REFUSED: dict[str, tuple[dict[Any, Any], str, str]] = {
    "generator": ({"made": generator()}, "made", "generator"),
    "function": ({"made": lambda: SECRET}, "made", "function"),
    "lock": ({"made": threading.Lock()}, "made", "lock"),
    "module": ({"made": json}, "made", "module"),
    "local-instance": ({"made": local_instance()}, "made", "Local"),
    "memoryview": ({"made": memoryview(b"hunter2")}, "made", "memoryview"),
    "keys-of-a-dict": ({"made": {SECRET: 1}.keys()}, "made", "dict_keys"),
    "refusing": ({"made": Refusing()}, "made", "Refusing"),
    "nested-ttl": ({"cart": {"apple": ttl(SECRET)}}, "cart['apple']", "Marked"),
    "in-dict": ({"cart": {"apple": 1, "pear": generator()}}, "cart['pear']", "generator"),
    "in-list": ({"log": ["a", "b", generator()]}, "log[2]", "generator"),
    "in-tuple": ({"pair": (1, generator())}, "pair[1]", "generator"),
    "in-attribute": ({"user": Basket(generator())}, "user.content", "generator"),
    "in-dataclass": ({"item": Item("a", [1, generator()])}, "item.tags[1]", "generator"),
    "in-namedtuple": ({"price": Money(1, generator())}, "price[1]", "generator"),
    "in-defaultdict": ({"d": defaultdict(int, a=generator())}, "d['a']", "generator"),
    "in-factory": ({"d": defaultdict(lambda: 1)}, "d", "defaultdict"),
    "deep": (
        {"a": {"b": [({"c": Basket([0, {"d": generator()}])},)]}},
        "a['b'][0][0]['c'].content[1]['d']",
        "generator",
    ),
    "int-key": ({"cart": {7: generator()}}, "cart[7]", "generator"),
    "bool-key": ({"cart": {True: generator()}}, "cart[True]", "generator"),
    "quoted-key": ({"cart": {"it's": generator()}}, 'cart["it\'s"]', "generator"),
    "odd-field-name": ({"a b": [generator()]}, "a b[0]", "generator"),
    "not-unpickling": ({"errors": [Unreadable(1, SECRET)]}, "errors[0]", "Unreadable"),
    "the-second-of-two": ({"a": [SECRET, Item("x")], "b": [generator()]}, "b[0]", "generator"),
    "beside-a-cycle": ({"a": cyclic(), "b": [generator()]}, "b[0]", "generator"),
    "in-a-cycle": ({"a": knot()}, "a[2]['deep'][1]", "generator"),
}


def refusal(fields: dict[Any, Any]) -> EncodeError:
    """The error that saving these fields raises."""
    store = CountedStore()
    write(store, {"kept": "old"})
    payload = store["1"]
    with pytest.raises(EncodeError) as caught:
        write(store, fields)
    assert (1, payload) == (store.writes, store["1"])
    return caught.value


@pytest.mark.parametrize(("fields", "path", "type_name"), list(REFUSED.values()), ids=list(REFUSED))
def test_what_would_not_come_back_is_refused_with_its_path(
    fields: dict[Any, Any], path: str, type_name: str
) -> None:
    """`EncodeError` has the key, the field's path and the type; the old record is as it was."""
    error = refusal({"before": [SECRET], **fields, "after": {SECRET: SECRET}})

    assert ("1", path, type_name) == (error.key, error.path, error.type_name)


@pytest.mark.parametrize("fields", [row[0] for row in REFUSED.values()], ids=list(REFUSED))
def test_a_refusal_shows_no_value(fields: dict[Any, Any]) -> None:
    """`EncodeError` never shows a value, in its text, its data or its traceback."""
    error = refusal({"before": [SECRET], **fields, "after": Item(SECRET)})

    assert SECRET not in f"{error} {error!r} {error.args}"
    assert SECRET not in "".join(traceback.format_exception(error)).replace("SECRET", "")
    assert error.path in str(error)
    assert error.type_name in str(error)


@pytest.mark.parametrize(
    ("key", "shown"),
    [
        (None, "NoneType"),
        (1.5, "float"),
        (b"hunter2", "bytes"),
        ((SECRET, 1), "tuple"),
        (frozenset({SECRET}), "frozenset"),
        (Point(1, 2), "Point"),
        (Color.RED, "Color"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_path_through_an_odd_key_names_its_type(key: Any, shown: str) -> None:
    """Where a path leads through a key that is no `str` or `int`, it shows the key's type."""
    error = refusal({"cart": {key: [generator()]}})

    assert error.path.startswith("cart[")
    assert error.path.endswith("[0]")
    assert shown in error.path
    assert SECRET not in error.path


@pytest.mark.parametrize(
    "key",
    [BadName("x"), 10**5000],
    ids=["a-str-that-cannot-be-shown", "an-int-that-cannot-be-shown"],
)
def test_a_path_through_a_key_that_cannot_be_shown(key: Any) -> None:
    """A key whose `repr` raises does not hide which field could not be saved."""
    error = refusal({"cart": {key: generator()}})

    assert error.path.startswith("cart[")
    assert "generator" == error.type_name


@pytest.mark.parametrize(
    ("value", "path", "type_name"),
    [
        ({1: 1, type(local_instance()): 2}, "(a key of cart)", "type"),
        ({"a": {lambda: 1: 1}}, "(a key of cart['a'])", "function"),
        ([{(1, lambda: 1): 1}], "(a key of cart[0])[1]", "function"),
    ],
    ids=["key", "key-of-nested", "key-inside-tuple"],
)
def test_a_key_that_would_not_come_back_is_named_as_a_key(
    value: Any, path: str, type_name: str
) -> None:
    """The path of a dict's key says that it is a key, and of what."""
    error = refusal({"cart": value})

    assert (path, type_name) == (error.path, error.type_name)


@pytest.mark.parametrize("kind", [set, frozenset])
def test_an_item_of_a_set_that_would_not_come_back_is_named(kind: Any) -> None:
    """The items of a set have no names, so the path says which set it is."""
    error = refusal({"cart": {"tags": kind([1, "a", type(local_instance())])}})

    assert ("(an item of cart['tags'])", "type") == (error.path, error.type_name)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({(1, generator): 0, (1, lambda: 1): 0}, [0, {(lambda: 1): 0}]),
        ({(lambda: 1,)}, [{(lambda: 1)}]),
    ],
    ids=["keys", "items"],
)
def test_two_places_never_have_the_same_path(one: Any, other: Any) -> None:
    """A part of a key is told from a key of a part, and so are the items of sets."""
    assert refusal({"cart": one}).path != refusal({"cart": other}).path


def test_a_session_inside_a_session_is_refused() -> None:
    """A session is no value: storing it in itself or in another raises `EncodeError`."""
    sessions = Sessions(storage=MemoryStorage())

    with pytest.raises(EncodeError) as caught, sessions.open(1) as session:
        session.inner = [session]

    assert "inner[0]" == caught.value.path
    assert "Session" in caught.value.type_name
    assert sessions.peek(1) is None
    assert "made by hand" == refusal({"made by hand": Session(text=SECRET)}).path


def test_a_value_that_raises_at_everything_is_refused() -> None:
    """Not even an object that raises at whatever is asked of it hides which field it is in."""
    error = refusal({"made": [Untouchable()]})

    assert ("made[0]", "Untouchable") == (error.path, error.type_name)


def test_a_value_that_pickles_but_does_not_unpickle_is_refused_at_save() -> None:
    """What pickles but does not come back is refused when it is saved, not lost when loaded."""
    error = refusal({"error": Unreadable(1, SECRET)})

    assert ("error", "Unreadable") == (error.path, error.type_name)


@pytest.mark.parametrize(
    ("hide", "path"),
    [
        (lambda value: value, "values"),
        (lambda value: [1, value], "values[1]"),
        (lambda value: {"a": (1, value)}, "values['a'][1]"),
        (lambda value: {value: 1}, "(a key of values)"),
        (lambda value: {value}, "(an item of values)"),
        (lambda value: OrderedDict(a=value), "values['a']"),
        (lambda value: Basket([value]), "values.content[0]"),
        (lambda value: Item("a", [value]), "values.tags[0]"),
    ],
    ids=["field", "list", "tuple", "key", "set", "ordered-dict", "instance", "dataclass"],
)
def test_a_value_that_comes_back_as_something_else_is_refused(
    hide: Callable[[Any], Any], path: str
) -> None:
    """What you save is what you load, or the save raises."""
    error = refusal({"values": hide(Turncoat())})

    assert (path, "Turncoat") == (error.path, error.type_name)


def test_a_value_that_is_nested_too_deeply_is_refused() -> None:
    """What exceeds pickle's recursion is an `EncodeError` that names the field."""
    error = refusal({"deep": deep(12_000)})

    assert error.path.startswith("deep[0][0]")
    assert "list" == error.type_name


def test_a_refused_session_is_free_for_the_next_update() -> None:
    """After an `EncodeError` the next handler finds the old fields and can save again."""
    sessions = Sessions(storage=MemoryStorage(), lock_timeout=0)
    with sessions.open(1) as session:
        session.counter = 1
    with pytest.raises(EncodeError), sessions.open(1) as session:
        session.update(counter=2, made=generator())

    with sessions.open(1) as session:
        session.counter += 1

    assert {"counter": 2} == sessions.peek(1)


def test_a_handler_may_mend_what_could_not_be_saved() -> None:
    """An `EncodeError` out of `save` leaves the session open, so that the handler can go on."""
    sessions = Sessions(storage=MemoryStorage())
    with sessions.open(1) as session:
        session.made = generator()
        with pytest.raises(EncodeError):
            save(session)
        session.made = list(session.made)

    assert {"made": [1]} == sessions.peek(1)


# Undecodable bytes are a DecodeError with the key, and the record stays.


def undecodable(payload: bytes) -> DecodeError:
    """The error that this payload is for `peek` and `open`, which leave it alone."""
    store = CountedStore({"user 1": payload})
    sessions = Sessions(storage=MemoryStorage(store), lock_timeout=0)
    with pytest.raises(DecodeError) as peeked:
        sessions.peek("user 1")
    for _ in range(2):
        with pytest.raises(DecodeError) as opened, sessions.open("user 1"):
            pass
    assert (0, {"user 1": payload}) == (store.writes, store.data)
    assert ("user 1", "user 1") == (peeked.value.key, opened.value.key)
    assert "user 1" in str(peeked.value)
    assert str(peeked.value) == str(opened.value)
    return opened.value


def with_checksum(pickled: bytes) -> bytes:
    """A payload as PickleCodec writes it, whatever is in it."""
    return pickled + zlib.crc32(pickled).to_bytes(4, "little")


RECORD = {"fields": {"counter": 1}}


def test_a_payload_is_a_pickle_and_its_checksum() -> None:
    """The payloads that these tests make by hand are of the codec's own format."""
    payload = with_checksum(pickle.dumps(RECORD, 5))

    assert payload == PickleCodec().encode(RECORD, "1")
    assert {"counter": 1} == read({"1": payload})


FOREIGN: dict[str, bytes] = {
    "nothing": b"",
    "json": json.dumps(RECORD).encode(),
    "json-with-bom": b"\xef\xbb\xbf" + json.dumps(RECORD).encode(),
    "text": b"counter=1",
    "zeros": bytes(100),
    "marshal": marshal.dumps(RECORD),
    "messagepack": b"\x81\xa6fields\x81\xa7counter\x01",
    "compressed": zlib.compress(pickle.dumps(RECORD, 5)),
    "encrypted": b"gAAAAABl" + bytes(range(48, 112)),
    **{f"pickle-protocol-{n}": pickle.dumps(RECORD, n) for n in range(5)},
    "pickle-of-the-future": b"\x80\x06" + pickle.dumps(RECORD, 5)[2:],
    "only-the-head": pickle.dumps(RECORD, 5)[:2],
    "only-the-frame": pickle.dumps(RECORD, 5)[:11],
}


@pytest.mark.parametrize("payload", list(FOREIGN.values()), ids=list(FOREIGN))
def test_bytes_of_another_format_are_a_decode_error(payload: bytes) -> None:
    """A payload says what it is: a codec never guesses, and the record stays as it was."""
    assert undecodable(payload).reason


OTHER_SHAPES: dict[str, Any] = {
    "none": None,
    "list": [],
    "str": "fields",
    "empty": {},
    "only-fields": {"counter": 1},
    "fields-none": {"fields": None},
    "fields-list": {"fields": [("counter", 1)]},
    "fields-instance": {"fields": Basket(1)},
    "fields-subclass": {"fields": OrderedDict(counter=1)},
    "name-is-no-str": {"fields": {1: 1}},
    "name-is-none": {"fields": {None: 1}},
    "name-is-a-subclass": {"fields": {Size.SMALL: 1}},
    "ttl-list": {**RECORD, "ttl": [("counter", 30.0, 5.0)]},
    "ttl-number": {**RECORD, "ttl": 0},
    "ttl-empty-tuple": {**RECORD, "ttl": ()},
    "mark-none": {**RECORD, "ttl": {"counter": None}},
    "mark-short": {**RECORD, "ttl": {"counter": [30.0]}},
    "mark-long": {**RECORD, "ttl": {"counter": [30.0, 5.0, 1.0]}},
    "mark-name": {**RECORD, "ttl": {1: [30.0, 5.0]}},
    "lifetime-none": {**RECORD, "ttl": {"counter": [None, 5.0]}},
    "lifetime-str": {**RECORD, "ttl": {"counter": ["30", 5.0]}},
    "lifetime-nan": {**RECORD, "ttl": {"counter": [float("nan"), 5.0]}},
    "lifetime-negative": {**RECORD, "ttl": {"counter": [-30.0, 5.0]}},
    "lifetime-huge": {**RECORD, "ttl": {"counter": [10**400, 5.0]}},
    "lifetime-complex": {**RECORD, "ttl": {"counter": [30j, 5.0]}},
    "deadline-none": {**RECORD, "ttl": {"counter": [30.0, None]}},
    "deadline-str": {**RECORD, "ttl": {"counter": [30.0, "5"]}},
    "deadline-nan": {**RECORD, "ttl": {"counter": [30.0, float("nan")]}},
    "deadline-huge": {**RECORD, "ttl": {"counter": [30.0, 10**400]}},
    "deadline-complex": {**RECORD, "ttl": {"counter": [30.0, 5j]}},
    "deadline-list": {**RECORD, "ttl": {"counter": [30.0, [5.0]]}},
}


@pytest.mark.parametrize("record", list(OTHER_SHAPES.values()), ids=list(OTHER_SHAPES))
def test_a_record_of_another_shape_is_a_decode_error(record: Any) -> None:
    """What unpickles but is not the record of a session is refused, not guessed at."""
    assert undecodable(with_checksum(pickle.dumps(record, 5))).reason


@contextmanager
def module_with_class(**methods: Any) -> Iterator[Any]:
    """A class in a module that is there while the block runs."""
    module = types.ModuleType("shop_of_last_year")
    cls = type("Product", (), {"__module__": module.__name__, **methods})
    module.Product = cls  # type: ignore[attr-defined]
    sys.modules[module.__name__] = module
    try:
        yield cls
    finally:
        del sys.modules[module.__name__]


def test_a_record_that_needs_a_module_that_is_gone_says_so() -> None:
    """Where code has moved, `DecodeError` names the module, and the record stays."""
    with module_with_class() as cls:
        payload = payload_of({"product": cls()})

    assert "shop_of_last_year" in undecodable(payload).reason


def test_a_record_that_needs_a_class_that_is_gone_says_so() -> None:
    """Where a class was renamed, `DecodeError` names it, and the record stays."""
    with module_with_class() as cls:
        payload = payload_of({"product": cls()})
        del sys.modules[cls.__module__].Product  # type: ignore[attr-defined]
        reason = undecodable(payload).reason

    assert "Product" in reason


@pytest.mark.parametrize("error", [AttributeError, ImportError, KeyError, ValueError, MemoryError])
def test_a_class_that_cannot_read_its_old_state_shows_no_value(error: type[Exception]) -> None:
    """Whatever a value raises while it is loaded, the `DecodeError` does not quote it."""

    def refuse(_self: Any, state: dict[str, Any]) -> None:
        raise error(f"what shall I do with {state}?")

    with module_with_class() as cls:
        product = cls()
        product.text = SECRET
        payload = payload_of({"product": product})
        cls.__setstate__ = refuse
        decode_error = undecodable(payload)

    assert SECRET not in f"{decode_error} {decode_error!r} {decode_error.args}"


def test_a_damaged_record_shows_no_value() -> None:
    """A flipped byte that makes a name of a stored value does not bring it into the message."""
    payload = payload_of({"code": SECRET})
    damaged = payload.replace(b"\x94ss.", b"\x94\x93s.")
    error = undecodable(damaged)

    assert payload != damaged
    assert SECRET not in f"{error} {error!r} {error.args}"
    assert SECRET not in "".join(traceback.format_exception(error, chain=False))


def test_every_truncated_record_is_a_decode_error() -> None:
    """A record that was cut anywhere is refused."""
    payload = payload_of({"name": "Ann", "cart": {"apple": [1, 2.5]}, "code": ttl("1234", 300)})
    codec = PickleCodec()

    for length in range(len(payload)):
        with pytest.raises(DecodeError):
            codec.decode(payload[:length], "1")


@pytest.mark.parametrize(
    "opcodes",
    [
        b"K\x01r\x00\x00\x10\x00.",
        b"K\x01p1048576\n.",
        b"B\x00\x00\x10\x00.",
        b"X\x00\x00\x10\x00.",
        b"\x8e\x00\x00\x10\x00\x00\x00\x00\x00.",
        b"\x96\x00\x00\x10\x00\x00\x00\x00\x00.",
        b"\x8b\x00\x00\x10\x00.",
    ],
    ids=["memo", "text-memo", "bytes", "str", "long-bytes", "bytearray", "int"],
)
def test_a_few_damaged_bytes_do_not_cost_the_memory_of_the_bot(opcodes: bytes) -> None:
    """A damaged length is a `DecodeError`, and not an allocation of what it says."""
    tracemalloc.start()
    try:
        undecodable(b"\x80\x05" + opcodes)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert peak < 2**19


@pytest.fixture
def little_memory() -> Iterator[None]:
    """Lets huge allocations fail at once, so that a damaged length is no danger to the machine."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    with open("/proc/self/statm") as statm:
        size = int(statm.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + 2**26, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


def test_a_mutated_record_never_raises_anything_else(little_memory: None) -> None:
    """
    20,000 mutated payloads: each is read, or is a `DecodeError` with the key and left alone.

    Every other one has the right checksum, as if somebody had written it on purpose.
    """
    payloads = [
        payload_of({"counter": 1}),
        payload_of({"name": "Ann", "cart": {"apple": [1, 2.5, None]}, "log": ["a", "b"] * 5}),
        payload_of(
            {"tags": {"a", "b"}, "ids": frozenset({1, 2}), "pair": (1, (2,)), "big": 10**40}
        ),
        payload_of({"at": datetime(2026, 1, 1, tzinfo=UTC), "item": Item("a", [1]), "raw": b"x"}),
        payload_of({"code": ttl("1234", 300), "counter": 1, "log": ttl(["a"], 30)}),
    ]
    rng = random.Random(2026)
    store: dict[str, bytes] = {}
    sessions = Sessions(storage=MemoryStorage(store), lock_timeout=0)
    outcomes: Counter[str] = Counter()

    def attempt(use: Callable[[], object], payload: bytes) -> str:
        store["1"] = payload
        try:
            use()
        except DecodeError as error:
            kept = store == {"1": payload} and error.key == "1"
            return "refused" if kept else "refused, and changed"
        except Exception as error:
            return f"{type(error).__name__} for {payload!r}"
        return "read" if store.get("1") else "read, and lost"

    def open_it() -> None:
        with sessions.open(1):
            pass

    for number in range(20_000):
        payload = mutated(rng.choice(payloads), payloads, rng)
        if number % 2:
            payload = with_checksum(payload[:-4])
        peeked = attempt(lambda: sessions.peek(1), payload)
        opened = attempt(open_it, payload)
        outcomes[peeked if peeked == opened else f"{peeked} by peek, {opened} by open"] += 1

    assert {"read", "refused"} == set(outcomes)


def test_an_encode_error_names_what_to_do() -> None:
    """`EncodeError` says what to store instead."""
    assert "store" in refusal({"made": generator()}).reason


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
