"""Sessions of members and topics that follow their group when it becomes a supergroup."""

from __future__ import annotations

import threading
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, strategies as st
from telebot import TeleBot, types

from support.bots import Host, make_host
from support.clocks import PATIENCE
from support.handlers import ORDERS, TELLINGS, count_message, told_in_group
from support.sessions import set_fields
from support.storages import (
    Asked,
    SpyStorage,
    UnlockedStorage,
    fields_by_key,
    storage_of,
)
from support.updates import ANNA, ANONYMOUS_ADMIN, BASIC_GROUP, BORIS, GROUP, said
from telesession import (
    MemoryStorage,
    Session,
    Sessions,
    Storage,
    by_chat,
    by_sender,
    by_sender_in_chat,
    by_sender_in_topic,
    by_topic,
    make_key,
)
from telesession.keys import room_of
from telesession.moves import Renaming
from telesession.sessions import kind_of, sessions_in_room
from telesession.testing import OFFLINE_TOKEN, BotAPI, run_polling

if TYPE_CHECKING:
    from pathlib import Path

OLD, NEW = BASIC_GROUP["id"], GROUP["id"]
OLD_ANNA, NEW_ANNA = f"sender_in_chat:{OLD}:{ANNA['id']}", f"sender_in_chat:{NEW}:{ANNA['id']}"
OLD_BORIS, NEW_BORIS = f"sender_in_chat:{OLD}:{BORIS['id']}", f"sender_in_chat:{NEW}:{BORIS['id']}"

READY_MADE = [by_sender, by_chat, by_sender_in_chat, by_topic, by_sender_in_topic]
every_function = pytest.mark.parametrize("function", READY_MADE)


def written_in(chat: dict[str, Any]) -> list[types.Update]:
    """Two members, one of them in a topic too, and an anonymous admin write in a chat."""
    return [
        said("hi", ANNA, chat=chat),
        said("hi", BORIS, chat=chat),
        said("hi", BORIS, chat=chat, message_thread_id=7, is_topic_message=True),
        said("hi", ANONYMOUS_ADMIN, chat=chat, sender_chat=chat),
    ]


def keys_of_writers(chat: int) -> dict[Any, dict[str, int]]:
    """Key function -> the keys of these updates, each with its number of updates."""
    anna, boris = ANNA["id"], BORIS["id"]
    return {
        by_sender: {f"{anna}": 1, f"{boris}": 2, f"{chat}": 1},
        by_chat: {f"chat:{chat}": 4},
        by_sender_in_chat: {
            f"sender_in_chat:{chat}:{anna}": 1,
            f"sender_in_chat:{chat}:{boris}": 2,
            f"sender_in_chat:{chat}:{chat}": 1,
        },
        by_topic: {f"topic:{chat}:general": 3, f"topic:{chat}:7": 1},
        by_sender_in_topic: {
            f"sender_in_topic:{chat}:general:{anna}": 1,
            f"sender_in_topic:{chat}:general:{boris}": 1,
            f"sender_in_topic:{chat}:7:{boris}": 1,
            f"sender_in_topic:{chat}:general:{chat}": 1,
        },
    }


def members(storage: Storage | None = None, **options: Any) -> Sessions[Session]:
    return Sessions(
        storage=storage or MemoryStorage(), get_storage_key=by_sender_in_chat, **options
    )


def counting_host(sessions: Sessions[Session]) -> Host:
    """A bot that follows groups, and counts the texts of each session."""
    host = Host()
    sessions.attach(host.bot, follow_migrations=True)
    host.bot.register_message_handler(count_message, content_types=["text"])
    return host


@every_function
@pytest.mark.parametrize("order", ORDERS, ids="-".join)
def test_all_sessions_of_a_group_follow_it(
    order: tuple[str, str], function: Any, storage: Storage, caplog: pytest.LogCaptureFixture
) -> None:
    """Told in either order, all move with the first message, and count on under the new id."""
    sessions = Sessions(storage=storage, get_storage_key=function)
    host = counting_host(sessions)
    host.deliver(*written_in(BASIC_GROUP))
    before = fields_by_key(sessions)

    host.deliver(TELLINGS[order[0]]())
    moved = fields_by_key(sessions)
    host.deliver(TELLINGS[order[1]](), *written_in(GROUP))

    old, new = (keys_of_writers(chat)[function] for chat in (OLD, NEW))
    assert {key: {"counter": number} for key, number in old.items()} == before
    assert {key: {"counter": number} for key, number in new.items()} == moved
    assert {key: {"counter": 2 * number} for key, number in new.items()} == fields_by_key(sessions)
    assert ([], []) == (host.raised, caplog.records)


