"""Rooms of a storage, and keys that can be handed back to where they came from."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
from telebot import TeleBot

from support.sessions import KEY, UPDATE, fields_of, set_fields
from support.storages import fields_by_key
from support.updates import TOKEN, said
from telesession import (
    DecodeError,
    EncodeError,
    LockTimeoutError,
    MemoryStorage,
    Session,
    SessionClosedError,
    Sessions,
    SQLiteStorage,
    Storage,
    StorageError,
    session_key,
)
from telesession.bot.states import SessionStateStorage
from telesession.moves import Moves
from telesession.sessions import kind_of, sessions_in_room

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

# Keys that a key function may give, users' text included.
KEYS = [
    "1",
    "@",
    "@@",
    "@1",
    "@@1",
    "@cart:1",
    "@@cart:1",
    "@telebot-states:1:::2:3",
    "@questions-1:sender_in_chat:1:1",
    "cart:1",
    "state:1",
    "ask:1:sender_in_chat:1:1",
    "shop:1",
    ":",
    "a b\N{HOT BEVERAGE}",
]
PREFIXES: list[dict[str, Any]] = [
    {},
    {"prefix": "shop:"},
    {"prefix": "shop@"},
    {"name": "cart"},
    {"name": "cart", "prefix": ""},
]
each_kind = pytest.mark.parametrize(
    "options", PREFIXES, ids=["plain", "prefix", "prefix with @", "room", "name without prefix"]
)


class TestRooms:
    """Records of sessions with another `name` than `session` lie in rooms of their own."""

    def test_two_names_are_two_sessions(self, each_storage: Storage) -> None:
        """A cart and a profile of one user are two records, and deleting one leaves the other."""
        carts = Sessions(storage=each_storage, name="cart")
        profiles = Sessions(storage=each_storage, name="profile")
        plain = Sessions(storage=each_storage)
        for number, sessions in enumerate((carts, profiles, plain)):
            set_fields(sessions, note=number)

        assert ["1", "@cart:1", "@profile:1"] == sorted(each_storage.keys())
        assert [True, False] == [profiles.delete(1), profiles.delete(1)]
        assert [{"note": 0}, None, {"note": 2}] == [
            sessions.peek(1) for sessions in (carts, profiles, plain)
        ]

    def test_a_prefix_is_still_said_by_hand(self, each_storage: Storage) -> None:
        """`prefix` takes the place of the room, and `""` is the place without one."""
        set_fields(Sessions(storage=each_storage, name="cart", prefix="shop:"), a=1)
        set_fields(Sessions(storage=each_storage, name="cart", prefix=""), a=2)

        assert ["1", "shop:1"] == sorted(each_storage.keys())
        assert {"a": 2} == Sessions(storage=each_storage).peek(1)

    @pytest.mark.parametrize("prefix", ["@", "@cart:", "@@", "@telebot-states:"])
    def test_a_prefix_cannot_be_a_room(self, prefix: str) -> None:
        """A `prefix` that begins with `@` is a `ValueError`, also for states."""
        with pytest.raises(ValueError, match="@"):
            Sessions(prefix=prefix)
        with pytest.raises(ValueError, match="@"):
            SessionStateStorage(MemoryStorage(), prefix=prefix)

    @pytest.mark.parametrize("name", ["telebot-states", "questions-1", "cart:1", "@cart", ""])
    def test_a_name_reaches_no_room_of_the_library(self, name: str) -> None:
        """Names are Python identifiers, and the library's own rooms have other names."""
        with pytest.raises(ValueError, match="name"):
            Sessions(name=name)

    def test_states_and_questions_have_rooms(self, each_storage: Storage) -> None:
        """Neither `keys` nor a bulk update of sessions meets states or questions."""
        states = SessionStateStorage(each_storage)
        states.set_state(1, 1, "here", bot_id=1)
        questions = sessions_in_room("@questions-1:", storage=each_storage)
        set_fields(questions, "sender_in_chat:1:1", step="step")
        sessions = Sessions(storage=each_storage)
        set_fields(sessions, a=1)

        assert ["1"] == list(sessions.keys())
        for key in list(sessions.keys()):
            set_fields(sessions, key, a=2)

        assert ("here", {"step": "step"}) == (
            states.get_state(1, 1, bot_id=1),
            questions.peek("sender_in_chat:1:1"),
        )

    @pytest.mark.parametrize(
        "text",
        [
            "@cart:1",
            "@telebot-states:1:::1:1",
            "@questions-1:sender_in_chat:1:1",
            "state:1:::1:1",
        ],
    )
    def test_no_text_of_a_user_reaches_a_room(self, each_storage: Storage, text: str) -> None:
        """A key function that returns users' text gives a session of its own for any text."""
        states = SessionStateStorage(each_storage)
        states.set_state(1, 1, "here", bot_id=1)
        set_fields(Sessions(storage=each_storage, name="cart"), a=1)
        set_fields(
            sessions_in_room("@questions-1:", storage=each_storage), "sender_in_chat:1:1", a=1
        )
        before = {key: each_storage.get(key) for key in list(each_storage.keys())}
        sessions = Sessions(storage=each_storage, get_storage_key=lambda message: message.text)

        @sessions.with_session
        def handle(message: Any, session: Session) -> int:
            fields = len(session)
            session.hacked = True
            return fields

        found = handle(said(text).message)

        after = {key: each_storage.get(key) for key in list(each_storage.keys())}
        (made,) = set(after) - set(before)
        assert (0, before) == (found, {key: after[key] for key in before})
        assert ([text], {"hacked": True}) == (list(sessions.keys()), sessions.peek(text))
        assert made == (f"@{text}" if text.startswith("@") else text)

    def test_a_bot_with_states_and_sessions(self, each_storage: Storage) -> None:
        """A bot may keep its states and its sessions in one storage."""
        bot = TeleBot(TOKEN, threaded=False, state_storage=SessionStateStorage(each_storage))
        sessions = Sessions(storage=each_storage)
        bot.set_state(1, "here", 1)
        set_fields(sessions, a=1)

        assert ("here", ["1"]) == (bot.get_state(1, 1), list(sessions.keys()))
        sessions.delete(1)
        assert "here" == bot.get_state(1, 1)


