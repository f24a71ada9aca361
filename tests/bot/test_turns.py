"""Turns: telebot chooses the handlers of an update when those before it have been handled."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest
from telebot import apihelper
from telebot.custom_filters import StateFilter

from support.bots import MakeBot, pressed
from support.threads import Log, wait_for
from support.updates import ANNA, BORIS, IRREGULAR_HANDLERS, private, said, update
from telesession import (
    MemoryStorage,
    Session,
    Sessions,
    session_filter,
    use_questions,
    use_sequential_workers,
    with_session,
)

if TYPE_CHECKING:
    from telebot import TeleBot, types


def ask_and_answer_in_one_batch(bot: TeleBot) -> list[str]:
    """The handlers of a question and its answer that arrive together."""
    log = Log()

    def take(message: types.Message) -> None:
        log.add(f"step {message.text}")

    @bot.message_handler()
    def ask(message: types.Message) -> None:
        bot.register_next_step_handler(message, take)
        log.add(f"handler {message.text}")

    bot.process_new_updates([said("1"), said("2")])
    return log.wait_for(2)


def test_telebot_chooses_next_steps_too_early(make_bot: MakeBot) -> None:
    """Control: telebot alone gives the answer to the handler, because it came too early."""
    assert ["handler 1", "handler 2"] == ask_and_answer_in_one_batch(make_bot(1))


def test_a_next_step_is_chosen_when_its_turn_comes(make_sequential: MakeBot) -> None:
    """A next step that a handler registers gets the user's next update, if it came already."""
    assert ["handler 1", "step 2"] == ask_and_answer_in_one_batch(make_sequential(8))


