"""The commands `copy`, `rekey` and `backup`: records in another storage, or with another codec."""

from __future__ import annotations

import json
import os
import signal
from typing import TYPE_CHECKING

import pytest
from cryptography.fernet import Fernet

from support.command import call, finish, start, wait_until_it_waits
from telesession import EncryptedCodec, JSONCodec, PickleCodec, Sessions, SQLiteStorage, Storage

if TYPE_CHECKING:
    from pathlib import Path

    from telesession.codecs import Codec

OLD, NEW = (Fernet.generate_key().decode() for _ in range(2))


def count_of(storage: Storage, key: int) -> object:
    session = Sessions(storage=storage).peek(key)
    return None if session is None else session.count


def fill(storage: Storage) -> None:
    for key in range(5):
        with Sessions(storage=storage, lifetime=3600).open(key) as session:
            session.count = key


class TestCopy:
    def test_records_are_copied(self, storage: Storage, url: str, tmp_path: Path) -> None:
        """All records are in the target, with their lifetimes, and in the source as before."""
        fill(storage)
        ran = call("copy", url, f"sqlite:///{tmp_path}/copy.db")
        with SQLiteStorage(tmp_path / "copy.db") as copy:
            counts = [count_of(copy, key) for key in range(5)]
            record = copy.get_record("1")

        assert (0, ["copied", "5"]) == (ran.code, ran.out.split())
        assert [0, 1, 2, 3, 4] == counts
        assert record is not None
        assert 3500 < float(record.left or 0) <= 3600
        assert 5 == len(list(storage.keys()))

    def test_a_part_can_be_copied(
        self, file_storage: Storage, file_url: str, tmp_path: Path
    ) -> None:
        """With --prefix only some keys are copied, and with --dry-run none."""
        fill(file_storage)
        target = f"sqlite:///{tmp_path}/copy.db"
        dry = call("copy", file_url, target, "--dry-run", "--json")
        some = call("copy", file_url, target, "--prefix", "3", "--json")

        assert [5, 1] == [json.loads(ran.out)["copied"] for ran in (dry, some)]
        with SQLiteStorage(tmp_path / "copy.db") as copy:
            assert ["3"] == list(copy.keys())

    def test_a_dry_run_makes_no_file(
        self, file_storage: Storage, file_url: str, tmp_path: Path
    ) -> None:
        """A target that does not exist counts as empty, and does not exist afterwards."""
        fill(file_storage)
        ran = call("copy", file_url, f"sqlite:///{tmp_path}/copy.db", "--dry-run")

        assert (0, ["copied", "5"]) == (ran.code, ran.out.split())
        assert [] == list(tmp_path.glob("copy.db*"))

    def test_urls_come_from_the_environment(
        self, file_storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The argument - keeps a URL, which may have a password, out of the list of processes."""
        fill(file_storage)
        assert 2 == call("copy", "-", "-").code
        monkeypatch.setenv("TELESESSION_TARGET_STORAGE", f"sqlite:///{tmp_path}/copy.db")
        ran = call("copy", "-", "-")

        assert (0, ["copied", "5"]) == (ran.code, ran.out.split())
        with SQLiteStorage(tmp_path / "copy.db") as copy:
            assert 5 == len(list(copy.keys()))

    def test_records_that_are_not_copied_are_told(
        self, file_storage: Storage, file_url: str, tmp_path: Path
    ) -> None:
        """Another record of the target and one that cannot be read are listed by key."""
        fill(file_storage)
        file_storage.set("broken", b"{")
        with SQLiteStorage(tmp_path / "copy.db") as copy:
            copy.set("3", b'{"fields":{"count":9}}')
        target = f"sqlite:///{tmp_path}/copy.db"
        ran = call("copy", file_url, target)
        again = call("copy", file_url, target, "--overwrite", "--yes", "--json")

        assert 3 == ran.code
        assert ["kept: 3", "unreadable: broken"] == ran.out.splitlines()[-2:]
        assert 2 == call("copy", file_url, target, "--overwrite").code
        assert (1, ["broken"]) == (
            json.loads(again.out)["replaced"],
            json.loads(again.out)["keys"]["unreadable"],
        )

    def test_an_interrupted_copy_goes_on(
        self, file_storage: Storage, file_url: str, tmp_path: Path
    ) -> None:
        """Ctrl-C leaves the records before in the target, and another call copies the rest."""
        fill(file_storage)
        target = f"sqlite:///{tmp_path}/copy.db"
        with SQLiteStorage(tmp_path / "copy.db") as copy:
            # The command waits for this record, behind those with lower keys.
            with copy.hold("3"), start("copy", file_url, target) as process:
                wait_until_it_waits(process, "3")
                process.send_signal(signal.SIGINT)
                ran = finish(process)
            assert ["0", "1", "2"] == list(copy.keys())
            assert 0 == call("copy", file_url, target).code
            assert [0, 1, 2, 3, 4] == [count_of(copy, key) for key in range(5)]
        assert (130, "") == (ran.code, ran.out)
        assert "stopped after 3 records; another run leaves out those that are the same" in ran.err


class TestRekey:
    @pytest.mark.parametrize(
        ("before", "after", "settings"),
        [
            (JSONCodec(), [NEW], {"TARGET_CODEC": "encrypted", "TARGET_KEYS": NEW}),
            (PickleCodec(), None, {"CODEC": "pickle", "TARGET_CODEC": "json"}),
            (
                EncryptedCodec(JSONCodec(), [OLD]),
                [NEW],
                {"CODEC": "encrypted", "KEYS": f"{NEW} {OLD}"},
            ),
            (
                EncryptedCodec(JSONCodec(), [OLD]),
                None,
                {"CODEC": "encrypted", "KEYS": OLD, "TARGET_CODEC": "json"},
            ),
        ],
        ids=["encrypt", "from-pickle", "rotate", "decrypt"],
    )
    @pytest.mark.usefixtures("file_url")
    def test_every_record_gets_the_codec(
        self,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        before: Codec,
        after: list[str] | None,
        settings: dict[str, str],
    ) -> None:
        """Records are written anew in their places, with another codec or its first key."""
        with SQLiteStorage(tmp_path / "bot.db", before) as storage:
            fill(storage)
        for name, value in settings.items():
            monkeypatch.setenv(f"TELESESSION_{name}", value)
        dry, ran = call("rekey", "--dry-run"), call("rekey")
        codec = JSONCodec() if after is None else EncryptedCodec(JSONCodec(), after)
        with SQLiteStorage(tmp_path / "bot.db", codec) as storage:
            counts = [count_of(storage, key) for key in range(5)]

        assert (["replaced", "5"], ["replaced", "5"]) == (ran.out.split(), dry.out.split()[:2])
        assert [0, 1, 2, 3, 4] == counts

    def test_keys_come_from_a_file(
        self, file_storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A file has a key on each line, and its path is in the environment."""
        fill(file_storage)
        (tmp_path / "keys").write_text(f"{NEW}\n{OLD}\n")
        monkeypatch.setenv("TELESESSION_TARGET_CODEC", "encrypted")
        monkeypatch.setenv("TELESESSION_TARGET_KEYS_FILE", str(tmp_path / "keys"))
        assert 0 == call("rekey").code
        with SQLiteStorage(tmp_path / "bot.db", EncryptedCodec(JSONCodec(), [NEW])) as storage:
            assert 1 == count_of(storage, 1)


class TestBackup:
    def test_a_file_is_backed_up(self, file_storage: Storage, tmp_path: Path) -> None:
        """The copy has all records, and the storage goes on."""
        fill(file_storage)
        ran = call("backup", tmp_path / "backup.db")
        with SQLiteStorage(tmp_path / "backup.db") as storage:
            assert (0, 5) == (ran.code, len(list(storage.keys())))

    def test_another_file_is_left_alone(self, file_storage: Storage, tmp_path: Path) -> None:
        """A file that is no backup is not replaced."""
        (tmp_path / "notes").write_text("tea")
        ran = call("backup", tmp_path / "notes")
        assert (1, "tea") == (ran.code, (tmp_path / "notes").read_text())
        assert "is no backup" in ran.err

    def test_a_missing_folder_is_told(self, file_storage: Storage, tmp_path: Path) -> None:
        """A message of the library does not send the user of the command to an attribute."""
        ran = call("backup", tmp_path / "missing" / "backup.db")
        end = "cannot be written (FileNotFoundError); fix it and retry\n"
        assert (1, end) == (ran.code, ran.err[-len(end) :])

    def test_a_server_is_no_file(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        """The records of a server are backed up by the server, and the message says so."""
        monkeypatch.setenv("TELESESSION_STORAGE", "redis://127.0.0.1:1")
        ran = call("backup", tmp_path / "backup.db")
        assert (1, False) == (ran.code, os.path.lexists(tmp_path / "backup.db"))
        assert "BGSAVE" in ran.err


class TestPurge:
    def test_expired_records_are_removed(self, file_storage: SQLiteStorage) -> None:
        """Records that have expired leave the file, and the others stay."""
        fill(file_storage)
        spoil = "UPDATE sessions SET expires = 1 WHERE key < '3'"
        file_storage.database.write("age", None, lambda cursor: cursor.execute(spoil))
        ran = call("purge")
        assert (0, "removed 3 expired records\n") == (ran.code, ran.err)
        assert ["3", "4"] == list(file_storage.keys())

    def test_a_server_removes_them_itself(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """There is nothing to do on a server."""
        monkeypatch.setenv("TELESESSION_STORAGE", "redis://127.0.0.1:1")
        assert (0, "nothing to do: the server removes expired records by itself\n") == (
            call("purge").code,
            call("purge").err,
        )
