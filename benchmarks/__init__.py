"""Measurements of telesession and its peers: `python -m benchmarks`, with the extra `bench`."""
