"""Questions: a handler asks, and a step gets the answer of the same sender in the same chat."""

from __future__ import annotations

import inspect
import logging
import threading
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, suppress
from datetime import timedelta
from typing import Any, NamedTuple, Self
from weakref import WeakValueDictionary

from telebot import TeleBot, types, util
from telebot.handler_backends import ContinueHandling

from telesession.attachment import Attachment, decorated
from telesession.bot.turns import Turn, use_in_turn
from telesession.errors import SessionError
from telesession.handlers import is_async
from telesession.keys import by_sender_in_chat, message_of, room_of
from telesession.options import checked_lifetime
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


def use_questions(bot: TeleBot, sessions: Sessions[Any], *, steps: Iterable[Step] = ()) -> None:
    """
    Let a bot listen for answers to what `ask` asks, and asked before a restart.

    The questions are kept in the storage of the sessions, each as a session of its own, in a room
    of the bot: `keys()` and `items()` of the sessions do not meet them. From now on the bot looks
    there for every message and channel post before its other handlers have their turn: one read,
    without a lock. May be called again with more steps.

    Args:
        bot: A `TeleBot`, before it is started.
        sessions: Whose storage is used, and what steps get that have the session parameter.
        steps: The functions that get answers: `step(message)` or `step(message, session)`. Their
            names are stored, and only what is listed here can be called for a question from
            before a restart: the storage does not choose what is run.

    Raises:
        TypeError: The bot, the sessions or a step is something else.
        ValueError: Two steps have the same name, one has none, or the bot keeps its questions
            with other sessions.
    """
    if not isinstance(bot, TeleBot):
        raise TypeError(
            "use_questions needs a telebot.TeleBot, whose handlers block, not an object of type "
            f"{type(bot).__name__}"
        )
    if not isinstance(sessions, Sessions):
        raise TypeError(f"use_questions takes a bot and Sessions, not {type(sessions).__name__}")
    questions = _Questions.of(bot) or _Questions.make(bot, sessions)
    questions.refuse_others(sessions)
    if callable(steps):
        name = getattr(steps, "__qualname__", "step")
        raise TypeError(f"steps must be a list of functions, such as [{name}]")
    for step in steps:
        questions.list_step(step)


def ask(
    bot: TeleBot,
    message: types.Message | types.CallbackQuery,
    text: str,
    step: Step,
    *,
    timeout: float | timedelta | None = None,
    **options: Any,
) -> types.Message:
    """
    Send a question, and let a step get the answer: the sender's next message in the same chat.

    telebot's own next steps take the next message of the chat, whoever wrote it, forget all with
    a restart unless saved by pickle, and skip messages that come in one batch
    (`TeleBot._notify_next_handlers` of 4.37.1). Here the question waits in the storage, one for
    each sender in each chat; the next question takes its place. A command is never an answer: it
    ends the question and goes to its own handler. A service message, such as a new title of the
    group, is none either. If the step raises, the question waits again for the time that it had
    left, unless another handler has asked another one meanwhile; if the process dies in the step,
    the question is over. It does not follow a group that becomes a supergroup.

    The question is written at once. With `use_sequential_workers`, a question to the sender of the
    update is saved with the sessions of the handler, and none waits if the handler raises. The end
    of a question is saved with the step that gets the answer: if the process dies in the step, the
    question waits on.

    Call `use_questions` when the bot starts. One that has sessions attached can do without. Then
    it forgets with a restart which step an answer is for, and may miss an answer that it was given
    already when it asked for the first time.

    Args:
        bot: The bot that asks.
        message: The message, or the callback query, of whoever is asked.
        text: The question. It goes to the same chat and topic. If it cannot be sent, no question
            waits.
        step: Gets the answer: `step(message)` or `step(message, session)`. What it returns goes
            to telebot, as from any handler.
        timeout: Seconds or a `timedelta` after which the question is over; `None` waits for ever.
        **options: Passed on to `bot.send_message`, such as `reply_markup`.

    Returns:
        The message that was sent.

    Raises:
        SessionError: The bot has no sessions to keep questions in, or there is nobody to ask.
        TypeError: The step is `async` or a generator, or the timeout is neither seconds nor a
            `timedelta`.
        ValueError: The step has no name, or that of another one; the timeout is not above 0.
    """
    left = checked_lifetime(timeout, "the timeout of a question", "None waits for ever")
    key = _key_of(bot, message)
    questions = _questions_of(bot)
    questions.put(key, _Pending(questions.name_of(step), left))
    try:
        return bot.send_message(text=text, **{**_place(message), **options})
    except BaseException:
        questions.take(message)
        raise


def cancel(bot: TeleBot, message: types.Message | types.CallbackQuery) -> bool:
    """
    End the question that waits for the sender of a message in its chat.

    Returns:
        Whether there was one. In the handler of a command, that is also one that this very
        command has ended.

    Raises:
        SessionError: The bot has no sessions to keep questions in.
    """
    return _questions_of(bot).cancel(message)


class _Pending(NamedTuple):
    """A question: the name of its step, and the seconds that it has left, or `None` for ever."""

    step: str
    left: float | None


class _NewerError(Exception):
    """Another question waits by now; raised to leave it as it is, its time-out included."""


