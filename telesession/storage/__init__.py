"""Storages: they keep the bytes of sessions, and lock the keys."""
