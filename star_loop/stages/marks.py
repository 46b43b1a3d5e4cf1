"""2 select, where a reward is configured: the marks that selectors and B-STaR's search look at."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from star_loop.accounting.metrics import VETOED, reward_metrics
from star_loop.errors import counted
from star_loop.records import Metrics, Rollout
from star_loop.run.directory import IterationDirectory
from star_loop.stages.collect import Collected
from star_loop.stages.live import LiveRun
from star_loop.stages.score import key_of

logger = logging.getLogger(__name__)


def mark(live: LiveRun, iteration: IterationDirectory, collected: Collected) -> tuple[Collected, Metrics]:
    """Give the rollouts that count the reward's marks; without a reward nothing changes.

    Returns:
        What was collected, with its marks in the place of the verifier's, and `reward/…`: how they agree with it.
    """
    if live.experiment.reward is None:
        return collected, {}
    live.session.phase(iteration.number, "score", len(collected.counted))
    found = iteration.evaluation("marks", partial(_timed, live, iteration.number, collected.counted))
    figures = reward_metrics(found)
    if found and "reward/mark" not in figures:
        logger.warning("the reward gave none of %s a mark: read what it replies", counted(len(found), "text"))
    known = {key_of(rollout): rollout for rollout in found}
    rollouts = [known.get(key_of(rollout), rollout) for rollout in collected.rollouts]
    return replace(collected, rollouts=rollouts), figures


def marked(live: LiveRun, rollouts: Sequence[Rollout]) -> list[Rollout]:
    """Give training rollouts the reward's marks; what was cut off has none.

    The engine may have given its memory back: it is served again before it generates.
    """
    reward, task, observations = live.experiment.reward, live.experiment.task, live.splits["train"]
    if reward is None:
        return list(rollouts)
    places = [k for k, rollout in enumerate(rollouts) if rollout.how not in VETOED]
    asked = [(task.own(observations[rollouts[k].position]), rollouts[k].text) for k in places]
    marks = dict(zip(places, reward.marks(asked, engine=live.engine, folder=live.run.workspace), strict=True))
    return [replace(rollout, score=marks.get(k)) for k, rollout in enumerate(rollouts)]


def _timed(live: LiveRun, iteration: int, rollouts: Sequence[Rollout]) -> list[Rollout]:
    with live.run.timed(iteration, "score"):
        found = marked(live, rollouts)
        live.session.advance(len(found))
        return found
