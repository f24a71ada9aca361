"""Typed handlers that only read, and views of records that other handlers wrote."""

from __future__ import annotations

import dataclasses
import itertools
import logging
from collections import defaultdict
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import pytest

from support.sessions import store_untyped, stored_untyped, typed_sessions
from telesession import EncodeError, MemoryStorage, Sessions, Storage, ttl, with_session

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


@dataclass
class Visitor:
    """A session of scalars, with a list that was added later."""

    name: str = ""
    visits: int = 0
    log: list[str] = field(default_factory=list)

    @cached_property
    def title(self) -> str:
        return self.name.title()


LARGE = {str(number): number for number in range(50)}
RECORDS: dict[str, dict[str, Any]] = {
    "scalars": {"name": "ada", "visits": 1},
    "undeclared first": {"old": [1], "name": "ada", "visits": 1},
    "undeclared in the middle": {"name": "ada", "old": [1], "visits": 1},
    "a list": {"name": "ada", "visits": 1, "log": ["a"]},
    "a long list": {"name": "ada", "visits": 1, "log": list(LARGE)},
}
READS: dict[str, Callable[[Visitor], Any]] = {
    "a field": lambda session: session.visits,
    "a default": lambda session: session.log,
    "a cached property": lambda session: session.title,
}


@pytest.mark.parametrize("read", READS.values(), ids=READS)
@pytest.mark.parametrize("fields", RECORDS.values(), ids=RECORDS)
def test_a_read_leaves_the_record_as_it_is(
    storage: Storage, fields: dict[str, Any], read: Callable[[Any], Any]
) -> None:
    """A typed handler reads a record that an untyped one wrote: the payload stays, byte by byte."""
    store_untyped(storage, **fields)
    before = storage.get("1")
    with typed_sessions(Visitor, storage).open(1) as session:
        read(session)
    assert before == storage.get("1")


def test_undeclared_fields_keep_their_place(storage: Storage) -> None:
    """A write changes the declared fields, and keeps the order of all fields of the record."""
    store_untyped(storage, old=1, name="ada", older=2, visits=1)
    with typed_sessions(Visitor, storage).open(1) as session:
        session.visits += 1
        session.log.append("a")
    fields = {"old": 1, "name": "ada", "older": 2, "visits": 2, "log": ["a"]}
    assert [*fields.items()] == [*(stored_untyped(storage) or {}).items()]


def test_a_field_with_an_underscore_is_one_in_both_shapes(storage: Storage) -> None:
    """A mapping changes a declared `_field` of a typed record, and the change is saved."""

    @dataclass
    class Hidden:
        _count: int = 0

    with typed_sessions(Hidden, storage).open(1) as session:
        session._count = 1
    with Sessions(storage=storage).open(1) as mapping:
        mapping["_count"] = 5
    with typed_sessions(Hidden, storage).open(1) as session:
        assert 5 == session._count


COINS = itertools.cycle([False, True])


def test_a_made_scalar_is_stored_also_if_it_is_falsy(storage: Storage) -> None:
    """A factory that gives False now and True the next time: the first value stays."""

    @dataclass
    class Toss:
        name: str = ""
        heads: bool = field(default_factory=lambda: next(COINS))

    store_untyped(storage, name="ada")
    seen = []
    for _ in range(3):
        with typed_sessions(Toss, storage).open(1) as session:
            seen.append(session.heads)
    assert [seen[0]] * 3 == seen


@pytest.mark.parametrize("linked", [False, True], ids=["plain", "with a lifetime"])
def test_a_default_may_change_after_its_block(storage: Storage, linked: bool) -> None:
    """A list that an inner block handed out changes before the handler returns: it is saved."""
    store_untyped(storage, name="ada")
    sessions = typed_sessions(Visitor, storage)
    with sessions.open(2):
        with sessions.open(1) as session:
            if linked:
                session.name = ttl("ada", 60)
            log = session.log
        log.append("later")
    assert ["later"] == (stored_untyped(storage) or {})["log"]


def test_a_session_is_no_value_of_another_session(storage: Storage) -> None:
    """A session that is put into a field is refused with its own advice."""

    @dataclass
    class Meeting:
        guest: Visitor | None = None

    visitors = Sessions(initial=Visitor, storage=storage, name="visitor")
    with (
        pytest.raises(EncodeError, match=r"a session itself; store as_dict\(session\)"),
        typed_sessions(Meeting, storage).open(1) as meeting,
        visitors.open(1) as visitor,
    ):
        meeting.guest = visitor


@dataclass
class Limits:
    """A nested class that was a dict before."""

    daily: int = 0


@dataclass
class Account:
    """A session with such a field."""

    limits: Limits = field(default_factory=Limits)


def test_keys_of_a_dict_that_became_a_class_are_not_logged(
    storage: Storage, caplog: pytest.LogCaptureFixture
) -> None:
    """The stored dict's keys are words of users: the log counts those that are no names."""

    store_untyped(storage, limits={"daily": 3, "+49170": 1, "ada.b": 2})
    with (
        caplog.at_level(logging.WARNING, "telesession"),
        typed_sessions(Account, storage).open(1) as session,
    ):
        assert Limits(3) == session.limits
    assert (True, False, False) == (
        "2 more" in caplog.text,
        "+49170" in caplog.text,
        "ada" in caplog.text,
    )


