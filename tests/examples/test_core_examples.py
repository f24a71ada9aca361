"""The examples whose sessions are in the storage that all decorators share."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
from telebot.apihelper import ApiTelegramException

from support.bots import Stage, Terminal, exceptions_in
from support.clocks import MICROSECOND, PATIENCE
from telesession import StorageError

if TYPE_CHECKING:
    from pathlib import Path

    from freezegun.api import FrozenDateTimeFactory

    from telesession.testing import BotAPI, Group, SentMessage, User


pytestmark = pytest.mark.usefixtures("fresh_process")


class TestCounter:
    example = "counter"

    def test_two_lines_are_two_replies(self, tmp_path: Path) -> None:
        """Piped two lines and no more, it prints both replies in order and ends well."""
        expected = "you called the bot 1 times!\nyou called the bot 2 times!\n"
        assert (expected, "", 0) == Terminal("counter", "hi\nhi\n", tmp_path).result()

    def test_each_user_is_counted_alone(self, stage: Stage) -> None:
        """Two users who take turns do not see each other's counter, nor in a group."""
        group = stage.api.group(-100)
        replies = [stage.say(*turn) for turn in [(1, "a"), (2, "b"), (1, "c"), (1, "d", group)]]
        assert [[f"you called the bot {n} times!"] for n in (1, 1, 2, 3)] == replies

    def test_no_message_is_missed(self, stage: Stage) -> None:
        """Messages that arrive together are all counted, each once, in two threads."""
        for _ in range(20):
            for user in (1, 2):
                stage.user(user).send("hi")
        stage.polling.wait_idle(PATIENCE)
        expected = sorted(f"you called the bot {n} times!" for n in range(1, 21))
        for user in (1, 2):
            replies = [m.text for m in stage.api.messages if m.chat_id == user]
            assert expected == sorted(replies)

    def test_it_answers_the_message_it_counts(self, stage: Stage) -> None:
        """Each reply is a reply to the message that was counted."""
        update = stage.user(1).send("hi")
        stage.polling.wait_idle(PATIENCE)
        assert update["message"]["message_id"] == stage.latest(1).reply_to_message_id


class TestLoginCode:
    example = "login_code"

    def code(self, stage: Stage, user: int) -> str:
        (answer,) = stage.say(user, "/login")
        found = re.fullmatch(r"your code is (\d{6}); it is good for 120 s", answer)
        assert found is not None
        return found[1]

    def test_the_code_logs_in_once(self, stage: Stage) -> None:
        """The right code logs in, and is gone then."""
        code = self.code(stage, 1)
        assert ["welcome! Your logins so far: 1"] == stage.say(1, code)
        assert ["send /login to get a code"] == stage.say(1, code)
        assert ["welcome! Your logins so far: 2"] == stage.say(1, self.code(stage, 1))

    def test_the_code_is_there_until_its_deadline(
        self, frozen_time: FrozenDateTimeFactory, stage: Stage
    ) -> None:
        """The code is good a microsecond before its lifetime is over."""
        code = self.code(stage, 1)
        frozen_time.tick(120 - MICROSECOND)
        assert ["welcome! Your logins so far: 1"] == stage.say(1, code)

    def test_the_code_is_gone_at_its_deadline(
        self, frozen_time: FrozenDateTimeFactory, stage: Stage
    ) -> None:
        """The code is gone when its lifetime is over, and the bot knows that there was one."""
        code = self.code(stage, 1)
        frozen_time.tick(120)
        assert ["that code has expired; send /login to get a code"] == stage.say(1, code)

    def test_guesses_do_not_prolong_the_code(
        self, frozen_time: FrozenDateTimeFactory, stage: Stage
    ) -> None:
        """Handlers that read the code, and change other fields, leave its deadline alone."""
        code = self.code(stage, 1)
        frozen_time.tick(60)
        assert ["that is not your code; guesses left: 2"] == stage.say(1, "what?")
        frozen_time.tick(60)
        assert ["that code has expired; send /login to get a code"] == stage.say(1, code)

    def test_another_code_has_the_whole_lifetime(
        self, frozen_time: FrozenDateTimeFactory, stage: Stage
    ) -> None:
        """Asking again is an update of the field: the full lifetime begins anew."""
        self.code(stage, 1)
        frozen_time.tick(100)
        code = self.code(stage, 1)
        frozen_time.tick(100)
        assert ["welcome! Your logins so far: 1"] == stage.say(1, code)

    def test_three_wrong_guesses_are_enough(self, stage: Stage) -> None:
        """After three wrong guesses the code is gone."""
        code = self.code(stage, 1)
        answers = [*stage.say(1, "a"), *stage.say(1, "b"), *stage.say(1, "c"), *stage.say(1, code)]
        assert [
            "that is not your code; guesses left: 2",
            "that is not your code; guesses left: 1",
            "that is not your code either; send /login to get another",
            "send /login to get a code",
        ] == answers

    def test_codes_belong_to_one_user(
        self, frozen_time: FrozenDateTimeFactory, stage: Stage
    ) -> None:
        """Another user's code logs nobody in, and its expiry takes nobody else's code."""
        first = self.code(stage, 1)
        assert ["send /login to get a code"] == stage.say(2, first)
        frozen_time.tick(60)
        second = self.code(stage, 2)
        frozen_time.tick(60)
        assert ["that code has expired; send /login to get a code"] == stage.say(1, first)
        assert ["welcome! Your logins so far: 1"] == stage.say(2, second)


