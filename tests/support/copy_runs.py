"""Copies beside other processes, and copies in processes that are killed."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from support.addresses import kind_of
from support.copies import InTheMiddle
from support.processes import (
    KEYS,
    fork,
    make_sessions,
    open_storage,
    run_program,
    run_threads,
    say,
)
from telesession import EncryptedCodec, JSONCodec, RedisStorage, Sessions, copy_sessions

if TYPE_CHECKING:
    from telesession.copies import CopyCounts

TESTS = Path(__file__).parents[1]
PROGRAM = """
import sys
sys.path.insert(0, sys.argv.pop(1))
from support.copy_runs import main
main()
"""
# Fernet keys; they are the same in all processes of a run.
ONE = b"w4sMkcOGQUQoanKeCjOBgXtH7RL5Fxoh_whG52pRxp4="
OTHER = b"uk5Oaupaa1C79lTpxSRrB9kQ0Rmnxml34CQEHKsfKUc="
# Seconds until a server frees the locks of a killed process.
LEASE = 2


def run(command: str, *args: object) -> Any:
    """The result of a command of this module, in a process of its own."""
    program = [sys.executable, "-P", "-W", "error", "-c", PROGRAM, str(TESTS)]
    code, printed, complaints = run_program([*program, command, *map(str, args)])
    assert (0, "") == (code, complaints), complaints
    return json.loads(printed)


def encrypted(*keys: bytes) -> EncryptedCodec:
    return EncryptedCodec(JSONCodec(), keys)


def count_while_copied(place: str, times: str) -> dict[str, Any]:
    """Count in two processes, and rewrite all records under another key until they have ended."""

    def work() -> None:
        with open_storage(place, codec=encrypted(ONE, OTHER)) as storage:
            sessions = make_sessions(storage)

            def increment(thread: int) -> None:
                for number in range(int(times)):
                    with sessions.open((number + thread) % KEYS) as session:
                        session.counter += 1

            run_threads(2, increment)

    with open_storage(place, codec=encrypted(ONE)) as storage:
        sessions = make_sessions(storage)
        for key in range(KEYS):
            with sessions.open(key) as session:
                session.counter = 0
    counting = [fork(work) for _ in range(2)]
    replaced, codes = 0, list[int]()
    with (
        open_storage(place, codec=encrypted(ONE, OTHER)) as one,
        open_storage(place, codec=encrypted(OTHER, ONE)) as other,
    ):
        while counting:
            replaced += copy_sessions(one, other).replaced + copy_sessions(other, one).replaced
            for pid in list(counting):
                ended, status = os.waitpid(pid, os.WNOHANG)
                if ended:
                    counting.remove(pid)
                    codes.append(os.waitstatus_to_exitcode(status))
        sessions = make_sessions(one)
        total = sum(sessions.peek(key)["counter"] for key in range(KEYS))
    return {"codes": codes, "total": total, "has replaced": replaced > 0}


def update_in_the_middle(place: str, kind: str) -> dict[str, Any]:
    """
    Let another process update a session after a copy has read it, and before it writes.

    Without locks (`kind` is `"alone"`) the update is complete before the copy goes on. With them it
    has begun, and waits for the copy.
    """
    asking, answering = os.pipe(), os.pipe()

    def update() -> None:
        os.read(asking[0], 1)
        with open_storage(place, kind, codec=encrypted(OTHER, ONE)) as storage:
            if kind != "alone":
                os.write(answering[1], b"!")
            with make_sessions(storage).open(1) as session:
                session.counter += 1
            if kind == "alone":
                os.write(answering[1], b"!")

    child = fork(update)

    def ask() -> None:
        os.write(asking[1], b"?")
        os.read(answering[0], 1)

    with (
        open_storage(place, codec=encrypted(ONE)) as before,
        make_sessions(before).open(1) as session,
    ):
        session.counter = 1
    with open_storage(place, kind, codec=InTheMiddle(ask, OTHER, ONE)) as storage:
        done = copy_sessions(storage, storage)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        session = make_sessions(storage).peek(1)
        assert session is not None
        return {"code": code, "replaced": done.replaced, "counter": session["counter"]}


def kill_copies(source: str, target: str, kills: str) -> dict[str, Any]:
    """Kill copies in the middle, and complete them; a target that is the source is encrypted."""
    codec = encrypted(ONE)
    options: dict[str, Any] = {"lease": LEASE} if kind_of(target) is RedisStorage else {}
    with open_storage(source) as storage:
        sessions: Sessions[Any] = Sessions(storage=storage, lifetime=3600)
        for number in range(200):
            with sessions.open(number) as session:
                session.number = number

    def copy(writing: int) -> None:
        def report(counts: CopyCounts) -> None:
            if counts.copied + counts.replaced > len(written):
                written.append(0)
                os.write(writing, b".")

        written: list[int] = []
        with open_storage(source) as old, open_storage(target, codec=codec, **options) as new:
            copy_sessions(old, new, on_progress=report)

    found = []
    for kill in range(int(kills)):
        reading, writing = os.pipe()
        child = fork(lambda writing=writing: copy(writing))
        os.close(writing)
        for _ in range(7 + 5 * kill):
            os.read(reading, 1)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(reading)
        with open_storage(target, codec=codec) as new:
            found.append(sum(new.get(str(n)) is not None for n in range(200)))
    with open_storage(source) as old, open_storage(target, codec=codec) as new:
        done = copy_sessions(old, new)
        sessions = Sessions(storage=new)
        numbers = [session["number"] for _, session in sessions.items()]
    return {
        "found": found,
        "is complete": sorted(numbers) == list(range(200)),
        "written": done.copied + done.replaced,
        "total": done.total,
        "same": done.same,
    }


def main() -> None:
    """Run the command of this module that the arguments name, and say its result."""
    say(json.dumps(globals()[sys.argv[1]](*sys.argv[2:])))
