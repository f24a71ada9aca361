"""Where a user writes: topics, direct messages, business chats, chats without the bot."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from telebot import types

if TYPE_CHECKING:
    from telesession.testing import BotAPI, Group, User

Read = Callable[[], list[types.Update]]


def send_button(bot: Any, chat_id: int, **options: Any) -> Any:
    markup = types.InlineKeyboardMarkup()
    markup.add(types.InlineKeyboardButton("Yes", callback_data="y"))
    return bot.send_message(chat_id, "sure?", reply_markup=markup, **options)


class TestTopics:
    def test_a_private_chat_has_topics(self, ada: User, read: Read) -> None:
        """A message in a topic of the private chat says so, and answers nothing."""
        ada.photo(topic=7)
        message = read()[0].message
        assert (1, 7, True, None) == (
            message.chat.id,
            message.message_thread_id,
            message.is_topic_message,
            message.reply_to_message,
        )

    def test_a_forum_shows_the_start_of_the_topic(self, api: BotAPI, ada: User, read: Read) -> None:
        """In a topic of a forum a message answers the creation of the topic, or another message."""
        forum = api.group(-100, forum=True)
        first = ada.send("a", chat=forum, topic=7)
        ada.send("b", chat=forum, topic=7, reply_to=first)
        created, answered = (update.message.reply_to_message for update in read())
        assert ("forum_topic_created", 7, 7) == (
            created.content_type,
            created.message_id,
            created.message_thread_id,
        )
        assert "a" == answered.text

    def test_a_press_is_in_the_topic_of_its_message(
        self, api: BotAPI, bot: Any, ada: User, read: Read
    ) -> None:
        """The bot's message is in the topic that it was sent to, and so is a press on it."""
        forum = api.group(-100, forum=True)
        for chat in forum, ada.private_chat:
            ada.send("hi", chat=chat, topic=7)
            ada.press(send_button(bot, chat.id, message_thread_id=7), "y")
        presses = [update.callback_query.message for update in read()[1::2]]
        assert [(-100, 7), (1, 7)] == [(m.chat.id, m.message_thread_id) for m in presses]
        assert [7, 7] == [message.topic for message in api.messages]

    def test_a_reply_of_the_bot_is_in_the_topic_of_the_message(
        self, api: BotAPI, bot: Any, ada: User, read: Read
    ) -> None:
        """A reply needs no topic of its own: it is where the answered message is."""
        forum = api.group(-100, forum=True)
        for where in ({"chat": forum, "topic": 7}, {"topic": 7}, {}):
            ada.send("a", **where)
        ada.send("a", chat=api.direct_messages(-1002))
        for update in read():
            bot.reply_to(update.message, "b")
        assert [(-100, 7), (1, 7), (1, None), (-1002, 1)] == [
            (message.chat_id, message.topic) for message in api.messages
        ]


class TestDirectMessages:
    def test_each_user_has_a_topic(self, api: BotAPI, ada: User, boris: User, read: Read) -> None:
        """A message to a channel is in the topic of its user, or in that of the user it is for."""
        news = api.direct_messages(-1002, title="Tea news")
        ada.send("hi", chat=news)
        boris.send("yes?", chat=news, topic=ada.id)
        first, second = (update.message for update in read())
        assert (-1002, True, "Tea news") == (
            first.chat.id,
            first.chat.is_direct_messages,
            first.chat.title,
        )
        assert [(1, 1, 1), (2, 1, 1)] == [
            (m.from_user.id, m.direct_messages_topic.topic_id, m.direct_messages_topic.user.id)
            for m in (first, second)
        ]
        assert [None, None] == [m.message_thread_id for m in (first, second)]

    @pytest.mark.parametrize("photo", [False, True])
    def test_a_post_is_suggested(self, api: BotAPI, ada: User, read: Read, photo: bool) -> None:
        """A suggested post is a text or a photo with its state and its price."""
        news = api.direct_messages(-1002)
        ada.suggest("buy /tea", photo=photo, stars=9, chat=news)
        message = read()[0].message
        texts = [None, "buy /tea"]
        assert (texts if photo else texts[::-1]) == [message.text, message.caption]
        assert ("suggested_post_info", "pending", 9, 1) == (
            message.content_type,
            message.suggested_post_info.state,
            message.suggested_post_info.price.amount,
            message.direct_messages_topic.topic_id,
        )

    def test_a_post_may_be_free(self, api: BotAPI, ada: User, read: Read) -> None:
        """A suggested post without stars has no price."""
        ada.suggest("tea", chat=api.direct_messages(-1002))
        assert read()[0].message.suggested_post_info.price is None

    def test_the_bot_writes_in_a_topic(self, api: BotAPI, bot: Any, ada: User, read: Read) -> None:
        """The bot's message is in the topic of the user, whose name the server knows."""
        api.direct_messages(-1002)
        sent = send_button(bot, -1002, direct_messages_topic_id=1)
        ada.press(sent, "y")
        topic = read()[0].callback_query.message.direct_messages_topic
        assert (1, "Ada", 1) == (topic.topic_id, topic.user.first_name, api.messages[0].topic)


