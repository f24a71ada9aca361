"""A bot that asks questions and listens for answers, and what is said to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from telebot import types, util
from updates import ANNA, BOT, GROUP, button_press, message, private, update

from telesession import MemoryStorage, Sessions, Storage, StorageError, ask, use_questions

if TYPE_CHECKING:
    from host import Host

ANNA_IN_GROUP = f"sender_in_chat:{GROUP['id']}:{ANNA['id']}"


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


class Refusal(Exception):
    """What a step raises."""


class UnreachableStorage(MemoryStorage):
    """A storage whose server is away from some moment on."""

    is_away = False

    def get(self, key: str) -> bytes | None:
        if self.is_away:
            raise StorageError("read", key, "the server is away")
        return super().get(key)
