"""The diagrams that are drawn by hand: readable in each scheme, and for screen readers."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from support.colours import BACKGROUNDS, contrast
from support.pages import ROOT, read

SVG = "{http://www.w3.org/2000/svg}"
DIAGRAMS = [ROOT / "docs" / "assets" / f"{name}.svg" for name in ("update", "waiting")]
PAGE = ROOT / "docs" / "how-it-works.md"
each_diagram = pytest.mark.parametrize("path", DIAGRAMS, ids=lambda path: path.stem)


@each_diagram
def test_a_diagram_is_described(path: Path) -> None:
    """A diagram has a title, and its description is its alternative text on the page."""
    root = ET.fromstring(read(path))
    assert root.findtext(f"{SVG}title")
    assert f"![{root.findtext(f'{SVG}desc')}](assets/{path.name})" in read(PAGE)


@each_diagram
@pytest.mark.parametrize("background", BACKGROUNDS.values(), ids=BACKGROUNDS)
def test_each_colour_is_seen_on_both_backgrounds(path: Path, background: str) -> None:
    """Each colour has a contrast of 3 on light and on dark pages."""
    colours = set(re.findall(r"#[0-9a-f]{6}\b", read(path)))
    assert len(colours) >= 3
    assert [] == [colour for colour in colours if contrast(colour, background) < 3]


@each_diagram
def test_a_diagram_loads_nothing(path: Path) -> None:
    """A diagram has no script, no image, no font of its own and no address but that of SVG."""
    svg = read(path)
    assert ["http://www.w3.org/2000/svg"] == re.findall(r"https?:[^\"]*", svg)
    assert None is re.search(r"<script|<image|@import|@font-face|url\((?!#)", svg)


def test_the_steps_are_those_of_the_table() -> None:
    """The numbered boxes and the first column of the table are the same steps."""
    texts = [text.text or "" for text in ET.fromstring(read(DIAGRAMS[0])).iter(f"{SVG}text")]
    drawn = [text for text in texts if re.match(r"\d\.", text)]
    rows = re.findall(r"^\| (\d\. [^|]*?) \|", read(PAGE), re.MULTILINE)
    assert 7 == len(drawn)
    assert drawn == [row.replace("`", "") for row in rows]


def test_a_weak_colour_is_noticed() -> None:
    """Control: black is no colour for a dark page, and the contrast is that of WCAG 2."""
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#000000", BACKGROUNDS["dark"]) < 3
