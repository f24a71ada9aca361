"""Typed sessions: the fields of a session as an instance of the user's own dataclass."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable
from functools import cached_property
from inspect import getattr_static
from types import MappingProxyType, MemberDescriptorType
from typing import Any
from weakref import ref

from telesession.errors import DecodeError, EncodeError
from telesession.session import (
    DECLARED,
    LINK,
    Marked,
    Session,
    State,
    begin_session,
    changed_defaults,
    live_fields,
    missing,
    open_session,
    picture,
    refuse_closed,
    replace_field,
    state_of,
    unmarked,
)
from telesession.text import DEEPEST, is_deeper
from telesession.typed.classes import make_classes
from telesession.typed.form import Form, Misfit, Reading
from telesession.typed.hints import record_form
from telesession.typed.scalars import SCALARS, AnyForm
from telesession.typed.subclasses import iter_subclasses

#: Raises `EncodeError` for packed fields, given with a storage key, that a codec refuses.
Check = Callable[[dict[str, Any], str], None]

_NO_MARKS: Any = MappingProxyType({})
# As in JSON, where a record is two levels around the fields.
_DEEPEST = DEEPEST - 2
_PLAIN = frozenset((bool, float, int, str, type(None)))
_log = logging.getLogger("telesession")
_new = object.__new__


class Typed:
    """
    How sessions appear as instances of one dataclass.

    A *solo* instance has the dict of the fields as its `__dict__`, so reading a field costs no
    call. A *linked* instance reads and writes the fields of a `Session`: as soon as a field has a
    lifetime, as soon as a handler wants the session in another shape as well, and always if the
    dataclass has a `__setattr__` or a `__getattribute__` of its own.

    Keep one for as long as the decorator that uses it; any thread may use it.

    Args:
        cls: A dataclass that is neither frozen nor slotted.
        class_name: The name of the dataclass in the records; `None` if they do not name it.
        check: The codec of the storage, as a check.
        check_elsewhere: The same for the codec of other storages, if a value that only this codec
            can keep is to be logged; `None` if not.

    Raises:
        NameError: An annotation names a class that is not defined yet.
        TypeError: It is another kind of class, an annotation declares something that not all
            storages can keep, or a default cannot be stored.

    Attributes:
        cls: The dataclass.
        declared: The names of its fields.
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
        self.cls = cls
        self.class_name = class_name
        self._check, self._check_elsewhere = check, check_elsewhere
        self._forms: dict[str, Form] = record_form(cls).fields
        self.declared = frozenset(self._forms)
        #: Whether all fields can be public attributes of a `Session`.
        self.is_public = not any(name[:1] == "_" for name in self._forms)
        #: Whether packed fields are all of lists, dicts with `str` keys and scalars of JSON.
        self.is_plain = all(form.is_plain for form in self._forms.values())
        # The values of these types are stored as they are, and most fields are such values.
        self._scalars = {
            name: SCALARS if isinstance(form, AnyForm) else form.scalars
            for name, form in self._forms.items()
        }
        self._plain_scalars = {name: kinds & _PLAIN for name, kinds in self._scalars.items()}
        # The fields that may hold something that the codec of another storage refuses.
        self._doubtful = {
            name for name, form in self._forms.items() if form.is_untyped and check_elsewhere
        }
        self._has_logged_undeclared = False
        self._recursive = {name for name, form in self._forms.items() if form.is_recursive}
        self._check_defaults()
        self._solo, self._linked, self._is_direct = make_classes(cls, self._forms)
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
                scalars = scalars_of(name)
                if scalars is None or type(value) not in scalars:
                    if not self.declared.issuperset(fields):
                        state.undeclared = {
                            name: DECLARED if name in self.declared else value
                            for name, value in fields.items()
                        }
                    fields = self._unpack(state, fields)
                    break
        if not self._is_direct:
            core = open_session(_in_order(fields, state), {}, state)
            state.gets_core(core)
            return self._show(core, state)
        state.marks = _NO_MARKS
        state.attributes = fields
        state.solo = self
        instance = _new(self._solo)
        self._set_dict(instance, fields)
        self._set_link(instance, state)
        return instance

    def begin(self, state: State, fields: dict[str, Any]) -> Any:
        """The same for the fields of a new session, which `ttl` may have marked."""
        if Marked not in map(type, fields.values()):
            return self.open(state, fields, is_stored=False)
        state.fitted = state.defaults = state.undeclared = None
        core = begin_session(fields, state)
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
        fields = live_fields(core)
        unsure = self._unsure(fields)
        if views:
            unsure = self._not_unpacked(unsure, views)
        shown = self._unpack(state, unsure) if unsure else unsure
        for name, value in shown.items():
            # What is right already stays the object it is: another handler may be changing it.
            if value is not fields[name]:
                replace_field(core, name, value)
        return self._show(core, state)

    def _not_unpacked(self, unsure: dict[str, Any], views: Any) -> dict[str, Any]:
        """The fields that no other view has unpacked, and those whose values are others here."""
        unpacked = frozenset[str]().union(*(typed.declared for typed, _, _ in views))
        return {
            name: value
            for name, value in unsure.items()
            if name not in unpacked or (name in self.declared and not self._is_fit(name, value))
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

    def _unpack(self, state: State, fields: dict[str, Any]) -> dict[str, Any]:
        """The values of the declared ones among stored fields; the others are logged."""
        values: dict[str, Any] = {}
        undeclared: set[str] = set()
        for name, stored in fields.items():
            if name not in self.declared:
                undeclared.add(f"{self.cls.__name__}.{name}")
            elif type(stored) in self._scalars[name]:
                values[name] = stored
            else:
                reading = Reading()
                values[name] = self._unpack_one(state, name, stored, reading)
                undeclared |= reading.undeclared
        if undeclared and not self._has_logged_undeclared:
            self._log_undeclared(undeclared)
        return values

    def _unpack_one(self, state: State, name: str, stored: Any, reading: Reading) -> Any:
        form = self._forms[name]
        try:
            value = form.unpack(stored, reading)
        except (Misfit, RecursionError) as misfit:
            if self._is_fit(name, stored):
                return stored
            raise self._decode_error(state.key, name, stored, misfit) from None
        if reading.filled and not reading.made:
            # Reading the record of another version of the program does not rewrite it.
            state.fitted = state.fitted or {}
            state.fitted[name] = stored, picture(form.pack(value))
        return value

    def _log_undeclared(self, undeclared: set[str]) -> None:
        for subclass in filter(dataclasses.is_dataclass, iter_subclasses(self.cls)):
            # A view of the same record may have more fields.
            undeclared -= {f"{self.cls.__name__}.{f.name}" for f in dataclasses.fields(subclass)}
        if not undeclared:
            return
        self._has_logged_undeclared = True
        # Other names are rather the keys of what was a dict, which are words of users.
        names = sorted(name for name in undeclared if name.partition(".")[2].isidentifier())
        if hidden := len(undeclared) - len(names):
            names.append(f"{hidden} more")
        _log.warning(
            "stored sessions have fields that their classes do not declare: %s; if a field was "
            "renamed, move its values by a migration",
            ", ".join(names),
        )

    # From an instance to a record

    def pack(self, state: State) -> dict[str, Any] | None:
        """
        The fields of a solo state as plain data, only to be read.

        Returns:
            The dict of the fields itself if all values are scalars, and nothing is beside them;
            `None` if a value is marked by `ttl`, so that the instance must be linked first.

        Raises:
            EncodeError: A value would not come back, or an attribute is no field.
        """
        fields = state.attributes
        if state.undeclared is None and state.defaults is None:
            scalars_of = self._plain_scalars.get
            for name, value in fields.items():
                scalars = scalars_of(name)
                if scalars is None or type(value) not in scalars:
                    break
            else:
                return fields
        if Marked in map(type, fields.values()):
            return None
        fields.update(changed_defaults(state))
        return _in_order(self._pack_all(fields, state), state)

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
            self._refuse_undeclared(shown, state.key)
        unsure = self._unsure(fields)
        if not unsure:
            return unsure
        return self._pack_all({n: v for n, v in unsure.items() if n in self.declared}, state)

    def declared_fields(self, instance: Any, key: str) -> dict[str, Any]:
        """
        The fields of an instance that `initial` gave, as far as it has set them.

        Raises:
            EncodeError: A value could not be stored, or an attribute is no field.
        """
        given = vars(instance)
        self._refuse_undeclared(given, key)
        fields = {name: given[name] for name in self._forms if name in given}
        for name, value in fields.items():
            self._pack(key, name, unmarked(value))
        return fields

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
        core = begin_session(fields, state)
        state.solo = state.undeclared = None
        state.views = ((self, ref(instance), beside),)
        object.__setattr__(instance, "__class__", self._linked)
        self._set_dict(instance, beside)
        self._set_link(instance, core)
        state.gets_core(core)
        return core

    def _pack_all(self, fields: dict[str, Any], state: State) -> dict[str, Any]:
        """Pack the declared fields; what is stored stays as it is where nothing has changed."""
        packed = {}
        for name, value in fields.items():
            form = self._forms.get(name)
            if form is None:
                self._refuse_undeclared({name: value}, state.key)
            elif type(value) in self._scalars[name]:
                packed[name] = value
            else:
                packed[name] = self._pack(state.key, name, value)
                if state.fitted is not None and name in state.fitted:
                    stored, pristine = state.fitted[name]
                    if picture(packed[name]) == pristine:
                        packed[name] = stored
        return packed

    def _pack(self, key: str, name: str, value: Any) -> Any:
        try:
            packed = self._forms[name].pack(value)
            # Deeper data might not come back in a handler with less stack left.
            is_too_deep = name in self._recursive and is_deeper(packed, _DEEPEST)
        except RecursionError:
            is_too_deep = True
        except Misfit as misfit:
            path = name + misfit.path
            fault = self._fault(name, misfit, "assign what is declared, or declare this")
            raise EncodeError(key, path, misfit.kind, fault) from None
        if is_too_deep:
            reason = f"nested more than {_DEEPEST} levels deep or in a cycle; store it flat"
            raise EncodeError(key, name, type(value).__name__, reason)
        if name in self._doubtful:
            self._log_unportable(name, packed)
        return packed

    def _unsure(self, fields: dict[str, Any]) -> dict[str, Any]:
        """The fields that are not surely stored as they are, and those that are not declared."""
        scalars_of, unsure = self._scalars.get, {}
        for name, value in fields.items():
            scalars = scalars_of(name)
            if scalars is None or type(value) not in scalars:
                unsure[name] = value
        return unsure

    def _is_fit(self, name: str, value: Any) -> bool:
        try:
            self._forms[name].pack(value)
        except (Misfit, RecursionError):
            return False
        return True

    def _fault(self, name: str, misfit: Misfit, advice: str = "") -> str:
        """Why a value is refused, with the declaration that it was compared with."""
        declaration = f"{self.cls.__name__} declares {name}: {self._forms[name].text}"
        if misfit.path:
            declaration += f", with {misfit.declared} there"
        advice = misfit.reason or advice
        return f"and {misfit.fault}: {declaration}" + (f"; {advice}" if advice else "")

    def _decode_error(self, key: str, name: str, stored: Any, misfit: Exception) -> DecodeError:
        if not isinstance(misfit, Misfit):
            kind = type(stored).__name__
            return DecodeError(key, f"its field {name!r}, of type {kind}, is nested too deeply")
        reason = (
            f"its field {name + misfit.path!r} holds an object of type {misfit.kind}, "
            f"{self._fault(name, misfit)}"
        )
        remedy = "move what is stored to what is declared by a migration, or delete the record"
        return DecodeError(key, reason, remedy)

    def _refuse_undeclared(self, attributes: dict[str, Any], key: str) -> None:
        """See that no attribute is lost but those that are not meant to be stored."""
        for name, value in attributes.items():
            if name in self.declared or str(name)[:1] == "_":
                continue
            if _is_cached_property(self.cls, name):
                continue
            reason = (
                f"which would not come back: {self.cls.__name__} declares no field {name!r}; "
                "declare it, or begin its name with _ if it is not to be stored"
            )
            raise EncodeError(key, name, type(value).__name__, reason)

    # Defaults

    def _check_defaults(self) -> None:
        """See that all defaults can be stored."""
        for field in dataclasses.fields(self.cls):
            factory: Any = field.default_factory
            is_made = factory is not dataclasses.MISSING
            try:
                default = unmarked(factory() if is_made else field.default)
            except Exception:  # noqa: BLE001, S112 -- what it needs may be there later
                continue
            if default is dataclasses.MISSING:
                continue
            try:
                self._check({field.name: self._pack("", field.name, default)}, "")
            except EncodeError as error:
                raise TypeError(
                    f"the default of {self.cls.__name__}.{field.name} cannot be stored: "
                    f"{error.path} is of type {error.type_name}, {error.reason}"
                ) from None

    def _log_unportable(self, name: str, packed: Any) -> None:
        """Log once that a field holds something that JSON cannot store."""
        try:
            if self._check_elsewhere is not None:
                self._check_elsewhere({name: packed}, "")
        except EncodeError as error:
            self._doubtful -= {name}
            _log.warning(
                "%s.%s holds something that only memory can store: %s is of type %s, %s",
                self.cls.__name__,
                name,
                error.path,
                error.type_name,
                error.reason,
            )


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


def _is_cached_property(cls: type, name: str) -> bool:
    return isinstance(getattr_static(cls, name, None), cached_property)


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
            f"{cls.__name__} has slots, which leave no room for what a session adds; drop slots"
        )