class TestShoppingCart:
    example = "shopping_cart"
    goods = ("tea 3.50", "cake 4.80")

    def test_the_message_follows_the_cart(self, stage: Stage) -> None:
        """Pressing a button changes the cart, and the message shows it."""
        more = [*self.goods, "pay", "empty"]
        assert ["your cart is empty"] == stage.say(1, "/shop")
        assert ("1 x tea\ntotal: 3.50", more) == stage.press(1, "tea")
        assert ("2 x tea\ntotal: 7.00", more) == stage.press(1, "tea")
        assert ("2 x tea\n1 x cake\ntotal: 11.80", more) == stage.press(1, "cake")
        assert ("your cart is empty", list(self.goods)) == stage.press(1, "empty")

    def test_every_press_is_answered(self, stage: Stage) -> None:
        """Each press is answered, so that the button stops waiting."""
        stage.say(1, "/shop")
        for label in ("tea", "cake", "empty", "tea", "pay"):
            stage.press(1, label)
        answers = stage.api.calls_of("answerCallbackQuery")
        notices = [call.params.get("text") for call in answers]
        assert [
            "tea is in your cart",
            "cake is in your cart",
            None,
            "tea is in your cart",
            None,
        ] == (notices)

    def test_the_cart_outlives_the_message(self, stage: Stage) -> None:
        """What was put into the cart, inside a dict of a dataclass, is there the next time."""
        stage.say(1, "/shop")
        stage.press(1, "cake")
        assert ["1 x cake\ntotal: 4.80"] == stage.say(1, "/shop")

    def test_paying_empties_the_cart(self, stage: Stage) -> None:
        """A cart that was paid is forgotten: the next one is new."""
        stage.say(1, "/shop")
        stage.press(1, "tea")
        assert ("1 x tea\ntotal: 3.50\npaid, thank you!", []) == stage.press(1, "pay")
        assert ["your cart is empty"] == stage.say(1, "/shop")

    def test_an_old_message_cannot_be_paid_twice(self, stage: Stage) -> None:
        """Paying from a message of before finds nothing to pay."""
        stage.say(1, "/shop")
        stage.press(1, "tea")
        old = stage.latest(1)
        stage.say(1, "/shop")
        stage.press(1, "pay")
        stage.user(1).press(old, "pay")
        stage.polling.wait_idle(PATIENCE)
        assert ["there is nothing to pay", "1 x tea\ntotal: 3.50\npaid, thank you!"] == [
            message.text for message in stage.api.messages
        ]

    def test_carts_are_apart(self, stage: Stage) -> None:
        """Two users fill two carts."""
        stage.say(1, "/shop")
        stage.say(2, "/shop")
        stage.press(1, "tea")
        assert "1 x cake\ntotal: 4.80" == stage.press(2, "cake")[0]
        assert "2 x tea\ntotal: 7.00" == stage.press(1, "tea")[0]

    def test_presses_at_the_same_time_all_count(self, stage: Stage) -> None:
        """Ten presses that arrive together put ten into the cart."""
        stage.say(1, "/shop")
        for _ in range(10):
            stage.user(1).press(stage.latest(1), "tea")
        stage.polling.wait_idle(PATIENCE)
        assert ["10 x tea\ntotal: 35.00"] == stage.say(1, "/shop")

    def test_a_refused_edit_leaves_the_cart(
        self, stage: Stage, caplog: pytest.LogCaptureFixture
    ) -> None:
        """A handler of a press that raises changes no nested value, and its user is told."""
        stage.say(1, "/shop")
        stage.press(1, "tea")
        stage.api.fail_next("editMessageText", 400)
        stage.user(1).press(stage.latest(1), "tea")
        stage.polling.wait_idle(PATIENCE)
        assert "sorry, that went wrong, and nothing was saved" == stage.latest(1).text
        assert [ApiTelegramException] == exceptions_in(caplog)
        assert ["1 x tea\ntotal: 3.50"] == stage.say(1, "/shop")

    def test_a_press_without_a_message_counts(self, stage: Stage) -> None:
        """A press whose message Telegram does not name is no reason to fail."""
        query = {"id": "1", "from": stage.user(1).json, "chat_instance": "1", "data": "tea"}
        stage.api.push({"callback_query": {**query, "inline_message_id": "x"}})
        stage.polling.wait_idle(PATIENCE)
        assert ["1 x tea\ntotal: 3.50"] == stage.say(1, "/shop")


