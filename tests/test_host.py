"""The decorator in its host: however telebot calls a handler, the session is in its place."""

from __future__ import annotations

import functools
import inspect
import json
import pickle
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from cachetools import LRUCache
from counted import CountedStore
from host import Host, make_host
from telebot import TeleBot, apihelper, types
from telebot.handler_backends import BaseMiddleware, CancelUpdate, ContinueHandling, SkipHandler
from updates import (
    ANNA,
    BORIS,
    CASES,
    GROUP,
    TOKEN,
    UPDATE_IDS,
    UpdateCase,
    message as message_json,
    private,
    register,
)

from telesession import (
    LockTimeoutError,
    MemoryStorage,
    NoSessionKeyError,
    Session,
    SessionError,
    Sessions,
    Storage,
    StorageError,
    as_dict,
    by_chat,
    session_key,
    with_session,
)

if TYPE_CHECKING:
    from pathlib import Path

KEY = str(ANNA["id"])

Handler = Callable[..., Any]


@pytest.fixture(params=["one-thread", "threads"])
def host_with_middlewares(request: pytest.FixtureRequest) -> Iterator[Host]:
    yield from make_host(request.param, "class-middlewares")


@pytest.fixture(params=["one-thread", "threads"])
def host_without_middlewares(request: pytest.FixtureRequest) -> Iterator[Host]:
    yield from make_host(request.param)


@pytest.fixture
def storage() -> MemoryStorage:
    return MemoryStorage()


@pytest.fixture
def sessions(storage: MemoryStorage) -> Sessions[Session]:
    return Sessions(storage=storage)


def said(text: str, person: dict[str, Any] = ANNA, **fields: Any) -> types.Update:
    """A message, in the private chat with its sender unless `chat` says otherwise."""
    chat = fields.pop("chat", private(person))
    update = {"update_id": next(UPDATE_IDS), "message": message_json(chat, person, **fields)}
    update["message"]["text"] = text
    return types.Update.de_json(json.dumps(update))


def note(session: Any, *seen: Any) -> None:
    """What most handlers here do: put into their session what else they got."""
    session.setdefault("seen", []).append(list(seen))


def signature_text(handler: Handler) -> str:
    """A test id: how a handler takes its arguments."""
    return str(inspect.signature(handler)).replace(" ", "")


def is_free(storage: Storage, key: str) -> bool:
    """Whether nobody holds the lock of a key, which is not reentrant."""
    try:
        with storage.hold(key, 0):
            return True
    except LockTimeoutError:
        return False


# The session's place, and what may be a handler.


def session_last(message, session):
    note(session, message.text)


def session_first(session, message):
    note(session, message.text)


PLACES = [
    session_last,
    session_first,
    lambda message, *, session: note(session, message.text),
    lambda message, session=None: note(session, message.text),
    lambda message, session, /: note(session, message.text),
    lambda session, message, /: note(session, message.text),
    lambda message, /, session: note(session, message.text),
    lambda message, unit="cm", session=None, /: note(session, message.text),
    lambda message, session, unit="cm": note(session, message.text),
    lambda message, unit="cm", session=None: note(session, message.text),
    lambda message, unit="cm", session=None, scale=1: note(session, message.text),
    lambda message, *args, session: note(session, message.text),
    lambda message, session, *args, **kwargs: note(session, message.text),
    lambda *args, session: note(session, args[0].text),
]


@pytest.mark.parametrize("handler", PLACES, ids=signature_text)
def test_the_session_is_injected_whatever_its_place(
    handler: Handler, host: Host, sessions: Sessions[Session]
) -> None:
    """
    The session is injected whatever its place in the handler's parameters.
    """
    host.bot.message_handler()(sessions.with_session(handler))

    host.deliver(said("one"), said("two"))

    assert ([], {"seen": [["one"], ["two"]]}) == (host.raised, sessions.peek(KEY))


def decorated_method(sessions: Sessions[Session]) -> Handler:
    class Desk:
        @sessions.with_session
        def handle(self, message, session):
            assert isinstance(self, Desk)
            note(session, message.text)

    return Desk().handle


def decorated_method_with_the_session_first(sessions: Sessions[Session]) -> Handler:
    class Desk:
        @sessions.with_session
        def handle(self, session, message):
            assert isinstance(self, Desk)
            note(session, message.text)

    return Desk().handle


def decorated_method_with_a_keyword_only_session(sessions: Sessions[Session]) -> Handler:
    class Desk:
        @sessions.with_session
        def handle(self, message, *, session):
            assert isinstance(self, Desk)
            note(session, message.text)

    return Desk().handle


def inherited_method(sessions: Sessions[Session]) -> Handler:
    class Desk:
        @sessions.with_session
        def handle(self, message, session):
            note(session, message.text)

    class TeaDesk(Desk):
        def handle(self, message):
            return super().handle(message)

    return TeaDesk().handle


def decorated_bound_method(sessions: Sessions[Session]) -> Handler:
    class Desk:
        def handle(self, message, session):
            assert isinstance(self, Desk)
            note(session, message.text)

    return sessions.with_session(Desk().handle)


def static_method(sessions: Sessions[Session]) -> Handler:
    class Desk:
        @staticmethod
        @sessions.with_session
        def handle(message, session):
            note(session, message.text)

    return Desk().handle


def class_method(sessions: Sessions[Session]) -> Handler:
    class Desk:
        @classmethod
        @sessions.with_session
        def handle(cls, message, session):
            assert cls is Desk
            note(session, message.text)

    return Desk.handle


def callable_object(sessions: Sessions[Session]) -> Handler:
    class Greeter:
        def __call__(self, message, session):
            note(session, message.text)

    return sessions.with_session(Greeter())


def object_with_a_decorated_call(sessions: Sessions[Session]) -> Handler:
    class Greeter:
        @sessions.with_session
        def __call__(self, message, session):
            note(session, message.text)

    return Greeter()


def decorated_partial(sessions: Sessions[Session]) -> Handler:
    def handle(config, message, session, unit):
        assert (config, unit) == ("config", "cm")
        note(session, message.text)

    return sessions.with_session(functools.partial(handle, "config", unit="cm"))


def partial_of_a_decorated_function(sessions: Sessions[Session]) -> Handler:
    @sessions.with_session
    def handle(message, session, unit):
        assert unit == "cm"
        note(session, message.text)

    return functools.partial(handle, unit="cm")


def partial_with_a_session_of_its_own(sessions: Sessions[Session]) -> Handler:
    return sessions.with_session(functools.partial(session_last, session=None))


def partial_method(sessions: Sessions[Session]) -> Handler:
    class Desk:
        @sessions.with_session
        def measure(self, message, session, unit):
            assert unit == "cm"
            note(session, message.text)

        handle = functools.partialmethod(measure, unit="cm")

    return Desk().handle


def decorated_above_another_decorator(sessions: Sessions[Session]) -> Handler:
    @functools.wraps(session_last)
    def logged(*args, **kwargs):
        return session_last(*args, **kwargs)

    return sessions.with_session(logged)


def decorated_below_another_decorator(sessions: Sessions[Session]) -> Handler:
    handler = sessions.with_session(session_last)

    @functools.wraps(handler)
    def logged(*args, **kwargs):
        return handler(*args, **kwargs)

    return logged


KINDS = [
    decorated_method,
    decorated_method_with_the_session_first,
    decorated_method_with_a_keyword_only_session,
    inherited_method,
    decorated_bound_method,
    static_method,
    class_method,
    callable_object,
    object_with_a_decorated_call,
    decorated_partial,
    partial_of_a_decorated_function,
    partial_with_a_session_of_its_own,
    partial_method,
    decorated_above_another_decorator,
    decorated_below_another_decorator,
]


