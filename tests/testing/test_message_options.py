"""The options of a message that Telegram shows in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from telebot import types

if TYPE_CHECKING:
    from telesession.testing import BotAPI, User

GROUP = -1001


def test_media_may_be_covered(api: BotAPI, bot: Any) -> None:
    """Photos, videos and animations have a spoiler, alone and in an album."""
    bot.send_photo(1, "id", has_spoiler=True)
    bot.send_video(1, "id", has_spoiler=True)
    bot.send_animation(1, "id")
    media = [types.InputMediaPhoto("id", has_spoiler=covered) for covered in (True, False)]
    bot.send_media_group(1, media)

    assert [True, True, None, True, None] == [
        message.parse().has_media_spoiler for message in api.messages
    ]


def test_new_media_have_no_spoiler(bot: Any) -> None:
    """An edit takes the spoiler away with the photo."""
    sent = bot.send_photo(1, "id", has_spoiler=True)
    edited = bot.edit_message_media(types.InputMediaPhoto("other"), 1, sent.message_id)

    assert None is edited.has_media_spoiler


def test_a_caption_may_be_above(bot: Any) -> None:
    """A caption is above the photo; without a caption there is nothing to tell."""
    above, none = (
        bot.send_photo(1, "id", caption=caption, show_caption_above_media=True)
        for caption in ("a", None)
    )

    assert [True, None] == [above.show_caption_above_media, none.show_caption_above_media]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (types.LinkPreviewOptions(is_disabled=True), {"is_disabled": True}),
        (
            types.LinkPreviewOptions(url="https://example.org", show_above_text=True),
            {"url": "https://example.org", "show_above_text": True},
        ),
        (types.LinkPreviewOptions(is_disabled=False), None),
        (None, None),
    ],
    ids=["disabled", "above", "unchanged", "none"],
)
def test_the_preview_of_a_link_comes_back(bot: Any, options: Any, expected: Any) -> None:
    """A text has the options of its preview that were changed."""
    sent = bot.send_message(1, "https://example.org", link_preview_options=options)

    assert expected == sent.json.get("link_preview_options")


def test_a_preview_can_be_disabled_in_the_old_way(bot: Any) -> None:
    """The parameter that `link_preview_options` has replaced still works."""
    sent = bot.send_message(1, "example.org", disable_web_page_preview=True)

    assert {"is_disabled": True} == sent.json["link_preview_options"]


def test_an_effect_stays(bot: Any) -> None:
    """A message keeps its effect when it is edited, and a copy has none."""
    sent = bot.send_message(1, "a", message_effect_id="5104841245755180586")
    edited = bot.edit_message_text("b", 1, sent.message_id)
    copied = bot.forward_message(1, 1, sent.message_id)

    assert ["5104841245755180586", None] == [edited.effect_id, copied.effect_id]


class TestReplies:
    def test_a_quote_has_its_place(self, bot: Any, ada: User) -> None:
        """The quoted words are counted as Telegram does, and have entities."""
        number = ada.send("🍵 a cup of tea")["message"]["message_id"]
        parameters = types.ReplyParameters(number, quote="*cup*", quote_parse_mode="MarkdownV2")
        sent = bot.send_message(1, "gladly", reply_parameters=parameters)

        assert ("cup", 5, True, "bold") == (
            sent.quote.text,
            sent.quote.position,
            sent.quote.is_manual,
            sent.quote.entities[0].type,
        )

    def test_a_caption_is_quoted(self, bot: Any, ada: User) -> None:
        """The words may be those of a caption."""
        number = ada.photo("my cat")["message"]["message_id"]
        parameters = types.ReplyParameters(number, quote="cat")
        sent = bot.send_message(1, "nice", reply_parameters=parameters)

        assert ("cat", 3) == (sent.quote.text, sent.quote.position)

    def test_a_reply_in_another_chat(self, api: BotAPI, bot: Any, ada: User) -> None:
        """A reply to a message of another chat shows where that is from, and its photo."""
        group = api.group(GROUP)
        photo = ada.photo("my cat", chat=group)["message"]["message_id"]
        bot.send_message(1, "of this chat")
        parameters = types.ReplyParameters(photo, chat_id=GROUP)
        sent = bot.send_message(1, "nice", reply_parameters=parameters)
        external = sent.external_reply

        assert (None, 1, GROUP, photo, 2, None) == (
            sent.reply_to_message,
            external.origin.sender_user.id,
            external.chat.id,
            external.message_id,
            len(external.photo),
            sent.json["external_reply"].get("caption"),
        )

    def test_a_private_chat_stays_unnamed(self, bot: Any, ada: User) -> None:
        """The reply in a group tells the sender and not the chat of a private message."""
        number = ada.send("psst")["message"]["message_id"]
        parameters = types.ReplyParameters(number, chat_id=1)
        sent = bot.send_message(GROUP, "hear", reply_parameters=parameters)
        external = sent.json["external_reply"]

        assert ({"origin"}, 1) == (external.keys(), external["origin"]["sender_user"]["id"])
