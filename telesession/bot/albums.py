"""Albums: messages that arrive one by one and belong together."""

from __future__ import annotations

import threading
from typing import Any, Literal

from telesession.forks import PerProcess

# Seconds without a further message after which an album is complete. Telegram does not tell the
# number of messages, and sends all at the same time.
_QUIET = 0.5

# The largest number of messages of an album (https://core.telegram.org/bots/api#sendmediagroup).
_FULL = 10

# The number of albums that are remembered: the latest ones.
_REMEMBERED = 1000


class Album(list[Any]):
    """
    The messages of an album, in their order.

    It also has the attributes of its first message, so key functions find the sender.
    """

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or not self:
            raise AttributeError(name)
        return getattr(self[0], name)


class Arrived:
    """
    The messages of one album that have arrived, and the decision about them.

    The first message that is handled decides for all: they are an answer, or they go to the
    handlers. Threads that handle the other messages wait for the decision.

    Attributes:
        note: The id of the album, and the numbers of the messages that a step got.
    """

    def __init__(self, group_id: str) -> None:
        self.note: list[Any] = [group_id, []]
        # number -> message
        self._messages: dict[int, Any] = {}
        self._changed = threading.Condition()
        self._state: Literal["new", "deciding", "gathering", "decided"] = "new"

    def add(self, message: Any) -> None:
        """Add a message."""
        with self._changed:
            if self._messages.setdefault(message.message_id, message) is message:
                self._changed.notify_all()

    def is_given(self, message: Any) -> bool | None:
        """Whether a step gets a message with the album, or got it; `None` before a decision."""
        with self._changed:
            if self._state == "decided":
                return message.message_id in self.note[1]
            return True if self._state == "gathering" else None

    def begin(self) -> bool:
        """Whether this thread decides; if another one does, it waits for the decision."""
        with self._changed:
            while self._state == "deciding":
                self._changed.wait()
            if self._state != "new":
                return False
            self._state = "deciding"
            return True

    def leave(self) -> None:
        """Leave all messages to the handlers, unless a step gets some."""
        with self._changed:
            if self._state in ("new", "deciding"):
                self._decide([])

    def give_only(self, message: Any) -> Any:
        """Give one message to a step, and leave the others to the handlers."""
        with self._changed:
            self._decide([message.message_id])
        return message

    def gather(self, message: Any) -> Album:
        """Wait until the album is complete, and give it to a step."""
        self.add(message)
        with self._changed:
            self._state = "gathering"
            self._changed.notify_all()
            while len(self._messages) < _FULL and self._changed.wait(_QUIET):
                pass
            album = Album(self._messages[number] for number in sorted(self._messages))
            self._decide(sorted(self._messages))
            return album

    def _decide(self, numbers: list[int]) -> None:
        self.note[1] = numbers
        self._state = "decided"
        self._messages.clear()
        self._changed.notify_all()


class Albums:
    """
    The albums that have arrived for one bot, in this process.

    Keep one for as long as the bot listens for answers. Any thread may use it.
    """

    def __init__(self) -> None:
        # id -> its messages; made anew in a forked process, whose locks may be taken.
        self._arrived: PerProcess[dict[str, Arrived]] = PerProcess()

    def notice(self, message: Any) -> None:
        """Add a message of an album that has arrived, before a handler gets it."""
        self.of(message).add(message)

    def of(self, message: Any) -> Arrived:
        """The album of a message."""
        arrived, group_id = self._arrived.get(dict), message.media_group_id
        found = arrived.get(group_id)
        if found is None:
            found = arrived.setdefault(group_id, Arrived(group_id))
            while len(arrived) > _REMEMBERED:
                # Another thread may be doing the same.
                arrived.pop(next(iter(arrived), ""), None)
        return found
