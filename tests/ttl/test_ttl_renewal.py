"""What renews the lifetime of a field, what is left of it, and what of that is stored."""

from __future__ import annotations

import pytest

from support.sessions import JUST_BEFORE, LIFETIME, PlainCart, fields_of, left_of, set_fields
from support.updates import message_from
from telesession import Session, Sessions, save, ttl, ttl_left, with_session


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
    "an object": PlainCart("Ann", ["apple"]),
    "a mixed bag": {"a": [{1, 2}, (None, 1.5)], ("t",): PlainCart(items=[PlainCart()])},
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
    "object": (PlainCart(), lambda v: setattr(v, "owner", "Ann")),
    "list inside an object": (PlainCart(), lambda v: v.items.append("apple")),
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
