"""The tools for tests with threads of their own."""

from __future__ import annotations

import threading

import pytest

from support.clocks import PATIENCE
from telesession.testing import Log, began, in_threads, threads
from telesession.testing.threads import OtherThread, in_thread


def test_calls_start_together() -> None:
    """Calls that wait for each other return, and their results are in order."""
    barrier = threading.Barrier(3, timeout=PATIENCE)

    def call(name: str) -> str:
        barrier.wait()
        return name

    assert ["a", "b", "c"] == in_threads([lambda name=name: call(name) for name in "abc"])


def test_what_a_call_raises_is_raised_in_the_test() -> None:
    """Each tool raises what the call in the other thread has raised."""
    with pytest.raises(ZeroDivisionError):
        in_thread(divmod, 1, 0)
    with OtherThread() as thread, pytest.raises(ZeroDivisionError):
        thread.call(divmod, 1, 0)
    with pytest.raises(ZeroDivisionError), began(divmod, 1, 0):
        pass


def test_a_call_goes_on_beside_a_block() -> None:
    """The call has not returned while the block keeps it waiting, and has at the end."""
    released = threading.Event()
    with began(released.wait, PATIENCE) as outcome:
        done = outcome.done()
        released.set()

    assert (False, True) == (done, outcome.result(0))


def test_a_call_that_never_ends_fails_its_test(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each tool raises `TimeoutError`, and leaves the call to itself."""
    monkeypatch.setattr(threads, "PATIENCE", 0.01)
    released = threading.Event()
    with pytest.raises(TimeoutError, match="has not returned"):
        in_thread(released.wait, PATIENCE)
    with pytest.raises(TimeoutError), began(released.wait, PATIENCE):
        pass
    released.set()


def test_a_log_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A log gives all entries when there are enough, and says which are there if not."""
    log = Log()
    log.add("a")
    with began(log.wait_for, 2) as outcome:
        log.add("b")
    monkeypatch.setattr(threads, "PATIENCE", 0.01)
    with pytest.raises(TimeoutError, match=r"waited for 3 entries, and there are \['a', 'b'\]"):
        log.wait_for(3)

    assert ["a", "b"] == outcome.result(0)
