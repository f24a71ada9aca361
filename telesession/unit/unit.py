"""
Units of work: the sessions that one handler call uses, saved together or not at all.

A handler begins a unit. The decorated functions and the blocks of `Sessions.open` inside it join
that unit. Each of them is a *block* of the unit; see `blocks.py`. A unit

1. locks the sessions that a block wants, in one order for all handlers, and reads their records;
2. makes session objects of the records for the handler;
3. encodes all sessions when the outermost block returns, and then writes them, one storage after
   the other; if the block raises, the unit writes nothing;
4. frees the locks;
5. calls the functions that were given to `on_commit`.

This module knows the order of these steps and nothing of fields, codecs, Telegram or SQL: a kind of
sessions translates, and a storage locks, reads and writes.
"""

from __future__ import annotations

import logging
import threading
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, cast

from telesession.errors import (
    DeadlockError,
    DecodeError,
    LockLostError,
    SessionError,
    StorageError,
)
from telesession.locks import units
from telesession.session import Session, collect_view_changes
from telesession.unit.commit import commit_each, commit_with, kept_entries, translate_commit_error
from telesession.unit.entry import USUAL, Deferred, Entry, Use
from telesession.unit.events import Watch

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from telesession.storage.base import Hold, Storage
    from telesession.unit.endings import Ending
    from telesession.unit.entry import LateChange, OpensSessions, Wanted
    from telesession.unit.events import OnEvent, Outcome

_log = logging.getLogger("telesession")

# A unit of more sessions than this is logged, because it keeps every lock until its end.
_MANY = 100
# Without a change nothing is written.
_QUIET = Use(renew=False)


class ThreadToken:
    """
    Tells a thread or greenlet from a later one with the same identifier.

    Attributes:
        thread: The identifier.
    """

    __slots__ = ("thread",)

    def __init__(self, thread: int) -> None:
        self.thread = thread


# A context variable, because each thread and each greenlet has its own, also in a forked child. To
# read one costs a fifth of `threading.current_thread()`. A copied context may have the token of
# another thread, so the identifier is compared, too.
_token: ContextVar[ThreadToken | None] = ContextVar("telesession_thread", default=None)
# The table of all units of this process has the innermost one of each thread.
_units: dict[int, Unit] = cast("dict[int, Unit]", units)


def begin(  # noqa: C901 -- each update passes here
    wanted: Sequence[Wanted],
    update: object = None,
    use: Use = USUAL,
    handler: Callable[..., Any] | None = None,
) -> Unit | None:
    """
    Begin a unit with its outermost block; see `enter` for the arguments and the errors.

    Returns:
        The unit; `None` if the thread has a unit that the block joins.
    """
    thread = threading.get_ident()
    token = _token.get()
    if token is None or token.thread != thread:
        token = ThreadToken(thread)
        _token.set(token)
    former = outer = _units.get(thread)
    if outer is not None:
        if outer.token is not token:
            outer = None
        elif not use.independent and not outer.is_inherited():
            return None
    # Not in a constructor, which would be one more call for each update.
    unit = Unit()
    unit.sessions, unit.entries, unit.handler = [], {}, handler
    unit.calls = unit.blocks = unit.deferred = unit.watches = ()
    unit.is_large = False
    unit.ending = None
    unit.beside = use.beside
    unit.token, unit.outer, unit.former = token, outer, former
    # Last, because other threads read the attributes of a unit that they find here.
    _units[thread] = unit
    try:
        if len(wanted) > 1:
            unit.lock_in_order(wanted)
        for kind, place in wanted:
            unit.sessions.append(unit.open(kind, place, update, use))
    except BaseException as error:
        # No handler has used the sessions, so commit_on_error does not apply.
        try:
            unit.note_outcome("failed", error)
            unit.abandon()
        except BaseException:
            # A KeyboardInterrupt may have come before all was freed.
            unit.abandon()
            raise
        raise
    return unit


def unit_of_thread() -> Unit | None:
    """The innermost unit of this thread or greenlet; `None` without one."""
    unit = _units.get(threading.get_ident())
    return None if unit is None or unit.token is not _token.get() else unit


