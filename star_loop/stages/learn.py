"""5 learn: update the statistics and the sampler's belief; commit."""

from collections.abc import Sequence
from dataclasses import replace

from star_loop.accounting.metrics import machine_metrics, token_counts
from star_loop.generators.teaching import PaidEngine
from star_loop.models import Model
from star_loop.records import Metrics, Rollout
from star_loop.run.directory import IterationDirectory
from star_loop.stages import laws
from star_loop.stages.checkpoint import Checkpoint
from star_loop.stages.collect import Collected
from star_loop.stages.live import LiveRun

DECISIVE = ("train/", "validation/")
"""What samplers see of an iteration's figures: the test split is for the record, and times differ between runs."""

ASIDES = ("prepare", "shots", "search", "pilot", "score")
"""What takes FLOPs beside generation and training."""


def learn(
    live: LiveRun, iteration: IterationDirectory, before: Checkpoint, collected: Collected, model: Model,
    figures: Metrics,
) -> Checkpoint:  # fmt: skip
    """Move facts and beliefs on, now that training has succeeded, and commit the iteration.

    Args:
        figures: what the iteration's stages say of themselves.
    """
    sampler, allocator = live.experiment.sampler, live.experiment.allocator
    earlier = live.run.iteration(before.iteration).metrics()
    seen = {name: value for name, value in figures.items() if name.startswith(DECISIVE)}
    seen |= {f"before/{name}": value for name, value in earlier.items() if name.startswith("validation/")}
    outcome = replace(collected.outcome, metrics=seen)
    figures = figures | laws.told(sampler, "sampler", sampler.metrics(collected.beliefs, outcome))
    figures |= laws.told(allocator, "allocator", allocator.metrics(outcome))
    figures |= _spent(live, collected.rollouts, figures, earlier)
    checkpoint = Checkpoint(
        iteration=iteration.number,
        model=model,
        statistics=before.statistics.add(outcome),
        beliefs=laws.state(sampler, "learn", sampler.learn(collected.beliefs, outcome)),
    )
    return commit(live, iteration, checkpoint, figures)


def commit(live: LiveRun, iteration: IterationDirectory, checkpoint: Checkpoint, figures: Metrics) -> Checkpoint:
    """Publish the iteration's last files; then everybody is told."""
    live.run.arrivals.discard()
    adapter = checkpoint.model.adapter
    figures = laws.figures(figures)
    metrics = figures | machine_metrics(live.run.timings(iteration.number), figures) | _paid(live)
    iteration.commit(
        adapter=adapter.relative_to(live.run.path).as_posix() if adapter else None,
        metrics=metrics, statistics=checkpoint.statistics, beliefs=checkpoint.beliefs,
        kept=live.run.kept(iteration.number, metrics, keep=live.experiment.keep), made_of=live.run.made_of(),
    )  # fmt: skip
    live.run.give_up_adapters(iteration)
    live.session.log(iteration.number, metrics)
    return checkpoint


def _paid(live: LiveRun) -> Metrics:
    """Return what a teacher's and a judge's servers have cost so far, by their journals."""
    engine, reward, folder = live.engine, live.experiment.reward, live.run.workspace
    paid = {
        "teacher": engine.paid() if isinstance(engine, PaidEngine) else {},
        "judge": {} if reward is None else reward.paid(folder),
        "verifier": live.experiment.task.verifier.paid(folder),
    }
    return {f"machine/{who}_{what}": float(value) for who, costs in paid.items() for what, value in costs.items()}


def _spent(live: LiveRun, rollouts: Sequence[Rollout], figures: Metrics, earlier: Metrics) -> Metrics:
    """Tokens and FLOPs of this iteration, and the running sum since iteration 0.

    `collect/surplus` is included. What a stream began in vain hangs on the speed of the machine: `machine/surplus`
    counts it.
    """
    prompt, generated = token_counts(rollouts)
    tokens = {"prompt": prompt, "generated": generated, "trained": int(figures.get("train/tokens", 0))}
    flops = live.cost.iteration(rollouts, figures)
    for kind in ("flops", "flops_exact"):
        if f"{kind}/generate" in flops:
            spent = flops[f"{kind}/generate"] + flops[f"{kind}/train"]
            spent += sum(figures.get(f"{kind}/{what}", 0.0) for what in ASIDES)
            flops[f"{kind}/cumulative"] = earlier.get(f"{kind}/cumulative", 0.0) + spent
    return {f"tokens/{name}": float(value) for name, value in tokens.items()} | flops
