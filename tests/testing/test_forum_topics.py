"""The topics of forums on the loopback Bot API."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from telebot import TeleBot, types
from telebot.apihelper import ApiTelegramException

from telesession.testing import BotAPI, Group, User, run_polling

Read = Callable[[], list[types.Update]]


@pytest.fixture
def forum(api: BotAPI) -> Group:
    """A forum that the bot administers."""
    return api.group(-1001, title="Tea", forum=True)


@pytest.fixture
def topic(forum: Group, bot: Any) -> int:
    """The id of a topic that the bot has made."""
    return int(bot.create_forum_topic(-1001, "Green").message_thread_id)


def names(group: Group) -> list[str]:
    """The names of the topics of a forum."""
    return [topic["name"] for topic in group.topics]


class TestTopics:
    def test_a_new_topic_has_a_message(self, forum: Group, bot: Any, read: Read) -> None:
        """The id of a topic is that of the message about it, which the bot gets."""
        topic = bot.create_forum_topic(-1001, "Green", 0xFFD67E, "537")
        message = read()[0].message

        assert ("Green", 0xFFD67E, "537") == (
            topic.name,
            topic.icon_color,
            topic.icon_custom_emoji_id,
        )
        assert ("forum_topic_created", "Green", topic.message_thread_id, True) == (
            message.content_type,
            message.forum_topic_created.name,
            message.message_thread_id,
            message.is_topic_message,
        )
        assert message.message_id == topic.message_thread_id
        assert message.message_id + 1 == bot.send_message(-1001, "hi").message_id

    def test_a_forum_lists_its_topics(self, forum: Group, topic: int, ada: User, bot: Any) -> None:
        """The general topic is the first; a topic that a user writes to is there."""
        ada.send("hi", chat=forum, topic=70)
        bot.send_message(-1001, "hi", message_thread_id=70)

        assert ["General", "Green", "Topic 70"] == names(forum)
        assert [1, topic, 70] == [one["message_thread_id"] for one in forum.topics]

    def test_other_groups_have_no_topics(self, api: BotAPI, bot: Any) -> None:
        """Only a forum has topics."""
        group = api.group(-1002)

        assert [] == group.topics
        with pytest.raises(ApiTelegramException, match="the chat is not a forum"):
            bot.create_forum_topic(-1002, "Green")

    def test_a_forum_has_topics_from_before(self, api: BotAPI, bot: Any) -> None:
        """A bot whose file names a topic writes there first."""
        forum = api.group(-1003, forum=True, topics=[77])
        assert 77 == bot.send_message(-1003, "hi", message_thread_id=77).message_thread_id
        assert [1, 77] == [one["message_thread_id"] for one in forum.topics]
        assert [] == api.updates

    def test_a_topic_needs_a_forum(self, api: BotAPI) -> None:
        """A group without topics has none from before."""
        with pytest.raises(ValueError, match="group -1003 has no topics: make it with forum=True"):
            api.group(-1003, topics=[77])

    def test_a_private_chat_may_have_topics(self, bot: Any, ada: User) -> None:
        """A bot makes topics in a private chat, too."""
        topic = bot.create_forum_topic(1, "Order 5").message_thread_id

        assert topic == bot.send_message(1, "hi", message_thread_id=topic).message_thread_id

    def test_a_topic_is_edited(self, forum: Group, topic: int, bot: Any, read: Read) -> None:
        """The message about an edit has what has changed."""
        bot.edit_forum_topic(-1001, topic, name="Black", icon_custom_emoji_id="537")
        bot.edit_forum_topic(-1001, topic, name="Black", icon_custom_emoji_id="")
        first, second = (update.message for update in read()[1:])

        assert ["General", "Black"] == names(forum)
        assert ("Black", "537") == (
            first.forum_topic_edited.name,
            first.forum_topic_edited.icon_custom_emoji_id,
        )
        assert (None, "", topic) == (
            second.forum_topic_edited.name,
            second.forum_topic_edited.icon_custom_emoji_id,
            second.message_thread_id,
        )

    def test_an_edit_changes_something(self, topic: int, bot: Any) -> None:
        """An edit with nothing in it is accepted, and one to the same name is not."""
        assert bot.edit_forum_topic(-1001, topic)
        with pytest.raises(ApiTelegramException, match="TOPIC_NOT_MODIFIED"):
            bot.edit_forum_topic(-1001, topic, name="Green")

    def test_a_topic_has_a_name(self, forum: Group, bot: Any) -> None:
        """A blank name is refused."""
        with pytest.raises(ApiTelegramException, match="title must be non-empty"):
            bot.create_forum_topic(-1001, " ")

    def test_a_topic_is_closed_and_reopened(
        self, forum: Group, topic: int, bot: Any, read: Read
    ) -> None:
        """The bot gets its own changes, and writes in a closed topic as an administrator."""
        states = []
        for act in (bot.close_forum_topic, bot.reopen_forum_topic):
            act(-1001, topic)
            with pytest.raises(ApiTelegramException, match="TOPIC_NOT_MODIFIED"):
                act(-1001, topic)
            states.append(forum.topics[1]["is_closed"])
            bot.send_message(-1001, "hi", message_thread_id=topic)

        assert [True, False] == states
        assert ["forum_topic_created", "forum_topic_closed", "forum_topic_reopened"] == [
            update.message.content_type for update in read()
        ]

    def test_a_deleted_topic_is_gone(
        self, api: BotAPI, forum: Group, topic: int, bot: Any, ada: User
    ) -> None:
        """Its messages are deleted, and nothing can be done in it any more."""
        bot.send_message(-1001, "hi", message_thread_id=topic)
        kept = bot.send_message(-1001, "kept")
        bot.delete_forum_topic(-1001, topic)

        assert (["General"], [True, False]) == (
            names(forum),
            [message.is_deleted for message in api.messages],
        )
        assert kept.message_id == forum.messages[0].message_id
        with pytest.raises(ApiTelegramException, match="message thread not found"):
            bot.send_message(-1001, "hi", message_thread_id=topic)
        with pytest.raises(ApiTelegramException, match="TOPIC_ID_INVALID"):
            bot.close_forum_topic(-1001, topic)

    def test_pins_of_one_topic_are_taken_away(
        self, forum: Group, topic: int, bot: Any, ada: User
    ) -> None:
        """Each topic has pinned messages of its own, and so has the general one."""
        ada.send("hi", chat=forum, topic=80)
        sent = [
            bot.send_message(-1001, "hi", message_thread_id=number).message_id
            for number in (None, topic, 80)
        ]
        for message_id in sent:
            bot.pin_chat_message(-1001, message_id)
        bot.unpin_all_forum_topic_messages(-1001, topic)
        pinned = [message["message_id"] for message in forum.pinned]
        bot.unpin_all_general_forum_topic_messages(-1001)

        assert ([sent[2], sent[0]], [sent[2]]) == (
            pinned,
            [message["message_id"] for message in forum.pinned],
        )

    def test_handlers_meet_topics(self, bot_api: BotAPI) -> None:
        """A handler of telebot gets the service messages about topics."""
        bot, seen = TeleBot("77:offline"), list[Any]()

        @bot.message_handler(content_types=["forum_topic_created", "forum_topic_closed"])
        def note(message: types.Message) -> None:
            seen.append((message.content_type, message.from_user.id))

        bot_api.group(-1001, forum=True)
        with run_polling(bot) as polling:
            bot.close_forum_topic(-1001, bot.create_forum_topic(-1001, "Tea").message_thread_id)
            polling.wait_idle()

        assert {("forum_topic_created", 77), ("forum_topic_closed", 77)} == set(seen)


class TestGeneral:
    def test_the_general_topic_is_renamed(self, forum: Group, bot: Any, read: Read) -> None:
        """The message about it is in no other topic."""
        bot.edit_general_forum_topic(-1001, "Hall")
        message = read()[0].message

        assert (["Hall"], "Hall", None) == (
            names(forum),
            message.forum_topic_edited.name,
            message.message_thread_id,
        )

    def test_the_general_topic_is_hidden(self, forum: Group, bot: Any, read: Read) -> None:
        """A hidden topic is closed; one that is reopened is shown."""
        states = []
        for act in (
            bot.close_general_forum_topic,
            bot.reopen_general_forum_topic,
            bot.hide_general_forum_topic,
            bot.unhide_general_forum_topic,
            bot.hide_general_forum_topic,
            bot.reopen_general_forum_topic,
        ):
            act(-1001)
            states.append((forum.topics[0]["is_closed"], forum.topics[0]["is_hidden"]))

        assert [
            (True, False),
            (False, False),
            (True, True),
            (True, False),
            (True, True),
            (False, False),
        ] == states
        assert ["forum_topic_closed", "forum_topic_reopened", "general_forum_topic_hidden"] == [
            update.message.content_type for update in read()[:3]
        ]
