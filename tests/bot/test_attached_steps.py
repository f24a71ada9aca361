"""Next steps and replies of an attached bot, whichever backend of telebot keeps them."""

from __future__ import annotations

import pickle
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from telebot import TeleBot, types
from telebot.handler_backends import HandlerBackend

from support.handlers import (
    CALLABLES,
    KEY,
    STEP_PLACES,
    Handler,
    ignore,
    keep,
    note,
    signature_text,
    state_of_bot,
)
from support.updates import ANNA, TOKEN, message as message_json, private, said
from telesession.testing import RecordingExceptionHandler

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.bots import Host
    from support.storages import SpyStorage
    from telesession import Session, Sessions


ASKED = message_json(private(ANNA), ANNA, message_id=77)


REGISTER_STEP: dict[str, Callable[..., None]] = {
    "next-step": lambda bot, *args, **kw: bot.register_next_step_handler(
        types.Message.de_json(ASKED), *args, **kw
    ),
    "next-step-by-chat-id": lambda bot, *args, **kw: bot.register_next_step_handler_by_chat_id(
        ANNA["id"], *args, **kw
    ),
    "reply": lambda bot, *args, **kw: bot.register_for_reply(
        types.Message.de_json(ASKED), *args, **kw
    ),
    "reply-by-message-id": lambda bot, *args, **kw: bot.register_for_reply_by_message_id(
        77, *args, **kw
    ),
}


def answered(text: str) -> types.Update:
    """The next message of a chat, which is a reply, too."""
    return said(text, reply_to_message=ASKED)


@pytest.mark.parametrize("register_step", REGISTER_STEP.values(), ids=REGISTER_STEP)
@pytest.mark.parametrize("step", STEP_PLACES, ids=signature_text)
def test_steps_get_their_session_and_their_arguments(
    step: Handler, register_step: Callable[..., None], quick_host: Host, sessions: Sessions[Session]
) -> None:
    """Next steps and replies, registered before and after, get their arguments and the session."""
    register_step(quick_host.bot, step, "cm", scale=2)
    sessions.attach(quick_host.bot)
    register_step(quick_host.bot, step, "inch", scale=3)

    quick_host.deliver(answered("180"))

    expected = {"seen": [["180", "cm", 2], ["180", "inch", 3]]}
    assert ([], expected) == (quick_host.raised, sessions.peek(KEY))


@pytest.mark.parametrize("register_step", REGISTER_STEP.values(), ids=REGISTER_STEP)
def test_steps_get_their_session_in_every_mode(
    register_step: Callable[..., None], host: Host, sessions: Sessions[Session]
) -> None:
    """With and without class middlewares, in one thread or in workers."""
    sessions.attach(host.bot)
    register_step(host.bot, keep)

    host.deliver(answered("180"))

    assert ([], {"seen": [["180"]]}) == (host.raised, sessions.peek(KEY))


@pytest.mark.parametrize("step", CALLABLES.values(), ids=CALLABLES)
def test_whatever_can_be_called_may_be_a_step(
    step: Handler, quick_host: Host, sessions: Sessions[Session]
) -> None:
    """Methods, partials and objects get their session as steps, too."""
    sessions.attach(quick_host.bot)
    quick_host.bot.register_next_step_handler_by_chat_id(ANNA["id"], step)

    quick_host.deliver(said("one"))

    assert ([], {"seen": [["one"]]}) == (quick_host.raised, sessions.peek(KEY))


@pytest.mark.parametrize("register_step", [*REGISTER_STEP.values()][1::2], ids=["step", "reply"])
def test_a_step_may_have_an_argument_of_any_name(
    register_step: Callable[..., None], quick_host: Host, sessions: Sessions[Session]
) -> None:
    """What was given by name goes to the step, be it called like a parameter of our own."""
    sessions.attach(quick_host.bot)

    def step(update, session, *, message, args, kwargs):
        note(session, update.text, message, args, kwargs)

    register_step(quick_host.bot, step, message="one", args="two", kwargs="three")

    quick_host.deliver(answered("180"))

    expected = {"seen": [["180", "one", "two", "three"]]}
    assert ([], expected) == (quick_host.raised, sessions.peek(KEY))


def test_a_form_of_several_steps_keeps_one_session(host: Host, sessions: Sessions[Session]) -> None:
    """A handler and the steps that it leads to have the session of the sender, undecorated."""
    sessions.attach(host.bot)

    @host.bot.message_handler(commands=["form"])
    def begin(message, session):
        note(session, message.text)
        host.bot.register_next_step_handler(message, ask_age, "name")

    def ask_age(message, question, session):
        note(session, question, message.text)
        host.bot.register_next_step_handler(message, end, question="age")

    def end(message, session, *, question):
        note(session, question, message.text)

    host.deliver(said("/form"), said("Anna"), said("31"))

    expected = {"seen": [["/form"], ["name", "Anna"], ["age", "31"]]}
    assert ([], expected) == (host.raised, sessions.peek(KEY))


def test_a_step_without_the_parameter_is_handed_out_as_it_is(
    sessions: Sessions[Session], spy_storage: SpyStorage
) -> None:
    """The backend gives the very object that telebot has put there."""
    bot = TeleBot(TOKEN, threaded=False)
    sessions.attach(bot)
    bot.register_next_step_handler_by_chat_id(1, ignore, "cm")
    bot.register_next_step_handler_by_chat_id(1, sessions.with_session(keep))
    kept = list(bot.next_step_backend.handlers[1])

    handed_out = bot.next_step_backend.get_handlers(1)

    assert [True, True] == [a is b for a, b in zip(kept, handed_out, strict=True)]
    assert (None, Counter()) == (bot.next_step_backend.get_handlers(1), spy_storage.calls)


