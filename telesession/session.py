"""The session object: named fields, some with a lifetime. Closed once its handler has returned."""

from __future__ import annotations

import copy
import math
import opcode
import sys
import time
from collections.abc import Callable, Iterable, Iterator, MutableMapping
from datetime import timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NoReturn, Self

from telesession.errors import SessionClosedError
from telesession.ttl import Life, Mark, TimedValue, plain_value, seconds

if TYPE_CHECKING:
    from _collections_abc import dict_items, dict_keys, dict_values
    from types import FrameType

# The reason why a session is no value of a field.
REFUSAL = "a session itself; store as_dict(session)"


class State:
    """
    The state of a session object beside its fields.

    A session is *solo* if handlers see it as one dataclass only and no field has a lifetime. It
    needs no `Session`: the `__dict__` of the instance is the dict of the fields. The first other
    use makes a `Session` of the fields, the *core*; see `Typed.link`.

    Attributes:
        marks: field -> its lifetime and deadline, if it has or had one.
        attributes: field -> value; the `__dict__` of the session, so that reading an attribute
            needs no call. Empty while a field has a lifetime.
        changed: Whether a field was assigned or deleted since the record was loaded. Changes
            inside values do not count, nor do those of a solo instance.
        depth: The number of blocks that have the session open. At 0 it is closed: changes are
            refused.
        forgotten: Whether the record is deleted at the commit.
        class_name: The name of the dataclass in the record; `None` if it has none.
        life: The end of the session, and a lifetime of its own; `None` if it has neither.
        solo: The `Typed` of a solo state, otherwise `None`.
        views: One tuple for each dataclass that shows the core: its `Typed`, a weak reference to
            the instance that handlers see, and the `__dict__` of the instance; `None` without one.
        fitted: field -> the stored value, and a snapshot of the value that is shown instead;
            `None` if all fields are shown as they are stored.
        defaults: field -> a default that a handler got, its snapshot, and the function that makes
            a snapshot; `None` without one.
        undeclared: name -> value of the stored fields of a solo state, in the order of the record,
            with `DECLARED` for declared fields; `None` if all fields are declared.
    """

    __slots__ = (
        "attributes",
        "changed",
        "class_name",
        "defaults",
        "depth",
        "fitted",
        "forgotten",
        "life",
        "marks",
        "solo",
        "undeclared",
        "views",
    )

    marks: dict[str, Mark]
    attributes: dict[str, Any]
    class_name: str | None
    life: Life | None
    solo: Any
    views: tuple[tuple[Any, Any, dict[str, Any]], ...] | None
    # These are set with the solo dataclass or the views.
    fitted: dict[str, tuple[Any, object]] | None
    defaults: dict[str, tuple[Any, object, Callable[[Any], object]]] | None
    undeclared: dict[str, Any] | None

    def __init__(self) -> None:
        self.changed = self.forgotten = False
        self.depth = 1
        self.solo = self.views = self.class_name = self.life = None
        self.fitted = self.defaults = self.undeclared = None

    @property
    def key(self) -> str:
        """The key of the session, as `Sessions.open` takes it."""
        return "(none)"

    def closed_error(self, attempt: str) -> SessionClosedError:
        """The error of a change of a closed session."""
        return SessionClosedError(self.key, attempt)

    def gets_core(self, core: Session) -> None:
        """Take the `Session` that gets the fields of a solo state."""


class ReadState(State):
    """The state of a session object that was read without its lock and is never saved."""

    __slots__ = ("_key",)

    def __init__(self, key: str) -> None:
        super().__init__()
        self.depth = 0
        self._key = key

    @property
    def key(self) -> str:
        """The key of the session, as `Sessions.open` takes it."""
        return self._key

    def closed_error(self, attempt: str) -> SessionClosedError:
        """The error of a change."""
        error = SessionClosedError(self.key, attempt)
        error.reason = "it was only read, by peek or items,"
        return error


