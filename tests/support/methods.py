"""The methods of telebot's `TeleBot` that call the Bot API, with realistic arguments for each."""

from __future__ import annotations

import inspect
import io
import re
import types as python_types
import typing
from functools import cached_property
from typing import TYPE_CHECKING, Any

from telebot import TeleBot, types

if TYPE_CHECKING:
    from collections.abc import Callable

    from telesession.testing import BotAPI

CONNECTION = "business-1"
DAY = 86400
GIFT = "5170233102089322756"
GROUP = -1001
FILE = b"content"
TEXT = types.InputTextMessageContent("tea")
ARTICLE = types.InlineQueryResultArticle("1", "Tea", TEXT)
LABELS = types.InlineKeyboardMarkup([[types.InlineKeyboardButton("Yes", callback_data="yes")]])


def original(name: str) -> Callable[..., Any]:
    """A method of telebot without the wrapper of one that is deprecated."""
    method = getattr(TeleBot, name)
    function: Callable[..., Any] = inspect.getclosurevars(method).nonlocals.get("function", method)
    return function


def _methods() -> list[str]:
    """Every public method that calls the Bot API, itself or through another one."""
    sources = {
        name: inspect.getsource(original(name))
        for name, _ in inspect.getmembers(TeleBot, inspect.isfunction)
        if not name.startswith("_")
    }
    own = {name for name, source in sources.items() if re.search(r"\bapihelper\.\w+\(", source)}
    through = re.compile(rf"return self\.(?:{'|'.join(own)})\(")
    return sorted(own | {name for name, source in sources.items() if through.search(source)})


METHODS = _methods()

#: The results of the methods that telebot 4.37.1 does not annotate, or annotates with a type that
#: it does not give.
RESULTS: dict[str, Any] = {
    "answer_web_app_query": dict,
    "delete_messages": bool,
    "get_my_description": types.BotDescription,
    "get_my_name": types.BotName,
    "get_my_short_description": types.BotShortDescription,
    "get_forum_topic_icon_stickers": list[dict[str, Any]],
    "send_message_draft": bool,
    "set_chat_sticker_set": bool,
    "set_my_description": bool,
    "set_my_name": bool,
    "set_my_short_description": bool,
    "set_sticker_set_thumb": bool,
}

#: The methods that telebot 4.37.1 cannot call, because it calls a function that it does not have.
BROKEN = {"remove_my_profile_photo"}


def result_of(method: str) -> Any:
    """The type of the result of a method."""
    if method in RESULTS:
        return RESULTS[method]
    return typing.get_type_hints(original(method))["return"]


def fits(value: object, kind: Any) -> bool:
    """Whether a value is of a type, which may be a union or a list."""
    origin, parts = typing.get_origin(kind), typing.get_args(kind)
    if origin in {typing.Union, python_types.UnionType}:
        return any(fits(value, part) for part in parts)
    if origin is dict:
        return isinstance(value, dict)
    if origin is list:
        return isinstance(value, list) and all(fits(one, parts[0]) for one in value)
    return isinstance(value, kind)