class TestForm:
    example = "form"

    def test_the_answers_meet(self, stage: Stage) -> None:
        """What one step put into the session, the next ones find there."""
        assert ["what is your name?"] == stage.say(1, "/book")
        assert ["for how many people, Ada?"] == stage.say(1, "Ada")
        assert ["a table for 4, booked by Ada: is that right?"] == stage.say(1, "4")
        assert ["see you, Ada!"] == stage.say(1, "yes")
        assert [stage.module.HELP] == stage.say(1, "yes")

    def test_a_step_that_fails_is_told(self, stage: Stage) -> None:
        """The user of a next step that raises is told, and nothing is kept."""
        stage.say(1, "/book")
        stage.api.fail_next("sendMessage", 500)
        assert ["sorry, that went wrong, and nothing was saved"] == stage.say(1, "Ada")
        assert None is stage.module.bookings.peek(1)

    @pytest.mark.parametrize("answer", ["0", "13", "-1", "many", "4.5", "²", "/book"])
    def test_wrong_numbers_are_asked_for_again(self, stage: Stage, answer: str) -> None:
        """An impossible number is asked for again, and the name is kept."""
        stage.say(1, "/book")
        stage.say(1, "Ada")
        assert ["a number from 1 to 12, please"] == stage.say(1, answer)
        assert ["a table for 12, booked by Ada: is that right?"] == stage.say(1, "12")

    def test_a_command_is_no_name(self, stage: Stage) -> None:
        """A command or a photo is asked for again."""
        stage.say(1, "/book")
        assert ["just your name, please"] == stage.say(1, "/start")
        chat = {"id": 1, "type": "private"}
        sender = stage.user(1).json
        photo = {"message_id": 99, "from": sender, "chat": chat, "date": 1, "photo": []}
        stage.api.push({"message": photo})
        stage.polling.wait_idle(PATIENCE)
        assert "just your name, please" == stage.latest(1).text
        assert ["for how many people, Ada?"] == stage.say(1, "Ada")

    @pytest.mark.parametrize("answers", [[], ["Ada"], ["Ada", "4"]], ids=len)
    def test_a_form_can_be_cancelled(self, stage: Stage, answers: list[str]) -> None:
        """A step that calls the handler of /cancel shares its session, which is forgotten."""
        for line in ["/book", *answers]:
            stage.say(1, line)
        assert ["nothing is booked"] == stage.say(1, "/cancel")
        assert None is stage.module.bookings.peek(1)
        assert ["nothing is booked"] == stage.say(1, "/cancel")

    def test_an_unfinished_form_is_forgotten(
        self, frozen_time: FrozenDateTimeFactory, stage: Stage
    ) -> None:
        """An hour after the last answer the answers are gone; every answer begins it anew."""
        stage.say(1, "/book")
        stage.say(1, "Ada")
        frozen_time.tick(3600 - MICROSECOND)
        assert ["a table for 4, booked by Ada: is that right?"] == stage.say(1, "4")
        frozen_time.tick(3600)
        assert ["nothing is booked"] == stage.say(1, "yes")

    def test_a_forgotten_name_ends_the_form(
        self, frozen_time: FrozenDateTimeFactory, stage: Stage
    ) -> None:
        """A number that comes too late books nothing for nobody."""
        stage.say(1, "/book")
        stage.say(1, "Ada")
        frozen_time.tick(3600)
        assert ["nothing is booked"] == stage.say(1, "4")

    def test_forms_are_apart(self, stage: Stage) -> None:
        """Two users fill in two forms by turns."""
        for line in ("/book", "Ada", "4"):
            stage.say(1, line)
            stage.say(2, line.replace("Ada", "Bob").replace("4", "5"))
        assert ["see you, Ada!"] == stage.say(1, "yes")
        assert ["see you, Bob!"] == stage.say(2, "yes")

    def test_groups_have_no_form(self, stage: Stage) -> None:
        """In a group nobody is asked, for anybody's message would be the answer."""
        assert [] == stage.say(1, "/book", stage.api.group(-100))


