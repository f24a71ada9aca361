"""The examples that bring a storage: two caches, and one with a file for each session."""

from __future__ import annotations

import resource
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from support.bots import Stage, Terminal, end_workers, exceptions_in, load, on_stage
from support.clocks import MICROSECOND, PATIENCE
from support.threads import OtherThread
from telesession import StorageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from freezegun.api import FrozenDateTimeFactory

    from telesession.testing import BotAPI


pytestmark = pytest.mark.usefixtures("fresh_process")


class TestBounded:
    example = "bounded"

    def test_kept_lines_become_notes(self, stage: Stage) -> None:
        """Lines move from the scratch pad to the notes, and notes add up."""
        assert ["1 on the scratch pad"] == stage.say(1, "milk")
        assert ["2 on the scratch pad"] == stage.say(1, "tea")
        assert ["there are no notes"] == stage.say(1, "/notes")
        assert ["kept: 2"] == stage.say(1, "/keep")
        assert ["milk\ntea"] == stage.say(1, "/notes")
        assert ["1 on the scratch pad"] == stage.say(1, "jam")
        assert ["kept: 1"] == stage.say(1, "/keep")
        assert ["milk\ntea\njam"] == stage.say(1, "/notes")

    def test_the_scratch_pad_is_dropped_by_age(
        self, frozen_time: FrozenDateTimeFactory, stage: Stage
    ) -> None:
        """A TTLCache drops a pad ten minutes after its last line, and the notes stay."""
        stage.say(1, "milk")
        stage.say(1, "/keep")
        stage.say(1, "tea")
        frozen_time.tick(600 - MICROSECOND)
        assert ["2 on the scratch pad"] == stage.say(1, "jam")
        frozen_time.tick(600)
        assert ["1 on the scratch pad"] == stage.say(1, "ham")
        assert ["milk"] == stage.say(1, "/notes")

    def test_the_notes_are_bounded_by_bytes(self, stage: Stage) -> None:
        """An LRUCache by bytes drops the notes that were used least recently, and no others."""
        for user in (1, 2):
            stage.say(user, "milk")
            stage.say(user, "/keep")
        for key in range(100, 115):
            fill(stage, key)
        assert ["milk"] == stage.say(1, "/notes")
        fill(stage, 115)
        assert ["there are no notes"] == stage.say(2, "/notes")
        assert ["milk"] == stage.say(1, "/notes")

    def test_notebooks_are_apart(self, stage: Stage) -> None:
        """Two users have two pads and two notebooks."""
        stage.say(1, "milk")
        assert ["1 on the scratch pad"] == stage.say(2, "tea")
        stage.say(1, "/keep")
        assert ["there are no notes"] == stage.say(2, "/notes")
        assert ["milk"] == stage.say(1, "/notes")


def fill(stage: Stage, key: int) -> None:
    """Write 4 MiB into a notebook."""
    with stage.module.notes.open(key) as notebook:
        notebook.lines.append("x" * 2**22)


