"""
A bot that asks its users one question after the other, and the program that runs it.

`python -m support.interviews SETTINGS`, with the settings as JSON, waits for a line, polls until
SIGTERM comes, and writes the users and numbers of the messages whose steps raised to a file.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

from telebot import TeleBot, apihelper, types, util
from telebot.handler_backends import BaseMiddleware

from support.addresses import open_leased
from support.effect_bot import LEASE, Complaints, Gap, Refusal
from telesession import (
    Session,
    Sessions,
    Storage,
    ask,
    use_questions,
    use_sequential_workers,
)

# Seconds after which a question is over, which no run takes.
HOUR = 3600
# The texts of messages that are no questions.
AGAIN, DONE = "again", "done"


@dataclass
class Settings:
    """
    The settings of a bot.

    Attributes:
        place: The path of a file, or the URL of a server.
        raised: The path of the file for the messages whose steps raised.
        questions: The number of questions for each user.
        url: The address of the Bot API.
        token: The token of the bot.
        gap: In the control, the commit after which the process kills itself, before the record of
            the update is written; 0 is none.
    """

    place: str
    raised: str
    questions: int
    url: str = ""
    token: str = "1:interviews"
    gap: int = 0

    @property
    def as_argument(self) -> str:
        """The settings as the program takes them."""
        return json.dumps(asdict(self))


def open_place(settings: Settings) -> Storage:
    """Open the storage of a bot."""
    if settings.gap:
        return open_leased(settings.place, LEASE, Gap, gap=settings.gap)
    return open_leased(settings.place, LEASE)


def make_sessions(storage: Storage) -> Sessions[Any]:
    """
    The sessions of the users.

    The log has an entry for each message and press that a step or a handler got, such as
    `step 3 7`: the third question was answered by the seventh message of the user.
    """
    initial = {"has_begun": False, "answers": 0, "log": ()}
    return Sessions(initial={**initial, "log": []}, storage=storage)


def number_of(update: Any) -> str:
    """The number of a message of its user; the id of a press."""
    return update.id if isinstance(update, types.CallbackQuery) else update.text.split()[0]


def is_bad(update: Any) -> bool:
    """Whether a step raises for a message or a press."""
    text = update.data if isinstance(update, types.CallbackQuery) else update.text
    return "bad" in text


class _Repeat(BaseMiddleware):
    """
    Tells a user that the answer was refused, once the step has ended.

    The user answers at once, and on telebot's own pool the handlers would get the answer while the
    step still runs.

    Args:
        bot: The bot.
    """

    def __init__(self, bot: Any) -> None:
        super().__init__()
        self.update_sensitive = False
        self.update_types = ["message", "callback_query"]
        self._bot = bot

    def pre_process(self, message: Any, data: dict[str, Any]) -> None:
        """Do nothing."""

    def post_process(self, message: Any, data: dict[str, Any], exception: Exception | None) -> None:
        """Send the message."""
        if isinstance(exception, Refusal):
            self._bot.send_message(message.from_user.id, AGAIN)


class Interview:
    """
    The handlers and the step of a bot that asks its users.

    Args:
        bot: The bot, with class middlewares.
        storage: The storage of its sessions and questions.
        questions: The number of questions for each user.
        on_raise: Gets the user and the number of each message whose step raises.
    """

    def __init__(
        self, bot: Any, storage: Storage, questions: int, on_raise: Callable[[int, str], object]
    ) -> None:
        self._bot = bot
        self._questions = questions
        self._on_raise = on_raise
        bot.setup_middleware(_Repeat(bot))
        sessions = make_sessions(storage)
        use_questions(bot, sessions, steps=[self.step])
        handler = sessions.with_session(self.handler)
        bot.register_message_handler(handler)
        bot.register_callback_query_handler(handler, func=lambda _: True)

    def handler(self, update: Any, session: Session) -> None:
        """Begin with the first message, and note the others, which are no answers."""
        session.log.append(f"handler {number_of(update)}")
        if not session.has_begun:
            session.has_begun = True
            self._ask(update, 1)

    def step(self, update: Any, session: Session, question: int) -> None:
        """Get an answer, and ask the next question."""
        if is_bad(update):
            self._on_raise(update.from_user.id, number_of(update))
            raise Refusal
        session.log.append(f"step {question} {number_of(update)}")
        session.answers += 1
        if question < self._questions:
            self._ask(update, question + 1)
        else:
            self._bot.send_message(update.from_user.id, DONE)

    def _ask(self, update: Any, question: int) -> None:
        buttons = {label: {"callback_data": label} for label in ("good", "bad")}
        ask(
            self._bot,
            update,
            f"question {question}",
            self.step,
            # With a time-out, the question of a step that raises is written once more.
            timeout=HOUR if question % 2 else None,
            data={"question": question},
            reply_markup=util.quick_markup(buttons),
        )


def make_bot(token: str, exception_handler: Any) -> TeleBot:
    """A bot with four workers of telebot, and with class middlewares."""
    return TeleBot(
        token, num_threads=4, use_class_middlewares=True, exception_handler=exception_handler
    )


def main() -> None:
    """Poll until SIGTERM comes."""
    settings = Settings(**json.loads(sys.argv[1]))
    apihelper.API_URL = settings.url  # type: ignore[assignment]
    apihelper.proxy = {"no_proxy": "127.0.0.1"}  # type: ignore[assignment]
    raised = os.open(settings.raised, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    # Everything is imported by now, so a process that waits here begins at once.
    if not sys.stdin.readline():
        return
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with suppress(KeyboardInterrupt):
        complaints, storage = Complaints(), open_place(settings)
        bot = make_bot(settings.token, complaints)
        # Many kills hit one update again and again.
        use_sequential_workers(bot, on_error=complaints.on_error, inbox=storage, attempts=1_000)
        Interview(
            bot,
            storage,
            settings.questions,
            lambda user, number: os.write(raised, f"{user} {number}\n".encode()),
        )
        bot.infinity_polling(
            timeout=30,
            long_polling_timeout=5,
            logger_level=None,
            allowed_updates=util.update_types,
        )


if __name__ == "__main__":
    main()
