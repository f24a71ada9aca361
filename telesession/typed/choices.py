"""Choices: the members of unions that take a value, if several may."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from telesession.typed.form import Form, Misfit


class Choices(threading.local):
    """
    The choices among the members of one union, while the outermost call of a thread runs.

    Without them, a value inside n unions would be tried 2**n times if each has two members for it.
    """

    def __init__(self) -> None:
        # id of a value and its possible members -> the value, and the members left to try.
        self._known: dict[Any, tuple[Any, tuple[Form, ...]]] | None = None

    def first(
        self,
        value: Any,
        members: tuple[Form, ...],
        attempt: Callable[[Form, Any], tuple[Any, bool]],
    ) -> Any:
        """
        The result of the first member that takes a value.

        Args:
            value: The value, or its packed data.
            members: The members to try.
            attempt: Gives the result of a member, and whether it is of the whole value. A result
                of a part is taken if no member takes the whole.

        Raises:
            Misfit: No member takes it. The fault is the deepest of those that the members found.
        """
        if self._known is not None:
            return self._try_members(value, members, attempt, self._known)
        self._known = {}
        try:
            return self._try_members(value, members, attempt, self._known)
        finally:
            self._known = None

    def _try_members(
        self,
        value: Any,
        members: tuple[Form, ...],
        attempt: Callable[[Form, Any], tuple[Any, bool]],
        known: dict[Any, tuple[Any, tuple[Form, ...]]],
    ) -> Any:
        key = id(value), members
        found: list[tuple[Form, Any]] = []
        misfits: list[Misfit] = []
        for member in known.get(key, (value, members))[1]:
            try:
                result, is_whole = attempt(member, value)
            except Misfit as misfit:
                misfits.append(misfit)
                continue
            found.insert(0 if is_whole else len(found), (member, result))
            if is_whole:
                break
        known[key] = value, tuple(member for member, _ in found[:1])
        if not found:
            nothing = Misfit(value, "", "")
            raise max(misfits, key=lambda misfit: misfit.depth, default=nothing)
        return found[0][1]
