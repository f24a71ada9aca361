"""Handlers of an attached bot: all of them get their session, whoever adds them and however."""

from __future__ import annotations

import inspect
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from telebot import TeleBot, util
from telebot.handler_backends import ContinueHandling

from support.bots import Host, TeaMiddleware, make_host
from support.handlers import (
    CALLABLES,
    HANDLER_NAMES,
    KEY,
    KIND_CASES,
    SESSION_PLACES,
    WAYS,
    Handler,
    Way,
    ignore,
    keep,
    note,
    signature_text,
)
from support.updates import BORIS, TOKEN, UpdateCase, said
from telesession import Session, Sessions

if TYPE_CHECKING:
    from support.storages import SpyStorage


# Which handlers there are.


def public_methods(prefix: str, suffix: str) -> set[str]:
    """What the installed telebot has of public methods, by what their names have in common."""
    return {
        name.removeprefix(prefix)
        for name, _ in inspect.getmembers(TeleBot, callable)
        if name.startswith(prefix) and name.endswith(suffix) and name[0] != "_"
    }


def test_every_update_kind_of_telebot_has_a_case() -> None:
    """The kinds that are tested here are those of the installed telebot."""
    assert set(util.update_types) == {case.kind for case in KIND_CASES}


def test_every_decorator_of_telebot_is_of_a_known_kind() -> None:
    """There is a decorator for each kind of update, and one for middlewares, and no other."""
    others = {"add", "register", "clear"}
    decorators = {
        name for name in public_methods("", "_handler") if name.split("_")[0] not in others
    }

    assert HANDLER_NAMES | {"middleware_handler"} == decorators


def test_every_register_method_of_telebot_is_of_a_known_kind() -> None:
    """What begins with `register_` is for a kind of update, a middleware, a step or a reply."""
    expected = {
        "middleware_handler",
        "next_step_handler",
        "next_step_handler_by_chat_id",
        "for_reply",
        "for_reply_by_message_id",
    }

    assert HANDLER_NAMES | expected == public_methods("register_", "")


def test_every_add_method_of_telebot_is_of_a_known_kind() -> None:
    """There is a method `add_*_handler` for each kind, and one for middlewares, and no other."""
    assert HANDLER_NAMES | {"middleware_handler"} == public_methods("add_", "_handler")


def test_every_list_of_handlers_of_telebot_is_of_a_known_kind() -> None:
    """There is a list for each kind, and `state_handlers`, to which telebot 4.37.1 adds nothing."""
    lists = {name for name in vars(TeleBot(TOKEN, threaded=False)) if name.endswith("_handlers")}

    assert {f"{name}s" for name in HANDLER_NAMES} | {"state_handlers"} == lists


def test_an_attached_bot_has_every_add_method_replaced(sessions: Sessions[Session]) -> None:
    """The bot has an `add` method of its own for each kind, and the two ways of updates."""
    bot = TeleBot(TOKEN, threaded=False)
    before = set(vars(bot))

    sessions.attach(bot)

    gates = {name for name in vars(bot).keys() - before if not name.startswith("_")}
    ways = {"process_new_updates", "process_new_messages"}
    assert {f"add_{name}" for name in HANDLER_NAMES} | ways == gates


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize("case", KIND_CASES, ids=lambda case: case.kind)
def test_handlers_of_every_kind_get_their_session(
    case: UpdateCase, way: Way, quick_host: Host, spy_storage: SpyStorage
) -> None:
    """Handlers of every kind get it, whether registered before or after, in whichever way."""
    everybody = Sessions(storage=spy_storage, get_storage_key=lambda _: "everybody")

    def handle(update, session):
        note(session, type(update).__name__)
        return ContinueHandling()

    way(quick_host.bot, case.kind, handle)
    everybody.attach(quick_host.bot)
    way(quick_host.bot, case.kind, handle)
    quick_host.deliver(case.parse())

    expected = {"seen": [[type(case.payload()).__name__]] * 2}
    assert ([], expected) == (quick_host.raised, everybody.peek("everybody"))


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_handlers_get_their_session_in_every_mode(
    way: Way, host: Host, sessions: Sessions[Session]
) -> None:
    """With and without class middlewares, in one thread or in workers."""
    way(host.bot, "message", lambda message, session: keep(message, session) or ContinueHandling())
    sessions.attach(host.bot)
    way(host.bot, "message", keep)

    host.deliver(said("one"), said("two", BORIS), said("three"))

    assert ([], {"seen": [["one"], ["one"], ["three"], ["three"]]}) == (
        host.raised,
        sessions.peek(KEY),
    )
    assert {"seen": [["two"], ["two"]]} == sessions.peek(BORIS["id"])


class LaterBot(TeleBot):
    """A bot of a telebot that knows one kind of update more."""

    def __init__(self) -> None:
        super().__init__(TOKEN, threaded=False)
        self.brewing_handlers: list[dict[str, Any]] = []

    def brewing_handler(self, **filters):
        return lambda handler: self.register_brewing_handler(handler, **filters) or handler

    def register_brewing_handler(self, callback, **filters):
        self.add_brewing_handler(self._build_handler_dict(callback, **filters))

    def add_brewing_handler(self, handler_dict):
        self.brewing_handlers.append(handler_dict)


