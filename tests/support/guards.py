"""Guards that clean up after a process that is killed."""

from __future__ import annotations

import os
import signal
from pathlib import Path

# Waits for the end of its starter.
_SCRIPT = """
read -r line
[ -z "$2" ] || { kill -QUIT "$2"; while kill -0 "$2"; do sleep 0.1; done; } 2>/dev/null
rm -rf "$1"
"""


class Guard:
    """
    Removes a folder when the process that has made the guard ends, even by SIGKILL.

    Args:
        folder: The folder.
        pid: A process that has to end before, by SIGQUIT.
    """

    def __init__(self, folder: Path, pid: int | None = None) -> None:
        reading, self._writing = os.pipe()
        # Not a `subprocess.Popen`, which complains about one that lives longer than this process.
        self._pid = os.posix_spawn(
            "/bin/sh",
            ["sh", "-c", _SCRIPT, "guard", str(folder), str(pid or "")],
            os.environ,
            file_actions=[(os.POSIX_SPAWN_DUP2, reading, 0)],
            # Ctrl-C is for the tests.
            setsid=True,
        )
        os.close(reading)

    def dismiss(self) -> None:
        """End the guard; the folder stays."""
        os.kill(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)
        os.close(self._writing)
