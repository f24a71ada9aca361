"""The command `doctor`: the health of files and servers."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from support.command import call, doctor, findings, states
from support.servers import Cluster, Server, patient_url
from telesession import RedisStorage, Sessions, SQLiteStorage, Storage
from telesession.bot.inbox import Inbox
from telesession.cli import checks, file_checks

if TYPE_CHECKING:
    from pathlib import Path


class TestEveryStorage:
    def test_a_sound_storage_is_reachable_and_writable(self, storage: Storage) -> None:
        """The common checks are fine, and leave no record behind."""
        found = doctor()
        names = ["reachable", "writable", "versions", "clock", "records", "unreadable"]

        assert ["ok"] * len(names) == [found[name][0] for name in names]
        assert [] == list(storage.keys())

    def test_unreadable_records_are_problems(self, storage: Storage) -> None:
        """Records that the codec cannot read are listed by key, and change the exit code."""
        for number in range(12):
            storage.set(f"{number}", b"{")
        storage.set(f"{Inbox(storage, 1).pages}0", b"\x80")
        ran = call("doctor", "--json")
        state, text = findings(ran)["unreadable"]

        assert (3, "problem") == (ran.code, state)
        assert text.startswith("12 records cannot be read: ")
        assert 10 == text.count("'") / 2

    def test_records_are_counted_by_kind(self, file_storage: Storage) -> None:
        """Sessions, questions and waiting updates are told apart."""
        with Sessions(storage=file_storage).open(1) as session:
            session.n = 1
        file_storage.set("@questions-1:2", b'{"fields":{"n":1}}')
        inbox = Inbox(file_storage, 1)
        inbox.write([inbox.adding(inbox.make(1, "{}", "a")[0])])

        kinds = {"1 sessions", "1 questions", "1 waiting updates"}
        assert kinds == set(doctor()["records"][1].split(", "))

    def test_records_that_were_set_aside_are_noted(self, file_storage: Storage) -> None:
        """A record that the bot has set aside is a note, and not unreadable once more."""
        file_storage.set("@set-aside:1:42", b"{")
        ran = call("doctor", "--json")
        found = findings(ran)
        assert (0, "note", "ok") == (ran.code, found["set aside"][0], found["unreadable"][0])

    def test_a_clock_that_differs_is_noted(
        self, file_storage: Storage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A difference of seconds is a note, and no problem."""
        monkeypatch.setattr(SQLiteStorage, "now", lambda _: checks.time.time() + 60)
        ran = call("doctor", "--json")
        state, text = findings(ran)["clock"]

        assert (0, "note") == (ran.code, state)
        assert text.startswith(("59.", "60."))

    def test_a_storage_out_of_reach_is_a_problem(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Without a server the only finding is the error of the library."""
        monkeypatch.setenv("TELESESSION_STORAGE", "redis://127.0.0.1:1")
        ran = call("doctor", "--json")
        ((state, text),) = findings(ran).values()
        assert (3, "problem") == (ran.code, state)
        assert "the server cannot be reached" in text


class TestFiles:
    def test_a_new_file_is_fine(self, file_storage: Storage) -> None:
        """Every check of a file that a storage has made is fine."""
        assert {"ok"} == states(doctor())

    def test_a_file_for_all_users_is_a_problem(self, file_storage: Storage, tmp_path: Path) -> None:
        """A file that other users may read is named, with a remedy."""
        (tmp_path / "bot.db").chmod(0o644)
        state, text = doctor()["permissions"]
        assert "problem" == state
        assert text.startswith("other users of this machine may open bot.db")

    def test_a_long_log_is_a_problem(
        self, file_storage: Storage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A log beyond a limit is a problem."""
        monkeypatch.setattr(file_checks, "_LOG", 0)
        file_storage.set("42", b"{}")
        state, text = doctor()["log"]
        assert "problem" == state
        assert "end that program" in text

    def test_expired_records_are_counted(self, file_storage: SQLiteStorage) -> None:
        """Expired records that are still in the file are told, with the way to remove them."""
        file_storage.set("42", b"{}", 60)
        age = "UPDATE sessions SET expires = 1"
        file_storage.database.write("age", None, lambda cursor: cursor.execute(age))
        text = "1 expired record to remove; see `telesession purge`"
        assert ["ok", text] == doctor()["leftovers"]

    def test_files_of_several_owners_are_a_problem(self) -> None:
        """A log that belongs to another user than the database is a problem."""
        statuses = {name: status_of(uid) for name, uid in (("bot.db", 1), ("bot.db-wal", 2))}
        state, text = file_checks.permissions(statuses)[1:]
        assert checks.State.PROBLEM is state
        assert "different owners" in text

    def test_damage_is_a_problem(self, file_storage: SQLiteStorage, tmp_path: Path) -> None:
        """A file in which SQLite finds damage is a problem."""
        file_storage.set("42", b'{"fields":{"n":1}}')
        file_storage.close()
        with (tmp_path / "bot.db").open("r+b") as file:
            # The number of free pages, of which the file has none.
            file.seek(36)
            file.write((5).to_bytes(4, "big"))
        assert "problem" == doctor()["file"][0]


def status_of(uid: int) -> os.stat_result:
    """The status of a file of a user, which only its owner may open."""
    return os.stat_result((0o100600, 0, 0, 1, uid, 0, 0, 0, 0, 0))


class TestServers:
    @pytest.fixture
    def storage(self, server: Server, monkeypatch: pytest.MonkeyPatch) -> RedisStorage:
        """The storage of a server, which the environment names."""
        monkeypatch.setenv("TELESESSION_STORAGE", patient_url(server))
        return RedisStorage(patient_url(server))

    def test_a_server_tells_its_version(self, storage: RedisStorage) -> None:
        """The name and the number of the server are told."""
        state, text = doctor()["server"]
        assert ("ok", True) == (state, text.partition(" ")[0] in ("Valkey", "Redis"))

    def test_eviction_is_a_problem(self, storage: RedisStorage, server: Server) -> None:
        """A limit of memory with another policy than noeviction is a problem."""
        assert ["ok", "noeviction, no maxmemory"] == doctor()["eviction"]
        with server.configured(maxmemory="100mb", maxmemory_policy="allkeys-lru"):
            state, text = doctor()["eviction"]
        assert "problem" == state
        assert text.startswith("allkeys-lru, maxmemory ")

    def test_no_persistence_is_a_problem(self, storage: RedisStorage, server: Server) -> None:
        """A server that saves nothing is a problem, snapshots are a note, and a log is fine."""
        found = [doctor()["persistence"][0]]
        with server.configured(save="60 1000"):
            found.append(doctor()["persistence"][0])
        with server.configured(appendonly="yes"):
            found.append(doctor()["persistence"][0])
        assert ["problem", "note", "ok"] == found

    def test_leftover_locks_are_a_problem(self, storage: RedisStorage, server: Server) -> None:
        """A lock without an end is a problem, and keys in use are counted."""
        with storage.hold("42"), server.client() as client:
            assert ["ok", "keys beside the records: 1 lock"] == doctor()["leftovers"]
            client.set("{telesession:7}:lock", "token")
            state, text = doctor()["leftovers"]
        assert "problem" == state
        assert "2 lock; 1 of them never end" in text

    def test_a_server_may_keep_its_state_secret(
        self, storage: RedisStorage, server: Server, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A user without the right to ask gets notes, and the other checks."""
        with server.client() as client:
            rules = ["on", "nopass", "~*", "&*", "+@all"]
            client.execute_command("ACL", "SETUSER", "bot", *rules, "-info")
            client.execute_command("ACL", "SETUSER", "ops", *rules, "-config")
            url = patient_url(server).replace("redis://", "redis://{}:x@")
            found = []
            for user, name in (("bot", "server"), ("ops", "persistence")):
                monkeypatch.setenv("TELESESSION_STORAGE", url.format(user))
                found.append(doctor()[name][0])
            client.execute_command("ACL", "DELUSER", "bot", "ops")
        assert ["note", "note"] == found

    def test_each_node_of_a_cluster_is_checked(
        self, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Every node tells its version."""
        url = f"redis://127.0.0.1:{cluster.nodes[0].port}?cluster=yes"
        monkeypatch.setenv("TELESESSION_STORAGE", url)
        assert ["ok"] * 3 == doctor()["server"][::2]
