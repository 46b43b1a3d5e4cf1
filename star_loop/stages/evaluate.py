"""4 evaluate: a model on held-out observations, greedy, without worked examples but for `task.bare_shots`."""

from collections.abc import Sequence
from functools import partial

from star_loop.accounting.metrics import evaluation_metrics
from star_loop.models import Model
from star_loop.records import Decoding, Metrics, Rollout
from star_loop.run.directory import IterationDirectory
from star_loop.seeding import seed_for
from star_loop.stages.judge import warn_too_long
from star_loop.stages.labels import majorities
from star_loop.stages.live import LiveRun
from star_loop.stages.load import has_golds
from star_loop.stages.rollouts import Journal, ask, serve


def evaluate(
    live: LiveRun, iteration: IterationDirectory, model: Model, curve: Sequence[Metrics], *, shots: bool = False
) -> Metrics:
    """Measure the model on validation, for decisions, and on test where it is due, for the record.

    Args:
        curve: the metrics of the iterations before, by which the run may end with this one.
        shots: whether the questions come after the worked examples of collecting.

    Returns:
        `validation/…` and `evaluation/…`, with `shots` `validation_shots/…` and `evaluation_shots/…`: accuracies with
        their intervals, and what the answers cost.
    """
    experiment, figures = live.experiment, Metrics()
    suffix = "_shots" if shots else ""
    for split, name in (("validation", f"validation{suffix}"), ("test", f"evaluation{suffix}")):
        observations = live.splits[split]
        due = split == "validation" or experiment.evaluation.measures_test(
            iteration.number, last=ends(live, iteration.number, [*curve, figures])
        )
        if len(observations) and due and has_golds(experiment.task, observations):
            compute = partial(_answers, live, iteration.number, split, model, shots)
            rollouts = iteration.evaluation(name if shots else split, compute)
            samples = [r for r in rollouts if r.attempt == Decoding.SAMPLED]
            votes = majorities(experiment.task, observations, samples)
            agreed = {position: answer for position, (answer, _) in votes.items()}
            figures |= evaluation_metrics(name, rollouts, observations, agreed)
            figures[f"flops/{name}"] = live.cost.inference(rollouts)
    return figures


def ends(live: LiveRun, iteration: int, curve: Sequence[Metrics]) -> bool:
    """Tell whether the run ends with this iteration: the last one asked for, or that at which patience is at its end.

    Args:
        curve: the metrics of all iterations up to this one, of which the figures on validation are enough.
    """
    return iteration == live.experiment.iterations or live.experiment.evaluation.settled(curve)


def examine(
    live: LiveRun, iteration: int, split: str, model: Model, journal: Journal, shots: bool = False
) -> list[Rollout]:
    """Ask the model every observation of a held-out split, zero-shot or after the worked examples of collecting."""
    experiment, observations = live.experiment, live.splits[split]
    prompt = experiment.task.prompt if shots else experiment.task.bare_prompt
    chosen = {position: observations[position] for position in experiment.evaluation.positions(len(observations))}
    questions = {
        position: (observation, prompt(observation), experiment.sampling(observation))
        for position, observation in chosen.items()
    }
    asked = experiment.evaluation.requests(questions, experiment.seed)
    live.session.phase(iteration, split, len(asked))
    serve(live, model, f"iteration {iteration}, {split}{' after worked examples' if shots else ''}")
    seed = seed_for(experiment.seed, "evaluate", iteration, split)
    rollouts = ask(live, asked, seed, journal, reject_truncated=False, progress=True)
    warn_too_long(iteration, rollouts, experiment.generator)
    return rollouts


def _answers(live: LiveRun, iteration: int, split: str, model: Model, shots: bool) -> list[Rollout]:
    with live.run.timed(iteration, "evaluate") as journal:
        return examine(live, iteration, split, model, journal, shots)