@pytest.mark.parametrize("make_handler", KINDS)
def test_any_kind_of_callable_may_be_a_handler(
    make_handler: Callable[[Sessions[Session]], Handler], host: Host, sessions: Sessions[Session]
) -> None:
    """
    The update is the first positional argument, or the second for a method.
    """
    host.bot.message_handler()(make_handler(sessions))

    host.deliver(said("one"), said("two"))

    assert ([], {"seen": [["one"], ["two"]]}) == (host.raised, sessions.peek(KEY))


@pytest.mark.parametrize(
    "decorate",
    [
        pytest.param(with_session, id="bare"),
        pytest.param(with_session(), id="called"),
        pytest.param(with_session(initial=dict), id="called-with-options"),
        pytest.param(Sessions().with_session, id="of-sessions"),
    ],
)
def test_decorators_that_name_no_storage_share_one(
    decorate: Callable[[Handler], Handler], host: Host
) -> None:
    """
    The decorator may be bare or have options; the default storage is one for the whole process.
    """
    person = {"id": 990_000_001, "is_bot": False, "first_name": "Nobody else"}
    default = Sessions()
    host.bot.message_handler()(decorate(session_last))
    try:
        host.deliver(said("one", person), said("two", person))

        assert ([], {"seen": [["one"], ["two"]]}) == (host.raised, default.peek(person["id"]))
    finally:
        default.delete(person["id"])


# How telebot calls.


class TeaMiddleware(BaseMiddleware):
    """Gives handlers a value of its own, and one that has the same name as our session."""

    def __init__(self) -> None:
        super().__init__()
        self.update_types = ["message"]
        self.answer: Any = None
        self.on_done: Callable[[Exception | None], object] = lambda _: None

    def pre_process(self, message: types.Message, data: dict[str, Any]) -> Any:
        data["tea"] = "sencha"
        data["session"] = "a session of a database"
        return self.answer

    def post_process(
        self, message: types.Message, data: dict[str, Any], exception: Exception | None
    ) -> None:
        self.on_done(exception)


class Shop:
    """Handlers that are methods, to be decorated on an instance."""

    def take_data(self, message, data, session):
        note(session, message.text, data["tea"])

    def take_bot(self, message, bot, session):
        note(session, message.text, bot.token)

    def take_step(self, message, session, unit, *, scale):
        note(session, message.text, unit, scale)


TAKING_DATA = [
    lambda message, session, data: note(session, message.text, data["tea"]),
    lambda message, data, session: note(session, message.text, data["tea"]),
    lambda session, message, data: note(session, message.text, data["tea"]),
    lambda message, data, *, session: note(session, message.text, data["tea"]),
    lambda message, session, /, data: note(session, message.text, data["tea"]),
    Shop().take_data,
]
TAKING_DATA_AND_BOT = [
    lambda message, data, bot, session: note(session, message.text, data["tea"], bot.token),
    lambda message, data, session, bot: note(session, message.text, data["tea"], bot.token),
    lambda message, session, data, bot: note(session, message.text, data["tea"], bot.token),
    lambda message, session, /, data, bot: note(session, message.text, data["tea"], bot.token),
    lambda session, message, data, bot: note(session, message.text, data["tea"], bot.token),
    lambda message, data, *, session, bot: note(session, message.text, data["tea"], bot.token),
]
TAKING_A_VALUE = [
    lambda message, session, tea: note(session, message.text, tea),
    lambda message, tea, session: note(session, message.text, tea),
    lambda session, message, tea: note(session, message.text, tea),
    lambda message, *, tea, session: note(session, message.text, tea),
    lambda message, session, milk=None, tea=None: note(session, message.text, tea),
]


@pytest.mark.parametrize("handler", [*TAKING_DATA, *TAKING_A_VALUE], ids=signature_text)
def test_the_values_of_class_middlewares_pass_through(
    handler: Handler, host_with_middlewares: Host, sessions: Sessions[Session]
) -> None:
    """
    Everything else passes through: `data`, and values of middlewares by name.
    """
    host = host_with_middlewares
    host.bot.setup_middleware(TeaMiddleware())
    host.bot.message_handler()(sessions.with_session(handler))

    host.deliver(said("one"))

    assert ([], {"seen": [["one", "sencha"]]}) == (host.raised, sessions.peek(KEY))


@pytest.mark.parametrize("handler", TAKING_DATA_AND_BOT, ids=signature_text)
def test_data_passes_through_together_with_the_bot(
    handler: Handler, host_with_middlewares: Host, sessions: Sessions[Session]
) -> None:
    """
    Everything else passes through: telebot gives `bot` to whoever takes `data` and `bot`.
    """
    host = host_with_middlewares
    host.bot.setup_middleware(TeaMiddleware())
    host.bot.message_handler()(sessions.with_session(handler))

    host.deliver(said("one"))

    assert ([], {"seen": [["one", "sencha", TOKEN]]}) == (host.raised, sessions.peek(KEY))


def test_functools_wraps_alone_breaks_data(host_with_middlewares: Host) -> None:
    """
    `functools.wraps` alone breaks `(message, data, session)`: telebot counts three parameters.
    """
    host = host_with_middlewares
    calls = []

    def handle(message, data, session):
        calls.append(data)

    @functools.wraps(handle)
    def wrapper(*args, **kwargs):
        return handle(*args, session={}, **kwargs)

    host.bot.setup_middleware(TeaMiddleware())
    host.bot.message_handler()(wrapper)

    host.deliver(said("one"))

    assert ([], [TypeError]) == (calls, [type(error) for error in host.raised])


TAKING_BOT = [
    lambda message, session, bot: note(session, message.text, bot.token),
    lambda message, bot, session: note(session, message.text, bot.token),
    lambda session, message, bot: note(session, message.text, bot.token),
    lambda message, *, bot, session: note(session, message.text, bot.token),
    lambda message, session, /, bot: note(session, message.text, bot.token),
    lambda message, session=None, bot=None: note(session, message.text, bot.token),
    Shop().take_bot,
]


@pytest.mark.parametrize("handler", TAKING_BOT, ids=signature_text)
def test_the_bot_passes_through(handler: Handler, host: Host, sessions: Sessions[Session]) -> None:
    """
    Everything else passes through: `pass_bot=True`, in decorators and in `register_` methods.
    """
    wrapper = sessions.with_session(handler)
    host.bot.message_handler(regexp="one", pass_bot=True)(wrapper)
    host.bot.register_message_handler(wrapper, regexp="two", pass_bot=True)

    host.deliver(said("one"), said("two"))

    assert [] == host.raised
    assert {"seen": [["one", TOKEN], ["two", TOKEN]]} == sessions.peek(KEY)


def test_values_of_middlewares_and_the_bot_pass_through_together(
    host_with_middlewares: Host, sessions: Sessions[Session]
) -> None:
    """
    A handler may take the session, a middleware's value by name, and the bot of `pass_bot`.
    """
    host = host_with_middlewares

    @sessions.with_session
    def handle(message, tea, session, bot):
        note(session, message.text, tea, bot.token)

    host.bot.setup_middleware(TeaMiddleware())
    host.bot.register_message_handler(handle, pass_bot=True)

    host.deliver(said("one"))

    assert ([], {"seen": [["one", "sencha", TOKEN]]}) == (host.raised, sessions.peek(KEY))


def test_an_argument_named_session_passes_where_the_parameter_is_positional_only(
    sessions: Sessions[Session],
) -> None:
    """
    Everything else passes through, even a keyword `session` where `**kwargs` can take it.
    """

    @sessions.with_session
    def handle(message, session, /, **kwargs):
        note(session, message.text, kwargs["session"])

    handle(said("one").message, session="a session of a database")

    assert {"seen": [["one", "a session of a database"]]} == sessions.peek(KEY)


