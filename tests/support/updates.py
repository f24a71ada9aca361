"""The keys that each sample of `telesession.testing` must get: the table behind several tests.

The samples have every way in which Telegram hides, lends or repeats an identity. The expected keys
are written by hand.
"""

from __future__ import annotations

import inspect
import itertools
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from telebot import TeleBot, types, util

from telesession.testing.sample_chats import (
    ANNA,
    ANONYMOUS_ADMIN,
    BASIC_GROUP,
    BORIS,
    BOT,
    CHANNEL,
    CHANNEL_AS_USER,
    CLARA,
    CONNECTION,
    DIRECT_MESSAGES,
    FORUM,
    GROUP,
    OTHER_CHANNEL,
    OTHER_CONNECTION,
    OTHER_GROUP,
    TELEGRAM_AS_USER,
    envelope,
    in_topic,
    press,
    private,
    user,
)
from telesession.testing.samples import SAMPLES
from telesession.testing.telegram import content

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "ANNA",
    "ANONYMOUS_ADMIN",
    "BASIC_GROUP",
    "BORIS",
    "BOT",
    "CASES",
    "CHANNEL",
    "CHANNEL_AS_USER",
    "CLARA",
    "CONNECTION",
    "DIRECT_MESSAGES",
    "FORUM",
    "GROUP",
    "GROUP_ANONYMOUS_BOT",
    "IRREGULAR_HANDLERS",
    "KEYS",
    "MADE_UP_USERS",
    "OTHER_CHANNEL",
    "OTHER_CONNECTION",
    "OTHER_GROUP",
    "TOKEN",
    "UPDATE_IDS",
    "UpdateCase",
    "button_press",
    "decorate",
    "filters",
    "handler_name",
    "in_topic",
    "message",
    "message_from",
    "message_of",
    "private",
    "register",
    "said",
    "said_in_group",
    "update",
    "user",
]

TOKEN = "7210345968:AAF_made-up_token"

GROUP_ANONYMOUS_BOT = ANONYMOUS_ADMIN["id"]
MADE_UP_USERS = (GROUP_ANONYMOUS_BOT, CHANNEL_AS_USER["id"], TELEGRAM_AS_USER["id"])

IRREGULAR_HANDLERS = {"inline_query": "inline", "chosen_inline_result": "chosen_inline"}


def handler_name(kind: str) -> str:
    """The name telebot gives the decorator for updates of this kind."""
    return f"{IRREGULAR_HANDLERS.get(kind, kind)}_handler"


def filters(method: Callable[..., Any]) -> dict[str, Any]:
    """Filters that let every update through, for a decorator or a `register_` method of telebot."""
    everything: dict[str, Any] = {"func": lambda _: True}
    if "content_types" in inspect.signature(method).parameters:
        # telebot 4.37.1 lists no live photos, and gives checklists and the like no content type.
        unlisted = ["live_photo", None]
        everything["content_types"] = [
            *util.content_type_media,
            *util.content_type_service,
            *unlisted,
        ]
    return everything


def decorate(bot: TeleBot, kind: str, handler: Callable[..., Any]) -> None:
    """Adds a handler for every update of this kind, as `@bot.<kind>_handler(...)` would."""
    decorator = getattr(bot, handler_name(kind))
    decorator(**filters(decorator))(handler)


def register(bot: TeleBot, kind: str, handler: Callable[..., Any]) -> None:
    """Adds a handler for every update of this kind, through `bot.register_<kind>_handler`."""
    method = getattr(bot, f"register_{handler_name(kind)}")
    method(handler, **filters(method))


@dataclass(frozen=True)
class Keys:
    """
    The keys that a sample must get.

    Args:
        sender: The key `by_sender` must give.
        chat: The key `by_chat` must give.
        sender_in_chat: The key `by_sender_in_chat` must give.
        topic: The key `by_topic` must give.
        sender_in_topic: The key `by_sender_in_topic` must give.
    """

    sender: str | None
    chat: str | None = None
    sender_in_chat: str | None = None
    topic: str | None = None
    sender_in_topic: str | None = None


