"""The entities that links make."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from telesession.testing.server.call import JSON

_TG = re.compile(r"tg:(?://)?(user|emoji|time)/?\?([^#]*)", re.IGNORECASE)
_INTEGER = re.compile(r"-?[1-9][0-9]*")
_DATE_TIME = re.compile(r"[tTdDwW]*")

_HOST = r"[\w.!$,~*'();&+=%-]+"
_WEB = re.compile(
    r"(?:(?P<scheme>https?)://)?(?P<user>[^/?#@]+@)?"
    rf"(?P<host>{_HOST}\.{_HOST})(?P<port>:[0-9]{{1,5}})?(?P<path>[/?#].*)?",
    re.IGNORECASE | re.DOTALL,
)
_APP = re.compile(r"(tg|ton):(?://)?([a-z0-9_-]+)/?([/?#].*)?", re.IGNORECASE | re.DOTALL)


def link(url: str) -> JSON | None:
    """
    The fields of the entity of a link; `None` if Telegram drops the link.

    A link `tg://user?id=7` mentions a user. Only the id of the user is known here.
    """
    host, query = _tg(url)
    if host == "user" and _INTEGER.fullmatch(query.get("id", "")):
        return {"type": "text_mention", "user": {"id": int(query["id"])}}
    checked = _checked(url)
    return {"type": "text_link", "url": checked} if checked else None


def emoji_or_time(url: str) -> JSON | None:
    """The fields of the entity of a link `tg://emoji` or `tg://time`; `None` of another one."""
    host, query = _tg(url)
    if host == "emoji":
        return custom_emoji(query.get("id", ""))
    if host == "time" and _INTEGER.fullmatch(query.get("unix", "")):
        return date_time(int(query["unix"]), query.get("format", ""))
    return None


def custom_emoji(emoji_id: str) -> JSON | None:
    """The fields of a custom emoji; `None` if its id is no integer."""
    if _INTEGER.fullmatch(emoji_id):
        return {"type": "custom_emoji", "custom_emoji_id": emoji_id}
    return None


def date_time(unix_time: int, pattern: str) -> JSON | None:
    """
    The fields of a formatted date and time; `None` if its format is wrong.

    Args:
        unix_time: Seconds since 1970.
        pattern: `r` for a relative time, or letters of `wdDtT` in any order; may be empty.

    See https://core.telegram.org/bots/api#date-time-entity-formatting.
    """
    if pattern in ("r", "R"):
        ordered = "r"
    elif _DATE_TIME.fullmatch(pattern):
        # Telegram writes the day of the week first and the short form of two.
        parts = (("w", "W"), ("d", "D"), ("t", "T"))
        shown = [next((letter for letter in part if letter in pattern), "") for part in parts]
        ordered = "".join(shown).replace("W", "w")
    else:
        return None
    return {"type": "date_time", "unix_time": unix_time, "date_time_format": ordered}


def _tg(url: str) -> tuple[str, dict[str, str]]:
    """The host and the query of a link to an object of Telegram; both empty for another one."""
    found = _TG.fullmatch(url.partition("#")[0])
    if found is None:
        return "", {}
    parameters = (parameter.partition("=") for parameter in found[2].split("&"))
    return found[1].lower(), {name: value for name, _, value in parameters}


def _checked(url: str) -> str:
    """A link as Telegram's servers write it; empty if they do not accept it."""
    if app := _APP.fullmatch(url):
        scheme, host, path = app.groups()
        return f"{scheme.lower()}://{host.lower()}{_escaped(path or '/')}"
    web = _WEB.fullmatch(url)
    if web is None:
        return ""
    scheme, user, host, port, path = (part or "" for part in web.groups())
    slash = "" if path.startswith("/") else "/"
    start = f"{(scheme or 'http').lower()}://{user}{host.lower()}{port}"
    return f"{start}{slash}{_escaped(path)}"


def _escaped(path: str) -> str:
    """A path or query without spaces."""
    return re.sub(r"[\x00-\x20]", lambda found: f"%{ord(found[0]):02X}", path.rstrip())