def test_name_leaves_the_name_session_to_a_middleware(
    host_with_middlewares: Host, storage: MemoryStorage
) -> None:
    """
    `name` is the handler's parameter that receives the session; `session` may be another value.
    """
    host, seen = host_with_middlewares, []
    mine = Sessions(storage=storage, name="mine")

    @mine.with_session
    def handle(message, session, mine):
        note(mine, message.text)
        seen.append(session)

    host.bot.setup_middleware(TeaMiddleware())
    host.bot.message_handler()(handle)

    host.deliver(said("one"))

    assert ([], {"seen": [["one"]]}) == (host.raised, mine.peek(KEY))
    assert ["a session of a database"] == seen


def test_a_middleware_sees_the_saved_session_after_the_handler(
    host_with_middlewares: Host, sessions: Sessions[Session], storage: MemoryStorage
) -> None:
    """
    When telebot calls `post_process`, the session is saved and free.
    """
    host, seen = host_with_middlewares, []
    middleware = TeaMiddleware()
    middleware.on_done = lambda error: seen.append(
        (error, sessions.peek(KEY), is_free(storage, KEY))
    )
    host.bot.setup_middleware(middleware)
    host.bot.message_handler()(sessions.with_session(session_last))

    host.deliver(said("one"))

    assert [(None, {"seen": [["one"]]}, True)] == seen


@pytest.mark.parametrize("answer", [SkipHandler(), CancelUpdate()], ids=["skip", "cancel"])
def test_a_middleware_that_keeps_the_update_away_keeps_the_session_away(
    answer: Any, host_with_middlewares: Host, sessions: Sessions[Session]
) -> None:
    """
    Where a middleware skips the handler, no session is made.
    """
    host = host_with_middlewares
    middleware = TeaMiddleware()
    middleware.answer = answer
    host.bot.setup_middleware(middleware)
    host.bot.message_handler()(sessions.with_session(session_last))

    host.deliver(said("one"))

    assert ([], None) == (host.raised, sessions.peek(KEY))


def test_function_middlewares_reach_the_handler_through_the_update(
    monkeypatch: pytest.MonkeyPatch, sessions: Sessions[Session]
) -> None:
    """
    What a function middleware does to the update is there when the handler gets its session.
    """
    monkeypatch.setattr(apihelper, "ENABLE_MIDDLEWARE", True)
    host = Host()

    @host.bot.middleware_handler(update_types=["message"])
    def brew(bot, message):
        message.text = f"{message.text} with milk"

    host.bot.message_handler()(sessions.with_session(session_last))

    host.deliver(said("tea"))

    assert ([], {"seen": [["tea with milk"]]}) == (host.raised, sessions.peek(KEY))


def test_handlers_in_a_chain_see_what_those_before_them_saved(
    host: Host, sessions: Sessions[Session]
) -> None:
    """
    `ContinueHandling` passes through: the next handler gets the session as the last one left it.
    """

    @host.bot.message_handler()
    @sessions.with_session
    def first(message, session):
        session.chain = ["first"]
        return ContinueHandling()

    @host.bot.message_handler()
    @sessions.with_session
    def second(message, session):
        session.chain.append("second")
        return ContinueHandling()

    @host.bot.message_handler()
    @sessions.with_session
    def third(message, session):
        session.chain.append("third")

    @host.bot.message_handler()
    @sessions.with_session
    def never(message, session):
        session.chain.append("never")

    host.deliver(said("one"))

    assert ([], {"chain": ["first", "second", "third"]}) == (host.raised, sessions.peek(KEY))


KIND_CASES = list({case.kind: case for case in CASES}.values())


@pytest.mark.parametrize("case", KIND_CASES, ids=lambda case: case.kind)
@pytest.mark.parametrize(
    "use_class_middlewares", [False, True], ids=["no-middlewares", "class-middlewares"]
)
def test_handlers_of_every_kind_may_be_registered_without_a_decorator(
    case: UpdateCase, use_class_middlewares: bool, storage: MemoryStorage
) -> None:
    """
    Works the same in handlers of every kind, registered with `register_*`.
    """
    host = Host(use_class_middlewares=use_class_middlewares)
    everybody = Sessions(storage=storage, get_storage_key=lambda _: "everybody")

    @everybody.with_session
    def handle(update, session):
        session.setdefault("updates", []).append(type(update).__name__)

    register(host.bot, case.kind, handle)

    host.deliver(case.parse(), case.parse())

    expected = {"updates": [type(case.payload()).__name__] * 2}
    assert ([], expected) == (host.raised, everybody.peek("everybody"))


RESULTS = [None, 0, "text", ContinueHandling(), ["a", "list"], NotImplemented]


@pytest.mark.parametrize("result", RESULTS, ids=lambda result: type(result).__name__)
def test_the_return_value_passes_through(result: Any, sessions: Sessions[Session]) -> None:
    """
    The wrapper returns the very object that the handler returned.
    """
    handler = sessions.with_session(lambda message, session: result)

    assert handler(said("one").message) is result


# Next steps and replies.


STEPS = [
    lambda message, session, unit, scale=1: note(session, message.text, unit, scale),
    lambda message, unit, session, *, scale: note(session, message.text, unit, scale),
    lambda message, unit, scale=1, *, session: note(session, message.text, unit, scale),
    lambda message, unit, scale=1, session=None: note(session, message.text, unit, scale),
    lambda session, message, unit, scale: note(session, message.text, unit, scale),
    lambda message, session, *args, **kw: note(session, message.text, *args, *kw.values()),
    lambda message, *args, session, **kw: note(session, message.text, *args, *kw.values()),
    lambda message, session, /, unit, **kw: note(session, message.text, unit, *kw.values()),
    Shop().take_step,
]


@pytest.mark.parametrize("step", STEPS, ids=signature_text)
def test_next_steps_get_their_extra_arguments(
    step: Handler, host: Host, sessions: Sessions[Session]
) -> None:
    """
    The `*args, **kwargs` of next-step handlers pass through, and the session with them.
    """
    asked = said("how tall?").message
    host.bot.register_next_step_handler(asked, sessions.with_session(step), "cm", scale=2)

    host.deliver(said("180"))

    assert ([], {"seen": [["180", "cm", 2]]}) == (host.raised, sessions.peek(KEY))


@pytest.mark.parametrize("step", STEPS, ids=signature_text)
def test_reply_handlers_get_their_extra_arguments(
    step: Handler, host: Host, sessions: Sessions[Session]
) -> None:
    """
    The `*args, **kwargs` of reply handlers pass through, and the session with them.
    """
    asked = message_json(private(ANNA), ANNA, message_id=77)
    host.bot.register_for_reply_by_message_id(77, sessions.with_session(step), "cm", scale=2)

    host.deliver(said("180", reply_to_message=asked))

    assert ([], {"seen": [["180", "cm", 2]]}) == (host.raised, sessions.peek(KEY))


def test_a_form_of_several_steps_keeps_one_session(host: Host, sessions: Sessions[Session]) -> None:
    """
    A handler may register the next one, and all of them have the session of their sender.
    """

    @host.bot.message_handler(commands=["form"])
    @sessions.with_session
    def begin(message, session):
        session.answers = []
        host.bot.register_next_step_handler(message, ask_age, "name")

    @sessions.with_session
    def ask_age(message, question, session):
        session.answers.append((question, message.text))
        host.bot.register_next_step_handler(message, end, question="age")

    @sessions.with_session
    def end(message, session, *, question):
        session.answers.append((question, message.text))

    host.deliver(said("/form"), said("Anna"), said("31"))

    assert ([], {"answers": [("name", "Anna"), ("age", "31")]}) == (host.raised, sessions.peek(KEY))


# What telebot saves to a file.

saved_sessions: Sessions[Session] = Sessions(storage=MemoryStorage())


@saved_sessions.with_session
def saved_step(message, session, unit, scale=1):
    note(session, message.text, unit, scale)


@saved_sessions.with_session
@Sessions(storage=MemoryStorage(), name="chat", get_storage_key=by_chat).with_session
def saved_step_with_two_sessions(message, session, chat, unit, scale=1):
    note(session, message.text, unit, scale)


class SavedOffice:
    @saved_sessions.with_session
    def step(self, message, session, unit, scale=1):
        note(session, message.text, unit, scale)


