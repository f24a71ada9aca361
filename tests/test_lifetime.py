from __future__ import annotations

import enum
import gc
import math
import time
from collections import deque
from collections.abc import Mapping, Set as AbstractSet
from dataclasses import dataclass, field
from datetime import timedelta

import clocks
import pytest
from cachetools import FIFOCache, LFUCache, LRUCache, RRCache, TLRUCache, TTLCache
from clocks import DAY, START, monotonic
from counted import CountedStorage
from fields import fields_of, set_fields
from freezegun import freeze_time
from hypothesis import given, strategies as st
from updates import message_from

from telesession import (
    MemoryStorage,
    Sessions,
    as_dict,
    forget,
    save,
    session_key,
    ttl,
    ttl_left,
    with_session,
)

clock = clocks.clock
frozen_module = clocks.frozen_module

LIFETIME = 300
JUST_BEFORE = LIFETIME - 0.000001
LONG = 10**6
# Each copy of this set, and of its copy, iterates in another order.
TURNING = {6, 14, 22}


@pytest.fixture
def storage():
    return CountedStorage()


@pytest.fixture
def sessions(storage):
    return Sessions(storage=storage, lifetime=LIFETIME)


class Colour(enum.Enum):
    RED = "red"


@dataclass
class Address:
    city: str = "nowhere"


@dataclass
class Profile:
    name: str = "Ann"
    colour: Colour = Colour.RED
    favourite: str = "blue"
    address: Address = field(default_factory=Address)
    tags: set[int] = field(default_factory=set)


def bookkeeping(storage, store):
    """How many things a storage remembers beside its store, found by following references."""
    seen, todo, count = {id(store)}, [vars(storage)], 0
    while todo:
        thing = todo.pop()
        if id(thing) in seen:
            continue
        seen.add(id(thing))
        if isinstance(thing, Mapping | list | tuple | deque | AbstractSet):
            count += len(thing)
            todo.extend(thing.values() if isinstance(thing, Mapping) else thing)
        elif type(thing).__module__.startswith("telesession"):
            todo.extend(part for part in gc.get_referents(thing) if not isinstance(part, type))
    return count


