"""Answers: the questions of a bot that wait for them, and the handler that gives them to steps."""

from __future__ import annotations

import inspect
import logging
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from datetime import timedelta
from typing import Any, NamedTuple, Self
from weakref import WeakValueDictionary

from telebot import util
from telebot.handler_backends import ContinueHandling

from telesession.attachment import Attachment, decorated
from telesession.bot.turns import Turn, use_in_turn
from telesession.endings import ending_for
from telesession.errors import SessionError
from telesession.handlers import is_async
from telesession.keys import by_sender_in_chat, room_of
from telesession.session import Session, ttl, ttl_left
from telesession.sessions import Sessions
from telesession.unit import Block, Unit, enter, forget, noted

_log = logging.getLogger("telesession")

# Where a bot keeps its questions, and its handlers of what may be an answer.
_QUESTIONS = "_telesession_questions"
_KINDS = ("message_handlers", "business_message_handlers", "channel_post_handlers")

# The last six are service messages, too (https://core.telegram.org/bots/api#message), though
# telebot 4.37.1 lists them in util.content_type_media: a payment must reach its own handler.
_SERVICE = frozenset(
    (
        *util.content_type_service,
        "connected_website",
        "gift",
        "passport_data",
        "successful_payment",
        "unique_gift",
        "web_app_data",
    )
)

Step = Callable[..., Any]


class Pending(NamedTuple):
    """A question: the name of its step, and the seconds that it has left, or `None` for ever."""

    step: str
    left: float | None


class _NewerError(Exception):
    """Another question waits by now; raised to leave it as it is, its time-out included."""


