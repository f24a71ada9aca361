"""The answers of the methods of the loopback Bot API."""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from telebot import TeleBot, apihelper

from telesession.testing.server.call import Call, RefusedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping


class Methods:
    """
    Answers calls, by tables of the methods that are known.

    A method that is in no table is answered `True` if telebot annotates it so.

    Args:
        tables: The methods by their names, each with the function that answers.
        refuse: Called before such a function; raises `RefusedError` for a call without the right.
    """

    def __init__(
        self,
        tables: Iterable[Mapping[str, Callable[[Call], Any]]],
        refuse: Callable[[Call], object],
    ) -> None:
        self._refuse = refuse
        self._table = {name: method for table in tables for name, method in table.items()}
        self._given: dict[str, Any] = {}

    def give(self, method: str, result: Any) -> None:
        """
        Give a method an answer from now on, in place of that of the tables.

        Raises `ValueError` for a name that is not written as Telegram does.
        """
        if "_" in method:
            raise ValueError(_unknown(method, self._known_names()))
        self._given[method] = result

    def check(self, method: str) -> None:
        """Raise `ValueError` for a name of a method that has no answer."""
        names = self._known_names()
        if method not in names:
            raise ValueError(_unknown(method, names))

    def answer(self, call: Call) -> Any:
        """
        The `result` of a call.

        Raises `RefusedError` where Telegram would refuse, and for a method that is not known.
        """
        if call.method in self._given:
            return self._given[call.method]
        method = self._table.get(call.method)
        if method is not None:
            self._refuse(call)
            return method(call)
        if call.method in _TRUE:
            return True
        raise RefusedError(
            404,
            f"Not Found: the loopback Bot API has no answer to {call.method}; give it one in the "
            f"test, bot_api.answer_with({call.method!r}, ...)",
        )

    def _known_names(self) -> frozenset[str]:
        """The names of all methods that have an answer."""
        return _TRUE | self._table.keys() | self._given.keys()


def _telegram_name(name: str) -> str:
    """The name of a method of the Bot API, from that of telebot."""
    return re.sub(r"_+(\w)", lambda found: found[1].upper(), name)


def _is_true(name: str) -> bool:
    """Whether telebot annotates one of its methods that call the Bot API as answered `True`."""
    annotations = getattr(getattr(TeleBot, name), "__annotations__", {})
    return hasattr(apihelper, name) and annotations.get("return") in {bool, "bool"}


# The methods that need no table.
_TRUE = frozenset(_telegram_name(name) for name in vars(TeleBot) if _is_true(name))


def _unknown(method: str, names: frozenset[str]) -> str:
    """The message for a method that has no answer, with the names that are like it."""
    near = get_close_matches(_telegram_name(method), names, n=1)
    hint = (
        f"do you mean {near[0]!r}?"
        if near
        else "name it as Telegram does, such as 'sendMessage'; a new method needs an answer, "
        "bot_api.answer_with(...)"
    )
    return f"the loopback Bot API has no method {method!r}: {hint}"
