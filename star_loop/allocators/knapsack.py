"""Knapsack RL: the numbers of rollouts that promise most mixed outcomes (arXiv 2509.25849)."""

import heapq
from typing import Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from star_loop.allocators.neyman import Floats, spread, success
from star_loop.config.component import MOST_DRAWS
from star_loop.protocols import Allocator
from star_loop.records import Metrics, Outcome, Proposal, State


class Knapsack(Allocator):
    """Maximise Σ V(N_i, p_i) with V(N, p) = (1 - p^N - (1-p)^N) · p(1-p)², so that Σ N_i is the budget.

    The first factor is the chance that N draws are neither all right nor all wrong, the second how much p is expected
    to rise by learning from them. The paper fills the knapsack by dynamic programming; from one draw on the gain of one
    more never grows with N, so that giving each draw to whom it is worth most is as good. p is the sampler's posterior
    mean where it keeps one (`alpha`, `beta`), else that of all un-hinted rollouts of the run under a Beta(1, 1) prior.
    """

    rollouts: int = Field(8, ge=1, le=MOST_DRAWS)
    """Mean number of draws of an observation."""
    least: int = Field(2, ge=1, le=MOST_DRAWS)
    """Draws that every observation gets, or `rollouts` where that is less."""
    most: int = Field(128, ge=2, le=MOST_DRAWS)
    """Draws that no observation exceeds."""

    @model_validator(mode="after")
    def _most_is_no_less_than_the_mean(self) -> Self:
        if self.most < self.rollouts:
            raise ValueError(f"most={self.most} draws of each are less than rollouts={self.rollouts} on average")
        return self

    def allocate(self, proposal: Proposal, state: State, rng: np.random.Generator) -> NDArray[np.int64]:
        """`rollouts` times the number of positions, divided."""
        p = success(state, proposal.positions)
        least = min(self.least, self.rollouts)
        return filled(p, self.rollouts * len(p), least, self.most)

    def metrics(self, outcome: Outcome) -> Metrics:
        """Return the spread of N_i, and the share of observations whose draws were neither all right nor all wrong."""
        return spread(outcome)


def gain(n: int, p: float) -> float:
    """Return V(n + 1, p) - V(n, p)."""
    return float((p**n * (1 - p) + (1 - p) ** n * p) * p * (1 - p) ** 2)


def filled(p: Floats, total: int, least: int, most: int) -> NDArray[np.int64]:
    """Give `least` each, then every draw to the observation that gains most by it; among equals to that with fewest.

    Args:
        p: success rates.
        total: draws in all, between the bounds times the observations.
        least: at least 1, from where on the gain never grows.
        most: of one observation.
    """
    drawn = np.full(len(p), least, np.int64)
    queue = [(-gain(least, q), least, i) for i, q in enumerate(p.tolist())] if least < most else []
    heapq.heapify(queue)
    for _ in range(total - least * len(p)):
        _, n, i = heapq.heappop(queue)
        drawn[i] = n + 1
        if n + 1 < most:
            heapq.heappush(queue, (-gain(n + 1, float(p[i])), n + 1, i))
    return drawn
