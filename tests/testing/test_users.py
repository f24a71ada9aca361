from __future__ import annotations

from typing import Any

import freezegun
import pytest
from telebot import types
from telebot.apihelper import ApiTelegramException

from telesession.testing import BotAPI, User

ANN = {"id": 5, "is_bot": False, "first_name": "Ann", "language_code": "de"}
PRIVATE = {"id": 5, "type": "private", "first_name": "Ann"}


@pytest.fixture
def ann(api: BotAPI) -> User:
    return api.user(5, first_name="Ann", language_code="de")


def send_buttons(bot: Any, *buttons: dict[str, Any]) -> Any:
    markup = types.InlineKeyboardMarkup()
    for button in buttons:
        markup.add(types.InlineKeyboardButton(**button))
    return bot.send_message(5, "choose", reply_markup=markup)


class TestSend:
    def test_a_text_goes_to_the_private_chat(self, ann: User) -> None:
        """A text is a message from the user in the private chat, which has the user's id."""
        expected = {
            "update_id": 1,
            "message": {
                "message_id": 1,
                "from": ANN,
                "chat": PRIVATE,
                "date": 1893456000,
                "text": "hi",
            },
        }
        with freezegun.freeze_time("2030-01-01"):
            assert expected == ann.send("hi")

    def test_the_bot_reads_what_was_sent(self, ann: User, bot: Any) -> None:
        """What was pushed is what telebot reads."""
        ann.send("hi")
        message = bot.get_updates()[0].message
        assert ("hi", 5, "private", "Ann") == (
            message.text,
            message.from_user.id,
            message.chat.type,
            message.from_user.first_name,
        )

    def test_a_user_has_a_name_by_default(self, api: BotAPI) -> None:
        """A user of whom only the id is known has a made-up name."""
        user = User(api, 6)
        assert {"id": 6, "is_bot": False, "first_name": "User 6"} == user.json
        assert "User(id=6)" == repr(user)

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("/start arg", [(0, 6)]),
            ("/start@test_bot", [(0, 15)]),
            ("🎉 /a and\n/b", [(3, 2), (10, 2)]),
            ("either/or 1 / 2", None),
        ],
    )
    def test_commands_are_marked(self, ann: User, text: str, expected: Any) -> None:
        """Commands are marked anywhere in a text, counted as Telegram does."""
        entities = ann.send(text)["message"].get("entities")
        kind = {"type": "bot_command"}
        assert (expected and [{**kind, "offset": o, "length": n} for o, n in expected]) == entities

    def test_a_text_goes_to_a_group(self, api: BotAPI, ann: User) -> None:
        """In a group the message has the group as its chat and a number of its own."""
        ann.send("private")
        message = ann.send("hi", chat=api.group(-100123, title="Team"))["message"]
        expected = {"id": -100123, "type": "supergroup", "title": "Team"}
        assert (expected, 1) == (message["chat"], message["message_id"])

    def test_groups_are_of_three_kinds(self, api: BotAPI) -> None:
        """A group is basic, super or a forum, and known to the bot by what the test said."""
        forum = api.group(-100123, forum=True)
        kinds = [dict(group.json) for group in (api.group(-5), api.group(-100123), forum)]
        expected = [
            {"id": -5, "type": "group", "title": "Group -5"},
            {"id": -100123, "type": "supergroup", "title": "Group -100123", "is_forum": True},
            {"id": -100123, "type": "supergroup", "title": "Group -100123", "is_forum": True},
        ]
        assert expected == kinds

    def test_a_text_goes_to_a_topic(self, api: BotAPI, ann: User) -> None:
        """A message in a topic of a forum says so."""
        forum = api.group(-100123, forum=True)
        message = ann.send("hi", chat=forum, topic=4)["message"]
        assert (4, True) == (message["message_thread_id"], message["is_topic_message"])

    def test_any_message_can_be_answered(self, api: BotAPI, ann: User, bot: Any) -> None:
        """A reply carries the message it answers, in whatever form the test has that."""
        first = ann.send("first")
        sent = bot.send_message(5, "second", reply_parameters=types.ReplyParameters(1))
        replies = [
            ann.send("x", reply_to=message)
            for message in (first, first["message"], sent, api.messages[0])
        ]
        texts = [update["message"]["reply_to_message"]["text"] for update in replies]
        assert ["first", "first", "second", "second"] == texts
        assert "reply_to_message" not in replies[2]["message"]["reply_to_message"]

    def test_a_deleted_message_cannot_be_answered(self, ann: User, bot: Any) -> None:
        """Acting on a message that is gone is an error of the test."""
        sent = bot.send_message(5, "a")
        bot.delete_message(5, sent.message_id)
        with pytest.raises(ValueError, match="there is no message 1 in chat 5 to act on"):
            ann.send("x", reply_to=sent)

    def test_updates_are_numbered_in_a_row(self, api: BotAPI, ann: User) -> None:
        """Updates of all users are numbered in one row."""
        updates = [ann.send("a"), api.user(6).send("b"), ann.inline("c"), api.push({"poll": {}})]
        assert [1, 2, 3, 4] == [update["update_id"] for update in updates]


class TestEdit:
    def test_an_edit_is_a_new_version(self, api: BotAPI, ann: User) -> None:
        """An edited message keeps its number, has a new text and says when it was edited."""
        sent = ann.send("/a")
        with freezegun.freeze_time("2030-01-01"):
            edited = ann.edit(sent, "b")["edited_message"]
        expected = {**sent["message"], "text": "b", "edit_date": 1893456000}
        del expected["entities"]
        assert expected == edited
        assert expected == api.find_message(5, 1)
        assert "/a" == sent["message"]["text"]


