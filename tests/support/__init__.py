"""For the tests of all folders: clocks, threads, processes, servers, storages, bots and values."""

import pytest

# Before a module here imports it: only assertions of modules that come later can be rewritten.
pytest.register_assert_rewrite("telesession.testing.storage_suite")
