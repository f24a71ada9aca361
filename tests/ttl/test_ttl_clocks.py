"""The deadlines of fields, while clocks are set and when they start anew."""

from __future__ import annotations

import time
from contextlib import ExitStack

import pytest

from support.clocks import DAY
from support.postgres_storages import FrozenPostgresStorage
from support.servers import FrozenRedisStorage
from support.sessions import JUST_BEFORE, LIFETIME, Colour, Profile, fields_of, left_of, set_fields
from telesession import MemoryStorage, Sessions, SQLiteStorage, Storage, ttl, ttl_left

ANY_CLOCK = pytest.mark.parametrize("step", [DAY, -DAY], ids=["forwards", "back"])


class Archive(Storage):
    """A storage whose records outlive its process: they are in a dict that the test keeps."""

    persistent = True

    def __init__(self, records):
        self._records = records

    def get(self, key):
        payload, expiry = self._records.get(key, (None, None))
        return None if expiry is not None and time.time() >= expiry else payload

    def set(self, key, payload, lifetime=None):
        self._records[key] = payload, None if lifetime is None else time.time() + lifetime

    def delete(self, key):
        return self._records.pop(key, None) is not None

    def touch(self, key, lifetime):
        payload = self.get(key)
        if payload is not None:
            self.set(key, payload, lifetime)
        return payload is not None

    def keys(self, prefix=""):
        return iter([key for key in list(self._records) if key.startswith(prefix)])


class PausingArchive(Archive):
    """One whose thread has to let others run for ten seconds when it has looked at the clock."""

    def __init__(self, records, clock):
        super().__init__(records)
        self.clock = clock
        self.shall_pause = True

    def now(self):
        now = super().now()
        if self.shall_pause:
            self.shall_pause = False
            self.clock.tick(10)
        return now


class Machine:
    """
    The two clocks of a computer, above the frozen one.

    The wall clock can be stepped. The monotonic clock starts anew with each boot, and a reboot
    stands for any new process: it may find the clock at any other origin.
    """

    def __init__(self):
        self.wall_step = 0.0
        self.booted_at = 0.0
        self._time = time.time
        self._monotonic = time.monotonic

    def time(self):
        return self._time() + self.wall_step

    def monotonic(self):
        return self._monotonic() - self.booted_at

    def reboot(self, uptime=17.3):
        self.booted_at = self._monotonic() - uptime


@pytest.fixture
def machine(clock):
    machine = Machine()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "time", machine.time)
        patch.setattr(time, "monotonic", machine.monotonic)
        yield machine


@pytest.fixture(params=["dict", "file", "server", "postgres"])
def archive(request, clock, tmp_path):
    """What each new process does: it makes a storage, which has the records of the one before."""
    records = {}
    with ExitStack() as storages:

        def make():
            if request.param == "dict":
                return Archive(records)
            if request.param == "file":
                return storages.enter_context(SQLiteStorage(tmp_path / "bot.db"))
            if request.param == "postgres":
                postgres = request.getfixturevalue("postgres")
                return storages.enter_context(FrozenPostgresStorage(postgres, clock))
            server = request.getfixturevalue("server")
            return storages.enter_context(FrozenRedisStorage(server, clock))

        yield make


