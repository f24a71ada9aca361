"""Lifetimes in a bot with threads, while its clock stands still."""

from __future__ import annotations

import time
from datetime import timedelta

import pytest
from freezegun import freeze_time
from telebot import TeleBot

from support.clocks import PATIENCE, START
from support.sessions import JUST_BEFORE, LIFETIME
from support.threads import start
from telesession import LockTimeoutError, MemoryStorage, Sessions, ttl, with_session
from telesession.bot.workers import stop_workers
from telesession.testing import run_polling


def read_clock(depth):
    return time.monotonic() if depth == 0 else read_clock(depth - 1)


def readings_in_a_thread():
    """The monotonic clock as a shallow and as a deep frame of a new thread see it."""
    readings = []

    def read():
        readings.extend((read_clock(0), read_clock(20)))

    start(read).join(PATIENCE)
    return readings


class TestThreadedBot:
    """A real bot with threads, while its clock stands still."""

    @pytest.fixture
    def bot(self, bot_api):
        bot = TeleBot("42:offline", num_threads=4)
        yield bot
        stop_workers(bot.worker_pool)
        for worker in bot.worker_pool.workers:
            worker.join(PATIENCE)

    def test_plain_freezegun_gives_real_time_to_shallow_frames_of_threads(self):
        """Without the fixture a thread's shallow calls see the real clock: the control."""
        with freeze_time(START):
            shallow, deep = readings_in_a_thread()
            assert (False, True) == (shallow == time.monotonic(), deep == time.monotonic())

    def test_the_fixture_freezes_every_frame_of_every_thread(self, frozen_time):
        """With the inspection limit at 1 the clock is frozen everywhere."""
        assert [time.monotonic()] * 2 == readings_in_a_thread()
        frozen_time.tick(LIFETIME)
        assert [time.monotonic()] * 2 == readings_in_a_thread()

    def test_fields_of_a_threaded_bot_expire_at_their_deadline(self, frozen_time, bot_api, bot):
        """In a bot with threads a field is there until its deadline, and not at it."""
        storage = MemoryStorage()

        @bot.message_handler(commands=["login"])
        @with_session(storage=storage)
        def login(message, session):
            session.code = ttl(f"code-{message.from_user.id}", LIFETIME)

        @bot.message_handler()
        @with_session(storage=storage)
        def check(message, session):
            bot.send_message(message.chat.id, session.get("code", "expired"))

        def ask_all():
            known = len(bot_api.messages)
            for user in users:
                user.send("?")
            polling.wait_idle(PATIENCE)
            return sorted(sent.text for sent in bot_api.messages[known:])

        frozen_time.move_to(START)
        users = [bot_api.user(number) for number in range(1, 7)]
        codes = [f"code-{user.id}" for user in users]
        with run_polling(bot, bot_api, timeout=PATIENCE) as polling:
            for user in users:
                user.send("/login")
            polling.wait_idle(PATIENCE)
            frozen_time.tick(timedelta(seconds=JUST_BEFORE))
            assert codes == ask_all()
            frozen_time.tick(timedelta(microseconds=1))
            assert ["expired"] * 6 == ask_all()

    def test_sessions_of_a_threaded_bot_outlive_no_lifetime(self, frozen_time, bot_api, bot):
        """In a bot with threads every handler renews `lifetime`, and nothing else does."""
        storage = MemoryStorage()

        @bot.message_handler()
        @with_session(initial={"seen": 0}, lifetime=LIFETIME, storage=storage)
        def count(message, session):
            if message.text == "count":
                session.seen += 1
            bot.send_message(message.chat.id, str(session.seen))

        frozen_time.move_to(START)
        user = bot_api.user(1)
        with run_polling(bot, bot_api, timeout=PATIENCE) as polling:
            for text, pause in [("count", JUST_BEFORE), ("?", JUST_BEFORE), ("?", LIFETIME)]:
                user.send(text)
                polling.wait_idle(PATIENCE)
                frozen_time.tick(timedelta(seconds=pause))
            user.send("?")
            polling.wait_idle(PATIENCE)
        assert ["1", "1", "1", "0"] == [sent.text for sent in bot_api.messages]

    def test_waits_stay_real_while_the_clock_is_frozen(self, frozen_time, bot_api, bot):
        """Waiting for a busy session ends after lock_timeout of real time, on a frozen clock."""
        sessions = Sessions(storage=MemoryStorage(), lock_timeout=0.05)

        @bot.message_handler()
        @sessions.with_session
        def wait(message, session):
            bot.send_message(message.chat.id, "got it")

        before = time.monotonic()
        with sessions.open("1"), run_polling(bot, bot_api, timeout=PATIENCE) as polling:
            bot_api.user(1).send("hi")
            polling.wait_idle(PATIENCE)
            raised = [type(error) for error in polling.exceptions]
            polling.exceptions.clear()
        assert ([LockTimeoutError], []) == (raised, bot_api.messages)
        assert before == time.monotonic()
