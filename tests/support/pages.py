"""The README and the pages of the manual: their prose, code blocks and headings."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from types import CodeType
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
PAGES = sorted((ROOT / "docs").rglob("*.md"))

_ANY_BLOCK = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)
_BLOCK = re.compile(
    r"(?P<comment>(?:^<!-- [^\n]* -->\n)?)"
    r"^```(?P<language>\w+)(?: title=\"(?P<title>[^\"]+)\")?\n(?P<code>.*?)^```$",
    re.DOTALL | re.MULTILINE,
)


class Block(NamedTuple):
    """
    A block of code.

    Attributes:
        language: The word behind the fence.
        title: The name of the file that the block is; `None` for a piece of a page.
        code: The lines between the fences.
        needs_server: Whether the comment above it says so.
        line: The number of the line of the opening fence, from 1.
    """

    language: str
    title: str | None
    code: str
    needs_server: bool
    line: int


def read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def name_of(path: Path) -> str:
    """The path of a page inside the repository."""
    return path.relative_to(ROOT).as_posix()


def blocks_of(path: Path, language: str | None = None) -> list[Block]:
    """The blocks of a page in order: all of them, or those of one language."""
    text = read(path)
    blocks = [
        Block(
            match["language"],
            match["title"],
            match["code"],
            needs_server="needs a server" in match["comment"],
            line=text.count("\n", 0, match.start("language")) + 1,
        )
        for match in _BLOCK.finditer(text)
    ]
    return [block for block in blocks if language in (None, block.language)]


def prose_of(text: str) -> str:
    """A page without code: blocks are empty lines, so that the numbers of lines stay."""
    without_blocks = _ANY_BLOCK.sub(lambda block: "\n" * block[0].count("\n"), text)
    return re.sub(r"`[^`\n]*`", "`code`", without_blocks)


def anchors_of(path: Path) -> set[str]:
    """The anchors of the headings of a page, and of the names that a reference documents."""
    text = _ANY_BLOCK.sub("", read(path))
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
    return anchors | set(re.findall(r"^::: ([\w.]+)$", text, re.MULTILINE))


def run_block(block: Block, names: dict[str, Any], page: str) -> list[tuple[str, str]]:
    """
    Run a block, statement by statement.

    Returns:
        The values that it shows in comments behind expressions, each with the `repr` of the real
        one.
    """
    lines = block.code.splitlines()
    claims = []
    for statement in ast.parse(block.code).body:
        comment = lines[(statement.end_lineno or 0) - 1].partition("  # ")[2]
        ast.increment_lineno(statement, block.line)
        if isinstance(statement, ast.Expr) and _is_value(comment):
            value = eval(_compiled(ast.Expression(statement.value), page, "eval"), names)
            claims.append((comment.strip(), repr(value)))
        else:
            exec(_compiled(ast.Module([statement], []), page, "exec"), names)
    return claims


def _compiled(code: ast.Module | ast.Expression, page: str, mode: str) -> CodeType:
    # Without the future features of this file, which a page does not show.
    return compile(code, page, mode, dont_inherit=True)


def _is_value(comment: str) -> bool:
    """Whether a comment is a value and no prose."""
    try:
        return not isinstance(ast.parse(comment.strip(), mode="eval").body, ast.Name)
    except SyntaxError:
        return False
