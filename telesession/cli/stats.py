"""The command `stats`: the numbers, sizes and lifetimes of all records."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from telesession.cli.fields import record_of
from telesession.cli.histogram import Histogram
from telesession.cli.options import as_json, with_storage
from telesession.cli.output import counted, print_json, print_table, sized, tracked
from telesession.cli.rooms import Place
from telesession.errors import DecodeError

if TYPE_CHECKING:
    from telesession.cli.address import Opened
    from telesession.codecs import Codec
    from telesession.storage.rows import Row

_SIZES = (100, 1000, 10_000, 100_000, 1_000_000)
_SIZE_LABELS = ("< 100 B", "< 1 kB", "< 10 kB", "< 100 kB", "< 1 MB", ">= 1 MB")
_TIMES = (60, 3600, 86_400, 7 * 86_400, 30 * 86_400, math.inf)
_TIME_LABELS = ("< 1 min", "< 1 h", "< 1 d", "< 7 d", "< 30 d", ">= 30 d", "for ever")

UNREADABLE = "unreadable"


@dataclass
class Group:
    """
    The records of one version in one room.

    Attributes:
        count: The number of records.
        size: The bytes of their payloads.
    """

    count: int = 0
    size: int = 0


class Statistics:
    """
    The numbers of all records, gathered from their rows.

    Keep one for as long as the rows come; one thread uses it.

    Attributes:
        groups: By room and version, its records. The version is `UNREADABLE` for records that the
            codec cannot read, and empty for the bookkeeping of an inbox.
        sizes: The sizes in bytes.
        times: The seconds left.
    """

    def __init__(self) -> None:
        self.groups: defaultdict[tuple[str, str], Group] = defaultdict(Group)
        self.sizes = Histogram(_SIZES, _SIZE_LABELS)
        self.times = Histogram(_TIMES, _TIME_LABELS)

    @staticmethod
    def of(rows: Iterable[Row], codec: Codec) -> Statistics:
        """The statistics of rows, with payloads of a codec."""
        statistics = Statistics()
        for row in rows:
            statistics.add(row, codec)
        return statistics

    def add(self, row: Row, codec: Codec) -> None:
        """Count a record."""
        size = len(row.payload or b"")
        group = self.groups[_group_of(row, codec)]
        group.count += 1
        group.size += size
        self.sizes.add(size)
        self.times.add(math.inf if row.left is None else row.left)

    @property
    def total(self) -> Group:
        """All records."""
        groups = self.groups.values()
        return Group(sum(each.count for each in groups), sum(each.size for each in groups))


@click.command()
@as_json
@with_storage
def stats(storage: Opened, is_json: bool) -> None:
    """
    Count the records, and draw their sizes.

    The records are counted by room and version. A second histogram shows their time left.
    """
    statistics = Statistics.of(tracked(storage.rows(), "read"), storage.codec)
    if is_json:
        print_json(_data(statistics))
        return
    total = statistics.total
    click.echo(f"{counted(total.count, 'record')}, {sized(total.size)}\n")
    rows = [
        (room or "(none)", version, f"{group.count:,}", sized(group.size))
        for (room, version), group in sorted(statistics.groups.items())
    ]
    print_table(("room", "version", "records", "size"), rows, numbers=2)
    for title, histogram in (("size", statistics.sizes), ("time left", statistics.times)):
        click.echo(f"\n{title}")
        for line in histogram.lines():
            click.echo(line)


def _group_of(row: Row, codec: Codec) -> tuple[str, str]:
    """The room and the version of a record."""
    place = Place.of(row.key)
    if not place.is_record:
        return place.room, ""
    try:
        return place.room, str(record_of(codec, row.payload, row.key).get("version", 0))
    except DecodeError:
        return place.room, UNREADABLE


def _data(statistics: Statistics) -> dict[str, Any]:
    total = statistics.total
    return {
        "records": total.count,
        "bytes": total.size,
        "rooms": [
            {"room": room, "version": version, "records": group.count, "bytes": group.size}
            for (room, version), group in sorted(statistics.groups.items())
        ],
        "sizes": statistics.sizes.by_label(),
        "time left": statistics.times.by_label(),
    }
