"""The examples of dialogs: wizards, questions to other people, and captchas."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest
from telebot.apihelper import ApiTelegramException

from support.bots import Stage, exceptions_in, on_stage
from support.clocks import MICROSECOND, PATIENCE

if TYPE_CHECKING:
    from collections.abc import Callable

    from freezegun.api import FrozenDateTimeFactory

    from telesession.testing import BotAPI, Group, SentMessage


pytestmark = pytest.mark.usefixtures("fresh_process")

HOUR = 3600


def texts_after(stage: Stage, act: Callable[[], object]) -> list[str]:
    """The texts of the messages that the bot sends because of an act of a user."""
    sent = len(stage.api.messages)
    act()
    stage.polling.wait_idle(PATIENCE)
    return [message.text for message in stage.api.messages[sent:]]


def press(stage: Stage, user: int, label: str) -> list[str]:
    """Press a button of the latest message in a private chat."""
    return texts_after(stage, lambda: stage.user(user).press(stage.latest(user), label))


def notices(api: BotAPI) -> list[str | None]:
    """The texts that answered the presses."""
    return [call.params.get("text") for call in api.calls_of("answerCallbackQuery")]


class TestRegistration:
    example = "registration"
    name, age = "what is your name?", "how old are you, Ada?"
    course, yes = "which course?", "Ada, 21, pottery: is that right?"

    def reach(self, stage: Stage, *answers: str) -> None:
        for text in ("/register", *answers):
            stage.say(1, text)

    def test_answers_are_typed_or_pressed(self, stage: Stage) -> None:
        """A course can be pressed and typed, and the last yes saves all answers."""
        answers = [stage.say(1, text) for text in ("/register", "Ada", "21")]
        assert [[self.name], [self.age], [self.course]] == answers
        assert [self.yes] == press(stage, 1, "pottery")
        assert (["see you, Ada!"], [None, None]) == (press(stage, 1, "yes"), notices(stage.api))
        assert ["Ada, 21, pottery"] == stage.say(1, "/me")

        self.reach(stage, "Ada", "30", "chess", "yes")
        assert ["Ada, 30, chess"] == stage.say(1, "/me")

    def test_a_pressed_button_takes_the_place_of_all(self, stage: Stage) -> None:
        """The message of a question that was pressed shows the label, and no buttons."""
        self.reach(stage, "Ada", "21")
        question = stage.latest(1)
        press(stage, 1, "chess")
        shown = next(m for m in stage.api.messages if m.message_id == question.message_id)
        assert ("which course? - chess", []) == (shown.text, shown.buttons)

    def test_back_leads_back(self, stage: Stage) -> None:
        """From each question a press leads to the one before, which knows the answers so far."""
        self.reach(stage, "Ada", "21", "pottery")
        went = [press(stage, 1, "back") for _ in range(3)]
        assert [[self.course], [self.age], [self.name]] == went
        assert ["how old are you, Eva?"] == stage.say(1, "Eva")

    @pytest.mark.parametrize("answers", [(), ("Ada",), ("Ada", "21"), ("Ada", "21", "pottery")])
    def test_cancel_ends_it(self, stage: Stage, answers: tuple[str, ...]) -> None:
        """At each question a press ends the dialog, nothing is saved, and no question waits."""
        self.reach(stage, *answers)
        assert ["then not"] == press(stage, 1, "cancel")
        assert [stage.module.HELP] == stage.say(1, "yes")
        assert ["you have no course yet"] == stage.say(1, "/me")

    @pytest.mark.parametrize("age", ["5", "121", "-1", "twelve", "1.5", "²"])
    def test_impossible_ages_are_asked_for_again(self, stage: Stage, age: str) -> None:
        """A text that is no age is asked for again, and the name is kept."""
        self.reach(stage, "Ada")
        assert ["a number from 6 to 120, please"] == stage.say(1, age)
        assert [[self.course], [self.yes]] == [stage.say(1, "21"), stage.say(1, "pottery")]

    def test_other_answers_are_asked_for_again(self, stage: Stage) -> None:
        """A photo is no name, another text no course, and only yes is yes."""
        self.reach(stage)
        photo = texts_after(stage, lambda: stage.user(1).photo())
        assert (["your name, please"], [self.age]) == (photo, stage.say(1, "Ada"))
        stage.say(1, "21")
        assert [[self.course], [self.yes]] == [stage.say(1, text) for text in ("go", "pottery")]
        assert [self.yes] == stage.say(1, "perhaps")
        assert ["you have no course yet"] == stage.say(1, "/me")

    def test_a_button_of_an_earlier_question_is_no_answer(self, stage: Stage) -> None:
        """A press on it is told so, and the open question waits on."""
        self.reach(stage)
        first = stage.latest(1)
        stage.say(1, "Ada")
        assert [] == texts_after(stage, lambda: stage.user(1).press(first, "cancel"))
        assert ["this question is over, or another user's"] == notices(stage.api)
        assert [self.course] == stage.say(1, "21")

    def test_a_question_that_cannot_be_sent(
        self, stage: Stage, caplog: pytest.LogCaptureFixture
    ) -> None:
        """The one before waits on, with its buttons, and can be answered once more."""
        self.reach(stage, "Ada", "21")
        question = stage.latest(1)
        stage.api.fail_next("sendMessage", 429)
        sorry = "sorry, that went wrong; please answer once more"
        assert ([sorry], [ApiTelegramException]) == (
            press(stage, 1, "pottery"),
            exceptions_in(caplog),
        )
        again = texts_after(stage, lambda: stage.user(1).press(question, "pottery"))
        assert [self.yes] == again

    def test_a_command_ends_it(self, stage: Stage) -> None:
        """A command in the middle goes to its own handler, and the dialog is over."""
        self.reach(stage, "Ada")
        assert ["you have no course yet"] == stage.say(1, "/me")
        assert [stage.module.HELP] == stage.say(1, "21")

    def test_it_goes_on_after_a_restart(
        self, bot_api: BotAPI, frozen_time: FrozenDateTimeFactory
    ) -> None:
        """A bot that starts anew knows the question and the answers so far, for an hour."""
        with on_stage("registration", bot_api) as stage:
            self.reach(stage, "Ada", "21")
        frozen_time.tick(HOUR - MICROSECOND)
        with on_stage("registration", bot_api) as stage:
            assert [self.yes] == press(stage, 1, "pottery")
            frozen_time.tick(HOUR)
            assert [stage.module.HELP] == stage.say(1, "yes")


class TestSupportDesk:
    example = "support_desk"
    begin, thanks = "what do you want to know?", "thank you, the answer will come here"

    def say(self, stage: Stage, user: int, text: str) -> list[str]:
        """Send a message, and return the texts that the bot sent to any user."""
        return texts_after(stage, lambda: stage.user(user).send(text))

    def ask(self, stage: Stage, user: int, text: str) -> list[str]:
        assert [self.begin] == self.say(stage, user, "/ask")
        return self.say(stage, user, text)

    def told(self, stage: Stage, user: int) -> list[str]:
        """The messages that a user has got after the thanks."""
        texts = [message.text for message in stage.api.messages if message.chat_id == user]
        return texts[texts.index(self.thanks) + 1 :]

    def test_the_answer_goes_to_the_user_who_asked(self, stage: Stage) -> None:
        """Questions reach the operator one after the other, and each answer its user."""
        asked = [self.ask(stage, 1, "a?"), self.ask(stage, 2, "b?"), self.ask(stage, 3, "c?")]
        assert [[self.thanks, "User 1 asks: a?"], [self.thanks], [self.thanks]] == asked
        assert ["User 2 asks: b?", "to a"] == self.say(stage, 42, "to a")
        assert ["User 3 asks: c?", "to b"] == self.say(stage, 42, "to b")
        assert ["to c"] == self.say(stage, 42, "to c")
        assert [["to a"], ["to b"], ["to c"]] == [self.told(stage, user) for user in (1, 2, 3)]
        assert ["no question is open"] == self.say(stage, 42, "to nobody")

    def test_only_words_are_a_question(self, stage: Stage) -> None:
        """A photo is asked for again, and the operator hears nothing."""
        self.say(stage, 1, "/ask")
        assert ["please ask in words"] == texts_after(stage, lambda: stage.user(1).photo("a?"))
        assert [self.thanks, "User 1 asks: a?"] == self.say(stage, 1, "a?")

    def test_the_longest_question_fits(self, stage: Stage) -> None:
        """A text of the greatest length that Telegram takes is shortened for the operator."""
        asked = self.ask(stage, 1, "a" * 4096)
        assert [self.thanks, 4096] == [asked[0], len(asked[1])]

    def test_an_album_is_passed_on_as_one(self, stage: Stage) -> None:
        """All photos of an answer go to the user, together, and no photo to the next user."""
        self.ask(stage, 1, "a?")
        self.ask(stage, 2, "b?")
        texts_after(stage, lambda: stage.user(42).album(3, "here"))
        copied = [m.json for m in stage.api.messages if "photo" in m.json]
        assert [(1, "here"), (1, None), (1, None)] == [
            (photo["chat"]["id"], photo.get("caption")) for photo in copied
        ]
        assert 1 == len({photo["media_group_id"] for photo in copied})

    def test_a_late_answer_comes_with_an_excuse(
        self, frozen_time: FrozenDateTimeFactory, stage: Stage
    ) -> None:
        """After a day the user is told before the answer, and a moment earlier not."""
        for user, seconds in ((1, 24 * HOUR - MICROSECOND), (2, 24 * HOUR)):
            self.ask(stage, user, "a?")
            frozen_time.tick(seconds)
            self.say(stage, 42, "yes")
        expected = ["yes"], ["sorry that you had to wait", "yes"]
        assert expected == (self.told(stage, 1), self.told(stage, 2))

    def test_a_user_who_has_blocked_the_bot(
        self, stage: Stage, caplog: pytest.LogCaptureFixture
    ) -> None:
        """The operator is told that the answer did not arrive, and the next question is open."""
        self.ask(stage, 1, "a?")
        self.ask(stage, 2, "b?")
        stage.api.fail_next("copyMessages", 403)
        assert ["User 2 asks: b?", "sorry, that went wrong"] == self.say(stage, 42, "to a")
        assert [ApiTelegramException] == exceptions_in(caplog)
        assert ["to b"] == self.say(stage, 42, "to b")

    def test_a_command_of_the_operator_is_no_answer(self, stage: Stage) -> None:
        """It ends the question, which is asked anew."""
        self.ask(stage, 1, "a?")
        assert ["User 1 asks: a?"] == self.say(stage, 42, "/start")
        assert ["yes"] == self.say(stage, 42, "yes")

    def test_a_question_that_does_not_reach_the_operator(self, stage: Stage) -> None:
        """The user is told, nothing is kept, and the question can be sent again."""
        self.say(stage, 1, "/ask")
        fail_second_message(stage)
        assert [self.thanks, "sorry, that went wrong"] == self.say(stage, 1, "a?")
        assert None is stage.module.desks.peek("all")
        assert [self.thanks, "User 1 asks: a?"] == self.say(stage, 1, "a?")

    def test_the_desk_may_be_a_topic_of_a_group(
        self, bot_api: BotAPI, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Only what the operator writes in this topic of this group is an answer."""
        for name, value in (("OPERATOR_ID", 9), ("DESK_CHAT_ID", -1005), ("DESK_TOPIC_ID", 7)):
            monkeypatch.setenv(name, str(value))
        group = bot_api.group(-1005, forum=True)
        with on_stage("support_desk", bot_api) as stage:
            assert [] == texts_after(stage, lambda: say_in(stage, 8, group, topic=7))
            self.ask(stage, 1, "a?")
            asked = stage.api.messages[-1]
            assert (-1005, 7, "User 1 asks: a?") == (asked.chat_id, asked.topic, asked.text)
            for user, where in ((8, {"topic": 7}), (9, {"topic": 8}), (9, {})):
                silence = texts_after(
                    stage, lambda user=user, where=where: say_in(stage, user, group, **where)
                )
                assert [] == silence
            assert ["yes"] == texts_after(stage, lambda: say_in(stage, 9, group, topic=7))

    def test_the_desk_survives_a_restart(self, bot_api: BotAPI) -> None:
        """A bot that starts anew knows the questions and who has asked them."""
        with on_stage("support_desk", bot_api) as stage:
            self.ask(stage, 1, "a?")
            self.ask(stage, 2, "b?")
        with on_stage("support_desk", bot_api) as stage:
            assert ["User 2 asks: b?", "to a"] == self.say(stage, 42, "to a")
            assert ["to b"] == self.say(stage, 42, "to b")


