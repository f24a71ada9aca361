"""Every form of annotation keeps its values in every storage, of the same types throughout."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from support.forms import FORMS, Form, alike
from support.sessions import holder_of
from support.storages import SpyStore
from telesession import MemoryStorage, Sessions, Storage, ttl, ttl_left

every_form = pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)


def value_in(storage: Storage, kind: Any) -> Any:
    """The value that a handler sees."""
    with Sessions(initial=kind, storage=storage).open(1) as session:
        return session.value


def changed_value(form: Form) -> Any:
    """The value of a row after its change."""
    value = copy.deepcopy(form.value)
    if form.change is not None:
        form.change(value)
    return value


@every_form
def test_a_form_keeps_its_values_through_restarts(
    form: Form, reopen: Callable[[], Storage]
) -> None:
    """A default, an assigned value and a nested change come back, each after a restart."""
    kind = holder_of(form.hint, form.default)
    assert alike(form.default, value_in(reopen(), kind))
    assert alike(form.default, value_in(reopen(), kind))
    with Sessions(initial=kind, storage=reopen()).open(1) as session:
        session.value = copy.deepcopy(form.value)
    assert alike(form.value, value_in(reopen(), kind))
    if form.change is not None:
        with Sessions(initial=kind, storage=reopen()).open(1) as session:
            form.change(session.value)
        assert alike(changed_value(form), value_in(reopen(), kind))


@every_form
def test_reading_a_form_writes_nothing(form: Form, reopen: Callable[[], Storage]) -> None:
    """A handler that only reads leaves the payload as it is, byte for byte."""
    kind = holder_of(form.hint, form.default)
    with Sessions(initial=kind, storage=reopen()).open(1) as session:
        session.value = copy.deepcopy(form.value)
    before = reopen().get("1")
    storage = reopen()
    value_in(storage, kind)
    assert before == storage.get("1")


@every_form
def test_reading_a_form_in_memory_calls_no_write(form: Form) -> None:
    """The store in memory sees one write: that of the first handler."""
    records = SpyStore()
    storage = MemoryStorage(records)
    kind = holder_of(form.hint, form.value)
    for _ in range(3):
        assert alike(form.value, value_in(storage, kind))
    assert 1 == records.writes


@every_form
def test_a_form_keeps_its_values_with_a_lifetime(form: Form) -> None:
    """A field that expires keeps the same values, and a nested change of it counts."""
    storage = MemoryStorage()
    kind = holder_of(form.hint, form.default)
    with Sessions(initial=kind, storage=storage).open(1) as session:
        session.value = ttl(copy.deepcopy(form.value), 60)
        assert alike(form.value, session.value)
    with Sessions(initial=kind, storage=storage).open(1) as session:
        assert alike(form.value, session.value)
        if form.change is not None:
            form.change(session.value)
    with Sessions(initial=kind, storage=storage).open(1) as session:
        assert alike(changed_value(form), session.value)
        assert ttl_left(session, "value") is not None
