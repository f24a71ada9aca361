"""Typed sessions: the fields of a session as an instance of the user's own dataclass."""

from __future__ import annotations

import copy
import dataclasses
import typing
from collections.abc import Callable
from inspect import getattr_static
from typing import Any, NoReturn

from telesession.annotations import Annotation
from telesession.errors import DecodeError, EncodeError
from telesession.session import (
    CORE,
    Session,
    State,
    describe,
    field_of,
    live_fields,
    missing,
    picture,
    replace_field,
    settle_defaults,
    state_of,
    unmarked,
)

Check = Callable[[dict[str, Any], str], None]

_ABSENT: Any = object()


class Typed:
    """
    How sessions appear as instances of one dataclass.

    The fields stay in the session, which minds deadlines and closing; the instance, of a
    generated subclass, reads and writes them there. So two handlers that share a session but
    want different dataclasses see the same fields.

    Keep one for as long as the decorator that uses it; any thread may use it.

    Args:
        cls: A dataclass that is neither frozen nor slotted.
        check: Raises `EncodeError` for fields, given with their storage key, that no storage of
            these sessions could keep whatever is declared.

    Raises:
        TypeError: It is another kind of class, or one of its annotations cannot be checked.
    """

    def __init__(self, cls: type, check: Check) -> None:
        _refuse_unfit(cls)
        self.cls = cls
        self._check = check
        self._annotations = _annotations(cls)
        self._shown_class = _make_shown_class(cls)

    def open(self, session: Session) -> Any:
        """
        The session as an instance of the dataclass; the same one whenever it is asked for.

        Raises:
            DecodeError: A field holds what its annotation does not allow; nothing was changed.
        """
        state = state_of(session)
        if state.views is None:
            state.views, state.fitted, state.defaults = {}, {}, {}
        if self.cls not in state.views:
            fields = live_fields(session)
            for name, value in self._fit(fields, state.key).items():
                state.fitted.setdefault(name, (fields[name], picture(value)))
                replace_field(session, name, value)
            instance: Any = object.__new__(self._shown_class)
            object.__setattr__(instance, CORE, session)
            state.views[self.cls] = self, instance
        return state.views[self.cls][1]

    def declared_fields(self, instance: Any, key: str) -> dict[str, Any]:
        """
        The fields of an instance that `initial` gave, as far as it has set them.

        Raises:
            EncodeError: A field does not fit its annotation, so it could not be stored.
        """
        given = vars(instance)
        fields = {name: given[name] for name in self._annotations if name in given}
        for name, annotation in self._unsure(fields):
            self._pack(key, name, annotation, unmarked(fields[name]))
        return fields

    def pack(self, fields: dict[str, Any], state: State) -> dict[str, Any]:
        """
        The plain data that `open` turns back, for those of the fields that need it.

        What was stored is kept where nothing has changed: reading the record of another version
        of the program does not rewrite it.

        Raises:
            EncodeError: A field would not come back as what it is.
        """
        packed = {}
        for name, annotation in self._unsure(fields):
            stored, pristine = state.fitted.get(name, (None, None))
            if pristine is not None and picture(fields[name]) == pristine:
                packed[name] = stored
            else:
                packed[name] = self._pack(state.key, name, annotation, fields[name])
        return packed

    def _unsure(self, fields: dict[str, Any]) -> list[tuple[str, Annotation]]:
        """The fields that need a closer look."""
        return [
            (name, annotation)
            for name, annotation in self._annotations.items()
            if name in fields and not annotation.surely_fits(fields[name])
        ]

    def _fit(self, fields: dict[str, Any], key: str) -> dict[str, Any]:
        """What to show instead of those of the fields that are plain data for something else."""
        fitted = {}
        for name, annotation in self._unsure(fields):
            try:
                shown = annotation.fit(fields[name])
            except (ValueError, RecursionError):
                kind = type(fields[name]).__name__
                declared = self._declaration(name, annotation)
                reason = f"its field {name!r} holds an object of type {kind}, but {declared}"
                remedy = "declare what is stored, or turn it into what is declared by a migration"
                raise DecodeError(key, reason, remedy) from None
            # What is right already stays the object it is: another handler may be changing it.
            if shown is not fields[name]:
                fitted[name] = shown
        return fitted

    def _pack(self, key: str, name: str, annotation: Annotation, value: Any) -> Any:
        kind = type(value).__name__
        try:
            plain, fits = annotation.pack(value)
        except RecursionError:
            reason = "nested too deeply or in a cycle; store it flat"
            raise EncodeError(key, name, kind, reason) from None
        if fits:
            return plain
        self._check({name: plain}, key)
        declared = self._declaration(name, annotation)
        reason = f"but {declared}; assign what is declared, or declare this"
        raise EncodeError(key, name, kind, reason)

    def _declaration(self, name: str, annotation: Annotation) -> str:
        return f"{self.cls.__name__} declares {name}: {annotation}"


def packed_fields(session: Session) -> dict[str, Any]:
    """
    The live fields as they are to be stored.

    Raises:
        EncodeError: A field does not fit the annotation of a dataclass that showed it.
    """
    state, fields = state_of(session), live_fields(session)
    packed = dict(fields)
    for typed, _ in (state.views or {}).values():
        packed.update(typed.pack(fields, state))
    return packed


