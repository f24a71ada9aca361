"""`receive`: the update of a webhook is stored, and then handed to the workers."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING, Any

import pytest
from telebot import TeleBot

from support.bots import MakeBot, messages_in
from support.clocks import DAY
from support.inboxes import (
    Journal,
    MakeLife,
    add_notes,
    effects,
    fail_stores,
    noting,
    records,
    send,
    text_update,
    texts_in,
)
from support.threads import Log, in_thread, start, wait_for
from support.updates import ANNA, BASIC_GROUP, GROUP
from telesession import (
    MemoryStorage,
    Session,
    Sessions,
    Storage,
    StorageError,
    by_chat,
    receive,
)
from telesession.testing import OFFLINE_TOKEN

if TYPE_CHECKING:
    from freezegun.api import FrozenDateTimeFactory

    from telesession.testing import BotAPI


def test_it_stores_the_update_and_does_not_wait_for_the_handler(
    storage: Storage, make_life: MakeLife
) -> None:
    """It returns while the handler runs, and then the update is stored as Telegram sent it."""
    life, release = make_life(storage), threading.Event()
    sessions: Sessions[Any] = Sessions(storage=storage)

    @life.bot.message_handler()
    @sessions.with_session
    def handle(message: Any, session: Session) -> None:
        wait_for(release)
        noting(session, message.text)

    body = json.dumps(text_update("tea"), indent=1)
    receive(life.bot, body)
    stored = [fields["raw"] for fields in records(storage)]
    release.set()
    life.wait()

    assert ([body], ["tea"], []) == (stored, effects(storage), records(storage))


def test_the_handlers_commit_ends_the_update(storage: Storage, make_life: MakeLife) -> None:
    """The effect of the handler and the end of the update are one write."""
    life = make_life(storage)
    add_notes(life, storage)
    journal = Journal(storage)
    life.receive(text_update("tea"))
    life.wait()

    # In memory, that it was stored is a commit, too.
    assert [([], 0), (["tea"], 0)] == [state for state in journal.states if state != ([], 1)]


@pytest.mark.parametrize("encode", [str, str.encode], ids=["str", "bytes"])
def test_it_takes_the_body_of_a_request(encode: Any, make_life: MakeLife) -> None:
    """The body may be text or UTF-8."""
    storage = MemoryStorage()
    life = make_life(storage)
    add_notes(life, storage)
    body = json.dumps(text_update("\N{HOT BEVERAGE}"), ensure_ascii=False)
    receive(life.bot, encode(body))
    life.wait()

    assert ["\N{HOT BEVERAGE}"] == effects(storage)


GARBAGE = {
    "empty": "",
    "no-json": "{hunter2",
    "text": '"hunter2"',
    "number": "5",
    "null": "null",
    "list": '["hunter2"]',
    "no-utf8": b"\xff hunter2",
    "no-update-id": '{"message": "hunter2"}',
    "text-as-update-id": '{"update_id": "hunter2"}',
    "bool-as-update-id": '{"update_id": true}',
    "float-as-update-id": '{"update_id": 1.5}',
    "negative-update-id": '{"update_id": -1, "message": null}',
    "huge-update-id": '{"update_id": 99999999999999999999}',
    "no-message": '{"update_id": 1, "message": "hunter2"}',
    "half-a-message": '{"update_id": 1, "message": {"text": "hunter2"}}',
    "list-as-a-message": '{"update_id": 1, "message": ["hunter2"]}',
}


@pytest.mark.parametrize("has_inbox", [True, False], ids=["inbox", "no-inbox"])
@pytest.mark.parametrize("body", GARBAGE.values(), ids=GARBAGE)
def test_it_refuses_garbage(
    body: str | bytes, has_inbox: bool, make_life: MakeLife, make_bot: MakeBot
) -> None:
    """A body that is no update is a `ValueError` without a word of the body; nothing is stored."""
    storage = MemoryStorage()
    bot = make_life(storage).bot if has_inbox else make_bot()
    with pytest.raises(ValueError, match="could not receive an update") as caught:
        receive(bot, body)

    error = caught.value
    assert (None, None, False) == (error.__context__, error.__cause__, "hunter2" in str(error))
    assert [] == records(storage)


@pytest.mark.parametrize("body", [None, {"update_id": 1}, 5])
def test_it_refuses_other_objects(body: Any, make_life: MakeLife) -> None:
    """A body that is neither text nor bytes is a mistake of the program."""
    with pytest.raises(TypeError, match="str or bytes"):
        receive(make_life(MemoryStorage()).bot, body)


def test_an_update_of_an_unknown_kind_ends(make_life: MakeLife) -> None:
    """An update of a kind that the installed telebot does not know has no handler, and ends."""
    storage = MemoryStorage()
    life = make_life(storage)
    life.receive({"update_id": 1, "kind_of_next_year": {"id": 5}})
    life.wait()

    assert ([], []) == (life.errors, records(storage))


def test_a_store_that_fails_raises(storage: Storage, make_life: MakeLife) -> None:
    """If the update cannot be stored, the view gets the error; repeated, it is handled once."""
    life, update = make_life(storage), text_update("tea")
    add_notes(life, storage)
    fail_stores(storage, times=1)
    with pytest.raises(StorageError):
        life.receive(update)
    before = effects(storage), records(storage)
    life.receive(update, update)
    life.wait()

    assert ([], []) == before
    assert (["tea"], []) == (effects(storage), records(storage))


class TestAgain:
    """Updates that Telegram repeats."""

    def test_while_the_handler_runs(
        self, storage: Storage, make_life: MakeLife, caplog: pytest.LogCaptureFixture
    ) -> None:
        """A repetition to the same process and to another one is not handled, and logged."""
        life, other, release = make_life(storage), make_life(storage), threading.Event()
        sessions: Sessions[Any] = Sessions(storage=storage)

        @sessions.with_session
        def handle(message: Any, session: Session) -> None:
            wait_for(release)
            noting(session, message.text)

        for each in (life, other):
            each.bot.register_message_handler(handle)
        update = text_update("tea", update_id=7)
        life.receive(update, update)
        other.receive(update)
        release.set()
        life.wait()
        other.wait()

        assert (["tea"], []) == (effects(storage), records(storage))
        assert [
            "update 7 was delivered again, and is not handled a second time"
        ] * 2 == messages_in(caplog)

    def test_after_it_has_ended(
        self, storage: Storage, make_life: MakeLife, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Also after the end, and after the end of its process, a repetition is recognised."""
        life, update = make_life(storage), text_update("tea", update_id=7)
        add_notes(life, storage)
        life.receive(update)
        life.wait()
        life.receive(update)
        life.die()
        later = make_life(storage)
        add_notes(later, storage)
        later.receive(update)
        life.wait()
        later.wait()

        assert (["tea"], []) == (effects(storage), records(storage))
        assert [
            "update 7 was delivered again, and is not handled a second time"
        ] * 2 == messages_in(caplog)

    def test_from_several_threads(self, storage: Storage, make_life: MakeLife) -> None:
        """Of repetitions that arrive at the same time, one has its effect."""
        life, barrier = make_life(storage, num_threads=4), threading.Barrier(8)
        add_notes(life, storage)
        update = text_update("tea")
        life.receive(text_update("first"))

        def bring() -> None:
            barrier.wait()
            life.receive(update)

        for thread in [start(bring) for _ in range(8)]:
            thread.join()
        life.wait()

        assert (["first", "tea"], [], []) == (effects(storage), records(storage), life.errors)

    def test_one_whose_hand_over_raised(
        self, storage: Storage, make_life: MakeLife, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """An update that was stored and that no worker has is handed over when it comes again."""
        life, update = make_life(storage), text_update("tea")
        add_notes(life, storage)

        def refuse(*_: Any) -> None:
            raise RuntimeError("can't start new thread")

        monkeypatch.setattr(life.pool, "take", refuse)
        with pytest.raises(RuntimeError):
            life.receive(update)
        stored = texts_in(storage)
        monkeypatch.undo()
        life.receive(update, update)
        life.wait()

        assert (["tea"], ["tea"], []) == (stored, effects(storage), records(storage))

    def test_numbers_are_remembered_for_a_day(
        self, storage: Storage, make_life: MakeLife, clock: FrozenDateTimeFactory
    ) -> None:
        """A number is recognised for 24 hours, for which Telegram keeps updates."""
        counts = []
        for wait in (0, DAY - 60, 2 * DAY):
            clock.tick(wait)
            life = make_life(storage)
            add_notes(life, storage)
            life.receive(text_update("tea", update_id=7))
            life.wait()
            life.die()
            counts.append(len(effects(storage)))

        assert [1, 1, 2] == counts

    def test_an_update_that_a_poll_has_brought(
        self, storage: Storage, make_life: MakeLife, bot_api: BotAPI
    ) -> None:
        """A bot that changes from polling to a webhook does not handle the last batch again."""
        former, later = make_life(storage), make_life(storage)
        for life in (former, later):
            add_notes(life, storage)
        send(bot_api, "1", "2")
        former.run()
        former.die()
        later.receive(*bot_api.unconfirmed, text_update("3"))
        later.wait()

        assert (["1", "2", "3"], []) == (effects(storage), records(storage))


class TestClosed:
    """Webhooks of a process that ends."""

    def test_a_closed_pool_leaves_updates_in_the_inbox(
        self, storage: Storage, make_life: MakeLife
    ) -> None:
        """Updates that arrive when the pool is closed are stored; the next process takes them."""
        former, later = make_life(storage), make_life(storage)
        for life in (former, later):
            add_notes(life, storage)
        former.receive(text_update("1"))
        in_thread(former.pool.close)
        former.receive(text_update("2"))
        left = texts_in(storage)
        later.receive(text_update("3"))
        later.wait()

        assert ["2"] == left
        assert (["1", "2", "3"], []) == (effects(storage), records(storage))

    def test_a_closed_pool_takes_nothing_over(self, make_life: MakeLife) -> None:
        """A process whose pool is closed leaves the updates of dead processes to others."""
        storage = MemoryStorage()
        former, later = make_life(storage), make_life(storage)
        add_notes(later, storage)
        in_thread(former.pool.close)
        former.receive(text_update("1"))
        later.receive(text_update("2"))
        later.wait()

        assert (["1", "2"], []) == (effects(storage), records(storage))


class TestWithoutAnInbox:
    """Bots that store no updates."""

    def test_workers_get_the_update(self, make_sequential: MakeBot) -> None:
        """With workers and no inbox it returns at once, and a worker handles the update."""
        bot, log, release = make_sequential(), Log(), threading.Event()

        @bot.message_handler()
        def handle(message: Any) -> None:
            wait_for(release)
            log.add(message.text)

        receive(bot, json.dumps(text_update("tea")))
        before = list(log.entries)
        release.set()

        assert ([], ["tea"]) == (before, log.wait_for(1))

    def test_without_workers_the_handlers_are_called(self) -> None:
        """A bot without threads has handled the update when it returns."""
        bot, texts = TeleBot(OFFLINE_TOKEN, threaded=False), []
        bot.register_message_handler(lambda message: texts.append(message.text))
        receive(bot, json.dumps(text_update("tea")))

        assert ["tea"] == texts


def test_sessions_follow_a_group_that_becomes_a_supergroup(make_life: MakeLife) -> None:
    """The session of a group goes on in the supergroup, as with `process_new_updates`."""
    storage = MemoryStorage()
    life = make_life(storage)
    sessions: Sessions[Any] = Sessions(storage=storage, get_storage_key=by_chat)
    sessions.attach(life.bot, follow_migrations=True)

    @life.bot.message_handler(content_types=["text"])
    def handle(message: Any, session: Session) -> None:
        noting(session, message.text)

    told = {"message_id": 1, "date": 1, "from": ANNA, "chat": BASIC_GROUP}
    moved = {"update_id": 2, "message": {**told, "migrate_to_chat_id": GROUP["id"]}}
    life.receive(text_update("before", chat=BASIC_GROUP, update_id=1), moved)
    life.receive(text_update("after", chat=GROUP, update_id=3))
    life.wait()

    assert ["before", "after"] == (sessions.peek(f"chat:{GROUP['id']}") or {})["texts"]