SAVED_STEPS = [
    pytest.param(saved_step, id="function"),
    pytest.param(saved_step_with_two_sessions, id="two-sessions"),
    pytest.param(SavedOffice().step, id="bound-method"),
    pytest.param(functools.partial(saved_step, scale=2), id="partial"),
]


@pytest.fixture
def forget_saved_session() -> Iterator[None]:
    yield
    saved_sessions.delete(KEY)


@pytest.mark.usefixtures("forget_saved_session")
@pytest.mark.parametrize("step", SAVED_STEPS)
def test_saved_next_steps_are_reloaded_from_their_file(
    step: Handler, host: Host, tmp_path: Path
) -> None:
    """
    The wrapper stays picklable by name: telebot can save next-step handlers to a file.
    """
    path = str(tmp_path / "steps" / "step.save")
    former = TeleBot(TOKEN, threaded=False)
    former.enable_save_next_step_handlers(delay=0, filename=path)
    former.register_next_step_handler(said("how tall?").message, step, "cm", scale=2)

    host.bot.enable_save_next_step_handlers(delay=0, filename=path)
    host.bot.load_next_step_handlers(path)
    host.deliver(said("180"))

    assert ([], {"seen": [["180", "cm", 2]]}) == (host.raised, saved_sessions.peek(KEY))


@pytest.mark.usefixtures("forget_saved_session")
def test_saved_reply_handlers_are_reloaded_from_their_file(host: Host, tmp_path: Path) -> None:
    """
    The wrapper stays picklable by name: telebot can save reply handlers to a file, too.
    """
    path = str(tmp_path / "replies" / "reply.save")
    former = TeleBot(TOKEN, threaded=False)
    former.enable_save_reply_handlers(delay=0, filename=path)
    former.register_for_reply_by_message_id(77, saved_step, "cm", scale=2)

    host.bot.enable_save_reply_handlers(delay=0, filename=path)
    host.bot.load_reply_handlers(path)
    asked = message_json(private(ANNA), ANNA, message_id=77)
    host.deliver(said("180", reply_to_message=asked))

    assert ([], {"seen": [["180", "cm", 2]]}) == (host.raised, saved_sessions.peek(KEY))


def test_a_wrapper_is_pickled_as_its_name() -> None:
    """
    The wrapper stays picklable by name: what comes back is the same object, not a copy.
    """
    payload = pickle.dumps(saved_step)

    assert pickle.loads(payload) is saved_step
    assert b"saved_step" in payload


STEPS_MODULE = """
    from telebot import TeleBot

    from telesession import MemoryStorage, Sessions

    sessions = Sessions(storage=MemoryStorage())
    bot = TeleBot("1:offline", threaded=False)
    bot.enable_save_next_step_handlers(delay=0, filename="./saved/step.save")

    @sessions.with_session
    def ask_height(message, name, session, *, unit):
        session.answers = [name, message.text, unit]

    class Office:
        desk = "reception"

        @sessions.with_session
        def ask_age(self, message, session, unit):
            session.age = [self.desk, message.text, unit]

    office = Office()
"""

SAVING_PROCESS = """
    import sys

    from telebot import types

    import steps

    asked = types.Update.de_json(sys.argv[1]).message
    steps.bot.register_next_step_handler(asked, steps.ask_height, "Anna", unit="cm")
    steps.bot.register_next_step_handler(asked, steps.office.ask_age, "years")
"""

LOADING_PROCESS = """
    import json
    import sys

    from telebot import types

    import steps

    steps.bot.load_next_step_handlers("./saved/step.save")
    steps.bot.process_new_updates([types.Update.de_json(sys.argv[1])])
    print(json.dumps(steps.sessions.peek(sys.argv[2])))
"""


def test_a_new_process_goes_on_with_the_saved_next_steps(tmp_path: Path) -> None:
    """
    Next-step handlers that one process saved get their session in the process that loads them.
    """
    (tmp_path / "steps.py").write_text(textwrap.dedent(STEPS_MODULE))

    def run(program: str, text: str) -> str:
        message = message_json(private(ANNA), ANNA) | {"text": text}
        update = json.dumps({"update_id": next(UPDATE_IDS), "message": message})
        command = [sys.executable, "-W", "error", "-c", textwrap.dedent(program), update, KEY]
        return subprocess.run(
            command, cwd=tmp_path, check=True, stdout=subprocess.PIPE, text=True
        ).stdout

    run(SAVING_PROCESS, "ask me")
    loaded = json.loads(run(LOADING_PROCESS, "180"))

    expected = {"answers": ["Anna", "180", "cm"], "age": ["reception", "180", "years"]}
    assert expected == loaded


# Exceptions.


class OutOfTeaError(Exception):
    """What the handlers of these tests raise."""


def test_an_exception_reaches_the_exception_handler_as_it_is(
    host: Host, sessions: Sessions[Session], storage: MemoryStorage
) -> None:
    """
    An unhandled exception passes through unchanged; nothing is saved, and the session is free.
    """
    error = OutOfTeaError("no sencha")

    @host.bot.message_handler()
    @sessions.with_session
    def handle(message, session):
        note(session, message.text)
        raise error

    host.deliver(said("one"))

    assert len(host.raised) == 1
    assert host.raised[0] is error
    assert (None, None, ("no sencha",)) == (error.__cause__, error.__context__, error.args)
    assert not hasattr(error, "__notes__")
    assert (None, True) == (sessions.peek(KEY), is_free(storage, KEY))


def test_an_exception_reaches_the_middleware_too(
    host_with_middlewares: Host, sessions: Sessions[Session], storage: MemoryStorage
) -> None:
    """
    Telebot gives `post_process` the very exception of the handler, whose session is free by then.
    """
    host, seen, error = host_with_middlewares, [], OutOfTeaError("no sencha")
    middleware = TeaMiddleware()
    middleware.on_done = lambda found: seen.append((found, is_free(storage, KEY)))
    host.bot.setup_middleware(middleware)

    @host.bot.message_handler()
    @sessions.with_session
    def handle(message, session):
        note(session, message.text)
        raise error

    host.deliver(said("one"))

    assert [(error, True)] == seen


def test_an_exception_leaves_a_bot_that_does_not_handle_it(sessions: Sessions[Session]) -> None:
    """
    Without an exception handler the handler's exception leaves `process_new_updates`.
    """
    error = OutOfTeaError("no sencha")
    bot = TeleBot(TOKEN, threaded=False)

    @bot.message_handler()
    @sessions.with_session
    def handle(message, session):
        raise error

    with pytest.raises(OutOfTeaError) as caught:
        bot.process_new_updates([said("one")])

    assert caught.value is error


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, GeneratorExit])
@pytest.mark.parametrize("commit_on_error", [False, True])
def test_an_interrupt_passes_through_and_saves_nothing(
    kind: type[BaseException], commit_on_error: bool, storage: MemoryStorage
) -> None:
    """
    What is no `Exception` leaves the bot as it is and saves nothing, whatever `commit_on_error`.
    """
    sessions = Sessions(storage=storage, commit_on_error=commit_on_error)
    error = kind()
    host = Host()

    @host.bot.message_handler()
    @sessions.with_session
    def handle(message, session):
        note(session, message.text)
        raise error

    with pytest.raises(kind) as caught:
        host.deliver(said("one"))

    assert caught.value is error
    assert (None, True) == (sessions.peek(KEY), is_free(storage, KEY))


# What the wrapper looks like.


def published_plain(message: types.Message, data: dict[str, Any], bot: Any = None) -> int: ...


def published_last(
    message: types.Message, data: dict[str, Any], bot: Any = None, session: Any = None
) -> int: ...


def published_first(
    session: Any, message: types.Message, data: dict[str, Any], bot: Any = None
) -> int: ...


def published_middle(
    message: types.Message, session: Any, data: dict[str, Any], bot: Any = None
) -> int: ...


