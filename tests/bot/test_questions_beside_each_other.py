"""Questions to one person that are sent at the same time, or by a step that still runs."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from support.bots import Host, Refusal
from support.clocks import PATIENCE
from support.threads import start, wait_for
from support.updates import ANNA, button_press, message, private, said, update
from telesession import MemoryStorage, Place, Sessions, ask, cancel, use_questions

# The bot sends its questions.
pytestmark = pytest.mark.usefixtures("bot_api")

PERSON = Place(chat_id=ANNA["id"], user_id=ANNA["id"])


class Hotline:
    """
    A bot that may ask Anna three questions, and notes the functions that get her messages.

    Attributes:
        heard: The names of the functions, with the texts or the data of buttons.
        act: Called by the step of the first question.
    """

    def __init__(self, host: Host) -> None:
        self.host, self.bot = host, host.bot
        self.heard: list[tuple[str, str]] = []
        self.act: Callable[[], object] = bool
        self._send = host.bot.send_message
        use_questions(
            host.bot, Sessions(storage=MemoryStorage()), steps=[self.one, self.two, self.three]
        )
        host.bot.register_message_handler(lambda m: self.heard.append(("handler", m.text)))

    def one(self, answer: Any) -> None:
        self._note("one", answer)
        self.act()

    def two(self, answer: Any) -> None:
        self._note("two", answer)

    def three(self, answer: Any) -> None:
        self._note("three", answer)

    def _note(self, name: str, answer: Any) -> None:
        self.heard.append((name, getattr(answer, "data", None) or answer.text))

    def ask(self, name: str, **options: Any) -> None:
        ask(self.bot, PERSON, name, getattr(self, name), **options)

    def ask_beside(self, name: str) -> None:
        """Ask in another thread, as another handler does."""
        start(self.ask, name).join(PATIENCE)

    def hear(self, text: str) -> str:
        """The name of the function that gets a message."""
        self.host.deliver(said(text))
        return self.heard[-1][0]

    def sending(self, name: str, *, fails: bool) -> tuple[threading.Event, threading.Thread]:
        """Ask in another thread, which sends only once the event is set, or fails to."""
        begun, go_on = threading.Event(), threading.Event()

        def send(*args: Any, **options: Any) -> Any:
            if options["text"] != name:
                return self._send(*args, **options)
            begun.set()
            wait_for(go_on)
            if fails:
                raise Refusal
            return self._send(*args, **options)

        def try_to_ask() -> None:
            try:
                self.ask(name)
            except Refusal:
                self.heard.append(("refused", name))

        self.bot.send_message = send
        thread = start(try_to_ask)
        wait_for(begun)
        return go_on, thread


@pytest.fixture
def hotline(simple_host: Host) -> Hotline:
    return Hotline(simple_host)


@pytest.mark.parametrize("first", [0, 1], ids=["in their order", "in the other order"])
@pytest.mark.parametrize(
    ("fails", "waits"),
    [((True, True), "one"), ((True, False), "three"), ((False, True), "two")],
    ids=["both fail", "the earlier fails", "the later fails"],
)
def test_two_that_are_sent_at_the_same_time(
    fails: tuple[bool, bool], waits: str, first: int, hotline: Hotline
) -> None:
    """A question that was not sent never waits, and the one before them waits if both fail."""
    hotline.ask("one")
    real = hotline.bot.send_message
    ends = []
    for name, fail in zip(("two", "three"), fails, strict=True):
        ends.append(hotline.sending(name, fails=fail))
        hotline.bot.send_message = real
    for go_on, thread in (ends[first], ends[1 - first]):
        go_on.set()
        thread.join(PATIENCE)
    assert waits == hotline.hear("hello")


@pytest.mark.parametrize(("raises", "waits"), [(True, "three"), (False, "two")])
def test_a_step_that_asks_after_another_handler(raises: bool, waits: str, hotline: Hotline) -> None:
    """If the step raises, its next question is undone, and the one of the other handler waits."""
    hotline.ask("one")

    def act() -> None:
        hotline.ask_beside("three")
        hotline.ask("two")
        if raises:
            raise Refusal

    hotline.act = act
    hotline.hear("hello")
    assert waits == hotline.hear("again")


@pytest.mark.parametrize("act", ["ask", "cancel"])
def test_a_late_step_that_raises(act: str, hotline: Hotline, frozen_time: Any) -> None:
    """A step of a late answer that asks or cancels and raises leaves its own question waiting."""
    hotline.ask("two", timeout=60, on_timeout=hotline.one)
    frozen_time.tick(60)

    def fail() -> None:
        if act == "ask":
            hotline.ask("three")
        else:
            cancel(hotline.bot, PERSON)
        raise Refusal

    hotline.act = fail
    assert ["one", "one"] == [hotline.hear("late"), hotline.hear("later")]


def test_a_press_after_a_step_that_raised(hotline: Hotline) -> None:
    """The question keeps the number of its message, which was not known when the answer came."""
    send = hotline.bot.send_message
    numbers: list[int] = []

    def fail() -> None:
        raise Refusal

    def send_and_hear(*args: Any, **options: Any) -> Any:
        sent = send(*args, **options)
        numbers.append(sent.message_id)
        hotline.act = fail
        start(hotline.hear, "quick").join(PATIENCE)
        return sent

    hotline.bot.send_message = send_and_hear
    hotline.ask("one")
    hotline.act = bool
    shown = message(private(ANNA), ANNA, message_id=numbers[0])
    press = update("callback_query", button_press(ANNA, message=shown, data="yes"))
    hotline.host.deliver(press)
    assert [("one", "quick"), ("one", "yes")] == hotline.heard
