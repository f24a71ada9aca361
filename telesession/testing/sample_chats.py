"""
The people, bots and chats of the samples in `telesession.testing.samples`.

All of them are made up. A person is a https://core.telegram.org/bots/api#user, a chat is a
https://core.telegram.org/bots/api#chat.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from telesession.testing.people.chats import ANONYMOUS_ADMIN, fields_in_topic, private_json

if TYPE_CHECKING:
    from telesession.testing.server.call import JSON

__all__ = [
    "ANNA",
    "ANONYMOUS_ADMIN",
    "BASIC_GROUP",
    "BORIS",
    "BOT",
    "CHANNEL",
    "CHANNEL_AS_USER",
    "CLARA",
    "CONNECTION",
    "DATE",
    "DIRECT_MESSAGES",
    "FORUM",
    "GROUP",
    "MANAGED_BOT",
    "OTHER_CHANNEL",
    "OTHER_CONNECTION",
    "OTHER_GROUP",
    "OTHER_OWNER",
    "OWNER",
    "TELEGRAM_AS_USER",
    "envelope",
    "in_topic",
    "press",
    "private",
    "user",
]

#: The date of every message, in seconds since 1970.
DATE = 1766304000


def user(user_id: int, first_name: str, **fields: Any) -> JSON:
    """A `User` with the fields that Telegram always sends."""
    return {"id": user_id, "is_bot": False, "first_name": first_name, **fields}


ANNA = user(412587349, "Anna", last_name="Petrova", username="anna_petrova", language_code="ru")
BORIS = user(1738502946, "Boris", language_code="en", is_premium=True)
CLARA = user(5837261904, "Clara", username="clara_w", language_code="de")
#: The owners of two business accounts that the bot answers for.
OWNER = user(295817460, "Dmitri", username="dmitri_tea", language_code="en", is_premium=True)
OTHER_OWNER = user(6402918375, "Emma", language_code="en")

#: The bot that gets the updates, and one that it manages.
BOT = {"id": 7210345968, "is_bot": True, "first_name": "Kettle", "username": "kettle_bot"}
MANAGED_BOT = {"id": 8123904756, "is_bot": True, "first_name": "Teapot", "username": "teapot_bot"}

#: The users that stand in for channels, and for the service of Telegram.
CHANNEL_AS_USER = {
    "id": 136817688,
    "is_bot": True,
    "first_name": "Channel",
    "username": "Channel_Bot",
}
TELEGRAM_AS_USER = user(777000, "Telegram")

BASIC_GROUP = {
    "id": -4127385096,
    "title": "Kitchen",
    "type": "group",
    "all_members_are_administrators": True,
}
GROUP = {
    "id": -1001472583690,
    "title": "Tea lovers",
    "username": "tea_lovers",
    "type": "supergroup",
}
OTHER_GROUP = {"id": -1002096318475, "title": "Coffee lovers", "type": "supergroup"}
FORUM = {"id": -1001958302746, "title": "Tea forum", "is_forum": True, "type": "supergroup"}
CHANNEL = {"id": -1001365920471, "title": "Tea news", "username": "tea_news", "type": "channel"}
OTHER_CHANNEL = {"id": -1001780246935, "title": "Coffee news", "type": "channel"}
DIRECT_MESSAGES = {
    "id": -1002739401586,
    "title": "Tea news",
    "is_direct_messages": True,
    "type": "supergroup",
}

#: The business connections of the two owners.
CONNECTION = "AQAAANv0EQAAHcT2_jYrGk8w"
OTHER_CONNECTION = "AQAAAO31EQAA9k2bXqZ-T0Vc"


#: The private chat with a person: it has the person's id.
private = private_json


def in_topic(chat: JSON, topic: int) -> JSON:
    """The fields that a message has because it is in a topic of a forum."""
    return fields_in_topic(chat, BORIS, topic, DATE)


def envelope(message_id: int, chat: JSON, sender: JSON | None = None) -> JSON:
    """The fields that every message has; `sender` is missing in a post of a channel."""
    from_user = {} if sender is None else {"from": sender}
    return {"message_id": message_id, **from_user, "chat": chat, "date": DATE}


def press(person: JSON, **fields: Any) -> JSON:
    """A `CallbackQuery`: a person pressed a button, which the further fields tell."""
    return {
        "id": "1772048217309518264",
        "from": person,
        "chat_instance": "-4829173650128374651",
        **fields,
    }
