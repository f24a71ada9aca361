"""The queue of updates that wait for a bot."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from telesession.testing.server.call import JSON, Call, RefusedError

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterable, Iterator

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
        #: Every update so far, in the order of arrival.
        self.arrived: list[JSON] = []
        self.pending: list[JSON] = []
        self.paused = False
        self.last_id = last_id
        #: Called with each new update, whether the bot gets it or not.
        self.listeners: list[Callable[[JSON], object]] = []
        self._changed = changed
        #: The kinds of updates that the bot asks for, or `None` for the usual ones.
        self.allowed: list[str] | None = None
        self._short = 0
        self._batch: list[JSON] | None = None
        # The id() of each update that is to be delivered again. Until it is, no `offset` confirms
        # it, because a repeated update is equal to the first one.
        self._again: set[int] = set()
        self._lost = 0

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
        self.arrived.append(update)
        for listener in self.listeners:
            listener(update)
        if self._allows(*kinds):
            self._deliver([update])
        return update

    def redeliver(self, update: JSON) -> None:
        """
        Queue an update that the bot was given once more.

        Raises `ValueError` for an update that was never pushed.
        """
        if not 0 < update.get("update_id", 0) <= self.last_id:
            raise ValueError(
                "cannot deliver an update again that was never delivered: give what push() or a "
                "call of a User has returned"
            )
        again = dict(update)
        self._again.add(id(again))
        self._deliver([again])

    def lose_confirmations(self, times: int) -> None:
        """Ignore the next confirmations of updates."""
        self._lost += times

    @contextmanager
    def batch(self, order: Callable[[list[JSON]], Iterable[JSON]]) -> Iterator[None]:
        """Queue the updates of a `with` block at its end, in an order."""
        batch: list[JSON] = []
        with self._changed:
            former, self._batch = self._batch, batch
        try:
            yield
        finally:
            self._batch = former
        with self._changed:
            self._deliver(order(batch))

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
        given = self.pending[: min(max(limit, 1), _MAX_LIMIT)]
        self._again -= set(map(id, given))
        return given

    def allow(self, call: Call) -> None:
        """Take over `allowed_updates`; if the call has none, the previous setting stays."""
        kinds = call.json("allowed_updates")
        if kinds is not None:
            self.allowed = list(kinds) or None

    def confirm_below(self, update_id: int) -> None:
        """Drop every update with a lower id than this, unless the confirmation is lost."""
        lower = {id(update) for update in self.pending if update["update_id"] < update_id}
        self._drop(lower - self._again)

    def confirm(self, update: JSON) -> None:
        """Drop one update that was delivered, unless the confirmation is lost."""
        self._drop({id(update)})

    def drop_all(self) -> None:
        """Drop all updates that wait."""
        self.pending.clear()
        self._again.clear()
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
        return kind not in _UNSOLICITED if self.allowed is None else kind in self.allowed

    def _deliver(self, updates: Iterable[JSON]) -> None:
        (self.pending if self._batch is None else self._batch).extend(updates)
        self._changed.notify_all()

    def _confirm(self, offset: int) -> None:
        if offset < 0:
            latest = self.pending[offset:]
            offset = latest[0]["update_id"] if latest else 0
        self.confirm_below(offset)

    def _drop(self, confirmed: set[int]) -> None:
        """Drop the updates with these `id()`, unless the confirmation is lost."""
        if confirmed and self._lost:
            self._lost -= 1
        else:
            self.pending = [each for each in self.pending if id(each) not in confirmed]
            self._again -= confirmed
        self._changed.notify_all()

    def _refuse_if_paused(self, reason: str) -> None:
        if self.paused:
            hint = "use deleteWebhook to delete the webhook first"
            raise RefusedError(409, f"Conflict: {reason}{hint}")
