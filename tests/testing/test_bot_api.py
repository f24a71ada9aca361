from __future__ import annotations

import io
import queue
import socket
import struct
import threading
import time
from typing import TYPE_CHECKING, Any

import freezegun
import pytest
import requests
from telebot import TeleBot, apihelper, types
from telebot.apihelper import ApiTelegramException

from support.clocks import PATIENCE
from support.receivers import Receiver
from support.threads import start
from telesession.testing import BotAPI, Call, File, RefusedError, SentMessage

if TYPE_CHECKING:
    from collections.abc import Callable

TOKEN = "77:offline"
UNSOLICITED = ["chat_member", "message_reaction", "message_reaction_count"]


def post(method: str, path: str = "/bot77:offline", **options: Any) -> tuple[int, Any]:
    url = BotAPI.running().url.removesuffix("/bot{0}/{1}") + f"{path}/{method}"
    with requests.post(url, timeout=10, **options) as response:
        return response.status_code, response.json()


def refusal(action: Callable[..., Any], *args: Any, **kwargs: Any) -> tuple[int, str]:
    with pytest.raises(apihelper.ApiTelegramException) as caught:
        action(*args, **kwargs)
    return caught.value.error_code, caught.value.description


def keyboard(*labels: str) -> types.InlineKeyboardMarkup:
    markup = types.InlineKeyboardMarkup()
    markup.add(*(types.InlineKeyboardButton(label, callback_data=label[0]) for label in labels))
    return markup


