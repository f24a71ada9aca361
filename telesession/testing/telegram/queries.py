"""The queries of users that a bot answers."""

from __future__ import annotations

from telesession.testing.server.call import RefusedError


def unknown_query() -> RefusedError:
    """The refusal of an answer to a query that is unknown, or cannot be answered any more."""
    return RefusedError(
        400, "Bad Request: query is too old and response timeout expired or query ID is invalid"
    )
