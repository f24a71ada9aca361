"""PickleCodec refuses bytes that are no record, whatever they would do to pickle."""

from __future__ import annotations

import json
import marshal
import pickle
import random
import resource
import sys
import traceback
import tracemalloc
import types
import zlib
from collections import Counter, OrderedDict
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from support.storages import SpyStore
from support.values import (
    SECRET,
    Basket,
    PickledItem,
    PickledSize,
    mutated,
    payload_of,
    read_pickled,
    told_by,
)
from telesession import DecodeError, MemoryStorage, PickleCodec, Sessions, ttl

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def undecodable(payload: bytes) -> DecodeError:
    """The error that this payload is for `peek` and `open`, which leave it alone."""
    store = SpyStore({"user 1": payload})
    sessions = Sessions(storage=MemoryStorage(store), lock_timeout=0)
    with pytest.raises(DecodeError) as peeked:
        sessions.peek("user 1")
    for _ in range(2):
        with pytest.raises(DecodeError) as opened, sessions.open("user 1"):
            pass
    assert (0, {"user 1": payload}) == (store.writes, store.data)
    assert ("user 1", "user 1") == (peeked.value.key, opened.value.key)
    assert "user 1" in str(peeked.value)
    assert str(peeked.value) == str(opened.value)
    return opened.value


def with_checksum(pickled: bytes) -> bytes:
    """A payload as PickleCodec writes it, whatever is in it."""
    return pickled + zlib.crc32(pickled).to_bytes(4, "little")


RECORD = {"fields": {"counter": 1}}


def test_a_payload_is_a_pickle_and_its_checksum() -> None:
    """The payloads that these tests make by hand are of the codec's own format."""
    payload = with_checksum(pickle.dumps(RECORD, 5))

    assert payload == PickleCodec().encode(RECORD, "1")
    assert {"counter": 1} == read_pickled({"1": payload})


FOREIGN: dict[str, bytes] = {
    "nothing": b"",
    "json": json.dumps(RECORD).encode(),
    "json-with-bom": b"\xef\xbb\xbf" + json.dumps(RECORD).encode(),
    "text": b"counter=1",
    "zeros": bytes(100),
    "marshal": marshal.dumps(RECORD),
    "messagepack": b"\x81\xa6fields\x81\xa7counter\x01",
    "compressed": zlib.compress(pickle.dumps(RECORD, 5)),
    "encrypted": b"gAAAAABl" + bytes(range(48, 112)),
    **{f"pickle-protocol-{n}": pickle.dumps(RECORD, n) for n in range(5)},
    "pickle-of-the-future": b"\x80\x06" + pickle.dumps(RECORD, 5)[2:],
    "only-the-head": pickle.dumps(RECORD, 5)[:2],
    "only-the-frame": pickle.dumps(RECORD, 5)[:11],
}


@pytest.mark.parametrize("payload", list(FOREIGN.values()), ids=list(FOREIGN))
def test_bytes_of_another_format_are_a_decode_error(payload: bytes) -> None:
    """A payload says what it is: a codec never guesses, and the record stays as it was."""
    assert undecodable(payload).reason


