"""Codecs: how a record becomes the bytes that a storage keeps, and comes back."""

from __future__ import annotations

import contextlib
import io
import pickle
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Protocol
from uuid import UUID
from zlib import crc32

from telesession.advice import advice_for
from telesession.culprit import (
    attributes_of,
    find_unpicklable,
    find_unwritable,
    refused_as,
)
from telesession.errors import DecodeError, EncodeError
from telesession.tags import Tags, UntaggedError, is_text
from telesession.text import CONTAINERS, DEEPEST, read_plain, write_plain


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


# Pickle opcodes: of what refers to code, and with it of what has no order, EMPTY_SET and FROZENSET.
# Bytes are searched for a number several times faster than for other bytes, so that goes first.
_STACK_GLOBAL, _MEMOIZE = 0x93, 0x94
_UNORDERED = (0x8F, 0x91, _STACK_GLOBAL)
# What the CRC-32 of data is that ends with its own CRC-32, little-endian.
_SOUND = 0x2144DF1C
# The types whose values can be sorted among themselves.
_ORDERED = frozenset((int, str, bytes))
_LEAVES = frozenset((bool, bytes, complex, float, int, str, type(None)))
_SCALARS = _LEAVES | {date, datetime, time, timedelta, Decimal, UUID}
# How the payloads of each codec begin: a pickle of protocol 5, an object, a Fernet token.
PICKLE, _OBJECT, _TOKEN = b"\x80\x05", b"{", b"gAAAA"
_WRITERS = ((PICKLE, "PickleCodec"), (_OBJECT, "JSONCodec"), (_TOKEN, "EncryptedCodec"))
# What pickle says of a class that is gone: up to Python 3.13 the first; later the second of a class
# inside another and the third of any other.
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
    Keeps whatever pickle can bring back: the codec of in-process memory.

    Outside memory it is an explicit choice with a price: whoever can write to the storage can
    run code in the bot (https://docs.python.org/3/library/pickle.html), and a record outlives
    neither a renamed class nor a moved module. Its checksum tells damage, not malice.

    Stateless; keep an instance for as long as you like, in any thread.
    """

    def encode(self, record: dict[str, Any], key: str, previous: bytes | None = None) -> bytes:
        """
        See `Codec.encode`.

        A value that refers to code, such as an instance of a class, is loaded once to see that
        it really comes back.
        """
        pickled = b""
        try:
            pickled = pickle.dumps(record, 5)
            refers_to_code = _STACK_GLOBAL in pickled and _has_opcode(pickled, _STACK_GLOBAL)
            comes_back = not refers_to_code or _same_types(record, pickle.loads(pickled))
        except Exception:  # noqa: BLE001 -- pickle raises whatever the methods of a value raise
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
        except Exception as error:  # noqa: BLE001 -- classes raise what they like
            failure = _unpickling_failure(error)
        if failure:
            # Outside of the except block, so that the DecodeError has no context: the text of that
            # error may quote what was stored.
            remedy = "bring back what it needs, or delete it to start anew"
            raise DecodeError(key, failure, remedy)
        if type(record) is not dict:
            raise DecodeError(key, "it is not the record of a session")
        return record

    def _seal(self, pickled: bytes) -> bytes:
        """Add a checksum."""
        return pickled + crc32(pickled).to_bytes(4, "little")

    def _check_seal(self, payload: bytes, key: str) -> None:
        """See that a payload has a sound checksum, before pickle asks for damaged gigabytes."""
        if not payload.startswith(PICKLE):
            raise foreign(payload, key, "PickleCodec")
        if crc32(payload) != _SOUND:
            raise DecodeError(key, "it is damaged, for its checksum does not match")

    def _says_the_same(self, record: dict[str, Any], previous: bytes, key: str) -> bool:
        return _pickle_canonically(record) == _pickle_canonically(self.decode(previous, key))


class JSONCodec:
    """
    Writes readable JSON, and brings back the same types: the codec of whatever outlives a process.

    A payload is the text of an object whose `"fields"` are those of the session, so that SQLite's
    `json_extract(payload, '$.fields.counter')` works. Plain data with `str` keys is plain JSON. An
    object with one key that starts with `$` is a tag, for what JSON has no word for: `tuple`,
    `set`, `frozenset`, `bytes`, `bytearray`, `datetime`, `date`, `time`, `timedelta`, `Decimal`,
    `UUID`, `complex`, keys that are no strings, NaN and infinities, integers beyond 64 bits, and
    text with half an emoji in it. A dict that looks like a tag is written as one.

    Everything else is refused, instances and all subclasses of the types above among them. Store
    plain data, or declare dataclasses, enums and the like in a typed session, which turns them into
    plain data. Data that is nested more than 200 levels deep (a tag is two levels) and data that
    holds itself is refused, too.

    Stateless; keep an instance for as long as you like, in any thread.
    """

    def __init__(self) -> None:
        self._tags = Tags()

    def encode(self, record: dict[str, Any], key: str, previous: bytes | None = None) -> bytes:
        """See `Codec.encode`. Equal records have equal payloads, whatever the order in sets."""
        payload = write_plain(record)
        if payload is None or _TAG in payload:
            payload = self._tagged_payload(record)
        if payload is None:
            raise self._refusal(record["fields"], key)
        if previous is None or payload == previous or read_plain(previous)[1]:
            return payload
        # Somebody has edited it: other spaces are no reason to write.
        same = self.encode(self.decode(previous, key), key) == payload
        return previous if same else payload

    def decode(self, payload: bytes, key: str) -> dict[str, Any]:
        """See `Codec.decode`."""
        if not payload.lstrip().startswith(_OBJECT):
            raise foreign(payload, key, "JSONCodec")
        try:
            record, exact = read_plain(payload)
        except (RecursionError, ValueError):
            raise DecodeError(key, "it is damaged, for it is not sound JSON text") from None
        if type(record.get("fields")) is not dict or not _PARTS.issuperset(record):
            raise DecodeError(key, "it is not the record of a session")
        if exact and _TAG not in payload:
            plain: dict[str, Any] = record
            return plain
        with contextlib.suppress(Exception):
            return {part: self._read_part(content) for part, content in record.items()}
        # No exception is the context of this one: parsers quote what they read.
        reason = "it has a tag that JSONCodec did not write, or needs a time zone not there"
        remedy = "install tzdata, repair it, or delete it to start anew"
        raise DecodeError(key, reason, remedy)

    def _tagged_payload(self, record: dict[str, Any]) -> bytes | None:
        try:
            tagged = {part: self._write_part(content) for part, content in record.items()}
        except (RecursionError, TypeError):
            return None
        return write_plain(tagged)

    # The parts of a record are never tags, so that fields can be queried by whatever name.

    def _write_part(self, content: Any) -> Any:
        if type(content) is not dict:
            return self._tags.write(content)
        return {name: self._tags.write(value) for name, value in content.items()}

    def _read_part(self, content: Any) -> Any:
        if type(content) is not dict:
            return self._tags.read(content)
        return {name: self._tags.read(value) for name, value in content.items()}

    def _refusal(self, fields: dict[str, Any], key: str) -> EncodeError:
        """Say where the first value is that has no way into JSON."""
        for name in fields:
            if not is_text(name):
                advice = "which is no name for a field; use text, without halves of emojis"
                return EncodeError(key, "(a key of the session)", type(name).__name__, advice)
        culprit = find_unwritable(fields, self._advice)
        if culprit is None:
            # Each value is fine, so it is what holds them.
            deep = (item for item in fields.items() if not self._tagged_payload({"": dict([item])}))
            culprit = next(deep, ("the session", fields))
        path, value = culprit
        return EncodeError(key, path, type(value).__name__, self._advice(value))

    def _advice(self, value: Any) -> str:
        """What to do about a value that cannot be written; nothing if it can."""
        if own := refused_as(value):
            return own
        if type(value) in CONTAINERS:
            return f"which is nested more than {DEEPEST} levels deep or holds itself; store it flat"
        try:
            tagged = self._tags.write(value)
        except UntaggedError as error:
            pickle_too = ", or give the storage a PickleCodec" if _comes_back(value) else ""
            return f"{error.fault}; {advice_for(value, f'store {error.plain}{pickle_too}')}"
        return "" if write_plain([tagged]) else "which holds half an emoji; store whole text"


class EncryptedCodec:
    """
    Encrypts what another codec writes, for who can read the storage but shall not read sessions.

    It is Fernet (AES-128-CBC and HMAC-SHA256) of the cryptography package:
    `pip install 'cryptography>=42'`. Each payload is bound to its storage key: moved to another
    user's record it does not decode. Storage keys, lifetimes and the length of a record stay
    visible, and so does that it has changed.

    Stateless; keep an instance for as long as you like, in any thread.

    Args:
        codec: What writes the records, such as `JSONCodec()`.
        keys: Fernet keys, from `Fernet.generate_key()`. The first one writes, all of them read: to
            rotate, put a new one in front, and take an old one away once no record needs it. A
            record is written with the new key when it changes, not when it is read.
            `copy_sessions(storage, storage)` writes all of them with the first key.

    Raises:
        ImportError: The cryptography package is not installed.
        ValueError: There is no key, or one that is no Fernet key.
    """

    def __init__(self, codec: Codec, keys: Iterable[str | bytes]) -> None:
        try:
            from cryptography.fernet import Fernet, InvalidToken, MultiFernet  # noqa: PLC0415
        except ImportError as error:
            raise ImportError(
                "EncryptedCodec needs the cryptography package, which cannot be imported; "
                "pip install 'cryptography>=42'"
            ) from error
        for method in ("encode", "decode"):
            if isinstance(codec, type) or not callable(getattr(codec, method, None)):
                raise TypeError(
                    "EncryptedCodec(codec, ...) must get a codec such as JSONCodec(); what it got "
                    f"has no method {method!r}"
                )
        self._codec = codec
        self._fernets = [_checked_fernet(Fernet, key) for key in _checked_keys(keys)]
        self._fernet = MultiFernet(self._fernets)
        self._invalid = InvalidToken

    def encode(self, record: dict[str, Any], key: str, previous: bytes | None = None) -> bytes:
        """See `Codec.encode`. No two payloads are equal, but that of an unchanged record."""
        before = None if previous is None else self._decrypt(previous, key)
        inner = self._codec.encode(record, key, before)
        if previous is not None and inner == before:
            return previous
        # The time in a token is for tokens that grow old; a bot's clock may even be before 1970.
        return self._fernet.encrypt_at_time(_binding(key) + inner, 0)

    def decode(self, payload: bytes, key: str) -> dict[str, Any]:
        """See `Codec.decode`."""
        return self._codec.decode(self._decrypt(payload, key), key)

    def has_old_key(self, payload: bytes) -> bool:
        """Whether another key than the first one has written a payload."""
        return any(self._fits(fernet, payload) for fernet in self._fernets[1:])

    def _fits(self, fernet: Any, payload: bytes) -> bool:
        try:
            fernet.decrypt(payload)
        except self._invalid:
            return False
        return True

    def _decrypt(self, payload: bytes, key: str) -> bytes:
        if not payload.startswith(_TOKEN):
            raise foreign(payload, key, "EncryptedCodec")
        try:
            bound = self._fernet.decrypt(payload)
        except self._invalid:
            reason = "none of the keys of EncryptedCodec fits, or it is damaged"
            remedy = "add the key that it was written with, or delete it to start anew"
            raise DecodeError(key, reason, remedy) from None
        if not bound.startswith(_binding(key)):
            raise DecodeError(key, "it was encrypted for another storage key")
        return bound[len(_binding(key)) :]

    def __repr__(self) -> str:
        return f"<EncryptedCodec of {type(self._codec).__name__}, keys: {len(self._fernets)}>"


# What a record consists of. More would be of a later telesession, or damage that hides a part.
_PARTS = frozenset(("class", "end", "fields", "lifetime", "ttl", "version"))
# How an object begins whose first key starts with "$"; inside a string its quote has a backslash.
_TAG = b'{"$'


def foreign(payload: bytes, key: str, reader: str) -> DecodeError:
    """Say who wrote a payload, if it was one of the codecs here."""
    for mark, writer in _WRITERS:
        if writer != reader and payload.startswith(mark):
            return DecodeError(
                key,
                f"{writer} wrote it, and the storage has {reader} now",
                f"give the storage {writer}, or delete the record to start anew",
            )
    remedy = "give the storage the codec that wrote it, or delete the record to start anew"
    return DecodeError(key, f"{reader} did not write it", remedy)


def _binding(key: str) -> bytes:
    """What ties an encrypted payload to its storage key."""
    bound = key.encode("utf-8", "surrogatepass")
    return len(bound).to_bytes(4, "big") + bound


_HOW_TO_MAKE_A_KEY = "make one with cryptography.fernet.Fernet.generate_key() and keep it safe"


def _checked_keys(keys: Any) -> list[Any]:
    checked = list(keys) if isinstance(keys, Iterable) and not isinstance(keys, str | bytes) else []
    if not checked:
        raise ValueError(
            f"EncryptedCodec(keys=...) must be a list of at least one key; {_HOW_TO_MAKE_A_KEY}"
        )
    return checked


def _checked_fernet(fernet: Any, key: Any) -> Any:
    with contextlib.suppress(Exception):
        return fernet(key)
    # No exception is the context of this one: it may have seen the key.
    raise ValueError(
        "EncryptedCodec(keys=...) has one that is no Fernet key (32 bytes in URL-safe base64); "
        + _HOW_TO_MAKE_A_KEY
    )


def _refusal(fields: dict[str, Any], key: str) -> EncodeError:
    """Say where the innermost value is that pickle does not bring back."""
    path, culprit = find_unpicklable(fields, _comes_back)
    if type(culprit) in CONTAINERS:
        reason = "which pickle cannot bring back, nested as it is; store it flat"
    else:
        is_local = "<locals>" in type(culprit).__qualname__
        move = "move its class to the top level of a module, or " if is_local else ""
        advice = advice_for(culprit, f"{move}store plain data")
        reason = refused_as(culprit) or f"which pickle cannot bring back; {advice}"
    return EncodeError(key, path, type(culprit).__name__, reason)


def _comes_back(value: object) -> bool:
    """Whether pickle brings a value back as what it is."""
    try:
        return _same_types(value, pickle.loads(pickle.dumps(value, 5)))
    except Exception:  # noqa: BLE001 -- see PickleCodec.encode
        return False


def _must_differ(payload: bytes, previous: bytes) -> bool:
    """
    Whether other bytes can only mean other values.

    Equal values may be pickled differently: sets in another order, and instances with them, and
    equal strings as one or as several objects, which shows in the length.
    """
    if len(payload) != len(previous):
        return False
    for opcode in _UNORDERED:  # noqa: SIM110 -- a generator costs more than all the rest
        if opcode in previous and _has_opcode(previous, opcode):
            return False
    return True


def _has_opcode(pickled: bytes, opcode: int) -> bool:
    """Whether it is there as one, and not by chance in a text: what it makes is memoized."""
    return bytes((opcode, _MEMOIZE)) in pickled


def _pickle_canonically(value: Any) -> bytes:
    buffer = io.BytesIO()
    _CanonicalPickler(buffer, 5).dump(value)
    return buffer.getvalue()


class _CanonicalPickler(pickle.Pickler):
    """
    Pickles so that two differences of equal values make no difference: whether equal strings are
    one object or several, and the order in which sets of scalars iterate.
    """

    def __init__(self, buffer: io.BytesIO, protocol: int) -> None:
        super().__init__(buffer, protocol)
        # id of a set -> its number
        self._sets: dict[int, int] = {}

    def persistent_id(self, obj: Any) -> Any:
        # Numbers are what pickle does not note the identity of. That of lists and the like is
        # kept: whether two fields share one is part of what a session says.
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
    """Whether an item of a set is a scalar, or consists of such; no instance of a user's class."""
    kind = type(item)
    return all(map(_is_scalar, item)) if kind in (tuple, frozenset) else kind in _SCALARS


def _same_types(value: Any, loaded: Any) -> bool:
    """Whether what was loaded is of the same types, all the way down."""
    pairs, seen = [(value, loaded)], set()
    while pairs:
        one, other = pairs.pop()
        kind = type(one)
        if kind is not type(other):
            # Under freezegun a datetime comes back as a subclass of what it was.
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
    # What Python code raises, such as a class that is loaded, may quote what was stored.
    if isinstance(error, AttributeError) and _was_raised_by_pickle(error):
        for gone in filter(None, (pattern.match(str(error)) for pattern in _GONE)):
            return f"it needs {gone['module']}.{gone['name']}, which is not there"
    return f"unpickling it raised {type(error).__name__}"


def _was_raised_by_pickle(error: Exception) -> bool:
    """Whether an error of unpickling went through no Python code but the call itself."""
    return error.__traceback__ is not None and error.__traceback__.tb_next is None
