"""
Tools for testing bots: a loopback Bot API, users who write to it, and bots that poll it.

Fixtures for pytest are in `telesession.testing.fixtures`.
"""

from __future__ import annotations

from telesession.testing.bot_api import BotAPI
from telesession.testing.faulty_storage import FaultyStorage
from telesession.testing.people.channels import Channel
from telesession.testing.people.chats import BusinessChat, Chat, DirectMessages, Group
from telesession.testing.people.outbox import Where
from telesession.testing.people.users import User
from telesession.testing.polling import Polling, RecordingExceptionHandler, run_polling
from telesession.testing.server.call import JSON, Call, File, RefusedError
from telesession.testing.sessions import forget_sessions
from telesession.testing.storage_faults import WaitingCalls
from telesession.testing.telegram.history import Messages, SentMessage
from telesession.testing.terminal.chat import OFFLINE_TOKEN, chat, run
from telesession.testing.threads import Log, began, in_threads

__all__ = [
    "JSON",
    "OFFLINE_TOKEN",
    "BotAPI",
    "BusinessChat",
    "Call",
    "Channel",
    "Chat",
    "DirectMessages",
    "FaultyStorage",
    "File",
    "Group",
    "Log",
    "Messages",
    "Polling",
    "RecordingExceptionHandler",
    "RefusedError",
    "SentMessage",
    "User",
    "WaitingCalls",
    "Where",
    "began",
    "chat",
    "forget_sessions",
    "in_threads",
    "run",
    "run_polling",
]
