"""Owners: one process handles each stored update, and others take it over when that has died."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest

from support.bots import messages_in
from support.inboxes import (
    BOT_ID,
    DEAD,
    Life,
    MakeLife,
    add_notes,
    effects,
    leave,
    noting,
    records,
    send,
    text_update,
    texts_in,
)
from support.servers import Server, patient_url
from support.threads import Log, in_thread, wait_for
from support.updates import BORIS
from telesession import (
    MemoryStorage,
    RedisStorage,
    Session,
    SessionError,
    Sessions,
    SQLiteStorage,
    Storage,
    StorageError,
)
from telesession.bot import inbox
from telesession.bot.inbox import Inbox
from telesession.bot.known import KnownNumbers
from telesession.bot.owners import Owner

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from telesession.storage.base import Change, Hold
    from telesession.testing import BotAPI


class Slow:
    """A handler that notes its message when it is told to, and says when it has begun."""

    def __init__(self, life: Life, storage: Storage) -> None:
        self.begun, self.release = threading.Event(), threading.Event()
        sessions: Sessions[Any] = Sessions(storage=storage, lock_timeout=None)

        @life.bot.message_handler()
        @sessions.with_session
        def handle(message: Any, session: Session) -> None:
            self.begun.set()
            wait_for(self.release)
            noting(session, message.text)


def test_a_record_names_its_process(storage: Storage, make_life: MakeLife, bot_api: BotAPI) -> None:
    """A record has the name of the process that handles it, and others see by it that it lives."""
    life, other = make_life(storage), Owner(Inbox(storage, BOT_ID))
    slow = Slow(life, storage)
    send(bot_api, "1")
    life.poll()
    wait_for(slow.begun)
    name = records(storage)[0]["owner"]
    lived = other.lives(name)
    slow.release.set()
    life.wait()
    in_thread(life.pool.close)

    assert (True, False) == (lived, other.lives(name))


def take_over_from_a_living_process(
    storage: Storage, make_life: MakeLife, api: BotAPI, **options: Any
) -> tuple[Life, list[str]]:
    """The former process, and the effects, if the next one polls while a handler runs."""
    former, later = make_life(storage, **options), make_life(storage, **options)
    slow = Slow(former, storage)
    add_notes(later, storage)
    send(api, "tea")
    former.poll()
    wait_for(slow.begun)
    later.poll()
    slow.release.set()
    former.wait()
    later.wait()
    return former, effects(storage)


@pytest.mark.parametrize("middlewares", [False, True], ids=["no-middlewares", "class-middlewares"])
def test_a_process_that_polls_takes_over_everything(
    middlewares: bool,
    storage: Storage,
    make_life: MakeLife,
    bot_api: BotAPI,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The former process's commit then writes nothing, which is logged and no error of a bot."""
    former, found = take_over_from_a_living_process(
        storage, make_life, bot_api, use_class_middlewares=middlewares
    )

    assert (["tea"], [], []) == (found, records(storage), former.errors)
    assert (
        "update 1 is handled by another process now, so nothing of it was saved here"
        in messages_in(caplog)
    )


class Unchecked(MemoryStorage):
    """The control: a storage whose commits expect nothing of the record of an update."""

    def commit(self, holds: Sequence[Hold], also: Sequence[Change] = ()) -> None:
        """Write in any case."""
        super().commit(holds, [change._replace(expected=self.get(change.key)) for change in also])


def test_control_without_the_check_both_processes_save(
    make_life: MakeLife, bot_api: BotAPI
) -> None:
    """If the commit does not check the record, both processes have the effect."""
    _, found = take_over_from_a_living_process(Unchecked(), make_life, bot_api)

    assert ["tea", "tea"] == found


class PagedStorage(MemoryStorage):
    """A storage that calls a function before it lists the second page of an index."""

    between: Callable[[], object] = bool

    def listed(self, prefix: str, after: str = "", limit: int = 100) -> list[str]:
        """See `Storage.listed`."""
        if after:
            between, self.between = self.between, bool
            between()
        return super().listed(prefix, after, limit)


