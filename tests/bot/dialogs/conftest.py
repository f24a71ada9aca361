"""A dialog on each kind of storage, with each kind of workers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support.dialogs import SETUPS, Dialog
from support.storages import storage_of
from telesession import MemoryStorage, Storage

if TYPE_CHECKING:
    from telesession.testing import BotAPI


@pytest.fixture(params=SETUPS, ids="-".join)
def dialog(request: pytest.FixtureRequest, tmp_path: Path, bot_api: BotAPI) -> Iterator[Dialog]:
    """A dialog with a bot that is polling; its time stands still if it does for the test."""
    kind, workers = request.param
    is_frozen = "frozen_time" in request.fixturenames
    clock = request.getfixturevalue("frozen_time") if is_frozen else None
    memory = MemoryStorage()

    def open_storage() -> AbstractContextManager[Storage]:
        if kind == "memory":
            return nullcontext(memory)
        return storage_of(kind, tmp_path, request, clock)

    with Dialog(bot_api, open_storage, workers, clock) as dialog:
        yield dialog
