"""Messages of a bot as a terminal shows them, without their keyboards."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from telesession.testing.telegram.descriptions import describe, details_of
from telesession.testing.telegram.history import content_type_of
from telesession.testing.telegram.prices import price

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from telesession.testing.telegram.history import SentMessage


def draw_message(message: Mapping[str, Any]) -> list[str]:
    """
    The lines of a message: its text, or the kind of its content with the details.

    Args:
        message: The `Message` as Telegram sends it.
    """
    kind = content_type_of(message)
    draw = _DRAWINGS.get(kind)
    return [describe(message)] if draw is None else list(draw(message[kind]))


def draw_album(messages: Sequence[SentMessage]) -> list[str]:
    """
    The lines of an album.

    The first has the number of each kind. A single caption is behind it, and several ones are
    below, each with the number of its message in front and its further lines indented.

    Args:
        messages: The messages of the album, at least one.
    """
    kinds = Counter(message.content_type.replace("_", " ") for message in messages)
    head = f"(album of {' and '.join(_count(kind, number) for kind, number in kinds.items())})"
    details = [(number, details_of(one.json)) for number, one in enumerate(messages, 1)]
    told = [(number, words) for number, words in details if words]
    if len(told) == 1:
        return [f"{head} {told[0][1]}"]
    return [head, *(_indented(f"  {number}. ", words) for number, words in told)]


def _poll(poll: Mapping[str, Any]) -> Iterator[str]:
    words = ["quiz" if poll["type"] == "quiz" else "poll"]
    if poll["allows_multiple_answers"]:
        words.append("several answers")
    if poll["is_closed"]:
        words.append("closed")
    yield f"({', '.join(words)}) {poll['question']}"
    for number, option in enumerate(poll["options"], 1):
        yield f"  {number}. {option['text']}: {_count('vote', option['voter_count'])}"


def _invoice(invoice: Mapping[str, Any]) -> Iterator[str]:
    yield f"(invoice) {invoice['title']}: {price(invoice['total_amount'], invoice['currency'])}"
    if invoice["description"]:
        yield f"  {invoice['description']}"


def _checklist(checklist: Mapping[str, Any]) -> Iterator[str]:
    yield f"(checklist) {checklist['title']}"
    for task in checklist["tasks"]:
        yield f"  [{'x' if task.get('completion_date') else ' '}] {task['text']}"


_DRAWINGS: dict[str, Callable[[Mapping[str, Any]], Iterator[str]]] = {
    "checklist": _checklist,
    "invoice": _invoice,
    "poll": _poll,
}


def _indented(start: str, text: str) -> str:
    """A text behind a start, with its further lines below its first one."""
    return start + text.replace("\n", "\n" + " " * len(start))


def _count(noun: str, number: int) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
