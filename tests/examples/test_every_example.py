"""What holds for every example: it is tested, chats as it shows, and needs no network."""

from __future__ import annotations

import ast
import doctest
import functools
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support.bots import ROOT, Terminal, forget_settings
from support.clocks import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Iterator


EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
NAMES = [path.stem for path in EXAMPLES]

pytestmark = pytest.mark.usefixtures("fresh_process")


@pytest.fixture(scope="module")
def terminals(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Terminal]]:
    """Every example, started at the same time and typed at as its docstring shows."""
    with pytest.MonkeyPatch.context() as patch:
        forget_settings(patch)
        terminals = {
            name: Terminal(name, f"{transcript(name)[0]}/quit\nhi\n", tmp_path_factory.mktemp(name))
            for name in NAMES
        }
    yield terminals
    for terminal in terminals.values():
        terminal.close()


def transcript(name: str) -> tuple[str, str]:
    """What is typed and what is printed in the chat that an example's docstring shows."""
    source = (ROOT / "examples" / f"{name}.py").read_text()
    docstring = ast.get_docstring(ast.parse(source)) or ""
    shown = [line for line in docstring.splitlines() if line.startswith("    ")]
    lines = textwrap.dedent("\n".join(shown)).splitlines()
    typed = [line.removeprefix("> ") for line in lines if line.startswith("> ")]
    printed = [line for line in lines if not line.startswith("> ")]
    return "".join(f"{line}\n" for line in typed), "".join(f"{line}\n" for line in printed)


class TestEveryExample:
    @pytest.mark.parametrize("name", NAMES)
    def test_it_is_tested(self, name: str) -> None:
        """Every file of the folder has a class of tests, wherever in the folder of tests."""
        assert {name} == examples_of_tests() & {name}

    @pytest.mark.parametrize("name", NAMES)
    def test_it_chats_as_its_docstring_shows(
        self, name: str, terminals: dict[str, Terminal]
    ) -> None:
        """Typed at in a terminal it prints what its docstring shows, and ends at `/quit`."""
        expected = transcript(name)[1]
        printed, complaints, code = terminals[name].result()
        assert ("", 0) == (complaints, code)
        assert "" != expected
        if not doctest.OutputChecker().check_output(expected, printed, doctest.ELLIPSIS):
            assert expected == printed

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
    paths = (ROOT / "tests").rglob("test_*.py")
    nodes = [node for path in paths for node in ast.parse(path.read_text()).body]
    classes = [node for node in nodes if isinstance(node, ast.ClassDef)]
    return {name for kind in classes if kind.name.startswith("Test") for name in named_by(kind)}


def named_by(kind: ast.ClassDef) -> Iterator[str]:
    """What `example = ...` in a class names."""
    for node in kind.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "example":
            yield ast.literal_eval(node.value)
