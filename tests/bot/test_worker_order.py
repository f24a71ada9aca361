"""The order of updates under sequential workers: who waits for whom, and who does not."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest
from telebot import TeleBot, types
from telebot.handler_backends import BaseMiddleware

from support.bots import MakeBot, close_pool, order_of_first_and_second, poll_update
from support.clocks import PATIENCE
from support.threads import Log, wait_for
from support.updates import ANNA, BORIS, said, said_in_group
from telesession import LockTimeoutError, MemoryStorage, Sessions, by_chat
from telesession.testing import BotAPI, RecordingExceptionHandler, run_polling

if TYPE_CHECKING:
    from support.bots import Stage


def start_six_slow_ones(bot: TeleBot) -> list[str]:
    """Whose updates were begun while Anna's six cannot end, and Boris wrote after them."""
    begun, release = Log(), threading.Event()

    @bot.message_handler()
    def handle(message: types.Message) -> None:
        begun.add(message.text)
        if message.from_user.id == ANNA["id"]:
            wait_for(release)

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
    assert ["Anna 0", "Anna 1"] == sorted(start_six_slow_ones(make_bot()))


def test_a_user_does_not_wait_behind_another(make_sequential: MakeBot) -> None:
    """With two workers Anna's six slow updates occupy one of them, and Boris has the other."""
    assert ["Anna 0", "Boris"] == sorted(start_six_slow_ones(make_sequential()))


def end_a_slow_first_one(bot: TeleBot) -> list[str]:
    """In which order updates end, when Anna's first one lasts until Boris is done."""
    ended, boris_is_done = Log(), threading.Event()

    @bot.message_handler()
    def handle(message: types.Message) -> None:
        if message.text == "Anna 0":
            wait_for(boris_is_done)
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
        wait_for(release)

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
            wait_for(release)
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
    with run_polling(bot, bot_api, timeout=PATIENCE) as polling:
        for number in range(10):
            for user in users:
                user.send(str(number))
        polling.wait_idle(PATIENCE)

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
    close_pool(bot.worker_pool)

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
            wait_for(busy)
        try:
            take(message)
        finally:
            tried.add(message.text)

    bot.process_new_updates([said("1"), said("2")])

    tried.wait_for(2)
    close_pool(bot.worker_pool)

    assert ["2", "1"] == tried.entries
    assert [LockTimeoutError] == [type(error) for error in handler.exceptions]


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
    assert 3 == meet(make_sequential(3), [poll_update(number) for number in range(3)])


def test_get_key_may_say_that_there_is_no_key(make_sequential: MakeBot) -> None:
    """Where `get_key` returns `None`, updates of one user are handled at the same time."""
    bot = make_sequential(3, workers={"get_key": lambda update: None})
    assert 3 == meet(bot, [said(str(number)) for number in range(3)])


def test_update_listeners_are_part_of_the_turn(make_sequential: MakeBot) -> None:
    """A listener gets a message after those before were handled, and `get_key` no list of it."""
    asked_for, log = Log(), Log()
    bot = make_sequential(2, workers={"get_key": lambda update: asked_for.add(update) or "key"})
    bot.message_handler()(lambda message: log.add(message.text))
    bot.set_update_listener(lambda messages: log.add([message.text for message in messages]))

    bot.process_new_updates([said("1"), said("2")])

    assert [["1"], "1", ["2"], "2"] == log.wait_for(4)
    assert [types.Message] * 2 == [type(update) for update in asked_for.entries]


def test_get_key_decides_who_waits_for_whom(make_sequential: MakeBot) -> None:
    """With `by_chat` two people in a group wait for each other."""
    bot = make_sequential(workers={"get_key": by_chat})
    updates = said_in_group("1", ANNA), said_in_group("2", BORIS)
    assert ["other", "1", "2"] == order_of_first_and_second(bot, *updates)


def test_by_default_people_in_a_group_do_not_wait(make_sequential: MakeBot) -> None:
    """Control: with `by_sender` two people in a group do not wait for each other."""
    bot = make_sequential()
    updates = said_in_group("1", ANNA), said_in_group("2", BORIS)
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


class TestInOrder:
    example = "in_order"

    def test_lines_keep_their_order(self, stage: Stage) -> None:
        """A slow first line is not overtaken, and others do not wait for it."""
        other_is_done = threading.Event()

        def correct(line: str) -> str:
            if line == "one":
                wait_for(other_is_done)
            if line == "other":
                other_is_done.set()
            return line

        stage.module.correct = correct
        for line in ("one", "two", "three"):
            stage.user(1).send(line)
        stage.say(2, "other")
        told = [stage.say(user, "/text") for user in (1, 2)]

        assert [["one\ntwo\nthree"], ["other"]] == told
