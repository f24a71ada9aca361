"""Short tests of bots: what a bot has replied, what users see, and the conversation in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from telebot import TeleBot, types
from telebot.apihelper import ApiTelegramException
from telebot.util import quick_markup

from telesession import MemoryStorage, Session, Sessions, with_session
from telesession.testing import (
    BotAPI,
    FaultyStorage,
    Messages,
    Polling,
    User,
    forget_sessions,
    run_polling,
)


def make_bot() -> Any:
    """A bot that repeats what it hears, and shows a notice at a press."""
    bot: Any = TeleBot("77:offline")

    @bot.message_handler(commands=["menu"])
    def menu(message: Any) -> None:
        buttons = quick_markup({"Yes": {"callback_data": "yes"}})
        bot.reply_to(message, "sure?", reply_markup=buttons)

    @bot.message_handler(commands=["slow"])
    def slow(message: Any) -> None:
        wait = bot.send_message(message.chat.id, "wait")
        bot.send_message(message.chat.id, "done")
        bot.delete_message(message.chat.id, wait.message_id)

    @bot.message_handler(commands=["tell"])
    def tell(message: Any) -> None:
        bot.send_message(2, "she is here")
        bot.send_message(message.chat.id, "told")

    @bot.message_handler(content_types=["text", "photo"])
    @bot.channel_post_handler(func=lambda message: True)
    def repeat(message: Any) -> None:
        bot.send_message(message.chat.id, f"{message.text or 'nice'}!")

    @bot.business_message_handler(func=lambda message: True)
    def answer(message: Any) -> None:
        connection = message.business_connection_id
        bot.send_message(message.chat.id, "hello", business_connection_id=connection)

    @bot.callback_query_handler(func=lambda _: True)
    def notice(query: Any) -> None:
        bot.answer_callback_query(query.id, f"{query.from_user.first_name}: {query.data}")
        bot.edit_message_text("chosen", query.message.chat.id, query.message.message_id)
        bot.send_message(query.message.chat.id, "thanks")

    @bot.poll_answer_handler()
    def voted(answer: Any) -> None:
        bot.send_message(answer.user.id, "voted")

    return bot


@pytest.fixture
def polling(api: BotAPI) -> Iterator[Polling]:
    """The bot at work."""
    with run_polling(make_bot()) as polling:
        yield polling


class TestReplies:
    def test_say_returns_the_replies(self, polling: Polling, ada: User) -> None:
        """`say` sends a text, waits, and returns the messages that answer it, no earlier ones."""
        assert ["a!"] == polling.say(ada, "a").texts
        assert ["b!"] == polling.say(ada, "b").texts

    def test_say_takes_a_place(self, polling: Polling, api: BotAPI, ada: User) -> None:
        """A text can be said elsewhere, and the replies are those of that chat."""
        group = api.group(-1001, forum=True)
        [reply] = polling.say(ada, "a", chat=group, topic=7)
        assert (-1001, "a!") == (reply.chat_id, reply.text)

    def test_other_chats_are_left_out(self, polling: Polling, ada: User, boris: User) -> None:
        """Replies are in the chat of the update; others see theirs in `messages`."""
        assert ["told"] == polling.say(ada, "/tell").texts
        assert ["she is here"] == boris.messages.texts

    def test_deleted_messages_are_left_out(self, polling: Polling, api: BotAPI, ada: User) -> None:
        """A message that the bot has deleted again is no reply, and `api.messages` has it."""
        assert ["done"] == polling.say(ada, "/slow").texts
        assert [("wait", True), ("done", False)] == [
            (message.text, message.is_deleted) for message in api.messages
        ]

    def test_every_act_has_replies(self, polling: Polling, ada: User) -> None:
        """`replies_to` takes the update of any act, and a list of them."""
        [menu] = polling.say(ada, "/menu")
        assert ["thanks"] == polling.replies_to(ada.press(menu, "Yes")).texts
        assert ["nice!", "nice!"] == polling.replies_to(ada.album(2)).texts

    def test_a_vote_is_answered_in_private(self, polling: Polling, api: BotAPI, ada: User) -> None:
        """An update without a chat has the private chat of its user."""
        options = [types.InputPollOption("tea"), types.InputPollOption("milk")]
        bot: Any = TeleBot("77:offline")
        poll = bot.send_poll(-1001, "what?", options, is_anonymous=False)
        assert ["voted"] == polling.replies_to(ada.vote(poll, "tea")).texts

    def test_a_business_chat_is_another_one(self, polling: Polling, api: BotAPI, ada: User) -> None:
        """Messages through a business connection are none of the private chat of the bot."""
        chat = api.business_chat(ada)
        assert ["hello"] == polling.say(ada, "hi", chat=chat).texts
        assert (["hello"], []) == (chat.messages.texts, ada.messages.texts)

    def test_a_channel_says_something(self, polling: Polling, api: BotAPI) -> None:
        """A channel posts, and the bot's posts in it are the replies."""
        channel = api.channel(-1002)
        assert ["news!"] == polling.say(channel, "news").texts
        assert ["news!"] == channel.messages.texts


