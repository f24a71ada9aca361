"""Typed sessions: the injected session is an instance of the user's own dataclass."""

from __future__ import annotations

import copy
import dataclasses
import enum
import functools
import pickle
import traceback
import uuid
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, InitVar, dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    ClassVar,
    Generic,
    Literal,
    NamedTuple,
    NotRequired,
    Optional,
    TypedDict,
    TypeVar,
)

import clocks
import freezegun
import pytest
from counted import CountedStore
from hypothesis import given, settings, strategies as st
from telebot import types
from updates import ANNA, BORIS, message, private

from telesession import (
    DecodeError,
    EncodeError,
    MemoryStorage,
    Session,
    SessionClosedError,
    SessionError,
    Sessions,
    as_dict,
    forget,
    save,
    session_key,
    ttl,
    ttl_left,
    with_session,
)

if TYPE_CHECKING:
    from freezegun.api import FrozenDateTimeFactory

clock = clocks.clock

T = TypeVar("T")


class Color(enum.Enum):
    """An enum of strings."""

    RED = "red"
    BLUE = "blue"


class Size(enum.IntEnum):
    """An enum of ints that are ints."""

    SMALL = 1
    LARGE = 2


class Mood(enum.StrEnum):
    """An enum of strings that are strings."""

    GOOD = "good"
    BAD = "bad"


class Right(enum.Flag):
    """Flags."""

    READ = 1
    WRITE = 2


class Bit(enum.IntFlag):
    """Flags that are ints."""

    LOW = 1
    HIGH = 2


class Planet(enum.Enum):
    """An enum of values that msgspec does not take."""

    EARTH = (5.97, 6.37)


@dataclass
class Item:
    """A nested dataclass."""

    name: str = "tea"
    count: int = 0


@dataclass
class SpecialItem(Item):
    """The same with more."""

    gift: bool = True


@dataclass
class OtherItem:
    """Another class with the same fields."""

    name: str = "tea"
    count: int = 0


@dataclass(frozen=True)
class Tag:
    """A nested dataclass that can be in a set."""

    text: str = "new"
    color: Color = Color.RED


@dataclass(slots=True, kw_only=True)
class Slotted:
    """A nested dataclass with slots."""

    count: int = 0


@dataclass
class Doubled:
    """A nested dataclass with a field that is not a parameter."""

    count: int = 1
    double: int = field(init=False)

    def __post_init__(self) -> None:
        self.double = self.count * 2


@dataclass
class Tree:
    """A nested dataclass that refers to itself."""

    children: list[Tree] = field(default_factory=list)
    parent: Tree | None = None


@dataclass(eq=False)
class Place:
    """A dataclass whose instances are equal to themselves only, and may be a default."""

    x: int = 0


@dataclass
class Note:
    """A dataclass that compares by one of its fields."""

    number: int = 0
    text: str = field(default="", compare=False)


@dataclass
class Strict:
    """A nested dataclass that quotes what it refuses."""

    text: str = ""

    def __post_init__(self) -> None:
        if self.text:
            raise ValueError(f"cannot have {self.text}")


@dataclass
class Seeded:
    """A dataclass with a parameter that is no field."""

    count: int = 1
    seed: InitVar[int] = 3

    def __post_init__(self, seed: int) -> None:
        self.count += seed


class Point(NamedTuple):
    """A named tuple."""

    x: int
    y: int = 0


class Line(NamedTuple):
    """A named tuple with a dataclass and an enum in it."""

    item: Item
    color: Color


class Options(TypedDict):
    """A typed dict."""

    size: int
    label: NotRequired[str]


class Order(TypedDict):
    """A typed dict with a dataclass in it."""

    item: Item


class Money:
    """A class of the user, without fields."""

    def __init__(self, amount: int) -> None:
        self.amount = amount

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Money) and self.amount == other.amount

    __hash__ = None  # type: ignore[assignment]


@dataclass
class Cart:
    """A session as a bot has it."""

    owner: str = "nobody"
    items: list[Item] = field(default_factory=list)
    color: Color = Color.RED
    limit: ClassVar[int] = 3
    _hidden: int = 0

    def add(self, name: str) -> Item:
        item = Item(name, 1)
        self.items.append(item)
        return item

    @property
    def total(self) -> int:
        return sum(item.count for item in self.items)

    @total.setter
    def total(self, count: int) -> None:
        self.items = [Item("all", count)]

    @functools.cached_property
    def names(self) -> list[str]:
        return [item.name for item in self.items]

    @classmethod
    def of(cls, owner: str) -> Cart:
        return cls(owner)

    @staticmethod
    def currency() -> str:
        return "EUR"


@dataclass
class GiftCart(Cart):
    """A session that inherits."""

    _: KW_ONLY
    wrapped: bool = False

    def add(self, name: str) -> Item:
        item = super().add(name)
        item.count += 1
        return item


@dataclass
class Basket:
    """Another session that shows some of the fields of a `Cart`."""

    items: list[Item] = field(default_factory=list)
    color: Color = Color.RED
    coupon: str = ""


@dataclass
class Login:
    """A session with fields that have no default."""

    user: str
    code: str


@pytest.fixture
def storage() -> MemoryStorage:
    """An empty storage."""
    return MemoryStorage()


def of(initial: Any, storage: MemoryStorage) -> Sessions[Any]:
    """Typed sessions in a storage."""
    return Sessions(initial=initial, storage=storage)


def store(storage: MemoryStorage, **fields: Any) -> None:
    """Store a record by a handler that knows nothing of types."""
    with Sessions(storage=storage).open(1) as session:
        session.clear()
        session.update(fields)


def stored(storage: MemoryStorage) -> dict[str, Any] | None:
    """What is stored, as plain data."""
    return Sessions(storage=storage).peek(1)


def holder(hint: Any, default: Any) -> Any:
    """A dataclass with one field, `value`."""
    made = field(default_factory=lambda: copy.deepcopy(default))
    return dataclasses.make_dataclass("Holder", [("value", hint, made)])


def assign(sessions: Sessions[Any], value: Any) -> None:
    """Set the one field of a holder."""
    with sessions.open(1) as session:
        session.value = value


def message_of(person: dict[str, Any]) -> types.Message:
    """A message as telebot reads it off the wire."""
    return types.Message.de_json(message(private(person), person))


# An instance of the dataclass


def make_cart(message: types.Message) -> Cart:
    """A cart that knows its owner."""
    return Cart(message.from_user.first_name)


def make_unannounced(*_args: Any) -> Any:
    """A cart, but only a call tells."""
    return Cart("Anna")


@pytest.mark.parametrize("initial", [Cart, make_cart, make_unannounced])
def test_a_handler_gets_an_instance(storage: MemoryStorage, initial: Any) -> None:
    """When `initial` is a dataclass or returns an instance, the injected session is one."""
    handler_got: list[Any] = []

    @with_session(initial=initial, storage=storage)
    def handler(message: types.Message, session: Cart) -> int:
        handler_got.append(isinstance(session, Cart))
        session.add("apple")
        return session.total

    assert [1, 2, 1] == [handler(message_of(person)) for person in (ANNA, ANNA, BORIS)]
    assert [True, True, True] == handler_got


def test_an_instance_is_of_a_generated_subclass_with_the_name(storage: MemoryStorage) -> None:
    """The class is a generated subclass that looks like the dataclass itself."""
    with of(Cart, storage).open(1) as session:
        kind = type(session)
    assert (True, "Cart", Cart.__module__, Cart.__doc__) == (
        issubclass(kind, Cart),
        kind.__name__,
        kind.__module__,
        kind.__doc__,
    )


def test_methods_work(storage: MemoryStorage) -> None:
    """Methods, class methods and static methods are those of the dataclass, `super()` included."""
    with of(GiftCart, storage).open(1) as session:
        item = session.add("apple")
        of_class = session.of("Anna")
        assert (2, True, "EUR") == (item.count, item is session.items[0], session.currency())
    assert (GiftCart("Anna"), GiftCart) == (of_class, type(of_class))


