"""The messages of a bot as the terminal chat shows them: contents, albums, edits, deletions."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import pytest
from telebot import TeleBot, types

from support.chats import talk
from telesession.testing import OFFLINE_TOKEN
from telesession.testing.terminal.screen import Screen

Act = Callable[[Any, Any], object]


def shown(act: Act, *lines: str) -> list[str]:
    """The lines that a chat prints when some lines are typed, and then `/do`, which acts."""
    bot: Any = TeleBot(OFFLINE_TOKEN, threaded=False)
    bot.register_message_handler(lambda message: act(bot, message), commands=["do"])
    return talk(bot, *lines, "/do")


def send_album(bot: Any, chat_id: int, *captions: str) -> list[types.Message]:
    media = [types.InputMediaPhoto("id", caption=caption) for caption in captions]
    sent: list[types.Message] = bot.send_media_group(chat_id, media)
    return sent


SHOP = '{"title": "Shop", "tasks": [{"id": 1, "text": "tea"}, {"id": 2, "text": "milk"}]}'
MEDIA = [types.InputPaidMediaPhoto("id")]

CONTENTS: list[tuple[Act, list[str]]] = [
    (lambda bot, m: bot.send_location(m.chat.id, 1.5, -2.25), ["(location) 1.5, -2.25"]),
    (lambda bot, m: bot.send_contact(m.chat.id, "123", "Ada"), ["(contact) Ada, 123"]),
    (lambda bot, m: bot.send_venue(m.chat.id, 1, 2, "Tea", "1 Road"), ["(venue) Tea, 1 Road"]),
    (lambda bot, m: bot.send_sticker(m.chat.id, "id", emoji="🐈"), ["(sticker) 🐈"]),
    (lambda bot, m: bot.send_document(m.chat.id, ("a.txt", b"a")), ["(document) a.txt"]),
    (
        lambda bot, m: bot.send_document(m.chat.id, ("a.txt", b"a"), caption="notes"),
        ["(document) a.txt: notes"],
    ),
    (
        lambda bot, m: bot.send_audio(m.chat.id, "id", title="Song", performer="Ada"),
        ["(audio) Song, Ada"],
    ),
    (
        lambda bot, m: bot.send_rich_message(m.chat.id, types.InputRichMessage(markdown="tea!")),
        ["(rich message) tea!"],
    ),
    (lambda bot, m: bot.send_video_note(m.chat.id, "id"), ["(video note)"]),
    (
        lambda bot, m: bot.send_paid_media(m.chat.id, 5, MEDIA, caption="secret"),
        ["(paid media) for 5 stars: secret"],
    ),
    (
        lambda bot, m: bot.send_checklist("business", m.chat.id, SHOP),
        ["(checklist) Shop", "  [ ] tea", "  [ ] milk"],
    ),
]


@pytest.mark.parametrize(("act", "expected"), CONTENTS, ids=[lines[0] for _, lines in CONTENTS])
def test_a_content_is_readable(act: Act, expected: list[str]) -> None:
    """A message without a text is shown as its kind, with the details and the caption."""
    assert expected == shown(act)


def test_a_die_has_its_value() -> None:
    """A die is shown with the value that it has fallen on."""
    values = []

    def roll(bot: Any, message: Any) -> None:
        values.append(bot.send_dice(message.chat.id).dice.value)

    printed = shown(roll)
    assert [f"(dice) 🎲 {values[0]}"] == printed


class TestAlbums:
    def test_an_album_is_one_message(self) -> None:
        """The photos of an album are counted in one line, with the caption."""
        expected = ["(album of 3 photos) a day in Rome"]
        assert expected == shown(lambda bot, m: send_album(bot, m.chat.id, "a day in Rome", "", ""))
        assert ["(album of 2 photos)"] == shown(lambda bot, m: send_album(bot, m.chat.id, "", ""))

    def test_several_captions_are_below(self) -> None:
        """Several captions stand below, each with the number of its photo."""
        expected = ["(album of 3 photos)", "  1. left", "  3. right"]
        assert expected == shown(lambda bot, m: send_album(bot, m.chat.id, "left", "", "right"))

    def test_lines_of_a_caption_are_below_each_other(self) -> None:
        """The second line of a caption begins below the first one, behind the number."""
        expected = ["(album of 2 photos)", "  1. left", "     bank", "  2. right"]
        assert expected == shown(lambda bot, m: send_album(bot, m.chat.id, "left\nbank", "right"))

    def test_the_kinds_are_counted(self) -> None:
        """An album of several kinds names each, and documents by their names."""

        def send(bot: Any, message: Any) -> None:
            photo, video = types.InputMediaPhoto("id"), types.InputMediaVideo("id")
            bot.send_media_group(message.chat.id, [photo, video, photo])
            files = [types.InputMediaDocument("id", caption=name) for name in ("a", "b")]
            bot.send_media_group(message.chat.id, files)

        assert [
            "(album of 2 photos and 1 video)",
            "(album of 2 documents)",
            "  1. file: a",
            "  2. file: b",
        ] == shown(send)

    def test_a_copied_album_is_an_album(self) -> None:
        """An album that the bot copies or forwards is one message again, with its marks."""

        def repeat(bot: Any, message: Any) -> None:
            numbers = [one.message_id for one in send_album(bot, message.chat.id, "", "us")]
            bot.copy_messages(message.chat.id, message.chat.id, numbers)
            bot.forward_messages(42, message.chat.id, numbers)

        assert [
            "(album of 2 photos) us",
            "(album of 2 photos) us",
            "(to 42) (forwarded from Test Bot) (album of 2 photos) us",
        ] == shown(repeat)

    def test_two_albums_are_two(self) -> None:
        """A message after an album is below it."""

        def send(bot: Any, message: Any) -> None:
            send_album(bot, message.chat.id, "", "")
            bot.send_message(message.chat.id, "these are two")
            send_album(bot, message.chat.id, "", "")

        album = "(album of 2 photos)"
        assert [album, "these are two", album] == shown(send)


class TestChanges:
    def test_an_edit_is_marked(self) -> None:
        """An edited text, caption or keyboard is printed again with a mark."""

        def edit(bot: Any, message: Any) -> None:
            chat_id = message.chat.id
            text, photo = bot.send_message(chat_id, "a"), bot.send_photo(chat_id, "id")
            bot.edit_message_text("b", chat_id, text.message_id)
            bot.edit_message_caption("us", chat_id, photo.message_id)
            markup = types.InlineKeyboardMarkup(
                [[types.InlineKeyboardButton("ok", url="example.org")]]
            )
            bot.edit_message_reply_markup(chat_id, text.message_id, reply_markup=markup)

        edits = ["(edited) b", "(edited) (photo) us", "(edited) b", "  [1] ok"]
        assert ["a", "(photo)", *edits] == shown(edit)

    def test_a_deletion_is_told(self) -> None:
        """A message that the bot deletes is printed with a mark, and without its keyboard."""

        def delete(bot: Any, message: Any) -> None:
            markup = types.InlineKeyboardMarkup(
                [[types.InlineKeyboardButton("ok", url="example.org")]]
            )
            sent = bot.send_photo(message.chat.id, "id", caption="us", reply_markup=markup)
            bot.delete_message(message.chat.id, sent.message_id)

        assert ["(photo) us", "  [1] ok", "(deleted) (photo) us"] == shown(delete)

    def test_a_deleted_message_of_the_user_is_told(self) -> None:
        """A message of the user that the bot deletes is printed with a mark, too."""
        act: Act = lambda bot, m: bot.delete_message(m.chat.id, m.message_id)  # noqa: E731
        assert ["(deleted) /do"] == shown(act)

    def test_elsewhere_it_is_marked(self) -> None:
        """An edit and a deletion in another chat name the chat."""

        def change(bot: Any, _: Any) -> None:
            sent = bot.send_message(42, "a")
            bot.edit_message_text("b", 42, sent.message_id)
            bot.delete_message(42, sent.message_id)

        assert ["(to 42) a", "(to 42) (edited) b", "(to 42) (deleted) b"] == shown(change)

    def test_the_secret_of_another_user_stays_one(self) -> None:
        """An edit and a deletion of an ephemeral message tell other users nothing else."""

        def whisper(bot: Any, message: Any) -> None:
            place = message.chat.id, 99
            receiver = types.EphemeralMessageParameters(99)
            sent = bot.send_message(place[0], "a", ephemeral_message_parameters=receiver)
            number = sent.ephemeral_message_id
            bot.edit_ephemeral_message_text(*place, number, "b")
            bot.delete_ephemeral_message(*place, number)

        assert ["(a message that only user 99 sees)"] * 3 == shown(whisper, "/in -5")


@pytest.mark.parametrize(
    ("origin", "name"),
    [
        ({"type": "user", "sender_user": {"id": 7, "is_bot": False, "first_name": "Bob"}}, "Bob"),
        ({"type": "hidden_user", "sender_user_name": "Somebody"}, "Somebody"),
        ({"type": "chat", "sender_chat": {"id": -5, "type": "group", "title": "Tea"}}, "Tea"),
        (
            {
                "type": "channel",
                "chat": {"id": -6, "type": "channel", "title": "News"},
                "message_id": 1,
            },
            "News",
        ),
        ({"type": "user", "sender_user": {"id": 7, "is_bot": False, "first_name": ""}}, "?"),
    ],
)
def test_a_forward_names_its_origin(origin: dict[str, Any], name: str) -> None:
    """A message that the bot forwards says where it comes from, in all cases of Telegram."""
    stdout = io.StringIO()
    with Screen(stdout) as screen:
        screen.look(1, 1, None)
        content = {"text": "tea!", "forward_origin": {**origin, "date": 1}}
        number = screen.user(1).send_content(content)["message"]["message_id"]
        bot: Any = TeleBot(OFFLINE_TOKEN, threaded=False)
        bot.forward_message(1, 1, number)
    assert f"(forwarded from {name}) tea!\n" == stdout.getvalue()
