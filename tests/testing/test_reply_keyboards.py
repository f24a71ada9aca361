"""Presses on the buttons of a reply keyboard."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from telebot import types

if TYPE_CHECKING:
    from telesession.testing import BotAPI, User

Read = Callable[[], list[types.Update]]

BUTTONS = [
    types.KeyboardButton("Phone", request_contact=True),
    types.KeyboardButton("Place", request_location=True),
    types.KeyboardButton("Friend", request_users=types.KeyboardButtonRequestUsers(3)),
    types.KeyboardButton(
        "Named", request_users=types.KeyboardButtonRequestUsers(4, request_name=True)
    ),
    types.KeyboardButton("Group", request_chat=types.KeyboardButtonRequestChat(5, False)),
    types.KeyboardButton("App", web_app=types.WebAppInfo("https://example.org")),
    types.KeyboardButton("Poll", request_poll=types.KeyboardButtonPollType()),
    types.KeyboardButton("Red", style="danger"),
    "Plain",
]


def send_keyboard(bot: Any) -> Any:
    markup = types.ReplyKeyboardMarkup()
    markup.add(*BUTTONS)
    return bot.send_message(1, "pick", reply_markup=markup)


@pytest.mark.parametrize(
    ("label", "kind", "details", "expected"),
    [
        ("Phone", "contact", lambda m: m.contact.user_id, 1),
        ("Place", "location", lambda m: m.location.longitude, 13.405),
        ("Friend", "users_shared", lambda m: m.users_shared.request_id, 3),
        ("Named", "users_shared", lambda m: m.users_shared.users[0].first_name, "User 1000"),
        (
            "Group",
            "chat_shared",
            lambda m: (m.chat_shared.request_id, m.chat_shared.chat_id),
            (5, -1000),
        ),
        ("App", "web_app_data", lambda m: m.web_app_data.button_text, "App"),
        ("Red", "text", lambda m: m.text, "Red"),
        ("Plain", "text", lambda m: m.text, "Plain"),
    ],
)
def test_a_button_sends_what_it_requests(  # noqa: PLR0917 -- the columns of the table
    bot: Any, ada: User, read: Read, label: str, kind: str, details: Any, expected: Any
) -> None:
    """A button sends the kind of message that it requests, and one without a request its label."""
    ada.press(send_keyboard(bot), label)
    message = read()[0].message
    assert (kind, expected, None) == (
        message.content_type,
        details(message),
        message.reply_to_message,
    )


def test_an_unknown_request_is_explained(bot: Any, ada: User) -> None:
    """A button that requests something that the kit does not know is refused with its name."""
    with pytest.raises(ValueError, match="'Poll': the message that request_poll makes"):
        ada.press(send_keyboard(bot), "Poll")


def test_a_label_that_is_not_there_is_explained(bot: Any, ada: User) -> None:
    """A press on a label that the keyboard lacks names the labels that it has."""
    with pytest.raises(
        ValueError, match="no button 'Maybe' to press: the keyboard has Phone, Place"
    ):
        ada.press(send_keyboard(bot), "Maybe")


@pytest.mark.parametrize(
    ("chat_id", "options"),
    [
        (1, {"message_thread_id": 7}),
        (-1001, {"message_thread_id": 7}),
        (-1002, {"direct_messages_topic_id": 1}),
        (1, {"business_connection_id": "shop"}),
    ],
    ids=["private topic", "forum topic", "direct messages", "business chat"],
)
def test_the_press_goes_to_the_place_of_the_keyboard(  # noqa: PLR0917 -- as above
    api: BotAPI, bot: Any, ada: User, read: Read, chat_id: int, options: dict[str, Any]
) -> None:
    """The message is where the keyboard is; outside private chats it is a reply to it."""
    api.direct_messages(-1002)
    for chat in (ada.private_chat, api.group(-1001, forum=True)):
        ada.send("hi", chat=chat, topic=7)
    api.business_chat(ada, connection_id="shop")
    markup = types.ReplyKeyboardMarkup().add("Plain")
    sent = bot.send_message(chat_id, "pick", reply_markup=markup, **options)
    ada.press(sent, "Plain")
    update = read()[-1]
    message = update.message or update.business_message
    direct = message.direct_messages_topic
    place = {
        "message_thread_id": message.message_thread_id,
        "direct_messages_topic_id": direct and direct.topic_id,
        "business_connection_id": message.business_connection_id,
    }
    assert (chat_id, {**dict.fromkeys(place), **options}) == (message.chat.id, place)
    replied = message.reply_to_message and message.reply_to_message.message_id
    assert (None if chat_id > 0 else sent.message_id) == replied
