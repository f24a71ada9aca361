"""Messages of users beyond texts, as telebot reads them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import freezegun
import pytest
from telebot import types, util

from telesession.testing import BotAPI, User
from telesession.testing.telegram import content

Read = Callable[[], list[types.Update]]

KINDS = [
    ("photo", User.photo, lambda m: [size.width for size in m.photo], [90, 1280]),
    ("document", User.document, lambda m: m.document.file_name, "notes.txt"),
    ("voice", User.voice, lambda m: (m.voice.duration, m.voice.mime_type), (3, "audio/ogg")),
    ("contact", User.contact, lambda m: (m.contact.user_id, m.contact.first_name), (1, "Ada")),
    ("location", User.location, lambda m: m.location.latitude, 52.52),
    (
        "web_app_data",
        lambda user: user.web_app_data("42"),
        lambda m: (m.web_app_data.data, m.web_app_data.button_text),
        ("42", "Open"),
    ),
    # telebot 4.37.1 does not know these kinds by name.
    (
        None,
        lambda user: user.checklist("Shop", "tea", "milk"),
        lambda m: (m.checklist.title, [(task.id, task.text) for task in m.checklist.tasks]),
        ("Shop", [(1, "tea"), (2, "milk")]),
    ),
    (
        None,
        User.paid_media,
        lambda m: (m.paid_media.star_count, [media.type for media in m.paid_media.paid_media]),
        (5, ["photo"]),
    ),
    (
        "dice",
        lambda user: user.send_content({"dice": {"emoji": "🎲", "value": 4}}),
        lambda m: m.dice.value,
        4,
    ),
]


@pytest.mark.parametrize(
    ("kind", "act", "details", "expected"),
    KINDS,
    ids=[f"{kind}-{number}" for number, (kind, *_) in enumerate(KINDS)],
)
def test_a_kind_of_message_reaches_the_bot(  # noqa: PLR0917 -- the columns of the table
    ada: User, read: Read, kind: str | None, act: Any, details: Any, expected: Any
) -> None:
    """Each kind is a message in the private chat, with the content that telebot reads."""
    pushed = act(ada)
    message = read()[0].message
    assert pushed["message"] == message.json
    assert (kind, 1, 1, None) == (
        message.content_type,
        message.chat.id,
        message.from_user.id,
        message.text,
    )
    assert expected == details(message)


@pytest.mark.parametrize("act", [User.photo, User.document, User.paid_media])
def test_a_caption_has_its_commands_marked(ada: User, read: Read, act: Any) -> None:
    """A caption is marked as a text is; without one there is none."""
    act(ada)
    act(ada, caption="/add this")
    bare, captioned = (update.message for update in read())
    assert (None, "/add this") == (bare.caption, captioned.caption)
    assert [("bot_command", 0, 4)] == [
        (entity.type, entity.offset, entity.length) for entity in captioned.caption_entities
    ]


def test_files_differ(ada: User, read: Read) -> None:
    """No two files have the same id."""
    ada.photo()
    ada.photo()
    sizes = [size for update in read() for size in update.message.photo]
    assert 4 == len({size.file_id for size in sizes}) == len({s.file_unique_id for s in sizes})


def test_the_type_of_a_document_follows_from_its_name(ada: User, read: Read) -> None:
    """A file has the type of its name, or that of bytes."""
    ada.document(name="a.pdf")
    ada.document(name="a")
    kinds = [update.message.document.mime_type for update in read()]
    assert ["application/pdf", "application/octet-stream"] == kinds


def test_a_contact_may_be_another_person(ada: User, boris: User, read: Read) -> None:
    """The contact of another person has the id of that person."""
    ada.contact("15550199", person=boris)
    message = read()[0].message
    contact = message.contact
    assert (1, 2, "Boris", "15550199") == (
        message.from_user.id,
        contact.user_id,
        contact.first_name,
        contact.phone_number,
    )


class TestAlbum:
    def test_an_album_is_messages_in_a_row(self, api: BotAPI, ada: User, read: Read) -> None:
        """An album is photos with consecutive numbers and one id; the first one has the caption."""
        group = api.group(-100)
        ada.send("before", chat=group)
        read()
        pushed = ada.album(3, "/new trip", chat=group)
        messages = [update.message for update in read()]
        assert [update["message"] for update in pushed] == [message.json for message in messages]
        assert [2, 3, 4] == [message.message_id for message in messages]
        assert ["photo"] * 3 == [message.content_type for message in messages]
        assert ["/new trip", None, None] == [message.caption for message in messages]
        assert 1 == len({message.media_group_id for message in messages})

    def test_albums_differ(self, ada: User) -> None:
        """Each album has an id of its own."""
        albums = [ada.album(), ada.album()]
        assert 2 == len({album[0]["message"]["media_group_id"] for album in albums})

    @pytest.mark.parametrize("kind", ["video", "document", "audio"])
    def test_an_album_has_files_of_a_kind(self, ada: User, read: Read, kind: str) -> None:
        """An album of another kind is so many files of that kind, each with an id of its own."""
        ada.album(3, "mine", kind=kind)
        messages = [update.message for update in read()]
        assert [kind] * 3 == [message.content_type for message in messages]
        assert ["mine", None, None] == [message.caption for message in messages]
        assert 3 == len({getattr(message, kind).file_id for message in messages})

    def test_an_album_has_no_other_files(self, ada: User) -> None:
        """Telegram sends voice messages one by one."""
        with pytest.raises(ValueError, match="an album has no 'voice'; use one of photo, video"):
            ada.album(kind="voice")


def test_a_voice_message_has_a_caption(ada: User, read: Read) -> None:
    """A voice message may have a caption, with its entities."""
    ada.voice(caption="#song")
    message = read()[0].message
    assert ("#song", "hashtag") == (message.caption, message.caption_entities[0].type)


class TestForward:
    def test_a_hidden_user_has_a_name(self, api: BotAPI, ada: User, read: Read) -> None:
        """The forward of a hidden user has the full name, and not the user."""
        carl = api.user(3, first_name="Carl", last_name="Tea")
        ada.forward(ada.forward(carl.send("hi"), hidden=True), hidden=True)
        for origin in (update.message.forward_origin for update in read()[1:]):
            assert ("hidden_user", "Carl Tea") == (origin.type, origin.sender_user_name)

    def test_a_channel_is_not_hidden(self, api: BotAPI, ada: User) -> None:
        """Only users can hide themselves in forwards."""
        post = api.channel(-1002).send("hi")
        with pytest.raises(ValueError, match="cannot hide where a message of a channel is from"):
            ada.forward(post, hidden=True)


class TestRequests:
    def test_shared_users_have_ids(self, ada: User, boris: User, read: Read) -> None:
        """Shared users come with the request, and with names only if the request asks for them."""
        ada.share_users(boris, request_id=7)
        ada.share_users(boris, ada, names=True)
        first, second = (update.message for update in read())
        assert "users_shared" == first.content_type
        assert (7, [(2, None)]) == (
            first.users_shared.request_id,
            [(user.user_id, user.first_name) for user in first.users_shared.users],
        )
        assert [(2, "Boris", "boris"), (1, "Ada", "ada")] == [
            (user.user_id, user.first_name, user.username) for user in second.users_shared.users
        ]

    def test_a_shared_chat_has_an_id(self, api: BotAPI, ada: User, read: Read) -> None:
        """A shared chat comes with the request, and with its title only if it is asked for."""
        group = api.group(-100, title="Tea")
        ada.share_chat(group, request_id=7)
        ada.share_chat(group, names=True)
        first, second = (update.message for update in read())
        assert ("chat_shared", 7, -100, None) == (
            first.content_type,
            first.chat_shared.request_id,
            first.chat_shared.chat_id,
            first.chat_shared.title,
        )
        assert (1, "Tea") == (second.chat_shared.request_id, second.chat_shared.title)

    def test_a_user_asks_to_join(self, api: BotAPI, ada: User, read: Read) -> None:
        """A join request names the group, the user and the chat where the bot can write to them."""
        with freezegun.freeze_time("2030-01-01"):
            ada.request_to_join(api.group(-100), bio="tea")
        ada.request_to_join(api.group(-100))
        first, second = (update.chat_join_request for update in read())
        assert (-100, 1, 1, "tea", 1893456000) == (
            first.chat.id,
            first.from_user.id,
            first.user_chat_id,
            first.bio,
            first.date,
        )
        assert second.bio is None


class TestInvite:
    def test_added_members_come_from_the_inviter(
        self, api: BotAPI, ada: User, boris: User, read: Read
    ) -> None:
        """The message about new members is from the user who added them, in the group."""
        carl = api.user(3)
        ada.invite(api.group(-100), boris, carl)
        message = read()[0].message
        assert ("new_chat_members", 1, -100, [2, 3]) == (
            message.content_type,
            message.from_user.id,
            message.chat.id,
            [member.id for member in message.new_chat_members],
        )

    def test_a_user_may_join_alone(self, api: BotAPI, ada: User, read: Read) -> None:
        """Without other people the user is the new member."""
        ada.invite(api.group(-100))
        message = read()[0].message
        assert (1, [1]) == (message.from_user.id, [m.id for m in message.new_chat_members])


class TestCommands:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("/weather@other_bot now", ["/weather@other_bot"]),
            ("/10", ["/10"]),
            ("try (/start) or /help.", ["/start", "/help"]),
            ("/", []),
            ("/ 10", []),
            ("/погода", []),
            ("/startжж", []),
            ("a/b", []),
            ("/usr/bin", []),
            ("https://example.org/start", []),
            ("/" + "a" * 65, []),
        ],
    )
    def test_commands_are_those_of_telegram(
        self, ada: User, read: Read, text: str, expected: Any
    ) -> None:
        """A command is a slash and Latin letters, digits and `_`, beside no letter and no slash."""
        ada.send(text)
        message = read()[0].message
        commands = [
            text[entity.offset : entity.offset + entity.length]
            for entity in message.entities or []
            if entity.type == "bot_command"
        ]
        assert expected == commands


def test_every_kind_is_of_the_right_class() -> None:
    """The kinds in the table that telebot names are kinds that its handlers can be given."""
    known = {*util.content_type_media, *util.content_type_service}
    assert set() == {kind for kind, *_ in KINDS if kind is not None} - known


class TestDice:
    @pytest.mark.parametrize(("emoji", "highest"), [("🎲", 6), ("🏀", 5), ("🎰", 64)])
    def test_a_value_is_one_of_the_emoji(self, emoji: str, highest: int) -> None:
        """A die without a value shows one of its emoji, and every one of them in many throws."""
        shown = {content.dice(emoji)["dice"]["value"] for _ in range(100 * highest)}
        assert set(range(1, highest + 1)) == shown

    def test_a_value_may_be_chosen(self) -> None:
        """A die shows the value that a test gives it."""
        assert {"dice": {"emoji": "⚽", "value": 5}} == content.dice("⚽", 5)

    @pytest.mark.parametrize("value", [0, 6])
    def test_an_impossible_value_is_refused(self, value: int) -> None:
        """A value that the emoji never shows is refused, with the values that it has."""
        with pytest.raises(ValueError, match=f"⚽ cannot show {value}; its values are 1 to 5"):
            content.dice("⚽", value)

    def test_another_emoji_is_refused(self) -> None:
        """An emoji that Telegram does not throw is refused, with those that it throws."""
        with pytest.raises(ValueError, match="use one of 🎲 🎯"):
            content.dice("🍵")
