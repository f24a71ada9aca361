"""The commands that change records: fields, whole records, and their locks."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from support.clocks import PATIENCE
from support.command import call
from support.storages import WithoutLocks
from telesession import Sessions, SQLiteStorage, Storage, ttl, ttl_left
from telesession.keys import room_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from telesession.storage.sqlite_hold import SQLiteHold


def fields(storage: Storage, key: object = 42) -> dict[str, object] | None:
    session = Sessions(storage=storage).peek(str(key))
    return None if session is None else dict(session)


@pytest.fixture
def filled(storage: Storage) -> Storage:
    """A storage with a session."""
    with Sessions(storage=storage, lifetime=3600).open(42) as session:
        session.count = 1
        session.code = ttl("1234", 300)
    return storage


class TestSet:
    @pytest.mark.parametrize(
        ("json", "value"),
        [
            ("2", 2),
            ('"tea"', "tea"),
            ("null", None),
            ('{"$tuple": [1, 2]}', (1, 2)),
            ('{"a": [true, 1.5]}', {"a": [True, 1.5]}),
            ("123456789012345678901234567890", 123456789012345678901234567890),
        ],
    )
    def test_a_field_gets_a_value(self, file_storage: Storage, json: str, value: object) -> None:
        """The value is that of the JSON, with the tags of a record."""
        with Sessions(storage=file_storage).open(42) as session:
            session.count = 1
        assert 0 == call("set", "42", "count", json).code
        assert {"count": value} == fields(file_storage)

    def test_the_record_keeps_its_lifetime(self, filled: Storage) -> None:
        """A change by hand is no use of the session, so its time goes on."""
        call("set", "42", "count", "2")
        record = filled.get_record("42")

        assert record is not None
        assert isinstance(record.left, float)
        assert 3500 < record.left <= 3600

    def test_a_field_with_a_lifetime_keeps_it(self, file_storage: Storage) -> None:
        """A field that expires gets its whole lifetime again, as by a handler."""
        record = {"fields": {"code": "1"}, "ttl": {"code": [300.0, file_storage.now() + 10]}}
        file_storage.set("42", file_storage.codec.encode(record, "42"))
        call("set", "42", "code", '"2"')
        session = Sessions(storage=file_storage).peek(42)

        assert session is not None
        assert "2" == session.code
        assert 290 < ttl_left(session, "code") <= 300

    def test_a_new_field_is_added(self, filled: Storage) -> None:
        """A field that the record does not have is stored beside the others."""
        call("set", "42", "name", '"ada"')
        assert {"count": 1, "code": "1234", "name": "ada"} == fields(filled)

    @pytest.mark.parametrize("json", ["tea", '{"a"', '{"$tea": 1}', "NaN", '1}, "x": {', ""])
    def test_other_text_is_refused(self, file_storage: Storage, json: str) -> None:
        """A text that is no JSON is a mistake of the call, and is not shown."""
        with Sessions(storage=file_storage).open(42) as session:
            session.count = 1
        ran = call("set", "42", "count", json)

        assert (2, "") == (ran.code, ran.out)
        assert {"count": 1} == fields(file_storage)

    def test_a_session_is_not_made(self, storage: Storage) -> None:
        """A key without a record is refused, because its bot makes sessions."""
        assert 4 == call("set", "42", "count", "2").code
        assert None is fields(storage)

    def test_an_unreadable_record_is_left_alone(self, file_storage: Storage) -> None:
        """A record that the codec cannot read is an error, and stays."""
        file_storage.set("42", b"{")
        assert 1 == call("set", "42", "count", "2").code
        assert b"{" == file_storage.get("42")

    def test_a_waiting_update_is_refused(self, file_storage: Storage) -> None:
        """A record that processes write without a lock cannot be changed."""
        key = f"{room_of('inbox-1')}0000000000000001"
        file_storage.set(key, b'{"fields":{"raw":"{}","owner":"a"}}')
        ran = call("set", key, "owner", '"b"')

        assert 1 == ran.code
        assert "stop the bot" in ran.err


class TestUnset:
    def test_a_field_is_removed(self, filled: Storage) -> None:
        """The other fields and their deadlines stay."""
        assert 0 == call("unset", "42", "count").code
        assert {"code": "1234"} == fields(filled)

    def test_a_lifetime_goes_with_its_field(self, filled: Storage) -> None:
        """A field that is set again later has no lifetime."""
        call("unset", "42", "code")
        payload = filled.get("42")

        assert payload is not None
        assert {"fields": {"count": 1}} == filled.codec.decode(payload, "42")

    def test_an_empty_record_is_deleted(self, filled: Storage) -> None:
        """A session without fields is none, as after a handler."""
        call("unset", "42", "code")
        call("unset", "42", "count")
        assert [] == list(filled.keys())

    def test_a_missing_field_has_an_exit_code(self, filled: Storage) -> None:
        """A field that is not there is no success."""
        ran = call("unset", "42", "name")
        assert (4, {"count": 1, "code": "1234"}) == (ran.code, fields(filled))


class TestDelete:
    def test_records_are_deleted(self, filled: Storage) -> None:
        """Each key is deleted, and no other one."""
        with Sessions(storage=filled).open(7) as session:
            session.count = 7
        ran = call("delete", "42", "--yes")

        assert (0, "deleted 1 of 1 record\n", ["7"]) == (ran.code, ran.err, list(filled.keys()))

    def test_a_missing_record_has_an_exit_code(self, filled: Storage) -> None:
        """If one of the keys has no record, the others are deleted all the same."""
        ran = call("delete", "7", "42", "--yes")
        assert (4, "deleted 1 of 2 records\n") == (ran.code, ran.err)
        assert [] == list(filled.keys())

    def test_a_damaged_record_can_be_deleted(self, file_storage: Storage) -> None:
        """A record that no codec can read can be deleted."""
        file_storage.set("42", b"{")
        assert 0 == call("delete", "42", "--yes").code

    def test_without_a_terminal_it_asks_for_an_option(self, filled: Storage) -> None:
        """A program that cannot be asked must agree by --yes."""
        ran = call("delete", "42")

        assert (2, ["42"]) == (ran.code, list(filled.keys()))
        assert "add --yes" in ran.err


class TestLocks:
    """A change by hand and a handler do not undo each other."""

    def test_a_change_waits_for_a_handler(
        self, file_storage: Storage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A field that is set while a handler runs is stored with the change of the handler."""
        asked = threading.Event()

        class Locked(SQLiteStorage):
            def hold(self, key: str, timeout: float | None = None) -> SQLiteHold:
                asked.set()
                return super().hold(key, timeout)

        monkeypatch.setattr("telesession.cli.address.SQLiteStorage", Locked)
        changed = change_beside_a_handler(file_storage, lambda _: asked.wait(PATIENCE))
        assert {"count": 2, "name": "ada"} == changed

    def test_without_a_lock_a_change_is_lost(
        self, file_storage: Storage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Control: the change of a command that takes no lock is overwritten by the handler."""

        class Unlocked(WithoutLocks, SQLiteStorage):
            pass

        monkeypatch.setattr("telesession.cli.address.SQLiteStorage", Unlocked)
        changed = change_beside_a_handler(file_storage, lambda command: command.join(PATIENCE))
        assert {"count": 2} == changed

    def test_a_busy_record_is_an_error_in_the_end(self, file_storage: Storage) -> None:
        """With --wait the command gives up, and nothing is written."""
        with Sessions(storage=file_storage).open(42) as session:
            session.count = 1
        with file_storage.hold("42"):
            ran = call("set", "42", "count", "5", "--wait", "0")
        assert (1, {"count": 1}) == (ran.code, fields(file_storage))
        assert ran.err.startswith("telesession: could not lock session '42' within 0 s: ")
        assert ran.err.endswith(" s; try again, or wait longer with --wait\n")


def change_beside_a_handler(
    storage: Storage, wait: Callable[[threading.Thread], object]
) -> dict[str, object] | None:
    """
    Set a field by the command while a handler changes another one, and give the fields.

    Args:
        storage: The storage.
        wait: Waits in the handler, and gets the thread of the command.
    """
    command = threading.Thread(target=call, args=("set", "42", "name", '"ada"'))
    sessions = Sessions(initial=lambda: {"count": 1}, storage=storage)
    with sessions.open(42):
        pass
    with sessions.open(42) as session:
        command.start()
        wait(command)
        session.count = 2
    command.join(PATIENCE)
    assert not command.is_alive()
    return fields(storage)
