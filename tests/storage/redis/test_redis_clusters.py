"""Sessions on the nodes of a cluster."""

from __future__ import annotations

from contextlib import ExitStack, closing
from typing import TYPE_CHECKING

from hypothesis import given, settings, strategies as st
from redis.crc import key_slot

from support.clocks import DAY, PATIENCE
from support.counts import count, update
from support.redis_storages import UPDATE, brief_client, failure, hurried
from support.servers import Cluster, Monitor, wait_until
from telesession import LockTimeoutError, StorageError
from telesession.storage.redis import RedisStorage

if TYPE_CHECKING:
    from collections.abc import Callable


def test_a_cluster_takes_two_round_trips_as_well(cluster: Cluster) -> None:
    """Lock and record are at the same node, so that one script reaches both."""
    with closing(cluster.client()) as client, ExitStack() as watching:
        storage = watching.enter_context(RedisStorage(client, lease=DAY))
        for number in range(30):
            update(storage, f"{number}")
        monitors = [watching.enter_context(Monitor(node)) for node in cluster.nodes]
        update(storage)
        seen = [monitor.so_far() for monitor in monitors]

    assert [[], [], UPDATE] == sorted(seen)


def test_a_node_of_a_cluster_that_is_down_is_an_error(cluster: Cluster) -> None:
    """Sessions of other nodes work on; those of this one are back when it is."""
    with (
        closing(cluster.client(socket_timeout=PATIENCE)) as client,
        brief_client(cluster.client) as brief,
        RedisStorage(client, prefix="down:", lease=DAY) as storage,
    ):
        keys = {key_slot(f"down:{key}".encode()) * 3 // 2**14: f"{key}" for key in range(50)}
        for key in keys.values():
            update(storage, key)
        with cluster.nodes[1].frozen():
            with hurried(storage, brief):
                failure(lambda storage: update(storage, keys[1]), storage)
            assert [2, 2] == [update(storage, keys[0]), update(storage, keys[2])]
        wait_until(lambda: not failed(lambda: update(storage, keys[1], lock_timeout=0)))
        assert count(storage, keys[1]) in (2, 3)
        assert sorted(keys.values()) == sorted(storage.keys())


def failed(call: Callable[[], object]) -> bool:
    try:
        call()
    except (StorageError, LockTimeoutError):
        return True
    return False


# Keys and clocks.


ANY_TEXT = st.text(st.characters(codec=None), max_size=20) | st.text("{}%7BD25*?[]\\-^", max_size=8)


@settings(max_examples=15)
@given(keys=st.lists(ANY_TEXT, min_size=1, max_size=5, unique=True), prefix=ANY_TEXT)
def test_any_text_is_a_key_of_a_cluster(
    running_cluster: Cluster, keys: list[str], prefix: str
) -> None:
    """Lock and record of any key are in one slot, and a key comes back as it went in."""
    with (
        closing(running_cluster.client(decode_responses=True)) as client,
        RedisStorage(client, prefix=f"any {prefix}") as storage,
    ):
        for number, key in enumerate(keys):
            with storage.hold(key) as held:
                held.set(b"%d\xff" % number)
        assert [b"%d\xff" % number for number in range(len(keys))] == [*map(storage.get, keys)]
        assert sorted(keys) == sorted(storage.keys())
        for key in keys:
            start = key[: len(key) // 2]
            expected = sorted(other for other in keys if other.startswith(start))
            assert expected == sorted(storage.keys(start))
        assert [True] * len(keys) == [*map(storage.delete, keys)]


@given(key=ANY_TEXT, prefix=ANY_TEXT)
def test_all_keys_of_a_session_are_in_one_slot(key: str, prefix: str) -> None:
    """Whatever braces a key has, the slot of its lock is that of its record."""
    with RedisStorage("redis://nowhere", prefix=f"{prefix}:") as storage:
        hold = storage.hold(key)

    assert 1 == len({key_slot(name) for name in hold.names})
