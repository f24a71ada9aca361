"""What an update costs the storage."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from datetime import timedelta

import pytest

from support.clocks import START
from support.sessions import LIFETIME, Address, Colour, fields_of, set_fields
from support.storages import ONE_USE
from support.updates import message_from
from telesession import Sessions, as_dict, forget, save, session_key, ttl, with_session

pytestmark = pytest.mark.usefixtures("frozen_module")


# Each copy of this set, and of its copy, iterates in another order.
TURNING = {6, 14, 22}


@dataclass
class Profile:
    name: str = "Ann"
    colour: Colour = Colour.RED
    favourite: str = "blue"
    address: Address = field(default_factory=Address)
    tags: set[int] = field(default_factory=set)


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
        assert {"hold": 1, "get": 1, **calls, **touch} == storage.calls

    @pytest.mark.parametrize("lifetime", [None, LIFETIME], ids=["for ever", "with a lifetime"])
    @pytest.mark.parametrize(
        ("initial", "calls"),
        [({"counter": 0}, ONE_USE), ({}, ONE_USE - Counter(set=1))],
        ids=["with fields", "empty"],
    )
    def test_a_new_session_is_written_unless_it_is_empty(self, storage, lifetime, initial, calls):
        """A new session is stored when its handler returns, touched or not, unless it is empty."""
        with Sessions(initial=initial, storage=storage, lifetime=lifetime).open("1"):
            pass
        assert calls == storage.calls

    def test_a_handler_that_raises_writes_nothing(self, storage, sliding_sessions):
        """A handler that raises costs one read and changes nothing."""

        def fail():
            with sliding_sessions.open("1") as session:
                session.other = 2
                raise ZeroDivisionError

        set_fields(sliding_sessions, other=1)
        storage.calls.clear()
        with pytest.raises(ZeroDivisionError):
            fail()
        assert (1, 0, 0) == tuple(storage.calls[name] for name in ("get", "set", "delete"))

    def test_a_save_is_the_one_write_when_nothing_follows(self, storage, sliding_sessions):
        """After `save` the commit writes only what has changed since."""
        with sliding_sessions.open("1") as session:
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
        assert ONE_USE == storage.calls

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
        assert {"hold": 4, "get": 4, "set": 1} == storage.calls

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
        assert {"hold": 3, "get": 3, "set": 1} == storage.calls


def as_profile(profile):
    names = ("name", "colour", "favourite", "address", "tags")
    return Profile(**{name: getattr(profile, name) for name in names})
