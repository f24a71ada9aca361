"""Sessions outside a handler: `open`, `peek`, `delete` and `keys`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from support.sessions import fail_in
from support.updates import ANNA, message_of
from telesession import MemoryStorage, Session, Sessions, save, session_key, ttl

if TYPE_CHECKING:
    from freezegun.api import FrozenDateTimeFactory
    from telebot import types

pytestmark = pytest.mark.usefixtures("frozen_module")


def test_open_and_a_handler_see_one_session(storage: MemoryStorage) -> None:
    """Outside a handler `sessions.open(key)` gives the session that handlers get."""
    sessions = Sessions(initial={"counter": 0}, storage=storage)

    @sessions.with_session
    def handler(message: types.Message, session: Session) -> int:
        session.counter += 1
        return int(session.counter)

    handler(message_of(ANNA))
    with sessions.open(ANNA["id"]) as session:
        session.counter += 10
    with sessions.open(str(ANNA["id"])) as session:
        session.counter += 100
    assert 112 == handler(message_of(ANNA))


def test_open_takes_the_update_that_initial_wants(storage: MemoryStorage) -> None:
    """`open(key, update=...)` is for an `initial` that wants the update."""
    sessions = Sessions(initial=lambda message: {"name": message.chat.id}, storage=storage)
    with sessions.open(1, update=message_of(ANNA)) as session:
        assert ANNA["id"] == session.name


def test_open_without_the_update_that_initial_wants_is_refused(storage: MemoryStorage) -> None:
    """An `initial` that wants the update cannot do without; a stored session can."""
    sessions = Sessions(initial=lambda message: {"name": message}, storage=storage, lock_timeout=0)
    for _ in range(2):
        with pytest.raises(TypeError, match=r"pass it as Sessions\.open"):
            sessions.open(1).__enter__()
    with sessions.open(1, update="Anna"):
        pass
    with sessions.open(1) as session:
        assert "Anna" == session.name


@pytest.mark.parametrize("key", [None, "", 1.5, b"a", True, ("a",)], ids=repr)
def test_other_keys_are_refused(sessions: Sessions[Session], key: Any) -> None:
    """The key of a session is a non-empty `str` or an `int`, wherever it is given."""
    for use in (sessions.open, sessions.peek, sessions.delete):
        with pytest.raises(TypeError, match="key of a session is a non-empty str or an int"):
            use(key)


def test_open_of_another_key_inside_a_handler_is_part_of_the_handler(
    storage: MemoryStorage,
) -> None:
    """A handler may open the session of another user; both are saved, or none if it raises."""
    sessions = Sessions(initial={"counter": 0}, storage=storage)

    def change(mine: Session) -> None:
        mine.counter += 10
        with sessions.open(2) as theirs:
            theirs.counter += 1

    with pytest.raises(ZeroDivisionError):
        fail_in(sessions, 1, change)
    assert (None, None) == (sessions.peek(1), sessions.peek(2))

    with sessions.open(1) as session:
        change(session)
    assert ({"counter": 10}, {"counter": 1}) == (sessions.peek(1), sessions.peek(2))


def test_a_prefix_keeps_purposes_apart(storage: MemoryStorage) -> None:
    """Sessions with different prefixes share a storage and nothing else."""
    shop, game = (Sessions(storage=storage, prefix=prefix) for prefix in ("shop-", "game-"))
    for sessions in (shop, game):
        with sessions.open(1) as session:
            session.update(prefix=session_key(session))
    assert (["1"], ["1"]) == (list(shop.keys()), list(game.keys()))
    assert (["game-1", "shop-1"], {"prefix": "1"}) == (sorted(storage.keys()), shop.peek(1))
    assert (True, False, None, {"prefix": "1"}) == (
        shop.delete(1),
        shop.delete(1),
        shop.peek(1),
        game.peek(1),
    )


def test_keys_are_those_of_stored_sessions(
    clock: FrozenDateTimeFactory, storage: MemoryStorage
) -> None:
    """`keys` iterates over the stored sessions, without the prefix, and not over expired ones."""
    brief = Sessions(initial={"a": 1}, storage=storage, prefix="p", lifetime=10)
    lasting = Sessions(initial={"a": 1}, storage=storage, prefix="p")
    for sessions, key in ((brief, "brief"), (lasting, "p"), (lasting, 1)):
        with sessions.open(key):
            before = sorted(lasting.keys())
    clock.tick(10)
    assert (["brief", "p"], ["1", "p"]) == (before, sorted(lasting.keys()))


def test_peek_reads_what_was_saved(clock: FrozenDateTimeFactory, storage: MemoryStorage) -> None:
    """`peek(key)` has the live fields, or is `None`, and creates and renews nothing."""
    sessions = Sessions(initial={"a": [1], "code": ttl("1234", 10)}, storage=storage, lifetime=20)
    unknown, keys = sessions.peek(1), list(sessions.keys())
    with sessions.open(1):
        during = sessions.peek(1)
    peeked = sessions.peek(1)
    assert (None, [], None, {"a": [1], "code": "1234"}) == (unknown, keys, during, peeked)
    clock.tick(10)
    assert {"a": [1]} == sessions.peek(1)
    clock.tick(10)
    assert None is sessions.peek(1)


def test_peek_gives_a_dict_of_its_own(sessions: Sessions[Session]) -> None:
    """What a caller does to a peeked dict reaches no session."""
    with sessions.open(1) as session:
        session.log = ["a"]
    peeked = sessions.peek(1)
    assert peeked is not None
    peeked["log"].append("b")
    assert {"log": ["a"]} == sessions.peek(1)


def test_peek_inside_a_handler_shows_the_last_save(sessions: Sessions[Session]) -> None:
    """`peek` inside the handler that has the session shows what was saved, and takes no lock."""
    with sessions.open(1) as session:
        session.a = 1
        save(session)
        session.a = 2
        assert {"a": 1} == sessions.peek(1)
    assert {"a": 2} == sessions.peek(1)


def test_delete_inside_a_handler_is_forget(sessions: Sessions[Session]) -> None:
    """Inside a handler that has this very session, `delete` happens when the handler returns."""
    with sessions.open(1) as session:
        session.a = 1
    with sessions.open(1) as session:
        deleted, still = sessions.delete(1), sessions.peek(1)
        session.a = 2
    assert (True, {"a": 1}, None) == (deleted, still, sessions.peek(1))


def test_delete_inside_a_handler_that_raises_is_undone(sessions: Sessions[Session]) -> None:
    """If the handler raises, the record stays."""
    with sessions.open(1) as session:
        session.a = 1
    with pytest.raises(ZeroDivisionError):
        fail_in(sessions, 1, lambda session: sessions.delete(1))
    assert {"a": 1} == sessions.peek(1)


def test_delete_inside_the_first_handler_finds_nothing(sessions: Sessions[Session]) -> None:
    """A session that was never stored is not there to be deleted, and is not stored then."""
    with sessions.open(1) as session:
        session.a = 1
        assert False is sessions.delete(1)
    assert None is sessions.peek(1)


def test_delete_of_another_session_inside_a_handler_waits_for_its_return(
    sessions: Sessions[Session],
) -> None:
    """A handler may delete the session of another user, which is gone when the handler returns."""
    with sessions.open(2) as session:
        session.a = 1
    with sessions.open(1) as session:
        session.a = 1
        assert (True, {"a": 1}) == (sessions.delete(2), sessions.peek(2))
    assert ({"a": 1}, None) == (sessions.peek(1), sessions.peek(2))


def test_keys_inside_a_handler_are_those_stored_so_far(sessions: Sessions[Session]) -> None:
    """The session of a handler is listed once it has been saved."""
    with sessions.open(1) as session:
        session.a = 1
        before = list(sessions.keys())
        save(session)
        assert ([], ["1"]) == (before, list(sessions.keys()))
