"""Before collecting, where the sampler wants it: draws of the current model, which nothing is trained on."""

from collections.abc import Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from star_loop.accounting.statistics import tally
from star_loop.models import Model
from star_loop.records import Metrics, Rollout, Score, State
from star_loop.run.directory import IterationDirectory
from star_loop.stages import laws
from star_loop.stages.live import LiveRun
from star_loop.stages.rollouts import draw_pilots
from star_loop.stages.score import measured, scores_of


def pilot(live: LiveRun, iteration: IterationDirectory, beliefs: State, model: Model) -> tuple[State, Metrics]:
    """Let the sampler fold in the draws that it wants; with `scorer.wrong` it sees their gradients too.

    Returns:
        The sampler's beliefs, and `pilot/…`: how many pilots there were, how many were right, and what they cost.
    """
    sampler, scorer = live.experiment.sampler, live.experiment.scorer
    wanted_draws = sampler.pilots(beliefs)
    if wanted_draws is None:
        return beliefs, {}
    draws = laws.draws(sampler, "pilots", wanted_draws, len(live.splits["train"]))
    rollouts = _rollouts(live, iteration, draws, model)
    wanted = scorer is not None and scorer.wrong
    scores = scores_of(live, iteration, "pilots/scores", rollouts, model) if wanted else []
    outcome = measured(scorer, tally(iteration.number, np.flatnonzero(draws), rollouts), rollouts, scores)
    return laws.mapping(sampler, "piloted", sampler.piloted(beliefs, outcome)), _figures(live, rollouts, scores)


def _rollouts(live: LiveRun, iteration: IterationDirectory, draws: NDArray[np.int64], model: Model) -> list[Rollout]:
    asked, wave = np.flatnonzero(draws), live.experiment.schedule.wave
    found: list[Rollout] = []
    for number, start in enumerate(range(0, len(asked), wave)):
        wanted = {int(position): int(draws[position]) for position in asked[start : start + wave]}
        ask = partial(draw_pilots, live, iteration.number, f"wave {number}", wanted, model)
        found += iteration.evaluation(f"pilots/wave_{number:03d}", ask)
    return found


def _figures(live: LiveRun, rollouts: Sequence[Rollout], scores: Sequence[Score]) -> Metrics:
    if not rollouts:
        return {}
    scorer, spent = live.experiment.scorer, live.cost.asking(rollouts)
    if scorer is not None and scores:
        scored = {(score.position, score.sample) for score in scores}
        reread = [rollout for rollout in rollouts if (rollout.position, rollout.sample) in scored]
        spent = spent + live.cost.rereading(reread, scorer.passes)
    figures = dict(zip(("tokens/pilot", "flops/pilot", "flops_exact/pilot"), spent.tolist(), strict=True))
    right = sum(rollout.correct for rollout in rollouts)
    return {"pilot/rollouts": float(len(rollouts)), "pilot/solve_rate": right / len(rollouts), **figures}
