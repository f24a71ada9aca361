"""Codecs: how a record becomes the bytes that a storage keeps, and comes back."""

from __future__ import annotations

import io
import pickle
import re
from collections.abc import Iterator
from types import ModuleType
from typing import Any, Protocol
from zlib import crc32

from telesession.errors import DecodeError, EncodeError


class Codec(Protocol):
    """
    What a storage's `codec` has to offer; it is shared by every thread.

    A record is a `dict` of plain data around the fields of a session: `{"fields": {...}}`, and
    beside it whatever the library itself has to remember. What is encoded must come back equal
    and of the same types, or be refused.
    """

    def encode(self, record: dict[str, Any], key: str, previous: bytes | None = None) -> bytes:
        """
        The payload of a record.

        Args:
            record: What to encode.
            key: The storage key it will be stored under.
            previous: The payload that the record was loaded from. If the record still says the
                same, an equal payload is returned, which tells the caller that there is nothing
                to write.

        Raises:
            EncodeError: A field holds something that would not come back.
        """
        ...

    def decode(self, payload: bytes, key: str) -> dict[str, Any]:
        """
        The record of a payload, made of objects that nobody else refers to.

        Raises:
            DecodeError: This codec did not write the payload, or it was damaged since.
        """
        ...


# The pickle opcodes of sets, and of whatever refers to code. Bytes are searched for a number
# several times faster than for other bytes.
_EMPTY_SET, _FROZENSET, _STACK_GLOBAL = 0x8F, 0x91, 0x93
_CHECKSUM_SIZE = 4
_GONE = re.compile(r"Can't get attribute '([\w.]+)' on <module '([\w.]+)'")


class PickleCodec:
    """
    Keeps whatever pickle can bring back: the codec of in-process memory.

    Outside memory it is an explicit choice with a price: whoever can write to the storage can
    run code in the bot (https://docs.python.org/3/library/pickle.html), and a record outlives
    neither a renamed class nor a moved module. Its checksum tells damage, not malice.

    Stateless; keep an instance for as long as you like, in any thread.
    """

    # How every pickle of protocol 5 begins, and nothing that another codec writes.
    _MAGIC = b"\x80\x05"

    def encode(self, record: dict[str, Any], key: str, previous: bytes | None = None) -> bytes:
        """
        See `Codec.encode`.

        A value that refers to code, such as an instance of a class, is loaded once to see that
        it really comes back.
        """
        try:
            pickled = pickle.dumps(record, 5)
            comes_back = _STACK_GLOBAL not in pickled or _alike(record, pickle.loads(pickled))
        except Exception:  # noqa: BLE001 -- pickle raises whatever the methods of a value raise
            comes_back = False
        if not comes_back:
            raise refusal(record["fields"], key)
        payload = pickled + crc32(pickled).to_bytes(_CHECKSUM_SIZE, "big")
        if previous is None or payload == previous or _must_differ(payload, previous):
            return payload
        return previous if self._says_the_same(record, previous, key) else payload

    def decode(self, payload: bytes, key: str) -> dict[str, Any]:
        """See `Codec.decode`."""
        if not payload.startswith(self._MAGIC):
            raise DecodeError(key, "PickleCodec did not write it")
        checksum = crc32(payload[:-_CHECKSUM_SIZE]).to_bytes(_CHECKSUM_SIZE, "big")
        if checksum != payload[-_CHECKSUM_SIZE:]:
            # Before pickle sees it: a few damaged bytes may make it ask for gigabytes.
            raise DecodeError(key, "it is damaged, for its checksum does not match")
        try:
            record = pickle.loads(payload)
        except Exception as error:  # noqa: BLE001 -- classes raise what they like
            # Not the error itself: its text may quote what was stored.
            raise DecodeError(key, _unpickling_failure(error)) from None
        if type(record) is not dict:
            raise DecodeError(key, "it is not the record of a session")
        return record

    def _says_the_same(self, record: dict[str, Any], previous: bytes, key: str) -> bool:
        try:
            return _pickle_without_memo(record) == _pickle_without_memo(self.decode(previous, key))
        except (RecursionError, ValueError):
            # Without its memo pickle cannot do cycles; then what was pickled tells.
            return pickle.dumps(self.decode(previous, key), 5) == pickle.dumps(record, 5)


