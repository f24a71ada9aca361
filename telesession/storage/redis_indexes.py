"""The indexes of records on one server: keys in order, and numbers that are added once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from telesession.storage.bitmaps import SIZE, by_page, key_of
from telesession.storage.redis_names import decode, encode
from telesession.storage.redis_scripts import ADD_ONCE, FIND_LIVE, milliseconds

if TYPE_CHECKING:
    from telesession.storage.redis_server import RedisServer

_ACTION = "list the keys"


def listed(server: RedisServer, prefix: str, after: str, limit: int) -> list[str]:
    """
    See `Storage.listed`. Two round trips for each page, and one if it is empty.

    Keys without a record, such as those of evicted records, are removed from the index.
    """
    index, found = server.index(prefix), list[str]()
    start = b"(" + encode(after)
    while len(found) < limit:
        args = ("ZRANGEBYLEX", index, start, "+", "LIMIT", 0, limit)
        members = server.command(_ACTION, None, *args)
        if not members:
            break
        keys = [decode(member) for member in members]
        names = [index, *map(server.record, keys)]
        live = server.run(FIND_LIVE, _ACTION, None, len(names), *names, *members)
        found += [keys[position - 1] for position in live]
        if len(members) < limit:
            break
        start = b"(" + members[-1]
    return found[:limit]


def add_once(
    server: RedisServer, prefix: str, payloads: Mapping[int, bytes], pages: str, memory: float
) -> list[int]:
    """See `Storage.add_once`. One script, which does its work once, however often it is sent."""
    numbers = list(payloads)
    keys = [key_of(prefix, number) for number in numbers]
    groups = by_page(numbers)
    if not numbers:
        return []
    names = [server.note(keys[0], server.owner.next_number()), server.index(prefix)]
    names += [server.record(key) for key in keys]
    # page -> its position among the names
    positions = {page: len(names) + place for place, page in enumerate(groups, start=1)}
    names += [server.record(f"{pages}{page}") for page in groups]
    arguments: list[object] = [len(names), *names, milliseconds(memory)]
    for number, key in zip(numbers, keys, strict=True):
        page, bit = divmod(number, SIZE)
        arguments += positions[page], bit, payloads[number], encode(key)
    result = server.run_commit(ADD_ONCE, "write", keys[0], *arguments)
    return [numbers[int(position) - 1] for position in result.split()]
