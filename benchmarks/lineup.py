"""The rows of the tables: each contender, and the bot without sessions that it is compared with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from benchmarks.contender import ROOT, peer

UNLOCKED = "no lock around the handler"
NODE = "benchmarks/node/contender.mjs"


@dataclass(frozen=True)
class Row:
    """
    A row of a table.

    Attributes:
        name: The subject of the row.
        origin: The library of the contender, or `"a dict"` or `"by hand"`.
        command: The program of the contender, without its mode.
        plain: The program whose mode `without` is subtracted, where it is another one.
        note: A remark for the reader.
        server: The server of a durable row, `"valkey"` or `"postgresql"`; `"file"` for a file.
        counts: Whether the handler counts, so that increments can be lost.
    """

    name: str
    origin: str
    command: tuple[str, ...]
    plain: tuple[str, ...] = ()
    note: str = ""
    server: str = ""
    counts: bool = True

    @property
    def without(self) -> tuple[str, ...]:
        """The command of the same dispatch without sessions."""
        return (*(self.plain or self.command), "without")


# All contenders that one dispatch calls share one bot without sessions.
ON_TELEBOT = peer("telesessions", "counter")
PLAIN = {
    **dict.fromkeys(("telesessions", "dicts", "telebots", "floors"), ON_TELEBOT),
    "aiograms": peer("aiograms", "shared"),
    "python_telegram_bots": peer("python_telegram_bots", "sequential"),
}


def row(origin: str, name: str, program: str, note: str = "") -> Row:
    """Return the row of a program in `benchmarks.peers`, with its variant."""
    module, variant = program.split()
    has_dispatch_of_its_own = variant in ("workers", "inbox")
    plain = () if has_dispatch_of_its_own else tuple(PLAIN[module])
    return Row(name, origin, tuple(peer(module, variant)), plain, note, counts=variant != "read")


def node(origin: str, name: str, argument: str, note: str) -> Row:
    """Return the row of a program in JavaScript."""
    return Row(name, origin, ("node", str(ROOT / NODE), argument), note=note)


def on(server: str, *rows: Row) -> tuple[Row, ...]:
    """Return rows on a server, or on a file."""
    return tuple(replace(row, server=server) for row in rows)


THREADED = "beside telebot's own threads"
ONE_LOCK = "one lock for all users"
WEBHOOK = "no lock around the handler; one update at a time while it polls"
ONE_BY_ONE = "handles one update at a time, of all users"
CONCURRENT = "`user_data` with `concurrent_updates`"
PTB = "python-telegram-bot"

MEMORY: Sequence[Row] = (
    row("telesession", "a counter", "telesessions counter"),
    row("telesession", "a handler that only reads", "telesessions read"),
    row("telesession", "a dataclass of five fields", "telesessions typed"),
    row("telesession", "a dataclass with a list of ten nested ones", "telesessions nested"),
    row("telesession", "seven fields, some nested", "telesessions seven"),
    row("telesession", "a counter beside a field with `ttl`", "telesessions ttl"),
    row("telesession", "a counter with a `lifetime`", "telesessions lifetime"),
    row("telesession", "two sessions", "telesessions two"),
    row("telesession", "sequential workers", "telesessions workers", THREADED),
    row("telesession", "workers with an inbox", "telesessions inbox", THREADED),
    row("a dict", "a global dict", "dicts unlocked", UNLOCKED),
    row("a dict", "a global dict behind a lock", "dicts locked", ONE_LOCK),
    row("telebot", "`retrieve_data`", "telebots retrieve_data", UNLOCKED),
    row("telebot", "`StateContext`", "telebots state_context", UNLOCKED),
    row("aiogram", "FSM", "aiograms shared", UNLOCKED),
    row("aiogram", "FSM with `SimpleEventIsolation`", "aiograms isolated"),
    row(PTB, "`user_data`", "python_telegram_bots sequential", ONE_BY_ONE),
    row(PTB, CONCURRENT, "python_telegram_bots concurrent", UNLOCKED),
    node("puregram", "`@puregram/session`", "puregram", UNLOCKED),
    node("grammY", "`session()`", "grammy", WEBHOOK),
    node("telegraf", "`session()`", "telegraf", UNLOCKED),
)

DURABLE: Sequence[Row] = (
    *on(
        "file",
        row("telesession", "SQLite", "telesessions counter"),
        row("telesession", "SQLite, with an inbox", "telesessions inbox"),
        row("by hand", "one transaction of `sqlite3`", "floors sqlite"),
        row("telebot", "`StatePickleStorage`", "telebots retrieve_data", UNLOCKED),
    ),
    *on(
        "valkey",
        row("telesession", "Valkey", "telesessions counter"),
        row("telesession", "Valkey, with an inbox", "telesessions inbox"),
        row("by hand", "`GET` and `SET`", "floors redis", UNLOCKED),
        row("by hand", "`GET` and `SET` inside a `Lock`", "floors redis_lock"),
        row("telebot", "`StateRedisStorage`", "telebots retrieve_data", UNLOCKED),
        row("aiogram", "`RedisStorage`", "aiograms shared", UNLOCKED),
        row("aiogram", "`RedisStorage` and `RedisEventIsolation`", "aiograms isolated"),
    ),
    *on(
        "postgresql",
        row("telesession", "PostgreSQL", "telesessions counter"),
        row("by hand", "`SELECT ... FOR UPDATE` and `UPDATE`", "floors postgres"),
    ),
)
