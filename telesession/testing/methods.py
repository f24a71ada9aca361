"""What the methods of the loopback Bot API do."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from telesession.testing.call import JSON, Call, RefusedError
from telesession.testing.history import Address, History, SentMessage, topic_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from telesession.testing.files import Files
    from telesession.testing.payments import Payments
    from telesession.testing.updates import Updates
    from telesession.testing.webhook import Webhook

_MAX_TEXT = 4096

#: Methods that send a message whose content is ignored here, but for its caption.
_MEDIA = (
    "Animation Audio Contact Dice Document Game Location Photo Poll Sticker Venue Video VideoNote "
    "Voice"
)

#: The fields of a message that say in which topic it is.
_TOPIC = ("message_thread_id", "is_topic_message", "direct_messages_topic")

#: The fields of a message that a copy of it has not.
_NOT_COPIED = (
    "message_id",
    "from",
    "sender_chat",
    "sender_business_bot",
    "chat",
    "date",
    "edit_date",
    "reply_to_message",
    "reply_markup",
    *_TOPIC,
    "business_connection_id",
    "ephemeral_message_id",
    "receiver_user",
    "suggested_post_info",
)


class Methods:
    """
    Answers calls; a method that is not in its table is answered `True`.

    Args:
        history: Where messages are kept.
        updates: The queue that `getUpdates` reads.
        webhook: What `setWebhook` and its like switch.
        payments: The invoices, and the users who pay them.
        files: The files that a bot can download.
    """

    def __init__(
        self,
        history: History,
        updates: Updates,
        webhook: Webhook,
        payments: Payments,
        files: Files,
    ) -> None:
        self._history = history
        self._payments = payments
        self._table: dict[str, Callable[[Call], Any]] = {
            "getUpdates": updates.poll,
            "setWebhook": webhook.set,
            "deleteWebhook": webhook.delete,
            "getWebhookInfo": webhook.info,
            "getMe": self._get_me,
            "getFile": files.get,
            "sendMessage": self._send_message,
            "editMessageText": self._edit_text,
            "editMessageReplyMarkup": self._edit_markup,
            "deleteMessage": self._delete_message,
            "editEphemeralMessageText": self._edit_text,
            "editEphemeralMessageReplyMarkup": self._edit_markup,
            "deleteEphemeralMessage": self._delete_message,
            "copyMessage": self._copy_message,
            "copyMessages": self._copy_messages,
            "sendInvoice": self._send_invoice,
            "answerPreCheckoutQuery": payments.answer,
            **{f"send{kind}": self._send_media for kind in _MEDIA.split()},
        }

    def answer(self, call: Call) -> Any:
        """The `result` of a call; raises `RefusedError` where Telegram would refuse."""
        method = self._table.get(call.method)
        return True if method is None else method(call)

    def _get_me(self, call: Call) -> JSON:
        return {
            **_bot_user(call.token),
            "can_join_groups": True,
            "can_read_all_group_messages": True,
            "supports_inline_queries": True,
        }

    def _send_message(self, call: Call) -> JSON:
        return self._send(call, text=_text(call))

    def _send_media(self, call: Call) -> JSON:
        caption = call.params.get("caption")
        return self._send(call, **({"caption": caption} if caption else {}))

    def _send_invoice(self, call: Call) -> JSON:
        invoice = self._payments.invoice_of(call)
        if not call.params.get("reply_markup"):
            label = f"Pay {invoice['total_amount']} {invoice['currency']}"
            markup = {"inline_keyboard": [[{"text": label, "pay": True}]]}
            call = Call(call.method, {**call.params, "reply_markup": markup}, call.token)
        message = self._send(call, invoice=invoice)
        self._payments.add_invoice(message, str(call.params.get("payload", "")))
        return message

    def _copy_message(self, call: Call) -> JSON:
        content = self._content(call, call.integer("message_id"))
        if content is None:
            raise RefusedError(400, "Bad Request: message to copy not found")
        if (caption := call.params.get("caption")) is not None:
            content["caption"] = caption
        return _number_of(self._send(call, **content))

    def _copy_messages(self, call: Call) -> list[JSON]:
        contents = [self._content(call, number) for number in call.json("message_ids") or ()]
        # Telegram skips messages that it does not find.
        found = [content for content in contents if content]
        if not found:
            raise RefusedError(400, "Bad Request: there are no messages to copy")
        return [_number_of(self._send(call, **content)) for content in found]

    def _content(self, call: Call, message_id: int | None) -> JSON | None:
        """The fields that a copy of a message has; `None` if there is no such message."""
        chat = self._history.chat(_require(call, "from_chat_id"))
        message = self._history.find(Address(chat["id"], message_id or 0))
        return None if message is None else without(message, *_NOT_COPIED)

    def _send(self, call: Call, **content: Any) -> JSON:
        chat = self._history.chat(_require(call, "chat_id"))
        place = self._place(call, chat)
        message: JSON = {
            "from": _bot_user(call.token),
            "chat": chat,
            "date": int(time.time()),
            **content,
            **place,
        }
        if replied := self._history.find(_replied(call, chat["id"])):
            message["reply_to_message"] = without(replied, "reply_to_message")
            if topic_of(message) is None:
                # A reply is in the topic of the message that it answers.
                message.update((name, replied[name]) for name in _TOPIC if name in replied)
        message = self._history.number(message, ephemeral="receiver_user" in place)
        return self._publish(call, message)

    def _place(self, call: Call, chat: JSON) -> JSON:
        """The fields of a message that say where in its chat, and to whom, the bot sends it."""
        place: JSON = {}
        if topic := call.integer("message_thread_id"):
            place.update(message_thread_id=topic, is_topic_message=True)
        if direct := call.integer("direct_messages_topic_id"):
            user = self._history.user(direct)
            place["direct_messages_topic"] = {"topic_id": direct, "user": user}
        elif chat.get("is_direct_messages") and not call.params.get("reply_parameters"):
            raise RefusedError(400, "Bad Request: direct_messages_topic_id is empty")
        if connection_id := call.params.get("business_connection_id"):
            place["business_connection_id"] = connection_id
            place["from"] = self._history.owner(connection_id)
            place["sender_business_bot"] = _bot_user(call.token)
        if parameters := call.json("ephemeral_message_parameters"):
            place["receiver_user"] = self._history.user(parameters["receiver_user_id"])
        return place

    def _edit_text(self, call: Call) -> JSON | bool:
        return self._edit(call, text=_text(call))

    def _edit_markup(self, call: Call) -> JSON | bool:
        return self._edit(call)

    def _edit(self, call: Call, **content: Any) -> JSON | bool:
        if call.params.get("inline_message_id"):
            return True
        former = self._find(call, "edit")
        message = without({**former, **content}, "reply_markup")
        markup = call.json("reply_markup")
        if (message, markup) == (without(former, "reply_markup"), former.get("reply_markup")):
            raise RefusedError(
                400,
                "Bad Request: message is not modified: specified new message content and reply "
                "markup are exactly the same as a current content and reply markup of the message",
            )
        edited = self._publish(call, {**message, "edit_date": int(time.time())})
        return True if "receiver_user" in edited else edited

    def _delete_message(self, call: Call) -> bool:
        message = self._find(call, "delete")
        self._history.forget(message)
        return True

    def _find(self, call: Call, action: str) -> JSON:
        chat = self._history.chat(_require(call, "chat_id"))
        address = Address(
            chat["id"],
            call.integer("message_id") or 0,
            call.params.get("business_connection_id"),
            call.integer("ephemeral_message_id"),
        )
        message = self._history.find(address)
        receiver = (message or {}).get("receiver_user", {}).get("id")
        if message is None or receiver != call.integer("receiver_user_id"):
            raise RefusedError(400, f"Bad Request: message to {action} not found")
        return message

    def _publish(self, call: Call, message: JSON) -> JSON:
        """Put a message with the keyboard of the call into the history."""
        markup = call.json("reply_markup")
        # Telegram's answers show inline keyboards only.
        if markup and "inline_keyboard" in markup:
            message["reply_markup"] = markup
        sent = SentMessage(
            message["message_id"],
            message["chat"]["id"],
            message.get("text") or message.get("caption") or "",
            markup,
            message.get("reply_to_message", {}).get("message_id"),
            message,
        )
        self._history.add_sent(sent)
        return message


def without(message: JSON, *names: str) -> JSON:
    """A copy of a JSON object that lacks some of its members."""
    return {name: value for name, value in message.items() if name not in names}


def _number_of(message: JSON) -> JSON:
    """The `MessageId` of a message."""
    return {"message_id": message["message_id"]}


def _bot_user(token: str) -> JSON:
    number = token.partition(":")[0]
    return {
        "id": int(number) if number.isdecimal() else 1,
        "is_bot": True,
        "first_name": "Test Bot",
        "username": "test_bot",
    }


def _require(call: Call, name: str) -> Any:
    if call.params.get(name) in (None, ""):
        raise RefusedError(400, f"Bad Request: {name} is empty")
    return call.params[name]


def _text(call: Call) -> str:
    text = str(call.params.get("text", ""))
    if not text.strip():
        raise RefusedError(400, "Bad Request: message text is empty")
    if len(text) > _MAX_TEXT:
        raise RefusedError(400, "Bad Request: message is too long")
    return text


def _replied(call: Call, chat_id: int) -> Address:
    """The address of the message that a call replies to; 0 if it replies to none."""
    parameters = call.json("reply_parameters") or {}
    message_id = parameters.get("message_id") or call.integer("reply_to_message_id") or 0
    connection_id = call.params.get("business_connection_id")
    return Address(chat_id, message_id, connection_id, parameters.get("ephemeral_message_id"))
