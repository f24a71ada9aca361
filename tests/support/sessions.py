"""Sessions of every kind, changes that handlers make to them, and ways to read them."""

from __future__ import annotations

import copy
import dataclasses
import enum
import functools
from collections import ChainMap, UserDict, defaultdict
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
from freezegun.api import FrozenDateTimeFactory
from hypothesis import strategies as st
from telebot import types

from support.clocks import DAY
from support.storages import SpyStorage
from support.updates import ANNA, message, private
from support.values import Color, Item
from telesession import MemoryStorage, Session, Sessions, as_dict, ttl, ttl_left

if TYPE_CHECKING:
    from collections.abc import Iterator


def set_fields(sessions: Sessions[Any], key: str = "1", **fields: Any) -> None:
    with sessions.open(key) as session:
        session.update(fields)


def fields_of(sessions: Sessions[Any], key: str = "1") -> dict[str, Any]:
    with sessions.open(key) as session:
        return dict(session)


LIFETIME = 300
JUST_BEFORE = LIFETIME - 0.000001
ONCE_OVER = pytest.mark.parametrize(
    "elapsed", [LIFETIME, LIFETIME + 0.000001, DAY], ids=["at the deadline", "after it", "later"]
)


def left_of(sessions, name="code", key="1"):
    """The seconds until a field of a stored session expires."""
    with sessions.open(key) as session:
        return ttl_left(session, name)


@dataclass
class PlainCart:
    owner: str = "nobody"
    items: list = field(default_factory=list)


class Colour(enum.Enum):
    RED = "red"


@dataclass
class Address:
    city: str = "nowhere"
    lines: list[str] = field(default_factory=list)


@dataclass
class Profile:
    name: str = "nobody"
    code: str = ttl("none", LIFETIME)
    log: list[str] = field(default_factory=lambda: ttl([], LIFETIME))
    address: Address = field(default_factory=lambda: ttl(Address("Bergen"), LIFETIME))
    colour: Colour | None = ttl(None, LIFETIME)  # noqa: RUF009
    tags: set[int] = field(default_factory=lambda: ttl(set(), LIFETIME))


UPDATE = types.Update.de_json({"update_id": 583920140, "message": message(private(ANNA), ANNA)})
KEY = str(ANNA["id"])

Change = Callable[[Any], object]
Handle = Callable[..., Any]


@dataclass
class FruitBasket:
    """A value of a class that pickle finds again by its name."""

    fruit: Any = None


@dataclass
class Order:
    """A typed session."""

    counter: int = 0
    note: str = "none"
    log: list[Any] = field(default_factory=list)
    cart: dict[str, Any] = field(default_factory=dict)
    code: str = ttl("0000", 300)
    anything: Any = None

    def add(self, fruit: str) -> None:
        self.counter += 1
        self.cart[fruit] = self.counter


def beginning_fields() -> dict[str, Any]:
    """What Anna's session begins with; the field called plain has no part in any change."""
    return {
        "counter": 1,
        "plain": "as it was",
        "cart": {"apple": [1, 2], "pear": {"ripe": {"yes"}}},
        "log": ["first"],
        "basket": FruitBasket(fruit=["plum"]),
    }


def fields_with_lifetimes() -> dict[str, Any]:
    return {**beginning_fields(), "code": ttl("1234", 300), "hints": ttl({"tries": []}, 60)}


BEGINNINGS = {"plain": beginning_fields, "with lifetimes": fields_with_lifetimes}


def store_beginning(storage: MemoryStorage, begin: Any = fields_with_lifetimes) -> bytes | None:
    """Store a session of Anna's as `begin` makes it, and return the payload of its record."""
    with Sessions(storage=storage, initial=begin).open(KEY):
        pass
    if isinstance(storage, SpyStorage):
        storage.writes.clear()
    return storage.get(KEY)


def stored_beginning(storage: MemoryStorage) -> dict[str, Any] | None:
    """The fields of Anna's session as they are stored, or `None`."""
    return Sessions(storage=storage).peek(KEY)


def locks_kept(storage: MemoryStorage) -> int:
    return len(storage.process_state.locks)


def after(*changes: Change, error: type[BaseException] = ZeroDivisionError) -> Change:
    """Changes that end in an exception."""

    def change(session: Any) -> None:
        for each in changes:
            each(session)
        raise error

    return change


def setting(**values: Any) -> Change:
    """A change that assigns fields, of whatever kind the session is."""

    def change(session: Any) -> None:
        for name, value in values.items():
            setattr(session, name, value)

    return change


def removing(name: str) -> Change:
    return lambda session: delattr(session, name)


def nothing(session: Any) -> None:
    pass


each_initial = pytest.mark.parametrize(
    ("initial", "beginning"),
    [
        (beginning_fields, beginning_fields()),
        (Order, {**dataclasses.asdict(Order()), "code": "0000"}),
    ],
    ids=["mapping", "dataclass"],
)


def shown_with(error: BaseException) -> Iterator[BaseException]:
    """An exception and all that Python prints before it."""
    shown: BaseException | None = error
    while shown is not None:
        yield shown
        shown = shown.__cause__ or (None if shown.__suppress_context__ else shown.__context__)


