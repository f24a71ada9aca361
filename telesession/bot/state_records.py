"""The records of telebot's states: their keys, and the units that read and write them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from telesession.bot.turns import Turn, unit_in_turn
from telesession.keys import by_sender, message_of
from telesession.session import Session, as_dict
from telesession.unit.blocks import encoded_on_leaving
from telesession.unit.entry import Use
from telesession.unit.unit import Unit

if TYPE_CHECKING:
    from telesession.kinds.kind import Kind

#: An id as telebot passes it: mostly an int, and None in a reaction count, for example.
Id = int | str | None


class StateRecords:
    """
    The records of states, each with the fields `state` and `data`.

    A thread that has retrieved a record reads and changes its own copy until it gives it back.

    Keep one for as long as the `SessionStateStorage`. Any thread may use it.

    Args:
        kind: The kind of their sessions.

    Attributes:
        kind: The kind of their sessions.
    """

    def __init__(self, kind: Kind) -> None:
        self.kind = kind

    def add(self, key: str, state: Any, data: dict[Any, Any]) -> bool:
        """
        Store a state and its data, unless the record has a state, and return whether it had none.

        Args:
            key: The key of the record; see `place_key`.
            state: The state.
            data: The data.
        """
        # Asked before the record is opened, because opening renews its lifetime.
        if self.read(key):
            return False
        with self.open(key) as session:
            if "state" in session:
                return False
            session.update(state=state, data=data)
        return True

    def replace_data(self, key: str, data: dict[Any, Any]) -> bool:
        """Replace the data of a state, and return whether there is one."""
        with self.open(key) as session:
            if "state" not in session:
                return False
            # In place, because a block around this call must not bring its former data back.
            # Cleared after the copy was made, because the new data may be the same object.
            items = dict(data)
            session["data"].clear()
            session["data"].update(items)
        return True

    def read(self, key: str) -> dict[str, Any]:
        """The fields of a record as this thread sees them; none if there is no record."""
        retrieved = self._retrieved(key)
        if retrieved is not None:
            return as_dict(retrieved)
        kind = self.kind
        place = kind.place_of_key(key)
        unit = Unit.owner_of(kind.storage, place)
        if unit is None:
            return kind.peek(place) or {}
        # The unit may have noted changes, which no other thread sees.
        with encoded_on_leaving((kind, place), unit, renew=False) as session:
            return as_dict(session)

    @contextmanager
    def open(self, key: str) -> Iterator[Session]:
        """The record that this thread has retrieved, or else one that is saved after the block."""
        retrieved = self._retrieved(key)
        if retrieved is not None:
            yield retrieved
            return
        kind = self.kind
        with encoded_on_leaving((kind, kind.place_of_key(key)), self._unit_for(key)) as session:
            yield session

    def _unit_for(self, key: str) -> Unit | None:
        """The handler's unit if the record is of the sender whose turn it is."""
        kind = self.kind
        return unit_in_turn(kind.storage, kind.place_of_key(key), is_of_sender=_is_of_sender(key))

    def _retrieved(self, key: str) -> Session | None:
        """The record that this thread has retrieved and not yet given back."""
        kind = self.kind
        return Unit.find(kind.storage, kind.place_of_key(key))

    def delete(self, key: str) -> bool:
        """Delete a record, and return whether there was a state."""
        retrieved = self._retrieved(key)
        if retrieved is None:
            kind, unit = self.kind, self._unit_for(key)
            return kind.delete(kind.place_of_key(key), Use(independent=unit is None), unit)
        # Not forget(), which would delete a state that the block goes on to set, too.
        existed = "state" in retrieved
        retrieved.clear()
        return existed


def place_key(
    chat_id: Id,
    user_id: Id,
    business_connection_id: str | None,
    message_thread_id: int | str | None,
    bot_id: int | str | None,
) -> str:
    """
    The key of a record, the prefix aside: `bot:business:thread:chat:user`.

    Each part has its place, empty if it is absent, and a colon in it is escaped, so no two records
    share a key. telebot 4.37.1 (`StateStorageBase._get_key`) joins the parts that exist. There, a
    topic 7 and a business connection "7" give the same key. As in telebot, a falsy optional part is
    an absent one.
    """
    parts = (bot_id or "", business_connection_id or "", message_thread_id or "", chat_id, user_id)
    return ":".join(str(part).replace("%", "%25").replace(":", "%3A") for part in parts)


def _is_of_sender(key: str) -> bool:
    """
    Whether a record belongs to the sender, chat and topic of the update whose turn it is.

    False in a chat that a guest bot was summoned to, because another chat may have the same id.
    False for a made-up user, whose id several senders share. False for another bot, which has other
    workers.
    """
    turn = Turn.of_thread()
    if turn is None or not turn.is_in_order:
        return False
    sender, message = by_sender(turn.update), message_of(turn.update)
    chat = getattr(message, "chat", None)
    if sender is None or chat is None or getattr(message, "guest_query_id", None):
        return False
    connection = getattr(message, "business_connection_id", None)
    topics = {None, getattr(message, "message_thread_id", None)}
    bot_id = turn.bot.bot_id
    return key in {place_key(chat.id, sender, connection, topic, bot_id) for topic in topics}


def put_back(session: Session, data: dict[Any, Any]) -> None:
    """Give a record the data of its block, also if the record was begun anew in the block."""
    if session["data"] is not data:
        data.update(session["data"])
    session["data"] = data