def test_properties_work(storage: MemoryStorage) -> None:
    """A property is computed from the fields, and its setter changes them."""
    with of(Cart, storage).open(1) as session:
        session.total = 5
        assert (5, [Item("all", 5)]) == (session.total, session.items)
    with of(Cart, storage).open(1) as session:
        assert 5 == session.total


def test_a_property_without_a_setter_stays_read_only(storage: MemoryStorage) -> None:
    """A read-only property refuses assignment, as it does in the dataclass."""

    @dataclass
    class Square:
        side: int = 2

        @property
        def area(self) -> int:
            return self.side**2

    with of(Square, storage).open(1) as session:
        with pytest.raises(AttributeError, match="area"):
            session.area = 9
        assert (4, {"side": 2}) == (session.area, as_dict(session))


def test_a_cached_property_lasts_for_one_handler(storage: MemoryStorage) -> None:
    """A cached property is computed once in a handler, and is no part of the record."""
    sessions = of(Cart, storage)
    with sessions.open(1) as session:
        session.add("apple")
        first = session.names
        session.add("pear")
        assert (["apple"], True) == (session.names, session.names is first)
    with sessions.open(1) as session:
        assert ["apple", "pear"] == session.names
    assert {"owner", "items", "color", "_hidden"} == (stored(storage) or {}).keys()


def test_class_variables_are_of_the_class(storage: MemoryStorage) -> None:
    """A `ClassVar` can be read, is never stored, and cannot be assigned through a session."""
    with of(Cart, storage).open(1) as session:
        assert (3, False) == (session.limit, "limit" in as_dict(session))
        with pytest.raises(AttributeError, match="declares no field 'limit'"):
            session.limit = 4
    assert 3 == Cart.limit


def test_a_parameter_that_is_no_field_is_used_once(storage: MemoryStorage) -> None:
    """An `InitVar` goes to `__post_init__` of the new session and is not stored."""
    for _ in range(2):
        with of(Seeded, storage).open(1) as session:
            assert (4, {"count": 4}) == (session.count, as_dict(session))


def test_post_init_runs_when_a_session_begins(storage: MemoryStorage) -> None:
    """`__post_init__` runs when the session is made from `initial`, not when it is loaded."""
    with of(Doubled, storage).open(1) as session:
        session.count = 5
    with of(Doubled, storage).open(1) as session:
        assert (5, 2) == (session.count, session.double)


def test_keyword_only_and_inherited_fields_are_fields(storage: MemoryStorage) -> None:
    """Inherited fields and those after `KW_ONLY` are stored like any other."""
    with of(GiftCart, storage).open(1) as session:
        session.wrapped, session.owner = True, "Anna"
    with of(GiftCart, storage).open(1) as session:
        assert GiftCart("Anna", wrapped=True) == session


def test_a_name_with_an_underscore_is_a_field_if_declared(storage: MemoryStorage) -> None:
    """A declared field is an attribute whatever it is named."""
    with of(Cart, storage).open(1) as session:
        session._hidden += 1
    with of(Cart, storage).open(1) as session:
        assert (1, 1) == (session._hidden, (stored(storage) or {})["_hidden"])


def test_fields_may_be_named_like_methods_of_a_mapping(storage: MemoryStorage) -> None:
    """A field always wins: in a typed session `items`, `keys` and the like are fields, too."""
    names = [name for name in dir(dict) if not name.startswith("_")]
    kind = dataclasses.make_dataclass("Names", [(name, int, 0) for name in names])
    sessions = of(kind, storage)
    with sessions.open(1) as session:
        for name in names:
            setattr(session, name, getattr(session, name) + 1)
        session.pop = ttl(session.pop, 60)
    with sessions.open(1) as session:
        assert dict.fromkeys(names, 1) == dataclasses.asdict(session) == as_dict(session)


def test_a_generic_dataclass_can_be_a_session(storage: MemoryStorage) -> None:
    """A dataclass with a type variable is one whose field takes plain data of any type."""

    @dataclass
    class Box(Generic[T]):
        value: T | None = None

    sessions = of(Box, storage)
    assign(sessions, ["a"])
    with sessions.open(1) as session:
        assert ["a"] == session.value


# dataclasses' own functions, comparison, copying


def test_the_functions_of_dataclasses_work(storage: MemoryStorage) -> None:
    """`dataclasses.asdict`, `astuple`, `fields` and `is_dataclass` take a session."""
    with of(Cart, storage).open(1) as session:
        session.add("apple")
        expected = Cart(items=[Item("apple", 1)])
        assert dataclasses.asdict(expected) == dataclasses.asdict(session)
        assert dataclasses.astuple(expected) == dataclasses.astuple(session)
        assert dataclasses.fields(Cart) == dataclasses.fields(session)
        assert True is dataclasses.is_dataclass(session)


def test_replace_makes_an_instance_that_belongs_to_no_session(storage: MemoryStorage) -> None:
    """`dataclasses.replace` gives a plain instance; what happens to it is not saved."""
    with of(Cart, storage).open(1) as session:
        replaced = dataclasses.replace(session, owner="Anna")
        replaced.color = Color.BLUE
        assert (Cart, Cart()) == (type(replaced), session)
    assert Cart("Anna", color=Color.BLUE) == replaced


@pytest.mark.parametrize("make_copy", [copy.copy, copy.deepcopy])
def test_a_copy_is_a_plain_instance(
    storage: MemoryStorage, make_copy: Callable[[Any], Any]
) -> None:
    """A copy of a session is an instance of the dataclass that belongs to no session."""
    with of(Cart, storage).open(1) as session:
        session.add("apple")
        copied = make_copy(session)
        shared = copied.items is session.items
        assert (Cart, session, make_copy is copy.copy) == (type(copied), copied, shared)
    copied.owner = "Anna"
    assert "nobody" == (stored(storage) or {})["owner"]


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_typed_session_cannot_be_pickled(storage: MemoryStorage, protocol: int) -> None:
    """Pickling a typed session is refused with what to do instead."""
    with (
        of(Cart, storage).open(1) as session,
        pytest.raises(TypeError, match=r"cannot be pickled; store or send as_dict\(session\)"),
    ):
        pickle.dumps(session, protocol)


def test_sessions_compare_with_instances(storage: MemoryStorage) -> None:
    """`==` and `!=` work in both directions, as between two instances of the dataclass."""
    with of(Cart, storage).open(1) as session, of(Cart, storage).open(2) as twin:
        assert (True, True, True) == (session == Cart(), Cart() == session, session == twin)
        assert (False, False, False) == (session != Cart(), Cart() != session, session != twin)
        session.owner = "Anna"
        assert (False, False, False) == (session == Cart(), Cart() == session, session == twin)
        assert (True, True, True) == (session != Cart(), Cart() != session, session != twin)
        assert (True, False) == (session == session, session == 5)  # noqa: PLR0124


def test_sessions_are_not_equal_to_other_classes(storage: MemoryStorage) -> None:
    """As with any two dataclasses, a session equals instances of its own class only."""
    with of(Item, storage).open(1) as session:
        assert (True, False, False) == (
            session == Item(),
            session == OtherItem(),
            session == SpecialItem(),
        )


def test_sessions_that_lack_a_field_compare(
    clock: FrozenDateTimeFactory, storage: MemoryStorage
) -> None:
    """A session of which a field without default has expired is equal to no whole instance."""
    with of(lambda: Login("anna", ttl("1234", 300)), storage).open(1) as session:
        before = session == Login("anna", "1234")
        clock.tick(300)
        after = session == Login("anna", "1234"), Login("anna", "1234") == session
    assert (True, (False, False)) == (before, after)


