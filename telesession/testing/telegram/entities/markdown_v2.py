"""The parse mode `MarkdownV2`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from telesession.testing.telegram.entities import links
from telesession.testing.telegram.entities.marked import MarkedText, refused
from telesession.testing.telegram.entities.source import Source, byte_offset

if TYPE_CHECKING:
    from telesession.testing.server.call import JSON, RefusedError

#: mark -> the type of the entity that begins with it
_BEGINS = {
    "*": "bold",
    "_": "italic",
    "__": "underline",
    "~": "strikethrough",
    "||": "spoiler",
    "`": "code",
    "```": "pre",
    "[": "text_link",
    "![": "custom_emoji",
}
#: type -> the mark that ends it
_ENDS = {**{kind: mark for mark, kind in _BEGINS.items()}, "text_link": "]", "custom_emoji": "]"}

_ESCAPED = re.compile(r"\\[\x01-\x7e]")
_WORDS = re.compile(r"(?:[^\\_*\[\]()~`>#+=|{}.!\n-]|\\(?![\x01-\x7e]))+")
_MARK = re.compile(r"```|\|\||__|!\[|.", re.DOTALL)
#: In code only the backtick and the backslash have a meaning.
_CODE = re.compile(r"(?:[^\\`]|\\(?![\x01-\x7e]))+")
_CODE_MARKS = {"code": re.compile("`"), "pre": re.compile("```|`")}

_LANGUAGE = re.compile(r"[^\s`]+(?=\s)")
_NEWLINE = re.compile(r"\r\n|\n\r|\r|\n")
_QUOTE_END = re.compile(r"\n(?!>)")
_URL = re.compile(r"(?:\\[\x01-\x7e]|[^)])*")


class _Open(NamedTuple):
    """
    An entity whose end has not come yet.

    `start` is the index of its text in the plain text, `at` that of its mark in the source.
    """

    fields: JSON
    start: int
    at: int

    @property
    def type(self) -> str:
        return str(self.fields["type"])


def parse_markdown_v2(text: str) -> MarkedText:
    """
    The plain text and the entities of a text in MarkdownV2.

    Raises `RefusedError` if an entity has no end, or a reserved character is not escaped.

    See https://core.telegram.org/bots/api#markdownv2-style.
    """
    return _Parser(text).parse()


class _Parser:
    """
    Reads one text.

    Args:
        text: The text with its marks.
    """

    def __init__(self, text: str) -> None:
        self._source = Source(text)
        self._marked = MarkedText()
        self._open: list[_Open] = []
        self._quoted = False
        # Whether a `>` would be at the start of a line; an empty entity before it does not count.
        self._line_starts = True

    def parse(self) -> MarkedText:
        while not self._source.ended:
            self._step()
        if self._quoted:
            self._close_quote()
        if self._open:
            raise self._unclosed(self._open[-1])
        return self._marked

    @property
    def _innermost(self) -> str:
        return self._open[-1].type if self._open else ""

    def _step(self) -> None:
        source, innermost = self._source, self._innermost
        is_code = innermost in _CODE_MARKS
        if escaped := source.take(_ESCAPED):
            self._write(escaped[1])
        elif words := source.take(_CODE if is_code else _WORDS):
            self._write(words)
        elif self._quoted and source.take(_QUOTE_END):
            self._write("\n")
            self._close_quote()
        else:
            at = source.at
            mark = source.take(_CODE_MARKS.get(innermost, _MARK))
            if mark == _ENDS.get(innermost):
                self._close()
            else:
                self._begin(mark, at)

    def _write(self, words: str) -> None:
        self._marked.plain += words
        if visible := words.strip("\r"):
            self._line_starts = visible == "\n"

    def _begin(self, mark: str, at: int) -> None:
        if mark == "\n":
            self._write(mark)
        elif mark == ">" and self._line_starts:
            if not self._quoted:
                self._push({"type": "blockquote"}, at)
            self._quoted = True
        elif mark == "```":
            language = self._source.take(_LANGUAGE)
            self._source.take(_NEWLINE)
            self._push({"type": "pre", **({"language": language} if language else {})}, at)
        elif mark in _BEGINS:
            self._push({"type": _BEGINS[mark]}, at)
        else:
            raise refused(
                f"Character '{mark}' is reserved and must be escaped with the preceding '\\'"
            )

    def _push(self, fields: JSON, at: int) -> None:
        self._open.append(_Open(fields, len(self._marked.plain), at))

    def _close(self) -> None:
        """End the innermost entity, whose end mark has been read."""
        opened = self._open.pop()
        fields: JSON | None = opened.fields
        if opened.type == "text_link":
            url = self._url()
            fields = links.link(self._marked.plain[opened.start :] if url is None else url)
        elif opened.type == "custom_emoji":
            fields = self._emoji_or_time()
        if fields:
            self._marked.mark(opened.start, fields)

    def _emoji_or_time(self) -> JSON:
        url = self._url()
        if url is None:
            raise refused("The entity must contain a tg://emoji or tg://time URL")
        fields = links.emoji_or_time(url)
        if fields is None:
            raise refused("Invalid tg://emoji or tg://time URL specified")
        return fields

    def _url(self) -> str | None:
        """Read the URL in parentheses after a label; `None` if there is none."""
        source = self._source
        if not source.skip("("):
            return None
        offset = source.byte_offset
        url = source.take(_URL)
        if not source.skip(")"):
            raise refused(f"Can't find end of a URL at byte offset {offset}")
        return _ESCAPED.sub(lambda found: found[0][1], url)

    def _close_quote(self) -> None:
        """End the quote at the end of its last line; `||` there has made it expandable."""
        opened = self._open.pop()
        expandable = self._source.text[opened.at : self._source.at].rstrip("\r\n") == "||"
        if expandable:
            opened = self._open.pop()
        if opened.type != "blockquote":
            raise self._unclosed(opened)
        self._quoted = False
        kind = "expandable_blockquote" if expandable else "blockquote"
        self._marked.mark(opened.start, {"type": kind})

    def _unclosed(self, opened: _Open) -> RefusedError:
        offset = byte_offset(self._source.text, opened.at)
        return refused(f"Can't find end of {_name(opened)} entity at byte offset {offset}")


def _name(opened: _Open) -> str:
    """The type of an entity as Telegram's errors name it."""
    names = {
        "blockquote": "BlockQuote",
        "custom_emoji": "CustomEmoji",
        "text_link": "TextUrl",
        "pre": "PreCode" if "language" in opened.fields else "Pre",
    }
    return names.get(opened.type, opened.type.capitalize())
