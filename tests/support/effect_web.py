"""
A WSGI application whose bot notes its effects in sessions; see `support.effect_bot`.

gunicorn loads `support.effect_web:application` in each worker process.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterable
from typing import Any

from telebot import types

import telesession
from support.effect_bot import Settings, make_bot, open_place

SERVER = os.environ["WEB_BOT_SERVER"]
# Seconds that handlers take: longer than the senders need for an update, so that some wait.
WORK = 0.01
# The control: a bot without an inbox.
IS_CONTROL = bool(os.environ["WEB_BOT_CONTROL"])


def make_view() -> Callable[[bytes], object]:
    """A function that accepts the body of a request, or raises."""
    settings = Settings(SERVER, "workers" if IS_CONTROL else "inbox")
    bot = make_bot(settings, open_place(settings), lambda: time.sleep(WORK))
    if IS_CONTROL:
        return lambda body: bot.process_new_updates([types.Update.de_json(json.loads(body))])
    library: Any = telesession
    return lambda body: library.receive(bot, body)


VIEW = make_view()


def application(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    """Accept an update; an exception becomes a 500."""
    VIEW(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])))
    start_response("200 OK", [("Content-Length", "0")])
    return []
