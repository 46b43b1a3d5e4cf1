"""Self-taught reasoning, one iteration at a time.

    a preparation, where there is one, learns about the observations
    iteration 0 is the base model: evaluated, with empty statistics and the sampler's first belief
    repeat for iteration t = 1, 2, …
        1  collect    draw observations, generate rationales, judge them as they come, try failures again,
                      until the quota of correct ones is filled
        2  select     score, choose and weight the rationales worth learning from
        3  train      LoRA fine-tune, from the base or from the previous model
        4  evaluate   the new model, greedily, on held-out observations
        5  learn      update the statistics and the sampler's belief; commit

Every numbered line leaves files behind; a line whose files exist is not repeated. That is all that resuming is.
"""

from collections.abc import Sequence

from star_loop.records import Columns, Metrics
from star_loop.stages import load
from star_loop.stages.checkpoint import Checkpoint, first_checkpoint, last_checkpoint
from star_loop.stages.collect import collect
from star_loop.stages.evaluate import evaluate
from star_loop.stages.external import external
from star_loop.stages.learn import commit, learn
from star_loop.stages.live import LiveRun
from star_loop.stages.marks import mark
from star_loop.stages.pilot import pilot
from star_loop.stages.prepare import prepare
from star_loop.stages.score import score, score_again
from star_loop.stages.search import search
from star_loop.stages.select import select
from star_loop.stages.shots import decide_shots
from star_loop.stages.train import train


def loop(live: LiveRun) -> Checkpoint:
    """Iterate until the experiment's last iteration is committed, or validation accuracy has stopped rising."""
    columns, prepared = prepare(live)
    checkpoint = last_checkpoint(live.experiment, live.run, columns) or begin(live, columns, prepared)
    curve = live.run.committed_metrics()
    while checkpoint.iteration < live.experiment.iterations and not live.experiment.evaluation.settled(curve):
        checkpoint = iterate(live, checkpoint, prepared, curve)
        curve.append(live.run.iteration(checkpoint.iteration).metrics())
    return checkpoint


def begin(live: LiveRun, columns: Columns, prepared: Metrics) -> Checkpoint:
    """Run iteration 0: the base model, measured before anything is learned."""
    iteration = live.run.iteration(0)
    checkpoint = first_checkpoint(live.experiment, len(live.splits["train"]), columns)
    data = load.figures(live.experiment.task, live.splits)
    evaluated = evaluate(live, iteration, checkpoint.model, [])
    if live.experiment.evaluation.shots and live.has_examples:
        evaluated |= evaluate(live, iteration, checkpoint.model, [], shots=True)
    evaluated |= external(live, iteration, checkpoint.model, [evaluated])
    spent = {f"{kind}/cumulative": prepared.get(f"{kind}/prepare", 0.0) for kind in ("flops", "flops_exact")}
    return commit(live, iteration, checkpoint, data | evaluated | prepared | spent)


def iterate(live: LiveRun, before: Checkpoint, prepared: Metrics, curve: Sequence[Metrics]) -> Checkpoint:
    """Run iteration t, from where the run stood after t-1; the first of a fork says what the fork has prepared.

    Args:
        curve: the metrics of iterations 0 to t-1.
    """
    iteration = live.run.iteration(before.iteration + 1)

    live, shown = decide_shots(live, iteration, before.model)  # 1
    setting, searched = search(live, iteration, before.model)
    beliefs, piloted = pilot(live, iteration, before.beliefs, before.model)
    collected, yielded = collect(live, iteration, before, beliefs, setting)

    collected, rewarded = mark(live, iteration, collected)  # 2
    collected, scored = score(live, iteration, collected, before.model)
    examples, selected = select(live, iteration, collected, setting)

    model, trained = train(live, iteration, before.model, examples)  # 3

    evaluated = evaluate(live, iteration, model, curve)  # 4
    scored_again = score_again(live, iteration, collected, model)
    evaluated |= external(live, iteration, model, [*curve, evaluated])

    figures = yielded | trained | evaluated  # 5
    figures |= prepared if iteration.number == live.first_iteration else {}
    figures |= shown | searched | piloted | rewarded | scored | selected | scored_again
    return learn(live, iteration, before, collected, model, figures)
