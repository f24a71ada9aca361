"""The option `on_unreadable`: raise, or set a record aside and begin anew."""

from __future__ import annotations

import logging
import signal
import subprocess
import sys
import textwrap
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from support.clocks import PATIENCE
from support.sessions import set_fields
from support.storages import SECRET, SpyOfFiveMethods, is_free, payloads
from telesession import (
    DecodeError,
    MemoryStorage,
    RedisStorage,
    Session,
    SessionError,
    Sessions,
    SQLiteStorage,
    Storage,
    StorageError,
    by_chat,
    with_session,
)
from telesession.sessions import kind_of

if TYPE_CHECKING:
    from pathlib import Path

    from support.servers import Cluster

DAMAGED = f"\x80\x05{SECRET}".encode("latin-1")


def always(_key: str, _error: DecodeError) -> bool:
    """Set every record aside."""
    return True


@dataclass
class Cart:
    count: int = 0


def store_newer(storage: Storage) -> Sessions[Any]:
    set_fields(Sessions(storage=storage, version=1, migrations={1: dict}), text=SECRET)
    return Sessions(storage=storage, on_unreadable=always, initial={"new": True})


def store_damaged(storage: Storage) -> Sessions[Any]:
    storage.set("1", DAMAGED)
    return Sessions(storage=storage, on_unreadable=always, initial={"new": True})


def store_unfit(storage: Storage) -> Sessions[Any]:
    set_fields(Sessions(storage=storage), count=SECRET)
    return Sessions(storage=storage, on_unreadable=always, initial=Cart)


every_reason = pytest.mark.parametrize(
    "store", [store_damaged, store_newer, store_unfit], ids=lambda store: store.__name__
)


