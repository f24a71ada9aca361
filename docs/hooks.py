"""
Pages of the manual that are files elsewhere in the repository.

Every example and a few files of the root become pages of the site. Links in the manual are those
of the repository, so that they work there, too; here they are turned into links of the site.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import TYPE_CHECKING

from mkdocs.structure.files import File

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
# File of the repository -> page of the site.
ELSEWHERE = {
    f"{name}.md": f"{name.lower()}.md" for name in ("CHANGELOG", "CONTRIBUTING", "SECURITY")
} | {f"examples/{path.name}": f"examples/{path.stem}.md" for path in ROOT.glob("examples/*.py")}
ORIGINS = {page: file for file, page in ELSEWHERE.items()}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are files elsewhere."""
    for file, page in ELSEWHERE.items():
        text = (ROOT / file).read_text(encoding="utf-8")
        if file.endswith(".py"):
            # Without a table of contents there is room for its lines.
            title = f"---\nhide: [toc]\n---\n\n# {Path(file).name}"
            text = f"{title}\n\n```python\n{text}```\n"
        files.append(File.generated(config, page, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, **_: object) -> str:
    """Turn links to files of the repository into links to pages of the site."""
    here = page.file.src_uri
    origin = ORIGINS.get(here, f"docs/{here}")

    def replace(link: re.Match[str]) -> str:
        label, target, anchor = link.groups()
        file = posixpath.normpath(posixpath.join(posixpath.dirname(origin), target))
        if file.startswith("docs/"):
            to = file.removeprefix("docs/")
        elif file in ELSEWHERE:
            to = ELSEWHERE[file]
        elif file == "README.md":
            to = "index.md"
        else:
            return label if (ROOT / file).exists() else link[0]
        return f"[{label}]({posixpath.relpath(to, posixpath.dirname(here) or '.')}{anchor})"

    # In a table of the repository, code needs the backslash before |, and the site would show it.
    rows = re.compile(r"^\| .*", re.MULTILINE)
    markdown = rows.sub(lambda row: row[0].replace(r"\|", "|"), markdown)
    return re.sub(r"\[([^\]]*)\]\(([\w./-]+)((?:#[\w-]+)?)\)", replace, markdown)
