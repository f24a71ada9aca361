"""Misuse: calls in which an option stands in the wrong place, and what to write instead."""

from __future__ import annotations

from dataclasses import is_dataclass

from telesession.storage.base import Storage


def refuse_unnamed(function: str, values: tuple[object, ...]) -> None:
    """
    See that no option is given without its name.

    Args:
        function: The function that takes the options.
        values: The values without a name.

    Raises:
        TypeError: There are any.
    """
    if values:
        raise TypeError(
            f"{function} takes its options by name; write {function}({option_of(values[0])})"
        )


def option_of(value: object) -> str:
    """A value that was given without the name of its option, as it is to be written."""
    if isinstance(value, Storage):
        return "storage=..."
    if is_dataclass(value) and not isinstance(value, type):
        return f"initial={type(value).__name__}"
    name = getattr(value, "__name__", "...")
    return "initial=..." if name == "<lambda>" else f"initial={name}"
