"""Dialogs: the ways out of a question, and the messages that only look like one."""

from __future__ import annotations

from typing import Any

import pytest
from telebot import types

from support.dialogs import (
    ADA,
    DIAGONAL,
    WITH_INBOX,
    Act,
    Dialog,
    Row,
    is_menu,
    note_cancel,
    press,
    press_another,
    reply,
    say,
)
from telesession import Place

FIRST, AGAIN = "cancel: True", "cancel: False"


def ends(name: str, act: Act, *heard: str, **asks: Any) -> Row:
    """A row of a way out, after which the next message goes to the handlers."""
    return Row(name, [act, say("then")], [*heard, "handle: then"], asks)


def stays(name: str, act: Act, *heard: str, **asks: Any) -> Row:
    """A row of something that leaves the question waiting for the next message."""
    return Row(name, [act, say("then")], [*heard, "take: then"], asks)


def text_answers(text: str, **asks: Any) -> Row:
    """A row of a text that is an answer."""
    return ends(text, say(text), f"take: {text}", **asks)


COMMANDS = [
    ends("/help", say("/help"), "handle: /help"),
    ends("/help-with-more", say("/help me"), "handle: /help me"),
    ends("/help@test_bot", say("/help@test_bot"), "handle: /help@test_bot"),
    ends("/HELP@Test_Bot", say("/HELP@Test_Bot"), "handle: /HELP@Test_Bot"),
    stays("/weather@other_bot", say("/weather@other_bot"), "handle: /weather@other_bot"),
    text_answers("/"),
    text_answers("/ 10"),
    text_answers("//help"),
    text_answers("/usr/bin"),
    text_answers("please /help"),
]
UNLESS = [
    ends("texts", say("stop"), "handle: stop", FIRST, AGAIN, unless=["menu", "stop"]),
    ends("text", say("stop"), "handle: stop", FIRST, AGAIN, unless="stop"),
    ends("predicate", say("menu of teas"), "handle: menu of teas", unless=is_menu),
    text_answers("Stop", unless=["menu", "stop"]),
    text_answers("stop it", unless="stop"),
    text_answers("the menu", unless=is_menu),
    ends("other", say("hi"), "take: hi", unless=[]),
]
CANCEL = [
    ends("command", say("/cancel"), "handle: /cancel", FIRST, AGAIN),
    ends("press", press_another("cancel"), "handle: press cancel", FIRST, AGAIN),
    ends("place", note_cancel(Place(chat_id=ADA, user_id=ADA)), FIRST, AGAIN),
    stays("elsewhere", say("/cancel", "group"), "handle: /cancel", AGAIN, AGAIN),
    stays("boris", say("/cancel", person="boris"), "handle: /cancel", AGAIN, AGAIN),
    stays("other-place", note_cancel(Place(chat_id=-100, user_id=ADA)), AGAIN, AGAIN),
    Row(
        "twice",
        [say("/cancel"), Dialog.restart, say("/cancel")],
        ["handle: /cancel", FIRST, AGAIN, "handle: /cancel", AGAIN, AGAIN],
    ),
    Row(
        "after-the-answer",
        [say("five"), say("/cancel")],
        ["take: five", "handle: /cancel", AGAIN, AGAIN],
    ),
]


def in_group(name: str, acts: list[Act], heard: list[str], **asks: Any) -> Row:
    """A row of a question that is asked in a group."""
    return Row(name, acts, heard, asks, "group")


def reply_to_another(dialog: Dialog) -> None:
    """Ada replies to the message by which she had the bot ask."""
    dialog.ada.send("no", **dialog.here, reply_to=dialog.asking)


FORCED = {"reply_markup": types.ForceReply()}
ONLY = [say("no"), reply_to_another, reply("five")]
ONLY_HEARD = ["handle: no", "handle: no", "take: five"]
REPLIES = [
    in_group("explicit", ONLY, ONLY_HEARD, reply_only=True),
    in_group("forced", ONLY, ONLY_HEARD, **FORCED),
    in_group("forced-not-only", [say("five")], ["take: five"], reply_only=False, **FORCED),
    in_group("not-forced", [say("five")], ["take: five"]),
    in_group("press", [say("no"), press()], ["handle: no", "take: press yes"], reply_only=True),
    in_group("command", [say("/help"), reply("no")], ["handle: /help", "handle: no"], **FORCED),
    in_group(
        "unless",
        [say("stop"), reply("no")],
        ["handle: stop", FIRST, AGAIN, "handle: no"],
        unless="stop",
        **FORCED,
    ),
    Row("private", ONLY, ONLY_HEARD, {"reply_only": True}),
    Row("forced-in-private", [say("five")], ["take: five"], FORCED),
    Row("topic", ONLY, ONLY_HEARD, FORCED, "forum, topic 7"),
    Row("business", ONLY, ONLY_HEARD, {"reply_only": True}, "business"),
    Row("ephemeral", ONLY[2:], ONLY_HEARD[2:], {"reply_only": True}, "ephemeral"),
    # Telegram may leave the replied message out.
    Row("ephemeral-text", [say("five")], ["take: five"], {"reply_only": True}, "ephemeral"),
]


@DIAGONAL
@pytest.mark.parametrize("row", COMMANDS, ids=str)
def test_commands(row: Row, dialog: Dialog) -> None:
    """A command to this bot ends the question. A slash alone, or another bot's command, do not."""
    row.play(dialog)
    assert row.heard == dialog.heard


@pytest.mark.parametrize("row", UNLESS, ids=str)
def test_unless(row: Row, dialog: Dialog) -> None:
    """A message of `unless` ends the question and goes to its handler, where `cancel` is true."""
    row.play(dialog)
    assert row.heard == dialog.heard


@WITH_INBOX
@pytest.mark.parametrize("row", CANCEL, ids=str)
def test_cancel(row: Row, dialog: Dialog) -> None:
    """`cancel` ends the question of one person at one place, and is true once."""
    row.play(dialog)
    assert row.heard == dialog.heard


@pytest.mark.parametrize("row", REPLIES, ids=str)
def test_reply_only(row: Row, dialog: Dialog) -> None:
    """Only a reply to the question counts, or a press; ways out need no reply."""
    row.play(dialog)
    assert row.heard == dialog.heard
