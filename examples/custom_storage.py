"""
A to-do list that outlives the bot: a storage of your own, with one file for each session.

Try `milk`, `tea` and `/done 1`.

Stop the bot and start it again in the same directory: the list is still there.

    > milk
    1. milk
    > tea
    1. milk
    2. tea
    > /done 1
    1. tea
"""

# mypy: allow-untyped-decorators, allow-untyped-calls

import os
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from urllib.parse import quote, unquote

from telebot import TeleBot, logger
from telebot.types import Message

from telesession import Session, Sessions, Storage, StorageError, use_sequential_workers


class FileStorage(Storage):
    """
    Keeps each record in a file, whose modification time is the moment when it expires.

    A file is named by the hash of its key, because keys may be long and have any character. Its
    first line is the key. The storage is for one process, because its locks know of no other. The
    file of an expired record stays until its session begins anew. Records are JSON, as of every
    storage that names no other `codec`. With `PickleCodec`, a program that can write to the
    directory could run code in the bot.
    """

    def __init__(self, directory: str | Path) -> None:
        self._directory = Path(directory)
        self._directory.mkdir(parents=True, exist_ok=True)

    def get(self, key: str) -> bytes | None:
        with failing("read", key):
            try:
                with self._path(key).open("rb") as file:
                    file.readline()
                    return file.read() if is_live(file.fileno()) else None
            except FileNotFoundError:
                self._directory.stat()  # Without it, the record may have existed.
                return None

    def set(self, key: str, payload: bytes, lifetime: float | None = None) -> None:
        with failing("write", key):
            handle, draft = tempfile.mkstemp(dir=self._directory)
            try:
                with open(handle, "wb") as file:
                    file.write(quote(key, errors="surrogatepass").encode() + b"\n" + payload)
                    file.flush()
                    os.fsync(handle)
                set_lifetime(draft, lifetime)
                os.replace(draft, self._path(key))  # At once, or not at all.
            except BaseException:
                Path(draft).unlink(missing_ok=True)
                raise

    def delete(self, key: str) -> bool:
        with failing("delete", key), suppress(FileNotFoundError):
            live = is_live(self._path(key))
            self._path(key).unlink()
            return live
        return False

    def touch(self, key: str, lifetime: float | None) -> bool:
        with failing("renew", key), suppress(FileNotFoundError):
            if is_live(self._path(key)):
                set_lifetime(self._path(key), lifetime)
                return True
        return False

    def keys(self, prefix: str = "") -> Iterator[str]:
        with failing("list the keys", None):
            names = [name for name in os.listdir(self._directory) if name.endswith(".session")]
        for name in names:
            with failing("list the keys", None), suppress(FileNotFoundError):
                with (self._directory / name).open("rb") as file:
                    key = unquote(file.readline().decode().strip(), errors="surrogatepass")
                    live = is_live(file.fileno())
                if live and key.startswith(prefix):
                    yield key

    def _path(self, key: str) -> Path:
        digest = sha256(key.encode(errors="surrogatepass")).hexdigest()
        return self._directory / f"{digest}.session"


def set_lifetime(path: str | Path, lifetime: float | None) -> None:
    deadline = 0 if lifetime is None else time.time() + lifetime
    os.utime(path, (deadline, deadline))


def is_live(file: Path | int) -> bool:
    deadline = os.stat(file).st_mtime
    return deadline == 0 or time.time() < deadline


@contextmanager
def failing(action: str, key: str | None) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageError(action, key, error.strerror or "it is unknown why") from error


TOKEN = os.environ.get("BOT_TOKEN")
HELP = "write a thing to do, such as milk; /done 1 crosses it off"
bot = TeleBot(TOKEN or "123456:offline")


def apologise(message: Message, error: Exception) -> None:
    """Log the exception of a handler, and tell the user."""
    logger.error("a handler raised", exc_info=error)
    bot.send_message(message.chat.id, "sorry, that went wrong, and nothing was saved")


use_sequential_workers(bot, on_error=apologise)
sessions = Sessions(
    initial=lambda: {"tasks": []}, storage=FileStorage("sessions"), lifetime=30 * 24 * 3600
)


@bot.message_handler(commands=["start", "help"])
def explain(message: Message) -> None:
    bot.send_message(message.chat.id, HELP)


@bot.message_handler(commands=["done"])
@sessions.with_session
def cross_off(message: Message, session: Session) -> None:
    number = (message.text or "").partition(" ")[2]
    if number.isdecimal() and 0 < int(number) <= len(session.tasks):
        del session.tasks[int(number) - 1]
    show(message, session)


@bot.message_handler()
@sessions.with_session
def add(message: Message, session: Session) -> None:
    session.tasks.append(message.text)
    show(message, session)


def show(message: Message, session: Session) -> None:
    lines = [f"{number}. {task}" for number, task in enumerate(session.tasks, start=1)]
    bot.reply_to(message, "\n".join(lines) or "nothing to do")


if __name__ == "__main__":
    if TOKEN:
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        bot.infinity_polling()
    else:  # In the terminal, without a network.
        from telesession.testing import chat

        chat(bot, hint=HELP)
