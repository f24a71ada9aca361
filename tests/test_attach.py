"""Attached sessions: every handler of a bot gets its session, and a detached bot is what it was."""

from __future__ import annotations

import functools
import inspect
import json
import pickle
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest
from clocks import PATIENCE
from counted import CountedStorage
from fields import fields_of
from host import Host, make_host
from telebot import TeleBot, types, util
from telebot.async_telebot import AsyncTeleBot
from telebot.handler_backends import (
    BaseMiddleware,
    ContinueHandling,
    HandlerBackend,
    MemoryHandlerBackend,
)
from updates import (
    ANNA,
    BORIS,
    CASES,
    GROUP,
    TOKEN,
    UPDATE_IDS,
    UpdateCase,
    decorate,
    handler_name,
    message as message_json,
    private,
    register,
)

from telesession import MemoryStorage, NoSessionKeyError, Session, Sessions, by_chat
from telesession.storage.base import Hold
from telesession.testing import (
    OFFLINE_TOKEN,
    BotAPI,
    RecordingExceptionHandler,
    run_polling,
)

KEY = str(ANNA["id"])

Handler = Callable[..., Any]
Way = Callable[[TeleBot, str, Handler], None]


@pytest.fixture(params=["no-middlewares", "class-middlewares"])
def quick_host(request: pytest.FixtureRequest) -> Iterator[Host]:
    """A bot without threads, for what does not depend on them."""
    yield from make_host(request.param)


@pytest.fixture
def storage() -> CountedStorage:
    return CountedStorage()


@pytest.fixture
def sessions(storage: CountedStorage) -> Sessions[Session]:
    return Sessions(storage=storage)


def said(text: str, person: dict[str, Any] = ANNA, **fields: Any) -> types.Update:
    """A message, in the private chat with its sender unless `chat` says otherwise."""
    chat = fields.pop("chat", private(person))
    message = message_json(chat, person, **fields) | {"text": text}
    return types.Update.de_json(json.dumps({"update_id": next(UPDATE_IDS), "message": message}))


def note(session: Any, *seen: Any) -> None:
    """What most handlers here do: put into their session what else they got."""
    session.setdefault("seen", []).append(list(seen))


def keep(message, session):
    note(session, message.text)


def ignore(message):
    pass


def signature_text(handler: Handler) -> str:
    """A test id: how a handler takes its arguments."""
    return str(inspect.signature(handler)).replace(" ", "")


def add(bot: TeleBot, kind: str, handler: Handler) -> None:
    """Adds a handler for every update of a kind, as decorators of telebot do."""
    method = getattr(bot, f"add_{handler_name(kind)}")
    method({"function": handler, "pass_bot": False, "filters": {}})


def state_of(bot: TeleBot) -> tuple[Any, ...]:
    """All that there is to see of a bot, by what is compared with `is` or is plain."""
    attributes = {
        name: [(id(item), dict(item)) if isinstance(item, dict) else item for item in value]
        if isinstance(value, list)
        else value
        for name, value in vars(bot).items()
    }
    return attributes, dict(vars(bot.next_step_backend)), dict(vars(bot.reply_backend))


# Which handlers there are.

WAYS = {"decorator": decorate, "register": register, "add": add}
KIND_CASES = list({case.kind: case for case in CASES}.values())
HANDLER_NAMES = {handler_name(kind) for kind in util.update_types}


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
    """What stands on the bot itself is a gate for each kind, one for all updates, and no more."""
    bot = TeleBot(TOKEN, threaded=False)
    before = set(vars(bot))

    sessions.attach(bot)

    gates = {name for name in vars(bot).keys() - before if not name.startswith("_")}
    assert {f"add_{name}" for name in HANDLER_NAMES} | {"process_new_updates"} == gates


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize("case", KIND_CASES, ids=lambda case: case.kind)
def test_handlers_of_every_kind_get_their_session(
    case: UpdateCase, way: Way, quick_host: Host, storage: CountedStorage
) -> None:
    """Handlers of every kind get it, whether registered before or after, in whichever way."""
    everybody = Sessions(storage=storage, get_storage_key=lambda _: "everybody")

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

SHAPES = [
    keep,
    lambda session, message: note(session, message.text),
    lambda message, *, session: note(session, message.text),
    lambda message, session=None: note(session, message.text),
    lambda message, session, /: note(session, message.text),
    lambda message, unit="cm", session=None, /: note(session, message.text),
    lambda message, *args, session: note(session, message.text),
    lambda message, session, *args, **kwargs: note(session, message.text),
]


class Shop:
    """Handlers that are methods."""

    def take(self, message, session):
        note(session, message.text)

    @classmethod
    def take_by_class(cls, message, session):
        note(session, message.text)

    @staticmethod
    def take_by_static(message, session):
        note(session, message.text)

    def __call__(self, message, session):
        note(session, message.text)


@dataclass
class Unhashable:
    """What telebot can call and nobody can put into a set."""

    greeting: str = "hi"

    def __call__(self, message, session):
        note(session, message.text)


class Slotted:
    """What can be called and has no place for attributes."""

    __slots__ = ()

    def __call__(self, message, session):
        note(session, message.text)


