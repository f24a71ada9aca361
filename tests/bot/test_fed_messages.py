"""Attached bots whose program hands messages to `process_new_messages`."""

from __future__ import annotations

import threading
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from telebot import TeleBot

from support.clocks import PATIENCE
from support.handlers import (
    KEY,
    NEW_KEY,
    OLD_KEY,
    TELLINGS,
    by_chats,
    count_message,
    keep,
    told_in_group,
    told_in_supergroup,
)
from support.sessions import set_fields
from support.storages import SpyStorage, fields_by_key
from support.updates import ANNA, BASIC_GROUP, GROUP, said
from telesession import MemoryStorage, Session, Sessions, by_chat, use_sequential_workers
from telesession.sessions import kind_of
from telesession.testing import OFFLINE_TOKEN

if TYPE_CHECKING:
    from pathlib import Path

    from support.bots import Host


def migrations_of(sessions: Sessions[Session]) -> list[tuple[int, int]]:
    """The migrations that sessions are told of, from now on."""
    told: list[tuple[int, int]] = []
    kind: Any = kind_of(sessions)
    follow = kind.follow_group

    def note(old_chat_id: int, new_chat_id: int) -> None:
        told.append((old_chat_id, new_chat_id))
        follow(old_chat_id, new_chat_id)

    kind.follow_group = note
    return told


@pytest.mark.parametrize("where", TELLINGS)
def test_sessions_follow_a_group(where: str, quick_host: Host) -> None:
    """The session moves before the first handler of the messages runs."""
    sessions = by_chats()
    set_fields(sessions, OLD_KEY, counter=1)
    sessions.attach(quick_host.bot, follow_migrations=True)
    quick_host.bot.register_message_handler(count_message, content_types=["text"])

    messages = [said("hi", chat=GROUP).message, TELLINGS[where]().message]
    quick_host.bot.process_new_messages(messages)

    assert ([], {NEW_KEY: {"counter": 2}}) == (quick_host.raised, fields_by_key(sessions))


def test_sessions_follow_a_group_with_workers() -> None:
    """So it does on a bot whose workers keep the order."""
    sessions, bot = by_chats(), TeleBot(OFFLINE_TOKEN)
    set_fields(sessions, OLD_KEY, counter=1)
    use_sequential_workers(bot, get_key=by_chat)
    sessions.attach(bot, follow_migrations=True)
    handled = threading.Barrier(2, timeout=PATIENCE)
    bot.register_message_handler(count_message, content_types=["text"])
    bot.register_message_handler(lambda _: handled.wait(), content_types=["migrate_from_chat_id"])

    bot.process_new_messages([said("hi", chat=GROUP).message, told_in_supergroup().message])
    handled.wait()
    bot.stop_bot()

    assert {NEW_KEY: {"counter": 2}} == fields_by_key(sessions)


def test_a_group_is_followed_once(host: Host) -> None:
    """Messages of `process_new_updates`, which telebot passes on, are not followed again."""
    sessions = by_chats()
    told = migrations_of(sessions)
    sessions.attach(host.bot, follow_migrations=True)

    host.bot.process_new_updates([told_in_group(), told_in_supergroup()])

    assert [(BASIC_GROUP["id"], GROUP["id"])] * 2 == told


def test_a_message_that_comes_again_is_followed_again() -> None:
    """A message that Telegram delivers again is followed again, because it is another object."""
    sessions, bot = by_chats(), TeleBot(OFFLINE_TOKEN, threaded=False)
    told = migrations_of(sessions)
    sessions.attach(bot, follow_migrations=True)

    for _ in range(2):
        bot.process_new_messages([told_in_group().message])

    assert [(BASIC_GROUP["id"], GROUP["id"])] * 2 == told


def test_a_handler_may_feed_its_bot() -> None:
    """A message that a handler hands over is followed, also while a batch is handled."""
    sessions, bot = by_chats(), TeleBot(OFFLINE_TOKEN, threaded=False)
    told = migrations_of(sessions)
    sessions.attach(bot, follow_migrations=True)

    @bot.message_handler(content_types=["text"])
    def feed(message: Any) -> None:
        bot.process_new_messages([told_in_supergroup().message])

    bot.process_new_updates([said("hi"), told_in_group()])

    assert [(BASIC_GROUP["id"], GROUP["id"])] * 2 == told


def test_other_messages_cost_nothing() -> None:
    """Messages that tell of no migration do not touch the storage."""
    storage, bot = SpyStorage(), TeleBot(OFFLINE_TOKEN, threaded=False)
    by_chats(storage).attach(bot, follow_migrations=True)

    bot.process_new_messages([said("hi", chat=GROUP).message])

    assert Counter() == storage.calls


def test_steps_of_a_file_have_their_sessions(quick_host: Host, tmp_path: Path) -> None:
    """Next steps after `enable_save_next_step_handlers`, as in telebot's webhook example."""
    bot, sessions = quick_host.bot, Sessions(storage=MemoryStorage())
    sessions.attach(bot)
    bot.enable_save_next_step_handlers(delay=1, filename=str(tmp_path / "steps.save"))
    bot.register_next_step_handler_by_chat_id(ANNA["id"], keep)

    bot.process_new_messages([said("one").message])
    bot.next_step_backend.timer.cancel()

    assert ([], {"seen": [["one"]]}) == (quick_host.raised, sessions.peek(KEY))


def test_a_handler_that_raises_stops_no_other_message() -> None:
    """With `threaded=False` the rest of the messages is handled, and the exception goes on."""
    sessions, bot = Sessions(storage=MemoryStorage()), TeleBot(OFFLINE_TOKEN, threaded=False)
    sessions.attach(bot)

    @bot.message_handler()
    def handle(message: Any, session: Session) -> None:
        session.seen = [*session.get("seen", []), message.text]
        if message.text == "2":
            raise ValueError(message.text)

    with pytest.raises(ValueError, match="2"):
        bot.process_new_messages([said(str(number)).message for number in range(1, 6)])

    assert {"seen": ["1", "3", "4", "5"]} == sessions.peek(KEY)


def test_a_detached_bot_gets_its_method_back() -> None:
    """After `detach`, messages go to telebot's own method."""
    sessions, bot = Sessions(storage=MemoryStorage()), TeleBot(OFFLINE_TOKEN, threaded=False)
    sessions.attach(bot)
    attached = "process_new_messages" in vars(bot)
    sessions.detach(bot)

    assert (True, False) == (attached, "process_new_messages" in vars(bot))
