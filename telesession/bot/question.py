"""Questions as they are stored: one record for each person in a chat, with a field for a topic."""

from __future__ import annotations

import time
from collections.abc import Mapping, MutableMapping
from typing import Any, NamedTuple, Self

from telesession.session import Session, ttl, ttl_left

# Seconds for which a record knows which message has ended its question, or which album was the
# answer. The updates may come again after an outage.
_REMEMBERED = 3600

_NEEDED = frozenset(("id", "step", "message"))


class Question(NamedTuple):
    """
    A question that waits for its answer.

    Args:
        id: Made for each question, and the same as long as it waits.
        step: The name of the function that gets the answer.
        message: The number of the message in its chat.
        reply_only: Whether only a reply to that message is an answer.
        unless: Texts that end the question, or the name of a predicate of such messages.
        on_timeout: The name of the function that gets an answer after the time-out.
        data: The keyword arguments for both functions.
    """

    id: str
    step: str
    message: int | str
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


class Pending(NamedTuple):
    """
    A question in its record.

    Args:
        question: The question.
        topic: The label of its topic.
        left: Seconds until the time-out, 0 after it; `None` without one.
    """

    question: Question
    topic: str
    left: float | None

    @property
    def is_late(self) -> bool:
        """Whether an answer comes after the time-out."""
        return self.left == 0

    def has_expired(self, since: float) -> bool:
        """Whether its time-out has passed that had `left` seconds at an instant of the clock."""
        return bool(self.left) and time.monotonic() - since >= (self.left or 0.0)

    @property
    def step(self) -> str:
        """The name of the function that gets an answer now."""
        late = self.question.on_timeout
        return late if self.is_late and late is not None else self.question.step


def find(record: Session, topic: str) -> Pending | None:
    """The question of a topic; `None` if none waits."""
    name = f"question:{topic}"
    question = Question.read(record.get(name))
    if question is None:
        return None
    if question.on_timeout is None:
        left = ttl_left(record, name)
    else:
        # The field of the time-out expires, and the question stays for the late answer.
        left = ttl_left(record, f"open:{topic}") or 0.0
    return Pending(question, topic, left)


def find_asked_by(record: Session, message: int | str) -> Pending | None:
    """The question that was asked by a message, in any topic; `None` if none waits."""
    topics = [name.removeprefix("question:") for name in record if name.startswith("question:")]
    found = (find(record, topic) for topic in topics)
    return next((each for each in found if each and each.question.message == message), None)


def was_ended_by(record: Mapping[str, Any], topic: str, message: int | str) -> bool:
    """Whether a message, such as a command, has ended the question of a topic."""
    return bool(record.get(f"ended:{topic}") == message)


def album_of(record: Mapping[str, Any], topic: str) -> list[Any]:
    """The id of the album that was the latest answer, and the numbers of its messages."""
    found = record.get(f"album:{topic}")
    return found if isinstance(found, list) else []


class Put(NamedTuple):
    """Let a question wait in a topic, in place of another one."""

    topic: str
    question: Question
    timeout: float | None

    def __call__(self, record: Session) -> float | None:
        """See `telesession.unit.LateChange`."""
        name, is_kept = f"question:{self.topic}", self.question.on_timeout is not None
        _drop(record, self.topic)
        # With ttl(..., 0) for ever: a bare value would keep the mark of the question before.
        record[name] = ttl(self.question.field(), 0 if is_kept else self.timeout or 0)
        if is_kept and self.timeout:
            record[f"open:{self.topic}"] = ttl(True, self.timeout)
        return _lifetime_of(record)


class Remove(NamedTuple):
    """
    Let a question wait no more, if it is the one that is meant.

    Args:
        topic: The label of its topic.
        id: The question; `None` means any.
        album: The id of the album that was the answer, and the numbers of its messages.
    """

    topic: str
    id: str | None = None
    album: list[Any] | None = None

    def __call__(self, record: Session) -> float | None:
        """See `telesession.unit.LateChange`."""
        found = find(record, self.topic)
        if found is not None and self.id in (None, found.question.id):
            _drop(record, self.topic)
        if self.id is None:
            record.pop(f"ended:{self.topic}", None)
        if self.album is not None:
            record[f"album:{self.topic}"] = ttl(self.album, _REMEMBERED)
        return _lifetime_of(record)


class End(NamedTuple):
    """Let no question wait, and note the message that has ended it."""

    topic: str
    message: int | str

    def __call__(self, record: Session) -> float | None:
        """See `telesession.unit.LateChange`."""
        found = find(record, self.topic)
        _drop(record, self.topic)
        if found is not None and not found.is_late:
            record[f"ended:{self.topic}"] = ttl(self.message, _REMEMBERED)
        return _lifetime_of(record)


class Restore(NamedTuple):
    """
    Let the question of a step that raised wait again, unless another handler has ended it.

    Args:
        pending: The question, with the time that it had left when the step began.
        asked: The ids of the questions that the step has asked at once in its topic.
        is_over: Whether the question has expired since.
    """

    pending: Pending
    asked: set[str]
    is_over: bool

    @property
    def topic(self) -> str:
        """The label of its topic."""
        return self.pending.topic

    def __call__(self, record: Session) -> float | None:
        """See `telesession.unit.LateChange`."""
        question, topic, left = self.pending
        now = find(record, topic)
        if now is None:
            is_of_step = self.is_over and not self.asked and f"ended:{topic}" not in record
        else:
            is_of_step = now.question.id in {question.id, *self.asked}
        if is_of_step:
            Put(topic, question, left)(record)
        return _lifetime_of(record)


Change = Put | Remove | End | Restore


def _drop(record: MutableMapping[str, Any], topic: str) -> None:
    for name in ("question", "open"):
        record.pop(f"{name}:{topic}", None)


def _lifetime_of(record: Session) -> float | None:
    """Seconds until the last field of a record expires; `None` if one never does."""
    lefts = [ttl_left(record, name) for name in record]
    known = [left for left in lefts if left is not None]
    return max(known) if known and len(known) == len(lefts) else None
