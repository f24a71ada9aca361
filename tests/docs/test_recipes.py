"""The recipes of the manual: each is a bot that polls, with users who write and press."""

from __future__ import annotations

import re
import threading
import time
from contextlib import ExitStack, suppress
from datetime import datetime
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

import telesession
from support.bots import wait_for
from support.clocks import PATIENCE
from support.pages import ROOT, Block, blocks_of, read, run_block
from support.processes import Script
from telesession import SQLiteStorage
from telesession.testing import OFFLINE_TOKEN, FaultyStorage, run_polling

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from freezegun.api import FrozenDateTimeFactory

    from telesession.testing import BotAPI, Group, Messages, Polling, SentMessage, User

PAGE = ROOT / "docs" / "recipes.md"
MINUTE = 60
HOUR = 60 * MINUTE


def blocks_by_heading() -> dict[str, list[Block]]:
    """The blocks of Python of each section. Those before the first section have the heading ``."""
    headings = {
        number: line.removeprefix("## ")
        for number, line in enumerate(read(PAGE).splitlines(), 1)
        if line.startswith("## ")
    }
    sections: dict[str, list[Block]] = {"": [], **{heading: [] for heading in headings.values()}}
    for block in blocks_of(PAGE, "python"):
        above = [number for number in headings if number < block.line]
        sections[headings[max(above)] if above else ""].append(block)
    return sections


SECTIONS = blocks_by_heading()


class Recipe:
    """
    The bot of a recipe.

    Args:
        title: The heading of the recipe.
        api: The Bot API that the bot polls.
    """

    def __init__(self, title: str, api: BotAPI) -> None:
        self.api = api
        self._title = title
        self._exits = ExitStack()
        self.start()

    def start(self) -> None:
        """Run the code of the recipe as a new process does, and let its bot poll."""
        self.names = load(self._title)
        self._exits.callback(self.storage.close)
        polling = run_polling(self.names["bot"], self.api, timeout=PATIENCE)
        self.polling: Polling = self._exits.enter_context(polling)

    def stop(self) -> None:
        self._exits.close()

    def restart(self) -> None:
        """End the process, and start another one with the same file."""
        self.stop()
        self.start()

    @property
    def storage(self) -> Any:
        return self.names["storage"]

    def say(self, user: User, text: str, **where: Any) -> list[str]:
        """Send a message, and return the replies."""
        return self.polling.say(user, text, **where).texts

    def press(self, user: User, message: SentMessage, label: str) -> SentMessage:
        """Press a button in the private chat, and return the message as it is then."""
        user.press(message, label)
        self.polling.wait_idle(PATIENCE)
        [shown] = [each for each in user.messages if each.message_id == message.message_id]
        return shown

    def at_once(self, act: Callable[[], object]) -> None:
        """Deliver the updates of some acts with one poll, and wait until they are handled."""
        with self.api.batch():
            act()
        self.polling.wait_idle(PATIENCE)

    def notices(self) -> list[str | None]:
        """The texts that answered presses so far."""
        return [call.params.get("text") for call in self.api.calls_of("answerCallbackQuery")]

    def raised(self) -> list[str]:
        """The classes of the exceptions of handlers so far, which are expected."""
        names = [type(error).__name__ for error in self.polling.exceptions]
        self.polling.exceptions.clear()
        return names

    def fields(self, sessions: str, key: object) -> dict[str, Any] | None:
        """The saved fields of a session of the recipe."""
        session = self.names[sessions].peek(key)
        return None if session is None else dict(session)


def load(title: str) -> dict[str, Any]:
    """The names of a recipe and of the bot of all recipes."""
    names = {name: getattr(telesession, name) for name in telesession.__all__}
    names["TOKEN"] = OFFLINE_TOKEN
    for block in [*SECTIONS[""], *SECTIONS[title]]:
        run_block(block, names, "recipes.md")
    return names


@pytest.fixture
def recipe(
    request: pytest.FixtureRequest, bot_api: BotAPI, fresh_process: None
) -> Iterator[Recipe]:
    """The recipe that the class of the test is about."""
    recipe = Recipe(request.cls.title, bot_api)
    yield recipe
    recipe.stop()


