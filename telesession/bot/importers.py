"""Importers: they copy the records of telebot's state storages into those of this library."""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from telesession.bot.plain_pickle import NotPlainError, load_plain
from telesession.bot.state_records import place_key
from telesession.bot.states import SessionStateStorage
from telesession.errors import SessionError

if TYPE_CHECKING:
    from telesession.storage.base import Storage


class _Client(Protocol):
    """The methods of the clients of redis-py and valkey-py that are used here."""

    def scan_iter(self, *, match: str, count: int) -> Any: ...

    def get(self, name: Any, /) -> Any: ...

    def hgetall(self, name: Any, /) -> Any: ...


# How many keys the server looks at before it answers a step of an iteration.
_PAGE = 500
# The remedy for a record that telebot's storages do not write.
_NOT_TELEBOTS = "repair it or take it away, and import again"


def import_telebot_pickle(
    path: str | os.PathLike[str],
    storage: Storage | SessionStateStorage,
    *,
    bot_id: int | None = None,
    prefix: str = "telebot",
    separator: str = ":",
) -> int:
    """
    Import the states and data in a file of telebot's `StatePickleStorage`.

    The file is only read, and nothing in it can run code: plain data, dates and similar values are
    loaded, and anything else is an error. A record that the storage already has is not changed, so
    an import may be repeated. Only records that the bot has deleted in between come back: put the
    file away once the bot runs on the new storage. The whole file is read and checked before the
    first record is stored.

    Both formats are read, and a file may have records of both. The format of today has a key for
    each record. That of telebot up to 4.22.0, `{chat: {user: record}}`, has all users of each chat.

    Args:
        path: The `file_path` of `StatePickleStorage`, by its default `.state-save/states.pkl`.
        storage: The storage that `SessionStateStorage(storage)` reads later; or a
            `SessionStateStorage` itself, if it has options of its own.
        bot_id: The number before the colon of the bot's token, needed for records of the older
            format only. They do not name their bot, and `TeleBot` asks with its id.
        prefix: The `prefix` that `StatePickleStorage` had.
        separator: The `separator` that it had.

    Returns:
        How many records were imported.

    Raises:
        EncodeError: The storage's codec cannot bring a value back; the error names the key. The
            records before it in the file are imported.
        SessionError: The file does not exist, is damaged, or is not a file of `StatePickleStorage`;
            nothing was imported.
        ValueError: There are records of the older format and no `bot_id`; nothing was imported.
    """
    source = f"states from {os.fspath(path)!r}"
    keys = _Keys(prefix, separator)
    content = _load(path, source)
    current = [(key, value) for key, value in content.items() if type(key) is str]
    older = [(key, value) for key, value in content.items() if type(key) is not str]
    # The newer format first: where there is a record in both, that one counts.
    records = [_record(keys.parse(key, source), value, source) for key, value in current]
    if older:
        _check_bot_id(bot_id, source)
    for chat_id, users in older:
        records += _make_older_records(chat_id, users, bot_id, source)
    return _store(records, storage)


def import_telebot_redis(
    client: _Client,
    storage: Storage | SessionStateStorage,
    *,
    bot_id: int | None = None,
    prefix: str = "telebot",
    separator: str = ":",
    older_prefix: str = "telebot_",
) -> int:
    """
    Import the states and data that telebot's `StateRedisStorage` keeps on a server.

    The server is only read, by `SCAN`, `HGETALL` and `GET`. A record that the storage already has
    is not changed, so an import may be repeated, also after a failure. Only records that the bot
    has deleted in between come back. Keys in another form than telebot's are skipped.

    Both formats are read. The format of today has a hash for each record. That of telebot up to
    4.22.0 has a JSON text for each chat, with all its users. telebot's own
    `StateRedisStorage.migrate_format` (4.37.1) takes the first user of each chat and deletes the
    others.

    Args:
        client: A blocking client of redis-py, with or without `decode_responses`; of a cluster,
            too. The caller closes it.
        storage: See `import_telebot_pickle`.
        bot_id: See `import_telebot_pickle`.
        prefix: The `prefix` that `StateRedisStorage` had.
        separator: The `separator` that it had.
        older_prefix: The `prefix` that it had with telebot up to 4.22.0.

    Returns:
        How many records were imported.

    Raises:
        EncodeError: The storage's codec cannot bring a value back; the error names the key.
        SessionError: The server failed, or has another value under a name of telebot's. The records
            before it are imported.
        ValueError: There are records of the older format and no `bot_id`; nothing was imported.
    """
    keys = _Keys(prefix, separator)
    server = _Server(client)
    older = [
        (name, int(chat_id))
        for name, text in server.names(older_prefix)
        if re.fullmatch(r"-?[0-9]+", chat_id := text.removeprefix(older_prefix))
    ]
    if older:
        _check_bot_id(bot_id, server.source)
    # The newer format first: where there is a record in both, that one counts.
    imported = _store(server.current_records(keys), storage)
    return imported + _store(server.older_records(older, bot_id), storage)


