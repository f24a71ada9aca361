"""Mistakes in a test, such as acts that Telegram's apps do not offer, are refused with a hint."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from telebot import types

from support.mistakes import Mistake, each
from telesession.testing import BotAPI, Messages, SentMessage, User, run_polling

if TYPE_CHECKING:
    from telesession.testing import Group


class Stage:
    """
    Two users, a group that has neither topics nor an owner, a forum of Ada, and a bot.

    Args:
        api: The running Bot API.
        bot: The bot.
    """

    def __init__(self, api: BotAPI, bot: Any) -> None:
        self.api = api
        self.bot = bot
        self.ada, self.boris = api.user(1, first_name="Ada"), api.user(2)
        self.group = api.group(-1001)
        self.forum = api.group(-1002, forum=True, owner=self.ada)

    def menu(self) -> types.Message:
        """A message of the bot with a button, in private with Ada."""
        markup = types.InlineKeyboardMarkup()
        markup.add(types.InlineKeyboardButton("Yes", callback_data="yes"))
        message: types.Message = self.bot.send_message(1, "tea?", reply_markup=markup)
        return message

    def invoice(self) -> types.Message:
        """An invoice in private with Ada."""
        prices = [types.LabeledPrice("Tea", 5)]
        message: types.Message = self.bot.send_invoice(1, "Tea", "a cup", "tea", "", "XTR", prices)
        return message

    def poll(self) -> types.Message:
        """A poll of the bot, in private with Ada."""
        message: types.Message = self.bot.send_poll(1, "tea?", [types.InputPollOption("yes")])
        return message

    def closed(self) -> Group:
        """The forum, whose topic 7 is closed."""
        self.ada.send("a", chat=self.forum, topic=7)
        self.bot.close_forum_topic(-1002, 7)
        return self.forum

    def deleted(self) -> Group:
        """The forum, whose topic 7 was deleted."""
        self.ada.send("a", chat=self.forum, topic=7)
        self.bot.delete_forum_topic(-1002, 7)
        return self.forum


@pytest.fixture
def stage(api: BotAPI, bot: Any) -> Stage:
    return Stage(api, bot)


IMPOSSIBLE = [
    Mistake(
        "topic in a group without topics",
        lambda s: s.ada.send("a", chat=s.group, topic=7),
        "topic 7 of chat -1001: it has no topics; make it with bot_api.group(-1001, forum=True)",
    ),
    Mistake(
        "closed topic",
        lambda s: s.boris.send("a", chat=s.closed(), topic=7),
        "topic 7 of chat -1002: it is closed; only administrators can",
    ),
    Mistake(
        "closed general topic",
        lambda s: (s.bot.close_general_forum_topic(-1002), s.boris.send("a", chat=s.forum)),
        "topic 1 of chat -1002: it is closed",
    ),
    Mistake(
        "deleted topic",
        lambda s: s.ada.send("a", chat=s.deleted(), topic=7),
        "topic 7 of chat -1002: it was deleted",
    ),
    Mistake(
        "banned user",
        lambda s: (s.bot.ban_chat_member(-1001, 2), s.boris.send("a", chat=s.group)),
        "user 2 is banned in group -1001: unban them first",
    ),
    Mistake(
        "text in the private chat of another",
        lambda s: s.boris.send("a", chat=s.ada.private_chat),
        "user 2 cannot act in the private chat of user 1 with the bot; let them act in a group",
    ),
    Mistake("press", lambda s: s.boris.press(s.menu(), "Yes"), "private chat of user 1"),
    Mistake("pay", lambda s: s.boris.pay(s.invoice()), "private chat of user 1"),
    Mistake("vote", lambda s: s.boris.vote(s.poll(), "yes"), "private chat of user 1"),
    Mistake("reaction", lambda s: s.boris.react(s.menu(), "👍"), "private chat of user 1"),
    Mistake(
        "reply to another chat",
        lambda s: s.ada.send("a", chat=s.group, reply_to=s.menu()),
        "cannot reply in chat -1001 to a message of chat 1: give chat= too",
    ),
    Mistake(
        "edit of a message of the bot",
        lambda s: s.ada.edit(s.menu(), "a"),
        "cannot edit message 1 in chat 1: only its sender can",
    ),
    Mistake(
        "edit of a message of another",
        lambda s: s.ada.edit(s.boris.send("a", chat=s.group), "b"),
        "cannot edit message 1 in chat -1001: only its sender can",
    ),
    Mistake(
        "vote in a text",
        lambda s: s.ada.vote(s.menu(), "yes"),
        "cannot vote in message 1: it has no poll of the bot",
    ),
    Mistake(
        "vote in a poll of a user",
        lambda s: s.ada.vote(s.ada.poll("tea?", "yes"), "yes"),
        "it has no poll of the bot, and a bot hears nothing of votes in other polls",
    ),
    Mistake("empty text", lambda s: s.ada.send(" \n"), "cannot send an empty text"),
    Mistake("edit to nothing", lambda s: s.ada.edit(s.ada.send("a"), ""), "an empty text"),
    Mistake("album of one", lambda s: s.ada.album(1), "album of 1: it has 2 to 10 files"),
    Mistake("album of eleven", lambda s: s.ada.album(11), "album of 11: it has 2 to 10 files"),
    Mistake(
        "promotion by a plain member",
        lambda s: s.boris.promote(s.ada, s.group),
        "user 2 is no administrator of group -1001: let its owner promote them, or make it with "
        "bot_api.group(-1001, owner=...)",
    ),
    Mistake("ban by a plain member", lambda s: s.boris.ban(s.ada, s.group), "no administrator"),
    Mistake(
        "leave by no member",
        lambda s: (s.boris.leave(s.group), s.boris.leave(s.group)),
        "user 2 cannot leave chat -1001 without being a member: let them join again",
    ),
    Mistake("id of a group", lambda s: s.api.group(5), "group 5: its id is a negative number"),
    Mistake("id of a channel", lambda s: s.api.channel(5), "channel 5: its id is a negative"),
    Mistake("id of direct messages", lambda s: s.api.direct_messages(5), "its id is a negative"),
    Mistake("id of a user", lambda s: s.api.user(-5), "user -5: their id is a positive number"),
]

NO_MESSAGE = "is no message: give a SentMessage, such as replies[-1]"

WRONG_TYPES = [
    Mistake("forward of a text", lambda s: s.ada.forward("x"), f"'x' {NO_MESSAGE}"),
    Mistake("vote in a text", lambda s: s.ada.vote("x", "y"), f"'x' {NO_MESSAGE}"),
    Mistake("press under a list", lambda s: s.ada.press(Messages(), "y"), f"[] {NO_MESSAGE}"),
    Mistake("edit of a press", lambda s: s.ada.edit(s.ada.press(s.menu(), "Yes"), "a"), NO_MESSAGE),
    Mistake("message id", lambda s: s.ada.react(s.bot.copy_message(1, 1, 1), "👍"), NO_MESSAGE),
    Mistake(
        "option that is none",
        lambda s: s.ada.photo(group=s.group),  # type: ignore[call-arg]
        "a message has no option 'group'; its options are chat, topic, reply_to, ephemeral",
    ),
    Mistake(
        "id as a chat",
        lambda s: s.ada.send("a", chat=-1001),  # type: ignore[arg-type]
        "chat=-1001 is no chat: give the result of bot_api.group(...) or a similar method",
    ),
    Mistake(
        "user as a phone number",
        lambda s: s.ada.contact(s.boris),  # type: ignore[arg-type]
        "User(id=2) is no phone number: give a str, and another user as person=",
    ),
]


@each(IMPOSSIBLE)
def test_an_impossible_act_is_refused(stage: Stage, mistake: Mistake) -> None:
    """An act that Telegram's apps do not offer is a `ValueError` with the reason."""
    with pytest.raises(ValueError) as caught:  # noqa: PT011 -- compared below
        mistake.act(stage)

    assert mistake.message in str(caught.value)


