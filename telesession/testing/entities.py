"""Stub until the branch with the real one is merged."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from telesession.testing.call import JSON


def formatted(fields: Mapping[str, Any], name: str, *, entities: str = "") -> JSON:  # noqa: ARG001
    """The text."""
    text = str(fields.get(name) or "")
    return {name: text} if text.strip() else {}
