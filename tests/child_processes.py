"""Programs that are run in a process of their own, and that cannot outlive their test."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from clocks import PATIENCE

# Seconds that a program may take on a busy machine.
TIME_LIMIT = 300


def run_program(command: list[str], cwd: Path | None = None) -> tuple[int, str, str]:
    """
    The exit code of a program, what it printed, and its complaints.

    If it takes too long it is killed, with every process that it has forked.
    """
    process = start_program(command, cwd)
    printed, complaints = finish_program(process)
    return process.returncode, printed, complaints


def start_program(command: list[str], cwd: Path | None = None) -> subprocess.Popen[str]:
    """Start a program as the leader of a session, so that `kill_program` finds what it forks."""
    return subprocess.Popen(
        command,
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def finish_program(process: subprocess.Popen[str]) -> tuple[str, str]:
    """Wait for the end of a program, and return what it printed and its complaints."""
    try:
        return process.communicate(timeout=TIME_LIMIT)
    except BaseException:
        kill_program(process)
        raise


def kill_program(process: subprocess.Popen[str]) -> None:
    """End a program that still runs, with every process that it has forked."""
    if process.returncode is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


@contextmanager
def watched(process: subprocess.Popen[str]) -> Iterator[None]:
    """A process that is killed in the end, or when who reads from it has lost all patience."""
    watch = threading.Timer(2 * PATIENCE, process.kill)
    watch.daemon = True
    watch.start()
    try:
        with process:
            try:
                yield
            finally:
                process.kill()
    finally:
        watch.cancel()
