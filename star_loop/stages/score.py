"""2 select, where a scorer is configured: what a model thinks of the rationales, before the round and after it."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from star_loop.models import Model
from star_loop.records import Metrics, Outcome, Rollout, Score
from star_loop.run.directory import IterationDirectory
from star_loop.scorers import Scorer
from star_loop.selectors.lark import lark_scores
from star_loop.stages.collect import Collected
from star_loop.stages.live import LiveRun

Key = tuple[int, int, int]
"""(position, attempt, sample) of a rollout."""
ROUNDING = 1e-5
"""Differences of losses and scores below this are none."""


def score(
    live: LiveRun, iteration: IterationDirectory, collected: Collected, model: Model
) -> tuple[Collected, Metrics]:
    """Score the rationales that count; without a scorer nothing changes.

    Returns:
        What was collected, with its scores and what they say of its outcome, and `score/…`: how far they spread.
    """
    scores = scores_of(live, iteration, "scores", collected.counted, model)
    outcome = measured(live.experiment.scorer, collected.outcome, collected.counted, scores)
    right = _of_correct(scores, collected.counted)
    return replace(collected, scores=scores, outcome=outcome), _spread(right) if right else {}


def score_again(live: LiveRun, iteration: IterationDirectory, collected: Collected, model: Model) -> Metrics:
    """Say what scoring cost, and with `scorer.diagnose` score once more by the trained model.

    Returns:
        `flops/score`; and `score/rank_correlation`: Spearman's, between the LARK score and the realised fall of the
        loss, averaged over the `score/rank_observations` where both vary. It is no causal figure, since what was
        selected was also trained on.
    """
    scorer, rollouts = live.experiment.scorer, collected.counted
    if scorer is None or not collected.scores:
        return {}
    later = scores_of(live, iteration, "scores_after", rollouts, model) if scorer.diagnose else []
    prompts = {key_of(rollout): rollout.prompt_tokens for rollout in rollouts}
    read = [(prompts[key_of(each)], each.tokens) for each in (*collected.scores, *later)]
    figures = live.cost.scoring(read, scorer.passes)
    if later:
        found = rank_correlations(_of_correct(collected.scores, rollouts), later)
        figures["score/rank_correlation"] = float(np.mean(found)) if found else 0.0
        figures["score/rank_observations"] = float(len(found))
    return figures


def scores_of(
    live: LiveRun, iteration: IterationDirectory, name: str, rollouts: Sequence[Rollout], model: Model
) -> list[Score]:
    """Scores of the correct ones among these rollouts by this model, in the file of this name.

    With `scorer.wrong` also of the incorrect ones.
    """
    scorer = live.experiment.scorer
    wanted = [rollout for rollout in rollouts if rollout.correct or (scorer is not None and scorer.wrong)]
    if scorer is None or not wanted:
        return []
    return iteration.scores(name, partial(_compute, live, scorer, iteration.number, wanted, model))


def measured(scorer: Scorer | None, outcome: Outcome, rollouts: Sequence[Rollout], scores: Sequence[Score]) -> Outcome:
    """The outcome, with energies and norms of right and wrong rationales where `scorer.wrong` has both scored."""
    if scorer is None or not scorer.wrong:
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


def _compute(live: LiveRun, scorer: Scorer, iteration: int, rollouts: Sequence[Rollout], model: Model) -> list[Score]:
    live.session.phase(iteration, "score", len(rollouts))
    prompts = [live.experiment.task.bare_prompt(live.splits["train"][rollout.position]) for rollout in rollouts]
    with live.run.timed(iteration, "score"):
        return scorer.score(rollouts, prompts, model, engine=live.engine, progress=live.session.advance)


def _of_correct(scores: Sequence[Score], rollouts: Sequence[Rollout]) -> list[Score]:
    correct = {key_of(rollout) for rollout in rollouts if rollout.correct}
    return [each for each in scores if key_of(each) in correct]


def means(
    outcome: Outcome, rollouts: Sequence[Rollout], known: Mapping[Key, float], *, correct: bool
) -> NDArray[np.float64]:
    """Return the mean over each visited observation's known un-hinted rollouts, right or wrong.

    NaN where there are none.
    """
    place = {int(p): k for k, p in enumerate(outcome.positions)}
    sums, counts = np.zeros((2, len(place)))
    for r in rollouts:
        if r.correct is correct and not r.hinted and key_of(r) in known:
            sums[place[r.position]] += known[key_of(r)]
            counts[place[r.position]] += 1
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)


def gaps(outcome: Outcome, scores: Sequence[Score]) -> NDArray[np.float64]:
    """Return the measured gap of each visited observation, NaN where there is none."""
    known = {score.position: score.gap for score in scores if score.gap is not None}
    return np.array([known.get(int(p), np.nan) for p in outcome.positions])


def key_of(row: Rollout | Score) -> Key:
    """Return the key by which a score is joined to its rollout."""
    return row.position, row.attempt, row.sample


def by_observation(scores: Sequence[Score]) -> Mapping[int, list[Score]]:
    """Scores of each position, in their order."""
    groups: dict[int, list[Score]] = defaultdict(list)
    for score in scores:
        groups[score.position].append(score)
    return groups


def rank_correlations(before: Sequence[Score], after: Sequence[Score]) -> list[float]:
    """Return Spearman's of LARK scores and falls of the loss, per observation where both vary by more than rounding.

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