class TestSetAside:
    """A record that is set aside keeps its bytes under a key of its own."""

    @every_reason
    def test_the_record_moves_and_the_session_begins_anew(
        self, store: Any, moved_storage: Storage, caplog: pytest.LogCaptureFixture
    ) -> None:
        """On every storage and with every codec the payload is kept, and one record is logged."""
        sessions = store(moved_storage)
        before = moved_storage.get("1")

        with sessions.open("1") as session:
            fields = dict(session) if isinstance(session, dict) else vars(session).copy()

        assert fields in ({"new": True}, {"count": 0})
        assert before == moved_storage.get("@set-aside:1:1")
        assert {"1", "@set-aside:1:1"} == set(moved_storage.keys())
        assert ["1"] == list(sessions.keys())
        assert [True, True] == [is_free(moved_storage, key) for key in ("1", "@set-aside:1:1")]
        (record,) = caplog.records
        assert ("telesession", logging.ERROR) == (record.name, record.levelno)
        assert "set the record of session '1' aside as '@set-aside:1:1'" in record.getMessage()
        assert SECRET not in record.getMessage()

    def test_tools_see_them_by_their_prefix(self, moved_storage: Storage) -> None:
        """All records of all rooms that were set aside have keys that begin alike."""
        for prefix in ("", "shop:"):
            moved_storage.set(f"{prefix}1", DAMAGED)
            sessions = Sessions(storage=moved_storage, prefix=prefix, on_unreadable=always)
            set_fields(sessions, "1", count=1)
        assert {"@set-aside:1:1", "@set-aside:1:shop:1"} == set(moved_storage.keys("@set-aside:"))

    def test_no_record_replaces_another(self, moved_storage: Storage) -> None:
        """A second unreadable record of one key gets the next number."""
        sessions = Sessions(storage=moved_storage, on_unreadable=always)
        for number in (1, 2, 3):
            moved_storage.set("1", DAMAGED + bytes([number]))
            with sessions.open("1"):
                pass
        kept = [moved_storage.get(f"@set-aside:{number}:1") for number in (1, 2, 3)]
        assert [DAMAGED + bytes([number]) for number in (1, 2, 3)] == kept

    def test_no_key_of_a_user_reaches_them(self) -> None:
        """A key that looks like that of a record aside lies in the room of its sessions."""
        storage = MemoryStorage()
        set_fields(Sessions(storage=storage), "@set-aside:1:1", text="ada")
        assert ["@@set-aside:1:1"] == list(storage.keys())

    def test_it_stays_aside_if_the_handler_raises(self, moved_storage: Storage) -> None:
        """The move is done when the handler begins, so the next update finds no record."""
        moved_storage.set("1", DAMAGED)
        told: list[str] = []
        sessions = Sessions(
            storage=moved_storage, on_unreadable=lambda key, error: told.append(key) or True
        )
        with pytest.raises(ZeroDivisionError), sessions.open("1"):
            raise ZeroDivisionError
        set_fields(sessions, "1", count=1)
        assert ["1"] == told
        assert {"1", "@set-aside:1:1"} == set(moved_storage.keys())

    def test_create_false_makes_no_session(self, moved_storage: Storage) -> None:
        """With `create=False` there is no session after the record was set aside."""
        moved_storage.set("1", DAMAGED)
        sessions = Sessions(storage=moved_storage, on_unreadable=always)
        with pytest.raises(KeyError), sessions.open("1", create=False):
            pass
        assert ["@set-aside:1:1"] == list(moved_storage.keys())

    def test_a_block_inside_a_handler_sets_aside(self, moved_storage: Storage) -> None:
        """A session that a handler opens inside begins anew and is saved with the others."""
        moved_storage.set("2", DAMAGED)
        sessions = Sessions(storage=moved_storage, on_unreadable=always)
        with sessions.open("1") as outer:
            with sessions.open("2") as inner:
                inner.count = 1
            with sessions.open("2") as inner:
                inner.count += 1
            outer.count = inner.count
        assert [{"count": 2}] * 2 == [sessions.peek("1"), sessions.peek("2")]

    def test_a_handler_is_called_as_for_a_new_user(self) -> None:
        """A decorated handler notices nothing but a new session."""
        storage = MemoryStorage()
        storage.set("1", DAMAGED)
        counts = []

        @with_session(
            storage=storage,
            get_storage_key=lambda update: update,
            initial={"count": 0},
            on_unreadable=always,
        )
        def handler(update: str, session: Session) -> None:
            session.count += 1
            counts.append(session.count)

        handler("1")
        handler("1")
        assert [1, 2] == counts

    def test_threads_set_one_record_aside_once(self) -> None:
        """The record moves under its lock, so of several handlers one finds it."""
        storage = MemoryStorage()
        storage.set("1", DAMAGED)
        start, told = threading.Barrier(8), []
        sessions = Sessions(
            storage=storage,
            initial={"count": 0},
            on_unreadable=lambda key, error: told.append(key) or True,
        )

        def count(_: int) -> None:
            start.wait(PATIENCE)
            with sessions.open("1") as session:
                session.count += 1

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(count, range(8)))
        assert (["1"], {"count": 8}) == (told, sessions.peek("1"))

    @pytest.mark.parametrize("damaged", [-100, -1001], ids=["old key", "new key"])
    def test_a_group_that_becomes_a_supergroup_begins_anew(
        self, damaged: int, moved_storage: Storage
    ) -> None:
        """A record that keeps a session from moving to its new key is set aside, too."""
        sessions = Sessions(storage=moved_storage, get_storage_key=by_chat, on_unreadable=always)
        set_fields(sessions, "chat:-100", count=1)
        moved_storage.set(f"chat:{damaged}", DAMAGED)
        kind_of(sessions).follow_group(-100, -1001)

        set_fields(sessions, "chat:-1001", other=2)

        kept = {} if damaged == -100 else {"count": 1}
        assert {**kept, "other": 2} == sessions.peek("chat:-1001")
        assert DAMAGED == moved_storage.get(f"@set-aside:1:chat:{damaged}")

    def test_a_cluster_keeps_the_record(self, cluster: Cluster) -> None:
        """In a cluster, where the two keys are in different slots, the record is not lost."""
        with cluster.client() as client:
            storage = RedisStorage(client)
            storage.set("1", DAMAGED)
            set_fields(Sessions(storage=storage, on_unreadable=always), count=1)
            assert DAMAGED == storage.get("@set-aside:1:1")
            assert {"1", "@set-aside:1:1"} == set(storage.keys())