class Obliging:
    """Has whatever it is asked for, as proxies do."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name.endswith("__") and "session" not in name:
            raise AttributeError(name)
        return ignore

    def __call__(self, message, session):
        note(session, message.text)


def keep_with_unit(unit, message, session):
    note(session, message.text)


@functools.wraps(keep)
def logged(*args, **kwargs):
    return keep(*args, **kwargs)


CALLABLES = {
    "bound-method": Shop().take,
    "class-method": Shop.take_by_class,
    "static-method": Shop.take_by_static,
    "callable": Shop(),
    "unhashable": Unhashable(),
    "slotted": Slotted(),
    "obliging": Obliging(),
    "partial": functools.partial(keep_with_unit, "cm"),
    "partial-with-a-session": functools.partial(keep, session=None),
    "below-another-decorator": logged,
}


@pytest.mark.parametrize("handler", SHAPES, ids=signature_text)
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


class TeaMiddleware(BaseMiddleware):
    """Gives handlers a value of its own, and one that has the same name as our session."""

    def __init__(self) -> None:
        super().__init__()
        self.update_types = ["message"]

    def pre_process(self, message: types.Message, data: dict[str, Any]) -> None:
        data["tea"] = "sencha"
        data["session"] = "a session of a database"

    def post_process(self, message: Any, data: Any, exception: Any) -> None:
        pass


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


# Next steps and replies.

ASKED = message_json(private(ANNA), ANNA, message_id=77)

STEPS = [
    lambda message, session, unit, scale=1: note(session, message.text, unit, scale),
    lambda message, unit, session, *, scale: note(session, message.text, unit, scale),
    lambda message, unit, scale=1, *, session: note(session, message.text, unit, scale),
    lambda message, unit, scale=1, session=None: note(session, message.text, unit, scale),
    lambda message, session, /, unit, **kw: note(session, message.text, unit, *kw.values()),
    lambda message, session, *args, **kw: note(session, message.text, *args, *kw.values()),
]

REGISTER_STEP: dict[str, Callable[..., None]] = {
    "next-step": lambda bot, *args, **kw: bot.register_next_step_handler(
        types.Message.de_json(ASKED), *args, **kw
    ),
    "next-step-by-chat-id": lambda bot, *args, **kw: bot.register_next_step_handler_by_chat_id(
        ANNA["id"], *args, **kw
    ),
    "reply": lambda bot, *args, **kw: bot.register_for_reply(
        types.Message.de_json(ASKED), *args, **kw
    ),
    "reply-by-message-id": lambda bot, *args, **kw: bot.register_for_reply_by_message_id(
        77, *args, **kw
    ),
}


def answered(text: str) -> types.Update:
    """The next message of a chat, which is a reply, too."""
    return said(text, reply_to_message=ASKED)


@pytest.mark.parametrize("register_step", REGISTER_STEP.values(), ids=REGISTER_STEP)
@pytest.mark.parametrize("step", STEPS, ids=signature_text)
def test_steps_get_their_session_and_their_arguments(
    step: Handler, register_step: Callable[..., None], quick_host: Host, sessions: Sessions[Session]
) -> None:
    """Next steps and replies, registered before and after, get their arguments and the session."""
    register_step(quick_host.bot, step, "cm", scale=2)
    sessions.attach(quick_host.bot)
    register_step(quick_host.bot, step, "inch", scale=3)

    quick_host.deliver(answered("180"))

    expected = {"seen": [["180", "cm", 2], ["180", "inch", 3]]}
    assert ([], expected) == (quick_host.raised, sessions.peek(KEY))


@pytest.mark.parametrize("register_step", REGISTER_STEP.values(), ids=REGISTER_STEP)
def test_steps_get_their_session_in_every_mode(
    register_step: Callable[..., None], host: Host, sessions: Sessions[Session]
) -> None:
    """With and without class middlewares, in one thread or in workers."""
    sessions.attach(host.bot)
    register_step(host.bot, keep)

    host.deliver(answered("180"))

    assert ([], {"seen": [["180"]]}) == (host.raised, sessions.peek(KEY))


@pytest.mark.parametrize("step", CALLABLES.values(), ids=CALLABLES)
def test_whatever_can_be_called_may_be_a_step(
    step: Handler, quick_host: Host, sessions: Sessions[Session]
) -> None:
    """Methods, partials and objects get their session as steps, too."""
    sessions.attach(quick_host.bot)
    quick_host.bot.register_next_step_handler_by_chat_id(ANNA["id"], step)

    quick_host.deliver(said("one"))

    assert ([], {"seen": [["one"]]}) == (quick_host.raised, sessions.peek(KEY))


@pytest.mark.parametrize("register_step", [*REGISTER_STEP.values()][1::2], ids=["step", "reply"])
def test_a_step_may_have_an_argument_of_any_name(
    register_step: Callable[..., None], quick_host: Host, sessions: Sessions[Session]
) -> None:
    """What was given by name goes to the step, be it called like a parameter of our own."""
    sessions.attach(quick_host.bot)

    def step(update, session, *, message, args, kwargs):
        note(session, update.text, message, args, kwargs)

    register_step(quick_host.bot, step, message="one", args="two", kwargs="three")

    quick_host.deliver(answered("180"))

    expected = {"seen": [["180", "one", "two", "three"]]}
    assert ([], expected) == (quick_host.raised, sessions.peek(KEY))


def test_a_form_of_several_steps_keeps_one_session(host: Host, sessions: Sessions[Session]) -> None:
    """A handler and the steps that it leads to have the session of the sender, undecorated."""
    sessions.attach(host.bot)

    @host.bot.message_handler(commands=["form"])
    def begin(message, session):
        note(session, message.text)
        host.bot.register_next_step_handler(message, ask_age, "name")

    def ask_age(message, question, session):
        note(session, question, message.text)
        host.bot.register_next_step_handler(message, end, question="age")

    def end(message, session, *, question):
        note(session, question, message.text)

    host.deliver(said("/form"), said("Anna"), said("31"))

    expected = {"seen": [["/form"], ["name", "Anna"], ["age", "31"]]}
    assert ([], expected) == (host.raised, sessions.peek(KEY))


def test_a_step_without_the_parameter_is_handed_out_as_it_is(
    sessions: Sessions[Session], storage: CountedStorage
) -> None:
    """The backend gives the very object that telebot has put there."""
    bot = TeleBot(TOKEN, threaded=False)
    sessions.attach(bot)
    bot.register_next_step_handler_by_chat_id(1, ignore, "cm")
    bot.register_next_step_handler_by_chat_id(1, sessions.with_session(keep))
    kept = list(bot.next_step_backend.handlers[1])

    handed_out = bot.next_step_backend.get_handlers(1)

    assert [True, True] == [a is b for a, b in zip(kept, handed_out, strict=True)]
    assert (None, Counter()) == (bot.next_step_backend.get_handlers(1), storage.calls)


@pytest.mark.parametrize("feed", ["process_new_updates", "process_new_messages"])
def test_steps_get_their_session_whichever_way_the_message_comes(
    feed: str, quick_host: Host, sessions: Sessions[Session]
) -> None:
    """Whoever hands messages to the bot himself need not pass all of its gates."""
    sessions.attach(quick_host.bot)
    quick_host.bot.register_next_step_handler_by_chat_id(ANNA["id"], keep)
    update = said("one")

    getattr(quick_host.bot, feed)([update if feed == "process_new_updates" else update.message])

    assert ([], {"seen": [["one"]]}) == (quick_host.raised, sessions.peek(KEY))


class ListBackend(HandlerBackend):
    """A backend of somebody's own."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[tuple[Any, Any]] = []

    def register_handler(self, handler_group_id, handler):
        self.rows.append((handler_group_id, handler))

    def clear_handlers(self, handler_group_id):
        self.rows = [row for row in self.rows if row[0] != handler_group_id]

    def get_handlers(self, handler_group_id):
        found = [handler for group, handler in self.rows if group == handler_group_id]
        self.clear_handlers(handler_group_id)
        return found


