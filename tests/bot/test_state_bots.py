"""Bots with states: one as in the documentation of telebot, and the example."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from telebot import TeleBot
from telebot.custom_filters import IsDigitFilter, StateFilter
from telebot.states import State, StatesGroup
from telebot.states.sync import StateContext, StateMiddleware
from telebot.storage import StateMemoryStorage, StateStorageBase
from telebot.types import InlineKeyboardButton, InlineKeyboardMarkup

from support.bots import USER, Stage, Terminal, on_stage
from support.clocks import PATIENCE
from telesession import SessionStateStorage, SQLiteStorage
from telesession.testing import OFFLINE_TOKEN, BotAPI, Group, run_polling

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


class Survey(StatesGroup):
    name = State()
    age = State()
    done = State()


def survey(states: StateStorageBase) -> Any:  # noqa: C901 -- a bot is many small handlers
    """A bot that does what telebot's documentation shows for states."""
    bot = TeleBot(OFFLINE_TOKEN, state_storage=states, use_class_middlewares=True)
    bot.add_custom_filter(StateFilter(bot))
    bot.add_custom_filter(IsDigitFilter())
    bot.setup_middleware(StateMiddleware(bot))
    button = InlineKeyboardButton("again", callback_data="again")

    @bot.message_handler(commands=["start"])
    def start(message: Any, state: StateContext) -> None:
        state.set(Survey.name)
        bot.reply_to(message, f"name? ({state.get()})")

    @bot.message_handler(commands=["cancel"], state="*")
    def cancel(message: Any, state: StateContext) -> None:
        bot.reply_to(message, f"cancelled {state.get()}: {state.delete()} {state.delete()}")

    @bot.message_handler(commands=["reset"], state=[Survey.age, Survey.done])
    def reset(message: Any, state_context: StateContext) -> None:
        done = state_context.reset_data()
        with state_context.data() as data:
            bot.reply_to(message, f"reset {state_context.get()}: {done} {data}")

    @bot.message_handler(state=Survey.name)
    def take_name(message: Any, state: StateContext) -> None:
        state.add_data(name=message.text)
        state.set(Survey.age)
        bot.reply_to(message, "age?")

    @bot.message_handler(state=Survey.age, is_digit=True)
    def take_age(message: Any, state: StateContext) -> None:
        with state.data() as data:
            data["age"] = int(message.text)
            data.setdefault("log", []).append(message.text)
            text = f"{data.get('name')}, {data['age']}"
        bot.set_state(
            message.from_user.id,
            Survey.done,
            message.chat.id,
            message_thread_id=message.message_thread_id if message.is_topic_message else None,
        )
        markup = InlineKeyboardMarkup([[button]])
        bot.send_message(message.chat.id, text, reply_markup=markup)

    @bot.message_handler(state="survey over")
    def greet(message: Any, state: StateContext) -> None:
        with bot.retrieve_data(message.from_user.id, message.chat.id) as data:
            bot.reply_to(message, f"over: {data}")

    @bot.message_handler(state=Survey.age)
    def complain(message: Any) -> None:
        bot.reply_to(message, "a number")

    @bot.message_handler()
    def other(message: Any, state: StateContext) -> None:
        bot.reply_to(message, f"no handler for {state.get()}")

    @bot.callback_query_handler(func=None, state=Survey.done)
    def again(query: Any, state: StateContext) -> None:
        user, chat = query.from_user.id, query.message.chat.id
        bot.add_data(user, chat, again=True)
        state.set("survey over")
        bot.send_message(chat, f"again, {bot.get_state(user, chat)}")

    return bot


def take_survey(states: StateStorageBase, api: BotAPI) -> list[str]:
    """What the bot answers two users, in private, in a group and in a topic of a forum."""
    group, forum = api.group(-100), api.group(-200, forum=True)
    one, two = api.user(1), api.user(2)
    with run_polling(survey(states), api, timeout=PATIENCE) as polling:

        def say(user: Any, text: str, chat: Group | None = None, topic: int | None = None) -> None:
            user.send(text, chat=chat, topic=topic)
            polling.wait_idle(PATIENCE)

        for text in ("hi", "/reset", "/cancel", "/start", "Ada", "old", "/reset", "36", "/reset"):
            say(one, text)
        say(one, "/start", group)
        say(two, "Bob", group)
        say(one, "Ada in a group", group)
        say(one, "37", group)
        for topic in (5, 6):
            say(one, "/start", forum, topic)
        say(one, "Ada in a topic", forum, 5)
        say(one, "38", forum, 5)
        say(one, "/cancel", forum, 6)
        say(one, "hi", forum, 5)
        say(one, "hi", forum, 6)
        one.press(next(m for m in api.messages if m.chat_id == 1 and m.buttons), "again")
        polling.wait_idle(PATIENCE)
        for text in ("hi", "/cancel", "/cancel", "hi"):
            say(one, text)
    return [message.text for message in api.messages]


ANSWERS = [
    "no handler for None",
    "no handler for None",
    "no handler for None",
    "name? (Survey:name)",
    "age?",
    "a number",
    "reset Survey:age: True {}",
    "None, 36",
    "reset Survey:done: True {}",
    "name? (Survey:name)",
    "no handler for None",
    "age?",
    "Ada in a group, 37",
    "name? (Survey:name)",
    "name? (Survey:name)",
    "age?",
    "Ada in a topic, 38",
    "cancelled Survey:name: True False",
    "no handler for Survey:done",
    "no handler for None",
    "again, survey over",
    "over: {'again': True}",
    "cancelled survey over: True False",
    "no handler for None",
    "no handler for None",
]


