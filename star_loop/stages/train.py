"""3 train: a LoRA round, from the base or from the previous model."""

from collections.abc import Sequence
from pathlib import Path

from star_loop.models import Model
from star_loop.records import Example, Metrics
from star_loop.run.directory import IterationDirectory
from star_loop.seeding import seed_for
from star_loop.stages.live import LiveRun


def train(
    live: LiveRun, iteration: IterationDirectory, before: Model, examples: Sequence[Example]
) -> tuple[Model, Metrics]:
    """Fine-tune on the examples; the adapter is published whole or not at all.

    Returns:
        The new model, and `train/…` of the trainer with the peak that its utilisation is held against.

    Raises:
        TrainingError: see `Trainer.train`.
    """
    experiment = live.experiment
    start = before if experiment.start_from == "previous" else Model(base=experiment.model)
    steps = experiment.schedule.training_steps(iteration.number)

    def fill(into: Path) -> Metrics:
        live.run.arrivals.discard()  # all that was asked is published; what comes is asked of another model
        live.engine.release()
        live.session.phase(iteration.number, "train", experiment.trainer.total_steps(examples, steps))
        with live.run.timed(iteration.number, "train"):
            return experiment.trainer.train(
                examples, start, into, steps=steps, progress=live.session.advance,
                seed=seed_for(experiment.seed, "train", iteration.number),
            )  # fmt: skip

    adapter, metrics = iteration.adapter(fill)
    figures = {f"train/{name}": value for name, value in metrics.items()}
    if (peak := live.cost.peak()) is not None:
        figures["machine/peak_flops"] = peak
    return Model(base=experiment.model, adapter=adapter), figures
