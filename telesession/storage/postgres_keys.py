"""The spelling of keys in the column `key` of a table, in the order of their characters."""

from __future__ import annotations

import re
import sys

# The type `text` refuses NUL and halves of surrogate pairs. Each becomes two characters. The
# first of them is the character before it, which becomes two, too. So the order of keys stays.
_LOW, _HIGH = "\x01", "\ud7ff"
_REFUSED = re.compile(f"[\0{_LOW}{_HIGH}\ud800-\udfff]")
_SPELLED = re.compile(f"[{_LOW}{_HIGH}](.)", re.DOTALL)
# The second characters of the two, and the difference between a half and its second character.
_ITSELF, _SHIFT = "\x02", 0xD700
_FIRST_HALF, _AFTER_HALVES = 0xD800, 0xE000
_LAST = chr(sys.maxunicode)
# No key lies between a key and the same key with this character behind it.
_NEXT = "\x01"


def spelled(key: str) -> str:
    """The text in the column: the key, if PostgreSQL takes it as it is."""
    return _REFUSED.sub(_replace_character, key) if _REFUSED.search(key) else key


def key_of(value: bytes) -> str:
    """The key of a text in the column."""
    return _SPELLED.sub(_restore_character, value.decode())


def next_after(text: str) -> str:
    """The first text behind another one in the column."""
    return text + _NEXT


def end_of(prefix: str) -> str | None:
    """The first text behind all texts with a prefix; `None` if there is none."""
    prefix = prefix.rstrip(_LAST)
    if not prefix:
        return None
    number = ord(prefix[-1]) + 1
    # No text has half a surrogate pair.
    return prefix[:-1] + chr(_AFTER_HALVES if number == _FIRST_HALF else number)


def _replace_character(match: re.Match[str]) -> str:
    character = match[0]
    if character in (_LOW, _HIGH):
        return character + _ITSELF
    return _LOW + _LOW if character == "\0" else _HIGH + chr(ord(character) - _SHIFT)


def _restore_character(match: re.Match[str]) -> str:
    first, second = match[0][0], match[0][1]
    if second == _ITSELF:
        return first
    return "\0" if first == _LOW else chr(ord(second) + _SHIFT)
