"""The options of sessions: their types, their checks and the errors of unusable values."""

from __future__ import annotations

import inspect
import keyword
from collections.abc import Callable, Mapping
from dataclasses import is_dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypedDict, TypeVar

from telesession.errors import DecodeError
from telesession.keys import ROOM, room_of
from telesession.storage.base import Storage
from telesession.ttl import seconds

if TYPE_CHECKING:
    from datetime import timedelta

    from telesession.record import Migration
    from telesession.unit.events import OnEvent

T = TypeVar("T")
Instance = TypeVar("Instance")

# Kinds of parameters that `inspect` knows.
POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)

# The types of `initial` for sessions that are mappings, and for sessions that are instances.
MakesFields = (
    Mapping[str, Any] | Callable[[], Mapping[str, Any]] | Callable[[Any], Mapping[str, Any]]
)
MakesInstance = Callable[[], Instance] | Callable[[Any], Instance]


OnError = Callable[[Any, Exception], object]
OnUnreadable = Callable[[str, DecodeError], bool | None]
# The options of `use_sequential_workers` that `attach` takes, too, with their defaults.
WORKERS: Mapping[str, Any] = MappingProxyType(
    {"total_limit": None, "on_error": None, "drain": 8, "inbox": None}
)


class Options(TypedDict, total=False):
    """The options of `Sessions` and `with_session` that do not decide the session's type."""

    get_storage_key: Callable[[Any], str | int | None]
    storage: Storage | None
    lifetime: float | timedelta | None
    name: str
    prefix: str | None
    lock_timeout: float | timedelta | None
    commit_on_error: bool
    expires_after: float | timedelta | None
    max_bytes: int | None
    on_event: OnEvent | None
    on_unreadable: OnUnreadable | None
    version: int
    migrations: Mapping[int, Migration]


def checked_type(option: str, value: object, kind: type[T]) -> T:
    """Check that an option is of a type."""
    if not isinstance(value, kind):
        raise TypeError(f"{option} must be a {kind.__name__}, not {type(value).__name__}")
    return value


def checked_room(prefix: Any, name: str) -> str:
    """The beginning of the keys of sessions, by their options `prefix` and `name`."""
    if prefix is None:
        return "" if name == "session" else room_of(name)
    checked = checked_type("prefix", prefix, str)
    if checked.startswith(ROOM):
        raise ValueError(
            f"prefix must not begin with @, as the rooms of the library do, but {checked!r} does"
        )
    return checked


def checked_key_function(function: Any, option: str) -> Any:
    """Check that a function from updates to keys can be called with an update."""
    role, arguments = "from the update to its key", "one argument, the update"
    return _checked_function(function, option, role, arguments, 1)


def checked_on_error(function: Any) -> Any:
    """Check that a function can be called with an update and an exception."""
    both = "the update and the exception"
    return _checked_function(function, "on_error", f"of {both}", f"two arguments, {both}", 2)


def checked_on_event(function: Any) -> Any:
    """Check that a function can be called with an event; `None` is no function."""
    if function is None:
        return None
    return _checked_function(function, "on_event", "of the event", "one argument, the event", 1)


def checked_on_unreadable(function: Any) -> Any:
    """Check that a function can be called with a key and an error; `None` is no function."""
    if function is None:
        return None
    both = "the key and the DecodeError"
    return _checked_function(function, "on_unreadable", f"of {both}", f"two arguments, {both}", 2)


def _checked_function(function: Any, option: str, role: str, arguments: str, count: int) -> Any:
    if not callable(function):
        raise TypeError(f"{option} must be a function {role}, not {type(function).__name__}")
    if is_async(function):
        raise TypeError(f"{option} must not be async; write it with def")
    try:
        inspect.signature(function).bind(*[None] * count)
    except TypeError as error:
        raise TypeError(f"{option} must take {arguments}: {error}") from None
    except ValueError:
        pass  # A function written in C may have no signature.
    return function