_ABSENT: Any = object()
# The functions whose only argument is a session. They are no methods, so that every name of a field
# is free.
_FUNCTIONS = frozenset(("as_dict", "forget", "save", "session_key"))
# The marks of each session without any.
NO_MARKS: Any = MappingProxyType({})


class _Unguarded(dict[str, Any]):
    """A session before its class is `Session`: its own attributes win over the methods of dict."""

    __slots__ = ("__dict__", "_state")
    _state: State


class Session(_Unguarded):
    """
    The fields of one sender: attributes and mapping items at once.

    It lives from the call of a handler to its return, in that handler's thread. The return saves
    its changes. Later it can still be read, and a change raises `SessionClosedError`.

    A field wins over a method of the same name: after `session.items = []`, `session.items` is the
    list. Names are strings, and those that start with `_` are only reachable as items. A field
    that was never set, was deleted or has expired raises `AttributeError` or `KeyError`.

    It is a `dict`, so each function that takes a `dict` takes a session. It cannot be subclassed.

    Args:
        fields: A mapping or an iterable of pairs, as for `dict`. Only tests and experiments make a
            session by hand. Such a session belongs to no storage.
    """

    # The methods of dict read the items, and the `__dict__`, which has the same values, gives the
    # attributes. A session in which fields have a lifetime is an _ExpiringSession.

    __slots__ = ()

    _telesession_refusal = REFUSAL

    def __init_subclass__(cls) -> None:
        """Refuse subclasses: a session changes its class when a field gets a lifetime."""
        if cls.__module__ != __name__:
            raise TypeError(
                f"class {cls.__name__} cannot extend Session, because the library makes the "
                "sessions; for methods of your own write a dataclass and pass it as initial="
            )

    def __init__(self, fields: Any = (), /, **more: Any) -> None:
        super().__init__()
        state = State()
        state.marks, state.attributes = NO_MARKS, {}
        _set_state(self, state)
        _set_attributes(self, state.attributes)
        # The class of this object may be _ExpiringSession.
        _switch_class(self)
        self.update(fields, **more)

    def __getattr__(self, name: str) -> Any:
        # Called only if there is no such attribute.
        if name in self:
            raise _not_public(name)
        raise AttributeError(_unreadable(self, name), name=name, obj=self)

    if not TYPE_CHECKING:
        # Hidden, because a change of the dict behind the attributes would not be saved.
        __dict__ = property()

    def __setattr__(self, name: str, value: Any) -> None:
        state = self._state
        # Without a slice, which takes as long as the assignment.
        if name and name[0] == "_":
            raise _not_public(name)
        if state.depth and type(value) is not TimedValue and state.views is None:
            # As in `set_field`, without a call: most handlers come here.
            state.changed = True
            _dict_set(self, name, value)
            state.attributes[name] = value
        else:
            set_field(self, name, value)

    def __delattr__(self, name: str) -> None:
        try:
            if name[:1] == "_":
                raise _not_public(name)
            del self[name]
        except KeyError:
            raise AttributeError(missing(state_of(self), name), name=name, obj=self) from None

    def __missing__(self, name: str) -> NoReturn:
        raise KeyError(_unreadable(self, name))

    def __setitem__(self, name: str, value: Any) -> None:
        set_field(self, name if type(name) is str else _plain_str(name), value)

    def __delitem__(self, name: str) -> None:
        if field_of(self, name, _ABSENT) is _ABSENT:
            raise KeyError(missing(state_of(self), name))
        _delete_field(self, name)

    def setdefault(self, name: str, default: Any = None, /) -> Any:
        """The value of a field. It is set to `default` first if there is no such live field."""
        value = field_of(self, name, _ABSENT)
        if value is _ABSENT:
            self[name] = default
            return plain_value(default)
        return value

    def pop(self, name: str, default: Any = _ABSENT, /) -> Any:
        """Delete a field and return its value, or `default` if there is no such live field."""
        value = field_of(self, name, _ABSENT)
        if value is not _ABSENT:
            _delete_field(self, name)
        elif default is _ABSENT:
            raise KeyError(missing(state_of(self), name))
        return default if value is _ABSENT else value

    def popitem(self) -> tuple[str, Any]:
        """Delete the youngest live field and return it as a pair of name and value."""
        fields = live_fields(self)
        if not fields:
            raise KeyError(f"session {state_of(self).key!r} has no fields")
        name, value = fields.popitem()
        _delete_field(self, name)
        return name, value

    def update(self, fields: Any = (), /, **more: Any) -> None:
        """Set fields from a mapping or an iterable of pairs, then from the keywords."""
        if isinstance(fields, Session):
            fields = live_fields(fields)
        MutableMapping.update(self, fields, **more)

    def clear(self) -> None:
        """Delete all fields and every mark of `ttl`; a session left empty is deleted."""
        state = state_of(self)
        refuse_closed(state, "delete the fields")
        state.changed = True
        dict.clear(self)
        state.marks = NO_MARKS
        _switch_class(self)
        _fill_attributes(self)

    def __ior__(self, fields: Any) -> Self:  # type: ignore[override,misc]
        Session.update(self, fields)
        return self

    def __copy__(self) -> dict[str, Any]:
        return live_fields(self)

    def __deepcopy__(self, memo: dict[int, Any]) -> dict[str, Any]:
        return copy.deepcopy(live_fields(self), memo)

    def __reduce_ex__(self, _protocol: object) -> NoReturn:
        raise TypeError("a session cannot be pickled; store or send as_dict(session)")

    def __repr__(self) -> str:
        return describe("Session", state_of(self), live_fields(self))


