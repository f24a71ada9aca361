"""Defaults are encoded once at decoration, so that the first user does not find the fault."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from support.sessions import typed_sessions
from support.values import Tree
from telesession import EncodeError, JSONCodec, MemoryStorage, Sessions, with_session

if TYPE_CHECKING:
    from telesession import Storage


@dataclass
class Note:
    """A value that only pickle can keep where its type is not declared."""

    text: str = "SECRET"


def kind_of(hint: Any, default: Any) -> Any:
    made = field(default=default)
    if callable(default):
        made = field(default_factory=default)
    return dataclasses.make_dataclass("Kind", [("count", int, 0), ("value", hint, made)])


UNFIT: dict[str, tuple[Any, Any, str]] = {
    "None for int": (int, None, "value is of type NoneType"),
    "text for int": (int, "SECRET", "value is of type str"),
    "factory": (list[int], lambda: ["SECRET"], r"value\[0\] is of type str"),
    "tuple for list": (list[int], lambda: (1, 2), "value is of type tuple"),
}


@pytest.mark.parametrize(("hint", "default", "fault"), UNFIT.values(), ids=UNFIT)
def test_a_default_that_does_not_fit_is_refused_at_decoration(
    storage: Storage, hint: Any, default: Any, fault: str
) -> None:
    """`TypeError` names class and field, the element and its declaration, and shows no value."""
    with pytest.raises(TypeError, match=rf"default of Kind\.value cannot be stored: {fault}") as e:
        with_session(initial=kind_of(hint, default), storage=storage)
    assert (False, True) == ("SECRET" in str(e.value), "Kind declares value" in str(e.value))


OPEN: dict[str, tuple[Any, Callable[[], Any]]] = {
    "Any": (Any, Note),
    "object": (object, Note),
    "list": (list, lambda: [Note()]),
    "dict": (dict, lambda: {"a": Note()}),
    "list of Any": (list[Any], lambda: [1, Note()]),
}
every_open = pytest.mark.parametrize(("hint", "make"), OPEN.values(), ids=OPEN)


@every_open
def test_a_default_that_the_codec_refuses_is_refused_at_decoration(
    hint: Any, make: Callable[[], Any]
) -> None:
    """The codec of the storage encodes each default, factories' as well."""
    with pytest.raises(TypeError, match=r"default of Kind\.value cannot be stored") as caught:
        Sessions(initial=kind_of(hint, make), storage=MemoryStorage(codec=JSONCodec()))
    assert "SECRET" not in str(caught.value)


@every_open
def test_memory_keeps_a_default_that_json_could_not_and_logs_it_once(
    caplog: pytest.LogCaptureFixture, hint: Any, make: Callable[[], Any]
) -> None:
    """The default codec of memory pickles it; one log entry names the field, and no value."""
    with caplog.at_level(logging.WARNING, "telesession"):
        sessions = typed_sessions(kind_of(hint, make), MemoryStorage())
        for _ in range(2):
            with sessions.open(1) as session:
                assert make() == session.value
                session.count += 1
    assert (1, True, False) == (
        len(caplog.messages),
        "Kind.value" in caplog.text,
        "SECRET" in caplog.text,
    )


def test_memory_logs_once_that_a_handler_assigned_what_json_could_not_keep(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A value under `Any` is looked at when it is saved, until one was logged."""
    sessions = typed_sessions(kind_of(Any, None), MemoryStorage())
    with caplog.at_level(logging.WARNING, "telesession"):
        for value in ([1], Note(), Note()):
            with sessions.open(1) as session:
                session.value = value
    assert (1, True) == (len(caplog.messages), "value is of type Note" in caplog.text)


def test_json_refuses_it_with_the_path() -> None:
    """On a storage with `JSONCodec` the same assignment is an `EncodeError`."""
    sessions = typed_sessions(kind_of(list, list), MemoryStorage(codec=JSONCodec()))
    with pytest.raises(EncodeError) as caught, sessions.open(1) as session:
        session.value = [1, Note()]
    assert ("value[1]", "Note") == (caught.value.path, caught.value.type_name)


def test_a_factory_that_cannot_run_at_decoration_is_no_fault(storage: Storage) -> None:
    """A factory may need something that is there only later."""
    ready: list[int] = []

    def first() -> int:
        return ready[0]

    sessions = typed_sessions(kind_of(int, first), storage)
    ready.append(7)
    with sessions.open(1) as session:
        assert 7 == session.value


def test_an_optional_tree_may_be_none(storage: Storage) -> None:
    """The depth of a default that is no container is none."""
    sessions = typed_sessions(kind_of(Tree | None, None), storage)
    with sessions.open(1) as session:
        session.value = Tree([Tree()])

    assert Tree([Tree()]) == sessions.peek(1).value


def test_none_in_a_field_of_another_type_has_its_own_advice(storage: Storage) -> None:
    """`None` is refused with the declaration that would admit it."""
    sessions = typed_sessions(kind_of(int, 0), storage)
    with (
        pytest.raises(
            EncodeError, match=r"assign a value of the declared type, or declare int \| None"
        ),
        sessions.open(1) as session,
    ):
        session.value = None
