"""Calls of a bot that Telegram refuses, with the words of each refusal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from telebot import types
from telebot.apihelper import ApiTelegramException

if TYPE_CHECKING:
    from collections.abc import Callable

    from freezegun.api import FrozenDateTimeFactory

    from telesession.testing import BotAPI, User

CHANNEL = -1002
GROUP = -1001
PRICE = types.LabeledPrice("Tea", 500)
PHOTO = types.InputMediaPhoto("id")
AGE = 48 * 3600


def inline(**button: Any) -> types.InlineKeyboardMarkup:
    return types.InlineKeyboardMarkup([[types.InlineKeyboardButton("Tea", **button)]])


def reply(**button: Any) -> types.ReplyKeyboardMarkup:
    return types.ReplyKeyboardMarkup().add(types.KeyboardButton("Tea", **button))


def invoice(bot: Any, **fields: Any) -> Any:
    """An invoice of five euros, but for some fields."""
    usual = {"title": "Tea", "description": "A cup", "invoice_payload": "tea"}
    order = {"provider_token": "1:TEST", "currency": "EUR", "prices": [PRICE]}
    return bot.send_invoice(1, **{**usual, **order, **fields})


def poll(bot: Any, **fields: Any) -> Any:
    """A poll with two options, but for some fields."""
    return bot.send_poll(1, **{"question": "Tea?", "options": ["yes", "no"], **fields})


def shared(bot: Any, user: User) -> int:
    """The number of the service message about a user who has been chosen."""
    return int(user.share_users(user)["message"]["message_id"])


def pressed(bot: Any, user: User) -> str:
    """The id of a press on a button."""
    sent = bot.send_message(user.id, "a", reply_markup=inline(callback_data="tea"))
    return str(user.press(sent, "Tea")["callback_query"]["id"])


def checkout(bot: Any, user: User) -> str:
    """The id of the query about a payment."""
    return str(user.pay(invoice(bot))["pre_checkout_query"]["id"])


def protected(bot: Any) -> int:
    """The number of a message with protected content."""
    return int(bot.send_message(1, "a", protect_content=True).message_id)


# id -> the call, which gets the bot and a user, and the words of the refusal
REFUSED: dict[str, tuple[Callable[[Any, Any], object], str]] = {
    "text of a photo": (
        lambda bot, _: bot.edit_message_text("b", 1, bot.send_photo(1, "id").message_id),
        "there is no text in the message to edit",
    ),
    "caption of a text": (
        lambda bot, _: bot.edit_message_caption("b", 1, bot.send_message(1, "a").message_id),
        "there is no caption in the message to edit",
    ),
    "media of a poll": (
        lambda bot, _: bot.edit_message_media(PHOTO, 1, poll(bot).message_id),
        "message media can't be edited",
    ),
    "reply keyboard of an edit": (
        lambda bot, _: bot.edit_message_text(
            "b", 1, bot.send_message(1, "a").message_id, reply_markup=reply()
        ),
        "inline keyboard expected",
    ),
    "reply keyboard in a channel": (
        lambda bot, _: bot.send_message(CHANNEL, "a", reply_markup=reply()),
        "inline keyboard expected",
    ),
    "phone number in a group": (
        lambda bot, _: bot.send_message(GROUP, "a", reply_markup=reply(request_contact=True)),
        "phone number can be requested in private chats only",
    ),
    "reply button without a text": (
        lambda bot, _: bot.send_message(1, "a", reply_markup='{"keyboard": [[{}]]}'),
        "keyboard button text must be non-empty",
    ),
    "web app of a reply button": (
        lambda bot, _: bot.send_message(
            1, "a", reply_markup=reply(web_app=types.WebAppInfo("http://example.org"))
        ),
        "keyboard button Web App URL 'http://example.org' is invalid: Only HTTPS links are allowed",
    ),
    "keyboard that is a list": (
        lambda bot, _: bot.send_message(1, "a", reply_markup="[1]"),
        "object expected as reply markup",
    ),
    "keyboard without rows": (
        lambda bot, _: bot.send_message(1, "a", reply_markup='{"inline_keyboard": [{}]}'),
        'field "inline_keyboard" must be an Array of Arrays',
    ),
    "inline button without a text": (
        lambda bot, _: bot.send_message(1, "a", reply_markup='{"inline_keyboard": [[{}]]}'),
        "inline keyboard button text must be non-empty",
    ),
    "inline button without an action": (
        lambda bot, _: bot.send_message(1, "a", reply_markup=inline()),
        "can't parse inline keyboard button: Text buttons are unallowed in the inline keyboard",
    ),
    "long callback_data": (
        lambda bot, _: bot.send_message(1, "a", reply_markup=inline(callback_data="é" * 33)),
        "BUTTON_DATA_INVALID",
    ),
    "long callback_data of an edit": (
        lambda bot, _: bot.edit_message_reply_markup(
            1, bot.send_message(1, "a").message_id, reply_markup=inline(callback_data="x" * 65)
        ),
        "BUTTON_DATA_INVALID",
    ),
    "url with spaces": (
        lambda bot, _: bot.send_message(1, "a", reply_markup=inline(url="not a url")),
        "inline keyboard button URL 'not a url' is invalid: Wrong HTTP URL",
    ),
    "url without a dot": (
        lambda bot, _: bot.send_message(1, "a", reply_markup=inline(url="http://localhost:80/a.b")),
        "inline keyboard button URL 'http://localhost:80/a.b' is invalid: Wrong HTTP URL",
    ),
    "url of a mail": (
        lambda bot, _: bot.send_message(1, "a", reply_markup=inline(url="ftp://example.org")),
        "inline keyboard button URL 'ftp://example.org' is invalid: Unsupported URL protocol",
    ),
    "web app without https": (
        lambda bot, _: bot.send_message(
            1, "a", reply_markup=inline(web_app=types.WebAppInfo("tg:a"))
        ),
        "inline keyboard button Web App URL 'tg:a' is invalid: Only HTTPS links are allowed",
    ),
    "button of an inline result": (
        lambda bot, ada: bot.answer_inline_query(
            ada.inline("tea")["inline_query"]["id"],
            [
                types.InlineQueryResultArticle(
                    "1",
                    "Tea",
                    types.InputTextMessageContent("tea"),
                    reply_markup=inline(callback_data="x" * 65),
                )
            ],
        ),
        "BUTTON_DATA_INVALID",
    ),
    "album of eleven": (
        lambda bot, _: bot.send_media_group(1, [PHOTO] * 11),
        "too many messages to send as an album",
    ),
    "album with a document": (
        lambda bot, _: bot.send_media_group(1, [PHOTO, types.InputMediaDocument("id")]),
        "document can't be mixed with other media types",
    ),
    "album with music": (
        lambda bot, _: bot.send_media_group(1, [PHOTO, types.InputMediaAudio("id")]),
        "audio can't be mixed with other media types",
    ),
    "album with an animation": (
        lambda bot, _: bot.send_media_group(1, [PHOTO, types.InputMediaAnimation("id")]),
        "can't parse InputMedia: type \"animation\" can't be used in sendMediaGroup",
    ),
    "poll without a question": (
        lambda bot, _: poll(bot, question=" "),
        "text must be non-empty",
    ),
    "poll with a long question": (
        lambda bot, _: poll(bot, question="q" * 301),
        "poll question length must not exceed 300",
    ),
    "poll with 13 options": (
        lambda bot, _: poll(bot, options=list("abcdefghijklm")),
        "poll can't have more than 12 options",
    ),
    "poll with a long option": (
        lambda bot, _: poll(bot, options=["a", "b" * 101]),
        "poll options length must not exceed 100",
    ),
    "quiz without the right option": (
        lambda bot, _: poll(bot, type="quiz", correct_option_id=2),
        "wrong correct option ID specified",
    ),
    "invoice without a title": (
        lambda bot, _: invoice(bot, title=""),
        'parameter "title" is required',
    ),
    "invoice without a payload": (
        lambda bot, _: invoice(bot, invoice_payload=""),
        'parameter "payload" is required',
    ),
    "invoice with a long title": (
        lambda bot, _: invoice(bot, title="t" * 33),
        "invoice title must not exceed 32 characters",
    ),
    "invoice with a long description": (
        lambda bot, _: invoice(bot, description="d" * 256),
        "invoice description must not exceed 255 characters",
    ),
    "invoice with a long payload": (
        lambda bot, _: invoice(bot, invoice_payload="é" * 65),
        "INVOICE_PAYLOAD_INVALID",
    ),
    "invoice without a price": (
        lambda bot, _: invoice(bot, prices=[]),
        "there must be at least one price",
    ),
    "invoice without a provider": (
        lambda bot, _: invoice(bot, provider_token=""),
        "PAYMENT_PROVIDER_INVALID",
    ),
    "stars with a provider": (
        lambda bot, _: invoice(bot, currency="XTR"),
        "STARS_INVOICE_INVALID",
    ),
    "stars with two prices": (
        lambda bot, _: invoice(bot, currency="XTR", provider_token="", prices=[PRICE, PRICE]),
        "STARS_INVOICE_INVALID",
    ),
    "link of an invoice without a price": (
        lambda bot, _: bot.create_invoice_link("Tea", "A cup", "tea", "", "XTR", []),
        "there must be at least one price",
    ),
    "refused payment without a reason": (
        lambda bot, ada: bot.answer_pre_checkout_query(checkout(bot, ada), ok=False),
        'parameter "error_message" is required',
    ),
    "long notice": (
        lambda bot, ada: bot.answer_callback_query(pressed(bot, ada), "n" * 201),
        "MESSAGE_TOO_LONG",
    ),
    "unknown chat action": (
        lambda bot, _: bot.send_chat_action(1, "dancing"),
        "wrong parameter action in request",
    ),
    "unknown business connection": (
        lambda bot, _: bot.send_message(1, "a", business_connection_id="other"),
        "business connection not found",
    ),
    "action of an unknown business connection": (
        lambda bot, _: bot.send_chat_action(1, "typing", business_connection_id="other"),
        "business connection not found",
    ),
    "copy of a service message": (
        lambda bot, ada: bot.copy_message(2, 1, shared(bot, ada)),
        "message can't be copied",
    ),
    "copy of an invoice": (
        lambda bot, _: bot.copy_message(2, 1, invoice(bot).message_id),
        "message can't be copied",
    ),
    "forward of a service message": (
        lambda bot, ada: bot.forward_message(2, 1, shared(bot, ada)),
        "message can't be forwarded",
    ),
    "forwards of protected messages": (
        lambda bot, _: bot.forward_messages(2, 1, [protected(bot)]),
        "there are no messages to forward",
    ),
    "deletion of 101 messages": (
        lambda bot, _: bot.delete_messages(1, list(range(1, 102))),
        "too many message identifiers specified",
    ),
    "copies of 101 messages": (
        lambda bot, _: bot.copy_messages(2, 1, list(range(1, 102))),
        "too many message identifiers specified",
    ),
    "young die": (
        lambda bot, _: bot.delete_message(1, bot.send_dice(1).message_id),
        "message can't be deleted for everyone",
    ),
    "quote of other words": (
        lambda bot, _: bot.send_message(
            1,
            "b",
            reply_parameters=types.ReplyParameters(
                bot.send_message(1, "a cup").message_id, quote="tea"
            ),
        ),
        "QUOTE_TEXT_INVALID",
    ),
}


@pytest.fixture
def places(api: BotAPI, ada: User) -> None:
    """A group, a channel and a business account, and the user whom the calls are about."""
    api.group(GROUP)
    api.channel(CHANNEL)
    api.business_chat(ada, connection_id="shop")


@pytest.mark.usefixtures("places")
@pytest.mark.parametrize(("call", "words"), REFUSED.values(), ids=REFUSED)
def test_a_mistake_is_refused(
    bot: Any, ada: User, call: Callable[[Any, Any], object], words: str
) -> None:
    """A call that Telegram refuses is refused in Telegram's words."""
    with pytest.raises(ApiTelegramException) as refusal:
        call(bot, ada)

    assert (400, f"Bad Request: {words}") == (
        refusal.value.error_code,
        refusal.value.description,
    )


