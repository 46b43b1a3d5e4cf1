"""MoPPS: prompts whose success rate a Thompson draw puts near a target (arXiv 2507.04632, and its released code)."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from star_loop.protocols import Sampler
from star_loop.records import Columns, Metrics, Outcome, Proposal, State
from star_loop.samplers.order import ascending, following


class Mopps(Sampler):
    """Draw p of every observation from its Beta posterior, and ask those nearest to the target first.

    The released code looks at 16 batches of observations drawn at random and takes one batch of them; here every
    observation is looked at, and the order goes on for as long as the iteration asks.
    """

    target: float = Field(0.5, gt=0, lt=1)
    """Success rate that teaches most."""
    rule: Literal["nearest", "between"] = "nearest"
    """`nearest`: by (p - target)². `between`: in random order what lies between `lower` and `upper`, then by the
    distance from there; the released code's `topk` and `threshold`."""
    lower: float = Field(0.3, ge=0, le=1)
    """Least p of `between`."""
    upper: float = Field(0.7, ge=0, le=1)
    """Greatest p of `between`."""
    prior: tuple[float, float] = (1.0, 1.0)
    """α_0 and β_0 of the Beta prior, both positive."""
    keep: float = Field(0.5, ge=0, le=1)
    """λ: what a visit leaves of an observation's own counts; 1: all of them. The released scripts set 0.5 or 1."""

    def init(self, columns: Columns, rng: np.random.Generator) -> State:
        """Return `alpha` and `beta` of each observation: the prior."""
        n = len(columns["length"])
        return {name: np.full(n, value, np.float32) for name, value in zip(("alpha", "beta"), self.prior, strict=True)}

    def propose(self, state: State, n: int, rng: np.random.Generator) -> tuple[Proposal, State]:
        """Move a cursor over one draw of all observations."""
        if "keys" not in state:
            alpha, beta = (np.asarray(state[name], np.float64) for name in ("alpha", "beta"))
            state = {**state, **ascending(self._distance(rng.beta(alpha, beta), rng))}
        positions, state = following(state, n)
        return Proposal(positions=positions), state

    def learn(self, state: State, outcome: Outcome) -> State:
        """Update α ← λα + (1-λ)α_0 + correct, β ← λβ + (1-λ)β_0 + wrong, of the visited observations only."""
        learned = {}
        for name, prior, count in zip(
            ("alpha", "beta"), self.prior, (outcome.wins, outcome.attempts - outcome.wins), strict=True
        ):
            counts = np.array(state[name], np.float32)
            counts[outcome.positions] = self.keep * counts[outcome.positions] + (1 - self.keep) * prior + count
            learned[name] = counts
        return learned

    def metrics(self, state: State, outcome: Outcome) -> Metrics:
        """Return what was believed of the visited observations, and what they were: the mean success rates."""
        alpha, beta = (np.asarray(state[name], np.float64)[outcome.positions] for name in ("alpha", "beta"))
        believed = float((alpha / (alpha + beta)).mean()) if len(alpha) else 0.0
        return {"believed": believed, "success": float(outcome.wins.sum() / max(outcome.attempts.sum(), 1))}

    def _distance(self, p: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
        if self.rule == "nearest":
            squared: NDArray[np.float64] = (p - self.target) ** 2
            return squared
        outside = np.maximum(self.lower - p, 0.0) + np.maximum(p - self.upper, 0.0)
        return np.where(outside > 0, outside, -rng.random(len(p)))
