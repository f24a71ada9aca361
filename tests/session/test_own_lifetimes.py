"""The function `set_lifetime`: one session gets a lifetime of its own."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from support.clocks import DAY
from support.sessions import LIFETIME, fail_in, fields_of, set_fields
from support.storages import record_of
from telesession import (
    MemoryStorage,
    Session,
    SessionClosedError,
    Sessions,
    SQLiteStorage,
    Storage,
    save,
    set_lifetime,
    ttl,
)

if TYPE_CHECKING:
    from pathlib import Path

    from freezegun.api import FrozenDateTimeFactory

    from support.storages import SpyStorage

pytestmark = pytest.mark.usefixtures("frozen_module")

MOMENT = 0.01


def remember(sessions: Sessions[Any], lifetime: Any, key: str = "1") -> None:
    with sessions.open(key) as session:
        set_lifetime(session, lifetime)


class TestLifetime:
    """A session lives after each use for as long as it was told."""

    @pytest.mark.parametrize("usual", [None, LIFETIME, 90 * DAY], ids=["ever", "shorter", "longer"])
    @pytest.mark.parametrize("lifetime", [30 * DAY, timedelta(days=30)], ids=repr)
    def test_its_own_lifetime_counts_from_each_use(
        self,
        clock: FrozenDateTimeFactory,
        frozen_moved_storage: Storage,
        usual: float | None,
        lifetime: Any,
    ) -> None:
        """The lifetime takes the place of the usual one and slides, with every codec."""
        sessions = Sessions(storage=frozen_moved_storage, lifetime=usual)
        set_fields(sessions, user="ada")
        remember(sessions, lifetime)
        for _ in range(3):
            clock.tick(30 * DAY - MOMENT)
            assert {"user": "ada"} == fields_of(sessions)
        clock.tick(30 * DAY)
        assert (None, []) == (sessions.peek("1"), list(frozen_moved_storage.keys()))

    def test_other_sessions_keep_the_usual_lifetime(self, clock: FrozenDateTimeFactory) -> None:
        """Only the session that was told lives longer."""
        sessions = Sessions(storage=MemoryStorage(), lifetime=LIFETIME)
        for key in "12":
            set_fields(sessions, key, user="ada")
        remember(sessions, DAY, "2")
        clock.tick(LIFETIME)
        assert ["2"] == list(sessions.keys())

    def test_none_keeps_the_session_for_ever(
        self, clock: FrozenDateTimeFactory, frozen_moved_storage: Storage
    ) -> None:
        """`None` means the same as for the option `lifetime`: the session does not expire."""
        sessions = Sessions(storage=frozen_moved_storage, lifetime=LIFETIME)
        set_fields(sessions, user="ada")
        remember(sessions, None)
        clock.tick(DAY)
        fields_of(sessions)
        clock.tick(1000 * DAY)
        assert {"user": "ada"} == sessions.peek("1")

    def test_0_gives_the_usual_lifetime_back(
        self, clock: FrozenDateTimeFactory, frozen_moved_storage: Storage
    ) -> None:
        """After 0 the session lives as its `Sessions` say, and its record is as before."""
        sessions = Sessions(storage=frozen_moved_storage, lifetime=LIFETIME)
        set_fields(sessions, user="ada")
        before = record_of(frozen_moved_storage, "1")
        remember(sessions, DAY)
        between = record_of(frozen_moved_storage, "1")
        remember(sessions, 0)
        assert before == record_of(frozen_moved_storage, "1")
        assert between == {**(before or {}), "lifetime": DAY}
        clock.tick(LIFETIME)
        assert None is sessions.peek("1")

    def test_it_reaches_the_end_and_not_farther(
        self, clock: FrozenDateTimeFactory, frozen_moved_storage: Storage
    ) -> None:
        """A session with an end of its own does not outlive it."""
        sessions = Sessions(storage=frozen_moved_storage, lifetime=LIFETIME, expires_after=DAY)
        set_fields(sessions, user="ada")
        remember(sessions, 30 * DAY)
        clock.tick(DAY - MOMENT)
        assert {"user": "ada"} == fields_of(sessions)
        clock.tick(MOMENT)
        assert None is sessions.peek("1")

    def test_a_move_and_a_restart_keep_it(
        self, clock: FrozenDateTimeFactory, tmp_path: Path
    ) -> None:
        """The record keeps the lifetime, under another key and for another process."""
        with SQLiteStorage(tmp_path / "bot.db") as storage:
            sessions = Sessions(storage=storage, lifetime=LIFETIME)
            set_fields(sessions, user="ada")
            remember(sessions, DAY)
            sessions.move("1", "2")
        with SQLiteStorage(tmp_path / "bot.db") as storage:
            sessions = Sessions(storage=storage, lifetime=LIFETIME)
            clock.tick(DAY - MOMENT)
            assert {"user": "ada"} == fields_of(sessions, "2")
            clock.tick(DAY)
            assert None is sessions.peek("2")

    @pytest.mark.parametrize(
        "fields",
        [
            pytest.param({"a": 1}, id="scalars"),
            pytest.param({"a": [1], "b": {"c": 2}}, id="nested"),
            pytest.param({"a": ttl(1, 9 * DAY), "b": 2}, id="with a lifetime"),
            pytest.param({"_a": 1}, id="private"),
        ],
    )
    def test_every_record_takes_it(
        self, clock: FrozenDateTimeFactory, fields: dict[str, Any]
    ) -> None:
        """In memory, where records are packed, no shape of the fields loses the lifetime."""
        sessions = Sessions(storage=MemoryStorage(), lifetime=LIFETIME)
        set_fields(sessions, **fields)
        before = fields_of(sessions)
        remember(sessions, DAY)
        clock.tick(DAY - MOMENT)
        assert before == fields_of(sessions)
        clock.tick(DAY - MOMENT)
        set_fields(sessions, new=1)
        clock.tick(DAY - MOMENT)
        assert {**before, "new": 1} == sessions.peek("1")

    @pytest.mark.parametrize("is_linked", [False, True], ids=["scalars", "with a lifetime"])
    def test_a_typed_session_takes_it(self, clock: FrozenDateTimeFactory, is_linked: bool) -> None:
        """An instance of a dataclass gets a lifetime of its own as well."""

        @dataclass
        class Login:
            user: str = "nobody"
            code: str = ttl("0000", 9 * DAY) if is_linked else "0000"

        sessions = Sessions(initial=Login, storage=MemoryStorage(), lifetime=LIFETIME)
        with sessions.open("1") as login:
            login.user = "ada"
            set_lifetime(login, DAY)
        clock.tick(DAY - MOMENT)
        with sessions.open("1", create=False) as login:
            assert ("ada", "0000") == (login.user, login.code)


class TestTransaction:
    """The lifetime is part of the handler's transaction."""

    def test_a_handler_that_raises_sets_nothing(self, clock: FrozenDateTimeFactory) -> None:
        """The lifetime of a handler that raised is dropped with its other changes."""
        sessions = Sessions(storage=MemoryStorage(), lifetime=LIFETIME)
        set_fields(sessions, "1", user="ada")
        with pytest.raises(ZeroDivisionError):
            fail_in(sessions, 1, lambda session: set_lifetime(session, DAY))
        clock.tick(LIFETIME)
        assert None is sessions.peek("1")

    def test_save_keeps_it(self, clock: FrozenDateTimeFactory) -> None:
        """A lifetime that `save` has written survives a later exception."""

        def change(session: Session) -> None:
            set_lifetime(session, DAY)
            save(session)

        sessions = Sessions(storage=MemoryStorage(), lifetime=LIFETIME)
        set_fields(sessions, "1", user="ada")
        with pytest.raises(ZeroDivisionError):
            fail_in(sessions, 1, change)
        clock.tick(LIFETIME)
        assert {"user": "ada"} == sessions.peek("1")

    def test_a_block_that_raises_is_undone(self, clock: FrozenDateTimeFactory) -> None:
        """The lifetime that an inner block has set goes with the block."""
        sessions = Sessions(storage=MemoryStorage(), lifetime=LIFETIME)
        set_fields(sessions, "1", user="ada")
        with sessions.open("2"), pytest.raises(ZeroDivisionError):
            fail_in(sessions, 1, lambda session: set_lifetime(session, DAY))
        clock.tick(LIFETIME)
        assert None is sessions.peek("1")

    def test_it_is_one_write_and_later_reads_touch(
        self, storage: SpyStorage, clock: FrozenDateTimeFactory
    ) -> None:
        """Setting it writes the record once; a handler that only reads renews it by a touch."""
        sessions = Sessions(storage=storage)
        set_fields(sessions, user="ada")
        storage.writes.clear()
        remember(sessions, DAY)
        fields_of(sessions)
        assert ["set", "touch"] == storage.writes

    def test_a_session_that_lives_for_ever_is_not_touched(
        self, storage: SpyStorage, clock: FrozenDateTimeFactory
    ) -> None:
        """After `None` a handler that only reads costs no write, also with a usual lifetime."""
        sessions = Sessions(storage=storage, lifetime=LIFETIME)
        set_fields(sessions, user="ada")
        remember(sessions, None)
        storage.writes.clear()
        fields_of(sessions)
        assert [] == storage.writes


