"""How each kind of update is made in the terminal chat."""

from __future__ import annotations

from typing import Any

import pytest
from telebot import TeleBot, types, util

from support.chats import talk
from telesession.testing import OFFLINE_TOKEN

EVERYTHING = [*util.content_type_media, *util.content_type_service]


def place_of(message: Any) -> dict[str, Any]:
    return {"chat_id": message.chat.id, "message_thread_id": message.message_thread_id}


def tell_secrets(bot: Any, message: Any) -> None:
    for receiver in message.from_user.id, 99:
        parameters = types.EphemeralMessageParameters(receiver)
        markup = types.ForceReply()
        bot.send_message(
            message.chat.id,
            f"for {receiver}",
            reply_markup=markup,
            ephemeral_message_parameters=parameters,
        )


@pytest.fixture
def bot() -> Any:
    """A bot that says what it gets, and knows some commands."""
    bot: Any = TeleBot(OFFLINE_TOKEN, threaded=False)

    @bot.message_handler(commands=["keys"])
    def send_keys(message: Any) -> None:
        markup = types.ReplyKeyboardMarkup()
        markup.add(types.KeyboardButton("Phone", request_contact=True), "Skip")
        bot.send_message(text="phone?", reply_markup=markup, **place_of(message))

    @bot.message_handler(commands=["hide"])
    def hide_keys(message: Any) -> None:
        bot.delete_message(message.chat.id, message.message_id - 1)
        bot.send_message(message.chat.id, "hidden")

    @bot.message_handler(commands=["buttons"])
    def send_buttons(message: Any) -> None:
        markup = types.InlineKeyboardMarkup()
        markup.add(types.InlineKeyboardButton("Yes", callback_data="y"))
        bot.send_message(text="sure?", reply_markup=markup, **place_of(message))

    @bot.message_handler(commands=["secret"])
    def whisper(message: Any) -> None:
        tell_secrets(bot, message)

    @bot.message_handler(commands=["force"])
    def force(message: Any) -> None:
        bot.send_message(text="name?", reply_markup=types.ForceReply(), **place_of(message))

    @bot.message_handler(commands=["copy"])
    def copy(message: Any) -> None:
        numbers = range(message.message_id - 2, message.message_id)
        bot.copy_messages(message.chat.id, message.chat.id, list(numbers))
        bot.copy_message(99, message.chat.id, message.message_id)

    @bot.message_handler(commands=["outside"])
    def leave_topic(message: Any) -> None:
        bot.send_message(message.chat.id, "outside")

    add_reports(bot)
    return bot


def add_reports(bot: Any) -> None:
    @bot.message_handler(content_types=["new_chat_members"])
    def greet(message: Any) -> None:
        members = [member.id for member in message.new_chat_members]
        bot.send_message(message.chat.id, f"{message.from_user.id} added {members}")

    @bot.message_handler(content_types=EVERYTHING)
    def report(message: Any) -> None:
        said = message.text or message.caption
        words = [message.content_type, *([said] if said else [])]
        replied = message.reply_to_message
        if replied and replied.content_type != "forum_topic_created":
            words.append(f"to <{replied.text}>")
        bot.send_message(text=" ".join(words), **place_of(message))

    @bot.callback_query_handler(lambda query: True)
    def pressed(query: Any) -> None:
        bot.send_message(text=f"pressed {query.data}", **place_of(query.message))

    @bot.chat_join_request_handler()
    def question(request: Any) -> None:
        bot.send_message(request.user_chat_id, f"why {request.chat.id}?")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("/send photo", ["photo"]),
        ("/send photo my cat", ["photo my cat"]),
        ("/send album", ["photo", "photo"]),
        ("/send album my cats", ["photo my cats", "photo"]),
        ("/send document notes", ["document notes"]),
        ("/send voice", ["voice"]),
        ("/send contact", ["contact"]),
        ("/send location", ["location"]),
    ],
)
def test_a_kind_is_sent(bot: Any, line: str, expected: list[str]) -> None:
    """A kind of message is sent by its name; photos, albums and documents may have a caption."""
    assert expected == talk(bot, line)


@pytest.mark.parametrize("line", ["/send", "/send 2 30", "/send me", "/send voice hi"])
def test_another_send_is_the_bots(bot: Any, line: str) -> None:
    """With another word than a kind, or one too many, the line goes to the bot."""
    assert [f"text {line}"] == talk(bot, line)


def test_copies_are_shown(bot: Any) -> None:
    """A message that the bot copies is printed as one that it sends."""
    *_, first, second, third = talk(bot, "/send photo", "/copy")
    assert ["(photo)", "photo", "(to 99) /copy"] == [first, second, third]


class TestReply:
    def test_it_answers_the_latest_message(self, bot: Any) -> None:
        """A reply answers the latest message of the bot in the chat."""
        assert ["text a", "text b", "text c to <text b>"] == talk(bot, "a", "b", "/reply c")

    def test_there_must_be_one_in_the_chat(self, bot: Any) -> None:
        """Without a message of the bot in this chat there is none to reply to."""
        complaint = "! there is no message of the bot in this chat to reply to"
        assert ["text a", complaint] == talk(bot, "a", "/in -5", "/reply b")

    def test_a_forced_reply_may_be_of_any_kind(self, bot: Any) -> None:
        """After a message that forces a reply, the next message of any kind is one."""
        *_, photo, text = talk(bot, "/force", "/send photo", "a")
        assert ["photo to <name?>", "text a"] == [photo, text]

    def test_a_reply_is_the_forced_one(self, bot: Any) -> None:
        """A reply by hand is the one that was asked for."""
        *_, reply, text = talk(bot, "/force", "/reply Ada", "a")
        assert ["text Ada to <name?>", "text a"] == [reply, text]


