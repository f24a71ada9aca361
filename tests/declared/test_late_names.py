"""Annotations that name a class which is defined later than the handler."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from telesession import Sessions, Storage, with_session

if TYPE_CHECKING:
    from decimal import Decimal


@dataclass
class Journey:
    """A session with a field of a class that is defined below."""

    stops: list[Stop] = field(default_factory=list)


@with_session(initial=Journey)
def above_the_class(message: Any, session: Journey) -> None:
    """A handler that was decorated while `Stop` was not defined."""


def make_journey() -> Journey | Stop:
    """Announce a class that is defined below."""
    return Stop("Bergen")


EARLY = Sessions(initial=make_journey, name="early")


@dataclass
class Stop:
    """A class below the handler."""

    name: str = ""


@dataclass
class Paid:
    """A class whose annotation is known to type checkers only."""

    price: Decimal | None = None


def test_a_class_below_the_handler_is_found_at_first_use(storage: Storage) -> None:
    """The annotation of a field names a class further down: it is resolved at the first use."""
    sessions = Sessions(initial=Journey, storage=storage)
    with sessions.open(1) as session:
        session.stops.append(Stop("Bergen"))
    with sessions.open(1) as session:
        assert [Stop("Bergen")] == session.stops


def test_a_session_class_below_the_handler_is_found_at_first_use() -> None:
    """The annotation of `initial` may name it, too."""
    with EARLY.open("bergen") as session:
        assert (True, "Bergen") == (isinstance(session, Stop), session.name)


@pytest.mark.parametrize("use", [lambda s: s.open(1).__enter__(), lambda s: s.peek(1)])
def test_a_name_that_is_never_defined_is_refused_with_the_way_out(
    storage: Storage, use: Any
) -> None:
    """A name under `if TYPE_CHECKING:` cannot be resolved: the error says where to import it."""
    with Sessions(storage=storage).open(1) as mapping:
        mapping.price = None
    sessions = Sessions(initial=Paid, storage=storage, lock_timeout=0)
    for _ in range(2):
        with pytest.raises(TypeError, match=r"'Decimal' is not defined.*top level.*TYPE_CHECKING"):
            use(sessions)
