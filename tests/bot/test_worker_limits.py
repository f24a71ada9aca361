"""The limit of updates that wait for a worker: what blocks, and what is dropped."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from telebot import types

from support.bots import MakeBot, close_pool, messages_in, poll_update
from support.clocks import PATIENCE
from support.threads import Log, start, wait_for
from support.updates import ANNA, BORIS, CLARA, message, private, said, update

if TYPE_CHECKING:
    import pytest
    from telebot import TeleBot


class WatchedRoom(threading.Condition):
    """The room of a pool, which tells when somebody begins to wait for it."""

    def __init__(self, mutex: threading.Lock) -> None:
        super().__init__(mutex)
        self.is_awaited = threading.Event()

    def wait(self, timeout: float | None = None) -> bool:
        # Whoever learns of it now finds the mutex free only when the wait has begun.
        self.is_awaited.set()
        return super().wait(timeout)


def watch_room(pool: Any) -> threading.Event:
    """An event that is set when somebody waits for room in a pool that is idle now."""
    crew = pool._lines.crew
    crew.room = WatchedRoom(crew.mutex)
    is_awaited: threading.Event = crew.room.is_awaited
    return is_awaited


def let_polls_wait(bot: TeleBot, count: int) -> tuple[Log, threading.Event]:
    """Deliver polls, which have no key, behind one that runs until the event is set."""
    log, begun, release = Log(), threading.Event(), threading.Event()

    @bot.poll_handler(func=lambda _: True)
    def handle(poll: types.Poll) -> None:
        begun.set()
        wait_for(release)
        log.add(poll.id)

    bot.process_new_updates([poll_update(0)])
    wait_for(begun)
    bot.process_new_updates([poll_update(number) for number in range(1, count + 1)])
    return log, release


def test_a_full_line_blocks_whoever_delivers(make_sequential: MakeBot) -> None:
    """With `limit=2` one update runs, two wait, one is held back, and no more are delivered."""
    log, delivered, count = Log(), Log(), 100

    def get_key(update: Any) -> str:
        log.add(("deliver", int(update.text)))
        delivered.add(bot.last_update_id)
        return "key"

    bot = make_sequential(1, workers={"get_key": get_key, "limit": 2})

    @bot.message_handler()
    def handle(message: types.Message) -> None:
        number = int(message.text)
        delivered.wait_for(min(number + 4, count))
        log.add(("end", number))

    updates = [said(str(number)) for number in range(count)]
    deliverer = start(bot.process_new_updates, updates)
    entries = log.wait_for(2 * count)
    deliverer.join(PATIENCE)

    assert list(range(count)) == [number for what, number in entries if what == "end"]
    too_early = [
        number
        for number in range(count - 4)
        if entries.index(("deliver", number + 4)) < entries.index(("end", number))
    ]
    assert [] == too_early
    assert {updates[-1].update_id} == set(delivered.entries)


def test_without_a_limit_nothing_blocks(make_sequential: MakeBot) -> None:
    """Control: without a limit everything is delivered while the first handler still runs."""
    bot, log, release = make_sequential(1), Log(), threading.Event()

    @bot.message_handler()
    def handle(message: types.Message) -> None:
        wait_for(release)
        log.add(message.text)

    bot.process_new_updates([said(str(number)) for number in range(1, 7)])
    ended_meanwhile = list(log.entries)
    release.set()

    assert [[], ["1", "2", "3", "4", "5", "6"]] == [ended_meanwhile, log.wait_for(6)]


def test_closing_wakes_whoever_is_blocked(make_sequential: MakeBot) -> None:
    """Closing the pool ends the wait for room, and the rest of the batch stays with Telegram."""
    delivered, begun = Log(), Log()

    def get_key(update: Any) -> str:
        delivered.add(update.text)
        return "key"

    bot = make_sequential(1, workers={"get_key": get_key, "limit": 1})
    is_blocked = watch_room(bot.worker_pool)

    @bot.message_handler()
    def handle(message: types.Message) -> None:
        begun.add(message.text)
        wait_for(is_blocked)
        bot.stop_bot()

    bot.process_new_updates([said("1")])
    begun.wait_for(1)
    updates = [said(text) for text in "234"]
    deliverer = start(bot.process_new_updates, updates)
    deliverer.join(PATIENCE)
    close_pool(bot.worker_pool)

    assert (False, ["1", "2", "3", "4"]) == (deliverer.is_alive(), delivered.entries)
    assert (["1", "2", "3"], updates[1].update_id) == (begun.entries, bot.last_update_id)


def test_a_handler_is_never_blocked(make_sequential: MakeBot) -> None:
    """A handler that delivers updates of its own user to the only worker does not wait."""
    bot, log = make_sequential(1, workers={"limit": 1}), Log()

    @bot.message_handler()
    def handle(message: types.Message) -> None:
        if message.text == "0":
            bot.process_new_updates([said("1"), said("2")])
            bot.process_new_updates([said("3")])
        log.add(message.text)

    bot.process_new_updates([said("0")])

    assert ["0", "1", "2", "3"] == log.wait_for(4)


def test_a_handler_delivers_while_a_batch_is_blocked(make_sequential: MakeBot) -> None:
    """A handler may deliver updates even while a batch waits for the end of this very handler."""
    bot, begun, log = make_sequential(1, workers={"limit": 1}), Log(), Log()
    is_blocked = watch_room(bot.worker_pool)

    @bot.message_handler()
    def handle(message: types.Message) -> None:
        begun.add(message.text)
        if message.text == "0":
            wait_for(is_blocked)
            bot.process_new_updates([said("3"), said("4")])
        log.add(message.text)

    bot.process_new_updates([said("0")])
    begun.wait_for(1)
    start(bot.process_new_updates, [said("1"), said("2")])

    assert ["0", "1", "2", "3", "4"] == log.wait_for(5)


def test_both_halves_of_an_update_have_one_place(make_sequential: MakeBot) -> None:
    """An update for a reply handler and a message handler counts once, and is dropped as one."""
    bot = make_sequential(1, workers={"limit": 1, "when_full": "drop"})
    log, release = Log(), threading.Event()

    @bot.message_handler()
    def handle(message: types.Message) -> None:
        log.add(message.text)
        if message.text == "busy":
            wait_for(release)

    def answer(text: str) -> types.Update:
        reply = message(private(ANNA), ANNA, text=text)
        question = message(private(ANNA), text="?") | {"message_id": 77}
        return update("message", reply | {"reply_to_message": question})

    bot.register_for_reply_by_message_id(77, lambda message: log.add(f"to {message.text}"))
    bot.process_new_updates([said("busy")])
    log.wait_for(1)
    for text in ("kept", "dropped"):
        bot.process_new_updates([answer(text)])
    waiting = bot.worker_pool.waiting
    release.set()
    log.wait_for(3)
    bot.process_new_updates([said("last", BORIS)])

    assert 1 == waiting
    assert ["busy", "to kept", "kept", "last"] == log.wait_for(4)


def test_a_full_line_drops_the_newest(
    make_sequential: MakeBot, caplog: pytest.LogCaptureFixture
) -> None:
    """With `"drop"` a record tells of each update that exceeds the limit, not what it says."""
    bot = make_sequential(2, workers={"limit": 2, "when_full": "drop"})
    begun, release = Log(), threading.Event()

    @bot.message_handler()
    def handle(message: types.Message) -> None:
        begun.add(message.text)
        wait_for(release)

    bot.process_new_updates([said("1")])
    begun.wait_for(1)
    bot.process_new_updates([said(text) for text in ("2", "3", "secret", "secret")])
    bot.process_new_updates([said("Boris", BORIS)])
    begun.wait_for(2)
    release.set()

    assert ["1", "Boris", "2", "3"] == begun.wait_for(4)
    told = f"dropped a Message: 2 updates of '{ANNA['id']}' wait already, which is the limit"
    assert [told, told] == messages_in(caplog)


def test_updates_without_a_key_know_no_limit(
    make_sequential: MakeBot, caplog: pytest.LogCaptureFixture
) -> None:
    """However many polls wait, none of them is dropped."""
    bot = make_sequential(1, workers={"limit": 1, "when_full": "drop"})
    log, release = let_polls_wait(bot, 4)
    release.set()

    assert ["0", "1", "2", "3", "4"] == log.wait_for(5)
    assert [] == messages_in(caplog)


class TestTotalLimit:
    """The limit of all updates that wait, of every user and of none."""

    def test_it_drops_the_newest_of_any_user(
        self, make_sequential: MakeBot, caplog: pytest.LogCaptureFixture
    ) -> None:
        """With `"drop"` one update more is dropped and logged, the first of its user too."""
        bot = make_sequential(1, workers={"total_limit": 2, "when_full": "drop"})
        begun, release = Log(), threading.Event()

        @bot.message_handler()
        def handle(message: types.Message) -> None:
            begun.add(message.text)
            wait_for(release)

        bot.process_new_updates([said("1")])
        begun.wait_for(1)
        bot.process_new_updates([said("2"), said("Boris", BORIS), said("secret", CLARA)])
        waiting = bot.worker_pool.waiting
        release.set()

        assert {"1", "2", "Boris"} == set(begun.wait_for(3))
        told = "dropped a Message: 2 updates wait already, which is the total limit"
        assert (2, [told]) == (waiting, messages_in(caplog))

    def test_it_counts_updates_without_a_key(
        self, make_sequential: MakeBot, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Polls wait for nothing, but take their place among all."""
        bot = make_sequential(1, workers={"total_limit": 1, "when_full": "drop"})
        _, release = let_polls_wait(bot, 3)
        waiting = bot.worker_pool.waiting
        release.set()

        assert (1, 2) == (waiting, len(messages_in(caplog)))

    def test_it_blocks_the_delivery_until_there_is_room(self, make_sequential: MakeBot) -> None:
        """With `"block"` the caller waits in the middle of a batch, and nothing is lost."""
        bot, log = make_sequential(1, workers={"total_limit": 1}), Log()
        begun, release = threading.Event(), threading.Event()
        is_blocked = watch_room(bot.worker_pool)

        @bot.message_handler()
        def handle(message: types.Message) -> None:
            begun.set()
            wait_for(release)
            log.add(message.text)

        bot.process_new_updates([said("1")])
        wait_for(begun)
        deliverer = start(bot.process_new_updates, [said("2"), said("3", BORIS), said("4", CLARA)])
        wait_for(is_blocked)
        waiting = bot.worker_pool.waiting
        release.set()
        entries = log.wait_for(4)
        deliverer.join(PATIENCE)

        assert (2, {"1", "2", "3", "4"}) == (waiting, set(entries))
        assert (0, False) == (bot.worker_pool.waiting, deliverer.is_alive())

    def test_a_handler_is_not_blocked(self, make_sequential: MakeBot) -> None:
        """A handler that delivers more than the limit in its own thread does not wait."""
        bot, log = make_sequential(1, workers={"total_limit": 1}), Log()

        @bot.message_handler()
        def handle(message: types.Message) -> None:
            if message.text == "0":
                bot.process_new_updates([said("1"), said("2", BORIS), said("3", CLARA)])
            log.add(message.text)

        bot.process_new_updates([said("0")])

        assert {"0", "1", "2", "3"} == set(log.wait_for(4))

    def test_a_pool_that_was_closed_holds_nothing(self, make_sequential: MakeBot) -> None:
        """Updates that were dropped by a close do not count any more."""
        bot, begun, release = (
            make_sequential(1, workers={"total_limit": 9}),
            Log(),
            threading.Event(),
        )

        @bot.message_handler()
        def handle(message: types.Message) -> None:
            begun.add(message.text)
            wait_for(release)

        bot.process_new_updates([said(text) for text in "123"])
        begun.wait_for(1)
        before = bot.worker_pool.waiting
        closing = start(bot.worker_pool.close)
        release.set()
        closing.join(PATIENCE)

        assert (2, 0) == (before, bot.worker_pool.waiting)


