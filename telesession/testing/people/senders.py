"""Senders of messages: the contents that users and channels have in common."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Unpack

from telesession.testing.telegram import content
from telesession.testing.telegram.bot_messages import forwarded, without
from telesession.testing.telegram.ids import new_id
from telesession.testing.telegram.origins import hidden_origin

if TYPE_CHECKING:
    from collections.abc import Mapping

    from telesession.testing.people.outbox import Outbox, Where
    from telesession.testing.server.call import JSON
    from telesession.testing.telegram.telegram import Telegram

# https://core.telegram.org/bots/api#sendmediagroup
_IN_ALBUMS = ("photo", "video", "document", "audio")

# A message with this content is edited in its caption.
_TEXT = ("text", "entities")
_CAPTION = ("caption", "caption_entities")

# How many photos are an album, see https://core.telegram.org/bots/api#sendmediagroup.
_ALBUM = range(2, 11)


class Sender:
    """
    Sends messages to the bot: each method is one update, pushed and returned.

    The methods take the options `chat`, `topic`, `reply_to` and `ephemeral`; see `Where`.

    Args:
        telegram: The server whose bot gets the updates.
        outbox: Makes the messages.
    """

    def __init__(self, telegram: Telegram, outbox: Outbox) -> None:
        self._telegram = telegram
        self._outbox = outbox

    def send(self, text: str, **where: Unpack[Where]) -> JSON:
        """
        Send a text message; commands, links and the like in it are entities, as in Telegram.

        Raises `ValueError` for an empty text.
        """
        return self.send_content(content.text(text), **where)

    def photo(self, caption: str = "", **where: Unpack[Where]) -> JSON:
        """Send a photo."""
        return self.send_content({**content.photo(), **content.caption(caption)}, **where)

    def album(
        self, count: int = 2, caption: str = "", *, kind: str = "photo", **where: Unpack[Where]
    ) -> list[JSON]:
        """
        Send files as one album: a message for each, with one `media_group_id`, in a row.

        Args:
            count: The number of files.
            caption: The caption of the first one.
            kind: The content of each: `photo`, `video`, `document` or `audio`.
            where: As for every message.

        Raises `ValueError` for files of another kind, and unless there are 2 to 10.
        """
        if kind not in _IN_ALBUMS:
            raise ValueError(f"an album has no {kind!r}; use one of {', '.join(_IN_ALBUMS)}")
        if count not in _ALBUM:
            raise ValueError(
                f"cannot send an album of {count}: it has 2 to 10 files; one alone is a {kind}()"
            )
        album = {"media_group_id": new_id()}
        files = [{**content.FILES[kind](), **album} for _ in range(count)]
        files[0].update(content.caption(caption))
        return self._outbox.push(files, **where)

    def document(
        self, caption: str = "", *, name: str = "notes.txt", **where: Unpack[Where]
    ) -> JSON:
        """Send a file with a name."""
        return self.send_content({**content.document(name), **content.caption(caption)}, **where)

    def live_photo(self, caption: str = "", **where: Unpack[Where]) -> JSON:
        """Send a live photo; telebot 4.37.1 gives it the `content_type` `"photo"`."""
        return self.send_content({**content.live_photo(), **content.caption(caption)}, **where)

    def video(self, caption: str = "", *, seconds: int = 10, **where: Unpack[Where]) -> JSON:
        """Send a video."""
        return self.send_content({**content.video(seconds), **content.caption(caption)}, **where)

    def animation(self, caption: str = "", **where: Unpack[Where]) -> JSON:
        """Send a video without sound, as GIFs are."""
        return self.send_content({**content.animation(), **content.caption(caption)}, **where)

    def audio(
        self,
        caption: str = "",
        *,
        title: str = "Untitled",
        performer: str = "Unknown",
        seconds: int = 180,
        **where: Unpack[Where],
    ) -> JSON:
        """Send a piece of music."""
        music = content.audio(title, performer, seconds)
        return self.send_content({**music, **content.caption(caption)}, **where)

    def voice(self, seconds: int = 3, *, caption: str = "", **where: Unpack[Where]) -> JSON:
        """Send a voice message."""
        return self.send_content({**content.voice(seconds), **content.caption(caption)}, **where)

    def video_note(self, seconds: int = 10, **where: Unpack[Where]) -> JSON:
        """Send a round video."""
        return self.send_content(content.video_note(seconds), **where)

    def sticker(self, emoji: str = "🙂", **where: Unpack[Where]) -> JSON:
        """Send a sticker."""
        return self.send_content(content.sticker(emoji), **where)

    def dice(self, emoji: str = "🎲", *, value: int | None = None, **where: Unpack[Where]) -> JSON:
        """
        Send a die, or another emoji with a value by chance.

        Args:
            emoji: One of https://core.telegram.org/bots/api#dice.
            value: The value, by default one by chance.
            where: As for every message.

        Raises `ValueError` if Telegram has no such emoji, or the emoji no such value.
        """
        return self.send_content(content.dice(emoji, value), **where)

    def location(
        self, latitude: float = 52.52, longitude: float = 13.405, **where: Unpack[Where]
    ) -> JSON:
        """Send a place on the map, in degrees."""
        return self.send_content(content.location(latitude, longitude), **where)

    def venue(
        self, title: str = "Tea house", address: str = "1 Test Street", **where: Unpack[Where]
    ) -> JSON:
        """Send a place with a name."""
        return self.send_content(content.venue(title, address), **where)

    def poll(self, question: str, *options: str, **where: Unpack[Where]) -> JSON:
        """Send a poll of one's own without votes."""
        return self.send_content(content.poll(question, options), **where)

    def checklist(self, title: str, *tasks: str, **where: Unpack[Where]) -> JSON:
        """Send a checklist; telebot 4.37.1 gives it no `content_type`."""
        return self.send_content(content.checklist(title, tasks), **where)

    def paid_media(self, stars: int = 5, caption: str = "", **where: Unpack[Where]) -> JSON:
        """Send a photo that costs stars; telebot 4.37.1 gives it no `content_type`."""
        paid = {**content.paid_media(stars), **content.caption(caption)}
        return self.send_content(paid, **where)

    def forward(self, message: Any, *, hidden: bool = False, **where: Unpack[Where]) -> JSON:
        """
        Forward a message to the bot.

        Args:
            message: A `SentMessage`, an update that such a method returned, or telebot's `Message`.
            hidden: Whether the bot gets only the name of the user whose message it is, as the
                privacy settings of that user can say.
            where: As for every message.

        Raises `ValueError` if the message to be hidden is one of a group or a channel.
        """
        copy = forwarded(self._outbox.find(message))
        if hidden:
            copy["forward_origin"] = hidden_origin(copy["forward_origin"])
        return self.send_content(copy, **where)

    def send_content(self, message: Mapping[str, Any], **where: Unpack[Where]) -> JSON:
        """
        Send a message of a kind that this class has no method for.

        Args:
            message: The fields of its content, such as
                `{"dice": {"emoji": "🎲", "value": 4}}`.
            where: As for every message.
        """
        [update] = self._outbox.push([dict(message)], **where)
        return update

    def edit(self, message: Any, text: str) -> JSON:
        """
        Edit the text of a message, or the caption of a photo and the like.

        Args:
            message: The update that a method of the same sender returned.
            text: The new text.

        Raises `ValueError` for a message of another sender, and for an empty text.
        """
        former = self._outbox.find_own(message)
        if "text" in former:
            edited = {**without(former, *_TEXT), **content.text(text)}
        else:
            edited = {**without(former, *_CAPTION), **content.caption(text)}
        kind = self._outbox.kind_of(former)
        return self._telegram.push({f"edited_{kind}": {**edited, "edit_date": int(time.time())}})
