"""Questions as they are stored: a record for each person in a chat, with fields for each topic."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, NamedTuple, Self

from telesession.session import Session, ttl, ttl_left

# Seconds for which a record remembers the message that has ended its question, the album that was
# the answer, and a replaced question. The updates may come again after an outage.
_REMEMBERED = 3600

# Seconds for which a question without a number may just be being sent.
_SENDING = 60

_NEEDED = frozenset(("id", "step"))


class Question(NamedTuple):
    """
    A question that waits for its answer.

    Args:
        id: Made for each question, and the same as long as it waits.
        step: The name of the function that gets the answer.
        message: The number of its message in the chat; `None` while it is being sent.
        after: While it is being sent, a number of an earlier message in the chat.
        reply_only: Whether only a reply to its message is an answer.
        unless: Texts that end the question, or the name of a predicate of such messages.
        on_timeout: The name of the function that gets an answer after the time-out.
        data: The keyword arguments for both functions.
    """

    id: str
    step: str
    message: int | str | None = None
    after: int | None = None
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

    def was_asked_by(self, message: int | str) -> bool:
        """Whether the message with a number asks the question, as far as that is known."""
        if self.message is not None:
            return self.message == message
        # Telegram has not told the number yet. It is higher than those of earlier messages.
        return self.after is not None and isinstance(message, int) and message > self.after

    def is_later_than(self, message: int) -> bool:
        """Whether the question was sent after the message with a number."""
        return isinstance(self.message, int) and self.message > message


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

    @property
    def step(self) -> str:
        """The name of the function that gets an answer now."""
        late = self.question.on_timeout
        return late if self.is_late and late is not None else self.question.step

    def has_expired(self, since: float) -> bool:
        """Whether the time-out, which was `left` seconds away at an instant, has passed."""
        return bool(self.left) and time.monotonic() - since >= (self.left or 0.0)


def find(record: Session, topic: str) -> Pending | None:
    """The question of a topic; `None` if none waits."""
    name = f"question:{topic}"
    question = Question.read(record.get(name))
    if question is None:
        return None
    if f"sending:{topic}" not in record:
        question = question._replace(after=None)
    if question.on_timeout is None:
        left = ttl_left(record, name)
    else:
        # The field of the time-out expires, and the question stays for the late answer.
        left = ttl_left(record, f"open:{topic}") or 0.0
    return Pending(question, topic, left)


def find_asked_by(record: Session, message: int | str) -> Pending | None:
    """The question that a message asks, in any topic; `None` if none waits."""
    topics = [name.removeprefix("question:") for name in record if name.startswith("question:")]
    found = [pending for topic in topics if (pending := find(record, topic)) is not None]
    asked = [pending for pending in found if pending.question.was_asked_by(message)]
    # The exact number first.
    asked.sort(key=lambda pending: pending.question.message is None)
    return next(iter(asked), None)


def was_ended_by(record: Mapping[str, Any], topic: str, message: int | str) -> bool:
    """Whether a message, such as a command, has ended the question of a topic."""
    return bool(record.get(f"ended:{topic}") == message)


def album_of(record: Mapping[str, Any], topic: str) -> list[Any]:
    """The id of the album that was the latest answer, and the numbers of its messages."""
    found = record.get(f"album:{topic}")
    return found if isinstance(found, list) else []


class Put(NamedTuple):
    """
    Let a question wait in a topic.

    Args:
        topic: The label of the topic.
        question: The question.
        timeout: Seconds until its time-out; `None` without one.
        is_sent: Whether it was sent. If not, the question before it is kept.
    """

    topic: str
    question: Question
    timeout: float | None
    is_sent: bool = True

    def __call__(self, record: Session) -> float | None:
        """See `telesession.unit.LateChange`."""
        before = find(record, self.topic)
        if self.is_sent:
            _drop(record, self.topic)
        elif before is not None:
            _keep(record, self.topic, [*_kept(record, self.topic), before])
        _store(record, Pending(self.question, self.topic, self.timeout))
        if not self.is_sent:
            record[f"sending:{self.topic}"] = ttl(True, _SENDING)
        return _lifetime_of(record)


class Sent(NamedTuple):
    """
    Note that a question was sent, if it still waits.

    Args:
        topic: The label of the topic.
        id: The question.
        message: The number of its message.
        own: The id of the question whose step has asked it; `None` outside of steps. It is kept
            until the step has returned.
    """

    topic: str
    id: str
    message: int | str
    own: str | None

    def __call__(self, record: Session) -> float | None:
        """See `telesession.unit.LateChange`."""
        found = find(record, self.topic)
        if found is not None and found.question.id == self.id:
            question = found.question._replace(message=self.message)
            _store(record, found._replace(question=question))
            record.pop(f"sending:{self.topic}", None)
            _keep(record, self.topic, _only(record, self.topic, self.own))
        return _lifetime_of(record)


class Unsent(NamedTuple):
    """Let the question wait again that waited before one that could not be sent."""

    topic: str
    id: str

    def __call__(self, record: Session) -> float | None:
        """See `telesession.unit.LateChange`."""
        found, kept = find(record, self.topic), _kept(record, self.topic)
        if found is not None and found.question.id == self.id:
            _drop(record, self.topic)
            if kept:
                _store(record, kept.pop())
                _keep(record, self.topic, kept)
        return _lifetime_of(record)


class Remove(NamedTuple):
    """
    Let a question wait no more, if it is the one that is meant.

    Args:
        topic: The label of its topic.
        id: The question; `None` means any.
        own: The id of the question whose step removes it; `None` outside of steps. It is kept
            until the step has returned.
        album: The id of the album that was the answer, and the numbers of its messages.
    """

    topic: str
    id: str | None = None
    own: str | None = None
    album: list[Any] | None = None

    def __call__(self, record: Session) -> float | None:
        """See `telesession.unit.LateChange`."""
        found, kept = find(record, self.topic), _kept(record, self.topic)
        if found is not None and self.id in (None, found.question.id):
            own = _only(record, self.topic, self.own)
            _drop(record, self.topic)
            _keep(record, self.topic, own)
        else:
            # A question that the step has asked waits, or one that is just being sent.
            others = [each for each in kept if each.question.id != self.id]
            _keep(record, self.topic, others)
        if self.id is None:
            record.pop(f"ended:{self.topic}", None)
        if self.album is not None:
            record[f"album:{self.topic}"] = ttl(self.album, _REMEMBERED)
        return _lifetime_of(record)


class End(NamedTuple):
    """Let a question wait no more, and note the message that has ended it."""

    topic: str
    id: str
    message: int | str

    def __call__(self, record: Session) -> float | None:
        """See `telesession.unit.LateChange`."""
        found = find(record, self.topic)
        if found is not None and found.question.id == self.id:
            _drop(record, self.topic)
            if not found.is_late:
                record[f"ended:{self.topic}"] = ttl(self.message, _REMEMBERED)
        return _lifetime_of(record)


class Restore(NamedTuple):
    """
    Let the question of a step that raised wait again, unless another update has ended it.

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
        """See `telesession.unit.LateChange`."""
        now, kept = find(record, self.topic), _kept(record, self.topic)
        known = {each.question.id for each in (*kept, *([now] if now is not None else ()))}
        has_expired = now is None and self.is_over and f"ended:{self.topic}" not in record
        if self.pending.question.id in known or has_expired:
            _drop(record, self.topic)
            _store(record, self.pending)
        return _lifetime_of(record)


