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

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

import redis

ROOT = Path(__file__).parent.parent
BEFORE = "0c1b03d"
PAYLOAD = b'{"fields":{"counter":1}}'
ROUNDS, UPDATES = 60, 100
CONTENDERS = ("session", "client", "hold", "floor", "lock", "before")
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


def work(name: str, url: str) -> None:
    """Be a contender: for each line of input, print the microseconds of an update."""
    update = MAKE[name](url)
    update()
    for _ in sys.stdin:
        begun = time.perf_counter()
        for _ in range(UPDATES):
            update()
        print((time.perf_counter() - begun) / UPDATES * 1e6, flush=True)


class Contender:
    """The process of a contender, with the package of a work tree."""

    def __init__(self, name: str, url: str, tree: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__, name, url],
            env={**os.environ, "PYTHONPATH": str(tree)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def measure(self) -> float:
        print("go", file=self._process.stdin, flush=True)
        return float(self._process.stdout.readline())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()


def compare() -> bool:
    """Measure all contenders, print a table, and say whether the bounds hold."""
    sys.path.insert(0, str(ROOT / "tests"))
    sys.path.insert(1, str(ROOT))
    from support.servers import Server

    with ExitStack() as exits:
        before = Path(exits.enter_context(tempfile.TemporaryDirectory())) / "before"
        git = ["git", "-C", str(ROOT), "worktree"]
        subprocess.run([*git, "add", "-q", "--detach", str(before), BEFORE], check=True)
        exits.callback(subprocess.run, [*git, "remove", "--force", str(before)], check=True)
        url = exits.enter_context(Server()).url
        contenders = {
            name: exits.enter_context(Contender(name, url, before if name == "before" else ROOT))
            for name in CONTENDERS
        }
        for contender in contenders.values():
            contender.measure()
        rounds = [
            {name: contender.measure() for name, contender in contenders.items()}
            for _ in range(ROUNDS)
        ]
    best = {name: min(each[name] for each in rounds) for name in CONTENDERS}
    median = {name: statistics.median(each[name] for each in rounds) for name in CONTENDERS}
    for name in CONTENDERS:
        print(f"{name:10} {best[name]:6.0f} us at best, {median[name]:6.0f} us in the middle")
    holds = True
    for one in ("session", "client", "hold"):
        for other in ("floor", "lock", "before"):
            ratio, bound = best[one] / best[other], BOUNDS.get((one, other))
            middle = statistics.median(each[one] / each[other] for each in rounds)
            limit = "" if bound is None else f", at most {bound:.2f}"
            print(f"{one} / {other}: {ratio:.2f} ({middle:.2f} in the middle{limit})")
            holds &= bound is None or ratio <= bound
    return holds


if __name__ == "__main__":
    if sys.argv[1:]:
        work(*sys.argv[1:])
    else:
        sys.exit(not compare())
