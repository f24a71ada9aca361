"""Handlers: which functions can be one, and how they are called with their session."""

from __future__ import annotations

import inspect
from types import FunctionType
from typing import TYPE_CHECKING, Any

from telesession.misuse import option_of
from telesession.session import session_key

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


class CallForm:
    """
    Where a handler takes its update and its session.

    Args:
        handler: What is to be decorated.
        name: The name of its parameter for the session.

    Raises:
        TypeError: It is no blocking function, lacks one of the two parameters, or another decorator
            hides the one for the session.

    Attributes:
        published: The signature without the session, for telebot to call by.
        name: The name of the parameter for the session.
        update_position: Where the update is among the arguments of a call.
        session_position: The number of arguments after which the session comes, or -1 where it
            is not simply the next one.
    """

    def __init__(self, handler: Callable[..., Any], name: str) -> None:
        _refuse_handler(handler)
        signature = inspect.signature(handler)
        parameters = list(signature.parameters.values())
        mine = next((p for p in parameters if p.name == name and p.kind not in VARIADIC), None)
        if mine is None:
            raise TypeError(_advice(handler, name))
        others = [p for p in parameters if p is not mine]
        takes_update = [
            p for p in others if p.kind in (*POSITIONAL, inspect.Parameter.VAR_POSITIONAL)
        ]
        is_method = bool(takes_update) and takes_update[0].name in ("self", "cls")
        if len(takes_update) <= is_method:
            raise TypeError(f"{_name_of(handler)} has no parameter for the update; add one")
        self.published = signature.replace(parameters=others)
        self.update_position = int(is_method)
        # What is inside and decorated, too, gets it by name: it must not take it for the update.
        is_decorated = hasattr(handler, "__telesession__")
        by_name = is_decorated or mine.kind not in POSITIONAL
        self.session_position = -1 if by_name else parameters.index(mine)
        self.name = name
        self._mine = mine
        self._positional = [p for p in parameters if p.kind in POSITIONAL and not is_decorated]
        kinds = {p.kind for p in parameters}
        self._takes_more = is_decorated or inspect.Parameter.VAR_POSITIONAL in kinds
        self._update_name = takes_update[is_method].name
        self._handler_name = _name_of(handler)
        self._refuse_hiding(handler)

    def _refuse_hiding(self, handler: Callable[..., Any]) -> None:
        """See that the inner function of another decorator takes the session."""
        if not (inspect.isfunction(handler) and hasattr(handler, "__wrapped__")):
            return
        # A copy without the attributes by which it pretends to be the handler.
        own = FunctionType(handler.__code__, {}, "", handler.__defaults__, handler.__closure__)
        own.__kwdefaults__ = handler.__kwdefaults__
        kwargs: dict[str, Any] = {}
        placed = self.place(None, (None,) * (self.update_position + 1), kwargs)
        try:
            inspect.signature(own).bind_partial(*placed, **kwargs)
        except TypeError as error:
            raise TypeError(
                f"{self._handler_name} has the parameter {self.name!r}, but another decorator "
                f"around it does not take it ({error}); let the inner function of that decorator "
                "take *args and **kwargs and pass them on"
            ) from None

    @staticmethod
    def position_of(handler: Callable[..., Any], forms: Sequence[CallForm]) -> int:
        """
        The number of arguments after which the sessions of some forms come, in their order.

        It is -1 where they are not simply the next arguments by position.
        """
        if len(forms) == 1 or forms[-1].session_position == -1:
            return forms[-1].session_position
        names = [form.name for form in forms]
        parameters = list(inspect.signature(handler).parameters.values())
        first = next(n for n, parameter in enumerate(parameters) if parameter.name == names[0])
        following = parameters[first : first + len(names)]
        return first if [p.name for p in following if p.kind in POSITIONAL] == names else -1

    def update_of(self, kwargs: dict[str, Any]) -> Any:
        """The update of a call that does not pass it by position."""
        if self._update_name not in kwargs:
            raise TypeError(f"{self._handler_name}() was called without the update")
        return kwargs[self._update_name]

    def _refuse_session(self, surplus: list[Any], args: tuple[Any, ...]) -> None:
        """See that no session is among the arguments of a call that has too many of them."""
        if surplus and not self._takes_more and any(map(_is_session, args)):
            name = self._handler_name
            raise TypeError(
                f"{name}() gets its {self.name!r} from with_session, and was called with a session "
                f"as well; leave that out, as in register_next_step_handler(message, {name})"
            )

    def place(self, session: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Any]:
        """Put the session among the arguments of a call: those by position, or `kwargs`."""
        name, only_by_position = self._mine.name, self._mine.kind is POSITIONAL[0]
        if name in kwargs and not only_by_position:
            raise TypeError(
                f"{self._handler_name}() gets its {name!r} from with_session; leave it out of the "
                "call, or call __wrapped__ to pass another one"
            )
        placed, given, is_placed = [], list(reversed(args)), False
        for parameter in self._positional:
            # As Python does it: what is not given by name takes the next argument by position.
            if parameter is self._mine:
                placed.append(session)
                is_placed = True
            elif parameter.name in kwargs:
                placed.append(kwargs.pop(parameter.name))
            elif given:
                placed.append(given.pop())
            elif only_by_position and not is_placed:
                placed.append(parameter.default)
            else:
                break
        if not is_placed:
            kwargs[name] = session
        self._refuse_session(given, args)
        return [*placed, *reversed(given)]


def _refuse_handler(handler: Any) -> None:
    if isinstance(handler, staticmethod | classmethod):
        raise TypeError(f"put @{type(handler).__name__} above @with_session, not below it")
    if not callable(handler) or isinstance(handler, type):
        name = (handler if isinstance(handler, type) else type(handler)).__name__
        raise TypeError(
            f"with_session decorates a handler, not {name}; its options are keywords: write "
            f"with_session({option_of(handler)})"
        )
    if is_async(handler):
        raise TypeError(
            f"{_name_of(handler)} is async, and telesession is for blocking handlers of TeleBot; "
            f"write def {_name_of(handler)}, without async"
        )
    if _any_function(inspect.isgeneratorfunction, handler):
        raise TypeError(
            f"{_name_of(handler)} is a generator, whose body would run after its session is "
            "closed; return a value instead of yielding"
        )


def _is_session(value: object) -> bool:
    try:
        session_key(value)
    except TypeError:
        return False
    return True


def is_async(function: Any) -> bool:
    """Whether calling it gives something to await, or to iterate over with `async for`."""
    return _any_function(inspect.iscoroutinefunction, function) or _any_function(
        inspect.isasyncgenfunction, function
    )


def _any_function(is_kind: Callable[[Any], bool], function: Any) -> bool:
    # An object that can be called tells by the method that does it.
    return is_kind(function) or is_kind(type(function).__call__)


def _advice(handler: Any, name: str) -> str:
    function = _name_of(handler)
    original = inspect.signature(inspect.unwrap(handler)).parameters
    if hasattr(handler, "__telesession__") and name in original:
        return (
            f"{function} gets its {name!r} from another decorator already; give one of the two "
            'another name: with_session(name="...")'
        )
    written = "handler" if function == "<lambda>" else function
    if not original:
        return (
            f"{function} has no parameters; write def {written}(message, {name}) or, if it makes "
            f"new sessions, with_session({option_of(handler)})"
        )
    return (
        f"{function} has no parameter {name!r} to receive the session; write "
        f"def {written}(message, {name}), or give the parameter's name as the option name= of "
        "with_session or Sessions"
    )


def _name_of(handler: Any) -> str:
    return getattr(handler, "__name__", type(handler).__name__)
