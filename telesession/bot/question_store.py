"""The store of a bot's questions: how they are read, written, sent and taken."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from telesession.bot.place import Address, address_of, message_address_of, number_of
from telesession.bot.question import (
    Change,
    Pending,
    Put,
    Question,
    Remove,
    Restore,
    find,
    was_ended_by,
)
from telesession.bot.turns import Turn
from telesession.errors import LockTimeoutError, SessionError, fault_of
from telesession.forks import PerProcess
from telesession.keys import by_sender, by_sender_in_chat, room_of
from telesession.session import Session
from telesession.sessions import Sessions
from telesession.unit import INDEPENDENT, Block, Unit, enter

_log = logging.getLogger("telesession")

# Seconds that an answer waits for a question that is just being sent.
_SENDING = 10


class QuestionStore:
    """
    The records of a bot's questions: one for each person in a chat, in a room of the bot.

    The lock of a record is held for the moment of a write, never while a handler or a step runs.
    The writes of a step, and with sequential workers those of a handler about its sender, are part
    of the commit of its unit: the lock is taken there, after all others, so it closes no circle.

    The update that is the answer has a second lock, of the question alone, while its step runs. So
    no other update is the answer, and the question is free again when the process has died.

    Keep one for as long as the bot. Any thread may use it.

    Args:
        bot: The bot.
        sessions: The sessions whose storage is used.
    """

    def __init__(self, bot: Any, sessions: Sessions[Any]) -> None:
        self._bot = bot
        kind = sessions._kind
        # The private chats of two bots with one user have the same id.
        room = room_of(f"questions-{bot.bot_id}") + kind.room
        self._records: Sessions[Session] = Sessions._in_room(
            room, storage=kind.storage, get_storage_key=by_sender_in_chat
        )
        self._kind = self._records._kind
        # The ids of the questions whose steps run in this process.
        self._claims: PerProcess[dict[str, object]] = PerProcess()
        # By `threading.get_ident()`, for each step that the thread runs, the addresses and ids of
        # the questions that it has asked. Not a threading.local: see `ProcessState`.
        self._asked: dict[int, list[set[tuple[Address, str]]]] = {}
        # For each question that is being sent: the event of its end, the identifier of the thread,
        # and the key of the person in the chat.
        self._sending: PerProcess[dict[threading.Event, tuple[int, str]]] = PerProcess()

    def read(self, key: str) -> Session | None:
        """The record of a person in a chat, only to be read; `None` if there is none."""
        return self._records.peek(key)

    def find(self, address: Address) -> Pending | None:
        """The question that waits at an address; `None` if none does."""
        record = self.read(address.key)
        return None if record is None else find(record, address.topic)

    def write(self, key: str, change: Change, unit: Unit | None = None) -> None:
        """Change a record: with the commit of a unit, or at once."""
        place = self._kind.place_of(key)
        if unit is not None:
            unit.defer(self._kind, place, change)
            return
        with at_once() as own:
            own.defer(self._kind, place, change)

    def follow(self, old_chat_id: int, new_chat_id: int) -> None:
        """Let the questions of a group that became a supergroup wait there."""
        self._records._follow_group(old_chat_id, new_chat_id)

    def is_in_line(self, address: Address) -> bool:
        """Whether an answer there waits until the turn of this thread is over."""
        turn = Turn.of_thread()
        if turn is None or not turn.is_in_order or turn.bot is not self._bot:
            return False
        if self._bot.worker_pool.get_key is by_sender:
            is_same: bool = by_sender(turn.update) == str(address.user_id)
            return is_same
        return message_address_of(turn.update) == address

    @contextmanager
    def sending(self, address: Address) -> Iterator[Callable[[Question, float | None], None]]:
        """
        A block that sends a question, and then calls its target with it and its time-out.

        Nothing is written before, so a question that cannot be sent changes nothing. A quick
        answer that another thread gets meanwhile waits for the end of the block.
        """
        sent, sending = threading.Event(), self._sending.get(dict)
        sending[sent] = threading.get_ident(), address.key
        unit = Unit.innermost() if self.is_in_line(address) else None

        def put(question: Question, timeout: float | None) -> None:
            self.write(address.key, Put(address.topic, question, timeout), unit)
            if unit is None:
                for asked in self._asked.get(threading.get_ident(), ()):
                    asked.add((address, question.id))

        try:
            yield put
        finally:
            del sending[sent]
            sent.set()

    def wait_until_sent(self, key: str) -> None:
        """Wait while other threads of this process send questions to a person in a chat."""
        sending = self._sending.get(dict)
        if not sending:
            return
        for sent, (sender, their_key) in list(sending.items()):
            if their_key == key and sender != threading.get_ident():
                sent.wait(_SENDING)

    def cancel(self, target: Any) -> bool:
        """See `telesession.cancel`."""
        address = address_of(target)
        record = None if address is None else self.read(address.key)
        unit = Unit.innermost()
        if address is None or (record is None and unit is None):
            return False
        record = record or Session()
        found, was_ended = find(record, address.topic), False
        if getattr(target, "message_id", None):
            was_ended = was_ended_by(record, address.topic, number_of(target))
        # The handler sees the changes of its own unit.
        for change in self._changes_in(unit, address):
            if isinstance(change, Put):
                found = Pending(change.question, address.topic, change.timeout)
            elif isinstance(change, Remove) and change.id is None:
                found, was_ended = None, False
            elif isinstance(change, Remove) and found and found.question.id == change.id:
                found = None
        if found is None and not was_ended:
            return False
        self.write(address.key, Remove(address.topic), unit if self.is_in_line(address) else None)
        return was_ended or (found is not None and not found.is_late)

    def _changes_in(self, unit: Unit | None, address: Address) -> list[Change]:
        """The changes that a unit makes at its commit."""
        place = self._kind.place_of(address.key)
        changes: Any = () if unit is None else unit.deferred
        return [
            each.change
            for each in changes
            if (each.kind, each.key) == (self._kind, place) and each.change.topic == address.topic
        ]

    @contextmanager
    def exclusively(self, address: Address, question: Question) -> Iterator[Pending | None]:
        """
        A block in which no other update is the answer to a question, in any process.

        Its target is the question as it waits then; `None` if it does not, or not for this update.
        """
        claims, claim = self._claims.get(dict), object()
        if claims.setdefault(question.id, claim) is not claim:
            # Its step runs in another thread of this process.
            yield None
            return
        key = f"{self._kind.place_of(address.key)}#{question.id}"
        try:
            with ExitStack() as stack:
                try:
                    # Another process may have it, or have left a lock with a lease when it died.
                    storage = self._kind.storage
                    stack.enter_context(storage.hold(key, storage.lease))
                    current = self.find(address)
                except LockTimeoutError:
                    current = None
                yield current if current and current.question.id == question.id else None
        finally:
            del claims[question.id]

    @contextmanager
    def restoring(self, address: Address, pending: Pending) -> Iterator[Callable[[], object]]:
        """
        A block of a step. If it raises, its question waits again, for the time it had left.

        The unit has left the question as it was. But its time went on, and a question that was
        written at once may have taken its place.

        Its target is a function to call once the end of the question was saved. Later failures,
        as of the calls of `on_commit`, bring no question back.
        """
        asked: set[tuple[Address, str]] = set()
        # A step may deliver an update itself, whose step then runs inside of it.
        stack = self._asked.setdefault(threading.get_ident(), [])
        stack.append(asked)
        since, saved = time.monotonic(), threading.Event()
        try:
            yield saved.set
        except BaseException:
            here = {question_id for where, question_id in asked if where == address}
            if not saved.is_set() and (here or (pending.left and not pending.is_late)):
                self._restore(address, Restore(pending, here, pending.has_expired(since)))
            raise
        finally:
            stack.pop()
            if not stack:
                # A later thread may get the same number.
                self._asked.pop(threading.get_ident(), None)

    def _restore(self, address: Address, change: Restore) -> None:
        try:
            self.write(address.key, change)
        except SessionError as error:
            # The bot has to learn of the step's own exception, so this one is only logged.
            _log.error("a step failed, and its question may be over: %s", fault_of(error))


@contextmanager
def at_once() -> Iterator[Unit]:
    """A block whose changes are made when it is left, in a unit of its own."""
    own = enter((), use=INDEPENDENT)
    try:
        yield unit_of(own)
        own.leave(None)
    except BaseException:
        own.abandon()
        raise


def unit_of(block: Unit | Block) -> Unit:
    """The unit of a block, which may be the block itself."""
    return block if isinstance(block, Unit) else block.unit
