"""Questions: `ask`, `cancel` and `use_questions` over a real bot, in every mode of telebot."""

from __future__ import annotations

import functools
import json
import logging
import os
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Self

import pytest
from clocks import PATIENCE
from counted import CountedStorage
from host import Host, make_host
from stages import ROOT, on_stage
from telebot import TeleBot, types, util
from telebot.apihelper import ApiTelegramException
from telebot.async_telebot import AsyncTeleBot
from telebot.handler_backends import BaseMiddleware, ContinueHandling
from updates import (
    ANNA,
    ANONYMOUS_ADMIN,
    BORIS,
    BOT,
    CHANNEL,
    CHANNEL_AS_USER,
    CONNECTION,
    DIRECT_MESSAGES,
    FORUM,
    GROUP,
    OTHER_CHANNEL,
    OTHER_CONNECTION,
    OTHER_GROUP,
    TOKEN,
    UPDATE_IDS,
    button_press,
    in_topic,
    message,
    private,
)

from telesession import (
    DecodeError,
    MemoryStorage,
    RedisStorage,
    Session,
    SessionError,
    Sessions,
    SQLiteStorage,
    Storage,
    StorageError,
    ask,
    by_chat,
    by_sender_in_chat,
    cancel,
    use_questions,
)
from telesession.storage.base import Hold

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from pathlib import Path

    from freezegun.api import FrozenDateTimeFactory
    from stages import Stage

    from telesession.testing import BotAPI


MICROSECOND = 1e-6

ANNA_IN_GROUP = f"sender_in_chat:{GROUP['id']}:{ANNA['id']}"


# Whoever asks sends a message.
pytestmark = pytest.mark.usefixtures("bot_api")


OpenStorage = Callable[[], Storage]


@pytest.fixture(params=["sqlite", "redis"])
def open_storage(request: pytest.FixtureRequest, tmp_path: Path) -> OpenStorage:
    """What a process does to get to its durable storage."""
    if request.param == "sqlite":
        return lambda: SQLiteStorage(tmp_path / "questions.db")
    server = request.getfixturevalue("server")
    return lambda: RedisStorage(server.url)


def update(kind: str, payload: dict[str, Any]) -> types.Update:
    return types.Update.de_json(json.dumps({"update_id": next(UPDATE_IDS), kind: payload}))


def said(text: str, person: dict[str, Any] = ANNA, **fields: Any) -> types.Update:
    """A message, in the group unless `chat` says otherwise."""
    chat = fields.pop("chat", GROUP)
    return update("message", {**message(chat, person, **fields), "text": text})


def business(text: str, connection: str, person: dict[str, Any] = ANNA) -> types.Update:
    """A message to a business account that the bot answers for."""
    fields = {"business_connection_id": connection, "text": text}
    return update("business_message", message(private(ANNA), person, **fields))


def posted(text: str, channel: dict[str, Any]) -> types.Update:
    """A post in a channel."""
    return update("channel_post", message(channel, sender_chat=channel, text=text))


def pressed(chat: dict[str, Any], person: dict[str, Any] = ANNA, **fields: Any) -> types.Update:
    """A press of a button under a message of the bot."""
    return update("callback_query", button_press(person, message=message(chat, BOT, **fields)))


class Desk:
    """
    A bot at work: whoever says "ask me", or presses a button, is asked; what others hear is noted.

    Args:
        host: The bot.
        storage: Where its questions are.
        listens: Whether it listens for answers from the start.
        options: Of `ask`.
    """

    def __init__(
        self, host: Host, storage: Storage | None = None, *, listens: bool = True, **options: Any
    ) -> None:
        self.heard: list[tuple[str, str | None]] = []
        self.sent: list[types.Message] = []
        self.bot = host.bot
        self.options = options
        self.sessions = Sessions(storage=storage or MemoryStorage())
        if listens:
            use_questions(host.bot, self.sessions, steps=[self.step])
        everything = [*util.content_type_media, *util.content_type_service]
        for kind in ("message", "business_message", "channel_post"):
            register = getattr(host.bot, f"register_{kind}_handler")
            register(self.handle, content_types=everything, func=lambda _: True)
        host.bot.register_callback_query_handler(self.ask, func=lambda _: True)

    def ask(self, update: Any) -> None:
        self.sent.append(ask(self.bot, update, "well?", self.step, **self.options))

    def step(self, message: Any) -> None:
        self.heard.append(("step", message.text))

    def handle(self, message: Any) -> None:
        if message.text == "ask me":
            self.ask(message)
        else:
            self.heard.append(("handler", message.text))


def waiting(storage: Storage) -> list[str]:
    """The senders and chats that questions wait for."""
    return sorted(Sessions(storage=storage, prefix=f"ask:{BOT['id']}:").keys())


class TestWhatTelebotDoes:
    def test_a_next_step_takes_the_message_of_anybody(self, host: Host) -> None:
        """
        telebot (4.37.1) gives the next message of a chat to the step, whoever wrote it.
        """
        heard: list[str] = []
        host.bot.register_next_step_handler_by_chat_id(
            GROUP["id"], lambda message: heard.append(message.from_user.first_name)
        )
        host.deliver(said("not for you", BORIS), said("Anna's answer", ANNA))
        assert (["Boris"], []) == (heard, host.raised)

    def test_our_step_waits_for_the_one_who_was_asked(self, host: Host) -> None:
        """
        Here the message of another goes to the handlers, and the question waits on.
        """
        desk = Desk(host)
        host.deliver(said("ask me"), said("not for you", BORIS), said("Anna's answer"))
        assert [("handler", "not for you"), ("step", "Anna's answer")] == desk.heard
        assert [] == host.raised

    def test_a_batch_skips_next_steps(self, simple_host: Host) -> None:
        """
        telebot (4.37.1) drops messages from a batch while it goes through it, so that the step
        of the second waits on while its message goes to the handlers.
        """
        desk, bot = Desk(simple_host, listens=False), simple_host.bot
        for person in (ANNA, BORIS):
            bot.register_next_step_handler_by_chat_id(person["id"], desk.step)
        answers = [said(p["first_name"], p, chat=private(p)) for p in (ANNA, BORIS)]
        bot.process_new_updates(answers)
        assert [("step", "Anna"), ("handler", "Boris")] == desk.heard
        bot.process_new_updates([said("late", BORIS, chat=private(BORIS))])
        assert ("step", "late") == desk.heard[-1]

    def test_a_batch_skips_none_of_ours(self, simple_host: Host) -> None:
        """
        Every answer of a batch reaches its step, two of one user one after the other, too.
        """
        desk, bot = Desk(simple_host), simple_host.bot

        def twice(message: Any) -> None:
            desk.heard.append(("first", message.text))
            ask(bot, message, "and?", desk.step)

        questions = [said("hi", p, chat=private(p)).message for p in (ANNA, BORIS)]
        ask(bot, questions[0], "well?", twice)
        ask(bot, questions[1], "well?", desk.step)
        texts = [("one", ANNA), ("two", BORIS), ("three", ANNA), ("four", BORIS)]
        bot.process_new_updates([said(text, p, chat=private(p)) for text, p in texts])
        assert [
            ("first", "one"),
            ("step", "two"),
            ("step", "three"),
            ("handler", "four"),
        ] == desk.heard


