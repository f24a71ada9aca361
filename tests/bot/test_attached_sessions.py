"""Attached sessions: what they cost, how often they are attached, and several of them."""

from __future__ import annotations

import functools
from collections import Counter

import pytest
from telebot import TeleBot

from support.bots import Host
from support.handlers import KEY, WAYS, Way, ignore, keep, keep_both, note, state_of_bot
from support.storages import ONE_USE, SpyStorage
from support.updates import ANNA, TOKEN, said
from telesession import MemoryStorage, Session, Sessions, by_chat

# What costs nothing, and what is not done twice.


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_handlers_without_the_parameter_are_the_very_same_objects(way: Way) -> None:
    """Handlers without the parameter stay as they are, in telebot's lists, and touch no storage."""
    host, storage = Host(), SpyStorage()
    handlers = [
        ignore,
        max,
        functools.partial(ignore),
        ignore.__get__(1),
        Sessions(storage=MemoryStorage()).with_session(keep),
        lambda message, *session: None,
        lambda message, **session: None,
    ]
    for handler in handlers:
        way(host.bot, "message", handler)
    Sessions(storage=storage, get_storage_key=by_chat).attach(host.bot, follow_migrations=True)
    for handler in handlers:
        way(host.bot, "message", handler)

    host.deliver(said("one"))

    lists = [handler["function"] for handler in host.bot.message_handlers]
    assert [True] * 14 == [a is b for a, b in zip([*handlers, *handlers], lists, strict=True)]
    assert ([], Counter()) == (host.raised, storage.calls)


def test_an_attached_handler_reads_once_and_writes_once(quick_host: Host) -> None:
    """An update costs what it costs with a decorator: one lock, one read, one write."""
    storage = SpyStorage()
    Sessions(storage=storage).attach(quick_host.bot)
    quick_host.bot.register_message_handler(keep)

    quick_host.deliver(said("one"))

    assert ([], ONE_USE) == (quick_host.raised, storage.calls)


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_decorated_handler_of_an_attached_bot_has_one_session(
    when: str, quick_host: Host
) -> None:
    """A decorated handler on an attached bot: one session, one lock, and that of the decorator."""
    storage, others = SpyStorage(), SpyStorage()
    decorator = Sessions(storage=storage, initial=lambda: {"mine": True})
    if when == "after":
        Sessions(storage=others).attach(quick_host.bot)
    quick_host.bot.message_handler()(decorator.with_session(keep))
    if when == "before":
        Sessions(storage=others).attach(quick_host.bot)

    quick_host.deliver(said("one"))

    assert {"mine": True, "seen": [["one"]]} == decorator.peek(KEY)
    assert ([], ONE_USE + Counter(get=1), Counter()) == (
        quick_host.raised,
        storage.calls,
        others.calls,
    )


def test_a_decorated_handler_of_the_attached_sessions_takes_one_lock(quick_host: Host) -> None:
    """Decorated and attached by the same sessions, a handler or a step takes its lock once."""
    storage = SpyStorage()
    sessions = Sessions(storage=storage)
    sessions.attach(quick_host.bot)
    quick_host.bot.message_handler()(sessions.with_session(keep))
    quick_host.bot.register_next_step_handler_by_chat_id(ANNA["id"], sessions.with_session(keep))

    quick_host.deliver(said("one"))
    by_step, storage.calls = storage.calls, Counter()
    quick_host.deliver(said("two"))

    assert (ONE_USE, ONE_USE) == (by_step, storage.calls)
    assert ([], {"seen": [["one"], ["two"]]}) == (quick_host.raised, sessions.peek(KEY))


def test_attaching_once_more_makes_no_difference(quick_host: Host) -> None:
    """Attached three times, in between and after: one session, one lock, one detach."""
    storage = SpyStorage()
    sessions = Sessions(storage=storage)
    before = state_of_bot(quick_host.bot)
    sessions.attach(quick_host.bot)
    sessions.attach(quick_host.bot)
    quick_host.bot.register_message_handler(keep)
    quick_host.bot.register_next_step_handler_by_chat_id(ANNA["id"], keep)
    sessions.attach(quick_host.bot)

    quick_host.deliver(said("one"))
    by_step, storage.calls = storage.calls, Counter()
    quick_host.deliver(said("two"))
    by_handler = storage.calls
    quick_host.bot.message_handlers.clear()
    quick_host.bot.last_update_id = 0
    sessions.detach(quick_host.bot)

    assert ([], ONE_USE, ONE_USE) == (quick_host.raised, by_step, by_handler)
    assert before == state_of_bot(quick_host.bot)


