"""Typed sessions: fields that a dataclass declares, and their plain data."""
