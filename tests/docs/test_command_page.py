"""The page on the command: every example is run, and prints what the page shows."""

from __future__ import annotations

import re
import shlex
import sys
from typing import TYPE_CHECKING, NamedTuple

import pytest

from support.command import call
from support.pages import ROOT, blocks_of, read
from telesession import Sessions, SQLiteStorage, ttl
from telesession.cli.exits import Exit
from telesession.cli.program import program

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PAGE = ROOT / "docs" / "command.md"
# Not run: it only ends by Ctrl-C. tests/cli has it.
ENDLESS = {"watch"}


class Example(NamedTuple):
    """A line that is typed, and the lines that the page shows below it."""

    typed: str
    shown: list[str]


def examples() -> Iterator[Example]:
    for block in blocks_of(PAGE, "console"):
        for part in block.code.split("$ ")[1:]:
            typed, *shown = part.splitlines()
            yield Example(typed, shown)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of the page, with its bot and its files."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    first, *others = blocks_of(PAGE, "python")
    names = {"Sessions": Sessions, "SQLiteStorage": SQLiteStorage, "ttl": ttl}
    exec(first.code, names)
    for block in others:
        assert block.title is not None
        (tmp_path / block.title).write_text(block.code)
    line = '{"key": "8", "expires": null, "record": {"fields": {"name": "eve"}}}\n'
    (tmp_path / "examples.jsonl").write_text(line)
    yield tmp_path
    names["storage"].close()
    module = sys.modules.pop("new_bot", None)
    if module is not None:
        module.sessions._kind.storage.close()


def test_every_example_prints_what_the_page_shows(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each command of the page is run, in order; `...` stands for any text."""
    for example in examples():
        command, *arguments = shlex.split(example.typed)
        if command == "export":
            name, _, value = arguments[0].partition("=")
            monkeypatch.setenv(name, value)
            continue
        assert "telesession" == command
        printed = run(folder, arguments)
        assert len(example.shown) == len(printed), (example.typed, printed)
        # Sizes have as many characters as on the page, or others.
        expected = [re.escape(spaced(line)).replace(r"\.\.\.", ".*") for line in example.shown]
        differing = [
            (example.typed, line, pattern)
            for line, pattern in zip(printed, expected, strict=True)
            if not re.fullmatch(pattern, spaced(line))
        ]
        assert [] == differing


def test_every_command_has_an_example() -> None:
    """Each command of the program is run on the page, but for the one without an end."""
    run_there = {shlex.split(each.typed)[1] for each in examples()}
    assert set(program.commands) == (run_there & set(program.commands)) | ENDLESS
    assert all(f"### {name}\n" in read(PAGE) for name in ENDLESS)


def test_every_exit_code_is_in_the_table() -> None:
    """The table of the exit codes has each of them."""
    table = read(PAGE).partition("| exit code |")[2].partition("\n\n")[0]
    assert [str(int(each)) for each in Exit] == re.findall(r"^\| (\d+) \|", table, re.MULTILINE)


def test_every_variable_is_on_the_page() -> None:
    """Each variable of the environment that the command reads is explained."""
    sources = "".join(read(path) for path in (ROOT / "telesession" / "cli").glob("*.py"))
    variables = set(re.findall(r"TELESESSION_(?:TARGET_)?[A-Z]+(?:_[A-Z]+)*", sources))
    assert variables
    assert set() == {name for name in variables if name not in read(PAGE)}


def spaced(line: str) -> str:
    """A line with one space between its words."""
    return " ".join(line.split())


def run(folder: Path, arguments: list[str]) -> list[str]:
    """The lines that a command prints."""
    ran = call(*arguments[: arguments.index(">")] if ">" in arguments else arguments)
    out = ran.out
    if ">" in arguments:
        (folder / arguments[-1]).write_text(out)
        out = ""
    assert 0 == ran.code, ran.err
    return (out + ran.err).splitlines()
