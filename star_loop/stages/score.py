"""Scoring the correct rationales before a round, and saying afterwards what selection and training made of it."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from star_loop.experiment import Experiment
from star_loop.models import Model
from star_loop.protocols import Session
from star_loop.records import Example, Metrics, Outcome, Rollout, Score
from star_loop.run.directory import IterationDirectory, RunDirectory
from star_loop.selectors.lark import lark_scores
from star_loop.stages.load import Splits
from star_loop.stages.rollouts import Generation

Key = tuple[int, int, int]
"""(position, attempt, sample) of a rollout."""
ROUNDING = 1e-5
"""Differences of losses and scores below this are none."""


class Scoring:
    """The stage between collecting and selecting, where a scorer is configured; without one it does nothing."""

    def __init__(
        self, x: Experiment, run: RunDirectory, splits: Splits, generation: Generation, session: Session
    ) -> None:
        self.x, self.run, self.splits, self.generation, self.session = x, run, splits, generation, session
        self.cost = x.generator.cost(x.model)

    def __call__(self, here: IterationDirectory, name: str, rollouts: Sequence[Rollout], model: Model) -> list[Score]:
        """Scores of the correct ones among these rollouts by this model, in the file of this name.

        With `scorer.wrong` also of the incorrect ones.
        """
        wanted = [r for r in rollouts if r.correct or (self.x.scorer is not None and self.x.scorer.wrong)]
        if self.x.scorer is None or not wanted:
            return []
        return here.scores(name, lambda: self._score(here, wanted, model))

    def metrics(
        self,
        here: IterationDirectory,
        rollouts: Sequence[Rollout],
        scores: Sequence[Score],
        examples: Sequence[Example],
        after: Model,
    ) -> Metrics:
        """How far the scores spread, what they cost, and how unequal the weights are that came of them.

        `score/rank_correlation`, with `scorer.diagnose`: Spearman's, between the LARK score and the realised fall of
        the loss, averaged over the `score/rank_observations` where both vary. It is no causal figure, since what was
        selected was also trained on.
        """
        if not scores:
            return {}
        correct = {key_of(rollout) for rollout in rollouts if rollout.correct}
        right = [score for score in scores if key_of(score) in correct]
        later = self(here, "scores_after", rollouts, after) if self.x.scorer and self.x.scorer.diagnose else []
        figures = (_spread(right) if right else {}) | _inequality(examples) | self._flops(rollouts, [*scores, *later])
        if later:
            found = rank_correlations(right, later)
            figures["score/rank_correlation"] = float(np.mean(found)) if found else 0.0
            figures["score/rank_observations"] = float(len(found))
        return figures

    def measured(self, outcome: Outcome, rollouts: Sequence[Rollout], scores: Sequence[Score]) -> Outcome:
        """The outcome, with energies and norms of right and wrong rationales where `scorer.wrong` has both scored."""
        if self.x.scorer is None or not self.x.scorer.wrong:
            return outcome
        energies = {key_of(score): score.energy for score in scores}
        norms = {key: math.sqrt(energy) for key, energy in energies.items()}
        found = {
            f"{side}_{what}": means(outcome, rollouts, known, correct=side == "right")
            for what, known in (("energy", energies), ("norm", norms))
            for side in ("right", "wrong")
        }
        if any(score.gradient is not None for score in scores):
            found["energy_gap"] = gaps(outcome, scores)
        return replace(outcome, gradients=found)

    def _score(self, here: IterationDirectory, rollouts: Sequence[Rollout], model: Model) -> list[Score]:
        assert self.x.scorer is not None
        self.session.phase(here.number, "score", len(rollouts))
        prompts = [self.x.task.bare_prompt(self.splits["train"][rollout.position]) for rollout in rollouts]
        with self.run.timed(here.number, "score"):
            return self.x.scorer.score(
                rollouts, prompts, model, engine=self.generation.engine, progress=self.session.advance
            )  # fmt: skip

    def _flops(self, rollouts: Sequence[Rollout], scores: Sequence[Score]) -> Metrics:
        assert self.x.scorer is not None
        prompts = {key_of(r): r.prompt_tokens for r in rollouts}
        return self.cost.scoring([(prompts[key_of(s)], s.tokens) for s in scores], self.x.scorer.passes)


def means(
    outcome: Outcome, rollouts: Sequence[Rollout], known: Mapping[Key, float], *, correct: bool
) -> NDArray[np.float64]:
    """The mean over each visited observation's known un-hinted rollouts, right or wrong; NaN where there are none."""
    place = {int(p): k for k, p in enumerate(outcome.positions)}
    sums, counts = np.zeros((2, len(place)))
    for r in rollouts:
        if r.correct is correct and not r.hinted and key_of(r) in known:
            sums[place[r.position]] += known[key_of(r)]
            counts[place[r.position]] += 1
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)


def gaps(outcome: Outcome, scores: Sequence[Score]) -> NDArray[np.float64]:
    """The measured gap of each visited observation, NaN where there is none."""
    known = {score.position: score.gap for score in scores if score.gap is not None}
    return np.array([known.get(int(p), np.nan) for p in outcome.positions])


def key_of(row: Rollout | Score) -> Key:
    """By which a score is joined to its rollout."""
    return row.position, row.attempt, row.sample


def by_observation(scores: Sequence[Score]) -> Mapping[int, list[Score]]:
    """Scores of each position, in their order."""
    groups: dict[int, list[Score]] = defaultdict(list)
    for score in scores:
        groups[score.position].append(score)
    return groups


def rank_correlations(before: Sequence[Score], after: Sequence[Score]) -> list[float]:
    """Spearman's, of LARK scores and falls of the loss, of each observation where both vary by more than rounding.

    The same rationale twice gets the same figures but for a batch's rounding, which must not pass for an order.
    """
    later = {key_of(score): score.loss for score in after}
    found = []
    for group in by_observation(before).values():
        g = lark_scores(np.array([s.loss for s in group]), np.array([s.brier for s in group]))
        fall = np.array([s.loss - later[key_of(s)] for s in group])
        if np.isfinite(g).all() and np.ptp(g) > ROUNDING and np.ptp(fall) > ROUNDING:
            x, y = (_ranks(np.round(values / ROUNDING)) - (len(group) - 1) / 2 for values in (g, fall))
            found.append(float((x * y).sum() / np.sqrt((x**2).sum() * (y**2).sum())))
    return found


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ranks from 0; equals share their mean rank."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    means: NDArray[np.float64] = ((ends - counts + ends - 1) / 2)[inverse]
    return means


def _spread(scores: Sequence[Score]) -> Metrics:
    ratios = [[s.brier / s.loss for s in group if s.loss > 0] for group in by_observation(scores).values()]
    return {
        "score/rationales": float(len(scores)),
        "score/loss": float(np.mean([s.loss for s in scores])),
        "score/brier": float(np.mean([s.brier for s in scores])),
        "score/slack": float(np.mean([s.slack for s in scores])),
        "score/energy": float(np.mean([s.energy for s in scores])),
        "score/learnability_deviation": float(np.mean([np.std(group) if group else 0.0 for group in ratios])),
    }


def _inequality(examples: Sequence[Example]) -> Metrics:
    """Extremes of the weights, and the effective share of the examples, (Σw)² / (n Σw²): 1 where all are equal."""
    w = np.array([example.weight for example in examples])
    effective = w.sum() ** 2 / (len(w) * (w**2).sum())
    return {
        "select/examples": float(len(w)),
        "select/least_weight": float(w.min()),
        "select/greatest_weight": float(w.max()),
        "select/effective": float(effective),
    }
