"""The messages that a bot sends, edits and deletes, as its calls say."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from telesession.testing.server.call import JSON, Call, bad_request
from telesession.testing.telegram.directory import bot_user
from telesession.testing.telegram.history import Address, History, SentMessage, topic_of
from telesession.testing.telegram.markups import read_markup
from telesession.testing.telegram.message_rules import check_edit
from telesession.testing.telegram.origins import origin_of
from telesession.testing.telegram.replies import Replies

if TYPE_CHECKING:
    from collections.abc import Callable

    from telesession.testing.telegram.directory import Directory
    from telesession.testing.telegram.topics import Topics

_GUEST = "answerGuestQuery"

#: The fields of a message that say in which topic it is.
_TOPIC = ("message_thread_id", "is_topic_message", "direct_messages_topic")

#: The fields of a message that stay with it when its content is replaced.
_ENVELOPE = (
    *("message_id", "ephemeral_message_id", "from", "sender_chat", "sender_business_bot"),
    *("chat", "date", "reply_to_message", "business_connection_id", "receiver_user"),
    *("media_group_id", "has_protected_content", "forward_origin", "via_bot", "effect_id"),
    *("guest_bot_caller_user", "external_reply", "quote", *_TOPIC),
)

#: The fields of a message that a copy of it has not.
_NOT_COPIED = (
    *("edit_date", "reply_markup", "suggested_post_info", "media_group_id"),
    *(name for name in _ENVELOPE if name != "has_protected_content"),
)


class BotMessages:
    """
    Puts messages of the bot into chats, and finds and replaces them there.

    Args:
        directory: The chats.
        history: The messages in them.
        topics: The topics of the chats.
    """

    def __init__(self, directory: Directory, history: History, topics: Topics) -> None:
        self._directory = directory
        self._history = history
        self._topics = topics
        self._replies = Replies(directory, history)
        # id of an inline message -> its address
        self._inline: dict[str, Address] = {}

    def send(self, call: Call, content: JSON) -> JSON:
        """
        Send a message to the place that a call names, and return it.

        Raises `RefusedError` if there is no such place, or if Telegram would not take the keyboard
        of the call.
        """
        chat = self._open_chat(call)
        markup = read_markup(call, chat)
        place = self._place(call, chat)
        message: JSON = {
            "from": bot_user(call.token),
            "chat": chat,
            "date": int(time.time()),
            **content,
            **place,
        }
        if chat["type"] == "channel":
            del message["from"]
            message["sender_chat"] = chat
        if replied := self._replies.replied(call, chat):
            message.update(self._replies.fields(call, chat, replied))
            if topic_of(message) is None and "reply_to_message" in message:
                # A reply is in the topic of the message that it answers.
                message.update((name, replied[name]) for name in _TOPIC if name in replied)
        if effect := call.params.get("message_effect_id"):
            message["effect_id"] = str(effect)
        if call.flag("protect_content"):
            message["has_protected_content"] = True
        message = self._history.number(message, ephemeral="receiver_user" in place)
        return self.publish(message, markup)

    def edit(
        self, call: Call, change: Callable[[JSON], JSON], part: str | None = None
    ) -> JSON | bool:
        """
        Change a message that a call names, and put the keyboard of the call under it.

        Args:
            call: The call.
            change: Makes the new message of the former one.
            part: The part that changes, as `check_edit` names it; `None` for the others.

        Returns the message, or `True` for one that the bot cannot see. Raises `RefusedError` if
        there is no such message, if it has no such part, or if nothing would change.
        """
        inline_id = call.params.get("inline_message_id")
        if inline_id and inline_id not in self._inline:
            # An inline message in a chat that the server does not know.
            return True
        former = self.find(call, "edit")
        if not _is_of_bot(former):
            raise bad_request("message can't be edited")
        if part is not None:
            check_edit(former, part)
        message = without(change(former), "reply_markup", "edit_date")
        markup = read_markup(call, former["chat"], only_inline=True)
        was = without(former, "reply_markup", "edit_date")
        if (message, markup) == (was, former.get("reply_markup")):
            raise bad_request(
                "message is not modified: specified new message content and reply "
                "markup are exactly the same as a current content and reply markup of the message",
            )
        edited = self._replace({**message, "edit_date": int(time.time())}, markup)
        return True if inline_id or "receiver_user" in edited else edited

    def find(self, call: Call, action: str) -> JSON:
        """
        The message that a call names.

        Raises `RefusedError` if there is no message for an action such as `"edit"`.
        """
        inline_id = call.params.get("inline_message_id")
        message = (
            self._history.find(self._inline[inline_id])
            if inline_id in self._inline
            else self.lookup(call, call.integer("message_id") or 0)
        )
        receiver = (message or {}).get("receiver_user", {}).get("id")
        if message is None or receiver != call.integer("receiver_user_id"):
            raise bad_request(f"message to {action} not found")
        return message

    def check_chat(self, call: Call) -> None:
        """Raise `RefusedError` if the bot cannot write in the chat that a call names."""
        self._directory.chat_to_write(require(call, "chat_id"))
        if connection_id := call.params.get("business_connection_id"):
            self._account(connection_id)

    def name_inline(self, address: Address) -> str:
        """Give a message an id by which the bot acts on it without its chat, and return the id."""
        inline_id = uuid4().hex
        self._inline[inline_id] = address
        return inline_id

    def inline_id_of(self, address: Address) -> str | None:
        """The id that `name_inline` has given to a message, or `None`."""
        return next((name for name, place in self._inline.items() if place == address), None)

    def lookup(self, call: Call, message_id: int, chat: str = "chat_id") -> JSON | None:
        """
        A message of the chat that a call names, or `None`.

        Args:
            call: The call.
            message_id: The number of the message.
            chat: The name of the parameter that has the chat.
        """
        address = Address(
            self.chat_of(call, chat)["id"],
            message_id,
            call.params.get("business_connection_id"),
            call.integer("ephemeral_message_id"),
        )
        return self._history.find(address)

    def chat_of(self, call: Call, name: str = "chat_id") -> JSON:
        """The chat that a call names in a parameter; raises `RefusedError` if there is none."""
        return self._directory.chat(require(call, name))

    def delete(self, message: JSON) -> None:
        """Delete a message."""
        self._history.forget(message)

    def publish(self, message: JSON, markup: JSON | None = None) -> JSON:
        """Put a message of the bot with a keyboard of any kind into the history."""
        # Telegram's answers show inline keyboards only.
        if markup and "inline_keyboard" in markup:
            message["reply_markup"] = markup
        sent = SentMessage(
            message["message_id"],
            message["chat"]["id"],
            message.get("text") or message.get("caption") or "",
            markup,
            message.get("reply_to_message", {}).get("message_id"),
            message,
        )
        self._history.add_sent(sent)
        return message

    def show_poll(self, poll: JSON) -> None:
        """Let every message that has a poll, the forwarded ones too, show it as it is now."""
        shown = self._history.with_poll(poll["id"])
        for message in [one for one in shown if one["poll"] != poll]:
            changed = {**message, "poll": poll}
            if self._history.is_sent(message):
                self.publish(changed, self._history.markup(Address.of(message)) or None)
            else:
                self._history.remember(changed)

    def _replace(self, message: JSON, markup: JSON | None) -> JSON:
        """Put the new version of a message into the history."""
        if "via_bot" not in message:
            return self.publish(message, markup)
        # The message is one of a user, so the bot has not sent it.
        message = {**message, **({"reply_markup": markup} if markup else {})}
        self._history.remember(message)
        return message

    def _account(self, connection_id: str) -> JSON:
        """The owner of a business account; raises `RefusedError` if the connection has ended."""
        if not self._directory.is_connected(connection_id):
            raise bad_request("BUSINESS_CONNECTION_INVALID")
        return self._directory.owner(connection_id)

    def _open_chat(self, call: Call) -> JSON:
        """
        The chat that a call writes to.

        A business account writes even if its customer has blocked the bot, and a guest answers in a
        chat that it is no member of.
        """
        is_elsewhere = call.params.get("business_connection_id") or call.method == _GUEST
        find = self._directory.chat if is_elsewhere else self._directory.chat_to_write
        return find(require(call, "chat_id"))

    def _place(self, call: Call, chat: JSON) -> JSON:
        """The fields of a message of the bot that name its topic and its receiver in the chat."""
        place: JSON = {}
        topic = call.integer("message_thread_id")
        if topic and self._topics.takes(chat, topic):
            place.update(message_thread_id=topic, is_topic_message=True)
        if direct := call.integer("direct_messages_topic_id"):
            user = self._directory.user(direct)
            place["direct_messages_topic"] = {"topic_id": direct, "user": user}
        elif chat.get("is_direct_messages") and not call.params.get("reply_parameters"):
            raise bad_request("direct_messages_topic_id is empty")
        if connection_id := call.params.get("business_connection_id"):
            place["business_connection_id"] = connection_id
            place["from"] = self._account(connection_id)
            place["sender_business_bot"] = bot_user(call.token)
        if parameters := call.json("ephemeral_message_parameters"):
            place["receiver_user"] = self._directory.user(parameters["receiver_user_id"])
        return place


def _is_of_bot(message: JSON) -> bool:
    """Whether a message is one of the bot, also for a business account or by an inline query."""
    own = {"via_bot", "sender_business_bot"} & message.keys()
    return bool(own) or message.get("from", {"is_bot": True})["is_bot"]


def envelope(message: JSON) -> JSON:
    """The fields of a message that stay when its content is replaced."""
    return {name: message[name] for name in _ENVELOPE if name in message}


def copied(message: JSON) -> JSON:
    """The fields of a message that a copy of it has."""
    return without(message, *_NOT_COPIED)


def pinned(message: JSON) -> JSON:
    """The fields of the service message about a message that was pinned."""
    topic = {name: message[name] for name in _TOPIC if name in message}
    return {"pinned_message": without(message, "reply_to_message"), **topic}


def forwarded(message: JSON) -> JSON:
    """The fields of a message that is forwarded; see https://core.telegram.org/bots/api#messageorigin."""
    return {**copied(message), "forward_origin": origin_of(message)}


def require(call: Call, name: str) -> Any:
    """A parameter of a call; raises `RefusedError` if it is missing or empty."""
    if call.params.get(name) in (None, ""):
        raise bad_request(f"{name} is empty")
    return call.params[name]


def without(message: JSON, *names: str) -> JSON:
    """A copy of a JSON object that lacks some of its members."""
    return {name: value for name, value in message.items() if name not in names}
