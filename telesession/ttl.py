"""Lifetimes: of one field, and of one session."""

from __future__ import annotations

import copy
import math
import pickle
import time
from datetime import timedelta
from typing import Any, NamedTuple, NoReturn, Self, TypeVar, cast

T = TypeVar("T")


def seconds(duration: float | timedelta, what: str) -> float:
    """
    Normalise a duration, given in seconds or as a `timedelta`, to seconds.

    Raises:
        TypeError: It is neither. `what` is the name of the setting in the message.
        ValueError: It is negative, infinite or not a number.
    """
    if isinstance(duration, timedelta):
        return _checked(duration.total_seconds(), what)
    if isinstance(duration, bool) or not isinstance(duration, int | float):
        raise TypeError(f"{what} must be seconds or a timedelta, not {type(duration).__name__}")
    return _checked(duration, what)


def _checked(duration: float, what: str) -> float:
    try:
        normalised = float(duration)
    except OverflowError:
        normalised = math.inf
    if not 0 <= normalised < math.inf:
        raise ValueError(f"{what} must be finite and not negative, not {normalised:g} s")
    return normalised


class TimedValue:
    """The result of `ttl`: a value for a field, with the lifetime of the field."""

    __slots__ = ("lifetime", "value")

    _telesession_refusal = (
        "made by ttl(...), which marks a whole field and nothing inside of it; use it around all "
        "that the field holds"
    )

    def __init__(self, value: Any, lifetime: float) -> None:
        self.value = value
        self.lifetime = lifetime

    def __repr__(self) -> str:
        return f"ttl(<{type(self.value).__name__}>, {self.lifetime:g})"

    def __deepcopy__(self, memo: dict[int, Any]) -> TimedValue:
        return TimedValue(copy.deepcopy(self.value, memo), self.lifetime)

    def __reduce_ex__(self, _protocol: object) -> NoReturn:
        raise TypeError("ttl(...) marks the value of a field, and cannot be part of a value")


def plain_value(value: Any) -> Any:
    """The value itself, whether `ttl` has marked it or not."""
    return value.value if type(value) is TimedValue else value


def ttl(value: T, lifetime: float | timedelta = 30) -> T:
    """
    Mark a value with a lifetime, so that its field expires by itself.

    The field is gone `lifetime` after its last update. An update is an assignment, marked or not,
    or a change inside the value, which counts from the end of the handler. Reading does not renew
    the lifetime. `ttl(value, 0)` makes it an ordinary field again.

    Args:
        value: The value of the field.
        lifetime: Seconds or a `timedelta`, 30 s by default.

    Returns:
        An object to assign to a field of a session or to give in `initial`. Type checkers see the
        type of the value.

    Raises:
        TypeError: The lifetime is no number and no `timedelta`, or the value is marked already.
        ValueError: The lifetime is negative, infinite or not a number.
    """
    if isinstance(value, TimedValue):
        raise TypeError("ttl(ttl(...)) has two lifetimes for one field; give one")
    return cast("T", TimedValue(value, seconds(lifetime, "the lifetime of ttl(...)")))


class Mark:
    """
    The lifetime and deadline of one field.

    Kept after the value has expired, until the session is deleted or the field is set without one.

    Attributes:
        lifetime: Seconds from an update of the field to its end.
        deadline: The end of the field; seconds, monotonic.
        stored: The deadline as the storage has it; `None` once the handler has assigned the field.
            It is kept, because each conversion would move the deadline a little.
        assigned: A snapshot of the value that the handler has assigned, to detect later changes
            inside it; `None` for a loaded or an immutable value.
    """

    __slots__ = ("assigned", "deadline", "lifetime", "stored")

    def __init__(self, lifetime: float, deadline: float, stored: float | None = None) -> None:
        self.lifetime = lifetime
        self.deadline = deadline
        self.stored = stored
        self.assigned: object = None

    @classmethod
    def starting_now(cls, lifetime: float, value: Any = None) -> Self:
        """The mark of a field that is updated now."""
        mark = cls(lifetime, time.monotonic() + lifetime)
        mark.assigned = pickled_snapshot(value)
        return mark

    def was_changed_inside(self, value: Any) -> bool:
        """Whether the value that the handler has assigned has changed inside since."""
        return self.assigned is not None and self.assigned != pickled_snapshot(value)


def pickled_snapshot(value: object) -> object:
    """A snapshot for detecting in-place changes; `None` for immutable values."""
    if isinstance(value, str | int | float | bytes | None):
        return None
    try:
        return pickle.dumps(value, 5)
    except Exception:  # noqa: BLE001 -- the codec refuses a value that cannot be pickled
        # Different from every snapshot: the value counts as changed, so no change is lost.
        return object()


class Life(NamedTuple):
    """
    The lifetime and the end of one session, as its record has them.

    Attributes:
        lifetime: Seconds that the session lives after its last use; `math.inf` is for ever, and
            `None` the lifetime of its kind.
        end: The end of the session, however often it is used; seconds, monotonic. `None` without
            an end.
        stored: The end as the storage has it. It is kept, because each conversion would move the
            end a little.
    """

    lifetime: float | None = None
    end: float | None = None
    stored: float | None = None

    def sliding(self, usual: float | None) -> float | None:
        """
        Seconds that the session lives after its last use, without its end; `None` is for ever.

        Args:
            usual: The lifetime of its kind.
        """
        if self.lifetime is None:
            return usual
        return None if self.lifetime == math.inf else self.lifetime

    def left(self, usual: float | None) -> float | None:
        """Seconds from now until the record expires: its lifetime, at most until its end."""
        sliding = self.sliding(usual)
        if self.end is None:
            return sliding
        left = self.end - time.monotonic()
        return left if sliding is None else min(left, sliding)

    def is_over(self) -> bool:
        """Whether the session has ended. A record that still exists counts as deleted then."""
        return self.end is not None and time.monotonic() >= self.end