class Prepared:
    """
    What a bot needs before it can call some methods, each made when it is first used.

    Args:
        bot: The bot.
        api: The server of the bot.
    """

    def __init__(self, bot: TeleBot, api: BotAPI) -> None:
        self.bot = bot
        self.api = api
        self.ada = api.user(1, first_name="Ada")
        self.group = api.group(GROUP, forum=True)

    @cached_property
    def message(self) -> types.Message:
        return self.bot.send_message(GROUP, "hi", reply_markup=LABELS)

    @cached_property
    def photo(self) -> types.Message:
        return self.bot.send_photo(GROUP, FILE)

    @cached_property
    def live_location(self) -> types.Message:
        return self.bot.send_location(GROUP, 52.5, 13.4, live_period=3600)

    @cached_property
    def poll(self) -> types.Message:
        return self.bot.send_poll(GROUP, "Tea?", [types.InputPollOption("Yes")])

    @cached_property
    def game(self) -> types.Message:
        return self.bot.send_game(GROUP, "chess")

    @cached_property
    def pin(self) -> types.Message:
        self.bot.pin_chat_message(GROUP, self.message.message_id)
        return self.message

    @cached_property
    def ephemeral_photo(self) -> types.Message:
        return self.bot.send_photo(
            GROUP, FILE, ephemeral_message_parameters=types.EphemeralMessageParameters(1)
        )

    @cached_property
    def ephemeral(self) -> types.Message:
        return self.bot.send_message(
            GROUP, "hi", ephemeral_message_parameters=types.EphemeralMessageParameters(1)
        )

    @cached_property
    def business(self) -> dict[str, Any]:
        """A message of a customer, who is the user 1, to a business account."""
        message: dict[str, Any] = self.ada.send("hi", chat=self.business_chat)["business_message"]
        return message

    @cached_property
    def business_chat(self) -> Any:
        return self.api.business_chat(self.ada, owner=self.api.user(3), connection_id=CONNECTION)

    @cached_property
    def checklist(self) -> types.Message:
        return self.bot.send_checklist(CONNECTION, self.business["chat"]["id"], checklist("Shop"))

    @cached_property
    def file(self) -> types.File:
        return self.bot.get_file("file-1")

    @cached_property
    def sticker_set(self) -> types.StickerSet:
        stickers = [types.InputSticker(FILE, ["🙂"], "static") for _ in range(2)]
        self.bot.create_new_sticker_set(1, "tea_by_test_bot", "Tea", stickers=stickers)
        return self.bot.get_sticker_set("tea_by_test_bot")

    @property
    def sticker(self) -> str:
        return str(self.sticker_set.stickers[0].file_id)

    @cached_property
    def owned_gift(self) -> str:
        self.api.add_stars(1000)
        self.bot.send_gift(self.business_chat.owner["id"], GIFT, pay_for_upgrade=True)
        gifts = self.bot.get_business_account_gifts(CONNECTION).gifts
        return str(gifts[0].owned_gift_id)

    @cached_property
    def unique_gift(self) -> str:
        self.bot.upgrade_gift(CONNECTION, self.owned_gift, star_count=0)
        return self.owned_gift

    @cached_property
    def business_stars(self) -> int:
        self.bot.convert_gift_to_stars(CONNECTION, self.owned_gift)
        return int(self.bot.get_business_account_star_balance(CONNECTION).amount)

    @cached_property
    def story(self) -> types.Story:
        return self.bot.post_story(CONNECTION, types.InputStoryContentPhoto(FILE), DAY)

    @cached_property
    def checkout(self) -> str:
        """The id of the query of a user who pays an invoice."""
        invoice = self.bot.send_invoice(
            1, "Tea", "hot", "tea", "", "XTR", [types.LabeledPrice("tea", 5)]
        )
        return str(self.ada.pay(invoice)["pre_checkout_query"]["id"])

    @cached_property
    def shipping(self) -> str:
        """The id of the query of a user who pays an invoice with shipping."""
        prices = [types.LabeledPrice("tea", 500)]
        invoice = self.bot.send_invoice(
            1, "Tea", "hot", "tea", "1:TEST", "EUR", prices, is_flexible=True
        )
        return str(self.ada.pay(invoice)["shipping_query"]["id"])

    @cached_property
    def charge(self) -> str:
        """The charge of a payment in stars."""
        self.bot.answer_pre_checkout_query(self.checkout, ok=True)
        payment = self.api.unconfirmed[-1]["message"]["successful_payment"]
        return str(payment["telegram_payment_charge_id"])

    @cached_property
    def inline_query(self) -> str:
        return str(self.ada.inline("tea")["inline_query"]["id"])

    @cached_property
    def guest_query(self) -> str:
        return str(self.ada.summon("@bot hi", self.group)["guest_message"]["guest_query_id"])

    @cached_property
    def press(self) -> str:
        return str(self.ada.press(self.message, "yes")["callback_query"]["id"])

    @cached_property
    def join_request(self) -> int:
        return int(self.ada.request_to_join(self.group)["chat_join_request"]["from"]["id"])

    @cached_property
    def join_query(self) -> str:
        """The id of the query of a join request, which the kit's users do not make."""
        chat = {"id": GROUP, "type": "supergroup", "title": "Tea"}
        request = {"chat": chat, "from": self.ada.json, "user_chat_id": 1, "date": 1767225600}
        self.api.push({"chat_join_request": {**request, "query_id": "1"}})
        return "1"

    @cached_property
    def post(self) -> dict[str, Any]:
        """A post that the user 1 suggests to a channel."""
        chat = self.api.direct_messages(-1003)
        message: dict[str, Any] = self.ada.suggest("news", chat=chat)["message"]
        return message

    @cached_property
    def topic(self) -> int:
        return int(self.bot.create_forum_topic(GROUP, "Tea").message_thread_id)

    @cached_property
    def closed_topic(self) -> int:
        self.bot.close_forum_topic(GROUP, self.topic)
        return self.topic

    @cached_property
    def forum_without_general_topic(self) -> int:
        """The forum whose general topic is closed and hidden."""
        self.bot.hide_general_forum_topic(self.group.id)
        return self.group.id

    @cached_property
    def administrator(self) -> int:
        self.bot.promote_chat_member(GROUP, self.ada.id, can_pin_messages=True)
        return self.ada.id

    @cached_property
    def channel(self) -> int:
        return self.api.channel(-1002).id

    @cached_property
    def invite_link(self) -> str:
        return str(self.bot.create_chat_invite_link(GROUP).invite_link)


