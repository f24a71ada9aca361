"""The codec of pickle for records in memory."""

from __future__ import annotations

import io
import pickle
import re
from collections import Counter
from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID
from zlib import crc32

from telesession.codecs.advice import advice_for
from telesession.codecs.base import PICKLE, foreign
from telesession.codecs.refused import attributes_of, find_unpicklable, refused_as
from telesession.codecs.text import CONTAINERS
from telesession.errors import DecodeError, EncodeError

# Pickle opcodes. STACK_GLOBAL is in each reference to code. The unordered ones are EMPTY_SET,
# FROZENSET and STACK_GLOBAL. A search of bytes for a number is several times faster than one for
# bytes, so it goes first.
_STACK_GLOBAL, _MEMOIZE = 0x93, 0x94
_UNORDERED = (0x8F, 0x91, _STACK_GLOBAL)
# The CRC-32 of any data that ends with its own CRC-32, little-endian.
_SOUND = 0x2144DF1C
# The types whose values can be sorted among themselves.
_ORDERED = frozenset((int, str, bytes))
_LEAVES = frozenset((bool, bytes, complex, float, int, str, type(None)))
_SCALARS = _LEAVES | {date, datetime, time, timedelta, Decimal, UUID}
# Messages of pickle about a class that is gone. The first is that of Python 3.13 and older. Newer
# versions have the second for a class inside another class, and the third for all other classes.
_GONE = tuple(
    re.compile(pattern)
    for pattern in (
        r"Can't get attribute '(?P<name>[\w.]+)' on <module '(?P<module>[\w.]+)'",
        r"Can't resolve path '(?P<name>[\w.]+)' on module '(?P<module>[\w.]+)'",
        r"module '(?P<module>[\w.]+)' has no attribute '(?P<name>[\w.]+)'",
    )
)


class PickleCodec:
    """
    Keeps every value that pickle can bring back: the codec of in-process memory.

    Outside memory it is an explicit choice with a price. A person who can write to the storage can
    run code in the bot (https://docs.python.org/3/library/pickle.html). A record cannot be read
    after its class was renamed or moved. The checksum finds damage, and does not stop an attacker.

    Stateless; keep an instance for as long as you like, in any thread.
    """

    def encode(self, record: dict[str, Any], key: str, previous: bytes | None = None) -> bytes:
        """
        See `Codec.encode`.

        A value that refers to code, such as an instance of a class, is loaded once, to check that
        it comes back.
        """
        pickled = b""
        try:
            pickled = pickle.dumps(record, 5)
            refers_to_code = _STACK_GLOBAL in pickled and _has_opcode(pickled, _STACK_GLOBAL)
            comes_back = not refers_to_code or _same_types(record, pickle.loads(pickled))
        except Exception:  # noqa: BLE001 -- the methods of a value may raise any exception
            comes_back = False
        if not comes_back:
            raise _refusal(record["fields"], key)
        payload = self._seal(pickled)
        if previous is None or payload == previous or _must_differ(payload, previous):
            return payload
        return previous if self._says_the_same(record, previous, key) else payload

    def decode(self, payload: bytes, key: str) -> dict[str, Any]:
        """See `Codec.decode`."""
        self._check_seal(payload, key)
        record, failure = None, ""
        try:
            record = pickle.loads(payload)
        except Exception as error:  # noqa: BLE001 -- a class may raise any exception
            failure = _unpickling_failure(error)
        if failure:
            # Outside of the except block, so that the DecodeError has no context: the text of that
            # error may quote stored values.
            remedy = "bring back the code that it needs, or delete it to start anew"
            raise DecodeError(key, failure, remedy)
        if type(record) is not dict:
            raise DecodeError(key, "it is not the record of a session")
        return record

    def _seal(self, pickled: bytes) -> bytes:
        """Add a checksum."""
        return pickled + crc32(pickled).to_bytes(4, "little")

    def _check_seal(self, payload: bytes, key: str) -> None:
        """Check the checksum first, because a damaged pickle may ask for gigabytes of memory."""
        if not payload.startswith(PICKLE):
            raise foreign(payload, key, "PickleCodec")
        if crc32(payload) != _SOUND:
            raise DecodeError(key, "it is damaged, because its checksum does not match")

    def _says_the_same(self, record: dict[str, Any], previous: bytes, key: str) -> bool:
        return _pickle_canonically(record) == _pickle_canonically(self.decode(previous, key))


def _refusal(fields: dict[str, Any], key: str) -> EncodeError:
    """The error with the path of the innermost value that pickle does not bring back."""
    path, value = find_unpicklable(fields, survives_pickle)
    if type(value) in CONTAINERS:
        reason = "which pickle cannot bring back with its nested values; store it flat"
    else:
        is_local = "<locals>" in type(value).__qualname__
        move = "move its class to the top level of a module, or " if is_local else ""
        advice = advice_for(value, f"{move}store plain data")
        reason = refused_as(value) or f"which pickle cannot bring back; {advice}"
    return EncodeError(key, path, type(value).__name__, reason)


