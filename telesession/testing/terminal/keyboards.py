"""Keyboards as a terminal shows them."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING, Any

from telesession.testing.people.buttons import reply_buttons, requested_by
from telesession.testing.telegram.history import inline_buttons

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from telesession.testing.server.call import JSON

# Columns of a row of buttons: of 80, without an indent of two and the last border of a frame.
_WIDTH = 77


def draw_markup(markup: Mapping[str, Any]) -> Iterator[str]:
    """
    The lines to print under a message for its `reply_markup`.

    An inline keyboard is rows of buttons with numbers. A reply keyboard is rows in a frame,
    because its buttons are pressed by typing their labels. If they send something else than the
    label, that is shown below.
    """
    if markup.get("remove_keyboard"):
        yield "(keyboard removed)"
    if markup.get("force_reply"):
        yield "(your next line is a reply to this)"
    yield from _inline_rows(markup)
    rows = [labels({"keyboard": [row]}) for row in markup.get("keyboard", [])]
    if any(rows):
        yield from _frame(rows)
    for button in reply_buttons(markup):
        if thing := requested_by(button):
            yield f"({button['text']} sends {thing})"


def labels(markup: JSON) -> list[str]:
    """The labels of a reply keyboard; none if it is of another kind."""
    return [str(button["text"]) for button in reply_buttons(markup)]


def _inline_rows(markup: Mapping[str, Any]) -> Iterator[str]:
    number = 0
    for row in markup.get("inline_keyboard", []):
        buttons = []
        for button in inline_buttons({"inline_keyboard": [row]}):
            number += 1
            buttons.append(f"[{number}] {button['text']}")
        for part in _split(buttons, 2):
            yield "  ".join(part)


def _frame(rows: Iterable[list[str]]) -> Iterator[str]:
    """Rows of buttons that are all as wide as the widest one."""
    narrow = [part for row in rows for part in _split(row, 3)]
    width = max(sum(_columns(label) + 3 for label in row) for row in narrow)
    border = f"+{'-' * (width - 1)}+"
    yield border
    for row in narrow:
        share, more = divmod(width - sum(_columns(label) + 3 for label in row), len(row))
        cells = [_center(label, share + (place < more)) for place, label in enumerate(row)]
        yield f"|{'|'.join(cells)}|"
    yield border


def _split(row: list[str], gap: int) -> Iterator[list[str]]:
    """A row of buttons, in several parts if it is too wide for one line."""
    part: list[str] = []
    width = 0
    for button in row:
        needed = _columns(button) + gap
        if part and width + needed > _WIDTH:
            yield part
            part, width = [], 0
        part.append(button)
        width += needed
    if part:
        yield part


def _center(label: str, spare: int) -> str:
    left = spare // 2
    return f"{' ' * (left + 1)}{label}{' ' * (spare - left + 1)}"


def _columns(text: str) -> int:
    """The columns of a text in a terminal, where most emojis take two."""
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text)