@each(WRONG_TYPES)
def test_an_argument_of_another_type_is_refused(stage: Stage, mistake: Mistake) -> None:
    """An argument of another type is a `TypeError` that says which one to give."""
    stage.menu()
    with pytest.raises(TypeError) as caught:
        mistake.act(stage)

    assert mistake.message in str(caught.value)


class TestPossibleActs:
    """The controls: acts that are like the refused ones, and possible."""

    def test_an_administrator_writes_in_a_closed_topic(self, stage: Stage) -> None:
        """The owner of a forum and its anonymous administrators write in a closed topic."""
        forum, admin = stage.closed(), stage.boris.anonymous_in(stage.forum)
        sent = [one.send("a", chat=forum, topic=7) for one in (stage.ada, admin)]

        assert [7, 7] == [update["message"]["message_thread_id"] for update in sent]

    def test_a_topic_that_is_open_again_takes_messages(self, stage: Stage) -> None:
        """Users write in a topic that was reopened."""
        forum = stage.closed()
        stage.bot.reopen_forum_topic(-1002, 7)

        assert 7 == stage.boris.send("a", chat=forum, topic=7)["message"]["message_thread_id"]

    def test_an_anonymous_administrator_edits(self, stage: Stage) -> None:
        """Messages of an anonymous administrator are edited by the same one."""
        admin = stage.ada.anonymous_in(stage.forum)
        edited = admin.edit(admin.send("a", chat=stage.forum), "b")

        assert "b" == edited["edited_message"]["text"]

    def test_members_are_promoted_in_turn(self, stage: Stage) -> None:
        """An administrator whom the owner has promoted acts on others, and an anonymous one too."""
        stage.ada.promote(stage.boris, stage.forum)
        clara = stage.api.user(3)
        stage.boris.promote(clara, stage.forum)
        clara.anonymous_in(stage.forum).ban(stage.api.user(4), stage.forum)

        assert ["administrator", "creator", "administrator", "administrator"] == [
            member["status"] for member in stage.forum.members
        ]

    def test_a_guest_message_has_two_readers(self, stage: Stage) -> None:
        """A user who summons the bot in the private chat of another one sees its answer."""
        summons = stage.ada.summon("@test_bot tea?", stage.boris.private_chat)["guest_message"]
        markup = types.InlineKeyboardMarkup()
        markup.add(types.InlineKeyboardButton("Yes", callback_data="yes"))
        text = types.InputTextMessageContent("tea!")
        answer = types.InlineQueryResultArticle("1", "Tea", text, reply_markup=markup)
        stage.bot.answer_guest_query(summons["guest_query_id"], answer)
        press = stage.ada.press(stage.api.messages[-1], "Yes")

        assert 1 == press["callback_query"]["from"]["id"]


