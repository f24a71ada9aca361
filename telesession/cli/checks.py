"""Checks: single findings of `doctor`, and those that every storage has."""

from __future__ import annotations

import platform
import time
from collections import Counter
from collections.abc import Iterator
from enum import Enum
from importlib.metadata import version
from typing import TYPE_CHECKING, NamedTuple

from telesession.cli.fields import record_of
from telesession.cli.output import counted, tracked
from telesession.cli.rooms import Kind, Place
from telesession.errors import DecodeError
from telesession.keys import room_of
from telesession.kinds.unreadable import ASIDE

if TYPE_CHECKING:
    from telesession.cli.address import Opened

# A room that no bot has.
_PROBE = room_of("telesession-doctor") + "probe"
# Seconds by which two clocks may differ, and by which a probe outlives an interruption.
_DIFFERENCE, _LIFETIME = 1.0, 60.0
# Seconds to wait for another `doctor`.
_WAIT = 10.0
# How many keys of unreadable records are listed.
_MANY = 10


class State(Enum):
    """The result of a check."""

    OK = "ok"
    NOTE = "note"
    PROBLEM = "problem"


class Check(NamedTuple):
    """
    A finding.

    Attributes:
        name: The subject.
        state: The result.
        text: The finding, and the remedy of a problem.
    """

    name: str
    state: State
    text: str


def common_checks(storage: Opened) -> Iterator[Check]:
    """
    The findings that every storage has, without those of its records.

    Raises:
        StorageError: The storage cannot be reached.
    """
    begun = time.monotonic()
    storage.ping()
    answer = (time.monotonic() - begun) * 1000
    before, there, after = time.time(), storage.now(), time.time()
    yield Check("reachable", State.OK, f"it answered in {answer:.1f} ms")
    mine = f"telesession {version('telesession')}, Python {platform.python_version()}"
    yield Check("versions", State.OK, mine)
    difference = max(before - there, there - after, 0.0)
    state = State.NOTE if difference > _DIFFERENCE else State.OK
    yield Check("clock", state, f"{difference:.3f} s from the clock of this machine")


def probe(storage: Opened) -> Check:
    """
    The finding of a record that is written and deleted.

    Raises:
        StorageError: The storage cannot be read or written.
    """
    with storage.hold(_PROBE, _WAIT) as hold:
        hold.set(b"{}", _LIFETIME)
        hold.flush()
        storage.get(_PROBE)
        hold.delete()
    return Check("writable", State.OK, "a record was locked, written, read and deleted")


def leftovers(number: int) -> Check:
    """The finding of a number of expired records that are still stored."""
    text = f"{counted(number, 'expired record')} to remove"
    return Check("leftovers", State.OK, f"{text}; see `telesession purge`" if number else text)


def record_checks(storage: Opened) -> Iterator[Check]:
    """The findings of a walk over all records."""
    kinds, unreadable, keys = Counter[Kind](), 0, list[str]()
    for row in tracked(storage.rows(), "read"):
        place = Place.of(row.key)
        kinds[place.kind] += 1
        if place.is_record and not _can_read(storage, row.key, row.payload):
            unreadable += 1
            keys += [row.key] * (len(keys) < _MANY)
    found = ", ".join(f"{number:,} {kind.value}" for kind, number in kinds.items())
    yield Check("records", State.OK, found or "none")
    if kinds[Kind.UNREADABLE]:
        text = f"records that could not be read are kept; see `telesession keys {ASIDE}`"
        yield Check("set aside", State.NOTE, text)
    if unreadable:
        listed = ", ".join(map(repr, keys)) + ", ..." * (unreadable > len(keys))
        text = f"{counted(unreadable, 'record')} cannot be read: {listed}; see `telesession show`"
        yield Check("unreadable", State.PROBLEM, text)
    else:
        yield Check("unreadable", State.OK, "every record can be read")


def _can_read(storage: Opened, key: str, payload: bytes | None) -> bool:
    try:
        record_of(storage.codec, payload, key)
    except DecodeError:
        return False
    return True
