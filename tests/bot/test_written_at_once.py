"""States and questions of a handler on telebot's own pool: written at once, under own locks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from support.bots import Host, waiting_questions
from support.counters import QUESTION, USER, Counter, Undone, step
from support.storages import is_free
from support.updates import said
from telesession import MemoryStorage, Session, Sessions, ask, cancel, use_questions

if TYPE_CHECKING:
    from telesession.testing import BotAPI


@pytest.fixture
def counter(simple_host: Host, bot_api: BotAPI) -> Counter:
    return Counter(simple_host)


returns_and_raises = pytest.mark.parametrize("raises", [False, True], ids=["returns", "raises"])


class TestStates:
    """A state is written at once, because its user may write before the handler ends."""

    @returns_and_raises
    def test_a_state_is_seen_at_once_and_stays(self, counter: Counter, raises: bool) -> None:
        """Another thread sees it while the handler runs, and it stays if the handler raises."""
        states = counter.states

        seen = counter.handle(
            lambda message: states.set_state(USER, USER, "here"),
            lambda: states.get_state(USER, USER),
            raises,
        )

        assert ("here", "here") == (seen, states.get_state(USER, USER))

    @returns_and_raises
    def test_data_and_deletions_are_at_once(self, counter: Counter, raises: bool) -> None:
        """So are data, and the end of a state."""
        states = counter.states
        states.set_state(USER, USER, "here")
        states.set_state(1, 1, "to be deleted")

        def act(message: Any) -> None:
            states.set_data(USER, USER, "a", 1)
            with states.get_interactive_data(USER, USER) as data:
                data["b"] = 2
            states.delete_state(1, 1)

        def look() -> tuple[Any, Any]:
            return states.get_data(USER, USER), states.get_state(1, 1)

        expected = {"a": 1, "b": 2}, None
        assert (expected, expected) == (counter.handle(act, look, raises), look())

    def test_its_lock_is_free_at_once(self, counter: Counter) -> None:
        """Another thread sets the state again while the handler goes on."""
        states = counter.states

        seen = counter.handle(
            lambda message: states.set_state(USER, USER, "here"),
            lambda: states.set_state(USER, USER, "there"),
            False,
        )

        assert (True, "there") == (seen, states.get_state(USER, USER))

    def test_a_block_that_raises_is_dropped_alone(self, counter: Counter) -> None:
        """`get_interactive_data` is a unit of its own: its error undoes its data only."""
        states = counter.states
        states.set_state(USER, USER, "here")

        def change_and_raise() -> None:
            with states.get_interactive_data(USER, USER) as data:
                data["a"] = 1
                raise Undone

        def act(message: Any) -> None:
            with pytest.raises(Undone):
                change_and_raise()

        counter.handle(act, lambda: None, False)

        assert ({}, {"counter": 1}) == (states.get_data(USER, USER), counter.sessions.peek(USER))


class TestQuestions:
    """A question is written at once, because its user may answer before the handler ends."""

    @returns_and_raises
    def test_a_question_is_seen_at_once_and_stays(self, counter: Counter, raises: bool) -> None:
        """Another thread finds it while the handler runs, and it stays if the handler raises."""
        bot = counter.host.bot

        seen = counter.handle(
            lambda message: ask(bot, message, "well?", step),
            lambda: waiting_questions(counter.storage),
            raises,
        )

        assert ([QUESTION], [QUESTION]) == (seen, waiting_questions(counter.storage))

    @returns_and_raises
    def test_the_end_of_a_question_is_at_once(self, counter: Counter, raises: bool) -> None:
        """So is `cancel`."""
        bot = counter.host.bot

        def act(message: Any) -> None:
            ask(bot, message, "well?", step)
            assert cancel(bot, message) is True

        seen = counter.handle(act, lambda: waiting_questions(counter.storage), raises)

        assert ([], []) == (seen, waiting_questions(counter.storage))

    def test_its_lock_is_free_at_once(self, counter: Counter) -> None:
        """The user may answer while the handler goes on."""
        bot = counter.host.bot
        place = f"@questions-{bot.bot_id}:{QUESTION}"

        free = counter.handle(
            lambda message: ask(bot, message, "well?", step),
            lambda: is_free(counter.storage, place),
            False,
        )

        assert True is free

    def test_the_session_of_a_step_is_a_unit_of_its_own(
        self, simple_host: Host, bot_api: BotAPI
    ) -> None:
        """A step that raises undoes its session, and its question waits again."""
        sessions = Sessions(storage=MemoryStorage(), initial={"counter": 0})
        bot = simple_host.bot

        def failing_step(message: Any, session: Session) -> None:
            session.counter += 10
            raise Undone

        use_questions(bot, sessions, steps=[failing_step])

        @bot.message_handler()
        @sessions.with_session
        def handle(message: Any, session: Session) -> None:
            session.counter += 1
            ask(bot, message, "well?", failing_step)

        simple_host.deliver(said("ask me"), said("an answer"))

        assert [Undone] == list(map(type, simple_host.raised))
        assert {"counter": 1} == sessions.peek(USER)
        assert [QUESTION] == waiting_questions(sessions._kind.storage)
