"""Principal components and k-means, exact and in numpy. Matrices are (observations, dimensions), float64."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Labels = NDArray[np.int32]

ROWS = 2**16
"""Observations whose distances to all centres are held at once."""


def principal_components(x: Floats, d: int) -> Floats:
    """Return the d directions of greatest variance, the greatest first; fewer where x has fewer dimensions."""
    centred = x - x.mean(axis=0)
    _, directions = np.linalg.eigh(centred.T @ centred)
    projected: Floats = centred @ directions[:, ::-1][:, :d]
    return projected


def standardised(x: Floats) -> Floats:
    """Mean 0 and variance 1 in every dimension; a dimension that does not vary is 0."""
    deviation = x.std(axis=0)
    scaled: Floats = (x - x.mean(axis=0)) / np.where(deviation > 0, deviation, 1)
    return scaled


def kmeans(x: Floats, k: int, rng: np.random.Generator, restarts: int = 4) -> tuple[Labels, Floats]:
    """Find labels (n,) and centres (k, dimensions): the best of several runs of Lloyd's algorithm from k-means++
    centres (Lloyd 1982; Arthur and Vassilvitskii 2007). With fewer distinct points than k, some clusters are empty.
    """
    runs = [_lloyd(x, _plus_plus(x, k, rng)) for _ in range(restarts)]
    _, labels, centres = min(runs, key=lambda run: run[0])
    return labels, centres


def nearest(x: Floats, centres: Floats) -> tuple[Labels, Floats]:
    """Return the nearest centre of each point, the first among equals, and the squared distance to it."""
    labels, distances = np.zeros(len(x), np.int32), np.zeros(len(x))
    lengths = (centres**2).sum(axis=1)
    for start in range(0, len(x), ROWS):
        part = x[start : start + ROWS]
        squares = (part**2).sum(axis=1)[:, None] - 2 * part @ centres.T + lengths
        labels[start : start + ROWS] = squares.argmin(axis=1)
        distances[start : start + ROWS] = np.maximum(squares.min(axis=1), 0)
    return labels, distances


def farthest_points(x: Floats, start: int, m: int) -> list[int]:
    """Return a core-set of m points: `start`, then always the one farthest from all that are chosen (Gonzalez 1985)."""
    chosen, distances = [start], ((x - x[start]) ** 2).sum(axis=1)
    while len(chosen) < min(m, len(x)):
        distances[chosen[-1]] = -1  # never twice, even among equals
        chosen.append(int(distances.argmax()))
        distances = np.where(distances < 0, -1, np.minimum(distances, ((x - x[chosen[-1]]) ** 2).sum(axis=1)))
    return chosen


def _plus_plus(x: Floats, k: int, rng: np.random.Generator) -> Floats:
    """Centres drawn among the points, each in proportion to its squared distance from those drawn before."""
    drawn = [int(rng.integers(len(x)))]
    distances = ((x - x[drawn[0]]) ** 2).sum(axis=1)
    while len(drawn) < k:
        total = distances.sum()
        drawn.append(int(rng.choice(len(x), p=distances / total if total > 0 else None)))
        distances = np.minimum(distances, ((x - x[drawn[-1]]) ** 2).sum(axis=1))
    return x[drawn].copy()


def _lloyd(x: Floats, centres: Floats) -> tuple[float, Labels, Floats]:
    """(sum of squared distances, labels, centres) at the fixed point."""
    labels, distances = nearest(x, centres)
    while True:
        sums = np.stack([np.bincount(labels, weights=column, minlength=len(centres)) for column in x.T], axis=1)
        counts = np.bincount(labels, minlength=len(centres))[:, None]
        moved = np.where(counts > 0, sums / np.maximum(counts, 1), centres)
        found, nearer = nearest(x, moved)
        if (found == labels).all() or nearer.sum() >= distances.sum():  # rounding must not let it swing for ever
            return float(nearer.sum()), found, moved
        labels, distances, centres = found, nearer, moved