class TestPress:
    BUTTONS = (
        {"text": "No", "callback_data": "Yes"},
        {"text": "Yes", "callback_data": "1"},
        {"text": "Docs", "url": "https://example.org"},
    )

    @pytest.mark.parametrize(("data", "expected"), [("1", "1"), ("Yes", "Yes"), ("No", "Yes")])
    def test_a_button_is_known_by_data_or_label(
        self, ann: User, bot: Any, data: str, expected: Any
    ) -> None:
        """A button is pressed by its data, or else by its label."""
        query = ann.press(send_buttons(bot, *self.BUTTONS), data)["callback_query"]
        assert (expected, ANN, "choose") == (query["data"], query["from"], query["message"]["text"])

    def test_the_bot_reads_the_press(self, api: BotAPI, ann: User, bot: Any) -> None:
        """A press reaches telebot with the message as it is now, and its own id."""
        sent = send_buttons(bot, *self.BUTTONS)
        bot.edit_message_text("changed", 5, 1, reply_markup=sent.reply_markup)
        ann.press(api.messages[0], "1")
        ann.press(sent, "1")
        first, second = [update.callback_query for update in bot.get_updates()]
        assert ("1", "changed", 5) == (first.data, first.message.text, first.from_user.id)
        assert first.id != second.id

    def test_a_link_cannot_be_pressed(self, ann: User, bot: Any) -> None:
        """Pressing a button that opens a link says that the bot gets nothing."""
        sent = send_buttons(bot, *self.BUTTONS)
        with pytest.raises(ValueError, match="'Docs' opens a link, the bot hears"):
            ann.press(sent, "Docs")

    @pytest.mark.parametrize(
        ("options", "act"),
        [
            ({"copy_text": types.CopyTextButton("tea")}, "copies a text"),
            ({"switch_inline_query": "tea"}, "begins an inline query"),
            ({"switch_inline_query_current_chat": "tea"}, "begins an inline query"),
            ({"web_app": types.WebAppInfo("https://example.org")}, "opens a web app"),
            ({"login_url": types.LoginUrl("https://example.org")}, "opens a link"),
        ],
    )
    def test_the_bot_hears_nothing_of_other_buttons(
        self, ann: User, bot: Any, options: dict[str, Any], act: str
    ) -> None:
        """Pressing a button that Telegram's apps act on alone says what they do."""
        sent = send_buttons(bot, {"text": "Go", **options})
        with pytest.raises(ValueError, match=f"'Go' {act}, the bot hears nothing of it"):
            ann.press(sent, "Go")

    @pytest.mark.parametrize("data", ["Maybe", "https://example.org"])
    def test_only_callback_buttons_can_be_pressed(self, ann: User, bot: Any, data: str) -> None:
        """Pressing a button that is not there names the buttons there are."""
        sent = send_buttons(bot, *self.BUTTONS)
        expected = f"there is no button {data!r} to press: the message has No (Yes), Yes (1), Docs"
        with pytest.raises(ValueError, match="no button") as caught:
            ann.press(sent, data)
        assert expected == str(caught.value)

    def test_a_message_without_buttons(self, ann: User, bot: Any) -> None:
        """Pressing under a message without buttons says that it has none."""
        with pytest.raises(ValueError, match="the message has none"):
            ann.press(bot.send_message(5, "a"), "x")


class TestReact:
    def test_a_reaction_names_message_and_user(self, api: BotAPI, ann: User, bot: Any) -> None:
        """A reaction says whose it is, to which message; it is no message itself."""
        sent = bot.send_message(5, "a")
        with api.short_polls():
            bot.get_updates(allowed_updates=["message_reaction"])
        ann.react(sent, "👍")
        reaction = bot.get_updates()[0].message_reaction
        assert (1, 5, "👍") == (
            reaction.message_id,
            reaction.user.id,
            reaction.new_reaction[0].emoji,
        )
        assert sent.json == api.find_message(5, 1)


class TestInline:
    def test_a_query_reaches_the_bot(self, ann: User, bot: Any) -> None:
        """An inline query has a sender and a text, and no chat."""
        ann.inline("cats")
        query = bot.get_updates()[0].inline_query
        assert ("cats", 5, "sender") == (query.query, query.from_user.id, query.chat_type)


def test_a_group_becomes_a_supergroup(api: BotAPI) -> None:
    """Both chats tell of it, the old one first, and the title goes along."""
    group = api.group(-10, title="Kitchen")

    supergroup = api.user(1).upgrade(group, -10010)

    told = [types.Update.de_json(update).message for update in api.unconfirmed]
    assert (-10010, "Kitchen", "supergroup") == tuple(
        supergroup.json[name] for name in ("id", "title", "type")
    )
    assert [(-10, -10010, None), (-10010, None, -10)] == [
        (message.chat.id, message.migrate_to_chat_id, message.migrate_from_chat_id)
        for message in told
    ]
    assert ["migrate_to_chat_id", "migrate_from_chat_id"] == [m.content_type for m in told]


def test_the_bot_writes_to_the_supergroup(api: BotAPI, bot: Any) -> None:
    """A message to the former group is refused with the id of the supergroup."""
    group = api.group(-10)
    former = bot.send_message(-10, "hi").message_id
    supergroup = api.user(1).upgrade(group, -10010)

    with pytest.raises(ApiTelegramException, match="upgraded to a supergroup chat") as caught:
        bot.send_message(-10, "there?")
    bot.send_message(caught.value.result_json["parameters"]["migrate_to_chat_id"], "here!")
    bot.copy_message(-10010, -10, former)

    assert (["here!", "hi"], "group") == (supergroup.messages.texts, bot.get_chat(-10).type)