METHODS = [
    ("send_message", "do you mean 'sendMessage'?"),
    ("sendMesage", "do you mean 'sendMessage'?"),
    ("get_chat_members_count", "do you mean 'getChatMemberCount'?"),
    ("getFortune", "name it as Telegram does, such as 'sendMessage'"),
]


class TestNamesOfMethods:
    @pytest.mark.parametrize(("method", "hint"), METHODS)
    def test_an_unknown_method_is_refused(self, api: BotAPI, method: str, hint: str) -> None:
        """A name of no method is refused with the name that is like it, wherever it is given."""
        for act in (
            lambda: api.fail_next(method, 429),
            lambda: api.delay_next(method, 1),
            lambda: api.holding(method),
            lambda: api.calls_of(method),
        ):
            with pytest.raises(ValueError, match="has no method") as caught:
                act()
            assert f"the loopback Bot API has no method {method!r}: {hint}" in str(caught.value)

    def test_an_answer_is_for_a_name_of_telegram(self, api: BotAPI) -> None:
        """The name of telebot's method is refused, because no call has it."""
        with pytest.raises(ValueError, match=r"no method 'get_me': do you mean 'getMe'\?"):
            api.answer_with("get_me", {})

    def test_a_method_with_an_answer_is_known(self, api: BotAPI) -> None:
        """A method that is newer than the server may fail once it has an answer."""
        api.answer_with("getFortune", "tea")
        api.fail_next("getFortune", 429)

        assert [] == api.calls_of("getFortune")


def test_a_server_is_asked_for(api: BotAPI, bot: Any) -> None:
    """Without a running server the message names the fixture and the block."""
    api.close()
    with pytest.raises(RuntimeError, match="give the test the fixture bot_api, or put it into"):
        run_polling(bot)


def test_a_user_keeps_a_name(api: BotAPI) -> None:
    """A second `user` with the same id knows the first one's profile, and may add to it."""
    api.user(1, first_name="Ada")
    again, named = api.user(1), api.user(1, username="ada")

    assert {"id": 1, "is_bot": False, "first_name": "Ada"} == again.json
    assert {**again.json, "username": "ada"} == named.json == User(api, 1).json
    assert "Ada" == api.chat(1)["first_name"]


def test_a_slice_of_messages_has_texts(api: BotAPI, bot: Any) -> None:
    """A slice is a list of messages too, and an index gives one message."""
    for text in "abc":
        bot.send_message(1, text)

    assert (["b", "c"], "c") == (api.messages[-2:].texts, api.messages[-1].text)
    assert (Messages, SentMessage) == (type(api.messages[:1]), type(api.messages[0]))
