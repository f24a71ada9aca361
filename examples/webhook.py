"""
Counts messages under a webhook that several processes serve: Flask, and sessions in Redis.

Try `hi` and `/as 42`, which makes you another user.

`receive` stores an update and hands it to the workers of its process, and Flask answers at once. So
a slow handler does not make Telegram send the update again, and an update that comes again is not
handled again. If the process is killed, another one handles the stored updates. Processes that have
updates of one user at the same time take turns. If the server cannot store an update, `receive`
raises, Flask answers 500, and Telegram sends the update again later.

It needs `pip install flask`. Without a token it is a bot like the others, in one process. With
`BOT_TOKEN` it also needs `pip install redis`, `REDIS_URL`, the address of a Redis or Valkey server,
and `WEBHOOK_URL`, the address where Telegram reaches it. Run as a program, it tells Telegram this
address, and is one process, on port 8080 or `PORT`. Afterwards a server such as gunicorn can run
several processes: `gunicorn --chdir examples --workers 4 webhook:app`.

    > hi
    message 1
    > hi
    message 2
    > /as 42
    42 > hi
    message 1
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
    RedisStorage,
    Session,
    Sessions,
    receive,
    use_sequential_workers,
)

TOKEN = os.environ.get("BOT_TOKEN") or "123456:offline"
REDIS_URL = os.environ.get("REDIS_URL")
# Only Telegram and the processes of this bot know it.
SECRET = hashlib.sha256(TOKEN.encode()).hexdigest()

bot = TeleBot(TOKEN)
if os.environ.get("BOT_TOKEN") and not REDIS_URL:
    raise SystemExit("REDIS_URL is not set, and sessions in memory are each process's own")
storage = RedisStorage(REDIS_URL) if REDIS_URL else MemoryStorage()
sessions = Sessions(initial=lambda: {"messages": 0}, storage=storage)
app = Flask(__name__)


def apologise(message: Message, error: Exception) -> None:
    """Log the exception of a handler, and tell the user."""
    logger.error("a handler raised", exc_info=error)
    bot.send_message(message.chat.id, "sorry, that went wrong, and nothing was saved")


use_sequential_workers(bot, inbox=storage, on_error=apologise)


@app.post("/")
def take_update() -> str:
    secret = request.headers.get("X-Telegram-Bot-Api-Secret-Token", "")
    if not hmac.compare_digest(secret.encode(), SECRET.encode()):
        abort(403)
    receive(bot, request.get_data())
    return ""


@bot.message_handler()
@sessions.with_session
def count(message: Message, session: Session) -> None:
    session.messages += 1
    bot.reply_to(message, f"message {session.messages}")


if __name__ == "__main__":
    if os.environ.get("BOT_TOKEN"):
        bot.set_webhook(os.environ["WEBHOOK_URL"], secret_token=SECRET)
        app.run(port=int(os.environ.get("PORT", "8080")))
    else:  # In the terminal, without a network.
        from telesession.testing import chat

        chat(bot, hint="try: hi, hi again, and /as 42 to be another user")
