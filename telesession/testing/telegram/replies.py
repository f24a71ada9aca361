"""The messages that a bot replies to, in the same chat or in another one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from telesession.testing.server.call import JSON, Call, bad_request
from telesession.testing.telegram.entities import formatted, utf16
from telesession.testing.telegram.history import CONTENTS, Address
from telesession.testing.telegram.origins import origin_of

if TYPE_CHECKING:
    from telesession.testing.telegram.directory import Directory
    from telesession.testing.telegram.history import History

# The fields of an answered message that an `ExternalReplyInfo` has too: all contents but texts.
_SHOWN = frozenset({*CONTENTS, "link_preview_options", "has_media_spoiler"}) - {
    *("text", "rich_message"),
}


class Replies:
    """
    Finds the messages that calls of the bot reply to.

    Not safe to share between threads by itself: its `BotAPI` calls it under a lock.

    Args:
        directory: The chats.
        history: The messages in them.
    """

    def __init__(self, directory: Directory, history: History) -> None:
        self._directory = directory
        self._history = history

    def replied(self, call: Call, chat: JSON) -> JSON | None:
        """
        The message that a call replies to, or `None` if it replies to none that is known.

        Raises `RefusedError` if the message was deleted.
        """
        parameters = call.json("reply_parameters") or {}
        address = Address(
            self._chat_of(call, chat)["id"],
            parameters.get("message_id") or call.integer("reply_to_message_id") or 0,
            call.params.get("business_connection_id"),
            parameters.get("ephemeral_message_id"),
        )
        allowed = parameters.get("allow_sending_without_reply")
        # A message that the server never knew may be one that a test has made by itself.
        if self._history.was_deleted(address) and not allowed:
            raise bad_request("message to be replied not found")
        return self._history.find(address)

    def fields(self, call: Call, chat: JSON, replied: JSON) -> JSON:
        """
        The fields of a reply that show the message that it answers.

        They are `reply_to_message`, or `external_reply` if it is in another chat, and `quote`. See
        https://core.telegram.org/bots/api#externalreplyinfo.

        Args:
            call: The call.
            chat: The chat of the reply.
            replied: The message that it answers.

        Raises `RefusedError` if the message has not the words that the call quotes.
        """
        fields: JSON = {}
        if self._chat_of(call, chat)["id"] != chat["id"]:
            fields["external_reply"] = _external(replied)
        else:
            shown = {name: replied[name] for name in replied if name != "reply_to_message"}
            fields["reply_to_message"] = shown
        parameters = call.json("reply_parameters") or {}
        if parameters.get("quote"):
            fields["quote"] = self._quote(parameters, replied)
        return fields

    def _chat_of(self, call: Call, chat: JSON) -> JSON:
        """The chat of the message that a call replies to."""
        named = (call.json("reply_parameters") or {}).get("chat_id")
        return chat if named is None else self._directory.chat(named)

    def _quote(self, parameters: JSON, replied: JSON) -> JSON:
        """The `TextQuote` that the parameters of a reply ask for."""
        asked = formatted(
            parameters, self._directory.user, "quote", "quote_entities", "quote_parse_mode"
        )
        text, place = asked.get("quote", ""), replied.get("text") or replied.get("caption") or ""
        if text not in place:
            raise bad_request("QUOTE_TEXT_INVALID")
        quote = {"text": text, "position": utf16(place[: place.index(text)]), "is_manual": True}
        if "quote_entities" in asked:
            quote["entities"] = asked["quote_entities"]
        return quote


def _external(replied: JSON) -> JSON:
    """The `ExternalReplyInfo` of a message."""
    shown = {name: value for name, value in replied.items() if name in _SHOWN}
    place: dict[str, Any] = {}
    if replied["chat"]["type"] in {"supergroup", "channel"}:
        place = {"chat": replied["chat"], "message_id": replied["message_id"]}
    return {"origin": origin_of(replied), **place, **shown}
