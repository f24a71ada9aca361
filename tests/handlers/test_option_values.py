"""Values of options: wrong ones are refused at once, and those at the edge work."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from support.handlers import Cart
from support.updates import said
from telesession import MemoryStorage, Sessions, Storage, session_key, with_session


@dataclass
class Required:
    name: str
    age: int


@dataclass(frozen=True)
class Frozen:
    name: str = ""


@dataclass(slots=True)
class Slotted:
    name: str = ""


def make_frozen() -> Frozen:
    return Frozen()


async def make_async():
    return {}


def make_of_two(message, bot):
    return {}


def make_of_a_keyword(*, message):
    return {}


def key_of_nothing():
    return "everybody"


def key_of_two(message, bot):
    return "everybody"


async def key_in_the_future(message):
    return "everybody"


class HalfStorage(Storage):
    def get(self, key: str) -> bytes | None:
        return None


class StorageWithoutCodec(MemoryStorage):
    def __init__(self) -> None:
        super().__init__()
        self.codec = None


class Duck:
    """Has what a storage has, and is none."""

    codec = MemoryStorage.codec
    persistent = False
    get = set = has = delete = touch = keys = hold = close = lambda *_: None


BAD_DURATIONS = [
    (-1, ValueError),
    (-0.001, ValueError),
    (timedelta(seconds=-1), ValueError),
    (float("nan"), ValueError),
    (float("inf"), ValueError),
    (float("-inf"), ValueError),
    (10**400, ValueError),
    (True, TypeError),
    (False, TypeError),
    ("30", TypeError),
    (b"30", TypeError),
    (Decimal(30), TypeError),
    ([30], TypeError),
]

BAD_OPTIONS = [
    *(("lifetime", value, kind) for value, kind in BAD_DURATIONS),
    ("lifetime", 0, ValueError),
    ("lifetime", 0.0, ValueError),
    ("lifetime", timedelta(0), ValueError),
    *(("lock_timeout", value, kind) for value, kind in BAD_DURATIONS),
    ("initail", dict, TypeError),
    ("ttl", 30, TypeError),
    ("initial", None, TypeError),
    ("initial", 5, TypeError),
    ("initial", int, TypeError),
    ("initial", object, TypeError),
    ("initial", [("counter", 0)], TypeError),
    ("initial", Cart(), TypeError),
    ("initial", {1: "one"}, TypeError),
    ("initial", Required, TypeError),
    ("initial", Frozen, TypeError),
    ("initial", Slotted, TypeError),
    ("initial", make_frozen, TypeError),
    ("initial", make_async, TypeError),
    ("initial", make_of_two, TypeError),
    ("initial", make_of_a_keyword, TypeError),
    ("get_storage_key", None, TypeError),
    ("get_storage_key", "id", TypeError),
    ("get_storage_key", 42, TypeError),
    ("get_storage_key", key_of_nothing, TypeError),
    ("get_storage_key", key_of_two, TypeError),
    ("get_storage_key", key_in_the_future, TypeError),
    ("storage", {}, TypeError),
    ("storage", MemoryStorage, TypeError),
    ("storage", Duck(), TypeError),
    ("storage", "sessions.db", TypeError),
    ("storage", StorageWithoutCodec(), TypeError),
    ("name", "", ValueError),
    ("name", "my session", ValueError),
    ("name", "2nd", ValueError),
    ("name", "class", ValueError),
    ("name", "None", ValueError),
    ("name", None, TypeError),
    ("name", b"session", TypeError),
    ("prefix", 5, TypeError),
    ("prefix", b"shop:", TypeError),
    ("prefix", "@", ValueError),
    ("prefix", "@shop:", ValueError),
    ("commit_on_error", 1, TypeError),
    ("commit_on_error", None, TypeError),
    ("commit_on_error", "yes", TypeError),
]

# The errors about these name what is wrong with the class or the storage itself.
NAMED_OTHERWISE = {Frozen: "Frozen", Slotted: "Slotted", make_frozen: "Frozen"}


@pytest.mark.parametrize("construct", [Sessions, with_session])
@pytest.mark.parametrize(
    ("option", "value", "kind"),
    [
        pytest.param(*row, id=f"{row[0]}={getattr(row[1], '__name__', str(row[1])[:20])}")
        for row in BAD_OPTIONS
    ],
)
def test_a_wrong_option_is_refused_at_once(
    construct: Callable[..., Any], option: str, value: Any, kind: type[Exception]
) -> None:
    """
    Wrong options raise at decoration or construction, not at the first message.
    """
    named = option
    if isinstance(value, Callable) and value in NAMED_OTHERWISE:
        named = NAMED_OTHERWISE[value]
    elif isinstance(value, StorageWithoutCodec):
        named = "codec"

    with pytest.raises(kind, match=named):
        construct(**{option: value})


def test_a_storage_that_lacks_a_method_cannot_be_made() -> None:
    """
    A storage that lacks a method is refused when it is made, and the missing methods are named.
    """
    with pytest.raises(TypeError, match=r"delete.*keys.*set.*touch"):
        HalfStorage()


GOOD_OPTIONS = [
    ("lifetime", None),
    ("lifetime", 0.001),
    ("lifetime", 10**12),
    ("lifetime", timedelta.max),
    ("lock_timeout", None),
    ("lock_timeout", 0),
    ("lock_timeout", timedelta(0)),
    ("lock_timeout", 1e300),
    ("initial", {"counter": 0}),
    ("initial", dict),
    ("initial", Cart),
    ("initial", lambda message=None: {}),
    ("initial", lambda *args, **kwargs: {}),
    ("get_storage_key", lambda *args: "everybody"),
    ("get_storage_key", functools.partial(lambda prefix, message: prefix, "everybody")),
    ("prefix", None),
    ("prefix", ""),
    ("prefix", "shop@"),
    ("prefix", "a prefix: with anything \N{HOT BEVERAGE} in it"),
    ("commit_on_error", True),
]


@pytest.mark.parametrize(
    ("option", "value"),
    [pytest.param(*row, id=f"{row[0]}={str(row[1])[:20]}") for row in GOOD_OPTIONS],
)
def test_an_option_at_the_edge_of_what_makes_sense_works(
    option: str, value: Any, storage: MemoryStorage
) -> None:
    """
    What is right is not refused with what is wrong: a handler runs with each of these.
    """
    seen = []
    handler = with_session(storage=storage, **{option: value})(
        lambda message, session: seen.append(session_key(session))
    )

    handler(said("one").message)

    assert 1 == len(seen)
