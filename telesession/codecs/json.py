"""The codec of JSON for records that outlive a process."""

from __future__ import annotations

import contextlib
from typing import Any

from telesession.codecs.advice import advice_for
from telesession.codecs.base import OBJECT, foreign
from telesession.codecs.pickle import survives_pickle
from telesession.codecs.refused import find_unwritable, refused_as
from telesession.codecs.tags import Tags, UntaggedError, is_text
from telesession.codecs.text import CONTAINERS, DEEPEST, read_plain, write_plain
from telesession.errors import DecodeError, EncodeError

# The parts of a record. Another part is of a later telesession, or is damage that hides a part.
_PARTS = frozenset(("class", "end", "fields", "lifetime", "ttl", "version"))
# The beginning of an object whose first key starts with "$". In a string, the quote is escaped.
_TAG = b'{"$'


class JSONCodec:
    """
    Writes readable JSON and brings back the same types: the codec for persistent records.

    A payload is the text of an object whose `"fields"` are those of the session, so that SQLite's
    `json_extract(payload, '$.fields.counter')` works. Plain data with `str` keys is plain JSON. An
    object with one key that starts with `$` is a tag. Tags hold the values that JSON lacks:
    `tuple`, `set`, `frozenset`, `bytes`, `bytearray`, `datetime`, `date`, `time`, `timedelta`,
    `Decimal`, `UUID`, `complex`, keys that are no strings, NaN and infinities, integers beyond 64
    bits, and text with half an emoji in it. A dict that looks like a tag is written as one.

    Everything else is refused, including instances and all subclasses of the types above. Store
    plain data, or declare dataclasses, enums and the like in a typed session, which turns them into
    plain data. Data that is nested more than 200 levels deep (a tag is two levels) and data that
    holds itself is refused, too.

    Stateless; keep an instance for as long as you like, in any thread.
    """

    def __init__(self) -> None:
        self._tags = Tags()

    def encode(self, record: dict[str, Any], key: str, previous: bytes | None = None) -> bytes:
        """See `Codec.encode`. The items of a set are sorted; dicts keep their order."""
        payload = write_plain(record)
        if payload is None or _TAG in payload:
            payload = self._tagged_payload(record)
        if payload is None:
            raise self._refusal(record["fields"], key)
        if previous is None or payload == previous or read_plain(previous)[1]:
            return payload
        # A person has edited the record. Other spaces are no reason to write.
        same = self.encode(self.decode(previous, key), key) == payload
        return previous if same else payload

    def decode(self, payload: bytes, key: str) -> dict[str, Any]:
        """See `Codec.decode`."""
        if not payload.lstrip().startswith(OBJECT):
            raise foreign(payload, key, "JSONCodec")
        try:
            record, exact = read_plain(payload)
        except (RecursionError, ValueError):
            raise DecodeError(key, "it is damaged, because it is not sound JSON text") from None
        if type(record.get("fields")) is not dict or not _PARTS.issuperset(record):
            raise DecodeError(key, "it is not the record of a session")
        if exact and _TAG not in payload:
            plain: dict[str, Any] = record
            return plain
        with contextlib.suppress(Exception):
            return {part: self._read_part(content) for part, content in record.items()}
        # Outside of the block above, so that the error has no context: parsers quote their input.
        reason = (
            "it has a tag that JSONCodec did not write, or needs a time zone that is not installed"
        )
        remedy = "install tzdata, repair it, or delete it to start anew"
        raise DecodeError(key, reason, remedy)

    def _tagged_payload(self, record: dict[str, Any]) -> bytes | None:
        try:
            tagged = {part: self._write_part(content) for part, content in record.items()}
        except (RecursionError, TypeError):
            return None
        return write_plain(tagged)

    # The parts of a record are never tags, so that SQL can query a field of any name.

    def _write_part(self, content: Any) -> Any:
        if type(content) is not dict:
            return self._tags.write(content)
        return {name: self._tags.write(value) for name, value in content.items()}

    def _read_part(self, content: Any) -> Any:
        if type(content) is not dict:
            return self._tags.read(content)
        return {name: self._tags.read(value) for name, value in content.items()}

    def _refusal(self, fields: dict[str, Any], key: str) -> EncodeError:
        """The error with the path of the first value that JSON cannot hold."""
        for name in fields:
            if not is_text(name):
                advice = "which is no name for a field; use text, without halves of emojis"
                return EncodeError(key, "(a key of the session)", type(name).__name__, advice)
        refused = find_unwritable(fields, self._advice)
        if refused is None:
            # Each value can be written alone, so a container is the reason.
            deep = (item for item in fields.items() if not self._tagged_payload({"": dict([item])}))
            refused = next(deep, ("the session", fields))
        path, value = refused
        return EncodeError(key, path, type(value).__name__, self._advice(value))

    def _advice(self, value: Any) -> str:
        """The advice for a value that cannot be written; empty if it can be written."""
        if own := refused_as(value):
            return own
        if type(value) in CONTAINERS:
            return f"which is nested more than {DEEPEST} levels deep or holds itself; store it flat"
        try:
            tagged = self._tags.write(value)
        except UntaggedError as error:
            pickle_too = ", or give the storage a PickleCodec" if survives_pickle(value) else ""
            return f"{error.fault}; {advice_for(value, f'store {error.plain}{pickle_too}')}"
        return "" if write_plain([tagged]) else "which holds half an emoji; store whole text"
