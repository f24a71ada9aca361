#!/usr/bin/env bash
# An error in telebot's `middleware_handler` loses the updates before it, and stops the updates behind it.
#
# Versions: pyTelegramBotAPI 4.37.1, requests 2.34.2, CPython 3.11.7.
#
# Behaviour: with `apihelper.ENABLE_MIDDLEWARE`, telebot first calls the middlewares for all updates of a batch, and
# only then the handlers. It counts each update as seen behind its own middlewares. If a middleware raises at the third
# of four updates, the first two count as seen, and their handlers have not run: the next poll confirms both to
# Telegram, which forgets them. The third update does not count as seen, so each poll brings it again, it raises again,
# and the fourth update waits behind it. An exception handler that returns True keeps the bot alive in this state. A
# Bot API on the loopback interface sends the four messages of four users.
#
# Output seen:
#   middleware_handler raises: handled [], offsets of the polls [1, 3, 3, 3], not confirmed [3, 4]
#   the same, suppress_middleware_excepions=True: handled [1, 2, 4], offsets of the polls [1, 5, 5, 5], not confirmed []
#
# For a bot author: one message that a middleware cannot read loses the messages of other users, and the bot handles no
# later message, although it polls. Catch the error in the middleware, or pass suppress_middleware_excepions=True
# (telebot's spelling), which skips only the update that raised.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --no-deps \
    'pyTelegramBotAPI==4.37.1' 'requests==2.34.2' 'urllib3==2.8.0' 'certifi==2026.10.19.post1' \
    'charset-normalizer==3.5.3' 'idna==3.20'
"$work/venv/bin/python" - <<'PYTHON'
import json
import logging
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import telebot

POLLS = 4
ME = {"id": 1, "is_bot": True, "first_name": "B", "username": "b_bot"}


def update(number):
    user = {"id": number, "is_bot": False, "first_name": "A"}
    if number != 3:
        user["language_code"] = "en"
    chat = {"id": number, "type": "private"}
    message = {"message_id": number, "date": 1, "chat": chat, "from": user, "text": "hi"}
    return {"update_id": number, "message": message}


class BotAPI(ThreadingHTTPServer):
    """Answers getMe and getUpdates, and forgets the updates below the offset, as documented."""

    daemon_threads = True

    def __init__(self):
        self.queue = [update(number) for number in range(1, 5)]
        self.offsets = []
        self.polled = threading.Event()
        super().__init__(("127.0.0.1", 0), Request)

    def updates(self, offset):
        if len(self.offsets) == POLLS:
            return []
        self.offsets.append(offset)
        self.queue = [each for each in self.queue if each["update_id"] >= offset]
        if len(self.offsets) == POLLS:
            self.polled.set()
        return self.queue


class Request(BaseHTTPRequestHandler):
    def do_GET(self):
        url = urlsplit(self.path)
        length = int(self.headers.get("Content-Length") or 0)
        fields = parse_qs(url.query) | parse_qs(self.rfile.read(length).decode())
        is_me = url.path.endswith("getMe")
        result = ME if is_me else self.server.updates(int(fields["offset"][0]))
        body = json.dumps({"ok": True, "result": result}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET

    def log_message(self, *args):
        pass


class Known(telebot.ExceptionHandler):
    def handle(self, exception):
        return True


def run(**options):
    api = BotAPI()
    threading.Thread(target=api.serve_forever, daemon=True).start()
    telebot.apihelper.API_URL = f"http://127.0.0.1:{api.server_port}/bot{{0}}/{{1}}"
    bot = telebot.TeleBot("1:token", num_threads=1, exception_handler=Known(), **options)
    handled = []

    @bot.middleware_handler(update_types=["message"])
    def choose_language(bot, message):
        message.language = message.from_user.language_code.partition("-")[0]

    bot.register_message_handler(lambda message: handled.append(message.chat.id))
    poller = threading.Thread(
        target=bot.polling,
        kwargs={"non_stop": True, "interval": 0.05, "timeout": 5, "long_polling_timeout": 0},
        daemon=True,
    )
    poller.start()
    if not api.polled.wait(60):
        sys.exit("CHANGED: telebot does not poll any more")
    bot.stop_polling()
    poller.join(60)
    # The pool has one thread, so this task runs behind the handlers.
    done = threading.Event()
    bot.worker_pool.put(done.set)
    if not done.wait(60):
        sys.exit("CHANGED: the pool does not handle the rest")
    bot.worker_pool.close()
    api.shutdown()
    api.server_close()
    return handled, api.offsets, [each["update_id"] for each in api.queue]


logging.getLogger("TeleBot").setLevel(logging.CRITICAL)
telebot.apihelper.ENABLE_MIDDLEWARE = True
seen = {
    "middleware_handler raises": run(),
    "the same, suppress_middleware_excepions=True": run(suppress_middleware_excepions=True),
}
for name, (handled, offsets, waiting) in seen.items():
    print(f"{name}: handled {handled}, offsets of the polls {offsets}, not confirmed {waiting}")
if list(seen.values()) != [([], [1, 3, 3, 3], [3, 4]), ([1, 2, 4], [1, 5, 5, 5], [])]:
    sys.exit("CHANGED: other updates are handled")
PYTHON
