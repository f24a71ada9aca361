"""Failures beside kills: refused writes, lost answers, repetitions at once, limits and stops."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.fernet import Fernet

from support.bots import messages_in
from support.inboxes import (
    MakeLife,
    add_notes,
    effects,
    fail_commits,
    leave,
    records,
    send,
    text_update,
)
from support.threads import Log, start, wait_for
from support.updates import BORIS
from telesession import (
    EncryptedCodec,
    JSONCodec,
    MemoryStorage,
    Sessions,
    SQLiteStorage,
    Storage,
    StorageError,
)
from telesession.bot.inbox import Inbox

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from support.inboxes import Life
    from telesession.bot.intake import Intake
    from telesession.storage.base import Change, Hold
    from telesession.testing import BotAPI


def intake_of(life: Life) -> Intake:
    """The way into the inbox of a bot."""
    intake = life.pool.intake
    assert intake is not None
    return intake


def test_an_end_that_failed_is_written_later(
    local_storage: Storage, make_life: MakeLife, bot_api: BotAPI
) -> None:
    """An update whose end was refused ends with the next look, and its handler is not called."""
    life = make_life(local_storage)
    add_notes(life, local_storage)
    fail_commits(local_storage, times=2)
    send(bot_api, "tea")
    life.run()
    before = len(records(local_storage))
    intake_of(life)._end_again()

    assert (1, [], []) == (before, records(local_storage), effects(local_storage))


def lose_answers(storage: Storage) -> None:
    """Let the commits of handlers be done, and their answers be lost."""
    commit = storage.commit

    def commit_and_fail(holds: Sequence[Hold], also: Sequence[Change] = ()) -> None:
        commit(holds, also)
        if also and any(change.payload is None for change in also):
            raise StorageError("write", "1", "no answer", "look at the server", "unknown")

    storage.commit = commit_and_fail  # type: ignore[method-assign]


def test_a_commit_without_an_answer_is_looked_up(
    local_storage: Storage, make_life: MakeLife, bot_api: BotAPI
) -> None:
    """If the answer to a commit is lost, the record tells that it was done: nothing has failed."""
    life = make_life(local_storage)
    add_notes(life, local_storage)
    lose_answers(local_storage)
    send(bot_api, "tea")
    life.run()

    assert (["tea"], [], []) == (effects(local_storage), records(local_storage), life.errors)


def test_repetitions_at_once_are_handled_once(make_life: MakeLife) -> None:
    """Three threads of a web server that get the same updates call each handler once."""
    life, calls = make_life(MemoryStorage(), num_threads=3), Log()
    life.bot.message_handler()(lambda message: calls.add(message.text))
    updates = [text_update(str(number)) for number in range(100)]
    for thread in [start(life.receive, *updates) for _ in range(3)]:
        thread.join()
    life.wait()

    assert list(range(100)) == sorted(map(int, calls.entries))


def test_sessions_elsewhere_are_logged_once(
    tmp_path: Path, make_life: MakeLife, bot_api: BotAPI, caplog: pytest.LogCaptureFixture
) -> None:
    """A handler with sessions in another storage object gives one record that says so."""
    with SQLiteStorage(tmp_path / "bot.db") as inbox, SQLiteStorage(tmp_path / "bot.db") as other:
        life = make_life(inbox)
        add_notes(life, other)
        send(bot_api, "1", "2")
        life.run()
        life.close()

        (told,) = messages_in(caplog)
        assert ["1", "2"] == effects(other)
        assert "lie in another storage than the inbox" in told


def test_leftovers_of_one_user_hold_up_no_other(make_life: MakeLife, bot_api: BotAPI) -> None:
    """Leftovers beyond the limit of a key do not let new updates of other users wait."""
    storage, release, log = MemoryStorage(), threading.Event(), Log()
    leave(storage, *(text_update(str(number)) for number in range(5)))
    life = make_life(storage, num_threads=2, workers={"limit": 1})

    @life.bot.message_handler()
    def handle(message: Any) -> None:
        if message.from_user.id != BORIS["id"]:
            wait_for(release)
        log.add(message.text)
        if message.text == "Boris":
            release.set()

    life.receive(text_update("Boris", BORIS))
    life.wait()

    assert ["Boris", "0", "1", "2", "3", "4"] == log.entries


def test_a_stop_during_a_handler_is_no_kill(make_life: MakeLife, bot_api: BotAPI) -> None:
    """A process that ends while its handler still runs counts as stopped."""
    storage, begun, release = MemoryStorage(), threading.Event(), threading.Event()
    life = make_life(storage, workers={"drain": 0})

    @life.bot.message_handler()
    def handle(message: Any) -> None:
        begun.set()
        wait_for(release)

    send(bot_api, "slow")
    life.poll()
    wait_for(begun)
    life.pool.close()
    owner = intake_of(life)._owner
    found = owner.was_killed(owner.name)
    release.set()

    assert not found


def test_a_worker_that_receives_waits_for_nobody(make_life: MakeLife) -> None:
    """A handler may receive an update itself, also while leftovers wait for room."""
    storage, log = MemoryStorage(), Log()
    leave(storage, *(text_update(str(number)) for number in range(5)))
    life = make_life(storage, num_threads=1, workers={"total_limit": 1})

    @life.bot.message_handler()
    def handle(message: Any) -> None:
        if message.text == "0":
            life.receive(text_update("inner", BORIS))
        log.add(message.text)

    life.receive(text_update("last"))
    life.wait()

    assert {"0", "1", "2", "3", "4", "inner", "last"} == set(log.entries)


class FaultyCodec(JSONCodec):
    """A codec that fails once, as one with a remote key may."""

    def __init__(self) -> None:
        super().__init__()
        self.is_due = False

    def encode(self, record: dict[str, Any], key: str, previous: bytes | None = None) -> bytes:
        """Encode a record, or fail."""
        if self.is_due:
            self.is_due = False
            raise ArithmeticError
        return super().encode(record, key, previous)


@pytest.mark.parametrize("way", ["poll", "webhook"])
def test_a_codec_that_fails_once_loses_nothing(
    way: str, make_life: MakeLife, bot_api: BotAPI
) -> None:
    """If a record cannot be made, the update is stored when Telegram delivers it again."""
    codec = FaultyCodec()
    storage = MemoryStorage(codec=codec)
    life = make_life(storage)
    add_notes(life, storage)
    life.run()
    update = text_update("tea", update_id=1)
    send(bot_api, "tea")
    codec.is_due = True
    with pytest.raises(ArithmeticError):
        life.receive(update) if way == "webhook" else life.poll()
    if way == "webhook":
        life.receive(update)
        life.wait()
    else:
        life.run()

    assert (["tea"], []) == (effects(storage), records(storage))


def lose_the_first_answer(storage: Storage) -> None:
    """Let the answer to the first change of a record be lost."""
    commit, lost = storage.commit, []

    def commit_and_fail(holds: Sequence[Hold], also: Sequence[Change] = ()) -> None:
        commit(holds, also)
        if not holds and not lost and any(b"has_begun" in (each.payload or b"") for each in also):
            lost.append(True)
            raise StorageError("write", "1", "no answer", "look at the server", "unknown")

    storage.commit = commit_and_fail  # type: ignore[method-assign]


def test_a_begin_without_an_answer_is_looked_up(make_life: MakeLife, bot_api: BotAPI) -> None:
    """If the answer to the note of a leftover is lost, its handler is called once all the same."""
    storage = MemoryStorage(codec=JSONCodec())
    leave(storage, text_update("1"), text_update("2"))
    life = make_life(storage)
    add_notes(life, storage)
    lose_the_first_answer(storage)
    life.run()

    assert (["1", "2"], [], []) == (effects(storage), records(storage), life.errors)


def test_taking_over_from_a_living_process_counts_no_kill(
    make_life: MakeLife, bot_api: BotAPI
) -> None:
    """An update whose handler runs in a process that lives is taken over without a kill."""
    storage = MemoryStorage()
    former, later, begun, release = (
        make_life(storage),
        make_life(storage),
        threading.Event(),
        threading.Event(),
    )
    leave(storage, text_update("slow"))

    @former.bot.message_handler()
    def be_slow(message: Any) -> None:
        begun.set()
        wait_for(release)

    former.poll()
    wait_for(begun)
    found: list[Any] = []
    later.bot.message_handler()(
        lambda message: found.extend(each.get("kills", 0) for each in records(storage))
    )
    later.run()
    release.set()
    former.wait()

    assert [0] == found


def test_updates_that_another_process_took_are_not_called(
    make_life: MakeLife, bot_api: BotAPI
) -> None:
    """Once a process knows that another one polls, it calls no handler of its backlog."""
    storage, calls, begun, release = MemoryStorage(), Log(), threading.Event(), threading.Event()
    former, later = make_life(storage), make_life(storage)
    add_notes(later, storage)
    sessions: Sessions[Any] = Sessions(storage=storage)

    @former.bot.message_handler()
    @sessions.with_session
    def note(message: Any, session: Any) -> None:
        begun.set()
        wait_for(release)
        calls.add(message.text)
        session.seen = True

    send(bot_api, "1", "2", "3")
    former.poll()
    wait_for(begun)
    polled = start(later.poll)
    polled.join()
    release.set()
    former.wait()
    later.wait()

    assert (["1"], ["1", "2", "3"]) == (calls.entries, effects(storage))


def test_a_poll_after_webhooks_takes_over(make_life: MakeLife, bot_api: BotAPI) -> None:
    """A process that first received takes over the updates of another one with its first poll."""
    storage = MemoryStorage()
    former, later, release = make_life(storage), make_life(storage), threading.Event()
    former.bot.message_handler()(lambda message: wait_for(release))
    add_notes(later, storage)
    former.run()
    later.receive(text_update("received", BORIS))
    send(bot_api, "polled")
    former.poll()
    later.run()
    release.set()
    former.wait()

    assert (["received"], ["polled"]) == (effects(storage, BORIS), effects(storage))


def test_the_last_worker_leaves_the_inbox(make_life: MakeLife) -> None:
    """After a handler stopped the bot, the waiting updates are free for other processes."""
    storage = MemoryStorage()
    life = make_life(storage, workers={"drain": 0})

    @life.bot.message_handler()
    def stop(message: Any) -> None:
        life.bot.stop_bot()

    life.receive(*(text_update(str(number)) for number in range(5)))
    for worker in life.pool.workers:
        worker.join()
    later = make_life(storage)
    add_notes(later, storage)
    left = len(records(storage))
    later.receive(text_update("new", BORIS))
    later.wait()

    assert left == len(effects(storage))
    assert [] == records(storage)


def test_an_update_that_was_set_aside_can_be_read(make_life: MakeLife, bot_api: BotAPI) -> None:
    """An encrypted record is encrypted anew for the room in which it is set aside."""
    storage = MemoryStorage(codec=EncryptedCodec(JSONCodec(), [Fernet.generate_key()]))
    leave(storage, text_update("tea", update_id=7), has_begun=True, kills=2)
    make_life(storage).run()
    (key,) = storage.keys("@inbox-1-aside:")
    payload = storage.get(key)
    assert payload is not None

    assert "tea" in Inbox(storage, 1).fields_of(key, payload)["raw"]