@pytest.fixture
def faulty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Recipes that are loaded from now on have a storage that fails on request."""
    monkeypatch.setattr(
        telesession, "SQLiteStorage", lambda path: FaultyStorage(SQLiteStorage(path))
    )


@pytest.fixture
def ada(bot_api: BotAPI) -> User:
    return bot_api.user(1, first_name="Ada", language_code="de")


@pytest.fixture
def bob(bot_api: BotAPI) -> User:
    return bot_api.user(2, first_name="Bob", language_code="en")


@pytest.fixture
def group(bot_api: BotAPI, ada: User) -> Group:
    return bot_api.group(-1001, owner=ada)


class TestTwoUsers:
    title = "Two users"

    def test_coins_go_to_the_author_of_the_message(
        self, recipe: Recipe, ada: User, bob: User, group: Group
    ) -> None:
        """Both wallets change, and the payer is told the new number."""
        greeting = bob.send("hi", chat=group)
        said = recipe.say(ada, "/give 30", chat=group, reply_to=greeting)
        assert ["you have 70 coins now"] == said
        assert ({"coins": 70}, {"coins": 130}) == self.wallets(recipe)

    def test_a_coin_is_spent_once(self, recipe: Recipe, ada: User, bob: User, group: Group) -> None:
        """Of two gifts that come together, the second one finds the coins of the first gone."""
        greeting = bob.send("hi", chat=group)
        give = lambda: ada.send("/give 60", chat=group, reply_to=greeting)  # noqa: E731
        recipe.at_once(lambda: (give(), give()))
        assert ["you have 40 coins now", "you have only 40 coins"] == group.messages.texts
        assert ({"coins": 40}, {"coins": 160}) == self.wallets(recipe)

    def test_gifts_may_cross(self, recipe: Recipe, ada: User, bob: User, group: Group) -> None:
        """Members who pay each other at the same time do not wait in a circle."""
        theirs = {user: user.send("hi", chat=group) for user in (ada, bob)}

        def give_all() -> None:
            for _ in range(10):
                ada.send("/give 1", chat=group, reply_to=theirs[bob])
                bob.send("/give 1", chat=group, reply_to=theirs[ada])

        recipe.at_once(give_all)
        assert ([], 20) == (recipe.raised(), len(group.messages))
        assert ({"coins": 100}, {"coins": 100}) == self.wallets(recipe)

    def test_no_payment_is_reported_that_was_not_saved(
        self, faulty: None, recipe: Recipe, ada: User, bob: User, group: Group
    ) -> None:
        """If the storage fails, both wallets stay, and the payer is told nothing."""
        greeting = bob.send("hi", chat=group)
        recipe.polling.wait_idle(PATIENCE)
        recipe.storage.fail("commit", key="wallet:1")
        assert [] == recipe.say(ada, "/give 30", chat=group, reply_to=greeting)
        assert (["StorageError"], (None, None)) == (recipe.raised(), self.wallets(recipe))

    @staticmethod
    def wallets(recipe: Recipe) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
        return recipe.fields("payers", 1), recipe.fields("payers", 2)


class TestLeaderboard:
    title = "A leaderboard"

    def test_the_best_of_the_group_are_shown(
        self, recipe: Recipe, ada: User, bob: User, group: Group
    ) -> None:
        """Each group has a board of its own, also after a restart."""
        assert ["no points yet"] == recipe.say(ada, "/top", chat=group)
        for user, value in [(ada, 2), (bob, 6), (ada, 3)]:
            user.dice(value=value, chat=group)
        ada.dice(value=6)
        recipe.polling.wait_idle(PATIENCE)
        recipe.restart()
        assert ["6 Bob\n5 Ada"] == recipe.say(ada, "/top", chat=group)

    def test_a_forwarded_die_does_not_count(
        self, recipe: Recipe, ada: User, bob: User, group: Group
    ) -> None:
        """A member who forwards another's six gets no points."""
        six = ada.dice(value=6, chat=group)
        bob.forward(six, chat=group)
        recipe.polling.wait_idle(PATIENCE)
        assert ["6 Ada"] == recipe.say(bob, "/top", chat=group)

    def test_dice_that_come_together_all_count(
        self, recipe: Recipe, ada: User, group: Group
    ) -> None:
        """No roll of a member is lost."""
        recipe.at_once(lambda: [ada.dice(value=1, chat=group) for _ in range(8)])
        assert ["8 Ada"] == recipe.say(ada, "/top", chat=group)