class TestWhoseAnswer:
    def test_it_is_the_next_message_only(self, host: Host) -> None:
        """
        One message is the answer, and what comes after it goes to the handlers again.
        """
        desk = Desk(host)
        host.deliver(said("ask me"), said("Ada"), said("Bob"))
        assert [("step", "Ada"), ("handler", "Bob")] == desk.heard
        assert [] == host.raised

    def test_it_comes_from_the_same_chat(self, simple_host: Host) -> None:
        """
        What the sender writes in another group or in private is no answer.
        """
        desk = Desk(simple_host)
        elsewhere = [said("there", chat=OTHER_GROUP), said("at home", chat=private(ANNA))]
        simple_host.deliver(said("ask me"), *elsewhere, said("here"))
        assert [("handler", "there"), ("handler", "at home"), ("step", "here")] == desk.heard

    def test_each_sender_of_a_chat_has_a_question(self, simple_host: Host) -> None:
        """
        Two senders who are asked in one chat answer in any order, each to their own question.
        """
        desk = Desk(simple_host)
        simple_host.deliver(said("ask me", ANNA), said("ask me", BORIS))
        simple_host.deliver(said("B", BORIS), said("A", ANNA), said("B2", BORIS))
        assert [("step", "B"), ("step", "A"), ("handler", "B2")] == desk.heard

    def test_a_business_chat_is_a_chat_of_its_own(self, simple_host: Host, bot_api: BotAPI) -> None:
        """
        The same user in the same chat of another business account, or of the bot itself, is
        somebody else, and the question goes through the connection.
        """
        desk = Desk(simple_host)
        others = [business("other", OTHER_CONNECTION), said("private", chat=private(ANNA))]
        simple_host.deliver(business("ask me", CONNECTION), *others, business("mine", CONNECTION))
        assert [("handler", "other"), ("handler", "private"), ("step", "mine")] == desk.heard
        (sent,) = bot_api.calls_of("sendMessage")
        assert CONNECTION == sent.params["business_connection_id"]

    def test_a_channel_that_writes_in_a_group_is_a_sender(self, simple_host: Host) -> None:
        """
        A channel that was asked is not answered for by another, though their user is the same.
        """
        desk = Desk(simple_host)

        def write(text: str, channel: dict[str, Any]) -> types.Update:
            return said(text, CHANNEL_AS_USER, sender_chat=channel)

        simple_host.deliver(
            write("ask me", CHANNEL), write("no", OTHER_CHANNEL), write("yes", CHANNEL)
        )
        assert [("handler", "no"), ("step", "yes")] == desk.heard

    def test_the_anonymous_admins_of_a_group_are_one_sender(self, simple_host: Host) -> None:
        """
        An anonymous admin of one group does not answer for one of another.
        """
        desk = Desk(simple_host)

        def write(text: str, group: dict[str, Any]) -> types.Update:
            return said(text, ANONYMOUS_ADMIN, sender_chat=group, chat=group)

        simple_host.deliver(write("ask me", GROUP), write("no", OTHER_GROUP), write("yes", GROUP))
        assert [("handler", "no"), ("step", "yes")] == desk.heard

    def test_a_channel_is_asked_by_its_posts(self, simple_host: Host) -> None:
        """
        Who asks a channel gets its next post, and not that of another.
        """
        desk = Desk(simple_host)
        simple_host.deliver(
            posted("ask me", CHANNEL), posted("no", OTHER_CHANNEL), posted("yes", CHANNEL)
        )
        assert [("handler", "no"), ("step", "yes")] == desk.heard

    def test_two_bots_with_one_storage_do_not_answer_for_each_other(self, bot_api: BotAPI) -> None:
        """
        A user has private chats with the same id with two bots: what one asks, only it hears.
        """
        storage = MemoryStorage()
        desks = []
        for token in (TOKEN, "8123904756:AAF_another_token"):
            host = Host()
            host.bot = TeleBot(token, threaded=False, exception_handler=host.handler)
            desks.append((host, Desk(host, storage)))
        (asking, its), (other, others) = desks
        asking.deliver(said("ask me", chat=private(ANNA)))
        other.deliver(said("hi, other", chat=private(ANNA)))
        asking.deliver(said("here", chat=private(ANNA)))
        assert [("handler", "hi, other")] == others.heard
        assert [("step", "here")] == its.heard

    def test_whoever_presses_a_button_is_asked(self, host: Host) -> None:
        """
        A callback query stands for whoever pressed, in the chat of the message with the button.
        """
        desk = Desk(host)
        host.deliver(pressed(GROUP, ANNA), said("no", BORIS), said("yes", ANNA))
        assert [("handler", "no"), ("step", "yes")] == desk.heard
        assert [] == host.raised

    def test_an_old_button_asks_too(self, simple_host: Host, bot_api: BotAPI) -> None:
        """
        A button under a message that Telegram shows no more (its date is 0) is good enough.
        """
        desk = Desk(simple_host)
        inaccessible = {"chat": GROUP, "message_id": 7, "date": 0}
        press = update("callback_query", button_press(ANNA, message=inaccessible))
        simple_host.deliver(press, said("yes"))
        assert [("step", "yes")] == desk.heard
        assert [str(GROUP["id"])] == [c.params["chat_id"] for c in bot_api.calls_of("sendMessage")]

    def test_the_bot_does_not_ask_itself(self, simple_host: Host, bot_api: BotAPI) -> None:
        """
        To pass the message of a callback query, which is the bot's own, is refused with the
        remedy, and nothing is sent.
        """
        desk = Desk(simple_host)
        with pytest.raises(SessionError, match="wait for itself; pass the callback query"):
            desk.ask(pressed(GROUP).callback_query.message)
        assert ([], []) == (bot_api.calls_of("sendMessage"), waiting(desk.sessions._storage))

    def test_the_bot_does_not_ask_a_business_account_it_speaks_for(self, simple_host: Host) -> None:
        """
        A message of the bot in the name of a business account is its own, and is refused, too.
        """
        desk = Desk(simple_host)
        fields = {"business_connection_id": CONNECTION, "sender_business_bot": BOT}
        shown = message(private(ANNA), BORIS, **fields)
        press = update("callback_query", button_press(ANNA, message=shown)).callback_query
        with pytest.raises(SessionError, match="wait for itself"):
            desk.ask(press.message)
        simple_host.deliver(business("ask me", CONNECTION), business("fine", CONNECTION))
        assert [("step", "fine")] == desk.heard

    @pytest.mark.parametrize(
        ("kind", "payload", "reason"),
        [
            ("poll", {"id": "1", "question": "Tea?", "options": []}, "this Poll has no sender"),
            (
                "inline_query",
                {"id": "1", "from": ANNA, "query": "tea", "offset": ""},
                "this InlineQuery has no sender, or no chat",
            ),
            (
                "callback_query",
                button_press(ANNA, inline_message_id="BAAAAHk"),
                "this CallbackQuery has no sender, or no chat",
            ),
            (
                "guest_message",
                message(GROUP, ANNA, guest_query_id="15"),
                "only a guest in this chat",
            ),
            (
                "callback_query",
                button_press(ANNA, message=message(GROUP, BOT, guest_query_id="15")),
                "only a guest in this chat",
            ),
        ],
    )
    def test_who_cannot_answer_is_not_asked(
        self,
        kind: str,
        payload: dict[str, Any],
        reason: str,
        simple_host: Host,
        bot_api: BotAPI,
    ) -> None:
        """
        An update without a sender, without a chat, or from a chat that the bot cannot write to,
        is refused, and nothing is sent or waits.
        """
        desk = Desk(simple_host)
        if kind == "poll":
            payload |= {"total_voter_count": 0, "is_closed": False, "is_anonymous": True}
            payload |= {"type": "regular", "allows_multiple_answers": False}
        with pytest.raises(SessionError, match=f"could not ask: .*{reason}"):
            desk.ask(getattr(update(kind, payload), kind))
        assert ([], []) == (bot_api.calls_of("sendMessage"), waiting(desk.sessions._storage))


