"""Attached bots that run: under polling, under a webhook, and in many threads."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest
from telebot import TeleBot, types
from telebot.handler_backends import MemoryHandlerBackend

from support.bots import Host, make_host
from support.clocks import PATIENCE
from support.handlers import KEY, KIND_CASES, REFUSED_HANDLERS, keep, note
from support.sessions import fields_of
from support.storages import UnlockedStorage
from support.threads import Waits, start
from support.updates import register, said
from telesession import NoSessionKeyError, Session, Sessions
from telesession.bot.attachment import Attachment
from telesession.testing import (
    OFFLINE_TOKEN,
    BotAPI,
    RecordingExceptionHandler,
    run_polling,
)

if TYPE_CHECKING:
    from collections.abc import Iterator


def counting_bot(sessions: Sessions[Session], **options: Any) -> TeleBot:
    """A bot that counts messages, asks for a name, and has its buttons pressed; undecorated."""
    bot = TeleBot(OFFLINE_TOKEN, **options)

    @bot.message_handler(commands=["name"])
    def ask(message, session):
        bot.register_next_step_handler(message, answer, "hello")

    def answer(message, greeting, session):
        session.name = message.text
        bot.send_message(message.chat.id, f"{greeting} {session.name}")

    @bot.callback_query_handler(func=None)
    def press(query, session):
        session.pressed = query.data

    sessions.attach(bot)

    @bot.message_handler()
    def count(message, session):
        session.count = session.get("count", 0) + 1
        markup = types.InlineKeyboardMarkup()
        markup.add(types.InlineKeyboardButton("more", callback_data="more"))
        bot.send_message(message.chat.id, str(session.count), reply_markup=markup)

    return bot


POLLED = [
    pytest.param({"threaded": threaded, "use_class_middlewares": middlewares}, id=f"{a}-{b}")
    for threaded, a in ((False, "one-thread"), (True, "threads"))
    for middlewares, b in ((False, "no-middlewares"), (True, "class-middlewares"))
]


@pytest.mark.parametrize("options", POLLED)
def test_a_bot_that_polls_has_its_sessions(
    options: dict[str, Any], bot_api: BotAPI, sessions: Sessions[Session]
) -> None:
    """The main flow under polling: messages, buttons, next steps, and after `detach` none."""
    bot, anna = counting_bot(sessions, **options), bot_api.user(1)
    with run_polling(bot, timeout=PATIENCE) as polling:
        for text in ("hi", "hi", "/name", "Anna"):
            anna.send(text)
            polling.wait_idle(PATIENCE)
        anna.press(bot_api.messages[0], "more")
        polling.wait_idle(PATIENCE)
        texts = [message.text for message in bot_api.messages]

    assert ["1", "2", "hello Anna"] == texts
    assert {"count": 2, "name": "Anna", "pressed": "more"} == sessions.peek(1)


def test_messages_of_one_user_lose_nothing_in_many_threads(
    bot_api: BotAPI, sessions: Sessions[Session], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Eight workers, and a hundred messages of one user in one go: all of them are counted."""
    waits = Waits.watch(monkeypatch)
    bot = TeleBot(OFFLINE_TOKEN, num_threads=8)
    sessions.attach(bot, sequential=False)

    @bot.message_handler()
    def count(message, session):
        if "count" not in session:
            # Until all the other workers have a message, too, and wait for this session.
            names = {waits.next() for _ in range(7)}
            assert 7 == len(names)
        session.count = session.get("count", 0) + 1

    with run_polling(bot, timeout=PATIENCE) as polling:
        for _ in range(100):
            bot_api.user(1).send("hi")
        polling.wait_idle(PATIENCE)

    assert {"count": 100} == sessions.peek(1)


def test_without_locks_messages_are_lost(bot_api: BotAPI) -> None:
    """The control: where locks do nothing, two handlers meet and one of them is lost."""
    sessions = Sessions(storage=UnlockedStorage())
    bot = TeleBot(OFFLINE_TOKEN, num_threads=2)
    sessions.attach(bot, sequential=False)
    both_are_in = threading.Barrier(2, timeout=PATIENCE)

    @bot.message_handler()
    def count(message, session):
        session.count = session.get("count", 0) + 1
        both_are_in.wait()

    with run_polling(bot, timeout=PATIENCE) as polling:
        bot_api.user(1).send("hi")
        bot_api.user(1).send("hi")
        polling.wait_idle(PATIENCE)

    assert {"count": 1} == sessions.peek(1)