def checked_storage(storage: Any, option: str = "storage") -> Storage:
    """Check that the storage of an option is one, with a codec."""
    if isinstance(storage, type) and issubclass(storage, Storage):
        raise TypeError(
            f"{option} is the class {storage.__name__}; pass an instance, {storage.__name__}(...)"
        )
    if not isinstance(storage, Storage):
        raise TypeError(
            f"{option} must extend telesession.Storage, and an object of type "
            f"{type(storage).__name__} does not{_storage_hint(storage)}"
        )
    if isinstance(storage.codec, type):
        name = storage.codec.__name__
        raise TypeError(f"the codec of {storage!r} is the class {name}; pass an instance, {name}()")
    for method in ("encode", "decode"):
        if not callable(getattr(storage.codec, method, None)):
            raise TypeError(f"the codec of {storage!r} has no method {method!r}")
    return storage


def _storage_hint(storage: Any) -> str:
    if isinstance(storage, Mapping):
        return "; wrap a mapping as MemoryStorage(store)"
    return '; for a file, write SQLiteStorage("bot.db")' if isinstance(storage, str) else ""


def checked_version(version: Any) -> int:
    """Check that a version is a number from 0 on."""
    if type(version) is not int:
        raise TypeError(f"version must be an int, not {type(version).__name__}")
    if version < 0:
        raise ValueError(f"version must be 0 or more, not {version}")
    return version


def checked_migrations(migrations: Any, version: int) -> dict[int, Migration]:
    """Check that migrations are steps to versions up to the one that is written."""
    if not isinstance(migrations, Mapping):
        raise TypeError(
            "migrations must map versions to the functions that lead to them, "
            f"such as {{1: rename_field}}, not {type(migrations).__name__}"
        )
    for number, migration in migrations.items():
        if type(number) is not int or not 0 < number <= version:
            raise ValueError(
                f"there is a migration to version {number!r}, but migrations lead to versions from "
                f"1 to that of the option version, which is {version}"
            )
        if not callable(migration) or is_async(migration):
            raise TypeError(f"migration {number} must be a function of a dict, without async")
    return dict(migrations)


def checked_max_bytes(max_bytes: Any) -> int | None:
    """Check that a limit is a number of bytes; `None` is no limit."""
    if max_bytes is None:
        return None
    if type(max_bytes) is not int:
        raise TypeError(f"max_bytes must be an int, not {type(max_bytes).__name__}")
    if max_bytes < 1:
        raise ValueError(f"max_bytes must be 1 or more, not {max_bytes}; None sets no limit")
    return max_bytes


def checked_lifetime(
    lifetime: float | timedelta | None,
    what: str = "lifetime",
    otherwise: str = "None keeps sessions for ever",
) -> float | None:
    """The seconds of a lifetime; `None` is for ever."""
    if lifetime is None:
        return None
    checked = seconds(lifetime, what)
    if not checked:
        raise ValueError(f"{what} must be more than 0 s; {otherwise}")
    return checked


def checked_name(name: Any) -> str:
    """Check that a name can be that of a parameter."""
    checked = checked_type("name", name, str)
    if not checked.isidentifier() or keyword.iskeyword(checked):
        raise ValueError(f"name must be the name of a parameter, which {name!r} cannot be")
    return checked


def refuse_unnamed(function: str, values: tuple[object, ...]) -> None:
    """
    Check that no option is given without its name.

    Args:
        function: The function that takes the options.
        values: The values without a name.

    Raises:
        TypeError: There is at least one value.
    """
    if values:
        raise TypeError(
            f"{function} takes its options by name; write {function}({option_of(values[0])})"
        )


def option_of(value: object) -> str:
    """The correct text for a value that was given without the name of its option."""
    if isinstance(value, Storage):
        return "storage=..."
    if is_dataclass(value) and not isinstance(value, type):
        return f"initial={type(value).__name__}"
    name = getattr(value, "__name__", "...")
    return "initial=..." if name == "<lambda>" else f"initial={name}"


def is_async(function: Any) -> bool:
    """Whether calling it gives something to await, or to iterate over with `async for`."""
    return has_kind(inspect.iscoroutinefunction, function) or has_kind(
        inspect.isasyncgenfunction, function
    )


def has_kind(is_kind: Callable[[Any], bool], function: Any) -> bool:
    """Whether a function, or the `__call__` of an object, is of a kind that `inspect` knows."""
    return is_kind(function) or is_kind(type(function).__call__)
