"""Leftovers: updates that a killed process has stored and not handled."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from support.inboxes import (
    BOT_ID,
    Life,
    MakeLife,
    add_notes,
    effects,
    leave,
    noting,
    numbers_aside,
    records,
    send,
    text_update,
)
from support.updates import ANNA, BORIS
from telesession import MemoryStorage, Session, Sessions, Storage
from telesession.bot.inbox import Inbox
from telesession.storage.base import Change

if TYPE_CHECKING:
    from telesession.testing import BotAPI


def test_they_are_handled_before_new_updates(
    storage: Storage, make_life: MakeLife, bot_api: BotAPI
) -> None:
    """Leftovers of a key come before its new updates, in the order of their arrival, in pages."""
    old = [str(number) for number in range(205)]
    leave(storage, *[text_update(text, update_id=1_000 + int(text)) for text in old])
    life = make_life(storage, num_threads=4)
    add_notes(life, storage)
    send(bot_api, "new", "newer")
    life.run()

    assert ([*old, "new", "newer"], []) == (effects(storage), records(storage))


def test_they_wait_for_the_first_poll(make_life: MakeLife, bot_api: BotAPI) -> None:
    """A bot that is only made takes nothing over, because its handlers are registered later."""
    storage = MemoryStorage()
    leave(storage, text_update("1"))
    life = make_life(storage)
    before = records(storage)[0]["owner"]
    add_notes(life, storage)
    life.run()

    assert ("dead", ["1"]) == (before, effects(storage))


def test_they_are_handled_also_by_a_bot_that_skips_pending_updates(
    make_life: MakeLife, bot_api: BotAPI
) -> None:
    """`skip_pending` skips those that Telegram has, and not those of the inbox."""
    storage = MemoryStorage()
    leave(storage, text_update("1"))
    life = make_life(storage)
    add_notes(life, storage)
    life.poll(offset=-1)
    life.run()

    assert ["1"] == effects(storage)


def test_they_are_parsed_as_they_came(make_life: MakeLife, bot_api: BotAPI) -> None:
    """A leftover of another kind goes to the handler of its kind, with all its fields."""
    storage = MemoryStorage()
    query = {"id": "1", "from": BORIS, "chat_instance": "1", "data": "\N{HOT BEVERAGE}"}
    leave(storage, {"update_id": 7, "callback_query": query})
    life, seen = make_life(storage), []
    life.bot.register_callback_query_handler(
        lambda press: seen.append((press.from_user.first_name, press.data)), func=lambda _: True
    )
    life.run()

    assert ([("Boris", "\N{HOT BEVERAGE}")], []) == (seen, records(storage))


@pytest.mark.parametrize("limits", [{"limit": 1}, {"total_limit": 1}], ids=["limit", "total"])
def test_they_are_never_dropped(
    limits: dict[str, int], make_life: MakeLife, bot_api: BotAPI, caplog: pytest.LogCaptureFixture
) -> None:
    """With `when_full="drop"` leftovers wait for room, because the former process took them."""
    storage = MemoryStorage()
    leave(storage, *[text_update(text) for text in "12345"])
    life = make_life(storage, workers={**limits, "when_full": "drop"})
    add_notes(life, storage)
    life.run()

    assert ([*"12345"], [], []) == (effects(storage), records(storage), caplog.records)


def test_records_of_the_inbox_are_no_sessions(make_life: MakeLife, bot_api: BotAPI) -> None:
    """Neither `keys` nor `clear` of the sessions reaches the inbox of their storage."""
    storage = MemoryStorage()
    leave(storage, text_update("tea"))
    sessions: Sessions[Any] = Sessions(storage=storage)
    keys = list(sessions.keys())
    sessions.clear()
    life = make_life(storage)
    add_notes(life, storage)
    life.run()

    assert ([], ["tea"]) == (keys, effects(storage))


class TestAttempts:
    """The number of processes that were killed while a handler of a leftover ran."""

    @pytest.mark.parametrize("kills", [0, 1, 2])
    def test_a_leftover_notes_that_its_handler_begins(
        self, kills: int, storage: Storage, make_life: MakeLife, bot_api: BotAPI
    ) -> None:
        """While the handler of a leftover runs, its record says so, beside the kills before."""
        leave(storage, text_update("1"), kills=kills)

        assert [(True, kills)] == begun_in_handlers(make_life(storage), storage)

    def test_a_kill_in_the_handler_counts(
        self, storage: Storage, make_life: MakeLife, bot_api: BotAPI
    ) -> None:
        """A process that takes over an update counts the kill of the former one in its handler."""
        leave(storage, text_update("1"), has_begun=True, kills=1)

        assert [(True, 2)] == begun_in_handlers(make_life(storage), storage)

    def test_a_stop_does_not_count(self, make_life: MakeLife, bot_api: BotAPI) -> None:
        """A process that was stopped while the handler ran has not been killed."""
        storage = MemoryStorage()
        former = make_life(storage)
        former.run()
        intake = former.pool.intake
        assert intake is not None
        former.close()
        name = intake._owner.name
        leave(storage, text_update("1"), owner=name, has_begun=True, kills=2)

        assert [(True, 2)] == begun_in_handlers(make_life(storage), storage)

    def test_a_new_update_notes_nothing(
        self, storage: Storage, make_life: MakeLife, bot_api: BotAPI
    ) -> None:
        """An update that this process has stored needs no write before its handler."""
        send(bot_api, "1")

        assert [(False, 0)] == begun_in_handlers(make_life(storage), storage)

    @pytest.mark.parametrize(("attempts", "kills"), [(3, 3), (1, 1), (5, 7)])
    def test_too_many_set_it_aside(
        self,
        attempts: int,
        kills: int,
        make_life: MakeLife,
        bot_api: BotAPI,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        """A leftover in whose handler so many were killed is set aside, and the others go on."""
        storage = MemoryStorage()
        leave(storage, text_update("hunter2", update_id=7), has_begun=True, kills=kills - 1)
        leave(storage, text_update("good", update_id=8), has_begun=attempts > 1, kills=0)
        life = make_life(storage, workers={} if attempts == 3 else {"attempts": attempts})
        add_notes(life, storage)
        life.run()

        assert (["good"], [], [7]) == (effects(storage), records(storage), numbers_aside(storage))
        assert [f"set update 7 aside: {kills} processes were killed while its handler ran"] == [
            record.getMessage() for record in caplog.records
        ]

    @pytest.mark.parametrize("attempts", [0, -1, 1.5, True, None])
    def test_other_numbers_are_refused(self, attempts: Any, make_life: MakeLife) -> None:
        """The number of attempts is a whole number of 1 or more."""
        with pytest.raises((TypeError, ValueError), match="attempts must be"):
            make_life(MemoryStorage(), workers={"attempts": attempts})


def begun_in_handlers(life: Life, storage: Storage) -> list[Any]:
    """Whether records say that a handler runs, and the kills, while the handlers run."""
    counts: list[Any] = []

    @life.bot.message_handler()
    def look(message: Any) -> None:
        counts.extend(
            (fields.get("has_begun", False), fields.get("kills", 0)) for fields in records(storage)
        )

    life.run()
    return counts


SECRET = "hunter2"


def damage(storage: Storage, number: int, payload: bytes) -> None:
    """Store a record that is none of ours."""
    inbox = Inbox(storage, BOT_ID)
    inbox.write([Change(inbox.key_of(number), None, payload, index=inbox.room)])


class TestUnreadable:
    """Records that no process can read."""

    def check_that_7_is_aside(
        self, life: Life, storage: Storage, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Update 8 is handled, and 7 is set aside, which is logged without its text."""
        leave(storage, text_update("good", update_id=8))
        add_notes(life, storage)
        life.run()

        found = effects(storage), records(storage), numbers_aside(storage)
        assert (["good"], [], [7]) == found
        (record,) = caplog.records
        assert ("ERROR", False) == (record.levelname, SECRET in caplog.text)

    def test_undecodable_bytes(
        self,
        storage: Storage,
        make_life: MakeLife,
        bot_api: BotAPI,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        """A record that the codec cannot decode is set aside, and the others are handled."""
        damage(storage, 7, b"\x00 hunter2")

        self.check_that_7_is_aside(make_life(storage), storage, caplog)

    @pytest.mark.parametrize(
        "fields",
        [{}, {"text": SECRET}, {"raw": SECRET}, {"raw": 1, "owner": SECRET}],
        ids=["empty", "a-session", "without-owner", "no-text"],
    )
    def test_a_record_of_another_kind(
        self,
        fields: dict[str, Any],
        make_life: MakeLife,
        bot_api: BotAPI,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        """A record that is none of an update is set aside."""
        storage = MemoryStorage()
        inbox = Inbox(storage, BOT_ID)
        damage(storage, 7, inbox.encode(inbox.key_of(7), fields))

        self.check_that_7_is_aside(make_life(storage), storage, caplog)

    @pytest.mark.parametrize(
        "raw",
        [
            "{hunter2",
            '"hunter2"',
            '{"update_id": 7, "message": "hunter2"}',
            '{"update_id": 7, "message": {"text": "hunter2"}}',
        ],
        ids=["no-json", "no-object", "no-message", "half-a-message"],
    )
    def test_an_update_that_telebot_cannot_read(
        self, raw: str, make_life: MakeLife, bot_api: BotAPI, caplog: pytest.LogCaptureFixture
    ) -> None:
        """An update that the installed telebot refuses is set aside."""
        storage = MemoryStorage()
        inbox = Inbox(storage, BOT_ID)
        damage(storage, 7, inbox.encode(inbox.key_of(7), {"raw": raw, "owner": "dead"}))

        self.check_that_7_is_aside(make_life(storage), storage, caplog)


def test_the_order_of_a_key_holds_over_several_kills(
    local_storage: Storage, make_life: MakeLife, bot_api: BotAPI
) -> None:
    """Leftovers of two users, half of a chain among them, are handled in each user's order."""
    updates = [
        text_update(f"{number}", person, update_id=number)
        for number in range(1, 9)
        for person in [ANNA if number % 2 else BORIS]
    ]
    leave(local_storage, *updates[:4], has_begun=True, kills=1)
    leave(local_storage, *updates[4:], owner="dead, too")
    life = make_life(local_storage, num_threads=4)
    sessions: Sessions[Any] = Sessions(storage=local_storage)

    @life.bot.message_handler()
    @sessions.with_session
    def note(message: Any, session: Session) -> None:
        noting(session, message.text)

    life.run()

    assert ([*"1357"], [*"2468"]) == (effects(local_storage), effects(local_storage, BORIS))
