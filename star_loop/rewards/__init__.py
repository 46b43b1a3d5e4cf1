"""Marks for rationales: a judge, reward models. Not here: what is correct (verifiers), who chooses (selectors)."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path

from star_loop.config.component import Component
from star_loop.protocols import Engine
from star_loop.records import Observation

Asked = Sequence[tuple[Observation, str]]
"""Observations, each with a rationale."""


class Reward(Component, ABC):
    """How good rationales are, from 0 to 1, whether they are correct or not.

    Law: a mark depends on the observation and the text alone; what cannot be marked has none, and is no error.
    """

    @property
    def rows(self) -> bool:
        """Whether it looks at whole rows, `meta["row"]`."""
        return False

    def prove(self, observation: Observation) -> None:
        """Raise a `ValueError`, before anything starts, where it asks for what this observation does not have."""

    def paid(self, folder: Path) -> Mapping[str, float]:
        """Return what marks have cost since the run began, where they cost something; `folder`: see `marks`."""
        return {}

    @abstractmethod
    def marks(self, asked: Asked, *, engine: Engine | None = None, folder: Path | None = None) -> list[float | None]:
        """Marks in order; None: this one has none.

        Args:
            asked: what is to be marked.
            engine: the generator's, which gives an accelerator's memory back before a model is loaded.
            folder: where what was paid for is kept; None: nowhere.
        """
