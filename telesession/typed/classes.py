"""The generated subclasses of a dataclass, whose instances show sessions."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Mapping
from functools import partial
from inspect import getattr_static
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from telesession.session import (
    LINK,
    REFUSAL,
    Session,
    State,
    collect_view_changes,
    describe,
    field_of,
    live_fields,
    missing,
    refuse_closed,
    state_behind,
    state_of,
)
from telesession.ttl import TimedValue, plain_value
from telesession.typed.defaults import is_steady, snapshot_of_value

if TYPE_CHECKING:
    from telesession.typed.form import Form

_ABSENT: Any = object()
_new = object.__new__


class Shown(NamedTuple):
    """
    The two generated subclasses of a dataclass.

    Args:
        solo: The class of instances whose `__dict__` is the dict of the fields.
        linked: The class of instances that read and write the fields of a `Session`.
        is_direct: Whether the dataclass leaves the access to attributes to Python, so that it can
            have solo instances.
    """

    solo: Any
    linked: Any
    is_direct: bool


def make_classes(cls: Any, forms: Mapping[str, Form]) -> Shown:
    """
    Generate the subclasses of a dataclass.

    Args:
        cls: The dataclass.
        forms: `field -> form`.
    """
    fields = dataclasses.fields(cls)
    declared = frozenset(field.name for field in fields)
    is_direct = all(getattr(cls, name) is getattr(object, name) for name in _ACCESS)
    solo = _named_like(
        cls,
        (_ShowsSession, cls),
        {
            "__slots__": (LINK,),
            "__setattr__": _make_setter(declared),
            **{name: _make_comparison(cls, name) for name in _COMPARISONS},
            "__hash__": cls.__hash__,
            "_telesession_dataclass": cls,
            "_telesession_settable": _settable_names(cls) | declared | {LINK},
            # The dataclass may count its subclasses, and must not count the second class.
            "__init_subclass__": classmethod(lambda _cls: None),
            **{field.name: _Default(field, forms[field.name]) for field in fields},
        },
    )
    linked = _named_like(
        cls,
        (solo,),
        {
            "__slots__": (),
            "__hash__": cls.__hash__,
            "__setattr__": _ShowsSession.__setattr__,
            "__delattr__": cls.__delattr__,
            **{field.name: _Field(field, forms[field.name]) for field in fields},
        },
    )
    return Shown(solo, linked, is_direct)


def _settable_names(cls: type) -> frozenset[str]:
    """The names of the properties and slots of a dataclass, which an instance can set."""
    names = {name for name in dir(cls) if hasattr(getattr_static(cls, name, None), "__set__")}
    # Another __dict__ would hide the fields that are set later.
    return frozenset(names - {"__dict__"})


def snapshot(value: Any) -> Any:
    """A plain instance of a dataclass with the fields of one that may show a session."""
    plain = _new(getattr(value, "_telesession_dataclass", type(value)))
    for field in dataclasses.fields(plain):
        if hasattr(value, field.name):
            object.__setattr__(plain, field.name, plain_value(getattr(value, field.name)))
    return plain


class _Default:
    """
    The default of a declared field. It stands in a session that lacks the field.

    It is no data descriptor, so a field in the `__dict__` of an instance is read without a call.
    """

    def __init__(self, field: dataclasses.Field[Any], form: Form) -> None:
        self._name = field.name
        self._default = plain_value(field.default)
        self._factory: Any = field.default_factory
        self._form = form

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        if instance is None:
            if self._default is dataclasses.MISSING:
                raise AttributeError(f"{self._name!r} has no default")
            return self._default
        state = state_behind(instance)
        if state.defaults and self._name in state.defaults:
            return state.defaults[self._name][0]
        made = self._make_default(state)
        if state.depth and not self._is_steady(made):
            # The next handler gets the value that this one sees.
            setattr(instance, self._name, made)
        else:
            state.defaults = state.defaults or {}
            take = partial(snapshot_of_value, self._form)
            state.defaults[self._name] = made, take(made), take
        return made

    def _make_default(self, state: State) -> Any:
        if self._default is not dataclasses.MISSING:
            # The declaration has one object as the default of all sessions.
            return copy.deepcopy(self._default)
        if self._factory is not dataclasses.MISSING:
            return self._make()
        raise AttributeError(
            f"{missing(state, self._name)}, and its declaration has no default; give it one, or "
            "write a migration that sets it"
        )

    def _make(self) -> Any:
        return copy.deepcopy(plain_value(self._factory()))

    def _is_steady(self, made: Any) -> bool:
        is_static = self._default is not dataclasses.MISSING
        return is_static or is_steady(self._form, made, self._make)


class _Field(_Default):
    """A declared field: a data descriptor that leads to the session itself."""

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        if instance is None:
            return super().__get__(instance, owner)
        value = field_of(getattr(instance, LINK), self._name, _ABSENT)
        return super().__get__(instance, owner) if value is _ABSENT else value

    def __set__(self, instance: Any, value: Any) -> None:
        getattr(instance, LINK)[self._name] = value

    def __delete__(self, instance: Any) -> None:
        core: Session = getattr(instance, LINK)
        collect_view_changes(core)
        try:
            del core[self._name]
        except KeyError:
            raise AttributeError(missing(state_of(core), self._name)) from None


class _ShowsSession:
    """The methods that an instance needs to show a session; its dataclass follows in the bases."""

    __slots__ = ()
    _telesession_refusal = REFUSAL
    _telesession_link: State | Session
    _telesession_dataclass: Any
    _telesession_settable: frozenset[str]

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        """Make an instance that shows no session, as `dataclasses.replace` needs it."""
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

    def __delattr__(self, name: str) -> None:
        # Only of solo instances.
        state = state_behind(self)
        if state.solo is not None and name in state.solo.declared:
            state.solo.delete(state, name)
        else:
            super().__delattr__(name)

    def __repr__(self) -> str:
        state, link = state_behind(self), self._telesession_link
        names = live_fields(link) if isinstance(link, Session) else state.solo.live_fields(state)
        return describe(self._telesession_dataclass.__name__, state, names)

    def __copy__(self) -> Any:
        return snapshot(self)

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        return copy.deepcopy(snapshot(self), memo)

    def __reduce_ex__(self, _protocol: object) -> NoReturn:
        raise TypeError("a session cannot be pickled; store or send as_dict(session)")


def _make_setter(declared: frozenset[str]) -> Callable[[Any, str, Any], None]:
    """The `__setattr__` of solo instances."""

    def set_attribute(self: Any, name: str, value: Any) -> None:
        state = self._telesession_link
        if name not in declared:
            _ShowsSession.__setattr__(self, name, value)
        elif state.depth and not state.defaults and type(value) is not TimedValue:
            # Most assignments end here.
            state.attributes[name] = value
        else:
            refuse_closed(state, f"set field {name!r}")
            if type(value) is TimedValue:
                state.solo.link(self)[name] = value
            else:
                # Once the field exists, a default that was returned before does not count any more.
                (state.defaults or {}).pop(name, None)
                state.attributes[name] = value

    return set_attribute


def _named_like(cls: type, bases: tuple[type, ...], body: dict[str, Any]) -> Any:
    names = {name: getattr(cls, name) for name in ("__doc__", "__module__", "__qualname__")}
    try:
        return type(cls)(cls.__name__, bases, {**names, **body})
    except TypeError as error:
        raise TypeError(
            f"{cls.__name__} cannot be a session, because its metaclass or its __init_subclass__ "
            f"refuses a subclass that is made without keywords: {error}"
        ) from error


# The methods by which a dataclass may go past the `__dict__` of its instances.
_ACCESS = ("__delattr__", "__getattribute__", "__setattr__")

_COMPARISONS = ("__eq__", "__lt__", "__le__", "__gt__", "__ge__")


def _make_comparison(cls: Any, name: str) -> Callable[[Any, Any], Any]:
    # The methods that @dataclass generates compare instances of the very same class only.
    compare = getattr(cls, name)

    def compare_snapshots(self: Any, other: Any) -> Any:
        one, two = snapshot(self), snapshot(other) if isinstance(other, cls) else other
        try:
            return compare(one, two)
        except AttributeError:
            # A field is missing. Then == goes on to compare identities, and the others fail.
            return NotImplemented

    return compare_snapshots
