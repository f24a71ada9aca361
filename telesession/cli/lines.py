"""The lines of an export: one record as JSON, with its end and the deadlines of its fields."""

from __future__ import annotations

import json
import math
from json.encoder import encode_basestring_ascii
from typing import TYPE_CHECKING, Any, NamedTuple

from telesession.cli.fields import record_of
from telesession.codecs import Codec, JSONCodec

if TYPE_CHECKING:
    from telesession.storage.rows import Row

_NAMES = frozenset(("key", "expires", "record"))


class Line(NamedTuple):
    """
    A record of an export.

    Attributes:
        key: The key.
        expires: Seconds since the epoch at which the record expires; `None` is never.
        record: The record, as a codec takes it.
    """

    key: str
    expires: float | None
    record: dict[str, Any]

    @staticmethod
    def of(row: Row, codec: Codec, now: float) -> Line:
        """
        The line of a row.

        Args:
            row: The row.
            codec: The codec of its storage.
            now: Seconds since the epoch, on the clock of the storage.

        Raises:
            DecodeError: The record cannot be read.
        """
        record = record_of(codec, row.payload, row.key)
        return Line(row.key, None if row.left is None else now + row.left, record)

    @staticmethod
    def read(text: bytes) -> Line:
        """
        The record of a line.

        Raises:
            DecodeError: `JSONCodec` does not write such a record.
            RecursionError: The line is nested too deeply.
            ValueError: The line is not one of an export.
        """
        data = json.loads(text)
        if not isinstance(data, dict) or set(data) != _NAMES or not _is_sound(data):
            raise ValueError("it is no line of an export")
        payload = json.dumps(data["record"]).encode()
        return Line(data["key"], data["expires"], record_of(JSONCodec(), payload, data["key"]))

    def encode(self, codec: JSONCodec, payload: bytes | None = None) -> bytes:
        """
        The line, without its end.

        Args:
            codec: The codec of the line.
            payload: The payload of the record, if a `JSONCodec` has written it. It is faster to
                copy it than to write the record again.

        Raises:
            EncodeError: A field has no form in JSON.
        """
        # A payload that was edited by hand may have several lines.
        if payload is None or b"\n" in payload or b"\r" in payload:
            payload = codec.encode(self.record, self.key)
        key = encode_basestring_ascii(self.key)
        expires = "null" if self.expires is None else repr(self.expires)
        return f'{{"key": {key}, "expires": {expires}, "record": '.encode() + payload + b"}"


def _is_sound(data: dict[str, Any]) -> bool:
    expires = data["expires"]
    is_time = type(expires) in (int, float) and math.isfinite(expires)
    return isinstance(data["key"], str) and (expires is None or is_time)
