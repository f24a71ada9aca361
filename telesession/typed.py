"""Typed sessions: the fields of a session as an instance of the user's own dataclass."""

from __future__ import annotations

import copy
import dataclasses
import enum
import typing
from inspect import getattr_static
from typing import Any, NoReturn

import msgspec

from telesession.codecs import comes_back, refusal
from telesession.errors import DecodeError, EncodeError
from telesession.session import (
    CORE,
    Session,
    core_of,
    describe,
    field_of,
    live_fields,
    missing,
    replace_field,
    state_of,
    unmarked,
)

_ABSENT: Any = object()
_SCALARS = frozenset((bool, bytes, float, int, str))


class Typed:
    """
    How sessions appear as instances of one dataclass.

    The fields stay in the session, which minds deadlines and closing; the instance, of a
    generated subclass, reads and writes them there. So two handlers that share a session but
    want different dataclasses see the same fields.

    Keep one for as long as the decorator that uses it; any thread may use it.

    Args:
        cls: A dataclass that is neither frozen nor slotted.

    Raises:
        TypeError: It is another kind of class, or one of its annotations cannot be checked.
    """

    def __init__(self, cls: type) -> None:
        _refuse_unfit(cls)
        self.cls = cls
        self._hints = _field_hints(cls)
        self._shown_class = _make_shown_class(cls)

    def open(self, session: Session) -> Any:
        """
        The session as an instance of the dataclass; the same one whenever it is asked for.

        Raises:
            DecodeError: A field holds what its annotation does not allow.
        """
        state = state_of(session)
        if state.views is None:
            state.views = {}
        if self.cls not in state.views:
            for name, hint in self._hints.items():
                self._fit(session, name, hint)
            instance: Any = object.__new__(self._shown_class)
            object.__setattr__(instance, CORE, session)
            state.views[self.cls] = self, instance
        return state.views[self.cls][1]

    def declared_fields(self, instance: Any) -> dict[str, Any]:
        """The fields of an instance that `initial` gave, as far as it has set them."""
        return {name: vars(instance)[name] for name in self._hints if name in vars(instance)}

    def pack(self, session: Session, fields: dict[str, Any]) -> None:
        """
        Turn nested dataclasses and enums in `fields` into the plain data that `open` turns back.

        Raises:
            EncodeError: A field would not come back as what it is.
        """
        for name, hint in self._hints.items():
            value = fields.get(name, _ABSENT)
            if value is not _ABSENT and not _is_scalar(value, hint):
                fields[name] = self._packed(session, name, hint, value)

    def _fit(self, session: Session, name: str, hint: Any) -> None:
        """Turn plain data into what the annotation says."""
        value = field_of(session, name, _ABSENT)
        if value is _ABSENT or _is_scalar(value, hint):
            return
        try:
            fitted = msgspec.convert(value, hint)
        except msgspec.ValidationError:
            # Not its text: it may quote the value.
            reason = f"its field {name!r} holds {_kind(value)}, but {self._declaration(name)}"
            raise DecodeError(state_of(session).key, reason) from None
        # What is right already stays the object it is: another handler may be changing it.
        if not _alike(value, fitted):
            replace_field(session, name, fitted)

    def _packed(self, session: Session, name: str, hint: Any, value: Any) -> Any:
        key = state_of(session).key
        try:
            plain = _plain(value)
            fits = _alike(value, msgspec.convert(plain, hint))
        except RecursionError:
            reason = "nested too deeply or in a cycle; store it flat"
            raise EncodeError(key, name, type(value).__name__, reason) from None
        except msgspec.ValidationError:
            fits = False
        if not fits and not comes_back(plain):
            raise refusal({name: plain}, key)
        if not fits:
            reason = f"but {self._declaration(name)}; assign what is declared, or declare this"
            raise EncodeError(key, name, type(value).__name__, reason)
        return plain

    def _declaration(self, name: str) -> str:
        hint = self._hints[name]
        shown = hint.__name__ if isinstance(hint, type) else str(hint)
        return f"{self.cls.__name__} declares {name}: {shown}"


def packed_fields(session: Session) -> dict[str, Any]:
    """
    The live fields as they are to be stored.

    Raises:
        EncodeError: A field does not fit the annotation of a dataclass that showed it.
    """
    fields = live_fields(session)
    for typed, _ in (state_of(session).views or {}).values():
        typed.pack(session, fields)
    return fields


def settle_defaults(session: Session) -> None:
    """Make fields of the defaults, such as an empty list, that a handler has put something in."""
    for name, (value, pristine) in (state_of(session).defaults or {}).items():
        if value != pristine and name not in session:
            session[name] = value


