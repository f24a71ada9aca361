"""Copies beside a bot that writes: no update is lost, and without locks some are."""

from __future__ import annotations

import threading
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import pytest

from support.clocks import PATIENCE
from support.copies import NEW, OLD, InTheMiddle
from support.copy_runs import run
from support.servers import patient_url
from support.storages import UnlockedStorage
from support.threads import OtherThread, Waits, start
from telesession import (
    EncryptedCodec,
    JSONCodec,
    LockTimeoutError,
    MemoryStorage,
    Sessions,
    copy_sessions,
)
from telesession.copies.double_holds import held_in_each

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from support.copies import Make
    from support.servers import Server
    from telesession import Storage
    from telesession.storage.base import Hold


@pytest.fixture(params=["sqlite", "redis", "postgres"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A place that processes share: the path of a file, or the URL of a server."""
    if request.param == "sqlite":
        return str(tmp_path / "bot.db")
    if request.param == "postgres":
        url: str = request.getfixturevalue("postgres").url()
        return url
    server: Server = request.getfixturevalue("server")
    return patient_url(server)


def count(storage: Storage) -> None:
    with Sessions(initial=lambda: {"counter": 0}, storage=storage).open(1) as session:
        session.counter += 1


def counter(storage: Storage) -> int:
    session = Sessions(storage=storage).peek(1)
    assert session is not None
    return session["counter"]


@contextmanager
def held_one_after_the_other(
    storages: Sequence[Storage], key: str, patience: float
) -> Iterator[dict[Storage, Hold]]:
    """The control of `held_in_each`: it waits for the second lock while it has the first one."""
    with ExitStack() as exits:
        yield {each: exits.enter_context(each.hold(key, patience)) for each in storages}


def update_while_encoding(
    storage: Storage, wait: Callable[[threading.Thread], object]
) -> tuple[InTheMiddle, list[threading.Thread]]:
    """A codec that begins an update in the middle of a copy, and the threads of updates."""
    threads: list[threading.Thread] = []

    def begin() -> None:
        threads.append(start(count, storage))
        wait(threads[0])

    return InTheMiddle(begin, NEW, OLD), threads


class TestInPlace:
    def rotate(self, storage: Storage, wait: Callable[[threading.Thread], object]) -> int:
        """The counter after an update that begins between the read and the write of a copy."""
        storage.codec = EncryptedCodec(JSONCodec(), [OLD])
        count(storage)
        storage.codec, threads = update_while_encoding(storage, wait)
        assert 1 == copy_sessions(storage, storage).replaced
        threads[0].join()
        return counter(storage)

    def test_no_update_is_lost(self, waits: Waits) -> None:
        """An update that begins while its record is rewritten waits, and changes the new one."""
        assert 2 == self.rotate(MemoryStorage(), lambda _: waits.next())

    def test_without_locks_an_update_is_lost(self) -> None:
        """The control: without locks the copy writes over the update."""
        assert 1 == self.rotate(UnlockedStorage(), threading.Thread.join)


class TestTarget:
    def copy(self, target: Storage, wait: Callable[[threading.Thread], object]) -> int:
        """The counter of the target, where an update begins before the copy writes."""
        source = MemoryStorage()
        for _ in range(5):
            count(source)
        target.codec, threads = update_while_encoding(target, wait)
        assert 1 == copy_sessions(source, target).copied
        threads[0].join()
        return counter(target)

    def test_no_update_of_the_target_is_lost(self, waits: Waits) -> None:
        """An update in the target waits for the copy of its session, and goes on with it."""
        assert 6 == self.copy(MemoryStorage(), lambda _: waits.next())

    def test_without_locks_an_update_of_the_target_is_lost(self) -> None:
        """The control: without locks the copy writes over a session that was begun since."""
        assert 5 == self.copy(UnlockedStorage(), threading.Thread.join)


class TestProcesses:
    def test_updates_of_processes_are_counted_while_keys_are_rotated(self, place: str) -> None:
        """No increment of two processes is lost while a third one rewrites all records."""
        done = run("count_while_copied", place, 100)
        assert {"codes": [0, 0], "total": 400, "has replaced": True} == done

    def test_another_process_waits_for_the_copy(self, place: str) -> None:
        """An update of another process that begins in the middle of a copy is not lost."""
        done = run("update_in_the_middle", place, "exclusive")
        assert {"code": 0, "replaced": 1, "counter": 2} == done

    def test_with_locks_of_a_process_alone_an_update_is_lost(self, place: str) -> None:
        """The control: locks that no other process sees let the copy write over the update."""
        done = run("update_in_the_middle", place, "alone")
        assert {"code": 0, "replaced": 1, "counter": 1} == done


class TestBusySessions:
    def copy(self, source: Storage, target: Storage, waits: Waits) -> None:
        """Update a session of the source while a copy waits for a handler of the target."""
        count(source)
        with OtherThread() as thread:
            with Sessions(storage=target).open(1):
                copying = thread.submit(copy_sessions, source, target)
                waits.next()
                with Sessions(storage=source, lock_timeout=0).open(1) as session:
                    session.counter += 1
                assert not copying.done()
            assert 1 == copying.result(PATIENCE).copied

    @pytest.mark.parametrize("kind", ["memory", "sqlite", "redis", "cluster", "postgres"])
    def test_the_other_bot_goes_on(self, kind: str, make: Make, waits: Waits) -> None:
        """While a copy waits for a session of the target, the bot of the source has the session."""
        codec = JSONCodec()
        source, target = make(kind, codec, "source"), make(kind, codec, "target")
        self.copy(source, target, waits)
        assert 2 == counter(target)

    def test_a_wait_with_the_other_lock_stops_the_other_bot(
        self, waits: Waits, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The control: a copy that keeps its first lock keeps the source's bot from the session."""
        monkeypatch.setattr("telesession.copies.transfers.held_in_each", held_one_after_the_other)
        with pytest.raises(LockTimeoutError) as caught:
            self.copy(MemoryStorage(), MemoryStorage(), waits)
        assert ("1", 0) == (caught.value.key, caught.value.seconds)

    def test_a_copy_waits_for_the_busy_session(self, waits: Waits) -> None:
        """A copy that both bots stop by turns waits for each of them, and is made in the end."""
        source, target = MemoryStorage(), MemoryStorage()
        count(source)
        with OtherThread() as thread, ExitStack() as held:
            held.enter_context(target.hold("1"))
            copying = thread.submit(copy_sessions, source, target)
            waits.next()
            for storage in (source, target, source):
                before = held.pop_all()
                held.enter_context(storage.hold("1", 0))
                before.close()
                waits.next()
            held.close()
            assert 1 == copying.result(PATIENCE).copied

    def test_the_error_tells_the_whole_patience(self) -> None:
        """A session that stays busy is an error with the seconds of all waits together."""
        source, target = MemoryStorage(), MemoryStorage()

        def lock() -> None:
            with held_in_each([source, target], "1", 0.01):
                pass

        with (
            OtherThread() as thread,
            target.hold("1"),
            pytest.raises(LockTimeoutError) as caught,
        ):
            thread.submit(lock).result(PATIENCE)
        assert ("1", 0.01) == (caught.value.key, caught.value.seconds)


class TestOrder:
    def test_a_handler_with_sessions_of_both_storages_closes_no_circle(self, waits: Waits) -> None:
        """A copy never waits with a lock, so a handler may take both in any order."""
        storages = MemoryStorage(), MemoryStorage()
        first, second = sorted(storages, key=id)
        for source, target in (storages, storages[::-1]):
            count(source)
            with Sessions(storage=first).open(1), OtherThread() as thread:
                copying = thread.submit(copy_sessions, source, target)
                waits.next()
                with Sessions(storage=second, lock_timeout=0).open(1):
                    pass
                assert not copying.done()
            assert 1 == copying.result(PATIENCE).total


class TestKills:
    @pytest.mark.parametrize("target", ["file", "server", "postgres"])
    def test_a_second_run_completes_a_copy_that_was_killed(
        self, target: str, tmp_path: Path, request: pytest.FixtureRequest
    ) -> None:
        """After SIGKILL in the middle, another run copies the rest, and no record twice."""
        source = str(tmp_path / "source.db")
        place = str(tmp_path / "target.db")
        if target == "server":
            place = patient_url(request.getfixturevalue("server"))
        elif target == "postgres":
            place = request.getfixturevalue("postgres").url()
        done = run("kill_copies", source, place, 3)

        assert {"is complete": True, "total": 200} == {
            name: done[name] for name in ("is complete", "total")
        }
        assert sorted(done["found"]) == done["found"]
        assert (200 - done["found"][-1], done["found"][-1]) == (done["written"], done["same"])
        assert 7 <= done["found"][0]

    def test_a_second_run_completes_a_copy_in_place(self, place: str) -> None:
        """After SIGKILL in the middle, another run encrypts the records that are left plain."""
        done = run("kill_copies", place, place, 3)

        assert {"is complete": True, "total": 200} == {
            name: done[name] for name in ("is complete", "total")
        }
        assert 7 + 12 + 17 <= done["same"] <= 200