class _ExpiringSession(Session):
    """
    A session in which fields have a lifetime. Sessions become one with the first such field.

    Every operation first removes the expired fields from the dict. An iteration and the views work
    on a copy of the fields, so that a later removal does not disturb them.
    """

    __slots__ = ()

    if not TYPE_CHECKING:

        def __getattribute__(self, name: str) -> Any:
            _sweep(self)
            value = _dict_get(self, name, _ABSENT)
            if value is _ABSENT or name[:1] == "_":
                return _get_attribute(self, name)
            if name == "keys":
                return _field_or_method_keys(self, sys._getframe(1))
            return value

    def __setattr__(self, name: str, value: Any) -> None:
        if name[:1] == "_":
            raise _not_public(name)
        set_field(self, name, value)

    def __getitem__(self, name: str) -> Any:
        _sweep(self)
        return dict.__getitem__(self, name)

    def __contains__(self, name: object) -> bool:
        _sweep(self)
        return dict.__contains__(self, name)

    def __len__(self) -> int:
        _sweep(self)
        return dict.__len__(self)

    def __iter__(self) -> Iterator[str]:
        return iter(live_fields(self))

    def __reversed__(self) -> Iterator[str]:
        return reversed(live_fields(self))

    def keys(self) -> dict_keys[str, Any]:
        """The names of the fields that are live now."""
        return live_fields(self).keys()

    def values(self) -> dict_values[str, Any]:
        """The values of the fields that are live now."""
        return live_fields(self).values()

    def items(self) -> dict_items[str, Any]:
        """The fields that are live now, as pairs of name and value."""
        return live_fields(self).items()

    def copy(self) -> dict[str, Any]:
        """The fields that are live now, as a plain `dict`."""
        return live_fields(self)

    def get(self, name: str, default: Any = None, /) -> Any:
        """The value of a field, or `default` if there is no such live field."""
        _sweep(self)
        return _dict_get(self, name, default)

    def __eq__(self, other: object) -> bool:
        return live_fields(self) == other

    def __ne__(self, other: object) -> bool:
        return live_fields(self) != other

    __hash__ = None  # type: ignore[assignment]

    def __or__(self, other: dict[str, Any]) -> dict[str, Any]:  # type: ignore[override]
        return live_fields(self) | other

    def __ror__(self, other: dict[str, Any]) -> dict[str, Any]:  # type: ignore[override]
        return other | live_fields(self)


