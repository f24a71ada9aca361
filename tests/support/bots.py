"""Bots in every mode of telebot, bots with workers, bots that ask, and examples at work."""

from __future__ import annotations

import datetime
import importlib.util
import logging
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from telebot import TeleBot, types, util
from telebot.handler_backends import BaseMiddleware

from support.clocks import PATIENCE
from support.threads import Log, in_thread, start, wait_for
from support.updates import (
    ANNA,
    BOT,
    CLARA,
    GROUP,
    TOKEN,
    button_press,
    message,
    private,
    said,
    update,
)
from telesession import (
    MemoryStorage,
    Sessions,
    SessionStateStorage,
    Storage,
    ask,
    use_questions,
)
from telesession.bot.workers import is_telebots, stop_workers
from telesession.sessions import sessions_in_room
from telesession.testing import (
    BotAPI,
    Group,
    RecordingExceptionHandler,
    User,
    forget_sessions,
    run_polling,
)

if TYPE_CHECKING:
    from types import ModuleType

    import pytest

    from telesession.testing import Polling, SentMessage


WORKERS = 2
# Whether handlers run in workers, and whether telebot looks at their signatures.
MODES = [
    ("one-thread", "no-middlewares"),
    ("one-thread", "class-middlewares"),
    ("threads", "no-middlewares"),
    ("threads", "class-middlewares"),
]


class Host:
    """
    A bot and what it needs to be sure that its handlers have returned.

    Args:
        threaded: Whether handlers run in telebot's worker threads.
        use_class_middlewares: Whether telebot looks at the signatures of handlers.
    """

    def __init__(self, *, threaded: bool = False, use_class_middlewares: bool = False) -> None:
        self.handler = RecordingExceptionHandler()
        self.bot = TeleBot(
            TOKEN,
            threaded=threaded,
            num_threads=WORKERS,
            use_class_middlewares=use_class_middlewares,
            exception_handler=self.handler,
        )

    @property
    def raised(self) -> list[Exception]:
        return self.handler.exceptions

    def deliver(self, *updates: types.Update) -> None:
        """Let the bot process updates, one after the other, and its handlers finish."""
        for each in updates:
            self.bot.process_new_updates([each])
            if self.bot.threaded:
                # Every worker has to come to the barrier, so none has a handler left to run.
                barrier = threading.Barrier(WORKERS + 1, timeout=PATIENCE)
                for _ in range(WORKERS):
                    self.bot.worker_pool.put(barrier.wait)
                barrier.wait()

    def close(self) -> None:
        if self.bot.threaded:
            end_workers(self.bot)


def end_workers(bot: TeleBot) -> None:
    """End the workers of a bot, without the half second that an idle one takes to notice."""
    if is_telebots(bot.worker_pool):
        stop_workers(bot.worker_pool)
    else:
        bot.worker_pool.close()
    for worker in bot.worker_pool.workers:
        worker.join(PATIENCE)
    assert [] == [worker.name for worker in bot.worker_pool.workers if worker.is_alive()]


def make_host(*modes: str) -> Iterator[Host]:
    host = Host(threaded="threads" in modes, use_class_middlewares="class-middlewares" in modes)
    yield host
    host.close()


class TeaMiddleware(BaseMiddleware):
    """Gives handlers a value of its own, and one that has the same name as our session."""

    def __init__(self) -> None:
        super().__init__()
        self.update_types = ["message"]
        self.answer: Any = None
        self.on_done: Callable[[Exception | None], object] = lambda _: None

    def pre_process(self, message: types.Message, data: dict[str, Any]) -> Any:
        data["tea"] = "sencha"
        data["session"] = "a session of a database"
        return self.answer

    def post_process(
        self, message: types.Message, data: dict[str, Any], exception: Exception | None
    ) -> None:
        self.on_done(exception)


ROOT = Path(__file__).parents[2]


class Stage:
    """An example whose bot is polling, and whoever acts on it."""

    def __init__(self, module: ModuleType, api: BotAPI, polling: Polling) -> None:
        self.module: Any = module
        self.api = api
        self.polling = polling

    def say(self, user: int, text: str, chat: Group | None = None) -> list[str]:
        """Send a message, and return the texts of the replies."""
        return self.polling.say(self.user(user), text, chat=chat).texts

    def press(self, user: int, label: str) -> tuple[str, list[str]]:
        """Press a button of the user's latest message, and return how that reads then."""
        self.polling.replies_to(self.user(user).press(self.latest(user), label))
        latest = self.latest(user)
        return latest.text, [button["text"] for button in latest.buttons]

    def latest(self, user: int) -> SentMessage:
        """The latest message of the bot that a user sees."""
        return self.user(user).messages[-1]

    def user(self, user: int) -> User:
        return self.api.user(user)


