"""What `RedisStorage` asks its server, and how often."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

from support.counts import change, change_a_field_with_a_lifetime, handle, save_twice, update
from support.redis_storages import (
    CALLS,
    COMMITS,
    UPDATE,
    brisk,
    make_storage,
    read_patiently,
    wait_for_renewals,
)
from support.servers import Monitor, Server, wait_until
from support.threads import began
from telesession import Storage, forget

if TYPE_CHECKING:
    from collections.abc import Callable

    import redis

    from telesession.storage.redis import RedisStorage


@pytest.mark.parametrize(
    ("work", "options", "expected"),
    [
        pytest.param(change, {}, UPDATE, id="write"),
        pytest.param(change, {"lifetime": 60}, UPDATE, id="write-with-lifetime"),
        pytest.param(change_a_field_with_a_lifetime, {}, UPDATE, id="write-field-with-lifetime"),
        pytest.param(len, {}, UPDATE, id="read"),
        pytest.param(len, {"lifetime": 60}, UPDATE, id="touch"),
        pytest.param(forget, {}, UPDATE, id="delete"),
        pytest.param(save_twice, {}, [*UPDATE, *UPDATE], id="save-twice"),
    ],
)
@pytest.mark.parametrize("stored", [False, True], ids=["new", "stored"])
def test_an_update_takes_two_round_trips(
    server: Server,
    work: Callable[[Any], object],
    options: dict[str, Any],
    expected: list[str],
    stored: bool,
) -> None:
    """One script locks and reads, one writes and unlocks; each `save` adds one."""
    with make_storage(server) as storage:
        update(storage, "another", **options)
        if stored:
            update(storage, **options)
        with Monitor(server) as monitor:
            handle(storage, work, **options)
            assert expected == monitor.so_far()


def test_a_hold_that_writes_nothing_unlocks_all_the_same(
    storage: RedisStorage, server: Server, admin: redis.Redis
) -> None:
    """The second round trip is there without a write, too; nothing stays on the server."""
    with Monitor(server) as monitor:
        with storage.hold("42"):
            assert [b"{telesession:42}:lock"] == admin.keys()
        assert ["EVALSHA", "KEYS", "EVALSHA"] == monitor.so_far()

    assert [] == admin.keys()


def test_a_handler_that_raises_takes_two_round_trips(storage: RedisStorage, server: Server) -> None:
    """Changes that are not to be saved are not sent, either."""

    def work(session: Any) -> None:
        session.n += 1
        raise ZeroDivisionError

    with Monitor(server) as monitor:
        with pytest.raises(ZeroDivisionError):
            handle(storage, work)
        assert UPDATE == monitor.so_far()

    assert storage.get("42") is None


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (lambda storage: storage.get("42"), ["GET"]),
        (lambda storage: storage.set("42", b"payload"), ["SET"]),
        (lambda storage: storage.set("42", b"payload", 10), ["SET"]),
        (lambda storage: storage.set("42", b"payload", 0), ["GETDEL"]),
        (lambda storage: storage.delete("42"), ["GETDEL"]),
        (lambda storage: storage.touch("42", 10), ["GETEX"]),
        (lambda storage: storage.touch("42", None), ["GETEX"]),
        (lambda storage: storage.touch("42", 0), ["GETDEL"]),
        (lambda storage: storage.has("42"), ["GET"]),
        (lambda storage: storage.now(), ["TIME"]),
    ],
)
def test_what_is_asked_without_a_lock_is_one_command(
    storage: RedisStorage, server: Server, call: Callable[[Storage], object], expected: list[str]
) -> None:
    """Every method but `hold` and `keys` sends one command."""
    storage.get("warm-up")
    with Monitor(server) as monitor:
        call(storage)
        assert expected == monitor.so_far()


def test_every_command_is_known_to_redis_6_2(
    storage: RedisStorage, other: RedisStorage, server: Server, admin: redis.Redis
) -> None:
    """Neither methods nor scripts need a command that is younger than Redis 6.2."""
    admin.config_resetstat()
    for call in [*COMMITS.values(), *CALLS.values()]:
        call(storage)
    with storage.hold("42") as held:
        held.set(b"payload", 60)
        held.flush()
        held.touch(None)
    with ExitStack() as holding:
        holding.enter_context(storage.hold("42"))
        with began(read_patiently, other):
            wait_until(lambda: admin.info("clients")["blocked_clients"])
            holding.close()
    with brisk(make_storage(server)) as renewing, renewing.hold("43"):
        wait_for_renewals(admin, ["telesession:43"])
    names = [name.removeprefix("cmdstat_") for name in admin.info("commandstats")]
    used = {name for name in names if "|" not in name}
    with server.client(protocol=3, decode_responses=True) as client:
        # Before 7.0 a server could not tell how old its commands are; it has just known them all.
        can_tell = client.info("server")["redis_version"] >= "7"
        docs = client.execute_command("COMMAND DOCS", *used) if can_tell else {}
    ages = {name: [*map(int, doc["since"].split("."))] for name, doc in docs.items()}
    young = {name for name, since in ages.items() if since > [6, 2, 0]}

    assert {"evalsha", "blpop", "getex", "getdel", "rpush", "zcount", "pttl", "persist"} <= used
    assert set() == young
