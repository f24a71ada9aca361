"""The fixtures of all tests of SQLite."""

from __future__ import annotations

from support import sqlite_files

admin = sqlite_files.admin
other = sqlite_files.other
path = sqlite_files.path
storage = sqlite_files.storage