# Several sessions.


def test_several_sessions_come_by_their_names(host: Host) -> None:
    """Handlers and steps get those that they name: one, the other, or both."""
    storage = MemoryStorage()
    person = Sessions(storage=storage)
    chat = Sessions(storage=storage, get_storage_key=by_chat, name="chat")
    host.bot.register_message_handler(keep_both, regexp="both")
    person.attach(host.bot)
    host.bot.register_message_handler(keep, regexp="person")
    chat.attach(host.bot)
    host.bot.register_message_handler(lambda message, chat: note(chat, message.text), regexp="chat")

    host.deliver(said("both"), said("person"), said("chat"))
    host.bot.register_next_step_handler_by_chat_id(ANNA["id"], keep_both)
    host.deliver(said("step"))

    assert [] == host.raised
    assert {"seen": [["both"], ["person"], ["step"]]} == person.peek(KEY)
    assert {"seen": [["both"], ["chat"], ["step"]]} == chat.peek(f"chat:{KEY}")


def test_decorated_and_attached_sessions_go_together(quick_host: Host) -> None:
    """A decorator may bring one session, and the bot the other."""
    storage = MemoryStorage()
    person = Sessions(storage=storage)
    chat = Sessions(storage=storage, get_storage_key=by_chat, name="chat")
    chat.attach(quick_host.bot)
    quick_host.bot.register_message_handler(person.with_session(keep_both))

    quick_host.deliver(said("one"))

    expected = {"seen": [["one"]]}
    assert ([], expected, expected) == (
        quick_host.raised,
        person.peek(KEY),
        chat.peek(f"chat:{KEY}"),
    )


def test_other_sessions_of_the_same_name_are_refused(sessions: Sessions[Session]) -> None:
    """Two sessions for one parameter: a `ValueError` that says what to do, and nothing changed."""
    bot = TeleBot(TOKEN, threaded=False)
    bot.register_message_handler(keep)
    sessions.attach(bot)
    before = state_of_bot(bot)

    with pytest.raises(ValueError, match=r"'session'.*detach.*name=") as caught:
        Sessions(prefix="shop:").attach(bot)

    assert before == state_of_bot(bot)
    assert repr(sessions) in str(caught.value)


@pytest.mark.parametrize("gone", ["session", "chat"])
def test_detaching_one_leaves_the_other(gone: str, quick_host: Host) -> None:
    """What is left goes on in handlers, later handlers and steps; the other parameter is bare."""
    storage = SpyStorage()
    both = {
        "session": Sessions(storage=storage),
        "chat": Sessions(storage=storage, name="chat", prefix="chat "),
    }

    def handle(message, session="bare", chat="bare"):
        for name, value in (("session", session), ("chat", chat)):
            seen.append(name if value == "bare" else "")
            if value != "bare":
                note(value, message.text)

    seen: list[str] = []
    both["session"].attach(quick_host.bot)
    quick_host.bot.register_message_handler(handle)
    both["chat"].attach(quick_host.bot)
    left = both[{"session": "chat", "chat": "session"}[gone]]

    both[gone].detach(quick_host.bot)
    quick_host.deliver(said("one"))
    quick_host.bot.register_next_step_handler_by_chat_id(ANNA["id"], handle)
    quick_host.deliver(said("two"))
    quick_host.bot.message_handlers.clear()
    quick_host.bot.register_message_handler(handle)
    quick_host.deliver(said("three"))

    assert ([], [gone] * 3) == (quick_host.raised, [name for name in seen if name])
    assert (None, {"seen": [["one"], ["two"], ["three"]]}) == (
        both[gone].peek(KEY),
        left.peek(KEY),
    )


def test_two_bots_may_share_functions_and_sessions(sessions: Sessions[Session]) -> None:
    """One function on two bots is two handlers: detaching one bot is nothing to the other."""
    one, other = Host(), Host()
    theirs = Sessions(storage=MemoryStorage())
    for host in (one, other):
        host.bot.register_message_handler(keep)
    sessions.attach(one.bot)
    theirs.attach(other.bot)

    one.deliver(said("one"))
    other.deliver(said("two"))
    sessions.detach(one.bot)
    other.deliver(said("three"))

    assert ([], []) == (one.raised, other.raised)
    assert {"seen": [["one"]]} == sessions.peek(KEY)
    assert {"seen": [["two"], ["three"]]} == theirs.peek(KEY)
