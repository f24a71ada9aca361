from __future__ import annotations

import copy
import dataclasses
import enum
import itertools
import json
import math
import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import clocks
import pytest
from clocks import DAY, START
from counted import CountedStorage
from fields import fields_of, set_fields
from freezegun import freeze_time
from hypothesis import given, strategies as st
from redis_server import FrozenRedisStorage
from telebot import TeleBot
from updates import message_from

from telesession import (
    EncodeError,
    LockTimeoutError,
    MemoryStorage,
    Session,
    SessionClosedError,
    Sessions,
    SQLiteStorage,
    Storage,
    as_dict,
    save,
    ttl,
    ttl_left,
    with_session,
)
from telesession.testing import fixtures, run_polling

bot_api = fixtures.bot_api
frozen_time = fixtures.frozen_time

clock = clocks.clock
frozen_module = clocks.frozen_module

LIFETIME = 300
JUST_BEFORE = LIFETIME - 0.000001
ANY_CLOCK = pytest.mark.parametrize("step", [DAY, -DAY], ids=["forwards", "back"])
ONCE_OVER = pytest.mark.parametrize(
    "elapsed", [LIFETIME, LIFETIME + 0.000001, DAY], ids=["at the deadline", "after it", "later"]
)


@pytest.fixture
def storage():
    return CountedStorage()


@pytest.fixture
def sessions(storage):
    return Sessions(storage=storage)


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


@pytest.fixture(params=["dict", "file", "server"])
def archive(request, clock, tmp_path):
    """What each new process does: it makes a storage, which has the records of the one before."""
    records = {}
    with ExitStack() as storages:

        def make():
            if request.param == "dict":
                return Archive(records)
            if request.param == "file":
                return storages.enter_context(SQLiteStorage(tmp_path / "bot.db"))
            server = request.getfixturevalue("server")
            return storages.enter_context(FrozenRedisStorage(server, clock))

        yield make


@dataclass
class Cart:
    owner: str = "nobody"
    items: list = field(default_factory=list)


def left_of(sessions, name="code", key="1"):
    with sessions.open(key) as session:
        return ttl_left(session, name)


def keywords(**fields):
    return fields


def matched(mapping):
    match mapping:
        case {"code": code}:
            return code
        case _:
            return None


def updated(mapping):
    fields = {}
    fields.update(mapping)
    return fields


CANDIDATES = [
    {"other": 1},
    {"other": 1, "code": "1234"},
    {"keys": 3, "other": 1},
    {"keys": 3, "other": 1, "code": "1234"},
]

# What anybody can read of a mapping; a session must answer as the dict of its live fields would.
READS = {
    "in": lambda m: "code" in m,
    "item": lambda m: [m[name] for name in ("code", "other") if name in m],
    "len": len,
    "bool": bool,
    "iteration": lambda m: [name for name in m],  # noqa: C416 -- list() asks for the length, too
    "list": list,
    "unpacked into a list": lambda m: [*m],
    "sorted": sorted,
    "reversed": lambda m: list(reversed(m)),
    "values": lambda m: list(m.values()),
    "items": lambda m: list(m.items()),
    "get": lambda m: m.get("code", "no code"),
    "equal": lambda m: [m == candidate for candidate in CANDIDATES],
    "unequal": lambda m: [m != candidate for candidate in CANDIDATES],
    "reflected equal": lambda m: [candidate == m for candidate in CANDIDATES],
    "dict": dict,
    "unpacked into a dict": lambda m: {**m},
    "unpacked into keywords": lambda m: keywords(**m),
    "update of a dict": updated,
    "or": lambda m: m | {"more": 2},
    "reflected or": lambda m: {"more": 2} | m,
    "copy method": lambda m: m.copy(),
    "copy.copy": lambda m: dict(copy.copy(m)),
    "copy.deepcopy": lambda m: dict(copy.deepcopy(m)),
    "json": json.dumps,
    "match": matched,
}


class TestReading:
    """Where a field with a lifetime is until its deadline, and is not from then on."""

    @pytest.mark.parametrize(
        "elapsed",
        [
            pytest.param(0, id="at once"),
            pytest.param(JUST_BEFORE, id="a microsecond before the deadline"),
            pytest.param(LIFETIME, id="at the deadline"),
            pytest.param(LIFETIME + 0.000001, id="a microsecond after it"),
            pytest.param(DAY, id="a day later"),
        ],
    )
    @pytest.mark.parametrize("read", READS.values(), ids=READS)
    @pytest.mark.parametrize("others", [{}, {"keys": 3}], ids=["", "beside a field keys"])
    def test_a_field_is_gone_from_every_read_at_its_deadline(
        self, clock, sessions, others, read, elapsed
    ):
        """A field with a TTL is gone at now >= deadline, whichever way the session is read."""
        set_fields(sessions, **others, other=1, code=ttl("1234", LIFETIME))
        clock.tick(elapsed)
        code = {"code": "1234"} if elapsed < LIFETIME else {}
        expected = {**others, "other": 1, **code}
        with sessions.open("1") as session:
            assert read(expected) == read(session)

    @pytest.mark.parametrize("read", READS.values(), ids=READS)
    def test_a_field_expires_in_the_middle_of_a_handler(self, clock, sessions, read):
        """Deadlines are compared when the field is accessed, not only when it is loaded."""
        set_fields(sessions, other=1, code=ttl("1234", LIFETIME))
        with sessions.open("1") as session:
            clock.tick(JUST_BEFORE)
            assert read({"other": 1, "code": "1234"}) == read(session)
            clock.tick(0.000001)
            assert read({"other": 1}) == read(session)

    @pytest.mark.parametrize("read", READS.values(), ids=READS)
    def test_a_field_that_was_just_marked_expires_too(self, clock, read):
        """A mark counts from the assignment, in a session that was never stored."""
        session = Session(other=1, code=ttl("1234", LIFETIME))
        clock.tick(LIFETIME)
        assert read({"other": 1}) == read(session)

    @pytest.mark.parametrize("elapsed", [0, JUST_BEFORE], ids=["at once", "just before"])
    def test_attribute_and_item_give_the_value_until_the_deadline(self, clock, sessions, elapsed):
        """A field with a TTL is an ordinary attribute and item until its deadline."""
        set_fields(sessions, code=ttl("1234", LIFETIME))
        clock.tick(elapsed)
        with sessions.open("1") as session:
            assert ("1234", "1234", True) == (
                session.code,
                session["code"],
                hasattr(session, "code"),
            )

    @ONCE_OVER
    def test_attribute_and_item_raise_from_the_deadline_on(self, clock, sessions, elapsed):
        """An expired field raises AttributeError and KeyError."""
        set_fields(sessions, other=1, code=ttl("1234", LIFETIME))
        clock.tick(elapsed)
        with sessions.open("1") as session:
            with pytest.raises(AttributeError):
                _ = session.code
            with pytest.raises(KeyError):
                _ = session["code"]
            assert False is hasattr(session, "code")

    def test_the_keys_method_gives_the_live_names(self, clock, sessions):
        """An expired field is gone from keys()."""
        set_fields(sessions, other=1, code=ttl("1234", LIFETIME))
        with sessions.open("1") as session:
            clock.tick(JUST_BEFORE)
            assert ["other", "code"] == list(session.keys())
            clock.tick(0.000001)
            assert ["other"] == list(session.keys())

    def test_as_dict_has_the_live_fields(self, clock, sessions):
        """An expired field is gone from as_dict."""
        set_fields(sessions, other=1, code=ttl("1234", LIFETIME))
        with sessions.open("1") as session:
            clock.tick(JUST_BEFORE)
            assert {"other": 1, "code": "1234"} == as_dict(session)
            clock.tick(0.000001)
            assert {"other": 1} == as_dict(session)

    def test_repr_names_the_live_fields(self, clock, sessions):
        """An expired field is gone from repr."""
        set_fields(sessions, other=1, code=ttl("1234", LIFETIME))
        with sessions.open("1") as session:
            clock.tick(JUST_BEFORE)
            assert (True, True) == ("other" in repr(session), "code" in repr(session))
            clock.tick(0.000001)
            assert (True, False) == ("other" in repr(session), "code" in repr(session))

    def test_peek_shows_the_live_fields(self, clock, sessions):
        """An expired field is gone from peek, though its session was not written since."""
        set_fields(sessions, other=1, code=ttl("1234", LIFETIME))
        clock.tick(JUST_BEFORE)
        assert {"other": 1, "code": "1234"} == sessions.peek("1")
        clock.tick(0.000001)
        assert {"other": 1} == sessions.peek("1")

    def test_a_session_that_was_kept_goes_on_expiring(self, clock, sessions):
        """After the handler returned reading still works, and deadlines still hold."""
        with sessions.open("1") as session:
            session.update(other=1, code=ttl("1234", LIFETIME))
        clock.tick(LIFETIME)
        assert ({"other": 1}, 0.0) == (dict(session), ttl_left(session, "code"))
        with pytest.raises(SessionClosedError):
            session.code = "9876"

    def test_fields_expire_one_by_one(self, clock, sessions):
        """A TTL belongs to one field."""
        set_fields(sessions, a=ttl(1, 10), b=ttl(2, 20), c=3)
        seen = []
        for _ in range(3):
            seen.append(sorted(fields_of(sessions)))
            clock.tick(10)
        assert [["a", "b", "c"], ["b", "c"], ["c"]] == seen

    @pytest.mark.parametrize("move", ["tick", "move_to"])
    def test_freezegun_drives_the_clock_across_handlers(self, clock, move):
        """Deadlines are time.monotonic() values, so that tick and move_to drive them."""
        storage = MemoryStorage()

        @with_session(storage=storage)
        def enter(message, session):
            session.code = ttl("1234", LIFETIME)

        @with_session(storage=storage)
        def check(message, session):
            return session.get("code")

        def advance(seconds):
            if move == "tick":
                clock.tick(timedelta(seconds=seconds))
            else:
                clock.move_to(datetime.now(UTC) + timedelta(seconds=seconds))

        enter(message_from(7))
        advance(JUST_BEFORE)
        assert "1234" == check(message_from(7))
        advance(0.000001)
        assert None is check(message_from(7))

    @given(lifetime=st.integers(1, 10**12), elapsed=st.integers(0, 2 * 10**12))
    def test_a_field_is_live_exactly_while_its_lifetime_lasts(self, lifetime, elapsed):
        """Whatever the lifetime, to the microsecond, a field lives that long and no longer."""
        # At equal times the sum of two floats decides; the tests above have exact ones.
        elapsed += elapsed == lifetime
        with freeze_time(START) as clock:
            session = Session(code=ttl("1234", timedelta(microseconds=lifetime)))
            clock.tick(timedelta(microseconds=elapsed))
            assert (elapsed < lifetime) == ("code" in session)


