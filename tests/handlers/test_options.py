"""Options that make no sense are refused at once, by a message that says what to pass instead."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from telesession import JSONCodec, MemoryStorage, PickleCodec, Sessions, SQLiteStorage, Storage


class FileStorage(MemoryStorage):
    """A storage of somebody's own, which names its codec in the class."""

    codec: Any = PickleCodec

    def __init__(self) -> None:
        super().__init__()
        del self.codec


@pytest.mark.parametrize("kind", ["memory", "sqlite", "class"])
def test_a_codec_must_be_an_instance(kind: str, tmp_path: Path) -> None:
    """A class instead of a codec would write nothing of a session, and lose it."""
    codec: Any = JSONCodec
    storage = {
        "memory": lambda: MemoryStorage(codec=codec),
        "sqlite": lambda: SQLiteStorage(tmp_path / "bot.db", codec=codec),
        "class": FileStorage,
    }[kind]()
    name = "PickleCodec" if kind == "class" else "JSONCodec"

    with storage, pytest.raises(TypeError, match=rf"is the class {name}; .* {name}\(\)"):
        Sessions(storage=storage)


@pytest.mark.parametrize(
    ("storage", "advice"),
    [
        (MemoryStorage, r"is the class MemoryStorage; pass an instance, MemoryStorage\(...\)"),
        ({}, r"of type dict does not; wrap a mapping as MemoryStorage\(store\)"),
        ("bot.db", r"of type str does not; for a file, write SQLiteStorage\(\"bot.db\"\)"),
        (5, "an object of type int does not$"),
    ],
    ids=["a class", "a mapping", "a path", "a number"],
)
def test_a_storage_must_be_an_instance_of_one(storage: Any, advice: str) -> None:
    """What is no storage is refused, with what was probably meant."""
    with pytest.raises(TypeError, match=advice):
        Sessions(storage=storage)


def test_a_storage_of_its_own_is_accepted() -> None:
    """The control: what is fine is not refused."""
    assert isinstance(Sessions(storage=MemoryStorage())._kind.storage, Storage)
