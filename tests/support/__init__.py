"""For the tests of all folders: clocks, threads, processes, servers, storages, bots and values."""

import sys

from support.loopback import stay_on_loopback

# Here, because the processes that tests start import some module of this package too.
stay_on_loopback()

# The processes that tests start have no use for pytest, and importing it takes them 0.2 s.
if "pytest" in sys.modules:
    import pytest

    # Before a module here imports it: only assertions of modules that come later are rewritten.
    pytest.register_assert_rewrite("telesession.testing.promises")
