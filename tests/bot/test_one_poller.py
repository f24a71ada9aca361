"""The loopback Bot API of the tests of the inbox: repeated delivery, and two polls at once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from telebot import TeleBot
from telebot.apihelper import ApiTelegramException

from support.clocks import PATIENCE
from support.one_poller import OnePoller
from support.threads import began


@pytest.fixture(params=[True, False], ids=["refuses", "gives-both"])
def api(request: pytest.FixtureRequest) -> Iterator[OnePoller]:
    """A Bot API of each kind."""
    with OnePoller(refuses=request.param) as api:
        yield api


@pytest.fixture
def refusing_api() -> Iterator[OnePoller]:
    """A Bot API that lets one process poll."""
    with OnePoller() as api:
        yield api


def poll(name: str, timeout: int = 0, **options: Any) -> list[int]:
    """The ids of the updates that a process gets."""
    bot = TeleBot(f"1:{name}", threaded=False)
    updates = bot.get_updates(timeout=PATIENCE, long_polling_timeout=timeout, **options)
    return [update.update_id for update in updates]


def test_updates_come_until_they_are_confirmed(api: OnePoller) -> None:
    """An update comes again, to each process, until a poll asks for a later one."""
    for _ in range(3):
        api.user(1).send("hi")

    assert [[1, 2, 3], [1, 2, 3]] == [poll("first"), poll("second")]
    assert [[2, 3], [2, 3]] == [poll("first", offset=2), poll("second")]
    assert [3] == poll("first", offset=-1)
    with api.short_polls():
        assert [] == poll("first", offset=4)


def test_a_poll_gets_at_most_a_hundred_updates(api: OnePoller) -> None:
    """A backlog comes in batches of 100."""
    for _ in range(101):
        api.user(1).send("hi")

    assert [100, 1] == [len(poll("first")), len(poll("first", offset=101))]


def test_a_waiting_poll_is_answered_by_an_update(api: OnePoller) -> None:
    """A long poll waits for the next update."""
    with began(poll, "first", PATIENCE) as waiting:
        api.wait_for_poll("1:first", 1)
        api.user(1).send("hi")
        assert [1] == waiting.result(PATIENCE)


def test_a_second_poll_ends_the_first(refusing_api: OnePoller) -> None:
    """A poll that waits is refused as a conflict, and the later one goes on."""

    def first() -> int:
        with pytest.raises(ApiTelegramException) as caught:
            poll("first", PATIENCE)
        return int(caught.value.error_code)

    with began(first) as refused:
        refusing_api.wait_for_poll("1:first", 1)
        with began(poll, "second", PATIENCE) as waiting:
            assert 409 == refused.result(PATIENCE)
            refusing_api.user(1).send("hi")
            assert [1] == waiting.result(PATIENCE)


def test_two_waiting_polls_get_the_same_updates() -> None:
    """Without refusals each of two polls that wait gets the next update."""
    with (
        OnePoller(refuses=False) as api,
        began(poll, "first", PATIENCE) as first,
        began(poll, "second", PATIENCE) as second,
    ):
        api.wait_for_poll("1:first", 1)
        api.wait_for_poll("1:second", 1)
        api.user(1).send("hi")
        assert [[1], [1]] == [first.result(PATIENCE), second.result(PATIENCE)]