class _Questions:
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

    def put(self, key: str, pending: _Pending) -> None:
        """Let the next message of a sender in a chat go to a step."""
        self._write(key, pending, self._waiting_for(pending.left))
        if (asked := self._asked.get(threading.get_ident())) is not None:
            asked.add(key)

    def take(self, message: Any) -> _Pending | None:
        """Let no step wait for the sender in the chat any more."""
        key = by_sender_in_chat(message)
        if key is None:
            return None
        with self._open(key, self._waiting) as question:
            # In this order: a name that is still there then had some time left.
            left = ttl_left(question, "step")
            name = question.get("step")
            forget(question)
        return None if name is None else _Pending(name, left)

    def cancel(self, message: Any) -> bool:
        """See `cancel`."""
        was_ended = self._commands.pop(id(message), None) is not None
        return self.take(message) is not None or was_ended

    def _write(self, key: str, pending: _Pending, sessions: Sessions[Session]) -> None:
        with self._open(key, sessions) as question:
            # With ttl(..., 0) for ever: a bare name would keep the mark of the question before.
            question.step = ttl(pending.step, pending.left or 0)

    def _open(self, key: str, sessions: Sessions[Session]) -> AbstractContextManager[Session]:
        """A question, which is saved with the handler or, where the user may answer, at once."""
        kind = sessions._kind
        place = kind.place_of(key)
        use = use_in_turn(kind.storage, place, is_of_sender=self._is_of_sender(key))
        return noted((kind, place), use)

    def _is_of_sender(self, key: str | None) -> bool:
        """Whether a question is to the sender, in the chat, of the update whose turn it is."""
        turn = Turn.of_thread()
        if turn is None or not turn.is_in_order or turn.bot is not self._bot:
            return False
        return key is not None and by_sender_in_chat(turn.update) == key

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
        if self._is_of_sender(by_sender_in_chat(message)):
            return self._answer_in_turn(message)
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
            self._put_back(message, pending, asked)
            raise
        finally:
            if outer is not None:
                self._asked[thread] = outer
            else:
                # A later thread may get the same number.
                del self._asked[thread]

    def _answer_in_turn(self, message: Any) -> Any:
        """Handle it while the sender's other updates wait: one unit ends question and step."""
        unit = enter(())
        pending = None
        try:
            try:
                pending = self.take(message)
                step = self._step_for(message, pending)
                result = ContinueHandling() if step is None else self._with_sessions(step)(message)
            except BaseException as error:
                self._undo(unit, message, pending, error)
                raise
            unit.leave(None)
        except BaseException:
            # A KeyboardInterrupt may have come before the unit was left.
            unit.abandon()
            raise
        return result

    def _undo(
        self, unit: Unit | Block, message: Any, pending: _Pending | None, error: BaseException
    ) -> None:
        """Leave the unit of a step that raised. Its question waits on, for the time it had left."""
        try:
            try:
                if pending is not None and pending.left is not None:
                    # The only part of the unit that is saved. The time of the step does not count.
                    kept = self._waiting_for(pending.left, commit_on_error=True)
                    self._write(_key_of(self._bot, message), pending, kept)
            finally:
                unit.leave(error)
        except SessionError as failure:
            # What the step raised is what the bot has to know.
            _log.error("a step failed, and its question lost some of its time: %s", failure)

    def _step_for(self, message: Any, pending: _Pending | None) -> Step | None:
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

    def _put_back(self, message: Any, pending: _Pending, asked: set[str]) -> None:
        """Undo that a question was answered, unless another than its step has asked since."""
        key = _key_of(self._bot, message)
        try:
            with (
                suppress(_NewerError),
                self._waiting_for(pending.left).open(key, independent=True) as question,
            ):
                # What waits by now is of the step itself, or of another handler, which goes on.
                if "step" in question and key not in asked:
                    raise _NewerError
                question.step = ttl(pending.step, pending.left or 0)
        except SessionError as error:
            # What the step raised is what the bot has to know.
            _log.error("a question is over although its step failed: %s", error)

    def _with_sessions(self, step: Step) -> Step:
        attachment = Attachment.of(self._bot)
        dressed = step if attachment is None else attachment.decorate(step)
        return decorated(dressed, [self._sessions])


def _questions_of(bot: Any) -> _Questions:
    questions, attachment = _Questions.of(bot), Attachment.of(bot)
    if questions is None and attachment is not None:
        questions = _Questions.make(bot, attachment.first)
        attachment.when_it_ends(questions.leave)
    if questions is None:
        raise SessionError(
            "there are no questions: the bot has no sessions to keep them in; before it starts, "
            "call use_questions(bot, sessions, steps=[...])"
        )
    return questions


def _key_of(bot: Any, update: Any) -> str:
    """The key of whoever is asked."""
    key = by_sender_in_chat(update)
    if key is None:
        raise SessionError(
            f"could not ask: this {type(update).__name__} has no sender, or no chat; pass the "
            "message or the callback query of the user to ask"
        )
    if _is_own(bot, update):
        raise SessionError(
            "could not ask: the bot would wait for itself; pass the callback query, and not "
            "its message, which is the bot's own"
        )
    if getattr(message_of(update), "guest_query_id", None):
        raise SessionError(
            "could not ask: the bot is only a guest in this chat and cannot send messages to it; "
            "answer with answer_guest_query"
        )
    return key


def _is_own(bot: Any, update: Any) -> bool:
    """Whether the bot itself has sent it, be it in the name of a business account."""
    sender = getattr(update, "sender_business_bot", None) or getattr(update, "from_user", None)
    return sender is not None and sender.is_bot and sender.id == bot.bot_id


def _place(update: Any) -> dict[str, Any]:
    """Where to send a message so that it is seen where an update came from."""
    message = message_of(update)
    place = {"chat_id": message.chat.id}
    if getattr(message, "is_topic_message", None):
        place["message_thread_id"] = message.message_thread_id
    if direct := getattr(message, "direct_messages_topic", None):
        place["direct_messages_topic_id"] = direct.topic_id
    if connection := getattr(message, "business_connection_id", None):
        place["business_connection_id"] = connection
    return place
