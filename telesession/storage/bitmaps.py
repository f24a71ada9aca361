"""The numbers that a storage has added: a bitmap for each page of 4,096 numbers."""

from __future__ import annotations

from collections.abc import Iterable

# The most significant bit of a byte comes first, as in the bitmaps of a Redis server.
_FIRST = 0x80

# How many numbers have one page, and the end of all numbers.
SIZE = 4096
_END = 2**52


class Bitmap:
    """
    The numbers of one page, as a payload has them.

    Lives for one read and one write of the page, in one thread.
    """

    __slots__ = ("_bytes",)

    def __init__(self, payload: bytes | None) -> None:
        self._bytes = bytearray(payload or b"")

    def add(self, number: int) -> bool:
        """Add a number of the page, and return whether it is new."""
        place, bit = divmod(number % SIZE, 8)
        if place >= len(self._bytes):
            self._bytes.extend(bytes(place + 1 - len(self._bytes)))
        if self._bytes[place] & _FIRST >> bit:
            return False
        self._bytes[place] |= _FIRST >> bit
        return True

    @property
    def payload(self) -> bytes:
        """The bitmap as bytes, up to its last byte that is not 0."""
        return bytes(self._bytes)


def by_page(numbers: Iterable[int]) -> dict[int, list[int]]:
    """
    Group numbers by their page.

    Returns:
        The number of a page -> its numbers, in their order.

    Raises:
        ValueError: A number is negative, or not below 2**52.
    """
    pages: dict[int, list[int]] = {}
    for number in numbers:
        if not 0 <= number < _END:
            raise ValueError(f"add_once takes numbers from 0 to 2**52 - 1, not {number}")
        pages.setdefault(number // SIZE, []).append(number)
    return pages


def key_of(prefix: str, number: int) -> str:
    """The key of the record of a number; keys have the order of their numbers."""
    return f"{prefix}{number:016d}"
