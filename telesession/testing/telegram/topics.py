"""The topics of forums, and of private chats."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from telesession.testing.server.call import JSON, Call, bad_request
from telesession.testing.telegram.directory import GROUPS
from telesession.testing.telegram.history import topic_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from telesession.testing.telegram.directory import Directory
    from telesession.testing.telegram.history import History
    from telesession.testing.telegram.service_messages import ServiceMessages

_GENERAL = 1
_COLOR = 0x6FB9F0


class Topics:
    """
    The topics of each chat.

    A topic that a user writes in exists from then on. The bot writes only in topics that exist.

    Not safe to share between threads by itself: its `BotAPI` calls it under a lock.

    Args:
        directory: The chats and the bot.
        history: The messages in the topics.
        service: Tells the bot of new topics and of their changes.
    """

    def __init__(self, directory: Directory, history: History, service: ServiceMessages) -> None:
        self._directory = directory
        self._history = history
        self._service = service
        # (chat id, topic id) -> the `ForumTopic` with `is_closed` and `is_hidden`, or `None` if
        # it was deleted.
        self._topics: dict[tuple[int, int], JSON | None] = {}

    def methods(self) -> dict[str, Callable[[Call], Any]]:
        """The methods of the Bot API that are answered here, by their names."""
        return {
            "createForumTopic": self._create,
            "editForumTopic": self._edit,
            "closeForumTopic": self._close,
            "reopenForumTopic": self._reopen,
            "deleteForumTopic": self._delete,
            "unpinAllForumTopicMessages": self._unpin_all,
            "editGeneralForumTopic": self._edit,
            "closeGeneralForumTopic": self._close,
            "reopenGeneralForumTopic": self._reopen,
            "hideGeneralForumTopic": self._hide,
            "unhideGeneralForumTopic": self._unhide,
            "unpinAllGeneralForumTopicMessages": self._unpin_all,
        }

    def of(self, chat: JSON) -> list[JSON]:
        """
        The topics of a chat that exist now: each a `ForumTopic` with `is_closed` and `is_hidden`.

        The general topic of a forum has the id 1.
        """
        if chat.get("is_forum"):
            self._know(chat["id"], _GENERAL)
        topics = sorted(
            (topic_id, topic)
            for (chat_id, topic_id), topic in self._topics.items()
            if chat_id == chat["id"] and topic is not None
        )
        return [topic for _, topic in topics]

    def takes(self, chat: JSON, topic_id: int) -> bool:
        """
        Whether a message that the bot sends to a topic of a chat gets there.

        A group without topics ignores the topic, as Bot API servers do since October 2025. A chat
        that the server does not know may have any topic, because a test may hand updates to the bot
        without this server.

        Raises `RefusedError` for a topic that is not there, and for the general one of a forum,
        which has no number for messages.
        """
        if not self._directory.knows(chat["id"]):
            return True
        if chat["type"] != "private" and not chat.get("is_forum"):
            return False
        is_general = topic_id == _GENERAL and chat.get("is_forum")
        if is_general or self._find(chat, topic_id) is None:
            raise bad_request("message thread not found")
        return True

    def check_writer(self, chat: JSON, topic_id: int | None, *, is_administrator: bool) -> None:
        """
        Raise `ValueError` for a topic in which a user cannot write.

        Such a topic is in a group without topics, or was deleted, or is closed while the user is no
        administrator. The number of the general topic of a forum is refused, too.

        Args:
            chat: The chat.
            topic_id: The topic, `None` for none, or the general one of a forum.
            is_administrator: Whether the user is an administrator.
        """
        place = f"chat {chat['id']}"
        if chat["type"] in GROUPS and not chat.get("is_forum"):
            if topic_id is not None and not chat.get("is_direct_messages"):
                raise ValueError(
                    f"cannot write in topic {topic_id} of {place}: it has no topics; make it with "
                    f"bot_api.group({chat['id']}, forum=True)"
                )
            return
        if topic_id == _GENERAL and chat.get("is_forum"):
            raise ValueError(
                f"messages in the general topic of {place} have no number: leave topic out"
            )
        number = topic_id or (_GENERAL if chat.get("is_forum") else None)
        topic = self._topics.get((chat["id"], number), {}) if number else {}
        if topic is None:
            raise ValueError(f"cannot write in topic {number} of {place}: it was deleted")
        if topic.get("is_closed") and not is_administrator:
            raise ValueError(
                f"cannot write in topic {number} of {place}: it is closed; only administrators can"
            )

    def create(self, chat: JSON, name: str, sender: JSON) -> JSON:
        """
        Let a user make a topic, and return the update with the `forum_topic_created`.

        Raises `ValueError` if the chat is no forum.
        """
        if not chat.get("is_forum"):
            raise ValueError(
                f"cannot make a topic in chat {chat['id']}: make the group with "
                f"bot_api.group({chat['id']}, forum=True)"
            )
        return self._add(chat, {"name": name, "icon_color": _COLOR}, sender)

    def close(self, chat: JSON, topic_id: int, sender: JSON) -> JSON:
        """
        Let a user close a topic, and return the update with the `forum_topic_closed`.

        Raises `ValueError` if there is no such topic, or if it is closed.
        """
        topic = self._find(chat, topic_id)
        if topic is None or topic["is_closed"]:
            state = "closed already" if topic else "not there"
            raise ValueError(f"cannot close topic {topic_id} of group {chat['id']}: it is {state}")
        topic["is_closed"] = True
        return self._tell(chat, topic, {"forum_topic_closed": {}}, sender)

    def put(self, chat: JSON, topic_id: int) -> None:
        """Let a forum have a topic; raises `ValueError` if the chat is no forum."""
        if not chat.get("is_forum"):
            raise ValueError(f"group {chat['id']} has no topics: make it with forum=True, too")
        self._know(chat["id"], topic_id)

    def note(self, update: JSON) -> None:
        """Store the topic of a message, if it is in one."""
        message = update.get("message", {})
        if message.get("is_topic_message"):
            self._know(message["chat"]["id"], message["message_thread_id"])

    def _find(self, chat: JSON, topic_id: int) -> JSON | None:
        """A topic, or `None` if it is unknown or was deleted; each forum has the general one."""
        if topic_id == _GENERAL and chat.get("is_forum"):
            return self._know(chat["id"], _GENERAL)
        return self._topics.get((chat["id"], topic_id))

    def _know(self, chat_id: int, topic_id: int) -> JSON | None:
        """A topic, new if it is unknown, or `None` if it was deleted."""
        name = "General" if topic_id == _GENERAL else f"Topic {topic_id}"
        return self._topics.setdefault((chat_id, topic_id), _topic(topic_id, name, _COLOR))

    def _create(self, call: Call) -> JSON:
        created = {
            "name": _name_of(call),
            "icon_color": call.integer("icon_color") or _COLOR,
            **_icon_of(call),
        }
        update = self._add(self._chat(call), created, self._directory.sender)
        return {"message_thread_id": update["message"]["message_thread_id"], **created}

    def _add(self, chat: JSON, created: JSON, sender: JSON) -> JSON:
        """Make a topic, and return the update with the `forum_topic_created`."""
        topic_id = self._new_id(chat["id"])
        topic = _topic(topic_id, created["name"], created["icon_color"]) | created
        self._topics[chat["id"], topic_id] = topic
        event = {"message_id": topic_id, "forum_topic_created": created}
        return self._tell(chat, topic, event, sender)

    def _new_id(self, chat_id: int) -> int:
        """The number of a message, but not that of the general topic."""
        number = self._history.next_message_id(chat_id)
        return self._history.next_message_id(chat_id) if number == _GENERAL else number

    def _edit(self, call: Call) -> bool:
        chat, topic = self._named(call)
        edited = _icon_of(call)
        if call.params.get("name"):
            edited["name"] = _name_of(call)
        changes = {name: value for name, value in edited.items() if topic.get(name, "") != value}
        if not edited:
            return True
        if not changes:
            raise bad_request("TOPIC_NOT_MODIFIED")
        topic.update(changes)
        self._tell(chat, topic, {"forum_topic_edited": changes}, self._directory.sender)
        return True

    def _close(self, call: Call) -> bool:
        return self._set(call, "forum_topic_closed", is_closed=True)

    def _reopen(self, call: Call) -> bool:
        return self._set(call, "forum_topic_reopened", is_closed=False, is_hidden=False)

    def _hide(self, call: Call) -> bool:
        return self._set(call, "general_forum_topic_hidden", is_hidden=True, is_closed=True)

    def _unhide(self, call: Call) -> bool:
        return self._set(call, "general_forum_topic_unhidden", is_hidden=False)

    def _set(self, call: Call, event: str, **state: bool) -> bool:
        """Change the state of a topic, if its first member is another one, and tell the bot."""
        chat, topic = self._named(call)
        name, value = next(iter(state.items()))
        if topic[name] == value:
            raise bad_request("TOPIC_NOT_MODIFIED")
        topic.update(state)
        self._tell(chat, topic, {event: {}}, self._directory.sender)
        return True

    def _delete(self, call: Call) -> bool:
        chat, topic = self._named(call)
        topic_id = topic["message_thread_id"]
        for message in self._history.of_topic(chat["id"], topic_id):
            self._history.forget(message)
        self._topics[chat["id"], topic_id] = None
        return True

    def _unpin_all(self, call: Call) -> bool:
        chat, topic = self._named(call)
        number = _number_of(topic)
        for message in self._history.pinned(chat["id"]):
            if topic_of(message) == number:
                self._history.unpin(message)
        return True

    def _named(self, call: Call) -> tuple[JSON, JSON]:
        """The chat and the topic that a call names."""
        chat = self._chat(call)
        topic_id = _GENERAL if "General" in call.method else call.integer("message_thread_id")
        topic = self._find(chat, topic_id) if topic_id else None
        if topic is None:
            raise bad_request("TOPIC_ID_INVALID")
        return chat, topic

    def _chat(self, call: Call) -> JSON:
        chat = self._directory.chat_to_write(call.params.get("chat_id", ""))
        if not _has_topics(chat):
            raise bad_request("the chat is not a forum")
        return chat

    def _tell(self, chat: JSON, topic: JSON, event: JSON, sender: JSON) -> JSON:
        number = _number_of(topic)
        place = {"message_thread_id": number, "is_topic_message": True} if number else {}
        return self._service.push(chat, sender, {**place, **event})


def _has_topics(chat: JSON) -> bool:
    return bool(chat["type"] == "private" or chat.get("is_forum"))


def _topic(topic_id: int, name: str, color: int) -> JSON:
    return {
        "message_thread_id": topic_id,
        "name": name,
        "icon_color": color,
        "is_closed": False,
        "is_hidden": False,
    }


def _number_of(topic: JSON) -> int | None:
    """The `message_thread_id` of the messages in a topic; those in the general one have none."""
    topic_id: int = topic["message_thread_id"]
    return None if topic_id == _GENERAL else topic_id


def _name_of(call: Call) -> str:
    name = str(call.params.get("name") or "").strip()
    if not name:
        raise bad_request("title must be non-empty")
    return name


def _icon_of(call: Call) -> JSON:
    icon = call.params.get("icon_custom_emoji_id")
    return {} if icon is None else {"icon_custom_emoji_id": icon}