@contextmanager
def on_stage(name: str, api: BotAPI) -> Iterator[Stage]:
    """Import an example as a new process would, and let its bot poll."""
    forget_sessions()
    module = load(name)
    try:
        with run_polling(module.bot, api, timeout=PATIENCE) as polling:
            yield Stage(module, api, polling)
    finally:
        for storage in vars(module).values():
            if isinstance(storage, Storage):
                storage.close()
        del sys.modules[module.__name__]


def load(name: str) -> Any:
    path = ROOT / "examples" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"example_{name}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Where dataclasses and pickle look for the classes of a module.
    sys.modules[module.__name__] = module
    spec.loader.exec_module(module)
    return module


def forget_settings(patch: pytest.MonkeyPatch) -> None:
    """Take away what examples read from the environment."""
    desk = ("OPERATOR_ID", "DESK_CHAT_ID", "DESK_TOPIC_ID")
    for name in ("BOT_TOKEN", "BOT_DATABASE", "REDIS_URL", *desk):
        patch.delenv(name, raising=False)


class Terminal:
    """An example in a process of its own, typed at through a pipe."""

    def __init__(self, name: str, lines: str, directory: Path) -> None:
        self._lines = lines
        self._process = subprocess.Popen(
            [sys.executable, "-W", "error", str(ROOT / "examples" / f"{name}.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=directory,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )

    def result(self) -> tuple[str, str, int]:
        """What it printed, its complaints, and its exit code."""
        try:
            printed, complaints = self._process.communicate(self._lines, timeout=2 * PATIENCE)
        finally:
            self.close()
        return printed, complaints, self._process.returncode

    def close(self) -> None:
        """End it if nobody asked for its result."""
        if self._process.returncode is None:
            self._process.kill()
            self._process.communicate()


ANNA_IN_GROUP = f"sender_in_chat:{GROUP['id']}:{ANNA['id']}"


def said_to_business(text: str, connection: str, person: dict[str, Any] = ANNA) -> types.Update:
    """A message to a business account that the bot answers for."""
    fields = {"business_connection_id": connection, "text": text}
    return update("business_message", message(private(ANNA), person, **fields))


def posted(text: str, channel: dict[str, Any]) -> types.Update:
    """A post in a channel."""
    return update("channel_post", message(channel, sender_chat=channel, text=text))


def pressed(chat: dict[str, Any], person: dict[str, Any] = ANNA, **fields: Any) -> types.Update:
    """A press of a button under a message of the bot."""
    return update("callback_query", button_press(person, message=message(chat, BOT, **fields)))


class Desk:
    """
    A bot at work: whoever says "ask me", or presses a button, is asked; what others hear is noted.

    Args:
        host: The bot.
        storage: Where its questions are.
        listens: Whether it listens for answers from the start.
        options: Of `ask`.
    """

    def __init__(
        self, host: Host, storage: Storage | None = None, *, listens: bool = True, **options: Any
    ) -> None:
        self.heard: list[tuple[str, str | None]] = []
        self.sent: list[types.Message] = []
        self.bot = host.bot
        self.options = options
        self.sessions = Sessions(storage=storage or MemoryStorage())
        if listens:
            use_questions(host.bot, self.sessions, steps=[self.step])
        everything = [*util.content_type_media, *util.content_type_service]
        for kind in ("message", "business_message", "channel_post"):
            register = getattr(host.bot, f"register_{kind}_handler")
            register(self.handle, content_types=everything, func=lambda _: True)
        host.bot.register_callback_query_handler(self.ask, func=lambda _: True)

    def ask(self, update: Any) -> None:
        self.sent.append(ask(self.bot, update, "well?", self.step, **self.options))

    def step(self, message: Any) -> None:
        self.heard.append(("step", message.text))

    def handle(self, message: Any) -> None:
        if message.text == "ask me":
            self.ask(message)
        else:
            self.heard.append(("handler", message.text))


def waiting_questions(storage: Storage) -> list[str]:
    """The senders and chats that questions wait for."""
    records = sessions_in_room(f"@questions-{BOT['id']}:", storage=storage)
    return sorted(
        key
        for key, record in records.items()
        if any(name.startswith("question:") for name in record)
    )


class Refusal(Exception):
    """What a step raises."""


MakeBot = Callable[..., TeleBot]


def poll_update(number: int) -> types.Update:
    """A poll, which nobody sends."""
    poll = {"id": str(number), "question": "Tea?", "options": [], "total_voter_count": 0}
    flags = {"is_closed": False, "is_anonymous": True, "allows_multiple_answers": False}
    return update("poll", {**poll, **flags, "type": "regular"})


def close_pool(pool: Any) -> None:
    """Close a pool, without waiting for workers of telebot to look up by themselves."""
    if isinstance(pool, util.ThreadPool):
        for worker in pool.workers:
            worker.stop()
        for _ in pool.workers:
            pool.put(int)
    in_thread(pool.close)


def order_of_first_and_second(bot: TeleBot, first: types.Update, second: types.Update) -> list[str]:
    """Who ends first, when the first update lasts until somebody with another key is done."""
    log, over = Log(), threading.Event()

    @bot.message_handler()
    def handle(message: types.Message) -> None:
        if message.text == "1":
            wait_for(over)
        log.add(message.text)
        if message.text == "other":
            over.set()

    bot.process_new_updates([first, second, said("other", CLARA)])
    return log.wait_for(3)


class DarknessError(Exception):
    """What handlers raise."""


def polling_in_a_thread(bot: TeleBot, log: Log) -> threading.Thread:
    """A bot that polls until it raises or is stopped; both are logged."""

    def poll() -> None:
        try:
            bot.polling(logger_level=None)
        except DarknessError as error:
            log.add(type(error))
        else:
            log.add("stopped")

    return start(poll)


def messages_in(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The warnings that telesession has logged, which logged nothing else."""
    records = [record for record in caplog.records if record.name == "telesession"]
    assert {logging.WARNING} >= {record.levelno for record in records}
    return [record.getMessage() for record in records]


def exceptions_in(caplog: pytest.LogCaptureFixture) -> list[type[BaseException] | None]:
    """The types of the exceptions that were logged with their tracebacks."""
    return [record.exc_info[0] for record in caplog.records if record.exc_info]


CHAT, USER = -100, 42


StatePlace = dict[str, Any]

# What telebot tells apart, and what might be mistaken for something else.
STATE_PLACES: list[StatePlace] = [
    {"chat_id": 42, "user_id": 42, "bot_id": 1},
    {"chat_id": -100, "user_id": 42, "bot_id": 1},
    {"chat_id": -100, "user_id": 43, "bot_id": 1},
    {"chat_id": -100, "user_id": 42, "bot_id": 2},
    {"chat_id": -100, "user_id": 42, "message_thread_id": 7, "bot_id": 1},
    {"chat_id": 42, "user_id": 42, "business_connection_id": "AbC_1-x", "bot_id": 1},
    {
        "chat_id": -100,
        "user_id": 42,
        "business_connection_id": "AbC_1-x",
        "message_thread_id": 7,
        "bot_id": 1,
    },
    {"chat_id": 42, "user_id": 42},
    {"chat_id": 42, "user_id": 42, "business_connection_id": "AbC_1-x"},
    {"chat_id": -100, "user_id": None, "bot_id": 1},
]
WHEN = datetime.datetime(2024, 2, 29, 12, 30, 15, 5)


def fill_states(states: Any, places: list[StatePlace] = STATE_PLACES) -> None:
    """Let one of telebot's storages write a state and data for each place."""
    for number, place in enumerate(places):
        states.set_state(state=f"Group:state{number}", **place)
        states.set_data(key="number", value=number, **place)
        states.set_data(key="nested", value={"list": [number, None, True, 2.5]}, **place)


def read_states(states: Any, places: list[StatePlace] = STATE_PLACES) -> list[Any]:
    """The state and the data of each place."""
    return [(states.get_state(**place), states.get_data(**place)) for place in places]


def write_pickle(path: Path, content: object) -> Path:
    path.write_bytes(pickle.dumps(content))
    return path


def state_record(**data: Any) -> dict[str, Any]:
    return {"state": "here", "data": data}


# What a bot finds of users of the older format, each with its state.
OLDER_STATES = [("here", data) for data in ({"a": 1}, {"a": 2}, {}, {"a": 4})]


def read_older_states(storage: Storage) -> list[Any]:
    """What a bot finds of the users whose states are in the older format."""
    states = SessionStateStorage(storage)
    bot: Any = TeleBot("1:offline", state_storage=states, threaded=False)
    found = []
    for user, chat in [(1, -100), (2, -100), (3, -100), (42, None)]:
        with bot.retrieve_data(user, chat) as data:
            found.append((bot.get_state(user, chat), data))
    return found
