"""The settings of chats on the loopback Bot API: titles, photos, permissions and so on."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from telebot import types
from telebot.apihelper import ApiTelegramException

if TYPE_CHECKING:
    from telesession.testing import BotAPI, Group, User

Read = Callable[[], list[types.Update]]


@pytest.fixture
def group(api: BotAPI) -> Group:
    """A supergroup that the bot administers."""
    return api.group(-1001, title="Tea")


class TestGetChat:
    def test_a_group_is_known(self, group: Group, bot: Any) -> None:
        """A group has its title and all permissions."""
        chat = bot.get_chat(-1001)

        assert (-1001, "supergroup", "Tea", True, True) == (
            chat.id,
            chat.type,
            chat.title,
            chat.permissions.can_send_messages,
            chat.permissions.can_manage_topics,
        )
        assert (None, None, None) == (chat.description, chat.pinned_message, chat.photo)
        assert not chat.accepted_gift_types.unlimited_gifts

    def test_a_user_is_known(self, bot: Any, ada: User) -> None:
        """A private chat has the names of the user, and no permissions."""
        chat = bot.get_chat(1)

        assert ("private", "Ada", "ada", ["ada"], None) == (
            chat.type,
            chat.first_name,
            chat.username,
            chat.active_usernames,
            chat.permissions,
        )

    def test_a_channel_is_known_by_its_name(self, api: BotAPI, bot: Any) -> None:
        """A channel is found by its `@username`, and has no permissions."""
        api.channel(-1002, username="news")
        chat = bot.get_chat("@news")

        assert (-1002, "channel", None) == (chat.id, chat.type, chat.permissions)

    def test_the_last_pin_is_shown(self, group: Group, bot: Any) -> None:
        """The message that was pinned last is that of the chat."""
        for text in ("a", "b"):
            bot.pin_chat_message(-1001, bot.send_message(-1001, text).message_id)

        assert "b" == bot.get_chat(-1001).pinned_message.text
        assert ["b", "a"] == [message["text"] for message in group.pinned]


class TestTitle:
    def test_a_title_stays(self, group: Group, bot: Any, ada: User, read: Read) -> None:
        """The bot gets a message about its title, and everything afterwards has it."""
        old = ada.send("hi", chat=group)
        bot.set_chat_title(-1001, "Coffee")
        ada.edit(old, "hello")
        ada.send("hi", chat=group)
        changed, last = read()[1].message, read_title(bot)

        assert ("new_chat_title", "Coffee", 77) == (
            changed.content_type,
            changed.new_chat_title,
            changed.from_user.id,
        )
        assert ("Coffee", "Coffee", "Coffee") == (changed.chat.title, last, group.title)

    def test_a_channel_posts_its_title(self, api: BotAPI, bot: Any, read: Read) -> None:
        """The message about the title of a channel is a post of it."""
        api.channel(-1002, username="news")
        bot.set_chat_title("@news", "Old news")
        [update] = read()

        assert (-1002, "Old news") == (
            update.channel_post.sender_chat.id,
            update.channel_post.new_chat_title,
        )
        assert "Old news" == bot.get_chat("@news").title

    @pytest.mark.parametrize(
        ("title", "refusal"),
        [("Tea", "chat title is not modified"), (" ", "title must be non-empty")],
    )
    def test_a_title_is_refused(self, group: Group, bot: Any, title: str, refusal: str) -> None:
        """A title must be another one, and not blank."""
        with pytest.raises(ApiTelegramException, match=refusal):
            bot.set_chat_title(-1001, title)


class TestOthers:
    def test_a_description_is_set_and_removed(self, group: Group, bot: Any) -> None:
        """A description may be empty; the same one again is refused."""
        bot.set_chat_description(-1001, "All about tea")
        described = bot.get_chat(-1001).description
        with pytest.raises(ApiTelegramException, match="chat description is not modified"):
            bot.set_chat_description(-1001, "All about tea")
        bot.set_chat_description(-1001, "")

        assert ("All about tea", None) == (described, bot.get_chat(-1001).description)

    def test_permissions_are_set(self, group: Group, bot: Any) -> None:
        """The permissions of the members are those that were set."""
        bot.set_chat_permissions(-1001, types.ChatPermissions(can_send_messages=True))
        permissions = bot.get_chat(-1001).permissions

        assert (True, False, True) == (
            permissions.can_send_messages,
            permissions.can_send_photos,
            permissions.can_react_to_messages,
        )

    def test_a_photo_is_set_and_deleted(self, group: Group, bot: Any, read: Read) -> None:
        """The photo can be downloaded, and the bot gets messages about it."""
        bot.set_chat_photo(-1001, b"a teapot")
        photo = bot.get_chat(-1001).photo
        content = bot.download_file(bot.get_file(photo.big_file_id).file_path)
        bot.delete_chat_photo(-1001)

        assert (b"a teapot", None) == (content, bot.get_chat(-1001).photo)
        assert ["new_chat_photo", "delete_chat_photo"] == [
            update.message.content_type for update in read()
        ]

    def test_a_photo_is_uploaded(self, group: Group, bot: Any) -> None:
        """The id of a file that Telegram has is refused."""
        with pytest.raises(ApiTelegramException, match="photo must be uploaded as an InputFile"):
            bot.set_chat_photo(-1001, "file-1")

    def test_a_photo_is_deleted_once(self, api: BotAPI, group: Group, bot: Any) -> None:
        """A group without a photo gives the bot no message."""
        assert bot.delete_chat_photo(-1001)
        assert [] == api.unconfirmed

    def test_a_sticker_set_is_set_and_removed(self, group: Group, bot: Any) -> None:
        """A supergroup has a sticker set; other groups have none."""
        bot.set_chat_sticker_set(-1001, "teapots")
        name = bot.get_chat(-1001).sticker_set_name
        bot.delete_chat_sticker_set(-1001)

        assert ("teapots", None) == (name, bot.get_chat(-1001).sticker_set_name)
        with pytest.raises(ApiTelegramException, match="available only for supergroups"):
            bot.set_chat_sticker_set(-5, "teapots")

    def test_a_private_chat_has_no_settings(self, bot: Any, ada: User) -> None:
        """Telegram words the refusal for each setting of a private chat."""
        for act, value, name in (
            (bot.set_chat_title, "Tea", "title"),
            (bot.set_chat_description, "Tea", "description"),
            (bot.set_chat_permissions, types.ChatPermissions(), "permissions"),
            (bot.set_chat_photo, b"a", "photo"),
        ):
            with pytest.raises(ApiTelegramException, match=f"can't change private chat {name}"):
                act(1, value)


def read_title(bot: Any) -> str:
    """The title of the group as the bot reads it."""
    return str(bot.get_chat(-1001).title)