class TestWhatIsSent:
    def test_the_text_goes_to_the_chat_with_all_options(
        self, simple_host: Host, bot_api: BotAPI
    ) -> None:
        """
        The text and the options reach `send_message`, and what that returns comes back.
        """
        keyboard = types.ReplyKeyboardMarkup().add("yes", "no")
        desk = Desk(simple_host, parse_mode="HTML", reply_markup=keyboard, protect_content=True)
        simple_host.deliver(said("ask me"))
        (call,) = bot_api.calls_of("sendMessage")
        sent = {name: call.params[name] for name in ("chat_id", "text", "parse_mode")}
        assert {"chat_id": str(GROUP["id"]), "text": "well?", "parse_mode": "HTML"} == sent
        assert [[{"text": "yes"}, {"text": "no"}]] == call.json("reply_markup")["keyboard"]
        assert ["well?"] == [sent.text for sent in desk.sent]
        assert {"message_thread_id", "business_connection_id"}.isdisjoint(call.params)

    @pytest.mark.parametrize("kind", ["message", "callback_query"])
    def test_it_goes_to_the_topic(self, kind: str, simple_host: Host, bot_api: BotAPI) -> None:
        """
        In a forum the question goes to the topic it came from, be it a message or a button.
        """
        desk = Desk(simple_host)
        topic = in_topic(FORUM, 31)
        asking = (
            said("ask me", chat=FORUM, **topic) if kind == "message" else pressed(FORUM, **topic)
        )
        simple_host.deliver(asking, said("yes", chat=FORUM, **topic))
        assert ["31"] == [c.params["message_thread_id"] for c in bot_api.calls_of("sendMessage")]
        assert [("step", "yes")] == desk.heard

    def test_a_thread_that_is_no_topic_is_left_out(
        self, simple_host: Host, bot_api: BotAPI
    ) -> None:
        """
        A reply in a group that is no forum has a thread, to which nothing can be sent.
        """
        Desk(simple_host)
        simple_host.deliver(said("ask me", message_thread_id=31))
        assert [False] == [
            "message_thread_id" in call.params for call in bot_api.calls_of("sendMessage")
        ]

    def test_it_goes_to_the_direct_messages_of_whoever_is_asked(
        self, simple_host: Host, bot_api: BotAPI
    ) -> None:
        """
        In the direct messages of a channel the question goes to the topic of its sender.
        """
        Desk(simple_host)
        topic = {"topic_id": 412587349, "user": ANNA}
        simple_host.deliver(said("ask me", chat=DIRECT_MESSAGES, direct_messages_topic=topic))
        assert ["412587349"] == [
            call.params.get("direct_messages_topic_id") for call in bot_api.calls_of("sendMessage")
        ]

    def test_an_option_wins_over_the_place(self, simple_host: Host, bot_api: BotAPI) -> None:
        """
        Who says where to send it decides.
        """
        Desk(simple_host, message_thread_id=77)
        simple_host.deliver(said("ask me", chat=FORUM, **in_topic(FORUM, 31)))
        assert ["77"] == [c.params["message_thread_id"] for c in bot_api.calls_of("sendMessage")]

    def test_what_was_not_sent_waits_for_nobody(self, host: Host, bot_api: BotAPI) -> None:
        """
        If the question cannot be sent, the error goes to the handler and nothing waits.
        """
        desk = Desk(host)
        bot_api.fail_next("sendMessage", 403)
        host.deliver(said("ask me"), said("what?"))
        assert [ApiTelegramException] == [type(error) for error in host.raised]
        assert [("handler", "what?")] == desk.heard
        assert [] == waiting(desk.sessions._storage)

    def test_it_waits_before_it_is_sent(self, simple_host: Host, bot_api: BotAPI) -> None:
        """
        The quickest of users, who answers while the question is still being sent, is heard.
        """
        desk = Desk(simple_host)
        send, answer = simple_host.bot.send_message, said("quick")

        def send_slowly(*args: Any, **kwargs: Any) -> types.Message:
            simple_host.bot.process_new_updates([answer])
            return send(*args, **kwargs)

        simple_host.bot.send_message = send_slowly
        simple_host.deliver(said("ask me"))
        assert [("step", "quick")] == desk.heard


class TestItsSession:
    def test_it_comes_with_attach(self, host: Host) -> None:
        """
        A step with the session parameter gets its session from what is attached.
        """
        sessions = Sessions(storage=MemoryStorage())
        sessions.attach(host.bot)

        def take_name(message: Any, session: Session) -> None:
            session.name = message.text

        @host.bot.message_handler()
        def begin(message: Any, session: Session) -> None:
            session.begun = True
            ask(host.bot, message, "your name?", take_name)

        host.deliver(said("hi"), said("Ada"))
        assert ([], {"begun": True, "name": "Ada"}) == (host.raised, sessions.peek(ANNA["id"]))

    def test_it_comes_with_use_questions_alone(self, host: Host) -> None:
        """
        On a bot with nothing attached, a step gets the sessions of `use_questions`.
        """
        sessions = Sessions(storage=MemoryStorage(), name="form")

        def take_name(message: Any, form: Session) -> None:
            form.name = message.text

        use_questions(host.bot, sessions, steps=[take_name])
        host.bot.register_message_handler(lambda m: ask(host.bot, m, "your name?", take_name))
        host.deliver(said("hi"), said("Ada"))
        assert ([], {"name": "Ada"}) == (host.raised, sessions.peek(ANNA["id"]))

    def test_a_decorated_step_keeps_its_own(self, host: Host) -> None:
        """
        A step that is decorated has the session of its decorator, whatever else there is.
        """
        own, attached = Sessions(storage=MemoryStorage()), Sessions(storage=MemoryStorage())
        attached.attach(host.bot)

        @own.with_session
        def take_name(message: Any, session: Session) -> None:
            session.name = message.text

        use_questions(host.bot, attached, steps=[take_name])
        host.bot.register_message_handler(lambda m: ask(host.bot, m, "your name?", take_name))
        host.deliver(said("hi"), said("Ada"))
        assert ([], {"name": "Ada"}) == (host.raised, own.peek(ANNA["id"]))
        assert [] == list(attached.keys())[1:]
        assert None is attached.peek(ANNA["id"])

    def test_it_may_have_two(self, host: Host) -> None:
        """
        A step gets what is attached and what `use_questions` was given, by their names.
        """
        storage = MemoryStorage()
        chats = Sessions(storage=storage, get_storage_key=by_chat, name="chat")
        people = Sessions(storage=storage)
        chats.attach(host.bot)

        def take_name(message: Any, chat: Session, session: Session) -> None:
            chat.latest = session.name = message.text

        use_questions(host.bot, people, steps=[take_name])
        host.bot.register_message_handler(lambda m: ask(host.bot, m, "your name?", take_name))
        host.deliver(said("hi"), said("Ada"))
        assert ([], {"name": "Ada"}, {"latest": "Ada"}) == (
            host.raised,
            people.peek(ANNA["id"]),
            chats.peek(f"chat:{GROUP['id']}"),
        )

    def test_a_handler_may_ask_while_it_has_a_session_of_the_same_key(self, host: Host) -> None:
        """
        A question is a record of its own: to ask waits for no session that the handler has.
        """
        sessions = Sessions(
            storage=MemoryStorage(), get_storage_key=by_sender_in_chat, lock_timeout=0
        )
        sessions.attach(host.bot)

        def take(message: Any, session: Session) -> None:
            session.answers.append(message.text)
            ask(host.bot, message, "more?", take)

        @host.bot.message_handler()
        def begin(message: Any, session: Session) -> None:
            session.answers = []
            ask(host.bot, message, "what?", take)

        host.deliver(said("hi"), said("a"), said("b"))
        assert ([], {"answers": ["a", "b"]}) == (host.raised, sessions.peek(ANNA_IN_GROUP))

    def test_what_a_step_returns_goes_to_telebot(self, host: Host) -> None:
        """
        A step that returns `ContinueHandling()` lets the handlers have the message, too.
        """
        desk = Desk(host)

        def pass_on(message: Any) -> ContinueHandling:
            desk.heard.append(("step", message.text))
            return ContinueHandling()

        ask(host.bot, said("hi").message, "well?", pass_on)
        host.deliver(said("Ada"))
        assert [("step", "Ada"), ("handler", "Ada")] == desk.heard


