"""PickleCodec refuses to save what would not come back, and says where it is."""

from __future__ import annotations

import json
import threading
import traceback
from collections import OrderedDict, defaultdict
from typing import TYPE_CHECKING, Any

import pytest

from support.storages import SpyStore
from support.values import (
    SECRET,
    Basket,
    PickledColor,
    PickledItem,
    PickledMoney,
    PickledPoint,
    cyclic,
    told_by,
    write_pickled,
)
from telesession import EncodeError, MemoryStorage, Session, Sessions, save, ttl

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Refusing:
    """Does not let itself be pickled."""

    def __reduce__(self) -> Any:
        raise RuntimeError(SECRET)

    def __repr__(self) -> str:
        return SECRET


class Unreadable(Exception):
    """Like many an exception: it pickles, and does not unpickle."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)


class Untouchable:
    """Raises at whatever is asked of it."""

    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError(SECRET)


class BadName(str):
    """A key that cannot be shown."""

    __slots__ = ()

    def __repr__(self) -> str:
        raise RuntimeError(SECRET)


class Turncoat:
    """Pickles well, and comes back as something else."""

    def __reduce__(self) -> Any:
        return int, ()


def generator() -> Iterator[int]:
    yield 1


def local_instance() -> Any:
    class Local:
        pass

    return Local()


def knot() -> list[Any]:
    """A list that holds itself, and then what cannot be stored."""
    value: list[Any] = [{"text": SECRET}]
    value.append(value)
    value.append({"deep": [value, generator()]})
    return value


def deep(levels: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(levels):
        value = [value]
    return value


REFUSED: dict[str, tuple[dict[Any, Any], str, str]] = {
    "generator": ({"made": generator()}, "made", "generator"),
    "function": ({"made": lambda: SECRET}, "made", "function"),
    "lock": ({"made": threading.Lock()}, "made", "lock"),
    "module": ({"made": json}, "made", "module"),
    "local-instance": ({"made": local_instance()}, "made", "Local"),
    "memoryview": ({"made": memoryview(b"hunter2")}, "made", "memoryview"),
    "keys-of-a-dict": ({"made": {SECRET: 1}.keys()}, "made", "dict_keys"),
    "refusing": ({"made": Refusing()}, "made", "Refusing"),
    "nested-ttl": ({"cart": {"apple": ttl(SECRET)}}, "cart[<str>]", "TimedValue"),
    "in-dict": ({"cart": {"apple": 1, "pear": generator()}}, "cart[<str>]", "generator"),
    "in-list": ({"log": ["a", "b", generator()]}, "log[2]", "generator"),
    "in-tuple": ({"pair": (1, generator())}, "pair[1]", "generator"),
    "in-attribute": ({"user": Basket(generator())}, "user.content", "generator"),
    "in-dataclass": ({"item": PickledItem("a", [1, generator()])}, "item.tags[1]", "generator"),
    "in-namedtuple": ({"price": PickledMoney(1, generator())}, "price[1]", "generator"),
    "in-defaultdict": ({"d": defaultdict(int, a=generator())}, "d[<str>]", "generator"),
    "in-factory": ({"d": defaultdict(lambda: 1)}, "d", "defaultdict"),
    "deep": (
        {"a": {"b": [({"c": Basket([0, {"d": generator()}])},)]}},
        "a[<str>][0][0][<str>].content[1][<str>]",
        "generator",
    ),
    "int-key": ({"cart": {7: generator()}}, "cart[<int>]", "generator"),
    "bool-key": ({"cart": {True: generator()}}, "cart[<bool>]", "generator"),
    "secret-key": ({"cart": {f"'{SECRET}": generator()}}, "cart[<str>]", "generator"),
    "odd-field-name": ({"a b": [generator()]}, "a b[0]", "generator"),
    "not-unpickling": ({"errors": [Unreadable(1, SECRET)]}, "errors[0]", "Unreadable"),
    "the-second-of-two": (
        {"a": [SECRET, PickledItem("x")], "b": [generator()]},
        "b[0]",
        "generator",
    ),
    "beside-a-cycle": ({"a": cyclic(), "b": [generator()]}, "b[0]", "generator"),
    "in-a-cycle": ({"a": knot()}, "a[2][<str>][1]", "generator"),
}


def refusal(fields: dict[Any, Any]) -> EncodeError:
    """The error that saving these fields raises."""
    store = SpyStore()
    write_pickled(store, {"kept": "old"})
    payload = store["1"]
    with pytest.raises(EncodeError) as caught:
        write_pickled(store, fields)
    assert (1, payload) == (store.writes, store["1"])
    return caught.value


@pytest.mark.parametrize(("fields", "path", "type_name"), list(REFUSED.values()), ids=list(REFUSED))
def test_what_would_not_come_back_is_refused_with_its_path(
    fields: dict[Any, Any], path: str, type_name: str
) -> None:
    """`EncodeError` has the key, the field's path and the type; the old record is as it was."""
    error = refusal({"before": [SECRET], **fields, "after": {SECRET: SECRET}})

    assert ("1", path, type_name) == (error.key, error.path, error.type_name)