def test_steps_of_any_backend_get_their_session(sessions: Sessions[Session]) -> None:
    """A backend of somebody's own, for steps and for replies at once, is one gate."""
    backend, handler = ListBackend(), RecordingExceptionHandler()
    bot = TeleBot(
        TOKEN,
        threaded=False,
        exception_handler=handler,
        next_step_backend=backend,
        reply_backend=backend,
    )
    sessions.attach(bot)
    bot.register_next_step_handler_by_chat_id(ANNA["id"], keep)
    bot.register_for_reply_by_message_id(77, keep)

    # telebot does not look for replies to a message that a next step has taken.
    bot.process_new_updates([answered("one")])
    bot.process_new_updates([answered("two")])
    seen = sessions.peek(KEY)
    sessions.detach(bot)

    assert ([], {"seen": [["one"], ["two"]]}) == (handler.exceptions, seen)
    assert {"handlers", "rows"} == vars(backend).keys()


# Steps that telebot saves to a file.

SAVING: dict[str, tuple[str, Callable[..., None], Callable[..., None], Callable[..., None]]] = {
    "next-steps": (
        "next_step_backend",
        REGISTER_STEP["next-step"],
        TeleBot.enable_save_next_step_handlers,
        TeleBot.load_next_step_handlers,
    ),
    "replies": (
        "reply_backend",
        REGISTER_STEP["reply"],
        TeleBot.enable_save_reply_handlers,
        TeleBot.load_reply_handlers,
    ),
}


def saved_step(message, session, unit, scale=1):
    note(session, message.text, unit, scale)


@pytest.mark.parametrize("attached_first", [True, False], ids=["attach-load", "load-attach"])
@pytest.mark.parametrize("kind", SAVING)
def test_saved_steps_get_their_session_after_a_restart(
    kind: str, attached_first: bool, host: Host, sessions: Sessions[Session], tmp_path: Path
) -> None:
    """What an attached bot saves is the step itself, and the next bot gives it a session."""
    _, register_step, enable_save, load = SAVING[kind]
    path = str(tmp_path / "saves" / "step.save")
    former = TeleBot(TOKEN, threaded=False)
    register_step(former, saved_step, "cm", scale=2)
    sessions.attach(former)
    enable_save(former, delay=0, filename=path)
    register_step(former, saved_step, "inch", scale=3)
    saved = pickle.loads(Path(path).read_bytes())

    if attached_first:
        sessions.attach(host.bot)
    enable_save(host.bot, delay=0, filename=path)
    load(host.bot, path)
    if not attached_first:
        sessions.attach(host.bot)
    host.deliver(answered("180"))

    assert [saved_step] * 2 == [item["callback"] for items in saved.values() for item in items]
    expected = {"seen": [["180", "cm", 2], ["180", "inch", 3]]}
    assert ([], expected) == (host.raised, sessions.peek(KEY))
    assert {} == pickle.loads(Path(path).read_bytes())


@pytest.mark.parametrize("kind", SAVING)
def test_a_backend_that_comes_later_is_as_before_when_detached(
    kind: str, sessions: Sessions[Session], tmp_path: Path
) -> None:
    """What `enable_save_*` makes after `attach` is a gate with the next update, until `detach`."""
    backend, register_step, enable_save, _ = SAVING[kind]
    bot = TeleBot(TOKEN, threaded=False)
    sessions.attach(bot)
    enable_save(bot, delay=0, filename=str(tmp_path / "saves" / "step.save"))
    before = dict(vars(getattr(bot, backend)))
    register_step(bot, keep)

    bot.process_new_updates([answered("180")])
    seen = sessions.peek(KEY)
    sessions.detach(bot)

    assert ({"seen": [["180"]]}, before) == (seen, vars(getattr(bot, backend)))


