"""Examples at work: on a stage, where users act on them, and in a terminal."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clocks import PATIENCE

from telesession import Sessions, Storage
from telesession.testing import BotAPI, Group, User, run_polling

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

    import pytest

    from telesession.testing import Polling

ROOT = Path(__file__).parents[1]


class Stage:
    """An example whose bot is polling, and whoever acts on it."""

    def __init__(self, module: ModuleType, api: BotAPI, polling: Polling) -> None:
        self.module: Any = module
        self.api = api
        self.polling = polling

    def say(self, user: int, text: str, chat: Group | None = None) -> list[str]:
        """Send a message, and return the texts that the bot sent in answer to it."""
        sent = len(self.api.messages)
        self.user(user).send(text, chat=chat)
        self.polling.wait_idle(PATIENCE)
        return [message.text for message in self.api.messages[sent:]]

    def press(self, user: int, label: str) -> tuple[str, list[str]]:
        """Press a button of the user's latest message, and return how that reads then."""
        self.user(user).press(self.latest(user), label)
        self.polling.wait_idle(PATIENCE)
        latest = self.latest(user)
        return latest.text, [button["text"] for button in latest.buttons]

    def latest(self, user: int) -> Any:
        return [message for message in self.api.messages if message.chat_id == user][-1]

    def user(self, user: int) -> User:
        return self.api.user(user)


@contextmanager
def on_stage(name: str, api: BotAPI) -> Iterator[Stage]:
    """Import an example as a new process would, and let its bot poll."""
    forget_sessions()
    module = load(name)
    try:
        with run_polling(module.bot, api, timeout=PATIENCE) as polling:
            yield Stage(module, api, polling)
    finally:
        for storage in vars(module).values():
            if isinstance(storage, Storage):
                storage.close()
        del sys.modules[module.__name__]


def load(name: str) -> Any:
    path = ROOT / "examples" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"example_{name}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Where dataclasses and pickle look for the classes of a module.
    sys.modules[module.__name__] = module
    spec.loader.exec_module(module)
    return module


def forget_sessions() -> None:
    """Empty the storage that all decorators share which name none."""
    shared = Sessions()
    for key in list(shared.keys()):
        shared.delete(key)


def forget_settings(patch: pytest.MonkeyPatch) -> None:
    """Take away what examples read from the environment."""
    for name in ("BOT_TOKEN", "BOT_DATABASE", "REDIS_URL"):
        patch.delenv(name, raising=False)


class Terminal:
    """An example in a process of its own, typed at through a pipe."""

    def __init__(self, name: str, lines: str, directory: Path) -> None:
        self._lines = lines
        self._process = subprocess.Popen(
            [sys.executable, "-W", "error", str(ROOT / "examples" / f"{name}.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=directory,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )

    def result(self) -> tuple[str, str, int]:
        """What it printed, its complaints, and its exit code."""
        try:
            printed, complaints = self._process.communicate(self._lines, timeout=2 * PATIENCE)
        finally:
            self.close()
        return printed, complaints, self._process.returncode

    def close(self) -> None:
        """End it if nobody asked for its result."""
        if self._process.returncode is None:
            self._process.kill()
            self._process.communicate()