def refusal(fields: dict[str, Any], key: str) -> EncodeError:
    """Say where the innermost value is that pickle does not bring back."""
    path, culprit = _find_culprit(fields)
    reason = "which pickle cannot bring back; store plain data, or a class of a module"
    return EncodeError(key, path, type(culprit).__name__, reason)


def comes_back(value: object) -> bool:
    """Whether pickle brings a value back as what it is."""
    try:
        return _alike(value, pickle.loads(pickle.dumps(value, 5)))
    except Exception:  # noqa: BLE001 -- see PickleCodec.encode
        return False


def _must_differ(payload: bytes, previous: bytes) -> bool:
    """
    Whether other bytes can only mean other values.

    Equal values may be pickled differently: sets in another order, and instances with them, and
    equal strings as one or as several objects, which shows in the length.
    """
    return len(payload) == len(previous) and not (
        _EMPTY_SET in previous or _FROZENSET in previous or _STACK_GLOBAL in previous
    )


def _pickle_without_memo(record: dict[str, Any]) -> bytes:
    """Pickle so that it makes no difference whether equal values are one object or several."""
    buffer = io.BytesIO()
    pickler = pickle.Pickler(buffer, 5)
    pickler.fast = True
    pickler.dump(record)
    return buffer.getvalue()


def _alike(value: Any, loaded: Any) -> bool:
    """Whether what was loaded is of the same types, all through the containers."""
    pairs, seen = [(value, loaded)], set()
    while pairs:
        one, other = pairs.pop()
        if type(one) is not type(other):
            # Under freezegun a datetime comes back as a subclass of what it was.
            if isinstance(other, type(one)) and one == other:
                continue
            return False
        if id(one) in seen:
            continue
        seen.add(id(one))
        if type(one) is dict:
            pairs.extend(zip(one, other, strict=True))
            pairs.extend(zip(one.values(), other.values(), strict=True))
        elif type(one) in (list, tuple):
            pairs.extend(zip(one, other, strict=True))
    return True


def _unpickling_failure(error: Exception) -> str:
    if isinstance(error, ModuleNotFoundError) and error.name:
        return f"it needs the module {error.name}, which is not there"
    if isinstance(error, AttributeError) and (gone := _GONE.match(str(error))):
        return f"it needs {gone[2]}.{gone[1]}, which is not there"
    return f"unpickling it raised {type(error).__name__}"


def _find_culprit(fields: dict[str, Any]) -> tuple[str, Any]:
    """The innermost value that does not come back, and its path."""
    # Not a recursion: what is nested too deeply for pickle is so for Python, too.
    trail = [("", fields, _children("", fields))]
    seen, entangled = {id(fields)}, set()
    while trail:
        path, value, children = trail[-1]
        for child_path, child in children:
            if comes_back(child):
                continue
            if id(child) in seen:
                entangled.add(id(value))
                continue
            seen.add(id(child))
            trail.append((child_path, child, _children(child_path, child)))
            break
        else:
            if id(value) not in entangled:
                return path or "the session", value
            # It failed for what it shares with its parents, one of which has the culprit.
            trail.pop()
            entangled.update(id(parent) for _, parent, _ in trail)
    return "the session", fields


def _children(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    """What a value consists of, each part with its path; the fields themselves have none."""
    kind: Any = type(value)  # isinstance() would ask the value itself, which may raise
    if kind.__reduce_ex__ is not object.__reduce_ex__:
        return
    if issubclass(kind, dict):
        for name, item in value.items():
            yield f"(a key of {path or 'the session'})", name
            yield _item_path(path, name), item
    elif issubclass(kind, list | tuple):
        yield from ((_item_path(path, index), item) for index, item in enumerate(value))
    elif issubclass(kind, set | frozenset):
        yield from ((f"(an item of {path})", item) for item in value)
    elif not issubclass(kind, type | ModuleType):
        yield from ((f"{path}.{name}", item) for name, item in _attributes(value).items())


def _attributes(value: object) -> dict[str, Any]:
    try:
        return dict(vars(value))
    except Exception:  # noqa: BLE001 -- an object may raise at whatever it is asked
        return {}


def _item_path(path: str, name: object) -> str:
    if not path:
        return name if type(name) is str else f"<{type(name).__name__}>"
    try:
        shown = repr(name) if type(name) in (str, int, bool) else f"<{type(name).__name__}>"
    except ValueError:
        # An int may have more digits than Python agrees to show.
        shown = "<int>"
    return f"{path}[{shown}]"
