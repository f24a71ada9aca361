"""
A bot with an inbox whose process is stopped in a handler, for longer than its lease, and goes on.

`python -m support.paused_bot URL [unchecked]` receives a message of each of two users, with one
worker. It writes a dot when a handler begins, and the handlers go on at the end of its input. Then
it prints the exceptions of handlers.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import telesession
from support.addresses import open_leased
from support.clocks import PATIENCE
from support.inboxes import Life, noting, text_update
from support.polling import wait_until
from support.updates import ANNA, BORIS
from telesession import Session, Sessions

if TYPE_CHECKING:
    from telesession.storage.base import Change, Hold

# Seconds of the lease.
LEASE = 0.5


class Unchecked:
    """The control, as a first base class: commits expect nothing of the records of updates."""

    def commit(self, holds: Sequence[Hold], also: Sequence[Change] = ()) -> None:
        """Write in any case."""
        storage: Any = super()
        changes = [change._replace(expected=storage.get(change.key)) for change in also]
        storage.commit(holds, changes)


class PausedBot:
    """
    The process of the bot, which is stopped while its first handler runs.

    Args:
        url: Of the server.
        control: `"unchecked"` for the control.
    """

    def __init__(self, url: str, control: str) -> None:
        paths = [str(Path(__file__).parents[1]), str(Path(telesession.__file__).parents[1])]
        self._process = subprocess.Popen(
            [sys.executable, "-W", "error", "-m", "support.paused_bot", url, control],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        )
        assert self._process.stdout is not None
        # Both updates are stored, and the handler of the first one has begun.
        assert self._process.stdout.read(2) == b".."
        self._process.send_signal(signal.SIGSTOP)
        status = Path(f"/proc/{self._process.pid}/stat")
        wait_until(lambda: status.read_text().rpartition(")")[2].split()[0] == "T")

    def go_on(self) -> tuple[str, str]:
        """Let it go on and end, and return what it prints and its complaints."""
        self._process.send_signal(signal.SIGCONT)
        printed, complaints = self._process.communicate(timeout=2 * PATIENCE)
        return printed.decode(), complaints.decode()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.returncode is None:
            self._process.kill()
            self._process.communicate()


@contextmanager
def life_of(url: str, control: str) -> Iterator[Life]:
    """The bot in its process."""
    first = Unchecked if control else None
    with open_leased(url, LEASE, first) as storage:
        life = Life(storage)
        sessions: Sessions[Any] = Sessions(storage=storage)

        @life.bot.message_handler()
        @sessions.with_session
        def handle(message: Any, session: Session) -> None:
            os.write(1, b".")
            sys.stdin.read()
            noting(session, message.text)

        yield life
        life.close()


def main() -> None:
    """Receive the messages, and handle them."""
    with life_of(*sys.argv[1:]) as life:
        life.receive(text_update("1", ANNA), text_update("2", BORIS))
        os.write(1, b".")
        life.wait()
        sys.stdout.write(f"{life.errors}")


if __name__ == "__main__":
    main()
