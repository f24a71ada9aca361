"""Typed sessions: the fields of a session as an instance of the user's own dataclass."""

from __future__ import annotations

import copy
import dataclasses
import typing
from collections.abc import Callable
from inspect import getattr_static
from typing import Any, NoReturn
from weakref import ref

from telesession.errors import DecodeError, EncodeError
from telesession.session import (
    CORE,
    Marked,
    Session,
    State,
    describe,
    field_of,
    live_fields,
    missing,
    picture,
    replace_field,
    set_field,
    settle_defaults,
    state_of,
    unmarked,
)
from telesession.typed.annotations import Annotation

Check = Callable[[dict[str, Any], str], None]

_ABSENT: Any = object()
_new, _copy, _dict_set = object.__new__, dict.copy, dict.__setitem__


class Typed:
    """
    How sessions appear as instances of one dataclass.

    The session keeps the fields and their deadlines, and refuses changes once it is closed. The
    instance is of a generated subclass. It has the declared fields in its `__dict__` as well, so
    that reading one costs no call. The session sets each field in the `__dict__` of all its
    instances, so two handlers that want different dataclasses see the same fields.

    An instance is of a second generated class while a field has a lifetime, and always if the
    dataclass has a `__setattr__` of its own. That class reads and writes fields in the session.

    Keep one for as long as the decorator that uses it; any thread may use it.

    Args:
        cls: A dataclass that is neither frozen nor slotted.
        check: Raises `EncodeError` for fields, given with their storage key, that no storage of
            these sessions could keep whatever is declared.

    Raises:
        TypeError: It is another kind of class, or one of its annotations cannot be checked.

    Attributes:
        cls: The dataclass.
        direct: The fields that instances have in their `__dict__` while no field has a lifetime.
    """

    def __init__(self, cls: type, check: Check) -> None:
        _refuse_unfit(cls)
        self.cls = cls
        self._check = check
        self._annotations = _annotations(cls)
        is_plain = all(getattr(cls, name) is getattr(object, name) for name in _ACCESS)
        self.direct = frozenset(self._annotations if is_plain else ())
        # Two dicts, because scalars are the most, and need no call.
        self._scalars = {name: each.scalars for name, each in self._annotations.items()}
        self._surely_fits = {name: each.surely_fits for name, each in self._annotations.items()}
        self._class = _make_class(cls, self.direct)
        self._class_of_lifetimes = _make_class_of_lifetimes(cls, self._class)
        self._set_core: Callable[[Any, Session], None] = vars(self._class)[CORE].__set__
        self._set_dict: Callable[[Any, Any], None] = getattr_static(cls, "__dict__").__set__

    def open(self, session: Session, _update: object = None) -> Any:
        """
        The session as an instance of the dataclass; the same one as long as it is in use.

        Raises:
            DecodeError: A field holds what its annotation does not allow; nothing was changed.
        """
        state = state_of(session)
        views = state.views
        instance: Any
        is_fitted = False
        if views is not None:
            for typed, reference, _ in views:
                if typed.cls is self.cls:
                    if (instance := reference()) is not None:
                        return instance
                    # Its fields are the handler's by now, and no longer those of the record.
                    is_fitted = True
            # An instance that is no longer in use shows nothing.
            views = tuple(view for view in views if view[0].cls is not self.cls)
        else:
            state.fitted = state.defaults = None
        fields = live_fields(session) if state.marks else _copy(session)
        if not is_fitted and (unsure := self.unsure(fields)):
            self._show_fitted(session, unsure)
            fields = live_fields(session)
        if self.direct and not state.marks:
            # A dict of its own, because the results of cached properties go there, too.
            shown = fields
            if not self.direct.issuperset(shown):
                shown = {name: fields[name] for name in self.direct if name in fields}
            instance = _new(self._class)
            self._set_dict(instance, shown)
        else:
            instance = _new(self._class_of_lifetimes)
            shown = vars(instance)
        self._set_core(instance, session)
        # A weak reference, so that no cycle keeps the session after its handler.
        view = (self, ref(instance), shown)
        state.views = (*views, view) if views else (view,)
        return instance

    def declared_fields(self, instance: Any, key: str) -> dict[str, Any]:
        """
        The fields of an instance that `initial` gave, as far as it has set them.

        Raises:
            EncodeError: A field does not fit its annotation, so it could not be stored.
        """
        given = vars(instance)
        fields = {name: given[name] for name in self._annotations if name in given}
        for name in self.unsure(fields) or ():
            self._pack(key, name, unmarked(fields[name]))
        return fields

    def pack(self, names: list[str], fields: dict[str, Any], state: State) -> dict[str, Any]:
        """
        The plain data that `open` turns back, for the fields that `unsure` names.

        What was stored is kept where nothing has changed: reading the record of another version
        of the program does not rewrite it.

        Raises:
            EncodeError: A field would not come back as what it is.
        """
        packed = {}
        fitted = state.fitted or {}
        for name in names:
            stored, pristine = fitted.get(name, (None, None))
            if pristine is not None and picture(fields[name]) == pristine:
                packed[name] = stored
            else:
                packed[name] = self._pack(state.key, name, fields[name])
        return packed

    def refill(self, instance: Any, shown: dict[str, Any], session: Session) -> None:
        """
        Let an instance show the fields of a session after a lifetime has come or gone.

        Args:
            instance: The instance, or `None` if it is no longer in use.
            shown: Its `__dict__`.
            session: The session.
        """
        fields = {} if state_of(session).marks else live_fields(session)
        for name in self.direct:
            if name in fields:
                shown[name] = fields[name]
            else:
                shown.pop(name, None)
        is_direct = self.direct and not state_of(session).marks
        cls = self._class if is_direct else self._class_of_lifetimes
        if instance is not None and type(instance) is not cls:
            object.__setattr__(instance, "__class__", cls)

    def unsure(self, fields: dict[str, Any]) -> list[str] | None:
        """The names of the fields that need a closer look; `None` without any."""
        unsure: list[str] | None = None
        scalars_of = self._scalars.get
        for name, value in fields.items():
            scalars = scalars_of(name)
            # Undeclared fields have none, and are as they are.
            if scalars is None or type(value) in scalars or self._surely_fits[name](value):
                continue
            unsure = [*unsure, name] if unsure else [name]
        return unsure

    def _show_fitted(self, session: Session, names: list[str]) -> None:
        """Show fields that are plain data as objects of the types that the annotations name."""
        state, fields, fitted = state_of(session), live_fields(session), {}
        for name in names:
            try:
                shown = self._annotations[name].fit(fields[name])
            except (ValueError, RecursionError):
                kind = type(fields[name]).__name__
                declared = self._declaration(name)
                reason = f"its field {name!r} holds an object of type {kind}, but {declared}"
                remedy = "declare what is stored, or turn it into what is declared by a migration"
                raise DecodeError(state.key, reason, remedy) from None
            # What is right already stays the object it is: another handler may be changing it.
            if shown is not fields[name]:
                fitted[name] = shown
        for name, shown in fitted.items():
            if state.fitted is None:
                state.fitted = {}
            state.fitted.setdefault(name, (fields[name], picture(shown)))
            replace_field(session, name, shown)
        if fitted:
            # A value that is made of a scalar may change inside, so the commit has to look at it.
            state.changed = True

    def _pack(self, key: str, name: str, value: Any) -> Any:
        annotation = self._annotations[name]
        kind = type(value).__name__
        try:
            plain, fits = annotation.pack(value)
        except RecursionError:
            reason = "nested too deeply or in a cycle; store it flat"
            raise EncodeError(key, name, kind, reason) from None
        if fits:
            return plain
        self._check({name: plain}, key)
        declared = self._declaration(name)
        reason = f"but {declared}; assign what is declared, or declare this"
        raise EncodeError(key, name, kind, reason)

    def _declaration(self, name: str) -> str:
        return f"{self.cls.__name__} declares {name}: {self._annotations[name]}"


