"""Parts of values: all converted in one go, and the place of one that is refused."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from itertools import islice, repeat
from typing import Any

from telesession.typed.form import Form, Misfit, Reading


def pack_all(form: Form, items: Collection[Any], keys: Iterable[Any] | None = None) -> list[Any]:
    """
    The packed items of a container, in its order.

    Args:
        form: The form of the items.
        items: The items.
        keys: The keys under which the items are; `None` if they have none.

    Raises:
        Misfit: An item does not fit. The path begins with its index, or with the type of its key.
        RecursionError: The items are nested too deeply or in a cycle.
    """
    if form.has_quick and (many := form.pack_many(items)) is not None:
        return many
    packed: list[Any] = []
    try:
        # After an exception the list has the items before.
        packed.extend(map(form.pack, items))
    except Misfit as misfit:
        raise misfit.inside(_segment(items, len(packed), keys)) from None
    return packed


def unpack_all(
    form: Form, items: Collection[Any], reading: Reading, keys: Iterable[Any] | None = None
) -> list[Any]:
    """The values of packed items; the arguments and errors are those of `pack_all`."""
    if form.has_quick and (many := form.unpack_many(items)) is not None:
        return many
    values: list[Any] = []
    try:
        values.extend(map(form.unpack, items, repeat(reading)))
    except Misfit as misfit:
        raise misfit.inside(_segment(items, len(values), keys)) from None
    return values


def of_key(convert: Callable[[], list[Any]]) -> list[Any]:
    """The result of a function that converts keys; a refusal says that it is about a key."""
    try:
        return convert()
    except Misfit as misfit:
        misfit.reason = f"it is a key{misfit.reason and ', and '}{misfit.reason}"
        raise


def _segment(items: Iterable[Any], index: int, keys: Iterable[Any] | None) -> str:
    if keys is None and isinstance(items, list | tuple):
        return f"[{index}]"
    key = next(islice(items if keys is None else keys, index, None))
    return f"[<{type(key).__name__}>]"