class _CopyableSession(_ExpiringSession):
    """
    An _ExpiringSession with a field named `keys`, from which C code has just read `keys`.

    With dict's own iterator, C code copies the dict directly and calls no `keys()`.
    """

    __slots__ = ()
    __iter__ = dict.__iter__


# The instructions for {**session}, f(**session) and |=, and those for session.keys.
_COPY = frozenset(map(opcode.opmap.get, ("DICT_UPDATE", "DICT_MERGE", "BINARY_OP")))
_LOAD = frozenset(map(opcode.opmap.get, ("LOAD_ATTR", "LOAD_METHOD", "MATCH_CLASS")))


def _field_or_method_keys(session: Session, frame: FrameType) -> Any:
    """
    The attribute `keys` of a session that has a field of this name beside one with a lifetime.

    A field wins over a method, but C code that copies the session calls `keys()`, unless the class
    has the iterator of dict. The instruction of the caller tells the two cases apart. The exception
    is a call, which may be `getattr(session, "keys")` or `dict(session)`. The latter reads `keys`
    first, and the class afterwards, so the class is changed between the two.
    """
    code, at = frame.f_code.co_code, frame.f_lasti
    # If Python 3.12 has inlined this call, it is behind the instruction, in its cache.
    while at and code[at] == opcode.opmap["CACHE"]:
        at -= 2
    instruction = code[at]
    if instruction in _COPY:
        return live_fields(session).keys
    if instruction not in _LOAD:
        object.__setattr__(session, "__class__", _CopyableSession)
    return _dict_get(session, "keys")


# Stands for a declared field; see `State.undeclared`.
DECLARED: Any = object()
# The attribute of an instance of a dataclass that holds the `State` if it is solo, or the core.
LINK = "_telesession_link"

# Direct access for the methods above, past __getattribute__ and __setattr__.
_dict_get, _dict_set = dict.get, dict.__setitem__
_get_attribute = object.__getattribute__
state_of: Callable[[Session], State] = vars(_Unguarded)["_state"].__get__
_set_state: Callable[[Session, State], None] = vars(_Unguarded)["_state"].__set__
_set_attributes: Callable[[Session, dict[str, Any]], None] = vars(_Unguarded)["__dict__"].__set__


def load_session(fields: dict[str, Any], marks: dict[str, Mark], state: State) -> Session:
    """
    Make a session of stored fields, which do not count as changes.

    Args:
        fields: The fields, in a dict that belongs to the session from now on.
        marks: field -> its lifetime and deadline, if it has or had one.
        state: The rest of the state.
    """
    if not marks:
        public = load_plain_session(fields, state)
        if any(name[:1] == "_" for name in fields):
            _fill_attributes(public)
        return public
    state.marks = marks
    state.attributes = {}
    session: Any = _Unguarded(fields)
    _set_state(session, state)
    session.__dict__ = state.attributes
    session.__class__ = _ExpiringSession
    made: Session = session
    return made


def make_session(fields: dict[str, Any], state: State) -> Session:
    """Make a session of new fields, whose values `ttl` may have marked."""
    session = load_session({}, {}, state)
    _put(session, fields)
    return session


def load_plain_session(fields: dict[str, Any], state: State) -> Session:
    """Make a session of fields without lifetimes, all of which can be attributes."""
    state.marks = NO_MARKS
    state.attributes = fields
    # Without a constructor in Python, because each update passes here.
    session: Any = _Unguarded(fields)
    session._state = state
    session.__dict__ = fields
    session.__class__ = Session
    made: Session = session
    return made


def live_fields(session: Session) -> dict[str, Any]:
    """The live fields as a plain `dict`; values are not copied."""
    if state_of(session).marks:
        _sweep(session)
        return dict(dict.items(session))
    return dict.copy(session)


def field_of(session: Session, name: str, default: Any) -> Any:
    """The value of a live field, or `default`, also if a field has the name of a method."""
    if state_of(session).marks:
        _sweep(session)
    return _dict_get(session, name, default)


