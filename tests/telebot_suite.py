"""
Runs telebot's own tests against the loopback Bot API.

    python tests/telebot_suite.py FOLDER

The folder has the source distribution of telebot 4.37.1, whose tests use the installed telebot.
The run fails unless all tests pass but those that are listed here, and if their number differs.
"""

from __future__ import annotations

import os
import sys
from contextlib import chdir
from pathlib import Path

import pytest

from support.loopback import take_refused
from telesession.testing import OFFLINE_TOKEN, BotAPI

COLLECTED = 363
_NO_REDIS = "telebot skips it: it needs a Redis server that telebot starts by hand"
# id of a test -> the reason why it does not pass
NOT_PASSED = {
    f"tests/test_handler_backends.py::test_redis_handler_backend_{name}": _NO_REDIS
    for name in ("register_next_step_handler", "clear_next_step_handler")
}
# A private chat and a supergroup, as the tests ask for.
ENVIRONMENT = {"TOKEN": OFFLINE_TOKEN, "CHAT_ID": "1", "GROUP_ID": "-1001"}


class Outcomes:
    """
    A plugin of pytest that finds the tests without success.

    Attributes:
        collected: The number of the tests.
        not_passed: id of a test or of a file -> "failed" or "skipped".
    """

    def __init__(self) -> None:
        self.collected = 0
        self.not_passed: dict[str, str] = {}

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Count the tests; called by pytest."""
        self.collected = len(session.items)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Note a file that cannot be read; called by pytest."""
        if not report.passed:
            self.not_passed[report.nodeid] = report.outcome

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note a test that failed or was skipped; called by pytest."""
        if not report.passed:
            self.not_passed[report.nodeid] = report.outcome


def run_suite(folder: Path) -> Outcomes:
    """Run the tests of a source distribution."""
    outcomes = Outcomes()
    options = ["-q", "--tb=short", "-c", os.devnull, f"--rootdir={folder}"]
    plugins = ["-p", "no:cacheprovider", "-p", "no:xdist"]
    os.environ.update(ENVIRONMENT)
    # The tests open files by paths that start in their folder.
    with BotAPI() as api, chdir(folder / "tests"):
        # The tests count more than one member of their group.
        api.group(int(ENVIRONMENT["GROUP_ID"]), owner=api.user(int(ENVIRONMENT["CHAT_ID"])))
        pytest.main([*options, *plugins, "."], [outcomes])
    return outcomes


def differences(outcomes: Outcomes) -> list[str]:
    """The differences of a run from the expected one, a line for each."""
    found = outcomes.not_passed
    lines = [f"{found[test]}, but not listed: {test}" for test in found.keys() - NOT_PASSED.keys()]
    lines += [f"listed, but passed: {test}" for test in NOT_PASSED.keys() - found.keys()]
    lines += [f"refused: {refused}" for refused in take_refused()]
    if outcomes.collected != COLLECTED:
        lines.append(f"expected {COLLECTED} tests, found {outcomes.collected}")
    return sorted(lines)


def verdict(lines: list[str]) -> str | None:
    """The argument for `sys.exit`: the differences, or `None`, for an empty text is a failure."""
    return "\n".join(lines) or None


if __name__ == "__main__":
    sys.exit(verdict(differences(run_suite(Path(sys.argv[1]).resolve()))))
