"""
A table of realistic updates: every kind that telebot knows, and the usual contents of messages.

A test can push them all to check that a bot handles them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from telesession.testing.sample_chats import (
    ANNA,
    BORIS,
    BOT,
    CHANNEL,
    CHANNEL_AS_USER,
    CLARA,
    CONNECTION,
    DATE,
    FORUM,
    GROUP,
    MANAGED_BOT,
    OTHER_CHANNEL,
    OWNER,
    in_topic,
    press,
    private,
)
from telesession.testing.sample_messages import MESSAGES
from telesession.testing.sample_parts import (
    DATA,
    INLINE_MESSAGE,
    INVITE_LINK,
    ORDER,
    POLL,
    UNCLAIMED,
    Sample,
    message_in,
    samples_of,
    with_buttons,
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
    from telesession.testing.server.call import JSON

__all__ = ["SAMPLES", "Sample"]


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


_BUTTONS = samples_of(
    "callback_query",
    {
        "button of a game": press(
            ANNA,
            message=message_in(private(ANNA), BOT, **content.game("Teapots", "Catch the cups.")),
            game_short_name="teapots",
        ),
        "button in a private chat": press(ANNA, message=with_buttons(private(ANNA)), **DATA),
        "button in a forum topic": press(
            BORIS, message=with_buttons(FORUM, **in_topic(FORUM, 217)), **DATA
        ),
        "button under a channel post": press(
            BORIS, message=with_buttons(CHANNEL, None, sender_chat=CHANNEL), **DATA
        ),
        "button in a business chat": press(
            CLARA,
            message=with_buttons(
                private(CLARA), OWNER, sender_business_bot=BOT, business_connection_id=CONNECTION
            ),
            **DATA,
        ),
        "button under an inline message": press(ANNA, **INLINE_MESSAGE, **DATA),
        "button under an inaccessible message": press(
            ANNA, message={"chat": FORUM, "message_id": 96, "date": 0}, **DATA
        ),
    },
)

_INLINE = (
    *samples_of(
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
    *samples_of(
        "chosen_inline_result",
        {
            "chosen inline result": {
                "from": ANNA,
                **INLINE_MESSAGE,
                "query": "sencha",
                "result_id": "42",
            }
        },
    ),
)

_PAYMENTS = (
    *samples_of(
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
    *samples_of(
        "pre_checkout_query",
        {"pre-checkout query": {"id": "1772048219120844766", "from": BORIS, **ORDER}},
    ),
    *samples_of(
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
    *samples_of(
        "subscription",
        {
            "subscription": {"user": ANNA, "invoice_payload": "monthly-tea", "state": "canceled"},
        },
    ),
)

_POLLS = (
    *samples_of("poll", {"poll": POLL["poll"]}),
    *samples_of(
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
    *samples_of(
        "my_chat_member",
        {
            "bot unblocked by a user": _member_change(private(ANNA), ANNA, BOT, "kicked", "member"),
            "bot added to a group": _member_change(GROUP, BORIS, BOT, "left", "member"),
            "bot removed from a group": _member_change(GROUP, BORIS, BOT, "member", "left"),
            "bot banned from a group": _member_change(GROUP, BORIS, BOT, "member", "kicked"),
            "bot blocked by a user": _member_change(private(ANNA), ANNA, BOT, "member", "kicked"),
        },
    ),
    *samples_of(
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
    *samples_of(
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
                "invite_link": INVITE_LINK,
            },
        },
    ),
    *samples_of("managed_bot", {"managed bot created": {"user": BORIS, "bot": MANAGED_BOT}}),
)

_REACTIONS = (
    *samples_of(
        "message_reaction",
        {
            "reaction of a user": _reaction(GROUP, [], ["👍"], user=ANNA),
            "reaction of an anonymous admin": _reaction(GROUP, [], ["👍"], actor_chat=GROUP),
            "anonymous reaction": _reaction(GROUP, ["👍"], [], actor_chat=CHANNEL),
        },
    ),
    *samples_of(
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
    *samples_of(
        "chat_boost",
        {
            "boost of a user": _boost("7c1e0b4d9a3f5826e7d1", source="premium", user=ANNA),
            "boost of an unclaimed giveaway": _boost("b52f80c6e1d94a7730ac", **UNCLAIMED),
        },
    ),
    *samples_of(
        "removed_chat_boost",
        {
            "removed boost of a user": _removed_boost(
                "7c1e0b4d9a3f5826e7d1", source="gift_code", user=BORIS
            ),
            "removed boost of an unclaimed giveaway": _removed_boost(
                "b52f80c6e1d94a7730ac", **UNCLAIMED
            ),
        },
    ),
)

_DRAFTS = samples_of(
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
    *MESSAGES,
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
