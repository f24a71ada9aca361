"""The store of the inbox: each update is stored before the next poll confirms it."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING, Any

import pytest
from telebot import TeleBot, types

from support.bots import messages_in
from support.clocks import DAY
from support.inboxes import (
    BOT_ID,
    Journal,
    MakeLife,
    add_notes,
    effects,
    fail_stores,
    leave,
    numbers_to_come,
    records,
    send,
    text_update,
    texts_in,
)
from support.storages import ENCRYPTED
from support.threads import start, wait_for
from support.updates import said
from telesession import (
    MemoryStorage,
    Sessions,
    SQLiteStorage,
    Storage,
    StorageError,
    use_sequential_workers,
)
from telesession.bot.inbox import Inbox
from telesession.testing import OFFLINE_TOKEN, BotAPI, run_polling

if TYPE_CHECKING:
    from pathlib import Path

    from freezegun.api import FrozenDateTimeFactory


def test_a_batch_is_stored_by_one_write(
    storage: Storage, make_life: MakeLife, bot_api: BotAPI
) -> None:
    """All updates of a poll are stored together, before a handler of one of them begins."""
    life, release = make_life(storage), threading.Event()
    life.bot.register_message_handler(lambda message: wait_for(release))
    journal = Journal(storage)
    send(bot_api, "1", "2", "3")
    life.poll()
    stored = texts_in(storage)
    release.set()
    life.wait()

    assert [([], 0), ([], 3)] == journal.states[:2]
    assert ["1", "2", "3"] == stored


TEXTS = {"emoji": "\N{HOT BEVERAGE}", "half-a-pair": "\ud83d", "controls": "\0\u2028'\"\\"}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_an_update_is_stored_as_telegram_sent_it(
    text: str, make_life: MakeLife, bot_api: BotAPI
) -> None:
    """The record has fields of an update that the installed telebot does not know."""
    storage, release = MemoryStorage(), threading.Event()
    life = make_life(storage)
    life.bot.register_message_handler(lambda message: wait_for(release))
    sent = bot_api.push(
        text_update("tea", update_id=1, of_next_year={"a": [1, "\N{HOT BEVERAGE}"]})
    )
    life.poll()
    (stored,) = records(storage)
    release.set()

    assert sent == json.loads(stored["raw"])


def test_polls_ask_as_telebot_does(make_life: MakeLife, bot_api: BotAPI) -> None:
    """`get_updates` with an inbox sends the same and returns the same as that of telebot."""
    life, alone = make_life(MemoryStorage()), TeleBot(OFFLINE_TOKEN, threaded=False)
    send(bot_api, "tea")
    asked: list[tuple[tuple[Any, ...], dict[str, Any]]] = [
        ((), {}),
        ((-1,), {"timeout": 5, "long_polling_timeout": 0}),
        ((1, 10, 5, ["message"], 0), {}),
    ]
    with bot_api.short_polls():
        found = [
            [update.message.text for update in bot.get_updates(*args, **options)]
            for bot in (alone, life.bot)
            for args, options in asked
        ]
    calls = [call.params for call in bot_api.calls_of("getUpdates")]

    assert [["tea"]] * 6 == found
    assert calls[:3] == calls[3:]


def test_skipped_updates_are_not_stored(make_life: MakeLife, bot_api: BotAPI) -> None:
    """`skip_pending` skips the pending updates once, and the bot handles the next one."""
    storage = MemoryStorage()
    life = make_life(storage, skip_pending=True)
    add_notes(life, storage)
    send(bot_api, "old", "older")
    with run_polling(life.bot, bot_api) as polling:
        bot_api.wait_until_confirmed()
        send(bot_api, "new")
        polling.wait_idle()

    # telebot gets the latest pending update, asks for it with -1, and never confirms it.
    offsets = [call.integer("offset") for call in bot_api.calls_of("getUpdates")]
    assert 1 == offsets.count(-1)
    assert (["new"], []) == (effects(storage)[-1:], records(storage))
    assert "old" not in effects(storage)


def test_a_failing_store_confirms_nothing(
    storage: Storage, make_life: MakeLife, bot_api: BotAPI
) -> None:
    """If the storage refuses a batch, the next poll gets it again, and it is handled once."""
    life = make_life(storage)
    add_notes(life, storage)
    life.poll()
    fail_stores(storage, times=1)
    send(bot_api, "1", "2")
    with pytest.raises(StorageError):
        life.poll()
    before = life.bot.last_update_id, records(storage), effects(storage)
    life.run()

    assert (0, [], []) == before
    assert (["1", "2"], []) == (effects(storage), records(storage))


def test_an_update_whose_hand_over_raised_comes_again(
    storage: Storage, make_life: MakeLife, bot_api: BotAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the workers cannot take an update, it is handed over when the next poll gets it again."""
    life = make_life(storage)
    add_notes(life, storage)
    taken = life.pool.take

    def take(update: Any, *args: Any) -> Any:
        if update.text == "2":
            monkeypatch.undo()
            raise RuntimeError("can't start new thread")
        return taken(update, *args)

    monkeypatch.setattr(life.pool, "take", take)
    send(bot_api, "1", "2", "3")
    with pytest.raises(RuntimeError):
        life.poll()
    life.run()
    # Nothing is left to confirm.
    life.run()

    assert (["1", "2", "3"], []) == (effects(storage), records(storage))


