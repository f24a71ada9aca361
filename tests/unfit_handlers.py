"""Handlers that cannot have a session."""

from __future__ import annotations


async def async_handler(message, session): ...


async def async_generator(message, session):
    yield


def generator(message, session):
    yield


class AsyncGreeter:
    async def __call__(self, message, session): ...

    async def greet(self, message, session): ...


def no_update(session): ...


class ClassHandler:
    def __init__(self, message, session):
        pass


# By their kind: a handler, and why it is refused.
REFUSED = {
    "async": (async_handler, "async_handler is async"),
    "generator": (generator, "generator is a generator"),
    "async-generator": (async_generator, "async_generator is async"),
    "class": (ClassHandler, "ClassHandler"),
    "async-callable": (AsyncGreeter(), "AsyncGreeter is async"),
    "without-update": (no_update, "no parameter for the update"),
}
