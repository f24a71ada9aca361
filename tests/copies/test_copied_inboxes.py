"""Copies of an inbox: the updates that wait, and the numbers of those that were handled."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from support.clocks import DAY
from support.copies import CODECS, NEW, OLD, InTheMiddle, Make, lefts
from support.inboxes import (
    BOT_ID,
    DEAD,
    Life,
    add_notes,
    effects,
    leave,
    records,
    send,
    text_update,
)
from support.storages import payloads
from telesession import EncryptedCodec, JSONCodec, MemoryStorage, Storage, copy_sessions
from telesession.bot.inbox import Inbox, place_in_inbox
from telesession.bot.owners import Owner
from telesession.copies import CopyResult

if TYPE_CHECKING:
    from collections.abc import Iterator

    from freezegun.api import FrozenDateTimeFactory

    from telesession.testing import BotAPI

KINDS = ["memory", "sqlite", "redis", "cluster", "postgres"]
with_each_kind = pytest.mark.parametrize("kind", KINDS)


@pytest.fixture
def lives() -> Iterator[list[Life]]:
    """The bots of a test, whose workers end with it."""
    lives: list[Life] = []
    yield lives
    for life in lives:
        life.close()


def storages(kind: str, make: Make) -> tuple[Storage, Storage]:
    return make(kind, CODECS["json"], "source"), make(kind, CODECS["encrypted"], "target")


def own(storage: Storage, *updates: dict[str, Any]) -> Owner:
    """A living process, and updates that it handles."""
    owner = Owner(Inbox(storage, BOT_ID))
    owner.begin()
    leave(storage, *updates, owner=owner.name)
    return owner


@with_each_kind
def test_updates_of_dead_processes_are_copied(
    kind: str, make: Make, lives: list[Life], bot_api: BotAPI
) -> None:
    """A bot on the target handles the updates that a killed process has left in the source."""
    source, target = storages(kind, make)
    leave(source, *[text_update(str(number), update_id=number) for number in (1, 2, 3)])
    done = copy_sessions(source, target)
    left = records(source)
    life = Life(target)
    lives.append(life)
    add_notes(life, target)
    life.run()

    assert (CopyResult(copied=3), 3) == (done, len(left))
    assert (["1", "2", "3"], []) == (effects(target), records(target))


@with_each_kind
def test_updates_of_a_living_process_are_counted(kind: str, make: Make) -> None:
    """An update that a living process handles is not copied, because both bots would handle it."""
    source, target = storages(kind, make)
    owner = own(source, text_update("a"), text_update("b"))
    leave(source, text_update("c"))
    first, waiting = copy_sessions(source, target), len(records(target))
    owner.end()
    second = copy_sessions(source, target)

    assert (CopyResult(copied=1, waiting=2), 1) == (first, waiting)
    # The note that the process was stopped is copied, too.
    assert CopyResult(copied=3, same=1) == second
    assert 3 == len(records(target))


def test_an_update_whose_owner_lives_is_found_in_a_dry_run() -> None:
    """A dry run counts the same updates, and writes none."""
    source, target = MemoryStorage(), MemoryStorage()
    owner = own(source, text_update("a"))
    leave(source, text_update("c"))
    done = copy_sessions(source, target, dry_run=True)
    owner.end()

    assert (CopyResult(copied=1, waiting=1), []) == (done, list(target.keys()))


def test_no_process_takes_an_update_over_while_it_is_copied() -> None:
    """The owner of an update looks alive to other processes until the copy is written."""
    source = MemoryStorage()
    leave(source, text_update("a"))
    other, seen = Owner(Inbox(source, BOT_ID)), list[bool]()
    target = MemoryStorage(codec=InTheMiddle(lambda: seen.append(other.lives(DEAD)), NEW))

    assert CopyResult(copied=1) == copy_sessions(source, target)
    assert ([True], False) == (seen, other.lives(DEAD))


def test_an_update_that_is_taken_over_before_is_not_copied() -> None:
    """An update that another process takes over at the last moment belongs to that process."""

    class Stolen(MemoryStorage):
        """A storage in which a process takes an update over when its owner is locked."""

        def hold(self, key: str, timeout: float | None = None) -> Any:
            if key.endswith(DEAD) and not thieves:
                thief = Owner(inbox)
                thieves.append(thief)
                thief.begin()
                stored = inbox.load(keys[0], self.get(keys[0]) or b"")
                stored.owner = thief.name
                inbox.write([inbox.changing(stored)])
            return super().hold(key, timeout)

    source, target = Stolen(), MemoryStorage()
    thieves: list[Owner] = []
    inbox = Inbox(source, BOT_ID)
    leave(source, text_update("a"))
    keys = list(source.keys())

    assert CopyResult(waiting=1) == copy_sessions(source, target)
    assert [] == records(target)


@with_each_kind
def test_numbers_of_webhooks_are_joined(kind: str, make: Make) -> None:
    """A number that one of the two storages has added is not new in the target."""
    source, target = storages(kind, make)
    pages = Inbox(source, BOT_ID).pages
    room = Inbox(source, BOT_ID).room

    def add(storage: Storage, *numbers: int) -> list[int]:
        payload = JSONCodec().encode({"fields": {}}, "")
        added = storage.add_once(room, dict.fromkeys(numbers, payload), pages=pages, memory=DAY)
        for key in list(storage.keys(room)):
            storage.delete(key)
        return added

    add(source, 1, 9, 4000)
    add(target, 2, 17)
    done, again = copy_sessions(source, target), copy_sessions(source, target)

    assert (CopyResult(replaced=1), CopyResult(same=1)) == (done, again)
    assert [3] == add(target, 1, 2, 3, 9, 17, 4000)


def test_numbers_are_remembered_as_long_as_before(clock: FrozenDateTimeFactory) -> None:
    """A page of numbers keeps the rest of its lifetime."""
    source, target = MemoryStorage(), MemoryStorage()
    inbox = Inbox(source, BOT_ID)
    source.add_once(inbox.room, {1: b""}, pages=inbox.pages, memory=DAY)
    clock.tick(60)
    copy_sessions(source, target, prefix=inbox.pages)

    assert {f"{inbox.pages}0": (DAY - 60) * 1000} == lefts(target)


@with_each_kind
def test_updates_of_a_poll_are_not_handled_again(
    kind: str, make: Make, lives: list[Life], bot_api: BotAPI
) -> None:
    """A bot on the target does not handle an update again that Telegram delivers again."""
    source, target = storages(kind, make)
    old = Life(source)
    lives.append(old)
    add_notes(old, source)
    send(bot_api, "tea")
    old.run()
    old.die()
    copy_sessions(source, target)
    new = Life(target)
    lives.append(new)
    add_notes(new, target)
    send(bot_api, "milk")
    new.poll(offset=0)
    new.wait()

    assert ["tea", "milk"] == effects(target)


@pytest.mark.parametrize("kind", KINDS)
def test_an_inbox_gets_another_key_in_place(kind: str, make: Make) -> None:
    """In place, updates of dead processes get the first key; those of a living one keep the old."""
    storage = make(kind, EncryptedCodec(JSONCodec(), [OLD]), "bot")
    owner = own(storage, text_update("a"))
    leave(storage, text_update("b"), text_update("c"))
    storage.codec = EncryptedCodec(JSONCodec(), [NEW, OLD])
    dry = copy_sessions(storage, storage, dry_run=True)
    done = copy_sessions(storage, storage)
    owner.end()
    again = copy_sessions(storage, storage)
    storage.codec = EncryptedCodec(JSONCodec(), [NEW])

    assert CopyResult(replaced=2, waiting=1, old_keys=3) == dry
    assert CopyResult(replaced=2, waiting=1, old_keys=1) == done
    assert CopyResult(replaced=1, same=3) == again
    assert 3 == len(records(storage))


def test_a_record_that_was_set_aside_is_copied_or_reported() -> None:
    """An update that was set aside is copied, and one that no codec reads is in the result."""
    source, target = MemoryStorage(codec=JSONCodec()), MemoryStorage(codec=JSONCodec())
    inbox = Inbox(source, BOT_ID)
    leave(source, text_update("a", update_id=1))
    source.set(inbox.key_of(2), b"damaged")
    for key, payload in payloads(source).items():
        assert payload is not None
        inbox.write(inbox.setting_aside(key, payload))
    done = copy_sessions(source, target)

    aside = f"@inbox-{BOT_ID}-aside:{2:016d}"
    assert CopyResult(copied=1, unreadable=1, unreadable_keys=(aside,)) == done


def test_an_update_that_nothing_reads_is_reported() -> None:
    """A damaged update is in the result, and the rest goes on."""
    source, target = MemoryStorage(), MemoryStorage()
    leave(source, text_update("a"))
    key = Inbox(source, BOT_ID).key_of(2)
    source.set(key, b"damaged")

    expected = CopyResult(copied=1, unreadable=1, unreadable_keys=(key,))
    assert expected == copy_sessions(source, target)


@pytest.mark.parametrize(
    ("key", "place"),
    [
        ("@inbox-1:0000000000000007", ("1", "")),
        ("@inbox-None:7", ("None", "")),
        ("@inbox-1-numbers:0", ("1", "numbers")),
        ("@inbox-1-poll:last", ("1", "poll")),
        ("@inbox-1-aside:a:b", ("1", "aside")),
        ("@inbox-1-owners:ab", ("1", "owners")),
        ("@@inbox-1:7", None),
        ("@inbox:7", None),
        ("inbox-1:7", None),
        ("@cart:@inbox-1:7", None),
        ("1", None),
    ],
)
def test_a_key_tells_its_inbox(key: str, place: tuple[str, str] | None) -> None:
    """The rooms of an inbox are known by their names, and a user's key is none of them."""
    assert place == place_in_inbox(key)
