"""The page on deployment: its programs, servers, units and images, started as it shows them."""

from __future__ import annotations

import configparser
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

import telesession
from support.clocks import PATIENCE
from support.command import doctor, installed_script
from support.pages import ROOT, blocks_of
from support.polling import wait_until
from support.ports import free_ports
from support.processes import kill_program, run_program, start_program
from support.servers import Server
from telesession import Sessions, SQLiteStorage
from telesession.testing import BotAPI

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE = ROOT / "docs" / "deployment.md"
FILES = {block.title: block.code for block in blocks_of(PAGE) if block.title}
TOKEN = "1:deployed"
# The bot is in another process, so it is told where the loopback Bot API is.
REDIRECTION = """
import os
from telebot import apihelper
apihelper.API_URL = os.environ["LOOPBACK"]
apihelper.proxy = {"no_proxy": "127.0.0.1"}
"""
# gunicorn and uWSGI write it when their workers are told to end.
ENDING = re.compile("Worker exiting|killing workers")


def lines_of(word: str) -> list[str]:
    """The lines of the shell on the page that begin with a word."""
    code = "".join(block.code for block in blocks_of(PAGE, "shell"))
    lines = re.sub(r"\\\n +", "", code).splitlines()
    return [line for line in lines if line.startswith(f"{word} ")]


def instructions(name: str) -> list[str]:
    """The arguments of an instruction of the Dockerfile, as often as it is there."""
    return re.findall(rf"^{name} (.*)$", FILES["Dockerfile"], re.MULTILINE)


def compose_command(word: str) -> str:
    """The command of a service in the file with a server that begins with a word."""
    (line,) = re.findall(rf"^ +command: ({word} .*)$", FILES["compose.valkey.yaml"], re.MULTILINE)
    return line


SERVERS = [*lines_of("gunicorn"), *lines_of("uwsgi"), compose_command("gunicorn")]


class Place(NamedTuple):
    """
    A folder with the files of the page, and a Bot API that they talk to.

    Attributes:
        folder: The folder.
        api: The Bot API.
    """

    folder: Path
    api: BotAPI

    def environment(self, **more: str) -> dict[str, str]:
        """The variables of a bot in this folder."""
        kept = {name: os.environ[name] for name in ("LANG", "TMPDIR") if name in os.environ}
        package = Path(telesession.__file__).parents[1]
        paths = {
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
            "PYTHONPATH": os.pathsep.join([str(self.folder), str(package)]),
        }
        # All gunicorns of a user have one control socket, and the tests run several at once.
        options = {"GUNICORN_CMD_ARGS": "--no-control-socket", "LOOPBACK": self.api.url}
        return {**kept, **paths, **options, "BOT_TOKEN": TOKEN, **more}

    def command(self, line: str | list[str], **more: str) -> list[str]:
        """A command of the page with the environment of the bot, and its output in a file."""
        words = shlex.split(line) if isinstance(line, str) else line
        assignments = [f"{name}={value}" for name, value in self.environment(**more).items()]
        output = ["sh", "-c", 'exec "$@" > output 2>&1', "sh"]
        return ["env", "-i", *assignments, *output, *words]

    @contextmanager
    def running(self, line: str | list[str], **more: str) -> Iterator[subprocess.Popen[str]]:
        """A command of the page while it runs."""
        process = start_program(self.command(line, **more), self.folder)
        try:
            yield process
        finally:
            kill_program(process)

    def run(self, line: str | list[str], **more: str) -> int:
        """The exit code of a command of the page."""
        code, _, _ = run_program(self.command(line, **more), self.folder)
        return code

    def output(self) -> str:
        return (self.folder / "output").read_text()

    def counter(self) -> int:
        """The number that is stored for the user 1."""
        with SQLiteStorage(self.folder / "bot.db") as storage:
            session = Sessions(storage=storage).peek(1)
        return 0 if session is None else int(session["counter"])

    def is_answered(self, port: int) -> bool:
        """Whether a web server answers at a port."""
        try:
            return self.status(port, "/health") > 0
        except OSError:
            return False

    def status(self, port: int, path: str = "/", body: str | None = None, secret: str = "") -> int:
        """The status of a request to a web server."""
        connection = HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
        try:
            headers = {"X-Telegram-Bot-Api-Secret-Token": secret}
            connection.request("GET" if body is None else "POST", path, body, headers)
            return connection.getresponse().status
        finally:
            connection.close()

    def ends_in_a_handler(self, process: subprocess.Popen[str], *, is_server: bool) -> int:
        """
        Send SIGTERM to a bot in its third handler, and let the handler go on once it has arrived.

        Returns:
            The exit code.
        """
        ada = self.api.user(1)
        for number in (1, 2):
            ada.send("hi")
            self.api.wait_for_messages(number, PATIENCE)
        with self.api.holding("sendMessage"):
            ada.send("hi")
            self.api.wait_for(lambda: len(self.api.calls_of("sendMessage")) == 3, PATIENCE)
            process.send_signal(signal.SIGTERM)
            if is_server:
                wait_until(lambda: ENDING.search(self.output()))
            else:
                wait_until(lambda: has_received(process, signal.SIGTERM))
        process.communicate(timeout=PATIENCE)
        return process.returncode


