"""Answers: the questions of a bot that wait for them, and the handlers that give them to steps."""

from __future__ import annotations

import copy
import logging
import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from telebot.handler_backends import ContinueHandling

from telesession.bot.albums import Album, Albums, Arrived
from telesession.bot.notices import Notices
from telesession.bot.place import Address, address_of, note_topic, number_of
from telesession.bot.question import (
    Change,
    End,
    Pending,
    Question,
    Remove,
    album_of,
    find_pressed,
)
from telesession.bot.question_store import QuestionStore, Taken
from telesession.bot.steps import Steps
from telesession.bot.verdicts import Verdict, has_content, is_automatic, judge
from telesession.keys import GENERAL, by_sender_in_chat, topic_label
from telesession.moves import migrated_chat
from telesession.session import Session
from telesession.unit.blocks import enter
from telesession.unit.control import on_commit
from telesession.unit.endings import ending_for
from telesession.unit.entry import Use
from telesession.unit.unit import Unit

if TYPE_CHECKING:
    from telesession.sessions import Sessions
    from telesession.storage.base import Hold
    from telesession.unit.endings import Ending

_log = logging.getLogger("telesession")

# The attributes of a bot for its questions, and for the handlers of possible answers.
_QUESTIONS = "_telesession_questions"
_MESSAGES = ("message_handlers", "business_message_handlers", "channel_post_handlers")
_PRESSES = "callback_query_handlers"
_MIGRATED = ("migrate_to_chat_id", "migrate_from_chat_id")