class TestMessages:
    """What is said about a field that has expired."""

    @pytest.mark.parametrize(
        ("access", "kind"),
        [
            pytest.param(lambda s: s.code, AttributeError, id="attribute"),
            pytest.param(lambda s: s["code"], KeyError, id="item"),
            pytest.param(lambda s: s.pop("code"), KeyError, id="pop"),
            pytest.param(lambda s: s.__delattr__("code"), AttributeError, id="del attribute"),
            pytest.param(lambda s: s.__delitem__("code"), KeyError, id="del item"),
        ],
    )
    def test_an_expired_field_is_named_and_said_to_have_expired(
        self, clock, sessions, access, kind
    ):
        """An expired field raises, saying which and that it expired; values are never shown."""
        set_fields(sessions, other=1, code=ttl("1234", LIFETIME))
        clock.tick(LIFETIME)
        with sessions.open("1") as session, pytest.raises(kind) as caught:
            access(session)
        said = str(caught.value)
        assert (True, True, False) == ("'code'" in said, "expired" in said, "1234" in said)

    def test_a_missing_field_is_not_said_to_have_expired(self, sessions):
        """A field that never was is missing; only one that was and had a deadline expired."""
        with sessions.open("1") as session, pytest.raises(AttributeError) as caught:
            _ = session.code
        assert (True, False) == ("'code'" in str(caught.value), "expired" in str(caught.value))

    def test_a_deleted_ttl_field_is_not_said_to_have_expired(self, clock, sessions):
        """`del` removes the mark, and a field without mark cannot have expired."""
        with sessions.open("1") as session:
            session.code = ttl("1234", LIFETIME)
            del session.code
            clock.tick(LIFETIME)
            with pytest.raises(AttributeError) as caught:
                _ = session.code
        assert False is ("expired" in str(caught.value))

    def test_the_attribute_error_carries_name_and_session(self, clock):
        """The error knows which attribute of which session was asked for."""
        session = Session(code=ttl("1234", LIFETIME))
        clock.tick(LIFETIME)
        with pytest.raises(AttributeError) as caught:
            _ = session.code
        assert ("code", session) == (caught.value.name, caught.value.obj)

    @ONCE_OVER
    def test_adding_to_an_expired_counter_raises(self, clock, sessions, elapsed):
        """`session.counter += 1` on an expired field raises AttributeError saying it expired."""
        set_fields(sessions, other=1, counter=ttl(5, LIFETIME))
        clock.tick(elapsed)
        with (
            pytest.raises(AttributeError, match=r"'counter'.*expired"),
            sessions.open("1") as session,
        ):
            session.counter += 1
        assert {"other": 1} == sessions.peek("1")

    def test_adding_to_a_live_counter_renews_it(self, clock, sessions):
        """`session.counter += 1` is an update: the full lifetime again."""
        set_fields(sessions, counter=ttl(5, LIFETIME))
        clock.tick(JUST_BEFORE)
        with sessions.open("1") as session:
            session.counter += 1
        assert ({"counter": 6}, LIFETIME) == (fields_of(sessions), left_of(sessions, "counter"))


