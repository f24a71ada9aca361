"""
The tree of exceptions that telesession raises on purpose while a bot runs.

Each class has the facts for a handler as attributes, and builds its message from them, so that an
exception survives pickling. No message shows a stored value.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable


class SessionError(Exception):
    """
    The root of the tree: an operation on a session failed.

    Raised itself if an `initial` or a `get_storage_key` of the bot's author raises. That exception
    is the `__cause__`. Also raised if a question, a move or an import of states fails.
    """


class NoSessionKeyError(SessionError):
    """
    The update has no usable storage key, so its session is unknown.

    Args:
        update_type: The class name of the update, such as `"Poll"`.
        reason: The fault of `get_storage_key`, such as `"returned None"`.
    """

    def __init__(self, update_type: str, reason: str) -> None:
        super().__init__(update_type, reason)
        self.update_type = update_type
        self.reason = reason

    def __str__(self) -> str:
        return (
            f"no session for this {self.update_type}: get_storage_key {self.reason}; "
            "pass a get_storage_key that returns a non-empty str or an int for every update "
            "this handler gets, or leave the session parameter out"
        )


class SessionClosedError(SessionError):
    """
    A closed session was changed, and the change would be lost.

    A session is closed once its handler has returned, and from the beginning if `Sessions.peek` or
    `Sessions.items` has read it.

    Args:
        key: The storage key of the session.
        attempt: The action that was tried, such as `"set field 'counter'"`.

    Attributes:
        reason: The reason why the session is closed.
    """

    reason: str = "its handler has returned"

    def __init__(self, key: str, attempt: str) -> None:
        super().__init__(key, attempt)
        self.key = key
        self.attempt = attempt

    def __str__(self) -> str:
        return (
            f"cannot {self.attempt} of session {self.key!r}: {self.reason} and the session is "
            "closed, so the change would be lost; let with_session give the handler its session, "
            "or open it with Sessions.open(key)"
        )


class LockTimeoutError(SessionError):
    """
    A session stayed busy for longer than `lock_timeout`; nothing was read or written.

    Args:
        key: The storage key of the session.
        seconds: The length of the wait.
        holder: The handler that has the session, in words, such as `"handler shop.checkout"`. It
            is `"another process"` if no thread of this process has it.
        held: Seconds since that handler has the session; `None` if they are not known.
    """

    def __init__(
        self, key: str, seconds: float, holder: str = "another handler", held: float | None = None
    ) -> None:
        super().__init__(key, seconds, holder, held)
        self.key = key
        self.seconds = seconds
        self.holder = holder
        self.held = held

    def __str__(self) -> str:
        held = "still holds it" if self.held is None else f"has held it for {self.held:.1f} s"
        return (
            f"could not lock session {self.key!r} within {self.seconds:g} s: {self.holder} {held}; "
            "make that handler shorter or raise lock_timeout, and where handlers use two sessions "
            "at once, take them in the same order everywhere"
        )


class DeadlockError(LockTimeoutError):
    """
    Threads of this process wait for each other's sessions in a circle, so no wait would end.

    Raised at once, in the thread whose wait would close the circle. A thread that waits for its
    own session is a circle of one. The other threads go on. Between processes
    `lock_timeout` ends such a wait, and the error is a plain `LockTimeoutError`.

    Args:
        key: The storage key of the session that could not be locked.
        keys: The storage keys of the circle, in the order of the waits; `key` is the first.
    """

    def __init__(self, key: str, keys: tuple[str, ...]) -> None:
        super().__init__(key, 0.0)
        self.args = (key, keys)
        self.keys = keys

    def __str__(self) -> str:
        if len(self.keys) == 1:
            return (
                f"could not lock session {self.key!r}: the thread that asks for it has it already, "
                "so it would wait for itself; leave out independent=True, or leave the block "
                "around it first"
            )
        circle = ", ".join(map(repr, self.keys))
        return (
            f"could not lock session {self.key!r}: handlers wait for each other's sessions in a "
            f"circle ({circle}); open all sessions of a handler together with "
            "Sessions.open(a, b), which locks them in the same order everywhere"
        )


class LockLostError(SessionError):
    """
    The lock of a session was lost before its commit, so nothing was written to its storage.

    Args:
        key: The storage key of the session.

    Attributes:
        written: The keys in other storages that were written before; see `StorageError`.
    """

    written: tuple[str, ...] = ()

    def __init__(self, key: str) -> None:
        super().__init__(key)
        self.key = key

    def __str__(self) -> str:
        return (
            f"could not save session {self.key!r}: its lock was lost before the commit, so "
            "another handler may have changed it since, and nothing was written to its storage"
            f"{_statement_of(self.written)}; try again"
        )


class EncodeError(SessionError):
    """
    A field has a value that its codec cannot bring back, so nothing was written.

    Args:
        key: The storage key of the session.
        path: The path of the value, such as `cart[<str>][0]`. It shows the type of a dict's key
            instead of the key, because a user may have written the key.
        type_name: The type of that value, such as `"generator"`.
        reason: The reason why it cannot be stored, and the data to store instead.
    """

    def __init__(self, key: str, path: str, type_name: str, reason: str) -> None:
        super().__init__(key, path, type_name, reason)
        self.key = key
        self.path = path
        self.type_name = type_name
        self.reason = reason

    def __str__(self) -> str:
        return (
            f"could not save session {self.key!r}: {self.path} is of type {self.type_name}, "
            f"{self.reason}; the stored record was left as it was"
        )


class DecodeError(SessionError):
    """
    A stored record cannot be read as a session; it stays in the storage as it is.

    Args:
        key: The storage key of the session.
        reason: The fault of the record.
        remedy: The advice.
    """

    def __init__(
        self, key: str, reason: str, remedy: str = "repair it, or delete it to start anew"
    ) -> None:
        super().__init__(key, reason, remedy)
        self.key = key
        self.reason = reason
        self.remedy = remedy

    def __str__(self) -> str:
        return (
            f"could not read the stored record of session {self.key!r}: {self.reason}; "
            f"the record was left as it was; {self.remedy}"
        )


class StorageError(SessionError):
    """
    A storage's backend failed; the exception it raised is the `__cause__`.

    Args:
        action: The action that failed, such as `"write"`.
        key: The storage key, or `None` if the action is not about one record.
        reason: The kind of failure.
        remedy: The advice; by default, to fix the `__cause__` and retry.
        outcome: `"unknown"` if a server may have executed the write, because its answer was lost;
            `None` if nothing was written.

    Attributes:
        written: The keys that were written before the failure, if a commit writes to several
            storages, or to a storage that writes one record after the other.
    """

    written: tuple[str, ...] = ()

    def __init__(
        self,
        action: str,
        key: str | None,
        reason: str,
        remedy: str = "see __cause__, fix it and retry",
        outcome: Literal["unknown"] | None = None,
    ) -> None:
        super().__init__(action, key, reason, remedy, outcome)
        self.action = action
        self.key = key
        self.reason = reason
        self.remedy = remedy
        self.outcome = outcome

    def __str__(self) -> str:
        record = "" if self.key is None else f" the record of session {self.key!r}"
        statement = "" if self.outcome is None else "; the outcome is unknown"
        statement += _statement_of(self.written)
        return f"could not {self.action}{record}: {self.reason}{statement}; {self.remedy}"


def _statement_of(written: Iterable[str]) -> str:
    """The part of a message that names the keys of sessions in other storages, if there are any."""
    return f"; written before: {', '.join(map(repr, written))}" if written else ""


def fault_of(error: Exception) -> str:
    """The text of an error for the log; only the class of a foreign one, which may show values."""
    return str(error) if isinstance(error, SessionError) else type(error).__name__
