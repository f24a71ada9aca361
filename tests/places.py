"""Handlers that take their session at every place among their parameters."""

from __future__ import annotations

import inspect

from conversation import Handler, keep, note


def signature_text(handler: Handler) -> str:
    """A test id: how a handler takes its arguments."""
    return str(inspect.signature(handler)).replace(" ", "")


PLACES = [
    keep,
    lambda session, message: note(session, message.text),
    lambda message, *, session: note(session, message.text),
    lambda message, session=None: note(session, message.text),
    lambda message, session, /: note(session, message.text),
    lambda message, unit="cm", session=None, /: note(session, message.text),
    lambda message, *args, session: note(session, message.text),
    lambda message, session, *args, **kwargs: note(session, message.text),
]
# The same for next steps and replies, which are registered with a unit and a scale.
STEPS = [
    lambda message, session, unit, scale=1: note(session, message.text, unit, scale),
    lambda message, unit, session, *, scale: note(session, message.text, unit, scale),
    lambda message, unit, scale=1, *, session: note(session, message.text, unit, scale),
    lambda message, unit, scale=1, session=None: note(session, message.text, unit, scale),
    lambda message, session, /, unit, **kw: note(session, message.text, unit, *kw.values()),
    lambda message, session, *args, **kw: note(session, message.text, *args, *kw.values()),
]
