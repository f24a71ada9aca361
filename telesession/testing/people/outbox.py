"""The messages of one sender, on their way to the bot."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

from telesession.testing.people.chats import ANONYMOUS_ADMIN, Chat, chat_of
from telesession.testing.telegram.bot_messages import without
from telesession.testing.telegram.history import address_of, topic_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from telesession.testing.server.call import JSON
    from telesession.testing.telegram.telegram import Telegram


class Where(TypedDict, total=False):
    """
    The place that a message is sent to, as options of the methods of `User`.

    Attributes:
        chat: A `Group`, `DirectMessages` or `BusinessChat`; by default the private chat with the
            bot, and for a `Channel` the channel itself.
        topic: A topic of the forum or of the private chat. In the direct messages of a channel it
            is by default the user's own.
        reply_to: The message it answers: a `SentMessage`, an update that such a method returned,
            or telebot's `Message`.
        ephemeral: Whether only the bot sees it, as a command of a group that is declared so.
    """

    chat: Chat | None
    topic: int | None
    reply_to: Any
    ephemeral: bool


class Outbox:
    """
    Makes the messages of one sender and gives them to the bot.

    Args:
        telegram: The server whose bot gets them.
        sender: The fields of a message that name its sender: `from`, or `sender_chat`.
        home: The chat of messages that name none.
        anonymous_in: The id of the group in which a user is an anonymous administrator.
    """

    def __init__(
        self, telegram: Telegram, sender: JSON, home: Chat, anonymous_in: int | None = None
    ) -> None:
        self.home = home
        self.anonymous_in = anonymous_in
        self._telegram = telegram
        self._sender = sender

    def push(
        self, contents: Iterable[JSON], *, kind: str | None = None, **where: Unpack[Where]
    ) -> list[JSON]:
        """
        Give the bot a message for each content, and return the updates.

        Args:
            contents: The fields of each message that do not depend on its place.
            kind: The kind of the updates, by default that of the chat.
            where: The place.

        Raises `ValueError` if Telegram's apps would not send a message there, and `TypeError` for
        an option that `Where` does not have.
        """
        if unknown := where.keys() - Where.__annotations__.keys():
            options = ", ".join(Where.__annotations__)
            raise TypeError(f"a message has no option {unknown.pop()!r}; its options are {options}")
        chat, topic = self._chat_of(where), where.get("topic")
        contents, kind = list(contents), kind or chat.kind
        if type(chat) is Chat and kind != "guest_message":
            self._require_own(chat.id)
        if kind == "message":
            sender = self.sender_in(chat.id)
            self._telegram.community.check_message(chat.id, sender, topic, contents)
        answered = self._answer_to(where.get("reply_to"), chat)
        messages = [{**self._envelope(chat, topic), **one, **answered} for one in contents]
        ephemeral = where.get("ephemeral", False)
        return self._telegram.push_messages(kind, messages, ephemeral=ephemeral)

    def push_near(self, shown: JSON, content: JSON) -> JSON:
        """Give the bot a message that a reply keyboard makes, in the place of the keyboard."""
        # Telegram's apps reply to the message of the keyboard, except in private chats.
        reply_to = None if shown["chat"]["type"] == "private" else shown
        chat, topic = chat_of(shown, self._telegram), topic_of(shown)
        [update] = self.push([content], chat=chat, topic=topic, reply_to=reply_to)
        return update

    def kind_of(self, message: JSON) -> str:
        """The kind of update that a message is."""
        return chat_of(message, self._telegram).kind

    def find(self, message: Any) -> JSON:
        """
        A message as its chat shows it now.

        Raises `ValueError` if the server does not know it, if it is an ephemeral message of
        another user, or if the user is banned in its chat. Raises `TypeError` for an object of
        another kind.
        """
        address = address_of(message)
        sender = self.sender_in(address.chat_id)
        self._telegram.community.check_banned(address.chat_id, sender)
        found = self._telegram.find(address)
        if found is None:
            raise ValueError(
                f"there is no message {address.ephemeral_id or address.message_id} in chat "
                f"{address.chat_id} to act on: it was deleted, or it belongs to another BotAPI"
            )
        reader = found.get("receiver_user") or found.get("from", {})
        user_id = self._sender.get("from", {}).get("id")
        if address.ephemeral_id is not None and reader["id"] != user_id:
            raise ValueError(
                f"user {user_id} cannot act on ephemeral message "
                f"{address.ephemeral_id} in chat {address.chat_id}: only user {reader['id']} "
                "sees it"
            )
        return found

    def find_to_use(self, message: Any) -> JSON:
        """
        A message that the user acts on, as its chat shows it now.

        Raises `ValueError` as `find` does, and for a message in the private chat of another user.
        """
        found = self.find(message)
        # Two users see a guest message, and the chat with a business account.
        shared = {"business_connection_id", "guest_bot_caller_user", "guest_query_id"}
        if found["chat"]["type"] == "private" and not shared & found.keys():
            self._require_own(found["chat"]["id"])
        return found

    def find_own(self, message: Any) -> JSON:
        """
        A message that the user may edit, as its chat shows it now.

        Raises `ValueError` as `find` does, and for a message of another sender.
        """
        found = self.find(message)
        name, sender = next(iter(self.sender_in(found["chat"]["id"]).items()))
        if found.get(name, {}).get("id") != sender["id"]:
            raise ValueError(
                f"cannot edit message {found['message_id']} in chat {found['chat']['id']}: only "
                "its sender can, and a bot does so with its methods"
            )
        return found

    def sender_in(self, chat_id: int) -> JSON:
        """The fields of a message in a chat that name its sender."""
        if chat_id == self.anonymous_in:
            return {"from": ANONYMOUS_ADMIN, "sender_chat": self._telegram.chat(chat_id)}
        return self._sender

    def actor_on(self, message: JSON, chat_field: str) -> JSON:
        """
        The field of an update that names the voter, or the author of a reaction.

        That is `user`, and for an anonymous administrator the field of the group.

        Args:
            message: The message with the poll or the reactions.
            chat_field: `voter_chat` or `actor_chat`.
        """
        if message["chat"]["id"] == self.anonymous_in:
            return {chat_field: message["chat"]}
        return {"user": self._sender["from"]}

    def _require_own(self, chat_id: int) -> None:
        """Raise `ValueError` for the private chat of another user with the bot."""
        user_id = self._sender.get("from", {}).get("id")
        if chat_id != user_id:
            raise ValueError(
                f"user {user_id} cannot act in the private chat of user {chat_id} with the bot; "
                "let them act in a group"
            )

    def _chat_of(self, where: Where) -> Chat:
        chat = where.get("chat") or self.home
        if not isinstance(chat, Chat):
            raise TypeError(
                f"chat={chat!r} is no chat: give the result of bot_api.group(...) or a similar "
                "method, or the private_chat of a user"
            )
        return chat

    def _envelope(self, chat: Chat, topic: int | None) -> JSON:
        """The fields of a message beside its number and its content."""
        sender = self.sender_in(chat.id)
        place = chat.fields(sender.get("from", {}), topic)
        return {**sender, "chat": chat.json, "date": int(time.time()), **place}

    def _answer_to(self, message: Any, chat: Chat) -> JSON:
        if message is None:
            return {}
        answered = self.find(message)
        if answered["chat"]["id"] != chat.id:
            raise ValueError(
                f"cannot reply in chat {chat.id} to a message of chat {answered['chat']['id']}: "
                "give chat= too, or a message of the same chat"
            )
        return {"reply_to_message": without(answered, "reply_to_message")}