@pytest.mark.parametrize("fields", [row[0] for row in REFUSED.values()], ids=list(REFUSED))
def test_a_refusal_shows_no_value(fields: dict[Any, Any]) -> None:
    """`EncodeError` never shows a value, in its text, its data or its traceback."""
    error = refusal({"before": [SECRET], **fields, "after": PickledItem(SECRET)})

    assert SECRET not in told_by(error)
    assert SECRET not in "".join(traceback.format_exception(error)).replace("SECRET", "")
    assert error.path in str(error)
    assert error.type_name in str(error)


@pytest.mark.parametrize(
    ("key", "shown"),
    [
        (SECRET, "str"),
        (7, "int"),
        (True, "bool"),
        (None, "NoneType"),
        (1.5, "float"),
        (b"hunter2", "bytes"),
        ((SECRET, 1), "tuple"),
        (frozenset({SECRET}), "frozenset"),
        (PickledPoint(1, 2), "PickledPoint"),
        (PickledColor.RED, "PickledColor"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_path_through_a_key_names_its_type(key: Any, shown: str) -> None:
    """Where a path leads through a dict, it shows the type of the key, and not the key."""
    error = refusal({"cart": {key: [generator()]}})

    assert f"cart[<{shown}>][0]" == error.path


@pytest.mark.parametrize(
    "key",
    [BadName("x"), 10**5000],
    ids=["a-str-that-cannot-be-shown", "an-int-that-cannot-be-shown"],
)
def test_a_path_through_a_key_that_cannot_be_shown(key: Any) -> None:
    """A key whose `repr` raises does not hide which field could not be saved."""
    error = refusal({"cart": {key: generator()}})

    assert error.path.startswith("cart[")
    assert "generator" == error.type_name


@pytest.mark.parametrize(
    ("value", "path", "type_name"),
    [
        ({1: 1, type(local_instance()): 2}, "(a key of cart)", "type"),
        ({"a": {lambda: 1: 1}}, "(a key of cart[<str>])", "function"),
        ([{(1, lambda: 1): 1}], "(a key of cart[0])[1]", "function"),
    ],
    ids=["key", "key-of-nested", "key-inside-tuple"],
)
def test_a_key_that_would_not_come_back_is_named_as_a_key(
    value: Any, path: str, type_name: str
) -> None:
    """The path of a dict's key says that it is a key, and of what."""
    error = refusal({"cart": value})

    assert (path, type_name) == (error.path, error.type_name)


@pytest.mark.parametrize("kind", [set, frozenset])
def test_an_item_of_a_set_that_would_not_come_back_is_named(kind: Any) -> None:
    """The items of a set have no names, so the path says which set it is."""
    error = refusal({"cart": {"tags": kind([1, "a", type(local_instance())])}})

    assert ("(an item of cart[<str>])", "type") == (error.path, error.type_name)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({(1, generator): 0, (1, lambda: 1): 0}, [0, {(lambda: 1): 0}]),
        ({(lambda: 1,)}, [{(lambda: 1)}]),
    ],
    ids=["keys", "items"],
)
def test_two_places_never_have_the_same_path(one: Any, other: Any) -> None:
    """A part of a key is told from a key of a part, and so are the items of sets."""
    assert refusal({"cart": one}).path != refusal({"cart": other}).path


def test_a_session_inside_a_session_is_refused() -> None:
    """A session is no value: storing it in itself or in another raises `EncodeError`."""
    sessions = Sessions(storage=MemoryStorage())

    with pytest.raises(EncodeError) as caught, sessions.open(1) as session:
        session.inner = [session]

    assert "inner[0]" == caught.value.path
    assert "Session" in caught.value.type_name
    assert sessions.peek(1) is None
    assert "made by hand" == refusal({"made by hand": Session(text=SECRET)}).path


def test_a_value_that_raises_at_everything_is_refused() -> None:
    """Not even an object that raises at whatever is asked of it hides which field it is in."""
    error = refusal({"made": [Untouchable()]})

    assert ("made[0]", "Untouchable") == (error.path, error.type_name)


@pytest.mark.parametrize(
    ("kind", "path"),
    [
        (dict, "made[<str>]"),
        (list, "made[0]"),
        (tuple, "made[0]"),
        (set, "(an item of made)"),
        (frozenset, "(an item of made)"),
    ],
)
def test_a_container_that_raises_at_everything_is_looked_into(kind: type, path: str) -> None:
    """Not even the methods of a container itself hide the value in it that is refused."""

    def refuse(_self: Any) -> Any:
        raise RuntimeError(SECRET)

    class Container(kind):  # type: ignore[misc]
        __iter__ = __len__ = items = refuse

    made = generator()
    error = refusal({"made": Container({SECRET: made} if kind is dict else [made])})

    assert (path, "generator") == (error.path, error.type_name)
    assert SECRET not in told_by(error)


def test_a_value_that_pickles_but_does_not_unpickle_is_refused_at_save() -> None:
    """What pickles but does not come back is refused when it is saved, not lost when loaded."""
    error = refusal({"error": Unreadable(1, SECRET)})

    assert ("error", "Unreadable") == (error.path, error.type_name)


@pytest.mark.parametrize(
    ("hide", "path"),
    [
        (lambda value: value, "values"),
        (lambda value: [1, value], "values[1]"),
        (lambda value: {"a": (1, value)}, "values[<str>][1]"),
        (lambda value: {value: 1}, "(a key of values)"),
        (lambda value: {value}, "(an item of values)"),
        (lambda value: OrderedDict(a=value), "values[<str>]"),
        (lambda value: Basket([value]), "values.content[0]"),
        (lambda value: PickledItem("a", [value]), "values.tags[0]"),
    ],
    ids=["field", "list", "tuple", "key", "set", "ordered-dict", "instance", "dataclass"],
)
def test_a_value_that_comes_back_as_something_else_is_refused(
    hide: Callable[[Any], Any], path: str
) -> None:
    """What you save is what you load, or the save raises."""
    error = refusal({"values": hide(Turncoat())})

    assert (path, "Turncoat") == (error.path, error.type_name)


def test_a_value_that_is_nested_too_deeply_is_refused() -> None:
    """
    What exceeds pickle's recursion is an `EncodeError` that names the field.

    It looks no deeper than anybody nests data on purpose: each level costs another try, and a
    place in the path.
    """
    error = refusal({"deep": deep(100_000)})

    assert ("deep" + 200 * "[0]", "list") == (error.path, error.type_name)
    assert "store it flat" in error.reason


def test_a_refused_session_is_free_for_the_next_update() -> None:
    """After an `EncodeError` the next handler finds the old fields and can save again."""
    sessions = Sessions(storage=MemoryStorage(), lock_timeout=0)
    with sessions.open(1) as session:
        session.counter = 1
    with pytest.raises(EncodeError), sessions.open(1) as session:
        session.update(counter=2, made=generator())

    with sessions.open(1) as session:
        session.counter += 1

    assert {"counter": 2} == sessions.peek(1)


def test_a_handler_may_mend_what_could_not_be_saved() -> None:
    """An `EncodeError` out of `save` leaves the session open, so that the handler can go on."""
    sessions = Sessions(storage=MemoryStorage())
    with sessions.open(1) as session:
        session.made = generator()
        with pytest.raises(EncodeError):
            save(session)
        session.made = list(session.made)

    assert {"made": [1]} == sessions.peek(1)


def test_an_encode_error_names_what_to_do() -> None:
    """`EncodeError` says what to store instead."""
    assert "store" in refusal({"made": generator()}).reason
