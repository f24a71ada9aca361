"""Handlers of every kind, ways to give them to a bot, and groups that become supergroups."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from telebot import TeleBot, types, util

from support.updates import (
    ANNA,
    BASIC_GROUP,
    CASES,
    GROUP,
    decorate,
    handler_name,
    message as message_json,
    register,
    update,
)
from telesession import MemoryStorage, Session, Sessions, Storage, by_chat

KEY = str(ANNA["id"])
# One update of each kind.
KIND_CASES = list({case.kind: case for case in CASES}.values())

Handler = Callable[..., Any]


def note(session: Any, *seen: Any) -> None:
    """What most handlers do: put into their session what else they got."""
    session.setdefault("seen", []).append(list(seen))


def keep(message, session):
    note(session, message.text)


def keep_both(message, session, chat):
    note(session, message.text)
    note(chat, message.text)


def ignore(message):
    pass


@dataclass
class Cart:
    """A typed session."""

    items: list[str] = field(default_factory=list)

    def add(self, item: str) -> int:
        self.items.append(item)
        return len(self.items)


class OutOfTeaError(Exception):
    """What handlers raise."""


OLD_KEY, NEW_KEY = f"chat:{BASIC_GROUP['id']}", f"chat:{GROUP['id']}"


def told(chat: dict[str, Any], **fields: Any) -> types.Update:
    """A service message, which has no text."""
    message = message_json(chat, ANNA, **fields)
    del message["text"]
    return update("message", message)


def told_in_group() -> types.Update:
    return told(BASIC_GROUP, migrate_to_chat_id=GROUP["id"])


def told_in_supergroup() -> types.Update:
    return told(GROUP, migrate_from_chat_id=BASIC_GROUP["id"])


TELLINGS = {"group": told_in_group, "supergroup": told_in_supergroup}
ORDERS = [("group", "supergroup"), ("supergroup", "group")]


def by_chats(storage: Storage | None = None, **options: Any) -> Sessions[Session]:
    return Sessions(storage=storage or MemoryStorage(), get_storage_key=by_chat, **options)


def count_message(message, session):
    session.counter = session.get("counter", 0) + 1


def signature_text(handler: Handler) -> str:
    """A test id: how a handler takes its arguments."""
    return str(inspect.signature(handler)).replace(" ", "")


SESSION_PLACES = [
    keep,
    lambda session, message: note(session, message.text),
    lambda message, *, session: note(session, message.text),
    lambda message, session=None: note(session, message.text),
    lambda message, session, /: note(session, message.text),
    lambda message, unit="cm", session=None, /: note(session, message.text),
    lambda message, *args, session: note(session, message.text),
    lambda message, session, *args, **kwargs: note(session, message.text),
]
# The same for next steps and replies, which are registered with a unit and a scale.
STEP_PLACES = [
    lambda message, session, unit, scale=1: note(session, message.text, unit, scale),
    lambda message, unit, session, *, scale: note(session, message.text, unit, scale),
    lambda message, unit, scale=1, *, session: note(session, message.text, unit, scale),
    lambda message, unit, scale=1, session=None: note(session, message.text, unit, scale),
    lambda message, session, /, unit, **kw: note(session, message.text, unit, *kw.values()),
    lambda message, session, *args, **kw: note(session, message.text, *args, *kw.values()),
]


async def async_handler(message, session): ...


async def async_generator(message, session):
    yield


def generator(message, session):
    yield


class AsyncGreeter:
    async def __call__(self, message, session): ...

    async def greet(self, message, session): ...


def no_update(session): ...


class ClassHandler:
    def __init__(self, message, session):
        pass


# By their kind: a handler, and why it is refused.
REFUSED_HANDLERS = {
    "async": (async_handler, "async_handler is async"),
    "generator": (generator, "generator is a generator"),
    "async-generator": (async_generator, "async_generator is async"),
    "class": (ClassHandler, "ClassHandler"),
    "async-callable": (AsyncGreeter(), "AsyncGreeter is async"),
    "without-update": (no_update, "no parameter for the update"),
}


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


Way = Callable[[TeleBot, str, Handler], None]


def add_handler(bot: TeleBot, kind: str, handler: Handler) -> None:
    """Adds a handler for every update of a kind, as decorators of telebot do."""
    method = getattr(bot, f"add_{handler_name(kind)}")
    method({"function": handler, "pass_bot": False, "filters": {}})


def state_of_bot(bot: TeleBot) -> tuple[Any, ...]:
    """All that there is to see of a bot, by what is compared with `is` or is plain."""
    attributes = {
        name: [(id(item), dict(item)) if isinstance(item, dict) else item for item in value]
        if isinstance(value, list)
        else value
        for name, value in vars(bot).items()
    }
    return attributes, dict(vars(bot.next_step_backend)), dict(vars(bot.reply_backend))


WAYS = {"decorator": decorate, "register": register, "add": add_handler}
HANDLER_NAMES = {handler_name(kind) for kind in util.update_types}
