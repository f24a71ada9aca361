"""Sequential workers: the updates of one user in order, those of others meanwhile."""

from __future__ import annotations

import gc
import inspect
import json
import logging
import re
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
import telebot
from clocks import PATIENCE
from stages import on_stage
from telebot import TeleBot, apihelper, types, util
from telebot.async_telebot import AsyncTeleBot
from telebot.handler_backends import BaseMiddleware
from updates import ANNA, BORIS, CLARA, GROUP, TOKEN, UPDATE_IDS, message, private

from telesession import (
    LockTimeoutError,
    MemoryStorage,
    Sessions,
    by_chat,
    by_sender,
    use_sequential_workers,
)
from telesession.testing import BotAPI, RecordingExceptionHandler, run_polling

if TYPE_CHECKING:
    from contextlib import AbstractContextManager


MakeBot = Callable[..., TeleBot]


class Log:
    """What handlers did, in order; any thread may add to it and wait for it."""

    def __init__(self) -> None:
        self.entries: list[Any] = []
        self._changed = threading.Condition()

    def add(self, entry: Any) -> None:
        with self._changed:
            self.entries.append(entry)
            self._changed.notify_all()

    def wait_for(self, count: int) -> list[Any]:
        with self._changed:
            if not self._changed.wait_for(lambda: len(self.entries) >= count, PATIENCE):
                raise TimeoutError(f"waited for {count} entries, and there are {self.entries}")
            return list(self.entries)


def wait(event: threading.Event) -> None:
    """Wait for an event, which fails the handler or the test if it does not come."""
    if not event.wait(PATIENCE):
        raise TimeoutError


def start(function: Callable[..., object], *args: Any) -> threading.Thread:
    """Call a function in a thread that does not outlive the tests."""
    thread = threading.Thread(target=function, args=args, daemon=True)
    thread.start()
    return thread


def update(kind: str, payload: dict[str, Any]) -> types.Update:
    return types.Update.de_json(json.dumps({"update_id": next(UPDATE_IDS), kind: payload}))


def said(text: str, person: dict[str, Any] = ANNA, kind: str = "message") -> types.Update:
    """A message, in the private chat with its sender."""
    return update(kind, {**message(private(person), person), "text": text})


def asked(number: int) -> types.Update:
    """A poll, which nobody sends."""
    poll = {"id": str(number), "question": "Tea?", "options": [], "total_voter_count": 0}
    flags = {"is_closed": False, "is_anonymous": True, "allows_multiple_answers": False}
    return update("poll", {**poll, **flags, "type": "regular"})


@pytest.fixture
def make_bot() -> Iterator[MakeBot]:
    """Makes bots with threads, whose workers end with the test."""
    bots = []

    def make(num_threads: int = 2, **options: Any) -> TeleBot:
        bots.append(TeleBot(TOKEN, num_threads=num_threads, **options))
        return bots[-1]

    yield make
    for bot in bots:
        close(bot.worker_pool)


@pytest.fixture
def make_sequential(make_bot: MakeBot) -> MakeBot:
    """Makes bots whose workers are sequential."""

    def make(num_threads: int = 2, *, workers: Any = None, **options: Any) -> TeleBot:
        bot = make_bot(num_threads, **options)
        use_sequential_workers(bot, **(workers or {}))
        return bot

    return make


@pytest.fixture(params=["telebot's", "sequential"])
def make_either(request: pytest.FixtureRequest) -> MakeBot:
    """Makes bots with the one pool, then with the other."""
    name = "make_bot" if request.param == "telebot's" else "make_sequential"
    make: MakeBot = request.getfixturevalue(name)
    return make


def close(pool: Any) -> None:
    """Close a pool, without waiting for workers of telebot to look up by themselves."""
    if isinstance(pool, util.ThreadPool):
        for worker in pool.workers:
            worker.stop()
        for _ in pool.workers:
            pool.put(int)
    closer = start(pool.close)
    closer.join(PATIENCE)
    assert not closer.is_alive()


# Order and fairness.


def start_six_slow_ones(bot: TeleBot) -> list[str]:
    """Whose updates were begun while Anna's six cannot end, and Boris wrote after them."""
    begun, release = Log(), threading.Event()

    @bot.message_handler()
    def handle(message: types.Message) -> None:
        begun.add(message.text)
        if message.from_user.id == ANNA["id"]:
            wait(release)

    try:
        bot.process_new_updates(
            [*(said(f"Anna {number}") for number in range(6)), said("Boris", BORIS)]
        )
        return begun.wait_for(2)
    finally:
        release.set()
        begun.wait_for(7)


def test_telebots_workers_are_all_taken_by_one_user(make_bot: MakeBot) -> None:
    """Control: with telebot's own two workers, Boris waits behind Anna's slow updates."""
    assert ["Anna 0", "Anna 1"] == start_six_slow_ones(make_bot())


def test_a_user_does_not_wait_behind_another(make_sequential: MakeBot) -> None:
    """With two workers Anna's six slow updates occupy one of them, and Boris has the other."""
    assert ["Anna 0", "Boris"] == sorted(start_six_slow_ones(make_sequential()))


def end_a_slow_first_one(bot: TeleBot) -> list[str]:
    """In which order updates end, when Anna's first one lasts until Boris is done."""
    ended, boris_is_done = Log(), threading.Event()

    @bot.message_handler()
    def handle(message: types.Message) -> None:
        if message.text == "Anna 0":
            wait(boris_is_done)
        ended.add(message.text)
        if message.text == "Boris":
            boris_is_done.set()

    bot.process_new_updates([*(said(f"Anna {n}") for n in range(3)), said("Boris", BORIS)])
    return ended.wait_for(4)


def test_telebots_workers_lose_the_order(make_bot: MakeBot) -> None:
    """Control: with telebot's own workers Anna's later updates overtake a slow one."""
    assert ["Anna 1", "Anna 2", "Boris", "Anna 0"] == end_a_slow_first_one(make_bot())


def test_a_slow_update_is_not_overtaken(make_sequential: MakeBot) -> None:
    """Anna's later updates wait for a slow one, and Boris for none of them."""
    assert ["Boris", "Anna 0", "Anna 1", "Anna 2"] == end_a_slow_first_one(make_sequential())


