"""Every block of Python in the manual, run as it is shown."""

from __future__ import annotations

import io
import runpy
import shutil
import signal
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from telebot import TeleBot, types
from telebot.storage import StatePickleStorage

import telesession
from support.bots import ROOT
from support.chats import typed_in
from support.pages import PAGES, Block, blocks_of, name_of, run_block
from support.servers import patient_url
from telesession import Storage
from telesession.testing import OFFLINE_TOKEN

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


BY_NAME = {name_of(path): path for path in PAGES}
TUTORIAL = ROOT / "docs" / "tutorial.md"


def pieces(name: str) -> list[Block]:
    """The blocks of a page that are no files of their own."""
    return [block for block in blocks_of(BY_NAME[name], "python") if not block.title]


def files(name: str) -> dict[str, str]:
    """The blocks of a page that are files, by their names."""
    return {block.title: block.code for block in blocks_of(BY_NAME[name], "python") if block.title}


def with_server(code: str, request: pytest.FixtureRequest) -> str:
    """The code of a block with the URL of a server that runs."""
    if "postgresql://" in code:
        return code.replace(
            "postgresql://bot@localhost/bots", request.getfixturevalue("postgres").url()
        )
    return code.replace("redis://localhost:6379/0", patient_url(request.getfixturevalue("server")))


@pytest.mark.usefixtures("fresh_process")
class TestPieces:
    @pytest.mark.parametrize("name", [name for name in BY_NAME if pieces(name)])
    def test_each_page_does_what_it_says(self, name: str, request: pytest.FixtureRequest) -> None:
        """The blocks of a page run in order, and each value in a comment is the real one."""
        claims = []
        with prepared(name) as names:
            for block in pieces(name):
                if block.needs_server:
                    # Only now, so that the server is started for those who need it.
                    code = with_server(block.code, request)
                    claims += run_block(block._replace(code=code), names, name)
                else:
                    claims += run_block(block, names, name)
        assert [claim for claim, _ in claims] == [value for _, value in claims]

    def test_a_wrong_value_is_noticed(self) -> None:
        """Control: a comment that shows another value is found, and prose is none."""
        code = "total = 1 + 1\ntotal  # 3\ntotal    # the sum\n"
        assert [("3", "2")] == run_block(Block("python", None, code, False, 1), {}, "page")


class TestFiles:
    def test_the_bot_of_the_tutorial_grows_as_it_shows(
        self,
        fresh_process: None,
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """Each step is a program that chats as the page shows, restarted where it says so."""
        chats = []
        for block in blocks_of(TUTORIAL):
            if block.title == "bot.py":
                (tmp_path / "bot.py").write_text(block.code)
            elif block.language == "text":
                lines = block.code.splitlines(keepends=True)
                typed = [text for line in lines if (text := typed_in(line)) is not None]
                monkeypatch.setattr("sys.stdin", io.StringIO("\n".join([*typed, ""])))
                end(runpy.run_path("bot.py", run_name="__main__"))
                expected = "".join(line for line in lines if typed_in(line) is None)
                chats.append((expected, capsys.readouterr().out))
        assert [expected for expected, _ in chats] == [printed for _, printed in chats]
        assert 5 == len(chats)

    @pytest.mark.parametrize(
        ("name", "passed"),
        [("docs/tutorial.md", 2), ("docs/testing.md", 10), ("docs/own-storage.md", 98)],
    )
    def test_the_tests_of_a_page_pass(
        self,
        fresh_process: None,
        pytester: pytest.Pytester,
        monkeypatch: pytest.MonkeyPatch,
        name: str,
        passed: int,
    ) -> None:
        """The tests that a page shows pass, beside the examples or the programs they import."""
        for example in ("counter", "login_code"):
            shutil.copy(ROOT / "examples" / f"{example}.py", pytester.path)
        for file, code in files(name).items():
            (pytester.path / file).write_text(code)
            # A test of ours may have the same name.
            monkeypatch.delitem(sys.modules, file.removesuffix(".py"), raising=False)
        pytester.runpytest("-p", "no:cacheprovider").assert_outcomes(passed=passed)

    def test_every_file_is_run(self) -> None:
        """No page has a file that the tests above leave out."""
        tested = {"docs/tutorial.md", "docs/testing.md", "docs/own-storage.md"}
        # Their programs are run in test_command_page.py and test_deployment_page.py.
        tested |= {"docs/command.md", "docs/deployment.md"}
        assert tested == {name for name in BY_NAME if files(name)}


@contextmanager
def prepared(name: str) -> Iterator[dict[str, Any]]:
    """The names that the blocks of a page may use without an import."""
    names: dict[str, Any] = {name: getattr(telesession, name) for name in telesession.__all__}
    # Threads take half a second to end; only workers need them.
    with_workers = {f"docs/bot/{page}.md" for page in ("index", "workers", "inbox")}
    bot = TeleBot(OFFLINE_TOKEN, threaded=name in with_workers)
    session = telesession.Session()
    names.update(bot=bot, session=session, TOKEN=OFFLINE_TOKEN, Message=types.Message)
    if name == "docs/bot/states.md":
        # The file that the page imports, with one state.
        StatePickleStorage(file_path=".state-save/states.pkl").set_state(1, 1, "name")
    # A page shows how a bot ends on SIGTERM.
    ended_by = signal.getsignal(signal.SIGTERM)
    try:
        yield names
    finally:
        signal.signal(signal.SIGTERM, ended_by)
        bot.stop_bot()
        end(names)


def end(names: dict[str, Any]) -> None:
    """Stop the bots and close the storages of a program."""
    for value in names.values():
        if isinstance(value, TeleBot):
            value.stop_bot()
        elif isinstance(value, Storage):
            value.close()