def test_ordered_dataclasses_compare(storage: MemoryStorage) -> None:
    """With `order=True` a session has the methods that compare, in both directions."""

    @dataclass(order=True)
    class Score:
        points: int = 2

    with of(Score, storage).open(1) as session:
        assert (True, True, False, False) == (
            session < Score(3),
            session <= Score(2),
            session > Score(2),
            session >= Score(3),
        )
        assert (True, True, False, False) == (
            Score(1) < session,
            Score(2) <= session,
            Score(2) > session,
            Score(1) >= session,
        )
        assert [1, 2, 3] == [score.points for score in sorted([Score(3), session, Score(1)])]


def test_a_hash_is_that_of_the_dataclass(storage: MemoryStorage) -> None:
    """With `unsafe_hash=True` a session has the hash of an equal instance; else it has none."""

    @dataclass(unsafe_hash=True)
    class Hashed:
        points: int = 2

    with of(Hashed, storage).open(1) as session:
        session.points = 3
        assert hash(Hashed(3)) == hash(session)
    with of(Cart, storage).open(2) as session, pytest.raises(TypeError, match="unhashable"):
        hash(session)


def test_without_eq_a_session_equals_itself_only(storage: MemoryStorage) -> None:
    """With `eq=False` a session is equal to itself only and has a hash, as its instances do."""
    with of(Place, storage).open(1) as session, of(Place, storage).open(2) as other:
        assert (True, False) == (session == session, session != session)  # noqa: PLR0124
        assert (False, False, False) == (session == Place(), Place() == session, session == other)
        assert {session} == {session, session}


def test_special_methods_of_the_user_work(storage: MemoryStorage) -> None:
    """`__eq__`, `__setattr__`, `__getattr__`, `__len__` and the like are those of the user."""

    @dataclass
    class Own:
        points: int = 1
        other: int = 2

        def __eq__(self, other: object) -> bool:
            return isinstance(other, Own) and self.points == other.points

        __hash__ = None  # type: ignore[assignment]

        def __setattr__(self, name: str, value: Any) -> None:
            super().__setattr__(name, abs(value))

        def __getattr__(self, name: str) -> str:
            if name.startswith("the_"):
                return name.removeprefix("the_")
            raise AttributeError(name)

        def __len__(self) -> int:
            return self.points

        def __str__(self) -> str:
            return f"{self.points} points"

    with of(Own, storage).open(1) as session:
        session.points = -5
        assert (5, "name", "5 points") == (len(session), session.the_name, str(session))
        assert (True, True, True) == (session == Own(5, 9), Own(5, 9) == session, session != Own())
        with pytest.raises(AttributeError, match="missing"):
            _ = session.missing
    assert {"points": 5, "other": 2} == stored(storage)


def test_repr_is_never_that_of_the_user(storage: MemoryStorage) -> None:
    """`repr` shows the key and field names, never values, even if the dataclass has its own."""

    @dataclass
    class Talkative:
        text: str = "private"

        def __repr__(self) -> str:
            return f"Talkative({self.text})"

    with of(Talkative, storage).open("anna") as session:
        assert "<Talkative 'anna': text>" == repr(session)
    assert "<Talkative 'anna' (closed): text>" == repr(session)


@settings(max_examples=30)
@given(owner=st.text(), names=st.lists(st.text(), max_size=3))
def test_repr_depends_on_the_names_alone(owner: str, names: list[str]) -> None:
    """The `repr` of a typed session is the same whatever its values are."""
    with (
        of(Cart, MemoryStorage()).open(1) as session,
        of(Cart, MemoryStorage()).open(1) as blank,
    ):
        session.owner = owner
        for name in names:
            session.add(name)
        assert repr(blank) == repr(session)
        assert (str(blank), f"{blank}") == (str(session), f"{session}")


# Defaults


def test_never_stored_fields_read_as_their_default(storage: MemoryStorage) -> None:
    """New fields of the dataclass read as their declared default where a record is older."""
    store(storage, owner="Anna")
    with of(Cart, storage).open(1) as session:
        assert Cart("Anna") == session


def test_reading_a_default_writes_nothing() -> None:
    """A handler that only reads defaults of an older record writes nothing."""

    @dataclass
    class Defaults:
        number: int = 1
        items: list[Item] = field(default_factory=list)
        place: Place = field(default_factory=Place)
        color: Color = Color.RED

    records = CountedStore()
    storage = MemoryStorage(records)
    store(storage, owner="Anna")
    with of(Defaults, storage).open(1) as session:
        seen = session.number, session.items, session.place.x, session.color
    assert ((1, [], 0, Color.RED), 1) == (seen, records.writes)


def double(items: Any) -> None:
    """Replace the ints of a list by equal floats."""
    items[:] = map(float, items)


def rotate(counts: Any) -> None:
    """Put the first item of a dict last."""
    counts[first] = counts.pop(first := next(iter(counts)))


CHANGED_DEFAULTS: dict[str, tuple[Any, Any, Callable[[Any], Any]]] = {
    "list": (list[int], [], lambda value: value.append(1)),
    "dict": (dict[str, int], {}, lambda value: value.update(a=1)),
    "set": (set[int], set(), lambda value: value.add(1)),
    "dataclass": (Item, Item(), lambda value: setattr(value, "count", 1)),
    "deep": (list[list[int]], [[]], lambda value: value[0].append(1)),
    "to an equal value": (list[float], [1, 2], double),
    "of order": (dict[str, int], {"a": 1, "b": 2}, rotate),
    "beside equality": (Note, Note(), lambda value: setattr(value, "text", "hello")),
    "without equality": (Place, Place(), lambda value: setattr(value, "x", 1)),
    "custom": (Money, Money(1), lambda value: setattr(value, "amount", 2)),
}


@pytest.mark.parametrize("case", CHANGED_DEFAULTS.values(), ids=CHANGED_DEFAULTS)
def test_a_change_inside_a_default_is_saved(
    storage: MemoryStorage, case: tuple[Any, Any, Callable[[Any], Any]]
) -> None:
    """Nested changes count, also in a default that was never stored, whatever `==` says."""
    hint, default, change = case
    expected = copy.deepcopy(default)
    change(expected)
    sessions = of(holder(hint, default), storage)
    store(storage, other=1)
    with sessions.open(1) as session:
        change(session.value)
    with sessions.open(1) as session:
        assert pickle.dumps(expected) == pickle.dumps(session.value)


def test_a_default_that_was_changed_and_is_not_yet_stored_is_a_field(
    storage: MemoryStorage,
) -> None:
    """What a handler put into a default shows at once: in `as_dict` and in other views."""
    store(storage, owner="Anna")
    with of(Cart, storage).open(1) as session:
        session.add("apple")
        snapshot = as_dict(session)
        with Sessions(storage=storage).open(1) as untyped:
            seen = "items" in untyped
    assert ({"owner": "Anna", "items": [Item("apple", 1)]}, True) == (snapshot, seen)


def test_a_default_that_an_inner_handler_changed_is_a_field(storage: MemoryStorage) -> None:
    """What a nested call put into a default is there for the handler that called it."""
    store(storage, owner="Anna")
    with Sessions(storage=storage).open(1) as untyped:
        with of(Cart, storage).open(1) as session:
            session.add("apple")
        assert [Item("apple", 1)] == untyped["items"]


def test_a_default_is_over_once_its_field_was_deleted(storage: MemoryStorage) -> None:
    """A default that was changed does not come back after the field itself was there."""
    store(storage, owner="Anna")
    with Sessions(storage=storage).open(1) as untyped, of(Cart, storage).open(1) as session:
        session.add("apple")
        untyped["items"] = []
        as_dict(session)
        del untyped["items"]
        assert [] == session.items
    assert {"owner": "Anna"} == stored(storage)


def test_a_default_is_given_once_in_a_handler(storage: MemoryStorage) -> None:
    """Reading a default again gives the same object, as reading a field does."""
    store(storage, owner="Anna")
    with of(Cart, storage).open(1) as session:
        assert session.items is session.items