@pytest.mark.parametrize(
    "use_class_middlewares", [False, True], ids=["no-middlewares", "class-middlewares"]
)
def test_sixteen_workers_keep_every_user_in_order(
    use_class_middlewares: bool, make_sequential: MakeBot
) -> None:
    """Under 16 workers each user's updates are handled one at a time, in the order they came."""
    bot = make_sequential(16, use_class_middlewares=use_class_middlewares)
    users = [{**ANNA, "id": number} for number in range(1, 9)]
    busy = {user["id"]: threading.Lock() for user in users}
    log = Log()

    @bot.message_handler()
    def handle(message: types.Message) -> None:
        alone = busy[message.from_user.id].acquire(blocking=False)
        log.add((message.from_user.id, message.text, alone))
        busy[message.from_user.id].release()

    updates = [said(str(number), user) for number in range(50) for user in users]
    for start in range(0, len(updates), 100):
        bot.process_new_updates(updates[start : start + 100])
    entries = log.wait_for(len(updates))

    for user in users:
        expected = [(user["id"], str(number), True) for number in range(50)]
        assert expected == [entry for entry in entries if entry[0] == user["id"]]


def place_of_another(bot: TeleBot) -> int:
    """How many of Anna's 1,000 queued updates one worker handles before that of Boris."""
    log, release = Log(), threading.Event()

    @bot.message_handler()
    def handle(message: types.Message) -> None:
        log.add(message.text)
        wait(release)

    bot.process_new_updates([said("Anna") for _ in range(1_000)])
    bot.process_new_updates([said("Boris", BORIS)])
    log.wait_for(1)
    release.set()
    return log.wait_for(1_001).index("Boris")


def test_telebots_worker_handles_a_thousand_first(make_bot: MakeBot) -> None:
    """Control: with telebot's own pool all of Anna's 1,000 updates come before that of Boris."""
    assert 1_000 == place_of_another(make_bot(1))


def test_a_thousand_updates_delay_another_by_one_turn(make_sequential: MakeBot) -> None:
    """With a single worker, one of Anna's 1,000 updates comes before that of Boris."""
    assert 1 == place_of_another(make_sequential(1))


def test_an_update_that_waits_occupies_no_worker(make_sequential: MakeBot) -> None:
    """While one of four workers has Anna's first update, the three others meet."""
    bot = make_sequential(4)
    log, others = Log(), threading.Barrier(3, timeout=PATIENCE)
    release = threading.Event()

    @bot.message_handler()
    def handle(message: types.Message) -> None:
        if message.from_user.id == ANNA["id"]:
            wait(release)
        else:
            others.wait()
        log.add(message.text)

    people = [{**BORIS, "id": number} for number in (1, 2, 3)]
    bot.process_new_updates(
        [*(said("Anna") for _ in range(10)), *(said("other", person) for person in people)]
    )
    met = log.wait_for(3)
    release.set()

    assert ["other"] * 3 == met
    assert ["Anna"] * 10 == log.wait_for(13)[3:]


def test_users_in_real_polling_are_kept_in_order(bot_api: BotAPI, make_sequential: MakeBot) -> None:
    """A bot that polls answers every user in order, and none too often."""
    bot = make_sequential(8)

    @bot.message_handler()
    def echo(message: types.Message) -> None:
        bot.reply_to(message, message.text)

    users = [bot_api.user(number) for number in (1, 2, 3)]
    with run_polling(bot, bot_api) as polling:
        for number in range(10):
            for user in users:
                user.send(str(number))
        polling.wait_idle()

    for user in users:
        texts = [sent.text for sent in bot_api.messages if sent.chat_id == user.id]
        assert [str(number) for number in range(10)] == texts


class Diary(BaseMiddleware):
    """Writes down when an update passes it, on the way in and on the way out."""

    def __init__(self, log: Log) -> None:
        super().__init__()
        self.update_types = ["message"]
        self.log = log

    def pre_process(self, message: types.Message, data: dict[str, Any]) -> None:
        data["tea"] = "sencha"
        self.log.add(f"{message.text} in")

    def post_process(
        self, message: types.Message, data: dict[str, Any], exception: Exception | None
    ) -> None:
        self.log.add(f"{message.text} out")


def test_middlewares_are_part_of_the_turn(make_sequential: MakeBot) -> None:
    """A class middleware sees the end of one update of a user before the start of the next."""
    bot, log = make_sequential(2, use_class_middlewares=True), Log()
    bot.setup_middleware(Diary(log))

    @bot.message_handler()
    def handle(message: types.Message, tea: str) -> None:
        log.add(tea)

    bot.process_new_updates([said("1"), said("2")])

    assert ["1 in", "sencha", "1 out", "2 in", "sencha", "2 out"] == log.wait_for(6)


def test_a_session_is_never_waited_for(make_sequential: MakeBot) -> None:
    """Handlers with a session find it free, even if they may not wait for it at all."""
    bot, log = make_sequential(8), Log()
    sessions = Sessions(initial={"texts": []}, storage=MemoryStorage(), lock_timeout=0)

    @bot.message_handler()
    @sessions.with_session
    def handle(message: types.Message, session: Any) -> None:
        session.texts.append(message.text)
        log.add(message.text)

    texts = [str(number) for number in range(50)]
    for person in (ANNA, BORIS):
        bot.process_new_updates([said(text, person) for text in texts])
    log.wait_for(100)
    bot.worker_pool.close()

    assert [{"texts": texts}] * 2 == [sessions.peek(person["id"]) for person in (ANNA, BORIS)]


def test_without_order_a_session_is_busy(make_bot: MakeBot) -> None:
    """Control: with telebot's own workers a session that may not be waited for is found busy."""
    handler, busy, tried = RecordingExceptionHandler(), threading.Event(), Log()
    bot = make_bot(exception_handler=handler)
    sessions = Sessions(storage=MemoryStorage(), lock_timeout=0)

    @sessions.with_session
    def take(message: types.Message, session: Any) -> None:
        busy.set()
        tried.wait_for(1)

    @bot.message_handler()
    def handle(message: types.Message) -> None:
        if message.text == "2":
            wait(busy)
        try:
            take(message)
        finally:
            tried.add(message.text)

    bot.process_new_updates([said("1"), said("2")])

    tried.wait_for(2)
    close(bot.worker_pool)

    assert ["2", "1"] == tried.entries
    assert [LockTimeoutError] == [type(error) for error in handler.exceptions]


