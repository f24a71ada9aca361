"""Fixtures for all tests: those that the library offers, and pytest's own for trying them out."""

from __future__ import annotations

import pytest

pytest.register_assert_rewrite("telesession.testing.storage_suite")

pytest_plugins = ["pytester", "telesession.testing.fixtures"]
