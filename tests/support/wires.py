"""Ways to servers that count turns, and that lose replies or requests."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol, Self

from support.clocks import PATIENCE

# The last message of a client to a PostgreSQL server, which has no reply.
_GOODBYE = b"X\0\0\0\4"


class HasPort(Protocol):
    """A server on a loopback port."""

    port: int


@dataclass
class _Loss:
    """
    Messages that are to be lost.

    Attributes:
        of_replies: Whether replies are lost; requests otherwise.
        about: Bytes of the request. One without them passes, and its reply as well.
        left: How many are still to be lost.
        then: Called when the last is lost, before the client can notice.
    """

    of_replies: bool
    about: bytes
    left: int
    then: Callable[[], object]


class _Turn:
    """Whose turn it is on one connection, and what the last request was."""

    def __init__(self) -> None:
        self.is_reply = True
        self.request = b""


class Wire:
    """
    A way to a server, through a port of its own, that counts turns and can lose messages.

    After a lost reply the server has done what it was asked, after a lost request it has not. In
    both cases the client finds its connection broken. Used as a context manager, or closed.

    Attributes:
        port: The loopback port.
        lost: How many messages were lost.
        round_trips: How often a client has sent something after the server's last reply.
    """

    def __init__(self, server: HasPort) -> None:
        self._server = server
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._loss: _Loss | None = None
        self._lock = threading.Lock()
        self.port: int = self._listener.getsockname()[1]
        self.lost = 0
        self.round_trips = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def lose_replies(
        self, count: int = 1, then: Callable[[], object] = bool, about: bytes = b""
    ) -> None:
        """Lose the next replies, to requests with some bytes, and do something after the last."""
        with self._lock:
            self._loss = _Loss(True, about, count, then)

    def lose_requests(
        self, count: int = 1, then: Callable[[], object] = bool, about: bytes = b""
    ) -> None:
        """Lose the next requests that have some bytes, and do something after the last."""
        with self._lock:
            self._loss = _Loss(False, about, count, then)

    def close(self) -> None:
        # Closed alone, it would go on to wait for one more connection.
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                self._connect(near)

    def _connect(self, near: socket.socket) -> None:
        try:
            far = socket.create_connection(("127.0.0.1", self._server.port), PATIENCE)
        except OSError:
            near.close()
            return
        far.settimeout(None)
        turn = _Turn()
        for end in (near, far):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for way in ((near, far, False, turn), (far, near, True, turn)):
            threading.Thread(target=self._pass_on, args=way, daemon=True).start()

    def _pass_on(
        self, source: socket.socket, target: socket.socket, is_reply: bool, turn: _Turn
    ) -> None:
        with suppress(OSError):
            while data := source.recv(2**16):
                if self._is_lost(data, is_reply, turn):
                    break
                target.sendall(data)
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def _is_lost(self, data: bytes, is_reply: bool, turn: _Turn) -> bool:
        with self._lock:
            if not is_reply:
                self.round_trips += turn.is_reply and data != _GOODBYE
                turn.request = data if turn.is_reply else turn.request + data
            turn.is_reply = is_reply
            loss = self._loss
            if loss is None or loss.of_replies != is_reply or loss.about not in turn.request:
                return False
            self.lost += 1
            loss.left -= 1
            if loss.left:
                return True
            self._loss = None
        loss.then()
        return True
