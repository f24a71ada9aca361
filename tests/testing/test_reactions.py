"""Reactions of the bot and of users on the loopback Bot API."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from telebot import types
from telebot.apihelper import ApiTelegramException

if TYPE_CHECKING:
    from telesession.testing import BotAPI, User


def react(bot: Any, message: Any, *emoji: str) -> None:
    """Put emoji of the bot under a message of a user."""
    reaction = [types.ReactionTypeEmoji(one) for one in emoji]
    bot.set_message_reaction(message["chat"]["id"], message["message_id"], reaction)


def test_a_reaction_of_the_bot_is_shown(api: BotAPI, bot: Any, ada: User) -> None:
    """The last reaction of the bot is under the message, until it is taken back."""
    update = ada.send("hi")
    states = [api.reactions_of(update)]
    for emoji in (["👍"], ["❤\ufe0f"], []):
        react(bot, update["message"], *emoji)
        states.append(api.reactions_of(update))

    assert [[], ["👍"], ["❤\ufe0f"], []] == states


def test_reactions_of_users_are_shown(api: BotAPI, bot: Any, ada: User, boris: User) -> None:
    """Every user has a reaction under a message of the bot, in any form of the message."""
    message = bot.send_message(-100, "hi")
    ada.react(message, "👍")
    boris.react(message, "🎉")
    ada.react(message, "🔥")

    assert [["🔥", "🎉"]] * 2 == [api.reactions_of(one) for one in (message, api.messages[-1])]


@pytest.mark.parametrize(
    ("reaction", "refusal"),
    [
        ([types.ReactionTypeEmoji("🍵")], "REACTION_INVALID"),
        ([types.ReactionTypePaid()], "REACTION_INVALID"),
        ([types.ReactionTypeEmoji("👍"), types.ReactionTypeEmoji("🎉")], "REACTIONS_TOO_MANY"),
    ],
    ids=["not an emoji for reactions", "paid", "two"],
)
def test_some_reactions_are_refused(bot: Any, ada: User, reaction: Any, refusal: str) -> None:
    """A bot reacts with one emoji of Telegram's list, or with a custom one."""
    message = ada.send("hi")["message"]

    with pytest.raises(ApiTelegramException, match=refusal):
        bot.set_message_reaction(1, message["message_id"], reaction)


def test_a_bot_reacts_with_a_custom_emoji(api: BotAPI, bot: Any, ada: User) -> None:
    """A custom emoji is shown by its id."""
    update = ada.send("hi")
    custom = types.ReactionTypeCustomEmoji("5368324170671202286")
    bot.set_message_reaction(1, update["message"]["message_id"], [custom])

    assert ["5368324170671202286"] == api.reactions_of(update)


def test_a_reaction_needs_a_message(bot: Any) -> None:
    """A reaction to an unknown message is refused."""
    with pytest.raises(ApiTelegramException, match="message to react not found"):
        bot.set_message_reaction(1, 99, [types.ReactionTypeEmoji("👍")])


def test_the_bot_deletes_reactions_of_a_user(api: BotAPI, bot: Any, ada: User, boris: User) -> None:
    """A bot deletes the reaction of a user to one message, or all of them in a chat."""
    messages = [bot.send_message(chat_id, "hi") for chat_id in (-100, -100, -100, -200)]
    for message in messages:
        ada.react(message, "👍")
        boris.react(message, "🎉")
    bot.delete_message_reaction(-100, messages[0].message_id, user_id=ada.id)
    bot.delete_all_message_reactions(-100, user_id=boris.id)

    shown = [api.reactions_of(message) for message in messages]

    assert [[], ["👍"], ["👍"], ["👍", "🎉"]] == shown


def test_the_bot_deletes_reactions_of_an_anonymous_admin(api: BotAPI, bot: Any, ada: User) -> None:
    """The reaction of an anonymous administrator is that of the group."""
    group = api.group(-100)
    message = bot.send_message(-100, "hi")
    ada.anonymous_in(group).react(message, "👍")
    former = api.reactions_of(message)
    bot.delete_message_reaction(-100, message.message_id, actor_chat_id=-100)

    assert (["👍"], []) == (former, api.reactions_of(message))


class TestUsers:
    def test_the_former_reactions_are_told(self, bot: Any, ada: User, read: Any) -> None:
        """The bot gets the reactions of this user before and after: two at once, one, none."""
        message = bot.send_message(1, "hi")
        ada.send("hi")
        read()
        for emoji in (["👍", "🎉"], ["❤\ufe0f"], []):
            ada.react(message, *emoji)
        told = [update.message_reaction for update in read()]
        assert [([], ["👍", "🎉"]), (["👍", "🎉"], ["❤"]), (["❤"], [])] == [
            (labels(each.old_reaction), labels(each.new_reaction)) for each in told
        ]

    def test_the_bot_deletes_a_former_reaction(self, bot: Any, ada: User) -> None:
        """A reaction that the bot has deleted is none that a user has replaced."""
        message = bot.send_message(-100, "hi")
        ada.react(message, "👍")
        bot.delete_message_reaction(-100, message.message_id, user_id=ada.id)
        assert [] == ada.react(message, "👍")["message_reaction"]["old_reaction"]

    @pytest.mark.parametrize(
        ("emoji", "reason"),
        [
            (["abc"], "'abc' is no reaction of Telegram"),
            (["🍵"], "'🍵' is no reaction of Telegram"),
            ([""], "'' is no reaction of Telegram"),
            ([*"👍🎉🔥🥰"], "up to 3 reactions to a message, not 4"),
            (["👍"], "cannot react: 👍 is there already"),
        ],
    )
    def test_some_reactions_are_not_offered(
        self, bot: Any, ada: User, emoji: list[str], reason: str
    ) -> None:
        """A reaction that Telegram's apps do not offer is an error of the test."""
        message = bot.send_message(1, "hi")
        ada.react(message, "👍")
        with pytest.raises(ValueError, match=reason):
            ada.react(message, *emoji)

    def test_there_must_be_a_reaction_to_take_back(self, bot: Any, ada: User) -> None:
        """Without an emoji and without former ones there is nothing to do."""
        with pytest.raises(ValueError, match="give an emoji; there is none to take back"):
            ada.react(bot.send_message(1, "hi"))

    def test_a_channel_has_counts(self, api: BotAPI, ada: User, boris: User, read: Any) -> None:
        """Reactions to a post of a channel are told as numbers, without the users."""
        post = api.channel(-1002).send("news")
        read()
        for user, emoji in ((ada, "🔥"), (boris, "👍"), (ada, "👍")):
            user.react(post, emoji)
        told = [update.message_reaction_count.reactions for update in read()]
        assert [{"🔥": 1}, {"🔥": 1, "👍": 1}, {"👍": 2}] == [
            {one.type.emoji: one.total_count for one in reactions} for reactions in told
        ]


def labels(reactions: Any) -> list[str]:
    """The emoji of reactions."""
    return [one.emoji for one in reactions]
