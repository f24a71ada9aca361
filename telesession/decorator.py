"""The decorator: a function that gives a handler its sessions, and ends their unit after it."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, NamedTuple

from telesession.endings import ending_for, expected
from telesession.handlers import CallForm
from telesession.unit import USUAL, Unit, enter

if TYPE_CHECKING:
    from collections.abc import Callable

    from telesession.kind import Kind
    from telesession.storage.base import Storage


class _Decorated(NamedTuple):
    """
    The mark of a decorated function, which the next decorator above it reads.

    Attributes:
        function: The decorated function. `functools.wraps` copies the mark to other functions, so
            the mark counts only on this one.
        handler: The handler below all decorators.
        kinds: The kinds of sessions that the handler gets, the uppermost decorator first.
        forms: The places of these sessions among the arguments, in the same order.
    """

    function: Callable[..., Any]
    handler: Callable[..., Any]
    kinds: list[Kind]
    forms: list[CallForm]


def decorate(handler: Callable[..., Any], kind: Kind, name: str) -> Callable[..., Any]:
    """
    Make a function that calls a handler with its session.

    Decorators directly above each other become one, which locks all sessions in one order.

    Args:
        handler: The handler, which may be decorated already.
        kind: The kind of session.
        name: The parameter of the handler that receives it.

    Raises:
        TypeError: It is no blocking function, or lacks the parameter.
    """
    form = CallForm(handler, name)
    below = getattr(handler, "__telesession__", None)
    if not isinstance(below, _Decorated) or below.function is not handler:
        # Not decorated, or below another decorator.
        below = None
    function = handler if below is None else below.handler
    kinds = [kind] if below is None else [kind, *below.kinds]
    forms = [form] if below is None else [form, *below.forms]
    wrapper = functools.wraps(handler)(_wrapper(function, kinds, forms))
    decorated: Any = wrapper
    # telebot looks at the signature to decide which arguments to pass to a handler.
    decorated.__signature__ = form.published
    decorated.__telesession__ = _Decorated(wrapper, function, kinds, forms)
    return wrapper


def is_decorated(function: Any) -> bool:
    """Whether a function, or one that it wraps, gets a session from a decorator."""
    while isinstance(function, functools.partial):
        function = function.func
    return hasattr(function, "__telesession__")


def storages_of(function: Any) -> list[Storage]:
    """The storages of the sessions that a function gets from decorators."""
    mark = getattr(function, "__telesession__", None)
    return [kind.storage for kind in mark.kinds] if isinstance(mark, _Decorated) else []


def _wrapper(  # noqa: C901 -- each update passes here
    function: Callable[..., Any], kinds: list[Kind], forms: list[CallForm]
) -> Callable[..., Any]:
    """A function that calls a handler with the sessions of several kinds in one block."""
    kind, form = kinds[0], forms[0]
    update_position, is_single = form.update_position, len(kinds) == 1
    session_position = CallForm.position_of(function, forms)
    is_usual = is_single and (update_position, session_position) == (0, 1)

    def wrapper(*args: Any, **kwargs: Any) -> Any:
        given = len(args)
        update = args[update_position] if given > update_position else form.update_of(kwargs)
        # Without an inbox there is never one.
        ending = ending_for(wrapper) if expected else None
        if is_single:
            block = enter(((kind, kind.key_of(update)),), update, USUAL, function)
        else:
            wanted = [(each, each.key_of(update)) for each in kinds]
            block = enter(wanted, update, USUAL, function)
        try:
            if ending is not None and isinstance(block, Unit):
                block.ending = ending
            try:
                if is_usual and given == 1 and not kwargs:
                    # As below, in half the time.
                    result = function(update, block.sessions[0])
                elif given == session_position and not kwargs:
                    result = function(*args, *block.sessions)
                else:
                    placed = _placed(forms, block.sessions, args, kwargs)
                    result = function(*placed, **kwargs)
            except BaseException as error:
                block.leave(error)
                raise
            if ending is not None:
                ending.returned(result)
            block.leave(None)
        except BaseException:
            # A KeyboardInterrupt may have come before the block was left.
            block.abandon()
            raise
        return result

    return wrapper


def _placed(
    forms: list[CallForm], sessions: list[Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    """The arguments of a call with the sessions among them; some may go into `kwargs`."""
    placed: Any = args
    for form, session in zip(forms, sessions, strict=True):
        placed = form.place(session, placed, kwargs)
    return placed
