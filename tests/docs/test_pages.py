"""The manual: complete, and its links lead somewhere."""

from __future__ import annotations

import inspect
import re
from collections.abc import Sequence
from typing import Any

import pytest

import telesession
from support.bots import ROOT
from support.pages import PAGES, README, anchors_of, blocks_of, name_of, read
from telesession import Sessions, SessionStateStorage, testing, use_sequential_workers

DOCS = ROOT / "docs"
ALL = [README, *(ROOT / f"{name}.md" for name in ("CONTRIBUTING", "SECURITY")), *PAGES]


class TestLinks:
    @pytest.mark.parametrize("path", ALL, ids=name_of)
    def test_links_lead_somewhere(self, path: Any) -> None:
        """Every link inside the repository leads to a file, and to one of its headings."""
        lost = []
        for link in re.findall(r"\]\(([^)\s]+)\)", read(path)):
            file, _, anchor = link.partition("#")
            target = path if not file else path.parent / file
            if "://" in link:
                continue
            if not target.is_file() or (anchor and anchor not in anchors_of(target)):
                lost.append(link)
        assert [] == lost

    @pytest.mark.parametrize("path", PAGES, ids=name_of)
    def test_code_fits_on_the_page(self, path: Any) -> None:
        """No line of code is longer than the built page is wide."""
        blocks = blocks_of(path)
        long = [line for block in blocks for line in block.code.splitlines() if len(line) > 80]
        assert [] == long

    def test_every_page_is_in_the_navigation(self) -> None:
        """The site's navigation has every page."""
        navigation = read(ROOT / ".mkdocs.yml")
        pages = {path.relative_to(DOCS).as_posix() for path in PAGES}
        assert pages == pages & set(re.findall(r"^ +- ([\w/-]+\.md)$", navigation, re.MULTILINE))


class TestReference:
    def test_it_has_every_public_name(self) -> None:
        """The reference has each name that can be imported from `telesession`, once."""
        listed = re.findall(r"^::: telesession\.(\w+)$", read(DOCS / "reference.md"), re.MULTILINE)
        assert sorted(telesession.__all__) == sorted(listed)

    def test_it_has_every_public_name_for_tests(self) -> None:
        """The reference has each name of `telesession.testing` and of its modules for users."""
        page = read(DOCS / "reference-testing.md")
        listed = re.findall(r"^::: telesession\.testing\.([\w.]+)$", page, re.MULTILINE)
        fixtures = ["fixtures.bot_api", "fixtures.fresh_sessions", "fixtures.frozen_time"]
        samples = ["samples.SAMPLES", "samples.Sample"]
        others = [*fixtures, *samples, "storage_suite.StorageSuite"]
        assert sorted([*testing.__all__, *others]) == sorted(listed)

    def test_it_leaves_out_names_that_exist(self) -> None:
        """Each name that the reference for tests leaves out is a method of a class of the kit."""
        page = read(DOCS / "reference-testing.md")
        left_out = {
            name for names in re.findall(r'"!\^\((.*)\)\$"', page) for name in names.split("|")
        }
        assert left_out
        assert set() == left_out - set(dir(testing.BotAPI())) - set(dir(testing.Chat))

    def test_every_public_name_is_explained(self) -> None:
        """Each name that can be imported is mentioned on another page than the reference."""
        pages = "".join(read(path) for path in PAGES if path.name != "reference.md")
        assert [] == [name for name in telesession.__all__ if name not in pages]


