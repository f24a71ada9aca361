"""One call of a Bot API method, as a bot made it, and the refusal it may get."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

JSON = dict[str, Any]
"""An object of the Bot API as Telegram sends it, such as an `Update` or a `User`, decoded."""

#: The reason that `bad_request` gets when an answer to a query of a user is refused.
OLD_QUERY = "query is too old and response timeout expired or query ID is invalid"

#: The description of a refusal that has a `migrate_to_chat_id`.
GROUP_UPGRADED = "Bad Request: group chat was upgraded to a supergroup chat"


@dataclass(frozen=True)
class File:
    """
    A file that a bot uploaded as part of a multipart request.

    Args:
        name: The file name that the bot gave.
        content: The bytes of the file.
    """

    name: str
    content: bytes = field(repr=False)


@dataclass(frozen=True)
class Call:
    """
    One call of a Bot API method.

    Args:
        method: The method's name, such as `"sendMessage"`.
        params: The parameters as the bot sent them. telebot sends strings, JSON-encoded where
            the Bot API asks for an object; an uploaded file is a `File`.
        token: The token that the bot used.
    """

    method: str
    params: Mapping[str, Any] = field(default_factory=dict)
    token: str = ""

    def integer(self, name: str) -> int | None:
        """A parameter as an integer, or `None` if it is missing or empty."""
        value = self.params.get(name)
        if value is None or value == "":
            return None
        try:
            return int(value)
        except (TypeError, ValueError):
            raise bad_request(f"{name} must be an integer") from None

    def json(self, name: str) -> Any:
        """A parameter as a decoded JSON value, or `None` if it is missing or empty."""
        value = self.params.get(name)
        if not isinstance(value, str):
            return value
        try:
            return json.loads(value) if value else None
        except ValueError:
            raise bad_request(f"can't parse {name} JSON object") from None

    def flag(self, name: str) -> bool:
        """Whether a boolean parameter is present and true, however the bot spelled it."""
        return str(self.params.get(name, "")).lower() in {"true", "1", "yes"}


class RefusedError(Exception):
    """
    Raised while answering a call that Telegram would refuse; the bot gets it as an error answer.

    Args:
        code: The `error_code`, which is the HTTP status too.
        description: The `description`, worded as Telegram does.
        retry_after: Seconds to wait before the next call; for code 429 only.
        migrate_to_chat_id: The id of the supergroup that a group has become.

    `parameters` has the last two that are given, as
    https://core.telegram.org/bots/api#responseparameters. See
    https://core.telegram.org/bots/api#making-requests.
    """

    def __init__(
        self,
        code: int,
        description: str,
        retry_after: int | None = None,
        migrate_to_chat_id: int | None = None,
    ) -> None:
        super().__init__(code, description, retry_after, migrate_to_chat_id)
        self.code = code
        self.description = description
        self.retry_after = retry_after
        hints = {"retry_after": retry_after, "migrate_to_chat_id": migrate_to_chat_id}
        self.parameters = {name: hint for name, hint in hints.items() if hint is not None}

    def __str__(self) -> str:
        return f"{self.code} {self.description}"

    def as_answer(self) -> JSON:
        """The error answer as the Bot API writes it."""
        answer: JSON = {"ok": False, "error_code": self.code, "description": self.description}
        if self.parameters:
            answer["parameters"] = self.parameters
        return answer


def bad_request(reason: str) -> RefusedError:
    """
    The refusal of a call that is wrong, with code 400.

    Args:
        reason: The `description` behind `Bad Request: `, worded as Telegram does.
    """
    return RefusedError(400, f"Bad Request: {reason}")