def published_keyword_only(
    message: types.Message, data: dict[str, Any], bot: Any = None, *, session: Any
) -> int: ...


def kinds_plain(message, /, data, *args, bot=None, **kwargs): ...


def kinds_positional_only(message, session, /, data, *args, bot=None, **kwargs): ...


def kinds_keyword_only(message, /, data, *args, session, bot=None, **kwargs): ...


@pytest.mark.parametrize(
    ("handler", "plain"),
    [
        (published_last, published_plain),
        (published_first, published_plain),
        (published_middle, published_plain),
        (published_keyword_only, published_plain),
        (kinds_positional_only, kinds_plain),
        (kinds_keyword_only, kinds_plain),
        (lambda session, message: None, lambda message: None),
        (functools.partial(published_last, bot=None), functools.partial(published_plain, bot=None)),
    ],
)
def test_the_published_signature_has_no_session(
    handler: Handler, plain: Handler, sessions: Sessions[Session]
) -> None:
    """
    The wrapper publishes a signature without the session parameter, and else the handler's own.
    """
    wrapper = sessions.with_session(handler)

    assert inspect.signature(plain) == inspect.signature(wrapper)
    assert inspect.signature(plain) == inspect.signature(wrapper, follow_wrapped=False)


def test_the_published_signature_of_a_method_has_neither_self_nor_session(
    sessions: Sessions[Session],
) -> None:
    """
    Telebot sees of a decorated method what it may pass, wherever the session is.
    """

    class Desk:
        @sessions.with_session
        def handle(self, message, session, data): ...

    assert ["message", "data"] == list(inspect.signature(Desk().handle).parameters)


def test_the_wrapper_is_what_functools_wraps_makes(sessions: Sessions[Session]) -> None:
    """
    Name, qualified name, module, docstring and attributes are the handler's; it is `__wrapped__`.
    """

    def greet(message, session):
        """Greets."""

    greet.calls = 3
    wrapper = sessions.with_session(greet)

    names = ("__name__", "__qualname__", "__module__", "__doc__", "calls")
    assert [getattr(greet, name) for name in names] == [getattr(wrapper, name) for name in names]
    assert wrapper.__wrapped__ is greet
    assert inspect.unwrap(wrapper) is greet


@dataclass
class Cart:
    items: list[str] = field(default_factory=list)

    def add(self, item: str) -> int:
        self.items.append(item)
        return len(self.items)


def test_a_unit_test_may_call_the_handler_itself(storage: MemoryStorage) -> None:
    """
    `handler.__wrapped__` takes a hand-made session, and no storage has anything to do with it.
    """

    @with_session(storage=storage)
    def count(message, session):
        session.counter += 1
        return session.counter

    @with_session(storage=storage, initial=Cart)
    def add(message, session):
        return session.add(message.text)

    session, cart = Session({"counter": 1}), Cart(["milk"])

    assert (2, {"counter": 2}) == (count.__wrapped__(said("one").message, session), session)
    assert (2, Cart(["milk", "tea"])) == (add.__wrapped__(said("tea").message, cart), cart)
    assert [] == list(storage.keys())


# Calls that telebot does not make.


def test_the_update_may_be_passed_by_keyword(sessions: Sessions[Session]) -> None:
    """
    A caller may name the update's parameter, alone or among others, in functions and methods.
    """

    class Desk:
        @sessions.with_session
        def handle(self, message, session, unit="cm"):
            note(session, message.text)
            return unit

    handle = sessions.with_session(session_last)
    handle_first = sessions.with_session(session_first)

    handle(message=said("one").message)
    handle_first(message=said("two").message)
    unit = Desk().handle(unit="inch", message=said("three").message)

    assert (unit, {"seen": [["one"], ["two"], ["three"]]}) == ("inch", sessions.peek(KEY))


CALLED_WRONGLY = [
    session_last,
    session_first,
    lambda message, *, session: None,
    lambda message, session=None: None,
    lambda message, session, unit="cm": None,
]


@pytest.mark.parametrize("handler", CALLED_WRONGLY, ids=signature_text)
def test_a_call_without_the_update_says_so(
    handler: Handler, sessions: Sessions[Session], storage: MemoryStorage
) -> None:
    """
    A call without the update is a `TypeError` that says so, and stores nothing.
    """
    with pytest.raises(TypeError, match="without the update"):
        sessions.with_session(handler)()

    assert [] == list(storage.keys())


def test_a_method_called_without_the_update_says_so(sessions: Sessions[Session]) -> None:
    """
    The update is the second argument for a method: the instance is not taken for one.
    """

    class Desk:
        @sessions.with_session
        def handle(self, message, session): ...

    with pytest.raises(TypeError, match=r"handle\(\).*without the update"):
        Desk().handle()


@pytest.mark.parametrize("handler", CALLED_WRONGLY, ids=signature_text)
@pytest.mark.parametrize("by_keyword", [False, True], ids=["update-by-position", "update-by-name"])
def test_a_session_of_the_caller_is_refused(
    handler: Handler, by_keyword: bool, sessions: Sessions[Session], storage: MemoryStorage
) -> None:
    """
    A caller that passes a session of its own gets a `TypeError` that names the parameter.
    """
    message = said("one").message
    args, kwargs = ((), {"message": message}) if by_keyword else ((message,), {})

    with pytest.raises(TypeError, match="'session'"):
        sessions.with_session(handler)(*args, session=Session(), **kwargs)

    assert ([], True) == (list(storage.keys()), is_free(storage, KEY))


# Two sessions, and handlers that call handlers.


def play(chat: Any, user: Any, tea: str) -> None:
    note(chat, session_key(user))
    note(user, tea)


SHARED_BY_TWO = [
    lambda message, data, chat, user: play(chat, user, data["tea"]),
    lambda message, user, chat, data: play(chat, user, data["tea"]),
    lambda message, user, data, *, chat: play(chat, user, data["tea"]),
    lambda message, data, *, user, chat: play(chat, user, data["tea"]),
    lambda message, chat, user, /, data: play(chat, user, data["tea"]),
    lambda chat, message, data, user: play(chat, user, data["tea"]),
    lambda chat, user, message, data: play(chat, user, data["tea"]),
]


@pytest.mark.parametrize("order", ["user-above-chat", "chat-above-user"])
@pytest.mark.parametrize("handler", SHARED_BY_TWO, ids=signature_text)
def test_two_decorators_with_two_names_give_two_sessions(
    handler: Handler, order: str, host_with_middlewares: Host, storage: MemoryStorage
) -> None:
    """
    Two stacked decorators with two names give two sessions, in either order.
    """
    host = host_with_middlewares
    user = Sessions(storage=storage, name="user")
    chat = Sessions(storage=storage, name="chat", get_storage_key=by_chat)
    above, below = (user, chat) if order == "user-above-chat" else (chat, user)
    host.bot.setup_middleware(TeaMiddleware())
    host.bot.message_handler()(above.with_session(below.with_session(handler)))

    host.deliver(said("one", ANNA, chat=GROUP), said("two", BORIS, chat=GROUP))

    boris, group = str(BORIS["id"]), by_chat(said("x", chat=GROUP).message)
    assert [] == host.raised
    assert {"seen": [[KEY], [boris]]} == chat.peek(group)
    assert [{"seen": [["sencha"]]}] * 2 == [user.peek(KEY), user.peek(boris)]


def test_two_sessions_of_a_method_are_two(storage: MemoryStorage) -> None:
    """
    Two stacked decorators may be on a method.
    """
    user = Sessions(storage=storage, name="user")
    chat = Sessions(storage=storage, name="chat", get_storage_key=by_chat)

    class Game:
        @user.with_session
        @chat.with_session
        def handle(self, message, chat, user):
            play(chat, user, "sencha")

    Game().handle(said("one").message)

    assert ({"seen": [["sencha"]]}, {"seen": [[KEY]]}) == (user.peek(KEY), chat.peek(f"chat:{KEY}"))