class _Field:
    """A declared field of a typed session: a data descriptor that leads to the session itself."""

    def __init__(self, field: dataclasses.Field[Any]) -> None:
        self._name = field.name
        self._default = unmarked(field.default)
        self._default_factory: Any = field.default_factory
        if isinstance(self._default, dict | list | set):
            # Only ttl([]) can be such a default, which every session must have for itself.
            self._default_factory = lambda: copy.deepcopy(unmarked(field.default))

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        if instance is None:
            if self._default is dataclasses.MISSING:
                raise AttributeError(f"{self._name!r} has no default")
            return self._default
        session = core_of(instance)
        value = field_of(session, self._name, _ABSENT)
        if value is not _ABSENT:
            # A default that was handed out before is over once the field exists.
            (state_of(session).defaults or {}).pop(self._name, None)
            return value
        return self._declared_default(session)

    def __set__(self, instance: Any, value: Any) -> None:
        session = core_of(instance)
        session[self._name] = value
        (state_of(session).defaults or {}).pop(self._name, None)

    def __delete__(self, instance: Any) -> None:
        session = core_of(instance)
        try:
            del session[self._name]
        except KeyError:
            raise AttributeError(missing(session, self._name)) from None

    def _declared_default(self, session: Session) -> Any:
        if self._default_factory is dataclasses.MISSING:
            if self._default is dataclasses.MISSING:
                raise AttributeError(missing(session, self._name))
            return self._default
        state = state_of(session)
        if state.defaults is None:
            state.defaults = {}
        if self._name not in state.defaults:
            made = unmarked(self._default_factory())
            state.defaults[self._name] = made, copy.deepcopy(made)
        return state.defaults[self._name][0]


class _Shown:  # noqa: PLW1641 -- the generated class has the __hash__ of the dataclass
    """What an instance that shows a session adds to its dataclass, which follows in its bases."""

    __slots__ = ()
    _telesession_dataclass: Any

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        """Make an instance that shows no session, for `dataclasses.replace` and the like."""
        return cls._telesession_dataclass(*args, **kwargs)

    def __setattr__(self, name: str, value: Any) -> None:
        if not hasattr(getattr_static(type(self), name, None), "__set__"):
            cls = self._telesession_dataclass
            names = ", ".join(field.name for field in dataclasses.fields(cls))
            raise AttributeError(
                f"{cls.__name__} declares no field {name!r}, so it would not be saved; add it to "
                f"the dataclass, which has {names or 'no fields'}"
            )
        super().__setattr__(name, value)

    def __eq__(self, other: object) -> Any:
        # The method that @dataclass generates compares instances of the very same class only.
        return self._telesession_dataclass.__eq__(_snapshot(self), _snapshot(other))

    def __repr__(self) -> str:
        return describe(self._telesession_dataclass.__name__, core_of(self))

    def __copy__(self) -> Any:
        return _snapshot(self)

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        return copy.deepcopy(_snapshot(self), memo)

    def __reduce_ex__(self, _protocol: object) -> NoReturn:
        raise TypeError("a session cannot be pickled; store or send as_dict(session)")


def _make_shown_class(cls: type) -> type:
    """Generate the subclass of a dataclass whose instances show a session."""
    body = {
        "__doc__": cls.__doc__,
        "__module__": cls.__module__,
        "__qualname__": cls.__qualname__,
        "__slots__": (CORE,),
        "__hash__": cls.__hash__,
        "_telesession_dataclass": cls,
        **{field.name: _Field(field) for field in dataclasses.fields(cls)},
    }
    return type(cls)(cls.__name__, (_Shown, cls), body)


def _snapshot(value: Any) -> Any:
    """A plain instance of the dataclass with what the session holds; anything else as it is."""
    if not isinstance(value, _Shown):
        return value
    plain: Any = object.__new__(value._telesession_dataclass)
    for field in dataclasses.fields(plain):
        if hasattr(value, field.name):
            vars(plain)[field.name] = getattr(value, field.name)
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


def _field_hints(cls: type) -> dict[str, Any]:
    try:
        hints = typing.get_type_hints(cls, include_extras=True)
    except NameError as error:
        raise TypeError(
            f"the annotations of {cls.__name__} cannot be checked: {error}; name only what its "
            "module has at its top level"
        ) from error
    for field in dataclasses.fields(cls):
        try:
            msgspec.convert(None, hints[field.name])
        except msgspec.ValidationError:
            pass
        except TypeError as error:
            raise TypeError(
                f"the annotation of {cls.__name__}.{field.name} cannot be checked: {error}"
            ) from error
    return {field.name: hints[field.name] for field in dataclasses.fields(cls)}


def _is_scalar(value: object, hint: Any) -> bool:
    return type(value) is hint and hint in _SCALARS


def _kind(value: object) -> str:
    return f"an object of type {type(value).__name__}"


def _plain(value: Any) -> Any:
    """The value with its dataclasses and enums as dicts and values; the rest is for the codec."""
    kind = type(value)
    if dataclasses.is_dataclass(kind) and not issubclass(kind, _Shown):
        return {
            field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(kind)
        }
    if isinstance(value, enum.Enum):
        return value.value
    if kind is dict:
        return {_plain(name): _plain(item) for name, item in value.items()}
    if kind in (list, tuple, set, frozenset):
        return kind(map(_plain, value))
    return value


def _alike(value: Any, other: Any) -> bool:
    """Whether two values are equal and of the same types, all the way down."""
    kind = type(value)
    if kind is not type(other):
        # An int is a float to annotations, and equal to it.
        return kind is int and type(other) is float and value == other
    if dataclasses.is_dataclass(kind):
        names = [field.name for field in dataclasses.fields(kind)]
        return all(_alike(getattr(value, name), getattr(other, name)) for name in names)
    if kind is dict:
        return len(value) == len(other) and all(
            map(_alike, _flat(value.items()), _flat(other.items()))
        )
    if kind in (list, tuple):
        return len(value) == len(other) and all(map(_alike, value, other))
    return value is other or bool(value == other)


def _flat(pairs: Any) -> Any:
    return (part for pair in pairs for part in pair)
