"""The button or the options of a poll that a line of the terminal chat means."""

from __future__ import annotations

from typing import TYPE_CHECKING

from telesession.testing.people.buttons import describe_buttons, reply_buttons

if TYPE_CHECKING:
    from collections.abc import Sequence

    from telesession.testing.server.call import JSON
    from telesession.testing.telegram.history import SentMessage


def choose(messages: Sequence[SentMessage], choice: str) -> tuple[SentMessage, str]:
    """
    The message with the chosen button, and the button's `callback_data` or label.

    An exact label or `callback_data` comes first, then one that differs in upper and lower case,
    then the number of a button of the first message.

    Args:
        messages: The messages with buttons, the latest first; at least one.
        choice: The label, the `callback_data` or the number.

    Raises `ValueError`, which lists the labels, if there is no such button.
    """
    named = [(message, button) for message in messages for button in _buttons_of(message)]
    for message, button in named:
        if choice in _names_of(button):
            return message, choice
    for message, button in named:
        if choice.casefold() in {name.casefold() for name in _names_of(button)}:
            return message, _names_of(button)[0]
    buttons = _buttons_of(messages[0])
    if choice.isdecimal() and 0 < int(choice) <= len(buttons):
        return messages[0], _names_of(buttons[int(choice) - 1])[0]
    found = "; ".join(describe_buttons(message.reply_markup or {}) for message in messages)
    raise ValueError(f"there is no button {choice!r} to press: {found}")


def choose_options(poll: JSON, choice: str) -> list[str | int]:
    """
    The chosen options of a poll, as `User.vote` takes them; an unknown one stays as it is.

    Args:
        poll: The `Poll`.
        choice: The text of an option in upper or lower case, or its number from 1, or several of
            them with commas between. An empty one means no option.
    """
    texts = [str(option["text"]) for option in poll["options"]]
    whole = _option(texts, choice)
    if isinstance(whole, int):
        return [whole]
    return [_option(texts, part.strip()) for part in choice.split(",") if part.strip()]


def _option(texts: Sequence[str], choice: str) -> str | int:
    """The number of an option from 0, or the choice if there is no such option."""
    for number, text in enumerate(texts):
        if text.casefold() == choice.casefold():
            return number
    is_number = choice.isdecimal() and 0 < int(choice) <= len(texts)
    return int(choice) - 1 if is_number else choice


def _buttons_of(message: SentMessage) -> list[JSON]:
    return message.buttons or reply_buttons(message.reply_markup or {})


def _names_of(button: JSON) -> list[str]:
    """The names of a button, the one for `User.press` first."""
    return [str(button[name]) for name in ("callback_data", "text") if name in button]
