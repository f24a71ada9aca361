"""The charts show the figures of the results, on light and on dark pages."""

from __future__ import annotations

import itertools
import json
import re
import sys
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import pytest

from benchmarks import charts
from support.colours import BACKGROUNDS, contrast

if TYPE_CHECKING:
    from pathlib import Path

SVG = "{http://www.w3.org/2000/svg}"


def row(name: str, library: str, own_us: float, increments: int | None, **more: Any) -> Any:
    """A row of the results."""
    spread = {"median": own_us + 9, "low": own_us + 8, "high": own_us + 11}
    return {
        "name": name,
        "library": library,
        "own_us": own_us,
        "increments": increments,
        "with_us": spread,
        "without_us": spread,
        "note": "",
        **more,
    }


def point(storage: str, sessions: int, low: float, median: float, high: float) -> Any:
    """A point of the results."""
    spread = {"median": median, "low": low, "high": high}
    return {"storage": storage, "sessions": sessions, "us": spread, "bytes": 130}


RESULTS: dict[str, Any] = {
    "measured": {"date": "2026-01-02", "machine": "2 cores & <1> disk", "python": "3.11.7"},
    "memory": [
        row("telesession, plain", "telesession", 6.0, 800),
        row("a dict <without> a lock & more", "a dict", 0.3, 13),
        row("`user_data`", "python-telegram-bot", 12.0, 1),
        row("session", "grammy", -0.4, None),
    ],
    "durable": [
        row("telesession on SQLite", "telesession", 46.0, 800, round_trips=0),
        row("telesession on Valkey", "telesession", 182.0, 800, round_trips=2),
        row("RedisStorage with isolation", "aiogram", 1182.0, 800, round_trips=1),
    ],
    "scale": [
        point("memory", 1000, 6.0, 6.8, 7.1),
        point("memory", 10_000_000, 8.0, 8.8, 9.9),
        point("SQLite", 1000, 45.0, 47.0, 50.0),
        point("SQLite", 100_000, 45.0, 48.0, 52.0),
    ],
}


@pytest.fixture(scope="module")
def drawings() -> dict[str, ET.Element]:
    """The charts of the results above, parsed."""
    return {name: ET.fromstring(svg) for name, svg in charts.charts(RESULTS).items()}


def texts(drawing: ET.Element) -> list[str]:
    """The visible texts of a chart."""
    return [element.text or "" for element in drawing.iter(f"{SVG}text")]


def test_each_part_of_the_results_has_a_chart() -> None:
    """The three parts are a chart each, and a part that was not measured has none."""
    assert ["memory.svg", "durable.svg", "scale.svg"] == list(charts.charts(RESULTS))
    assert ["memory.svg"] == list(charts.charts({**RESULTS, "durable": [], "scale": []}))


@pytest.mark.parametrize("part", ["memory", "durable"])
def test_every_row_occurs_with_its_figures(part: str, drawings: dict[str, ET.Element]) -> None:
    """The name, the time, the round trips and the increments of each row are texts."""
    shown = texts(drawings[f"{part}.svg"])
    for one in RESULTS[part]:
        expected = [charts.label_of(one), charts.microseconds(one["own_us"])]
        expected += filter(None, [charts.trips_of(one), charts.increments_of(one)])
        assert [] == [text for text in expected if text not in shown]
        assert any(one["name"].replace("`", "") in text for text in shown)


@pytest.mark.parametrize(
    ("name", "library", "label"),
    [
        ("`user_data`", "python-telegram-bot", "python-telegram-bot: user_data"),
        ("`@puregram/session`", "puregram", "@puregram/session"),
        ("a global dict", "a dict", "a global dict"),
        ("Telesession, typed", "telesession", "Telesession, typed"),
    ],
)
def test_a_label_names_the_library_once(name: str, library: str, label: str) -> None:
    """The library stands before the name, unless the name has it; code has no marks."""
    assert label == charts.label_of(row(name, library, 1.0, None))


def test_every_storage_and_time_of_the_scale_occurs(drawings: dict[str, ET.Element]) -> None:
    """Each storage, each number of sessions and each median is a text."""
    shown = texts(drawings["scale.svg"])
    for one in RESULTS["scale"]:
        median = charts.microseconds(one["us"]["median"])
        expected = [one["storage"], f"{one['sessions']:,}", median]
        assert [] == [text for text in expected if text not in shown]


def test_screen_readers_get_the_figures(drawings: dict[str, ET.Element]) -> None:
    """Each chart is an image with a title, and with all of its figures as its description."""
    for drawing in drawings.values():
        assert "img" == drawing.get("role")
        labels = [drawing.find(f"{SVG}*[@id='{each}']") for each in ("title", "summary")]
        assert "title summary" == drawing.get("aria-labelledby")
        assert [f"{SVG}title", f"{SVG}desc"] == [label.tag for label in labels if label is not None]
    memory = drawings["memory.svg"].findtext(f"{SVG}desc", "")
    assert "telesession, plain, 6.0 µs, 800 of 800" in memory
    assert "python-telegram-bot: user_data, 12 µs, 1 of 800" in memory
    scale = drawings["scale.svg"].findtext(f"{SVG}desc", "")
    assert "SQLite, 100,000 sessions: 48 µs" in scale


