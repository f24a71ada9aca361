"""The gifts of a bot on the loopback Bot API, and its stars that pay for them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from telebot.apihelper import ApiTelegramException

if TYPE_CHECKING:
    from telesession.testing import BotAPI, User

BEAR = "5170233102089322756"
CONNECTION = "business-1"


@pytest.fixture
def owner(api: BotAPI, ada: User, boris: User) -> User:
    """The owner of a business account, for which the bot answers."""
    api.business_chat(ada, owner=boris, connection_id=CONNECTION)
    return boris


def owned(bot: Any) -> list[Any]:
    """The gifts of the business account."""
    gifts: list[Any] = bot.get_business_account_gifts(CONNECTION).gifts
    return gifts


def give(bot: Any, owner: User, **options: Any) -> Any:
    """A gift of the bot to the business account."""
    bot.send_gift(owner.id, BEAR, **options)
    return owned(bot)[0]


def test_a_gift_is_given_and_paid(api: BotAPI, bot: Any, ada: User) -> None:
    """The user has the gift with its text, and the bot has paid its price."""
    api.add_stars(20)
    bot.send_gift(ada.id, BEAR, text="for you")

    [gift] = bot.get_user_gifts(ada.id).gifts

    assert (BEAR, "for you", bot.get_me().id) == (gift.gift.id, gift.text, gift.sender_user.id)
    assert 5 == bot.get_my_star_balance().amount


def test_a_channel_gets_a_gift(api: BotAPI, bot: Any) -> None:
    """A channel has the gifts that it is given."""
    api.channel(-1002, username="news")
    api.add_stars(15)
    bot.send_gift(chat_id="@news", gift_id=BEAR)

    assert [BEAR] == [one.gift.id for one in bot.get_chat_gifts(-1002).gifts]


def test_a_gift_is_a_transaction(api: BotAPI, bot: Any, ada: User) -> None:
    """The transactions of the bot tell of the stars it got and of the gift."""
    api.add_stars(15)
    bot.send_gift(ada.id, BEAR)

    earned, spent = bot.get_star_transactions().transactions

    assert (15, "other") == (earned.amount, earned.source.type)
    assert (15, "gift_purchase", ada.id, BEAR) == (
        spent.amount,
        spent.receiver.transaction_type,
        spent.receiver.user.id,
        spent.receiver.gift.id,
    )


def test_a_bot_without_stars_gives_nothing(bot: Any, ada: User) -> None:
    """A gift that the bot cannot pay is refused."""
    with pytest.raises(ApiTelegramException, match="BALANCE_TOO_LOW"):
        bot.send_gift(ada.id, BEAR)

    assert 0 == bot.get_user_gifts(ada.id).total_count


def test_an_unknown_gift_is_refused(bot: Any, ada: User) -> None:
    """Only the gifts that Telegram has can be given."""
    assert BEAR in [gift.id for gift in bot.get_available_gifts().gifts]
    with pytest.raises(ApiTelegramException, match="STARGIFT_INVALID"):
        bot.send_gift(ada.id, "1")


def test_a_user_becomes_premium(api: BotAPI, bot: Any, ada: User) -> None:
    """After a gift of Telegram Premium the user's updates say so."""
    api.add_stars(1000)
    bot.gift_premium_subscription(ada.id, 3, 1000)

    assert (True, 0) == (
        ada.send("hi")["message"]["from"]["is_premium"],
        bot.get_my_star_balance().amount,
    )


def test_premium_has_its_price(api: BotAPI, bot: Any, ada: User) -> None:
    """Telegram Premium for another price than that of its months is refused."""
    api.add_stars(1000)
    with pytest.raises(ApiTelegramException, match="PREMIUM_GIFT"):
        bot.gift_premium_subscription(ada.id, 6, 1000)


def test_others_do_not_see_the_id_of_a_gift(api: BotAPI, bot: Any, owner: User) -> None:
    """Only the bot of the business account can act on a gift."""
    api.add_stars(15)
    give(bot, owner)
    [seen] = bot.get_user_gifts(owner.id).gifts

    assert (None, True) == (seen.owned_gift_id, owned(bot)[0].owned_gift_id is not None)


