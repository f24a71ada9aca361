"""The sticker sets that a bot makes on the loopback Bot API."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import pytest
from telebot import types
from telebot.apihelper import ApiTelegramException

NAME = "tea_by_test_bot"
POSITION = types.MaskPosition("eyes", 0.0, 1.0, 2.0)


def sticker(emoji: str = "🍵", **options: Any) -> types.InputSticker:
    """A new sticker."""
    return types.InputSticker(b"sticker", [emoji], "static", **options)


def create(bot: Any, *emoji: str, kind: str = "regular") -> types.StickerSet:
    """A new set with a sticker for each emoji."""
    stickers = [sticker(one) for one in emoji]
    bot.create_new_sticker_set(1, NAME, "Tea", stickers=stickers, sticker_type=kind)
    return read(bot)


def read(bot: Any) -> Any:
    """The set as it is now."""
    return bot.get_sticker_set(NAME)


def emoji_of(bot: Any) -> str:
    """The emoji of the stickers of the set, in order."""
    return "".join(one.emoji for one in read(bot).stickers)


def test_a_set_comes_back(bot: Any) -> None:
    """The set has the title, the type and the stickers that it was made with."""
    made = create(bot, "🍵", "🍋")

    assert (NAME, "Tea", "regular") == (made.name, made.title, made.sticker_type)
    assert [("🍵", NAME), ("🍋", NAME)] == [(one.emoji, one.set_name) for one in made.stickers]


def test_a_sticker_can_be_downloaded(bot: Any) -> None:
    """A sticker has the content of its upload."""
    [made] = create(bot, "🍵").stickers

    assert b"sticker" == bot.download_file(bot.get_file(made.file_id).file_path)


def test_an_uploaded_file_becomes_a_sticker(bot: Any) -> None:
    """A file that was uploaded before goes into a set by its id."""
    create(bot, "🍵")
    upload = types.InputFile(BytesIO(b"lemon"), "lemon.webp")
    file = bot.upload_sticker_file(1, sticker=upload, sticker_format="static")
    bot.add_sticker_to_set(1, NAME, [], sticker=types.InputSticker(file.file_id, ["🍋"], "static"))

    added = read(bot).stickers[-1]

    assert b"lemon" == bot.download_file(bot.get_file(added.file_id).file_path)


def test_stickers_are_added_replaced_moved_and_deleted(bot: Any) -> None:
    """The set shows each change."""
    first, second = create(bot, "🍵", "🍋").stickers
    states = [emoji_of(bot)]
    for change in (
        lambda: bot.add_sticker_to_set(1, NAME, [], sticker=sticker("🍯")),
        lambda: bot.set_sticker_position_in_set(first.file_id, 2),
        lambda: bot.replace_sticker_in_set(
            1, NAME, second.file_id, types.InputSticker("file-1", ["🧊"], "static")
        ),
        lambda: bot.delete_sticker_from_set(first.file_id),
        lambda: bot.set_sticker_emoji_list("file-1", ["🥛", "🍼"]),
    ):
        change()
        states.append(emoji_of(bot))

    assert ["🍵🍋", "🍵🍋🍯", "🍋🍯🍵", "🧊🍯🍵", "🧊🍯", "🥛🍯"] == states


def test_a_set_is_renamed(bot: Any) -> None:
    """The set has the new title."""
    create(bot, "🍵")
    bot.set_sticker_set_title(NAME, "Hot tea")

    assert "Hot tea" == read(bot).title


def test_a_set_has_a_thumbnail(bot: Any) -> None:
    """The thumbnail is the file that the bot gives, until it is removed."""
    create(bot, "🍵")
    bot.set_sticker_set_thumbnail(NAME, 1, b"thumbnail", "static")
    file = bot.get_file(read(bot).thumbnail.file_id)
    bot.set_sticker_set_thumbnail(NAME, 1, None, "static")

    assert (b"thumbnail", None) == (bot.download_file(file.file_path), read(bot).thumbnail)


def test_a_mask_has_a_position(bot: Any) -> None:
    """The position that the bot sets comes back, until it is removed."""
    [made] = create(bot, "🕶", kind="mask").stickers
    bot.set_sticker_mask_position(made.file_id, POSITION)
    positions = [read(bot).stickers[0].mask_position]
    bot.set_sticker_mask_position(made.file_id)
    positions.append(read(bot).stickers[0].mask_position)

    assert (POSITION.to_dict(), None) == (positions[0].to_dict(), positions[1])


def test_custom_emoji_are_found_by_their_ids(bot: Any) -> None:
    """The stickers of a set of custom emoji have ids; unknown ids are left out."""
    made = create(bot, "🍵", "🍋", kind="custom_emoji")
    wanted = made.stickers[1].custom_emoji_id

    found = bot.get_custom_emoji_stickers([wanted, "1"])

    assert [(wanted, "🍋")] == [(one.custom_emoji_id, one.emoji) for one in found]


def test_icons_of_topics_are_custom_emoji(bot: Any) -> None:
    """Each icon of a topic is found by its id."""
    icons = bot.get_forum_topic_icon_stickers()
    ids = [icon["custom_emoji_id"] for icon in icons]

    found = bot.get_custom_emoji_stickers(ids)

    assert (8, ids) == (len(set(ids)), [one.custom_emoji_id for one in found])


def test_the_thumbnail_of_custom_emoji_is_one_of_them(bot: Any) -> None:
    """An emoji of another set is refused as a thumbnail."""
    made = create(bot, "🍵", kind="custom_emoji")
    bot.set_custom_emoji_sticker_set_thumbnail(NAME, made.stickers[0].custom_emoji_id)

    with pytest.raises(ApiTelegramException, match="STICKER_INVALID"):
        bot.set_custom_emoji_sticker_set_thumbnail(NAME, "1")


def test_a_deleted_set_is_gone(bot: Any) -> None:
    """After it the name is unknown, and can be used again."""
    create(bot, "🍵")
    bot.delete_sticker_set(NAME)

    with pytest.raises(ApiTelegramException, match="STICKERSET_INVALID"):
        read(bot)
    assert ["🍋"] == [one.emoji for one in create(bot, "🍋").stickers]


def test_a_name_is_used_once(bot: Any) -> None:
    """A second set with the same name is refused."""
    create(bot, "🍵")

    with pytest.raises(ApiTelegramException, match="sticker set name is already occupied"):
        create(bot, "🍋")


def test_a_set_has_stickers_and_a_sticker_has_emoji(bot: Any) -> None:
    """A set without stickers is refused, and so is a sticker without emoji."""
    with pytest.raises(ApiTelegramException, match="STICKERS_EMPTY"):
        create(bot)
    with pytest.raises(ApiTelegramException, match="emoji list is empty"):
        bot.create_new_sticker_set(
            1, NAME, "Tea", stickers=[types.InputSticker(b"sticker", [], "static")]
        )


def test_an_unknown_sticker_is_refused(bot: Any) -> None:
    """A sticker of no set of the bot cannot be changed."""
    with pytest.raises(ApiTelegramException, match="STICKER_INVALID"):
        bot.set_sticker_keywords("file-1", ["tea"])
