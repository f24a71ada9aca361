"""The examples that show how a bot does: metrics and spans."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any
from urllib.request import urlopen

import pytest
from opentelemetry.trace import StatusCode
from prometheus_client import generate_latest, start_http_server

from support.clocks import PATIENCE

if TYPE_CHECKING:
    from support.bots import Stage

pytestmark = pytest.mark.usefixtures("fresh_process")


def handled(stage: Stage, *texts: str) -> list[list[str]]:
    """The answers to messages of user 1."""
    return [stage.say(1, text) for text in texts]


class TestPrometheusFigures:
    example = "prometheus_figures"

    def test_the_figures_are_those_of_the_handlers(self, stage: Stage) -> None:
        """Prometheus reads the calls by handler and outcome, and the bytes of the records."""
        handled(stage, "hi", "hi", "/fail")
        registry = stage.module.registry
        value = registry.get_sample_value
        visits = {"handler": "visit", "outcome": "saved"}
        failures = {"handler": "fail", "outcome": "raised"}
        assert (2, 1) == tuple(
            value("telesession_units_total", labels) for labels in (visits, failures)
        )
        assert 2 == value("telesession_waited_seconds_count", {"handler": "visit"})
        assert 0 < value("telesession_bytes_total", {"handler": "visit", "direction": "saved"})

    def test_prometheus_reads_them_over_http(self, stage: Stage) -> None:
        """The server of the client library gives the figures of the registry."""
        handled(stage, "hi")
        server, thread = start_http_server(0, "127.0.0.1", stage.module.registry)
        try:
            with urlopen(f"http://127.0.0.1:{server.server_port}/metrics") as answer:
                text = answer.read().decode()
        finally:
            server.shutdown()
            server.server_close()
            thread.join(PATIENCE)
        assert 'telesession_units_total{handler="visit",outcome="saved"} 1.0' in text

    def test_no_label_has_a_key(self, stage: Stage) -> None:
        """The text that Prometheus reads has no id of a user."""
        stage.say(4711, "hi")
        text = generate_latest(stage.module.registry).decode()
        assert ("telesession_units_total" in text, "4711" in text) == (True, False)


class TestTracing:
    example = "tracing"

    def spans(self, stage: Stage) -> Any:
        return stage.module.exporter.get_finished_spans()

    def test_a_handler_call_is_a_span(self, stage: Stage) -> None:
        """The span has the name of the handler, its key, and the bytes."""
        before = time.time_ns()
        handled(stage, "hi")
        (span,) = self.spans(stage)
        assert span.name.endswith(".visit")
        assert ("1",) == span.attributes["telesession.keys"]
        assert span.attributes["telesession.bytes.saved"] > 0
        assert before <= span.start_time <= span.end_time <= time.time_ns()
        assert StatusCode.UNSET is span.status.status_code

    def test_a_handler_that_raises_is_an_error(self, stage: Stage) -> None:
        """The span has the class of the exception, and no text of it."""
        handled(stage, "/fail")
        (span,) = self.spans(stage)
        assert StatusCode.ERROR is span.status.status_code
        assert ("ZeroDivisionError", "raised") == tuple(
            span.attributes[name] for name in ("error.type", "telesession.outcome")
        )
