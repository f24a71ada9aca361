"""The English of Python files: their docstrings, comments and messages."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from bisect import bisect
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

# The name of an argument or an attribute in a section of a docstring, a name of a rule in
# `noqa`, and code.
_NAME = re.compile(r"^([ \t]+)\*{0,2}\w+(?=: )", re.MULTILINE)
_DIRECTIVE = re.compile(r"^#\s*(?:noqa|type|pyright|ruff|fmt)\b:?.*?(?: -- |$)")
_CODE = re.compile(r"``[^`]*``|`[^`]*`")
_SENTENCE_END = re.compile(r"[.:;?](?= )")


class Passage(NamedTuple):
    """
    A docstring, a comment or a message of a Python file, on one line and without code.

    Attributes:
        text: The words, with one space between them.
        starts: The indexes of the words in the text.
        lines: The numbers of the lines of the words in the file, from 1.
    """

    text: str
    starts: list[int]
    lines: list[int]

    def line_at(self, index: int) -> int:
        """The number of the line of the word at an index of the text."""
        return self.lines[bisect(self.starts, index) - 1]

    def sentence_at(self, index: int) -> str:
        """The sentence, or the half of one, around an index of the text."""
        ends = [match.end() for match in _SENTENCE_END.finditer(self.text)]
        at = bisect(ends, index)
        begin = ends[at - 1] if at else 0
        end = ends[at] if at < len(ends) else len(self.text)
        return self.text[begin:end].strip()


def passages_of(source: str) -> Iterator[Passage]:
    """The docstrings, comments and messages of the source of a module."""
    tree = ast.parse(source)
    docstrings = {id(node): node for node in _docstrings_of(tree)}
    for docstring in docstrings.values():
        # The text before a name stays in its own sentence: the name ends with a colon.
        yield _passage(docstring.lineno, _NAME.sub(r"\1`name`", str(docstring.value)))
    texts, in_f_strings = dict[int, ast.Constant](), set[int]()
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            in_f_strings.update(map(id, node.values))
            yield _passage(node.lineno, "".join(map(_words_of, node.values)))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            texts[id(node)] = node
    for key, text in texts.items():
        if key not in docstrings and key not in in_f_strings:
            yield _passage(text.lineno, str(text.value))
    yield from _comments_of(source)


def _docstrings_of(tree: ast.Module) -> Iterator[ast.Constant]:
    for node in ast.walk(tree):
        match node:
            case (
                ast.Module(body=[ast.Expr(ast.Constant(str()) as text), *_])
                | ast.ClassDef(body=[ast.Expr(ast.Constant(str()) as text), *_])
                | ast.FunctionDef(body=[ast.Expr(ast.Constant(str()) as text), *_])
                | ast.AsyncFunctionDef(body=[ast.Expr(ast.Constant(str()) as text), *_])
            ):
                yield text


def _words_of(part: ast.expr) -> str:
    """A part of an f-string; a value in braces is code."""
    return part.value if isinstance(part, ast.Constant) else "`value`"


def _comments_of(source: str) -> Iterator[Passage]:
    """The comments; those on lines below each other are one."""
    first, last, lines = 0, 0, list[str]()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            if token.start[0] != last + 1 or not token.line.lstrip().startswith("#"):
                yield _passage(first, "\n".join(lines))
                first, lines = token.start[0], []
            last = token.start[0]
            lines.append(_DIRECTIVE.sub("", token.string).lstrip("#: "))
    yield _passage(first, "\n".join(lines))


def _passage(line: int, text: str) -> Passage:
    text = _CODE.sub(lambda code: "`code`" + "\n" * code[0].count("\n"), text)
    words, starts, lines = [], [], []
    length = 0
    for number, row in enumerate(text.split("\n"), line):
        for word in row.split():
            words.append(word)
            starts.append(length)
            lines.append(number)
            length += len(word) + 1
    return Passage(" ".join(words), starts, lines)