class TestBusinessChats:
    def test_customer_and_owner_write_in_it(
        self, api: BotAPI, ada: User, boris: User, read: Read
    ) -> None:
        """Both are business messages in the chat of the customer; an edit is an edited one."""
        shop = api.business_chat(ada, owner=boris, connection_id="shop")
        sent = ada.send("tea?", chat=shop)
        boris.send("yes", chat=shop, reply_to=sent)
        ada.edit(sent, "milk?")
        first, second, third = read()
        assert [(1, 1, "shop"), (2, 1, "shop"), (1, 1, "shop")] == [
            (message.from_user.id, message.chat.id, message.business_connection_id)
            for message in (
                first.business_message,
                second.business_message,
                third.edited_business_message,
            )
        ]
        assert "tea?" == second.business_message.reply_to_message.text
        assert "milk?" == third.edited_business_message.text

    def test_it_is_no_chat_with_the_bot(self, api: BotAPI, ada: User) -> None:
        """Chats with the same id count and keep their messages apart."""
        one, other = (api.business_chat(ada, connection_id=name) for name in "ab")
        for text, chat in (("private", None), ("one", one), ("other", other)):
            ada.send(text, chat=chat)
        texts = [
            api.find_message(1, 1, business_connection_id=connection)["text"]
            for connection in (None, "a", "b")
        ]
        assert ["private", "one", "other"] == texts

    def test_the_bot_writes_for_the_owner(
        self, api: BotAPI, bot: Any, ada: User, boris: User, read: Read
    ) -> None:
        """The bot's message is from the owner, names the bot, and can be pressed and answered."""
        shop = api.business_chat(ada, owner=boris, connection_id="shop")
        sent = send_button(bot, 1, business_connection_id="shop")
        ada.press(sent, "y")
        ada.send("yes", chat=shop, reply_to=api.messages[0])
        bot.send_message(
            1, "ok", business_connection_id="shop", reply_parameters=types.ReplyParameters(1)
        )
        pressed, answered = read()
        message = pressed.callback_query.message
        assert (2, 77, "shop") == (
            message.from_user.id,
            message.sender_business_bot.id,
            message.business_connection_id,
        )
        assert "sure?" == answered.business_message.reply_to_message.text
        assert ("shop", 1) == (
            api.messages[1].business_connection_id,
            api.messages[1].reply_to_message_id,
        )

    def test_an_edit_finds_its_message(self, api: BotAPI, bot: Any, ada: User) -> None:
        """The bot edits the message of the connection that it names."""
        api.business_chat(ada, connection_id="shop")
        for options in ({}, {"business_connection_id": "shop"}):
            bot.send_message(1, "first", **options)
        bot.edit_message_text("second", 1, 1, business_connection_id="shop")
        assert ["first", "second"] == [message.text for message in api.messages]

    def test_an_owner_may_be_unknown(self, api: BotAPI, bot: Any, ada: User) -> None:
        """A connection without an owner has a made-up one, whom the chat names too."""
        shop = api.business_chat(ada)
        sent = bot.send_message(1, "hi", business_connection_id=shop.connection_id)
        assert shop.owner["id"] == sent.from_user.id != 77


class TestGuests:
    def test_a_guest_is_summoned(self, api: BotAPI, ada: User, boris: User, read: Read) -> None:
        """Each guest message has a query of its own, in a group or the chat of two users."""
        ada.summon("@test_bot hi", api.group(-5))
        ada.summon("@test_bot hi", boris.private_chat)
        first, second = (update.guest_message for update in read())
        assert [(1, -5, "group"), (1, 2, "private")] == [
            (m.from_user.id, m.chat.id, m.chat.type) for m in (first, second)
        ]
        assert 2 == len({first.guest_query_id, second.guest_query_id} - {None})


class TestAnonymousAdmins:
    @pytest.fixture
    def group(self, api: BotAPI) -> Group:
        return api.group(-1001)

    def test_they_write_as_the_group(self, ada: User, group: Group, read: Read) -> None:
        """In the group the sender is the group, beside the user that stands for all admins."""
        ada.anonymous_in(group).send("hi", chat=group)
        message = read()[0].message
        assert (-1001, 1087968824, True) == (
            message.sender_chat.id,
            message.from_user.id,
            message.from_user.is_bot,
        )

    def test_they_are_themselves_elsewhere(
        self, api: BotAPI, ada: User, group: Group, read: Read
    ) -> None:
        """Elsewhere they write under their own id, and the first object does so everywhere."""
        admin = ada.anonymous_in(group)
        admin.send("a")
        admin.send("b", chat=api.group(-1002))
        ada.send("c", chat=group)
        messages = [update.message for update in read()]
        assert [(1, None)] * 3 == [(m.from_user.id, m.sender_chat) for m in messages]

    def test_they_press_under_their_own_id(
        self, bot: Any, ada: User, group: Group, read: Read
    ) -> None:
        """Telegram tells who pressed a button, also if an anonymous admin did."""
        ada.anonymous_in(group).press(send_button(bot, -1001), "y")
        assert 1 == read()[0].callback_query.from_user.id

    def test_they_react_as_the_group(self, bot: Any, ada: User, group: Group, read: Read) -> None:
        """A reaction of an anonymous admin is one of the group."""
        sent = bot.send_message(-1001, "hi")
        read_before = ada.send("let the bot ask for reactions")
        assert read_before["update_id"] == read()[0].update_id
        ada.anonymous_in(group).react(sent, "👍")
        reaction = read()[0].message_reaction
        assert (None, -1001) == (reaction.user, reaction.actor_chat.id)


def test_a_private_chat_has_the_id_and_the_names_of_its_user(ada: User) -> None:
    """The private chat of a user can be given where a chat is asked for."""
    names = {"first_name": "Ada", "username": "ada"}
    assert {"id": 1, **names, "type": "private"} == ada.private_chat.json
    chats = [ada.send("a", chat=chat)["message"]["chat"] for chat in (None, ada.private_chat)]
    assert chats[0] == chats[1]
