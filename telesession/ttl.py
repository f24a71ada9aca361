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
        TypeError: It is neither; `what` says in the message what was being set.
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


class Marked:
    """A value on its way into a field, with the lifetime that `ttl` gave it."""

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

    def __deepcopy__(self, memo: dict[int, Any]) -> Marked:
        return Marked(copy.deepcopy(self.value, memo), self.lifetime)

    def __reduce_ex__(self, _protocol: object) -> NoReturn:
        raise TypeError("ttl(...) marks the value of a field, and cannot be part of a value")


def unmarked(value: Any) -> Any:
    """The value itself, whether `ttl` has marked it or not."""
    return value.value if type(value) is Marked else value


def ttl(value: T, lifetime: float | timedelta = 30) -> T:
    """
    Mark a value with a lifetime, for a field that shall disappear by itself.

    The field is gone `lifetime` after its last update: an assignment, marked or not, or a change
    inside its value, which counts from the end of the handler. Reading does not renew it.
    `ttl(value, 0)` makes an ordinary field of it again.

    Args:
        value: What the field shall hold.
        lifetime: Seconds or a `timedelta`, 30 s by default.

    Returns:
        Something to be assigned to a field of a session or given in `initial`, and typed as the
        value itself, so that type checkers see through it.

    Raises:
        TypeError: The lifetime is no number and no `timedelta`, or the value is marked already.
        ValueError: The lifetime is negative, infinite or not a number.
    """
    if isinstance(value, Marked):
        raise TypeError("ttl(ttl(...)) has two lifetimes for one field; give one")
    return cast("T", Marked(value, seconds(lifetime, "the lifetime of ttl(...)")))


class Mark:
    """
    What makes a field one that expires. It outlives the value, as long as the session exists.

    Attributes:
        lifetime: Seconds from an update of the field to its end.
        deadline: When that is, as a `time.monotonic()` value.
        stored: The deadline as the storage has it, or `None` since the handler assigned the
            field. Converting it forth and back would move it a little with every save.
        assigned: A picture of what the handler has assigned, to tell later changes inside it.
    """

    __slots__ = ("assigned", "deadline", "lifetime", "stored")

    def __init__(self, lifetime: float, deadline: float, stored: float | None = None) -> None:
        self.lifetime = lifetime
        self.deadline = deadline
        self.stored = stored
        self.assigned: object = None

    @classmethod
    def starting_now(cls, lifetime: float, value: Any = None) -> Self:
        """The mark of a field that is updated in this moment."""
        mark = cls(lifetime, time.monotonic() + lifetime)
        mark.assigned = picture(value)
        return mark

    def was_changed_inside(self, value: Any) -> bool:
        """Whether the value that the handler has assigned is another one by now."""
        return self.assigned is not None and self.assigned != picture(value)


def picture(value: object) -> object:
    """What tells changes inside a value, even to equal ones; `None` if there can be none."""
    if isinstance(value, str | int | float | bytes | None):
        return None
    try:
        return pickle.dumps(value, 5)
    except Exception:  # noqa: BLE001 -- what cannot be pickled is for the codec to refuse
        # Like no other picture: better to take for changed what is not than to lose a change.
        return object()


class Life(NamedTuple):
    """
    The parts of a record that say how long its session lives, beside the lifetime of its kind.

    Attributes:
        lifetime: Seconds that the session lives after its last use; `math.inf` is for ever, and
            `None` the lifetime of its kind.
        end: The time at which the session ends, however often it is used, as a `time.monotonic()`
            value; `None` without an end.
        stored: The end as the storage has it. To convert it forth and back would move it a little
            with every save.
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
        """Seconds that a record lives from now on: its lifetime, but not longer than to its end."""
        sliding = self.sliding(usual)
        if self.end is None:
            return sliding
        left = self.end - time.monotonic()
        return left if sliding is None else min(left, sliding)

    def is_over(self) -> bool:
        """Whether the session has ended. A record that still exists counts as deleted then."""
        return self.end is not None and time.monotonic() >= self.end