def test_two_decorators_with_one_name_are_refused(sessions: Sessions[Session]) -> None:
    """
    A second decorator with the same name finds no parameter left for its session.
    """
    with pytest.raises(TypeError, match="no parameter 'session'"):
        sessions.with_session(sessions.with_session(session_last))


def test_two_decorators_with_one_key_give_one_session_under_two_names(
    host: Host, storage: MemoryStorage
) -> None:
    """
    Two decorators for the same storage and key give the same object, whose lock is taken once.
    """
    seen = []

    @host.bot.message_handler()
    @Sessions(storage=storage, name="first", lock_timeout=0).with_session
    @Sessions(storage=storage, name="second", lock_timeout=0).with_session
    def handle(message, first, second):
        seen.append(first is second)
        first.counter = 1
        second.counter += 1

    host.deliver(said("one"))

    assert ([], [True], {"counter": 2}) == (host.raised, seen, Sessions(storage=storage).peek(KEY))


def test_a_handler_that_calls_another_shares_its_session(host: Host) -> None:
    """
    A decorated handler that calls another one for the same storage and key, in the same thread,
    shares its session: the same object if both want the same type. The outermost call commits.
    """
    store = CountedStore()
    sessions = Sessions(storage=MemoryStorage(store), lock_timeout=0)
    seen = []

    @sessions.with_session
    def inner(message, session, unit):
        session.log.append(unit)
        seen.append(session)
        return len(session.log)

    @host.bot.message_handler()
    @sessions.with_session
    def outer(message, session):
        session.log = ["outer"]
        session.length = inner(message, unit="cm")
        seen.append(session)
        session.log.append(sessions.peek(KEY))

    host.deliver(said("one"))

    assert [] == host.raised
    assert seen[0] is seen[1]
    assert {"log": ["outer", "cm", None], "length": 2} == sessions.peek(KEY)
    assert 1 == store.writes


@dataclass
class Order:
    items: list[str] = field(default_factory=list)
    note: str = ""


def test_handlers_of_two_types_share_the_fields(host: Host, storage: MemoryStorage) -> None:
    """
    Handlers that share a session but want different types have two views of the same fields.
    """
    seen = []

    @with_session(storage=storage, initial=Order, lock_timeout=0)
    def take_order(message, session):
        session.items.append("milk")
        session.note = message.text
        return session

    @with_session(storage=storage, lock_timeout=0)
    def take_plain(message, session):
        session.items.append("sugar")
        return session

    @host.bot.message_handler()
    @with_session(storage=storage, initial=Cart, lock_timeout=0)
    def take_cart(message, session):
        session.items = ["tea"]
        order, plain = take_order(message), take_plain(message)
        seen.extend([type(session).__name__, type(order).__name__, type(plain).__name__])
        seen.append(session.items is order.items is plain.items)
        seen.append(take_order(message) is order)

    host.deliver(said("no rush"))

    assert ([], ["Cart", "Order", "Session", True, True]) == (host.raised, seen)
    expected = {"items": ["tea", "milk", "sugar", "milk"], "note": "no rush"}
    assert expected == Sessions(storage=storage).peek(KEY)


def test_an_inner_handler_commits_nothing_that_the_outer_takes_back(
    host: Host, sessions: Sessions[Session]
) -> None:
    """
    The outermost call commits: if it raises, what the inner handlers did is undone with the rest.
    """

    @sessions.with_session
    def inner(message, session):
        note(session, message.text)

    @host.bot.message_handler()
    @sessions.with_session
    def outer(message, session):
        inner(message)
        raise OutOfTeaError

    host.deliver(said("one"))

    assert ([OutOfTeaError], None) == ([type(e) for e in host.raised], sessions.peek(KEY))


@pytest.mark.parametrize("difference", ["storage", "prefix", "key"])
def test_an_inner_handler_of_another_record_has_its_own_session(
    difference: str, host: Host, storage: MemoryStorage
) -> None:
    """
    What makes it another record, storage, prefix or key, makes it another session.
    """
    options: dict[str, dict[str, Any]] = {
        "storage": {"storage": MemoryStorage()},
        "prefix": {"storage": storage, "prefix": "other:"},
        "key": {"storage": storage, "get_storage_key": by_chat},
    }
    outer_sessions = Sessions(storage=storage)
    inner_sessions = Sessions(**options[difference])

    @inner_sessions.with_session
    def inner(message, session):
        session.place = "inner"

    @host.bot.message_handler()
    @outer_sessions.with_session
    def outer(message, session):
        session.place = "outer"
        inner(message)

    host.deliver(said("one"))

    inner_key = by_chat(said("x").message) if difference == "key" else KEY
    assert [] == host.raised
    assert {"place": "outer"} == outer_sessions.peek(KEY)
    assert {"place": "inner"} == inner_sessions.peek(inner_key)


def test_an_inner_handler_in_another_thread_waits_for_the_outer(storage: MemoryStorage) -> None:
    """
    Only the same thread shares: two handlers never hold the same session at once.
    """
    host, raised = Host(), []

    @with_session(storage=storage, lock_timeout=0)
    def inner(message, session):
        session.place = "inner"

    def call_inner(message):
        with pytest.raises(LockTimeoutError) as caught:
            inner(message)
        raised.append(caught.value.key)

    @host.bot.message_handler()
    @with_session(storage=storage)
    def outer(message, session):
        thread = threading.Thread(target=call_inner, args=[message])
        thread.start()
        thread.join()

    host.deliver(said("one"))

    assert ([], [KEY]) == (host.raised, raised)


# Handlers that are refused.


async def async_handler(message, session): ...


async def async_generator(message, session):
    yield


def generator(message, session):
    yield


class AsyncGreeter:
    async def __call__(self, message, session): ...

    async def greet(self, message, session): ...


class GeneratorGreeter:
    def __call__(self, message, session):
        yield


def no_parameter(message): ...


def only_keywords(message, **kwargs): ...


def only_arguments(message, *args): ...


def keywords_named_session(message, **session): ...


def arguments_named_session(message, *session): ...


def misspelt(message, sesion): ...


def no_update(session): ...


REFUSED_HANDLERS = [
    (async_handler, ["async_handler", "blocking", "def async_handler", "without async"]),
    (async_generator, ["async_generator", "blocking", "def async_generator", "without async"]),
    (AsyncGreeter(), ["AsyncGreeter", "without async"]),
    (AsyncGreeter().greet, ["greet", "without async"]),
    (functools.partial(async_handler), ["without async"]),
    (generator, ["generator", "return", "instead of yielding"]),
    (GeneratorGreeter(), ["GeneratorGreeter", "instead of yielding"]),
    (functools.partial(generator), ["instead of yielding"]),
    (no_parameter, ["no parameter 'session'", "def no_parameter(message, session)", "name="]),
    (only_keywords, ["no parameter 'session'", "def only_keywords(message, session)"]),
    (only_arguments, ["no parameter 'session'", "def only_arguments(message, session)"]),
    (keywords_named_session, ["no parameter 'session'"]),
    (arguments_named_session, ["no parameter 'session'"]),
    (misspelt, ["no parameter 'session'", "name="]),
    (lambda message: None, ["no parameter 'session'"]),
    (no_update, ["no_update", "update"]),
    (staticmethod(session_last), ["@staticmethod above @with_session"]),
    (classmethod(session_last), ["@classmethod above @with_session"]),
    ({"counter": 0}, ["not dict", "initial="]),
    (Cart, ["Cart", "initial="]),
    ("session", ["not str", "with_session("]),
]


