"""Files that users send, and that a bot downloads from the loopback server."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from telebot import TeleBot
from telebot.apihelper import ApiHTTPException, ApiTelegramException

from telesession.testing import run_polling

if TYPE_CHECKING:
    from telebot import types

    from telesession.testing import BotAPI

TOKEN = "77:secret"


def test_a_bot_downloads_the_photo_of_a_user(bot_api: BotAPI) -> None:
    """telebot's way: the id of the message, `get_file`, and `download_file` with the path."""
    bot = TeleBot(TOKEN, threaded=False)
    found: list[tuple[bytes, int]] = []

    @bot.message_handler(content_types=["photo"])
    def save(message: types.Message) -> None:
        assert message.photo is not None
        file = bot.get_file(message.photo[-1].file_id)
        assert file.file_path is not None
        content = bot.download_file(file.file_path)
        found.append((content, file.file_size or 0))

    with run_polling(bot) as polling:
        sent = bot_api.user(1).photo()
        polling.wait_idle()
        bot_api.put_file(sent["message"]["photo"][-1]["file_id"], b"a picture")
        bot_api.push({"message": {**sent["message"], "message_id": 99}})
        polling.wait_idle()
    made_up = f"the content of {sent['message']['photo'][-1]['file_id']}".encode()
    assert [(made_up, len(made_up)), (b"a picture", 9)] == found


def test_the_url_of_a_file_is_on_the_loopback(bot_api: BotAPI) -> None:
    """A link that a bot makes has no address of the real server."""
    url = TeleBot(TOKEN, threaded=False).get_file_url("photo")
    assert bot_api.url.format(TOKEN, "").replace("/bot", "/file/bot") + "files/photo" == url


def test_a_path_that_no_file_has(bot_api: BotAPI) -> None:
    """A download of an unknown path, and `get_file` without an id, are refused as in Telegram."""
    bot = TeleBot(TOKEN, threaded=False)
    with pytest.raises(ApiHTTPException, match="404"):
        bot.download_file("photos/1.jpg")
    with pytest.raises(ApiTelegramException, match="file_id not specified"):
        bot.get_file("")