class TestOneQuestionAfterTheOther:
    def test_a_step_may_ask_again(self, host: Host) -> None:
        """
        A step that asks the same again, and then another one, gets the answers in order.
        """
        desk = Desk(host)

        def take_number(message: Any) -> None:
            desk.heard.append(("number", message.text))
            ask(host.bot, message, "?", desk.step if message.text == "4" else take_number)

        ask(host.bot, said("hi").message, "how many?", take_number)
        host.deliver(said("many"), said("4"), said("Ada"), said("bye"))
        expected = [("number", "many"), ("number", "4"), ("step", "Ada"), ("handler", "bye")]
        assert (expected, []) == (desk.heard, host.raised)

    def test_another_question_takes_the_place_of_the_first(self, host: Host) -> None:
        """
        The answer goes to the step that was asked for last, and then none waits.
        """
        desk = Desk(host)

        def other(message: Any) -> None:
            desk.heard.append(("other", message.text))

        host.deliver(said("ask me"))
        ask(host.bot, said("hi").message, "or else?", other)
        host.deliver(said("a"), said("b"))
        assert [("other", "a"), ("handler", "b")] == desk.heard

    def test_one_that_waits_for_ever_does_not_get_the_time_of_the_first(
        self, simple_host: Host, frozen_time: FrozenDateTimeFactory
    ) -> None:
        """
        A question without a time-out outlives the time-out of the question that it replaced.
        """
        desk = Desk(simple_host)
        ask(simple_host.bot, said("hi").message, "quick?", desk.step, timeout=60)
        ask(simple_host.bot, said("hi").message, "well?", desk.step)
        frozen_time.tick(3600)
        simple_host.deliver(said("yes"))
        assert [("step", "yes")] == desk.heard

    def test_one_with_a_time_out_does_not_wait_as_long_as_the_first(
        self, simple_host: Host, frozen_time: FrozenDateTimeFactory
    ) -> None:
        """
        A time-out counts from its own question, though the one before waited for ever.
        """
        desk = Desk(simple_host)
        ask(simple_host.bot, said("hi").message, "well?", desk.step)
        frozen_time.tick(3600)
        ask(simple_host.bot, said("hi").message, "quick?", desk.step, timeout=60)
        frozen_time.tick(60)
        simple_host.deliver(said("late"))
        assert [("handler", "late")] == desk.heard


class Refusal(Exception):
    """What a step raises."""


class TestAStepThatRaises:
    def test_the_question_waits_again(self, host: Host) -> None:
        """
        If the step raises, its changes are undone, the error is the bot's, and the next message
        is an answer once more.
        """
        sessions = Sessions(storage=MemoryStorage())
        seen: list[str] = []
        desk = Desk(host, listens=False)

        def take(message: Any, session: Session) -> None:
            session.answer = message.text
            seen.append(message.text)
            if message.text == "bad":
                raise Refusal

        use_questions(host.bot, sessions, steps=[take])
        ask(host.bot, said("hi").message, "well?", take)
        host.deliver(said("bad"))
        assert ([Refusal], None) == ([type(e) for e in host.raised], sessions.peek(ANNA["id"]))
        host.deliver(said("good"), said("bye"))
        assert (["bad", "good"], {"answer": "good"}) == (seen, sessions.peek(ANNA["id"]))
        assert [("handler", "bye")] == desk.heard

    def test_middlewares_see_the_exception(self, bot_api: BotAPI) -> None:
        """
        A class middleware gets what the step raised, as of any handler.
        """
        seen: list[Any] = []

        class Watch(BaseMiddleware):
            update_sensitive = False
            update_types = ("message",)

            def __init__(self) -> None:
                """telebot's own has nothing to call."""

            def pre_process(self, message: Any, data: dict[str, Any]) -> None:
                data["seen"] = True

            def post_process(self, message: Any, data: Any, exception: Any) -> None:
                seen.append((message.text, type(exception)))

        (host,) = make_host("class-middlewares")
        host.bot.setup_middleware(Watch())

        def take(message: Any) -> None:
            raise Refusal

        use_questions(host.bot, Sessions(storage=MemoryStorage()), steps=[take])
        ask(host.bot, said("hi").message, "well?", take)
        host.deliver(said("Ada"))
        assert [("Ada", Refusal)] == seen

    @pytest.mark.parametrize(("more", "hears"), [(40 - MICROSECOND, "step"), (40, "handler")])
    def test_it_waits_for_the_time_that_was_left(
        self, more: float, hears: str, simple_host: Host, frozen_time: FrozenDateTimeFactory
    ) -> None:
        """
        A question that had 40 of 60 s left when its step raised has 40 s again.
        """
        desk = Desk(simple_host)
        trouble = [Refusal()]

        def take(message: Any) -> None:
            if trouble:
                raise trouble.pop()
            desk.step(message)

        ask(simple_host.bot, said("hi").message, "well?", take, timeout=60)
        frozen_time.tick(20)
        simple_host.deliver(said("bad"))
        frozen_time.tick(more)
        simple_host.deliver(said("good"))
        assert ([(hears, "good")], 1) == (desk.heard, len(simple_host.raised))

    def test_a_step_that_takes_longer_than_was_left_waits_again(
        self, simple_host: Host, frozen_time: FrozenDateTimeFactory
    ) -> None:
        """
        Time that passes while the step runs is not the user's, and no reason for another error.
        """
        desk = Desk(simple_host)

        def take(message: Any) -> None:
            desk.heard.append(("take", message.text))
            frozen_time.tick(3600)
            raise Refusal

        ask(simple_host.bot, said("hi").message, "well?", take, timeout=60)
        simple_host.deliver(said("one"), said("two"))
        assert [("take", "one"), ("take", "two")] == desk.heard
        assert [Refusal, Refusal] == [type(error) for error in simple_host.raised]

    def test_what_the_step_asked_is_undone(self, simple_host: Host) -> None:
        """
        If the step raises after it has asked the next question, its own waits again.
        """
        desk = Desk(simple_host)
        trouble = [Refusal()]

        def take(message: Any) -> None:
            desk.heard.append(("take", message.text))
            ask(simple_host.bot, message, "next?", desk.step)
            if trouble:
                raise trouble.pop()

        ask(simple_host.bot, said("hi").message, "well?", take)
        simple_host.deliver(said("one"), said("two"), said("three"))
        assert [("take", "one"), ("take", "two"), ("step", "three")] == desk.heard

    def test_what_another_handler_asked_meanwhile_stays(self, simple_host: Host) -> None:
        """
        A question that was asked while the step ran, by a command in another thread, takes the
        place of the first, though the step raises then.
        """
        desk, bot = Desk(simple_host), simple_host.bot

        def take(message: Any) -> None:
            command = threading.Thread(target=desk.ask, args=(said("/order").message,))
            command.start()
            command.join(PATIENCE)
            raise Refusal

        ask(bot, said("hi").message, "well?", take)
        simple_host.deliver(said("bad"), said("for the command"))
        assert [("step", "for the command")] == desk.heard

    def test_what_the_step_asked_somebody_else_is_no_reason(self, simple_host: Host) -> None:
        """
        A newer question of another handler stays, whomever else the step has asked something.
        """
        desk, bot = Desk(simple_host), simple_host.bot

        def take(message: Any) -> None:
            command = threading.Thread(target=desk.ask, args=(said("/order").message,))
            command.start()
            command.join(PATIENCE)
            ask(bot, said("hi", BORIS).message, "well?", take)
            raise Refusal

        ask(bot, said("hi").message, "well?", take)
        simple_host.deliver(said("bad"), said("for the command"))
        assert [("step", "for the command")] == desk.heard

    def test_a_storage_that_is_away_does_not_hide_what_the_step_raised(
        self, simple_host: Host, caplog: pytest.LogCaptureFixture
    ) -> None:
        """
        If the question cannot wait again, the bot learns what the step raised, and the log why.
        """
        storage = Broken()
        Desk(simple_host, storage)

        def take(message: Any) -> None:
            storage.is_away = True
            raise Refusal

        ask(simple_host.bot, said("hi").message, "well?", take)
        simple_host.deliver(said("secret"))
        assert [Refusal] == [type(error) for error in simple_host.raised]
        assert (1, True, False) == (
            len(caplog.records),
            "the server is away" in caplog.text,
            "secret" in caplog.text,
        )

    def test_the_next_question_that_cannot_be_sent(
        self, simple_host: Host, bot_api: BotAPI
    ) -> None:
        """
        If the step raises because Telegram refuses the next question, its own waits again.
        """
        desk = Desk(simple_host)

        def take(message: Any) -> None:
            desk.heard.append(("take", message.text))
            ask(simple_host.bot, message, "next?", desk.step)

        ask(simple_host.bot, said("hi").message, "well?", take)
        bot_api.fail_next("sendMessage", 400)
        simple_host.deliver(said("one"), said("two"), said("three"))
        assert [("take", "one"), ("take", "two"), ("step", "three")] == desk.heard


