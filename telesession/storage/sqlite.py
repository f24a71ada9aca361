"""
Sessions in a SQLite file, shared by the threads and processes of one machine.

The file has one table, without any mark of the sessions in use:

    sessions   key       TEXT, primary key
               expires   REAL, seconds since the epoch, or NULL if it does not expire
               payload   TEXT as the codec wrote it, or BLOB where that is no UTF-8

A key that is no Unicode text, because it holds a lone surrogate, is a BLOB as well. SQL can query
the fields in records of `JSONCodec`, also while the bot runs:

    SELECT avg(json_extract(payload, '$.fields.counter')) FROM sessions
    WHERE expires IS NULL OR expires > strftime('%s', 'now') + 0;

`PRAGMA application_id` is the mark of our files, and `PRAGMA user_version` is the version of the
tables. Beside `bot.db` are `bot.db-wal` and `bot.db-shm`, which are SQLite's, and `bot.db-lock`,
which stays empty: the kernel keeps locks on its bytes.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Literal

from telesession.codecs import Codec, JSONCodec
from telesession.storage.base import Change, Hold, Record, Storage
from telesession.storage.sqlite_backup import back_up
from telesession.storage.sqlite_database import Database
from telesession.storage.sqlite_hold import SQLiteHold, write_together
from telesession.storage.sqlite_locks import SessionLocks
from telesession.storage.sqlite_records import Records

if TYPE_CHECKING:
    from telesession.forks import PerProcess
    from telesession.storage.rows import Row


class SQLiteStorage(Storage):
    """
    Keeps records in a SQLite file: the durable default of a bot on one machine.

    Every process of the machine may use the file at the same time. A session is exclusive among all
    of them: the kernel locks a few bytes of the file `bot.db-lock` beside it. An update is one read
    and, if it changes the session, one short transaction.

    Threads and processes get a session in the order of their arrival. A process that waits looks
    every few milliseconds, at most 20. A session is free as soon as its process has ended, however
    it ended. A process that is stopped, as by a debugger, keeps its sessions until it goes on or
    ends.

    The files belong to the bot while it runs. If they are moved, deleted or replaced, the next
    update raises `StorageError` instead of writing a record that would be lost. Copy them with
    `backup`. Even the bot itself must not open the file, such as to send it.

    Keep one instance for as long as the bot runs. Any thread may use it, and so may every process
    that is forked from the one that made it.

    Args:
        path: The path of the file, which is made if it does not exist. It has to be on a local
            disk, in a folder that exists and can be written, because there are three more files
            beside it. A new file can be read and written by its owner only.
        codec: The codec that turns records into bytes; readable JSON by default.
        synchronous: The cost of a power cut. With `"NORMAL"` it may undo the last moments before
            it, whole transactions each, and never damages the file. With `"FULL"` it undoes
            nothing, but every transaction waits for the disk. The end of a process costs nothing
            with either.

    Attributes:
        database: The file, as this process uses it. It is for this library itself, and may change.

    Raises:
        StorageError: The file cannot be opened, or is not one of ours.
        TypeError: An option is of the wrong type.
        ValueError: An option has a value that makes no sense.
    """

    _states: PerProcess[SessionLocks]  # type: ignore[assignment]
    _locks_of_process: SessionLocks | None = None

    def __init__(
        self,
        path: str | os.PathLike[str],
        codec: Codec | None = None,
        *,
        synchronous: Literal["NORMAL", "FULL"] = "NORMAL",
    ) -> None:
        self.codec = JSONCodec() if codec is None else codec
        self.database = Database(_checked_path(path), _checked_synchronous(synchronous))
        self._records = Records(self.database)
        # A storage that was not closed must not leave its files beside the database for ever.
        weakref.finalize(self, self.database.close)

    def get(self, key: str) -> bytes | None:
        """See `Storage.get`."""
        return self._records.get(key)

    def set(self, key: str, payload: bytes, lifetime: float | None = None) -> None:
        """See `Storage.set`. It also removes some expired records."""
        self._records.set(key, payload, lifetime)

    def delete(self, key: str) -> bool:
        """See `Storage.delete`. A damaged record can be deleted as well."""
        return self._records.delete(key)

    def touch(self, key: str, lifetime: float | None) -> bool:
        """See `Storage.touch`."""
        return self._records.touch(key, lifetime)

    def has(self, key: str) -> bool:
        """See `Storage.has`."""
        return self._records.get(key, "look up") is not None

    def get_record(self, key: str) -> Record | None:
        """See `Storage.get_record`."""
        return self._records.get_record(key)

    def ping(self) -> None:
        """See `Storage.ping`. The database must be at its path, and be readable."""
        self.database.ping()

    def keys(self, prefix: str = "") -> Iterator[str]:
        """
        See `Storage.keys`. Some hundred at a time, in the order of their bytes.

        A damaged record is listed, so that it can be deleted.
        """
        # A generator of its own: it keeps a storage alive that has no other reference.
        yield from self._records.keys(prefix)

    def rows(self, prefix: str = "") -> Iterator[Row]:
        """
        Iterate over the live records whose keys start with `prefix`, in the order of their bytes.

        A hundred at a time are in memory. A damaged record is a row without a payload.

        Raises:
            StorageError: The file cannot be read.
        """
        yield from self._records.rows(prefix)

    def purge(self) -> int:
        """
        Remove all records that have expired, and return how many there were.

        Reads do not see them before, and writes of other records remove them. A bot that rarely
        writes needs this, or a privacy policy that does not wait. Other threads and processes may
        write at the same time.

        Deleted records are overwritten, also those that `delete` and later writes have removed.
        Their pages go back to the disk, except in a file of an older version of the tables. The log
        is emptied too, unless another program reads the file at that moment.
        """
        return self._records.purge()

    def backup(self, path: str | os.PathLike[str]) -> None:
        """
        Copy all records into one new file, while the bot runs and others write.

        The copy is that of one moment. It appears at the path when it is complete, and then
        replaces an earlier backup there. To restore it, stop the bot, delete its `-wal` and `-shm`
        files, and put the backup in the place of the database.

        Args:
            path: A file on any disk, in a folder that exists and can be written.

        Raises:
            StorageError: The copy cannot be made, or there is a file at the path that is no
                backup, or is a backup that a storage has opened since. It is left alone.
            TypeError: The path is no path.
            ValueError: The path is no path of a file.
        """
        back_up(self.database, _checked_path(path, "SQLiteStorage.backup"))

    def hold(self, key: str, timeout: float | None = None) -> SQLiteHold:
        """
        See `Storage.hold`; exclusive among all processes that use the file.

        Raises:
            StorageError: On entering, when the record cannot be locked or read.
        """
        return SQLiteHold(self, self._records, key, timeout)

    def commit(self, holds: Sequence[Hold], also: Sequence[Change] = ()) -> None:
        """See `Storage.commit`. It is one transaction."""
        if len(holds) == 1 and not also:
            holds[0].flush()
        else:
            write_together(self._records, holds, also)

    def listed(self, prefix: str, after: str = "", limit: int = 100) -> list[str]:
        """See `Storage.listed`. It reads only the keys that it lists, and expired ones."""
        return self._records.listed(prefix, after, limit)

    def add_once(
        self, prefix: str, payloads: Mapping[int, bytes], *, pages: str, memory: float
    ) -> list[int]:
        """See `Storage.add_once`. It is one transaction."""
        return self._records.add_once(prefix, payloads, pages, memory)

    def close(self) -> None:
        """
        See `Storage.close`. A closed storage raises `StorageError` when it is used.

        A handler that has a session keeps its lock until it ends, but cannot write any more.
        """
        self.database.close()
        self.process_state.close()

    def __repr__(self) -> str:
        return f"<SQLiteStorage in {self.database.path}>"

    @property
    def process_state(self) -> SessionLocks:
        """See `Storage.process_state`."""
        # Read several times in each update, and found faster here than in `_states`.
        locks = self._locks_of_process
        if locks is None or locks.pid != os.getpid():
            locks = self._locks_of_process = self._states.get(self._make_state)
        return locks

    def _make_state(self) -> SessionLocks:
        return SessionLocks(self.database)


def _checked_path(path: object, taker: str = "SQLiteStorage") -> str:
    if not isinstance(path, str | os.PathLike):
        raise TypeError(f"{taker}(path) takes a path, not a {type(path).__name__}")
    checked = os.fspath(path)
    if not isinstance(checked, str):
        raise TypeError(f"{taker}(path) takes a path of text, not of bytes")
    if checked in ("", ":memory:"):
        raise ValueError(
            f"{taker}({checked!r}) would give each connection a database of its own; give "
            "the path of a file, or take MemoryStorage()"
        )
    if checked.startswith("file:") or "://" in checked or "\0" in checked:
        raise ValueError(
            f"{taker}(path) takes the path of a file, and neither a URI nor a NUL character"
        )
    if os.path.isdir(checked):
        raise ValueError(
            f"{taker}({checked!r}) has the path of a folder; give that of a file in it, such as "
            f"{os.path.join(checked, 'bot.db')!r}"
        )
    # Absolute, because connections are made later, too, when the program may be in another folder.
    return os.path.abspath(checked)


def _checked_synchronous(synchronous: object) -> str:
    if synchronous not in ("NORMAL", "FULL"):
        raise ValueError(
            f"SQLiteStorage(synchronous=...) is 'NORMAL' or 'FULL', not {synchronous!r}"
        )
    return str(synchronous)