@pytest.mark.parametrize(
    "url",
    ["https://example.org/a b", "example.org", "HTTP://[::1]:80", "tg://user?id=1", "tg:resolve"],
)
def test_a_link_may_have_many_forms(bot: Any, url: str) -> None:
    """A button opens addresses with and without a protocol, and links of Telegram."""
    sent = bot.send_message(1, "a", reply_markup=inline(url=url))

    assert url == sent.reply_markup.keyboard[0][0].url


def test_a_keyboard_without_buttons_is_none(bot: Any) -> None:
    """An edit with an empty keyboard takes the keyboard away."""
    sent = bot.send_message(1, "a", reply_markup=inline(callback_data="tea"))
    markup = types.InlineKeyboardMarkup()
    edited = bot.edit_message_reply_markup(1, sent.message_id, reply_markup=markup)

    assert None is edited.reply_markup


def test_media_replace_a_text(bot: Any) -> None:
    """A text becomes a photo with a caption, which can be edited then."""
    number = bot.send_message(1, "a").message_id
    bot.edit_message_media(types.InputMediaPhoto("id", caption="b"), 1, number)
    edited = bot.edit_message_caption("c", 1, number)

    assert ("photo", "c", None) == (edited.content_type, edited.caption, edited.text)


def test_one_photo_is_no_album(api: BotAPI, bot: Any) -> None:
    """A single item is sent as a message without an album."""
    [sent] = bot.send_media_group(1, [PHOTO])

    assert ("photo", None) == (sent.content_type, sent.media_group_id)


