"""Calls of the Bot API that fail, wait or lose their answer because a test asks for it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest
import requests
from telebot import TeleBot, apihelper

from support.clocks import PATIENCE
from support.receivers import Receiver
from support.threads import OtherThread, start
from telesession import MemoryStorage, Sessions, on_commit, use_sequential_workers
from telesession.testing import OFFLINE_TOKEN, BotAPI, run_polling

if TYPE_CHECKING:
    from collections.abc import Callable


def texts(api: BotAPI) -> list[str | None]:
    return [message.text for message in api.messages]


class TestLostAnswers:
    def test_a_message_is_sent_although_its_call_failed(self, bot: Any, api: BotAPI) -> None:
        """A call that fails after its effect was executed, and the bot learns that it failed."""
        api.fail_next("sendMessage", 502, after=True)

        with pytest.raises(apihelper.ApiTelegramException, match="Bad Gateway"):
            bot.send_message(1, "a")
        bot.send_message(1, "b")

        assert ["a", "b"] == texts(api)

    @pytest.mark.parametrize(("after", "left"), [(False, ["b"]), (True, ["a", "b"])])
    def test_a_connection_breaks(self, bot: Any, api: BotAPI, after: bool, left: list[str]) -> None:
        """Without a code the bot gets no answer; the message is sent or not, as asked for."""
        api.fail_next("sendMessage", None, after=after)

        with pytest.raises(requests.ConnectionError):
            bot.send_message(1, "a")
        bot.send_message(1, "b")

        assert left == texts(api)

    def test_a_bot_that_tries_again_sends_twice(
        self, bot: Any, api: BotAPI, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """telebot's own retries double a message whose answer was lost."""
        monkeypatch.setattr(apihelper, "RETRY_ON_ERROR", True)
        monkeypatch.setattr(apihelper, "RETRY_TIMEOUT", 0)
        api.fail_next("sendMessage", None, after=True)

        bot.send_message(1, "a")

        assert ["a", "a"] == texts(api)

    def test_failures_of_a_method_happen_in_turn(self, bot: Any, api: BotAPI) -> None:
        """Each failure belongs to one call, in the order in which they were asked for."""
        api.fail_next("sendMessage", 500, times=2, after=True)
        api.fail_next("sendMessage", 403)
        codes = []
        for text in "abcd":
            try:
                bot.send_message(1, text)
                codes.append(200)
            except apihelper.ApiTelegramException as error:
                codes.append(error.error_code)

        assert ([500, 500, 403, 200], ["a", "b", "d"]) == (codes, texts(api))

    def test_a_call_that_telegram_refuses_anyway_is_refused_so(self, bot: Any, api: BotAPI) -> None:
        """A call that is executed first gets Telegram's own refusal, if there is one."""
        api.fail_next("sendMessage", 502, after=True)

        with pytest.raises(apihelper.ApiTelegramException, match="chat_id is empty"):
            bot.send_message("", "a")

        assert [] == texts(api)

    def test_a_poll_whose_answer_was_lost_confirms_nothing(self, bot: Any, api: BotAPI) -> None:
        """The next poll gets the updates that the bot has not seen."""
        api.user(1).send("a")
        api.fail_next("getUpdates", 502, after=True)

        with pytest.raises(apihelper.ApiTelegramException, match="Bad Gateway"):
            bot.get_updates(1)

        assert ["a"] == [update.message.text for update in bot.get_updates(1)]


class TestDelays:
    def test_a_call_takes_longer(self, bot: Any, api: BotAPI) -> None:
        """As many calls as asked for take the real seconds that were asked for."""
        api.delay_next("sendMessage", 0.02, times=2)
        begun = time.monotonic()
        for text in "ab":
            bot.send_message(1, text)

        assert (["a", "b"], True) == (texts(api), time.monotonic() - begun >= 0.04)

    def test_the_end_of_the_server_ends_the_waits(self) -> None:
        """A server that is closed answers calls that wait, however long they should."""
        outcomes: list[Any] = []
        with BotAPI() as api:
            api.delay_next("sendMessage", 10_000)
            bot = TeleBot(OFFLINE_TOKEN, threaded=False)
            sender = start(lambda: outcomes.append(bot.send_message(1, "a").text))
            api.wait_for(lambda: api.calls_of("sendMessage"))
        sender.join(PATIENCE)

        assert ["a"] == outcomes


