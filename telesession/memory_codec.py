"""The codec of a dict that nothing but its `MemoryStorage` can reach."""

from __future__ import annotations

from typing import Any

import msgspec

from telesession.codecs import PICKLE, PickleCodec, foreign

#: Values that never change inside, and that MessagePack brings back as they are.
Scalar = bool | float | int | str | None
#: A flat record: fields that are all scalars, or a pair of these and of the part `"ttl"`. No name
#: of a field begins with `_`.
Flat = dict[str, Scalar] | tuple[dict[str, Scalar], dict[str, tuple[float, float]]]

_SCALARS = frozenset((bool, float, int, str, type(None)))
_PICKLED = PICKLE[0]
_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder(Flat).decode


class MemoryCodec(PickleCodec):
    """
    Keeps what `PickleCodec` keeps, in a third of the time for a flat record.

    A flat record is MessagePack: a map of the fields, or an array of that map and the lifetimes.
    Any other record is a pickle. There is no checksum, because no payload leaves the process.

    Stateless; keep an instance for as long as you like, in any thread.
    """

    def encode(self, record: dict[str, Any], key: str, previous: bytes | None = None) -> bytes:
        """See `Codec.encode`."""
        fields, flat = record["fields"], None
        if "version" not in record and not any(name[:1] == "_" for name in fields):
            flat = self.write_flat(fields, record.get("ttl"))
        return super().encode(record, key, previous) if flat is None else flat

    def decode(self, payload: bytes, key: str) -> dict[str, Any]:
        """See `Codec.decode`."""
        if payload.startswith(PICKLE):
            return super().decode(payload, key)
        flat = self.read_flat(payload)
        if flat is None:
            raise foreign(payload, key, "MemoryStorage")
        return {"fields": flat} if isinstance(flat, dict) else {"fields": flat[0], "ttl": flat[1]}

    @staticmethod
    def write_flat(fields: dict[str, Any], ttl: dict[str, list[Any]] | None = None) -> bytes | None:
        """
        The payload of a flat record; `None` if it would not be flat.

        Args:
            fields: The fields; no name begins with `_`.
            ttl: The part of that name of a record.
        """
        # The first byte of an empty map is that of a pickle.
        if not fields or not _SCALARS.issuperset(map(type, fields.values())):
            return None
        try:
            return _pack(fields if ttl is None else (fields, ttl))
        except (OverflowError, ValueError):
            # An integer beyond 64 bits, or text with half an emoji.
            return None

    @staticmethod
    def read_flat(payload: bytes) -> Flat | None:
        """The flat record of a payload; `None` if it is none."""
        try:
            flat: Flat | None = None if payload[0] == _PICKLED else _unpack(payload)
        except (IndexError, ValueError):
            return None
        return flat

    def _seal(self, pickled: bytes) -> bytes:
        return pickled

    def _check_seal(self, payload: bytes, key: str) -> None:
        """Nothing to check."""