@pytest.mark.parametrize("feed", ["process_new_updates", "process_new_messages"])
def test_steps_get_their_session_whichever_way_the_message_comes(
    feed: str, quick_host: Host, sessions: Sessions[Session]
) -> None:
    """Whoever hands messages to the bot himself need not pass all of its gates."""
    sessions.attach(quick_host.bot)
    quick_host.bot.register_next_step_handler_by_chat_id(ANNA["id"], keep)
    update = said("one")

    getattr(quick_host.bot, feed)([update if feed == "process_new_updates" else update.message])

    assert ([], {"seen": [["one"]]}) == (quick_host.raised, sessions.peek(KEY))


class ListBackend(HandlerBackend):
    """A backend of somebody's own."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[tuple[Any, Any]] = []

    def register_handler(self, handler_group_id, handler):
        self.rows.append((handler_group_id, handler))

    def clear_handlers(self, handler_group_id):
        self.rows = [row for row in self.rows if row[0] != handler_group_id]

    def get_handlers(self, handler_group_id):
        found = [handler for group, handler in self.rows if group == handler_group_id]
        self.clear_handlers(handler_group_id)
        return found


def test_steps_of_any_backend_get_their_session(sessions: Sessions[Session]) -> None:
    """A backend of somebody's own, for steps and for replies at once, is one gate."""
    backend, handler = ListBackend(), RecordingExceptionHandler()
    bot = TeleBot(
        TOKEN,
        threaded=False,
        exception_handler=handler,
        next_step_backend=backend,
        reply_backend=backend,
    )
    sessions.attach(bot)
    bot.register_next_step_handler_by_chat_id(ANNA["id"], keep)
    bot.register_for_reply_by_message_id(77, keep)

    # telebot does not look for replies to a message that a next step has taken.
    bot.process_new_updates([answered("one")])
    bot.process_new_updates([answered("two")])
    seen = sessions.peek(KEY)
    sessions.detach(bot)

    assert ([], {"seen": [["one"], ["two"]]}) == (handler.exceptions, seen)
    assert {"handlers", "rows"} == vars(backend).keys()


# Steps that telebot saves to a file.

SAVING: dict[str, tuple[str, Callable[..., None], Callable[..., None], Callable[..., None]]] = {
    "next-steps": (
        "next_step_backend",
        REGISTER_STEP["next-step"],
        TeleBot.enable_save_next_step_handlers,
        TeleBot.load_next_step_handlers,
    ),
    "replies": (
        "reply_backend",
        REGISTER_STEP["reply"],
        TeleBot.enable_save_reply_handlers,
        TeleBot.load_reply_handlers,
    ),
}


def saved_step(message, session, unit, scale=1):
    note(session, message.text, unit, scale)


@pytest.mark.parametrize("attached_first", [True, False], ids=["attach-load", "load-attach"])
@pytest.mark.parametrize("kind", SAVING)
def test_saved_steps_get_their_session_after_a_restart(
    kind: str, attached_first: bool, host: Host, sessions: Sessions[Session], tmp_path: Path
) -> None:
    """What an attached bot saves is the step itself, and the next bot gives it a session."""
    _, register_step, enable_save, load = SAVING[kind]
    path = str(tmp_path / "saves" / "step.save")
    former = TeleBot(TOKEN, threaded=False)
    register_step(former, saved_step, "cm", scale=2)
    sessions.attach(former)
    enable_save(former, delay=0, filename=path)
    register_step(former, saved_step, "inch", scale=3)
    saved = pickle.loads(Path(path).read_bytes())

    if attached_first:
        sessions.attach(host.bot)
    enable_save(host.bot, delay=0, filename=path)
    load(host.bot, path)
    if not attached_first:
        sessions.attach(host.bot)
    host.deliver(answered("180"))

    assert [saved_step] * 2 == [item["callback"] for items in saved.values() for item in items]
    assert [] == host.raised
    # Two workers may run the two steps in either order.
    assert [["180", "cm", 2], ["180", "inch", 3]] == sorted(sessions.peek(KEY)["seen"])
    assert {} == pickle.loads(Path(path).read_bytes())


@pytest.mark.parametrize("kind", SAVING)
def test_a_backend_that_comes_later_is_as_before_when_detached(
    kind: str, sessions: Sessions[Session], tmp_path: Path
) -> None:
    """What `enable_save_*` makes after `attach` is a gate with the next update, until `detach`."""
    backend, register_step, enable_save, _ = SAVING[kind]
    bot = TeleBot(TOKEN, threaded=False)
    sessions.attach(bot)
    enable_save(bot, delay=0, filename=str(tmp_path / "saves" / "step.save"))
    before = dict(vars(getattr(bot, backend)))
    register_step(bot, keep)

    bot.process_new_updates([answered("180")])
    seen = sessions.peek(KEY)
    sessions.detach(bot)

    assert ({"seen": [["180"]]}, before) == (seen, vars(getattr(bot, backend)))


def test_a_bot_that_runs_for_long_stays_at_the_same_gates(sessions: Sessions[Session]) -> None:
    """Later updates find the gates that the first ones have found, and put no others on top."""
    bot = TeleBot(TOKEN, threaded=False)
    sessions.attach(bot)
    bot.process_new_updates([said("one")])
    before = state_of_bot(bot)[1:]

    bot.process_new_updates([said("two")])

    assert before == state_of_bot(bot)[1:]