class TestTraffic:
    """What an update costs the storage."""

    @pytest.mark.parametrize(
        ("act", "calls"),
        [
            pytest.param(lambda s: None, {}, id="does nothing"),
            pytest.param(lambda s: (s.other, s["log"], len(s), dict(s)), {}, id="reads"),
            pytest.param(lambda s: (as_dict(s), repr(s), session_key(s)), {}, id="looks"),
            pytest.param(lambda s: s.update(other=1), {}, id="assigns an equal value"),
            pytest.param(lambda s: (s.log.append(1), s.log.pop()), {}, id="changes it back"),
            pytest.param(lambda s: s.update(other=2), {"set": 1}, id="assigns"),
            pytest.param(lambda s: s.update(other=True), {"set": 1}, id="assigns True for 1"),
            pytest.param(lambda s: s.log.append(1), {"set": 1}, id="changes inside a value"),
            pytest.param(lambda s: s.pop("other"), {"set": 1}, id="deletes a field"),
            pytest.param(lambda s: s.update(new=ttl(1, 5)), {"set": 1}, id="marks a field"),
            pytest.param(
                lambda s: [s.update(other=n) for n in range(5)], {"set": 1}, id="assigns often"
            ),
            pytest.param(lambda s: s.clear(), {"delete": 1}, id="empties it"),
            pytest.param(forget, {"delete": 1}, id="forgets it"),
        ],
    )
    @pytest.mark.parametrize("lifetime", [None, LIFETIME], ids=["for ever", "with a lifetime"])
    def test_an_update_is_one_read_and_at_most_one_write(self, storage, lifetime, act, calls):
        """One read, at most one write; a handler that only reads touches, if anything."""
        sessions = Sessions(storage=storage, lifetime=lifetime)
        set_fields(sessions, other=1, log=[])
        storage.calls.clear()
        with sessions.open("1") as session:
            act(session)
        touch = {"touch": 1} if lifetime and not calls else {}
        assert {"get": 1, **calls, **touch} == storage.calls

    @pytest.mark.parametrize("lifetime", [None, LIFETIME], ids=["for ever", "with a lifetime"])
    @pytest.mark.parametrize(
        ("initial", "calls"),
        [({"counter": 0}, {"get": 1, "set": 1}), ({}, {"get": 1})],
        ids=["with fields", "empty"],
    )
    def test_a_new_session_is_written_unless_it_is_empty(self, storage, lifetime, initial, calls):
        """A new session is stored when its handler returns, touched or not, unless it is empty."""
        with Sessions(initial=initial, storage=storage, lifetime=lifetime).open("1"):
            pass
        assert calls == storage.calls

    def test_a_handler_that_raises_writes_nothing(self, storage, sessions):
        """A handler that raises costs one read and changes nothing."""

        def fail():
            with sessions.open("1") as session:
                session.other = 2
                raise ZeroDivisionError

        set_fields(sessions, other=1)
        storage.calls.clear()
        with pytest.raises(ZeroDivisionError):
            fail()
        assert (1, 0, 0) == tuple(storage.calls[name] for name in ("get", "set", "delete"))

    def test_a_save_is_the_one_write_when_nothing_follows(self, storage, sessions):
        """After `save` the commit writes only what has changed since."""
        with sessions.open("1") as session:
            session.other = 1
            save(session)
        assert (1, 1) == (storage.calls["get"], storage.calls["set"])

    def test_nested_handlers_cost_as_much_as_one(self, storage):
        """A decorated handler that calls another one shares its session: one read, one write."""
        decorate = with_session(storage=storage)

        @decorate
        def inner(message, session):
            session.inner = 1

        @decorate
        def outer(message, session):
            inner(message)
            session.outer = 1
            inner(message)

        outer(message_from(7))
        assert {"get": 1, "set": 1} == storage.calls

    @pytest.mark.parametrize(
        "fields",
        [
            pytest.param({"code": "1234"}, id="text"),
            pytest.param({"code": "code", "log": ["code", "log"]}, id="names of fields"),
            pytest.param({"kind": "fields"}, id="a word of the library"),
            pytest.param({"kind": ["ttl", "fields", "key", "session"]}, id="several of them"),
            pytest.param({"fields": 1}, id="a field named fields"),
            pytest.param({"ttl": 1}, id="a field named ttl"),
            pytest.param({"fields": ttl("ttl", 9), "ttl": ttl("fields", 9)}, id="with a ttl"),
            pytest.param({"a": TURNING}, id="a set"),
            pytest.param({"a": frozenset({"fig", "kiwi"}), "b": ttl({"c", "d"}, 9)}, id="sets"),
            pytest.param({"a": [1.5, None, (b"x", 2**70), {("t",): 1j}]}, id="a mixed bag"),
            pytest.param({"a": Address("city"), "b": Colour.RED}, id="objects"),
            pytest.param({"a": START, "b": timedelta(1)}, id="times"),
            pytest.param({"a": math.nan}, id="NaN"),
        ],
    )
    def test_a_handler_that_only_reads_writes_nothing(self, clock, storage, fields):
        """A handler that only reads writes nothing, whatever the fields are and are named."""
        sessions = Sessions(storage=storage)
        set_fields(sessions, **fields)
        for _ in range(3):
            fields_of(sessions)
        assert {"get": 4, "set": 1} == storage.calls

    @pytest.mark.parametrize(
        "fields",
        [
            pytest.param({}, id="defaults"),
            pytest.param({"address": Address("city"), "name": "city"}, id="names of fields"),
            pytest.param({"favourite": "red"}, id="the value of an enum"),
            pytest.param({"tags": TURNING}, id="a set"),
        ],
    )
    def test_a_handler_that_only_reads_a_typed_session_writes_nothing(self, storage, fields):
        """A handler that only reads a dataclass session writes nothing, converted fields too."""
        sessions = Sessions(initial=lambda: Profile(**fields), storage=storage)
        for _ in range(3):
            with sessions.open("1") as profile:
                assert Profile(**fields) == as_profile(profile)
        assert {"get": 3, "set": 1} == storage.calls


