"""A proxy in front of a server that counts the round trips of its clients."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from typing import Self


class Wire:
    """
    A port of the loopback interface whose connections lead to a server.

    A round trip begins when a client sends something after the last reply of the server. Commands
    that a client sends together are one. Used as a context manager.

    Args:
        port: The port of the server.

    Attributes:
        port: The port for clients.
        round_trips: The round trips so far, of all connections.
    """

    def __init__(self, port: int) -> None:
        self._server = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._lock = threading.Lock()
        self._connections: list[Connection] = []
        self.port = int(self._listener.getsockname()[1])
        self.round_trips = 0
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._accepting.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._accepting.join()
        self._listener.close()
        for connection in self._connections:
            connection.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._server))
                self._connections.append(Connection(self, client, server))

    def count(self) -> None:
        """Count one round trip."""
        with self._lock:
            self.round_trips += 1


class Connection:
    """One connection of a client through the proxy, with a thread for each direction."""

    def __init__(self, wire: Wire, client: socket.socket, server: socket.socket) -> None:
        self._wire = wire
        self._is_replied = True
        for end in (client, server):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._ends = (client, server)
        self._threads = [
            threading.Thread(target=self._pass_on, args=ends, daemon=True)
            for ends in ((client, server, False), (server, client, True))
        ]
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """Close both directions, and wait for their threads."""
        for end in self._ends:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        for end in self._ends:
            end.close()

    def _pass_on(self, source: socket.socket, target: socket.socket, is_reply: bool) -> None:
        with suppress(OSError):
            while data := source.recv(2**16):
                if not is_reply and self._is_replied:
                    self._wire.count()
                self._is_replied = is_reply
                target.sendall(data)
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
