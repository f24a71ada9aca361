"""States and questions of the sender on sequential workers: saved with the handler's sessions."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest

from support.bots import CHAT, poll_update, pressed, waiting_questions
from support.clocks import PATIENCE
from support.counters import QUESTION, USER, Counter, Undone, step
from support.storages import SpyStorage, is_free, is_held
from support.threads import in_thread
from support.updates import ANNA, BORIS, private, said
from telesession import (
    DeadlockError,
    EncodeError,
    JSONCodec,
    LockTimeoutError,
    MemoryStorage,
    Session,
    Storage,
    ask,
    cancel,
    on_commit,
)
from telesession.bot.answers import Questions

if TYPE_CHECKING:
    from support.bots import Host
    from telesession.testing import BotAPI

returns_and_raises = pytest.mark.parametrize("raises", [False, True], ids=["returns", "raises"])
OTHER = BORIS["id"]


@pytest.fixture
def counter(ordered_host: Host, bot_api: BotAPI) -> Counter:
    return Counter(ordered_host)


class TestStates:
    """The sender's next update waits for the handler, so the state may, too."""

    @returns_and_raises
    def test_a_state_is_saved_with_the_sessions(self, counter: Counter, raises: bool) -> None:
        """No other thread sees it before, and it is not saved if the handler raises."""
        bot = counter.bot

        seen = counter.handle(
            lambda message: bot.set_state(USER, "here"), lambda: bot.get_state(USER), raises
        )

        assert (None, None if raises else "here") == (seen, bot.get_state(USER))

    @returns_and_raises
    def test_data_and_deletions_are_too(
        self, ordered_host: Host, bot_api: BotAPI, storage: Storage, raises: bool
    ) -> None:
        """Data in every way, and the end of a state, are undone by a raise, in every storage."""
        counter = Counter(ordered_host, storage)
        bot = counter.bot
        bot.set_state(USER, "here")
        bot.add_data(USER, old=0)

        def act(message: Any) -> None:
            bot.delete_state(USER)
            bot.set_state(USER, "there")
            bot.add_data(USER, a=1)
            with bot.retrieve_data(USER) as data:
                data["b"] = 2

        def look() -> tuple[Any, Any]:
            return bot.get_state(USER), counter.states.get_data(USER, USER, bot_id=bot.bot_id)

        before, after = ("here", {"old": 0}), ("there", {"a": 1, "b": 2})
        assert (before, before if raises else after) == (
            counter.handle(act, look, raises),
            look(),
        )

    def test_the_handler_sees_them(self, counter: Counter) -> None:
        """Every way of reading in the handler gives what was set, added and deleted there."""
        bot, seen = counter.bot, []

        def look() -> None:
            state = bot.get_state(USER)
            data = counter.states.get_data(USER, USER, bot_id=bot.bot_id)
            with bot.retrieve_data(USER) as retrieved:
                assert data == retrieved
            seen.append((state, data))

        def act(message: Any) -> None:
            for change in (
                lambda: bot.set_state(USER, "here"),
                lambda: bot.add_data(USER, a=1),
                lambda: bot.reset_data(USER),
                lambda: seen.append(bot.delete_state(USER)),
                lambda: seen.append(bot.delete_state(USER)),
            ):
                change()
                look()

        counter.handle(act, lambda: None, False)

        assert [
            ("here", {}),
            ("here", {"a": 1}),
            ("here", {}),
            True,
            (None, {}),
            False,
            (None, {}),
        ] == seen

    def test_reading_alone_locks_nothing(self, counter: Counter) -> None:
        """A look at the state, as filters take it, waits for no other thread."""
        bot = counter.bot

        free = counter.handle(
            lambda message: bot.get_state(USER),
            lambda: is_free(counter.storage, counter.state_place),
            False,
        )

        assert True is free

    def test_its_lock_stays_until_the_handler_returns(self, counter: Counter) -> None:
        """Other threads wait for the state as for a session of the handler."""
        held = counter.handle(
            lambda message: counter.bot.set_state(USER, "here"),
            lambda: is_held(counter.storage, counter.state_place),
            False,
        )

        assert (True, False) == (held, is_held(counter.storage, counter.state_place))

    def test_all_is_one_commit(self, ordered_host: Host, bot_api: BotAPI) -> None:
        """State, question and session of a storage are written together."""
        storage = SpyStorage()
        counter = Counter(ordered_host, storage)

        def act(message: Any) -> None:
            counter.bot.set_state(USER, "here")
            ask(counter.bot, message, "well?", step)

        counter.handle(act, lambda: None, False)

        assert (1, ["set", "set", "set"]) == (storage.calls["commit"], storage.writes)

    @pytest.mark.parametrize("raises", [False, True])
    def test_a_block_that_raises_is_dropped_alone(self, counter: Counter, raises: bool) -> None:
        """`retrieve_data` undoes its own data, and nothing that the handler did before."""
        bot = counter.bot

        def change_and_raise() -> None:
            with bot.retrieve_data(USER) as data:
                data["b"] = 2
                bot.set_state(USER, "there")
                raise Undone

        def act(message: Any) -> None:
            bot.set_state(USER, "here")
            bot.add_data(USER, a=1)
            with pytest.raises(Undone):
                change_and_raise()

        counter.handle(act, lambda: None, raises)

        data = counter.states.get_data(USER, USER, bot_id=bot.bot_id)
        expected = (None, {}) if raises else ("here", {"a": 1})
        assert expected == (bot.get_state(USER), data)

    def test_a_value_that_would_not_come_back_is_refused_at_once(
        self, ordered_host: Host, bot_api: BotAPI
    ) -> None:
        """The call raises `EncodeError`, and the handler goes on without that value."""
        counter = Counter(ordered_host, MemoryStorage(codec=JSONCodec()))
        bot = counter.bot

        def act(message: Any) -> None:
            bot.set_state(USER, "here")
            bot.add_data(USER, a=1)
            with pytest.raises(EncodeError):
                bot.add_data(USER, b=object())

        counter.handle(act, lambda: None, False)

        assert {"a": 1} == counter.states.get_data(USER, USER, bot_id=bot.bot_id)

    def test_a_handler_without_sessions_writes_at_once(self, counter: Counter) -> None:
        """There is no unit that the state could be a part of."""
        bot, seen = counter.bot, []

        def handle(message: Any) -> None:
            bot.set_state(USER, "here")
            seen.append(in_thread(bot.get_state, USER))
            raise Undone

        bot.register_message_handler(handle)
        counter.host.deliver(said("hi"))

        assert (["here"], "here") == (seen, bot.get_state(USER))

    @returns_and_raises
    @pytest.mark.parametrize("place", [(OTHER, OTHER), (USER, CHAT)], ids=["person", "chat"])
    def test_the_state_of_others_is_written_at_once(
        self, place: tuple[int, int], counter: Counter, raises: bool
    ) -> None:
        """Another person, and the sender in another chat, may write before the handler ends."""
        user, chat = place
        bot = counter.bot

        seen = counter.handle(
            lambda message: bot.set_state(user, "here", chat),
            lambda: bot.get_state(user, chat),
            raises,
        )

        assert ("here", "here") == (seen, bot.get_state(user, chat))

    @returns_and_raises
    def test_an_independent_block_inside(self, counter: Counter, raises: bool) -> None:
        """A state that the handler has set is set again inside of one, without a deadlock."""
        bot, sessions = counter.bot, counter.sessions

        def act(message: Any) -> None:
            bot.set_state(USER, "here")
            with sessions.open("other", independent=True) as other:
                other.counter = 5
                assert "here" == bot.get_state(USER)
                bot.set_state(USER, "there")

        counter.handle(act, lambda: None, raises)

        assert (None if raises else "there", {"counter": 5}) == (
            bot.get_state(USER),
            sessions.peek("other"),
        )

    def test_handlers_that_set_the_states_of_each_other(self, counter: Counter) -> None:
        """Two handlers that wait for each other are a circle: one is undone, and one is saved."""
        bot, both = counter.bot, threading.Barrier(2, timeout=PATIENCE)

        @bot.message_handler()
        @counter.sessions.with_session
        def handle(message: Any, session: Session) -> None:
            me, opponent = message.from_user.id, {USER: OTHER, OTHER: USER}[message.from_user.id]
            bot.set_state(me, f"set by {me}")
            both.wait()
            bot.set_state(opponent, f"set by {me}")

        bot.process_new_updates([said("hi"), said("hi", BORIS)])
        # No handler takes it, so both workers have ended when it was delivered.
        counter.host.deliver(poll_update(1))

        assert [DeadlockError] == [type(error) for error in counter.host.raised]
        assert 1 == len({bot.get_state(USER), bot.get_state(OTHER)})

    def test_the_next_update_sees_it(self, counter: Counter) -> None:
        """Messages of one batch: a handler that is chosen by the state gets the second one."""
        bot, seen = counter.bot, []

        @bot.message_handler(func=lambda message: bot.get_state(USER) == "here")
        def second(message: Any) -> None:
            seen.append(message.text)

        @bot.message_handler()
        @counter.sessions.with_session
        def first(message: Any, session: Session) -> None:
            bot.set_state(USER, "here")

        bot.process_new_updates([said("one"), said("two")])
        counter.host.deliver(said("three"))

        assert ["two", "three"] == seen