class TestViews:
    def test_users_see_their_private_chat(self, api: BotAPI, bot: Any, ada: User) -> None:
        """A user sees the bot's messages in private, as they read now, and no deleted ones."""
        for text in ("a", "b"):
            bot.send_message(1, text)
        bot.send_message(2, "c")
        bot.edit_message_text("A", 1, 1)
        bot.delete_message(1, 2)
        assert ["A"] == ada.messages.texts

    def test_ephemeral_messages_are_seen_by_one(
        self, api: BotAPI, bot: Any, ada: User, boris: User
    ) -> None:
        """A message that a group shows to one user is in that user's list, and in no other."""
        group = api.group(-1001)
        only = types.EphemeralMessageParameters(1)
        bot.send_message(-1001, "secret", ephemeral_message_parameters=only)
        bot.send_message(-1001, "public")
        assert (["secret"], [], ["public"]) == (
            ada.messages.texts,
            boris.messages.texts,
            group.messages.texts,
        )

    def test_notices_are_alerts_of_their_user(
        self, polling: Polling, api: BotAPI, ada: User, boris: User
    ) -> None:
        """The text that answers a press is shown to the one who has pressed."""
        [menu] = polling.say(ada, "/menu", chat=api.group(-1001))
        polling.replies_to(boris.press(menu, "Yes"))
        assert ([], ["Boris: yes"]) == (ada.alerts, boris.alerts)

    def test_an_answer_shows_its_text_once(self, api: BotAPI, bot: Any, ada: User) -> None:
        """A second answer shows nothing, and one to a press that a test has made is accepted."""
        menu = bot.send_message(1, "?", reply_markup=quick_markup({"Yes": {"callback_data": "y"}}))
        query_id = ada.press(menu, "Yes")["callback_query"]["id"]
        answers = [(query_id, "first"), (query_id, "second"), ("1", "of no press")]
        assert [True] * 3 == [bot.answer_callback_query(*answer) for answer in answers]
        assert ["first"] == ada.alerts

    def test_a_chat_shows_itself_as_it_is_now(self, api: BotAPI, ada: User) -> None:
        """A group that has been renamed has the new title, also in a message to it."""
        group = api.group(-1001, title="Tea")
        api.group(-1001, title="Coffee")
        assert "Coffee" == group.json["title"]
        assert "Coffee" == ada.send("hi", chat=group)["message"]["chat"]["title"]

    def test_messages_are_a_list(self, api: BotAPI, bot: Any) -> None:
        """Without messages, `Messages` is empty and has no texts."""
        assert [] == api.messages == Messages()
        assert [] == api.messages.texts

    def test_a_message_is_parsed_as_telebot_does(self, api: BotAPI, bot: Any) -> None:
        """`parse` gives telebot's object, with the entities of the text."""
        bot.send_message(1, "*tea*", parse_mode="Markdown")
        [message] = api.messages
        assert ("tea", "bold") == (message.parse().text, message.parse().entities[0].type)