def test_a_press_shows_one_notice(bot: Any, ada: User) -> None:
    """The second answer to a press is accepted, and the user sees the first one only."""
    query_id = pressed(bot, ada)
    answers = [bot.answer_callback_query(query_id, text) for text in ("one", "two")]

    assert ([True, True], ["one"]) == (answers, ada.alerts)


def test_an_action_needs_a_user_who_listens(bot: Any, ada: User) -> None:
    """A user who has blocked the bot is not told that it types."""
    ada.block()
    with pytest.raises(ApiTelegramException, match="Forbidden: bot was blocked by the user"):
        bot.send_chat_action(ada.id, "typing")


def test_several_copies_leave_out_the_rest(bot: Any, api: BotAPI, ada: User) -> None:
    """Messages that cannot be copied or forwarded are passed over among others."""
    numbers = [bot.send_message(1, "a").message_id, shared(bot, ada), protected(bot)]
    bot.copy_messages(2, 1, numbers)
    bot.forward_messages(2, 1, numbers)

    assert ["a", "a"] == [message.text for message in api.messages if message.chat_id == 2]


class TestDeletion:
    def test_it_has_48_hours(
        self, api: BotAPI, bot: Any, frozen_time: FrozenDateTimeFactory
    ) -> None:
        """A message can be deleted for 48 hours, and an old one keeps others from it."""
        numbers = [bot.send_message(1, text).message_id for text in "ab"]
        frozen_time.tick(AGE - 1)
        bot.delete_message(1, numbers[0])
        frozen_time.tick(1)
        numbers.append(bot.send_message(1, "c").message_id)
        for delete in (
            lambda: bot.delete_message(1, numbers[1]),
            lambda: bot.delete_messages(1, numbers),
        ):
            with pytest.raises(ApiTelegramException, match="message can't be deleted for everyone"):
                delete()

        assert [True, False, False] == [one.is_deleted for one in api.messages]

    def test_a_die_has_24_hours_before(
        self, api: BotAPI, bot: Any, frozen_time: FrozenDateTimeFactory
    ) -> None:
        """A die in a private chat can be deleted one day later, and in a group at once."""
        private, group = (bot.send_dice(chat_id) for chat_id in (1, api.group(GROUP).id))
        bot.delete_message(GROUP, group.message_id)
        frozen_time.tick(AGE / 2)
        bot.delete_message(1, private.message_id)

        assert [True, True] == [one.is_deleted for one in api.messages]


