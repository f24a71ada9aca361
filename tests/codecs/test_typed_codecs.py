"""A typed session refuses values that its annotations do not declare, or that its codec refuses."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from telesession import EncodeError, JSONCodec, MemoryStorage, PickleCodec, Sessions, ttl

every_codec = pytest.mark.parametrize("codec", [PickleCodec(), JSONCodec()], ids=["pickle", "JSON"])


@dataclass
class Cart:
    items: list[str] = field(default_factory=list)
    extras: list[Any] = field(default_factory=list)


def refusal_of(codec: Any, name: str, value: Any) -> EncodeError:
    """The error for a field of a new session, of which nothing is stored."""
    sessions = Sessions(initial=Cart, storage=MemoryStorage(codec=codec))

    with pytest.raises(EncodeError) as caught, sessions.open(1) as session:
        setattr(session, name, value)

    assert sessions.peek(1) is None
    return caught.value


UNDECLARED = {
    "code": (lambda: 1, "call it and store its result"),
    "generator": ((n for n in "ab"), "store its items as list(...)"),
    "class": (Cart, "store its name"),
    "ttl": (ttl("milk", 5), "made by ttl(...)"),
    "instance": (Cart(), "assign a value of the declared type, or declare this"),
    "another type": (5, "assign a value of the declared type, or declare this"),
}


@every_codec
@pytest.mark.parametrize(("value", "advice"), UNDECLARED.values(), ids=UNDECLARED)
def test_what_the_annotation_does_not_declare_is_refused_alike_by_all_codecs(
    codec: Any, value: Any, advice: str
) -> None:
    """The error has the path, the declaration there and the advice; no codec is asked."""
    error = refusal_of(codec, "items", ["tea", value])

    assert ("items[1]", type(value).__name__) == (error.path, error.type_name)
    assert error.reason == (
        "and the value does not fit: Cart declares items: list[str], with str there; "
        + error.reason.partition("there; ")[2]
    )
    assert advice in error.reason


LEFT_OPEN = {
    "pickle, code": (PickleCodec(), lambda: 1, "which pickle cannot bring back; call it"),
    "JSON, code": (JSONCodec(), lambda: 1, "call it and store its result"),
    "JSON, an instance": (JSONCodec(), Cart(), "declare its type, and not Any"),
    "JSON, ttl": (JSONCodec(), ttl("milk", 5), "made by ttl(...)"),
    "pickle, ttl": (PickleCodec(), ttl("milk", 5), "made by ttl(...)"),
}


@pytest.mark.parametrize(("codec", "value", "advice"), LEFT_OPEN.values(), ids=LEFT_OPEN)
def test_what_the_annotation_leaves_open_is_refused_by_the_codec(
    codec: Any, value: Any, advice: str
) -> None:
    """Under `Any` the codec of the storage says what to do."""
    error = refusal_of(codec, "extras", ["tea", value])

    assert "extras[1]" == error.path
    assert advice in error.reason
    assert ("pickle cannot" in error.reason) <= isinstance(codec, PickleCodec)
