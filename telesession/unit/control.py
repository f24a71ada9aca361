"""Functions for handlers: save a session now, delete it at the commit, or make a call after it."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, ParamSpec

from telesession.errors import SessionError
from telesession.session import State, refuse_closed, state_behind
from telesession.unit.commit import log_loss
from telesession.unit.entry import Entry
from telesession.unit.unit import Unit, unit_of_thread

if TYPE_CHECKING:
    from collections.abc import Callable

    from telesession.storage.base import Storage

P = ParamSpec("P")


def on_commit(function: Callable[P, object], /, *args: P.args, **kwargs: P.kwargs) -> None:
    """
    Call a function once the sessions of this handler are saved, and never if they are not.

    The calls are made in order, in this thread, after the locks are free. If a block inside the
    handler raises, its calls are dropped. If one of the calls raises, the sessions stay saved, the
    other calls are made, and the first exception is raised as if the handler had raised it.
    Outside of handlers and blocks the function is called at once.

    Args:
        function: The function, such as `bot.send_message`.
        args: Its arguments by position.
        kwargs: Its arguments by keyword.

    Raises:
        TypeError: The first argument cannot be called.
    """
    if not callable(function):
        raise TypeError(
            "on_commit takes a function and its arguments, not an object of type "
            f"{type(function).__name__}; write on_commit(bot.reply_to, message, ...)"
        )
    unit = unit_of_thread()
    if unit is None:
        function(*args, **kwargs)
    else:
        unit.calls = [*unit.calls, partial(function, *args, **kwargs)]


def save(session: object) -> None:
    """
    Write one session now, keep its lock and go on: a later failure does not undo this write.

    Raises:
        EncodeError: A field holds something that would not come back; nothing was written.
        LockLostError: The lock was lost; nothing was written.
        SessionClosedError: The handler has returned.
        SessionError: The session was made by hand, or belongs to the parent of this process.
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
        # A handler that catches the error and goes on still has all its changes to write.
        entry.payload, entry.marks, entry.hold.note = before
        if isinstance(error, SessionError):
            entry.kind.translate_error(error, entry.hold.key)
            log_loss(error)
        raise
    if note is not None and (unit := Unit.owner_of(*entry.lock_key)) is not None:
        for watch in unit.watches:
            watch.count_write(entry.hold, note)
    if before[2] is not None:
        _forget_note(entry.lock_key)


def _forget_note(lock_key: tuple[Storage, str]) -> None:
    """Prevent a block that raises from restoring a noted write that `save` has done."""
    unit = unit_of_thread()
    while unit is not None:
        for block in unit.blocks:
            block.forget_note(lock_key)
        unit = unit.outer


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
