"""
What mypy --strict and pyright (strict) make of what is for the whole bot.

They must refuse the lines that say `E:`, and no other. Checked by test_typing.py, never run.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, assert_type

from telebot import TeleBot
from telebot.types import CallbackQuery, InlineQuery, Message, ReplyKeyboardMarkup

from telesession import (
    MemoryStorage,
    Place,
    Session,
    Sessions,
    SessionStateStorage,
    SQLiteStorage,
    ask,
    by_chat,
    cancel,
    import_telebot_pickle,
    import_telebot_redis,
    session_filter,
    use_questions,
    use_sequential_workers,
)
from telesession.bot.filters import SessionFilter
from telesession.bot.workers import SequentialWorkers

if TYPE_CHECKING:
    from collections.abc import Callable

    from redis import Redis
    from telebot.async_telebot import AsyncTeleBot


@dataclass
class Entry:
    name: str = ""


entries = Sessions(initial=Entry, name="entry")
sessions = Sessions()


def take_text(message: Message) -> None: ...


def take_name(message: Message, entry: Entry) -> None: ...


@sessions.with_session
def take_age(message: Message, session: Session) -> int:
    return len(session)


# -- attached sessions


def attach(bot: TeleBot, not_blocking: AsyncTeleBot) -> None:
    sessions.attach(bot)
    entries.attach(bot, follow_migrations=True)
    entries.attach(bot, True)  # E: mypy, pyright
    entries.attach(not_blocking)  # E: mypy, pyright
    entries.attach("bot")  # E: mypy, pyright
    entries.detach(not_blocking)  # E: mypy, pyright
    entries.detach(bot)
    assert_type(sessions.move("chat:-1", "chat:-2"), bool)
    assert_type(entries.move(1, 2), bool)
    sessions.move("chat:-1")  # E: mypy, pyright
    sessions.move(None, "chat:-2")  # E: mypy, pyright


# -- workers


def order(bot: TeleBot, not_blocking: AsyncTeleBot) -> None:
    assert_type(use_sequential_workers(bot), SequentialWorkers)
    use_sequential_workers(bot, num_threads=4, get_key=by_chat, limit=100, when_full="drop")
    use_sequential_workers(bot, total_limit=100_000)
    use_sequential_workers(bot, get_key=lambda message: message.chat.id)
    use_sequential_workers(bot, when_full="wait")  # E: mypy, pyright
    use_sequential_workers(bot, 4)  # E: mypy, pyright
    use_sequential_workers(not_blocking)  # E: mypy, pyright


# -- states


def keep_states(server: Redis) -> None:
    storage = SQLiteStorage("bot.db")
    states = SessionStateStorage(storage, lifetime=timedelta(days=1))
    TeleBot("1:token", state_storage=states)
    assert_type(import_telebot_pickle("states.pkl", storage), int)
    assert_type(import_telebot_redis(server, states, bot_id=1), int)
    SessionStateStorage(MemoryStorage(), "states:")  # E: mypy, pyright
    SessionStateStorage({})  # E: mypy, pyright
    import_telebot_pickle("states.pkl")  # E: mypy, pyright
    import_telebot_redis("redis://localhost", storage)  # E: mypy, pyright


# -- questions


def set_up(bot: TeleBot, not_blocking: AsyncTeleBot) -> None:
    use_questions(bot, entries)
    use_questions(bot, sessions, steps=[take_text, take_name, take_age])
    use_questions(bot)  # E: mypy, pyright
    use_questions(bot, entries, [take_text])  # E: mypy, pyright
    use_questions(bot, entries, steps=take_text)  # E: mypy, pyright
    use_questions(bot, entries, steps=["take_text"])  # E: mypy, pyright
    use_questions(bot, Entry)  # E: mypy, pyright
    use_questions(not_blocking, entries)  # E: mypy, pyright


def talk(bot: TeleBot, message: Message, query: CallbackQuery, inline: InlineQuery) -> None:
    assert_type(ask(bot, message, "your name?", take_name), Message)
    assert_type(ask(bot, query, "your age?", take_age, timeout=60), Message)
    ask(bot, message, "well?", take_text, timeout=timedelta(hours=1))
    ask(bot, message, "well?", take_text, timeout=None, reply_markup=ReplyKeyboardMarkup())
    ask(bot, message, "well?")  # E: mypy, pyright
    ask(bot, message, "well?", "take_text")  # E: mypy, pyright
    ask(bot, "well?", message, take_text)  # E: mypy, pyright
    ask(bot, inline, "well?", take_text)  # E: mypy, pyright
    ask(bot, message, "well?", take_text, timeout="60")  # E: mypy, pyright
    ask(bot, Place(chat_id=-100, user_id=42, message_thread_id=7), "well?", take_text)
    ask(bot, message, "well?", take_text, timeout=60, on_timeout=take_age, reply_only=True)
    ask(bot, message, "well?", take_text, unless="menu", data={"city": "Bergen"})
    ask(bot, message, "well?", take_text, unless=["menu", "help"])
    ask(bot, message, "well?", take_text, unless=lambda message: message.text == "menu")
    ask(bot, message, "well?", take_text, unless=5)  # E: mypy, pyright
    ask(bot, message, "well?", take_text, data=["city"])  # E: mypy, pyright
    ask(bot, message, "well?", take_text, reply_only="yes")  # E: mypy, pyright
    Place(chat_id="-100", user_id=42)  # E: mypy, pyright
    Place(chat_id=-100)  # E: mypy, pyright
    cancel(bot, Place(chat_id=42, user_id=42))
    use_questions(bot, sessions, unless=["menu"])  # E: mypy, pyright
    assert_type(cancel(bot, message), bool)
    assert_type(cancel(bot, query), bool)
    cancel(bot, 42)  # E: mypy, pyright


# -- filters


def is_adult(fields: dict[str, Any]) -> bool:
    return bool(fields.get("age", 0) >= 18)


def is_named(entry: Entry) -> bool:
    return bool(entry.name)


assert_type(session_filter(entries), SessionFilter)
assert_type(session_filter(sessions, is_adult), SessionFilter)
session_filter(sessions, lambda fields: fields.get("age"))
session_filter(entries, is_named)  # E: mypy, pyright
session_filter(sessions, {"age": 18})  # E: mypy, pyright
session_filter(Entry)  # E: mypy, pyright


def use_filter(bot: TeleBot, message: Message) -> None:
    adult = session_filter(sessions, is_adult)
    assert_type(adult(message), bool)
    bot.add_custom_filter(adult)
    condition: Callable[[Message], bool] = adult
    assert_type(condition(message), bool)
