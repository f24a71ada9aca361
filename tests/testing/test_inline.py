"""Inline queries, guest messages and web apps on the loopback Bot API: the answers of the bot."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from telebot import types
from telebot.apihelper import ApiTelegramException

if TYPE_CHECKING:
    from collections.abc import Callable

    from telesession.testing import BotAPI, User

URL = "https://example.com/tea.jpg"
BUTTONS = types.InlineKeyboardMarkup([[types.InlineKeyboardButton("Sip", callback_data="sip")]])


def article(
    number: int = 1, text: str = "<b>tea</b>", **options: Any
) -> types.InlineQueryResultArticle:
    """A result that is sent as a text."""
    sent = types.InputTextMessageContent(text, parse_mode="HTML")
    return types.InlineQueryResultArticle(str(number), f"Tea {number}", sent, **options)


def answer(bot: Any, query: Any, *results: Any) -> None:
    """Answer an inline query."""
    bot.answer_inline_query(query["inline_query"]["id"], list(results))


def test_results_come_back(api: BotAPI, bot: Any, ada: User) -> None:
    """A test reads the results that the bot has offered, and none before the answer."""
    query, other = ada.inline("tea"), ada.inline("tea")
    before = api.inline_results(query)
    answer(bot, query, article(1), article(2))

    titles = [[one["title"] for one in api.inline_results(each)] for each in (query, other)]

    assert ([], [["Tea 1", "Tea 2"], []]) == (before, titles)


def test_a_choice_is_an_update(bot: Any, ada: User, read: Callable[[], list[types.Update]]) -> None:
    """The bot gets the id of the result, the query and the user."""
    query = ada.inline("tea")
    answer(bot, query, article(1), article(2))
    ada.choose(query, "Tea 2")

    chosen = read()[-1].chosen_inline_result

    assert ("2", "tea", ada.id) == (chosen.result_id, chosen.query, chosen.from_user.id)


def test_a_choice_in_a_chat_is_a_message_too(
    api: BotAPI, bot: Any, ada: User, read: Callable[[], list[types.Update]]
) -> None:
    """The bot gets the message of the user, which names the bot and has the buttons."""
    group, query = api.group(-100), ada.inline("tea")
    answer(bot, query, article(1, "tea", reply_markup=BUTTONS))
    ada.choose(query, "1", chat=group)

    message = read()[-2].message

    assert ("tea", ada.id, -100) == (message.text, message.from_user.id, message.chat.id)
    assert (bot.get_me().id, "Sip") == (
        message.via_bot.id,
        message.reply_markup.keyboard[0][0].text,
    )


@pytest.mark.parametrize(
    ("result", "content_type"),
    [
        (types.InlineQueryResultPhoto("1", URL, URL, caption="hot"), "photo"),
        (types.InlineQueryResultGif("1", URL, URL), "animation"),
        (types.InlineQueryResultMpeg4Gif("1", URL, URL), "animation"),
        (types.InlineQueryResultVideo("1", URL, "video/mp4", URL, "Tea"), "video"),
        (types.InlineQueryResultAudio("1", URL, "Tea"), "audio"),
        (types.InlineQueryResultVoice("1", URL, "Tea"), "voice"),
        (types.InlineQueryResultDocument("1", "Tea", URL, "application/pdf"), "document"),
        (types.InlineQueryResultCachedSticker("1", "file-1"), "sticker"),
        (types.InlineQueryResultCachedMpeg4Gif("1", "file-1"), "animation"),
        (types.InlineQueryResultLocation("1", "Tea", 52.5, 13.4, None), "location"),
        (types.InlineQueryResultVenue("1", "Tea", 52.5, 13.4, "1 Test Street"), "venue"),
        (types.InlineQueryResultContact("1", "15550100", "Ada"), "contact"),
        (types.InlineQueryResultGame("1", "chess"), "game"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_a_result_becomes_a_message(
    bot: Any,
    ada: User,
    read: Callable[[], list[types.Update]],
    result: Any,
    content_type: str,
) -> None:
    """A result without a content of its own is sent as the file or the place that it shows."""
    query = ada.inline("tea")
    answer(bot, query, result)
    ada.choose(query, "1", chat=ada.private_chat)

    assert content_type == read()[-2].message.content_type


@pytest.mark.parametrize(
    ("content", "content_type"),
    [
        (types.InputLocationMessageContent(52.5, 13.4), "location"),
        (types.InputVenueMessageContent(52.5, 13.4, "Tea", "1 Test Street"), "venue"),
        (types.InputContactMessageContent("15550100", "Ada"), "contact"),
        (
            types.InputInvoiceMessageContent(
                "Tea", "hot", "tea", "", "XTR", [types.LabeledPrice("tea", 5)]
            ),
            "invoice",
        ),
        (
            types.InputRichMessageContent(types.InputRichMessage(html="<p>tea</p>")),
            "rich_message",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_a_content_becomes_a_message(
    api: BotAPI, bot: Any, ada: User, content: Any, content_type: str
) -> None:
    """A result is sent as the content that it names."""
    query = ada.inline("tea")
    answer(bot, query, types.InlineQueryResultArticle("1", "Tea", content))

    ada.choose(query, "1", chat=ada.private_chat)

    assert content_type in api.unconfirmed[-2]["message"]


def test_a_press_on_an_inline_message_names_no_chat(
    api: BotAPI, bot: Any, ada: User, boris: User
) -> None:
    """The bot gets the id of the inline message, and edits the message by it."""
    group, query = api.group(-100), ada.inline("tea")
    answer(bot, query, article(1, "tea", reply_markup=BUTTONS))
    chosen = ada.choose(query, "1", chat=group)["chosen_inline_result"]
    message = api.unconfirmed[-2]["message"]
    press = boris.press(message, "sip")["callback_query"]
    edited = bot.edit_message_text("empty", inline_message_id=press["inline_message_id"])

    assert (False, True) == ("message" in press, edited)
    assert chosen["inline_message_id"] == press["inline_message_id"]
    shown = api.find_message(-100, message["message_id"]) or {}
    assert ("empty", False, ada.json) == (shown["text"], "reply_markup" in shown, shown["from"])
    assert [] == api.messages


def test_the_answer_to_a_guest_message_is_edited(api: BotAPI, bot: Any, ada: User) -> None:
    """The bot edits its answer by the id of the inline message."""
    summons = ada.summon("@bot hi", api.group(-100))["guest_message"]
    sent = bot.answer_guest_query(summons["guest_query_id"], article(1, "hello"))
    bot.edit_message_text("bye", inline_message_id=sent.inline_message_id)

    assert ["bye"] == api.messages.texts


def test_an_inline_message_elsewhere_is_edited(bot: Any, ada: User) -> None:
    """An inline message in a chat that the bot is not in can be edited, but is not seen."""
    assert True is bot.edit_message_text("bye", inline_message_id="1")


def test_an_unknown_result_cannot_be_chosen(bot: Any, ada: User) -> None:
    """A test that chooses another result gets an error with those that there are."""
    query = ada.inline("tea")
    answer(bot, query, article(1))

    with pytest.raises(ValueError, match=r"no result 'coffee'.*\['Tea 1'\]"):
        ada.choose(query, "coffee")


@pytest.mark.parametrize(
    ("results", "refusal"),
    [
        ([article(1), article(1)], "RESULT_ID_DUPLICATE"),
        ([article(number) for number in range(51)], "RESULTS_TOO_MUCH"),
        ([article(1, "")], "message text is empty"),
        ([types.InlineQueryResultArticle("1", "Tea", None)], "message is empty"),
    ],
    ids=["same ids", "51 results", "empty text", "no content"],
)
def test_some_answers_are_refused(bot: Any, ada: User, results: Any, refusal: str) -> None:
    """The bot gets an error for results that Telegram cannot show."""
    with pytest.raises(ApiTelegramException, match=refusal):
        answer(bot, ada.inline("tea"), *results)


def test_the_answer_to_a_guest_message_is_in_its_chat(api: BotAPI, bot: Any, ada: User) -> None:
    """The bot's message answers the guest message, and says whom."""
    summons = ada.summon("@bot hi", api.group(-100))["guest_message"]
    sent = bot.answer_guest_query(summons["guest_query_id"], article(1, "hello"))

    answered = api.messages[-1]

    assert isinstance(sent, types.SentGuestMessage)
    assert ("hello", -100, summons["message_id"]) == (
        answered.text,
        answered.chat_id,
        answered.reply_to_message_id,
    )
    assert ada.json == answered.json["guest_bot_caller_user"]


