"""The methods of the Bot API for the messages of a bot."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

from telesession.testing.server.call import JSON, Call, bad_request
from telesession.testing.telegram.bot_messages import (
    BotMessages,
    copied,
    envelope,
    forwarded,
    pinned,
    require,
    without,
)
from telesession.testing.telegram.directory import bot_user
from telesession.testing.telegram.ids import new_id
from telesession.testing.telegram.media import location
from telesession.testing.telegram.message_rules import (
    can_be_copied,
    can_be_forwarded,
    check_deletion,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from telesession.testing.telegram.history import History
    from telesession.testing.telegram.media import Media
    from telesession.testing.telegram.polls import Polls
    from telesession.testing.telegram.service_messages import ServiceMessages

_MAX_ALBUM = 10
_MAX_NUMBERS = 100

# The kinds of media that an album can have -> the kind of the album.
_ALBUMS = {
    **dict.fromkeys(("live_photo", "photo", "video"), "visual"),
    "audio": "audio",
    "document": "document",
}

# https://core.telegram.org/bots/api#sendchataction
_ACTIONS = frozenset(
    {
        *("typing", "upload_photo", "record_video", "upload_video", "record_voice"),
        *("upload_voice", "upload_document", "choose_sticker", "find_location"),
        *("record_video_note", "upload_video_note"),
    }
)


class MessageMethods:
    """
    Sends, edits, copies, forwards, pins and deletes messages.

    Args:
        messages: Puts messages into chats.
        history: Where the pinned ones are.
        media: Makes the contents.
        polls: Makes the polls of copies.
        service: Tells the bot of its own pins.
    """

    def __init__(
        self,
        messages: BotMessages,
        history: History,
        media: Media,
        *,
        polls: Polls,
        service: ServiceMessages,
    ) -> None:
        self._messages = messages
        self._service = service
        self._history = history
        self._media = media
        self._polls = polls

    def methods(self) -> dict[str, Callable[[Call], Any]]:
        """The methods of the Bot API that are answered here, by their names."""
        return {
            **dict.fromkeys(self._media.methods, self._send),
            "sendMediaGroup": self._send_album,
            "sendChatAction": self._act,
            "sendMessageDraft": self._draft,
            "sendRichMessageDraft": self._draft,
            "copyMessage": self._copy,
            "copyMessages": self._copy_several,
            "forwardMessage": self._forward,
            "forwardMessages": self._forward_several,
            "editMessageText": self._edit_text,
            "editMessageCaption": self._edit_caption,
            "editMessageMedia": self._edit_media,
            "editMessageReplyMarkup": self._edit_markup,
            "editMessageLiveLocation": self._edit_location,
            "stopMessageLiveLocation": self._stop_location,
            "editMessageChecklist": self._edit_checklist,
            "deleteMessage": self._delete,
            "deleteMessages": self._delete_several,
            "deleteBusinessMessages": self._delete_business,
            "editEphemeralMessageText": self._edit_text,
            "editEphemeralMessageCaption": self._edit_caption,
            "editEphemeralMessageMedia": self._edit_media,
            "editEphemeralMessageReplyMarkup": self._edit_markup,
            "deleteEphemeralMessage": self._delete,
            "pinChatMessage": self._pin,
            "unpinChatMessage": self._unpin,
            "unpinAllChatMessages": self._unpin_all,
        }

    def _send(self, call: Call) -> JSON:
        return self._messages.send(call, self._media.content(call))

    def _send_album(self, call: Call) -> list[JSON]:
        """
        Send an album of up to 10 items; a single item is a message without an album.

        See https://core.telegram.org/bots/api#sendmediagroup.
        """
        media = call.json("media") or ()
        _check_album([str(one.get("type")) for one in media])
        album = {"media_group_id": new_id()} if len(media) > 1 else {}
        contents = [{**self._media.input_media(one, call), **album} for one in media]
        return [self._messages.send(call, content) for content in contents]

    def _act(self, call: Call) -> bool:
        """See https://core.telegram.org/bots/api#sendchataction."""
        self._messages.check_chat(call)
        if call.params.get("action") not in _ACTIONS:
            raise bad_request("wrong parameter action in request")
        return True

    def _draft(self, call: Call) -> bool:
        """
        See https://core.telegram.org/bots/api#sendmessagedraft.

        A draft is no message, so only the call of the bot has its text.
        """
        if self._messages.chat_of(call)["type"] != "private":
            raise bad_request("TEXTDRAFT_PEER_INVALID")
        if not call.integer("draft_id"):
            raise bad_request("draft_id must be non-zero")
        # An empty text shows that the bot thinks.
        if call.params.get("text") or call.params.get("rich_message"):
            self._media.text(call)
        return True

    def _copy(self, call: Call) -> JSON:
        content = self._copied(self._source(call, "copy"))
        if call.params.get("caption") is not None:
            content = {**_uncaptioned(content), **self._media.caption(call.params)}
        return _number_of(self._messages.send(call, content))

    def _copy_several(self, call: Call) -> list[JSON]:
        return self._send_all(call, "copy", self._copied)

    def _forward(self, call: Call) -> JSON:
        return self._messages.send(call, forwarded(self._source(call, "forward")))

    def _forward_several(self, call: Call) -> list[JSON]:
        return self._send_all(call, "forward", forwarded)

    def _send_all(self, call: Call, action: str, content_of: Callable[[JSON], JSON]) -> list[JSON]:
        """Send contents made of several messages; those of an album are an album again."""
        albums: defaultdict[str, str] = defaultdict(new_id)
        numbers = []
        for message in self._sources(call, action):
            content = content_of(message)
            if album := message.get("media_group_id"):
                content["media_group_id"] = albums[album]
            numbers.append(_number_of(self._messages.send(call, content)))
        return numbers

    def _copied(self, message: JSON) -> JSON:
        """The content of the copy of a message; a poll begins anew."""
        content = copied(message)
        if "poll" in content:
            content["poll"] = self._polls.copy(content["poll"])
        return content

    def _source(self, call: Call, action: str) -> JSON:
        number = call.integer("message_id") or 0
        message = self._messages.lookup(call, number, "from_chat_id")
        if message is None:
            raise bad_request(f"message to {action} not found")
        participle, is_allowed = _RULES[action]
        if not is_allowed(message):
            raise bad_request(f"message can't be {participle}")
        return message

    def _sources(self, call: Call, action: str) -> list[JSON]:
        numbers = _numbers_in(call)
        messages = [self._messages.lookup(call, number, "from_chat_id") for number in numbers]
        # Telegram skips messages that it does not find, or that may not leave their chat.
        _, is_allowed = _RULES[action]
        found = [message for message in messages if message and is_allowed(message)]
        if not found:
            raise bad_request(f"there are no messages to {action}")
        return found

    def _edit_text(self, call: Call) -> JSON | bool:
        text = self._media.text(call)
        return self._messages.edit(call, lambda former: {**envelope(former), **text}, "text")

    def _edit_caption(self, call: Call) -> JSON | bool:
        caption = self._media.caption(call.params)
        return self._messages.edit(
            call, lambda former: {**_uncaptioned(former), **caption}, "caption"
        )

    def _edit_media(self, call: Call) -> JSON | bool:
        content = self._media.input_media(call.json("media") or {}, call)
        return self._messages.edit(call, lambda former: {**envelope(former), **content}, "media")

    def _edit_markup(self, call: Call) -> JSON | bool:
        return self._messages.edit(call, lambda former: former)

    def _edit_location(self, call: Call) -> JSON | bool:
        place = location(call)["location"]
        return self._messages.edit(call, lambda former: _located(former, place))

    def _stop_location(self, call: Call) -> JSON | bool:
        def stopped(former: JSON) -> JSON:
            return {**former, "location": without(_location_of(former), "live_period")}

        return self._messages.edit(call, stopped)

    def _edit_checklist(self, call: Call) -> JSON | bool:
        tasks = self._media.checklist(call)
        return self._messages.edit(call, lambda former: {**envelope(former), **tasks}, "checklist")

    def _delete(self, call: Call) -> bool:
        message = self._messages.find(call, "delete")
        check_deletion(message)
        self._messages.delete(message)
        return True

    def _delete_several(self, call: Call) -> bool:
        numbers = _numbers_in(call)
        # Telegram skips messages that it does not find.
        found = [one for number in numbers if (one := self._messages.lookup(call, number))]
        for message in found:
            check_deletion(message)
        for message in found:
            self._messages.delete(message)
        return True

    def _delete_business(self, call: Call) -> bool:
        connection_id = require(call, "business_connection_id")
        for message in self._history.of_business(connection_id, _numbers_in(call)):
            self._messages.delete(message)
        return True

    def _pin(self, call: Call) -> bool:
        """See https://core.telegram.org/bots/api#pinchatmessage."""
        message = self._messages.find(call, "pin")
        self._history.pin(message)
        if "business_connection_id" not in message:
            self._service.push(message["chat"], {"from": bot_user(call.token)}, pinned(message))
        return True

    def _unpin(self, call: Call) -> bool:
        pins = self._history.pinned(self._messages.chat_of(call)["id"])
        number = call.integer("message_id")
        found = [message for message in pins if number in {None, message["message_id"]}]
        if not found:
            raise bad_request("message to unpin not found")
        self._history.unpin(found[0])
        return True

    def _unpin_all(self, call: Call) -> bool:
        for message in self._history.pinned(self._messages.chat_of(call)["id"]):
            self._history.unpin(message)
        return True