# Keys.


def meet(bot: TeleBot, updates: list[types.Update]) -> int:
    """How many handlers meet, when as many as there are updates wait for each other."""
    log, all_of_them = Log(), threading.Barrier(len(updates), timeout=PATIENCE)

    def handle(update: Any) -> None:
        all_of_them.wait()
        log.add(update)

    bot.message_handler()(handle)
    bot.poll_handler(func=lambda _: True)(handle)
    bot.process_new_updates(updates)
    return len(log.wait_for(len(updates)))


def test_updates_without_a_key_run_freely(make_sequential: MakeBot) -> None:
    """Polls, which have no sender, are handled at the same time."""
    assert 3 == meet(make_sequential(3), [asked(number) for number in range(3)])


def test_get_key_may_say_that_there_is_no_key(make_sequential: MakeBot) -> None:
    """Where `get_key` returns `None`, updates of one user are handled at the same time."""
    bot = make_sequential(3, workers={"get_key": lambda update: None})
    assert 3 == meet(bot, [said(str(number)) for number in range(3)])


def test_update_listeners_run_freely(make_sequential: MakeBot) -> None:
    """A listener waits for no handler, and `get_key` is not asked for its list."""
    asked_for, log, heard = Log(), Log(), threading.Event()
    bot = make_sequential(2, workers={"get_key": lambda update: asked_for.add(update) or "key"})

    @bot.message_handler()
    def handle(message: types.Message) -> None:
        wait(heard)
        log.add("handled")

    def listen(messages: list[types.Message]) -> None:
        log.add([message.text for message in messages])
        if len(log.entries) == 2:
            heard.set()

    bot.set_update_listener(listen)
    bot.process_new_updates([said("1"), said("2")])

    assert [["1"], ["2"], "handled", "handled"] == log.wait_for(4)
    assert [types.Message] * 2 == [type(update) for update in asked_for.entries]


def order_of_first_and_second(bot: TeleBot, first: types.Update, second: types.Update) -> list[str]:
    """Who ends first, when the first update lasts until somebody with another key is done."""
    log, over = Log(), threading.Event()

    @bot.message_handler()
    def handle(message: types.Message) -> None:
        if message.text == "1":
            wait(over)
        log.add(message.text)
        if message.text == "other":
            over.set()

    bot.process_new_updates([first, second, said("other", CLARA)])
    return log.wait_for(3)


def in_group(text: str, person: dict[str, Any]) -> types.Update:
    return update("message", {**message(GROUP, person), "text": text})


def test_get_key_decides_who_waits_for_whom(make_sequential: MakeBot) -> None:
    """With `by_chat` two people in a group wait for each other."""
    bot = make_sequential(workers={"get_key": by_chat})
    updates = in_group("1", ANNA), in_group("2", BORIS)
    assert ["other", "1", "2"] == order_of_first_and_second(bot, *updates)


def test_by_default_people_in_a_group_do_not_wait(make_sequential: MakeBot) -> None:
    """Control: with `by_sender` two people in a group do not wait for each other."""
    bot = make_sequential()
    updates = in_group("1", ANNA), in_group("2", BORIS)
    assert ["2", "other", "1"] == order_of_first_and_second(bot, *updates)


def test_a_number_and_its_digits_are_one_key(make_sequential: MakeBot) -> None:
    """The keys `5` and `"5"` are the same, as they are for sessions."""
    keys = {"1": 5, "2": "5", "other": 6}
    bot = make_sequential(workers={"get_key": lambda update: keys[update.text]})
    assert ["other", "1", "2"] == order_of_first_and_second(bot, said("1"), said("2"))


BAD_KEYS = [
    pytest.param(lambda update: "", TypeError, "an empty string", id="empty"),
    pytest.param(lambda update: 1.5, TypeError, "float", id="float"),
    pytest.param(lambda update: True, TypeError, "bool", id="bool"),
    pytest.param(lambda update: update.nothing, AttributeError, "nothing", id="raises"),
]


@pytest.mark.parametrize(("get_key", "kind", "reason"), BAD_KEYS)
def test_a_key_that_is_none_is_reported_and_the_update_runs(
    get_key: Any, kind: type[Exception], reason: str, make_sequential: MakeBot
) -> None:
    """If `get_key` fails, the `exception_handler` is told, and the updates run freely."""
    handler = RecordingExceptionHandler()
    bot = make_sequential(exception_handler=handler, workers={"get_key": get_key})

    assert 2 == meet(bot, [said("secret 1"), said("secret 2")])
    assert [kind, kind] == [type(error) for error in handler.exceptions]
    assert reason in str(handler.exceptions[0])
    assert "secret" not in str(handler.exceptions[0])
    assert "get_key" in handler.exceptions[0].__notes__[0]
    assert not bot.worker_pool.exception_event.is_set()


# The order of a batch.


def handle_kinds(bot: TeleBot) -> list[str]:
    """In which order one worker handles a batch in which kinds alternate."""
    log = Log()
    bot.message_handler()(lambda update: log.add(update.text))
    bot.edited_message_handler()(lambda update: log.add(update.text))
    bot.callback_query_handler(func=lambda _: True)(lambda update: log.add(update.data))
    press = {"id": "1", "from": ANNA, "chat_instance": "1", "data": "3. pressed"}
    bot.process_new_updates(
        [
            said("1. written"),
            said("2. edited", kind="edited_message"),
            update("callback_query", press),
            said("4. written"),
            said("5. edited", kind="edited_message"),
        ]
    )
    return log.wait_for(5)


def test_telebot_regroups_a_batch(make_bot: MakeBot) -> None:
    """Control: telebot alone handles all messages of a batch first, then other kinds."""
    expected = ["1. written", "4. written", "2. edited", "5. edited", "3. pressed"]
    assert expected == handle_kinds(make_bot(1))


