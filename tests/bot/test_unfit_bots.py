"""Bots and handlers that cannot be attached: they are refused, and nothing is changed."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest
from telebot import TeleBot
from telebot.async_telebot import AsyncTeleBot

from support.handlers import REFUSED_HANDLERS, WAYS, Way, keep_both, state_of_bot
from support.updates import TOKEN
from telesession import Session, Sessions


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize(("handler", "reason"), REFUSED_HANDLERS.values(), ids=REFUSED_HANDLERS)
def test_what_cannot_have_a_session_is_refused_when_it_is_registered(
    handler: Any, reason: str, way: Way, sessions: Sessions[Session]
) -> None:
    """A `TypeError` at registration that names the handler, and the bot is as it was."""
    bot = TeleBot(TOKEN, threaded=False)
    sessions.attach(bot)
    before = state_of_bot(bot)

    with pytest.raises(TypeError, match=reason):
        way(bot, "message", handler)

    assert before == state_of_bot(bot)


@pytest.mark.parametrize("others", [0, 1], ids=["first", "second"])
@pytest.mark.parametrize(("handler", "reason"), REFUSED_HANDLERS.values(), ids=REFUSED_HANDLERS)
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
    before = state_of_bot(bot)

    with pytest.raises(TypeError, match=reason):
        sessions.attach(bot)

    assert before == state_of_bot(bot)
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
