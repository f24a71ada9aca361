"""The chats, users and business accounts that the loopback Bot API knows."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from telesession.testing.server.call import GROUP_UPGRADED, RefusedError, bad_request
from telesession.testing.server.updates import payload_of

if TYPE_CHECKING:
    from telesession.testing.server.call import JSON

#: The types of chats that are groups.
GROUPS = frozenset({"group", "supergroup"})

_OWNER = {"id": 1, "is_bot": False, "first_name": "Owner"}


class Directory:
    """
    The chats, users and business accounts that are known, those of one `BotAPI`.

    Not safe to share between threads by itself: its `BotAPI` calls it under a lock.
    """

    def __init__(self) -> None:
        #: The `User` that the bot is: the owner of the token that was used last.
        self.bot = bot_user("")
        self._chats: dict[int, JSON] = {}
        # The ids of the chats that are not made up.
        self._known: set[int] = set()
        self._users: dict[int, JSON] = {}
        # connection id -> the `User` of the business account
        self._owners: dict[str, JSON] = {}
        # The connections that their owners have ended.
        self._ended: set[str] = set()
        # chat id -> the fields of its `ChatFullInfo` that the bot has set
        self._details: defaultdict[int, JSON] = defaultdict(dict)
        # chat id -> the reason why the bot cannot write there
        self._closed: dict[int, str] = {}
        # id of a former group -> the id of the supergroup that it has become
        self._supergroups: dict[int, int] = {}

    @property
    def sender(self) -> JSON:
        """The fields of a message that say that the bot sends it."""
        return {"from": self.bot}

    def chat(self, chat_id: int | str) -> JSON:
        """
        The chat with an id or an `@username`; an unknown one is made up from the look of its id.

        Raises `RefusedError` if it is neither.
        """
        name = str(chat_id)
        if name.startswith("@"):
            known = [chat for chat in self._chats.values() if chat.get("username") == name[1:]]
            return known[0] if known else self._make_channel(name[1:])
        try:
            number = int(name)
        except ValueError:
            raise bad_request("chat not found") from None
        return self._chats.setdefault(number, _make_chat(number))

    def add_chat(self, chat: JSON) -> None:
        """Store a chat, in place of its former fields."""
        self._chats[chat["id"]] = chat
        self._known.add(chat["id"])

    def knows(self, chat_id: int) -> bool:
        """Whether a test or a user has told of a chat, so that it is not made up."""
        return chat_id in self._known

    def chat_to_write(self, chat_id: int | str) -> JSON:
        """
        The chat with an id, if the bot can write there.

        Raises `RefusedError` if the bot cannot write there, because it was blocked or removed, or
        because the group is a supergroup now.
        """
        chat = self.chat(chat_id)
        if supergroup := self._supergroups.get(chat["id"]):
            raise RefusedError(400, GROUP_UPGRADED, migrate_to_chat_id=supergroup)
        return self._not_closed(chat)

    def chat_to_read(self, chat_id: int | str) -> JSON:
        """
        The chat with an id, if the bot can see it.

        Raises `RefusedError` if it is a group or a channel that the bot is no member of.
        """
        chat = self.chat(chat_id)
        return chat if chat["type"] == "private" else self._not_closed(chat)

    def _not_closed(self, chat: JSON) -> JSON:
        if reason := self._closed.get(chat["id"]):
            raise RefusedError(403, f"Forbidden: {reason}")
        return chat

    def migrate(self, chat_id: int, supergroup_id: int) -> None:
        """Note that a group has become a supergroup, which gets the bot's messages from now on."""
        self._supergroups[chat_id] = supergroup_id

    def details(self, chat_id: int) -> JSON:
        """
        The fields of the `ChatFullInfo` of a chat that the bot has set; a caller may change them.

        See https://core.telegram.org/bots/api#chatfullinfo.
        """
        return self._details[chat_id]

    def close_chat(self, chat_id: int, reason: str) -> None:
        """Refuse the bot's messages to a chat, such as with `bot was blocked by the user`."""
        self._closed[chat_id] = reason

    def open_chat(self, chat_id: int) -> None:
        """Let the bot write to a chat again."""
        self._closed.pop(chat_id, None)

    def user(self, user_id: int) -> JSON:
        """The user with an id; an unknown one is made up."""
        made_up = {"id": user_id, "is_bot": False, "first_name": f"User {user_id}"}
        return self._users.setdefault(user_id, made_up)

    def add_user(self, user: JSON) -> None:
        """Store a user, in place of the former fields."""
        self._users[user["id"]] = user

    def is_bot(self, user_id: int) -> bool:
        """Whether an id is that of the bot, and of no user; tokens for tests have low numbers."""
        return user_id == self.bot["id"] and user_id not in self._users

    def owner(self, connection_id: str) -> JSON:
        """
        The owner of the business account that a connection belongs to.

        As long as no connection is known, each one exists and has a made-up owner: a test may hand
        its updates to the bot without this server.

        Raises `RefusedError` if there is no such connection.
        """
        if self._owners and connection_id not in self._owners:
            raise bad_request("business connection not found")
        return self._owners.get(connection_id, dict(_OWNER))

    def add_owner(self, connection_id: str, owner: JSON) -> None:
        """Store the owner of a business account."""
        self._owners[connection_id] = owner

    def add_connection(self, connection_id: str) -> None:
        """Store a connection to a business account; an unknown owner is made up."""
        self._owners.setdefault(connection_id, dict(_OWNER))

    def note(self, update: JSON) -> None:
        """Store the business connection in an update, if there is one."""
        _, payload = payload_of(update)
        if "business_connection" in update:
            self.add_owner(payload["id"], payload["user"])
            self.connect(payload["id"], is_enabled=payload["is_enabled"])
        message = payload.get("message") or payload
        if connection_id := message.get("business_connection_id"):
            self.add_connection(connection_id)

    def is_connected(self, connection_id: str) -> bool:
        """Whether a connection to a business account is enabled, as each is at first."""
        return connection_id not in self._ended

    def connect(self, connection_id: str, *, is_enabled: bool) -> None:
        """Enable or end a connection to a business account."""
        if is_enabled:
            self._ended.discard(connection_id)
        else:
            self._ended.add(connection_id)

    def _make_channel(self, username: str) -> JSON:
        """A channel of which only the `@username` is known."""
        number = -(10**12) - 1 - len(self._chats)
        self.add_chat({"id": number, "type": "channel", "title": username, "username": username})
        return self._chats[number]


def bot_user(token: str) -> JSON:
    """The `User` that the bot with a token is."""
    number = token.partition(":")[0]
    return {
        "id": int(number) if number.isdecimal() else 1,
        "is_bot": True,
        "first_name": "Test Bot",
        "username": "test_bot",
    }


def _make_chat(chat_id: int) -> JSON:
    if chat_id > 0:
        return {"id": chat_id, "type": "private", "first_name": f"User {chat_id}"}
    kind = "supergroup" if str(chat_id).startswith("-100") else "group"
    return {"id": chat_id, "type": kind, "title": f"Group {chat_id}"}
