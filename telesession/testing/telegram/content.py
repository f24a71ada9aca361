"""The contents of messages that users send, as Telegram writes them."""

from __future__ import annotations

import mimetypes
import random
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from telesession.testing.telegram.entities import detect
from telesession.testing.telegram.ids import new_id

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from telesession.testing.server.call import JSON

# The highest value of each emoji, see https://core.telegram.org/bots/api#dice.
_DICE = {"🎲": 6, "🎯": 6, "🎳": 6, "🏀": 5, "⚽": 5, "🎰": 64}


def text(words: str) -> JSON:
    """
    A text with its entities.

    Raises `ValueError` for one that Telegram's apps would not send, because it is empty.
    """
    if not words.strip():
        raise ValueError("cannot send an empty text: give a text with a visible character")
    return {"text": words, **_entities("entities", words)}


def caption(words: str) -> JSON:
    """The caption of a photo and the like; nothing if it is empty."""
    return {"caption": words, **_entities("caption_entities", words)} if words else {}


def photo() -> JSON:
    """A photo in two sizes."""
    return {"photo": [_picture(90, 67), _picture(1280, 960)]}


def live_photo() -> JSON:
    """A photo with a short video, beside the photo that bots without live photos read."""
    still = photo()
    moving = _file(912640, **still, width=1280, height=960, duration=3, mime_type="video/quicktime")
    return {"live_photo": moving, **still}


def video(seconds: int) -> JSON:
    """A video with its thumbnail."""
    return {
        "video": _file(
            182000 * seconds,
            duration=seconds,
            width=1280,
            height=720,
            file_name="video.mp4",
            mime_type="video/mp4",
            thumbnail=_picture(320, 180),
        )
    }


def animation() -> JSON:
    """A video without sound, beside the document that bots without animations read."""
    file = _file(
        61440, file_name="animation.mp4", mime_type="video/mp4", thumbnail=_picture(320, 180)
    )
    return {"animation": {**file, "duration": 2, "width": 480, "height": 270}, "document": file}


def audio(title: str, performer: str, seconds: int) -> JSON:
    """A piece of music."""
    return {
        "audio": _file(
            16000 * seconds,
            duration=seconds,
            title=title,
            performer=performer,
            file_name=f"{title}.mp3",
            mime_type="audio/mpeg",
        )
    }


def document(name: str) -> JSON:
    """A file with a name, whose type follows from the name."""
    return {"document": _file(20481, **named(name))}


def named(name: str) -> JSON:
    """The fields of a file with a name."""
    mime_type = mimetypes.guess_type(name)[0] or "application/octet-stream"
    return {"file_name": name, "mime_type": mime_type}


def voice(seconds: int) -> JSON:
    """A voice message."""
    return {"voice": _file(3900 * seconds, duration=seconds, mime_type="audio/ogg")}


def video_note(seconds: int) -> JSON:
    """A round video with its thumbnail."""
    thumbnail = _picture(240, 240)
    return {"video_note": _file(91000 * seconds, duration=seconds, length=384, thumbnail=thumbnail)}


def sticker(emoji: str) -> JSON:
    """A static sticker of a set."""
    return {
        "sticker": _file(
            24310,
            type="regular",
            width=512,
            height=512,
            emoji=emoji,
            set_name="tea_stickers",
            is_animated=False,
            is_video=False,
            thumbnail=_picture(128, 128),
        )
    }


def dice(emoji: str = "🎲", value: int | None = None) -> JSON:
    """
    A die, or another emoji with a random value.

    Args:
        emoji: One of 🎲 🎯 🎳 🏀 ⚽ 🎰, as https://core.telegram.org/bots/api#dice has them.
        value: The value, from 1 to 6, 5 (🏀 ⚽) or 64 (🎰); by default one by chance.

    Raises `ValueError` if Telegram has no such emoji, or the emoji no such value.
    """
    if emoji not in _DICE:
        raise ValueError(f"{emoji!r} is no dice of Telegram; use one of {' '.join(_DICE)}")
    values = range(1, _DICE[emoji] + 1)
    if value is None:
        value = random.choice(values)  # noqa: S311 -- no secret
    elif value not in values:
        raise ValueError(f"{emoji} cannot show {value}; its values are 1 to {_DICE[emoji]}")
    return {"dice": {"emoji": emoji, "value": value}}


