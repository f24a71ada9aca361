"""Records as storages give them, and the writes that holds and commits note."""

from __future__ import annotations

from typing import Literal, NamedTuple


class Record(NamedTuple):
    """
    A record as a storage keeps it.

    Attributes:
        payload: The payload.
        left: Seconds until it expires; `None` if it is kept for ever, and `"unknown"` if the
            storage cannot tell.
    """

    payload: bytes
    left: float | Literal["unknown"] | None


class Note(NamedTuple):
    """
    A write that a hold has noted, to be done with the next commit or flush.

    Attributes:
        action: `"set"` replaces payload and lifetime, `"touch"` renews the lifetime, `"delete"`
            removes the record.
        payload: The payload of the record after the write; `None` for `"delete"`.
        lifetime: Seconds that the record lives from the write on; `None` is for ever.
    """

    action: Literal["set", "touch", "delete"]
    payload: bytes | None = None
    lifetime: float | None = None


DELETION = Note("delete")
# Half the time of a call of the class, and each update notes a write.
make_note = tuple.__new__


class Change(NamedTuple):
    """
    A write to a key that no hold has: done with a commit, if the record is as expected.

    Attributes:
        key: The key.
        expected: The payload that the record must have; `None` if there must be no record.
        payload: The new payload; `None` deletes the record.
        lifetime: Seconds that the record lives from the write on; `None` is for ever.
        index: The index of the record, with which the key begins; `None` if it has none. A change
            that sets the record adds the key to the index, and a deletion removes it. All changes
            of a record name the same index. See `Storage.listed`.
    """

    key: str
    expected: bytes | None
    payload: bytes | None
    lifetime: float | None = None
    index: str | None = None  # type: ignore[assignment]