class TestRefusals:
    """Lifetimes and sessions that `set_lifetime` refuses."""

    @pytest.mark.parametrize(
        ("lifetime", "kind"),
        [(-1, ValueError), (math.nan, ValueError), (math.inf, ValueError), ("60", TypeError)],
    )
    def test_a_bad_lifetime_is_refused(self, lifetime: Any, kind: type[Exception]) -> None:
        """A lifetime that is no number of seconds raises, and the record stays as it was."""
        sessions = Sessions(storage=MemoryStorage())
        with (
            sessions.open("1") as session,
            pytest.raises(kind, match="lifetime of a session"),
        ):
            set_lifetime(session, lifetime)

    @pytest.mark.parametrize(
        "is_peeked", [True, False], ids=["of peek", "of a handler that returned"]
    )
    def test_a_closed_session_is_refused(self, is_peeked: bool) -> None:
        """A session that nothing would save takes no lifetime."""
        sessions = Sessions(storage=MemoryStorage())
        set_fields(sessions, user="ada")
        session = sessions.peek("1") if is_peeked else left_session(sessions)
        with pytest.raises(SessionClosedError, match="set the lifetime"):
            set_lifetime(session, 60)

    def test_a_session_made_by_hand_takes_it(self) -> None:
        """A handler under test gets a session without a storage, and may set a lifetime."""
        session = Session(user="ada")
        set_lifetime(session, 60)
        assert {"user": "ada"} == session


def left_session(sessions: Sessions[Session]) -> Session:
    with sessions.open("1") as session:
        pass
    return session