class WatchedBatch(list[types.Update]):
    """A batch that tells when somebody begins to look at it."""

    def __init__(self, updates: list[types.Update], is_seen: threading.Event) -> None:
        super().__init__(updates)
        self.is_seen = is_seen

    def __len__(self) -> int:
        self.is_seen.set()
        return super().__len__()


def test_a_newer_batch_does_not_overtake_a_blocked_one(make_sequential: MakeBot) -> None:
    """While a batch waits for room, whoever polls next waits with what is newer."""
    bot, begun, log = make_sequential(2, workers={"limit": 1}), Log(), Log()
    is_blocked, is_seen = watch_room(bot.worker_pool), threading.Event()

    @bot.message_handler()
    def handle(message: types.Message) -> None:
        begun.add(message.text)
        if message.text == "Anna 0":
            wait_for(is_seen)
        log.add(message.text)

    bot.process_new_updates([said("Anna 0")])
    begun.wait_for(1)
    older = [said("Anna 1"), said("Anna 2"), said("Boris 0", BORIS)]
    newer = WatchedBatch([said("Boris 1", BORIS)], is_seen)
    start(bot.process_new_updates, older)
    wait_for(is_blocked)
    start(bot.process_new_updates, newer)
    entries = log.wait_for(5)

    assert ["Boris 0", "Boris 1"] == [text for text in entries if text.startswith("Boris")]
    assert ["Anna 0", "Anna 1", "Anna 2"] == [text for text in entries if text.startswith("Anna")]
