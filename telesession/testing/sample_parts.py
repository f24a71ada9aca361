"""The parts of realistic updates: messages, their contents, and the samples of a kind."""

from __future__ import annotations

import copy
import itertools
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from telebot import types

from telesession.testing.sample_chats import (
    ANNA,
    BORIS,
    BOT,
    DATE,
    DIRECT_MESSAGES,
    GROUP,
    envelope,
    private,
)
from telesession.testing.telegram import content

if TYPE_CHECKING:
    from collections.abc import Mapping

    from telesession.testing.server.call import JSON

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


def samples_of(kind: str, payloads: Mapping[str, JSON]) -> tuple[Sample, ...]:
    """Samples of one kind, by their names."""
    return tuple(Sample(name, kind, payload) for name, payload in payloads.items())


def message_in(chat: JSON, sender: JSON | None = None, /, **fields: Any) -> JSON:
    """A message with a number of its own."""
    return {**envelope(next(_MESSAGE_IDS), chat, sender), **fields}


def text_in(chat: JSON, sender: JSON | None = None, /, **fields: Any) -> JSON:
    """A text message with a number of its own."""
    return message_in(chat, sender, **content.text("one pot of sencha, please"), **fields)


def edited(message: JSON) -> JSON:
    """A text message after an edit."""
    return {**message, "edit_date": DATE + 60, **content.text("two pots of sencha, please")}


def linked_post(channel: JSON) -> JSON:
    """The fields of a channel post that appears in the linked discussion group by itself."""
    origin = {"type": "channel", "chat": channel, "message_id": 318, "date": DATE - 10}
    return {"sender_chat": channel, "forward_origin": origin, "is_automatic_forward": True}


def forwarded_from(**origin: Any) -> JSON:
    """The field of a forwarded message that names its origin."""
    return {"forward_origin": {**origin, "date": DATE - 3600}}


def with_buttons(chat: JSON, sender: JSON | None = BOT, **fields: Any) -> JSON:
    """A message with a button."""
    keyboard = {"inline_keyboard": [[{"text": "Brew", "callback_data": DATA["data"]}]]}
    return text_in(chat, sender, **fields, reply_markup=keyboard)


DATA = {"data": "brew:sencha"}
ORDER = {"currency": "XTR", "total_amount": 250, "invoice_payload": "order-1205"}
ALBUM = {"media_group_id": "13899541206834172"}
INLINE_MESSAGE = {"inline_message_id": "AgAAAKcTAQDVdJgY5o3Nw6xTqxM"}
DIRECT_TOPIC = {"direct_messages_topic": {"topic_id": ANNA["id"], "user": ANNA}}
UNCLAIMED = {"source": "giveaway", "giveaway_message_id": 301, "is_unclaimed": True}
INVITE_LINK = {
    "invite_link": "https://t.me/+Hq3xJkYt8Z4yNmEy",
    "creator": BORIS,
    "creates_join_request": True,
    "is_primary": False,
    "is_revoked": False,
}

PRIVATE_TEXT = text_in(private(ANNA), ANNA)
CHECKLIST = message_in(private(ANNA), ANNA, **content.checklist("Tea party", ["water", "cups"]))
POLL = content.poll("Green or black?", ["Green", "Black"])
POLL_MESSAGE = message_in(GROUP, BOT, **POLL)
SUGGESTED = text_in(DIRECT_MESSAGES, ANNA, **DIRECT_TOPIC, **content.suggested_post(50))
