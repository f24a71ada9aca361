"""Sessions for handlers: lock, load, run, commit, release."""

from __future__ import annotations

import functools
import inspect
import keyword
import typing
from collections.abc import Callable, Iterator, Mapping
from dataclasses import is_dataclass
from typing import (
    TYPE_CHECKING,
    Any,
    Concatenate,
    Generic,
    ParamSpec,
    Protocol,
    TypedDict,
    TypeVar,
    Unpack,
    overload,
)

from telesession.errors import NoSessionKeyError, SessionError
from telesession.keys import by_sender
from telesession.record import Records
from telesession.session import (
    Session,
    State,
    forget,
    live_fields,
    open_session,
    seconds,
    state_of,
)
from telesession.storage.base import Storage
from telesession.storage.memory import MemoryStorage
from telesession.typed import Typed, packed_fields, settle_defaults

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from datetime import timedelta
    from types import TracebackType

    from _typeshed import DataclassInstance

    from telesession.storage.base import Hold

D = TypeVar("D", bound="DataclassInstance")
S = TypeVar("S")
S_co = TypeVar("S_co", covariant=True)
Owner = TypeVar("Owner")
U = TypeVar("U")
T = TypeVar("T", bound="_Update")
P = ParamSpec("P")
R = TypeVar("R")

_default_storage = MemoryStorage()


class _Update(Protocol):
    """What every update of telebot is and no session: how a method is told from a function."""

    @classmethod
    def de_json(cls, json_string: Any, /) -> Any: ...


class Options(TypedDict, total=False):
    """The options of `Sessions` and `with_session` that do not decide the session's type."""

    get_storage_key: Callable[[Any], str | int | None]
    storage: Storage | None
    lifetime: float | timedelta | None
    name: str
    prefix: str
    lock_timeout: float | timedelta | None
    commit_on_error: bool


class _Decorator(Protocol[S_co]):
    """What `with_session(...)` returns: it takes functions and methods, and the session away."""

    @overload
    def __call__(
        self, handler: Callable[Concatenate[Owner, T, S_co, P], R], /
    ) -> Callable[Concatenate[Owner, T, P], R]: ...

    @overload
    def __call__(
        self, handler: Callable[Concatenate[U, S_co, P], R], /
    ) -> Callable[Concatenate[U, P], R]: ...