@every_function
def test_updates_that_still_come_from_the_group_begin_sessions_of_the_supergroup(
    function: Any, storage: Storage
) -> None:
    """Senders without a session, who write from the old chat, get the new key at once."""
    sessions = Sessions(storage=storage, get_storage_key=function)
    host = counting_host(sessions)

    host.deliver(told_in_group(), *written_in(BASIC_GROUP), *written_in(GROUP))

    expected = {
        key: {"counter": 2 * number} for key, number in keys_of_writers(NEW)[function].items()
    }
    assert ([], expected) == (host.raised, fields_by_key(sessions))


@pytest.mark.parametrize("kind", ["memory", "sqlite-encrypted", "redis", "postgres"])
def test_a_bot_that_polls_takes_the_members_along(
    moved_storage: Storage, bot_api: BotAPI, caplog: pytest.LogCaptureFixture
) -> None:
    """Members of a group that becomes a supergroup are counted on, with workers and attach."""
    bot, sessions = TeleBot(OFFLINE_TOKEN, num_threads=4), members(moved_storage)
    sessions.attach(bot, follow_migrations=True)
    bot.register_message_handler(count_message, content_types=["text"])
    anna, boris = bot_api.user(1), bot_api.user(2)
    group = bot_api.group(-5, title="Kitchen")

    with run_polling(bot, timeout=PATIENCE) as polling:
        for _ in range(3):
            anna.send("hi", chat=group)
            boris.send("hi", chat=group)
        polling.wait_idle(PATIENCE)
        supergroup = anna.upgrade(group, -1005)
        anna.send("hi", chat=supergroup)
        polling.wait_idle(PATIENCE)

    assert {
        "sender_in_chat:-1005:1": {"counter": 4},
        "sender_in_chat:-1005:2": {"counter": 3},
    } == fields_by_key(sessions)
    assert [] == caplog.records


# Only the sessions of the group.

UNRELATED = [
    "-1", "-100", "-1005", "chat:-1", "chat:-100", "chat:-10:1", "chat:-10@guest",
    "sender_in_chat:-1:1", "sender_in_chat:-100:1", "sender_in_chat:-100:-10",
    "sender_in_chat:-10@guest:1", "sender_in_chat:-10@business-a:1", "sender_in_chat:1:-10",
    "topic:-1:7", "topic:-100:7", "topic:-10@guest:7", "sender_in_topic:-100:7:1",
    "sender_in_topic:-10@business-:-10:7:1", "x:sender_in_chat:-10:1",
]  # fmt: skip
# Key function -> the keys of the group, and the keys that they become.
MOVED = {
    by_sender: {"-10": "-1009"},
    by_chat: {"chat:-10": "chat:-1009"},
    by_sender_in_chat: {
        "sender_in_chat:-10:1": "sender_in_chat:-1009:1",
        "sender_in_chat:-10:-10": "sender_in_chat:-1009:-1009",
        "sender_in_chat:-10:-100": "sender_in_chat:-1009:-100",
    },
    by_topic: {"topic:-10:7": "topic:-1009:7", "topic:-10:-10": "topic:-1009:-10"},
    by_sender_in_topic: {
        "sender_in_topic:-10:7:1": "sender_in_topic:-1009:7:1",
        "sender_in_topic:-10:general:-10": "sender_in_topic:-1009:general:-1009",
        "sender_in_topic:-10:-10:1": "sender_in_topic:-1009:-10:1",
    },
}


@every_function
@pytest.mark.parametrize("room", ["", "shop:", None])
def test_other_sessions_stay(function: Any, room: str | None, storage: Storage) -> None:
    """Ids that begin like the old one, other key functions and other rooms keep their records."""
    # A name of its own gives a room, unless there is a prefix.
    sessions = Sessions(storage=storage, get_storage_key=function, name="cart", prefix=room)
    others = Sessions(storage=storage, prefix="other:")
    before = [*UNRELATED, *(key for moved in MOVED.values() for key in moved)]
    for key in before:
        set_fields(sessions, key, was=key)
        set_fields(others, key, was=key)

    kind_of(sessions).follow_group(-10, -1009)

    expected = {MOVED[function].get(key, key): {"was": key} for key in before}
    # Sessions without a room see those with a prefix, too.
    assert expected == {
        key: fields for key, fields in fields_by_key(sessions).items() if "other:" not in key
    }
    assert {key: {"was": key} for key in before} == fields_by_key(others)


