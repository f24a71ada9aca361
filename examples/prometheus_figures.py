"""
Counts visits, and gives the figures of its handlers to Prometheus.

Try `hi`, `/fail` and `/figures`.

`on_event` gets one event for each handler call, and adds it to the metrics. With METRICS_PORT=8000
Prometheus reads them at http://localhost:8000/metrics. Labels have few values: the handler and the
outcome, and no key of a user.

    > hi
    visit 1
    > hi
    visit 2
    > /fail
    sorry, that went wrong, and nothing was saved
    ! Traceback (most recent call last):
    ...
    ! ZeroDivisionError: division by zero
    > /figures
    visit: 2 saved, 0 raised
    fail: 0 saved, 1 raised
"""

# mypy: allow-untyped-decorators, allow-untyped-calls

import os
import signal

from prometheus_client import CollectorRegistry, Counter, Histogram, start_http_server
from telebot import TeleBot, logger
from telebot.types import Message

from telesession import Session, Sessions, UnitEvent, use_sequential_workers

TOKEN = os.environ.get("BOT_TOKEN")
PORT = os.environ.get("METRICS_PORT")
HELP = "say hi; /fail makes a handler raise, and /figures shows how often both happened"
bot = TeleBot(TOKEN or "123456:offline")

registry = CollectorRegistry()
UNITS = Counter(
    "telesession_units", "Handler calls with sessions", ["handler", "outcome"], registry=registry
)
WAITED = Histogram(
    "telesession_waited_seconds", "Waits for busy sessions", ["handler"], registry=registry
)
HELD = Histogram(
    "telesession_held_seconds", "Time with locked sessions", ["handler"], registry=registry
)
BYTES = Counter(
    "telesession_bytes", "Bytes of records", ["handler", "direction"], registry=registry
)


def measure(event: UnitEvent) -> None:
    """Add the figures of one handler call to the metrics."""
    handler = (event.handler or "open").rpartition(".")[2]
    UNITS.labels(handler, event.outcome).inc()
    WAITED.labels(handler).observe(event.waited)
    HELD.labels(handler).observe(event.held)
    BYTES.labels(handler, "loaded").inc(event.loaded)
    BYTES.labels(handler, "saved").inc(event.saved)


def apologise(message: Message, error: Exception) -> None:
    """Log the exception of a handler, and tell the user."""
    logger.error("a handler raised", exc_info=error)
    bot.send_message(message.chat.id, "sorry, that went wrong, and nothing was saved")


use_sequential_workers(bot, on_error=apologise)
sessions = Sessions(initial={"visits": 0}, name="guest", on_event=measure)


@bot.message_handler(commands=["fail"])
@sessions.with_session
def fail(message: Message, guest: Session) -> None:
    bot.reply_to(message, str(guest.visits / 0))


@bot.message_handler(commands=["figures"])
def show_figures(message: Message) -> None:
    bot.reply_to(message, "\n".join(line_of(handler) for handler in ("visit", "fail")))


def line_of(handler: str) -> str:
    """The calls of a handler, as Prometheus reads them."""
    counts = []
    for outcome in ("saved", "raised"):
        labels = {"handler": handler, "outcome": outcome}
        count = registry.get_sample_value("telesession_units_total", labels) or 0
        counts.append(f"{count:.0f} {outcome}")
    return f"{handler}: {', '.join(counts)}"


@bot.message_handler()
@sessions.with_session
def visit(message: Message, guest: Session) -> None:
    guest.visits += 1
    bot.reply_to(message, f"visit {guest.visits}")


if __name__ == "__main__":
    if PORT:
        start_http_server(int(PORT), addr="127.0.0.1", registry=registry)
    if TOKEN:
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        bot.infinity_polling()
    else:  # In the terminal, without a network.
        from telesession.testing import chat

        chat(bot, hint=HELP)
