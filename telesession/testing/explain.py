"""Tracebacks for the author of a bot, without the calls inside libraries."""

from __future__ import annotations

import os
import sysconfig
from traceback import FrameSummary, StackSummary, TracebackException

import telebot

import telesession

# Between the poll loop and the handler, and between the handler and the socket.
_HIDDEN = tuple(os.path.dirname(str(kind.__file__)) + os.sep for kind in (telebot, telesession))
_INSTALLED = tuple(sysconfig.get_path(kind) + os.sep for kind in ("stdlib", "purelib", "platlib"))


def explain(error: BaseException) -> list[str]:
    """
    The lines of an exception's traceback, with files and lines of the bot's own code.

    Calls inside telebot and telesession are left out, and so are calls of other libraries below
    them. An exception that no code of the bot has seen is its last line alone.
    """
    report = TracebackException.from_exception(error, compact=True)
    _shorten(report)
    return "".join(report.format()).splitlines()


def _shorten(report: TracebackException | None) -> None:
    """Drop the calls of libraries from the report of an exception and of its causes."""
    if report is None:
        return
    kept = _own_calls(report.stack)
    report.stack = StackSummary.from_list(kept) if kept else None  # type: ignore[assignment]
    for other in (report.__cause__, report.__context__, *(report.exceptions or ())):
        _shorten(other)


def _own_calls(stack: StackSummary) -> list[FrameSummary]:
    kept, hidden = [], False
    for frame in stack:
        if frame.filename.startswith(_HIDDEN):
            hidden = True
        elif not frame.filename.startswith((*_INSTALLED, "<frozen")):
            hidden = False
        if not hidden:
            kept.append(frame)
    return kept