class _Field:
    """A declared field of a typed session: a data descriptor that leads to the session itself."""

    def __init__(self, field: dataclasses.Field[Any]) -> None:
        self._name = field.name
        self._default = unmarked(field.default)
        self._default_factory: Any = field.default_factory

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        if instance is None:
            if self._default is dataclasses.MISSING:
                raise AttributeError(f"{self._name!r} has no default")
            return self._default
        session: Session = instance._telesession_core
        value = field_of(session, self._name, _ABSENT)
        defaults = state_of(session).defaults
        if value is _ABSENT:
            if self._name not in defaults:
                made = self._make_default(session)
                defaults[self._name] = made, picture(made)
            return defaults[self._name][0]
        if defaults:
            # A default that was handed out before is over once the field exists.
            defaults.pop(self._name, None)
        return value

    def __set__(self, instance: Any, value: Any) -> None:
        session: Session = instance._telesession_core
        session[self._name] = value
        state_of(session).defaults.pop(self._name, None)

    def __delete__(self, instance: Any) -> None:
        session: Session = instance._telesession_core
        settle_defaults(session)
        try:
            del session[self._name]
        except KeyError:
            raise AttributeError(missing(session, self._name)) from None

    def _make_default(self, session: Session) -> Any:
        if self._default is not dataclasses.MISSING:
            made = self._default
        elif self._default_factory is not dataclasses.MISSING:
            made = self._default_factory()
        else:
            raise AttributeError(missing(session, self._name))
        # It may be an object that exists only once, for all sessions.
        return copy.deepcopy(unmarked(made))


class _Shown:
    """What an instance that shows a session adds to its dataclass, which follows in its bases."""

    __slots__ = ()
    _telesession_core: Session
    _telesession_dataclass: Any
    _telesession_settable: frozenset[str]

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        """Make an instance that shows no session, for `dataclasses.replace` and the like."""
        return cls._telesession_dataclass(*args, **kwargs)

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in self._telesession_settable:
            cls = self._telesession_dataclass
            names = ", ".join(field.name for field in dataclasses.fields(cls))
            raise AttributeError(
                f"{cls.__name__} declares no field {name!r}, so it would not be saved; add it to "
                f"the dataclass, which has {names or 'no fields'}"
            )
        super().__setattr__(name, value)

    def __repr__(self) -> str:
        return describe(self._telesession_dataclass.__name__, self._telesession_core)

    def __copy__(self) -> Any:
        return _snapshot(self)

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        return copy.deepcopy(_snapshot(self), memo)

    def __reduce_ex__(self, _protocol: object) -> NoReturn:
        raise TypeError("a session cannot be pickled; store or send as_dict(session)")


def _make_shown_class(cls: type) -> Any:
    """Generate the subclass of a dataclass whose instances show a session."""
    body = {
        "__doc__": cls.__doc__,
        "__module__": cls.__module__,
        "__qualname__": cls.__qualname__,
        "__slots__": (CORE,),
        **{name: _make_comparison(cls, name) for name in _COMPARISONS},
        "__hash__": cls.__hash__,
        "_telesession_dataclass": cls,
        **{field.name: _Field(field) for field in dataclasses.fields(cls)},
    }
    shown: Any = type(cls)(cls.__name__, (_Shown, cls), body)
    shown._telesession_settable = frozenset(
        name for name in dir(shown) if hasattr(getattr_static(shown, name, None), "__set__")
    )
    return shown


_COMPARISONS = ("__eq__", "__lt__", "__le__", "__gt__", "__ge__")


def _make_comparison(cls: Any, name: str) -> Callable[[Any, Any], Any]:
    # The methods that @dataclass generates compare instances of the very same class only.
    compare = getattr(cls, name)

    def compare_snapshots(self: Any, other: Any) -> Any:
        one, two = _snapshot(self), _snapshot(other) if isinstance(other, cls) else other
        try:
            return compare(one, two)
        except AttributeError:
            # A field is missing. Then == goes on to compare identities, and the others fail.
            return NotImplemented

    return compare_snapshots


def _snapshot(value: Any) -> Any:
    """A plain instance of a dataclass with the fields of one that may show a session."""
    plain = object.__new__(getattr(value, "_telesession_dataclass", type(value)))
    for field in dataclasses.fields(plain):
        if hasattr(value, field.name):
            object.__setattr__(plain, field.name, unmarked(getattr(value, field.name)))
    return plain


def _refuse_unfit(cls: type) -> None:
    if not dataclasses.is_dataclass(cls):
        raise TypeError(f"{cls.__name__} is no dataclass")
    if cls.__dataclass_params__.frozen:  # type: ignore[attr-defined]
        raise TypeError(f"{cls.__name__} is frozen, but handlers change sessions; drop frozen=True")
    if any("__slots__" in vars(base) for base in cls.__mro__ if dataclasses.is_dataclass(base)):
        raise TypeError(
            f"{cls.__name__} has slots, which leave no room for what a session adds; drop slots"
        )


def _annotations(cls: type) -> dict[str, Annotation]:
    try:
        hints = typing.get_type_hints(cls, include_extras=True)
    except Exception as error:
        raise TypeError(
            f"the annotations of {cls.__name__} cannot be checked: {error}; name only what its "
            "module has at its top level"
        ) from error
    annotations = {}
    for field in dataclasses.fields(cls):
        try:
            annotations[field.name] = Annotation(hints[field.name])
        except TypeError as error:
            raise TypeError(
                f"the annotation of {cls.__name__}.{field.name} cannot be checked: {error}"
            ) from error
    return annotations
