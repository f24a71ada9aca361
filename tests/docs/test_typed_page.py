"""The page on typed sessions: the log line that it shows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from support.bots import ROOT
from support.pages import blocks_of
from support.sessions import store_untyped, typed_sessions
from telesession import MemoryStorage

if TYPE_CHECKING:
    import pytest


@dataclass
class Buyer:
    """The session's class of the page."""

    city: str = ""


def test_the_log_line_is_as_the_page_shows(caplog: pytest.LogCaptureFixture) -> None:
    """A record has a field that its class does not declare: the log has the page's line, once."""
    [shown] = blocks_of(ROOT / "docs" / "typed.md", "text")
    storage = MemoryStorage()
    store_untyped(storage, town="Bergen")
    sessions = typed_sessions(Buyer, storage)
    for _ in range(2):
        with sessions.open(1):
            pass
    assert [" ".join(shown.code.split())] == caplog.messages
