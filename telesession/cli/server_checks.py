"""The findings of `doctor` about a Redis or Valkey server, or each node of a cluster."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from telesession.cli.checks import Check, State
from telesession.cli.output import sized
from telesession.errors import StorageError

if TYPE_CHECKING:
    from telesession import RedisStorage
    from telesession.storage.redis_client import Client

_OLDEST = (6, 2)
# How many keys the server looks at in a step.
_PAGE = 1000
# The kinds of keys beside records that have an end.
_ENDING = frozenset(("lock", "queue", "calls", "done"))


def server_checks(storage: RedisStorage) -> Iterator[Check]:
    """
    The findings about each server that has records.

    Raises:
        StorageError: A server has no answer.
    """
    for node in storage.server.nodes():
        try:
            info = storage.server.command("read the state", None, "INFO", node=node)
        except StorageError as error:
            text = f"the server does not tell its state: {error.reason}; {error.remedy}"
            yield Check("server", State.NOTE, text)
        else:
            yield _version(info)
            yield _eviction(info)
            yield _persistence(storage, info, node)
        yield _leftovers(storage, node)


def _version(info: dict[str, Any]) -> Check:
    name = str(info.get("server_name", "redis")).capitalize()
    number = str(info.get("valkey_version") or info["redis_version"])
    compatible = tuple(map(int, str(info["redis_version"]).split(".")[:2]))
    if compatible < _OLDEST:
        text = f"{name} {number}; use Redis 6.2 or later, or Valkey"
        return Check("server", State.PROBLEM, text)
    return Check("server", State.OK, f"{name} {number}")


def _eviction(info: dict[str, Any]) -> Check:
    policy, limit = str(info.get("maxmemory_policy")), int(info.get("maxmemory", 0))
    text = f"{policy}, {f'maxmemory {sized(limit)}' if limit else 'no maxmemory'}"
    if limit and policy != "noeviction":
        text += "; the server drops locks or sessions; set maxmemory-policy to noeviction"
        return Check("eviction", State.PROBLEM, text)
    return Check("eviction", State.OK, text)


def _persistence(storage: RedisStorage, info: dict[str, Any], node: Client) -> Check:
    if info.get("aof_enabled"):
        return Check("persistence", State.OK, "appendonly is on")
    try:
        answer = storage.server.command("ask", None, "CONFIG", "GET", "save", node=node)
    except StorageError:
        text = "appendonly is off, and the server does not tell its setting save"
        return Check("persistence", State.NOTE, text)
    times = next(iter(dict(answer).values()), b"")
    if times:
        text = "appendonly is off: a restart undoes the minutes since the last snapshot"
        return Check("persistence", State.NOTE, text)
    text = "a restart of the server deletes all records; set appendonly to yes"
    return Check("persistence", State.PROBLEM, text)


def _leftovers(storage: RedisStorage, node: Client) -> Check:
    kinds, endless = Counter[str](), Counter[str]()
    for names in _names_beside(storage, node):
        commands = [("PTTL", name) for name in names]
        lefts = storage.server.pipeline("read", commands, node)
        for name, left in zip(names, lefts, strict=True):
            kind = name.rpartition(b"}:")[2].partition(b":")[0].decode("ascii", "replace")
            kinds[kind] += 1
            endless[kind] += kind in _ENDING and left == -1
    found = ", ".join(f"{number:,} {kind}" for kind, number in sorted(kinds.items()))
    if locked := endless.total():
        text = f"{found}; {locked:,} of them never end; delete these while the bot is stopped"
        return Check("leftovers", State.PROBLEM, text)
    return Check("leftovers", State.OK, f"keys beside the records: {found or 'none'}")


def _names_beside(storage: RedisStorage, node: Client) -> Iterator[list[bytes]]:
    """The names of the keys beside records, a page at a time."""
    server = storage.server
    pattern = b"{%b*}:*" % server.pattern("")
    cursor = -1
    while cursor:
        args = ("SCAN", max(cursor, 0), "MATCH", pattern, "COUNT", _PAGE)
        cursor, names = server.command("list the keys", None, *args, node=node)
        yield names
