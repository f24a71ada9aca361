"""Sessions that cannot follow their group at once: that costs no update."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import pytest

from support.bots import Host
from support.handlers import (
    NEW_KEY,
    OLD_KEY,
    by_chats,
    count_message,
    told_in_group,
    told_in_supergroup,
)
from support.sessions import set_fields
from support.storages import SECRET, SpyStorage, fields_by_key, payloads
from support.updates import ANNA, BASIC_GROUP, BORIS, GROUP, said
from telesession import (
    LockTimeoutError,
    MemoryStorage,
    Session,
    Sessions,
    Storage,
    StorageError,
    by_sender_in_chat,
    make_key,
)

if TYPE_CHECKING:
    from telebot import types

OLD_ANNA, NEW_ANNA, OLD_BORIS, NEW_BORIS = (
    make_key(by_sender_in_chat, chat_id=chat["id"], user_id=person["id"])
    for person in (ANNA, BORIS)
    for chat in (BASIC_GROUP, GROUP)
)


def listening_host(sessions: Sessions[Session]) -> tuple[Host, list[str]]:
    """A bot that follows, and what its handlers have got, of whatever content."""
    host, got = Host(), []
    sessions.attach(host.bot, follow_migrations=True)
    host.bot.register_message_handler(
        lambda message: got.append(message.content_type), content_types=None
    )
    return host, got


ALL_OF_THEM = ["text", "migrate_to_chat_id", "migrate_from_chat_id", "text"]


def all_of_them() -> list[types.Update]:
    return [
        said("a", chat=GROUP),
        told_in_group(),
        told_in_supergroup(),
        said("b", chat=GROUP),
    ]


def test_a_conflict_is_logged_and_loses_no_update(caplog: pytest.LogCaptureFixture) -> None:
    """Two sessions: both stay, the log has the keys and no value, and every handler is called."""
    storage = MemoryStorage()
    sessions = by_chats(storage)
    set_fields(sessions, OLD_KEY, secret=SECRET)
    set_fields(sessions, NEW_KEY, secret=SECRET[::-1])
    before = payloads(storage)
    host, got = listening_host(sessions)
    sessions.attach(host.bot, follow_migrations=True)

    host.bot.process_new_updates(all_of_them())

    assert ([], ALL_OF_THEM, before) == (host.raised, got, payloads(storage))
    logged = [(record.name, record.levelno) for record in caplog.records]
    assert [("telesession", logging.ERROR)] == logged
    for part in (OLD_KEY, NEW_KEY, "delete the one that you do not need"):
        assert part in caplog.text
    assert (False, False) == (SECRET in caplog.text, SECRET[::-1] in caplog.text)


@pytest.mark.parametrize("busy", [OLD_KEY, NEW_KEY])
def test_a_busy_session_moves_when_it_is_next_used(
    busy: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The bot goes on at once, and whoever uses the session next moves it, or waits in vain."""
    storage = MemoryStorage()
    sessions = by_chats(storage, lock_timeout=0)
    set_fields(sessions, OLD_KEY, counter=1)
    host, got = listening_host(sessions)
    host.bot.message_handlers.reverse()

    with storage.hold(busy):
        host.bot.process_new_updates([told_in_group()])
        with pytest.raises(LockTimeoutError), sessions.open(NEW_KEY):
            pass
        between = list(sessions.keys()), sessions.peek(NEW_KEY), sessions.peek(OLD_KEY)
    with sessions.open(OLD_KEY) as session:
        session.counter += 1

    assert ([], ["migrate_to_chat_id"]) == (host.raised, got)
    assert ([OLD_KEY], {"counter": 1}, {"counter": 1}) == between
    assert ({NEW_KEY: {"counter": 2}}, []) == (fields_by_key(sessions), caplog.records)


