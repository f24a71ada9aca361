"""Messages in a group that only one user and the bot see."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from telebot import apihelper, types

if TYPE_CHECKING:
    from telesession.testing import BotAPI, Group, User

Read = Callable[[], list[types.Update]]


@pytest.fixture
def group(api: BotAPI) -> Group:
    return api.group(-1001)


def keyboard() -> types.InlineKeyboardMarkup:
    markup = types.InlineKeyboardMarkup()
    markup.add(types.InlineKeyboardButton("Yes", callback_data="y"))
    return markup


def tell(bot: Any, text: str = "sure?", receiver: int = 1) -> Any:
    parameters = types.EphemeralMessageParameters(receiver)
    return bot.send_message(
        -1001, text, reply_markup=keyboard(), ephemeral_message_parameters=parameters
    )


def test_a_command_may_be_ephemeral(ada: User, group: Group, read: Read) -> None:
    """An ephemeral message of a user has the number 0 and one of its own kind, and no receiver."""
    ada.send("/a", chat=group, ephemeral=True)
    ada.send("b", chat=group)
    ada.send("/c", chat=group, ephemeral=True)
    messages = [update.message for update in read()]
    assert [(0, 1, None), (1, None, None), (0, 2, None)] == [
        (m.message_id, m.ephemeral_message_id, m.receiver_user) for m in messages
    ]


def test_the_bot_tells_one_user(api: BotAPI, bot: Any, ada: User) -> None:
    """An ephemeral message of the bot names its receiver, in the answer and in `messages`."""
    sent = tell(bot)
    assert (0, 1, "Ada") == (
        sent.message_id,
        sent.ephemeral_message_id,
        sent.receiver_user.first_name,
    )
    [message] = api.messages
    assert (0, 1, 1) == (message.message_id, message.ephemeral_message_id, message.receiver_id)


def test_other_messages_have_no_receiver(api: BotAPI, bot: Any) -> None:
    """A message for all has none of these numbers."""
    bot.send_message(-1001, "hi")
    [message] = api.messages
    assert (None, None, None, None) == (
        message.ephemeral_message_id,
        message.receiver_id,
        message.topic,
        message.business_connection_id,
    )


def test_its_receiver_presses_and_answers(
    api: BotAPI, bot: Any, ada: User, group: Group, read: Read
) -> None:
    """The receiver can press its button and reply to it, however the test has the message."""
    sent = tell(bot)
    tell(bot, "another one")
    ada.press(sent, "y")
    ada.press(api.messages[0], "y")
    ada.send("no", chat=group, reply_to=sent)
    first, second, third = read()
    for query in first.callback_query, second.callback_query:
        assert (0, 1, "sure?") == (
            query.message.message_id,
            query.message.ephemeral_message_id,
            query.message.text,
        )
    assert "sure?" == third.message.reply_to_message.text


def test_other_users_do_not_see_it(bot: Any, ada: User, boris: User, group: Group) -> None:
    """Another user can act neither on a message to the receiver, nor on one of the receiver."""
    said = ada.send("/a", chat=group, ephemeral=True)
    sent = tell(bot)
    for act in (
        lambda: boris.press(sent, "y"),
        lambda: boris.send("no", chat=group, reply_to=sent),
        lambda: boris.send("no", chat=group, reply_to=said),
    ):
        with pytest.raises(ValueError, match="user 2 cannot act on ephemeral message"):
            act()


def test_the_bot_answers_one(api: BotAPI, bot: Any, ada: User, group: Group) -> None:
    """A reply to an ephemeral message names its ephemeral number."""
    ada.send("/a", chat=group, ephemeral=True)
    sent = bot.send_message(
        -1001,
        "hi",
        reply_parameters=types.ReplyParameters(ephemeral_message_id=1),
        ephemeral_message_parameters=types.EphemeralMessageParameters(1),
    )
    assert (2, "/a") == (sent.ephemeral_message_id, sent.reply_to_message.text)


def test_it_is_edited_and_deleted_by_its_own_methods(api: BotAPI, bot: Any) -> None:
    """The bot edits and deletes an ephemeral message by its receiver and its own number."""
    tell(bot)
    tell(bot, "stays")
    assert bot.edit_ephemeral_message_text(-1001, 1, 1, "changed") is True
    assert bot.edit_ephemeral_message_reply_markup(-1001, 1, 1, keyboard()) is True
    assert ["changed", "stays"] == [message.text for message in api.messages]
    assert bot.delete_ephemeral_message(-1001, 1, 1) is True
    found = [api.find_message(-1001, 0, ephemeral_message_id=number) for number in (1, 2)]
    assert [None, "stays"] == [message and message["text"] for message in found]


@pytest.mark.parametrize(("receiver", "number"), [(2, 1), (1, 2)])
def test_the_wrong_receiver_or_number_is_refused(bot: Any, receiver: int, number: int) -> None:
    """An ephemeral message is found by its receiver and number together."""
    tell(bot)
    with pytest.raises(apihelper.ApiTelegramException, match="message to edit not found"):
        bot.edit_ephemeral_message_text(-1001, receiver, number, "changed")
