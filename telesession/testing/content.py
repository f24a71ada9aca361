"""The contents of messages that users send, as Telegram writes them."""

from __future__ import annotations

import mimetypes
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from telesession.testing.entities import detect

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from telesession.testing.call import JSON


def text(words: str) -> JSON:
    """A text with its entities."""
    return {"text": words, **_entities("entities", words)}


def caption(words: str) -> JSON:
    """The caption of a photo and the like; nothing if it is empty."""
    return {"caption": words, **_entities("caption_entities", words)} if words else {}


def photo() -> JSON:
    """A photo in two sizes."""
    sizes = ((90, 67, 1387), (1280, 960, 148213))
    return {"photo": [_file(size, width=width, height=height) for width, height, size in sizes]}


def document(name: str) -> JSON:
    """A file with a name, whose type follows from the name."""
    mime_type = mimetypes.guess_type(name)[0] or "application/octet-stream"
    return {"document": _file(20481, file_name=name, mime_type=mime_type)}


def voice(seconds: int) -> JSON:
    """A voice message."""
    return {"voice": _file(3900 * seconds, duration=seconds, mime_type="audio/ogg")}


def contact(person: Mapping[str, Any], phone_number: str = "15550100") -> JSON:
    """The contact of a user of Telegram."""
    names = {name: person[name] for name in ("first_name", "last_name") if name in person}
    return {"contact": {"phone_number": phone_number, **names, "user_id": person["id"]}}


def location(latitude: float = 52.52, longitude: float = 13.405) -> JSON:
    """A place on the map."""
    return {"location": {"latitude": latitude, "longitude": longitude}}


def users_shared(people: Iterable[Mapping[str, Any]], request_id: int, *, names: bool) -> JSON:
    """Users who were chosen after a button had requested them."""
    known = ("first_name", "last_name", "username") if names else ()
    users = [
        {"user_id": person["id"], **{name: person[name] for name in known if name in person}}
        for person in people
    ]
    return {"users_shared": {"request_id": request_id, "users": users}}


def chat_shared(chat: Mapping[str, Any], request_id: int, *, names: bool) -> JSON:
    """A chat that was chosen after a button had requested one."""
    known = ("title", "username") if names else ()
    shown = {name: chat[name] for name in known if name in chat}
    return {"chat_shared": {"request_id": request_id, "chat_id": chat["id"], **shown}}


def web_app_data(data: str, button_text: str) -> JSON:
    """The data that a web app has sent."""
    return {"web_app_data": {"data": data, "button_text": button_text}}


def checklist(title: str, tasks: Iterable[str]) -> JSON:
    """A list of tasks, none of which is done."""
    numbered = [{"id": number, "text": task} for number, task in enumerate(tasks, 1)]
    return {"checklist": {"title": title, "tasks": numbered}}


def paid_media(stars: int) -> JSON:
    """A photo that costs stars."""
    return {"paid_media": {"star_count": stars, "paid_media": [{"type": "photo", **photo()}]}}


def suggested_post(stars: int | None) -> JSON:
    """The part of a suggested post beside its text or photo: its state, and its price if any."""
    price = {} if stars is None else {"price": {"currency": "XTR", "amount": stars}}
    return {"suggested_post_info": {"state": "pending", **price}}


def _file(size: int, **details: Any) -> JSON:
    number = uuid4().hex
    return {"file_id": f"file-{number}", "file_unique_id": number, "file_size": size, **details}


def _entities(name: str, words: str) -> JSON:
    """The entities that Telegram's servers find in a text, under a name; nothing if none."""
    entities = detect(words)
    return {name: entities} if entities else {}
