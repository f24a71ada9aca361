"""A guard that keeps a process on the loopback interface: other addresses are refused."""

from __future__ import annotations

import sys
from typing import Any

#: What was refused since `take_refused`, such as `"socket.connect to 192.0.2.1"`.
_refused: list[str] = []
_DIGITS = frozenset("0123456789.")

#: Audit events of the module `socket` -> the index of the address or name in their arguments.
#: See https://docs.python.org/3/library/audit_events.html.
_EVENTS = {
    "socket.connect": 1,
    "socket.sendto": 1,
    "socket.sendmsg": 1,
    "socket.getaddrinfo": 0,
    "socket.getnameinfo": 0,
    "socket.gethostbyname": 0,
    "socket.gethostbyaddr": 0,
}


class LeftLoopbackError(Exception):
    """
    Raised by a call that would connect, send or look up a name beyond the loopback interface.

    It is no `OSError`, because code that retries after a failure of the network would hide it.
    """


def stay_on_loopback() -> None:
    """
    Refuse other addresses and names with `LeftLoopbackError` until the process ends.

    Forked children inherit the guard. Other processes do not, unless they import `support` as well.
    Unix sockets are free. A name that is given to `connect` itself, and not looked up before, is
    looked up before it is refused.
    """
    sys.addaudithook(_audit)


def take_refused() -> list[str]:
    """Return what was refused since the last time, also what a thread or a retry has hidden."""
    taken = _refused[:]
    del _refused[: len(taken)]
    return taken


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if event not in _EVENTS:
        return
    address = arguments[_EVENTS[event]]
    host = address[0] if isinstance(address, tuple) else address
    # A path is the address of a Unix socket, and only `connect` and `send` take one.
    is_path = event.startswith(("socket.connect", "socket.send")) and host is address
    if not is_path and not _is_loopback(host):
        complaint = f"{event} to {host}"
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