def as_profile(profile):
    names = ("name", "colour", "favourite", "address", "tags")
    return Profile(**{name: getattr(profile, name) for name in names})


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

    @pytest.mark.parametrize(
        "use",
        [
            pytest.param(fields_of, id="read"),
            pytest.param(lambda sessions: set_fields(sessions, other=2), id="changed"),
        ],
    )
    def test_every_handler_renews_the_lifetime(self, clock, storage, sessions, use):
        """Every handler renews the lifetime, also one that only reads."""
        set_fields(sessions, other=1)
        for _ in range(5):
            clock.tick(JUST_BEFORE)
            use(sessions)
        clock.tick(JUST_BEFORE)
        assert True is storage.has("1")
        clock.tick(0.000001)
        assert False is storage.has("1")

    def test_the_lifetime_counts_from_the_end_of_the_handler(self, clock, storage, sessions):
        """The last use of a session ends when its handler returns."""
        set_fields(sessions, other=1)
        with sessions.open("1"):
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
        self, clock, sessions, busy, act, expected
    ):
        """A session that is in use does not end: its lifetime counts from its last use."""
        set_fields(sessions, other=1, log=[])
        with sessions.open("1") as session:
            clock.tick(2 * LIFETIME)
            if busy:
                set_fields(sessions, "2", other=1)
            act(session)
        assert expected == sessions.peek("1")

    def test_save_renews_the_lifetime(self, clock, storage, sessions):
        """`save` is a use, also when nothing has changed and the handler raises later."""

        def save_and_fail():
            with sessions.open("1") as session:
                save(session)
                raise ZeroDivisionError

        set_fields(sessions, other=1)
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
    def test_looking_from_outside_renews_nothing(self, clock, storage, sessions, look):
        """`peek` renews nothing, and neither does any other look into the storage."""
        set_fields(sessions, other=1, code=ttl("1234", LIFETIME))
        clock.tick(JUST_BEFORE)
        look(sessions, storage)
        clock.tick(0.000001)
        assert (None, False) == (sessions.peek("1"), storage.has("1"))

    def test_peek_writes_and_locks_nothing(self, clock, storage, sessions):
        """`peek` is a read without lock, even of a session that is in use."""
        set_fields(sessions, other=1)
        storage.calls.clear()
        with sessions.open("1") as session:
            session.other = 2
            assert {"other": 1} == sessions.peek("1")
        assert {"get": 2, "set": 1} == storage.calls

    def test_a_slid_lifetime_renews_no_field(self, clock, sessions):
        """`lifetime` is of the session: sliding it renews no TTL of a field."""
        set_fields(sessions, other=1, code=ttl("1234", LIFETIME))
        clock.tick(200)
        fields_of(sessions)
        clock.tick(100)
        assert {"other": 1} == fields_of(sessions)

    def test_a_session_that_ends_takes_its_marks_along(self, clock, sessions):
        """A mark outlives its value only while the session exists."""
        set_fields(sessions, code=ttl("1234", 10))
        clock.tick(LIFETIME)
        set_fields(sessions, code="9876")
        with sessions.open("1") as session:
            assert ("9876", None) == (session.code, ttl_left(session, "code"))

    def test_sessions_slide_each_for_itself(self, clock, sessions):
        """The use of one session renews no other."""
        for key in "12":
            set_fields(sessions, key, other=1)
        clock.tick(JUST_BEFORE)
        fields_of(sessions, "1")
        clock.tick(0.000001)
        assert ["1"] == list(sessions.keys())

    def test_a_change_without_lifetime_keeps_the_session_for_ever(self, clock, storage, sessions):
        """`lifetime=None` after a lifetime: a session that is written so stays for ever."""
        set_fields(sessions, other=1)
        set_fields(Sessions(storage=storage), other=2)
        clock.tick(1000 * DAY)
        set_fields(sessions, "2", other=1)
        assert {"other": 2} == sessions.peek("1")

    @pytest.mark.parametrize(
        "use",
        [
            pytest.param(fields_of, id="read"),
            pytest.param(lambda sessions: set_fields(sessions, other=2), id="changed"),
        ],
    )
    def test_a_session_of_ever_gets_a_lifetime_with_its_next_use(
        self, clock, storage, sessions, use
    ):
        """A lifetime after `lifetime=None` holds from the next handler on, read-only or not."""
        set_fields(Sessions(storage=storage), other=1)
        clock.tick(1000 * DAY)
        use(sessions)
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


