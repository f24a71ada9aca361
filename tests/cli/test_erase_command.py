"""The command `erase`: all records of one person, and none of another one."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from support.command import call
from support.command_records import ADA, BOB, GROUP, fill
from support.updates import CASES
from telesession.bot.inbox import Inbox
from telesession.cli.person import Person

if TYPE_CHECKING:
    from telesession import SQLiteStorage, Storage


def test_the_records_of_a_user_are_deleted(storage: Storage) -> None:
    """Sessions, states, questions and waiting updates of ada go, and those of bob stay."""
    fill(storage)
    before = set(storage.keys())
    of_ada = {key for key in before if key.endswith(":42") or key in {"42", "@cart:42"}}
    of_ada.add(Inbox(storage, 1).key_of(ADA))
    ran = call("erase", "--user", ADA, "--yes")

    assert (0, "deleted 8 of 8 records\n") == (ran.code, ran.err)
    assert before - of_ada == set(storage.keys())


def test_a_group_keeps_the_records_of_its_members(storage: Storage) -> None:
    """The id of a group, which is an anonymous admin as well, has its own records only."""
    fill(storage)
    storage.set(f"sender_in_chat:{GROUP}:{GROUP}", b'{"fields":{"n":1}}')
    before = set(storage.keys())
    call("erase", "--user", GROUP, "--yes")

    assert {f"sender_in_chat:{GROUP}:{GROUP}"} == before - set(storage.keys())


def test_the_updates_of_a_private_chat_are_deleted(file_storage: Storage) -> None:
    """An update without a sender belongs to the person whose chat it is from."""
    inbox = Inbox(file_storage, 1)
    for number, chat in enumerate((ADA, BOB)):
        raw = json.dumps({"update_id": number, "message": {"chat": {"id": chat}}})
        stored, _ = inbox.make(number, raw, "owner")
        inbox.write([inbox.adding(stored)])
    call("erase", "--user", ADA, "--yes")

    assert [inbox.key_of(1)] == file_storage.listed(inbox.room)


@pytest.mark.parametrize("payload", [b"{", b'{"fields":{}}', b'{"fields":{"raw":"[]"}}'])
def test_unreadable_updates_are_counted(file_storage: Storage, payload: bytes) -> None:
    """An update that cannot be read is left alone, and the output says so."""
    key = Inbox(file_storage, 1).key_of(1)
    file_storage.set(key, payload)
    ran = call("erase", "--user", ADA, "--yes")

    assert (0, payload) == (ran.code, file_storage.get(key))
    assert ran.err.startswith("1 record cannot be assigned to a user")


def test_records_that_were_set_aside_are_deleted(file_storage: Storage) -> None:
    """A record that could not be read belongs to the person whose key it had."""
    for key in ("@set-aside:1:42", "@set-aside:2:@cart:42", "@set-aside:1:7"):
        file_storage.set(key, b"{")
    call("erase", "--user", ADA, "--yes")

    assert ["@set-aside:1:7"] == list(file_storage.keys())


def test_a_prefix_is_told(file_storage: Storage) -> None:
    """With --prefix the keys behind the prefix of a bot are found, and others are counted."""
    for key in ("shop:42", "shop:7", "order 42"):
        file_storage.set(key, b'{"fields":{"n":1}}')
    first = call("erase", "--user", ADA, "--yes")
    assert first.err.startswith("3 records cannot be assigned to a user")
    call("erase", "--user", ADA, "--prefix", "shop:", "--yes")

    assert ["order 42", "shop:7"] == list(file_storage.keys())


def test_every_prefix_is_tried(file_storage: Storage) -> None:
    """A prefix may begin like another one, and a bot may have sessions without any."""
    for key in ("42", "shop42", "shop:42", "shop:x"):
        file_storage.set(key, b'{"fields":{"n":1}}')
    prefixes = ("--prefix", "shop", "--prefix", "shop:")
    ran = call("erase", "--user", ADA, *prefixes, "--yes")

    assert ["shop:x"] == list(file_storage.keys())
    assert "1 record cannot be assigned to a user" in ran.err


def test_the_sender_of_every_kind_of_update_is_found(file_storage: SQLiteStorage) -> None:
    """A waiting update belongs to the person whose session `by_sender` chooses for it."""
    inbox = Inbox(file_storage, 1)
    by_sender: dict[str | None, set[str]] = {}
    for number, case in enumerate(CASES):
        stored, _ = inbox.make(number, json.dumps(case.update), "owner")
        inbox.write([inbox.adding(stored)])
        by_sender.setdefault(case.sender, set()).add(inbox.key_of(number))
    senders = {sender: keys for sender, keys in by_sender.items() if sender is not None}
    missed = {
        sender: keys - set(Person(int(sender)).keys(file_storage))
        for sender, keys in senders.items()
    }

    assert set() == set().union(*missed.values())
    assert len(senders) > 5


def test_a_user_without_records_is_no_error(file_storage: Storage) -> None:
    """There is nothing to agree to, and the output says so."""
    ran = call("erase", "--user", ADA)
    assert (0, "there is no record of user 42\n") == (ran.code, ran.err)


def test_a_prompt_is_needed(file_storage: Storage) -> None:
    """Without --yes and without a terminal nothing is deleted."""
    fill(file_storage)
    before = list(file_storage.keys())
    ran = call("erase", "--user", ADA)

    assert (2, before) == (ran.code, list(file_storage.keys()))
    assert "Delete 8 records of user 42?" in ran.err
