"""The contents of the messages that a bot sends."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from telesession.testing.server.call import JSON, Call, File, bad_request
from telesession.testing.telegram import content
from telesession.testing.telegram.bot_messages import require
from telesession.testing.telegram.entities import formatted

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from telesession.testing.telegram.directory import Directory
    from telesession.testing.telegram.files import Files

_ATTACHED = "attach://"
_MAX_TEXT = 4096
_MAX_CAPTION = 1024

# The parameters of a call that are details of its file.
_DETAILS = {
    "duration": int,
    "width": int,
    "height": int,
    "length": int,
    "performer": str,
    "title": str,
    "emoji": str,
}

# The kinds of files that a spoiler can cover.
_COVERED = frozenset({"animation", "live_photo", "photo", "video"})

_LOCATION = {
    "latitude": float,
    "longitude": float,
    "horizontal_accuracy": float,
    "live_period": int,
    "heading": int,
    "proximity_alert_radius": int,
}

_CONTACT = {"phone_number": str, "first_name": str, "last_name": str, "vcard": str}


class Media:
    """
    Makes the content of a message of the parameters of a call.

    Args:
        files: The files that users and bots have sent.
        directory: The users whom a text may mention.
    """

    def __init__(self, files: Files, directory: Directory) -> None:
        self._files = files
        self._directory = directory
        self._contents: dict[str, Callable[[Call], JSON]] = {
            "sendMessage": self.text,
            "sendContact": lambda call: {"contact": _picked(call.params, _CONTACT)},
            "sendDice": lambda call: content.dice(str(call.params.get("emoji") or "🎲")),
            "sendGame": _game,
            "sendLocation": location,
            "sendChecklist": self.checklist,
            "sendRichMessage": lambda call: {"rich_message": _rich_message(call)},
            "sendVenue": _venue,
            **{_method(kind): self._file_of(kind) for kind in content.FILES},
        }

    @property
    def methods(self) -> list[str]:
        """The methods that send one message whose content is known here."""
        return list(self._contents)

    def content(self, call: Call) -> JSON:
        """The content of the message that a call of one of the `methods` sends."""
        return self._contents[call.method](call)

    def text(self, call: Call) -> JSON:
        """The text of a call and its entities."""
        if call.params.get("rich_message"):
            return {"rich_message": _rich_message(call)}
        text = self.formatted(call.params)
        if not text.get("text"):
            raise bad_request("message text is empty")
        if len(text["text"]) > _MAX_TEXT:
            raise bad_request("message is too long")
        return {**text, **_link_preview(call)}

    def caption(self, fields: Mapping[str, Any]) -> JSON:
        """The caption in the parameters of a call, or in an `InputMedia`, and its entities."""
        caption = self.formatted(fields, "caption", "caption_entities")
        if len(caption.get("caption", "")) > _MAX_CAPTION:
            raise bad_request("message caption is too long")
        if caption and _is_true(fields.get("show_caption_above_media")):
            caption["show_caption_above_media"] = True
        return caption

    def checklist(self, call: Call) -> JSON:
        """The checklist that a call describes."""
        asked = call.json("checklist") or {}
        tasks = [
            {"id": task["id"], **self.formatted(task, "text", "text_entities")}
            for task in asked.get("tasks", ())
        ]
        others = ("others_can_add_tasks", "others_can_mark_tasks_as_done")
        flags = {name: True for name in others if asked.get(name)}
        title = self.formatted(asked, "title", "title_entities")
        return {"checklist": {**title, "tasks": tasks, **flags}}

    def formatted(
        self,
        fields: Mapping[str, Any],
        name: str = "text",
        entities: str = "entities",
        mode: str = "parse_mode",
    ) -> JSON:
        """
        A text in the parameters of a call, or in an object in them, and its entities.

        Args:
            fields: The parameters.
            name: The name of the text.
            entities: The name of its entities.
            mode: The name of its parse mode.
        """
        return formatted(fields, self._directory.user, name, entities, mode)

    def input_media(self, media: Mapping[str, Any], call: Call) -> JSON:
        """The content that an `InputMedia`, or `InputPaidMedia`, in a call describes."""
        kind = str(media.get("type"))
        if kind not in content.FILES:
            raise bad_request(f"media type {kind} is unknown")
        file = self._store_file(kind, media, media.get("media"), call)
        return {**file, **self.caption(media), **_spoiler(kind, media)}

    def _file_of(self, kind: str) -> Callable[[Call], JSON]:
        def content_of(call: Call) -> JSON:
            file = self._store_file(kind, call.params, call.params.get(kind), call)
            return {**file, **self.caption(call.params), **_spoiler(kind, call.params)}

        return content_of

    def _store_file(self, kind: str, fields: Mapping[str, Any], source: Any, call: Call) -> JSON:
        """The content with a file of a kind, which a call uploads or names."""
        if isinstance(source, str) and source.startswith(_ATTACHED):
            source = call.params.get(source.removeprefix(_ATTACHED))
        if not source:
            raise bad_request(f"there is no {kind} in the request")
        made = content.FILES[kind]()
        stored = self._files.store(source)
        if kind == "photo":
            made["photo"][-1].update(stored)
            return made
        details = _picked(fields, _DETAILS)
        if isinstance(source, File) and "file_name" in made[kind]:
            details.update(content.named(source.name))
        # The fields that this kind has, with the values of the call.
        known = {name: value for name, value in details.items() if name in made[kind]}
        made[kind] = {**made[kind], **known, **stored}
        if kind == "animation":
            # As Telegram does, because some bots do not know animations.
            made["document"] = {**content.document(made[kind]["file_name"])["document"], **stored}
        return made

    def paid_media(self, call: Call) -> JSON:
        """The paid media of a call of `sendPaidMedia`."""
        media = [
            {"type": one["type"], **self.input_media(one, call)} for one in call.json("media") or ()
        ]
        paid = {"star_count": call.integer("star_count") or 0, "paid_media": media}
        return {"paid_media": paid, **self.caption(call.params)}


def location(call: Call) -> JSON:
    """The `Location` that a call describes."""
    require(call, "latitude")
    require(call, "longitude")
    return {"location": _picked(call.params, _LOCATION)}


def _venue(call: Call) -> JSON:
    names = ("title", "address", "foursquare_id", "foursquare_type", "google_place_id")
    place = location(call)
    venue = {**place, **{name: call.params[name] for name in names if name in call.params}}
    return {"venue": venue, **place}


def _game(call: Call) -> JSON:
    name = str(require(call, "game_short_name"))
    return {"game": {"title": name, "description": f"The game {name}", **content.photo()}}


def _rich_message(call: Call) -> JSON:
    """The `RichMessage` that a call describes: its blocks, or its source text as one paragraph."""
    asked = call.json("rich_message") or {}
    text = asked.get("html") or asked.get("markdown") or ""
    return {"blocks": asked.get("blocks") or [{"type": "paragraph", "text": text}]}


def _link_preview(call: Call) -> JSON:
    """The `link_preview_options` of a text; nothing if the call changes none of them."""
    options = call.json("link_preview_options") or {}
    chosen = {name: value for name, value in options.items() if value}
    return {"link_preview_options": chosen} if chosen else {}


def _spoiler(kind: str, fields: Mapping[str, Any]) -> JSON:
    """The mark of a medium that is covered until the user touches it."""
    covered = kind in _COVERED and _is_true(fields.get("has_spoiler"))
    return {"has_media_spoiler": True} if covered else {}


def _is_true(value: Any) -> bool:
    """Whether a field is true; that of a call is a string."""
    return str(value).lower() == "true"


def _picked(fields: Mapping[str, Any], kinds: Mapping[str, Callable[[Any], Any]]) -> JSON:
    """The fields of some names, each as its type."""
    return {
        name: kind(fields[name])
        for name, kind in kinds.items()
        if fields.get(name) not in (None, "")
    }


def _method(kind: str) -> str:
    """The method that sends a file of a kind, such as `sendVideoNote`."""
    return "send" + "".join(word.capitalize() for word in kind.split("_"))