class TestLeaving:
    """Records whose lifetime is over leave the store, and the bookkeeping with them."""

    def test_they_leave_as_others_are_written(self, clock):
        """Sessions whose lifetime is over leave the store without being read again."""
        store = {}
        sessions = Sessions(storage=MemoryStorage(store), lifetime=LIFETIME)
        for number in range(100):
            set_fields(sessions, number + 1, other=1)
        clock.tick(JUST_BEFORE)
        set_fields(sessions, "last", other=1)
        assert 101 == len(store)
        clock.tick(0.000001)
        set_fields(sessions, "last", other=2)
        assert ["last"] == list(store)

    def test_those_that_were_touched_meanwhile_stay(self, clock):
        """A session that slid on stays in the store when its former deadline passes."""
        store = {}
        sessions = Sessions(storage=MemoryStorage(store), lifetime=LIFETIME)
        for key in "abc":
            set_fields(sessions, key, other=1)
        clock.tick(JUST_BEFORE)
        fields_of(sessions, "b")
        clock.tick(0.000001)
        set_fields(sessions, "d", other=1)
        assert ["b", "d"] == sorted(store)
        clock.tick(JUST_BEFORE)
        set_fields(sessions, "e", other=1)
        assert ["d", "e"] == sorted(store)

    def test_each_leaves_at_its_own_deadline(self, clock):
        """Sessions with different lifetimes in one store leave each at its own deadline."""
        store = {}
        storage = MemoryStorage(store)
        for lifetime in (50, 20, 40, None, 10, 30):
            set_fields(Sessions(storage=storage, lifetime=lifetime), str(lifetime), other=1)
        left = []
        for number in range(5):
            clock.tick(10)
            storage.set("clock", b"%d" % number)
            left.append(sorted(store.keys() - {"clock", "None"}))
        expected = [["20", "30", "40", "50"], ["30", "40", "50"], ["40", "50"], ["50"], []]
        assert (expected, True) == (left, "None" in store)

    def test_a_shorter_lifetime_counts_at_once(self, clock):
        """A record that got a shorter lifetime leaves at the new deadline, not at the old one."""
        store = {}
        storage = MemoryStorage(store)
        storage.set("a", b"a", LONG)
        storage.touch("a", 10)
        storage.set("b", b"b", LONG)
        storage.set("b", b"b", 10)
        clock.tick(10)
        storage.set("c", b"c")
        assert ["c"] == list(store)

    @pytest.mark.parametrize(
        "renew",
        [
            pytest.param(lambda s: s.set("a", b"new"), id="set"),
            pytest.param(lambda s: s.touch("a", None), id="touch"),
            pytest.param(lambda s: (s.delete("a"), s.set("a", b"new")), id="delete and set"),
            pytest.param(lambda s: (s.set("a", b"x", 5), s.set("a", b"y")), id="set twice"),
        ],
    )
    def test_none_after_a_lifetime_keeps_a_record_for_ever(self, clock, renew):
        """A record that is set or touched with `None` stays, whatever lifetime it had before."""
        store = {}
        storage = MemoryStorage(store)
        storage.set("a", b"old", LIFETIME)
        renew(storage)
        clock.tick(DAY)
        storage.set("b", b"b", LIFETIME)
        clock.tick(DAY)
        storage.set("c", b"c")
        assert (["a", "c"], True) == (sorted(store), storage.has("a"))

    def test_a_record_that_is_over_is_as_if_it_never_was(self, clock):
        """From its deadline on a record is `None`, not there, not deletable and not touchable."""
        storage = MemoryStorage()

        def state():
            return storage.get("a"), storage.has("a"), list(storage.keys())

        storage.set("a", b"a", LIFETIME)
        clock.tick(JUST_BEFORE)
        assert (b"a", True, ["a"]) == state()
        clock.tick(0.000001)
        assert (None, False, []) == state()
        assert (False, False, None) == (
            storage.touch("a", LIFETIME),
            storage.delete("a"),
            storage.get("a"),
        )

    @given(
        st.lists(
            st.tuples(
                st.sampled_from(["set", "set", "touch", "delete"]),
                st.sampled_from("abcde"),
                st.sampled_from([None, 1, 2, 3, 5, 8, 100]),
                st.integers(0, 4),
            ),
            max_size=60,
        )
    )
    def test_the_store_holds_what_is_live(self, steps):
        """After each write the store holds exactly the live records, whatever came before."""
        with freeze_time(START) as clock:
            store, deadlines = {}, {}
            storage = MemoryStorage(store)
            for action, key, lifetime, pause in steps:
                clock.tick(pause)
                now = time.monotonic()
                deadlines = {key: end for key, end in deadlines.items() if now < end}
                existed = key in deadlines
                end = now + (math.inf if lifetime is None else lifetime)
                if action == "set":
                    storage.set(key, b"payload", lifetime)
                    deadlines[key] = end
                    assert deadlines.keys() == store.keys()
                elif action == "touch":
                    assert existed == storage.touch(key, lifetime)
                    deadlines.update({key: end} if existed else {})
                else:
                    assert existed == storage.delete(key)
                    deadlines.pop(key, None)
                assert sorted(deadlines) == sorted(storage.keys())
                assert bookkeeping(storage, store) < 300


