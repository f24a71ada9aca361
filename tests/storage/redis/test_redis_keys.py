"""The keys that a storage has on its server, and the rights that it needs."""

from __future__ import annotations

from contextlib import ExitStack, closing
from typing import TYPE_CHECKING, Any

import pytest

from support.clocks import DAY
from support.counts import update
from support.redis_storages import CALLS, COMMITS, brisk, failure, read_patiently, wait_for_renewals
from support.servers import Cluster, Server, wait_until
from support.threads import began
from telesession.storage.redis import RedisStorage

if TYPE_CHECKING:
    from collections.abc import Iterator

    import redis


# As documented.
KEYS = ["~telesession:*", "~{telesession:*"]
CALLED = [
    *["get", "set", "getdel", "getex", "scan", "time", "eval", "evalsha", "blpop"],
    *["zrangebylex", "ping"],
]
IN_SCRIPTS = [
    *["del", "exists", "pttl", "pexpire", "persist", "rpush", "getbit", "setbit"],
    *["zadd", "zrem", "zcount", "hget", "hset", "hlen", "hkeys", "hdel"],
]
CONNECTING = ["auth", "hello", "select", "client|setinfo"]
COMMANDS = [f"+{name}" for name in (*CALLED, *IN_SCRIPTS, *CONNECTING)]


def grant(admin: redis.Redis, *rights: str) -> None:
    admin.execute_command("ACL", "SETUSER", "joe", "reset", "on", ">pass", *rights)


@pytest.fixture
def joe(server: Server, admin: redis.Redis) -> Iterator[RedisStorage]:
    """A storage of a user who has the documented rights, and no others."""
    grant(admin, *KEYS, *COMMANDS)
    with ExitStack() as exits:
        exits.callback(admin.execute_command, "ACL", "DELUSER", "joe")
        yield exits.enter_context(RedisStorage(joes_url(server), lease=DAY))


def joes_url(server: Server) -> str:
    return server.url.replace("//", "//joe:pass@")


def test_the_documented_rights_are_enough(
    server: Server, joe: RedisStorage, storage: RedisStorage, admin: redis.Redis
) -> None:
    """Every call, a wait, a hand-over, a renewal and a repeated commit need no other right."""
    admin.script_flush()
    for call in [*COMMITS.values(), *CALLS.values()]:
        call(joe)
    with joe.hold("42") as held:
        held.set(b"payload", 60)
        held.flush()
        held.touch(None)
    for holder, waiter in ((joe, storage), (storage, joe)):
        with ExitStack() as holding:
            holding.enter_context(holder.hold("42"))
            with began(read_patiently, waiter):
                wait_until(lambda: admin.info("clients")["blocked_clients"])
                holding.close()
    admin.hset("{telesession:42}:done", mapping={f"{number}": 1 for number in range(100)})
    assert 1 == update(joe, "new")
    with brisk(RedisStorage(joes_url(server), lease=DAY)) as renewing, renewing.hold("43"):
        wait_for_renewals(admin, ["telesession:43"])


@pytest.mark.parametrize("left_out", KEYS)
def test_both_patterns_of_keys_are_needed(
    joe: RedisStorage, admin: redis.Redis, left_out: str
) -> None:
    """The records and the keys beside them begin with different characters."""
    grant(admin, *(key for key in KEYS if key != left_out), *COMMANDS)
    error = failure(update, joe)

    assert "forbids this user a command or a key" in error.reason


def names_of(admin: redis.Redis) -> list[str]:
    return sorted(name.decode() for name in admin.scan_iter())


def test_the_documented_keys_are_all(
    storage: RedisStorage, other: RedisStorage, admin: redis.Redis
) -> None:
    """A record, and beside it lock, queue, calls and done, each with an end of its own."""
    update(storage)
    with ExitStack() as holding:
        holding.enter_context(storage.hold("42"))
        with began(read_patiently, other):
            wait_until(lambda: admin.info("clients")["blocked_clients"])
            during = names_of(admin)
            ends = {name: admin.pttl(name) for name in during}
            holding.close()

    beside = [f"{{telesession:42}}:{part}" for part in ("done", "lock", "queue")]
    assert ["telesession:42", *beside] == during
    assert -1 == ends.pop("telesession:42")
    assert all(0 < left <= DAY * 1000 for left in ends.values())
    # The call was answered, the queue left and the lock given up.
    assert ["telesession:42", "{telesession:42}:done"] == sorted(names_of(admin))


def test_the_keys_of_two_bots_are_apart(server: Server, admin: redis.Redis) -> None:
    """A prefix of its own gives each bot keys of its own, beside the records too."""
    with ExitStack() as exits:
        for prefix in ("one:", "two:"):
            update(exits.enter_context(RedisStorage(admin, prefix=prefix)))

    assert ["one:42", "two:42", "{one:42}:done", "{two:42}:done"] == names_of(admin)


def test_a_cluster_needs_a_right_more(cluster: Cluster) -> None:
    """A client of a cluster asks for its slots."""
    with ExitStack() as exits:
        for node in cluster.nodes:
            admin = exits.enter_context(node.client())
            grant(admin, *KEYS, *COMMANDS, "+cluster", "+readonly", "+command")
            exits.callback(admin.execute_command, "ACL", "DELUSER", "joe")
        client: Any = cluster.client(username="joe", password="pass")
        storage = RedisStorage(exits.enter_context(closing(client)), prefix="telesession:rights:")

        assert [1, 2] == [update(storage) for _ in range(2)]
