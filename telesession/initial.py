"""The option `initial`: what new sessions begin with, and what all of them appear as."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Mapping
from dataclasses import is_dataclass
from typing import TYPE_CHECKING, Any, overload

from telesession.errors import SessionError
from telesession.handlers import POSITIONAL, VARIADIC, is_async
from telesession.session import state_of
from telesession.typed.views import Check, Typed

if TYPE_CHECKING:
    from telesession.session import Session


class Initial:
    """
    What new sessions begin with, and what all of them appear as.

    Keep one for as long as the decorator that uses it; any thread may use it.

    Args:
        initial: The option of that name; see `Sessions`.
        check: See `Typed`.
        declare: Called with the dataclass that all sessions appear as, as soon as it is known.

    Attributes:
        is_mapping: Whether it is settled that all sessions appear as mappings.

    Raises:
        TypeError: It is neither a mapping, nor a dataclass, nor a callable that can be called.
        ValueError: `declare` refuses the dataclass.
    """

    def __init__(self, initial: Any, check: Check, declare: Callable[[type], None]) -> None:
        self._check = check
        self._declare = declare
        self._make, self._wants_update = _callable(initial)
        # Whether sessions appear as a dataclass may turn out only when initial is called.
        self._known = False
        self.is_mapping = False
        self._typed: Typed | None = None
        # The same in an item, because only one of two threads can set that by setdefault.
        self._settled: dict[str, Typed | None] = {}
        declared = _declared_type(initial)
        if is_dataclass(declared):
            self._settle(declared)
        elif issubclass(declared, Mapping):
            self._settle(None)

    def make(self, key: str, update: object) -> dict[str, Any]:
        """
        The fields that a new session begins with; values may be marked by `ttl`.

        Raises:
            SessionError: `initial` raised.
            TypeError: `initial` wants an update and there is none, or returned something else
                than a mapping with names or an instance of a dataclass, or something of another
                class than before.
            ValueError: Other sessions have the same records as an unrelated dataclass.
        """
        made = self._call(key, update)
        if isinstance(made, Mapping):
            self._settle(None)
            fields = dict(made)
        elif is_dataclass(made) and not isinstance(made, type):
            typed = self._settle(type(made))
            fields = typed.declared_fields(made, key)
        else:
            raise TypeError(
                "initial must return a mapping or an instance of a dataclass, "
                f"not {type(made).__name__}"
            )
        _refuse_odd_names(fields)
        return fields

    @property
    def show(self) -> Callable[[Session, object], Any]:
        """Makes of a session, with the update, the object that handlers get."""
        return self._typed.open if self._typed is not None else self._show

    def _show(self, session: Session, update: object) -> Any:
        if not self._known:
            # The record is older than this process: only a call tells what initial returns.
            self.make(state_of(session).key, update)
        return session if self._typed is None else self._typed.open(session)

    def read(self, session: Session) -> Any:
        """
        A session that is only read, as what handlers get.

        It appears as a mapping while an `initial` that wants the update has not said what it
        returns, and has not been called either.
        """
        if not self._known and not self._wants_update:
            self.make(state_of(session).key, None)
        return session if self._typed is None else self._typed.open(session)

    @overload
    def _settle(self, cls: None) -> None: ...

    @overload
    def _settle(self, cls: type) -> Typed: ...

    def _settle(self, cls: type | None) -> Typed | None:
        """Let all sessions appear as a dataclass, or as mappings, unless that is settled."""
        if not self._known:
            typed = None
            if cls is not None:
                typed = Typed(cls, self._check)
                self._declare(cls)
            self._typed = self._settled.setdefault("class", typed)
            self._known = True
            self.is_mapping = self._typed is None
        settled = None if self._typed is None else self._typed.cls
        if settled is not cls:
            raise TypeError(
                f"initial gave {_instance_of(cls)}, but these sessions are {_plural_of(settled)}, "
                "and no session changes its class; let initial always return the same class, and "
                "make Sessions with another name for the other"
            )
        return self._typed

    def _call(self, key: str, update: object) -> Any:
        if self._wants_update and update is None:
            raise TypeError(
                f"initial wants the update to make session {key!r}; "
                "pass it as Sessions.open(key, update=...)"
            )
        try:
            return self._make(update) if self._wants_update else self._make()
        except Exception as error:
            raise SessionError(
                f"could not make session {key!r}: initial raised {type(error).__name__}; nothing "
                "was stored; see __cause__ and fix initial"
            ) from error


def _callable(initial: Any) -> tuple[Callable[..., Any], bool]:
    """How to call `initial`, and whether it gets the update."""
    if isinstance(initial, Mapping):
        _refuse_odd_names(initial)
        return lambda: initial, False
    if isinstance(initial, type) and (is_dataclass(initial) or issubclass(initial, Mapping)):
        _refuse_required(initial)
        return initial, False
    if is_dataclass(initial) and not isinstance(initial, type):
        name = type(initial).__name__
        raise TypeError(
            f"initial is an instance of {name}, which all sessions would share; write "
            f"initial={name}, or initial=lambda: {name}(...)"
        )
    if isinstance(initial, type) or not callable(initial):
        cls = initial if isinstance(initial, type) else type(initial)
        raise TypeError(
            "initial must be a mapping, a dataclass, or a callable that returns a mapping or an "
            f"instance of a dataclass, not {cls.__name__}"
        )
    if is_async(initial):
        raise TypeError("initial must not be async; write it with def")
    required = _required_parameters(initial)
    if len(required) > 1 or any(p.kind not in POSITIONAL for p in required):
        names = ", ".join(p.name for p in required)
        raise TypeError(f"initial must take nothing or the update, but it requires {names}")
    return initial, bool(required)


def _instance_of(cls: type | None) -> str:
    return "a mapping" if cls is None else f"an instance of {cls.__name__}"


def _plural_of(cls: type | None) -> str:
    return "mappings" if cls is None else f"instances of {cls.__name__}"


def _refuse_odd_names(fields: Mapping[Any, Any]) -> None:
    for name in fields:
        if not isinstance(name, str):
            raise TypeError(
                f"initial has a field named by a {type(name).__name__}; names of fields are str"
            )


def _refuse_required(cls: type) -> None:
    required = ", ".join(p.name for p in _required_parameters(cls))
    if required:
        raise TypeError(
            f"initial={cls.__name__} would be called without arguments, but it requires "
            f"{required}; give defaults, or pass a function that makes an instance"
        )


def _required_parameters(function: Callable[..., Any]) -> list[inspect.Parameter]:
    try:
        parameters = inspect.signature(function).parameters.values()
    except ValueError:
        # Classes in C such as dict do not tell.
        return []
    return [p for p in parameters if p.default is p.empty and p.kind not in VARIADIC]


def _declared_type(initial: Any) -> type:
    """The class that `initial` is or says that it returns; `object` if it does not say."""
    if isinstance(initial, Mapping):
        return dict
    if not isinstance(initial, type):
        try:
            initial = typing.get_type_hints(initial).get("return")
        except (NameError, TypeError):
            return object
        initial = typing.get_origin(initial) or initial
    return initial if isinstance(initial, type) else object