class Unlocked(Hold):
    """A hold that holds nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass


class MeetingStorage(MemoryStorage):
    """
    A storage in which so many readers meet: what each has read is old when it goes on.

    Args:
        readers: How many meet, from the moment that `rounds` is not 0.
        locks: Whether it locks.
    """

    def __init__(self, readers: int, *, locks: bool) -> None:
        super().__init__()
        self.rounds = 0
        self._locks_keys = locks
        self._readers = readers
        self._reads = 0
        self._count = threading.Lock()
        self._all = threading.Barrier(readers, timeout=PATIENCE)

    def get(self, key: str) -> bytes | None:
        payload = super().get(key)
        with self._count:
            self._reads += self.rounds > 0
            meets = 0 < self._reads <= self.rounds * self._readers
        if meets:
            self._all.wait()
        return payload

    def hold(self, key: str, timeout: float | None = None) -> AbstractContextManager[Hold]:
        return super().hold(key, timeout) if self._locks_keys else Unlocked(self, key, timeout)


ANSWERS = 6


def answer_at_once(storage: MeetingStorage, host: Host, rounds: int) -> list[str]:
    """Who hears the answers that come at the same time, after all have seen that one is wanted."""
    desk = Desk(host, storage)
    ask(host.bot, said("hi").message, "well?", desk.step)
    storage.rounds = rounds
    threads = [
        threading.Thread(target=host.bot.process_new_updates, args=([said(str(number))],))
        for number in range(ANSWERS)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    return sorted(who for who, _ in desk.heard)


class TestAtTheSameTime:
    def test_one_of_the_answers_reaches_the_step(self, simple_host: Host) -> None:
        """
        Of six answers at once, all of which see the question, one reaches the step.
        """
        storage = MeetingStorage(ANSWERS, locks=True)
        heard = answer_at_once(storage, simple_host, rounds=1)
        assert (["handler"] * (ANSWERS - 1) + ["step"], []) == (heard, simple_host.raised)

    def test_without_a_lock_all_of_them_do(self, simple_host: Host) -> None:
        """
        Control: on a storage whose lock does nothing, the step gets all six.
        """
        storage = MeetingStorage(ANSWERS, locks=False)
        heard = answer_at_once(storage, simple_host, rounds=2)
        assert (["step"] * ANSWERS, []) == (heard, simple_host.raised)

    def test_no_lock_is_held_while_a_step_runs(self, simple_host: Host) -> None:
        """
        Another thread can ask and cancel while the step runs.
        """
        desk, bot = Desk(simple_host), simple_host.bot
        done: list[bool] = []

        def take(message: Any) -> None:
            def work() -> None:
                ask(bot, message, "really?", desk.step)
                done.append(cancel(bot, message))

            thread = threading.Thread(target=work, daemon=True)
            thread.start()
            thread.join(PATIENCE)

        ask(bot, said("hi").message, "well?", take)
        simple_host.deliver(said("yes"))
        assert [True] == done

    def test_the_first_questions_may_be_asked_at_once(self, simple_host: Host) -> None:
        """
        Two workers that ask the first questions of an attached bot at the same time both get
        their answers, for the bot begins to listen once.
        """
        meet = threading.Barrier(2, timeout=PATIENCE)
        meetings: list[Callable[[], int]] = []

        class SlowToTell(MemoryStorage):
            @property
            def persistent(self) -> bool:  # type: ignore[override]
                if meetings:
                    meetings.pop()()
                return False

        sessions = Sessions(storage=SlowToTell())
        sessions.attach(simple_host.bot)
        meetings += [meet.wait, meet.wait]
        heard: list[tuple[str, str]] = []

        def take_tea(message: Any) -> None:
            heard.append(("tea", message.text))

        def take_cake(message: Any) -> None:
            heard.append(("cake", message.text))

        asked = [(ANNA, take_tea), (BORIS, take_cake)]
        threads = [
            threading.Thread(
                target=ask, args=(simple_host.bot, said("hi", person).message, "well?", step)
            )
            for person, step in asked
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
        simple_host.deliver(said("A", ANNA), said("B", BORIS))
        assert [("tea", "A"), ("cake", "B")] == heard
        assert 1 == len(simple_host.bot.message_handlers)
        sessions.detach(simple_host.bot)
        assert [] == simple_host.bot.message_handlers


PROGRAM = """
    import json, sys
    from telebot import TeleBot, types
    from telesession import Sessions, SQLiteStorage, ask, use_questions
    from telesession.testing import BotAPI

    def take_name(message, session):
        session.name = message.text
        bot.send_message(message.chat.id, f"hello, {message.text}")

    def begin(message):
        ask(bot, message, "your name?", take_name, timeout=3600)

    path, text = sys.argv[1:]
    with BotAPI() as api, SQLiteStorage(path) as storage:
        bot = TeleBot("1:offline", threaded=False)
        use_questions(bot, Sessions(storage=storage), steps=[take_name])
        bot.register_message_handler(begin)
        update = api.user(42).send(text)
        bot.process_new_updates([types.Update.de_json(json.dumps(update))])
        print(*[message.text for message in api.messages])
    """


class TestARestart:
    def test_another_process_gets_the_answer(self, tmp_path: Path) -> None:
        """
        One process asks and ends, another one hears the answer, with its session, and the file
        has nothing left of the question.
        """

        def run(text: str) -> str:
            program = [sys.executable, "-c", textwrap.dedent(PROGRAM)]
            done = subprocess.run(
                [*program, str(tmp_path / "bot.db"), text],
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
            )
            return done.stdout + done.stderr

        assert ["your name?\n", "hello, Ada\n"] == [run("hi"), run("Ada")]
        with SQLiteStorage(tmp_path / "bot.db") as storage:
            assert ["42"] == list(storage.keys())
            assert {"name": "Ada"} == Sessions(storage=storage).peek(42)

    def test_another_bot_gets_the_answer(self, open_storage: OpenStorage, bot_api: BotAPI) -> None:
        """
        A new bot with a new storage, on a file or a server, hears the answer and no other.
        """
        (before,) = make_host()
        with open_storage() as storage:
            Desk(before, storage)
            before.deliver(said("ask me"))
            assert [ANNA_IN_GROUP] == waiting(storage)
        (after,) = make_host()
        with open_storage() as storage:
            desk = Desk(after, storage)
            after.deliver(said("not mine", BORIS), said("Ada"), said("bye"))
            assert [] == waiting(storage)
        expected = [("handler", "not mine"), ("step", "Ada"), ("handler", "bye")]
        assert (expected, []) == (desk.heard, after.raised)

    @pytest.mark.parametrize(
        "name", ["os.system", "system", "never_called", "Desk.handle", "", None, ["step"], 5]
    )
    def test_only_listed_steps_are_called(
        self,
        name: Any,
        simple_host: Host,
        caplog: pytest.LogCaptureFixture,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """
        A record that names any other function, or no name at all, calls nothing: the message
        goes to the handlers, and a name is an error in the log.
        """
        called: list[Any] = []
        monkeypatch.setattr(os, "system", called.append)
        monkeypatch.setitem(globals(), "never_called", called.append)
        storage = MemoryStorage()
        desk = Desk(simple_host, storage)
        forged = Sessions(storage=storage, prefix=f"ask:{BOT['id']}:")
        with forged.open(ANNA_IN_GROUP) as question:
            question.step = name
        with caplog.at_level(logging.WARNING, "telesession"):
            simple_host.deliver(said("rm -rf"), said("hi"))
        assert ([], []) == (called, simple_host.raised)
        assert [("handler", "rm -rf"), ("handler", "hi")] == desk.heard
        levels = [] if name is None else [logging.ERROR]
        assert levels == [record.levelno for record in caplog.records]
        assert ("rm -rf" in caplog.text, []) == (False, waiting(storage))

    def test_a_step_that_nobody_lists_any_more(
        self, tmp_path: Path, bot_api: BotAPI, caplog: pytest.LogCaptureFixture
    ) -> None:
        """
        To ask for a step that is not listed is a warning, once, on a storage that outlives the
        bot; after a restart its answer is an error in the log and goes to the handlers.
        """

        def take(message: Any) -> None:
            """Whom nobody listed."""

        (before,) = make_host()
        with SQLiteStorage(tmp_path / "bot.db") as storage:
            use_questions(before.bot, Sessions(storage=storage))
            with caplog.at_level(logging.WARNING, "telesession"):
                ask(before.bot, said("hi").message, "well?", take)
                ask(before.bot, said("hi").message, "well?", take)
        (warning,) = caplog.records
        assert (logging.WARNING, True) == (warning.levelno, "list it" in warning.getMessage())
        caplog.clear()
        (after,) = make_host()
        with SQLiteStorage(tmp_path / "bot.db") as storage:
            desk = Desk(after, storage)
            after.deliver(said("Ada"))
        (error,) = caplog.records
        assert (logging.ERROR, [("handler", "Ada")]) == (error.levelno, desk.heard)
        assert "steps=[...]" in error.getMessage()

    @pytest.mark.parametrize("kind", ["memory", "listed"])
    def test_other_steps_are_no_warning(
        self, kind: str, simple_host: Host, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        """
        A listed step is asked for without a warning, and so is any in memory.
        """

        def take(message: Any) -> None:
            """Who is asked for."""

        with SQLiteStorage(tmp_path / "bot.db") as file:
            storage = file if kind == "listed" else MemoryStorage()
            steps = [take] if kind == "listed" else []
            use_questions(simple_host.bot, Sessions(storage=storage), steps=steps)
            with caplog.at_level(logging.WARNING, "telesession"):
                ask(simple_host.bot, said("hi").message, "well?", take)
        assert [] == caplog.records


class TestTimeOut:
    @pytest.mark.parametrize("timeout", [60, timedelta(minutes=1)], ids=["seconds", "timedelta"])
    @pytest.mark.parametrize("storage", ["memory", "sqlite", "redis"], indirect=True)
    def test_it_ends_the_question(
        self,
        timeout: Any,
        frozen_time: FrozenDateTimeFactory,
        storage: Storage,
        simple_host: Host,
    ) -> None:
        """
        An answer just in time reaches the step; one at the deadline goes to the handlers, and
        the record itself is gone by then.
        """
        desk = Desk(simple_host, storage, timeout=timeout)
        simple_host.deliver(said("ask me"))
        frozen_time.tick(60 - MICROSECOND)
        simple_host.deliver(said("in time"), said("ask me"))
        assert [ANNA_IN_GROUP] == waiting(storage)
        frozen_time.tick(60)
        assert ([], False) == (list(storage.keys()), cancel(simple_host.bot, said("").message))
        simple_host.deliver(said("late"))
        assert ([("step", "in time"), ("handler", "late")], []) == (desk.heard, simple_host.raised)

    def test_messages_of_others_do_not_renew_it(
        self, simple_host: Host, frozen_time: FrozenDateTimeFactory
    ) -> None:
        """
        What is no answer, of others, of the sender elsewhere, or a service message, leaves the
        time-out alone.
        """
        desk = Desk(simple_host, timeout=60)
        simple_host.deliver(said("ask me"))
        frozen_time.tick(59)
        titled = update("message", message(GROUP, ANNA, new_chat_title="Tea", text=None))
        simple_host.deliver(said("x", BORIS), said("x", chat=private(ANNA)), titled)
        frozen_time.tick(1)
        simple_host.deliver(said("late"))
        assert ("handler", "late") == desk.heard[-1]

    @pytest.mark.parametrize(
        ("timeout", "error"),
        [(0, ValueError), (-1, ValueError), (float("nan"), ValueError), ("60", TypeError)],
    )
    def test_one_that_makes_no_sense_is_refused(
        self, timeout: Any, error: type[Exception], simple_host: Host, bot_api: BotAPI
    ) -> None:
        """
        A time-out that is no positive number of seconds is refused by its name, before anything
        is sent.
        """
        desk = Desk(simple_host)
        with pytest.raises(error, match="the timeout of a question must be"):
            ask(simple_host.bot, said("hi").message, "well?", desk.step, timeout=timeout)
        assert ([], []) == (bot_api.calls_of("sendMessage"), waiting(desk.sessions._storage))


class TestCommands:
    def test_a_command_breaks_out(self, host: Host) -> None:
        """
        A command reaches its own handler and ends the question.
        """
        desk = Desk(host)
        host.bot.message_handlers.insert(
            1,
            {
                "function": lambda message: desk.heard.append(("command", message.text)),
                "pass_bot": False,
                "filters": {"commands": ["help"]},
            },
        )
        host.deliver(said("ask me"), said("/help me"), said("Ada"))
        assert [("command", "/help me"), ("handler", "Ada")] == desk.heard
        assert ([], []) == (host.raised, waiting(desk.sessions._storage))

    def test_the_command_of_another_does_not(self, simple_host: Host) -> None:
        """
        A command of somebody else, or of the sender elsewhere, leaves the question alone.
        """
        desk = Desk(simple_host)
        simple_host.deliver(said("ask me"), said("/help", BORIS), said("/help", chat=private(ANNA)))
        simple_host.deliver(said("Ada"))
        assert ("step", "Ada") == desk.heard[-1]

    def test_a_photo_is_an_answer(self, simple_host: Host) -> None:
        """
        An answer need not be text; a caption is no command.
        """
        desk = Desk(simple_host)
        size = {"file_id": "a", "file_unique_id": "a", "width": 1, "height": 1}
        photo = update("message", message(GROUP, ANNA, photo=[size], caption="/nice"))
        simple_host.deliver(said("ask me"), photo)
        assert [("step", None)] == desk.heard

    @pytest.mark.parametrize(
        "content",
        [
            {"new_chat_title": "Tea"},
            {"new_chat_members": [BORIS]},
            {"left_chat_member": BORIS},
            {"pinned_message": message(GROUP, BORIS)},
            {
                "successful_payment": {
                    "currency": "XTR",
                    "total_amount": 1,
                    "invoice_payload": "tea",
                    "telegram_payment_charge_id": "1",
                    "provider_payment_charge_id": "1",
                }
            },
            {"web_app_data": {"data": "tea", "button_text": "Choose"}},
            {
                "refunded_payment": {
                    "currency": "XTR",
                    "total_amount": 1,
                    "invoice_payload": "tea",
                    "telegram_payment_charge_id": "1",
                }
            },
        ],
        ids=lambda content: next(iter(content)),
    )
    def test_a_service_message_is_no_answer(
        self, content: dict[str, Any], simple_host: Host
    ) -> None:
        """
        A service message, a payment among them, goes to its handler, and the question waits on.
        """
        desk = Desk(simple_host)
        payload = message(GROUP, ANNA, **content)
        payload.pop("text", None)
        simple_host.deliver(said("ask me"), update("message", payload), said("Ada"))
        # telebot 4.37.1 gives a refund no content type, so that it reaches no handler at all.
        is_known = "refunded_payment" not in content
        assert [("handler", None)] * is_known + [("step", "Ada")] == desk.heard

    @pytest.mark.parametrize("kind", ["edited_message", "callback_query", "inline_query"])
    def test_other_handlers_are_unaffected(self, kind: str, simple_host: Host) -> None:
        """
        An edited message, a button or an inline query goes where it would, and is no answer.
        """
        desk, bot = Desk(simple_host), simple_host.bot
        bot.callback_query_handlers.clear()
        seen: list[str] = []
        register = {
            "edited_message": bot.register_edited_message_handler,
            "callback_query": bot.register_callback_query_handler,
            "inline_query": bot.register_inline_handler,
        }
        register[kind](lambda update: seen.append(type(update).__name__), func=lambda _: True)
        payload = {
            "edited_message": message(GROUP, ANNA, edit_date=1766304001),
            "callback_query": button_press(ANNA, message=message(GROUP, BOT)),
            "inline_query": {"id": "1", "from": ANNA, "query": "tea", "offset": ""},
        }
        simple_host.deliver(said("ask me"), update(kind, payload[kind]), said("Ada"))
        assert (1, [("step", "Ada")]) == (len(seen), desk.heard)


class TestCancel:
    def test_it_says_whether_there_was_one(self, host: Host) -> None:
        """
        To cancel ends the question of this sender in this chat, and says if there was one.
        """
        desk, bot = Desk(host), host.bot
        ask(bot, said("hi").message, "well?", desk.step)
        ask(bot, said("hi", BORIS).message, "well?", desk.step)
        elsewhere = cancel(bot, said("x", chat=private(ANNA)).message)
        assert (False, True, False) == (
            elsewhere,
            cancel(bot, said("x").message),
            cancel(bot, said("x").message),
        )
        host.deliver(said("A", ANNA), said("B", BORIS))
        assert [("handler", "A"), ("step", "B")] == desk.heard

    def test_the_handler_of_a_command_learns_of_it(self, host: Host) -> None:
        """
        In the handler of /cancel it says whether there was a question, though the command has
        ended that already, and says so once, and to nobody else.
        """
        desk = Desk(host)
        said_of_it: list[bool] = []
        host.bot.message_handlers.insert(
            1,
            {
                "function": lambda m: said_of_it.extend(cancel(host.bot, m) for _ in range(2)),
                "pass_bot": False,
                "filters": {"commands": ["cancel"]},
            },
        )
        host.deliver(said("ask me"), said("/cancel", BORIS))
        assert [False, False] == said_of_it
        host.deliver(said("/cancel"), said("/cancel"), said("Ada"))
        assert [False, False, True, False, False, False] == said_of_it
        assert ([("handler", "Ada")], []) == (desk.heard, host.raised)

    def test_a_command_ends_the_question_of_its_sender_only(self, simple_host: Host) -> None:
        """
        What a command has ended is not said of an update that the same thread handles later.
        """
        Desk(simple_host)
        simple_host.deliver(said("ask me"), said("/help"))
        later = said("x", BORIS), said("x", ANNA)
        assert [False, False] == [cancel(simple_host.bot, each.message) for each in later]

    def test_a_button_cancels(self, simple_host: Host) -> None:
        """
        A callback query cancels for whoever pressed, and not for the bot, whose message it is.
        """
        desk, bot = Desk(simple_host), simple_host.bot
        ask(bot, said("hi").message, "well?", desk.step)
        press = pressed(GROUP).callback_query
        assert (False, True) == (cancel(bot, press.message), cancel(bot, press))

    def test_nobody_has_no_question(self, simple_host: Host) -> None:
        """
        For an update without a sender there is nothing to cancel.
        """
        Desk(simple_host)
        press = update("callback_query", button_press(ANNA, inline_message_id="BAAAAHk"))
        assert False is cancel(simple_host.bot, press.callback_query)

    def test_it_finds_a_question_from_before_a_restart(
        self, tmp_path: Path, bot_api: BotAPI
    ) -> None:
        """
        To cancel on an attached bot that has not asked yet ends what waits in its storage.
        """
        with SQLiteStorage(tmp_path / "bot.db") as storage:
            (before,) = make_host()
            Desk(before, storage)
            before.deliver(said("ask me"))
            (after,) = make_host()
            Sessions(storage=storage).attach(after.bot)
            assert (True, []) == (cancel(after.bot, said("x").message), waiting(storage))


def step_one(message: Any) -> None:
    """A step."""


class CallableStep:
    def __call__(self, message: Any) -> None: ...


async def async_step(message: Any) -> None:
    """What telebot's blocking bot cannot run."""


