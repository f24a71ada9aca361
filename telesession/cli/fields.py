"""The fields of a record: their types, their time left, and their values as JSON."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from telesession.codecs import Codec, JSONCodec
from telesession.errors import DecodeError
from telesession.record import checked


class Field(NamedTuple):
    """
    A live field of a record.

    Attributes:
        name: The name.
        value: The value, as plain data.
        left: Seconds until the field expires; `None` is for ever.
    """

    name: str
    value: Any
    left: float | None

    @property
    def type_name(self) -> str:
        """The type of the value in the record."""
        return type(self.value).__name__


def record_of(codec: Codec, payload: bytes | None, key: str) -> dict[str, Any]:
    """
    The record of a payload; all of its parts are sound.

    Args:
        codec: The codec of its storage.
        payload: The payload; `None` if its row is damaged.
        key: Its key.

    Raises:
        DecodeError: It cannot be read.
    """
    if payload is None:
        raise DecodeError(key, "it is damaged")
    return checked(codec.decode(payload, key), key)


def live_fields(record: dict[str, Any], now: float) -> list[Field]:
    """
    The fields of a record that have not expired.

    Args:
        record: The record, as `record_of` gives it.
        now: Seconds since the epoch, on the clock of its storage.
    """
    deadlines = record.get("ttl") or {}
    found = []
    for name, value in record["fields"].items():
        lifetime, deadline = deadlines.get(name, (None, None))
        # Never more than the whole lifetime, as in `telesession.record`.
        left = None if deadline is None else min(deadline - now, lifetime)
        if left is None or left > 0:
            found.append(Field(name, value, left))
    return found


def as_json_data(record: dict[str, Any], key: str) -> dict[str, Any]:
    """
    A record as data that `json.dumps` takes, with the tags of `JSONCodec`.

    Raises:
        EncodeError: A field has no form in JSON.
    """
    data: dict[str, Any] = json.loads(JSONCodec().encode(record, key))
    return data


def json_text(value: Any, key: str) -> str:
    """
    The text of one value, with the tags of `JSONCodec`.

    Raises:
        EncodeError: The value has no form in JSON.
    """
    data = as_json_data({"fields": {"value": value}}, key)["fields"]["value"]
    return json.dumps(data, ensure_ascii=False)


def described(field: Field, key: str, has_values: bool) -> dict[str, Any]:
    """
    A field for the output as JSON: its type, its time left and, if asked for, its value.

    Raises:
        EncodeError: The value has no form in JSON.
    """
    facts: dict[str, Any] = {"type": field.type_name, "left": field.left}
    if has_values:
        record = {"fields": {field.name: field.value}}
        facts["value"] = as_json_data(record, key)["fields"][field.name]
    return facts


def value_of(text: str) -> Any:
    """
    The value of a text as `json_text` gives it.

    Raises:
        ValueError: It is no such text.
    """
    try:
        # A text with more than one value would add fields.
        data = json.loads(text)
        payload = json.dumps({"fields": {"value": data}}).encode()
        return JSONCodec().decode(payload, "")["fields"]["value"]
    except (DecodeError, RecursionError, ValueError):
        raise ValueError(
            "it is no JSON text, or has a tag that JSONCodec does not know; a string has quotes of "
            "its own, as in '\"tea\"'"
        ) from None