class _Found(NamedTuple):
    """The meaning of an update for a question, and the address and the question itself."""

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
        is_kept: Whether they outlive the sessions that are attached to the bot.
    """

    def __init__(self, bot: Any, sessions: Sessions[Any]) -> None:
        self._bot = bot
        self._sessions = sessions
        self.steps = Steps(bot, sessions)
        self.store = QuestionStore(bot, sessions)
        self.is_kept = False
        self._albums = Albums()
        self._notices = Notices(bot, self._note_messages)
        # `threading.get_ident()` -> the result for the update that telebot gives to `_answer` next.
        # A second look would read the record once more.
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
        self._notices.install()
        # telebot 4.37.1 has no method that puts a handler before the others.
        for kind, handler in self._handlers.items():
            # A new list: a worker may be going through the old one.
            setattr(self._bot, kind, [handler, *getattr(self._bot, kind)])

    def leave(self) -> None:
        """Let the bot be as it was before `make`, unless its questions are kept."""
        if self.is_kept:
            return
        vars(self._bot).pop(_QUESTIONS, None)
        self._notices.uninstall()
        for kind, handler in self._handlers.items():
            others = [other for other in getattr(self._bot, kind) if other is not handler]
            setattr(self._bot, kind, others)

    def refuse_others(self, sessions: Sessions[Any]) -> None:
        """Raise `ValueError` if the questions are kept with other sessions."""
        if sessions is not self._sessions:
            raise ValueError(
                f"the questions of this bot are kept with {self._sessions!r}; call use_questions "
                "with one and the same Sessions everywhere, and before the bot starts"
            )

    def _note_messages(self, messages: list[Any]) -> None:
        """Note messages when they arrive, before a handler looks for their questions."""
        for message in messages:
            if message.media_group_id:
                self._albums.notice(message)
            elif message.content_type in _MIGRATED:
                chat = migrated_chat(message)
                if chat is not None:
                    self.store.follow(*chat)

    def _may_answer(self, message: Any) -> bool:
        return self._keep(self._look_at(message))

    def _may_press(self, query: Any) -> bool:
        return self._keep(self._look_at_press(query))

    def _keep(self, found: _Found | None) -> bool:
        if found is not None:
            self._found[threading.get_ident()] = found
        return found is not None

    def _look_at(self, message: Any) -> _Found | None:
        """The meaning of a message for the question of its sender; `None` without one."""
        # Every message passes here, and most people have no question.
        key = by_sender_in_chat(message) if has_content(message) else None
        if key is None:
            return None
        record = self.store.read(key)
        if (record is None and not message.media_group_id) or is_automatic(message):
            return None
        record, address = record or Session(), Address(key, topic_label(message) or GENERAL)
        pending, verdict = self.store.current(record, address), None
        if message.media_group_id:
            is_given = self._is_given(message, album_of(record, address.topic))
            if is_given is not None:
                return _Found("part", address, pending) if is_given else None
        if pending is not None:
            verdict = self._judge(message, pending.question)
        if message.media_group_id and verdict != "answer":
            # A question that a handler asks about one part is not answered by the next one.
            self._albums.of(message).leave()
        return None if verdict is None else _Found(verdict, address, pending)

    def _judge(self, message: Any, question: Question) -> Verdict | None:
        verdict = judge(self._bot, self.steps, question, message)
        has_answer = verdict == "end" and self.store.is_taken(question)
        return None if has_answer else verdict

    def _look_at_press(self, query: Any) -> _Found | None:
        """The meaning of the press of a button; see `_meaning_of_message`."""
        message, address = query.message, address_of(query)
        if message is None or address is None:
            return None
        record = self.store.read(address.key)
        if record is None:
            return None
        topic = topic_label(message)
        pending = find_pressed(record, message.chat.id, number_of(message), topic)
        if pending is None:
            return None
        note_topic(message, pending.topic)
        return _Found("answer", Address(address.key, pending.topic), pending)

    def _is_given(self, message: Any, album: list[Any]) -> bool | None:
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

    def _answer(self, update: Any, data: Mapping[str, Any] | None = None) -> Any:
        """
        Handle a message or a press that may be an answer.

        Args:
            update: The message or the callback query.
            data: The values of class middlewares, which telebot gives by this name.
        """
        ending = ending_for(Questions._answer)
        verdict, address, pending = self._found.pop(threading.get_ident())
        if verdict == "part" or pending is None:
            return None
        if verdict == "end":
            end = End(address.topic, pending.question.id, number_of(update))
            return self._in_one_unit(address, end, ending)
        album = None
        if getattr(update, "media_group_id", None):
            album = self._albums.of(update)
            if not album.begin():
                return None if album.is_given(update) else ContinueHandling()
            if ending is not None:
                # The other messages of the album do not wait for a further attempt.
                ending.is_called = True
        try:
            with self.store.exclusively(address, pending.question) as taken:
                if taken is None:
                    return ContinueHandling()
                return self._give(update, album, address, taken, data, ending=ending)
        finally:
            if album is not None:
                album.leave()

    def _give(
        self,
        update: Any,
        album: Arrived | None,
        address: Address,
        taken: Taken,
        data: Mapping[str, Any] | None,
        *,
        ending: Ending | None,
    ) -> Any:
        """Give an answer to its step, in one unit with the end of the question."""
        pending, lock = taken
        question = pending.question
        end = Remove(address.topic, question.id, pending.dead)
        step = self.steps.find(pending.step)
        if step is None:
            _log.error(
                "an answer is there for a step that is not listed, %.100r, so it went to the "
                "handlers; list the steps of questions: use_questions(bot, sessions, steps=[...])",
                pending.step,
            )
            return self._in_one_unit(address, end, ending, lock=lock)
        answer, takes_list = update, self.steps.takes_list(pending.step)
        if album is not None:
            answer = album.gather(update) if takes_list else album.give_only(update)
            end = end._replace(album=album.note)
        elif takes_list and hasattr(update, "message_id"):
            answer = Album([update])

        with self.store.running(address, pending) as saved:

            def call() -> Any:
                on_commit(saved)
                # A copy: the step may change it, and raise.
                given = copy.deepcopy(dict(question.data or {}))
                return self.steps.call(step, answer, given, data, ending)

            return self._in_one_unit(address, end, ending, call, lock)

    def _in_one_unit(
        self,
        address: Address,
        change: Change,
        ending: Ending | None,
        call: Callable[[], Any] = ContinueHandling,
        lock: Hold | None = None,
    ) -> Any:
        """
        Call a function, and make a change with the commit of its unit.

        The locks of the unit are taken beside that of the answer, if the update is one. So a step
        has one connection to a server, and not two.
        """
        unit = enter((), use=Use(beside=lock))
        try:
            if ending is not None and isinstance(unit, Unit):
                unit.ending = ending
            try:
                self.store.write(address.key, change, unit.unit)
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
