"""Chains: several handlers take one stored update, and each has its effect once."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from telebot.custom_filters import StateFilter
from telebot.handler_backends import ContinueHandling

from support.bots import Refusal
from support.inboxes import (
    Journal,
    Life,
    MakeLife,
    Snapshot,
    add_notes,
    effects,
    leave,
    noting,
    records,
    send,
    text_update,
)
from support.updates import ANNA
from telesession import (
    MemoryStorage,
    Session,
    Sessions,
    SessionStateStorage,
    Storage,
    ask,
    use_questions,
)
from telesession.bot.inbox import Inbox
from telesession.storage.base import Change

if TYPE_CHECKING:
    from telesession.testing import BotAPI

Add = Callable[[Life, Storage, Callable[[], object]], None]


def handler_of(sessions: Sessions[Any], name: str, on_begin: Callable[[], object] = bool) -> Any:
    """A handler that notes a name, and lets telebot go on. All of them have one qualified name."""

    @sessions.with_session
    def handle(message: Any, session: Session) -> ContinueHandling:
        on_begin()
        noting(session, name)
        return ContinueHandling()

    return handle


def add_equal_names(life: Life, storage: Storage, on_begin: Callable[[], object]) -> None:
    """Three handlers with one qualified name; the third one calls `on_begin`."""
    sessions: Sessions[Any] = Sessions(storage=storage)
    for name in ("first", "second"):
        life.bot.register_message_handler(handler_of(sessions, name))
    life.bot.register_message_handler(handler_of(sessions, "third", on_begin))


def add_one_twice(life: Life, storage: Storage, on_begin: Callable[[], object]) -> None:
    """One handler that is registered three times; it calls `on_begin` the third time."""
    sessions: Sessions[Any] = Sessions(storage=storage)
    names = ["first", "second", "third"]

    @sessions.with_session
    def handle(message: Any, session: Session) -> ContinueHandling:
        name = names[len(session.get("texts", []))]
        if name == "third":
            on_begin()
        noting(session, name)
        return ContinueHandling()

    for _ in names:
        life.bot.register_message_handler(handle)


def add_different_names(life: Life, storage: Storage, on_begin: Callable[[], object]) -> None:
    """Three handlers, which only filters of their own let through; the last one ends the chain."""
    sessions: Sessions[Any] = Sessions(storage=storage)

    def has_effects(count: int) -> Callable[[Any], bool]:
        return lambda message: len(effects(storage)) >= count

    @life.bot.message_handler(func=has_effects(0))
    @sessions.with_session
    def first(message: Any, session: Session) -> ContinueHandling:
        noting(session, "first")
        return ContinueHandling()

    @life.bot.message_handler(func=has_effects(1))
    @sessions.with_session
    def second(message: Any, session: Session) -> ContinueHandling:
        noting(session, "second")
        return ContinueHandling()

    @life.bot.message_handler(func=has_effects(2))
    @sessions.with_session
    def third(message: Any, session: Session) -> None:
        on_begin()
        noting(session, "third")


CHAINS: list[Add] = [add_equal_names, add_one_twice, add_different_names]


@pytest.fixture(params=[False, True], ids=["no-middlewares", "class-middlewares"])
def make_either_life(request: pytest.FixtureRequest, make_life: MakeLife) -> MakeLife:
    """Makes bots with an inbox, with and without class middlewares."""
    return functools.partial(make_life, use_class_middlewares=request.param)


@pytest.mark.parametrize("add", CHAINS, ids=lambda add: add.__name__)
def test_a_kill_between_two_commits_leaves_the_later_handlers(
    add: Add,
    local_storage: Storage,
    snapshot: Snapshot,
    make_either_life: MakeLife,
    bot_api: BotAPI,
) -> None:
    """Killed before the third commit of a chain, only the third handler gets the update again."""
    life = make_either_life(local_storage)
    add(life, local_storage, snapshot.take)
    send(bot_api, "tea")
    life.run()
    assert ["first", "second", "third"] == effects(local_storage)

    with snapshot.open() as left:
        assert ["first", "second"] == effects(left)
        later = make_either_life(left)
        add(later, left, bool)
        later.run()

        assert (["first", "second", "third"], []) == (effects(left), records(left))


def test_control_without_notes_the_chain_begins_anew(
    local_storage: Storage, snapshot: Snapshot, make_life: MakeLife, bot_api: BotAPI
) -> None:
    """Without the notes of the first two commits, all handlers get the update again."""
    life = make_life(local_storage)
    add_equal_names(life, local_storage, snapshot.take)
    send(bot_api, "tea")
    life.run()

    with snapshot.open() as left:
        forget_notes(left)
        later = make_life(left)
        add_equal_names(later, left, bool)
        later.run()

        assert ["first", "second", "first", "second", "third"] == effects(left)


def forget_notes(storage: Storage) -> None:
    """Let the record of an update be as it was before its handlers committed."""
    ((key, fields),) = [(f"@inbox-1:{1:016d}", records(storage)[0])]
    inbox = Inbox(storage, 1)
    del fields["done"]
    inbox.write([Change(key, storage.get(key), inbox.encode(key, fields), index=inbox.room)])


def test_the_commit_of_an_earlier_handler_notes_it(
    storage: Storage, make_life: MakeLife, bot_api: BotAPI
) -> None:
    """While the second handler of a chain runs, the record has the name of the first."""
    life, seen = make_life(storage), []
    sessions: Sessions[Any] = Sessions(storage=storage)
    life.bot.register_message_handler(handler_of(sessions, "first"))
    life.bot.register_message_handler(lambda message: seen.extend(records(storage)))
    send(bot_api, "tea")
    life.run()

    name = f"message:{__name__}.handler_of.<locals>.handle#0"
    assert [[name]] == [fields["done"] for fields in seen]
    assert [] == records(storage)


class TestTasks:
    """Next steps, reply handlers and listeners before the message handlers of one update."""

    @pytest.fixture
    def storage(self) -> MemoryStorage:
        """An empty storage."""
        return MemoryStorage()

    @pytest.fixture
    def sessions(self, storage: MemoryStorage) -> Sessions[Any]:
        """Sessions in that storage."""
        return Sessions(storage=storage)

    def test_a_reply_handler_before_a_message_handler(
        self,
        storage: MemoryStorage,
        sessions: Sessions[Any],
        make_life: MakeLife,
        bot_api: BotAPI,
    ) -> None:
        """The commit of a reply handler notes it, and that of the message handler ends."""
        life, counts = make_life(storage), []
        question = bot_api.user(ANNA["id"]).send("question")
        life.run()
        life.bot.register_for_reply_by_message_id(
            question["message"]["message_id"], handler_of(sessions, "reply")
        )
        life.bot.register_message_handler(
            handler_of(sessions, "handler", lambda: counts.append(len(records(storage))))
        )
        bot_api.user(ANNA["id"]).send("answer", reply_to=question)
        life.run()

        assert (["reply", "handler"], [1], []) == (
            effects(storage),
            counts,
            records(storage),
        )

    def test_one_function_as_two_reply_handlers(
        self,
        storage: MemoryStorage,
        sessions: Sessions[Any],
        make_life: MakeLife,
        bot_api: BotAPI,
    ) -> None:
        """A function that is registered twice for a reply is called twice."""
        life = make_life(storage)
        question = bot_api.user(ANNA["id"]).send("question")
        life.run()

        @sessions.with_session
        def take(message: Any, name: str, session: Session) -> None:
            noting(session, name)

        for name in ("one", "two"):
            life.bot.register_for_reply_by_message_id(question["message"]["message_id"], take, name)
        bot_api.user(ANNA["id"]).send("answer", reply_to=question)
        life.run()

        assert (["one", "two"], []) == (effects(storage), records(storage))

    def test_a_next_step_ends_the_update(
        self,
        storage: MemoryStorage,
        sessions: Sessions[Any],
        make_life: MakeLife,
        bot_api: BotAPI,
    ) -> None:
        """The commit of a next step ends the update, also one that attached sessions decorate."""
        life = make_life(storage)
        sessions.attach(life.bot)

        def take(message: Any, unit: str, session: Session, handlers: str) -> None:
            noting(session, f"{message.text} {unit} {handlers}")

        @life.bot.message_handler()
        def ask_next(message: Any) -> None:
            life.bot.register_next_step_handler(message, take, "cups", handlers="two")

        send(bot_api, "question")
        life.run()
        journal = Journal(storage)
        send(bot_api, "tea")
        life.run()

        assert [([], 0), ([], 1), (["tea cups two"], 0)] == journal.states
        assert [] == life.errors

    def test_a_step_that_raised_does_not_stop_the_handler(
        self,
        storage: MemoryStorage,
        sessions: Sessions[Any],
        make_life: MakeLife,
        bot_api: BotAPI,
    ) -> None:
        """After a reply handler that raised, the message handler gets the update and ends it."""
        life = make_life(storage)
        question = bot_api.user(ANNA["id"]).send("question")
        life.run()

        def refuse(message: Any) -> None:
            raise Refusal

        life.bot.register_for_reply_by_message_id(question["message"]["message_id"], refuse)
        add_notes(life, storage)
        bot_api.user(ANNA["id"]).send("answer", reply_to=question)
        life.run()

        assert (["answer"], []) == (effects(storage), records(storage))
        assert [Refusal] == [type(error) for error in life.errors]

    def test_listeners_get_the_update_once(
        self, storage: MemoryStorage, make_life: MakeLife, bot_api: BotAPI
    ) -> None:
        """A listener gets each update before the handler, whose commit ends it."""
        life, heard = make_life(storage), []
        life.bot.set_update_listener(lambda messages: heard.extend(m.text for m in messages))
        add_notes(life, storage)
        send(bot_api, "1", "2")
        life.run()

        assert (["1", "2"], ["1", "2"], []) == (heard, effects(storage), records(storage))

    def test_steps_that_are_gone_leave_the_update_to_other_handlers(
        self, storage: MemoryStorage, make_life: MakeLife
    ) -> None:
        """telebot's own next steps end with their process: then a message handler takes over."""
        leave(storage, text_update("answer"))
        life = make_life(storage)
        add_notes(life, storage)
        life.receive(text_update("later"))
        life.wait()

        assert ["answer", "later"] == effects(storage)


