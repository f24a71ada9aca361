"""Answers: the questions of a bot that wait for them, and the handlers that give them to steps."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple, Self

from telebot.handler_backends import ContinueHandling

from telesession.bot.albums import Album, Albums
from telesession.bot.place import Address, address_of, ephemeral_id, number_of
from telesession.bot.question import (
    Change,
    End,
    Number,
    Pending,
    Put,
    Question,
    Remove,
    Restore,
    album_of,
    find,
    find_asked_by,
    was_ended_by,
)
from telesession.bot.steps import Steps, takes_list
from telesession.bot.turns import Turn
from telesession.bot.verdicts import Verdict, command_of, is_for, is_sent_on_purpose
from telesession.endings import ending_for
from telesession.errors import LockTimeoutError, SessionError, fault_of
from telesession.forks import PerProcess
from telesession.keys import room_of
from telesession.session import Session
from telesession.sessions import Sessions
from telesession.unit import INDEPENDENT, Block, Unit, enter

_log = logging.getLogger("telesession")

# Where a bot keeps its questions, and its handlers of what may be an answer.
_QUESTIONS = "_telesession_questions"
_MESSAGES = ("message_handlers", "business_message_handlers", "channel_post_handlers")
_PRESSES = "callback_query_handlers"

# Seconds that a press or a reply waits for the number of a message that is just being sent.
_SENDING = 10


class _Found(NamedTuple):
    """What an update means, where, and for which question."""

    verdict: Verdict
    address: Address
    pending: Pending | None


class Questions:
    """
    The questions of one bot, and the handlers that find their answers.

    The questions of a person in a chat are one record. Its lock is held for the moment of a write,
    never while a handler or a step runs. The writes of a step, and with sequential workers those
    of a handler about its sender, are part of the commit of its unit: the lock is taken there,
    after all others, so it closes no circle.

    The update that is the answer has a second lock, of the question alone, while its step runs. So
    no other update is the answer, and it is free at once when the process dies.

    It lives as long as the bot, unless its sessions were attached and are detached again.

    Attributes:
        steps: The functions that get answers.
    """

    def __init__(self, bot: Any, sessions: Sessions[Any]) -> None:
        self._bot = bot
        self._sessions = sessions
        self.steps = Steps(bot, sessions)
        kind = sessions._kind
        # The private chats of two bots with one user have the same id.
        room = room_of(f"questions-{bot.bot_id}") + kind.room
        self._records: Sessions[Session] = Sessions._in_room(room, storage=kind.storage)
        # By its id, each question whose step runs in this process, with an object of that call.
        self._answered: PerProcess[dict[str, object]] = PerProcess()
        # By `threading.get_ident()`, for each step that the thread runs, the addresses and ids of
        # the questions that it has asked. Not a threading.local: see `ProcessState`.
        self._asked: dict[int, list[set[tuple[Address, str]]]] = {}
        # By its id, the thread that is sending a question, and the event of its end.
        self._sending: dict[str, tuple[int, threading.Event]] = {}
        self._albums = Albums()
        self._handlers = {
            kind: {
                "function": self._answer,
                "pass_bot": False,
                "filters": {"func": self._may_press if kind == _PRESSES else self._may_answer},
            }
            for kind in (*_MESSAGES, _PRESSES)
        }

    @classmethod
    def of(cls, bot: Any) -> Self | None:
        """The questions of a bot, if it listens for answers."""
        found: Self | None = vars(bot).get(_QUESTIONS)
        return found

    @classmethod
    def make(cls, bot: Any, sessions: Sessions[Any]) -> Self:
        """The questions of a bot that listens for answers from now on."""
        made = cls(bot, sessions)
        # The first questions of a bot may be asked by two of its workers at the same time.
        kept: Self = vars(bot).setdefault(_QUESTIONS, made)
        if kept is made:
            made._listen()
        return kept

    def _listen(self) -> None:
        """Look at every message and press before the handlers of the bot do."""
        self._albums.install(self._bot)
        # telebot 4.37.1 has no method that puts a handler before the others.
        for kind, handler in self._handlers.items():
            # A new list: a worker may be going through the old one.
            setattr(self._bot, kind, [handler, *getattr(self._bot, kind)])

    def leave(self) -> None:
        """Let the bot be as it was before `make`."""
        vars(self._bot).pop(_QUESTIONS, None)
        self._albums.uninstall(self._bot)
        for kind, handler in self._handlers.items():
            others = [other for other in getattr(self._bot, kind) if other is not handler]
            setattr(self._bot, kind, others)

    def refuse_others(self, sessions: Sessions[Any]) -> None:
        """Raise `ValueError` unless it is these sessions that the questions are kept with."""
        if sessions is not self._sessions:
            raise ValueError(
                f"the questions of this bot are kept with {self._sessions!r}; call use_questions "
                "with one and the same Sessions everywhere, and before the bot starts"
            )

    def is_in_line(self, address: Address) -> bool:
        """Whether an answer there waits until the turn of this thread is over."""
        turn = Turn.of_thread()
        if turn is None or not turn.is_in_order or turn.bot is not self._bot:
            return False
        return address_of(turn.update) == address

    def put(self, address: Address, question: Question, timeout: float | None) -> None:
        """Let a question wait that was sent: from the commit of the unit, if there is one."""
        self._write(address.key, Put(address.topic, question, timeout), Unit.innermost())

    @contextmanager
    def sending(
        self, address: Address, question: Question, timeout: float | None
    ) -> Iterator[list[int | str]]:
        """
        A block that sends a question, which waits already, and puts its number into the target.

        If the block raises, the question that waited before waits again.
        """
        before, since = find(self._read(address.key), address.topic), time.monotonic()
        sent = threading.Event()
        self._sending[question.id] = threading.get_ident(), sent
        numbers: list[int | str] = []
        try:
            self._write(address.key, Put(address.topic, question, timeout))
            self._note(address, question.id)
            try:
                yield numbers
            except BaseException:
                change: Change = Remove(address.topic, question.id)
                if before is not None:
                    change = Restore(before, {question.id}, is_over=before.has_expired(since))
                self._write(address.key, change)
                raise
            self._write(address.key, Number(address.topic, question.id, numbers[0]))
        finally:
            del self._sending[question.id]
            sent.set()

    def cancel(self, target: Any) -> bool:
        """See `cancel`."""
        address = address_of(target)
        if address is None:
            return False
        unit = Unit.innermost()
        record = self._read(address.key)
        found = self._in_unit(unit, address, find(record, address.topic))
        message = getattr(target, "message_id", None) and number_of(target)
        was_ended = message is not None and was_ended_by(record, address.topic, message)
        if found is None and not was_ended:
            return False
        self._write(address.key, Remove(address.topic), unit if self.is_in_line(address) else None)
        return was_ended or (found is not None and not found.is_late)

    def _read(self, key: str) -> Session:
        """A record, only to be read, and without a lock."""
        return self._records.peek(key) or Session()

    def _write(self, key: str, change: Change, unit: Unit | None = None) -> None:
        """Change a record: with the commit of a unit, or at once."""
        kind = self._records._kind
        place = kind.place_of(key)
        if unit is not None:
            unit.defer(kind, place, change)
            return
        own = enter((), use=INDEPENDENT)
        try:
            _unit_of(own).defer(kind, place, change)
            own.leave(None)
        except BaseException:
            own.abandon()
            raise

    def _in_unit(
        self, unit: Unit | None, address: Address, pending: Pending | None
    ) -> Pending | None:
        """The question that waits for a handler, which sees the changes of its own unit."""
        changes = self._changes_in(unit, address)
        for change in reversed(changes):
            if isinstance(change, Put):
                return Pending(change.question, address.topic, change.timeout)
            if isinstance(change, Remove) and change.id is not None:
                if pending is not None and pending.question.id == change.id:
                    return None
            elif isinstance(change, Remove | End):
                return None
        return pending

    def _changes_in(self, unit: Unit | None, address: Address) -> list[Change]:
        kind = self._records._kind
        place = kind.place_of(address.key)
        changes: Any = () if unit is None else unit.deferred
        return [
            each.change
            for each in changes
            if (each.kind, each.key) == (kind, place) and each.change.topic == address.topic
        ]

    def _may_answer(self, message: Any) -> bool:
        return self._look_at(message) is not None

    def _may_press(self, query: Any) -> bool:
        return self._look_at_press(query) is not None

    def _look_at(self, message: Any) -> _Found | None:
        """What a message means for the question that waits for its sender, if it means anything."""
        address = address_of(message) if is_sent_on_purpose(message) else None
        if address is None:
            return None
        record = self._read(address.key)
        pending = find(record, address.topic)
        if message.media_group_id:
            is_part = self._is_part(message, album_of(record, address.topic))
            if is_part is not None:
                return _Found("part", address, pending) if is_part else None
        if pending is None:
            return None
        verdict = self._judge(message, pending.question)
        return None if verdict is None else _Found(verdict, address, pending)

    def _look_at_press(self, query: Any) -> _Found | None:
        """The same for the press of a button."""
        address = None if query.message is None else address_of(query)
        if address is None:
            return None
        number, record = number_of(query.message), self._read(address.key)
        pending = find_asked_by(record, number)
        if pending is None and self._was_just_sent(record):
            pending = find_asked_by(self._read(address.key), number)
        if pending is None:
            return None
        return _Found("answer", Address(address.key, pending.topic), pending)

    def _is_part(self, message: Any, album: list[Any]) -> bool | None:
        """
        Whether a step has got a message as a part of an album; `None` if no step got any part.

        Args:
            message: A message of an album.
            album: The id of the latest album that was an answer, and the numbers of its messages.
        """
        is_given = self._albums.of(message).is_given(message)
        if is_given is None and album and album[0] == message.media_group_id:
            # Given by another process, or by this bot before a restart.
            return message.message_id in album[1]
        return is_given

    def _judge(self, message: Any, question: Question) -> Verdict | None:
        command = command_of(message)
        if command is not None:
            return "end" if is_for(self._bot, command) else None
        if self._is_exit(message, question.unless):
            return "end"
        if question.reply_only and not self._is_reply(message, question):
            return None
        return "answer"

    def _is_exit(self, message: Any, unless: list[str] | str | None) -> bool:
        if unless is None or isinstance(unless, list):
            return message.text is not None and message.text in (unless or ())
        predicate = self.steps.find(unless)
        if predicate is None:
            _log.error(
                "a question waits with the predicate %.100r, which is not listed, so it is left "
                "out; list it: use_questions(bot, sessions, unless=[...])",
                unless,
            )
            return False
        return bool(predicate(message))

    def _is_reply(self, message: Any, question: Question) -> bool:
        number = question.message
        if number is None and self._wait_for(question):
            address = address_of(message)
            found = address and find(self._read(address.key), address.topic)
            number = found.question.message if found else None
        replied = message.reply_to_message
        if replied is None:
            # Telegram may leave it out in replies to ephemeral messages.
            return isinstance(number, str) and ephemeral_id(message) is not None
        return number_of(replied) == number

    def _was_just_sent(self, record: Session) -> bool:
        """Wait for the numbers of the questions of a record that this process is sending."""
        topics = [name.removeprefix("question:") for name in record]
        found = [pending.question for topic in topics if (pending := find(record, topic))]
        waits = [self._wait_for(question) for question in found if question.message is None]
        return any(waits)

    def _wait_for(self, question: Question) -> bool:
        """Wait until another thread has sent a question, and say whether one did."""
        sender, sent = self._sending.get(question.id, (None, None))
        if sent is None or sender == threading.get_ident():
            return False
        return sent.wait(_SENDING)

    def _answer(self, update: Any, data: Mapping[str, Any] | None = None) -> Any:
        """
        Handle a message or a press that may be an answer.

        Args:
            update: The message or the callback query.
            data: The values of class middlewares, which telebot gives by this name.
        """
        is_press = not hasattr(update, "message_id")
        found = self._look_at_press(update) if is_press else self._look_at(update)
        if found is None:
            return ContinueHandling()
        verdict, address, pending = found
        if pending is None or verdict == "part":
            return None
        if verdict == "end":
            return self._in_one_unit(address, End(address.topic, number_of(update)))
        with self._exclusively(address, pending.question) as current:
            if current is None:
                return ContinueHandling()
            return self._give(update, address, current, data)

    @contextmanager
    def _exclusively(self, address: Address, question: Question) -> Iterator[Pending | None]:
        """
        A block in which no other update is the answer to a question, in any process.

        Its target is the question as it waits then; `None` if it does not, or not for this update.
        """
        kind = self._records._kind
        key = f"{kind.place_of(address.key)}#{question.id}"
        answered, mine = self._answered.get(dict), object()
        if answered.setdefault(question.id, mine) is not mine:
            # Its step runs in this process.
            yield None
            return
        try:
            # Another process that has the lock may be dead, and have left it with a lease.
            hold = kind.storage.hold(key, kind.lock_timeout)
            try:
                hold.__enter__()
            except LockTimeoutError:
                yield None
                return
            try:
                current = find(self._read(address.key), address.topic)
                yield current if current and current.question.id == question.id else None
            finally:
                hold.__exit__(None, None, None)
        finally:
            del answered[question.id]

    def _give(
        self, update: Any, address: Address, pending: Pending, data: Mapping[str, Any] | None
    ) -> Any:
        """Give an answer to its step, in one unit with the end of the question."""
        question = pending.question
        end = Remove(address.topic, question.id)
        step = self.steps.find(pending.step)
        if step is None:
            _log.error(
                "an answer is there for a step that is not listed, %.100r, so it went to the "
                "handlers; list the steps of questions: use_questions(bot, sessions, steps=[...])",
                pending.step,
            )
            return self._in_one_unit(address, end)
        answer = update
        if getattr(update, "media_group_id", None):
            album = self._albums.of(update)
            answer = album.gather(update) if takes_list(step) else album.give_only(update)
            end = end._replace(album=album.note)
        elif takes_list(step) and hasattr(update, "message_id"):
            answer = Album([update])

        def call() -> Any:
            return self.steps.call(step, answer, question.data or {}, data)

        with self._restoring(address, pending):
            return self._in_one_unit(address, end, call)

    def _in_one_unit(
        self, address: Address, change: Change, call: Callable[[], Any] = ContinueHandling
    ) -> Any:
        """Call a function, and make a change with the commit of its unit."""
        ending = ending_for(Questions._answer)
        unit = enter(())
        try:
            if ending is not None and isinstance(unit, Unit):
                unit.ending = ending
            try:
                self._write(address.key, change, _unit_of(unit))
                result = call()
            except BaseException as error:
                if isinstance(unit, Unit):
                    # The update ends later, after the bot was told.
                    unit.ending = None
                unit.leave(error)
                raise
            if ending is not None:
                ending.returned(result)
            unit.leave(None)
        except BaseException:
            # A KeyboardInterrupt may have come before the unit was left.
            unit.abandon()
            raise
        return result

    @contextmanager
    def _restoring(self, address: Address, pending: Pending) -> Iterator[None]:
        """
        A block of a step. If it raises, its question waits again, for the time it had left.

        The unit has left the question as it was. But its time went on, and a question that was
        written at once may have taken its place.
        """
        asked: set[tuple[Address, str]] = set()
        # A step may deliver an update itself, whose step then runs inside of it.
        stack = self._asked.setdefault(threading.get_ident(), [])
        stack.append(asked)
        since = time.monotonic()
        try:
            yield
        except BaseException:
            here = {question_id for where, question_id in asked if where == address}
            if here or (pending.left and not pending.is_late):
                self._restore(address, Restore(pending, here, pending.has_expired(since)))
            raise
        finally:
            stack.pop()
            if not stack:
                # A later thread may get the same number.
                self._asked.pop(threading.get_ident(), None)

    def _restore(self, address: Address, change: Restore) -> None:
        try:
            self._write(address.key, change)
        except SessionError as error:
            # The bot has to learn of the step's own exception, so this one is only logged.
            _log.error("a step failed, and its question may be over: %s", fault_of(error))

    def _note(self, address: Address, question_id: str) -> None:
        """Remember what a step has asked, until it returns."""
        for asked in self._asked.get(threading.get_ident(), ()):
            asked.add((address, question_id))


def _unit_of(block: Unit | Block) -> Unit:
    return block if isinstance(block, Unit) else block.unit
