"""The order that pauses against a naive account of every question's visits."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.methods.orders import Spaced
from star_loop.seeding import rng
from tests.samplers.test_samplers import columns, outcome_of, visit


@given(st.integers(1, 20), st.lists(st.tuples(st.integers(1, 20), st.integers(0, 2**20)), max_size=12))
def test_pauses_double_and_end_with_what_is_solved(n: int, iterations: list[tuple[int, int]]) -> None:
    sampler = Spaced()
    state = sampler.init(columns(n), rng(0))
    due, won, last, misses = [1] * n, [0.0] * n, [0] * n, [0] * n
    for t, (want, luck) in enumerate(iterations, start=1):
        positions, during = visit(sampler, state, t, 4, want)
        keys = [(due[p] > t, won[p], last[p]) for p in positions.tolist()]
        left = [(due[p] > t, won[p], last[p]) for p in set(range(n)) - set(positions.tolist())]
        assert keys == sorted(keys) and all(keys[-1] <= key for key in left)
        wins = rng(luck, "wins").integers(0, 3, len(positions))
        for p, number in zip(positions.tolist(), wins.tolist(), strict=True):
            misses[p] = 0 if number else misses[p] + 1
            due[p], won[p], last[p] = t + (2 ** (misses[p] - 1) if misses[p] else 0), number / 2, t
        state = sampler.learn(during, outcome_of(t, positions, np.asarray(wins, np.int64)))
