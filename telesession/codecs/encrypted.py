"""The codec that encrypts the payloads of another codec."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from typing import Any

from telesession.codecs.base import TOKEN, Codec, foreign
from telesession.errors import DecodeError

_HOW_TO_MAKE_A_KEY = "make one with cryptography.fernet.Fernet.generate_key() and keep it safe"


class EncryptedCodec:
    """
    Encrypts the payloads of another codec, so that a reader of the storage cannot read sessions.

    It is Fernet (AES-128-CBC and HMAC-SHA256) of the cryptography package:
    `pip install 'cryptography>=42'`. Each payload is bound to its storage key, so it does not
    decode under the key of another user. Storage keys, lifetimes, the length of a record and the
    time of each change stay visible.

    Stateless; keep an instance for as long as you like, in any thread.

    Args:
        codec: The codec that writes the records, such as `JSONCodec()`.
        keys: Fernet keys, from `Fernet.generate_key()`. The first one writes, and all of them read.
            To rotate, put a new key in front, and remove an old one once no record needs it. A
            record is written with the new key when it changes, not when it is read.
            `copy_sessions(storage, storage)` writes all of them with the first key.

    Raises:
        ImportError: The cryptography package is not installed.
        TypeError: The codec is a class, or lacks a method.
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
                    "EncryptedCodec(codec, ...) must get a codec such as JSONCodec(); this object "
                    f"has no method {method!r}"
                )
        self._codec = codec
        self._fernets = [_checked_fernet(Fernet, key) for key in _checked_keys(keys)]
        self._fernet = MultiFernet(self._fernets)
        self._invalid = InvalidToken

    def encode(self, record: dict[str, Any], key: str, previous: bytes | None = None) -> bytes:
        """See `Codec.encode`. An unchanged record keeps its payload; all other payloads differ."""
        before = None if previous is None else self._decrypt(previous, key)
        inner = self._codec.encode(record, key, before)
        if previous is not None and inner == before:
            return previous
        # A time in the token is only of use if tokens expire. A bot's clock may be before 1970.
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
        if not payload.startswith(TOKEN):
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


def _binding(key: str) -> bytes:
    """The bytes that bind an encrypted payload to its storage key."""
    bound = key.encode("utf-8", "surrogatepass")
    return len(bound).to_bytes(4, "big") + bound


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
    # Outside of the block above, so that the error has no context: its frames may show the key.
    raise ValueError(
        "EncryptedCodec(keys=...) has one that is no Fernet key (32 bytes in URL-safe base64); "
        + _HOW_TO_MAKE_A_KEY
    )
