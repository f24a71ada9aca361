"""
A table of realistic updates: every kind that telebot knows, and the usual contents of messages.

A test can push them all to check that a bot handles them.
"""

from __future__ import annotations

import copy
import itertools
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from telebot import types

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
    DATE,
    DIRECT_MESSAGES,
    FORUM,
    GROUP,
    MANAGED_BOT,
    OTHER_CHANNEL,
    OTHER_CONNECTION,
    OTHER_GROUP,
    OTHER_OWNER,
    OWNER,
    TELEGRAM_AS_USER,
    envelope,
    in_topic,
    press,
    private,
)
from telesession.testing.telegram import content
from telesession.testing.telegram.rights import (
    ALL_RIGHTS,
    BANNED,
    administrator,
    permissions,
    restricted,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from telesession.testing.server.call import JSON

__all__ = ["SAMPLES", "Sample"]

_parse: Any = types.Update.de_json

# Telegram's update ids only grow, so a server takes the updates of samples in any order.
_UPDATE_IDS = itertools.count(583920140)
_MESSAGE_IDS = itertools.count(5127)


@dataclass(frozen=True)
class Sample:
    """
    A realistic update; its people and chats are made up, see `telesession.testing.sample_chats`.

    Args:
        name: The event, such as `"dice"` or `"bot blocked by a user"`. No two samples share one.
        kind: The field of the `Update` that the payload is in, one of
            `telebot.util.update_types`.
        payload: The content of that field, as Telegram would send it.
    """

    name: str
    kind: str
    payload: Mapping[str, Any] = field(repr=False)

    @property
    def update(self) -> JSON:
        """A new update with a copy of the payload; its `update_id` is above all earlier ones."""
        return {"update_id": next(_UPDATE_IDS), self.kind: copy.deepcopy(self.payload)}

    def parse(self) -> types.Update:
        """A new update as telebot reads it."""
        update: types.Update = _parse(json.dumps(self.update))
        return update


def _samples(kind: str, payloads: Mapping[str, JSON]) -> tuple[Sample, ...]:
    """Samples of one kind, by their names."""
    return tuple(Sample(name, kind, payload) for name, payload in payloads.items())


def _message(chat: JSON, sender: JSON | None = None, /, **fields: Any) -> JSON:
    """A message with a number of its own."""
    return {**envelope(next(_MESSAGE_IDS), chat, sender), **fields}


def _text(chat: JSON, sender: JSON | None = None, /, **fields: Any) -> JSON:
    """A text message with a number of its own."""
    return _message(chat, sender, **content.text("one pot of sencha, please"), **fields)


def _edited(message: JSON) -> JSON:
    """A text message after an edit."""
    return {**message, "edit_date": DATE + 60, **content.text("two pots of sencha, please")}


def _linked_post(channel: JSON) -> JSON:
    """The fields of a channel post that appears in the linked discussion group by itself."""
    origin = {"type": "channel", "chat": channel, "message_id": 318, "date": DATE - 10}
    return {"sender_chat": channel, "forward_origin": origin, "is_automatic_forward": True}


def _forwarded(**origin: Any) -> JSON:
    """The field of a forwarded message that names its origin."""
    return {"forward_origin": {**origin, "date": DATE - 3600}}


def _with_buttons(chat: JSON, sender: JSON | None = BOT, **fields: Any) -> JSON:
    """A message with a button."""
    keyboard = {"inline_keyboard": [[{"text": "Brew", "callback_data": _DATA["data"]}]]}
    return _text(chat, sender, **fields, reply_markup=keyboard)


def _answer(choice: int, **voter: Any) -> JSON:
    """A vote in a poll of two options."""
    return {
        "poll_id": "5386219407352810275",
        **voter,
        "option_ids": [choice],
        "option_persistent_ids": [("R3JlZW4", "QmxhY2s")[choice]],
    }


def _member_change(chat: JSON, actor: JSON, member: JSON, old: str, new: str) -> JSON:
    """The status of a member changed, between those of https://core.telegram.org/bots/api#chatmember."""
    before, after = (_record(chat, status) for status in (old, new))
    return {
        "chat": chat,
        "from": actor,
        "date": DATE,
        "old_chat_member": {"user": member, **before},
        "new_chat_member": {"user": member, **after},
    }


def _record(chat: JSON, status: str) -> JSON:
    """The fields of a `ChatMember` with a status."""
    if status == "administrator":
        return administrator(chat, ALL_RIGHTS)
    if status == "restricted":
        return restricted(permissions({}, independent=True), 0, is_member=True)
    return BANNED if status == "kicked" else {"status": status}


def _reaction(chat: JSON, old: list[str], new: list[str], **actor: Any) -> JSON:
    """A change of the emoji that one user or chat has put under a message."""
    return {
        "chat": chat,
        "message_id": 5127,
        **actor,
        "date": DATE,
        "old_reaction": [{"type": "emoji", "emoji": emoji} for emoji in old],
        "new_reaction": [{"type": "emoji", "emoji": emoji} for emoji in new],
    }


def _boost(boost_id: str, **source: Any) -> JSON:
    """A channel was boosted for thirty days."""
    boost = {
        "boost_id": boost_id,
        "add_date": DATE,
        "expiration_date": DATE + 30 * 86400,
        "source": source,
    }
    return {"chat": CHANNEL, "boost": boost}


def _removed_boost(boost_id: str, **source: Any) -> JSON:
    """A boost of a channel came to its end."""
    return {"chat": CHANNEL, "boost_id": boost_id, "remove_date": DATE + 300, "source": source}


_DATA = {"data": "brew:sencha"}
_ORDER = {"currency": "XTR", "total_amount": 250, "invoice_payload": "order-1205"}
_ALBUM = {"media_group_id": "13899541206834172"}
_INLINE_MESSAGE = {"inline_message_id": "AgAAAKcTAQDVdJgY5o3Nw6xTqxM"}
_DIRECT_TOPIC = {"direct_messages_topic": {"topic_id": ANNA["id"], "user": ANNA}}
_UNCLAIMED = {"source": "giveaway", "giveaway_message_id": 301, "is_unclaimed": True}
_INVITE_LINK = {
    "invite_link": "https://t.me/+Hq3xJkYt8Z4yNmEy",
    "creator": BORIS,
    "creates_join_request": True,
    "is_primary": False,
    "is_revoked": False,
}

_PRIVATE_TEXT = _text(private(ANNA), ANNA)
_CHECKLIST = _message(private(ANNA), ANNA, **content.checklist("Tea party", ["water", "cups"]))
_POLL = content.poll("Green or black?", ["Green", "Black"])
_POLL_MESSAGE = _message(GROUP, BOT, **_POLL)
_SUGGESTED = _text(DIRECT_MESSAGES, ANNA, **_DIRECT_TOPIC, **content.suggested_post(50))

# The contents of messages that a user sends in private.
_CONTENTS: dict[str, JSON] = {
    "command": content.text("/start sencha"),
    "photo without a caption": content.photo(),
    "first photo of an album": {**_ALBUM, **content.photo(), **content.caption("my teapots")},
    "second photo of an album": {**_ALBUM, **content.photo()},
    "live photo": content.live_photo(),
    "video": content.video(12),
    "animation": content.animation(),
    "audio": content.audio("Kettle Song", "The Teapots", 183),
    "document": content.document("menu.pdf"),
    "voice": content.voice(3),
    "video note": content.video_note(7),
    "sticker": content.sticker("🍵"),
    "dice": content.dice("🎲", 4),
    "contact": content.contact(ANNA),
    "contact of another person": content.contact(CLARA),
    "location": content.location(),
    "venue": content.venue("Tea house", "Teekatu 4"),
    "poll in a message": _POLL,
    "game": {"via_bot": BOT, **content.game("Teapots", "Catch the falling cups.")},
    "paid media": content.paid_media(5),
    "story": {"story": {"chat": CHANNEL, "id": 12}},
    "shared users": content.users_shared([BORIS, CLARA], 1, names=False),
    "shared users with names": content.users_shared([BORIS, CLARA], 1, names=True),
    "shared chat": content.chat_shared(GROUP, 1, names=False),
    "shared chat with names": content.chat_shared(GROUP, 1, names=True),
    "web app data": content.web_app_data('{"cups": 2}', "Order"),
    "write access allowed": {"write_access_allowed": {"from_request": True}},
    "successful payment": content.successful_payment(_ORDER, "7f3c"),
    "first payment of a subscription": content.successful_payment(
        {
            **_ORDER,
            "subscription_expiration_date": DATE + 30 * 86400,
            "is_recurring": True,
            "is_first_recurring": True,
        },
        "7f3d",
    ),
    "refunded payment": {
        "refunded_payment": {**_ORDER, "telegram_payment_charge_id": "charge-7f3c"}
    },
    "forward of a user": {
        **content.text("try the white tea"),
        **_forwarded(type="user", sender_user=CLARA),
    },
    "forward of a hidden user": {
        **content.text("try the white tea"),
        **_forwarded(type="hidden_user", sender_user_name="Clara"),
    },
    "forward of a channel post": {
        **content.photo(),
        **_forwarded(type="channel", chat=CHANNEL, message_id=318),
    },
    "message through an inline bot": {**content.text("sencha, 3 EUR"), "via_bot": BOT},
}

# The service messages of a group.
_SERVICE_MESSAGES: dict[str, JSON] = {
    "member joins": content.new_chat_members([BORIS]),
    "member added by another": content.new_chat_members([CLARA]),
    "member leaves": content.left_chat_member(BORIS),
    "member removed by another": content.left_chat_member(CLARA),
    "new title": {"new_chat_title": "Tea lovers"},
    "new chat photo": {"new_chat_photo": content.photo()["photo"]},
    "deleted chat photo": {"delete_chat_photo": True},
    "pinned message": {"pinned_message": _text(GROUP, ANNA)},
    "changed timer": {"message_auto_delete_timer_changed": {"message_auto_delete_time": 86400}},
    "video chat started": {"video_chat_started": {}},
    "video chat ended": {"video_chat_ended": {"duration": 1320}},
    "boost added": {"boost_added": {"boost_count": 1}},
}

_MESSAGES = _samples(
    "message",
    {
        "private message": _PRIVATE_TEXT,
        "photo in a private chat": _message(
            private(CLARA), CLARA, **content.photo(), **content.caption("my new teapot")
        ),
        **{name: _message(private(ANNA), ANNA, **fields) for name, fields in _CONTENTS.items()},
        "checklist": _CHECKLIST,
        "checklist tasks done": _message(
            private(ANNA),
            ANNA,
            checklist_tasks_done={"checklist_message": _CHECKLIST, "marked_as_done_task_ids": [1]},
        ),
        "reply to a message of the bot": _text(
            private(ANNA), ANNA, reply_to_message=_text(private(ANNA), BOT)
        ),
        "message in a topic of a private chat": _text(
            private(ANNA), ANNA, message_thread_id=48213, is_topic_message=True
        ),
        "message in a basic group": _text(BASIC_GROUP, BORIS),
        "basic group becomes a supergroup": _message(
            BASIC_GROUP, BORIS, migrate_to_chat_id=OTHER_GROUP["id"]
        ),
        "supergroup made of a basic group": _message(
            OTHER_GROUP, BORIS, migrate_from_chat_id=BASIC_GROUP["id"]
        ),
        "message in a supergroup": _text(GROUP, ANNA),
        "ephemeral command": {
            **_message(GROUP, ANNA, **content.text("/vote")),
            "message_id": 0,
            "ephemeral_message_id": 1,
        },
        **{name: _message(GROUP, BORIS, **fields) for name, fields in _SERVICE_MESSAGES.items()},
        "option added to a poll": _message(
            GROUP,
            BORIS,
            poll_option_added={
                "poll_message": _POLL_MESSAGE,
                "option_persistent_id": "V2hpdGU",
                "option_text": "White",
            },
        ),
        "anonymous admin": _text(
            GROUP, ANONYMOUS_ADMIN, sender_chat=GROUP, author_signature="tea master"
        ),
        "anonymous admin of another group": _text(
            OTHER_GROUP, ANONYMOUS_ADMIN, sender_chat=OTHER_GROUP
        ),
        "channel writing in a group": _text(GROUP, CHANNEL_AS_USER, sender_chat=CHANNEL),
        "another channel writing in the group": _text(
            GROUP, CHANNEL_AS_USER, sender_chat=OTHER_CHANNEL
        ),
        "automatic forward from the linked channel": _text(
            GROUP, TELEGRAM_AS_USER, **_linked_post(CHANNEL)
        ),
        "automatic forward from another channel": _text(
            OTHER_GROUP, TELEGRAM_AS_USER, **_linked_post(OTHER_CHANNEL)
        ),
        "forum topic created": in_topic(FORUM, 217)["reply_to_message"],
        "forum topic closed": _message(FORUM, BORIS, **in_topic(FORUM, 217), forum_topic_closed={}),
        "message in a forum topic": _text(FORUM, ANNA, **in_topic(FORUM, 217)),
        "anonymous admin in a forum topic": _text(
            FORUM, ANONYMOUS_ADMIN, sender_chat=FORUM, **in_topic(FORUM, 348)
        ),
        "message in the General topic": _text(FORUM, ANNA),
        "reply in the General topic": _text(
            FORUM,
            BORIS,
            message_thread_id=5120,
            reply_to_message={**_text(FORUM, ANNA), "message_id": 5120},
        ),
        "reply in a supergroup without topics": _text(
            GROUP,
            BORIS,
            message_thread_id=5120,
            reply_to_message={**_text(GROUP, ANNA), "message_id": 5120},
        ),
        "suggested post": _SUGGESTED,
        "suggested post approved": _message(
            DIRECT_MESSAGES,
            CHANNEL_AS_USER,
            sender_chat=CHANNEL,
            **_DIRECT_TOPIC,
            suggested_post_approved={
                "suggested_post_message": _SUGGESTED,
                "price": _SUGGESTED["suggested_post_info"]["price"],
                "send_date": DATE + 600,
            },
        ),
        "direct message to a channel": _text(DIRECT_MESSAGES, ANNA, **_DIRECT_TOPIC),
        "channel's answer to a direct message": _text(
            DIRECT_MESSAGES, CHANNEL_AS_USER, sender_chat=CHANNEL, **_DIRECT_TOPIC
        ),
    },
)

_EDITED_MESSAGES = _samples(
    "edited_message",
    {
        "edited private message": _edited(_PRIVATE_TEXT),
        "edited message of an anonymous admin": _edited(
            _text(GROUP, ANONYMOUS_ADMIN, sender_chat=GROUP)
        ),
    },
)

_POSTS = (
    *_samples(
        "channel_post",
        {
            "photo in a channel": _message(CHANNEL, sender_chat=CHANNEL, **content.photo()),
            "channel post": _text(CHANNEL, sender_chat=CHANNEL),
        },
    ),
    *_samples(
        "edited_channel_post",
        {"edited channel post": _edited(_text(OTHER_CHANNEL, sender_chat=OTHER_CHANNEL))},
    ),
)

_GUEST_MESSAGES = _samples(
    "guest_message",
    {
        "guest bot summoned in a group": _text(GROUP, ANNA, guest_query_id="1772048217994310567"),
        "guest bot summoned by an anonymous admin": _text(
            OTHER_GROUP,
            ANONYMOUS_ADMIN,
            sender_chat=OTHER_GROUP,
            guest_query_id="1772048217994310568",
        ),
    },
)

_BUSINESS_TEXT = _text(private(CLARA), CLARA, business_connection_id=CONNECTION)

_BUSINESS = (
    *_samples(
        "business_connection",
        {
            "business connection ended": {
                "id": OTHER_CONNECTION,
                "user": OTHER_OWNER,
                "user_chat_id": OTHER_OWNER["id"],
                "date": DATE - 4000,
                "can_reply": False,
                "is_enabled": False,
            },
            "business connection": {
                "id": CONNECTION,
                "user": OWNER,
                "user_chat_id": OWNER["id"],
                "date": DATE - 4000,
                "can_reply": True,
                "rights": {"can_reply": True, "can_read_messages": True},
                "is_enabled": True,
            },
        },
    ),
    *_samples(
        "business_message",
        {
            "business message of a customer": _BUSINESS_TEXT,
            "business message of the customer to another business": _text(
                private(CLARA), CLARA, business_connection_id=OTHER_CONNECTION
            ),
            "business message of the owner": _text(
                private(CLARA), OWNER, business_connection_id=CONNECTION
            ),
            "business message that a bot sent for the owner": _text(
                private(CLARA),
                OTHER_OWNER,
                sender_business_bot=BOT,
                business_connection_id=OTHER_CONNECTION,
            ),
        },
    ),
    *_samples("edited_business_message", {"edited business message": _edited(_BUSINESS_TEXT)}),
    *_samples(
        "deleted_business_messages",
        {
            "deleted business messages": {
                "business_connection_id": CONNECTION,
                "chat": private(CLARA),
                "message_ids": [_BUSINESS_TEXT["message_id"], _BUSINESS_TEXT["message_id"] + 1],
            }
        },
    ),
)

_BUTTONS = _samples(
    "callback_query",
    {
        "button of a game": press(
            ANNA,
            message=_message(private(ANNA), BOT, **content.game("Teapots", "Catch the cups.")),
            game_short_name="teapots",
        ),
        "button in a private chat": press(ANNA, message=_with_buttons(private(ANNA)), **_DATA),
        "button in a forum topic": press(
            BORIS, message=_with_buttons(FORUM, **in_topic(FORUM, 217)), **_DATA
        ),
        "button under a channel post": press(
            BORIS, message=_with_buttons(CHANNEL, None, sender_chat=CHANNEL), **_DATA
        ),
        "button in a business chat": press(
            CLARA,
            message=_with_buttons(
                private(CLARA), OWNER, sender_business_bot=BOT, business_connection_id=CONNECTION
            ),
            **_DATA,
        ),
        "button under an inline message": press(ANNA, **_INLINE_MESSAGE, **_DATA),
        "button under an inaccessible message": press(
            ANNA, message={"chat": FORUM, "message_id": 96, "date": 0}, **_DATA
        ),
    },
)

_INLINE = (
    *_samples(
        "inline_query",
        {
            "inline query": {
                "id": "1772048218456091233",
                "from": ANNA,
                "chat_type": "supergroup",
                "query": "sencha",
                "offset": "",
            }
        },
    ),
    *_samples(
        "chosen_inline_result",
        {
            "chosen inline result": {
                "from": ANNA,
                **_INLINE_MESSAGE,
                "query": "sencha",
                "result_id": "42",
            }
        },
    ),
)

_PAYMENTS = (
    *_samples(
        "shipping_query",
        {
            "shipping query": {
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
            }
        },
    ),
    *_samples(
        "pre_checkout_query",
        {"pre-checkout query": {"id": "1772048219120844766", "from": BORIS, **_ORDER}},
    ),
    *_samples(
        "purchased_paid_media",
        {
            # Telegram sends `from` alone; telebot 4.37.1 reads `from_user` and raises without it.
            "purchased paid media": {
                "from": CLARA,
                "from_user": CLARA,
                "paid_media_payload": "album-17",
            }
        },
    ),
    *_samples(
        "subscription",
        {
            "subscription": {"user": ANNA, "invoice_payload": "monthly-tea", "state": "canceled"},
        },
    ),
)

_POLLS = (
    *_samples("poll", {"poll": _POLL["poll"]}),
    *_samples(
        "poll_answer",
        {
            "poll answer of a user": _answer(0, user=ANNA),
            "retracted vote": {
                **_answer(0, user=ANNA),
                "option_ids": [],
                "option_persistent_ids": [],
            },
            # Telegram's server adds user 136817688 today; its documentation does not promise it.
            "poll answer of a channel without a user": _answer(1, voter_chat=CHANNEL),
            "poll answer of a channel": _answer(1, user=CHANNEL_AS_USER, voter_chat=CHANNEL),
            "poll answer of another channel": _answer(
                1, user=CHANNEL_AS_USER, voter_chat=OTHER_CHANNEL
            ),
        },
    ),
)

_MEMBERS = (
    *_samples(
        "my_chat_member",
        {
            "bot unblocked by a user": _member_change(private(ANNA), ANNA, BOT, "kicked", "member"),
            "bot added to a group": _member_change(GROUP, BORIS, BOT, "left", "member"),
            "bot removed from a group": _member_change(GROUP, BORIS, BOT, "member", "left"),
            "bot banned from a group": _member_change(GROUP, BORIS, BOT, "member", "kicked"),
            "bot blocked by a user": _member_change(private(ANNA), ANNA, BOT, "member", "kicked"),
        },
    ),
    *_samples(
        "chat_member",
        {
            "status of a joined member": _member_change(GROUP, BORIS, BORIS, "left", "member"),
            "status of a member who left": _member_change(GROUP, BORIS, BORIS, "member", "left"),
            "member banned by another": _member_change(GROUP, BORIS, ANNA, "member", "kicked"),
            "member promoted by another": _member_change(
                GROUP, BORIS, ANNA, "member", "administrator"
            ),
            "member demoted by another": _member_change(
                GROUP, BORIS, ANNA, "administrator", "member"
            ),
            "member unbanned by another": _member_change(GROUP, BORIS, ANNA, "kicked", "left"),
            "member restricted by another": _member_change(
                GROUP, BORIS, ANNA, "member", "restricted"
            ),
        },
    ),
    *_samples(
        "chat_join_request",
        {
            "join request without a link": {
                "chat": GROUP,
                "from": CLARA,
                "user_chat_id": CLARA["id"],
                "date": DATE,
                "bio": "tea, mostly",
            },
            "join request": {
                "chat": GROUP,
                "from": CLARA,
                "user_chat_id": CLARA["id"],
                "date": DATE,
                "bio": "tea, mostly",
                "invite_link": _INVITE_LINK,
            },
        },
    ),
    *_samples("managed_bot", {"managed bot created": {"user": BORIS, "bot": MANAGED_BOT}}),
)

_REACTIONS = (
    *_samples(
        "message_reaction",
        {
            "reaction of a user": _reaction(GROUP, [], ["👍"], user=ANNA),
            "reaction of an anonymous admin": _reaction(GROUP, [], ["👍"], actor_chat=GROUP),
            "anonymous reaction": _reaction(GROUP, ["👍"], [], actor_chat=CHANNEL),
        },
    ),
    *_samples(
        "message_reaction_count",
        {
            "reaction count": {
                "chat": CHANNEL,
                "message_id": 318,
                "date": DATE,
                "reactions": [{"type": {"type": "emoji", "emoji": "🔥"}, "total_count": 12}],
            }
        },
    ),
)

_BOOSTS = (
    *_samples(
        "chat_boost",
        {
            "boost of a user": _boost("7c1e0b4d9a3f5826e7d1", source="premium", user=ANNA),
            "boost of an unclaimed giveaway": _boost("b52f80c6e1d94a7730ac", **_UNCLAIMED),
        },
    ),
    *_samples(
        "removed_chat_boost",
        {
            "removed boost of a user": _removed_boost(
                "7c1e0b4d9a3f5826e7d1", source="gift_code", user=BORIS
            ),
            "removed boost of an unclaimed giveaway": _removed_boost(
                "b52f80c6e1d94a7730ac", **_UNCLAIMED
            ),
        },
    ),
)

_DRAFTS = _samples(
    "stopped_message_generation",
    {
        "stopped generation": {"chat": private(ANNA), "draft_id": 71},
        "stopped generation in a topic": {
            "chat": private(ANNA),
            "message_thread_id": 48213,
            "draft_id": 72,
        },
    },
)

SAMPLES: tuple[Sample, ...] = (
    *_MESSAGES,
    *_EDITED_MESSAGES,
    *_POSTS,
    *_GUEST_MESSAGES,
    *_BUSINESS,
    *_BUTTONS,
    *_INLINE,
    *_PAYMENTS,
    *_POLLS,
    *_MEMBERS,
    *_REACTIONS,
    *_BOOSTS,
    *_DRAFTS,
)
"""Every sample: at least one of each kind of update that telebot knows."""
