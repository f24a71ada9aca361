"""
Tags: JSON for values of the types that JSON lacks.

A tag is an object with one key that starts with `$`, such as `{"$tuple": [1, 2]}`. A dict
that looks like a tag, or that has keys other than strings, is itself written as a tag:
`{"$dict": [[key, value], ...]}`. So no data is taken for a tag by mistake.
"""

from __future__ import annotations

import base64
import datetime
import uuid
from collections.abc import Callable
from decimal import Context, Decimal
from math import isfinite
from types import NoneType
from typing import Any
from zoneinfo import ZoneInfo

from telesession.codecs.text import HIGHEST, LOWEST, encode

_SIGN = "$"


class UntaggedError(TypeError):
    """
    A value has no tag, so JSON cannot hold it.

    Args:
        fault: Why it has none, such as `"which JSONCodec would bring back as str"`.
        plain: The values to store in its place, such as `"a plain str"`.
    """

    def __init__(self, fault: str, plain: str) -> None:
        super().__init__(fault, plain)
        self.fault = fault
        self.plain = plain


class Tags:
    """
    Turns data into plain data with tags, which JSON can hold, and back, exactly.

    It knows these types, and none of their subclasses. The dates of freezegun are an exception:
    they are written as plain dates. The items of sets are sorted by their text, so that equal sets
    are written equally.

    Stateless; keep an instance for as long as you like, in any thread.
    """

    def __init__(self) -> None:
        # Found once and not at each use, because freezegun replaces the two names.
        date, moment = _builtin(datetime.date), _builtin(datetime.datetime)
        # A context of its own, because that of a thread may write decimals differently.
        decimal_text = Context(capitals=1).to_sci_string
        self._texts: dict[str, tuple[type, Callable[[Any], Any], Callable[[Any], Any]]] = {
            "$int": (int, hex, lambda text: int(text, 16)),
            "$float": (float, repr, float),
            "$complex": (complex, repr, complex),
            "$str": (str, _base64_of_text, _text_of_base64),
            "$bytes": (bytes, _base64, _bytes_of_base64),
            "$bytearray": (bytearray, _base64, lambda text: bytearray(_bytes_of_base64(text))),
            "$date": (date, date.isoformat, date.fromisoformat),
            "$time": (datetime.time, _clock_text, lambda text: _clock(datetime.time, text)),
            "$datetime": (moment, _clock_text, lambda text: _clock(moment, text)),
            "$timedelta": (
                datetime.timedelta,
                lambda value: [value.days, value.seconds, value.microseconds],
                lambda content: datetime.timedelta(*content),
            ),
            "$decimal": (Decimal, decimal_text, Decimal),
            "$uuid": (uuid.UUID, str, uuid.UUID),
        }
        self._writers: dict[type, Callable[[Any], Any]] = {
            **{kind: _writer(tag, text) for tag, (kind, text, _) in self._texts.items()},
            **dict.fromkeys((NoneType, bool), lambda value: value),
            int: lambda value: value if LOWEST <= value <= HIGHEST else {"$int": hex(value)},
            float: lambda value: value if isfinite(value) else {"$float": repr(value)},
            str: lambda value: value if is_text(value) else {"$str": _base64_of_text(value)},
            list: self._write_items,
            tuple: lambda value: {"$tuple": self._write_items(value)},
            set: lambda value: {"$set": self._write_sorted(value)},
            frozenset: lambda value: {"$frozenset": self._write_sorted(value)},
            dict: self._write_dict,
        }
        self._readers: dict[str, Callable[[Any], Any]] = {
            **{tag: _reader(text, parse) for tag, (_, text, parse) in self._texts.items()},
            "$tuple": lambda content: tuple(self._read_items(content)),
            "$set": lambda content: self._read_set(set, content),
            "$frozenset": lambda content: self._read_set(frozenset, content),
            "$dict": self._read_dict,
        }

    def write(self, value: Any) -> Any:
        """
        The value as plain data with tags.

        Raises:
            UntaggedError: It is or holds something that has no tag.
            RecursionError: It is nested too deeply, or holds itself.
        """
        writer = self._writers.get(type(value))
        if writer is None:
            writer = self._writers[_known(type(value), self._writers)]
        return writer(value)

    def read(self, value: Any) -> Any:
        """
        The value that was written as this plain data.

        Raises:
            Exception: No value is written so. The class may be any, and the text may quote values.
        """
        if type(value) is list:
            return [self.read(item) for item in value]
        if type(value) is not dict:
            return value
        if _looks_like_tag(value):
            [(tag, content)] = value.items()
            return self._readers[tag](content)
        return {name: self.read(item) for name, item in value.items()}

    def _write_items(self, items: Any) -> list[Any]:
        return [self.write(item) for item in items]

    def _write_sorted(self, items: Any) -> list[Any]:
        return sorted(self._write_items(items), key=encode)

    def _write_dict(self, value: dict[Any, Any]) -> Any:
        if not all(map(is_text, value)) or _looks_like_tag(value):
            return {"$dict": [[self.write(key), self.write(item)] for key, item in value.items()]}
        return {key: self.write(item) for key, item in value.items()}

    def _read_items(self, content: Any) -> list[Any]:
        if type(content) is not list:
            raise ValueError("no list")
        return [self.read(item) for item in content]

    def _read_set(self, kind: Callable[[list[Any]], Any], content: Any) -> Any:
        items = self._read_items(content)
        made = kind(items)
        if len(made) != len(items):
            raise ValueError("an item is there twice")
        return made

    def _read_dict(self, content: Any) -> dict[Any, Any]:
        pairs = [self._read_items(pair) for pair in content]
        made = dict(pairs)
        if type(content) is not list or len(made) != len(pairs):
            raise ValueError("a key is there twice")
        return made