class TestLifetimes:
    """What `ttl` takes, and what it refuses."""

    @pytest.mark.parametrize(
        ("lifetime", "expected"),
        [
            pytest.param(5, 5.0, id="int"),
            pytest.param(0.5, 0.5, id="float"),
            pytest.param(timedelta(minutes=5), 300.0, id="timedelta"),
            pytest.param(timedelta(microseconds=1), 0.000001, id="a microsecond"),
            pytest.param(enum.IntEnum("Limit", {"LONG": 60}).LONG, 60.0, id="IntEnum"),
            pytest.param(1e300, 1e300, id="huge"),
        ],
    )
    def test_a_lifetime_is_seconds_or_timedelta(self, clock, lifetime, expected):
        """`ttl` takes a lifetime in seconds or as a timedelta."""
        left = ttl_left(Session(code=ttl("1234", lifetime)), "code")
        assert pytest.approx(expected, abs=5e-7) == left

    def test_the_default_lifetime_is_30_seconds(self, clock):
        """`ttl(value)` lives for 30 seconds."""
        session = Session(code=ttl("1234"))
        assert 30.0 == ttl_left(session, "code")
        clock.tick(30)
        assert {} == dict(session)

    @pytest.mark.parametrize(
        ("lifetime", "kind"),
        [
            pytest.param(-1, ValueError, id="negative int"),
            pytest.param(-1e-9, ValueError, id="negative float"),
            pytest.param(timedelta(microseconds=-1), ValueError, id="negative timedelta"),
            pytest.param(math.nan, ValueError, id="NaN"),
            pytest.param(math.inf, ValueError, id="inf"),
            pytest.param(-math.inf, ValueError, id="-inf"),
            pytest.param(10**400, ValueError, id="an int beyond float"),
            pytest.param(-(10**400), ValueError, id="a negative int beyond float"),
            pytest.param(True, TypeError, id="True"),
            pytest.param(False, TypeError, id="False"),
            pytest.param("30", TypeError, id="str"),
            pytest.param(None, TypeError, id="None"),
            pytest.param(1j, TypeError, id="complex"),
            pytest.param(Decimal(30), TypeError, id="Decimal"),
            pytest.param([30], TypeError, id="list"),
            pytest.param(START, TypeError, id="datetime"),
            pytest.param(ttl(30, 30), TypeError, id="ttl"),
        ],
    )
    def test_other_lifetimes_are_refused(self, lifetime, kind):
        """`ttl` with a negative, NaN or non-number lifetime: ValueError or TypeError."""
        with pytest.raises(kind, match="lifetime of ttl"):
            ttl("1234", lifetime)

    def test_a_ttl_of_a_ttl_is_refused(self):
        """One field has one lifetime, so `ttl(ttl(...))` is a TypeError."""
        with pytest.raises(TypeError, match="ttl"):
            ttl(ttl("1234", 5), 10)

    @pytest.mark.parametrize("lifetime", [0, 0.0, -0.0, timedelta()], ids=repr)
    def test_a_lifetime_of_0_makes_an_ordinary_field(self, clock, sessions, lifetime):
        """`ttl(v, 0)` is an ordinary field, from the start or again."""
        set_fields(sessions, new=ttl(1, lifetime), old=ttl(2, LIFETIME))
        set_fields(sessions, old=ttl(3, lifetime))
        clock.tick(LIFETIME)
        assert {"new": 1, "old": 3} == fields_of(sessions)
        assert (None, None) == (left_of(sessions, "new"), left_of(sessions, "old"))

    def test_repr_of_a_marked_value_hides_the_value(self):
        """What `ttl` returns does not show the value on its way into the field."""
        assert False is ("1234" in repr(ttl("1234", 5)))

    @pytest.mark.parametrize(
        ("put", "path"),
        [
            pytest.param(lambda s: s.update(log=[1, ttl(2, 5)]), "log[1]", id="list"),
            pytest.param(
                lambda s: s.update(cart={"apple": {"count": ttl(2, 5)}}),
                "cart['apple']['count']",
                id="dict",
            ),
            pytest.param(lambda s: s.update(point=(ttl(2, 5), 3)), "point[0]", id="tuple"),
            pytest.param(
                lambda s: s.update(cart=Cart(items=[ttl(2, 5)])), "cart.items[0]", id="dataclass"
            ),
        ],
    )
    def test_a_ttl_inside_a_value_is_an_encode_error(self, storage, sessions, put, path):
        """A `ttl(...)` found inside a nested value: EncodeError with the path, nothing written."""
        set_fields(sessions, other=1)
        before = storage.get("1")
        with pytest.raises(EncodeError) as caught, sessions.open("1") as session:
            put(session)
        assert (path, before) == (caught.value.path, storage.get("1"))

    def test_a_ttl_inside_a_value_of_initial_is_an_encode_error(self, storage):
        """A `ttl(...)` inside a nested value of `initial` is an EncodeError with the path, too."""
        sessions = Sessions(initial={"cart": {"apple": ttl(1, 5)}}, storage=storage)
        with pytest.raises(EncodeError) as caught, sessions.open("1"):
            pass
        assert ("cart['apple']", None) == (caught.value.path, storage.get("1"))


class TestTtlLeft:
    """`ttl_left`: the seconds until a field expires."""

    def test_it_counts_down_to_0(self, clock):
        """ttl_left is the seconds until the field expires, and 0 from its deadline on."""
        session = Session(code=ttl("1234", LIFETIME))
        seen = []
        for seconds in (100.5, 199.5, 1000):
            seen.append(ttl_left(session, "code"))
            clock.tick(seconds)
        assert [300.0, 199.5, 0.0, 0.0] == [*seen, ttl_left(session, "code")]

    def test_it_is_a_microsecond_just_before_the_deadline(self, clock):
        """A microsecond before its deadline a field has a microsecond left."""
        session = Session(code=ttl("1234", LIFETIME))
        clock.tick(JUST_BEFORE)
        assert pytest.approx(0.000001, abs=5e-7) == ttl_left(session, "code")

    def test_it_is_none_without_ttl(self, clock, sessions):
        """ttl_left is None for a field that has no TTL, was deleted, or never was."""
        with sessions.open("1") as session:
            session.update(ordinary=1, deleted=ttl(2, 5))
            del session.deleted
            names = ("ordinary", "deleted", "never")
            assert [None, None, None] == [ttl_left(session, name) for name in names]

    def test_asking_renews_nothing(self, clock, sessions, storage):
        """Neither ttl_left nor reading a field is an update of it."""
        set_fields(sessions, code=ttl("1234", LIFETIME))
        clock.tick(100)
        with sessions.open("1") as session:
            left = [ttl_left(session, "code") for _ in (session.code, session["code"])]
        assert ([200.0, 200.0], 200.0) == (left, left_of(sessions))
        assert 1 == storage.calls["set"]

    def test_it_wants_a_session(self):
        """ttl_left of anything but a session is a TypeError."""
        with pytest.raises(TypeError):
            ttl_left({"code": "1234"}, "code")


@dataclass
class Trip:
    stops: list[str] = field(default_factory=list)
    nights: dict[str, int] = field(default_factory=dict)


VALUES = {
    "text": "1234",
    "the field's own name": "code",
    "a list": [1, [2, 3]],
    "a list of the field's own name": ["code", "code"],
    "a dict": {"apple": 1, "pear": {"ripe": True}},
    "a dict with the field's own name": {"code": {"code": "code"}},
    "words of the library": ["fields", "ttl", "session", "key"],
    "a set": {"apple", "pear", "fig", "kiwi"},
    "a frozenset": frozenset({"apple", "pear", "fig"}),
    "a set whose copies iterate in other orders": {6, 14, 22},
    "a tuple": (1, ("two", b"three")),
    "an object": Cart("Ann", ["apple"]),
    "a mixed bag": {"a": [{1, 2}, (None, 1.5)], ("t",): Cart(items=[Cart()])},
    "None": None,
}

MUTABLE = {
    "list append": ([1], lambda v: v.append(2)),
    "list item": ([1], lambda v: v.__setitem__(0, 2)),
    "list inside a list": ([[1]], lambda v: v[0].append(2)),
    "dict item": ({"apple": 1}, lambda v: v.__setitem__("apple", v["apple"] + 1)),
    "dict inside a dict": ({"a": {"b": 1}}, lambda v: v["a"].update(b=2)),
    "deleted dict item": ({"apple": 1, "pear": 2}, lambda v: v.pop("apple")),
    "set": ({"apple"}, lambda v: v.add("pear")),
    "set that loses one": ({"apple", "pear"}, lambda v: v.discard("apple")),
    "list inside a tuple": (([1],), lambda v: v[0].append(2)),
    "object": (Cart(), lambda v: setattr(v, "owner", "Ann")),
    "list inside an object": (Cart(), lambda v: v.items.append("apple")),
    "True for 1": ([1], lambda v: v.__setitem__(0, True)),
}


