"""The sticker sets of a bot."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from telesession.testing.server.call import JSON, Call, bad_request
from telesession.testing.telegram.bot_messages import require
from telesession.testing.telegram.ids import new_id

if TYPE_CHECKING:
    from collections.abc import Callable

    from telesession.testing.telegram.files import Files
    from telesession.testing.telegram.media import Media

_CUSTOM_EMOJI = "custom_emoji"

# The emoji of the icons that any topic may have, a few of Telegram's hundred.
_TOPIC_ICONS = "📰💡🎙📈🎮🎵📚🍕"


class Stickers:
    """
    Makes sticker sets, changes them, and finds their stickers by file id or custom emoji id.

    Not safe to share between threads by itself: its `BotAPI` calls it under a lock.

    Args:
        files: Keeps uploaded stickers.
        media: Makes the stickers.
    """

    def __init__(self, files: Files, media: Media) -> None:
        self._files = files
        self._media = media
        # name -> the `StickerSet`
        self._sets: dict[str, JSON] = {}
        self._icons = [self._icon(emoji) for emoji in _TOPIC_ICONS]

    def methods(self) -> dict[str, Callable[[Call], Any]]:
        """The methods of the Bot API that are answered here, by their names."""
        return {
            "getStickerSet": self._set_of,
            "createNewStickerSet": self._create,
            "addStickerToSet": self._add,
            "replaceStickerInSet": self._replace,
            "deleteStickerFromSet": self._delete,
            "deleteStickerSet": self._delete_set,
            "setStickerSetTitle": self._set_title,
            "setStickerSetThumbnail": self._set_thumbnail,
            "setCustomEmojiStickerSetThumbnail": self._set_emoji_thumbnail,
            "setStickerEmojiList": self._set_emoji,
            "setStickerKeywords": self._set_keywords,
            "setStickerMaskPosition": self._set_mask_position,
            "setStickerPositionInSet": self._move,
            "uploadStickerFile": lambda call: self._files.store(require(call, "sticker")),
            "getCustomEmojiStickers": self._custom_emoji,
            "getForumTopicIconStickers": lambda _: self._icons,
        }

    def _create(self, call: Call) -> bool:
        """See https://core.telegram.org/bots/api#createnewstickerset."""
        name, inputs = str(require(call, "name")), call.json("stickers") or ()
        if name in self._sets:
            raise bad_request("sticker set name is already occupied")
        if not inputs:
            raise bad_request("STICKERS_EMPTY")
        made: JSON = {
            "name": name,
            "title": str(require(call, "title")),
            "sticker_type": call.params.get("sticker_type") or "regular",
        }
        stickers = [self._sticker(one, made, call) for one in inputs]
        self._sets[name] = {**made, "stickers": stickers}
        return True

    def _add(self, call: Call) -> bool:
        found = self._set_of(call)
        found["stickers"].append(self._sticker(call.json("sticker") or {}, found, call))
        return True

    def _replace(self, call: Call) -> bool:
        found, place = self._find(call, "old_sticker")
        new = self._sticker(call.json("sticker") or {}, found, call)
        found["stickers"][place : place + 1] = [new]
        return True

    def _delete(self, call: Call) -> bool:
        found, place = self._find(call)
        del found["stickers"][place]
        return True

    def _delete_set(self, call: Call) -> bool:
        del self._sets[self._set_of(call)["name"]]
        return True

    def _set_title(self, call: Call) -> bool:
        self._set_of(call)["title"] = str(require(call, "title"))
        return True

    def _set_thumbnail(self, call: Call) -> bool:
        """See https://core.telegram.org/bots/api#setstickersetthumbnail."""
        found, file = self._set_of(call), call.params.get("thumbnail")
        found.pop("thumbnail", None)
        if file:
            found["thumbnail"] = {**self._files.store(file), "width": 100, "height": 100}
        return True

    def _set_emoji_thumbnail(self, call: Call) -> bool:
        """See https://core.telegram.org/bots/api#setcustomemojistickersetthumbnail."""
        found, emoji_id = self._set_of(call), call.params.get("custom_emoji_id")
        known = [sticker.get("custom_emoji_id") for sticker in found["stickers"]]
        if emoji_id and emoji_id not in known:
            raise bad_request("STICKER_INVALID")
        return True

    def _set_emoji(self, call: Call) -> bool:
        found, place = self._find(call)
        found["stickers"][place]["emoji"] = _first_emoji(call.json("emoji_list"))
        return True

    def _set_keywords(self, call: Call) -> bool:
        # The Bot API has no method to read keywords.
        self._find(call)
        return True

    def _set_mask_position(self, call: Call) -> bool:
        found, place = self._find(call)
        position = call.json("mask_position")
        found["stickers"][place].pop("mask_position", None)
        if position:
            found["stickers"][place]["mask_position"] = position
        return True

    def _move(self, call: Call) -> bool:
        found, place = self._find(call)
        moved = found["stickers"].pop(place)
        found["stickers"].insert(call.integer("position") or 0, moved)
        return True

    def _custom_emoji(self, call: Call) -> list[JSON]:
        """See https://core.telegram.org/bots/api#getcustomemojistickers."""
        stickers = [sticker for one in self._sets.values() for sticker in one["stickers"]]
        wanted = call.json("custom_emoji_ids") or ()
        return [one for one in stickers + self._icons if one.get("custom_emoji_id") in wanted]

    def _set_of(self, call: Call) -> JSON:
        """The set that a call names."""
        name = str(require(call, "name"))
        if name not in self._sets:
            raise bad_request("STICKERSET_INVALID")
        return self._sets[name]

    def _find(self, call: Call, name: str = "sticker") -> tuple[JSON, int]:
        """The set that has the sticker which a parameter names, and the place of the sticker."""
        file_id = require(call, name)
        for found in self._sets.values():
            for place, sticker in enumerate(found["stickers"]):
                if sticker["file_id"] == file_id:
                    return found, place
        raise bad_request("STICKER_INVALID")

    def _sticker(self, asked: JSON, of_set: JSON, call: Call) -> JSON:
        """A sticker for a set; see https://core.telegram.org/bots/api#inputsticker."""
        file = {
            "type": "sticker",
            "media": asked.get("sticker"),
            "emoji": _first_emoji(asked.get("emoji_list")),
        }
        sticker: JSON = {
            **self._media.input_media(file, call)["sticker"],
            "set_name": of_set["name"],
            "type": of_set["sticker_type"],
            "is_animated": asked.get("format") == "animated",
            "is_video": asked.get("format") == "video",
        }
        if asked.get("mask_position"):
            sticker["mask_position"] = asked["mask_position"]
        if of_set["sticker_type"] == _CUSTOM_EMOJI:
            sticker["custom_emoji_id"] = new_id()
        return sticker

    def _icon(self, emoji: str) -> JSON:
        file = {"sticker": f"topic-icon-{ord(emoji)}", "emoji_list": [emoji]}
        of_set = {"name": "Topics", "sticker_type": _CUSTOM_EMOJI}
        return self._sticker(file, of_set, Call("getForumTopicIconStickers"))


def _first_emoji(emoji_list: list[str] | None) -> str:
    if not emoji_list:
        raise bad_request("can't parse sticker: emoji list is empty")
    return emoji_list[0]
