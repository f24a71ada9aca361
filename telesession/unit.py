"""
Units of work: the sessions that one handler call uses, saved together or not at all.

A handler opens a unit, and everything that it calls in its thread joins it: decorated functions
and blocks of `Sessions.open`. Each of them is a *block* of the unit; the handler is the outermost
one. A unit

1. locks the sessions that a block wants, in one order for all handlers, and reads their records;
2. makes session objects of the records for the handler;
3. encodes all sessions when the outermost block returns, and then writes them, one storage after
   the other; when it raises, it writes nothing;
4. frees the locks;
5. calls the functions that were given to `on_commit`.

A block inside that raises is undone by itself, as by a savepoint. This module knows the order of
these steps and nothing of fields, codecs, Telegram or SQL: `Sessions` translates, and a storage
locks, reads and writes.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection, Container, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import (
    TYPE_CHECKING,
    Any,
    Generic,
    NamedTuple,
    NoReturn,
    ParamSpec,
    Protocol,
    Self,
    TypeVar,
    cast,
)

from telesession.errors import (
    DeadlockError,
    DecodeError,
    LockLostError,
    SessionError,
    StorageError,
)
from telesession.events import Watch
from telesession.holders import units
from telesession.session import (
    Session,
    State,
    refuse_closed,
    settle,
    state_behind,
)

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from telesession.endings import Ending
    from telesession.events import OnEvent, Outcome
    from telesession.storage.base import Hold, Note, Storage

P = ParamSpec("P")
T = TypeVar("T")

_log = logging.getLogger("telesession")

# A unit of more sessions than this is logged, because it keeps every lock until its end.
_MANY = 100


class Opener(Protocol):
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

    def key_at(self, place: str) -> str:
        """The key as users know it, of a key in the storage."""
        ...

    def place_of(self, key: object) -> str:
        """The key in the storage, of a key as users know it."""
        ...

    def rename(self, error: SessionError, place: str | None = None) -> None:
        """Let an error, perhaps of one key only, speak of the key as users know it."""
        ...

    def settle(self, place: str) -> None:
        """Do a pending move to a key, before the key is locked."""
        ...

    def living(self, lifetime: float | None) -> Self:
        """The same kind with another lifetime: seconds after the last use, `None` for ever."""
        ...

    def load(self, entry: Entry, update: object, use: Use) -> Any:
        """Make of the record of an entry, or of `initial`, the object that handlers get."""
        ...

    def show(self, entry: Entry, update: object) -> Any:
        """Make the object that handlers get of an entry that is loaded already."""
        ...

    def sets_aside(self, hold: Hold, payload: bytes | None, error: DecodeError) -> bool:
        """Whether a record that cannot be read was moved to another key."""
        ...

    def encode(self, entry: Entry) -> None:
        """Note in the hold of an entry the write that its session needs."""
        ...


#: A session that a block wants: its kind, and its key in the storage.
Wanted = tuple[Opener, str]


class Use(NamedTuple):
    """
    How a block uses its sessions.

    Args:
        create: Whether a session without a record is made; if not, it is a `KeyError`.
        renew: Whether the use renews the lifetime of a session without changes.
        independent: Whether the block is a unit of its own.
        unit: The unit of this thread that the block joins; the innermost one by default.
        beside: A hold of this thread, which it leaves after the block. If the block begins a unit,
            the locks of the unit are taken beside it; see `Storage.hold_beside`.
    """

    create: bool = True
    renew: bool = True
    independent: bool = False
    unit: Unit | None = None
    beside: Hold | None = None


USUAL = Use()
INDEPENDENT = Use(independent=True)
# Without a change nothing is written.
_QUIET = Use(renew=False)


class LateChange(Protocol):
    """Changes a session at the commit."""

    def __call__(self, session: Session, /) -> float | None:
        """Change it, and return the seconds that it lives from now; `None` is for ever."""
        ...


class Deferred(NamedTuple):
    """
    A change of one session that is made at the commit of its unit.

    The lock is taken only then, after those of all other sessions of the unit, and is never
    waited for in the middle of a handler. So a handler that has it waits for no other lock.

    Args:
        kind: The kind of session.
        key: Its key, as users know it. At the commit its group may have become a supergroup.
        change: Makes the change. It must call no code of users.
    """

    kind: Opener
    key: str
    change: LateChange


class Entry(State):
    """
    One session of a unit: its lock, its record, and the state of its session object.

    It lives until the unit ends, or until the block raises in which the session object was made.

    Attributes:
        kind: The kind of sessions that wanted it first; its options apply.
        hold: The lock and the record.
        manager: The context manager that gave the hold, and frees it.
        session: The `Session`, or the instance of a solo state; `None` while only the lock is
            needed.
        payload: The record as it was loaded, or saved since.
        flat: Whether the record was loaded with nothing but scalars, which cannot change inside,
            and was not saved since.
        renews: Whether the commit renews the lifetime of a session without changes.
    """

    __slots__ = ("flat", "hold", "kind", "manager", "payload", "renews", "session")

    kind: Opener
    hold: Hold
    manager: AbstractContextManager[Hold]
    session: Any
    payload: bytes | None
    flat: bool
    renews: bool

    __init__ = object.__init__

    @staticmethod
    def of(kind: Opener, hold: Hold, manager: AbstractContextManager[Hold]) -> Entry:
        """Make the entry of a lock. A function takes half the time of a constructor."""
        entry: Entry = Entry()
        entry.kind = kind
        entry.hold = hold
        entry.manager = manager
        entry.session = entry.payload = entry.views = entry.solo = None
        entry.class_name = entry.life = None
        entry.flat = entry.renews = entry.changed = entry.forgotten = False
        entry.depth = 0
        return entry

    def begin_anew(self) -> None:
        """Drop all that a load which raised has left behind."""
        self.session = self.payload = self.views = self.solo = None
        self.class_name = self.life = None
        self.flat = self.changed = False

    @property
    def key(self) -> str:
        """The key as users know it."""
        return self.kind.key_at(self.hold.key)

    @property
    def place(self) -> tuple[Storage, str]:
        """The storage, and the key in it."""
        return self.hold.storage, self.hold.key

    def gets_core(self, core: Session) -> None:
        """See `State.gets_core`."""
        self.session = core

    def without_session(self, note: Note | None) -> Entry:
        """The same lock and record, as they were when the hold had noted something else."""
        self.depth = 0
        self.session = None
        self.hold.note = note
        fresh: Entry = Entry.of(self.kind, self.hold, self.manager)
        return fresh


# The table of all units of this process has the innermost one of each thread.
_units: dict[int, Unit] = cast("dict[int, Unit]", units)


def enter(
    wanted: Sequence[Wanted],
    update: object = None,
    use: Use = USUAL,
    handler: Callable[..., Any] | None = None,
) -> Unit | Block:
    """
    Enter a block of the unit of this thread, or begin a unit.

    Args:
        wanted: The sessions to lock, read and show.
        update: The update, for an `initial` that wants it.
        use: How the block uses the sessions.
        handler: The handler that the block is for; `None` for a block of `open`.

    Returns:
        An object with the `sessions` as handlers get them, in the order in which they are wanted,
        and with the method `leave`, which must be called in this thread.

    Raises:
        KeyError: A session has no record, and is not to be made. No block is entered.
        LockTimeoutError: A session stayed busy. No block is entered.
        SessionError: A session could not be read or made. No block is entered.
    """
    thread = threading.get_ident()
    unit = _units.get(thread)
    if unit is not None and not unit.is_of_this_thread():
        unit = None
    if unit is not None and not use.independent and not unit.is_inherited():
        return Block(use.unit or unit, wanted, update, use)
    outer = unit
    # Not in a constructor, which would be one more call for each update.
    unit = Unit()
    unit.sessions, unit.entries, unit.handler = [], {}, handler
    unit.calls = unit.blocks = unit.deferred = unit.watches = ()
    unit.is_large = False
    unit.ending = None
    unit.beside = use.beside
    unit._thread, unit._outer, unit._owner = thread, outer, threading.current_thread()
    # Not before: other threads may ask for the holder.
    _units[thread] = unit
    try:
        if len(wanted) > 1:
            unit.lock_in_order(wanted)
        for kind, key in wanted:
            unit.sessions.append(unit.open(kind, key, update, use))
    except BaseException as error:
        # No handler has used the sessions, so commit_on_error keeps nothing of them.
        unit._end("failed", error)
        unit.abandon()
        raise
    return unit


class Unit:
    """
    The sessions that one thread or greenlet has open, and the writes that wait for its end.

    It begins and ends with its outermost block, which is a handler or a block of `open`. No other
    thread sees it: a thread that a handler starts has no unit. A process that was forked meanwhile
    has a copy, whose end writes nothing and frees nothing, because locks and writes are the
    parent's.

    Attributes:
        sessions: The sessions of the outermost block, as handlers get them.
        entries: All sessions by storage and key, in the order in which they were locked.
        calls: The calls of `on_commit`.
        deferred: The changes that are made at the commit, in their order.
        ending: Writes that belong to the commit; `None` without any.
        blocks: The blocks inside that were not left yet, the innermost one last.
        handler: The handler; `None` for a block of `open`.
        watches: The figures of the unit, one object for each `on_event`.
        is_large: Whether it was logged that there are many sessions.
        beside: See `Use`.
    """

    __slots__ = (
        "_outer",
        "_owner",
        "_thread",
        "beside",
        "blocks",
        "calls",
        "deferred",
        "ending",
        "entries",
        "handler",
        "is_large",
        "sessions",
        "watches",
    )

    sessions: list[Any]
    entries: dict[tuple[Storage, str], Entry]
    calls: Sequence[Callable[[], object]]
    deferred: Sequence[Deferred]
    ending: Ending | None
    blocks: tuple[Block, ...]
    handler: Callable[..., Any] | None
    watches: tuple[Watch, ...]
    is_large: bool
    beside: Hold | None
    _thread: int
    _owner: threading.Thread
    _outer: Unit | None

    @staticmethod
    def find(storage: Storage, key: str) -> Session | None:
        """The session of a key that a block of this thread has open; `None` without one."""
        unit = _unit_of_thread()
        while unit is not None:
            entry = unit.entries.get((storage, key))
            if entry is not None and entry.depth:
                found: Session = entry.session
                return found
            unit = unit._outer
        return None

    @staticmethod
    def holding(storage: Storage, key: str) -> Unit | None:
        """The unit of this thread that has a key locked; `None` without one."""
        unit = _unit_of_thread()
        while unit is not None and ((storage, key) not in unit.entries or unit.is_inherited()):
            unit = unit._outer
        return unit

    @staticmethod
    def innermost() -> Unit | None:
        """The innermost unit of this thread; `None` without one."""
        return _unit_of_thread()

    @staticmethod
    def outermost() -> Unit | None:
        """The unit around all others of this thread, which is that of the handler."""
        unit = _unit_of_thread()
        while unit is not None and unit._outer is not None:
            unit = unit._outer
        return unit

    def lock_in_order(self, wanted: Sequence[Wanted]) -> None:
        """Lock several keys in one order, the same for all handlers."""
        for kind, key in sorted(wanted, key=_lock_order):
            self.lock(kind, key)
        if len(self.entries) > _MANY and not self.is_large:
            self.is_large = True
            _log.warning(
                "a handler has more than %d sessions open, and keeps all their locks until it "
                "returns; open each in a unit of its own: sessions.open(key, independent=True)",
                _MANY,
            )

    def lock(self, kind: Opener, key: str, *, is_watched: bool = False) -> Entry:
        """Lock a key, unless the unit has it already, and return its entry."""
        place = kind.storage, key
        entry = self.entries.get(place)
        if entry is None:
            if kind.on_event is not None and not is_watched:
                return self._lock_watched(kind, key, kind.on_event)
            try:
                if key in kind.pending:
                    kind.settle(key)
                hold = self._hold_of(kind.storage) if self.entries or self.beside else None
                if hold is None:
                    manager = kind.storage.hold(key, kind.lock_timeout)
                else:
                    manager = kind.storage.hold_beside(hold, key, kind.lock_timeout)
                entry = self.entries[place] = Entry.of(kind, manager.__enter__(), manager)
            except SessionError as error:
                kind.rename(error)
                if isinstance(error, DeadlockError):
                    _log.error("deadlock: %s", error)
                raise
        return entry

    def _hold_of(self, storage: Storage) -> Hold | None:
        """A hold of a storage that the thread has for the unit already."""
        holds = (entry.hold for entry in self.entries.values())
        beside = self.beside
        if beside is not None and beside.storage is not storage:
            beside = None
        return next((hold for hold in holds if hold.storage is storage), beside)

    def _lock_watched(self, kind: Opener, key: str, on_event: OnEvent) -> Entry:
        """The same for a kind whose `on_event` gets the figures."""
        for watch in self.watches:
            if watch.callback == on_event:
                break
        else:
            watch = Watch(on_event)
            self.watches += (watch,)
        watch.ask(kind.key_at(key))
        try:
            entry = self.lock(kind, key, is_watched=True)
        except BaseException:
            watch.give_up()
            raise
        watch.get(entry.hold)
        return entry

    def _end(self, outcome: Outcome, error: BaseException) -> None:
        """Note for the figures how the unit ends."""
        for watch in self.watches:
            watch.end(outcome, error)

    def open(self, kind: Opener, key: str, update: object, use: Use) -> Any:
        """Lock, load and open a session, as far as it is not, and give it as handlers get it."""
        entry = self.lock(kind, key)
        try:
            if entry.session is None:
                # Its options apply, not those of a block that was undone, or that only locked.
                entry.kind = kind
                try:
                    shown = kind.load(entry, update, use)
                except DecodeError as error:
                    kind.rename(error, key)
                    if not kind.sets_aside(entry.hold, entry.payload, error):
                        raise
                    entry.begin_anew()
                    shown = kind.load(entry, update, use)
            else:
                if entry.views is not None:
                    settle(entry.session)
                shown = kind.show(entry, update)
        except SessionError as error:
            kind.rename(error, key)
            raise
        # Not before: `initial` may delete the session, which is not open yet.
        entry.depth += 1
        if use.renew:
            entry.renews = True
        return shown

    def defer(self, kind: Opener, key: str, change: LateChange) -> None:
        """Change a session at the commit; see `Deferred`. A block that raises drops the change."""
        self.deferred = [*self.deferred, Deferred(kind, key, change)]

    def _make_deferred(self) -> None:
        """Lock the sessions of all deferred changes, in one order, and change them."""
        placed = [(kind, kind.place_of(key), change) for kind, key, change in self.deferred]
        self.lock_in_order([(kind, place) for kind, place, _ in placed])
        for kind, place, change in placed:
            session = self.open(kind, place, None, _QUIET)
            entry = self.entries[kind.storage, place]
            try:
                entry.kind = kind.living(change(session))
            finally:
                entry.depth -= 1

    def set_down(self, entry: Entry) -> Entry:
        """Note the changes of a closed session, and go on without the session object."""
        before = entry.payload, entry.marks
        try:
            entry.kind.encode(entry)
        except SessionError as error:
            entry.kind.rename(error, entry.hold.key)
            raise
        # Nothing is written yet, and a block that raises brings the session object back.
        entry.payload, entry.marks = before
        fresh = self.entries[entry.place] = entry.without_session(entry.hold.note)
        return fresh

    def is_inherited(self) -> bool:
        """Whether this process was forked while its parent had the unit."""
        # Not any(): its generator would cost more than the question.
        for entry in self.entries.values():  # noqa: SIM110
            if entry.hold.is_inherited():
                return True
        return False

    def is_of_this_thread(self) -> bool:
        """False for a unit of an ended thread, whose identifier this thread has now."""
        return self._owner is threading.current_thread()

    def leave(self, error: BaseException | None) -> None:
        """
        Leave the outermost block: save all sessions, or with an error none, and free the locks.

        Raises:
            EncodeError: A field would not come back; nothing was written.
            LockLostError: A lock was lost before the commit.
            StorageError: A storage failed. Its attribute `written` has the keys of other storages
                that were written before.
        """
        calls: Sequence[Callable[[], object]] = ()
        try:
            if error is not None:
                if self.watches:
                    self._end("raised", error)
                _commit(_kept(self.entries.values(), error), self.ending, self.watches)
            else:
                if self.deferred and not self.is_inherited():
                    self._make_deferred()
                if _commit(self.entries.values(), self.ending, self.watches):
                    calls = self.calls
        except BaseException as failure:
            self._end("failed", failure)
            raise
        finally:
            self.abandon()
        if calls:
            _call(calls)

    def abandon(self) -> None:
        """Close and free everything that is left, perhaps after an interruption at the end."""
        # A block in a generator may be left later, and must find nothing to do.
        self.blocks = ()
        if self._outer is None and _units.get(self._thread) is self:
            del _units[self._thread]
        else:
            self._unlink()
        entries = self.entries
        try:
            while entries:
                # The last one first.
                entry = entries.popitem()[1]
                # Both refer to each other, and would stay until the garbage collector comes.
                entry.session = None
                entry.depth = 0
                # A write that is still noted is dropped.
                entry.hold.note = None
                entry.manager.__exit__(None, None, None)
        except BaseException:
            # The others are freed even if one cannot be.
            self.abandon()
            raise
        if self.watches:
            self._tell()

    def _tell(self) -> None:
        """Give the figures of the unit to each `on_event`, once."""
        watches, self.watches = self.watches, ()
        handler = self._named_handler()
        for watch in watches:
            watch.tell(handler)

    def _named_handler(self) -> str | None:
        """The module and the name of the handler of the unit, or of a unit around it."""
        unit: Unit | None = self
        while unit is not None and unit.handler is None:
            unit = unit._outer
        if unit is None:
            return None
        function: Any = unit.handler
        name = getattr(function, "__qualname__", type(function).__qualname__)
        return f"{function.__module__}.{name}"

    @property
    def holder(self) -> str:
        """The handler, in words. Any thread may ask."""
        handler = self._named_handler()
        if handler is not None:
            return f"handler {handler}"
        return f"a block of open in the thread {self._owner.name}"

    def _unlink(self) -> None:
        """Be a unit of the thread no more, if there is another one."""
        unit = _units.get(self._thread)
        if unit is self and self._outer is not None:
            _units[self._thread] = self._outer
        # A block of a generator may outlive the block around it.
        while unit is not None and unit._outer is not self:
            unit = unit._outer
        if unit is not None:
            unit._outer = self._outer


def _unit_of_thread() -> Unit | None:
    """The innermost unit of this thread or greenlet."""
    unit = _units.get(threading.get_ident())
    return unit if unit is not None and unit.is_of_this_thread() else None


class _Before(NamedTuple):
    """An entry, its closed session and the note of its hold, as they were before a block."""

    entry: Entry
    session: Any
    note: Note | None


class Block:
    """
    One block inside a unit, from entering it to leaving it.

    Attributes:
        unit: The unit.
        sessions: The sessions of the block, as handlers get them.
    """

    __slots__ = ("_before", "_calls", "_deferred", "_shown", "sessions", "unit")

    def __init__(self, unit: Unit, wanted: Sequence[Wanted], update: object, use: Use) -> None:
        self.unit = unit
        self.sessions: list[Any] = []
        # The entries that it has open.
        self._shown: list[Entry] = []
        # The sessions that were first opened, deleted or moved in it or in a block inside, by
        # storage and key, as they were before.
        self._before: dict[tuple[Storage, str], _Before] = {}
        self._calls = len(unit.calls)
        self._deferred = len(unit.deferred)
        unit.blocks += (self,)
        try:
            unit.lock_in_order(wanted)
            for kind, key in wanted:
                entry = unit.lock(kind, key)
                if entry.session is None:
                    self.will_change(entry)
                self.sessions.append(unit.open(kind, key, update, use))
                self._shown.append(entry)
        except BaseException:
            # No handler has used the sessions, so commit_on_error keeps nothing of them.
            self._close()
            self._undo([])
            raise

    def will_change(self, entry: Entry) -> None:
        """Remember an entry before it is opened first, deleted or moved, in case of a raise."""
        self._before.setdefault(entry.place, _Before(entry, entry.session, entry.hold.note))

    def forget_note(self, place: tuple[Storage, str]) -> None:
        """Do not bring back the noted write of a key, because it is done."""
        if (before := self._before.get(place)) is not None:
            self._before[place] = before._replace(note=None)

    def leave(self, error: BaseException | None) -> None:
        """
        Leave the block. With an error, the sessions that it opened first are undone.

        A block that outlives its unit, in a generator perhaps, has nothing left to do.
        """
        if self not in self.unit.blocks:
            return
        # Not the last one: a generator may be left while a later block is open.
        position = self.unit.blocks.index(self)
        self._close()
        kept = [
            entry.place for entry in _kept(map(self.unit.entries.__getitem__, self._before), error)
        ]
        if position:
            around = self.unit.blocks[position - 1]
            for place in kept:
                around._before.setdefault(place, self._before[place])
        if error is not None:
            self._undo(kept)

    def abandon(self) -> None:
        """See `Unit.abandon`; the unit around it frees all."""

    def _close(self) -> None:
        """Close the sessions that no other block has open."""
        blocks = self.unit.blocks
        self.unit.blocks = tuple(block for block in blocks if block is not self)
        for entry in self._shown:
            if entry.views is not None and entry.session is not None:
                settle(entry.session)
            entry.depth -= 1

    def _undo(self, kept: list[tuple[Storage, str]]) -> None:
        """Let all but some sessions be what they were before the block. Their locks stay."""
        entries = self.unit.entries
        for place, before in self._before.items():
            if place in kept:
                continue
            fresh = entries[place].without_session(before.note)
            if before.session is not None:
                # It was closed before the block, and can be opened again.
                fresh = before.entry
                fresh.session = before.session
            entries[place] = fresh
        self.unit.calls = self.unit.calls[: self._calls]
        self.unit.deferred = self.unit.deferred[: self._deferred]


def _kept(entries: Iterable[Entry], error: BaseException | None) -> list[Entry]:
    """The entries whose changes are kept when a block ends with an error, or without one."""
    if error is None:
        return list(entries)
    if not isinstance(error, Exception):
        return []
    return [entry for entry in entries if entry.kind.commit_on_error]


def _commit(  # noqa: C901, PLR0912 -- each update passes here
    entries: Collection[Entry], ending: Ending | None, watches: Sequence[Watch]
) -> bool:
    """
    Encode all sessions first, so that an `EncodeError` leaves all records; then write them.

    Returns:
        False in a process that was forked while its parent had the sessions, and writes nothing.
    """
    storage: Storage | None = None
    holds: list[Hold] = []
    is_noted = False
    for entry in entries:
        hold = entry.hold
        if hold.is_inherited():
            return False
        if not holds:
            storage = hold.storage
        elif hold.storage is not storage:
            storage = None
        holds.append(hold)
        if entry.session is not None:
            try:
                entry.kind.encode(entry)
            except SessionError as error:
                entry.kind.rename(error, hold.key)
                raise
        if hold.note is not None:
            is_noted = True
    if not is_noted:
        return True
    if watches:
        for watch in watches:
            watch.commit()
    if storage is None:
        _commit_each(entries, ending)
        return True
    try:
        if ending is None:
            storage.commit(holds)
        else:
            _commit_with(ending, storage, holds)
    except (LockLostError, StorageError) as error:
        _rename(error, entries)
        raise
    return True


def _commit_with(ending: Ending | None, storage: Storage, holds: Sequence[Hold]) -> None:
    """Write the sessions of one storage, and what belongs to the commit if it lies there, too."""
    if ending is None or ending.storage is not storage:
        storage.commit(holds)
    else:
        changes = ending.changes()
        # Before: a hold does not keep its note.
        notes = [(hold.key, hold.note) for hold in holds if hold.note is not None]
        try:
            storage.commit(holds, changes)
        except StorageError as error:
            if error.outcome is None or not (ending.happened() and _are_written(storage, notes)):
                raise
        ending.done()


def _are_written(storage: Storage, notes: Iterable[tuple[str, Note]]) -> bool:
    """Whether a commit was done whose outcome is unknown, as far as the records tell."""
    try:
        return all(storage.get(key) == note.payload for key, note in notes)
    except StorageError:
        return False


def _commit_each(entries: Iterable[Entry], ending: Ending | None) -> None:
    """Write the sessions of one storage after the other."""
    groups: dict[Storage, list[Entry]] = {}
    for entry in entries:
        groups.setdefault(entry.hold.storage, []).append(entry)
    written: list[Entry] = []
    # Memory fails least, so it is written last. Before it comes the storage with the end of the
    # update: if another one fails, the update has not ended.
    last = None if ending is None else ending.storage
    for storage in sorted(groups, key=lambda each: (not each.persistent, each is last)):
        holds, noted = [], []
        for entry in groups[storage]:
            holds.append(entry.hold)
            if entry.hold.note is not None:
                noted.append(entry)
        if not noted:
            continue
        try:
            _commit_with(ending, storage, holds)
        except (LockLostError, StorageError) as error:
            _rename(error, groups[storage])
            error.written = (*(entry.key for entry in written), *error.written)
            raise
        written += noted


def _rename(error: LockLostError | StorageError, entries: Iterable[Entry]) -> None:
    """Let an error of a commit speak of the keys as users know them."""
    by_place = {entry.hold.key: entry for entry in entries}
    if error.key in by_place:
        by_place[error.key].kind.rename(error)
        _log_loss(error)
    error.written = tuple(by_place[place].key for place in error.written if place in by_place)


def _log_loss(error: SessionError) -> None:
    """Log that the lock of a session was lost; other errors are for the caller alone."""
    if isinstance(error, LockLostError):
        _log.error("lock lost: %s", error)


def _call(calls: Sequence[Callable[[], object]]) -> None:
    """Make all the calls of `on_commit`, and raise the first exception that one of them raised."""
    failures = []
    for call in calls:
        try:
            call()
        except Exception as error:  # noqa: BLE001 -- the other calls are made all the same
            failures.append(error)
    while len(failures) > 1:
        # Its text may hold a user's words.
        _log.error("a function given to on_commit raised %s", type(failures.pop(1)).__name__)
    try:
        if failures:
            raise failures[0]
    finally:
        # They refer to this frame.
        del failures


def _lock_order(wanted: Wanted) -> tuple[str, str, int]:
    # The first two are the same in all processes.
    kind, key = wanted
    return kind.storage_name, key, id(kind.storage)


def on_commit(function: Callable[P, object], /, *args: P.args, **kwargs: P.kwargs) -> None:
    """
    Call a function once the sessions of this handler are saved, and never if they are not.

    The calls are made in order, in this thread, after the locks are free. Where a block inside
    the handler raises, its calls are dropped. If one of the calls raises, the sessions stay saved,
    the other calls are made, and the first exception goes on as the handler's would. Outside of
    handlers and blocks the function is called at once.

    Args:
        function: The function, such as `bot.send_message`.
        args: Its arguments by position.
        kwargs: Its arguments by keyword.
    """
    if not callable(function):
        raise TypeError(
            "on_commit takes a function and its arguments, not an object of type "
            f"{type(function).__name__}; write on_commit(bot.reply_to, message, ...)"
        )
    unit = _unit_of_thread()
    if unit is None:
        function(*args, **kwargs)
    else:
        unit.calls = [*unit.calls, partial(function, *args, **kwargs)]


def save(session: object) -> None:
    """
    Write one session now, keep its lock and go on: a later failure does not undo this write.

    Raises:
        EncodeError: A field holds something that would not come back; nothing was written.
        SessionClosedError: The handler has returned.
        StorageError: The storage failed; the old record is still whole.
    """
    entry = _open_state(session, "save the fields")
    if not isinstance(entry, Entry):
        raise SessionError(
            "could not save a session that was made by hand: it has no storage; change the one "
            "that Sessions.open(key) gives"
        )
    if entry.hold.is_inherited():
        raise SessionError(
            f"could not save session {entry.key!r}: this process was forked while a handler had "
            "the session, which only the parent can write; use Sessions.open in the child, "
            "outside of the handler"
        )
    before = entry.payload, entry.marks, entry.hold.note
    try:
        entry.kind.encode(entry)
        note = entry.hold.note
        entry.hold.flush()
        entry.flat = False
    except BaseException as error:
        # A handler that goes on all the same still has everything to write.
        entry.payload, entry.marks, entry.hold.note = before
        if isinstance(error, SessionError):
            entry.kind.rename(error, entry.hold.key)
            _log_loss(error)
        raise
    if note is not None and (unit := Unit.holding(*entry.place)) is not None:
        for watch in unit.watches:
            watch.write(entry.hold, note)
    if before[2] is not None:
        _forget_note(entry.place)


def _forget_note(place: tuple[Storage, str]) -> None:
    """Let no block that raises bring back a noted write that `save` has done."""
    unit = _unit_of_thread()
    while unit is not None:
        for block in unit.blocks:
            block.forget_note(place)
        unit = unit._outer


def forget(session: object) -> None:
    """
    Delete the record of the session at the commit; the next session starts from `initial`.

    Changes of the handler before or after make no difference. If the handler raises, the record
    stays, unless `commit_on_error` keeps the changes of the handler.

    Raises:
        SessionClosedError: The handler has returned.
    """
    _open_state(session, "forget the record").forgotten = True


def _open_state(session: object, attempt: str) -> State:
    state = state_behind(session)
    refuse_closed(state, attempt)
    return state


@contextmanager
def locked(*wanted: Wanted, use: Use = USUAL) -> Iterator[list[Entry]]:
    """
    A block that only locks and reads keys, so that writes can be noted in their holds.

    A session that the unit has changed and closed is noted first. One that it has open is not.
    """
    block = enter((), use=use)
    unit = block.unit if isinstance(block, Block) else block
    try:
        unit.lock_in_order(wanted)
        entries = [unit.lock(kind, key) for kind, key in wanted]
        for number, entry in enumerate(entries):
            if entry.depth:
                continue
            if isinstance(block, Block):
                block.will_change(entry)
            if entry.session is not None:
                entries[number] = unit.set_down(entry)
        yield entries
    except BaseException as error:
        block.leave(error)
        raise
    block.leave(None)


@contextmanager
def noted(wanted: Wanted, use: Use) -> Iterator[Any]:
    """
    A block of one session whose changes are encoded when the block is left.

    Inside a unit they are noted then, and the session object is dropped. So the next block of the
    session makes a new one from the noted record, and is undone by itself if it raises. No other
    block may have the session open.

    Raises:
        EncodeError: A field would not come back. The block is undone.
    """
    block = enter((wanted,), None, use)
    try:
        try:
            yield block.sessions[0]
            if isinstance(block, Block):
                kind, key = wanted
                entry = block.unit.entries[kind.storage, key]
                if entry.session is not None:
                    block.unit.set_down(entry)
        except BaseException as error:
            block.leave(error)
            raise
        block.leave(None)
    except BaseException:
        # A KeyboardInterrupt may have come before the block was left.
        block.abandon()
        raise


class Opening(Generic[T]):
    """
    A block as a context manager, which is entered and left once, in one thread.

    Args:
        wanted: The sessions of the block.
        update: The update, for an `initial` that wants it.
        use: How the block uses the sessions.
        give: Makes the target of the `with` statement from the sessions.
    """

    __slots__ = ("_block", "_give", "_update", "_use", "_wanted")

    _block: Unit | Block

    def __init__(
        self,
        wanted: Sequence[Wanted],
        update: object,
        use: Use,
        give: Callable[[list[Any]], T],
    ) -> None:
        self._wanted = wanted
        self._update = update
        self._use = use
        self._give = give

    def __getattr__(self, name: str) -> NoReturn:
        raise AttributeError(
            f"no session is open yet, so it has no {name!r}; write "
            "with sessions.open(key) as session:"
        )

    def __enter__(self) -> T:
        self._block = enter(self._wanted, self._update, self._use)
        return self._give(self._block.sessions)

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        try:
            self._block.leave(error)
        except BaseException:
            # A KeyboardInterrupt may have come before the block was left.
            self._block.abandon()
            raise
