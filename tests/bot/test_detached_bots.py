"""Detached bots: they are what they were, even when a handler attaches or detaches."""

from __future__ import annotations

import functools
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from telebot import TeleBot, util
from telebot.handler_backends import MemoryHandlerBackend

from support.bots import Host
from support.handlers import HANDLER_NAMES, KEY, Shop, ignore, keep, keep_both, note, state_of_bot
from support.storages import ONE_USE, SpyStorage
from support.updates import ANNA, TOKEN, register, said
from telesession import Session, Sessions

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.mark.parametrize("count", [1, 2, 3])
def test_detach_restores_the_bot(count: int, host: Host, spy_storage: SpyStorage) -> None:
    """When the last sessions are detached, in any order, the bot and its backends are as before."""
    bot = host.bot
    for handler in (keep, ignore, keep_both, Shop().take):
        bot.register_message_handler(handler, regexp="never")
        bot.register_callback_query_handler(handler, func=None)
    bot.register_next_step_handler_by_chat_id(1, keep, "cm")
    bot.register_for_reply_by_message_id(1, keep, "cm")
    names = ["session", "chat", "third"][:count]
    all_of_them = [Sessions(storage=spy_storage, name=name) for name in names]
    bot.last_update_id = 10**12
    before = state_of_bot(bot)

    for sessions in all_of_them:
        sessions.attach(bot)
        host.deliver(said("one"))
    attached = state_of_bot(bot)
    for sessions in [*all_of_them[1:], all_of_them[0]]:
        sessions.detach(bot)

    assert ([], before) == (host.raised, state_of_bot(bot))
    assert before != attached


def test_detached_handlers_that_came_later_are_what_they_were(
    sessions: Sessions[Session],
) -> None:
    """Handlers registered on an attached bot are, when detached, the functions that were given."""
    bot = TeleBot(TOKEN, threaded=False)
    sessions.attach(bot)
    for kind in util.update_types:
        register(bot, kind, keep)
    sessions.detach(bot)

    functions = [
        handler["function"] for name in HANDLER_NAMES for handler in getattr(bot, f"{name}s")
    ]
    assert [keep] * len(util.update_types) == functions


@pytest.mark.parametrize("target", ["bot", "class", "None"])
def test_what_is_not_attached_cannot_be_detached(target: str, sessions: Sessions[Session]) -> None:
    """Detaching what is not attached, or no more, is a `ValueError` that names the sessions."""
    bots = {"bot": TeleBot(TOKEN, threaded=False), "class": TeleBot, "None": None}
    sessions.attach(bots["bot"])
    sessions.detach(bots["bot"])

    with pytest.raises(ValueError, match="not attached") as caught:
        sessions.detach(bots[target])

    assert repr(sessions) in str(caught.value)


def test_others_cannot_be_detached_from_an_attached_bot(sessions: Sessions[Session]) -> None:
    """Detaching others than those that are attached is a `ValueError`, and changes nothing."""
    bot = TeleBot(TOKEN, threaded=False)
    sessions.attach(bot)
    before = state_of_bot(bot)

    with pytest.raises(ValueError, match="not attached"):
        Sessions().detach(bot)

    assert before == state_of_bot(bot)


GATES: dict[str, Callable[[TeleBot], tuple[Any, str]]] = {
    "process_new_updates": lambda bot: (bot, "process_new_updates"),
    "process_new_messages": lambda bot: (bot, "process_new_messages"),
    "add_message_handler": lambda bot: (bot, "add_message_handler"),
    "next_step_backend": lambda bot: (bot.next_step_backend, "get_handlers"),
}


@pytest.mark.parametrize("gate", GATES.values(), ids=GATES)
def test_what_others_put_on_top_stays(
    gate: Callable[[TeleBot], tuple[Any, str]], quick_host: Host, sessions: Sessions[Session]
) -> None:
    """What stands on top of a gate is not torn down by `detach`, and leads to a plain bot."""
    bot, passed = quick_host.bot, []
    sessions.attach(bot)
    owner, name = gate(bot)
    below = getattr(owner, name)

    def on_top(argument):
        passed.append(argument)
        return below(argument)

    setattr(owner, name, on_top)
    sessions.detach(bot)
    bot.reply_backend = MemoryHandlerBackend()
    bot.register_message_handler(keep)
    bot.register_next_step_handler_by_chat_id(ANNA["id"], ignore)
    quick_host.deliver(said("one"))

    assert (True, True) == (getattr(owner, name) is on_top, bool(passed))
    assert {"handlers"} == vars(bot.reply_backend).keys()
    assert bot.message_handlers[0]["function"] is keep
    assert ([], None) == (quick_host.raised, sessions.peek(KEY))