def test_a_batch_keeps_the_order_of_telegram(make_sequential: MakeBot) -> None:
    """Messages, edits and button presses of a batch are handled as they happened."""
    expected = ["1. written", "2. edited", "3. pressed", "4. written", "5. edited"]
    assert expected == handle_kinds(make_sequential(8))


def answer_in_two_chats(bot: TeleBot) -> list[str]:
    """What becomes of a batch with the answers of two people who were both asked something."""
    log = Log()
    bot.message_handler()(lambda message: log.add(f"lost {message.text}"))
    for person in (ANNA, BORIS):
        bot.register_next_step_handler_by_chat_id(
            person["id"], lambda message: log.add(f"took {message.text}")
        )
    bot.process_new_updates([said("Anna"), said("Boris", BORIS)])
    return sorted(log.wait_for(2))


def test_telebot_skips_next_steps_of_a_batch(make_bot: MakeBot) -> None:
    """Control: telebot alone offers the second message of a batch to no next-step handler."""
    assert ["lost Boris", "took Anna"] == answer_in_two_chats(make_bot())


def test_next_steps_get_every_message_of_a_batch(make_sequential: MakeBot) -> None:
    """Two people who answer at the same time both reach their next step."""
    assert ["took Anna", "took Boris"] == answer_in_two_chats(make_sequential())


def test_next_steps_and_replies_have_their_turn_too(make_sequential: MakeBot) -> None:
    """What a next-step or a reply handler does comes in the user's order, with its arguments."""
    bot, log = make_sequential(8), Log()
    question = said("question").message
    bot.message_handler()(lambda message: log.add(message.text))
    bot.register_for_reply(question, lambda message, *args: log.add((message.text, *args)), "tea")
    bot.register_next_step_handler(
        question, lambda message, **kwargs: log.add((message.text, kwargs)), unit="cm"
    )
    reply = said("2")
    reply.message.reply_to_message = question

    bot.process_new_updates([said("1"), reply, said("3")])

    assert [("1", {"unit": "cm"}), ("2", "tea"), "2", "3"] == log.wait_for(4)


def test_whatever_processed_updates_before_still_does(make_bot: MakeBot) -> None:
    """A `process_new_updates` that was put on the bot before gets one update at a time."""
    bot, batches = make_bot(), []
    process = bot.process_new_updates

    def theirs(updates: list[types.Update]) -> None:
        batches.append(len(updates))
        process(updates)

    bot.process_new_updates = theirs  # type: ignore[method-assign]
    use_sequential_workers(bot)
    log = Log()
    bot.message_handler()(lambda message: log.add(message.text))

    bot.process_new_updates([said("1"), said("2")])

    assert ["1", "2"] == log.wait_for(2)
    assert [1, 1] == batches


def test_calling_it_again_brings_new_workers_and_nothing_else(make_bot: MakeBot) -> None:
    """A second call replaces the pool, and leaves `process_new_updates` as others made it."""
    bot = make_bot()
    first = use_sequential_workers(bot, num_threads=3)
    process = bot.process_new_updates

    def theirs(updates: list[types.Update]) -> None:
        process(updates)

    bot.process_new_updates = theirs  # type: ignore[method-assign]
    second = use_sequential_workers(bot)

    assert (theirs, second, 3) == (bot.process_new_updates, bot.worker_pool, second.num_threads)
    alive = [worker.is_alive() for worker in [*first.workers, *second.workers]]
    assert [False] * 3 + [True] * 3 == alive


def test_the_former_workers_end(make_bot: MakeBot) -> None:
    """The pool that was there before is closed, and the new one has as many workers."""
    bot = make_bot(5)
    former = bot.worker_pool
    pool = use_sequential_workers(bot)
    assert (pool, 5, 5) == (bot.worker_pool, pool.num_threads, len(pool.workers))
    assert [False] * 5 == [worker.is_alive() for worker in former.workers]
    assert [True] * 5 == [worker.is_alive() and worker.daemon for worker in pool.workers]


@pytest.fixture
def refuse_the_second(monkeypatch: pytest.MonkeyPatch) -> Callable[[TeleBot], list[str]]:
    """What is handled of a batch whose second update a middleware refuses, until it is over."""
    monkeypatch.setattr(apihelper, "ENABLE_MIDDLEWARE", True)

    def run(bot: TeleBot) -> list[str]:
        log, over = Log(), threading.Event()
        refusals = [OSError("the database is on fire")]

        @bot.middleware_handler(update_types=["message"])
        def refuse(bot: TeleBot, message: types.Message) -> None:
            if message.text == "2" and refusals:
                raise refusals.pop()

        @bot.message_handler()
        def handle(message: types.Message) -> None:
            log.add(message.text)
            if message.text == "4":
                over.set()

        updates = [said("1"), said("2"), said("3"), said("4")]
        with pytest.raises(OSError, match="on fire"):
            bot.process_new_updates(updates)
        next_poll = [update for update in updates if update.update_id > bot.last_update_id]
        bot.process_new_updates(next_poll)
        wait(over)
        return log.entries

    return run


def test_telebot_loses_what_came_before_a_refused_update(
    refuse_the_second: Any, make_bot: MakeBot
) -> None:
    """Control: telebot alone never handles the updates before one that a middleware refused."""
    assert ["2", "3", "4"] == refuse_the_second(make_bot(1))


def test_a_refused_update_comes_again(refuse_the_second: Any, make_sequential: MakeBot) -> None:
    """When a middleware raises, what came before is handled, and the rest with the next poll."""
    assert ["1", "2", "3", "4"] == refuse_the_second(make_sequential(1))


# Exceptions.


class DarknessError(Exception):
    """What the handlers here raise."""


def raise_on_one(bot: TeleBot, log: Log) -> None:
    @bot.message_handler()
    def handle(message: types.Message) -> None:
        log.add(message.text)
        if message.text == "1":
            raise DarknessError


