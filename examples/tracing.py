"""
Counts visits, and makes a span of OpenTelemetry for each handler call.

Try `hi`, `/fail` and `/spans`.

`on_event` comes at the end of a handler call, so the span begins that many seconds before. Its
parent is the span that is current in the handler's thread, if there is one. Here the last spans
stay in memory; put the exporter of your backend in its place.

    > hi
    visit 1
    > /fail
    sorry, that went wrong, and nothing was saved
    ! Traceback (most recent call last):
    ...
    ! ZeroDivisionError: division by zero
    > /spans
    visit: saved
    fail: raised ZeroDivisionError
"""

# mypy: allow-untyped-decorators, allow-untyped-calls

import os
import signal
import time

from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode
from telebot import TeleBot, logger
from telebot.types import Message

from telesession import Session, Sessions, UnitEvent, use_sequential_workers

TOKEN = os.environ.get("BOT_TOKEN")
HELP = "say hi; /fail makes a handler raise, and /spans shows the last handler calls"
bot = TeleBot(TOKEN or "123456:offline")

exporter = InMemorySpanExporter()
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(exporter))
tracer = provider.get_tracer("telesession")


def trace(event: UnitEvent) -> None:
    """Make a span of one handler call."""
    end = time.time_ns()
    begin = end - int((event.waited + event.held) * 1e9)
    span = tracer.start_span(event.handler or "open", start_time=begin)
    span.set_attribute("telesession.keys", event.keys)
    span.set_attribute("telesession.waited", event.waited)
    span.set_attribute("telesession.held", event.held)
    span.set_attribute("telesession.bytes.loaded", event.loaded)
    span.set_attribute("telesession.bytes.saved", event.saved)
    span.set_attribute("telesession.outcome", event.outcome)
    if event.error:
        span.set_attribute("error.type", event.error)
        span.set_status(StatusCode.ERROR)
    span.end(end)


def apologise(message: Message, error: Exception) -> None:
    """Log the exception of a handler, and tell the user."""
    logger.error("a handler raised", exc_info=error)
    bot.send_message(message.chat.id, "sorry, that went wrong, and nothing was saved")


use_sequential_workers(bot, on_error=apologise)
sessions = Sessions(initial={"visits": 0}, name="guest", on_event=trace)


@bot.message_handler(commands=["fail"])
@sessions.with_session
def fail(message: Message, guest: Session) -> None:
    bot.reply_to(message, str(guest.visits / 0))


@bot.message_handler(commands=["spans"])
def show_spans(message: Message) -> None:
    lines = []
    for span in exporter.get_finished_spans()[-10:]:
        attributes = span.attributes or {}
        handler = span.name.rpartition(".")[2]
        parts = attributes["telesession.outcome"], attributes.get("error.type", "")
        lines.append(f"{handler}: {' '.join(map(str, parts))}".rstrip())
    bot.reply_to(message, "\n".join(lines) or "there are no spans")


@bot.message_handler()
@sessions.with_session
def visit(message: Message, guest: Session) -> None:
    guest.visits += 1
    bot.reply_to(message, f"visit {guest.visits}")


if __name__ == "__main__":
    if TOKEN:
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        bot.infinity_polling()
    else:  # In the terminal, without a network.
        from telesession.testing import chat

        chat(bot, hint=HELP)
