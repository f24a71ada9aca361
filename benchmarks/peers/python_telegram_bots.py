"""python-telegram-bot's `context.user_data`, one update at a time and with concurrent updates."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from telegram import Update
from telegram.ext import Application, ContextTypes, MessageHandler, filters
from telegram.request import BaseRequest

from benchmarks.peers.turns import PAUSE, TOKEN, UPDATE, USER, Turn, parse_turn, take_turns_async


class OfflineRequest(BaseRequest):
    """Answers `getMe`, which an application asks when it starts, and opens no connection."""

    read_timeout = None

    async def initialize(self) -> None:
        """Nothing to set up."""

    async def shutdown(self) -> None:
        """Nothing to end."""

    async def do_request(self, url: str, *args: Any, **kwargs: Any) -> tuple[int, bytes]:
        me = {"id": 123456, "is_bot": True, "first_name": "Bot", "username": "bot"}
        return 200, json.dumps({"ok": True, "result": me}).encode()


async def main(turn: Turn) -> None:
    builder = Application.builder().token(TOKEN).request(OfflineRequest())
    builder = builder.get_updates_request(OfflineRequest())
    application = builder.concurrent_updates(turn.variant == "concurrent").build()
    is_counting = turn.mode == "increments"
    left, all_done = turn.updates, asyncio.Event()

    async def idle(update: Update, context: ContextTypes.DEFAULT_TYPE) -> None:
        """Use no session."""

    async def count(update: Update, context: ContextTypes.DEFAULT_TYPE) -> None:
        nonlocal left
        counter = context.user_data.get("counter", 0)
        if is_counting:
            await asyncio.sleep(PAUSE)
        context.user_data["counter"] = counter + 1
        left -= 1
        if not left:
            all_done.set()

    handler = idle if turn.mode == "without" else count
    application.add_handler(MessageHandler(filters.ALL, handler))
    async with application:
        update = Update.de_json(UPDATE, application.bot)
        if is_counting:
            await application.start()
            for _ in range(turn.updates):
                application.update_queue.put_nowait(update)
            await all_done.wait()
            await application.stop()
            print(application.user_data[USER]["counter"])
        else:
            await take_turns_async(application.process_update, update)


if __name__ == "__main__":
    asyncio.run(main(parse_turn(["sequential", "concurrent"])))
