"""The command as an operator has it: installed, in a terminal, beside a bot, and interrupted."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from support.command import (
    COLUMNS,
    finish,
    in_terminal,
    installed_script,
    start,
    wait_until_it_waits,
)
from support.polling import wait_until
from support.processes import run_program
from support.storages import SECRET
from telesession import PostgresStorage, Sessions, Storage
from telesession.storage.base import Change

if TYPE_CHECKING:
    from support.postgres import PostgresServer

# A bot that counts the updates of one user without a pause, until a field tells it to stop.
BOT = """
import sys
from telesession import JSONCodec, Sessions
from telesession.cli.address import opened

with opened(sys.argv[1], JSONCodec(), may_create=True) as storage:
    sessions = Sessions(initial=lambda: {"count": 0}, storage=storage)
    updates, is_stopped = 0, False
    while not is_stopped:
        with sessions.open(42) as session:
            session.count += 1
            is_stopped = "stop" in session
        updates += 1
        if updates == 1 or is_stopped:
            print(updates, flush=True)
"""


def fill(storage: Storage) -> None:
    for key in range(3):
        with Sessions(storage=storage, lifetime=3600).open(key) as session:
            session.update({"count": key, "name": SECRET, "a_rather_long_name" * 5: "x" * 200})


class TestInstalled:
    def test_the_script_is_installed(self, file_storage: Storage) -> None:
        """The installation makes a script with the name of the command."""
        fill(file_storage)
        code, out, complaints = run_program([str(installed_script()), "keys"])
        assert (0, "0\n1\n2\n", "") == (code, out, complaints)

    def test_the_package_is_the_command(self, storage: Storage) -> None:
        """`python -m telesession` is the same command, on each storage."""
        fill(storage)
        ran = finish(start("stats", "--json"))
        assert (0, "", 3) == (ran.code, ran.err, json.loads(ran.out)["records"])

    def test_errors_have_no_traceback(self, file_storage: Storage) -> None:
        """An error of the library is its message on one line."""
        file_storage.set("broken", b"{")
        ran = finish(start("show", "broken"))
        assert (1, "", 1) == (ran.code, ran.out, len(ran.err.splitlines()))
        assert ran.err.startswith("telesession: could not read the stored record")

    @pytest.mark.parametrize("command", ["keys", "export", "stats", "doctor"])
    def test_a_full_disk_is_an_error(self, file_storage: Storage, command: str) -> None:
        """An output that cannot be written is an error without a traceback, and no result."""
        fill(file_storage)
        with open("/dev/full", "w") as full:
            ran = subprocess.run(
                [sys.executable, "-m", "telesession", command],
                stdout=full,
                stderr=subprocess.PIPE,
                text=True,
                check=False,
            )
        assert 1 == ran.returncode
        assert (
            "telesession: could not read or write a file: No space left on device\n" == ran.stderr
        )

    def test_a_reader_that_leaves_is_no_error(self, file_storage: Storage) -> None:
        """A pipe whose reader has enough ends the command without a message."""
        new = [Change(f"{number:04}", None, b"{}") for number in range(2000)]
        file_storage.commit([], new)
        with start("keys") as process:
            assert "0000\n" == process.stdout.readline()
            process.stdout.close()
            complaints = process.stderr.read()
        assert "" == complaints


class TestTerminal:
    @pytest.mark.parametrize(
        "arguments",
        [["show", "1", "--values"], ["stats"], ["doctor"], ["keys"], ["export", "--key", "1"]],
        ids=lambda arguments: arguments[0],
    )
    def test_output_fits_in_eighty_columns(self, storage: Storage, arguments: list[str]) -> None:
        """Tables and bars are folded; only lines for programs are longer."""
        fill(storage)
        ran = in_terminal(*arguments)
        lines = [re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", line) for line in ran.out.splitlines()]

        assert ran.code in (0, 3)
        assert max(map(len, lines)) <= COLUMNS or arguments[0] == "export"

    def test_a_prompt_asks_before_records_are_deleted(self, file_storage: Storage) -> None:
        """With the answer no nothing is deleted, and with yes the record is."""
        fill(file_storage)
        no, yes = (in_terminal("delete", "1", typed=f"{answer}\n") for answer in "ny")

        assert (1, 0) == (no.code, yes.code)
        assert "Delete 1 record? [y/N]" in no.out
        assert "nothing was changed" in no.out
        assert ["0", "2"] == list(file_storage.keys())

    def test_progress_is_shown_on_standard_error(self, file_storage: Storage) -> None:
        """A terminal shows a bar, and the result on standard output has nothing of it."""
        fill(file_storage)
        assert "export" in in_terminal("export").out
        assert "" == re.sub(r"exported 3 records\n", "", finish(start("export")).err)


class TestBesideABot:
    def test_no_update_is_lost(self, storage: Storage, url: str) -> None:
        """A bot that counts without a pause keeps each count, while fields are set and removed."""
        bot = subprocess.Popen(
            [sys.executable, "-W", "error", "-c", BOT, url], stdout=subprocess.PIPE, text=True
        )
        with bot:
            assert "1\n" == bot.stdout.readline()
            for number in range(3):
                assert 0 == finish(start("set", "42", "note", number)).code
                assert 0 == finish(start("unset", "42", "note")).code
            assert 0 == finish(start("set", "42", "stop", "true")).code
            updates = int(bot.stdout.readline())
        session = Sessions(storage=storage).peek(42)

        assert (0, {"count": updates, "stop": True}) == (bot.returncode, session)


class TestInterrupted:
    @pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM], ids=lambda sign: sign.name)
    def test_an_erasure_stops_between_two_records(
        self, storage: Storage, sign: signal.Signals, request: pytest.FixtureRequest
    ) -> None:
        """It keeps the records that are left, says how many are gone, and frees each lock."""
        payload = b'{"fields":{"n":1}}'
        for chat in range(4):
            storage.set(f"sender_in_chat:{chat}:42", payload)
        *_, last = storage.keys()
        with storage.hold(last), start("erase", "--user", "42", "--yes") as process:
            # The command waits for the record that it lists last.
            if isinstance(storage, PostgresStorage):
                # The server has the wait, and the log tells of it when it has ended.
                postgres: PostgresServer = request.getfixturevalue("postgres")
                wait_until(lambda: postgres.ask("SELECT 1 FROM pg_locks WHERE NOT granted"))
            else:
                wait_until_it_waits(process, last)
            process.send_signal(sign)
            ran = finish(process)

        assert (130, "") == (ran.code, ran.out)
        assert ["deleted 3 of 4 records", "", "interrupted"] == ran.err.splitlines()
        with storage.hold(last, 0) as hold:
            assert payload == hold.get()
