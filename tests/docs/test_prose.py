"""The English of the manual, the files for contributors, the examples and the package."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from support.pages import PAGES, README, ROOT, name_of, prose_of, read
from support.sentences import passages_of

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

# Verbs, prepositions and conjunctions: "who" after one of them is no relative clause.
_NO_NOUN = (
    "about|and|ask|asks|by|decide|decides|except|for|from|if|know|knows|note|notes|of|on|or|"
    "say|says|see|sees|show|shows|tell|tells|than|that|to|wake|wakes|with"
)

# The rules for docstrings, comments and messages only. Each passage is one line there.
PACKAGE_RULES = {
    r"\bwhat\b": (
        "name the thing instead of a clause: the stored payload, the exception, the content"
    ),
    rf"(?<!, )\b(?:{_NO_NOUN}) who\b": (
        "name the person or the thread instead of a clause: the sender, the next waiter"
    ),
    r"\b(?:which see|none such|(?:every|any)body)\b": (
        "write the reference or the noun: see `name`, no such key, each user, every thread"
    ),
    r"\bbut for\b|\bsave for\b": 'write "except", or the exception in a sentence of its own',
    r"\b(?:gates?|culprits?|heirs?|mend(?:s|ed)?)\b": (
        "use the word of the field: lock, cause, next owner, correct"
    ),
}

# Finds each breach, and most passages have none: one search is faster than one for each rule.
_ANY_RULE = re.compile("|".join((*RULES, *PACKAGE_RULES)), re.IGNORECASE)

PACKAGE = ROOT / "telesession"

# The examples and the whole package, in parts that can be checked at the same time. `PACKAGE` has
# the modules at its top.
PARTS = sorted(path.parent for path in PACKAGE.glob("*/__init__.py"))
FOLDERS = [ROOT / "examples", PACKAGE, *PARTS]


def faults_of(text: str) -> Iterator[str]:
    """The breaches of the rules: the line, the words, and the way to write it instead."""
    prose = prose_of(text)
    for pattern, advice in RULES.items():
        # Only the first rule looks at capitals: it is about the beginning of a sentence.
        flags = re.MULTILINE | (0 if pattern.startswith(_BEGIN) else re.IGNORECASE)
        for match in re.finditer(pattern, prose, flags):
            line = prose.count("\n", 0, match.end()) + 1
            yield f"line {line}: {match[0].strip()!r}: {advice}"


def faults_in_code(source: str) -> Iterator[str]:
    """
    The breaches in a module: the line, the words, their sentence, and the way to write it.

    A question may ask for a person or a thing.
    """
    for passage in passages_of(source):
        if not _ANY_RULE.search(passage.text):
            continue
        ends = set[int]()
        for pattern, advice in (RULES | PACKAGE_RULES).items():
            flags = 0 if pattern.startswith(_BEGIN) else re.IGNORECASE
            for match in re.finditer(pattern, passage.text, flags):
                where = passage.line_at(match.end() - 1)
                sentence = passage.sentence_at(match.end() - 1)
                is_question = sentence.endswith("?") and re.search(r"(?i)\bwh", match[0])
                if is_question or match.end() in ends:
                    continue
                ends.add(match.end())
                yield f"{where}: {match[0].strip()!r} in {sentence!r}: {advice}"


ROOT_PAGES = [ROOT / f"{name}.md" for name in ("CHANGELOG", "CONTRIBUTING", "SECURITY")]
ALL = [README, *ROOT_PAGES, *PAGES]


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


@pytest.mark.parametrize("folder", FOLDERS, ids=name_of)
def test_the_code_is_plain(folder: Path) -> None:
    """Docstrings, comments and messages keep the rules; the failure names line and remedy."""
    modules = sorted(folder.glob("*.py" if folder == PACKAGE else "**/*.py"))
    faults = [f"{name_of(path)}:{f}" for path in modules for f in faults_in_code(read(path))]
    assert (True, []) == (bool(modules), faults), "\n".join(["not plain:", *faults])


@pytest.mark.parametrize(
    "sentence",
    [
        "What it keeps.",
        "Whoever has it writes.",
        "Return what the call returned.",
        "The fields that say who sent it.",
        "An index for who can read.",
        "Removes it, which see.",
        "All fields but for one.",
        "The gate of the lock.",
        "Everybody may read it.",
        "It is read again, for it may have expired.",
        "It looks for the key in vain.",
    ],
)
@pytest.mark.parametrize(
    "module",
    [
        'FIRST = 1\n\n\ndef read():\n    """Read.\n\n    {}\n    """\n',
        "FIRST = 1\n\n\n\n# A comment with two lines, and this is one.\n# The second.\n#: {}\n",
        'def read(key):\n    raise ValueError(\n        f"no {{key}}"\n        "; {}"\n    )\n',
    ],
    ids=["docstring", "comment", "message"],
)
def test_a_breach_in_code_is_found(module: str, sentence: str) -> None:
    """Control: each rule finds a sentence that breaks it in every kind of text."""
    faults = list(faults_in_code(module.format(sentence)))
    assert [] != faults


def test_a_breach_in_code_has_its_line() -> None:
    """The failure names the line of the words, and shows their sentence."""
    module = 'FIRST = 1\n\ndef read():\n    """Read. It gives\n    what is kept. It ends."""\n'
    (first, *_) = faults_in_code(module)
    assert ("5", True) == (first.partition(":")[0], "'It gives what is kept.'" in first)


def test_plain_code_passes() -> None:
    """Control: relative clauses, questions, names of arguments, directives and code pass."""
    module = """
def wait(what):  # noqa: E501 -- a user who waits
    '''
    Wait for a user who writes; `what` is code.

    Args:
        what: The subject.
    '''
    # People who have started it, and an administrator whom the owner trusts.
    return "What is your name?"
"""
    assert [] == list(faults_in_code(module))
