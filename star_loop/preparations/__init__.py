"""What is learned about the observations once, before the first iteration: further columns for samplers."""

import io
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from star_loop.component import Component
from star_loop.cost import Cost, Spent
from star_loop.disk import Disk, json_bytes, npz_bytes, read_json
from star_loop.ledger import Ledger
from star_loop.models import Pretrained
from star_loop.protocols import Columns, Task
from star_loop.records import Example, Metrics, Model, Observation, Rollout

Arrays = Mapping[str, NDArray[np.generic]]


class Folder:
    """`preparation/<name>/`: files that are made once and never changed."""

    def __init__(self, path: Path, disk: Disk) -> None:
        self.path = path
        self.ledger = Ledger(
            path, disk, lambda: f"Restore it, or move {path} away: the same command makes the same one again"
        )

    def has(self, name: str) -> bool:
        """Whether the file is there, and then it is whole."""
        return (self.path / f"{name}.npz").exists()

    def arrays(self, name: str, compute: Callable[[], Arrays]) -> Arrays:
        """The named arrays of `<name>.npz`, made only if the file is not there yet.

        Raises:
            RunError: its bytes are not those that were published.
        """
        if not self.has(name):
            self.ledger.publish(f"{name}.npz", npz_bytes(compute()))
        with np.load(io.BytesIO(self.ledger.read(f"{name}.npz")), allow_pickle=False) as stored:
            return dict(stored)

    def metrics(self, found: Metrics | None = None) -> Metrics:
        """`metrics.json`: published where some are given, else read.

        Raises:
            RunError: its bytes are not those that were published.
        """
        if found is not None:
            self.ledger.publish("metrics.json", json_bytes(found))
        return read_json(self.ledger.check("metrics.json"))

    def directory(self, name: str, fill: Callable[[Path], None]) -> Path:
        """A directory, filled only if it is not there yet."""
        if not (self.path / name).exists():
            self.ledger.publish_directory(name, fill)
        return self.ledger.check(name)


@dataclass(frozen=True, kw_only=True)
class Bench:
    """What a preparation works with."""

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
        """All positions, `chunk` at a time."""
        n = len(self.observations)
        return [range(start, min(start + self.chunk, n)) for start in range(0, n, self.chunk)]


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """What came of it."""

    columns: Columns
    """One entry for each observation; or `skill_graph` and its `graph_names`."""
    metrics: Metrics
    """Published with iteration 0 as `prepare/<name>`."""
    spent: Spent
    """Of all its files, whenever they were made."""


def total(parts: Iterable[Arrays]) -> Spent:
    """What the files have `spent`."""
    spent: Spent = np.sum([np.zeros(3), *(np.asarray(part["spent"], np.float64) for part in parts)], axis=0)
    return spent


class Preparation(Component, ABC):
    """A stage before the first iteration.

    Law: pure but for files of its folder, which depend on the configuration, the observations and the base alone.
    """

    @abstractmethod
    def prepare(self, columns: Columns, bench: Bench) -> Prepared:
        """New columns; `columns` are those that exist already."""
