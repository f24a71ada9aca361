"""Sessions that are attached to a bot, and the functions that get them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from telesession.options import VARIADIC

if TYPE_CHECKING:
    from telesession.kinds.kind import Kind


class DecoratesHandlers(Protocol):
    """Decorates handlers, as `Sessions` do."""

    def with_session(self, handler: Callable[..., Any], /) -> Callable[..., Any]:
        """See `Sessions.with_session`."""
        ...


class Attachable(NamedTuple):
    """
    Sessions with their kind. Two for the same sessions are equal.

    Attributes:
        sessions: The sessions.
        kind: The kind of the sessions.
    """

    sessions: DecoratesHandlers
    kind: Kind

    @property
    def name(self) -> str:
        """The parameter of handlers that receives the session."""
        return self.kind.name

    def __repr__(self) -> str:
        return repr(self.sessions)


class LateStep:
    """
    A next step or a reply handler that gets its sessions when it is called.

    It is decorated in the worker: a function that cannot have a session must not stop the poller.

    Args:
        decorate: Gives a function its sessions.
        callback: The function that was registered.
    """

    def __init__(
        self, decorate: Callable[[Callable[..., Any]], Callable[..., Any]], callback: Any
    ) -> None:
        self._decorate = decorate
        self._callback = callback

    def decorated(self) -> Callable[..., Any]:
        """The function with its sessions."""
        return self._decorate(self._callback)

    def __call__(self, message: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Call the function with its sessions."""
        return self.decorated()(message, *args, **kwargs)


def give_sessions(
    function: Callable[..., Any], attached: Iterable[Attachable]
) -> Callable[..., Any]:
    """The function with those of the sessions that it takes; itself if it takes none."""
    wrapper = function
    for each in attached:
        if takes(wrapper, each.name):
            wrapper = each.sessions.with_session(wrapper)
    return wrapper


def takes(function: Any, name: str) -> bool:
    """Whether a function has a parameter of this name that no decorator fills."""
    try:
        parameter = inspect.signature(function).parameters.get(name)
    except (TypeError, ValueError):
        return False
    return parameter is not None and parameter.kind not in VARIADIC
