"""The URL of the storage, the codec in the environment, and the exit codes of mistakes."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING

import pytest
from cryptography.fernet import Fernet

from support.command import call
from support.servers import Cluster, Server, patient_url
from support.storages import SECRET
from telesession import (
    EncryptedCodec,
    JSONCodec,
    PickleCodec,
    PostgresStorage,
    RedisStorage,
    SQLiteStorage,
)
from telesession.cli import exits, histogram, main, output
from telesession.cli.address import Address
from telesession.cli.program import program

if TYPE_CHECKING:
    from pathlib import Path

    from support.postgres import PostgresServer

KEY = Fernet.generate_key().decode()


@pytest.mark.parametrize(
    ("url", "path", "server", "options"),
    [
        ("sqlite:///bot.db", "bot.db", "", {}),
        ("sqlite:////data/bot.db", "/data/bot.db", "", {}),
        ("redis://host:6379/0", None, "redis://host:6379/0", {}),
        ("valkeys://host?prefix=shop:", None, "valkeys://host", {"prefix": "shop:"}),
        (
            "rediss://host/?cluster=yes&socket_timeout=10",
            None,
            "rediss://host/?socket_timeout=10",
            {"cluster": "yes"},
        ),
        (
            "postgres://ada:a?b@host/bots?options=-c%20a%3D+&table=shop&sslmode=require",
            None,
            "postgres://ada:a?b@host/bots?options=-c%20a%3D+&sslmode=require",
            {"table": "shop"},
        ),
        ("postgresql:///?cluster=yes", None, "postgresql:///?cluster=yes", {}),
    ],
)
def test_urls_are_read(url: str, path: str | None, server: str, options: dict[str, str]) -> None:
    """A URL is a path or a server, and the options of the command are taken out of it."""
    address = Address.of(url)
    assert (path, server, options) == (
        None if address.path is None else str(address.path),
        address.url,
        address.options,
    )


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("bot.db", "the URL of the storage has another form"),
        ("sqlite:///", "the URL of the storage has another form"),
        ("mysql://user:hunter2@host", "the URL of the storage has another form"),
        ("redis://user:hunter2@host:port", "its host or port is malformed"),
        ("redis://host/3?cluster=yes", "a cluster has no socket, and no database but 0"),
        ("redis://host?cluster=no", "the option cluster of the URL is yes"),
        ("postgres://user:hunter2@host?mode=hunter2", "cannot use this conninfo"),
        ("postgres://user:hunter2@host?table=", "takes the name of a table"),
        ("sqlite:///missing.db", "there is no file missing.db"),
    ],
)
def test_other_urls_are_refused(
    url: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A URL of another form is a mistake of the call, and no part of it is shown."""
    monkeypatch.chdir(tmp_path)
    ran = call("keys", "--storage", url)
    assert (2, "", []) == (ran.code, ran.out, list(tmp_path.iterdir()))
    assert message in " ".join(ran.err.split())
    assert SECRET not in ran.err


def test_a_cluster_that_is_none_is_an_error() -> None:
    """A server that cannot be reached as a cluster is the error of the library."""
    ran = call("keys", "--storage", "redis://127.0.0.1:1?cluster=yes")
    assert (1, "") == (ran.code, ran.out)
    assert "could not reach the cluster" in ran.err


def test_a_server_without_a_cluster_is_an_error(server: Server) -> None:
    """A plain server that the URL calls a node of a cluster is the error of the library."""
    ran = call("keys", "--storage", f"{server.url}?cluster=yes")
    assert (1, "") == (ran.code, ran.out)
    assert "the server is part of no cluster" in ran.err


def test_a_node_of_a_cluster_is_no_storage(cluster: Cluster) -> None:
    """One node would list only its own records, so the option is demanded."""
    ran = call("keys", "--storage", f"redis://127.0.0.1:{cluster.nodes[0].port}")
    assert (2, "") == (ran.code, ran.out)
    assert "cluster=yes" in ran.err


def test_a_prefix_is_that_of_the_bot(server: Server) -> None:
    """Two bots on one server are two storages, by the prefix in the URL."""
    with RedisStorage(patient_url(server), prefix="shop:") as storage:
        storage.set("42", b'{"fields":{}}')
    ran = call("keys", "--storage", f"{patient_url(server)}&prefix=shop:")
    assert ("42\n", "") == (ran.out, call("keys", "--storage", patient_url(server)).out)


def test_a_table_is_that_of_the_bot(postgres: PostgresServer) -> None:
    """Two bots in one database are two storages, by the table in the URL."""
    with PostgresStorage(postgres.url(), table="shop") as storage:
        storage.set("42", b'{"fields":{}}')
    ran = call("keys", "--storage", f"{postgres.url()}?table=shop")
    assert (0, "42\n") == (ran.code, ran.out)


