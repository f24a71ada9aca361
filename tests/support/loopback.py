"""A guard that keeps a process on the loopback interface: other addresses are refused."""

from __future__ import annotations

import _socket
import functools
import socket
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

#: What was refused since `take_refused`, such as `"socket.connect to 192.0.2.1"`.
_refused: list[str] = []
_DIGITS = frozenset("0123456789.")

#: Methods of a socket -> the place of the address in their arguments.
_METHODS = {
    "connect": slice(1),
    "connect_ex": slice(1),
    "sendto": slice(-1, None),
    "sendmsg": slice(3, 4),
}
#: Functions of the module `socket` whose first argument is a name or an address.
_LOOK_UPS = ("getaddrinfo", "getnameinfo", "gethostbyname", "gethostbyname_ex", "gethostbyaddr")


class LeftLoopbackError(Exception):
    """
    Raised by a call that would connect, send or look up a name beyond the loopback interface.

    It is no `OSError`, because code that retries after a failure of the network would hide it.
    """


class _Socket(_socket.socket):
    """The base class of the sockets of a library that is imported later, such as gevent."""

    __slots__ = ()


def stay_on_loopback() -> None:
    """
    Refuse other addresses and names with `LeftLoopbackError` until the process ends.

    Call it once. Forked children inherit the guard. Other processes do not, unless they import
    `support` as well. Unix sockets are free. A library in C that makes its own connections, such as
    libpq, is not guarded, and neither is a look-up that was imported by name before the guard.
    """
    # No audit hook: while one in Python runs, CPython 3.11 refuses the trace functions of other
    # threads, which coverage sets.
    for kind in (socket.socket, _Socket):
        for name, place in _METHODS.items():
            setattr(kind, name, _guarded_method(getattr(kind, name), name, place))
    _socket.socket = _Socket
    for name in _LOOK_UPS:
        original = getattr(_socket, name)
        guarded = _guarded_look_up(original, name)
        setattr(_socket, name, guarded)
        # Its own `getaddrinfo`, and all functions of gevent, call those of `_socket`.
        if getattr(socket, name) is original:
            setattr(socket, name, guarded)


def take_refused() -> list[str]:
    """Return what was refused since the last time, also what a thread or a retry has hidden."""
    taken = _refused[:]
    del _refused[: len(taken)]
    return taken


def _guarded_method(method: Callable[..., Any], name: str, place: slice) -> Callable[..., Any]:
    @functools.wraps(method)
    def guarded(self: Any, *args: Any) -> Any:
        for address in args[place]:
            # The address of a Unix socket is a path, and `sendmsg` takes `None` too.
            if isinstance(address, tuple):
                _check(name, address[0])
        return method(self, *args)

    return guarded


def _guarded_look_up(look_up: Callable[..., Any], name: str) -> Callable[..., Any]:
    @functools.wraps(look_up)
    def guarded(host: Any, *args: Any, **options: Any) -> Any:
        _check(name, host[0] if isinstance(host, tuple) else host)
        return look_up(host, *args, **options)

    return guarded


def _check(name: str, host: Any) -> None:
    if not _is_loopback(host):
        complaint = f"socket.{name} to {host}"
        _refused.append(complaint)
        raise LeftLoopbackError(f"{complaint} was refused: tests stay on the loopback interface")


def _is_loopback(host: Any) -> bool:
    """Whether a name or a literal address is this machine; no host at all is the loopback too."""
    if isinstance(host, bytes | bytearray):
        host = host.decode(errors="replace")
    if host is None or host in {"", "localhost", "::1"}:
        return True
    if not isinstance(host, str):
        return False
    number = host.lower().removeprefix("::ffff:")
    # A name such as 127.example.org is no address.
    return number.startswith("127.") and set(number) <= _DIGITS