class TestTransfer:
    example = "transfer"

    def coins(self, stage: Stage, *users: int) -> list[int]:
        wallets = stage.module.wallets
        return [wallet.coins if (wallet := wallets.peek(user)) else 100 for user in users]

    def test_coins_go_to_the_other_user(self, stage: Stage) -> None:
        """Both users are told, and both have what they were told."""
        assert ["you sent 30 coins to user 2 and have 70"] == stage.say(1, "/send 2 30")
        assert ["user 1 sent you 30 coins, and you have 130"] == stage.user(2).messages.texts
        assert ["you have 130 coins"] == stage.say(2, "/coins")
        assert [70, 130] == self.coins(stage, 1, 2)

    @pytest.mark.parametrize("text", ["/send 1 5", "/send 2", "/send 2 -5", "/send you 5"])
    def test_an_order_that_makes_no_sense_is_explained(self, stage: Stage, text: str) -> None:
        """Nothing goes to oneself, to nobody, or backwards."""
        assert [stage.module.HELP] == stage.say(1, text)
        assert [100, 100] == self.coins(stage, 1, 2)

    def test_a_user_cannot_send_more_than_there_is(self, stage: Stage) -> None:
        """A refused transfer changes neither session."""
        assert ["you have only 100 coins"] == stage.say(1, "/send 2 101")
        assert [100, 100] == self.coins(stage, 1, 2)

    def test_users_who_pay_each_other_at_once_lose_nothing(self, stage: Stage) -> None:
        """Transfers in both directions that arrive together are all done."""
        for _ in range(10):
            stage.user(1).send("/send 2 5")
            stage.user(2).send("/send 1 3")
        stage.polling.wait_idle(PATIENCE)
        assert [80, 120] == self.coins(stage, 1, 2)