def collect_view_changes(session: Session) -> None:
    """
    Make fields of the values that handlers have put into typed views past `__setattr__`.

    These are defaults that a handler has changed inside, such as an empty list, and changes of the
    `__dict__` of an instance.
    """
    state = state_of(session)
    if state.views is None:
        return
    for typed, _, shown in state.views:
        if shown:
            _put(session, {n: shown.pop(n) for n in typed.declared.intersection(shown)})
    if state.defaults:
        changed, fields = changed_defaults(state), live_fields(session)
        _put(session, {name: changed[name] for name in changed if name not in fields})


def _put(session: Session, fields: dict[str, Any]) -> None:
    """Set fields, also of a closed session, because its values may still change inside."""
    state = state_of(session)
    state.depth += 1
    try:
        for name, value in fields.items():
            session[name] = value
    finally:
        state.depth -= 1


def changed_defaults(state: State) -> dict[str, Any]:
    """Remove the defaults that have changed inside from a state, and return them."""
    if not state.defaults:
        return {}
    changed = {
        name: value
        for name, (value, pristine, take) in state.defaults.items()
        if take(value) != pristine
    }
    for name in changed:
        del state.defaults[name]
    return changed


def refuse_closed(state: State, attempt: str) -> None:
    """
    Check that a session is open.

    Raises:
        SessionClosedError: It is closed. The message names the `attempt`.
    """
    if not state.depth:
        raise state.closed_error(attempt)


def replace_field(session: Session, name: str, value: Any) -> None:
    """Show a stored value in another shape, without treating it as a change."""
    _dict_set(session, name, value)
    _fill_attributes(session)


def describe(kind: str, state: State, names: Iterable[str]) -> str:
    """A `repr` with the key and the field names, and no value, because values may be private."""
    closed = "" if state.depth else " (closed)"
    return f"<{kind} {state.key!r}{closed}: {', '.join(names) or 'no fields'}>"


def missing(state: State, name: Any) -> str:
    """The message that there is no such field, or that it has expired."""
    key, mark = state.key, state.marks.get(name)
    if mark is not None:
        return f"field {name!r} of session {key!r} expired, {mark.lifetime:g} s after its update"
    return f"session {key!r} has no field {name!r}"


def _unreadable(session: Session, name: Any) -> str:
    """The same message for a reader of the field, with the advice."""
    fault = missing(state_of(session), name)
    if name in _FUNCTIONS:
        return f"{fault}; {name} is a function of telesession: write {name}(session)"
    if name in state_of(session).marks:
        return f"{fault}; read a field that may expire with session.get({name!r})"
    return f"{fault}; give it in initial=..., or read it with session.get({name!r})"


def _sweep(session: Session) -> None:
    """Drop the fields that have expired; their marks stay."""
    if type(session) is _CopyableSession:
        _switch_class(session)
    now = time.monotonic()
    for name, mark in state_of(session).marks.items():
        if now >= mark.deadline:
            dict.pop(session, name, None)


def _switch_class(session: Session) -> None:
    """Switch to the class that the marks require."""
    kind = _ExpiringSession if state_of(session).marks else Session
    if type(session) is not kind:
        object.__setattr__(session, "__class__", kind)
        _fill_attributes(session)


def _fill_attributes(session: Session) -> None:
    """Make the fields attributes, unless one of them has a lifetime."""
    state = state_of(session)
    public = {} if state.marks else {n: v for n, v in dict.items(session) if n[:1] != "_"}
    state.attributes = public
    _set_attributes(session, public)


def set_field(session: Session, name: str, value: Any) -> None:
    """Set a field by a name that is exactly a `str`, not an instance of a subclass."""
    state = state_of(session)
    if not state.depth:
        raise state.closed_error(f"set field {name!r}")
    state.changed = True
    if type(value) is TimedValue:
        value = _set_mark(state, name, value)
        _switch_class(session)
    elif name in state.marks:
        state.marks[name] = Mark.starting_now(state.marks[name].lifetime, value)
    _dict_set(session, name, value)
    if not state.marks and name[:1] != "_":
        state.attributes[name] = value
    if state.views is not None and state.defaults:
        # A default that a handler got before no longer counts once the field exists.
        state.defaults.pop(name, None)


