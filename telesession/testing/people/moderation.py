"""The acts by which users keep order in groups: bans, rights, pins, deletions, topics."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from telebot import types

    from telesession.testing.people.channels import Channel
    from telesession.testing.people.chats import Chat, Group
    from telesession.testing.people.membership import Membership
    from telesession.testing.people.outbox import Outbox
    from telesession.testing.server.call import JSON
    from telesession.testing.telegram.telegram import Telegram


class Moderation:
    """
    The part of a `User` that keeps order in groups.

    Each act raises `ValueError` if Telegram's apps would not offer it, because the user is neither
    the owner of the group nor an administrator with the right to it. In a group without an owner no
    user has these rights: make it with `bot_api.group(-1001, owner=ada)`.
    """

    _telegram: Telegram
    _outbox: Outbox

    def restrict(
        self,
        person: Membership,
        group: Group,
        permissions: types.ChatPermissions | None = None,
        *,
        until_date: int = 0,
    ) -> JSON:
        """
        Take permissions away from a user, and return the `chat_member`.

        Args:
            person: The user.
            group: A supergroup.
            permissions: The permissions that are left; by default none, so the user is muted. All
                of them lift the restriction.
            until_date: The end, in seconds since 1970; 0 is for ever.

        Raises `ValueError` as for every act here, and for a group that is no supergroup.
        """
        given: JSON = {}
        if permissions is not None:
            given = permissions.to_dict()  # type: ignore[no-untyped-call]
        sender = self._outbox.sender_in(group.id)
        return self._telegram.community.restrict(group.id, person.json, sender, given, until_date)

    def ban(self, person: Membership, group: Chat | Channel) -> JSON:
        """
        Ban someone for ever (`left_chat_member`, `chat_member`).

        Returns the first update: the message about a member of a group, else the `chat_member`.

        Raises `ValueError` as for every act here, and for an administrator whom only the owner may
        change.
        """
        sender = self._outbox.sender_in(group.id)
        return self._telegram.community.ban(group.id, person.json, sender)

    def unban(self, person: Membership, group: Chat | Channel) -> JSON:
        """
        Let someone who is banned come back, and return the `chat_member`.

        Raises `ValueError` as for every act here, and for a user who is not banned.
        """
        sender = self._outbox.sender_in(group.id)
        return self._telegram.community.unban(group.id, person.json, sender)

    def promote(
        self, person: Membership, group: Chat | Channel, *, custom_title: str | None = None
    ) -> JSON:
        """
        Make someone an administrator with all rights, and return the `chat_member`.

        The bot may not change these rights.

        Args:
            person: The new administrator.
            group: The group or the channel.
            custom_title: The title that is shown beside the name.

        Raises `ValueError` as for every act here, and for a person who is banned, or an
        administrator whom only the owner may change.
        """
        sender = self._outbox.sender_in(group.id)
        return self._telegram.community.promote(group.id, person.json, sender, custom_title)

    def demote(self, person: Membership, group: Chat | Channel) -> JSON:
        """
        Make a plain member of an administrator, and return the `chat_member`.

        Raises `ValueError` as for every act here, and for a user who is no administrator.
        """
        sender = self._outbox.sender_in(group.id)
        return self._telegram.community.demote(group.id, person.json, sender)

    def pin(self, message: Any) -> JSON:
        """
        Pin a message in its group, or in the private chat with the bot (`pinned_message`).

        In a private chat each user may do so.

        Args:
            message: A `SentMessage`, an update that such a method returned, or telebot's `Message`.

        Raises `ValueError` as for every act here.
        """
        found = self._outbox.find_to_use(message)
        sender = self._outbox.sender_in(found["chat"]["id"])
        return self._telegram.community.pin(found, sender)

    def delete(self, message: Any) -> JSON | None:
        """
        Delete a message: an own one, any in a private chat, or any as an administrator.

        The bot hears of it in a business chat only (`deleted_business_messages`). In other chats
        the message is gone from then on, and there is no update: the result is `None`.

        Args:
            message: As for `pin`.

        Raises `ValueError` as for every act here.
        """
        found = self._outbox.find_to_use(message)
        sender = self._outbox.sender_in(found["chat"]["id"])
        return self._telegram.community.delete(found, sender)

    def create_topic(self, group: Group, name: str) -> JSON:
        """
        Make a topic in a forum (`forum_topic_created`).

        Plain members may do so too, unless the permissions of the group forbid it. The number of
        the topic is the `message_thread_id` of the message.

        Args:
            group: The forum.
            name: The name of the topic.

        Raises `ValueError` as for every act here, and for a group that is no forum.
        """
        sender = self._outbox.sender_in(group.id)
        return self._telegram.community.create_topic(group.id, name, sender)

    def close_topic(self, group: Group, topic: int) -> JSON:
        """
        Close a topic: from then on only administrators write in it (`forum_topic_closed`).

        The user who has made the topic may do so too.

        Args:
            group: The forum.
            topic: The number of the topic.

        Raises `ValueError` as for every act here, and for a topic that is not there or is closed.
        """
        sender = self._outbox.sender_in(group.id)
        return self._telegram.community.close_topic(group.id, topic, sender)