def test_a_process_that_was_replaced_overtakes_nothing(
    make_life: MakeLife, bot_api: BotAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While another process takes updates over in pages, it leaves those of later pages, too."""
    monkeypatch.setattr(inbox, "PAGE", 2)
    storage = PagedStorage()
    former, later = make_life(storage), make_life(storage)
    slow, go_on = Slow(former, storage), threading.Event()
    sessions: Sessions[Any] = Sessions(storage=storage)

    @later.bot.message_handler(func=lambda _: wait_for(go_on) is None)
    @sessions.with_session
    def note(message: Any, session: Session) -> None:
        noting(session, message.text)

    def end_former() -> None:
        slow.release.set()
        former.wait()
        go_on.set()

    send(bot_api, "1", "2", "3")
    former.poll()
    wait_for(slow.begun)
    storage.between = end_former
    later.poll()
    later.wait()

    assert (["1", "2", "3"], [], []) == (effects(storage), records(storage), former.errors)


def test_a_process_that_polls_again_gets_back_what_it_has_left(
    make_life: MakeLife, bot_api: BotAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other process died between two pages, so the former one goes on with all updates."""
    monkeypatch.setattr(inbox, "PAGE", 2)
    storage = PagedStorage()
    former, later = make_life(storage), make_life(storage)
    slow, stopped = Slow(former, storage), threading.Event()
    later.bot.register_message_handler(bool, func=lambda _: wait_for(stopped))

    def end_former() -> None:
        slow.release.set()
        former.wait()
        raise StorageError("list", "1", "the server is gone")

    send(bot_api, "1", "2", "3")
    former.poll()
    wait_for(slow.begun)
    storage.between = end_former
    with pytest.raises(StorageError):
        later.poll()
    left = texts_in(storage)
    later.die()
    send(bot_api, "4")
    with pytest.raises(SessionError, match="it has died, so the next poll goes on"):
        former.poll()
    former.run()
    stopped.set()

    assert (["1", "2", "3"], ["1", "2", "3", "4"], []) == (left, effects(storage), records(storage))


def test_a_waiting_leftover_that_was_taken_over_is_not_begun(
    storage: Storage, make_life: MakeLife, bot_api: BotAPI
) -> None:
    """No handler of the former process is called for a leftover that another one has by now."""
    leave(storage, text_update("1"), text_update("2"))
    former, later = make_life(storage), make_life(storage)
    begun, release, calls = threading.Event(), threading.Event(), list[str]()

    @former.bot.message_handler()
    def handle(message: Any) -> None:
        calls.append(message.text)
        begun.set()
        wait_for(release)

    add_notes(later, storage)
    former.poll()
    wait_for(begun)
    later.run()
    release.set()
    former.wait()

    assert (["1"], ["1", "2"], []) == (calls, effects(storage), records(storage))


class TestTwoThatPoll:
    """Two processes that poll for one bot."""

    def test_the_former_one_stores_nothing_any_more(
        self, storage: Storage, make_life: MakeLife, bot_api: BotAPI
    ) -> None:
        """A poll of the former process is refused while the later one lives."""
        former, later = make_life(storage), make_life(storage)
        for life in (former, later):
            add_notes(life, storage)
        former.poll()
        later.poll()
        send(bot_api, "tea")
        with pytest.raises(SessionError, match="another process polls for the same bot"):
            former.run()
        before = effects(storage), records(storage), former.bot.last_update_id
        later.run()

        assert ([], [], 0) == before
        assert (["tea"], []) == (effects(storage), records(storage))

    def test_the_former_one_goes_on_after_the_death_of_the_later_one(
        self, storage: Storage, make_life: MakeLife, bot_api: BotAPI
    ) -> None:
        """It stores again, and what the other one has handled is not handled once more."""
        former, later = make_life(storage), make_life(storage)
        for life in (former, later):
            add_notes(life, storage)
        former.poll()
        send(bot_api, "1")
        later.run()
        later.die()
        send(bot_api, "2")
        with pytest.raises(SessionError, match="it has died"):
            former.poll()
        former.run()

        assert (["1", "2"], []) == (effects(storage), records(storage))


class TestWebhooks:
    """Several processes with webhooks of one bot."""

    def test_records_of_a_living_process_stay_with_it(
        self, storage: Storage, make_life: MakeLife
    ) -> None:
        """The first update of a process takes nothing from one that lives."""
        former, later = make_life(storage), make_life(storage)
        slow = Slow(former, storage)
        add_notes(later, storage)
        former.receive(text_update("1"))
        wait_for(slow.begun)
        later.receive(text_update("2", BORIS))
        later.wait()
        left = texts_in(storage)
        slow.release.set()
        former.wait()

        assert (["1"], ["1"], ["2"]) == (left, effects(storage), effects(storage, BORIS))
        assert [] == records(storage)

    def test_records_of_a_dead_process_are_taken_over_with_the_first_update(
        self, storage: Storage, make_life: MakeLife
    ) -> None:
        """The first update of a process takes those of dead processes, and handles them first."""
        leave(storage, text_update("1"), text_update("2"))
        life = make_life(storage)
        add_notes(life, storage)
        life.receive(text_update("3"))
        life.wait()

        assert (["1", "2", "3"], []) == (effects(storage), records(storage))

    def test_records_are_taken_over_every_half_lease(self, make_life: MakeLife) -> None:
        """The updates of a process that dies later are handled without a further update."""
        storage, log = MemoryStorage(), Log()
        storage.lease = 0.01
        life = make_life(storage)
        life.bot.register_message_handler(lambda message: log.add(message.text))
        life.receive(text_update("1"))
        log.wait_for(1)
        leave(storage, text_update("2"))

        assert ["1", "2"] == log.wait_for(2)

    def test_a_look_that_fails_is_repeated(
        self, make_life: MakeLife, caplog: pytest.LogCaptureFixture
    ) -> None:
        """If the storage fails when a process looks for leftovers, it is logged and tried again."""
        storage, log, failed = MemoryStorage(), Log(), threading.Event()
        storage.lease = 0.01
        life = make_life(storage)
        life.bot.register_message_handler(lambda message: log.add(message.text))
        life.receive(text_update("1"))
        log.wait_for(1)
        listed = storage.listed

        def fail_once(*args: Any) -> list[str]:
            if failed.is_set():
                return listed(*args)
            failed.set()
            raise StorageError("list", None, "the disk is gone")

        storage.listed = fail_once  # type: ignore[method-assign, assignment]
        wait_for(failed)
        leave(storage, text_update("2"))

        assert ["1", "2"] == log.wait_for(2)
        (told,) = messages_in(caplog)
        assert told.startswith("looks for updates of dead processes again later")


def test_the_commit_of_a_process_that_was_taken_for_dead_writes_nothing(
    storage: Storage, make_life: MakeLife, caplog: pytest.LogCaptureFixture
) -> None:
    """A webhook process that lost its lock may go on: its handler's commit fails, and is logged."""
    former, later = make_life(storage), make_life(storage)
    slow = Slow(former, storage)
    add_notes(later, storage)
    former.receive(text_update("1"))
    wait_for(slow.begun)
    former.die()
    later.receive(text_update("2"))
    slow.release.set()
    former.wait()
    later.wait()

    assert (["1", "2"], [], []) == (effects(storage), records(storage), former.errors)
    assert 1 == sum("handled by another process" in told for told in messages_in(caplog))


class TestLives:
    """The lock by which a process proves that it lives."""

    def test_on_a_file(self, tmp_path: Path) -> None:
        """A process sees by the lock in the file whether another one lives."""
        path = tmp_path / "bot.db"
        with SQLiteStorage(path) as one, SQLiteStorage(path) as two:
            self.see_life_and_death(one, two)

    def test_on_a_server(self, server: Server) -> None:
        """A process sees by the lock on the server whether another one lives."""
        url = patient_url(server)
        with RedisStorage(url) as one, RedisStorage(url) as two:
            self.see_life_and_death(one, two)

    @staticmethod
    def see_life_and_death(one: Storage, two: Storage) -> None:
        """Look at the owner of the one storage by the other one, before and after its end."""
        owner, other = Owner(Inbox(one, BOT_ID)), Owner(Inbox(two, BOT_ID))
        owner.begin()
        while_it_lives = other.lives(owner.name)
        owner.end()

        assert (True, False, False) == (while_it_lives, other.lives(owner.name), other.lives(DEAD))

    def test_a_lost_lock_is_taken_again(self, server: Server) -> None:
        """After an outage in which the server lost the lock, the next look takes it again."""
        url = patient_url(server)
        with RedisStorage(url) as one, RedisStorage(url) as two:
            owner, other = Owner(Inbox(one, BOT_ID)), Owner(Inbox(two, BOT_ID))
            owner.begin()
            with server.client() as client:
                client.flushall()
            lost = other.lives(owner.name)
            owner.renew()
            found = other.lives(owner.name)
            owner.end()

        assert (False, True) == (lost, found)


def test_a_process_knows_the_latest_numbers() -> None:
    """A process forgets the oldest of many ended numbers, and none that its workers have."""
    known = KnownNumbers()
    known.take(20_000)
    known.end_elsewhere([30_000])
    for number in range(10_001):
        known.take(number)
        known.end(number)

    found = [number in known for number in (0, 1, 10_000, 20_000, 30_000)]
    assert [False, True, True, True, True] == found
