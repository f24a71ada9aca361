"""
Guess the number, in groups: a session of the group and one of the player in one handler.

Try `/in -100` to go to a group, then `50` and `/score`.

All members of a group guess the same number. Wins belong to the player, in all groups together.

    > /in -100
    1 in -100 > 0
    higher
    1 in -100 > 101
    lower
    1 in -100 > /score
    guesses in this round: 2; rounds before: 0; your wins: 0
    1 in -100 > /as 42
    42 in -100 > 50
    ...
"""

# mypy: allow-untyped-decorators, allow-untyped-calls

import os
import random
import signal
from dataclasses import dataclass, field

from telebot import TeleBot, logger
from telebot.types import Message

from telesession import Sessions, by_chat, use_sequential_workers

GROUPS = ["group", "supergroup"]


def draw() -> int:
    return random.randint(1, 100)


@dataclass
class Game:
    number: int = field(default_factory=draw)
    guesses: int = 0
    rounds: int = 0


@dataclass
class Player:
    wins: int = 0


TOKEN = os.environ.get("BOT_TOKEN")
HELP = "add me to a group, and guess my number from 1 to 100; /score shows the score"
bot = TeleBot(TOKEN or "123456:offline")


def apologise(message: Message, error: Exception) -> None:
    """Log the exception of a handler, and tell the user."""
    logger.error("a handler raised", exc_info=error)
    bot.send_message(message.chat.id, "sorry, that went wrong, and nothing was saved")


use_sequential_workers(bot, get_key=by_chat, on_error=apologise)
games = Sessions(initial=Game, name="game", get_storage_key=by_chat)
players = Sessions(initial=Player, name="player")


@bot.message_handler(regexp=r"^\d{1,3}$", chat_types=GROUPS)
@games.with_session
@players.with_session
def guess(message: Message, player: Player, game: Game) -> None:
    game.guesses += 1
    number = int(message.text or 0)
    if number != game.number:
        bot.reply_to(message, "higher" if number < game.number else "lower")
        return
    player.wins += 1
    bot.reply_to(message, f"yes, {number}! Guesses: {game.guesses}; your wins: {player.wins}")
    game.number, game.guesses, game.rounds = draw(), 0, game.rounds + 1


@bot.message_handler(commands=["score"], chat_types=GROUPS)
@games.with_session
@players.with_session
def tell_score(message: Message, player: Player, game: Game) -> None:
    bot.reply_to(
        message,
        f"guesses in this round: {game.guesses}; rounds before: {game.rounds}; "
        f"your wins: {player.wins}",
    )


@bot.message_handler(commands=["start", "help"])
@bot.message_handler(chat_types=["private"])
def explain(message: Message) -> None:
    bot.reply_to(message, HELP)


if __name__ == "__main__":
    if TOKEN:
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        bot.infinity_polling()
    else:  # In the terminal, without a network.
        from telesession.testing import chat

        chat(bot, hint="try: /in -100, then 50 and /score")