def is_text(value: object) -> bool:
    """Whether a value is a `str` and can be written as UTF-8, which halves of emojis cannot."""
    if type(value) is not str:
        return False
    try:
        return value.isascii() or bool(value.encode())
    except UnicodeEncodeError:
        return False


def _looks_like_tag(value: dict[Any, Any]) -> bool:
    return len(value) == 1 and str.startswith(next(iter(value)), _SIGN)


def _builtin(kind: type) -> Any:
    """The class of the standard library that a class is, or stands for."""
    return next(base for base in kind.__mro__ if base.__module__ == "datetime")


def _known(kind: type, known: dict[type, Any]) -> type:
    """The type as which the values of another type are written."""
    base = next((base for base in kind.__mro__ if base in known), None)
    if base is None:
        raise UntaggedError("which JSONCodec has no way to write", "plain data")
    if kind.__module__ == "freezegun.api":
        return base
    name = base.__name__
    raise UntaggedError(f"which JSONCodec would bring back as {name}", f"a plain {name}")


def _writer(tag: str, text: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda value: {tag: text(value)}


def _reader(text: Callable[[Any], Any], parse: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def read(content: Any) -> Any:
        value = parse(content)
        # Parsers accept more spellings than this codec writes.
        if text(value) != content:
            raise ValueError("written otherwise")
        return value

    return read


def _base64(value: bytes | bytearray) -> str:
    return base64.b64encode(value).decode()


def _bytes_of_base64(text: str) -> bytes:
    return base64.b64decode(text, validate=True)


def _base64_of_text(value: str) -> str:
    return _base64(value.encode("utf-8", "surrogatepass"))


def _text_of_base64(text: str) -> str:
    return _bytes_of_base64(text).decode("utf-8", "surrogatepass")


def _clock_text(value: Any) -> Any:
    """A time with or without a date, in ISO 8601. Parts that ISO 8601 lacks are beside it."""
    zone, beside = value.tzinfo, {}
    if type(zone) is ZoneInfo and zone.key is not None:
        beside["zone"] = zone.key
        value = value.replace(tzinfo=None)
    elif type(zone) is datetime.timezone:
        if zone.tzname(None) != datetime.timezone(zone.utcoffset(None)).tzname(None):
            beside["name"] = zone.tzname(None)
    elif zone is not None:
        raise UntaggedError(
            f"whose tzinfo, of type {type(zone).__name__}, JSONCodec has no way to write",
            "it with a datetime.timezone, or with a zoneinfo.ZoneInfo that has a key",
        )
    if value.fold:
        beside["fold"] = value.fold
    return [value.isoformat(), beside] if beside else value.isoformat()


def _clock(kind: Any, content: Any) -> Any:
    text, beside = content if type(content) is list else (content, {})
    value = kind.fromisoformat(text)
    if "zone" in beside:
        value = value.replace(tzinfo=ZoneInfo(beside["zone"]))
    elif "name" in beside:
        value = value.replace(tzinfo=datetime.timezone(value.utcoffset(), beside["name"]))
    return value.replace(fold=beside.get("fold", 0))
