"""Next steps and replies of decorated handlers, kept in memory or saved to a file."""

from __future__ import annotations

import functools
import json
import pickle
import subprocess
import sys
import textwrap
from typing import TYPE_CHECKING

import pytest
from telebot import TeleBot

from support.clocks import PATIENCE
from support.handlers import KEY, STEP_PLACES, Handler, note, signature_text
from support.updates import ANNA, TOKEN, UPDATE_IDS, message as message_json, private, said
from telesession import MemoryStorage, Session, Sessions, by_chat

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.bots import Host


class Shop:
    """Handlers that are methods, to be decorated on an instance."""

    def take_step(self, message, session, unit, *, scale):
        note(session, message.text, unit, scale)


MORE_STEPS = [
    lambda session, message, unit, scale: note(session, message.text, unit, scale),
    lambda message, *args, session, **kw: note(session, message.text, *args, *kw.values()),
    Shop().take_step,
]


@pytest.mark.parametrize("step", [*STEP_PLACES, *MORE_STEPS], ids=signature_text)
def test_next_steps_get_their_extra_arguments(
    step: Handler, host: Host, sessions: Sessions[Session]
) -> None:
    """
    The `*args, **kwargs` of next-step handlers pass through, and the session with them.
    """
    asked = said("how tall?").message
    host.bot.register_next_step_handler(asked, sessions.with_session(step), "cm", scale=2)

    host.deliver(said("180"))

    assert ([], {"seen": [["180", "cm", 2]]}) == (host.raised, sessions.peek(KEY))


@pytest.mark.parametrize("step", [*STEP_PLACES, *MORE_STEPS], ids=signature_text)
def test_reply_handlers_get_their_extra_arguments(
    step: Handler, host: Host, sessions: Sessions[Session]
) -> None:
    """
    The `*args, **kwargs` of reply handlers pass through, and the session with them.
    """
    asked = message_json(private(ANNA), ANNA, message_id=77)
    host.bot.register_for_reply_by_message_id(77, sessions.with_session(step), "cm", scale=2)

    host.deliver(said("180", reply_to_message=asked))

    assert ([], {"seen": [["180", "cm", 2]]}) == (host.raised, sessions.peek(KEY))


def test_a_form_of_several_steps_keeps_one_session(host: Host, sessions: Sessions[Session]) -> None:
    """
    A handler may register the next one, and all of them have the session of their sender.
    """

    @host.bot.message_handler(commands=["form"])
    @sessions.with_session
    def begin(message, session):
        session.answers = []
        host.bot.register_next_step_handler(message, ask_age, "name")

    @sessions.with_session
    def ask_age(message, question, session):
        session.answers.append((question, message.text))
        host.bot.register_next_step_handler(message, end, question="age")

    @sessions.with_session
    def end(message, session, *, question):
        session.answers.append((question, message.text))

    host.deliver(said("/form"), said("Anna"), said("31"))

    assert ([], {"answers": [("name", "Anna"), ("age", "31")]}) == (host.raised, sessions.peek(KEY))


# What telebot saves to a file.

saved_sessions: Sessions[Session] = Sessions(storage=MemoryStorage())


@saved_sessions.with_session
def saved_step(message, session, unit, scale=1):
    note(session, message.text, unit, scale)


@saved_sessions.with_session
@Sessions(storage=MemoryStorage(), name="chat", get_storage_key=by_chat).with_session
def saved_step_with_two_sessions(message, session, chat, unit, scale=1):
    note(session, message.text, unit, scale)


class SavedOffice:
    @saved_sessions.with_session
    def step(self, message, session, unit, scale=1):
        note(session, message.text, unit, scale)


SAVED_STEPS = [
    pytest.param(saved_step, id="function"),
    pytest.param(saved_step_with_two_sessions, id="two-sessions"),
    pytest.param(SavedOffice().step, id="bound-method"),
    pytest.param(functools.partial(saved_step, scale=2), id="partial"),
]


@pytest.fixture
def forget_saved_session() -> Iterator[None]:
    yield
    saved_sessions.delete(KEY)


