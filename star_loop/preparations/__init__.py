"""What is learned about the observations once, before the first iteration, as columns for samplers.

Not here: what is learned as the loop goes on (samplers).
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from star_loop.accounting.cost import Cost, Spent
from star_loop.config.component import Component
from star_loop.models import Model, Pretrained
from star_loop.protocols import Sampler, Task
from star_loop.records import Columns, Example, Metrics, Observation, Rollout
from star_loop.run.preparation import Arrays, Folder


@dataclass(frozen=True, kw_only=True)
class Bench:
    """Everything that a preparation may look at and ask for."""

    task: Task
    observations: Sequence[Observation]
    """To learn from; positions are those of the loop."""
    validation: Sequence[Observation]
    base: Pretrained
    seed: int
    chunk: int
    """Observations of one file, the atom of the work: a finished one is never made again."""
    folder: Folder
    ask: Callable[[str, Mapping[int, int]], list[Rollout]]
    """Judged rollouts of the base model: under a name that seeds them, so many of each position."""
    train: Callable[[str, Sequence[Example], int], tuple[Model, Spent]]
    """A round of so many steps from the base, under a name that seeds it: the model, and what it cost."""
    examine: Callable[[Model], list[Rollout]]
    """The validation split, answered by a model."""
    cost: Cost
    """What the base costs."""
    release: Callable[[], None]
    """Let the generator give up an accelerator's memory before another model is loaded."""

    def chunks(self) -> list[range]:
        """Cut all positions into ranges of `chunk`; the last may be shorter."""
        n = len(self.observations)
        return [range(start, min(start + self.chunk, n)) for start in range(0, n, self.chunk)]


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """The result of a preparation."""

    columns: Columns
    """One entry for each observation; or `skill_graph` and its `graph_names`."""
    metrics: Metrics
    """Published with iteration 0 as `prepare/<name>`."""
    spent: Spent
    """The cost of all its files, whenever they were made."""


def total(parts: Iterable[Arrays]) -> Spent:
    """Add up what the files have `spent`."""
    spent: Spent = np.sum([np.zeros(3), *(np.asarray(part["spent"], np.float64) for part in parts)], axis=0)
    return spent


class Preparation(Component, ABC):
    """A stage before the first iteration.

    Law: pure but for files of its folder, which depend on the configuration, the observations and the base alone.
    """

    def prove(self, columns: Columns, sampler: Sampler) -> None:
        """Look whether the sampler can use what is prepared, as far as is known before a run begins.

        Args:
            columns: of the observations to learn from.
            sampler: of the experiment.

        Raises:
            ValueError: it cannot.
        """

    @abstractmethod
    def prepare(self, columns: Columns, bench: Bench) -> Prepared:
        """Return new columns; `columns` are those that exist already."""
