"""The steps of questions: their sessions, their exceptions, and answers at the same time."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from telebot.handler_backends import BaseMiddleware, ContinueHandling

from support.bots import ANNA_IN_GROUP, Desk, Host, Refusal, make_host
from support.clocks import MICROSECOND, PATIENCE
from support.storages import SpyStorage, WithoutLocks
from support.threads import start
from support.updates import ANNA, BORIS, GROUP, said_in_group
from telesession import (
    MemoryStorage,
    Session,
    Sessions,
    ask,
    by_chat,
    by_sender_in_chat,
    cancel,
    on_commit,
    use_questions,
)

if TYPE_CHECKING:
    from freezegun.api import FrozenDateTimeFactory

    from telesession.testing import BotAPI


# Whoever asks sends a message.
pytestmark = pytest.mark.usefixtures("bot_api")


class TestItsSession:
    def test_it_comes_with_attach(self, host: Host) -> None:
        """
        A step with the session parameter gets its session from what is attached.
        """
        sessions = Sessions(storage=MemoryStorage())
        sessions.attach(host.bot)

        def take_name(message: Any, session: Session) -> None:
            session.name = message.text

        @host.bot.message_handler()
        def begin(message: Any, session: Session) -> None:
            session.begun = True
            ask(host.bot, message, "your name?", take_name)

        host.deliver(said_in_group("hi"), said_in_group("Ada"))
        assert ([], {"begun": True, "name": "Ada"}) == (host.raised, sessions.peek(ANNA["id"]))

    def test_it_comes_with_use_questions_alone(self, host: Host) -> None:
        """
        On a bot with nothing attached, a step gets the sessions of `use_questions`.
        """
        sessions = Sessions(storage=MemoryStorage(), name="form")

        def take_name(message: Any, form: Session) -> None:
            form.name = message.text

        use_questions(host.bot, sessions, steps=[take_name])
        host.bot.register_message_handler(lambda m: ask(host.bot, m, "your name?", take_name))
        host.deliver(said_in_group("hi"), said_in_group("Ada"))
        assert ([], {"name": "Ada"}) == (host.raised, sessions.peek(ANNA["id"]))

    def test_a_decorated_step_keeps_its_own(self, host: Host) -> None:
        """
        A step that is decorated has the session of its decorator, whatever else there is.
        """
        own, attached = Sessions(storage=MemoryStorage()), Sessions(storage=MemoryStorage())
        attached.attach(host.bot)

        @own.with_session
        def take_name(message: Any, session: Session) -> None:
            session.name = message.text

        use_questions(host.bot, attached, steps=[take_name])
        host.bot.register_message_handler(lambda m: ask(host.bot, m, "your name?", take_name))
        host.deliver(said_in_group("hi"), said_in_group("Ada"))
        assert ([], {"name": "Ada"}) == (host.raised, own.peek(ANNA["id"]))
        assert [] == list(attached.keys())[1:]
        assert None is attached.peek(ANNA["id"])

    def test_it_may_have_two(self, host: Host) -> None:
        """
        A step gets what is attached and what `use_questions` was given, by their names.
        """
        storage = MemoryStorage()
        chats = Sessions(storage=storage, get_storage_key=by_chat, name="chat")
        people = Sessions(storage=storage)
        chats.attach(host.bot)

        def take_name(message: Any, chat: Session, session: Session) -> None:
            chat.latest = session.name = message.text

        use_questions(host.bot, people, steps=[take_name])
        host.bot.register_message_handler(lambda m: ask(host.bot, m, "your name?", take_name))
        host.deliver(said_in_group("hi"), said_in_group("Ada"))
        assert ([], {"name": "Ada"}, {"latest": "Ada"}) == (
            host.raised,
            people.peek(ANNA["id"]),
            chats.peek(f"chat:{GROUP['id']}"),
        )

    def test_a_handler_may_ask_while_it_has_a_session_of_the_same_key(self, host: Host) -> None:
        """
        A question is a record of its own: to ask waits for no session that the handler has.
        """
        sessions = Sessions(
            storage=MemoryStorage(), get_storage_key=by_sender_in_chat, lock_timeout=0
        )
        sessions.attach(host.bot)

        def take(message: Any, session: Session) -> None:
            session.answers.append(message.text)
            ask(host.bot, message, "more?", take)

        @host.bot.message_handler()
        def begin(message: Any, session: Session) -> None:
            session.answers = []
            ask(host.bot, message, "what?", take)

        host.deliver(said_in_group("hi"), said_in_group("a"), said_in_group("b"))
        assert ([], {"answers": ["a", "b"]}) == (host.raised, sessions.peek(ANNA_IN_GROUP))

    def test_what_a_step_returns_goes_to_telebot(self, host: Host) -> None:
        """
        A step that returns `ContinueHandling()` lets the handlers have the message, too.
        """
        desk = Desk(host)

        def pass_on(message: Any) -> ContinueHandling:
            desk.heard.append(("step", message.text))
            return ContinueHandling()

        ask(host.bot, said_in_group("hi").message, "well?", pass_on)
        host.deliver(said_in_group("Ada"))
        assert [("step", "Ada"), ("handler", "Ada")] == desk.heard


class TestAStepThatRaises:
    def test_the_question_waits_again(self, host: Host) -> None:
        """
        If the step raises, its changes are undone, the error is the bot's, and the next message
        is an answer once more.
        """
        sessions = Sessions(storage=MemoryStorage())
        seen: list[str] = []
        desk = Desk(host, listens=False)

        def take(message: Any, session: Session) -> None:
            session.answer = message.text
            seen.append(message.text)
            if message.text == "bad":
                raise Refusal

        use_questions(host.bot, sessions, steps=[take])
        ask(host.bot, said_in_group("hi").message, "well?", take)
        host.deliver(said_in_group("bad"))
        assert ([Refusal], None) == ([type(e) for e in host.raised], sessions.peek(ANNA["id"]))
        host.deliver(said_in_group("good"), said_in_group("bye"))
        assert (["bad", "good"], {"answer": "good"}) == (seen, sessions.peek(ANNA["id"]))
        assert [("handler", "bye")] == desk.heard

    def test_middlewares_see_the_exception(self, bot_api: BotAPI) -> None:
        """
        A class middleware gets what the step raised, as of any handler.
        """
        seen: list[Any] = []

        class Watch(BaseMiddleware):
            update_sensitive = False
            update_types = ("message",)

            def __init__(self) -> None:
                """telebot's own has nothing to call."""

            def pre_process(self, message: Any, data: dict[str, Any]) -> None:
                data["seen"] = True

            def post_process(self, message: Any, data: Any, exception: Any) -> None:
                seen.append((message.text, type(exception)))

        (host,) = make_host("class-middlewares")
        host.bot.setup_middleware(Watch())

        def take(message: Any) -> None:
            raise Refusal

        use_questions(host.bot, Sessions(storage=MemoryStorage()), steps=[take])
        ask(host.bot, said_in_group("hi").message, "well?", take)
        host.deliver(said_in_group("Ada"))
        assert [("Ada", Refusal)] == seen

    @pytest.mark.parametrize(("more", "hears"), [(40 - MICROSECOND, "step"), (40, "handler")])
    def test_it_waits_for_the_time_that_was_left(
        self, more: float, hears: str, simple_host: Host, frozen_time: FrozenDateTimeFactory
    ) -> None:
        """
        A question that had 40 of 60 s left when its step raised has 40 s again.
        """
        desk = Desk(simple_host)
        trouble = [Refusal()]

        def take(message: Any) -> None:
            if trouble:
                raise trouble.pop()
            desk.step(message)

        ask(simple_host.bot, said_in_group("hi").message, "well?", take, timeout=60)
        frozen_time.tick(20)
        simple_host.deliver(said_in_group("bad"))
        frozen_time.tick(more)
        simple_host.deliver(said_in_group("good"))
        assert ([(hears, "good")], 1) == (desk.heard, len(simple_host.raised))

    def test_a_step_that_takes_longer_than_was_left_waits_again(
        self, simple_host: Host, frozen_time: FrozenDateTimeFactory
    ) -> None:
        """
        Time that passes while the step runs is not the user's, and no reason for another error.
        """
        desk = Desk(simple_host)

        def take(message: Any) -> None:
            desk.heard.append(("take", message.text))
            frozen_time.tick(3600)
            raise Refusal

        ask(simple_host.bot, said_in_group("hi").message, "well?", take, timeout=60)
        simple_host.deliver(said_in_group("one"), said_in_group("two"))
        assert [("take", "one"), ("take", "two")] == desk.heard
        assert [Refusal, Refusal] == [type(error) for error in simple_host.raised]

    def test_what_the_step_asked_is_undone(self, simple_host: Host) -> None:
        """
        If the step raises after it has asked the next question, its own waits again.
        """
        desk = Desk(simple_host)
        trouble = [Refusal()]

        def take(message: Any) -> None:
            desk.heard.append(("take", message.text))
            ask(simple_host.bot, message, "next?", desk.step)
            if trouble:
                raise trouble.pop()

        ask(simple_host.bot, said_in_group("hi").message, "well?", take)
        simple_host.deliver(said_in_group("one"), said_in_group("two"), said_in_group("three"))
        assert [("take", "one"), ("take", "two"), ("step", "three")] == desk.heard

    def test_what_another_handler_asked_meanwhile_stays(self, simple_host: Host) -> None:
        """
        A question that was asked while the step ran, by a command in another thread, takes the
        place of the first, though the step raises then.
        """
        desk, bot = Desk(simple_host), simple_host.bot

        def take(message: Any) -> None:
            start(desk.ask, said_in_group("/order").message).join(PATIENCE)
            raise Refusal

        ask(bot, said_in_group("hi").message, "well?", take)
        simple_host.deliver(said_in_group("bad"), said_in_group("for the command"))
        assert [("step", "for the command")] == desk.heard

    def test_what_the_step_asked_somebody_else_is_no_reason(self, simple_host: Host) -> None:
        """
        A newer question of another handler stays, whomever else the step has asked something.
        """
        desk, bot = Desk(simple_host), simple_host.bot

        def take(message: Any) -> None:
            start(desk.ask, said_in_group("/order").message).join(PATIENCE)
            ask(bot, said_in_group("hi", BORIS).message, "well?", take)
            raise Refusal

        ask(bot, said_in_group("hi").message, "well?", take)
        simple_host.deliver(said_in_group("bad"), said_in_group("for the command"))
        assert [("step", "for the command")] == desk.heard

    def test_a_storage_that_is_away_does_not_hide_what_the_step_raised(
        self, simple_host: Host, caplog: pytest.LogCaptureFixture
    ) -> None:
        """
        If the question cannot wait again, the bot learns what the step raised, and the log why.
        """
        storage = SpyStorage()
        Desk(simple_host, storage)

        def take(message: Any) -> None:
            storage.fail("get")
            raise Refusal

        ask(simple_host.bot, said_in_group("hi").message, "well?", take, timeout=60)
        simple_host.deliver(said_in_group("secret"))
        assert [Refusal] == [type(error) for error in simple_host.raised]
        assert (1, True, False) == (
            len(caplog.records),
            "the disk is full" in caplog.text,
            "secret" in caplog.text,
        )

    def test_the_next_question_that_cannot_be_sent(
        self, simple_host: Host, bot_api: BotAPI
    ) -> None:
        """
        If the step raises because Telegram refuses the next question, its own waits again.
        """
        desk = Desk(simple_host)

        def take(message: Any) -> None:
            desk.heard.append(("take", message.text))
            ask(simple_host.bot, message, "next?", desk.step)

        ask(simple_host.bot, said_in_group("hi").message, "well?", take)
        bot_api.fail_next("sendMessage", 400)
        simple_host.deliver(said_in_group("one"), said_in_group("two"), said_in_group("three"))
        assert [("take", "one"), ("take", "two"), ("step", "three")] == desk.heard

    @pytest.mark.parametrize("timeout", [None, 60])
    def test_a_call_after_the_commit_that_raises(
        self, timeout: float | None, simple_host: Host
    ) -> None:
        """
        If a call of `on_commit` raises, the step is saved: the question that it asked waits, and
        not its own.
        """
        desk = Desk(simple_host, timeout=timeout)

        def fail() -> None:
            raise Refusal

        def take(message: Any) -> None:
            desk.heard.append(("take", message.text))
            ask(simple_host.bot, message, "next?", desk.step)
            on_commit(fail)

        ask(simple_host.bot, said_in_group("hi").message, "well?", take, timeout=timeout)
        simple_host.deliver(said_in_group("one"), said_in_group("two"), said_in_group("three"))
        assert [("take", "one"), ("step", "two"), ("handler", "three")] == desk.heard
        assert [Refusal] == [type(error) for error in simple_host.raised]

    def test_a_step_that_delivers_the_answer_of_another(self, simple_host: Host) -> None:
        """
        A step may run inside another one of its thread, and the outer one can be asked again.
        """
        desk, bot = Desk(simple_host), simple_host.bot

        def take(message: Any) -> None:
            desk.heard.append(("take", message.text))
            ask(bot, message, "next?", desk.step)
            if message.text == "one":
                bot.process_new_updates([said_in_group("inner", BORIS)])
                raise Refusal

        for person in (ANNA, BORIS):
            ask(bot, said_in_group("hi", person).message, "well?", take)
        simple_host.deliver(said_in_group("one"), said_in_group("two"))
        texts = [("take", "one"), ("take", "inner"), ("take", "two")]
        assert (texts, [Refusal]) == (desk.heard, [type(error) for error in simple_host.raised])


