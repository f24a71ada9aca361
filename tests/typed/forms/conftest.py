"""The codecs that bring packed values back."""

from __future__ import annotations

from typing import Any

import pytest

from telesession import JSONCodec, PickleCodec


@pytest.fixture(params=[JSONCodec, PickleCodec], ids=["json", "pickle"])
def codec(request: pytest.FixtureRequest) -> Any:
    """A codec of each kind."""
    return request.param()
