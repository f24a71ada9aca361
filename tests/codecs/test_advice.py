"""A refusal says what to store in the place of the value, or where its type has to be declared."""

from __future__ import annotations

import asyncio
import dataclasses
import enum
import io
import ipaddress
import threading
import time
from collections import ChainMap, Counter, OrderedDict, defaultdict, deque, namedtuple
from datetime import UTC, datetime, timedelta, tzinfo
from fractions import Fraction
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, NamedTuple
from zoneinfo import ZoneInfo

import msgspec
import pytest
from telebot import TeleBot
from telebot.states import State
from telebot.types import (
    CallbackQuery,
    Chat,
    InlineKeyboardMarkup,
    Location,
    Message,
    PhotoSize,
    User,
)

from telesession import EncodeError, JSONCodec, MemoryStorage, PickleCodec, Sessions

if TYPE_CHECKING:
    from collections.abc import Iterator

    from telesession.codecs import Codec

DECLARE, PICKLE = "declare its type", "give the storage a PickleCodec"
STORE_PLAIN_DATA = "store plain data"


class Level(enum.IntEnum):
    LOW = 1


class Color(enum.Enum):
    RED = "red"


class Point(NamedTuple):
    x: int


Pair = namedtuple("Pair", "one other")  # noqa: PYI024


class Struct(msgspec.Struct):
    x: int = 1


@dataclasses.dataclass
class Item:
    n: int = 1


class OfAttrs:
    """Has the attribute by which attrs tells its classes."""

    __attrs_attrs__ = ()


class OfPydantic:
    """Has the attribute by which pydantic tells its models."""

    __pydantic_core_schema__ = ()


class Name(str):
    __slots__ = ()


class Plain:
    pass


class Refusing:
    """Raises at whatever is asked of it."""

    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError(name)


class OtherZone(tzinfo):
    def utcoffset(self, _when: datetime | None) -> timedelta:
        return timedelta(0)


def generator() -> Iterator[int]:
    yield 1


def local_instance() -> Any:
    class Local:
        pass

    return Local()


def local_dataclass() -> Any:
    return dataclasses.make_dataclass("Local", [])()


def refusal(codec: Codec, value: object) -> str:
    """The reason for which a codec refuses a value."""
    with pytest.raises(EncodeError) as caught:
        codec.encode({"fields": {"value": value}}, "1")
    return caught.value.reason


ADA = User(1, is_bot=False, first_name="ada")
ROOM = Chat(1, "private")
MESSAGE = Message(1, ADA, 0, ROOM, "text", {}, {"text": "hi"})
QUERY = CallbackQuery(1, ADA, "data", "chat", {"data": "data"})

DECLARED = [
    Item(), Level.LOW, Color.RED, Point(1), Pair(1, 2), Struct(), OfAttrs(), OfPydantic(),
    deque(), Counter(), OrderedDict(), defaultdict(int), Fraction(1), Path(), PurePosixPath(),
    ZoneInfo("UTC"), ipaddress.ip_address("127.0.0.1"), ipaddress.ip_network("::/64"),
]  # fmt: skip


@pytest.mark.parametrize("value", DECLARED, ids=lambda value: type(value).__name__)
def test_json_advises_a_declaration_for_what_a_typed_session_keeps(value: object) -> None:
    """Where a declaration helps, the advice is to declare the type, or to store plain data."""
    reason = refusal(JSONCodec(), value)

    assert (True, True) == (DECLARE in reason, STORE_PLAIN_DATA in reason)


def test_the_advice_to_declare_fits_a_typed_session() -> None:
    """A value under `Any` is refused with the advice to declare its type instead."""
    cart = dataclasses.make_dataclass("Cart", [("item", Any, None)])
    sessions = Sessions(initial=cart, storage=MemoryStorage(codec=JSONCodec()))

    with pytest.raises(EncodeError, match=f"{DECLARE}, and not Any"), sessions.open(1) as session:
        session.item = deque()


