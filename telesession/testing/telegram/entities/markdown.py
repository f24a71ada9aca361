"""The parse mode `Markdown`, which Telegram keeps for old bots."""

from __future__ import annotations

import re

from telesession.testing.telegram.entities.links import link
from telesession.testing.telegram.entities.marked import MarkedText, refused
from telesession.testing.telegram.entities.source import byte_offset

_PIECE = re.compile(
    r"""
      \\(?P<escaped>[_*`\[])
    | ```(?:(?P<language>[^\s`]+)(?=\s))?(?:\r\n|\n\r|\r|\n)?(?P<pre>.*?)```
    | `(?!``)(?P<code>[^`]*)`
    | _(?P<italic>[^_]*)_
    | \*(?P<bold>[^*]*)\*
    | \[(?P<text_link>[^\]]*)\](?P<target>\((?P<url>[^)]*)\)?)?
    | (?P<unclosed>[_*`\[])
    | (?P<plain>[^\\_*`\[]+|\\)
    """,
    re.VERBOSE | re.DOTALL,
)


def parse_markdown(text: str) -> MarkedText:
    """
    The plain text and the entities of a text in the legacy Markdown; no entity contains another.

    Raises `RefusedError` if an entity has no end.

    See https://core.telegram.org/bots/api#markdown-style.
    """
    marked = MarkedText()
    for piece in _PIECE.finditer(text):
        if piece["unclosed"]:
            offset = byte_offset(text, piece.start())
            raise refused(f"Can't find end of the entity starting at byte offset {offset}")
        _add(piece, marked)
    return marked


def _add(piece: re.Match[str], marked: MarkedText) -> None:
    """Write a piece of the text, and mark it if it is an entity."""
    start = len(marked.plain)
    kind = _kind(piece)
    marked.plain += piece[kind]
    if kind == "text_link":
        fields = link(piece["url"] if piece["target"] else piece[kind])
    elif kind == "pre" and piece["language"]:
        fields = {"type": kind, "language": piece["language"]}
    else:
        fields = None if kind in ("escaped", "plain") else {"type": kind}
    if fields:
        marked.mark(start, fields)


def _kind(piece: re.Match[str]) -> str:
    """The name of the group that has the text of a piece."""
    kinds = ("escaped", "pre", "code", "italic", "bold", "text_link", "plain")
    return next(kind for kind in kinds if piece[kind] is not None)
