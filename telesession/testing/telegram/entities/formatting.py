"""The text that a message gets from the marks and entities of a call."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from telesession.testing.server.call import JSON, Call, bad_request
from telesession.testing.telegram.entities.detection import detect
from telesession.testing.telegram.entities.given import checked
from telesession.testing.telegram.entities.html import parse_html
from telesession.testing.telegram.entities.markdown import parse_markdown
from telesession.testing.telegram.entities.markdown_v2 import parse_markdown_v2
from telesession.testing.telegram.entities.marked import utf16
from telesession.testing.telegram.entities.nesting import nested

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_MODES = {"html": parse_html, "markdown": parse_markdown, "markdownv2": parse_markdown_v2}

#: Characters that Telegram removes from every text.
_DROPPED = "\r\u2028\u2029\u202a\u202b\u202c\u202d\u202e\u0333\u033f\u030a"


def formatted(
    fields: Mapping[str, Any],
    user: Callable[[int], JSON],
    name: str = "text",
    entities_name: str = "entities",
    parse_mode_name: str = "parse_mode",
) -> JSON:
    """
    The text in a call or a JSON object as its message has it, with its entities.

    The entities are those of the parse mode, or else the given ones, and those that the server
    finds. The text is trimmed.

    Args:
        fields: The parameters of a call, or a JSON object in them, such as an `InputMedia`.
        user: Returns the `User` with an id; for `text_mention`.
        name: The name of the text, in `fields` and in the result.
        entities_name: The name of its entities, in `fields` and in the result.
        parse_mode_name: The name of its parse mode in `fields`.

    Returns the text and its entities under their names; without entities only the text, and
    nothing at all if the text is empty.

    Raises `RefusedError` if the marks are broken, or an entity is wrong or outside of the text.

    See https://core.telegram.org/bots/api#formatting-options.
    """
    text = str(fields.get(name) or "")
    mode = str(fields.get(parse_mode_name) or "none")
    if text and mode.lower() != "none":
        plain, entities = parse(text, mode)
    else:
        # A call has its entities as a string of JSON, an object in it as a list.
        given = Call("", fields).json(entities_name) or ()
        plain, entities = _fixed(text, checked(given))
    entities = [_with_user(entity, user) for entity in nested(entities, detect(plain))]
    return {**({name: plain} if plain else {}), **({entities_name: entities} if entities else {})}


def parse(text: str, parse_mode: str) -> tuple[str, list[JSON]]:
    """
    The plain text, trimmed, and the entities of a text with marks.

    The user of a `text_mention` has only an id. Entities that the server finds by itself are not
    among them: `formatted` adds them.

    Args:
        text: The text with its marks.
        parse_mode: `HTML`, `MarkdownV2` or `Markdown`, in any case.

    Raises `RefusedError` if the marks are broken, or for another parse mode.
    """
    parser = _MODES.get(parse_mode.lower())
    if parser is None:
        raise bad_request("unsupported parse_mode")
    marked = parser(text)
    return _fixed(marked.plain, marked.entities)


def _fixed(text: str, entities: list[JSON]) -> tuple[str, list[JSON]]:
    """A text without characters that Telegram drops and without spaces around it."""
    plain, entities = _cleaned(text, entities)
    plain = plain.rstrip(" \n")
    length = utf16(plain)
    entities = [
        {**entity, "length": min(entity["length"], length - entity["offset"])}
        for entity in entities
        if entity["offset"] < length and entity["length"]
    ]
    # Spaces at the start stay if they are part of an entity.
    first = min((entity["offset"] for entity in entities), default=length)
    kept = plain[:first].lstrip(" \n") + plain[first:]
    cut = len(plain) - len(kept)
    moved = [{**entity, "offset": entity["offset"] - cut} for entity in entities]
    return kept, nested(moved)


def _cleaned(text: str, entities: list[JSON]) -> tuple[str, list[JSON]]:
    """A text without control characters, whose entities keep their words."""
    clean = ""
    # offset in the text -> offset in the clean text; none within a character of two units
    offsets: dict[int, int] = {}
    old = new = 0
    for character in text:
        offsets[old] = new
        kept = "" if character in _DROPPED else character
        if kept < " " and kept not in ("", "\n"):
            kept = " "
        clean += kept
        old += utf16(character)
        new += utf16(kept)
    offsets[old] = new
    return clean, [_moved(entity, offsets, text) for entity in entities]


def _moved(entity: JSON, offsets: Mapping[int, int], text: str) -> JSON:
    """An entity at its place in a cleaned text; `offsets` are those of whole characters."""
    start, end = entity["offset"], entity["offset"] + entity["length"]
    length = utf16(text)
    if start > length:
        raise bad_request(f"entity begins after the end of the text at UTF-16 offset {start}")
    if start not in offsets:
        raise bad_request(
            f"entity begins in a middle of a UTF-16 symbol at byte offset {_bytes(text, start)}"
        )
    beginning = f"entity beginning at UTF-16 offset {start} ends"
    if end > length:
        raise bad_request(f"{beginning} after the end of the text at UTF-16 offset {end}")
    if end not in offsets:
        raise bad_request(
            f"{beginning} in a middle of a UTF-16 symbol at byte offset {_bytes(text, end)}"
        )
    return {**entity, "offset": offsets[start], "length": offsets[end] - offsets[start]}


def _bytes(text: str, inside: int) -> int:
    """The byte offset of the end of the character that a UTF-16 offset cuts in two."""
    before = text.encode("utf-16-le")[: 2 * inside + 2]
    return len(before.decode("utf-16-le").encode())


def _with_user(entity: JSON, user: Callable[[int], JSON]) -> JSON:
    if entity["type"] != "text_mention":
        return entity
    return {**entity, "user": user(int(entity["user"]["id"]))}
