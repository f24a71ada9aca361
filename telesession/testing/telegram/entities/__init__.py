"""Texts of messages with their entities, as Telegram's servers make them of texts with marks."""

from __future__ import annotations

from telesession.testing.telegram.entities.detection import detect
from telesession.testing.telegram.entities.formatting import formatted, parse
from telesession.testing.telegram.entities.marked import utf16

__all__ = ["detect", "formatted", "parse", "utf16"]
