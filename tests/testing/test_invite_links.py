"""Invite links and join requests on the loopback Bot API."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from freezegun import freeze_time
from telebot import TeleBot, types
from telebot.apihelper import ApiTelegramException

from telesession.testing import BotAPI, Group, User, run_polling

Kinds = Callable[[], list[str]]

# The bot gets `chat_member` updates.
pytestmark = pytest.mark.usefixtures("kinds")


@pytest.fixture
def group(api: BotAPI) -> Group:
    """A supergroup that the bot administers."""
    return api.group(-1001, title="Tea")


def last_change(api: BotAPI) -> Any:
    """The last `chat_member` of all updates."""
    return [update["chat_member"] for update in api.unconfirmed if "chat_member" in update][-1]


class TestLinks:
    def test_a_link_has_the_settings_of_the_call(self, group: Group, bot: Any) -> None:
        """A new link is no primary one, and has what the bot gave it."""
        link = bot.create_chat_invite_link(-1001, "shop", 2000000000, 5)

        assert link.invite_link.startswith("https://t.me/+")
        assert ("shop", 2000000000, 5, False, False, False, 77) == (
            link.name,
            link.expire_date,
            link.member_limit,
            link.creates_join_request,
            link.is_primary,
            link.is_revoked,
            link.creator.id,
        )

    def test_a_link_of_a_call_without_settings(self, group: Group, bot: Any) -> None:
        """A link without settings has no limits."""
        link = bot.create_chat_invite_link(-1001)

        assert (None, None, None) == (link.name, link.expire_date, link.member_limit)

    def test_a_link_counts_to_its_date(self, group: Group, bot: Any, ada: User) -> None:
        """A link leads to its group until its date, which telebot may send with a fraction."""
        with freeze_time("2030-01-01") as clock:
            date = datetime.fromtimestamp(time.time() + 60.5, UTC)
            link = bot.create_chat_invite_link(-1001, expire_date=date).invite_link
            clock.tick(59)
            ada.join(group, link=link)
            ada.leave(group)
            clock.tick(1)
            with pytest.raises(ValueError, match="it has expired"):
                ada.join(group, link=link)

    def test_a_link_counts_its_members(
        self, group: Group, bot: Any, ada: User, boris: User
    ) -> None:
        """Those who leave make room for others under the limit of a link."""
        link = bot.create_chat_invite_link(-1001, member_limit=1).invite_link
        ada.join(group, link=link)
        with pytest.raises(ValueError, match="its limit is 1 members"):
            boris.join(group, link=link)
        ada.leave(group)
        boris.join(group, link=link)

        assert [77, 2] == [member["user"]["id"] for member in group.members]

    def test_a_change_names_the_link(self, api: BotAPI, group: Group, bot: Any, ada: User) -> None:
        """The bot learns the link that a member came through."""
        link = bot.create_chat_invite_link(-1001, "shop")
        ada.join(group, link=link.invite_link)

        assert "shop" == last_change(api)["invite_link"]["name"]

    def test_a_link_is_edited(self, group: Group, bot: Any) -> None:
        """An edit replaces all settings of a link."""
        link = bot.create_chat_invite_link(-1001, "shop", member_limit=5)
        edited = bot.edit_chat_invite_link(-1001, link.invite_link, creates_join_request=True)

        assert (link.invite_link, None, None, True) == (
            edited.invite_link,
            edited.name,
            edited.member_limit,
            edited.creates_join_request,
        )

    def test_a_revoked_link_leads_nowhere(self, group: Group, bot: Any, ada: User) -> None:
        """Nobody joins through a revoked link, or through one that the bot has not made."""
        link = bot.create_chat_invite_link(-1001).invite_link

        assert bot.revoke_chat_invite_link(-1001, link).is_revoked
        with pytest.raises(ValueError, match="it is revoked"):
            ada.join(group, link=link)
        with pytest.raises(ValueError, match="the bot has made no such link"):
            ada.join(group, link="https://t.me/+x")

    def test_a_link_of_another_chat_is_refused(self, group: Group, bot: Any) -> None:
        """A link belongs to its chat."""
        link = bot.create_chat_invite_link(-1002).invite_link
        for act in (bot.edit_chat_invite_link, bot.revoke_chat_invite_link):
            with pytest.raises(ApiTelegramException, match="INVITE_HASH_EXPIRED"):
                act(-1001, link)

    def test_the_primary_link_is_replaced(self, group: Group, bot: Any, ada: User) -> None:
        """A new primary link revokes the former one, and `get_chat` tells it."""
        assert bot.get_chat(-1001).invite_link is None
        first, second = (bot.export_chat_invite_link(-1001) for _ in range(2))
        ada.join(group, link=second)

        assert second == bot.get_chat(-1001).invite_link
        with pytest.raises(ValueError, match="it is revoked"):
            ada.join(group, link=first)

    def test_a_revoked_primary_link_has_a_follower(self, group: Group, bot: Any) -> None:
        """A new primary link is made when the bot revokes the former one."""
        first = bot.export_chat_invite_link(-1001)
        bot.revoke_chat_invite_link(-1001, first)

        assert bot.get_chat(-1001).invite_link not in {None, first}

    def test_a_link_with_requests_has_no_limit(self, group: Group, bot: Any) -> None:
        """Telegram refuses a limit for members that are approved one by one."""
        with pytest.raises(ApiTelegramException, match="member limit can't be specified"):
            bot.create_chat_invite_link(-1001, member_limit=2, creates_join_request=True)

    def test_a_subscription_ends(self, api: BotAPI, bot: Any, ada: User) -> None:
        """A member who pays for a channel has left when the period is over."""
        channel = api.channel(-1003)
        link = bot.create_chat_subscription_invite_link(-1003, 2592000, 50, name="tea")
        named = bot.edit_chat_subscription_invite_link(-1003, link.invite_link, name="coffee")
        with freeze_time("2030-01-01") as clock:
            ada.join(channel, link=link.invite_link)
            member = bot.get_chat_member(-1003, 1)
            clock.tick(2592000)
            after = bot.get_chat_member(-1003, 1).status

        assert ("coffee", 50, 2592000) == (
            named.name,
            named.subscription_price,
            named.subscription_period,
        )
        assert (1893456000 + 2592000, "left") == (member.until_date, after)

    def test_a_group_has_no_subscriptions(self, group: Group, bot: Any) -> None:
        """Only channels have links that cost stars."""
        with pytest.raises(ApiTelegramException, match="CHAT_INVALID"):
            bot.create_chat_subscription_invite_link(-1001, 2592000, 50)

    def test_a_private_chat_has_no_links(self, bot: Any, ada: User) -> None:
        """Nobody is invited to a private chat."""
        with pytest.raises(ApiTelegramException, match="can't invite members to a private chat"):
            bot.export_chat_invite_link(1)


class TestRequests:
    def test_an_approved_user_is_a_member(
        self, api: BotAPI, group: Group, bot: Any, ada: User, kinds: Kinds
    ) -> None:
        """The bot lets the user in; the message is from the user, and the change from the bot."""
        ada.request_to_join(group)
        assert bot.approve_chat_join_request(-1001, 1)

        assert ["chat_join_request", "message", "chat_member"] == kinds()
        assert 1 == api.unconfirmed[1]["message"]["from"]["id"]
        change = last_change(api)
        assert (77, "member", True) == (
            change["from"]["id"],
            change["new_chat_member"]["status"],
            change["via_join_request"],
        )

    def test_a_request_names_its_link(self, api: BotAPI, group: Group, bot: Any, ada: User) -> None:
        """The link of a request is in the request and in the change."""
        link = bot.create_chat_invite_link(-1001, "shop", creates_join_request=True).invite_link
        with pytest.raises(ValueError, match="use request_to_join"):
            ada.join(group, link=link)
        request = ada.request_to_join(group, link=link)["chat_join_request"]
        bot.approve_chat_join_request(-1001, 1)

        change = last_change(api)
        assert ("shop", "shop") == (
            request["invite_link"]["name"],
            change["invite_link"]["name"],
        )
        assert "via_join_request" not in change

    def test_a_declined_user_stays_outside(
        self, group: Group, bot: Any, ada: User, kinds: Kinds
    ) -> None:
        """A declined request gives the bot no update, and may be repeated."""
        for _ in range(2):
            ada.request_to_join(group)
            assert bot.decline_chat_join_request(-1001, 1)

        assert "left" == bot.get_chat_member(-1001, 1).status
        assert ["chat_join_request", "chat_join_request"] == kinds()

    def test_a_request_is_decided_once(self, group: Group, bot: Any, ada: User) -> None:
        """Telegram words why there is no request: the user is a member, or has not asked."""
        with pytest.raises(ApiTelegramException, match="HIDE_REQUESTER_MISSING"):
            bot.decline_chat_join_request(-1001, 1)
        ada.request_to_join(group)
        bot.approve_chat_join_request(-1001, 1)
        with pytest.raises(ApiTelegramException, match="USER_ALREADY_PARTICIPANT"):
            bot.approve_chat_join_request(-1001, 1)

    def test_a_handler_decides(self, bot_api: BotAPI) -> None:
        """A handler of telebot gets the request, and its decision makes a member."""
        bot = TeleBot("77:offline")

        @bot.chat_join_request_handler()
        def decide(request: types.ChatJoinRequest) -> None:
            bot.approve_chat_join_request(request.chat.id, request.from_user.id)

        ada, group = bot_api.user(1), bot_api.group(-1001)
        with run_polling(bot) as polling:
            ada.request_to_join(group)
            polling.wait_idle()

        assert [77, 1] == [member["user"]["id"] for member in group.members]
