"""Sessions for threaded pyTelegramBotAPI bots: locked, isolated, rolled back on error."""

import importlib
import types
import typing

import telesession.bot  # noqa: F401 -- registers the workers that attach gives
from telesession.codecs import EncryptedCodec, JSONCodec, PickleCodec
from telesession.errors import (
    DeadlockError,
    DecodeError,
    EncodeError,
    LockLostError,
    LockTimeoutError,
    NoSessionKeyError,
    SessionClosedError,
    SessionError,
    StorageError,
)
from telesession.keys import (
    by_chat,
    by_sender,
    by_sender_in_chat,
    by_sender_in_topic,
    by_topic,
    make_key,
    parse_key,
)
from telesession.session import (
    Session,
    as_dict,
    session_key,
    set_lifetime,
    ttl_left,
)
from telesession.sessions import Sessions, with_session
from telesession.storage.base import Storage
from telesession.storage.memory import MemoryStorage
from telesession.storage.sqlite import SQLiteStorage
from telesession.ttl import ttl
from telesession.unit.control import forget, on_commit, save
from telesession.unit.events import UnitEvent

if typing.TYPE_CHECKING:
    from telesession.bot.arrivals import receive
    from telesession.bot.filters import session_filter
    from telesession.bot.importers import import_telebot_pickle, import_telebot_redis
    from telesession.bot.place import Place
    from telesession.bot.questions import ask, cancel, use_questions
    from telesession.bot.states import SessionStateStorage
    from telesession.bot.workers import use_sequential_workers
    from telesession.copies import copy_sessions
    from telesession.storage.postgres import PostgresStorage
    from telesession.storage.redis import RedisStorage

__all__ = [
    "DeadlockError",
    "DecodeError",
    "EncodeError",
    "EncryptedCodec",
    "JSONCodec",
    "LockLostError",
    "LockTimeoutError",
    "MemoryStorage",
    "NoSessionKeyError",
    "PickleCodec",
    "Place",
    "PostgresStorage",
    "RedisStorage",
    "SQLiteStorage",
    "Session",
    "SessionClosedError",
    "SessionError",
    "SessionStateStorage",
    "Sessions",
    "Storage",
    "StorageError",
    "UnitEvent",
    "as_dict",
    "ask",
    "by_chat",
    "by_sender",
    "by_sender_in_chat",
    "by_sender_in_topic",
    "by_topic",
    "cancel",
    "copy_sessions",
    "forget",
    "import_telebot_pickle",
    "import_telebot_redis",
    "make_key",
    "on_commit",
    "parse_key",
    "receive",
    "save",
    "session_filter",
    "session_key",
    "set_lifetime",
    "ttl",
    "ttl_left",
    "use_questions",
    "use_sequential_workers",
    "with_session",
]

# Imported at the first use, because telebot, redis and psycopg take time to import.
_IMPORTED_WHEN_USED = types.MappingProxyType(
    {
        "Place": "telesession.bot.place",
        "PostgresStorage": "telesession.storage.postgres",
        "RedisStorage": "telesession.storage.redis",
        "SessionStateStorage": "telesession.bot.states",
        "ask": "telesession.bot.questions",
        "cancel": "telesession.bot.questions",
        "copy_sessions": "telesession.copies",
        "import_telebot_pickle": "telesession.bot.importers",
        "import_telebot_redis": "telesession.bot.importers",
        "receive": "telesession.bot.arrivals",
        "session_filter": "telesession.bot.filters",
        "use_questions": "telesession.bot.questions",
        "use_sequential_workers": "telesession.bot.workers",
    }
)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def __getattr__(name: str) -> object:
    if name in _IMPORTED_WHEN_USED:
        return getattr(importlib.import_module(_IMPORTED_WHEN_USED[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
