"""An inbox on a server whose replies are lost."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from support.inboxes import (
    Life,
    MakeLife,
    effects,
    noting,
    records,
    send,
    text_update,
)
from support.postgres_storages import storage_by
from support.servers import RedisWire, patient_url
from support.wires import Wire
from telesession import RedisStorage, Session, SessionError, Sessions, Storage

if TYPE_CHECKING:
    from collections.abc import Callable

    from telesession.testing import BotAPI


@pytest.fixture(params=["redis", "postgres"])
def kind(request: pytest.FixtureRequest) -> str:
    """The kind of the server."""
    kind: str = request.param
    return kind


@pytest.fixture
def wire(kind: str, request: pytest.FixtureRequest) -> Iterator[Wire]:
    """A way to the server that can lose replies."""
    is_redis = kind == "redis"
    server = request.getfixturevalue("server" if is_redis else "postgres")
    with RedisWire(server) if is_redis else Wire(server) as wire:
        yield wire


@pytest.fixture
def remote_storage(kind: str, wire: Any, request: pytest.FixtureRequest) -> Iterator[Storage]:
    """A storage that reaches the server by this way."""
    if kind == "redis":
        storage: Storage = RedisStorage(patient_url(wire))
    else:
        storage = storage_by(wire, request.getfixturevalue("postgres"))
    with storage:
        yield storage


def add(life: Life, storage: Storage, on_end: Callable[[], object]) -> None:
    """Let the handler note each message, and call a function when it has."""
    sessions: Sessions[Any] = Sessions(storage=storage)

    @life.bot.message_handler()
    @sessions.with_session
    def handle(message: Any, session: Session) -> None:
        noting(session, message.text)
        on_end()


def test_the_reply_to_the_commit(
    wire: Wire, remote_storage: Storage, make_life: MakeLife, bot_api: BotAPI
) -> None:
    """If the reply to a commit is lost, the effect is there once, and the update has ended."""
    life = make_life(remote_storage)
    add(life, remote_storage, wire.lose_replies)
    send(bot_api, "tea")
    life.run()

    assert (["tea"], [], []) == (effects(remote_storage), records(remote_storage), life.errors)
    assert 1 == wire.lost


@pytest.mark.parametrize("way", ["poll", "receive"])
def test_the_reply_to_the_store(
    way: str, wire: Wire, remote_storage: Storage, make_life: MakeLife, bot_api: BotAPI
) -> None:
    """If the reply to a store is lost, the update is handled once, now or when it comes again."""
    life = make_life(remote_storage)
    add(life, remote_storage, bool)
    deliver = life.poll if way == "poll" else lambda: life.receive(*bot_api.unconfirmed)
    life.poll() if way == "poll" else life.receive(text_update("first"))
    life.wait()
    send(bot_api, "tea")
    wire.lose_replies()
    for _ in range(2):
        try:
            deliver()
        except SessionError:
            deliver()
    life.wait()

    assert (["tea"], [], []) == (
        effects(remote_storage)[-1:],
        records(remote_storage),
        life.errors,
    )
    assert (1, 1) == (wire.lost, effects(remote_storage).count("tea"))