def has_received(process: subprocess.Popen[str], number: int) -> bool:
    """Whether a process has received a signal, or has ended."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    if re.search(r"^State:\s+Z", status, re.MULTILINE):
        return True
    pending = re.findall(r"^(?:SigPnd|ShdPnd):\s+(\w+)$", status, re.MULTILINE)
    return not any(int(mask, 16) >> (number - 1) & 1 for mask in pending)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """The files of the page in a folder of their own."""
    for name, code in FILES.items():
        (tmp_path / name).write_text(REDIRECTION + code if name == "bot.py" else code)
    with BotAPI() as api:
        yield Place(tmp_path, api)


@contextmanager
def served(place: Place, line: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A web server of the page at a free port, to which the Bot API posts updates."""
    port = next(free_ports())
    with place.running(line.replace(":8080", f"127.0.0.1:{port}")) as process:
        wait_until(lambda: place.is_answered(port) or process.poll() is not None)
        assert None is process.poll(), place.output()
        output = place.output()
        url = f"http://127.0.0.1:{port}/"
        assert 0 == place.run([sys.executable, "set_webhook.py"], WEBHOOK_URL=url)
        (place.folder / "output").write_text(output)
        yield process, port


class TestServers:
    @pytest.mark.parametrize("line", SERVERS)
    def test_each_command_serves_the_webhook_and_ends_in_order(
        self, place: Place, line: str
    ) -> None:
        """Updates are answered; on SIGTERM the running handler finishes, and its save counts."""
        with served(place, line) as (process, _):
            assert 0 == place.ends_in_a_handler(process, is_server=True), place.output()
            assert ["message 1", "message 2", "message 3"] == place.api.messages.texts
        assert 3 == place.counter()

    def test_there_are_commands_of_each_kind(self) -> None:
        """The page has sync, threaded and gevent workers, two with --preload, and uWSGI."""
        found = {
            word: sum(word in line for line in SERVERS)
            for word in ("--threads", "gevent", "--preload", "uwsgi")
        }
        assert {"--threads": 3, "gevent": 2, "--preload": 2, "uwsgi": 1} == found
        assert 6 == len(SERVERS)

    def test_the_answers_are_those_of_the_table(self, place: Place) -> None:
        """The secret is checked before the body, a lost file is noticed, and both have a status."""
        with served(place, SERVERS[0]) as (_, port):
            secret = place.api.calls_of("setWebhook")[0].params["secret_token"]
            update = json.dumps({"update_id": 1})
            assert [200, 403, 403, 400, 200] == [
                place.status(port, "/health"),
                place.status(port, body=update),
                place.status(port, body=update, secret="wrong"),
                place.status(port, body="no update", secret=secret),
                place.status(port, body=update, secret=secret),
            ]
            for name in ("bot.db", "bot.db-wal", "bot.db-shm"):
                (place.folder / name).rename(place.folder / f"moved-{name}")
            another = json.dumps({"update_id": 2})
            assert [503, 500] == [
                place.status(port, "/health"),
                place.status(port, body=another, secret=secret),
            ]


