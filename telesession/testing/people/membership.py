"""The acts by which users come into groups and go, boost them, and add or block the bot."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from telesession.testing.people.channels import Channel
    from telesession.testing.people.chats import Chat, Group
    from telesession.testing.people.outbox import Outbox
    from telesession.testing.server.call import JSON
    from telesession.testing.telegram.telegram import Telegram


class Membership:
    """
    The part of a `User` for groups: joins, leaves, boosts, and the membership of the bot.

    A `chat_member` reaches only a bot that asks for it in its `allowed_updates`.
    """

    _telegram: Telegram
    _outbox: Outbox
    id: int
    json: JSON

    def join(self, chat: Chat | Channel, *, link: str | None = None) -> JSON:
        """
        Join a group or a channel (`new_chat_members`, `chat_member`).

        Returns the first update: the message in a group, the `chat_member` in a channel.

        Args:
            chat: The group or the channel.
            link: An invite link that the bot has made.

        Raises `ValueError` for a user who is banned, and for a link that is unknown, revoked,
        expired or used up, or that only makes join requests.
        """
        return self._telegram.community.join(chat.id, self.json, link)

    def leave(self, chat: Chat | Channel) -> JSON:
        """
        Leave a group or a channel (`left_chat_member`, `chat_member`).

        Returns the first update, as `join` does.

        Raises `ValueError` for a user who has left already or is banned.
        """
        return self._telegram.community.leave(chat.id, self.json, self._outbox.sender_in(chat.id))

    def request_to_join(
        self, group: Chat | Channel, *, bio: str | None = None, link: str | None = None
    ) -> JSON:
        """
        Ask to become a member of a group, which the bot may decide on (`chat_join_request`).

        Args:
            group: The group.
            bio: The user's own words about themselves.
            link: The invite link of the request, if it was made through one.

        Raises `ValueError` for a link as `join` does.
        """
        request = {
            "chat": group.json,
            "from": self.json,
            "user_chat_id": self.id,
            "date": int(time.time()),
            **({} if bio is None else {"bio": bio}),
            **(
                {}
                if link is None
                else {"invite_link": self._telegram.community.invite_link(group.id, link)}
            ),
        }
        return self._telegram.push({"chat_join_request": request})

    def invite(self, group: Group, *people: Membership) -> JSON:
        """
        Add members to a group; without `people` the user joins it (`new_chat_members`).

        Telegram's message about it is from the user who added them; its update is returned. A
        `chat_member` for each follows.

        Raises `ValueError` if the user may not add members, and for a person who is banned.
        """
        members = [person.json for person in people or (self,)]
        return self._telegram.community.add(group.id, members, self._outbox.sender_in(group.id))

    def block(self) -> JSON:
        """
        Block the bot: its messages are refused, with code 403 (`my_chat_member`).

        Until `unblock`, the user cannot write to the bot either.
        """
        return self._telegram.community.remove_bot(self.id, {"from": self.json})

    def unblock(self) -> JSON:
        """Let the bot write to the user again (`my_chat_member`)."""
        return self._telegram.community.add_bot(self.id, {"from": self.json})

    def add_bot(self, group: Chat | Channel, *, administrator: bool = True) -> JSON:
        """
        Add the bot to a group or a channel (`my_chat_member`, `new_chat_members`).

        Any user may do so. Returns the `my_chat_member`. Once the bot is in, the call changes only
        its rights.

        Args:
            group: The group or the channel.
            administrator: Whether it has all rights, else it is a plain member, whose calls that
                need a right are refused, with code 400.
        """
        sender = self._outbox.sender_in(group.id)
        return self._telegram.community.add_bot(group.id, sender, is_administrator=administrator)

    def remove_bot(self, group: Chat | Channel) -> JSON:
        """
        Ban the bot from a group or a channel (`my_chat_member`, `left_chat_member`).

        Returns the `my_chat_member`. The bot's calls for the chat are refused, with code 403, and
        the bot gets no more updates of it.

        Raises `ValueError` if the group has an owner, and the user is no administrator of it.
        """
        return self._telegram.community.remove_bot(group.id, self._outbox.sender_in(group.id))

    def boost(self, chat: Chat | Channel) -> JSON:
        """Boost a supergroup or a channel for thirty days (`chat_boost`)."""
        return self._telegram.community.boost(chat.id, self.json)

    def unboost(self, chat: Chat | Channel) -> JSON:
        """
        Take a boost back, the latest first (`removed_chat_boost`).

        Raises `ValueError` if the user does not boost the chat.
        """
        return self._telegram.community.unboost(chat.id, self.json)