@pytest.mark.parametrize(
    ("value", "advice"),
    [
        (Name("ada"), "store a plain str"),
        (time.gmtime(0), "store a plain tuple"),
        (Plain(), STORE_PLAIN_DATA),
        (ChainMap(), STORE_PLAIN_DATA),
        (object(), STORE_PLAIN_DATA),
        (UTC, STORE_PLAIN_DATA),
        (datetime(2026, 1, 1, tzinfo=OtherZone()), "with a datetime.timezone"),
    ],
    ids=lambda value: "" if isinstance(value, str) else type(value).__name__,
)
def test_json_advises_pickle_for_what_no_declaration_helps(value: object, advice: str) -> None:
    """Where no declaration helps, the advice is plain data or a codec that keeps the value."""
    reason = refusal(JSONCodec(), value)

    assert (True, True, False) == (advice in reason, PICKLE in reason, DECLARE in reason)


@pytest.mark.parametrize("codec", [JSONCodec(), PickleCodec()], ids=["json", "pickle"])
@pytest.mark.parametrize("make", [threading.Lock, local_instance, Refusing])
def test_no_codec_is_advised_that_would_not_help(codec: Codec, make: Any) -> None:
    """For a value that no codec keeps, the advice is plain data alone."""
    reason = refusal(codec, make())

    assert (True, False, False) == (
        STORE_PLAIN_DATA in reason,
        PICKLE in reason,
        DECLARE in reason,
    )


def test_pickle_advises_another_place_for_a_local_class() -> None:
    """Pickle finds classes by their name, so the advice is to move the class."""
    assert "move its class to the top level" in refusal(PickleCodec(), local_instance())


def test_pickle_advises_a_declaration_for_a_local_dataclass() -> None:
    """A typed session stores plain data for a dataclass, so pickle need not find the class."""
    assert DECLARE in refusal(PickleCodec(), local_dataclass())


@pytest.mark.parametrize(
    ("value", "advice"),
    [
        (MESSAGE, "store its json or id"),
        (QUERY, "store its json or id"),
        (ADA, "store its to_dict() or id"),
        (ROOM, "store its id"),
        (Location(1.0, 2.0), "store its to_dict()"),
        (InlineKeyboardMarkup(), "store its to_dict()"),
        (PhotoSize("a", "b", 1, 1), "store its file_id"),
        (State(), "store plain data of it"),
        (TeleBot("1:token", threaded=False), "store plain data of it"),
    ],
    ids=lambda value: "" if isinstance(value, str) else type(value).__name__,
)
def test_json_advises_the_plain_data_that_telebot_gives(value: object, advice: str) -> None:
    """For an object of telebot the advice names its attributes that can be stored."""
    assert refusal(JSONCodec(), value).endswith(f"; {advice}")


@pytest.mark.parametrize("codec", [JSONCodec(), PickleCodec()], ids=["json", "pickle"])
@pytest.mark.parametrize(
    ("value", "advice"),
    [
        (generator(), "store its items as list(...)"),
        ({}.keys(), "store its items as list(...)"),
        (memoryview(b"tea"), "store its content as bytes(...)"),
        (lambda: 1, "call it and store its result"),
        (partial(lambda: 1), "call it and store its result"),
        (type(local_instance()), "store its name"),
        (asyncio, "store its name"),
        (io.TextIOWrapper(io.BytesIO()), "store the name of the file"),
    ],
    ids=lambda value: "" if isinstance(value, str) else type(value).__name__,
)
def test_both_codecs_advise_what_to_make_of_a_value(
    codec: Codec, value: object, advice: str
) -> None:
    """A function, an iterator or a file is refused with the data to store in its place."""
    assert advice in refusal(codec, value)


@pytest.mark.parametrize("codec", [JSONCodec(), PickleCodec()], ids=["json", "pickle"])
def test_both_codecs_advise_to_run_a_coroutine(codec: Codec) -> None:
    """A coroutine is a call that has not run, so the advice is to run it."""
    coroutine = asyncio.sleep(0)
    try:
        assert "await it" in refusal(codec, coroutine)
    finally:
        coroutine.close()