class Sessions(Generic[S]):
    """
    Sessions of one kind: where they are, how they begin and how long they live.

    Configure it once, keep it for as long as the bot runs, and use it from any thread.

    Args:
        initial: What the fields of a new session are: a mapping (copied for each), a dataclass,
            or a callable that returns a mapping or an instance of a dataclass. A callable with a
            required argument gets the update; a class never does. Values may be `ttl(...)`.
        get_storage_key: From the update to the key of its session; `None` means that there is
            none. The sender's id by default.
        storage: Where the records are. By default one `MemoryStorage` for the whole process, so
            that handlers which name none see the same sessions.
        lifetime: Seconds or a `timedelta` that a session lives after its last use, counted anew
            by every handler; `None` keeps it for ever.
        name: The parameter of handlers that receives the session.
        prefix: Put before every key, so that bots and purposes can share a storage.
        lock_timeout: Seconds or a `timedelta` to wait for a busy session, 0 for not at all;
            `None` waits for ever. 60 s by default.
        commit_on_error: Whether to keep what a handler did before it raised an `Exception`.

    Raises:
        TypeError: An option is of the wrong type.
        ValueError: An option has a value that makes no sense.
    """

    @overload
    def __init__(
        self: Sessions[Session],
        *,
        initial: Mapping[str, Any]
        | Callable[[], Mapping[str, Any]]
        | Callable[[Any], Mapping[str, Any]] = ...,
        **options: Unpack[Options],
    ) -> None: ...

    @overload
    def __init__(
        self: Sessions[D],
        *,
        initial: Callable[[], D] | Callable[[Any], D],
        **options: Unpack[Options],
    ) -> None: ...

    def __init__(
        self,
        *,
        initial: Any = dict,
        get_storage_key: Callable[[Any], str | int | None] = by_sender,
        storage: Storage | None = None,
        lifetime: float | timedelta | None = None,
        name: str = "session",
        prefix: str = "",
        lock_timeout: float | timedelta | None = 60,
        commit_on_error: bool = False,
    ) -> None:
        self._initial = _Initial(initial)
        self._get_storage_key = _checked_callable(get_storage_key)
        self._storage = _default_storage if storage is None else _checked_storage(storage)
        self._lifetime = _checked_lifetime(lifetime)
        self._name = _checked_name(name)
        self._prefix = _checked("prefix", prefix, str)
        self._lock_timeout = None if lock_timeout is None else seconds(lock_timeout, "lock_timeout")
        self._commit_on_error = _checked("commit_on_error", commit_on_error, bool)
        self._records = Records(self._storage.codec, persistent=self._storage.persistent)

    @overload
    def with_session(
        self, handler: Callable[Concatenate[Owner, T, S, P], R], /
    ) -> Callable[Concatenate[Owner, T, P], R]: ...

    @overload
    def with_session(
        self, handler: Callable[Concatenate[U, S, P], R], /
    ) -> Callable[Concatenate[U, P], R]: ...

    def with_session(self, handler: Callable[..., Any], /) -> Callable[..., Any]:
        """
        Decorate a blocking handler so that it gets its session.

        The handler either returns, and all its changes are saved, or raises, and none are. Until
        then nobody else has this session. Put it below telebot's decorator, which registers what
        it finds: `@bot.message_handler()` first, then `@sessions.with_session`.

        Returns:
            A function without the session parameter. The handler itself is its `__wrapped__`.

        Raises:
            TypeError: It is `async`, a generator, or has no parameter for the session.
        """
        call = _CallForm(handler, self._name)
        update_position, session_position = call.update_position, call.session_position

        @functools.wraps(handler)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            given = len(args)
            update = args[update_position] if given > update_position else call.update_of(kwargs)
            with _Use(self, self._key_of(update), update) as session:
                if given == session_position and not kwargs:
                    return handler(*args, session)
                return handler(*call.place(session, args, kwargs), **kwargs)

        # telebot looks at the signature to decide what to pass to a handler.
        wrapper.__signature__ = call.published  # type: ignore[attr-defined]
        wrapper.__telesession__ = self  # type: ignore[attr-defined]
        return wrapper

    def open(self, key: str | int, update: object = None) -> AbstractContextManager[S]:
        """
        The session of a key outside a handler, as a context manager, under the same rules.

        Leaving the `with` block saves the changes; an exception in it discards them. Inside a
        handler that has this very session, it is the handler's session, saved by the handler.

        Args:
            key: The storage key without the prefix, such as a user's id for `by_sender`.
            update: What an `initial` that wants the update gets.

        Raises:
            LockTimeoutError: On entering, when it stayed busy for `lock_timeout`.
        """
        return _Use(self, self._full_key(key), update)

    def peek(self, key: str | int) -> dict[str, Any] | None:
        """
        The live fields of a session as they were last saved, or `None` if nothing is stored.

        Takes no lock, renews nothing, and creates nothing. Fields are plain data even where
        handlers get a dataclass.
        """
        full_key = self._full_key(key)
        payload = self._storage.get(full_key)
        if payload is None:
            return None
        return self._records.load(payload, full_key, self._storage.now)[0]

    def delete(self, key: str | int) -> bool:
        """
        Delete a session once nobody uses it, and say whether it was stored.

        Inside a handler that has this very session it is `forget`: the handler's return does it.
        """
        full_key = self._full_key(key)
        opened = vars(self._storage._opened).get(full_key)
        if opened is not None:
            forget(opened)
            return self._storage.has(full_key)
        with self._storage.hold(full_key, self._lock_timeout) as held:
            return held.delete()

    def keys(self) -> Iterator[str]:
        """Iterate over the keys of the stored sessions that have the prefix, without it."""
        for key in self._storage.keys(self._prefix):
            yield key[len(self._prefix) :]

    def __repr__(self) -> str:
        return f"<Sessions {self._prefix!r} in {self._storage!r}>"

    def _key_of(self, update: Any) -> str:
        try:
            key: str | int | None = self._get_storage_key(update)
        except Exception as error:
            raise SessionError(
                f"no session for this {type(update).__name__}: get_storage_key raised "
                f"{type(error).__name__}; let it return None for an update without a session"
            ) from error
        if isinstance(key, str) and key:
            return self._prefix + key
        if fault := _key_fault(key):
            raise NoSessionKeyError(type(update).__name__, f"returned {fault}")
        return f"{self._prefix}{key}"

    def _full_key(self, key: str | int) -> str:
        if fault := _key_fault(key):
            raise TypeError(f"the key of a session is a non-empty str or an int, not {fault}")
        return f"{self._prefix}{key}"


