"""The nesting of the entities of one text."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from telesession.testing.server.call import JSON

_STYLES = ("bold", "italic", "underline", "strikethrough", "spoiler")
_QUOTES = ("blockquote", "expandable_blockquote")
#: Types whose text has no style.
_PLAIN = ("pre", "code", "date_time")

#: Of entities with the same text, those with the lower number come first.
_RANKS = {
    **dict.fromkeys(_QUOTES, 0),
    "pre": 11,
    "code": 20,
    "date_time": 30,
    "text_link": 49,
    "text_mention": 49,
    **{style: 90 + number for number, style in enumerate(_STYLES)},
    "custom_emoji": 99,
}
_DEFAULT_RANK = 50


class _Run(NamedTuple):
    """A piece of text in one style; offsets count UTF-16 code units."""

    style: str
    start: int
    end: int


def nested(entities: Iterable[JSON], found: Iterable[JSON] = ()) -> list[JSON]:
    """
    Entities as a message has them: in order, and none across the border of another.

    Quotes contain all others. A style is cut where another entity begins or ends, and where
    another style begins; code and dates have no style. The other entities contain no other ones:
    the first and longest one stays.

    Args:
        entities: The entities of the marks of a text.
        found: The entities that the server has found in it. They yield to the others.

    See https://core.telegram.org/bots/api#formatting-options.
    """
    entities = list(entities)
    quotes = apart(entity for entity in entities if entity["type"] in _QUOTES)
    marked = apart(entity for entity in entities if entity["type"] not in (*_STYLES, *_QUOTES))
    yielding = [one for one in found if not any(_overlap(one, other) for other in marked)]
    whole = [
        entity
        for entity in (*marked, *yielding)
        if all(_contains(quote, entity) or not _overlap(quote, entity) for quote in quotes)
    ]
    solid = [*quotes, *whole]
    styles = [entity for entity in entities if entity["type"] in _STYLES]
    return sorted((*solid, *_cut(_runs(styles), solid)), key=_rank)


def apart(entities: Iterable[JSON]) -> list[JSON]:
    """The entities in order, without those that begin before the end of an earlier one."""
    kept: list[JSON] = []
    for entity in sorted(entities, key=_rank):
        if not kept or entity["offset"] >= _end(kept[-1]):
            kept.append(entity)
    return kept


def _runs(styles: Sequence[JSON]) -> list[_Run]:
    """The pieces in each style, where those that touch each other are one."""
    runs: list[_Run] = []
    for entity in sorted(styles, key=lambda style: (style["type"], style["offset"])):
        run = _Run(entity["type"], entity["offset"], _end(entity))
        if runs and run.style == runs[-1].style and run.start <= runs[-1].end:
            last = runs.pop()
            run = last._replace(end=max(last.end, run.end))
        runs.append(run)
    return runs


def _cut(runs: Sequence[_Run], solid: Sequence[JSON]) -> Iterator[JSON]:
    """The entities of styles, cut at borders of the other entities and starts of other styles."""
    borders = {run.start for run in runs}
    borders.update(border for entity in solid for border in (entity["offset"], _end(entity)))
    plain = [entity for entity in solid if entity["type"] in _PLAIN]
    for style, start, end in runs:
        inner = sorted(border for border in borders if start < border < end)
        for begin, stop in pairwise((start, *inner, end)):
            piece = {"type": style, "offset": begin, "length": stop - begin}
            if not any(_overlap(piece, entity) for entity in plain):
                yield piece


def _rank(entity: JSON) -> tuple[int, int, int]:
    """The place of an entity among others: by its start, then longer ones first."""
    return entity["offset"], -entity["length"], _RANKS.get(entity["type"], _DEFAULT_RANK)


def _end(entity: JSON) -> int:
    end: int = entity["offset"] + entity["length"]
    return end


def _overlap(one: JSON, other: JSON) -> bool:
    return bool(one["offset"] < _end(other) and other["offset"] < _end(one))


def _contains(outer: JSON, inner: JSON) -> bool:
    return bool(outer["offset"] <= inner["offset"] and _end(inner) <= _end(outer))
