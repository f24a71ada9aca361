"""Questions: what is sent, what takes their place, and what ends them."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from telebot import types
from telebot.apihelper import ApiTelegramException

from support.bots import ANNA_IN_GROUP, Desk, Host, make_host, on_stage, pressed, waiting_questions
from support.clocks import MICROSECOND
from support.updates import (
    ANNA,
    BORIS,
    DIRECT_MESSAGES,
    FORUM,
    GROUP,
    button_press,
    in_topic,
    message,
    private,
    said_in_group,
    update,
)
from telesession import Sessions, SQLiteStorage, Storage, ask, cancel

if TYPE_CHECKING:
    from pathlib import Path

    from freezegun.api import FrozenDateTimeFactory

    from support.bots import Stage
    from telesession.testing import BotAPI


# Whoever asks sends a message.
pytestmark = pytest.mark.usefixtures("bot_api")


class TestWhatIsSent:
    def test_the_text_goes_to_the_chat_with_all_options(
        self, simple_host: Host, bot_api: BotAPI
    ) -> None:
        """
        The text and the options reach `send_message`, and what that returns comes back.
        """
        keyboard = types.ReplyKeyboardMarkup().add("yes", "no")
        desk = Desk(simple_host, parse_mode="HTML", reply_markup=keyboard, protect_content=True)
        simple_host.deliver(said_in_group("ask me"))
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
            said_in_group("ask me", chat=FORUM, **topic)
            if kind == "message"
            else pressed(FORUM, **topic)
        )
        simple_host.deliver(asking, said_in_group("yes", chat=FORUM, **topic))
        assert ["31"] == [c.params["message_thread_id"] for c in bot_api.calls_of("sendMessage")]
        assert [("step", "yes")] == desk.heard

    def test_a_thread_that_is_no_topic_is_left_out(
        self, simple_host: Host, bot_api: BotAPI
    ) -> None:
        """
        A reply in a group that is no forum has a thread, to which nothing can be sent.
        """
        Desk(simple_host)
        simple_host.deliver(said_in_group("ask me", message_thread_id=31))
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
        simple_host.deliver(
            said_in_group("ask me", chat=DIRECT_MESSAGES, direct_messages_topic=topic)
        )
        assert ["412587349"] == [
            call.params.get("direct_messages_topic_id") for call in bot_api.calls_of("sendMessage")
        ]

    @pytest.mark.parametrize(
        "option",
        [
            "chat_id",
            "message_thread_id",
            "direct_messages_topic_id",
            "business_connection_id",
            "receiver_user_id",
            "callback_query_id",
        ],
    )
    def test_an_option_that_would_move_it_is_refused(
        self, option: str, simple_host: Host, bot_api: BotAPI
    ) -> None:
        """
        A question is sent to the place where it waits, and to no other one.
        """
        desk = Desk(simple_host)
        with pytest.raises(ValueError, match=f"leave {option} out, and pass a Place"):
            ask(simple_host.bot, said_in_group("hi").message, "well?", desk.step, **{option: 7})
        assert ([], []) == (
            bot_api.calls_of("sendMessage"),
            waiting_questions(desk.sessions._kind.storage),
        )

    def test_what_was_not_sent_waits_for_nobody(self, host: Host, bot_api: BotAPI) -> None:
        """
        If the question cannot be sent, the error goes to the handler and nothing waits.
        """
        desk = Desk(host)
        bot_api.fail_next("sendMessage", 403)
        host.deliver(said_in_group("ask me"), said_in_group("what?"))
        assert [ApiTelegramException] == [type(error) for error in host.raised]
        assert [("handler", "what?")] == desk.heard
        assert [] == waiting_questions(desk.sessions._kind.storage)

    def test_it_waits_before_it_is_sent(self, simple_host: Host, bot_api: BotAPI) -> None:
        """
        The quickest of users, who answers while the question is still being sent, is heard.
        """
        desk = Desk(simple_host)
        send, answer = simple_host.bot.send_message, said_in_group("quick")

        def send_slowly(*args: Any, **kwargs: Any) -> types.Message:
            simple_host.bot.process_new_updates([answer])
            return send(*args, **kwargs)

        simple_host.bot.send_message = send_slowly
        simple_host.deliver(said_in_group("ask me"))
        assert [("step", "quick")] == desk.heard

    @pytest.mark.parametrize(("number", "hears"), [(5128, "step"), (5127, "handler")])
    def test_a_press_is_an_answer_while_it_is_sent(
        self, number: int, hears: str, simple_host: Host, bot_api: BotAPI
    ) -> None:
        """
        So is a press on a message that is younger than the one with the number 5127, which the
        bot answers.
        """
        desk, bot, heard = Desk(simple_host), simple_host.bot, list[str]()
        bot.callback_query_handlers.pop()
        bot.register_callback_query_handler(lambda _: heard.append("handler"), func=lambda _: True)
        send = bot.send_message

        def take(query: Any) -> None:
            heard.append("step")

        def send_slowly(*args: Any, **kwargs: Any) -> types.Message:
            bot.process_new_updates([pressed(GROUP, message_id=number)])
            return send(*args, **kwargs)

        bot.send_message = send_slowly
        ask(bot, said_in_group("hi").message, "well?", take)
        assert ([hears], []) == (heard, desk.heard)


class TestOneQuestionAfterTheOther:
    def test_a_step_may_ask_again(self, host: Host) -> None:
        """
        A step that asks the same again, and then another one, gets the answers in order.
        """
        desk = Desk(host)

        def take_number(message: Any) -> None:
            desk.heard.append(("number", message.text))
            ask(host.bot, message, "?", desk.step if message.text == "4" else take_number)

        ask(host.bot, said_in_group("hi").message, "how many?", take_number)
        host.deliver(
            said_in_group("many"), said_in_group("4"), said_in_group("Ada"), said_in_group("bye")
        )
        expected = [("number", "many"), ("number", "4"), ("step", "Ada"), ("handler", "bye")]
        assert (expected, []) == (desk.heard, host.raised)

    def test_another_question_takes_the_place_of_the_first(self, host: Host) -> None:
        """
        The answer goes to the step that was asked for last, and then none waits.
        """
        desk = Desk(host)

        def other(message: Any) -> None:
            desk.heard.append(("other", message.text))

        host.deliver(said_in_group("ask me"))
        ask(host.bot, said_in_group("hi").message, "or else?", other)
        host.deliver(said_in_group("a"), said_in_group("b"))
        assert [("other", "a"), ("handler", "b")] == desk.heard

    def test_one_that_waits_for_ever_does_not_get_the_time_of_the_first(
        self, simple_host: Host, frozen_time: FrozenDateTimeFactory
    ) -> None:
        """
        A question without a time-out outlives the time-out of the question that it replaced.
        """
        desk = Desk(simple_host)
        ask(simple_host.bot, said_in_group("hi").message, "quick?", desk.step, timeout=60)
        ask(simple_host.bot, said_in_group("hi").message, "well?", desk.step)
        frozen_time.tick(3600)
        simple_host.deliver(said_in_group("yes"))
        assert [("step", "yes")] == desk.heard

    def test_one_with_a_time_out_does_not_wait_as_long_as_the_first(
        self, simple_host: Host, frozen_time: FrozenDateTimeFactory
    ) -> None:
        """
        A time-out counts from its own question, though the one before waited for ever.
        """
        desk = Desk(simple_host)
        ask(simple_host.bot, said_in_group("hi").message, "well?", desk.step)
        frozen_time.tick(3600)
        ask(simple_host.bot, said_in_group("hi").message, "quick?", desk.step, timeout=60)
        frozen_time.tick(60)
        simple_host.deliver(said_in_group("late"))
        assert [("handler", "late")] == desk.heard


class TestTimeOut:
    @pytest.mark.parametrize("timeout", [60, timedelta(minutes=1)], ids=["seconds", "timedelta"])
    @pytest.mark.parametrize("storage", ["memory", "sqlite", "redis", "postgres"], indirect=True)
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
        simple_host.deliver(said_in_group("ask me"))
        frozen_time.tick(60 - MICROSECOND)
        simple_host.deliver(said_in_group("in time"), said_in_group("ask me"))
        assert [ANNA_IN_GROUP] == waiting_questions(storage)
        frozen_time.tick(60)
        assert ([], False) == (
            list(storage.keys()),
            cancel(simple_host.bot, said_in_group("hi").message),
        )
        simple_host.deliver(said_in_group("late"))
        assert ([("step", "in time"), ("handler", "late")], []) == (desk.heard, simple_host.raised)

    def test_messages_of_others_do_not_renew_it(
        self, simple_host: Host, frozen_time: FrozenDateTimeFactory
    ) -> None:
        """
        What is no answer, of others, of the sender elsewhere, or a service message, leaves the
        time-out alone.
        """
        desk = Desk(simple_host, timeout=60)
        simple_host.deliver(said_in_group("ask me"))
        frozen_time.tick(59)
        titled = update("message", message(GROUP, ANNA, new_chat_title="Tea", text=None))
        simple_host.deliver(
            said_in_group("x", BORIS), said_in_group("x", chat=private(ANNA)), titled
        )
        frozen_time.tick(1)
        simple_host.deliver(said_in_group("late"))
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
            ask(simple_host.bot, said_in_group("hi").message, "well?", desk.step, timeout=timeout)
        assert ([], []) == (
            bot_api.calls_of("sendMessage"),
            waiting_questions(desk.sessions._kind.storage),
        )


class TestCancel:
    def test_it_says_whether_there_was_one(self, host: Host) -> None:
        """
        To cancel ends the question of this sender in this chat, and says if there was one.
        """
        desk, bot = Desk(host), host.bot
        ask(bot, said_in_group("hi").message, "well?", desk.step)
        ask(bot, said_in_group("hi", BORIS).message, "well?", desk.step)
        elsewhere = cancel(bot, said_in_group("x", chat=private(ANNA)).message)
        assert (False, True, False) == (
            elsewhere,
            cancel(bot, said_in_group("x").message),
            cancel(bot, said_in_group("x").message),
        )
        host.deliver(said_in_group("A", ANNA), said_in_group("B", BORIS))
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
        host.deliver(said_in_group("ask me"), said_in_group("/cancel", BORIS))
        assert [False, False] == said_of_it
        host.deliver(said_in_group("/cancel"), said_in_group("/cancel"), said_in_group("Ada"))
        assert [False, False, True, False, False, False] == said_of_it
        assert ([("handler", "Ada")], []) == (desk.heard, host.raised)

    def test_a_command_ends_the_question_of_its_sender_only(self, simple_host: Host) -> None:
        """
        What a command has ended is not said of an update that the same thread handles later.
        """
        Desk(simple_host)
        simple_host.deliver(said_in_group("ask me"), said_in_group("/help"))
        later = said_in_group("x", BORIS), said_in_group("x", ANNA, message_id=5128)
        assert [False, False] == [cancel(simple_host.bot, each.message) for each in later]

    def test_a_button_cancels(self, simple_host: Host) -> None:
        """
        A callback query cancels for whoever pressed, and not for the bot, whose message it is.
        """
        desk, bot = Desk(simple_host), simple_host.bot
        ask(bot, said_in_group("hi").message, "well?", desk.step)
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
            before.deliver(said_in_group("ask me"))
            (after,) = make_host()
            Sessions(storage=storage).attach(after.bot)
            assert (True, []) == (
                cancel(after.bot, said_in_group("x").message),
                waiting_questions(storage),
            )


class TestQuestionsExample:
    example = "questions"

    @pytest.mark.usefixtures("fresh_process")
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
        assert [stage.module.HELP] == stage.say(1, "10")
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
        assert [stage.module.HELP] == stage.say(1, "10")

    def test_a_command_breaks_out(self, stage: Stage) -> None:
        """
        /cancel knows of the question that it ends, and any other command ends one, too.
        """
        assert ["there is nothing to cancel"] == stage.say(1, "/cancel")
        stage.say(1, "/join")
        assert ["then not"] == stage.say(1, "/cancel")
        stage.say(1, "/join")
        assert ["you do not run yet"] == stage.say(1, "/me")
        assert [stage.module.HELP] == stage.say(1, "Ada")
