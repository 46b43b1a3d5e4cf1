"""Marks for rationales: a judge, reward models. Not here: what is correct (verifiers), who chooses (selectors)."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
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

    @abstractmethod
    def marks(self, asked: Asked, *, engine: Engine | None = None, folder: Path | None = None) -> list[float | None]:
        """Marks in order; None: this one has none.

        Args:
            asked: what is to be marked.
            engine: the generator's, which gives an accelerator's memory back before a model is loaded.
            folder: where what was paid for is kept; None: nowhere.
        """