class TestCustomStorage:
    example = "custom_storage"

    @pytest.fixture
    def storage(self, tmp_path: Path) -> Any:
        module = load("custom_storage")
        del sys.modules[module.__name__]
        end_workers(module.bot)
        return module.FileStorage(tmp_path / "records")

    def test_tasks_are_added_and_crossed_off(self, stage: Stage) -> None:
        """The list is kept from message to message; a wrong number changes nothing."""
        assert ["1. milk"] == stage.say(1, "milk")
        assert ["1. milk\n2. tea"] == stage.say(1, "tea")
        assert ["1. milk\n2. tea"] == stage.say(1, "/done 3")
        assert ["1. milk\n2. tea"] == stage.say(1, "/done")
        assert ["1. tea"] == stage.say(1, "/done 1")
        assert ["nothing to do"] == stage.say(1, "/done 1")

    def test_lists_are_apart(self, stage: Stage) -> None:
        """Two users have two lists."""
        stage.say(1, "milk")
        assert ["1. tea"] == stage.say(2, "tea")
        assert ["1. milk\n2. jam"] == stage.say(1, "jam")

    def test_the_list_outlives_the_process(self, tmp_path: Path) -> None:
        """A second process in the same directory finds what the first one saved."""
        for line, expected in [("milk\n", "1. milk\n"), ("tea\n", "1. milk\n2. tea\n")]:
            assert (expected, "", 0) == Terminal("custom_storage", line, tmp_path).result()

    def test_the_list_outlives_the_bot_but_not_its_lifetime(
        self, frozen_time: FrozenDateTimeFactory, bot_api: BotAPI
    ) -> None:
        """The lifetime goes on over a restart, and every use renews it."""
        month = 30 * 24 * 3600
        answers = []
        for line, days in [("milk", 29), ("/done", 29), ("tea", 30), ("jam", 0)]:
            with on_stage("custom_storage", bot_api) as stage:
                answers += stage.say(1, line)
            frozen_time.tick(days * month / 30)
        assert ["1. milk", "1. milk", "1. milk\n2. tea", "1. jam"] == answers

    def test_no_write_of_many_users_is_lost(self, stage: Stage) -> None:
        """Messages of three users that arrive together are all in the lists."""
        for number in range(5):
            for user in (1, 2, 3):
                stage.user(user).send(str(number))
        stage.polling.wait_idle(PATIENCE)
        lists = [sorted(stage.module.sessions.peek(user)["tasks"]) for user in (1, 2, 3)]
        assert [["0", "1", "2", "3", "4"]] * 3 == lists

    KEYS = (
        "42",
        "chat:-100",
        "",
        ".",
        "../42",
        "a/b",
        "A",
        "a",
        "%41",
        "é\n",
        "\ud800",
        "x" * 9999,
    )

    def test_any_string_is_a_key(self, storage: Any) -> None:
        """Keys of any characters and length are told apart, found, listed and deleted."""
        for key in self.KEYS:
            storage.set(key, repr(key).encode())
        assert [repr(key).encode() for key in self.KEYS] == [storage.get(key) for key in self.KEYS]
        assert sorted(self.KEYS) == sorted(storage.keys())
        assert ["A"] == list(storage.keys("A"))
        assert [True] * len(self.KEYS) == [storage.delete(key) for key in self.KEYS]
        assert [False] * len(self.KEYS) == [storage.delete(key) for key in self.KEYS]
        assert [] == list(storage.keys())

    def test_lifetimes_are_kept(self, storage: Any, frozen_time: FrozenDateTimeFactory) -> None:
        """A record is there a microsecond before its lifetime is over, and gone when it is."""
        storage.set("42", b"payload", 10)
        storage.set("43", b"payload")
        frozen_time.tick(10 - MICROSECOND)
        assert (b"payload", True) == (storage.get("42"), storage.touch("42", 10))
        frozen_time.tick(10)
        assert (None, False, False) == (
            storage.get("42"),
            storage.touch("42", 10),
            storage.delete("42"),
        )
        assert [b"payload", ["43"]] == [storage.get("43"), list(storage.keys())]

    def test_touch_gives_and_takes_lifetimes(
        self, storage: Any, frozen_time: FrozenDateTimeFactory
    ) -> None:
        """`touch` gives a lifetime and takes it away, and leaves the payload alone."""
        storage.set("given", b"payload")
        storage.set("taken", b"payload", 10)
        assert [True, True, False] == [
            storage.touch("given", 10),
            storage.touch("taken", None),
            storage.touch("missing", 10),
        ]
        frozen_time.tick(10)
        assert [None, b"payload"] == [storage.get("given"), storage.get("taken")]

    def test_a_failed_write_leaves_the_old_record(self, storage: Any, tmp_path: Path) -> None:
        """A write that fails halfway is a `StorageError`, and the old record is still whole."""
        storage.set("42", b"old")
        before = sorted(path.name for path in (tmp_path / "records").iterdir())
        with files_of_at_most(2**16), pytest.raises(StorageError) as caught:
            storage.set("42", b"x" * 2**17)
        assert ("write", "42", OSError) == (
            caught.value.action,
            caught.value.key,
            type(caught.value.__cause__),
        )
        assert b"old" == storage.get("42")
        assert before == sorted(path.name for path in (tmp_path / "records").iterdir())

    def test_a_failed_write_reaches_nobody(
        self, stage: Stage, caplog: pytest.LogCaptureFixture
    ) -> None:
        """A handler whose session cannot be written raises, and the old list stays."""
        stage.say(1, "milk")
        Path("sessions").rename("elsewhere")
        stage.say(1, "tea")
        Path("elsewhere").rename("sessions")
        assert [StorageError] == exceptions_in(caplog)
        assert ["1. milk\n2. jam"] == stage.say(1, "jam")

    @pytest.mark.parametrize(
        "action",
        [
            lambda storage: storage.get("42"),
            lambda storage: storage.set("42", b"payload"),
            lambda storage: list(storage.keys()),
        ],
        ids=["get", "set", "keys"],
    )
    def test_a_lost_directory_is_no_new_user(
        self, storage: Any, tmp_path: Path, action: Any
    ) -> None:
        """Without its directory the storage fails, instead of taking every record for missing."""
        (tmp_path / "records").rename(tmp_path / "elsewhere")
        with pytest.raises(StorageError):
            action(storage)

    @pytest.mark.parametrize(
        "action",
        [
            lambda storage: storage.get("42"),
            lambda storage: storage.set("42", b"payload"),
            lambda storage: storage.delete("42"),
        ],
        ids=["get", "set", "delete"],
    )
    def test_a_record_that_is_no_file_is_an_error(
        self, storage: Any, tmp_path: Path, action: Any
    ) -> None:
        """What the file system refuses is a `StorageError` that names the key."""
        storage.set("42", b"old")
        (path,) = (tmp_path / "records").iterdir()
        path.unlink()
        path.mkdir()
        (path / "in the way").touch()
        with pytest.raises(StorageError, match="'42'"):
            action(storage)

    def test_readers_see_the_old_or_the_new_record(self, storage: Any) -> None:
        """Somebody who reads while records are replaced never sees half of one."""
        payloads = [letter * 2**15 for letter in (b"a", b"b")]
        storage.set("42", payloads[0])

        with OtherThread() as other:
            reading = other.submit(lambda: {storage.get("42") for _ in range(300)})
            for number in range(10_000):
                storage.set("42", payloads[number % 2])
                if reading.done():
                    break
            seen = reading.result(PATIENCE)
        assert set() == seen - set(payloads)


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """Let the system refuse to write more than so many bytes into any file."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
