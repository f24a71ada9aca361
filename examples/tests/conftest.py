"""The fixtures of the testing kit, for the tests beside this file."""

pytest_plugins = ["telesession.testing.fixtures"]
