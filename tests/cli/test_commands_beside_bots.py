"""The installed command beside a bot under load: each update is counted."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from support.command import finish, installed_script, start
from support.copies import NEW, OLD
from support.processes import LocksAlone, run_program
from support.updates import message_from
from telesession import EncryptedCodec, JSONCodec, Session, Sessions, Storage
from telesession.cli.address import opened

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

USERS = range(1, 5)
THREADS = 3
# Keys of records beside those of the users.
OTHERS = range(100, 150)

APP = """
import os
from telesession import Sessions
from telesession.cli.address import opened
from telesession.cli.codec import codec_from

def rename(fields):
    fields["updates"] = fields.pop("count", 0)

opening = opened(os.environ["TELESESSION_STORAGE"], codec_from(os.environ))
sessions = Sessions(storage=opening.__enter__(), version=1, migrations={1: rename})
"""
READING = [
    ["keys"],
    ["stats"],
    ["export"],
    ["doctor"],
    ["migrate", "--app", "app:sessions", "--dry-run"],
]


class Bot:
    """A bot whose threads count the updates of a few users without a pause."""

    def __init__(self, storage: Storage) -> None:
        self._handler = Sessions(storage=storage).with_session(count)
        self._has_begun = threading.Event()
        self._is_stopped = threading.Event()
        #: user -> the number of the updates that were handled
        self.handled = dict.fromkeys(USERS, 0)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Handle updates until the block is left."""
        with ThreadPoolExecutor(THREADS) as pool:
            works = [pool.submit(self._work) for _ in range(THREADS)]
            try:
                self._has_begun.wait(30)
                yield
            finally:
                self._is_stopped.set()
            for each in [work.result() for work in works]:
                for user, updates in each.items():
                    self.handled[user] += updates

    def _work(self) -> dict[int, int]:
        updates = dict.fromkeys(USERS, 0)
        while not self._is_stopped.is_set():
            for user in USERS:
                self._handler(message_from(user))
                updates[user] += 1
            self._has_begun.set()
        return updates


def count(message: object, session: Session) -> None:
    session.count = session.get("count", 0) + 1


def counts(storage: Storage) -> dict[int, int]:
    """The stored count of each user."""
    found = {user: Sessions(storage=storage).peek(user) for user in USERS}
    return {user: (session or {"count": 0})["count"] for user, session in found.items()}


def command(*arguments: object) -> int:
    """The exit code of the installed command."""
    return run_program([str(installed_script()), *map(str, arguments)])[0]


def other(url: str, name: str) -> str:
    """The URL of another storage, in the same folder or on the same server."""
    if url.startswith("sqlite:"):
        return url.replace("bot.db", f"{name}.db")
    if url.startswith("postgresql:"):
        return f"{url}?table={name}"
    return f"{url}{'&' if '?' in url else '?'}prefix={name}:"


@pytest.fixture
def codec(monkeypatch: pytest.MonkeyPatch) -> EncryptedCodec:
    """The codec of the bot and of the command, with a key that is being taken out of use."""
    monkeypatch.setenv("TELESESSION_CODEC", "encrypted")
    monkeypatch.setenv("TELESESSION_KEYS", f"{NEW.decode()} {OLD.decode()}")
    return EncryptedCodec(JSONCodec(), [NEW, OLD])


@pytest.fixture
def encrypted(storage: Storage, codec: EncryptedCodec) -> Storage:
    """The storage with records under the old key."""
    storage.codec = EncryptedCodec(JSONCodec(), [OLD])
    for key in OTHERS:
        with Sessions(storage=storage, lifetime=3600).open(key) as session:
            session.name = "ada"
    storage.codec = codec
    return storage


