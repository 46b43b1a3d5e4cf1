"""SPaCe: a bandit whose arms are groups of the data (arXiv 2508.05015; its first version is known as SPaRFT).

A reconstruction: no official code is public, and the equations here rest on the abstract ("solve rates and learning
progress", version 2) and on public reviews of version 1 (Thompson sampling on the negated solve rate).
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from pydantic import Field

from star_loop.records import Columns, Metrics, State
from star_loop.samplers.mixture import NOTHING, Floats, Mixture, Visits

QUIET = 0.01
"""Learning progress below this is none."""


class Space(Mixture):
    """Gaussian Thompson sampling over groups, as shares: how often each group would win `draws` times.

    θ_k ~ N(U_k, deviation² / (N_k + 1)) and k* = argmax θ_k, where N_k counts the batches of `batch` observations that
    the arm was given. The paper pulls one arm at a time; a whole iteration is drawn before anything is learned here, so
    it is shared out in proportion to the arms' winning frequencies, with `explore` of it spread evenly.

    `hard`, version 1: U_k = -s_k, the negated mean solve rate. Unsolvable arms win for ever.
    `hard_and_progress`, version 2: U_k = (1 - s_k) + progress_k / max_j progress_j, but 0 for an arm that is mastered,
    or unsolvable without progress; s_k is a fast moving average, and progress_k its distance from a slow one.
    `progress` and `variance` (s_k (1 - s_k), as CurES) are alternatives.
    """

    utility: Literal["hard", "hard_and_progress", "progress", "variance"] = "hard_and_progress"
    """U_k, what an arm is drawn for."""
    fast: float = Field(0.5, gt=0, le=1)
    """Weight of the newest solve rate in the fast average."""
    slow: float = Field(0.1, gt=0, le=1)
    """Weight of the newest solve rate in the slow average."""
    discount: float = Field(0.9, ge=0, le=1)
    """What an iteration leaves of N_k, since arms change; `hard` counts everything, as version 1."""
    deviation: float = Field(1.0, ge=0)
    """Of θ_k before any pull: the wider, the more arms are tried."""
    batch: int = Field(8, ge=1)
    """Observations of one pull."""
    unsolvable: float = Field(0.02, ge=0, le=1)
    """Solve rate at or below which an arm without progress is closed…"""
    patience: float = Field(3.0, ge=0)
    """…after so many pulls."""
    mastered: float = Field(0.98, ge=0, le=1)
    """Solve rate at or above which an arm is closed."""
    explore: float = Field(0.1, ge=0, le=1)
    """The share that is spread evenly over the arms."""
    draws: int = Field(1000, ge=1, le=1_000_000)
    """Of θ, by which winning frequencies are counted."""

    def init(self, names: Sequence[str], columns: Columns = NOTHING) -> State:
        """Return each arm's `pulls`, and the averages `mean`, `fast`, `slow` of its solve rate (0 before any pull)."""
        return {name: np.zeros(len(names)) for name in ("pulls", "mean", "fast", "slow")}

    def mass(self, state: State, rng: np.random.Generator) -> Floats:
        """Return the winning frequencies of the arms, mixed with the uniform."""
        k = len(state["pulls"])
        spread = self.deviation / np.sqrt(np.asarray(state["pulls"], np.float64) + 1)
        theta = self.utilities(state) + spread * rng.standard_normal((self.draws, k))
        wins = np.bincount(theta.argmax(axis=1), minlength=k) / self.draws
        share: Floats = (1 - self.explore) * wins + self.explore / k
        return share

    def learn(self, state: State, visits: Visits) -> State:
        """Learn the solve rates of all un-hinted rollouts, right and wrong."""
        pulls, mean, fast, slow = (np.asarray(state[name], np.float64) for name in ("pulls", "mean", "fast", "slow"))
        new = visits.visited / self.batch
        seen = visits.attempts > 0
        rate = visits.wins / np.maximum(visits.attempts, 1)
        first = seen & (pulls == 0)
        kept = pulls if self.utility == "hard" else self.discount * pulls
        averaged = mean + new / np.maximum(pulls + new, 1e-9) * (rate - mean)
        return {
            "pulls": kept + new,
            "mean": np.where(seen, averaged, mean),
            "fast": np.where(first, rate, np.where(seen, fast + self.fast * (rate - fast), fast)),
            "slow": np.where(first, rate, np.where(seen, slow + self.slow * (rate - slow), slow)),
        }

    def metrics(self, state: State, visits: Visits) -> Metrics:
        """Return utility and believed solve rate of each arm."""
        utilities, rates = self.utilities(state), self._rates(state)
        figures = {f"utility/{name}": float(utilities[k]) for k, name in enumerate(visits.names)}
        return figures | {f"solve_rate/{name}": float(rates[k]) for k, name in enumerate(visits.names)}

    def utilities(self, state: State) -> Floats:
        """Return U_k of each arm."""
        s, progress = self._rates(state), np.abs(np.asarray(state["fast"]) - np.asarray(state["slow"]))
        if self.utility == "hard":
            return -s
        if self.utility == "variance":
            return s * (1 - s)
        relative: Floats = progress / max(progress.max(), QUIET)
        if self.utility == "progress":
            return relative
        pulls = np.asarray(state["pulls"], np.float64)
        hopeless = (pulls >= self.patience) & (s <= self.unsolvable) & (progress <= QUIET)
        done = (pulls > 0) & (s >= self.mastered)
        open_: Floats = np.where(hopeless | done, 0.0, 1 - s + relative)
        return open_

    def _rates(self, state: State) -> Floats:
        return np.asarray(state["mean" if self.utility == "hard" else "fast"], np.float64)
