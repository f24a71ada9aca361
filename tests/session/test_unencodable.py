"""A value that cannot be encoded is refused with its path, and the record stays as it was."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from support.sessions import (
    KEY,
    Change,
    FruitBasket,
    Handle,
    Order,
    beginning_fields,
    locks_kept,
    nothing,
    setting,
    shown_with,
    store_beginning,
    stored_beginning,
)
from telesession import EncodeError, Session, save, ttl, ttl_left

if TYPE_CHECKING:
    from freezegun.api import FrozenDateTimeFactory

    from support.storages import SpyStorage

pytestmark = pytest.mark.usefixtures("frozen_module")


class Unloadable:
    """Pickles, but does not come back."""

    def __reduce__(self) -> tuple[Any, tuple[()]]:
        return explode, ()


class Undumpable:
    """Raises something of its own when it is pickled."""

    def __getstate__(self) -> Any:
        raise LookupError("hunter2")


class Incomparable:
    """Pickles well, but cannot be compared, like the arrays of some libraries."""

    def __eq__(self, other: object) -> bool:
        raise ValueError("hunter2")

    __hash__ = None  # type: ignore[assignment]


def explode() -> None:
    raise ZeroDivisionError("hunter2")


def make_local() -> Any:
    class Local:
        pass

    return Local()


def make_cycle(**parts: Any) -> dict[str, Any]:
    """A dict that contains itself, first."""
    node: dict[str, Any] = {}
    node["itself"] = node
    node.update(parts)
    return node


def make_wide_cycle(**parts: Any) -> dict[str, Any]:
    """A dict that contains a dict that contains it."""
    node: dict[str, Any] = {}
    node["child"] = {"name": "harmless", "parent": node}
    node.update(parts)
    return node


def nest(depth: int) -> list[Any]:
    """A list in a list in a list."""
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


def depth_of(value: list[Any]) -> int:
    """How deep `nest` has nested, without recursion."""
    depth = 0
    while value:
        value = value[0]
        depth += 1
    return depth


def put(value: Any) -> Change:
    """Make a new field of a value."""
    return lambda session: session.__setitem__("new", value)


MARKED = type(ttl(1)).__name__

UNENCODABLE: dict[str, tuple[Change, str, str]] = {
    "a lambda": (put(lambda: "hunter2"), "new", "function"),
    "a lambda in a dict": (put({"a": {"b": lambda: 1}}), "new[<str>][<str>]", "function"),
    "a lambda in a tuple": (put((1, [2, lambda: 1])), "new[1][1]", "function"),
    "a lambda by a number": (put({7: lambda: 1}), "new[<int>]", "function"),
    "a lambda in an old field": (
        lambda session: session.cart["pear"].__setitem__("f", lambda: 1),
        "cart[<str>][<str>]",
        "function",
    ),
    "a lambda with a lifetime": (put(ttl(lambda: 1, 30)), "new", "function"),
    "a lambda in an object": (put(FruitBasket(fruit=[lambda: 1])), "new.fruit[0]", "function"),
    "a generator": (put(number for number in range(3)), "new", "generator"),
    "a lock in a list": (
        lambda session: session.log.append(threading.Lock()),
        "log[1]",
        type(threading.Lock()).__name__,
    ),
    "a lock in a field with a lifetime": (
        put(ttl({"a": [threading.Lock()]}, 30)),
        "new[<str>][0]",
        type(threading.Lock()).__name__,
    ),
    "a memoryview": (put(memoryview(b"hunter2")), "new", "memoryview"),
    "a file": (put(io.TextIOWrapper(io.BytesIO(b"hunter2"))), "new", "TextIOWrapper"),
    "a module": (put(time), "new", "module"),
    "a view": (lambda session: put(session.cart.keys())(session), "new", "dict_keys"),
    "an instance of a local class": (put([make_local()]), "new[0]", "Local"),
    "a local class": (put(type(make_local())), "new", "type"),
    "a nested ttl": (put({"a": [ttl("hunter2", 30)]}), "new[<str>][0]", MARKED),
    "a ttl in an old field": (
        lambda session: session.cart.__setitem__("apple", ttl(1, 30)),
        "cart[<str>]",
        MARKED,
    ),
    "a ttl in an object": (put(FruitBasket(fruit=ttl(1, 30))), "new.fruit", MARKED),
    "the session": (lambda session: put(session)(session), "new", "Session"),
    "the session in a dict": (
        lambda session: put({"a": session})(session),
        "new[<str>]",
        "Session",
    ),
    "what does not come back": (put([Unloadable()]), "new[0]", "Unloadable"),
    "what raises": (put([1, Undumpable()]), "new[1]", "Undumpable"),
    "a lambda in a cycle": (put(make_cycle(f=lambda: 1)), "new[<str>]", "function"),
    "a lambda in a wider cycle": (put(make_wide_cycle(f=lambda: 1)), "new[<str>]", "function"),
}

each_unencodable = pytest.mark.parametrize(
    ("change", "path", "type_name"), UNENCODABLE.values(), ids=UNENCODABLE
)


@each_unencodable
def test_value_that_cannot_be_encoded_is_refused_with_its_path(
    storage: SpyStorage, handle: Handle, change: Change, path: str, type_name: str
) -> None:
    """A value that cannot be encoded is an EncodeError with path and type; nothing is written."""
    before = store_beginning(storage, beginning_fields)
    with pytest.raises(EncodeError) as caught:
        handle(lambda session: (setting(counter=2)(session), change(session)))
    error = caught.value
    assert (KEY, path, type_name) == (error.key, error.path, error.type_name)
    assert (True, True) == (path in str(error), type_name in str(error))
    assert (before, [], 0) == (storage.get(KEY), storage.writes, locks_kept(storage))
    handle(setting(counter=3))
    assert 3 == stored_beginning(storage)["counter"]


@each_unencodable
def test_refusal_shows_no_value(
    storage: SpyStorage, handle: Handle, change: Change, path: str, type_name: str
) -> None:
    """No message shows a stored value, nor does any exception that Python shows beside it."""
    store_beginning(storage, lambda: {**beginning_fields(), "secret": "hunter2"})
    with pytest.raises(EncodeError) as caught:
        handle(change)
    shown = [text for error in shown_with(caught.value) for text in (str(error), repr(error))]
    assert [] == [text for text in shown if "hunter2" in text]


@each_unencodable
def test_save_refuses_what_cannot_be_encoded(
    storage: SpyStorage, handle: Handle, change: Change, path: str, type_name: str
) -> None:
    """A refused `save` writes nothing, and a handler that removes the value may go on."""
    before = store_beginning(storage, beginning_fields)

    def handler(session: Session) -> bytes | None:
        session.counter = 2
        change(session)
        with pytest.raises(EncodeError) as caught:
            save(session)
        assert path == caught.value.path
        during = storage.get(KEY)
        if "new" in session:
            del session.new
        session.update(cart=beginning_fields()["cart"], log=beginning_fields()["log"])
        return during

    assert before == handle(handler)
    assert ({**beginning_fields(), "counter": 2}, ["set"]) == (
        stored_beginning(storage),
        storage.writes,
    )


@pytest.mark.parametrize(
    "value",
    [
        {ttl(1, 30)},
        frozenset([lambda: 1]),
        {ttl(1, 30): 1},
        {(1, make_local()): 1},
    ],
    ids=["ttl in a set", "lambda in a frozenset", "ttl as a key", "local class in a key"],
)
def test_refusal_names_the_field_of_what_has_no_index(
    storage: SpyStorage, handle: Handle, value: Any
) -> None:
    """An item of a set or a key of a dict is refused with a path that leads to its container."""
    before = store_beginning(storage, beginning_fields)
    with pytest.raises(EncodeError) as caught:
        handle(put({"a": value}))
    assert (True, before) == ("new[<str>]" in caught.value.path, storage.get(KEY))


@pytest.mark.parametrize("initial", [dict, Order], ids=["mapping", "dataclass"])
@pytest.mark.parametrize("lifetime", [0, 30], ids=["for ever", "with a lifetime"])
def test_value_that_cannot_be_compared_is_stored(
    storage: SpyStorage, handle: Handle, initial: Any, lifetime: int
) -> None:
    """What pickle brings back is stored, whether or not it knows how to be compared."""
    handle(setting(anything=ttl([Incomparable()], lifetime)), initial=initial)
    handle(lambda session: session.anything.append(Incomparable()), initial=initial)
    assert [Incomparable] * 2 == [type(item) for item in stored_beginning(storage)["anything"]]


@pytest.mark.parametrize("initial", [dict, Order], ids=["mapping", "dataclass"])
@pytest.mark.parametrize("lifetime", [0, 30], ids=["for ever", "with a lifetime"])
@pytest.mark.parametrize("depth", [2000, 12_000])
def test_deep_nesting_comes_back_or_is_refused(
    storage: SpyStorage, handle: Handle, initial: Any, lifetime: int, depth: int
) -> None:
    """A value nested deeper than can be encoded is an EncodeError that names its field."""
    before = store_beginning(storage, lambda: {"counter": 1})
    refused = []
    try:
        handle(setting(anything=ttl(nest(depth), lifetime)), initial=initial)
    except EncodeError as error:
        refused.append(error.path.partition("[")[0])
    whole = (
        before == storage.get(KEY)
        if refused
        else depth == depth_of(stored_beginning(storage)["anything"])
    )
    assert (True, []) == (whole, [path for path in refused if path != "anything"])
    assert 0 == locks_kept(storage)


def test_cycle_of_plain_data_comes_back(storage: SpyStorage, handle: Handle) -> None:
    """What you save is what you load: pickle keeps a dict that contains itself."""
    handle(setting(anything=make_cycle(name="anna")))
    loaded = handle(lambda session: session.anything)
    assert ("anna", True) == (loaded["name"], loaded["itself"] is loaded)


@pytest.mark.parametrize("make", [make_cycle, make_wide_cycle])
def test_cycle_in_a_typed_session_comes_back_or_is_refused(
    storage: SpyStorage, handle: Handle, make: Any
) -> None:
    """A cyclic value of a dataclass is stored or an EncodeError with its field, nothing else."""
    before = store_beginning(storage, lambda: {"counter": 1})
    refused = []
    try:
        handle(setting(anything=make(name="anna")), initial=Order)
    except EncodeError as error:
        refused.append(error.path.partition("[")[0])
    whole = (
        before == storage.get(KEY)
        if refused
        else "anna" == stored_beginning(storage)["anything"]["name"]
    )
    assert (True, []) == (whole, [path for path in refused if path != "anything"])


TYPED_UNENCODABLE: dict[str, tuple[Change, str, str]] = {
    "the wrong type": (setting(counter="one"), "counter", "str"),
    "a lambda for anything": (setting(anything=lambda: 1), "anything", "function"),
    "a lambda in a list": (lambda session: session.log.append(lambda: 1), "log[0]", "function"),
    "a lambda in a changed default": (
        lambda session: session.cart.__setitem__("f", lambda: 1),
        "cart[<str>]",
        "function",
    ),
    "a nested ttl": (lambda session: session.log.append(ttl(1, 30)), "log[0]", MARKED),
    "the session": (lambda session: setting(anything=session)(session), "anything", "Order"),
    "the session in a list": (lambda session: session.log.append(session), "log[0]", "Order"),
    "what does not come back": (setting(anything=Unloadable()), "anything", "Unloadable"),
}


@pytest.mark.parametrize(
    ("change", "path", "type_name"), TYPED_UNENCODABLE.values(), ids=TYPED_UNENCODABLE
)
def test_typed_session_refuses_what_cannot_be_encoded(
    storage: SpyStorage, handle: Handle, change: Change, path: str, type_name: str
) -> None:
    """A value that a dataclass cannot get back is an EncodeError, and the old record stays."""
    before = store_beginning(storage, lambda: {"counter": 1})
    with pytest.raises(EncodeError) as caught:
        handle(lambda session: (setting(note="new")(session), change(session)), initial=Order)
    assert (KEY, path, type_name) == (caught.value.key, caught.value.path, caught.value.type_name)
    assert (before, [], 0) == (storage.get(KEY), storage.writes, locks_kept(storage))


UNENCODABLE_INITIALS: dict[str, tuple[Callable[[], Any], str]] = {
    "a lambda": (lambda: lambda: 1, "function"),
    "a lock": (threading.Lock, type(threading.Lock()).__name__),
    "a generator": (lambda: (number for number in range(3)), "generator"),
}


@pytest.mark.parametrize(
    ("make", "type_name"), UNENCODABLE_INITIALS.values(), ids=UNENCODABLE_INITIALS
)
def test_initial_that_cannot_be_encoded_is_refused_with_its_path(
    storage: SpyStorage, handle: Handle, make: Callable[[], Any], type_name: str
) -> None:
    """A field that `initial` computed and that would not come back is an EncodeError, too."""
    with pytest.raises(EncodeError) as caught:
        handle(nothing, initial=lambda: {"counter": 0, "odd": {"one": make()}})
    assert (KEY, "odd[<str>]") == (caught.value.key, caught.value.path)
    assert (type_name, [], 0) == (caught.value.type_name, list(storage.keys()), locks_kept(storage))


def test_refused_first_session_is_not_stored(storage: SpyStorage, handle: Handle) -> None:
    """A new session that cannot be encoded was never there."""
    with pytest.raises(EncodeError):
        handle(put(lambda: 1), initial=beginning_fields)
    assert ([], [], 0) == (list(storage.keys()), storage.writes, locks_kept(storage))


def test_refused_save_does_not_move_a_deadline(
    storage: SpyStorage, handle: Handle, clock: FrozenDateTimeFactory
) -> None:
    """A field with a lifetime is gone that long after its last update, whatever `save` did."""
    store_beginning(storage, lambda: {"code": ttl("1234", 300)})

    def handler(session: Session) -> None:
        session.code = "9876"
        session.bad = lambda: None
        with pytest.raises(EncodeError):
            save(session)
        del session.bad
        clock.tick(100)

    handle(handler)
    assert 200.0 == handle(lambda session: ttl_left(session, "code"))
