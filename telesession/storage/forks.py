"""What a storage does about forks, after which a process has none of the threads it had."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable


def call_around_forks(
    before: Callable[[], None], after: Callable[[], None], in_child: Callable[[], None]
) -> None:
    """Call methods before each fork of this process and after it, while their object lives."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(
            before=_weakly(before), after_in_parent=_weakly(after), after_in_child=_weakly(in_child)
        )


def _weakly(method: Callable[[], None]) -> Callable[[], None]:
    reference = weakref.WeakMethod(method)

    def call() -> None:
        if (alive := reference()) is not None:
            alive()

    return call


def call_in_forked_child(method: Callable[[], None]) -> None:
    """Call a method in every process that is forked from this one, while its object lives."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_weakly(method))
