"""The commands of a bot at the start of a chat in the terminal."""

from __future__ import annotations

from typing import Any

import pytest
from telebot import TeleBot, apihelper, types

from support.chats import Terminal, talk
from telesession.testing import OFFLINE_TOKEN, chat, run
from telesession.testing.terminal.menu import draw_menu


def menu_of(bot: Any, **options: Any) -> list[str]:
    """The lines at the start of a chat, between the commands of the chat and the prompt."""
    *lines, _prompt = talk(bot, kind=Terminal, **options)
    text = "\n".join(lines)
    return [line for line in text.partition("\n\n")[2].splitlines() if line]


@pytest.fixture
def bot() -> Any:
    """A bot with three commands in two handlers."""
    bot: Any = TeleBot(OFFLINE_TOKEN, threaded=False)
    bot.register_message_handler(lambda _: None, commands=["start", "help"])
    bot.register_message_handler(lambda _: None, commands=["help", "tea"])
    bot.register_message_handler(lambda _: None)
    return bot


def declare(bot: Any, *descriptions: str, **options: Any) -> None:
    names = ("tea", "biscuits")
    pairs = zip(names, descriptions, strict=False)
    bot.set_my_commands([types.BotCommand(*pair) for pair in pairs], **options)


def test_the_declared_commands_are_listed(bot: Any) -> None:
    """The commands that the bot has set are listed with their descriptions, as in a menu."""
    expected = ["The bot's commands:", "  /tea       makes tea", "  /biscuits  bakes biscuits"]
    assert expected == menu_of(bot, setup=lambda: declare(bot, "makes tea", "bakes biscuits"))


def test_the_list_is_that_of_the_user(bot: Any) -> None:
    """The commands are those of the scope that Telegram chooses for the user."""

    def setup() -> None:
        declare(bot, "for all")
        declare(bot, "for user 7", scope=types.BotCommandScopeChat(7))

    assert ["The bot's commands:", "  /tea  for all"] == menu_of(bot, setup=setup)
    assert "  /tea  for user 7" == menu_of(bot, setup=setup, user_id=7)[-1]


def test_else_the_handlers_tell_the_commands(bot: Any) -> None:
    """If the bot has set no commands, those that its handlers name are listed, each once."""
    expected = ["The bot has handlers for these commands:", "  /start /help /tea"]
    assert expected == menu_of(bot)


def test_a_bot_without_commands_has_no_list() -> None:
    """If no handler names a command, there is nothing to list."""
    assert [] == menu_of(TeleBot(OFFLINE_TOKEN, threaded=False))


def test_only_a_terminal_gets_the_list(bot: Any) -> None:
    """Without a terminal, nothing is listed."""
    assert [] == talk(bot, setup=lambda: declare(bot, "makes tea"))


def test_the_list_fits_80_columns() -> None:
    """Long descriptions and many names go on in further lines, below where they began."""
    declared = [{"command": "tea", "description": "word " * 50}]
    head, first, *others = draw_menu(declared, [])
    assert "  /tea  word word" == first[:17]
    assert {"        word"} == {line[:12] for line in others}
    names = [f"command_{number}" for number in range(40)]
    listed = draw_menu([], names)
    assert 80 >= max(len(line) for line in [head, first, *others, *listed])
    assert [f"/{name}" for name in names] == " ".join(listed[1:]).split()


class TestSetup:
    def test_it_is_called_in_telegram(self, bot: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        """With `BOT_TOKEN`, the setup is called before the bot polls Telegram."""
        calls: list[str] = []
        monkeypatch.setenv("BOT_TOKEN", OFFLINE_TOKEN)
        monkeypatch.setattr(bot, "infinity_polling", lambda **_: calls.append("poll"))
        run(bot, setup=lambda: calls.append("setup"))
        assert ["setup", "poll"] == calls

    def test_it_is_called_in_the_terminal(
        self, bot: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Without `BOT_TOKEN`, the setup talks to the loopback, and its messages are printed."""
        monkeypatch.delenv("BOT_TOKEN", raising=False)
        monkeypatch.setattr("sys.stdin", Terminal("/quit\n"))
        run(bot, setup=lambda: bot.send_message(1, "I am back"))
        assert "I am back" == capsys.readouterr().out.splitlines()[0]

    def test_its_error_ends_the_chat(self, bot: Any) -> None:
        """An exception of the setup is raised, and telebot points where it pointed before."""

        def fail() -> None:
            raise KeyError("lost")

        with pytest.raises(KeyError, match="lost"):
            chat(bot, setup=fail)
        assert apihelper.API_URL is None
