"""The only source of randomness: a fresh generator for every purpose, derived and never stored.

Because no generator outlives its purpose, a resumed run draws what an uninterrupted one would have drawn.
"""

import hashlib
import json

import numpy as np

Purpose = str | int


def seed_for(seed: int, *purpose: Purpose, bits: int = 63) -> int:
    """Return a number in [0, 2**bits) that depends on the run's seed and the purpose, and on nothing else.

    Example:
        >>> seed_for(0, "wave", 1, 0) == seed_for(0, "wave", 1, 0)
        True
        >>> seed_for(0, "wave", 1, 0) == seed_for(0, "wave", 10)
        False
    """
    digest = hashlib.sha256(json.dumps([seed, *purpose]).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> (64 - bits)


def rng(seed: int, *purpose: Purpose) -> np.random.Generator:
    """Return a numpy generator (PCG64) for one purpose, e.g. `rng(seed, "sampler", iteration)`."""
    return np.random.Generator(np.random.PCG64(seed_for(seed, *purpose)))
