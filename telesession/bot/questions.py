"""Questions: a handler asks a person in a chat, and a step gets the answer."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from typing import Any
from uuid import uuid4

from telebot import TeleBot, types

from telesession.bot.answers import Questions
from telesession.bot.attachment import Attachment
from telesession.bot.place import Place, Target, checked_address, number_of, options_of
from telesession.bot.question import Question
from telesession.bot.steps import Step, Steps
from telesession.errors import SessionError
from telesession.keys import message_of
from telesession.options import checked_lifetime, checked_type
from telesession.sessions import Sessions

# The options of `send_message` that `ask` takes from its target.
_MOVING = (
    "chat_id",
    "message_thread_id",
    "direct_messages_topic_id",
    "business_connection_id",
    "receiver_user_id",
    "callback_query_id",
)


def use_questions(
    bot: TeleBot,
    sessions: Sessions[Any],
    *,
    steps: Iterable[Step] = (),
    unless: Iterable[Callable[[types.Message], object]] = (),
) -> None:
    """
    Let a bot listen for the answers to questions of `ask`, also of those from before a restart.

    The questions are kept in the storage of the sessions, in a room of the bot: `keys()` and
    `items()` of the sessions do not list them. From now on the bot looks there for every message,
    channel post and press of a button, before its other handlers. The look is one read without a
    lock. May be called again with more functions.

    Args:
        bot: A `TeleBot`, before it is started.
        sessions: Their storage keeps the questions, and steps with the session parameter get a
            session of them.
        steps: The functions that get answers. Their names are stored, and only functions of this
            list can be called for a question from before a restart: the storage does not choose the
            function.
        unless: The predicates that are given to `unless` of `ask`, listed for the same reason.

    Raises:
        TypeError: The bot or the sessions are something else, or a function could not be called:
            it is `async` or a generator, or has no parameter for the message.
        ValueError: Two functions have the same name, one has none, or the bot keeps its questions
            with other sessions.
    """
    _refuse_unfit_bot(bot, "use_questions")
    if not isinstance(sessions, Sessions):
        raise TypeError(f"use_questions takes a bot and Sessions, not {type(sessions).__name__}")
    listed: dict[str, Any] = {"steps": steps, "unless": unless}
    for name, functions in listed.items():
        if isinstance(functions, str) or not isinstance(functions, Iterable):
            found = getattr(functions, "__qualname__", "function")
            raise TypeError(f"{name} must be a list of functions, such as [{found}]")
    steps, unless = list(steps), list(unless)
    # Before the bot is changed, because a call that raises must not change it.
    _list(Steps(bot, sessions), steps, unless)
    questions = Questions.of(bot) or Questions.make(bot, sessions)
    questions.refuse_others(sessions)
    _list(questions.steps, steps, unless)
    questions.is_kept = True


def ask(
    bot: TeleBot,
    to: Target,
    text: str,
    step: Step,
    *,
    timeout: float | timedelta | None = None,
    on_timeout: Step | None = None,
    reply_only: bool | None = None,
    unless: str | Iterable[str] | Callable[[types.Message], object] | None = None,
    data: Mapping[str, Any] | None = None,
    **options: Any,
) -> types.Message:
    """
    Send a question to a person in a chat, and let a step get the answer.

    The question waits in the storage, under its person, chat, topic and business connection. The
    next question there replaces it. telebot's own next steps take the next message of the chat from
    any person. A restart loses them, unless they are saved by pickle. They skip messages that come
    in one batch (`TeleBot._notify_next_handlers` of 4.37.1).

    The answer is the next message that the person sends there, of any content: text, media, a
    contact, a location, shared users or chats, data of a web app. If the first parameter of the
    step is annotated as a list, an album is the answer with all its messages. A press on an inline
    button of the question is an answer, too: the step gets the callback query, and should call
    `bot.answer_callback_query`. Service messages and presses on other messages go to their
    handlers.

    A command to this bot (an entity `bot_command` at the beginning, see
    https://core.telegram.org/bots/api#messageentity) ends the question and goes to its own handler.

    If the step raises, the question waits again for the time that it had left. No other update is
    the answer while the step runs. The end of the question is saved with the sessions of the step
    if they lie in one storage. So after the process was killed in the step, the question still
    waits.

    On telebot's own pool, and for another person than the sender, the question is written at once,
    so a quick answer finds it. With `use_sequential_workers` a question to the sender of the update
    is saved with the sessions of the handler, and none waits if the handler raises.

    Call `use_questions` when the bot starts. A bot with attached sessions works without that call.
    Then a restart loses the steps of its questions, and an answer that arrived before the bot asked
    for the first time may be missed.

    Args:
        bot: The bot that asks.
        to: A message, a callback query or a join request of the person, or a `Place`. After an
            ephemeral message or press, the question is ephemeral, too.
        text: The question. If it cannot be sent, the earlier question still waits.
        step: Gets the answer, as a handler does: `step(message)`, with the parameters of its
            sessions, `bot`, values of class middlewares, and `data`. Its result goes to telebot.
        timeout: Seconds or a `timedelta` after which the question is over; `None` waits for ever.
        on_timeout: A step for the first answer after the time-out. No code runs at the deadline by
            itself.
        reply_only: Whether only a reply to the question is an answer, or a press on one of its
            buttons. By default in a group, if the `reply_markup` forces a reply.
        unless: Texts, such as the menu of a reply keyboard, or a predicate of messages. Such a
            message ends the question and goes to its own handler, as a command does.
        data: Keyword arguments for the step. They are stored as JSON.
        options: Further options of `bot.send_message`, such as `reply_markup`.

    Returns:
        The message that was sent.

    Raises:
        SessionError: The bot has no sessions to keep questions in, the target names no person to
            ask, or the bot cannot send messages there, for example as a guest.
        TypeError: A step could not be called with the answer and `data`, the timeout is neither
            seconds nor a `timedelta`, or `data` is no JSON.
        ValueError: A step has no name, or that of another one; the timeout is not above 0; or an
            option would send the question to another place.
    """
    _refuse_unfit_bot(bot, "ask")
    _refuse_moving(options)
    left = checked_lifetime(timeout, "the timeout of a question", "None waits for ever")
    address, place = checked_address(bot, to), options_of(to)
    questions = _questions_of(bot)
    steps, checked_data = questions.steps, _checked_data({} if data is None else data)
    if reply_only is not None:
        checked_type("reply_only", reply_only, bool)
    if on_timeout is not None and left is None:
        raise ValueError("on_timeout is for late answers; give a timeout, too")
    forces_reply = place["chat_id"] < 0 and _forces_reply(options.get("reply_markup"))
    question = Question(
        id=uuid4().hex,
        step=_name_of(steps, step, checked_data),
        after=_number_before(to),
        reply_only=forces_reply if reply_only is None else reply_only,
        unless=_checked_unless(steps, unless),
        on_timeout=None if on_timeout is None else _name_of(steps, on_timeout, checked_data),
        data=checked_data,
    )
    all_options = _options(place, options, address.user_id)
    with questions.store.sending(address, question, left) as note:
        sent = bot.send_message(text=text, **all_options)
        note(sent.chat.id, _number_of_sent(sent))
    return sent


def cancel(bot: TeleBot, to: Target) -> bool:
    """
    End the question that waits at a target.

    Args:
        bot: The bot.
        to: The target of the question, as `ask` takes it.

    Returns:
        Whether a question waited. In the handler of a command, or of a message that is in `unless`,
        the question that this message has ended counts, too.

    Raises:
        SessionError: The bot has no sessions to keep questions in.
    """
    _refuse_unfit_bot(bot, "cancel")
    if not isinstance(to, Place) and message_of(to) is to and not hasattr(to, "from_user"):
        raise TypeError(
            "cancel takes the message, the callback query or the join request of a person, or a "
            f"Place, not an object of type {type(to).__name__}"
        )
    return _questions_of(bot).store.cancel(to)


def _list(known: Steps, steps: Iterable[Step], predicates: Iterable[Step]) -> None:
    """Make the functions of `use_questions` known."""
    for step in steps:
        known.add(step)
    for predicate in predicates:
        known.add_predicate(predicate)


def _questions_of(bot: Any) -> Questions:
    questions, attachment = Questions.of(bot), Attachment.of(bot)
    if questions is None and attachment is not None:
        questions = Questions.make(bot, attachment.first)
        attachment.when_it_ends(questions.leave)
    if questions is None:
        raise SessionError(
            "could not ask or cancel: the bot has no sessions to keep questions in; before it "
            "starts, call use_questions(bot, sessions, steps=[...])"
        )
    return questions


def _refuse_unfit_bot(bot: object, function: str) -> None:
    if not isinstance(bot, TeleBot):
        raise TypeError(
            f"{function} needs a telebot.TeleBot, whose handlers block, not an object of type "
            f"{type(bot).__name__}"
        )


def _refuse_moving(options: Mapping[str, Any]) -> None:
    for name in options:
        if name in _MOVING:
            raise ValueError(
                f"ask sends the question to the place of its second argument, where it waits; "
                f"leave {name} out, and pass a Place(chat_id=..., user_id=...) to ask elsewhere"
            )
        if "inline_message" in name:
            raise ValueError(_inline_only(name))


def _inline_only(name: str) -> str:
    return (
        f"could not ask with {name}: presses of the question would bring an inline_message_id and "
        "no message, so nothing tells which question they answer; send it without that"
    )


def _options(place: Mapping[str, Any], options: Mapping[str, Any], user_id: int) -> dict[str, Any]:
    """The options of `send_message`: those of the place, and those of the user."""
    ephemeral = options.get("ephemeral_message_parameters")
    receiver = user_id if ephemeral is None else getattr(ephemeral, "receiver_user_id", None)
    if receiver != user_id:
        raise ValueError(
            "ask sends the question to the person who is to answer; leave the "
            "ephemeral_message_parameters out, or give them the receiver_user_id of that person"
        )
    return {**place, **options}


def _number_before(to: Target) -> int | None:
    """The number of a message of the chat that is older than a question which is sent now."""
    number: int | None = getattr(message_of(to), "message_id", None)
    return number


def _number_of_sent(sent: types.Message) -> int | str:
    if (sent.json or {}).get("inline_message_id"):
        raise SessionError(_inline_only("inline_message_id"))
    return number_of(sent)


def _name_of(steps: Steps, step: Step, data: Mapping[str, Any]) -> str:
    name = steps.name_of(step)
    steps.check_data(step, data)
    return name


def _forces_reply(markup: object) -> bool:
    # An inline keyboard may force a reply, too.
    return bool(getattr(markup, "force_reply", None))


def _checked_unless(
    steps: Steps, unless: str | Iterable[str] | Callable[[types.Message], object] | None
) -> list[str] | str | None:
    """The texts that end a question, or the name of the predicate."""
    if unless is None:
        return None
    if callable(unless):
        return steps.name_of(unless, is_predicate=True)
    texts = [unless] if isinstance(unless, str) or not isinstance(unless, Iterable) else [*unless]
    for text in texts:
        if not isinstance(text, str):
            raise TypeError(
                "unless must be texts or a predicate of messages, and not both; there is an object "
                f"of type {type(text).__name__} in it"
            )
    return texts


def _checked_data(data: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of the keyword arguments for a step, decoded from their JSON."""
    if not isinstance(data, Mapping):
        raise TypeError(f"data must be a dict of keyword arguments, not {type(data).__name__}")
    checked = {}
    for name, value in data.items():
        if not isinstance(name, str) or not name.isidentifier():
            raise TypeError("the keys of data must be names of parameters of the step")
        try:
            checked[name] = json.loads(json.dumps(value, allow_nan=False))
        except (TypeError, ValueError, RecursionError):
            is_same = False
        else:
            is_same = checked[name] == value
        if not is_same:
            raise TypeError(
                f"data[{name!r}] of ask would not come back from JSON; give text, numbers, bools, "
                "None, or lists and dicts with text keys of them"
            ) from None
    return checked
