"""Handlers with two sessions, and handlers that call handlers and share theirs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from support.bots import Host, TeaMiddleware
from support.clocks import PATIENCE
from support.handlers import KEY, Cart, Handler, OutOfTeaError, keep, note, signature_text
from support.storages import SpyStore
from support.threads import start
from support.updates import ANNA, BORIS, GROUP, said
from telesession import (
    LockTimeoutError,
    MemoryStorage,
    Session,
    Sessions,
    by_chat,
    session_key,
    with_session,
)


def play(chat: Any, user: Any, tea: str) -> None:
    note(chat, session_key(user))
    note(user, tea)


SHARED_BY_TWO = [
    lambda message, data, chat, user: play(chat, user, data["tea"]),
    lambda message, user, chat, data: play(chat, user, data["tea"]),
    lambda message, user, data, *, chat: play(chat, user, data["tea"]),
    lambda message, data, *, user, chat: play(chat, user, data["tea"]),
    lambda message, chat, user, /, data: play(chat, user, data["tea"]),
    lambda chat, message, data, user: play(chat, user, data["tea"]),
    lambda chat, user, message, data: play(chat, user, data["tea"]),
]


@pytest.mark.parametrize("order", ["user-above-chat", "chat-above-user"])
@pytest.mark.parametrize("handler", SHARED_BY_TWO, ids=signature_text)
def test_two_decorators_with_two_names_give_two_sessions(
    handler: Handler, order: str, host_with_middlewares: Host, storage: MemoryStorage
) -> None:
    """
    Two stacked decorators with two names give two sessions, in either order.
    """
    host = host_with_middlewares
    user = Sessions(storage=storage, name="user")
    chat = Sessions(storage=storage, name="chat", get_storage_key=by_chat)
    above, below = (user, chat) if order == "user-above-chat" else (chat, user)
    host.bot.setup_middleware(TeaMiddleware())
    host.bot.message_handler()(above.with_session(below.with_session(handler)))

    host.deliver(said("one", ANNA, chat=GROUP), said("two", BORIS, chat=GROUP))

    boris, group = str(BORIS["id"]), by_chat(said("x", chat=GROUP).message)
    assert [] == host.raised
    assert {"seen": [[KEY], [boris]]} == chat.peek(group)
    assert [{"seen": [["sencha"]]}] * 2 == [user.peek(KEY), user.peek(boris)]


def test_two_sessions_of_a_method_are_two(storage: MemoryStorage) -> None:
    """
    Two stacked decorators may be on a method.
    """
    user = Sessions(storage=storage, name="user")
    chat = Sessions(storage=storage, name="chat", get_storage_key=by_chat)

    class Game:
        @user.with_session
        @chat.with_session
        def handle(self, message, chat, user):
            play(chat, user, "sencha")

    Game().handle(said("one").message)

    assert ({"seen": [["sencha"]]}, {"seen": [[KEY]]}) == (user.peek(KEY), chat.peek(f"chat:{KEY}"))


def test_two_decorators_with_one_name_are_refused(sessions: Sessions[Session]) -> None:
    """
    A second decorator with the same name finds no parameter left for its session.
    """
    with pytest.raises(TypeError, match="gets its 'session' from another decorator already"):
        sessions.with_session(sessions.with_session(keep))


def test_two_decorators_with_one_key_give_one_session_under_two_names(
    host: Host, storage: MemoryStorage
) -> None:
    """
    Two decorators for one storage, prefix and key give the same object, whose lock is taken once.
    """
    seen = []

    @host.bot.message_handler()
    @Sessions(storage=storage, name="first", prefix="", lock_timeout=0).with_session
    @Sessions(storage=storage, name="second", prefix="", lock_timeout=0).with_session
    def handle(message, first, second):
        seen.append(first is second)
        first.counter = 1
        second.counter += 1

    host.deliver(said("one"))

    assert ([], [True], {"counter": 2}) == (host.raised, seen, Sessions(storage=storage).peek(KEY))


def test_a_handler_that_calls_another_shares_its_session(host: Host) -> None:
    """
    A decorated handler that calls another one for the same storage and key, in the same thread,
    shares its session: the same object if both want the same type. The outermost call commits.
    """
    store = SpyStore()
    sessions = Sessions(storage=MemoryStorage(store), lock_timeout=0)
    seen = []

    @sessions.with_session
    def inner(message, session, unit):
        session.log.append(unit)
        seen.append(session)
        return len(session.log)

    @host.bot.message_handler()
    @sessions.with_session
    def outer(message, session):
        session.log = ["outer"]
        session.length = inner(message, unit="cm")
        seen.append(session)
        session.log.append(sessions.peek(KEY))

    host.deliver(said("one"))

    assert [] == host.raised
    assert seen[0] is seen[1]
    assert {"log": ["outer", "cm", None], "length": 2} == sessions.peek(KEY)
    assert 1 == store.writes


@dataclass
class Order(Cart):
    note: str = ""


def test_handlers_of_two_types_share_the_fields(host: Host, storage: MemoryStorage) -> None:
    """
    Handlers that share a session but want a class and its subclass have views of the same fields.
    """
    seen = []

    @with_session(storage=storage, initial=Order, lock_timeout=0)
    def take_order(message, session):
        session.items.append("milk")
        session.note = message.text
        return session

    @with_session(storage=storage, lock_timeout=0)
    def take_plain(message, session):
        session.items.append("sugar")
        return session

    @host.bot.message_handler()
    @with_session(storage=storage, initial=Cart, lock_timeout=0)
    def take_cart(message, session):
        session.items = ["tea"]
        order, plain = take_order(message), take_plain(message)
        seen.extend([type(session).__name__, type(order).__name__, type(plain).__name__])
        seen.append(session.items is order.items is plain.items)
        seen.append(take_order(message) is order)

    host.deliver(said("no rush"))

    assert ([], ["Cart", "Order", "Session", True, True]) == (host.raised, seen)
    expected = {"items": ["tea", "milk", "sugar", "milk"], "note": "no rush"}
    assert expected == Sessions(storage=storage).peek(KEY)


def test_an_inner_handler_commits_nothing_that_the_outer_takes_back(
    host: Host, sessions: Sessions[Session]
) -> None:
    """
    The outermost call commits: if it raises, what the inner handlers did is undone with the rest.
    """

    @sessions.with_session
    def inner(message, session):
        note(session, message.text)

    @host.bot.message_handler()
    @sessions.with_session
    def outer(message, session):
        inner(message)
        raise OutOfTeaError

    host.deliver(said("one"))

    assert ([OutOfTeaError], None) == ([type(e) for e in host.raised], sessions.peek(KEY))


@pytest.mark.parametrize("difference", ["storage", "prefix", "key"])
def test_an_inner_handler_of_another_record_has_its_own_session(
    difference: str, host: Host, storage: MemoryStorage
) -> None:
    """
    What makes it another record, storage, prefix or key, makes it another session.
    """
    options: dict[str, dict[str, Any]] = {
        "storage": {"storage": MemoryStorage()},
        "prefix": {"storage": storage, "prefix": "other:"},
        "key": {"storage": storage, "get_storage_key": by_chat},
    }
    outer_sessions = Sessions(storage=storage)
    inner_sessions = Sessions(**options[difference])

    @inner_sessions.with_session
    def inner(message, session):
        session.place = "inner"

    @host.bot.message_handler()
    @outer_sessions.with_session
    def outer(message, session):
        session.place = "outer"
        inner(message)

    host.deliver(said("one"))

    inner_key = by_chat(said("x").message) if difference == "key" else KEY
    assert [] == host.raised
    assert {"place": "outer"} == outer_sessions.peek(KEY)
    assert {"place": "inner"} == inner_sessions.peek(inner_key)


def test_an_inner_handler_in_another_thread_waits_for_the_outer(storage: MemoryStorage) -> None:
    """
    Only the same thread shares: two handlers never hold the same session at once.
    """
    host, raised = Host(), []

    @with_session(storage=storage, lock_timeout=0)
    def inner(message, session):
        session.place = "inner"

    def call_inner(message):
        with pytest.raises(LockTimeoutError) as caught:
            inner(message)
        raised.append(caught.value.key)

    @host.bot.message_handler()
    @with_session(storage=storage)
    def outer(message, session):
        start(call_inner, message).join(PATIENCE)

    host.deliver(said("one"))

    assert ([], [KEY]) == (host.raised, raised)