class Questions:
    """
    The questions of one bot, and the message handler that finds their answers.

    A question is a session of its own. On telebot's own pool its lock is held only to put it or to
    take it, never while a step runs. With sequential workers it is part of the unit of a handler
    or a step of its sender, whose other updates wait for this one.

    It lives as long as the bot, unless its sessions were attached and are detached again.
    """

    def __init__(self, bot: Any, sessions: Sessions[Any]) -> None:
        self._bot = bot
        self._sessions = sessions
        self._waiting = self._waiting_for(None)
        self._steps: dict[str, Step] = {}
        # By `threading.get_ident()`, the keys of the senders that the step which a thread runs has
        # asked. Not a threading.local: see `ProcessState`.
        self._asked: dict[int, set[str]] = {}
        # By id, the commands that have ended a question.
        self._commands: WeakValueDictionary[int, Any] = WeakValueDictionary()
        self._handler = {
            "function": self._answer,
            "pass_bot": False,
            "filters": {"func": self._may_answer},
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
        """Look at every message of the bot before its handlers do."""
        # telebot 4.37.1 has no method that puts a handler before the others.
        for kind in _KINDS:
            # A new list: a worker may be going through the old one.
            setattr(self._bot, kind, [self._handler, *getattr(self._bot, kind)])

    def leave(self) -> None:
        """Let the bot be as it was before `make`."""
        vars(self._bot).pop(_QUESTIONS, None)
        for kind in _KINDS:
            others = [other for other in getattr(self._bot, kind) if other is not self._handler]
            setattr(self._bot, kind, others)

    def refuse_others(self, sessions: Sessions[Any]) -> None:
        """Raise `ValueError` unless it is these sessions that the questions are kept with."""
        if sessions is not self._sessions:
            raise ValueError(
                f"the questions of this bot are kept with {self._sessions!r}; call use_questions "
                "with one and the same Sessions everywhere, and before the bot starts"
            )

    def list_step(self, step: Step) -> str:
        """Make a step known by its name, and return that."""
        name = getattr(step, "__qualname__", "")
        if not name or "<lambda>" in name:
            raise ValueError(
                "a step must be a function with a name, by which it can be stored; define it with "
                "def, outside of the handler"
            )
        if is_async(step) or inspect.isgeneratorfunction(step):
            raise TypeError(
                f"the step {name} is async or a generator, and calling it would do nothing; write "
                "it with def, without async and yield"
            )
        if self._steps.setdefault(name, step) != step:
            raise ValueError(
                f"there are two steps named {name!r}; rename one of them, or, if it is a function "
                "that is made anew for each question, define it outside of the handler"
            )
        return name

    def name_of(self, step: Step) -> str:
        """The name of a step, which need not be listed."""
        is_listed = getattr(step, "__qualname__", None) in self._steps
        name = self.list_step(step)
        if not is_listed and self._sessions._kind.storage.persistent:
            _log.warning(
                "after a restart nobody will know the step %s that an answer is for; list it: "
                "use_questions(bot, sessions, steps=[%s])",
                name,
                name,
            )
        return name

    def put(self, key: str, pending: Pending) -> None:
        """Let the next message of a sender in a chat go to a step."""
        self._write(key, pending, self._waiting_for(pending.left))
        if (asked := self._asked.get(threading.get_ident())) is not None:
            asked.add(key)

    def take(self, message: Any) -> Pending | None:
        """Let no step wait for the sender in the chat any more."""
        key = by_sender_in_chat(message)
        if key is None:
            return None
        with self._open(key, self._waiting) as question:
            # In this order: a name that is still there then had some time left.
            left = ttl_left(question, "step")
            name = question.get("step")
            forget(question)
        return None if name is None else Pending(name, left)

    def cancel(self, message: Any) -> bool:
        """See `cancel`."""
        was_ended = self._commands.pop(id(message), None) is not None
        return self.take(message) is not None or was_ended

    def _write(self, key: str, pending: Pending, sessions: Sessions[Session]) -> None:
        with self._open(key, sessions) as question:
            # With ttl(..., 0) for ever: a bare name would keep the mark of the question before.
            question.step = ttl(pending.step, pending.left or 0)

    def _open(self, key: str, sessions: Sessions[Session]) -> AbstractContextManager[Session]:
        """A question, which is saved with the handler or, where the user may answer, at once."""
        kind = sessions._kind
        place = kind.place_of(key)
        use = use_in_turn(kind.storage, place, is_of_sender=self._is_of_sender(key))
        return noted((kind, place), use)

    def _is_of_sender(self, key: str) -> bool:
        """Whether a question is to the sender, in the chat, of the update whose turn it is."""
        turn = Turn.of_thread()
        if turn is None or not turn.is_in_order or turn.bot is not self._bot:
            return False
        return by_sender_in_chat(turn.update) == key

    def _waiting_for(
        self, timeout: float | timedelta | None, *, commit_on_error: bool = False
    ) -> Sessions[Session]:
        # The whole record goes when the question is over, and not only its field.
        kind = self._sessions._kind
        # The private chats of two bots with one user have the same id.
        room = room_of(f"questions-{self._bot.bot_id}") + kind.room
        return Sessions._in_room(
            room, storage=kind.storage, lifetime=timeout, commit_on_error=commit_on_error
        )

    def _may_answer(self, message: Any) -> bool:
        if message.content_type is None or message.content_type in _SERVICE:
            return False
        key = by_sender_in_chat(message)
        return key is not None and "step" in (self._waiting.peek(key) or {})

    def _answer(self, message: Any) -> Any:
        """Handle a message that may be an answer."""
        key = by_sender_in_chat(message)
        if key is None:
            return ContinueHandling()
        if self._is_of_sender(key):
            return self._answer_in_turn(message, key)
        pending = self.take(message)
        step = self._step_for(message, pending)
        if pending is None or step is None:
            return ContinueHandling()
        thread, asked = threading.get_ident(), set[str]()
        # A step may deliver an update itself, whose step then runs inside of it.
        outer = self._asked.get(thread)
        self._asked[thread] = asked
        try:
            return self._with_sessions(step)(message)
        except BaseException:
            self._put_back(key, pending, asked)
            raise
        finally:
            if outer is not None:
                self._asked[thread] = outer
            else:
                # A later thread may get the same number.
                del self._asked[thread]

    def _answer_in_turn(self, message: Any, key: str) -> Any:
        """Handle it while the sender's other updates wait: one unit ends question and step."""
        ending = ending_for(Questions._answer)
        unit = enter(())
        pending = None
        try:
            if ending is not None and isinstance(unit, Unit):
                unit.ending = ending
            try:
                pending = self.take(message)
                step = self._step_for(message, pending)
                result = ContinueHandling() if step is None else self._with_sessions(step)(message)
            except BaseException as error:
                if isinstance(unit, Unit):
                    # The update ends later, after the bot was told.
                    unit.ending = None
                self._undo(unit, key, pending, error)
                raise
            if ending is not None:
                ending.returned(result)
            unit.leave(None)
        except BaseException:
            # A KeyboardInterrupt may have come before the unit was left.
            unit.abandon()
            raise
        return result

    def _undo(
        self, unit: Unit | Block, key: str, pending: Pending | None, error: BaseException
    ) -> None:
        """Leave the unit of a step that raised. Its question waits on, for the time it had left."""
        try:
            try:
                if pending is not None and pending.left is not None:
                    # The only part of the unit that is saved. The time of the step does not count.
                    kept = self._waiting_for(pending.left, commit_on_error=True)
                    self._write(key, pending, kept)
            finally:
                unit.leave(error)
        except SessionError as failure:
            # The bot has to learn of the step's own exception, so this one is only logged.
            _log.error("a step failed, and its question lost some of its time: %s", failure)

    def _step_for(self, message: Any, pending: Pending | None) -> Step | None:
        """The step that gets a message, if the message is an answer to a question."""
        if pending is None:
            return None
        if util.is_command(message.text):
            self._commands[id(message)] = message
            return None
        step = self._steps.get(pending.step) if isinstance(pending.step, str) else None
        if step is None:
            _log.error(
                "an answer is there for a step that is not listed, %.100r, so it went to the "
                "handlers; list the steps of questions: use_questions(bot, sessions, steps=[...])",
                pending.step,
            )
        return step

    def _put_back(self, key: str, pending: Pending, asked: set[str]) -> None:
        """Undo that a question was answered, unless another than its step has asked since."""
        try:
            with (
                suppress(_NewerError),
                self._waiting_for(pending.left).open(key, independent=True) as question,
            ):
                # The waiting question is of the step, or of another handler, whose question stays.
                if "step" in question and key not in asked:
                    raise _NewerError
                question.step = ttl(pending.step, pending.left or 0)
        except SessionError as error:
            # The bot has to learn of the step's own exception, so this one is only logged.
            _log.error("a question is over although its step failed: %s", error)

    def _with_sessions(self, step: Step) -> Step:
        attachment = Attachment.of(self._bot)
        dressed = step if attachment is None else attachment.decorate(step)
        return decorated(dressed, [self._sessions])
