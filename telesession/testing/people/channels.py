"""Channels that the bot is an administrator of."""

from __future__ import annotations

from typing import TYPE_CHECKING

from telesession.testing.people.chats import ChannelChat
from telesession.testing.people.outbox import Outbox
from telesession.testing.people.senders import Sender

if TYPE_CHECKING:
    from telesession.testing.server.call import JSON
    from telesession.testing.telegram.history import Messages
    from telesession.testing.telegram.telegram import Telegram


class Channel(Sender):
    """
    A channel whose posts the bot gets: each method is one `channel_post`, pushed and returned.

    Made by `BotAPI.channel`.

    Args:
        telegram: The server whose bot gets the updates.
        chat_id: The id of the channel, which starts with `-100`.
    """

    def __init__(self, telegram: Telegram, chat_id: int) -> None:
        self.id = chat_id
        self.chat = ChannelChat(chat_id, telegram)
        super().__init__(telegram, Outbox(telegram, {"sender_chat": self.chat.json}, self.chat))

    def __repr__(self) -> str:
        return f"{type(self).__name__}(id={self.id})"

    @property
    def json(self) -> JSON:
        """The `Chat` as Telegram would send it now."""
        return self.chat.json

    @property
    def messages(self) -> Messages:
        """The posts of the bot that the channel shows now, in order."""
        return self.chat.messages
