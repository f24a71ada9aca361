"""Messages in words for failure messages and for the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from telesession.testing.telegram.history import content_type_of
from telesession.testing.telegram.prices import price

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def describe(message: Mapping[str, Any]) -> str:
    """
    A message in words: its text, or the kind of its content with the details and the caption.

    Args:
        message: The `Message` as Telegram sends it.
    """
    kind = content_type_of(message)
    if kind == "text":
        return str(message["text"])
    return f"({kind.replace('_', ' ')}) {details_of(message)}".rstrip()


def details_of(message: Mapping[str, Any]) -> str:
    """
    The details of the content of a message, such as the name of a file, and its caption.

    Args:
        message: The `Message` as Telegram sends it, with another content than a text.
    """
    words = [_detail_of_kind(content_type_of(message), message), message.get("caption", "")]
    return ": ".join(word for word in words if word)


def forward_mark(message: Mapping[str, Any]) -> str:
    """
    The words that name the origin of a forwarded message; empty for another one.

    Args:
        message: The `Message` as Telegram sends it. See
            https://core.telegram.org/bots/api#messageorigin.
    """
    origin = message.get("forward_origin")
    if not origin:
        return ""
    sender = origin.get("sender_user") or origin.get("sender_chat") or origin.get("chat") or {}
    names = sender.get("title"), sender.get("first_name"), origin.get("sender_user_name")
    return f"(forwarded from {next((name for name in names if name), '?')})"


def _detail_of_kind(kind: str, message: Mapping[str, Any]) -> str:
    try:
        return _DETAILS[kind](message[kind])
    except (KeyError, TypeError):
        # The kind has no detail, or a test has pushed a message that lacks some fields.
        return ""


def _poll(poll: Mapping[str, Any]) -> str:
    options = [f"[{one['text']}: {one['voter_count']}]" for one in poll["options"]]
    closed = ["closed"] if poll.get("is_closed") else []
    return " ".join([poll["question"], *options, *closed])


_DETAILS: dict[str, Callable[[Any], str]] = {
    "audio": lambda audio: f"{audio['title']}, {audio['performer']}",
    "checklist": lambda checklist: ", ".join(
        [checklist["title"], *(task["text"] for task in checklist["tasks"])]
    ),
    "contact": lambda contact: f"{contact['first_name']}, {contact['phone_number']}",
    "dice": lambda dice: f"{dice['emoji']} {dice['value']}",
    "document": lambda document: document.get("file_name", ""),
    "game": lambda game: game["title"],
    "invoice": lambda invoice: (
        f"{invoice['title']}, {price(invoice['total_amount'], invoice['currency'])}"
    ),
    "location": lambda place: f"{place['latitude']}, {place['longitude']}",
    "paid_media": lambda paid: f"for {price(paid['star_count'], 'XTR')}",
    "poll": _poll,
    "rich_message": lambda rich: " ".join(
        block["text"] for block in rich["blocks"] if isinstance(block.get("text"), str)
    ),
    "sticker": lambda sticker: sticker.get("emoji", ""),
    "venue": lambda venue: f"{venue['title']}, {venue['address']}",
}
