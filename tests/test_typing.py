"""Types, as users' checkers see them: what mypy --strict and pyright accept, and what not."""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from support.processes import finish_program, kill_program, start_program

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator, Mapping

TESTS = Path(__file__).resolve().parent
CHECKOUT = TESTS.parent
PASSING = TESTS / "typing" / "passing.py"
FAILING = TESTS / "typing" / "failing.py"
WHOLE_BOT = TESTS / "typing" / "whole_bot.py"
DOCS = CHECKOUT / "docs" / "typed.md"
FILES = (PASSING, FAILING, WHOLE_BOT)

# By file and line, what a checker has to say.
Errors = dict[tuple[Path, int], list[str]]


@pytest.fixture(scope="module")
def errors(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Any]:
    """The errors of each checker in the files, from one run of both at the same time."""
    checkers = {
        "mypy": start_mypy(CHECKOUT / ".mypy_cache" / "tests"),
        "pyright": start_pyright(tmp_path_factory.mktemp("pyright")),
    }
    readers = {"mypy": read_mypy, "pyright": read_pyright}
    try:
        yield {name: readers[name](checker) for name, checker in checkers.items()}
    finally:
        for checker in checkers.values():
            kill_program(checker)


def start_mypy(cache: Path) -> subprocess.Popen[str]:
    options = ["--strict", "--config-file=", f"--cache-dir={cache}", "--output=json"]
    return start("mypy", *options, *map(str, FILES))


def read_mypy(checker: subprocess.Popen[str]) -> Errors:
    output = read(checker)
    errors: Errors = {}
    for line in output.splitlines():
        found = json.loads(line)
        if found["severity"] == "error":
            place = CHECKOUT / found["file"], found["line"]
            errors.setdefault(place, []).append(found["message"].partition("\n")[0])
    return errors


def start_pyright(project: Path) -> subprocess.Popen[str]:
    config = {
        # Absolute paths are ignored.
        "include": [os.path.relpath(file, project) for file in FILES],
        "typeCheckingMode": "strict",
        "extraPaths": [str(CHECKOUT)],
    }
    (project / "pyrightconfig.json").write_text(json.dumps(config))
    options = ["--outputjson", "--pythonpath", sys.executable, "--project", str(project)]
    return start("pyright", *options)


def read_pyright(checker: subprocess.Popen[str]) -> Errors:
    output = json.loads(read(checker))
    assert len(FILES) == output["summary"]["filesAnalyzed"]
    errors: Errors = {}
    for found in output["generalDiagnostics"]:
        if found["severity"] == "error":
            place = Path(found["file"]), found["range"]["start"]["line"] + 1
            errors.setdefault(place, []).append(found["message"].partition("\n")[0])
    return errors


def start(module: str, *options: str) -> subprocess.Popen[str]:
    return start_program([sys.executable, "-m", module, *options], CHECKOUT)


def read(checker: subprocess.Popen[str]) -> str:
    """What a checker printed, once it has come to a verdict (0 or 1) and has not crashed."""
    output, complaint = finish_program(checker)
    assert checker.returncode in (0, 1), output + complaint
    return output


def marked_lines(file: Path, checker: str) -> list[int]:
    """The lines that say that this checker must refuse them."""
    mark = re.compile(rf"# E:.*\b{checker}\b")
    lines = enumerate(file.read_text().splitlines(), start=1)
    return [number for number, line in lines if mark.search(line)]


def surprises(file: Path, checker: str, errors: Errors) -> str:
    """Where a checker did not do with a file as its marks say, a line for each."""
    lines = file.read_text().splitlines()
    marked = set(marked_lines(file, checker))
    refused = {number: found for (path, number), found in errors.items() if path == file}
    return "\n".join(
        f"{number}: {lines[number - 1]} -- {refused.get(number, ['accepted'])[0]}"
        for number in sorted(marked ^ refused.keys())
    )


both_checkers = pytest.mark.parametrize("checker", ["mypy", "pyright"])


@both_checkers
def test_a_checker_accepts_every_line_that_users_may_write(
    checker: str, errors: Mapping[str, Errors]
) -> None:
    """
    `Callable[Concatenate[U, S, P], R]` in, `Callable[Concatenate[U, P], R]` out, methods too.
    """
    assert "" == surprises(PASSING, checker, errors[checker])


@both_checkers
def test_a_checker_refuses_exactly_the_lines_that_are_wrong(
    checker: str, errors: Mapping[str, Errors]
) -> None:
    """
    A handler whose session parameter has the wrong type is an error under `mypy --strict` and
    pyright, and so is every other line that is marked.
    """
    assert "" == surprises(FAILING, checker, errors[checker])


@both_checkers
def test_the_docs_quote_the_error_for_sessions_in_another_order(
    checker: str, errors: Mapping[str, Errors]
) -> None:
    """The page on typed sessions has the error that users get for stacked decorators."""
    lines = FAILING.read_text().splitlines()
    first = lines.index("@profiles.with_session  # E: mypy") + 1
    error = errors[checker][FAILING, first + (checker == "pyright")][0]

    assert f"| {checker} | `{error}` |" in DOCS.read_text()


@both_checkers
def test_what_is_for_the_whole_bot_is_typed(checker: str, errors: Mapping[str, Errors]) -> None:
    """Attached sessions, workers, states, questions and filters accept what is right alone."""
    assert "" == surprises(WHOLE_BOT, checker, errors[checker])
    assert len(marked_lines(WHOLE_BOT, checker)) > 15


@both_checkers
def test_the_lines_that_must_fail_are_marked(checker: str) -> None:
    """
    The file that must fail is no empty promise: it has lines for each checker to refuse.
    """
    assert len(marked_lines(FAILING, checker)) > 50
    assert [] == marked_lines(PASSING, checker)
