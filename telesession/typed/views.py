"""Typed sessions: the fields of a session as an instance of the user's own dataclass."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable
from inspect import getattr_static
from types import MemberDescriptorType
from typing import Any
from weakref import ref

from telesession.session import (
    DECLARED,
    LINK,
    NO_MARKS,
    Session,
    State,
    changed_defaults,
    live_fields,
    load_session,
    make_session,
    missing,
    refuse_closed,
    replace_field,
    state_of,
)
from telesession.ttl import TimedValue
from telesession.typed.classes import make_classes
from telesession.typed.fields import Check, Fields

_new = object.__new__


class Typed:
    """
    The instances of one dataclass that show sessions.

    A *solo* instance has the dict of the fields as its `__dict__`, so reading a field costs no
    call. A *linked* instance reads and writes the fields of a `Session`. An instance becomes linked
    if a field has a lifetime, or if a handler also takes the session in another form. It is always
    linked if the dataclass has a `__setattr__` or a `__getattribute__` of its own.

    Keep one for as long as the decorator that uses it; any thread may use it.

    Args:
        cls: A dataclass that is neither frozen nor slotted.
        class_name: The name of the dataclass in the records; `None` if they do not name it.
        check: The codec of the storage, as a check.
        check_elsewhere: The codec of other storages, as a check. A value that only `check` accepts
            is logged; with `None` nothing is.

    Raises:
        NameError: An annotation names a class that is not defined yet.
        TypeError: It is another kind of class, an annotation declares something that not all
            storages can keep, or a default cannot be stored.

    Attributes:
        cls: The dataclass.
        fields: Its fields.
        declared: The names of the fields.
        class_name: See above.
    """

    def __init__(
        self,
        cls: type,
        class_name: str | None,
        *,
        check: Check,
        check_elsewhere: Check | None,
    ) -> None:
        _refuse_unfit(cls)
        _refuse_shared(cls)
        self.cls = cls
        self.class_name = class_name
        self.fields = Fields(cls, check, check_elsewhere)
        self.declared = self.fields.names
        self._scalars, self._plain_scalars = self.fields.scalars, self.fields.plain_scalars
        self._solo, self._linked, self._is_direct = make_classes(cls, self.fields.forms)
        self._set_link: Callable[[Any, Any], None] = vars(self._solo)[LINK].__set__
        self._set_dict: Callable[[Any, Any], None] = getattr_static(cls, "__dict__").__set__

    # From a record to an instance

    def open(self, state: State, fields: dict[str, Any], *, is_stored: bool = True) -> Any:
        """
        An instance of fields without lifetimes.

        Args:
            state: The state of the session.
            fields: The fields, in a dict that belongs to the session from now on.
            is_stored: Whether the values are those of a record, and not those of `initial`.

        Raises:
            DecodeError: A field holds something that its annotation does not allow.
        """
        state.fitted = state.defaults = state.undeclared = None
        if is_stored:
            scalars_of = self._scalars.get
            for name, value in fields.items():
                if type(value) not in scalars_of(name, ()):
                    if self.fields.unsure(fields):
                        fields = self._unpack(state, fields)
                    break
        if not self._is_direct:
            core = load_session(_in_order(fields, state), {}, state)
            state.gets_core(core)
            return self._show(core, state)
        state.marks = NO_MARKS
        state.attributes = fields
        state.solo = self
        instance = _new(self._solo)
        self._set_dict(instance, fields)
        self._set_link(instance, state)
        return instance

    def _unpack(self, state: State, fields: dict[str, Any]) -> dict[str, Any]:
        """The values of the declared ones among stored fields; the state keeps the others."""
        if not self.declared.issuperset(fields):
            state.undeclared = {
                name: DECLARED if name in self.declared else value for name, value in fields.items()
            }
        values, state.fitted = self.fields.unpack(fields, state)
        return values

    def begin(self, state: State, fields: dict[str, Any]) -> Any:
        """The declared values of a new session, whose fields `ttl` may have marked."""
        if TimedValue not in map(type, fields.values()):
            return self.open(state, fields, is_stored=False)
        state.fitted = state.defaults = state.undeclared = None
        core = make_session(fields, state)
        state.gets_core(core)
        return self._show(core, state)

    def view(self, core: Session) -> Any:
        """
        The instance that shows a session; the same one as long as it is in use.

        Raises:
            DecodeError: A field holds something that its annotation does not allow; nothing was
                changed.
        """
        state = state_of(core)
        if state.views is None:
            state.fitted = state.defaults = state.undeclared = None
        views = state.views or ()
        for typed, reference, _ in views:
            if typed.cls is self.cls and (instance := reference()) is not None:
                return instance
        unsure = self.fields.unsure(live_fields(core))
        if views:
            unsure = self._not_unpacked(unsure, views)
        if unsure:
            self._replace_stored(core, unsure)
        return self._show(core, state)

    def _replace_stored(self, core: Session, stored: dict[str, Any]) -> None:
        """Set the values of stored fields."""
        state = state_of(core)
        values, fitted = self.fields.unpack(stored, state)
        if fitted:
            state.fitted = {**(state.fitted or {}), **fitted}
        for name, value in values.items():
            # An unchanged value stays the same object: another handler may be changing it.
            if value is not stored[name]:
                replace_field(core, name, value)

    def _not_unpacked(self, unsure: dict[str, Any], views: Any) -> dict[str, Any]:
        """The fields that no other view has unpacked, and those whose values are others here."""
        unpacked = frozenset[str]().union(*(typed.declared for typed, _, _ in views))
        return {
            name: value
            for name, value in unsure.items()
            if name not in unpacked
            or (name in self.declared and not self.fields.is_fit(name, value))
        }

    def _show(self, core: Session, state: State) -> Any:
        instance = _new(self._linked)
        self._set_link(instance, core)
        # A weak reference, so that no cycle keeps the session after its handler.
        view = (self, ref(instance), vars(instance))
        if state.views is None:
            state.views = (view,)
        else:
            kept = (each for each in state.views if each[0].cls is not self.cls)
            state.views = (*kept, view)
        return instance

    # From an instance to a record

    def pack(self, state: State) -> dict[str, Any] | None:
        """
        The fields of a solo state as plain data, only to be read.

        Returns:
            The dict of the fields itself if all values are scalars of JSON, and nothing is beside
            them; `None` if a value is marked by `ttl`, so that the instance must be linked first.

        Raises:
            EncodeError: A value would not come back, or an attribute is no field.
        """
        fields = state.attributes
        if state.undeclared is None and state.defaults is None:
            scalars_of = self._plain_scalars.get
            for name, value in fields.items():
                if type(value) not in scalars_of(name, ()):
                    break
            else:
                return fields
            if not self.fields.unsure(fields):
                return fields.copy()
        if TimedValue in map(type, fields.values()):
            return None
        fields.update(changed_defaults(state))
        return _in_order(self.fields.pack(fields, state), state)

    def pack_view(
        self, fields: dict[str, Any], shown: dict[str, Any], state: State
    ) -> dict[str, Any]:
        """
        The declared ones among the fields of a core as plain data, as far as they are not scalars.

        Args:
            fields: The fields.
            shown: The `__dict__` of the instance that shows them.
            state: The state of the session.

        Raises:
            EncodeError: A value would not come back, or an attribute is no field.
        """
        if shown:
            self.fields.refuse_undeclared(shown, state)
        unsure = self.fields.unsure(fields)
        if not unsure:
            return unsure
        declared = {name: value for name, value in unsure.items() if name in self.declared}
        return self.fields.pack(declared, state)

    def live_fields(self, state: State) -> dict[str, Any]:
        """The fields of a solo state, without defaults that were only read; values are shared."""
        state.attributes.update(changed_defaults(state))
        fields = {n: value for n, value in state.attributes.items() if n in self.declared}
        return _in_order(fields, state)

    def delete(self, state: State, name: str) -> None:
        """
        Delete a field of a solo state.

        Raises:
            AttributeError: There is no such field.
            SessionClosedError: The session is closed.
        """
        refuse_closed(state, f"delete field {name!r}")
        state.attributes.update(changed_defaults(state))
        if name not in state.attributes:
            raise AttributeError(missing(state, name))
        del state.attributes[name]

    def link(self, instance: Any) -> Session:
        """Make a `Session` of a solo instance, which reads and writes its fields from now on."""
        state: State = getattr(instance, LINK)
        fields, shown = self.live_fields(state), state.attributes
        beside = {name: shown[name] for name in shown if name not in self.declared}
        core = make_session(fields, state)
        state.solo = state.undeclared = None
        state.views = ((self, ref(instance), beside),)
        object.__setattr__(instance, "__class__", self._linked)
        self._set_dict(instance, beside)
        self._set_link(instance, core)
        state.gets_core(core)
        return core


def _in_order(declared: dict[str, Any], state: State) -> dict[str, Any]:
    """The declared and the undeclared fields of a solo state, in the order of its record."""
    if state.undeclared is None:
        return declared
    stored = {
        name: declared.get(name, DECLARED) if value is DECLARED else value
        for name, value in state.undeclared.items()
    }
    return {**{n: v for n, v in stored.items() if v is not DECLARED}, **declared}


def packed_fields(fields: dict[str, Any], state: State) -> dict[str, Any]:
    """
    The live fields of a core as they are to be stored; the same dict if none is declared.

    Raises:
        EncodeError: A field does not fit the annotation of a dataclass that showed it.
    """
    packed = fields
    for typed, _, shown in state.views or ():
        if declared := typed.pack_view(fields, shown, state):
            packed = {**packed, **declared}
    return packed


def _refuse_unfit(cls: type) -> None:
    if not dataclasses.is_dataclass(cls):
        raise TypeError(f"{cls.__name__} is no dataclass")
    if cls.__dataclass_params__.frozen:  # type: ignore[attr-defined]
        raise TypeError(f"{cls.__name__} is frozen, but handlers change sessions; drop frozen=True")
    if any(
        isinstance(each, MemberDescriptorType)
        for base in cls.__mro__
        for each in vars(base).values()
    ):
        raise TypeError(
            f"{cls.__name__} has slots, which leave no room for the session; drop slots"
        )
    for field in dataclasses.fields(cls):
        if hasattr(getattr_static(cls, field.name, None), "__set__"):
            raise TypeError(
                f"{cls.__name__}.{field.name} is a property or another descriptor, which a session "
                "would not call; give the field another name, and let the property use it"
            )


def _refuse_shared(cls: type) -> None:
    """Check that no empty container of the class was meant as the default of a field."""
    for base in cls.__mro__:
        for name, value in vars(base).items():
            is_empty = type(value) in (list, dict, set) and not value
            if is_empty and name[:1] != "_" and name not in inspect.get_annotations(base):
                raise TypeError(
                    f"{cls.__name__}.{name} has no annotation, so it is no field, and all sessions "
                    f"would share it; write {name}: {type(value).__name__} = "
                    f"field(default_factory={type(value).__name__}), or annotate it as ClassVar"
                )
