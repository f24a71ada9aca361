"""The command `telesession`, as `python -m telesession`."""

from __future__ import annotations

import sys

from telesession.cli import main

if __name__ == "__main__":
    sys.exit(main())
