"""The command `telesession`: called in this process, in a process of its own, and in a terminal."""

from __future__ import annotations

import fcntl
import io
import json
import os
import pty
import struct
import subprocess
import sys
import sysconfig
import termios
from contextlib import redirect_stderr, redirect_stdout, suppress
from pathlib import Path
from typing import Any, NamedTuple, TextIO

from support.processes import TIME_LIMIT, kill_program
from telesession.cli import main

COLUMNS = 80


class Ran(NamedTuple):
    """The end of a command: its exit code, and its lines on both outputs."""

    code: int
    out: str
    err: str


def call(*arguments: object, output: TextIO | None = None) -> Ran:
    """
    Call the command in this process, so that a test can watch it.

    Args:
        arguments: Its arguments.
        output: Gets its standard output; by default the result has it.
    """
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8") for _ in range(2))
    with redirect_stdout(output or out), redirect_stderr(err):
        code = main([str(each) for each in arguments])
    return Ran(int(code), *map(_text_of, (out, err)))


def findings(ran: Ran) -> dict[str, list[str]]:
    """The states and texts of an answer of `doctor --json`, by the names of the checks."""
    found: dict[str, list[str]] = {}
    for check in json.loads(ran.out):
        found.setdefault(check["name"], []).extend((check["state"], check["text"]))
    return found


def doctor() -> dict[str, list[str]]:
    """The findings of `doctor` about the storage of the environment."""
    return findings(call("doctor", "--json"))


def states(found: dict[str, list[str]]) -> set[str]:
    """The states of findings."""
    return {state for each in found.values() for state in each[::2]}


def start(*arguments: object, **options: Any) -> subprocess.Popen[str]:
    """Start the command in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "telesession", *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        **options,
    )


def wait_until_it_waits(process: subprocess.Popen[str], key: str) -> None:
    """
    Wait until a command waits for a record, which its log says after a second.

    It has no other record then that it has begun to change.
    """
    assert process.stderr is not None
    line = process.stderr.readline()
    assert line.startswith(f"a handler waits for session {key!r} ")


def finish(process: subprocess.Popen[str]) -> Ran:
    """Wait for the end of a command."""
    try:
        out, err = process.communicate(timeout=TIME_LIMIT)
    except BaseException:
        kill_program(process)
        raise
    return Ran(process.returncode, out, err)


def installed_script() -> Path:
    """The script that the installation of the package makes."""
    return Path(sysconfig.get_path("scripts"), "telesession")


def in_terminal(*arguments: object, typed: str = "") -> Ran:
    """Run the command in a terminal of 80 columns, in which a text is typed."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, COLUMNS, 0, 0))
    environment = {**os.environ, "TERM": "xterm"}
    # Rich and click believe these more than the terminal.
    environment = {name: environment[name] for name in environment if name != "COLUMNS"}
    with subprocess.Popen(
        [sys.executable, "-m", "telesession", *map(str, arguments)],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=environment,
        start_new_session=True,
    ) as process:
        os.close(theirs)
        os.write(ours, typed.encode())
        printed = _read_all(ours)
        code = process.wait(TIME_LIMIT)
    os.close(ours)
    return Ran(code, printed.decode().replace("\r\n", "\n"), "")


def _read_all(descriptor: int) -> bytes:
    parts = []
    # The end of the last process in a terminal is an error for its reader.
    with suppress(OSError):
        while part := os.read(descriptor, 4096):
            parts.append(part)
    return b"".join(parts)


def _text_of(stream: io.TextIOWrapper) -> str:
    stream.flush()
    stream.seek(0)
    return stream.read()
