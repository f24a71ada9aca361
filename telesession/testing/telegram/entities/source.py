"""A marked-up text, as a parser reads it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import re


class Source:
    """
    A text that is read once from its start to its end.

    Args:
        text: The text with its markup.

    Attributes:
        at: The index of the next character, in code points.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0

    @property
    def ended(self) -> bool:
        """Whether everything has been read."""
        return self.at == len(self.text)

    @property
    def byte_offset(self) -> int:
        """The offset of the next character in UTF-8."""
        return byte_offset(self.text, self.at)

    @property
    def next(self) -> str:
        """The next character; empty at the end."""
        return self.text[self.at : self.at + 1]

    def take(self, pattern: re.Pattern[str]) -> str:
        """Read the match of a pattern that begins here; nothing if it does not match."""
        found = pattern.match(self.text, self.at)
        if found is None:
            return ""
        self.at = found.end()
        return found[0]

    def skip(self, token: str) -> bool:
        """Read a token if it comes next, and tell whether it did."""
        comes = self.text.startswith(token, self.at)
        self.at += comes * len(token)
        return comes


def byte_offset(text: str, index: int) -> int:
    """The offset of a character in UTF-8, as errors of Telegram count."""
    return len(text[:index].encode(errors="surrogatepass"))
