"""Forms that no storage can keep are refused at decoration, alike by all, with the way out."""

from __future__ import annotations

import io
import logging
import re
import threading
from collections import ChainMap, UserDict
from collections.abc import AsyncIterator, Callable, Coroutine, Generator, Iterator
from typing import Any, Never

import pytest
from telebot import TeleBot, types

from support.sessions import holder_of
from support.values import Money, Seeded
from telesession import MemoryStorage, PickleCodec, Sessions, Storage, with_session

CODE = "is code, which is not stored; store a name, and look the function up by it"
ONCE = "can be read only once; declare list[...]"
NAMED = "is a class, which is not stored; store its name, or declare a Literal or an Enum"
OF_TELEBOT = "is of telebot, which changes its classes; store its to_dict(), json or id"
CLASS = (
    "is a class that nothing converts; make it a dataclass, declare plain data such as str, or "
    "declare Any and give the storage a PickleCodec"
)

REFUSED: dict[str, tuple[Any, str]] = {
    "Callable": (Callable[[int], str], f"Callable[[int], str] {CODE}"),
    "list of Callable": (list[Callable[[], None]], f"Callable[[], None] {CODE}"),
    "re.Pattern": (
        re.Pattern[str],
        "Pattern[str] is not stored; store the pattern as str, and compile it where it is used",
    ),
    "type[X]": (
        type[int],
        f"type[int] {NAMED}",
    ),
    "Iterator": (Iterator[int], f"Iterator[int] {ONCE}"),
    "Generator": (Generator[int, None, None], f"Generator[int, None, None] {ONCE}"),
    "AsyncIterator": (AsyncIterator[int], f"AsyncIterator[int] {ONCE}"),
    "Coroutine": (Coroutine[Any, Any, int], f"Coroutine[Any, Any, int] {ONCE}"),
    "class": (Money, f"Money {CLASS}"),
    "list of a class": (list[Money], f"Money {CLASS}"),
    "optional class": (Money | None, f"Money {CLASS}"),
    "key of a class": (dict[Money, int], f"Money {CLASS}"),
    "range": (range, f"range {CLASS}"),
    "lock": (threading.Thread, f"Thread {CLASS}"),
    "file": (io.BytesIO, f"BytesIO {CLASS}"),
    "logger": (logging.Logger, f"Logger {CLASS}"),
    "ChainMap": (ChainMap[str, int], f"ChainMap[str, int] {CLASS}"),
    "UserDict": (UserDict, f"UserDict {CLASS}"),
    "Message": (types.Message, f"Message {OF_TELEBOT}"),
    "list of User": (list[types.User], f"User {OF_TELEBOT}"),
    "TeleBot": (TeleBot, f"TeleBot {OF_TELEBOT}"),
    "Never": (Never, "Never fits no value; declare the type of the values"),
    "nested InitVar": (
        Seeded,
        (
            "Seeded has the InitVar seed, which is not kept, so it would be gone when the object "
            "comes back; make it a field"
        ),
    ),
}


@pytest.mark.parametrize("decorate", [Sessions, with_session], ids=lambda each: each.__name__)
@pytest.mark.parametrize(("hint", "reason"), REFUSED.values(), ids=REFUSED)
def test_a_form_is_refused_alike_by_all_storages(
    storage: Storage, hint: Any, reason: str, decorate: Any
) -> None:
    """`TypeError` at decoration names the field, the declaration, the reason and the way out."""
    kind = holder_of(hint, None)
    with pytest.raises(TypeError) as caught:
        decorate(initial=kind, storage=storage)
    assert f"the annotation of Holder.value: {reason}" == str(caught.value)


@pytest.mark.parametrize(("hint", "reason"), REFUSED.values(), ids=REFUSED)
def test_a_form_behind_a_function_is_refused_at_decoration(
    storage: Storage, hint: Any, reason: str
) -> None:
    """The annotation of a function tells its class, so its fields are looked at as early."""
    kind = holder_of(hint, None)

    def make() -> Any:
        return kind()

    make.__annotations__["return"] = kind
    with pytest.raises(TypeError) as caught:
        Sessions(initial=make, storage=storage)
    assert f"the annotation of Holder.value: {reason}" == str(caught.value)


def test_an_instance_of_a_class_that_nothing_converts_is_kept_under_any_in_memory() -> None:
    """The way out of the refusal works: `Any`, and a storage with a `PickleCodec`."""
    sessions = Sessions(initial=holder_of(Any, None), storage=MemoryStorage(codec=PickleCodec()))
    with sessions.open(1) as session:
        session.value = Money(3)
    with sessions.open(1) as session:
        session.value.amount += 1
    assert Money(4) == sessions.peek(1).value