class TestKeysGoRound:
    """`session_key`, `keys()` and an error's `key` can be handed back to the same `Sessions`."""

    @each_kind
    def test_no_two_keys_are_one_record(
        self, each_storage: Storage, options: dict[str, Any]
    ) -> None:
        """Every key has a session of its own, which all ways find."""
        sessions = Sessions(storage=each_storage, **options)
        for key in KEYS:
            set_fields(sessions, key, text=key)

        assert sorted(KEYS) == sorted(sessions.keys())
        assert {key: {"text": key} for key in KEYS} == fields_by_key(sessions)
        assert len(KEYS) == len(list(each_storage.keys()))

    def test_no_kind_sees_the_records_of_another(self, each_storage: Storage) -> None:
        """Sessions in rooms and outside see their own keys, in one storage."""
        kinds = [Sessions(storage=each_storage, name=name) for name in ("session", "cart", "carts")]
        for number, sessions in enumerate(kinds):
            for key in KEYS:
                set_fields(sessions, key, text=key, number=number)

        for number, sessions in enumerate(kinds):
            expected = {key: {"text": key, "number": number} for key in KEYS}
            assert expected == fields_by_key(sessions)
        assert 3 * len(KEYS) == len(list(each_storage.keys()))

    @each_kind
    @pytest.mark.parametrize("key", KEYS)
    def test_session_key(self, storage: MemoryStorage, options: dict[str, Any], key: str) -> None:
        """What `session_key` gives opens the same session, is peeked at and deleted."""
        sessions = Sessions(storage=storage, **options)

        with sessions.open(key) as session:
            session.a = 1
            again = session_key(session)
            with sessions.open(again) as same:
                assert same is session

        assert (key, {"a": 1}, True) == (again, sessions.peek(again), sessions.delete(again))

    @each_kind
    @pytest.mark.parametrize("key", KEYS)
    def test_a_decorator_and_open_agree(
        self, storage: MemoryStorage, options: dict[str, Any], key: str
    ) -> None:
        """A key that a key function returns is the one that `open` takes."""
        sessions = Sessions(storage=storage, get_storage_key=lambda message: key, **options)
        name = options.get("name", "session")

        def handle(message: Any, session: Any = None, cart: Any = None) -> str:
            used = session if cart is None else cart
            used.a = 1
            return session_key(used)

        given = sessions.with_session(handle)(UPDATE.message)

        assert (key, {"a": 1}, [key]) == (given, fields_of(sessions, key), list(sessions.keys()))
        assert name == kind_of(sessions).name

    @each_kind
    def test_prefixes_of_keys(self, storage: MemoryStorage, options: dict[str, Any]) -> None:
        """`keys(prefix)` compares with the keys as users know them."""
        sessions = Sessions(storage=storage, **options)
        for key in KEYS:
            set_fields(sessions, key, a=1)

        for prefix in ("", "@", "@@", "@c", "@cart:", "cart", "1", "s", "nothing"):
            expected = sorted(key for key in KEYS if key.startswith(prefix))
            assert expected == sorted(sessions.keys(prefix))

    @each_kind
    def test_a_move(self, storage: MemoryStorage, options: dict[str, Any]) -> None:
        """Keys from `keys()` can be moved to any other key, and back."""
        sessions = Sessions(storage=storage, **options)
        set_fields(sessions, "1", a=1)

        for key in KEYS[1:]:
            (old,) = sessions.keys()
            assert True is sessions.move(old, key)

        assert [KEYS[-1]] == list(sessions.keys())

    @each_kind
    @pytest.mark.parametrize("key", ["1", "@1", "@cart:1"])
    def test_the_key_of_an_error(
        self, storage: MemoryStorage, options: dict[str, Any], key: str
    ) -> None:
        """Every error names the key as `open` takes it, and so does its text."""
        sessions = Sessions(storage=storage, lock_timeout=0, **options)
        errors = {kind: cause_of(sessions, key, cause) for kind, cause in CAUSES.items()}

        for kind, error in errors.items():
            assert (kind, key) == (type(error), error.key)
            assert f"session {key!r}" in str(error)
            assert None is sessions.peek(error.key) or kind is DecodeError

    def test_the_text_of_an_error_shows_no_room(self, storage: MemoryStorage) -> None:
        """A message shows neither the room nor the escape, in which nobody would find the key."""
        sessions = Sessions(storage=storage, name="cart", lock_timeout=0)

        for cause in CAUSES.values():
            assert None is re.search("@cart", str(cause_of(sessions, "1", cause)))


