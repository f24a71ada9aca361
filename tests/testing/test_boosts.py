"""Boosts of chats on the loopback Bot API."""

from __future__ import annotations

from typing import Any

import pytest
from freezegun import freeze_time
from telebot import TeleBot, types

from telesession.testing import BotAPI, Channel, User, run_polling

MONTH = 30 * 86400


@pytest.fixture
def channel(api: BotAPI) -> Channel:
    """A channel that the bot administers."""
    return api.channel(-1002)


def test_a_user_boosts_a_channel(channel: Channel, bot: Any, ada: User) -> None:
    """The bot asks for the boosts of a user, and gets those that have not expired."""
    with freeze_time("2030-01-01") as clock:
        ada.boost(channel)
        clock.tick(MONTH - 1)
        ada.boost(channel)
        both = bot.get_user_chat_boosts(-1002, 1).boosts
        clock.tick(1)
        [left] = bot.get_user_chat_boosts(-1002, 1).boosts

    assert both[1].boost_id == left.boost_id
    assert (1, "premium", MONTH) == (
        left.source.user.id,
        left.source.source,
        left.expiration_date - left.add_date,
    )


def test_a_user_takes_a_boost_back(channel: Channel, bot: Any, ada: User) -> None:
    """The latest boost goes first, and there must be one."""
    first, second = (ada.boost(channel)["chat_boost"]["boost"]["boost_id"] for _ in range(2))
    removed = ada.unboost(channel)["removed_chat_boost"]["boost_id"]

    assert (second, [first]) == (
        removed,
        [boost.boost_id for boost in bot.get_user_chat_boosts(-1002, 1).boosts],
    )
    ada.unboost(channel)
    with pytest.raises(ValueError, match="user 1 does not boost chat -1002"):
        ada.unboost(channel)


def test_handlers_meet_boosts(bot_api: BotAPI) -> None:
    """The handlers of telebot get both kinds of updates."""
    bot, seen = TeleBot("77:offline"), list[str]()

    @bot.chat_boost_handler()
    def add(update: types.ChatBoostUpdated) -> None:
        seen.append(update.boost.boost_id)

    @bot.removed_chat_boost_handler()
    def remove(update: types.ChatBoostRemoved) -> None:
        seen.append(update.boost_id)

    ada, channel = bot_api.user(1), bot_api.channel(-1002)
    with run_polling(bot) as polling:
        for act in (ada.boost, ada.unboost):
            act(channel)
            polling.wait_idle()

    assert (2, 1) == (len(seen), len(set(seen)))
