"""Dialogs: a question waits at the place where it is sent, and for one person there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from telebot import types

from support.dialogs import ADA, BORIS, DIAGONAL, Dialog, press, press_board, say, send
from telesession import Place, SessionError


@dataclass(frozen=True)
class Row:
    """
    A row of a place.

    Args:
        at: The person who is asked, and the name of the place.
        others: The persons and places of messages that are no answers.
        to: The target of `ask`, which Ada calls for in her private chat; by default the person's
            own message.
    """

    at: str
    others: tuple[str, ...]
    to: Place | None = None

    def __str__(self) -> str:
        kind = "message" if self.to is None else "place"
        return f"{kind} {self.at}".replace(",", "").replace(" ", "-")

    def ask(self, dialog: Dialog) -> None:
        """Ask, restart the bot, and let the others say something."""
        person, place = self.at.split(" in ")
        if self.to is None:
            dialog.ask(place, person)
        else:
            dialog.ask(to=self.to)
        dialog.play(Dialog.restart, *(said(other) for other in self.others))

    def heard(self, answer: str) -> list[str]:
        """The expected `Dialog.heard` after an answer."""
        return [*(f"handle: {other}" for other in self.others), answer]


def said(at: str) -> Any:
    """A person says at a place who and where it is."""
    person, place = at.split(" in ")
    return say(at, place, person)


def place_of(message: Any) -> tuple[Any, ...]:
    """The chat, the topic and the business connection of a message as Telegram sends it."""
    direct = message.get("direct_messages_topic", {}).get("topic_id")
    names = ("message_thread_id", "business_connection_id")
    return message["chat"]["id"], direct, *(message.get(name) for name in names)


ROWS = [
    Row("ada in private", ("ada in group", "ada in private, topic 7", "ada in business")),
    Row("ada in private, topic 7", ("ada in private, topic 8", "ada in private")),
    Row("ada in group", ("ada in other group", "ada in private", "boris in group")),
    Row("ada in forum, topic 7", ("ada in forum, topic 8", "ada in forum")),
    Row("boris in forum, topic 7", ("ada in forum, topic 7", "boris in private, topic 7")),
    Row("ada in forum", ("ada in forum, topic 7", "ada in forum, topic 8")),
    Row("ada in news", ("ada in other news", "ada in news, topic of boris", "boris in news")),
    Row("ada in news, topic of boris", ("ada in news", "boris in news")),
    Row("ada in business", ("ada in other business", "ada in private", "boris in business")),
    Row("ada in ephemeral", ("boris in ephemeral", "ada in private")),
    Row("admin in group", ("ada in group", "boris in group")),
    Row("boris in private", ("ada in private",), Place(chat_id=BORIS, user_id=BORIS)),
    Row("boris in group", ("ada in private", "ada in group"), Place(chat_id=-100, user_id=BORIS)),
    Row(
        "ada in forum, topic 7",
        ("ada in private", "ada in forum, topic 8"),
        Place(chat_id=-1007, user_id=ADA, message_thread_id=7),
    ),
    Row(
        "ada in private, topic 7",
        ("ada in private",),
        Place(chat_id=ADA, user_id=ADA, message_thread_id=7),
    ),
    Row(
        "ada in news",
        ("ada in private", "ada in other news"),
        Place(chat_id=-1009, user_id=ADA, direct_messages_topic_id=ADA),
    ),
    Row(
        "ada in business",
        ("ada in private", "ada in other business"),
        Place(chat_id=ADA, user_id=ADA, business_connection_id="business-1"),
    ),
    Row("admin in group", ("ada in group",), Place(chat_id=-100, user_id=-100)),
]
# An anonymous admin presses buttons under the real id.
PRESSED = [row for row in ROWS if not row.at.startswith("admin")]


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_a_message_there_is_the_answer(row: Row, dialog: Dialog) -> None:
    """The question is sent to the place, and only a message of the person there answers it."""
    row.ask(dialog)
    answer = dialog.play(said(row.at))
    del answer["update_id"]
    (message,) = answer.values()
    assert place_of(message) == place_of(dialog.question.json)
    assert row.heard(f"take: {row.at}") == dialog.heard


@DIAGONAL
@pytest.mark.parametrize("row", PRESSED, ids=str)
def test_a_press_there_is_the_answer(row: Row, dialog: Dialog) -> None:
    """A press on the button of the question answers it at each place."""
    row.ask(dialog)
    dialog.play(press(person=row.at.split(" in ")[0]))
    assert row.heard("take: press yes") == dialog.heard


@pytest.mark.parametrize("person", ["boris", "admin"])
def test_a_press_of_another_person(person: str, dialog: Dialog) -> None:
    """
    It goes to the handlers, and the question waits on.

    An anonymous admin is another person here: the question waits for the group.
    """
    dialog.ask("group", "admin" if person == "admin" else "ada")
    dialog.play(Dialog.restart, press(person=person))
    asked = "admin" if person == "admin" else "ada"
    dialog.play(say("then", "group", asked))
    assert ["handle: press yes", "take: then"] == dialog.heard


@pytest.mark.parametrize("way", ["text", "press"])
def test_a_join_request(way: str, dialog: Dialog) -> None:
    """The question waits in the private chat of the person who wants to join."""
    dialog.play(lambda _: dialog.ada.request_to_join(dialog.group), Dialog.restart)
    dialog.play(say("in the group", "group"), say("five") if way == "text" else press())
    answer = "five" if way == "text" else "press yes"
    assert ["handle: in the group", f"take: {answer}"] == dialog.heard
    assert ADA == dialog.question.chat_id


@pytest.mark.parametrize("way", ["text", "press"])
@pytest.mark.parametrize("asking", ["command", "press"])
def test_an_ephemeral_question(asking: str, way: str, dialog: Dialog) -> None:
    """After an ephemeral message or press only the person who sent it sees the question."""
    dialog.ask("ephemeral")
    if asking == "press":
        # The first question is over, and its button asks the next one.
        dialog.play(say("first"), press("ask me"))
        del dialog.heard[:]
    dialog.play(Dialog.restart, say("five") if way == "text" else press())
    parameters = dialog.api.calls_of("sendMessage")[-1].json("ephemeral_message_parameters")
    assert ["take: five" if way == "text" else "take: press yes"] == dialog.heard
    assert (ADA, ADA) == (parameters["receiver_user_id"], dialog.question.receiver_id)
    assert (asking == "press") == ("callback_query_id" in parameters)


def test_a_press_asks_in_its_topic(dialog: Dialog) -> None:
    """A question after a press is sent to the topic of the pressed message and waits there."""
    dialog.ask("forum, topic 7")
    dialog.play(say("first"), press("ask me"), Dialog.restart)
    dialog.play(say("elsewhere", "forum"), say("here"))
    assert ["take: first", "handle: elsewhere", "take: here"] == dialog.heard
    assert 7 == dialog.question.topic


def test_two_questions_at_once(dialog: Dialog) -> None:
    """Each topic has a question of its own, and a command ends the one of its topic."""
    dialog.ask("private, topic 7")
    dialog.ask("private")
    dialog.ask("private, topic 8", step="ask_next")
    dialog.play(Dialog.restart, say("/help", "private"), say("seven", "private, topic 7"))
    dialog.play(say("general", "private"), say("eight", "private, topic 8"))
    expected = ["handle: /help", "take: seven", "handle: general", "next: eight"]
    assert expected == dialog.heard


def test_a_thread_that_is_no_topic(dialog: Dialog) -> None:
    """A reply in the General topic has a thread, and is an answer in General."""
    dialog.ask("forum")
    dialog.play(Dialog.restart, send("send_content", {"text": "five", "message_thread_id": 3}))
    assert ["take: five"] == dialog.heard


@pytest.mark.parametrize("place", ["ephemeral", "business"])
def test_a_message_with_the_number_of_the_question(place: str, dialog: Dialog) -> None:
    """
    A press on it goes to the handlers.

    Ephemeral messages, and the chats of business accounts, have numbers of their own.
    """
    dialog.ask(place)
    chat_id = -100 if place == "ephemeral" else ADA
    number = dialog.question.ephemeral_message_id or dialog.question.message_id
    sent = [dialog.bot.send_message(chat_id, "hi", reply_markup=press_board()) for _ in range(3)]
    (other,) = [each for each in sent if each.message_id == number]
    dialog.play(Dialog.restart, lambda _: dialog.ada.press(other, "yes"), say("five"))
    assert ["handle: press yes", "take: five"] == dialog.heard


def summon(dialog: Dialog) -> None:
    """Ada summons the bot as a guest."""
    dialog.ada.summon("ask me", dialog.group)


def press_inline(dialog: Dialog) -> None:
    """Ada presses a button of a message that was sent by an inline query."""
    query = {"id": "1", "from": dialog.ada.json, "chat_instance": "1", "data": "ask me"}
    dialog.api.push({"callback_query": {**query, "inline_message_id": "i"}})


@pytest.mark.parametrize(
    ("act", "reason"),
    [(summon, "only a guest in this chat"), (press_inline, "brings an inline_message_id")],
    ids=["guest", "inline"],
)
def test_a_place_without_answers_is_refused(act: Any, reason: str, dialog: Dialog) -> None:
    """Nothing is sent, and a question that waits elsewhere waits on."""
    dialog.ask("group")
    dialog.play(act)
    error = dialog.take_error()
    assert (SessionError, True) == (type(error), reason in str(error))
    dialog.play(Dialog.restart, say("then"))
    assert (1, ["take: then"]) == (len(dialog.api.messages), dialog.heard)


MOVING = {
    "chat_id": BORIS,
    "message_thread_id": 7,
    "direct_messages_topic_id": BORIS,
    "business_connection_id": "business-2",
    "receiver_user_id": BORIS,
    "ephemeral_message_parameters": types.EphemeralMessageParameters(BORIS),
    "inline_message_id": "i",
}


@DIAGONAL
@pytest.mark.parametrize("option", MOVING)
def test_options_that_would_move_it_are_refused(option: str, dialog: Dialog) -> None:
    """Nothing is sent, and the question before waits on."""
    dialog.ask()
    question = dialog.question
    dialog.ask_again(**{option: MOVING[option]})
    error = dialog.take_error()
    assert (ValueError, True) == (type(error), option in str(error))
    dialog.play(Dialog.restart, say("then"))
    assert (question, ["take: then"]) == (dialog.question, dialog.heard)
