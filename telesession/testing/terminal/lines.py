"""Long texts as lines of a terminal."""

from __future__ import annotations

import textwrap

_WIDTH = 80


def wrap(text: str, indent: int) -> list[str]:
    """
    A text in lines of at most 80 columns, which end between words.

    Args:
        text: The text.
        indent: The spaces in front of each line but the first.
    """
    return textwrap.wrap(
        text,
        _WIDTH,
        subsequent_indent=" " * indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
