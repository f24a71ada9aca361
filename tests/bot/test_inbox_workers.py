"""Workers with an inbox: updates that overtake, are refused, or wait when the bot stops."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from support.bots import messages_in
from support.clocks import PATIENCE
from support.inboxes import (
    MakeLife,
    add_notes,
    effects,
    noting,
    records,
    send,
    text_update,
    texts_in,
)
from support.threads import Log, in_thread, start, wait_for
from support.updates import ANNA
from telesession import MemoryStorage, Session, Sessions, Storage
from telesession.testing import run_polling

if TYPE_CHECKING:
    import pytest

    from telesession.testing import BotAPI


def test_updates_with_a_deadline_do_not_wait(make_life: MakeLife, bot_api: BotAPI) -> None:
    """A press of a button overtakes a slow message of its user, and both end."""
    storage = MemoryStorage()
    life, order, pressed_now = make_life(storage, num_threads=2), [], threading.Event()

    @life.bot.message_handler()
    def slow(message: Any) -> None:
        wait_for(pressed_now)
        order.append("message")

    @life.bot.callback_query_handler(func=lambda _: True)
    def press(query: Any) -> None:
        order.append("press")
        pressed_now.set()

    send(bot_api, "slow")
    query = {"id": "1", "from": ANNA, "chat_instance": "1", "data": "x"}
    bot_api.push({"callback_query": query})
    life.run()

    assert (["press", "message"], []) == (order, records(storage))


class TestWorkers:
    """Updates that the workers do not take."""

    def test_a_dropped_update_ends(
        self, make_life: MakeLife, bot_api: BotAPI, caplog: pytest.LogCaptureFixture
    ) -> None:
        """An update that `when_full="drop"` drops leaves the inbox, and is logged."""
        storage, begun, release = MemoryStorage(), threading.Event(), threading.Event()
        life = make_life(storage, workers={"limit": 1, "when_full": "drop"})
        sessions: Sessions[Any] = Sessions(storage=storage)

        @life.bot.message_handler()
        @sessions.with_session
        def handle(message: Any, session: Session) -> None:
            begun.set()
            wait_for(release)
            session.texts = [*session.get("texts", []), message.text]

        send(bot_api, "1")
        life.poll()
        wait_for(begun)
        send(bot_api, "2", "3")
        life.poll()
        left = texts_in(storage)
        release.set()
        life.wait()

        assert (["1", "2"], ["1", "2"], []) == (left, effects(storage), records(storage))
        assert 1 == len(messages_in(caplog))

    def test_a_webhook_that_waits_for_room_is_known(self, make_life: MakeLife) -> None:
        """An update that is repeated while its first delivery waits for room is handled once."""
        storage, calls, release = MemoryStorage(), list[str](), threading.Event()
        life = make_life(storage, workers={"limit": 1})
        updates = [text_update(text) for text in "123"]

        @life.bot.message_handler()
        def handle(message: Any) -> None:
            calls.append(message.text)
            wait_for(release)

        life.receive(*updates[:2])
        waiting = start(life.receive, updates[2])
        while life.pool.waiting < 2:
            waiting.join(0.001)
        in_thread(life.receive, updates[2])
        release.set()
        waiting.join()
        life.wait()

        assert ([*"123"], []) == (calls, records(storage))

    def test_a_closed_pool_leaves_updates_in_the_inbox(
        self, storage: Storage, make_life: MakeLife, bot_api: BotAPI
    ) -> None:
        """Updates that come to a closed pool are stored, and the next process handles them once."""
        former, later = make_life(storage), make_life(storage)
        for life in (former, later):
            add_notes(life, storage)
        former.poll()
        send(bot_api, "1", "2")
        with bot_api.short_polls():
            updates = former.bot.get_updates(offset=1)
        in_thread(former.pool.close)
        former.bot.process_new_updates(updates)
        left = texts_in(storage), effects(storage), former.bot.last_update_id
        later.run()

        assert (["1", "2"], [], 0) == left
        assert (["1", "2"], []) == (effects(storage), records(storage))

    def test_waiting_updates_stay_in_the_inbox(
        self, make_life: MakeLife, bot_api: BotAPI, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Updates that a stopped bot has no time for stay in the inbox, and a record says so."""
        storage, begun, release = MemoryStorage(), threading.Event(), threading.Event()
        life = make_life(storage, workers={"drain": 0})

        @life.bot.message_handler()
        def handle(message: Any) -> None:
            begun.set()
            wait_for(release)

        send(bot_api, "1", "2", "3")
        life.poll()
        wait_for(begun)
        life.bot.stop_bot()
        release.set()
        life.wait()

        assert ["2", "3"] == texts_in(storage)
        assert [
            "closed the worker pool: 2 updates stay in the inbox for the next start",
            "closed the worker pool: handlers that are still running: 1",
        ] == messages_in(caplog)


def test_a_bot_can_be_stopped_and_started_again(
    local_storage: Storage, make_life: MakeLife, bot_api: BotAPI
) -> None:
    """A bot that polls again in the same process handles what came since, and nothing twice."""
    life = make_life(local_storage)
    add_notes(life, local_storage)
    for text in "123":
        send(bot_api, text)
        with run_polling(life.bot, bot_api) as polling:
            polling.wait_idle()
        send(bot_api, f"between {text}")
    with run_polling(life.bot, bot_api) as polling:
        polling.wait_idle()

    expected = ["1", "between 1", "2", "between 2", "3", "between 3"]
    assert (expected, []) == (effects(local_storage), records(local_storage))


def test_a_bot_can_be_started_again_while_a_handler_still_runs(
    storage: Storage, make_life: MakeLife, bot_api: BotAPI, caplog: pytest.LogCaptureFixture
) -> None:
    """The new workers take over the update of that handler, which then saves nothing."""
    life, begun, release = make_life(storage, workers={"drain": 0}), Log(), threading.Event()
    sessions: Sessions[Any] = Sessions(storage=storage, lock_timeout=None)

    @life.bot.message_handler()
    @sessions.with_session
    def handle(message: Any, session: Session) -> None:
        begun.add(message.text)
        wait_for(release)
        noting(session, message.text)

    send(bot_api, "1", "2")
    life.poll()
    begun.wait_for(1)
    life.bot.stop_bot()
    former = life.pool
    life.begin_again()
    life.poll(offset=0)
    release.set()
    life.wait()
    for worker in former.workers:
        worker.join(PATIENCE)

    assert (["1", "2"], [], []) == (effects(storage), records(storage), life.errors)
    assert ["1", "1", "2"] == begun.entries
