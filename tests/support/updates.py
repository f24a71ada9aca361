"""Updates as Telegram sends them, each with the keys it must get: the table behind several tests.

Every update kind of the installed telebot has at least one row, and so has every way in which
Telegram hides, lends or repeats an identity. The expected keys are written by hand.
"""

from __future__ import annotations

import inspect
import itertools
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from telebot import TeleBot, types, util

if TYPE_CHECKING:
    from collections.abc import Callable


TOKEN = "7210345968:AAF_made-up_token"

GROUP_ANONYMOUS_BOT = 1087968824
CHANNEL_BOT = 136817688
TELEGRAM = 777000
MADE_UP_USERS = (GROUP_ANONYMOUS_BOT, CHANNEL_BOT, TELEGRAM)

IRREGULAR_HANDLERS = {"inline_query": "inline", "chosen_inline_result": "chosen_inline"}


@dataclass(frozen=True)
class UpdateCase:
    """
    One update and the keys it must get.

    Args:
        name: What happened, as a test id.
        kind: The field of `Update` it arrives in, one of `telebot.util.update_types`.
        update: The whole update, as decoded from Telegram's JSON.
        sender: The key `by_sender` must give.
        chat: The key `by_chat` must give.
        sender_in_chat: The key `by_sender_in_chat` must give.
        topic: The key `by_topic` must give.
        sender_in_topic: The key `by_sender_in_topic` must give.
    """

    name: str
    kind: str
    update: dict[str, Any]
    sender: str | None
    chat: str | None
    sender_in_chat: str | None
    topic: str | None
    sender_in_topic: str | None

    def parse(self) -> types.Update:
        """The update as telebot reads it off the wire."""
        return types.Update.de_json(json.dumps(self.update))

    def payload(self) -> Any:
        """The object telebot hands to a handler of this kind."""
        return getattr(self.parse(), self.kind)


def handler_name(kind: str) -> str:
    """The name telebot gives the decorator for updates of this kind."""
    return f"{IRREGULAR_HANDLERS.get(kind, kind)}_handler"


def filters(method: Callable[..., Any]) -> dict[str, Any]:
    """Filters that let every update through, for a decorator or a `register_` method of telebot."""
    everything: dict[str, Any] = {"func": lambda _: True}
    if "content_types" in inspect.signature(method).parameters:
        everything["content_types"] = [*util.content_type_media, *util.content_type_service]
    return everything


def decorate(bot: TeleBot, kind: str, handler: Callable[..., Any]) -> None:
    """Adds a handler for every update of this kind, as `@bot.<kind>_handler(...)` would."""
    decorator = getattr(bot, handler_name(kind))
    decorator(**filters(decorator))(handler)


def register(bot: TeleBot, kind: str, handler: Callable[..., Any]) -> None:
    """Adds a handler for every update of this kind, through `bot.register_<kind>_handler`."""
    method = getattr(bot, f"register_{handler_name(kind)}")
    method(handler, **filters(method))


UPDATE_IDS = itertools.count(583920140)


def case(
    name: str,
    kind: str,
    payload: dict[str, Any],
    *,
    sender: str | None,
    chat: str | None = None,
    sender_in_chat: str | None = None,
    topic: str | None = None,
    sender_in_topic: str | None = None,
) -> UpdateCase:
    """A row of the table, its payload wrapped into an update with the next id."""
    update = {"update_id": next(UPDATE_IDS), kind: payload}
    return UpdateCase(name, kind, update, sender, chat, sender_in_chat, topic, sender_in_topic)


def user(user_id: int, first_name: str, **fields: Any) -> dict[str, Any]:
    """A `User`, of whom Telegram always sends these fields."""
    return {"id": user_id, "is_bot": False, "first_name": first_name, **fields}


def private(person: dict[str, Any]) -> dict[str, Any]:
    """The private chat with a person: it has the person's id."""
    names = {
        name: person[name] for name in ("first_name", "last_name", "username") if name in person
    }
    return {"id": person["id"], **names, "type": "private"}


def message(
    chat: dict[str, Any], sender: dict[str, Any] | None = None, /, **fields: Any
) -> dict[str, Any]:
    """A `Message` in a chat; one without content of its own is a text message."""
    base = {"message_id": 5127, "chat": chat, "date": 1766304000}
    if sender is not None:
        base["from"] = sender
    if not {"photo", "new_chat_members", "forum_topic_created"} & fields.keys():
        base["text"] = "one pot of sencha, please"
    return base | fields


