"""The files that users and the bot send, as far as a bot can download them."""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from telesession.testing.server.call import File, RefusedError, bad_request

if TYPE_CHECKING:
    from collections.abc import Callable

    from telesession.testing.server.call import JSON, Call

_FOLDER = "files/"


class Files:
    """
    The contents of files by their ids, as `getFile` and a download give them.

    A file that the bot has uploaded has the content of the upload. Another one has a made-up
    content until a test gives it one. Not safe to share between threads by itself: its `BotAPI`
    calls it under a lock.
    """

    def __init__(self) -> None:
        self._contents: dict[str, bytes] = {}

    def methods(self) -> dict[str, Callable[[Call], Any]]:
        """The methods of the Bot API that are answered here, by their names."""
        return {"getFile": self._get}

    def put(self, file_id: str, content: bytes) -> None:
        """Let a file have a content."""
        self._contents[file_id] = content

    def store(self, source: File | str) -> JSON:
        """
        The fields of a file that a bot sends.

        Args:
            source: An upload, the id of a file that Telegram has, or the url of another one.
        """
        if isinstance(source, File):
            file_id = f"file-{uuid4().hex}"
            self.put(file_id, source.content)
        else:
            file_id = f"file-{_short(source)}" if "://" in source else source
        return self._describe(file_id)

    def download(self, path: str) -> bytes:
        """The content of a file by the `file_path` that `getFile` has given."""
        if not path.startswith(_FOLDER):
            raise RefusedError(404, "Not Found")
        return self.content(path.removeprefix(_FOLDER))

    def content(self, file_id: str) -> bytes:
        """The content of a file by its id."""
        return self._contents.get(file_id, f"the content of {file_id}".encode())

    def _get(self, call: Call) -> JSON:
        """See https://core.telegram.org/bots/api#getfile."""
        file_id = str(call.params.get("file_id") or "")
        if not file_id:
            raise bad_request("file_id not specified")
        return {**self._describe(file_id), "file_path": _FOLDER + file_id}

    def _describe(self, file_id: str) -> JSON:
        return {
            "file_id": file_id,
            "file_unique_id": _short(file_id),
            "file_size": len(self.content(file_id)),
        }


def _short(text: str) -> str:
    return blake2b(text.encode(), digest_size=8).hexdigest()
