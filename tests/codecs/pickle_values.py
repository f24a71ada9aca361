"""Values that PickleCodec keeps, and sessions in memory that have them."""

from __future__ import annotations

import dataclasses
import enum
from typing import TYPE_CHECKING, Any, NamedTuple

from telesession import MemoryStorage, Sessions

if TYPE_CHECKING:
    from collections.abc import Iterable

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


def cyclic() -> list[Any]:
    value: list[Any] = []
    value.append({"again": value})
    return value
