"""The same number of rollouts for every observation."""

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from star_loop.config.component import MOST_DRAWS
from star_loop.protocols import Allocator
from star_loop.records import Proposal, State


class Fixed(Allocator):
    """K draws of each observation (the first try; a second try adds one more for those that failed)."""

    rollouts: int = Field(1, ge=1, le=MOST_DRAWS)
    """Draws of each observation."""

    def allocate(self, proposal: Proposal, state: State, rng: np.random.Generator) -> NDArray[np.int64]:
        """`rollouts` each."""
        return np.full(len(proposal.positions), self.rollouts, np.int64)
