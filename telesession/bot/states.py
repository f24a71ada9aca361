"""telebot's states, and the data that it keeps with them, on the storages of this library."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from telebot.storage import StateStorageBase

from telesession.bot.turns import Turn, unit_in_turn
from telesession.keys import by_sender, message_of, room_of
from telesession.options import checked_room
from telesession.session import Session, as_dict
from telesession.sessions import Sessions
from telesession.unit.blocks import encoded_on_leaving
from telesession.unit.entry import Use
from telesession.unit.unit import Unit

if TYPE_CHECKING:
    from telesession.storage.base import Storage

# An id as telebot passes it: mostly an int, and None in a reaction count, for example.
_Id = int | str | None


class SessionStateStorage(StateStorageBase):
    """
    Keeps telebot's states and their data as sessions: `TeleBot(token, state_storage=...)`.

    Each place that telebot tells apart (bot, chat, user, topic, business connection) has a session
    with the fields `state` and `data`. The methods do the same as those of telebot's
    `StateMemoryStorage`, with three differences. A change waits until no other thread or process
    has the record. No caller sees half a change. Every returned value is a copy. Reading does not
    wait.

    Changes are written at once. With `use_sequential_workers`, changes of the sender in the chat of
    the update are saved with the sessions of the handler. The sender's next update waits until
    then. If the handler raises, these changes are undone. Calls in the same handler see them at
    once.

    Keep one instance for as long as the bot runs. Any thread may use it. Bots may share it, too,
    because the key of a record names its bot.

    Args:
        storage: The storage of the records. Several processes may share it, if it is a storage for
            several processes.
        lifetime: Seconds or a `timedelta` that a state and its data live after they were set,
            added to, or retrieved. Reading the state, as filters do, does not count. `None`, the
            default, keeps them until they are deleted.
        lock_timeout: Seconds or a `timedelta` to wait for a record that another thread or process
            has retrieved; 0 does not wait, and `None` waits for ever. 60 s by default.
        prefix: Put before every key. By default states lie in a room of their own, so sessions and
            states can share a storage. It must not begin with `@`.

    Raises:
        TypeError: An option is of the wrong type.
        ValueError: An option has a value that makes no sense.
    """

    def __init__(
        self,
        storage: Storage,
        *,
        lifetime: float | timedelta | None = None,
        lock_timeout: float | timedelta | None = 60,
        prefix: str | None = None,
    ) -> None:
        super().__init__()
        if storage is None:
            raise TypeError('SessionStateStorage needs a storage, such as SQLiteStorage("bot.db")')
        room = room_of("telebot-states") if prefix is None else checked_room(prefix, "states")
        older = "state:" if prefix is None else None
        self._sessions = Sessions._in_room(
            room, older, storage=storage, lifetime=lifetime, lock_timeout=lock_timeout
        )
        self._storage = storage

    def set_state(  # noqa: PLR0917 -- telebot passes them by position
        self,
        chat_id: _Id,
        user_id: _Id,
        state: Any,
        business_connection_id: str | None = None,
        message_thread_id: int | None = None,
        bot_id: int | None = None,
    ) -> bool:
        """
        Set the state of a user, with empty data if there was none, and return `True`.

        Args:
            chat_id: The chat, which is the user's own where telebot is not told another.
            user_id: The user.
            state: A name, a number, or telebot's `State`, which is stored by its name.
            business_connection_id: The business connection through which the user writes.
            message_thread_id: The topic of a forum.
            bot_id: The bot; telebot gives its own.
        """
        key = place_key(chat_id, user_id, business_connection_id, message_thread_id, bot_id)
        with self._open(key) as session:
            session["state"] = getattr(state, "name", state)
            session.setdefault("data", {})
        return True

    def get_state(
        self,
        chat_id: _Id,
        user_id: _Id,
        business_connection_id: str | None = None,
        message_thread_id: int | None = None,
        bot_id: int | None = None,
    ) -> Any:
        """The state of a user, or `None`."""
        key = place_key(chat_id, user_id, business_connection_id, message_thread_id, bot_id)
        return self._read(key).get("state")

    def delete_state(
        self,
        chat_id: _Id,
        user_id: _Id,
        business_connection_id: str | None = None,
        message_thread_id: int | None = None,
        bot_id: int | None = None,
    ) -> bool:
        """Delete the state of a user and its data, and return whether there was one."""
        key = place_key(chat_id, user_id, business_connection_id, message_thread_id, bot_id)
        retrieved = self._retrieved(key)
        if retrieved is None:
            kind = self._sessions._kind
            unit = self._unit_for(key)
            return kind.delete(kind.place_of_key(key), Use(independent=unit is None), unit)
        # Not forget(), which would delete a state that the block goes on to set, too.
        existed = "state" in retrieved
        retrieved.clear()
        return existed

    def set_data(  # noqa: PLR0917 -- telebot passes them by position
        self,
        chat_id: _Id,
        user_id: _Id,
        key: Any,
        value: Any,
        business_connection_id: str | None = None,
        message_thread_id: int | None = None,
        bot_id: int | None = None,
    ) -> bool:
        """
        Set one item of a user's data, and return `True`.

        Inside a block of `get_interactive_data` it is an item of the block's data.

        Raises:
            EncodeError: The storage's codec cannot bring the value back; nothing was stored.
            RuntimeError: The user has no state to keep data with.
        """
        place = place_key(chat_id, user_id, business_connection_id, message_thread_id, bot_id)
        with self._open(place) as session:
            if "state" not in session:
                # The exception of telebot's storages.
                raise RuntimeError(
                    f"could not add data for {place!r}: there is no state to keep it with; call "
                    "set_state first, with the same chat, topic and business connection"
                )
            session["data"][key] = value
        return True

    def get_data(
        self,
        chat_id: _Id,
        user_id: _Id,
        business_connection_id: str | None = None,
        message_thread_id: int | None = None,
        bot_id: int | None = None,
    ) -> dict[Any, Any]:
        """A copy of a user's data, empty if there is no state."""
        key = place_key(chat_id, user_id, business_connection_id, message_thread_id, bot_id)
        data: dict[Any, Any] = self._read(key).get("data", {})
        return data

    def reset_data(
        self,
        chat_id: _Id,
        user_id: _Id,
        business_connection_id: str | None = None,
        message_thread_id: int | None = None,
        bot_id: int | None = None,
    ) -> bool:
        """
        Empty a user's data, keep the state, and return whether there was one.

        Inside a block of `get_interactive_data` it empties the block's data.
        """
        key = place_key(chat_id, user_id, business_connection_id, message_thread_id, bot_id)
        return self._replace_data(key, {})

    @contextmanager
    def get_interactive_data(
        self,
        chat_id: _Id,
        user_id: _Id,
        business_connection_id: str | None = None,
        message_thread_id: int | None = None,
        bot_id: int | None = None,
    ) -> Iterator[dict[Any, Any]]:
        """
        A user's data as a context manager; no other thread or process has them during the block.

        The changes of the block are saved at its end, or lost if it raises. In the thread of the
        block, the other methods read and change the block's data. If there is no state at the end,
        the data is dropped, as telebot does.

        Raises:
            EncodeError: At the end, if the storage's codec cannot bring a value back; nothing
                was stored.
            LockTimeoutError: On entering, when it stayed busy for `lock_timeout`.
        """
        key = place_key(chat_id, user_id, business_connection_id, message_thread_id, bot_id)
        with self._open(key) as session:
            data: dict[Any, Any] = session["data"] if "state" in session else {}
            yield data
            if "state" in session:
                _join(session, data)

    def save(  # noqa: PLR0917 -- telebot passes them by position
        self,
        chat_id: _Id,
        user_id: _Id,
        data: dict[Any, Any],
        business_connection_id: str | None = None,
        message_thread_id: int | None = None,
        bot_id: int | None = None,
    ) -> bool:
        """Replace all of a user's data, keep the state, and return whether there was one."""
        key = place_key(chat_id, user_id, business_connection_id, message_thread_id, bot_id)
        return self._replace_data(key, data)

    def __repr__(self) -> str:
        return f"<SessionStateStorage {self._sessions._kind.room!r} in {self._storage!r}>"

    def _add(self, key: str, state: Any, data: dict[Any, Any]) -> bool:
        """Store a record, unless there is one already, and return whether there was none."""
        # Asked before the record is opened, because opening renews its lifetime.
        if self._read(key):
            return False
        with self._open(key) as session:
            if "state" in session:
                return False
            session.update(state=state, data=data)
        return True

    def _replace_data(self, key: str, data: dict[Any, Any]) -> bool:
        with self._open(key) as session:
            if "state" not in session:
                return False
            # In place, because a block around this call must not bring its former data back.
            # Cleared after the copy was made, because the new data may be the same object.
            items = dict(data)
            session["data"].clear()
            session["data"].update(items)
        return True

    def _read(self, key: str) -> dict[str, Any]:
        """The fields of a record as this thread sees them; none if there is no record."""
        retrieved = self._retrieved(key)
        if retrieved is not None:
            return as_dict(retrieved)
        kind = self._sessions._kind
        place = kind.place_of_key(key)
        unit = Unit.owner_of(kind.storage, place)
        if unit is None:
            return kind.peek(place) or {}
        # The unit may have noted changes, which no other thread sees.
        with encoded_on_leaving((kind, place), unit, renew=False) as session:
            return as_dict(session)

    @contextmanager
    def _open(self, key: str) -> Iterator[Session]:
        """The record that this thread has retrieved, or else one that is saved after the block."""
        retrieved = self._retrieved(key)
        if retrieved is not None:
            yield retrieved
            return
        kind = self._sessions._kind
        with encoded_on_leaving((kind, kind.place_of_key(key)), self._unit_for(key)) as session:
            yield session

    def _unit_for(self, key: str) -> Unit | None:
        """The handler's unit if the record is of the sender whose turn it is."""
        kind = self._sessions._kind
        return unit_in_turn(kind.storage, kind.place_of_key(key), is_of_sender=_is_of_sender(key))

    def _retrieved(self, key: str) -> Session | None:
        """The record that this thread has retrieved and not yet given back."""
        kind = self._sessions._kind
        return Unit.find(kind.storage, kind.place_of_key(key))


def place_key(
    chat_id: _Id,
    user_id: _Id,
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


def _join(session: Session, data: dict[Any, Any]) -> None:
    """Give a record the data of its block, also if the record was begun anew in the block."""
    if session["data"] is not data:
        data.update(session["data"])
    session["data"] = data