def test_a_guest_message_is_answered_once(api: BotAPI, bot: Any, ada: User) -> None:
    """A second answer is refused, as one to an unknown message."""
    query = ada.summon("@bot hi", api.group(-100))["guest_message"]["guest_query_id"]
    bot.answer_guest_query(query, article())

    for unknown in (query, "1"):
        with pytest.raises(ApiTelegramException, match="query ID is invalid"):
            bot.answer_guest_query(unknown, article())


def test_the_result_of_a_web_app_comes_back(api: BotAPI, bot: Any) -> None:
    """A test reads the answer to a web app by the id of its query."""
    bot.answer_web_app_query("42", article())

    assert ["Tea 1"] == [one["title"] for one in api.inline_results("42")]


def test_a_prepared_message_comes_back(api: BotAPI, bot: Any, ada: User) -> None:
    """A test reads a prepared message by its id."""
    prepared = bot.save_prepared_inline_message(ada.id, article())

    assert ["Tea 1"] == [one["title"] for one in api.inline_results(prepared.id)]


def test_a_prepared_button_requests_something(bot: Any, ada: User) -> None:
    """A button that requests users is kept, a plain one is refused."""
    request = types.KeyboardButtonRequestUsers(7)
    prepared = bot.save_prepared_keyboard_button(
        ada.id, types.KeyboardButton("Friend", request_users=request)
    )

    assert isinstance(prepared, types.PreparedKeyboardButton)
    with pytest.raises(ApiTelegramException, match="BUTTON_TYPE_INVALID"):
        bot.save_prepared_keyboard_button(ada.id, types.KeyboardButton("Tea"))