@pytest.mark.parametrize(
    ("handler", "advice"),
    REFUSED_HANDLERS,
    ids=[getattr(h, "__name__", type(h).__name__) for h, _ in REFUSED_HANDLERS],
)
@pytest.mark.parametrize(
    "decorate",
    [with_session, with_session(lifetime=60), Sessions().with_session],
    ids=["bare", "called", "of-sessions"],
)
def test_a_handler_that_cannot_work_is_refused_at_once(
    decorate: Callable[[Any], Any], handler: Any, advice: list[str]
) -> None:
    """
    A handler without that parameter, an `async` or generator function: `TypeError` at decoration,
    saying what to write instead.
    """
    with pytest.raises(TypeError) as caught:
        decorate(handler)

    assert advice == [part for part in advice if part in str(caught.value)]


@pytest.mark.parametrize(
    "handler", [no_parameter, only_keywords, lambda message: None, functools.partial(no_parameter)]
)
def test_the_advice_for_a_missing_parameter_is_code_that_works(
    handler: Handler, sessions: Sessions[Session]
) -> None:
    """
    What the error says to write instead can be written: it compiles, and is accepted.
    """
    with pytest.raises(TypeError) as caught:
        sessions.with_session(handler)

    _, found, rest = str(caught.value).partition("write def ")
    assert "write def " == found
    names: dict[str, Any] = {}
    exec(f"def {rest.partition(')')[0]}): pass", names)
    advised = next(value for name, value in names.items() if name != "__builtins__")
    assert ["message"] == list(inspect.signature(sessions.with_session(advised)).parameters)


# Options that are refused.


@dataclass
class Required:
    name: str
    age: int


@dataclass(frozen=True)
class Frozen:
    name: str = ""


@dataclass(slots=True)
class Slotted:
    name: str = ""


def make_frozen() -> Frozen:
    return Frozen()


async def make_async():
    return {}


def make_of_two(message, bot):
    return {}


def make_of_a_keyword(*, message):
    return {}


def key_of_nothing():
    return "everybody"


def key_of_two(message, bot):
    return "everybody"


async def key_in_the_future(message):
    return "everybody"


class HalfStorage(Storage):
    def get(self, key: str) -> bytes | None:
        return None


class StorageWithoutCodec(MemoryStorage):
    def __init__(self) -> None:
        super().__init__()
        self.codec = None


class Duck:
    """Has what a storage has, and is none."""

    codec = MemoryStorage.codec
    persistent = False
    get = set = has = delete = touch = keys = hold = close = lambda *_: None


BAD_DURATIONS = [
    (-1, ValueError),
    (-0.001, ValueError),
    (timedelta(seconds=-1), ValueError),
    (float("nan"), ValueError),
    (float("inf"), ValueError),
    (float("-inf"), ValueError),
    (10**400, ValueError),
    (True, TypeError),
    (False, TypeError),
    ("30", TypeError),
    (b"30", TypeError),
    (Decimal(30), TypeError),
    ([30], TypeError),
]

BAD_OPTIONS = [
    *(("lifetime", value, kind) for value, kind in BAD_DURATIONS),
    ("lifetime", 0, ValueError),
    ("lifetime", 0.0, ValueError),
    ("lifetime", timedelta(0), ValueError),
    *(("lock_timeout", value, kind) for value, kind in BAD_DURATIONS),
    ("initail", dict, TypeError),
    ("ttl", 30, TypeError),
    ("initial", None, TypeError),
    ("initial", 5, TypeError),
    ("initial", int, TypeError),
    ("initial", object, TypeError),
    ("initial", [("counter", 0)], TypeError),
    ("initial", Cart(), TypeError),
    ("initial", {1: "one"}, TypeError),
    ("initial", Required, TypeError),
    ("initial", Frozen, TypeError),
    ("initial", Slotted, TypeError),
    ("initial", make_frozen, TypeError),
    ("initial", make_async, TypeError),
    ("initial", make_of_two, TypeError),
    ("initial", make_of_a_keyword, TypeError),
    ("get_storage_key", None, TypeError),
    ("get_storage_key", "id", TypeError),
    ("get_storage_key", 42, TypeError),
    ("get_storage_key", key_of_nothing, TypeError),
    ("get_storage_key", key_of_two, TypeError),
    ("get_storage_key", key_in_the_future, TypeError),
    ("storage", {}, TypeError),
    ("storage", MemoryStorage, TypeError),
    ("storage", Duck(), TypeError),
    ("storage", "sessions.db", TypeError),
    ("storage", StorageWithoutCodec(), TypeError),
    ("name", "", ValueError),
    ("name", "my session", ValueError),
    ("name", "2nd", ValueError),
    ("name", "class", ValueError),
    ("name", "None", ValueError),
    ("name", None, TypeError),
    ("name", b"session", TypeError),
    ("prefix", None, TypeError),
    ("prefix", 5, TypeError),
    ("prefix", b"shop:", TypeError),
    ("commit_on_error", 1, TypeError),
    ("commit_on_error", None, TypeError),
    ("commit_on_error", "yes", TypeError),
]

# The errors about these name what is wrong with the class or the storage itself.
NAMED_OTHERWISE = {Frozen: "Frozen", Slotted: "Slotted", make_frozen: "Frozen"}


@pytest.mark.parametrize("construct", [Sessions, with_session])
@pytest.mark.parametrize(
    ("option", "value", "kind"),
    [
        pytest.param(*row, id=f"{row[0]}={getattr(row[1], '__name__', str(row[1])[:20])}")
        for row in BAD_OPTIONS
    ],
)
def test_a_wrong_option_is_refused_at_once(
    construct: Callable[..., Any], option: str, value: Any, kind: type[Exception]
) -> None:
    """
    Wrong options raise at decoration or construction, not at the first message.
    """
    named = option
    if isinstance(value, Callable) and value in NAMED_OTHERWISE:
        named = NAMED_OTHERWISE[value]
    elif isinstance(value, StorageWithoutCodec):
        named = "codec"

    with pytest.raises(kind, match=named):
        construct(**{option: value})


def test_a_storage_that_lacks_a_method_cannot_be_made() -> None:
    """
    A storage that lacks a method is refused when it is made, and the missing methods are named.
    """
    with pytest.raises(TypeError, match=r"delete.*keys.*set.*touch"):
        HalfStorage()


GOOD_OPTIONS = [
    ("lifetime", None),
    ("lifetime", 0.001),
    ("lifetime", 10**12),
    ("lifetime", timedelta.max),
    ("lock_timeout", None),
    ("lock_timeout", 0),
    ("lock_timeout", timedelta(0)),
    ("lock_timeout", 1e300),
    ("initial", {"counter": 0}),
    ("initial", dict),
    ("initial", Cart),
    ("initial", lambda message=None: {}),
    ("initial", lambda *args, **kwargs: {}),
    ("get_storage_key", lambda *args: "everybody"),
    ("get_storage_key", functools.partial(lambda prefix, message: prefix, "everybody")),
    ("prefix", ""),
    ("prefix", "a prefix: with anything \N{HOT BEVERAGE} in it"),
    ("commit_on_error", True),
]


@pytest.mark.parametrize(
    ("option", "value"),
    [pytest.param(*row, id=f"{row[0]}={str(row[1])[:20]}") for row in GOOD_OPTIONS],
)
def test_an_option_at_the_edge_of_what_makes_sense_works(
    option: str, value: Any, storage: MemoryStorage
) -> None:
    """
    What is right is not refused with what is wrong: a handler runs with each of these.
    """
    seen = []
    handler = with_session(storage=storage, **{option: value})(
        lambda message, session: seen.append(session_key(session))
    )

    handler(said("one").message)

    assert 1 == len(seen)


# Keys and beginnings that fail at the first message.


class HeldStorage(MemoryStorage):
    """Knows which keys it was asked to hold."""

    def __init__(self) -> None:
        super().__init__()
        self.held: list[str] = []

    def hold(self, key: str, timeout: float | None = None) -> Any:
        self.held.append(key)
        return super().hold(key, timeout)


def raise_out_of_tea(_message):
    raise OutOfTeaError("no sencha")


