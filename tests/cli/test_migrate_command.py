"""The command `migrate --dry-run`: the records that a new program could not read."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import pytest

from support.command import call
from support.storages import SECRET, payloads
from telesession import Sessions, SQLiteStorage

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PROGRAM = """
from dataclasses import dataclass
from telesession import MemoryStorage, Sessions, SQLiteStorage

@dataclass
class Cart:
    count: int = 0

def rename(fields):
    fields["count"] = fields.pop("number")

storage = SQLiteStorage("bot.db")
sessions = Sessions(initial=Cart, storage=storage, version=2, migrations={2: rename})
plain = Sessions(storage=storage, version=3, migrations={3: lambda fields: {"lock": object()}})
in_memory = Sessions(storage=MemoryStorage())
number = 1
"""


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A program in the current folder, and the records of its former version."""
    monkeypatch.chdir(tmp_path)
    # The command adds the current folder, as `python -m` does.
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "shop_bot.py").write_text(PROGRAM)
    with SQLiteStorage(tmp_path / "bot.db") as storage:
        sessions = Sessions(storage=storage, version=1)
        for key, number in (("ada", 1), ("bob", SECRET)):
            with sessions.open(key) as session:
                session.number = number
        with sessions.open("eve") as session:
            session.other = 1
        storage.set("broken", b"{")
        storage.set("newer", b'{"fields":{"count":1},"version":9}')
        storage.set("@cart:1", b"{")
    yield "shop_bot:sessions"
    module = sys.modules.pop("shop_bot", None)
    if module is not None:
        module.storage.close()


def test_each_record_that_would_fail_is_told(app: str) -> None:
    """A migration that raises, a wrong type and a damaged record are reported by key."""
    ran = call("migrate", "--app", app, "--dry-run")
    keys = [line.partition(":")[0] for line in ran.out.splitlines() if ": " in line]

    assert (3, ["bob", "broken", "eve", "newer"]) == (ran.code, sorted(keys))
    assert "eve: migration 2 raised KeyError" in ran.out
    assert SECRET not in ran.out


def test_records_are_counted_by_version(app: str) -> None:
    """With --json each failure is a line, and the last one has the counts."""
    out = call("migrate", "--app", app, "--dry-run", "--json").out
    lines = list(map(json.loads, out.splitlines()))

    assert {"1": 3, "unreadable": 1, "9": 1} == lines[-1]["records"]
    assert {"1": 2, "unreadable": 1, "9": 1} == lines[-1]["failed"]
    assert {"key", "error", "reason"} == lines[0].keys()
    assert ["bob", "broken", "eve", "newer"] == sorted(line["key"] for line in lines[:-1])


def test_nothing_is_written(app: str, tmp_path: Path) -> None:
    """Every record is what it was before."""
    with SQLiteStorage(tmp_path / "bot.db") as storage:
        before = payloads(storage)
        call("migrate", "--app", app, "--dry-run")
        assert before == payloads(storage)


def test_a_value_that_could_not_be_saved_is_told(app: str) -> None:
    """A migration that makes a value without a form in JSON fails for each record."""
    ran = call("migrate", "--app", "shop_bot:plain", "--dry-run")
    assert 3 == ran.code
    assert "ada: lock: which" in ran.out


def test_another_storage_is_tried(app: str, tmp_path: Path) -> None:
    """With --storage the records of a backup are tried, and not those of the program."""
    with SQLiteStorage(tmp_path / "bot.db") as storage:
        storage.backup(tmp_path / "backup.db")
        for key in ("broken", "newer", "eve", "bob"):
            storage.delete(key)
    backup = f"sqlite:///{tmp_path}/backup.db"
    own, other = (
        call("migrate", "--app", app, "--dry-run", "--json", *more)
        for more in ((), ("--storage", backup))
    )

    assert {"1": 1} == json.loads(own.out)["records"]
    assert {"1": 3, "unreadable": 1, "9": 1} == json.loads(other.out.splitlines()[-1])["records"]
    assert (0, 3) == (own.code, other.code)


def test_another_storage_has_the_codec_of_the_program(
    app: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The codec of the environment is for the other commands."""
    with SQLiteStorage(tmp_path / "bot.db") as storage:
        storage.backup(tmp_path / "backup.db")
    monkeypatch.setenv("TELESESSION_CODEC", "pickle")
    monkeypatch.setenv("TELESESSION_STORAGE", f"sqlite:///{tmp_path}/lost.db")
    backup = f"sqlite:///{tmp_path}/backup.db"
    ran = call("migrate", "--app", app, "--dry-run", "--json", "--storage", backup)

    assert {"1": 3, "unreadable": 1, "9": 1} == json.loads(ran.out.splitlines()[-1])["records"]


def test_a_damaged_row_does_not_end_it(app: str, tmp_path: Path) -> None:
    """A record that the storage cannot read is reported, and the others are tried."""
    with SQLiteStorage(tmp_path / "bot.db") as storage:
        spoil = "UPDATE sessions SET expires = 'soon' WHERE key = 'ada'"
        storage.database.write("spoil", None, lambda cursor: cursor.execute(spoil))
    ran = call("migrate", "--app", app, "--dry-run", "--json")
    *failures, counts = map(json.loads, ran.out.splitlines())

    assert {"1": 2, "unreadable": 2, "9": 1} == counts["records"]
    assert ["ada", "bob", "broken", "eve", "newer"] == sorted(each["key"] for each in failures)


def test_lines_of_the_program_are_no_result(app: str, tmp_path: Path) -> None:
    """The lines that the module prints go to standard error."""
    with (tmp_path / "shop_bot.py").open("a") as file:
        file.write("print('the bot is ready')\n")
    ran = call("migrate", "--app", app, "--dry-run", "--json")

    assert all(map(json.loads, ran.out.splitlines()))
    assert "the bot is ready" in ran.err


def test_records_that_all_fit_are_fine(app: str, tmp_path: Path) -> None:
    """Without a failure the exit code is 0."""
    with SQLiteStorage(tmp_path / "bot.db") as storage:
        for key in ("bob", "broken", "eve", "newer"):
            storage.delete(key)
    ran = call("migrate", "--app", app, "--dry-run")
    assert (0, ["1", "1", "0"]) == (ran.code, ran.out.split()[-3:])


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["shop_bot:sessions"], 2, "add --dry-run"),
        (["shop_bot", "--dry-run"], 2, "such as bot:sessions"),
        (["shop_bot:number", "--dry-run"], 2, "shop_bot has no Sessions with the name number"),
        (["shop_bot:lost", "--dry-run"], 2, "shop_bot has no Sessions with the name lost"),
        (["lost_bot:sessions", "--dry-run"], 1, "could not import lost_bot: ModuleNotFoundError"),
        (["shop_bot:in_memory", "--dry-run"], 1, "are in memory"),
    ],
)
def test_other_programs_are_refused(
    app: str, arguments: list[str], code: int, message: str
) -> None:
    """A text that names no Sessions of a file or server is refused, without a traceback."""
    ran = call("migrate", "--app", *arguments)
    assert (code, "") == (ran.code, ran.out)
    assert message in ran.err