def say_in(stage: Stage, user: int, group: Group, **where: Any) -> None:
    stage.user(user).send("yes", chat=group, **where)


def fail_second_message(stage: Stage) -> None:
    """Let Telegram refuse the second message from now on, once."""
    answer, numbers = stage.api.answer, iter(range(1, 3))

    def refuse(call: Any) -> Any:
        if call.method == "sendMessage" and next(numbers, 0) == 1:
            stage.api.fail_next("sendMessage", 403)
        return answer(call)

    stage.api.answer = refuse  # type: ignore[method-assign]


class TestTopics:
    """The bots answer in the topic of the message."""

    def topics(self, stage: Stage, *texts: str, group: Group | None = None) -> set[int | None]:
        """The topics of the answers to texts that a user has written in topic 7."""
        sent = len(stage.api.messages)
        for text in texts:
            stage.user(1).send(text, topic=7, chat=group)
            stage.polling.wait_idle(PATIENCE)
        return {message.topic for message in stage.api.messages[sent:]}

    @pytest.mark.parametrize(
        ("example", "texts"),
        [
            ("registration", ("/register", "Ada", "21", "chess", "yes", "/me", "hi")),
            ("questions", ("/join", "/cancel", "/join", "Ada", "5", "/me", "hi")),
        ],
    )
    def test_a_dialog_in_a_forum(
        self, bot_api: BotAPI, example: str, texts: tuple[str, ...]
    ) -> None:
        """Questions and answers are in the topic."""
        group = bot_api.group(-1005, forum=True)
        with on_stage(example, bot_api) as stage:
            assert {7} == self.topics(stage, *texts, group=group)

    def test_a_press(self, bot_api: BotAPI) -> None:
        """The text after a press is in the topic of the question."""
        group = bot_api.group(-1005, forum=True)
        with on_stage("registration", bot_api) as stage:
            self.topics(stage, "/register", group=group)
            question = stage.api.messages[-1]
            assert ["then not"] == texts_after(
                stage, lambda: stage.user(1).press(question, "cancel")
            )
            assert 7 == stage.api.messages[-1].topic

    def test_the_answer_of_the_desk(
        self, bot_api: BotAPI, frozen_time: FrozenDateTimeFactory
    ) -> None:
        """It is in the topic of the private chat in which the question was asked, late or not."""
        with on_stage("support_desk", bot_api) as stage:
            assert {7} == self.topics(stage, "/ask", "hi", "hi") - {None}
            for seconds in (0, 24 * HOUR):
                self.topics(stage, "/ask", "a?")
                frozen_time.tick(seconds)
                stage.say(42, "yes")
        answers = [m for m in stage.api.messages if m.chat_id == 1]
        assert {7} == {answer.topic for answer in answers}
        assert ["sorry that you had to wait", "yes"] == [answer.text for answer in answers[-2:]]

    def test_a_join_request(self, bot_api: BotAPI) -> None:
        """A user who answers in a topic of the private chat is welcome there."""
        with on_stage("captcha", bot_api) as stage:
            stage.user(1).request_to_join(bot_api.group(-100))
            stage.polling.wait_idle(PATIENCE)
            assert {7} == self.topics(stage, "hi", "hello", "hunt", "hi")