class TestClocks:
    """What becomes of deadlines when clocks do not tick as they should."""

    @ANY_CLOCK
    def test_a_step_of_the_wall_clock_changes_nothing_in_memory(
        self, clock, machine, storage, sessions, step
    ):
        """Deadlines in memory are monotonic: the wall clock may go anywhere, at any time."""
        set_fields(sessions, other=1, code=ttl("1234", LIFETIME))
        clock.tick(100)
        machine.wall_step = step
        assert 200.0 == left_of(sessions)
        with sessions.open("1") as session:
            machine.wall_step = -step
            session.other = 2
            assert ("1234", 200.0) == (session.code, ttl_left(session, "code"))
        assert (200.0, 2) == (left_of(sessions), storage.calls["set"])
        clock.tick(JUST_BEFORE - 100)
        assert {"other": 2, "code": "1234"} == fields_of(sessions)
        clock.tick(0.000001)
        assert {"other": 2} == fields_of(sessions)

    @ANY_CLOCK
    def test_a_step_of_the_wall_clock_moves_no_lifetime_in_memory(self, clock, machine, step):
        """The lifetime of a session in memory is monotonic as well."""
        sessions = Sessions(lifetime=LIFETIME, storage=MemoryStorage())
        set_fields(sessions, other=1)
        machine.wall_step = step
        clock.tick(JUST_BEFORE)
        assert {"other": 1} == sessions.peek("1")
        clock.tick(0.000001)
        assert None is sessions.peek("1")

    @pytest.mark.parametrize(
        ("act", "expected"),
        [
            pytest.param(lambda s: None, 150.0, id="reads"),
            pytest.param(lambda s: s.update(other=2), 150.0, id="changes another field"),
            pytest.param(lambda s: s.log.append(2), 300.0, id="changes inside the value"),
            pytest.param(lambda s: s.update(log=[2]), 300.0, id="assigns"),
            pytest.param(lambda s: s.update(log=ttl([2], 30)), 30.0, id="marks anew"),
        ],
    )
    @ANY_CLOCK
    def test_a_step_during_a_handler_changes_nothing_in_a_persistent_storage(
        self, clock, machine, archive, *, step, act, expected
    ):
        """A step of the wall clock during a handler changes no deadline, whatever it does."""
        sessions = Sessions(storage=archive())
        set_fields(sessions, other=1, log=ttl([1], LIFETIME))
        clock.tick(100)
        with sessions.open("1") as session:
            clock.tick(50)
            machine.wall_step = step
            assert ([1], pytest.approx(150, abs=1e-3)) == (session.log, ttl_left(session, "log"))
            act(session)
        assert pytest.approx(expected, abs=1e-3) == left_of(sessions, "log")
        clock.tick(expected - 0.001)
        assert True is ("log" in fields_of(sessions))
        clock.tick(0.002)
        assert False is ("log" in fields_of(sessions))

    @ANY_CLOCK
    def test_a_step_during_a_handler_hides_no_expiry(self, clock, machine, archive, step):
        """What expires during a handler is gone, wherever the wall clock has gone meanwhile."""
        sessions = Sessions(storage=archive())
        set_fields(sessions, other=1, code=ttl("1234", LIFETIME))
        with sessions.open("1") as session:
            machine.wall_step = step
            clock.tick(LIFETIME + 0.001)
            assert {"other": 1} == dict(session)
        assert {"other": 1} == fields_of(sessions)

    def test_a_pause_between_the_two_clocks_moves_no_deadline(self, clock):
        """A thread that pauses when it has looked at one of the clocks looks at both again."""
        records = {}
        set_fields(Sessions(storage=PausingArchive(records, clock)), code=ttl("1234", LIFETIME))
        left = [left_of(Sessions(storage=Archive(records)))]
        left += [left_of(Sessions(storage=PausingArchive(records, clock)))]
        left += [left_of(Sessions(storage=Archive(records)))]

        assert [LIFETIME - 10, LIFETIME - 20, LIFETIME - 20] == left

    def test_ten_handlers_leave_a_deadline_exactly_where_it_was_in_memory(self, clock, sessions):
        """Loading and saving ten times moves a deadline in memory not at all."""
        set_fields(sessions, number=0, code=ttl("1234", LIFETIME))
        left = []
        for _ in range(10):
            clock.tick(7.25)
            with sessions.open("1") as session:
                session.number += 1
                left.append(ttl_left(session, "code"))
        assert [LIFETIME - 7.25 * n for n in range(1, 11)] == left

    @pytest.mark.parametrize("step", [0, 3600.1], ids=["steady", "with a stepping wall clock"])
    def test_ten_processes_move_a_deadline_by_less_than_a_millisecond(
        self, clock, machine, archive, step
    ):
        """Loading and saving ten times stretches or shrinks a deadline by at most 1 ms."""
        set_fields(Sessions(storage=archive()), number=0, code=ttl("1234", LIFETIME))
        left = []
        for number in range(10):
            clock.tick(7.123457)
            machine.reboot(uptime=1234.56789 * number + 0.1)
            with Sessions(storage=archive()).open("1") as session:
                clock.tick(0.000003)
                session.number += 1
                left.append(ttl_left(session, "code"))
                machine.wall_step += step
        expected = [LIFETIME - 7.12346 * n for n in range(1, 11)]
        assert pytest.approx(expected, abs=1e-3) == left


