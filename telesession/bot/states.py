"""telebot's states, and the data that it keeps with them, on the storages of this library."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from telebot.storage import StateStorageBase

from telesession.bot.state_records import Id, StateRecords, place_key, put_back
from telesession.keys import room_of
from telesession.options import checked_room
from telesession.sessions import kind_of, sessions_in_room

if TYPE_CHECKING:
    from telesession.storage.base import Storage


class SessionStateStorage(StateStorageBase):
    """
    Keeps telebot's states and their data as sessions: `TeleBot(token, state_storage=...)`.

    Each place that telebot tells apart (bot, chat, user, topic, business connection) has a session
    with the fields `state` and `data`. The methods do the same as those of telebot's
    `StateMemoryStorage`, with three differences. A change waits until no other thread or process
    has the record, and reading does not wait. No caller sees half a change. Every returned value is
    a copy.

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

    Attributes:
        records: The records of the states. It is for this library itself, and may change.

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
        sessions = sessions_in_room(
            room, older, storage=storage, lifetime=lifetime, lock_timeout=lock_timeout
        )
        self.records = StateRecords(kind_of(sessions))

    def set_state(  # noqa: PLR0917 -- telebot passes them by position
        self,
        chat_id: Id,
        user_id: Id,
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
        with self.records.open(key) as session:
            session["state"] = getattr(state, "name", state)
            session.setdefault("data", {})
        return True

    def get_state(
        self,
        chat_id: Id,
        user_id: Id,
        business_connection_id: str | None = None,
        message_thread_id: int | None = None,
        bot_id: int | None = None,
    ) -> Any:
        """The state of a user, or `None`."""
        key = place_key(chat_id, user_id, business_connection_id, message_thread_id, bot_id)
        return self.records.read(key).get("state")

    def delete_state(
        self,
        chat_id: Id,
        user_id: Id,
        business_connection_id: str | None = None,
        message_thread_id: int | None = None,
        bot_id: int | None = None,
    ) -> bool:
        """Delete the state of a user and its data, and return whether there was one."""
        key = place_key(chat_id, user_id, business_connection_id, message_thread_id, bot_id)
        return self.records.delete(key)

    def set_data(  # noqa: PLR0917 -- telebot passes them by position
        self,
        chat_id: Id,
        user_id: Id,
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
        with self.records.open(place) as session:
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
        chat_id: Id,
        user_id: Id,
        business_connection_id: str | None = None,
        message_thread_id: int | None = None,
        bot_id: int | None = None,
    ) -> dict[Any, Any]:
        """A copy of a user's data, empty if there is no state."""
        key = place_key(chat_id, user_id, business_connection_id, message_thread_id, bot_id)
        data: dict[Any, Any] = self.records.read(key).get("data", {})
        return data

    def reset_data(
        self,
        chat_id: Id,
        user_id: Id,
        business_connection_id: str | None = None,
        message_thread_id: int | None = None,
        bot_id: int | None = None,
    ) -> bool:
        """
        Empty a user's data, keep the state, and return whether there was one.

        Inside a block of `get_interactive_data` it empties the block's data.
        """
        key = place_key(chat_id, user_id, business_connection_id, message_thread_id, bot_id)
        return self.records.replace_data(key, {})

    @contextmanager
    def get_interactive_data(
        self,
        chat_id: Id,
        user_id: Id,
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
        with self.records.open(key) as session:
            data: dict[Any, Any] = session["data"] if "state" in session else {}
            yield data
            if "state" in session:
                put_back(session, data)

    def save(  # noqa: PLR0917 -- telebot passes them by position
        self,
        chat_id: Id,
        user_id: Id,
        data: dict[Any, Any],
        business_connection_id: str | None = None,
        message_thread_id: int | None = None,
        bot_id: int | None = None,
    ) -> bool:
        """Replace all of a user's data, keep the state, and return whether there was one."""
        key = place_key(chat_id, user_id, business_connection_id, message_thread_id, bot_id)
        return self.records.replace_data(key, data)

    def __repr__(self) -> str:
        return f"<SessionStateStorage {self.records.kind.room!r} in {self.records.kind.storage!r}>"
