"""A loopback Bot API and a bot without handlers that talks to it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from telebot import TeleBot

from telesession.testing import BotAPI


@pytest.fixture
def api() -> Iterator[BotAPI]:
    """A running loopback Bot API, made by hand, because its fixture is under test here."""
    with BotAPI() as api:
        yield api


@pytest.fixture
def bot(api: BotAPI) -> Any:
    """A bot that handles its updates in the thread that brings them."""
    return TeleBot("77:offline", threaded=False)
