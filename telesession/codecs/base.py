"""The contract of codecs, and the beginnings of the payloads of each codec."""

from __future__ import annotations

from typing import Any, Protocol

from telesession.errors import DecodeError


class Codec(Protocol):
    """
    The methods of a storage's `codec`, which all threads share.

    A record is a `dict` of plain data. Its part `"fields"` has the fields of a session, and the
    other parts are the library's own. A codec brings each value back equal and of the same type,
    or refuses it.
    """

    def encode(self, record: dict[str, Any], key: str, previous: bytes | None = None) -> bytes:
        """
        The payload of a record.

        Args:
            record: The record.
            key: The storage key of the record.
            previous: The payload that the record was loaded from. If the record has not changed,
                an equal payload is returned, and the caller writes nothing.

        Raises:
            EncodeError: A field holds something that would not come back.
        """
        ...

    def decode(self, payload: bytes, key: str) -> dict[str, Any]:
        """
        The record of a payload, made of new objects.

        Raises:
            DecodeError: Another codec wrote the payload, or the payload is damaged.
        """
        ...


# The first bytes of the payloads of each codec: a pickle of protocol 5, an object, a Fernet token.
PICKLE, OBJECT, TOKEN = b"\x80\x05", b"{", b"gAAAA"
_WRITERS = ((PICKLE, "PickleCodec"), (OBJECT, "JSONCodec"), (TOKEN, "EncryptedCodec"))


def foreign(payload: bytes, key: str, reader: str) -> DecodeError:
    """The error of a payload of another writer; it names the codec if it is one of these."""
    for mark, writer in _WRITERS:
        if writer != reader and payload.startswith(mark):
            return DecodeError(
                key,
                f"{writer} wrote it, and the storage has {reader} now",
                f"give the storage {writer}, or delete the record to start anew",
            )
    remedy = "give the storage the codec that wrote it, or delete the record to start anew"
    return DecodeError(key, f"{reader} did not write it", remedy)
