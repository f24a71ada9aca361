"""Moved sessions: by `Sessions.move`, and by a bot whose groups become supergroups."""

from __future__ import annotations

import functools
import json
import logging
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import clocks
import pytest
from clocks import PATIENCE
from counted import CountedStorage
from cryptography.fernet import Fernet
from fields import fields_of, set_fields
from host import Host, make_host
from redis_server import FrozenRedisStorage
from telebot import TeleBot, apihelper, types, util
from updates import (
    ANNA,
    BASIC_GROUP,
    GROUP,
    OTHER_GROUP,
    UPDATE_IDS,
    button_press,
    message as message_json,
)

from telesession import (
    DecodeError,
    EncryptedCodec,
    JSONCodec,
    LockTimeoutError,
    MemoryStorage,
    RedisStorage,
    Session,
    SessionError,
    Sessions,
    SQLiteStorage,
    Storage,
    StorageError,
    by_chat,
    by_sender,
    by_topic,
    ttl,
    ttl_left,
    use_sequential_workers,
)
from telesession.keys import migrated_keys
from telesession.storage.base import Hold
from telesession.testing import OFFLINE_TOKEN, BotAPI, run_polling
from telesession.testing.storage_suite import in_thread, in_threads

if TYPE_CHECKING:
    from pathlib import Path

    from freezegun.api import FrozenDateTimeFactory

SECRET = "hunter2"
FIELDS = {
    "counter": 3,
    "log": [(1, {"a": None}), {2, 3}],
    "when": datetime(2026, 1, 1, tzinfo=UTC),
    "text": "one pot of sencha, \N{HOT BEVERAGE}",
}

clock = clocks.clock

ENCRYPTED = EncryptedCodec(JSONCodec(), keys=[Fernet.generate_key()])
KINDS = ["memory", "memory-json", "memory-encrypted", "sqlite", "sqlite-encrypted", "redis"]


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> Any:
    return request.param


@contextmanager
def storage_of(
    kind: str,
    path: Path,
    request: pytest.FixtureRequest,
    clock: FrozenDateTimeFactory | None = None,
) -> Iterator[Storage]:
    """An empty storage; the server is started only for those who need it."""
    storage: Storage
    if kind == "redis":
        server = request.getfixturevalue("server")
        storage = RedisStorage(server.url) if clock is None else FrozenRedisStorage(server, clock)
    elif kind.startswith("sqlite"):
        codec = ENCRYPTED if kind.endswith("encrypted") else JSONCodec()
        storage = SQLiteStorage(path / "sessions.db", codec=codec)
    else:
        codecs = {"memory-json": JSONCodec(), "memory-encrypted": ENCRYPTED}
        storage = MemoryStorage(codec=codecs.get(kind))
    with storage:
        yield storage


@pytest.fixture
def storage(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Storage]:
    with storage_of(kind, tmp_path, request) as storage:
        yield storage


@pytest.fixture
def frozen_storage(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest, clock: FrozenDateTimeFactory
) -> Iterator[Storage]:
    """A storage whose time is that of the clock."""
    with storage_of(kind, tmp_path, request, clock) as storage:
        yield storage


def record_of(storage: Storage, key: str) -> dict[str, Any] | None:
    """What a storage has of a key, decoded."""
    payload = storage.get(key)
    return None if payload is None else storage.codec.decode(payload, key)


def payloads(storage: Storage) -> dict[str, bytes | None]:
    return {key: storage.get(key) for key in list(storage.keys())}


def stored(sessions: Sessions[Session]) -> dict[str, Any]:
    """The fields of all sessions, by their keys."""
    return {key: sessions.peek(key) for key in list(sessions.keys())}


# A session gets another key.


@pytest.mark.parametrize("prefix", ["", "shop:"])
@pytest.mark.parametrize(("old", "new"), [("1", "2"), (2, 1), ("chat:-5", "chat:-1005")])
def test_a_session_moves_with_its_fields(
    old: str | int, new: str | int, prefix: str, storage: Storage
) -> None:
    """All fields come along, with their types, to the other key; others stay where they are."""
    sessions = Sessions(storage=storage, prefix=prefix)
    set_fields(sessions, old, **FIELDS)
    set_fields(sessions, "other", **FIELDS)

    moved = sessions.move(old, new)

    assert (True, FIELDS, {str(new), "other"}) == (
        moved,
        fields_of(sessions, new),
        set(sessions.keys()),
    )
    assert (None, FIELDS) == (sessions.peek(old), sessions.peek("other"))


def test_a_session_moves_back_and_on(storage: Storage) -> None:
    """A key that a session has left is free for the next one."""
    sessions = Sessions(storage=storage)
    set_fields(sessions, "1", counter=1)

    moved = [sessions.move(*keys) for keys in ("12", "21", "13")]
    set_fields(sessions, "1", counter=2)
    moved.append(sessions.move("1", "2"))

    assert ([True] * 4, {"2": {"counter": 2}, "3": {"counter": 1}}) == (moved, stored(sessions))


