"""Programs that serve others, refuse to run as root, and leave nothing behind."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from support.clocks import PATIENCE
from support.guards import Guard

USER = "nobody"


def is_root() -> bool:
    """Whether the tests are run by root, so that programs have another user."""
    return os.geteuid() == 0


class Daemon:
    """
    A program in a folder of its own, run by `nobody` if the tests are run by root.

    If the process that has started it is killed, the program gets SIGQUIT, and the folder is
    removed.

    Attributes:
        folder: The folder, which its user owns.
    """

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="telesession-"))
        self._process: subprocess.Popen[bytes] | None = None
        self._guard: Guard | None = None
        self._user: Mapping[str, Any] = {}
        if is_root():
            self._user = {"user": USER, "extra_groups": []}
        self._give(self.folder)

    @property
    def log(self) -> str:
        """All that its programs have printed."""
        return (self.folder / "log").read_text()

    @property
    def is_running(self) -> bool:
        """Whether the program has been started and has not ended."""
        return self._process is not None and self._process.poll() is None

    def write(self, name: str, text: str) -> Path:
        """Write a file of the folder, and return its path."""
        path = self.folder / name
        path.write_text(text)
        self._give(path)
        return path

    def run(self, *command: object) -> None:
        """
        Run another program in the folder to its end, by the same user.

        Raises:
            RuntimeError: It failed; with the log.
        """
        if self._popen(*command).wait():
            raise RuntimeError(f"{command[0]} failed:\n{self.log}")

    def start(self, *command: object) -> None:
        """Start the program."""
        self._process = self._popen(*command)
        self._guard = Guard(self.folder, self._process.pid)

    def stop(self, signal_: int = signal.SIGQUIT) -> None:
        """End the program, if it runs, by a signal."""
        if self._process is not None:
            self._process.send_signal(signal_)
            self._process.wait(PATIENCE)
            self._guard.dismiss()
            self._process = self._guard = None

    def remove(self) -> None:
        """End the program, and remove the folder."""
        self.stop()
        shutil.rmtree(self.folder)

    def _give(self, path: Path) -> None:
        if self._user:
            shutil.chown(path, USER)

    def _popen(self, *command: object) -> subprocess.Popen[bytes]:
        # Those that begin with PG would tell it of another server.
        environment = {name: text for name, text in os.environ.items() if name[:2] != "PG"}
        with (self.folder / "log").open("ab") as log:
            return subprocess.Popen(
                list(map(str, command)),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
                env=environment,
                # Ctrl-C is for the tests.
                start_new_session=True,
                **self._user,
            )
