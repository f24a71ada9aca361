"""Defaults that a factory makes, and snapshots of packed values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from telesession.ttl import pickled_snapshot
from telesession.typed.form import Form, Misfit
from telesession.typed.scalars import SCALARS


def is_steady(form: Form, made: Any, make: Callable[[], Any]) -> bool:
    """
    Whether a factory makes the same default each time, so that it need not be stored.

    A scalar other than `None` is taken for one that changes, because factories of scalars usually
    give changing values. Two of them may be equal by chance, such as the times of a stopped clock.

    Args:
        form: The form of the field.
        made: A default that the factory made.
        make: Makes another one.
    """
    if type(made) in SCALARS:
        return made is None
    return snapshot_of_value(form, made) == snapshot_of_value(form, make())


def snapshot_of_value(form: Form, value: Any) -> object:
    """A snapshot of the packed value, or an object that equals nothing if it cannot be packed."""
    try:
        return snapshot_of_packed(form.pack(value))
    except (Misfit, RecursionError):
        return object()


def snapshot_of_packed(packed: Any) -> object:
    """A snapshot of packed data, which differs for two different scalars as well."""
    # A scalar alone has no snapshot, because it cannot change inside.
    return pickled_snapshot([packed])
