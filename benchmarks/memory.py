"""
How many bytes a stored session takes.

Run it with `python benchmarks/memory.py`. The keys and the dict around the records count, too.
"""

from __future__ import annotations

import gc
import tracemalloc

from telesession import MemoryStorage, Sessions

COUNTS = (1_000, 100_000, 1_000_000)


def measure(count: int) -> tuple[float, int]:
    """Bytes per session, and how many objects the garbage collector has to look at for them."""
    gc.collect()
    tracked = len(gc.get_objects())
    tracemalloc.start()
    sessions = Sessions(initial={"counter": 0}, storage=MemoryStorage())
    for user_id in range(count):
        with sessions.open(user_id):
            pass
    gc.collect()
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return size / count, len(gc.get_objects()) - tracked


if __name__ == "__main__":
    for count in COUNTS:
        size, objects = measure(count)
        print(f"{count:>9,} sessions: {size:4.0f} bytes each, {objects} more tracked objects")