class MeetingStorage(MemoryStorage):
    """
    A storage in which so many readers meet: what each has read is old when it goes on.

    Args:
        readers: How many meet, from the moment that `rounds` is not 0.
    """

    def __init__(self, readers: int) -> None:
        super().__init__()
        self.rounds = 0
        self._readers = readers
        self._reads = 0
        self._count = threading.Lock()
        self._all = threading.Barrier(readers, timeout=PATIENCE)

    def get(self, key: str) -> bytes | None:
        payload = super().get(key)
        with self._count:
            self._reads += self.rounds > 0
            meets = 0 < self._reads <= self.rounds * self._readers
        if meets:
            self._all.wait()
        return payload


class UnlockedMeetingStorage(WithoutLocks, MeetingStorage):
    """The same without locks."""


ANSWERS = 6


def answer_at_once(storage: MeetingStorage, hosts: list[Host], rounds: int) -> list[str]:
    """Who hears the answers that come at the same time, after all have seen that one is wanted."""
    desks = [Desk(host, storage) for host in hosts]
    ask(hosts[0].bot, said_in_group("hi").message, "well?", desks[0].step)
    storage.rounds = rounds
    threads = [
        start(hosts[number % len(hosts)].bot.process_new_updates, [said_in_group(str(number))])
        for number in range(ANSWERS)
    ]
    for thread in threads:
        thread.join(PATIENCE)
    assert [] == [error for host in hosts for error in host.raised]
    return sorted(who for desk in desks for who, _ in desk.heard)