def test_deadlines_move_exactly(frozen_storage: Storage, clock: FrozenDateTimeFactory) -> None:
    """A field with a lifetime ends when it would have ended, also one that is over already."""
    sessions = Sessions(storage=frozen_storage)
    set_fields(sessions, "1", code=ttl("1234", 100), gone=ttl("5678", 10), name="Anna")
    before = record_of(frozen_storage, "1")
    clock.tick(60)

    sessions.move("1", "2")

    assert before == record_of(frozen_storage, "2")
    with sessions.open("2") as session:
        assert (40, {"code": "1234", "name": "Anna"}) == (ttl_left(session, "code"), dict(session))
    clock.tick(40 - clocks.MICROSECOND)
    assert {"code": "1234", "name": "Anna"} == sessions.peek("2")
    clock.tick(clocks.MICROSECOND)
    assert {"name": "Anna"} == sessions.peek("2")


def test_a_moved_mark_outlives_its_value(
    frozen_storage: Storage, clock: FrozenDateTimeFactory
) -> None:
    """A field that is over when it moves has its full lifetime once it is assigned again."""
    sessions = Sessions(storage=frozen_storage)
    set_fields(sessions, "1", code=ttl("1234", 100), name="Anna")
    clock.tick(100)

    sessions.move("1", "2")
    set_fields(sessions, "2", code="9876")
    clock.tick(99)

    assert {"code": "9876", "name": "Anna"} == sessions.peek("2")
    clock.tick(1)
    assert {"name": "Anna"} == sessions.peek("2")


def test_a_move_is_a_use(frozen_storage: Storage, clock: FrozenDateTimeFactory) -> None:
    """The `lifetime` of a session begins anew when it moves."""
    sessions = Sessions(storage=frozen_storage, lifetime=100)
    set_fields(sessions, "1", counter=1)
    clock.tick(90)

    sessions.move("1", "2")
    clock.tick(99)

    assert {"counter": 1} == sessions.peek("2")
    clock.tick(1)
    assert (None, False) == (sessions.peek("2"), sessions.move("2", "1"))


def test_a_session_whose_lifetime_is_over_does_not_move(
    frozen_storage: Storage, clock: FrozenDateTimeFactory
) -> None:
    """What has expired is not there to be moved, and is not there to be in the way."""
    sessions = Sessions(storage=frozen_storage, lifetime=100)
    set_fields(sessions, "1", counter=1)
    clock.tick(50)
    set_fields(sessions, "2", counter=2)
    clock.tick(50)

    moved = sessions.move("1", "2"), sessions.move("2", "1")

    assert ((False, True), {"counter": 2}) == (moved, sessions.peek("1"))


class SlowStorage(MemoryStorage):
    """A storage whose writes take a minute."""

    def __init__(self, clock: FrozenDateTimeFactory) -> None:
        super().__init__()
        self.clock = clock

    def set(self, key: str, payload: bytes, lifetime: float | None = None) -> None:
        super().set(key, payload, lifetime)
        self.clock.tick(60)


def test_a_session_that_expires_on_its_way_was_moved(clock: FrozenDateTimeFactory) -> None:
    """There was one to move, even if its old record expires while the new one is written."""
    sessions = Sessions(storage=SlowStorage(clock), lifetime=100)
    set_fields(sessions, "1", counter=1)

    moved = sessions.move("1", "2")

    assert (True, ["2"]) == (moved, list(sessions.keys()))


@pytest.mark.parametrize("version", [1, 2, 3], ids=["newer", "same", "older"])
def test_the_version_of_a_record_stays(version: int, storage: Storage) -> None:
    """A move neither migrates nor stamps: not a record of an older version, nor of a newer one."""

    def rename(fields):
        fields["count"] = fields.pop("counter")

    written = Sessions(storage=storage, version=2)
    set_fields(written, "1", counter=3)
    before = record_of(storage, "1")
    mover = Sessions(
        storage=storage, version=version, migrations={3: rename} if version == 3 else {}
    )

    mover.move("1", "2")

    assert ({"fields": {"counter": 3}, "version": 2}, before) == (before, record_of(storage, "2"))
    reader = Sessions(storage=storage, version=3, migrations={3: rename})
    assert {"count": 3} == reader.peek("2")


def test_a_payload_is_made_for_its_new_key(tmp_path: Path) -> None:
    """An encrypted payload is bound to its key: a copy of the bytes would not do, a move does."""
    with SQLiteStorage(tmp_path / "sessions.db", codec=ENCRYPTED) as storage:
        sessions = Sessions(storage=storage)
        set_fields(sessions, "1", **FIELDS)
        storage.set("copy", storage.get("1") or b"")

        sessions.move("1", "2")

        assert FIELDS == sessions.peek("2")
        with pytest.raises(DecodeError, match="another storage key"):
            sessions.peek("copy")


# What is not moved.


@pytest.mark.parametrize("there", [False, True], ids=["nothing-there", "one-there"])
def test_where_there_is_none_nothing_happens(there: bool, storage: Storage) -> None:
    """No session to move: false, and one that is under the new key stays as it is."""
    sessions = Sessions(storage=storage)
    if there:
        set_fields(sessions, "2", counter=2)
    before = payloads(storage)

    assert (False, before) == (sessions.move("1", "2"), payloads(storage))


def test_a_move_to_another_session_is_refused(storage: Storage) -> None:
    """Another session under the new key: an error that names both, and neither is changed."""
    sessions = Sessions(storage=storage, prefix="shop:")
    set_fields(sessions, "1", secret=SECRET, code=ttl(SECRET, 1000))
    set_fields(sessions, "2", secret=SECRET)
    before = payloads(storage)

    with pytest.raises(SessionError, match=r"'shop:1' to 'shop:2'.*already.*delete") as caught:
        sessions.move("1", "2")

    assert (SessionError, False) == (type(caught.value), SECRET in str(caught.value))
    assert before == payloads(storage)
    assert [True, True] == [is_free(storage, key) for key in before]