class TestRaise:
    """By default, and without a true result, the error is raised and the record stays."""

    @pytest.mark.parametrize("result", [None, False, 0])
    @every_reason
    def test_without_a_true_result_the_record_stays(
        self,
        store: Any,
        result: Any,
        moved_storage: Storage,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        """The error is raised as by default, with the record untouched, and is logged."""
        sessions = store(moved_storage)
        sessions._kind.on_unreadable = lambda key, error: result
        before = payloads(moved_storage)

        with pytest.raises(DecodeError) as caught, sessions.open("1"):
            pass

        assert before == payloads(moved_storage)
        text = f"unreadable record: {caught.value}"
        assert [text] == [record.getMessage() for record in caplog.records]
        assert is_free(moved_storage, "1")

    def test_the_callback_gets_the_key_and_the_error(self) -> None:
        """The key is the one that `open` takes, also in a room, and the error tells the reason."""
        storage, told = MemoryStorage(), []
        storage.set("@cart:1", DAMAGED)
        sessions = Sessions(
            storage=storage, name="cart", on_unreadable=lambda *given: told.append(given)
        )
        with pytest.raises(DecodeError) as caught, sessions.open("1"):
            pass
        assert [("1", caught.value)] == told
        assert "1" == caught.value.key

    def test_a_callback_that_raises_leaves_the_record(self, moved_storage: Storage) -> None:
        """An exception of the callback is the cause of a `SessionError`, and nothing moves."""

        def fail(key: str, error: DecodeError) -> bool:
            raise ValueError(SECRET)

        moved_storage.set("1", DAMAGED)
        sessions = Sessions(storage=moved_storage, on_unreadable=fail)
        with pytest.raises(SessionError, match="on_unreadable raised ValueError") as caught:
            set_fields(sessions, count=1)
        assert isinstance(caught.value.__cause__, ValueError)
        assert SECRET not in str(caught.value)
        assert {"1": DAMAGED} == payloads(moved_storage)

    def test_peek_and_items_do_not_ask(self) -> None:
        """Looking from outside moves nothing: both raise as by default."""
        storage = MemoryStorage()
        storage.set("1", DAMAGED)
        sessions = Sessions(storage=storage, on_unreadable=always)
        with pytest.raises(DecodeError):
            sessions.peek("1")
        with pytest.raises(ExceptionGroup):
            list(sessions.items())
        assert {"1": DAMAGED} == payloads(storage)

    def test_a_record_that_is_not_stored_yet_is_not_set_aside(self) -> None:
        """Fields that a handler has just written and that fit no dataclass are an error."""
        storage = MemoryStorage()
        plain = Sessions(storage=storage)
        typed = Sessions(storage=storage, initial=Cart, on_unreadable=always)
        with plain.open("2"):
            with plain.open("1") as session:
                session.count = SECRET
            # The session is noted and set down before the other kind reads it.
            plain.delete("1")
            with plain.open("1") as session:
                session.count = SECRET
            with pytest.raises(DecodeError), typed.open("1"):
                pass
        assert {"count": SECRET} == plain.peek("1")
        assert ["1"] == list(storage.keys())

    @pytest.mark.parametrize("value", [True, "yes", lambda: True], ids=["bool", "str", "no args"])
    def test_a_bad_callback_is_refused_at_construction(self, value: Any) -> None:
        """A value that cannot be called with a key and an error raises, naming the option."""
        with pytest.raises(TypeError, match="on_unreadable"):
            Sessions(storage=MemoryStorage(), on_unreadable=value)


class TestFailures:
    """No failure in between loses the record."""

    @pytest.mark.parametrize("failing", ["set", "delete"])
    def test_a_storage_that_fails_in_between_has_the_record(self, failing: str) -> None:
        """A storage without transactions has the record under one key or under both."""
        storage = SpyOfFiveMethods()
        storage.set("1", DAMAGED)
        storage.fail(failing)
        sessions = Sessions(storage=storage, on_unreadable=always)
        with pytest.raises(StorageError):
            set_fields(sessions, count=1)
        assert DAMAGED in payloads(storage).values()
        assert {"1"} == set(payloads(storage)) - {"@set-aside:1:1"}

    @pytest.mark.parametrize("moment", ["callback", "handler"])
    def test_a_killed_process_loses_no_record(self, moment: str, tmp_path: Path) -> None:
        """SIGKILL before the move leaves the record in its place, and after it aside."""
        path = tmp_path / "bot.db"
        with SQLiteStorage(path) as storage:
            storage.set("1", DAMAGED)
        program = textwrap.dedent(
            f"""
            import os, signal
            from telesession import Sessions, SQLiteStorage

            def die(moment):
                if moment == {moment!r}:
                    os.kill(os.getpid(), signal.SIGKILL)
                return True

            storage = SQLiteStorage({str(path)!r})
            sessions = Sessions(storage=storage, on_unreadable=lambda *_: die("callback"))
            with sessions.open("1") as session:
                session.count = 1
                die("handler")
            """
        )
        ran = subprocess.run([sys.executable, "-c", program], check=False, timeout=PATIENCE)

        assert -signal.SIGKILL == ran.returncode
        place = "1" if moment == "callback" else "@set-aside:1:1"
        with SQLiteStorage(path) as storage:
            assert {place: DAMAGED} == payloads(storage)
            set_fields(Sessions(storage=storage, on_unreadable=always), count=2)
            assert DAMAGED == storage.get("@set-aside:1:1")
