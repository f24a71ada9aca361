"""Copies of the records of a storage: to another storage, or in place with another codec."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from telesession.copies.transfers import Transfer
from telesession.storage.base import Storage


@dataclass(frozen=True)
class CopyCounts:
    """
    The numbers of records that `copy_sessions` has read so far.

    With `dry_run` they are those of the copy that would be made, except `old_keys`.

    Attributes:
        copied: Records that the target did not have.
        replaced: Records that were written in the place of others: in place with another codec or
            key, or because of `overwrite`.
        same: Records that the target had already.
        kept: Records that were not copied, because the target has another one under the key.
        refused: Records that were not copied, because the codec of the target refuses a value.
        unreadable: Records that were not copied, because the codec of the source cannot read them.
        busy: Records that were not copied, because a handler has kept the session for a minute.
        waiting: Updates of an inbox that were not copied, because a living process handles them.
        old_keys: Records that the target has under an old key of its `EncryptedCodec` afterwards.
        unknown_lifetimes: Records that were written to live for ever, because the source does not
            know the rest of their lifetimes.
    """

    copied: int = 0
    replaced: int = 0
    same: int = 0
    kept: int = 0
    refused: int = 0
    unreadable: int = 0
    busy: int = 0
    waiting: int = 0
    old_keys: int = 0
    unknown_lifetimes: int = 0

    @property
    def total(self) -> int:
        """The number of all records that were read."""
        written = self.copied + self.replaced + self.same
        return written + self.kept + self.refused + self.unreadable + self.busy + self.waiting


@dataclass(frozen=True)
class CopyResult(CopyCounts):
    """
    The result of `copy_sessions`: the numbers of records, and the keys of the records to check.

    The keys are those of the storage, with their rooms. The log has the reasons.

    Attributes:
        kept_keys: The keys of the records that `kept` counts.
        refused_keys: The keys of the records that `refused` counts.
        unreadable_keys: The keys of the records that `unreadable` counts.
        busy_keys: The keys of the records that `busy` counts.
    """

    kept_keys: tuple[str, ...] = ()
    refused_keys: tuple[str, ...] = ()
    unreadable_keys: tuple[str, ...] = ()
    busy_keys: tuple[str, ...] = ()


def copy_sessions(
    source: Storage,
    target: Storage,
    *,
    prefix: str = "",
    overwrite: bool = False,
    on_progress: Callable[[CopyCounts], object] | None = None,
    dry_run: bool = False,
) -> CopyResult:
    """
    Copy all records of a storage to another one, or rewrite them in place with another codec.

    Records of all rooms are copied: sessions, states, questions and the inbox. They keep the rest
    of their lifetimes and the deadlines of their fields. The source stays as it is.

    It is in place if both storages are one object or keep their records in one place. Then each
    record gets the codec of the target, and the first key of its `EncryptedCodec`.

    Each record is copied under its lock in both storages, so a running bot loses no update. A copy
    that was interrupted is completed by calling this again. The memory that it needs does not grow
    with the number of records.

    Args:
        source: The storage that has the records.
        target: The storage that gets them. Its codec writes them.
        prefix: Only records whose keys in the storage begin with it are copied; `"@cart:"` is
            the room of the sessions named `cart`.
        overwrite: Whether another record of the target is replaced; by default it is kept.
        on_progress: Called with the numbers so far after each record.
        dry_run: Whether nothing is written. Each record is read and encoded all the same.

    Raises:
        StorageError: A storage failed. The records before are copied.
        TypeError: One of the two is not a storage.
    """
    transfer = Transfer(_checked(source), _checked(target), overwrite=overwrite, dry_run=dry_run)
    numbers: Counter[str] = Counter()
    # outcome -> keys
    listed: dict[str, list[str]] = {
        outcome: [] for outcome in ("kept", "refused", "unreadable", "busy")
    }
    for key in source.keys(prefix):
        moved = transfer.copy(key)
        if moved is None:
            # A lease, or a record that was deleted or has expired since its key was listed.
            continue
        numbers[moved.outcome] += 1
        numbers["old_keys"] += moved.has_old_key
        numbers["unknown_lifetimes"] += moved.is_for_ever
        if moved.outcome in listed:
            listed[moved.outcome].append(key)
        if on_progress is not None:
            on_progress(CopyCounts(**numbers))
    keys = {f"{outcome}_keys": tuple(found) for outcome, found in listed.items()}
    return CopyResult(**numbers, **keys)  # type: ignore[arg-type]


def _checked(storage: object) -> Storage:
    if not isinstance(storage, Storage):
        raise TypeError(
            "copy_sessions takes two storages, such as SQLiteStorage(path), and not a "
            f"{type(storage).__name__}"
        )
    return storage
