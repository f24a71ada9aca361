"""The command `telesession`: a view of the records of a storage, and changes of them."""

from __future__ import annotations

import logging
import signal
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from io import TextIOWrapper


def main(arguments: Sequence[str] | None = None) -> int:
    """
    Run the command, and return its exit code.

    Args:
        arguments: The arguments without the name of the program; by default those of the process.
    """
    if not all(map(find_spec, ("click", "rich"))):
        sys.stderr.write(
            "telesession: the command needs the packages click and rich; "
            "pip install 'click>=8.2' 'rich>=13'\n"
        )
        return 1
    if arguments is None:
        # As Ctrl-C. So no lock on a server stays until its lease ends, and no draft of a file
        # stays.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        # The error of the command says the same, and names the remedy.
        logging.getLogger("psycopg.pool").setLevel(logging.ERROR)
    for stream in (sys.stdout, sys.stderr):
        # A key may have characters that the encoding of the terminal has not.
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    from telesession.cli.program import run  # noqa: PLC0415

    return run(arguments)