class TestTopics:
    def test_messages_are_in_the_topic(self, bot: Any) -> None:
        """In a topic the messages of both sides are in it, in private chats and in groups."""
        lines = "/topic 7", "a", "/topic", "b", "/in -5", "/topic 8", "c", "/in private", "d"
        assert ["text a", "text b", "text c", "text d"] == talk(bot, *lines)

    def test_a_message_in_another_topic_is_marked(self, bot: Any) -> None:
        """A message that the bot sends to another topic than the one on the screen says so."""
        assert ["(no topic) outside"] == talk(bot, "/topic 7", "/outside")
        assert ["phone?"] == talk(bot, "/topic 7", "/keys")[:1]

    def test_each_topic_has_its_messages(self, bot: Any) -> None:
        """Buttons, keyboards and replies belong to the topic that they were sent to."""
        lines = "/topic 7", "/buttons", "/keys", "/topic 8", "/press Yes", "Phone", "/topic 7"
        assert [
            "! there is no button in this chat to press",
            "text Phone",
            "pressed y",
            "contact",
        ] == talk(bot, *lines, "/press Yes", "Phone")[-4:]

    def test_another_user_has_other_topics(self, bot: Any) -> None:
        """Another user is outside the topics of a private chat, and in the same one of a group."""
        assert ["text a", "text b"] == talk(bot, "/topic 7", "/as 2", "a", "/in -5", "b")
        assert ["(no topic) outside"] == talk(bot, "/in -5", "/topic 7", "/as 2", "/outside")
        assert ["outside"] == talk(bot, "/topic 7", "/as 2", "/outside")

    def test_a_group_becomes_a_forum(self, bot: Any) -> None:
        """A group whose topic is entered is a forum from then on."""
        chats = []
        bot.register_message_handler(lambda message: chats.append(message.chat), commands=["x"])
        bot.message_handlers.insert(0, bot.message_handlers.pop())
        talk(bot, "/in -5", "/topic 7", "/x")
        assert [("supergroup", True)] == [(chat.type, chat.is_forum) for chat in chats]


class TestKeyboards:
    def test_a_request_is_shown_and_sent(self, bot: Any) -> None:
        """Below a reply keyboard is what its buttons send; a press or the typed label sends it."""
        *_, frame, hint, first, second, third = talk(bot, "/keys", "Phone", "/press Phone", "Skip")
        assert ["  +--------------+", "  (Phone sends your contact)"] == [frame, hint]
        assert ["contact", "contact", "text Skip"] == [first, second, third]

    @pytest.mark.parametrize(
        ("lines", "expected"),
        [
            (("/force", "/hide", "a"), "text a"),
            (("b", "/keys", "/hide", "/reply a"), "text a to <hidden>"),
            (("/buttons", "/hide", "/press Yes"), "! there is no button in this chat to press"),
        ],
    )
    def test_a_deleted_message_is_gone(self, bot: Any, lines: Any, expected: str) -> None:
        """A deleted message is neither answered nor pressed."""
        assert expected == talk(bot, *lines)[-1]

    def test_a_deleted_keyboard_is_gone(self, bot: Any) -> None:
        """The keyboard of a deleted message has no buttons any more: a label is a text."""
        *_, hidden, text = talk(bot, "/keys", "/hide", "Phone")
        assert ["hidden", "text Phone"] == [hidden, text]


class TestMembers:
    def test_a_user_asks_to_join(self, bot: Any) -> None:
        """A join request is sent for a group, and the bot writes to the user in private."""
        assert ["why -5?"] == talk(bot, "/request -5")
        assert ["why -5?"] == talk(bot, "/request 5")
        assert ["(to 1) why -5?"] == talk(bot, "/in -5", "/request -5")

    def test_a_user_is_added(self, bot: Any) -> None:
        """A user is added to the group on the screen by the user who types."""
        assert ["1 added [42]"] == talk(bot, "/in -5", "/invite 42")


def test_an_ephemeral_message_is_for_one_user(bot: Any) -> None:
    """Only the receiver reads an ephemeral message; for others the chat says that there is one."""
    assert [
        "(only you see this) for 1",
        "  (your next line is a reply to this)",
        "(a message that only user 99 sees)",
        "text a to <for 1>",
        "text b to <text a to <for 1>>",
    ] == talk(bot, "/in -5", "/secret", "a", "/reply b")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("/topic x", "! write it like this: /topic 7, or /topic to leave it"),
        ("/request", "! write it like this: /request -100"),
        ("/invite Ada", "! write it like this: /invite 42"),
        ("/invite 42", "! go to a group first: /in -100"),
        ("/reply", "! write it like this: /reply text"),
    ],
)
def test_wrong_commands_are_explained(bot: Any, line: str, expected: str) -> None:
    """A command of the chat that is not understood is explained, and nothing is sent."""
    assert [expected] == talk(bot, line)