class TestMaintenanceSwitch:
    title = "A maintenance switch"

    @pytest.fixture
    def admin(self, bot_api: BotAPI) -> User:
        return bot_api.user(412587349)

    @pytest.fixture
    def recipe(self, recipe: Recipe) -> Recipe:
        """The recipe, with a handler below it."""
        self.serve(recipe)
        return recipe

    @staticmethod
    def serve(recipe: Recipe) -> None:
        bot = recipe.names["bot"]
        bot.register_message_handler(lambda message: bot.reply_to(message, "tea is ready"))

    def test_users_are_refused_until_the_admin_opens(
        self, recipe: Recipe, admin: User, ada: User
    ) -> None:
        """The admin is served all the time."""
        refusal = "we are at work, please come back later"
        assert ["tea is ready"] == recipe.say(ada, "tea")
        assert ["done"] == recipe.say(admin, "/close")
        assert ([refusal], ["tea is ready"]) == (recipe.say(ada, "tea"), recipe.say(admin, "tea"))
        assert ["done"] == recipe.say(admin, "/open")
        assert ["tea is ready"] == recipe.say(ada, "tea")

    def test_a_restart_opens_nothing(self, recipe: Recipe, admin: User, ada: User) -> None:
        """The next process refuses the users, too, and their presses."""
        menu = recipe.names["bot"].send_message(
            1, "menu", reply_markup=recipe.names["quick_markup"]({"tea": {"callback_data": "tea"}})
        )
        recipe.say(admin, "/close")
        recipe.restart()
        self.serve(recipe)
        assert ["we are at work, please come back later"] == recipe.say(ada, "tea")
        ada.press(menu, "tea")
        recipe.polling.wait_idle(PATIENCE)
        assert ["we are at work"] == recipe.notices()

    def test_a_user_cannot_turn_it(self, recipe: Recipe, ada: User) -> None:
        """The commands are the admin's."""
        assert ["tea is ready"] == recipe.say(ada, "/close")
        assert ["tea is ready"] == recipe.say(ada, "tea")

    def test_a_storage_that_fails_opens_nothing(
        self, faulty: None, recipe: Recipe, admin: User, ada: User
    ) -> None:
        """If the switch cannot be read at once, the handlers below do not get the update."""
        recipe.say(admin, "/close")
        recipe.storage.fail("has", key="@switch:closed")
        assert ["we are at work, please come back later"] == recipe.say(ada, "tea")
        assert ([], 0) == (recipe.raised(), recipe.storage.faults.total())


class TestWizard:
    title = "A wizard"

    def test_the_answers_are_saved_together(self, recipe: Recipe, ada: User) -> None:
        """A restart in the middle loses no answer, and a no begins anew."""
        texts = ["/register", "Ada", "Oslo", "no", "Ada"]
        said = [recipe.say(ada, text) for text in texts]
        recipe.restart()
        assert None is recipe.fields("sessions", 1)
        said += [recipe.say(ada, text) for text in ("Bergen", "yes")]
        city, name = ["your city?"], ["your name?"]
        asked = [["Ada from Oslo: yes or no?"], ["Ada from Bergen: yes or no?"]]
        assert [name, city, asked[0], name, city, asked[1], ["welcome, Ada!"]] == said
        assert {"name": "Ada", "city": "Bergen"} == recipe.fields("sessions", 1)

    def test_a_question_that_was_not_sent_leaves_the_one_before(
        self, recipe: Recipe, ada: User
    ) -> None:
        """If Telegram refuses the next question, the user answers again."""
        recipe.say(ada, "/register")
        recipe.api.fail_next("sendMessage", 429)
        assert ([], ["ApiTelegramException"]) == (recipe.say(ada, "Ada"), recipe.raised())
        assert ["your city?"] == recipe.say(ada, "Ada")

    def test_two_answers_are_one(self, recipe: Recipe, ada: User) -> None:
        """A user who says yes twice at once is welcomed once."""
        for text in ("/register", "Ada", "Oslo"):
            recipe.say(ada, text)
        recipe.at_once(lambda: (ada.send("yes"), ada.send("yes")))
        assert ["welcome, Ada!"] == ada.messages.texts[3:]