numbers = st.sampled_from([-10, -100, -1009, 1, 10]) | st.integers(-12, 12)
ways = st.sampled_from([{}, {"guest_query_id": "1"}, {"business_connection_id": "a:-10"}])


@given(st.sampled_from(READY_MADE), numbers, numbers, st.none() | numbers, ways)
def test_only_updates_of_the_group_get_another_key(
    function: Any, chat: int, sender: int, topic: int | None, way: dict[str, str]
) -> None:
    """The key of an update is what its key function gives for the supergroup, or as before."""
    sessions = Sessions(storage=MemoryStorage(), get_storage_key=function)
    kind_of(sessions).follow_group(-10, -1009)

    is_moved = sender == -10 if function is by_sender else chat == -10 and not way
    renamed = {-10: -1009} if is_moved else {}
    expected = message_of(renamed.get(chat, chat), renamed.get(sender, sender), topic, way)
    update = message_of(chat, sender, topic, way)
    assert function(expected) == sessions._kind.place_of_update(update)


def message_of(chat: int, sender: int, topic: int | None, way: dict[str, str]) -> types.Message:
    person = {"id": sender, "is_bot": False, "first_name": "Anna"}
    group = {"id": chat, "type": "supergroup"}
    fields = {} if topic is None else {"message_thread_id": topic, "is_topic_message": True}
    return said("hi", person, chat=group, **fields, **way).message


@given(st.sampled_from(READY_MADE), numbers.filter(lambda sender: sender != -1009), numbers)
def test_a_key_can_be_renamed_back(function: Any, sender: int, topic: int) -> None:
    """The new key of any session of the group gives the old one."""
    ids = {"chat_id": -10, "user_id": sender, "message_thread_id": topic}
    names = {
        by_sender: [],
        by_chat: ["chat_id"],
        by_sender_in_chat: ["chat_id", "user_id"],
        by_topic: ["chat_id", "message_thread_id"],
        by_sender_in_topic: list(ids),
    }
    wanted = {name: ids[name] for name in names[function]} or {"user_id": -10}
    key = make_key(function, **wanted)
    renaming = Renaming.of(function, -10, -1009, "")

    assert key == renaming.back().renamed(renaming.renamed(key))


def test_a_room_of_the_library_follows(storage: Storage) -> None:
    """Sessions in a room of their own follow without a bot, and those of another bot do not."""
    rooms = [
        sessions_in_room(room_of(f"ask-{bot}"), storage=storage, get_storage_key=by_sender_in_chat)
        for bot in (1, 2)
    ]
    for questions in rooms:
        set_fields(questions, OLD_ANNA, step="take_name")

    kind_of(rooms[0]).follow_group(OLD, NEW)

    assert [{NEW_ANNA}, {OLD_ANNA}] == [set(questions.keys()) for questions in rooms]
    assert {"step": "take_name"} == rooms[0].peek(OLD_ANNA)


# Sessions that handlers have while they move.


def count_across(storage: Storage, monkeypatch: pytest.MonkeyPatch, *, locks: bool) -> Host:
    """
    A handler begins the session of a member while the group becomes a supergroup, and is slow.

    The member writes in the supergroup at that time. With `locks` the handler of that message has
    to wait for the first one; without, it is done before the first one returns.
    """
    sessions, asked = members(storage), Asked(storage, monkeypatch)
    runs, may_return, is_done = (threading.Event() for _ in range(3))
    with contextmanager(make_host)("threads") as host:
        sessions.attach(host.bot, follow_migrations=True, sequential=False)

        @host.bot.message_handler(func=lambda message: message.chat.id == OLD)
        def count_slowly(message: Any, session: Any) -> None:
            count_message(message, session)
            runs.set()
            assert may_return.wait(PATIENCE)

        @host.bot.message_handler(func=lambda message: True)
        def count(message: Any, session: Any) -> None:
            count_message(message, session)
            is_done.set()

        host.bot.process_new_updates([said("hi", chat=BASIC_GROUP)])
        assert runs.wait(PATIENCE)
        host.bot.process_new_updates([told_in_group()])
        asked.event(OLD_ANNA).clear()
        host.bot.process_new_updates([said("hi", chat=GROUP)])
        assert asked.event(OLD_ANNA).wait(PATIENCE)
        if not locks:
            assert is_done.wait(PATIENCE)
        may_return.set()
        host.deliver(*[said("hi", chat=GROUP)] * locks)
    return host


