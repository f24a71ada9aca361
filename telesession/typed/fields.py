"""The fields that the dataclass of a session declares: plain data, defaults, faults and logs."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable
from functools import cached_property
from inspect import getattr_static
from typing import Any

from telesession.codecs.text import DEEPEST, is_deeper
from telesession.errors import DecodeError, EncodeError
from telesession.session import ReadState, State
from telesession.ttl import plain_value
from telesession.typed.defaults import snapshot_of_packed, snapshot_of_value
from telesession.typed.form import Misfit, Reading
from telesession.typed.hints import record_form
from telesession.typed.scalars import JSON, SCALARS, AnyForm
from telesession.typed.subclasses import iter_subclasses

#: Raises `EncodeError` for packed fields, given with a storage key, that a codec refuses.
Check = Callable[[dict[str, Any], str], None]
#: field -> the stored value, and a snapshot of the packed value, if the record is of another
#: version of the class.
Fitted = dict[str, tuple[Any, object]]

# As in JSON, where a record is two levels around the fields.
_DEEPEST = DEEPEST - 2
_log = logging.getLogger("telesession")


class Fields:
    """
    The declared fields of one dataclass.

    Keep one for as long as its `Typed`; any thread may use it.

    Args:
        cls: The dataclass.
        check: The codec of the storage, as a check.
        check_elsewhere: The codec of other storages, as a check. A value that only `check` accepts
            is logged; with `None` nothing is.

    Raises:
        NameError: An annotation names a class that is not defined yet.
        TypeError: An annotation declares something that not all storages can keep, or a default
            cannot be stored.

    Attributes:
        names: The names of the fields.
        forms: field -> the form of its annotation, in the order of the declaration.
        scalars: field -> the types of values that are stored as they are, which most values have.
        plain_scalars: The same without the types that JSON does not have.
        quick: field -> a check that says yes only of values that are stored as they are.
        is_public: Whether all fields can be public attributes of a `Session`.
        is_plain: Whether packed fields are all of lists, dicts with `str` keys and scalars of JSON.
    """

    def __init__(self, cls: type, check: Check, check_elsewhere: Check | None) -> None:
        self._cls: Any = cls
        self._check, self._check_elsewhere = check, check_elsewhere
        self.forms = forms = record_form(cls).fields
        self.names = frozenset(forms)
        self.scalars = {
            name: SCALARS if isinstance(form, AnyForm) else form.scalars
            for name, form in forms.items()
        }
        self.plain_scalars = {name: kinds & JSON for name, kinds in self.scalars.items()}
        self.is_public = not any(name[:1] == "_" for name in forms)
        self.is_plain = all(form.is_plain for form in forms.values())
        # The fields that may hold something that the codec of another storage refuses.
        self._doubtful = {name for name, f in forms.items() if f.is_untyped and check_elsewhere}
        self.quick = {
            name: _is_never if name in self._doubtful else form.surely_fits
            for name, form in forms.items()
        }
        self._recursive = {name for name, form in forms.items() if form.is_recursive}
        self._has_logged_undeclared = False
        self._check_defaults()

    def unsure(self, fields: dict[str, Any]) -> dict[str, Any]:
        """The fields that are not surely stored as they are, and those that are not declared."""
        scalars_of, unsure = self.scalars.get, {}
        for name, value in fields.items():
            scalars = scalars_of(name)
            if scalars is None or not (type(value) in scalars or self.quick[name](value)):
                unsure[name] = value
        return unsure

    def is_fit(self, name: str, value: Any) -> bool:
        """Whether a value can be stored in a declared field."""
        try:
            self.forms[name].pack(value)
        except (Misfit, RecursionError):
            return False
        return True

    def unpack(self, fields: dict[str, Any], state: State) -> tuple[dict[str, Any], Fitted | None]:
        """
        The values of the declared ones among stored fields; the names of the others are logged.

        Raises:
            DecodeError: A field holds something that its annotation does not allow.
        """
        values: dict[str, Any] = {}
        fitted: Fitted = {}
        undeclared: set[str] = set()
        for name, stored in fields.items():
            if name not in self.names:
                undeclared.add(f"{self._cls.__name__}.{name}")
            elif type(stored) in self.scalars[name] or self.quick[name](stored):
                values[name] = stored
            else:
                reading = Reading()
                values[name] = self._unpack_one(name, stored, reading, state)
                if reading.filled and not reading.made:
                    # Reading the record of another version of the program does not rewrite it.
                    fitted[name] = stored, snapshot_of_value(self.forms[name], values[name])
                undeclared |= reading.undeclared
        if undeclared and not self._has_logged_undeclared:
            self._log_undeclared(undeclared)
        return values, fitted or None

    def pack(self, fields: dict[str, Any], state: State) -> dict[str, Any]:
        """
        The plain data of declared fields; a stored value stays as it is where nothing has changed.

        Raises:
            EncodeError: A value would not come back, or an attribute is no field.
        """
        packed, fitted = {}, state.fitted
        for name, value in fields.items():
            if name not in self.names:
                self.refuse_undeclared({name: value}, state)
            elif type(value) in self.scalars[name] or self.quick[name](value):
                packed[name] = value
            else:
                packed[name] = self._pack_one(name, value, state)
                if fitted is not None and name in fitted:
                    stored, pristine = fitted[name]
                    if snapshot_of_packed(packed[name]) == pristine:
                        packed[name] = stored
        return packed

    def of(self, instance: Any, state: State) -> dict[str, Any]:
        """
        The fields of an instance that `initial` gave, as far as it has set them.

        Raises:
            EncodeError: A value could not be stored, or an attribute is no field.
        """
        given = vars(instance)
        self.refuse_undeclared(given, state)
        fields = {name: given[name] for name in self.forms if name in given}
        self.pack({name: plain_value(value) for name, value in fields.items()}, state)
        return fields

    def refuse_undeclared(self, attributes: dict[str, Any], state: State) -> None:
        """
        Check that no attribute is lost, except those whose names begin with `_`.

        Raises:
            EncodeError: An attribute is no field.
        """
        for name, value in attributes.items():
            if name in self.names or str(name)[:1] == "_":
                continue
            if isinstance(getattr_static(self._cls, name, None), cached_property):
                continue
            reason = (
                f"which would not come back: {self._cls.__name__} declares no field {name!r}; "
                "declare it, or begin its name with _ if it is not to be stored"
            )
            raise EncodeError(state.key, name, type(value).__name__, reason)

    def _unpack_one(self, name: str, stored: Any, reading: Reading, state: State) -> Any:
        misfit: Exception
        try:
            return self.forms[name].unpack(stored, reading)
        except (Misfit, RecursionError) as error:
            misfit = error
        if self.is_fit(name, stored):
            return stored
        if not isinstance(misfit, Misfit):
            kind = type(stored).__name__
            raise DecodeError(
                state.key, f"its field {name!r}, of type {kind}, is nested too deeply"
            )
        reason = (
            f"its field {name + misfit.path!r} holds an object of type {misfit.kind}, "
            f"{self._fault(name, misfit)}"
        )
        remedy = "change the stored value by a migration, or delete the record"
        raise DecodeError(state.key, reason, remedy)

    def _pack_one(self, name: str, value: Any, state: State) -> Any:
        misfit, packed = None, None
        try:
            packed = self.forms[name].pack(value)
            # Deeper data might not come back in a handler with less stack left.
            is_too_deep = name in self._recursive and is_deeper(packed, _DEEPEST)
        except RecursionError:
            is_too_deep = True
        except Misfit as error:
            misfit, is_too_deep = error, False
        if misfit is not None:
            advice = "assign a value of the declared type, or declare this"
            if misfit.kind == "NoneType":
                advice = f"assign a value of the declared type, or declare {misfit.declared} | None"
            fault = self._fault(name, misfit, advice)
            raise EncodeError(state.key, name + misfit.path, misfit.kind, fault)
        if is_too_deep:
            reason = f"nested more than {_DEEPEST} levels deep or in a cycle; store it flat"
            raise EncodeError(state.key, name, type(value).__name__, reason)
        if name in self._doubtful:
            self._log_unportable(name, packed)
        return packed

    def _fault(self, name: str, misfit: Misfit, advice: str = "") -> str:
        """The reason of a refusal, with the declaration that the value was compared with."""
        declaration = f"{self._cls.__name__} declares {name}: {self.forms[name].text}"
        if misfit.declared != self.forms[name].text:
            declaration += f", with {misfit.declared} there"
        advice = misfit.reason or advice
        return f"and {misfit.fault}: {declaration}" + (f"; {advice}" if advice else "")

    def _check_defaults(self) -> None:
        """Check that all defaults can be stored."""
        for field in dataclasses.fields(self._cls):
            factory: Any = field.default_factory
            is_made = factory is not dataclasses.MISSING
            if is_made and not callable(factory):
                raise TypeError(
                    f"the default_factory of {self._cls.__name__}.{field.name} must be a function "
                    f"or a class, not {type(factory).__name__}; write lambda: ..."
                )
            try:
                default = plain_value(factory() if is_made else field.default)
            except Exception:  # noqa: BLE001, S112 -- its names may be defined later
                continue
            if default is dataclasses.MISSING:
                continue
            try:
                self._check(self.pack({field.name: default}, ReadState("")), "")
            except EncodeError as error:
                raise TypeError(
                    f"the default of {self._cls.__name__}.{field.name} cannot be stored: "
                    f"{error.path} is of type {error.type_name}, {error.reason}"
                ) from None

    def _log_undeclared(self, undeclared: set[str]) -> None:
        cls = self._cls.__name__
        for subclass in filter(dataclasses.is_dataclass, iter_subclasses(self._cls)):
            # A view of the same record may have more fields.
            undeclared -= {f"{cls}.{field.name}" for field in dataclasses.fields(subclass)}
        if not undeclared:
            return
        self._has_logged_undeclared = True
        # Other names are probably keys of a former dict, which are words of users.
        names = sorted(name for name in undeclared if name.partition(".")[2].isidentifier())
        if hidden := len(undeclared) - len(names):
            names.append(f"{hidden} more")
        _log.warning(
            "stored sessions have fields that their classes do not declare: %s; if a field was "
            "renamed or removed, move or remove its values by a migration",
            ", ".join(names),
        )

    def _log_unportable(self, name: str, packed: Any) -> None:
        """Log once that a field holds something that JSON cannot store."""
        try:
            if self._check_elsewhere is not None:
                self._check_elsewhere({name: packed}, "")
        except EncodeError as error:
            self._doubtful -= {name}
            _log.warning(
                "%s.%s holds something that only memory can store: %s is of type %s, %s",
                self._cls.__name__,
                name,
                error.path,
                error.type_name,
                error.reason,
            )


def _is_never(_value: Any) -> bool:
    return False