class Unit:
    """
    The sessions that one thread or greenlet has open, and their writes until the commit.

    It begins and ends with its outermost block, which is a handler or a block of `open`. It belongs
    to one thread: a thread that a handler starts has no unit. A process that is forked during the
    unit has a copy. The end of the copy writes nothing and frees nothing, because the locks and the
    writes belong to the parent.

    Attributes:
        sessions: The sessions of the outermost block, as handlers get them.
        entries: (storage, place) -> session, in the order of the locks.
        calls: The calls of `on_commit`.
        deferred: The changes that are made at the commit, in their order.
        ending: Writes that belong to the commit; `None` without any.
        blocks: The blocks inside that were not left yet, the innermost one last.
        token: The token of its thread; `None` once the unit has ended.
        outer: The unit around it; `None` without one.
        former: The unit that its thread had in the table of units before; `None` without one. It
            may be of an ended thread with the same identifier.
        handler: The handler; `None` for a block of `open`.
        watches: The figures of the unit, one object for each `on_event`.
        is_large: Whether the warning about many sessions was logged.
        beside: See `Use`.
    """

    __slots__ = (
        "beside",
        "blocks",
        "calls",
        "deferred",
        "ending",
        "entries",
        "former",
        "handler",
        "is_large",
        "outer",
        "sessions",
        "token",
        "watches",
    )

    sessions: list[Any]
    entries: dict[tuple[Storage, str], Entry]
    calls: Sequence[Callable[[], object]]
    deferred: Sequence[Deferred]
    ending: Ending | None
    blocks: tuple[Any, ...]
    handler: Callable[..., Any] | None
    watches: tuple[Watch, ...]
    is_large: bool
    beside: Hold | None
    token: ThreadToken | None
    outer: Unit | None
    former: Unit | None

    @property
    def unit(self) -> Unit:
        """The unit itself, as `Block.unit`."""
        return self

    @staticmethod
    def find(storage: Storage, place: str) -> Session | None:
        """The session of a place that a block of this thread has open; `None` without one."""
        unit = unit_of_thread()
        while unit is not None:
            entry = unit.entries.get((storage, place))
            if entry is not None and entry.depth:
                found: Session = entry.session
                return found
            unit = unit.outer
        return None

    @staticmethod
    def owner_of(storage: Storage, place: str) -> Unit | None:
        """The unit of this thread that has a place locked; `None` without one."""
        unit = unit_of_thread()
        while unit is not None and ((storage, place) not in unit.entries or unit.is_inherited()):
            unit = unit.outer
        return unit

    @staticmethod
    def outermost() -> Unit | None:
        """The unit around all others of this thread, which is that of the handler."""
        unit = unit_of_thread()
        while unit is not None and unit.outer is not None:
            unit = unit.outer
        return unit

    def lock_in_order(self, wanted: Sequence[Wanted]) -> None:
        """Lock several places in one order, the same for all handlers."""
        for kind, place in sorted(wanted, key=_lock_order):
            self.lock(kind, place)
        if len(self.entries) > _MANY and not self.is_large:
            self.is_large = True
            _log.warning(
                "a handler has more than %d sessions open, and keeps all their locks until it "
                "returns; open each in a unit of its own: sessions.open(key, independent=True)",
                _MANY,
            )

    def lock(self, kind: OpensSessions, place: str, *, is_watched: bool = False) -> Entry:
        """Lock a place, unless the unit has locked it already, and return its entry."""
        lock_key = kind.storage, place
        entry = self.entries.get(lock_key)
        if entry is None:
            if kind.on_event is not None and not is_watched:
                return self._lock_watched(kind, place, kind.on_event)
            try:
                if place in kind.pending:
                    kind.finish_move(place)
                storage = kind.storage
                beside = self._hold_of(storage) if self.entries or self.beside else None
                # Before the lock: a KeyboardInterrupt after the call must find it in the unit.
                entry = Entry()
                manager, hold = storage.enter_hold(place, kind.lock_timeout, beside)
                # Not by a call, as each update passes here.
                self.entries[lock_key] = entry
                entry.kind, entry.hold, entry.manager = kind, hold, manager
                entry.session = entry.payload = entry.views = entry.solo = None
                entry.class_name = entry.life = None
                entry.flat = entry.renews = entry.changed = entry.forgotten = False
                entry.depth = 0
            except SessionError as error:
                kind.translate_error(error)
                if isinstance(error, DeadlockError):
                    _log.error("deadlock: %s", error)
                raise
        return entry

    def _hold_of(self, storage: Storage) -> Hold | None:
        """A hold of a storage that the unit has already, or `beside`; `None` without one."""
        holds = (entry.hold for entry in self.entries.values())
        beside = self.beside
        if beside is not None and beside.storage is not storage:
            beside = None
        return next((hold for hold in holds if hold.storage is storage), beside)

    def _lock_watched(self, kind: OpensSessions, place: str, on_event: OnEvent) -> Entry:
        """Lock a place of a kind whose `on_event` gets the figures; see `lock`."""
        for watch in self.watches:
            if watch.callback == on_event:
                break
        else:
            watch = Watch(on_event)
            self.watches += (watch,)
        watch.begin_wait(kind.key_of_place(place))
        try:
            entry = self.lock(kind, place, is_watched=True)
        except BaseException:
            watch.fail_wait()
            raise
        watch.end_wait(entry.hold)
        return entry

    def note_outcome(self, outcome: Outcome, error: BaseException) -> None:
        """Note the outcome of the unit for its figures."""
        for watch in self.watches:
            watch.set_outcome(outcome, error)

    def open(self, kind: OpensSessions, place: str, update: object, use: Use) -> Any:
        """Lock and load a session if needed, open it, and return it as handlers get it."""
        entry = self.lock(kind, place)
        try:
            if entry.session is None:
                # Its options apply, not those of a block that was undone or that only locked.
                entry.kind = kind
                try:
                    shown = kind.load(entry, update, use)
                except DecodeError as error:
                    kind.translate_error(error, place)
                    if not kind.sets_aside(entry.hold, entry.payload, error):
                        raise
                    entry.reset()
                    shown = kind.load(entry, update, use)
            else:
                if entry.views is not None:
                    collect_view_changes(entry.session)
                shown = kind.show(entry, update)
        except SessionError as error:
            kind.translate_error(error, place)
            raise
        # Last, because `initial` may delete the session, which is not open yet.
        entry.depth += 1
        if use.renew:
            entry.renews = True
        return shown

    def defer(self, kind: OpensSessions, key: str, change: LateChange) -> None:
        """Change a session at the commit; see `Deferred`. A block that raises drops the change."""
        self.deferred = [*self.deferred, Deferred(kind, key, change)]

    def _make_deferred(self) -> None:
        """Lock the sessions of all deferred changes, in one order, and change them."""
        placed = [(kind, kind.place_of_key(key), change) for kind, key, change in self.deferred]
        self.lock_in_order([(kind, place) for kind, place, _ in placed])
        for kind, place, change in placed:
            session = self.open(kind, place, None, _QUIET)
            entry = self.entries[kind.storage, place]
            try:
                entry.kind = kind.with_lifetime(change(session))
            finally:
                entry.depth -= 1

    def note_and_drop(self, entry: Entry) -> Entry:
        """Note the changes of a closed session, and drop its session object."""
        before = entry.payload, entry.marks
        try:
            entry.kind.encode(entry)
        except SessionError as error:
            entry.kind.translate_error(error, entry.hold.key)
            raise
        # Nothing is written yet, and a block that raises restores the session object.
        entry.payload, entry.marks = before
        fresh = self.entries[entry.lock_key] = entry.without_session(entry.hold.note)
        return fresh

    def is_inherited(self) -> bool:
        """
        Whether this process was forked while its parent had the unit.

        If so, the end of the unit writes and frees nothing, because the parent does.
        """
        return any(entry.hold.is_inherited() for entry in self.entries.values())

    def leave(self, error: BaseException | None) -> None:
        """
        Leave the outermost block: save all sessions, or with an error none, and free the locks.

        After an error, the sessions of kinds with `commit_on_error` are saved all the same.

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
                    self.note_outcome("raised", error)
                self._commit(kept_entries(self.entries.values(), error))
            else:
                if self.deferred and not self.is_inherited():
                    self._make_deferred()
                if self._commit(self.entries.values()):
                    calls = self.calls
        except BaseException as failure:
            self.note_outcome("failed", failure)
            raise
        finally:
            self.abandon()
        if calls:
            _call(calls)

    def _commit(  # noqa: C901, PLR0912 -- each update passes here
        self, entries: Collection[Entry]
    ) -> bool:
        """
        Encode all sessions first, so that an `EncodeError` leaves all records; then write them.

        Returns:
            False in a process that was forked during the unit. It writes nothing.
        """
        storage: Storage | None = None
        holds: list[Hold] = []
        is_noted = False
        for entry in entries:
            hold = entry.hold
            # As `Hold.is_inherited`, without a call, because each update passes here.
            if hold.process_state is not hold.storage.process_state:
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
                    entry.kind.translate_error(error, hold.key)
                    raise
            if hold.note is not None:
                is_noted = True
        if not is_noted:
            return True
        for watch in self.watches:
            watch.begin_commit()
        if storage is None:
            commit_each(entries, self.ending)
            return True
        try:
            if self.ending is None:
                storage.commit(holds)
            else:
                commit_with(self.ending, storage, holds)
        except (LockLostError, StorageError) as error:
            translate_commit_error(error, entries)
            raise
        return True

    def abandon(self) -> None:
        """Close all sessions and free all locks, also after an interruption at the end."""
        # A block in a generator may be left later. It finds itself missing and does nothing.
        self.blocks = ()
        if self.token is not None:
            self._end(self.token.thread)
        entries = self.entries
        try:
            # The last one first. Each stays among the entries until all are free, because an
            # interruption may come between any two steps.
            for entry in reversed(entries.values()):
                # The two refer to each other, and would stay until a garbage collection.
                entry.session = None
                entry.depth = 0
                # A write that is still noted is dropped.
                hold, manager = entry.hold, entry.manager
                hold.note = None
                # No manager is left twice, even if it raised.
                entry.manager = None
                if manager is not None and not (hold.is_left and manager is hold):
                    manager.__exit__(None, None, None)
            entries.clear()
        except BaseException:
            # The other locks are freed even if one cannot be.
            for entry in entries.values():
                if entry.manager is None:
                    entry.hold.leave_again()
            self.abandon()
            raise
        if self.watches:
            self._report()

    def _report(self) -> None:
        """Give the figures of the unit to each `on_event`, once."""
        watches, self.watches = self.watches, ()
        handler = self._named_handler()
        for watch in watches:
            watch.report(handler)

    def _named_handler(self) -> str | None:
        """The module and the name of the handler of the unit, or of a unit around it."""
        unit: Unit | None = self
        while unit is not None and unit.handler is None:
            unit = unit.outer
        if unit is None:
            return None
        function: Any = unit.handler
        name = getattr(function, "__qualname__", type(function).__qualname__)
        return f"{function.__module__}.{name}"

    @property
    def holder(self) -> str:
        """The handler, in words. Any thread may read it."""
        handler = self._named_handler()
        if handler is not None:
            return f"handler {handler}"
        token = self.token
        names = [
            each.name for each in threading.enumerate() if token and each.ident == token.thread
        ]
        return f"a block of open in the thread {names[0]}" if names else "a block of open"

    def _end(self, thread: int) -> None:
        """Be no unit of the thread any more. It may be repeated after an interruption."""
        unit = _units.get(thread)
        if unit is not self:
            # A block of a generator may outlive the block around it.
            while unit is not None and unit.outer is not self:
                unit = unit.outer
            if unit is not None:
                unit.outer, unit.former = self.outer, self.former
        elif self.former is None:
            del _units[thread]
        else:
            _units[thread] = self.former
        self.token = None


def _call(calls: Sequence[Callable[[], object]]) -> None:
    """Make all the calls of `on_commit`, and raise the first exception that one of them raised."""
    failures = []
    for call in calls:
        try:
            call()
        except Exception as error:  # noqa: BLE001 -- the other calls are made all the same
            failures.append(error)
    while len(failures) > 1:
        # Not the text of the exception, which may show stored values.
        _log.error("a function given to on_commit raised %s", type(failures.pop(1)).__name__)
    try:
        if failures:
            raise failures[0]
    finally:
        # The exceptions refer to this frame, and the frame to them.
        del failures


def _lock_order(wanted: Wanted) -> tuple[str, str, int]:
    # The first two are the same in all processes.
    kind, place = wanted
    return kind.storage_name, place, id(kind.storage)
