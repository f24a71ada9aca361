"""Questions: a handler asks, and a step gets the answer of the same sender in the same chat."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from telebot import TeleBot, types

from telesession.attachment import Attachment
from telesession.bot.answers import Pending, Questions, Step
from telesession.errors import SessionError
from telesession.keys import by_sender_in_chat, message_of
from telesession.options import checked_lifetime
from telesession.sessions import Sessions


def use_questions(bot: TeleBot, sessions: Sessions[Any], *, steps: Iterable[Step] = ()) -> None:
    """
    Let a bot listen for answers to what `ask` asks, and asked before a restart.

    The questions are kept in the storage of the sessions, each as a session of its own, in a room
    of the bot: `keys()` and `items()` of the sessions do not meet them. From now on the bot looks
    there for every message and channel post before its other handlers have their turn: one read,
    without a lock. May be called again with more steps.

    Args:
        bot: A `TeleBot`, before it is started.
        sessions: Whose storage is used, and what steps get that have the session parameter.
        steps: The functions that get answers: `step(message)` or `step(message, session)`. Their
            names are stored, and only what is listed here can be called for a question from
            before a restart: the storage does not choose what is run.

    Raises:
        TypeError: The bot, the sessions or a step is something else.
        ValueError: Two steps have the same name, one has none, or the bot keeps its questions
            with other sessions.
    """
    if not isinstance(bot, TeleBot):
        raise TypeError(
            "use_questions needs a telebot.TeleBot, whose handlers block, not an object of type "
            f"{type(bot).__name__}"
        )
    if not isinstance(sessions, Sessions):
        raise TypeError(f"use_questions takes a bot and Sessions, not {type(sessions).__name__}")
    questions = Questions.of(bot) or Questions.make(bot, sessions)
    questions.refuse_others(sessions)
    if callable(steps):
        name = getattr(steps, "__qualname__", "step")
        raise TypeError(f"steps must be a list of functions, such as [{name}]")
    for step in steps:
        questions.list_step(step)


def ask(
    bot: TeleBot,
    message: types.Message | types.CallbackQuery,
    text: str,
    step: Step,
    *,
    timeout: float | timedelta | None = None,
    **options: Any,
) -> types.Message:
    """
    Send a question, and let a step get the answer: the sender's next message in the same chat.

    telebot's own next steps take the next message of the chat, whoever wrote it, forget all with
    a restart unless saved by pickle, and skip messages that come in one batch
    (`TeleBot._notify_next_handlers` of 4.37.1). Here the question waits in the storage, one for
    each sender in each chat; the next question takes its place. A command is never an answer: it
    ends the question and goes to its own handler. A service message, such as a new title of the
    group, is none either. If the step raises, the question waits again for the time that it had
    left, unless another handler has asked another one meanwhile; if the process dies in the step,
    the question is over. It does not follow a group that becomes a supergroup.

    The question is written at once. With `use_sequential_workers`, a question to the sender of the
    update is saved with the sessions of the handler, and none waits if the handler raises. The end
    of a question is saved with the step that gets the answer: if the process dies in the step, the
    question waits on.

    Call `use_questions` when the bot starts. One that has sessions attached can do without. Then
    it forgets with a restart which step an answer is for, and may miss an answer that it was given
    already when it asked for the first time.

    Args:
        bot: The bot that asks.
        message: The message, or the callback query, of whoever is asked.
        text: The question. It goes to the same chat and topic. If it cannot be sent, no question
            waits.
        step: Gets the answer: `step(message)` or `step(message, session)`. What it returns goes
            to telebot, as from any handler.
        timeout: Seconds or a `timedelta` after which the question is over; `None` waits for ever.
        **options: Passed on to `bot.send_message`, such as `reply_markup`.

    Returns:
        The message that was sent.

    Raises:
        SessionError: The bot has no sessions to keep questions in, or there is nobody to ask.
        TypeError: The step is `async` or a generator, or the timeout is neither seconds nor a
            `timedelta`.
        ValueError: The step has no name, or that of another one; the timeout is not above 0.
    """
    left = checked_lifetime(timeout, "the timeout of a question", "None waits for ever")
    key = _key_of(bot, message)
    questions = _questions_of(bot)
    questions.put(key, Pending(questions.name_of(step), left))
    try:
        return bot.send_message(text=text, **{**_place(message), **options})
    except BaseException:
        questions.take(message)
        raise


def cancel(bot: TeleBot, message: types.Message | types.CallbackQuery) -> bool:
    """
    End the question that waits for the sender of a message in its chat.

    Returns:
        Whether there was one. In the handler of a command, that is also one that this very
        command has ended.

    Raises:
        SessionError: The bot has no sessions to keep questions in.
    """
    return _questions_of(bot).cancel(message)


def _questions_of(bot: Any) -> Questions:
    questions, attachment = Questions.of(bot), Attachment.of(bot)
    if questions is None and attachment is not None:
        questions = Questions.make(bot, attachment.first)
        attachment.when_it_ends(questions.leave)
    if questions is None:
        raise SessionError(
            "there are no questions: the bot has no sessions to keep them in; before it starts, "
            "call use_questions(bot, sessions, steps=[...])"
        )
    return questions


def _key_of(bot: Any, update: Any) -> str:
    """The key of whoever is asked."""
    key = by_sender_in_chat(update)
    if key is None:
        raise SessionError(
            f"could not ask: this {type(update).__name__} has no sender, or no chat; pass the "
            "message or the callback query of the user to ask"
        )
    if _is_own(bot, update):
        raise SessionError(
            "could not ask: the bot would wait for itself; pass the callback query, and not "
            "its message, which is the bot's own"
        )
    if getattr(message_of(update), "guest_query_id", None):
        raise SessionError(
            "could not ask: the bot is only a guest in this chat and cannot send messages to it; "
            "answer with answer_guest_query"
        )
    return key


def _is_own(bot: Any, update: Any) -> bool:
    """Whether the bot itself has sent it, be it in the name of a business account."""
    sender = getattr(update, "sender_business_bot", None) or getattr(update, "from_user", None)
    return sender is not None and sender.is_bot and sender.id == bot.bot_id


def _place(update: Any) -> dict[str, Any]:
    """Where to send a message so that it is seen where an update came from."""
    message = message_of(update)
    place = {"chat_id": message.chat.id}
    if getattr(message, "is_topic_message", None):
        place["message_thread_id"] = message.message_thread_id
    if direct := getattr(message, "direct_messages_topic", None):
        place["direct_messages_topic_id"] = direct.topic_id
    if connection := getattr(message, "business_connection_id", None):
        place["business_connection_id"] = connection
    return place
