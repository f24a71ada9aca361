"""The round trips to a server of a bot with an inbox."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from telebot import TeleBot, types

from support.bots import close_pool
from support.redis_storages import make_storage
from support.servers import Monitor, Server
from support.threads import Log
from support.updates import ANNA, BORIS, said
from telesession import Session, Sessions, receive, use_sequential_workers
from telesession.testing import OFFLINE_TOKEN, BotAPI, run_polling

if TYPE_CHECKING:
    from collections.abc import Iterator

    from telesession import RedisStorage


@pytest.fixture
def storage(server: Server) -> Iterator[RedisStorage]:
    """A storage on an empty server, whose lease is not renewed during the test."""
    with server.client() as client:
        client.flushall()
    with make_storage(server) as storage:
        yield storage


@pytest.fixture
def bot(storage: RedisStorage) -> Iterator[TeleBot]:
    """A bot with an inbox there."""
    bot = TeleBot(OFFLINE_TOKEN, num_threads=1)
    use_sequential_workers(bot, inbox=storage)
    yield bot
    close_pool(bot.worker_pool)


def count_with(bot: TeleBot, storage: RedisStorage, log: Log) -> None:
    """Let each message count, and be noted once it has ended."""
    sessions = Sessions(initial={"n": 0}, storage=storage)

    @bot.message_handler()
    @sessions.with_session
    def count(message: types.Message, session: Session) -> None:
        session.n += 1

    pool: Any = bot.worker_pool
    pool.notify(lambda: log.add("done"))


def body_of(text: str, number: int) -> str:
    """An update as Telegram sends it to a webhook."""
    return json.dumps({"update_id": number, "message": said(text).message.json})


def test_an_update_of_a_webhook_takes_three(
    bot: TeleBot, storage: RedisStorage, server: Server
) -> None:
    """One script stores it, one locks and reads its session, and one writes both and unlocks."""
    log = Log()
    count_with(bot, storage, log)
    receive(bot, body_of("first", 1))
    log.wait_for(1)
    with Monitor(server) as monitor:
        receive(bot, body_of("second", 2))
        log.wait_for(2)
        assert ["EVALSHA"] * 3 == monitor.so_far()


def test_a_batch_takes_one_more(
    bot: TeleBot, storage: RedisStorage, server: Server, bot_api: BotAPI
) -> None:
    """A poll that brings ten updates stores them with one script, and each takes two more."""
    log = Log()
    count_with(bot, storage, log)
    with run_polling(bot, bot_api) as polling:
        bot_api.user(ANNA["id"]).send("first")
        polling.wait_idle()
    bot.worker_pool = bot.worker_pool.renew()
    for _ in range(10):
        bot_api.user(BORIS["id"]).send("hi")
    with Monitor(server) as monitor, run_polling(bot, bot_api) as polling:
        polling.wait_idle()
        calls = monitor.so_far()

    opening = ["EVALSHA", "GET", "EVALSHA", "ZRANGEBYLEX"]
    assert [*opening, *["EVALSHA"] * (1 + 2 * 10)] == calls
