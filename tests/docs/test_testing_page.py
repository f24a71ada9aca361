"""The calls in the tables of the page on tests, and the conversation that it shows."""

from __future__ import annotations

import re
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest
from telebot import TeleBot, types
from telebot.util import quick_markup

from support.bots import ROOT, load
from support.pages import blocks_of, read
from telesession import MemoryStorage
from telesession.testing import FaultyStorage, forget_sessions, run_polling

if TYPE_CHECKING:
    from telesession.testing import BotAPI

PAGE = ROOT / "docs" / "testing.md"
# The code in the first cell of each row.
CELLS = re.findall(r"^\| (`.*?`) \|", read(PAGE), re.MULTILINE)
CALLS = [call for cell in CELLS for call in re.findall(r"`([^`]+)`", cell) if call != "`"]


def make_bot() -> Any:
    """A bot that answers each text."""
    bot: Any = TeleBot("77:offline")

    @bot.message_handler()
    def answer(message: Any) -> None:
        bot.reply_to(message, "hello")

    return bot


def names_for(api: BotAPI, bot: Any) -> dict[str, Any]:
    """The things that the rows of the page are about."""
    ada, bob = api.user(1, first_name="Ada"), api.user(2)
    group = api.group(-1001, forum=True, owner=ada)
    menu = bot.send_message(1, "?", reply_markup=quick_markup({"Yes": {"callback_data": "y"}}))
    prices = [types.LabeledPrice("tea", 7)]
    choices = [types.InputPollOption(text) for text in ("tea", "milk")]
    query = ada.inline("tea")
    article = types.InlineQueryResultArticle("1", "Tea", types.InputTextMessageContent("a pot"))
    bot.answer_inline_query(query["inline_query"]["id"], [article])
    return {
        "ada": ada,
        "bob": bob,
        "group": group,
        "basic_group": api.group(-55),
        "channel": api.channel(-1002),
        "chat": api.business_chat(bob, owner=ada),
        "menu": menu,
        "invoice": bot.send_invoice(1, "Tea", "a pot", "p", "", "XTR", prices),
        "parcel": bot.send_invoice(
            1, "Tea", "a pot", "p", "t", "EUR", prices, is_flexible=True, max_tip_amount=50
        ),
        "art": bot.send_paid_media(1, 5, [types.InputPaidMediaPhoto("file-1")]),
        "poll": bot.send_poll(1, "what?", choices, is_anonymous=False),
        "query": query,
        "update": ada.send("hi"),
        "file_id": ada.photo()["message"]["photo"][-1]["file_id"],
        "storage": FaultyStorage(MemoryStorage()),
        "bot_api": api,
    }


# Call -> the call that must come before it.
BEFORE = {
    "ada.ban(bob, group)": "bob.join(group)",
    "ada.close_topic(group, 7)": "ada.send('hi', chat=group, topic=7)",
    "ada.demote(bob, group)": "ada.promote(bob, group)",
    "ada.promote(bob, group)": "bob.join(group)",
    "ada.unban(bob, group)": "ada.ban(bob, group)",
    "ada.unblock()": "ada.block()",
    "bob.leave(group)": "bob.join(group)",
    "bob.unboost(group)": "bob.boost(group)",
}


@pytest.mark.parametrize("call", CALLS)
def test_each_call_in_a_table_can_be_made(bot_api: BotAPI, call: str) -> None:
    """The code of each row runs as it is written."""
    bot = make_bot()
    names = names_for(bot_api, bot)
    with ExitStack() as stack:
        if "polling" in call:
            names["polling"] = stack.enter_context(run_polling(bot))
        code = f"{call} pass" if call.endswith(":") else call
        exec("\n".join([BEFORE.get(call, ""), code]), names)


def test_there_are_calls() -> None:
    """Control: the tables of the page are found."""
    assert {'polling.say(ada, "hi")', "ada.pay(invoice)", "storage.lose_lock()"} <= set(CALLS)


def test_the_conversation_is_as_the_page_shows(bot_api: BotAPI, fresh_process: None) -> None:
    """The shop that sells no more has the conversation of the page."""
    shop = load("payments")
    try:
        forget_sessions(shop.storage)
        ada = bot_api.user(1, first_name="Ada")
        with run_polling(shop.bot) as polling:
            [invoice] = polling.say(ada, "/buy")
            shop.COFFEE = "tea"
            polling.replies_to(ada.pay(invoice))
    finally:
        shop.storage.close()
        del sys.modules[shop.__name__]
    [shown] = [block.code for block in blocks_of(PAGE, "text") if "Conversation" in block.code]
    assert shown.splitlines()[1:] == bot_api.transcript.splitlines()
