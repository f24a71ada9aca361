"""The rows of the tables: each contender, and the bot without sessions that it is compared with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.contender import ROOT, peer

UNLOCKED = "locks nothing"
NODE = "benchmarks/node/contender.mjs"


@dataclass(frozen=True)
class Row:
    """
    A row of a table.

    Attributes:
        name: The subject of the row.
        library: The library.
        command: The program of the contender, without its mode.
        plain: The program whose mode `without` is subtracted, where it is another one.
        note: A remark for the reader.
        server: The server of a durable row, `"valkey"` or `"postgresql"`; `"file"` for a file.
        counts: Whether the handler counts, so that increments can be lost.
    """

    name: str
    library: str
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


def row(name: str, library: str, module: str, variant: str, **options: object) -> Row:
    """Return the row of a contender in Python."""
    command = tuple(peer(module, variant))
    plain = () if variant in ("workers", "inbox") else tuple(PLAIN[module])
    return Row(name, library, command, plain, **options)  # type: ignore[arg-type]


THREADED = "beside telebot's own threads"
ONE_BY_ONE = "handles one update at a time, of all users"

MEMORY: Sequence[Row] = (
    row("a counter", "telesession", "telesessions", "counter"),
    row("a handler that only reads", "telesession", "telesessions", "read", counts=False),
    row("a dataclass of five fields", "telesession", "telesessions", "typed"),
    row("a dataclass with a list of ten nested ones", "telesession", "telesessions", "nested"),
    row("seven fields, some nested", "telesession", "telesessions", "seven"),
    row("a counter beside a field with `ttl`", "telesession", "telesessions", "ttl"),
    row("a counter with a `lifetime`", "telesession", "telesessions", "lifetime"),
    row("two sessions", "telesession", "telesessions", "two"),
    row("sequential workers", "telesession", "telesessions", "workers", note=THREADED),
    row("workers with an inbox", "telesession", "telesessions", "inbox", note=THREADED),
    row("a global dict", "a dict", "dicts", "unlocked", note=UNLOCKED),
    row("a global dict behind a lock", "a dict", "dicts", "locked", note="one lock for all users"),
    row("`retrieve_data`", "telebot", "telebots", "retrieve_data", note=UNLOCKED),
    row("`StateContext`", "telebot", "telebots", "state_context", note=UNLOCKED),
    row("FSM", "aiogram", "aiograms", "shared", note=UNLOCKED),
    row("FSM with `SimpleEventIsolation`", "aiogram", "aiograms", "isolated"),
    row(
        *("`user_data`", "python-telegram-bot", "python_telegram_bots", "sequential"),
        note=ONE_BY_ONE,
    ),
    row(
        *("`user_data` with `concurrent_updates`", "python-telegram-bot"),
        *("python_telegram_bots", "concurrent"),
        note=UNLOCKED,
    ),
    *(
        Row(f"`{package}`", library, ("node", str(ROOT / NODE), argument))
        for package, library, argument in (
            ("@puregram/session", "puregram", "puregram"),
            ("session()", "grammY", "grammy"),
            ("session()", "telegraf", "telegraf"),
        )
    ),
)

DURABLE: Sequence[Row] = (
    row("SQLite", "telesession", "telesessions", "counter", server="file"),
    row("SQLite, with an inbox", "telesession", "telesessions", "inbox", server="file"),
    row("one transaction of `sqlite3`", "by hand", "floors", "sqlite", server="file"),
    row(
        *("`StatePickleStorage`", "telebot", "telebots", "retrieve_data"),
        note="locks nothing around the handler",
        server="file",
    ),
    row("Valkey", "telesession", "telesessions", "counter", server="valkey"),
    row("Valkey, with an inbox", "telesession", "telesessions", "inbox", server="valkey"),
    row("`GET` and `SET`", "by hand", "floors", "redis", note=UNLOCKED, server="valkey"),
    row("the same inside a `Lock`", "by hand", "floors", "redis_lock", server="valkey"),
    row(
        *("`StateRedisStorage`", "telebot", "telebots", "retrieve_data"),
        note=UNLOCKED,
        server="valkey",
    ),
    row("`RedisStorage`", "aiogram", "aiograms", "shared", note=UNLOCKED, server="valkey"),
    row(
        *("`RedisStorage` and `RedisEventIsolation`", "aiogram", "aiograms", "isolated"),
        server="valkey",
    ),
    row("PostgreSQL", "telesession", "telesessions", "counter", server="postgresql"),
    row(
        *("`SELECT ... FOR UPDATE` and `UPDATE`", "by hand", "floors", "postgres"),
        server="postgresql",
    ),
)