def contact(person: Mapping[str, Any], phone_number: str = "15550100") -> JSON:
    """The contact of a user of Telegram."""
    names = {name: person[name] for name in ("first_name", "last_name") if name in person}
    return {"contact": {"phone_number": phone_number, **names, "user_id": person["id"]}}


def location(latitude: float = 52.52, longitude: float = 13.405) -> JSON:
    """A place on the map."""
    return {"location": {"latitude": latitude, "longitude": longitude}}


def venue(title: str, address: str) -> JSON:
    """A place with a name, beside the location that bots without venues read."""
    place = location()
    return {"venue": {**place, "title": title, "address": address}, **place}


def poll(question: str, options: Iterable[str]) -> JSON:
    """An anonymous poll in which no vote has been cast."""
    return {
        "poll": {
            "id": new_id(),
            "question": question,
            "options": [
                {"persistent_id": uuid4().hex, "text": option, "voter_count": 0}
                for option in options
            ],
            "total_voter_count": 0,
            "is_closed": False,
            "is_anonymous": True,
            "type": "regular",
            "allows_multiple_answers": False,
            "allows_revoting": True,
            "members_only": False,
        }
    }


def game(title: str, description: str) -> JSON:
    """A game, as a user sends it through an inline bot."""
    return {"game": {"title": title, "description": description, **photo()}}


def new_chat_members(people: Sequence[JSON]) -> JSON:
    """The service message about new members, beside the first of them for old bots."""
    first = people[0]
    return {
        "new_chat_participant": first,
        "new_chat_member": first,
        "new_chat_members": [*people],
    }


def left_chat_member(person: JSON) -> JSON:
    """The service message about a member who is gone, in a second field for old bots."""
    return {"left_chat_participant": person, "left_chat_member": person}


def pinned_message(message: JSON) -> JSON:
    """The content of the message about a pinned message, which is in the same topic."""
    topic = ("message_thread_id", "is_topic_message")
    place = {name: message[name] for name in topic if name in message}
    pinned = {name: value for name, value in message.items() if name != "reply_to_message"}
    return {**place, "pinned_message": pinned}


def successful_payment(order: JSON, payment_id: str) -> JSON:
    """
    The service message about a payment.

    Args:
        order: The `currency`, the `total_amount` and the `invoice_payload`.
        payment_id: The part that the ids of its two charges have in common.
    """
    return {
        "successful_payment": {
            **order,
            "telegram_payment_charge_id": f"charge-{payment_id}",
            "provider_payment_charge_id": f"provider-{payment_id}",
        }
    }


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


def _picture(width: int, height: int) -> JSON:
    return _file(width * height // 8, width=width, height=height)


def _file(size: int, **details: Any) -> JSON:
    number = uuid4().hex
    return {"file_id": f"file-{number}", "file_unique_id": number, "file_size": size, **details}


def _entities(name: str, words: str) -> JSON:
    """The entities that Telegram's servers find in a text, under a name; nothing if none."""
    entities = detect(words)
    return {name: entities} if entities else {}


#: kind of a message with a file -> a function that makes its content
FILES: dict[str, Callable[[], JSON]] = {
    "animation": animation,
    "audio": lambda: audio("Untitled", "Unknown", 180),
    "document": lambda: document("file"),
    "live_photo": live_photo,
    "photo": photo,
    "sticker": lambda: sticker("🙂"),
    "video": lambda: video(10),
    "video_note": lambda: video_note(10),
    "voice": lambda: voice(3),
}