class TestRenewal:
    """What renews a field, and what does not."""

    @pytest.mark.parametrize(
        "assign",
        [
            pytest.param(lambda s: setattr(s, "code", "9876"), id="attribute"),
            pytest.param(lambda s: s.__setitem__("code", "9876"), id="item"),
            pytest.param(lambda s: s.update(code="9876"), id="update"),
            pytest.param(lambda s: s.__ior__({"code": "9876"}), id="|="),
            pytest.param(lambda s: setattr(s, "code", ttl("9876", LIFETIME)), id="ttl"),
        ],
    )
    def test_an_assignment_is_an_update(self, clock, sessions, assign):
        """An update gives the field the full lifetime again, and it is still a TTL field."""
        set_fields(sessions, code=ttl("1234", LIFETIME))
        clock.tick(JUST_BEFORE)
        with sessions.open("1") as session:
            assign(session)
            assert LIFETIME == ttl_left(session, "code")
        clock.tick(JUST_BEFORE)
        assert {"code": "9876"} == fields_of(sessions)
        clock.tick(0.000001)
        assert {} == fields_of(sessions)

    def test_an_assignment_of_the_same_value_is_an_update(self, clock, sessions):
        """What counts is that the field was assigned, not that its value differs."""
        set_fields(sessions, code=ttl("1234", LIFETIME))
        clock.tick(100)
        set_fields(sessions, code="1234")
        assert LIFETIME == left_of(sessions)

    def test_an_assignment_counts_from_its_own_moment(self, clock, sessions):
        """A field is gone its lifetime after its last update, which need not be the commit."""
        set_fields(sessions, code=ttl("1234", LIFETIME))
        with sessions.open("1") as session:
            session.code = "9876"
            clock.tick(100)
        assert 200.0 == left_of(sessions)

    def test_a_new_lifetime_replaces_the_old_one(self, clock, sessions):
        """The lifetime of a field is the one it was last given."""
        set_fields(sessions, code=ttl("1234", 10))
        set_fields(sessions, code=ttl("1234", 1000))
        set_fields(sessions, code="9876")
        assert 1000.0 == left_of(sessions)
        set_fields(sessions, code=ttl("1234", 5))
        assert 5.0 == left_of(sessions)

    def test_an_ordinary_field_becomes_a_ttl_field(self, clock, sessions):
        """`ttl` marks a field that had no lifetime before."""
        set_fields(sessions, code="1234")
        set_fields(sessions, code=ttl("1234", LIFETIME))
        assert LIFETIME == left_of(sessions)

    def test_setdefault_renews_no_live_field(self, clock, sessions):
        """setdefault only reads a field that is there."""
        set_fields(sessions, code=ttl("1234", LIFETIME))
        clock.tick(100)
        with sessions.open("1") as session:
            assert ("1234", 200.0) == (
                session.setdefault("code", "9876"),
                ttl_left(session, "code"),
            )
        assert 200.0 == left_of(sessions)

    @pytest.mark.parametrize("value", VALUES.values(), ids=VALUES)
    def test_loading_never_renews(self, clock, storage, sessions, value):
        """Loading never renews a field, and a handler that only reads writes nothing."""
        set_fields(sessions, code=ttl(value, LIFETIME))
        for _ in range(3):
            clock.tick(75)
            assert {"code": value} == fields_of(sessions)
        assert (75.0, 1) == (left_of(sessions), storage.calls["set"])

    @pytest.mark.parametrize("value", VALUES.values(), ids=VALUES)
    def test_an_unrelated_change_does_not_renew(self, clock, sessions, value):
        """Only an update of that field renews it, not a change of another."""
        set_fields(sessions, code=ttl(value, LIFETIME), other=[])
        for number in range(3):
            clock.tick(50)
            with sessions.open("1") as session:
                session.other.append(number)
        assert 150.0 == left_of(sessions)
        clock.tick(150)
        assert {"other": [0, 1, 2]} == fields_of(sessions)

    @pytest.mark.parametrize(("value", "change"), MUTABLE.values(), ids=MUTABLE)
    def test_a_nested_change_renews_at_commit(self, clock, sessions, value, change):
        """A nested change of its value renews a field, counted from the commit."""
        set_fields(sessions, code=ttl(value, LIFETIME), other=ttl([1], LIFETIME))
        clock.tick(100)
        with sessions.open("1") as session:
            change(session.code)
            clock.tick(50)
            assert 150.0 == ttl_left(session, "code")
        assert (LIFETIME, 150.0) == (left_of(sessions), left_of(sessions, "other"))

    def test_a_nested_change_does_not_revive_what_expires_before_the_commit(self, clock, sessions):
        """A field whose deadline passes before the commit is gone, with the change in it."""
        set_fields(sessions, other=1, log=ttl([1], LIFETIME))
        with sessions.open("1") as session:
            session.log.append(2)
            clock.tick(LIFETIME)
        assert {"other": 1} == fields_of(sessions)

    def test_a_nested_change_in_the_handler_that_assigned_renews_too(self, clock, sessions):
        """A nested change renews at commit, also of a value that the same handler assigned."""
        with sessions.open("1") as session:
            session.log = ttl([], LIFETIME)
            clock.tick(100)
            session.log.append(1)
        assert LIFETIME == left_of(sessions, "log")

    def test_a_nested_change_and_an_assignment_elsewhere_are_told_apart(self, clock, sessions):
        """In one handler each field is renewed, or not, for itself."""
        set_fields(sessions, a=ttl([1], 100), b=ttl([1], 100), c=ttl([1], 100))
        clock.tick(50)
        with sessions.open("1") as session:
            session.a.append(2)
            session.b = [2]
            clock.tick(10)
        assert [100.0, 90.0, 40.0] == [left_of(sessions, name) for name in "abc"]

    def test_what_a_raising_handler_did_renews_nothing(self, clock, sessions, storage):
        """A handler that raises leaves values, deadlines and marks as they were."""

        def change_and_fail():
            with sessions.open("1") as session:
                session.a.append(2)
                session.b = 5
                del session.c
                session.d = ttl(4, 5)
                raise ZeroDivisionError

        set_fields(sessions, a=ttl([1], LIFETIME), b=ttl(2, LIFETIME), c=ttl(3, LIFETIME), d=4)
        before = storage.get("1")
        clock.tick(100)
        with pytest.raises(ZeroDivisionError):
            change_and_fail()
        assert before == storage.get("1")
        assert [200.0, 200.0, 200.0, None] == [left_of(sessions, name) for name in "abcd"]

    def test_a_nested_call_renews_with_the_outermost_commit(self, clock, storage):
        """Handlers that share a session share its deadlines; the outermost call commits."""

        @with_session(storage=storage)
        def inner(message, session):
            session.log.append(2)

        @with_session(storage=storage)
        def outer(message, session):
            inner(message)
            clock.tick(50)
            return ttl_left(session, "log")

        sessions = Sessions(storage=storage)
        set_fields(sessions, key="7", log=ttl([1], LIFETIME))
        clock.tick(100)
        assert 150.0 == outer(message_from(7))
        assert LIFETIME == left_of(sessions, "log", key="7")


