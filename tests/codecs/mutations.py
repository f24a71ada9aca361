"""Payloads as disks, networks and people damage them."""

from __future__ import annotations

import random


def mutated(
    payload: bytes, others: list[bytes], rng: random.Random, alphabet: bytes = bytes(range(256))
) -> bytes:
    """
    The payload after one to four accidents.

    Args:
        payload: What happens to be damaged.
        others: Where pieces may come from.
        rng: What decides.
        alphabet: Of what bytes insertions are made.
    """
    damaged = bytearray(payload)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        at = rng.randrange(len(damaged) + 1)
        accident = rng.randrange(7)
        if accident == 0:
            damaged[at : at + 1] = rng.randbytes(1)
        elif accident == 1 and at < len(damaged):
            damaged[at] ^= 1 << rng.randrange(8)
        elif accident == 2:
            del damaged[at:]
        elif accident == 3:
            del damaged[at : at + rng.randrange(1, 6)]
        elif accident == 4:
            damaged[at:at] = bytes(rng.choices(alphabet, k=rng.randrange(1, 6)))
        elif accident == 5:
            damaged[at:at] = damaged[at : at + rng.randrange(1, 12)]
        else:
            other = rng.choice(others)
            start = rng.randrange(len(other))
            damaged[at : at + 8] = other[start : start + 8]
    return bytes(damaged)