def survives_pickle(value: object) -> bool:
    """Whether pickle brings a value back with the same types."""
    try:
        return _same_types(value, pickle.loads(pickle.dumps(value, 5)))
    except Exception:  # noqa: BLE001 -- see PickleCodec.encode
        return False


def _must_differ(payload: bytes, previous: bytes) -> bool:
    """
    Whether two different payloads certainly have different values.

    Equal values may be pickled differently. Sets, and instances that hold sets, may be in another
    order. Equal strings may be one object or several objects, which changes the length.
    """
    if len(payload) != len(previous):
        return False
    for opcode in _UNORDERED:  # noqa: SIM110 -- a generator costs more than all the rest
        if opcode in previous and _has_opcode(previous, opcode):
            return False
    return True


def _has_opcode(pickled: bytes, opcode: int) -> bool:
    """Whether the opcode occurs, and not only its byte in a text: pickle memoizes its object."""
    return bytes((opcode, _MEMOIZE)) in pickled


def _pickle_canonically(value: Any) -> bytes:
    buffer = io.BytesIO()
    _CanonicalPickler(buffer, 5).dump(value)
    return buffer.getvalue()


class _CanonicalPickler(pickle.Pickler):
    """
    Pickles equal values to equal bytes.

    Equal strings may be one object or several, and sets of scalars may have any order.
    """

    def __init__(self, buffer: io.BytesIO, protocol: int) -> None:
        super().__init__(buffer, protocol)
        # id of a set -> its number
        self._sets: dict[int, int] = {}

    def persistent_id(self, obj: Any) -> Any:
        # Numbers replace strings, because pickle ignores the identity of numbers. The identity of
        # containers counts, because two fields may share one.
        kind = type(obj)
        if kind is str:
            return int.from_bytes(b"s" + obj.encode("utf-8", "surrogatepass"), "big")
        if kind is bytes:
            return int.from_bytes(b"b" + obj, "big")
        if kind in (set, frozenset) and all(map(_is_scalar, obj)):
            number = self._sets.setdefault(id(obj), len(self._sets))
            is_ordered = len(kinds := set(map(type, obj))) == 1 and kinds <= _ORDERED
            items = sorted(obj if is_ordered else map(_pickle_canonically, obj))
            return kind.__name__, number, items
        return None


def _is_scalar(item: Any) -> bool:
    """Whether an item of a set is a scalar, or a tuple or frozenset of scalars at every level."""
    kind = type(item)
    return all(map(_is_scalar, item)) if kind in (tuple, frozenset) else kind in _SCALARS


def _same_types(value: Any, loaded: Any) -> bool:
    """Whether a loaded value has the types of the original at every level."""
    pairs, seen = [(value, loaded)], set()
    while pairs:
        one, other = pairs.pop()
        kind = type(one)
        if kind is not type(other):
            # Under freezegun a datetime comes back as an instance of a subclass.
            if isinstance(other, kind) and one == other:
                continue
            return False
        if kind in _LEAVES or id(one) in seen:
            continue
        seen.add(id(one))
        if issubclass(kind, set | frozenset):
            if Counter(map(type, one)) != Counter(map(type, other)):
                return False
        else:
            pairs.extend(_pairs_of_parts(one, other))
    return True


def _pairs_of_parts(one: Any, other: Any) -> Iterator[tuple[Any, Any]]:
    kind = type(one)  # isinstance() would ask the value itself, which may raise
    if issubclass(kind, dict):
        yield from zip(one, other, strict=True)
        yield from zip(one.values(), other.values(), strict=True)
    elif issubclass(kind, list | tuple):
        yield from zip(one, other, strict=True)
    else:
        attributes = attributes_of(other)
        yield from ((v, attributes[n]) for n, v in attributes_of(one).items() if n in attributes)


def _unpickling_failure(error: Exception) -> str:
    if isinstance(error, ModuleNotFoundError) and error.name:
        return f"it needs the module {error.name}, which is not there"
    # An exception of Python code, such as that of a loaded class, may quote stored values.
    if isinstance(error, AttributeError) and _was_raised_by_pickle(error):
        for gone in filter(None, (pattern.match(str(error)) for pattern in _GONE)):
            return f"it needs {gone['module']}.{gone['name']}, which is not there"
    return f"unpickling it raised {type(error).__name__}"


def _was_raised_by_pickle(error: Exception) -> bool:
    """Whether pickle itself raised an error: its only Python frame is that of the call."""
    return error.__traceback__ is not None and error.__traceback__.tb_next is None