def touch_often(storage):
    for _ in range(5000):
        storage.touch("a", LONG)


def touch_by_turns(storage):
    for number in range(5000):
        storage.touch("a", LONG + number % 2 * LONG)


def touch_ever_shorter(storage):
    for number in range(5000):
        storage.touch("a", LONG - number)


def touch_with_and_without(storage):
    for _ in range(5000):
        storage.touch("a", None)
        storage.touch("a", LONG)


def set_often(storage):
    for number in range(5000):
        storage.set("a", b"%d" % number, LONG)


def set_by_turns(storage):
    for number in range(5000):
        storage.set("a", b"%d" % number, (LONG, 2 * LONG, None)[number % 3])


def set_and_delete(storage):
    for number in range(5000):
        storage.set("a", b"%d" % number, LONG)
        storage.delete("a")


def set_and_delete_others(storage):
    for number in range(5000):
        storage.set(f"user {number}", b"payload", LONG)
        storage.delete(f"user {number}")


def set_many_then_delete_all(storage):
    for _ in range(50):
        for number in range(100):
            storage.set(f"user {number}", b"payload", LONG)
        for number in range(100):
            storage.delete(f"user {number}")


def look_for_strangers(storage):
    for number in range(5000):
        storage.get(f"user {number}")
        storage.has(f"user {number}")
        storage.touch(f"user {number}", LONG)
        storage.delete(f"user {number}")


STORMS = {
    storm.__name__: storm
    for storm in (
        touch_often,
        touch_by_turns,
        touch_ever_shorter,
        touch_with_and_without,
        set_often,
        set_by_turns,
        set_and_delete,
        set_and_delete_others,
        set_many_then_delete_all,
        look_for_strangers,
    )
}


class TestBookkeeping:
    """What a storage remembers about lifetimes is bounded by the records that it keeps."""

    @pytest.mark.parametrize("storm", STORMS.values(), ids=STORMS)
    def test_it_stays_small_in_every_storm(self, storm):
        """Bookkeeping stays bounded by the number of records, whatever happens to them."""
        store = {}
        storage = MemoryStorage(store)
        storage.set("a", b"a", LONG)
        storage.set("b", b"b", LONG)
        storm(storage)
        assert bookkeeping(storage, store) < 1000

    def test_it_shrinks_when_records_expire(self, clock):
        """What is remembered of a record goes when the record does."""
        store = {}
        storage = MemoryStorage(store)
        storage.set("last", b"last", LONG)
        before = bookkeeping(storage, store)
        for number in range(5000):
            storage.set(f"user {number}", b"payload", LIFETIME)
        clock.tick(LIFETIME)
        storage.set("last", b"last", LONG)
        assert (["last"], before) == (list(store), bookkeeping(storage, store))

    def test_sessions_that_only_read_leave_no_trace(self, clock):
        """Handlers that only read do not add to the bookkeeping, whatever their lifetimes."""
        store = {}
        storage = MemoryStorage(store)
        short = Sessions(storage=storage, lifetime=LIFETIME)
        long = Sessions(storage=storage, lifetime=LONG)
        set_fields(long, other=1)
        for _ in range(2000):
            fields_of(short)
            fields_of(long)
        assert bookkeeping(storage, store) < 1000

    def test_a_storage_without_lifetimes_remembers_nothing(self):
        """Records without lifetime need no bookkeeping."""
        store = {}
        storage = MemoryStorage(store)
        before = bookkeeping(storage, store)
        for number in range(1000):
            storage.set(f"user {number}", b"payload")
        assert before == bookkeeping(storage, store)


