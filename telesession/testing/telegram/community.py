"""The groups and channels of a bot: members, links, settings, topics and boosts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from telesession.testing.telegram.boosts import Boosts
from telesession.testing.telegram.bot_messages import pinned, without
from telesession.testing.telegram.bot_rights import BotRights
from telesession.testing.telegram.chat_settings import ChatSettings
from telesession.testing.telegram.invite_links import InviteLinks
from telesession.testing.telegram.join_requests import JoinRequests
from telesession.testing.telegram.member_methods import MemberMethods
from telesession.testing.telegram.members import Members, is_present
from telesession.testing.telegram.rights import (
    ALL_RIGHTS,
    BANNED,
    LEFT,
    MEMBER,
    administrator,
    owner,
    permissions,
    restricted,
)
from telesession.testing.telegram.topics import Topics
from telesession.testing.telegram.user_rights import UserRights

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from telesession.testing.server.call import JSON, Call
    from telesession.testing.server.updates import Updates
    from telesession.testing.telegram.directory import Directory
    from telesession.testing.telegram.files import Files
    from telesession.testing.telegram.history import History
    from telesession.testing.telegram.service_messages import ServiceMessages


class Community:
    """
    The parts that know of the people in chats: users act on them, and tests read them.

    Threads may share it: its methods for users and tests hold a condition.

    Args:
        changed: The condition of the server.
        directory: The chats and users.
        history: The messages of the chats.
        updates: The queue of updates.
        service: Puts service messages into chats.
        files: The photos of the chats.
    """

    def __init__(  # noqa: PLR0917 -- the parts of a server
        self,
        changed: threading.Condition,
        directory: Directory,
        history: History,
        updates: Updates,
        service: ServiceMessages,
        files: Files,
    ) -> None:
        self.topics = Topics(directory, history, service)
        self._changed = changed
        self._directory = directory
        self._history = history
        self._updates = updates
        self._service = service
        self._members = Members(directory, service, updates)
        self._rights = UserRights(self._members, self.topics, history)
        self._bot_rights = BotRights(directory, self._members, history)
        self._links = InviteLinks(directory, self._members)
        self._requests = JoinRequests(directory, self._members, self._links)
        self._boosts = Boosts(directory, updates)
        self._settings = ChatSettings(directory, history, service, links=self._links, files=files)

    def methods(self) -> dict[str, Callable[[Call], Any]]:
        """The methods of the Bot API that the parts answer, by their names."""
        return {
            **MemberMethods(self._directory, self._members).methods(),
            **self._boosts.methods(),
            **self._links.methods(),
            **self._requests.methods(),
            **self._settings.methods(),
            **self.topics.methods(),
        }

    def note(self, update: JSON) -> None:
        """Learn of the people, the topic and the request in an update of a user."""
        self._members.note(update)
        self._requests.note(update)
        self.topics.note(update)

    def hears(self, update: JSON) -> bool:
        """Whether the bot gets an update; see `Members.hears`."""
        return self._members.hears(update)

    def check_call(self, call: Call) -> None:
        """Raise `RefusedError` for a call that needs a right which the bot does not have."""
        self._bot_rights.check(call)

    def check_message(
        self, chat_id: int, sender: JSON, topic_id: int | None, contents: Iterable[JSON]
    ) -> None:
        """Raise `ValueError` if a user cannot send messages; see `UserRights.check_message`."""
        with self._changed:
            self._rights.check_message(self._directory.chat(chat_id), sender, topic_id, contents)

    def check_banned(self, chat_id: int, sender: JSON) -> None:
        """Raise `ValueError` if a user who acts in a chat is banned there."""
        with self._changed:
            self._rights.check_banned(self._directory.chat(chat_id), sender)

    def members_of(self, chat_id: int) -> list[JSON]:
        """The `ChatMember` of each member that a chat has now, the bot first."""
        with self._changed:
            return self._members.present(self._directory.chat(chat_id))

    def administrators_of(self, chat_id: int) -> list[JSON]:
        """The `ChatMember` of the owner and of each administrator of a chat, the bot first."""
        with self._changed:
            return self._members.administrators(self._directory.chat(chat_id))

    def topics_of(self, chat_id: int) -> list[JSON]:
        """The topics that a chat has now, by their ids; see `Group.topics`."""
        with self._changed:
            return [dict(topic) for topic in self.topics.of(self._directory.chat(chat_id))]

    def pinned_in(self, chat_id: int) -> list[JSON]:
        """The pinned messages of a chat, the latest pin first."""
        with self._changed:
            return self._history.pinned(chat_id)

    def put_topics(self, chat_id: int, topic_ids: Iterable[int]) -> None:
        """
        Let a forum have topics, without any update.

        Raises `ValueError` if there are some and the chat is no forum.
        """
        with self._changed:
            for topic_id in topic_ids:
                self.topics.put(self._directory.chat(chat_id), topic_id)

    def put_owner(self, chat_id: int, user: JSON) -> None:
        """Let a user be the owner of a chat, without any update."""
        with self._changed:
            self._members.put(self._directory.chat(chat_id), user, owner())

    def put_administrator(self, chat_id: int, user: JSON, *, is_anonymous: bool) -> None:
        """
        Let a user be an administrator of a chat, without any update; an owner stays one.

        Args:
            chat_id: The chat.
            user: The user.
            is_anonymous: Whether the user writes as the chat.
        """
        with self._changed:
            chat = self._directory.chat(chat_id)
            record = without(self._members.get(chat, user["id"]), "user")
            if record["status"] != "creator":
                record = administrator(chat, ALL_RIGHTS)
            self._members.put(chat, user, {**record, "is_anonymous": is_anonymous})

    def join(self, chat_id: int, user: JSON, link: str | None) -> JSON:
        """Let a user join a chat, through a link if there is one; see `User.join`."""
        with self._changed:
            return self._links.join(self._directory.chat(chat_id), user, link)

    def add(self, chat_id: int, people: Sequence[JSON], sender: JSON) -> JSON:
        """
        Let someone add members to a chat; see `User.invite`.

        Args:
            chat_id: The chat.
            people: The new members.
            sender: The fields of the message about them that name its sender.
        """
        with self._changed:
            chat = self._directory.chat(chat_id)
            self._rights.check_right(chat, sender, "can_invite_users")
            for person in people:
                self._rights.check_not_banned(chat, person)
            return self._members.add(chat, people, sender)

    def leave(self, chat_id: int, user: JSON, sender: JSON) -> JSON:
        """
        Let a user leave a chat; see `User.leave`.

        Args:
            chat_id: The chat.
            user: The user.
            sender: The fields of the message about it that name its sender.
        """
        with self._changed:
            chat = self._directory.chat(chat_id)
            if self._members.is_gone(chat, user["id"]):
                raise ValueError(
                    f"user {user['id']} cannot leave chat {chat_id} without being a member: let "
                    "them join again"
                )
            return self._members.remove(chat, user, sender)

    def ban(self, chat_id: int, user: JSON, sender: JSON) -> JSON:
        """Let an administrator ban a user from a chat, as for `leave`; see `User.ban`."""
        with self._changed:
            chat = self._directory.chat(chat_id)
            self._rights.check_power(chat, sender, user, "can_restrict_members")
            return self._members.remove(chat, user, sender, BANNED)

    def unban(self, chat_id: int, user: JSON, sender: JSON) -> JSON:
        """Let an administrator lift a ban, as for `leave`; see `User.unban`."""
        with self._changed:
            chat = self._directory.chat(chat_id)
            self._rights.check_right(chat, sender, "can_restrict_members")
            if self._members.get(chat, user["id"])["status"] != "kicked":
                raise ValueError(f"user {user['id']} is not banned in chat {chat_id}")
            return self._members.change(chat, user, LEFT, sender["from"])

    def restrict(
        self, chat_id: int, user: JSON, sender: JSON, given: Mapping[str, Any], until_date: int
    ) -> JSON:
        """
        Let an administrator restrict a user, as for `leave`; see `User.restrict`.

        Args:
            chat_id: The chat.
            user: The user.
            sender: The fields of a message that name the administrator.
            given: The permissions that are left, by their names.
            until_date: The end, in seconds since 1970; 0 is for ever.
        """
        with self._changed:
            chat = self._directory.chat(chat_id)
            if chat["type"] != "supergroup":
                raise ValueError(
                    f"cannot restrict user {user['id']} in chat {chat_id}: only supergroups, whose "
                    "ids start with -100, have restrictions"
                )
            self._rights.check_power(chat, sender, user, "can_restrict_members")
            is_member = is_present(self._members.get(chat, user["id"]))
            left = permissions(given, independent=True)
            record = restricted(left, until_date, is_member=is_member)
            return self._members.change(chat, user, record, sender["from"])

    def promote(self, chat_id: int, user: JSON, sender: JSON, custom_title: str | None) -> JSON:
        """Make a user an administrator of a chat; see `User.promote`."""
        with self._changed:
            chat = self._directory.chat(chat_id)
            self._rights.check_power(chat, sender, user, "can_promote_members")
            self._rights.check_not_banned(chat, user)
            record = administrator(chat, ALL_RIGHTS)
            if custom_title is not None:
                record["custom_title"] = custom_title
            return self._members.change(chat, user, record, sender["from"])

    def demote(self, chat_id: int, user: JSON, sender: JSON) -> JSON:
        """Make a plain member of an administrator, as for `leave`; see `User.demote`."""
        with self._changed:
            chat = self._directory.chat(chat_id)
            self._rights.check_power(chat, sender, user, "can_promote_members")
            if self._members.get(chat, user["id"])["status"] != "administrator":
                raise ValueError(f"user {user['id']} is no administrator of chat {chat_id}")
            return self._members.change(chat, user, MEMBER, sender["from"])

    def pin(self, message: JSON, sender: JSON) -> JSON:
        """
        Let a user pin a message; see `User.pin`.

        Args:
            message: The message as its chat shows it now.
            sender: The fields of the message about it that name its sender.
        """
        if {"business_connection_id", "ephemeral_message_id"} & message.keys():
            raise ValueError(
                "the bot hears nothing of a pin in a business chat, and an ephemeral message "
                "cannot be pinned: pin one of a group or of the private chat with the bot"
            )
        with self._changed:
            chat = self._directory.chat(message["chat"]["id"])
            self._rights.check_right(chat, sender, "can_pin_messages")
            self._history.pin(message)
            return self._service.push(chat, sender, pinned(message))

    def delete(self, message: JSON, sender: JSON) -> JSON | None:
        """Let a user delete a message, as for `pin`; see `User.delete`."""
        with self._changed:
            self._rights.check_delete(message, sender)
            self._history.forget(message)
            connection_id = message.get("business_connection_id")
            if connection_id is None:
                return None
            deleted = {
                "business_connection_id": connection_id,
                "chat": message["chat"],
                "message_ids": [message["message_id"]],
            }
            return self._updates.push({"deleted_business_messages": deleted})

    def create_topic(self, chat_id: int, name: str, sender: JSON) -> JSON:
        """Let a user make a topic; see `User.create_topic`."""
        with self._changed:
            chat = self._directory.chat(chat_id)
            self._rights.check_right(chat, sender, "can_manage_topics")
            return self.topics.create(chat, name, sender)

    def close_topic(self, chat_id: int, topic_id: int, sender: JSON) -> JSON:
        """Let a user close a topic; see `User.close_topic`."""
        with self._changed:
            chat = self._directory.chat(chat_id)
            self._rights.check_close(chat, sender, topic_id)
            return self.topics.close(chat, topic_id, sender)

    def add_bot(self, chat_id: int, sender: JSON, *, is_administrator: bool = False) -> JSON:
        """Let someone add or unblock the bot; see `User.add_bot` and `User.unblock`."""
        with self._changed:
            chat = self._directory.chat(chat_id)
            return self._members.add_bot(chat, sender, is_administrator=is_administrator)

    def remove_bot(self, chat_id: int, sender: JSON) -> JSON:
        """Let someone ban or block the bot; see `User.remove_bot` and `User.block`."""
        with self._changed:
            chat = self._directory.chat(chat_id)
            if self._members.has_owner(chat):
                self._rights.check_right(chat, sender, "can_restrict_members")
            return self._members.remove_bot(chat, sender, BANNED)

    def invite_link(self, chat_id: int, link: str) -> JSON:
        """
        The `ChatInviteLink` of a link that the bot has made.

        Raises `ValueError` if it is unknown, revoked, expired or used up.
        """
        with self._changed:
            return self._links.find(self._directory.chat(chat_id), link)

    def boost(self, chat_id: int, user: JSON) -> JSON:
        """Let a user boost a chat; see `User.boost`."""
        with self._changed:
            return self._boosts.add(self._directory.chat(chat_id), user)

    def unboost(self, chat_id: int, user: JSON) -> JSON:
        """Let a user take a boost back; see `User.unboost`."""
        with self._changed:
            return self._boosts.remove(self._directory.chat(chat_id), user)
