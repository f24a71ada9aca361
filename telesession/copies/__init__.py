"""Copies of records: to another storage, to another codec, or under another key."""

from __future__ import annotations

from telesession.copies.every_record import CopyCounts, CopyResult, copy_sessions

__all__ = ["CopyCounts", "CopyResult", "copy_sessions"]
