"""The option `initial`: the fields of new sessions, and the class of all sessions."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import is_dataclass
from typing import TYPE_CHECKING, Any, get_origin

from telesession.errors import DecodeError, SessionError
from telesession.options import POSITIONAL, VARIADIC, is_async
from telesession.session import ReadState
from telesession.typed.announced import Announced, announced_by

if TYPE_CHECKING:
    from telesession.session import State
    from telesession.typed.views import Typed


class Initial:
    """
    Makes the fields of new sessions, and finds the dataclass of which sessions are instances.

    A session keeps its first dataclass. If `initial` may return instances of several dataclasses,
    the record names the dataclass.

    Keep one for as long as the decorator that uses it; any thread may use it.

    Args:
        initial: The option of that name; see `Sessions`.
        make_typed: Makes the `Typed` of a dataclass and its name in the records; `None` if the
            records do not name it.
        declare: Called with the dataclasses of the sessions as soon as they are known.

    Attributes:
        typed: The `Typed` of sessions whose records name no class; `None` if they are mappings,
            or while only a call of `initial` shows the class.
        is_mapping: Whether it is known that all sessions are mappings.

    Raises:
        TypeError: It is neither a mapping, nor a dataclass, nor a callable that can be called.
        ValueError: `declare` refuses the dataclass.
    """

    def __init__(
        self,
        initial: Any,
        make_typed: Callable[[type, str | None], Typed],
        declare: Callable[[Sequence[type]], None],
    ) -> None:
        self._make_typed = make_typed
        self._declare = declare
        self._make, self._wants_update = _callable(initial)
        self._initial = initial
        self._is_resolved = self.is_mapping = False
        self._announced: Announced | None = None
        # "class" -> class. A dict, because `setdefault` lets only one of two threads set it.
        self._first_class: dict[str, type | None] = {}
        self._all: dict[type, Typed] = {}
        self.typed: Typed | None = None
        # An annotation may name a class that is defined further down.
        with suppress(NameError):
            self._resolve()

    def make(self, key: str, update: object) -> tuple[dict[str, Any], Typed | None]:
        """
        The fields of a new session, which `ttl` may have marked, and the `Typed` of its class.

        Raises:
            SessionError: `initial` raised.
            TypeError: `initial` takes an update and there is none. Or `initial` returned neither a
                mapping with names nor an instance of a dataclass. Or its annotation does not have
                the class of the returned object.
            ValueError: Other sessions have the same records as an unrelated dataclass.
        """
        made = self._call(key, update)
        typed = None
        if isinstance(made, Mapping):
            self._checked_typed(None)
            fields = dict(made)
        elif is_dataclass(made) and not isinstance(made, type):
            typed = self._checked_typed(type(made))
            fields = {} if typed is None else typed.fields.of(made, ReadState(key))
        else:
            raise TypeError(
                "initial must return a mapping or an instance of a dataclass, "
                f"not {type(made).__name__}"
            )
        _refuse_odd_names(fields)
        return fields, typed

    def typed_for(self, state: State, update: object) -> Typed | None:
        """
        The `Typed` of a stored session; `None` for a mapping.

        Raises:
            DecodeError: The record names a class that is not announced.
            SessionError: Only a call shows the class, and `initial` raised.
        """
        self._resolve_at_last()
        announced, name = self._announced, state.class_name
        if name is not None and announced is not None and not announced.are_final:
            cls = announced.named(name)
            if cls is None:
                raise DecodeError(
                    state.key,
                    f"it is a session of the class {name}, which the annotation of initial does "
                    f"not name: {announced}",
                    "name the class there, import the module that defines it or, if it was "
                    f"renamed, keep an empty subclass: class {name}(NewName)",
                )
            return self._typed_of(cls, announced)
        if self.typed is not None or self.is_mapping:
            return self.typed
        # The record is older than the annotation: only a call shows the class.
        typed = self.make(state.key, update)[1]
        if typed is not None and typed.class_name is not None:
            # The next handler gets a session of the class that this one sees.
            state.class_name, state.changed = typed.class_name, True
        return typed

    def typed_to_read(self, state: State) -> Typed | None:
        """
        The `Typed` of a stored session that is only read; `None` for a mapping.

        An `initial` that takes the update cannot be called here. If it has no annotation and was
        never called, the session appears as a mapping.
        """
        self._resolve_at_last()
        is_known = self.is_mapping or self.typed is not None or state.class_name is not None
        return self.typed_for(state, None) if is_known or not self._wants_update else None

    def _resolve(self) -> None:
        """Read the annotations of `initial` and of its dataclasses."""
        announced = announced_by(self._initial)
        if isinstance(announced, Announced):
            for cls in announced.classes:
                if is_dataclass(cls):
                    self._typed_of(cls, announced)
            self._declare(announced.classes)
            self._announced = announced
            self.typed = None if announced.only is None else self._all[announced.only]
        self.is_mapping = announced is Mapping
        self._is_resolved = True

    def _resolve_at_last(self) -> None:
        if not self._is_resolved:
            try:
                self._resolve()
            except NameError as error:
                raise TypeError(
                    f"the annotations of initial cannot be resolved: {error}; define or import the "
                    "name at the top level of the module, neither in a function nor under "
                    "`if TYPE_CHECKING:`"
                ) from error

    def _checked_typed(self, cls: type | None) -> Typed | None:
        """Check that `initial` may return an instance of a class; `None` is a mapping."""
        self._resolve_at_last()
        if self._announced is not None:
            if cls is None or not self._announced.admits(cls):
                raise TypeError(
                    f"initial gave {_instance_of(cls)}, but these sessions are instances of "
                    f"{self._announced}; declare in the annotation of initial all classes that it "
                    "returns, or make Sessions with another name for the other"
                )
            return self._typed_of(cls, self._announced)
        # Without an annotation, the first call sets the class.
        first = None if self.is_mapping else self._first_class.setdefault("class", cls)
        if first is not cls:
            raise TypeError(
                f"initial gave {_instance_of(cls)}, but these sessions are {_plural_of(first)}, "
                "and no session changes its class; let initial always return the same class, "
                "declare in its annotation all classes that it returns, or make Sessions with "
                "another name for the other"
            )
        if cls is None:
            self.is_mapping = True
            return None
        if self.typed is None:
            typed = self._typed_of(cls, Announced((cls,)))
            self._declare((cls,))
            self.typed = typed
        return self.typed

    def _typed_of(self, cls: type, announced: Announced) -> Typed:
        typed = self._all.get(cls)
        if typed is None:
            if announced.clash_of(cls):
                raise TypeError(
                    f"the sessions of initial may be of two classes named {cls.__qualname__}, "
                    "which records could not tell apart; rename one of them"
                )
            made = self._make_typed(cls, announced.name_of(cls))
            typed = self._all.setdefault(cls, made)
        return typed

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
    """The function to call for `initial`, and whether it gets the update."""
    if isinstance(initial, Mapping):
        _refuse_odd_names(initial)
        return lambda: initial, False
    if isinstance(initial, type) and (is_dataclass(initial) or issubclass(initial, Mapping)):
        _refuse_required(initial)
        return initial, False
    _refuse_other(initial)
    if is_async(initial):
        raise TypeError("initial must not be async; write it with def")
    required = _required_parameters(initial)
    if len(required) > 1 or any(p.kind not in POSITIONAL for p in required):
        names = ", ".join(p.name for p in required)
        raise TypeError(f"initial must take nothing or the update, but it requires {names}")
    return initial, bool(required)


def _refuse_other(initial: Any) -> None:
    """Check that `initial` can be called, and is no instance, generic class or other class."""
    if is_dataclass(initial) and not isinstance(initial, type):
        name = type(initial).__name__
        raise TypeError(
            f"initial is an instance of {name}, which all sessions would share; write "
            f"initial={name}, or initial=lambda: {name}(...)"
        )
    if is_dataclass(origin := get_origin(initial)):
        name = getattr(origin, "__name__", "")
        raise TypeError(
            f"initial is the generic {name} with arguments, which instances do not keep; declare a "
            f"dataclass that extends it, such as class My{name}({name}[...]), and pass that"
        )
    if isinstance(initial, type) or not callable(initial):
        cls = initial if isinstance(initial, type) else type(initial)
        advice = ""
        if cls is initial and cls.__module__ != "builtins":
            # A class of attrs or pydantic can only be the type of a field.
            advice = f"; make {cls.__name__} a dataclass, or the type of a field of one"
        raise TypeError(
            "initial must be a mapping, a dataclass, or a callable that returns a mapping or an "
            f"instance of a dataclass, not {cls.__name__}{advice}"
        )


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
        # Some classes in C, such as dict, have no signature.
        return []
    return [p for p in parameters if p.default is p.empty and p.kind not in VARIADIC]
