"""The mark that `ttl` puts on a field: what it takes, and how it outlives the value."""

from __future__ import annotations

import enum
import math
from datetime import timedelta
from decimal import Decimal

import pytest

from support.clocks import DAY, START
from support.sessions import JUST_BEFORE, LIFETIME, PlainCart, fields_of, left_of, set_fields
from support.updates import message_from
from telesession import EncodeError, Session, Sessions, as_dict, ttl, ttl_left, with_session


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
                "cart[<str>][<str>]",
                id="dict",
            ),
            pytest.param(lambda s: s.update(point=(ttl(2, 5), 3)), "point[0]", id="tuple"),
            pytest.param(
                lambda s: s.update(cart=PlainCart(items=[ttl(2, 5)])),
                "cart.items[0]",
                id="dataclass",
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
        assert ("cart[<str>]", None) == (caught.value.path, storage.get("1"))


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
