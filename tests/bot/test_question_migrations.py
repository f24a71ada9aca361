"""Questions in a group that becomes a supergroup."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from telebot import TeleBot

from telesession import Sessions, Storage, ask, use_questions, use_sequential_workers
from telesession.testing import OFFLINE_TOKEN, BotAPI, run_polling

if TYPE_CHECKING:
    from telesession.testing import User

OLD, NEW = -77, -100777


@pytest.mark.parametrize("workers", [False, True], ids=["own pool", "sequential"])
def test_they_wait_in_the_supergroup(
    workers: bool, bot_api: BotAPI, local_storage: Storage
) -> None:
    """The answer in the supergroup reaches the step, and no other person's does."""
    heard: list[tuple[str, str]] = []
    bot = TeleBot(OFFLINE_TOKEN)
    if workers:
        use_sequential_workers(bot)

    def take(message: Any) -> None:
        heard.append(("step", message.text))

    def handle(message: Any) -> None:
        heard.append(("handler", message.text))

    use_questions(bot, Sessions(storage=local_storage), steps=[take])
    bot.register_message_handler(lambda m: ask(bot, m, "well?", take) and None, commands=["ask"])
    bot.register_message_handler(handle, content_types=["text"])
    anna, boris = bot_api.user(5), bot_api.user(6)
    group = bot_api.group(OLD)
    with run_polling(bot) as polling:

        def say(user: User, text: str) -> None:
            user.send(text, chat=group)
            polling.wait_idle()

        say(anna, "/ask")
        group = anna.upgrade(group, NEW)
        polling.wait_idle()
        say(boris, "hello")
        say(anna, "Ada")
        say(anna, "bye")

    assert [("handler", "hello"), ("step", "Ada"), ("handler", "bye")] == heard