def test_a_table_that_is_missing_is_not_made(postgres: PostgresServer, file_url: str) -> None:
    """A mistyped table is a mistake of the call; only a copy or an import makes a table."""
    url = f"{postgres.url()}?table=shop"
    for command in ("keys", "stats", "doctor"):
        ran = call(command, "--storage", url)
        assert (2, True) == (ran.code, 'there is no table "shop"' in " ".join(ran.err.split()))
    with SQLiteStorage(file_url.removeprefix("sqlite:///")) as storage:
        storage.set("42", b'{"fields":{}}')
    found = []
    for options in (["--dry-run"], []):
        assert 0 == call("copy", "-", url, *options).code
        found.append(postgres.ask("SELECT to_regclass('shop')::text"))
    assert [None, "shop"] == found


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without its package the URL of a server or a cluster says what to install."""
    monkeypatch.setattr("telesession.storage.redis.find_spec", lambda name: None)
    monkeypatch.setattr("telesession.storage.postgres.find_spec", lambda name: None)
    monkeypatch.setattr("telesession.cli.address.find_spec", lambda name: None)
    for url in ("redis://host", "redis://host?cluster=yes"):
        ran = call("keys", "--storage", url)
        assert 2 == ran.code
        assert "pip install 'redis>=7.2'" in ran.err
    ran = call("keys", "--storage", "postgres://host")
    assert (2, True) == (ran.code, "pip install 'psycopg[binary,pool]>=3.2" in ran.err)


class TestCodec:
    @pytest.mark.parametrize(
        ("codec", "settings"),
        [
            (JSONCodec(), {}),
            (PickleCodec(), {"CODEC": "pickle"}),
            (EncryptedCodec(JSONCodec(), [KEY]), {"CODEC": "encrypted", "KEYS": KEY}),
        ],
        ids=["json", "pickle", "encrypted"],
    )
    def test_a_codec_reads_its_records(
        self,
        file_url: str,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        codec: JSONCodec,
        settings: dict[str, str],
    ) -> None:
        """The environment names the codec, and its keys."""
        with SQLiteStorage(tmp_path / "bot.db", codec) as storage:
            storage.set("42", codec.encode({"fields": {"n": 1}}, "42"))
        for name, value in settings.items():
            monkeypatch.setenv(f"TELESESSION_{name}", value)
        assert 0 == call("show", "42").code
        assert 0 == call("set", "42", "n", "2").code
        with SQLiteStorage(tmp_path / "bot.db", codec) as storage:
            assert {"fields": {"n": 2}} == codec.decode(storage.get("42") or b"", "42")

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"CODEC": "yaml"}, "TELESESSION_CODEC names no codec; set it to json, pickle or"),
            ({"CODEC": "encrypted"}, "set TELESESSION_KEYS, or TELESESSION_KEYS_FILE"),
            ({"CODEC": "encrypted", "KEYS": SECRET}, "has one that is no Fernet key"),
            ({"CODEC": "encrypted", "KEYS": " "}, "must be a list of at least one key"),
            ({"CODEC": "encrypted", "KEYS_FILE": "missing"}, "cannot be read"),
        ],
    )
    @pytest.mark.usefixtures("file_storage")
    def test_mistakes_are_told(
        self, monkeypatch: pytest.MonkeyPatch, settings: dict[str, str], message: str
    ) -> None:
        """An unknown codec, and keys that are none, are mistakes of the call."""
        for name, value in settings.items():
            monkeypatch.setenv(f"TELESESSION_{name}", value)
        ran = call("keys")
        assert (2, "") == (ran.code, ran.out)
        assert message in " ".join(ran.err.split())
        assert SECRET not in ran.err


class TestUsage:
    @pytest.mark.parametrize("arguments", [["keys"], ["lost"], ["set", "42"], []])
    def test_a_wrong_call_has_an_exit_code(self, arguments: list[str]) -> None:
        """A missing storage, command or argument is explained on standard error."""
        ran = call(*arguments)
        assert (2, "") == (ran.code, ran.out)
        assert "Usage: telesession" in ran.err

    def test_a_missing_storage_has_two_places(self) -> None:
        """The message names the option and the variable of the storage."""
        err = call("keys").err
        assert ["--storage", "TELESESSION_STORAGE"] == re.findall(r"'([-A-Z_a-z]+)'", err)[-2:]

    @pytest.mark.parametrize("name", ["", *program.commands])
    def test_help_fits_in_a_terminal(self, name: str) -> None:
        """The help of each command has lines of 80 columns, and no sentence is cut."""
        out = call(*[name] * bool(name), "--help").out
        assert max(map(len, out.splitlines())) <= 80
        assert "..." not in out.replace("KEY...", "").replace("[ARGS]...", "")

    def test_the_version_is_told(self) -> None:
        """--version prints the name and the number."""
        assert call("--version").out.startswith("telesession 0")

    def test_the_packages_of_the_extra_are_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Without click and rich the command says what to install."""
        monkeypatch.setattr("telesession.cli.find_spec", lambda name: None)
        ran = call("keys")
        assert (1, "") == (ran.code, ran.out)
        assert "pip install 'click>=8.2' 'rich>=13'" in ran.err

    def test_main_takes_the_arguments_of_the_process(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Without arguments those of the command line are used."""
        monkeypatch.setattr(sys, "argv", ["telesession", "--version"])
        assert 0 == main()
        assert capsys.readouterr().out.startswith("telesession 0")


class TestWords:
    @pytest.mark.parametrize(
        ("seconds", "text"),
        [
            (None, "for ever"),
            (0.5, "0 s"),
            (59.9, "59 s"),
            (61, "1 min 1 s"),
            (3661, "1 h 1 min"),
            (90_000, "1 d 1 h"),
        ],
    )
    def test_times_have_two_units(self, seconds: float | None, text: str) -> None:
        """The time left is told in its two largest units."""
        assert text == output.spelled(seconds)

    @pytest.mark.parametrize(
        ("count", "text"),
        [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (2_500_000, "2.5 MB"), (4e9, "4.0 GB")],
    )
    def test_sizes_have_a_unit(self, count: float, text: str) -> None:
        """A size is told in the largest unit that it reaches."""
        assert text == output.sized(count)

    def test_numbers_are_in_their_ranges(self) -> None:
        """A range has its beginning, and not its end."""
        counts = histogram.Histogram((10, 20), ("a", "b", "c"))
        for number in (0, 9.9, 10, 19, 20, 1000):
            counts.add(number)
        assert {"a": 2, "b": 2, "c": 2} == counts.by_label()

    def test_exit_codes_are_those_of_shells(self) -> None:
        """The codes are the documented numbers."""
        assert [0, 1, 2, 3, 4, 130] == list(exits.Exit)