class TestHolding:
    def test_the_end_of_the_server_ends_a_handler_of_a_webhook(self) -> None:
        """A server that is closed answers a held call of a handler that an update was posted to."""
        api = BotAPI().start()
        bot = TeleBot(OFFLINE_TOKEN, threaded=False)
        outcomes: list[Any] = []

        def handle(raw: bytes) -> None:
            try:
                outcomes.append(bot.send_message(1, "a").text)
            except requests.RequestException as error:
                outcomes.append(error)

        with Receiver(take=handle) as receiver:
            bot.set_webhook(receiver.url)
            with api.holding("sendMessage"):
                api.user(1).send("hi")
                api.wait_for(lambda: api.calls_of("sendMessage"))
                api.close()
            receiver.get()

        assert ["a"] == outcomes

    def test_calls_wait_until_the_block_ends(self, bot: Any, api: BotAPI) -> None:
        """The calls of one method wait, and are executed when the block has ended."""
        with OtherThread() as thread:
            with api.holding("sendMessage"):
                sent = thread.submit(bot.send_message, 1, "a")
                api.wait_for(lambda: api.calls_of("sendMessage"))
                during = sent.done(), texts(api)
            sent.result(PATIENCE)

        assert ((False, []), ["a"]) == (during, texts(api))

    def test_other_calls_are_answered_meanwhile(self, bot: Any, api: BotAPI) -> None:
        """A call that waits keeps no call of another method waiting."""
        with OtherThread() as thread:
            with api.holding("sendMessage"):
                sent = thread.submit(TeleBot(OFFLINE_TOKEN).send_message, 1, "a")
                api.wait_for(lambda: api.calls_of("sendMessage"))
                name = bot.get_me().id
                done = sent.done()
            sent.result(PATIENCE)

        assert (77, False) == (name, done)

    def test_blocks_may_be_inside_each_other(self, bot: Any, api: BotAPI) -> None:
        """Calls wait for the end of the last block that holds them."""
        with OtherThread() as thread:
            with api.holding("sendMessage"):
                with api.holding("sendMessage"):
                    sent = thread.submit(bot.send_message, 1, "a")
                    api.wait_for(lambda: api.calls_of("sendMessage"))
                done = sent.done()
            sent.result(PATIENCE)

        assert (False, ["a"]) == (done, texts(api))

    def test_a_bot_that_loses_patience_does_not_see_the_answer(self, bot: Any, api: BotAPI) -> None:
        """A message whose answer comes after the bot's time-out is sent all the same."""
        # The connection is there from now on.
        bot.get_me()
        with api.holding("sendMessage"), pytest.raises(requests.ReadTimeout):
            bot.send_message(1, "a", timeout=0.1)
        api.wait_for_messages(1)

        assert ["a"] == texts(api)


class TestBots:
    def test_a_slow_handler_keeps_only_its_user_waiting(self, bot_api: BotAPI) -> None:
        """While Telegram does not answer one handler, another user is served by another one."""
        ada, bob = bot_api.user(1), bot_api.user(2)
        bot = TeleBot(OFFLINE_TOKEN)
        use_sequential_workers(bot)

        @bot.message_handler()
        def reply(message: Any) -> None:
            if message.text == "slow":
                bot.send_chat_action(message.chat.id, "typing")
            bot.send_message(message.chat.id, message.text)

        with run_polling(bot) as polling:
            with bot_api.holding("sendChatAction"):
                ada.send("slow")
                ada.send("after")
                bot_api.wait_for(lambda: bot_api.calls_of("sendChatAction"))
                bob.send("quick")
                bot_api.wait_for_messages(1)
                meanwhile = texts(bot_api)
            polling.wait_idle()

        assert (["quick"], ["quick", "slow", "after"]) == (meanwhile, texts(bot_api))

    @pytest.mark.parametrize(
        ("reply_by", "counted"),
        [
            (lambda reply, *args: reply(*args), 1),
            (on_commit, 2),
        ],
        ids=["in the handler", "on_commit"],
    )
    def test_a_reply_whose_answer_was_lost_undoes_its_handler(
        self, bot_api: BotAPI, reply_by: Callable[..., Any], counted: int
    ) -> None:
        """A reply that fails in the handler undoes the session, one on commit does not."""
        bot = TeleBot(OFFLINE_TOKEN)
        sessions = Sessions(initial={"counter": 0}, storage=MemoryStorage())

        @bot.message_handler()
        @sessions.with_session
        def count(message: Any, session: Any) -> None:
            session.counter += 1
            reply_by(bot.send_message, message.chat.id, f"{session.counter}")

        bot_api.fail_next("sendMessage", 502, after=True)
        with run_polling(bot) as polling:
            for _ in range(2):
                bot_api.user(1).send("hi")
                polling.wait_idle()
            failed = len(polling.exceptions)
            polling.exceptions.clear()

        assert (1, ["1", f"{counted}"]) == (failed, texts(bot_api))