class TestConversation:
    def test_it_tells_who_said_what(self, polling: Polling, api: BotAPI, ada: User) -> None:
        """The conversation has the users' updates and the bot's messages, edits and notices."""
        [menu] = polling.say(ada, "/menu")
        polling.replies_to(ada.press(menu, "Yes"))
        assert [
            "Ada: /menu",
            "bot to Ada: sure? [Yes]",
            "Ada: presses 'yes'",
            "bot shows Ada: Ada: yes",
            "bot to Ada (edited): chosen",
            "bot to Ada: thanks",
        ] == api.transcript.splitlines()

    def test_it_tells_where(self, api: BotAPI, bot: Any, ada: User) -> None:
        """Groups, topics, anonymous admins, channels and readers are named."""
        group = api.group(-1001, title="Tea", forum=True)
        ada.send("a", chat=group, topic=7)
        ada.anonymous_in(group).send("b", chat=group)
        api.channel(-1002, title="News").photo("c")
        only = types.EphemeralMessageParameters(1)
        bot.send_message(-1001, "d", ephemeral_message_parameters=only)
        bot.delete_message(1, bot.send_message(1, "e").message_id)
        assert [
            "Ada in Tea, topic 7: a",
            "Tea in Tea: b",
            "News in News: (photo) c",
            "bot in Tea, only to Ada: d",
            "bot to Ada: e",
            "bot to Ada (deleted): e",
        ] == api.transcript.splitlines()

    def test_it_names_other_contents(self, api: BotAPI, bot: Any, ada: User) -> None:
        """Other contents than texts are named by their kind, with the detail that matters."""
        ada.dice("🎲", value=4)
        ada.location(1, 2)
        ada.edit(ada.photo("cat"), "dog")
        ada.inline("tea")
        ada.react(bot.send_message(1, "hi"), "👍")
        options = [types.InputPollOption("tea"), types.InputPollOption("milk")]
        ada.vote(bot.send_poll(1, "what?", options, is_anonymous=False), "milk")
        assert [
            "Ada: (dice) 🎲 4",
            "Ada: (location) 1, 2",
            "Ada: (photo) cat",
            "Ada: (edited) (photo) dog",
            "Ada: (inline_query) tea",
            "bot to Ada: hi",
            "Ada: (message_reaction)",
            "bot to Ada: (poll) what? [tea: 0] [milk: 0]",
            "Ada votes: milk",
        ] == api.transcript.splitlines()

    def test_a_vote_is_one_line(self, api: BotAPI, bot: Any, ada: User) -> None:
        """A vote has the texts of its options, in a poll of any kind, and may be taken back."""
        group = api.group(-1001, title="Tea")
        options = [types.InputPollOption("tea"), types.InputPollOption("milk")]
        secret = bot.send_poll(1, "what?", options)
        open_poll = bot.send_poll(
            -1001, "what?", options, is_anonymous=False, allows_multiple_answers=True
        )
        before = len(api.transcript.splitlines())
        ada.vote(secret, 0)
        ada.vote(open_poll, "tea", 1)
        ada.anonymous_in(group).vote(open_poll, "milk")
        ada.vote(open_poll)
        bot.stop_poll(-1001, open_poll.message_id)
        assert [
            "Ada votes: tea",
            "Ada in Tea votes: tea, milk",
            "Tea in Tea votes: milk",
            "Ada in Tea takes the vote back",
            "bot in Tea (edited): (poll) what? [tea: 0] [milk: 1] closed",
            "Telegram: (poll) what? [tea: 0] [milk: 1] closed",
        ] == api.transcript.splitlines()[before:]

    def test_a_vote_that_is_refused_is_no_line(self, api: BotAPI, bot: Any, ada: User) -> None:
        """A vote that Telegram's apps would not let the user give is not told."""
        poll = bot.send_poll(1, "what?", [types.InputPollOption("tea")])
        before = api.transcript
        with pytest.raises(ValueError, match="no option"):
            ada.vote(poll, "milk")
        assert before == api.transcript

    def test_a_forward_is_marked(self, api: BotAPI, bot: Any, ada: User, boris: User) -> None:
        """A forwarded message names its origin, whether a user or the bot forwards it."""
        said = ada.forward(boris.send("hi"))["message"]
        bot.forward_message(2, 1, said["message_id"])
        assert [
            "Boris: hi",
            "Ada: (forwarded from Boris) hi",
            "bot to Boris: (forwarded from Boris) hi",
        ] == api.transcript.splitlines()

    def test_a_chat_without_a_name_has_its_number(self, api: BotAPI) -> None:
        """A pushed message may lack the names of its people."""
        api.push({"message": {"message_id": 1, "date": 1, "chat": {"id": 5}, "from": {"id": 5}}})
        assert "5 in 5: (empty)" == api.transcript

    @pytest.mark.parametrize(
        ("kind", "options"),
        [
            ("callback_query", {}),
            ("pre_checkout_query", {"ok": True}),
            ("shipping_query", {"ok": True}),
        ],
    )
    def test_its_end_tells_of_unanswered_queries(
        self, api: BotAPI, bot: Any, ada: User, kind: str, options: Any
    ) -> None:
        """Queries of a kind are told once, until the bot has called the method that answers."""
        numbers = "8", "9"
        for number in numbers:
            api.push({kind: {"id": number, "from": ada.json}})
        *queries, told = api.transcript.splitlines()
        assert (2, True) == (len(queries), f": the bot has not called answer_{kind})" in told)
        for number in numbers:
            assert told in api.transcript
            # The server refuses to end a payment that it has not begun.
            with suppress(ApiTelegramException):
                getattr(bot, f"answer_{kind}")(number, **options)
        assert told not in api.transcript

    def test_it_tells_of_refusals(self, api: BotAPI, bot: Any) -> None:
        """A call that the server refused is in it, with the reason."""
        with pytest.raises(Exception, match="chat not found"):
            bot.send_message("somewhere", "hi")
        assert "bot: sendMessage is refused: 400 Bad Request: chat not found" == api.transcript

    def test_it_is_not_endless(self, api: BotAPI, ada: User) -> None:
        """Only the latest 50 lines are shown, after a line that counts the others."""
        for number in range(60):
            ada.send(f"{number}")
        lines = api.transcript.splitlines()
        assert (51, "(10 lines before)", "Ada: 10") == (len(lines), lines[0], lines[1])

    def test_a_failure_shows_it(self, pytester: pytest.Pytester) -> None:
        """As a plugin, the fixtures put the conversation under a test that failed."""
        pytester.makeconftest('pytest_plugins = ["telesession.testing.fixtures"]')
        pytester.makepyfile(
            """
            def test_failure(bot_api):
                bot_api.user(1, first_name="Ada").send("hello there")
                assert False

            def test_success(bot_api):
                bot_api.user(1, first_name="Ada").send("nothing to see")
            """
        )
        result = pytester.runpytest("-p", "no:cacheprovider")
        result.assert_outcomes(passed=1, failed=1)
        result.stdout.fnmatch_lines(["*Conversation with the bot*", "Ada: hello there"])
        result.stdout.no_fnmatch_line("*nothing to see*")

    def test_a_failure_shows_it_after_the_end_of_the_server(
        self, pytester: pytest.Pytester
    ) -> None:
        """A handler that raises, a block in the test and a `tearDown` show it, too, and once."""
        pytester.makeconftest('pytest_plugins = ["telesession.testing.fixtures"]')
        pytester.makepyfile(
            """
            import unittest
            import pytest
            from telebot import TeleBot
            from telesession.testing import OFFLINE_TOKEN, BotAPI, run_polling

            bot = TeleBot(OFFLINE_TOKEN)

            @bot.message_handler()
            def fail(message):
                raise KeyError(message.text)

            @pytest.fixture
            def polling(bot_api):
                with run_polling(bot) as polling:
                    yield polling

            def test_handler(bot_api, polling):
                polling.say(bot_api.user(1, first_name="Ada"), "in a teardown")

            def test_block():
                with BotAPI() as api:
                    api.user(1, first_name="Ada").send("in a block")
                    assert False

            class TestUnit(unittest.TestCase):
                def setUp(self):
                    self.api = BotAPI().start()

                def tearDown(self):
                    self.api.close()

                def test_unit(self):
                    self.api.user(1, first_name="Ada").send("in a unit test")
                    self.fail()

            def test_nothing():
                assert False
            """
        )
        result = pytester.runpytest("-p", "no:cacheprovider")
        result.assert_outcomes(passed=1, failed=3, errors=1)
        shown = [line for line in result.outlines if line.startswith("Ada: ")]
        assert ["Ada: in a teardown", "Ada: in a block", "Ada: in a unit test"] == shown

    def test_a_failure_shows_a_server_of_several_tests(self, pytester: pytest.Pytester) -> None:
        """A server that was started before the test is shown, after one that the test started."""
        pytester.makeconftest('pytest_plugins = ["telesession.testing.fixtures"]')
        pytester.makepyfile(
            """
            import pytest
            from telesession.testing import BotAPI

            @pytest.fixture(scope="module")
            def api():
                with BotAPI() as api:
                    yield api

            def test_success(api):
                api.user(1, first_name="Ada").send("earlier")

            def test_failure(api):
                with BotAPI() as inner:
                    inner.user(1, first_name="Ada").send("inside")
                api.user(1, first_name="Ada").send("now")
                assert False
            """
        )
        result = pytester.runpytest("-p", "no:cacheprovider")
        result.assert_outcomes(passed=1, failed=1)
        shown = [line for line in result.outlines if line.startswith("Ada: ")]
        assert ["Ada: inside", "Ada: earlier", "Ada: now"] == shown