def generator_step(message: Any) -> Iterator[None]:
    """What would not run before somebody iterates."""
    yield


def make_step() -> Callable[[Any], None]:
    def take(message: Any) -> None: ...

    return take


class TestSettingUp:
    @pytest.mark.parametrize(
        ("step", "error", "reason"),
        [
            (lambda message: None, ValueError, "a function with a name"),
            (functools.partial(step_one), ValueError, "a function with a name"),
            (CallableStep(), ValueError, "a function with a name"),
            ("step_one", ValueError, "a function with a name"),
            (async_step, TypeError, "async_step is async or a generator"),
            (generator_step, TypeError, "generator_step is async or a generator"),
        ],
        ids=["lambda", "partial", "object", "text", "async", "generator"],
    )
    def test_what_cannot_be_a_step_is_refused(
        self, step: Any, error: type[Exception], reason: str, simple_host: Host, bot_api: BotAPI
    ) -> None:
        """
        What has no name to be stored by, or cannot be called, is refused, listed or asked for.
        """
        sessions = Sessions(storage=MemoryStorage())
        with pytest.raises(error, match=reason):
            use_questions(simple_host.bot, sessions, steps=[step])
        with pytest.raises(error, match=reason):
            ask(simple_host.bot, said("hi").message, "well?", step)
        assert ([], []) == (bot_api.calls_of("sendMessage"), list(sessions.keys()))

    def test_steps_are_a_list(self, simple_host: Host) -> None:
        """
        A function instead of a list of them is refused, with what to write.
        """
        with pytest.raises(TypeError, match=r"a list of functions, such as \[step_one\]"):
            use_questions(simple_host.bot, Sessions(), steps=step_one)  # type: ignore[arg-type]

    def test_two_steps_of_one_name_are_refused(self, simple_host: Host) -> None:
        """
        A name that two steps have says nothing, be they listed or asked for; one step may be
        named twice.
        """
        sessions = Sessions(storage=MemoryStorage())
        first, second = make_step(), make_step()
        use_questions(simple_host.bot, sessions, steps=[first, first])
        use_questions(simple_host.bot, sessions, steps=[first])
        with pytest.raises(ValueError, match=r"two steps named 'make_step\.<locals>\.take'"):
            use_questions(simple_host.bot, sessions, steps=[second])
        with pytest.raises(ValueError, match="define it outside of the handler"):
            ask(simple_host.bot, said("hi").message, "well?", second)
        assert [] == list(sessions.keys())

    def test_a_bot_without_sessions_cannot_ask(self, simple_host: Host, bot_api: BotAPI) -> None:
        """
        To ask or cancel on a bot that has neither questions nor attached sessions is an error
        that says what to call.
        """
        with pytest.raises(SessionError, match="call use_questions"):
            ask(simple_host.bot, said("hi").message, "well?", step_one)
        with pytest.raises(SessionError, match="call use_questions"):
            cancel(simple_host.bot, said("hi").message)
        assert [] == bot_api.calls_of("sendMessage")

    def test_only_a_telebot_is_one(self) -> None:
        """
        An AsyncTeleBot, a class, or a storage in the place of the sessions is refused.
        """
        sessions = Sessions(storage=MemoryStorage())
        for bot in (AsyncTeleBot(TOKEN), TeleBot, object()):
            with pytest.raises(TypeError, match=r"a telebot\.TeleBot"):
                use_questions(bot, sessions)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="not MemoryStorage"):
            use_questions(TeleBot(TOKEN, threaded=False), MemoryStorage())  # type: ignore[arg-type]

    def test_a_bot_has_its_questions_in_one_place(self, simple_host: Host) -> None:
        """
        To call `use_questions` again lists more steps; with other sessions it is refused.
        """
        sessions = Sessions(storage=MemoryStorage())
        use_questions(simple_host.bot, sessions)
        use_questions(simple_host.bot, sessions, steps=[step_one])
        assert 1 == len(simple_host.bot.message_handlers)
        with pytest.raises(ValueError, match="one and the same Sessions"):
            use_questions(simple_host.bot, Sessions(storage=MemoryStorage()))

    def test_handlers_of_any_age_come_after_the_questions(self, simple_host: Host) -> None:
        """
        An answer goes to its step before handlers that were registered before, and after.
        """
        heard: list[str] = []
        bot = simple_host.bot
        bot.register_message_handler(lambda _: heard.append("old"), commands=None)
        desk = Desk(simple_host)
        bot.register_message_handler(lambda _: heard.append("new"))
        ask(bot, said("hi").message, "well?", desk.step)
        simple_host.deliver(said("Ada"), said("hi"))
        assert ([("step", "Ada")], ["old"]) == (desk.heard, heard)

    def test_it_listens_when_sessions_are_attached_later(self, host: Host) -> None:
        """
        To attach sessions after the questions were set up changes nothing about them.
        """
        desk = Desk(host)
        Sessions(storage=MemoryStorage()).attach(host.bot)
        host.deliver(said("ask me"), said("Ada"))
        assert ([("step", "Ada")], []) == (desk.heard, host.raised)

    def test_detach_takes_away_what_attach_brought(self, host: Host) -> None:
        """
        An attached bot that has asked is after `detach` what it was before, and the answer
        goes to its handlers.
        """
        desk = Desk(host, listens=False)
        before = state_of(host.bot)
        desk.sessions.attach(host.bot)
        host.deliver(said("ask me"))
        listening = state_of(host.bot)
        desk.sessions.detach(host.bot)
        assert (False, True) == (before == listening, before == state_of(host.bot))
        host.deliver(said("Ada"))
        assert ([("handler", "Ada")], []) == (desk.heard, host.raised)

    def test_detach_leaves_what_use_questions_brought(self, simple_host: Host) -> None:
        """
        Questions that were set up by hand work on when sessions are detached.
        """
        desk = Desk(simple_host)
        desk.sessions.attach(simple_host.bot)
        simple_host.deliver(said("ask me"))
        desk.sessions.detach(simple_host.bot)
        simple_host.deliver(said("Ada"))
        assert [("step", "Ada")] == desk.heard


