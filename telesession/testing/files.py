"""The files that users send, as far as a bot can download them."""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING

from telesession.testing.call import RefusedError

if TYPE_CHECKING:
    from telesession.testing.call import JSON, Call

_FOLDER = "files/"


class Files:
    """
    The contents of files by their ids, as `getFile` and a download give them.

    A file has a made-up content until a test gives it another one. Not safe to share between
    threads by itself: its `BotAPI` calls it under a lock.
    """

    def __init__(self) -> None:
        self._contents: dict[str, bytes] = {}

    def put(self, file_id: str, content: bytes) -> None:
        """Let a file have a content."""
        self._contents[file_id] = content

    def get(self, call: Call) -> JSON:
        """See https://core.telegram.org/bots/api#getfile."""
        file_id = str(call.params.get("file_id") or "")
        if not file_id:
            raise RefusedError(400, "Bad Request: file_id not specified")
        return {
            "file_id": file_id,
            "file_unique_id": blake2b(file_id.encode(), digest_size=8).hexdigest(),
            "file_size": len(self._content(file_id)),
            "file_path": _FOLDER + file_id,
        }

    def download(self, path: str) -> bytes:
        """The content of a file by the `file_path` that `get` has given."""
        if not path.startswith(_FOLDER):
            raise RefusedError(404, "Not Found")
        return self._content(path.removeprefix(_FOLDER))

    def _content(self, file_id: str) -> bytes:
        return self._contents.get(file_id, f"the content of {file_id}".encode())
