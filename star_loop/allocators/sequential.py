"""Draws that look at those before them: until enough are right (DART, Reinforce-Ada), and on the boundary (HS-STaR)."""

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from star_loop.config.component import MOST_DRAWS
from star_loop.protocols import Allocator
from star_loop.records import Metrics, Outcome, Proposal, State

Counts = NDArray[np.int64]


class Sequential(Allocator):
    """Draw each observation in rounds until enough are right, and enough wrong, or it has had `most` draws.

    `right` alone is DART's uniform rule (arXiv 2407.13690) and Reinforce-Ada's positive one (arXiv 2510.04996); with
    `wrong` it is Reinforce-Ada's balanced one. No pilots are needed: what is drawn is trained on.
    """

    rollouts: int = Field(4, ge=1, le=MOST_DRAWS)
    """Draws of a round."""
    right: int = Field(4, ge=1, le=MOST_DRAWS)
    """Right ones that end an observation's rounds…"""
    wrong: int = Field(0, ge=0, le=MOST_DRAWS)
    """…once there are so many wrong ones too."""
    most: int = Field(32, ge=1, le=MOST_DRAWS)
    """Draws that no observation exceeds after the first round."""

    def allocate(self, proposal: Proposal, state: State, rng: np.random.Generator) -> Counts:
        """Give the first round: `rollouts` each."""
        return np.full(len(proposal.positions), self.rollouts, np.int64)

    def again(self, attempts: Counts, wins: Counts, number: int) -> Counts:
        """Give another round to those that lack any, cut at `most`."""
        lacking = (wins < self.right) | (attempts - wins < self.wrong)
        return np.where(lacking, np.clip(self.most - attempts, 0, self.rollouts), 0)

    @property
    def apart(self) -> bool:
        """Each observation's rounds are its own."""
        return True

    def metrics(self, outcome: Outcome) -> Metrics:
        """Return the spread of the draws, and the share of observations that got all they wanted."""
        n, right = outcome.attempts, outcome.wins
        filled = (right >= self.right) & (n - right >= self.wrong)
        return {"mean": float(n.mean()), "most": float(n.max()), "filled": float(filled.mean())}


class Boundary(Allocator):
    """Draw each observation a few times, and then those that are neither always nor never solved (HS-STaR).

    The rest of the budget is shared alike by the boundary observations of the wave (arXiv 2505.19866). The paper calls
    an observation that all pre-samples solve easy only if a process reward model rates them high, and one that none
    solves hopeless only if it rates them low; without such a model, the answers alone decide.
    """

    rollouts: int = Field(4, ge=1, le=MOST_DRAWS)
    """Pre-samples of each observation."""
    more: int = Field(4, ge=0, le=MOST_DRAWS)
    """What the budget holds beside them, on average of all observations."""

    def allocate(self, proposal: Proposal, state: State, rng: np.random.Generator) -> Counts:
        """Give the pre-samples: `rollouts` each."""
        return np.full(len(proposal.positions), self.rollouts, np.int64)

    def again(self, attempts: Counts, wins: Counts, number: int) -> Counts:
        """Share `more` times the wave's observations by its boundary; what cannot be shared evenly, to the first."""
        boundary = np.flatnonzero((wins > 0) & (wins < attempts))
        draws = np.zeros(len(attempts), np.int64)
        if number == 1 and len(boundary):
            each, left = divmod(self.more * len(attempts), len(boundary))
            draws[boundary] = each
            draws[boundary[:left]] += 1
        return draws

    def metrics(self, outcome: Outcome) -> Metrics:
        """Return the spread of the draws, and the share of observations on the boundary."""
        n, boundary = outcome.attempts, (outcome.first_wins > 0) & (outcome.first_wins < outcome.first_attempts)
        return {"mean": float(n.mean()), "most": float(n.max()), "boundary": float(boundary.mean())}
