"""Questions as they are stored: a record for each person in a chat, a field for each question."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, NamedTuple, Self

from telesession.session import Session, ttl_left
from telesession.ttl import ttl

# Seconds for which a record remembers the message that has ended its question, and the album that
# was the answer. Their updates may come again after an outage.
_REMEMBERED = 3600

# Seconds for which a question without a number may just be being sent.
_SENDING = 60

_NEEDED = frozenset(("id", "step"))


class Question(NamedTuple):
    """
    A question that waits for its answer.

    Args:
        id: An id of its own, which stays the same as long as the question waits.
        step: The name of the function that gets the answer.
        order: The position among the questions of the topic. The last question is asked now.
        chat: The chat of its message. A group that becomes a supergroup has new numbers.
        message: The number of its message; `None` until it is known that it was sent.
        after: The number of the message that has caused it; `None` without one.
        asked_by: The id of the question whose step has asked it at once.
        reply_only: Whether only a reply to its message is an answer.
        unless: Texts that end the question, or the name of a predicate of such messages.
        on_timeout: The name of the function that gets an answer after the time-out.
        data: The keyword arguments for both functions.
    """

    id: str
    step: str
    order: int = 0
    chat: int | None = None
    message: int | str | None = None
    after: int | None = None
    asked_by: str | None = None
    reply_only: bool = False
    unless: list[str] | str | None = None
    on_timeout: str | None = None
    data: Mapping[str, Any] | None = None

    @classmethod
    def read(cls, field: object) -> Self | None:
        """The question in a field of a record; `None` if there is none."""
        if not isinstance(field, dict) or not _NEEDED <= field.keys() <= {*cls._fields}:
            return None
        return cls(**field)

    def field(self) -> dict[str, Any]:
        """The question as it is stored."""
        return {name: value for name, value in self._asdict().items() if value}

    def is_message(self, chat: int, number: int | str) -> bool:
        """Whether a message asks the question, or may ask it because the number is unknown."""
        if self.chat not in (None, chat):
            return False
        if self.message is not None:
            return self.message == number
        return isinstance(number, int) and number > (self.after or 0)


class Pending(NamedTuple):
    """
    A question in its record.

    Args:
        question: The question.
        topic: The label of its topic.
        left: Seconds until the time-out, 0 after it; `None` without one.
        is_sending: Whether it may just be being sent.
        dead: The ids of other questions, left by processes that have died.
    """

    question: Question
    topic: str
    left: float | None
    is_sending: bool = False
    dead: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        """The id of the question."""
        return self.question.id

    @property
    def is_late(self) -> bool:
        """Whether an answer comes after the time-out."""
        return self.left == 0

    @property
    def step(self) -> str:
        """The name of the function that gets an answer now."""
        late = self.question.on_timeout
        return late if self.is_late and late is not None else self.question.step

    def has_expired(self, since: float) -> bool:
        """Whether the time-out, which was `left` seconds away at an instant, has passed."""
        return bool(self.left) and time.monotonic() - since >= (self.left or 0.0)

    def is_pressed(self, chat: int, number: int | str) -> bool:
        """Whether a button of a message belongs to the question."""
        is_known = self.question.message is not None or self.is_sending
        return is_known and self.question.is_message(chat, number)


def waiting(record: Session, topic: str | None = None) -> list[Pending]:
    """The questions of a topic, or of all, in their order; some may just be being replaced."""
    found = []
    for name in record:
        kind, _, rest = name.partition(":")
        its_topic = rest.partition(":")[0]
        if kind != "question" or topic not in (None, its_topic):
            continue
        question = Question.read(record[name])
        if question is None:
            continue
        left = ttl_left(record, name)
        if question.on_timeout is not None:
            # The field of the time-out expires, and the question stays for the late answer.
            left = ttl_left(record, f"open:{rest}") or 0.0
        found.append(Pending(question, its_topic, left, f"sending:{rest}" in record))
    return sorted(found, key=lambda pending: pending.question.order)


def find(record: Session, topic: str) -> Pending | None:
    """The question that is asked now in a topic; `None` if none waits."""
    return next(reversed(waiting(record, topic)), None)


def with_id(record: Session, topic: str, question_id: str | None) -> Pending | None:
    """The question with an id; `None` if it does not wait any more."""
    return next((each for each in waiting(record, topic) if each.id == question_id), None)


def find_pressed(
    record: Session, chat: int, number: int | str, topic: str | None
) -> Pending | None:
    """
    The question to which the buttons of a message belong; `None` without one.

    Args:
        record: The record.
        chat: The chat of the message.
        number: Its number.
        topic: The label of its topic; `None` if Telegram does not tell.
    """
    found = [
        each
        for each in waiting(record)
        if each.is_pressed(chat, number) and topic in (None, each.topic)
    ]
    # First a question that surely has this number.
    found.sort(key=lambda pending: pending.question.message is None)
    return next(iter(found), None)


def was_ended_by(record: Mapping[str, Any], topic: str, message: int | str) -> bool:
    """Whether a message, such as a command, has ended the question of a topic."""
    ended = record.get(f"ended:{topic}")
    return isinstance(ended, list) and ended[1:] == [message]


def album_of(record: Mapping[str, Any], topic: str) -> list[Any]:
    """The id of the album that was the latest answer, and the numbers of its messages."""
    found = record.get(f"album:{topic}")
    return found if isinstance(found, list) else []


class Put(NamedTuple):
    """
    Add a question. One that is being sent waits beside the others; one that was sent replaces them.

    Args:
        topic: The label of the topic.
        question: The question.
        timeout: Seconds until its time-out; `None` without one.
        before: Gets the ids of the questions that wait while this one is being sent.
    """

    topic: str
    question: Question
    timeout: float | None
    before: list[str]

    def __call__(self, record: Session) -> float | None:
        """See `telesession.unit.entry.LateChange`."""
        question, topic = self.question, self.topic
        others = waiting(record, topic)
        order = max((each.question.order for each in others), default=0) + 1
        if question.message is None:
            self.before[:] = [each.id for each in others]
            record[f"sending:{topic}:{question.id}"] = ttl(True, _SENDING)
        else:
            for each in others:
                if not each.is_sending:
                    _drop(record, each)
        _store(record, Pending(question._replace(order=order), topic, self.timeout))
        return _lifetime_of(record)


class Sent(NamedTuple):
    """
    Note that a question was sent, in place of the others. It may have its answer already.

    Args:
        topic: The label of the topic.
        question: The question, with the number of its message.
        before: The ids of the questions that waited before.
    """

    topic: str
    question: Question
    before: list[str]

    def __call__(self, record: Session) -> float | None:
        """See `telesession.unit.entry.LateChange`."""
        question, topic = self.question, self.topic
        found = with_id(record, topic, question.id)
        # The questions before one that a step has asked wait until the step has returned.
        for question_id in self.before if found is None or question.asked_by is None else ():
            _drop(record, with_id(record, topic, question_id))
        if found is not None:
            _store(record, found._replace(question=question._replace(order=found.question.order)))
            record.pop(f"sending:{topic}:{question.id}", None)
        return _lifetime_of(record)


class Unsent(NamedTuple):
    """Remove a question that could not be sent. The others wait as before."""

    topic: str
    id: str

    def __call__(self, record: Session) -> float | None:
        """See `telesession.unit.entry.LateChange`."""
        _drop(record, with_id(record, self.topic, self.id))
        return _lifetime_of(record)


class Remove(NamedTuple):
    """
    Remove a question that has its answer.

    Args:
        topic: The label of its topic.
        id: The question.
        dead: The ids of other questions, left by processes that have died.
        album: The id of the album that was the answer, and the numbers of its messages.
    """

    topic: str
    id: str
    dead: tuple[str, ...] = ()
    album: list[Any] | None = None

    def __call__(self, record: Session) -> float | None:
        """See `telesession.unit.entry.LateChange`."""
        for question_id in self.dead:
            _drop(record, with_id(record, self.topic, question_id))
        others = waiting(record, self.topic)
        known = [each for each in others if each.question.message is not None]
        mine = [each for each in known if self.id in (each.id, each.question.asked_by)]
        for each in others if mine else ():
            # The latest of them has replaced all earlier ones.
            if each.question.order < mine[-1].question.order and not each.is_sending:
                _drop(record, each)
        _drop_with_asker(record, self.topic, self.id, None)
        if self.album is not None:
            record[f"album:{self.topic}"] = ttl(self.album, _REMEMBERED)
        return _lifetime_of(record)


class End(NamedTuple):
    """
    Remove a question that a handler has ended, or a message such as a command.

    Args:
        topic: The label of its topic.
        id: The question; `None` only forgets the message that has ended one.
        message: The number of the message; `None` for a handler.
        keep: The id of the question whose step does so. It waits again if the step raises.
    """

    topic: str
    id: str | None
    message: int | str | None = None
    keep: str | None = None

    def __call__(self, record: Session) -> float | None:
        """See `telesession.unit.entry.LateChange`."""
        found = with_id(record, self.topic, self.id)
        if found is not None:
            for each in waiting(record, self.topic):
                if each.question.order < found.question.order and each.id != self.keep:
                    _drop(record, each)
            _drop_with_asker(record, self.topic, found.id, self.keep)
        name = f"ended:{self.topic}"
        if self.message is None:
            record.pop(name, None)
        elif found is not None and not found.is_late:
            record[name] = ttl([found.id, self.message], _REMEMBERED)
        return _lifetime_of(record)


class Restore(NamedTuple):
    """
    Let the question of a step that raised be asked again, unless another update has ended it.

    Args:
        pending: The question, with the time that it had left when the step began.
        is_over: Whether its time-out has passed since.
    """

    pending: Pending
    is_over: bool

    @property
    def topic(self) -> str:
        """The label of its topic."""
        return self.pending.topic

    def __call__(self, record: Session) -> float | None:
        """See `telesession.unit.entry.LateChange`."""
        question, topic, left = self.pending[:3]
        for each in waiting(record, topic):
            if each.question.asked_by == question.id:
                _drop(record, each)
        now = with_id(record, topic, question.id)
        ended = record.get(f"ended:{topic}")
        is_ended = isinstance(ended, list) and ended[0] == question.id
        if now is not None:
            # The question as the record has it, because its number may be known now.
            _store(record, now._replace(left=left))
        elif self.is_over and not waiting(record, topic) and not is_ended:
            _store(record, self.pending)
        return _lifetime_of(record)


Change = Put | Sent | Unsent | Remove | End | Restore


def _store(record: Session, pending: Pending) -> None:
    question, topic, left = pending[:3]
    is_kept, place = question.on_timeout is not None, f"{topic}:{question.id}"
    # With ttl(..., 0) for ever, because a bare value would keep the mark of the field.
    record[f"question:{place}"] = ttl(question.field(), 0 if is_kept else left or 0)
    record.pop(f"open:{place}", None)
    if is_kept and left:
        record[f"open:{place}"] = ttl(True, left)


def _drop(record: Session, pending: Pending | None) -> None:
    if pending is not None:
        for name in ("question", "open", "sending"):
            record.pop(f"{name}:{pending.topic}:{pending.id}", None)


def _drop_with_asker(record: Session, topic: str, question_id: str, keep: str | None) -> None:
    """Drop a question, and the earlier questions whose steps have asked it and still run."""
    found = with_id(record, topic, question_id)
    while found is not None and found.id != keep:
        _drop(record, found)
        found = with_id(record, topic, found.question.asked_by)


def _lifetime_of(record: Session) -> float | None:
    """Seconds until the last field of a record expires; `None` if one never does."""
    lefts = [ttl_left(record, name) for name in record]
    known = [left for left in lefts if left is not None]
    return max(known) if known and len(known) == len(lefts) else None
