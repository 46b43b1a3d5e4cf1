"""Knapsack RL's allocation against a dynamic programme over all budgets."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from star_loop.allocators.knapsack import Knapsack, filled
from star_loop.records import Proposal
from star_loop.seeding import rng


def value(n: int, p: float) -> float:
    """V(N, p): the chance that N draws are mixed, times what there is to learn."""
    return (1 - p**n - (1 - p) ** n) * p * (1 - p) ** 2


def best(p: list[float], total: int, least: int, most: int) -> float:
    """The greatest Σ V over whole numbers within bounds that sum to the total, by dynamic programming."""
    worth = {0: 0.0}
    for q in p:
        worth = {
            spent: max(worth[spent - n] + value(n, q) for n in range(least, most + 1) if spent - n in worth)
            for spent in {before + n for before in worth for n in range(least, most + 1)}
        }
    return worth[total]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=5), st.integers(1, 2), st.integers(2, 6), st.integers(0, 20))
def test_no_other_numbers_promise_more(p: list[float], least: int, most: int, spare: int) -> None:
    total = least * len(p) + min(spare, (most - least) * len(p))
    drawn = filled(np.array(p), total, least, most)
    assert drawn.sum() == total
    assert (drawn >= least).all()
    assert (drawn <= most).all()
    assert sum(map(value, drawn.tolist(), p)) == pytest.approx(best(p, total, least, most), abs=1e-12)


def test_a_bound_below_the_mean_is_refused() -> None:
    with pytest.raises(ValueError, match="most=3 draws of each are less than rollouts=8 on average"):
        Knapsack(rollouts=8, most=3)
    assert Knapsack(rollouts=8, most=8).most == 8


def test_the_seldom_solved_get_most_draws_and_the_certain_fewest() -> None:
    state = {"alpha": np.array([0.0, 1.0, 5.0, 9.9]), "beta": np.array([10.0, 9.0, 5.0, 0.1])}
    drawn = Knapsack(rollouts=8).allocate(Proposal(positions=np.arange(4)), state, rng(0))
    assert drawn.sum() == 32
    assert drawn[0] == drawn[3] == 2
    assert drawn[1] > drawn[2] > 2
