"""How much each iteration wants: β_t correct rationales, σ_t optimiser steps."""

import math
from typing import Annotated, Literal

from pydantic import Field

from star_loop.config.component import Component

MOST = 10**9
"""Optimiser steps of a round, beyond which nothing grows: no round was ever so long."""


class Schedule(Component):
    """β_t = σ_t · batch with σ_t = ⌊σ_1 · growth^(t-1)⌋ (STaR, arXiv 2203.14465; AdaSTaR, arXiv 2505.16322).

    Example:
        >>> [Schedule(steps=40, growth=1.2, batch=8).beta(t) for t in (1, 2, 3)]
        [320, 384, 456]
    """

    steps: int = Field(40, ge=1)
    """σ_1, the optimiser steps of iteration 1."""
    growth: float = Field(1.2, ge=1.0)
    """σ_t over σ_(t-1)."""
    batch: int = Field(8, ge=1)
    """Sequences per optimiser step."""
    train_by: Literal["steps", "epochs"] = "steps"
    """How long a round trains: σ_t steps (the papers), or the trainer's `epochs` over the examples."""
    quota: Literal["beta"] | Annotated[int, Field(ge=1)] | None = "beta"
    """When collecting stops: at `beta` (β_t correct rationales), at a constant number, or null: one full pass."""
    per_observation: int = Field(1, ge=1)
    """How many correct rationales of one observation count towards the quota."""
    replay: int = Field(0, ge=0)
    """Iterations whose verified rationales are trained on again, of observations that have no new ones; the greatest
    age of the policy that wrote them. 0: none."""
    shots_until: Annotated[int, Field(ge=0)] | Literal["auto"] | None = None
    """Up to which iteration collection prompts carry the task's worked examples; afterwards they are bare. `auto`: a
    few pilots of each kind decide before each iteration; null: always."""
    wave: int = Field(256, ge=1)
    """Observations per wave, the atom of generation: a finished wave is never generated again."""

    def steps_at(self, iteration: int) -> int:
        """Return σ_t; it grows up to a thousand million."""
        if self.steps >= MOST or (iteration - 1) * math.log(self.growth) >= math.log(MOST / self.steps):
            return max(MOST, self.steps)
        return int(self.steps * self.growth ** (iteration - 1) + 1e-9)

    def training_steps(self, iteration: int) -> int | None:
        """Return what the trainer is told: σ_t, or None for its own epochs."""
        return self.steps_at(iteration) if self.train_by == "steps" else None

    def beta(self, iteration: int) -> int:
        """Return β_t."""
        return self.steps_at(iteration) * self.batch

    def quota_at(self, iteration: int) -> int | None:
        """Return the number of correct rationales at which collecting stops; None: never, one full pass."""
        return self.beta(iteration) if self.quota == "beta" else self.quota
