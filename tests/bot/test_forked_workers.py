"""Sequential workers of a bot that was made before a fork, or whose handler forks."""

from __future__ import annotations

import sys

import pytest

from support.processes import run_program

# A fork in C is one where no other thread runs, as in uWSGI: CPython 3.11 does not repair its GIL
# in such a child, which may wait for ever for a thread that waited for it in the parent.
IN_C = "ctypes.PyDLL(None).fork()"

BEGIN = """
import ctypes, os, threading, warnings
from telebot import TeleBot, types
from telesession import use_sequential_workers
from telesession.forks import PerProcess

# Later Pythons warn of forks where threads run; this is about what happens then.
warnings.simplefilter("ignore", DeprecationWarning)
role = "parent"
bot = TeleBot("1:offline")
# A single worker: no other one can have a lock at the time of the fork, in the controls.
use_sequential_workers(bot, num_threads=1)

def said(text):
    user = dict(id=1, is_bot=False, first_name="Ann")
    chat = dict(id=1, type="private", first_name="Ann")
    message = {{"message_id": 1, "from": user, "chat": chat, "date": 1, "text": text}}
    return types.Update.de_json(dict(update_id=1, message=message))
"""
# The value of the parent stays that of its children.
WITHOUT_PROCESSES = """
PerProcess.get = lambda self, make: self._values.get(0) or self._values.setdefault(0, make())
"""

BEFORE = """
handled = threading.Event()
bot.message_handler()(lambda message: handled.set())
if {used}:
    bot.process_new_updates([said("before")])
    assert handled.wait(60)
    handled.clear()
# No other thread is to have the mutex now: the control would wait for it, and not for a thread.
crew = bot.worker_pool._lines.crew
with crew.mutex:
    child = {fork}
if child:
    assert os.waitpid(child, 0) == (child, 0)
else:
    bot.process_new_updates([said("hi")])
    print("handled" if handled.wait({patience}) else "not handled", flush=True)
os._exit(0)
"""

INSIDE = """
queued, last = threading.Event(), threading.Event()

@bot.message_handler()
def handle(message):
    global role
    if message.text == "1":
        queued.wait()
        if child := os.fork():
            assert os.waitpid(child, 0) == (child, 0)
        else:
            role = "child"
    print(role, message.text, flush=True)
    if message.text == "3":
        if role == "child":
            os._exit(0)
        last.set()

bot.process_new_updates([said("1"), said("2"), said("3")])
queued.set()
assert last.wait(60)
os._exit(0)
"""


def run(body: str, **parts: object) -> list[str]:
    code, printed, complaints = run_program([sys.executable, "-c", body.format(**parts)])
    assert (0, "") == (code, complaints)
    return printed.splitlines()


@pytest.mark.parametrize(
    ("fork", "used"),
    [("os.fork()", False), ("os.fork()", True), (IN_C, False)],
    ids=["with hooks", "with hooks and used before", "in C"],
)
def test_a_forked_process_has_workers_of_its_own(fork: str, used: bool) -> None:
    """Updates of a child are handled there, whether the parent had updates or not."""
    printed = run(BEGIN + BEFORE, fork=fork, used=used, patience=60)
    assert ["handled"] == printed


def test_control_without_processes_a_child_handles_nothing() -> None:
    """With the threads of the parent, of which the child has none, updates wait for ever."""
    body = BEGIN + WITHOUT_PROCESSES + BEFORE
    assert ["not handled"] == run(body, fork="os.fork()", used=True, patience=0.1)


def test_a_child_of_a_handler_leaves_the_queue_to_its_parent() -> None:
    """A handler that forks returns in both processes, and the other updates run once."""
    printed = run(BEGIN + INSIDE)
    assert ["child 1", "parent 1", "parent 2", "parent 3"] == printed


def test_control_without_processes_a_child_takes_the_queue() -> None:
    """With the queue of the parent, the child handles the same updates once more."""
    printed = run(BEGIN + WITHOUT_PROCESSES + INSIDE)
    assert ["child 1", "child 2", "child 3", "parent 1", "parent 2", "parent 3"] == printed
