"""Sessions for threaded pyTelegramBotAPI bots: locked, isolated, rolled back on error."""

import typing

from telesession.codecs import EncryptedCodec, JSONCodec, PickleCodec
from telesession.errors import (
    DecodeError,
    EncodeError,
    LockLostError,
    LockTimeoutError,
    NoSessionKeyError,
    SessionClosedError,
    SessionError,
    StorageError,
)
from telesession.keys import by_chat, by_sender, by_sender_in_chat, by_topic
from telesession.session import Session, as_dict, forget, save, session_key, ttl, ttl_left
from telesession.sessions import Sessions, with_session
from telesession.storage.base import Storage
from telesession.storage.memory import MemoryStorage
from telesession.storage.sqlite import SQLiteStorage

if typing.TYPE_CHECKING:
    from telesession.storage.redis import RedisStorage

__all__ = [
    "DecodeError",
    "EncodeError",
    "EncryptedCodec",
    "JSONCodec",
    "LockLostError",
    "LockTimeoutError",
    "MemoryStorage",
    "NoSessionKeyError",
    "PickleCodec",
    "RedisStorage",
    "SQLiteStorage",
    "Session",
    "SessionClosedError",
    "SessionError",
    "Sessions",
    "Storage",
    "StorageError",
    "as_dict",
    "by_chat",
    "by_sender",
    "by_sender_in_chat",
    "by_topic",
    "forget",
    "save",
    "session_key",
    "ttl",
    "ttl_left",
    "with_session",
]


def __getattr__(name: str) -> object:
    # Only who uses it needs the package redis, and waits for its import.
    if name == "RedisStorage":
        from telesession.storage.redis import RedisStorage

        return RedisStorage
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