# action of the bot -> its participle, and whether a message may leave its chat so
_RULES = {"copy": ("copied", can_be_copied), "forward": ("forwarded", can_be_forwarded)}


def _check_album(kinds: list[str]) -> None:
    """Raise `RefusedError` if media of some kinds are no album."""
    if not kinds:
        raise bad_request("there are no messages to send")
    if len(kinds) > _MAX_ALBUM:
        raise bad_request("too many messages to send as an album")
    if other := [kind for kind in kinds if kind not in _ALBUMS]:
        reason = f'type "{other[0]}" can\'t be used in sendMediaGroup'
        raise bad_request(f"can't parse InputMedia: {reason}")
    albums = {_ALBUMS[kind] for kind in kinds}
    if len(albums) > 1:
        lonely = "document" if "document" in albums else "audio"
        raise bad_request(f"{lonely} can't be mixed with other media types")


def _numbers_in(call: Call) -> list[int]:
    """The `message_ids` of a call, at most 100."""
    numbers: list[int] = call.json("message_ids") or []
    if len(numbers) > _MAX_NUMBERS:
        raise bad_request("too many message identifiers specified")
    return numbers


def _number_of(message: JSON) -> JSON:
    """The `MessageId` of a message."""
    return {"message_id": message["message_id"]}


def _uncaptioned(message: JSON) -> JSON:
    return without(message, "caption", "caption_entities", "show_caption_above_media")


def _located(message: JSON, place: JSON) -> JSON:
    """A message with a live location that has moved."""
    return {**message, "location": {**_location_of(message), **place}}


def _location_of(message: JSON) -> JSON:
    location: JSON = message.get("location", {})
    if "live_period" not in location:
        raise bad_request("message can't be edited")
    return location
