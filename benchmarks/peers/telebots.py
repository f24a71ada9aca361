"""telebot's own data of a user: `retrieve_data`, and the `StateContext` of its middleware."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from telebot.states.sync import StateContext, StateMiddleware
from telebot.storage import StateMemoryStorage, StatePickleStorage, StateRedisStorage

from benchmarks.peers.on_telebot import Handler, Pause, Peer, PlainPeer, run
from benchmarks.peers.turns import USER, Turn, parse_turn

if TYPE_CHECKING:
    from telebot import TeleBot, types


def make_storage(place: str) -> Any:
    """Return the storage at a path or URL, that in memory without one."""
    if place.startswith("redis://"):
        return StateRedisStorage(redis_url=place)
    return StatePickleStorage(file_path=place) if place else StateMemoryStorage()


class RetrieveDataPeer(Peer):
    """`with bot.retrieve_data(...)`."""

    def __init__(self, place: str) -> None:
        super().__init__()
        self.options["state_storage"] = make_storage(place)

    def prepare(self, bot: TeleBot) -> None:
        # A user without a state has no data.
        if bot.get_state(USER, USER) is None:
            bot.set_state(USER, "counting", USER)
            bot.add_data(USER, USER, counter=0)

    def make_handler(self, bot: TeleBot, pause: Pause) -> Handler:
        def count(message: types.Message) -> None:
            with bot.retrieve_data(message.from_user.id, message.chat.id) as data:
                counter = data["counter"]
                pause()
                data["counter"] = counter + 1

        return count

    def total(self, bot: TeleBot) -> int:
        with bot.retrieve_data(USER, USER) as data:
            counter: int = data["counter"]
        return counter


class StateContextPeer(RetrieveDataPeer):
    """A `StateContext` that telebot's middleware gives to the handler."""

    def __init__(self, place: str) -> None:
        super().__init__(place)
        self.options["use_class_middlewares"] = True

    def prepare(self, bot: TeleBot) -> None:
        super().prepare(bot)
        bot.setup_middleware(StateMiddleware(bot))

    def make_handler(self, bot: TeleBot, pause: Pause) -> Handler:
        def count(message: types.Message, state_context: StateContext) -> None:
            with state_context.data() as data:
                counter = data["counter"]
                pause()
                data["counter"] = counter + 1

        return count


PEERS = {"retrieve_data": RetrieveDataPeer, "state_context": StateContextPeer}


def main(turn: Turn) -> None:
    run(PEERS[turn.variant](turn.storage), PlainPeer(), turn)


if __name__ == "__main__":
    main(parse_turn(list(PEERS)))