def _locked(sessions: Sessions[Any], key: str) -> None:
    with sessions.open(key), sessions.open(key, independent=True):
        pass


def _closed(sessions: Sessions[Any], key: str) -> None:
    with sessions.open(key) as session:
        pass
    session.a = 1


def _unencodable(sessions: Sessions[Any], key: str) -> None:
    with sessions.open(key) as session:
        session.a = (number for number in ())


def _damaged(sessions: Sessions[Any], key: str) -> None:
    kind = sessions._kind
    place = kind.place_of_key(key)
    kind.storage.set(place, b"damaged")
    try:
        with sessions.open(key):
            pass
    finally:
        kind.storage.delete(place)


def _failing(sessions: Sessions[Any], key: str) -> None:
    kind = sessions._kind
    kind.storage.fail("get")  # type: ignore[attr-defined]
    with sessions.open(key):
        pass


CAUSES: dict[type[Exception], Callable[[Sessions[Any], str], None]] = {
    LockTimeoutError: _locked,
    SessionClosedError: _closed,
    EncodeError: _unencodable,
    DecodeError: _damaged,
    StorageError: _failing,
}


def cause_of(sessions: Sessions[Any], key: str, cause: Callable[..., None]) -> Any:
    """The error of a cause."""
    with pytest.raises(tuple(CAUSES)) as caught:
        cause(sessions, key)
    return caught.value


def test_sessions_of_a_room_show_it(storage: MemoryStorage) -> None:
    """`repr` says in which room the sessions lie, and in which storage."""
    assert "<Sessions '@cart:' in " in repr(Sessions(storage=storage, name="cart"))
    assert KEY not in repr(Sessions(storage=storage))


class TestOlderRecords:
    """Records from before there were rooms, which lie under the bare key."""

    @pytest.fixture
    def storage(self, tmp_path: Path) -> Iterator[Storage]:
        with SQLiteStorage(tmp_path / "bot.db") as storage:
            with Sessions(storage=storage, prefix="").open(1) as session:
                session.items = ["tea"]
            yield storage

    def logged(self, caplog: pytest.LogCaptureFixture) -> list[str]:
        return [record.getMessage() for record in caplog.records]

    def test_one_log_record_says_where_they_are(
        self, storage: Storage, caplog: pytest.LogCaptureFixture
    ) -> None:
        """
        Where a storage holds records under the bare key from before and none in the room, one log
        record says so, and how to keep the old place.
        """
        Moves.of(storage).rooms.clear()
        carts = Sessions(storage=storage, name="cart")
        for key in (1, 2):
            with carts.open(key) as cart:
                cart.items = []

        assert 1 == len(caplog.records)
        assert "no record in the room '@cart:'" in self.logged(caplog)[0]
        assert self.logged(caplog)[0].endswith("pass prefix='' to go on with those")

    def test_with_the_old_place_they_are_there(
        self, storage: Storage, caplog: pytest.LogCaptureFixture
    ) -> None:
        """`prefix=""` keeps the old place, and nothing is logged."""
        with Sessions(storage=storage, name="cart", prefix="").open(1) as cart:
            assert ["tea"] == cart["items"]
        assert [] == caplog.records

    @pytest.mark.parametrize("others", [{"name": "session"}, {"name": "cart", "first": True}])
    def test_records_of_other_sessions_are_none_of_them(
        self, storage: Storage, caplog: pytest.LogCaptureFixture, others: dict[str, Any]
    ) -> None:
        """Nothing is logged where other sessions have the bare keys, or the room has a record."""
        Moves.of(storage).rooms.clear()
        if others.pop("first", False):
            storage.set("@cart:9", storage.get("1") or b"")
        Sessions(storage=storage, **others)
        with Sessions(storage=storage, name="cart").open(1) as cart:
            cart.items = []
        assert [] == caplog.records

    def test_states_say_so_too(self, storage: Storage, caplog: pytest.LogCaptureFixture) -> None:
        """The states of telebot were kept under `state:`, and can be kept there."""
        older = SessionStateStorage(storage, prefix="state:")
        older.set_state(1, 1, "name")
        Moves.of(storage).rooms.clear()
        SessionStateStorage(storage).set_state(2, 2, "name")
        assert ["pass prefix='state:' to go on with those"] == [
            text.partition("; ")[2] for text in self.logged(caplog)
        ]
