"""Updates as Telegram sends them: their JSON, their numbers and their contents."""

from __future__ import annotations

import json
from typing import Any

from telebot import types

from telesession.bot.intake import number_of

#: Parses the JSON of an update, as text or as a dict.
parse_text: Any = types.Update.de_json
# The attribute of an update that has it as Telegram sent it.
_SENT = "_telesession_raw"


def parse_sent(sent: dict[str, Any]) -> types.Update:
    """An update that keeps the form in which Telegram sent it."""
    update: types.Update = parse_text(sent)
    vars(update)[_SENT] = sent
    return update


def sent_form_of(update: Any) -> Any:
    """The form in which Telegram sent an update; `None` if the update does not keep it."""
    return vars(update).get(_SENT)


def parse_body(body: str | bytes) -> tuple[types.Update, str] | None:
    """The update in the body of a request, and its JSON; `None` if it is no update."""
    try:
        raw = body.decode() if isinstance(body, bytes) else body
        number_of(json.loads(raw))
        return parse_text(raw), raw
    except Exception:  # noqa: BLE001 -- any exception of telebot
        # Nothing is raised from here, because the exception has the body of a user's message.
        return None


def content_of(update: Any) -> tuple[str, Any]:
    """The kind of an update, and the object that handlers get."""
    for kind, content in vars(update).items():
        if content is not None and kind != "update_id" and not kind.startswith("_"):
            return kind, content
    return "", None


class PastNumber(int):
    """The number of an earlier update. It is never greater than the `last_update_id` of the bot."""

    bot: Any

    def __gt__(self, other: Any) -> bool:
        return other != self.bot.last_update_id and super().__gt__(other)
