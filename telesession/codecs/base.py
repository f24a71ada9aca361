"""The contract of codecs, and the beginnings of the payloads of each codec."""

from __future__ import annotations

from typing import Any, Protocol

from telesession.errors import DecodeError


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


# How the payloads of each codec begin: a pickle of protocol 5, an object, a Fernet token.
PICKLE, OBJECT, TOKEN = b"\x80\x05", b"{", b"gAAAA"
_WRITERS = ((PICKLE, "PickleCodec"), (OBJECT, "JSONCodec"), (TOKEN, "EncryptedCodec"))


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