def test_a_default_that_cannot_be_pickled_is_not_stored_by_a_read(storage: Storage) -> None:
    """A default of a local class, or with a factory of its own, is compared by its plain data."""

    @dataclass
    class Local:
        text: str = ""

    kind = dataclasses.make_dataclass(
        "Holder",
        [
            ("name", str, ""),
            ("local", Local, field(default_factory=Local)),
            ("counts", defaultdict[str, int], field(default_factory=lambda: defaultdict(int))),
        ],
    )
    store_untyped(storage, name="ada")
    before = storage.get("1")
    with typed_sessions(kind, storage).open(1) as session:
        assert (Local(), {}) == (session.local, session.counts)
    assert before == storage.get("1")


# Classes that are refused


class Slotted:
    """A base with a slot that is no field."""

    __slots__ = ("cache",)


@dataclass
class WithSlottedBase(Slotted):
    """A dataclass whose instances have more than their fields."""

    count: int = 0


@dataclass
class Box(Generic[T]):
    """A generic dataclass."""

    value: T | None = None


class Strict:
    """A base whose subclasses say what they are."""

    def __init_subclass__(cls, kind: str) -> None:
        cls.kind = kind  # type: ignore[attr-defined]


@dataclass
class OfKind(Strict, kind="visitor"):
    """A dataclass that cannot be subclassed without a keyword."""

    count: int = 0


class WithoutAnnotation:
    """A dataclass with a list that was meant as a field."""

    items = []  # noqa: RUF012
    count: int = 0


@dataclass
class WithOneParameter:
    """A dataclass with half an annotation."""

    counts: dict[str] = field(default_factory=dict)  # type: ignore[type-arg]


@dataclass
class WithTwoParameters:
    """A dataclass with too much of an annotation."""

    items: list[int, str] = field(default_factory=list)  # type: ignore[type-arg]


@dataclass
class WithoutFactory:
    """A dataclass with a list in the place of a function."""

    items: list[int] = field(default_factory=[])  # type: ignore[arg-type]


@dataclass
class WithProperty:
    """A dataclass whose field is a property."""

    count: int = 0


WithProperty.count = property(lambda self: 30)  # type: ignore[assignment]


class Undecorated:
    """A class that lacks its decorator."""

    count: int = 0


REFUSED: dict[str, tuple[Any, str]] = {
    "a list without an annotation": (dataclass(WithoutAnnotation), "items: list = field"),
    "a parameter too few": (WithOneParameter, r"dict has 1 parameters, and takes 2; .*dict\["),
    "a parameter too many": (WithTwoParameters, "list has 2 parameters, and takes 1"),
    "a list as a factory": (WithoutFactory, "must be a function or a class, not list"),
    "a property": (WithProperty, "WithProperty.count is a property"),
    "no dataclass": (Undecorated, "make Undecorated a dataclass, or the type of a field of one"),
    "a slot in a base": (WithSlottedBase, "WithSlottedBase has slots"),
    "a generic with arguments": (Box[int], r"class MyBox\(Box\[...\]\)"),
    "a keyword for subclasses": (OfKind, "OfKind cannot be a session, because .* subclass"),
}


@pytest.mark.parametrize(("initial", "reason"), REFUSED.values(), ids=REFUSED)
def test_a_class_that_cannot_be_a_session_is_refused_with_the_reason(
    initial: Any, reason: str
) -> None:
    """`TypeError` at decoration says why, and the form to write instead."""
    with pytest.raises(TypeError, match=reason):
        with_session(initial=initial, storage=MemoryStorage())


def test_a_generic_with_arguments_is_extended_instead(storage: Storage) -> None:
    """A dataclass that extends `Box[int]` has the annotation `int | None`."""

    @dataclass
    class IntBox(Box[int]):
        pass

    with typed_sessions(IntBox, storage).open(1) as session:
        session.value = 5
    with (
        pytest.raises(EncodeError, match=r"IntBox declares value: int \| None"),
        typed_sessions(IntBox, storage).open(1) as session,
    ):
        session.value = "5"  # type: ignore[assignment]


# Depth


@dataclass
class Node:
    """A class that may be nested at will."""

    children: list[Node] = field(default_factory=list)


@dataclass
class Tree:
    """A session with a tree."""

    root: Node = field(default_factory=Node)


def tree_of(depth: int) -> Node:
    root = Node()
    for _ in range(depth):
        root = Node([root])
    return root


def test_trees_of_some_depth_come_back_and_deeper_ones_are_refused(storage: Storage) -> None:
    """The limit is that of JSON, 200 levels of data, on every storage; the record stays."""
    sessions = typed_sessions(Tree, storage)
    with sessions.open(1) as session:
        session.root = tree_of(97)
    before = storage.get("1")
    for depth in (99, 150, 5000):
        with (
            pytest.raises(EncodeError, match="nested more than 198 levels deep"),
            sessions.open(1) as session,
        ):
            session.root = tree_of(depth)
    with sessions.open(1) as session:
        assert (before, tree_of(97)) == (storage.get("1"), session.root)