CACHES = {
    "LRUCache": lambda: LRUCache(8),
    "LRUCache by bytes": lambda: LRUCache(8 * 200, getsizeof=len),
    "LFUCache": lambda: LFUCache(8),
    "FIFOCache": lambda: FIFOCache(8),
    "RRCache": lambda: RRCache(8),
    "TTLCache": lambda: TTLCache(8, 10 * LONG, timer=monotonic),
    "TLRUCache": lambda: TLRUCache(8, lambda key, value, now: now + 10 * LONG, timer=monotonic),
}


@pytest.mark.parametrize("make_cache", CACHES.values(), ids=CACHES)
class TestBoundedCaches:
    """`lifetime` of sessions in a cache that evicts."""

    def test_a_session_is_gone_at_its_deadline(self, clock, make_cache):
        """`lifetime` holds in a bounded cache as in a dict, slid by handlers that only read."""
        sessions = Sessions(storage=MemoryStorage(make_cache()), lifetime=LIFETIME)
        set_fields(sessions, other=1)
        clock.tick(JUST_BEFORE)
        assert {"other": 1} == fields_of(sessions)
        clock.tick(JUST_BEFORE)
        assert {"other": 1} == sessions.peek("1")
        clock.tick(0.000001)
        assert None is sessions.peek("1")

    def test_sessions_leave_as_others_are_written(self, clock, make_cache):
        """Sessions whose lifetime is over make room in the cache before it has to evict."""
        cache = make_cache()
        sessions = Sessions(storage=MemoryStorage(cache), lifetime=LIFETIME)
        for key in "abc":
            set_fields(sessions, key, other=1)
        clock.tick(LIFETIME)
        set_fields(sessions, "d", other=1)
        assert ["d"] == list(cache)

    def test_fields_expire(self, clock, make_cache):
        """A field's TTL holds in a bounded cache as in a dict."""
        sessions = Sessions(storage=MemoryStorage(make_cache()))
        set_fields(sessions, other=1, code=ttl("1234", LIFETIME))
        clock.tick(JUST_BEFORE)
        assert {"other": 1, "code": "1234"} == fields_of(sessions)
        clock.tick(0.000001)
        assert {"other": 1} == fields_of(sessions)

    def test_bookkeeping_stays_bounded_while_the_cache_evicts(self, clock, make_cache):
        """What is remembered of evicted records goes, however long their lifetime would last."""
        cache = make_cache()
        storage = MemoryStorage(cache)
        for number in range(5000):
            storage.set(f"user {number}", b"p" * 200, LONG)
            storage.touch(f"user {number}", 2 * LONG)
        assert 8 == len(cache)
        assert bookkeeping(storage, cache) < 1000

    def test_an_evicted_session_leaves_no_deadline_behind(self, clock, make_cache):
        """What a cache evicts starts anew, with a deadline of its own or without any."""
        cache = make_cache()
        storage = MemoryStorage(cache)
        storage.set("a", b"old", LIFETIME)
        storage.set("b", b"old", LIFETIME)
        cache.clear()
        clock.tick(LIFETIME / 2)
        storage.set("a", b"new", LIFETIME)
        storage.set("b", b"new")
        clock.tick(JUST_BEFORE)
        storage.set("c", b"c")
        assert (b"new", b"new") == (storage.get("a"), storage.get("b"))
        clock.tick(0.000001)
        storage.set("c", b"c")
        assert (["b", "c"], b"new") == (sorted(cache), storage.get("b"))


class TestCacheLimits:
    """The age limit of a cache beside the lifetime of a session."""

    def test_the_shorter_limit_wins(self, clock):
        """A cache's own age limit counts from the last write, `lifetime` from the last use."""
        cache = TTLCache(8, 100, timer=monotonic)
        sessions = Sessions(storage=MemoryStorage(cache), lifetime=LIFETIME)
        set_fields(sessions, other=1)
        clock.tick(99.999999)
        assert {"other": 1} == fields_of(sessions)
        clock.tick(0.000001)
        assert None is sessions.peek("1")

    def test_a_session_that_its_cache_drops_during_a_handler_starts_anew(self, clock):
        """What a cache drops starts anew, although a handler was reading it: the bound stands."""
        cache = TTLCache(8, 100, timer=monotonic)
        sessions = Sessions(initial={"new": True}, storage=MemoryStorage(cache))
        set_fields(sessions, new=False)
        with sessions.open("1") as session:
            clock.tick(100)
            assert False is session.new
        assert {"new": True} == fields_of(sessions)