@overload
def with_session(
    handler: Callable[Concatenate[Owner, T, Session, P], R], /
) -> Callable[Concatenate[Owner, T, P], R]: ...


@overload
def with_session(
    handler: Callable[Concatenate[U, Session, P], R], /
) -> Callable[Concatenate[U, P], R]: ...


# A mapping fits the last overload too; that this one comes first is what makes it a Session.
@overload
def with_session(
    *,
    initial: Mapping[str, Any]
    | Callable[[], Mapping[str, Any]]
    | Callable[[Any], Mapping[str, Any]] = ...,
    **options: Unpack[Options],
) -> _Decorator[Session]: ...


@overload
def with_session(
    *, initial: Callable[[], D] | Callable[[Any], D], **options: Unpack[Options]
) -> _Decorator[D]: ...


def with_session(handler: Any = None, /, **options: Any) -> Any:
    """
    Decorate a blocking handler so that it gets the session of whoever sent the update.

    Bare (`@with_session`) or with the options of `Sessions`
    (`@with_session(initial=lambda: {"counter": 0})`). See `Sessions.with_session`.
    """
    sessions: Sessions[Any] = Sessions(**options)
    return sessions.with_session if handler is None else sessions.with_session(handler)


class _Use(State, Generic[S]):
    """
    One use of a session, from its lock to its release: the life of an update.

    Entered and left once. Where the thread has the session in use already, both uses are of the
    same fields, and the outermost commits.
    """

    _hold: AbstractContextManager[Hold]
    _held: Hold
    _opened: dict[str, Session]
    _payload: bytes | None
    _session: Session

    def __init__(self, sessions: Sessions[S], key: str, update: object) -> None:
        self.key = key
        self._sessions = sessions
        self._update = update
        self._outer = False

    def __enter__(self) -> S:
        shown: S
        sessions = self._sessions
        self._opened = opened = vars(sessions._storage._opened)
        if self.key in opened:
            shown = sessions._initial.show(opened[self.key], self._update)
            return shown
        self._hold = sessions._storage.hold(self.key, sessions._lock_timeout)
        self._held = self._hold.__enter__()
        try:
            self._payload = payload = self._held.get()
            if payload is None:
                session = self._make()
            else:
                record = sessions._records.load(payload, self.key, self._held.now)
                session = open_session(*record, self)
            shown = sessions._initial.show(session, self._update)
        except BaseException:
            self._hold.__exit__(None, None, None)
            raise
        self._session = opened[self.key] = session
        self._outer = True
        return shown

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if not self._outer:
            return
        try:
            if kind is None:
                self._commit()
            elif self._sessions._commit_on_error and issubclass(kind, Exception):
                self.forgotten = False
                self._commit()
        finally:
            self.closed = True
            del self._opened[self.key], self._session
            self._hold.__exit__(None, None, None)

    def _make(self) -> Session:
        """A new session, of fields that are nobody else's."""
        sessions = self._sessions
        fields = sessions._initial.make(self.key, self._update)
        session = open_session({}, {}, self)
        session.update(sessions._records.copy(fields, self.key))
        return session

    def save(self) -> None:
        """Write the session now, in the middle of its handler."""
        self._commit()
        self._held.flush()

    def _commit(self) -> None:
        """Bring the storage to what the session is: deleted, written, or merely touched."""
        session, lifetime = self._session, self._sessions._lifetime
        if self.defaults:
            settle_defaults(session)
        fields = live_fields(session) if self.views is None else packed_fields(session)
        if self.forgotten or not fields:
            if self._payload is not None:
                self._held.delete()
                self._payload = None
            return
        payload, marks = self._sessions._records.dump(
            session, fields, self._payload, self._held.now
        )
        if payload != self._payload:
            self._held.set(payload, lifetime)
            self._payload, self.marks = payload, marks
        elif lifetime is not None and not self._held.touch(lifetime):
            # The handler took longer than the session lives without one.
            self._held.set(payload, lifetime)


