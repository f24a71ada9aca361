"""The queue of updates that wait for a bot."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from telesession.testing.server.call import JSON, Call, RefusedError

if TYPE_CHECKING:
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
        #: Whether the `BotAPI` was closed, so that no bot can get an update.
        self.is_closed = False
        self.last_id = last_id
        #: Called with each new update, whether the bot gets it or not.
        self.listeners: list[Callable[[JSON], object]] = []
        #: Whether the bot gets an update at all.
        self.is_heard: Callable[[JSON], bool] = lambda _: True
        self._changed = changed
        #: The kinds of updates that the bot asks for, or `None` for the usual ones.
        self.allowed: list[str] | None = None
        self._short_polls = 0
        # The blocks of batch() that have not ended, the latest one last.
        self._batches: list[_Batch] = []
        # The id() of each update that comes after one with the same number or a higher one. Until
        # it was given to the bot, no `offset` confirms it, because the earlier one is meant.
        self._late: set[int] = set()
        # The highest number that was queued for the bot.
        self._highest = last_id
        self._lost = 0

    def push(self, update: JSON) -> JSON:
        """
        Queue an update for the bot and return it with its `update_id`.

        As in Telegram, an update of a kind that the bot did not allow when it happened never
        reaches it. Raises `ValueError` for an update with no payload or several, or with an
        `update_id` that is not above all earlier ones, and `RuntimeError` after the end of the
        `BotAPI`.
        """
        if self.is_closed:
            raise RuntimeError(
                "cannot give an update to the bot, because this BotAPI was closed: let users act "
                "before close(), or inside the `with` block"
            )
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
        if self._is_wanted(*kinds) and self.is_heard(update):
            self._deliver([update], self._open_batch())
        return update

    def redeliver(self, update: JSON) -> None:
        """
        Queue an update once more, after all updates that wait.

        Raises `ValueError` if no update with its `update_id` was pushed.
        """
        if all(one["update_id"] != update.get("update_id") for one in self.arrived):
            raise ValueError(
                "cannot deliver an update again that was never delivered: give the result of "
                "push() or of a call of a User"
            )
        again = dict(update)
        self._late.add(id(again))
        self._deliver([again], self._open_batch())

    def lose_confirmations(self, times: int) -> None:
        """Ignore the next confirmations of updates."""
        self._lost += times

    @contextmanager
    def batch(self, order: Callable[[list[JSON]], Iterable[JSON]]) -> Iterator[None]:
        """
        Queue the updates of a `with` block at its end, in an order.

        The updates of a thread go to its own innermost block, or else to the latest block of all.
        """
        batch = _Batch(threading.get_ident())
        with self._changed:
            self._batches.append(batch)
        try:
            yield
        finally:
            with self._changed:
                self._batches.remove(batch)
        with self._changed:
            self._deliver(order(batch.updates), self._find_batch(batch.thread))

    def is_in_batch(self, update: JSON) -> bool:
        """Whether an update waits for the end of a block of `batch`."""
        number = update["update_id"]
        return any(one["update_id"] == number for batch in self._batches for one in batch.updates)

    def poll(self, call: Call) -> list[JSON]:
        """
        Answer `getUpdates` with up to `limit` updates.

        It waits up to `timeout` seconds for the first one.

        See https://core.telegram.org/bots/api#getupdates.
        """
        self._refuse_if_paused("can't use getUpdates method while webhook is active; ")
        self.allow(call)
        self._confirm(call.integer("offset") or 0)
        timeout = max(0, call.integer("timeout") or 0)
        self._changed.wait_for(lambda: self.pending or self._short_polls or self.paused, timeout)
        self._refuse_if_paused("terminated by setWebhook request; ")
        limit = call.integer("limit") or _MAX_LIMIT
        given = self.pending[: min(max(limit, 1), _MAX_LIMIT)]
        self._late -= set(map(id, given))
        return given

    def allow(self, call: Call) -> None:
        """Take over `allowed_updates`; if the call has none, the previous setting stays."""
        kinds = call.json("allowed_updates")
        if kinds is not None:
            self.allowed = list(kinds) or None

    def confirm_below(self, update_id: int) -> None:
        """Drop every update with a lower id than this, unless the confirmation is lost."""
        lower = {id(update) for update in self.pending if update["update_id"] < update_id}
        self._drop(lower - self._late)

    def confirm(self, update: JSON) -> None:
        """Drop one update that was delivered, unless the confirmation is lost."""
        self._drop({id(update)})

    def drop_all(self) -> None:
        """Drop all updates that wait."""
        self.pending.clear()
        self._late.clear()
        self._changed.notify_all()

    @contextmanager
    def short(self) -> Iterator[None]:
        """A `with` block that ends the polls that wait, and in which no poll waits."""
        with self._changed:
            self._short_polls += 1
            self._changed.notify_all()
        try:
            yield
        finally:
            with self._changed:
                self._short_polls -= 1

    def _is_wanted(self, kind: str) -> bool:
        return kind not in _UNSOLICITED if self.allowed is None else kind in self.allowed

    def _deliver(self, updates: Iterable[JSON], batch: _Batch | None) -> None:
        if batch is None:
            self._queue(list(updates))
        else:
            batch.updates.extend(updates)
        self._changed.notify_all()

    def _queue(self, updates: list[JSON]) -> None:
        self._late.update(id(one) for one in updates if one["update_id"] < self._highest)
        self._highest = max([self._highest, *(one["update_id"] for one in updates)])
        self.pending += updates

    def _open_batch(self) -> _Batch | None:
        """The block that an update of this thread goes to."""
        latest = self._batches[-1] if self._batches else None
        return self._find_batch(threading.get_ident()) or latest

    def _find_batch(self, thread: int) -> _Batch | None:
        """The innermost block of a thread."""
        return next((one for one in reversed(self._batches) if one.thread == thread), None)

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
            self._late -= confirmed
        self._changed.notify_all()

    def _refuse_if_paused(self, reason: str) -> None:
        if self.paused:
            hint = "use deleteWebhook to delete the webhook first"
            raise RefusedError(409, f"Conflict: {reason}{hint}")


def payload_of(update: JSON) -> tuple[str, JSON]:
    """The kind of an update, such as `message`, and the object in this field."""
    [(kind, payload)] = [item for item in update.items() if item[0] != "update_id"]
    return kind, payload


@dataclass(eq=False)
class _Batch:
    """
    The updates of a block of `batch`.

    Args:
        thread: The identifier of the thread of the block.
        updates: The updates, in the order in which they happened.
    """

    thread: int
    updates: list[JSON] = field(default_factory=list)