@contextmanager
def serving(bot: TeleBot) -> Iterator[str]:
    """The address of a web server with threads that hands to the bot what is posted to it."""

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            bot.process_new_updates([types.Update.de_json(body)])
            self.send_response_only(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

    with ThreadingHTTPServer(("127.0.0.1", 0), Receiver) as server:
        thread = start(server.serve_forever, 0.01)
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join(PATIENCE)


@pytest.mark.parametrize("modes", [("one-thread",), ("threads", "class-middlewares")], ids="-".join)
def test_a_bot_with_a_webhook_has_its_sessions(
    modes: tuple[str, ...], bot_api: BotAPI, sessions: Sessions[Session]
) -> None:
    """The main flow under a webhook, in threads of the web server and of the bot."""
    with contextmanager(make_host)(*modes) as host, serving(host.bot) as url:
        sessions.attach(host.bot)

        @host.bot.message_handler()
        def count(message, session):
            session.count = session.get("count", 0) + 1
            host.bot.register_next_step_handler(message, answer, "hello")
            host.bot.send_message(message.chat.id, str(session.count))

        def answer(message, greeting, session):
            session.name = message.text
            host.bot.send_message(message.chat.id, f"{greeting} {session.name}")

        host.bot.set_webhook(url)
        for number, text in enumerate(["hi", "Anna", "hi"], start=1):
            bot_api.user(1).send(text)
            bot_api.wait_for_messages(number, PATIENCE)
        bot_api.wait_until_confirmed(PATIENCE)

    assert ([], ["1", "hello Anna", "2"]) == (host.raised, [m.text for m in bot_api.messages])
    assert {"count": 2, "name": "Anna"} == fields_of(sessions)


@pytest.mark.parametrize("options", POLLED)
@pytest.mark.parametrize("kind", ["async", "generator", "class"])
def test_a_step_that_cannot_have_a_session_does_not_stop_the_poller(
    kind: str, options: dict[str, Any], bot_api: BotAPI, sessions: Sessions[Session]
) -> None:
    """An async step that wants a session is an error for `exception_handler`; the bot goes on."""
    handler = RecordingExceptionHandler()
    bot = TeleBot(OFFLINE_TOKEN, exception_handler=handler, **options)
    sessions.attach(bot)
    bot.register_message_handler(keep)
    bot.register_next_step_handler_by_chat_id(1, REFUSED_HANDLERS[kind][0])
    # In one batch with the step, where a poller that was stopped would lose it.
    bot_api.user(1).send("lost to the step")
    bot_api.user(2).send("one")

    with run_polling(bot, timeout=PATIENCE) as polling:
        polling.wait_idle(PATIENCE)
        bot_api.user(1).send("two")
        polling.wait_idle(PATIENCE)

    assert [TypeError] == [type(error) for error in handler.exceptions]
    assert ({"seen": [["two"]]}, {"seen": [["one"]]}) == (sessions.peek(1), sessions.peek(2))


def test_an_update_without_a_key_is_an_error_of_the_handler(
    host: Host, sessions: Sessions[Session]
) -> None:
    """Where there is no sender, the handler is not called, and `exception_handler` hears why."""
    case = next(case for case in KIND_CASES if case.kind == "poll")
    sessions.attach(host.bot)
    register(host.bot, "poll", lambda poll, session: note(session, "never"))

    host.deliver(case.parse())

    assert [NoSessionKeyError] == [type(error) for error in host.raised]
    assert [] == list(sessions.keys())


class WatchedMutex:
    """A mutex that says when somebody has to wait for it."""

    def __init__(self) -> None:
        self.waited_for = threading.Event()
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        if not self._lock.acquire(blocking=False):
            self.waited_for.set()
            self._lock.acquire(timeout=PATIENCE)

    def __exit__(self, *_: object) -> None:
        self._lock.release()


class BackendWithASlowGate(MemoryHandlerBackend):
    """Next steps of a bot that made these after `attach`; putting up the gate takes a while."""

    def __init__(self) -> None:
        super().__init__()
        self.putting_up, self.going_on = threading.Event(), threading.Event()
        self.gates: list[object] = []

    def __setattr__(self, name: str, value: object) -> None:
        if name == "get_handlers":
            self.gates.append(value)
            self.putting_up.set()
            self.going_on.wait(PATIENCE)
        super().__setattr__(name, value)


def test_nobody_passes_before_the_gate_stands(sessions: Sessions[Session]) -> None:
    """Threads of a web server that bring the first updates together wait for one gate."""
    host, backend = Host(), BackendWithASlowGate()
    sessions.attach(host.bot)
    host.bot.next_step_backend = backend
    host.bot.register_next_step_handler_by_chat_id(int(KEY), keep)
    mutex = WatchedMutex()
    Attachment.of(host.bot)._mutex = mutex

    threads = [start(host.bot.process_new_updates, [])]
    assert backend.putting_up.wait(PATIENCE)
    threads.append(start(host.bot.process_new_updates, [said("one")]))
    assert mutex.waited_for.wait(PATIENCE)
    backend.going_on.set()
    for thread in threads:
        thread.join(PATIENCE)

    assert ([], {"seen": [["one"]]}) == (host.raised, sessions.peek(KEY))
    assert 1 == len(backend.gates)
