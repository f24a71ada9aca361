"""The tests of the examples that authors read: they pass, are short, and have no JSON by hand."""

from __future__ import annotations

import ast
import shutil
from typing import TYPE_CHECKING

import pytest

from support.bots import ROOT

if TYPE_CHECKING:
    from pathlib import Path

FOLDER = ROOT / "examples" / "tests"
FILES = sorted(FOLDER.glob("test_*.py"))
LONGEST = 40

by_file = pytest.mark.parametrize("path", FILES, ids=[path.stem for path in FILES])


@by_file
def test_it_passes(fresh_process: None, pytester: pytest.Pytester, path: Path) -> None:
    """Beside its example, the file passes as it does for an author."""
    example = path.name.removeprefix("test_")
    for file in (FOLDER / "conftest.py", path, ROOT / "examples" / example):
        shutil.copy(file, pytester.path)
    count = len(functions_of_tests(path))
    pytester.runpytest("-p", "no:cacheprovider").assert_outcomes(passed=count)


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


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def functions_of_tests(path: Path) -> list[ast.stmt]:
    """The functions of a file that are tests."""
    return [node for node in tree_of(path).body if getattr(node, "name", "").startswith("test_")]