class TestMark:
    """The mark that makes a field expire, which outlives its value."""

    def test_an_expired_field_that_is_assigned_again_starts_its_lifetime_again(
        self, clock, sessions
    ):
        """The mark outlives the value: assigning an expired field starts its lifetime again."""
        set_fields(sessions, other=1, code=ttl("1234", LIFETIME))
        clock.tick(DAY)
        set_fields(sessions, code="9876")
        assert LIFETIME == left_of(sessions)
        clock.tick(LIFETIME)
        assert {"other": 1} == fields_of(sessions)

    def test_the_mark_outlives_writes_without_the_value(self, clock, sessions):
        """The mark stays while the session exists, however often it is written meanwhile."""
        set_fields(sessions, code=ttl("1234", LIFETIME))
        clock.tick(LIFETIME)
        for number in range(3):
            set_fields(sessions, other=number)
        set_fields(sessions, code="9876")
        assert LIFETIME == left_of(sessions)

    def test_an_expired_field_is_assigned_again_in_the_same_handler(self, clock, sessions):
        """The mark outlives the value within one handler as well."""
        with sessions.open("1") as session:
            session.code = ttl("1234", LIFETIME)
            clock.tick(LIFETIME)
            assert False is ("code" in session)
            session.code = "9876"
            clock.tick(100)
        assert ({"code": "9876"}, 200.0) == (fields_of(sessions), left_of(sessions))

    def test_setdefault_fills_an_expired_field(self, clock, sessions):
        """setdefault finds no expired field, sets it, and so starts its lifetime again."""
        set_fields(sessions, other=1, code=ttl("1234", LIFETIME))
        clock.tick(LIFETIME)
        with sessions.open("1") as session:
            assert "9876" == session.setdefault("code", "9876")
        assert ({"other": 1, "code": "9876"}, LIFETIME) == (fields_of(sessions), left_of(sessions))

    def test_setdefault_takes_a_marked_value(self, clock, sessions):
        """setdefault with `ttl(...)` stores the value with its lifetime, and returns the value."""
        with sessions.open("1") as session:
            assert [] == session.setdefault("log", ttl([], LIFETIME))
        assert LIFETIME == left_of(sessions, "log")

    @pytest.mark.parametrize(
        "unmark",
        [
            pytest.param(lambda s: s.__delattr__("code"), id="del attribute"),
            pytest.param(lambda s: s.__delitem__("code"), id="del item"),
            pytest.param(lambda s: s.pop("code"), id="pop"),
            pytest.param(lambda s: s.popitem(), id="popitem"),
            pytest.param(lambda s: s.clear(), id="clear"),
            pytest.param(lambda s: setattr(s, "code", ttl("x", 0)), id="ttl of 0"),
        ],
    )
    @pytest.mark.parametrize("handlers", [1, 2], ids=["in one handler", "in two handlers"])
    def test_the_mark_can_be_removed(self, clock, sessions, unmark, handlers):
        """`ttl(v, 0)`, `del`, `pop` and `clear` remove the mark: an ordinary field again."""
        set_fields(sessions, other=1, code=ttl("1234", LIFETIME))
        with sessions.open("1") as session:
            unmark(session)
            if handlers == 1:
                session.code = "9876"
        set_fields(sessions, code="9876")
        clock.tick(DAY)
        assert ("9876", None) == (fields_of(sessions)["code"], left_of(sessions))

    def test_clear_removes_the_marks_of_expired_fields(self, clock, sessions):
        """After `clear` a session has no fields and no marks, not even of expired fields."""
        set_fields(sessions, other=1, code=ttl("1234", LIFETIME))
        clock.tick(LIFETIME)
        with sessions.open("1") as session:
            session.clear()
            session.code = "9876"
        clock.tick(DAY)
        assert {"code": "9876"} == fields_of(sessions)

    def test_a_ttl_of_0_makes_an_expired_field_ordinary(self, clock, sessions):
        """`ttl(v, 0)` removes the mark that outlived its value."""
        set_fields(sessions, other=1, code=ttl("1234", LIFETIME))
        clock.tick(LIFETIME)
        set_fields(sessions, code=ttl("9876", 0))
        clock.tick(DAY)
        assert {"other": 1, "code": "9876"} == fields_of(sessions)

    def test_pop_gives_the_default_for_an_expired_field(self, clock, sessions):
        """pop finds no expired field: the default, or KeyError where there is none."""
        set_fields(sessions, other=1, code=ttl("1234", LIFETIME))
        clock.tick(LIFETIME)
        with sessions.open("1") as session:
            assert "no code" == session.pop("code", "no code")
            with pytest.raises(KeyError):
                session.pop("code")

    def test_popitem_passes_over_expired_fields(self, clock, sessions):
        """popitem takes the youngest live field, and finds none once all have expired."""
        set_fields(sessions, other=1, code=ttl("1234", LIFETIME))
        clock.tick(LIFETIME)
        with sessions.open("1") as session:
            assert ("other", 1) == session.popitem()
            with pytest.raises(KeyError):
                session.popitem()

    def test_two_users_never_touch_each_others_ttl(self, clock, storage):
        """A TTL belongs to one field of one session, whatever other sessions name theirs."""
        left = {}

        @with_session(storage=storage)
        def handle(message, session):
            if message.text == "short":
                session.code = ttl("s", 10)
            elif message.text == "long":
                session.code = ttl("l", 1000)
            elif message.text == "plain":
                session.code = "p"
            left[message.from_user.id] = ttl_left(session, "code"), session.get("code")

        for user_id, text in enumerate(["short", "long", "plain"]):
            handle(message_from(user_id, text))
        clock.tick(10)
        for user_id in range(3):
            handle(message_from(user_id))
        assert {0: (0.0, None), 1: (990.0, "l"), 2: (None, "p")} == left

    def test_an_update_by_one_user_renews_nothing_of_another(self, clock, sessions):
        """An update in one session leaves the deadlines of all others alone."""
        for key in "12":
            set_fields(sessions, key, code=ttl("1234", LIFETIME))
        clock.tick(100)
        set_fields(sessions, "1", code="9876")
        assert [300.0, 200.0] == [left_of(sessions, key=key) for key in "12"]


class TestInitial:
    """`ttl(...)` among the values of `initial`."""

    @pytest.mark.parametrize(
        "initial",
        [
            pytest.param({"code": ttl("1234", LIFETIME), "other": 1}, id="mapping"),
            pytest.param(lambda: {"code": ttl("1234", LIFETIME), "other": 1}, id="callable"),
            pytest.param(
                lambda update: {"code": ttl("1234", LIFETIME), "other": 1}, id="of an update"
            ),
        ],
    )
    def test_values_of_initial_may_be_marked(self, clock, storage, initial):
        """A marked value of `initial` lives from the start of each session, not of the bot."""
        sessions = Sessions(initial=initial, storage=storage)
        seen = []
        for key in "12":
            clock.tick(1000)
            with sessions.open(key, update=message_from(1)) as session:
                seen.append((session.code, ttl_left(session, "code")))
        assert [("1234", 300.0)] * 2 == seen
        clock.tick(LIFETIME)
        assert {"other": 1} == sessions.peek("2")

    def test_sessions_share_no_marked_value_of_initial(self, clock, storage):
        """A mapping is copied for each new session, through the mark as well."""
        sessions = Sessions(initial={"log": ttl([], LIFETIME)}, storage=storage)
        for key in "12":
            with sessions.open(key) as session:
                session.log.append(key)
        assert [["1"], ["2"]] == [sessions.peek(key)["log"] for key in "12"]

    def test_a_field_that_expires_is_not_made_anew_by_initial(self, clock, storage):
        """`initial` makes sessions, not fields: what expired stays gone while there are others."""
        sessions = Sessions(initial={"code": ttl("1234", LIFETIME), "other": 1}, storage=storage)
        with sessions.open("1"):
            pass
        clock.tick(LIFETIME)
        assert {"other": 1} == fields_of(sessions)

    def test_an_initial_that_expires_within_the_first_handler_is_not_stored(self, clock, storage):
        """A new session that has expired to nothing when its handler returns is not stored."""
        sessions = Sessions(initial={"code": ttl("1234", LIFETIME)}, storage=storage)
        with sessions.open("1"):
            clock.tick(LIFETIME)
        assert None is storage.get("1")


