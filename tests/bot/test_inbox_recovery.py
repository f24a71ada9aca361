"""Failures beside kills: refused writes, lost answers, repetitions at once, limits and stops."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

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
from telesession import MemoryStorage, SQLiteStorage, Storage, StorageError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import pytest

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
