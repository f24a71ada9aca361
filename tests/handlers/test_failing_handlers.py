"""Failures around a handler: clear errors, nothing half-written, and no lock kept."""

from __future__ import annotations

import threading
from collections import Counter
from typing import Any

import pytest
from cachetools import LRUCache
from telebot import TeleBot

from support.bots import Host, TeaMiddleware
from support.handlers import KEY, Cart, Handler, OutOfTeaError, keep, note
from support.storages import SpyStorage, SpyStore, is_free
from support.updates import TOKEN, said
from telesession import (
    MemoryStorage,
    NoSessionKeyError,
    Session,
    SessionError,
    Sessions,
    StorageError,
    as_dict,
    with_session,
)

# Exceptions.


def test_an_exception_reaches_the_exception_handler_as_it_is(
    host: Host, sessions: Sessions[Session], storage: MemoryStorage
) -> None:
    """
    An unhandled exception passes through unchanged; nothing is saved, and the session is free.
    """
    error = OutOfTeaError("no sencha")

    @host.bot.message_handler()
    @sessions.with_session
    def handle(message, session):
        note(session, message.text)
        raise error

    host.deliver(said("one"))

    assert len(host.raised) == 1
    assert host.raised[0] is error
    assert (None, None, ("no sencha",)) == (error.__cause__, error.__context__, error.args)
    assert not hasattr(error, "__notes__")
    assert (None, True) == (sessions.peek(KEY), is_free(storage, KEY))


def test_an_exception_reaches_the_middleware_too(
    host_with_middlewares: Host, sessions: Sessions[Session], storage: MemoryStorage
) -> None:
    """
    Telebot gives `post_process` the very exception of the handler, whose session is free by then.
    """
    host, seen, error = host_with_middlewares, [], OutOfTeaError("no sencha")
    middleware = TeaMiddleware()
    middleware.on_done = lambda found: seen.append((found, is_free(storage, KEY)))
    host.bot.setup_middleware(middleware)

    @host.bot.message_handler()
    @sessions.with_session
    def handle(message, session):
        note(session, message.text)
        raise error

    host.deliver(said("one"))

    assert [(error, True)] == seen


def test_an_exception_leaves_a_bot_that_does_not_handle_it(sessions: Sessions[Session]) -> None:
    """
    Without an exception handler the handler's exception leaves `process_new_updates`.
    """
    error = OutOfTeaError("no sencha")
    bot = TeleBot(TOKEN, threaded=False)

    @bot.message_handler()
    @sessions.with_session
    def handle(message, session):
        raise error

    with pytest.raises(OutOfTeaError) as caught:
        bot.process_new_updates([said("one")])

    assert caught.value is error


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, GeneratorExit])
@pytest.mark.parametrize("commit_on_error", [False, True])
def test_an_interrupt_passes_through_and_saves_nothing(
    kind: type[BaseException], commit_on_error: bool, storage: MemoryStorage
) -> None:
    """
    What is no `Exception` leaves the bot as it is and saves nothing, whatever `commit_on_error`.
    """
    sessions = Sessions(storage=storage, commit_on_error=commit_on_error)
    error = kind()
    host = Host()

    @host.bot.message_handler()
    @sessions.with_session
    def handle(message, session):
        note(session, message.text)
        raise error

    with pytest.raises(kind) as caught:
        host.deliver(said("one"))

    assert caught.value is error
    assert (None, True) == (sessions.peek(KEY), is_free(storage, KEY))


# Keys and beginnings that fail at the first message.


def raise_out_of_tea(_message):
    raise OutOfTeaError("no sencha")


BAD_KEYS = [
    pytest.param(lambda _: None, NoSessionKeyError, "None", id="None"),
    pytest.param(lambda _: "", NoSessionKeyError, "empty", id="empty"),
    pytest.param(lambda _: True, NoSessionKeyError, "bool", id="True"),
    pytest.param(lambda _: False, NoSessionKeyError, "bool", id="False"),
    pytest.param(lambda _: 1.5, NoSessionKeyError, "float", id="float"),
    pytest.param(lambda _: b"412587349", NoSessionKeyError, "bytes", id="bytes"),
    pytest.param(lambda _: ("chat", 5), NoSessionKeyError, "tuple", id="tuple"),
    pytest.param(lambda message: message.from_user, NoSessionKeyError, "User", id="user"),
    pytest.param(raise_out_of_tea, SessionError, "OutOfTeaError", id="raises"),
    pytest.param(lambda message: message.nothing, SessionError, "AttributeError", id="misspelt"),
]


@pytest.mark.parametrize(("get_storage_key", "kind", "reason"), BAD_KEYS)
@pytest.mark.parametrize("prefix", ["", "shop:"], ids=["no-prefix", "prefix"])
def test_a_key_that_is_none_names_get_storage_key(
    get_storage_key: Handler,
    kind: type[SessionError],
    reason: str,
    prefix: str,
) -> None:
    """
    A `get_storage_key` that returns a wrong type or raises: a clear error that names it and the
    type of the update, nothing locked, nothing stored; the handler is not called.
    """
    host, called, storage = Host(), [], SpyStorage()
    sessions = Sessions(storage=storage, get_storage_key=get_storage_key, prefix=prefix)
    host.bot.message_handler()(sessions.with_session(lambda message, session: called.append(1)))

    host.deliver(said("one"))

    assert ([kind], []) == ([type(error) for error in host.raised], called)
    for part in ("get_storage_key", "Message", reason):
        assert part in str(host.raised[0])
    assert Counter() == storage.calls
    assert [] == list(storage.keys())