class TestStored:
    """What of a field is in the storage, and since when."""

    def test_an_expired_value_leaves_the_storage_with_the_next_write(
        self, clock, storage, sessions
    ):
        """An expired field is gone from the storage with the next write, and not before."""
        set_fields(sessions, other=1, code=ttl("1234", LIFETIME))
        clock.tick(LIFETIME)
        fields_of(sessions)
        assert (True, 1) == (b"1234" in storage.get("1"), storage.calls["set"])
        set_fields(sessions, other=2)
        assert (False, 2) == (b"1234" in storage.get("1"), storage.calls["set"])

    def test_a_handler_that_only_reads_an_expired_field_writes_nothing(
        self, clock, storage, sessions
    ):
        """A handler that only reads writes nothing, though a field has expired since or in it."""
        set_fields(sessions, other=1, a=ttl(1, 10), b=ttl(2, 20))
        clock.tick(10)
        with sessions.open("1") as session:
            assert ["other", "b"] == list(session)
            clock.tick(10)
            assert ["other"] == list(session)
        fields_of(sessions)
        assert (1, 0) == (storage.calls["set"], storage.calls["delete"])

    def test_save_drops_what_has_expired(self, clock, storage, sessions):
        """`save` is a write like any other: the expired field leaves the storage with it."""
        set_fields(sessions, other=1, code=ttl("1234", LIFETIME))
        with sessions.open("1") as session:
            clock.tick(LIFETIME)
            session.other = 2
            save(session)
            assert (False, {"other": 2}) == (b"1234" in storage.get("1"), sessions.peek("1"))

    def test_save_keeps_a_renewed_deadline_whatever_comes_after(self, clock, sessions):
        """What `save` wrote stays when the handler raises later, the deadline included."""

        def save_and_fail():
            with sessions.open("1") as session:
                session.code = "9876"
                save(session)
                clock.tick(50)
                session.code = "5555"
                raise ZeroDivisionError

        set_fields(sessions, code=ttl("1234", LIFETIME))
        clock.tick(100)
        with pytest.raises(ZeroDivisionError):
            save_and_fail()
        assert ({"code": "9876"}, 250.0) == (fields_of(sessions), left_of(sessions))

    def test_save_renews_for_a_nested_change_once(self, clock, storage, sessions):
        """A nested change renews when `save` commits it, and not again at the end."""
        set_fields(sessions, log=ttl([1], LIFETIME))
        clock.tick(100)
        with sessions.open("1") as session:
            session.log.append(2)
            save(session)
            clock.tick(50)
        assert (250.0, 2) == (left_of(sessions, "log"), storage.calls["set"])

    def test_a_nested_change_after_save_renews_again(self, clock, sessions):
        """A nested change renews at the next commit, be the last one in the same handler."""
        set_fields(sessions, log=ttl([1], LIFETIME))
        with sessions.open("1") as session:
            session.log.append(2)
            save(session)
            clock.tick(50)
            session.log.append(3)
        assert LIFETIME == left_of(sessions, "log")

    def test_a_session_left_empty_by_its_deadlines_is_deleted(self, clock, storage):
        """A session that a handler leaves empty is deleted; the next starts from `initial`."""
        sessions = Sessions(initial={"code": ttl("1234", LIFETIME)}, storage=storage)
        assert {"code": "1234"} == fields_of(sessions)
        clock.tick(LIFETIME)
        assert ({}, None) == (fields_of(sessions), storage.get("1"))
        assert ({"code": "1234"}, LIFETIME) == (fields_of(sessions), left_of(sessions))

    def test_a_session_left_empty_by_its_deadlines_can_be_filled_again(self, clock, sessions):
        """While the session exists its marks do: assigned again, the field expires again."""
        set_fields(sessions, code=ttl("1234", LIFETIME))
        clock.tick(LIFETIME)
        set_fields(sessions, code="9876")
        assert LIFETIME == left_of(sessions)

    def test_a_handler_that_raises_leaves_a_session_that_expired_to_nothing(
        self, clock, storage, sessions
    ):
        """A handler that raises leaves the stored record, although all its fields have expired."""
        set_fields(sessions, code=ttl("1234", LIFETIME))
        before = storage.get("1")
        clock.tick(LIFETIME)
        with pytest.raises(AttributeError), sessions.open("1") as session:
            _ = session.code
        assert before == storage.get("1")

    def test_a_session_that_expires_during_its_handler_is_deleted(self, clock, storage, sessions):
        """What is empty when its handler returns is deleted, whatever it was before."""
        set_fields(sessions, code=ttl("1234", LIFETIME))
        with sessions.open("1") as session:
            assert "1234" == session.code
            clock.tick(LIFETIME)
        assert None is storage.get("1")


class TestNames:
    """Fields with a TTL whose names mean something else, too."""

    @pytest.mark.parametrize("name", ["items", "keys", "values", "get", "pop", "update", "copy"])
    def test_a_field_named_like_a_method_gives_way_to_it_when_it_expires(
        self, clock, sessions, name
    ):
        """A field wins over a method of its name, for as long as there is such a field."""
        set_fields(sessions, other=1, **{name: ttl([1], LIFETIME)})
        with sessions.open("1") as session:
            clock.tick(JUST_BEFORE)
            assert ([1], [1]) == (getattr(session, name), session[name])
            assert {"other": 1, name: [1]} == dict(session)
            clock.tick(0.000001)
            assert {"other": 1} == dict(session)
            assert True is callable(getattr(session, name))
            with pytest.raises(KeyError, match=rf"'{name}'.*expired"):
                _ = session[name]

    @pytest.mark.parametrize("name", ["items", "keys", "get"])
    def test_a_field_named_like_a_method_is_renewed_by_a_nested_change(self, clock, sessions, name):
        """A nested change renews a TTL field, whatever its name."""
        set_fields(sessions, **{name: ttl([1], LIFETIME)})
        clock.tick(100)
        with sessions.open("1") as session:
            getattr(session, name).append(2)
        assert LIFETIME == left_of(sessions, name)

    @pytest.mark.parametrize(
        "name", ["_private", "__dunder__", "_marks", "_state", "", "мир", "a b"]
    )
    def test_any_str_names_a_field_with_a_ttl(self, clock, sessions, name):
        """Names that are no public attributes expire as items do."""
        set_fields(sessions, other=1, **{name: ttl(1, LIFETIME)})
        clock.tick(JUST_BEFORE)
        assert {"other": 1, name: 1} == fields_of(sessions)
        clock.tick(0.000001)
        assert ({"other": 1}, 0.0) == (fields_of(sessions), left_of(sessions, name))

    @pytest.mark.parametrize("name", ["fields", "ttl"])
    def test_words_of_the_library_name_fields_with_a_ttl(self, clock, storage, sessions, name):
        """A field may be named as the library names its own things, and is not renewed by it."""
        set_fields(sessions, other=1, **{name: ttl([1], LIFETIME)})
        clock.tick(100)
        fields_of(sessions)
        assert 1 == storage.calls["set"]
        set_fields(sessions, other=2)
        assert 200.0 == left_of(sessions, name)

    def test_a_field_may_expire_in_the_middle_of_an_iteration(self, clock, sessions):
        """An iteration goes over the fields of its start; those that expire in it are just gone."""
        set_fields(sessions, a=ttl(1, 10), b=ttl(2, 20), c=3)
        seen = []
        with sessions.open("1") as session:
            for name in session:
                seen.append((name, session.get(name)))
                clock.tick(10)
        assert [("a", 1), ("b", 2), ("c", 3)] == seen

    @pytest.mark.parametrize("view", ["keys", "values", "items"])
    def test_a_view_may_be_iterated_while_fields_expire(self, clock, sessions, view):
        """Iterating over a view never breaks when a field expires in the middle."""
        set_fields(sessions, a=1, b=ttl(2, 10), c=3)
        seen = []
        with sessions.open("1") as session:
            for item in getattr(session, view)():
                seen.append(item)
                clock.tick(10)
                assert {"a": 1, "c": 3} == as_dict(session)
        assert list(getattr({"a": 1, "b": 2, "c": 3}, view)()) == seen


SESSION = {"other": 1, "code": "1234"}

# Operations with their results on both sides of the deadline.
OPERATIONS = {
    "update of a session": (lambda s: dict(Session(s)), SESSION, {"other": 1}),
    "or": (lambda s: s | {}, SESSION, {"other": 1}),
    "as_dict": (as_dict, SESSION, {"other": 1}),
    "copy": (copy.copy, SESSION, {"other": 1}),
    "items": (lambda s: dict(s.items()), SESSION, {"other": 1}),
    "list": (list, ["other", "code"], ["other"]),
    "reversed": (lambda s: list(reversed(s)), ["code", "other"], ["other"]),
    "len": (len, 2, 1),
    "equal": (lambda s: s == SESSION, True, False),
    "get": (lambda s: s.get("code", "gone"), "1234", "gone"),
    "getattr": (lambda s: getattr(s, "code", "gone"), "1234", "gone"),
    "setdefault": (lambda s: s.setdefault("code", "new"), "1234", "new"),
    "pop": (lambda s: s.pop("code", "gone"), "1234", "gone"),
    "popitem": (lambda s: s.popitem(), ("code", "1234"), ("other", 1)),
    "match": (matched, "1234", None),
}


