"""Before collecting, where it is not always so: whether prompts carry worked examples in this iteration.

A base model needs them, and a model that has learned the form may be held back by them (STaR, arXiv 2203.14465, drops
them after the first iteration where it can).
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from star_loop.models import Model
from star_loop.records import Metrics, Rollout
from star_loop.run.directory import IterationDirectory
from star_loop.seeding import rng
from star_loop.stages.live import LiveRun
from star_loop.stages.rollouts import draw_pilots

PILOTS = 32
"""Training observations that are asked both ways, where pilots decide."""


def decide_shots(live: LiveRun, iteration: IterationDirectory, model: Model) -> tuple[LiveRun, Metrics]:
    """Settle by `schedule.shots_until` whether this iteration's prompts carry worked examples.

    A task whose prompts have none leaves nothing to settle. Where pilots decide, equal yields keep the examples.

    Returns:
        The run with its `shots`; and `collect/shots` (1: with worked examples), `shots/…` (the pilots' yields) and what
        the pilots cost.
    """
    until = live.experiment.schedule.shots_until
    if until is None or not live.has_examples:
        return live, {}
    if until != "auto":
        chosen, figures = iteration.number <= until, Metrics()
    else:
        pilots = {name: _pilots(live, iteration, model, name) for name in ("with_shots", "bare")}
        yields = {name: sum(r.correct for r in rollouts) / len(rollouts) for name, rollouts in pilots.items()}
        chosen = yields["with_shots"] >= yields["bare"]
        spent = live.cost.asking([rollout for rollouts in pilots.values() for rollout in rollouts]).tolist()
        figures = dict(zip(("tokens/shots", "flops/shots", "flops_exact/shots"), spent, strict=True))
        figures |= {f"shots/{name}": share for name, share in yields.items()}
    return replace(live, shots=chosen), {"collect/shots": float(chosen), **figures}


def _pilots(live: LiveRun, iteration: IterationDirectory, model: Model, name: str) -> Sequence[Rollout]:
    order = rng(live.experiment.seed, "shots", iteration.number).permutation(len(live.splits["train"]))
    draws, asked = dict.fromkeys(order[:PILOTS].tolist(), 1), replace(live, shots=name == "with_shots")
    return iteration.evaluation(f"pilots/{name}", partial(draw_pilots, asked, iteration.number, name, draws, model))