def test_the_exception_handler_gets_exceptions(make_either: MakeBot) -> None:
    """As with telebot's pool, the `exception_handler` of the moment gets what handlers raise."""
    bot, log = make_either(1), Log()
    raise_on_one(bot, log)
    bot.exception_handler = handler = RecordingExceptionHandler()

    bot.process_new_updates([said("1"), said("2")])
    log.wait_for(2)

    assert [DarknessError] == [type(error) for error in handler.exceptions]
    assert not bot.worker_pool.exception_event.is_set()
    bot.worker_pool.raise_exceptions()


@pytest.mark.parametrize("handled", [None, False], ids=["no-handler", "refuses"])
def test_the_pool_keeps_what_is_not_handled(handled: Any, make_either: MakeBot) -> None:
    """As with telebot's pool, what no handler handles is raised until it is cleared."""
    bot, log = make_either(1), Log()
    raise_on_one(bot, log)
    if handled is False:
        handler = RecordingExceptionHandler()
        bot.exception_handler = handler
        handler.handle = lambda error: False  # type: ignore[method-assign]

    bot.process_new_updates([said("1"), said("2")])
    log.wait_for(2)

    pool = bot.worker_pool
    assert pool.exception_event.is_set()
    with pytest.raises(DarknessError) as caught:
        pool.raise_exceptions()
    assert pool.exception_info is caught.value
    pool.clear_exceptions()
    pool.raise_exceptions()
    assert not pool.exception_event.is_set()


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


def test_the_poll_loop_raises_what_is_not_handled(bot_api: BotAPI, make_either: MakeBot) -> None:
    """As with telebot's pool, an exception that nobody handles leaves `bot.polling()`."""
    bot, log, ended = make_either(), Log(), Log()
    raise_on_one(bot, log)
    thread = polling_in_a_thread(bot, ended)
    bot_api.user(1).send("1")
    entries = ended.wait_for(1)
    with bot_api.short_polls():
        thread.join(PATIENCE)

    assert ([DarknessError], False) == (entries, bot.worker_pool.exception_event.is_set())


def test_an_exception_that_is_handled_does_not_end_polling(
    bot_api: BotAPI, make_either: MakeBot
) -> None:
    """As with telebot's pool, polling goes on after an exception that was handled."""
    handler = RecordingExceptionHandler()
    bot, log, ended = make_either(exception_handler=handler), Log(), Log()
    raise_on_one(bot, log)
    thread = polling_in_a_thread(bot, ended)
    for text in "123":
        bot_api.user(1).send(text)
    texts = log.wait_for(3)
    with bot_api.short_polls():
        bot.stop_bot()
        thread.join(PATIENCE)

    assert (["1", "2", "3"], ["stopped"]) == (sorted(texts), ended.entries)
    assert [DarknessError] == [type(error) for error in handler.exceptions]


