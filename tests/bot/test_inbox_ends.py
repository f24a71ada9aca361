"""The end of a stored update: the commit of its handler ends it, or notes that it is done."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pytest
from telebot.handler_backends import CancelUpdate

from support.bots import Refusal, TeaMiddleware
from support.inboxes import (
    TOGETHER,
    MakeLife,
    Snapshot,
    add_notes,
    effects,
    fail_commits,
    noting,
    records,
    send,
    states_with,
    texts_in,
)
from support.updates import ANNA
from telesession import (
    MemoryStorage,
    Session,
    Sessions,
    Storage,
    StorageError,
    forget,
)

if TYPE_CHECKING:
    from pathlib import Path

    from telesession.storage.base import Change, Hold
    from telesession.testing import BotAPI


def test_the_commit_of_the_handler_ends_the_update(
    storage: Storage, make_life: MakeLife, bot_api: BotAPI
) -> None:
    """The effect of a handler and the end of its update are one write."""
    life = make_life(storage)
    add_notes(life, storage)

    assert TOGETHER == states_with(life, storage, bot_api)


class EndsLater(MemoryStorage):
    """The control: a storage that writes the sessions first, and then the record of the update."""

    def commit(self, holds: Sequence[Hold], also: Sequence[Change] = ()) -> None:
        """Write in two steps."""
        super().commit(holds)
        self.between(holds)
        super().commit((), also)

    def between(self, holds: Sequence[Hold]) -> None:
        """Called between the two steps."""


def effects_after_a_kill(snapshot: Snapshot, make_life: MakeLife) -> list[str]:
    """The effects once the next process has polled, of one killed at the time of the snapshot."""
    with snapshot.open() as left:
        later = make_life(left)
        add_notes(later, left)
        later.run()
        return effects(left)


def test_killed_after_the_commit_it_is_not_handled_again(
    local_storage: Storage, snapshot: Snapshot, make_life: MakeLife, bot_api: BotAPI
) -> None:
    """A process that is killed right after the commit of a handler leaves nothing to handle."""
    life = make_life(local_storage)
    add_notes(life, local_storage)
    commit = local_storage.commit

    def commit_and_take(holds: Sequence[Hold], also: Sequence[Change] = ()) -> None:
        commit(holds, also)
        if holds:
            snapshot.take()

    local_storage.commit = commit_and_take  # type: ignore[method-assign]
    send(bot_api, "tea")
    life.run()

    assert ["tea"] == effects_after_a_kill(snapshot, make_life)


def test_killed_before_the_commit_it_is_handled_again(
    local_storage: Storage, snapshot: Snapshot, make_life: MakeLife, bot_api: BotAPI
) -> None:
    """A process that is killed in a handler leaves the update, and the next process handles it."""
    life = make_life(local_storage)
    sessions: Sessions[Any] = Sessions(storage=local_storage)

    @life.bot.message_handler()
    @sessions.with_session
    def handle(message: Any, session: Session) -> None:
        noting(session, message.text)
        snapshot.take()

    send(bot_api, "tea")
    life.run()

    assert ["tea"] == effects_after_a_kill(snapshot, make_life)


def test_control_an_end_after_the_commit_doubles_the_effect(
    tmp_path: Path, make_life: MakeLife, bot_api: BotAPI
) -> None:
    """With the end of the record in a commit of its own, a kill between the two doubles it."""
    storage = EndsLater()
    snapshot = Snapshot(storage, tmp_path)
    storage.between = lambda holds: snapshot.take() if holds else None  # type: ignore[method-assign]
    life = make_life(storage)
    add_notes(life, storage)
    send(bot_api, "tea")
    life.run()

    assert ["tea", "tea"] == effects_after_a_kill(snapshot, make_life)


def raise_refusal(message: Any, session: Session) -> None:
    """A handler that raises."""
    noting(session, message.text)
    raise Refusal


def only_read(message: Any, session: Session) -> None:
    """A handler that changes nothing."""
    session.get("texts")


def use_no_session(message: Any) -> None:
    """A handler without a session."""


# The filters of a handler, and the handler.
WITHOUT_COMMIT: dict[str, tuple[dict[str, Any], Any]] = {
    "no-handler-matches": ({"commands": ["start"]}, use_no_session),
    "no-session": ({}, use_no_session),
    "only-reads": ({}, only_read),
    "raises": ({}, raise_refusal),
}


@pytest.mark.parametrize("name", WITHOUT_COMMIT)
def test_an_update_without_a_commit_ends_before_the_next_one(
    name: str, make_life: MakeLife, bot_api: BotAPI, storage: Storage
) -> None:
    """An update that no commit ended has left the inbox when the next one of its key starts."""
    sessions: Sessions[Any] = Sessions(storage=storage)
    life, seen = make_life(storage, num_threads=4), []
    filters, function = WITHOUT_COMMIT[name]
    takes_session = "session" in inspect.signature(function).parameters
    handler = sessions.with_session(function) if takes_session else function
    life.bot.register_message_handler(handler, func=lambda message: message.text == "1", **filters)
    life.bot.register_message_handler(lambda message: seen.append(texts_in(storage)))
    send(bot_api, "1", "2")
    life.run()

    expected = {"no-handler-matches": [["1", "2"], ["2"]]}.get(name, [["2"]])
    assert (expected, []) == (seen, texts_in(storage))


def test_commit_on_error_ends_the_update(make_life: MakeLife, bot_api: BotAPI) -> None:
    """With `commit_on_error` the changes of a handler that raised and the end are one write."""
    storage = MemoryStorage()
    life = make_life(storage)
    sessions: Sessions[Any] = Sessions(storage=storage, commit_on_error=True)
    life.bot.register_message_handler(sessions.with_session(raise_refusal))

    states = states_with(life, storage, bot_api)
    assert (TOGETHER, [Refusal]) == (states, [type(error) for error in life.errors])


def test_forgetting_the_session_ends_the_update(
    storage: Storage, make_life: MakeLife, bot_api: BotAPI
) -> None:
    """A handler that deletes its session ends the update in the same write."""
    life = make_life(storage)
    sessions: Sessions[Any] = Sessions(storage=storage)
    with sessions.open(ANNA["id"]) as session:
        noting(session, "before")

    @life.bot.message_handler()
    @sessions.with_session
    def handle(message: Any, session: Session) -> None:
        forget(session)

    states = states_with(life, storage, bot_api)
    assert [(["before"], 0), (["before"], 1), ([], 0)] == states


def test_a_middleware_that_cancels_the_update_ends_it(make_life: MakeLife, bot_api: BotAPI) -> None:
    """An update for which a class middleware returns `CancelUpdate` is not handled later."""
    storage = MemoryStorage()
    life = make_life(storage, use_class_middlewares=True)
    middleware = TeaMiddleware()
    middleware.answer = CancelUpdate()
    life.bot.setup_middleware(middleware)
    add_notes(life, storage)
    send(bot_api, "tea")
    life.run()

    assert ([], []) == (effects(storage), records(storage))


def test_a_commit_that_fails_reaches_on_error(
    storage: Storage, make_life: MakeLife, bot_api: BotAPI
) -> None:
    """If the storage refuses the commit of a handler, `on_error` is told, and the update ends."""
    life = make_life(storage)
    add_notes(life, storage)
    fail_commits(storage, times=1)
    send(bot_api, "1", "2")
    life.run()

    assert (["2"], []) == (effects(storage), records(storage))
    assert [StorageError] == [type(error) for error in life.errors]


def test_an_end_that_fails_is_logged(
    make_life: MakeLife, bot_api: BotAPI, caplog: pytest.LogCaptureFixture
) -> None:
    """If the storage refuses the end of an update, it stays in the inbox, and a record says so."""
    storage = MemoryStorage()
    life = make_life(storage)
    add_notes(life, storage)
    fail_commits(storage, times=2)
    send(bot_api, "secret")
    life.run()

    (told,) = [record.getMessage() for record in caplog.records]
    assert ["secret"] == texts_in(storage)
    assert told.startswith("could not end update 1 in the inbox, and tries again later")
    assert "secret" not in caplog.text
