"""The rights of users and of the bot on the loopback Bot API, and the acts that need one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from freezegun import freeze_time
from telebot import TeleBot, types
from telebot.apihelper import ApiTelegramException

from support.mistakes import Mistake, each
from telesession.testing import BotAPI, Channel, User, run_polling

Read = Callable[[], list[types.Update]]
Kinds = Callable[[], list[str]]

GROUP = -1001
NOTHING = types.ChatPermissions()


class Stage:
    """
    A forum of Ada with Boris as a member, and a bot that administers it.

    Args:
        api: The running Bot API.
        bot: The bot.
    """

    def __init__(self, api: BotAPI, bot: Any) -> None:
        self.api = api
        self.bot = bot
        self.ada, self.boris, self.clara = (api.user(number) for number in (1, 2, 3))
        self.group = api.group(GROUP, forum=True, owner=self.ada)
        self.boris.join(self.group)

    def said(self) -> dict[str, Any]:
        """A message of Ada in the group."""
        return self.ada.send("hi", chat=self.group)

    def status(self, user: User) -> str:
        """The status of a user as the bot reads it."""
        return str(self.bot.get_chat_member(GROUP, user.id).status)

    def administrator(self, **rights: bool) -> User:
        """Boris as an administrator with some rights."""
        self.bot.promote_chat_member(GROUP, self.boris.id, **rights)
        return self.boris


@pytest.fixture
def stage(api: BotAPI, bot: Any, kinds: Kinds) -> Stage:
    return Stage(api, bot)


def restrict(stage: Stage, **permissions: bool) -> None:
    """Let the bot leave some permissions to Boris."""
    stage.bot.restrict_chat_member(GROUP, 2, permissions=types.ChatPermissions(**permissions))


PLAIN = "user 2 is no administrator of group -1001: let its owner promote them"
BANNED = "user 2 is banned in group -1001: unban them first"

REFUSED = [
    Mistake("write while banned", lambda s: s.boris.send("a", chat=s.group), BANNED),
    Mistake("join while banned", lambda s: s.boris.join(s.group), "the user is banned"),
    Mistake("invite a banned user", lambda s: s.ada.invite(s.group, s.boris), BANNED),
    Mistake("promote a banned user", lambda s: s.ada.promote(s.boris, s.group), BANNED),
    Mistake("pin while banned", lambda s: s.boris.pin(s.said()), BANNED),
    Mistake("react while banned", lambda s: s.boris.react(s.said(), "👍"), BANNED),
]

WITHOUT_RIGHT = [
    Mistake("ban", lambda s: s.boris.ban(s.clara, s.group), PLAIN),
    Mistake("unban", lambda s: s.boris.unban(s.clara, s.group), PLAIN),
    Mistake("restrict", lambda s: s.boris.restrict(s.clara, s.group), PLAIN),
    Mistake("promote", lambda s: s.boris.promote(s.boris, s.group), PLAIN),
    Mistake("demote", lambda s: s.boris.demote(s.clara, s.group), PLAIN),
    Mistake(
        "pin without the permission",
        lambda s: (
            s.bot.set_chat_permissions(GROUP, types.ChatPermissions(can_send_messages=True)),
            s.boris.pin(s.said()),
        ),
        PLAIN,
    ),
    Mistake(
        "pin in a public group",
        lambda s: (
            s.api.group(GROUP, username="tea"),
            s.boris.pin(s.said()),
        ),
        PLAIN,
    ),
    Mistake("delete", lambda s: s.boris.delete(s.said()), PLAIN),
    Mistake("remove the bot", lambda s: s.boris.remove_bot(s.group), PLAIN),
    Mistake(
        "close a topic of another",
        lambda s: s.boris.close_topic(
            s.group, s.bot.create_forum_topic(GROUP, "A").message_thread_id
        ),
        PLAIN,
    ),
    Mistake(
        "right of an administrator",
        lambda s: s.administrator(can_pin_messages=True).ban(s.clara, s.group),
        "user 2 has not the right can_restrict_members in group -1001: let its owner promote",
    ),
    Mistake(
        "ban of the owner",
        lambda s: s.administrator(can_restrict_members=True).ban(s.ada, s.group),
        "user 1 is the owner of group -1001, and stays so",
    ),
    Mistake(
        "ban of an administrator",
        lambda s: (
            s.ada.promote(s.clara, s.group),
            s.administrator(can_restrict_members=True).ban(s.clara, s.group),
        ),
        "user 3 is an administrator of group -1001: let its owner do it",
    ),
    Mistake(
        "group without an owner",
        lambda s: s.ada.ban(s.boris, s.api.group(-1002)),
        "make it with bot_api.group(-1002, owner=...)",
    ),
    Mistake(
        "invitation without the permission",
        lambda s: (s.bot.set_chat_permissions(GROUP, NOTHING), s.boris.invite(s.group, s.clara)),
        PLAIN,
    ),
    Mistake(
        "topic without the permission",
        lambda s: (s.bot.set_chat_permissions(GROUP, NOTHING), s.boris.create_topic(s.group, "A")),
        PLAIN,
    ),
    Mistake(
        "text while muted",
        lambda s: (restrict(s), s.boris.send("a", chat=s.group)),
        "user 2 may not send this to group -1001, because can_send_messages is taken away",
    ),
    Mistake(
        "photo with texts only",
        lambda s: (restrict(s, can_send_messages=True), s.boris.photo(chat=s.group)),
        "because can_send_photos is taken away",
    ),
    Mistake(
        "poll in a group without polls",
        lambda s: (
            s.bot.set_chat_permissions(GROUP, types.ChatPermissions(can_send_messages=True)),
            s.boris.poll("?", "a", "b", chat=s.group),
        ),
        "because can_send_polls is taken away",
    ),
    Mistake(
        "text to a blocked bot",
        lambda s: (s.boris.block(), s.boris.send("/start")),
        "user 2 has blocked the bot: unblock() it first",
    ),
    Mistake("unban of no one", lambda s: s.ada.unban(s.boris, s.group), "is not banned"),
    Mistake("demotion of a member", lambda s: s.ada.demote(s.boris, s.group), "no administrator"),
    Mistake(
        "restriction in a basic group",
        lambda s: s.ada.restrict(s.boris, s.api.group(-5, owner=s.ada)),
        "only supergroups, whose ids start with -100, have restrictions",
    ),
    Mistake(
        "pin in a business chat",
        lambda s: s.ada.pin(s.ada.send("a", chat=s.api.business_chat(s.ada))),
        "the bot hears nothing of a pin in a business chat",
    ),
    Mistake(
        "topic of a group without topics",
        lambda s: s.ada.create_topic(s.api.group(-1002, owner=s.ada), "A"),
        "make the group with bot_api.group(-1002, forum=True)",
    ),
    Mistake(
        "closing of no topic", lambda s: s.ada.close_topic(s.group, 7), "topic 7 of group -1001: it"
    ),
    Mistake(
        "closing of a closed topic",
        lambda s: [s.ada.close_topic(s.group, 1) for _ in range(2)],
        "it is closed already",
    ),
    Mistake(
        "general topic by its number",
        lambda s: s.ada.send("a", chat=s.group, topic=1),
        "leave topic out",
    ),
]


class TestUsers:
    @each(REFUSED)
    def test_a_ban_forbids(self, stage: Stage, mistake: Mistake) -> None:
        """A banned user does nothing in the group, and is not let in before the ban is lifted."""
        stage.bot.ban_chat_member(GROUP, 2)
        with pytest.raises(ValueError) as caught:  # noqa: PT011 -- compared below
            mistake.act(stage)

        assert mistake.message in str(caught.value)
        assert "kicked" == stage.status(stage.boris)

    @each(WITHOUT_RIGHT)
    def test_a_missing_right_forbids(self, stage: Stage, mistake: Mistake) -> None:
        """An act without the right to it is refused, with the remedy."""
        with pytest.raises(ValueError) as caught:  # noqa: PT011 -- compared below
            mistake.act(stage)

        assert mistake.message in str(caught.value)

    def test_a_message_made_by_hand_lifts_no_ban(self, stage: Stage) -> None:
        """A banned user stays so, whatever messages of theirs a test makes by itself."""
        stage.bot.ban_chat_member(GROUP, 2)
        message = {"from": stage.boris.json, "chat": stage.group.json, "date": 1}
        for content in ({"text": "a"}, {"left_chat_member": stage.boris.json}):
            stage.api.push_messages("message", [{**message, **content}])

        assert "kicked" == stage.status(stage.boris)

    def test_a_restriction_ends_in_time(self, stage: Stage) -> None:
        """A user who is muted until a date writes again after it."""
        with freeze_time("2030-01-01") as clock:
            until = int(clock().timestamp()) + 60
            stage.ada.restrict(stage.boris, stage.group, until_date=until)
            muted = stage.status(stage.boris)
            clock.tick(60)
            stage.boris.send("a", chat=stage.group)

            assert ("restricted", "member") == (muted, stage.status(stage.boris))

    def test_permissions_are_given_back(self, stage: Stage) -> None:
        """A restriction may leave permissions, and all of them lift it."""
        stage.ada.restrict(stage.boris, stage.group, types.ChatPermissions(can_send_messages=True))
        stage.boris.send("a", chat=stage.group)
        left = stage.bot.get_chat_member(GROUP, 2)
        every = {name: True for name in vars(NOTHING) if name.startswith("can_")}
        stage.ada.restrict(stage.boris, stage.group, types.ChatPermissions(**every))

        assert (True, False) == (left.can_send_messages, left.can_send_photos)
        assert "member" == stage.status(stage.boris)

    def test_administrators_have_all_permissions(self, stage: Stage) -> None:
        """The permissions of a group bind its plain members only."""
        stage.bot.set_chat_permissions(GROUP, NOTHING)
        stage.administrator(can_delete_messages=True).photo(chat=stage.group)
        stage.clara.anonymous_in(stage.group).send("a", chat=stage.group)

        assert [True, False] == [
            "photo" in update["message"] for update in stage.api.unconfirmed[-2:]
        ]

    def test_members_may_pin_where_the_group_permits_it(self, stage: Stage) -> None:
        """A permission of the group is as good as the right of an administrator."""
        stage.bot.set_chat_permissions(GROUP, types.ChatPermissions(can_pin_messages=True))
        stage.boris.pin(stage.said())

        assert ["hi"] == [message["text"] for message in stage.group.pinned]

    def test_a_demotion_and_an_unban_are_changes(self, stage: Stage, read: Read) -> None:
        """The bot gets each change of a status, from the user who made it."""
        stage.ada.promote(stage.boris, stage.group)
        stage.ada.demote(stage.boris, stage.group)
        stage.ada.ban(stage.boris, stage.group)
        stage.ada.unban(stage.boris, stage.group)
        changes = [update.chat_member for update in read() if update.chat_member]

        assert [
            (2, "member"),
            (1, "administrator"),
            (1, "member"),
            (1, "kicked"),
            (1, "left"),
        ] == [(change.from_user.id, change.new_chat_member.status) for change in changes]


class TestPinsAndDeletions:
    def test_a_pin_is_a_message(self, stage: Stage, read: Read) -> None:
        """The bot gets the pinned message, in the topic of it."""
        stage.ada.pin(stage.boris.send("a", chat=stage.group, topic=7))
        message = read()[-1].message

        assert ("pinned_message", "a", 7, 1) == (
            message.content_type,
            message.pinned_message.text,
            message.message_thread_id,
            message.from_user.id,
        )
        assert "a" == stage.bot.get_chat(GROUP).pinned_message.text

    def test_a_member_pins_in_a_private_group(self, stage: Stage) -> None:
        """Members may pin as long as the permissions of their group are the usual ones."""
        stage.boris.pin(stage.boris.send("a", chat=stage.group))
        assert ["a"] == [message["text"] for message in stage.group.pinned]

    def test_a_user_pins_in_private(self, stage: Stage) -> None:
        """In the private chat with the bot each user pins messages, those of the bot too."""
        update = stage.boris.pin(stage.bot.send_message(2, "a"))

        assert "a" == update["message"]["pinned_message"]["text"]
        assert ["a"] == [message["text"] for message in stage.boris.private_chat.pinned]

    def test_a_deleted_message_is_gone(self, stage: Stage, kinds: Kinds) -> None:
        """The bot hears nothing of a deletion, and finds the message no longer."""
        own, sent = stage.boris.send("a"), stage.bot.send_message(GROUP, "b")
        before = kinds()
        results = [stage.boris.delete(own), stage.ada.delete(sent)]

        assert ([None, None], before) == (results, kinds())
        assert ([], [True]) == (
            stage.group.messages,
            [message.is_deleted for message in stage.api.messages],
        )
        with pytest.raises(ApiTelegramException, match="message to be replied not found"):
            stage.bot.send_message(
                2, "a", reply_parameters=types.ReplyParameters(own["message"]["message_id"])
            )

    def test_a_business_chat_tells_of_deletions(self, stage: Stage, read: Read) -> None:
        """The bot gets the numbers of the messages that were deleted in a business chat."""
        shop = stage.api.business_chat(stage.boris, owner=stage.ada, connection_id="shop")
        stage.boris.delete(stage.boris.send("a", chat=shop))
        deleted = read()[-1].deleted_business_messages

        assert ("shop", 2, [1]) == (
            deleted.business_connection_id,
            deleted.chat.id,
            deleted.message_ids,
        )

    def test_handlers_meet_moderators(self, bot_api: BotAPI) -> None:
        """The handlers of telebot get pins, topics and changes of members by users."""
        bot, seen = TeleBot("77:offline"), list[Any]()

        @bot.message_handler(content_types=["pinned_message", "forum_topic_created"])
        def note(message: types.Message) -> None:
            seen.append(message.content_type)

        @bot.chat_member_handler()
        def change(update: types.ChatMemberUpdated) -> None:
            seen.append(update.new_chat_member.status)

        ada, bob = bot_api.user(1), bot_api.user(2)
        group = bot_api.group(GROUP, forum=True, owner=ada)
        with run_polling(bot) as polling:
            ada.pin(ada.send("rules", chat=group))
            ada.create_topic(group, "Tea")
            ada.restrict(bob, group)
            polling.wait_idle()

        assert {"pinned_message", "forum_topic_created", "restricted"} == set(seen)


class TestTopics:
    def test_a_member_makes_a_topic(self, stage: Stage, read: Read) -> None:
        """A topic has the name that its maker gave, also in the messages there."""
        topic = stage.boris.create_topic(stage.group, "Tea")["message"]["message_thread_id"]
        stage.clara.send("a", chat=stage.group, topic=topic)
        stage.bot.send_message(GROUP, "b", message_thread_id=topic)
        created = read()[-1].message.reply_to_message

        assert ("Tea", topic, 2) == (
            created.forum_topic_created.name,
            created.message_id,
            created.from_user.id,
        )
        assert ["General", "Tea"] == [one["name"] for one in stage.group.topics]

    def test_a_maker_closes_a_topic(self, stage: Stage) -> None:
        """The maker of a topic closes it, and then only administrators write there."""
        topic = stage.boris.create_topic(stage.group, "Tea")["message"]["message_thread_id"]
        stage.boris.close_topic(stage.group, topic)
        with pytest.raises(ValueError, match="it is closed; only administrators can"):
            stage.boris.send("a", chat=stage.group, topic=topic)
        stage.ada.send("a", chat=stage.group, topic=topic)

        assert [False, True] == [one["is_closed"] for one in stage.group.topics]

    def test_the_bot_writes_to_known_topics_only(self, stage: Stage) -> None:
        """A topic that was neither made nor used is unknown, like the number of the general one."""
        stage.ada.send("a", topic=7)
        stage.bot.send_message(1, "a", message_thread_id=7)
        for chat_id, topic in ((GROUP, 7), (GROUP, 1), (1, 8)):
            with pytest.raises(ApiTelegramException, match="message thread not found"):
                stage.bot.send_message(chat_id, "a", message_thread_id=topic)
        with pytest.raises(ApiTelegramException, match="TOPIC_ID_INVALID"):
            stage.bot.close_forum_topic(GROUP, 7)

        assert ["a"] == stage.api.messages.texts

    def test_a_group_without_topics_ignores_them(self, stage: Stage) -> None:
        """The bot's message to a topic of a group that is no forum is in the group."""
        stage.api.group(-1005)
        assert None is stage.bot.send_message(-1005, "a", message_thread_id=7).message_thread_id

    def test_an_unknown_chat_may_have_any_topic(self, stage: Stage) -> None:
        """A test that hands updates to the bot by itself tells the server nothing of the chat."""
        sent = [stage.bot.send_message(-1005, "a", message_thread_id=7) for _ in range(2)]

        assert [7, 7] == [message.message_thread_id for message in sent]


