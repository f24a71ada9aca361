"""A session is closed when its handler is done: it can be read and no longer written."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from support.clocks import PATIENCE
from support.sessions import (
    BEGINNINGS,
    KEY,
    READINGS,
    Change,
    Handle,
    Order,
    after,
    beginning_fields,
    fields_with_lifetimes,
    locks_kept,
    removing,
    setting,
    store_beginning,
    stored_beginning,
)
from telesession import (
    EncodeError,
    Session,
    SessionClosedError,
    Sessions,
    as_dict,
    forget,
    save,
    session_key,
    ttl,
    ttl_left,
)

if TYPE_CHECKING:
    from freezegun.api import FrozenDateTimeFactory

    from support.storages import SpyStorage

pytestmark = pytest.mark.usefixtures("frozen_module")


WRITES: dict[str, Change] = {
    "set an attribute": setting(counter=2),
    "set the same value": setting(counter=1),
    "set a new attribute": setting(fresh=2),
    "set an item": lambda session: session.__setitem__("counter", 2),
    "set a ttl": setting(counter=ttl(2, 30)),
    "unset a ttl": setting(code=ttl("1234", 0)),
    "add in place": lambda session: setattr(session, "counter", session.counter + 1),
    "delete an attribute": removing("counter"),
    "delete an item": lambda session: session.__delitem__("counter"),
    "pop": lambda session: session.pop("counter"),
    "pop with a default": lambda session: session.pop("counter", None),
    "popitem": lambda session: session.popitem(),
    "setdefault": lambda session: session.setdefault("fresh", 1),
    "update from a mapping": lambda session: session.update({"counter": 2}),
    "update from pairs": lambda session: session.update([("counter", 2)]),
    "update from keywords": lambda session: session.update(counter=2),
    "update in place": lambda session: session.__ior__({"counter": 2}),
    "clear": lambda session: session.clear(),
    "save": save,
    "forget": forget,
}

TYPED_WRITES: dict[str, Change] = {
    "set an attribute": setting(counter=2),
    "set an attribute at its default": setting(note="fresh"),
    "set a ttl": setting(counter=ttl(2, 30)),
    "delete an attribute": removing("counter"),
    "call a method that writes": lambda session: session.add("apple"),
    "save": save,
    "forget": forget,
}


def keep_after_return(handle: Handle, **options: Any) -> Any:
    return handle(lambda session: session, **options)


def keep_after_raise(handle: Handle, **options: Any) -> Any:
    kept: list[Any] = []
    with pytest.raises(ZeroDivisionError):
        handle(after(kept.append), **options)
    return kept[0]


def keep_after_refusal(handle: Handle, **options: Any) -> Any:
    kept: list[Any] = []
    with pytest.raises(EncodeError):
        handle(
            lambda session: (kept.append(session), setting(anything=lambda: 1)(session)), **options
        )
    session = kept[0]
    assert "anything" in as_dict(session)
    return session


def keep_after_forget(handle: Handle, **options: Any) -> Any:
    return handle(lambda session: (forget(session), session)[1], **options)


def keep_after_inner(handle: Handle, **options: Any) -> Any:
    return handle(lambda outer: handle(lambda inner: inner, **options), **options)


KEEPERS = [
    keep_after_return,
    keep_after_raise,
    keep_after_refusal,
    keep_after_forget,
    keep_after_inner,
]


@pytest.mark.parametrize("keep", [keep_after_return, keep_after_raise], ids=["return", "raise"])
@pytest.mark.parametrize("begin", BEGINNINGS.values(), ids=BEGINNINGS)
@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_writing_to_a_closed_session_is_refused(
    storage: SpyStorage, handle: Handle, begin: Any, keep: Any, write: Change
) -> None:
    """After its handler is done, whatever would change a session raises SessionClosedError."""
    before = store_beginning(storage, begin)
    session = keep(handle)
    fields_before = as_dict(session)
    with pytest.raises(SessionClosedError) as caught:
        write(session)
    assert (KEY, True) == (caught.value.key, caught.value.attempt in str(caught.value))
    assert (before, fields_before) == (storage.get(KEY), as_dict(session))
    assert ([], 0) == (storage.writes, locks_kept(storage))


@pytest.mark.parametrize("initial", [dict, Order], ids=["mapping", "dataclass"])
@pytest.mark.parametrize("write", [setting(counter=2), removing("counter"), save, forget])
@pytest.mark.parametrize("keep", KEEPERS)
def test_session_is_closed_however_its_handler_ended(
    storage: SpyStorage, handle: Handle, initial: Any, keep: Any, write: Change
) -> None:
    """A session is closed after a return, a raise, a failed commit, and after nested calls."""
    store_beginning(storage, lambda: {"counter": 1})
    session = keep(handle, initial=initial)
    before = storage.get(KEY)
    with pytest.raises(SessionClosedError):
        write(session)
    assert (before, 1, 0) == (storage.get(KEY), session.counter, locks_kept(storage))


@pytest.mark.parametrize("keep", [keep_after_return, keep_after_raise], ids=["return", "raise"])
@pytest.mark.parametrize("write", TYPED_WRITES.values(), ids=TYPED_WRITES)
def test_writing_to_a_closed_typed_session_is_refused(
    storage: SpyStorage, handle: Handle, keep: Any, write: Change
) -> None:
    """After its handler is done, whatever would change a dataclass raises SessionClosedError."""
    store_beginning(storage, lambda: {"counter": 1, "code": ttl("1234", 300)})
    session = keep(handle, initial=Order)
    before, fields_before = storage.get(KEY), as_dict(session)
    with pytest.raises(SessionClosedError) as caught:
        write(session)
    assert (KEY, True) == (caught.value.key, caught.value.attempt in str(caught.value))
    assert (before, fields_before) == (storage.get(KEY), as_dict(session))


READS: dict[str, tuple[Change, Any]] = {
    "attribute": (lambda session: session.counter, 1),
    "item": (lambda session: session["counter"], 1),
    "in": (lambda session: ("counter" in session, "nowhere" in session), (True, False)),
    "get": (lambda session: (session.get("counter"), session.get("nowhere", 5)), (1, 5)),
    "setdefault of what is there": (lambda session: session.setdefault("counter", 2), 1),
    "pop of what is not there": (lambda session: session.pop("nowhere", 5), 5),
    "len": (len, 5),
    "iter": (list, list(beginning_fields())),
    "reversed": (lambda session: list(reversed(session)), list(beginning_fields())[::-1]),
    "keys": (lambda session: list(session.keys()), list(beginning_fields())),
    "values": (lambda session: list(session.values()), list(beginning_fields().values())),
    "==": (lambda session: session == beginning_fields(), True),
    "|": (lambda session: session | {"fresh": 2}, beginning_fields() | {"fresh": 2}),
    "session_key": (session_key, KEY),
    "ttl_left": (lambda session: ttl_left(session, "counter"), None),
    "repr": (
        lambda session: [name for name in [KEY, *beginning_fields()] if name in repr(session)],
        [KEY, *beginning_fields()],
    ),
    "isinstance": (lambda session: isinstance(session, Session | Mapping), True),
}


@pytest.mark.parametrize("keep", [keep_after_return, keep_after_raise], ids=["return", "raise"])
@pytest.mark.parametrize(("read", "expected"), READS.values(), ids=READS)
def test_closed_session_can_still_be_read(
    storage: SpyStorage, handle: Handle, keep: Any, read: Change, expected: object
) -> None:
    """Reading a session still works after its handler is done."""
    store_beginning(storage, beginning_fields)
    assert expected == read(keep(handle))


@pytest.mark.parametrize("keep", [keep_after_return, keep_after_raise], ids=["return", "raise"])
def test_all_of_a_closed_session_can_still_be_read(
    storage: SpyStorage, handle: Handle, keep: Any
) -> None:
    """Every way to read a whole session still works after its handler is done."""
    store_beginning(storage, beginning_fields)
    session = keep(handle)
    expected = dict.fromkeys(READINGS, beginning_fields())
    assert expected == {name: read(session) for name, read in READINGS.items()}


def test_closed_session_still_loses_its_expired_fields(
    storage: SpyStorage, handle: Handle, clock: FrozenDateTimeFactory
) -> None:
    """A field with a lifetime is gone from a closed session at its deadline."""
    store_beginning(storage, fields_with_lifetimes)
    session = keep_after_return(handle)
    assert ("1234", 300.0) == (session.code, ttl_left(session, "code"))
    clock.tick(300)
    assert (list(beginning_fields()), 0.0) == (list(session), ttl_left(session, "code"))


@pytest.mark.parametrize("keep", [keep_after_return, keep_after_raise], ids=["return", "raise"])
def test_closed_typed_session_can_still_be_read(
    storage: SpyStorage, handle: Handle, keep: Any
) -> None:
    """A dataclass can be read as one after its handler is done, defaults included."""
    store_beginning(storage, lambda: {"counter": 1, "cart": {"apple": 1}})
    session = keep(handle, initial=Order)
    expected = Order(counter=1, cart={"apple": 1}, code="0000")
    assert (1, "none", [], "0000") == (session.counter, session.note, session.log, session.code)
    assert (dataclasses.asdict(expected), expected) == (dataclasses.asdict(session), session)
    assert ({"counter": 1, "cart": {"apple": 1}}, KEY) == (as_dict(session), session_key(session))


def test_thread_that_kept_a_session_is_told(storage: SpyStorage, handle: Handle) -> None:
    """A thread that outlives its handler gets SessionClosedError instead of losing its write."""
    returned = threading.Event()

    def write_late(session: Session) -> None:
        assert returned.wait(PATIENCE)
        session.counter = 2

    with ThreadPoolExecutor(1) as thread:
        writing = handle(
            lambda session: thread.submit(write_late, session), initial=beginning_fields
        )
        returned.set()
        error = writing.exception(PATIENCE)
    assert (SessionClosedError, 1) == (type(error), stored_beginning(storage)["counter"])


def test_session_of_a_block_is_closed_after_it(storage: SpyStorage) -> None:
    """A session that was opened by its key is closed when its block ends."""
    with Sessions(storage=storage, initial=beginning_fields).open(KEY) as session:
        pass
    with pytest.raises(SessionClosedError, match=f"set field 'counter' of session '{KEY}'"):
        session.counter = 2
    assert 1 == session.counter
