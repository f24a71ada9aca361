"""
Charts of the figures for the manual, as SVG: `python -m benchmarks.charts [RESULTS] [FOLDER]`.

It reads `benchmarks/results.json`, which `python -m benchmarks` writes, and writes `memory.svg`,
`durable.svg` and `scale.svg` to `docs/assets`. Lengths of bars are proportional to the figures.

An SVG in an `<img>` follows the scheme of the system, but not the switch of the page. So every
colour can be read on the light and on the dark background of the manual, and the scheme only makes
the text a little darker or brighter.
"""

from __future__ import annotations

import json
import math
import sys
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

from benchmarks.contender import INCREMENTS, ROOT
from benchmarks.tables import RESULTS, says_its_library

ASSETS = ROOT / "docs" / "assets"

# Pixels.
WIDTH, MARGIN = 640, 8
ROW, BAR, TITLE, LINE = 42, 12, 26, 18
PLOT_LEFT, PLOT_HEIGHT, PLOT_SPACE = 44, 260, 44
# Right ends of columns of figures, from the right; widths of a time and of a letter.
TRIPS, TIMES, TIME, LETTER = 92, 196, 64, 7.6

# The text in a light and in a dark scheme; then marks, which have one colour in both.
TEXT, TEXT_IN_THE_DARK = "#6b7280", "#868e9c"
OURS, OTHERS, LOST = "#5b6cd9", "#868e9c", "#d1562b"
SERIES = (OURS, "#1f9488", "#c2701c", "#b45fc4")
DASHES = ("", "6 4", "2 3", "10 3 2 3")
STYLE = f"""
text {{ font: 14px system-ui, sans-serif; fill: {TEXT}; }}
.heading {{ font-weight: 600; font-size: 15px; }}
.note {{ font-size: 12px; }}
.grid {{ stroke: {TEXT}; stroke-width: 1; opacity: 0.35; }}
.ours {{ fill: {OURS}; }}
.others {{ fill: {OTHERS}; }}
.lost {{ fill: {LOST}; font-weight: 600; }}
@media (prefers-color-scheme: dark) {{
  text {{ fill: {TEXT_IN_THE_DARK}; }}
  .lost {{ fill: {LOST}; }}
}}
"""

Row = Mapping[str, Any]


class Drawing:
    """
    An SVG image with a title and a description for screen readers.

    Args:
        title: The heading.
        summary: The figures in words.
        height: Pixels.
    """

    def __init__(self, title: str, summary: str, height: int) -> None:
        self.root = ET.Element(
            "svg",
            {
                "xmlns": "http://www.w3.org/2000/svg",
                "viewBox": f"0 0 {WIDTH} {height}",
                "width": str(WIDTH),
                "height": str(height),
                "role": "img",
                "aria-labelledby": "title summary",
            },
        )
        ET.SubElement(self.root, "title", id="title").text = title
        ET.SubElement(self.root, "desc", id="summary").text = summary
        ET.SubElement(self.root, "style").text = STYLE
        self.text(MARGIN, LINE, title, kind="heading")

    def add(self, tag: str, **attributes: object) -> ET.Element:
        """Add an element; `_` in a name is `-`, and numbers are rounded to 0.01."""
        return ET.SubElement(
            self.root,
            tag,
            {name.rstrip("_").replace("_", "-"): _text_of(it) for name, it in attributes.items()},
        )

    def text(self, x: float, y: float, words: str, kind: str = "", anchor: str = "start") -> None:
        """Add a line of text."""
        attributes = {"class": kind} if kind else {}
        self.add("text", x=x, y=y, text_anchor=anchor, **attributes).text = words

    def notes(self, y: float, lines: Iterable[str]) -> None:
        """Add lines of small text."""
        for number, line in enumerate(lines):
            self.text(MARGIN, y + number * LINE, line, kind="note")

    def __str__(self) -> str:
        ET.indent(self.root)
        return ET.tostring(self.root, encoding="unicode") + "\n"


def _text_of(value: object) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)


def microseconds(value: float) -> str:
    """A time with at least two digits."""
    return f"{value:.1f} µs" if value < 10 else f"{value:,.0f} µs"