def is_free(storage: Storage, key: str) -> bool:
    """Whether nobody holds the lock of a key."""
    try:
        with storage.hold(key, 0):
            return True
    except LockTimeoutError:
        return False


@pytest.mark.parametrize("damaged", ["1", "2"])
def test_a_damaged_record_is_not_moved(damaged: str, storage: Storage) -> None:
    """A record that cannot be read, on either side: an error with its key, and all stays."""
    sessions = Sessions(storage=storage)
    set_fields(sessions, "1", counter=1)
    storage.set(damaged, f"\x80\x05{SECRET}".encode("latin-1"))
    before = payloads(storage)

    with pytest.raises(DecodeError) as caught:
        sessions.move("1", "2")

    assert (damaged, False) == (caught.value.key, SECRET in str(caught.value))
    assert before == payloads(storage)
    assert [True, True] == [is_free(storage, key) for key in "12"]


@pytest.mark.parametrize("name", ["one", "two"])
@pytest.mark.parametrize("opened", ["1", "2"])
def test_a_handler_cannot_move_what_it_has(opened: str, name: str, storage: Storage) -> None:
    """In a handler that has one of the two: an error at once, which no time-out has to end."""
    sessions = Sessions(storage=storage, lock_timeout=0)
    others = {"one": sessions, "two": Sessions(storage=storage, name="two", lock_timeout=0)}
    set_fields(sessions, "1", counter=1)

    with sessions.open(opened) as session:
        with pytest.raises(SessionError, match="handler") as caught:
            others[name].move("1", "2")
        session.counter = session.get("counter", 0) + 1

    # Not the LockTimeoutError that waiting would have ended with.
    assert SessionError is type(caught.value)
    expected = {"1": {"counter": 2}} if opened == "1" else {k: {"counter": 1} for k in "12"}
    assert expected == stored(sessions)


def test_a_handler_can_move_other_sessions(storage: Storage) -> None:
    """A handler that has a third session moves those of others like everybody."""
    sessions = Sessions(storage=storage)
    set_fields(sessions, "1", counter=1)

    with sessions.open("3") as session:
        session.moved = sessions.move("1", "2")

    assert {"2": {"counter": 1}, "3": {"moved": True}} == stored(sessions)


@pytest.mark.parametrize("key", [5, "5"])
def test_a_move_to_the_same_key_says_whether_there_is_one(key: str | int) -> None:
    """From a key to itself, however it is spelled: nothing is locked or written."""
    storage = CountedStorage()
    sessions = Sessions(storage=storage)

    before = sessions.move(key, 5)
    set_fields(sessions, "5", counter=1)
    calls = storage.calls.copy()
    with storage.hold("5"):
        after = sessions.move(5, key)

    assert (False, True, calls) == (before, after, storage.calls)


@pytest.mark.parametrize("keys", [("", "2"), ("1", ""), (None, "2"), ("1", 2.5), ("1", True)])
def test_what_is_no_key_is_refused(keys: tuple[Any, Any], storage: Storage) -> None:
    """A key is a non-empty `str` or an `int`; anything else is a `TypeError`, and nothing moves."""
    sessions = Sessions(storage=storage)
    set_fields(sessions, "1", counter=1)

    with pytest.raises(TypeError, match="key of a session"):
        sessions.move(*keys)

    assert ["1"] == list(sessions.keys())


# A move that was interrupted.


class BrokenStorage(MemoryStorage):
    """A storage of which one method fails once, when it was told to."""

    method = ""

    def get(self, key: str) -> bytes | None:
        self._fail("get", key)
        return super().get(key)

    def set(self, key: str, payload: bytes, lifetime: float | None = None) -> None:
        self._fail("set", key)
        super().set(key, payload, lifetime)

    def delete(self, key: str) -> bool:
        self._fail("delete", key)
        return super().delete(key)

    def _fail(self, method: str, key: str) -> None:
        if method == self.method:
            self.method = ""
            raise StorageError(method, key, "the disk is full")


@pytest.mark.parametrize(
    ("method", "left"), [("get", "1"), ("set", "1"), ("delete", "12")], ids=["get", "set", "delete"]
)
def test_a_move_that_failed_loses_nothing_and_is_ended_by_another(method: str, left: str) -> None:
    """Whichever step fails, the session is there; between write and delete it is there twice."""
    storage = BrokenStorage()
    sessions = Sessions(storage=storage)
    set_fields(sessions, "1", **FIELDS)
    storage.method = method

    with pytest.raises(StorageError, match="disk is full"):
        sessions.move("1", "2")
    between = stored(sessions)
    moved = sessions.move("1", "2")

    assert (dict.fromkeys(left, FIELDS), True, {"2": FIELDS}) == (
        between,
        moved,
        stored(sessions),
    )


class LateHold(Hold):
    """Exclusive use of a key whose writes take effect at `flush` or at its end, as on a server."""

    def __init__(self, storage: Storage, key: str, timeout: float | None) -> None:
        super().__init__(storage, key, timeout)
        self._late: list[Callable[[], object]] = []

    def set(self, payload: bytes, lifetime: float | None = None) -> None:
        self._late.append(functools.partial(super().set, payload, lifetime))

    def delete(self) -> bool:
        self._late.append(super().delete)
        return True

    def flush(self) -> None:
        while self._late:
            self._late.pop(0)()

    def __exit__(self, *error: object) -> None:
        try:
            self.flush()
        finally:
            super().__exit__(*error)


