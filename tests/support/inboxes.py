"""Bots with an inbox, the records in it, and storages as a killed process leaves them."""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from telebot import TeleBot

from support.bots import close_pool
from support.clocks import PATIENCE
from support.updates import ANNA, UPDATE_IDS, message, private
from telesession import (
    MemoryStorage,
    Session,
    Sessions,
    SQLiteStorage,
    Storage,
    StorageError,
    receive,
    use_sequential_workers,
)
from telesession.bot.inbox import Inbox
from telesession.bot.intake import raw_of
from telesession.keys import room_of
from telesession.testing import BotAPI

if TYPE_CHECKING:
    from pathlib import Path

    from telesession.storage.base import Change, Hold

BOT_ID = 1
TOKEN = f"{BOT_ID}:inbox"
# The owner of records that a killed process has left.
DEAD = "dead"

# The effects and the number of stored updates after each write: the effect ends the update.
TOGETHER = [([], 0), ([], 1), (["tea"], 0)]
# The effect is there, and the update will be handled again if the process is killed now.
APART = [([], 0), ([], 1), (["tea"], 1), (["tea"], 0)]

MakeLife = Callable[..., "Life"]


class Life:
    """
    A bot with an inbox, as one process has it.

    Args:
        storage: The storage of its inbox.
        num_threads: The number of its workers.
        workers: Options of `use_sequential_workers`.
        token: The token of the bot.
        options: Options of `TeleBot`.
    """

    def __init__(
        self,
        storage: Storage,
        num_threads: int = 1,
        *,
        workers: Any = None,
        token: str = TOKEN,
        **options: Any,
    ) -> None:
        self.bot = TeleBot(token, num_threads=num_threads, **options)
        #: The exceptions that handlers raised.
        self.errors: list[Exception] = []
        given = {"on_error": lambda _, error: self.errors.append(error), **(workers or {})}
        self.pool = use_sequential_workers(self.bot, inbox=storage, **given)
        self._done = threading.Condition()
        self.pool.notify(self._note)

    def poll(self, offset: int | None = None) -> None:
        """Poll once, as `infinity_polling` does; an offset of 0 lets Telegram repeat updates."""
        offset = self.bot.last_update_id + 1 if offset is None else offset
        with BotAPI.running().short_polls():
            updates = self.bot.get_updates(offset=offset)
        self.bot.process_new_updates(updates)

    def receive(self, *updates: dict[str, Any]) -> None:
        """Receive updates as webhooks, one after the other."""
        for update in updates:
            receive(self.bot, json.dumps(update))

    def wait(self) -> None:
        """Wait until the workers have nothing to do."""
        with self._done:
            assert self._done.wait_for(lambda: self.pool.unfinished == 0, PATIENCE)

    def run(self) -> None:
        """Poll once, and wait until all is handled."""
        self.poll()
        self.wait()

    def begin_again(self) -> None:
        """Give the bot new workers after it was stopped."""
        bot: Any = self.bot
        bot.worker_pool = self.pool = self.pool.renew()
        self.pool.notify(self._note)

    def die(self) -> None:
        """Leave the lock or the lease of the process, as the end of a killed one does."""
        intake = self.pool.intake
        assert intake is not None
        # Not end(), which notes that the process was stopped.
        intake._owner._proof.end()
        intake._owner._has_ended = True

    def close(self) -> None:
        """End the workers."""
        close_pool(self.bot.worker_pool)

    def _note(self) -> None:
        with self._done:
            self._done.notify_all()


def text_update(text: str, person: dict[str, Any] = ANNA, **fields: Any) -> dict[str, Any]:
    """A message as Telegram sends it, with the next `update_id` unless one is given."""
    number = fields.pop("update_id", None) or next(UPDATE_IDS)
    return {"update_id": number, "message": message(private(person), person, text=text, **fields)}


def leave(storage: Storage, *updates: dict[str, Any], owner: str = DEAD, **fields: Any) -> None:
    """Store updates as a killed process has left them, with other fields of `Stored` perhaps."""
    inbox = Inbox(storage, BOT_ID)
    for update in updates:
        stored = inbox.make(update["update_id"], raw_of(update), owner)[0]
        for name, value in fields.items():
            setattr(stored, name, value)
        stored.payload = None
        inbox.write([inbox.changing(stored)])


def records(storage: Storage) -> list[dict[str, Any]]:
    """The fields of the updates in the inbox, in the order of their numbers."""
    inbox = Inbox(storage, BOT_ID)
    found = []
    for keys in inbox.pages_of_keys():
        for key in keys:
            payload = storage.get(key)
            if payload is not None:
                found.append(inbox.fields_of(key, payload))
    return found


def texts_in(storage: Storage) -> list[str]:
    """The texts of the messages in the inbox, in the order of their numbers."""
    return [json.loads(fields["raw"])["message"]["text"] for fields in records(storage)]


def numbers_aside(storage: Storage) -> list[int]:
    """The numbers of the updates that were set aside."""
    room = room_of(f"inbox-{BOT_ID}-aside")
    return sorted(int(key[len(room) :]) for key in storage.keys(room))