class TestGroupsWithoutAnOwner:
    def test_a_quiet_member_leaves(self, stage: Stage) -> None:
        """A user of whom the server knows nothing may be a member, and leaves once."""
        group = stage.api.group(-1002)
        stage.boris.leave(group)
        with pytest.raises(ValueError, match="cannot leave chat -1002 without being a member"):
            stage.boris.leave(group)

    def test_the_bot_is_removed(self, stage: Stage) -> None:
        """As anybody may add the bot there, anybody may remove it."""
        group = stage.api.group(-1002)
        stage.boris.add_bot(group)
        stage.boris.remove_bot(group)
        with pytest.raises(ApiTelegramException, match="bot was kicked"):
            stage.bot.send_message(-1002, "hi")


class TestPlacesOfOthers:
    def test_a_guest_answers_in_a_group_that_it_was_removed_from(self, stage: Stage) -> None:
        """A bot answers a message that summons it, in a chat that it is no member of."""
        stage.ada.remove_bot(stage.group)
        query = stage.boris.summon("@test_bot hi", stage.group)["guest_message"]["guest_query_id"]
        text = types.InputTextMessageContent("hello")
        stage.bot.answer_guest_query(query, types.InlineQueryResultArticle("1", "a", text))
        assert ["hello"] == stage.api.messages.texts

    def test_a_business_writes_to_a_customer_who_has_blocked_the_bot(self, stage: Stage) -> None:
        """The bot writes for the owner there, and not for itself."""
        chat = stage.api.business_chat(stage.boris)
        stage.boris.block()
        stage.bot.send_message(2, "hi", business_connection_id=chat.connection_id)
        assert ["hi"] == chat.messages.texts