class TestBot:
    def test_it_answers_as_on_telebots_storage(self, states: SessionStateStorage) -> None:
        """A bot with filters, contexts and groups of states answers the same on every storage."""
        answers = []
        for each in (StateMemoryStorage(), states):
            with BotAPI() as api:
                answers.append(take_survey(each, api))
        assert [ANSWERS, ANSWERS] == answers

    def test_states_survive_a_restart(self, bot_api: BotAPI, tmp_path: Path) -> None:
        """A new bot on a new storage of the same file goes on where the former was."""
        answers = []
        for text in ("/start", "Ada", "36", "/reset"):
            with SQLiteStorage(tmp_path / "states.db") as storage:
                bot = survey(SessionStateStorage(storage))
                with run_polling(bot, timeout=PATIENCE) as polling:
                    bot_api.user(1).send(text)
                    polling.wait_idle(PATIENCE)
                answers.append(bot_api.messages[-1].text)
        assert ["name? (Survey:name)", "age?", "Ada, 36", "reset Survey:done: True {}"] == answers

    def test_a_handler_that_raises_in_its_block_has_changed_nothing(
        self, states: SessionStateStorage, bot_api: BotAPI
    ) -> None:
        """When Telegram refuses the answer inside the block, the message does not count."""
        bot: Any = TeleBot(OFFLINE_TOKEN, state_storage=states)

        @bot.message_handler()
        def handle(message: Any) -> None:
            with bot.retrieve_data(1) as data:
                data["n"] = data.get("n", 0) + 1
                bot.reply_to(message, data["n"])

        bot.set_state(1, "counting")
        with run_polling(bot, timeout=PATIENCE) as polling:
            for _ in range(3):
                bot_api.fail_next("sendMessage", 403)
                for _ in range(2):
                    bot_api.user(1).send("hi")
                    polling.wait_idle(PATIENCE)
            raised = [type(error).__name__ for error in polling.exceptions]
            polling.exceptions.clear()
        assert (["ApiTelegramException"] * 3, ["1", "2", "3"]) == (
            raised,
            [message.text for message in bot_api.messages],
        )

    def test_two_bots_share_a_storage(self, states: SessionStateStorage) -> None:
        """Each bot has its own state of the same user."""
        tokens = ("1:token", "2:token")
        bots = [TeleBot(token, state_storage=states, threaded=False) for token in tokens]
        for bot in bots:
            bot.set_state(USER, f"of bot {bot.bot_id}")
        assert ["of bot 1", "of bot 2"] == [bot.get_state(USER) for bot in bots]


class TestStates:
    example = "states"

    def test_an_order_is_taken(self, stage: Stage) -> None:
        """The steps come in order, each user has their own, and a wrong answer is asked again."""
        assert [stage.module.HELP] == stage.say(1, "/cancel")
        assert ["which pizza, funghi or napoli?"] == stage.say(1, "/order")
        assert [stage.module.HELP] == stage.say(2, "funghi")
        assert ["how many?"] == stage.say(1, "funghi")
        numbers = [stage.say(1, text) for text in ("0", "10", "many", "9")]
        assert [["a number from 1 to 9, please"]] * 3 + [["9 funghi, and where to?"]] == numbers
        assert ["9 funghi are on the way to Rome"] == stage.say(1, "Rome")
        assert [] == list(stage.module.storage.keys())

    def test_an_order_is_cancelled(self, stage: Stage) -> None:
        """A cancelled order is forgotten at every step."""
        steps: list[str] = []
        for step in ("/order", "napoli", "2"):
            steps.append(step)
            for each in steps:
                stage.say(1, each)
            assert ["nothing is ordered"] == stage.say(1, "/cancel")
            assert [stage.module.HELP] == stage.say(1, "2")

    def test_an_order_begun_again_is_a_new_one(self, stage: Stage) -> None:
        """Ordering in the middle of an order starts from the first question."""
        for text in ("/order", "napoli", "/order"):
            stage.say(1, text)
        assert ["how many?"] == stage.say(1, "funghi")
        assert ["2 funghi, and where to?"] == stage.say(1, "2")

    def test_it_goes_on_after_a_restart(self, tmp_path: Path) -> None:
        """A new process waits for the step that the former had come to."""
        chats = {
            "/order\nfunghi\n": "which pizza, funghi or napoli?\nhow many?\n",
            "2\nRome\n": "2 funghi, and where to?\n2 funghi are on the way to Rome\n",
        }
        printed = [Terminal("states", typed, tmp_path).result() for typed in chats]
        assert [(answers, "", 0) for answers in chats.values()] == printed

    def test_it_uses_the_file_that_it_is_told(
        self, monkeypatch: pytest.MonkeyPatch, bot_api: BotAPI, tmp_path: Path
    ) -> None:
        """The orders are in the file that `BOT_DATABASE` names."""
        monkeypatch.setenv("BOT_DATABASE", str(tmp_path / "other.db"))
        with on_stage("states", bot_api) as stage:
            stage.say(1, "/order")
        assert (True, False) == (
            (tmp_path / "other.db").exists(),
            os.path.lexists(tmp_path / "orders.db"),
        )
