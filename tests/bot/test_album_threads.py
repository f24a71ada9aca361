"""Albums whose messages are handled by several threads at the same time."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from telebot.handler_backends import ContinueHandling

from support.clocks import PATIENCE
from support.threads import in_thread, start, wait_for
from support.updates import ANNA, message, private, said, update
from telesession import MemoryStorage, Sessions, ask, use_questions
from telesession.bot import albums
from telesession.bot.answers import Questions

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from telebot import types

    from support.bots import Host
    from telesession.storage.base import Hold
    from telesession.testing import BotAPI

# An album of two messages; it waits half a second for a third one.
SIZE = {"file_id": "a", "file_unique_id": "a", "width": 1, "height": 1}
FIRST, SECOND = (
    update("message", message(private(ANNA), ANNA, photo=[SIZE], media_group_id="9", message_id=n))
    for n in (11, 12)
)


class AnsweredStorage(MemoryStorage):
    """A storage that calls a function, once, when a thread has the right to answer a question."""

    def __init__(self) -> None:
        super().__init__()
        self.on_answer: Callable[[], object] = bool

    def hold(self, key: str, timeout: float | None = None) -> AbstractContextManager[Hold]:
        if "#" in key:
            called, self.on_answer = self.on_answer, bool
            called()
        return super().hold(key, timeout)


class Gallery:
    """A bot that has asked Anna, and notes the messages that its functions get."""

    def __init__(self, host: Host) -> None:
        self.heard: list[str] = []
        self.bot, self.storage = host.bot, AnsweredStorage()
        sessions = Sessions(storage=self.storage)
        use_questions(self.bot, sessions, steps=[self.take_list, self.take])
        host.bot.register_message_handler(self.handle, content_types=["photo"])

    def ask(self, step: str) -> None:
        ask(self.bot, said("hi").message, "well?", getattr(self, step))

    def take_list(self, messages: list[types.Message]) -> None:
        self.heard.append(f"list of {len(messages)}")

    def take(self, message: Any) -> None:
        self.heard.append("one")

    def handle(self, message: Any) -> None:
        self.heard.append("handler")


@pytest.fixture
def gallery(simple_host: Host, bot_api: BotAPI) -> Gallery:
    return Gallery(simple_host)


def handle_second(gallery: Gallery) -> threading.Thread:
    """Handle the second message in another thread."""
    return start(gallery.bot.process_new_updates, [SECOND])


def test_a_message_beside_the_answer_is_a_part(
    gallery: Gallery, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thread with another message of the album waits until the step gets the album."""
    waits, others = threading.Event(), list[threading.Thread]()

    class Condition(threading.Condition):
        def wait(self, timeout: float | None = None) -> bool:
            waits.set()
            return super().wait(timeout)

    monkeypatch.setattr(albums, "threading", SimpleNamespace(Condition=Condition))
    gallery.ask("take_list")

    def handle_beside() -> None:
        others.append(handle_second(gallery))
        wait_for(waits)

    gallery.storage.on_answer = handle_beside
    gallery.bot.process_new_updates([FIRST])
    others[0].join(PATIENCE)
    assert ["list of 2"] == gallery.heard


def test_without_the_wait_a_handler_gets_it_too(
    gallery: Gallery, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Control: the step and a handler get the second message."""
    monkeypatch.setattr(albums.Arrived, "begin", lambda self: True)
    monkeypatch.setattr(albums.Arrived, "leave", lambda self: None)
    gallery.ask("take_list")
    gallery.storage.on_answer = lambda: handle_second(gallery).join(PATIENCE)
    gallery.bot.process_new_updates([FIRST])
    assert ["handler", "list of 2"] == gallery.heard


@pytest.mark.parametrize(
    ("step", "heard", "result"),
    [("take_list", ["list of 2"], type(None)), ("take", ["one"], ContinueHandling)],
)
def test_a_message_that_was_looked_at_before(
    step: str, heard: list[str], result: type, gallery: Gallery
) -> None:
    """A thread that found the question before the step got the album looks again."""
    gallery.ask(step)
    questions: Any = Questions.of(gallery.bot)
    assert questions._may_answer(SECOND.message)
    questions._note_messages([SECOND.message])
    in_thread(gallery.bot.process_new_updates, [FIRST])
    assert (heard, result) == (gallery.heard, type(questions._answer(SECOND.message)))
