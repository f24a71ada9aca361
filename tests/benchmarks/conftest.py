"""The folder `benchmarks` can be imported: it is in the root of a clone, and in no wheel."""

from __future__ import annotations

import sys

from support.pages import ROOT

# The last one, so that the tested telesession stays the installed one.
sys.path.append(str(ROOT))
