"""Benchmarks that are not the run's own: whether they were learned from, and how the model does on them."""

import logging
from collections.abc import Sequence

from star_loop.experiment import Experiment
from star_loop.external.overlap import occurring
from star_loop.models import Model
from star_loop.records import Metrics
from star_loop.run.directory import IterationDirectory, RunDirectory
from star_loop.stages.evaluate import ends
from star_loop.stages.live import LiveRun
from star_loop.stages.load import Splits

logger = logging.getLogger(__name__)

NAMED = 3
"""Questions that are named in a warning."""


def external(live: LiveRun, iteration: IterationDirectory, model: Model, curve: Sequence[Metrics]) -> Metrics:
    """Measure the benchmarks of `evaluation.external` that are due.

    Args:
        curve: the metrics of all iterations up to this one, by which the run may end with it.

    Returns:
        `external/<task>/<metric>`, as `external.json` has them.

    Raises:
        EngineError: they cannot be measured; the iteration's other files stay.
    """
    harness = live.experiment.evaluation.external
    if harness is None or not harness.due(iteration.number, last=ends(live, iteration.number, curve)):
        return {}

    def compute() -> Metrics:
        live.engine.release()
        live.session.phase(iteration.number, "external", None)
        with live.run.timed(iteration.number, "external"):
            return dict(harness.measure(model, live.run.workspace / "external.log"))

    return {f"external/{name}": value for name, value in iteration.external(compute).items()}


def look(experiment: Experiment, run: RunDirectory, splits: Splits) -> None:
    """Find the benchmarks and their data before anything expensive starts, and warn of those that are learned from.

    Raises:
        ValueError: there is no such benchmark, or its data cannot be had.
    """
    harness = experiment.evaluation.external
    if harness is None or not harness.tasks:
        return
    for task, texts in harness.questions(run.workspace / "external.log").items():
        found = list(occurring(((each.id, each.question) for each in splits["train"]), texts))
        if found:
            more = ", …" * (len(found) > NAMED)
            logger.warning(
                "evaluation.external: %s of the %s training questions occur in %s (%s%s): what it measures was learned",
                f"{len(found):,}", f"{len(splits['train']):,}", task, ", ".join(found[:NAMED]), more,
            )  # fmt: skip
