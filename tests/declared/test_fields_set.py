"""The fields of a pydantic model that were set, as `model_dump(exclude_unset=True)` tells them."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import pytest

from support.forms import Account, OpenAccount
from support.sessions import assign, holder_of, store_untyped, stored_untyped, typed_sessions
from telesession import EncodeError, MemoryStorage, Sessions

if TYPE_CHECKING:
    from collections.abc import Callable

    from telesession import Storage

MODELS: dict[str, tuple[Any, set[str]]] = {
    "none": (Account(), set()),
    "some": (Account(name="ada"), {"name"}),
    "all": (Account(name="ada", items=[], since=None), {"name", "items", "since"}),
    "undeclared": (OpenAccount(age=7), {"age"}),
}


@pytest.mark.parametrize(("model", "expected"), MODELS.values(), ids=MODELS)
def test_the_fields_that_were_set_come_back(
    reopen: Callable[[], Storage], model: Any, expected: set[str]
) -> None:
    """A default that was never set is still none after a restart, and one set later is."""
    kind = holder_of(type(model), type(model)())
    assign(Sessions(initial=kind, storage=reopen()), copy.deepcopy(model))
    with Sessions(initial=kind, storage=reopen()).open(1) as session:
        assert expected == session.value.model_fields_set
        session.value.name = "bob"
    with Sessions(initial=kind, storage=reopen()).open(1) as session:
        assert expected | {"name"} == session.value.model_fields_set


def test_the_record_notes_the_fields_that_were_not_set() -> None:
    """The note has a name that no field can have; there is none if all fields were set."""
    storage = MemoryStorage()
    sessions = typed_sessions(holder_of(Account, Account()), storage)
    assign(sessions, Account(name="ada"))
    some = stored_untyped(storage)
    assign(sessions, Account(name="ada", items=[], since=None))
    whole: dict[str, Any] = {"name": "ada", "items": [], "since": None}
    assert {"value": {**whole, "not set": ["items", "since"]}} == some
    assert {"value": whole} == stored_untyped(storage)


@pytest.mark.parametrize("note", [{}, {"not set": 7}], ids=["none", "damaged"])
def test_without_a_note_all_stored_fields_were_set(note: dict[str, Any]) -> None:
    """A record that was written by hand, or by a migration, needs no note."""
    storage = MemoryStorage()
    store_untyped(storage, value={"name": "ada", "items": [], "since": None, **note})
    with typed_sessions(holder_of(Account, Account()), storage).open(1) as session:
        assert {"name", "items", "since"} == session.value.model_fields_set


def test_a_field_with_the_name_of_the_note_is_refused() -> None:
    """A model that takes any field could have one of this name, which would not come back."""
    sessions = typed_sessions(holder_of(OpenAccount, OpenAccount()), MemoryStorage())
    with pytest.raises(EncodeError, match="attribute not set is no field") as caught:
        assign(sessions, OpenAccount(**{"not set": 7}))  # type: ignore[arg-type]
    assert "value.not set" == caught.value.path
