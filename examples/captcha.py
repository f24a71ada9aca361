"""
Keeps robots out of a group: people who join, or who are added by a member, answer a question.

Try `/request -100` and `/press hunt`. Then `/in -100`, `/invite 42`, `/as 42` and an answer.

A join request is answered in the private chat. A new member is asked in the group, and the first
message there is the answer, however late it comes. In private, a text that is no label is asked
again. Telegram names the inviter as the sender of an
update about new members, so the handler opens their sessions by their ids. A command ends a
question, so the handlers of other messages ask it again. Each user answers once, and has two tries
a day for five labels, in all chats together.

The bot has to be an administrator who may invite and ban users, and delete messages. In a forum,
new members are asked in the topic General. The users are in a SQLite file, `captcha.db` unless the
environment variable `BOT_DATABASE` names another.

    > /request -100
    To join, answer this: what do owls do at night?
      [1] ...  [2] ...  [3] ...  [4] ...  [5] ...
    > /press read
    (notice) no
    Once more: what do owls do at night?
      [1] ...  [2] ...  [3] ...  [4] ...  [5] ...
    > /press hunt
    (notice) welcome!
    > /in -100
    1 in -100 > /invite 42
    User 42: what do owls do at night?
      [1] ...  [2] ...  [3] ...  [4] ...  [5] ...
    1 in -100 > /press hunt
    (notice) this question is over, or another user's
    1 in -100 > /as 42
    42 in -100 > hunt
    welcome!
"""

# mypy: allow-untyped-decorators, allow-untyped-calls

import os
import random
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from telebot import TeleBot, logger
from telebot.types import (
    CallbackQuery,
    ChatJoinRequest,
    InlineKeyboardButton,
    InlineKeyboardMarkup,
    Message,
)
from telebot.util import content_type_media

from telesession import (
    Place,
    Sessions,
    SQLiteStorage,
    ask,
    cancel,
    on_commit,
    ttl,
    use_questions,
    use_sequential_workers,
)

QUESTION = "what do owls do at night?"
RIGHT, WRONG = "hunt", ["knit", "read", "sing", "swim"]
# Far fewer than labels: a robot that presses all buttons stays out.
TRIES = 2
WAIT_SECONDS = 24 * 3600

Answer = Message | CallbackQuery
Step = Callable[..., None]


@dataclass
class Person:
    is_human: bool = False
    tries: int = TRIES
    # The groups whose join requests are open.
    requests: list[int] = field(default_factory=list)


TOKEN = os.environ.get("BOT_TOKEN")
NO_MORE = "no, and there are no more tries today"
HELP = "ask to join the group, and I ask you a question"
bot = TeleBot(TOKEN or "123456:offline")


def apologise(update: Answer | ChatJoinRequest, error: Exception) -> None:
    """Log the exception of a handler, and tell the user."""
    logger.error("a handler raised", exc_info=error)
    sorry = "sorry, that went wrong; please try again"
    if isinstance(update, ChatJoinRequest):
        bot.send_message(update.user_chat_id, sorry)
    else:
        tell(update, sorry)


use_sequential_workers(bot, on_error=apologise)
storage = SQLiteStorage(os.environ.get("BOT_DATABASE") or "captcha.db")
people = Sessions(initial=Person, name="person", storage=storage)


@bot.chat_join_request_handler()
@people.with_session
def meet_request(request: ChatJoinRequest, person: Person) -> None:
    if person.is_human:
        bot.approve_chat_join_request(request.chat.id, request.from_user.id)
        return
    if person.tries == 0:
        bot.send_message(request.user_chat_id, NO_MORE)
        bot.decline_chat_join_request(request.chat.id, request.from_user.id)
        return
    if request.chat.id not in person.requests:
        person.requests.append(request.chat.id)
    put(request, f"To join, answer this: {QUESTION}", check_request, user_id=request.from_user.id)


def check_request(answer: Answer, person: Person, user_id: int) -> None:
    label = read(answer)
    if label == RIGHT:
        person.is_human = True
        tell(answer, "welcome!")
        decide(bot.approve_chat_join_request, person, user_id)
    elif label not in WRONG:
        put(answer, f"Press a button, please: {QUESTION}", check_request, user_id=user_id)
    elif use_try(person):
        tell(answer, "no")
        put(answer, f"Once more: {QUESTION}", check_request, user_id=user_id)
    else:
        tell(answer, NO_MORE)
        decide(bot.decline_chat_join_request, person, user_id)


