"""A loopback Bot API and a bot without handlers that talks to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from telebot import TeleBot, types, util

from telesession.testing import BotAPI, User


@pytest.fixture
def api() -> Iterator[BotAPI]:
    """A running loopback Bot API, made by hand, because its fixture is under test here."""
    with BotAPI() as api:
        yield api


@pytest.fixture
def bot(api: BotAPI) -> Any:
    """A bot that handles its updates in the thread that brings them."""
    return TeleBot("77:offline", threaded=False)


@pytest.fixture
def ada(api: BotAPI) -> User:
    """A user with a name of her own."""
    return api.user(1, first_name="Ada", username="ada")


@pytest.fixture
def boris(api: BotAPI) -> User:
    """Another user."""
    return api.user(2, first_name="Boris", username="boris")


@pytest.fixture
def read(api: BotAPI, bot: Any) -> Callable[[], list[types.Update]]:
    """Reads the updates that were pushed since the last time, as telebot parses them."""
    last = 0

    def read() -> list[types.Update]:
        nonlocal last
        with api.short_polls():
            updates = bot.get_updates(last + 1, allowed_updates=util.update_types)
        last = updates[-1].update_id
        return list(updates)

    return read


@pytest.fixture
def kinds(api: BotAPI, bot: Any) -> Callable[[], list[str]]:
    """The bot gets updates of every kind; tells the kinds of those that wait for it."""
    with api.short_polls():
        bot.get_updates(allowed_updates=util.update_types)

    def kinds() -> list[str]:
        return [next(iter(update.keys() - {"update_id"})) for update in api.unconfirmed]

    return kinds
