"""Dialogs: the contents and presses that are answers, and those that are none."""

from __future__ import annotations

from typing import Any

import pytest

from support.dialogs import (
    DIAGONAL,
    WITH_INBOX,
    Act,
    Dialog,
    Row,
    press,
    press_another,
    say,
    send,
)

HELLO = "handle: hello"
TEXT = {"text": "hello"}


def answer(name: str, act: Act, shown: str, place: str = "private", **asks: Any) -> Row:
    """A row of an answer, after which the next message goes to the handlers."""
    return Row(name, [act, say("then")], [shown, "handle: then"], asks, place)


def no_answer(name: str, act: Act, *heard: str, place: str = "private") -> Row:
    """A row of an update that is no answer, after which the next message is one."""
    return Row(name, [act, say("then")], [*heard, "take: then"], place=place)


def content(message: dict[str, Any]) -> Act:
    """Ada sends a message with a content as Telegram has it."""
    return send("send_content", message)


def invite(dialog: Dialog) -> None:
    """Ada adds Boris to the group."""
    dialog.ada.invite(dialog.group, dialog.boris)


def press_inaccessible(dialog: Dialog) -> None:
    """Ada presses a button of the question when Telegram does not show it any more."""
    chat, number = dict(dialog.question.json["chat"]), dialog.question.message_id
    query = {"id": "1", "from": dialog.ada.json, "chat_instance": "1", "data": "yes"}
    message = {"chat": chat, "message_id": number, "date": 0}
    dialog.api.push({"callback_query": {**query, "message": message}})


def edit(dialog: Dialog) -> None:
    """Ada edits a message from before the question."""
    dialog.ada.edit(dialog.asking, "ask you")


TASKS = ["checklist", "Tea", "boil", "pour"]
DICE = {"dice": {"emoji": "\N{GAME DIE}", "value": 4}}
VENUE = {"location": {"latitude": 1, "longitude": 1}, "title": "Tea house", "address": "1 Road"}
FORWARDED = {"type": "hidden_user", "sender_user_name": "Anna", "date": 1}
TITLE = {"new_chat_title": "Tea"}
DONE = {"checklist_tasks_done": {"marked_as_done_task_ids": [1]}}
APPROVED = {"suggested_post_approved": {"send_date": 1}}

ROWS = [
    answer("text", say("five"), "take: five"),
    answer("text-in-a-list", say("five"), "list: album of 1", step="take_list"),
    answer("photo", send("photo", "my cat"), "take: photo"),
    answer("photo-with-a-command", send("photo", "/cancel"), "take: photo"),
    answer("document", send("document"), "take: document"),
    answer("voice", send("voice"), "take: voice"),
    answer("contact", send("contact"), "take: contact"),
    answer("location", send("location"), "take: location"),
    answer("users", lambda dialog: dialog.ada.share_users(dialog.boris), "take: users_shared"),
    answer("chat", lambda dialog: dialog.ada.share_chat(dialog.group), "take: chat_shared"),
    answer("web-app", send("web_app_data", "{}"), "take: web_app_data"),
    answer("checklist", send(*TASKS), "take: checklist"),
    answer("paid-media", send("paid_media"), "take: paid_media"),
    answer("suggested-text", send("suggest", "an idea"), "take: an idea", "news"),
    answer("suggested-photo", send("suggest", "", photo=True), "take: photo", "news"),
    answer("press", press(), "take: press yes"),
    answer("press-for-a-list", press(), "list: press yes", step="take_list"),
    answer("press-on-an-inaccessible", press_inaccessible, "take: press yes"),
    answer("press-in-a-topic", press_inaccessible, "take: press yes", "forum, topic 7"),
    no_answer("press-on-another", press_another(), "handle: press yes"),
    no_answer("edited", edit, "handle: ask you"),
    no_answer("edited-business", edit, "handle: ask you", place="business"),
    no_answer("title", content(TITLE), "handle: new_chat_title", place="group"),
    no_answer("joined", invite, "handle: new_chat_members", place="group"),
    no_answer("offline", content({**TEXT, "is_from_offline": True}), HELLO, place="business"),
    no_answer("forwarded", content({**TEXT, "is_automatic_forward": True}), HELLO, place="group"),
]
# The storage and the workers make no difference for these.
MORE = [
    answer("dice", content(DICE), "take: dice"),
    answer("venue", content({"venue": VENUE}), "take: venue"),
    answer("forwarded-by-hand", content({**TEXT, "forward_origin": FORWARDED}), "take: hello"),
    no_answer("tasks-done", content(DONE), "handle: checklist_tasks_done"),
    no_answer("post-approved", content(APPROVED), "handle: suggested_post_approved", place="news"),
]


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_after_a_restart(row: Row, dialog: Dialog) -> None:
    """The step gets an answer once, and the handlers get everything else."""
    row.play(dialog)
    assert row.heard == dialog.heard


@DIAGONAL
@pytest.mark.parametrize("row", MORE, ids=str)
def test_other_contents(row: Row, dialog: Dialog) -> None:
    """Any content that a person sends is an answer, and a service message is none."""
    row.play(dialog)
    assert row.heard == dialog.heard


def test_the_next_question(dialog: Dialog) -> None:
    """The answer to the question of a step goes to the next step."""
    dialog.ask(step="ask_next")
    dialog.play(Dialog.restart, say("one"), Dialog.restart, say("two"), say("then"))
    assert ["next: one", "take: two", "handle: then"] == dialog.heard


def test_the_button_of_an_older_question(dialog: Dialog) -> None:
    """It is no answer once another question has taken the place, before and after a restart."""
    dialog.ask()
    first = dialog.question
    dialog.ask_again(step="ask_next")
    presses = [lambda _: dialog.ada.press(first, "yes")] * 2
    dialog.play(presses[0], Dialog.restart, presses[1], press())
    assert ["handle: press yes"] * 2 + ["next: press yes"] == dialog.heard


@WITH_INBOX
def test_two_answers_in_one_batch(dialog: Dialog) -> None:
    """One of them is the answer, and the other goes to the handlers."""
    dialog.ask()
    question = dialog.question
    press_twice = [lambda _: dialog.ada.press(question, "yes")] * 2
    dialog.play(Dialog.restart, lambda _: [each(dialog) for each in (say("five"), *press_twice)])
    assert ["handle", "handle", "take"] == sorted(each.split(":")[0] for each in dialog.heard)