def use_try(person: Person) -> bool:
    """Take one of the tries for a day, and return whether any is left."""
    person.tries = ttl(max(person.tries - 1, 0), WAIT_SECONDS)
    return person.tries > 0


def decide(method: Callable[[int, int], bool], person: Person, user_id: int) -> None:
    for chat_id in person.requests:
        # After the commit: if a user has withdrawn a request, Telegram refuses to decide on it.
        on_commit(method, chat_id, user_id)
    person.requests = []


@bot.message_handler(content_types=["new_chat_members"])
def meet_members(message: Message) -> None:
    for member in message.new_chat_members or ():
        with people.open(member.id) as person:
            is_welcome = member.is_bot or person.is_human
            tries = person.tries
        if is_welcome:
            continue
        if tries == 0:
            ban(message.chat.id, member.id)
        else:
            place = Place(chat_id=message.chat.id, user_id=member.id)
            text = f"{member.first_name}: {QUESTION}"
            put(place, text, check_member, chat_id=place.chat_id, user_id=place.user_id)


def check_member(
    answer: list[Message] | CallbackQuery, person: Person, chat_id: int, user_id: int
) -> None:
    first = answer if isinstance(answer, CallbackQuery) else answer[0]
    if read(first) == RIGHT:
        person.is_human = True
        tell(first, "welcome!")
        return
    if isinstance(answer, list):
        # Advertisements may be albums.
        bot.delete_messages(chat_id, [message.message_id for message in answer])
    if use_try(person):
        tell(first, "no")
        put(first, f"Once more: {QUESTION}", check_member, chat_id=chat_id, user_id=user_id)
    else:
        tell(first, NO_MORE)
        ban(chat_id, user_id)


def ban(chat_id: int, user_id: int) -> None:
    bot.ban_chat_member(chat_id, user_id, until_date=int(time.time()) + WAIT_SECONDS)


@bot.message_handler(chat_types=["group", "supergroup"], content_types=content_type_media)
def insist(message: Message) -> None:
    if message.from_user and cancel(bot, message):
        # A command of a new member has ended the question.
        chat_id, user_id = message.chat.id, message.from_user.id
        bot.delete_message(chat_id, message.message_id)
        put(message, f"Once more: {QUESTION}", check_member, chat_id=chat_id, user_id=user_id)


@bot.message_handler(chat_types=["private"])
@people.with_session
def explain(message: Message, person: Person) -> None:
    if message.from_user and person.requests:
        # Telegram shows the button for /start below the question.
        put(message, QUESTION, check_request, user_id=message.from_user.id)
    else:
        bot.reply_to(message, HELP)


@bot.callback_query_handler(func=lambda _: True)
def refuse(query: CallbackQuery) -> None:
    """Get the presses that are no answers: of other users, or on an earlier question."""
    tell(query, "this question is over, or another user's")


def put(to: Answer | ChatJoinRequest | Place, text: str, step: Step, **data: int) -> None:
    """Ask, with the answers on buttons in any order."""
    labels = random.sample([RIGHT, *WRONG], 1 + len(WRONG))
    markup = InlineKeyboardMarkup([[InlineKeyboardButton(x, callback_data=x) for x in labels]])
    ask(bot, to, text, step, data=data, reply_markup=markup)


def read(answer: Answer) -> str:
    text = answer.text if isinstance(answer, Message) else answer.data
    return (text or "").strip().lower()


def tell(answer: Answer, text: str) -> None:
    """Answer by a message in the same topic, or a press by a notice that only its user sees."""
    if isinstance(answer, Message):
        # Not as a reply: the message may be deleted.
        topic = answer.message_thread_id if answer.is_topic_message else None
        bot.send_message(answer.chat.id, text, message_thread_id=topic)
    else:
        bot.answer_callback_query(answer.id, text)


use_questions(bot, people, steps=[check_request, check_member])


if __name__ == "__main__":
    if TOKEN:
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        bot.infinity_polling()
    else:  # In the terminal, without a network.
        from telesession.testing import chat

        chat(bot, hint="try: /request -100, /press hunt, /in -100, /invite 42, /as 42, hunt")
