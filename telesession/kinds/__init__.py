"""Kinds of sessions: their options, and the translations between updates, records and sessions."""
