"""Records whose lifetime is over leave the store, and the bookkeeping with them."""

from __future__ import annotations

import gc
import math
import time
from collections import UserDict, deque
from collections.abc import Mapping, Set as AbstractSet

import pytest
from cachetools import FIFOCache, LFUCache, LRUCache, RRCache, TLRUCache, TTLCache
from freezegun import freeze_time
from hypothesis import given, strategies as st

from support.clocks import DAY, START, monotonic
from support.sessions import JUST_BEFORE, LIFETIME, fields_of, set_fields
from support.threads import in_thread
from telesession import MemoryStorage, Sessions, ttl

pytestmark = pytest.mark.usefixtures("frozen_module")


LONG = 10**6


def bookkeeping(storage, store):
    """How many things a storage remembers beside its store, found by following references."""
    return sum(map(len, containers(storage, store)))


def containers(storage, store):
    """Everything with a length that a storage has beside its store."""
    seen, todo, found = {id(store)}, [vars(storage)], []
    while todo:
        thing = todo.pop()
        if id(thing) in seen:
            continue
        seen.add(id(thing))
        if isinstance(thing, Mapping | list | tuple | deque | AbstractSet):
            found.append(thing)
            todo.extend(thing.values() if isinstance(thing, Mapping) else thing)
        elif type(thing).__module__.startswith("telesession"):
            todo.extend(part for part in gc.get_referents(thing) if not isinstance(part, type))
    return found


def write_until_gone(storage, store, writes):
    """Write one key until the store has no other; how many records each write removed."""
    removed = []
    while len(store) > 1 and len(removed) < writes:
        before = len(store)
        storage.set("last", b"last", LONG)
        removed.append(before - len(store))
    return removed


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
        write_until_gone(storage, store, 100)
        assert (["last"], before) == (list(store), bookkeeping(storage, store))

    def test_a_deleted_record_made_anew_is_remembered_once(self, clock):
        """Sessions that are deleted and made anew as time passes do not add to the bookkeeping."""
        store = {}
        storage = MemoryStorage(store)
        sizes = []
        for _ in range(20):
            for number in range(300):
                storage.set(f"user {number}", b"payload", LONG)
            sizes.append(bookkeeping(storage, store))
            for number in range(300):
                storage.delete(f"user {number}")
            clock.tick(LONG / 100)
        assert max(sizes) < 300 * 4

    def test_a_lifetime_that_changes_is_remembered_once(self, clock):
        """Sessions whose lifetimes change as time passes do not add to the bookkeeping."""
        store = {}
        storage = MemoryStorage(store)
        sizes = []
        for turn in range(20):
            for number in range(300):
                storage.set(
                    f"user {number}", b"payload", (LONG, LONG / 2, None, LONG / 4)[turn % 4]
                )
            sizes.append(bookkeeping(storage, store))
            clock.tick(LONG / 100)
        assert max(sizes) < 300 * 4

    def test_one_record_deleted_and_made_anew_for_ever_needs_no_memory(self, clock):
        """A key that is set and deleted again and again, for many lifetimes, leaves one trace."""
        store = {}
        storage = MemoryStorage(store)
        sizes = set()
        for _ in range(5000):
            storage.set("a", b"payload", LIFETIME)
            storage.delete("a")
            sizes.add(bookkeeping(storage, store))
            clock.tick(LIFETIME / 200)
        assert max(sizes) < 100

    @pytest.mark.parametrize("lifetimes", [[LIFETIME], range(1, 5001)], ids=["equal", "all differ"])
    def test_the_garbage_collector_has_little_to_traverse(self, clock, lifetimes):
        """Dicts of strings and floats, which it does not traverse, are all that grows."""
        storage = MemoryStorage()
        store = storage._store
        for number in range(5000):
            storage.set(f"user {number}", b"payload", lifetimes[number % len(lifetimes)])
        large = [thing for thing in containers(storage, store) if len(thing) > 1000]
        contents = {type(part) for thing in large for part in (*thing, *thing.values())}
        others = [thing for thing in containers(storage, store) if type(thing) is not dict]
        assert ({dict}, set()) == ({*map(type, large)}, contents - {str, float, type(None)})
        assert sum(map(len, others)) < 1000

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


