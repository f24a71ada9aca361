"""Answers: the questions of a bot that wait for them, and the handlers that give them to steps."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from telebot.handler_backends import ContinueHandling

from telesession.bot.albums import Album, Albums
from telesession.bot.place import Address, address_of, ephemeral_id, number_of
from telesession.bot.question import (
    Change,
    End,
    Pending,
    Question,
    Remove,
    album_of,
    find,
    find_asked_by,
)
from telesession.bot.question_store import QuestionStore, unit_of
from telesession.bot.steps import Steps
from telesession.bot.verdicts import Verdict, command_of, is_for, is_sent_on_purpose
from telesession.endings import ending_for
from telesession.session import Session
from telesession.unit import Unit, enter, on_commit

if TYPE_CHECKING:
    from telesession.sessions import Sessions

_log = logging.getLogger("telesession")

# Where a bot keeps its questions, and its handlers of what may be an answer.
_QUESTIONS = "_telesession_questions"
_MESSAGES = ("message_handlers", "business_message_handlers", "channel_post_handlers")
_PRESSES = "callback_query_handlers"


class _Found(NamedTuple):
    """What an update means, where, and for which question."""

    verdict: Verdict
    address: Address
    pending: Pending | None


class Questions:
    """
    The questions of one bot, and the handlers that find their answers.

    It lives as long as the bot, unless its sessions were attached and are detached again.

    Attributes:
        steps: The functions that get answers.
        store: The records of the questions.
    """

    def __init__(self, bot: Any, sessions: Sessions[Any]) -> None:
        self._bot = bot
        self._sessions = sessions
        self.steps = Steps(bot, sessions)
        self.store = QuestionStore(bot, sessions)
        self._albums = Albums()
        # By `threading.get_ident()`, what was found for the update that telebot gives to `_answer`
        # next. A second look would read the record once more.
        self._found: dict[int, _Found] = {}
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

    def _may_answer(self, message: Any) -> bool:
        return self._keep(self._look_at(message))

    def _may_press(self, query: Any) -> bool:
        return self._keep(self._look_at_press(query))

    def _keep(self, found: _Found | None) -> bool:
        if found is not None:
            self._found[threading.get_ident()] = found
        return found is not None

    def _look_at(self, message: Any) -> _Found | None:
        """What a message means for the question that waits for its sender, if it means anything."""
        address = address_of(message) if is_sent_on_purpose(message) else None
        if address is None:
            return None
        record = self.store.read(address.key)
        if record is None and not message.media_group_id:
            return None
        record = record or Session()
        pending = find(record, address.topic)
        if message.media_group_id:
            is_part = self._is_part(message, album_of(record, address.topic))
            if is_part is not None:
                return _Found("part", address, pending) if is_part else None
        verdict = None if pending is None else self._judge(message, pending.question)
        if message.media_group_id and (pending is None or verdict == "end"):
            # A handler gets it, and the rest of it must not answer the question of that handler.
            self._albums.of(message).leave()
        return None if verdict is None else _Found(verdict, address, pending)

    def _look_at_press(self, query: Any) -> _Found | None:
        """The same for the press of a button."""
        address = None if query.message is None else address_of(query)
        if address is None:
            return None
        number, record = number_of(query.message), self.store.read(address.key)
        if record is None:
            return None
        pending = find_asked_by(record, number)
        if pending is None and self._was_just_sent(record):
            pending = find_asked_by(self.store.read(address.key) or Session(), number)
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
        if number is None and self.store.wait_until_sent(question):
            address = address_of(message)
            found = address and self.store.find(address)
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
        waits = [
            self.store.wait_until_sent(question) for question in found if question.message is None
        ]
        return any(waits)

    def _answer(self, update: Any, data: Mapping[str, Any] | None = None) -> Any:
        """
        Handle a message or a press that may be an answer.

        Args:
            update: The message or the callback query.
            data: The values of class middlewares, which telebot gives by this name.
        """
        verdict, address, pending = self._found.pop(threading.get_ident())
        if verdict == "part" or pending is None:
            return None
        if verdict == "end":
            return self._in_one_unit(address, End(address.topic, number_of(update)))
        with ExitStack() as deciding:
            if getattr(update, "media_group_id", None):
                album = self._albums.of(update)
                album.deciding.acquire()
                deciding.callback(album.deciding.release)
                # Another thread may have given it to a step since the first look.
                is_given = album.is_given(update)
                if is_given is not None:
                    return None if is_given else ContinueHandling()
            with self.store.exclusively(address, pending.question) as current:
                if current is None:
                    return ContinueHandling()
                return self._give(update, address, current, data, deciding.close)

    def _give(
        self,
        update: Any,
        address: Address,
        pending: Pending,
        data: Mapping[str, Any] | None,
        decided: Callable[[], object],
    ) -> Any:
        """
        Give an answer to its step, in one unit with the end of the question.

        Args:
            update: The answer.
            address: The place of the question.
            pending: The question.
            data: The values of class middlewares.
            decided: Called before it waits for the other messages of an album.
        """
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
        answer, takes_list = update, self.steps.takes_list(pending.step)
        if getattr(update, "media_group_id", None):
            album = self._albums.of(update)
            album.begin(update, is_list=takes_list)
            decided()
            answer = album.gather() if takes_list else update
            end = end._replace(album=album.note)
        elif takes_list and hasattr(update, "message_id"):
            answer = Album([update])

        with self.store.restoring(address, pending) as saved:

            def call() -> Any:
                on_commit(saved)
                return self.steps.call(step, answer, question.data or {}, data)

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
                self.store.write(address.key, change, unit_of(unit))
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
