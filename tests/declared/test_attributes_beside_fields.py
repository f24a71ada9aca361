"""Attributes that are no fields: kept for one handler, or refused, and never lost in silence."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import pytest

from support.sessions import store_untyped, stored_untyped, typed_sessions
from telesession import EncodeError, MemoryStorage, Sessions, Storage, forget, save, ttl

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass
class Step:
    """A nested dataclass."""

    name: str = ""

    @cached_property
    def title(self) -> str:
        return self.name.title()


@dataclass
class Basket:
    """A session whose methods go past `__setattr__`."""

    count: int = 0
    items: list[str] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)

    def set_all(self, **fields: Any) -> None:
        self.__dict__.update(fields)

    @cached_property
    def label(self) -> str:
        return f"{self.count} items"


def open_and(change: Callable[[Any], Any], storage: Storage, *, linked: bool = False) -> None:
    with typed_sessions(Basket, storage).open(1) as session:
        if linked:
            session.count = ttl(session.count, 60)
        change(session)


both_kinds = pytest.mark.parametrize("linked", [False, True], ids=["plain", "with a lifetime"])


@both_kinds
def test_fields_that_a_method_puts_into_the_dict_are_saved(storage: Storage, linked: bool) -> None:
    """`self.__dict__.update` in a method of the session's class changes fields."""
    open_and(lambda session: session.set_all(items=["tea"], count=5), storage, linked=linked)
    assert (["tea"], 5) == (stored_untyped(storage)["items"], stored_untyped(storage)["count"])  # type: ignore[index]


UNDECLARED: dict[str, Callable[[Any], Any]] = {
    "vars": lambda session: vars(session).update(total=3),
    "method": lambda session: session.set_all(count=1, total=3),
    "object.__setattr__": lambda session: object.__setattr__(session, "total", 3),
}


@both_kinds
@pytest.mark.parametrize("change", UNDECLARED.values(), ids=UNDECLARED)
def test_an_attribute_that_is_no_field_is_refused(
    storage: Storage, change: Callable[[Any], Any], linked: bool
) -> None:
    """The save refuses an undeclared attribute, names it, and writes nothing."""
    with pytest.raises(EncodeError, match="Basket declares no field 'total'") as caught:
        open_and(change, storage, linked=linked)
    assert ("total", "int", None) == (
        caught.value.path,
        caught.value.type_name,
        storage.get("1"),
    )


@both_kinds
def test_cached_properties_and_undeclared_underscores_are_not_stored(
    storage: Storage, linked: bool
) -> None:
    """Results of `cached_property` and undeclared `_names` last for one handler."""

    def change(session: Any) -> None:
        session.set_all(_cache={"a": 1})
        assert ({"a": 1}, "0 items") == (session._cache, session.label)

    open_and(change, storage, linked=linked)
    assert {"count", "items", "steps"} == set(stored_untyped(storage) or {})


def test_an_attribute_that_post_init_sets_beside_the_fields_is_refused(storage: Storage) -> None:
    """`__post_init__` sets an attribute that is no field: the first session is refused."""

    @dataclass
    class Careless:
        count: int = 0

        def __post_init__(self) -> None:
            self.total = 0

    with pytest.raises(EncodeError, match="Careless declares no field 'total'"):
        typed_sessions(Careless, storage).open(1).__enter__()
    assert None is storage.get("1")


@pytest.mark.parametrize("name", ["total", "_cache"])
def test_an_attribute_of_a_nested_object_is_refused_with_its_path(
    storage: Storage, name: str
) -> None:
    """A nested object is stored as its fields, so an attribute beside them is refused."""
    step = Step("pay")
    object.__setattr__(step, name, 3)
    with pytest.raises(EncodeError) as caught:
        open_and(lambda session: session.steps.extend([Step("go"), step]), storage)
    assert (f"steps[1].{name}", None) == (caught.value.path, storage.get("1"))


def test_an_attribute_that_is_no_str_is_refused_as_well(storage: Storage) -> None:
    """`vars` of an object may have other keys than names."""
    step = Step("pay")
    vars(step)[5] = 3
    with pytest.raises(EncodeError, match="is no field"):
        open_and(lambda session: session.steps.append(step), storage)
    with pytest.raises(EncodeError, match="declares no field"):
        open_and(lambda session: vars(session).update({5: 3}), storage)


def test_a_cached_property_of_a_nested_object_is_no_field(storage: Storage) -> None:
    """A nested `cached_property` was computed: the object is saved without it."""
    step = Step("pay")
    assert "Pay" == step.title
    open_and(lambda session: session.steps.append(step), storage)
    assert [{"name": "pay"}] == (stored_untyped(storage) or {})["steps"]


def test_vars_of_a_session_are_its_fields() -> None:
    """`vars` gives the fields of an instance, and changes of them count."""
    with typed_sessions(Basket, MemoryStorage()).open(1) as session:
        vars(session)["count"] = 3
        assert ({"count": 3, "items": [], "steps": []}, 3) == (vars(session), session.count)
        save(session)
        session.count += 1
    assert 4 == session.count


# Stored fields that are not declared


@dataclass
class Renamed:
    """A session whose field was renamed."""

    full_name: str = ""
    steps: list[Step] = field(default_factory=list)


def test_stored_fields_that_no_class_declares_are_logged_once(
    storage: Storage, caplog: pytest.LogCaptureFixture
) -> None:
    """One entry for each `Sessions` has the names of the fields, nested ones too, and no value."""
    store_untyped(storage, name="ada", steps=[{"name": "pay", "price": 7310}])
    sessions = typed_sessions(Renamed, storage)
    with caplog.at_level(logging.WARNING, "telesession"):
        for _ in range(3):
            with sessions.open(1) as session:
                assert "" == session.full_name
    assert (1, True, True, False, False) == (
        len(caplog.messages),
        "Renamed.name" in caplog.text,
        "Step.price" in caplog.text,
        "ada" in caplog.text,
        "7310" in caplog.text,
    )


def test_the_value_of_a_field_that_is_not_declared_stays_in_the_record(storage: Storage) -> None:
    """A rename loses nothing: a later migration finds the old value, after writes too."""
    store_untyped(storage, name="ada")
    with typed_sessions(Renamed, storage).open(1) as session:
        session.steps.append(Step("pay"))

    def rename(fields: dict[str, Any]) -> None:
        fields["full_name"] = fields.pop("name")

    later = Sessions(initial=Renamed, storage=storage, version=1, migrations={1: rename})
    with later.open(1) as session:
        assert ("ada", [Step("pay")]) == (session.full_name, session.steps)


def test_a_session_that_is_forgotten_need_not_be_stored(storage: Storage) -> None:
    """`forget` deletes the record, also if a field holds something that would not come back."""
    with typed_sessions(Basket, storage).open(1) as session:
        session.count = 1
    with typed_sessions(Basket, storage).open(1) as session:
        session.set_all(total=3)
        forget(session)
    assert None is storage.get("1")
