"""Batches of updates under sequential workers: in the order of Telegram, and none is lost."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from telebot import TeleBot, apihelper, types

from support.bots import DarknessError
from support.threads import Log
from support.updates import ANNA, BORIS, said, update
from telesession import MemoryStorage, Session, use_sequential_workers, with_session
from telesession.testing import RecordingExceptionHandler

if TYPE_CHECKING:
    import pytest

    from support.bots import MakeBot


def handle_kinds(bot: TeleBot) -> list[str]:
    """In which order one worker handles a batch in which kinds alternate."""
    log = Log()

    @with_session(storage=MemoryStorage())
    def press_with_session(update: types.CallbackQuery, session: Session) -> None:
        log.add(update.data)

    bot.message_handler()(lambda update: log.add(update.text))
    bot.edited_message_handler()(lambda update: log.add(update.text))
    bot.callback_query_handler(func=lambda _: True)(press_with_session)
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


def refuse_the_second(bot: TeleBot) -> tuple[list[str], list[type[Exception]]]:
    """The updates of a batch that are handled, and the exceptions, if a middleware refuses one."""
    log, handler = Log(), RecordingExceptionHandler()
    bot.exception_handler = handler

    @bot.middleware_handler(update_types=["message"])
    def refuse(bot: TeleBot, message: types.Message) -> None:
        if message.text == "2":
            raise DarknessError

    @bot.message_handler()
    def handle(message: types.Message) -> None:
        log.add(message.text)

    updates = [said("1"), said("2"), said("3"), said("4")]
    with suppress(DarknessError):
        bot.process_new_updates(updates)
    bot.process_new_updates([said("last")])
    while "last" not in log.wait_for(1):
        log.wait_for(len(log.entries) + 1)
    return log.entries, [type(error) for error in handler.exceptions]


def test_telebot_loses_a_batch_that_a_middleware_refuses(
    make_bot: MakeBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Control: telebot alone handles nothing of a batch if a function middleware raises."""
    monkeypatch.setattr(apihelper, "ENABLE_MIDDLEWARE", True)
    assert (["last"], []) == refuse_the_second(make_bot(1))


def test_a_middleware_that_raises_costs_its_own_update(
    make_sequential: MakeBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If a function middleware raises, the bot is told, and the other updates are handled."""
    monkeypatch.setattr(apihelper, "ENABLE_MIDDLEWARE", True)
    expected = ["1", "3", "4", "last"], [DarknessError]
    assert expected == refuse_the_second(make_sequential(1))
