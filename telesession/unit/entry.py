"""Entries: the sessions of a unit, each with its lock, its record and its state."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, Self

from telesession.session import Session, State

if TYPE_CHECKING:
    from collections.abc import Container
    from contextlib import AbstractContextManager

    from telesession.errors import DecodeError, SessionError
    from telesession.storage.base import Hold, Note, Storage
    from telesession.unit.events import OnEvent


class OpensSessions(Protocol):
    """The part of a kind of sessions that a unit needs: its options and translations."""

    storage: Storage
    storage_name: str
    lock_timeout: float | None
    commit_on_error: bool
    on_event: OnEvent | None

    @property
    def pending(self) -> Container[str]:
        """The new keys of sessions that have not moved yet."""
        ...

    def key_of_place(self, place: str) -> str:
        """The key of a place in the storage."""
        ...

    def place_of_key(self, key: object) -> str:
        """The place of a key in the storage."""
        ...

    def translate_error(self, error: SessionError, place: str | None = None) -> None:
        """Replace the place in an error, or only this place, by the key."""
        ...

    def finish_move(self, place: str) -> None:
        """Do a pending move to a place, before the place is locked."""
        ...

    def with_lifetime(self, lifetime: float | None) -> Self:
        """The same kind with another lifetime: seconds after the last use, `None` for ever."""
        ...

    def load(self, entry: Entry, update: object, use: Use) -> Any:
        """Make the object that handlers get, from the record of an entry or from `initial`."""
        ...

    def show(self, entry: Entry, update: object) -> Any:
        """The object that handlers get, of an entry that is loaded already."""
        ...

    def sets_aside(self, hold: Hold, payload: bytes | None, error: DecodeError) -> bool:
        """Log an unreadable record, perhaps move it to another key, and return whether it did."""
        ...

    def encode(self, entry: Entry) -> None:
        """Note in the hold of an entry the write that its session needs."""
        ...


#: A session that a block wants: its kind and its place, which is its key in the storage.
Wanted = tuple[OpensSessions, str]


class Use(NamedTuple):
    """
    How a block uses its sessions.

    Args:
        create: Whether a session without a record is made. If not, a `KeyError` is raised.
        renew: Whether the use renews the lifetime of a session without changes.
        independent: Whether the block is a unit of its own.
        beside: A hold of this thread that lasts longer than the block. If the block begins a unit,
            the locks of the unit are taken beside it; see `Storage.hold_beside`.
    """

    create: bool = True
    renew: bool = True
    independent: bool = False
    beside: Hold | None = None


USUAL = Use()
INDEPENDENT = Use(independent=True)


class LateChange(Protocol):
    """A function that changes a session at the commit."""

    def __call__(self, session: Session, /) -> float | None:
        """Change the session, and return the seconds that it lives from now; `None` is for ever."""
        ...


class Deferred(NamedTuple):
    """
    A change of one session that is made at the commit of its unit.

    The unit takes the lock only then, after the locks of its other sessions. So no handler runs
    while its unit waits for this lock or has it.

    Args:
        kind: The kind of session.
        key: Its key. The place is found at the commit, because its group may become a supergroup.
        change: The function that makes the change. It must call no code of users.
    """

    kind: OpensSessions
    key: str
    change: LateChange


class Entry(State):
    """
    One session of a unit: its lock, its record, and the state of its session object.

    It lives until the unit ends, or until the block raises that made the session object.

    Attributes:
        kind: The kind of sessions that opened it first. Its options apply.
        hold: The lock and the record.
        manager: The context manager that gave the hold, and frees it; `None` once that has begun.
        session: The `Session`, or the instance of a solo state; `None` while only the lock is
            needed.
        payload: The record as it was loaded or last saved.
        flat: Whether all fields of the loaded record are scalars, which cannot change inside, and
            the record was not saved since.
        renews: Whether the commit renews the lifetime of a session without changes.
    """

    __slots__ = ("flat", "hold", "kind", "manager", "payload", "renews", "session")

    kind: OpensSessions
    hold: Hold
    manager: AbstractContextManager[Hold] | None
    session: Any
    payload: bytes | None
    flat: bool
    renews: bool

    # `Unit.lock` sets the attributes, because a constructor takes twice the time.
    __init__ = object.__init__

    def reset(self) -> None:
        """Drop the session and all state, and keep the lock: nothing is loaded."""
        self.session = self.payload = self.views = self.solo = None
        self.class_name = self.life = None
        self.flat = self.changed = self.forgotten = False
        self.depth = 0

    @property
    def key(self) -> str:
        """The key of the session, as users give it."""
        return self.kind.key_of_place(self.hold.key)

    @property
    def lock_key(self) -> tuple[Storage, str]:
        """The storage, and the place in it."""
        return self.hold.storage, self.hold.key

    def gets_core(self, core: Session) -> None:
        """See `State.gets_core`."""
        self.session = core

    def without_session(self, note: Note | None) -> Entry:
        """A fresh entry of the same lock, with no session loaded and this note in the hold."""
        self.depth = 0
        self.session = None
        self.hold.note = note
        fresh: Entry = Entry()
        fresh.kind, fresh.hold, fresh.manager = self.kind, self.hold, self.manager
        fresh.renews = False
        fresh.reset()
        return fresh
