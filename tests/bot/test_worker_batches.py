"""Batches of updates under sequential workers: in the order of Telegram, and none is lost."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from telebot import TeleBot, apihelper, types

from support.threads import Log, wait_for
from support.updates import ANNA, BORIS, said, update
from telesession import use_sequential_workers

if TYPE_CHECKING:
    from support.bots import MakeBot


def handle_kinds(bot: TeleBot) -> list[str]:
    """In which order one worker handles a batch in which kinds alternate."""
    log = Log()
    bot.message_handler()(lambda update: log.add(update.text))
    bot.edited_message_handler()(lambda update: log.add(update.text))
    bot.callback_query_handler(func=lambda _: True)(lambda update: log.add(update.data))
    press = {"id": "1", "from": ANNA, "chat_instance": "1", "data": "3. pressed"}
    bot.process_new_updates(
        [
            said("1. written"),
            said("2. edited", kind="edited_message"),
            update("callback_query", press),
            said("4. written"),
            said("5. edited", kind="edited_message"),
        ]
    )
    return log.wait_for(5)


def test_telebot_regroups_a_batch(make_bot: MakeBot) -> None:
    """Control: telebot alone handles all messages of a batch first, then other kinds."""
    expected = ["1. written", "4. written", "2. edited", "5. edited", "3. pressed"]
    assert expected == handle_kinds(make_bot(1))


def test_a_batch_keeps_the_order_of_telegram(make_sequential: MakeBot) -> None:
    """Messages, edits and button presses of a batch are handled as they happened."""
    expected = ["1. written", "2. edited", "3. pressed", "4. written", "5. edited"]
    assert expected == handle_kinds(make_sequential(8))


def answer_in_two_chats(bot: TeleBot) -> list[str]:
    """What becomes of a batch with the answers of two people who were both asked something."""
    log = Log()
    bot.message_handler()(lambda message: log.add(f"lost {message.text}"))
    for person in (ANNA, BORIS):
        bot.register_next_step_handler_by_chat_id(
            person["id"], lambda message: log.add(f"took {message.text}")
        )
    bot.process_new_updates([said("Anna"), said("Boris", BORIS)])
    return sorted(log.wait_for(2))


def test_telebot_skips_next_steps_of_a_batch(make_bot: MakeBot) -> None:
    """Control: telebot alone offers the second message of a batch to no next-step handler."""
    assert ["lost Boris", "took Anna"] == answer_in_two_chats(make_bot())


def test_next_steps_get_every_message_of_a_batch(make_sequential: MakeBot) -> None:
    """Two people who answer at the same time both reach their next step."""
    assert ["took Anna", "took Boris"] == answer_in_two_chats(make_sequential())


def test_next_steps_and_replies_have_their_turn_too(make_sequential: MakeBot) -> None:
    """What a next-step or a reply handler does comes in the user's order, with its arguments."""
    bot, log = make_sequential(8), Log()
    question = said("question").message
    bot.message_handler()(lambda message: log.add(message.text))
    bot.register_for_reply(question, lambda message, *args: log.add((message.text, *args)), "tea")
    bot.register_next_step_handler(
        question, lambda message, **kwargs: log.add((message.text, kwargs)), unit="cm"
    )
    reply = said("2")
    reply.message.reply_to_message = question

    bot.process_new_updates([said("1"), reply, said("3")])

    assert [("1", {"unit": "cm"}), ("2", "tea"), "2", "3"] == log.wait_for(4)


def test_whatever_processed_updates_before_still_does(make_bot: MakeBot) -> None:
    """A `process_new_updates` that was put on the bot before gets one update at a time."""
    bot, batches = make_bot(), []
    process = bot.process_new_updates

    def theirs(updates: list[types.Update]) -> None:
        batches.append(len(updates))
        process(updates)

    bot.process_new_updates = theirs  # type: ignore[method-assign]
    use_sequential_workers(bot)
    log = Log()
    bot.message_handler()(lambda message: log.add(message.text))

    bot.process_new_updates([said("1"), said("2")])

    assert ["1", "2"] == log.wait_for(2)
    assert [1, 1] == batches


@pytest.fixture
def refuse_the_second(monkeypatch: pytest.MonkeyPatch) -> Callable[[TeleBot], list[str]]:
    """What is handled of a batch whose second update a middleware refuses, until it is over."""
    monkeypatch.setattr(apihelper, "ENABLE_MIDDLEWARE", True)

    def run(bot: TeleBot) -> list[str]:
        log, over = Log(), threading.Event()
        refusals = [OSError("the database is on fire")]

        @bot.middleware_handler(update_types=["message"])
        def refuse(bot: TeleBot, message: types.Message) -> None:
            if message.text == "2" and refusals:
                raise refusals.pop()

        @bot.message_handler()
        def handle(message: types.Message) -> None:
            log.add(message.text)
            if message.text == "4":
                over.set()

        updates = [said("1"), said("2"), said("3"), said("4")]
        with pytest.raises(OSError, match="on fire"):
            bot.process_new_updates(updates)
        next_poll = [update for update in updates if update.update_id > bot.last_update_id]
        bot.process_new_updates(next_poll)
        wait_for(over)
        return log.entries

    return run


def test_telebot_loses_what_came_before_a_refused_update(
    refuse_the_second: Any, make_bot: MakeBot
) -> None:
    """Control: telebot alone never handles the updates before one that a middleware refused."""
    assert ["2", "3", "4"] == refuse_the_second(make_bot(1))


def test_a_refused_update_comes_again(refuse_the_second: Any, make_sequential: MakeBot) -> None:
    """When a middleware raises, what came before is handled, and the rest with the next poll."""
    assert ["1", "2", "3", "4"] == refuse_the_second(make_sequential(1))
