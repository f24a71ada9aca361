"""JSON text: plain data as bytes and back, exactly or not at all."""

from __future__ import annotations

from collections.abc import Iterable
from json import loads
from math import isfinite
from types import NoneType
from typing import Any

import msgspec

# The most levels of plain data. Both directions must work, however deep the stack already is.
DEEPEST = 200
# Programs that read JSON, such as SQLite, round or refuse integers beyond 64 bits.
LOWEST, HIGHEST = -(2**63), 2**63 - 1
_SIMPLE = frozenset((str, bool, NoneType))
CONTAINERS = (dict, list, tuple, set, frozenset)

encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


def write_plain(value: dict[str, Any] | list[Any]) -> bytes | None:
    """The JSON text of plain data; `None` if a part would not come back as it is."""
    try:
        # First, because this also finds a value that holds itself, which the loop does not.
        payload = encode(value)
    except (OverflowError, RecursionError, TypeError, ValueError):
        return None
    return payload if _is_plain(value) else None


def read_plain(payload: bytes) -> tuple[Any, bool]:
    """
    The value of a JSON text, and whether `encode` would write the same text.

    Raises:
        ValueError: It is no JSON text, or an object in it has a key twice.
        RecursionError: It is nested too deeply.
    """
    value = _decode(payload)
    if encode(value) == payload:
        return value, True
    # msgspec takes the second of two equal keys. Its own text has no equal keys.
    return loads(payload.decode(), object_pairs_hook=_unique), False


def is_deeper(value: Any, levels: int) -> bool:
    """Whether containers are nested more than `levels` deep. The value is the first level."""
    level = [value] if type(value) in CONTAINERS else []
    for _ in range(levels):
        level = [
            item
            for holder in level
            for item in (holder.values() if type(holder) is dict else holder)
            if type(item) in CONTAINERS
        ]
        if not level:
            return False
    return True


def _is_plain(value: Any) -> bool:  # noqa: C901 -- calls would cost more than the work
    """Whether a value has only the exact types that JSON has, and is not nested too deeply."""
    # About as strict as a comparison with the text read back, in two thirds of the time.
    level = [value]
    for _ in range(DEEPEST):
        below: list[Any] = []
        for holder in level:
            items: Iterable[Any] = holder
            if type(holder) is dict:
                for name in holder:
                    if type(name) is not str:
                        return False
                items = holder.values()
            for item in items:
                kind = type(item)
                if kind in _SIMPLE:
                    continue
                if kind is dict or kind is list:
                    below.append(item)
                elif kind is int:
                    if not LOWEST <= item <= HIGHEST:
                        return False
                elif kind is not float or not isfinite(item):
                    return False
        if not below:
            return True
        level = below
    return False


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("a key is there twice")
    return made
