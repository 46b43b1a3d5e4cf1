"""What the stages of one launch share."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from star_loop.accounting.cost import Cost
from star_loop.experiment import Experiment
from star_loop.protocols import Engine, Session
from star_loop.run.directory import RunDirectory
from star_loop.stages.load import Splits


@dataclass(frozen=True, kw_only=True)
class LiveRun:
    """An experiment on its run directory, with a live engine and somebody who is told."""

    experiment: Experiment
    run: RunDirectory
    splits: Splits
    engine: Engine
    session: Session
    shots: bool = True
    """Whether collection prompts carry the task's worked examples, if it has any."""

    @cached_property
    def cost(self) -> Cost:
        """Return what a token of the base costs, in FLOPs."""
        return self.experiment.generator.cost(self.experiment.model)

    @property
    def has_examples(self) -> bool:
        """Tell whether the task's collection prompts differ from its bare ones."""
        task, first = self.experiment.task, self.splits["train"][0]
        return task.prompt(first) != task.bare_prompt(first)

    @property
    def first_iteration(self) -> int:
        """The first iteration that is this run's own: 0, or the one after those that a fork took over."""
        fork = self.experiment.fork
        return 0 if fork is None else int(Path(fork).name) + 1