class TestPages:
    title = "Pages of a list"

    def test_the_buttons_turn_the_pages(self, recipe: Recipe, ada: User) -> None:
        """The first page has no way back, and the last one none forward."""
        recipe.say(ada, "/find volume")
        message = ada.messages[-1]
        pages = []
        for label in ("", "next", "next", "back"):
            message = recipe.press(ada, message, label) if label else message
            pages.append((message.text[-1], [button["text"] for button in message.buttons]))
        both = ["back", "next"]
        assert [("3", ["next"]), ("6", both), ("7", ["back"]), ("6", both)] == pages

    def test_a_double_press_turns_one_page(self, recipe: Recipe, ada: User) -> None:
        """The second press of a button is answered, and edits nothing."""
        recipe.say(ada, "/find volume")
        message = ada.messages[-1]
        recipe.at_once(lambda: (ada.press(message, "next"), ada.press(message, "next")))
        assert (1, [None, None]) == (len(recipe.api.calls_of("editMessageText")), recipe.notices())
        assert ([], 1) == (recipe.raised(), recipe.fields("finds", "sender_in_chat:1:1")["page"])

    def test_a_refused_edit_turns_nothing(self, recipe: Recipe, ada: User) -> None:
        """The button works again after an error of Telegram."""
        recipe.say(ada, "/find volume")
        message = ada.messages[-1]
        recipe.api.fail_next("editMessageText", 429)
        assert message.text == recipe.press(ada, message, "next").text
        assert ["ApiTelegramException"] == recipe.raised()
        assert "volume 4" in recipe.press(ada, message, "next").text

    def test_old_lists_are_over(
        self, frozen_time: FrozenDateTimeFactory, recipe: Recipe, ada: User
    ) -> None:
        """A later search and an hour end a list, and a search without a result begins none."""
        recipe.say(ada, "/find volume")
        first = ada.messages[-1]
        recipe.say(ada, "/find volume")
        second = ada.messages[-1]
        assert ["there is no such book"] == recipe.say(ada, "/find milk")
        assert first.text == recipe.press(ada, first, "next").text
        frozen_time.tick(HOUR)
        assert second.text == recipe.press(ada, second, "next").text
        assert ["please search again"] * 2 == recipe.notices()


class TestLanguage:
    title = "A language"

    def test_the_choice_stays(self, recipe: Recipe, ada: User, bob: User) -> None:
        """The bot begins in the language of the app, and keeps the choice over a restart."""
        assert (["hallo"], ["hello"]) == (recipe.say(ada, "/start"), recipe.say(bob, "/start"))
        assert ["welche Sprache?"] == recipe.say(ada, "/language")
        recipe.press(ada, ada.messages[-1], "en")
        recipe.restart()
        assert (["hello"], ["done"]) == (recipe.say(ada, "/start"), recipe.notices())

    def test_an_unknown_language_is_english(self, recipe: Recipe) -> None:
        """An app in another language, and an app that names none, get English."""
        for user in (recipe.api.user(7, language_code="is"), recipe.api.user(8)):
            assert ["hello"] == recipe.say(user, "/start")

    def test_a_button_of_a_language_that_is_gone_changes_nothing(
        self, recipe: Recipe, ada: User
    ) -> None:
        """An old menu does no harm after an update of the bot."""
        recipe.say(ada, "/language")
        del recipe.names["TEXTS"]["en"]
        recipe.press(ada, ada.messages[-1], "en")
        assert (["gut"], {"language": "de"}) == (recipe.notices(), recipe.fields("users", 1))


