"""
A quiz in the topics of a group: each topic has a session, and admins ask the next question.

Try `/in -1001`, `/topic 7`, `/quiz`, `/press Paris` and `/score`, then `/admin` and `/next`.

Each user answers a question once. `/next` is for admins, also for those who write as the group:
Telegram sends such a message with the group as its `sender_chat`. A press on a button comes under
the real id, so these admins play under their own name. In the terminal, `/anonymous` does that.

    > /in -1001
    1 in -1001 > /topic 7
    1 in -1001, topic 7 > /quiz
    What is the capital of France?
      [1] Lyon  [2] Paris
    1 in -1001, topic 7 > /press Paris
    (notice) right!
    1 in -1001, topic 7 > /press Lyon
    (notice) you have answered already
    1 in -1001, topic 7 > /score
    User 1: 1
    1 in -1001, topic 7 > /next
    only admins ask the next question
    1 in -1001, topic 7 > /admin
    1 in -1001, topic 7, admin > /next
    What is 6 times 7?
      [1] 36  [2] 42
    1 in -1001, topic 7, admin > /anonymous
    1 in -1001, topic 7, anonymous > /press 42
    (notice) right!
    1 in -1001, topic 7, anonymous > /next
    that was the last question
    User 1: 2
"""

# mypy: allow-untyped-decorators, allow-untyped-calls

import os
import signal
from dataclasses import dataclass, field

from telebot import TeleBot, logger
from telebot.types import CallbackQuery, Message
from telebot.util import quick_markup

from telesession import Sessions, by_topic, use_sequential_workers

TOKEN = os.environ.get("BOT_TOKEN")
HELP = "add me to a group; /quiz begins, admins go on with /next, /score shows points"
GROUPS = ["group", "supergroup"]
# question -> its answers, the right one last
QUESTIONS = {
    "What is the capital of France?": ["Lyon", "Paris"],
    "What is 6 times 7?": ["36", "42"],
}
bot = TeleBot(TOKEN or "123456:offline")


@dataclass
class Player:
    name: str
    points: int = 0


@dataclass
class Quiz:
    # The number of the open question, the users who have answered it, and user id -> player.
    number: int = 0
    answered: list[int] = field(default_factory=list)
    players: dict[int, Player] = field(default_factory=dict)

    def score(self) -> str:
        best = sorted(self.players.values(), key=lambda player: (-player.points, player.name))
        return "\n".join(f"{player.name}: {player.points}" for player in best) or "no answers yet"


def apologise(update: Message | CallbackQuery, error: Exception) -> None:
    """Log the exception of a handler, and tell the user."""
    logger.error("a handler raised", exc_info=error)
    text = "sorry, that went wrong, and nothing was saved"
    if isinstance(update, CallbackQuery):
        bot.answer_callback_query(update.id, text)
    else:
        bot.reply_to(update, text)


use_sequential_workers(bot, get_key=by_topic, on_error=apologise)
quizzes = Sessions(initial=Quiz, name="quiz", get_storage_key=by_topic)


def is_admin(message: Message) -> bool:
    if message.sender_chat:
        return message.sender_chat.id == message.chat.id
    user_id = message.from_user.id if message.from_user else 0
    return bot.get_chat_member(message.chat.id, user_id).status in {"creator", "administrator"}


def pose(message: Message, quiz: Quiz) -> None:
    """Ask the open question, in the topic of a message."""
    question, answers = list(QUESTIONS.items())[quiz.number]
    quiz.answered = []
    buttons = {answer: {"callback_data": f"{quiz.number} {answer}"} for answer in answers}
    bot.reply_to(message, question, reply_markup=quick_markup(buttons))


@bot.message_handler(commands=["quiz"], chat_types=GROUPS)
@quizzes.with_session
def begin(message: Message, quiz: Quiz) -> None:
    quiz.number, quiz.players = 0, {}
    pose(message, quiz)


@bot.message_handler(commands=["next"], chat_types=GROUPS)
@quizzes.with_session
def go_on(message: Message, quiz: Quiz) -> None:
    if not is_admin(message):
        bot.reply_to(message, "only admins ask the next question")
        return
    quiz.number += 1
    if quiz.number < len(QUESTIONS):
        pose(message, quiz)
    else:
        bot.reply_to(message, f"that was the last question\n{quiz.score()}")


@bot.callback_query_handler(func=lambda _: True)
@quizzes.with_session
def answer(query: CallbackQuery, quiz: Quiz) -> None:
    number, _, choice = (query.data or "").partition(" ")
    user = query.from_user
    player = quiz.players.setdefault(user.id, Player(user.first_name))
    if number != str(quiz.number):
        notice = "that question is over"
    elif user.id in quiz.answered:
        notice = "you have answered already"
    else:
        quiz.answered.append(user.id)
        is_right = choice == list(QUESTIONS.values())[quiz.number][-1]
        player.points += is_right
        notice = "right!" if is_right else "wrong"
    bot.answer_callback_query(query.id, notice)


@bot.message_handler(commands=["score"], chat_types=GROUPS)
@quizzes.with_session
def tell_score(message: Message, quiz: Quiz) -> None:
    bot.reply_to(message, quiz.score())


@bot.message_handler(commands=["start", "help"])
@bot.message_handler(chat_types=["private"])
def explain(message: Message) -> None:
    bot.reply_to(message, HELP)


if __name__ == "__main__":
    if TOKEN:
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        bot.infinity_polling()
    else:  # In the terminal, without a network.
        from telesession.testing import chat

        chat(bot, hint="try: /in -1001, /topic 7, /quiz, /press Paris, /score, then /admin, /next")
