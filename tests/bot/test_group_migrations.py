"""Sessions of chats that follow their group when it becomes a supergroup."""

from __future__ import annotations

import threading
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from telebot import TeleBot, apihelper, util

from support.bots import Host, make_host
from support.clocks import PATIENCE
from support.handlers import (
    NEW_KEY,
    OLD_KEY,
    ORDERS,
    TELLINGS,
    by_chats,
    count_message,
    told,
    told_in_group,
    told_in_supergroup,
)
from support.sessions import set_fields
from support.storages import Asked, SpyStorage, fields_by_key
from support.updates import (
    ANNA,
    BASIC_GROUP,
    GROUP,
    OTHER_GROUP,
    button_press,
    message as message_json,
    said,
    update,
)
from telesession import (
    MemoryStorage,
    Sessions,
    Storage,
    by_chat,
    use_sequential_workers,
)
from telesession.moves import migrated_chat
from telesession.testing import OFFLINE_TOKEN, BotAPI, run_polling

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.mark.parametrize("where", TELLINGS)
def test_a_message_tells_of_a_migration(where: str) -> None:
    """The message in either chat tells the ids of both."""
    assert (BASIC_GROUP["id"], GROUP["id"]) == migrated_chat(TELLINGS[where]().message)


@pytest.mark.parametrize("message", [None, said("hi", chat=GROUP).message, told(GROUP).message])
def test_other_messages_tell_of_no_migration(message: Any) -> None:
    """Without a message, or with any other, there is nothing to follow."""
    assert None is migrated_chat(message)


@pytest.mark.parametrize("order", ORDERS, ids="-".join)
def test_the_session_of_a_group_follows_it(
    order: tuple[str, str], host: Host, caplog: pytest.LogCaptureFixture
) -> None:
    """In either order of arrival the session moves with the first message, and is there at once."""
    sessions = by_chats(prefix="shop:")
    set_fields(sessions, OLD_KEY, counter=1)
    sessions.attach(host.bot, follow_migrations=True)

    host.deliver(TELLINGS[order[0]]())
    first = fields_by_key(sessions)
    host.deliver(TELLINGS[order[1]]())

    assert ([], {NEW_KEY: {"counter": 1}}) == (host.raised, first)
    assert (first, []) == (fields_by_key(sessions), caplog.records)


@pytest.mark.parametrize("order", ORDERS, ids="-".join)
def test_the_session_of_a_group_follows_it_once(
    order: tuple[str, str], host: Host, caplog: pytest.LogCaptureFixture
) -> None:
    """A second telling, and a third, change nothing, though the new session has changed since."""
    sessions = by_chats()
    set_fields(sessions, OLD_KEY, counter=1)
    sessions.attach(host.bot, follow_migrations=True)
    host.bot.register_message_handler(count_message, content_types=["text"])

    host.deliver(TELLINGS[order[0]](), said("hi", chat=GROUP), TELLINGS[order[1]]())
    host.deliver(*(tell() for tell in TELLINGS.values()), said("hi", chat=GROUP))

    assert ([], {NEW_KEY: {"counter": 3}}) == (host.raised, fields_by_key(sessions))
    assert [] == caplog.records


@pytest.mark.parametrize("order", ORDERS, ids="-".join)
def test_a_session_that_began_in_the_supergroup_stays(
    order: tuple[str, str], simple_host: Host, caplog: pytest.LogCaptureFixture
) -> None:
    """Where the group had no session, that of the supergroup is left alone."""
    sessions = by_chats()
    set_fields(sessions, NEW_KEY, counter=5)
    sessions.attach(simple_host.bot, follow_migrations=True)

    simple_host.deliver(*(TELLINGS[where]() for where in order))

    assert ([], {NEW_KEY: {"counter": 5}}, []) == (
        simple_host.raised,
        fields_by_key(sessions),
        caplog.records,
    )


@pytest.mark.parametrize("where", TELLINGS)
@pytest.mark.parametrize("threads", ["one-thread", "threads"])
def test_it_moves_before_the_handlers_of_the_batch(where: str, threads: str) -> None:
    """A message of the supergroup that comes in front of the news finds the session moved."""
    sessions = by_chats()
    set_fields(sessions, OLD_KEY, counter=1)
    with contextmanager(make_host)(threads) as host:
        sessions.attach(host.bot, follow_migrations=True)
        host.bot.register_message_handler(count_message, content_types=["text"])
        host.bot.process_new_updates(
            [said("hi", chat=GROUP), TELLINGS[where](), said("hi", chat=GROUP)]
        )
        host.deliver(said("hi", chat=OTHER_GROUP))

    assert [] == host.raised
    assert {NEW_KEY: {"counter": 3}, f"chat:{OTHER_GROUP['id']}": {"counter": 1}} == fields_by_key(
        sessions
    )