def test_a_gift_becomes_stars(api: BotAPI, bot: Any, owner: User) -> None:
    """The account has the stars instead of the gift."""
    api.add_stars(15)
    gift = give(bot, owner)
    bot.convert_gift_to_stars(CONNECTION, gift.owned_gift_id)

    balance = bot.get_business_account_star_balance(CONNECTION).amount

    assert ([], gift.convert_star_count) == (owned(bot), balance)


def test_stars_of_an_account_go_to_the_bot(api: BotAPI, bot: Any, owner: User) -> None:
    """The bot takes stars of the account, as far as there are any."""
    api.add_stars(15)
    gift = give(bot, owner)
    bot.convert_gift_to_stars(CONNECTION, gift.owned_gift_id)
    bot.transfer_business_account_stars(CONNECTION, 10)
    with pytest.raises(ApiTelegramException, match="BALANCE_TOO_LOW"):
        bot.transfer_business_account_stars(CONNECTION, 10)

    assert (2, 10) == (
        bot.get_business_account_star_balance(CONNECTION).amount,
        bot.get_my_star_balance().amount,
    )


def test_a_paid_upgrade_makes_a_gift_unique(api: BotAPI, bot: Any, owner: User, ada: User) -> None:
    """A gift whose upgrade is paid becomes unique, and then goes to another user."""
    api.add_stars(100)
    gift = give(bot, owner, pay_for_upgrade=True)
    bot.upgrade_gift(CONNECTION, gift.owned_gift_id, star_count=0)
    [unique] = owned(bot)
    bot.transfer_gift(CONNECTION, gift.owned_gift_id, ada.id)

    [moved] = bot.get_user_gifts(ada.id).gifts

    assert ("unique", BEAR, 60) == (
        unique.type,
        unique.gift.gift_id,
        bot.get_my_star_balance().amount,
    )
    assert ([], unique.gift.name) == (owned(bot), moved.gift.name)


def test_the_account_pays_another_upgrade(api: BotAPI, bot: Any, owner: User) -> None:
    """An upgrade that is not paid costs stars of the account."""
    api.add_stars(15)
    gift = give(bot, owner)

    with pytest.raises(ApiTelegramException, match="STARGIFT_UPGRADE_UNAVAILABLE"):
        bot.upgrade_gift(CONNECTION, gift.owned_gift_id, star_count=0)
    with pytest.raises(ApiTelegramException, match="BALANCE_TOO_LOW"):
        bot.upgrade_gift(CONNECTION, gift.owned_gift_id, star_count=25)


def test_acts_need_a_gift_of_their_kind(api: BotAPI, bot: Any, owner: User, ada: User) -> None:
    """A regular gift is not transferred, a unique one not converted, an unknown one not found."""
    api.add_stars(100)
    gift = give(bot, owner, pay_for_upgrade=True).owned_gift_id
    with pytest.raises(ApiTelegramException, match="STARGIFT_NOT_UNIQUE"):
        bot.transfer_gift(CONNECTION, gift, ada.id)
    bot.upgrade_gift(CONNECTION, gift, star_count=0)
    with pytest.raises(ApiTelegramException, match="STARGIFT_CONVERT_UNAVAILABLE"):
        bot.convert_gift_to_stars(CONNECTION, gift)
    with pytest.raises(ApiTelegramException, match="STARGIFT_ALREADY_UPGRADED"):
        bot.upgrade_gift(CONNECTION, gift, star_count=0)
    with pytest.raises(ApiTelegramException, match="STARGIFT_NOT_FOUND"):
        bot.convert_gift_to_stars(CONNECTION, "1")


def test_gifts_are_listed_in_pages(api: BotAPI, bot: Any, ada: User) -> None:
    """Each page names the next one, and some kinds can be left out."""
    api.add_stars(45)
    for text in ("one", "two", "three"):
        bot.send_gift(ada.id, BEAR, text=text)

    first = bot.get_user_gifts(ada.id, limit=2)
    second = bot.get_user_gifts(ada.id, offset=first.next_offset, limit=2)
    none = bot.get_user_gifts(ada.id, exclude_unlimited=True)

    assert [["three", "two"], ["one"]] == [[one.text for one in p.gifts] for p in (first, second)]
    assert (3, None, 0) == (first.total_count, second.next_offset, none.total_count)
