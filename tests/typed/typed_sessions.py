"""Dataclasses as bots have them for sessions, and those sessions in a storage."""

from __future__ import annotations

import copy
import dataclasses
import functools
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, ClassVar

import pytest
from typed_values import Color, Item

from telesession import MemoryStorage, Sessions, ttl


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


@dataclass
class Marked:
    """A session in which every kind of default has a lifetime."""

    code: str = ttl("none", 60)
    tries: list[str] = field(default_factory=lambda: ttl([], 60))
    plain: int = 0


@pytest.fixture
def storage() -> MemoryStorage:
    """An empty storage."""
    return MemoryStorage()


def make_unannounced(*_args: Any) -> Any:
    """A cart, but only a call tells."""
    return Cart("Anna")


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
