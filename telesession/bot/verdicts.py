"""Verdicts: the meaning of a message for a question that waits for its sender."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Literal

from telesession.bot.place import ephemeral_id, number_of

if TYPE_CHECKING:
    from telesession.bot.question import Question
    from telesession.bot.steps import Steps

_log = logging.getLogger("telesession")

#: The contents of messages that a person sends on purpose, as the fields of
#: https://core.telegram.org/bots/api#message. All others are of service messages.
_CONTENTS = frozenset(
    (
        "animation",
        "audio",
        "chat_shared",
        "checklist",
        "contact",
        "dice",
        "document",
        "game",
        "giveaway",
        "invoice",
        "live_photo",
        "location",
        "paid_media",
        "photo",
        "poll",
        "rich_message",
        "sticker",
        "story",
        "text",
        "users_shared",
        "venue",
        "video",
        "video_note",
        "voice",
        "web_app_data",
    )
)

# telebot 4.37.1 gives these content types to messages that have one of the contents, too: `None`
# to checklists and paid media, the other one to posts that are suggested to a channel.
_HIDING = (None, "suggested_post_info")


# Away messages of a business account, the bot's own messages in its name, and posts that a channel
# passes on to its group.
_AUTOMATIC = ("is_from_offline", "sender_business_bot", "is_automatic_forward")

#: `answer`: a message is the answer to a question. `end`: it ends the question, and goes to its own
#: handler. `part`: it belongs to an album that a step has got.
Verdict = Literal["answer", "end", "part"]


def has_content(message: Any) -> bool:
    """Whether a message has a content that a person sends, and is no service message."""
    kind = message.content_type
    return kind in _CONTENTS or (kind in _HIDING and not _CONTENTS.isdisjoint(message.json or ()))


def is_automatic(message: Any) -> bool:
    """Whether no person has sent a message on purpose."""
    return any(getattr(message, name, None) for name in _AUTOMATIC)


def judge(bot: Any, steps: Steps, question: Question, message: Any) -> Verdict | None:
    """The meaning of a message with a content for a question; `None` without one."""
    command = _command_of(message)
    if command is not None:
        return "end" if _is_for(bot, command) else None
    if _is_exit(steps, question.unless, message):
        return "end"
    if question.reply_only and not _is_reply(question, message):
        return None
    return "answer"


def _command_of(message: Any) -> str | None:
    """The command that a message begins with, such as `/help@some_bot`, by Telegram's entities."""
    for entity in message.entities or ():
        if entity.type == "bot_command" and entity.offset == 0:
            # Commands are ASCII, so Telegram's UTF-16 units are letters.
            command: str = message.text[: entity.length]
            return command
    return None


def _is_for(bot: Any, command: str) -> bool:
    """Whether a command is for a bot: it names the bot, or none."""
    name = command.partition("@")[2]
    # telebot asks Telegram once for the name, and keeps it.
    return not name or name.lower() == (bot.user.username or "").lower()


def _is_exit(steps: Steps, unless: list[str] | str | None, message: Any) -> bool:
    """Whether a message ends a question by its `unless`."""
    if unless is None or isinstance(unless, list):
        return message.text is not None and message.text in (unless or ())
    predicate = steps.find(unless)
    if predicate is None:
        _log.error(
            "a question waits with the predicate %.100r, which is not listed, so it is left out; "
            "list it: use_questions(bot, sessions, unless=[...])",
            unless,
        )
        return False
    return bool(predicate(message))


def _is_reply(question: Question, message: Any) -> bool:
    """Whether a message is a reply to the message of a question."""
    replied = message.reply_to_message
    if replied is None:
        # Telegram may leave it out in replies to ephemeral messages.
        return isinstance(question.message, str) and ephemeral_id(message) is not None
    return question.is_message(message.chat.id, number_of(replied))