def test_a_bot_that_runs_for_long_stays_at_the_same_gates(sessions: Sessions[Session]) -> None:
    """Later updates find the gates that the first ones have found, and put no others on top."""
    bot = TeleBot(TOKEN, threaded=False)
    sessions.attach(bot)
    bot.process_new_updates([said("one")])
    before = state_of(bot)[1:]

    bot.process_new_updates([said("two")])

    assert before == state_of(bot)[1:]


# What costs nothing, and what is not done twice.


class HeldStorage(CountedStorage):
    """Counts also how often it is asked for a key."""

    def hold(self, key: str, timeout: float | None = None) -> AbstractContextManager[Hold]:
        self.calls["hold"] += 1
        return super().hold(key, timeout)


ONE_USE = Counter(hold=1, get=1, set=1)


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_handlers_without_the_parameter_are_the_very_same_objects(way: Way) -> None:
    """Handlers without the parameter stay as they are, in telebot's lists, and touch no storage."""
    host, storage = Host(), HeldStorage()
    handlers = [
        ignore,
        max,
        functools.partial(ignore),
        ignore.__get__(1),
        Sessions(storage=MemoryStorage()).with_session(keep),
        lambda message, *session: None,
        lambda message, **session: None,
    ]
    for handler in handlers:
        way(host.bot, "message", handler)
    Sessions(storage=storage, get_storage_key=by_chat).attach(host.bot, follow_migrations=True)
    for handler in handlers:
        way(host.bot, "message", handler)

    host.deliver(said("one"))

    lists = [handler["function"] for handler in host.bot.message_handlers]
    assert [True] * 14 == [a is b for a, b in zip([*handlers, *handlers], lists, strict=True)]
    assert ([], Counter()) == (host.raised, storage.calls)


def test_an_attached_handler_reads_once_and_writes_once(quick_host: Host) -> None:
    """An update costs what it costs with a decorator: one lock, one read, one write."""
    storage = HeldStorage()
    Sessions(storage=storage).attach(quick_host.bot)
    quick_host.bot.register_message_handler(keep)

    quick_host.deliver(said("one"))

    assert ([], ONE_USE) == (quick_host.raised, storage.calls)


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_decorated_handler_of_an_attached_bot_has_one_session(
    when: str, quick_host: Host
) -> None:
    """A decorated handler on an attached bot: one session, one lock, and that of the decorator."""
    storage, others = HeldStorage(), HeldStorage()
    decorator = Sessions(storage=storage, initial=lambda: {"mine": True})
    if when == "after":
        Sessions(storage=others).attach(quick_host.bot)
    quick_host.bot.message_handler()(decorator.with_session(keep))
    if when == "before":
        Sessions(storage=others).attach(quick_host.bot)

    quick_host.deliver(said("one"))

    assert {"mine": True, "seen": [["one"]]} == decorator.peek(KEY)
    assert ([], ONE_USE + Counter(get=1), Counter()) == (
        quick_host.raised,
        storage.calls,
        others.calls,
    )


def test_a_decorated_handler_of_the_attached_sessions_takes_one_lock(quick_host: Host) -> None:
    """Decorated and attached by the same sessions, a handler or a step takes its lock once."""
    storage = HeldStorage()
    sessions = Sessions(storage=storage)
    sessions.attach(quick_host.bot)
    quick_host.bot.message_handler()(sessions.with_session(keep))
    quick_host.bot.register_next_step_handler_by_chat_id(ANNA["id"], sessions.with_session(keep))

    quick_host.deliver(said("one"))
    by_step, storage.calls = storage.calls, Counter()
    quick_host.deliver(said("two"))

    assert (ONE_USE, ONE_USE) == (by_step, storage.calls)
    assert ([], {"seen": [["one"], ["two"]]}) == (quick_host.raised, sessions.peek(KEY))


def test_attaching_once_more_makes_no_difference(quick_host: Host) -> None:
    """Attached three times, in between and after: one session, one lock, one detach."""
    storage = HeldStorage()
    sessions = Sessions(storage=storage)
    before = state_of(quick_host.bot)
    sessions.attach(quick_host.bot)
    sessions.attach(quick_host.bot)
    quick_host.bot.register_message_handler(keep)
    quick_host.bot.register_next_step_handler_by_chat_id(ANNA["id"], keep)
    sessions.attach(quick_host.bot)

    quick_host.deliver(said("one"))
    by_step, storage.calls = storage.calls, Counter()
    quick_host.deliver(said("two"))
    by_handler = storage.calls
    quick_host.bot.message_handlers.clear()
    quick_host.bot.last_update_id = 0
    sessions.detach(quick_host.bot)

    assert ([], ONE_USE, ONE_USE) == (quick_host.raised, by_step, by_handler)
    assert before == state_of(quick_host.bot)


# Several sessions.


def keep_both(message, session, chat):
    note(session, message.text)
    note(chat, message.text)


def test_several_sessions_come_by_their_names(host: Host) -> None:
    """Handlers and steps get those that they name: one, the other, or both."""
    storage = MemoryStorage()
    person = Sessions(storage=storage)
    chat = Sessions(storage=storage, get_storage_key=by_chat, name="chat")
    host.bot.register_message_handler(keep_both, regexp="both")
    person.attach(host.bot)
    host.bot.register_message_handler(keep, regexp="person")
    chat.attach(host.bot)
    host.bot.register_message_handler(lambda message, chat: note(chat, message.text), regexp="chat")

    host.deliver(said("both"), said("person"), said("chat"))
    host.bot.register_next_step_handler_by_chat_id(ANNA["id"], keep_both)
    host.deliver(said("step"))

    assert [] == host.raised
    assert {"seen": [["both"], ["person"], ["step"]]} == person.peek(KEY)
    assert {"seen": [["both"], ["chat"], ["step"]]} == chat.peek(f"chat:{KEY}")


