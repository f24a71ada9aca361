"""The proxy between a contender and its server counts round trips."""

from __future__ import annotations

import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from benchmarks.wire import Wire
from support.clocks import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Iterator

REQUEST, REPLY = b"ask\n", b"answer\n"


@pytest.fixture
def port() -> Iterator[int]:
    """A server that answers each line of its clients with a line."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer(client: socket.socket) -> None:
            with client, client.makefile("rb") as lines:
                for _ in lines:
                    client.sendall(REPLY)

        def serve() -> None:
            with suppress(OSError), ThreadPoolExecutor() as threads:
                while True:
                    threads.submit(answer, listener.accept()[0])

        serving = threading.Thread(target=serve)
        serving.start()
        yield int(listener.getsockname()[1])
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        serving.join(PATIENCE)


def ask(client: socket.socket, count: int) -> bytes:
    """Send requests together, and return all replies."""
    client.sendall(REQUEST * count)
    reply = b""
    while len(reply) < len(REPLY) * count:
        reply += client.recv(100)
    return reply


def test_each_request_behind_a_reply_is_a_round_trip(port: int) -> None:
    """Three requests that wait for their replies are three round trips, and the replies arrive."""
    with Wire(port) as wire, socket.create_connection(("127.0.0.1", wire.port), PATIENCE) as client:
        replies = [ask(client, 1) for _ in range(3)]
        assert ([REPLY] * 3, 3) == (replies, wire.round_trips)


def test_requests_sent_together_are_one_round_trip(port: int) -> None:
    """Three requests in one piece, and then one more, are two round trips."""
    with Wire(port) as wire, socket.create_connection(("127.0.0.1", wire.port), PATIENCE) as client:
        assert (REPLY * 3, REPLY, 2) == (ask(client, 3), ask(client, 1), wire.round_trips)


def test_connections_are_counted_each(port: int) -> None:
    """The round trips of two connections are added, in any order of their requests."""
    with Wire(port) as wire:
        address = ("127.0.0.1", wire.port)
        with (
            socket.create_connection(address, PATIENCE) as one,
            socket.create_connection(address, PATIENCE) as other,
        ):
            assert [REPLY] * 4 == [ask(client, 1) for client in (one, other, one, other)]
        assert 4 == wire.round_trips
