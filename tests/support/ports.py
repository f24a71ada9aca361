"""Loopback ports for servers."""

from __future__ import annotations

import random
import socket
from collections.abc import Iterator
from contextlib import suppress

# Below the ports that the system gives away by itself, with those of the clusters' own wires.
PORTS = range(12_000, 22_000)
BUS = 10_000


def free_ports() -> Iterator[int]:
    """Give ports at which a server can listen, and its cluster `BUS` above."""
    return filter(_is_free, random.sample(PORTS, 100))


def _is_free(port: int) -> bool:
    with socket.socket() as one, socket.socket() as another, suppress(OSError):
        one.bind(("127.0.0.1", port))
        another.bind(("127.0.0.1", port + BUS))
        return True
    return False
