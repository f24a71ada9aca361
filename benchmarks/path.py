"""
The path of one update in memory: its calls of Python functions, and its changes of file.

Run it in a clone as `python benchmarks/path.py`. A handler counts the messages of one user, in the
default storage. Each call is one line, in the order of the calls, indented under its caller. A call
from one file of the package into another one is a change of file, and has a star. The handler, its
call and its own calls are no changes.

The program fails if there are more calls than `CALLS`, or more changes than `CHANGES`.
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, NamedTuple

from telebot import types

import telesession
from telesession import Session, with_session

CALLS, CHANGES = 18, 8
PACKAGE = Path(telesession.__file__).parent


@with_session(initial={"counter": 0})
def count(message: types.Message, session: Session) -> None:
    session.counter += 1


HANDLER = count.__wrapped__.__code__  # type: ignore[attr-defined]


class Call(NamedTuple):
    """A call of a Python function: the depth from the wrapper on, the function and its caller."""

    depth: int
    code: CodeType
    caller: CodeType | None

    @property
    def changes_file(self) -> bool:
        files = [self.code.co_filename, self.caller.co_filename if self.caller else ""]
        return __file__ not in files and self.caller is not None and files[0] != files[1]


def calls_of(update: types.Message) -> list[Call]:
    """The calls of an update, without that of the handler itself."""
    calls: list[Call] = []
    stack: list[CodeType] = []

    def note(frame: FrameType, event: str, _: Any) -> None:
        if event == "call":
            if frame.f_code is not HANDLER:
                calls.append(Call(len(stack), frame.f_code, stack[-1] if stack else None))
            stack.append(frame.f_code)
        elif event == "return" and stack:
            stack.pop()

    sys.setprofile(note)
    try:
        count(update)
    finally:
        sys.setprofile(None)
    return calls


def main() -> int:
    """Print the path, and return the exit code."""
    user = types.User(1, is_bot=False, first_name="Ann")
    update = types.Message(1, user, 0, types.Chat(1, "private"), "text", {}, "")
    # The first update makes the session, which takes another path.
    count(update)
    calls = calls_of(update)
    for call in calls:
        path = Path(call.code.co_filename)
        shown = path.relative_to(PACKAGE) if path.is_relative_to(PACKAGE) else path.name
        star = "*" if call.changes_file else " "
        print(f"{star} {shown!s:18} {'  ' * call.depth}{call.code.co_qualname}")
    changes = sum(call.changes_file for call in calls)
    print(f"{len(calls)} calls (at most {CALLS}), {changes} changes of file (at most {CHANGES})")
    return int(len(calls) > CALLS or changes > CHANGES)


if __name__ == "__main__":
    sys.exit(main())
