"""A contest: all contenders of a table take turns, and each row gets its figures."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import servers
from benchmarks.contender import Contender, ContenderError, Spread, count_increments
from benchmarks.peers.turns import UPDATES
from benchmarks.wire import Wire

if TYPE_CHECKING:
    from benchmarks.lineup import Row

Command = tuple[str, ...]

# How often each contender is started, because the same program is faster in one process than in the
# next.
GENERATIONS = 3
# Up to this number of rounds, each contender is started once.
FEW = 10


class Places:
    """
    The servers and the folder of a run, and a place of its own for each contender.

    Args:
        folder: The folder of the files.
        ports: Each running server and its port.
    """

    def __init__(self, folder: Path, ports: Mapping[str, int]) -> None:
        self._folder = folder
        self._ports = ports
        self._files = 0

    @classmethod
    @contextmanager
    def opened(cls, folder: Path) -> Iterator[Places]:
        """Run the servers that are installed, and say which are not."""
        with ExitStack() as exits:
            ports = {}
            for name, run in (("valkey", servers.valkey), ("postgresql", servers.postgres)):
                try:
                    ports[name] = exits.enter_context(run())
                except (ImportError, RuntimeError) as error:
                    report(f"no {name}: {error}")
            yield cls(folder, ports)

    def has(self, row: Row) -> bool:
        """Say whether the server of a row runs."""
        return row.server == "file" or row.server in self._ports

    def place(self, row: Row, port: int | None = None) -> str:
        """
        Return the path of a new file for a row, or the URL of its server.

        Args:
            row: The row.
            port: A port that leads to the server; by default the port of the server itself.
        """
        if row.server == "file":
            self._files += 1
            return str(self._folder / f"{self._files}.db")
        port = port or self._ports[row.server]
        if row.server == "postgresql":
            return f"postgresql://bot@127.0.0.1:{port}/bots"
        return f"redis://127.0.0.1:{port}/0"

    def empty(self, row: Row) -> None:
        """Remove all records of the server of a row, if it has one."""
        if row.server == "valkey":
            import redis

            with redis.Redis(port=self._ports["valkey"]) as client:
                client.flushall()
        elif row.server == "postgresql":
            import psycopg

            with psycopg.connect(self.place(row), autocommit=True) as connection:
                connection.execute("DROP SCHEMA public CASCADE")
                connection.execute("CREATE SCHEMA public")

    def wire(self, row: Row) -> Wire:
        """Return a proxy that counts the round trips to the server of a row."""
        return Wire(self._ports[row.server])


def report(text: str) -> None:
    """Tell the user about the progress of the run, beside its results."""
    print(text, file=sys.stderr, flush=True)


def measure_in_turns(commands: Sequence[Command], rounds: int) -> dict[Command, Spread]:
    """Measure contenders in several generations; one that fails is left out."""
    times: dict[Command, list[float]] = {}
    generations = GENERATIONS if rounds > FEW else 1
    for _ in range(generations):
        for command, measured in measure_generation(commands, rounds // generations).items():
            times.setdefault(command, []).extend(measured)
        # One that cannot run is started once.
        commands = list(times)
    return {command: Spread.of(measured) for command, measured in times.items()}


def measure_generation(commands: Sequence[Command], rounds: int) -> dict[Command, list[float]]:
    """Return the times of new processes, which handle a hundred updates each in turn."""
    with ExitStack() as exits:
        # They start beside each other.
        started = {command: exits.enter_context(Contender(list(command))) for command in commands}
        contenders = {}
        for command, contender in started.items():
            try:
                contender.measure()
            except ContenderError as error:
                report(f"left out: {' '.join(command[-4:])}: {error}")
            else:
                contenders[command] = contender
        turns = [
            {command: contender.measure() for command, contender in contenders.items()}
            for _ in range(rounds)
        ]
    return {command: [turn[command] for turn in turns] for command in contenders}


def measure_rows(
    rows: Sequence[Row], rounds: int, places: Places | None = None
) -> list[dict[str, Any]]:
    """Return the figures of a table, without those rows whose contender cannot run."""
    if places is not None:
        for missing in (row for row in rows if not places.has(row)):
            report(f"left out: {missing.origin}, {missing.name}: no {missing.server}")
        rows = [row for row in rows if places.has(row)]
    withs = {
        row: (*row.command, "with", *(("--storage", places.place(row)) if places else ()))
        for row in rows
    }
    # The contenders on a server share its records, and none reads those of another one.
    commands = dict.fromkeys(each for row in rows for each in (row.without, withs[row]))
    spreads = measure_in_turns(list(commands), rounds)
    figures = []
    for row in rows:
        if withs[row] not in spreads or row.without not in spreads:
            continue
        report(f"{row.origin}, {row.name}")
        own = spreads[withs[row]].median - spreads[row.without].median
        figures.append(
            {
                "name": row.name,
                "library": row.origin,
                "with_us": spreads[withs[row]]._asdict(),
                "without_us": spreads[row.without]._asdict(),
                "own_us": round(own, 2),
                **measure_increments(row, places),
                **({} if places is None else {"round_trips": count_round_trips(row, places)}),
                "note": row.note,
            }
        )
    return figures


def measure_increments(row: Row, places: Places | None) -> dict[str, int | None]:
    """Return the counter after concurrent increments; on a storage by two processes, too."""
    if not row.counts:
        return {"increments": None}
    found: dict[str, int | None] = {}
    runs = {"increments": 1} | ({"increments_of_two_processes": 2} if places else {})
    for key, processes in runs.items():
        if places is not None:
            places.empty(row)
        try:
            place = places.place(row) if places is not None else ""
            found[key] = count_increments([*row.command, "increments"], place, processes)
        except ContenderError as error:
            report(f"no {key}: {row.origin}, {row.name}: {error}")
            found[key] = None
    return found


def count_round_trips(row: Row, places: Places) -> float:
    """Return the round trips of an update, counted on the wire; 0 for a file."""
    if row.server == "file":
        return 0
    places.empty(row)
    with places.wire(row) as wire:
        command = [*row.command, "with", "--storage", places.place(row, wire.port)]
        with Contender(command) as contender:
            contender.measure()
            before = wire.round_trips
            contender.measure()
            return round((wire.round_trips - before) / UPDATES, 1)
