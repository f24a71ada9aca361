"""The store of a bot's questions: it reads, writes, sends and takes them."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from telesession.bot.place import Address, address_of, message_address_of, number_of
from telesession.bot.question import (
    Change,
    End,
    Pending,
    Put,
    Question,
    Remove,
    Restore,
    Sent,
    Unsent,
    find,
    waiting,
    was_ended_by,
    with_id,
)
from telesession.bot.turns import Turn
from telesession.errors import LockTimeoutError, SessionError, fault_of
from telesession.forks import PerProcess
from telesession.keys import by_sender, by_sender_in_chat, form_of, room_of
from telesession.session import Session
from telesession.sessions import Sessions, kind_of, sessions_in_room
from telesession.unit.blocks import enter
from telesession.unit.entry import INDEPENDENT
from telesession.unit.unit import Unit

if TYPE_CHECKING:
    from telesession.storage.base import Hold

_log = logging.getLogger("telesession")


class Taken(NamedTuple):
    """
    A question whose answer a thread has.

    Attributes:
        pending: The question as it waits.
        lock: The lock of the answer.
    """

    pending: Pending
    lock: Hold


class QuestionStore:
    """
    The records of a bot's questions: one for each person in a chat, in a room of the bot.

    The lock of a record is held for the moment of a write, never while a handler or a step runs.
    The writes of a step are part of the commit of its unit. With sequential workers, so are the
    writes of a handler about its sender. The commit takes the lock after all others, so it closes
    no circle.

    The update that is the answer has a second lock, of the question alone, while its step runs. So
    no other update is the answer, and the question is free again when the process has died.

    Keep one for as long as the bot. Any thread may use it.

    Args:
        bot: The bot.
        sessions: The sessions whose storage is used.
    """

    def __init__(self, bot: Any, sessions: Sessions[Any]) -> None:
        self._bot = bot
        kind = kind_of(sessions)
        # The private chats of two bots with one user have the same id.
        room = room_of(f"questions-{bot.bot_id}") + kind.room
        self._records = sessions_in_room(
            room, storage=kind.storage, get_storage_key=by_sender_in_chat
        )
        self._kind = kind_of(self._records)
        # The ids of the questions whose steps run in this process.
        self._claims: PerProcess[dict[str, object]] = PerProcess()
        # The ids of the questions that this process is sending.
        self._unsent_ids: PerProcess[set[str]] = PerProcess()
        # `threading.get_ident()` -> the address and the id of the question of each step that the
        # thread runs. No threading.local; see `ProcessState`.
        self._steps_by_thread: dict[int, list[tuple[Address, str]]] = {}
        timeout = kind.lock_timeout
        self._lock_timeout = math.inf if timeout is None else timeout

    def read(self, key: str) -> Session | None:
        """The record of a person in a chat, only to be read; `None` if there is none."""
        return self._records.peek(key)

    def find(self, address: Address) -> Pending | None:
        """The question that is asked now at an address; `None` if none waits."""
        record = self.read(address.key)
        return None if record is None else self.current(record, address)

    def current(self, record: Session, address: Address) -> Pending | None:
        """
        The question of a record that is asked now at an address; `None` if none waits.

        A question that a step has asked at once does not count if the process of the step died
        before its commit. Then the question of the step is asked again.
        """
        found = find(record, address.topic)
        while found is not None and found.question.asked_by is not None:
            asker = with_id(record, address.topic, found.question.asked_by)
            if asker is None or not self._has_died(address, asker.question):
                break
            found = asker
        return found

    def write(self, key: str, change: Change, unit: Unit | None = None) -> None:
        """Change a record: with the commit of a unit, or at once."""
        if unit is not None:
            unit.defer(self._kind, key, change)
            return
        with at_once() as own:
            own.defer(self._kind, key, change)

    def follow(self, old_chat_id: int, new_chat_id: int) -> None:
        """Move the questions of a group that became a supergroup to the supergroup."""
        self._kind.follow_group(old_chat_id, new_chat_id)

    def is_in_line(self, address: Address) -> bool:
        """Whether an answer at an address waits until the turn of this thread is over."""
        turn = Turn.of_thread()
        if turn is None or not turn.is_in_order or turn.bot is not self._bot:
            return False
        get_key = self._bot.worker_pool.get_key
        if get_key is by_sender:
            is_same: bool = by_sender(turn.update) == str(address.user_id)
            return is_same
        # With a function of the user, presses may have another line than messages.
        return form_of(get_key) is not None and message_address_of(turn.update) == address

    @contextmanager
    def sending(
        self, address: Address, question: Question, timeout: float | None
    ) -> Iterator[Callable[[int, int | str], None]]:
        """
        A block that sends a question, and then calls its target with the chat and the number.

        A question that is written at once is written before it is sent, so a quick answer finds it.
        If the block raises, the questions before it wait as they did.
        """
        topic, sent, before = address.topic, list[Question](), list[str]()

        def note(chat: int, number: int | str) -> None:
            sent.append(question._replace(chat=chat, message=number))

        if self.is_in_line(address):
            yield note
            self.write(address.key, Put(topic, sent[0], timeout, before), Unit.outermost())
            return
        question = question._replace(asked_by=self._running_at(address))
        sending = self._unsent_ids.get(set)
        sending.add(question.id)
        try:
            self.write(address.key, Put(topic, question, timeout, before))
            try:
                yield note
            except BaseException:
                unsent = Unsent(topic, question.id)
                self._try_to_write(address.key, unsent, "a question was not sent")
                raise
            self.write(address.key, Sent(topic, sent[0], before))
        finally:
            sending.discard(question.id)

    def cancel(self, target: Any) -> bool:
        """See `telesession.cancel`."""
        address = address_of(target)
        record = None if address is None else self.read(address.key)
        unit = Unit.outermost()
        if address is None or (record is None and unit is None):
            return False
        found, was_ended = self._as_seen(unit, address, record or Session(), target)
        if found is None and not was_ended:
            return False
        end = End(address.topic, found and found.id, keep=self._running_at(address))
        self.write(address.key, end, unit if self.is_in_line(address) else None)
        return was_ended or (found is not None and not found.is_late)

    def _as_seen(
        self, unit: Unit | None, address: Address, record: Session, target: Any
    ) -> tuple[Pending | None, bool]:
        """The question that a handler can cancel, and whether its update has ended another one."""
        found, was_ended = self.current(record, address), False
        if getattr(target, "message_id", None):
            was_ended = was_ended_by(record, address.topic, number_of(target))
        # The handler sees the changes of its own unit.
        for change in self._changes_in(unit, address):
            if isinstance(change, Put):
                found = Pending(change.question, address.topic, change.timeout)
            elif isinstance(change, End):
                found, was_ended = None, False
            elif isinstance(change, Remove) and found and found.id == change.id:
                found = None
        is_taken = found is not None and self.is_taken(found.question)
        return None if is_taken else found, was_ended

    def is_taken(self, question: Question) -> bool:
        """Whether a step of this process has the answer to a question."""
        return question.id in self._claims.get(dict)

    def _changes_in(self, unit: Unit | None, address: Address) -> list[Change]:
        """The changes that a unit makes at its commit."""
        changes: Any = () if unit is None else unit.deferred
        here = self._kind, address.key
        return [
            each.change
            for each in changes
            if (each.kind, each.key) == here and each.change.topic == address.topic
        ]

    @contextmanager
    def exclusively(self, address: Address, question: Question) -> Iterator[Taken | None]:
        """
        A block in which no other update is the answer to a question, in any process.

        The target of the block is `None` if the question does not wait, or not for this update.
        """
        claims, claim = self._claims.get(dict), object()
        if claims.setdefault(question.id, claim) is not claim and not self._is_repeated():
            # Its step runs in another thread of this process.
            yield None
            return
        try:
            taken = None
            with ExitStack() as stack:
                with suppress(LockTimeoutError):
                    lock = stack.enter_context(self._locked(address, question))
                    claims[question.id] = claim
                    current = self._still_asked(address, question)
                    taken = None if current is None else Taken(current, lock)
                yield taken
        finally:
            if claims.get(question.id) is claim:
                del claims[question.id]

    def _still_asked(self, address: Address, question: Question) -> Pending | None:
        """The question as it waits now; `None` if another one is asked now."""
        record, topic = self.read(address.key) or Session(), address.topic
        newest = find(record, topic)
        while newest is not None and newest.id != question.id:
            newest = with_id(record, topic, newest.question.asked_by)
        if newest is None:
            return None
        others, order = waiting(record, topic), newest.question.order
        # Its step does not run, so the questions that the step has asked are of a process that
        # died.
        dead = [each.id for each in others if each.question.asked_by == question.id]
        if newest.question.message is None and question.id not in self._unsent_ids.get(set):
            # The process that was sending the question in place of the earlier ones has died, too.
            dead += [each.id for each in others if each.question.order < order]
        return newest._replace(dead=tuple(dead))

    def _has_died(self, address: Address, question: Question) -> bool:
        """Whether the process of the step of a question has died before the commit."""
        if self.is_taken(question):
            return False
        try:
            with self._locked(address, question):
                record = self.read(address.key) or Session()
                return with_id(record, address.topic, question.id) is not None
        except LockTimeoutError:
            # Its step runs in another process.
            return False

    def _locked(self, address: Address, question: Question) -> AbstractContextManager[Hold]:
        """The lock of the answer to a question."""
        key = f"{self._kind.place_of_key(address.key)}#{question.id}"
        return self._kind.storage.hold(key, self._patience())

    @staticmethod
    def _is_repeated() -> bool:
        """
        Whether the update of this thread may still be handled elsewhere.

        The step may run for it in the process that had it before, or in former workers of this one.
        It can save nothing there, so the update must not go to the handlers here.
        """
        turn = Turn.of_thread()
        return turn is not None and turn.is_leftover

    def _patience(self) -> float | None:
        """Seconds to wait for the lock of an answer; `None` is for ever."""
        if self._is_repeated():
            return None if math.isinf(self._lock_timeout) else self._lock_timeout
        # A process that died may have left the lock with a lease.
        storage = self._kind.storage
        return min(storage.lease, self._lock_timeout) if storage.leases_locks else 0

    @contextmanager
    def running(self, address: Address, pending: Pending) -> Iterator[Callable[[], object]]:
        """
        A block of a step. If it raises, its question waits again for the time that it had left.

        The unit has left the question as it was. But its time went on, and a question that was
        written at once may have taken its place.

        The target of the block is a function to call once the end of the question was saved. Later
        failures, as of the calls of `on_commit`, bring no question back.
        """
        thread, since, saved = threading.get_ident(), time.monotonic(), threading.Event()
        # A step may deliver an update itself. The step of that update then runs inside it.
        steps = self._steps_by_thread.setdefault(thread, [])
        steps.append((address, pending.question.id))
        try:
            yield saved.set
        except BaseException:
            if not saved.is_set():
                change = Restore(pending, pending.has_expired(since))
                self._try_to_write(address.key, change, "a step failed")
            raise
        finally:
            steps.pop()
            if not steps:
                # A later thread may get the same number.
                self._steps_by_thread.pop(thread, None)

    def _running_at(self, address: Address) -> str | None:
        """The id of the question at an address whose step this thread runs."""
        steps = self._steps_by_thread.get(threading.get_ident(), ())
        return next((found for where, found in reversed(steps) if where == address), None)

    def _try_to_write(self, key: str, change: Change, reason: str) -> None:
        """Change a record after a failure, and log an error of the change."""
        try:
            self.write(key, change)
        except SessionError as error:
            _log.error("%s, and a question may be lost: %s", reason, fault_of(error))


@contextmanager
def at_once() -> Iterator[Unit]:
    """A block whose changes are made when it is left, in a unit of its own."""
    own = enter((), use=INDEPENDENT)
    try:
        yield own.unit
        own.leave(None)
    except BaseException:
        own.abandon()
        raise