@dataclass(frozen=True, kw_only=True)
class UpdateCase(Keys):
    """
    One update and the keys it must get.

    Args:
        name: What happened, as a test id.
        kind: The field of `Update` it arrives in, one of `telebot.util.update_types`.
        update: The whole update, as decoded from Telegram's JSON.
    """

    name: str
    kind: str
    update: dict[str, Any]

    def parse(self) -> types.Update:
        """The update as telebot reads it off the wire."""
        return types.Update.de_json(json.dumps(self.update))

    def payload(self) -> Any:
        """The object telebot hands to a handler of this kind."""
        return getattr(self.parse(), self.kind)


ANNA_IN_PRIVATE = Keys(
    "412587349",
    "chat:412587349",
    "sender_in_chat:412587349:412587349",
    "topic:412587349:general",
    "sender_in_topic:412587349:general:412587349",
)
BORIS_IN_GROUP = Keys(
    "1738502946",
    "chat:-1001472583690",
    "sender_in_chat:-1001472583690:1738502946",
    "topic:-1001472583690:general",
    "sender_in_topic:-1001472583690:general:1738502946",
)
ANNA_IN_GROUP = Keys(
    "412587349",
    "chat:-1001472583690",
    "sender_in_chat:-1001472583690:412587349",
    "topic:-1001472583690:general",
    "sender_in_topic:-1001472583690:general:412587349",
)
ADMIN_OF_GROUP = Keys(
    "-1001472583690",
    "chat:-1001472583690",
    "sender_in_chat:-1001472583690:-1001472583690",
    "topic:-1001472583690:general",
    "sender_in_topic:-1001472583690:general:-1001472583690",
)
CHANNEL_IN_GROUP = Keys(
    "-1001365920471",
    "chat:-1001472583690",
    "sender_in_chat:-1001472583690:-1001365920471",
    "topic:-1001472583690:general",
    "sender_in_topic:-1001472583690:general:-1001365920471",
)
ANNA_IN_PRIVATE_TOPIC = Keys(
    "412587349",
    "chat:412587349",
    "sender_in_chat:412587349:412587349",
    "topic:412587349:48213",
    "sender_in_topic:412587349:48213:412587349",
)
BORIS_IN_BASIC_GROUP = Keys(
    "1738502946",
    "chat:-4127385096",
    "sender_in_chat:-4127385096:1738502946",
    "topic:-4127385096:general",
    "sender_in_topic:-4127385096:general:1738502946",
)
BORIS_IN_TOPIC = Keys(
    "1738502946",
    "chat:-1001958302746",
    "sender_in_chat:-1001958302746:1738502946",
    "topic:-1001958302746:217",
    "sender_in_topic:-1001958302746:217:1738502946",
)
ANNA_IN_DIRECT_MESSAGES = Keys(
    "412587349",
    "chat:-1002739401586",
    "sender_in_chat:-1002739401586:412587349",
    "topic:-1002739401586:direct-412587349",
    "sender_in_topic:-1002739401586:direct-412587349:412587349",
)
CHANNEL_IN_DIRECT_MESSAGES = Keys(
    "-1001365920471",
    "chat:-1002739401586",
    "sender_in_chat:-1002739401586:-1001365920471",
    "topic:-1002739401586:direct-412587349",
    "sender_in_topic:-1002739401586:direct-412587349:-1001365920471",
)
CHANNEL_POST = Keys(
    "-1001365920471",
    "chat:-1001365920471",
    "sender_in_chat:-1001365920471:-1001365920471",
    "topic:-1001365920471:general",
    "sender_in_topic:-1001365920471:general:-1001365920471",
)
CLARA_AS_CUSTOMER = Keys(
    "5837261904",
    "chat:5837261904@business-AQAAANv0EQAAHcT2_jYrGk8w",
    "sender_in_chat:5837261904@business-AQAAANv0EQAAHcT2_jYrGk8w:5837261904",
    "topic:5837261904@business-AQAAANv0EQAAHcT2_jYrGk8w:general",
    "sender_in_topic:5837261904@business-AQAAANv0EQAAHcT2_jYrGk8w:general:5837261904",
)
ANNA_ALONE = Keys("412587349")
BORIS_ALONE = Keys("1738502946")
CHANNEL_ALONE = Keys("-1001365920471")
ANNA_IN_PRIVATE_WITHOUT_TOPIC = Keys(
    "412587349", "chat:412587349", "sender_in_chat:412587349:412587349"
)
BORIS_IN_GROUP_WITHOUT_TOPIC = Keys(
    "1738502946", "chat:-1001472583690", "sender_in_chat:-1001472583690:1738502946"
)
CLARA_IN_GROUP_WITHOUT_TOPIC = Keys(
    "5837261904", "chat:-1001472583690", "sender_in_chat:-1001472583690:5837261904"
)
CHANNEL_WITHOUT_USER = Keys(None, "chat:-1001365920471")