class TestQuestions:
    """The answer waits for the handler, so the question may, too."""

    @returns_and_raises
    def test_a_question_is_saved_with_the_sessions(self, counter: Counter, raises: bool) -> None:
        """No other thread finds it before, and none waits if the handler raises."""
        bot = counter.bot

        seen = counter.handle(
            lambda message: ask(bot, message, "well?", step),
            lambda: waiting_questions(counter.storage),
            raises,
        )

        assert ([], [] if raises else [QUESTION]) == (seen, waiting_questions(counter.storage))

    def test_its_lock_is_only_taken_for_the_commit(self, counter: Counter) -> None:
        """So a handler that asks never waits for a lock that another one has because of it."""
        held = counter.handle(
            lambda message: ask(counter.bot, message, "well?", step),
            lambda: is_held(counter.storage, counter.question_place),
            False,
        )

        assert ([QUESTION], False) == (waiting_questions(counter.storage), held)

    def test_all_is_one_commit(self, ordered_host: Host, bot_api: BotAPI) -> None:
        """The session and the question are written together."""
        storage = SpyStorage()
        counter = Counter(ordered_host, storage)

        counter.handle(
            lambda message: ask(counter.bot, message, "well?", step), lambda: None, False
        )

        assert (1, ["set", "set"]) == (storage.calls["commit"], storage.writes)

    @returns_and_raises
    def test_a_block_that_raises_is_dropped_alone(self, counter: Counter, raises: bool) -> None:
        """A question that a block has asked is undone with the block, and an earlier one is not."""
        bot = counter.bot

        def cancel_and_raise(message: Any) -> None:
            with counter.sessions.open("other"):
                assert cancel(bot, message)
                raise Undone

        def act(message: Any) -> None:
            ask(bot, message, "well?", step)
            with pytest.raises(Undone):
                cancel_and_raise(message)

        counter.handle(act, lambda: None, raises)

        assert ([] if raises else [QUESTION]) == waiting_questions(counter.storage)

    def test_a_busy_record_fails_the_commit(self, counter: Counter) -> None:
        """If the lock of the question is not free in time, nothing of the handler is saved."""
        bot, storage = counter.bot, counter.storage
        Questions.of(bot).store._kind.lock_timeout = 0

        @bot.message_handler()
        @counter.sessions.with_session
        def handle(message: Any, session: Session) -> None:
            session.counter += 1
            ask(bot, message, "well?", step)

        with storage.hold(counter.question_place, 0):
            counter.host.deliver(said("hi"))

        assert ([LockTimeoutError], None, []) == (
            list(map(type, counter.host.raised)),
            counter.sessions.peek(USER),
            waiting_questions(storage),
        )

    def test_the_handler_can_end_it(self, counter: Counter) -> None:
        """`cancel` finds the question of the handler, and then there is none."""
        bot, found = counter.bot, []

        def act(message: Any) -> None:
            ask(bot, message, "well?", step)
            found.extend([cancel(bot, message), cancel(bot, message)])

        counter.handle(act, lambda: None, False)

        assert ([True, False], []) == (found, waiting_questions(counter.storage))

    @returns_and_raises
    def test_the_end_of_an_older_question_is_undone(self, counter: Counter, raises: bool) -> None:
        """If a handler cancels it and raises, it waits on."""
        bot, found = counter.bot, []
        ask(bot, said("earlier").message, "well?", step)

        @bot.callback_query_handler(func=None)
        @counter.sessions.with_session
        def press(query: Any, session: Session) -> None:
            found.extend([cancel(bot, query), in_thread(waiting_questions, counter.storage)])
            if raises:
                raise Undone

        counter.host.deliver(pressed(private(ANNA)))

        assert ([True, [QUESTION]], [QUESTION] if raises else []) == (
            found,
            waiting_questions(counter.storage),
        )

    @returns_and_raises
    def test_a_question_to_another_person_is_written_at_once(
        self, counter: Counter, raises: bool
    ) -> None:
        """That person may answer while the handler runs."""
        bot = counter.bot
        other = f"sender_in_chat:{OTHER}:{OTHER}"

        seen = counter.handle(
            lambda message: ask(bot, said("hi", BORIS).message, "well?", step),
            lambda: waiting_questions(counter.storage),
            raises,
        )

        assert ([other], [other]) == (seen, waiting_questions(counter.storage))

    def test_a_question_that_could_not_be_sent_does_not_wait(
        self, counter: Counter, bot_api: BotAPI
    ) -> None:
        """A handler that catches the exception and returns leaves no question."""
        bot = counter.bot
        bot_api.fail_next("sendMessage", 400)

        def act(message: Any) -> None:
            with pytest.raises(Exception, match="400"):
                ask(bot, message, "well?", step)

        counter.handle(act, lambda: None, False)

        assert [] == waiting_questions(counter.storage)

    def test_calls_of_on_commit_are_made(self, counter: Counter) -> None:
        """A state or a question between them changes nothing about the calls."""
        called: list[str] = []

        def act(message: Any) -> None:
            on_commit(called.append, "first")
            counter.bot.set_state(USER, "here")
            ask(counter.bot, message, "well?", step)
            on_commit(called.append, "second")

        counter.handle(act, called.copy, False)

        assert ["first", "second"] == called
