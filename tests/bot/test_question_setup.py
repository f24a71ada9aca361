"""Bots that ask: what `use_questions` takes, and what it leaves behind."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest
from telebot import TeleBot
from telebot.async_telebot import AsyncTeleBot

from support.bots import Desk
from support.updates import TOKEN, said_in_group
from telesession import MemoryStorage, Place, SessionError, Sessions, ask, cancel, use_questions
from telesession.bot.answers import Questions

if TYPE_CHECKING:
    from support.bots import Host
    from telesession.testing import BotAPI


# Whoever asks sends a message.
pytestmark = pytest.mark.usefixtures("bot_api")


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
        use_questions(simple_host.bot, sessions)
        with pytest.raises(error, match=reason):
            ask(simple_host.bot, said_in_group("hi").message, "well?", step)
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
        with pytest.raises(ValueError, match=r"two functions named 'make_step\.<locals>\.take'"):
            use_questions(simple_host.bot, sessions, steps=[second])
        with pytest.raises(ValueError, match="define it outside of the handler"):
            ask(simple_host.bot, said_in_group("hi").message, "well?", second)
        assert [] == list(sessions.keys())

    def test_a_bot_without_sessions_cannot_ask(self, simple_host: Host, bot_api: BotAPI) -> None:
        """
        To ask or cancel on a bot that has neither questions nor attached sessions is an error
        that says what to call.
        """
        with pytest.raises(SessionError, match="call use_questions"):
            ask(simple_host.bot, said_in_group("hi").message, "well?", step_one)
        with pytest.raises(SessionError, match="call use_questions"):
            cancel(simple_host.bot, said_in_group("hi").message)
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
        ask(bot, said_in_group("hi").message, "well?", desk.step)
        simple_host.deliver(said_in_group("Ada"), said_in_group("hi"))
        assert ([("step", "Ada")], ["old"]) == (desk.heard, heard)

    def test_it_listens_when_sessions_are_attached_later(self, host: Host) -> None:
        """
        To attach sessions after the questions were set up changes nothing about them.
        """
        desk = Desk(host)
        Sessions(storage=MemoryStorage()).attach(host.bot)
        host.deliver(said_in_group("ask me"), said_in_group("Ada"))
        assert ([("step", "Ada")], []) == (desk.heard, host.raised)

    def test_detach_takes_away_what_attach_brought(self, host: Host) -> None:
        """
        An attached bot that has asked is after `detach` what it was before, and the answer
        goes to its handlers.
        """
        desk = Desk(host, listens=False)
        before = state_of(host.bot)
        desk.sessions.attach(host.bot, sequential=False)
        host.deliver(said_in_group("ask me"))
        listening = state_of(host.bot)
        desk.sessions.detach(host.bot)
        assert (False, True) == (before == listening, before == state_of(host.bot))
        host.deliver(said_in_group("Ada"))
        assert ([("handler", "Ada")], []) == (desk.heard, host.raised)

    def test_detach_leaves_what_use_questions_brought(self, simple_host: Host) -> None:
        """
        Questions that were set up by hand work on when sessions are detached.
        """
        desk = Desk(simple_host)
        desk.sessions.attach(simple_host.bot)
        simple_host.deliver(said_in_group("ask me"))
        desk.sessions.detach(simple_host.bot)
        simple_host.deliver(said_in_group("Ada"))
        assert [("step", "Ada")] == desk.heard


def state_of(bot: TeleBot) -> dict[str, Any]:
    """What a bot consists of, but for its place in the updates; with copies of its handlers."""
    return {
        name: [dict(entry) for entry in value] if name.endswith("_handlers") and value else value
        for name, value in vars(bot).items()
        if name != "last_update_id"
    }


def no_message() -> None: ...


def only_keyword(*, message: Any) -> None: ...


def positional(message: Any, extra: Any, /) -> None: ...


def needs_menu(message: Any, menu: Any) -> bool:
    return bool(menu)


def open_step(message: Any, **rest: Any) -> None: ...


class Wizard:
    def take(self, message: Any) -> None: ...


class TestWhatCannotBeCalled:
    @pytest.mark.parametrize(
        ("step", "reason"),
        [
            (no_message, "no_message could not be called: it has no parameter for the message"),
            (only_keyword, "only_keyword could not be called: it has no parameter"),
            (positional, "positional could not be called: its parameter 'extra' takes no keyword"),
            (Wizard.take, "Wizard.take could not be called: it is a method without its object"),
        ],
    )
    def test_a_step_is_refused(self, step: Any, reason: str, simple_host: Host) -> None:
        """
        A step that could not get an answer is refused when it is listed, and keeps no name.
        """
        sessions = Sessions(storage=MemoryStorage())
        with pytest.raises(TypeError, match=reason):
            use_questions(simple_host.bot, sessions, steps=[step])
        assert None is Questions.of(simple_host.bot)

    def test_a_predicate_is_refused(self, simple_host: Host) -> None:
        """
        A predicate that needs more than the message is refused when it is listed.
        """
        sessions = Sessions(storage=MemoryStorage())
        with pytest.raises(TypeError, match="needs_menu could not be called: it needs menu"):
            use_questions(simple_host.bot, sessions, unless=[needs_menu])

    @pytest.mark.parametrize("name", ["message", "bot", "data"])
    def test_data_of_a_taken_name_is_refused(self, name: str, simple_host: Host) -> None:
        """
        `data` gives no parameter that the step gets otherwise.
        """
        use_questions(simple_host.bot, Sessions(storage=MemoryStorage()), steps=[open_step])
        with pytest.raises(TypeError, match="cannot reach the step open_step"):
            ask(simple_host.bot, said_in_group("hi").message, "well?", open_step, data={name: 1})

    @pytest.mark.parametrize(
        ("options", "reason"),
        [
            ({"unless": 5}, "unless must be texts or a predicate of messages"),
            ({"data": 0}, "data must be a dict of keyword arguments, not int"),
            ({"reply_only": "yes"}, "reply_only must be"),
        ],
        ids=["unless", "data", "reply_only"],
    )
    def test_options_of_a_wrong_type_are_refused(
        self, options: Any, reason: str, simple_host: Host, bot_api: BotAPI
    ) -> None:
        """
        Such an option is a `TypeError` before anything is sent.
        """
        use_questions(simple_host.bot, Sessions(storage=MemoryStorage()), steps=[open_step])
        with pytest.raises(TypeError, match=reason):
            ask(simple_host.bot, said_in_group("hi").message, "well?", open_step, **options)
        assert [] == bot_api.calls_of("sendMessage")

    def test_a_function_without_a_bot_says_so(self, simple_host: Host) -> None:
        """
        To ask or cancel with something else than a bot, or to cancel for no update, is a
        `TypeError`.
        """
        nothing: Any = None
        for function in (
            lambda: ask(nothing, said_in_group("hi").message, "well?", open_step),
            lambda: cancel(nothing, said_in_group("hi").message),
            lambda: cancel(simple_host.bot, nothing),
        ):
            with pytest.raises(TypeError, match=r"TeleBot|cancel takes the message"):
                function()


class TestPlace:
    @pytest.mark.parametrize(
        ("ids", "error", "reason"),
        [
            ({"chat_id": "5"}, TypeError, "the chat_id of a Place must be an int, not str"),
            ({"user_id": True}, TypeError, "the user_id of a Place must be an int, not bool"),
            ({"user_id": None}, TypeError, "the user_id of a Place must be an int"),
            ({"business_connection_id": 5}, TypeError, "must be a str, not int"),
            ({"business_connection_id": ""}, ValueError, "is empty; leave it out"),
            ({"chat_id": 6}, ValueError, "a private chat has the id of its person"),
            (
                {"chat_id": -100, "message_thread_id": 7, "direct_messages_topic_id": 8},
                ValueError,
                "a Place has one topic",
            ),
        ],
    )
    def test_one_at_which_nobody_could_answer_is_refused(
        self, ids: Any, error: type[Exception], reason: str
    ) -> None:
        """
        Ids of a wrong type, and those that no answer has, are refused at once.
        """
        with pytest.raises(error, match=reason):
            Place(**{"chat_id": 5, "user_id": 5, **ids})
