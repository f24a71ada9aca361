"""Dialogs: albums that are answers, as one list or with one of their messages."""

from __future__ import annotations

from collections import Counter
from typing import Any

from support.dialogs import WITH_INBOX, Act, Dialog, say, send, setups


def send_again(album: list[dict[str, Any]]) -> Act:
    """Telegram delivers the messages of an album again, as after an outage."""
    return lambda dialog: [dialog.api.push({"message": each["message"]}) for each in album]


@WITH_INBOX
def test_an_album_is_one_list(dialog: Dialog) -> None:
    """A step that takes a list gets all messages of an album at once, in their order."""
    dialog.ask(step="take_list")
    dialog.restart()
    # Of ten messages, which are the most, the last one completes the album.
    album = dialog.play(send("album", 10))
    dialog.play(Dialog.restart, send_again(album), say("then"))
    assert ["list: album of 10", "handle: then"] == dialog.heard
    assert [each["message"]["message_id"] for each in album] == [
        each.message_id for each in dialog.got[0]
    ]


@setups(("sqlite", "telebot"), ("sqlite", "sequential"))
def test_an_album_that_is_not_full(dialog: Dialog) -> None:
    """The step gets an album when no further message of it has come for half a second."""
    dialog.ask(step="take_list")
    dialog.restart()
    dialog.play(send("album", 3), say("then"))
    assert ["list: album of 3", "handle: then"] == dialog.heard


def test_an_album_for_a_step_that_takes_one_message(dialog: Dialog) -> None:
    """One message is the answer, and the others are no answers to the next question."""
    dialog.ask(step="ask_next")
    dialog.restart()
    album = dialog.play(send("album", 4))
    assert Counter({"next: photo": 1, "handle: photo": 3}) == Counter(dialog.heard)
    dialog.play(Dialog.restart, send_again(album), say("then"), say("after"))
    assert ["handle: photo"] * 3 + ["take: then", "handle: after"] == dialog.heard[4:]


def test_an_album_that_makes_the_bot_ask(dialog: Dialog) -> None:
    """It came before the question, so none of its messages is the answer."""
    dialog.play(send("album", 4, "ask me"), Dialog.restart, say("five"), say("then"))
    assert ["handle: photo"] * 3 + ["take: five", "handle: then"] == dialog.heard
