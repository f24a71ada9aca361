"""Albums: messages that arrive one by one and belong together."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterable
from typing import Any

from telesession.forks import PerProcess

# Where a bot keeps its albums.
_ALBUMS = "_telesession_albums"

# The methods by which messages reach a bot.
_METHODS = (
    "process_new_updates",
    "process_new_messages",
    "process_new_business_message",
    "process_new_channel_posts",
)

# Seconds without a further message after which an album is complete. Telegram does not tell how
# many there are, and sends them at the same time.
_QUIET = 0.5

# An album has at most so many messages (https://core.telegram.org/bots/api#sendmediagroup).
_FULL = 10

# So many albums are remembered, the latest ones.
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


class _Arrived:
    """
    The messages of one album that have arrived.

    Attributes:
        note: The id of the album, and the numbers of the messages that a step got.
        deciding: The lock of the thread that looks whether a step gets the album. Without it, a
            message that another thread looks at meanwhile would reach a step and a handler.
    """

    def __init__(self, group_id: str) -> None:
        self.note: list[Any] = [group_id, []]
        self.deciding = threading.Lock()
        # number -> message
        self._messages: dict[int, Any] = {}
        self._changed = threading.Condition()
        self._is_gathering = self._was_given = False

    def add(self, message: Any) -> None:
        """Learn of a message."""
        with self._changed:
            if self._messages.setdefault(message.message_id, message) is message:
                self._changed.notify_all()

    def is_given(self, message: Any) -> bool | None:
        """Whether a step gets a message with the album, or got it; `None` before any step."""
        with self._changed:
            if self._was_given:
                return message.message_id in self.note[1]
            return True if self._is_gathering else None

    def begin(self, message: Any, *, is_list: bool) -> None:
        """Let a step get the whole album, or this message alone. The handlers get the others."""
        self.add(message)
        with self._changed:
            if is_list:
                self._is_gathering = True
            else:
                self._give([message.message_id])

    def leave(self) -> None:
        """Let no step get it any more, unless one does already."""
        with self._changed:
            self._was_given = self._was_given or not self._is_gathering

    def gather(self) -> Album:
        """Wait until the album is complete, and give it to the step."""
        with self._changed:
            while len(self._messages) < _FULL and self._changed.wait(_QUIET):
                pass
            self._give(sorted(self._messages))
            return Album(self._messages[number] for number in self.note[1])

    def _give(self, numbers: list[int]) -> None:
        self.note[1] = numbers
        self._was_given = True


class Albums:
    """
    The albums that have arrived for one bot, in this process.

    Keep one for as long as the bot listens for answers. Any thread may use it.
    """

    def __init__(self) -> None:
        # id -> its messages; made anew in a forked process, whose locks may be taken.
        self._arrived: PerProcess[dict[str, _Arrived]] = PerProcess()
        # The methods that were replaced on the bot, and what is there now.
        self._replaced: dict[str, Any] = {}

    def install(self, bot: Any) -> None:
        """Learn of all messages that arrive for a bot."""
        setattr(bot, _ALBUMS, self)
        for name in _METHODS:
            if hasattr(bot, name):
                self._replaced[name] = self._noticing(getattr(bot, name))
                setattr(bot, name, self._replaced[name])

    def uninstall(self, bot: Any) -> None:
        """Let the bot be as it was before, but for methods that others have put on top."""
        vars(bot).pop(_ALBUMS, None)
        for name, method in self._replaced.items():
            if vars(bot).get(name) is not method:
                continue
            former = method.__wrapped__
            if former == getattr(type(bot), name).__get__(bot):
                delattr(bot, name)
            else:
                setattr(bot, name, former)

    @staticmethod
    def notice(bot: Any, contents: Iterable[Any]) -> None:
        """Learn of messages that have arrived, before a handler gets them; others are skipped."""
        albums: Albums | None = vars(bot).get(_ALBUMS)
        if albums is not None:
            albums._add(contents)

    def of(self, message: Any) -> _Arrived:
        """The album of a message."""
        arrived, group_id = self._arrived.get(dict), message.media_group_id
        found = arrived.get(group_id)
        if found is None:
            found = arrived.setdefault(group_id, _Arrived(group_id))
            while len(arrived) > _REMEMBERED:
                # Another thread may be doing the same.
                arrived.pop(next(iter(arrived), ""), None)
        return found

    def _add(self, contents: Iterable[Any]) -> None:
        for content in contents:
            if getattr(content, "media_group_id", None):
                self.of(content).add(content)

    def _noticing(self, process: Callable[[Any], Any]) -> Callable[[Any], Any]:
        @functools.wraps(process)
        def noticing(updates: Any) -> Any:
            # A list of updates, or of messages alone.
            contents = [content for each in updates for content in (each, *messages_of(each))]
            self._add(contents)
            return process(updates)

        return noticing


def messages_of(update: Any) -> list[Any]:
    """The messages of an update that may be parts of an album; `None` for each missing one."""
    return [getattr(update, kind, None) for kind in ("message", "business_message", "channel_post")]