# The name of a sample -> its keys, written by hand.
KEYS = {
    "private message": ANNA_IN_PRIVATE,
    "photo in a private chat": Keys(
        "5837261904",
        "chat:5837261904",
        "sender_in_chat:5837261904:5837261904",
        "topic:5837261904:general",
        "sender_in_topic:5837261904:general:5837261904",
    ),
    "command": ANNA_IN_PRIVATE,
    "photo without a caption": ANNA_IN_PRIVATE,
    "first photo of an album": ANNA_IN_PRIVATE,
    "second photo of an album": ANNA_IN_PRIVATE,
    "live photo": ANNA_IN_PRIVATE,
    "video": ANNA_IN_PRIVATE,
    "animation": ANNA_IN_PRIVATE,
    "audio": ANNA_IN_PRIVATE,
    "document": ANNA_IN_PRIVATE,
    "voice": ANNA_IN_PRIVATE,
    "video note": ANNA_IN_PRIVATE,
    "sticker": ANNA_IN_PRIVATE,
    "dice": ANNA_IN_PRIVATE,
    "contact": ANNA_IN_PRIVATE,
    "contact of another person": ANNA_IN_PRIVATE,
    "location": ANNA_IN_PRIVATE,
    "venue": ANNA_IN_PRIVATE,
    "poll in a message": ANNA_IN_PRIVATE,
    "game": ANNA_IN_PRIVATE,
    "paid media": ANNA_IN_PRIVATE,
    "story": ANNA_IN_PRIVATE,
    "shared users": ANNA_IN_PRIVATE,
    "shared users with names": ANNA_IN_PRIVATE,
    "shared chat": ANNA_IN_PRIVATE,
    "shared chat with names": ANNA_IN_PRIVATE,
    "web app data": ANNA_IN_PRIVATE,
    "write access allowed": ANNA_IN_PRIVATE,
    "successful payment": ANNA_IN_PRIVATE,
    "first payment of a subscription": ANNA_IN_PRIVATE,
    "refunded payment": ANNA_IN_PRIVATE,
    "forward of a user": ANNA_IN_PRIVATE,
    "forward of a hidden user": ANNA_IN_PRIVATE,
    "forward of a channel post": ANNA_IN_PRIVATE,
    "message through an inline bot": ANNA_IN_PRIVATE,
    "checklist": ANNA_IN_PRIVATE,
    "checklist tasks done": ANNA_IN_PRIVATE,
    "reply to a message of the bot": ANNA_IN_PRIVATE,
    "message in a topic of a private chat": ANNA_IN_PRIVATE_TOPIC,
    "message in a basic group": BORIS_IN_BASIC_GROUP,
    "basic group becomes a supergroup": BORIS_IN_BASIC_GROUP,
    "supergroup made of a basic group": Keys(
        "1738502946",
        "chat:-1002096318475",
        "sender_in_chat:-1002096318475:1738502946",
        "topic:-1002096318475:general",
        "sender_in_topic:-1002096318475:general:1738502946",
    ),
    "message in a supergroup": ANNA_IN_GROUP,
    "ephemeral command": ANNA_IN_GROUP,
    "member joins": BORIS_IN_GROUP,
    "member added by another": BORIS_IN_GROUP,
    "member leaves": BORIS_IN_GROUP,
    "member removed by another": BORIS_IN_GROUP,
    "new title": BORIS_IN_GROUP,
    "new chat photo": BORIS_IN_GROUP,
    "deleted chat photo": BORIS_IN_GROUP,
    "pinned message": BORIS_IN_GROUP,
    "changed timer": BORIS_IN_GROUP,
    "video chat started": BORIS_IN_GROUP,
    "video chat ended": BORIS_IN_GROUP,
    "boost added": BORIS_IN_GROUP,
    "option added to a poll": BORIS_IN_GROUP,
    "anonymous admin": ADMIN_OF_GROUP,
    "anonymous admin of another group": Keys(
        "-1002096318475",
        "chat:-1002096318475",
        "sender_in_chat:-1002096318475:-1002096318475",
        "topic:-1002096318475:general",
        "sender_in_topic:-1002096318475:general:-1002096318475",
    ),
    "channel writing in a group": CHANNEL_IN_GROUP,
    "another channel writing in the group": Keys(
        "-1001780246935",
        "chat:-1001472583690",
        "sender_in_chat:-1001472583690:-1001780246935",
        "topic:-1001472583690:general",
        "sender_in_topic:-1001472583690:general:-1001780246935",
    ),
    "automatic forward from the linked channel": CHANNEL_IN_GROUP,
    "automatic forward from another channel": Keys(
        "-1001780246935",
        "chat:-1002096318475",
        "sender_in_chat:-1002096318475:-1001780246935",
        "topic:-1002096318475:general",
        "sender_in_topic:-1002096318475:general:-1001780246935",
    ),
    "forum topic created": BORIS_IN_TOPIC,
    "forum topic closed": BORIS_IN_TOPIC,
    "message in a forum topic": Keys(
        "412587349",
        "chat:-1001958302746",
        "sender_in_chat:-1001958302746:412587349",
        "topic:-1001958302746:217",
        "sender_in_topic:-1001958302746:217:412587349",
    ),
    "anonymous admin in a forum topic": Keys(
        "-1001958302746",
        "chat:-1001958302746",
        "sender_in_chat:-1001958302746:-1001958302746",
        "topic:-1001958302746:348",
        "sender_in_topic:-1001958302746:348:-1001958302746",
    ),
    "message in the General topic": Keys(
        "412587349",
        "chat:-1001958302746",
        "sender_in_chat:-1001958302746:412587349",
        "topic:-1001958302746:general",
        "sender_in_topic:-1001958302746:general:412587349",
    ),
    "reply in the General topic": Keys(
        "1738502946",
        "chat:-1001958302746",
        "sender_in_chat:-1001958302746:1738502946",
        "topic:-1001958302746:general",
        "sender_in_topic:-1001958302746:general:1738502946",
    ),
    "reply in a supergroup without topics": BORIS_IN_GROUP,
    "suggested post": ANNA_IN_DIRECT_MESSAGES,
    "suggested post approved": CHANNEL_IN_DIRECT_MESSAGES,
    "direct message to a channel": ANNA_IN_DIRECT_MESSAGES,
    "channel's answer to a direct message": CHANNEL_IN_DIRECT_MESSAGES,
    "edited private message": ANNA_IN_PRIVATE,
    "edited message of an anonymous admin": ADMIN_OF_GROUP,
    "photo in a channel": CHANNEL_POST,
    "channel post": CHANNEL_POST,
    "edited channel post": Keys(
        "-1001780246935",
        "chat:-1001780246935",
        "sender_in_chat:-1001780246935:-1001780246935",
        "topic:-1001780246935:general",
        "sender_in_topic:-1001780246935:general:-1001780246935",
    ),
    "guest bot summoned in a group": Keys(
        "412587349",
        "chat:-1001472583690@guest",
        "sender_in_chat:-1001472583690@guest:412587349",
        "topic:-1001472583690@guest:general",
        "sender_in_topic:-1001472583690@guest:general:412587349",
    ),
    "guest bot summoned by an anonymous admin": Keys(
        "-1002096318475",
        "chat:-1002096318475@guest",
        "sender_in_chat:-1002096318475@guest:-1002096318475",
        "topic:-1002096318475@guest:general",
        "sender_in_topic:-1002096318475@guest:general:-1002096318475",
    ),
    "business connection ended": Keys("6402918375"),
    "business connection": Keys("295817460"),
    "business message of a customer": CLARA_AS_CUSTOMER,
    "business message of the customer to another business": Keys(
        "5837261904",
        "chat:5837261904@business-AQAAAO31EQAA9k2bXqZ-T0Vc",
        "sender_in_chat:5837261904@business-AQAAAO31EQAA9k2bXqZ-T0Vc:5837261904",
        "topic:5837261904@business-AQAAAO31EQAA9k2bXqZ-T0Vc:general",
        "sender_in_topic:5837261904@business-AQAAAO31EQAA9k2bXqZ-T0Vc:general:5837261904",
    ),
    "business message of the owner": Keys(
        "295817460",
        "chat:5837261904@business-AQAAANv0EQAAHcT2_jYrGk8w",
        "sender_in_chat:5837261904@business-AQAAANv0EQAAHcT2_jYrGk8w:295817460",
        "topic:5837261904@business-AQAAANv0EQAAHcT2_jYrGk8w:general",
        "sender_in_topic:5837261904@business-AQAAANv0EQAAHcT2_jYrGk8w:general:295817460",
    ),
    "business message that a bot sent for the owner": Keys(
        "6402918375",
        "chat:5837261904@business-AQAAAO31EQAA9k2bXqZ-T0Vc",
        "sender_in_chat:5837261904@business-AQAAAO31EQAA9k2bXqZ-T0Vc:6402918375",
        "topic:5837261904@business-AQAAAO31EQAA9k2bXqZ-T0Vc:general",
        "sender_in_topic:5837261904@business-AQAAAO31EQAA9k2bXqZ-T0Vc:general:6402918375",
    ),
    "edited business message": CLARA_AS_CUSTOMER,
    "deleted business messages": Keys(None, "chat:5837261904@business-AQAAANv0EQAAHcT2_jYrGk8w"),
    "button of a game": ANNA_IN_PRIVATE,
    "button in a private chat": ANNA_IN_PRIVATE,
    "button in a forum topic": BORIS_IN_TOPIC,
    "button under a channel post": Keys(
        "1738502946",
        "chat:-1001365920471",
        "sender_in_chat:-1001365920471:1738502946",
        "topic:-1001365920471:general",
        "sender_in_topic:-1001365920471:general:1738502946",
    ),
    "button in a business chat": CLARA_AS_CUSTOMER,
    "button under an inline message": ANNA_ALONE,
    "button under an inaccessible message": Keys(
        "412587349", "chat:-1001958302746", "sender_in_chat:-1001958302746:412587349"
    ),
    "inline query": ANNA_ALONE,
    "chosen inline result": ANNA_ALONE,
    "shipping query": ANNA_ALONE,
    "pre-checkout query": BORIS_ALONE,
    "purchased paid media": Keys("5837261904"),
    "subscription": ANNA_ALONE,
    "poll": Keys(None),
    "poll answer of a user": ANNA_ALONE,
    "retracted vote": ANNA_ALONE,
    "poll answer of a channel without a user": CHANNEL_ALONE,
    "poll answer of a channel": CHANNEL_ALONE,
    "poll answer of another channel": Keys("-1001780246935"),
    "bot unblocked by a user": ANNA_IN_PRIVATE_WITHOUT_TOPIC,
    "bot added to a group": BORIS_IN_GROUP_WITHOUT_TOPIC,
    "bot removed from a group": BORIS_IN_GROUP_WITHOUT_TOPIC,
    "bot banned from a group": BORIS_IN_GROUP_WITHOUT_TOPIC,
    "bot blocked by a user": ANNA_IN_PRIVATE_WITHOUT_TOPIC,
    "status of a joined member": BORIS_IN_GROUP_WITHOUT_TOPIC,
    "status of a member who left": BORIS_IN_GROUP_WITHOUT_TOPIC,
    "member banned by another": BORIS_IN_GROUP_WITHOUT_TOPIC,
    "member promoted by another": BORIS_IN_GROUP_WITHOUT_TOPIC,
    "member demoted by another": BORIS_IN_GROUP_WITHOUT_TOPIC,
    "member unbanned by another": BORIS_IN_GROUP_WITHOUT_TOPIC,
    "member restricted by another": BORIS_IN_GROUP_WITHOUT_TOPIC,
    "join request without a link": CLARA_IN_GROUP_WITHOUT_TOPIC,
    "join request": CLARA_IN_GROUP_WITHOUT_TOPIC,
    "managed bot created": BORIS_ALONE,
    "reaction of a user": Keys(
        "412587349", "chat:-1001472583690", "sender_in_chat:-1001472583690:412587349"
    ),
    "reaction of an anonymous admin": Keys(
        "-1001472583690", "chat:-1001472583690", "sender_in_chat:-1001472583690:-1001472583690"
    ),
    "anonymous reaction": Keys(
        "-1001365920471", "chat:-1001472583690", "sender_in_chat:-1001472583690:-1001365920471"
    ),
    "reaction count": CHANNEL_WITHOUT_USER,
    "boost of a user": Keys(
        "412587349", "chat:-1001365920471", "sender_in_chat:-1001365920471:412587349"
    ),
    "boost of an unclaimed giveaway": CHANNEL_WITHOUT_USER,
    "removed boost of a user": Keys(
        "1738502946", "chat:-1001365920471", "sender_in_chat:-1001365920471:1738502946"
    ),
    "removed boost of an unclaimed giveaway": CHANNEL_WITHOUT_USER,
    "stopped generation": ANNA_IN_PRIVATE,
    "stopped generation in a topic": ANNA_IN_PRIVATE_TOPIC,
}