class TestCaptcha:
    title = "A captcha"

    def ask_to_join(self, recipe: Recipe, user: User, group: Group) -> str:
        """Ask to join a group, and return the solution of the sum."""
        user.request_to_join(group)
        recipe.polling.wait_idle(PATIENCE)
        return str(sum(map(int, re.findall(r"\d+", user.messages[-1].text))))

    def decisions(self, recipe: Recipe) -> tuple[int, int]:
        """The numbers of approved and of declined requests."""
        approved = recipe.api.calls_of("approveChatJoinRequest")
        return len(approved), len(recipe.api.calls_of("declineChatJoinRequest"))

    def test_a_person_gets_in(self, recipe: Recipe, bob: User, group: Group) -> None:
        """The solution counts, also after a restart of the bot."""
        solution = self.ask_to_join(recipe, bob, group)
        recipe.restart()
        recipe.say(bob, solution)
        assert (1, 0) == self.decisions(recipe)
        assert 2 in [member["user"]["id"] for member in group.members]

    def test_a_robot_that_sends_all_numbers_has_one_try(
        self, recipe: Recipe, bob: User, group: Group
    ) -> None:
        """The first number is the answer, and the right one behind it is none."""
        solution = self.ask_to_join(recipe, bob, group)
        recipe.at_once(lambda: (bob.send("0"), bob.send(solution)))
        assert ((0, 1), {"tries": 1}) == (self.decisions(recipe), recipe.fields("sessions", 2))

    def test_three_tries_a_day(
        self, frozen_time: FrozenDateTimeFactory, recipe: Recipe, bob: User, group: Group
    ) -> None:
        """The fourth answer of a day is refused, even if it is right, and the next day is new."""
        for _ in range(3):
            self.ask_to_join(recipe, bob, group)
            recipe.say(bob, "0")
        recipe.say(bob, self.ask_to_join(recipe, bob, group))
        assert (0, 4) == self.decisions(recipe)
        frozen_time.tick(24 * HOUR)
        recipe.say(bob, self.ask_to_join(recipe, bob, group))
        assert (1, 4) == self.decisions(recipe)


class TestAlbums:
    title = "Albums"

    @pytest.fixture
    def channel(self, bot_api: BotAPI) -> Any:
        return bot_api.channel(-1001472583690)

    def replies(self, recipe: Recipe, act: object) -> list[str]:
        replies: Messages = recipe.polling.replies_to(act)  # type: ignore[arg-type]
        return replies.texts

    def test_an_album_is_published_as_one(self, recipe: Recipe, ada: User, channel: Any) -> None:
        """The photos are one album in the channel, also if the bot was restarted before them."""
        recipe.say(ada, "/sell")
        recipe.restart()
        assert ["published"] == self.replies(recipe, ada.album(3))
        published = channel.messages
        assert (3, 1) == (len(published), len({message.media_group_id for message in published}))
        assert 3 == len(recipe.fields("sessions", 1)["photos"])

    def test_a_single_photo_is_no_album(self, recipe: Recipe, ada: User, channel: Any) -> None:
        """The bot asks again after one photo, and after a text."""
        again = ["at least two photos, please, as one album"]
        recipe.say(ada, "/sell")
        assert (again, again) == (self.replies(recipe, ada.photo()), recipe.say(ada, "a chair"))
        assert ["published"] == self.replies(recipe, ada.album(2))

    def test_a_refused_album_can_be_sent_again(
        self, recipe: Recipe, ada: User, channel: Any
    ) -> None:
        """If Telegram refuses the album, nothing is saved, and the question waits on."""
        recipe.say(ada, "/sell")
        recipe.api.fail_next("sendMediaGroup", 429)
        assert [] == self.replies(recipe, ada.album(2))
        assert (["ApiTelegramException"], None) == (recipe.raised(), recipe.fields("sessions", 1))
        assert ["published"] == self.replies(recipe, ada.album(2))


class Killed(BaseException):
    """Ends a thread where it is, as the end of its process does."""


def kill_at_sleep(number: int) -> SimpleNamespace:
    """A module `time` in which no sleep takes time, and one of them ends the thread."""
    sleeps = iter(range(1, number))

    def sleep(_: float) -> None:
        if next(sleeps, None) is None:
            raise Killed

    return SimpleNamespace(time=time.time, sleep=sleep)


class PausedExport:
    """The function that exports a part. In each part it waits for the test."""

    def __init__(self) -> None:
        self.parts: list[int] = []
        self._come = threading.Semaphore(0)
        self._go = threading.Semaphore(0)
        self.is_killed = False

    def __call__(self, number: int) -> None:
        self.parts.append(number)
        self._come.release()
        assert self._go.acquire(timeout=PATIENCE)
        if self.is_killed:
            raise Killed

    def wait_for_a_part(self) -> None:
        assert self._come.acquire(timeout=PATIENCE)

    def let_go(self, parts: int = 1) -> None:
        self._go.release(parts)


