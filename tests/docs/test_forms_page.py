"""The tables of the page on forms of annotations: each row is stored, or refused, as it says."""

from __future__ import annotations

import collections
import collections.abc
import datetime
import decimal
import fractions
import ipaddress
import json
import pathlib
import re
import typing
import uuid
import zoneinfo
from dataclasses import make_dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from telebot import types

import telesession
from support.bots import ROOT
from support.pages import blocks_of, read, run_block
from telesession import EncodeError, Sessions

if TYPE_CHECKING:
    from collections.abc import Iterator

    from telesession import Storage

PAGE = ROOT / "docs" / "forms.md"
# The modules whose names the rows use without an import. The last ones win.
MODULES = [typing, collections, collections.abc, datetime, decimal, fractions, ipaddress]
MODULES += [pathlib, uuid, zoneinfo]
# A piece of code in a list of such pieces.
CODE = re.compile(r"`[^`]+`(, )?")


class Example(NamedTuple):
    """
    Something that the page shows in a row of a table.

    Args:
        line: The number of the line, from 1.
        form: The annotation; `None` if it is the class of the value.
        value: The value; empty if the form is refused.
        said: The JSON of the value, or the reason of a refusal.
    """

    line: int
    form: str | None
    value: str
    said: str


def rows_of(*heads: str) -> Iterator[tuple[int, list[str]]]:
    """The numbers of the lines, from 1, and the cells of the tables that have these columns."""
    is_inside = False
    for line, text in enumerate(read(PAGE).splitlines(), 1):
        cells = [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", text)[1:-1]]
        if cells[: len(heads)] == [*heads]:
            is_inside = True
        elif not cells:
            is_inside = False
        elif is_inside and set(cells[0]) != {"-"}:
            yield line, cells


def codes(cell: str) -> list[str]:
    """The pieces of code in a cell."""
    return re.findall(r"`([^`]+)`", cell)


def kept_examples() -> Iterator[Example]:
    """The values in the tables of forms: one for each form, or several of one form."""
    for line, (form, value, stored, _) in rows_of("form", "example", "JSON"):
        forms: list[str | None] = [*codes(form)] if not CODE.sub("", form) else [None]
        values = codes(value)
        if len(forms) == 1:
            forms *= len(values)
        for cells in zip(forms, values, codes(stored), strict=True):
            yield Example(line, *cells)


KEPT = list(kept_examples())
REFUSED_FORMS = [
    Example(line, codes(form)[0], "", f"{reason}; {remedy}")
    for line, (form, reason, remedy) in rows_of("form", "reason", "remedy")
]
REFUSED_VALUES = [
    Example(line, codes(form)[0], codes(value)[0], said)
    for line, (form, value, said) in rows_of("declared", "value", "the error says")
]


@pytest.fixture(scope="module")
def names() -> dict[str, Any]:
    """The names that the rows use: of the page, of telesession and of the standard library."""
    found = {name: value for module in MODULES for name, value in vars(module).items()}
    found |= {name: getattr(telesession, name) for name in telesession.__all__}
    found |= {"__name__": __name__, "Message": types.Message}
    for block in blocks_of(PAGE, "python"):
        if "Sessions(" not in block.code:
            run_block(block, found, "forms")
    return found


def sessions_of(names: dict[str, Any], example: Example, storage: Storage) -> Sessions[Any]:
    """Sessions with the field `value`, of the form and with the value of an example."""
    value = eval(example.value, names)
    hint = type(value) if example.form is None else eval(example.form, names)
    holder: Any = make_dataclass("Holder", [("value", hint)])
    return Sessions(initial=lambda: holder(value), storage=storage)


def kept(names: dict[str, Any], example: Example, storage: Storage) -> Any:
    """The value of an example as it comes back from a storage."""
    with sessions_of(names, example, storage).open(1):
        pass
    # Other sessions, as after a restart.
    with sessions_of(names, example, storage).open(1) as session:
        return session.value


def seen(value: Any) -> tuple[Any, ...]:
    """A value with its type, and those of its parts."""
    return type(value), value, repr(value)


def test_every_row_is_run() -> None:
    """Each row of a table of the page is an example of the tests below."""
    heads = re.compile(r"\| (?:form|declared|---) \|")
    lines = enumerate(read(PAGE).splitlines(), 1)
    rows = {line for line, text in lines if text.startswith("|") and not heads.match(text)}
    examples = {example.line for example in (*KEPT, *REFUSED_FORMS, *REFUSED_VALUES)}
    assert (True, rows) == (len(rows) > 0, examples)


def line_of(example: Example) -> str:
    return f"{example.line}: {example.form or example.value}"


memory_and_file = pytest.mark.parametrize("storage", ["memory", "sqlite"], indirect=True)
a_file = pytest.mark.parametrize("storage", ["sqlite"], indirect=True)


@pytest.mark.parametrize("example", KEPT, ids=line_of)
class TestForms:
    @memory_and_file
    def test_each_value_comes_back(
        self, names: dict[str, Any], example: Example, storage: Storage
    ) -> None:
        """A row's value comes back equal and of the same type, in memory and from a file."""
        value = eval(example.value, names)
        assert seen(value) == seen(kept(names, example, storage))

    @a_file
    def test_the_json_is_as_shown(
        self, names: dict[str, Any], example: Example, storage: Storage
    ) -> None:
        """The record has the JSON of the row."""
        kept(names, example, storage)
        record = json.loads(storage.get("1") or b"")
        # With the types, because true equals 1.
        assert repr(json.loads(example.said)) == repr(record["fields"]["value"])


@memory_and_file
@pytest.mark.parametrize("example", REFUSED_FORMS, ids=line_of)
def test_each_refused_form_is_refused_as_shown(
    names: dict[str, Any], example: Example, storage: Storage
) -> None:
    """A refused form is a `TypeError` at once, which has the row's reason and remedy."""
    holder = make_dataclass("Holder", [("value", eval(str(example.form), names), None)])
    with pytest.raises(TypeError, match=re.escape("the annotation of Holder.value: ")) as caught:
        Sessions(initial=holder, storage=storage)
    assert example.said in str(caught.value)


@memory_and_file
@pytest.mark.parametrize("example", REFUSED_VALUES, ids=line_of)
def test_each_refused_value_is_refused_as_shown(
    names: dict[str, Any], example: Example, storage: Storage
) -> None:
    """A refused value is an `EncodeError` on every storage, which has the row's words."""
    with pytest.raises(EncodeError) as caught:
        kept(names, example, storage)
    assert example.said in str(caught.value)
    assert None is storage.get("1")
