"""The rules for the messages that a bot edits, copies, forwards and deletes."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from telesession.testing.server.call import bad_request
from telesession.testing.telegram.history import content_type_of

if TYPE_CHECKING:
    from collections.abc import Mapping

_DAY = 86400

_WITH_CAPTION = frozenset(
    {"animation", "audio", "document", "live_photo", "paid_media", "photo", "video", "voice"}
)

# The part of a message that an edit replaces -> the contents that have it, and the refusal of
# others.
_PARTS = {
    "text": (
        frozenset({"text", "rich_message", "game"}),
        "there is no text in the message to edit",
    ),
    "caption": (_WITH_CAPTION, "there is no caption in the message to edit"),
    "media": (
        (_WITH_CAPTION - {"paid_media", "voice"}) | {"text", "rich_message"},
        "message media can't be edited",
    ),
    "checklist": (frozenset({"checklist"}), "there is no checklist in the message to edit"),
}

# Contents that are no service message, beside those that `content_type_of` knows.
_UNKNOWN = frozenset({"story", "giveaway", "giveaway_winners"})

_NOT_COPIED = frozenset({"paid_media", "invoice", "giveaway", "giveaway_winners"})


def check_edit(message: Mapping[str, Any], part: str) -> None:
    """
    Raise `RefusedError` if the content of a message has not the part that an edit replaces.

    See https://core.telegram.org/bots/api#updating-messages.

    Args:
        message: The message.
        part: `text`, `caption`, `media` or `checklist`.
    """
    contents, refusal = _PARTS[part]
    if content_type_of(message) not in contents:
        raise bad_request(f"{refusal}")


def can_be_forwarded(message: Mapping[str, Any]) -> bool:
    """
    Whether a message can be forwarded: no protected one, and no service message.

    See https://core.telegram.org/bots/api#forwardmessage.
    """
    has_content = content_type_of(message) != "unknown" or _UNKNOWN & message.keys()
    return bool(has_content) and not message.get("has_protected_content")


def can_be_copied(message: Mapping[str, Any]) -> bool:
    """
    Whether a message can be copied: it can be forwarded, and is not paid for.

    A quiz needs the right answer, which the bot does not know of a user's quiz. See
    https://core.telegram.org/bots/api#copymessage.
    """
    poll = message.get("poll", {})
    is_riddle = poll.get("type") == "quiz" and "correct_option_ids" not in poll
    return can_be_forwarded(message) and not _NOT_COPIED & message.keys() and not is_riddle


def check_deletion(message: Mapping[str, Any]) -> None:
    """
    Raise `RefusedError` if a message is too old to be deleted, or a die that is too young.

    A bot deletes a message in the first 48 hours, and a die in a private chat only after 24. See
    https://core.telegram.org/bots/api#deletemessage.
    """
    age = time.time() - message["date"]
    is_young_die = "dice" in message and message["chat"]["type"] == "private" and age < _DAY
    if age >= 2 * _DAY or is_young_die:
        raise bad_request("message can't be deleted for everyone")
