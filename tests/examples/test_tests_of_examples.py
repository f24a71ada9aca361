"""The tests of the examples that authors read: they pass, are short, and have no JSON by hand."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from support.bots import ROOT
from support.clocks import PATIENCE
from support.pages import read

if TYPE_CHECKING:
    from pathlib import Path

FOLDER = ROOT / "examples" / "tests"
FILES = sorted(FOLDER.glob("test_*.py"))
LONGEST = 40
COMMAND = "python -m pytest examples/tests"

by_file = pytest.mark.parametrize("path", FILES, ids=[path.stem for path in FILES])


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of the examples and of the settings of pytest."""
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    shutil.copy(ROOT / "setup.cfg", tmp_path)
    return tmp_path


@pytest.mark.parametrize("workers", [[], ["-n", "0"]], ids=["on all cores", "in one process"])
def test_they_pass_by_the_command_of_the_manual(checkout: Path, workers: list[str]) -> None:
    """From the root of the repository all tests pass, and they leave no file but caches."""
    before = files_in(checkout)
    ended = subprocess.run(
        [sys.executable, *COMMAND.split()[1:], *workers],
        check=False,
        cwd=checkout,
        env=environment(),
        stdout=subprocess.PIPE,
        text=True,
        timeout=4 * PATIENCE,
    )
    count = sum(len(functions_of_tests(path)) for path in FILES)
    assert (0, str(count)) == (ended.returncode, passed_in(ended.stdout)), ended.stdout
    assert before == files_in(checkout)


def test_the_manual_has_the_command() -> None:
    """The pages on examples and on tests say how the tests are run."""
    pages = [ROOT / "docs" / name for name in ("examples.md", "testing.md")]
    assert [True, True] == [COMMAND in read(page) for page in pages]


@by_file
def test_it_is_short(path: Path) -> None:
    """The whole file has 40 lines at most, with its fixtures."""
    assert LONGEST >= len(path.read_text().splitlines())


@by_file
def test_it_has_no_json(path: Path) -> None:
    """No update and no answer is written by hand, so there is no dictionary."""
    assert [] == [node.lineno for node in ast.walk(tree_of(path)) if isinstance(node, ast.Dict)]


def test_the_three_kinds_of_bots_are_there() -> None:
    """A shop, a quiz in topics and a support desk."""
    assert ["test_payments", "test_quiz", "test_support_desk"] == [path.stem for path in FILES]


def environment() -> dict[str, str]:
    """That of this process, without the settings of the run of pytest that it belongs to."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PYTEST_", "COV_", "BOT_"))
    }
    return {**kept, "PYTHONPATH": str(ROOT)}


def files_in(folder: Path) -> set[str]:
    """The files below a folder, without caches."""
    caches = {"__pycache__", ".pytest_cache"}
    return {
        str(path) for path in folder.rglob("*") if path.is_file() and not caches & set(path.parts)
    }


def passed_in(output: str) -> str:
    """How many tests have passed, by the last line of pytest."""
    return " ".join(re.findall(r"(\d+) passed", output))


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def functions_of_tests(path: Path) -> list[ast.stmt]:
    """The functions of a file that are tests."""
    return [node for node in tree_of(path).body if getattr(node, "name", "").startswith("test_")]
