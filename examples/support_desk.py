"""
A support desk: users ask, an operator answers one question after the other.

Try `/ask` and a question. Then `/as 42` makes you the operator: answer, also by `/send album`.

The question to the operator waits at a `Place`, and its `data` name the user who gets the answer.
Only one question waits at a place, so the others wait in the session of the desk. After a day an
answer is late, and the user gets an excuse before it. No code runs at the deadline itself.

In the environment, `OPERATOR_ID` is the user who answers, and has to start the bot once.
`DESK_CHAT_ID` is the chat to answer in, by default the private chat of the operator, and
`DESK_TOPIC_ID` a topic there. The desk is in a SQLite file, `desk.db` unless `BOT_DATABASE` names
another.

    > /ask
    what do you want to know?
    > when do you open?
    thank you, the answer will come here
    (to 42) User 1 asks: when do you open?
    > /as 7
    7 > /ask
    what do you want to know?
    7 > where are you?
    thank you, the answer will come here
    7 > /as 42
    42 > at nine
    User 7 asks: where are you?
    (to 1) at nine
    42 > /send album here
    (to 7) (album of 2 photos) here
"""

# mypy: allow-untyped-decorators, allow-untyped-calls

import os
import signal
from dataclasses import dataclass, field

from telebot import TeleBot, logger
from telebot.types import Message
from telebot.util import content_type_media

from telesession import (
    Place,
    Sessions,
    SQLiteStorage,
    ask,
    on_commit,
    use_questions,
    use_sequential_workers,
)

DAY = 24 * 3600
OPERATOR_ID = int(os.environ.get("OPERATOR_ID") or 42)
DESK = Place(
    chat_id=int(os.environ.get("DESK_CHAT_ID") or OPERATOR_ID),
    user_id=OPERATOR_ID,
    message_thread_id=int(os.environ.get("DESK_TOPIC_ID") or 0) or None,
)


@dataclass
class Desk:
    latest: int = 0
    # number of a question -> the user who asked, the topic of their private chat, and the text
    open: dict[int, tuple[int, int | None, str]] = field(default_factory=dict)


TOKEN = os.environ.get("BOT_TOKEN")
HELP = "send /ask to ask us something"
bot = TeleBot(TOKEN or "123456:offline")


def apologise(message: Message, error: Exception) -> None:
    """Log the exception of a handler, and tell the user."""
    logger.error("a handler raised", exc_info=error)
    bot.reply_to(message, "sorry, that went wrong")


use_sequential_workers(bot, on_error=apologise)
storage = SQLiteStorage(os.environ.get("BOT_DATABASE") or "desk.db")
desks = Sessions(initial=Desk, name="desk", storage=storage, get_storage_key=lambda _: "all")


def is_operator(message: Message) -> bool:
    user_id = message.from_user.id if message.from_user else 0
    return (
        Place(chat_id=message.chat.id, user_id=user_id, message_thread_id=topic_of(message)) == DESK
    )


def topic_of(message: Message) -> int | None:
    return message.message_thread_id if message.is_topic_message else None


@bot.message_handler(func=is_operator, content_types=content_type_media)
@desks.with_session
def remind(message: Message, desk: Desk) -> None:
    """Get the messages of the operator that are no answers; a command has ended the question."""
    if desk.open:
        ask_operator(desk)
    else:
        bot.reply_to(message, "no question is open")


@bot.message_handler(commands=["ask"], chat_types=["private"])
def begin(message: Message) -> None:
    ask(bot, message, "what do you want to know?", take_question)


def take_question(message: Message, desk: Desk) -> None:
    if not message.text or not message.from_user:
        ask(bot, message, "please ask in words", take_question)
        return
    desk.latest += 1
    # Telegram takes 4096 characters, also with the name before them.
    text = f"{message.from_user.first_name} asks: {message.text}"[:4096]
    desk.open[desk.latest] = message.from_user.id, topic_of(message), text
    bot.reply_to(message, "thank you, the answer will come here")
    if len(desk.open) == 1:
        ask_operator(desk)


def ask_operator(desk: Desk) -> None:
    number = min(desk.open)
    user_id, topic, text = desk.open[number]
    data = {"number": number, "user_id": user_id, "topic": topic}
    ask(bot, DESK, text, pass_on, timeout=DAY, on_timeout=pass_on_late, data=data)


def pass_on(
    answer: list[Message], desk: Desk, number: int, user_id: int, topic: int | None
) -> None:
    """Get an answer of the operator, which may be an album."""
    desk.open.pop(number, None)
    message_ids = [part.message_id for part in answer]
    # After the commit: a user who has blocked the bot does not hold up the others.
    on_commit(bot.copy_messages, user_id, DESK.chat_id, message_ids, message_thread_id=topic)
    if desk.open:
        ask_operator(desk)


def pass_on_late(
    answer: list[Message], desk: Desk, number: int, user_id: int, topic: int | None
) -> None:
    on_commit(bot.send_message, user_id, "sorry that you had to wait", message_thread_id=topic)
    pass_on(answer, desk, number, user_id, topic)


@bot.message_handler(chat_types=["private"])
def explain(message: Message) -> None:
    bot.reply_to(message, HELP)


use_questions(bot, desks, steps=[take_question, pass_on, pass_on_late])


if __name__ == "__main__":
    if TOKEN:
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        bot.infinity_polling()
    else:  # In the terminal, without a network.
        from telesession.testing import chat

        chat(bot, hint="try: /ask and a question, then /as 42 and an answer, or /send album")
