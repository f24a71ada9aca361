"""
The contenders: one short program for each library, which counts in the way that its manual shows.

Each handler adds one to a counter of the sender. `python -m benchmarks.peers.NAME VARIANT MODE`
runs one by hand; see `benchmarks.peers.turns`.
"""
