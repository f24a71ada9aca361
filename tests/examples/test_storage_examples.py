"""The examples on storages that survive: the core ones unchanged, and those made for them."""

from __future__ import annotations

import json
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING

import pytest
import test_core_examples

import telesession
from support.bots import Stage, Terminal, exceptions_in, load, on_stage
from support.clocks import PATIENCE
from support.servers import Server, patient_url
from support.webhook_processes import Workers, two_workers
from telesession import DecodeError, RedisStorage, Sessions, as_dict, receive

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from freezegun.api import FrozenDateTimeFactory

    from telesession import Storage
    from telesession.testing import BotAPI


SORRY = "sorry, that went wrong, and nothing was saved"

pytestmark = pytest.mark.usefixtures("fresh_process")


@pytest.fixture
def moved(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> Storage:
    """What is imported now, and names no storage, has this one."""
    monkeypatch.setattr(telesession, "Sessions", partial(Sessions, storage=storage))
    decorate = partial(telesession.with_session, storage=storage)
    monkeypatch.setattr(telesession, "with_session", decorate)
    return storage


@pytest.mark.parametrize("storage", ["sqlite", "redis"], indirect=True)
class OnEachStorage:
    """The tests of a core example, which are about memory, once more on the other storages."""

    example: str

    @pytest.fixture
    def stage(
        self, request: pytest.FixtureRequest, bot_api: BotAPI, fresh_process: None, moved: Storage
    ) -> Iterator[Stage]:
        """The example as it is, but for where its sessions are."""
        with on_stage(request.cls.example, bot_api) as stage:
            yield stage


class TestCounterOnEachStorage(OnEachStorage, test_core_examples.TestCounter):
    test_two_lines_are_two_replies = None

    def test_it_goes_on_where_it_was(self, bot_api: BotAPI, moved: Storage) -> None:
        """A bot that is started again finds its sessions, which are in the storage."""
        replies = []
        for _ in range(2):
            with on_stage("counter", bot_api) as stage:
                replies += stage.say(1, "hi")
        assert [f"you called the bot {n} times!" for n in (1, 2)] == replies
        assert ["1"] == list(moved.keys())


class TestLoginCodeOnEachStorage(OnEachStorage, test_core_examples.TestLoginCode):
    pass


class TestShoppingCartOnEachStorage(OnEachStorage, test_core_examples.TestShoppingCart):
    pass


class TestFormOnEachStorage(OnEachStorage, test_core_examples.TestForm):
    # Many cases of what no storage sees.
    test_wrong_numbers_are_asked_for_again = None


class TestGroupGameOnEachStorage(OnEachStorage, test_core_examples.TestGroupGame):
    pass


class TestSQLiteBot:
    example = "sqlite_bot"

    def test_expenses_are_added_up(self, stage: Stage) -> None:
        """Sums are exact to the last digit, and each user has sums of their own."""
        assert ["tea: 0.10, all: 0.10"] == stage.say(1, "0.10 tea")
        assert ["tea: 0.30, all: 0.30"] == stage.say(1, "0.20 tea")
        assert ["jam: 1, all: 1.30"] == stage.say(1, "1 jam")
        assert ["tea: 2, all: 2"] == stage.say(2, "2 tea")
        assert [stage.module.HELP] == stage.say(1, "tea")
        assert {"tea": Decimal("0.30"), "jam": Decimal(1)} == stage.module.books.peek(1).sums

    def test_expenses_at_the_same_time_all_count(self, stage: Stage) -> None:
        """Messages of two users that arrive together are all added."""
        for _ in range(10):
            for user in (1, 2):
                stage.user(user).send("1 tea")
        stage.polling.wait_idle(PATIENCE)
        sums = [stage.module.books.peek(user).sums for user in (1, 2)]
        assert [{"tea": Decimal(10)}] * 2 == sums

    def test_another_process_finds_the_sums(self, tmp_path: Path) -> None:
        """The sums are there in the next process, in the file that the environment names."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("BOT_DATABASE", str(tmp_path / "named.db"))
            for line, expected in [("1 tea", "tea: 1, all: 1"), ("/undo", "tea: 0, all: 0")]:
                result = Terminal("sqlite_bot", f"{line}\n", tmp_path).result()
                assert (f"{expected}\n", "", 0) == result
        assert ["named.db", "named.db-lock"] == sorted(path.name for path in tmp_path.iterdir())

    @pytest.mark.parametrize(
        ("seconds", "expected"),
        [(600 - 0.001, "tea: 0, all: 0"), (600, "there is nothing to undo")],
        ids=["in time", "too late"],
    )
    def test_what_is_left_of_the_ten_minutes_survives(
        self, frozen_time: FrozenDateTimeFactory, bot_api: BotAPI, seconds: float, expected: str
    ) -> None:
        """A lifetime goes on over a restart, to a millisecond."""
        with on_stage("sqlite_bot", bot_api) as stage:
            stage.say(1, "1 tea")
        frozen_time.tick(seconds)
        with on_stage("sqlite_bot", bot_api) as stage:
            assert [expected] == stage.say(1, "/undo")

    def test_a_refused_reply_adds_nothing(self, stage: Stage) -> None:
        """An expense that the bot could not confirm is not in the file."""
        stage.say(1, "1 tea")
        stage.api.fail_next("sendMessage", 403)
        assert [SORRY] == stage.say(1, "2 tea")
        assert ["tea: 2, all: 2"] == stage.say(1, "1 tea")


class TestVersions:
    example = "versions"
    birthday = "/before Ada Lovelace 1815-12-10"

    def test_an_older_record_is_brought_up_to_date(self, stage: Stage) -> None:
        """A record of the first version passes both steps, and is stored as the second."""
        assert ["noted: Ada Lovelace 1815-12-10"] == stage.say(1, self.birthday)
        assert {"name": "Ada Lovelace", "birthday": "1815-12-10"} == stage.module.before.peek(1)
        expected = "Ada, of the family Lovelace, born in 1815; visits: {}"
        assert [expected.format(1)] == stage.say(1, "/me")
        assert [expected.format(2)] == stage.say(1, "/me")
        assert ["first_name", "last_name", "born", "visits"] == list(
            as_dict(stage.module.people.peek(1))
        )

    def test_a_step_leaves_out_what_is_done(self, stage: Stage) -> None:
        """A record of the version between passes the second step only."""
        between = Sessions(storage=stage.module.storage, version=1)
        with between.open(1) as session:
            session.update(first_name="Ada", last_name="King", birthday="1815-12-10")
        assert ["Ada, of the family King, born in 1815; visits: 1"] == stage.say(1, "/me")

    def test_a_newer_record_stays_as_it_is(
        self, stage: Stage, caplog: pytest.LogCaptureFixture
    ) -> None:
        """The bot as it was refuses a newer record, and does not touch it."""
        stage.say(1, self.birthday)
        stage.say(1, "/me")
        stored = stage.module.storage.get("1")
        assert [SORRY] == stage.say(1, self.birthday)
        assert [DecodeError] == exceptions_in(caplog)
        assert stored == stage.module.storage.get("1")

    def test_a_step_that_fails_leaves_the_record(
        self, stage: Stage, caplog: pytest.LogCaptureFixture
    ) -> None:
        """What no step can bring up to date stays as it is, and the bot goes on."""
        with stage.module.before.open(1) as session:
            session.update(name="Ada Lovelace", birthday="long ago")
        stored = stage.module.storage.get("1")
        assert [SORRY] == stage.say(1, "/me")
        assert [DecodeError] == exceptions_in(caplog)
        assert stored == stage.module.storage.get("1")

    def test_strangers_are_strangers(self, stage: Stage) -> None:
        """A new user has neither an old record nor a new one."""
        expected = "we have not met; write: /before Ada Lovelace 1815-12-10"
        assert [expected] == stage.say(1, "/me")


class TestPayments:
    example = "payments"

    def pay(self, stage: Stage, user: int) -> list[str]:
        """Order a coffee and pay it, and return the answers."""
        stage.say(user, "/buy")
        sent = len(stage.api.messages)
        stage.user(user).press(stage.latest(user), "Pay 5 XTR")
        stage.polling.wait_idle(PATIENCE)
        return [message.text for message in stage.api.messages[sent:]]

    def test_each_payment_is_counted(self, stage: Stage) -> None:
        """Two payments of one user count two, those of another user by themselves."""
        replies = [self.pay(stage, user) for user in (1, 2, 1)]
        assert [[f"thank you! you have paid for {n}"] for n in (1, 1, 2)] == replies
        assert ["you have paid for 2"] == stage.say(1, "/coffees")

    def test_an_order_is_no_payment(self, stage: Stage) -> None:
        """An invoice that nobody has paid counts nothing."""
        stage.say(1, "/buy")
        assert ["you have paid for 0"] == stage.say(1, "/coffees")

    def test_an_unknown_order_is_refused(self, stage: Stage) -> None:
        """A purchase with the payload of another invoice is not agreed to."""
        stage.module.COFFEE = "tea"
        stage.say(1, "/buy")
        stage.module.COFFEE = "coffee"
        stage.user(1).press(stage.latest(1), "Pay 5 XTR")
        stage.polling.wait_idle(PATIENCE)
        (answer,) = stage.api.calls_of("answerPreCheckoutQuery")
        assert (False, "this is sold no more") == (
            answer.flag("ok"),
            answer.params["error_message"],
        )

    def test_it_survives_a_restart(self, bot_api: BotAPI) -> None:
        """A bot that starts anew knows the payments."""
        with on_stage("payments", bot_api) as stage:
            self.pay(stage, 1)
        with on_stage("payments", bot_api) as stage:
            assert ["thank you! you have paid for 2"] == self.pay(stage, 1)

    def test_a_payment_that_telegram_repeats_counts_once(self, bot_api: BotAPI) -> None:
        """A payment that arrives three times is counted and confirmed to the user once."""
        paid = {"currency": "XTR", "total_amount": 5, "invoice_payload": "coffee"}
        charges = {"telegram_payment_charge_id": "a", "provider_payment_charge_id": "b"}
        question = bot_api.user(1).send("/coffees")
        message = {
            **question["message"],
            "message_id": 2,
            "successful_payment": {**paid, **charges},
        }
        del message["text"], message["entities"]
        payment = {"update_id": 2, "message": message}
        module = load("payments")
        try:
            for update in [payment, payment, payment, question]:
                receive(module.bot, json.dumps(update).encode())
            texts = [sent.text for sent in bot_api.wait_for_messages(2, PATIENCE)]
            assert ["thank you! you have paid for 1", "you have paid for 1"] == texts
        finally:
            module.bot.worker_pool.close()
            module.storage.close()
            del sys.modules[module.__name__]


@pytest.fixture(scope="class")
def workers() -> Iterator[Workers]:
    """Two processes of the webhook bot, with a server of their own, for all tests of a class."""
    with Server() as server:
        url = patient_url(server)
        with (
            RedisStorage(url) as storage,
            two_workers("webhook", storage, REDIS_URL=url) as workers,
        ):
            yield workers


class TestWebhook:
    example = "webhook"

    def test_alternating_processes_count_on(self, workers: Workers) -> None:
        """What one process counted, the other one goes on from."""
        user = workers.api.user(1)
        for count, number in enumerate((0, 1, 0, 1, 1, 0), start=1):
            workers.deliver_to(number)
            user.send("hi")
            workers.api.wait_until_confirmed(PATIENCE)
            # The process answers before its workers have handled the update.
            workers.wait_for_replies(1, count)
        workers.hold_back()
        assert [f"message {n}" for n in range(1, 7)] == workers.replies(1)

    def test_updates_at_the_same_time_all_count(self, workers: Workers) -> None:
        """Updates of two users that both processes get at the same time are counted exactly."""
        users = (11, 12)
        updates = [workers.api.user(user).send("hi") for _ in range(30) for user in users]
        together = threading.Barrier(8, timeout=PATIENCE)

        def post_some(thread: int) -> list[int]:
            together.wait()
            # Even threads have the updates of one user, odd ones those of the other.
            return [workers.post(thread // 2 % 2, update) for update in updates[thread::8]]

        with ThreadPoolExecutor(8) as pool:
            statuses = [status for some in pool.map(post_some, range(8)) for status in some]
        assert [200] * 60 == statuses
        for user in users:
            workers.wait_for_replies(user, 30)
        expected = sorted(f"message {n}" for n in range(1, 31))
        assert [expected] * 2 == [sorted(workers.replies(user)) for user in users]
        sessions = Sessions(storage=workers.storage)
        # The last reply comes before the save, so the lock of the handler is waited for.
        with sessions.open(*users) as saved:
            assert [{"messages": 30}] * 2 == list(saved)

    def test_a_handler_that_raised_has_changed_nothing(self, workers: Workers) -> None:
        """The user is told, and the next update finds the session as it was."""
        workers.api.fail_next("sendMessage", 500)
        assert [200] == [workers.post(0, workers.api.user(21).send("hi"))]
        workers.wait_for_replies(21, 1)
        assert [200] == [workers.post(1, workers.api.user(21).send("hi"))]
        workers.wait_for_replies(21, 2)
        assert [SORRY, "message 1"] == workers.replies(21)

    def test_a_repeated_update_counts_once(self, workers: Workers) -> None:
        """An update that Telegram sends to both processes again and again is counted once."""
        update, later = (workers.api.user(22).send("hi") for _ in range(2))
        assert [200] * 4 == [workers.post(number, update) for number in (0, 1, 0, 1)]
        workers.wait_for_replies(22, 1)
        assert 200 == workers.post(0, later)
        workers.wait_for_replies(22, 2)
        assert ["message 1", "message 2"] == workers.replies(22)

    @pytest.mark.parametrize("secret", ["", "guess", "\xe9"], ids=["none", "wrong", "latin"])
    def test_strangers_are_turned_away(self, workers: Workers, secret: str) -> None:
        """Who does not know the secret cannot post updates."""
        update = workers.api.user(31).send("hi")
        # The server offers the updates of all tests, those of another case of this one, too.
        before = workers.replies(31)
        assert 403 == workers.post(0, update, secret)
        assert before == workers.replies(31)

    def test_it_polls_without_a_server(self, stage: Stage) -> None:
        """Without a token or a server it is a bot like the others."""
        replies = [stage.say(*turn) for turn in [(1, "a"), (2, "b"), (1, "c")]]
        assert [[f"message {n}"] for n in (1, 1, 2)] == replies
