"""What policies are asked and told: arrays over the training observations, by position."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

State = Mapping[str, NDArray[np.generic]]
"""A policy's belief: named numpy arrays, stored as npz without objects."""
Columns = Mapping[str, NDArray[np.generic]]
"""What a sampler may know of the observations: arrays of length n (`skill` and `level` as integers, -1 = none,
`length` in characters), whatever a preparation adds under its own name, and `skill_names`, one for each skill."""
Positions = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """Observations to ask next, in order, and optionally how many rollouts each (None: the allocator decides)."""

    positions: Positions
    rollouts: NDArray[np.int64] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """Counts of what happened, aligned with `positions`: the visited observations in the sampler's order, no surplus.

    Example:
        >>> one = np.array([1, 1])
        >>> Outcome(
        ...     iteration=1, positions=np.array([7, 2]), attempts=one, wins=np.array([0, 1]), hinted_attempts=0 * one,
        ...     hinted_wins=0 * one, first_wins=np.array([0, 1]), first_attempts=one,
        ... ).accepted.tolist()
        [False, True]
    """

    iteration: int
    positions: Positions
    attempts: NDArray[np.int64]
    wins: NDArray[np.int64]
    """Un-hinted rollouts of each, and the correct ones among them."""
    hinted_attempts: NDArray[np.int64]
    hinted_wins: NDArray[np.int64]
    first_wins: NDArray[np.int64]
    """Correct rollouts of attempt 0: the cold success."""
    first_attempts: NDArray[np.int64]
    metrics: Mapping[str, float] = field(default_factory=dict)
    """`train/…`, `validation/…`, and `before/validation/…` of the model before; empty within the iteration."""
    gradients: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    """What scored un-hinted rationales tell of ∇ log π, NaN where it is nothing: the means of ‖∇ log π‖² and ‖∇ log π‖
    over right and wrong ones (`right_energy`, `wrong_energy`, `right_norm`, `wrong_norm`), and `energy_gap`,
    ‖E_right ∇ log π - E_wrong ∇ log π‖². Empty: not scored."""

    @property
    def accepted(self) -> NDArray[np.bool_]:
        """Tell of each observation whether it got at least one correct rationale, hinted or not."""
        return (self.wins + self.hinted_wins) > 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """The things that a selector may look at besides the candidates."""

    iteration: int
    beta: int
    """β_t: how many rationales the schedule wants to train on."""
    threshold: float | None = None
    """The reward above which B-STaR's search selects."""
    beliefs: State = field(default_factory=dict)
    """The sampler's, as they were when it asked."""
