"""The buttons of a message, and the message or press that each of them makes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from telesession.testing.telegram import content
from telesession.testing.telegram.history import inline_buttons

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from telesession.testing.server.call import JSON

#: The id of the user, or without its sign that of the chat, that is chosen at a request.
CHOSEN_ID = 1000

# Fields of a button that only change its look.
_LOOKS = frozenset({"text", "style", "icon_custom_emoji_id"})

# The field of an inline button that sends the bot nothing -> the act of the app, see
# https://core.telegram.org/bots/api#inlinekeyboardbutton.
_SILENT = {
    "url": "opens a link",
    "login_url": "opens a link",
    "web_app": "opens a web app",
    "copy_text": "copies a text",
    "switch_inline_query": "begins an inline query",
    "switch_inline_query_current_chat": "begins an inline query",
    "switch_inline_query_chosen_chat": "begins an inline query",
}


def reply_buttons(markup: Mapping[str, Any]) -> list[JSON]:
    """The buttons of a reply keyboard, row by row; none if the keyboard is of another kind."""
    # The Bot API takes a bare text for a button that has nothing else.
    return [
        {"text": button} if isinstance(button, str) else button
        for row in markup.get("keyboard", [])
        for button in row
    ]


def find_reply_button(markup: Mapping[str, Any], label: str) -> JSON | None:
    """The button of a reply keyboard with a label, or `None`."""
    return next((one for one in reply_buttons(markup) if one["text"] == label), None)


def find_data(markup: Mapping[str, Any], data: str) -> str:
    """
    The `callback_data` of an inline button that is named by its `callback_data` or its label.

    Raises `ValueError` if there is no such button, or if a press on it sends the bot nothing, as on
    a link.
    """
    buttons = inline_buttons(markup)
    for name in ("callback_data", "text"):
        for button in buttons:
            if button.get(name) == data and "callback_data" in button:
                return str(button["callback_data"])
    named = [button for button in buttons if button["text"] == data]
    if acts := [act for button in named for name, act in _SILENT.items() if name in button]:
        raise ValueError(f"{data!r} {acts[0]}, the bot hears nothing of it")
    raise ValueError(f"there is no button {data!r} to press: {describe_buttons(markup)}")


def describe_buttons(markup: Mapping[str, Any]) -> str:
    """The labels of a keyboard, each with its `callback_data` if that differs, as half a line."""
    if replies := reply_buttons(markup):
        return f"the keyboard has {', '.join(button['text'] for button in replies)}"
    names = [_describe(button) for button in inline_buttons(markup)]
    return f"the message has {', '.join(names) or 'none'}"


def _describe(button: JSON) -> str:
    label = str(button["text"])
    data = button.get("callback_data", label)
    return label if data == label else f"{label} ({data})"


def requested_by(button: JSON) -> str | None:
    """The thing that a button of a reply keyboard sends, or `None` if it sends its label."""
    for name, request in _REQUESTS.items():
        if button.get(name):
            return request.noun
    return None


def content_of(button: JSON, person: JSON) -> JSON:
    """
    The content of the message that a button of a reply keyboard sends.

    A requested user or chat is a made-up one, with the id 1000 or -1000.

    Args:
        button: The button.
        person: The user who presses it.

    Raises `ValueError` if the button requests something else.
    """
    for name, request in _REQUESTS.items():
        if asked := button.get(name):
            return request.content(asked, button, person)
    if unknown := [name for name in button.keys() - _LOOKS if button[name]]:
        raise ValueError(
            f"cannot press the button {button['text']!r}: the message that {unknown[0]} makes is "
            "not known here; send it with User.send_content"
        )
    return content.text(button["text"])


class _Request(NamedTuple):
    """
    A thing that a button requests.

    Args:
        noun: Its name for people.
        content: Makes the message from the value of the request, the button and the user.
    """

    noun: str
    content: Callable[[Any, JSON, JSON], JSON]


def _users(request: JSON, _: JSON, __: JSON) -> JSON:
    chosen = {"id": CHOSEN_ID, "first_name": f"User {CHOSEN_ID}", "username": "chosen_user"}
    names = bool(request.get("request_name") or request.get("request_username"))
    return content.users_shared([chosen], request["request_id"], names=names)


def _chat(request: JSON, _: JSON, __: JSON) -> JSON:
    chosen = {"id": -CHOSEN_ID, "title": f"Group {-CHOSEN_ID}"}
    names = bool(request.get("request_title"))
    return content.chat_shared(chosen, request["request_id"], names=names)


# By the field of a button.
_REQUESTS = {
    "request_contact": _Request("your contact", lambda _, __, person: content.contact(person)),
    "request_location": _Request("your location", lambda _, __, ___: content.location()),
    "request_users": _Request(f"user {CHOSEN_ID}", _users),
    "request_chat": _Request(f"chat -{CHOSEN_ID}", _chat),
    "web_app": _Request(
        "data of a web app", lambda _, button, __: content.web_app_data("{}", button["text"])
    ),
}
