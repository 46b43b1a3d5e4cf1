"""The stage before collecting: draws that a sampler wants of the current model, which nothing is trained on."""

from collections.abc import Sequence
from functools import partial

import numpy as np

from star_loop.accounting.statistics import tally
from star_loop.experiment import Experiment
from star_loop.models import Model
from star_loop.records import Metrics, Rollout, Score, State
from star_loop.run.directory import IterationDirectory
from star_loop.stages.rollouts import Generation
from star_loop.stages.score import Scoring


class Piloting:
    """Without a sampler that wants pilots it does nothing."""

    def __init__(self, x: Experiment, generation: Generation, scoring: Scoring) -> None:
        self.x, self.generation, self.scoring = x, generation, scoring
        self.cost = x.generator.cost(x.model)

    def __call__(self, here: IterationDirectory, beliefs: State, model: Model) -> State:
        """What the sampler believes after the pilots; with `scorer.wrong` it sees their gradients too."""
        draws = self.x.sampler.pilots(beliefs)
        if draws is None:
            return beliefs
        rollouts = self._rollouts(here, beliefs, model)
        outcome = tally(here.number, np.flatnonzero(draws), rollouts)
        scores = self._scores(here, rollouts, model)
        return self.x.sampler.piloted(beliefs, self.scoring.measured(outcome, rollouts, scores))

    def metrics(self, here: IterationDirectory, beliefs: State, model: Model) -> Metrics:
        """How many pilots there were, how many were right, and what they cost."""
        rollouts = self._rollouts(here, beliefs, model)
        if not rollouts:
            return {}
        scored = {(s.position, s.sample) for s in self._scores(here, rollouts, model)}
        spent = self.cost.asking(rollouts)
        if self.x.scorer is not None and scored:
            both = [r for r in rollouts if (r.position, r.sample) in scored]
            spent = spent + self.cost.rereading(both, self.x.scorer.passes)
        figures = dict(zip(("tokens/pilot", "flops/pilot", "flops_exact/pilot"), spent.tolist(), strict=True))
        right = sum(r.correct for r in rollouts)
        return {"pilot/rollouts": float(len(rollouts)), "pilot/solve_rate": right / len(rollouts), **figures}

    def _rollouts(self, here: IterationDirectory, beliefs: State, model: Model) -> list[Rollout]:
        draws = self.x.sampler.pilots(beliefs)
        asked = np.flatnonzero(draws) if draws is not None else np.zeros(0, np.int64)
        found: list[Rollout] = []
        for number, start in enumerate(range(0, len(asked), self.x.schedule.wave)):
            wanted = {int(p): int(draws[p]) for p in asked[start : start + self.x.schedule.wave]}  # type: ignore[index]
            ask = partial(self.generation.pilot, here.number, f"wave {number}", wanted, model)
            found += here.evaluation(f"pilots/wave_{number:03d}", ask)
        return found

    def _scores(self, here: IterationDirectory, rollouts: Sequence[Rollout], model: Model) -> list[Score]:
        wanted = self.x.scorer is not None and self.x.scorer.wrong
        return self.scoring(here, "pilots/scores", rollouts, model) if wanted else []
