"""aiogram's finite state machine: the data of its `FSMContext`, with and without isolation."""

from __future__ import annotations

import asyncio
import functools
from typing import TYPE_CHECKING, Any

from aiogram import Bot, Dispatcher
from aiogram.fsm.storage.base import StorageKey
from aiogram.fsm.storage.memory import MemoryStorage, SimpleEventIsolation
from aiogram.fsm.storage.redis import RedisStorage
from aiogram.types import Message, Update

from benchmarks.peers.turns import (
    PAUSE,
    TOKEN,
    UPDATE,
    USER,
    Turn,
    parse_turn,
    take_turns_async,
    wait_for_line,
)

if TYPE_CHECKING:
    from aiogram.fsm.context import FSMContext


def make_dispatcher(turn: Turn) -> Dispatcher:
    """Return a dispatcher for a variant and a mode."""
    if turn.mode == "without":
        return Dispatcher(disable_fsm=True)
    if turn.storage:
        storage = RedisStorage.from_url(turn.storage)
        isolation = storage.create_isolation() if turn.variant == "isolated" else None
        return Dispatcher(storage=storage, events_isolation=isolation)
    isolation = SimpleEventIsolation() if turn.variant == "isolated" else None
    return Dispatcher(storage=MemoryStorage(), events_isolation=isolation)


async def main(turn: Turn) -> None:
    # It makes a connection when a method of Telegram is called, and none is.
    bot, dispatcher = Bot(TOKEN), make_dispatcher(turn)
    is_counting = turn.mode == "increments"

    async def idle(message: Message) -> None:
        """Use no session."""

    async def count(message: Message, state: FSMContext) -> None:
        data = await state.get_data()
        if is_counting:
            await asyncio.sleep(PAUSE)
        await state.set_data({**data, "counter": data.get("counter", 0) + 1})

    dispatcher.message.register(idle if turn.mode == "without" else count)
    update = Update.model_validate(UPDATE, context={"bot": bot})

    # As its polling does with `tasks_concurrency_limit`: a task for each update. More tasks than
    # connections of its pool, which are 100 in redis-py 8.1, would fail.
    limit = asyncio.Semaphore(100)

    async def handle(update: Update) -> Any:
        async with limit:
            return await dispatcher.feed_update(bot, update)

    if is_counting:
        wait_for_line(turn, "ready")
        # An update whose handler raises is lost, as under its polling.
        handled = (handle(update) for _ in range(turn.updates))
        await asyncio.gather(*handled, return_exceptions=True)
        wait_for_line(turn, "done")
        key = StorageKey(bot_id=bot.id, chat_id=USER, user_id=USER)
        print((await dispatcher.storage.get_data(key)).get("counter", 0))
    else:
        await take_turns_async(functools.partial(dispatcher.feed_update, bot), update)
    await dispatcher.storage.close()


if __name__ == "__main__":
    asyncio.run(main(parse_turn(["shared", "isolated"])))
