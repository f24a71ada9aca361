"""Dataclasses of which some have fields that expire by themselves."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field

from lifetimes import LIFETIME

from telesession import ttl


@dataclass
class Cart:
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