class TestLifecycle:
    def test_telebot_talks_to_it_while_it_runs(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """From start to close telebot's url is the server's; then it is the former one."""
        monkeypatch.setattr(apihelper, "API_URL", "https://former/{0}/{1}")
        monkeypatch.setattr(apihelper, "proxy", {"https": "socks5://former"})
        with BotAPI() as api:
            assert ("http://127.0.0.1:", "/bot{0}/{1}") == (api.url[:17], api.url[-11:])
            files = api.url.replace("/bot", "/file/bot")
            assert (api.url, files) == (apihelper.API_URL, apihelper.FILE_URL)
            assert {"no_proxy": "127.0.0.1", "http://127.0.0.1": ""} == apihelper.proxy
        assert ("https://former/{0}/{1}", None) == (apihelper.API_URL, apihelper.FILE_URL)
        assert {"https": "socks5://former"} == apihelper.proxy

    def test_loopback_requests_pass_by_a_proxy(
        self, api: BotAPI, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A proxy in the environment is not asked for the loopback server."""
        monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
        assert 77 == TeleBot(TOKEN, threaded=False).get_me().id

    def test_close_may_be_repeated(self) -> None:
        """Closing a server that never ran, or was closed before, does nothing."""
        api = BotAPI()
        api.close()
        assert api is api.start()
        assert api is api.start()
        api.close()
        api.close()
        assert apihelper.API_URL is None

    def test_another_server_follows(self) -> None:
        """A bot goes on with a new server, though telebot kept its connection to the old one."""
        bot = TeleBot(TOKEN, threaded=False)
        texts = []
        for text in "one", "two":
            with BotAPI() as api:
                bot.send_message(1, text)
                texts.append([message.text for message in api.messages])
        assert [["one"], ["two"]] == texts

    def test_running_is_the_innermost(self) -> None:
        """The running server is the one that was started last and is not closed."""
        with BotAPI() as outer:
            with BotAPI() as inner:
                assert inner is BotAPI.running()
            assert outer is BotAPI.running()
        with pytest.raises(RuntimeError, match="no loopback Bot API is running"):
            BotAPI.running()

    @pytest.mark.parametrize("order", [(0, 1, 2), (1, 0, 2), (0, 2, 1), (2, 1, 0)])
    def test_servers_may_be_closed_in_any_order(
        self, monkeypatch: pytest.MonkeyPatch, order: tuple[int, ...]
    ) -> None:
        """telebot talks to the latest server that still runs, and then to the former url."""
        monkeypatch.setattr(apihelper, "API_URL", "https://former/{0}/{1}")
        monkeypatch.setattr(apihelper, "proxy", {"https": "socks5://former"})
        servers = [BotAPI().start() for _ in range(3)]
        left = dict(enumerate(servers))
        running = []
        for number in order:
            left.pop(number).close()
            running.append(BotAPI.running() if left else None)
            assert running[-1] is (left[max(left)] if left else None)
        assert ("https://former/{0}/{1}", None) == (apihelper.API_URL, apihelper.FILE_URL)
        assert {"https": "socks5://former"} == apihelper.proxy

    def test_users_of_a_closed_server_cannot_act(self) -> None:
        """An act after the end is an error, and works again once the server was started again."""
        with BotAPI() as api:
            ada = api.user(1)
            ada.send("a")
        for act in (lambda: ada.send("b"), lambda: api.push({"poll": {"id": "1"}})):
            with pytest.raises(RuntimeError, match="this BotAPI was closed"):
                act()
        with api:
            ada.send("c")
        assert ["a", "c"] == [update["message"]["text"] for update in api.unconfirmed]

    def test_closing_ends_polls(self, bot: Any, api: BotAPI) -> None:
        """A poll that waits is answered when the server closes, with no updates."""
        answers: queue.Queue[Any] = queue.Queue()
        poll = start(lambda: answers.put(bot.get_updates(timeout=20, long_polling_timeout=20)))
        api.wait_for(lambda: api.calls_of("getUpdates"))
        api.close()
        assert [] == answers.get(timeout=PATIENCE)
        poll.join(PATIENCE)
        assert not poll.is_alive()

    def test_closing_leaves_no_threads(self) -> None:
        """When a server is closed, its threads have ended, open connections or not."""
        before = set(threading.enumerate())
        with BotAPI():
            TeleBot(TOKEN, threaded=False).get_me()
            # A thread of an earlier test may end meanwhile.
            assert set(threading.enumerate()) - before
        assert set() == set(threading.enumerate()) - before

    def test_a_client_may_go_away(
        self, bot: Any, api: BotAPI, capfd: pytest.CaptureFixture[str]
    ) -> None:
        """A connection that is reset during a poll disturbs nobody."""
        port = int(api.url.split(":")[2].partition("/")[0])
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.sendall(b"GET /bot1:a/getUpdates?timeout=20 HTTP/1.1\r\nHost: a\r\n\r\n")
            api.wait_for(lambda: api.calls_of("getUpdates"))
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        api.user(1).send("hi")
        assert 1 == len(bot.get_updates())
        api.close()
        assert ("", "") == capfd.readouterr()


class TestRequests:
    @pytest.mark.parametrize(
        ("path", "options"),
        [
            ("?text=%C3%A9%20%26&empty=", {}),
            ("", {"data": {"text": "é &", "empty": ""}}),
            ("?text=é %26", {"files": {"empty": (None, "")}}),
            ("?text=lost", {"json": {"text": "é &", "empty": ""}}),
        ],
        ids=["query", "form", "multipart", "json"],
    )
    def test_parameters_come_in_every_shape(
        self, api: BotAPI, path: str, options: dict[str, Any]
    ) -> None:
        """Parameters are read from the query and from every kind of body, the body winning."""
        assert (200, {"ok": True, "result": True}) == post(f"logOut{path}", **options)
        assert [Call("logOut", {"text": "é &", "empty": ""}, TOKEN)] == api.calls

    def test_a_body_of_another_kind_has_no_parameters(self, api: BotAPI) -> None:
        """A body that the Bot API has no use for is passed over."""
        post("logOut", data=b"text=a", headers={"Content-Type": "text/plain"})
        assert [Call("logOut", {}, TOKEN)] == api.calls

    def test_files_arrive_whole(self, bot: Any, api: BotAPI) -> None:
        """An uploaded file keeps its name and every byte, beside ordinary parameters."""
        content = bytes(range(256)) + b"\r\n--\n\r\n\n--x\r"
        bot.send_document(5, types.InputFile(_file(content), "naïve файл.bin"), caption="c")
        call = api.calls_of("sendDocument")[0]
        assert File("naïve файл.bin", content) == call.params["document"]
        assert ("5", "c") == (call.params["chat_id"], call.params["caption"])

    def test_text_that_is_no_text_is_still_read(self, api: BotAPI) -> None:
        """Bytes that are not UTF-8 do not break the server."""
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        assert 200 == post("logOut", data=b"a=\xff", headers=headers)[0]
        assert {"a": "\ufffd"} == api.calls[0].params

    def test_a_form_inside_a_form_is_passed_over(self, api: BotAPI) -> None:
        """A part that is itself a form, or has no name, is not a parameter."""
        body = (
            b'--a\r\nContent-Disposition: form-data; name="in"\r\n'
            b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nx\r\n--b--\r\n"
            b'--a\r\nContent-Disposition: form-data; name="out"\r\n\r\ny\r\n--a--\r\n'
        )
        post("logOut", data=body, headers={"Content-Type": "multipart/form-data; boundary=a"})
        assert {"out": "y"} == api.calls[0].params

    @pytest.mark.parametrize("body", [b"{", b"[1]", b"\xff"])
    def test_broken_json_is_refused(self, api: BotAPI, body: bytes) -> None:
        """A body that should be a JSON object and is not gets a 400."""
        expected = {
            "ok": False,
            "error_code": 400,
            "description": "Bad Request: can't parse JSON object",
        }
        headers = {"Content-Type": "application/json"}
        assert (400, expected) == post("getMe", data=body, headers=headers)

    @pytest.mark.parametrize("path", ["/file/bot1:a", "/bot1:a", ""])
    def test_other_paths_are_not_found(self, api: BotAPI, path: str) -> None:
        """A path that is no Bot API method gets a 404 and is not recorded."""
        expected = {"ok": False, "error_code": 404, "description": "Not Found"}
        assert (404, expected) == post("", path=path)
        assert [] == api.calls

    def test_calls_are_recorded_in_order(self, bot: Any, api: BotAPI) -> None:
        """Every call is recorded with its method, parameters and token, known method or not."""
        bot.get_me()
        bot.set_chat_title(-1, "Tea")
        title = Call("setChatTitle", {"chat_id": "-1", "title": "Tea"}, TOKEN)
        assert [Call("getMe", {}, TOKEN), title] == api.calls
        assert [Call("getMe", {}, TOKEN)] == api.calls_of("getMe")

    @pytest.mark.parametrize(
        ("value", "expected"), [("true", True), ("True", True), ("1", True), ("false", False)]
    )
    def test_flags_are_spelled_as_bots_do(self, value: str, expected: Any) -> None:
        """A boolean parameter is true in every spelling that Telegram takes."""
        assert expected == Call("m", {"flag": value}).flag("flag")
        assert not Call("m").flag("flag")

    def test_json_parameters_may_be_objects_already(self) -> None:
        """A parameter of a JSON body is used as it is, an empty one is nothing."""
        assert {"a": 1} == Call("m", {"p": {"a": 1}}).json("p")
        assert Call("m", {"p": ""}).json("p") is None
        assert Call("m", {"p": ""}).integer("p") is None


class TestUpdates:
    def test_they_come_in_order_and_once(self, bot: Any, api: BotAPI) -> None:
        """Updates have growing ids, are given out until confirmed, and then no more."""
        pushed = [api.user(1).send(text)["update_id"] for text in ("a", "b", "c")]
        assert [1, 2, 3] == pushed
        assert ["a", "b", "c"] == [update.message.text for update in bot.get_updates()]
        assert ["b", "c"] == [update.message.text for update in bot.get_updates(offset=2)]
        assert [2, 3] == [update["update_id"] for update in api.unconfirmed]
        assert [2] == [update.update_id for update in bot.get_updates(limit=1)]
        assert ("getUpdates", "2", "1") == (
            api.calls[1].method,
            api.calls[1].params["offset"],
            api.calls[2].params["limit"],
        )

    @pytest.mark.parametrize(
        ("offset", "expected"), [(-1, [3]), (-2, [2, 3]), (-9, [1, 2, 3]), (0, [1, 2, 3])]
    )
    def test_a_negative_offset_counts_from_the_end(
        self, bot: Any, api: BotAPI, offset: int, expected: Any
    ) -> None:
        """A negative offset forgets all but so many of the latest updates."""
        for text in "a", "b", "c":
            api.user(1).send(text)
        assert expected == [update.update_id for update in bot.get_updates(offset=offset)]
        assert expected == [update["update_id"] for update in api.unconfirmed]

    def test_a_negative_offset_without_updates(self, api: BotAPI) -> None:
        """A negative offset confirms nothing where nothing waits."""
        assert (200, {"ok": True, "result": []}) == post("getUpdates?offset=-1")

    @pytest.mark.parametrize(("limit", "expected"), [(0, 100), (1000, 100), (-1, 1), (7, 7)])
    def test_at_most_a_hundred_at_once(self, api: BotAPI, limit: int, expected: Any) -> None:
        """The limit is between 1 and 100, and 100 by default."""
        for number in range(101):
            api.user(1).send(str(number))
        assert expected == len(post(f"getUpdates?limit={limit}")[1]["result"])

    def test_a_poll_without_a_timeout_does_not_wait(self, api: BotAPI) -> None:
        """A short poll brings nothing where nothing waits."""
        assert [] == post("getUpdates")[1]["result"]
        assert [] == post("getUpdates?timeout=-1")[1]["result"]

    def test_a_push_ends_a_poll(self, bot: Any, api: BotAPI) -> None:
        """An update reaches a poll that waits for it."""
        answers: queue.Queue[Any] = queue.Queue()
        poll = start(lambda: answers.put(bot.get_updates(timeout=20)))
        api.wait_for(lambda: api.calls)
        api.user(1).send("hi")
        assert ["hi"] == [update.message.text for update in answers.get(timeout=PATIENCE)]
        poll.join()

    def test_short_polls_do_not_wait(self, bot: Any, api: BotAPI) -> None:
        """Within short_polls() even a long poll is answered at once."""
        with api.short_polls():
            assert [] == bot.get_updates(timeout=20, long_polling_timeout=20)

    @pytest.mark.parametrize(
        ("allowed", "missing"),
        [
            ([], UNSOLICITED),
            ([[]], UNSOLICITED),
            ([["poll"], []], UNSOLICITED),
            ([["poll", "chat_member"]], ["message", *UNSOLICITED[1:]]),
            ([["poll"], None], ["message", *UNSOLICITED]),
        ],
        ids=["never", "empty", "emptied", "listed", "previous"],
    )
    def test_unwanted_kinds_never_come(
        self, bot: Any, api: BotAPI, allowed: list[Any], missing: list[str]
    ) -> None:
        """Only allowed kinds reach the bot: the last setting counts, by default all but three."""
        with api.short_polls():
            for kinds in allowed:
                bot.get_updates(allowed_updates=kinds)
        kinds = ["message", "poll", *UNSOLICITED]
        for kind in kinds:
            api.push({kind: {}})
        waiting = [kind for update in api.unconfirmed for kind in update if kind in kinds]
        assert [kind for kind in kinds if kind not in missing] == waiting

    @pytest.mark.parametrize(
        ("update", "message"),
        [
            ({}, "with 0 payloads"),
            ({"message": {}, "poll": {}}, r"with 2 payloads \(message, poll\)"),
            ({"update_id": 7, "poll": {}}, "cannot push update 7 after 7"),
        ],
    )
    def test_impossible_updates_are_refused(
        self, api: BotAPI, update: dict[str, Any], message: str
    ) -> None:
        """An update has exactly one payload and a new id."""
        assert {"update_id": 7, "poll": {}} == api.push({"update_id": 7, "poll": {}})
        with pytest.raises(ValueError, match=message):
            api.push(update)

    def test_a_bad_number_is_refused(self, api: BotAPI) -> None:
        """A parameter that should be a number and is not gets a 400."""
        status, answer = post("getUpdates?offset=x")
        assert (400, "Bad Request: offset must be an integer") == (status, answer["description"])


class TestMessages:
    def test_a_message_looks_like_telegrams(self, bot: Any, api: BotAPI) -> None:
        """The bot gets its message back, with number, chat, date and itself as the sender."""
        api.user(5, first_name="Ann").send("hi")
        with freezegun.freeze_time("2030-01-01"):
            sent = bot.send_message(5, "hello")
        expected = {
            "message_id": 2,
            "from": {"id": 77, "is_bot": True, "first_name": "Test Bot", "username": "test_bot"},
            "chat": {"id": 5, "type": "private", "first_name": "Ann"},
            "date": 1893456000,
            "text": "hello",
        }
        assert expected == sent.json
        assert [SentMessage(2, 5, "hello")] == api.messages
        assert expected == api.messages[0].json

    @pytest.mark.parametrize(
        ("chat_id", "expected"),
        [
            (5, {"id": 5, "type": "private", "first_name": "User 5"}),
            ("5", {"id": 5, "type": "private", "first_name": "User 5"}),
            (-5, {"id": -5, "type": "group", "title": "Group -5"}),
            (-100123, {"id": -100123, "type": "supergroup", "title": "Group -100123"}),
            (
                "@news",
                {"id": -(10**12) - 1, "type": "channel", "title": "news", "username": "news"},
            ),
        ],
    )
    def test_unknown_chats_are_made_up(
        self, bot: Any, api: BotAPI, chat_id: int | str, expected: Any
    ) -> None:
        """A chat that nobody has written in looks as its id suggests."""
        assert expected == bot.send_message(chat_id, "hi").json["chat"]
        assert expected["id"] == bot.send_message(chat_id, "hi").chat.id

    def test_numbers_grow_in_each_chat(self, bot: Any, api: BotAPI) -> None:
        """Messages are numbered in each chat by itself, users' and bots' in one row."""
        numbers = [bot.send_message(chat, "x").message_id for chat in (1, 2, 1)]
        update = api.user(1).send("y")
        assert [1, 1, 2, 3] == [*numbers, update["message"]["message_id"]]

    def test_replies_show_what_they_answer(self, bot: Any, api: BotAPI) -> None:
        """A reply has the message it answers inside, and nothing further inside that."""
        first = bot.send_message(1, "a")
        second = bot.reply_to(first, "b")
        third = post("sendMessage?chat_id=1&text=c&reply_to_message_id=2")[1]["result"]
        assert "a" == second.reply_to_message.text
        assert "b" == third["reply_to_message"]["text"]
        assert "reply_to_message" not in third["reply_to_message"]
        assert [None, 1, 2] == [message.reply_to_message_id for message in api.messages]

    def test_replies_to_the_unknown_are_sent(self, bot: Any, api: BotAPI) -> None:
        """A message that the server does not know can be answered, and is not shown."""
        parameters = types.ReplyParameters(99)
        assert bot.send_message(1, "x", reply_parameters=parameters).reply_to_message is None

    def test_topics_are_kept(self, bot: Any, api: BotAPI) -> None:
        """A message to a topic of a forum says so."""
        api.user(1).send("hi", chat=api.group(-1001, forum=True), topic=4)
        sent = bot.send_message(-1001, "x", message_thread_id=4)
        assert (4, True) == (sent.message_thread_id, sent.is_topic_message)

    def test_inline_keyboards_come_back(self, bot: Any, api: BotAPI) -> None:
        """The bot gets an inline keyboard back, and the test sees its buttons."""
        sent = bot.send_message(1, "x", reply_markup=keyboard("Yes", "No"))
        expected = [{"text": "Yes", "callback_data": "Y"}, {"text": "No", "callback_data": "N"}]
        assert [expected] == sent.json["reply_markup"]["inline_keyboard"]
        assert expected == api.messages[0].buttons

    def test_reply_keyboards_are_seen_by_the_test(self, bot: Any, api: BotAPI) -> None:
        """Telegram does not send a reply keyboard back, but the test sees it."""
        markup = types.ReplyKeyboardMarkup()
        markup.add("Yes")
        sent = bot.send_message(1, "x", reply_markup=markup)
        assert "reply_markup" not in sent.json
        assert [[{"text": "Yes"}]] == (api.messages[0].reply_markup or {})["keyboard"]
        assert [] == api.messages[0].buttons

    @pytest.mark.parametrize(
        ("query", "description"),
        [
            ("chat_id=1&text=", "message text is empty"),
            ("chat_id=1&text=%20%0A", "message text is empty"),
            ("chat_id=1", "message text is empty"),
            ("chat_id=1&text=" + 4097 * "a", "message is too long"),
            ("text=a", "chat_id is empty"),
            ("chat_id=somebody&text=a", "chat not found"),
            ("chat_id=1&text=a&reply_markup={", "can't parse reply_markup JSON object"),
        ],
    )
    def test_bad_messages_are_refused(self, api: BotAPI, query: Any, description: str) -> None:
        """What Telegram would not send is refused in its words, and not sent."""
        status, answer = post(f"sendMessage?{query}")
        assert (400, f"Bad Request: {description}") == (status, answer["description"])
        assert [] == api.messages

    def test_media_are_messages_with_captions(self, bot: Any, api: BotAPI) -> None:
        """A photo, or sendChatAction else, is a message whose text is its caption."""
        assert "nice" == bot.send_photo(1, "file-id", caption="nice").caption
        assert 2 == bot.send_dice(1).message_id
        assert ["nice", ""] == [message.text for message in api.messages]

    def test_edits_take_the_place_of_the_message(
        self, bot: Any, api: BotAPI, frozen_time: Any
    ) -> None:
        """An edited message has its new text and keyboard, and keeps its place and number."""
        sent = bot.send_message(1, "a", reply_markup=keyboard("Yes"))
        bot.send_message(1, "b")
        edited = bot.edit_message_text("c", 1, sent.message_id)
        assert ("c", None) == (edited.text, edited.reply_markup)
        assert edited.edit_date == edited.date
        assert ["c", "b"] == [message.text for message in api.messages]
        bot.edit_message_reply_markup(1, sent.message_id, reply_markup=keyboard("No"))
        assert ["c", "No"] == [api.messages[0].text, api.messages[0].buttons[0]["text"]]

    def test_edits_of_nothing_are_refused(self, bot: Any, api: BotAPI) -> None:
        """An edit that changes nothing, or that has nothing to change, is refused."""
        sent = bot.send_message(1, "a", reply_markup=keyboard("Yes"))
        code, description = refusal(
            bot.edit_message_text, "a", 1, sent.message_id, reply_markup=keyboard("Yes")
        )
        assert (400, "Bad Request: message is not modified") == (code, description[:36])
        assert (400, "Bad Request: message to edit not found") == refusal(
            bot.edit_message_text, "b", 1, 99
        )

    def test_inline_messages_are_edited_unseen(self, bot: Any, api: BotAPI) -> None:
        """An edit of a message that was sent through inline mode is answered True."""
        assert bot.edit_message_text("b", inline_message_id="x") is True
        assert [] == api.messages

    def test_deleted_messages_are_gone(self, bot: Any, api: BotAPI) -> None:
        """A deleted message can be edited no more, but the test still sees what was sent."""
        sent = bot.send_message(1, "a")
        assert bot.delete_message(1, sent.message_id) is True
        assert api.find_message(1, sent.message_id) is None
        expected = 400, "Bad Request: message to delete not found"
        assert expected == refusal(bot.delete_message, 1, sent.message_id)
        assert ["a"] == [message.text for message in api.messages]

    def test_small_answers_are_true(self, bot: Any, api: BotAPI) -> None:
        """Methods that only say yes, say yes."""
        ada = api.user(1)
        press = ada.press(bot.send_message(1, "a", reply_markup=keyboard("Yes")), "Yes")
        answers = [
            bot.answer_callback_query(press["callback_query"]["id"], "ok"),
            bot.answer_inline_query(ada.inline("tea")["inline_query"]["id"], []),
            bot.send_chat_action(1, "typing"),
        ]
        assert [True, True, True] == answers

    @pytest.mark.parametrize(("token", "expected"), [("77:x", 77), ("fake", 1)])
    def test_the_bot_is_who_its_token_says(self, api: BotAPI, token: str, expected: Any) -> None:
        """The bot's id is in its token; any token is good."""
        me = TeleBot(token, validate_token=False, threaded=False).get_me()
        assert (expected, True, "test_bot") == (me.id, me.is_bot, me.username)

    @pytest.mark.parametrize(
        "kind", ["message", "channel_post", "business_message", "edited_message"]
    )
    def test_pushed_messages_are_known(self, bot: Any, api: BotAPI, kind: str) -> None:
        """A message in a pushed update can be answered, whatever the kind of update."""
        chat = {"id": -7, "type": "group", "title": "G"}
        api.push({kind: {"message_id": 9, "chat": chat, "date": 1, "text": "x"}})
        sent = bot.send_message(-7, "y", reply_parameters=types.ReplyParameters(9))
        assert (10, "x", "G") == (sent.message_id, sent.reply_to_message.text, sent.chat.title)

    def test_inaccessible_messages_are_not_known(self, api: BotAPI) -> None:
        """A button under a message that Telegram shows no more changes nothing."""
        message = {"message_id": 9, "chat": {"id": 1, "type": "private"}, "date": 0}
        api.push({"callback_query": {"id": "1", "message": message, "data": "x"}})
        assert api.find_message(1, 9) is None


class TestFailures:
    @pytest.mark.parametrize(
        ("code", "description"),
        [
            (400, "Bad Request"),
            (403, "Forbidden: bot was blocked by the user"),
            (429, "Too Many Requests: retry after 3"),
            (418, "Error"),
        ],
    )
    def test_a_call_fails_on_request(
        self, bot: Any, api: BotAPI, code: int, description: str
    ) -> None:
        """The next call of a method is refused in Telegram's words, the one after is not."""
        api.fail_next("sendMessage", code, retry_after=3)
        bot.get_me()
        assert (code, description) == refusal(bot.send_message, 1, "a")
        bot.send_message(1, "b")
        assert ["b"] == [message.text for message in api.messages]
        assert 2 == len(api.calls_of("sendMessage"))

    def test_too_many_requests_says_when_to_come_back(self, bot: Any, api: BotAPI) -> None:
        """Only a 429 carries the seconds to wait."""
        api.fail_next("sendMessage", 429, retry_after=3)
        api.fail_next("sendMessage", 403, description="Forbidden: just so")
        assert 3 == post("sendMessage")[1]["parameters"]["retry_after"]
        expected = {"ok": False, "error_code": 403, "description": "Forbidden: just so"}
        assert (403, expected) == post("sendMessage")

    def test_a_migrated_group_says_where_it_is(self, bot: Any, api: BotAPI) -> None:
        """A refusal for a group that is a supergroup now has the id of the supergroup."""
        api.fail_next("sendMessage", 400, migrate_to_chat_id=-1007)
        with pytest.raises(ApiTelegramException, match="upgraded to a supergroup chat") as caught:
            bot.send_message(-7, "a")
        assert {"migrate_to_chat_id": -1007} == caught.value.result_json["parameters"]

    def test_a_refusal_has_the_parameters_that_it_was_given(self) -> None:
        """The parameters are empty, or those of Telegram's `ResponseParameters`."""
        refusals = [
            RefusedError(400, "no"),
            RefusedError(429, "later", 5),
            RefusedError(400, "there", migrate_to_chat_id=-1007),
        ]
        assert [{}, {"retry_after": 5}, {"migrate_to_chat_id": -1007}] == [
            refusal.parameters for refusal in refusals
        ]

    def test_several_calls_fail_on_request(self, bot: Any, api: BotAPI) -> None:
        """As many calls are refused as were asked for."""
        api.fail_next("getMe", 500, times=2)
        assert [500, 500, 200] == [post("getMe")[0] for _ in range(3)]

    def test_a_refusal_reads_well(self, api: BotAPI) -> None:
        """A refusal as text is its code and its description."""
        with pytest.raises(RefusedError) as caught:
            api.answer(Call("sendMessage", {"text": "a"}))
        assert "400 Bad Request: chat_id is empty" == str(caught.value)


class TestWaiting:
    def test_waiting_ends_with_what_was_waited_for(self, bot: Any, api: BotAPI) -> None:
        """Waiting returns the predicate's value, after a call from another thread if need be."""
        sender = start(bot.send_message, 1, "a")
        assert ["a"] == [message.text for message in api.wait_for_messages(1)]
        sender.join()
        assert "seen" == api.wait_for(lambda: "seen")

    def test_a_notice_wakes_the_waiting(self, api: BotAPI) -> None:
        """After notify() the predicate is looked at again."""
        done = []

        def finish() -> None:
            done.append(1)
            api.notify()

        start(finish)
        assert [1] == api.wait_for(lambda: done)

    def test_waiting_in_vain_says_what_was_there(self, bot: Any, api: BotAPI) -> None:
        """A wait that ends without success says what the bot did instead."""
        bot.send_message(1, "a")
        api.user(1).send("b")
        expected = (
            "waited 0.01 s for 2 messages of the bot without success: the bot has called "
            "{'sendMessage': 1}, and left 1 updates unconfirmed; the conversation:\n"
            "bot to User 1: a\nUser 1: b"
        )
        with pytest.raises(TimeoutError) as caught:
            api.wait_for_messages(2, timeout=0.01)
        assert expected == str(caught.value)

    def test_confirmation_is_a_later_offset(self, bot: Any, api: BotAPI) -> None:
        """Updates are confirmed when the bot asks beyond the last one, not when it gets them."""
        api.user(1).send("a")
        bot.get_updates()
        with pytest.raises(TimeoutError, match="updates to be confirmed"):
            api.wait_until_confirmed(timeout=0.01)
        with api.short_polls():
            bot.get_updates(offset=2)
        api.wait_until_confirmed(timeout=0)

    def test_a_frozen_clock_hangs_nothing(self, bot: Any, api: BotAPI) -> None:
        """Waits and polls end in real time, though the clock stands still."""
        with freezegun.freeze_time("2030-01-01"):
            began = time.monotonic()
            with pytest.raises(TimeoutError):
                api.wait_for(lambda: False, timeout=0.01)
            # The shortest time-out that Telegram has.
            assert [] == post("getUpdates?timeout=1")[1]["result"]
            assert began == time.monotonic()


class TestWebhook:
    def test_updates_are_posted_in_order(self, bot: Any, api: BotAPI) -> None:
        """With a webhook updates are posted, in order and with the secret, and so confirmed."""
        api.user(1).send("a")
        with Receiver() as receiver:
            assert bot.set_webhook(receiver.url, secret_token="s3cret")
            api.user(1).send("b")
            assert ("/hook?a=b", "s3cret", 1, "a") == receiver.get()
            assert ("/hook?a=b", "s3cret", 2, "b") == receiver.get()
            api.wait_until_confirmed()

    def test_a_server_that_starts_again_posts_again(self, bot: Any, api: BotAPI) -> None:
        """A webhook that was set before the end of the server gets updates after a new start."""
        with Receiver() as receiver:
            bot.set_webhook(receiver.url)
            api.user(1).send("a")
            texts = [receiver.get()[3]]
            api.close()
            api.start()
            api.user(1).send("b")
            texts.append(receiver.get()[3])
            api.wait_until_confirmed()
        assert ["a", "b"] == texts

    def test_a_failed_post_is_repeated(self, bot: Any, api: BotAPI) -> None:
        """An update that the bot did not take is posted again, before later ones."""
        with Receiver(500) as receiver:
            bot.set_webhook(receiver.url)
            api.user(1).send("a")
            api.user(1).send("b")
            assert ["a", "a", "b"] == [receiver.get()[3] for _ in range(3)]
            info = bot.get_webhook_info()
        assert (receiver.url, "Wrong response: 500") == (info.url, info.last_error_message)

    def test_an_unreachable_bot_is_noted(self, bot: Any, api: BotAPI) -> None:
        """A bot that cannot be reached keeps its updates, and is told why when it asks."""
        with socket.create_server(("127.0.0.1", 0)) as server:
            url = f"http://127.0.0.1:{server.getsockname()[1]}"
        bot.set_webhook(url)
        api.user(1).send("a")
        api.wait_for(lambda: bot_info(api).get("last_error_date"))
        info = bot.get_webhook_info()
        assert ("Connection failed", 1) == (info.last_error_message[:17], info.pending_update_count)

    def test_https_is_spoken_if_asked_for(self, bot: Any, api: BotAPI) -> None:
        """An https url is connected to with TLS; a server that speaks none is an error."""
        with Receiver() as receiver:
            bot.set_webhook(receiver.url.replace("http:", "https:"))
            api.user(1).send("a")
            api.wait_for(lambda: bot_info(api).get("last_error_date"))
        assert "SSL" in bot.get_webhook_info().last_error_message

    def test_polling_conflicts_with_it(self, bot: Any, api: BotAPI) -> None:
        """While a webhook is set, getUpdates is refused; deleting it gives the updates back."""
        with Receiver() as receiver:
            bot.set_webhook(receiver.url)
            expected = "can't use getUpdates method while webhook is active; use deleteWebhook"
            code, description = refusal(bot.get_updates)
            assert (409, f"Conflict: {expected} to delete the webhook first") == (code, description)
            assert bot.delete_webhook()
        assert "" == bot.get_webhook_info().url
        api.user(1).send("a")
        assert ["a"] == [update.message.text for update in bot.get_updates()]

    def test_setting_it_ends_a_poll(self, bot: Any, api: BotAPI) -> None:
        """A poll that waits when a webhook is set is refused."""
        answers: queue.Queue[Any] = queue.Queue()
        poll = start(lambda: answers.put(refusal(bot.get_updates, timeout=20)))
        api.wait_for(lambda: api.calls)
        with Receiver() as receiver:
            TeleBot(TOKEN, threaded=False).set_webhook(receiver.url)
            assert (409, "Conflict: terminated by setWebhook") == (
                (error := answers.get(timeout=PATIENCE))[0],
                error[1][:34],
            )
        poll.join()

    def test_pending_updates_may_be_dropped(self, bot: Any, api: BotAPI) -> None:
        """Pending updates are dropped on request, else they stay."""
        api.user(1).send("a")
        bot.delete_webhook()
        assert 1 == bot.get_webhook_info().pending_update_count
        bot.delete_webhook(drop_pending_updates=True)
        assert 0 == bot.get_webhook_info().pending_update_count

    def test_it_has_allowed_updates_too(self, bot: Any, api: BotAPI) -> None:
        """A webhook restricts the kinds of updates like a poll."""
        with Receiver() as receiver:
            bot.set_webhook(receiver.url, allowed_updates=["message"])
            api.push({"poll": {}})
            api.user(1).send("a")
            assert "a" == receiver.get()[3]

    @pytest.mark.parametrize(
        ("options", "expected"),
        [
            ({}, (40, None, None)),
            (
                {"max_connections": 500, "ip_address": "10.0.0.1", "allowed_updates": ["message"]},
                (100, "10.0.0.1", ["message"]),
            ),
        ],
    )
    def test_its_options_come_back(
        self, bot: Any, options: dict[str, Any], expected: tuple[Any, ...]
    ) -> None:
        """The bot can read the options of its webhook, until it deletes it."""
        with Receiver() as receiver:
            bot.set_webhook(receiver.url, **options)
            info = bot.get_webhook_info()
            bot.delete_webhook()
        assert expected == (info.max_connections, info.ip_address, info.allowed_updates)
        assert None is bot.get_webhook_info().max_connections

    @pytest.mark.parametrize("url", ["ftp://example.org", "example.org", "http://"])
    def test_a_bad_url_is_refused(self, bot: Any, api: BotAPI, url: str) -> None:
        """A webhook is an http url."""
        expected = 400, "Bad Request: bad webhook: invalid webhook URL specified"
        assert expected == refusal(bot.set_webhook, url)


def bot_info(api: BotAPI) -> dict[str, Any]:
    return dict(api.answer(Call("getWebhookInfo")))


def _file(content: bytes) -> io.BytesIO:
    return io.BytesIO(content)
