"""The business accounts and the bots that a bot manages on the loopback Bot API."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING, Any

import pytest
from telebot import types
from telebot.apihelper import ApiTelegramException

from telesession.testing.people.chats import BusinessChat, chat_of

if TYPE_CHECKING:
    from telesession.testing import BotAPI, User

CONNECTION = "business-1"
DAY = 86400
CLIENT = 99


@pytest.fixture
def chat(api: BotAPI, ada: User, boris: User) -> Any:
    """The chat of a customer with a business account, for which the bot answers."""
    return api.business_chat(ada, owner=boris, connection_id=CONNECTION)


@pytest.fixture
def story(bot: Any, chat: Any) -> types.Story:
    """A story of the account."""
    posted: types.Story = bot.post_story(CONNECTION, content(), DAY)
    return posted


def content() -> types.InputStoryContentPhoto:
    """The photo of a story."""
    return types.InputStoryContentPhoto(types.InputFile(BytesIO(b"photo"), "photo.jpg"))


def test_a_connection_has_its_owner(bot: Any, chat: Any, boris: User) -> None:
    """The connection is enabled, has every right, and belongs to the owner of the account."""
    connection = bot.get_business_connection(CONNECTION)

    assert (CONNECTION, boris.id, True) == (
        connection.id,
        connection.user.id,
        connection.is_enabled,
    )
    assert {True} == set(vars(connection.rights).values())


def test_the_chat_of_a_message_has_its_owner(
    api: BotAPI, chat: Any, ada: User, boris: User
) -> None:
    """The chat that a message of a customer is in belongs to the owner, and not to the customer."""
    found = chat_of(ada.send("hi", chat=chat)["business_message"], api)

    assert isinstance(found, BusinessChat)
    assert (chat, boris.json) == (found, found.owner)


def test_the_owner_ends_the_connection(bot: Any, chat: Any, ada: User, read: Any) -> None:
    """The bot is told, its messages are refused, and a customer who writes is an error."""
    chat.disconnect()
    [told] = [update.business_connection for update in read()]

    assert (CONNECTION, False, False) == (
        told.id,
        told.is_enabled,
        bot.get_business_connection(CONNECTION).is_enabled,
    )
    with pytest.raises(ApiTelegramException, match="BUSINESS_CONNECTION_INVALID"):
        bot.send_message(ada.id, "hi", business_connection_id=CONNECTION)
    with pytest.raises(ValueError, match="its owner has ended the connection 'business-1'"):
        ada.send("hi", chat=chat)


def test_the_owner_connects_the_bot_again(bot: Any, chat: Any, ada: User, read: Any) -> None:
    """The bot is told of its rights, and writes for the account."""
    chat.disconnect()
    chat.connect()
    told = [update.business_connection for update in read()][-1]
    bot.send_message(ada.id, "hi", business_connection_id=CONNECTION)

    assert (True, True, ["hi"]) == (told.is_enabled, told.rights.can_reply, chat.messages.texts)


def test_the_owner_gets_a_name(bot: Any, chat: Any, boris: User) -> None:
    """The owner has the names that the bot sets, also in later updates."""
    bot.set_business_account_name(CONNECTION, "Tea", "House")
    bot.set_business_account_username(CONNECTION, "tea_house")

    owner = bot.get_business_connection(CONNECTION).user

    assert ("Tea", "House", "tea_house") == (owner.first_name, owner.last_name, owner.username)
    assert "Tea" == boris.send("hi", chat=chat)["business_message"]["from"]["first_name"]


def test_an_empty_name_removes_it(bot: Any, chat: Any) -> None:
    """The owner has no last name and no username after an empty one."""
    bot.set_business_account_name(CONNECTION, "Tea", "House")
    bot.set_business_account_name(CONNECTION, "Tea")
    bot.set_business_account_username(CONNECTION)

    owner = bot.get_business_connection(CONNECTION).user

    assert (None, None) == (owner.last_name, owner.username)


def test_the_account_has_a_photo(bot: Any, chat: Any, boris: User) -> None:
    """The photo that the bot sets is in the profile of the owner until it is removed."""
    photo = types.InputProfilePhotoStatic(types.InputFile(BytesIO(b"photo"), "me.jpg"))
    counts = []
    for change in (
        lambda: bot.set_business_account_profile_photo(CONNECTION, photo),
        lambda: bot.remove_business_account_profile_photo(CONNECTION),
        lambda: bot.remove_business_account_profile_photo(CONNECTION),
    ):
        change()
        counts.append(bot.get_user_profile_photos(boris.id).total_count)

    assert [1, 0, 0] == counts


def test_the_account_shows_its_settings(bot: Any, chat: Any, boris: User) -> None:
    """The chat of the owner has the bio and the accepted gifts that the bot sets."""
    bot.set_business_account_bio(CONNECTION, "hot and cold")
    accepted = types.AcceptedGiftTypes(True, False, True, False, True)
    bot.set_business_account_gift_settings(CONNECTION, True, accepted)

    shown = bot.get_chat(boris.id)

    assert ("hot and cold", accepted.to_dict()) == (shown.bio, shown.accepted_gift_types.to_dict())


def test_a_message_is_read_if_there_is_one(bot: Any, chat: Any, ada: User) -> None:
    """A message of a customer can be read, an unknown one not."""
    message = ada.send("hi", chat=chat)["business_message"]

    assert bot.read_business_message(CONNECTION, ada.id, message["message_id"])
    with pytest.raises(ApiTelegramException, match="message to read not found"):
        bot.read_business_message(CONNECTION, ada.id, 99)


def test_a_story_is_in_the_chat_of_the_owner(bot: Any, story: types.Story, boris: User) -> None:
    """A story has a number, and keeps it when it is edited."""
    edited = bot.edit_story(CONNECTION, story.id, content())

    assert [(boris.id, story.id)] * 2 == [(one.chat.id, one.id) for one in (story, edited)]


def test_a_story_is_reposted(bot: Any, api: BotAPI, story: types.Story, ada: User) -> None:
    """A story of one account becomes one of another account."""
    api.business_chat(ada, owner=api.user(3), connection_id="business-2")

    reposted = bot.repost_story("business-2", story.chat.id, story.id, DAY)

    assert (3, True) == (reposted.chat.id, reposted.id != story.id)


def test_a_deleted_story_is_gone(bot: Any, story: types.Story) -> None:
    """A story that was deleted can be neither edited nor reposted nor deleted again."""
    bot.delete_story(CONNECTION, story.id)

    for act in (
        lambda: bot.edit_story(CONNECTION, story.id, content()),
        lambda: bot.repost_story(CONNECTION, story.chat.id, story.id, DAY),
        lambda: bot.delete_story(CONNECTION, story.id),
    ):
        with pytest.raises(ApiTelegramException, match="story not found"):
            act()


def test_a_story_is_active_for_one_of_four_periods(bot: Any, chat: Any) -> None:
    """Another period than 6 hours, 12 hours, a day or two days is refused."""
    with pytest.raises(ApiTelegramException, match="invalid story active period"):
        bot.post_story(CONNECTION, content(), 60)


def test_a_managed_bot_has_a_token(bot: Any) -> None:
    """The token of a managed bot stays until it is replaced."""
    former = [bot.get_managed_bot_token(CLIENT) for _ in range(2)]
    new = bot.replace_managed_bot_token(CLIENT)

    assert (1, new) == (len(set(former)), bot.get_managed_bot_token(CLIENT))
    assert ["99", "99"] == [token.partition(":")[0] for token in (former[0], new)]
    assert new not in former


def test_access_to_a_managed_bot_is_restricted(bot: Any, ada: User) -> None:
    """Access is free at first, then for the users that are named, and then free again."""
    states = [bot.get_managed_bot_access_settings(CLIENT)]
    bot.set_managed_bot_access_settings(CLIENT, True, [ada.id])
    states.append(bot.get_managed_bot_access_settings(CLIENT))
    bot.set_managed_bot_access_settings(CLIENT, False)
    states.append(bot.get_managed_bot_access_settings(CLIENT))

    assert [False, True, False] == [one.is_access_restricted for one in states]
    assert ["Ada"] == [user.first_name for user in states[1].added_users]
