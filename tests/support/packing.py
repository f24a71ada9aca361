"""Values on their way through a form and a codec, and refusals on it."""

from __future__ import annotations

from typing import Any

import pytest

from telesession import JSONCodec
from telesession.typed.form import Misfit, Reading
from telesession.typed.hints import form_of


def stored(plain: Any, codec: Any = None) -> Any:
    """Plain data as a codec brings it back."""
    codec = codec or JSONCodec()
    return codec.decode(codec.encode({"fields": {"value": plain}}, "1"), "1")["fields"]["value"]


def unpacked(hint: Any, plain: Any) -> tuple[Any, Reading]:
    """The value of plain data, and what was noted while it was made."""
    reading = Reading()
    return form_of(hint).unpack(plain, reading), reading


def pack_misfit(hint: Any, value: Any) -> Misfit:
    """The refusal of a value."""
    form = form_of(hint)
    with pytest.raises(Misfit) as caught:
        form.pack(value)
    return caught.value


def unpack_misfit(hint: Any, plain: Any) -> Misfit:
    """The refusal of plain data."""
    with pytest.raises(Misfit) as caught:
        unpacked(hint, plain)
    return caught.value


def refusal(hint: Any) -> str:
    """The text of the error for an annotation that has no form."""
    with pytest.raises(TypeError) as caught:
        form_of(hint)
    return str(caught.value)
