"""The shop: an order, its payment, and a purchase that the bot refuses."""

from collections.abc import Iterator

import payments
import pytest

from telesession.testing import BotAPI, Polling, User, forget_sessions, run_polling


@pytest.fixture
def polling(bot_api: BotAPI) -> Iterator[Polling]:
    forget_sessions(payments.storage)
    with run_polling(payments.bot, bot_api) as polling:
        yield polling


@pytest.fixture
def ada(bot_api: BotAPI) -> User:
    return bot_api.user(1, first_name="Ada")


def test_a_payment_counts_once(polling: Polling, bot_api: BotAPI, ada: User) -> None:
    [invoice] = polling.say(ada, "/buy")
    assert ["thank you! you have paid for 1"] == polling.replies_to(ada.pay(invoice)).texts
    bot_api.redeliver(bot_api.updates[-1])
    assert ["you have paid for 1"] == polling.say(ada, "/coffees").texts


def test_an_order_is_no_payment(polling: Polling, ada: User) -> None:
    polling.say(ada, "/buy")
    assert ["you have paid for 0"] == polling.say(ada, "/coffees").texts


def test_sold_no_more(polling: Polling, ada: User, monkeypatch: pytest.MonkeyPatch) -> None:
    [invoice] = polling.say(ada, "/buy")
    monkeypatch.setattr(payments, "COFFEE", "tea")
    assert [] == polling.replies_to(ada.pay(invoice))
    assert ["this is sold no more"] == ada.alerts