OTHER_SHAPES: dict[str, Any] = {
    "none": None,
    "list": [],
    "str": "fields",
    "empty": {},
    "only-fields": {"counter": 1},
    "fields-none": {"fields": None},
    "fields-list": {"fields": [("counter", 1)]},
    "fields-instance": {"fields": Basket(1)},
    "fields-subclass": {"fields": OrderedDict(counter=1)},
    "name-is-no-str": {"fields": {1: 1}},
    "name-is-none": {"fields": {None: 1}},
    "name-is-a-subclass": {"fields": {PickledSize.SMALL: 1}},
    "ttl-list": {**RECORD, "ttl": [("counter", 30.0, 5.0)]},
    "ttl-number": {**RECORD, "ttl": 0},
    "ttl-empty-tuple": {**RECORD, "ttl": ()},
    "mark-none": {**RECORD, "ttl": {"counter": None}},
    "mark-short": {**RECORD, "ttl": {"counter": [30.0]}},
    "mark-long": {**RECORD, "ttl": {"counter": [30.0, 5.0, 1.0]}},
    "mark-name": {**RECORD, "ttl": {1: [30.0, 5.0]}},
    "lifetime-none": {**RECORD, "ttl": {"counter": [None, 5.0]}},
    "lifetime-str": {**RECORD, "ttl": {"counter": ["30", 5.0]}},
    "lifetime-nan": {**RECORD, "ttl": {"counter": [float("nan"), 5.0]}},
    "lifetime-negative": {**RECORD, "ttl": {"counter": [-30.0, 5.0]}},
    "lifetime-huge": {**RECORD, "ttl": {"counter": [10**400, 5.0]}},
    "lifetime-complex": {**RECORD, "ttl": {"counter": [30j, 5.0]}},
    "deadline-none": {**RECORD, "ttl": {"counter": [30.0, None]}},
    "deadline-str": {**RECORD, "ttl": {"counter": [30.0, "5"]}},
    "deadline-nan": {**RECORD, "ttl": {"counter": [30.0, float("nan")]}},
    "deadline-huge": {**RECORD, "ttl": {"counter": [30.0, 10**400]}},
    "deadline-complex": {**RECORD, "ttl": {"counter": [30.0, 5j]}},
    "deadline-list": {**RECORD, "ttl": {"counter": [30.0, [5.0]]}},
}


@pytest.mark.parametrize("record", list(OTHER_SHAPES.values()), ids=list(OTHER_SHAPES))
def test_a_record_of_another_shape_is_a_decode_error(record: Any) -> None:
    """What unpickles but is not the record of a session is refused, not guessed at."""
    assert undecodable(with_checksum(pickle.dumps(record, 5))).reason


@contextmanager
def module_with_class(**methods: Any) -> Iterator[Any]:
    """A class in a module that is there while the block runs."""
    module = types.ModuleType("shop_of_last_year")
    cls = type("Product", (), {"__module__": module.__name__, **methods})
    module.Product = cls  # type: ignore[attr-defined]
    sys.modules[module.__name__] = module
    try:
        yield cls
    finally:
        del sys.modules[module.__name__]


def test_a_record_that_needs_a_module_that_is_gone_says_so() -> None:
    """Where code has moved, `DecodeError` names the module, and the record stays."""
    with module_with_class() as cls:
        payload = payload_of({"product": cls()})

    assert "shop_of_last_year" in undecodable(payload).reason


def test_a_record_that_needs_a_class_that_is_gone_says_so() -> None:
    """Where a class was renamed, `DecodeError` names it, and the record stays."""
    with module_with_class() as cls:
        payload = payload_of({"product": cls()})
        del sys.modules[cls.__module__].Product  # type: ignore[attr-defined]
        reason = undecodable(payload).reason

    assert "it needs shop_of_last_year.Product, which is not there" == reason


def test_a_record_that_needs_an_inner_class_that_is_gone_says_so() -> None:
    """Where a class inside another was renamed, `DecodeError` names both."""
    with module_with_class() as cls:
        cls.Size = type("Size", (), {"__module__": cls.__module__, "__qualname__": "Product.Size"})
        payload = payload_of({"size": cls.Size()})
        del cls.Size
        reason = undecodable(payload).reason

    assert "it needs shop_of_last_year.Product.Size, which is not there" == reason


@pytest.mark.parametrize("error", [AttributeError, ImportError, KeyError, ValueError, MemoryError])
def test_a_class_that_cannot_read_its_old_state_shows_no_value(error: type[Exception]) -> None:
    """Whatever a value raises while it is loaded, the `DecodeError` does not quote it."""

    def refuse(_self: Any, state: dict[str, Any]) -> None:
        raise error(f"what shall I do with {state}?")

    with module_with_class() as cls:
        product = cls()
        product.text = SECRET
        payload = payload_of({"product": product})
        cls.__setstate__ = refuse
        decode_error = undecodable(payload)

    assert SECRET not in told_by(decode_error)


@pytest.mark.parametrize(
    "text",
    [
        "Can't get attribute '{}' on <module 'shop'>",
        "Can't resolve path '{}' on module 'shop'",
        "module 'shop' has no attribute '{}'",
    ],
)
def test_a_class_that_says_what_pickle_would_say_shows_no_value(text: str) -> None:
    """What sounds like pickle, but comes from the code of a class, is not quoted either."""

    def refuse(_self: Any, state: dict[str, Any]) -> None:
        raise AttributeError(text.format(state["text"]))

    with module_with_class() as cls:
        product = cls()
        product.text = SECRET
        payload = payload_of({"product": product})
        cls.__setstate__ = refuse
        reason = undecodable(payload).reason

    assert "unpickling it raised AttributeError" == reason


