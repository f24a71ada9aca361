"""Interruptions of the package at each point at which Python may raise a KeyboardInterrupt."""

from __future__ import annotations

import dis
import inspect
import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import telesession

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import CodeType, FrameType

PACKAGE = str(Path(telesession.__file__).parent)
# Python looks for signals at the beginning of a function, after a call of C code, and at a jump
# back.
LOOKS = ("CALL", "CALL_KW", "CALL_FUNCTION_EX", "JUMP_BACKWARD")


class Interruption(KeyboardInterrupt):
    """A KeyboardInterrupt that `interrupt` has raised."""


@cache
def instructions(code: CodeType) -> Mapping[int, str]:
    """offset -> the name of the instruction there."""
    return {each.offset: each.opname for each in dis.get_instructions(code)}


def interrupt(call: Callable[[], object], number: int) -> str | None:
    """
    Call a function, and raise an `Interruption` in code of the package.

    Args:
        call: The function. Its own exceptions are dropped.
        number: The number of the point, from 0 on.

    Returns:
        The point in words; `None` if the function has fewer points, and was not interrupted.
    """
    tracer, former = _Tracer(number), sys.gettrace()
    sys.settrace(tracer.enter)
    try:
        call()
    except BaseException as error:  # the caller looks at the state that is left
        error.__traceback__ = None
    finally:
        sys.settrace(former)
        tracer.last.clear()
    return tracer.where


class _Tracer:
    """
    Counts the points of the package that one call passes.

    Attributes:
        where: The point of the interruption in words; `None` before.
        last: frame -> its last instruction; `None` after a call of a Python function.
    """

    def __init__(self, number: int) -> None:
        self.where: str | None = None
        self.last: dict[FrameType | None, str | None] = {}
        self._left = number

    def enter(self, frame: FrameType, _event: str, _argument: Any) -> Any:
        """Trace a new frame of the package."""
        if not frame.f_code.co_filename.startswith(PACKAGE):
            return None
        if frame.f_back in self.last:
            self.last[frame.f_back] = None
        # In this order: Python 3.13 takes the second attribute only with the first one.
        frame.f_trace = self._follow
        frame.f_trace_opcodes = True
        self.last[frame] = None
        # A generator may be entered to be closed, where Python ignores exceptions.
        if not frame.f_code.co_flags & inspect.CO_GENERATOR:
            self._look(frame)
        return self._follow

    def _follow(self, frame: FrameType, event: str, _argument: Any) -> Any:
        if event == "opcode":
            before = self.last.get(frame)
            self.last[frame] = instructions(frame.f_code).get(frame.f_lasti)
            if before in LOOKS:
                self._look(frame)
        elif event == "return":
            self.last.pop(frame, None)
        return self._follow

    def _look(self, frame: FrameType) -> None:
        if self._left == 0 and self.where is None:
            code = frame.f_code
            name = Path(code.co_filename).name
            self.where = f"{code.co_qualname}, line {frame.f_lineno} of {name}"
            sys.settrace(None)
            raise Interruption
        self._left -= 1
