"""Fields of typed sessions that have a lifetime."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import pytest

from support.clocks import DAY
from support.sessions import JUST_BEFORE, LIFETIME, ONCE_OVER, Address, Colour, Profile
from telesession import EncodeError, Sessions, as_dict, save, ttl, ttl_left


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
        assert {"name": "nobody"} == as_dict(profiles.peek("1"))

    def test_a_field_of_initial_may_be_marked(self, clock, storage):
        """An instance that `initial` returns may hold marked values."""
        logins = Sessions(initial=lambda: Login(ttl("555", LIFETIME), 3), storage=storage)
        with logins.open("1") as login:
            assert ("555", LIFETIME) == (login.phone, ttl_left(login, "phone"))
        clock.tick(LIFETIME)
        assert {"attempts": 3} == as_dict(logins.peek("1"))

    @ONCE_OVER
    def test_an_expired_field_without_default_raises(self, clock, storage, elapsed):
        """A required field has no default to read as: AttributeError, saying that it expired."""
        logins = Sessions(initial=lambda: Login(ttl("555", LIFETIME)), storage=storage)
        with logins.open("1"):
            clock.tick(elapsed)
        with logins.open("1") as login:
            with pytest.raises(
                AttributeError, match=r"^field 'phone' of session '1' expired, 300 s"
            ):
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
        assert ({"name": "nobody"}, 1) == (as_dict(profiles.peek("1")), storage.calls["set"])

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
        assert ["kept"] == as_dict(sessions.peek("1"))["log"]

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
