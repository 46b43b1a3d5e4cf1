"""An ascending order that is sorted only as far as it is read: a pass over ten million usually stops early."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from star_loop.records import Positions, State

HEAD = 2**16
"""How many are sorted at first; four times as many whenever that was not enough."""
BLOCK = 2**20
"""Items that are looked at together: their keys fit a processor's cache."""


def ascending(keys: NDArray[np.float64]) -> dict[str, NDArray[np.generic]]:
    """Return in-iteration entries for `following`: items 0 … n-1 in ascending order of their keys; NaN is no key."""
    return {"keys": keys, **unread()}


def unread() -> dict[str, NDArray[np.generic]]:
    """Return in-iteration entries for `following`, where the state has the keys already."""
    return {"sorted": np.zeros(0, np.int64), "cursor": np.zeros(1, np.int64)}


def following(state: State, count: int, by: Sequence[str] = ("keys",)) -> tuple[Positions, State]:
    """Return the next `count` items, and the state with the cursor moved past them.

    `by` names the entries of the state that are the keys, the most important first; equals keep their own order.
    """
    start, total = int(state["cursor"][0]), len(state[by[0]])
    end = min(start + count, total)
    order = np.asarray(state["sorted"], np.int64)
    if len(order) < end:
        order = smallest([state[name] for name in by], enough(end))
    return order[start:end], {**state, "sorted": order, "cursor": np.array([end], np.int64)}


def enough(count: int) -> int:
    """Return how many to sort so that the first `count` can be read."""
    size = HEAD
    while size < count:
        size *= 4
    return size


def smallest(keys: Sequence[NDArray[Any]], count: int) -> Positions:
    """Return at least the first `count` of the stable ascending order by these keys, the most important first."""
    blocks = range(0, len(keys[0]), BLOCK)
    found = [start + _candidates([key[start : start + BLOCK] for key in keys], count) for start in blocks]
    order: Positions = np.concatenate([np.zeros(0, np.int64), *found])
    order = order[_candidates([key[order] for key in keys], count)]
    order = order[np.lexsort([key[order] for key in reversed(keys)])]
    return order


def _candidates(keys: Sequence[NDArray[Any]], count: int) -> Positions:
    """Return the items of a prefix of that order, at least `count` long, by their own order."""
    found: list[Positions] = []
    rest: Positions | None = None  # equal in all keys looked at; None: all
    for key in keys:
        values = key if rest is None else key[rest]
        if count >= len(values):
            break
        limit = np.partition(values, count - 1)[count - 1]
        below, equal = np.flatnonzero(values < limit), np.flatnonzero(values == limit)
        found.append(below if rest is None else rest[below])
        rest = equal if rest is None else rest[equal]
        count -= len(below)
    found.append(np.arange(len(keys[0])) if rest is None else rest)
    return np.sort(np.concatenate(found))
