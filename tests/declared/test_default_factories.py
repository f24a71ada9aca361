"""The `default_factory` of a `defaultdict`, which is code and is not stored."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from typing import TYPE_CHECKING, Any

import pytest

from support.sessions import assign, holder_of
from telesession import EncodeError, Sessions

if TYPE_CHECKING:
    from collections.abc import Callable

    from telesession import Storage

Counts = defaultdict[str, int]


def ten() -> int:
    return 10


def failing() -> int:
    raise ZeroDivisionError


def test_the_factory_is_that_of_the_default(reopen: Callable[[], Storage]) -> None:
    """The default of the field says which factory its values have, after a restart, too."""
    kind = holder_of(Counts, defaultdict(ten))
    with Sessions(initial=kind, storage=reopen()).open(1) as session:
        session.value["tea"] += 1
    with Sessions(initial=kind, storage=reopen()).open(1) as session:
        assert (11, 10, ten) == (
            session.value["tea"],
            session.value["milk"],
            session.value.default_factory,
        )


@pytest.mark.parametrize("factory", [ten, failing, None], ids=["another", "failing", "none"])
def test_another_factory_is_refused(reopen: Callable[[], Storage], factory: Any) -> None:
    """A value with another factory would come back with the declared one, so it is refused."""
    sessions = Sessions(initial=holder_of(Counts, defaultdict(int)), storage=reopen())
    with pytest.raises(EncodeError, match="default_factory makes other values") as caught:
        assign(sessions, defaultdict(factory))
    assert ("value", "defaultdict") == (caught.value.path, caught.value.type_name)


def test_a_default_that_cannot_be_made_at_decoration_is_no_fault(
    reopen: Callable[[], Storage],
) -> None:
    """The function that makes the default may need something that is there only later."""
    ready: list[Counts] = []
    made = dataclasses.field(default_factory=lambda: ready[0])
    kind = dataclasses.make_dataclass("Kind", [("value", Counts, made)])
    sessions = Sessions(initial=kind, storage=reopen())
    ready.append(defaultdict(int, tea=1))
    with sessions.open(1) as session:
        assert 1 == session.value["tea"]