class TestFreshSessions:
    @staticmethod
    def remember() -> int:
        """The count of a handler that keeps it in the storage of all."""

        @with_session(initial=lambda: {"count": 0})
        def count(message: types.Message, session: Session) -> int:
            session.count += 1
            return int(session.count)

        sender = types.User(5, False, "A")
        return count(types.Message(1, sender, 0, types.Chat(5, "private"), "text", {}, ""))

    @pytest.mark.parametrize("turn", ["first", "second"])
    def test_no_session_is_left(self, fresh_sessions: None, turn: str) -> None:
        """Each test begins without sessions, whatever the one before has kept."""
        assert 1 == self.remember()
        assert 2 == self.remember()

    def test_other_storages_are_named(self) -> None:
        """`forget_sessions` empties the storages that it is given, and no other."""
        storages = [MemoryStorage() for _ in range(3)]
        for storage in storages:
            with Sessions(storage=storage, initial=lambda: {"a": 1}).open("1"):
                pass
        forget_sessions(*storages[:2])
        assert [[], [], ["1"]] == [list(storage.keys()) for storage in storages]

    def test_the_faults_of_a_storage_stay(self) -> None:
        """`forget_sessions` makes no call of a `FaultyStorage`, and empties the one behind it."""
        behind = MemoryStorage({"1": b"a"})
        storage = FaultyStorage(FaultyStorage(behind))
        for method in ("keys", "delete"):
            storage.fail(method)
        forget_sessions(storage)
        assert ([], {}) == (list(behind.keys()), storage.calls)
        assert Counter(keys=1, delete=1) == storage.faults