def add_question(life: Life, storage: Storage, on_begin: Callable[[], object] = bool) -> None:
    """Let a bot ask, and note the answer."""
    sessions: Sessions[Any] = Sessions(storage=storage)

    def take(message: Any, session: Session) -> None:
        on_begin()
        noting(session, f"answer {message.text}")

    use_questions(life.bot, sessions, steps=[take])

    @life.bot.message_handler()
    @sessions.with_session
    def handle(message: Any, session: Session) -> None:
        ask(life.bot, message, "How many?", take)
        noting(session, f"asked {message.text}")


def test_the_step_of_a_question_ends_the_update(make_life: MakeLife, bot_api: BotAPI) -> None:
    """One write has the effect of the step, the end of its question, and that of the update."""
    storage = MemoryStorage()
    life = make_life(storage)
    add_question(life, storage)
    send(bot_api, "tea")
    life.run()
    journal = Journal(storage)
    send(bot_api, "two")
    life.run()

    asked = ["asked tea"]
    assert [(asked, 0), (asked, 1), ([*asked, "answer two"], 0)] == journal.states


def test_after_a_kill_the_answer_goes_to_the_step_of_the_question(
    local_storage: Storage, snapshot: Snapshot, make_life: MakeLife, bot_api: BotAPI
) -> None:
    """A question outlives a kill in its step, and the next process gives the answer to it."""
    life = make_life(local_storage)
    add_question(life, local_storage, snapshot.take)
    send(bot_api, "tea", "two")
    life.run()

    with snapshot.open() as left:
        later = make_life(left)
        add_question(later, left)
        later.run()

        assert (["asked tea", "answer two"], []) == (effects(left), records(left))


def test_a_state_is_written_with_the_end_of_the_update(
    local_storage: Storage, snapshot: Snapshot, make_life: MakeLife, bot_api: BotAPI
) -> None:
    """After a kill in a handler, the state that it had set is not there, and it is called again."""

    def add(life: Life, storage: Storage, on_begin: Callable[[], object]) -> None:
        sessions: Sessions[Any] = Sessions(storage=storage)
        life.bot.add_custom_filter(StateFilter(life.bot))

        @life.bot.message_handler(state="next")
        @sessions.with_session
        def later(message: Any, session: Session) -> None:
            noting(session, f"later {message.text}")

        @life.bot.message_handler()
        @sessions.with_session
        def first(message: Any, session: Session) -> None:
            life.bot.set_state(message.from_user.id, "next", message.chat.id)
            noting(session, f"first {message.text}")
            on_begin()

    life = make_life(local_storage, state_storage=SessionStateStorage(local_storage))
    add(life, local_storage, snapshot.take)
    send(bot_api, "1")
    life.run()

    with snapshot.open() as left:
        later = make_life(left, state_storage=SessionStateStorage(left))
        add(later, left, bool)
        send(bot_api, "2")
        later.run()

        assert (["first 1", "later 2"], []) == (effects(left), records(left))
