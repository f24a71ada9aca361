"""
Records: from sessions to the `dict` that a codec writes, and back.

A record is `{"fields": {name: value}}`. It has more parts if they are needed:

- `"ttl": {name: [lifetime, deadline]}`, in seconds, if fields have a lifetime;
- `"version": number`, if the bot gives its records a version;
- `"class": name`, if sessions are of several dataclasses;
- `"lifetime": seconds`, or `null` for ever, if the session has a lifetime of its own;
- `"end": time`, if the session has a fixed end.

A session has its deadlines on the monotonic clock, which differs in every process. So a persistent
storage has them in seconds since the epoch. Only this module knows the two clocks.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from telesession.codecs import JSONCodec
from telesession.codecs.memory import MemoryCodec, from_msgpack, to_msgpack
from telesession.errors import DecodeError, EncodeError, SessionError
from telesession.ttl import Life, Mark, TimedValue, plain_value

if TYPE_CHECKING:
    from telesession.codecs import Codec
    from telesession.session import State

#: A step from one version of the fields to the next: changes them, or returns others.
Migration = Callable[[dict[str, Any]], dict[str, Any] | None]
#: The fields of a record, their marks, the name of its dataclass, and the life of its session.
Loaded = tuple[dict[str, Any], dict[str, Mark], str | None, Life | None]

_STR = frozenset((str,))

_FIX = "fix the migration"
# The number of fields in the message of a record that is too large.
_LARGEST = 3
# Seconds. A larger drift of the clocks during a handler is a step of one of them. The two clocks
# must be read within this time.
_STEP = 0.001


class Clock(NamedTuple):
    """
    The clock by which the records of a storage keep the deadlines of fields.

    Attributes:
        persistent: See `Storage`.
        now: The clock of the storage; see `Storage.now`. It is read only for deadlines.
    """

    persistent: bool
    now: Callable[[], float]

    def offset(self) -> float:
        """The seconds to add to a monotonic time to have it as the records keep it."""
        if not self.persistent:
            return 0.0
        before, wall, after = time.monotonic(), self.now(), time.monotonic()
        if after - before > _STEP:
            # The thread paused between the two clocks, which would move every deadline.
            wall, after = self.now(), time.monotonic()
        return wall - after


def checked(record: dict[str, Any], key: str) -> dict[str, Any]:
    """
    Check the parts of a record as a codec gives it, and return the record.

    A version and a dataclass that the program does not know pass the check.

    Raises:
        DecodeError: A part is damaged, or it is not the record of a session.
    """
    _checked_fields(record, key)
    _checked_class(record, key)
    _checked_version(record.get("version", 0), key)
    if record.get("ttl") is not None:
        _checked_ttl(record["ttl"], key)
    _checked_lifetime(record.get("lifetime"), key)
    if "end" in record:
        _checked_end(record["end"], key)
    return record


def translated(record: dict[str, Any], key: str, source: Clock, target: Clock) -> dict[str, Any]:
    """
    A record of one storage for another storage, with its deadlines on the clock of the latter.

    Raises:
        DecodeError: It is not the record of a session.
    """
    if type(record.get("fields")) is not dict:
        raise DecodeError(key, "it is not the record of a session")
    ttl, end = record.get("ttl"), record.get("end")
    if ttl is None and end is None:
        return record
    shift = target.offset() - source.offset()
    if abs(shift) <= _STEP:
        # The same clock, which was read twice.
        shift = 0.0
    moved = dict(record)
    if ttl is not None:
        deadlines = _checked_ttl(ttl, key).items()
        moved["ttl"] = {name: [life, deadline + shift] for name, (life, deadline) in deadlines}
    if end is not None:
        moved["end"] = _checked_end(end, key) + shift
    return moved


def aligned(
    record: dict[str, Any], other: dict[str, Any], key: str, seconds: float
) -> dict[str, Any]:
    """
    A record in the order of another record, and with those of its deadlines that are near.

    Args:
        record: A record of a session.
        other: Another record for the same storage.
        key: The storage key of both.
        seconds: The largest difference of two deadlines that are near.

    Raises:
        DecodeError: One of them is not the record of a session.
    """
    if type(other.get("fields")) is not dict:
        raise DecodeError(key, "it is not the record of a session")
    ordered = {**record, "fields": _in_order(record["fields"], other["fields"])}
    if record.get("end") is not None and other.get("end") is not None:
        end = _checked_end(other["end"], key)
        is_near = abs(end - _checked_end(record["end"], key)) <= seconds
        ordered["end"] = end if is_near else record["end"]
    if record.get("ttl") is None or other.get("ttl") is None:
        return ordered
    ttl, theirs = _checked_ttl(record["ttl"], key), _checked_ttl(other["ttl"], key)
    ordered["ttl"] = {}
    for name, (lifetime, deadline) in _in_order(ttl, theirs).items():
        _, other_deadline = theirs.get(name, (lifetime, deadline))
        is_near = abs(other_deadline - deadline) <= seconds
        ordered["ttl"][name] = [lifetime, other_deadline if is_near else deadline]
    return ordered


def _in_order(parts: dict[str, Any], others: dict[str, Any]) -> dict[str, Any]:
    """The parts. Those that `others` has, too, are first and in the order of `others`."""
    return {name: parts[name] for name in others if name in parts} | parts


class RecordTranslator:
    """
    Turns sessions into the payloads of one storage, and back.

    Keep one for as long as its storage; any thread may use it.

    Args:
        codec: The codec that the storage carries.
        persistent: Whether other processes read the deadlines; see `Storage`.
        version: The version of the records that are written, and the newest that can be read.
        migrations: version -> the step that leads to it.
    """

    def __init__(
        self,
        codec: Codec,
        *,
        persistent: bool,
        version: int = 0,
        migrations: Mapping[int, Migration] | None = None,
    ) -> None:
        self._codec = codec
        self._persistent = persistent
        self._version = version
        self._migrations = sorted((migrations or {}).items())
        # In memory, records without a version may be packed; see `MemoryCodec`.
        knows_packed = isinstance(codec, MemoryCodec) and not version
        self.to_msgpack = to_msgpack if knows_packed else None
        self.from_msgpack = from_msgpack if knows_packed else None
        self.write_packed = MemoryCodec.write_packed if knows_packed else _none
        self.write_scalars = MemoryCodec.write_scalars if knows_packed else _none
        self.write_nested = MemoryCodec.write_nested if knows_packed else _none
        self.check_elsewhere: Any = _check_json if isinstance(codec, MemoryCodec) else None

    def load(self, payload: bytes, key: str, now: Callable[[], float]) -> Loaded:
        """
        The live fields of a payload, their marks, the name of the dataclass and the life.

        The last two are `None` if the record does not have them.

        Args:
            payload: The payload.
            key: The storage key of the payload.
            now: The clock of the storage; see `Storage.now`. It is read only for deadlines.

        Raises:
            DecodeError: The payload is not a record.
        """
        record = self._codec.decode(payload, key)
        fields = _checked_fields(record, key)
        if len(record) == 1 and not self._version:
            return fields, {}, None, None
        class_name = _checked_class(record, key)
        ttl, version, life = record.get("ttl"), record.get("version", 0), None
        if "end" in record or "lifetime" in record:
            life = self._load_life(record, key, now)
        marks = {} if ttl is None else self.load_marks(_checked_ttl(ttl, key), fields, now)
        if version == self._version:
            return fields, marks, class_name, life
        return *self._migrate(version, fields, marks, key), class_name, life

    def dump(
        self,
        state: State,
        values: dict[str, Any],
        fields: dict[str, Any],
        key: str,
        *,
        previous: bytes | None,
        now: Callable[[], float],
    ) -> tuple[bytes, dict[str, Mark]]:
        """
        The payload of a session, and its marks once the payload is stored.

        The payload is equal to `previous` if there is nothing to write. A change inside the value
        of a field with a lifetime is an update of that field: its lifetime begins anew at the end
        of the handler, which is now.

        Args:
            state: The state of the session; it stays as it is.
            values: The live fields.
            fields: The same as plain data.
            key: The storage key that the payload is for.
            previous: The payload that the session was loaded from or last saved as.
            now: The clock of the storage.

        Raises:
            EncodeError: A field would not come back.
        """
        marks = state.marks
        if not marks:
            return self._codec.encode(self._record(state, fields), key, previous), marks
        old = {} if previous is None else self._codec.decode(previous, key)
        old_fields = old.get("fields", {})
        is_current = old.get("version", 0) == self._version
        if previous is not None and not is_current:
            old_fields = self.load(previous, key, now)[0]
        offset = self._clock_offset(now)
        stored = {}
        for name, mark in marks.items():
            renew = name in fields and (
                mark.was_changed_inside(values[name])
                if mark.stored is None
                else not self._same({name: old_fields.get(name)}, {name: fields[name]}, key)
            )
            stored[name] = _stored(Mark.starting_now(mark.lifetime) if renew else mark, offset)
        ttl = {name: [mark.lifetime, mark.stored] for name, mark in stored.items()}
        # Expired fields are no reason to write. The next write drops them.
        kept = {
            name: old_fields[name] for name in old_fields if name in fields or name not in marks
        }
        is_current = is_current and old.get("class") == state.class_name
        unchanged = is_current and ttl == old.get("ttl") and self._same(kept, fields, key)
        if previous is not None and unchanged and _life_parts(state.life) == _parts_of(old):
            return previous, stored
        return self._codec.encode(self._record(state, fields, ttl), key), stored

    def dump_anew(
        self,
        state: State,
        values: dict[str, Any],
        fields: dict[str, Any],
        key: str,
        *,
        now: Callable[[], float],
    ) -> tuple[bytes, dict[str, Mark]]:
        """
        The same as `dump` if the session has marks and its record had only scalars.

        It does not read the record, because a scalar cannot change inside.
        """
        offset = self._clock_offset(now)
        stored: dict[str, Mark] = {}
        ttl: dict[str, list[float | None]] = {}
        for name, mark in state.marks.items():
            if mark.stored is None and name in fields:
                renew = mark.was_changed_inside(values[name])
                stored[name] = _stored(Mark.starting_now(mark.lifetime) if renew else mark, offset)
            else:
                stored[name] = _stored(mark, offset)
            ttl[name] = [mark.lifetime, stored[name].stored]
        is_plain = state.class_name is None and state.life is None
        payload = self.write_packed(fields, ttl) if is_plain else None
        if payload is None:
            payload = self._codec.encode(self._record(state, fields, ttl), key)
        return payload, stored

    def _record(
        self, state: State, fields: dict[str, Any], ttl: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        record: dict[str, Any] = {"fields": fields}
        if ttl is not None:
            record["ttl"] = ttl
        if self._version:
            record["version"] = self._version
        if state.class_name is not None:
            record["class"] = state.class_name
        if state.life is not None:
            record |= _life_parts(state.life)
        return record

    def check(self, fields: dict[str, Any], key: str) -> None:
        """
        Check that fields can be stored.

        Raises:
            EncodeError: One of them would not come back.
        """
        self._codec.encode({"fields": fields}, key)

    def rekey(self, payload: bytes, key: str, new_key: str) -> bytes:
        """
        The payload of a record for another key, with the same fields, deadlines and version.

        Raises:
            DecodeError: The payload is not a record.
        """
        return self._codec.encode(self._codec.decode(payload, key), new_key)

    def says_the_same(self, payload: bytes, other: bytes, key: str) -> bool:
        """
        Whether two payloads of one key have the same content. This codec wrote the first one.

        Raises:
            DecodeError: The other is not a record.
        """
        return self._codec.encode(self._codec.decode(other, key), key, payload) == payload

    def copy(self, fields: dict[str, Any], key: str) -> dict[str, Any]:
        """
        A copy of the fields that `initial` gave, so that each session has objects of its own.

        Raises:
            EncodeError: They cannot be copied, and could not be stored either.
            SessionError: They cannot be copied.
        """
        try:
            return copy.deepcopy(fields)
        except Exception as error:
            self.check({name: plain_value(value) for name, value in fields.items()}, key)
            raise SessionError(
                f"could not make session {key!r}: copy.deepcopy of the fields from initial raised "
                f"{type(error).__name__}; nothing was stored; store plain data, or fix the "
                "value's __deepcopy__"
            ) from error

    def life_until(self, seconds: float, lifetime: float | None, now: Callable[[], float]) -> Life:
        """
        The life of a session that ends some seconds from now.

        Args:
            seconds: Seconds from now until the end.
            lifetime: See `Life.lifetime`.
            now: The clock of the storage.
        """
        end = time.monotonic() + seconds
        return Life(lifetime, end, end + self._clock_offset(now))

    def life_of(self, payload: bytes, key: str, now: Callable[[], float]) -> Life | None:
        """
        The life of the session of a record; `None` if the record has none.

        Raises:
            DecodeError: The payload is not a record.
        """
        return self._load_life(self._codec.decode(payload, key), key, now)

    def too_large(self, payload: bytes, key: str, limit: float) -> EncodeError:
        """
        The error of a payload that has more bytes than allowed; it names the largest fields.

        Args:
            payload: The payload.
            key: The storage key that it is for.
            limit: The bytes that are allowed.
        """
        fields = self._codec.decode(payload, key)["fields"]
        sizes = {
            name: len(self._codec.encode({"fields": {name: value}}, key))
            for name, value in fields.items()
        }
        largest = sorted(sizes, key=lambda name: -sizes[name])[:_LARGEST]
        listed = ", ".join(f"{name} {sizes[name]} bytes" for name in largest)
        reason = (
            f"and the largest field of a record of {len(payload)} bytes, which is more than "
            f"max_bytes={limit:.0f} (each in a record of its own: {listed}); store less in it, or "
            "raise max_bytes"
        )
        return EncodeError(key, largest[0], type(fields[largest[0]]).__name__, reason)

    def _load_life(self, record: dict[str, Any], key: str, now: Callable[[], float]) -> Life | None:
        parts = _parts_of(record)
        if not parts:
            return None
        lifetime = _checked_lifetime(parts.get("lifetime", 0.0), key)
        stored = _checked_end(parts["end"], key) if "end" in parts else None
        own = math.inf if lifetime is None else lifetime or None
        return Life(own, None if stored is None else stored - self._clock_offset(now), stored)

    def load_marks(
        self,
        ttl: dict[str, tuple[float, float]],
        fields: dict[str, Any],
        now: Callable[[], float],
    ) -> dict[str, Mark]:
        """
        The marks of a record. Expired fields are removed from `fields`.

        Args:
            ttl: The part `"ttl"` of the record.
            fields: The fields of the record.
            now: The clock of the storage.
        """
        marks = {}
        offset, instant = self._clock_offset(now), time.monotonic()
        for name, (lifetime, stored) in ttl.items():
            # At most the whole lifetime, even if the wall clock was set back since.
            deadline = min(stored - offset, instant + lifetime)
            marks[name] = Mark(lifetime, deadline, stored)
            if instant >= deadline:
                fields.pop(name, None)
        return marks

    def _migrate(
        self, version: Any, fields: dict[str, Any], marks: dict[str, Mark], key: str
    ) -> tuple[dict[str, Any], dict[str, Mark]]:
        """Apply the missing migrations to the fields of an older record."""
        if _checked_version(version, key) > self._version:
            reason = f"it is of version {version}, and this program knows up to {self._version}"
            remedy = f"run the newer program again, or pass version={version} and its migrations"
            raise DecodeError(key, reason, remedy)
        known = set(fields)
        for number, migration in self._migrations:
            if number > version:
                fields = _migrated(migration, number, fields, key)
        kept = {name: mark for name, mark in marks.items() if name in fields or name not in known}
        for name, value in fields.items():
            # A migration may mark fields. A marked field that it leaves alone keeps its deadline.
            if type(value) is TimedValue and value.lifetime:
                kept[name] = Mark.starting_now(value.lifetime)
            elif type(value) is TimedValue:
                kept.pop(name, None)
        return {name: plain_value(value) for name, value in fields.items()}, kept

    def _same(self, fields: dict[str, Any], others: dict[str, Any], key: str) -> bool:
        before = self._codec.encode({"fields": fields}, key)
        return before == self._codec.encode({"fields": others}, key, before)

    def _clock_offset(self, now: Callable[[], float]) -> float:
        return Clock(self._persistent, now).offset()


def _check_json(fields: dict[str, Any], key: str) -> None:
    JSONCodec().encode({"fields": fields}, key)


def _none(*_: object) -> None:
    """Takes the place of `write_packed` if the codec has no packed records."""


def _life_parts(life: Life | None) -> dict[str, float | None]:
    """The parts of a record that keep the life of its session."""
    parts: dict[str, float | None] = {}
    if life is not None:
        if life.stored is not None:
            parts["end"] = life.stored
        if life.lifetime is not None:
            parts["lifetime"] = None if life.lifetime == math.inf else life.lifetime
    return parts


def _parts_of(record: dict[str, Any]) -> dict[str, Any]:
    """The same parts of a loaded record, if it has them."""
    return {part: record[part] for part in ("end", "lifetime") if part in record}


def _stored(mark: Mark, offset: float) -> Mark:
    """The mark with its deadline on the clock of the storage."""
    if mark.stored is not None and abs(mark.stored - mark.deadline - offset) <= _STEP:
        return mark
    return Mark(mark.lifetime, mark.deadline, stored=mark.deadline + offset)


def _migrated(
    migration: Migration, number: int, fields: dict[str, Any], key: str
) -> dict[str, Any]:
    try:
        returned = migration(fields)
    except Exception as error:
        reason = f"migration {number} raised {type(error).__name__}"
        raise DecodeError(key, reason, _FIX) from error
    migrated = fields if returned is None else returned
    if type(migrated) is not dict or not _STR.issuperset(map(type, migrated)):
        given = "other keys than names" if type(migrated) is dict else type(migrated).__name__
        remedy = "let it change the dict and return nothing, or return a dict of fields"
        raise DecodeError(key, f"migration {number} returned {given}", remedy)
    return migrated


def _checked_fields(record: dict[str, Any], key: str) -> dict[str, Any]:
    fields = record.get("fields")
    if type(fields) is not dict or not _STR.issuperset(map(type, fields)):
        raise DecodeError(key, "it is not the record of a session")
    return fields


def _checked_class(record: dict[str, Any], key: str) -> str | None:
    class_name = record.get("class")
    if class_name is not None and type(class_name) is not str:
        raise DecodeError(key, "it does not name its class by a str")
    return class_name


def _checked_version(version: Any, key: str) -> int:
    if type(version) is not int or version < 0:
        raise DecodeError(key, "it has no version that this library writes")
    return version


def _checked_lifetime(lifetime: Any, key: str) -> float | None:
    if lifetime is not None and not (type(lifetime) in (int, float) and 0 <= lifetime < math.inf):
        raise DecodeError(key, "the lifetime in it is damaged")
    seconds: float | None = lifetime
    return seconds


def _checked_end(end: Any, key: str) -> float:
    # Negative is possible: before the monotonic clock began to count.
    if type(end) not in (int, float) or not math.isfinite(end):
        raise DecodeError(key, "the end in it is damaged")
    checked: float = end
    return checked


def _checked_ttl(ttl: Any, key: str) -> dict[str, tuple[float, float]]:
    try:
        sound = all(
            type(name) is str
            and lifetime > 0
            and math.isfinite(lifetime)
            and math.isfinite(deadline)
            for name, (lifetime, deadline) in ttl.items()
        )
    except (AttributeError, OverflowError, TypeError, ValueError):
        sound = False
    if not sound:
        raise DecodeError(key, "the deadlines in it are damaged")
    checked: dict[str, tuple[float, float]] = ttl
    return checked