@pytest.mark.parametrize("error", [DarknessError, SystemExit, KeyboardInterrupt, GeneratorExit])
def test_no_exception_keeps_a_key_busy_or_a_worker(
    error: type[BaseException], make_sequential: MakeBot, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever a handler raises, its worker goes on, and the user's next update has its turn."""
    bot, log = make_sequential(1, exception_handler=RecordingExceptionHandler()), Log()

    @bot.message_handler()
    def handle(message: types.Message) -> None:
        log.add(message.text)
        if message.text == "secret":
            raise error("secret")

    bot.process_new_updates([said("secret"), said("2"), said("3")])

    assert ["secret", "2", "3"] == log.wait_for(3)
    assert [True] == [worker.is_alive() for worker in bot.worker_pool.workers]
    told = (
        [] if error is DarknessError else [f"a handler raised {error.__name__}; its worker goes on"]
    )
    assert told == messages_in(caplog)


@pytest.mark.parametrize(
    ("error", "expected"),
    [(LookupError, [LookupError, DarknessError]), (SystemExit, [type(None), type(None)])],
    ids=["LookupError", "SystemExit"],
)
def test_an_exception_handler_that_raises_costs_no_worker(
    error: type[BaseException], expected: list[type], make_sequential: MakeBot
) -> None:
    """If the `exception_handler` raises, its worker goes on, and the poll loop learns of both."""

    class Faulty:
        def handle(self, exception: Exception) -> bool:
            raise error

    bot, log = make_sequential(1, exception_handler=Faulty()), Log()
    raise_on_one(bot, log)

    bot.process_new_updates([said("1"), said("2")])
    log.wait_for(2)

    info = bot.worker_pool.exception_info
    assert expected == [type(info), type(getattr(info, "__context__", None))]
    assert [True] == [worker.is_alive() for worker in bot.worker_pool.workers]


def test_an_exception_handler_that_raises_costs_no_update(make_sequential: MakeBot) -> None:
    """If `get_key` raises and the `exception_handler`, too, a batch is delivered to its end."""

    class Faulty:
        def handle(self, exception: Exception) -> bool:
            raise DarknessError

    bot = make_sequential(exception_handler=Faulty(), workers={"get_key": lambda update: 1 / 0})
    log = Log()
    bot.message_handler()(lambda message: log.add(message.text))

    bot.process_new_updates([said("1"), said("2")])

    assert ["1", "2"] == sorted(log.wait_for(2))
    with pytest.raises(DarknessError):
        bot.worker_pool.raise_exceptions()


# Closing.


def messages_in(caplog: pytest.LogCaptureFixture) -> list[str]:
    records = [record for record in caplog.records if record.name == "telesession"]
    assert {logging.WARNING} >= {record.levelno for record in records}
    return [record.getMessage() for record in records]


class Setting(logging.Handler):
    """Sets an event as soon as something is logged."""

    def __init__(self, event: threading.Event) -> None:
        super().__init__()
        self.event = event

    def emit(self, record: logging.LogRecord) -> None:
        self.event.set()


@pytest.fixture
def logged() -> Iterator[threading.Event]:
    """An event that is set when telesession logs something."""
    handler, logger = Setting(threading.Event()), logging.getLogger("telesession")
    logger.addHandler(handler)
    yield handler.event
    logger.removeHandler(handler)


def test_stop_bot_closes_the_pool(
    make_sequential: MakeBot, logged: threading.Event, caplog: pytest.LogCaptureFixture
) -> None:
    """`stop_bot` lets handlers finish, and one record says how many updates are not handled."""
    bot, begun, ended = make_sequential(), Log(), Log()

    @bot.message_handler()
    def handle(message: types.Message) -> None:
        begun.add(message.text)
        wait(logged)
        ended.add(message.text)

    bot.process_new_updates([said("1"), said("2"), said("3")])
    begun.wait_for(1)
    bot.stop_bot()
    bot.stop_bot()

    assert (["1"], ["1"]) == (begun.entries, ended.entries)
    assert [False, False] == [worker.is_alive() for worker in bot.worker_pool.workers]
    assert ["closed the worker pool: 2 updates that waited are dropped"] == messages_in(caplog)


def test_closing_may_be_repeated(
    make_sequential: MakeBot, caplog: pytest.LogCaptureFixture
) -> None:
    """A pool that is closed is closed once more without a word."""
    pool = make_sequential().worker_pool
    assert [None, None] == [pool.close(), pool.close()]
    assert [[], [False, False]] == [messages_in(caplog), [w.is_alive() for w in pool.workers]]


def test_an_update_after_the_end_is_dropped(
    make_sequential: MakeBot, caplog: pytest.LogCaptureFixture
) -> None:
    """What is delivered to a bot that was stopped is dropped, and a record says so."""
    bot, log = make_sequential(), Log()
    bot.message_handler()(lambda message: log.add(message.text))
    bot.stop_bot()

    bot.process_new_updates([said("secret")])

    assert [[], False] == [log.entries, bot.worker_pool.put(log.add)]
    assert ["dropped a Message: the worker pool is closed"] == messages_in(caplog)[:1]


def test_a_handler_stops_the_bot(bot_api: BotAPI, make_sequential: MakeBot) -> None:
    """A handler may call `stop_bot`: polling ends, and every worker."""
    bot, log, ended = make_sequential(), Log(), Log()

    @bot.message_handler()
    def stop(message: types.Message) -> None:
        bot.stop_bot()
        log.add("stopped from inside")

    thread = polling_in_a_thread(bot, ended)
    bot_api.user(1).send("stop")
    log.wait_for(1)
    with bot_api.short_polls():
        thread.join(PATIENCE)
    bot.worker_pool.close()

    assert (["stopped"], False) == (ended.entries, thread.is_alive())
    assert [False, False] == [worker.is_alive() for worker in bot.worker_pool.workers]


def test_two_handlers_stop_the_bot_at_once(make_sequential: MakeBot) -> None:
    """Handlers that stop the bot at the same time do not wait for each other's end."""
    bot, log, both = make_sequential(), Log(), threading.Barrier(2, timeout=PATIENCE)

    @bot.message_handler()
    def stop(message: types.Message) -> None:
        both.wait()
        bot.stop_bot()
        log.add(message.text)

    bot.process_new_updates([said("Anna"), said("Boris", BORIS)])

    assert ["Anna", "Boris"] == sorted(log.wait_for(2))


def test_a_pool_can_be_renewed(make_sequential: MakeBot) -> None:
    """After its end a pool makes another with the same settings, which works."""
    bot = make_sequential(3, workers={"get_key": by_chat, "limit": 2, "when_full": "drop"})
    bot.stop_bot()
    bot.worker_pool = bot.worker_pool.renew()

    updates = in_group("1", ANNA), in_group("2", BORIS)
    assert ["other", "1", "2"] == order_of_first_and_second(bot, *updates)
    assert "<SequentialWorkers: 3 threads" == repr(bot.worker_pool).partition(",")[0]


# The limit.


def test_a_full_line_blocks_whoever_delivers(make_sequential: MakeBot) -> None:
    """With `limit=2` one update runs, two wait, one is held back, and no more are delivered."""
    log, delivered, count = Log(), Log(), 100

    def get_key(update: Any) -> str:
        log.add(("deliver", int(update.text)))
        delivered.add(bot.last_update_id)
        return "key"

    bot = make_sequential(1, workers={"get_key": get_key, "limit": 2})

    @bot.message_handler()
    def handle(message: types.Message) -> None:
        number = int(message.text)
        delivered.wait_for(min(number + 4, count))
        log.add(("end", number))

    updates = [said(str(number)) for number in range(count)]
    deliverer = start(bot.process_new_updates, updates)
    entries = log.wait_for(2 * count)
    deliverer.join(PATIENCE)

    assert list(range(count)) == [number for what, number in entries if what == "end"]
    too_early = [
        number
        for number in range(count - 4)
        if entries.index(("deliver", number + 4)) < entries.index(("end", number))
    ]
    assert [] == too_early
    assert {updates[-1].update_id} == set(delivered.entries)


def test_without_a_limit_nothing_blocks(make_sequential: MakeBot) -> None:
    """Control: without a limit everything is delivered while the first handler still runs."""
    bot, log, release = make_sequential(1), Log(), threading.Event()

    @bot.message_handler()
    def handle(message: types.Message) -> None:
        wait(release)
        log.add(message.text)

    bot.process_new_updates([said(str(number)) for number in range(1, 7)])
    ended_meanwhile = list(log.entries)
    release.set()

    assert [[], ["1", "2", "3", "4", "5", "6"]] == [ended_meanwhile, log.wait_for(6)]


def test_closing_wakes_whoever_is_blocked(make_sequential: MakeBot) -> None:
    """Closing the pool ends the wait for room, and what waited for it is not handled."""
    delivered, begun = Log(), Log()

    def get_key(update: Any) -> str:
        delivered.add(update.text)
        return "key"

    bot = make_sequential(1, workers={"get_key": get_key, "limit": 1})

    @bot.message_handler()
    def handle(message: types.Message) -> None:
        begun.add(message.text)
        delivered.wait_for(3)
        bot.stop_bot()

    updates = [said(text) for text in "1234"]
    deliverer = start(bot.process_new_updates, updates)
    deliverer.join(PATIENCE)
    bot.worker_pool.close()

    assert (False, ["1", "2", "3", "4"]) == (deliverer.is_alive(), delivered.entries)
    assert ["1"] == begun.entries


def test_a_handler_is_never_blocked(make_sequential: MakeBot) -> None:
    """A handler that delivers updates of its own user to the only worker does not wait."""
    bot, log = make_sequential(1, workers={"limit": 1}), Log()

    @bot.message_handler()
    def handle(message: types.Message) -> None:
        if message.text == "0":
            bot.process_new_updates([said("1"), said("2")])
            bot.process_new_updates([said("3")])
        log.add(message.text)

    bot.process_new_updates([said("0")])

    assert ["0", "1", "2", "3"] == log.wait_for(4)


def test_a_handler_delivers_while_a_batch_is_blocked(make_sequential: MakeBot) -> None:
    """A handler may deliver updates even while a batch waits for the end of this very handler."""
    delivered, log = Log(), Log()

    def get_key(update: Any) -> str:
        delivered.add(update.text)
        return "key"

    bot = make_sequential(1, workers={"get_key": get_key, "limit": 1})

    @bot.message_handler()
    def handle(message: types.Message) -> None:
        if message.text == "0":
            delivered.wait_for(3)
            bot.process_new_updates([said("3"), said("4")])
        log.add(message.text)

    deliverer = start(bot.process_new_updates, [said(text) for text in "012"])
    entries = log.wait_for(5)
    deliverer.join(PATIENCE)

    assert ["0", "1", "2", "3", "4"] == sorted(entries)
    assert ["0", "1"] == entries[:2]


def test_both_halves_of_an_update_have_one_place(make_sequential: MakeBot) -> None:
    """What goes to a reply handler and to a message handler waits, or is dropped, as one."""
    bot = make_sequential(1, workers={"limit": 1, "when_full": "drop"})
    log, release = Log(), threading.Event()

    @bot.message_handler()
    def handle(message: types.Message) -> None:
        log.add(message.text)
        if message.text == "busy":
            wait(release)

    def answer(text: str) -> types.Update:
        bot.register_for_reply_by_message_id(77, lambda message: log.add(f"to {message.text}"))
        reply = message(private(ANNA), ANNA, text=text)
        question = message(private(ANNA), text="?") | {"message_id": 77}
        return update("message", reply | {"reply_to_message": question})

    bot.process_new_updates([said("busy")])
    log.wait_for(1)
    for text in ("kept", "dropped"):
        bot.process_new_updates([answer(text)])
    waiting = bot.worker_pool.waiting
    release.set()
    log.wait_for(3)
    bot.process_new_updates([said("last", BORIS)])

    assert 2 == waiting
    assert ["busy", "to kept", "kept", "last"] == log.wait_for(4)


def test_a_full_line_drops_the_newest(
    make_sequential: MakeBot, caplog: pytest.LogCaptureFixture
) -> None:
    """With `"drop"` a record tells of each update that exceeds the limit, not what it says."""
    bot = make_sequential(2, workers={"limit": 2, "when_full": "drop"})
    begun, release = Log(), threading.Event()

    @bot.message_handler()
    def handle(message: types.Message) -> None:
        begun.add(message.text)
        wait(release)

    bot.process_new_updates([said("1")])
    begun.wait_for(1)
    bot.process_new_updates([said(text) for text in ("2", "3", "secret", "secret")])
    bot.process_new_updates([said("Boris", BORIS)])
    begun.wait_for(2)
    release.set()

    assert ["1", "Boris", "2", "3"] == begun.wait_for(4)
    told = f"dropped a Message: 2 updates of '{ANNA['id']}' wait already, which is the limit"
    assert [told, told] == messages_in(caplog)


def test_updates_without_a_key_know_no_limit(
    make_sequential: MakeBot, caplog: pytest.LogCaptureFixture
) -> None:
    """However many polls wait, none of them is dropped."""
    bot, log = make_sequential(1, workers={"limit": 1, "when_full": "drop"}), Log()
    begun, release = threading.Event(), threading.Event()

    @bot.poll_handler(func=lambda _: True)
    def handle(poll: types.Poll) -> None:
        begun.set()
        wait(release)
        log.add(poll.id)

    bot.process_new_updates([asked(0)])
    wait(begun)
    bot.process_new_updates([asked(number) for number in range(1, 5)])
    release.set()

    assert ["0", "1", "2", "3", "4"] == log.wait_for(5)
    assert [] == messages_in(caplog)


class WatchedBatch(list[types.Update]):
    """A batch that tells when somebody begins to look at it."""

    def __init__(self, updates: list[types.Update], is_seen: threading.Event) -> None:
        super().__init__(updates)
        self.is_seen = is_seen

    def __len__(self) -> int:
        self.is_seen.set()
        return super().__len__()


def test_a_newer_batch_does_not_overtake_a_blocked_one(make_sequential: MakeBot) -> None:
    """While a batch waits for room, whoever polls next waits with what is newer."""
    delivered, log, is_seen = Log(), Log(), threading.Event()

    def get_key(update: Any) -> str:
        delivered.add(update.text)
        return by_sender(update) or ""

    bot = make_sequential(2, workers={"limit": 1, "get_key": get_key})

    @bot.message_handler()
    def handle(message: types.Message) -> None:
        if message.text == "Anna 0":
            wait(is_seen)
        log.add(message.text)

    older = [*(said(f"Anna {number}") for number in range(3)), said("Boris 0", BORIS)]
    newer = WatchedBatch([said("Boris 1", BORIS)], is_seen)
    first = start(bot.process_new_updates, older)
    delivered.wait_for(3)
    second = start(bot.process_new_updates, newer)
    for thread in (first, second):
        thread.join(PATIENCE)
    entries = log.wait_for(5)

    assert ["Boris 0", "Boris 1"] == [text for text in entries if text.startswith("Boris")]
    assert ["Anna 0", "Anna 1", "Anna 2"] == [text for text in entries if text.startswith("Anna")]


# Memory.


def hold_all(bot: TeleBot) -> AbstractContextManager[str]:
    """A `with` block in which every worker is held, which shows what the pool shows by then."""

    @contextmanager
    def hold() -> Iterator[str]:
        workers = bot.worker_pool.num_threads
        met, leave = (threading.Barrier(workers + 1, timeout=PATIENCE) for _ in range(2))
        for _ in range(workers):
            bot.worker_pool.put(lambda: (met.wait(), leave.wait()))
        met.wait()
        yield repr(bot.worker_pool)
        leave.wait()

    return hold()


def test_an_idle_pool_remembers_nobody(make_sequential: MakeBot) -> None:
    """After updates of a thousand users, the pool has no key and no update."""
    bot, log = make_sequential(2), Log()

    @bot.message_handler()
    def handle(message: types.Message) -> None:
        log.add(weakref.ref(message))

    for number in range(1, 1_001):
        bot.process_new_updates([said("hi", {**ANNA, "id": number})] * 2)
    references = log.wait_for(2_000)

    with hold_all(bot) as shown:
        gc.collect()
        alive = [reference for reference in references if reference() is not None]
    assert ("<SequentialWorkers: 2 threads, 2 keys, 0 updates waiting>", []) == (shown, alive)


def test_what_waits_is_counted_and_not_shown(make_sequential: MakeBot) -> None:
    """A pool shows how many keys and updates it has, and neither whose nor which."""
    bot, release, begun = make_sequential(), threading.Event(), Log()

    @bot.message_handler()
    def handle(message: types.Message) -> None:
        begun.add(message.text)
        wait(release)

    bot.process_new_updates([said("1"), said("2"), said("3"), said("4", BORIS)])
    begun.wait_for(2)
    shown = repr(bot.worker_pool), bot.worker_pool.waiting
    release.set()
    begun.wait_for(4)

    assert ("<SequentialWorkers: 2 threads, 2 keys, 2 updates waiting>", 2) == shown


# What telebot wants of a pool, and what this one refuses.


def test_it_has_what_telebot_uses_of_a_pool(make_bot: MakeBot) -> None:
    """Everything that the installed telebot uses of its pool, this one has, with one call form."""
    bot = make_bot()
    theirs = bot.worker_pool
    used = set(re.findall(r"worker_pool\.(\w+)", inspect.getsource(telebot)))
    ours = use_sequential_workers(bot)

    assert {"put", "close", "exception_event", "raise_exceptions", "clear_exceptions"} <= used
    assert set() == {name for name in used | vars(theirs).keys() if not hasattr(ours, name)} - {
        "tasks",
        "telebot",
    }
    for name in ("put", "close", "on_exception", "raise_exceptions", "clear_exceptions"):
        forms = [inspect.signature(getattr(pool, name)).parameters for pool in (theirs, ours)]
        kinds = [[parameter.kind for parameter in form.values()] for form in forms]
        assert kinds[0] == kinds[1]


REFUSED = [
    pytest.param({"num_threads": 0}, ValueError, "num_threads must be 1 or more, not 0", id="none"),
    pytest.param({"num_threads": 2.0}, TypeError, "num_threads must be an int", id="float"),
    pytest.param({"num_threads": True}, TypeError, "num_threads must be an int", id="bool"),
    pytest.param({"limit": 0}, ValueError, "limit must be 1 or more, not 0", id="limit"),
    pytest.param({"limit": "2"}, TypeError, "limit must be an int or None", id="limit-text"),
    pytest.param({"when_full": "wait"}, ValueError, "'block' or 'drop', not 'wait'", id="policy"),
    pytest.param({"when_full": "drop"}, ValueError, "without a limit", id="drop-what"),
    pytest.param({"get_key": "id"}, TypeError, "get_key must be a function", id="key"),
    pytest.param({"get_key": None}, TypeError, "get_key must be a function", id="no-key"),
]


@pytest.mark.parametrize(("options", "kind", "reason"), REFUSED)
def test_silly_options_are_refused(
    options: dict[str, Any], kind: type[Exception], reason: str, make_bot: MakeBot
) -> None:
    """An option that makes no sense is refused at once, and the bot stays as it was."""
    bot = make_bot()
    pool, threads = bot.worker_pool, threading.active_count()
    with pytest.raises(kind, match=re.escape(reason)):
        use_sequential_workers(bot, **options)
    assert (pool, threads) == (bot.worker_pool, threading.active_count())


def test_a_key_function_without_an_argument_is_refused(make_bot: MakeBot) -> None:
    """A `get_key` that cannot take an update is refused at once."""
    with pytest.raises(TypeError, match="get_key must take one argument, the update"):
        use_sequential_workers(make_bot(), get_key=lambda: 1)  # type: ignore[misc]


def test_an_async_key_is_refused(make_bot: MakeBot) -> None:
    """A coroutine function is no `get_key`."""

    async def get_key(update: Any) -> str:
        return "key"

    with pytest.raises(TypeError, match="get_key must not be async"):
        use_sequential_workers(make_bot(), get_key=get_key)  # type: ignore[arg-type]


def test_a_bot_without_threads_is_refused() -> None:
    """A bot with `threaded=False` has no workers to replace."""
    with pytest.raises(ValueError, match="threaded=False"):
        use_sequential_workers(TeleBot(TOKEN, threaded=False))


@pytest.mark.parametrize("bot", [AsyncTeleBot(TOKEN), TeleBot, None], ids=["async", "type", "None"])
def test_what_is_no_bot_is_refused(bot: Any) -> None:
    """Only a `TeleBot` has threads; the message names what was given instead."""
    with pytest.raises(TypeError, match=rf"telebot\.TeleBot, .* {type(bot).__name__}$"):
        use_sequential_workers(bot)


# The example.


class TestInOrder:
    example = "in_order"

    def test_lines_keep_their_order(self, bot_api: BotAPI, monkeypatch: pytest.MonkeyPatch) -> None:
        """A slow first line is not overtaken, and others do not wait for it."""
        monkeypatch.delenv("BOT_TOKEN", raising=False)
        other_is_done = threading.Event()

        def correct(line: str) -> str:
            if line == "one":
                wait(other_is_done)
            if line == "other":
                other_is_done.set()
            return line

        with on_stage("in_order", bot_api) as stage:
            stage.module.correct = correct
            for line in ("one", "two", "three"):
                stage.user(1).send(line)
            stage.say(2, "other")
            told = [stage.say(user, "/text") for user in (1, 2)]

        assert [["one\ntwo\nthree"], ["other"]] == told