def test_decorated_and_attached_sessions_go_together(quick_host: Host) -> None:
    """A decorator may bring one session, and the bot the other."""
    storage = MemoryStorage()
    person = Sessions(storage=storage)
    chat = Sessions(storage=storage, get_storage_key=by_chat, name="chat")
    chat.attach(quick_host.bot)
    quick_host.bot.register_message_handler(person.with_session(keep_both))

    quick_host.deliver(said("one"))

    expected = {"seen": [["one"]]}
    assert ([], expected, expected) == (
        quick_host.raised,
        person.peek(KEY),
        chat.peek(f"chat:{KEY}"),
    )


def test_other_sessions_of_the_same_name_are_refused(sessions: Sessions[Session]) -> None:
    """Two sessions for one parameter: a `ValueError` that says what to do, and nothing changed."""
    bot = TeleBot(TOKEN, threaded=False)
    bot.register_message_handler(keep)
    sessions.attach(bot)
    before = state_of(bot)

    with pytest.raises(ValueError, match=r"'session'.*detach.*name=") as caught:
        Sessions(prefix="shop:").attach(bot)

    assert before == state_of(bot)
    assert repr(sessions) in str(caught.value)


@pytest.mark.parametrize("gone", ["session", "chat"])
def test_detaching_one_leaves_the_other(gone: str, quick_host: Host) -> None:
    """What is left goes on in handlers, later handlers and steps; the other parameter is bare."""
    storage = HeldStorage()
    both = {
        "session": Sessions(storage=storage),
        "chat": Sessions(storage=storage, name="chat", prefix="chat "),
    }

    def handle(message, session="bare", chat="bare"):
        for name, value in (("session", session), ("chat", chat)):
            seen.append(name if value == "bare" else "")
            if value != "bare":
                note(value, message.text)

    seen: list[str] = []
    both["session"].attach(quick_host.bot)
    quick_host.bot.register_message_handler(handle)
    both["chat"].attach(quick_host.bot)
    left = both[{"session": "chat", "chat": "session"}[gone]]

    both[gone].detach(quick_host.bot)
    quick_host.deliver(said("one"))
    quick_host.bot.register_next_step_handler_by_chat_id(ANNA["id"], handle)
    quick_host.deliver(said("two"))
    quick_host.bot.message_handlers.clear()
    quick_host.bot.register_message_handler(handle)
    quick_host.deliver(said("three"))

    assert ([], [gone] * 3) == (quick_host.raised, [name for name in seen if name])
    assert (None, {"seen": [["one"], ["two"], ["three"]]}) == (
        both[gone].peek(KEY),
        left.peek(KEY),
    )


def test_two_bots_may_share_functions_and_sessions(sessions: Sessions[Session]) -> None:
    """One function on two bots is two handlers: detaching one bot is nothing to the other."""
    one, other = Host(), Host()
    theirs = Sessions(storage=MemoryStorage())
    for host in (one, other):
        host.bot.register_message_handler(keep)
    sessions.attach(one.bot)
    theirs.attach(other.bot)

    one.deliver(said("one"))
    other.deliver(said("two"))
    sessions.detach(one.bot)
    other.deliver(said("three"))

    assert ([], []) == (one.raised, other.raised)
    assert {"seen": [["one"]]} == sessions.peek(KEY)
    assert {"seen": [["two"], ["three"]]} == theirs.peek(KEY)


# Detach.


@pytest.mark.parametrize("count", [1, 2, 3])
def test_detach_restores_the_bot(count: int, host: Host, storage: CountedStorage) -> None:
    """When the last sessions are detached, in any order, the bot and its backends are as before."""
    bot = host.bot
    for handler in (keep, ignore, keep_both, Shop().take):
        bot.register_message_handler(handler, regexp="never")
        bot.register_callback_query_handler(handler, func=None)
    bot.register_next_step_handler_by_chat_id(1, keep, "cm")
    bot.register_for_reply_by_message_id(1, keep, "cm")
    names = ["session", "chat", "third"][:count]
    all_of_them = [Sessions(storage=storage, name=name) for name in names]
    bot.last_update_id = 10**12
    before = state_of(bot)

    for sessions in all_of_them:
        sessions.attach(bot)
        host.deliver(said("one"))
    attached = state_of(bot)
    for sessions in [*all_of_them[1:], all_of_them[0]]:
        sessions.detach(bot)

    assert ([], before) == (host.raised, state_of(bot))
    assert before != attached


def test_detached_handlers_that_came_later_are_what_they_were(
    sessions: Sessions[Session],
) -> None:
    """Handlers registered on an attached bot are, when detached, the functions that were given."""
    bot = TeleBot(TOKEN, threaded=False)
    sessions.attach(bot)
    for kind in util.update_types:
        register(bot, kind, keep)
    sessions.detach(bot)

    functions = [
        handler["function"] for name in HANDLER_NAMES for handler in getattr(bot, f"{name}s")
    ]
    assert [keep] * len(util.update_types) == functions


@pytest.mark.parametrize("target", ["bot", "class", "None"])
def test_what_is_not_attached_cannot_be_detached(target: str, sessions: Sessions[Session]) -> None:
    """Detaching what is not attached, or no more, is a `ValueError` that names the sessions."""
    bots = {"bot": TeleBot(TOKEN, threaded=False), "class": TeleBot, "None": None}
    sessions.attach(bots["bot"])
    sessions.detach(bots["bot"])

    with pytest.raises(ValueError, match="not attached") as caught:
        sessions.detach(bots[target])

    assert repr(sessions) in str(caught.value)