Change = Put | Sent | Unsent | Remove | End | Restore


def _store(record: Session, pending: Pending) -> None:
    question, topic, left = pending
    is_kept = question.on_timeout is not None
    # With ttl(..., 0) for ever: a bare value would keep the mark of the question before.
    record[f"question:{topic}"] = ttl(question.field(), 0 if is_kept else left or 0)
    record.pop(f"open:{topic}", None)
    if is_kept and left:
        record[f"open:{topic}"] = ttl(True, left)


def _kept(record: Session, topic: str) -> list[Pending]:
    """The questions that were replaced, the latest one last, with the time they had left."""
    fields = record.get(f"before:{topic}") or []
    read = [(Question.read(field), left) for field, left in fields]
    return [Pending(question, topic, left) for question, left in read if question is not None]


def _keep(record: Session, topic: str, kept: list[Pending]) -> None:
    name = f"before:{topic}"
    if kept:
        fields = [[pending.question.field(), pending.left] for pending in kept]
        record[name] = ttl(fields, _REMEMBERED)
    else:
        record.pop(name, None)


def _only(record: Session, topic: str, own: str | None) -> list[Pending]:
    """The question of the step that makes a change, which waits again if the step raises."""
    now = find(record, topic)
    known = [*_kept(record, topic), *([now] if now is not None else ())]
    return [pending for pending in known if pending.question.id == own]


def _drop(record: Session, topic: str) -> None:
    for name in ("question", "open", "before", "sending"):
        record.pop(f"{name}:{topic}", None)


def _lifetime_of(record: Session) -> float | None:
    """Seconds until the last field of a record expires; `None` if one never does."""
    lefts = [ttl_left(record, name) for name in record]
    known = [left for left in lefts if left is not None]
    return max(known) if known and len(known) == len(lefts) else None
