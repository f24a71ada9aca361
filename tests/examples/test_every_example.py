"""What holds for every example: it is tested, chats as it shows, and needs no network."""

from __future__ import annotations

import ast
import doctest
import functools
import os
import re
import runpy
import subprocess
import sys
import textwrap
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from telebot.apihelper import ApiTelegramException
from telebot.types import Update

import telesession.testing
from support.bots import ROOT, end_workers, exceptions_in, load
from support.chats import EchoingTerminal, typed_in
from support.clocks import PATIENCE
from telesession import Storage
from telesession.bot.workers import SequentialWorkers
from telesession.testing import forget_sessions

if TYPE_CHECKING:
    from collections.abc import Iterator

    from telesession.testing import BotAPI


EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
NAMES = [path.stem for path in EXAMPLES]
POLLING = [path.stem for path in EXAMPLES if "infinity_polling" in path.read_text()]

pytestmark = pytest.mark.usefixtures("fresh_process")


def transcript(name: str) -> tuple[str, str]:
    """The typed lines, and the whole chat as the terminal shows it, in an example's docstring."""
    shown = [line for line in docstring_of(name).splitlines() if line.startswith("    ")]
    lines = textwrap.dedent("\n".join(shown)).splitlines()
    typed = [text for line in lines if (text := typed_in(line)) is not None]
    return "".join(f"{line}\n" for line in typed), "".join(f"{line}\n" for line in lines)


def chat_on(screen: str) -> str:
    """The lines from the first prompt on, without the last one, which ends the chat."""
    _help, prompt, chat = screen.partition("\n> ")
    *lines, _end = f"{prompt}{chat}".lstrip("\n").splitlines(keepends=True)
    return "".join(lines)


def docstring_of(name: str) -> str:
    source = (ROOT / "examples" / f"{name}.py").read_text()
    return ast.get_docstring(ast.parse(source)) or ""


def statements_of_polling(name: str) -> list[str]:
    """The statements of the block in which an example polls."""
    tree = ast.parse((ROOT / "examples" / f"{name}.py").read_text())
    branches = [node.body for node in ast.walk(tree) if isinstance(node, ast.If)]
    blocks = [[ast.unparse(statement) for statement in branch] for branch in branches]
    (polling,) = [block for block in blocks if block[-1] == "bot.infinity_polling()"]
    return polling


@contextmanager
def at_work(name: str) -> Iterator[Any]:
    """The bot of an example as it runs: with its workers, if it has some."""
    forget_sessions()
    module = load(name)
    try:
        yield module.bot
    finally:
        close(vars(module))
        del sys.modules[module.__name__]


def close(names: dict[str, Any]) -> None:
    """Close what a module has opened."""
    if names["bot"].threaded:
        end_workers(names["bot"])
    for storage in names.values():
        if isinstance(storage, Storage):
            storage.close()


def say(bot: Any, api: BotAPI, text: str) -> list[str]:
    """Deliver a message, let the bot handle it, and return the answers."""
    sent = len(api.messages)
    if bot.threaded:
        bot.worker_pool.notify(api.notify)
    bot.process_new_updates([Update.de_json(api.user(1).send(text))])
    if bot.threaded:
        api.wait_for(lambda: not bot.worker_pool.unfinished, PATIENCE)
    return [message.text for message in api.messages[sent:]]