class LateStorage(BrokenStorage):
    def hold(self, key: str, timeout: float | None = None) -> LateHold:
        return LateHold(self, key, timeout)


@pytest.mark.parametrize("method", ["set", "delete"])
@pytest.mark.parametrize(("old", "new"), ["12", "21"])
def test_nothing_is_deleted_before_the_write_has_taken_effect(
    old: str, new: str, method: str
) -> None:
    """A storage that writes at the end of a hold loses nothing either, whichever way it goes."""
    storage = LateStorage()
    sessions = Sessions(storage=storage)
    set_fields(sessions, old, **FIELDS)
    storage.method = method

    with pytest.raises(StorageError, match="disk is full"):
        sessions.move(old, new)
    between = stored(sessions)
    moved = sessions.move(old, new)

    left = old if method == "set" else "12"
    assert (dict.fromkeys(left, FIELDS), True, {new: FIELDS}) == (between, moved, stored(sessions))


def interrupt_move(storage: Storage, sessions: Sessions[Session]) -> None:
    """Move from 1 to 2, and leave what a crash between the write and the delete leaves."""
    payload = storage.get("1") or b""
    sessions.move("1", "2")
    storage.set("1", payload)


def test_to_repeat_an_interrupted_move_ends_it(storage: Storage) -> None:
    """What both records say is the same, in whatever bytes: the old one goes, once and for all."""
    sessions = Sessions(storage=storage)
    set_fields(sessions, "1", **FIELDS, code=ttl("1234", 1000))
    before = record_of(storage, "1")
    interrupt_move(storage, sessions)

    moved = [sessions.move("1", "2"), sessions.move("1", "2")]

    assert ([True, False], ["2"]) == (moved, list(sessions.keys()))
    assert before == record_of(storage, "2")


def test_an_interrupted_move_survives_a_new_key_of_the_codec() -> None:
    """A record that was encrypted with an older key says what it says all the same."""
    store: dict[str, bytes] = {}
    old_key, new_key = Fernet.generate_key(), Fernet.generate_key()
    former = MemoryStorage(store, codec=EncryptedCodec(JSONCodec(), keys=[old_key]))
    set_fields(Sessions(storage=former), "1", **FIELDS)
    interrupt_move(former, Sessions(storage=former))
    codec = EncryptedCodec(JSONCodec(), keys=[new_key, old_key])

    sessions = Sessions(storage=MemoryStorage(store, codec=codec))
    moved = sessions.move("1", "2")

    assert (True, ["2"], FIELDS) == (moved, list(store), sessions.peek("2"))


def test_the_end_of_an_interrupted_move_is_a_use(
    frozen_storage: Storage, clock: FrozenDateTimeFactory
) -> None:
    """The `lifetime` begins anew with the move that ends it, not with the one that began it."""
    sessions = Sessions(storage=frozen_storage, lifetime=100)
    set_fields(sessions, "1", counter=1)
    interrupt_move(frozen_storage, sessions)
    clock.tick(90)

    sessions.move("1", "2")
    clock.tick(99)

    assert {"counter": 1} == sessions.peek("2")


def test_an_interrupted_move_does_not_undo_what_came_after(storage: Storage) -> None:
    """Once the new session has changed it is another one: refused, and neither is changed."""
    sessions = Sessions(storage=storage)
    set_fields(sessions, "1", counter=1)
    interrupt_move(storage, sessions)
    set_fields(sessions, "2", counter=2)
    before = payloads(storage)

    with pytest.raises(SessionError, match="already"):
        sessions.move("1", "2")

    assert before == payloads(storage)


# Whoever uses one of the two is waited for.