def state_of(bot: TeleBot) -> dict[str, Any]:
    """What a bot consists of, but for its place in the updates; with copies of its handlers."""
    return {
        name: [dict(entry) for entry in value] if name.endswith("_handlers") and value else value
        for name, value in vars(bot).items()
        if name != "last_update_id"
    }


class HeldStorage(CountedStorage):
    """A storage that counts how often it is locked, too."""

    def hold(self, key: str, timeout: float | None = None) -> AbstractContextManager[Hold]:
        self.calls["hold"] += 1
        return super().hold(key, timeout)


class TestWhatItCosts:
    def test_a_message_is_one_read_while_none_waits(self, host: Host) -> None:
        """
        As long as no question waits for its sender, a message is one read, and no lock.
        """
        storage = HeldStorage()
        desk = Desk(host, storage)
        ask(host.bot, said("hi", BORIS).message, "well?", desk.step)
        storage.calls.clear()
        host.deliver(said("a"), said("b"), said("/help"))
        assert ({"get": 3}, []) == (dict(storage.calls), host.raised)

    def test_a_service_message_is_nothing(self, simple_host: Host) -> None:
        """
        What cannot be an answer is not looked up.
        """
        storage = HeldStorage()
        Desk(simple_host, storage)
        payload = message(GROUP, ANNA, new_chat_title="Tea")
        del payload["text"]
        simple_host.deliver(update("message", payload))
        assert {} == storage.calls

    def test_a_bot_that_never_asked_pays_nothing(self, host: Host) -> None:
        """
        To attach sessions brings no reads for handlers that take none.
        """
        storage = HeldStorage()
        desk = Desk(host, storage, listens=False)
        desk.sessions.attach(host.bot)
        host.deliver(said("a"), said("/help"))
        assert ({}, 2) == (storage.calls, len(desk.heard))

    def test_a_question_and_its_answer(self, simple_host: Host) -> None:
        """
        To ask is one lock, one read and one write; the answer is two reads, a lock and a delete.
        """
        storage = HeldStorage()
        desk = Desk(simple_host, storage)
        ask(simple_host.bot, said("hi").message, "well?", desk.step)
        assert {"hold": 1, "get": 1, "set": 1} == storage.calls
        storage.calls.clear()
        simple_host.deliver(said("Ada"))
        assert {"hold": 1, "get": 2, "delete": 1} == storage.calls