class TestEveryExample:
    @pytest.mark.parametrize("name", NAMES)
    def test_it_is_tested(self, name: str) -> None:
        """Every file of the folder has a class of tests, wherever in the folder of tests."""
        assert {name} == examples_of_tests() & {name}

    @pytest.mark.parametrize("name", NAMES)
    def test_it_chats_as_its_docstring_shows(
        self, name: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
    ) -> None:
        """Run in a terminal it prints what its docstring shows, and ends at `/quit`."""
        typed, expected = transcript(name)
        keyboard = EchoingTerminal(f"{typed}/quit\nhi\n")
        monkeypatch.setattr(sys, "stdin", keyboard)
        close(runpy.run_path(str(ROOT / "examples" / f"{name}.py"), run_name="__main__"))
        screen, complaints = capfd.readouterr()
        printed = chat_on(screen)
        assert ("hi\n", "") == (keyboard.read(), complaints)
        assert "" != expected
        if not doctest.OutputChecker().check_output(expected, printed, doctest.ELLIPSIS):
            assert expected == printed

    @pytest.mark.parametrize("name", NAMES)
    def test_it_says_what_to_try(self, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """The docstring and the first line in a terminal name the same commands to try."""
        _subject, invitation, *_ = docstring_of(name).split("\n\n")
        hints: list[str] = []
        monkeypatch.setattr(telesession.testing, "chat", lambda bot, hint: hints.append(hint))
        names = runpy.run_path(str(ROOT / "examples" / f"{name}.py"), run_name="__main__")
        close(names)
        (hint,) = hints
        suggested = re.findall("`(.+?)`", invitation)
        assert ("Try ", True, True) == (invitation[:4], len(suggested) > 0, len(hint) <= 80)
        assert [] == [text for text in suggested if text[0] == "/" and text not in hint]
        assert [] != [word for text in suggested for word in text.split() if word in hint]

    @pytest.mark.parametrize("name", NAMES)
    @pytest.mark.parametrize("text", ["hi", "/start", "/help"])
    def test_it_answers_a_newcomer(self, name: str, text: str, bot_api: BotAPI) -> None:
        """The first message of a newcomer gets one answer."""
        with at_work(name) as bot:
            assert 1 == len(say(bot, bot_api, text))

    @pytest.mark.parametrize("name", POLLING)
    def test_it_has_its_users_in_order(self, name: str) -> None:
        """The bot has the workers of this library."""
        with at_work(name) as bot:
            assert SequentialWorkers is type(bot.worker_pool)

    @pytest.mark.parametrize("name", NAMES)
    def test_a_handler_that_raises_is_told_and_logged(
        self, name: str, bot_api: BotAPI, caplog: pytest.LogCaptureFixture
    ) -> None:
        """The user hears of it, and the example itself logs the traceback."""
        with at_work(name) as bot:
            bot_api.fail_next("sendMessage", 500)
            (apology,) = say(bot, bot_api, "hi")
            assert "sorry, that went wrong" == apology[:22]
            (logged,) = [record for record in caplog.records if record.exc_info]
            assert ("TeleBot", [ApiTelegramException]) == (logged.name, exceptions_in(caplog))

    @pytest.mark.parametrize("name", NAMES)
    def test_a_user_who_blocked_the_bot_stops_nobody(
        self, name: str, bot_api: BotAPI, caplog: pytest.LogCaptureFixture
    ) -> None:
        """If the apology cannot be sent either, both exceptions are logged, and the bot goes on."""
        with at_work(name) as bot:
            bot_api.fail_next("sendMessage", 403, times=2)
            assert [] == say(bot, bot_api, "hi")
            assert [ApiTelegramException] * 2 == exceptions_in(caplog)
            assert 1 == len(say(bot, bot_api, "/start"))

    @pytest.mark.parametrize("name", POLLING)
    def test_it_stops_on_sigterm(self, name: str) -> None:
        """It polls only after the line that lets SIGTERM end it as Ctrl-C does."""
        ended_by = "signal.signal(signal.SIGTERM, signal.default_int_handler)"
        assert [ended_by, "bot.infinity_polling()"] == statements_of_polling(name)

    def test_in_production_none_needs_the_tools_for_tests(self, tmp_path: Path) -> None:
        """With a token, every example polls or serves without a module of telesession.testing."""
        program = """
            import runpy, sys
            from flask import Flask
            from telebot import TeleBot

            def started(*_, **__):
                print(path, [name for name in sys.modules if name.startswith("telesession.test")])

            TeleBot.infinity_polling = Flask.run = started
            TeleBot.set_webhook = lambda *_, **__: True
            for path in sys.argv[1:]:
                runpy.run_path(path, run_name="__main__")
            """
        settings = {"BOT_TOKEN": "1:real", "REDIS_URL": "redis://localhost:1", "WEBHOOK_URL": "x"}
        settings["DATABASE_URL"] = "postgresql://localhost:1/bots"
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(program), *map(str, EXAMPLES)],
            capture_output=True,
            text=True,
            timeout=2 * PATIENCE,
            check=False,
            cwd=tmp_path,
            env={**os.environ, **settings, "PYTHONPATH": str(ROOT)},
        )
        expected = "".join(f"{path} []\n" for path in EXAMPLES)
        assert (expected, "", 0) == (done.stdout, done.stderr, done.returncode)

    def test_importing_them_needs_no_network_and_no_token(self, tmp_path: Path) -> None:
        """Importing the examples opens no connection."""
        program = """
            import runpy, sys

            def refuse(event, arguments):
                if event in {"socket.connect", "socket.getaddrinfo", "socket.sendto"}:
                    raise SystemExit(f"{event}{arguments}")

            sys.addaudithook(refuse)
            for path in sys.argv[1:]:
                print(type(runpy.run_path(path)["bot"]).__name__)
            """
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(program), *map(str, EXAMPLES)],
            capture_output=True,
            text=True,
            timeout=2 * PATIENCE,
            check=False,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        assert ("TeleBot\n" * len(EXAMPLES), "", 0) == (done.stdout, done.stderr, done.returncode)


@functools.cache
def examples_of_tests() -> set[str]:
    """The examples that classes of tests are about, which say so by an attribute."""
    texts = [path.read_text() for path in (ROOT / "tests").rglob("test_*.py")]
    nodes = [node for text in texts if "example = " in text for node in ast.parse(text).body]
    classes = [node for node in nodes if isinstance(node, ast.ClassDef)]
    return {name for kind in classes if kind.name.startswith("Test") for name in named_by(kind)}


def named_by(kind: ast.ClassDef) -> Iterator[str]:
    """What `example = ...` in a class names."""
    for node in kind.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "example":
            yield ast.literal_eval(node.value)
