"""Turns: the update that a worker handles now, and the records that its unit may save."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from telesession.unit import INDEPENDENT, Unit, Use

if TYPE_CHECKING:
    from telesession.storage.base import Storage

# identifier of a thread or greenlet -> the turn that it has now
_turns: dict[int, Turn] = {}


class Turn:
    """
    The time in which a worker handles one update, from `begin` to `end`, both in its thread.

    States and questions of the sender may be written with the handler's sessions, if the sender's
    next update waits until the turn is over. Without a turn, as on telebot's own pool, they are
    written at once, because the user may answer before the handler ends.

    Args:
        bot: The bot that got the update.
        update: The update as handlers get it, such as a `Message`.
        is_in_order: Whether other updates of its key wait until the turn is over.
    """

    __slots__ = ("_outer", "_owner", "bot", "is_in_order", "update")

    def __init__(self, bot: object, update: Any, *, is_in_order: bool) -> None:
        self.bot: Any = bot
        self.update = update
        self.is_in_order = is_in_order
        self._outer: Turn | None = None
        self._owner = threading.current_thread()

    @staticmethod
    def of_thread() -> Turn | None:
        """The turn of this thread or greenlet; the innermost one if there are several."""
        turn = _turns.get(threading.get_ident())
        # A forked child has the turns of its parent's threads, and may use their identifiers anew.
        return turn if turn is not None and turn._owner is threading.current_thread() else None

    def begin(self) -> None:
        """Be the turn of this thread."""
        thread = threading.get_ident()
        self._outer = Turn.of_thread()
        _turns[thread] = self

    def end(self) -> None:
        """Be the turn of this thread no more, and bring back the one around this one."""
        if self._outer is None:
            _turns.pop(threading.get_ident(), None)
        else:
            _turns[threading.get_ident()] = self._outer


def use_in_turn(storage: Storage, place: str, *, is_of_sender: bool) -> Use:
    """
    How a state or a question is opened: in a unit of this thread, or else written at once.

    Args:
        storage: The storage of the record.
        place: Its key there.
        is_of_sender: Whether only updates that wait for the turn of this thread can need it.
    """
    # A lock that the thread has already cannot be taken by another unit.
    unit = Unit.holding(storage, place)
    if unit is None and is_of_sender:
        unit = Unit.innermost()
    return INDEPENDENT if unit is None else Use(unit=unit)