class Broken(MemoryStorage):
    """A storage whose server is away from some moment on."""

    is_away = False

    def get(self, key: str) -> bytes | None:
        if self.is_away:
            raise StorageError("read", key, "the server is away")
        return super().get(key)


class TestAFailedRead:
    def test_it_is_an_error_and_not_no_question(self, host: Host) -> None:
        """
        While the storage cannot be read, nobody gets the message, and the exception handler
        gets the error; afterwards the question still waits.
        """
        storage = Broken()
        desk = Desk(host, storage)
        host.deliver(said("ask me"))
        storage.is_away = True
        host.deliver(said("Ada"))
        assert ([StorageError], []) == ([type(error) for error in host.raised], desk.heard)
        storage.is_away = False
        host.deliver(said("Ada"))
        assert [("step", "Ada")] == desk.heard

    def test_a_record_that_cannot_be_read_stays(self, simple_host: Host) -> None:
        """
        A damaged record is an error for every message of its sender, and is left as it is.
        """
        storage = MemoryStorage()
        desk = Desk(simple_host, storage)
        key = f"ask:{BOT['id']}:{ANNA_IN_GROUP}"
        storage.set(key, b"damaged")
        simple_host.deliver(said("Ada"), said("Bob", BORIS))
        assert [DecodeError] == [type(error) for error in simple_host.raised]
        assert ([("handler", "Bob")], b"damaged") == (desk.heard, storage.get(key))


class TestQuestionsExample:
    example = "questions"

    def test_it_survives_a_restart(self, bot_api: BotAPI) -> None:
        """
        Restarted after each answer, the bot waits for the next one, and keeps the entry.
        """
        answers = []
        for text in ("/join", "Ada", "10", "/me"):
            with on_stage("questions", bot_api) as stage:
                answers += stage.say(1, text)
        assert [
            "what is your name?",
            "how many kilometres, Ada: 5, 10 or 21?",
            "see you there, Ada!",
            "you run 10 km, Ada",
        ] == answers

    def test_everybody_in_a_group_answers_their_own(self, stage: Stage) -> None:
        """
        Two users who enter in one group at the same time do not answer for each other.
        """
        group = stage.api.group(-100)
        for user in (1, 2):
            assert ["what is your name?"] == stage.say(user, "/join", group)
        asked = [stage.say(2, "Bob", group), stage.say(1, "Ada", group)]
        assert [[f"how many kilometres, {name}: 5, 10 or 21?"] for name in ("Bob", "Ada")] == asked
        assert ["send /join to run"] == stage.say(1, "10")
        assert ["see you there, Ada!"] == stage.say(1, "10", group)
        assert ["see you there, Bob!"] == stage.say(2, "21", group)

    def test_it_waits_for_ten_minutes(
        self, frozen_time: FrozenDateTimeFactory, stage: Stage
    ) -> None:
        """
        An answer after ten minutes is none any more.
        """
        stage.say(1, "/join")
        frozen_time.tick(600 - MICROSECOND)
        assert ["how many kilometres, Ada: 5, 10 or 21?"] == stage.say(1, "Ada")
        frozen_time.tick(600)
        assert ["send /join to run"] == stage.say(1, "10")

    def test_a_command_breaks_out(self, stage: Stage) -> None:
        """
        /cancel knows of the question that it ends, and any other command ends one, too.
        """
        assert ["there is nothing to cancel"] == stage.say(1, "/cancel")
        stage.say(1, "/join")
        assert ["then not"] == stage.say(1, "/cancel")
        stage.say(1, "/join")
        assert ["you do not run yet"] == stage.say(1, "/me")
        assert ["send /join to run"] == stage.say(1, "Ada")
