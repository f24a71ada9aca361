"""Sessions for threaded pyTelegramBotAPI bots: locked, isolated, rolled back on error."""

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