def test_deleting_a_field_brings_its_default_back(storage: MemoryStorage) -> None:
    """A deleted field reads as its declared default, a new one, and is not stored any more."""
    with of(Cart, storage).open(1) as session:
        session.owner = "Anna"
        session.add("apple")
    with of(Cart, storage).open(1) as session:
        del session.owner, session.items
        assert ("nobody", []) == (session.owner, session.items)
    assert {"color": "red", "_hidden": 0} == stored(storage)


def test_deleting_a_changed_default_brings_a_new_one(storage: MemoryStorage) -> None:
    """A default that was changed and saved can be deleted like any field."""
    store(storage, owner="Anna")
    with of(Cart, storage).open(1) as session:
        session.add("apple")
        save(session)
        del session.items
        assert [] == session.items
    assert {"owner": "Anna"} == stored(storage)


def test_assigning_replaces_a_changed_default(storage: MemoryStorage) -> None:
    """An assignment wins over what was put into the default before."""
    store(storage, owner="Anna")
    with of(Cart, storage).open(1) as session:
        session.add("apple")
        session.items = []
    assert {"owner": "Anna", "items": []} == stored(storage)


SHARED_ITEMS: list[Item] = []


@dataclass
class Sharing:
    """A session whose defaults are objects that exist only once."""

    place: Place = Place()  # noqa: RUF009
    items: list[Item] = field(default_factory=lambda: SHARED_ITEMS)


@pytest.mark.parametrize("older", [False, True], ids=["new session", "older record"])
def test_users_share_no_default(storage: MemoryStorage, older: bool) -> None:
    """A mutable default, or a factory's shared object, does not leak from one user to another."""
    sessions = of(Sharing, storage)
    for key in (1, 2) if older else ():
        with Sessions(storage=storage).open(key) as session:
            session.other = 1
    with sessions.open(1) as session:
        session.place.x = 9
        session.items.append(Item())
    with sessions.open(2) as session:
        assert (0, []) == (session.place.x, session.items)
    with sessions.open(1) as session:
        assert (9, [Item()]) == (session.place.x, session.items)
    assert (0, []) == (Sharing().place.x, SHARED_ITEMS)


def test_a_field_without_default_is_missing(storage: MemoryStorage) -> None:
    """A field that was never stored and has no default is an `AttributeError` that says which."""
    store(storage, user="anna")
    with of(lambda: Login("", ""), storage).open(1) as session:
        assert ("anna", False) == (session.user, hasattr(session, "code"))
        with pytest.raises(AttributeError, match=r"^session '1' has no field 'code'$"):
            _ = session.code
        with pytest.raises(AttributeError, match=r"^session '1' has no field 'code'$"):
            del session.code


def test_an_init_false_field_without_value_is_missing(storage: MemoryStorage) -> None:
    """A field that is no parameter and that nobody has set yet is missing, and can be set."""

    @dataclass
    class Later:
        count: int = 1
        result: int = field(init=False)

    with of(Later, storage).open(1) as session:
        missing = hasattr(session, "result")
        session.result = 5
    with of(Later, storage).open(1) as session:
        assert (False, 5) == (missing, session.result)


# Fields with a lifetime


@dataclass
class Marked:
    """A session in which every kind of default has a lifetime."""

    code: str = ttl("none", 60)
    tries: list[str] = field(default_factory=lambda: ttl([], 60))
    plain: int = 0


def test_expired_fields_read_as_their_default(
    clock: FrozenDateTimeFactory, storage: MemoryStorage
) -> None:
    """Expired fields read as their declared default; the bare value, without the mark."""
    with of(Marked, storage).open(1) as session:
        session.code = "1234"
        session.tries.append("1111")
        clock.tick(60 - 1e-6)
        before = session.code, session.tries
        clock.tick(1e-6)
        after = session.code, session.tries
    assert (("1234", ["1111"]), ("none", [])) == (before, after)
    assert {"plain": 0} == stored(storage)


def test_a_mark_in_a_default_gives_every_session_a_lifetime(
    clock: FrozenDateTimeFactory, storage: MemoryStorage
) -> None:
    """`ttl(...)` as a default or from its factory marks the field of each new session."""
    with of(Marked, storage).open(1) as session:
        left = [ttl_left(session, name) for name in ("code", "tries", "plain")]
        assert ([60, 60, None], "none", []) == (left, session.code, session.tries)


def test_assigning_an_expired_field_starts_its_lifetime_again(
    clock: FrozenDateTimeFactory, storage: MemoryStorage
) -> None:
    """The mark outlives the value: an assignment starts its lifetime again."""
    sessions = of(Marked, storage)
    with sessions.open(1):
        pass
    clock.tick(60)
    with sessions.open(1) as session:
        session.code = "9876"
        session.tries.append("2222")
    with sessions.open(1) as session:
        assert (60, 60) == (ttl_left(session, "code"), ttl_left(session, "tries"))
        assert ("9876", ["2222"]) == (session.code, session.tries)


def test_an_expired_field_without_default_says_so(
    clock: FrozenDateTimeFactory, storage: MemoryStorage
) -> None:
    """Without a default, an expired field is an `AttributeError` that says it expired."""
    with of(lambda: Login("anna", ttl("1234", 300)), storage).open(1) as session:
        clock.tick(300)
        with pytest.raises(AttributeError, match=r"^field 'code' of session '1' expired, 300 s"):
            _ = session.code


# Undeclared attributes


def test_an_undeclared_attribute_is_refused(storage: MemoryStorage) -> None:
    """Assigning what the dataclass does not declare is refused, naming what it has."""
    with of(Cart, storage).open(1) as session:
        with pytest.raises(AttributeError, match=r"Cart declares no field 'ownr'.*which has owner"):
            session.ownr = "Anna"
        with pytest.raises(AttributeError):
            del session.ownr
        assert Cart() == session


def test_an_undeclared_attribute_is_refused_in_methods(storage: MemoryStorage) -> None:
    """What a method would set on the side is refused as well, for it would not be saved."""

    @dataclass
    class Forgetful:
        count: int = 0

        def visit(self) -> None:
            self.last = self.count

    with (
        of(Forgetful, storage).open(1) as session,
        pytest.raises(AttributeError, match="declares no field 'last'"),
    ):
        session.visit()


# What fits

UNIQUE = uuid.UUID("0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0")
NOON = datetime(2026, 1, 1, 12)

