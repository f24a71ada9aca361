"""A bot that counts in a session, and does something else in the same handler."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from support.threads import in_thread
from support.updates import ANNA, said
from telesession import MemoryStorage, Session, Sessions, SessionStateStorage, use_questions

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.bots import Host
    from telesession import Storage

USER = ANNA["id"]
QUESTION = f"sender_in_chat:{USER}:{USER}"


class Undone(Exception):
    """Raised by handlers in the end."""


def step(message: Any) -> None:
    """Gets an answer."""


class Counter:
    """
    A bot that counts in a session, does something else, looks around, and returns or raises.

    Attributes:
        storage: Where its sessions, states and questions are.
        sessions: Its sessions.
        states: The states of its bot.
        bot: The bot.
    """

    def __init__(self, host: Host, storage: Storage | None = None) -> None:
        self.storage = storage or MemoryStorage()
        self.sessions = Sessions(storage=self.storage, initial={"counter": 0})
        self.states = SessionStateStorage(self.storage)
        self.host = host
        self.bot: Any = host.bot
        self.bot.current_states = self.states
        use_questions(host.bot, self.sessions, steps=[step])

    @property
    def question_place(self) -> str:
        """The key of the sender's question in the storage."""
        return f"@questions-{self.bot.bot_id}:{QUESTION}"

    @property
    def state_place(self) -> str:
        """The key of the sender's state in the storage."""
        return f"@telebot-states:{self.bot.bot_id}:::{USER}:{USER}"

    def handle(self, act: Callable[[Any], object], look: Callable[[], Any], raises: bool) -> Any:
        """The result of `look` in another thread, while the handler has its session."""
        seen: list[Any] = []

        @self.sessions.with_session
        def handler(message: Any, session: Session) -> None:
            session.counter += 1
            act(message)
            seen.append(in_thread(look))
            if raises:
                raise Undone

        self.host.bot.register_message_handler(handler)
        self.host.deliver(said("hi"))
        assert [Undone] * raises == list(map(type, self.host.raised))
        counted = self.sessions.peek(USER)
        assert raises == (counted is None)
        return seen[0]