def test_a_damaged_record_shows_no_value() -> None:
    """A flipped byte that makes a name of a stored value does not bring it into the message."""
    payload = payload_of({"code": SECRET})
    damaged = payload.replace(b"\x94ss.", b"\x94\x93s.")
    error = undecodable(damaged)

    assert payload != damaged
    assert SECRET not in told_by(error)
    assert SECRET not in "".join(traceback.format_exception(error))


def test_every_truncated_record_is_a_decode_error() -> None:
    """A record that was cut anywhere is refused."""
    payload = payload_of({"name": "Ann", "cart": {"apple": [1, 2.5]}, "code": ttl("1234", 300)})
    codec = PickleCodec()

    for length in range(len(payload)):
        with pytest.raises(DecodeError):
            codec.decode(payload[:length], "1")


@pytest.mark.parametrize(
    "opcodes",
    [
        b"K\x01r\x00\x00\x10\x00.",
        b"K\x01p1048576\n.",
        b"B\x00\x00\x10\x00.",
        b"X\x00\x00\x10\x00.",
        b"\x8e\x00\x00\x10\x00\x00\x00\x00\x00.",
        b"\x96\x00\x00\x10\x00\x00\x00\x00\x00.",
        b"\x8b\x00\x00\x10\x00.",
    ],
    ids=["memo", "text-memo", "bytes", "str", "long-bytes", "bytearray", "int"],
)
def test_a_few_damaged_bytes_do_not_cost_the_memory_of_the_bot(opcodes: bytes) -> None:
    """A damaged length is a `DecodeError`, and not an allocation of what it says."""
    tracemalloc.start()
    try:
        undecodable(b"\x80\x05" + opcodes)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert peak < 2**19


@pytest.fixture
def little_memory() -> Iterator[None]:
    """Lets huge allocations fail at once, so that a damaged length is no danger to the machine."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    with open("/proc/self/statm") as statm:
        size = int(statm.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + 2**28, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


def test_a_mutated_record_never_raises_anything_else(little_memory: None) -> None:
    """
    20,000 mutated payloads: each is read, or is a `DecodeError` with the key and left alone.

    Every other one has the right checksum, as if somebody had written it on purpose.
    """
    payloads = [
        payload_of({"counter": 1}),
        payload_of({"name": "Ann", "cart": {"apple": [1, 2.5, None]}, "log": ["a", "b"] * 5}),
        payload_of(
            {"tags": {"a", "b"}, "ids": frozenset({1, 2}), "pair": (1, (2,)), "big": 10**40}
        ),
        payload_of(
            {"at": datetime(2026, 1, 1, tzinfo=UTC), "item": PickledItem("a", [1]), "raw": b"x"}
        ),
        payload_of({"code": ttl("1234", 300), "counter": 1, "log": ttl(["a"], 30)}),
    ]
    rng = random.Random(2026)
    store: dict[str, bytes] = {}
    sessions = Sessions(storage=MemoryStorage(store), lock_timeout=0)
    outcomes: Counter[str] = Counter()

    def attempt(use: Callable[[], object], payload: bytes) -> str:
        store["1"] = payload
        try:
            use()
        except DecodeError as error:
            kept = store == {"1": payload} and error.key == "1"
            return "refused" if kept else "refused, and changed"
        except Exception as error:
            return f"{type(error).__name__} for {payload!r}"
        return "read" if store.get("1") else "read, and lost"

    def open_it() -> None:
        with sessions.open(1):
            pass

    for number in range(20_000):
        payload = mutated(rng.choice(payloads), payloads, rng)
        if number % 2:
            payload = with_checksum(payload[:-4])
        peeked = attempt(lambda: sessions.peek(1), payload)
        opened = attempt(open_it, payload)
        outcomes[peeked if peeked == opened else f"{peeked} by peek, {opened} by open"] += 1

    assert {"read", "refused"} == set(outcomes)