def test_a_get_storage_key_that_raises_is_the_cause(sessions: Sessions[Session]) -> None:
    """
    The exception of a `get_storage_key` is the `__cause__` of the `SessionError`.
    """
    handler = with_session(get_storage_key=raise_out_of_tea)(keep)

    with pytest.raises(SessionError) as caught:
        handler(said("one").message)

    assert OutOfTeaError is type(caught.value.__cause__)


@pytest.mark.parametrize(
    "key", [42, "42", -1001472583690, "chat:5", " ", "\N{HOT BEVERAGE}", "x" * 10_000, 10**30]
)
def test_any_text_or_int_is_a_key(key: str | int, storage: MemoryStorage) -> None:
    """
    `get_storage_key` is from the update to `str`, `int` or `None`; an int is its digits.
    """
    sessions = Sessions(storage=storage, get_storage_key=lambda _: key, prefix="shop:")

    sessions.with_session(keep)(said("one").message)

    assert [f"shop:{key}"] == list(storage.keys())
    assert {"seen": [["one"]]} == sessions.peek(key)


BAD_BEGINNINGS = [
    pytest.param(lambda: raise_out_of_tea(None), SessionError, "OutOfTeaError", id="raises"),
    pytest.param(raise_out_of_tea, SessionError, "OutOfTeaError", id="of-the-update-raises"),
    pytest.param(lambda: None, TypeError, "NoneType", id="None"),
    pytest.param(lambda: 5, TypeError, "int", id="int"),
    pytest.param(lambda: ["counter"], TypeError, "list", id="list"),
    pytest.param(lambda: Cart, TypeError, "type", id="class"),
    pytest.param(lambda: {1: "one"}, TypeError, "int", id="field-name"),
    pytest.param(lambda: {"lock": threading.Lock()}, (SessionError, TypeError), "lock", id="lock"),
]


@pytest.mark.parametrize(("initial", "kind", "reason"), BAD_BEGINNINGS)
def test_a_beginning_that_fails_names_initial_and_leaves_nothing(
    initial: Handler, kind: Any, reason: str, storage: MemoryStorage
) -> None:
    """
    A raising `initial`: a clear error that names the option or the key, nothing half-written, the
    lock released.
    """
    host, called = Host(), []
    handler = with_session(storage=storage, initial=initial)(
        lambda message, session: called.append(1)
    )
    host.bot.message_handler()(handler)

    host.deliver(said("one"), said("two"))

    assert 2 == len(host.raised)
    assert isinstance(host.raised[0], kind)
    assert reason in str(host.raised[0])
    assert [] != [name for name in ("initial", KEY) if name in str(host.raised[0])]
    assert ([], [], True) == (called, list(storage.keys()), is_free(storage, KEY))


def test_open_says_that_initial_wants_the_update(storage: MemoryStorage) -> None:
    """
    `open(key, update=...)` is for an `initial` that wants the update; without it, it says so.
    """
    sessions = Sessions(storage=storage, initial=lambda message: {"text": message.text})

    with pytest.raises(TypeError, match="update="), sessions.open(KEY):
        pass
    with sessions.open(KEY, update=said("one").message) as session:
        fields = as_dict(session)

    assert ({"text": "one"}, True) == (fields, is_free(storage, KEY))


# Stores that fail.


@pytest.mark.parametrize("failing", ["read", "write", "delete"], ids=["get", "set", "delete"])
def test_a_store_that_raises_leaves_the_old_record_and_no_lock(failing: str, host: Host) -> None:
    """
    A failed read is never a new user; a failed write leaves the old record whole; the error names
    the key, has the store's own as its cause, and the lock is released.
    """
    store = SpyStore()
    storage = MemoryStorage(store)

    @host.bot.message_handler()
    @with_session(storage=storage)
    def handle(message, session):
        note(session, message.text)
        if failing == "delete":
            session.clear()

    with Sessions(storage=storage).open(KEY) as session:
        session.seen = [["before"]]
    before = dict(store)
    store.failing = {failing}

    host.deliver(said("one"))

    assert [StorageError] == [type(error) for error in host.raised]
    assert (KEY, OSError) == (host.raised[0].key, type(host.raised[0].__cause__))
    assert KEY in str(host.raised[0])
    assert (before, True) == (store.data, is_free(storage, KEY))


def test_a_store_that_evicts_the_record_while_the_handler_runs_gets_it_back(host: Host) -> None:
    """
    A store that evicts between load and save loses nothing of the session that is in use.
    """
    store: dict[str, bytes] = {}
    sessions = Sessions(storage=MemoryStorage(store))

    @host.bot.message_handler()
    @sessions.with_session
    def handle(message, session):
        note(session, message.text)
        store.clear()

    host.deliver(said("one"), said("two"))

    assert ([], {"seen": [["one"], ["two"]]}) == (host.raised, sessions.peek(KEY))


def test_a_record_too_large_for_its_cache_is_an_error(host: Host) -> None:
    """
    A cachetools cache whose value is too large: a clear error that names the key, the old record
    whole, the lock released.
    """
    storage = MemoryStorage(LRUCache(200, getsizeof=len))
    sessions = Sessions(storage=storage)

    @host.bot.message_handler()
    @sessions.with_session
    def handle(message, session):
        session.text = message.text

    host.deliver(said("one"), said("x" * 300))

    assert [StorageError] == [type(error) for error in host.raised]
    for part in (KEY, "maxsize"):
        assert part in str(host.raised[0])
    assert ({"text": "one"}, True) == (sessions.peek(KEY), is_free(storage, KEY))
