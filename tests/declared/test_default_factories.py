"""The `default_factory` of a `defaultdict`, which is code and is not stored."""

from __future__ import annotations

import dataclasses
import itertools
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


def made_by(factory: Callable[[], Counts]) -> Any:
    """A dataclass with a default that a function makes."""
    made = dataclasses.field(default_factory=factory)
    return dataclasses.make_dataclass("Kind", [("value", Counts, made)])


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
    sessions = Sessions(initial=made_by(lambda: ready[0]), storage=reopen())
    ready.append(defaultdict(int, tea=1))
    with sessions.open(1) as session:
        assert 1 == session.value["tea"]


def numbered(first: int, step: int = 1, *, count: int = 0) -> Counts:
    """A dict whose factory gives another number each time."""
    numbers = NUMBERS
    return defaultdict(lambda by=step, *, more=count: first + more + by * next(numbers))


NUMBERS = itertools.count()


def test_functions_of_one_definition_are_the_same_factory(reopen: Callable[[], Storage]) -> None:
    """The factory of a default is a new function each time, and need not make equal values."""
    kind = made_by(lambda: numbered(7))
    with Sessions(initial=kind, storage=reopen()).open(1) as session:
        tea = session.value["tea"]
    with Sessions(initial=kind, storage=reopen()).open(1) as session:
        assert (tea, True) == (session.value["tea"], session.value["milk"] > tea)


@pytest.mark.parametrize(
    "other",
    [numbered(70), numbered(7, -1), numbered(7, count=100), defaultdict(NUMBERS.__next__)],
    ids=["variable", "default", "keyword", "method"],
)
def test_functions_with_other_values_around_are_refused(other: Counts) -> None:
    """The definition alone does not say which values a function makes."""
    sessions = Sessions(initial=holder_of(Counts, numbered(7)))
    with pytest.raises(EncodeError, match="default_factory makes other values"):
        assign(sessions, other)


def test_functions_with_a_deleted_variable_are_compared() -> None:
    """A variable without a value is that of one function only."""

    def early() -> Counts:
        gone = 1
        counts: Counts = defaultdict(lambda: gone)  # noqa: F821 -- it is about that
        del gone
        return counts

    sessions = Sessions(initial=holder_of(Counts, early()))
    with pytest.raises(EncodeError, match="default_factory makes other values"):
        assign(sessions, early())


def ranked() -> Counts:
    """A dict that gives each new key its rank."""
    ranks: Counts = defaultdict(int)
    ranks.default_factory = ranks.__len__
    return ranks


def test_a_method_of_the_dict_itself_is_refused() -> None:
    """The method would be that of another dict, so it is refused with the reason."""
    with pytest.raises(TypeError, match="its default_factory is a method of the dict itself"):
        Sessions(initial=made_by(ranked))