def test_middlewares_run_when_the_turn_comes(
    make_sequential: MakeBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A function middleware sees an update after those before it were handled."""
    monkeypatch.setattr(apihelper, "ENABLE_MIDDLEWARE", True)
    bot, log = make_sequential(8), Log()

    @bot.middleware_handler(update_types=["message"])
    def look(bot: TeleBot, message: types.Message) -> None:
        log.add(f"middleware {message.text}")

    bot.message_handler()(lambda message: log.add(f"handler {message.text}"))
    bot.process_new_updates([said("1"), said("2")])

    assert ["middleware 1", "handler 1", "middleware 2", "handler 2"] == log.wait_for(4)


def test_one_key_has_one_update_under_way(make_sequential: MakeBot) -> None:
    """All tasks of an update are run before the first of the user's next update."""
    bot, log = make_sequential(8), Log()
    question = said("question").message
    for name in ("one", "two"):
        bot.register_for_reply(question, lambda message, name: log.add((name, message.text)), name)
    bot.message_handler()(lambda message: log.add(("handler", message.text)))
    replies = [said("1"), said("2")]
    for reply in replies:
        reply.message.reply_to_message = question

    bot.process_new_updates(replies)

    expected = [("one", "1"), ("two", "1"), ("handler", "1"), ("handler", "2")]
    assert expected == log.wait_for(4)


def test_a_failing_task_does_not_stop_the_others(make_sequential: MakeBot) -> None:
    """If a reply handler raises, the message handler of the same update is called."""
    errors = Log()
    bot = make_sequential(1, workers={"on_error": lambda update, error: errors.add(error.args)})
    question, log = said("question").message, Log()

    def fail(message: types.Message) -> None:
        raise LookupError("tea")

    bot.register_for_reply(question, fail)
    bot.message_handler()(lambda message: log.add(message.text))
    reply = said("1")
    reply.message.reply_to_message = question

    bot.process_new_updates([reply])

    assert (["1"], [("tea",)]) == (log.wait_for(1), errors.entries)


class TestContents:
    """Updates that a program gives to `bot.process_new_messages` and the like."""

    def test_they_take_the_same_way(self, make_sequential: MakeBot) -> None:
        """They are handled in order with those of `process_new_updates`, and next steps too."""
        bot, log, release = make_sequential(8), Log(), threading.Event()

        def take(message: types.Message) -> None:
            log.add(f"step {message.text}")

        @bot.message_handler()
        def handle(message: types.Message) -> None:
            wait_for(release)
            bot.register_next_step_handler(message, take)
            log.add(f"handler {message.text}")

        bot.process_new_updates([said("1")])
        bot.process_new_messages([said("2").message, said("3").message])
        bot.process_new_updates([said("4")])
        release.set()

        assert ["handler 1", "step 2", "handler 3", "step 4"] == log.wait_for(4)

    def test_every_kind_takes_it(self, make_sequential: MakeBot) -> None:
        """Each method of the installed telebot that takes updates of one kind is replaced."""
        bot = make_sequential()
        names = [name for name in dir(type(bot)) if name.startswith("process_new_")]

        assert len(names) > 25
        assert [] == [name for name in names if name not in vars(bot)]

    def test_an_exception_reaches_on_error(self, make_sequential: MakeBot) -> None:
        """An exception of a handler does not reach the program that gave the message."""
        errors = Log()
        bot = make_sequential(workers={"on_error": lambda update, error: errors.add(update.text)})

        @bot.message_handler()
        def handle(message: types.Message) -> None:
            raise LookupError

        bot.process_new_messages([said("1").message])

        assert ["1"] == errors.wait_for(1)


def query(kind: str, **fields: Any) -> types.Update:
    """A query of Anna's."""
    return update(kind, {"id": "1", "from": ANNA, **fields})


ADDRESS = dict.fromkeys(
    ("country_code", "state", "city", "street_line1", "street_line2", "post_code"), "x"
)
CHARGE = {"invoice_payload": "tea", "currency": "XTR"}
URGENT = [
    pytest.param(query("pre_checkout_query", total_amount=1, **CHARGE), id="pre_checkout_query"),
    pytest.param(
        query("shipping_query", invoice_payload="tea", shipping_address=ADDRESS),
        id="shipping_query",
    ),
    pytest.param(pressed(private(ANNA)), id="callback_query"),
    pytest.param(query("inline_query", query="tea", offset=""), id="inline_query"),
    pytest.param(
        update("stopped_message_generation", {"chat": private(ANNA), "draft_id": 1}),
        id="stopped_message_generation",
    ),
]


def order_of(bot: TeleBot, urgent: types.Update, handler: Any, **filters: Any) -> list[str]:
    """The order in which two workers end Anna's slow message, her urgent update, and Boris's."""
    kind = next(name for name, value in vars(urgent).items() if value and name != "update_id")
    log, begun, release = Log(), threading.Event(), threading.Event()

    @bot.message_handler()
    def be_slow(message: types.Message) -> None:
        if message.from_user.id == ANNA["id"]:
            begun.set()
            wait_for(release)
        log.add(message.text)
        release.set()

    bot.add_custom_filter(StateFilter(bot))
    filters = filters or {"func": lambda _: True}
    registered = IRREGULAR_HANDLERS.get(kind, kind)
    getattr(bot, f"register_{registered}_handler")(handler(log), **filters)
    bot.process_new_updates([said("slow")])
    wait_for(begun)
    bot.process_new_updates([urgent, said("Boris", BORIS)])
    return log.wait_for(3)


def note(log: Log) -> Any:
    """A handler without a session."""
    return lambda update: log.add("urgent")


def note_with_session(log: Log) -> Any:
    """A handler with a session."""

    @with_session(storage=MemoryStorage(), get_storage_key=lambda update: "key")
    def handle(update: Any, session: Session) -> None:
        log.add("urgent")

    return handle


@pytest.mark.parametrize("urgent", URGENT)
def test_urgent_updates_do_not_wait(urgent: types.Update, make_sequential: MakeBot) -> None:
    """Updates with a deadline overtake a slow message of the same user."""
    assert ["urgent", "Boris", "slow"] == order_of(make_sequential(2), urgent, note)


@pytest.mark.parametrize("urgent", URGENT)
def test_urgent_updates_with_a_session_keep_their_place(
    urgent: types.Update, make_sequential: MakeBot
) -> None:
    """If a handler of their kind takes a session, they wait for the user's message."""
    assert ["Boris", "slow", "urgent"] == order_of(make_sequential(2), urgent, note_with_session)


FILTERS = [
    pytest.param({"func": session_filter(Sessions(storage=MemoryStorage()))}, id="session"),
    pytest.param({"func": lambda _: True, "state": "*"}, id="state"),
]


@pytest.mark.parametrize("filters", FILTERS)
def test_urgent_updates_with_such_a_filter_keep_their_place(
    filters: dict[str, Any], make_sequential: MakeBot
) -> None:
    """If a handler of their kind is chosen by a state or a session, they wait, too."""
    bot, log = make_sequential(2), Log()
    bot.register_callback_query_handler(lambda press: log.add("never"), **filters)
    order = order_of(bot, pressed(private(ANNA)), note)

    assert ["Boris", "slow", "urgent"] == order


def test_presses_keep_their_place_if_there_are_questions(make_sequential: MakeBot) -> None:
    """In a bot that uses questions, a press waits: it may be the answer to one of the message."""
    bot = make_sequential(2)
    use_questions(bot, Sessions(storage=MemoryStorage()))
    assert ["Boris", "slow", "urgent"] == order_of(bot, pressed(private(ANNA)), note)


def test_other_kinds_keep_their_place(make_sequential: MakeBot) -> None:
    """An edited message waits for the message before it, whatever its handler takes."""
    edited = said("edited", kind="edited_message")
    assert ["Boris", "slow", "urgent"] == order_of(make_sequential(2), edited, note)


def test_presses_of_one_user_are_handled_in_order(make_sequential: MakeBot) -> None:
    """Urgent updates of one kind wait for each other."""
    bot, log, release = make_sequential(4), Log(), threading.Event()

    @bot.callback_query_handler(func=lambda _: True)
    def handle(press: types.CallbackQuery) -> None:
        if not log.entries:
            wait_for(release)
        log.add(press.data)

    @bot.message_handler()
    def end(message: types.Message) -> None:
        release.set()

    presses = [query("callback_query", data=data, chat_instance="1") for data in "123"]
    bot.process_new_updates([*presses, said("Boris", BORIS)])

    assert ["1", "2", "3"] == log.wait_for(3)


def test_a_bot_may_have_a_get_updates_of_its_own(make_bot: MakeBot) -> None:
    """Without an inbox, a `get_updates` with other parameters is called as it was."""
    calls: list[Any] = []

    def get_updates(*args: Any, **options: Any) -> list[types.Update]:
        calls.append((args, options))
        return []

    bot: Any = make_bot()
    bot.get_updates = get_updates
    use_sequential_workers(bot)

    assert [] == bot.get_updates(5, timeout=1)
    assert [((5,), {"timeout": 1})] == calls