class _Place(NamedTuple):
    """The owner of a record; the parts as telebot writes them."""

    chat_id: str
    user_id: str
    business_connection_id: str | None
    message_thread_id: str | None
    bot_id: str | None


class _Record(NamedTuple):
    """A state and its data between the two storages."""

    place: _Place
    state: Any
    data: dict[Any, Any]


class _Keys:
    """
    The keys of telebot's storages since 4.22.1, taken apart.

    `StateStorageBase._get_key` (telebot 4.37.1) joins the prefix, the optional parts that exist,
    the chat and the user. The first number is the bot, because `TeleBot` leaves it out with a
    malformed token only. A number before the chat is the topic. The other optional part is the
    business connection, which is never a number.
    """

    def __init__(self, prefix: str, separator: str) -> None:
        if not separator:
            raise ValueError("separator must not be empty: it tells the parts of a key apart")
        self.beginning = prefix + separator
        end, number = re.escape(separator), "-?[0-9]+|None"
        # Each optional part except the bot is absent if the other parts fit without it.
        self._pattern = re.compile(
            f"(?:(?P<bot>[0-9]+){end})?(?:(?P<business>.+?){end})??(?:(?P<thread>[0-9]+){end})?"
            f"(?P<chat>{number}){end}(?P<user>{number})",
            re.DOTALL,
        )

    def find(self, key: str) -> _Place | None:
        """The owner that a key names; `None` if telebot has not made it with these settings."""
        found = self._pattern.fullmatch(key.removeprefix(self.beginning))
        if found is None or not key.startswith(self.beginning):
            return None
        return _Place(*found.group("chat", "user", "business", "thread", "bot"))

    def parse(self, key: str, source: str) -> _Place:
        """The owner that a key names, in a file that has no other keys."""
        place = self.find(key)
        if place is None:
            raise _failure(
                source,
                f"it has a key {key!r}, which does not begin with {self.beginning!r} and end with "
                "a chat and a user; pass the prefix and the separator that the storage had",
            )
        return place


class _Server:
    """A server with telebot's records, read through a client of the caller's."""

    source = "states from Redis"

    def __init__(self, client: _Client) -> None:
        self._client = client

    def names(self, prefix: str) -> Iterator[tuple[Any, str]]:
        """The names that start with a prefix, as the client gives them and as text."""
        pattern = re.sub(r"([*?\[\]\\])", r"\\\1", prefix) + "*"
        try:
            for name in self._client.scan_iter(match=pattern, count=_PAGE):
                yield name, _text(name)
        except Exception as error:
            raise self._failure("the list of its keys", error) from error

    def current_records(self, keys: _Keys) -> Iterator[_Record]:
        """The records in the format of today."""
        for name, text in self.names(keys.beginning):
            place = keys.find(text)
            if place is None:
                continue
            hash_ = {_text(field): value for field, value in self._read("hgetall", name).items()}
            # Deleted in this moment, or the hash of another program.
            if "state" not in hash_ and "data" not in hash_:
                continue
            # telebot 4.37.1 keeps data without a state after a reset of a missing record.
            state = _text(hash_.get("state", "")) or None
            data = _parse_json(hash_.get("data", "{}"), self.source, text)
            yield _record(place, {"state": state, "data": data}, self.source)

    def older_records(self, names: list[tuple[Any, int]], bot_id: int | None) -> Iterator[_Record]:
        """The records in the older format, of chats by their names on the server."""
        for name, chat_id in names:
            content = self._read("get", name)
            if content is None:
                continue
            users = _parse_json(content, self.source, _text(name))
            yield from _make_older_records(chat_id, users, bot_id, self.source)

    def _read(self, method: str, name: Any) -> Any:
        try:
            return getattr(self._client, method)(name)
        except Exception as error:
            raise self._failure(repr(_text(name)), error) from error

    def _failure(self, what: str, error: Exception) -> SessionError:
        reason = f"reading {what} raised {type(error).__name__}; fix that, and import again"
        return _failure(self.source, reason)


