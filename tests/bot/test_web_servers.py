"""Bots under real web servers, which bring the updates of one user at the same time."""

from __future__ import annotations

from collections import defaultdict
from itertools import chain
from typing import TYPE_CHECKING

import pytest

from support.servers import Server, wait_until
from support.web_servers import GUNICORN, UWSGI, WebServer

if TYPE_CHECKING:
    from support.postgres import PostgresServer

UPDATES = 12
# How each server is started, and how many updates it has at the same time at least.
SERVERS = {
    "sync": ((*GUNICORN, "-w", "2"), 2),
    "sync-preload": ((*GUNICORN, "-w", "2", "--preload"), 2),
    "gthread": ((*GUNICORN, "-w", "2", "--threads", "4"), 4),
    "gthread-preload": ((*GUNICORN, "-w", "2", "--threads", "4", "--preload"), 4),
    "gevent": ((*GUNICORN, "-w", "2", "-k", "gevent"), UPDATES),
    "gevent-preload": ((*GUNICORN, "-w", "2", "-k", "gevent", "--preload"), UPDATES),
    "uwsgi": ((*UWSGI, "--processes", "2"), 2),
    "uwsgi-threads": ((*UWSGI, "--master", "--processes", "2", "--threads", "2"), 4),
}
# Those that differ from others by one option.
LONG = ("sync", "gthread-preload", "gevent", "uwsgi-threads")
# The bots whose processes count together, and those of which each process counts by itself.
SHARED = ("sqlite", "sqlite-workers", "redis", "postgres")
IN_MEMORY = ("memory", "memory-workers", "default")


def count(server: WebServer, name: str) -> list[list[int]]:
    """Let updates of one user come together, and return what they were counted to, by process."""
    assert {200} == set(server.burst(name, UPDATES))
    wait_until(
        lambda: server.read(f"{name}.errors") or len(server.read(f"{name}.counted")) == UPDATES
    )
    assert {name: []} == {name: server.read(f"{name}.errors")}
    values = defaultdict(list)
    for line in server.read(f"{name}.counted"):
        process, value = line.split()
        values[process].append(int(value))
    return list(values.values())


@pytest.mark.parametrize(
    "kind",
    [pytest.param(kind, marks=pytest.mark.long) if kind in LONG else kind for kind in SERVERS],
)
def test_each_update_is_counted_once(
    kind: str, running_server: Server, postgres: PostgresServer
) -> None:
    """
    No update of a user is lost or raises, in whichever process, thread or greenlet it arrives.

    In the control, where nothing is locked, two updates are counted to the same value.
    """
    options, together = SERVERS[kind]
    urls = {"url": running_server.url, "postgres": postgres.url()}
    with WebServer(options, together, **urls) as server:
        shared = {name: sorted(chain(*count(server, name))) for name in SHARED}
        in_memory = {name: list(map(sorted, count(server, name))) for name in IN_MEMORY}
        unlocked = list(chain(*count(server, "control")))

    assert {name: numbers(UPDATES) for name in SHARED} == shared
    expected = {name: [numbers(len(one)) for one in found] for name, found in in_memory.items()}
    assert expected == in_memory
    assert (UPDATES, True) == (len(unlocked), len(set(unlocked)) < UPDATES)


def numbers(last: int) -> list[int]:
    return list(range(1, last + 1))


def test_control_greenlets_with_one_number_share_a_session(running_server: Server) -> None:
    """With a `get_ident` from before gevent's patch, greenlets write to each other's session."""
    options = (*GUNICORN, "-k", "gevent", "--preload")
    with WebServer(options, UPDATES, running_server.url, "greenlets") as server:
        server.burst("memory", UPDATES)
        raised = [line for line in server.read("memory.errors") if "SessionClosedError" in line]
    assert raised