@pytest.mark.parametrize("threads", ["one-thread", "threads"])
def test_what_still_comes_from_the_old_chat_finds_the_session_moved(threads: str) -> None:
    """A late message of the group revives nothing: it counts for the supergroup's session."""
    sessions = by_chats()
    set_fields(sessions, OLD_KEY, counter=1)
    with contextmanager(make_host)(threads) as host:
        sessions.attach(host.bot, follow_migrations=True)
        host.bot.register_message_handler(
            count_message, content_types=["text", "migrate_to_chat_id"]
        )
        host.bot.process_new_updates([said("hi", chat=BASIC_GROUP), told_in_group()])
        host.deliver(said("hi", chat=BASIC_GROUP), told_in_supergroup(), said("hi", chat=GROUP))

    assert [] == host.raised
    assert {NEW_KEY: {"counter": 5}} == fields_by_key(sessions)


@pytest.mark.parametrize("first", ["workers", "attach"])
def test_the_news_are_known_before_the_batch_whatever_was_set_up_first(first: str) -> None:
    """Sequential workers get updates one by one, and yet nothing in front of the news is early."""
    sessions = by_chats()
    set_fields(sessions, OLD_KEY, counter=1)
    bot = TeleBot(OFFLINE_TOKEN)
    handled = threading.Barrier(2, timeout=PATIENCE)
    set_up = [
        lambda: use_sequential_workers(bot, get_key=by_chat, limit=1),
        lambda: sessions.attach(bot, follow_migrations=True),
    ]
    for step in set_up if first == "workers" else reversed(set_up):
        step()
    bot.register_message_handler(count_message, content_types=["text"])
    bot.register_message_handler(lambda _: handled.wait(), content_types=["migrate_from_chat_id"])

    batch = [said("hi", chat=GROUP) for _ in range(3)]
    bot.process_new_updates([*batch, told_in_supergroup()])
    handled.wait()
    bot.stop_bot()

    assert {NEW_KEY: {"counter": 4}} == fields_by_key(sessions)


def test_next_steps_of_the_supergroup_find_the_session_moved(simple_host: Host) -> None:
    """The first message of a batch is not handled before the last one was looked at."""
    sessions = by_chats()
    set_fields(sessions, OLD_KEY, counter=1)
    sessions.attach(simple_host.bot, follow_migrations=True)
    simple_host.bot.register_next_step_handler_by_chat_id(GROUP["id"], count_message)

    simple_host.bot.process_new_updates([said("hi", chat=GROUP), told_in_supergroup()])

    assert ([], {NEW_KEY: {"counter": 2}}) == (simple_host.raised, fields_by_key(sessions))