def test_others_cannot_be_detached_from_an_attached_bot(sessions: Sessions[Session]) -> None:
    """Detaching others than those that are attached is a `ValueError`, and changes nothing."""
    bot = TeleBot(TOKEN, threaded=False)
    sessions.attach(bot)
    before = state_of(bot)

    with pytest.raises(ValueError, match="not attached"):
        Sessions().detach(bot)

    assert before == state_of(bot)


GATES: dict[str, Callable[[TeleBot], tuple[Any, str]]] = {
    "process_new_updates": lambda bot: (bot, "process_new_updates"),
    "add_message_handler": lambda bot: (bot, "add_message_handler"),
    "next_step_backend": lambda bot: (bot.next_step_backend, "get_handlers"),
}


@pytest.mark.parametrize("gate", GATES.values(), ids=GATES)
def test_what_others_put_on_top_stays(
    gate: Callable[[TeleBot], tuple[Any, str]], quick_host: Host, sessions: Sessions[Session]
) -> None:
    """What stands on top of a gate is not torn down by `detach`, and leads to a plain bot."""
    bot, passed = quick_host.bot, []
    sessions.attach(bot)
    owner, name = gate(bot)
    below = getattr(owner, name)

    def on_top(argument):
        passed.append(argument)
        return below(argument)

    setattr(owner, name, on_top)
    sessions.detach(bot)
    bot.reply_backend = MemoryHandlerBackend()
    bot.register_message_handler(keep)
    bot.register_next_step_handler_by_chat_id(ANNA["id"], ignore)
    quick_host.deliver(said("one"))

    assert (True, True) == (getattr(owner, name) is on_top, bool(passed))
    assert {"handlers"} == vars(bot.reply_backend).keys()
    assert bot.message_handlers[0]["function"] is keep
    assert ([], None) == (quick_host.raised, sessions.peek(KEY))


@pytest.mark.parametrize("gate", GATES.values(), ids=GATES)
def test_a_bot_can_be_attached_again(
    gate: Callable[[TeleBot], tuple[Any, str]], quick_host: Host
) -> None:
    """After `detach`, with something on top of a gate or not, `attach` works as the first time."""
    bot, storage = quick_host.bot, HeldStorage()
    sessions = Sessions(storage=storage)
    bot.register_message_handler(keep)
    for _ in range(3):
        sessions.attach(bot)
        owner, name = gate(bot)
        below = getattr(owner, name)
        setattr(owner, name, lambda argument, below=below: below(argument))
        sessions.detach(bot)
    sessions.attach(bot)
    bot.register_next_step_handler_by_chat_id(ANNA["id"], keep)

    quick_host.deliver(said("one"))
    by_step, storage.calls = storage.calls, Counter()
    quick_host.deliver(said("two"))

    assert ([], ONE_USE, ONE_USE) == (quick_host.raised, by_step, storage.calls)
    assert {"seen": [["one"], ["two"]]} == sessions.peek(KEY)


def test_a_gate_that_stood_on_the_bot_before_is_restored(sessions: Sessions[Session]) -> None:
    """What somebody had put on the bot before `attach` is there after `detach`."""
    host, passed = Host(), []
    below = host.bot.process_new_updates

    def on_the_bot(updates):
        passed.append(len(updates))
        below(updates)

    host.bot.process_new_updates = on_the_bot
    sessions.attach(host.bot)
    host.bot.register_message_handler(keep)
    host.deliver(said("one"))
    sessions.detach(host.bot)

    assert ([], [1], {"seen": [["one"]]}) == (host.raised, passed, sessions.peek(KEY))
    assert host.bot.process_new_updates is on_the_bot


def test_what_others_put_around_a_handler_stays(storage: CountedStorage) -> None:
    """A wrapper that somebody puts around what an attached bot calls survives attach and detach."""
    host, passed = Host(), []
    person, chat = Sessions(storage=storage), Sessions(storage=storage, name="chat")
    person.attach(host.bot)
    host.bot.register_message_handler(keep)
    inner = host.bot.message_handlers[0]["function"]

    @functools.wraps(inner)
    def measured(*args, **kwargs):
        passed.append("in")
        return inner(*args, **kwargs)

    host.bot.message_handlers[0]["function"] = measured
    chat.attach(host.bot)
    host.deliver(said("one"))
    chat.detach(host.bot)
    host.deliver(said("two"))
    person.detach(host.bot)

    assert ([], ["in"] * 2, {"seen": [["one"], ["two"]]}) == (
        host.raised,
        passed,
        person.peek(KEY),
    )
    assert host.bot.message_handlers[0]["function"] is measured


# From inside a handler.


def test_sessions_may_be_attached_by_a_handler(
    quick_host: Host, sessions: Sessions[Session]
) -> None:
    """A handler that attaches: from the next update on there are sessions."""
    bot = quick_host.bot

    @bot.message_handler(commands=["attach"])
    def attach(message):
        sessions.attach(bot)

    bot.register_message_handler(keep)
    quick_host.deliver(said("/attach"), said("one"))

    assert ([], {"seen": [["one"]]}) == (quick_host.raised, sessions.peek(KEY))


def test_a_handler_that_detaches_keeps_its_session(
    quick_host: Host, sessions: Sessions[Session]
) -> None:
    """The bot is what it was, but for the handler that runs: that commits as ever."""
    bot = quick_host.bot
    before = set(vars(bot))
    sessions.attach(bot)

    @bot.message_handler()
    def handle(message, session):
        sessions.detach(bot)
        note(session, message.text)

    quick_host.deliver(said("one"))

    assert ([], {"seen": [["one"]]}) == (quick_host.raised, sessions.peek(KEY))
    assert (before, True) == (set(vars(bot)), bot.message_handlers[0]["function"] is handle)


