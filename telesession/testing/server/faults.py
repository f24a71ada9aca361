"""The faults of the Bot API that a test asks for: refusals, lost answers and waits."""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from contextlib import contextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, NamedTuple

from telesession.testing.server.call import GROUP_UPGRADED, Call, RefusedError

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterator

_DESCRIPTIONS = {
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden: bot was blocked by the user",
    404: "Not Found",
    409: "Conflict: terminated by other getUpdates request; make sure that only one bot instance "
    "is running",
    429: "Too Many Requests: retry after {retry_after}",
    500: "Internal Server Error",
    502: "Bad Gateway",
}


def failure_of(
    code: int | None, description: str | None, retry_after: int, migrate_to_chat_id: int | None
) -> Exception:
    """
    The error of a call that fails, to be raised while the call is answered.

    Args:
        code: The error code; `None` breaks the connection.
        description: The error's description; `None` is as Telegram words it for the code.
        retry_after: Seconds to wait that the error asks for, with code 429 only.
        migrate_to_chat_id: The id of the supergroup that a group has become, or `None`.
    """
    if code is None:
        return ConnectionAbortedError()
    if description is None and migrate_to_chat_id is not None:
        description = GROUP_UPGRADED
    if description is None:
        description = _DESCRIPTIONS.get(code, "Error").format(retry_after=retry_after)
    limited = code == HTTPStatus.TOO_MANY_REQUESTS
    return RefusedError(code, description, retry_after if limited else None, migrate_to_chat_id)


class Faults:
    """
    The faults of the next calls of one `BotAPI`, by the names of their methods.

    A call first waits for as long as a test has asked, and then fails if a test has asked for that.
    Other calls continue while it waits.

    Args:
        changed: The condition of the `BotAPI`; held while a method runs, notified on a change.
    """

    def __init__(self, changed: threading.Condition) -> None:
        self._changed = changed
        self._failures: defaultdict[str, deque[_Failure]] = defaultdict(deque)
        self._delays: defaultdict[str, deque[float]] = defaultdict(deque)
        self._held: Counter[str] = Counter()
        self._is_closing = False

    def fail(self, method: str, error: Exception, times: int, *, after: bool) -> None:
        """
        Let calls of a method fail: the next ones that have no failure yet.

        Args:
            method: The method's name.
            error: The exception of each call.
            times: How many calls fail.
            after: Whether the call is executed first.
        """
        with self._changed:
            self._failures[method].extend([_Failure(error, after)] * times)

    def delay(self, method: str, seconds: float, times: int) -> None:
        """
        Let calls of a method wait: the next ones that have no delay yet.

        Args:
            method: The method's name.
            seconds: Real seconds before a call is executed.
            times: How many calls wait.
        """
        with self._changed:
            self._delays[method].extend([seconds] * times)

    @contextmanager
    def holding(self, method: str) -> Iterator[None]:
        """A `with` block in which the calls of a method wait until it ends."""
        with self._changed:
            self._held[method] += 1
        try:
            yield
        finally:
            with self._changed:
                self._held[method] -= 1
                self._changed.notify_all()

    def answer(self, call: Call, answer: Callable[[Call], Any]) -> Any:
        """The result of a call, by a function that answers it; called under the condition."""
        if delays := self._delays[call.method]:
            self._changed.wait_for(lambda: self._is_closing, delays.popleft())
        self._changed.wait_for(lambda: self._is_closing or not self._held[call.method])
        if not (failures := self._failures[call.method]):
            return answer(call)
        failure = failures.popleft()
        if failure.after:
            answer(call)
        raise failure.error

    @contextmanager
    def ended_waits(self) -> Iterator[None]:
        """A `with` block that ends the waits of calls, and in which no call waits."""
        with self._changed:
            self._is_closing = True
            self._changed.notify_all()
        try:
            yield
        finally:
            self._is_closing = False


class _Failure(NamedTuple):
    """
    The failure of a call.

    Attributes:
        error: The exception of the call.
        after: Whether the call is executed first.
    """

    error: Exception
    after: bool
