"""
Registers people for a course: a dialog with buttons to choose, to go back and to cancel.

Try `/register` and answer, `/press back` or `/press cancel` on the way, then `/me`.

A step takes a text and a pressed button alike, so each answer can also be typed. The answers go
from question to question as `data`, and only the last yes saves them in the session. A command ends
the dialog, as `cancel` does. The questions wait for an hour, also after a restart: they are in a
SQLite file, `courses.db` unless the environment variable `BOT_DATABASE` names another.

    > /register
    what is your name?
      [1] cancel
    > Ada
    how old are you, Ada?
      [1] back  [2] cancel
    > twelve
    a number from 6 to 120, please
      [1] back  [2] cancel
    > 12
    which course?
      [1] chess  [2] pottery
      [3] back  [4] cancel
    > /press back
    how old are you, Ada?
      [1] back  [2] cancel
    (edited) which course? - back
    > 21
    which course?
      [1] chess  [2] pottery
      [3] back  [4] cancel
    > /press pottery
    Ada, 21, pottery: is that right?
      [1] yes
      [2] back  [3] cancel
    (edited) which course? - pottery
    > /press yes
    see you, Ada!
    (edited) Ada, 21, pottery: is that right? - yes
    > /me
    Ada, 21, pottery
"""

# mypy: allow-untyped-decorators, allow-untyped-calls

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from telebot import TeleBot, logger
from telebot.types import CallbackQuery, InlineKeyboardButton, InlineKeyboardMarkup, Message

from telesession import (
    Sessions,
    SQLiteStorage,
    ask,
    on_commit,
    use_questions,
    use_sequential_workers,
)

COURSES = ["chess", "pottery"]
AGES = range(6, 121)
WAIT_SECONDS = 3600

Answer = Message | CallbackQuery
Step = Callable[..., None]


@dataclass
class Person:
    name: str = ""
    age: int = 0
    course: str = ""


TOKEN = os.environ.get("BOT_TOKEN")
HELP = "send /register to join a course, and /me to see yours"
bot = TeleBot(TOKEN or "123456:offline")


def apologise(update: Answer, error: Exception) -> None:
    """Log the exception of a handler, and tell the user."""
    logger.error("a handler raised", exc_info=error)
    tell(update, "sorry, that went wrong; please answer once more")


use_sequential_workers(bot, on_error=apologise)
storage = SQLiteStorage(os.environ.get("BOT_DATABASE") or "courses.db")
people = Sessions(initial=Person, name="person", storage=storage)


@bot.message_handler(commands=["register"])
def begin(message: Message) -> None:
    ask_name(message, "what is your name?")


def ask_name(to: Answer, text: str) -> None:
    put(to, text, take_name, [["cancel"]])


def take_name(answer: Answer) -> None:
    match read(answer):
        case "cancel":
            tell(answer, "then not")
        case "":
            ask_name(answer, "your name, please")
        case name:
            ask_age(answer, f"how old are you, {name}?", name)


def ask_age(to: Answer, text: str, name: str) -> None:
    put(to, text, take_age, [["back", "cancel"]], name=name)


def take_age(answer: Answer, name: str) -> None:
    match read(answer):
        case "cancel":
            tell(answer, "then not")
        case "back":
            ask_name(answer, "what is your name?")
        case text if text.isdecimal() and int(text) in AGES:
            ask_course(answer, name, int(text))
        case _:
            ask_age(answer, f"a number from {AGES[0]} to {AGES[-1]}, please", name)


def ask_course(to: Answer, name: str, age: int) -> None:
    put(to, "which course?", take_course, [COURSES, ["back", "cancel"]], name=name, age=age)


def take_course(answer: Answer, name: str, age: int) -> None:
    match read(answer):
        case "cancel":
            tell(answer, "then not")
        case "back":
            ask_age(answer, f"how old are you, {name}?", name)
        case course if course in COURSES:
            ask_yes(answer, name, age, course)
        case _:
            ask_course(answer, name, age)


def ask_yes(to: Answer, name: str, age: int, course: str) -> None:
    rows = [["yes"], ["back", "cancel"]]
    text = f"{name}, {age}, {course}: is that right?"
    put(to, text, take_yes, rows, name=name, age=age, course=course)


def take_yes(answer: Answer, person: Person, name: str, age: int, course: str) -> None:
    match read(answer):
        case "cancel":
            tell(answer, "then not")
        case "back":
            ask_course(answer, name, age)
        case "yes":
            person.name, person.age, person.course = name, age, course
            tell(answer, f"see you, {name}!")
        case _:
            ask_yes(answer, name, age, course)


@bot.message_handler(commands=["me"])
@people.with_session
def show(message: Message, person: Person) -> None:
    entry = f"{person.name}, {person.age}, {person.course}"
    bot.reply_to(message, entry if person.course else "you have no course yet")


@bot.message_handler()
def explain(message: Message) -> None:
    bot.reply_to(message, HELP)


@bot.callback_query_handler(func=lambda _: True)
def refuse(query: CallbackQuery) -> None:
    """Get the presses that are no answers, as on the buttons of an earlier question."""
    bot.answer_callback_query(query.id, "this question is over, or another user's")


def put(to: Answer, text: str, step: Step, rows: list[list[str]], **data: Any) -> None:
    """Ask a question with rows of buttons; a button sends its label."""
    buttons = [[InlineKeyboardButton(name, callback_data=name) for name in row] for row in rows]
    markup = InlineKeyboardMarkup(buttons)
    ask(bot, to, text, step, timeout=WAIT_SECONDS, data=data, reply_markup=markup)


def read(answer: Answer) -> str:
    """The text, or the label of the button, which takes the place of all buttons."""
    if isinstance(answer, Message):
        return (answer.text or "").strip()
    bot.answer_callback_query(answer.id)
    label, question = answer.data or "", answer.message
    if isinstance(question, Message):
        # Not before: the question keeps its buttons if the step fails.
        place = question.chat.id, question.message_id
        on_commit(bot.edit_message_text, f"{question.text} - {label}", *place)
    return label


def tell(answer: Answer, text: str) -> None:
    """Reply, so that the text is in the topic of the answer."""
    message = answer if isinstance(answer, Message) else answer.message
    if isinstance(message, Message):
        bot.reply_to(message, text)


use_questions(bot, people, steps=[take_name, take_age, take_course, take_yes])


if __name__ == "__main__":
    if TOKEN:
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        bot.infinity_polling()
    else:  # In the terminal, without a network.
        from telesession.testing import chat

        chat(bot, hint="try: /register, /press back, /press cancel, and /me")