def noting(session: Session, text: str | None) -> None:
    """Note an effect in a session."""
    session.texts = [*session.get("texts", []), text]


def add_notes(life: Life, storage: Storage, **options: Any) -> Sessions[Any]:
    """Let the handler of a bot note the text of each message in the session of its sender."""
    sessions: Sessions[Any] = Sessions(storage=storage, **options)

    @life.bot.message_handler()
    @sessions.with_session
    def note(message: Any, session: Session) -> None:
        noting(session, message.text)

    return sessions


def effects(storage: Storage, person: dict[str, Any] = ANNA, **options: Any) -> list[str]:
    """The effects in the session of a person, in their order."""
    found = Sessions(storage=storage, **options).peek(person["id"]) or {}
    return list(found.get("texts", []))


def send(api: BotAPI, *texts: str, person: dict[str, Any] = ANNA) -> None:
    """Let a person send messages."""
    for text in texts:
        api.user(person["id"]).send(text)


class Journal:
    """
    The effects and the number of stored updates, as they were after each write of a storage.

    Args:
        storage: The storage.
        watched: The storage whose writes are watched; the same one by default.
    """

    def __init__(self, storage: Storage, watched: Storage | None = None) -> None:
        self.states: list[tuple[list[str], int]] = [(effects(storage), len(records(storage)))]
        self._storage = storage
        watched = watched or storage
        self._commit = watched.commit
        watched.commit = self._commit_and_note  # type: ignore[method-assign]

    def _commit_and_note(self, holds: Sequence[Hold], also: Sequence[Change] = ()) -> None:
        self._commit(holds, also)
        self.note()

    def note(self) -> None:
        """Add the state of now, unless it is that of before."""
        state = effects(self._storage), len(records(self._storage))
        if state not in self.states[-1:]:
            self.states.append(state)


class Snapshot:
    """
    A storage as a process leaves it that is killed at the moment of `take`.

    Args:
        storage: In memory or SQLite.
        folder: An empty folder.
    """

    def __init__(self, storage: Storage, folder: Path) -> None:
        self._storage = storage
        self._path = folder / "snapshot.db"
        self._records: dict[str, bytes] = {}

    def take(self) -> None:
        """Keep the records as they are now."""
        if isinstance(self._storage, SQLiteStorage):
            self._storage.backup(self._path)
            return
        keys: Iterable[str] = list(self._storage.keys())
        found = {key: self._storage.get(key) for key in keys}
        self._records = {key: payload for key, payload in found.items() if payload is not None}

    def open(self) -> Storage:
        """The storage of the next process."""
        if isinstance(self._storage, SQLiteStorage):
            return SQLiteStorage(self._path)
        return MemoryStorage(self._records, codec=self._storage.codec)


def note_commits(storage: Storage, name: str, order: list[str]) -> None:
    """Add a name to a list with each commit of a handler."""
    commit = storage.commit

    def commit_and_note(holds: Sequence[Hold], also: Sequence[Change] = ()) -> None:
        if any(hold.note is not None for hold in holds):
            order.append(name)
        commit(holds, also)

    storage.commit = commit_and_note  # type: ignore[method-assign]


def fail_commits(storage: Storage, *, times: int) -> None:
    """Let a storage refuse so many commits, counted from the first commit of a handler."""
    commit, left = storage.commit, itertools.count(times, -1)
    has_begun = threading.Event()

    def commit_or_fail(holds: Sequence[Hold], also: Sequence[Change] = ()) -> None:
        if holds:
            has_begun.set()
        if has_begun.is_set() and next(left) > 0:
            raise StorageError("write", "1", "the disk is full")
        commit(holds, also)

    storage.commit = commit_or_fail  # type: ignore[method-assign]


def states_with(life: Life, storage: Storage, api: BotAPI) -> list[tuple[list[str], int]]:
    """The effects and the number of stored updates after each write for one message."""
    journal = Journal(storage)
    send(api, "tea")
    life.run()
    return journal.states


def fail_stores(storage: Storage, *, times: int) -> None:
    """Let a storage refuse the next writes that store updates."""
    commit, add_once, left = storage.commit, storage.add_once, itertools.count(times, -1)

    def commit_or_fail(holds: Sequence[Hold], also: Sequence[Change] = ()) -> None:
        if any(change.expected is None for change in also) and next(left) > 0:
            raise StorageError("write", "1", "the disk is full")
        commit(holds, also)

    def add_or_fail(*args: Any, **options: Any) -> list[int]:
        if next(left) > 0:
            raise StorageError("write", "1", "the disk is full")
        return add_once(*args, **options)

    storage.commit = commit_or_fail  # type: ignore[method-assign]
    storage.add_once = add_or_fail  # type: ignore[method-assign]


def numbers_to_come(storage: Storage) -> list[int]:
    """The numbers that Telegram may deliver again, as the record of the poll says."""
    inbox = Inbox(storage, BOT_ID)
    payload = storage.get(inbox.poll_key)
    return [] if payload is None else list(inbox.fields_of(inbox.poll_key, payload)["numbers"])