@pytest.mark.parametrize("gate", GATES.values(), ids=GATES)
def test_a_bot_can_be_attached_again(
    gate: Callable[[TeleBot], tuple[Any, str]], quick_host: Host
) -> None:
    """After `detach`, with something on top of a gate or not, `attach` works as the first time."""
    bot, storage = quick_host.bot, SpyStorage()
    sessions = Sessions(storage=storage)
    bot.register_message_handler(keep)
    for _ in range(3):
        sessions.attach(bot)
        owner, name = gate(bot)
        below = getattr(owner, name)
        setattr(owner, name, lambda argument, below=below: below(argument))
        sessions.detach(bot)
    sessions.attach(bot)
    bot.register_next_step_handler_by_chat_id(ANNA["id"], keep)

    quick_host.deliver(said("one"))
    by_step, storage.calls = storage.calls, Counter()
    quick_host.deliver(said("two"))

    assert ([], ONE_USE, ONE_USE) == (quick_host.raised, by_step, storage.calls)
    assert {"seen": [["one"], ["two"]]} == sessions.peek(KEY)


def test_a_gate_that_stood_on_the_bot_before_is_restored(sessions: Sessions[Session]) -> None:
    """What somebody had put on the bot before `attach` is there after `detach`."""
    host, passed = Host(), []
    below = host.bot.process_new_updates

    def on_the_bot(updates):
        passed.append(len(updates))
        below(updates)

    host.bot.process_new_updates = on_the_bot
    sessions.attach(host.bot)
    host.bot.register_message_handler(keep)
    host.deliver(said("one"))
    sessions.detach(host.bot)

    assert ([], [1], {"seen": [["one"]]}) == (host.raised, passed, sessions.peek(KEY))
    assert host.bot.process_new_updates is on_the_bot


def test_what_others_put_around_a_handler_stays(spy_storage: SpyStorage) -> None:
    """A wrapper that somebody puts around what an attached bot calls survives attach and detach."""
    host, passed = Host(), []
    person, chat = Sessions(storage=spy_storage), Sessions(storage=spy_storage, name="chat")
    person.attach(host.bot)
    host.bot.register_message_handler(keep)
    inner = host.bot.message_handlers[0]["function"]

    @functools.wraps(inner)
    def measured(*args, **kwargs):
        passed.append("in")
        return inner(*args, **kwargs)

    host.bot.message_handlers[0]["function"] = measured
    chat.attach(host.bot)
    host.deliver(said("one"))
    chat.detach(host.bot)
    host.deliver(said("two"))
    person.detach(host.bot)

    assert ([], ["in"] * 2, {"seen": [["one"], ["two"]]}) == (
        host.raised,
        passed,
        person.peek(KEY),
    )
    assert host.bot.message_handlers[0]["function"] is measured


# From inside a handler.


def test_sessions_may_be_attached_by_a_handler(
    quick_host: Host, sessions: Sessions[Session]
) -> None:
    """A handler that attaches: from the next update on there are sessions."""
    bot = quick_host.bot

    @bot.message_handler(commands=["attach"])
    def attach(message):
        sessions.attach(bot)

    bot.register_message_handler(keep)
    quick_host.deliver(said("/attach"), said("one"))

    assert ([], {"seen": [["one"]]}) == (quick_host.raised, sessions.peek(KEY))


def test_a_handler_that_detaches_keeps_its_session(
    quick_host: Host, sessions: Sessions[Session]
) -> None:
    """The bot is what it was, but for the handler that runs: that commits as ever."""
    bot = quick_host.bot
    before = set(vars(bot))
    sessions.attach(bot)

    @bot.message_handler()
    def handle(message, session):
        sessions.detach(bot)
        note(session, message.text)

    quick_host.deliver(said("one"))

    assert ([], {"seen": [["one"]]}) == (quick_host.raised, sessions.peek(KEY))
    assert (before, True) == (set(vars(bot)), bot.message_handlers[0]["function"] is handle)


def test_handlers_may_be_registered_by_a_handler(
    quick_host: Host, sessions: Sessions[Session]
) -> None:
    """What a handler registers while the bot runs gets its session, too."""
    sessions.attach(quick_host.bot)

    @quick_host.bot.message_handler(commands=["learn"])
    def learn(message, session):
        quick_host.bot.register_message_handler(keep, regexp="one")

    quick_host.deliver(said("/learn"), said("one"))

    assert ([], {"seen": [["one"]]}) == (quick_host.raised, sessions.peek(KEY))