def test_a_handler_of_the_group_that_still_runs_is_waited_for(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What it does with the session comes along: the supergroup waits for it, and nobody else."""
    storage = MemoryStorage()
    sessions, asked = by_chats(storage), Asked(storage, monkeypatch)
    runs, may_return = threading.Event(), threading.Event()
    set_fields(sessions, OLD_KEY, counter=1)
    with contextmanager(make_host)("threads") as host:
        sessions.attach(host.bot, follow_migrations=True)

        @host.bot.message_handler(func=lambda message: not runs.is_set())
        def handle(message, session):
            count_message(message, session)
            runs.set()
            may_return.wait(PATIENCE)

        host.bot.register_message_handler(count_message, content_types=["text"])
        host.bot.process_new_updates([said("hi", chat=BASIC_GROUP)])
        assert runs.wait(PATIENCE)
        host.bot.process_new_updates([told_in_group()])
        asked.event(OLD_KEY).clear()
        host.bot.process_new_updates([said("hi", chat=GROUP)])
        assert asked.event(OLD_KEY).wait(PATIENCE)
        between = list(sessions.keys())
        may_return.set()
        host.deliver(said("hi", chat=GROUP), told_in_supergroup())

    assert ([], [OLD_KEY], {NEW_KEY: {"counter": 4}}) == (
        host.raised,
        between,
        fields_by_key(sessions),
    )
    assert [] == caplog.records


def test_it_moves_before_function_middlewares(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a function middleware looks up is where it will stay."""
    monkeypatch.setattr(apihelper, "ENABLE_MIDDLEWARE", True)
    sessions, seen = by_chats(), []
    set_fields(sessions, OLD_KEY, counter=1)
    bot = TeleBot(OFFLINE_TOKEN, threaded=False)
    sessions.attach(bot, follow_migrations=True)

    @bot.middleware_handler(update_types=["message"])
    def look(bot, message):
        seen.append(sessions.peek(NEW_KEY))

    bot.process_new_updates([told_in_group()])

    assert [{"counter": 1}] == seen


@pytest.mark.parametrize("kind", ["memory", "sqlite-encrypted", "redis", "postgres"])
def test_a_bot_that_polls_takes_the_session_along(
    moved_storage: Storage, bot_api: BotAPI, caplog: pytest.LogCaptureFixture
) -> None:
    """A group in which the bot has counted becomes a supergroup, and the bot counts on there."""
    bot, sessions = TeleBot(OFFLINE_TOKEN, num_threads=4), by_chats(moved_storage)
    sessions.attach(bot, follow_migrations=True)
    bot.register_message_handler(count_message, content_types=util.content_type_media)
    anna, group = bot_api.user(1), bot_api.group(-5, title="Kitchen")

    with run_polling(bot, timeout=PATIENCE) as polling:
        for _ in range(3):
            anna.send("hi", chat=group)
        polling.wait_idle(PATIENCE)
        supergroup = anna.upgrade(group, -1005)
        anna.send("hi", chat=supergroup)
        polling.wait_idle(PATIENCE)

    assert ({"chat:-1005": {"counter": 4}}, []) == (fields_by_key(sessions), caplog.records)


# Who follows.


def by_chat_or_nobody(update: Any) -> str:
    return by_chat(update) or "nobody"


@dataclass
class KeysByTitle:
    """A key function with options, and no hash."""

    missing: str = "nobody"

    def __call__(self, update: Any) -> str:
        return update.chat.title or self.missing


@pytest.mark.parametrize("get_storage_key", [by_chat_or_nobody, partial(by_chat), KeysByTitle()])
def test_sessions_with_a_key_function_of_ones_own_cannot_follow(
    get_storage_key: Callable[[Any], Any],
) -> None:
    """A `ValueError` names the key functions that can, and nothing is attached."""
    bot = TeleBot(OFFLINE_TOKEN, threaded=False)
    before = dict(vars(bot))

    names = "by_sender, by_chat, by_sender_in_chat, by_topic, by_sender_in_topic"
    with pytest.raises(ValueError, match=f"get_storage_key=... with one of {names}"):
        Sessions(get_storage_key=get_storage_key).attach(bot, follow_migrations=True)

    assert before == vars(bot)


def test_several_sessions_follow_and_others_do_not(caplog: pytest.LogCaptureFixture) -> None:
    """Each of those that follow moves, also where another one cannot."""
    storage = MemoryStorage()
    names = ["stuck", "first", "stays", "second"]
    chats = {name: by_chats(storage, name=name, prefix=f"{name}:") for name in names}
    bot = TeleBot(OFFLINE_TOKEN, threaded=False)
    for name, sessions in chats.items():
        set_fields(sessions, OLD_KEY, name=name)
        sessions.attach(bot, follow_migrations=name != "stays")
    set_fields(chats["stuck"], NEW_KEY, name="another")

    bot.process_new_updates([told_in_group()])

    assert {
        "stuck": {OLD_KEY, NEW_KEY},
        "first": {NEW_KEY},
        "stays": {OLD_KEY},
        "second": {NEW_KEY},
    } == {name: set(sessions.keys()) for name, sessions in chats.items()}
    assert [True] == ["stuck:" in record.getMessage() for record in caplog.records]


def test_sessions_follow_from_when_they_are_told_to_until_they_are_detached() -> None:
    """Attached once more with `follow_migrations` they follow; detached they do not."""
    bot = TeleBot(OFFLINE_TOKEN, threaded=False)
    chats = {name: by_chats(name=name) for name in ("session", "other")}
    for sessions in chats.values():
        sessions.attach(bot)
        sessions.attach(bot, follow_migrations=True)
        sessions.attach(bot)
        set_fields(sessions, OLD_KEY, counter=1)

    chats["other"].detach(bot)
    bot.process_new_updates([told_in_group()])
    kept = {name: list(sessions.keys()) for name, sessions in chats.items()}
    process = bot.process_new_updates
    chats["session"].detach(bot)
    again = {"id": -5}, {"id": -1005}
    set_fields(chats["session"], "chat:-5", counter=1)
    for feed in (process, bot.process_new_updates):
        feed([told({**BASIC_GROUP, **again[0]}, migrate_to_chat_id=again[1]["id"])])

    assert {"session": [NEW_KEY], "other": [OLD_KEY]} == kept
    assert [NEW_KEY, "chat:-5"] == list(chats["session"].keys())


@pytest.mark.parametrize("follow", [True, False])
def test_other_updates_cost_a_bot_that_follows_nothing(follow: bool) -> None:
    """Updates that tell of no migration, of any kind, do not touch the storage."""
    storage, bot = SpyStorage(), TeleBot(OFFLINE_TOKEN, threaded=False)
    by_chats(storage).attach(bot, follow_migrations=follow)

    pressed = button_press(ANNA, message=message_json(GROUP, ANNA))
    bot.process_new_updates([said("hi", chat=GROUP), update("callback_query", pressed)])
    bot.process_new_updates([])

    assert Counter() == storage.calls
