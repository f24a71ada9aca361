"""Owners on PostgreSQL: each process has a lease there, which keeps no connection."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from support.inboxes import (
    BOT_ID,
    Life,
    MakeLife,
    add_notes,
    effects,
    noting,
    records,
    text_update,
)
from support.paused_bot import PausedBot
from support.polling import wait_until
from support.postgres_backends import backends
from support.postgres_storages import TABLE, make_pool, make_storage
from support.threads import Log, wait_for
from support.updates import BORIS
from telesession import PostgresStorage, Session, Sessions, Storage, StorageError
from telesession.bot.arrivals import Arrivals
from telesession.bot.inbox import Inbox, Stored
from telesession.bot.owners import Owner, in_place_of

if TYPE_CHECKING:
    from support.postgres import PostgresServer


@pytest.fixture
def storages(postgres: PostgresServer) -> Iterator[list[PostgresStorage]]:
    """The storages of two processes."""
    with make_storage(postgres) as one, make_storage(postgres) as other:
        yield [one, other]


def owner_in(storage: Storage) -> Owner:
    """A process as an owner."""
    return Owner(Inbox(storage, BOT_ID))


def proof_of(owner: Owner) -> Any:
    """The lease of a process."""
    return owner._proof


def expire_leases(postgres: PostgresServer) -> None:
    """Let all leases end, as an outage does that is longer than they are."""
    postgres.ask(f"DELETE FROM {TABLE} WHERE key LIKE %s", "%:lease")


class TestLease:
    """The lease of one process."""

    def test_others_see_it_until_it_ends(self, storages: list[PostgresStorage]) -> None:
        """A process lives from the beginning to the end of its lease, and not before."""
        owner, other = map(owner_in, storages)
        lives = [other.lives(owner.name)]
        for step in (owner.begin, owner.stop, owner.end):
            step()
            lives.append(other.lives(owner.name))

        assert [False, True, True, False] == lives

    def test_it_keeps_no_connection(self, postgres: PostgresServer) -> None:
        """While a process lives, no connection is in a transaction, and the server has no lock."""
        with make_pool(postgres, max_size=1) as pool, PostgresStorage(pool) as storage:
            owner = owner_in(storage)
            owner.begin()
            states = set(backends(postgres).values())
            locks = postgres.ask("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'")
            owner.end()

        assert ({"idle"}, 0) == (states, locks)

    def test_it_ends_by_the_clock_of_the_server(self, storages: list[PostgresStorage]) -> None:
        """A process that was killed looks dead as soon as its lease is over."""
        one, two = storages
        one.lease = 0.05
        owner, other = owner_in(one), owner_in(two)
        # As if its process was killed.
        proof_of(owner)._renewal.add = bool
        owner.begin()
        wait_until(lambda: not other.lives(owner.name))

        assert other.was_killed(owner.name)

    @pytest.mark.parametrize("failures", [0, 1])
    def test_a_thread_renews_it(self, failures: int, storages: list[PostgresStorage]) -> None:
        """It is renewed although the process does nothing, also after the server has failed."""
        one, two = storages
        # Only the pauses of the thread are short.
        one.lease = 0.03
        owner, other, renewals = owner_in(one), owner_in(two), Log()
        one.lease, touch = 1000, one.touch

        def touch_and_note(key: str, lifetime: float | None) -> bool:
            if len(renewals.entries) < failures:
                renewals.add("failed")
                raise StorageError("touch", None, "the server is away")
            is_there = touch(key, lifetime)
            renewals.add("renewed" if is_there else "expired")
            return is_there

        one.touch = touch_and_note  # type: ignore[method-assign]
        owner.begin()
        seen = renewals.wait_for(failures + 2)
        lives = other.lives(owner.name)
        owner.end()

        expected = [*["failed"] * failures, "renewed", "renewed"]
        assert (expected, True) == (seen[: failures + 2], lives)

    def test_a_stopped_process_was_not_killed(self, storages: list[PostgresStorage]) -> None:
        """That a process was stopped is known when its lease has ended without its end."""
        owner, other = map(owner_in, storages)
        owner.begin()
        owner.stop()
        owner._proof.end()

        assert (False, False) == (other.lives(owner.name), other.was_killed(owner.name))

    def test_a_lease_that_had_expired_is_told_once(
        self, storages: list[PostgresStorage], postgres: PostgresServer
    ) -> None:
        """The next renewal begins it anew, and says so, whichever thread has renewed it."""
        owner, other = map(owner_in, storages)
        owner.begin()
        seen = [(owner.renew(), other.lives(owner.name))]
        for renew in (bool, proof_of(owner).renew_in_thread):
            expire_leases(postgres)
            seen.append((True, other.lives(owner.name)))
            renew()
            seen += [(owner.renew(), other.lives(owner.name)) for _ in range(2)]
        owner.end()

        again = [(True, False), (False, True), (True, True)]
        assert [(True, True), *again, *again] == seen

    def test_an_ended_process_renews_nothing(self, storages: list[PostgresStorage]) -> None:
        """A renewal that comes late brings no lease back."""
        owner, other = map(owner_in, storages)
        owner.begin()
        owner.end()
        proof_of(owner).renew_in_thread()
        owner.begin()

        assert (True, False) == (owner.renew(), other.lives(owner.name))


def test_during_a_copy_a_dead_owner_looks_alive(storages: list[PostgresStorage]) -> None:
    """No process takes over the updates of an owner while one of them is copied."""
    one, two = storages
    with in_place_of(Inbox(one, BOT_ID), "dead") as lives:
        seen = owner_in(two).lives("dead")

    assert (False, True, False) == (lives, seen, owner_in(two).lives("dead"))


class Webhooks:
    """
    Two processes with webhooks, the former of which handles an update.

    Args:
        storages: Their storages.
        make_life: Makes their bots.
    """

    def __init__(self, storages: list[PostgresStorage], make_life: MakeLife) -> None:
        self.former, self.later = (make_life(storage) for storage in storages)
        self.release = threading.Event()
        begun = threading.Event()
        sessions: Sessions[Any] = Sessions(storage=storages[0], lock_timeout=None)

        @self.former.bot.message_handler()
        @sessions.with_session
        def handle(message: Any, session: Session) -> None:
            begun.set()
            wait_for(self.release)
            noting(session, message.text)

        add_notes(self.later, storages[1])
        self.former.receive(text_update("1"))
        wait_for(begun)
        self.later.receive(text_update("2", BORIS))
        self.later.wait()

    def look(self, life: Life) -> list[str]:
        """Let a process look for updates of dead ones, and return the texts of those it takes."""
        intake: Any = life.pool.intake
        arrivals: Any = Arrivals.of(life.bot)
        taken: list[str] = []

        def feed(leftovers: list[Stored]) -> None:
            taken.extend(json.loads(each.raw)["message"]["text"] for each in leftovers)
            arrivals._feed(leftovers)

        intake._look(feed)
        return taken

    def finish(self) -> None:
        """Let the handler go on, and wait for both processes."""
        self.release.set()
        self.former.wait()
        self.later.wait()


def test_after_an_outage_living_processes_keep_their_updates(
    storages: list[PostgresStorage], make_life: MakeLife, postgres: PostgresServer
) -> None:
    """All leases have expired, and the first process that looks takes nothing over."""
    both = Webhooks(storages, make_life)
    expire_leases(postgres)
    taken = [both.look(each) for each in (both.later, both.former, both.later)]
    both.finish()

    assert ([[], [], []], ["1"]) == (taken, effects(storages[0]))
    assert ([], []) == (records(storages[0]), both.former.errors)


def test_control_without_the_pause_it_takes_updates_of_a_living_process(
    storages: list[PostgresStorage], make_life: MakeLife, postgres: PostgresServer
) -> None:
    """If a process takes no notice of its own lease, it takes over the update of the other one."""
    both = Webhooks(storages, make_life)
    intake: Any = both.later.pool.intake
    intake._owner.renew = lambda: True
    expire_leases(postgres)
    taken = both.look(both.later)
    both.finish()

    assert ["1"] == taken


def test_a_process_that_lost_its_lease_writes_nothing(
    storages: list[PostgresStorage], make_life: MakeLife, postgres: PostgresServer
) -> None:
    """If it was stopped for longer, its update is handled by another process, and by that alone."""
    both = Webhooks(storages, make_life)
    owner: Any = both.former.pool.intake
    postgres.ask(f"DELETE FROM {TABLE} WHERE key LIKE %s", f"%{owner._owner.name}:lease")
    taken = both.look(both.later)
    both.finish()

    assert (["1"], ["1"], []) == (taken, effects(storages[0]), records(storages[0]))
    assert [] == both.former.errors


def pause_a_process(
    postgres: PostgresServer, make_life: MakeLife, control: str
) -> tuple[list[str], list[str], str]:
    """
    The effects of two users, and the output of a process that was stopped in the first handler.

    Another process takes its two updates over when its lease has ended. Then it goes on.
    """
    with PausedBot(postgres.url(), control) as paused, make_storage(postgres) as storage:
        owner = records(storage)[0]["owner"]
        wait_until(lambda: not owner_in(storage).lives(owner))
        later = make_life(storage, num_threads=2)
        add_notes(later, storage)
        later.receive(text_update("3", BORIS, update_id=1003))
        # The session of the other user is locked by the transaction of the stopped process.
        wait_until(lambda: effects(storage, BORIS) == ["2", "3"])
        printed, complaints = paused.go_on()
        later.wait()
        assert [] == records(storage)
        return effects(storage), effects(storage, BORIS), printed + complaints


def test_a_process_that_was_stopped_writes_nothing(
    postgres: PostgresServer, make_life: MakeLife
) -> None:
    """Neither the handler that it was in nor its next update has an effect when it goes on."""
    first, second, output = pause_a_process(postgres, make_life, "")

    assert (["1"], ["2", "3"]) == (first, second)
    assert (2, True) == (
        output.count("is handled by another process now"),
        output.startswith("[]"),
    )


def test_control_a_process_that_was_stopped_writes_without_the_check(
    postgres: PostgresServer, make_life: MakeLife
) -> None:
    """If commits expect nothing of the records, an update that was taken over has two effects."""
    _, second, _ = pause_a_process(postgres, make_life, "unchecked")

    assert ["2", "3", "2"] == second