CASES = tuple(
    UpdateCase(**vars(KEYS[one.name]), name=one.name, kind=one.kind, update=one.update)
    for one in SAMPLES
)

UPDATE_IDS = itertools.count(CASES[-1].update["update_id"] + 1)


def message(
    chat: dict[str, Any], sender: dict[str, Any] | None = None, /, **fields: Any
) -> dict[str, Any]:
    """A `Message` in a chat; one without content of its own is a text message."""
    base = envelope(5127, chat, sender)
    if not {"photo", "new_chat_members", "forum_topic_created"} & fields.keys():
        base["text"] = "one pot of sencha, please"
    return base | fields


def message_from(user_id: int, text: str = "hi") -> types.Message:
    """What a user writes to the bot in private."""
    person = user(user_id, "Anna")
    return types.Message.de_json(message(private(person), person, text=text))


def button_press(person: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """A `CallbackQuery`: a person pressed a button under a message of the bot."""
    return press(person, **{"data": "brew:sencha", **fields})


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
    return update(kind, {**message(chat, person, **fields), **content.text(text)})


def said_in_group(text: str, person: dict[str, Any] = ANNA, **fields: Any) -> types.Update:
    """The same, in the group unless `chat` says otherwise."""
    return said(text, person, **{"chat": GROUP, **fields})
