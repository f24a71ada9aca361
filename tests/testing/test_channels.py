"""Channels on the loopback Bot API: posts, edits, and the bot's own posts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from telebot import types

    from telesession.testing import BotAPI, User


def test_a_post_is_the_channels(api: BotAPI, read: Callable[[], list[types.Update]]) -> None:
    """A post has the channel as its chat and its sender, and no user."""
    api.channel(-1002, title="Tea", username="tea").send("news")
    post = read()[0].channel_post
    assert (-1002, "channel", "Tea", "tea") == (
        post.chat.id,
        post.chat.type,
        post.chat.title,
        post.chat.username,
    )
    assert (-1002, None, "news") == (post.sender_chat.id, post.from_user, post.text)


def test_posts_have_every_content(api: BotAPI, read: Callable[[], list[types.Update]]) -> None:
    """A channel posts the contents that users send, and albums."""
    channel = api.channel(-1002)
    channel.photo("a")
    channel.album(2)
    channel.poll("what?", "tea", "milk")
    kinds = [update.channel_post.content_type for update in read()]
    assert ["photo", "photo", "photo", "poll"] == kinds


@pytest.mark.parametrize("kind", ["text", "caption"])
def test_a_post_is_edited(api: BotAPI, read: Callable[[], list[types.Update]], kind: str) -> None:
    """An edit is an `edited_channel_post`, of the text or of the caption."""
    channel = api.channel(-1002)
    channel.edit(channel.send("a") if kind == "text" else channel.photo("a"), "b")
    edited = read()[1].edited_channel_post
    assert "b" == getattr(edited, kind)
    assert edited.edit_date


def test_the_bot_answers_a_post(api: BotAPI, bot: Any) -> None:
    """A reply of the bot is a post, and found by the name of the channel too."""
    channel = api.channel(-1002, username="tea")
    post = channel.send("news")["channel_post"]
    bot.send_message("@tea", "more")
    assert ["more"] == channel.messages.texts
    assert (-1002, post["message_id"] + 1) == (
        channel.messages[0].chat_id,
        channel.messages[0].message_id,
    )


def test_a_reader_presses(api: BotAPI, bot: Any, ada: User) -> None:
    """A user presses a button under a post of the bot."""
    api.channel(-1002)
    buttons = {"inline_keyboard": [[{"text": "Yes", "callback_data": "y"}]]}
    post = bot.send_message(-1002, "sure?", reply_markup=str(buttons).replace("'", '"'))
    query = ada.press(post, "Yes")["callback_query"]
    assert (1, -1002) == (query["from"]["id"], query["message"]["sender_chat"]["id"])


def test_a_channel_says_its_id(api: BotAPI) -> None:
    """The words for a channel name it by its id."""
    assert "Channel(id=-1002)" == repr(api.channel(-1002))
