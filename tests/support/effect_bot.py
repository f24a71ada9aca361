"""
A bot whose handlers note their effects in sessions, and the program that runs it.

`python -m support.effect_bot SETTINGS`, with the settings as JSON, waits for a line, polls, and
writes a dot for each handler that begins. See `support.effects` for the kinds of updates. It ends
on SIGTERM as on Ctrl-C.
"""

from __future__ import annotations

import itertools
import json
import os
import signal
import sys
import textwrap
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from telebot import TeleBot, apihelper, custom_filters, types, util
from telebot.handler_backends import ContinueHandling

from support.addresses import open_leased
from support.effects import ALL_USERS, BEHIND, STATES, Logs
from telesession import (
    Sessions,
    SessionStateStorage,
    Storage,
    use_sequential_workers,
)

if TYPE_CHECKING:
    from telesession.storage.base import Change, Hold

# Seconds that handlers take, so that kills hit them, and the slow one.
WORK, SLOWNESS = 0.002, 0.02
# Seconds of the leases on a server.
LEASE = 1
# Begins the line of an exception that no handler raises on purpose.
COMPLAINT = "complaint: "
# Texts of exceptions that no handler has raised, and that are no fault.
EXPECTED = ("another process polls", "the storage is closed")


@dataclass
class Settings:
    """
    The settings of a bot.

    Attributes:
        place: The path of a file, or the URL of a server.
        mode: `"inbox"`; `"workers"` for ours without an inbox; `"pool"` for telebot's own;
            `"alone"` for a bot without threads; `"gap"` for an inbox whose record ends after the
            commit of the unit.
        url: The address of the Bot API.
        token: The token of the bot.
        drain: Seconds that a stopped bot may go on; `None` is the default of the library.
        gap: In the mode `"gap"`, the commit after which the process kills itself; 0 is none.
    """

    place: str
    mode: str = "inbox"
    url: str = ""
    token: str = "1:effects"
    drain: float | None = None
    gap: int = 0

    @property
    def as_argument(self) -> str:
        """The settings as the program takes them."""
        return json.dumps(asdict(self))


class Gap:
    """
    The control: a storage that writes the sessions first, and then the record of the update.

    It kills its process between the two.
    """

    def __init__(self, *args: Any, gap: int, **options: Any) -> None:
        super().__init__(*args, **options)
        self._gap = gap
        self._commits = itertools.count(1)

    def commit(self, holds: Sequence[Hold], also: Sequence[Change] = ()) -> None:
        """Write in two steps."""
        inherited: Any = super()
        if not also or all(hold.note is None for hold in holds):
            inherited.commit(holds, also)
            return
        inherited.commit(holds)
        if next(self._commits) == self._gap:
            os.kill(os.getpid(), signal.SIGKILL)
        inherited.commit((), also)


def open_place(settings: Settings) -> Storage:
    """Open the storage of a bot."""
    if settings.mode == "gap":
        return open_leased(settings.place, LEASE, Gap, gap=settings.gap)
    return open_leased(settings.place, LEASE)


def make_sessions(storage: Storage, name: str = "session") -> Sessions[Any]:
    """The sessions that keep the logs."""
    return Sessions(initial=lambda: {"log": [], "slow": []}, storage=storage, name=name)


def read_logs(storage: Storage) -> Logs:
    """The effects so far."""
    sessions, carts = make_sessions(storage), make_sessions(storage, "cart")
    logs = {}
    for user in ALL_USERS:
        record, cart = sessions.peek(user) or {}, carts.peek(user) or {}
        logs[str(user)] = record.get("log")
        logs[f"slow to {user}"] = record.get("slow")
        logs[f"cart of {user}"] = cart.get("log")
    return {name: log for name, log in logs.items() if log}


class Refusal(Exception):
    """Raised by handlers on purpose."""


class Complaints:
    """
    Reports each exception that no handler has raised on purpose.

    Three more are expected: Telegram may refuse the poll of one of two processes, or the inbox its
    batch, and the storage is closed for handlers that still run when the process ends.
    """

    def handle(self, exception: Exception) -> bool:
        """Take an exception as an `exception_handler` does."""
        is_conflict = getattr(exception, "error_code", None) == HTTPStatus.CONFLICT
        is_told = any(text in str(exception) for text in EXPECTED)
        if not (isinstance(exception, Refusal) or is_conflict or is_told):
            lines = textwrap.indent("".join(traceback.format_exception(exception)), "  ")
            sys.stderr.write(f"{COMPLAINT}{exception!r}\n{lines}")
            sys.stderr.flush()
        return True

    def on_error(self, _update: object, error: Exception) -> None:
        """Take an exception as workers report it."""
        self.handle(error)


def make_bot(settings: Settings, storage: Storage, on_begin: Callable[[], object]) -> TeleBot:
    """
    A bot in one of the modes, with all handlers.

    Args:
        settings: Its settings.
        storage: Keeps its sessions, its states and its inbox.
        on_begin: Called when a handler begins.
    """
    complaints = Complaints()
    bot = TeleBot(
        settings.token,
        threaded=settings.mode != "alone",
        num_threads=4,
        exception_handler=complaints,
        state_storage=SessionStateStorage(storage),
    )
    if settings.mode in ("inbox", "gap", "workers"):
        options: dict[str, Any] = {"on_error": complaints.on_error}
        if settings.mode != "workers":
            options["inbox"] = storage
            # Many random kills hit one update again and again.
            options["attempts"] = 1_000
        if settings.drain is not None:
            options["drain"] = settings.drain
        use_sequential_workers(bot, **options)
    bot.add_custom_filter(custom_filters.StateFilter(bot))
    add_handlers(bot, storage, on_begin)
    add_chains(bot, storage, on_begin)
    add_state_handlers(bot, storage, on_begin)
    return bot