ANNA = user(412587349, "Anna", last_name="Petrova", username="anna_petrova", language_code="ru")
BORIS = user(1738502946, "Boris", language_code="en", is_premium=True)
CLARA = user(5837261904, "Clara", username="clara_w", language_code="de")
OWNER = user(295817460, "Dmitri", username="dmitri_tea", language_code="en", is_premium=True)
OTHER_OWNER = user(6402918375, "Emma", language_code="en")
BOT = {"id": 7210345968, "is_bot": True, "first_name": "Kettle", "username": "kettle_bot"}
MANAGED_BOT = {"id": 8123904756, "is_bot": True, "first_name": "Teapot", "username": "teapot_bot"}

ANONYMOUS_ADMIN = {
    "id": GROUP_ANONYMOUS_BOT,
    "is_bot": True,
    "first_name": "Group",
    "username": "GroupAnonymousBot",
}
CHANNEL_AS_USER = {
    "id": CHANNEL_BOT,
    "is_bot": True,
    "first_name": "Channel",
    "username": "Channel_Bot",
}
TELEGRAM_AS_USER = user(TELEGRAM, "Telegram")

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

CONNECTION = "AQAAANv0EQAAHcT2_jYrGk8w"
OTHER_CONNECTION = "AQAAAO31EQAA9k2bXqZ-T0Vc"

INVITE_LINK = {
    "invite_link": "https://t.me/+Hq3xJkYt8Z4yNmEy",
    "creator": BORIS,
    "creates_join_request": True,
    "is_primary": False,
    "is_revoked": False,
}


def message_from(user_id: int, text: str = "hi") -> types.Message:
    """What a user writes to the bot in private."""
    person = user(user_id, "Anna")
    return types.Message.de_json(message(private(person), person, text=text))


def forwarded_post(channel: dict[str, Any]) -> dict[str, Any]:
    """What a channel post carries when it appears in the linked discussion group by itself."""
    origin = {"type": "channel", "chat": channel, "message_id": 318, "date": 1766303990}
    return {
        "from": TELEGRAM_AS_USER,
        "sender_chat": channel,
        "forward_origin": origin,
        "is_automatic_forward": True,
    }


def in_topic(chat: dict[str, Any], thread_id: int) -> dict[str, Any]:
    """What a message in a topic carries: a reply to the message that created the topic."""
    created = message(
        chat,
        BORIS,
        message_id=thread_id,
        message_thread_id=thread_id,
        is_topic_message=True,
        forum_topic_created={"name": "Green tea", "icon_color": 7322096},
    )
    return {"message_thread_id": thread_id, "is_topic_message": True, "reply_to_message": created}