def test_a_chart_says_when_and_on_what_it_was_measured(drawings: dict[str, ET.Element]) -> None:
    """The date, the machine and the version of Python stand below each chart."""
    line = "Measured on 2026-01-02: 2 cores & <1> disk, Python 3.11.7."
    assert [True] * 3 == [line in texts(drawing) for drawing in drawings.values()]


@pytest.mark.parametrize("part", ["memory", "durable"])
def test_bars_are_proportional(part: str, drawings: dict[str, ET.Element]) -> None:
    """The cheapest row comes first; each width is in proportion to the time, below zero 0."""
    bars = drawings[f"{part}.svg"].findall(f"{SVG}rect")
    widths = [float(bar.get("width", "")) for bar in bars]
    times = sorted(max(one["own_us"], 0) for one in RESULTS[part])
    unit = (charts.WIDTH - 2 * charts.MARGIN) / times[-1]
    assert widths == pytest.approx([time * unit for time in times], abs=0.01)


def test_our_bars_differ_from_those_of_others(drawings: dict[str, ET.Element]) -> None:
    """Bars of telesession have a colour of their own."""
    bars = drawings["memory.svg"].findall(f"{SVG}rect")
    assert ["others", "others", "ours", "others"] == [bar.get("class") for bar in bars]


def test_lost_increments_stand_out(drawings: dict[str, ET.Element]) -> None:
    """Results below 800 have the class `lost`, and no other text has it."""
    lost = drawings["memory.svg"].findall(f"{SVG}text[@class='lost']")
    assert ["13 of 800", "1 of 800"] == [text.text for text in lost]
    assert [] == drawings["durable.svg"].findall(f"{SVG}text[@class='lost']")


def test_points_lie_at_the_logarithm_and_at_the_median(drawings: dict[str, ET.Element]) -> None:
    """From 1,000 to 100,000 is half the way to 10,000,000; heights are proportional to times."""
    circles = drawings["scale.svg"].findall(f"{SVG}circle")
    places = [(float(one.get("cx", "")), float(one.get("cy", ""))) for one in circles]
    (left, low), (right, high), (_, first), (middle, second) = places
    assert middle == pytest.approx((left + right) / 2, abs=0.01)
    unit = (low - first) / (47.0 - 6.8)
    assert low - high == pytest.approx((8.8 - 6.8) * unit, abs=0.05)
    assert low - second == pytest.approx((48.0 - 6.8) * unit, abs=0.05)


def test_one_point_is_a_chart() -> None:
    """A scale of one number of sessions has a point, and no division by zero."""
    one = {**RESULTS, "scale": RESULTS["scale"][:1]}
    assert 1 == len(ET.fromstring(charts.charts(one)["scale.svg"]).findall(f"{SVG}circle"))


def test_everything_lies_inside_the_image(drawings: dict[str, ET.Element]) -> None:
    """No mark and no beginning of a text lies outside of the image."""
    for drawing in drawings.values():
        width, height = map(int, drawing.get("viewBox", "").split()[2:])
        for element in drawing.iter():
            xs = [float(element.get(name, 0)) for name in ("x", "x1", "x2", "cx")]
            ys = [float(element.get(name, 0)) for name in ("y", "y1", "y2", "cy")]
            ends = float(element.get("width", 0)) if element is not drawing else 0
            assert 0 <= min(xs) <= max(xs) + ends <= width
            assert 0 <= min(ys) <= max(ys) <= height


@pytest.mark.parametrize(("scheme", "background"), BACKGROUNDS.items())
def test_every_colour_is_seen_on_both_backgrounds(scheme: str, background: str) -> None:
    """Text has a contrast of 4.5 in its own scheme, and each colour one of 3 in the other, too."""
    text = {"light": charts.TEXT, "dark": charts.TEXT_IN_THE_DARK}[scheme]
    assert contrast(text, background) >= 4.5
    used = [charts.TEXT, charts.TEXT_IN_THE_DARK, charts.OURS, charts.OTHERS, charts.LOST]
    weak = [colour for colour in [*used, *charts.SERIES] if contrast(colour, background) < 3]
    assert [] == weak


def test_a_chart_loads_nothing(drawings: dict[str, ET.Element]) -> None:
    """A chart has no script, no image, no font of its own and no address but that of SVG."""
    for svg in charts.charts(RESULTS).values():
        assert ["http://www.w3.org/2000/svg"] == re.findall(r"https?:[^\"]*", svg)
        assert None is re.search(r"<script|<image|@import|@font-face|url\(", svg)
    tags = {element.tag.removeprefix(SVG) for element in itertools.chain(*drawings.values())}
    assert {"title", "desc", "style", "text", "rect", "line", "polyline", "circle"} == tags


def test_the_program_writes_the_charts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`python -m benchmarks.charts RESULTS FOLDER` writes one file for each chart."""
    source = tmp_path / "results.json"
    source.write_text(json.dumps(RESULTS))
    monkeypatch.setattr(sys, "argv", ["charts", str(source), str(tmp_path)])
    charts.main()
    written = {path.name: path.read_text(encoding="utf-8") for path in tmp_path.glob("*.svg")}
    assert charts.charts(RESULTS) == written