class TestRemovedBot:
    def test_a_removed_bot_hears_nothing(self, stage: Stage, kinds: Kinds) -> None:
        """After its removal a bot gets no updates of the group, until it is added again."""
        stage.ada.remove_bot(stage.group)
        before = kinds()
        stage.boris.send("a", chat=stage.group)
        stage.clara.join(stage.group)
        during = kinds()
        stage.boris.summon("@test_bot hi", stage.group)
        stage.boris.send("a")
        stage.ada.add_bot(stage.group)
        stage.boris.send("a", chat=stage.group)

        assert ["my_chat_member", "message"] == before[-2:]
        assert before == during
        assert ["guest_message", "message", "my_chat_member", "message", "message"] == kinds()[
            len(before) :
        ]

    def test_a_bot_that_left_hears_nothing(self, stage: Stage, kinds: Kinds) -> None:
        """A bot gets no updates of a channel that it has left."""
        channel: Channel = stage.api.channel(-1002)
        stage.bot.leave_chat(-1002)
        before = kinds()
        channel.send("a")

        assert before == kinds()


RIGHTS: list[tuple[str, Callable[[Any], object], str]] = [
    ("ban", lambda bot: bot.ban_chat_member(GROUP, 2), "restrict/unrestrict chat member"),
    ("unban", lambda bot: bot.unban_chat_member(GROUP, 2), "restrict/unrestrict chat member"),
    (
        "restrict",
        lambda bot: bot.restrict_chat_member(GROUP, 2, permissions=NOTHING),
        "not enough rights to restrict/unrestrict chat member",
    ),
    (
        "permissions",
        lambda bot: bot.set_chat_permissions(GROUP, NOTHING),
        "not enough rights to change chat permissions",
    ),
    ("promote", lambda bot: bot.promote_chat_member(GROUP, 2), "Bad Request: not enough rights"),
    ("title", lambda bot: bot.set_chat_title(GROUP, "A"), "rights to change chat title"),
    ("description", lambda bot: bot.set_chat_description(GROUP, "A"), "set chat description"),
    ("photo", lambda bot: bot.delete_chat_photo(GROUP), "rights to change chat photo"),
    ("link", lambda bot: bot.create_chat_invite_link(GROUP), "manage chat invite link"),
    ("request", lambda bot: bot.approve_chat_join_request(GROUP, 3), "manage chat join requests"),
    ("pin", lambda bot: bot.pin_chat_message(GROUP, 1), "rights to manage pinned messages"),
    ("delete", lambda bot: bot.delete_message(GROUP, 1), "message can't be deleted"),
    ("delete several", lambda bot: bot.delete_messages(GROUP, [1]), "message can't be deleted"),
    ("topic", lambda bot: bot.create_forum_topic(GROUP, "A"), "rights to create a topic"),
    (
        "general topic",
        lambda bot: bot.close_general_forum_topic(GROUP),
        "not enough rights to close or open the topic",
    ),
]


