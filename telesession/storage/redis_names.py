"""The names of the keys of sessions on a Redis or Valkey server."""

from __future__ import annotations

from typing import NamedTuple


class Names(NamedTuple):
    """The keys of one session on the server, in the order in which the scripts get them."""

    record: bytes
    lock: bytes
    queue: bytes
    calls: bytes
    done: bytes


def escape(key: str) -> str:
    """Spell a key without braces, by which a cluster chooses the slot."""
    return key.replace("%", "%25").replace("{", "%7B").replace("}", "%7D")


def unescape(name: str) -> str:
    """The key that `escape` spelled."""
    return name.replace("%7D", "}").replace("%7B", "{").replace("%25", "%")


def encode(name: str) -> bytes:
    """The bytes of a name. A lone surrogate is no text, but a key may hold any character."""
    return name.encode("utf-8", "surrogatepass")


def decode(name: bytes) -> str:
    """The name that `encode` made bytes of."""
    return name.decode("utf-8", "surrogatepass")
