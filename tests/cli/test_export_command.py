"""The commands `export` and `import`: records as lines of JSON."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from support.command import Ran, call
from support.command_records import ADA, FEW, MANY, fill, measured, store_many
from telesession import Sessions, SQLiteStorage, Storage, ttl
from telesession.bot.inbox import Inbox

if TYPE_CHECKING:
    from pathlib import Path

FIELDS = {"count": 1, "when": datetime(2026, 1, 1, tzinfo=UTC), "name": "\N{SNOWMAN}"}


def lines(ran: Ran) -> dict[str, Any]:
    """The lines of an export by their keys."""
    return {line["key"]: line for line in map(json.loads, ran.out.splitlines())}


@pytest.fixture
def filled(storage: Storage) -> Storage:
    """A storage with a session that expires, and has a field that does."""
    with Sessions(storage=storage, lifetime=3600).open(42) as session:
        session.update(FIELDS)
        session.code = ttl("1234", 300)
    return storage


def test_a_record_is_a_line(filled: Storage) -> None:
    """A line has the key, the record, and both deadlines in seconds since the epoch."""
    now = filled.now()
    line = lines(call("export"))["42"]
    lifetime, deadline = line["record"]["ttl"]["code"]

    assert {"key", "expires", "record"} == line.keys()
    assert {"$datetime": "2026-01-01T00:00:00+00:00"} == line["record"]["fields"]["when"]
    assert now + 3590 < line["expires"] <= filled.now() + 3600
    assert 300.0 == lifetime
    assert now + 290 < deadline <= filled.now() + 300


def test_one_key_can_be_exported(filled: Storage) -> None:
    """With --key there is one line, and an exit code says that there is no such record."""
    filled.set("7", b'{"fields":{"n":1}}')
    assert ["7"] == list(lines(call("export", "--key", "7")))
    missing = call("export", "--key", "8")
    assert (4, "") == (missing.code, missing.out)


def test_the_data_of_a_user_can_be_exported(storage: Storage) -> None:
    """With --user all records of a person are lines, waiting updates among them."""
    fill(storage)
    found = lines(call("export", "--user", ADA))

    assert 8 == len(found)
    assert Inbox(storage, 1).key_of(ADA) in found
    assert all(key.endswith("42") for key in found)


def test_the_inbox_is_left_out(storage: Storage) -> None:
    """The updates of an inbox and its bookkeeping are no lines of an export of all records."""
    fill(storage)
    found = lines(call("export"))
    assert {key for key in storage.keys("") if not key.startswith("@inbox")} == set(found)


def test_unreadable_records_are_told(file_storage: Storage) -> None:
    """A record that cannot be read is no line, the others are, and an exit code says so."""
    file_storage.set("broken", b"{")
    file_storage.set("42", b'{"fields":{"n":1}}')
    ran = call("export")

    assert (3, ["42"]) == (ran.code, list(lines(ran)))
    assert "'broken'" in ran.err


def test_a_record_that_was_edited_by_hand_is_one_line(file_storage: Storage) -> None:
    """Ends of lines and other spaces in a stored record are none in the output."""
    file_storage.set("42", b'{\n "fields": {"n": 1}\n}')
    file_storage.set("7", b'{"fields": {"n": "\\n"} }')
    ran = call("export")

    assert 2 == len(ran.out.splitlines())
    assert {"n": "\n"} == lines(ran)["7"]["record"]["fields"]
    assert {"n": 1} == lines(ran)["42"]["record"]["fields"]


def test_key_and_user_exclude_each_other(file_storage: Storage) -> None:
    """An export of a key and of a user is a mistake of the call."""
    assert 2 == call("export", "--key", "42", "--user", "42").code


def test_an_export_needs_little_memory(file_storage: Any, tmp_path: Path) -> None:
    """An export of a hundred thousand records keeps a page of them at a time."""
    store_many(file_storage)
    with (tmp_path / "lines").open("w", encoding="utf-8") as file:
        ran, peak = measured(lambda: call("export", output=file))
    with (tmp_path / "lines").open(encoding="utf-8") as file:
        assert (0, MANY) == (ran.code, sum(1 for _ in file))
    assert peak < FEW


class TestImport:
    def test_records_come_back(self, filled: Storage, tmp_path: Path) -> None:
        """An export can be imported into a new file, with fields and lifetimes."""
        file = written(tmp_path, call("export").out)
        other = f"sqlite:///{tmp_path}/other.db"
        ran = call("import", file, "--storage", other)
        with SQLiteStorage(tmp_path / "other.db") as storage:
            session = Sessions(storage=storage).peek(42)
            first, second = filled.get_record("42"), storage.get_record("42")

        assert (0, ["copied", "1"]) == (ran.code, ran.out.split())
        assert {**FIELDS, "code": "1234"} == session
        assert first is not None
        assert second is not None
        assert abs(float(first.left or 0) - float(second.left or 0)) < 1

    def test_the_same_record_twice_is_no_error(self, filled: Storage, tmp_path: Path) -> None:
        """An import that is repeated changes nothing."""
        ran = call("import", written(tmp_path, call("export").out))
        assert (0, ["same", "1"]) == (ran.code, ran.out.split())

    def test_a_server_with_another_clock_gets_its_own_deadlines(
        self, file_storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The deadlines of a file are on the clock of its storage, so they come back exactly."""
        monkeypatch.setattr(SQLiteStorage, "now", lambda _: time.time() + 100)
        with Sessions(storage=file_storage, lifetime=3600).open(42) as session:
            session.code = ttl("1234", 300)
        file, before = written(tmp_path, call("export").out), file_storage.get("42")
        again = call("import", file)
        file_storage.delete("42")
        first = call("import", file)
        record = file_storage.get_record("42")

        assert (["same", "1"], ["copied", "1"]) == (again.out.split(), first.out.split())
        assert record is not None
        assert 3590 < float(record.left or 0) <= 3600
        assert before is not None
        ttls = [json.loads(payload)["ttl"]["code"][1] for payload in (before, record.payload)]
        assert abs(ttls[0] - ttls[1]) < 1

    def test_another_record_is_kept(self, filled: Storage, tmp_path: Path) -> None:
        """Without --overwrite another record stays, and its key is told."""
        file = written(tmp_path, call("export").out)
        call("set", "42", "count", "2")
        kept = call("import", file)
        assert (3, ["kept", "1", "kept:", "42"]) == (kept.code, kept.out.split())
        assert 2 == call("import", file, "--overwrite").code
        assert 0 == call("import", file, "--overwrite", "--yes").code

        session = Sessions(storage=filled).peek(42)
        assert session is not None
        assert 1 == session.count

    def test_a_dry_run_makes_no_file(self, tmp_path: Path) -> None:
        """A file that does not exist counts as empty."""
        line = '{"key": "42", "expires": null, "record": {"fields": {"n": 1}}}\n'
        new = f"sqlite:///{tmp_path}/new.db"
        ran = call("import", written(tmp_path, line), "--dry-run", "--json", "--storage", new)
        assert (0, 1) == (ran.code, json.loads(ran.out)["copied"])
        assert ["export.jsonl"] == [file.name for file in tmp_path.iterdir()]

    def test_a_dry_run_writes_nothing(self, storage: Storage, tmp_path: Path) -> None:
        """With --dry-run the result is told, and nothing is stored."""
        line = '{"key": "42", "expires": null, "record": {"fields": {"n": 1}}}\n'
        ran = call("import", written(tmp_path, line), "--dry-run", "--json")
        assert (0, 1, []) == (ran.code, json.loads(ran.out)["copied"], list(storage.keys()))

    def test_expired_records_are_left_out(self, file_storage: Storage, tmp_path: Path) -> None:
        """A record whose end has passed since the export is not stored."""
        line = f'{{"key": "42", "expires": {time.time() - 1}, "record": {{"fields": {{"n": 1}}}}}}'
        assert 0 == call("import", written(tmp_path, line)).code
        assert [] == list(file_storage.keys())

    def test_a_file_without_records_is_told(self, file_storage: Storage, tmp_path: Path) -> None:
        """No silence: an empty file may be an export that failed."""
        (tmp_path / "empty.jsonl").touch()
        ran = call("import", tmp_path / "empty.jsonl")
        assert (0, "", "there was no record to store\n") == ran

    def test_an_inbox_is_left_out(self, file_storage: Storage, tmp_path: Path) -> None:
        """The updates in the export of a user are not stored, because two bots would have them."""
        fill(file_storage)
        file = written(tmp_path, call("export", "--user", ADA).out)
        ran = call("import", file, "--storage", f"sqlite:///{tmp_path}/other.db")

        assert (0, ["copied", "7"]) == (ran.code, ran.out.split())
        assert "left out 1 record of an inbox" in ran.err

    @pytest.mark.parametrize(
        "line",
        [
            "tea",
            "[]",
            '{"key": "42"}',
            '{"key": 42, "expires": null, "record": {"fields": {}}}',
            '{"key": "42", "expires": "soon", "record": {"fields": {}}}',
            '{"key": "42", "expires": null, "record": {"fields": {"n": {"$tea": 1}}}}',
            '{"key": "42", "expires": null, "record": {"fields": {"n": 1}, "ttl": 5}}',
            "[" * 100_000,
            "\udc80",
        ],
    )
    def test_other_lines_are_refused(
        self, file_storage: Storage, tmp_path: Path, line: str
    ) -> None:
        """A line that is none of an export is told by its number, and not shown."""
        ran = call("import", written(tmp_path, line))
        assert (1, "") == (ran.code, ran.out)
        assert "could not import line 1" in ran.err


def written(folder: Path, text: str) -> Path:
    """A file with a text."""
    file = folder / "export.jsonl"
    file.write_bytes(text.encode("utf-8", "surrogateescape"))
    return file