def test_a_kind_of_a_later_telebot_is_attached_too(sessions: Sessions[Session]) -> None:
    """A new kind that is made like the others needs nothing new."""
    bot = LaterBot()
    bot.brewing_handler()(keep)

    sessions.attach(bot)
    bot.register_brewing_handler(keep)
    for handler in bot.brewing_handlers:
        handler["function"](said("tea").message)

    assert {"seen": [["tea"], ["tea"]]} == sessions.peek(KEY)


class ReportingBot(TeleBot):
    """A bot with a list of its own that has nothing to do with updates."""

    def __init__(self) -> None:
        super().__init__(TOKEN, threaded=False)
        self.error_handlers: list[Handler] = []

    def add_error_handler(self, name: str, handler: Handler) -> None:
        self.error_handlers.append(handler)


def test_lists_that_are_none_of_telebots_are_left_alone(sessions: Sessions[Session]) -> None:
    """A subclass may have `error_handlers` and `add_error_handler` of any shape."""
    bot = ReportingBot()
    bot.add_error_handler("before", ignore)

    sessions.attach(bot)
    bot.add_error_handler("after", keep)
    sessions.detach(bot)

    assert [ignore, keep] == bot.error_handlers


# How handlers take their session, and what else they get.


@pytest.mark.parametrize("handler", SESSION_PLACES, ids=signature_text)
def test_the_session_is_injected_whatever_its_place(
    handler: Handler, quick_host: Host, sessions: Sessions[Session]
) -> None:
    """By position, by keyword only, by position only, or with a default."""
    sessions.attach(quick_host.bot)
    quick_host.bot.message_handler()(handler)

    quick_host.deliver(said("one"), said("two"))

    assert ([], {"seen": [["one"], ["two"]]}) == (quick_host.raised, sessions.peek(KEY))


@pytest.mark.parametrize("handler", CALLABLES.values(), ids=CALLABLES)
def test_whatever_can_be_called_may_be_a_handler(
    handler: Handler, quick_host: Host, sessions: Sessions[Session]
) -> None:
    """Methods, partials and objects get it like functions, and are themselves when detached."""
    quick_host.bot.register_message_handler(handler)
    sessions.attach(quick_host.bot)

    quick_host.deliver(said("one"), said("two"))
    sessions.detach(quick_host.bot)

    assert ([], {"seen": [["one"], ["two"]]}) == (quick_host.raised, sessions.peek(KEY))
    assert quick_host.bot.message_handlers[0]["function"] is handler


def test_telebots_decorator_still_returns_the_function(sessions: Sessions[Session]) -> None:
    """What is decorated on an attached bot keeps its session parameter for those who call it."""
    bot = TeleBot(TOKEN, threaded=False)
    sessions.attach(bot)

    assert bot.message_handler()(keep) is keep


TAKING_DATA = [
    lambda message, data, session: note(session, data["tea"]),
    lambda message, session, data: note(session, data["tea"]),
    lambda message, data, bot, session: note(session, data["tea"]),
    lambda message, tea, session: note(session, tea),
    lambda message, *, session, tea: note(session, tea),
]


@pytest.mark.parametrize("handler", TAKING_DATA, ids=signature_text)
@pytest.mark.parametrize("threads", ["one-thread", "threads"])
def test_the_values_of_class_middlewares_pass_through(
    handler: Handler, threads: str, sessions: Sessions[Session]
) -> None:
    """`data` and values by name come as without a session, which no middleware can replace."""
    with contextmanager(make_host)(threads, "class-middlewares") as host:
        host.bot.setup_middleware(TeaMiddleware())
        sessions.attach(host.bot)
        host.bot.register_message_handler(handler)

        host.deliver(said("one"))

        assert ([], {"seen": [["sencha"]]}) == (host.raised, sessions.peek(KEY))


@pytest.mark.parametrize(
    "handler",
    [
        lambda message, session, bot: note(session, bot.token),
        lambda message, bot, session: note(session, bot.token),
        lambda message, *, bot, session: note(session, bot.token),
    ],
    ids=signature_text,
)
def test_the_bot_passes_through(handler: Handler, host: Host, sessions: Sessions[Session]) -> None:
    """`pass_bot=True` works in decorators and in `register_*`."""
    host.bot.message_handler(regexp="one", pass_bot=True)(handler)
    sessions.attach(host.bot)
    host.bot.register_message_handler(handler, regexp="two", pass_bot=True)

    host.deliver(said("one"), said("two"))

    assert ([], {"seen": [[TOKEN], [TOKEN]]}) == (host.raised, sessions.peek(KEY))


def test_continue_handling_passes_through(host: Host, sessions: Sessions[Session]) -> None:
    """The next handler gets the session as the last one left it; what is not reached gets none."""
    sessions.attach(host.bot)
    for answer in (ContinueHandling(), ContinueHandling(), None, None):
        host.bot.register_message_handler(
            lambda message, session, answer=answer: note(session, message.text) or answer
        )

    host.deliver(said("one"))

    assert ([], {"seen": [["one"]] * 3}) == (host.raised, sessions.peek(KEY))


def test_a_handler_that_raises_changes_nothing(host: Host, sessions: Sessions[Session]) -> None:
    """A handler that raises is rolled back, and its exception goes where it always went."""
    sessions.attach(host.bot)

    @host.bot.message_handler()
    def handle(message, session):
        note(session, message.text)
        if message.text == "bad":
            raise KeyError(message.text)

    host.deliver(said("good"), said("bad"))

    assert ([KeyError], {"seen": [["good"]]}) == (
        [type(error) for error in host.raised],
        sessions.peek(KEY),
    )
