"""Ways to give handlers to a bot, and all that there is to see of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from conversation import Handler
from host import Host, make_host
from telebot import TeleBot, util
from updates import decorate, handler_name, register

Way = Callable[[TeleBot, str, Handler], None]


@pytest.fixture(params=["no-middlewares", "class-middlewares"])
def quick_host(request: pytest.FixtureRequest) -> Iterator[Host]:
    """A bot without threads, for what does not depend on them."""
    yield from make_host(request.param)


def add(bot: TeleBot, kind: str, handler: Handler) -> None:
    """Adds a handler for every update of a kind, as decorators of telebot do."""
    method = getattr(bot, f"add_{handler_name(kind)}")
    method({"function": handler, "pass_bot": False, "filters": {}})


def state_of(bot: TeleBot) -> tuple[Any, ...]:
    """All that there is to see of a bot, by what is compared with `is` or is plain."""
    attributes = {
        name: [(id(item), dict(item)) if isinstance(item, dict) else item for item in value]
        if isinstance(value, list)
        else value
        for name, value in vars(bot).items()
    }
    return attributes, dict(vars(bot.next_step_backend)), dict(vars(bot.reply_backend))


WAYS = {"decorator": decorate, "register": register, "add": add}
HANDLER_NAMES = {handler_name(kind) for kind in util.update_types}
