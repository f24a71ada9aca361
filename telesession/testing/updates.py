"""The queue of updates that wait for a bot."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from telesession.testing.call import JSON, Call, RefusedError

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterator

_MAX_LIMIT = 100

#: The kinds of updates that a bot gets only if it asks for them by name.
_UNSOLICITED = frozenset({"chat_member", "message_reaction", "message_reaction_count"})


class Updates:
    """
    The updates that one `BotAPI` has for its bot, until the bot confirms them.

    Args:
        changed: The condition of the `BotAPI`; held while a method runs, notified on a change.
            `threading.Condition` waits in real time even while freezegun has frozen the clock.
        last_id: The number before the first update.
    """

    def __init__(self, changed: threading.Condition, last_id: int = 0) -> None:
        self.pending: list[JSON] = []
        self.paused = False
        self.last_id = last_id
        #: Called with each new update, whether the bot gets it or not.
        self.listeners: list[Callable[[JSON], object]] = []
        self._changed = changed
        self._allowed: frozenset[str] | None = None
        self._short = 0

    def push(self, update: JSON) -> JSON:
        """
        Queue an update for the bot and return it with its `update_id`.

        As in Telegram, an update of a kind that the bot did not allow when it happened never
        reaches it. Raises `ValueError` for an update with no payload or several, or with an
        `update_id` that is not above all earlier ones.
        """
        kinds = update.keys() - {"update_id"}
        if len(kinds) != 1:
            raise ValueError(
                f"cannot push an update with {len(kinds)} payloads ({', '.join(sorted(kinds))}): "
                "give exactly one, such as {'message': {...}}"
            )
        update_id = update.get("update_id", self.last_id + 1)
        if update_id <= self.last_id:
            raise ValueError(
                f"cannot push update {update_id} after {self.last_id}: update ids only grow; "
                "leave update_id out to get the next one"
            )
        self.last_id = update_id
        update = {"update_id": update_id, **update}
        for listener in self.listeners:
            listener(update)
        if self._allows(*kinds):
            self.pending.append(update)
            self._changed.notify_all()
        return update

    def poll(self, call: Call) -> list[JSON]:
        """
        Answer `getUpdates`: wait up to `timeout` seconds for updates and return up to `limit`.

        See https://core.telegram.org/bots/api#getupdates.
        """
        self._refuse_if_paused("can't use getUpdates method while webhook is active; ")
        self.allow(call)
        self._confirm(call.integer("offset") or 0)
        timeout = max(0, call.integer("timeout") or 0)
        self._changed.wait_for(lambda: self.pending or self._short or self.paused, timeout)
        self._refuse_if_paused("terminated by setWebhook request; ")
        limit = call.integer("limit") or _MAX_LIMIT
        return self.pending[: min(max(limit, 1), _MAX_LIMIT)]

    def allow(self, call: Call) -> None:
        """Take over `allowed_updates`; if the call has none, the previous setting stays."""
        kinds = call.json("allowed_updates")
        if kinds is not None:
            self._allowed = frozenset(kinds) or None

    def confirm_below(self, update_id: int) -> None:
        """Drop every update with a lower id than this."""
        self.pending = [update for update in self.pending if update["update_id"] >= update_id]
        self._changed.notify_all()

    @contextmanager
    def short(self) -> Iterator[None]:
        """End the polls that wait, and let none wait meanwhile."""
        with self._changed:
            self._short += 1
            self._changed.notify_all()
        try:
            yield
        finally:
            with self._changed:
                self._short -= 1

    def _allows(self, kind: str) -> bool:
        return kind not in _UNSOLICITED if self._allowed is None else kind in self._allowed

    def _confirm(self, offset: int) -> None:
        if offset < 0:
            latest = self.pending[offset:]
            offset = latest[0]["update_id"] if latest else 0
        self.confirm_below(offset)

    def _refuse_if_paused(self, reason: str) -> None:
        if self.paused:
            hint = "use deleteWebhook to delete the webhook first"
            raise RefusedError(409, f"Conflict: {reason}{hint}")
