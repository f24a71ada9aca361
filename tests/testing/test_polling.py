from __future__ import annotations

import sys
import threading
import time
from typing import Any

import pytest
from telebot import ExceptionHandler, TeleBot, apihelper, util
from telebot.handler_backends import BaseMiddleware

from telesession import use_sequential_workers
from telesession.testing import BotAPI, RecordingExceptionHandler, run_polling
from telesession.testing.pool import CountingPool


@pytest.fixture(params=[True, False], ids=["threaded", "unthreaded"])
def threaded(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture
def bot(api: BotAPI, threaded: bool) -> Any:
    return make_bot(threaded=threaded)


def make_bot(**options: Any) -> Any:
    """A bot that answers in capitals, and divides by zero for "0"."""
    bot: Any = TeleBot("77:offline", **options)

    @bot.message_handler(func=lambda message: message.text == "0")
    def divide(message: Any) -> None:
        raise ZeroDivisionError("division by zero")

    @bot.message_handler()
    def shout(message: Any) -> None:
        bot.reply_to(message, message.text.upper())

    return bot


def handle(api: BotAPI, bot: Any, *texts: str) -> None:
    """Let a bot handle some messages, one after the other."""
    with run_polling(bot) as polling:
        for text in texts:
            api.user(1).send(text)
            polling.wait_idle()


def texts(api: BotAPI) -> list[str]:
    return [message.text for message in api.messages]


class TestPolling:
    def test_the_bot_answers(self, api: BotAPI, bot: Any) -> None:
        """Within the block the bot handles updates, those that came before it too."""
        api.user(1).send("a")
        with run_polling(bot) as polling:
            api.user(1).send("b")
            polling.wait_idle()
            assert ["A", "B"] == sorted(texts(api))

    def test_it_gets_every_kind_of_update(self, api: BotAPI, bot: Any) -> None:
        """The bot asks for all kinds of updates, also those that come only if asked for."""
        reactions = []
        bot.message_reaction_handler()(lambda reaction: reactions.append(reaction.message_id))
        sent = bot.send_message(1, "a")
        with run_polling(bot) as polling:
            api.user(1).react(sent, "👍")
            polling.wait_idle()
        assert [sent.message_id] == reactions

    def test_the_threads_end_with_the_block(self, api: BotAPI, bot: Any, threaded: bool) -> None:
        """After the block the bot's threads have ended, telebot's polling thread excepted."""
        before = set(threading.enumerate())
        with run_polling(bot):
            api.user(1).send("a")
            api.wait_for_messages(1)
        after = {thread.name for thread in set(threading.enumerate()) - before}
        assert set() == {name for name in after if name.startswith(("infinity", "Worker"))}
        assert not threaded or not any(worker.is_alive() for worker in bot.worker_pool.workers)

    def test_the_bot_is_as_before(self, api: BotAPI, bot: Any, threaded: bool) -> None:
        """After the block the bot has its own pool and exception handler again."""
        pool = bot.worker_pool if threaded else None
        with run_polling(bot):
            assert threaded == isinstance(getattr(bot, "worker_pool", None), CountingPool)
            assert bot.exception_handler is not None
        assert bot.exception_handler is None
        assert pool is getattr(bot, "worker_pool", None)

    def test_a_bot_can_run_again(self, api: BotAPI, bot: Any) -> None:
        """A bot that was stopped can be run again, and with another server too."""
        for text in "a", "b":
            with run_polling(bot, api) as polling:
                api.user(1).send(text)
                polling.wait_idle()
        with BotAPI() as other:
            other.user(1).send("c")
            with run_polling(bot) as polling:
                polling.wait_idle()
            assert ["C"] == texts(other)
        assert ["A", "B"] == texts(api)

    def test_many_bots_may_follow_each_other(self, api: BotAPI, threaded: bool) -> None:
        """A new bot takes over where the former one has stopped."""
        for text in "abc":
            with run_polling(make_bot(threaded=threaded)) as polling:
                api.user(1).send(text)
                polling.wait_idle()
        assert ["A", "B", "C"] == texts(api)

    def test_it_needs_a_server(self, threaded: bool) -> None:
        """Without a server there is nothing to poll but the real Telegram, and that is refused."""
        with pytest.raises(RuntimeError, match="no loopback Bot API is running"):
            run_polling(make_bot(threaded=threaded))

    def test_a_bot_that_is_refused_does_not_start(self, api: BotAPI, bot: Any) -> None:
        """What Telegram says about the token is raised at once."""
        api.fail_next("getMe", 401)
        with pytest.raises(apihelper.ApiTelegramException, match="Unauthorized"):
            run_polling(bot).__enter__()
        assert bot.exception_handler is None

    def test_a_bot_that_does_not_poll_is_an_error(
        self, api: BotAPI, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A bot that has not polled in time is stopped again, and that is an error."""
        bot = make_bot()
        stopped = threading.Event()
        monkeypatch.setattr(bot, "infinity_polling", lambda **_: stopped.wait(60))
        monkeypatch.setattr(bot, "stop_polling", stopped.set)
        with pytest.raises(TimeoutError, match=r"waited 0\.05 s for the bot to poll"):
            run_polling(bot, timeout=0.05).__enter__()
        assert stopped.is_set()


class TestWaitIdle:
    def test_idle_means_that_every_handler_has_returned(self, api: BotAPI, bot: Any) -> None:
        """The bot is not idle while a handler runs, though it has sent its last message."""
        sent, go_on, returned = threading.Event(), threading.Event(), []

        @bot.edited_message_handler()
        def linger(message: Any) -> None:
            sent.set()
            go_on.wait(10)
            returned.append(message.text)

        with run_polling(bot) as polling:
            api.user(1).edit(api.user(1).send("a"), "b")
            sent.wait(10)
            with pytest.raises(TimeoutError, match=r"waited 0\.01 s for the bot to finish"):
                polling.wait_idle(timeout=0.01)
            assert [] == returned
            go_on.set()
            polling.wait_idle()
            assert ["b"] == returned

    def test_waiting_in_vain_counts_the_handlers(self, api: BotAPI) -> None:
        """A wait that ends without success says how many handlers still run."""
        go_on = threading.Event()
        bot = make_bot()
        bot.edited_message_handler()(lambda message: go_on.wait(10))
        with run_polling(bot) as polling:
            api.user(1).edit(api.user(1).send("a"), "b")
            api.wait_until_confirmed()
            api.wait_for(lambda: bot.worker_pool.unfinished == 1)
            expected = "1 handlers of the bot have not returned: waited 0.01 s for the bot"
            with pytest.raises(TimeoutError, match=f"^{expected}"):
                polling.wait_idle(timeout=0.01)
            go_on.set()

    def test_two_handlers_run_at_once(self, api: BotAPI) -> None:
        """Handlers run in as many threads as the bot has, as without the test."""
        barrier = threading.Barrier(2)
        bot = make_bot(num_threads=2)
        bot.edited_message_handler()(lambda message: barrier.wait(10))
        with run_polling(bot) as polling:
            update = api.user(1).send("a")
            api.user(1).edit(update, "b")
            api.user(1).edit(update, "c")
            polling.wait_idle()
        assert not barrier.broken

    def test_exceptions_are_there_when_it_is_idle(self, api: BotAPI, bot: Any) -> None:
        """When the bot is idle, what its handlers raised has been recorded."""
        with run_polling(bot) as polling:
            for _ in range(20):
                api.user(1).send("0")
                polling.wait_idle()
                assert ["division by zero"] == [str(polling.exceptions.pop())]

    def test_a_bot_that_stopped_will_not_be_idle(self, api: BotAPI, bot: Any) -> None:
        """Waiting for a bot that has stopped itself is an error."""
        stopped = threading.Event()

        @bot.edited_message_handler()
        def stop(message: Any) -> None:
            bot.stop_bot()
            stopped.set()

        with run_polling(bot) as polling:
            api.user(1).edit(api.user(1).send("a"), "b")
            stopped.wait(10)
            api.user(1).send("c")
            with pytest.raises(RuntimeError, match="has stopped polling"):
                polling.wait_idle()


class TestExceptions:
    def test_an_exception_is_raised_at_the_end(self, api: BotAPI, bot: Any) -> None:
        """What a handler raised is raised at the end of the block; till then the bot goes on."""
        with pytest.raises(ZeroDivisionError):
            handle(api, bot, "0", "a")
        assert ["A"] == texts(api)

    def test_several_exceptions_are_a_group(self, api: BotAPI, bot: Any) -> None:
        """Several exceptions are raised together."""
        with pytest.raises(ExceptionGroup) as caught:
            handle(api, bot, "0", "0")
        assert [ZeroDivisionError, ZeroDivisionError] == [type(e) for e in caught.value.exceptions]

    def test_the_blocks_own_exception_wins(self, api: BotAPI, bot: Any) -> None:
        """If the block raises, the bot's exceptions are notes of that exception."""
        polling = run_polling(bot)

        def fail() -> None:
            with polling:
                api.user(1).send("0")
                polling.wait_idle()
                raise AssertionError

        with pytest.raises(AssertionError) as caught:
            fail()
        [note] = caught.value.__notes__
        first, *calls, last = note.splitlines()
        assert (
            "The bot did not handle this in the block:",
            "ZeroDivisionError: division by zero",
        ) == (
            first,
            last,
        )
        assert f'File "{__file__}"' in calls[-2]

    def test_looked_at_exceptions_are_done_with(self, api: BotAPI, bot: Any) -> None:
        """Exceptions that the test takes out of the list are not raised."""
        with run_polling(bot) as polling:
            api.user(1).send("0")
            polling.wait_idle()
            assert isinstance(polling.exceptions.pop(), ZeroDivisionError)

    def test_a_recording_handler_keeps_exceptions(self, api: BotAPI, threaded: bool) -> None:
        """A bot with a RecordingExceptionHandler raises nothing, and the test sees everything."""
        handler = RecordingExceptionHandler()
        bot = make_bot(threaded=threaded, exception_handler=handler)
        with run_polling(bot) as polling:
            api.user(1).send("0")
            polling.wait_idle()
        assert handler is bot.exception_handler
        assert [ZeroDivisionError] == [type(exception) for exception in handler.exceptions]

    def test_a_handler_that_declines_is_no_handler(self, api: BotAPI, threaded: bool) -> None:
        """What the bot's own exception handler does not handle is raised at the end."""
        bot = make_bot(threaded=threaded, exception_handler=ExceptionHandler())
        with pytest.raises(ZeroDivisionError):
            handle(api, bot, "0")

    def test_exceptions_under_class_middlewares(self, api: BotAPI, threaded: bool) -> None:
        """A bot with class middlewares reports exceptions as any other."""
        errors = []

        class Middleware(BaseMiddleware):
            update_types = ("message",)
            update_sensitive = False

            def pre_process(self, message: Any, data: str) -> None:
                pass

            def post_process(self, message: Any, data: str, exception: Exception | None) -> None:
                errors.append(type(exception))

        bot = make_bot(threaded=threaded, use_class_middlewares=True)
        middleware: Any = Middleware
        bot.setup_middleware(middleware())
        with pytest.raises(ZeroDivisionError):
            handle(api, bot, "0")
        assert [ZeroDivisionError] == errors

    def test_an_exit_of_a_handler_is_reported(self, api: BotAPI, bot: Any) -> None:
        """A `SystemExit`, which would end a worker in silence, is the cause of an error."""

        @bot.edited_message_handler()
        def leave(message: Any) -> None:
            raise SystemExit(3)

        polling = run_polling(bot)

        def leave_once() -> None:
            with polling:
                api.user(1).edit(api.user(1).send("a"), "b")
                api.wait_for(lambda: polling.exceptions)

        with pytest.raises(RuntimeError, match=r"raised SystemExit\(3\), which ends") as caught:
            leave_once()
        assert isinstance(caught.value.__cause__, SystemExit)

    def test_no_exception_handler_is_asked_about_an_exit(self, api: BotAPI) -> None:
        """As with telebot, a `SystemExit` is no matter of the bot's exception handler."""
        handler = RecordingExceptionHandler()
        bot = make_bot(exception_handler=handler)
        bot.edited_message_handler()(lambda message: sys.exit())
        with run_polling(bot) as polling:
            api.user(1).edit(api.user(1).send("a"), "b")
            polling.wait_idle()
            raised = [type(error) for error in polling.exceptions]
            polling.exceptions.clear()
        assert ([RuntimeError], []) == (raised, handler.exceptions)

    def test_failures_of_the_polling_itself(self, api: BotAPI, bot: Any) -> None:
        """A refused poll is reported too, and the bot polls on."""
        api.fail_next("getUpdates", 502)
        with pytest.raises(apihelper.ApiTelegramException):
            handle(api, bot, "a")
        assert ["A"] == texts(api)

    def test_raising_handlers_do_not_slow_the_bot_down(
        self, api: BotAPI, bot: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """telebot's pause of three seconds after an unhandled exception does not happen."""
        pauses: list[float] = []
        monkeypatch.setattr(time, "sleep", pauses.append)
        with pytest.raises(ExceptionGroup):
            handle(api, bot, *"00000")
        assert [] == pauses


class TestStopping:
    def test_a_handler_that_does_not_return(self, api: BotAPI, bot: Any, threaded: bool) -> None:
        """A handler that does not return in time is an error, not a test that hangs."""
        started, go_on = threading.Event(), threading.Event()

        @bot.edited_message_handler()
        def hang(message: Any) -> None:
            started.set()
            go_on.wait(10)

        polling = run_polling(bot)
        polling.__enter__()
        polling._timeout = 0.05
        api.user(1).edit(api.user(1).send("a"), "b")
        started.wait(10)
        with pytest.raises(RuntimeError, match="could not stop the bot"):
            polling.__exit__(None, None, None)
        go_on.set()
        assert bot.exception_handler is None

    def test_waiting_updates_are_left(self, api: BotAPI, bot: Any) -> None:
        """The end of the block does not wait for updates, and the next run gets them."""
        with run_polling(bot):
            pass
        api.user(1).send("a")
        assert [] == texts(api)
        with run_polling(bot) as polling:
            polling.wait_idle()
        assert ["A"] == texts(api)


class Pool:
    """A worker pool that is not telebot's: one thread for each task."""

    exception_event = threading.Event()

    def __init__(self) -> None:
        self.threads: list[threading.Thread] = []

    def put(self, task: Any, *args: Any, **kwargs: Any) -> None:
        self.threads.append(threading.Thread(target=task, args=args, kwargs=kwargs))
        self.threads[-1].start()

    def raise_exceptions(self) -> None:
        pass

    def clear_exceptions(self) -> None:
        pass

    def close(self) -> None:
        for thread in self.threads:
            thread.join()


class TestPools:
    def test_the_bots_own_pool_does_the_work(self, api: BotAPI) -> None:
        """A pool that the bot's author put in place runs the handlers, and is closed."""
        bot = make_bot()
        bot.stop_bot()
        pool = bot.worker_pool = Pool()
        with run_polling(bot) as polling:
            api.user(1).send("a")
            polling.wait_idle()
        assert ["A"] == texts(api)
        assert [False] == [thread.is_alive() for thread in pool.threads]

    def test_sequential_workers_are_closed_and_renewed(self, api: BotAPI) -> None:
        """A bot with sequential workers can be polled again, as one with telebot's own."""
        bot = make_bot()
        use_sequential_workers(bot)
        for text in ("a", "b"):
            handle(api, bot, text)
            assert [False] == list({worker.is_alive() for worker in bot.worker_pool.workers})
        assert ["A", "B"] == texts(api)

    def test_what_a_pool_refuses_is_not_waited_for(self, api: BotAPI) -> None:
        """A bot that drops an update is idle when it has handled the others."""
        bot = make_bot()
        use_sequential_workers(bot, num_threads=1, limit=1, when_full="drop")
        started, go_on = threading.Event(), threading.Event()

        @bot.edited_message_handler()
        def hang(message: Any) -> None:
            started.set()
            go_on.wait(10)

        with run_polling(bot) as polling:
            sent = api.user(1).send("a")
            polling.wait_idle()
            api.user(1).edit(sent, "b")
            assert started.wait(10)
            for text in ("c", "d", "e"):
                api.user(1).send(text)
            api.wait_until_confirmed()
            go_on.set()
            polling.wait_idle()
        assert ["A", "C"] == texts(api)

    def test_another_pool_does_not_hang_either(self, api: BotAPI) -> None:
        """A handler that does not return is an error, whoever made the workers."""
        bot = make_bot()
        use_sequential_workers(bot)
        started, go_on = threading.Event(), threading.Event()

        @bot.edited_message_handler()
        def hang(message: Any) -> None:
            started.set()
            go_on.wait(10)

        polling = run_polling(bot, timeout=0.1)
        polling.__enter__()
        api.user(1).edit(api.user(1).send("a"), "b")
        started.wait(10)
        with pytest.raises(RuntimeError, match="1 of its handlers still run"):
            polling.__exit__(None, None, None)
        go_on.set()

    def test_tasks_are_counted_until_done(self) -> None:
        """A task counts from put() until it has returned, and is reported when it raised."""
        reports: list[Exception] = []
        counts: list[Any] = []
        done = threading.Event()
        make_pool: Any = util.ThreadPool
        own = make_pool(make_bot(), num_threads=1)
        pool = CountingPool(own, reports.append, done.set)

        def task(number: int, *, name: str) -> None:
            """A task."""
            counts.append((pool.unfinished, number, name))
            raise ValueError

        pool.put(task, 1, name="a")
        done.wait(10)
        pool.close()
        assert ([(1, 1, "a")], 0) == (counts, pool.unfinished)
        assert [ValueError] == [type(exception) for exception in reports]
        assert own.num_threads == pool.num_threads

    @pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
    def test_a_dying_task_is_counted_too(self, api: BotAPI) -> None:
        """A handler that ends its thread leaves nothing to wait for."""
        bot = make_bot()

        @bot.edited_message_handler()
        def exit_(message: Any) -> None:
            raise GeneratorExit

        with run_polling(bot) as polling:
            api.user(1).edit(api.user(1).send("a"), "b")
            polling.wait_idle()
            api.user(1).send("c")
            polling.wait_idle()
        assert ["A", "C"] == texts(api)