def upload() -> types.InputFile:
    """A file for the types of telebot that take no bytes."""
    return types.InputFile(io.BytesIO(FILE), "file")


def checklist(title: str) -> Any:
    """A checklist with one task, as JSON, because telebot 4.37.1 does not encode it."""
    return types.InputChecklist(title, [types.InputChecklistTask(1, "tea")]).to_json()


#: Name of a parameter -> its value.
ARGUMENTS: dict[str, Callable[[Prepared], Any]] = {
    "accepted_gift_types": lambda _: types.AcceptedGiftTypes(True, True, True, True, True),
    "action": lambda _: "typing",
    "active_period": lambda _: DAY,
    "address": lambda _: "1 Test Street",
    "animation": lambda _: FILE,
    "audio": lambda _: FILE,
    "business_connection_id": lambda it: it.business_chat.connection_id,
    "button": lambda _: types.KeyboardButton(
        "Friend", request_users=types.KeyboardButtonRequestUsers(7)
    ),
    "callback_query_id": lambda it: it.press,
    "caption": lambda _: "tea",
    "chat_id": lambda _: GROUP,
    "chat_join_request_query_id": lambda it: it.join_query,
    "checklist": lambda _: checklist("Shopping"),
    "commands": lambda _: [types.BotCommand("start", "begin")],
    "content": lambda _: types.InputStoryContentPhoto(FILE),
    "currency": lambda _: "XTR",
    "custom_emoji_ids": lambda it: [it.bot.get_forum_topic_icon_stickers()[0]["custom_emoji_id"]],
    "custom_title": lambda _: "Host",
    "data": lambda _: FILE,
    "description": lambda _: "hot",
    "document": lambda _: FILE,
    "draft_id": lambda _: 1,
    "emoji_list": lambda _: ["🍵"],
    "emojis": lambda _: ["🍵"],
    "ephemeral_message_id": lambda it: it.ephemeral.ephemeral_message_id,
    "file_id": lambda it: it.file.file_id,
    "file_path": lambda it: it.file.file_path,
    "first_name": lambda _: "Ada",
    "from_chat_id": lambda _: GROUP,
    "from_story_id": lambda it: it.story.id,
    "game_short_name": lambda _: "chess",
    "guest_query_id": lambda it: it.guest_query,
    "inline_query_id": lambda it: it.inline_query,
    "invite_link": lambda it: it.invite_link,
    "invoice_payload": lambda _: "tea",
    "is_access_restricted": lambda _: True,
    "is_canceled": lambda _: True,
    "latitude": lambda _: 52.52,
    "limit": lambda _: 20,
    "live_photo": lambda _: FILE,
    "longitude": lambda _: 13.405,
    "media": lambda _: types.InputMediaPhoto(upload()),
    "message": lambda it: it.message,
    "message_id": lambda it: it.message.message_id,
    "message_ids": lambda it: [it.message.message_id],
    "message_thread_id": lambda it: it.topic,
    "month_count": lambda _: 3,
    "name": lambda it: it.sticker_set.name,
    "new_owner_chat_id": lambda _: 1,
    "ok": lambda _: True,
    "old_sticker": lambda it: it.sticker,
    "options": lambda _: [types.InputPollOption("Yes"), types.InputPollOption("No")],
    "owned_gift_id": lambda it: it.owned_gift,
    "payload": lambda _: "tea",
    "permissions": lambda _: types.ChatPermissions(can_send_messages=True),
    "phone_number": lambda _: "15550100",
    "photo": lambda _: FILE,
    "position": lambda _: 1,
    "pre_checkout_query_id": lambda it: it.checkout,
    "prices": lambda _: [types.LabeledPrice("tea", 5)],
    "provider_token": lambda _: "",
    "question": lambda _: "Tea?",
    "receiver_user_id": lambda _: 1,
    "result": lambda _: ARTICLE,
    "results": lambda _: [ARTICLE],
    "rich_message": lambda _: types.InputRichMessage(html="<p>tea</p>"),
    "score": lambda _: 7,
    "sender_chat_id": lambda _: -1002,
    "shipping_query_id": lambda it: it.shipping,
    "show_gift_button": lambda _: True,
    "star_count": lambda _: 5,
    "sticker": lambda it: it.sticker,
    "sticker_set_name": lambda it: it.sticker_set.name,
    "story_id": lambda it: it.story.id,
    "subscription_period": lambda _: 30 * DAY,
    "subscription_price": lambda _: 5,
    "telegram_payment_charge_id": lambda it: it.charge,
    "text": lambda _: "tea",
    "title": lambda _: "Tea",
    "user_id": lambda it: it.ada.id,
    "video": lambda _: FILE,
    "voice": lambda _: FILE,
    "web_app_query_id": lambda _: "1",
    "web_app_url": lambda _: "https://example.com",
}