class _Initial:
    """What new sessions begin with, and what all of them appear as."""

    def __init__(self, initial: Any) -> None:
        self._make, self._wants_update = _initial_callable(initial)
        self._typed: Typed | None = None
        declared = _declared_type(initial)
        if is_dataclass(declared):
            self._typed = Typed(declared)
        # Whether sessions appear as a dataclass may turn out only when initial is called.
        self._known = is_dataclass(declared) or issubclass(declared, Mapping)

    def make(self, key: str, update: object) -> dict[str, Any]:
        """
        The fields that a new session begins with; values may be marked by `ttl`.

        Raises:
            SessionError: `initial` raised.
            TypeError: `initial` wants an update and there is none, or returned something else
                than a mapping with names or an instance of a dataclass.
        """
        made = self._call(key, update)
        if isinstance(made, Mapping):
            fields = dict(made)
        elif is_dataclass(made) and not isinstance(made, type):
            if self._typed is None or self._typed.cls is not type(made):
                self._typed = Typed(type(made))
            fields = self._typed.declared_fields(made)
        else:
            raise TypeError(
                "initial must return a mapping or an instance of a dataclass, "
                f"not {type(made).__name__}"
            )
        self._known = True
        _refuse_odd_names(fields)
        return fields

    def show(self, session: Session, update: object) -> Any:
        """The session as what handlers get."""
        if not self._known:
            # The record is older than this process: only a call tells what initial returns.
            self.make(state_of(session).key, update)
        return session if self._typed is None else self._typed.open(session)

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
                "was stored; mend initial, or let it do less"
            ) from error


class _CallForm:
    """Where a handler takes its update and its session."""

    def __init__(self, handler: Callable[..., Any], name: str) -> None:
        _refuse_handler(handler)
        signature = inspect.signature(handler)
        parameters = list(signature.parameters.values())
        mine = next((p for p in parameters if p.name == name and p.kind not in _VARIADIC), None)
        if mine is None:
            raise TypeError(_advice(handler, name))
        others = [p for p in parameters if p is not mine]
        takes_update = [
            p for p in others if p.kind in (*_POSITIONAL, inspect.Parameter.VAR_POSITIONAL)
        ]
        is_method = bool(takes_update) and takes_update[0].name in ("self", "cls")
        if len(takes_update) <= is_method:
            raise TypeError(f"{_name_of(handler)} has no parameter for the update; add one")
        self.published = signature.replace(parameters=others)
        self.update_position = int(is_method)
        # What is inside and decorated, too, gets it by name: it must not take it for the update.
        is_decorated = hasattr(handler, "__telesession__")
        by_name = is_decorated or mine.kind not in _POSITIONAL
        self.session_position = -1 if by_name else parameters.index(mine)
        self._mine = mine
        self._positional = [p for p in parameters if p.kind in _POSITIONAL and not is_decorated]
        self._update_name = takes_update[is_method].name
        self._handler_name = _name_of(handler)

    def update_of(self, kwargs: dict[str, Any]) -> Any:
        """The update of a call that does not pass it by position."""
        if self._update_name not in kwargs:
            raise TypeError(f"{self._handler_name}() was called without the update")
        return kwargs[self._update_name]

    def place(self, session: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Any]:
        """Put the session among the arguments of a call: those by position, or `kwargs`."""
        name, only_by_position = self._mine.name, self._mine.kind is _POSITIONAL[0]
        if name in kwargs and not only_by_position:
            raise TypeError(
                f"{self._handler_name}() gets its {name!r} from with_session; to pass another one, "
                "call its __wrapped__"
            )
        placed, given, is_placed = [], list(reversed(args)), False
        for parameter in self._positional:
            # As Python does it: what is not given by name takes the next argument by position.
            if parameter is self._mine:
                placed.append(session)
                is_placed = True
            elif parameter.name in kwargs:
                placed.append(kwargs.pop(parameter.name))
            elif given:
                placed.append(given.pop())
            elif only_by_position and not is_placed:
                placed.append(parameter.default)
            else:
                break
        if not is_placed:
            kwargs[name] = session
        return [*placed, *reversed(given)]


_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
_VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def _refuse_handler(handler: Any) -> None:
    if isinstance(handler, staticmethod | classmethod):
        raise TypeError(f"put @{type(handler).__name__} above @with_session, not below it")
    if not callable(handler) or isinstance(handler, type):
        is_class = isinstance(handler, type)
        name = handler.__name__ if is_class else type(handler).__name__
        raise TypeError(
            f"with_session decorates a handler, not {name}; its options are keywords, such as "
            f"with_session(initial={name if is_class else '...'})"
        )
    if _is_async(handler):
        raise TypeError(
            f"{_name_of(handler)} is async, and telesession is for blocking handlers of TeleBot; "
            f"write def {_name_of(handler)}, without async"
        )
    if _any_function(inspect.isgeneratorfunction, handler):
        raise TypeError(
            f"{_name_of(handler)} is a generator, whose body would run after its session is "
            "closed; return a value instead of yielding"
        )


