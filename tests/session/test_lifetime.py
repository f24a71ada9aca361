"""The `lifetime` of a session, which slides with each use."""

from __future__ import annotations

import math
from datetime import timedelta

import pytest

from support.clocks import DAY
from support.sessions import JUST_BEFORE, LIFETIME, fields_of, set_fields
from telesession import Sessions, save, ttl, ttl_left, with_session

pytestmark = pytest.mark.usefixtures("frozen_module")


every_use = pytest.mark.parametrize(
    "use",
    [
        pytest.param(fields_of, id="read"),
        pytest.param(lambda sessions: set_fields(sessions, other=2), id="changed"),
    ],
)


class TestSliding:
    """A session lives for its `lifetime` after its last use."""

    @pytest.mark.parametrize("lifetime", [LIFETIME, 300.0, timedelta(minutes=5)], ids=repr)
    def test_a_session_is_gone_at_its_deadline(self, clock, storage, lifetime):
        """A session lives `lifetime` after its last use, in seconds or a timedelta."""
        sessions = Sessions(initial={"new": True}, storage=storage, lifetime=lifetime)
        set_fields(sessions, new=False)
        clock.tick(JUST_BEFORE)
        assert {"new": False} == sessions.peek("1")
        clock.tick(0.000001)
        assert (None, []) == (sessions.peek("1"), list(sessions.keys()))
        assert {"new": True} == fields_of(sessions)

    @every_use
    def test_every_handler_renews_the_lifetime(self, clock, storage, sliding_sessions, use):
        """Every handler renews the lifetime, also one that only reads."""
        set_fields(sliding_sessions, other=1)
        for _ in range(5):
            clock.tick(JUST_BEFORE)
            use(sliding_sessions)
        clock.tick(JUST_BEFORE)
        assert True is storage.has("1")
        clock.tick(0.000001)
        assert False is storage.has("1")

    def test_the_lifetime_counts_from_the_end_of_the_handler(
        self, clock, storage, sliding_sessions
    ):
        """The last use of a session ends when its handler returns."""
        set_fields(sliding_sessions, other=1)
        with sliding_sessions.open("1"):
            clock.tick(LIFETIME / 2)
        clock.tick(JUST_BEFORE)
        assert True is storage.has("1")

    @pytest.mark.parametrize(
        ("act", "expected"),
        [
            pytest.param(lambda s: None, {"other": 1, "log": []}, id="reads"),
            pytest.param(lambda s: s.log.append(1), {"other": 1, "log": [1]}, id="changes"),
        ],
    )
    @pytest.mark.parametrize("busy", [False, True], ids=["alone", "while others are written"])
    def test_a_session_outlives_a_handler_longer_than_its_lifetime(
        self, clock, sliding_sessions, busy, act, expected
    ):
        """A session that is in use does not end: its lifetime counts from its last use."""
        set_fields(sliding_sessions, other=1, log=[])
        with sliding_sessions.open("1") as session:
            clock.tick(2 * LIFETIME)
            if busy:
                set_fields(sliding_sessions, "2", other=1)
            act(session)
        assert expected == sliding_sessions.peek("1")

    def test_save_renews_the_lifetime(self, clock, storage, sliding_sessions):
        """`save` is a use, also when nothing has changed and the handler raises later."""

        def save_and_fail():
            with sliding_sessions.open("1") as session:
                save(session)
                raise ZeroDivisionError

        set_fields(sliding_sessions, other=1)
        clock.tick(JUST_BEFORE)
        with pytest.raises(ZeroDivisionError):
            save_and_fail()
        clock.tick(JUST_BEFORE)
        assert True is storage.has("1")

    @pytest.mark.parametrize(
        "look",
        [
            pytest.param(lambda sessions, storage: sessions.peek("1"), id="peek"),
            pytest.param(lambda sessions, storage: list(sessions.keys()), id="Sessions.keys"),
            pytest.param(lambda sessions, storage: storage.get("1"), id="get"),
            pytest.param(lambda sessions, storage: storage.has("1"), id="has"),
            pytest.param(lambda sessions, storage: list(storage.keys()), id="keys"),
            pytest.param(lambda sessions, storage: repr(storage), id="repr"),
        ],
    )
    def test_looking_from_outside_renews_nothing(self, clock, storage, sliding_sessions, look):
        """`peek` renews nothing, and neither does any other look into the storage."""
        set_fields(sliding_sessions, other=1, code=ttl("1234", LIFETIME))
        clock.tick(JUST_BEFORE)
        look(sliding_sessions, storage)
        clock.tick(0.000001)
        assert (None, False) == (sliding_sessions.peek("1"), storage.has("1"))

    def test_peek_writes_and_locks_nothing(self, clock, storage, sliding_sessions):
        """`peek` is a read without lock, even of a session that is in use."""
        set_fields(sliding_sessions, other=1)
        storage.calls.clear()
        with sliding_sessions.open("1") as session:
            session.other = 2
            assert {"other": 1} == sliding_sessions.peek("1")
        assert {"hold": 1, "get": 2, "set": 1} == storage.calls

    def test_a_slid_lifetime_renews_no_field(self, clock, sliding_sessions):
        """`lifetime` is of the session: sliding it renews no TTL of a field."""
        set_fields(sliding_sessions, other=1, code=ttl("1234", LIFETIME))
        clock.tick(200)
        fields_of(sliding_sessions)
        clock.tick(100)
        assert {"other": 1} == fields_of(sliding_sessions)

    def test_a_session_that_ends_takes_its_marks_along(self, clock, sliding_sessions):
        """A mark outlives its value only while the session exists."""
        set_fields(sliding_sessions, code=ttl("1234", 10))
        clock.tick(LIFETIME)
        set_fields(sliding_sessions, code="9876")
        with sliding_sessions.open("1") as session:
            assert ("9876", None) == (session.code, ttl_left(session, "code"))

    def test_sessions_slide_each_for_itself(self, clock, sliding_sessions):
        """The use of one session renews no other."""
        for key in "12":
            set_fields(sliding_sessions, key, other=1)
        clock.tick(JUST_BEFORE)
        fields_of(sliding_sessions, "1")
        clock.tick(0.000001)
        assert ["1"] == list(sliding_sessions.keys())

    def test_a_change_without_lifetime_keeps_the_session_for_ever(
        self, clock, storage, sliding_sessions
    ):
        """`lifetime=None` after a lifetime: a session that is written so stays for ever."""
        set_fields(sliding_sessions, other=1)
        set_fields(Sessions(storage=storage), other=2)
        clock.tick(1000 * DAY)
        set_fields(sliding_sessions, "2", other=1)
        assert {"other": 2} == sliding_sessions.peek("1")

    @every_use
    def test_a_session_of_ever_gets_a_lifetime_with_its_next_use(
        self, clock, storage, sliding_sessions, use
    ):
        """A lifetime after `lifetime=None` holds from the next handler on, read-only or not."""
        set_fields(Sessions(storage=storage), other=1)
        clock.tick(1000 * DAY)
        use(sliding_sessions)
        clock.tick(JUST_BEFORE)
        assert True is storage.has("1")
        clock.tick(0.000001)
        assert False is storage.has("1")

    @pytest.mark.parametrize(
        ("lifetime", "kind"),
        [
            pytest.param(0, ValueError, id="0"),
            pytest.param(timedelta(), ValueError, id="timedelta of 0"),
            pytest.param(-1, ValueError, id="negative"),
            pytest.param(timedelta(seconds=-1), ValueError, id="negative timedelta"),
            pytest.param(math.nan, ValueError, id="NaN"),
            pytest.param(math.inf, ValueError, id="inf"),
            pytest.param(10**400, ValueError, id="an int beyond float"),
            pytest.param(True, TypeError, id="bool"),
            pytest.param("60", TypeError, id="str"),
        ],
    )
    def test_a_bad_lifetime_is_refused_at_construction(self, storage, lifetime, kind):
        """Wrong lifetimes raise when the decorator is made, naming the option."""
        with pytest.raises(kind, match="lifetime"):
            with_session(storage=storage, lifetime=lifetime)