def label_of(row: Row) -> str:
    """The name of a row without the marks of Markdown, behind its library if it does not say it."""
    name = str(row["name"]).replace("`", "")
    return name if says_its_library(row) else f"{row['library']}: {name}"


def trips_of(row: Row) -> str:
    """The round trips of a row in words; empty if no server is asked."""
    trips = row.get("round_trips")
    return f"{trips:g} round trip{'' if trips == 1 else 's'}" if trips else ""


def increments_of(row: Row) -> str:
    """The result of concurrent increments in words; empty if it was not measured."""
    count = row.get("increments")
    return "" if count is None else f"{count} of {INCREMENTS}"


def measured_on(measured: Mapping[str, Any]) -> list[str]:
    """The date and the machine of the figures, in lines of text."""
    words = f"Measured on {measured['date']}: {measured['machine']}, Python {measured['python']}."
    return textwrap.wrap(words, WIDTH // 7)


def bars(title: str, rows: Sequence[Row], measured: Mapping[str, Any]) -> str:
    """A chart with one bar for each row, the cheapest first."""
    rows = sorted(rows, key=lambda row: float(row["own_us"]))
    notes = [
        "Each bar is the time of an update with sessions minus that without.",
        f"Right: the counter after {INCREMENTS} concurrent increments of one user.",
        *measured_on(measured),
    ]
    summary = "; ".join(", ".join(filter(None, (label_of(row), *_columns_of(row)))) for row in rows)
    end = TITLE + 8 + ROW * len(rows)
    drawing = Drawing(title, f"{summary}.", end + LINE * len(notes) + MARGIN)
    longest = max(float(row["own_us"]) for row in rows)
    has_trips = any(map(trips_of, rows))
    for number, row in enumerate(rows):
        _draw_bar(drawing, row, TITLE + 8 + ROW * number, longest, has_trips)
    drawing.notes(end + LINE, notes)
    return str(drawing)


def _columns_of(row: Row) -> tuple[str, str, str]:
    return microseconds(row["own_us"]), trips_of(row), increments_of(row)


def _draw_bar(drawing: Drawing, row: Row, top: float, longest: float, has_trips: bool) -> None:
    kind = "ours" if row["library"] == "telesession" else "others"
    # A difference of two measured times can be below zero.
    share = max(float(row["own_us"]), 0.0) / longest if longest > 0 else 0.0
    time, trips, increments = _columns_of(row)
    # Without trips the time takes their column, so that it stands beside the increments.
    end = WIDTH - (TIMES if has_trips else TRIPS)
    label = label_of(row)
    is_long = MARGIN + LETTER * len(label) > end - TIME
    drawing.text(MARGIN, top + 16, label, kind="note" if is_long else "")
    drawing.text(end, top + 16, time, anchor="end")
    if trips:
        drawing.text(WIDTH - TRIPS, top + 16, trips, anchor="end")
    if increments:
        is_lost = row["increments"] != INCREMENTS
        drawing.text(WIDTH - MARGIN, top + 16, increments, "lost" if is_lost else "", anchor="end")
    drawing.add(
        "rect",
        x=MARGIN,
        y=top + 22,
        width=share * (WIDTH - 2 * MARGIN),
        height=BAR,
        rx=2,
        class_=kind,
    )


class Plot:
    """
    The area of a line chart: sessions from left to right by their logarithm, microseconds upwards.

    Args:
        rows: The points.
        top: Pixels above it.
    """

    def __init__(self, rows: Sequence[Row], top: float) -> None:
        self._first = math.log10(min(row["sessions"] for row in rows))
        self._decades = math.log10(max(row["sessions"] for row in rows)) - self._first or 1.0
        highest = max(row["us"]["high"] for row in rows)
        self.step = 10.0 ** math.floor(math.log10(highest))
        if highest / self.step < 4:
            self.step /= 2
        self.steps = math.ceil(highest / self.step + 0.5)
        self.bottom = top + PLOT_HEIGHT

    def x(self, sessions: float) -> float:
        """The place of a number of sessions."""
        share = (math.log10(sessions) - self._first) / self._decades
        return PLOT_LEFT + PLOT_SPACE + share * (WIDTH - PLOT_LEFT - 2 * PLOT_SPACE)

    def y(self, value: float) -> float:
        """The place of microseconds."""
        return self.bottom - value / (self.step * self.steps) * PLOT_HEIGHT


def lines(title: str, rows: Sequence[Row], measured: Mapping[str, Any]) -> str:
    """A chart with one line for each storage over the number of sessions."""
    series: dict[str, list[Row]] = {}
    for row in sorted(rows, key=lambda row: float(row["sessions"])):
        series.setdefault(str(row["storage"]), []).append(row)
    notes = ["Vertical lines: the middle half of the measured times.", *measured_on(measured)]
    top = TITLE + LINE + 16
    plot = Plot(rows, top)
    summary = "; ".join(
        f"{row['storage']}, {row['sessions']:,} sessions: {microseconds(row['us']['median'])}"
        for row in rows
    )
    height = plot.bottom + 3 * LINE + LINE * len(notes)
    drawing = Drawing(title, f"{summary}.", math.ceil(height))
    _draw_axes(drawing, plot, sorted({row["sessions"] for row in rows}))
    for number, (storage, points) in enumerate(series.items()):
        colour, dashes = SERIES[number % len(SERIES)], DASHES[number % len(DASHES)]
        left, y = PLOT_LEFT + number * (WIDTH - PLOT_LEFT) / len(series), TITLE + LINE
        drawing.add("line", x1=left, y1=y - 5, x2=left + 28, y2=y - 5, **_stroke(colour, dashes))
        drawing.text(left + 34, y, storage)
        _draw_series(drawing, plot, points, colour, dashes)
    drawing.notes(plot.bottom + 3 * LINE, notes)
    return str(drawing)


def _stroke(colour: str, dashes: str) -> dict[str, object]:
    return {"stroke": colour, "stroke_width": 2, "fill": "none", "stroke_dasharray": dashes}


def _draw_axes(drawing: Drawing, plot: Plot, counts: Sequence[int]) -> None:
    for number in range(plot.steps + 1):
        y = plot.y(number * plot.step)
        drawing.add("line", x1=PLOT_LEFT, y1=y, x2=WIDTH - MARGIN, y2=y, class_="grid")
        drawing.text(PLOT_LEFT - 6, y + 5, f"{number * plot.step:g}", anchor="end")
    drawing.text(PLOT_LEFT - 6, plot.bottom + LINE, "µs", anchor="end")
    for count in counts:
        drawing.text(plot.x(count), plot.bottom + LINE, f"{count:,}", anchor="middle")
    drawing.text(WIDTH / 2, plot.bottom + 2 * LINE, "stored sessions", kind="note", anchor="middle")


def _draw_series(
    drawing: Drawing, plot: Plot, points: Sequence[Row], colour: str, dashes: str
) -> None:
    places = [(plot.x(row["sessions"]), plot.y(row["us"]["median"])) for row in points]
    path = " ".join(f"{_text_of(x)},{_text_of(y)}" for x, y in places)
    drawing.add("polyline", points=path, **_stroke(colour, dashes))
    for row, (x, y) in zip(points, places, strict=True):
        low, high = plot.y(row["us"]["low"]), plot.y(row["us"]["high"])
        drawing.add("line", x1=x, y1=low, x2=x, y2=high, **_stroke(colour, ""))
        drawing.add("circle", cx=x, cy=y, r=4, fill=colour)
        drawing.text(x, min(y, high) - 8, microseconds(row["us"]["median"]), anchor="middle")


def charts(results: Mapping[str, Any]) -> dict[str, str]:
    """The charts of the results: name of the file -> SVG. A part without rows has no chart."""
    drawn = {
        "memory": (bars, "Own cost of one update in memory"),
        "durable": (bars, "Own cost of one update on a durable storage"),
        "scale": (lines, "One update among many sessions"),
    }
    return {
        f"{part}.svg": draw(title, results[part], results["measured"])
        for part, (draw, title) in drawn.items()
        if results[part]
    }


def main() -> None:
    source, folder = (sys.argv[1:] + [str(RESULTS), str(ASSETS)][len(sys.argv) - 1 :])[:2]
    for name, drawing in charts(json.loads(Path(source).read_text(encoding="utf-8"))).items():
        Path(folder, name).write_text(drawing, encoding="utf-8")


if __name__ == "__main__":
    main()