def packed_fields(fields: dict[str, Any], state: State) -> dict[str, Any]:
    """
    The live fields of a session as they are to be stored; the same dict if they are so already.

    Raises:
        EncodeError: A field does not fit the annotation of a dataclass that showed it.
    """
    packed = fields
    for typed, _, _ in state.views or ():
        if unsure := typed.unsure(fields):
            packed = {**packed, **typed.pack(unsure, fields, state)}
    return packed


class _Default:
    """
    The default of a declared field, for a session without the field.

    It is no data descriptor, so a field in the `__dict__` of an instance is read without a call.
    """

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
        state = state_of(session)
        if state.defaults is None:
            state.defaults = {}
        if self._name not in state.defaults:
            made = self._make_default(session)
            state.defaults[self._name] = made, picture(made)
        return state.defaults[self._name][0]

    def _make_default(self, session: Session) -> Any:
        if self._default is not dataclasses.MISSING:
            made = self._default
        elif self._default_factory is not dataclasses.MISSING:
            made = self._default_factory()
        else:
            raise AttributeError(missing(session, self._name))
        # It may be an object that exists only once, for all sessions.
        return copy.deepcopy(unmarked(made))


class _Field(_Default):
    """A declared field: a data descriptor that leads to the session itself."""

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        if instance is None:
            return super().__get__(instance, owner)
        value = field_of(instance._telesession_core, self._name, _ABSENT)
        return super().__get__(instance, owner) if value is _ABSENT else value

    def __set__(self, instance: Any, value: Any) -> None:
        session: Session = instance._telesession_core
        session[self._name] = value

    def __delete__(self, instance: Any) -> None:
        _delete_shown(instance._telesession_core, self._name)


