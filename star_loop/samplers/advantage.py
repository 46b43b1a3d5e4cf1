"""Bandits over groups that are paid in mean |advantage|: SEC (arXiv 2505.14970) and DUMP (arXiv 2504.09710).

Where all draws of a question are right, or all wrong, nothing can be learned from how they differ. Both papers take the
mean absolute advantage of a group's rollouts for what is to be learned there; questions with one draw say nothing.
"""

from abc import abstractmethod
from collections.abc import Sequence

import numpy as np
from pydantic import Field

from star_loop.records import Columns, Metrics, State
from star_loop.samplers.mixture import NOTHING, Floats, Mixture, Visits


class Advantage(Mixture):
    """Shares by a softmax of what each group is worth."""

    temperature: float = Field(1.0, gt=0)
    """τ of the softmax."""

    @abstractmethod
    def worth(self, state: State) -> Floats:
        """Return the value of each group."""

    def mass(self, state: State, rng: np.random.Generator) -> Floats:
        """Return masses ∝ exp(worth / τ)."""
        scores = self.worth(state) / self.temperature
        p = np.exp(scores - scores.max())
        share: Floats = p / p.sum()
        return share

    def metrics(self, state: State, visits: Visits) -> Metrics:
        """Return the value of each group."""
        worth = self.worth(state)
        return {f"worth/{name}": float(worth[k]) for k, name in enumerate(visits.names)}


class Sec(Advantage):
    """Q ← αr + (1-α)Q of the visited groups, r being their mean |advantage|; Q = 0 at first (SEC, TD(0))."""

    rate: float = Field(0.5, gt=0, le=1)
    """α."""

    def init(self, names: Sequence[str], columns: Columns = NOTHING) -> State:
        """Return Q of each group."""
        return {"value": np.zeros(len(names))}

    def worth(self, state: State) -> Floats:
        """Return Q, the believed advantage of each group."""
        return np.asarray(state["value"], np.float64)

    def learn(self, state: State, visits: Visits) -> State:
        """Take one step for each visited group."""
        value = self.worth(state)
        moved = value + self.rate * (visits.advantage - value)
        return {"value": np.where(visits.visited > 0, moved, value)}


class Dump(Advantage):
    """The latest mean |advantage| of each group and √(2 ln(n + 1) / (n_k + 1)), its upper confidence bound (DUMP).

    n_k counts the observations that group k was asked, and n those of all. The paper takes the mean over the latest
    rollouts of a group; here they are those of the latest iteration that visited it.
    """

    temperature: float = Field(0.1, gt=0)
    """τ of the softmax."""

    def init(self, names: Sequence[str], columns: Columns = NOTHING) -> State:
        """Return `value` and `asked` of each group."""
        return {"value": np.zeros(len(names)), "asked": np.zeros(len(names), np.int64)}

    def worth(self, state: State) -> Floats:
        """Return the bound."""
        asked = np.asarray(state["asked"], np.float64)
        bound: Floats = np.asarray(state["value"], np.float64) + np.sqrt(2 * np.log1p(asked.sum()) / (asked + 1))
        return bound

    def learn(self, state: State, visits: Visits) -> State:
        """Return the newest mean of each visited group, and the counts."""
        value = np.where(visits.visited > 0, visits.advantage, np.asarray(state["value"], np.float64))
        return {"value": value, "asked": np.asarray(state["asked"], np.int64) + visits.visited}