class TestCaptcha:
    example = "captcha"
    question = "what do owls do at night?"
    no_more = "no, and there are no more tries today"

    def request(self, stage: Stage, user: int = 1, chat_id: int = -100) -> list[str]:
        group = stage.api.group(chat_id)
        return texts_after(stage, lambda: stage.user(user).request_to_join(group))

    def decided(self, stage: Stage) -> list[tuple[str, int | None, int | None]]:
        """The decisions about join requests and members: the method, the chat and the user."""
        methods = ("approveChatJoinRequest", "declineChatJoinRequest", "banChatMember")
        return [
            (call.method, call.integer("chat_id"), call.integer("user_id"))
            for call in stage.api.calls
            if call.method in methods
        ]

    def join(self, stage: Stage, inviter: int, *members: int) -> list[str]:
        group, people = stage.api.group(-100), [stage.user(member) for member in members]
        return texts_after(stage, lambda: stage.user(inviter).invite(group, *people))

    def press(self, stage: Stage, user: int, label: str, message: SentMessage) -> list[str]:
        return texts_after(stage, lambda: stage.user(user).press(message, label))

    @pytest.mark.parametrize("by", ["press", "text"])
    def test_the_right_answer_lets_in(self, stage: Stage, by: str) -> None:
        """A join request is approved for this user in this group, by a button or by a word."""
        assert [f"To join, answer this: {self.question}"] == self.request(stage)
        labels = sorted(button["text"] for button in stage.latest(1).buttons)
        assert ["hunt", "knit", "read", "sing", "swim"] == labels
        if by == "press":
            assert ([], ["welcome!"]) == (press(stage, 1, "hunt"), notices(stage.api))
        else:
            assert ["welcome!"] == stage.say(1, " Hunt")
        assert [("approveChatJoinRequest", -100, 1)] == self.decided(stage)

    def test_a_user_is_asked_once(self, stage: Stage) -> None:
        """A user who has answered is approved and welcome in other groups, too."""
        self.request(stage)
        press(stage, 1, "hunt")
        assert [] == self.request(stage, chat_id=-200)
        assert [] == self.join(stage, 2, 1)
        assert [("approveChatJoinRequest", chat, 1) for chat in (-100, -200)] == (
            self.decided(stage)
        )

    def test_there_are_fewer_tries_than_labels(self, stage: Stage) -> None:
        """A robot that presses one button after the other stays out more often than not."""
        assert 2 * stage.module.TRIES < 1 + len(stage.module.WRONG)

    def test_two_wrong_answers_are_enough(
        self, frozen_time: FrozenDateTimeFactory, stage: Stage
    ) -> None:
        """After the second a request is declined, and so are new ones, for a day."""
        self.request(stage)
        again = f"Once more: {self.question}"
        assert [[again], []] == [press(stage, 1, label) for label in ("read", "sing")]
        assert ["no", self.no_more] == notices(stage.api)
        assert [("declineChatJoinRequest", -100, 1)] == self.decided(stage)
        assert [self.no_more] == self.request(stage, chat_id=-200)
        assert ("declineChatJoinRequest", -200, 1) == self.decided(stage)[-1]
        frozen_time.tick(24 * HOUR)
        assert [f"To join, answer this: {self.question}"] == self.request(stage)

    def test_a_second_request_gives_no_new_tries(self, stage: Stage) -> None:
        """A user who asks again between two wrong answers has the same tries."""
        self.request(stage)
        press(stage, 1, "read")
        self.request(stage)
        press(stage, 1, "sing")
        assert ["no", self.no_more] == notices(stage.api)

    def test_a_member_without_tries_is_banned(self, stage: Stage) -> None:
        """A user who has used the tries in private is banned if a member adds them."""
        self.request(stage)
        for label in ("read", "sing"):
            press(stage, 1, label)
        assert [] == self.join(stage, 2, 1)
        assert ("banChatMember", -100, 1) == self.decided(stage)[-1]

    def test_a_text_that_is_no_label_costs_nothing(self, stage: Stage) -> None:
        """In private, it is asked again, however often; a typed label is an answer."""
        self.request(stage)
        again = [f"Press a button, please: {self.question}"]
        assert [again] * 3 == [stage.say(1, text) for text in ("hello", "hunting", "why?")]
        assert ["no", f"Once more: {self.question}"] == stage.say(1, "Read")
        assert ["welcome!"] == stage.say(1, "hunt")

    def test_a_request_that_was_withdrawn(
        self, stage: Stage, caplog: pytest.LogCaptureFixture
    ) -> None:
        """If Telegram refuses to approve one of two requests, the other one is approved."""
        for chat_id in (-100, -200):
            self.request(stage, chat_id=chat_id)
        stage.api.fail_next("approveChatJoinRequest", 400)
        press(stage, 1, "hunt")
        assert [("approveChatJoinRequest", chat, 1) for chat in (-100, -200)] == (
            self.decided(stage)
        )
        assert [ApiTelegramException] == exceptions_in(caplog)
        assert ([], True) == (
            self.request(stage, chat_id=-100),
            stage.module.people.peek(1).is_human,
        )

    def test_start_is_no_answer(self, stage: Stage) -> None:
        """A user who starts the bot is asked again, and can answer."""
        self.request(stage)
        assert [self.question] == stage.say(1, "/start")
        assert ["welcome!"] == stage.say(1, "hunt")
        assert [stage.module.HELP] == stage.say(1, "/start")

    def test_a_command_of_a_new_member_is_deleted(self, stage: Stage) -> None:
        """A command ends the question in the group, and the bot asks again."""
        self.join(stage, 1, 2)
        group = stage.api.group(-100)
        assert [f"Once more: {self.question}"] == stage.say(2, "/start buy!", group)
        assert 1 == len(stage.api.calls_of("deleteMessage"))
        assert [] == stage.say(1, "/start", group)
        assert ["welcome!"] == stage.say(2, "hunt", group)

    def test_each_new_member_is_asked_and_not_the_inviter(self, stage: Stage) -> None:
        """The members answer for themselves, and a press of another user answers nothing."""
        asked = self.join(stage, 1, 2, 3)
        assert [f"User {user}: {self.question}" for user in (2, 3)] == asked
        for_2, for_3 = stage.api.messages
        for user, message in ((1, for_2), (3, for_2), (3, for_3)):
            self.press(stage, user, "hunt", message)
        refused = "this question is over, or another user's"
        assert [refused, refused, "welcome!"] == notices(stage.api)
        known = [stage.module.people.peek(user) for user in (1, 2, 3)]
        assert [None, False, True] == [person and person.is_human for person in known]

    def test_a_robot_that_joins_is_no_member(self, stage: Stage) -> None:
        """A bot that is added is not asked."""
        robot = stage.api.user(5, is_bot=True)
        group = stage.api.group(-100)
        assert [] == texts_after(stage, lambda: stage.user(1).invite(group, robot))

    def test_a_new_member_may_come_without_an_inviter(self, stage: Stage) -> None:
        """A user who joins by a link is asked in the group, and may type the answer."""
        assert [f"User 2: {self.question}"] == self.join(stage, 2)
        assert ["welcome!"] == stage.say(2, "hunt", stage.api.group(-100))
        assert [] == stage.say(2, "hi", stage.api.group(-100))

    def test_advertisements_are_deleted(
        self, frozen_time: FrozenDateTimeFactory, stage: Stage
    ) -> None:
        """Wrong messages of a new member are deleted, albums too; after two there is a ban."""
        self.join(stage, 1, 2)
        frozen_time.tick(30 * 24 * HOUR)
        user, group = stage.user(2), stage.api.group(-100)
        album = user.album(3, "buy!", chat=group)
        stage.polling.wait_idle(PATIENCE)
        other = user.send("buy!", chat=group)
        stage.polling.wait_idle(PATIENCE)
        numbers = [update["message"]["message_id"] for update in (*album, other)]
        deleted = stage.api.calls_of("deleteMessages")
        assert [numbers[:3], numbers[3:]] == [call.json("message_ids") for call in deleted]
        assert [("banChatMember", -100, 2)] == self.decided(stage)
        (ban,) = stage.api.calls_of("banChatMember")
        assert int(time.time()) + 24 * HOUR == ban.integer("until_date")

    def test_it_goes_on_after_a_restart(self, bot_api: BotAPI) -> None:
        """A bot that starts anew knows the questions and the tries that are left."""
        with on_stage("captcha", bot_api) as stage:
            self.request(stage)
            press(stage, 1, "read")
        with on_stage("captcha", bot_api) as stage:
            press(stage, 1, "read")
            assert [("declineChatJoinRequest", -100, 1)] == self.decided(stage)
