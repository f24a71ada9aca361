"""How each kind of update is made in the terminal chat."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from telebot import TeleBot, types, util

from support.chats import Terminal, talk
from telesession.testing import OFFLINE_TOKEN

FRAME = [
    "  +--------------+",
    "  | Phone | Skip |",
    "  +--------------+",
    "  (Phone sends your contact)",
]
NO_BUTTON = "! there is no button to press; after a restart, type the answer"
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
        yes = types.InlineKeyboardButton("Yes", callback_data="y")
        markup.add(yes, types.InlineKeyboardButton("no", callback_data="no"))
        markup.add(types.InlineKeyboardButton("site", url="https://example.org"))
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
        if query.data != "no":
            bot.answer_callback_query(query.id)

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
        ("/send video a cat", ["video a cat"]),
        ("/send audio", ["audio"]),
        ("/send animation a dog", ["animation a dog"]),
        ("/send voice", ["voice"]),
        ("/send dice", ["dice"]),
        ("/send dice 🎯", ["dice"]),
        ("/send dice x", ["! 'x' is no dice of Telegram; use one of 🎲 🎯 🎳 🏀 ⚽ 🎰"]),
        ("/send sticker 🐈", ["sticker"]),
        ("/send contact", ["contact"]),
        ("/send location", ["location"]),
        ("/send venue", ["venue"]),
        ("/send venue The cat café", ["venue"]),
    ],
)
def test_a_kind_is_sent(bot: Any, line: str, expected: list[str]) -> None:
    """A kind of message is sent by its name, and most kinds with a caption or the like."""
    assert expected == talk(bot, line)


OTHER_SENDS = "/send", "/send 2 30", "/send game", "/send voice hi"


@pytest.mark.parametrize("line", OTHER_SENDS)
def test_another_kind_is_explained(bot: Any, line: str) -> None:
    """With another word than a kind, or one too many, nothing is sent; two slashes send it."""
    usage = [
        "! write it like this: /send photo, or album, video, audio, animation, voice,",
        "  dice, document, sticker, contact, location, venue; //send says it to the bot",
    ]
    assert [*usage, f"text {line}"] == talk(bot, line, f"/{line}")


@pytest.mark.parametrize("line", OTHER_SENDS)
def test_another_send_is_the_bots(bot: Any, line: str) -> None:
    """A bot with a command of that name gets the lines that name no kind, and the chat the rest."""
    bot.message_handlers[0]["filters"]["commands"].append("send")
    printed = ["phone?", *FRAME]
    assert [*printed, "photo"] == talk(bot, line, "/send photo")


@pytest.mark.parametrize("line", ["/send Photo", "/send PHOTO"])
def test_a_kind_may_be_in_capitals(bot: Any, line: str) -> None:
    """A kind is known in upper and lower case."""
    assert ["photo"] == talk(bot, line)


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
            "! there is no button here to press; for the latest: /topic 7",
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
            (("/buttons", "/hide", "/press Yes"), NO_BUTTON),
        ],
    )
    def test_a_deleted_message_is_gone(self, bot: Any, lines: Any, expected: str) -> None:
        """A deleted message is neither answered nor pressed."""
        assert expected == talk(bot, *lines)[-1]

    def test_a_deleted_keyboard_is_gone(self, bot: Any) -> None:
        """The keyboard of a deleted message has no buttons any more: a label is a text."""
        *_, hidden, text = talk(bot, "/keys", "/hide", "Phone")
        assert ["hidden", "text Phone"] == [hidden, text]


def inline_and_keyboard(bot: Any, *lines: str) -> list[str]:
    """The lines after a message with inline buttons and a later reply keyboard."""
    return talk(bot, "/buttons", "/keys", *lines)[3 + 5 :]


class TestPress:
    @pytest.mark.parametrize("choice", ["phone", "PHONE", "1"])
    def test_a_button_of_the_keyboard(self, bot: Any, choice: str) -> None:
        """A button of a reply keyboard has a label, in upper or lower case, and a number."""
        assert ["contact"] == talk(bot, "/keys", f"/press {choice}")[5:]

    @pytest.mark.parametrize("choice", ["yes", "YES", "Y", "1"])
    def test_an_inline_button(self, bot: Any, choice: str) -> None:
        """An inline button has a label and data, in upper or lower case, and a number."""
        assert ["pressed y"] == talk(bot, "/buttons", f"/press {choice}")[3:]

    def test_labels_of_both_are_known(self, bot: Any) -> None:
        """A label may be that of the keyboard or of the latest message with inline buttons."""
        expected = ["pressed y", "text Skip"]
        assert expected == inline_and_keyboard(bot, "/press yes", "/press skip")

    def test_a_number_is_of_the_later_message(self, bot: Any) -> None:
        """A number counts the buttons of the keyboard if it came after the inline buttons."""
        assert ["text Skip"] == inline_and_keyboard(bot, "/press 2")
        lines = talk(bot, "/keys", "/buttons", "/press 1")
        assert ["pressed y"] == lines[5 + 3 :]

    def test_the_labels_are_named(self, bot: Any) -> None:
        """An unknown button is answered with the labels, and with the data that differ."""
        complaint = "! there is no button '3' to press: the keyboard has Phone, Skip"
        assert [complaint] == talk(bot, "/keys", "/press 3")[5:]
        assert [f"{complaint}; the message has", "  Yes (y), no, site"] == (
            inline_and_keyboard(bot, "/press 3")
        )

    @pytest.mark.parametrize(
        ("lines", "way"),
        [
            (("/buttons", "/topic 7"), "/topic"),
            (("/topic 7", "/buttons", "/topic 8"), "/topic 7"),
            (("/buttons", "/as 2"), "/as 1"),
            (("/topic 7", "/buttons", "/as 2", "/in -5"), "/as 1, /in private, /topic 7"),
            (("/in -5", "/buttons", "/as 2", "/in -6"), "/in -5"),
            (("/in -5", "/topic 7", "/buttons", "/in private"), "/in -5, /topic 7"),
            (("/in -5", "/topic 7", "/buttons", "/topic"), "/topic 7"),
        ],
    )
    def test_buttons_elsewhere_are_told(self, bot: Any, lines: tuple[str, ...], way: str) -> None:
        """Without buttons in the chat, the lines that lead to the latest ones are told."""
        complaint = f"! there is no button here to press; for the latest: {way}"
        assert complaint == talk(bot, *lines, "/press Yes")[-1]
        assert "pressed y" == talk(bot, *lines, *way.split(", "), "/press Yes")[-1]

    @pytest.mark.parametrize("choice", ["site", "Site", "3"])
    def test_a_link_is_explained(self, bot: Any, choice: str) -> None:
        """A button that opens a link sends nothing to the bot."""
        complaint = "! 'site' opens a link, the bot hears nothing of it"
        assert [complaint] == talk(bot, "/buttons", f"/press {choice}")[3:]

    def test_a_press_without_an_answer_is_told(self, bot: Any) -> None:
        """The chat tells once of a press that the bot has not answered, and of no other one."""
        clock = "(the button keeps its clock: the bot has not called answer_callback_query)"
        lines = "/press no", "a", "/press yes"
        assert ["pressed no", clock, "text a", "pressed y"] == talk(bot, "/buttons", *lines)[3:]


class TestPrompt:
    @pytest.mark.parametrize(
        ("lines", "expected"),
        [
            ((), "> "),
            (("/as 42",), "42 > "),
            (("/in -100",), "1 in -100 > "),
            (("/topic 7",), "1, topic 7 > "),
            (("/as 42", "/in -100", "/topic 7"), "42 in -100, topic 7 > "),
            (("/as 42", "/in -100", "/as 1", "/in private"), "> "),
            (("/in -100", "/admin"), "1 in -100, admin > "),
            (("/in -100", "/topic 7", "/anonymous"), "1 in -100, topic 7, anonymous > "),
            (("/in -100", "/admin", "/as 2"), "2 in -100 > "),
            (("/in -100", "/admin", "/in -200"), "1 in -200 > "),
            (("/in -100", "/admin", "/in private"), "> "),
        ],
    )
    def test_it_names_the_place(self, bot: Any, lines: tuple[str, ...], expected: str) -> None:
        """The prompt names user, group, topic and role, but for user 1 in the private chat."""
        *_, before, prompt = talk(bot, *lines, "a", kind=Terminal)
        assert (f"{expected}text a", expected) == (before[-len(expected) - 6 :], prompt)

    def test_another_first_user_is_named(self, bot: Any) -> None:
        """The prompt of a chat that begins as another user names them."""
        assert "7 > " == talk(bot, kind=Terminal, user_id=7)[-1]


class TestLog:
    def log(self, bot: Any, *records: logging.LogRecord) -> list[str]:
        """The lines of a chat in which this library logs records."""

        @bot.message_handler(commands=["log"])
        def log(message: Any) -> None:
            for record in records:
                logging.getLogger(record.name).handle(record)

        bot.message_handlers.insert(0, bot.message_handlers.pop())
        return talk(bot, "/log")

    @pytest.mark.parametrize("name", ["telesession", "telesession.storage.sqlite_records"])
    def test_warnings_are_marked(self, bot: Any, name: str) -> None:
        """Each line of a record from WARNING on has a mark, and other records are left out."""
        records = [
            logging.makeLogRecord({"name": name, "levelno": level, "levelname": word, "msg": text})
            for level, word, text in (
                (logging.INFO, "INFO", "fine"),
                (logging.WARNING, "WARNING", "odd\nindeed"),
                (logging.ERROR, "ERROR", "bad"),
            )
        ]
        assert ["! WARNING odd", "! indeed", "! ERROR bad"] == self.log(bot, *records)

    def test_an_exception_in_a_record_is_shown(self, bot: Any) -> None:
        """The exception of a record follows its message."""
        error = KeyError("lost")
        fields = {"name": "telesession", "levelno": logging.ERROR, "levelname": "ERROR"}
        record = logging.makeLogRecord(
            {**fields, "msg": "bad", "exc_info": (type(error), error, None)}
        )
        assert ["! ERROR bad", "! KeyError: 'lost'"] == self.log(bot, record)

    def test_nothing_is_left_at_the_end(self, bot: Any) -> None:
        """After the chat, the logger has the handlers that it had before."""
        before = list(logging.getLogger("telesession").handlers)
        talk(bot, "a")
        assert before == logging.getLogger("telesession").handlers


class TestAdministrators:
    @pytest.fixture
    def statuses(self, bot: Any) -> list[Any]:
        """Each `/who` adds the users who are administrators, and whether it came as the group."""
        statuses: list[Any] = []

        @bot.message_handler(commands=["who"])
        def who(message: Any) -> None:
            administrators = bot.get_chat_administrators(message.chat.id)
            ids = [one.user.id for one in administrators if not one.user.is_bot]
            statuses.append((ids, message.sender_chat is not None))

        bot.message_handlers.insert(0, bot.message_handlers.pop())
        return statuses

    def test_a_user_is_one(self, bot: Any, statuses: list[Any]) -> None:
        """`/admin` makes the user an administrator of the group on the screen, without a word."""
        assert ["(no answer)"] * 2 == talk(bot, "/in -5", "/who", "/admin", "/who")
        assert [([], False), ([1], False)] == statuses

    def test_a_user_is_an_anonymous_one(self, bot: Any, statuses: list[Any]) -> None:
        """`/anonymous` makes an administrator who writes as the group, until it is typed again."""
        talk(bot, "/in -5", "/anonymous", "/who", "/as 2", "/who", "/as 1", "/who")
        talk(bot, "/in -5", "/anonymous", "/anonymous", "/who", "/anonymous", "/admin", "/who")
        is_group = [True, False, True, False, False]
        assert [([1], as_group) for as_group in is_group] == statuses

    def test_the_bot_may_change_it(self, bot: Any, statuses: list[Any]) -> None:
        """A user whom the bot makes an anonymous administrator is one in the chat, too."""
        bot.register_message_handler(
            lambda _: bot.promote_chat_member(-1005, 1, is_anonymous=True), commands=["up"]
        )
        bot.message_handlers.insert(0, bot.message_handlers.pop())
        *_, prompt = talk(bot, "/in -1005", "/up", "/who", kind=Terminal)
        assert [([1], True)] == statuses
        assert prompt.endswith("1 in -1005, anonymous > ")

    @pytest.mark.parametrize("line", ["/admin", "/anonymous"])
    def test_a_group_is_necessary(self, bot: Any, line: str) -> None:
        """In a private chat there is nothing to administrate."""
        assert ["! go to a group first: /in -100"] == talk(bot, line)

    def test_a_bot_may_have_the_command(self, bot: Any) -> None:
        """A bot whose handler names `admin` gets the line; `/anonymous` makes admins then."""
        bot.message_handlers.clear()
        bot.register_message_handler(
            lambda message: bot.send_message(message.chat.id, "of the bot"), commands=["admin"]
        )
        lines = "/in -5", "/admin", "/anonymous", "/anonymous"
        assert ["of the bot"] == talk(bot, *lines)
        assert talk(bot, *lines, kind=Terminal)[-1].endswith("> 1 in -5, admin > ")


class TestMembers:
    def test_a_user_asks_to_join(self, bot: Any) -> None:
        """A join request is sent for a group, and the bot writes to the user in private."""
        assert ["why -5?"] == talk(bot, "/request -5")
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
        ("/as 0", "! a user has a number above 0"),
        ("/as -100", "! a user has a number above 0"),
        ("/invite -42", "! a user has a number above 0"),
        ("/in 100", "! a group has a number below 0"),
        ("/in 0", "! a group has a number below 0"),
        ("/request 100", "! a group has a number below 0"),
        ("/topic -7", "! a topic has a number above 0"),
    ],
)
def test_wrong_commands_are_explained(bot: Any, line: str, expected: str) -> None:
    """A command of the chat that is not understood is explained, and nothing is sent."""
    assert [expected] == talk(bot, line)
