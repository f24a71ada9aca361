"""The first senders of messages that are forwarded, or answered in another chat."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from telesession.testing.server.call import JSON


def origin_of(message: JSON) -> JSON:
    """The `MessageOrigin` of a message; see https://core.telegram.org/bots/api#messageorigin."""
    if "forward_origin" in message:
        return dict(message["forward_origin"])
    sent = {"date": message["date"]}
    chat = message.get("sender_chat")
    if chat is None:
        return {"type": "user", **sent, "sender_user": message["from"]}
    if chat["type"] == "channel":
        return {"type": "channel", **sent, "chat": chat, "message_id": message["message_id"]}
    return {"type": "chat", **sent, "sender_chat": chat}


def hidden_origin(origin: JSON) -> JSON:
    """
    The `MessageOriginHiddenUser` in place of a `MessageOrigin`.

    Raises `ValueError` if it is no user.
    """
    if origin["type"] not in {"user", "hidden_user"}:
        raise ValueError(f"cannot hide where a message of a {origin['type']} is from, only a user")
    if origin["type"] == "hidden_user":
        return origin
    user = origin["sender_user"]
    name = " ".join(user[part] for part in ("first_name", "last_name") if part in user)
    return {"type": "hidden_user", "date": origin["date"], "sender_user_name": name}
