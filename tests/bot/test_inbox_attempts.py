"""Updates whose handlers cannot be called, because the storage fails before."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from telebot.custom_filters import StateFilter
from telebot.handler_backends import BaseMiddleware, ContinueHandling

from support.inboxes import (
    BOT_ID,
    Life,
    MakeLife,
    add_notes,
    effects,
    noting,
    records,
    send,
    texts_in,
)
from support.polling import wait_until
from support.postgres import PostgresServer
from support.servers import Server
from support.updates import ANNA, BORIS, said
from telesession import (
    MemoryStorage,
    PostgresStorage,
    RedisStorage,
    Session,
    Sessions,
    SessionStateStorage,
    Storage,
    StorageError,
    ask,
    on_commit,
    session_filter,
    use_questions,
    use_sequential_workers,
)
from telesession.bot import stored_turns
from telesession.testing import FaultyStorage

if TYPE_CHECKING:
    from support.bots import MakeBot
    from telesession.testing import BotAPI

KEY = str(ANNA["id"])
# The attempts that a storage gets that answers and fails.
ATTEMPTS = 1 + len(stored_turns._PAUSES)
ALWAYS = 1000
QUESTIONS = f"@questions-{BOT_ID}:"


@pytest.fixture(autouse=True)
def quick_attempts(monkeypatch: pytest.MonkeyPatch) -> None:
    """The attempts come soon after each other."""
    monkeypatch.setattr(stored_turns, "_PAUSES", (0.001,) * (ATTEMPTS - 1))


@pytest.fixture
def faulty(storage: Storage) -> FaultyStorage:
    """A storage of each kind that fails on request."""
    return FaultyStorage(storage)


@pytest.fixture
def memory() -> FaultyStorage:
    """A storage in memory that fails on request."""
    return FaultyStorage(MemoryStorage())


def raised(life: Life) -> list[type[Exception]]:
    """The classes of the exceptions that `on_error` got."""
    return [type(error) for error in life.errors]


class TestBeforeTheHandler:
    """Failures of the storage before a handler was called."""

    @pytest.mark.parametrize("way", ["poll", "receive"])
    def test_the_lock_of_its_session(
        self, way: str, faulty: FaultyStorage, make_life: MakeLife, bot_api: BotAPI
    ) -> None:
        """If the session cannot be locked and read once, the handler is called after that, once."""
        life = make_life(faulty)
        add_notes(life, faulty)
        faulty.fail("hold", key=KEY)
        send(bot_api, "1", "2")
        life.poll() if way == "poll" else life.receive(*bot_api.unconfirmed)
        life.wait()

        assert (["1", "2"], [], []) == (effects(faulty), records(faulty), life.errors)
        assert not faulty.faults

    def test_one_of_two_sessions(
        self, memory: FaultyStorage, make_life: MakeLife, bot_api: BotAPI
    ) -> None:
        """If the second of two sessions cannot be locked, both are changed once after that."""
        life = make_life(memory)
        sessions: Sessions[Any] = Sessions(storage=memory)
        carts: Sessions[Any] = Sessions(storage=memory, name="cart")

        @life.bot.message_handler()
        @sessions.with_session
        @carts.with_session
        def handle(message: Any, session: Session, cart: Session) -> None:
            noting(session, message.text)
            noting(cart, message.text)

        memory.fail("hold", key=f"@cart:{KEY}")
        memory.fail("hold", key=KEY, at=2)
        send(bot_api, "tea")
        life.run()

        assert (["tea"], ["tea"], []) == (
            effects(memory),
            effects(memory, name="cart"),
            life.errors,
        )
        assert not memory.faults

    def test_with_class_middlewares(
        self, memory: FaultyStorage, make_life: MakeLife, bot_api: BotAPI
    ) -> None:
        """Class middlewares see each attempt, and the exception of a failed one."""
        seen: list[str] = []

        class Middleware(BaseMiddleware):
            update_types = ("message",)

            def pre_process(self, message: Any, data: Any) -> None:
                """Note the attempt."""
                seen.append("before")

            def post_process(self, message: Any, data: Any, exception: Any) -> None:
                """Note its end."""
                seen.append("after" if exception is None else type(exception).__name__)

        life = make_life(memory, use_class_middlewares=True)
        life.bot.setup_middleware(Middleware())
        add_notes(life, memory)
        memory.fail("hold", key=KEY)
        send(bot_api, "tea")
        life.run()

        assert (["tea"], []) == (effects(memory), life.errors)
        assert ["before", "StorageError", "before", "after"] == seen

    @pytest.mark.parametrize("failures", [0, 1])
    def test_a_listener(
        self, failures: int, memory: FaultyStorage, make_life: MakeLife, bot_api: BotAPI
    ) -> None:
        """A listener that was called by a further attempt is noted by the same name."""
        life = make_life(memory)
        sessions: Sessions[Any] = Sessions(storage=memory)

        def listen(messages: list[Any], session: Session) -> None:
            noting(session, messages[0].text)

        def sender_of(messages: list[Any]) -> int:
            sender: int = messages[0].from_user.id
            return sender

        listens: Sessions[Any] = Sessions(storage=memory, get_storage_key=sender_of)
        life.bot.set_update_listener(listens.with_session(listen))
        done: list[list[str]] = []

        @life.bot.message_handler()
        @sessions.with_session
        def handle(message: Any, session: Session) -> None:
            done.append(records(memory)[0]["done"])

        memory.fail("hold", key=KEY, times=failures)
        send(bot_api, "tea")
        life.run()

        [[name]] = done
        assert (["tea"], []) == (effects(memory), life.errors)
        assert name.endswith(".listen#0")

    def test_a_filter_by_the_session(
        self, memory: FaultyStorage, make_life: MakeLife, bot_api: BotAPI
    ) -> None:
        """If a filter cannot read the session, the update goes to the handler that it fits."""
        life = make_life(memory)
        sessions: Sessions[Any] = Sessions(storage=memory)
        with sessions.open(ANNA["id"]) as session:
            session.step = "name"

        @life.bot.message_handler(func=session_filter(sessions, lambda fields: "step" in fields))
        @sessions.with_session
        def take_name(message: Any, session: Session) -> None:
            noting(session, message.text)

        @life.bot.message_handler()
        @sessions.with_session
        def refuse(message: Any, session: Session) -> None:
            noting(session, "refused")

        memory.fail("get", key=KEY)
        send(bot_api, "Anna")
        life.run()

        assert (["Anna"], [], []) == (effects(memory), records(memory), life.errors)

    def test_a_state(self, memory: FaultyStorage, make_life: MakeLife, bot_api: BotAPI) -> None:
        """If the state of the sender cannot be read, the handler of the state gets the update."""
        life = make_life(memory, state_storage=SessionStateStorage(memory))
        life.bot.add_custom_filter(StateFilter(life.bot))
        life.bot.set_state(ANNA["id"], "ordering")
        sessions: Sessions[Any] = Sessions(storage=memory)

        @life.bot.message_handler(state="ordering")
        @sessions.with_session
        def order(message: Any, session: Session) -> None:
            noting(session, message.text)

        life.bot.register_message_handler(life.errors.append)
        memory.fail("get", key=next(memory.keys("@telebot-states:")))
        send(bot_api, "tea")
        life.run()

        assert (["tea"], [], []) == (effects(memory), records(memory), life.errors)


class TestQuestions:
    """Failures of the storage before the step of a question was called."""

    @pytest.fixture
    def life(self, memory: FaultyStorage, make_life: MakeLife, bot_api: BotAPI) -> Life:
        """A bot that has asked a question."""
        life = make_life(memory)
        sessions: Sessions[Any] = Sessions(storage=memory)
        use_questions(life.bot, sessions, steps=[take_name])

        @life.bot.message_handler()
        @sessions.with_session
        def start(message: Any, session: Session) -> None:
            noting(session, "asked")
            ask(life.bot, message, "your name?", take_name)

        send(bot_api, "hi")
        life.run()
        return life

    @pytest.mark.parametrize("part", ["record", "answer", "session"])
    def test_the_answer_reaches_its_step(
        self, part: str, life: Life, memory: FaultyStorage, bot_api: BotAPI
    ) -> None:
        """An answer reaches its step, although a record could not be locked or read before."""
        if part == "record":
            memory.fail("get", key=next(memory.keys(QUESTIONS)))
        elif part == "answer":
            memory.fail("hold")
        else:
            memory.fail("hold", key=KEY)
        send(bot_api, "Anna", "bye")
        life.run()

        assert ["asked", "named Anna", "asked"] == effects(memory)
        assert ([], []) == (records(memory), life.errors)
        assert not memory.faults


def take_name(message: Any, session: Session) -> None:
    """The step of the question."""
    noting(session, f"named {message.text}")


SERVERS: dict[str, tuple[Any, Any]] = {
    "redis": (partial(Server, appendonly="yes", appendfsync="always"), RedisStorage),
    "postgres": (PostgresServer, PostgresStorage),
}


@pytest.mark.parametrize("name", SERVERS)
def test_a_server_that_is_away(name: str, make_life: MakeLife, bot_api: BotAPI) -> None:
    """While a server is away, stored updates wait. Once it is back, their handlers are called."""
    make_server, make_storage = SERVERS[name]
    with make_server() as server, make_storage(url_of(server)) as storage:
        life = make_life(storage)
        add_notes(life, storage)
        enter_hold, failures = storage.enter_hold, list[StorageError]()

        def stop_and_hold(*args: Any) -> Any:
            if not failures:
                server.stop()
            try:
                return enter_hold(*args)
            except StorageError as error:
                failures.append(error)
                raise

        storage.enter_hold = stop_and_hold
        send(bot_api, "1", "2")
        life.poll()
        wait_until(lambda: failures)
        server.start()
        life.wait()

        assert (["1", "2"], [], []) == (effects(storage), records(storage), life.errors)
        life.close()


def url_of(server: Any) -> str:
    """The URL of a server, which is an attribute of one class and a method of the other."""
    return server.url if isinstance(server, Server) else server.url()


class TestTheEnd:
    """The end of the attempts."""

    def test_a_storage_that_answers_gets_some_attempts(
        self, memory: FaultyStorage, make_life: MakeLife, bot_api: BotAPI
    ) -> None:
        """If the storage answers, and the handler cannot be called, `on_error` is told at last."""
        life = make_life(memory)
        add_notes(life, memory)
        memory.fail("hold", key=KEY, times=ATTEMPTS)
        send(bot_api, "1", "2")
        life.run()

        assert ([StorageError], ["2"], []) == (raised(life), effects(memory), records(memory))
        assert not memory.faults

    def test_a_storage_that_does_not_answer_is_waited_for(
        self, memory: FaultyStorage, make_life: MakeLife, bot_api: BotAPI
    ) -> None:
        """While the storage does not answer, no attempt is made, and none is counted."""
        life = make_life(memory)
        add_notes(life, memory)
        memory.fail("ping", times=10 * ATTEMPTS)
        memory.fail("hold", key=KEY)
        send(bot_api, "tea")
        life.run()

        assert (["tea"], []) == (effects(memory), life.errors)
        assert not memory.faults

    def test_closing_the_pool_leaves_the_update_in_the_inbox(
        self,
        memory: FaultyStorage,
        make_life: MakeLife,
        bot_api: BotAPI,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        """
        If the pool is closed while the storage is away, the next process has the update.

        Records say which update waits, why, and that it stays, without a text of it.
        """
        life = make_life(memory)
        add_notes(life, memory)
        memory.fail("ping", times=ALWAYS)
        memory.fail("hold", key=KEY)
        send(bot_api, "secret")
        life.poll()
        wait_until(lambda: memory.calls["ping"])
        life.close()
        life.wait()
        assert (["secret"], [], []) == (texts_in(memory), effects(memory), life.errors)
        waits, stays = [record.getMessage() for record in caplog.records]
        assert waits.startswith(
            "update 1 waits for the storage, because its handler could not be called yet: "
        )
        assert "the disk is full" in waits
        assert "update 1 stays in the inbox for the next start" == stays
        assert "secret" not in caplog.text

        memory.clear_faults()
        later = make_life(memory)
        add_notes(later, memory)
        later.run()
        assert (["secret"], []) == (effects(memory), records(memory))

    def test_control_without_an_inbox(self, memory: FaultyStorage, make_bot: MakeBot) -> None:
        """Without an inbox there is one attempt, and `on_error` gets the exception."""
        errors: list[Exception] = []
        bot = make_bot()
        pool = use_sequential_workers(bot, on_error=lambda _, error: errors.append(error))
        sessions: Sessions[Any] = Sessions(storage=memory)
        bot.register_message_handler(sessions.with_session(lambda message, session: None))
        memory.fail("hold", key=KEY)
        bot.process_new_updates([said("tea")])
        wait_until(lambda: not pool.unfinished)

        assert [StorageError] == [type(error) for error in errors]


class TestCalledHandlers:
    """Handlers that were called are not called again."""

    @pytest.mark.parametrize("way", ["raise", "open", "decorated", "on_commit"])
    def test_it_raised_an_error_of_a_storage(
        self, way: str, memory: FaultyStorage, make_life: MakeLife, bot_api: BotAPI
    ) -> None:
        """A handler that raised a `StorageError` itself is not called again."""
        life = make_life(memory)
        sessions: Sessions[Any] = Sessions(storage=memory)
        others: Sessions[Any] = Sessions(storage=memory, name="other")
        calls: list[str] = []
        inner = others.with_session(lambda message, other: None)

        def fail() -> None:
            raise StorageError("read", "1", "it is away")

        @life.bot.message_handler()
        @sessions.with_session
        def handle(message: Any, session: Session) -> None:
            calls.append(message.text)
            if way == "raise":
                fail()
            elif way == "open":
                with others.open(1):
                    pass
            elif way == "decorated":
                inner(message)
            else:
                on_commit(fail)

        memory.fail("hold", key="@other:1")
        memory.fail("hold", key=f"@other:{KEY}")
        send(bot_api, "1")
        life.run()

        assert (["1"], [StorageError], []) == (calls, raised(life), records(memory))

    def test_a_function_without_sessions(
        self, memory: FaultyStorage, make_life: MakeLife, bot_api: BotAPI
    ) -> None:
        """A handler without a decorator that opens a session itself is not called again."""
        life = make_life(memory)
        sessions: Sessions[Any] = Sessions(storage=memory)
        calls: list[str] = []

        @life.bot.message_handler()
        def handle(message: Any) -> None:
            calls.append(message.text)
            with sessions.open(message.from_user.id):
                pass

        memory.fail("hold", key=KEY)
        send(bot_api, "1")
        life.run()

        assert (["1"], [StorageError]) == (calls, raised(life))

    @pytest.mark.parametrize("is_noted", [True, False])
    def test_a_handler_before_it(
        self, is_noted: bool, memory: FaultyStorage, make_life: MakeLife, bot_api: BotAPI
    ) -> None:
        """
        A handler before it is not called again.

        If the record notes the first handler, the second one gets its update by a further attempt.
        Otherwise there is no further attempt.
        """
        life = make_life(memory)
        sessions: Sessions[Any] = Sessions(storage=memory)
        others: Sessions[Any] = Sessions(storage=memory, name="other")
        calls: list[str] = []

        def first(message: Any, session: Any = None) -> ContinueHandling:
            calls.append("first")
            if session is not None:
                noting(session, message.text)
            return ContinueHandling()

        life.bot.register_message_handler(sessions.with_session(first) if is_noted else first)

        @life.bot.message_handler()
        @others.with_session
        def second(message: Any, other: Session) -> None:
            calls.append("second")

        memory.fail("hold", key=f"@other:{KEY}")
        send(bot_api, "1")
        life.run()

        expected = (["first", "second"], []) if is_noted else (["first"], [StorageError])
        assert expected == (calls, raised(life))
        assert [] == records(memory)


def test_other_users_go_on(memory: FaultyStorage, make_life: MakeLife, bot_api: BotAPI) -> None:
    """While an update of one user waits for its next attempt, those of other users are handled."""
    life = make_life(memory, num_threads=2)
    add_notes(life, memory)
    memory.fail("ping", times=ALWAYS)
    memory.fail("hold", key=KEY)
    send(bot_api, "1")
    send(bot_api, "2", person=BORIS)
    life.poll()
    wait_until(lambda: effects(memory, BORIS))
    assert ([], ["2"]) == (effects(memory), effects(memory, BORIS))
    memory.clear_faults()
    life.wait()

    assert (["1"], ["2"], []) == (effects(memory), effects(memory, BORIS), life.errors)
