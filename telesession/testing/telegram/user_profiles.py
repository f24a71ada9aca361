"""The profiles of users: their photos, their emoji status, their music and their personal chats."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

from telesession.testing.telegram.business import owner_of
from telesession.testing.telegram.directory import bot_user

if TYPE_CHECKING:
    from collections.abc import Callable

    from telesession.testing.server.call import JSON, Call
    from telesession.testing.telegram.directory import Directory
    from telesession.testing.telegram.media import Media

_MAX_PHOTOS = 100


class UserProfiles:
    """
    The photos of the bot and of the business accounts it manages, and the emoji status of users.

    Other users have no photos. No user has music or a personal chat.

    Not safe to share between threads by itself: its `BotAPI` calls it under a lock.

    Args:
        directory: The owners of business accounts.
        media: Makes the photos.
    """

    def __init__(self, directory: Directory, media: Media) -> None:
        self._directory = directory
        self._media = media
        # user id -> the photos, each as a list of its sizes, the current one first
        self._photos: defaultdict[int, list[list[JSON]]] = defaultdict(list)

    def methods(self) -> dict[str, Callable[[Call], Any]]:
        """The methods of the Bot API that are answered here, by their names."""
        return {
            "getUserProfilePhotos": self._get,
            "getUserProfileAudios": lambda _: {"total_count": 0, "audios": []},
            "getUserPersonalChatMessages": lambda _: [],
            "setUserEmojiStatus": self._set_emoji_status,
            "setMyProfilePhoto": lambda call: self._set(call, _bot_id(call)),
            "removeMyProfilePhoto": lambda call: self._remove(_bot_id(call)),
            "setBusinessAccountProfilePhoto": lambda call: self._set(
                call, owner_of(call, self._directory)["id"]
            ),
            "removeBusinessAccountProfilePhoto": lambda call: self._remove(
                owner_of(call, self._directory)["id"]
            ),
        }

    def _set_emoji_status(self, call: Call) -> bool:
        """See https://core.telegram.org/bots/api#setuseremojistatus."""
        details = self._directory.details(call.integer("user_id") or 0)
        emoji_id = call.params.get("emoji_status_custom_emoji_id")
        expiration = call.integer("emoji_status_expiration_date") if emoji_id else None
        details.pop("emoji_status_custom_emoji_id", None)
        details.pop("emoji_status_expiration_date", None)
        if emoji_id:
            details["emoji_status_custom_emoji_id"] = str(emoji_id)
        if expiration:
            details["emoji_status_expiration_date"] = expiration
        return True

    def _get(self, call: Call) -> JSON:
        """See https://core.telegram.org/bots/api#getuserprofilephotos."""
        photos = self._photos[call.integer("user_id") or 0]
        first = call.integer("offset") or 0
        end = first + (call.integer("limit") or _MAX_PHOTOS)
        return {"total_count": len(photos), "photos": photos[first:end]}

    def _set(self, call: Call, user_id: int) -> bool:
        """See https://core.telegram.org/bots/api#inputprofilephoto."""
        asked = call.json("photo") or {}
        file = {"type": "photo", "media": asked.get("photo") or asked.get("animation")}
        self._photos[user_id].insert(0, self._media.input_media(file, call)["photo"])
        return True

    def _remove(self, user_id: int) -> bool:
        del self._photos[user_id][:1]
        return True


def _bot_id(call: Call) -> int:
    return int(bot_user(call.token)["id"])
