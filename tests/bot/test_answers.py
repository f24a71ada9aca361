"""Answers: whose message goes to the step of a question, and which messages are none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from telebot import TeleBot, types

from support.bots import Desk, Host, posted, pressed, said_to_business, waiting_questions
from support.updates import (
    ANNA,
    ANONYMOUS_ADMIN,
    BORIS,
    BOT,
    CHANNEL,
    CHANNEL_AS_USER,
    CONNECTION,
    GROUP,
    OTHER_CHANNEL,
    OTHER_CONNECTION,
    OTHER_GROUP,
    TOKEN,
    button_press,
    message,
    private,
    said_in_group,
    update,
)
from telesession import MemoryStorage, SessionError, ask

if TYPE_CHECKING:
    from telesession.testing import BotAPI


# Whoever asks sends a message.
pytestmark = pytest.mark.usefixtures("bot_api")


class TestWhatTelebotDoes:
    def test_a_next_step_takes_the_message_of_anybody(self, host: Host) -> None:
        """
        telebot (4.37.1) gives the next message of a chat to the step, whoever wrote it.
        """
        heard: list[str] = []
        host.bot.register_next_step_handler_by_chat_id(
            GROUP["id"], lambda message: heard.append(message.from_user.first_name)
        )
        host.deliver(said_in_group("not for you", BORIS), said_in_group("Anna's answer", ANNA))
        assert (["Boris"], []) == (heard, host.raised)

    def test_our_step_waits_for_the_one_who_was_asked(self, host: Host) -> None:
        """
        Here the message of another goes to the handlers, and the question waits on.
        """
        desk = Desk(host)
        host.deliver(
            said_in_group("ask me"),
            said_in_group("not for you", BORIS),
            said_in_group("Anna's answer"),
        )
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
        answers = [said_in_group(p["first_name"], p, chat=private(p)) for p in (ANNA, BORIS)]
        bot.process_new_updates(answers)
        assert [("step", "Anna"), ("handler", "Boris")] == desk.heard
        bot.process_new_updates([said_in_group("late", BORIS, chat=private(BORIS))])
        assert ("step", "late") == desk.heard[-1]

    def test_a_batch_skips_none_of_ours(self, simple_host: Host) -> None:
        """
        Every answer of a batch reaches its step, two of one user one after the other, too.
        """
        desk, bot = Desk(simple_host), simple_host.bot

        def twice(message: Any) -> None:
            desk.heard.append(("first", message.text))
            ask(bot, message, "and?", desk.step)

        questions = [said_in_group("hi", p, chat=private(p)).message for p in (ANNA, BORIS)]
        ask(bot, questions[0], "well?", twice)
        ask(bot, questions[1], "well?", desk.step)
        texts = [("one", ANNA), ("two", BORIS), ("three", ANNA), ("four", BORIS)]
        bot.process_new_updates([said_in_group(text, p, chat=private(p)) for text, p in texts])
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
        host.deliver(said_in_group("ask me"), said_in_group("Ada"), said_in_group("Bob"))
        assert [("step", "Ada"), ("handler", "Bob")] == desk.heard
        assert [] == host.raised

    def test_it_comes_from_the_same_chat(self, simple_host: Host) -> None:
        """
        What the sender writes in another group or in private is no answer.
        """
        desk = Desk(simple_host)
        elsewhere = [
            said_in_group("there", chat=OTHER_GROUP),
            said_in_group("at home", chat=private(ANNA)),
        ]
        simple_host.deliver(said_in_group("ask me"), *elsewhere, said_in_group("here"))
        assert [("handler", "there"), ("handler", "at home"), ("step", "here")] == desk.heard

    def test_each_sender_of_a_chat_has_a_question(self, simple_host: Host) -> None:
        """
        Two senders who are asked in one chat answer in any order, each to their own question.
        """
        desk = Desk(simple_host)
        simple_host.deliver(said_in_group("ask me", ANNA), said_in_group("ask me", BORIS))
        simple_host.deliver(
            said_in_group("B", BORIS), said_in_group("A", ANNA), said_in_group("B2", BORIS)
        )
        assert [("step", "B"), ("step", "A"), ("handler", "B2")] == desk.heard

    def test_a_business_chat_is_a_chat_of_its_own(self, simple_host: Host, bot_api: BotAPI) -> None:
        """
        The same user in the same chat of another business account, or of the bot itself, is
        somebody else, and the question goes through the connection.
        """
        desk = Desk(simple_host)
        others = [
            said_to_business("other", OTHER_CONNECTION),
            said_in_group("private", chat=private(ANNA)),
        ]
        simple_host.deliver(
            said_to_business("ask me", CONNECTION), *others, said_to_business("mine", CONNECTION)
        )
        assert [("handler", "other"), ("handler", "private"), ("step", "mine")] == desk.heard
        (sent,) = bot_api.calls_of("sendMessage")
        assert CONNECTION == sent.params["business_connection_id"]

    def test_a_channel_that_writes_in_a_group_is_a_sender(self, simple_host: Host) -> None:
        """
        A channel that was asked is not answered for by another, though their user is the same.
        """
        desk = Desk(simple_host)

        def write(text: str, channel: dict[str, Any]) -> types.Update:
            return said_in_group(text, CHANNEL_AS_USER, sender_chat=channel)

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
            return said_in_group(text, ANONYMOUS_ADMIN, sender_chat=group, chat=group)

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
        asking.deliver(said_in_group("ask me", chat=private(ANNA)))
        other.deliver(said_in_group("hi, other", chat=private(ANNA)))
        asking.deliver(said_in_group("here", chat=private(ANNA)))
        assert [("handler", "hi, other")] == others.heard
        assert [("step", "here")] == its.heard

    def test_whoever_presses_a_button_is_asked(self, host: Host) -> None:
        """
        A callback query stands for whoever pressed, in the chat of the message with the button.
        """
        desk = Desk(host)
        host.deliver(pressed(GROUP, ANNA), said_in_group("no", BORIS), said_in_group("yes", ANNA))
        assert [("handler", "no"), ("step", "yes")] == desk.heard
        assert [] == host.raised

    def test_an_old_button_asks_too(self, simple_host: Host, bot_api: BotAPI) -> None:
        """
        A button under a message that Telegram shows no more (its date is 0) is good enough.
        """
        desk = Desk(simple_host)
        inaccessible = {"chat": GROUP, "message_id": 7, "date": 0}
        press = update("callback_query", button_press(ANNA, message=inaccessible))
        simple_host.deliver(press, said_in_group("yes"))
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
        assert ([], []) == (
            bot_api.calls_of("sendMessage"),
            waiting_questions(desk.sessions._kind.storage),
        )

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
        simple_host.deliver(
            said_to_business("ask me", CONNECTION), said_to_business("fine", CONNECTION)
        )
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
                "the pressed button brings an inline_message_id",
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
        assert ([], []) == (
            bot_api.calls_of("sendMessage"),
            waiting_questions(desk.sessions._kind.storage),
        )


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
        host.deliver(said_in_group("ask me"), said_in_group("/help me"), said_in_group("Ada"))
        assert [("command", "/help me"), ("handler", "Ada")] == desk.heard
        assert ([], []) == (host.raised, waiting_questions(desk.sessions._kind.storage))

    def test_the_command_of_another_does_not(self, simple_host: Host) -> None:
        """
        A command of somebody else, or of the sender elsewhere, leaves the question alone.
        """
        desk = Desk(simple_host)
        simple_host.deliver(
            said_in_group("ask me"),
            said_in_group("/help", BORIS),
            said_in_group("/help", chat=private(ANNA)),
        )
        simple_host.deliver(said_in_group("Ada"))
        assert ("step", "Ada") == desk.heard[-1]

    def test_a_photo_is_an_answer(self, simple_host: Host) -> None:
        """
        An answer need not be text; a caption is no command.
        """
        desk = Desk(simple_host)
        size = {"file_id": "a", "file_unique_id": "a", "width": 1, "height": 1}
        photo = update("message", message(GROUP, ANNA, photo=[size], caption="/nice"))
        simple_host.deliver(said_in_group("ask me"), photo)
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
        simple_host.deliver(
            said_in_group("ask me"), update("message", payload), said_in_group("Ada")
        )
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
        simple_host.deliver(
            said_in_group("ask me"), update(kind, payload[kind]), said_in_group("Ada")
        )
        assert (1, [("step", "Ada")]) == (len(seen), desk.heard)