FITTING: dict[str, tuple[Any, Any]] = {
    "int": (int, 7),
    "big int": (int, 2**200),
    "str": (str, "text"),
    "bool": (bool, True),
    "float": (float, 1.5),
    "infinity": (float, float("inf")),
    "bytes": (bytes, b"text"),
    "complex": (complex, 1j),
    "None": (None, None),
    "optional, None": (Optional[Item], None),  # noqa: UP045
    "optional": (Optional[Item], Item("apple")),  # noqa: UP045
    "union, int": (int | str | None, 1),
    "union, str": (int | str | None, "1"),
    "union, None": (int | str | None, None),
    "union, enum": (Color | int, Color.BLUE),
    "literal": (Literal["a", "b"], "b"),
    "Any": (Any, {"a": [1, (2,), {3}, None]}),
    "object": (object, [1]),
    "annotated": (Annotated[int, "a number"], 7),
    "datetime": (datetime, NOON),
    "aware datetime": (datetime, NOON.replace(tzinfo=UTC)),
    "date": (date, date(2026, 1, 1)),
    "time": (time, time(12, 30, 15, 5)),
    "timedelta": (timedelta, timedelta(days=1, microseconds=1)),
    "Decimal": (Decimal, Decimal("1.50")),
    "UUID": (uuid.UUID, UNIQUE),
    "Enum": (Color, Color.BLUE),
    "IntEnum": (Size, Size.LARGE),
    "StrEnum": (Mood, Mood.BAD),
    "Flag": (Right, Right.READ),
    "Flag, several": (Right, Right.READ | Right.WRITE),
    "Flag, none": (Right, Right(0)),
    "IntFlag": (Bit, Bit.HIGH),
    "IntFlag, several": (Bit, Bit.LOW | Bit.HIGH),
    "dataclass": (Item, Item("apple", 2)),
    "frozen dataclass": (Tag, Tag("old", Color.BLUE)),
    "slotted dataclass": (Slotted, Slotted(count=3)),
    "dataclass with a result": (Doubled, Doubled(4)),
    "recursive dataclass": (Tree, Tree([Tree(), Tree([Tree()])], Tree())),
    "list": (list, [1, "a", None]),
    "list of int": (list[int], [1, 2]),
    "list of float": (list[float], [1, 1.5]),
    "list of dataclasses": (list[Item], [Item("a"), Item("b")]),
    "list of enums": (list[Mood], [Mood.GOOD]),
    "dict of dataclasses": (dict[str, Item], {"a": Item("a")}),
    "dict by int": (dict[int, Item], {1: Item("a")}),
    "dict by enum": (dict[Color, int], {Color.BLUE: 1}),
    "tuple of dataclasses": (tuple[Item, ...], (Item("a"),)),
    "tuple of two": (tuple[Item, int], (Item("a"), 1)),
    "set of int": (set[int], {1, 2}),
    "set of enums": (set[Color], {Color.RED, Color.BLUE}),
    "set of dataclasses": (set[Tag], {Tag("a"), Tag("b")}),
    "frozenset of dataclasses": (frozenset[Tag], frozenset({Tag("a")})),
    "deep": (dict[str, list[tuple[Item, ...]]], {"a": [(Item("a"),), ()]}),
    "NamedTuple": (Point, Point(1, 2)),
    "NamedTuple of dataclasses": (Line, Line(Item("a"), Color.BLUE)),
    "list of NamedTuples": (list[Point], [Point(1)]),
    "TypedDict": (Options, {"size": 1, "label": "a"}),
    "TypedDict, less": (Options, {"size": 1}),
    "TypedDict of dataclasses": (Order, {"item": Item("a")}),
    "custom": (Money, Money(5)),
    "list of custom": (list[Money], [Money(5)]),
    "optional custom": (Money | None, Money(5)),
    "sequence": (Sequence[int], [1, 2]),
    "mapping": (Mapping[str, int], {"a": 1}),
    "OrderedDict": (OrderedDict[str, int], OrderedDict(b=1, a=2)),
    "defaultdict": (defaultdict[str, int], defaultdict(int, a=1)),
    "Counter": (Counter[str], Counter("tea")),
    "deque": (deque[int], deque([1, 2])),
}

every_fitting = pytest.mark.parametrize(("hint", "value"), FITTING.values(), ids=FITTING)


@every_fitting
def test_what_fits_comes_back(storage: MemoryStorage, hint: Any, value: Any) -> None:
    """What was saved is what comes back, equal and of the same type."""
    sessions = of(holder(hint | None if hint is not None else None, None), storage)
    assign(sessions, copy.deepcopy(value))
    with sessions.open(1) as session:
        assert (value, type(value)) == (session.value, type(session.value))


@every_fitting
def test_what_initial_gives_is_what_handlers_get(hint: Any, value: Any) -> None:
    """Each handler sees what `initial` made, of the same type, and only the first one writes."""
    records = CountedStore()
    sessions = of(holder(hint, value), MemoryStorage(records))
    for _ in range(3):
        with sessions.open(1) as session:
            assert (value, type(value)) == (session.value, type(session.value))
    assert 1 == records.writes


def test_values_that_are_not_equal_to_themselves_fit(storage: MemoryStorage) -> None:
    """NaN fits `float` and `Decimal`, in lists as well, though it is not equal to itself."""

    @dataclass
    class NotANumber:
        number: float = float("nan")
        numbers: list[float] = field(default_factory=lambda: [float("nan")])
        decimal: Decimal = Decimal("NaN")
        signal: Decimal = Decimal("sNaN")

    for _ in range(2):
        with of(NotANumber, storage).open(1) as session:
            seen = session.number, *session.numbers, session.decimal, session.signal
            assert ["nan", "nan", "NaN", "sNaN"] == [str(number) for number in seen]


def test_a_datetime_of_a_frozen_clock_fits(storage: MemoryStorage) -> None:
    """A test that freezes the clock can store `datetime.now()` and `date.today()`."""

    @dataclass
    class Visit:
        at: datetime = NOON
        on: date = date(2025, 1, 1)

    sessions = of(Visit, storage)
    with freezegun.freeze_time("2026-02-03 04:05:06"), sessions.open(1) as session:
        session.at = datetime.now()
        session.on = date.today()
    with sessions.open(1) as session:
        assert (datetime(2026, 2, 3, 4, 5, 6), date(2026, 2, 3)) == (session.at, session.on)


def test_nested_changes_count(storage: MemoryStorage) -> None:
    """Changes inside nested dataclasses are saved."""
    with of(Cart, storage).open(1) as session:
        session.add("apple")
    with of(Cart, storage).open(1) as session:
        session.items[0].count += 4
    with of(Cart, storage).open(1) as session:
        assert Cart(items=[Item("apple", 5)]) == session


def test_records_are_plain_data(storage: MemoryStorage) -> None:
    """Nested dataclasses and enums are stored as plain data that needs no class to be read."""
    with of(Cart, storage).open(1) as session:
        session.add("apple")
    assert {
        "owner": "nobody",
        "items": [{"name": "apple", "count": 1}],
        "color": "red",
        "_hidden": 0,
    } == stored(storage)


# What does not fit

MISFITS: dict[str, tuple[Any, Any, Any]] = {
    "int, str": (int, 0, "7310"),
    "int, bool": (int, 0, True),
    "int, float": (int, 0, 7310.0),
    "int, None": (int, 0, None),
    "str, int": (str, "", 7310),
    "str, bytes": (str, "", b"7310"),
    "str, StrEnum": (str, "", Mood.GOOD),
    "bool, int": (bool, False, 1),
    "float, str": (float, 0.0, "7310"),
    "float, too long an int": (float, 0.0, 2**53 + 1),
    "float, too big an int": (float, 0.0, 10**400),
    "bytes, str": (bytes, b"", "7310"),
    "bytes, bytearray": (bytes, b"", bytearray(b"7310")),
    "optional, str": (int | None, None, "7310"),
    "literal": (Literal["a", "b"], "a", "7310"),
    "list, items": (list[int], [], ["7310"]),
    "list, tuple": (list[int], [], (7310,)),
    "list, set": (list[int], [], {7310}),
    "set, list": (set[int], set(), [7310]),
    "tuple, list": (tuple[int, ...], (), [7310]),
    "tuple, length": (tuple[int, int], (0, 0), (7310,)),
    "dict, values": (dict[str, int], {}, {"a": "7310"}),
    "dict, keys": (dict[str, int], {}, {7310: 1}),
    "dict, OrderedDict": (dict[str, int], {}, OrderedDict(a=7310)),
    "dataclass, dict": (Item, Item(), {"name": "7310"}),
    "dataclass, subclass": (Item, Item(), SpecialItem("7310")),
    "dataclass, another": (Item, Item(), OtherItem("7310")),
    "dataclass, field": (Item, Item(), Item("tea", "7310")),  # type: ignore[arg-type]
    "dataclasses, subclass": (list[Item], [], [Item(), SpecialItem("7310")]),
    "dict, dataclass as key": (dict[Tag, int], {}, {Tag("7310"): 1}),
    "Any, dataclass": (Any, None, Item("7310")),
    "Any, enum": (Any, None, Color.BLUE),
    "Enum, value": (Color, Color.RED, "blue"),
    "Enum, another": (Color, Color.RED, Mood.GOOD),
    "IntEnum, int": (Size, Size.SMALL, 2),
    "datetime, str": (datetime, NOON, "2026-01-01T12:00:00"),
    "datetime, date": (datetime, NOON, date(2026, 7, 31)),
    "date, datetime": (date, date(2026, 1, 1), datetime(2026, 7, 31)),
    "Decimal, str": (Decimal, Decimal(0), "7310.5"),
    "Decimal, int": (Decimal, Decimal(0), 7310),
    "UUID, str": (uuid.UUID, uuid.UUID(int=0), str(UNIQUE)),
    "NamedTuple, tuple": (Point, Point(0), (7310, 1)),
    "TypedDict, more": (Options, {"size": 1}, {"size": 1, "extra": 7310}),
    "TypedDict, less": (Options, {"size": 1}, {"label": "7310"}),
    "custom, another": (Money, Money(1), Item("7310")),
}

