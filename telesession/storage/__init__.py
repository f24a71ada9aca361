"""Storages: where the bytes of sessions are kept, and who may use them when."""
