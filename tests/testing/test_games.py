"""Scores of games on the loopback Bot API."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from telebot.apihelper import ApiTelegramException

if TYPE_CHECKING:
    from telebot import types

    from telesession.testing import BotAPI, User


@pytest.fixture
def game(bot: Any) -> types.Message:
    """A message with a game."""
    sent: types.Message = bot.send_game(5, "chess")
    return sent


def play(bot: Any, game: types.Message, user_id: int, score: int, **options: Any) -> Any:
    """Set the score of a user."""
    return bot.set_game_score(
        user_id, score, chat_id=game.chat.id, message_id=game.message_id, **options
    )


def ranking(bot: Any, game: types.Message, user_id: int) -> list[tuple[int, int, int]]:
    """Position, user and score of the players near a user."""
    scores = bot.get_game_high_scores(user_id, game.chat.id, game.message_id)
    return [(one.position, one.user.id, one.score) for one in scores]


def test_scores_come_back(bot: Any, game: types.Message) -> None:
    """The players are there in the order of their scores."""
    play(bot, game, 1, 10)
    play(bot, game, 2, 30)
    play(bot, game, 1, 20)

    assert [(1, 2, 30), (2, 1, 20)] == ranking(bot, game, 1)


def test_a_score_does_not_fall(bot: Any, game: types.Message) -> None:
    """A score that is not higher is refused, but for one that is forced."""
    play(bot, game, 1, 10)
    for score in (10, 5):
        with pytest.raises(ApiTelegramException, match="BOT_SCORE_NOT_MODIFIED"):
            play(bot, game, 1, score)
    play(bot, game, 1, 5, force=True)

    assert [(1, 1, 5)] == ranking(bot, game, 1)


def test_the_message_shows_the_scores(
    api: BotAPI, bot: Any, game: types.Message, ada: User
) -> None:
    """The message of the game is edited, unless the bot says no."""
    edited = play(bot, game, ada.id, 10)
    kept = play(bot, game, ada.id, 20, disable_edit_message=True)

    assert ["1. Ada - 10"] * 2 == [edited.game.text, kept.game.text]
    assert "1. Ada - 10" == api.messages[-1].json["game"]["text"]


def test_neighbours_and_the_best_are_listed(bot: Any, game: types.Message) -> None:
    """A player sees two neighbours on each side, and the first three."""
    for user_id in range(1, 11):
        play(bot, game, user_id, 100 - user_id)

    places = [place for place, _, _ in ranking(bot, game, 8)]
    others = [place for place, _, _ in ranking(bot, game, 99)]

    assert ([1, 2, 3, 6, 7, 8, 9, 10], [1, 2, 3]) == (places, others)


def test_chats_and_games_have_scores_of_their_own(bot: Any, game: types.Message) -> None:
    """A score counts for the same game in the same chat, in whichever message."""
    others = [bot.send_game(5, "chess"), bot.send_game(5, "go"), bot.send_game(6, "chess")]
    play(bot, game, 1, 10)

    assert [[(1, 1, 10)], [], []] == [ranking(bot, other, 1) for other in others]


def test_an_inline_message_has_scores(bot: Any) -> None:
    """The score of a game in an inline message is kept by the id of the message."""
    assert True is bot.set_game_score(1, 10, inline_message_id="a")

    found = [bot.get_game_high_scores(1, inline_message_id=name) for name in ("a", "b")]

    assert [[10], []] == [[one.score for one in scores] for scores in found]


def test_a_message_without_a_game_has_no_scores(bot: Any) -> None:
    """Scores of another message, and of an unknown one, are refused."""
    message = bot.send_message(5, "hi")

    with pytest.raises(ApiTelegramException, match="message has no game"):
        play(bot, message, 1, 10)
    with pytest.raises(ApiTelegramException, match="message to set game score not found"):
        bot.set_game_score(1, 10, chat_id=5, message_id=99)