class TestTickets:
    example = "tickets"

    def test_each_ticket_is_sold_once(self, stage: Stage) -> None:
        """Tickets of users who buy at the same time have different numbers."""
        for _ in range(5):
            for user in (1, 2):
                stage.user(user).send("/buy")
        stage.polling.wait_idle(PATIENCE)
        sold = [stage.module.buyers.peek(user).tickets for user in (1, 2)]
        assert (5, 5, list(range(1, 11))) == (
            len(sold[0]),
            len(sold[1]),
            sorted([*sold[0], *sold[1]]),
        )

    def test_a_number_is_told_only_after_it_is_saved(
        self, stage: Stage, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        """A save that fails sells no ticket and tells no number."""

        def fail(*_: object) -> None:
            raise StorageError("write", None, "the disk is full")

        storage = stage.module.raffles._kind.storage
        with monkeypatch.context() as patch:
            patch.setattr(storage, "commit", fail)
            sorry = "sorry, that went wrong; /tickets lists your tickets"
            assert [sorry] == stage.say(1, "/buy")
            assert [StorageError] == exceptions_in(caplog)
        assert ["your ticket is number 1"] == stage.say(1, "/buy")
        assert ["your tickets: 1"] == stage.say(1, "/tickets")

    def test_a_number_that_cannot_be_told_is_in_the_list(self, stage: Stage) -> None:
        """If only the reply fails, the ticket is saved, and the apology says where it is."""
        stage.api.fail_next("sendMessage", 500)
        sorry = "sorry, that went wrong; /tickets lists your tickets"
        assert [sorry] == stage.say(1, "/buy")
        assert ["your tickets: 1"] == stage.say(1, "/tickets")


class TestGroupGame:
    example = "group_game"
    score = "guesses in this round: {}; rounds before: {}; your wins: {}"

    def number(self, stage: Stage, group: Group) -> str:
        return str(stage.module.games.peek(f"chat:{group.id}").number)

    def test_the_group_plays_together(self, stage: Stage) -> None:
        """Guesses of everybody in a group count for the group, wins for the player."""
        group = stage.api.group(-100)
        assert ["higher"] == stage.say(1, "0", group)
        assert ["lower"] == stage.say(2, "101", group)
        number = self.number(stage, group)
        assert [f"yes, {number}! Guesses: 3; your wins: 1"] == stage.say(2, number, group)
        assert [self.score.format(0, 1, 0)] == stage.say(1, "/score", group)
        assert [self.score.format(0, 1, 1)] == stage.say(2, "/score", group)

    def test_groups_are_apart_and_players_are_not(self, stage: Stage) -> None:
        """Another group has its own number, but a player's wins are the same there."""
        groups = [stage.api.group(-100), stage.api.group(-200)]
        for wins, group in enumerate(groups, start=1):
            stage.say(7, "0", group)
            number = self.number(stage, group)
            assert [f"yes, {number}! Guesses: 2; your wins: {wins}"] == stage.say(7, number, group)
        assert [self.score.format(0, 1, 2)] == stage.say(7, "/score", groups[0])

    def test_the_number_is_from_1_to_100(self, stage: Stage) -> None:
        """Whoever halves what is left needs seven guesses at most."""
        group, low, high, answers = stage.api.group(-100), 1, 100, [""]
        while "yes" not in answers[-1] and len(answers) <= 7:
            guess = (low + high) // 2
            answers += stage.say(1, str(guess), group)
            low, high = (guess + 1, high) if answers[-1] == "higher" else (low, guess - 1)
        assert "yes, " == answers[-1][:5]

    def test_no_guess_is_missed(self, stage: Stage) -> None:
        """Guesses of three players that arrive together are all counted."""
        group = stage.api.group(-100)
        for _ in range(10):
            for user in (1, 2, 3):
                stage.user(user).send("0", chat=group)
        stage.polling.wait_idle(PATIENCE)
        assert [self.score.format(30, 0, 0)] == stage.say(1, "/score", group)

    def test_an_anonymous_admin_plays_for_the_group(self, stage: Stage) -> None:
        """An anonymous admin has the wins of the group, and of no other anonymous admin."""
        places = [stage.api.group(-100), stage.api.group(-200)]
        for wins, group in [(1, places[0]), (1, places[1]), (2, places[0])]:
            stage.say(1, "0", group)
            number = self.number(stage, group)
            stage.api.push({"message": anonymous(number, group, stage.api)})
            stage.polling.wait_idle(PATIENCE)
            assert f"yes, {number}! Guesses: 2; your wins: {wins}" == stage.api.messages[-1].text

    def test_private_chats_are_told(self, stage: Stage) -> None:
        """Without a group there is no game."""
        expected = "add me to a group, and guess my number from 1 to 100; /score shows the score"
        assert [expected] == stage.say(1, "50")

    def test_groups_get_help(self, stage: Stage) -> None:
        """In a group, the bot answers the commands that ask for help, and no chatter."""
        group = stage.api.group(-100)
        answers = [stage.say(1, text, group) for text in ("/start", "/help", "hi")]
        assert [[stage.module.HELP], [stage.module.HELP], []] == answers


def anonymous(text: str, group: Group, api: BotAPI) -> dict[str, Any]:
    """A message of an anonymous group admin, as Telegram sends it."""
    made_up = {"id": 1087968824, "is_bot": True, "first_name": "Group"}
    return {
        "message_id": api.next_message_id(group.id),
        "from": {**made_up, "username": "GroupAnonymousBot"},
        "sender_chat": dict(group.json),
        "chat": dict(group.json),
        "date": 1,
        "text": text,
    }


class TestQuiz:
    example = "quiz"

    def say(self, stage: Stage, user: User, text: str, topic: int = 7) -> list[SentMessage]:
        """Write in a topic, and return the bot's messages."""
        sent = len(stage.api.messages)
        user.send(text, chat=stage.api.group(-1001, forum=True), topic=topic)
        stage.polling.wait_idle(PATIENCE)
        return stage.api.messages[sent:]

    def press(self, stage: Stage, user: User, question: SentMessage, label: str) -> str:
        """Press a button, and return the notice."""
        user.press(question, label)
        stage.polling.wait_idle(PATIENCE)
        return stage.api.calls_of("answerCallbackQuery")[-1].params["text"]

    def test_each_topic_has_a_quiz_of_its_own(self, stage: Stage) -> None:
        """The question is in the topic, and points count only there."""
        ada, bob = stage.api.user(1, first_name="Ada"), stage.api.user(2, first_name="Bob")
        [question] = self.say(stage, ada, "/quiz")
        assert 7 == question.topic
        assert "wrong" == self.press(stage, bob, question, "Lyon")
        assert "right!" == self.press(stage, ada, question, "Paris")
        assert "you have answered already" == self.press(stage, bob, question, "Paris")
        scores = [self.say(stage, ada, "/score", topic)[0].text for topic in (7, 8)]
        assert ["Ada: 1\nBob: 0", "no answers yet"] == scores

    def test_an_anonymous_admin_asks_the_next_question(self, stage: Stage) -> None:
        """An admin who writes as the group asks on, and plays under the real name."""
        group, bob = stage.api.group(-1001, forum=True), stage.api.user(2, first_name="Bob")
        admin = stage.api.user(3, first_name="Ada").anonymous_in(group)
        [first] = self.say(stage, bob, "/quiz")
        [second] = self.say(stage, admin, "/next")
        assert "that question is over" == self.press(stage, bob, first, "Paris")
        assert "right!" == self.press(stage, admin, second, "42")
        [end] = self.say(stage, admin, "/next")
        assert "that was the last question\nAda: 1\nBob: 0" == end.text

    @pytest.mark.parametrize(
        ("status", "expected"),
        [
            ("creator", "What is 6 times 7?"),
            ("member", "only admins ask the next question"),
        ],
    )
    def test_only_admins_ask_on(self, stage: Stage, status: str, expected: str) -> None:
        """A user who is not anonymous asks the next question only as an admin."""
        ada = stage.api.user(1)
        member = {"status": status, "user": ada.json, "is_anonymous": False}
        stage.api.answer_with("getChatMember", member)
        self.say(stage, ada, "/quiz")
        assert [expected] == [sent.text for sent in self.say(stage, ada, "/next")]


class TestSharedList:
    example = "shared_list"

    def test_the_list_belongs_to_the_group(self, stage: Stage) -> None:
        """What anybody adds is on the list of the group, and counted for the person."""
        groups = [stage.api.group(-100), stage.api.group(-200)]
        assert ["added milk"] == stage.say(1, "/add milk", groups[0])
        assert ["added tea"] == stage.say(2, "/add tea", groups[0])
        assert ["milk, tea"] == stage.say(3, "/list", groups[0])
        assert ["nothing is wanted"] == stage.say(3, "/list", groups[1])
        assert ["you have added 1"] == stage.say(1, "/mine", groups[1])

    def test_the_list_moves_along(self, stage: Stage) -> None:
        """A group that becomes a supergroup has its list there, and it goes on."""
        group = stage.api.group(-100)
        stage.say(1, "/add milk", group)
        supergroup = stage.user(1).upgrade(group, -10042)
        stage.polling.wait_idle(PATIENCE)

        assert ["added tea"] == stage.say(2, "/add tea", supergroup)
        assert ["milk, tea"] == stage.say(1, "/list", supergroup)
        assert ["chat:-10042"] == [key for key in stage.module.lists.keys() if "chat" in key]  # noqa: SIM118

    def test_a_list_can_be_cleared(self, stage: Stage) -> None:
        """What is bought is off the list, and what is no command is explained."""
        assert ["write a thing to buy, such as /add milk"] == stage.say(1, "/add")
        stage.say(1, "/add milk")
        assert ["the list is empty"] == stage.say(1, "/bought")
        assert ["nothing is wanted"] == stage.say(1, "/list")
        assert ["/add milk, /list, /bought, /mine"] == stage.say(1, "hello")


class TestErrors:
    example = "errors"

    def test_numbers_are_added(self, stage: Stage) -> None:
        """Each user has a sum of whole numbers and fractions."""
        replies = [stage.say(*turn) for turn in [(1, "7"), (2, "3"), (1, "1/8")]]
        assert [["the sum is 7"], ["the sum is 3"], ["the sum is 57/8"]] == replies

    def test_a_handler_that_raises_is_told_and_undone(self, stage: Stage) -> None:
        """The user is told, the sum stays as it was, and another user is answered."""
        replies = [stage.say(*turn) for turn in [(1, "7"), (1, "1/0"), (2, "3"), (1, "1")]]
        sorry = "sorry, that went wrong, and nothing was saved"
        assert [["the sum is 7"], [sorry], ["the sum is 3"], ["the sum is 8"]] == replies
