"""
The ratios of an update on Valkey, measured side by side in one run.

Run it in a clone as `python benchmarks/compare_redis.py`. A real server is started on the loopback
interface. Each contender runs in a process of its own, and they take turns, so that a busy machine
slows down all of them:

    session    an update of a counter with `Sessions` on a URL
    client     the same with a client of redis-py that the bot has made
    hold       lock, read, write and unlock alone
    floor      the two scripts of an update, called by redis-py with nothing around them
    lock       `Lock`, `GET` and `SET` of redis-py
    before     the session of commit 0c1b03d, from a temporary work tree

The program fails if an update takes more than 1.25 times the floor, or 0.70 times the lock.
"""

from __future__ import annotations

import itertools
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import redis
from contenders import ROOT, Contender, compare, work

BEFORE = "0c1b03d"
PAYLOAD = b'{"fields":{"counter":1}}'
# The ratio of two contenders and its bound.
BOUNDS = {("session", "floor"): 1.25, ("session", "lock"): 0.70}


def session_on(target: Any) -> Callable[[], object]:
    from telesession import RedisStorage, Sessions

    sessions = Sessions(initial={"counter": 0}, storage=RedisStorage(target))

    def update() -> None:
        with sessions.open("42") as session:
            session.counter += 1

    return update


def hold_on(url: str) -> Callable[[], object]:
    from telesession import RedisStorage

    storage = RedisStorage(url)

    def update() -> None:
        with storage.hold("hold", 60) as held:
            held.get()
            held.set(PAYLOAD)

    return update


def floor_on(url: str) -> Callable[[], object]:
    from telesession.storage.redis_scripts import ACQUIRE, COMMIT

    client = redis.Redis.from_url(url)
    acquire, commit = client.register_script(ACQUIRE.text), client.register_script(COMMIT.text)
    names = ["floor", *(f"{{floor}}:{part}" for part in ("lock", "queue", "calls", "done"))]

    def update() -> None:
        acquire(names[:4], ["token", "", 30_000, 2000])
        commit(names, ["token", "owner", 1, 30_000, "first", "unlock", "set", "", PAYLOAD])

    return update


def lock_on(url: str) -> Callable[[], object]:
    client = redis.Redis.from_url(url)

    def update() -> None:
        with client.lock("plain:lock", timeout=30):
            counter = int(client.get("plain") or 0)
            client.set("plain", counter + 1)

    return update


MAKE: dict[str, Callable[[str], Callable[[], object]]] = {
    "session": session_on,
    "client": lambda url: session_on(redis.Redis.from_url(url)),
    "hold": hold_on,
    "floor": floor_on,
    "lock": lock_on,
    "before": session_on,
}


def compare_all() -> bool:
    """Measure all contenders, and say whether the bounds hold."""
    sys.path.insert(0, str(ROOT / "tests"))
    from support.servers import Server

    with ExitStack() as exits:
        before = Path(exits.enter_context(tempfile.TemporaryDirectory())) / "before"
        git = ["git", "-C", str(ROOT), "worktree"]
        subprocess.run([*git, "add", "-q", "--detach", str(before), BEFORE], check=True)
        exits.callback(subprocess.run, [*git, "remove", "--force", str(before)], check=True)
        url = exits.enter_context(Server()).url
        contenders = {
            name: Contender(__file__, name, url, tree=before if name == "before" else ROOT)
            for name in MAKE
        }
        ratios = itertools.product(("session", "client", "hold"), ("floor", "lock", "before"))
        return compare(contenders, list(ratios), BOUNDS)


if __name__ == "__main__":
    if sys.argv[1:]:
        work(MAKE[sys.argv[1]](sys.argv[2]))
    else:
        sys.exit(not compare_all())