def button_press(person: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """A `CallbackQuery`: a person pressed a button under a message of the bot."""
    return {
        "id": "1772048217309518264",
        "from": person,
        "chat_instance": "-4829173650128374651",
        "data": "brew:sencha",
        **fields,
    }


KEYBOARD = {"inline_keyboard": [[{"text": "Brew", "callback_data": "brew:sencha"}]]}

MESSAGES = (
    case(
        "private message",
        "message",
        message(private(ANNA), ANNA),
        sender="412587349",
        chat="chat:412587349",
        sender_in_chat="sender_in_chat:412587349:412587349",
        topic="topic:412587349:general",
        sender_in_topic="sender_in_topic:412587349:general:412587349",
    ),
    case(
        "photo in a private chat",
        "message",
        message(
            private(CLARA),
            CLARA,
            photo=[
                {
                    "file_id": "AgACAgIAAxkBAAIUB2dmYwABk1t5",
                    "file_unique_id": "AQADx9oxG7Kp0Ul4",
                    "file_size": 1387,
                    "width": 90,
                    "height": 67,
                }
            ],
            caption="my new teapot",
        ),
        sender="5837261904",
        chat="chat:5837261904",
        sender_in_chat="sender_in_chat:5837261904:5837261904",
        topic="topic:5837261904:general",
        sender_in_topic="sender_in_topic:5837261904:general:5837261904",
    ),
    case(
        "message in a topic of a private chat",
        "message",
        message(private(ANNA), ANNA, message_thread_id=48213, is_topic_message=True),
        sender="412587349",
        chat="chat:412587349",
        sender_in_chat="sender_in_chat:412587349:412587349",
        topic="topic:412587349:48213",
        sender_in_topic="sender_in_topic:412587349:48213:412587349",
    ),
    case(
        "message in a basic group",
        "message",
        message(BASIC_GROUP, BORIS),
        sender="1738502946",
        chat="chat:-4127385096",
        sender_in_chat="sender_in_chat:-4127385096:1738502946",
        topic="topic:-4127385096:general",
        sender_in_topic="sender_in_topic:-4127385096:general:1738502946",
    ),
    case(
        "message in a supergroup",
        "message",
        message(GROUP, ANNA),
        sender="412587349",
        chat="chat:-1001472583690",
        sender_in_chat="sender_in_chat:-1001472583690:412587349",
        topic="topic:-1001472583690:general",
        sender_in_topic="sender_in_topic:-1001472583690:general:412587349",
    ),
    case(
        "member added by another",
        "message",
        message(
            GROUP,
            BORIS,
            new_chat_participant=CLARA,
            new_chat_member=CLARA,
            new_chat_members=[CLARA],
        ),
        sender="1738502946",
        chat="chat:-1001472583690",
        sender_in_chat="sender_in_chat:-1001472583690:1738502946",
        topic="topic:-1001472583690:general",
        sender_in_topic="sender_in_topic:-1001472583690:general:1738502946",
    ),
    case(
        "anonymous admin",
        "message",
        message(GROUP, ANONYMOUS_ADMIN, sender_chat=GROUP, author_signature="tea master"),
        sender="-1001472583690",
        chat="chat:-1001472583690",
        sender_in_chat="sender_in_chat:-1001472583690:-1001472583690",
        topic="topic:-1001472583690:general",
        sender_in_topic="sender_in_topic:-1001472583690:general:-1001472583690",
    ),
    case(
        "anonymous admin of another group",
        "message",
        message(OTHER_GROUP, ANONYMOUS_ADMIN, sender_chat=OTHER_GROUP),
        sender="-1002096318475",
        chat="chat:-1002096318475",
        sender_in_chat="sender_in_chat:-1002096318475:-1002096318475",
        topic="topic:-1002096318475:general",
        sender_in_topic="sender_in_topic:-1002096318475:general:-1002096318475",
    ),
    case(
        "channel writing in a group",
        "message",
        message(GROUP, CHANNEL_AS_USER, sender_chat=CHANNEL),
        sender="-1001365920471",
        chat="chat:-1001472583690",
        sender_in_chat="sender_in_chat:-1001472583690:-1001365920471",
        topic="topic:-1001472583690:general",
        sender_in_topic="sender_in_topic:-1001472583690:general:-1001365920471",
    ),
    case(
        "another channel writing in the group",
        "message",
        message(GROUP, CHANNEL_AS_USER, sender_chat=OTHER_CHANNEL),
        sender="-1001780246935",
        chat="chat:-1001472583690",
        sender_in_chat="sender_in_chat:-1001472583690:-1001780246935",
        topic="topic:-1001472583690:general",
        sender_in_topic="sender_in_topic:-1001472583690:general:-1001780246935",
    ),
    case(
        "automatic forward from the linked channel",
        "message",
        message(GROUP, **forwarded_post(CHANNEL)),
        sender="-1001365920471",
        chat="chat:-1001472583690",
        sender_in_chat="sender_in_chat:-1001472583690:-1001365920471",
        topic="topic:-1001472583690:general",
        sender_in_topic="sender_in_topic:-1001472583690:general:-1001365920471",
    ),
    case(
        "automatic forward from another channel",
        "message",
        message(OTHER_GROUP, **forwarded_post(OTHER_CHANNEL)),
        sender="-1001780246935",
        chat="chat:-1002096318475",
        sender_in_chat="sender_in_chat:-1002096318475:-1001780246935",
        topic="topic:-1002096318475:general",
        sender_in_topic="sender_in_topic:-1002096318475:general:-1001780246935",
    ),
    case(
        "message in a forum topic",
        "message",
        message(FORUM, ANNA, **in_topic(FORUM, 217)),
        sender="412587349",
        chat="chat:-1001958302746",
        sender_in_chat="sender_in_chat:-1001958302746:412587349",
        topic="topic:-1001958302746:217",
        sender_in_topic="sender_in_topic:-1001958302746:217:412587349",
    ),
    case(
        "anonymous admin in a forum topic",
        "message",
        message(FORUM, ANONYMOUS_ADMIN, sender_chat=FORUM, **in_topic(FORUM, 348)),
        sender="-1001958302746",
        chat="chat:-1001958302746",
        sender_in_chat="sender_in_chat:-1001958302746:-1001958302746",
        topic="topic:-1001958302746:348",
        sender_in_topic="sender_in_topic:-1001958302746:348:-1001958302746",
    ),
    case(
        "message in the General topic",
        "message",
        message(FORUM, ANNA),
        sender="412587349",
        chat="chat:-1001958302746",
        sender_in_chat="sender_in_chat:-1001958302746:412587349",
        topic="topic:-1001958302746:general",
        sender_in_topic="sender_in_topic:-1001958302746:general:412587349",
    ),
    case(
        "reply in the General topic",
        "message",
        message(
            FORUM,
            BORIS,
            message_thread_id=5120,
            reply_to_message=message(FORUM, ANNA, message_id=5120),
        ),
        sender="1738502946",
        chat="chat:-1001958302746",
        sender_in_chat="sender_in_chat:-1001958302746:1738502946",
        topic="topic:-1001958302746:general",
        sender_in_topic="sender_in_topic:-1001958302746:general:1738502946",
    ),
    case(
        "reply in a supergroup without topics",
        "message",
        message(
            GROUP,
            BORIS,
            message_thread_id=5120,
            reply_to_message=message(GROUP, ANNA, message_id=5120),
        ),
        sender="1738502946",
        chat="chat:-1001472583690",
        sender_in_chat="sender_in_chat:-1001472583690:1738502946",
        topic="topic:-1001472583690:general",
        sender_in_topic="sender_in_topic:-1001472583690:general:1738502946",
    ),
    case(
        "direct message to a channel",
        "message",
        message(
            DIRECT_MESSAGES,
            ANNA,
            direct_messages_topic={"topic_id": 412587349, "user": ANNA},
        ),
        sender="412587349",
        chat="chat:-1002739401586",
        sender_in_chat="sender_in_chat:-1002739401586:412587349",
        topic="topic:-1002739401586:direct-412587349",
        sender_in_topic="sender_in_topic:-1002739401586:direct-412587349:412587349",
    ),
    case(
        "channel's answer to a direct message",
        "message",
        message(
            DIRECT_MESSAGES,
            CHANNEL_AS_USER,
            sender_chat=CHANNEL,
            direct_messages_topic={"topic_id": 412587349, "user": ANNA},
        ),
        sender="-1001365920471",
        chat="chat:-1002739401586",
        sender_in_chat="sender_in_chat:-1002739401586:-1001365920471",
        topic="topic:-1002739401586:direct-412587349",
        sender_in_topic="sender_in_topic:-1002739401586:direct-412587349:-1001365920471",
    ),
    case(
        "edited private message",
        "edited_message",
        message(private(ANNA), ANNA, edit_date=1766304060),
        sender="412587349",
        chat="chat:412587349",
        sender_in_chat="sender_in_chat:412587349:412587349",
        topic="topic:412587349:general",
        sender_in_topic="sender_in_topic:412587349:general:412587349",
    ),
    case(
        "edited message of an anonymous admin",
        "edited_message",
        message(GROUP, ANONYMOUS_ADMIN, sender_chat=GROUP, edit_date=1766304060),
        sender="-1001472583690",
        chat="chat:-1001472583690",
        sender_in_chat="sender_in_chat:-1001472583690:-1001472583690",
        topic="topic:-1001472583690:general",
        sender_in_topic="sender_in_topic:-1001472583690:general:-1001472583690",
    ),
    case(
        "channel post",
        "channel_post",
        message(CHANNEL, sender_chat=CHANNEL),
        sender="-1001365920471",
        chat="chat:-1001365920471",
        sender_in_chat="sender_in_chat:-1001365920471:-1001365920471",
        topic="topic:-1001365920471:general",
        sender_in_topic="sender_in_topic:-1001365920471:general:-1001365920471",
    ),
    case(
        "edited channel post",
        "edited_channel_post",
        message(OTHER_CHANNEL, sender_chat=OTHER_CHANNEL, edit_date=1766304060),
        sender="-1001780246935",
        chat="chat:-1001780246935",
        sender_in_chat="sender_in_chat:-1001780246935:-1001780246935",
        topic="topic:-1001780246935:general",
        sender_in_topic="sender_in_topic:-1001780246935:general:-1001780246935",
    ),
    case(
        "guest bot summoned in a group",
        "guest_message",
        message(GROUP, ANNA, guest_query_id="1772048217994310567"),
        sender="412587349",
        chat="chat:-1001472583690@guest",
        sender_in_chat="sender_in_chat:-1001472583690@guest:412587349",
        topic="topic:-1001472583690@guest:general",
        sender_in_topic="sender_in_topic:-1001472583690@guest:general:412587349",
    ),
    case(
        "guest bot summoned by an anonymous admin",
        "guest_message",
        message(
            OTHER_GROUP,
            ANONYMOUS_ADMIN,
            sender_chat=OTHER_GROUP,
            guest_query_id="1772048217994310568",
        ),
        sender="-1002096318475",
        chat="chat:-1002096318475@guest",
        sender_in_chat="sender_in_chat:-1002096318475@guest:-1002096318475",
        topic="topic:-1002096318475@guest:general",
        sender_in_topic="sender_in_topic:-1002096318475@guest:general:-1002096318475",
    ),
)

BUSINESS = (
    case(
        "business connection",
        "business_connection",
        {
            "id": CONNECTION,
            "user": OWNER,
            "user_chat_id": 295817460,
            "date": 1766300000,
            "can_reply": True,
            "rights": {"can_reply": True, "can_read_messages": True},
            "is_enabled": True,
        },
        sender="295817460",
    ),
    case(
        "business message of a customer",
        "business_message",
        message(private(CLARA), CLARA, business_connection_id=CONNECTION),
        sender="5837261904",
        chat="chat:5837261904@business-AQAAANv0EQAAHcT2_jYrGk8w",
        sender_in_chat="sender_in_chat:5837261904@business-AQAAANv0EQAAHcT2_jYrGk8w:5837261904",
        topic="topic:5837261904@business-AQAAANv0EQAAHcT2_jYrGk8w:general",
        sender_in_topic="sender_in_topic:5837261904@business-AQAAANv0EQAAHcT2_jYrGk8w:general:5837261904",
    ),
    case(
        "business message of the customer to another business",
        "business_message",
        message(private(CLARA), CLARA, business_connection_id=OTHER_CONNECTION),
        sender="5837261904",
        chat="chat:5837261904@business-AQAAAO31EQAA9k2bXqZ-T0Vc",
        sender_in_chat="sender_in_chat:5837261904@business-AQAAAO31EQAA9k2bXqZ-T0Vc:5837261904",
        topic="topic:5837261904@business-AQAAAO31EQAA9k2bXqZ-T0Vc:general",
        sender_in_topic="sender_in_topic:5837261904@business-AQAAAO31EQAA9k2bXqZ-T0Vc:general:5837261904",
    ),
    case(
        "business message of the owner",
        "business_message",
        message(private(CLARA), OWNER, business_connection_id=CONNECTION),
        sender="295817460",
        chat="chat:5837261904@business-AQAAANv0EQAAHcT2_jYrGk8w",
        sender_in_chat="sender_in_chat:5837261904@business-AQAAANv0EQAAHcT2_jYrGk8w:295817460",
        topic="topic:5837261904@business-AQAAANv0EQAAHcT2_jYrGk8w:general",
        sender_in_topic="sender_in_topic:5837261904@business-AQAAANv0EQAAHcT2_jYrGk8w:general:295817460",
    ),
    case(
        "business message that a bot sent for the owner",
        "business_message",
        message(
            private(CLARA),
            OTHER_OWNER,
            sender_business_bot=BOT,
            business_connection_id=OTHER_CONNECTION,
        ),
        sender="6402918375",
        chat="chat:5837261904@business-AQAAAO31EQAA9k2bXqZ-T0Vc",
        sender_in_chat="sender_in_chat:5837261904@business-AQAAAO31EQAA9k2bXqZ-T0Vc:6402918375",
        topic="topic:5837261904@business-AQAAAO31EQAA9k2bXqZ-T0Vc:general",
        sender_in_topic="sender_in_topic:5837261904@business-AQAAAO31EQAA9k2bXqZ-T0Vc:general:6402918375",
    ),
    case(
        "edited business message",
        "edited_business_message",
        message(
            private(CLARA),
            CLARA,
            business_connection_id=CONNECTION,
            edit_date=1766304060,
        ),
        sender="5837261904",
        chat="chat:5837261904@business-AQAAANv0EQAAHcT2_jYrGk8w",
        sender_in_chat="sender_in_chat:5837261904@business-AQAAANv0EQAAHcT2_jYrGk8w:5837261904",
        topic="topic:5837261904@business-AQAAANv0EQAAHcT2_jYrGk8w:general",
        sender_in_topic="sender_in_topic:5837261904@business-AQAAANv0EQAAHcT2_jYrGk8w:general:5837261904",
    ),
    case(
        "deleted business messages",
        "deleted_business_messages",
        {
            "business_connection_id": CONNECTION,
            "chat": private(CLARA),
            "message_ids": [5127, 5128],
        },
        sender=None,
        chat="chat:5837261904@business-AQAAANv0EQAAHcT2_jYrGk8w",
    ),
)

BUTTONS = (
    case(
        "button in a private chat",
        "callback_query",
        button_press(ANNA, message=message(private(ANNA), BOT, reply_markup=KEYBOARD)),
        sender="412587349",
        chat="chat:412587349",
        sender_in_chat="sender_in_chat:412587349:412587349",
        topic="topic:412587349:general",
        sender_in_topic="sender_in_topic:412587349:general:412587349",
    ),
    case(
        "button in a forum topic",
        "callback_query",
        button_press(
            BORIS,
            message=message(FORUM, BOT, reply_markup=KEYBOARD, **in_topic(FORUM, 217)),
        ),
        sender="1738502946",
        chat="chat:-1001958302746",
        sender_in_chat="sender_in_chat:-1001958302746:1738502946",
        topic="topic:-1001958302746:217",
        sender_in_topic="sender_in_topic:-1001958302746:217:1738502946",
    ),
    case(
        "button under a channel post",
        "callback_query",
        button_press(BORIS, message=message(CHANNEL, sender_chat=CHANNEL, reply_markup=KEYBOARD)),
        sender="1738502946",
        chat="chat:-1001365920471",
        sender_in_chat="sender_in_chat:-1001365920471:1738502946",
        topic="topic:-1001365920471:general",
        sender_in_topic="sender_in_topic:-1001365920471:general:1738502946",
    ),
    case(
        "button in a business chat",
        "callback_query",
        button_press(
            CLARA,
            message=message(
                private(CLARA),
                OWNER,
                sender_business_bot=BOT,
                business_connection_id=CONNECTION,
                reply_markup=KEYBOARD,
            ),
        ),
        sender="5837261904",
        chat="chat:5837261904@business-AQAAANv0EQAAHcT2_jYrGk8w",
        sender_in_chat="sender_in_chat:5837261904@business-AQAAANv0EQAAHcT2_jYrGk8w:5837261904",
        topic="topic:5837261904@business-AQAAANv0EQAAHcT2_jYrGk8w:general",
        sender_in_topic="sender_in_topic:5837261904@business-AQAAANv0EQAAHcT2_jYrGk8w:general:5837261904",
    ),
    case(
        "button under an inline message",
        "callback_query",
        button_press(ANNA, inline_message_id="AgAAAKcTAQDVdJgY5o3Nw6xTqxM"),
        sender="412587349",
    ),
    case(
        "button under an inaccessible message",
        "callback_query",
        button_press(ANNA, message={"chat": FORUM, "message_id": 96, "date": 0}),
        sender="412587349",
        chat="chat:-1001958302746",
        sender_in_chat="sender_in_chat:-1001958302746:412587349",
        topic=None,
    ),
    case(
        "inline query",
        "inline_query",
        {
            "id": "1772048218456091233",
            "from": ANNA,
            "chat_type": "supergroup",
            "query": "sencha",
            "offset": "",
        },
        sender="412587349",
    ),
    case(
        "chosen inline result",
        "chosen_inline_result",
        {
            "from": ANNA,
            "inline_message_id": "AgAAAKcTAQDVdJgY5o3Nw6xTqxM",
            "query": "sencha",
            "result_id": "42",
        },
        sender="412587349",
    ),
)

PAYMENTS = (
    case(
        "shipping query",
        "shipping_query",
        {
            "id": "1772048219120844765",
            "from": ANNA,
            "invoice_payload": "order-1204",
            "shipping_address": {
                "country_code": "FI",
                "state": "",
                "city": "Helsinki",
                "street_line1": "Teekatu 4",
                "street_line2": "",
                "post_code": "00100",
            },
        },
        sender="412587349",
    ),
    case(
        "pre-checkout query",
        "pre_checkout_query",
        {
            "id": "1772048219120844766",
            "from": BORIS,
            "currency": "XTR",
            "total_amount": 250,
            "invoice_payload": "order-1205",
        },
        sender="1738502946",
    ),
    case(
        "purchased paid media",
        "purchased_paid_media",
        # Telegram sends `from` alone; telebot 4.37.1 reads `from_user` and raises without it.
        {"from": CLARA, "from_user": CLARA, "paid_media_payload": "album-17"},
        sender="5837261904",
    ),
    case(
        "subscription",
        "subscription",
        {"user": ANNA, "invoice_payload": "monthly-tea", "state": "canceled"},
        sender="412587349",
    ),
)

POLLS = (
    case(
        "poll",
        "poll",
        {
            "id": "5386219407352810274",
            "question": "Green or black?",
            "options": [
                {"persistent_id": "R3JlZW4", "text": "Green", "voter_count": 3},
                {"persistent_id": "QmxhY2s", "text": "Black", "voter_count": 1},
            ],
            "total_voter_count": 4,
            "is_closed": False,
            "is_anonymous": True,
            "type": "regular",
            "allows_multiple_answers": False,
            "allows_revoting": True,
            "members_only": False,
        },
        sender=None,
    ),
    case(
        "poll answer of a user",
        "poll_answer",
        {
            "poll_id": "5386219407352810275",
            "user": ANNA,
            "option_ids": [0],
            "option_persistent_ids": ["QmxhY2s"],
        },
        sender="412587349",
    ),
    case(
        "poll answer of a channel",
        "poll_answer",
        {
            "poll_id": "5386219407352810275",
            "user": CHANNEL_AS_USER,
            "voter_chat": CHANNEL,
            "option_ids": [1],
            "option_persistent_ids": ["R3JlZW4"],
        },
        sender="-1001365920471",
    ),
    case(
        "poll answer of another channel",
        "poll_answer",
        {
            "poll_id": "5386219407352810275",
            "user": CHANNEL_AS_USER,
            "voter_chat": OTHER_CHANNEL,
            "option_ids": [1],
            "option_persistent_ids": ["R3JlZW4"],
        },
        sender="-1001780246935",
    ),
)

MEMBERS = (
    case(
        "bot blocked by a user",
        "my_chat_member",
        {
            "chat": private(ANNA),
            "from": ANNA,
            "date": 1766304000,
            "old_chat_member": {"user": BOT, "status": "member"},
            "new_chat_member": {"user": BOT, "status": "kicked", "until_date": 0},
        },
        sender="412587349",
        chat="chat:412587349",
        sender_in_chat="sender_in_chat:412587349:412587349",
    ),
    case(
        "member banned by another",
        "chat_member",
        {
            "chat": GROUP,
            "from": BORIS,
            "date": 1766304000,
            "old_chat_member": {"user": ANNA, "status": "member"},
            "new_chat_member": {"user": ANNA, "status": "kicked", "until_date": 0},
        },
        sender="1738502946",
        chat="chat:-1001472583690",
        sender_in_chat="sender_in_chat:-1001472583690:1738502946",
    ),
    case(
        "join request",
        "chat_join_request",
        {
            "chat": GROUP,
            "from": CLARA,
            "user_chat_id": 5837261904,
            "date": 1766304000,
            "bio": "tea, mostly",
            "invite_link": INVITE_LINK,
        },
        sender="5837261904",
        chat="chat:-1001472583690",
        sender_in_chat="sender_in_chat:-1001472583690:5837261904",
    ),
    case(
        "managed bot created",
        "managed_bot",
        {"user": BORIS, "bot": MANAGED_BOT},
        sender="1738502946",
    ),
)

REACTIONS = (
    case(
        "reaction of a user",
        "message_reaction",
        {
            "chat": GROUP,
            "message_id": 5127,
            "user": ANNA,
            "date": 1766304000,
            "old_reaction": [],
            "new_reaction": [{"type": "emoji", "emoji": "👍"}],
        },
        sender="412587349",
        chat="chat:-1001472583690",
        sender_in_chat="sender_in_chat:-1001472583690:412587349",
    ),
    case(
        "anonymous reaction",
        "message_reaction",
        {
            "chat": GROUP,
            "message_id": 5127,
            "actor_chat": CHANNEL,
            "date": 1766304000,
            "old_reaction": [{"type": "emoji", "emoji": "👍"}],
            "new_reaction": [],
        },
        sender="-1001365920471",
        chat="chat:-1001472583690",
        sender_in_chat="sender_in_chat:-1001472583690:-1001365920471",
    ),
    case(
        "reaction count",
        "message_reaction_count",
        {
            "chat": CHANNEL,
            "message_id": 318,
            "date": 1766304000,
            "reactions": [{"type": {"type": "emoji", "emoji": "🔥"}, "total_count": 12}],
        },
        sender=None,
        chat="chat:-1001365920471",
    ),
)

BOOSTS = (
    case(
        "boost of a user",
        "chat_boost",
        {
            "chat": CHANNEL,
            "boost": {
                "boost_id": "7c1e0b4d9a3f5826e7d1",
                "add_date": 1766304000,
                "expiration_date": 1768896000,
                "source": {"source": "premium", "user": ANNA},
            },
        },
        sender="412587349",
        chat="chat:-1001365920471",
        sender_in_chat="sender_in_chat:-1001365920471:412587349",
    ),
    case(
        "boost of an unclaimed giveaway",
        "chat_boost",
        {
            "chat": CHANNEL,
            "boost": {
                "boost_id": "b52f80c6e1d94a7730ac",
                "add_date": 1766304000,
                "expiration_date": 1768896000,
                "source": {"source": "giveaway", "giveaway_message_id": 301, "is_unclaimed": True},
            },
        },
        sender=None,
        chat="chat:-1001365920471",
    ),
    case(
        "removed boost of a user",
        "removed_chat_boost",
        {
            "chat": CHANNEL,
            "boost_id": "7c1e0b4d9a3f5826e7d1",
            "remove_date": 1766304300,
            "source": {"source": "gift_code", "user": BORIS},
        },
        sender="1738502946",
        chat="chat:-1001365920471",
        sender_in_chat="sender_in_chat:-1001365920471:1738502946",
    ),
    case(
        "removed boost of an unclaimed giveaway",
        "removed_chat_boost",
        {
            "chat": CHANNEL,
            "boost_id": "b52f80c6e1d94a7730ac",
            "remove_date": 1766304300,
            "source": {"source": "giveaway", "giveaway_message_id": 301, "is_unclaimed": True},
        },
        sender=None,
        chat="chat:-1001365920471",
    ),
)

DRAFTS = (
    case(
        "stopped generation",
        "stopped_message_generation",
        {"chat": private(ANNA), "draft_id": 71},
        sender="412587349",
        chat="chat:412587349",
        sender_in_chat="sender_in_chat:412587349:412587349",
        topic="topic:412587349:general",
        sender_in_topic="sender_in_topic:412587349:general:412587349",
    ),
    case(
        "stopped generation in a topic",
        "stopped_message_generation",
        {"chat": private(ANNA), "message_thread_id": 48213, "draft_id": 72},
        sender="412587349",
        chat="chat:412587349",
        sender_in_chat="sender_in_chat:412587349:412587349",
        topic="topic:412587349:48213",
        sender_in_topic="sender_in_topic:412587349:48213:412587349",
    ),
)

CASES = (
    *MESSAGES,
    *BUSINESS,
    *BUTTONS,
    *PAYMENTS,
    *POLLS,
    *MEMBERS,
    *REACTIONS,
    *BOOSTS,
    *DRAFTS,
)


def update(kind: str, payload: dict[str, Any]) -> types.Update:
    """An update of a kind, with the next id."""
    return types.Update.de_json(json.dumps({"update_id": next(UPDATE_IDS), kind: payload}))


def message_of(person: dict[str, Any]) -> types.Message:
    """A message as telebot reads it off the wire."""
    return types.Message.de_json(message(private(person), person))


def said(
    text: str, person: dict[str, Any] = ANNA, *, kind: str = "message", **fields: Any
) -> types.Update:
    """A message, in the private chat with its sender unless `chat` says otherwise."""
    chat = fields.pop("chat", private(person))
    return update(kind, {**message(chat, person, **fields), "text": text, **entities(text)})


def entities(text: str) -> dict[str, Any]:
    """The entities of a text that begins with a command, and of no other text."""
    if not re.match(r"/\w", text):
        return {}
    command = {"type": "bot_command", "offset": 0, "length": len(text.split(maxsplit=1)[0])}
    return {"entities": [command]}


def said_in_group(text: str, person: dict[str, Any] = ANNA, **fields: Any) -> types.Update:
    """The same, in the group unless `chat` says otherwise."""
    return said(text, person, **{"chat": GROUP, **fields})