def test_handlers_may_be_registered_by_a_handler(
    quick_host: Host, sessions: Sessions[Session]
) -> None:
    """What a handler registers while the bot runs gets its session, too."""
    sessions.attach(quick_host.bot)

    @quick_host.bot.message_handler(commands=["learn"])
    def learn(message, session):
        quick_host.bot.register_message_handler(keep, regexp="one")

    quick_host.deliver(said("/learn"), said("one"))

    assert ([], {"seen": [["one"]]}) == (quick_host.raised, sessions.peek(KEY))


# What is refused.


async def async_handler(message, session):
    pass


def generator_handler(message, session):
    yield


async def async_generator_handler(message, session):
    yield


class ClassHandler:
    def __init__(self, message, session):
        pass


class AsyncCallable:
    async def __call__(self, message, session):
        pass


def handler_without_update(session):
    pass


REFUSED = {
    "async": (async_handler, "async_handler is async"),
    "generator": (generator_handler, "generator_handler is a generator"),
    "async-generator": (async_generator_handler, "async_generator_handler is async"),
    "class": (ClassHandler, "ClassHandler"),
    "async-callable": (AsyncCallable(), "AsyncCallable is async"),
    "without-update": (handler_without_update, "no parameter for the update"),
}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize(("handler", "reason"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_have_a_session_is_refused_when_it_is_registered(
    handler: Any, reason: str, way: Way, sessions: Sessions[Session]
) -> None:
    """A `TypeError` at registration that names the handler, and the bot is as it was."""
    bot = TeleBot(TOKEN, threaded=False)
    sessions.attach(bot)
    before = state_of(bot)

    with pytest.raises(TypeError, match=reason):
        way(bot, "message", handler)

    assert before == state_of(bot)


@pytest.mark.parametrize("others", [0, 1], ids=["first", "second"])
@pytest.mark.parametrize(("handler", "reason"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_have_a_session_is_refused_when_the_bot_is_attached(
    handler: Any, reason: str, others: int, sessions: Sessions[Session]
) -> None:
    """A `TypeError` at `attach` for what was registered before; nothing is attached or changed."""
    bot = TeleBot(TOKEN, threaded=False)
    bot.register_message_handler(keep_both)
    bot.register_callback_query_handler(handler, func=None)
    bot.register_poll_handler(keep_both, func=None)
    for number in range(others):
        Sessions(name=["chat"][number]).attach(bot)
    before = state_of(bot)

    with pytest.raises(TypeError, match=reason):
        sessions.attach(bot)

    assert before == state_of(bot)
    with pytest.raises(ValueError, match="not attached"):
        sessions.detach(bot)


class Unfit:
    """No bot at all, with a part of what a bot has."""

    message_handlers: ClassVar[list[Any]] = []

    def process_new_updates(self, updates):
        pass


class AsyncBot(TeleBot):
    """What has all that a bot has, but is not blocking."""

    async def process_new_updates(self, updates):
        pass


@pytest.mark.parametrize(
    ("bot", "named"),
    [
        (AsyncBot(TOKEN, threaded=False), "AsyncBot"),
        (AsyncTeleBot(TOKEN), "AsyncTeleBot"),
        (TeleBot, "the class TeleBot"),
        (AsyncTeleBot, "the class AsyncTeleBot"),
        (None, "NoneType"),
        (TOKEN, "str"),
        (Unfit(), "Unfit"),
    ],
    ids=["async-subclass", "AsyncTeleBot", "class", "async-class", "None", "token", "unfit"],
)
def test_what_is_no_telebot_is_refused(bot: Any, named: str, sessions: Sessions[Session]) -> None:
    """A `TypeError` that names what was given, and says what to give instead."""
    before = dict(getattr(bot, "__dict__", {}))

    with pytest.raises(TypeError, match=named) as caught:
        sessions.attach(bot)

    assert "pass the bot itself, such as bot = TeleBot(token)" in str(caught.value)
    assert before == dict(getattr(bot, "__dict__", {}))


# Bots that run.


def counting_bot(sessions: Sessions[Session], **options: Any) -> TeleBot:
    """A bot that counts messages, asks for a name, and has its buttons pressed; undecorated."""
    bot = TeleBot(OFFLINE_TOKEN, **options)

    @bot.message_handler(commands=["name"])
    def ask(message, session):
        bot.register_next_step_handler(message, answer, "hello")

    def answer(message, greeting, session):
        session.name = message.text
        bot.send_message(message.chat.id, f"{greeting} {session.name}")

    @bot.callback_query_handler(func=None)
    def press(query, session):
        session.pressed = query.data

    sessions.attach(bot)

    @bot.message_handler()
    def count(message, session):
        session.count = session.get("count", 0) + 1
        markup = types.InlineKeyboardMarkup()
        markup.add(types.InlineKeyboardButton("more", callback_data="more"))
        bot.send_message(message.chat.id, str(session.count), reply_markup=markup)

    return bot


POLLED = [
    pytest.param({"threaded": threaded, "use_class_middlewares": middlewares}, id=f"{a}-{b}")
    for threaded, a in ((False, "one-thread"), (True, "threads"))
    for middlewares, b in ((False, "no-middlewares"), (True, "class-middlewares"))
]


@pytest.mark.parametrize("options", POLLED)
def test_a_bot_that_polls_has_its_sessions(
    options: dict[str, Any], bot_api: BotAPI, sessions: Sessions[Session]
) -> None:
    """The main flow under polling: messages, buttons, next steps, and after `detach` none."""
    bot, anna = counting_bot(sessions, **options), bot_api.user(1)
    with run_polling(bot) as polling:
        for text in ("hi", "hi", "/name", "Anna"):
            anna.send(text)
            polling.wait_idle()
        anna.press(bot_api.messages[0], "more")
        polling.wait_idle()
        texts = [message.text for message in bot_api.messages]

    assert ["1", "2", "hello Anna"] == texts
    assert {"count": 2, "name": "Anna", "pressed": "more"} == sessions.peek(1)


def test_messages_of_one_user_lose_nothing_in_many_threads(
    bot_api: BotAPI, sessions: Sessions[Session]
) -> None:
    """Eight workers, and a hundred messages of one user in one go: all of them are counted."""
    bot = TeleBot(OFFLINE_TOKEN, num_threads=8)
    sessions.attach(bot)

    @bot.message_handler()
    def count(message, session):
        session.count = session.get("count", 0) + 1

    with run_polling(bot) as polling:
        for _ in range(100):
            bot_api.user(1).send("hi")
        polling.wait_idle()

    assert {"count": 100} == sessions.peek(1)


class UnlockedStorage(MemoryStorage):
    """A storage whose locks do nothing: what makes the tests above worth something."""

    def hold(self, key: str, timeout: float | None = None) -> AbstractContextManager[Hold]:
        return nullcontext(Hold(self, key, timeout))


def test_without_locks_messages_are_lost(bot_api: BotAPI) -> None:
    """The control: where locks do nothing, two handlers meet and one of them is lost."""
    sessions = Sessions(storage=UnlockedStorage())
    bot = TeleBot(OFFLINE_TOKEN, num_threads=2)
    sessions.attach(bot)
    both_are_in = threading.Barrier(2, timeout=PATIENCE)

    @bot.message_handler()
    def count(message, session):
        session.count = session.get("count", 0) + 1
        both_are_in.wait()

    with run_polling(bot) as polling:
        bot_api.user(1).send("hi")
        bot_api.user(1).send("hi")
        polling.wait_idle()

    assert {"count": 1} == sessions.peek(1)


@contextmanager
def serving(bot: TeleBot) -> Iterator[str]:
    """The address of a web server with threads that hands to the bot what is posted to it."""

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            bot.process_new_updates([types.Update.de_json(body)])
            self.send_response_only(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

    with ThreadingHTTPServer(("127.0.0.1", 0), Receiver) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize("modes", [("one-thread",), ("threads", "class-middlewares")], ids="-".join)
def test_a_bot_with_a_webhook_has_its_sessions(
    modes: tuple[str, ...], bot_api: BotAPI, sessions: Sessions[Session]
) -> None:
    """The main flow under a webhook, in threads of the web server and of the bot."""
    with contextmanager(make_host)(*modes) as host, serving(host.bot) as url:
        sessions.attach(host.bot)

        @host.bot.message_handler()
        def count(message, session):
            session.count = session.get("count", 0) + 1
            host.bot.register_next_step_handler(message, answer, "hello")
            host.bot.send_message(message.chat.id, str(session.count))

        def answer(message, greeting, session):
            session.name = message.text
            host.bot.send_message(message.chat.id, f"{greeting} {session.name}")

        host.bot.set_webhook(url)
        for number, text in enumerate(["hi", "Anna", "hi"], start=1):
            bot_api.user(1).send(text)
            bot_api.wait_for_messages(number)
        bot_api.wait_until_confirmed()

    assert ([], ["1", "hello Anna", "2"]) == (host.raised, [m.text for m in bot_api.messages])
    assert {"count": 2, "name": "Anna"} == fields_of(sessions)


@pytest.mark.parametrize("options", POLLED)
@pytest.mark.parametrize("kind", ["async", "generator", "class"])
def test_a_step_that_cannot_have_a_session_does_not_stop_the_poller(
    kind: str, options: dict[str, Any], bot_api: BotAPI, sessions: Sessions[Session]
) -> None:
    """An async step that wants a session is an error for `exception_handler`; the bot goes on."""
    handler = RecordingExceptionHandler()
    bot = TeleBot(OFFLINE_TOKEN, exception_handler=handler, **options)
    sessions.attach(bot)
    bot.register_message_handler(keep)
    bot.register_next_step_handler_by_chat_id(1, REFUSED[kind][0])
    # In one batch with the step, where a poller that was stopped would lose it.
    bot_api.user(1).send("lost to the step")
    bot_api.user(2).send("one")

    with run_polling(bot) as polling:
        polling.wait_idle()
        bot_api.user(1).send("two")
        polling.wait_idle()

    assert [TypeError] == [type(error) for error in handler.exceptions]
    assert ({"seen": [["two"]]}, {"seen": [["one"]]}) == (sessions.peek(1), sessions.peek(2))


def test_an_update_without_a_key_is_an_error_of_the_handler(
    host: Host, sessions: Sessions[Session]
) -> None:
    """Where there is no sender, the handler is not called, and `exception_handler` hears why."""
    case = next(case for case in KIND_CASES if case.kind == "poll")
    sessions.attach(host.bot)
    register(host.bot, "poll", lambda poll, session: note(session, "never"))

    host.deliver(case.parse())

    assert [NoSessionKeyError] == [type(error) for error in host.raised]
    assert [] == list(sessions.keys())


def test_two_threads_that_process_at_once_stand_at_one_gate(
    sessions: Sessions[Session], storage: CountedStorage
) -> None:
    """Threads of a web server that bring the first updates together leave nothing behind."""
    host = Host()
    before = dict(vars(host.bot.next_step_backend))
    sessions.attach(host.bot)
    host.bot.register_message_handler(keep)
    start = threading.Barrier(8, timeout=PATIENCE)

    def process(number: int) -> None:
        start.wait()
        host.bot.process_new_updates([said("one", chat=GROUP)])

    threads = [threading.Thread(target=process, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sessions.detach(host.bot)

    assert ([], {"seen": [["one"]] * 8}) == (host.raised, sessions.peek(KEY))
    assert before == vars(host.bot.next_step_backend)
