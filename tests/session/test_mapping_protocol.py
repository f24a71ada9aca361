"""A session is a mapping, by the standard library's own tests of mappings too."""

from __future__ import annotations

import contextlib
import operator
from collections.abc import Mapping, MutableMapping
from typing import TYPE_CHECKING

import pytest
from test import mapping_tests

from telesession import MemoryStorage, Session, Sessions, ttl

if TYPE_CHECKING:
    from freezegun.api import FrozenDateTimeFactory

pytestmark = pytest.mark.usefixtures("frozen_module")


# Fields are attributes and items at once


def test_a_field_set_as_an_attribute_is_an_item() -> None:
    """Fields are attributes and mapping items at once: set as the one, read as the other."""
    session = Session()
    session.counter = 1
    assert (1, {"counter": 1}) == (session["counter"], dict(session))


def test_a_field_set_as_an_item_is_an_attribute() -> None:
    """Fields are attributes and mapping items at once: set as an item, read as an attribute."""
    session = Session()
    session["counter"] = 1
    session.counter += 1
    assert (2, 2) == (session.counter, session["counter"])


def test_a_field_deleted_as_an_attribute_is_no_item() -> None:
    """`del session.counter` takes the field from the mapping."""
    session = Session(counter=1, name="Anna")
    del session.counter
    assert ({"name": "Anna"}, False) == (dict(session), "counter" in session)


def test_a_field_deleted_as_an_item_is_no_attribute() -> None:
    """`del session["counter"]` takes the attribute away."""
    session = Session(counter=1)
    del session["counter"]
    assert hasattr(session, "counter") is False


def test_nested_values_stay_what_they_are() -> None:
    """Nothing wraps the nested values: they stay plain `dict` and `list`, the very objects."""
    cart, log = {"apple": 1}, ["hello"]
    session = Session(cart=cart, log=log)
    assert (True, True) == (session.cart is cart, session["log"] is log)


def test_whatever_takes_a_dict_takes_a_session() -> None:
    """A session is a `dict` and a mutable mapping, to `isinstance`, `match` and formatting."""
    session = Session(name="Anna", counter=2)
    match session:
        case {"counter": int(counter), **others}:
            matched = counter, others
    assert (True, True, True) == (
        isinstance(session, dict),
        isinstance(session, Mapping),
        isinstance(session, MutableMapping),
    )
    assert (2, {"name": "Anna"}) == matched
    assert "Anna: 2" == "{name}: {counter}".format_map(session)


# The standard library's own mapping tests


class _Opened:
    """Sessions that `Sessions.open` gives, each of a key of its own."""

    def _empty_mapping(self) -> Session:
        return self.enterContext(Sessions(storage=MemoryStorage()).open(1))  # type: ignore[attr-defined]


class _Expiring:
    """Sessions that have a mark of `ttl` and, untouched since, a field that has just expired."""

    @pytest.fixture(autouse=True)
    def _clock(self, clock: FrozenDateTimeFactory) -> None:
        self.clock = clock

    def _empty_mapping(self) -> Session:
        session: Session = super()._empty_mapping()  # type: ignore[misc]
        session.expired = ttl("1234", 10)
        self.clock.tick(10)
        return session


class TestBasicProtocol(mapping_tests.BasicTestMappingProtocol):
    """Sessions made by hand pass `BasicTestMappingProtocol` as it is."""

    type2test = Session


class TestBasicProtocolOpened(_Opened, TestBasicProtocol):
    """Opened sessions pass it as well."""


class TestBasicProtocolExpiring(_Expiring, TestBasicProtocol):
    """So do sessions whose fields may expire."""


class TestBasicProtocolOpenedExpiring(_Expiring, _Opened, TestBasicProtocol):
    """So do opened sessions whose fields may expire."""


