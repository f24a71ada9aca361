"""What a typed session refuses to store is refused in the words of its storage's codec."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from telesession import EncodeError, JSONCodec, MemoryStorage, PickleCodec, Sessions, ttl


@dataclass
class Cart:
    items: list[str] = field(default_factory=list)


@pytest.mark.parametrize(
    ("codec", "value", "path", "advice"),
    [
        (PickleCodec(), ["tea", lambda: 1], "items[1]", "which pickle cannot bring back"),
        (JSONCodec(), ["tea", lambda: 1], "items[1]", "call it and store its result"),
        (JSONCodec(), ["tea", Cart()], "items", "but Cart declares items: list[str]"),
        (JSONCodec(), ["tea", ttl("milk", 5)], "items[1]", "made by ttl(...)"),
        (PickleCodec(), ["tea", ttl("milk", 5)], "items[1]", "made by ttl(...)"),
        (JSONCodec(), ["tea", 5], "items", "but Cart declares items: list[str]"),
    ],
    ids=["pickle", "JSON", "JSON, an instance", "JSON, ttl", "pickle, ttl", "another type"],
)
def test_a_field_that_cannot_be_stored_is_refused_by_the_codec(
    codec: Any, value: Any, path: str, advice: str
) -> None:
    """A value that fits neither annotation nor codec: the codec of the storage says what to do."""
    sessions = Sessions(initial=Cart, storage=MemoryStorage(codec=codec))

    with pytest.raises(EncodeError) as caught, sessions.open(1) as session:
        session.items = value

    assert path == caught.value.path
    assert advice in caught.value.reason
    assert ("pickle" in caught.value.reason) <= isinstance(codec, PickleCodec)
    assert sessions.peek(1) is None