def _make_older_records(
    chat_id: Any, users: Any, bot_id: int | None, source: str
) -> Iterator[_Record]:
    """The records of one chat as telebot kept them up to 4.22.0: one value for all its users."""
    if type(chat_id) is not int or not isinstance(users, dict):
        raise _failure(source, f"its record {chat_id!r} is no chat with its users; {_NOT_TELEBOTS}")
    for user_id, value in users.items():
        place = _Place(str(chat_id), str(user_id), None, None, str(bot_id))
        yield _record(place, value, source)


def _record(place: _Place, value: Any, source: str) -> _Record:
    """The record of a value that telebot keeps."""
    if not isinstance(value, dict) or type(value.get("data")) is not dict or "state" not in value:
        raise _failure(
            source,
            f"of chat {place.chat_id}, user {place.user_id} it has no state with its data; "
            f"{_NOT_TELEBOTS}",
        )
    return _Record(place, value["state"], value["data"])


def _load(path: str | os.PathLike[str], source: str) -> dict[Any, Any]:
    """The content of a file, of which nothing is run."""
    content, damage = None, ""
    try:
        with open(path, "rb") as file:
            content = load_plain(file)
    except OSError as error:
        raise _failure(
            source,
            f"reading the file raised {type(error).__name__}; pass the file_path that "
            "StatePickleStorage had, by its default .state-save/states.pkl",
        ) from error
    except NotPlainError as error:
        raise _failure(
            source,
            f"the file asks for {error.name}, which is no plain data, and nothing of it was run; "
            "if the file is that of your bot, replace the value by plain data with the storage "
            "that wrote it, and import again",
        ) from None
    except Exception as error:  # noqa: BLE001 -- pickle may raise anything, with quotes
        damage = type(error).__name__
    if damage:
        raise _failure(
            source,
            f"the file is damaged or no pickle: reading it raised {damage}; "
            "pass one that StatePickleStorage has written, and that no bot is writing now",
        )
    if not isinstance(content, dict):
        raise _failure(
            source,
            f"the file holds a {type(content).__name__}, and no states; pass one that "
            "StatePickleStorage has written",
        )
    return content


def _store(records: Iterable[_Record], storage: Storage | SessionStateStorage) -> int:
    """Store the records that are not stored yet, and return their number."""
    states = storage if isinstance(storage, SessionStateStorage) else SessionStateStorage(storage)
    return sum(states.records.add(place_key(*place), state, data) for place, state, data in records)


def _check_bot_id(bot_id: int | None, source: str) -> None:
    if bot_id is None:
        raise ValueError(
            f"could not import {source}: it has records of telebot before 4.22.1, which do not "
            "name their bot; pass bot_id=, the number before the colon of the bot's token"
        )


def _text(value: Any) -> str:
    """A value of a server as text, whether the client decodes it or not."""
    return value.decode(errors="surrogateescape") if isinstance(value, bytes) else str(value)


def _parse_json(text: Any, source: str, key: str) -> Any:
    with contextlib.suppress(RecursionError, TypeError, ValueError):
        return json.loads(text)
    # No other exception is the context of this one, because it would have the stored value.
    raise _failure(source, f"its record {key!r} is no JSON text; {_NOT_TELEBOTS}")


def _failure(source: str, reason: str) -> SessionError:
    return SessionError(f"could not import {source}: {reason}")