def _delete_shown(session: Session, name: str) -> None:
    settle_defaults(session)
    try:
        del session[name]
    except KeyError:
        raise AttributeError(missing(session, name)) from None


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


def _make_class(cls: type, direct: frozenset[str]) -> Any:
    """
    Generate the subclass of a dataclass whose instances show a session.

    Args:
        cls: The dataclass.
        direct: The fields that are in the `__dict__` of the instances, as they are in the session.
    """
    public = frozenset(name for name in direct if name[:1] != "_")

    def set_attribute(self: Any, name: str, value: Any) -> None:
        session: Session = self._telesession_core
        state = state_of(session)
        views: Any = state.views
        if (
            name not in public
            or not state.depth
            or state.defaults
            or len(views) > 1
            or type(value) is Marked
        ):
            if name in direct:
                set_field(session, name, value)
            else:
                _Shown.__setattr__(self, name, value)
            return
        # As `set_field` does, without a call: most handlers come here.
        state.changed = True
        _dict_set(session, name, value)
        state.attributes[name] = views[0][2][name] = value

    def delete_attribute(self: Any, name: str) -> None:
        if name in direct:
            _delete_shown(self._telesession_core, name)
        else:
            object.__delattr__(self, name)

    body = {
        "__slots__": (CORE,),
        "__setattr__": set_attribute,
        "__delattr__": delete_attribute,
        **{name: _make_comparison(cls, name) for name in _COMPARISONS},
        "__hash__": cls.__hash__,
        "_telesession_dataclass": cls,
        # The dataclass may count its subclasses, and the second class below is none of its own.
        "__init_subclass__": classmethod(lambda _cls: None),
        **{field.name: _Default(field) for field in dataclasses.fields(cls)},
    }
    return _named_like(cls, (_Shown, cls), body)


def _make_class_of_lifetimes(cls: type, shown_class: Any) -> Any:
    """Generate the subclass of such a class whose instances read fields in the session."""
    fields = {field.name: _Field(field) for field in dataclasses.fields(cls)}
    methods = {"__setattr__": _Shown.__setattr__, "__delattr__": cls.__delattr__}
    body = {"__slots__": (), "__hash__": cls.__hash__, **methods, **fields}
    made = _named_like(cls, (shown_class,), body)
    # Another __dict__ would hide the fields that are set later.
    shown_class._telesession_settable = frozenset(
        name for name in dir(made) if hasattr(getattr_static(made, name, None), "__set__")
    ) - {"__dict__"}
    return made


def _named_like(cls: type, bases: tuple[type, ...], body: dict[str, Any]) -> Any:
    names = {name: getattr(cls, name) for name in ("__doc__", "__module__", "__qualname__")}
    return type(cls)(cls.__name__, bases, {**names, **body})


# The methods by which a dataclass may go past the `__dict__` of its instances.
_ACCESS = ("__delattr__", "__getattribute__", "__setattr__")

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
