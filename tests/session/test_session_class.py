"""`Session` as a class: it is made by the library, and nobody extends it."""

from __future__ import annotations

import pytest

from telesession import Session, ttl


def test_a_subclass_is_refused_with_a_reason() -> None:
    """A class that extends `Session` is a `TypeError` at its definition, which says what to do."""
    with pytest.raises(TypeError, match=r"class Mine cannot extend Session.*dataclass.*initial="):
        type("Mine", (Session,), {})


def test_a_subclass_of_the_class_of_a_session_is_refused() -> None:
    """So is a class that extends the class of a session with a lifetime."""
    kind = type(Session(code=ttl("1234", 300)))
    with pytest.raises(TypeError, match="class Mine cannot extend Session"):
        type("Mine", (kind,), {})
