"""Whatever Python can call that telebot may be given as a handler."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

from conversation import ignore, keep, note


class Shop:
    """Handlers that are methods."""

    def take(self, message, session):
        note(session, message.text)

    @classmethod
    def take_by_class(cls, message, session):
        note(session, message.text)

    @staticmethod
    def take_by_static(message, session):
        note(session, message.text)

    def __call__(self, message, session):
        note(session, message.text)


@dataclass
class Unhashable:
    """What telebot can call and nobody can put into a set."""

    greeting: str = "hi"

    def __call__(self, message, session):
        note(session, message.text)


class Slotted:
    """What can be called and has no place for attributes."""

    __slots__ = ()

    def __call__(self, message, session):
        note(session, message.text)


class Obliging:
    """Has whatever it is asked for, as proxies do."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name.endswith("__") and "session" not in name:
            raise AttributeError(name)
        return ignore

    def __call__(self, message, session):
        note(session, message.text)


def keep_with_unit(unit, message, session):
    note(session, message.text)


@functools.wraps(keep)
def logged(*args, **kwargs):
    return keep(*args, **kwargs)


CALLABLES = {
    "bound-method": Shop().take,
    "class-method": Shop.take_by_class,
    "static-method": Shop.take_by_static,
    "callable": Shop(),
    "unhashable": Unhashable(),
    "slotted": Slotted(),
    "obliging": Obliging(),
    "partial": functools.partial(keep_with_unit, "cm"),
    "partial-with-a-session": functools.partial(keep, session=None),
    "below-another-decorator": logged,
}
