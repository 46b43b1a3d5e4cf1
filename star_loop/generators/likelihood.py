"""Cross-entropy and Brier score from the log-probabilities of the most probable tokens, as engines report them."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

Means = tuple[float, float, float]
"""Mean cross-entropy (nats), mean Brier score, and by how much the true Brier score may differ at most."""


def means(known: Sequence[Mapping[int, Any]], targets: Sequence[int], vocabulary: int) -> Means:
    """Means over the tokens of a text.

    The cross-entropy is exact. Of the Brier score 1 - 2 π_y + Σ_v π_v² only the squares of unknown tokens are missing:
    with a mass r on n of them, none more probable than the least of the known c, r²/n ≤ Σ π² ≤ r min(c, r). The middle
    is taken. With the whole vocabulary known it is exact.

    Args:
        known: for each token of the text, the `logprob` (nats) of itself and of the most probable tokens.
        targets: the tokens.
        vocabulary: how many there are.
    """
    sums = [0.0, 0.0, 0.0]
    for at, target in zip(known, targets, strict=True):
        own = at[target].logprob
        others = [math.exp(entry.logprob) for token, entry in at.items() if token != target]
        low, high = _unknown(math.exp(own), others, vocabulary)
        found = 1 - 2 * math.exp(own) + math.exp(2 * own) + sum(p * p for p in others)
        sums = [sums[0] - own, sums[1] + found + (low + high) / 2, sums[2] + (high - low) / 2]
    return sums[0] / len(targets), sums[1] / len(targets), sums[2] / len(targets)


def _unknown(own: float, others: Sequence[float], vocabulary: int) -> tuple[float, float]:
    """Bounds of Σ π² over the tokens that are neither `own` nor among `others`."""
    n = vocabulary - len(others) - 1
    rest = max(1 - own - sum(others), 0.0)
    if n <= 0:
        return 0.0, 0.0
    low = rest**2 / n
    return low, max(low, rest * min(rest, min(others, default=1.0)))
