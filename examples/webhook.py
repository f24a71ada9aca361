"""
Counts messages under a webhook that several processes serve: Flask, and sessions in Redis.

Try `hi` and `/as 42`, which makes you another user.

Processes that get updates of one user at the same time take turns. Where a handler raises, Flask
answers 500 and the session is as it was, so Telegram may send the update again.

It needs `pip install flask`. Without a token it is a bot like the others, in one process. With
`BOT_TOKEN` it also needs `pip install redis`, `REDIS_URL`, the address of a Redis or Valkey server,
and `WEBHOOK_URL`, the one where Telegram reaches it. Run as a program, it tells Telegram that, and
is one process, on port 8080 or `PORT`. Then `app` can be left to a server that runs more of them,
such as gunicorn: `gunicorn --chdir examples --workers 4 webhook:app`.

    > hi
    message 1
    > hi
    message 2
    > /as 42
    > hi
    message 1
"""

# mypy: allow-untyped-decorators, allow-untyped-calls

import hashlib
import hmac
import os
from collections.abc import Callable
from contextlib import suppress
from functools import wraps

from flask import Flask, abort, request
from telebot import TeleBot
from telebot.types import Message, Update

from telesession import MemoryStorage, RedisStorage, Session, Sessions

TOKEN = os.environ.get("BOT_TOKEN") or "1:offline"
REDIS_URL = os.environ.get("REDIS_URL")
# What only Telegram and the processes of this bot know.
SECRET = hashlib.sha256(TOKEN.encode()).hexdigest()

# A handler has to end before its update is answered: the server has threads, the bot has none.
bot = TeleBot(TOKEN, threaded=False)
if os.environ.get("BOT_TOKEN") and not REDIS_URL:
    raise SystemExit("REDIS_URL is not set, and sessions in memory are each process's own")
storage = RedisStorage(REDIS_URL) if REDIS_URL else MemoryStorage()
sessions = Sessions(initial=lambda: {"messages": 0}, storage=storage)
app = Flask(__name__)


@app.post("/")
def receive() -> str:
    secret = request.headers.get("X-Telegram-Bot-Api-Secret-Token", "")
    if not hmac.compare_digest(secret.encode(), SECRET.encode()):
        abort(403)
    update = Update.de_json(request.get_json())
    if update is None:
        abort(400)
    bot.process_new_updates([update])
    return ""


def apologizing(handler: Callable[[Message], None]) -> Callable[[Message], None]:
    """Tell the user that a handler raised; Flask logs it, and Telegram tries again."""

    @wraps(handler)
    def wrapper(message: Message) -> None:
        try:
            handler(message)
        except Exception:
            with suppress(Exception):  # The user may have blocked the bot.
                bot.send_message(message.chat.id, "sorry, that went wrong, and nothing was saved")
            raise

    return wrapper


@bot.message_handler()
@apologizing
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
