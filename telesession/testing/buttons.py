"""The buttons of a message, and the update that pressing each of them makes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from telesession.testing import content
from telesession.testing.history import inline_buttons

if TYPE_CHECKING:
    from collections.abc import Mapping

    from telesession.testing.call import JSON

#: The id of the user, or without its sign that of the chat, that is chosen at a request.
CHOSEN_ID = 1000


def find_data(markup: Mapping[str, Any], data: str) -> str:
    """
    The `callback_data` of an inline button that is named by its `callback_data` or its label.

    Raises `ValueError` if there is no such button, or it has no `callback_data`.
    """
    buttons = inline_buttons(markup)
    for name in ("callback_data", "text"):
        for button in buttons:
            if button.get(name) == data and "callback_data" in button:
                return str(button["callback_data"])
    labels = [f"{button['text']} ({button.get('callback_data')})" for button in buttons]
    raise ValueError(
        f"there is no button {data!r} to press: the message has {', '.join(labels) or 'none'}"
    )


def reply_buttons(markup: Mapping[str, Any]) -> list[JSON]:
    """The buttons of a reply keyboard, row by row; none if the keyboard is of another kind."""
    # The Bot API takes a bare text for a button that has nothing else.
    return [
        {"text": button} if isinstance(button, str) else button
        for row in markup.get("keyboard", [])
        for button in row
    ]


def content_of(button: JSON, person: JSON) -> JSON:
    """
    The content of the message that a button of a reply keyboard sends.

    A requested user or chat is a made-up one with the id 1000 or -1000.

    Args:
        button: The button.
        person: The user who presses it.
    """
    if button.get("request_contact"):
        return content.contact(person)
    if button.get("request_location"):
        return content.location()
    if request := button.get("request_users"):
        chosen = {"id": CHOSEN_ID, "first_name": f"User {CHOSEN_ID}", "username": "chosen_user"}
        names = bool(request.get("request_name") or request.get("request_username"))
        return content.users_shared([chosen], request["request_id"], names=names)
    if request := button.get("request_chat"):
        chat = {"id": -CHOSEN_ID, "title": f"Group {-CHOSEN_ID}"}
        names = bool(request.get("request_title"))
        return content.chat_shared(chat, request["request_id"], names=names)
    if "web_app" in button:
        return content.web_app_data("{}", button["text"])
    return content.text(button["text"])
