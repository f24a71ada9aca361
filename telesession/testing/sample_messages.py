"""Realistic messages: those of users, groups, channels, guests and businesses."""

from __future__ import annotations

from typing import TYPE_CHECKING

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
    OTHER_CHANNEL,
    OTHER_CONNECTION,
    OTHER_GROUP,
    OTHER_OWNER,
    OWNER,
    TELEGRAM_AS_USER,
    in_topic,
    private,
)
from telesession.testing.sample_parts import (
    ALBUM,
    CHECKLIST,
    DIRECT_TOPIC,
    ORDER,
    POLL,
    POLL_MESSAGE,
    PRIVATE_TEXT,
    SUGGESTED,
    Sample,
    edited,
    forwarded_from,
    linked_post,
    message_in,
    samples_of,
    text_in,
)
from telesession.testing.telegram import content

if TYPE_CHECKING:
    from telesession.testing.server.call import JSON

# The contents of messages that a user sends in private.
_CONTENTS: dict[str, JSON] = {
    "command": content.text("/start sencha"),
    "photo without a caption": content.photo(),
    "first photo of an album": {**ALBUM, **content.photo(), **content.caption("my teapots")},
    "second photo of an album": {**ALBUM, **content.photo()},
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
    "poll in a message": POLL,
    "game": {"via_bot": BOT, **content.game("Teapots", "Catch the falling cups.")},
    "paid media": content.paid_media(5),
    "story": {"story": {"chat": CHANNEL, "id": 12}},
    "shared users": content.users_shared([BORIS, CLARA], 1, names=False),
    "shared users with names": content.users_shared([BORIS, CLARA], 1, names=True),
    "shared chat": content.chat_shared(GROUP, 1, names=False),
    "shared chat with names": content.chat_shared(GROUP, 1, names=True),
    "web app data": content.web_app_data('{"cups": 2}', "Order"),
    "write access allowed": {"write_access_allowed": {"from_request": True}},
    "successful payment": content.successful_payment(ORDER, "7f3c"),
    "first payment of a subscription": content.successful_payment(
        {
            **ORDER,
            "subscription_expiration_date": DATE + 30 * 86400,
            "is_recurring": True,
            "is_first_recurring": True,
        },
        "7f3d",
    ),
    "refunded payment": {
        "refunded_payment": {**ORDER, "telegram_payment_charge_id": "charge-7f3c"}
    },
    "forward of a user": {
        **content.text("try the white tea"),
        **forwarded_from(type="user", sender_user=CLARA),
    },
    "forward of a hidden user": {
        **content.text("try the white tea"),
        **forwarded_from(type="hidden_user", sender_user_name="Clara"),
    },
    "forward of a channel post": {
        **content.photo(),
        **forwarded_from(type="channel", chat=CHANNEL, message_id=318),
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
    "pinned message": {"pinned_message": text_in(GROUP, ANNA)},
    "changed timer": {"message_auto_delete_timer_changed": {"message_auto_delete_time": 86400}},
    "video chat started": {"video_chat_started": {}},
    "video chat ended": {"video_chat_ended": {"duration": 1320}},
    "boost added": {"boost_added": {"boost_count": 1}},
}

_MESSAGES = samples_of(
    "message",
    {
        "private message": PRIVATE_TEXT,
        "photo in a private chat": message_in(
            private(CLARA), CLARA, **content.photo(), **content.caption("my new teapot")
        ),
        **{name: message_in(private(ANNA), ANNA, **fields) for name, fields in _CONTENTS.items()},
        "checklist": CHECKLIST,
        "checklist tasks done": message_in(
            private(ANNA),
            ANNA,
            checklist_tasks_done={"checklist_message": CHECKLIST, "marked_as_done_task_ids": [1]},
        ),
        "reply to a message of the bot": text_in(
            private(ANNA), ANNA, reply_to_message=text_in(private(ANNA), BOT)
        ),
        "message in a topic of a private chat": text_in(
            private(ANNA), ANNA, message_thread_id=48213, is_topic_message=True
        ),
        "message in a basic group": text_in(BASIC_GROUP, BORIS),
        "basic group becomes a supergroup": message_in(
            BASIC_GROUP, BORIS, migrate_to_chat_id=OTHER_GROUP["id"]
        ),
        "supergroup made of a basic group": message_in(
            OTHER_GROUP, BORIS, migrate_from_chat_id=BASIC_GROUP["id"]
        ),
        "message in a supergroup": text_in(GROUP, ANNA),
        "ephemeral command": {
            **message_in(GROUP, ANNA, **content.text("/vote")),
            "message_id": 0,
            "ephemeral_message_id": 1,
        },
        **{name: message_in(GROUP, BORIS, **fields) for name, fields in _SERVICE_MESSAGES.items()},
        "option added to a poll": message_in(
            GROUP,
            BORIS,
            poll_option_added={
                "poll_message": POLL_MESSAGE,
                "option_persistent_id": "V2hpdGU",
                "option_text": "White",
            },
        ),
        "anonymous admin": text_in(
            GROUP, ANONYMOUS_ADMIN, sender_chat=GROUP, author_signature="tea master"
        ),
        "anonymous admin of another group": text_in(
            OTHER_GROUP, ANONYMOUS_ADMIN, sender_chat=OTHER_GROUP
        ),
        "channel writing in a group": text_in(GROUP, CHANNEL_AS_USER, sender_chat=CHANNEL),
        "another channel writing in the group": text_in(
            GROUP, CHANNEL_AS_USER, sender_chat=OTHER_CHANNEL
        ),
        "automatic forward from the linked channel": text_in(
            GROUP, TELEGRAM_AS_USER, **linked_post(CHANNEL)
        ),
        "automatic forward from another channel": text_in(
            OTHER_GROUP, TELEGRAM_AS_USER, **linked_post(OTHER_CHANNEL)
        ),
        "forum topic created": in_topic(FORUM, 217)["reply_to_message"],
        "forum topic closed": message_in(
            FORUM, BORIS, **in_topic(FORUM, 217), forum_topic_closed={}
        ),
        "message in a forum topic": text_in(FORUM, ANNA, **in_topic(FORUM, 217)),
        "anonymous admin in a forum topic": text_in(
            FORUM, ANONYMOUS_ADMIN, sender_chat=FORUM, **in_topic(FORUM, 348)
        ),
        "message in the General topic": text_in(FORUM, ANNA),
        "reply in the General topic": text_in(
            FORUM,
            BORIS,
            message_thread_id=5120,
            reply_to_message={**text_in(FORUM, ANNA), "message_id": 5120},
        ),
        "reply in a supergroup without topics": text_in(
            GROUP,
            BORIS,
            message_thread_id=5120,
            reply_to_message={**text_in(GROUP, ANNA), "message_id": 5120},
        ),
        "suggested post": SUGGESTED,
        "suggested post approved": message_in(
            DIRECT_MESSAGES,
            CHANNEL_AS_USER,
            sender_chat=CHANNEL,
            **DIRECT_TOPIC,
            suggested_post_approved={
                "suggested_post_message": SUGGESTED,
                "price": SUGGESTED["suggested_post_info"]["price"],
                "send_date": DATE + 600,
            },
        ),
        "direct message to a channel": text_in(DIRECT_MESSAGES, ANNA, **DIRECT_TOPIC),
        "channel's answer to a direct message": text_in(
            DIRECT_MESSAGES, CHANNEL_AS_USER, sender_chat=CHANNEL, **DIRECT_TOPIC
        ),
    },
)

_EDITED_MESSAGES = samples_of(
    "edited_message",
    {
        "edited private message": edited(PRIVATE_TEXT),
        "edited message of an anonymous admin": edited(
            text_in(GROUP, ANONYMOUS_ADMIN, sender_chat=GROUP)
        ),
    },
)

_POSTS = (
    *samples_of(
        "channel_post",
        {
            "photo in a channel": message_in(CHANNEL, sender_chat=CHANNEL, **content.photo()),
            "channel post": text_in(CHANNEL, sender_chat=CHANNEL),
        },
    ),
    *samples_of(
        "edited_channel_post",
        {"edited channel post": edited(text_in(OTHER_CHANNEL, sender_chat=OTHER_CHANNEL))},
    ),
)

_GUEST_MESSAGES = samples_of(
    "guest_message",
    {
        "guest bot summoned in a group": text_in(GROUP, ANNA, guest_query_id="1772048217994310567"),
        "guest bot summoned by an anonymous admin": text_in(
            OTHER_GROUP,
            ANONYMOUS_ADMIN,
            sender_chat=OTHER_GROUP,
            guest_query_id="1772048217994310568",
        ),
    },
)

_BUSINESS_TEXT = text_in(private(CLARA), CLARA, business_connection_id=CONNECTION)

_BUSINESS = (
    *samples_of(
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
    *samples_of(
        "business_message",
        {
            "business message of a customer": _BUSINESS_TEXT,
            "business message of the customer to another business": text_in(
                private(CLARA), CLARA, business_connection_id=OTHER_CONNECTION
            ),
            "business message of the owner": text_in(
                private(CLARA), OWNER, business_connection_id=CONNECTION
            ),
            "business message that a bot sent for the owner": text_in(
                private(CLARA),
                OTHER_OWNER,
                sender_business_bot=BOT,
                business_connection_id=OTHER_CONNECTION,
            ),
        },
    ),
    *samples_of("edited_business_message", {"edited business message": edited(_BUSINESS_TEXT)}),
    *samples_of(
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


MESSAGES: tuple[Sample, ...] = (
    *_MESSAGES,
    *_EDITED_MESSAGES,
    *_POSTS,
    *_GUEST_MESSAGES,
    *_BUSINESS,
)
"""The samples of messages, and those of business connections."""
