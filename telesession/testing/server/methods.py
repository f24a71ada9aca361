"""What the methods of the loopback Bot API answer."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from telebot import TeleBot

from telesession.testing.server.call import Call, RefusedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping


class Methods:
    """
    Answers calls, by tables of the methods that are known.

    A method that is in no table is answered `True` if telebot's own annotation says so.

    Args:
        tables: The methods by their names, each with the function that answers.
    """

    def __init__(self, tables: Iterable[Mapping[str, Callable[[Call], Any]]]) -> None:
        self._table = {name: method for table in tables for name, method in table.items()}

    def answer(self, call: Call) -> Any:
        """
        The `result` of a call.

        Raises `RefusedError` where Telegram would refuse, and for a method that is not known.
        """
        method = self._table.get(call.method)
        if method is not None:
            return method(call)
        if _returns_bool(call.method):
            return True
        raise RefusedError(
            404,
            f"Not Found: the loopback Bot API has no answer to {call.method}; give it one in the "
            f"test, bot_api.answer_with({call.method!r}, ...)",
        )


def _returns_bool(method: str) -> bool:
    """Whether telebot annotates a method of the Bot API as one that is answered `True`."""
    name = re.sub(r"(?=[A-Z])", "_", method).lower()
    annotations = getattr(getattr(TeleBot, name, None), "__annotations__", {})
    return annotations.get("return") in {bool, "bool"}
