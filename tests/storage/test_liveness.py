"""Which process has ended, as far as the system tells."""

from __future__ import annotations

from typing import TYPE_CHECKING

from support.sqlite_files import dead_process
from telesession.storage import liveness

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def parts_of_identity() -> tuple[int, int, int]:
    namespace, pid, start = map(int, liveness.identity().split("-"))
    return namespace, pid, start


def test_a_process_that_ended_is_known_to_have_ended() -> None:
    """The living are not taken for dead, nor the dead for living."""
    assert [False, True] == [liveness.has_ended(p) for p in (liveness.identity(), dead_process())]


def test_the_number_of_a_process_may_be_used_again() -> None:
    """Another process with the number of one that ended does not hold what that one held."""
    namespace, pid, start = parts_of_identity()
    assert liveness.has_ended(f"{namespace}-{pid}-{start - 1}")


def test_processes_of_another_container_are_not_judged() -> None:
    """The numbers of other containers mean nothing here."""
    namespace, _, start = parts_of_identity()
    assert not liveness.has_ended(f"{namespace + 1}-{2**22 + 1}-{start}")


def test_where_the_system_does_not_tell_nobody_is_dead(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Without /proc, or with one that hides what others run, only the certainly dead are dead."""
    namespace, pid, start = parts_of_identity()
    dead = dead_process()
    hiding = tmp_path / "hiding"
    (hiding / "self/ns").mkdir(parents=True)
    (hiding / "self/ns/pid").touch()
    namespace = (hiding / "self/ns/pid").stat().st_ino
    monkeypatch.setattr(liveness, "_PROC", hiding)
    hidden = liveness.has_ended(f"{namespace}-{pid}-{start}")
    gone = liveness.has_ended(f"{namespace}-{dead.split('-')[1]}-{start}")
    (hiding / f"{pid}").mkdir()
    (hiding / f"{pid}/stat").mkdir()
    unreadable = liveness.has_ended(f"{namespace}-{pid}-{start}")
    monkeypatch.setattr(liveness, "_PROC", tmp_path / "none")

    assert [False, True, False] == [hidden, gone, unreadable]
    assert (False, f"0-{pid}-0") == (liveness.has_ended(dead), liveness.identity())