@pytest.mark.usefixtures("forget_saved_session")
@pytest.mark.parametrize("step", SAVED_STEPS)
def test_saved_next_steps_are_reloaded_from_their_file(
    step: Handler, host: Host, tmp_path: Path
) -> None:
    """
    The wrapper stays picklable by name: telebot can save next-step handlers to a file.
    """
    path = str(tmp_path / "steps" / "step.save")
    former = TeleBot(TOKEN, threaded=False)
    former.enable_save_next_step_handlers(delay=0, filename=path)
    former.register_next_step_handler(said("how tall?").message, step, "cm", scale=2)

    host.bot.enable_save_next_step_handlers(delay=0, filename=path)
    host.bot.load_next_step_handlers(path)
    host.deliver(said("180"))

    assert ([], {"seen": [["180", "cm", 2]]}) == (host.raised, saved_sessions.peek(KEY))


@pytest.mark.usefixtures("forget_saved_session")
def test_saved_reply_handlers_are_reloaded_from_their_file(host: Host, tmp_path: Path) -> None:
    """
    The wrapper stays picklable by name: telebot can save reply handlers to a file, too.
    """
    path = str(tmp_path / "replies" / "reply.save")
    former = TeleBot(TOKEN, threaded=False)
    former.enable_save_reply_handlers(delay=0, filename=path)
    former.register_for_reply_by_message_id(77, saved_step, "cm", scale=2)

    host.bot.enable_save_reply_handlers(delay=0, filename=path)
    host.bot.load_reply_handlers(path)
    asked = message_json(private(ANNA), ANNA, message_id=77)
    host.deliver(said("180", reply_to_message=asked))

    assert ([], {"seen": [["180", "cm", 2]]}) == (host.raised, saved_sessions.peek(KEY))


def test_a_wrapper_is_pickled_as_its_name() -> None:
    """
    The wrapper stays picklable by name: what comes back is the same object, not a copy.
    """
    payload = pickle.dumps(saved_step)

    assert pickle.loads(payload) is saved_step
    assert b"saved_step" in payload


STEPS_MODULE = """
    from telebot import TeleBot

    from telesession import MemoryStorage, Sessions

    sessions = Sessions(storage=MemoryStorage())
    bot = TeleBot("123456:offline", threaded=False)
    bot.enable_save_next_step_handlers(delay=0, filename="./saved/step.save")

    @sessions.with_session
    def ask_height(message, name, session, *, unit):
        session.answers = [name, message.text, unit]

    class Office:
        desk = "reception"

        @sessions.with_session
        def ask_age(self, message, session, unit):
            session.age = [self.desk, message.text, unit]

    office = Office()
"""

SAVING_PROCESS = """
    import sys

    from telebot import types

    import steps

    asked = types.Update.de_json(sys.argv[1]).message
    steps.bot.register_next_step_handler(asked, steps.ask_height, "Anna", unit="cm")
    steps.bot.register_next_step_handler(asked, steps.office.ask_age, "years")
"""

LOADING_PROCESS = """
    import json
    import sys

    from telebot import types

    import steps

    steps.bot.load_next_step_handlers("./saved/step.save")
    steps.bot.process_new_updates([types.Update.de_json(sys.argv[1])])
    print(json.dumps(steps.sessions.peek(sys.argv[2])))
"""


def test_a_new_process_goes_on_with_the_saved_next_steps(tmp_path: Path) -> None:
    """
    Next-step handlers that one process saved get their session in the process that loads them.
    """
    (tmp_path / "steps.py").write_text(textwrap.dedent(STEPS_MODULE))

    def run(program: str, text: str) -> str:
        message = message_json(private(ANNA), ANNA) | {"text": text}
        update = json.dumps({"update_id": next(UPDATE_IDS), "message": message})
        command = [sys.executable, "-W", "error", "-c", textwrap.dedent(program), update, KEY]
        return subprocess.run(
            command, cwd=tmp_path, check=True, stdout=subprocess.PIPE, text=True, timeout=PATIENCE
        ).stdout

    run(SAVING_PROCESS, "ask me")
    loaded = json.loads(run(LOADING_PROCESS, "180"))

    expected = {"answers": ["Anna", "180", "cm"], "age": ["reception", "180", "years"]}
    assert expected == loaded
