"""The program: its commands, and the way from an error to a message and an exit code."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence

import click

from telesession.cli.copies import copy, rekey
from telesession.cli.doctor import doctor
from telesession.cli.edits import delete, set_field, unset
from telesession.cli.erase import erase
from telesession.cli.exits import Exit, RefusedError
from telesession.cli.export import export
from telesession.cli.importing import import_lines
from telesession.cli.output import tell
from telesession.cli.rehearsal import migrate
from telesession.cli.show import keys, show
from telesession.cli.stats import stats
from telesession.cli.upkeep import backup, purge
from telesession.cli.watch import watch
from telesession.errors import LockTimeoutError, SessionError


@click.group(context_settings={"max_content_width": 80, "help_option_names": ["-h", "--help"]})
@click.version_option(package_name="telesession", message="%(prog)s %(version)s")
def program() -> None:
    """
    Look at the sessions of a bot, and change, copy or delete them, while it runs.

    The storage is a URL such as sqlite:///bot.db, in the variable TELESESSION_STORAGE or in the
    option --storage after the command.
    """


for _command in (
    *(keys, show, stats, watch, doctor, export, migrate),
    *(set_field, unset, delete, purge, erase, backup, copy, rekey, import_lines),
):
    program.add_command(_command)


def run(arguments: Sequence[str] | None = None) -> int:
    """
    Run the program.

    Args:
        arguments: The arguments without the name of the program; by default those of the process.

    Returns:
        The exit code, which is an `Exit`.
    """
    try:
        code = program.main(arguments, prog_name="telesession", standalone_mode=False)
        sys.stdout.flush()
    except click.ClickException as error:
        error.show()
        return Exit.USAGE if isinstance(error, click.UsageError) else Exit.FAILED
    except (click.Abort, KeyboardInterrupt):
        tell("interrupted")
        return Exit.INTERRUPTED
    except RefusedError as error:
        return _fail(error, error.code)
    except SessionError as error:
        return _fail(_message_of(error), Exit.FAILED)
    except OSError as error:
        return _unwritten(error)
    return code if isinstance(code, int) else Exit.DONE


def _message_of(error: SessionError) -> str:
    if not isinstance(error, LockTimeoutError):
        return str(error)
    reason, _, _ = str(error).rpartition("; ")
    return f"{reason}; try again, or wait longer with --wait"


def _unwritten(error: OSError) -> Exit:
    """End with the failure of a file, perhaps of the output."""
    try:
        sys.stdout.flush()
    except OSError:
        # The interpreter would write again at its end, and fail with an exit code of its own.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
    if isinstance(error, BrokenPipeError):
        # The reader of the output has ended.
        return Exit.FAILED
    return _fail(f"could not read or write a file: {error.strerror}", Exit.FAILED)


def _fail(error: Exception | str, code: Exit) -> Exit:
    # Only a program can read the cause.
    message = re.sub("see __cause__(,| and) ", "", str(error))
    tell(f"telesession: {message}")
    return code
