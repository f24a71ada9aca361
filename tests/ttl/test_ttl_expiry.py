"""Fields with a lifetime, and how reading them changes at their deadline."""

from __future__ import annotations

import copy
import itertools
import json
import operator
import time
from datetime import UTC, datetime, timedelta

import pytest
from freezegun import freeze_time
from hypothesis import given, strategies as st

from support.clocks import DAY, START
from support.sessions import JUST_BEFORE, LIFETIME, ONCE_OVER, fields_of, left_of, set_fields
from support.updates import message_from
from telesession import (
    MemoryStorage,
    Session,
    SessionClosedError,
    Sessions,
    as_dict,
    ttl,
    ttl_left,
    with_session,
)


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


def matched_keys(session):
    match session:
        case Session(keys=keys):
            return keys


KEYS_READINGS = [
    lambda session: session.keys,
    lambda session: session["keys"],
    lambda session: getattr(session, "keys"),  # noqa: B009 -- a call, unlike session.keys
    operator.attrgetter("keys"),
    matched_keys,
]

beside_keys = pytest.mark.parametrize("others", [{}, {"keys": 3}], ids=["", "beside a field keys"])


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
    @beside_keys
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
    @beside_keys
    def test_a_field_expires_in_the_middle_of_a_handler(self, clock, sessions, others, read):
        """Deadlines are compared when the field is accessed, not only when it is loaded."""
        set_fields(sessions, **others, other=1, code=ttl("1234", LIFETIME))
        with sessions.open("1") as session:
            clock.tick(JUST_BEFORE)
            assert read({**others, "other": 1, "code": "1234"}) == read(session)
            clock.tick(0.000001)
            assert read({**others, "other": 1}) == read(session)

    @pytest.mark.parametrize("read", READS.values(), ids=READS)
    @beside_keys
    def test_a_field_that_was_just_marked_expires_too(self, clock, others, read):
        """A mark counts from the assignment, in a session that was never stored."""
        session = Session(**others, other=1, code=ttl("1234", LIFETIME))
        clock.tick(LIFETIME)
        assert read({**others, "other": 1}) == read(session)

    @pytest.mark.parametrize("read", READS.values(), ids=READS)
    def test_a_field_keys_is_read_before_another_field_expires(self, clock, read):
        """Reading the field `keys` in any way leaves every later reading right."""
        session = Session(keys=3, other=1, code=ttl("1234", LIFETIME))
        for read_keys in KEYS_READINGS:
            assert (3, True) == (read_keys(session), "code" in session)
        assert 3 == session.keys
        clock.tick(LIFETIME)
        assert read({"keys": 3, "other": 1}) == read(session)

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