def _delete_field(session: Session, name: str) -> None:
    """Delete a field that is in the dict, and its mark with it."""
    state = state_of(session)
    refuse_closed(state, f"delete field {name!r}")
    state.changed = True
    dict.__delitem__(session, name)
    if name in state.marks:
        del state.marks[name]
        _switch_class(session)
    else:
        state.attributes.pop(name, None)


def _set_mark(state: State, name: str, marked: TimedValue) -> Any:
    """Give a field a lifetime, or end the one that it has, and return the value."""
    if state.marks is NO_MARKS:
        state.marks = {}
    state.marks.pop(name, None)
    if marked.lifetime:
        state.marks[name] = Mark.starting_now(marked.lifetime, marked.value)
    return marked.value


def _not_public(name: str) -> AttributeError:
    return AttributeError(
        f"attributes that start with _ are not fields of a session; use session[{name!r}]"
    )


def _plain_str(name: object) -> str:
    if not isinstance(name, str):
        raise TypeError(f"the names of fields are str, not {type(name).__name__}")
    # A StrEnum member as a name would tie the stored record to that class.
    return str.__str__(name)


def state_behind(session: Any) -> State:
    """
    The state of a session as handlers get it: a `Session` or an instance of a dataclass.

    Raises:
        TypeError: It is neither.
    """
    if isinstance(session, Session):
        return state_of(session)
    link = getattr(session, LINK, None)
    if isinstance(link, State):
        return link
    if isinstance(link, Session):
        return state_of(link)
    raise TypeError(
        "functions such as save, forget and as_dict take the session that a handler got, not "
        f"{_a(type(session))}"
    )


def ttl_left(session: object, name: str) -> float | None:
    """
    Seconds until a field expires.

    Returns:
        `None` if the field has no lifetime, and 0.0 once it has expired.
    """
    mark = state_behind(session).marks.get(name)
    return None if mark is None else max(0.0, mark.deadline - time.monotonic())


def set_lifetime(session: object, lifetime: float | timedelta | None) -> None:
    """
    Give one session a lifetime of its own, such as that of "remember me".

    It replaces the `lifetime` of its `Sessions`: the session lives that long after its last use.
    The record keeps the lifetime, so it is valid for later handlers and after a restart, until the
    session is deleted. An end from `expires_after` stays as it is.

    The call is part of the handler's transaction, as an assignment of a field is.

    Args:
        session: The session that a handler got.
        lifetime: Seconds or a `timedelta`. `None` keeps the session for ever, and 0 restores the
            lifetime of its `Sessions`.

    Raises:
        SessionClosedError: The handler has returned.
        TypeError: The lifetime is no number and no `timedelta`.
        ValueError: The lifetime is negative, infinite or not a number.
    """
    own = math.inf if lifetime is None else seconds(lifetime, "the lifetime of a session")
    state = state_behind(session)
    refuse_closed(state, "set the lifetime")
    state.changed = True
    state.life = (state.life or Life())._replace(lifetime=own or None)


def as_dict(session: object) -> dict[str, Any]:
    """A snapshot of the live fields: a plain `dict` that shares no object with the session."""
    state = state_behind(session)
    if state.solo is not None:
        fields: dict[str, Any] = state.solo.live_fields(state)
    else:
        core: Any = session if isinstance(session, Session) else getattr(session, LINK)
        collect_view_changes(core)
        fields = live_fields(core)
    return copy.deepcopy(fields)


def session_key(session: object) -> str:
    """The key of the session, as `Sessions.open` takes it: without room and prefix."""
    return state_behind(session).key


def _a(cls: type) -> str:
    return f"an object of type {cls.__name__}"
