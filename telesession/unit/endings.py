"""Endings: writes to other keys in the commit of one handler, such as that of its update."""

from __future__ import annotations

import functools
import threading
from collections.abc import Sequence
from types import FunctionType
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from telesession.storage.base import Change, Storage


class Ending(Protocol):
    """
    Writes for the commit of the unit of one function.

    They are part of the commit if the unit writes sessions of the same storage.
    """

    storage: Storage

    def returned(self, result: object) -> None:
        """Take the result of the function, before the commit."""
        ...

    def changes(self) -> Sequence[Change]:
        """The writes for the commit."""
        ...

    def happened(self) -> bool:
        """Whether a commit with an unknown outcome was done after all."""
        ...

    def done(self) -> None:
        """Note that the commit was done, with the changes."""
        ...


#: Identifier of a thread -> the function that the thread calls next, and the ending of its unit.
expected: dict[int, tuple[Any, Ending]] = {}


def expect(function: Any, ending: Ending) -> None:
    """Give an ending to the unit of a function, if this thread calls the function next."""
    expected[threading.get_ident()] = _called_by(function), ending


def withdraw() -> None:
    """Take back the ending that the next unit of this thread would get."""
    expected.pop(threading.get_ident(), None)


def ending_for(function: Any) -> Ending | None:
    """Take the ending for the unit of a function that begins now; `None` without one."""
    found = expected.get(threading.get_ident())
    if found is None or found[0] is not function:
        return None
    withdraw()
    return found[1]


def _called_by(function: Any) -> Any:
    """The plain function that a bound method, a partial or a callable object calls."""
    while not isinstance(function, FunctionType):
        if isinstance(function, functools.partial):
            function = function.func
        elif hasattr(function, "__func__"):
            function = function.__func__
        elif isinstance(call := type(function).__call__, FunctionType):
            return call
        else:
            break
    return function
