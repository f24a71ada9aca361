"""The commands that show records: keys, fields and changes."""

from __future__ import annotations

import json
import time
import types
from typing import TYPE_CHECKING

import pytest

from support.command import call, finish, start
from support.storages import SECRET
from telesession import PickleCodec, Sessions, Storage, ttl

if TYPE_CHECKING:
    import subprocess


def fill(storage: Storage) -> None:
    with Sessions(storage=storage, lifetime=3600).open(42) as session:
        session.count = 1
        session.code = ttl(SECRET, 300)
        session.sizes = {"tea": (1, 2)}
    with Sessions(storage=storage, name="cart").open("@ada\x1b[31m") as session:
        session.items = [SECRET]


def test_keys_are_listed_with_their_rooms(storage: Storage) -> None:
    """Each key is a line, as the storage has it, and control characters are escapes."""
    fill(storage)
    ran = call("keys")

    assert (0, {"42", r"@cart:@ada\x1b[31m"}) == (ran.code, set(ran.out.splitlines()))


def test_keys_can_be_read_by_programs(storage: Storage) -> None:
    """With --json a line is the key itself, and PREFIX chooses a room."""
    fill(storage)
    lines = call("keys", "@cart:", "--json").out.splitlines()

    assert ["@cart:@ada\x1b[31m"] == list(map(json.loads, lines))


def test_fields_are_shown_without_values(storage: Storage) -> None:
    """A record shows names, types and times, and nothing that a user has written."""
    fill(storage)
    ran = call("show", "42")

    assert 0 == ran.code
    assert ["count", "code", "sizes"] == [line.split()[0] for line in ran.out.splitlines()[-3:]]
    assert "59 min" in ran.out
    assert "4 min" in ran.out
    assert (False, False) == (SECRET in ran.out, "tea" in ran.out)


def test_values_are_shown_if_asked_for(storage: Storage) -> None:
    """With --values a field has its JSON, with the tags of a record."""
    fill(storage)
    out = call("show", "42", "--values").out

    assert SECRET in out
    assert '{"tea": {"$tuple": [1, 2]}}' in out


def test_a_record_can_be_read_by_programs(storage: Storage) -> None:
    """With --json a record is one object, whose fields have values only if asked for."""
    fill(storage)
    plain, full = (
        json.loads(call("show", "42", "--json", *more).out) for more in ([], ["--values"])
    )

    assert {"type": "int", "left": None} == plain["fields"]["count"]
    assert {"type": "int", "left": None, "value": 1} == full["fields"]["count"]
    assert 0 < plain["fields"]["code"]["left"] <= 300
    assert 0 < plain["left"] <= 3600
    assert (0, None) == (plain["version"], plain["class"])


def test_expired_fields_are_not_shown(file_storage: Storage) -> None:
    """A field is gone at its deadline, as for a handler."""
    record = {"fields": {"count": 1, "code": "1234"}, "ttl": {"code": [60.0, 1.0]}}
    file_storage.set("42", file_storage.codec.encode(record, "42"))

    assert ["count"] == list(json.loads(call("show", "42", "--json").out)["fields"])


def test_a_version_and_a_class_are_shown(file_storage: Storage) -> None:
    """A record of a union shows the name of its class, and its version."""
    record = {"fields": {"count": 1}, "version": 3, "class": "Cart"}
    file_storage.set("42", file_storage.codec.encode(record, "42"))
    lines = call("show", "42").out.splitlines()

    assert ["version    3", "class      Cart"] == lines[1:3]


def test_a_missing_record_has_an_exit_code(storage: Storage) -> None:
    """A key without a record is no success, and nothing is printed as a result."""
    ran = call("show", "7")

    assert (4, "") == (ran.code, ran.out)
    assert "there is no record of session '7'" in ran.err


def test_a_value_without_json_is_refused(
    file_storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A value that only pickle can store has a type to show, and no value."""
    monkeypatch.setenv("TELESESSION_CODEC", "pickle")
    file_storage.set("42", PickleCodec().encode({"fields": {"size": Sessions}}, "42"))
    refused = call("show", "42", "--values")

    assert "type" in call("show", "42").out
    assert (1, "") == (refused.code, refused.out.partition("field")[1])


class TestWatch:
    @pytest.mark.parametrize("options", [[], ["--json", "--values"]], ids=["text", "json"])
    def test_each_look_shows_what_has_changed(
        self, storage: Storage, monkeypatch: pytest.MonkeyPatch, options: list[str]
    ) -> None:
        """A look without a change prints nothing, and a record that comes back is told."""
        sessions = Sessions(storage=storage)

        def save(**fields: object) -> None:
            with sessions.open(42) as session:
                session.clear()
                session.update(fields)

        steps = iter(
            [
                lambda: None,
                lambda: save(count=1),
                lambda: None,
                lambda: save(name="ada"),
                lambda: sessions.delete(42),
                lambda: storage.set("42", b'{"fields":{}}'),
            ]
        )

        def pause(seconds: float) -> None:
            step = next(steps, None)
            if step is None:
                raise KeyboardInterrupt
            step()

        clock = types.SimpleNamespace(sleep=pause, time=time.time)
        monkeypatch.setattr("telesession.cli.watch.time", clock)
        ran = call("watch", "42", *options)
        lines = ran.out.splitlines()

        assert (0, "watching '42'; Ctrl-C ends it\n") == (ran.code, ran.err)
        if options:
            changes = [json.loads(line) for line in lines]
            added = {"change": "added", "type": "str", "left": None, "value": "ada"}
            assert [True, True, False, True] == [change["stored"] for change in changes]
            assert {"name": added, "count": {"change": "removed"}} == changes[1]["fields"]
        else:
            told = ["added count (int)", "added name (str), removed count", "deleted", "stored"]
            assert told == [line.partition(" ")[2] for line in lines]

    def test_changes_are_printed_as_they_are_saved(self, storage: Storage) -> None:
        """Each save is a line with the changed fields, and none of their values."""
        sessions = Sessions(storage=storage)
        with start("watch", "42") as process:
            assert "watching '42'; Ctrl-C ends it\n" == next_line(process, "err")
            with sessions.open(42) as session:
                session.update(count=1, name=SECRET)
            first = next_line(process)
            with sessions.open(42) as session:
                session.count = 2
                del session.name
            second = next_line(process)
            sessions.delete(42)
            third = next_line(process)
            process.send_signal(2)
            ended = finish(process)

        assert "added count (int), added name (str)\n" == first.partition(" ")[2]
        assert "changed count (int), removed name\n" == second.partition(" ")[2]
        assert "deleted\n" == third.partition(" ")[2]
        assert (0, "") == (ended.code, ended.err)

    def test_changes_can_be_read_by_programs(self, file_storage: Storage) -> None:
        """With --json a change is an object, with values if asked for."""
        with Sessions(storage=file_storage).open(42) as session:
            session.count = 1
        with start("watch", "42", "--json", "--values") as process:
            change = json.loads(next_line(process))
            process.send_signal(2)
            finish(process)

        assert {"count": {"change": "added", "type": "int", "left": None, "value": 1}} == change[
            "fields"
        ]


def next_line(process: subprocess.Popen[str], output: str = "out") -> str:
    """The next line of a running command."""
    stream = process.stderr if output == "err" else process.stdout
    return stream.readline()
