"""The workers of a bot with attached sessions: users in order from the first line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from telebot import TeleBot, util

from support.bots import MakeBot, close_pool, messages_in, order_of_first_and_second
from support.threads import Log
from support.updates import ANNA, BORIS, TOKEN, said, said_in_group
from telesession import MemoryStorage, Session, Sessions, by_chat, use_sequential_workers
from telesession.bot.workers import SequentialWorkers

if TYPE_CHECKING:
    from collections.abc import Iterator

    from telebot import types


@pytest.fixture
def bot(make_bot: MakeBot) -> TeleBot:
    """A bot with two of telebot's workers."""
    return make_bot(2)


def test_attach_keeps_users_in_order(bot: TeleBot, sessions: Sessions[Session]) -> None:
    """After `attach` a user's second update waits for the first, and another user does not."""
    sessions.attach(bot)
    assert ["other", "1", "2"] == order_of_first_and_second(bot, said("1"), said("2"))


def test_without_workers_there_is_no_order(bot: TeleBot, sessions: Sessions[Session]) -> None:
    """Control: with `sequential=False` the bot keeps telebot's pool, and there is no order."""
    sessions.attach(bot, sequential=False)
    assert type(bot.worker_pool) is util.ThreadPool
    assert "2" == order_of_first_and_second(bot, said("1"), said("2"))[0]


def test_the_key_is_that_of_the_first_sessions(bot: TeleBot) -> None:
    """People of one chat wait for each other if the first sessions attached are those of chats."""
    Sessions(storage=MemoryStorage(), get_storage_key=by_chat).attach(bot)
    updates = said_in_group("1", ANNA), said_in_group("2", BORIS)
    assert ["other", "1", "2"] == order_of_first_and_second(bot, *updates)


def test_another_key_is_logged(bot: TeleBot, caplog: pytest.LogCaptureFixture) -> None:
    """Sessions with another key function are attached, too, and one record names both."""
    Sessions(storage=MemoryStorage()).attach(bot)
    again = Sessions(storage=MemoryStorage(), name="again")
    again.attach(bot)
    Sessions(storage=MemoryStorage(), name="chat", get_storage_key=by_chat).attach(bot)

    (told,) = messages_in(caplog)
    assert (
        "key function by_chat are attached to a bot whose workers keep the order by by_sender"
        in told
    )


def test_a_key_that_was_chosen_is_not_logged(
    bot: TeleBot, sessions: Sessions[Session], caplog: pytest.LogCaptureFixture
) -> None:
    """A bot that got its workers before keeps them, with the key that was chosen there."""
    pool = use_sequential_workers(bot, get_key=by_chat)
    sessions.attach(bot)

    assert (pool, []) == (bot.worker_pool, messages_in(caplog))


def test_attach_takes_options_of_workers(bot: TeleBot, sessions: Sessions[Session]) -> None:
    """`on_error`, `total_limit` and `drain` are those of the new workers."""
    errors = Log()
    sessions.attach(
        bot, on_error=lambda update, error: errors.add(update.text), total_limit=3, drain=1
    )

    @bot.message_handler()
    def handle(message: types.Message, session: Session) -> None:
        raise LookupError

    bot.process_new_updates([said("1")])

    assert ["1"] == errors.wait_for(1)
    pool: Any = bot.worker_pool
    assert (3, 1.0) == (pool._lines.limits.total, pool._drain)


REFUSED = [
    pytest.param({"sequential": False, "drain": 1}, ValueError, "no use for drain", id="telebot's"),
    pytest.param({"on_error": 1}, TypeError, "on_error must be a function", id="on_error"),
    pytest.param({"total_limit": 0}, ValueError, "total_limit must be 1 or more", id="total_limit"),
]


@pytest.mark.parametrize(("options", "kind", "reason"), REFUSED)
def test_options_that_make_no_sense_are_refused(
    options: dict[str, Any],
    kind: type[Exception],
    reason: str,
    bot: TeleBot,
    sessions: Sessions[Session],
) -> None:
    """A wrong option is refused at once, and nothing was attached."""
    pool = bot.worker_pool
    with pytest.raises(kind, match=reason):
        sessions.attach(bot, **options)
    with pytest.raises(ValueError, match="not attached"):
        sessions.detach(bot)
    assert pool is bot.worker_pool


@pytest.fixture(params=["unthreaded", "workers"])
def bot_without_use(request: pytest.FixtureRequest, bot: TeleBot) -> Iterator[TeleBot]:
    """A bot that gets no workers from `attach`."""
    if request.param == "workers":
        use_sequential_workers(bot)
        yield bot
    else:
        yield TeleBot(TOKEN, threaded=False)


def test_options_without_workers_are_refused(
    bot_without_use: TeleBot, sessions: Sessions[Session]
) -> None:
    """Options for a bot without threads, or with workers already, are refused with the reason."""
    with pytest.raises(ValueError, match=r"no use for total_limit: the bot (has workers|was made)"):
        sessions.attach(bot_without_use, total_limit=5)
    with pytest.raises(ValueError, match="not attached"):
        sessions.detach(bot_without_use)


def test_detach_leaves_the_workers_and_says_so(
    bot: TeleBot, sessions: Sessions[Session], caplog: pytest.LogCaptureFixture
) -> None:
    """After `detach` users are still handled in order, and a record says so."""
    sessions.attach(bot)
    sessions.detach(bot)

    assert isinstance(bot.worker_pool, SequentialWorkers)
    assert ["other", "1", "2"] == order_of_first_and_second(bot, said("1"), said("2"))
    (told,) = messages_in(caplog)
    assert "the bot keeps the workers" in told


def test_a_pool_of_another_kind_stays(bot: TeleBot, sessions: Sessions[Session]) -> None:
    """A bot whose pool is neither telebot's nor ours keeps it."""

    class Pool:
        exception_event = None

        def close(self) -> None:
            pass

    former, pool = bot.worker_pool, Pool()
    place: Any = bot
    place.worker_pool = pool
    sessions.attach(bot)
    assert pool is place.worker_pool
    place.worker_pool = former
    close_pool(former)
