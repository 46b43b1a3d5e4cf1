"""4 evaluate: a model on held-out observations, greedy and zero-shot."""

from functools import partial

from star_loop.accounting.metrics import evaluation_metrics
from star_loop.models import Model
from star_loop.records import Metrics, Rollout
from star_loop.run.directory import IterationDirectory
from star_loop.seeding import seed_for
from star_loop.stages.live import LiveRun
from star_loop.stages.rollouts import Journal, ask, serve


def evaluate(live: LiveRun, iteration: IterationDirectory, model: Model) -> Metrics:
    """Measure the model on validation, for decisions, and on test where it is due, for the record.

    Returns:
        `validation/…` and `evaluation/…`: accuracies with their intervals, and what the answers cost.
    """
    experiment, figures = live.experiment, Metrics()
    for split, name in (("validation", "validation"), ("test", "evaluation")):
        observations = live.splits[split]
        due = split == "validation" or experiment.evaluation.measures_test(iteration.number, experiment.iterations)
        if len(observations) and due:
            rollouts = iteration.evaluation(split, partial(_answers, live, iteration.number, split, model))
            figures |= evaluation_metrics(name, rollouts, observations)
            figures[f"flops/{name}"] = live.cost.inference(rollouts)
    return figures


def examine(live: LiveRun, iteration: int, split: str, model: Model, journal: Journal) -> list[Rollout]:
    """Ask the model every observation of a held-out split, zero-shot."""
    experiment, observations = live.experiment, live.splits[split]
    prompts = [experiment.task.bare_prompt(observation) for observation in observations]
    asked = experiment.evaluation.requests(observations, prompts, experiment.sampling, experiment.seed)
    live.session.phase(iteration, split, len(asked))
    serve(live, model, f"iteration {iteration}, {split}")
    seed = seed_for(experiment.seed, "evaluate", iteration, split)
    return ask(live, asked, seed, journal, reject_truncated=False, progress=True)


def _answers(live: LiveRun, iteration: int, split: str, model: Model) -> list[Rollout]:
    with live.run.timed(iteration, "evaluate") as journal:
        return examine(live, iteration, split, model, journal)