every_misfit = pytest.mark.parametrize(("hint", "default", "value"), MISFITS.values(), ids=MISFITS)


@every_misfit
def test_assigning_what_does_not_fit_is_refused_at_commit(
    storage: MemoryStorage, hint: Any, default: Any, value: Any
) -> None:
    """A value that would not come back as it is: `EncodeError`, and the record stays."""
    sessions = of(holder(hint, default), storage)
    with sessions.open(1):
        pass
    before = storage.get("1")
    with pytest.raises(EncodeError) as caught:
        assign(sessions, value)
    assert ("1", "value", type(value).__name__) == (
        caught.value.key,
        caught.value.path,
        caught.value.type_name,
    )
    assert (True, False, before) == (
        "Holder declares value" in str(caught.value),
        "7310" in str(caught.value),
        storage.get("1"),
    )


@every_misfit
def test_an_initial_that_does_not_fit_is_refused(
    storage: MemoryStorage, hint: Any, default: Any, value: Any
) -> None:
    """What `initial` makes must fit as well: `EncodeError`, and nothing is stored."""
    sessions = of(holder(hint, value), storage)
    with pytest.raises(EncodeError) as caught, sessions.open(1):
        pass
    assert ("value", False, None) == (
        caught.value.path,
        "7310" in str(caught.value),
        storage.get("1"),
    )


UNFIT: dict[str, tuple[Any, Any, Any]] = {
    "int, str": (int, 0, "7310"),
    "int, float": (int, 0, 7310.5),
    "int, bool": (int, 0, True),
    "str, int": (str, "", 7310),
    "str, bytes": (str, "", b"7310"),
    "bytes, str": (bytes, b"", "7310"),
    "datetime, str": (datetime, NOON, "2026-01-01T12:00:00"),
    "Decimal, str": (Decimal, Decimal(0), "7310"),
    "UUID, str": (uuid.UUID, uuid.UUID(int=0), str(UNIQUE)),
    "literal": (Literal["a"], "a", "7310"),
    "optional": (int | None, None, "7310"),
    "list, items": (list[int], [], [1, "7310"]),
    "list, str": (list[str], [], "7310"),
    "dict, values": (dict[str, int], {}, {"a": "7310"}),
    "dataclass, field": (Item, Item(), {"name": "tea", "count": "7310"}),
    "dataclass, list": (Item, Item(), ["7310"]),
    "dataclass, missing": (Point | Login | None, None, {"user": "7310"}),
    "dataclass, refused": (Strict, Strict(), {"text": "7310"}),
    "dataclasses, field": (list[Item], [], [{"name": 7310}]),
    "Enum": (Color, Color.RED, "7310"),
    "IntEnum": (Size, Size.SMALL, 7310),
    "Flag": (Right, Right.READ, 7310),
    "NamedTuple": (Point, Point(0), ["7310"]),
    "TypedDict": (Options, {"size": 1}, {"size": "7310"}),
    "custom": (Money, Money(1), {"amount": 7310}),
}


@pytest.mark.parametrize(("hint", "default", "value"), UNFIT.values(), ids=UNFIT)
def test_stored_data_that_does_not_fit_is_a_decode_error(
    storage: MemoryStorage, hint: Any, default: Any, value: Any
) -> None:
    """A `DecodeError` names field and types but never the value, and the record is unchanged."""
    store(storage, first="fits", value=value)
    before = storage.get("1")
    sessions = Sessions(initial=holder(hint, default), storage=storage, lock_timeout=0)
    for _ in range(2):
        with pytest.raises(DecodeError) as caught:
            sessions.open(1).__enter__()
        text = "".join(traceback.format_exception(caught.value))
        assert ("1", True, True, True, False, before) == (
            caught.value.key,
            "'value'" in str(caught.value),
            f"of type {type(value).__name__}" in str(caught.value),
            "Holder declares value" in str(caught.value),
            "7310" in text,
            storage.get("1"),
        )


FAILURES: dict[str, tuple[type[Exception], Callable[[str], Any]]] = {
    "undeclared": (
        AttributeError,
        lambda value: fail_in(Cart, lambda s: setattr(s, "ownr", value)),
    ),
    "missing": (
        AttributeError,
        lambda value: fail_in(lambda: Login(value, value), lambda s: (delattr(s, "code"), s.code)),
    ),
    "misfit": (EncodeError, lambda value: fail_in(Doubled, lambda s: setattr(s, "count", value))),
    "nested misfit": (
        EncodeError,
        lambda value: fail_in(Cart, lambda s: setattr(s.add("tea"), "count", value)),
    ),
    "refused": (
        EncodeError,
        lambda value: fail_in(
            holder(Strict, Strict()), lambda s: setattr(s.value, "text", f"a{value}")
        ),
    ),
    "unsavable": (
        EncodeError,
        lambda value: fail_in(
            holder(list, []), lambda s: s.value.extend([value, (x for x in value)])
        ),
    ),
    "initial": (EncodeError, lambda value: fail_in(holder(int, value), repr)),
}


def fail_in(initial: Any, change: Callable[[Any], Any]) -> None:
    """Change a new typed session."""
    with of(initial, MemoryStorage()).open(1) as session:
        change(session)


def report(kind: type[Exception], fail: Callable[[str], Any], value: str) -> str:
    """What a bot would log of a failure."""
    with pytest.raises(kind) as caught:
        fail(value)
    return "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("failure", FAILURES)
@settings(max_examples=10)
@given(value=st.text())
def test_no_message_and_no_traceback_shows_a_value(failure: str, value: str) -> None:
    """No message shows a value: the whole traceback is the same whatever it was."""
    kind, fail = FAILURES[failure]
    assert report(kind, fail, "") == report(kind, fail, value)


def test_a_value_that_contains_itself_is_refused(storage: MemoryStorage) -> None:
    """An endless value is an `EncodeError`, not an endless loop, and the record stays."""
    endless: list[Any] = []
    endless.append(endless)
    sessions = of(holder(list, ["a"]), storage)
    with sessions.open(1):
        pass
    with pytest.raises(EncodeError):
        assign(sessions, endless)
    assert {"value": ["a"]} == stored(storage)


def test_a_mark_inside_a_typed_value_is_refused_with_its_path(storage: MemoryStorage) -> None:
    """A `ttl(...)` found inside a nested value: `EncodeError` with the path."""
    with pytest.raises(EncodeError) as caught:
        assign(of(holder(list[str], []), storage), ["a", ttl("b", 5)])
    assert ("value[1]", None) == (caught.value.path, stored(storage))


# Classes that cannot be sessions


@dataclass(frozen=True)
class Frozen:
    """A dataclass that cannot change."""

    count: int = 0


@dataclass(slots=True)
class WithSlots:
    """A dataclass without room."""

    count: int = 0


@dataclass
class BelowSlots(WithSlots):
    """A dataclass without room in its base."""

    more: int = 0


def make_frozen() -> Frozen:
    """Say that it makes one."""
    return Frozen()


def make_with_slots(message: types.Message) -> WithSlots:
    """Say that it makes one."""
    return WithSlots()


def make_unannounced_frozen() -> Any:
    """Do not say what it makes."""
    return Frozen()


