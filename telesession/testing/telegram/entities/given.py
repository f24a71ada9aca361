"""The entities that a bot gives with a text in place of a parse mode."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from telesession.testing.server.call import JSON, bad_request
from telesession.testing.telegram.entities import links

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

#: The types that only the server gives; those of a bot are ignored.
_FOUND = (
    "mention",
    "hashtag",
    "cashtag",
    "bot_command",
    "url",
    "email",
    "phone_number",
    "bank_card_number",
)
_WITHOUT_DETAILS = (
    "bold",
    "italic",
    "underline",
    "strikethrough",
    "spoiler",
    "blockquote",
    "expandable_blockquote",
    "code",
)


def checked(entities: Iterable[Mapping[str, Any]]) -> list[JSON]:
    """
    The entities of a bot, with the fields of their types only: telebot sends all others as null.

    Raises `RefusedError` if a type is unknown, or a field is missing or wrong.

    See https://core.telegram.org/bots/api#messageentity.
    """
    return [_entity(entity) for entity in entities if entity.get("type") not in _FOUND]


def _entity(entity: Mapping[str, Any]) -> JSON:
    kind, offset, length = (_required(entity, name) for name in ("type", "offset", "length"))
    for name, number in (("offset", offset), ("length", length)):
        if number < 0:
            raise bad_request(f"receive an entity with incorrect {name} {number}")
    if kind in _WITHOUT_DETAILS:
        details = {}
    elif kind in _DETAILS:
        details = _DETAILS[kind](entity)
    else:
        raise bad_request("can't parse MessageEntity: Unsupported type specified")
    return {"type": kind, "offset": offset, "length": length, **details}


def _text_link(entity: Mapping[str, Any]) -> JSON:
    url = _required(entity, "url")
    fields = links.link(url)
    if fields is None:
        raise bad_request(f"entity URL '{url}' is invalid")
    return fields


def _text_mention(entity: Mapping[str, Any]) -> JSON:
    return {"user": {"id": _required(_required(entity, "user"), "id")}}


def _custom_emoji(entity: Mapping[str, Any]) -> JSON:
    fields = links.custom_emoji(str(_required(entity, "custom_emoji_id")))
    if fields is None:
        raise bad_request("invalid custom emoji identifier specified")
    return fields


def _date_time(entity: Mapping[str, Any]) -> JSON:
    unix_time, pattern = _required(entity, "unix_time"), entity.get("date_time_format") or ""
    fields = links.date_time(unix_time, pattern)
    if fields is None:
        raise bad_request("can't parse MessageEntity: Invalid date-time format specified")
    return fields


def _pre(entity: Mapping[str, Any]) -> JSON:
    language = entity.get("language")
    return {"language": language} if language else {}


#: type -> the fields that it has beside its place
_DETAILS: Mapping[str, Callable[[Mapping[str, Any]], JSON]] = {
    "text_link": _text_link,
    "text_mention": _text_mention,
    "custom_emoji": _custom_emoji,
    "date_time": _date_time,
    "pre": _pre,
}


def _required(entity: Mapping[str, Any], name: str) -> Any:
    if entity.get(name) is None:
        raise bad_request(f"can't parse MessageEntity: Can't find field \"{name}\"")
    return entity[name]
