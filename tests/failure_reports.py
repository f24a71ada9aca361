"""What a bot would log of a failure."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from typing import Any

import pytest


def report(kind: type[Exception], fail: Callable[[str], Any], value: str) -> str:
    """What a bot would log of a failure."""
    with pytest.raises(kind) as caught:
        fail(value)
    return "".join(traceback.format_exception(caught.value))
