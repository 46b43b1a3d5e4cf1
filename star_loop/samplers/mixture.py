"""How much of each group: what a mixture promises, and what it is told."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from star_loop.config.component import Component
from star_loop.records import Columns, Metrics, State

Floats = NDArray[np.float64]
NOTHING: Columns = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Visits:
    """Visits to each of k groups in an iteration, and what came of them; arrays of length k."""

    names: Sequence[str]
    visited: NDArray[np.int64]
    """Observations."""
    attempts: NDArray[np.int64]
    """Un-hinted rollouts."""
    wins: NDArray[np.int64]
    accepted: NDArray[np.int64]
    """Observations with at least one correct rationale, hinted or not."""
    advantage: Floats
    """Mean over the visited observations of mean |r - p| / √(p(1-p)) = 2 √(p(1-p)), p being the share of an
    observation's un-hinted rollouts that were right: 0 where all or none were."""
    metrics: Mapping[str, float]
    """Metrics of the iteration: `validation/<group>` is the new model's accuracy on a group, and
    `before/validation/<group>` that of the model that the iteration started from."""


class Mixture(Component, ABC):
    """How much of each group. Laws: pure; mass is finite, not negative and sums to 1; the state survives npz."""

    @abstractmethod
    def init(self, names: Sequence[str], columns: Columns = NOTHING) -> State:
        """Return the belief before anything was seen of these groups; `columns` are those of the observations."""

    @abstractmethod
    def mass(self, state: State, rng: np.random.Generator) -> Floats:
        """Return the shares of the groups in what is asked; 0 leaves a group out."""

    @abstractmethod
    def learn(self, state: State, visits: Visits) -> State:
        """Move the beliefs on, after training has succeeded."""

    def metrics(self, state: State, visits: Visits) -> Metrics:
        """Figures that prove that the mixture acted."""
        return {}