@pytest.mark.parametrize(
    ("initial", "reason"),
    [
        (Frozen, "Frozen is frozen"),
        (make_frozen, "Frozen is frozen"),
        (WithSlots, "WithSlots has slots"),
        (make_with_slots, "WithSlots has slots"),
        (BelowSlots, "BelowSlots has slots"),
    ],
    ids=["frozen", "returns frozen", "slots", "returns slots", "base with slots"],
)
def test_frozen_and_slotted_dataclasses_are_refused(initial: Any, reason: str) -> None:
    """Frozen or slotted dataclasses: `TypeError` at decoration."""
    with pytest.raises(TypeError, match=reason):
        with_session(initial=initial)


def test_a_frozen_dataclass_that_nobody_announced_is_refused_when_made(
    storage: MemoryStorage,
) -> None:
    """Where `initial` does not say what it returns, the first update is when it turns out."""
    sessions = Sessions(initial=make_unannounced_frozen, storage=storage, lock_timeout=0)
    for _ in range(2):
        with pytest.raises(TypeError, match="Frozen is frozen"):
            sessions.open(1).__enter__()
    assert None is storage.get("1")


@pytest.mark.parametrize(
    ("fields", "missing"),
    [
        ([("user", str), ("code", str, "")], "user"),
        ([("user", str), ("code", str)], "user, code"),
        ([("seed", InitVar[int])], "seed"),
        ([("user", str, field(kw_only=True))], "user"),
    ],
    ids=["one", "two", "InitVar", "keyword"],
)
def test_a_class_with_required_fields_is_refused(fields: list[Any], missing: str) -> None:
    """A dataclass that needs arguments: `TypeError` at decoration, saying which."""
    kind = dataclasses.make_dataclass("Needy", fields)
    with pytest.raises(TypeError, match=f"initial=Needy .* it requires {missing};"):
        with_session(initial=kind)


def test_a_function_may_fill_required_fields(storage: MemoryStorage) -> None:
    """A function, which may take the update, makes instances of any dataclass."""

    @with_session(
        initial=lambda message: Login(message.from_user.first_name, "0000"), storage=storage
    )
    def handler(message: types.Message, session: Login) -> str:
        return session.user

    assert ["Anna", "Boris"] == [handler(message_of(person)) for person in (ANNA, BORIS)]


@pytest.mark.parametrize(
    "annotation",
    ["Missing", "list[Missing]", "Item.Missing", "not an expression", "int | 'str'"],
)
def test_annotations_that_cannot_be_resolved_are_refused(annotation: str) -> None:
    """An annotation that names nothing: `TypeError` at decoration, naming the dataclass."""
    kind = dataclasses.make_dataclass(
        "Vague", [("value", annotation, None)], namespace={"__module__": __name__}
    )
    with pytest.raises(TypeError, match=r"annotations? of Vague"):
        with_session(initial=kind)


def test_nested_annotations_that_cannot_be_resolved_are_refused() -> None:
    """The annotations of nested dataclasses are looked at as early as those of the session."""
    vague = dataclasses.make_dataclass("Vague", [("value", "Missing", None)])
    with pytest.raises(TypeError, match=r"annotation of Holder\.value"):
        with_session(initial=holder(vague | None, None))


@pytest.mark.parametrize(
    "hint",
    [Planet, Item | Tag, Item | dict, Seeded],
    ids=["enum of tuples", "two dataclasses", "dataclass or dict", "nested InitVar"],
)
def test_annotations_that_cannot_be_checked_are_refused(hint: Any) -> None:
    """An annotation that stored data cannot be told by: `TypeError` at decoration."""
    with pytest.raises(TypeError, match=r"the annotation of Holder\.value cannot be checked"):
        with_session(initial=holder(hint | None, None))


def test_a_function_may_return_a_shared_instance(storage: MemoryStorage) -> None:
    """An instance that `initial` returns is copied deeply, so nothing leaks between users."""
    template = Cart(items=[Item("gift", 1)])
    sessions = of(lambda: template, storage)
    for key in (1, 2):
        with sessions.open(key) as session:
            session.items[0].count += 1
            session.add("apple")
            assert [Item("gift", 2), Item("apple", 1)] == session.items
    assert Cart(items=[Item("gift", 1)]) == template


def test_a_function_that_raises_leaves_nothing(storage: MemoryStorage) -> None:
    """A dataclass whose `__post_init__` raises: `SessionError`, nothing stored, lock released."""

    @dataclass
    class Broken:
        count: int = 0

        def __post_init__(self) -> None:
            raise ZeroDivisionError

    sessions = Sessions(initial=Broken, storage=storage, lock_timeout=0)
    for _ in range(2):
        with pytest.raises(SessionError, match="initial raised ZeroDivisionError"):
            sessions.open(1).__enter__()
    assert None is stored(storage)


def test_a_stored_session_is_typed_before_initial_was_ever_called(storage: MemoryStorage) -> None:
    """After a restart, an `initial` that does not say what it returns still gives instances."""
    with of(Cart, storage).open(1) as session:
        session.owner = "Anna"
    with of(make_unannounced, storage).open(1) as session:
        assert Cart("Anna") == session


# Two types, one session


def test_the_same_type_gives_the_same_object(storage: MemoryStorage) -> None:
    """A handler that calls another one for the same key and type shares the very object."""
    outer, inner = of(Cart, storage), of(Cart, storage)
    with outer.open(1) as session, inner.open(1) as same:
        assert session is same


def test_another_type_gives_another_view(storage: MemoryStorage) -> None:
    """Another type, a subclass too, is another view of the same fields; lists are the same."""
    with of(Cart, storage).open(1) as cart:
        cart.add("apple")
        with (
            of(Basket, storage).open(1) as basket,
            of(GiftCart, storage).open(1) as gift,
            Sessions(storage=storage).open(1) as plain,
        ):
            assert (True, True, True, True) == (
                isinstance(basket, Basket),
                isinstance(gift, GiftCart),
                isinstance(plain, Session),
                cart is not gift,
            )
            assert (True, True, True) == (
                cart.items is basket.items,
                cart.items is gift.items,
                cart.items is plain.items,
            )
            assert cart.items[0] is basket.items[0]


def test_views_see_each_others_changes_and_all_are_saved(storage: MemoryStorage) -> None:
    """Two views show the same fields, nested dataclasses and enums too; the outermost commits."""
    with of(Cart, storage).open(1) as cart:
        cart.add("apple")
        with of(Basket, storage).open(1) as basket:
            basket.items[0].count += 1
            basket.color = Color.BLUE
            basket.coupon = "TEA10"
        cart.items[0].count += 1
        assert (3, Color.BLUE) == (cart.items[0].count, cart.color)
        during = stored(storage)
    with of(Basket, storage).open(1) as basket:
        assert (None, Basket([Item("apple", 3)], Color.BLUE, "TEA10")) == (during, basket)


def test_lists_stay_the_very_same_objects(storage: MemoryStorage) -> None:
    """What is right already stays the object it is: an outer handler may be changing it."""
    kind = dataclasses.make_dataclass(
        "Plain", [("log", list[str]), ("counts", dict[str, float]), ("seen", set[int])]
    )
    log, counts, seen = ["a"], {"a": 1}, {1}
    with Sessions(storage=storage).open(1) as session:
        session.update(log=log, counts=counts, seen=seen)
        with of(lambda: kind([], {}, set()), storage).open(1) as typed:
            assert (True, True, True) == (
                typed.log is log,
                typed.counts is counts,
                typed.seen is seen,
            )
        log.append("b")
    assert {"log": ["a", "b"], "counts": {"a": 1}, "seen": {1}} == stored(storage)


