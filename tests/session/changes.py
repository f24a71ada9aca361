"""What handlers do to a session of Anna's, and what of it is stored."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from telebot import types
from updates import ANNA, message, private

from telesession import MemoryStorage, Sessions, ttl, with_session

if TYPE_CHECKING:
    from collections.abc import Iterator


UPDATE = types.Update.de_json({"update_id": 583920140, "message": message(private(ANNA), ANNA)})
KEY = str(ANNA["id"])

Change = Callable[[Any], object]
Handle = Callable[..., Any]


class NotingStorage(MemoryStorage):
    """Keeps `calls`: what was done to the records, in order, other than reading."""

    def __init__(self, store: Any = None) -> None:
        super().__init__(store)
        self.calls: list[str] = []

    def set(self, key: str, payload: bytes, lifetime: float | None = None) -> None:
        self.calls.append("set")
        super().set(key, payload, lifetime)

    def delete(self, key: str) -> bool:
        self.calls.append("delete")
        return super().delete(key)

    def touch(self, key: str, lifetime: float | None) -> bool:
        self.calls.append("touch")
        return super().touch(key, lifetime)


@pytest.fixture
def storage() -> NotingStorage:
    return NotingStorage()


@pytest.fixture
def handle(storage: NotingStorage) -> Handle:
    """Lets a handler of one of Anna's messages do something to her session."""

    def call(change: Change, **options: Any) -> Any:
        @with_session(**{"storage": storage, **options})
        def handler(message: types.Message, session: Any) -> Any:
            return change(session)

        return handler(UPDATE.message)

    return call


@dataclass
class Basket:
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


def fields() -> dict[str, Any]:
    """What Anna's session begins with; the field called plain has no part in any change."""
    return {
        "counter": 1,
        "plain": "as it was",
        "cart": {"apple": [1, 2], "pear": {"ripe": {"yes"}}},
        "log": ["first"],
        "basket": Basket(fruit=["plum"]),
    }


def fields_with_lifetimes() -> dict[str, Any]:
    return {**fields(), "code": ttl("1234", 300), "hints": ttl({"tries": []}, 60)}


BEGINNINGS = {"plain": fields, "with lifetimes": fields_with_lifetimes}


def store(storage: MemoryStorage, begin: Any = fields_with_lifetimes) -> bytes | None:
    """Store a session of Anna's as `begin` makes it, and return the payload of its record."""
    with Sessions(storage=storage, initial=begin).open(KEY):
        pass
    if isinstance(storage, NotingStorage):
        storage.calls.clear()
    return storage.get(KEY)


def stored(storage: MemoryStorage) -> dict[str, Any] | None:
    """The fields of Anna's session as they are stored, or `None`."""
    return Sessions(storage=storage).peek(KEY)


def locks_kept(storage: MemoryStorage) -> int:
    return len(storage._locks)


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
    [(fields, fields()), (Order, {**dataclasses.asdict(Order()), "code": "0000"})],
    ids=["mapping", "dataclass"],
)


def shown_with(error: BaseException) -> Iterator[BaseException]:
    """An exception and all that Python prints before it."""
    shown: BaseException | None = error
    while shown is not None:
        yield shown
        shown = shown.__cause__ or (None if shown.__suppress_context__ else shown.__context__)
