"""A bot that moves from memory to SQLite and to servers while its users write."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING

from support.copies import CODECS, Make
from support.inboxes import Life, add_notes, effects, records, text_update
from support.threads import OtherThread
from support.updates import ANNA, BORIS
from telesession import MemoryStorage, Sessions, Storage, copy_sessions, receive

if TYPE_CHECKING:
    from collections.abc import Iterator

PEOPLE = [ANNA, BORIS]


@contextmanager
def running(storage: Storage, texts: list[str]) -> Iterator[None]:
    """A bot that notes the texts, which its users write while the block goes on."""
    life = Life(storage, num_threads=2)
    add_notes(life, storage)

    def write() -> None:
        for text in texts:
            for person in PEOPLE:
                receive(life.bot, json.dumps(text_update(text, person)))

    with OtherThread() as users:
        written = users.submit(write)
        yield
        written.result(30)
    life.wait()
    life.close()


def test_no_update_is_lost_by_a_bot_that_moves(make: Make) -> None:
    """Copied while it runs and again when it has stopped, a bot goes on with all its sessions."""
    texts = [str(number) for number in range(120)]
    storages = [
        MemoryStorage(),
        *(make(kind, CODECS["json"], "bot") for kind in ("sqlite", "redis", "postgres")),
    ]
    for number, storage in enumerate(storages):
        with running(storage, texts[30 * number : 30 * number + 30]):
            beside = [copy_sessions(storage, new) for new in storages[number + 1 : number + 2]]
        assert [0] * len(beside) == [result.refused + result.busy for result in beside]
        for new in storages[number + 1 : number + 2]:
            assert 0 == copy_sessions(storage, new, overwrite=True).kept
            for key in list(new.keys()):
                if not storage.has(key):
                    new.delete(key)

    assert [texts] * 2 == [effects(storages[-1], person) for person in PEOPLE]
    assert [] == records(storages[-1])


def test_a_session_that_is_deleted_between_the_copies_comes_back_without_the_last_step() -> None:
    """The control of the recipe: the second copy deletes nothing, so the last step is needed."""
    old, new = MemoryStorage(), MemoryStorage()
    sessions = Sessions(storage=old)
    for key in ("ada", "bob"):
        with sessions.open(key) as session:
            session.counter = 1
    copy_sessions(old, new)
    sessions.delete("bob")
    copy_sessions(old, new, overwrite=True)

    assert ["ada", "bob"] == sorted(new.keys())
