"""Endings: writes to other keys in the commit of one handler, such as that of its update."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Sequence
from types import FunctionType
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from telesession.storage.base import Change, Storage


class Ending(Protocol):
    """
    Writes for the commit of the unit of one function.

    They are part of the commit if the unit writes sessions of the same storage.

    Attributes:
        storage: The storage.
        is_called: Whether the function was called. A decorated function is not called if its
            sessions cannot be locked and read.
    """

    storage: Storage
    is_called: bool

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


def call_with(ending: Ending, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Call a function. Its unit has the ending if the function takes it by `ending_for`."""
    thread = threading.get_ident()
    expected[thread] = _called_by(function), ending
    try:
        return function(*args, **kwargs)
    finally:
        if expected.pop(thread, None) is not None:
            # It is no decorated function.
            ending.is_called = True


def ending_for(function: Any) -> Ending | None:
    """
    Take the ending for the unit of a function that begins now; `None` without one.

    The caller sets `is_called` of the ending once the sessions are open.
    """
    thread = threading.get_ident()
    found = expected.get(thread)
    if found is None or found[0] is not function:
        return None
    del expected[thread]
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
