"""
Takes orders in a dialog under a webhook, with everything in the PostgreSQL database of the host.

Try `hi` and two answers, such as `sencha` and `2`, then `/orders` and `/as 42`, which makes you
another user.

A host that wipes the disk at each deployment gives its bots a `DATABASE_URL`. Sessions, questions
and the inbox are in one table there, which the bot makes. `receive` stores an update, and Flask
answers at once. Each process may get the answer to a question that another one has asked. If a
process is killed or replaced, another one handles the updates that it has left.

It needs `pip install flask`. Without a token it is a bot like the others, in one process. With
`BOT_TOKEN` it also needs `pip install '.[postgres]'` in the clone, `DATABASE_URL`, and
`WEBHOOK_URL`, the address where Telegram reaches it. Run as a program, it tells Telegram this
address, and is one process, on port 8080 or `PORT`. Afterwards a server such as gunicorn can run
several processes: `gunicorn --chdir examples --workers 4 postgres_webhook:app`.

    > hi
    which tea?
    > sencha
    how many cups?
    > 2
    ordered: 2 x sencha
    > /orders
    2 x sencha
"""

# mypy: allow-untyped-decorators, allow-untyped-calls

import hashlib
import hmac
import os

from flask import Flask, abort, request
from telebot import TeleBot, logger
from telebot.types import Message

from telesession import (
    MemoryStorage,
    PostgresStorage,
    Session,
    Sessions,
    ask,
    receive,
    use_questions,
    use_sequential_workers,
)

TOKEN = os.environ.get("BOT_TOKEN") or "123456:offline"
DATABASE_URL = os.environ.get("DATABASE_URL")
# Only Telegram and the processes of this bot know it.
SECRET = hashlib.sha256(TOKEN.encode()).hexdigest()

# Each worker has one connection while its handler runs.
bot = TeleBot(TOKEN, num_threads=4)
if os.environ.get("BOT_TOKEN") and not DATABASE_URL:
    raise SystemExit("DATABASE_URL is not set, and sessions in memory are each process's own")
storage = PostgresStorage(DATABASE_URL) if DATABASE_URL else MemoryStorage()
sessions = Sessions(initial=lambda: {"orders": []}, storage=storage)
app = Flask(__name__)


def apologise(message: Message, error: Exception) -> None:
    """Log the exception of a handler, and tell the user."""
    logger.error("a handler raised", exc_info=error)
    bot.send_message(message.chat.id, "sorry, that went wrong, and nothing was saved")


def take_tea(message: Message) -> None:
    ask(bot, message, "how many cups?", take_cups, data={"tea": message.text})


def take_cups(message: Message, session: Session, tea: str) -> None:
    cups = message.text or ""
    if not cups.isdecimal():
        ask(bot, message, "please send a number", take_cups, data={"tea": tea})
        return
    session.orders.append(f"{cups} x {tea}")
    bot.reply_to(message, f"ordered: {session.orders[-1]}")


use_sequential_workers(bot, inbox=storage, on_error=apologise)
use_questions(bot, sessions, steps=[take_tea, take_cups])


@app.post("/")
def take_update() -> str:
    secret = request.headers.get("X-Telegram-Bot-Api-Secret-Token", "")
    if not hmac.compare_digest(secret.encode(), SECRET.encode()):
        abort(403)
    receive(bot, request.get_data())
    return ""


@bot.message_handler(commands=["orders"])
@sessions.with_session
def list_orders(message: Message, session: Session) -> None:
    bot.reply_to(message, "\n".join(session.orders) or "there are no orders")


@bot.message_handler()
def begin_order(message: Message) -> None:
    ask(bot, message, "which tea?", take_tea)


if __name__ == "__main__":
    if os.environ.get("BOT_TOKEN"):
        bot.set_webhook(os.environ["WEBHOOK_URL"], secret_token=SECRET)
        app.run(port=int(os.environ.get("PORT", "8080")))
    else:  # In the terminal, without a network.
        from telesession.testing import chat

        chat(bot, hint="try: hi, sencha, 2, /orders, and /as 42 to be another user")
