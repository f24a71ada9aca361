"""A plain text and its entities, as the parsers of marked-up texts write them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from telesession.testing.server.call import JSON, RefusedError, bad_request

if TYPE_CHECKING:
    from collections.abc import Mapping


class MarkedText:
    """
    A plain text that grows piece by piece, and the entities in it.

    Attributes:
        plain: The text so far.
        entities: The entities in it, each a `MessageEntity` as a JSON object.
    """

    def __init__(self) -> None:
        self.plain = ""
        self.entities: list[JSON] = []

    def mark(self, start: int, fields: Mapping[str, Any]) -> None:
        """
        Add an entity from an index of the plain text to its present end, unless that is empty.

        Args:
            start: The index in the plain text, in code points.
            fields: The type of the entity, and the fields that its type has.
        """
        if start < len(self.plain):
            place = {"offset": utf16(self.plain[:start]), "length": utf16(self.plain[start:])}
            self.entities.append({**fields, **place})


def utf16(words: str) -> int:
    """The length of a text in UTF-16 code units, in which Telegram counts."""
    return len(words.encode("utf-16-le", "surrogatepass")) // 2


def refused(reason: str) -> RefusedError:
    """The refusal of a text whose markup is broken, worded as Telegram does."""
    return bad_request(f"can't parse entities: {reason}")
