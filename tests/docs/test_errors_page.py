"""The page on errors: its tables have the messages of the code."""

from __future__ import annotations

import ast
import re
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple

from support.pages import ROOT, read
from telesession.storage import postgres_errors, redis_errors, sqlite_errors

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE = ROOT / "docs" / "errors.md"
PACKAGE = ROOT / "telesession"
# Folders whose messages are for testers and operators. They have pages of their own.
ELSEWHERE = {"testing", "cli"}
OTHERS = {"RuntimeError", "ImportError"}
REFUSALS = {"TypeError", "ValueError"}
# Signals between functions of one module, which leave the library as other errors.
INTERNAL = {"no list", "an item is there twice", "a key is there twice", "written otherwise"}


class Message(NamedTuple):
    """
    A text that an exception is made with.

    Attributes:
        error: The name of its class.
        folder: The folder inside the package, `""` at the top.
        text: The text, with an ellipsis for data.
    """

    error: str
    folder: str
    text: str


def messages() -> Iterator[Message]:
    """The texts that the exceptions of the library are made with."""
    for path in PACKAGE.rglob("*.py"):
        folder = path.relative_to(PACKAGE).parent.as_posix().removeprefix(".")
        if folder.partition("/")[0] in ELSEWHERE:
            continue
        for call in ast.walk(ast.parse(read(path))):
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Name):
                values = [*call.args, *(keyword.value for keyword in call.keywords)]
                # A text with a space is none of the words for an action, such as "write".
                texts = [text for value in values if " " in (text := text_of(value))]
                yield from (Message(call.func.id, folder, text) for text in texts)


def text_of(value: ast.AST) -> str:
    """The text of an expression, with an ellipsis for data."""
    if isinstance(value, ast.Constant) and isinstance(value.value, str):
        return value.value
    if isinstance(value, ast.JoinedStr):
        return "".join(map(text_of, value.values))
    return "…" if isinstance(value, ast.FormattedValue) else ""


def texts_of_package() -> str:
    """Every text in the code of the library, one on each line."""
    nodes = chain.from_iterable(
        ast.walk(ast.parse(read(path)))
        for path in PACKAGE.rglob("*.py")
        if path.relative_to(PACKAGE).parts[0] not in ELSEWHERE
    )
    return "\n".join(filter(None, map(text_of, nodes)))


def section(name: str) -> str:
    return read(PAGE).partition(f"\n### {name}\n")[2].partition("\n### ")[0]


def fragments(name: str) -> list[str]:
    """The pieces of messages in the first column of the tables of a section."""
    rows = re.findall(r"^\| (`.*?`) \| ", section(name), re.MULTILINE)
    return [piece for row in rows for piece in re.findall(r"`([^`]+)`", row)]


def pattern(fragment: str) -> re.Pattern[str]:
    """A fragment as a pattern: an ellipsis in it is any text."""
    return re.compile(".*".join(map(re.escape, fragment.split("…"))), re.DOTALL)


SECTIONS = {
    "Messages of SessionError": {"SessionError"},
    "Reasons of DecodeError": {"DecodeError"},
    "Reasons of EncodeError": {"EncodeError", "UntaggedError"},
    "Reasons of StorageError": {"StorageError", "UnusableError"},
    "TypeError and ValueError": REFUSALS,
    "Other classes": OTHERS,
}


def test_every_message_has_a_row() -> None:
    """Each text of an exception has a row in the section of its class."""
    missing, found, left_out = [], list(messages()), INTERNAL | texts_without_a_row()
    for name, errors in SECTIONS.items():
        patterns = [pattern(fragment) for fragment in fragments(name)]
        for message in found:
            if message.error not in errors or message.text in left_out:
                continue
            # The last row of this section is for typed sessions, whose forms have their own page.
            is_typed = message.folder == "typed" and errors == REFUSALS
            if not is_typed and not any(each.search(message.text) for each in patterns):
                missing.append(message)
    assert [] == missing


def texts_without_a_row() -> set[str]:
    """
    The texts that need no row of their own: cures, and the actions of a `StorageError`.

    A row has the cure in its own words.
    """
    # The position of the cure among the arguments.
    places = {"UnusableError": 1, "UntaggedError": 1, "DecodeError": 2, "StorageError": 3}
    found = set()
    for path in PACKAGE.rglob("*.py"):
        for call in ast.walk(ast.parse(read(path))):
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Name):
                place = places.get(call.func.id, len(call.args))
                found |= {text_of(value) for value in call.args[place:]}
                if call.func.id == "StorageError":
                    # The action, such as "reach the cluster".
                    found |= {text_of(value) for value in call.args[:1]}
    return found - {""}


def test_every_row_has_a_message() -> None:
    """Each message on the page is a text of the library."""
    texts = texts_of_package().splitlines()
    lost = [
        fragment
        for name in SECTIONS
        for fragment in fragments(name)
        if not any(pattern(fragment).search(text) for text in texts)
    ]
    assert [] == lost


def test_the_reasons_of_backends_are_those_of_the_code() -> None:
    """The tables for a file and for the servers have each reason of the library, with its cure."""
    listed = re.findall(
        r"^\| ([^`|…]+) \| ([^|]+) \|$", section("Reasons of StorageError"), re.MULTILINE
    )
    rows = {row for row in listed if not set(row[0]) <= {"-"} and row != ("reason", "cure")}
    tables = (
        sqlite_errors.DIAGNOSES,
        redis_errors.DIAGNOSES,
        redis_errors.PLAIN_DIAGNOSES,
        redis_errors.CLUSTER_DIAGNOSES,
        postgres_errors._CODES,
        postgres_errors._PHRASES,
    )
    expected = {pair for table in tables for pair in table.values()}
    assert expected | {postgres_errors._UNREACHABLE} == rows


def test_a_missing_message_is_noticed() -> None:
    """Control: a text that no row has matches none, and a row matches its own text."""
    patterns = [pattern(fragment) for fragment in fragments("Messages of SessionError")]
    texts = [
        "could not dance: the music is over",
        "could not ask: this Poll has no sender, or no chat",
    ]
    assert [False, True] == [any(each.search(text) for each in patterns) for text in texts]