@pytest.mark.parametrize("known", [False, True])
def test_updates_may_be_made_by_hand(api: BotAPI, bot: Any, known: bool) -> None:
    """A connection is that of an update, or any one as long as the server knows none."""
    if known:
        api.push(
            {
                "business_message": {
                    "message_id": 1,
                    "business_connection_id": "shop",
                    "from": {"id": 1, "is_bot": False, "first_name": "Ada"},
                    "chat": {"id": 1, "type": "private", "first_name": "Ada"},
                    "date": 1,
                    "text": "hi",
                }
            }
        )
    sent = bot.send_message(1, "a", business_connection_id="shop")

    assert ("shop", "Owner") == (sent.business_connection_id, sent.from_user.first_name)


def test_a_connection_brings_its_owner(api: BotAPI, bot: Any, ada: User) -> None:
    """The update about a new connection tells the server whose account it is."""
    connection = {"id": "shop", "user": ada.json, "user_chat_id": 1, "date": 1, "is_enabled": True}
    api.push({"business_connection": connection})

    assert "Ada" == bot.get_business_connection("shop").user.first_name


def test_a_connection_that_has_ended_is_refused(api: BotAPI, bot: Any, ada: User) -> None:
    """The update about the end of a connection ends it, for messages and for actions."""
    connection = {"id": "shop", "user": ada.json, "user_chat_id": 1, "date": 1}
    api.push({"business_connection": {**connection, "is_enabled": False}})
    for call in (bot.send_message, bot.send_chat_action):
        with pytest.raises(ApiTelegramException, match="BUSINESS_CONNECTION_INVALID"):
            call(1, "typing", business_connection_id="shop")

    assert not bot.get_business_connection("shop").is_enabled
