"""Scores without a model, for simulations and tests."""

import math
from collections.abc import Sequence

from star_loop.models import Model
from star_loop.protocols import Engine, Progress
from star_loop.records import Rollout, Score
from star_loop.scorers import Scorer
from star_loop.seeding import rng


class Scripted(Scorer):
    """One token probability for each rollout, drawn from its id, attempt and sample. A simulation, never evidence."""

    def score(
        self,
        rollouts: Sequence[Rollout],
        prompts: Sequence[str],
        model: Model,
        *,
        engine: Engine | None = None,
        progress: Progress | None = None,
    ) -> list[Score]:
        """Return loss -log p and Brier score 2 (1 - p)², those of a model that knows two words."""
        scores = [self._score(rollout) for rollout in rollouts]
        if progress:
            progress(len(scores))
        return scores

    def _score(self, rollout: Rollout) -> Score:
        p = rng(0, "scripted score", rollout.id, rollout.attempt, rollout.sample).uniform(0.05, 0.95)
        return Score.of(rollout, tokens=rollout.tokens, loss=-math.log(p), brier=2 * (1 - p) ** 2, rank=1 + (p < 0.5))
