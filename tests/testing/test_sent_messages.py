"""Messages of the bot that the server keeps, and those that it refuses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from telebot import apihelper, types

if TYPE_CHECKING:
    from telesession.testing import BotAPI


@pytest.mark.parametrize("method", ["send_message", "send_photo"])
@pytest.mark.parametrize("place", ["private", "forum"])
def test_a_topic_is_kept(api: BotAPI, bot: Any, method: str, place: str) -> None:
    """A message of any kind is in the topic that it was sent to, in private chats too."""
    ada, forum = api.user(1), api.group(-1001, forum=True)
    chat = forum if place == "forum" else ada.private_chat
    ada.send("hi", chat=chat, topic=7)
    sent = getattr(bot, method)(chat.id, "hi", message_thread_id=7)
    assert (7, True, 7) == (sent.message_thread_id, sent.is_topic_message, api.messages[0].topic)


def test_a_private_chat_has_the_names_of_its_user(api: BotAPI, bot: Any) -> None:
    """The chat of a user has the names that the user has, before the user writes too."""
    api.user(3, first_name="Clara", username="clara_w")
    chat = bot.send_message(3, "hi").chat
    assert ("Clara", "clara_w") == (chat.first_name, chat.username)


def test_a_forced_reply_is_kept(api: BotAPI, bot: Any) -> None:
    """The messages of the bot tell which of them ask for a reply."""
    bot.send_message(1, "name?", reply_markup=types.ForceReply(selective=True))
    bot.send_message(1, "hi")
    bot.send_message(1, "pick", reply_markup=types.ReplyKeyboardRemove())
    assert [True, False, False] == [message.force_reply for message in api.messages]


def test_direct_messages_need_a_topic(api: BotAPI, bot: Any) -> None:
    """In the direct messages of a channel a message needs a topic, or one that it answers."""
    news = api.direct_messages(-1002)
    with pytest.raises(apihelper.ApiTelegramException, match="direct_messages_topic_id is empty"):
        bot.send_message(news.id, "hi")
    update = api.user(1).send("hi", chat=news)
    number = update["message"]["message_id"]
    sent = bot.send_message(news.id, "hi", reply_parameters=types.ReplyParameters(number))
    assert "hi" == sent.reply_to_message.text


def test_messages_pushed_together_have_numbers_in_a_row(api: BotAPI) -> None:
    """Raw messages get the next numbers of their chat, and one update each."""
    chat = {"id": -5, "type": "channel", "title": "News"}
    posts = [{"chat": chat, "date": 1, "text": text} for text in "ab"]
    updates = api.push_messages("channel_post", posts)
    assert [(1, 1, "a"), (2, 2, "b")] == [
        (update["update_id"], update["channel_post"]["message_id"], update["channel_post"]["text"])
        for update in updates
    ]


class TestCopies:
    def test_a_copy_has_the_content_of_the_message(self, api: BotAPI, bot: Any) -> None:
        """The bot sends the content of a message that it got, without saying who wrote it."""
        ada, forum = api.user(1), api.group(-1005, forum=True)
        ada.send("hi", chat=forum, topic=7)
        number = ada.send("/help me")["message"]["message_id"]
        copied = bot.copy_message(-1005, 1, number, message_thread_id=7)
        (sent,) = api.messages
        assert (copied.message_id, -1005, "/help me", 7) == (
            sent.message_id,
            sent.chat_id,
            sent.text,
            sent.topic,
        )
        assert (True, "bot_command") == (
            sent.json["from"]["is_bot"],
            sent.json["entities"][0]["type"],
        )

    def test_a_copy_may_have_another_caption(self, api: BotAPI, bot: Any) -> None:
        """The caption of a copy is the given one, or that of the message."""
        number = api.user(1).photo("my cat")["message"]["message_id"]
        bot.copy_message(2, 1, number)
        bot.copy_message(2, 1, number, caption="a cat")
        assert ["my cat", "a cat"] == [message.text for message in api.messages]
        assert [True, True] == ["photo" in message.json for message in api.messages]

    def test_an_album_stays_one(self, api: BotAPI, bot: Any) -> None:
        """Messages that are copied together keep their group, and missing ones are skipped."""
        album = api.user(1).album(3)
        numbers = [update["message"]["message_id"] for update in album]
        copied = bot.copy_messages(2, 1, [*numbers, 99])
        assert [1, 2, 3] == [each.message_id for each in copied]
        assert 1 == len({message.media_group_id for message in api.messages})
        assert None is not api.messages[0].media_group_id

    def test_a_message_that_is_not_there_is_refused(self, api: BotAPI, bot: Any) -> None:
        """Nothing is copied from a chat that has no such message."""
        with pytest.raises(apihelper.ApiTelegramException, match="message to copy not found"):
            bot.copy_message(2, 1, 99)
        with pytest.raises(apihelper.ApiTelegramException, match="there are no messages to copy"):
            bot.copy_messages(2, 1, [99])
        assert [] == api.messages


def test_a_draft_is_no_message(api: BotAPI, bot: Any) -> None:
    """A draft may be empty, and leaves no message."""
    drafts = [bot.send_message_draft(5, 1, text) for text in ("", "te")]
    drafts.append(bot.send_rich_message_draft(5, 1, types.InputRichMessage(html="<p>te</p>")))

    assert ([True] * 3, []) == (drafts, api.messages)


@pytest.mark.parametrize(
    ("chat_id", "draft_id", "refusal"),
    [(-100, 1, "TEXTDRAFT_PEER_INVALID"), (5, 0, "draft_id must be non-zero")],
    ids=["group", "no id"],
)
def test_a_draft_is_for_a_user(bot: Any, chat_id: int, draft_id: int, refusal: str) -> None:
    """A draft in a group is refused, and so is one without a number."""
    with pytest.raises(apihelper.ApiTelegramException, match=refusal):
        bot.send_message_draft(chat_id, draft_id, "tea")
