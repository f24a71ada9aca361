"""Blocks: parts of a unit that an exception undoes alone, and the ways to enter them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, NoReturn, TypeVar, cast

from telesession.session import collect_view_changes
from telesession.unit.commit import kept_entries
from telesession.unit.entry import USUAL, Entry, Use
from telesession.unit.unit import Unit, begin, unit_of_thread

if TYPE_CHECKING:
    from telesession.storage.base import Note, Storage
    from telesession.unit.entry import Wanted

T = TypeVar("T")


def enter(
    wanted: Sequence[Wanted],
    update: object = None,
    use: Use = USUAL,
    handler: Callable[..., Any] | None = None,
    within: Unit | None = None,
) -> Unit | Block:
    """
    Enter a block of the unit of this thread, or begin a unit.

    Args:
        wanted: The sessions to lock, read and show.
        update: The update, which some functions given as `initial` take.
        use: How the block uses the sessions.
        handler: The handler that the block is for; `None` for a block of `open`.
        within: The unit of this thread that the block joins; the innermost one by default.

    Returns:
        An object with the `sessions` as handlers get them, in the order of `wanted`, and with the
        method `leave`, which must be called in this thread.

    Raises:
        KeyError: A session has no record, and `use` makes none. No block is entered.
        LockTimeoutError: A session stayed busy. No block is entered.
        SessionError: A session could not be read or made. No block is entered.
    """
    return begin(wanted, update, use, handler) or join(wanted, update, use, within)


def join(
    wanted: Sequence[Wanted], update: object, use: Use = USUAL, within: Unit | None = None
) -> Block:
    """Enter a block of a unit of this thread; see `enter` for the arguments and the errors."""
    return Block(within or cast("Unit", unit_of_thread()), wanted, update, use)


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
        # The entries that the block has open.
        self._shown: list[Entry] = []
        # (storage, place) -> the session before the block, if the block or one inside it was the
        # first to open, delete or move it.
        self._before: dict[tuple[Storage, str], _Before] = {}
        self._calls = len(unit.calls)
        self._deferred = len(unit.deferred)
        unit.blocks += (self,)
        try:
            unit.lock_in_order(wanted)
            for kind, place in wanted:
                entry = unit.lock(kind, place)
                if entry.session is None:
                    self.will_change(entry)
                self.sessions.append(unit.open(kind, place, update, use))
                self._shown.append(entry)
        except BaseException:
            # No handler has used the sessions, so commit_on_error keeps nothing of them.
            self._close()
            self._undo([])
            raise

    def will_change(self, entry: Entry) -> None:
        """Keep the state of an entry before it is first opened, deleted or moved, to undo that."""
        self._before.setdefault(entry.lock_key, _Before(entry, entry.session, entry.hold.note))

    def forget_note(self, lock_key: tuple[Storage, str]) -> None:
        """Never restore the noted write of a place, because it is done."""
        if (before := self._before.get(lock_key)) is not None:
            self._before[lock_key] = before._replace(note=None)

    def leave(self, error: BaseException | None) -> None:
        """
        Leave the block. With an error, the sessions that it opened first are undone.

        A block may be left after its unit has ended, for example in a generator. Then nothing
        happens.
        """
        if self not in self.unit.blocks:
            return
        # Perhaps not the last block: a generator may be left while a later block is open.
        position = self.unit.blocks.index(self)
        self._close()
        lock_keys = [
            entry.lock_key
            for entry in kept_entries(map(self.unit.entries.__getitem__, self._before), error)
        ]
        if position:
            around: Block = self.unit.blocks[position - 1]
            for lock_key in lock_keys:
                around._before.setdefault(lock_key, self._before[lock_key])
        if error is not None:
            self._undo(lock_keys)

    def abandon(self) -> None:
        """Do nothing, because the unit around the block frees all; see `Unit.abandon`."""

    def _close(self) -> None:
        """Close the sessions that no other block has open."""
        blocks = self.unit.blocks
        self.unit.blocks = tuple(block for block in blocks if block is not self)
        for entry in self._shown:
            if entry.views is not None and entry.session is not None:
                collect_view_changes(entry.session)
            entry.depth -= 1

    def _undo(self, kept_keys: list[tuple[Storage, str]]) -> None:
        """Restore the sessions that are not kept to their state before the block; free no lock."""
        entries = self.unit.entries
        for lock_key, before in self._before.items():
            if lock_key in kept_keys:
                continue
            fresh = entries[lock_key].without_session(before.note)
            if before.session is not None:
                # It was closed before the block, and can be opened again.
                fresh = before.entry
                fresh.session = before.session
            entries[lock_key] = fresh
        self.unit.calls = self.unit.calls[: self._calls]
        self.unit.deferred = self.unit.deferred[: self._deferred]


@contextmanager
def locked(*wanted: Wanted, use: Use = USUAL, within: Unit | None = None) -> Iterator[list[Entry]]:
    """
    A block that only locks and reads places, so that writes can be noted in their holds.

    Changes of a session that the unit has closed are noted first. An open session stays as it is.
    """
    block = enter((), use=use, within=within)
    try:
        try:
            unit = block.unit
            unit.lock_in_order(wanted)
            entries = [unit.lock(kind, place) for kind, place in wanted]
            for number, entry in enumerate(entries):
                if entry.depth:
                    continue
                if isinstance(block, Block):
                    block.will_change(entry)
                if entry.session is not None:
                    entries[number] = unit.note_and_drop(entry)
            yield entries
        except BaseException as error:
            block.leave(error)
            raise
        block.leave(None)
    except BaseException:
        # A KeyboardInterrupt may have come before the block was left.
        block.abandon()
        raise


@contextmanager
def encoded_on_leaving(wanted: Wanted, within: Unit | None, *, renew: bool = True) -> Iterator[Any]:
    """
    A block of one session whose changes are encoded when the block is left.

    Inside a unit, leaving the block notes the changes and drops the session object. The next block
    of the session makes a new object from the noted record, so an exception in the next block
    undoes that one only. No other block may have the session open.

    Args:
        wanted: The session.
        within: The unit of this thread that the block joins; `None` for a unit of its own.
        renew: Whether the use renews the lifetime of the session.

    Raises:
        EncodeError: A field would not come back. The block is undone.
    """
    use = Use(renew=renew, independent=within is None)
    block = enter((wanted,), None, use, within=within)
    try:
        try:
            yield block.sessions[0]
            if isinstance(block, Block):
                kind, place = wanted
                entry = block.unit.entries[kind.storage, place]
                if entry.session is not None:
                    block.unit.note_and_drop(entry)
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
        update: The update, which some functions given as `initial` take.
        use: How the block uses the sessions.
        give: Function from the sessions to the target of the `with` statement.
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
        try:
            shown = self._give(self._block.sessions)
        except BaseException as error:
            # After a KeyboardInterrupt: the `with` statement leaves no block that was not entered.
            self.__exit__(type(error), error, None)
            raise
        return shown

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        try:
            self._block.leave(error)
        except BaseException:
            # A KeyboardInterrupt may have come before the block was left.
            self._block.abandon()
            raise