BAD_KEYS = [
    pytest.param(lambda _: None, NoSessionKeyError, "None", id="None"),
    pytest.param(lambda _: "", NoSessionKeyError, "empty", id="empty"),
    pytest.param(lambda _: True, NoSessionKeyError, "bool", id="True"),
    pytest.param(lambda _: False, NoSessionKeyError, "bool", id="False"),
    pytest.param(lambda _: 1.5, NoSessionKeyError, "float", id="float"),
    pytest.param(lambda _: b"412587349", NoSessionKeyError, "bytes", id="bytes"),
    pytest.param(lambda _: ("chat", 5), NoSessionKeyError, "tuple", id="tuple"),
    pytest.param(lambda message: message.from_user, NoSessionKeyError, "User", id="user"),
    pytest.param(raise_out_of_tea, SessionError, "OutOfTeaError", id="raises"),
    pytest.param(lambda message: message.nothing, SessionError, "AttributeError", id="misspelt"),
]


@pytest.mark.parametrize(("get_storage_key", "kind", "reason"), BAD_KEYS)
@pytest.mark.parametrize("prefix", ["", "shop:"], ids=["no-prefix", "prefix"])
def test_a_key_that_is_none_names_get_storage_key(
    get_storage_key: Handler,
    kind: type[SessionError],
    reason: str,
    prefix: str,
) -> None:
    """
    A `get_storage_key` that returns a wrong type or raises: a clear error that names it and the
    type of the update, nothing locked, nothing stored; the handler is not called.
    """
    host, called, storage = Host(), [], HeldStorage()
    sessions = Sessions(storage=storage, get_storage_key=get_storage_key, prefix=prefix)
    host.bot.message_handler()(sessions.with_session(lambda message, session: called.append(1)))

    host.deliver(said("one"))

    assert ([kind], []) == ([type(error) for error in host.raised], called)
    for part in ("get_storage_key", "Message", reason):
        assert part in str(host.raised[0])
    assert ([], []) == (storage.held, list(storage.keys()))


def test_a_get_storage_key_that_raises_is_the_cause(sessions: Sessions[Session]) -> None:
    """
    The exception of a `get_storage_key` is the `__cause__` of the `SessionError`.
    """
    handler = with_session(get_storage_key=raise_out_of_tea)(session_last)

    with pytest.raises(SessionError) as caught:
        handler(said("one").message)

    assert OutOfTeaError is type(caught.value.__cause__)


@pytest.mark.parametrize(
    "key", [42, "42", -1001472583690, "chat:5", " ", "\N{HOT BEVERAGE}", "x" * 10_000, 10**30]
)
def test_any_text_or_int_is_a_key(key: str | int, storage: MemoryStorage) -> None:
    """
    `get_storage_key` is from the update to `str`, `int` or `None`; an int is its digits.
    """
    sessions = Sessions(storage=storage, get_storage_key=lambda _: key, prefix="shop:")

    sessions.with_session(session_last)(said("one").message)

    assert [f"shop:{key}"] == list(storage.keys())
    assert {"seen": [["one"]]} == sessions.peek(key)


BAD_BEGINNINGS = [
    pytest.param(lambda: raise_out_of_tea(None), SessionError, "OutOfTeaError", id="raises"),
    pytest.param(raise_out_of_tea, SessionError, "OutOfTeaError", id="of-the-update-raises"),
    pytest.param(lambda: None, TypeError, "NoneType", id="None"),
    pytest.param(lambda: 5, TypeError, "int", id="int"),
    pytest.param(lambda: ["counter"], TypeError, "list", id="list"),
    pytest.param(lambda: Cart, TypeError, "type", id="class"),
    pytest.param(lambda: {1: "one"}, TypeError, "int", id="field-name"),
    pytest.param(lambda: {"lock": threading.Lock()}, (SessionError, TypeError), "lock", id="lock"),
]


@pytest.mark.parametrize(("initial", "kind", "reason"), BAD_BEGINNINGS)
def test_a_beginning_that_fails_names_initial_and_leaves_nothing(
    initial: Handler, kind: Any, reason: str, storage: MemoryStorage
) -> None:
    """
    A raising `initial`: a clear error that names the option or the key, nothing half-written, the
    lock released.
    """
    host, called = Host(), []
    handler = with_session(storage=storage, initial=initial)(
        lambda message, session: called.append(1)
    )
    host.bot.message_handler()(handler)

    host.deliver(said("one"), said("two"))

    assert 2 == len(host.raised)
    assert isinstance(host.raised[0], kind)
    assert reason in str(host.raised[0])
    assert [] != [name for name in ("initial", KEY) if name in str(host.raised[0])]
    assert ([], [], True) == (called, list(storage.keys()), is_free(storage, KEY))


def test_open_says_that_initial_wants_the_update(storage: MemoryStorage) -> None:
    """
    `open(key, update=...)` is for an `initial` that wants the update; without it, it says so.
    """
    sessions = Sessions(storage=storage, initial=lambda message: {"text": message.text})

    with pytest.raises(TypeError, match="update="), sessions.open(KEY):
        pass
    with sessions.open(KEY, update=said("one").message) as session:
        fields = as_dict(session)

    assert ({"text": "one"}, True) == (fields, is_free(storage, KEY))


# Stores that fail.


class FailingStore(dict[str, bytes]):
    """A store whose methods raise, once they are told to."""

    failing: str | None = None

    def __getitem__(self, key: str) -> bytes:
        self.fail("get")
        return super().__getitem__(key)

    def __setitem__(self, key: str, payload: bytes) -> None:
        self.fail("set")
        super().__setitem__(key, payload)

    def __delitem__(self, key: str) -> None:
        self.fail("delete")
        super().__delitem__(key)

    def fail(self, method: str) -> None:
        if self.failing == method:
            raise OSError("the disk is on fire")


@pytest.mark.parametrize("failing", ["get", "set", "delete"])
def test_a_store_that_raises_leaves_the_old_record_and_no_lock(failing: str, host: Host) -> None:
    """
    A failed read is never a new user; a failed write leaves the old record whole; the error names
    the key, has the store's own as its cause, and the lock is released.
    """
    store = FailingStore()
    storage = MemoryStorage(store)

    @host.bot.message_handler()
    @with_session(storage=storage)
    def handle(message, session):
        note(session, message.text)
        if failing == "delete":
            session.clear()

    with Sessions(storage=storage).open(KEY) as session:
        session.seen = [["before"]]
    before = dict(store)
    store.failing = failing

    host.deliver(said("one"))

    assert [StorageError] == [type(error) for error in host.raised]
    assert (KEY, OSError) == (host.raised[0].key, type(host.raised[0].__cause__))
    assert KEY in str(host.raised[0])
    assert (before, True) == (dict(store), is_free(storage, KEY))


def test_a_store_that_evicts_the_record_while_the_handler_runs_gets_it_back(host: Host) -> None:
    """
    A store that evicts between load and save loses nothing of the session that is in use.
    """
    store: dict[str, bytes] = {}
    sessions = Sessions(storage=MemoryStorage(store))

    @host.bot.message_handler()
    @sessions.with_session
    def handle(message, session):
        note(session, message.text)
        store.clear()

    host.deliver(said("one"), said("two"))

    assert ([], {"seen": [["one"], ["two"]]}) == (host.raised, sessions.peek(KEY))


def test_a_record_too_large_for_its_cache_is_an_error(host: Host) -> None:
    """
    A cachetools cache whose value is too large: a clear error that names the key, the old record
    whole, the lock released.
    """
    storage = MemoryStorage(LRUCache(200, getsizeof=len))
    sessions = Sessions(storage=storage)

    @host.bot.message_handler()
    @sessions.with_session
    def handle(message, session):
        session.text = message.text

    host.deliver(said("one"), said("x" * 300))

    assert [StorageError] == [type(error) for error in host.raised]
    for part in (KEY, "maxsize"):
        assert part in str(host.raised[0])
    assert ({"text": "one"}, True) == (sessions.peek(KEY), is_free(storage, KEY))