def _is_async(function: Any) -> bool:
    return _any_function(inspect.iscoroutinefunction, function) or _any_function(
        inspect.isasyncgenfunction, function
    )


def _any_function(is_kind: Callable[[Any], bool], function: Any) -> bool:
    # An object that can be called tells by the method that does it.
    return is_kind(function) or is_kind(type(function).__call__)


def _advice(handler: Any, name: str) -> str:
    function = _name_of(handler)
    written = "handler" if function == "<lambda>" else function
    return (
        f"{function} has no parameter {name!r} to receive the session; write "
        f"def {written}(message, {name}), or name the parameter that it has in "
        'with_session(name="...")'
    )


def _name_of(handler: Any) -> str:
    return getattr(handler, "__name__", type(handler).__name__)


def _initial_callable(initial: Any) -> tuple[Callable[..., Any], bool]:
    """How to call `initial`, and whether it gets the update."""
    if isinstance(initial, Mapping):
        _refuse_odd_names(initial)
        return lambda: initial, False
    if isinstance(initial, type) and (is_dataclass(initial) or issubclass(initial, Mapping)):
        _refuse_required(initial)
        return initial, False
    if isinstance(initial, type) or not callable(initial):
        shown = initial.__name__ if isinstance(initial, type) else _a(initial)
        raise TypeError(
            "initial must be a mapping, a dataclass, or a callable that returns a mapping or an "
            f"instance of a dataclass, not {shown}"
        )
    if _is_async(initial):
        raise TypeError("initial must not be async; write it with def")
    required = _required_parameters(initial)
    if len(required) > 1 or any(p.kind not in _POSITIONAL for p in required):
        names = ", ".join(p.name for p in required)
        raise TypeError(f"initial must take nothing or the update, but it requires {names}")
    return initial, bool(required)


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
    return [p for p in parameters if p.default is p.empty and p.kind not in _VARIADIC]


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


def _checked(option: str, value: object, kind: type[R]) -> R:
    if not isinstance(value, kind):
        raise TypeError(f"{option} must be a {kind.__name__}, not {type(value).__name__}")
    return value


def _checked_callable(get_storage_key: Any) -> Any:
    if not callable(get_storage_key):
        raise TypeError(
            "get_storage_key must be a function from the update to its key, not "
            f"{type(get_storage_key).__name__}"
        )
    if _is_async(get_storage_key):
        raise TypeError("get_storage_key must not be async; write it with def")
    try:
        inspect.signature(get_storage_key).bind(None)
    except TypeError as error:
        raise TypeError(f"get_storage_key must take one argument, the update: {error}") from None
    except ValueError:
        pass  # What is written in C does not always tell what it takes.
    return get_storage_key


def _checked_storage(storage: Any) -> Storage:
    if not isinstance(storage, Storage):
        hint = "; wrap a mapping as MemoryStorage(store)" if isinstance(storage, Mapping) else ""
        raise TypeError(f"storage must extend telesession.Storage, and {_a(storage)} not{hint}")
    for method in ("encode", "decode"):
        if not callable(getattr(storage.codec, method, None)):
            raise TypeError(f"the codec of {storage!r} has no method {method!r}")
    return storage


def _checked_lifetime(lifetime: float | timedelta | None) -> float | None:
    if lifetime is None:
        return None
    checked = seconds(lifetime, "lifetime")
    if not checked:
        raise ValueError("lifetime must be more than 0 s; None keeps sessions for ever")
    return checked


def _checked_name(name: Any) -> str:
    checked = _checked("name", name, str)
    if not checked.isidentifier() or keyword.iskeyword(checked):
        raise ValueError(f"name must be the name of a parameter, which {name!r} cannot be")
    return checked


def _key_fault(key: object) -> str | None:
    """What is wrong with a storage key, if anything."""
    if key is None:
        return "None"
    if isinstance(key, bool) or not isinstance(key, str | int):
        return _a(key)
    # One key for all whose name, say, is empty would join strangers.
    return "an empty string" if key == "" else None


def _a(value: object) -> str:
    return f"an object of type {type(value).__name__}"
