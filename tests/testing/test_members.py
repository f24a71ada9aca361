"""The members of chats on the loopback Bot API: who is there, who comes, goes and may do what."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from freezegun import freeze_time
from telebot import TeleBot, types
from telebot.apihelper import ApiTelegramException

from telesession.testing import BotAPI, Channel, Group, User, run_polling

Read = Callable[[], list[types.Update]]
Kinds = Callable[[], list[str]]

YEAR = 366 * 86400

# The bot gets `chat_member` updates.
pytestmark = pytest.mark.usefixtures("kinds")


@pytest.fixture
def group(api: BotAPI) -> Group:
    """A supergroup that the bot administers."""
    return api.group(-1001, title="Tea")


@pytest.fixture
def channel(api: BotAPI) -> Channel:
    """A channel that the bot administers."""
    return api.channel(-1002)


def status(bot: Any, user_id: int, chat_id: int = -1001) -> str:
    """The status of a user as the bot reads it."""
    return str(bot.get_chat_member(chat_id, user_id).status)


def changes(updates: list[types.Update]) -> list[tuple[int, int, str, str]]:
    """The actor, the member and both statuses of each `chat_member` update."""
    return [
        (
            change.from_user.id,
            change.new_chat_member.user.id,
            change.old_chat_member.status,
            change.new_chat_member.status,
        )
        for update in updates
        if (change := update.chat_member or update.my_chat_member)
    ]


class TestLook:
    def test_the_bot_is_an_administrator(self, group: Group, bot: Any) -> None:
        """The bot may do everything in a group, but is not anonymous."""
        me = bot.get_chat_member(-1001, bot.get_me().id)

        assert ("administrator", 77, True, True, False) == (
            me.status,
            me.user.id,
            me.can_restrict_members,
            me.can_manage_topics,
            me.is_anonymous,
        )

    def test_an_unknown_user_has_left(self, group: Group, bot: Any) -> None:
        """A user of whom the group has not heard is no member."""
        assert "left" == status(bot, 5)

    def test_a_user_who_writes_is_a_member(self, group: Group, bot: Any, ada: User) -> None:
        """A message in a group makes its sender a known member, with the name."""
        ada.send("hi", chat=group)
        member = bot.get_chat_member(-1001, 1)

        assert ("member", "Ada") == (member.status, member.user.first_name)

    def test_an_anonymous_administrator_is_one(
        self, api: BotAPI, bot: Any, ada: User, boris: User
    ) -> None:
        """Those who write as the group are its administrators, and the owner stays so."""
        group = api.group(-1001, owner=ada)
        for user in (ada, boris):
            user.anonymous_in(group).send("hi", chat=group)

        assert [("administrator", False), ("creator", True), ("administrator", True)] == [
            (one.status, one.is_anonymous) for one in bot.get_chat_administrators(-1001)
        ]
        assert 3 == bot.get_chat_member_count(-1001)

    def test_the_owner_is_the_creator(self, api: BotAPI, bot: Any, ada: User, boris: User) -> None:
        """A group with an owner lists them with the bot, and no plain member."""
        group = api.group(-1001, owner=ada)
        boris.send("hi", chat=group)

        assert [(77, "administrator"), (1, "creator")] == [
            (one.user.id, one.status) for one in bot.get_chat_administrators(-1001)
        ]
        assert [77, 1, 2] == [member["user"]["id"] for member in group.members]
        assert [77, 1] == [member["user"]["id"] for member in group.administrators]
        assert 3 == bot.get_chat_member_count(-1001)

    def test_other_bots_are_listed_on_request(
        self, api: BotAPI, group: Group, bot: Any, ada: User
    ) -> None:
        """Of the bots, only the asking one is listed by default."""
        api.group(-1001, owner=ada)
        ada.promote(api.user(9, is_bot=True), group)

        assert [[77, 1], [77, 1, 9]] == [
            [one.user.id for one in bot.get_chat_administrators(-1001, return_bots=flag)]
            for flag in (None, True)
        ]

    def test_a_private_chat_has_two_members(self, bot: Any, ada: User) -> None:
        """A private chat has the user and the bot, and no administrators."""
        assert (2, "member") == (bot.get_chat_member_count(1), status(bot, 1, 1))
        with pytest.raises(ApiTelegramException, match="no administrators in the private chat"):
            bot.get_chat_administrators(1)

    def test_an_id_of_no_user_is_refused(self, group: Group, bot: Any) -> None:
        """Only a positive number is the id of a user."""
        for user_id in ("ada", 0, -5):
            with pytest.raises(ApiTelegramException, match="invalid user_id specified"):
                bot.get_chat_member(-1001, user_id)

    def test_a_user_with_the_id_of_the_bot_is_a_user(self, api: BotAPI, group: Group) -> None:
        """The bot of a short token for tests is not taken for a user with the same id."""
        bot = TeleBot("123456:offline", threaded=False)
        bot.get_me()
        api.user(1).join(group)

        assert "member" == status(bot, 1)
        assert [True, False] == [one["user"]["is_bot"] for one in group.members]


class TestJoinAndLeave:
    def test_a_join_is_a_message_and_a_change(
        self, group: Group, bot: Any, ada: User, kinds: Kinds, read: Read
    ) -> None:
        """A user who joins gives the bot both updates; the message is returned."""
        message = ada.join(group)["message"]
        updates = read()

        assert (["message", "chat_member"], 1) == (
            kinds(),
            message["new_chat_members"][0]["id"],
        )
        assert [(1, 1, "left", "member")] == changes(updates)
        assert "member" == status(bot, 1)

    def test_a_join_of_a_channel_is_no_message(
        self, channel: Channel, bot: Any, ada: User, kinds: Kinds
    ) -> None:
        """A channel has no messages about members, so the change is returned."""
        joined, left = ada.join(channel), ada.leave(channel)

        assert ["chat_member", "chat_member"] == kinds()
        assert ["member", "left"] == [
            update["chat_member"]["new_chat_member"]["status"] for update in (joined, left)
        ]

    def test_a_user_leaves(self, group: Group, bot: Any, ada: User, read: Read) -> None:
        """A user who leaves gives the bot both updates; the message is returned."""
        ada.send("hi", chat=group)
        message = ada.leave(group)["message"]

        assert (1, 1) == (message["from"]["id"], message["left_chat_member"]["id"])
        assert [(1, 1, "member", "left")] == changes(read())
        assert "left" == status(bot, 1)

    def test_an_invited_user_is_a_member(
        self, group: Group, bot: Any, ada: User, boris: User, read: Read
    ) -> None:
        """The change of an invited user comes from the user who invites."""
        ada.invite(group, boris)

        assert [(1, 2, "left", "member")] == changes(read())
        assert "member" == status(bot, 2)

    def test_messages_made_by_hand_count(self, api: BotAPI, group: Group, bot: Any) -> None:
        """A service message that a test makes itself changes the members, too."""
        people = [{"id": number, "is_bot": False, "first_name": "X"} for number in (5, 6)]
        for content in ({"new_chat_members": people}, {"left_chat_member": people[0]}):
            [message] = [{"from": people[0], "chat": dict(group.json), "date": 1, **content}]
            api.push_messages("message", [message])

        assert ["left", "member"] == [status(bot, number) for number in (5, 6)]

    def test_a_supergroup_has_the_members_of_the_group(
        self, api: BotAPI, bot: Any, ada: User, boris: User
    ) -> None:
        """The members stay when a group becomes a supergroup."""
        group = api.group(-5)
        boris.send("hi", chat=group)
        ada.send("hi", chat=api.group(-6))
        ada.upgrade(group, -1009)

        assert ["member", "member"] == [status(bot, number, -1009) for number in (1, 2)]

    def test_handlers_meet_members(self, bot_api: BotAPI) -> None:
        """The handlers of telebot get joins and leaves, as messages and as changes."""
        bot, seen = TeleBot("77:offline"), list[Any]()

        @bot.message_handler(content_types=["new_chat_members", "left_chat_member"])
        def meet(message: types.Message) -> None:
            seen.append(message.content_type)

        @bot.chat_member_handler()
        def change(update: types.ChatMemberUpdated) -> None:
            seen.append(update.new_chat_member.status)

        ada, group = bot_api.user(1), bot_api.group(-1001)
        with run_polling(bot) as polling:
            ada.join(group)
            ada.leave(group)
            polling.wait_idle()

        assert {"new_chat_members", "member", "left_chat_member", "left"} == set(seen)


class TestBan:
    def test_a_ban_removes_a_member(
        self, group: Group, bot: Any, ada: User, kinds: Kinds, read: Read
    ) -> None:
        """The bot gets the message and the change of its own ban."""
        ada.send("hi", chat=group)
        assert bot.ban_chat_member(-1001, 1)
        updates = read()

        assert ["message", "message", "chat_member"] == kinds()
        assert (77, 1) == (
            updates[1].message.from_user.id,
            updates[1].message.left_chat_member.id,
        )
        assert [(77, 1, "member", "kicked")] == changes(updates)
        assert "kicked" == status(bot, 1)

    def test_a_second_ban_changes_nothing(self, group: Group, bot: Any, kinds: Kinds) -> None:
        """A user who was no member is banned without a message, and only once."""
        assert [True, True] == [bot.ban_chat_member(-1001, 5) for _ in range(2)]

        assert ["chat_member"] == kinds()

    def test_a_ban_ends(self, group: Group, bot: Any) -> None:
        """A ban until a date is over then; one of less than 30 s or over 366 days never is."""
        with freeze_time("2030-01-01") as clock:
            now = int(time.time())
            for user_id, seconds in ((5, 60), (6, 29), (7, YEAR + 1)):
                bot.ban_chat_member(-1001, user_id, until_date=now + seconds)
            dates = [bot.get_chat_member(-1001, number).until_date for number in (5, 6, 7)]
            clock.tick(60)
            after = [status(bot, number) for number in (5, 6, 7)]

        assert ([now + 60, 0, 0], ["left", "kicked", "kicked"]) == (dates, after)

    def test_a_banned_user_cannot_join(self, group: Group, bot: Any, ada: User) -> None:
        """A banned user cannot join by themselves until the ban is lifted."""
        bot.ban_chat_member(-1001, 1)
        with pytest.raises(ValueError, match="the user is banned"):
            ada.join(group)
        bot.unban_chat_member(-1001, 1, only_if_banned=True)
        ada.join(group)

        assert "member" == status(bot, 1)

    def test_an_unban_removes_a_member(
        self, group: Group, bot: Any, ada: User, kinds: Kinds
    ) -> None:
        """A member is removed by an unban, unless it is for banned users only."""
        ada.send("hi", chat=group)
        bot.unban_chat_member(-1001, 1, only_if_banned=True)
        before = status(bot, 1)
        bot.unban_chat_member(-1001, 1)

        assert ("member", "left") == (before, status(bot, 1))
        assert ["message", "message", "chat_member"] == kinds()

    def test_an_owner_cannot_be_banned(self, api: BotAPI, bot: Any, ada: User) -> None:
        """Nobody takes the rights of an owner."""
        api.group(-1001, owner=ada)

        for act in (bot.ban_chat_member, bot.unban_chat_member, bot.promote_chat_member):
            with pytest.raises(ApiTelegramException, match="can't remove chat owner"):
                act(-1001, 1)

    def test_an_administrator_of_others_cannot_be_banned(
        self, api: BotAPI, group: Group, bot: Any, ada: User, boris: User
    ) -> None:
        """The bot bans the administrators that it has promoted itself, and no others."""
        clara = api.user(3)
        api.group(-1001, owner=clara)
        clara.promote(ada, group)
        bot.promote_chat_member(-1001, 2, can_pin_messages=True)
        with pytest.raises(ApiTelegramException, match="user is an administrator of the chat"):
            bot.ban_chat_member(-1001, 1)
        bot.ban_chat_member(-1001, 2)

        assert ["administrator", "kicked"] == [status(bot, 1), status(bot, 2)]

    def test_a_ban_by_hand(  # noqa: PLR0917 -- fixtures
        self, api: BotAPI, group: Group, bot: Any, ada: User, boris: User, read: Read
    ) -> None:
        """A user who bans another one gives the bot both updates."""
        api.group(-1001, owner=ada)
        boris.send("hi", chat=group)
        message = ada.ban(boris, group)["message"]

        assert (1, 2) == (message["from"]["id"], message["left_chat_member"]["id"])
        assert [(1, 2, "member", "kicked")] == changes(read())

    def test_a_private_chat_has_no_bans(self, bot: Any, ada: User) -> None:
        """Telegram words the refusal for each method."""
        for act, refusal in (
            (bot.ban_chat_member, "can't ban members in private chats"),
            (bot.unban_chat_member, "available for supergroup and channel chats only"),
        ):
            with pytest.raises(ApiTelegramException, match=refusal):
                act(1, 1)

    def test_a_channel_is_banned_as_a_sender(
        self, group: Group, channel: Channel, bot: Any
    ) -> None:
        """A ban of a channel is answered, and so is its end."""
        assert bot.ban_chat_sender_chat(-1001, channel.id)
        assert bot.unban_chat_sender_chat(-1001, channel.id)


class TestRestrict:
    def test_permissions_imply_others(self, group: Group, bot: Any, ada: User) -> None:
        """Permissions that are not given are refused, except those that others imply."""
        ada.send("hi", chat=group)
        permissions = types.ChatPermissions(can_send_other_messages=True, can_pin_messages=True)
        bot.restrict_chat_member(-1001, 1, permissions=permissions)
        member = bot.get_chat_member(-1001, 1)

        assert ("restricted", True, 0) == (member.status, member.is_member, member.until_date)
        assert (True, True, True, True, False) == (
            member.can_send_messages,
            member.can_send_photos,
            member.can_manage_topics,
            member.can_edit_tag,
            member.can_send_polls,
        )

    def test_permissions_may_be_independent(self, group: Group, bot: Any) -> None:
        """Independent permissions imply no others."""
        bot.restrict_chat_member(
            -1001,
            5,
            permissions=types.ChatPermissions(can_send_polls=True),
            use_independent_chat_permissions=True,
        )
        member = bot.get_chat_member(-1001, 5)

        assert (True, False, False) == (
            member.can_send_polls,
            member.can_send_messages,
            member.is_member,
        )

    def test_polls_imply_messages(self, group: Group, bot: Any) -> None:
        """A user who may send polls may send messages."""
        permissions = types.ChatPermissions(can_send_polls=True)
        bot.restrict_chat_member(-1001, 5, permissions=permissions)

        assert bot.get_chat_member(-1001, 5).can_send_messages

    def test_all_permissions_lift_a_restriction(
        self, group: Group, bot: Any, ada: User, read: Read
    ) -> None:
        """A member with every permission is a plain member again."""
        ada.send("hi", chat=group)
        every = types.ChatPermissions(
            **{name: True for name in vars(types.ChatPermissions()) if name.startswith("can_")}
        )
        for permissions in (types.ChatPermissions(), every):
            bot.restrict_chat_member(-1001, 1, permissions=permissions)

        assert [(77, 1, "member", "restricted"), (77, 1, "restricted", "member")] == changes(read())

    def test_a_second_restriction_changes_nothing(
        self, group: Group, bot: Any, kinds: Kinds
    ) -> None:
        """The same permissions again give the bot no update."""
        for _ in range(2):
            bot.restrict_chat_member(-1001, 5, permissions=types.ChatPermissions())

        assert ["chat_member"] == kinds()

    def test_a_restriction_ends(self, group: Group, bot: Any, ada: User) -> None:
        """A restriction until a date is over then, for members and for others."""
        ada.send("hi", chat=group)
        with freeze_time("2030-01-01") as clock:
            for user_id in (1, 5):
                bot.restrict_chat_member(
                    -1001,
                    user_id,
                    permissions=types.ChatPermissions(),
                    until_date=int(time.time()) + 60,
                )
            before = [status(bot, 1), status(bot, 5)]
            clock.tick(60)

            assert ["restricted", "restricted"] == before
            assert ["member", "left"] == [status(bot, 1), status(bot, 5)]

    def test_a_restricted_user_comes_and_goes(self, group: Group, bot: Any, ada: User) -> None:
        """A restriction stays with a user who leaves and comes back."""
        bot.restrict_chat_member(-1001, 1, permissions=types.ChatPermissions())
        found = []
        for act in (ada.join, ada.leave):
            act(group)
            member = bot.get_chat_member(-1001, 1)
            found.append((member.status, member.is_member))

        assert [("restricted", True), ("restricted", False)] == found

    def test_a_basic_group_has_no_restrictions(self, api: BotAPI, bot: Any) -> None:
        """Only members of supergroups are restricted."""
        with pytest.raises(ApiTelegramException, match="available only for supergroups"):
            bot.restrict_chat_member(-5, 1, permissions=types.ChatPermissions())


class TestPromote:
    def test_the_bot_promotes(self, group: Group, bot: Any, ada: User, read: Read) -> None:
        """An administrator has the rights that were given, and may be edited by the bot."""
        ada.send("hi", chat=group)
        bot.promote_chat_member(-1001, 1, can_pin_messages=True, is_anonymous=True)
        member = bot.get_chat_member(-1001, 1)

        assert (True, True, True, False, True) == (
            member.can_pin_messages,
            member.can_manage_chat,
            member.is_anonymous,
            member.can_delete_messages,
            member.can_be_edited,
        )
        assert [(77, 1, "member", "administrator")] == changes(read())

    def test_no_rights_are_an_end(self, group: Group, bot: Any, ada: User, kinds: Kinds) -> None:
        """Without any right an administrator becomes a member; another user stays the same."""
        bot.promote_chat_member(-1001, 1, can_pin_messages=True)
        for user_id in (1, 5):
            bot.promote_chat_member(-1001, user_id)

        assert ["member", "left"] == [status(bot, 1), status(bot, 5)]
        assert ["chat_member", "chat_member"] == kinds()

    def test_a_user_promotes(
        self, api: BotAPI, group: Group, bot: Any, ada: User, boris: User
    ) -> None:
        """An administrator of a user has all rights, and the bot cannot change the title."""
        api.group(-1001, owner=ada)
        update = ada.promote(boris, group, custom_title="Chef")
        member = bot.get_chat_member(-1001, 2)

        assert update["chat_member"]["new_chat_member"]["custom_title"] == "Chef"
        assert ("Chef", True, False) == (
            member.custom_title,
            member.can_delete_messages,
            member.can_be_edited,
        )
        with pytest.raises(ApiTelegramException, match="not enough rights to change custom title"):
            bot.set_chat_administrator_custom_title(-1001, 2, "Cook")

    def test_an_administrator_has_a_title(self, group: Group, bot: Any) -> None:
        """The bot names an administrator that it has promoted."""
        bot.promote_chat_member(-1001, 5, can_pin_messages=True)
        bot.set_chat_administrator_custom_title(-1001, 5, "Cook")
        named = bot.get_chat_member(-1001, 5).custom_title
        bot.set_chat_administrator_custom_title(-1001, 5, "")

        assert ("Cook", None) == (named, bot.get_chat_member(-1001, 5).custom_title)

    def test_others_have_no_title(self, api: BotAPI, bot: Any, ada: User, boris: User) -> None:
        """A plain member and the owner get no title from the bot."""
        boris.send("hi", chat=api.group(-1001, owner=ada))

        for user_id, refusal in (
            (1, "only the owner can edit their custom title"),
            (2, "user is not an administrator"),
        ):
            with pytest.raises(ApiTelegramException, match=refusal):
                bot.set_chat_administrator_custom_title(-1001, user_id, "Cook")

    def test_a_member_has_a_tag(self, group: Group, bot: Any, ada: User) -> None:
        """The bot tags a member of a group; in a private chat it cannot."""
        ada.send("hi", chat=group)
        bot.set_chat_member_tag(-1001, 1, "tea")

        assert "tea" == bot.get_chat_member(-1001, 1).tag
        with pytest.raises(ApiTelegramException, match="only for groups and supergroups"):
            bot.set_chat_member_tag(1, 1, "tea")


class TestBot:
    def test_a_user_blocks_the_bot(self, bot: Any, ada: User, kinds: Kinds, read: Read) -> None:
        """Messages to a user who blocked the bot are refused, until the user unblocks it."""
        ada.block()
        with pytest.raises(ApiTelegramException, match="bot was blocked by the user") as caught:
            bot.send_message(1, "hi")
        ada.unblock()
        bot.send_message(1, "hi")

        assert (403, ["my_chat_member", "my_chat_member"]) == (caught.value.error_code, kinds())
        assert [(1, 77, "member", "kicked"), (1, 77, "kicked", "member")] == changes(read())

    def test_a_blocked_bot_knows_the_user(self, bot: Any, ada: User) -> None:
        """A look at a private chat is allowed to a blocked bot."""
        ada.block()

        assert "Ada" == bot.get_chat(1).first_name
        assert "kicked" == status(bot, 77, 1)

    def test_a_user_adds_the_bot(
        self, group: Group, bot: Any, ada: User, kinds: Kinds, read: Read
    ) -> None:
        """The bot gets its first change as one from `left`, and the message about itself."""
        ada.add_bot(group)
        updates = read()

        assert ["my_chat_member", "message"] == kinds()
        assert [(1, 77, "left", "administrator")] == changes(updates)
        assert [77] == [one.id for one in updates[1].message.new_chat_members]

    def test_a_plain_member_hears_of_no_others(
        self, group: Group, ada: User, boris: User, kinds: Kinds, read: Read
    ) -> None:
        """A bot gets `chat_member` as an administrator only; the call promotes it later."""
        ada.add_bot(group, administrator=False)
        boris.join(group)
        ada.add_bot(group)
        boris.leave(group)

        assert [
            (1, 77, "left", "member"),
            (1, 77, "member", "administrator"),
            (2, 2, "member", "left"),
        ] == changes(read())
        assert 3 == kinds().count("message")

    @pytest.mark.parametrize("chat_id", [-5, -1001])
    def test_a_user_removes_the_bot(
        self, api: BotAPI, bot: Any, ada: User, read: Read, chat_id: int
    ) -> None:
        """Calls of a bot that was removed are refused, until somebody adds it."""
        group = api.group(chat_id, owner=ada)
        ada.remove_bot(group)
        [change, message] = read()

        assert [(1, 77, "administrator", "kicked")] == changes([change])
        assert 77 == message.message.left_chat_member.id
        refusal = f"bot was kicked from the {group.json['type']} chat"
        for act in (bot.get_chat, bot.get_chat_member_count, bot.leave_chat):
            with pytest.raises(ApiTelegramException, match=refusal):
                act(chat_id)
        ada.add_bot(group)
        assert bot.send_message(chat_id, "back")

    def test_the_bot_leaves(self, group: Group, bot: Any, kinds: Kinds, read: Read) -> None:
        """The bot gets its own leave, and cannot write any more."""
        assert bot.leave_chat(-1001)

        assert ["my_chat_member", "message"] == kinds()
        assert [(77, 77, "administrator", "left")] == changes(read())
        with pytest.raises(ApiTelegramException, match="is not a member of the supergroup chat"):
            bot.send_message(-1001, "hi")

    def test_the_bot_cannot_leave_a_user(self, bot: Any, ada: User) -> None:
        """A private chat is not left."""
        with pytest.raises(ApiTelegramException, match="can't leave private chats"):
            bot.leave_chat(1)

    def test_handlers_meet_the_bot(self, bot_api: BotAPI) -> None:
        """The handlers of telebot get blocks and additions of the bot, by default."""
        bot, seen = TeleBot("77:offline"), list[Any]()

        @bot.my_chat_member_handler()
        def change(update: types.ChatMemberUpdated) -> None:
            seen.append((update.chat.id, update.new_chat_member.status))

        ada = bot_api.user(1)
        with run_polling(bot) as polling:
            ada.block()
            polling.wait_idle()
            ada.add_bot(bot_api.group(-1001))
            polling.wait_idle()

        assert [(1, "kicked"), (-1001, "administrator")] == seen
