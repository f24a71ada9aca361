"""Storages with records, and the environment that leads the command to them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from support.servers import patient_url
from telesession import JSONCodec, Storage
from telesession.cli.address import opened

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(params=["sqlite", "redis", "cluster", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of an empty storage of each kind."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/bot.db"
    elif request.param == "redis":
        # Only now, so that the server is started for those who need it.
        yield patient_url(request.getfixturevalue("server"))
    elif request.param == "postgres":
        yield request.getfixturevalue("postgres").url()
    else:
        cluster = request.getfixturevalue("cluster")
        yield f"redis://127.0.0.1:{cluster.nodes[0].port}?cluster=yes"


@pytest.fixture
def file_url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of an empty file, which the environment names."""
    url = f"sqlite:///{tmp_path}/bot.db"
    monkeypatch.setenv("TELESESSION_STORAGE", url)
    return url


@pytest.fixture
def storage(url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Storage]:
    """The storage of the URL, which the environment names."""
    monkeypatch.setenv("TELESESSION_STORAGE", url)
    with opened(url, JSONCodec(), may_create=True) as storage:
        # On PostgreSQL the first use makes the table.
        storage.get("42")
        yield storage


@pytest.fixture
def file_storage(file_url: str) -> Iterator[Storage]:
    """The storage of the file."""
    with opened(file_url, JSONCodec(), may_create=True) as storage:
        yield storage


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment has no setting of the command but those of the test."""
    for name in [name for name in os.environ if name.startswith("TELESESSION_")]:
        monkeypatch.delenv(name)