def fail_in(sessions: Sessions[Session], key: int, change: Callable[[Session], Any]) -> None:
    """Open a session, change it and raise."""
    with sessions.open(key) as session:
        change(session)
        raise ZeroDivisionError


METHOD_NAMES = sorted(name for name in dir(dict) if not name.startswith("_"))

Make = Callable[[FrozenDateTimeFactory, dict[str, Any]], Session]


def make_plain(_clock: FrozenDateTimeFactory, fields: dict[str, Any]) -> Session:
    """A session in which no field has a lifetime."""
    return Session(fields)


def make_with_ttl(_clock: FrozenDateTimeFactory, fields: dict[str, Any]) -> Session:
    """A session of these fields, all of which will expire some day."""
    return Session({name: ttl(value, 10**9) for name, value in fields.items()})


def make_with_expired(clock: FrozenDateTimeFactory, fields: dict[str, Any]) -> Session:
    """A session in which another field has expired and nobody has looked since."""
    session = Session(expired=ttl("1234", 10), **fields)
    clock.tick(10)
    return session


def make_stored(clock: FrozenDateTimeFactory, fields: dict[str, Any]) -> Session:
    """A session that was stored and loaded before another field expired; it is closed."""
    sessions = Sessions(storage=MemoryStorage())
    with sessions.open(1) as session:
        session.update(fields, expired=ttl("1234", 10))
    with sessions.open(1) as session:
        pass
    clock.tick(10)
    return session


MAKERS = [make_plain, make_with_ttl, make_with_expired, make_stored]

every_make = pytest.mark.parametrize("make", MAKERS, ids=lambda make: make.__name__)


def collect(**fields: Any) -> dict[str, Any]:
    """The fields as a function gets them from `f(**session)`."""
    return fields


def updated(session: Session) -> dict[str, Any]:
    """The fields as `dict.update` and `|=` get them."""
    fields: dict[str, Any] = {}
    fields.update(session)
    fields |= session
    return fields


READINGS: dict[str, Callable[[Session], Any]] = {
    "dict": dict,
    "displayed": lambda session: {**session},
    "passed": lambda session: collect(**session),
    "copied": copy.copy,
    "deepcopied": copy.deepcopy,
    "as_dict": as_dict,
    "or": lambda session: session | {},
    "ror": lambda session: {} | session,
    "updated": updated,
    "a session": lambda session: dict(Session(session)),
    "a defaultdict": lambda session: dict(defaultdict(int, session)),
    "a defaultdict or": lambda session: dict(defaultdict(int) | session),
    "a UserDict": lambda session: dict(UserDict(session)),
    "a ChainMap": lambda session: dict(ChainMap(session)),
    "listed": lambda session: {name: session[name] for name in list(session)},
    "sorted": lambda session: {name: session[name] for name in sorted(session)},
    "iterated": lambda session: {name: session[name] for name in iter(session)},
    "reversed": lambda session: dict([(name, session[name]) for name in reversed(session)][::-1]),
    "class items": lambda session: dict(type(session).items(session)),
    "class values": lambda session: dict(
        zip(type(session).keys(session), type(session).values(session), strict=True)
    ),
}

every_reading = pytest.mark.parametrize("reading", READINGS.values(), ids=READINGS)


FIELD_VALUES = st.recursive(
    st.text(max_size=10) | st.integers() | st.binary(max_size=10) | st.none(),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2)
    ),
    max_leaves=3,
)

FIELD_NAMES = st.text(max_size=8) | st.sampled_from([*METHOD_NAMES, "_hidden", "code"])


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
class Basket(GiftCart):
    """Another view of the fields of a `Cart`."""

    coupon: str = ""


@dataclass
class Login:
    """A session with fields that have no default."""

    user: str
    code: str


@dataclass
class Marked:
    """A session in which every kind of default has a lifetime."""

    code: str = ttl("none", 60)
    tries: list[str] = field(default_factory=lambda: ttl([], 60))
    plain: int = 0


def make_unannounced(*_args: Any) -> Any:
    """A cart, but only a call tells."""
    return Cart("Anna")


def typed_sessions(initial: Any, storage: MemoryStorage) -> Sessions[Any]:
    """Typed sessions in a storage."""
    return Sessions(initial=initial, storage=storage)


def store_untyped(storage: MemoryStorage, **fields: Any) -> None:
    """Store a record by a handler that knows nothing of types."""
    with Sessions(storage=storage).open(1) as session:
        session.clear()
        session.update(fields)


def stored_untyped(storage: MemoryStorage) -> dict[str, Any] | None:
    """What is stored, as plain data."""
    return Sessions(storage=storage).peek(1)


def holder_of(hint: Any, default: Any) -> Any:
    """A dataclass with one field, `value`."""
    made = field(default_factory=lambda: copy.deepcopy(default))
    return dataclasses.make_dataclass("Holder", [("value", hint, made)])


def assign(sessions: Sessions[Any], value: Any) -> None:
    """Set the one field of a holder."""
    with sessions.open(1) as session:
        session.value = value