@pytest.mark.parametrize("storage", ["memory", "sqlite"], indirect=True)
def test_a_session_that_begins_while_its_group_moves_is_waited_for(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was not there when the sessions were listed, and moves before the member's next update."""
    host = count_across(storage, monkeypatch, locks=True)

    assert ([], {NEW_ANNA: {"counter": 3}}) == (host.raised, fields_by_key(members(storage)))


def test_without_locks_a_session_that_begins_while_its_group_moves_is_split(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Control: a storage without locks does not wait, so the member has two sessions."""
    storage = UnlockedStorage()
    count_across(storage, monkeypatch, locks=False)

    assert {OLD_ANNA, NEW_ANNA} == set(storage.keys())


def test_a_handler_goes_on_with_the_session_that_it_has(simple_host: Host) -> None:
    """While it runs, its blocks and calls get that session; then it moves with all changes."""
    sessions = members()
    sessions.attach(simple_host.bot, follow_migrations=True)

    @sessions.with_session
    def add_one(message: Any, session: Any) -> None:
        count_message(message, session)

    @simple_host.bot.message_handler(func=lambda message: message.text == "first")
    def handle(message: Any, session: Any) -> None:
        simple_host.bot.process_new_updates([told_in_group()])
        add_one(message)
        with sessions.open(OLD_ANNA) as again:
            again.is_same = again is session

    simple_host.bot.register_message_handler(count_message, content_types=["text"])
    simple_host.deliver(said("first", chat=BASIC_GROUP))
    between = list(sessions.keys())
    simple_host.deliver(said("hi", chat=GROUP))

    assert ([], [OLD_ANNA]) == (simple_host.raised, between)
    assert {NEW_ANNA: {"counter": 2, "is_same": True}} == fields_by_key(sessions)


def test_an_old_key_opens_the_session_under_the_new_one(storage: Storage) -> None:
    """`open`, `peek`, `in` and `delete` take the old key, because a timer may have kept it."""
    sessions = members(storage)
    set_fields(sessions, OLD_ANNA, counter=1)
    set_fields(sessions, OLD_BORIS, counter=1)
    kind_of(sessions).follow_group(OLD, NEW)

    set_fields(sessions, OLD_ANNA, counter=2)

    assert ({"counter": 2}, True) == (sessions.peek(OLD_ANNA), OLD_ANNA in sessions)
    assert (True, [NEW_ANNA]) == (sessions.delete(OLD_BORIS), list(sessions.keys()))


# The cost.


@pytest.mark.parametrize("function", READY_MADE)
def test_the_sessions_are_listed_once(function: Any) -> None:
    """The second message, and further ones, ask the storage nothing once all have moved."""
    storage = SpyStorage()
    host = counting_host(Sessions(storage=storage, get_storage_key=function))
    host.deliver(*written_in(BASIC_GROUP), told_in_group())
    calls = storage.calls.copy()

    host.deliver(*(tell() for tell in TELLINGS.values()))

    is_whole = function in (by_sender, by_chat)
    assert (0 if is_whole else 1, calls) == (calls["keys"], storage.calls)


def test_a_session_that_has_moved_costs_as_much_as_before() -> None:
    """From its second use in the supergroup on, an update is one read and one write again."""
    storage = SpyStorage()
    host = counting_host(members(storage))
    host.deliver(told_in_group(), said("hi", chat=GROUP))
    storage.calls.clear()

    host.deliver(said("hi", chat=GROUP))
    host.deliver(said("hi", chat=BASIC_GROUP))

    assert {"hold": 2, "get": 2, "set": 2} == storage.calls


# Several processes.


@pytest.mark.parametrize("kind", ["sqlite", "redis", "postgres"])
def test_a_process_that_is_told_nothing_uses_the_new_keys(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture
) -> None:
    """One process moves the sessions; another one finds them, because updates have the new id."""
    with ExitStack() as stack:
        hosts, sessions = [], []
        for _ in range(2):
            storage = stack.enter_context(storage_of(kind, tmp_path, request))
            sessions.append(members(storage))
            hosts.append(counting_host(sessions[-1]))
        hosts[1].deliver(said("hi", chat=BASIC_GROUP))

        hosts[0].deliver(told_in_group())
        hosts[1].deliver(said("hi", chat=GROUP))
        hosts[1].deliver(TELLINGS["supergroup"](), said("hi", chat=GROUP))
        hosts[0].deliver(said("hi", chat=GROUP))

        expected = {NEW_ANNA: {"counter": 4}}
        assert [expected, expected] == [fields_by_key(each) for each in sessions]
    assert ([], [], []) == (hosts[0].raised, hosts[1].raised, caplog.records)
