"""Damaged records in the commands: each says which record it is, and the rest goes on."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from support.command import call
from telesession import DecodeError, Sessions, SQLiteStorage, Storage, StorageError
from telesession.bot.inbox import Inbox
from telesession.cli.stored import rows_of

if TYPE_CHECKING:
    from pathlib import Path

SECRET = "hunter2"
# The parts of records that are sound JSON, and that no version of the library writes.
PARTS = (
    '"fields":[]',
    '"fields":{"n":1},"ttl":5',
    '"fields":{"n":1},"ttl":{"n":7}',
    '"fields":{"n":1},"ttl":{"n":["hunter2",1]}',
    '"fields":{"n":1},"version":"hunter2"',
    '"fields":{"n":1},"version":{"hunter2":1}',
    '"fields":{"n":1},"class":5',
    '"fields":{"n":1},"lifetime":"hunter2"',
    '"fields":{"n":1},"end":"hunter2"',
)


class TestParts:
    """Records that a codec reads, and that no session has."""

    @pytest.mark.parametrize("parts", PARTS)
    def test_a_damaged_part_is_an_error(self, file_storage: Storage, parts: str) -> None:
        """A command for one record refuses it as a handler does, and leaves it as it was."""
        payload = f"{{{parts}}}".encode()
        file_storage.set("42", payload)
        with pytest.raises(DecodeError):
            Sessions(storage=file_storage).peek(42)
        runs = [call("show", "42"), call("set", "42", "n", "2"), call("unset", "42", "n")]
        runs += [call("show", "42", "--values", "--json"), call("watch", "42")]

        assert [1] * 5 == [ran.code for ran in runs]
        assert all("could not read the stored record of session '42'" in ran.err for ran in runs)
        assert SECRET not in "".join(ran.out + ran.err for ran in runs)
        assert payload == file_storage.get("42")

    def test_damaged_parts_are_told_by_the_commands_for_all(self, file_storage: Storage) -> None:
        """`stats`, `doctor` and `export` count such records as unreadable, and show no value."""
        for number, parts in enumerate(PARTS):
            file_storage.set(str(number), f"{{{parts}}}".encode())
        file_storage.set("sound", b'{"fields":{"n":1}}')
        stats, doctor, export = call("stats", "--json"), call("doctor", "--json"), call("export")
        versions = {each["version"]: each["records"] for each in json.loads(stats.out)["rooms"]}

        assert {"unreadable": len(PARTS), "0": 1} == versions
        assert f"{len(PARTS)} records cannot be read" in doctor.out
        assert ["sound"] == [json.loads(line)["key"] for line in export.out.splitlines()]
        assert [0, 3, 3] == [ran.code for ran in (stats, doctor, export)]
        assert SECRET not in "".join(ran.out + ran.err for ran in (stats, doctor, export))


class TestRows:
    """Records that the storage itself cannot read."""

    @pytest.fixture
    def damaged(self, file_storage: SQLiteStorage) -> SQLiteStorage:
        """A file with damaged rows: a session, and a waiting update."""
        inbox = Inbox(file_storage, 1)
        for key in ("42", inbox.key_of(1), "chat:42"):
            file_storage.set(key, b'{"fields":{"n":1}}')
        spoil = "UPDATE sessions SET expires = 'soon' WHERE key IN ('42', ?)"
        spoiled = (inbox.key_of(1).encode(),)
        file_storage.database.write("spoil", None, lambda cursor: cursor.execute(spoil, spoiled))
        return file_storage

    def test_a_row_does_not_end_an_export(self, damaged: SQLiteStorage) -> None:
        """The other records of the person are exported, and the exit code tells of the row."""
        ran = call("export", "--user", 42)
        assert (3, ["chat:42"]) == (ran.code, [json.loads(x)["key"] for x in ran.out.splitlines()])
        assert "'42': it is damaged" in ran.err

    def test_a_row_does_not_end_an_erasure(self, damaged: SQLiteStorage) -> None:
        """A damaged record of the person is deleted, and a damaged update is counted."""
        ran = call("erase", "--user", 42, "--yes")
        assert (0, [Inbox(damaged, 1).key_of(1)]) == (ran.code, list(damaged.keys()))
        assert "1 record cannot be assigned to a user" in ran.err

    def test_an_outage_is_no_damage(self, damaged: SQLiteStorage, tmp_path: Path) -> None:
        """A storage that fails as a whole ends the command, and lists no damaged records."""
        (tmp_path / "bot.db").unlink()
        with pytest.raises(StorageError):
            list(rows_of(damaged, ["42"]))
