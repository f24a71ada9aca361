"""
A WSGI application with bots that count updates, for web servers that tests start.

A server loads `support.web_bot:application`, before or after it forks. Each bot has a path
of its own, which says where its sessions are and whether it has workers. It counts the updates of
each sender, and notes in a file each value that it has counted to.
"""

from __future__ import annotations

import json
import os
import time
import traceback
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import telebot
from telebot import TeleBot, types

from support.settling import settle
from telesession import (
    MemoryStorage,
    PostgresStorage,
    RedisStorage,
    Sessions,
    SQLiteStorage,
    Storage,
    use_sequential_workers,
)
from telesession.storage.base import Hold

FOLDER = Path(os.environ["WEB_BOT_FOLDER"])
SERVER = os.environ["WEB_BOT_SERVER"]
POSTGRES = os.environ["WEB_BOT_POSTGRES"]
# How many updates the server brings at the same time, before the first handler goes on.
TOGETHER = int(os.environ["WEB_BOT_TOGETHER"])
PATIENCE = 60.0


class Unlocked(SQLiteStorage):
    """The control: a file whose holds keep nobody out."""

    def hold(self, key: str, timeout: float | None = None) -> AbstractContextManager[Hold]:  # type: ignore[override]
        return nullcontext(Hold(self, key, timeout))

    # The commit of a storage with locks asks its own holds for them.
    commit = Storage.commit


def note(name: str, line: object = "") -> None:
    """Add a line to a file, in one call, so that lines of several processes do not mix."""
    file = os.open(FOLDER / name, os.O_APPEND | os.O_CREAT | os.O_WRONLY)
    try:
        os.write(file, f"{line}\n".encode())
    finally:
        os.close(file)


def read(name: str) -> list[str]:
    """The lines of a file, none if nothing was noted."""
    try:
        return (FOLDER / name).read_text().splitlines()
    except FileNotFoundError:
        return []


def wait_for(name: str, count: int) -> None:
    """Wait until so many lines were noted, by whatever process."""
    deadline = time.monotonic() + PATIENCE
    while len(read(name)) < count:
        if time.monotonic() > deadline:
            raise TimeoutError(f"{len(read(name))} of {count} updates have come")
        # Not a pause for others to be fast enough, but what lets another greenlet run.
        time.sleep(0.001)


class Reported:
    """Notes the exceptions of the handlers of a bot."""

    def __init__(self, name: str) -> None:
        self._file = f"{name}.errors"

    def handle(self, exception: Exception) -> bool:
        note(self._file, "".join(traceback.format_exception(exception)))
        return True


def make_bot(name: str, storage: Storage) -> TeleBot:
    """A bot that counts in a storage, with workers if its name says so."""
    threaded = "workers" in name
    bot = TeleBot("1:offline", threaded=threaded, exception_handler=Reported(name))
    if threaded:
        use_sequential_workers(bot, num_threads=2)
    sessions = Sessions(initial={"counter": 0}, storage=storage, prefix=name)
    # What a handler waits for: that all have come, and in the control that two have begun.
    signal, count = ("begun", 2) if name == "control" else ("come", TOGETHER)

    @bot.message_handler()
    @sessions.with_session
    def handle(_: types.Message, session: Any) -> None:
        counter = session.counter
        note(f"{name}.begun")
        wait_for(f"{name}.{signal}", count)
        session.counter = counter + 1
        note(f"{name}.counted", f"{os.getpid()} {counter + 1}")

    # Used before a fork, as by a bot that looks something up when it starts.
    with sessions.open("before"):
        pass
    return bot


def make_bots() -> dict[str, TeleBot]:
    """The bots by name."""
    telebot.logger.disabled = True
    storages: dict[str, Callable[[], Storage]] = {
        "memory": MemoryStorage,
        "default": lambda: Sessions()._kind.storage,
        "sqlite": lambda: SQLiteStorage(FOLDER / "bot.db"),
        "redis": lambda: RedisStorage(SERVER, prefix=f"{FOLDER.name}:"),
        "postgres": lambda: PostgresStorage(POSTGRES),
        "memory-workers": MemoryStorage,
        "sqlite-workers": lambda: SQLiteStorage(FOLDER / "bot.db"),
        "control": lambda: Unlocked(FOLDER / "control.db"),
    }
    if not POSTGRES:
        del storages["postgres"]
    made = {name: make() for name, make in storages.items()}
    bots = {name: make_bot(name, storage) for name, storage in made.items()}
    if POSTGRES:
        # uWSGI forks in C.
        settle(made["postgres"])
    return bots


if os.environ.get("WEB_BOT_CONTROL") == "greenlets":
    # The control: all greenlets have one number, as before gevent's patch, and one token.
    import threading
    from types import SimpleNamespace

    from telesession.unit import unit

    token = unit.ThreadToken(threading.get_ident())
    unit.threading = SimpleNamespace(get_ident=threading.get_ident)  # type: ignore[assignment]
    unit._token = SimpleNamespace(get=lambda: token)  # type: ignore[assignment]

BOTS = make_bots()


def application(
    environ: dict[str, Any], start_response: Callable[[str, list[tuple[str, str]]], object]
) -> Iterable[bytes]:
    """Take an update for the bot of the path."""
    name = environ["PATH_INFO"][1:]
    body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
    note(f"{name}.come")
    BOTS[name].process_new_updates([types.Update.de_json(json.loads(body))])
    start_response("200 OK", [("Content-Length", "0")])
    return []
