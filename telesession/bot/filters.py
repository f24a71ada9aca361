"""Filters: handlers that are chosen by the fields of the session."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from telebot.custom_filters import AdvancedCustomFilter

from telesession.errors import NoSessionKeyError
from telesession.options import is_async
from telesession.sessions import Sessions, kind_of

Predicate = Callable[[dict[str, Any]], object]


def session_filter(sessions: Sessions[Any], predicate: Predicate | None = None) -> SessionFilter:
    """
    A filter for handlers, by the saved state of the sender's session.

    It reads without locking, creates nothing and renews nothing. So by the time the handler has
    the session, another handler may have changed it. A storage that cannot be read is an error,
    as it is in a handler, and never an empty session.

    Use it for `func=`, or register it once as a custom filter, which then is named after the
    session parameter:

        has_name = session_filter(sessions, lambda fields: "name" in fields)

        @bot.message_handler(func=has_name)

        bot.add_custom_filter(session_filter(sessions))

        @bot.message_handler(session={"step": "name"})
        @bot.message_handler(session=lambda fields: fields.get("age", 0) >= 18)
        @bot.message_handler(session=True)

    Args:
        sessions: The sessions to look at.
        predicate: Gets the live fields as a plain `dict`, which is empty if no session is stored.
            Without one, the filter asks whether there is a session.

    Returns:
        A filter. For updates without a session key it is always false.

    Raises:
        TypeError: The sessions or the predicate is something else, or the predicate is `async`.
    """
    return SessionFilter(sessions, predicate)


class SessionFilter(AdvancedCustomFilter):
    """The result of `session_filter`: a function of updates, and a custom filter of telebot."""

    def __init__(self, sessions: Sessions[Any], predicate: Predicate | None) -> None:
        if not isinstance(sessions, Sessions):
            raise TypeError(
                f"session_filter takes Sessions and a predicate, not {type(sessions).__name__}"
            )
        if predicate is not None:
            _refuse_predicate(predicate, "the predicate of session_filter must be a function")
        self._kind = kind_of(sessions)
        self.key = self._kind.name
        self._predicate = predicate

    def __call__(self, update: Any) -> bool:
        """Whether the session of an update passes the predicate."""
        return self._test(update, self._predicate)

    def check(self, message: Any, text: Any) -> Any:
        """
        Whether the session of an update passes the filter of a handler.

        Args:
            message: The update.
            text: The value that the handler gave for the filter: a predicate; a mapping of fields
                to the expected values; or `True` or `False`, the expected result of the filter's
                own predicate.
        """
        if isinstance(text, bool):
            return self._test(message, self._predicate, wanted=text)
        if isinstance(text, Mapping):
            return self._test(message, lambda fields: text.items() <= fields.items())
        _refuse_predicate(text, f"{self.key}=... must be a function, a mapping of fields or a bool")
        return self._test(message, text)

    def _test(self, update: Any, predicate: Predicate | None, *, wanted: bool = True) -> bool:
        try:
            key = self._kind.place_of_update(update)
        except NoSessionKeyError:
            return False
        fields = self._kind.peek(key)
        found = fields is not None if predicate is None else bool(predicate(fields or {}))
        return found is wanted


def _refuse_predicate(predicate: Any, demand: str) -> None:
    if not callable(predicate):
        raise TypeError(f"{demand}, not {type(predicate).__name__}")
    if is_async(predicate):
        # It returns a coroutine, which is always true.
        raise TypeError(f"{demand}, and not async; write it with def")
