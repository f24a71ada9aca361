"""Fixtures for all tests: those that the library offers, and pytest's own for trying them out."""

from __future__ import annotations

pytest_plugins = ["pytester", "telesession.testing.fixtures"]
