"""Kinds of sessions: their options, and the translations between updates, records and sessions."""

from __future__ import annotations

import copy
import logging
from typing import TYPE_CHECKING, Any, Self

from telesession.codecs.memory import are_scalars
from telesession.errors import DeadlockError, DecodeError, NoSessionKeyError, SessionError
from telesession.keys import ROOM, key_fault
from telesession.kinds.unreadable import set_aside
from telesession.moves import Moves, Renaming
from telesession.session import (
    ReadState,
    collect_view_changes,
    live_fields,
    load_plain_session,
    load_session,
    make_session,
)
from telesession.storage.base import Note, make_note
from telesession.typed.views import packed_fields
from telesession.unit.blocks import locked
from telesession.unit.entry import INDEPENDENT, USUAL
from telesession.unit.unit import Unit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from telesession.initial import Initial
    from telesession.options import OnUnreadable
    from telesession.record import Loaded, RecordTranslator
    from telesession.storage.base import Hold, Storage
    from telesession.ttl import Life, Mark
    from telesession.unit.entry import Entry, Use
    from telesession.unit.events import OnEvent

_log = logging.getLogger("telesession")


class Kind:
    """
    One kind of sessions: their storage, their first fields and their lifetime.

    It translates in three steps of an update: from the update to the key, from the record to the
    session object, and back to the record.

    A *key* is the name of a session as users give it. A *place* is the key in the storage, which
    begins with the room.

    Keep one for as long as its `Sessions`; any thread may use it.

    Args:
        initial: Makes new sessions, and shows sessions to handlers.
        translator: Translates between payloads and fields.
        get_storage_key: Maps an update to the key of its session.
        storage: The storage of the records.
        name: The parameter of handlers that receives the session.
        room: The beginning of all its keys in the storage; see `telesession.keys.room_of`.
        lifetime: Seconds that a session lives after its last use; `None` is for ever.
        lock_timeout: Seconds to wait for a busy session; `None` waits for ever.
        commit_on_error: Whether the changes of a handler that raised are kept.
        on_event: Gets the figures of each unit; `None` for none.
        on_unreadable: Returns whether an unreadable record is set aside; `None` sets none aside.
        older: The beginning of the keys before there were rooms; `None` without a change.
    """

    def __init__(
        self,
        initial: Initial,
        translator: RecordTranslator,
        *,
        get_storage_key: Callable[[Any], str | int | None],
        storage: Storage,
        name: str,
        room: str,
        lifetime: float | None,
        lock_timeout: float | None,
        commit_on_error: bool,
        on_event: OnEvent | None = None,
        on_unreadable: OnUnreadable | None = None,
        older: str | None = None,
    ) -> None:
        self.initial = initial
        self.translator = translator
        self.to_msgpack, self.from_msgpack = translator.to_msgpack, translator.from_msgpack
        self.write_packed = translator.write_packed
        self.write_scalars, self.write_nested = translator.write_scalars, translator.write_nested
        self.get_storage_key = get_storage_key
        self.storage = storage
        # The same in all processes.
        self.storage_name = repr(storage)
        self.name = name
        self.room = room
        self.lifetime = lifetime
        self.lock_timeout = lock_timeout
        self.commit_on_error = commit_on_error
        self.on_event = on_event
        self.on_unreadable = on_unreadable
        self.moves = Moves.of(storage)
        self.groups = self.moves.groups
        self.pending = self.moves.pending
        self.older = older
        self.moves.rooms.add(room)

    def place_of_update(self, update: object) -> str:
        """
        The place of the session of an update.

        Raises:
            NoSessionKeyError: The update has no key.
            SessionError: `get_storage_key` raised.
        """
        try:
            key = self.get_storage_key(update)
        except Exception as error:
            raise self.no_key(update, error) from error
        return self.place_of_result(key, update)

    def no_key(self, update: object, error: Exception) -> SessionError:
        """The error of an update for which `get_storage_key` raised an exception."""
        return SessionError(
            f"no session for this {type(update).__name__}: get_storage_key raised "
            f"{type(error).__name__}; let it return None for an update without a session"
        )

    def place_of_result(self, key: str | int | None, update: object) -> str:
        """
        The place of a key that `get_storage_key` returned for an update.

        Raises:
            NoSessionKeyError: It is no key.
        """
        if type(key) is not str or not key:
            if fault := key_fault(key):
                raise NoSessionKeyError(type(update).__name__, f"returned {fault}")
            key = str(key)
        place = self._with_room(key)
        return self._redirected(place) if self.groups else place

    def place_of_key(self, key: object) -> str:
        """
        The place of a key that a user gave.

        Raises:
            TypeError: It is no key.
        """
        if fault := key_fault(key):
            raise TypeError(f"the key of a session is a non-empty str or an int, not {fault}")
        place = self._with_room(str(key))
        return self._redirected(place) if self.groups else place

    def key_of_place(self, place: str) -> str:
        """The key of a place."""
        return place[1:] if place.startswith(ROOM) and not self.room else place[len(self.room) :]

    def places(self, prefix: str = "") -> Iterator[str]:
        """Iterate over the places of the stored sessions whose keys start with a prefix."""
        return filter(self._is_in_room, self.storage.keys(self._with_room(prefix)))

    def keys(self, prefix: str = "") -> Iterator[str]:
        """Iterate over the keys of the stored sessions that start with a prefix."""
        return map(self.key_of_place, self.places(prefix))

    def items(self, prefix: str = "") -> Iterator[tuple[str, Any]]:
        """
        Iterate over the keys that start with a prefix, each with its session to read.

        Raises:
            ExceptionGroup: At the end: the `DecodeError`s of the records that could not be read.
        """
        damaged = []
        for place in self.places(prefix):
            try:
                session = self.read(place)
            except DecodeError as error:
                damaged.append(_without_frames(error))
                continue
            # It may have been deleted or have expired since it was listed.
            if session is not None:
                yield self.key_of_place(place), session
        if damaged:
            raise ExceptionGroup("could not read the records of some sessions", damaged)

    def translate_error(self, error: SessionError, place: str | None = None) -> None:
        """
        Replace the place in an error of a storage or a codec by the key.

        Args:
            error: The error.
            place: The only place to replace; by default every place of the room. Give it if the
                error may have a key already, because a key may begin like a room.
        """
        found = getattr(error, "key", None)
        if isinstance(found, str) and (
            self._is_in_room(found) if place is None else found == place
        ):
            vars(error)["key"] = self.key_of_place(found)
        if isinstance(error, DeadlockError):
            # Places in other rooms stay as they are: this kind does not know their keys.
            error.keys = tuple(
                self.key_of_place(found) if self._is_in_room(found) else found
                for found in error.keys
            )

    def _redirected(self, place: str) -> str:
        """The place of a session whose group may have become a supergroup."""
        # A handler that has locked the session under the old key keeps it there.
        if Unit.owner_of(self.storage, place) is not None:
            return place
        return self.moves.redirect(place, len(self.room))

    def _is_in_room(self, place: str) -> bool:
        """Whether a place is in the room."""
        if not self.room:
            # Keys of other rooms begin with one `@`, and keys of this one with none or two.
            return not place.startswith(ROOM) or place.startswith(2 * ROOM)
        return place.startswith(self.room)

    def _with_room(self, key: str) -> str:
        if not self.room and key.startswith(ROOM):
            return ROOM + key
        return self.room + key

    def _look_for_older_records(self) -> None:
        """Log once if the room is empty and there are records from before there were rooms."""
        older, self.older = self.older, None
        # If other sessions of this process have no room, the records belong to them.
        if older is None or not self.storage.persistent or older in self.moves.rooms:
            return
        if next(self.places(), None) is None and any(
            not place.startswith(ROOM) for place in self.storage.keys(older)
        ):
            _log.warning(
                "%r has no record in the room %r, but records under keys that begin with %r, where "
                "an older version of telesession kept them; pass prefix=%r to go on with those",
                self.storage,
                self.room,
                older,
                older,
            )

    def finish_move(self, place: str) -> None:
        """
        Do a pending move to a key, before the key is locked; see `Moves.finish_move`.

        A record that cannot be read, under either key, may be set aside.
        """
        arguments = self.storage, self.translator, self.lifetime, self.lock_timeout
        try:
            self.moves.finish_move(place, *arguments)
        except DecodeError as error:
            unreadable = error.key
            self.translate_error(error)
            with self.storage.hold(unreadable, self.lock_timeout) as hold:
                if not self.sets_aside(hold, hold.get(), error):
                    raise
            self.moves.finish_move(place, *arguments)

    def follow_group(self, old_chat_id: int, new_chat_id: int) -> None:
        """
        Move all sessions of a group that became a supergroup: at once, or before their next use.

        Nothing is raised if the storage fails or a record is damaged: that is logged. To call it
        again for the same group costs nothing once all have moved.

        Args:
            old_chat_id: The id of the group.
            new_chat_id: The id of the supergroup.

        Raises:
            ValueError: The key function is not one of the ready-made ones.
        """
        renaming = Renaming.of(self.get_storage_key, old_chat_id, new_chat_id, self.room)
        self.moves.follow(renaming, self.storage, self.translator, self.lifetime)

    def check_size(self, payload: bytes, place: str) -> None:
        """Check that a payload may be written; `LimitedKind` refuses large ones."""

    def with_lifetime(self, lifetime: float | None) -> Self:
        """The same kind with another lifetime: seconds after the last use, `None` for ever."""
        other = copy.copy(self)
        other.lifetime = lifetime
        return other

    def with_storage(self, storage: Storage) -> Self:
        """The same kind with another storage, which has the same codec."""
        other = copy.copy(self)
        other.storage, other.storage_name = storage, repr(storage)
        other.moves = Moves.of(storage)
        other.groups, other.pending = other.moves.groups, other.moves.pending
        return other

    def load(  # noqa: C901, PLR0912 -- each update passes here
        self, entry: Entry, update: object, use: Use
    ) -> Any:
        """
        Make the object that handlers get, from the record of an entry or from `initial`.

        Raises:
            DecodeError: The record cannot be read.
            KeyError: There is no record, and none is to be made.
            SessionError: `initial` raised, or cannot be copied.
        """
        hold = entry.hold
        payload = entry.payload = hold.payload if hold.is_read and hold.note is None else hold.get()
        if payload is not None:
            packed = None
            if self.from_msgpack is not None:
                # Not `MemoryCodec.read_packed`: each update passes here, and a call takes time.
                try:
                    packed = self.from_msgpack(payload)
                except (ValueError, RecursionError):
                    packed = None
            if packed is None:
                fields, marks, entry.class_name, entry.life = self.translator.load(
                    payload, hold.key, hold.now
                )
                if entry.life is not None and entry.life.is_over():
                    entry.payload = entry.class_name = entry.life = None
                    return self._load_new(entry, update, use)
            elif isinstance(packed, dict):
                entry.flat = True
                fields, marks = packed, None
            else:
                fields, ttl = packed
                entry.flat = ttl is not None
                marks = None if ttl is None else self.translator.load_marks(ttl, fields, hold.now)
            typed = self.initial.typed
            if entry.class_name is not None or (typed is None and not self.initial.is_mapping):
                typed = self.initial.typed_for(entry, update)
            if typed is None:
                if marks is None:
                    entry.session = load_plain_session(fields, entry)
                else:
                    entry.session = load_session(fields, marks, entry)
                return entry.session
            if marks:
                entry.session = load_session(fields, marks, entry)
                return typed.view(entry.session)
            shown = typed.open(entry, fields)
            if entry.solo is not None:
                entry.session = shown
            return shown
        return self._load_new(entry, update, use)

    def _load_new(self, entry: Entry, update: object, use: Use) -> Any:
        """Make a new session, as the object that handlers get."""
        if self.older is not None:
            self._look_for_older_records()
        if not use.create:
            raise KeyError(
                f"there is no session {entry.key!r}, and create=False makes none; open it without "
                "create=False to make one from initial"
            )
        made, typed = self.initial.make(entry.key, update)
        fields = self.translator.copy(made, entry.key)
        if typed is None:
            entry.session = make_session(fields, entry)
            return entry.session
        entry.class_name = typed.class_name
        shown = typed.begin(entry, fields)
        if entry.solo is not None:
            entry.session = shown
        return shown

    def sets_aside(self, hold: Hold, payload: bytes | None, error: DecodeError) -> bool:
        """
        Log that a record cannot be read, and set it aside if the author says so.

        Args:
            hold: The hold of the record.
            payload: The record; `None` if it is gone.
            error: The error, with the key and not the place.

        Returns:
            Whether the record was set aside, so that the session can begin anew.

        Raises:
            SessionError: `on_unreadable` raised, or the record could not be moved.
        """
        # A record that is only noted is not in the storage.
        if payload is None or hold.note is not None or not self._is_for_setting_aside(error):
            _log.error("unreadable record: %s", error)
            return False
        place = set_aside(hold, payload)
        _log.error(
            "set the record of session %r aside as %r, because it could not be read: %s",
            error.key,
            place,
            error.reason,
        )
        return True

    def _is_for_setting_aside(self, error: DecodeError) -> bool:
        if self.on_unreadable is None:
            return False
        try:
            return bool(self.on_unreadable(error.key, error))
        except Exception as failure:
            raise SessionError(
                f"could not open session {error.key!r}: its record cannot be read, and "
                f"on_unreadable raised {type(failure).__name__}; the record was left as it was; "
                "see __cause__ and fix on_unreadable"
            ) from failure

    def show(self, entry: Entry, update: object) -> Any:
        """The object that handlers get, of an entry that is loaded already."""
        typed = self.initial.typed_for(entry, update)
        solo, session = entry.solo, entry.session
        if solo is not None:
            if typed is not None and typed.cls is solo.cls:
                return session
            session = solo.link(session)
        return session if typed is None else typed.view(session)

    def encode(self, entry: Entry) -> None:  # noqa: C901, PLR0912 -- each update passes here
        """
        Note in the hold of an entry the write that its session needs: all of it, a touch, or none.

        Raises:
            EncodeError: A field would not come back; nothing was noted.
        """
        hold, previous, marks = entry.hold, entry.payload, entry.marks
        payload = previous
        if entry.forgotten:
            payload = None
        elif entry.solo is not None and (packed := entry.solo.pack(entry)) is not None:
            payload = self._write_solo(entry, packed)
        else:
            fields = entry.attributes
            is_public = entry.views is entry.solo is entry.class_name is None and not marks
            if not is_public or entry.life is not None or len(fields) != len(entry.session):
                fields, is_public, marks = self._live_fields(entry), False, entry.marks
            if not fields:
                payload = None
            # Without an assignment, a flat record can only lack expired fields: no reason to write.
            elif payload is None or entry.changed or not entry.flat:
                payload = None
                if is_public and self.to_msgpack is not None:
                    if are_scalars(map(type, fields.values())):
                        # Not `MemoryCodec.write_scalars`, as in `load`.
                        try:
                            payload = self.to_msgpack(fields)
                        except (ValueError, OverflowError):
                            payload = None
                    else:
                        payload = self.write_packed(fields)
                if payload is None:
                    payload, marks = self._dump(entry, fields)
        life, lifetime = entry.life, self.lifetime
        if payload is None:
            if previous is not None:
                hold.delete()
                entry.payload = None
        elif payload != previous:
            if life is None and lifetime is None:
                # As `Hold.set`, without a call.
                hold.note = make_note(Note, ("set", payload, None))
            else:
                hold.set(payload, lifetime if life is None else life.left(lifetime))
            entry.payload, entry.marks = payload, marks
        elif life is not None:
            self._renew(entry, payload, life)
        elif lifetime is not None and entry.renews and not hold.touch(lifetime):
            # The session expired while the handler had it.
            hold.set(payload, lifetime)

    def _renew(self, entry: Entry, payload: bytes, life: Life) -> None:
        """Renew the lifetime of a session with a life of its own; an end does not move."""
        if entry.renews and life.sliding(self.lifetime) is not None:
            lifetime = life.left(self.lifetime)
            if not entry.hold.touch(lifetime):
                entry.hold.set(payload, lifetime)

    @staticmethod
    def _live_fields(entry: Entry) -> dict[str, Any]:
        """The live fields of an entry. A solo state becomes a `Session` first."""
        if entry.solo is not None:
            entry.solo.link(entry.session)
        elif entry.views is not None:
            collect_view_changes(entry.session)
        return live_fields(entry.session)

    def _write_solo(self, entry: Entry, fields: dict[str, Any]) -> bytes | None:
        """The payload of the packed fields of a solo state; `None` without any fields."""
        if not fields:
            return None
        payload, declared = None, entry.solo.fields
        if entry.class_name is None and entry.life is None and declared.is_public:
            if fields is entry.attributes:
                payload = self.write_scalars(fields)
            # A stored value, which stays as it is, may be of any type.
            elif declared.is_plain and entry.fitted is entry.undeclared is None:
                payload = self.write_nested(fields, entry.payload)
        if payload is None:
            hold, previous = entry.hold, entry.payload
            payload, _ = self.translator.dump(
                entry, fields, fields, hold.key, previous=previous, now=hold.now
            )
        return payload

    def _dump(self, entry: Entry, values: dict[str, Any]) -> tuple[bytes, dict[str, Mark]]:
        """The payload of the live fields of a `Session`, and the marks once that is stored."""
        fields = values if entry.views is None else packed_fields(values, entry)
        hold, translator = entry.hold, self.translator
        # An expired field is no reason to write, so `dump` compares with the record.
        if entry.flat and entry.marks and entry.marks.keys() <= fields.keys():
            return translator.dump_anew(entry, values, fields, hold.key, now=hold.now)
        return translator.dump(
            entry, values, fields, hold.key, previous=entry.payload, now=hold.now
        )

    def delete(self, place: str, use: Use = USUAL, within: Unit | None = None) -> bool:
        """Delete a session at the commit of the unit, and return whether it was stored."""
        with locked((self, place), use=use, within=within) as (entry,):
            if entry.depth:
                entry.forgotten = True
                return self.storage.has(place)
            return entry.hold.delete()

    def clear(self, prefix: str = "") -> int:
        """Delete the sessions whose keys start with a prefix, each in a unit of its own."""
        return sum(self.delete(place, INDEPENDENT) for place in self.places(prefix))

    def has(self, place: str) -> bool:
        """Whether a place has a record, or will have it after a pending move."""
        old = self.pending.get(place)
        try:
            return self.storage.has(place) or (old is not None and self.storage.has(old))
        except SessionError as error:
            self.translate_error(error)
            raise

    def peek(self, place: str) -> dict[str, Any] | None:
        """The live fields of a record as it was last saved; `None` if there is none."""
        loaded = self._read_saved(place)
        return None if loaded is None else loaded[0]

    def read(self, place: str) -> Any:
        """A record as it was last saved, as a closed session; `None` if there is none."""
        loaded = self._read_saved(place)
        if loaded is None:
            return None
        fields, marks, class_name, life = loaded
        state = ReadState(self.key_of_place(place))
        state.class_name, state.life = class_name, life
        typed = self.initial.typed_to_read(state)
        if typed is not None and not marks:
            return typed.open(state, fields)
        session = load_session(fields, marks, state)
        return session if typed is None else typed.view(session)

    def _read_saved(self, place: str) -> Loaded | None:
        try:
            payload, old = self.storage.get(place), self.pending.get(place)
            if payload is None and old is not None:
                place, payload = old, self.storage.get(old)
            if payload is None:
                return None
            loaded = self.translator.load(payload, place, self.storage.now)
            life = loaded[3]
            return None if life is not None and life.is_over() else loaded
        except SessionError as error:
            self.translate_error(error)
            raise


def _without_frames(error: BaseException) -> Any:
    """An error and its causes without their frames, which hold the payload."""
    behind: BaseException | None = error
    while behind is not None:
        behind.__traceback__ = None
        behind = behind.__cause__ or behind.__context__
    return error
