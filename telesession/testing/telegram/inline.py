"""The answers of a bot to inline queries and the like, and the messages that they become."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import uuid4

from telesession.testing.server.call import JSON, OLD_QUERY, Call, bad_request
from telesession.testing.telegram.bot_messages import require
from telesession.testing.telegram.directory import bot_user
from telesession.testing.telegram.history import Address
from telesession.testing.telegram.invoices import check_invoice
from telesession.testing.telegram.markups import check_inline

if TYPE_CHECKING:
    from collections.abc import Callable

    from telesession.testing.telegram.bot_messages import BotMessages
    from telesession.testing.telegram.media import Media

_MAX_RESULTS = 50
_DAY = 86400

# type of an `InlineQueryResult` with a file -> the kind of the file, and the start of the names of
# the fields with its url and its id
_FILES = {
    "gif": ("animation", "gif"),
    "mpeg4_gif": ("animation", "mpeg4"),
    **{kind: (kind, kind) for kind in ("audio", "document", "photo", "sticker", "video", "voice")},
}

# types of an `InlineQueryResult` that describe a message without a file -> the method that sends it
_OTHERS = {
    "contact": "sendContact",
    "game": "sendGame",
    "location": "sendLocation",
    "venue": "sendVenue",
}


class Offer(NamedTuple):
    """
    One result that the bot has offered.

    Args:
        result: The `InlineQueryResult` as the bot sent it.
        content: The fields of the message that a user sends by choosing it.
    """

    result: JSON
    content: JSON


def find_offer(offers: list[Offer], result: str) -> Offer:
    """
    The offer whose result has an id or a title.

    Raises `ValueError` if there is none.
    """
    for offer in offers:
        if result in {offer.result["id"], offer.result.get("title")}:
            return offer
    known = [offer.result.get("title") or offer.result["id"] for offer in offers]
    raise ValueError(f"there is no result {result!r} to choose; the bot has offered {known}")


class InlineAnswers:
    """
    The results that a bot has offered, by the id of the query that they answer.

    Not safe to share between threads by itself: its `BotAPI` calls it under a lock.

    Args:
        messages: Puts the answers to guest messages into chats.
        media: Makes the contents of the messages.
    """

    def __init__(self, messages: BotMessages, media: Media) -> None:
        self._messages = messages
        self._media = media
        # id of a query, or of a prepared message -> the offers
        self._offers: dict[str, list[Offer]] = {}
        # id of a guest query -> the message
        self._guests: dict[str, JSON] = {}

    def methods(self) -> dict[str, Callable[[Call], Any]]:
        """The methods of the Bot API that are answered here, by their names."""
        return {
            "answerInlineQuery": self._answer,
            "answerGuestQuery": self._answer_guest,
            "answerWebAppQuery": self._answer_web_app,
            "savePreparedInlineMessage": self._prepare,
            "savePreparedKeyboardButton": self._prepare_button,
        }

    def note(self, update: JSON) -> None:
        """Store the query of a guest message, if an update is one."""
        message = update.get("guest_message", {})
        if "guest_query_id" in message:
            self._guests[message["guest_query_id"]] = message

    def offers(self, query: JSON | str) -> list[Offer]:
        """
        The results that the bot has offered in its last answer to a query; none before.

        Args:
            query: The update with the `inline_query`, or the id of another query, such as that of
                a web app.
        """
        query_id = query if isinstance(query, str) else query["inline_query"]["id"]
        return self._offers.get(query_id, [])

    def _answer(self, call: Call) -> bool:
        """See https://core.telegram.org/bots/api#answerinlinequery."""
        query_id = str(require(call, "inline_query_id"))
        results = call.json("results") or []
        if len(results) > _MAX_RESULTS:
            raise bad_request("RESULTS_TOO_MUCH")
        if len({one["id"] for one in results}) < len(results):
            raise bad_request("RESULT_ID_DUPLICATE")
        self._offers[query_id] = [self._offer(one, call) for one in results]
        return True

    def _answer_guest(self, call: Call) -> JSON:
        """See https://core.telegram.org/bots/api#answerguestquery."""
        query = self._guests.pop(str(call.params.get("guest_query_id")), None)
        if query is None:
            raise bad_request(OLD_QUERY)
        result = call.json("result") or {}
        place = {
            "chat_id": query["chat"]["id"],
            "reply_parameters": {"message_id": query["message_id"]},
            "reply_markup": result.get("reply_markup"),
        }
        caller = {"guest_bot_caller_user": query["from"]}
        content = {**self._content(result), **caller}
        message = self._messages.send(Call(call.method, place, call.token), content)
        return {"inline_message_id": self._messages.name_inline(Address.of(message))}

    def _answer_web_app(self, call: Call) -> JSON:
        """See https://core.telegram.org/bots/api#answerwebappquery."""
        self._keep(call, str(require(call, "web_app_query_id")))
        return {"inline_message_id": uuid4().hex}

    def _prepare(self, call: Call) -> JSON:
        """See https://core.telegram.org/bots/api#savepreparedinlinemessage."""
        prepared = uuid4().hex
        self._keep(call, prepared)
        return {"id": prepared, "expiration_date": int(time.time()) + _DAY}

    @staticmethod
    def _prepare_button(call: Call) -> JSON:
        """See https://core.telegram.org/bots/api#savepreparedkeyboardbutton."""
        button = call.json("button") or {}
        if not {"request_users", "request_chat", "request_managed_bot"} & button.keys():
            raise bad_request("BUTTON_TYPE_INVALID")
        return {"id": uuid4().hex}

    def _keep(self, call: Call, query_id: str) -> None:
        self._offers[query_id] = [self._offer(call.json("result") or {}, call)]

    def _offer(self, result: JSON, call: Call) -> Offer:
        content = {**self._content(result), "via_bot": bot_user(call.token)}
        if markup := result.get("reply_markup"):
            check_inline(markup)
            content["reply_markup"] = markup
        return Offer(result, content)

    def _content(self, result: JSON) -> JSON:
        """The content of the message that a result describes."""
        described = result.get("input_message_content")
        if described and "currency" in described:
            return {"invoice": _invoice(described)}
        return self._media.content(_described(described) if described else _shown(result))


def _described(content: JSON) -> Call:
    """The call that would send an `InputMessageContent`."""
    if "message_text" in content:
        return Call("sendMessage", {**content, "text": content["message_text"]})
    if "rich_message" in content:
        return Call("sendRichMessage", content)
    if "phone_number" in content:
        return Call("sendContact", content)
    return Call("sendVenue" if "address" in content else "sendLocation", content)


def _shown(result: JSON) -> Call:
    """The call that would send a result that has no `InputMessageContent`."""
    kind = str(result.get("type"))
    if kind in _FILES:
        file, prefix = _FILES[kind]
        source = result.get(f"{prefix}_file_id") or result.get(f"{prefix}_url")
        return Call(f"send{file.capitalize()}", {**result, file: source})
    if kind in _OTHERS:
        return Call(_OTHERS[kind], result)
    raise bad_request("can't parse inline query result: message is empty")


def _invoice(content: JSON) -> JSON:
    """The `Invoice` that an `InputInvoiceMessageContent` describes."""
    check_invoice(Call("", content))
    total = sum(int(price["amount"]) for price in content["prices"])
    names = ("title", "description", "currency")
    invoice = {name: content[name] for name in names}
    return {**invoice, "start_parameter": "", "total_amount": total}
