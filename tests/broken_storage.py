"""A storage that fails once."""

from __future__ import annotations

from telesession import MemoryStorage, StorageError


class BrokenStorage(MemoryStorage):
    """A storage of which one method fails once, when it was told to."""

    method = ""

    def get(self, key: str) -> bytes | None:
        self._fail("get", key)
        return super().get(key)

    def set(self, key: str, payload: bytes, lifetime: float | None = None) -> None:
        self._fail("set", key)
        super().set(key, payload, lifetime)

    def delete(self, key: str) -> bool:
        self._fail("delete", key)
        return super().delete(key)

    def _fail(self, method: str, key: str) -> None:
        if method == self.method:
            self.method = ""
            raise StorageError(method, key, "the disk is full")
