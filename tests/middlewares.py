"""A class middleware, and bots that have class middlewares."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from host import Host, make_host
from telebot.handler_backends import BaseMiddleware

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from telebot import types


@pytest.fixture(params=["one-thread", "threads"])
def host_with_middlewares(request: pytest.FixtureRequest) -> Iterator[Host]:
    """A bot that looks at the signatures of its handlers."""
    yield from make_host(request.param, "class-middlewares")


class TeaMiddleware(BaseMiddleware):
    """Gives handlers a value of its own, and one that has the same name as our session."""

    def __init__(self) -> None:
        super().__init__()
        self.update_types = ["message"]
        self.answer: Any = None
        self.on_done: Callable[[Exception | None], object] = lambda _: None

    def pre_process(self, message: types.Message, data: dict[str, Any]) -> Any:
        data["tea"] = "sencha"
        data["session"] = "a session of a database"
        return self.answer

    def post_process(
        self, message: types.Message, data: dict[str, Any], exception: Exception | None
    ) -> None:
        self.on_done(exception)
