"""Everything that a bot can have from this library, in one bot, polled and restarted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from telebot import TeleBot
from telebot.custom_filters import StateFilter

from support.clocks import PATIENCE
from telesession import (
    Sessions,
    SessionStateStorage,
    SQLiteStorage,
    ask,
    by_chat,
    session_filter,
    use_questions,
    use_sequential_workers,
)
from telesession.testing import BotAPI, Group, run_polling

if TYPE_CHECKING:
    from pathlib import Path


class WholeBot:
    """
    A bot as a program makes it when it starts: members of a group play for points.

    Args:
        path: The file that everything is in.
        use_class_middlewares: Whether telebot looks at the signatures of handlers.
    """

    def __init__(self, path: Path, *, use_class_middlewares: bool) -> None:
        self.storage = SQLiteStorage(path)
        self.bot = bot = TeleBot(
            "1:token",
            use_class_middlewares=use_class_middlewares,
            state_storage=SessionStateStorage(self.storage),
        )
        self.players = Sessions(storage=self.storage, name="player", initial={"points": 0})
        self.games = Sessions(
            storage=self.storage, name="game", initial={"points": 0}, get_storage_key=by_chat
        )
        use_sequential_workers(bot, num_threads=4)
        self.players.attach(bot)
        self.games.attach(bot, follow_migrations=True)
        use_questions(bot, self.players, steps=[self.take_name])
        bot.add_custom_filter(session_filter(self.players))
        bot.add_custom_filter(StateFilter(bot))
        self.register(self.join, commands=["join"])
        self.register(self.refuse, player=lambda player: "name" not in player)
        self.register(self.pause, commands=["pause"])
        self.register(self.rest, state="paused")
        self.register(self.score)

    def register(self, handler: Any, **filters: Any) -> None:
        # Else telebot 4.37.1 lets a method that registers a handler have service messages, too.
        self.bot.register_message_handler(handler, content_types=["text"], **filters)

    def join(self, message: Any) -> None:
        ask(self.bot, message, "your name?", self.take_name)

    def take_name(self, message: Any, player: Any) -> None:
        player.name = message.text
        self.bot.send_message(message.chat.id, f"welcome, {player.name}")

    def refuse(self, message: Any) -> None:
        self.bot.send_message(message.chat.id, "send /join")

    def pause(self, message: Any) -> None:
        self.bot.set_state(message.from_user.id, "paused", message.chat.id)

    def rest(self, message: Any, player: Any) -> None:
        self.bot.delete_state(message.from_user.id, message.chat.id)
        self.bot.send_message(message.chat.id, f"{player.name} is back")

    def score(self, message: Any, player: Any, game: Any) -> None:
        player.points += int(message.text)
        game.points += int(message.text)
        text = f"{player.name}: {player.points}, all: {game.points}"
        self.bot.send_message(message.chat.id, text)


@pytest.mark.parametrize(
    "use_class_middlewares", [False, True], ids=["no-middlewares", "class-middlewares"]
)
def test_all_of_it_works_together_and_survives_a_restart(
    bot_api: BotAPI, tmp_path: Path, *, use_class_middlewares: bool
) -> None:
    """Sessions, order, states, filters, questions and a migration, in one bot on one file."""
    group = bot_api.group(-10)

    def play(chat: Group, *said: tuple[int, str], upgrade: int | None = None) -> list[str]:
        """What a bot that has just been started answers."""
        whole = WholeBot(tmp_path / "bot.db", use_class_middlewares=use_class_middlewares)
        before = len(bot_api.messages)
        with whole.storage, run_polling(whole.bot, bot_api, timeout=PATIENCE) as polling:
            for user, text in said:
                bot_api.user(user).send(text, chat=chat)
                polling.wait_idle(PATIENCE)
            if upgrade is not None:
                bot_api.user(1).upgrade(chat, upgrade)
                polling.wait_idle(PATIENCE)
        return [message.text for message in bot_api.messages[before:]]

    assert ["send /join", "your name?", "your name?"] == play(
        group, (1, "5"), (1, "/join"), (2, "/join")
    )
    assert ["welcome, Ann", "welcome, Bob", "Ann: 5, all: 5", "Bob: 2, all: 7"] == play(
        group, (1, "Ann"), (2, "Bob"), (1, "5"), (2, "2"), upgrade=-10010
    )
    supergroup = bot_api.group(-10010)
    assert ["Bob: 3, all: 8", "Ann: 6, all: 9"] == play(
        supergroup, (2, "1"), (1, "1"), (1, "/pause")
    )
    assert ["Ann is back"] == play(supergroup, (1, "hello"))