class TestAgain:
    """Updates that are delivered again."""

    def test_in_the_same_process(
        self,
        storage: Storage,
        make_life: MakeLife,
        bot_api: BotAPI,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        """An update that a later poll gets again is handled once, and logged."""
        life = make_life(storage)
        add_notes(life, storage)
        send(bot_api, "1")
        life.run()
        life.poll(offset=0)
        life.wait()

        assert (["1"], []) == (effects(storage), records(storage))
        assert ["update 1 was delivered again, and is not handled a second time"] == messages_in(
            caplog
        )

    def test_in_the_next_process(
        self,
        storage: Storage,
        make_life: MakeLife,
        bot_api: BotAPI,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        """An update that was handled, and whose confirmation was lost, is handled once."""
        former, later = make_life(storage), make_life(storage)
        for life in (former, later):
            add_notes(life, storage)
        send(bot_api, "1")
        former.run()
        former.die()
        send(bot_api, "2")
        later.run()

        assert (["1", "2"], []) == (effects(storage), records(storage))
        assert ["update 1 was delivered again, and is not handled a second time"] == messages_in(
            caplog
        )

    def test_of_two_poll_threads(
        self, storage: Storage, make_life: MakeLife, bot_api: BotAPI
    ) -> None:
        """Of two threads that poll at once, one hands an update to the workers."""
        life = make_life(storage, num_threads=4)
        add_notes(life, storage)
        send(bot_api, *"12345")
        batches = [life.bot.get_updates(long_polling_timeout=0) for _ in range(2)]
        barrier = threading.Barrier(2)

        def process(batch: list[Any]) -> None:
            barrier.wait()
            life.bot.process_new_updates(batch)

        threads = [start(process, batch) for batch in batches]
        for thread in threads:
            thread.join()
        life.wait()

        assert ([*"12345"], []) == (effects(storage), records(storage))

    def test_only_unconfirmed_numbers_are_remembered(
        self, storage: Storage, make_life: MakeLife, bot_api: BotAPI
    ) -> None:
        """A number leaves the record of the poll when a later poll has confirmed it."""
        life, seen = make_life(storage), []
        for texts in ("12", "3", "4"):
            send(bot_api, *texts)
            life.run()
            seen.append(numbers_to_come(storage))

        assert [[1, 2], [3], [4]] == seen

    @pytest.mark.parametrize(("age", "expected"), [(DAY, 1), (DAY + 1, 2)])
    def test_numbers_of_a_poll_are_remembered_for_a_day(
        self,
        age: int,
        expected: int,
        make_life: MakeLife,
        clock: FrozenDateTimeFactory,
    ) -> None:
        """After a day without updates, a number that Telegram gives anew is that of a new one."""
        storage = MemoryStorage()
        for wait in (0, age):
            clock.tick(wait)
            with BotAPI() as api:
                life = make_life(storage)
                add_notes(life, storage)
                send(api, "tea")
                life.run()
                life.die()

        assert expected == len(effects(storage))


def test_leftovers_never_set_last_update_id(
    storage: Storage, make_life: MakeLife, bot_api: BotAPI
) -> None:
    """A leftover with a greater number does not hide updates whose numbers began anew."""
    life = make_life(storage)
    add_notes(life, storage)
    leave(storage, text_update("old", update_id=10**9))
    life.run()
    number = life.bot.last_update_id
    send(bot_api, "new")
    life.run()

    assert 0 == number
    assert (["old", "new"], 1) == (effects(storage), life.bot.last_update_id)


class TestByHand:
    """Updates that Telegram did not send."""

    def test_updates_pass_without_the_inbox(
        self, make_life: MakeLife, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Updates that a program made are handled without being stored, and logged once."""
        storage = MemoryStorage()
        life, counts = make_life(storage), []
        life.bot.register_message_handler(lambda message: counts.append(len(records(storage))))
        life.bot.process_new_updates([said("1"), said("2")])
        life.bot.process_new_updates([said("3")])
        life.wait()

        assert [0, 0, 0] == counts
        (told,) = messages_in(caplog)
        assert told.startswith("an update that was made by hand is handled without the inbox")

    def test_messages_pass_without_the_inbox(
        self, make_life: MakeLife, caplog: pytest.LogCaptureFixture
    ) -> None:
        """So are messages that a program gives to `process_new_messages`."""
        storage = MemoryStorage()
        life = make_life(storage)
        add_notes(life, storage)
        for text in "12":
            life.bot.process_new_messages([said(text).message])
        life.wait()

        assert ["1", "2"] == effects(storage)
        assert 1 == len(messages_in(caplog))


class TestRefusals:
    """Bots that can have no inbox."""

    def test_a_bot_without_threads(self) -> None:
        """A bot without threads gets no workers, and so no inbox."""
        bot = TeleBot(OFFLINE_TOKEN, threaded=False)
        sessions: Sessions[Any] = Sessions(storage=MemoryStorage())

        with pytest.raises(ValueError, match="threaded=False"):
            use_sequential_workers(bot, inbox=MemoryStorage())
        with pytest.raises(ValueError, match="threaded=False"):
            sessions.attach(bot, inbox=MemoryStorage())

    def test_a_bot_that_gets_its_updates_itself(self, make_bot: Any) -> None:
        """A subclass with a `get_updates` of its own is refused."""

        class OwnBot(TeleBot):
            def get_updates(self, *args: Any, **kwargs: Any) -> list[types.Update]:
                return []

        bot = OwnBot(OFFLINE_TOKEN, num_threads=1)
        with pytest.raises(ValueError, match="OwnBot has a get_updates of its own"):
            use_sequential_workers(bot, inbox=MemoryStorage())
        use_sequential_workers(bot).close()

    def test_something_that_is_no_storage(self, make_bot: Any) -> None:
        """An inbox that is no storage is refused."""
        with pytest.raises(TypeError, match="inbox must extend"):
            use_sequential_workers(make_bot(), inbox={})


def test_records_go_through_the_codec(tmp_path: Path, make_life: MakeLife, bot_api: BotAPI) -> None:
    """With an `EncryptedCodec` no text of a user is on the disk, and leftovers are handled."""
    with SQLiteStorage(tmp_path / "bot.db", codec=ENCRYPTED) as storage:
        life, release = make_life(storage), threading.Event()
        life.bot.register_message_handler(lambda message: wait_for(release))
        send(bot_api, "hunter2")
        life.poll()
        disk = b"".join(path.read_bytes() for path in tmp_path.iterdir())
        read = texts_in(storage)
        release.set()
        life.wait()

    assert (["hunter2"], False, False) == (read, b"hunter2" in disk, b"Anna" in disk)


def test_two_bots_share_a_storage(make_life: MakeLife, bot_api: BotAPI) -> None:
    """A bot does not take over the updates of another one."""
    storage = MemoryStorage()
    leave(storage, text_update("of bot 1"))
    other = make_life(storage, token="2:inbox")
    add_notes(other, storage)
    send(bot_api, "of bot 2")
    other.run()

    assert (["of bot 2"], ["of bot 1"]) == (effects(storage), texts_in(storage))


def test_a_record_of_the_poll_that_was_lost_is_made_anew(
    storage: Storage, make_life: MakeLife, bot_api: BotAPI
) -> None:
    """If the record of the polling process is gone, the next batch is stored and handled once."""
    life = make_life(storage)
    add_notes(life, storage)
    send(bot_api, "1")
    life.run()
    storage.delete(Inbox(storage, BOT_ID).poll_key)
    send(bot_api, "2", "3")
    life.run()

    assert (["1", "2", "3"], [], [2, 3]) == (
        effects(storage),
        records(storage),
        numbers_to_come(storage),
    )