class TestBot:
    @pytest.mark.parametrize(
        ("act", "refusal"), [row[1:] for row in RIGHTS], ids=[row[0] for row in RIGHTS]
    )
    def test_a_plain_member_is_refused(
        self, stage: Stage, act: Callable[[Any], object], refusal: str
    ) -> None:
        """A bot that was added as a plain member has no rights of an administrator."""
        stage.ada.add_bot(stage.group, administrator=False)
        with pytest.raises(ApiTelegramException, match=refusal) as caught:
            act(stage.bot)

        assert 400 == caught.value.error_code

    def test_a_plain_member_writes_and_deletes_its_own(self, stage: Stage) -> None:
        """A bot without rights sends and deletes messages of its own, and looks at members."""
        stage.ada.add_bot(stage.group, administrator=False)
        sent = stage.bot.send_message(GROUP, "a")
        stage.bot.delete_message(GROUP, sent.message_id)

        assert ([True], "creator") == (
            [message.is_deleted for message in stage.api.messages],
            stage.status(stage.ada),
        )

    def test_a_bot_without_rights_is_refused_by_its_own_words(self, stage: Stage) -> None:
        """An unknown message is no matter of rights, and a given answer is given to each bot."""
        stage.ada.add_bot(stage.group, administrator=False)
        stage.api.answer_with("banChatMember", True)
        with pytest.raises(ApiTelegramException, match="message to delete not found"):
            stage.bot.delete_message(GROUP, 99)

        assert stage.bot.ban_chat_member(GROUP, 2)

    def test_a_promoted_bot_may_act(self, stage: Stage) -> None:
        """A bot that becomes an administrator later has all rights from then on."""
        stage.ada.add_bot(stage.group, administrator=False)
        stage.ada.add_bot(stage.group)
        stage.bot.ban_chat_member(GROUP, 2)

        assert "kicked" == stage.status(stage.boris)

    def test_a_private_chat_needs_no_right(self, stage: Stage) -> None:
        """A bot pins and deletes in each private chat."""
        update = stage.boris.send("a")
        number = update["message"]["message_id"]
        stage.bot.pin_chat_message(2, number)
        pinned = [message["message_id"] for message in stage.boris.private_chat.pinned]
        stage.bot.delete_message(2, number)

        assert ([number], None) == (pinned, stage.api.find_message(2, number))
