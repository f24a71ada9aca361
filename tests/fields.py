"""The fields of stored sessions, written and read by handlers of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from telesession import Sessions


def set_fields(sessions: Sessions[Any], key: str = "1", **fields: Any) -> None:
    with sessions.open(key) as session:
        session.update(fields)


def fields_of(sessions: Sessions[Any], key: str = "1") -> dict[str, Any]:
    with sessions.open(key) as session:
        return dict(session)