class TestLongJob:
    title = "A long job with a stop button"

    @pytest.fixture
    def threads(self) -> Iterator[list[threading.Thread]]:
        """The threads of the jobs, all of which have ended after the test."""
        threads: list[threading.Thread] = []
        yield threads
        for thread in threads:
            thread.join(PATIENCE)
        assert [] == [thread for thread in threads if thread.is_alive()]

    def hold_up(self, recipe: Recipe, threads: list[threading.Thread]) -> PausedExport:
        """Let each part of a job wait for the test."""
        export = recipe.names["export_part"] = PausedExport()
        make = recipe.names["Thread"]

        def make_thread(target: Callable[..., object], **options: Any) -> threading.Thread:
            def run(*args: object) -> None:
                with suppress(Killed):
                    target(*args)

            threads.append(make(target=run, **options))
            return threads[-1]

        recipe.names["Thread"] = make_thread
        return export

    def text(self, user: User) -> str:
        return user.messages[-1].text

    def test_it_runs_to_its_end_beside_other_messages(
        self, recipe: Recipe, ada: User, threads: list[threading.Thread]
    ) -> None:
        """A second export of the user is refused at once while the first one is at work."""
        export = self.hold_up(recipe, threads)
        recipe.say(ada, "/export")
        export.wait_for_a_part()
        assert ["your export is running"] == recipe.say(ada, "/export")
        export.let_go(5)
        recipe.api.wait_for(lambda: "ready" in ada.messages.texts, PATIENCE)
        threads[0].join(PATIENCE)
        assert ([0, 1, 2, 3, 4], None) == (export.parts, recipe.fields("jobs", 1))

    def test_two_exports_at_once_are_one(
        self, recipe: Recipe, ada: User, threads: list[threading.Thread]
    ) -> None:
        """The second command of a double tap finds the job of the first one."""
        export = self.hold_up(recipe, threads)
        recipe.at_once(lambda: (ada.send("/export"), ada.send("/export")))
        assert (["beginning", "your export is running"], 1) == (ada.messages.texts, len(threads))
        export.let_go(5)

    def test_its_user_stops_it_halfway(
        self, recipe: Recipe, ada: User, threads: list[threading.Thread]
    ) -> None:
        """A press during a part is answered at once, and no other part follows."""
        export = self.hold_up(recipe, threads)
        recipe.say(ada, "/export")
        for _ in range(2):
            export.wait_for_a_part()
            export.let_go()
        export.wait_for_a_part()
        message = ada.messages[-1]
        assert ("2 of 5", "stopped") == (message.text, recipe.press(ada, message, "stop").text)
        export.let_go()
        threads[0].join(PATIENCE)
        assert ([0, 1, 2], None) == (export.parts, recipe.fields("jobs", 1))
        assert "stopped" == self.text(ada)

    def test_a_stopped_thread_leaves_the_next_job_alone(
        self, recipe: Recipe, ada: User, threads: list[threading.Thread]
    ) -> None:
        """A user who stops a job and starts another has one thread at work on it."""
        export = self.hold_up(recipe, threads)
        recipe.say(ada, "/export")
        export.wait_for_a_part()
        recipe.press(ada, ada.messages[-1], "stop")
        recipe.say(ada, "/export")
        export.wait_for_a_part()
        export.let_go(6)
        for thread in threads:
            thread.join(PATIENCE)
        assert [0, 0, 1, 2, 3, 4] == export.parts
        assert ["stopped", "ready"] == ada.messages.texts

    def test_a_thread_works_on_its_own_job_only(self, recipe: Recipe) -> None:
        """If the next job has begun between two parts, the thread of the first one does nothing."""
        parts: list[int] = []
        recipe.names["export_part"] = parts.append
        with recipe.names["jobs"].open("1") as job:
            job.update(at=8, chat_id=1, done=0)
        assert not recipe.names["do_part"]("1", 7)
        assert ([], 0) == (parts, recipe.fields("jobs", 1)["done"])

    def test_it_goes_on_after_a_restart(
        self, recipe: Recipe, ada: User, threads: list[threading.Thread]
    ) -> None:
        """The next process does the part again in which the first one was killed, and the rest."""
        export = self.hold_up(recipe, threads)
        recipe.say(ada, "/export")
        export.wait_for_a_part()
        export.let_go()
        export.wait_for_a_part()
        export.is_killed = True
        export.let_go()
        threads[0].join(PATIENCE)
        recipe.restart()
        export = self.hold_up(recipe, threads)
        export.let_go(4)
        recipe.names["resume_jobs"]()
        threads[1].join(PATIENCE)
        assert ([1, 2, 3, 4], "ready") == (export.parts, self.text(ada))

    def test_a_job_that_fails_is_over(
        self,
        recipe: Recipe,
        ada: User,
        threads: list[threading.Thread],
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        """The user can begin another one after an error of Telegram, which is logged."""
        export = self.hold_up(recipe, threads)
        recipe.say(ada, "/export")
        export.wait_for_a_part()
        recipe.api.fail_next("editMessageText", 429)
        export.let_go()
        threads[0].join(PATIENCE)
        assert ("an export failed", None) == (caplog.messages[-1], recipe.fields("jobs", 1))


class TestReminders:
    title = "Reminders"

    def look(self, recipe: Recipe) -> list[str]:
        """The messages that a look of the bot at its reminders sends."""
        sent = len(recipe.api.messages)
        recipe.names["send_all_due"]()
        return [message.text for message in recipe.api.messages[sent:]]

    def test_they_come_in_time(
        self, frozen_time: FrozenDateTimeFactory, recipe: Recipe, ada: User, bob: User
    ) -> None:
        """Each reminder comes once, in the order of its time, also after a restart."""
        for user, text in [(ada, "/remind 20 milk"), (ada, "/remind 10 tea"), (bob, "/remind 5 a")]:
            assert ["noted"] == recipe.say(user, text)
        recipe.restart()
        looks = [self.look(recipe)]
        for minutes in (5, 5, 10, 10):
            frozen_time.tick(minutes * MINUTE)
            looks.append(self.look(recipe))
        assert [[], ["a"], ["tea"], ["milk"], []] == looks
        assert [] == list(recipe.names["reminders"].keys())

    def test_a_refused_one_waits_for_the_next_look(
        self,
        frozen_time: FrozenDateTimeFactory,
        recipe: Recipe,
        ada: User,
        bob: User,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        """An error of Telegram is logged, and keeps no reminder of another user back."""
        recipe.say(ada, "/remind 1 tea")
        recipe.say(bob, "/remind 1 milk")
        frozen_time.tick(MINUTE)
        recipe.api.fail_next("sendMessage", 429)
        assert (["milk"], ["tea"]) == (self.look(recipe), self.look(recipe))
        assert ["a reminder was not sent"] == caplog.messages

    def test_a_user_who_has_blocked_the_bot_is_not_tried_again(
        self, frozen_time: FrozenDateTimeFactory, recipe: Recipe, ada: User
    ) -> None:
        """The reminders of such a user are dropped at their time."""
        recipe.say(ada, "/remind 1 tea")
        ada.block()
        frozen_time.tick(MINUTE)
        assert [] == self.look(recipe)
        assert None is recipe.fields("reminders", 1)

    def test_two_processes_that_look_at_once_send_it_once(
        self, frozen_time: FrozenDateTimeFactory, recipe: Recipe, ada: User
    ) -> None:
        """The second process waits for the session, and finds the reminder gone."""
        recipe.say(ada, "/remind 1 tea")
        frozen_time.tick(MINUTE)
        other = load(self.title)
        try:
            began, results = threading.Event(), []
            look = threading.Thread(
                target=lambda: (began.set(), results.append(other["send_one_due"]("1")))
            )
            with recipe.names["reminders"].open("1"):
                look.start()
                wait_for(began)
                # In this unit, so that the other program has to wait for its end.
                assert recipe.names["send_one_due"]("1")
            look.join(PATIENCE)
        finally:
            other["storage"].close()
        assert ([False], ["noted", "tea"]) == (results, ada.messages.texts)

    def test_the_loop_outlives_an_error_of_the_storage(
        self, faulty: None, recipe: Recipe, ada: User, caplog: pytest.LogCaptureFixture
    ) -> None:
        """If the reminders cannot be read, the next look sends them."""
        recipe.say(ada, "/remind 0 tea")
        recipe.storage.fail("keys")
        recipe.names["time"] = kill_at_sleep(2)
        with pytest.raises(Killed):
            recipe.names["watch"]()
        assert ["the reminders cannot be read"] == caplog.messages
        assert ["noted", "tea"] == ada.messages.texts

    def test_an_unclear_order_is_explained(self, recipe: Recipe, ada: User) -> None:
        """A reminder without a time is none."""
        assert ["write: /remind 10 tea"] == recipe.say(ada, "/remind tea")


# A process with the code of the recipe, which prints whether it leads. Its clock stands at the time
# of its third argument.
PROCESS = """
import sys
from datetime import datetime

import telesession
from freezegun import freeze_time

def work():
    print("at work", flush=True)
    if mode == "stay":
        sys.stdin.readline()

code, token, now, mode = sys.argv[1:]
print("ready", flush=True)
with freeze_time(datetime.fromisoformat(now)):
    names = {name: getattr(telesession, name) for name in telesession.__all__}
    exec(code, {**names, "TOKEN": token, "work": work})
sys.stdin.readline()
"""


class TestLeader:
    title = "A leader"

    @pytest.fixture
    def names(self, fresh_process: None) -> Iterator[dict[str, Any]]:
        """The recipe in this process, whose bot does not poll."""
        names = load(self.title)
        yield names
        names["bot"].stop_bot()
        names["storage"].close()

    def process(self, mode: str) -> Script:
        """Another process, which tries to lead once, and then waits."""
        blocks = [*SECTIONS[""], *SECTIONS[self.title]]
        say = 'print("leads" if lead(work) else "follows", flush=True)'
        code = "\n".join([*(block.code for block in blocks), say])
        return Script(PROCESS, code, OFFLINE_TOKEN, datetime.now().isoformat(), mode)

    def test_one_of_two_processes_leads(
        self, frozen_time: FrozenDateTimeFactory, names: dict[str, Any]
    ) -> None:
        """The second process leads as soon as the first one has not led for 90 seconds."""
        worked: list[bool] = []
        work = lambda: worked.append(True)  # noqa: E731
        with self.process("go") as other:
            assert ("at work", "leads") == (other.read(), other.read())
            assert (False, []) == (names["lead"](work), worked)
            frozen_time.tick(89)
            assert (False, []) == (names["lead"](work), worked)
            frozen_time.tick(1)
            assert (True, [True]) == (names["lead"](work), worked)

    def test_the_leader_stays(
        self, frozen_time: FrozenDateTimeFactory, names: dict[str, Any]
    ) -> None:
        """A process that leads again in time keeps the others away."""
        for seconds in (0, 60, 60):
            frozen_time.tick(seconds)
            assert names["lead"](lambda: None)
        with self.process("go") as other:
            assert "follows" == other.read()

    def test_a_leader_that_is_killed_at_work_is_followed(
        self, frozen_time: FrozenDateTimeFactory, names: dict[str, Any]
    ) -> None:
        """Another process neither works beside it nor waits, and leads as soon as it is dead."""
        with self.process("stay") as other:
            assert "at work" == other.read()
            turns: list[bool] = []
            look = threading.Thread(target=lambda: turns.append(names["lead"](lambda: None)))
            look.start()
            # Not as long as the usual `lock_timeout`.
            look.join(PATIENCE)
            assert [False] == turns
            other.kill()
            assert names["lead"](lambda: None)

    def test_the_loop_outlives_an_error_of_the_work(
        self, names: dict[str, Any], caplog: pytest.LogCaptureFixture
    ) -> None:
        """The error is logged, and the work is tried again."""
        results = iter([ZeroDivisionError, None])
        worked: list[object] = []

        def work() -> None:
            if error := next(results):
                raise error
            worked.append(True)

        names.update(send_report=work, time=kill_at_sleep(2))
        with pytest.raises(Killed):
            names["lead_for_ever"]()
        assert (["the report failed"], [True]) == (caplog.messages, worked)

    def test_an_error_of_the_work_lets_another_lead(
        self, frozen_time: FrozenDateTimeFactory, names: dict[str, Any]
    ) -> None:
        """If the work raises, another process may lead at once."""
        with pytest.raises(ZeroDivisionError):
            names["lead"](lambda: 1 // 0)
        with self.process("go") as other:
            assert ("at work", "leads") == (other.read(), other.read())


def test_every_recipe_has_tests() -> None:
    """Each heading of the page has a class of tests, and each link of its table a heading."""
    classes = [value for name, value in globals().items() if name.startswith("Test")]
    tested = [value.title for value in classes]
    assert sorted(set(SECTIONS) - {""}) == sorted(tested)
    linked = re.findall(r"\| \[([^]]+)\]\(#", read(PAGE))
    assert [heading for heading in SECTIONS if heading] == linked