def test_what_could_not_move_is_not_begun_anew(caplog: pytest.LogCaptureFixture) -> None:
    """A storage that fails while the news are told and later on: an error, and no new session."""
    storage = SpyStorage()
    sessions = by_chats(storage)
    set_fields(sessions, OLD_KEY, counter=1)
    host = Host()
    sessions.attach(host.bot, follow_migrations=True)
    host.bot.register_message_handler(count_message, content_types=["text"])
    for update in (told_in_group(), said("hi", chat=GROUP), said("hi", chat=BASIC_GROUP)):
        storage.fail("get")
        host.deliver(update)
    host.deliver(said("hi", chat=GROUP), told_in_supergroup(), said("hi", chat=BASIC_GROUP))

    assert [StorageError, StorageError] == [type(error) for error in host.raised]
    assert {NEW_KEY: {"counter": 3}} == fields_by_key(sessions)
    assert [logging.WARNING] == [record.levelno for record in caplog.records]


@pytest.mark.parametrize("method", ["get", "commit"])
def test_a_storage_that_fails_is_logged_and_loses_no_update(
    method: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A storage that fails at either step: logged, and the second telling ends the move."""
    storage = SpyStorage()
    sessions = by_chats(storage)
    set_fields(sessions, OLD_KEY, secret=SECRET)
    host, got = listening_host(sessions)
    storage.fail(method)

    host.bot.process_new_updates(all_of_them())

    assert ([], ALL_OF_THEM) == (host.raised, got)
    assert (["telesession"], True, False) == (
        [record.name for record in caplog.records],
        "disk is full" in caplog.text,
        SECRET in caplog.text,
    )
    assert {NEW_KEY: {"secret": SECRET}} == fields_by_key(sessions)


def test_a_damaged_record_is_logged_and_left(caplog: pytest.LogCaptureFixture) -> None:
    """A record that cannot be read stays as it is, and its bytes are not logged."""
    storage = MemoryStorage({OLD_KEY: SECRET.encode()})
    host, got = listening_host(by_chats(storage))

    host.bot.process_new_updates(all_of_them())

    assert ([], ALL_OF_THEM) == (host.raised, got)
    assert ({OLD_KEY: SECRET.encode()}, 2, False) == (
        payloads(storage),
        len(caplog.records),
        SECRET in caplog.text,
    )


# Many sessions of one group.


def members_of(storage: Storage, **options: Any) -> Sessions[Session]:
    """Sessions by member, in which Anna and Boris have counted in the group."""
    sessions: Sessions[Session] = Sessions(
        storage=storage, get_storage_key=by_sender_in_chat, **options
    )
    for key in (OLD_ANNA, OLD_BORIS):
        set_fields(sessions, key, secret=SECRET)
    return sessions


@pytest.mark.parametrize("method", ["hold", "get", "commit"])
def test_a_failure_with_one_session_stops_no_other(
    method: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The storage fails once: the other session has moved, and the second telling ends the move."""
    storage = SpyStorage()
    sessions = members_of(storage)
    host, got = listening_host(sessions)
    storage.fail(method)

    host.deliver(told_in_group())
    between = set(sessions.keys())
    host.deliver(told_in_supergroup())

    assert {OLD_ANNA, NEW_BORIS} == between
    assert {NEW_ANNA, NEW_BORIS} == set(sessions.keys())
    assert ([], ["migrate_to_chat_id", "migrate_from_chat_id"]) == (host.raised, got)
    assert [logging.WARNING] == [record.levelno for record in caplog.records]
    assert ("disk is full" in caplog.text, OLD_ANNA in caplog.text) == (True, True)
    assert SECRET not in caplog.text


def test_sessions_that_could_not_be_listed_move_when_they_are_next_used(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Logged once; each moves with the next update of its member, the others when told again."""
    storage = SpyStorage()
    sessions = members_of(storage)
    host, got = listening_host(sessions)
    host.bot.message_handlers.clear()
    host.bot.register_message_handler(count_message, content_types=["text"])
    storage.fail("keys")

    host.deliver(told_in_group(), said("hi", ANNA, chat=GROUP))
    between = set(sessions.keys())
    host.deliver(told_in_supergroup())

    assert {NEW_ANNA, OLD_BORIS} == between
    assert {
        NEW_ANNA: {"secret": SECRET, "counter": 1},
        NEW_BORIS: {"secret": SECRET},
    } == fields_by_key(sessions)
    assert ([], []) == (host.raised, got)
    assert [logging.WARNING] == [record.levelno for record in caplog.records]
    assert ("disk is full" in caplog.text, SECRET in caplog.text) == (True, False)


def test_a_session_that_could_not_move_is_not_begun_anew() -> None:
    """While the storage fails, the member's updates are errors, and then the session is there."""
    storage = SpyStorage()
    sessions = members_of(storage)
    host = Host()
    sessions.attach(host.bot, follow_migrations=True)
    host.bot.register_message_handler(count_message, content_types=["text"])
    storage.fail("keys")
    host.deliver(told_in_group())

    storage.fail("get")
    host.deliver(said("hi", ANNA, chat=GROUP), said("hi", ANNA, chat=GROUP))

    assert [StorageError] == [type(error) for error in host.raised]
    assert {"secret": SECRET, "counter": 1} == sessions.peek(NEW_ANNA)


def test_a_damaged_session_of_a_member_is_logged_and_left(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A record that cannot be read stays as it is; the others move, and no bytes are logged."""
    storage = MemoryStorage()
    sessions = members_of(storage)
    storage.set(OLD_ANNA, SECRET.encode())
    host, got = listening_host(sessions)

    host.bot.process_new_updates(all_of_them())

    assert ([], ALL_OF_THEM) == (host.raised, got)
    assert ({OLD_ANNA, NEW_BORIS}, SECRET.encode()) == (
        set(storage.keys()),
        storage.get(OLD_ANNA),
    )
    assert ([logging.WARNING] * 2, False) == (
        [record.levelno for record in caplog.records],
        SECRET in caplog.text,
    )


def test_a_member_with_two_sessions_keeps_both(caplog: pytest.LogCaptureFixture) -> None:
    """One is logged and stays, and the sessions of the other members move."""
    storage = MemoryStorage()
    sessions = members_of(storage)
    set_fields(sessions, NEW_ANNA, secret=SECRET[::-1])
    host, got = listening_host(sessions)

    host.bot.process_new_updates(all_of_them())

    assert ([], ALL_OF_THEM) == (host.raised, got)
    assert {
        OLD_ANNA: {"secret": SECRET},
        NEW_ANNA: {"secret": SECRET[::-1]},
        NEW_BORIS: {"secret": SECRET},
    } == dict(sessions.items())
    assert ([logging.ERROR], False) == (
        [record.levelno for record in caplog.records],
        SECRET in caplog.text,
    )


@pytest.mark.parametrize("storage", ["memory", "sqlite"], indirect=True)
@pytest.mark.parametrize("busy", [OLD_ANNA, NEW_ANNA])
def test_a_busy_session_of_a_member_moves_when_it_is_next_used(
    busy: str, storage: Storage, caplog: pytest.LogCaptureFixture
) -> None:
    """The bot goes on at once with the others, and the next update of the member moves it."""
    sessions = members_of(storage, lock_timeout=0)
    host, _ = listening_host(sessions)

    with storage.hold(busy):
        host.deliver(told_in_group())
        with pytest.raises(LockTimeoutError), sessions.open(NEW_ANNA):
            pass
        between = set(sessions.keys()), sessions.peek(NEW_ANNA), NEW_ANNA in sessions
    with sessions.open(NEW_ANNA) as session:
        session.counter = 1

    assert ({OLD_ANNA, NEW_BORIS}, {"secret": SECRET}, True) == between
    assert {
        NEW_ANNA: {"secret": SECRET, "counter": 1},
        NEW_BORIS: {"secret": SECRET},
    } == fields_by_key(sessions)
    assert ([], []) == (host.raised, caplog.records)
