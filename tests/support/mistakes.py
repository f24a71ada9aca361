"""Acts and calls that a test expects to be refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


class Mistake(NamedTuple):
    """
    An act on the stage of a test that is refused.

    Args:
        name: Its name, the id of its test.
        act: The act, on the stage.
        message: A part of the message.
    """

    name: str
    act: Callable[[Any], object]
    message: str


def each(mistakes: Iterable[Mistake]) -> pytest.MarkDecorator:
    """A test of its own for each mistake, which gets it as `mistake`."""
    return pytest.mark.parametrize("mistake", mistakes, ids=lambda one: one.name)
