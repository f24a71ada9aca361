"""The notes in the record of a leftover: handlers that have committed are not called again."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest

from support.clocks import PATIENCE
from support.inboxes import (
    MakeLife,
    effects,
    leave,
    noting,
    records,
    send,
    text_update,
)
from support.threads import in_thread, wait_for
from support.updates import ANNA, message, private
from telesession import MemoryStorage, Session, Sessions, ask, use_questions

if TYPE_CHECKING:
    from collections.abc import Callable

    from telesession.testing import BotAPI


@pytest.fixture
def memory() -> MemoryStorage:
    """An empty storage."""
    return MemoryStorage()


def handler_of(storage: MemoryStorage, name: str) -> Callable[..., Any]:
    """A handler with a qualified name, which it notes."""
    sessions: Sessions[Any] = Sessions(storage=storage)

    def handle(message: Any, session: Session) -> None:
        noting(session, name)

    handle.__qualname__ = name
    return sessions.with_session(handle)


def test_handlers_before_a_noted_one_are_left_out(
    memory: MemoryStorage, make_life: MakeLife, bot_api: BotAPI
) -> None:
    """A handler that did not fit before the kill gets no update behind a noted one."""
    leave(memory, text_update("tea"), done=[f"message:{__name__}.second#0"])
    life = make_life(memory)
    for name in ("first", "second", "third"):
        life.bot.register_message_handler(handler_of(memory, name))
    life.run()

    assert (["third"], []) == (effects(memory), records(memory))


def test_a_note_of_a_handler_that_is_gone_hides_no_other(
    memory: MemoryStorage, make_life: MakeLife, bot_api: BotAPI
) -> None:
    """If the new program lacks the noted handler, its handlers get the update."""
    leave(memory, text_update("tea"), done=["message:bot.renamed#0"])
    life = make_life(memory)
    life.bot.register_message_handler(handler_of(memory, "first"))
    life.run()

    assert ["first"] == effects(memory)


def test_a_noted_step_is_not_called_again(
    memory: MemoryStorage, make_life: MakeLife, bot_api: BotAPI
) -> None:
    """A reply handler that the next process has registered again is left out if it is noted."""
    question = message(private(ANNA), ANNA, text="question")
    update = text_update("answer", reply_to_message=question)
    leave(memory, update, done=[f"step:{__name__}.reply#0"])
    life = make_life(memory)
    for name in ("reply", "other reply"):
        life.bot.register_for_reply_by_message_id(question["message_id"], handler_of(memory, name))
    life.bot.register_message_handler(handler_of(memory, "handler"))
    life.run()

    assert (["other reply", "handler"], []) == (effects(memory), records(memory))


def test_after_a_lost_update_no_further_task_is_run(
    memory: MemoryStorage, make_life: MakeLife, bot_api: BotAPI
) -> None:
    """If another process takes an update over, the tasks behind the current one are not run."""
    former, later = make_life(memory), make_life(memory)
    begun, release, calls = threading.Event(), threading.Event(), list[str]()
    sessions: Sessions[Any] = Sessions(storage=memory, lock_timeout=None)
    question = bot_api.user(ANNA["id"]).send("question")
    former.run()

    @sessions.with_session
    def reply(message: Any, session: Session) -> None:
        begun.set()
        wait_for(release)
        noting(session, "reply")

    former.bot.register_for_reply_by_message_id(question["message"]["message_id"], reply)
    former.bot.register_message_handler(lambda message: calls.append(message.text))
    later.bot.register_message_handler(handler_of(memory, "handler"))
    bot_api.user(ANNA["id"]).send("answer", reply_to=question)
    former.poll()
    wait_for(begun)
    later.poll()
    release.set()
    former.wait()
    later.wait()

    assert ([], ["handler"], []) == (calls, effects(memory), former.errors)


def test_a_leftover_that_is_repeated_is_handled_once(
    memory: MemoryStorage, make_life: MakeLife
) -> None:
    """A webhook that repeats an update that was just taken over brings no second call."""
    former, later = make_life(memory), make_life(memory)
    calls, release, update = list[str](), threading.Event(), text_update("1")

    @later.bot.message_handler()
    def handle(message: Any) -> None:
        calls.append(message.text)
        wait_for(release)

    in_thread(former.pool.close)
    former.receive(update)
    later.receive(text_update("2"))
    later.receive(update)
    release.set()
    later.wait()

    assert (["1", "2"], []) == (calls, records(memory))


def test_an_update_whose_hand_over_raised_is_no_leftover(
    memory: MemoryStorage, make_life: MakeLife, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Handed over when it comes again, it counts no process that was killed."""
    life, update, seen = make_life(memory), text_update("tea"), list[Any]()
    life.bot.register_message_handler(lambda message: seen.extend(records(memory)))

    def refuse(*_: Any) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(life.pool, "take", refuse)
    with pytest.raises(RuntimeError):
        life.receive(update)
    monkeypatch.undo()
    life.receive(update)
    life.wait()

    assert [None] == [fields.get("begun") for fields in seen]


def test_the_lock_of_a_process_is_renewed(memory: MemoryStorage, make_life: MakeLife) -> None:
    """Every half lease a process sees that it still has its lock."""
    memory.lease = 0.01
    life, renewed = make_life(memory), threading.Event()
    intake: Any = life.pool.intake
    intake._owner.renew = renewed.set
    life.receive(text_update("tea"))

    assert renewed.wait(PATIENCE)


class RefusalError(Exception):
    """Raised by the step."""


def test_the_update_of_a_step_that_raised_ends_after_the_bot_was_told(
    memory: MemoryStorage, make_life: MakeLife, bot_api: BotAPI
) -> None:
    """While `on_error` runs, the update is stored, although the question was written again."""
    told: list[tuple[type[Exception], int]] = []

    def on_error(_: Any, error: Exception) -> None:
        told.append((type(error), len(records(memory))))

    life = make_life(memory, workers={"on_error": on_error})
    sessions: Sessions[Any] = Sessions(storage=memory)

    def take(message: Any) -> None:
        raise RefusalError

    use_questions(life.bot, sessions, steps=[take])

    @life.bot.message_handler()
    @sessions.with_session
    def handle(message: Any, session: Session) -> None:
        ask(life.bot, message, "How many?", take, timeout=60)

    for text in ("tea", "two"):
        send(bot_api, text)
        life.run()

    assert ([(RefusalError, 1)], []) == (told, records(memory))
