"""MoPPS against its released code, written out one observation at a time."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from star_loop.samplers.mopps import Mopps
from star_loop.seeding import rng
from tests.samplers.test_samplers import columns, outcome_of

histories = st.lists(
    st.lists(st.none() | st.tuples(st.integers(0, 8), st.integers(0, 8)), min_size=5, max_size=5), max_size=5
)


@given(histories, st.floats(0, 1), st.floats(0.05, 0.95), st.sampled_from(["nearest", "between"]))
def test_posteriors_and_order_are_the_released_ones(history: list, keep: float, target: float, rule: str) -> None:
    """None stands for an observation that was not asked, whose counts stay; visits are asked in any order."""
    sampler = Mopps(keep=keep, target=target, rule=rule)
    state, counts = sampler.init(columns(5), rng(0)), [[1.0, 1.0] for _ in range(5)]
    for t, results in enumerate(history):
        visited = [i for i in (4, 2, 0, 1, 3) if results[i] is not None]
        wins, losses = (np.array([results[i][side] for i in visited], np.int64) for side in (0, 1))
        outcome = replace(outcome_of(t, np.array(visited, np.int64), wins), attempts=wins + losses)
        state = sampler.learn(state, outcome)
        for i in visited:
            counts[i] = [keep * old + (1 - keep) + new for old, new in zip(counts[i], results[i], strict=True)]
    assert np.allclose(np.stack([state["alpha"], state["beta"]], axis=1), counts, rtol=1e-5)
    draws = rng(7, "order")
    p = draws.beta(state["alpha"].astype(float), state["beta"].astype(float))
    order = sampler.propose(state, 5, rng(7, "order"))[0].positions.tolist()
    if rule == "nearest":
        assert order == np.argsort((p - target) ** 2, kind="stable").tolist()
        return
    inside = {i for i in range(5) if 0.3 <= p[i] <= 0.7}
    assert set(order[: len(inside)]) == inside
    outside = [max(0.3 - p[i], p[i] - 0.7) for i in order[len(inside) :]]
    assert outside == sorted(outside)


def test_what_lies_between_is_asked_in_random_order() -> None:
    state = {"alpha": np.full(50, 500.0), "beta": np.full(50, 500.0)}
    sampler = Mopps(rule="between")
    orders = [sampler.propose(state, 50, rng(seed))[0].positions.tolist() for seed in (1, 1, 2)]
    assert orders[0] == orders[1] != orders[2]


def test_figures_compare_what_was_believed_with_what_was_seen() -> None:
    state = {"alpha": np.array([1.0, 3.0, 1.0]), "beta": np.array([1.0, 1.0, 1.0])}
    figures = Mopps().metrics(state, outcome_of(1, np.array([1, 0]), np.array([2, 1]), attempts=4))
    assert figures == {"believed": pytest.approx(0.625), "success": 3 / 8}
