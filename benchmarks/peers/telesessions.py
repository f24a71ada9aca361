"""telesession: a counter in memory or on a storage, and the larger sessions of a bot."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from benchmarks.peers.on_telebot import (
    Handler,
    Pause,
    Peer,
    PlainPeer,
    ThreadedPlainPeer,
    WebhookPlainPeer,
    run,
)
from benchmarks.peers.turns import USER, Turn, parse_turn
from telesession import (
    MemoryStorage,
    PostgresStorage,
    RedisStorage,
    Sessions,
    SQLiteStorage,
    Storage,
    on_commit,
    receive,
    ttl,
    use_sequential_workers,
)

if TYPE_CHECKING:
    from telebot import TeleBot, types

SEVEN_FIELDS: dict[str, Any] = {
    "counter": 0,
    "language": "en",
    "name": "Ann of the long and winding name",
    "step": "checkout",
    "cart": {"apple": 3, "pear": 1, "quince": 12},
    "seen": list(range(20)),
    "settings": {"notify": True, "quiet_from": 22, "quiet_to": 7},
}


@dataclass
class Profile:
    counter: int = 0
    name: str = "Ann"
    language: str = "en"
    rating: float = 0.5
    step: str | None = None


@dataclass
class Item:
    name: str = "tea"
    count: int = 1
    price: float = 2.5


@dataclass
class Order:
    counter: int = 0
    items: list[Item] = field(default_factory=lambda: [Item() for _ in range(10)])


def make_storage(place: str) -> Storage:
    """Return the storage at a path or URL, a new one in memory without one."""
    if place.startswith("redis://"):
        return RedisStorage(place)
    if place.startswith("postgresql://"):
        return PostgresStorage(place)
    return SQLiteStorage(place) if place else MemoryStorage()


class SessionPeer(Peer):
    """One session for each user."""

    def __init__(self, place: str, initial: Any, **options: Any) -> None:
        super().__init__()
        self.storage = make_storage(place)
        self.sessions = Sessions(initial=initial, storage=self.storage, **options)

    def make_handler(self, bot: TeleBot, pause: Pause) -> Handler:
        @self.sessions.with_session
        def count(message: types.Message, session: Any) -> None:
            counter = session.counter
            pause()
            session.counter = counter + 1

        return count

    def total(self, bot: TeleBot) -> int:
        session: Any = self.sessions.peek(str(USER))
        return 0 if session is None else int(session.counter)


class TwoSessionsPeer(SessionPeer):
    """Two sessions in one handler, both written."""

    def make_handler(self, bot: TeleBot, pause: Pause) -> Handler:
        carts = Sessions(initial={"counter": 0}, storage=self.storage, name="cart")

        @self.sessions.with_session
        @carts.with_session
        def count(message: types.Message, session: Any, cart: Any) -> None:
            counter = session.counter
            pause()
            session.counter = counter + 1
            cart.counter += 1

        return count


class ReadPeer(SessionPeer):
    """A handler that only reads. It counts nothing."""

    def make_handler(self, bot: TeleBot, pause: Pause) -> Handler:
        @self.sessions.with_session
        def read(message: types.Message, session: Any) -> int:
            counter: int = session.counter
            return counter

        return read


class WorkersPeer(SessionPeer):
    """Sequential workers, beside telebot's own threads."""

    is_threaded = True

    def counting(self, handler: Handler) -> Handler:
        # An update ends in the commit of its handler, unless a function is around the handler.
        return handler

    def make_handler(self, bot: TeleBot, pause: Pause) -> Handler:
        @self.sessions.with_session
        def count(message: types.Message, session: Any) -> None:
            counter = session.counter
            pause()
            session.counter = counter + 1
            on_commit(self.done.count)

        return count

    def prepare(self, bot: TeleBot) -> None:
        use_sequential_workers(bot)


class InboxPeer(WorkersPeer):
    """Workers with an inbox that get the updates of a webhook."""

    def __init__(self, place: str, initial: Any) -> None:
        super().__init__(place, initial)
        self.make_updates = WebhookPlainPeer().make_updates  # type: ignore[method-assign]

    def prepare(self, bot: TeleBot) -> None:
        use_sequential_workers(bot, inbox=self.storage)

    def feed(self, bot: TeleBot, updates: list[Any]) -> None:
        for body in updates:
            receive(bot, body)


COUNTER = {"counter": 0}
EXPIRING = {"counter": 0, "code": ttl("1234", 3600)}

PEERS: dict[str, Callable[[str], Peer]] = {
    "counter": lambda place: SessionPeer(place, COUNTER),
    "read": lambda place: ReadPeer(place, COUNTER),
    "typed": lambda place: SessionPeer(place, Profile),
    "nested": lambda place: SessionPeer(place, Order),
    "seven": lambda place: SessionPeer(place, SEVEN_FIELDS),
    "ttl": lambda place: SessionPeer(place, EXPIRING),
    "lifetime": lambda place: SessionPeer(place, COUNTER, lifetime=3600),
    "two": lambda place: TwoSessionsPeer(place, COUNTER),
    "workers": lambda place: WorkersPeer(place, COUNTER),
    "inbox": lambda place: InboxPeer(place, COUNTER),
}
PLAIN: dict[str, Callable[[], Peer]] = {"workers": ThreadedPlainPeer, "inbox": WebhookPlainPeer}


def main(turn: Turn) -> None:
    run(PEERS[turn.variant](turn.storage), PLAIN.get(turn.variant, PlainPeer)(), turn)


if __name__ == "__main__":
    main(parse_turn(list(PEERS)))