class TestPolling:
    def test_the_program_ends_in_order(self, place: Place) -> None:
        """On SIGTERM the polling bot finishes its handler, saves it, and ends with 0."""
        (command,) = instructions("CMD")[-1:]
        with place.running(json.loads(command)) as process:
            assert 0 == place.ends_in_a_handler(process, is_server=False), place.output()
        assert 3 == place.counter()

    def test_without_the_line_a_handler_is_cut_off(self, place: Place) -> None:
        """Control: without the line for SIGTERM the third handler is not saved."""
        program = place.folder / "bot.py"
        code = program.read_text()
        line = "    signal.signal(signal.SIGTERM, signal.default_int_handler)\n"
        program.write_text(code.replace(line, ""))
        with place.running([sys.executable, "bot.py"]) as process:
            code_of_end = place.ends_in_a_handler(process, is_server=False)
        assert (True, -signal.SIGTERM, 2) == (line in code, code_of_end, place.counter())


class TestDocker:
    def test_the_image_has_its_files(self) -> None:
        """Each copied file is on the page, and the clone is the folder that is installed."""
        clone, *files = [arguments.split() for arguments in instructions("COPY")]
        assert ["telesession", "/src/telesession"] == clone
        assert [["bot.py", "web.py", "./"]] == files
        assert {"bot.py", "web.py"} <= set(FILES)

    def test_the_extras_exist(self) -> None:
        """The installed path is that of the clone, with extras of the package, and gunicorn."""
        settings = configparser.ConfigParser()
        settings.read(ROOT / "setup.cfg")
        install = shlex.split(instructions("RUN")[0])
        path, extras = re.fullmatch(r"(.*)\[(.*)\]", install[-2]).groups()  # type: ignore[union-attr]
        assert ["pip", "install", "--no-cache-dir"] == install[:3]
        assert ("/src/telesession", "gunicorn") == (path, install[-1])
        assert {"cli", "redis"} == set(extras.split(",")) & set(settings["options.extras_require"])

    def test_the_check_of_health_sees_a_lost_storage(self, place: Place) -> None:
        """The check exits with 0, and with 1 if the file of the sessions cannot be opened."""
        (check,) = instructions("HEALTHCHECK")
        command = json.loads(check.removeprefix("CMD "))
        assert 0 == place.run(command)
        missing = place.folder / "missing" / "bot.db"
        assert 1 == place.run(command, BOT_DATABASE=str(missing))

    def test_doctor_finds_the_file_of_the_bot(self) -> None:
        """Both variables of the image name one file, in the volume."""
        (variables,) = instructions("ENV")
        names = dict(each.split("=") for each in variables.split())
        (volume,) = instructions("VOLUME")
        assert f"sqlite:///{names['BOT_DATABASE']}" == names["TELESESSION_STORAGE"]
        assert Path(volume) == Path(names["BOT_DATABASE"]).parent
        assert f"- data:{volume}\n" in FILES["compose.yaml"]

    def test_the_server_keeps_all_sessions(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """With the options of the page, `doctor` has nothing to say about the server's settings."""
        words = shlex.split(compose_command("valkey-server"))[1:]
        options = {
            name.removeprefix("--").replace("-", "_"): value
            for name, value in zip(words[::2], words[1::2], strict=True)
        }
        with Server(**options) as server:
            monkeypatch.setenv("TELESESSION_STORAGE", server.url)
            found = doctor()
        assert ["ok", "ok"] == [found[check][0] for check in ("eviction", "persistence")]


class TestUnits:
    def test_the_units_are_valid(self, tmp_path: Path) -> None:
        """systemd takes each unit, where it is installed; the paths are those of the text."""
        place = "/srv/bot"
        python, script = (f"{place}/.venv/bin/{name}" for name in ("python", "telesession"))
        for name in ("bot.service", "bot-backup.service", "bot-backup.timer"):
            text = FILES[name].replace(python, sys.executable)
            text = text.replace(script, str(installed_script())).replace(place, str(tmp_path))
            (tmp_path / name).write_text(text)
        found = []
        if analyse := shutil.which("systemd-analyze"):
            units = [str(tmp_path / name) for name in FILES if name.startswith("bot")][1:]
            _, _, complaints = run_program([analyse, "verify", "--man=no", *units])
            # It looks at the units of the machine, too.
            ours = re.compile(rf"{re.escape(str(tmp_path))}|\bbot(-backup)?\.(service|timer)")
            found = [line for line in complaints.splitlines() if ours.search(line)]
        unit = section(FILES["bot.service"], "Service")
        assert ([], f"{python} bot.py", place) == (
            found,
            unit["ExecStart"],
            unit["WorkingDirectory"],
        )

    def test_the_units_name_one_file(self) -> None:
        """The backup is one of the file that the bot has, in the folder that systemd makes."""
        bot = section(FILES["bot.service"], "Service")
        backup = section(FILES["bot-backup.service"], "Service")
        file = bot["Environment"].removeprefix("BOT_DATABASE=")
        assert f"TELESESSION_STORAGE=sqlite:///{file}" == backup["Environment"]
        assert f"/var/lib/{bot['StateDirectory']}/bot.db" == file

    def test_the_command_of_the_backup_writes_one(self, tmp_path: Path) -> None:
        """The command of the unit runs with other paths."""
        unit = section(FILES["bot-backup.service"], "Service")
        script, *words = shlex.split(unit["ExecStart"])
        (tmp_path / "backup").mkdir()
        places = {"/var/backups/bot": f"{tmp_path}/backup", "/var/lib/bot": str(tmp_path)}
        words = [replaced(word, places) for word in words]
        setting = replaced(unit["Environment"], places)
        assert "/srv/bot/.venv/bin/telesession" == script
        with SQLiteStorage(tmp_path / "bot.db") as storage:
            storage.set("42", b"record")
            code, _, _ = run_program(["env", setting, str(installed_script()), *words])
        with SQLiteStorage(tmp_path / "backup" / "bot.db") as storage:
            assert (0, b"record") == (code, storage.get("42"))

    def test_the_line_of_the_crontab_writes_a_backup(self, tmp_path: Path) -> None:
        """The command in the crontab runs in a shell as cron passes it on, with other paths."""
        (block,) = blocks_of(PAGE, "text")
        places = {
            "/srv/bot/.venv/bin/telesession": str(installed_script()),
            "/var/lib/bot/": f"{tmp_path}/",
            "/var/backups/bot/": f"{tmp_path}/backup-",
            # A percent sign without a backslash ends the command.
            r"\%": "%",
        }
        setting, line = block.code.splitlines()
        *when, command = line.split(maxsplit=5)
        command = replaced(f"{setting} {command}", places)
        with SQLiteStorage(tmp_path / "bot.db") as storage:
            storage.set("42", b"record")
            code, printed, complaints = run_program(["sh", "-c", command])
        (backup,) = tmp_path.glob("backup-????-??-??.db")
        with SQLiteStorage(backup) as storage:
            assert (["0", "3", "*", "*", "*"], b"record") == (when, storage.get("42"))
        assert (0, "", f"wrote {backup}\n") == (code, printed, complaints)


def section(text: str, name: str) -> dict[str, str]:
    """The settings in a section of a unit."""
    parser = configparser.ConfigParser(interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(text)
    return dict(parser[name])


def replaced(text: str, places: dict[str, str]) -> str:
    """A text with other paths."""
    for shown, place in places.items():
        text = text.replace(shown, place)
    return text