def test_a_view_that_does_not_fit_changes_nothing(storage: MemoryStorage) -> None:
    """A nested call whose type does not fit is a `DecodeError` that leaves the fields alone."""

    @dataclass
    class Misfit:
        item: Item = field(default_factory=Item)
        number: int = 0

    store(storage, item={"name": "apple", "count": 1}, number="one")
    before = storage.get("1")
    with Sessions(storage=storage).open(1) as session:
        with pytest.raises(DecodeError, match="'number'"):
            of(Misfit, storage).open(1).__enter__()
        assert {"item": {"name": "apple", "count": 1}, "number": "one"} == dict(session)
    assert before == storage.get("1")


def test_every_view_must_fit_at_commit(storage: MemoryStorage) -> None:
    """What a typed view showed must still fit at the commit, whoever changed it."""

    def change(session: Session) -> None:
        with of(Item, storage).open(1) as item:
            item.count = 5
        session.count = "many"

    with pytest.raises(EncodeError) as caught, Sessions(storage=storage).open(1) as session:
        change(session)
    assert ("count", "str", None) == (caught.value.path, caught.value.type_name, stored(storage))


@pytest.mark.parametrize(
    "kind",
    [
        "Enum",
        "Flag",
        "IntFlag, several",
        "list of dataclasses",
        "set of dataclasses",
        "NamedTuple",
        "custom",
    ],
)
def test_a_view_shows_what_another_has_just_set(storage: MemoryStorage, kind: str) -> None:
    """A second view takes values as they are, before they were ever stored."""
    hint, value = FITTING[kind]
    with of(holder(hint | None, None), storage).open(1) as one:
        one.value = copy.deepcopy(value)
        with of(holder(hint | None, None), storage).open(1) as other:
            assert (value, True) == (other.value, other.value is one.value)


# Older and newer programs


def test_extra_stored_fields_survive(storage: MemoryStorage) -> None:
    """Stored fields that the dataclass does not declare stay, through reads and writes."""
    store(storage, owner="Anna", retired={"since": [2024]})
    with of(Cart, storage).open(1) as session:
        undeclared = hasattr(session, "retired")
        session.owner = "Boris"
    assert (False, {"owner": "Boris", "retired": {"since": [2024]}}) == (
        undeclared,
        stored(storage),
    )


def test_extra_stored_fields_keep_their_lifetime(
    clock: FrozenDateTimeFactory, storage: MemoryStorage
) -> None:
    """A field that the dataclass does not declare keeps its TTL, too."""
    store(storage, owner="Anna", retired=ttl(1, 60))
    clock.tick(30)
    with of(Cart, storage).open(1) as session:
        session.owner = "Boris"
        left = ttl_left(session, "retired")
    clock.tick(30)
    assert (30, {"owner": "Boris"}) == (left, stored(storage))


OLDER: dict[str, tuple[Any, Any, Any, Any]] = {
    "a field more": (Item, Item(), {"name": "apple"}, Item("apple")),
    "a field less": (
        Item,
        Item(),
        {"name": "apple", "count": 1, "retired": True},
        Item("apple", 1),
    ),
}


@pytest.mark.parametrize(("hint", "default", "value", "expected"), OLDER.values(), ids=OLDER)
def test_reading_a_record_of_another_program_writes_nothing(
    hint: Any, default: Any, value: Any, expected: Any
) -> None:
    """A handler that only reads writes nothing, also where the nested classes were others."""
    records = CountedStore()
    storage = MemoryStorage(records)
    store(storage, value=value)
    with of(holder(hint, default), storage).open(1) as session:
        assert expected == session.value
    assert (1, {"value": value}) == (records.writes, stored(storage))


@pytest.mark.parametrize(("hint", "default", "value", "expected"), OLDER.values(), ids=OLDER)
def test_changing_a_record_of_another_program_keeps_the_other_fields(
    storage: MemoryStorage, hint: Any, default: Any, value: Any, expected: Any
) -> None:
    """A nested value that nobody changed is stored as it was, extra keys included."""
    store(storage, value=value, count=1)
    kind = dataclasses.make_dataclass("Both", [("value", hint, None), ("count", int, 0)])
    with of(kind, storage).open(1) as session:
        session.count += 1
        assert expected == session.value
    assert {"value": value, "count": 2} == stored(storage)


def test_a_record_stored_untyped_can_be_read_typed(storage: MemoryStorage) -> None:
    """A bot that goes from plain to typed sessions keeps its records."""
    store(
        storage,
        owner="Anna",
        items=[{"name": "apple", "count": 2}],
        color="blue",
        other=["kept"],
    )
    with of(Cart, storage).open(1) as session:
        assert Cart("Anna", [Item("apple", 2)], Color.BLUE) == session
        session.add("pear")
    with Sessions(storage=storage).open(1) as session:
        assert {
            "owner": "Anna",
            "items": [{"name": "apple", "count": 2}, {"name": "pear", "count": 1}],
            "color": "blue",
            "other": ["kept"],
        } == session


# The functions on a session, and its end


def test_the_functions_on_a_session_take_typed_ones(
    clock: FrozenDateTimeFactory, storage: MemoryStorage
) -> None:
    """`session_key`, `as_dict`, `ttl_left`, `save` and `forget` work on typed sessions."""
    sessions = Sessions(initial=Marked, storage=storage, prefix="shop-")
    with sessions.open("anna") as session:
        assert ("shop-anna", 60, None) == (
            session_key(session),
            ttl_left(session, "code"),
            ttl_left(session, "plain"),
        )
        snapshot = as_dict(session)
        session.plain = 1
        save(session)
        saved = sessions.peek("anna")
        forget(session)
    assert {"code": "none", "tries": [], "plain": 0} == snapshot
    assert ({"code": "none", "tries": [], "plain": 1}, None) == (saved, sessions.peek("anna"))


def test_as_dict_of_a_typed_session_is_a_snapshot(storage: MemoryStorage) -> None:
    """`as_dict` shares no object with the session."""
    with of(Cart, storage).open(1) as session:
        session.add("apple")
        snapshot = as_dict(session)
        session.items[0].count = 9
    assert ([Item("apple", 1)], dict) == (snapshot["items"], type(snapshot))


CHANGES: dict[str, Callable[[Any], Any]] = {
    "set": lambda session: setattr(session, "owner", "Boris"),
    "mark": lambda session: setattr(session, "owner", ttl("Boris", 60)),
    "delete": lambda session: delattr(session, "owner"),
    "property": lambda session: setattr(session, "total", 5),
    "save": save,
    "forget": forget,
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_closed_session_cannot_be_changed(
    storage: MemoryStorage, change: Callable[[Any], Any]
) -> None:
    """After the handler returned, writing to its session raises; reading still works."""
    with of(Cart, storage).open(1) as session:
        session.owner = "Anna"
    with pytest.raises(SessionClosedError):
        change(session)
    assert (Cart("Anna"), 0, "1") == (session, session.total, session_key(session))


def test_a_handler_that_raises_changes_nothing(storage: MemoryStorage) -> None:
    """All or nothing: after an exception the record is what it was, byte by byte."""

    @with_session(initial=Cart, storage=storage)
    def handler(message: types.Message, session: Cart) -> None:
        session.add("apple").count += 1
        session.owner = "Anna"
        if len(session.items) > 1:
            raise ZeroDivisionError

    handler(message_of(ANNA))
    before = storage.get(str(ANNA["id"]))
    with pytest.raises(ZeroDivisionError):
        handler(message_of(ANNA))
    assert before == storage.get(str(ANNA["id"]))


def test_a_typed_session_without_fields_is_empty(storage: MemoryStorage) -> None:
    """A dataclass without fields makes sessions that are never stored."""

    @dataclass
    class Nothing:
        pass

    with of(Nothing, storage).open(1) as session:
        assert "<Nothing '1': no fields>" == repr(session)
    assert [] == list(storage.keys())


def test_class_patterns_match_a_session(storage: MemoryStorage) -> None:
    """A `match` statement takes a session for an instance, by position and by name."""
    with of(Item, storage).open(1) as session:
        session.count = 5
        match session:
            case Item("tea", count=count):
                matched = count
    assert 5 == matched
