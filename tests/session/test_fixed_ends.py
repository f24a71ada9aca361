"""The option `expires_after`: a session ends some time after it began, however it is used."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from support.clocks import DAY, START
from support.sessions import fields_of, set_fields
from support.storages import record_of
from telesession import (
    JSONCodec,
    MemoryStorage,
    Session,
    Sessions,
    SQLiteStorage,
    Storage,
    forget,
    ttl,
)
from telesession.storage.base import Hold

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from freezegun.api import FrozenDateTimeFactory

    from support.storages import SpyStorage

pytestmark = pytest.mark.usefixtures("frozen_module")

END = 1000
MOMENT = 0.01


def ending(storage: Storage, **options: Any) -> Sessions[Session]:
    """Sessions that end `END` seconds after they began."""
    return Sessions(storage=storage, expires_after=END, **options)


class TestEnd:
    """A session with a fixed end is as deleted from its end on."""

    @pytest.mark.parametrize("lifetime", [None, 900, 5 * END], ids=["ever", "shorter", "longer"])
    def test_a_session_ends_however_often_it_is_used(
        self, clock: FrozenDateTimeFactory, frozen_moved_storage: Storage, lifetime: float | None
    ) -> None:
        """Neither reading nor writing moves the end, on every storage and with every codec."""
        sessions = ending(frozen_moved_storage, lifetime=lifetime, initial={"new": True})
        set_fields(sessions, new=False)
        clock.tick(END / 2)
        assert {"new": False} == fields_of(sessions)
        set_fields(sessions, code=ttl("1234", 5 * END))
        clock.tick(END / 2 - MOMENT)
        assert {"new": False, "code": "1234"} == fields_of(sessions)

        clock.tick(MOMENT)
        assert (None, False, []) == (sessions.peek("1"), "1" in sessions, list(sessions.keys()))
        assert {"new": True} == fields_of(sessions)

    def test_the_sliding_lifetime_may_end_it_before(
        self, clock: FrozenDateTimeFactory, frozen_moved_storage: Storage
    ) -> None:
        """The storage gets the smaller one of the lifetime and the time to the end."""
        sessions = ending(frozen_moved_storage, lifetime=300)
        set_fields(sessions, other=1)
        for _ in range(2):
            clock.tick(300 - MOMENT)
            fields_of(sessions)
        clock.tick(300)
        assert None is sessions.peek("1")

    def test_a_new_session_gets_a_new_end(
        self, clock: FrozenDateTimeFactory, frozen_moved_storage: Storage
    ) -> None:
        """The session that follows one that has ended or was forgotten has its own beginning."""
        sessions = ending(frozen_moved_storage)
        set_fields(sessions, other=1)
        clock.tick(END / 2)
        with sessions.open("1") as session:
            forget(session)
        set_fields(sessions, other=2)
        clock.tick(END - MOMENT)
        assert {"other": 2} == sessions.peek("1")
        clock.tick(MOMENT)
        assert None is sessions.peek("1")

    def test_a_move_keeps_the_end(
        self, clock: FrozenDateTimeFactory, frozen_moved_storage: Storage
    ) -> None:
        """A session under another key ends when it would have ended under the old one."""
        sessions = ending(frozen_moved_storage)
        set_fields(sessions, other=1)
        clock.tick(END / 2)
        assert sessions.move("1", "2")
        clock.tick(END / 2 - MOMENT)
        assert {"other": 1} == fields_of(sessions, "2")
        clock.tick(MOMENT)
        assert [None, []] == [sessions.peek("2"), list(frozen_moved_storage.keys())]

    def test_a_session_that_has_ended_does_not_move(self, clock: FrozenDateTimeFactory) -> None:
        """A record whose end has passed counts as deleted, also while the storage still has it."""
        storage = MemoryStorage(codec=JSONCodec())
        sessions = ending(storage)
        set_fields(sessions, other=1)
        storage.touch("1", None)
        clock.tick(END)

        assert (True, None, [], False) == (
            storage.has("1"),
            sessions.peek("1"),
            list(sessions.items()),
            sessions.move("1", "2"),
        )
        with pytest.raises(KeyError), sessions.open("1", create=False):
            pass
        assert {} == fields_of(sessions)

    @pytest.mark.parametrize(
        "act",
        [
            pytest.param(lambda s: None, id="reads"),
            pytest.param(lambda s: s.update(other=2), id="writes"),
        ],
    )
    @pytest.mark.parametrize("lifetime", [None, 5 * END], ids=["ever", "sliding"])
    def test_a_session_may_end_during_a_handler(
        self,
        clock: FrozenDateTimeFactory,
        frozen_moved_storage: Storage,
        act: Callable[[Session], object],
        lifetime: float | None,
    ) -> None:
        """A handler that is at work at the end leaves no record behind."""
        sessions = ending(frozen_moved_storage, lifetime=lifetime)
        set_fields(sessions, other=1)
        with sessions.open("1") as session:
            clock.tick(END)
            act(session)
        assert [] == list(frozen_moved_storage.keys())

    def test_the_end_survives_a_restart(self, clock: FrozenDateTimeFactory, tmp_path: Path) -> None:
        """The record keeps the end in seconds since the epoch, for the next process."""
        with SQLiteStorage(tmp_path / "bot.db") as storage:
            set_fields(ending(storage), other=1)
            record = record_of(storage, "1")
        clock.tick(END / 2)
        with SQLiteStorage(tmp_path / "bot.db") as storage:
            again = Sessions(storage=storage)
            set_fields(again, other=2)
            clock.tick(END / 2)
            found = again.peek("1")

        assert {"fields": {"other": 1}, "end": START.timestamp() + END} == record
        assert None is found

    def test_a_typed_session_ends_too(self, clock: FrozenDateTimeFactory) -> None:
        """A session that is an instance of a dataclass has an end like any other."""

        @dataclass
        class Login:
            user: str = "nobody"

        sessions = Sessions(initial=Login, storage=MemoryStorage(), expires_after=END)
        with sessions.open("1") as login:
            login.user = "ada"
        clock.tick(END - MOMENT)
        with sessions.open("1") as login:
            before = login.user
        clock.tick(MOMENT)
        with sessions.open("1") as login:
            assert ("ada", "nobody") == (before, login.user)


class TestOlderRecords:
    """Records without an end, and records with one where the option is gone."""

    @pytest.mark.parametrize(
        "fields",
        [
            pytest.param({"other": 1}, id="scalars"),
            pytest.param({"other": {"a": [1]}}, id="nested"),
            pytest.param({"other": ttl(1, 9 * END)}, id="with a lifetime"),
        ],
    )
    def test_a_record_without_an_end_gets_one_at_its_next_use(
        self, clock: FrozenDateTimeFactory, frozen_moved_storage: Storage, fields: dict[str, Any]
    ) -> None:
        """It ends that long after the first handler under the option, which may only read."""
        set_fields(Sessions(storage=frozen_moved_storage), **fields)
        sessions = ending(frozen_moved_storage)
        clock.tick(END)
        before = fields_of(sessions)
        clock.tick(END - MOMENT)
        assert before == sessions.peek("1")
        clock.tick(MOMENT)
        assert None is sessions.peek("1")

    def test_a_typed_record_without_an_end_gets_one(self, clock: FrozenDateTimeFactory) -> None:
        """A dataclass session of scalars, whose record is packed, gets an end as well."""

        @dataclass
        class Login:
            user: str = "nobody"

        storage = MemoryStorage()
        with Sessions(initial=Login, storage=storage).open("1") as login:
            login.user = "ada"
        sessions = Sessions(initial=Login, storage=storage, expires_after=END)
        with sessions.open("1"):
            pass
        clock.tick(END)
        assert None is sessions.peek("1")

    def test_a_record_keeps_its_end_without_the_option(self, clock: FrozenDateTimeFactory) -> None:
        """Sessions of another configuration do not lengthen the life of a session."""
        storage = MemoryStorage()
        set_fields(ending(storage), other=1)
        set_fields(Sessions(storage=storage, expires_after=9 * END), other=2)
        set_fields(Sessions(storage=storage), other=3)
        clock.tick(END)
        assert None is Sessions(storage=storage).peek("1")

    @pytest.mark.parametrize(
        "part",
        [{"end": "soon"}, {"end": None}, {"end": math.nan}, {"lifetime": -1}, {"lifetime": [5]}],
        ids=repr,
    )
    def test_a_damaged_end_is_refused(self, part: dict[str, Any]) -> None:
        """A record whose end or lifetime is no number of seconds cannot be read."""
        storage = MemoryStorage()
        storage.set("1", storage.codec.encode({"fields": {"a": 1}, **part}, "1"))
        with pytest.raises(Exception, match=r"the (lifetime|end) in it is damaged"):
            Sessions(storage=storage).peek("1")


class TestCost:
    """The records and the calls of sessions with an end, and of those without."""

    def test_reading_writes_nothing(
        self, clock: FrozenDateTimeFactory, storage: SpyStorage
    ) -> None:
        """A handler that only reads a session with an end neither writes nor touches."""
        sessions = ending(storage)
        set_fields(sessions, other=1, code=ttl("1234", 5 * END))
        storage.writes.clear()
        for _ in range(3):
            clock.tick(1)
            fields_of(sessions)
        assert [] == storage.writes

    @pytest.mark.parametrize(
        "fields", [{"a": 1}, {"a": [1]}, {"a": {1, 2}}, {"a": ttl(1, 60)}], ids=repr
    )
    def test_a_record_without_these_parts_is_as_before(
        self, frozen_moved_storage: Storage, fields: dict[str, Any]
    ) -> None:
        """The options alone change no record: only an end or a lifetime of its own does."""
        kept: list[tuple[dict[str, Any], str]] = []
        for prefix, options in (("a:", {}), ("b:", {"max_bytes": 10_000})):
            sessions = Sessions(storage=frozen_moved_storage, prefix=prefix, **options)
            set_fields(sessions, **fields)
            record = record_of(frozen_moved_storage, f"{prefix}1")
            assert record is not None
            kept.append((record, type(frozen_moved_storage.get(f"{prefix}1")).__name__))
        assert kept[0] == kept[1]
        assert {"fields", "ttl"} >= set(kept[0][0])

    def test_the_lifetime_of_the_storage_is_the_smaller_one(
        self, storage: SpyStorage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Each write passes the seconds to the end, or the lifetime if that is less."""
        noted: list[float | None] = []
        note = Hold.set

        def spy(hold: Hold, payload: bytes, lifetime: float | None = None) -> None:
            noted.append(lifetime)
            note(hold, payload, lifetime)

        monkeypatch.setattr(Hold, "set", spy)
        for lifetime in (None, 10, 5 * END):
            set_fields(ending(storage, lifetime=lifetime, prefix=f"{lifetime}:"), other=1)
        assert [END, 10, END] == noted


@pytest.mark.parametrize(
    ("after", "kind"),
    [
        pytest.param(0, ValueError, id="0"),
        pytest.param(-1, ValueError, id="negative"),
        pytest.param(math.nan, ValueError, id="NaN"),
        pytest.param(timedelta(), ValueError, id="timedelta of 0"),
        pytest.param(True, TypeError, id="bool"),
        pytest.param("60", TypeError, id="str"),
    ],
)
def test_a_bad_end_is_refused_at_construction(after: Any, kind: type[Exception]) -> None:
    """Wrong values of `expires_after` raise when the sessions are made, naming the option."""
    with pytest.raises(kind, match="expires_after"):
        Sessions(storage=MemoryStorage(), expires_after=after)


def test_an_end_may_be_a_timedelta(clock: FrozenDateTimeFactory) -> None:
    """A `timedelta` sets the end like seconds."""
    sessions = Sessions(storage=MemoryStorage(), expires_after=timedelta(days=1))
    set_fields(sessions, other=1)
    clock.tick(DAY)
    assert None is sessions.peek("1")
