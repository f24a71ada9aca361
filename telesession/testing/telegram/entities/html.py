"""The parse mode `HTML`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from telesession.testing.telegram.entities import links
from telesession.testing.telegram.entities.marked import MarkedText, refused
from telesession.testing.telegram.entities.source import Source

if TYPE_CHECKING:
    from telesession.testing.server.call import JSON

#: Elements that only style their text.
_STYLES = {
    "b": "bold",
    "strong": "bold",
    "i": "italic",
    "em": "italic",
    "u": "underline",
    "ins": "underline",
    "s": "strikethrough",
    "strike": "strikethrough",
    "del": "strikethrough",
    "span": "spoiler",
    "tg-spoiler": "spoiler",
}
_TAGS = {*_STYLES, "a", "blockquote", "code", "pre", "tg-emoji", "tg-time"}

_NAMED = {"lt": "<", "gt": ">", "amp": "&", "quot": '"'}
_REFERENCE = re.compile(r"&(?:#x([0-9a-fA-F]*)|#([0-9]*)|([a-zA-Z]*));?")
# A longer reference is no reference for Telegram.
_MAX_REFERENCE = 9
_MAX_CODE = 0x10FFFE

_WORDS = re.compile(r"[^<]+")
_SPACE = re.compile(r"[ \t\r\n\v]*")
_TAG = re.compile(r"[^ \t\r\n\v>]*")
_ATTRIBUTE = re.compile(r"[^ \t\r\n\v=>/\"']*")
_TOKEN = re.compile(r"[a-zA-Z0-9.-]*")
_QUOTED = {'"': re.compile(r'[^"]*'), "'": re.compile(r"[^']*")}


class _Tag(NamedTuple):
    """A start tag; `start` is the index in the plain text at which its element begins."""

    name: str
    attributes: dict[str, str]
    start: int


def parse_html(text: str) -> MarkedText:
    """
    The plain text and the entities of a text in HTML.

    Telegram's servers know the tags of their manual and no comments, and take each `<` as the
    beginning of a tag, so this is no parser of real HTML.

    Raises `RefusedError` if a tag is unknown or not closed.

    See https://core.telegram.org/bots/api#html-style.
    """
    source, marked = Source(text), MarkedText()
    opened: list[_Tag] = []
    while not source.ended:
        marked.plain += _decoded(source.take(_WORDS))
        offset = source.byte_offset
        if source.skip("</"):
            _close(source, offset, opened, marked)
        elif source.skip("<"):
            opened.append(_start_tag(source, offset, len(marked.plain)))
    if opened:
        name = opened[-1].name
        raise refused(f'Can\'t find end tag corresponding to start tag "{name}"')
    _move_languages(marked.entities)
    return marked


def _start_tag(source: Source, offset: int, start: int) -> _Tag:
    name = source.take(_TAG).lower()
    if source.ended:
        raise refused(f"Unclosed start tag at byte offset {offset}")
    if name not in _TAGS:
        raise refused(f'Unsupported start tag "{name}" at byte offset {offset}')
    attributes = _attributes(source, name, offset)
    if name == "span" and attributes.get("class") != "tg-spoiler":
        raise refused(f'Tag "span" must have class "tg-spoiler" at byte offset {offset}')
    return _Tag(name, attributes, start)


def _attributes(source: Source, tag: str, offset: int) -> dict[str, str]:
    """The attributes of a start tag, which is read to its end; one without a value is empty."""
    found: dict[str, str] = {}
    while True:
        source.take(_SPACE)
        if source.skip(">"):
            return found
        attribute = source.take(_ATTRIBUTE)
        if not attribute:
            raise refused(f'Empty attribute name in the tag "{tag}" at byte offset {offset}')
        source.take(_SPACE)
        has_value = source.skip("=")
        source.take(_SPACE)
        if source.ended:
            raise refused(f'Unclosed start tag "{tag}" at byte offset {offset}')
        found[attribute] = _value(source, offset) if has_value else ""


def _value(source: Source, offset: int) -> str:
    """The value of an attribute, with or without quotation marks."""
    begin, quote = source.byte_offset, source.next
    if quote in _QUOTED:
        source.skip(quote)
        value = _decoded(source.take(_QUOTED[quote]))
        source.skip(quote)
    else:
        value = source.take(_TOKEN).lower()
        if source.next not in "> \t\r\n\v":
            raise refused(f"Unexpected end of name token at byte offset {begin}")
    if source.ended:
        raise refused(f"Unclosed start tag at byte offset {offset}")
    return value


def _close(source: Source, offset: int, opened: list[_Tag], marked: MarkedText) -> None:
    """Read an end tag, and mark the text of its element; `</>` ends the innermost element."""
    if not opened:
        raise refused(f"Unexpected end tag at byte offset {offset}")
    name = source.take(_TAG).lower()
    source.take(_SPACE)
    if not source.skip(">"):
        raise refused(f"Unclosed end tag at byte offset {offset}")
    tag = opened.pop()
    if name not in ("", tag.name):
        raise refused(
            f"Unmatched end tag at byte offset {offset}, "
            f'expected "</{tag.name}>", found "</{name}>"'
        )
    label = marked.plain[tag.start :]
    if label and (fields := _fields(tag, label)):
        marked.mark(tag.start, fields)


def _fields(tag: _Tag, label: str) -> JSON | None:
    """The fields of the entity of an element; `None` if it makes none."""
    match tag.name:
        case "a":
            return links.link(tag.attributes.get("href") or label)
        case "tg-emoji":
            return _custom_emoji(tag.attributes)
        case "tg-time":
            return _date_time(tag.attributes)
        case "code":
            return {"type": "code", "language": tag.attributes.get("class", "")}
        case "blockquote" if "expandable" in tag.attributes:
            return {"type": "expandable_blockquote"}
    return {"type": _STYLES.get(tag.name, tag.name)}


def _custom_emoji(attributes: dict[str, str]) -> JSON:
    fields = links.custom_emoji(attributes.get("emoji-id", ""))
    if fields is None:
        raise refused("Invalid custom emoji identifier specified")
    return fields


def _date_time(attributes: dict[str, str]) -> JSON | None:
    unix = attributes.get("unix", "")
    fields = links.date_time(int(unix) if unix.isdecimal() else 0, attributes.get("format", ""))
    if fields is None:
        raise refused("Invalid date format used")
    return fields if fields["unix_time"] else None


def _move_languages(entities: list[JSON]) -> None:
    """Give each block of code the language that a `code` element with the same text names."""
    languages = {}
    for entity in entities:
        language = entity.pop("language", "")
        if language.startswith("language-"):
            languages[entity["offset"], entity["length"]] = language.removeprefix("language-")
    for entity in entities:
        language = languages.get((entity["offset"], entity["length"]))
        if language and entity["type"] == "pre":
            entity["language"] = language


def _decoded(words: str) -> str:
    """A text with its character references replaced; Telegram keeps those that it does not know."""
    return _REFERENCE.sub(_character, words)


def _character(reference: re.Match[str]) -> str:
    hexadecimal, decimal, name = reference.groups()
    if name is not None:
        return _NAMED.get(name, reference[0])
    code = int(hexadecimal or decimal or "0", 16 if hexadecimal else 10)
    if not 0 < code <= _MAX_CODE or len(reference[0].removesuffix(";")) > _MAX_REFERENCE:
        return reference[0]
    if "\ud800" <= chr(code) <= "\udfff":
        raise refused(
            "Text contains invalid Unicode characters after decoding HTML entities, check for "
            "unmatched surrogate code units"
        )
    return chr(code)