class TestOneInstant:
    """An operation that the deadline falls into."""

    @pytest.mark.parametrize(("operation", "before", "after"), OPERATIONS.values(), ids=OPERATIONS)
    def test_an_operation_sees_one_instant(self, monkeypatch, operation, before, after):
        """The clock is read once per operation: a field is there all the time or not at all."""
        outcomes = []
        for crossing in range(6):
            with monkeypatch.context() as patch:
                patch.setattr(time, "monotonic", lambda: 1000.0)
                session = Session(other=1, code=ttl("1234", LIFETIME))
                readings = itertools.count(1)
                patch.setattr(
                    time,
                    "monotonic",
                    lambda n=crossing, r=readings: 1000.0 + LIFETIME * (next(r) > n),
                )
                try:
                    outcomes.append(operation(session))
                except Exception as error:
                    outcomes.append(repr(error))
        assert [] == [outcome for outcome in outcomes if outcome not in (before, after)]

    def test_a_commit_sees_one_instant(self, monkeypatch):
        """A session whose last field expires during the commit is stored with it or not at all."""
        stored = []
        for crossing in range(8):
            with monkeypatch.context() as patch:
                patch.setattr(time, "monotonic", lambda: 1000.0)
                storage = MemoryStorage()
                with Sessions(storage=storage).open("1") as session:
                    session.code = ttl("1234", LIFETIME)
                    readings = itertools.count(1)
                    patch.setattr(
                        time,
                        "monotonic",
                        lambda n=crossing, r=readings: 1000.0 + LIFETIME * (next(r) > n),
                    )
                payload = storage.get("1")
                stored.append(payload and storage.codec.decode(payload, "1")["fields"])
        assert [] == [fields for fields in stored if fields not in (None, {"code": "1234"})]


class Colour(enum.Enum):
    RED = "red"


@dataclass
class Address:
    city: str = "nowhere"
    lines: list[str] = field(default_factory=list)


@dataclass
class Profile:
    name: str = "nobody"
    code: str = ttl("none", LIFETIME)
    log: list[str] = field(default_factory=lambda: ttl([], LIFETIME))
    address: Address = field(default_factory=lambda: ttl(Address("Bergen"), LIFETIME))
    colour: Colour | None = ttl(None, LIFETIME)  # noqa: RUF009
    tags: set[int] = field(default_factory=lambda: ttl(set(), LIFETIME))


@dataclass
class Login:
    phone: str
    attempts: int = 0


@dataclass
class Careless:
    name: str = "nobody"
    log: list[str] = ttl([], LIFETIME)  # noqa: RUF009


class TestTyped:
    """Dataclass sessions whose fields have a TTL."""

    @pytest.fixture
    def profiles(self, storage):
        return Sessions(initial=Profile, storage=storage)

    def test_a_dataclass_default_may_be_marked(self, clock, profiles):
        """Marked defaults and default factories give plain values that expire."""
        with profiles.open("1") as profile:
            values = profile.code, profile.log, profile.address.city, profile.colour
            assert ("none", [], "Bergen", None) == values
            left = [ttl_left(profile, f.name) for f in dataclasses.fields(profile)]
        assert [None, 300.0, 300.0, 300.0, 300.0, 300.0] == left

    @ONCE_OVER
    def test_an_expired_field_reads_as_its_declared_default(self, clock, profiles, elapsed):
        """Expired fields of a typed session read as their declared default."""
        with profiles.open("1") as profile:
            profile.code, profile.log, profile.colour = "1234", ["a"], Colour.RED
            profile.address = Address("Oslo", ["1st"])
            clock.tick(JUST_BEFORE)
            assert ("1234", ["a"], "Oslo", Colour.RED) == (
                profile.code,
                profile.log,
                profile.address.city,
                profile.colour,
            )
            clock.tick(elapsed - JUST_BEFORE)
            assert ("none", [], Address("Bergen"), None) == (
                profile.code,
                profile.log,
                profile.address,
                profile.colour,
            )
        assert {"name": "nobody"} == profiles.peek("1")

    def test_a_field_of_initial_may_be_marked(self, clock, storage):
        """An instance that `initial` returns may hold marked values."""
        logins = Sessions(initial=lambda: Login(ttl("555", LIFETIME), 3), storage=storage)
        with logins.open("1") as login:
            assert ("555", LIFETIME) == (login.phone, ttl_left(login, "phone"))
        clock.tick(LIFETIME)
        assert {"attempts": 3} == logins.peek("1")

    @ONCE_OVER
    def test_an_expired_field_without_default_raises(self, clock, storage, elapsed):
        """A required field has no default to read as: AttributeError, saying that it expired."""
        logins = Sessions(initial=lambda: Login(ttl("555", LIFETIME)), storage=storage)
        with logins.open("1"):
            clock.tick(elapsed)
        with logins.open("1") as login:
            with pytest.raises(AttributeError, match=r"'phone'.*expired"):
                _ = login.phone
            assert (False, 0) == (hasattr(login, "phone"), login.attempts)

    def test_adding_to_an_expired_counter_counts_from_its_default(self, clock, storage):
        """An expired field of a typed session is its default, to `+=` as well."""
        logins = Sessions(initial=lambda: Login("555", ttl(4, LIFETIME)), storage=storage)
        with logins.open("1") as login:
            login.attempts += 1
            clock.tick(LIFETIME)
            login.attempts += 1
            assert (1, LIFETIME) == (login.attempts, ttl_left(login, "attempts"))

    def test_assigning_renews_and_stays_a_ttl_field(self, clock, profiles):
        """An assignment gives a declared field its full lifetime again."""
        with profiles.open("1") as profile:
            clock.tick(JUST_BEFORE)
            profile.code = "1234"
        clock.tick(JUST_BEFORE)
        with profiles.open("1") as profile:
            assert "1234" == profile.code
            clock.tick(0.000001)
            assert "none" == profile.code

    def test_the_mark_is_removed_by_del_and_by_a_ttl_of_0(self, clock, profiles):
        """`del` and `ttl(v, 0)` make ordinary fields of declared fields."""
        with profiles.open("1") as profile:
            del profile.code
            profile.code = "1234"
            profile.log = ttl(["a"], 0)
        clock.tick(DAY)
        with profiles.open("1") as profile:
            assert ("1234", ["a"]) == (profile.code, profile.log)

    @pytest.mark.parametrize(
        ("change", "renewed"),
        [
            pytest.param(lambda p: p.log.append("a"), "log", id="list"),
            pytest.param(lambda p: setattr(p.address, "city", "Oslo"), "address", id="dataclass"),
            pytest.param(lambda p: p.address.lines.append("a"), "address", id="list in dataclass"),
        ],
    )
    def test_a_nested_change_renews_at_commit(self, clock, profiles, change, renewed):
        """A nested change renews that field of a typed session, and no other."""
        with profiles.open("1"):
            pass
        clock.tick(100)
        with profiles.open("1") as profile:
            change(profile)
        with profiles.open("1") as profile:
            names = [f.name for f in dataclasses.fields(profile)]
            left = {name: ttl_left(profile, name) for name in names}
        expected = {"name": None, **dict.fromkeys(names[1:], 200.0), renewed: 300.0}
        assert expected == left

    def test_an_unrelated_change_does_not_renew(self, clock, profiles):
        """A change of another field renews neither plain nor converted fields."""
        with profiles.open("1") as profile:
            profile.colour = Colour.RED
        for number in range(2):
            clock.tick(50)
            with profiles.open("1") as profile:
                profile.name = f"Ann {number}"
        with profiles.open("1") as profile:
            left = [ttl_left(profile, f.name) for f in dataclasses.fields(profile)]
        assert [None, 200.0, 200.0, 200.0, 200.0, 200.0] == left

    @pytest.mark.parametrize(
        "fields",
        [
            pytest.param({"address": Address("city", ["city"])}, id="a name of a nested field"),
            pytest.param({"address": Address("address")}, id="the field's own name"),
            pytest.param({"code": "code"}, id="its own name in a scalar field"),
            pytest.param({"colour": Colour.RED, "code": "red"}, id="the value of an enum"),
            pytest.param({"tags": {6, 14, 22}}, id="a set whose copies iterate in other orders"),
        ],
    )
    def test_no_value_renews_its_field_by_itself(self, clock, storage, profiles, fields):
        """Neither loading nor an unrelated change renews a field, whatever its value is."""
        with profiles.open("1") as profile:
            for name, value in fields.items():
                setattr(profile, name, value)
        clock.tick(50)
        with profiles.open("1") as profile:
            assert "nobody" == profile.name
        assert 1 == storage.calls["set"]
        with profiles.open("1") as profile:
            profile.name = "Ann"
        with profiles.open("1") as profile:
            assert [250.0] * len(fields) == [ttl_left(profile, name) for name in fields]

    def test_reading_writes_nothing(self, clock, storage, profiles):
        """A handler that only reads a typed session writes nothing, before and after expiry."""
        with profiles.open("1") as profile:
            profile.log = ["a", "b"]
        for _ in range(3):
            clock.tick(150)
            with profiles.open("1") as profile:
                assert "nobody" == dataclasses.asdict(profile)["name"]
        assert 1 == storage.calls["set"]

    def test_a_default_that_was_changed_after_expiry_is_saved(self, clock, profiles):
        """What is put into the fresh default of an expired field is saved, and expires again."""
        with profiles.open("1") as profile:
            profile.log.append("old")
        clock.tick(LIFETIME)
        with profiles.open("1") as profile:
            profile.log.append("new")
        with profiles.open("1") as profile:
            assert (["new"], LIFETIME) == (profile.log, ttl_left(profile, "log"))
        clock.tick(LIFETIME)
        with profiles.open("1") as profile:
            assert [] == profile.log

    def test_a_default_that_was_only_read_is_not_saved(self, clock, storage, profiles):
        """Reading the default of an expired field neither stores nor revives it."""
        with profiles.open("1") as profile:
            profile.log.append("old")
        clock.tick(LIFETIME)
        with profiles.open("1") as profile:
            assert ([], Address("Bergen")) == (profile.log, profile.address)
        assert ({"name": "nobody"}, 1) == (profiles.peek("1"), storage.calls["set"])

    def test_a_field_that_expires_twice_has_a_fresh_default_twice(self, clock, profiles):
        """Each time a field expires it reads as its declared default, also after a `save`."""
        with profiles.open("1") as profile:
            clock.tick(LIFETIME)
            profile.log.append("first")
            save(profile)
            clock.tick(LIFETIME)
            assert [] == profile.log
        with profiles.open("1") as profile:
            assert [] == profile.log

    def test_sessions_share_no_marked_mutable_default(self, clock, storage):
        """What one user puts into an expired field's default never reaches another user."""
        sessions = Sessions(initial=Careless, storage=storage)
        for key in "12":
            with sessions.open(key) as session:
                session.name = key
        clock.tick(LIFETIME)
        with sessions.open("1") as session:
            session.log.append("private")
        with sessions.open("2") as session:
            assert [] == session.log

    def test_a_change_of_a_marked_mutable_default_is_saved(self, clock, storage):
        """A nested change of an expired field's default is saved, however it was declared."""
        sessions = Sessions(initial=Careless, storage=storage)
        with sessions.open("1") as session:
            session.name = "Ann"
        clock.tick(LIFETIME)
        with sessions.open("1") as session:
            session.log.append("kept")
        assert ["kept"] == sessions.peek("1").get("log")

    def test_asdict_equality_and_repr_are_of_the_live_fields(self, clock, profiles):
        """asdict and == see declared defaults where fields expired; repr names live fields."""
        with profiles.open("1") as profile:
            profile.name, profile.code = "Ann", "1234"
            fresh = Profile("Ann", "1234", [], Address("Bergen"), None, set())
            assert (True, True) == (profile == fresh, "code" in repr(profile))
            clock.tick(LIFETIME)
            fresh.code = "none"
            assert (True, False) == (profile == fresh, "code" in repr(profile))
            assert dataclasses.asdict(fresh) == dataclasses.asdict(profile)

    def test_a_new_session_equals_a_new_instance(self, profiles):
        """== works on a typed session, against an instance whose defaults are marked as well."""
        with profiles.open("1") as profile:
            assert (True, True) == (profile == Profile(), Profile() == profile)

    def test_a_ttl_inside_a_value_is_an_encode_error_with_the_path(self, storage, profiles):
        """A `ttl(...)` inside a nested value of a typed session: EncodeError with the path."""
        with pytest.raises(EncodeError) as caught, profiles.open("1") as profile:
            profile.log.append(ttl("a", 5))
        assert ("log[0]", None) == (caught.value.path, storage.get("1"))


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