class TestTables:
    def test_every_example_is_listed(self) -> None:
        """The table of examples has every file of the folder."""
        names = [path.stem for path in (ROOT / "examples").glob("*.py")]
        page = read(DOCS / "examples.md")
        listed = re.findall(r"^\| \[\w+\.py\]\(\.\./examples/(\w+)\.py\)", page, re.MULTILINE)
        assert sorted(names) == sorted(listed)

    def test_every_option_is_listed_with_its_default(self) -> None:
        """The table of options has every option and its default, in the order of the signature."""
        expected = defaults_of(Sessions)
        actual = table_of_options("sessions.md")
        assert "one `MemoryStorage` for the whole process" == actual.pop("storage")
        assert "None" == expected.pop("storage")
        assert ("None", "{}") == (expected.pop("migrations"), actual.pop("migrations"))
        assert (list(expected), expected) == (list(actual), actual)

    def test_every_option_of_the_workers_is_listed(self) -> None:
        """The table of the workers' options has every option and its default."""
        expected = defaults_of(use_sequential_workers)
        assert "None" == expected.pop("num_threads")
        actual = table_of_options("bot/workers.md")
        assert "as many as before" == actual.pop("num_threads")
        assert expected == actual

    def test_every_option_of_states_is_listed(self) -> None:
        """The table of the options of `SessionStateStorage` has every option and its default."""
        assert defaults_of(SessionStateStorage) == table_of_options("bot/states.md")

    def test_every_error_has_a_remedy(self) -> None:
        """Each subclass of `SessionError` has a row, and a section with a case and a remedy."""
        page = read(DOCS / "errors.md")
        rows = re.findall(r"^\| \[`(\w+Error)`\]", page, re.MULTILINE)
        section = r"^## (\w+Error)\n\n\*\*When:\*\* .+?\n\n\*\*Do:\*\* "
        sections = re.findall(section, page, re.MULTILINE | re.DOTALL)
        public = [getattr(telesession, name) for name in telesession.__all__]
        errors = sorted(kind.__name__ for kind in public if is_session_error(kind))
        assert (errors, errors) == (sorted(rows), sorted(sections))

    def test_every_attribute_of_an_error_is_listed(self) -> None:
        """The section of an error names each of its attributes."""
        page = read(DOCS / "errors.md")
        for kind in telesession.SessionError.__subclasses__():
            section = page.partition(f"\n## {kind.__name__}\n")[2].partition("\n## ")[0]
            listed = section.partition("**Attributes:** ")[2].partition("\n")[0]
            attributes = list(inspect.signature(kind).parameters)
            assert (kind.__name__, attributes) == (
                kind.__name__,
                re.findall(r"`([a-z_]+)`(?:,| \(|\.)", listed),
            )

    def test_every_module_is_in_the_architecture(self) -> None:
        """The page on the architecture names every module of the package and its storages."""
        page = read(DOCS / "architecture.md")
        package = ROOT / "telesession"
        modules = {path.name for path in [*package.glob("*.py"), *package.glob("storage/*.py")]}
        folders = {f"{path.parent.name}/" for path in package.glob("*/__init__.py")}
        named = set(re.findall(r"`(?:\w+/)?(\w+\.py)`", page)) | set(re.findall(r"`(\w+/)`", page))
        assert set() == (modules | folders) - named

    def test_imports_lead_up_the_table_of_modules(self) -> None:
        """A module imports those of its own row and of the rows above it, as the page says."""
        table = read(DOCS / "architecture.md").partition("| module | owns |")[2].split("\n\n")[0]
        rows = [row.split("|")[1] for row in table.splitlines()[2:]]
        row_of = {
            name.removesuffix(".py").rstrip("/"): number
            for number, row in enumerate(rows)
            for name in re.findall(r"`([\w./]+)`", row)
        }

        def row(parts: Sequence[str]) -> int:
            """The row of a module, or else that of its package."""
            return row_of.get("/".join(parts[:2]), row_of[parts[0]])

        imports = [
            (path.relative_to(ROOT / "telesession").with_suffix("").parts, imported.split("."))
            for path in (ROOT / "telesession").rglob("*.py")
            for imported in re.findall(r"^ *from telesession\.([\w.]+)", read(path), re.MULTILINE)
        ]
        downwards = [pair for pair in imports if row(pair[1]) > row(pair[0])]
        assert (True, []) == (len(imports) > 0, downwards)


def defaults_of(function: Any) -> dict[str, str]:
    """The keywords of a function, each with its default as a page writes it."""
    parameters = inspect.signature(function).parameters.values()
    options = [option for option in parameters if option.kind is option.KEYWORD_ONLY]
    return {option.name: shown_default(option.default) for option in options}


def shown_default(default: Any) -> str:
    shown = getattr(default, "__name__", None) or repr(default)
    return shown.replace("'", '"')


def table_of_options(name: str) -> dict[str, str]:
    """The first table of options on a page: each option with its default, as code or in words."""
    page = read(DOCS / name)
    table = page[page.index("| option |") :].split("\n\n")[0]
    rows = re.findall(r"^\| `(\w+)` \| (?:`(.*?)`|(\w.*?)) \|", table, re.MULTILINE)
    return {option: code or words for option, code, words in rows}


def is_session_error(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, telesession.SessionError)