class TestMappingProtocols(mapping_tests.TestHashMappingProtocol):
    """
    Sessions pass `TestMappingProtocol` and `TestHashMappingProtocol`, with names that are `str`.

    The second extends the first. Where a test needs keys that are no `str`, which a session
    refuses, it runs here with `str`; what it asks beyond that is asked here, too.
    """

    type2test = Session

    def test_values(self) -> None:
        """The original has a mapping with the key 1."""
        mapping_tests.BasicTestMappingProtocol.test_values(self)
        assert [2] == list(self._full_mapping({"one": 2}).values())

    def test_items(self) -> None:
        """The original has a mapping with the key 1."""
        mapping_tests.BasicTestMappingProtocol.test_items(self)
        assert [("one", 2)] == list(self._full_mapping({"one": 2}).items())

    def test_clear(self) -> None:
        """The original has a mapping with the keys 1, 2 and 3."""
        session = self._full_mapping({"1": 1, "2": 2, "3": 3})
        session.clear()
        assert {} == session
        with pytest.raises(TypeError):
            session.clear(None)

    def test_update(self) -> None:
        """The original has mappings with the keys 1, 2 and 3."""
        mapping_tests.BasicTestMappingProtocol.test_update(self)
        session = self._empty_mapping()
        session.update({"1": 100})
        session.update({"2": 20})
        session.update({"1": 1, "2": 2, "3": 3})
        session.update()
        assert {"1": 1, "2": 2, "3": 3} == session
        session = self._empty_mapping()
        session.update(x=100)
        session.update(y=20)
        session.update(x=1, y=2, z=3)
        assert {"x": 1, "y": 2, "z": 3} == session
        session = self._empty_mapping()
        session.update([("x", 100), ("y", 20)])
        assert {"x": 100, "y": 20} == session
        session.update([("x", 100), ("y", 20)], x=1, y=2)
        assert {"x": 1, "y": 2} == session
        session = self._full_mapping({"1": 3, "2": 4})
        session.update(self._full_mapping({"1": 2, "3": 4, "5": 6}).items())
        assert {"1": 2, "2": 4, "3": 4, "5": 6} == session

    def test_fromkeys(self) -> None:
        """The original has int keys, and subclasses, which a handler's session never is."""
        session = self._empty_mapping()
        assert {"a": None, "b": None, "c": None} == self.type2test.fromkeys("abc")
        assert {"a": None, "b": None, "c": None} == session.fromkeys("abc")
        assert {"4": 0, "5": 0} == session.fromkeys(("4", "5"), 0)
        assert {} == session.fromkeys([])
        assert {"a": None} == session.fromkeys(name for name in "a")
        assert {} == session
        with pytest.raises(TypeError):
            session.fromkeys(3)
        with pytest.raises(TypeError):
            self.type2test.fromkeys()
        with pytest.raises(ZeroDivisionError):
            session.fromkeys(1 / 0 for _ in "a")

    def test_copy(self) -> None:
        """The original wants a session, but a copy belongs to no record and is a plain dict."""
        session = self._full_mapping({"1": 1, "2": 2, "3": 3})
        assert ({"1": 1, "2": 2, "3": 3}, dict) == (session.copy(), type(session.copy()))
        assert {} == self._empty_mapping().copy()
        with pytest.raises(TypeError):
            session.copy(None)

    def test_getitem(self) -> None:
        """The original stores under keys that are no `str`, whose __eq__ or __hash__ fail."""
        mapping_tests.TestMappingProtocol.test_getitem(self)
        with pytest.raises(KeyError):
            self._empty_mapping()[23]
        with pytest.raises(TypeError):
            self._empty_mapping()[[]]

    def test_pop(self) -> None:
        """The original stores under a key that is no `str`, whose __hash__ fails."""
        mapping_tests.TestMappingProtocol.test_pop(self)
        with pytest.raises(KeyError):
            self._empty_mapping().pop(23)
        with pytest.raises(TypeError):
            self._empty_mapping().pop([])

    def test_setdefault(self) -> None:
        """The original stores under a key that is no `str`, whose __hash__ fails."""
        mapping_tests.TestMappingProtocol.test_setdefault(self)
        with pytest.raises(TypeError):
            self._empty_mapping().setdefault([], 1)

    def test_mutatingiteration(self) -> None:
        """The original adds the key i + 1: an error at once, or the fields of one instant."""
        session = self._empty_mapping()
        session["1"] = 1
        seen = []
        with contextlib.suppress(RuntimeError):
            for name in session:
                seen.append(name)
                session[name + "1"] = 1
        assert ["1"] == seen

    def test_repr(self) -> None:
        """The original wants the values, which a session never shows, nor even asks."""

        class BadRepr:
            def __repr__(self) -> str:
                raise AssertionError

        session = self._empty_mapping()
        empty = repr(session)
        session["a"] = session
        session["b"] = BadRepr()
        full = repr(session)
        session.clear()
        assert ("no fields>", "a, b>") == (empty.rpartition(": ")[2], full.rpartition(": ")[2])

    def test_repr_deep(self) -> None:
        """The original wants a RecursionError, but repr does not go into the values."""
        session = self._empty_mapping()
        for _ in range(2000):
            session = Session(inner=session)
        assert "<Session '(none)': inner>" == repr(session)

    def test_eq(self) -> None:
        """The original has keys that are no `str`, one of which fails to compare."""

        class BadCmp:
            def __eq__(self, other: object) -> bool:
                raise ZeroDivisionError

            __hash__ = None  # type: ignore[assignment]

        one, other = self._full_mapping({"1": 2}), self._full_mapping({"1": 2})
        assert (True, True) == (one == other, self._empty_mapping() == self._empty_mapping())
        one["1"] = BadCmp()
        for compare, left, right in ((operator.eq, one, other), (operator.ne, other, one)):
            with pytest.raises(ZeroDivisionError):
                compare(left, right)
        one.clear()


class TestMappingProtocolsOpened(_Opened, TestMappingProtocols):
    """Opened sessions pass them as well."""


class TestMappingProtocolsExpiring(_Expiring, TestMappingProtocols):
    """So do sessions whose fields may expire."""


class TestMappingProtocolsOpenedExpiring(_Expiring, _Opened, TestMappingProtocols):
    """So do opened sessions whose fields may expire."""