class TestManyAtOnce:
    """Thousands of sessions whose lifetime ends at the same moment."""

    def test_each_write_removes_a_bounded_number(self, clock):
        """No write removes them all, and enough writes do."""
        store = {}
        storage = MemoryStorage(store)
        for number in range(5000):
            storage.set(f"user {number}", b"payload", LIFETIME)
        clock.tick(LIFETIME)
        removed = write_until_gone(storage, store, 100)
        assert (["last"], 5000) == (list(store), sum(removed) + 1)
        assert 0 < min(removed[:-1]) <= max(removed) < 500

    @pytest.mark.parametrize("pauses", [[0.5], [0.5, 0.4, 0.09], [0.99], [0.999999]], ids=str)
    def test_those_that_were_renewed_leave_at_their_new_deadline(self, clock, pauses):
        """Not one of them leaves a moment earlier, and none stays from then on."""
        store = {}
        storage = MemoryStorage(store)
        for number in range(1000):
            storage.set(f"user {number}", b"payload", LIFETIME)
        for pause in pauses:
            clock.tick(LIFETIME * pause)
            for number in range(1000):
                assert storage.touch(f"user {number}", LIFETIME)
        clock.tick(JUST_BEFORE)
        write_until_gone(storage, store, 500)
        assert 1001 == len(store)
        clock.tick(0.000001)
        write_until_gone(storage, store, 100)
        assert ["last"] == list(store)

    def test_an_expired_one_among_thousands_that_were_renewed_leaves(self, clock):
        """Sessions that live on do not keep an expired one in the store."""
        store = {}
        storage = MemoryStorage(store)
        for number in range(2000):
            storage.set(f"user {number}", b"payload", LIFETIME)
        clock.tick(LIFETIME / 2)
        for number in range(1, 2000):
            storage.set(f"user {number}", b"payload", LIFETIME)
        clock.tick(LIFETIME / 2)
        for _ in range(500):
            storage.set("user 1", b"payload", LIFETIME)
        assert (1999, False) == (len(store), "user 0" in store)

    def test_each_write_looks_at_a_bounded_number_of_renewed_ones(self, clock):
        """A write among sessions that were all renewed does not look at all of them."""
        store = Looked()
        storage = MemoryStorage(store)
        for number in range(2000):
            storage.set(f"user {number}", b"payload", LIFETIME)
        clock.tick(LIFETIME / 2)
        for number in range(2000):
            storage.set(f"user {number}", b"payload", LIFETIME)
        clock.tick(LIFETIME / 2)
        looks = []
        for _ in range(500):
            store.looks = 0
            storage.set("user 1", b"payload", LIFETIME)
            looks.append(store.looks)
        assert 2000 == len(store)
        assert 0 < max(looks) < 200

    def test_an_expired_one_that_could_not_be_removed_leaves_later(self, clock):
        """A store that did not give up an expired record is asked again with the next write."""
        store = Looked()
        storage = MemoryStorage(store)
        storage.set("a", b"payload", LIFETIME)
        clock.tick(LIFETIME)
        store.failing = True
        storage.set("b", b"payload")
        assert ["a", "b"] == sorted(store)
        store.failing = False
        storage.set("b", b"payload")
        assert ["b"] == sorted(store)


class Looked(UserDict):
    """A store that counts the questions for a key, and deletes nothing while it is `failing`."""

    looks, failing = 0, False

    def __contains__(self, key):
        self.looks += 1
        return super().__contains__(key)

    def __delitem__(self, key):
        if self.failing:
            raise OSError(key)
        super().__delitem__(key)


class Meddling(str):
    """A key that calls a function before it compares its beginning."""

    __slots__ = ("call",)

    def startswith(self, *args):
        self.call()
        return super().startswith(*args)


class TestListing:
    """`keys` while other threads write."""

    def test_a_write_does_not_wait_for_the_filter(self, clock):
        """Another thread writes while `keys` compares keys, and the list is that of the call."""
        key = Meddling("key")
        storage = MemoryStorage({key: b"payload"})
        key.call = lambda: in_thread(storage.set, "new", b"payload")
        assert (["key"], True) == (list(storage.keys("k")), storage.has("new"))

    def test_a_record_that_expires_and_is_removed_in_between_is_not_listed(self, clock):
        """A session that was over before the call is not listed if a write removes it just then."""
        key = Meddling("key")
        store = {key: b"payload"}
        storage = MemoryStorage(store)
        storage.set("expired", b"payload", LIFETIME)
        clock.tick(LIFETIME)
        key.call = lambda: in_thread(storage.set, "new", b"payload")
        assert (["key"], ["key", "new"]) == (list(storage.keys()), sorted(store))

    @pytest.mark.parametrize("lifetime", [None, LIFETIME], ids=["for-ever", "with-lifetime"])
    def test_all_keys_of_a_large_store_are_listed_in_order(self, clock, lifetime):
        """A store of more keys than `keys` looks at in a row gives each once, as a dict does."""
        storage = MemoryStorage()
        expected = [f"user {number}" for number in range(12_345)]
        for key in expected:
            storage.set(key, b"payload", lifetime)
        assert (expected, []) == (list(storage.keys("user")), list(storage.keys("others")))


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
