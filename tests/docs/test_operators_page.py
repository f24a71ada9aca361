"""The page for operators: its tables are those of the code."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import re
from typing import TYPE_CHECKING, Any

from support.pages import ROOT, read
from telesession import UnitEvent

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE = ROOT / "docs" / "operators.md"
PACKAGE = ROOT / "telesession"
LEVELS = {"exception": "error"}


def logged() -> set[tuple[str, str]]:
    """The level and the text of each record that the library may log, without its remedy."""
    paths = [path for path in PACKAGE.rglob("*.py") if "testing" not in path.parts]
    calls = [call for path in paths for call in _calls(ast.parse(read(path)))]
    return {(level, shown(text)) for level, text in calls}


def _calls(tree: ast.AST) -> Iterator[tuple[str, str]]:
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        function: Any = node.func
        if not isinstance(function.value, ast.Name) or function.value.id != "_log":
            continue
        if function.attr == "makeRecord":
            level: Any = node.args[1]
            yield level.attr.lower(), ast.literal_eval(node.args[4])
        elif function.attr not in ("findCaller", "handle"):
            yield LEVELS.get(function.attr, function.attr), ast.literal_eval(node.args[0])


def shown(text: str) -> str:
    """A text as the page shows it: an ellipsis for data, and nothing behind a semicolon."""
    beginning = text.partition("; ")[0] if "; its" not in text else text
    return re.sub(r"%[.\d]*[rsdgf]", "…", beginning)


def test_every_record_of_the_log_is_listed() -> None:
    """The tables have each record that the library logs, with its level, and no other one."""
    section = read(PAGE).partition("\n### The log\n")[2].partition("\n## ")[0]
    listed = re.findall(r"^\| (warning|error) \| `(.*?)` \|", section, re.MULTILINE)
    assert sorted(logged()) == sorted(listed)
    assert len(listed) > 30


def test_every_attribute_of_an_event_is_listed() -> None:
    """The table of events has each attribute of `UnitEvent`, in the order of the class."""
    section = read(PAGE).partition("\n### Events\n")[2].partition("\n### ")[0]
    cells = re.findall(r"^\| (`[^|]*`) \|", section, re.MULTILINE)
    listed = [name for cell in cells for name in re.findall(r"`(\w+)`", cell)]
    assert [field.name for field in dataclasses.fields(UnitEvent)] == listed


def test_the_attributes_have_their_descriptions() -> None:
    """The docstring of `UnitEvent` describes each attribute."""
    text = inspect.getdoc(UnitEvent) or ""
    described = re.findall(r"^ {4}(\w+): ", text, re.MULTILINE)
    assert [field.name for field in dataclasses.fields(UnitEvent)] == described