_MESSAGE: dict[str, Callable[[Prepared], Any]] = {
    "chat_id": lambda _: GROUP,
    "message_id": lambda it: it.message.message_id,
}
_PHOTO = {**_MESSAGE, "message_id": lambda it: it.photo.message_id}
_LOCATION = {**_MESSAGE, "message_id": lambda it: it.live_location.message_id}
_POLL = {"message_id": lambda it: it.poll.message_id}
_GAME = {**_MESSAGE, "message_id": lambda it: it.game.message_id}
_PRIVATE: dict[str, Callable[[Prepared], Any]] = {"chat_id": lambda _: 1}
_STICKER: dict[str, Callable[[Prepared], Any]] = {
    "sticker": lambda _: types.InputSticker(FILE, ["🍵"], "static")
}
_OF_BUSINESS: dict[str, Callable[[Prepared], Any]] = {
    "chat_id": lambda it: it.business["chat"]["id"],
    "message_id": lambda it: it.business["message_id"],
}
_SUGGESTED: dict[str, Callable[[Prepared], Any]] = {
    "chat_id": lambda it: it.post["chat"]["id"],
    "message_id": lambda it: it.post["message_id"],
}
_JOINING: dict[str, Callable[[Prepared], Any]] = {"user_id": lambda it: it.join_request}
_PROFILE_PHOTO: dict[str, Callable[[Prepared], Any]] = {
    "photo": lambda _: types.InputProfilePhotoStatic(upload())
}