class Asked:
    """A storage that says when a key is asked for, to be put in front of another one."""

    def __init__(self, storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
        self._hold = storage.hold
        self._asked: dict[str, threading.Event] = {}
        monkeypatch.setattr(storage, "hold", self.hold)

    def hold(self, key: str, timeout: float | None = None) -> AbstractContextManager[Hold]:
        self.event(key).set()
        return self._hold(key, timeout)

    def event(self, key: str) -> threading.Event:
        return self._asked.setdefault(key, threading.Event())


@pytest.mark.parametrize("used", ["1", "2"])
def test_a_move_waits_for_those_who_use_one_of_the_two(
    used: str, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a handler does with the old session while the move waits moves with it."""
    sessions = Sessions(storage=storage)
    set_fields(sessions, "1", counter=1)
    with ThreadPoolExecutor(1) as pool:
        with sessions.open(used) as session:
            asked = Asked(storage, monkeypatch)
            moving = pool.submit(sessions.move, "1", "2")
            assert asked.event(used).wait(PATIENCE)
            assert False is moving.done()
            if used == "1":
                session.counter += 1
        moved = moving.result(PATIENCE)

    expected = {"counter": 2 if used == "1" else 1}
    assert (True, None, expected) == (moved, sessions.peek("1"), sessions.peek("2"))


@pytest.mark.parametrize("busy", ["1", "2"])
def test_a_move_gives_up_after_the_lock_timeout(busy: str, storage: Storage) -> None:
    """A session that stays busy: `LockTimeoutError` with its key, and nothing has changed."""
    sessions = Sessions(storage=storage, lock_timeout=0, prefix="shop:")
    set_fields(sessions, "1", counter=1)
    before = payloads(storage)

    with storage.hold(f"shop:{busy}"), pytest.raises(LockTimeoutError) as caught:
        sessions.move("1", "2")

    assert (f"shop:{busy}", 0) == (caught.value.key, caught.value.seconds)
    assert before == payloads(storage)
    assert [True, True] == [is_free(storage, f"shop:{key}") for key in "12"]


def increment(sessions: Sessions[Session], times: int) -> None:
    """Count in the session, under whichever of the two keys it is at the time."""
    left = times
    while left:
        for key in "12":
            with sessions.open(key) as session:
                if session and left:
                    session.counter += 1
                    left -= 1


def count_on_the_move(storage: Storage, threads: int, times: int) -> dict[str, Any]:
    """What is stored after increments under both keys, while the session moves to and fro."""
    sessions = Sessions(storage=storage)
    set_fields(sessions, "1", counter=0)
    counting: list[Callable[[], Any]] = [lambda: increment(sessions, times)] * threads
    moving = [
        lambda keys=keys: [sessions.move(*keys) for _ in range(times)] for keys in ("12", "21")
    ]
    in_threads([*counting, *moving])
    return stored(sessions)


def test_increments_during_moves_are_not_lost(storage: Storage) -> None:
    """Threads count under both keys while others move the session to and fro: all is counted."""
    left = count_on_the_move(storage, threads=3, times=25)

    assert [{"counter": 75}] == list(left.values())


class UnlockedStorage(MemoryStorage):
    """A storage whose locks do nothing, where two threads have read before anybody writes."""

    def __init__(self) -> None:
        super().__init__()
        self.both_have_read: threading.Barrier | None = None
        self._thread = threading.local()

    def hold(self, key: str, timeout: float | None = None) -> AbstractContextManager[Hold]:
        return nullcontext(Hold(self, key, timeout))

    def get(self, key: str) -> bytes | None:
        payload = super().get(key)
        if self.both_have_read is not None and payload and not vars(self._thread):
            self._thread.has_read = True
            self.both_have_read.wait()
        return payload


def test_without_locks_increments_during_moves_are_lost() -> None:
    """The control: where locks do nothing, a move and an increment tear the session in two."""
    storage = UnlockedStorage()
    sessions = Sessions(storage=storage)
    set_fields(sessions, "1", counter=0)
    storage.both_have_read = threading.Barrier(2, timeout=PATIENCE)

    in_threads([lambda: increment(sessions, 1), lambda: sessions.move("1", "2")])
    storage.both_have_read = None
    left = stored(sessions)

    # Either the old session has come back with the increment, or the increment is gone.
    assert {"counter": 0} == left["2"]
    assert [{"counter": 1}] != list(left.values())


def test_moves_that_cross_do_not_wait_for_each_other_forever(storage: Storage) -> None:
    """Moves between the same keys take their locks in one order, whichever way they go."""
    sessions = Sessions(storage=storage, lock_timeout=PATIENCE)
    set_fields(sessions, "1", counter=1)

    def move_often(old: str, new: str) -> None:
        for _ in range(20):
            sessions.move(old, new)

    in_threads([lambda: move_often("1", "2"), lambda: move_often("2", "1")] * 2)

    assert [{"counter": 1}] == list(stored(sessions).values())


# A group becomes a supergroup.

OLD, NEW = f"chat:{BASIC_GROUP['id']}", f"chat:{GROUP['id']}"


def update_of(message: dict[str, Any], kind: str = "message") -> types.Update:
    return types.Update.de_json(json.dumps({"update_id": next(UPDATE_IDS), kind: message}))


def said(text: str, chat: dict[str, Any]) -> types.Update:
    return update_of(message_json(chat, ANNA, text=text))


def told(chat: dict[str, Any], **fields: Any) -> types.Update:
    """A service message, which has no text."""
    message = message_json(chat, ANNA, **fields)
    del message["text"]
    return update_of(message)


def told_in_group() -> types.Update:
    return told(BASIC_GROUP, migrate_to_chat_id=GROUP["id"])


def told_in_supergroup() -> types.Update:
    return told(GROUP, migrate_from_chat_id=BASIC_GROUP["id"])


TELLINGS = {"group": told_in_group, "supergroup": told_in_supergroup}
ORDERS = [("group", "supergroup"), ("supergroup", "group")]


def by_chats(storage: Storage | None = None, **options: Any) -> Sessions[Session]:
    return Sessions(storage=storage or MemoryStorage(), get_storage_key=by_chat, **options)


@pytest.mark.parametrize("where", TELLINGS)
def test_the_keys_of_a_migration_are_those_of_by_chat(where: str) -> None:
    """Told in either chat, the keys are what `by_chat` gives for messages of the two."""
    expected = by_chat(said("hi", BASIC_GROUP).message), by_chat(said("hi", GROUP).message)

    assert (OLD, NEW) == expected == migrated_keys(TELLINGS[where]().message)


@pytest.mark.parametrize("message", [None, said("hi", GROUP).message, told(GROUP).message])
def test_other_messages_tell_of_no_migration(message: Any) -> None:
    """Without a message, or with any other, there is nothing to follow."""
    assert None is migrated_keys(message)


@pytest.mark.parametrize("order", ORDERS, ids="-".join)
def test_the_session_of_a_group_follows_it(
    order: tuple[str, str], host: Host, caplog: pytest.LogCaptureFixture
) -> None:
    """In either order of arrival the session moves with the first message, and is there at once."""
    sessions = by_chats(prefix="shop:")
    set_fields(sessions, OLD, counter=1)
    sessions.attach(host.bot, follow_migrations=True)

    host.deliver(TELLINGS[order[0]]())
    first = stored(sessions)
    host.deliver(TELLINGS[order[1]]())

    assert ([], {NEW: {"counter": 1}}) == (host.raised, first)
    assert (first, []) == (stored(sessions), caplog.records)


@pytest.mark.parametrize("order", ORDERS, ids="-".join)
def test_the_session_of_a_group_follows_it_once(
    order: tuple[str, str], host: Host, caplog: pytest.LogCaptureFixture
) -> None:
    """A second telling, and a third, change nothing, though the new session has changed since."""
    sessions = by_chats()
    set_fields(sessions, OLD, counter=1)
    sessions.attach(host.bot, follow_migrations=True)
    host.bot.register_message_handler(count, content_types=["text"])

    host.deliver(TELLINGS[order[0]](), said("hi", GROUP), TELLINGS[order[1]]())
    host.deliver(*(tell() for tell in TELLINGS.values()), said("hi", GROUP))

    assert ([], {NEW: {"counter": 3}}) == (host.raised, stored(sessions))
    assert [] == caplog.records


def count(message, session):
    session.counter = session.get("counter", 0) + 1


@pytest.mark.parametrize("order", ORDERS, ids="-".join)
def test_a_session_that_began_in_the_supergroup_stays(
    order: tuple[str, str], simple_host: Host, caplog: pytest.LogCaptureFixture
) -> None:
    """Where the group had no session, that of the supergroup is left alone."""
    sessions = by_chats()
    set_fields(sessions, NEW, counter=5)
    sessions.attach(simple_host.bot, follow_migrations=True)

    simple_host.deliver(*(TELLINGS[where]() for where in order))

    assert ([], {NEW: {"counter": 5}}, []) == (
        simple_host.raised,
        stored(sessions),
        caplog.records,
    )


@pytest.mark.parametrize("where", TELLINGS)
@pytest.mark.parametrize("threads", ["one-thread", "threads"])
def test_it_moves_before_the_handlers_of_the_batch(where: str, threads: str) -> None:
    """A message of the supergroup that comes in front of the news finds the session moved."""
    sessions = by_chats()
    set_fields(sessions, OLD, counter=1)
    with contextmanager(make_host)(threads) as host:
        sessions.attach(host.bot, follow_migrations=True)
        host.bot.register_message_handler(count, content_types=["text"])
        host.bot.process_new_updates([said("hi", GROUP), TELLINGS[where](), said("hi", GROUP)])
        host.deliver(said("hi", OTHER_GROUP))

    assert [] == host.raised
    assert {NEW: {"counter": 3}, f"chat:{OTHER_GROUP['id']}": {"counter": 1}} == stored(sessions)


@pytest.mark.parametrize("threads", ["one-thread", "threads"])
def test_what_still_comes_from_the_old_chat_finds_the_session_moved(threads: str) -> None:
    """A late message of the group revives nothing: it counts for the supergroup's session."""
    sessions = by_chats()
    set_fields(sessions, OLD, counter=1)
    with contextmanager(make_host)(threads) as host:
        sessions.attach(host.bot, follow_migrations=True)
        host.bot.register_message_handler(count, content_types=["text", "migrate_to_chat_id"])
        host.bot.process_new_updates([said("hi", BASIC_GROUP), told_in_group()])
        host.deliver(said("hi", BASIC_GROUP), told_in_supergroup(), said("hi", GROUP))

    assert [] == host.raised
    assert {NEW: {"counter": 5}} == stored(sessions)


@pytest.mark.parametrize("first", ["workers", "attach"])
def test_the_news_are_known_before_the_batch_whatever_was_set_up_first(first: str) -> None:
    """Sequential workers get updates one by one, and yet nothing in front of the news is early."""
    sessions = by_chats()
    set_fields(sessions, OLD, counter=1)
    bot = TeleBot(OFFLINE_TOKEN)
    handled = threading.Barrier(2, timeout=PATIENCE)
    set_up = [
        lambda: use_sequential_workers(bot, get_key=by_chat, limit=1),
        lambda: sessions.attach(bot, follow_migrations=True),
    ]
    for step in set_up if first == "workers" else reversed(set_up):
        step()
    bot.register_message_handler(count, content_types=["text"])
    bot.register_message_handler(lambda _: handled.wait(), content_types=["migrate_from_chat_id"])

    batch = [said("hi", GROUP) for _ in range(3)]
    bot.process_new_updates([*batch, told_in_supergroup()])
    handled.wait()
    bot.stop_bot()

    assert {NEW: {"counter": 4}} == stored(sessions)


def test_next_steps_of_the_supergroup_find_the_session_moved(simple_host: Host) -> None:
    """The first message of a batch is not handled before the last one was looked at."""
    sessions = by_chats()
    set_fields(sessions, OLD, counter=1)
    sessions.attach(simple_host.bot, follow_migrations=True)
    simple_host.bot.register_next_step_handler_by_chat_id(GROUP["id"], count)

    simple_host.bot.process_new_updates([said("hi", GROUP), told_in_supergroup()])

    assert ([], {NEW: {"counter": 2}}) == (simple_host.raised, stored(sessions))


def test_a_handler_of_the_group_that_still_runs_is_waited_for(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What it does with the session comes along: the supergroup waits for it, and nobody else."""
    storage = MemoryStorage()
    sessions, asked = by_chats(storage), Asked(storage, monkeypatch)
    runs, may_return = threading.Event(), threading.Event()
    set_fields(sessions, OLD, counter=1)
    with contextmanager(make_host)("threads") as host:
        sessions.attach(host.bot, follow_migrations=True)

        @host.bot.message_handler(func=lambda message: not runs.is_set())
        def handle(message, session):
            count(message, session)
            runs.set()
            may_return.wait(PATIENCE)

        host.bot.register_message_handler(count, content_types=["text"])
        host.bot.process_new_updates([said("hi", BASIC_GROUP)])
        assert runs.wait(PATIENCE)
        host.bot.process_new_updates([told_in_group()])
        asked.event(OLD).clear()
        host.bot.process_new_updates([said("hi", GROUP)])
        assert asked.event(OLD).wait(PATIENCE)
        between = list(sessions.keys())
        may_return.set()
        host.deliver(said("hi", GROUP), told_in_supergroup())

    assert ([], [OLD], {NEW: {"counter": 4}}) == (host.raised, between, stored(sessions))
    assert [] == caplog.records


# What is in the way costs no update.


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
    return [said("a", GROUP), told_in_group(), told_in_supergroup(), said("b", GROUP)]


def test_a_conflict_is_logged_and_loses_no_update(caplog: pytest.LogCaptureFixture) -> None:
    """Two sessions: both stay, the log has the keys and no value, and every handler is called."""
    storage = MemoryStorage()
    sessions = by_chats(storage)
    set_fields(sessions, OLD, secret=SECRET)
    set_fields(sessions, NEW, secret=SECRET[::-1])
    before = payloads(storage)
    host, got = listening_host(sessions)
    sessions.attach(host.bot, follow_migrations=True)

    host.bot.process_new_updates(all_of_them())

    assert ([], ALL_OF_THEM, before) == (host.raised, got, payloads(storage))
    logged = [(record.name, record.levelno) for record in caplog.records]
    assert [("telesession", logging.ERROR)] == logged
    for part in (OLD, NEW, "delete the one that shall go"):
        assert part in caplog.text
    assert (False, False) == (SECRET in caplog.text, SECRET[::-1] in caplog.text)


@pytest.mark.parametrize("busy", [OLD, NEW])
def test_a_busy_session_moves_when_it_is_next_used(
    busy: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The bot goes on at once, and whoever uses the session next moves it, or waits in vain."""
    storage = MemoryStorage()
    sessions = by_chats(storage, lock_timeout=0)
    set_fields(sessions, OLD, counter=1)
    host, got = listening_host(sessions)
    host.bot.message_handlers.reverse()

    with storage.hold(busy):
        host.bot.process_new_updates([told_in_group()])
        with pytest.raises(LockTimeoutError), sessions.open(NEW):
            pass
        between = list(sessions.keys()), sessions.peek(NEW), sessions.peek(OLD)
    with sessions.open(OLD) as session:
        session.counter += 1

    assert ([], ["migrate_to_chat_id"]) == (host.raised, got)
    assert ([OLD], {"counter": 1}, {"counter": 1}) == between
    assert ({NEW: {"counter": 2}}, []) == (stored(sessions), caplog.records)


def test_what_could_not_move_is_not_begun_anew(caplog: pytest.LogCaptureFixture) -> None:
    """A storage that fails while the news are told and later on: an error, and no new session."""
    storage = BrokenStorage()
    sessions = by_chats(storage)
    set_fields(sessions, OLD, counter=1)
    host = Host()
    sessions.attach(host.bot, follow_migrations=True)
    host.bot.register_message_handler(count, content_types=["text"])
    for update in (told_in_group(), said("hi", GROUP), said("hi", BASIC_GROUP)):
        storage.method = "get"
        host.deliver(update)
    host.deliver(said("hi", GROUP), told_in_supergroup(), said("hi", BASIC_GROUP))

    assert [StorageError, StorageError] == [type(error) for error in host.raised]
    assert {NEW: {"counter": 3}} == stored(sessions)
    assert [logging.WARNING] == [record.levelno for record in caplog.records]


@pytest.mark.parametrize("method", ["get", "set", "delete"])
def test_a_storage_that_fails_is_logged_and_loses_no_update(
    method: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A storage that fails at either step: logged, and the second telling ends the move."""
    storage = BrokenStorage()
    sessions = by_chats(storage)
    set_fields(sessions, OLD, secret=SECRET)
    host, got = listening_host(sessions)
    storage.method = method

    host.bot.process_new_updates(all_of_them())

    assert ([], ALL_OF_THEM) == (host.raised, got)
    assert (["telesession"], True, False) == (
        [record.name for record in caplog.records],
        "disk is full" in caplog.text,
        SECRET in caplog.text,
    )
    assert {NEW: {"secret": SECRET}} == stored(sessions)


def test_a_damaged_record_is_logged_and_left(caplog: pytest.LogCaptureFixture) -> None:
    """A record that cannot be read stays as it is, and its bytes are not logged."""
    storage = MemoryStorage({OLD: SECRET.encode()})
    host, got = listening_host(by_chats(storage))

    host.bot.process_new_updates(all_of_them())

    assert ([], ALL_OF_THEM) == (host.raised, got)
    assert ({OLD: SECRET.encode()}, 2, False) == (
        payloads(storage),
        len(caplog.records),
        SECRET in caplog.text,
    )


# Who follows.


def by_chat_or_nobody(update: Any) -> str:
    return by_chat(update) or "nobody"


@pytest.mark.parametrize("get_storage_key", [by_sender, by_topic, by_chat_or_nobody])
def test_only_sessions_of_chats_can_follow(get_storage_key: Callable[[Any], Any]) -> None:
    """With another `get_storage_key`: a `ValueError` that says so, and nothing is attached."""
    bot = TeleBot(OFFLINE_TOKEN, threaded=False)
    before = dict(vars(bot))

    with pytest.raises(ValueError, match="get_storage_key=by_chat"):
        Sessions(get_storage_key=get_storage_key).attach(bot, follow_migrations=True)

    assert before == vars(bot)


def test_several_sessions_follow_and_others_do_not(caplog: pytest.LogCaptureFixture) -> None:
    """Each of those that follow moves, also where another one cannot."""
    storage = MemoryStorage()
    names = ["stuck", "first", "stays", "second"]
    chats = {name: by_chats(storage, name=name, prefix=f"{name}:") for name in names}
    bot = TeleBot(OFFLINE_TOKEN, threaded=False)
    for name, sessions in chats.items():
        set_fields(sessions, OLD, name=name)
        sessions.attach(bot, follow_migrations=name != "stays")
    set_fields(chats["stuck"], NEW, name="another")

    bot.process_new_updates([told_in_group()])

    assert {"stuck": {OLD, NEW}, "first": {NEW}, "stays": {OLD}, "second": {NEW}} == {
        name: set(sessions.keys()) for name, sessions in chats.items()
    }
    assert [True] == ["stuck:" in record.getMessage() for record in caplog.records]


def test_sessions_follow_from_when_they_are_told_to_until_they_are_detached() -> None:
    """Attached once more with `follow_migrations` they follow; detached they do not."""
    bot = TeleBot(OFFLINE_TOKEN, threaded=False)
    chats = {name: by_chats(name=name) for name in ("session", "other")}
    for sessions in chats.values():
        sessions.attach(bot)
        sessions.attach(bot, follow_migrations=True)
        sessions.attach(bot)
        set_fields(sessions, OLD, counter=1)

    chats["other"].detach(bot)
    bot.process_new_updates([told_in_group()])
    kept = {name: list(sessions.keys()) for name, sessions in chats.items()}
    process = bot.process_new_updates
    chats["session"].detach(bot)
    again = {"id": -5}, {"id": -1005}
    set_fields(chats["session"], "chat:-5", counter=1)
    for feed in (process, bot.process_new_updates):
        feed([told({**BASIC_GROUP, **again[0]}, migrate_to_chat_id=again[1]["id"])])

    assert {"session": [NEW], "other": [OLD]} == kept
    assert [NEW, "chat:-5"] == list(chats["session"].keys())


@pytest.mark.parametrize("follow", [True, False])
def test_other_updates_cost_a_bot_that_follows_nothing(follow: bool) -> None:
    """Updates that tell of no migration, of any kind, do not touch the storage."""
    storage, bot = CountedStorage(), TeleBot(OFFLINE_TOKEN, threaded=False)
    by_chats(storage).attach(bot, follow_migrations=follow)

    pressed = button_press(ANNA, message=message_json(GROUP, ANNA))
    bot.process_new_updates([said("hi", GROUP), update_of(pressed, "callback_query")])
    bot.process_new_updates([])

    assert Counter() == storage.calls


def test_it_moves_before_function_middlewares(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a function middleware looks up is where it will stay."""
    monkeypatch.setattr(apihelper, "ENABLE_MIDDLEWARE", True)
    sessions, seen = by_chats(), []
    set_fields(sessions, OLD, counter=1)
    bot = TeleBot(OFFLINE_TOKEN, threaded=False)
    sessions.attach(bot, follow_migrations=True)

    @bot.middleware_handler(update_types=["message"])
    def look(bot, message):
        seen.append(sessions.peek(NEW))

    bot.process_new_updates([told_in_group()])

    assert [{"counter": 1}] == seen


@pytest.mark.parametrize("kind", ["memory", "sqlite-encrypted", "redis"])
def test_a_bot_that_polls_takes_the_session_along(
    storage: Storage, bot_api: BotAPI, caplog: pytest.LogCaptureFixture
) -> None:
    """A group in which the bot has counted becomes a supergroup, and the bot counts on there."""
    bot, sessions = TeleBot(OFFLINE_TOKEN, num_threads=4), by_chats(storage)
    sessions.attach(bot, follow_migrations=True)
    bot.register_message_handler(count, content_types=util.content_type_media)
    anna, group = bot_api.user(1), bot_api.group(-5, title="Kitchen")

    with run_polling(bot) as polling:
        for _ in range(3):
            anna.send("hi", chat=group)
        polling.wait_idle()
        supergroup = anna.upgrade(group, -1005)
        anna.send("hi", chat=supergroup)
        polling.wait_idle()

    assert ({"chat:-1005": {"counter": 4}}, []) == (stored(sessions), caplog.records)


def test_sessions_that_nobody_uses_are_moved_from_any_thread() -> None:
    """A timer or a thread may move a session while handlers of others run."""
    sessions = by_chats()
    set_fields(sessions, OLD, counter=1)

    with sessions.open("chat:0"):
        moved = in_thread(sessions.move, OLD, NEW)

    assert (True, {NEW: {"counter": 1}}) == (moved, stored(sessions))
