"""The example on PostgreSQL: a dialog under a webhook that several processes serve."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support.inboxes import records
from support.polling import wait_until
from support.postgres import PostgresServer
from support.postgres_storages import make_storage
from support.webhook_processes import Workers, two_workers
from telesession import Sessions

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.bots import Stage

pytestmark = pytest.mark.usefixtures("fresh_process")


@pytest.fixture(scope="class")
def workers() -> Iterator[Workers]:
    """Two processes of the bot, with a server of their own, for all tests of a class."""
    with (
        PostgresServer() as server,
        make_storage(server) as storage,
        two_workers("postgres_webhook", storage, DATABASE_URL=server.url()) as workers,
    ):
        yield workers


class TestPostgresWebhook:
    example = "postgres_webhook"

    def test_another_process_gets_the_answers(self, workers: Workers) -> None:
        """Each message of a dialog may reach another process, and the order is saved once."""
        user = workers.api.user(1)
        replies = []
        for number, text in enumerate(("hi", "sencha", "two", "2", "/orders")):
            update = user.send(text)
            # As Telegram does if an answer of the process is lost.
            assert [200] * 2 == [workers.post(each % 2, update) for each in (number, number + 1)]
            workers.wait_for_replies(1, number + 1)
            replies = workers.replies(1)
            # The reply comes before the commit, with which the next question is there.
            wait_until(lambda: not records(workers.storage))

        expected = ["which tea?", "how many cups?", "please send a number", "ordered: 2 x sencha"]
        assert [*expected, "2 x sencha"] == replies
        with Sessions(storage=workers.storage).open(1) as session:
            assert {"orders": ["2 x sencha"]} == session

    def test_a_guess_of_the_secret_is_turned_away(self, workers: Workers) -> None:
        """A request without the secret posts no update."""
        assert 403 == workers.post(0, workers.api.user(2).send("hi"), "guess")
        assert [] == workers.replies(2)

    def test_it_polls_without_a_server(self, stage: Stage) -> None:
        """Without a token or a server it is a bot like the others."""
        turns = [(1, "hi"), (1, "oolong"), (2, "/orders"), (1, "3"), (1, "/orders")]
        assert [
            ["which tea?"],
            ["how many cups?"],
            ["there are no orders"],
            ["ordered: 3 x oolong"],
            ["3 x oolong"],
        ] == [stage.say(*turn) for turn in turns]
