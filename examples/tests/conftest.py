"""The fixtures of the testing kit, and settings of their own for the bots under test."""

import os
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

pytest_plugins = ["telesession.testing.fixtures"]

# The bots are in the folder above.
sys.path.insert(0, str(Path(__file__).parents[1]))


def pytest_configure(config: pytest.Config) -> None:
    """Set a file of this process and no desk before the bots are imported."""
    folder = TemporaryDirectory(ignore_cleanup_errors=True)
    config.add_cleanup(folder.cleanup)
    os.environ["BOT_DATABASE"] = str(Path(folder.name, "bot.db"))
    for name in ("OPERATOR_ID", "DESK_CHAT_ID", "DESK_TOPIC_ID"):
        os.environ.pop(name, None)
