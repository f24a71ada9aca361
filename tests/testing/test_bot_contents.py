"""The messages that a bot sends, edits, forwards and pins, as telebot reads the answers."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import pytest
from telebot import types
from telebot.apihelper import ApiTelegramException

from telesession.testing.telegram.directory import Directory
from telesession.testing.telegram.history import History

if TYPE_CHECKING:
    from collections.abc import Callable

    from telesession.testing import BotAPI, User

FILE = "file-of-telegram"

# Sends a message of each kind: name of the content -> the call.
SENDS: dict[str, Callable[[Any], Any]] = {
    "animation": lambda bot: bot.send_animation(1, FILE, duration=7, caption="c"),
    "audio": lambda bot: bot.send_audio(1, FILE, duration=7, performer="p", title="t", caption="c"),
    "document": lambda bot: bot.send_document(1, FILE, caption="c"),
    "photo": lambda bot: bot.send_photo(1, FILE, caption="c"),
    "sticker": lambda bot: bot.send_sticker(1, FILE),
    "video": lambda bot: bot.send_video(1, FILE, duration=7, caption="c"),
    "video_note": lambda bot: bot.send_video_note(1, FILE, duration=7, length=240),
    "voice": lambda bot: bot.send_voice(1, FILE, duration=7, caption="c"),
    "contact": lambda bot: bot.send_contact(1, "123", "Ada", "L"),
    "dice": lambda bot: bot.send_dice(1, "🎯"),
    "game": lambda bot: bot.send_game(1, "chess"),
    "location": lambda bot: bot.send_location(1, 1.5, 2.5, live_period=60),
    "venue": lambda bot: bot.send_venue(1, 1.5, 2.5, "t", "a"),
    "poll": lambda bot: bot.send_poll(1, "q", [types.InputPollOption("a")]),
    "text": lambda bot: bot.send_message(1, "hi"),
}


class TestContents:
    @pytest.mark.parametrize("kind", SENDS)
    def test_each_kind_is_sent(self, api: BotAPI, bot: Any, kind: str) -> None:
        """The answer has the content that the call sends, and so has the list of messages."""
        sent = SENDS[kind](bot)
        [message] = api.messages
        assert (kind, kind) == (sent.content_type, message.content_type)
        assert getattr(message.parse(), kind) is not None

    @pytest.mark.parametrize("kind", ["animation", "audio", "video", "video_note", "voice"])
    def test_the_details_are_those_of_the_call(self, bot: Any, kind: str) -> None:
        """A file has the duration that the bot gave, and the id by which it was named."""
        file = getattr(SENDS[kind](bot), kind)
        assert (7, FILE) == (file.duration, file.file_id)

    def test_a_venue_is_a_location_too(self, bot: Any) -> None:
        """Bots that know no venues read the location, as in Telegram."""
        sent = SENDS["venue"](bot)
        assert (1.5, 2.5, "t") == (
            sent.location.latitude,
            sent.location.longitude,
            sent.venue.title,
        )

    def test_an_upload_can_be_downloaded(self, bot: Any) -> None:
        """A file that the bot has uploaded has its name, its type and its bytes."""
        upload = types.InputFile(io.BytesIO(b"%PDF"), "a.pdf")
        document = bot.send_document(1, upload).document
        assert ("a.pdf", "application/pdf", 4) == (
            document.file_name,
            document.mime_type,
            document.file_size,
        )
        assert b"%PDF" == bot.download_file(bot.get_file(document.file_id).file_path)

    def test_an_uploaded_photo_can_be_sent_again(self, api: BotAPI, bot: Any) -> None:
        """The id of a sent photo names the same bytes in a later message."""
        photo = bot.send_photo(1, b"jpeg").photo[-1]
        again = bot.send_photo(2, photo.file_id).photo[-1]
        assert b"jpeg" == bot.download_file(bot.get_file(again.file_id).file_path)

    def test_a_file_must_be_there(self, bot: Any) -> None:
        """Without a file Telegram refuses the message."""
        with pytest.raises(ApiTelegramException, match="there is no document in the request"):
            bot.send_document(1, "")

    def test_texts_have_their_entities(self, bot: Any) -> None:
        """A parse mode is applied to texts, captions, questions and options."""
        photo = bot.send_photo(1, FILE, caption="<b>c</b>", parse_mode="HTML")
        option = types.InputPollOption("<i>a</i>", text_parse_mode="HTML")
        poll = bot.send_poll(1, "q", [option], explanation="*e*", explanation_parse_mode="Markdown")
        assert ("c", "bold") == (photo.caption, photo.caption_entities[0].type)
        assert ("a", "italic") == (
            poll.poll.options[0].text,
            poll.poll.options[0].text_entities[0].type,
        )
        assert ("e", "bold") == (poll.poll.explanation, poll.poll.explanation_entities[0].type)

    def test_long_texts_are_refused_by_what_is_shown(self, bot: Any) -> None:
        """The limit of 4096 characters counts the text without its marks, that of captions 1024."""
        bot.send_message(1, f"<b>{4096 * 'a'}</b>", parse_mode="HTML")
        with pytest.raises(ApiTelegramException, match="message is too long"):
            bot.send_message(1, 4097 * "a")
        with pytest.raises(ApiTelegramException, match="message caption is too long"):
            bot.send_photo(1, FILE, caption=1025 * "a")

    def test_a_live_photo_is_a_photo_too(self, api: BotAPI, bot: Any) -> None:
        """telebot reads both fields of a live photo."""
        sent = bot.send_live_photo(1, FILE, FILE)
        assert FILE == sent.live_photo.file_id
        assert sent.photo

    def test_a_checklist_is_sent_for_a_business(self, api: BotAPI, bot: Any) -> None:
        """A checklist has its title and its tasks, and can be edited."""
        tasks = [types.InputChecklistTask(1, "tea"), types.InputChecklistTask(2, "milk")]
        # telebot 4.37.1 does not encode an `InputChecklist` by itself.
        both, one = (types.InputChecklist("shop", some).to_json() for some in (tasks, tasks[:1]))
        sent = bot.send_checklist("b", 1, both)
        assert ["tea", "milk"] == [task.text for task in sent.checklist.tasks]
        bot.edit_message_checklist("b", 1, sent.message_id, one)
        assert 1 == len(api.messages[0].parse().checklist.tasks)

    def test_a_channel_post_has_no_user(self, api: BotAPI, bot: Any) -> None:
        """In a channel the bot writes as the channel."""
        api.channel(-1002, title="News")
        sent = bot.send_message(-1002, "hi")
        assert (None, -1002) == (sent.from_user, sent.sender_chat.id)

    def test_protected_content_is_marked(self, bot: Any) -> None:
        """Messages that cannot be forwarded say so, and are not forwarded."""
        sent = bot.send_message(1, "hi", protect_content=True)
        assert sent.has_protected_content
        with pytest.raises(ApiTelegramException, match="message can't be forwarded"):
            bot.forward_message(2, 1, sent.message_id)


class TestAlbums:
    def test_an_album_is_one_group(self, api: BotAPI, bot: Any) -> None:
        """The messages of an album have one group, which no other album has."""
        media = [types.InputMediaPhoto(FILE, "a"), types.InputMediaVideo(FILE, caption="b")]
        first, second = bot.send_media_group(1, media), bot.send_media_group(1, media)
        assert [["photo", "video"]] * 2 == [
            [one.content_type for one in sent] for sent in (first, second)
        ]
        assert 2 == len({message.media_group_id for message in api.messages})
        assert ["a", "b", "a", "b"] == api.messages.texts

    def test_uploads_are_kept(self, bot: Any) -> None:
        """Each file of an album has its own bytes."""
        media = [
            types.InputMediaDocument(types.InputFile(io.BytesIO(b), "f")) for b in (b"1", b"2")
        ]
        sent = bot.send_media_group(1, media)
        contents = [bot.download_file(bot.get_file(one.document.file_id).file_path) for one in sent]
        assert [b"1", b"2"] == contents

    def test_an_empty_album_is_refused(self, bot: Any) -> None:
        """An album has media."""
        with pytest.raises(ApiTelegramException, match="there are no messages to send"):
            bot.send_media_group(1, [])

    def test_a_medium_has_a_type(self, bot: Any, api: BotAPI) -> None:
        """A medium of a kind that Telegram does not know is refused."""
        medium = types.InputMediaPhoto(FILE)
        medium.type = "smell"
        with pytest.raises(ApiTelegramException, match="media type smell is unknown"):
            bot.edit_message_media(medium, 1, bot.send_photo(1, FILE).message_id)

    def test_albums_are_forwarded_together(self, api: BotAPI, bot: Any, ada: User) -> None:
        """Messages that are forwarded together are an album again, with their origin."""
        numbers = [update["message"]["message_id"] for update in ada.album(2)]
        assert [1, 2] == [one.message_id for one in bot.forward_messages(2, 1, numbers)]
        assert 1 == len({message.media_group_id for message in api.messages} - {None})
        assert 1 == api.messages[0].parse().forward_origin.sender_user.id


class TestEdits:
    def test_a_caption_is_edited(self, api: BotAPI, bot: Any) -> None:
        """The caption and its entities change, and the photo stays."""
        sent = bot.send_photo(1, FILE, caption="<b>a</b>", parse_mode="HTML")
        edited = bot.edit_message_caption("b", 1, sent.message_id)
        assert ("b", None, FILE) == (
            edited.caption,
            edited.caption_entities,
            edited.photo[-1].file_id,
        )

    def test_media_are_replaced(self, api: BotAPI, bot: Any) -> None:
        """A photo becomes a video, with the caption of the new one."""
        sent = bot.send_photo(1, FILE, caption="a")
        bot.edit_message_media(types.InputMediaVideo(FILE, caption="b"), 1, sent.message_id)
        [message] = api.messages
        assert ("video", "b") == (message.content_type, message.text)

    def test_a_location_moves_while_it_is_live(self, api: BotAPI, bot: Any) -> None:
        """A live location moves until it is stopped."""
        sent = SENDS["location"](bot)
        bot.edit_message_live_location(3, 4, 1, sent.message_id)
        assert (3, 4, 60) == (
            api.messages[0].parse().location.latitude,
            api.messages[0].parse().location.longitude,
            api.messages[0].parse().location.live_period,
        )
        bot.stop_message_live_location(1, sent.message_id)
        assert None is api.messages[0].parse().location.live_period
        with pytest.raises(ApiTelegramException, match="message can't be edited"):
            bot.edit_message_live_location(5, 6, 1, sent.message_id)

    def test_messages_of_users_are_not_edited(self, bot: Any, ada: User) -> None:
        """A bot edits its own messages alone."""
        number = ada.send("hi")["message"]["message_id"]
        with pytest.raises(ApiTelegramException, match="message can't be edited"):
            bot.edit_message_text("bye", 1, number)

    def test_several_are_deleted_at_once(self, api: BotAPI, bot: Any, ada: User) -> None:
        """Messages that are not there are passed over."""
        numbers = [bot.send_message(1, text).message_id for text in "abc"]
        assert bot.delete_messages(1, [*numbers[:2], 99])
        assert ["c"] == ada.messages.texts

    def test_business_messages_are_deleted(self, api: BotAPI, bot: Any, ada: User) -> None:
        """Messages in the chat of a business account are deleted through its connection."""
        chat = api.business_chat(ada)
        sent = bot.send_message(1, "hi", business_connection_id=chat.connection_id)
        bot.send_message(1, "hi")
        assert bot.delete_business_messages(chat.connection_id, [sent.message_id])
        assert ([], ["hi"]) == (chat.messages.texts, ada.messages.texts)

    def test_a_deleted_message_cannot_be_answered(self, api: BotAPI, bot: Any, ada: User) -> None:
        """A reply to a message that is gone is refused, unless the bot says that it may be."""
        sent = bot.send_message(1, "a")
        bot.delete_message(1, sent.message_id)
        with pytest.raises(ApiTelegramException, match="message to be replied not found"):
            bot.reply_to(sent, "b")
        answer = types.ReplyParameters(sent.message_id, allow_sending_without_reply=True)
        assert None is bot.send_message(1, "b", reply_parameters=answer).reply_to_message


class TestForwards:
    def test_the_bot_forwards(self, api: BotAPI, bot: Any, ada: User) -> None:
        """A forward has the content and the origin, also when it is forwarded again."""
        number = ada.photo("cat")["message"]["message_id"]
        first = bot.forward_message(2, 1, number)
        second = bot.forward_message(3, 2, first.message_id)
        assert [("cat", 1), ("cat", 1)] == [
            (sent.caption, sent.forward_origin.sender_user.id) for sent in (first, second)
        ]
        assert bot.get_me().id == second.from_user.id

    def test_users_forward(self, api: BotAPI, ada: User, boris: User) -> None:
        """A user forwards to the bot: messages of users, of channels and of anonymous admins."""
        group = api.group(-1001)
        post = api.channel(-1002).send("news")
        sources = [boris.send("a"), post, ada.anonymous_in(group).send("b", chat=group)]
        forwards = [ada.forward(source)["message"] for source in sources]
        assert ["user", "channel", "chat"] == [one["forward_origin"]["type"] for one in forwards]
        assert ["a", "news", "b"] == [one["text"] for one in forwards]
        assert post["channel_post"]["message_id"] == forwards[1]["forward_origin"]["message_id"]


class TestPins:
    def test_the_latest_pin_is_first(self, bot: Any, ada: User) -> None:
        """Pins lie above each other; without a number the topmost is taken off."""
        first, second = (bot.send_message(1, text).message_id for text in "ab")
        bot.pin_chat_message(1, first)
        bot.pin_chat_message(1, second)
        assert ["b", "a"] == [message["text"] for message in ada.private_chat.pinned]
        bot.unpin_chat_message(1)
        assert ["a"] == [message["text"] for message in ada.private_chat.pinned]
        bot.unpin_all_chat_messages(1)
        assert [] == ada.private_chat.pinned

    def test_a_pin_costs_the_same_beside_many_others(self) -> None:
        """The address of a message is read as often beside a thousand pins as beside none."""
        history, reads = History(Directory()), [0]

        class Counted(dict[str, Any]):
            def __getitem__(self, name: str) -> Any:
                reads[-1] += 1
                return super().__getitem__(name)

        def pin(number: int) -> int:
            reads[-1] = 0
            history.pin(Counted(chat={"id": 1}, message_id=number))
            return reads[-1]

        first, *_, last = [pin(number) for number in range(1000)]
        assert first == last

    def test_the_bot_is_told_of_its_pin(self, api: BotAPI, bot: Any, ada: User) -> None:
        """A service message of the bot has the pinned message, in the topic of that."""
        ada.send("hi", chat=api.group(-1001, forum=True), topic=7)
        hi = ada.send("hi", chat=api.group(-1002))["message"]
        sent = bot.send_message(-1001, "rules", message_thread_id=7, reply_to_message_id=1)
        bot.pin_chat_message(-1001, sent.message_id)
        bot.pin_chat_message(-1002, hi["message_id"])
        in_forum, in_group = (
            types.Update.de_json(update).message for update in api.unconfirmed[-2:]
        )
        assert ("pinned_message", "rules", bot.get_me().id, 7) == (
            in_forum.content_type,
            in_forum.pinned_message.text,
            in_forum.from_user.id,
            in_forum.message_thread_id,
        )
        assert ("hi", None) == (in_group.pinned_message.text, in_group.message_thread_id)

    def test_a_channel_tells_of_a_pin(self, api: BotAPI, bot: Any) -> None:
        """The pin of a post is told by a post of the channel."""
        post = api.channel(-1002).send("news")["channel_post"]
        bot.pin_chat_message(-1002, post["message_id"])
        told = api.unconfirmed[-1]["channel_post"]
        assert (-1002, "news") == (told["sender_chat"]["id"], told["pinned_message"]["text"])

    def test_a_deleted_message_is_pinned_no_more(self, bot: Any, ada: User) -> None:
        """A deletion takes the pin away."""
        number = bot.send_message(1, "a").message_id
        bot.pin_chat_message(1, number)
        bot.delete_message(1, number)
        assert [] == ada.private_chat.pinned

    def test_a_missing_pin_is_refused(self, bot: Any) -> None:
        """A message that is not there is not pinned, and one without a pin not taken off."""
        with pytest.raises(ApiTelegramException, match="message to pin not found"):
            bot.pin_chat_message(1, 9)
        with pytest.raises(ApiTelegramException, match="message to unpin not found"):
            bot.unpin_chat_message(1)
