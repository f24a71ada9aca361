"""Dialogs with a bot that asks, is restarted, and gets the answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from itertools import product
from typing import TYPE_CHECKING, Any, Self

import pytest
from telebot import TeleBot, types, util

from support.bots import Refusal, TeaMiddleware
from support.clocks import PATIENCE
from telesession import (
    Place,
    Session,
    Sessions,
    Storage,
    ask,
    cancel,
    use_questions,
    use_sequential_workers,
)
from telesession.testing import OFFLINE_TOKEN, run_polling

if TYPE_CHECKING:
    from freezegun.api import FrozenDateTimeFactory

    from telesession.testing import BotAPI
    from telesession.testing.telegram.history import SentMessage

#: Something that happens in a dialog, until the bot has nothing more to do.
Act = Callable[["Dialog"], object]

#: A storage and workers for each dialog.
SETUPS = [*product(["memory", "sqlite", "redis"], ["telebot", "sequential"])]
_WITH_INBOX = [("sqlite", "inbox"), ("redis", "inbox"), ("postgres", "inbox")]


def setups(*pairs: tuple[str, str]) -> pytest.MarkDecorator:
    """A mark for tests whose dialogs have other storages and workers than `SETUPS`."""
    return pytest.mark.parametrize("dialog", pairs, ids="-".join, indirect=True)


#: For rules that do not depend on them: each storage and each kind of workers once.
DIAGONAL = setups(("memory", "telebot"), ("sqlite", "sequential"), *_WITH_INBOX[1:])
#: For effects that must happen once: also those with an inbox.
WITH_INBOX = setups(*SETUPS, *_WITH_INBOX)

#: The ids of the users.
ADA, BORIS = 41, 42

_MESSAGES = (
    "message",
    "edited_message",
    "business_message",
    "edited_business_message",
    "guest_message",
)
_BUTTONS = ("yes", "ask", "ask me", "cancel")
_WISHES = frozenset(("ask me", "press ask me", "join"))
_CONTENTS = (
    "checklist",
    "checklist_tasks_done",
    "chat_shared",
    "contact",
    "dice",
    "document",
    "location",
    "new_chat_members",
    "new_chat_title",
    "paid_media",
    "photo",
    "pinned_message",
    "poll",
    "suggested_post_approved",
    "users_shared",
    "venue",
    "voice",
    "web_app_data",
)


def shown(update: Any) -> str:
    """An update as a dialog notes it: its text, the data of the button, or its content."""
    if isinstance(update, list):
        return f"album of {len(update)}"
    if isinstance(update, types.CallbackQuery):
        return f"press {update.data}"
    if isinstance(update, types.ChatJoinRequest):
        return "join"
    return update.text or next(name for name in _CONTENTS if name in update.json)


def is_menu(message: Any) -> bool:
    """A predicate for `unless`: the texts of a menu."""
    return (message.text or "").startswith("menu")


def press_board() -> types.InlineKeyboardMarkup:
    """An inline keyboard with the buttons that the bot knows."""
    buttons = [types.InlineKeyboardButton(data, callback_data=data) for data in _BUTTONS]
    return types.InlineKeyboardMarkup([buttons])


class Asker:
    """
    A bot that asks, as one process has it.

    Each of its functions notes its name and the update that it gets. The handler asks for "ask me",
    and calls `cancel` twice for "/cancel" and "stop".

    Args:
        dialog: The dialog that it is a part of.
        storage: The storage of its sessions and questions, and of its inbox if it has one.
        workers: `"telebot"` for its own pool, `"sequential"` for ours, `"inbox"` for ours with one.
        options: Options of `TeleBot`.
    """

    def __init__(self, dialog: Dialog, storage: Storage, workers: str, **options: Any) -> None:
        self._dialog = dialog
        self.bot = TeleBot(OFFLINE_TOKEN, num_threads=2, **options)
        if self.bot.use_class_middlewares:
            self.bot.setup_middleware(TeaMiddleware())
        if workers != "telebot":
            inbox = storage if workers == "inbox" else None
            use_sequential_workers(self.bot, inbox=inbox)
        steps = [self.take, self.take_late, self.take_list, self.take_all, self.ask_next]
        self.sessions: Sessions[Any] = Sessions(storage=storage)
        use_questions(self.bot, self.sessions, steps=[*steps, self.take_tea], unless=[is_menu])
        self._register()

    def _register(self) -> None:
        every = [*util.content_type_media, *util.content_type_service]
        bot, handle = self.bot, self.sessions.with_session(self.handle)
        for kind in _MESSAGES:
            register = getattr(bot, f"register_{kind}_handler")
            register(handle, content_types=every, func=lambda _: True)
        for kind in ("callback_query", "chat_join_request"):
            getattr(bot, f"register_{kind}_handler")(handle, func=lambda _: True)

    def handle(self, update: Any, session: Session) -> None:
        """The handler of everything that is no answer, with a session."""
        session.handled = session.get("handled", 0) + 1
        if not _WISHES.isdisjoint((shown(update), getattr(update, "caption", None))):
            self.ask(update)
            return
        self._note("handle", update)
        if shown(update) in ("/cancel", "stop", "press cancel"):
            self._dialog.heard += [f"cancel: {cancel(self.bot, update)}" for _ in range(2)]

    def ask(self, update: Any) -> None:
        """Ask with the options of the dialog."""
        dialog = self._dialog
        options = {"reply_markup": press_board(), **dialog.asks}
        step, to = getattr(self, options.pop("step", "take")), options.pop("to", update)
        if late := options.pop("on_timeout", None):
            options["on_timeout"] = getattr(self, late)
        ask(self.bot, to, "well?", step, **options)

    def take(self, message: Any) -> None:
        """A step that does not like the answer "bad"."""
        self._note("take", message)
        self._refuse(message)

    def take_late(self, message: Any, size: int = 0) -> None:
        """A step for late answers, which may have data."""
        self._note(f"late {size}" if size else "late", message)
        self._refuse(message)

    def take_list(self, messages: list[types.Message]) -> None:
        """A step that takes albums."""
        self._note("list", messages)

    def ask_next(self, update: Any) -> None:
        """A step that asks the next question."""
        self._note("next", update)
        ask(self.bot, update, "and?", self.take)

    def take_all(self, message: Any, size: Any, bot: TeleBot, session: Session) -> None:
        """A step with data, the bot, and a session."""
        session.size = size
        self._note(f"{size} {bot is self.bot}", message)

    def take_tea(self, message: Any, tea: str, session: Session, topping: str = "none") -> None:
        """A step with a value of a class middleware, a session, and data."""
        session.tea = tea
        self._note(f"{tea} {topping}", message)

    def take_unlisted(self, message: Any) -> None:
        """A step that `use_questions` is not told of."""
        self._note("unlisted", message)

    @staticmethod
    def _refuse(update: Any) -> None:
        if shown(update) == "bad":
            raise Refusal

    def _note(self, name: str, update: Any) -> None:
        self._dialog.heard.append(f"{name}: {shown(update)}")
        self._dialog.got.append(update)


class Dialog:
    """
    Users who write to a bot that really polls, and that may be restarted between two messages.

    Args:
        api: The server that the bot polls.
        open_storage: Opens the storage of a process on the records of the process before.
        workers: `"telebot"` for its own pool, `"sequential"` for ours, `"inbox"` for ours with one.
        clock: The clock of the test, if it stands still.

    Attributes:
        heard: A text for each update that a function of the bot got, in order.
        got: The updates.
        asks: The options with which the bot asks, and `step`, the name of its method.
        asking: The update by which Ada has the bot ask.
        options: The options of the bot from its next start.
        here: The place of the user's messages.
        places: The places by their names, as options of the methods of `User`.
        people: The users by their names. The admin is Ada, anonymous in the group.
    """

    def __init__(
        self,
        api: BotAPI,
        open_storage: Callable[[], AbstractContextManager[Storage]],
        workers: str,
        clock: FrozenDateTimeFactory | None = None,
    ) -> None:
        self.api = api
        self.heard: list[str] = []
        self.got: list[Any] = []
        self.asks: dict[str, Any] = {}
        self.asking: dict[str, Any] = {}
        self.options: dict[str, Any] = {}
        self.here: Mapping[str, Any] = {}
        self.clock: Any = clock
        self.ada, self.boris = (
            api.user(number, first_name=name) for number, name in ((ADA, "Ada"), (BORIS, "Boris"))
        )
        self.group, self.forum = api.group(-100), api.group(-1007, forum=True)
        self.people = {
            "ada": self.ada,
            "boris": self.boris,
            "admin": self.ada.anonymous_in(self.group),
        }
        self.places = self._make_places()
        self._open_storage = open_storage
        self._workers = workers
        self._process = ExitStack()

    def _make_places(self) -> dict[str, Mapping[str, Any]]:
        api, boris_at_home = self.api, self.boris.private_chat
        chats: dict[str, Any] = {
            "group": self.group,
            "other group": api.group(-101),
            "forum": self.forum,
            "news": api.direct_messages(-1009),
            "other news": api.direct_messages(-1010),
            "business": api.business_chat(self.ada, owner=self.boris, connection_id="business-1"),
            "other business": api.business_chat(self.ada, connection_id="business-2"),
        }
        topics = {
            f"{name}, topic {topic}": {"chat": chat, "topic": topic}
            for name, chat in (("private", None), ("forum", self.forum))
            for topic in (7, 8)
        }
        for chat, topic in product((self.ada.private_chat, self.forum), (7, 8)):
            # It is there before the bot asks in it.
            message = {"is_topic_message": True, "chat": chat.json, "message_thread_id": topic}
            api.community.topics.note({"message": message})
        return {
            "private": {},
            **{name: {"chat": chat} for name, chat in chats.items()},
            **topics,
            "news, topic of boris": {"chat": chats["news"], "topic": boris_at_home.id},
            "ephemeral": {"chat": self.group, "ephemeral": True},
        }

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        # An exception of the test gets notes about the bot.
        self._process.__exit__(*error)

    def start(self) -> None:
        """Start a bot of a new process."""
        self.storage = self._process.enter_context(self._open_storage())
        self.asker = Asker(self, self.storage, self._workers, **self.options)
        self.bot = self.asker.bot
        self.polling = self._process.enter_context(
            run_polling(self.bot, self.api, timeout=PATIENCE)
        )

    def restart(self) -> None:
        """End the bot and its storage, and start new ones."""
        self._process.close()
        self.start()

    def play(self, *acts: Act) -> Any:
        """Let things happen, one after the other, and return the result of the last one."""
        result = None
        for act in acts:
            result = act(self)
            self.polling.wait_idle(PATIENCE)
        return result

    def ask(self, place: str = "private", person: str = "ada", **options: Any) -> None:
        """Let a person have the bot ask at a place, which is that of Ada from now on."""
        self.here = self.places[place]
        self.asks = options
        self.asking = self.play(say("ask me", place, person))

    def ask_again(self, code: int | None = None, **options: Any) -> None:
        """
        Let Ada have the bot ask in her private chat by a press, which answers no question.

        Args:
            code: The error code with which Telegram refuses to send the question, if it does.
            options: Options of `ask`.
        """
        self.asks = options
        menu = self.bot.send_message(ADA, "the menu", reply_markup=press_board())
        if code is not None:
            self.api.fail_next("sendMessage", code)
        self.play(lambda _: self.ada.press(menu, "ask me"))

    @property
    def question(self) -> SentMessage:
        """The latest question."""
        return [sent for sent in self.api.messages if sent.text.endswith("?")][-1]

    def take_error(self) -> Exception:
        """The exception that the bot had since the last call; there must be one."""
        (found,) = self.polling.exceptions
        self.polling.exceptions.clear()
        return found


def say(text: str, place: str | None = None, person: str = "ada") -> Act:
    """A person says something at a place; by default Ada where she is."""

    def act(dialog: Dialog) -> object:
        where = dialog.here if place is None else dialog.places[place]
        return dialog.people[person].send(text, **where)

    return act


def send(method: str, *args: Any, **options: Any) -> Act:
    """Ada sends something by a method of `User`, where she is."""
    return lambda dialog: getattr(dialog.ada, method)(*args, **dialog.here, **options)


def reply(text: str) -> Act:
    """Ada replies to the question."""
    return lambda dialog: dialog.ada.send(text, **dialog.here, reply_to=dialog.question)


def press(data: str = "yes", person: str = "ada") -> Act:
    """A person presses a button of the question."""
    return lambda dialog: dialog.people[person].press(dialog.question, data)


def press_another(data: str = "yes") -> Act:
    """Ada presses a button of another message in the chat of the question."""

    def act(dialog: Dialog) -> object:
        chat_id = dialog.question.chat_id
        dialog.bot.send_message(chat_id, "the menu", reply_markup=press_board())
        return dialog.ada.press(dialog.api.messages[-1], data)

    return act


def tick(seconds: float) -> Act:
    """Time passes."""
    return lambda dialog: dialog.clock.tick(seconds)


def note_cancel(place: Place) -> Act:
    """Something outside of handlers cancels the question at a place, twice."""

    def act(dialog: Dialog) -> None:
        dialog.heard += [f"cancel: {cancel(dialog.bot, place)}" for _ in range(2)]

    return act


@dataclass(frozen=True)
class Row:
    """
    A row of a table: what happens after a question was asked and the bot was restarted.

    Args:
        id: Its name.
        acts: The things that happen then.
        heard: The expected `Dialog.heard`.
        asks: Options of `ask`.
        place: The name of the place of the question.
    """

    id: str
    acts: Sequence[Act]
    heard: Sequence[str]
    asks: Mapping[str, Any] = field(default_factory=dict)
    place: str = "private"

    def __str__(self) -> str:
        return self.id

    def play(self, dialog: Dialog) -> None:
        """Ask, restart, and let it happen."""
        dialog.ask(self.place, **self.asks)
        dialog.play(Dialog.restart, *self.acts)
