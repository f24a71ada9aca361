"""What every storage promises, proved for those in memory, and what the base class sees to."""

from __future__ import annotations

import math
import runpy
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from cachetools import FIFOCache, LFUCache, LRUCache, RRCache, TLRUCache, TTLCache
from hypothesis import HealthCheck, given, settings, strategies as st

from support.clocks import examples, monotonic
from telesession import MemoryStorage, SessionError, Storage, StorageError
from telesession.testing.storage_suite import FOR_AGES, StorageSuite

if TYPE_CHECKING:
    from collections.abc import Callable

    from freezegun.api import FrozenDateTimeFactory
from support.storages import FiveMethods, FrozenClockSuite

EXAMPLE = Path(__file__).parents[2] / "examples/custom_storage.py"


STORAGES: dict[str, Callable[[], Storage]] = {
    "dict": MemoryStorage,
    "TTLCache": lambda: MemoryStorage(TTLCache(10_000, FOR_AGES, timer=monotonic)),
    "LRUCache-by-bytes": lambda: MemoryStorage(LRUCache(2**24, getsizeof=len)),
    "TLRUCache": lambda: MemoryStorage(
        TLRUCache(10_000, lambda _key, _value, now: now + FOR_AGES, timer=monotonic)
    ),
    "LFUCache": lambda: MemoryStorage(LFUCache(10_000)),
    "FIFOCache": lambda: MemoryStorage(FIFOCache(10_000)),
    "RRCache": lambda: MemoryStorage(RRCache(10_000)),
    "five-methods": FiveMethods,
}


class TestStoragesInMemory(FrozenClockSuite):
    """Every store of `MemoryStorage`, and a storage of five methods, keep the promises."""

    @pytest.fixture(params=list(STORAGES.values()), ids=list(STORAGES))
    def storage(self, request: pytest.FixtureRequest) -> Storage:
        return request.param()


class TestTheExample(FrozenClockSuite):
    """The custom storage of the examples keeps the promises."""

    @pytest.fixture
    def storage(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Storage:
        monkeypatch.chdir(tmp_path)
        return runpy.run_path(str(EXAMPLE))["FileStorage"](tmp_path / "records")


def test_by_default_time_is_real() -> None:
    """A suite that overrides nothing waits for the end of a lifetime, and sees a record gone."""
    suite, begun = StorageSuite(), time.monotonic()
    suite.test_a_lifetime_that_a_hold_gave_ends(FiveMethods())

    assert suite.second <= time.monotonic() - begun


def test_a_suite_without_a_storage_says_what_it_needs(pytester: pytest.Pytester) -> None:
    """Who inherits the suite and gives no storage is told which fixture is missing."""
    pytester.makepyfile(
        "from telesession.testing.storage_suite import StorageSuite\n"
        "class TestMine(StorageSuite): pass\n"
    )

    result = pytester.runpytest_inprocess("-k", "test_close_may_be_repeated")

    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*NotImplementedError: TestMine needs a fixture named storage*"])


@pytest.mark.parametrize("method", ["get", "set", "delete", "touch", "keys"])
def test_a_storage_needs_all_five_methods(method: str) -> None:
    """A storage that lacks a method cannot be made: `TypeError` names the method."""
    methods = {
        name: getattr(FiveMethods, name) for name in ("get", "set", "delete", "touch", "keys")
    }
    del methods[method]
    incomplete = type("Incomplete", (Storage,), methods)

    with pytest.raises(TypeError, match=rf"Incomplete.*\b{method}\b"):
        incomplete()


KEYS = st.sampled_from(["a", "b", "ab"])
LIFETIMES = st.sampled_from([None, 0, 1, 2, 3, 50])
OPERATIONS = st.one_of(
    st.tuples(st.just("set"), KEYS, st.sampled_from([b"", b"x", b"y"]), LIFETIMES),
    st.tuples(st.just("get"), KEYS),
    st.tuples(st.just("has"), KEYS),
    st.tuples(st.just("delete"), KEYS),
    st.tuples(st.just("touch"), KEYS, LIFETIMES),
    st.tuples(st.just("keys"), st.sampled_from(["", "a", "x"])),
    st.tuples(st.just("wait"), st.sampled_from([1, 2, 60])),
)


@settings(
    max_examples=examples(60),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(operations=st.lists(OPERATIONS, max_size=40))
@pytest.mark.parametrize("make", list(STORAGES.values()), ids=list(STORAGES))
def test_any_sequence_of_calls_agrees_with_two_plain_dicts(
    make: Callable[[], Storage],
    clock: FrozenDateTimeFactory,
    operations: list[tuple[Any, ...]],
) -> None:
    """Whatever is called in whatever order, payloads and lifetimes are those last given."""
    storage, payloads, ends, now = make(), {}, {}, 0

    for name, *arguments in operations:
        expected: Any = None
        if name == "wait":
            now += arguments[0]
            clock.tick(arguments[0])
        else:
            live = {key: payload for key, payload in payloads.items() if now < ends[key]}
            key = arguments[0]
            if name == "keys":
                expected = sorted(found for found in live if found.startswith(key))
            elif name == "get":
                expected = live.get(key)
            else:
                expected = None if name == "set" else key in live
            if name == "set" or (name == "touch" and key in live):
                ends[key] = math.inf if arguments[-1] is None else now + arguments[-1]
                payloads[key] = arguments[1] if name == "set" else live[key]
            elif name == "delete":
                payloads.pop(key, None)
            actual = getattr(storage, name)(*arguments)
            assert expected == (sorted(actual) if name == "keys" else actual)


def test_storage_errors_are_session_errors() -> None:
    """One `except SessionError` catches whatever a storage says."""
    assert issubclass(StorageError, SessionError)
