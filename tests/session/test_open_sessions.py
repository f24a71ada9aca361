"""The table of the units that threads have open."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import Any, NoReturn

import pytest

from support.threads import start
from telesession import EncodeError, MemoryStorage, SessionError, Sessions, StorageError
from telesession.locks import units


class Broken(dict[str, bytes]):
    """A store that cannot be read."""

    def __getitem__(self, key: str) -> NoReturn:
        raise OSError


def fail(_: Any = None) -> NoReturn:
    raise ValueError


def assign(session: Any) -> None:
    session.value = threading.Lock()


ENDS: list[tuple[str, dict[str, Any], Any, Callable[[Any], object], type[BaseException] | None]] = [
    ("returns", {}, {}, lambda _: None, None),
    ("raises", {}, {}, fail, ValueError),
    ("exits", {}, {}, sys.exit, SystemExit),
    ("cannot be saved", {}, {}, assign, EncodeError),
    ("cannot be loaded", {}, Broken(), lambda _: None, StorageError),
    ("cannot be begun", {"initial": fail}, {}, lambda _: None, SessionError),
]


@pytest.mark.parametrize(
    ("options", "store", "handle", "error"),
    [pytest.param(*row[1:], id=row[0]) for row in ENDS],
)
def test_a_session_leaves_the_list_with_its_handler(
    options: dict[str, Any],
    store: Any,
    handle: Callable[[Any], object],
    error: type[BaseException] | None,
) -> None:
    """However a handler ends, a later thread with the same number finds no session of it."""
    storage = MemoryStorage(store)
    raised = None
    try:
        with Sessions(storage=storage, **options).open(1) as session:
            assert [threading.get_ident()] == list(units)
            handle(session)
    except BaseException as exception:
        raised = type(exception)

    assert (error, {}) == (raised, units)


def test_another_thread_ends_a_block() -> None:
    """A block that one thread enters and another leaves is removed for the first."""
    storage = MemoryStorage()
    block = Sessions(storage=storage).open(1)
    block.__enter__()
    start(block.__exit__, None, None, None).join()
    assert ({}, 0) == (units, len(storage.process_state.locks))
