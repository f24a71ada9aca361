"""Updates that come again, together or in another order because a test asks for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from telebot import TeleBot, types

from support.clocks import PATIENCE
from support.receivers import Receiver
from support.threads import Interrupt, OtherThread
from telesession import (
    MemoryStorage,
    Session,
    Sessions,
    SQLiteStorage,
    receive,
    use_sequential_workers,
)
from telesession.testing import OFFLINE_TOKEN, BotAPI, User, run_polling

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from telesession import Storage

PRICE = types.LabeledPrice("tea", 7)


def texts_of(updates: list[types.Update]) -> list[str]:
    return [update.message.text for update in updates]


def poll(api: BotAPI, bot: Any, offset: int, **options: Any) -> list[str]:
    """The texts of a poll that does not wait."""
    with api.short_polls():
        return texts_of(bot.get_updates(offset, **options))


class TestRedelivery:
    def test_an_update_comes_again(self, api: BotAPI, ada: User, read: Any) -> None:
        """It has the same number and the same content, and is confirmed as the first one was."""
        first = ada.send("a")
        before = read()
        api.redeliver(first)
        again = read()
        ada.send("b")

        assert (["a"], ["a"], ["b"]) == (texts_of(before), texts_of(again), texts_of(read()))
        assert [1, 1] == [before[0].update_id, again[0].update_id]

    def test_it_comes_after_what_waits(self, api: BotAPI, ada: User, read: Any) -> None:
        """Updates that wait are delivered first, and an update may come several times."""
        first = ada.send("a")
        read()
        ada.send("b")
        for _ in range(2):
            api.redeliver(first)

        assert ["b", "a", "a"] == texts_of(read())

    def test_no_offset_confirms_it_before_it_came(self, bot: Any, api: BotAPI, ada: User) -> None:
        """A poll with a higher offset gets it, as long as it was not delivered again."""
        first = ada.send("a")
        ada.send("b")
        api.redeliver(first)
        polls = [poll(api, bot, 3, limit=1) for _ in range(2)]

        assert ([["a"], []], []) == (polls, api.unconfirmed)

    def test_skipped_updates_do_not_come_again(self, bot: Any, api: BotAPI, ada: User) -> None:
        """A bot that drops what is pending drops repeated updates, too."""
        api.redeliver(ada.send("a"))
        bot.delete_webhook(drop_pending_updates=True)

        assert [] == api.unconfirmed

    @pytest.mark.parametrize("update", [{}, {"update_id": 0}, {"update_id": 2}])
    def test_what_never_came_cannot_come_again(
        self, api: BotAPI, ada: User, update: dict[str, Any]
    ) -> None:
        """An update that was never delivered is a `ValueError`."""
        ada.send("a")
        with pytest.raises(ValueError, match="never delivered"):
            api.redeliver(update)

    def test_a_number_that_was_left_out_cannot_come_again(self, api: BotAPI, ada: User) -> None:
        """A number below the latest one is not enough, because ids may have gaps."""
        api.push({**ada.send("a"), "update_id": 5})
        with pytest.raises(ValueError, match="never delivered"):
            api.redeliver({"update_id": 3})

    def test_a_payment_comes_again(self, api: BotAPI, ada: User, bot: Any) -> None:
        """The message about a payment, which no act of a user returns, is the last of `updates`."""
        query = ada.pay(bot.send_invoice(1, "Tea", "a pot", "tea", "", "XTR", [PRICE]))
        bot.answer_pre_checkout_query(query["pre_checkout_query"]["id"], ok=True)
        with api.short_polls():
            bot.get_updates(3)
        api.redeliver(api.updates[-1])
        [again] = bot.get_updates()

        assert (2, 7) == (again.update_id, again.message.successful_payment.total_amount)


class TestUpdates:
    def test_every_update_is_there_once(self, api: BotAPI, ada: User, read: Any) -> None:
        """They are in the order of arrival, confirmed, repeated or dropped."""
        first = ada.send("a")
        read()
        api.redeliver(first)
        with api.batch(order=lambda _: []):
            second = ada.send("b")
        assert [first, second] == api.updates

    def test_an_update_that_the_bot_does_not_get_is_there(
        self, api: BotAPI, ada: User, bot: Any
    ) -> None:
        """A reaction is one of them, although the bot has not asked for reactions."""
        reaction = ada.react(bot.send_message(1, "?"), "👍")
        assert ([], [reaction]) == (api.unconfirmed, api.updates)


class TestLostConfirmations:
    def test_a_poll_gets_the_same_updates_again(self, api: BotAPI, ada: User, bot: Any) -> None:
        """The offset of one poll is ignored, that of the next one is not."""
        ada.send("a")
        ada.send("b")
        api.lose_confirmations()
        polls = [poll(api, bot, offset) for offset in (1, 3, 3)]

        assert ([["a", "b"], ["a", "b"], []], []) == (polls, api.unconfirmed)

    def test_a_poll_that_confirms_nothing_loses_nothing(
        self, api: BotAPI, ada: User, bot: Any
    ) -> None:
        """A fault waits for a poll that has something to confirm."""
        api.lose_confirmations(times=2)
        polls = [poll(api, bot, 1)]
        ada.send("a")
        polls += [poll(api, bot, offset) for offset in (1, 2, 2, 2)]

        assert [[], ["a"], ["a"], ["a"], []] == polls


class TestBatches:
    def test_one_poll_gets_all_updates_of_a_block(self, api: BotAPI, bot: Any) -> None:
        """A poll that waits gets nothing before the end of the block, and then everything."""
        with OtherThread() as thread:
            updates = thread.submit(bot.get_updates)
            api.wait_for(lambda: api.calls)
            with api.batch():
                for text in "abc":
                    api.user(1).send(text)
                during = api.unconfirmed
            texts = texts_of(updates.result(PATIENCE))

        assert ([], ["a", "b", "c"]) == (during, texts)

    @pytest.mark.parametrize(
        ("order", "expected"),
        [
            (reversed, ["c", "b", "a"]),
            (lambda updates: updates[1:], ["b", "c"]),
            (lambda updates: updates * 2, ["a", "b", "c", "a", "b", "c"]),
        ],
        ids=["reversed", "one is lost", "twice"],
    )
    def test_the_order_is_that_of_the_test(
        self, api: BotAPI, read: Any, order: Any, expected: list[str]
    ) -> None:
        """A function of the updates says which are delivered, and in which order."""
        with api.batch(order=order):
            for text in "abc":
                api.user(1).send(text)

        assert expected == texts_of(read())

    def test_a_block_that_raises_delivers_nothing(self, api: BotAPI, ada: User, read: Any) -> None:
        """Its updates are dropped, and later ones come as usual."""

        def send() -> None:
            with api.batch():
                ada.send("a")
                raise Interrupt

        with pytest.raises(Interrupt):
            send()
        ada.send("b")

        assert ["b"] == texts_of(read())

    def test_a_block_inside_another_one_joins_it(self, api: BotAPI, ada: User, read: Any) -> None:
        """The inner block orders its updates, and the outer one delivers them."""
        with api.batch():
            with api.batch(order=reversed):
                ada.send("a")
                ada.send("b")
            ada.send("c")
            during = api.unconfirmed

        assert ([], ["b", "a", "c"]) == (during, texts_of(read()))

    def test_blocks_that_overlap_lose_nothing(self, api: BotAPI, ada: User, read: Any) -> None:
        """A block that ends before one inside it loses no update, of its own or a later one."""
        first, second = api.batch(), api.batch()
        first.__enter__()
        ada.send("a")
        second.__enter__()
        ada.send("b")
        first.__exit__(None, None, None)
        second.__exit__(None, None, None)
        ada.send("c")

        assert ["b", "a", "c"] == texts_of(read())

    def test_each_thread_has_blocks_of_its_own(self, api: BotAPI, bot: Any, ada: User) -> None:
        """A block of another thread orders its own updates, and delivers them at its own end."""
        other = api.batch(order=reversed)
        with OtherThread() as thread, api.batch():
            ada.send("a")
            thread.call(other.__enter__)
            ada.send("b")
            for text in "cd":
                thread.call(ada.send, text)
            thread.call(other.__exit__, None, None, None)
            polls = [poll(api, bot, 1)]
        # The lower numbers come later, and the offset does not confirm them.
        polls += [poll(api, bot, 5), poll(api, bot, 5)]

        assert [["d", "c"], ["a", "b"], []] == polls

    def test_a_thread_without_a_block_joins_that_of_another_one(
        self, api: BotAPI, ada: User, read: Any
    ) -> None:
        """Updates that other threads make, such as those about acts of the bot, come at its end."""
        with OtherThread() as thread:
            with api.batch():
                thread.call(ada.send, "a")
                during = api.unconfirmed
            thread.call(ada.send, "b")

        assert ([], ["a", "b"]) == (during, texts_of(read()))

    def test_replies_inside_a_block_are_an_error(self, api: BotAPI, ada: User) -> None:
        """The bot has no update before the end of the block, so nothing can be a reply to it."""
        bot = TeleBot(OFFLINE_TOKEN)
        bot.message_handler()(lambda message: bot.reply_to(message, message.text.upper()))
        with run_polling(bot) as polling:
            with api.batch():
                update = ada.send("a")
                with pytest.raises(RuntimeError, match="ask for its replies after the block"):
                    polling.say(ada, "b")
            texts = polling.replies_to(update).texts

        assert ["A", "B"] == sorted(texts)


class TestWebhooks:
    def test_a_lost_confirmation_repeats_one_update(self, bot: Any, api: BotAPI) -> None:
        """A 2xx status that is lost leads to a repetition, before later updates."""
        with Receiver() as receiver:
            api.lose_confirmations(times=2)
            bot.set_webhook(receiver.url)
            for text in "ab":
                api.user(1).send(text)
            posts = [receiver.get()[2:] for _ in range(4)]
            api.wait_until_confirmed()

        assert [(1, "a"), (1, "a"), (1, "a"), (2, "b")] == posts

    def test_updates_come_in_another_order(self, bot: Any, api: BotAPI) -> None:
        """Each update is confirmed by itself, so a higher number does not confirm a lower one."""
        with Receiver(200, 500) as receiver:
            bot.set_webhook(receiver.url)
            with api.batch(order=reversed):
                for text in "abc":
                    api.user(1).send(text)
            posts = [receiver.get()[2:] for _ in range(4)]
            api.wait_until_confirmed()

        assert [(3, "c"), (2, "b"), (2, "b"), (1, "a")] == posts

    def test_an_update_comes_again(self, bot: Any, api: BotAPI, ada: User) -> None:
        """A repeated update is posted after those that wait."""
        with Receiver() as receiver:
            bot.set_webhook(receiver.url)
            first = ada.send("a")
            posts = [receiver.get()[2:]]
            api.wait_until_confirmed()
            api.redeliver(first)
            posts += [receiver.get()[2:]]
            api.wait_until_confirmed()

        assert [(1, "a"), (1, "a")] == posts


class TestBots:
    """A bot that counts each update of its user, with an inbox and without one."""

    @pytest.fixture
    def storage(self, tmp_path: Path) -> Iterator[Storage]:
        with SQLiteStorage(tmp_path / "bot.db") as storage:
            yield storage

    def make_bot(self, storage: Storage, *, has_inbox: bool) -> TeleBot:
        bot = TeleBot(OFFLINE_TOKEN)
        use_sequential_workers(bot, inbox=storage if has_inbox else None)
        sessions: Sessions[Session] = Sessions(initial=lambda: {"log": []}, storage=storage)
        sessions.attach(bot)

        @bot.message_handler()
        def note(message: Any, session: Session) -> None:
            session.log.append(message.text)

        return bot

    def log(self, storage: Storage) -> Any:
        session = Sessions[Session](initial=lambda: {"log": []}, storage=storage).peek(1)
        return None if session is None else session["log"]

    @pytest.mark.parametrize(
        ("has_inbox", "expected"),
        [(True, ["a", "b"]), (False, ["a", "b", "a"])],
        ids=["inbox", "without"],
    )
    def test_a_repeated_update_has_its_effect_once(
        self, bot_api: BotAPI, storage: Storage, has_inbox: bool, expected: list[str]
    ) -> None:
        """A bot with an inbox handles an update that comes again once; without one, twice."""
        ada = bot_api.user(1)
        with run_polling(self.make_bot(storage, has_inbox=has_inbox)) as polling:
            first = ada.send("a")
            ada.send("b")
            polling.wait_idle()
            bot_api.redeliver(first)
            polling.wait_idle()

        assert expected == self.log(storage)

    @pytest.mark.parametrize(
        ("has_inbox", "expected"),
        [(True, ["a", "b"]), (False, ["a", "b", "a", "b"])],
        ids=["inbox", "without"],
    )
    def test_a_lost_confirmation_has_no_effect(
        self, bot_api: BotAPI, storage: Storage, has_inbox: bool, expected: list[str]
    ) -> None:
        """A poll whose offset was lost brings the same updates; an inbox knows them."""
        with run_polling(self.make_bot(storage, has_inbox=has_inbox)) as polling:
            bot_api.lose_confirmations()
            with bot_api.batch():
                for text in "ab":
                    bot_api.user(1).send(text)
            polling.wait_idle()

        assert expected == self.log(storage)

    @pytest.mark.parametrize(
        ("has_inbox", "expected"),
        [(True, ["c", "b", "a"]), (False, ["c", "c", "b", "a", "c"])],
        ids=["inbox", "without"],
    )
    def test_a_webhook_that_repeats_and_reorders(
        self, bot_api: BotAPI, storage: Storage, has_inbox: bool, expected: list[str]
    ) -> None:
        """With an inbox each update of a webhook has its effect once, in the order of arrival."""
        bot = self.make_bot(storage, has_inbox=has_inbox)
        bot_api.lose_confirmations()
        with Receiver(take=lambda raw: receive(bot, raw)) as receiver:
            bot.set_webhook(receiver.url)
            with bot_api.batch(order=reversed):
                _, _, last = [bot_api.user(1).send(text) for text in "abc"]
            bot_api.wait_until_confirmed()
            bot_api.redeliver(last)
            bot_api.wait_until_confirmed()
        bot.stop_bot()

        assert expected == self.log(storage)

    def test_questions_of_a_crowd_are_answered_in_turn(self, bot_api: BotAPI) -> None:
        """Updates of several users that one poll brings are each handled once, in order."""
        storage = MemoryStorage()
        users = [bot_api.user(number) for number in (1, 2)]
        with run_polling(self.make_bot(storage, has_inbox=False)) as polling:
            with bot_api.batch():
                for text in "abc":
                    for user in users:
                        user.send(text)
            polling.wait_idle()

        assert ["a", "b", "c"] == self.log(storage)