def of_kinds(*kinds: str) -> Callable[[types.Message], bool]:
    """A filter for the messages of some kinds."""
    return lambda message: (message.text or "").split()[0] in kinds


def note(session: Any, update: Any, handler: str) -> None:
    """Note the effect of a handler in a session."""
    text = update.data if isinstance(update, types.CallbackQuery) else update.text
    session.log.append(f"{text.split()[1]} {handler}")


def add_handlers(bot: TeleBot, storage: Storage, on_begin: Callable[[], object]) -> None:
    """Add the handlers that take a kind of update each."""
    sessions, carts = make_sessions(storage), make_sessions(storage, "cart")

    @bot.message_handler(func=of_kinds("count"))
    @sessions.with_session
    def count(message: types.Message, session: Any) -> None:
        on_begin()
        note(session, message, "count")

    @bot.message_handler(func=of_kinds("two"))
    @sessions.with_session
    @carts.with_session
    def two(message: types.Message, session: Any, cart: Any) -> None:
        on_begin()
        note(session, message, "two")
        note(cart, message, "two")

    @bot.message_handler(func=of_kinds("slow"))
    @sessions.with_session
    def slow(message: types.Message, session: Any) -> None:
        on_begin()
        note(session, message, "slow")
        with sessions.open(BEHIND) as other:
            time.sleep(SLOWNESS)
            other.slow.append(f"{(message.text or '').split()[1]} slow")

    @bot.message_handler(func=of_kinds("read"))
    @sessions.with_session
    def read(_: types.Message, session: Any) -> None:
        on_begin()
        len(session.log)

    @bot.message_handler(func=of_kinds("bare"))
    def bare(_: types.Message) -> None:
        on_begin()

    @bot.callback_query_handler(func=lambda _: True)
    @sessions.with_session
    def press(query: types.CallbackQuery, session: Any) -> None:
        on_begin()
        note(session, query, "press")


def add_chains(bot: TeleBot, storage: Storage, on_begin: Callable[[], object]) -> None:
    """Add handlers that take the same messages one after the other, the last of which raises."""
    sessions = make_sessions(storage)

    @bot.message_handler(func=of_kinds("chain", "broken-chain"))
    @sessions.with_session
    def first(message: types.Message, session: Any) -> ContinueHandling:
        on_begin()
        note(session, message, "first")
        return ContinueHandling()

    @bot.message_handler(func=of_kinds("chain"))
    @sessions.with_session
    def second(message: types.Message, session: Any) -> None:
        on_begin()
        note(session, message, "second")

    @bot.message_handler(func=of_kinds("raise", "broken-chain"))
    @sessions.with_session
    def refuse(message: types.Message, session: Any) -> None:
        on_begin()
        note(session, message, "refused")
        raise Refusal


def add_state_handlers(bot: TeleBot, storage: Storage, on_begin: Callable[[], object]) -> None:
    """Add the handlers that are chosen by the user's state, and one whose state is undone."""
    sessions = make_sessions(storage)

    @bot.message_handler(func=of_kinds("state"), state="middle")
    @sessions.with_session
    def middle(message: types.Message, session: Any) -> None:
        on_begin()
        note(session, message, STATES[1])
        bot.set_state(message.chat.id, "end", message.chat.id)

    @bot.message_handler(func=of_kinds("state"), state="end")
    @sessions.with_session
    def end(message: types.Message, session: Any) -> None:
        on_begin()
        note(session, message, STATES[2])
        bot.delete_state(message.chat.id, message.chat.id)

    @bot.message_handler(func=of_kinds("state"), state="undone")
    @sessions.with_session
    def undone(message: types.Message, session: Any) -> None:
        on_begin()
        note(session, message, "undone")

    @bot.message_handler(func=of_kinds("state"))
    @sessions.with_session
    def begin(message: types.Message, session: Any) -> None:
        on_begin()
        note(session, message, STATES[0])
        bot.set_state(message.chat.id, "middle", message.chat.id)

    @bot.message_handler(func=of_kinds("state-raise"))
    @sessions.with_session
    def refuse_state(message: types.Message, session: Any) -> None:
        on_begin()
        note(session, message, "refused")
        bot.set_state(message.chat.id, "undone", message.chat.id)
        raise Refusal


def main() -> None:
    """Poll until SIGTERM comes."""

    def on_begin() -> None:
        os.write(1, b".")
        time.sleep(WORK)

    settings = Settings(**json.loads(sys.argv[1]))
    apihelper.API_URL = settings.url  # type: ignore[assignment]
    apihelper.proxy = {"no_proxy": "127.0.0.1"}  # type: ignore[assignment]
    # Everything is imported by now, so a process that waits here begins at once.
    if not sys.stdin.readline():
        return
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with suppress(KeyboardInterrupt):
        bot = make_bot(settings, open_place(settings), on_begin)
        bot.infinity_polling(
            timeout=30,
            long_polling_timeout=5,
            logger_level=None,
            allowed_updates=util.update_types,
        )
    if settings.mode == "pool":
        # The handlers that run end; with workers of ours nothing needs to be called.
        bot.stop_bot()


if __name__ == "__main__":
    main()