#: Method -> the values that differ from `ARGUMENTS`, and those of parameters that have a default.
OF_METHOD: dict[str, dict[str, Callable[[Prepared], Any]]] = {
    "add_sticker_to_set": _STICKER,
    "answer_shipping_query": {
        "shipping_options": lambda _: [
            types.ShippingOption("post", "Post").add_price(types.LabeledPrice("post", 100))
        ]
    },
    "answer_chat_join_request_query": {"result": lambda _: "approve"},
    "approve_chat_join_request": _JOINING,
    "approve_suggested_post": _SUGGESTED,
    "create_chat_subscription_invite_link": {"chat_id": lambda it: it.channel},
    "create_new_sticker_set": {
        "name": lambda _: "new_by_test_bot",
        "stickers": lambda _: [types.InputSticker(FILE, ["🍵"], "static")],
    },
    "decline_chat_join_request": _JOINING,
    "decline_suggested_post": _SUGGESTED,
    "delete_business_messages": {"message_ids": lambda it: [it.business["message_id"]]},
    "edit_chat_invite_link": {"invite_link": lambda it: it.invite_link},
    "edit_ephemeral_message_caption": {
        "caption": lambda _: "tea",
        "ephemeral_message_id": lambda it: it.ephemeral_photo.ephemeral_message_id,
    },
    "edit_ephemeral_message_reply_markup": {"reply_markup": lambda _: LABELS},
    "edit_ephemeral_message_text": {"text": lambda _: "tea"},
    "edit_message_caption": _PHOTO,
    "edit_message_checklist": {
        **_OF_BUSINESS,
        "message_id": lambda it: it.checklist.message_id,
    },
    "edit_message_live_location": _LOCATION,
    "edit_message_media": _PHOTO,
    "edit_message_reply_markup": _MESSAGE,
    "edit_message_text": {**_MESSAGE, "text": lambda _: "tea"},
    "get_chat_menu_button": _PRIVATE,
    "get_game_high_scores": _GAME,
    "get_managed_bot_access_settings": {"user_id": lambda _: 99},
    "get_managed_bot_token": {"user_id": lambda _: 99},
    "get_updates": {"offset": lambda it: it.ada.send("hi")["update_id"]},
    "gift_premium_subscription": {"star_count": lambda it: it.api.add_stars(1000) or 1000},
    "read_business_message": _OF_BUSINESS,
    "reopen_forum_topic": {"message_thread_id": lambda it: it.closed_topic},
    "reopen_general_forum_topic": {"chat_id": lambda it: it.forum_without_general_topic},
    "replace_managed_bot_token": {"user_id": lambda _: 99},
    "replace_sticker_in_set": {
        # telebot 4.37.1 does not upload the file of an `InputSticker` here.
        "sticker": lambda _: types.InputSticker("file-2", ["🍵"], "static")
    },
    "repost_story": {"from_chat_id": lambda it: it.story.chat.id},
    "send_checklist": {"chat_id": lambda it: it.business["chat"]["id"]},
    "send_gift": {
        "gift_id": lambda it: it.api.add_stars(100) or GIFT,
        "user_id": lambda it: it.ada.id,
    },
    "send_media_group": {"media": lambda _: [types.InputMediaPhoto(upload())] * 2},
    "send_message_draft": _PRIVATE,
    "send_paid_media": {"media": lambda _: [types.InputPaidMediaPhoto(upload())]},
    "send_rich_message_draft": _PRIVATE,
    "set_business_account_profile_photo": _PROFILE_PHOTO,
    "set_chat_administrator_custom_title": {"user_id": lambda it: it.administrator},
    "set_chat_description": {"description": lambda _: "All about tea"},
    "set_game_score": _GAME,
    "set_managed_bot_access_settings": {"user_id": lambda _: 99},
    "set_message_reaction": {"reaction": lambda _: [types.ReactionTypeEmoji("👍")]},
    "set_my_profile_photo": _PROFILE_PHOTO,
    "set_sticker_set_thumbnail": {"thumbnail": lambda _: FILE, "format": lambda _: "static"},
    "set_webhook": {"url": lambda _: "https://example.com"},
    "stop_message_live_location": _LOCATION,
    "stop_poll": _POLL,
    "transfer_business_account_stars": {"star_count": lambda it: it.business_stars},
    "transfer_gift": {"owned_gift_id": lambda it: it.unique_gift},
    "unhide_general_forum_topic": {"chat_id": lambda it: it.forum_without_general_topic},
    "unpin_all_chat_messages": {"chat_id": lambda it: it.pin.chat.id},
    "unpin_chat_message": {"chat_id": lambda it: it.pin.chat.id},
    "upload_sticker_file": {
        "sticker": lambda _: upload(),
        "sticker_format": lambda _: "static",
    },
}


def arguments(method: str, prepared: Prepared) -> dict[str, Any]:
    """The arguments for a call of a method: every parameter without a default, and a few others."""
    parameters = inspect.signature(original(method)).parameters.values()
    required = [one.name for one in parameters if one.default is one.empty and one.kind is _NAMED]
    own = OF_METHOD.get(method, {})
    values = {name: own.get(name) or ARGUMENTS[name] for name in required if name != "self"}
    return {name: value(prepared) for name, value in {**values, **own}.items()}


_NAMED = inspect.Parameter.POSITIONAL_OR_KEYWORD
