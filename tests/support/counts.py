"""Handlers that count in a session of a storage, and the counters as they are stored."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from telesession import Sessions, save, ttl

if TYPE_CHECKING:
    from collections.abc import Callable

    from telesession import Storage


def handle(storage: Storage, work: Callable[[Any], Any], key: str = "42", **options: Any) -> Any:
    """Let a handler work with a session that begins with a counter."""
    with Sessions(initial=lambda: {"n": 0}, storage=storage, **options).open(key) as session:
        return work(session)


def update(storage: Storage, key: str = "42", **options: Any) -> int:
    """Let a handler count."""

    def work(session: Any) -> int:
        session.n += 1
        return session.n

    return handle(storage, work, key, **options)


def count(storage: Storage, key: str = "42") -> int | None:
    """The stored counter of a session."""
    fields = Sessions(storage=storage).peek(key)
    return None if fields is None else fields["n"]


def change(session: Any) -> None:
    """Count."""
    session.n += 1


def change_a_field_with_a_lifetime(session: Any) -> None:
    """Set a field that expires."""
    session.code = ttl("1234", 300)


def save_twice(session: Any) -> None:
    """Count, and save, twice."""
    for _ in range(2):
        session.n += 1
        save(session)