class TestAtTheSameTime:
    @pytest.mark.parametrize("bots", [1, ANSWERS], ids=["one bot", "as many bots"])
    def test_one_of_the_answers_reaches_the_step(self, bots: int) -> None:
        """
        Of six answers at once, all of which see the question, one reaches the step: in one bot,
        and in bots that share a storage, as processes do.
        """
        storage = MeetingStorage(ANSWERS)
        heard = answer_at_once(storage, [Host() for _ in range(bots)], rounds=1)
        assert ["handler"] * (ANSWERS - 1) + ["step"] == heard

    def test_without_a_lock_all_of_them_do(self) -> None:
        """
        Control: without locks the steps of six bots get all six.
        """
        storage = UnlockedMeetingStorage(ANSWERS)
        heard = answer_at_once(storage, [Host() for _ in range(ANSWERS)], rounds=2)
        assert ["step"] * ANSWERS == heard

    def test_no_lock_is_held_while_a_step_runs(self, simple_host: Host) -> None:
        """
        Another thread can ask and cancel while the step runs.
        """
        desk, bot = Desk(simple_host), simple_host.bot
        done: list[bool] = []

        def take(message: Any) -> None:
            def work() -> None:
                ask(bot, message, "really?", desk.step)
                done.append(cancel(bot, message))

            start(work).join(PATIENCE)

        ask(bot, said_in_group("hi").message, "well?", take)
        simple_host.deliver(said_in_group("yes"))
        assert [True] == done

    def test_the_first_questions_may_be_asked_at_once(self, simple_host: Host) -> None:
        """
        Two workers that ask the first questions of an attached bot at the same time both get
        their answers, for the bot begins to listen once.
        """
        meet = threading.Barrier(2, timeout=PATIENCE)
        meetings: list[Callable[[], int]] = []

        class SlowToTell(MemoryStorage):
            @property
            def persistent(self) -> bool:  # type: ignore[override]
                if meetings:
                    meetings.pop()()
                return False

        sessions = Sessions(storage=SlowToTell())
        sessions.attach(simple_host.bot)
        meetings += [meet.wait, meet.wait]
        heard: list[tuple[str, str]] = []

        def take_tea(message: Any) -> None:
            heard.append(("tea", message.text))

        def take_cake(message: Any) -> None:
            heard.append(("cake", message.text))

        asked = [(ANNA, take_tea), (BORIS, take_cake)]
        threads = [
            start(ask, simple_host.bot, said_in_group("hi", person).message, "well?", step)
            for person, step in asked
        ]
        for thread in threads:
            thread.join(PATIENCE)
        simple_host.deliver(said_in_group("A", ANNA), said_in_group("B", BORIS))
        assert [("tea", "A"), ("cake", "B")] == heard
        assert 1 == len(simple_host.bot.message_handlers)
        sessions.detach(simple_host.bot)
        assert [] == simple_host.bot.message_handlers
