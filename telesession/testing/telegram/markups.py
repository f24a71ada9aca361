"""The keyboards that a bot puts under messages, and those that Telegram refuses."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from telesession.testing.server.call import RefusedError, bad_request

if TYPE_CHECKING:
    from collections.abc import Mapping

    from telesession.testing.server.call import JSON, Call

_MAX_DATA = 64

# The actions of an inline button beside `url` and `callback_data`.
_ACTIONS = (
    *("callback_game", "pay", "switch_inline_query", "switch_inline_query_chosen_chat"),
    *("switch_inline_query_current_chat", "login_url", "web_app", "copy_text"),
)

# The buttons of a reply keyboard for private chats only -> the words of the refusal elsewhere.
_PRIVATE = {
    "request_contact": "phone number can be requested",
    "request_location": "location can be requested",
    "request_poll": "poll can be requested",
    "request_users": "users can be requested",
    "request_chat": "chats can be requested",
    "web_app": "Web App buttons can be used",
}

_NOUNS = {"login_url": "login URL", "web_app": "Web App URL"}

_PROTOCOL = re.compile(r"([a-z][a-z0-9+.-]*)://|(tg|ton|tonsite):", re.IGNORECASE)


def read_markup(call: Call, chat: Mapping[str, Any], *, only_inline: bool = False) -> JSON | None:
    """
    The keyboard of any kind in the `reply_markup` of a call, or `None`.

    An inline keyboard without buttons does not count.

    Args:
        call: The call.
        chat: The chat of the message: a channel has no reply keyboards, and some buttons of a
            reply keyboard are for private chats only.
        only_inline: Whether the keyboard must be an inline one, as that of an edited message.

    Raises `RefusedError` if Telegram would not take the keyboard.

    See https://core.telegram.org/bots/api#inlinekeyboardbutton and
    https://core.telegram.org/bots/api#keyboardbutton.
    """
    markup: JSON | None = call.json("reply_markup")
    if not markup:
        return None
    if not isinstance(markup, dict):
        raise bad_request("object expected as reply markup")
    if "inline_keyboard" in markup:
        check_inline(markup)
        return markup if any(markup["inline_keyboard"]) else None
    if only_inline or chat.get("type") == "channel":
        raise bad_request("inline keyboard expected")
    for button in _buttons(markup, "keyboard"):
        _check_reply_button(button, is_private=chat.get("type") == "private")
    return markup


def check_inline(markup: Mapping[str, Any]) -> None:
    """Raise `RefusedError` if Telegram would not take an inline keyboard."""
    for button in _buttons(markup, "inline_keyboard"):
        _check_inline_button(button)


def _buttons(markup: Mapping[str, Any], name: str) -> list[JSON]:
    """The buttons of a keyboard, row by row; that of a bare text has nothing else."""
    rows = markup.get(name, [])
    if not isinstance(rows, list) or not all(isinstance(row, list) for row in rows):
        raise bad_request(f'field "{name}" must be an Array of Arrays')
    return [
        {"text": button} if isinstance(button, str) else button for row in rows for button in row
    ]


def _check_inline_button(button: JSON) -> None:
    if not button.get("text"):
        raise bad_request("inline keyboard button text must be non-empty")
    if url := button.get("url"):
        _check_link("inline keyboard button URL", url)
    elif data := button.get("callback_data"):
        if len(str(data).encode()) > _MAX_DATA:
            raise bad_request("BUTTON_DATA_INVALID")
    elif not any(name in button for name in _ACTIONS):
        raise _unreadable("Text buttons are unallowed in the inline keyboard")
    for name in ("login_url", "web_app"):
        if name in button:
            noun = f"inline keyboard button {_NOUNS[name]}"
            _check_link(noun, button[name].get("url", ""), only_https=True)


def _check_reply_button(button: JSON, *, is_private: bool) -> None:
    if not button.get("text"):
        raise bad_request("keyboard button text must be non-empty")
    for name, words in _PRIVATE.items():
        if button.get(name) and not is_private:
            raise bad_request(f"{words} in private chats only")
    if "web_app" in button:
        noun = f"keyboard button {_NOUNS['web_app']}"
        _check_link(noun, button["web_app"].get("url", ""), only_https=True)


def _check_link(noun: str, link: str, *, only_https: bool = False) -> None:
    """Raise `RefusedError` if a text is no link, or a link that Telegram's apps do not open."""
    found = _PROTOCOL.match(link)
    protocol = (found[1] or found[2]).lower() if found else "http"
    host = re.split(r"[/?#]", link[found.end() :] if found else link, maxsplit=1)[0]
    if only_https and protocol != "https":
        reason = "Only HTTPS links are allowed"
    elif protocol in {"tg", "ton", "tonsite"}:
        return
    elif protocol not in {"http", "https"}:
        reason = "Unsupported URL protocol"
    elif re.fullmatch(r"\S+\.\S+|\[\S+\](:\d+)?", host):
        return
    else:
        reason = "Wrong HTTP URL"
    raise bad_request(f"{noun} '{link}' is invalid: {reason}")


def _unreadable(reason: str) -> RefusedError:
    return bad_request(f"can't parse inline keyboard button: {reason}")