class TestRestart:
    """A new process, with another monotonic clock, on the records of the old one."""

    def test_remaining_times_survive_a_restart(self, clock, machine, archive):
        """A TTL survives a restart: the remaining time is right, whatever the new clock shows."""
        machine.reboot(uptime=500_000)
        fields = {"a": ttl(1, 60), "b": ttl(2, 600), "c": 3}
        set_fields(Sessions(storage=archive()), **fields)
        clock.tick(59)
        machine.reboot(uptime=3)
        after = Sessions(storage=archive())
        left = [left_of(after, name) for name in "abc"]
        assert [pytest.approx(1, abs=1e-3), pytest.approx(541, abs=1e-3), None] == left
        clock.tick(0.999)
        assert {"a": 1, "b": 2, "c": 3} == fields_of(after)
        clock.tick(0.002)
        assert {"b": 2, "c": 3} == fields_of(after)

    def test_what_expired_meanwhile_is_gone(self, clock, machine, archive):
        """A field whose deadline passed while nothing ran is gone after the restart."""
        set_fields(Sessions(storage=archive()), other=1, code=ttl("1234", LIFETIME))
        clock.tick(LIFETIME + 0.001)
        machine.reboot()
        after = Sessions(storage=archive())
        assert {"other": 1} == after.peek("1")
        with after.open("1") as session:
            with pytest.raises(AttributeError, match=r"'code'.*expired"):
                _ = session.code
            session.other = 2
        assert False is (b"1234" in archive().get("1"))

    def test_the_mark_survives_a_restart(self, clock, machine, archive):
        """The mark outlives value and process: assigned again, the field expires again."""
        set_fields(Sessions(storage=archive()), other=1, code=ttl("1234", LIFETIME))
        clock.tick(DAY)
        machine.reboot()
        set_fields(Sessions(storage=archive()), code="9876")
        clock.tick(100)
        machine.reboot(uptime=9)
        after = Sessions(storage=archive())
        assert pytest.approx(200, abs=1e-3) == left_of(after)
        clock.tick(200.001)
        assert {"other": 1} == fields_of(after)

    def test_a_nested_change_after_a_restart_renews(self, clock, machine, archive):
        """A nested change in the new process gives the field its full lifetime again."""
        set_fields(Sessions(storage=archive()), log=ttl([1], LIFETIME))
        clock.tick(100)
        machine.reboot()
        after = Sessions(storage=archive())
        with after.open("1") as session:
            session.log.append(2)
        assert pytest.approx(LIFETIME, abs=1e-3) == left_of(after, "log")

    def test_typed_sessions_survive_a_restart(self, clock, machine, archive):
        """Deadlines of typed sessions survive a restart like those of others."""
        with Sessions(initial=Profile, storage=archive()).open("1") as profile:
            profile.code, profile.colour = "1234", Colour.RED
            clock.tick(100)
        machine.reboot()
        with Sessions(initial=Profile, storage=archive()).open("1") as profile:
            assert ("1234", Colour.RED) == (profile.code, profile.colour)
            assert pytest.approx(200, abs=1e-3) == ttl_left(profile, "code")
            clock.tick(200.001)
            assert ("none", None) == (profile.code, profile.colour)

    def test_a_read_only_handler_after_a_restart_writes_nothing(self, clock, machine):
        """Loading on another clock is no change: a handler that only reads writes nothing."""
        records = {}
        set_fields(Sessions(storage=Archive(records)), other=1, code=ttl("1234", LIFETIME))
        before = dict(records)
        for _ in range(3):
            clock.tick(50.123457)
            machine.reboot()
            fields_of(Sessions(storage=Archive(records)))
        assert True is (before["1"] is records["1"])
