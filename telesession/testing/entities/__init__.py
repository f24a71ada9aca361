"""Texts of messages with their entities, as Telegram's servers make them of texts with marks."""

from __future__ import annotations

from telesession.testing.entities.detection import detect
from telesession.testing.entities.formatting import formatted, parse

__all__ = ["detect", "formatted", "parse"]
