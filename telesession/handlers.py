"""Handlers: checks of the decorated functions, and their calls with their sessions."""

from __future__ import annotations

import functools
import inspect
from types import FunctionType
from typing import TYPE_CHECKING, Any, NamedTuple

from telesession.keys import ROOM
from telesession.options import POSITIONAL, VARIADIC, has_kind, is_async, option_of
from telesession.session import session_key
from telesession.unit.blocks import join
from telesession.unit.endings import ending_for, expected
from telesession.unit.entry import USUAL
from telesession.unit.unit import Unit, begin

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from telesession.kinds.kind import Kind
    from telesession.storage.base import Storage
    from telesession.unit.entry import Wanted


class CallForm:
    """
    The positions of the update and the session among the arguments of a handler.

    Args:
        handler: The object to decorate.
        name: The name of its parameter for the session.

    Raises:
        TypeError: It is no blocking function, lacks one of the two parameters, or another decorator
            hides the parameter for the session.

    Attributes:
        published: The signature without the session, which telebot reads.
        name: The name of the parameter for the session.
        update_position: The index of the update among the arguments of a call.
        session_position: The number of arguments before the session; -1 if the session is not
            simply the next argument by position.
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
        # A decorated function inside gets the session by name, so as not to take it for the update.
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
        """Check that the inner function of another decorator takes the session."""
        if not (inspect.isfunction(handler) and hasattr(handler, "__wrapped__")):
            return
        # A copy without the attributes that `functools.wraps` has copied from the handler.
        own = FunctionType(handler.__code__, {}, "", handler.__defaults__, handler.__closure__)
        own.__kwdefaults__ = handler.__kwdefaults__
        kwargs: dict[str, Any] = {}
        placed = self.add_session(None, (None,) * (self.update_position + 1), kwargs)
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
        The number of arguments before the sessions of some forms, which come in order.

        It is -1 if the sessions are not simply the next arguments by position.
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
        """Check that no session is among the arguments of a call with too many arguments."""
        if surplus and not self._takes_more and any(map(_is_session, args)):
            name = self._handler_name
            raise TypeError(
                f"{name}() gets its {self.name!r} from with_session, and was called with a session "
                f"as well; leave that out, as in register_next_step_handler(message, {name})"
            )

    def add_session(self, session: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Any]:
        """Add the session to the arguments of a call, by position or in `kwargs`."""
        name, only_by_position = self._mine.name, self._mine.kind is POSITIONAL[0]
        if name in kwargs and not only_by_position:
            raise TypeError(
                f"{self._handler_name}() gets its {name!r} from with_session; leave it out of the "
                "call, or call __wrapped__ to pass another one"
            )
        placed, given, is_placed = [], list(reversed(args)), False
        for parameter in self._positional:
            # As in Python: a parameter not given by name takes the next argument by position.
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
    if has_kind(inspect.isgeneratorfunction, handler):
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


class _Decorated(NamedTuple):
    """
    The mark of a decorated function, which the next decorator above it reads.

    Attributes:
        function: The decorated function. `functools.wraps` copies the mark to other functions, so
            the mark counts only on this one.
        handler: The handler below all decorators.
        kinds: The kinds of sessions that the handler gets, the uppermost decorator first.
        forms: The positions of these sessions among the arguments, in the same order.
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
        # Not decorated, or another decorator is in between.
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

    def wrapper(*args: Any, **kwargs: Any) -> Any:  # noqa: C901 -- each update passes here
        given = len(args)
        update = args[update_position] if given > update_position else form.update_of(kwargs)
        # Without an inbox there is no ending.
        ending = ending_for(wrapper) if expected else None
        wanted: Sequence[Wanted]
        if is_single:
            # As `Kind.place_of_update`, without a call: most updates come here.
            try:
                key = kind.get_storage_key(update)
            except Exception as error:
                raise kind.no_key(update, error) from error
            if type(key) is not str or not key or key[0] == ROOM or kind.room or kind.groups:
                key = kind.place_of_result(key, update)
            wanted = ((kind, key),)
        else:
            wanted = [(each, each.place_of_update(update)) for each in kinds]
        block = begin(wanted, update, USUAL, function) or join(wanted, update)
        try:
            if ending is not None:
                ending.is_called = True
                if isinstance(block, Unit):
                    block.ending = ending
            try:
                if is_usual and given == 1 and not kwargs:
                    # As below, in half the time.
                    result = function(update, block.sessions[0])
                elif given == session_position and not kwargs:
                    result = function(*args, *block.sessions)
                else:
                    placed = _with_sessions(forms, block.sessions, args, kwargs)
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


def _with_sessions(
    forms: list[CallForm], sessions: list[Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    """The arguments of a call with the sessions among them; some may go into `kwargs`."""
    placed: Any = args
    for form, session in zip(forms, sessions, strict=True):
        placed = form.add_session(session, placed, kwargs)
    return placed
