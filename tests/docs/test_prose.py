"""The English of the manual, the README and the files for contributors: plain words."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from support.pages import PAGES, README, ROOT, name_of, prose_of, read

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# Where a sentence begins: a line of its own, an item, a heading, a cell, or behind another one.
_BEGIN = r"(?:^[ \t]*(?:#+ |[-*] |\d+\. |\| )?|(?<=[.:;] )|(?<= \| ))\**"

RULES = {
    rf"{_BEGIN}(?:What|Who|Whoever|Whatever)\b": (
        "begin with a noun that names the thing: the stored payload, the waiting thread, the caller"
    ),
    r"\bwhat (?:is|was|are|were|comes|came) (?:there|left|stored|written|kept)\b": (
        "name the thing instead of a clause: the stored fields, the remaining seconds"
    ),
    r"^#.*\?$": "write a heading as a noun or a statement, not as a question",
    r"^[-*]? ?\*\*[^*\n]*\?\*\*": "write a bold lead as a noun or a statement, not as a question",
    r", for (?!instance\b|example\b)": (
        'write "because", or a sentence of its own; where it is no reason, leave the comma out'
    ),
    r"\bbe it\b": 'write "whether ... or ...", or list the cases',
    r"\bmeanwhile\b": 'write "while ..." and say what happens then, or "at the same time"',
    r"\bin vain\b": 'write "without success", or say which error follows',
    r"\bshall\b": 'write the present ("gets"), "must" or "can"',
    r"\b(?:no|some)body\b": "name the people or threads: no other handler, a user, another process",
    r"\bstrangers?\b": "name the people: other users, a new user, unrelated chats",
    r"\b(?:what|who)(?:so)?ever\b": "name the thing: any value, each user, every exception",
}


def faults_of(text: str) -> Iterator[str]:
    """The breaches of the rules: the line, the words, and the way to write it instead."""
    prose = prose_of(text)
    for pattern, advice in RULES.items():
        # Only the first rule looks at capitals: it is about the beginning of a sentence.
        flags = re.MULTILINE | (0 if pattern.startswith(_BEGIN) else re.IGNORECASE)
        for match in re.finditer(pattern, prose, flags):
            line = prose.count("\n", 0, match.end()) + 1
            yield f"line {line}: {match[0].strip()!r}: {advice}"


ALL = [README, ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", *PAGES]


@pytest.mark.parametrize("path", ALL, ids=name_of)
def test_the_prose_is_plain(path: Path) -> None:
    """A page keeps the rules above; the failure names the line and the remedy."""
    faults = list(faults_of(read(path)))
    assert [] == faults, "\n".join([f"{name_of(path)} is not plain:", *faults])


@pytest.mark.parametrize(
    "text",
    [
        "What is stored comes back.",
        "It waits. Whoever asks first is first.",
        "- **Who reads** waits.",
        "| a | What you save |",
        "## Why does it wait?",
        "**Why a lock?** Two threads.",
        "Read first, for the field may expire.",
        "Any value, be it a list or a dict.",
        "Others wait meanwhile.",
        "It looks in vain.",
        "A field that shall disappear.",
        "Nobody else has it.",
        "It works until somebody writes.",
        "Strangers share a session.",
        "It keeps whatever you like.",
        "It keeps what is there.",
    ],
)
def test_a_breach_is_found(text: str) -> None:
    """Control: each rule finds a sentence that breaks it, and says in which line it is."""
    faults = list(faults_of(f"# Title\n\n{text}\n"))
    assert {"line 3"} == {fault.partition(":")[0] for fault in faults}


def test_plain_sentences_and_code_pass() -> None:
    """Control: relative clauses, examples and code break no rule."""
    text = "A user who sends many waits, for instance `nobody`.\n\n```text\nWhat is this?\n```\n"
    assert [] == list(faults_of(text))