class TestCounts:
    def test_commands_that_read(
        self, encrypted: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Each update is counted beside commands that read all records."""
        (tmp_path / "app.py").write_text(APP)
        monkeypatch.chdir(tmp_path)
        bot = Bot(encrypted)
        with bot.running():
            codes = [command(*arguments) for arguments in READING]
        # `doctor` finds that the servers of the tests have no persistence.
        assert {0, 3} >= {codes.pop(READING.index(["doctor"]))}
        assert ([0] * len(codes), bot.handled) == (codes, counts(encrypted))

    def test_other_keys(
        self, encrypted: Storage, url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Each update is counted while all records get another key, and then their former one."""
        keys = [each.decode() for each in (OLD, NEW)]
        monkeypatch.setenv("TELESESSION_TARGET_CODEC", "encrypted")
        bot, codes = Bot(encrypted), []
        with bot.running():
            for some in (keys, keys[::-1], keys):
                monkeypatch.setenv("TELESESSION_TARGET_KEYS", " ".join(some))
                codes.append(command("rekey"))
        assert ([0, 0, 0], bot.handled) == (codes, counts(encrypted))

    def test_copies(self, encrypted: Storage, url: str, codec: EncryptedCodec) -> None:
        """Each update is counted during copies, and a copy after the last update has them all."""
        arguments = ["copy", url, other(url, "copy"), "--overwrite", "--yes"]
        bot = Bot(encrypted)
        with bot.running():
            codes = [command(*arguments) for _ in range(2)]
        codes.append(command(*arguments))
        assert ([0, 0, 0], bot.handled) == (codes, counts(encrypted))
        with opened(other(url, "copy"), codec) as copied:
            assert bot.handled == counts(copied)
            assert len(USERS) + len(OTHERS) == len(list(copied.keys()))

    def test_a_copy_into_a_running_bot(
        self, encrypted: Storage, url: str, codec: EncryptedCodec
    ) -> None:
        """Each update of a bot is counted while the records of another storage come to it."""
        source = other(url, "source")
        with opened(source, codec, may_create=True) as storage:
            for user in USERS:
                with Sessions(storage=storage).open(user) as session:
                    session.count = 0
        bot = Bot(encrypted)
        with bot.running():
            codes = [command("copy", source, url) for _ in range(2)]
        # The bot has other records of its users, and they are kept.
        assert ([3, 3], bot.handled) == (codes, counts(encrypted))

    def test_a_file(self, file_storage: Storage, tmp_path: Path) -> None:
        """Each update is counted during a backup and a purge, and the backup is complete."""
        for key in range(3000):
            file_storage.set(f"expired {key}", b"{}", 1e-9)
        bot = Bot(file_storage)
        with bot.running():
            codes = [command("backup", tmp_path / "backup.db"), command("purge")]
        assert ([0, 0], bot.handled) == (codes, counts(file_storage))
        with opened(f"sqlite:///{tmp_path}/backup.db", JSONCodec()) as restored:
            assert all(1 <= counts(restored)[user] <= bot.handled[user] for user in USERS)


class TestLocks:
    def change_in_a_handler(self, storage: Storage) -> tuple[int, Session | None]:
        """The exit code of a change while a handler has the session, and the session later."""
        sessions: Sessions[Session] = Sessions(storage=storage)
        with sessions.open(1) as session:
            session.count = 1
        with sessions.open(1) as session:
            ran = finish(start("set", "1", "note", "1", "--wait", "0"))
            session.count += 1
        return ran.code, sessions.peek(1)

    def test_a_change_waits_for_the_handler(self, storage: Storage) -> None:
        """A command that does not wait for the handler changes nothing, and says so."""
        assert (1, {"count": 2}) == self.change_in_a_handler(storage)

    def test_without_locks_a_change_is_lost(
        self, storage: Storage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The control: with locks of the bot's process alone, the handler undoes the change."""
        for method in ("hold", "commit"):
            monkeypatch.setattr(type(storage), method, getattr(LocksAlone, method))
        assert (0, {"count": 2}) == self.change_in_a_handler(storage)
