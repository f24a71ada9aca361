"""The members of the chats, and the updates about their changes."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from telesession.testing.server.updates import payload_of
from telesession.testing.telegram import content
from telesession.testing.telegram.directory import GROUPS
from telesession.testing.telegram.rights import (
    ALL_PERMISSIONS,
    ALL_RIGHTS,
    LEFT,
    MEMBER,
    administrator,
    usual_permissions,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from telesession.testing.server.call import JSON
    from telesession.testing.server.updates import Updates
    from telesession.testing.telegram.directory import Directory
    from telesession.testing.telegram.service_messages import ServiceMessages

# The types of chats with members.
_COMMON = GROUPS | {"channel"}

# The kinds of updates that a bot gets about a chat which it is no member of.
_HEARD_OUTSIDE = frozenset({"my_chat_member", "guest_message"})

#: The statuses of an administrator, and of the owner.
ADMINISTRATORS = frozenset({"creator", "administrator"})

# The key of the bot, whose id depends on the token, which may become known later.
_BOT = 0


class Members:
    """
    The members of each chat with their status, as https://core.telegram.org/bots/api#chatmember.

    At first the bot is an administrator of every group and channel with all rights, and the users
    of groups are unknown. A user who writes in a group becomes a member, but a banned one stays
    banned.

    Not safe to share between threads by itself: its `BotAPI` calls it under a lock.

    Args:
        directory: The users, and the chats that the bot cannot write to.
        service: Tells the bot of new members and of those who are gone.
        updates: The queue of updates.
    """

    def __init__(self, directory: Directory, service: ServiceMessages, updates: Updates) -> None:
        self._directory = directory
        self._service = service
        self._updates = updates
        # (chat id, user id or `_BOT`) -> the fields of the `ChatMember` beside the user
        self._records: dict[tuple[int, int], JSON] = {}

    def get(self, chat: JSON, user_id: int) -> JSON:
        """The `ChatMember` that a user is in a chat; `left` for an unknown one."""
        return self._member(chat, _BOT if self._directory.is_bot(user_id) else user_id)

    def bot_in(self, chat: JSON) -> JSON:
        """The `ChatMember` that the bot is in a chat."""
        return self._member(chat, _BOT)

    def is_gone(self, chat: JSON, user_id: int) -> bool:
        """Whether a user has left a chat or is banned there; an unknown user may be a member."""
        return self._records.get((chat["id"], user_id), {}).get("status") in {"left", "kicked"}

    def has_owner(self, chat: JSON) -> bool:
        """Whether the owner of a chat is known."""
        return any(one["status"] == "creator" for one in self.present(chat))

    def may(self, chat: JSON, user_id: int, name: str) -> bool:
        """Whether a user has a right or a permission in a group, such as `can_pin_messages`."""
        member = self.get(chat, user_id)
        status = member["status"]
        if status in {"creator", "kicked"}:
            return bool(status == "creator")
        chosen = self._directory.details(chat["id"]).get("permissions") or usual_permissions(chat)
        permitted = bool(chosen.get(name))
        if status == "administrator":
            return permitted or bool(member.get(name, name in ALL_PERMISSIONS))
        return permitted and bool(member.get(name, True))

    def hears(self, update: JSON) -> bool:
        """
        Whether the bot gets an update. It gets none of a group or a channel that it is not in.

        It does get its own changes there, and the messages that summon it.
        """
        kind, payload = payload_of(update)
        chat = payload.get("chat") or payload.get("message", {}).get("chat")
        if kind in _HEARD_OUTSIDE or not chat or chat.get("type") not in _COMMON:
            return True
        gone = payload.get("left_chat_member")
        return is_present(self.bot_in(chat)) or bool(gone and self._key(gone) == _BOT)

    def present(self, chat: JSON) -> list[JSON]:
        """The `ChatMember` of each member that a chat has now, the bot first."""
        known = [key for chat_id, key in self._records if chat_id == chat["id"]]
        members = [self._member(chat, key) for key in dict.fromkeys([_BOT, *known])]
        return [member for member in members if is_present(member)]

    def administrators(self, chat: JSON) -> list[JSON]:
        """The `ChatMember` of the owner and of each administrator of a chat, the bot first."""
        return [one for one in self.present(chat) if one["status"] in ADMINISTRATORS]

    def put(self, chat: JSON, user: JSON, record: JSON) -> None:
        """Let a user have a status in a chat, without any update."""
        key = self._key(user)
        self._records[chat["id"], key] = record
        if key == _BOT:
            self._let_bot_write(chat, record)
        else:
            self._directory.add_user(user)

    def change(self, chat: JSON, user: JSON, record: JSON, by: JSON, **details: Any) -> JSON:
        """
        Let a user have a status in a chat, and return the update about it.

        That is a `my_chat_member` for the bot, else a `chat_member`. As in Telegram, a bot that is
        no administrator gets no `chat_member`.

        Args:
            chat: The chat.
            user: The user.
            record: The new fields of the `ChatMember` beside the user.
            by: The user who made the change.
            details: Further fields of https://core.telegram.org/bots/api#chatmemberupdated.
        """
        key = self._key(user)
        old = self._member(chat, key)
        self.put(chat, user, record)
        changed = {
            "chat": dict(chat),
            "from": by,
            "date": int(time.time()),
            "old_chat_member": old,
            "new_chat_member": self._member(chat, key),
            **details,
        }
        if key == _BOT:
            return self._updates.push({"my_chat_member": changed})
        update = {"chat_member": changed}
        is_administrator = self._record(chat, _BOT)["status"] == "administrator"
        return self._updates.push(update) if is_administrator else update

    def add(
        self,
        chat: JSON,
        people: Sequence[JSON],
        sender: JSON,
        record: JSON | None = None,
        *,
        by: JSON | None = None,
        **details: Any,
    ) -> JSON:
        """
        Let users become members of a chat, and return the first update about it.

        That is the message with the `new_chat_members`. In a channel there is no message; then it
        is the first `chat_member`.

        Args:
            chat: The chat.
            people: The new members.
            sender: The fields of the message that name its sender.
            record: The new fields of each `ChatMember`, by default those of a plain member, or of
                a restricted one who comes back.
            by: As for `change`, by default the sender.
            details: As for `change`.
        """
        updates = []
        if chat["type"] in GROUPS:
            updates.append(self._service.push(chat, sender, content.new_chat_members(people)))
        for person in people:
            joined = record or _joined(self._record(chat, self._key(person)))
            updates.append(self.change(chat, person, joined, by or sender["from"], **details))
        return updates[0]

    def remove(self, chat: JSON, user: JSON, sender: JSON, record: JSON | None = None) -> JSON:
        """
        Remove a user from a chat, and return the first update about it.

        That is the message with the `left_chat_member`. For a user who was no member, and in a
        channel, there is no message; then it is the `chat_member` or `my_chat_member`.

        Args:
            chat: The chat.
            user: The user.
            sender: The fields of the message that name its sender.
            record: The new fields of the `ChatMember`, by default those of a user who left.
        """
        old = self._record(chat, self._key(user))
        updates = []
        if chat["type"] in GROUPS and is_present(old):
            updates.append(self._service.push(chat, sender, content.left_chat_member(user)))
        updates.append(self.change(chat, user, record or _gone(old), sender["from"]))
        return updates[0]

    def add_bot(self, chat: JSON, sender: JSON, *, is_administrator: bool) -> JSON:
        """
        Let someone add the bot to a chat, change its rights there or unblock it.

        Returns the `my_chat_member`.

        Args:
            chat: The chat.
            sender: As for `add`.
            is_administrator: Whether it has all rights, else it is a plain member.
        """
        if chat["type"] != "private":
            # The bot is in each chat of a test from the start, but it joins only now.
            self._records.setdefault((chat["id"], _BOT), LEFT)
        bot = self._directory.bot
        is_new = not is_present(self._record(chat, _BOT))
        record = administrator(chat, ALL_RIGHTS) if is_administrator else MEMBER
        update = self.change(chat, bot, record, sender["from"])
        if is_new and chat["type"] in GROUPS:
            self._service.push(chat, sender, content.new_chat_members([bot]))
        return update

    def remove_bot(self, chat: JSON, sender: JSON, record: JSON) -> JSON:
        """Remove the bot from a chat, and return the `my_chat_member`."""
        bot = self._directory.bot
        was_present = is_present(self._record(chat, _BOT))
        update = self.change(chat, bot, record, sender["from"])
        if was_present and chat["type"] in GROUPS:
            self._service.push(chat, sender, content.left_chat_member(bot))
        return update

    def note(self, update: JSON) -> None:
        """Store the members of a group that a message of a user names."""
        message = update.get("message", {})
        chat = message.get("chat", {})
        if chat.get("type") not in GROUPS:
            return
        if former := message.get("migrate_from_chat_id"):
            self._copy_all(former, chat["id"])
        if "new_chat_members" in message:
            for user in message["new_chat_members"]:
                self.put(chat, user, _joined(self._record(chat, self._key(user))))
        elif "from" in message and "sender_chat" not in message:
            self._note_sender(chat, message["from"])
        if user := message.get("left_chat_member"):
            self.put(chat, user, _gone(self._record(chat, self._key(user))))

    def _note_sender(self, chat: JSON, user: JSON) -> None:
        record = self._record(chat, self._key(user))
        self.put(chat, user, record if record["status"] == "kicked" else _joined(record))

    def _member(self, chat: JSON, key: int) -> JSON:
        user = self._directory.bot if key == _BOT else self._directory.user(key)
        return {"user": user, **self._record(chat, key)}

    def _record(self, chat: JSON, key: int) -> JSON:
        """The fields of a `ChatMember` beside the user, as they are at this time."""
        record = self._records.get((chat["id"], key))
        if record is None:
            return _first_record(chat, key)
        if 0 < record.get("until_date", 0) <= time.time():
            return _expired(record)
        return record

    def _let_bot_write(self, chat: JSON, record: JSON) -> None:
        kind = chat["type"]
        if is_present(record):
            self._directory.open_chat(chat["id"])
        elif kind == "private":
            self._directory.close_chat(chat["id"], "bot was blocked by the user")
        elif record["status"] == "kicked":
            self._directory.close_chat(chat["id"], f"bot was kicked from the {kind} chat")
        else:
            self._directory.close_chat(chat["id"], f"bot is not a member of the {kind} chat")

    def _copy_all(self, from_chat_id: int, chat_id: int) -> None:
        for (known_id, key), record in list(self._records.items()):
            if known_id == from_chat_id:
                self._records[chat_id, key] = record

    def _key(self, user: JSON) -> int:
        is_bot = user.get("is_bot") and user["id"] == self._directory.bot["id"]
        return _BOT if is_bot else int(user["id"])


def is_present(member: JSON) -> bool:
    """Whether the user of a `ChatMember` is in the chat."""
    status = member["status"]
    return status not in {"left", "kicked"} and bool(member.get("is_member", True))


def _first_record(chat: JSON, key: int) -> JSON:
    """The record of a user before any change."""
    if chat["type"] == "private":
        return MEMBER
    return administrator(chat, ALL_RIGHTS) if key == _BOT else LEFT


def _joined(record: JSON) -> JSON:
    """The record of a user who comes, or writes."""
    if record["status"] == "restricted":
        return {**record, "is_member": True}
    return record if is_present(record) else MEMBER


def _gone(record: JSON) -> JSON:
    """The record of a user who goes, which a ban outlasts."""
    if record["status"] == "restricted":
        return {**record, "is_member": False}
    return record if record["status"] == "kicked" else LEFT


def _expired(record: JSON) -> JSON:
    """The record of a user whose ban, restriction or subscription is over."""
    is_member = record["status"] == "restricted" and record["is_member"]
    return MEMBER if is_member else LEFT