def read_clock(depth):
    return time.monotonic() if depth == 0 else read_clock(depth - 1)


def readings_in_a_thread():
    """The monotonic clock as a shallow and as a deep frame of a new thread see it."""
    readings = []

    def read():
        readings.extend((read_clock(0), read_clock(20)))

    thread = threading.Thread(target=read)
    thread.start()
    thread.join()
    return readings


class TestThreadedBot:
    """A real bot with threads, while its clock stands still."""

    @pytest.fixture
    def bot(self, bot_api):
        bot = TeleBot("42:offline", num_threads=4)
        yield bot
        bot.stop_bot()

    def test_plain_freezegun_gives_real_time_to_shallow_frames_of_threads(self):
        """Without the fixture a thread's shallow calls see the real clock: the control."""
        with freeze_time(START):
            shallow, deep = readings_in_a_thread()
            assert (False, True) == (shallow == time.monotonic(), deep == time.monotonic())

    def test_the_fixture_freezes_every_frame_of_every_thread(self, frozen_time):
        """With the inspection limit at 1 the clock is frozen everywhere."""
        assert [time.monotonic()] * 2 == readings_in_a_thread()
        frozen_time.tick(LIFETIME)
        assert [time.monotonic()] * 2 == readings_in_a_thread()

    def test_fields_of_a_threaded_bot_expire_at_their_deadline(self, frozen_time, bot_api, bot):
        """In a bot with threads a field is there until its deadline, and not at it."""
        storage = MemoryStorage()

        @bot.message_handler(commands=["login"])
        @with_session(storage=storage)
        def login(message, session):
            session.code = ttl(f"code-{message.from_user.id}", LIFETIME)

        @bot.message_handler()
        @with_session(storage=storage)
        def check(message, session):
            bot.send_message(message.chat.id, session.get("code", "expired"))

        def ask_all():
            known = len(bot_api.messages)
            for user in users:
                user.send("?")
            polling.wait_idle()
            return sorted(sent.text for sent in bot_api.messages[known:])

        frozen_time.move_to(START)
        users = [bot_api.user(number) for number in range(1, 7)]
        codes = [f"code-{user.id}" for user in users]
        with run_polling(bot, bot_api) as polling:
            for user in users:
                user.send("/login")
            polling.wait_idle()
            frozen_time.tick(timedelta(seconds=JUST_BEFORE))
            assert codes == ask_all()
            frozen_time.tick(timedelta(microseconds=1))
            assert ["expired"] * 6 == ask_all()

    def test_sessions_of_a_threaded_bot_outlive_no_lifetime(self, frozen_time, bot_api, bot):
        """In a bot with threads every handler renews `lifetime`, and nothing else does."""
        storage = MemoryStorage()

        @bot.message_handler()
        @with_session(initial={"seen": 0}, lifetime=LIFETIME, storage=storage)
        def count(message, session):
            if message.text == "count":
                session.seen += 1
            bot.send_message(message.chat.id, str(session.seen))

        frozen_time.move_to(START)
        user = bot_api.user(1)
        with run_polling(bot, bot_api) as polling:
            for text, pause in [("count", JUST_BEFORE), ("?", JUST_BEFORE), ("?", LIFETIME)]:
                user.send(text)
                polling.wait_idle()
                frozen_time.tick(timedelta(seconds=pause))
            user.send("?")
            polling.wait_idle()
        assert ["1", "1", "1", "0"] == [sent.text for sent in bot_api.messages]

    def test_waits_stay_real_while_the_clock_is_frozen(self, frozen_time, bot_api, bot):
        """Waiting for a busy session ends after lock_timeout of real time, on a frozen clock."""
        sessions = Sessions(storage=MemoryStorage(), lock_timeout=0.05)

        @bot.message_handler()
        @sessions.with_session
        def wait(message, session):
            bot.send_message(message.chat.id, "got it")

        before = time.monotonic()
        with sessions.open("1"), run_polling(bot, bot_api) as polling:
            bot_api.user(1).send("hi")
            polling.wait_idle()
            raised = [type(error) for error in polling.exceptions]
            polling.exceptions.clear()
        assert ([LockTimeoutError], []) == (raised, bot_api.messages)
        assert before == time.monotonic()
