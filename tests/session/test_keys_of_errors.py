"""The `key` of an error is the key that `open` takes, also if it begins like a prefix or a room."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from telesession import DecodeError, EncodeError, MemoryStorage, Sessions, save, session_key

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.storages import SpyStorage


@dataclass
class Counter:
    """A typed session."""

    number: int = 0


HOSTILE = [("shop:", "shop:1"), ("", "@a"), ("", "@shop:1"), ("", "@@a")]
hostile_keys = pytest.mark.parametrize(("prefix", "key"), HOSTILE, ids=str)


def damaging(storage: MemoryStorage, prefix: str, key: str) -> None:
    with Sessions(storage=storage, prefix=prefix).open(key) as session:
        session.number = "many"


@hostile_keys
@pytest.mark.parametrize("initial", [dict, Counter], ids=["mapping", "dataclass"])
@pytest.mark.parametrize("write", [session_key, save], ids=["commit", "save"])
def test_the_key_of_what_cannot_be_stored(
    storage: MemoryStorage, initial: Any, prefix: str, key: str, write: Callable[[Any], Any]
) -> None:
    """An `EncodeError`, of the codec or of an annotation, has the key that was opened."""
    sessions: Sessions[Any] = Sessions(initial=initial, storage=storage, prefix=prefix)

    def change() -> None:
        with sessions.open(key) as session:
            session.number = threading.Lock()
            write(session)

    with pytest.raises(EncodeError) as caught:
        change()
    assert key == caught.value.key


@hostile_keys
def test_the_key_of_what_does_not_fit(storage: MemoryStorage, prefix: str, key: str) -> None:
    """A `DecodeError` of an annotation has the key that was opened or peeked."""
    damaging(storage, prefix, key)
    sessions = Sessions(initial=Counter, storage=storage, prefix=prefix)
    keys = []
    for use in (lambda: sessions.open(key).__enter__(), lambda: sessions.peek(key)):
        with pytest.raises(DecodeError) as caught:
            use()
        keys.append(caught.value.key)
    assert [key, key] == keys


@hostile_keys
def test_the_key_of_a_damaged_record(storage: SpyStorage, prefix: str, key: str) -> None:
    """A `DecodeError` of the codec has the key that was opened or peeked."""
    damaging(storage, prefix, key)
    (place,) = storage.keys()
    storage.set(place, b"damaged")
    sessions = Sessions(storage=storage, prefix=prefix)
    keys = []
    for use in (lambda: sessions.open(key).__enter__(), lambda: sessions.peek(key)):
        with pytest.raises(DecodeError) as caught:
            use()
        keys.append(caught.value.key)
    assert [key, key] == keys
