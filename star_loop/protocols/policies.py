"""Which questions are asked, how often, and what is learned from. Frozen and pure: no I/O, no torch."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from star_loop.config.component import Component
from star_loop.records import Candidate, Columns, Metrics, Outcome, Proposal, Selection, State


class Sampler(Component, ABC):
    """Chooses which observations come next.

    Laws: pure (same arguments, same result; arguments unchanged); at most `n` positions, known and distinct, none twice
    in one iteration; an empty proposal ends the pass; the states of `init` and `learn` survive npz without objects, and
    hold nothing of the iteration's; figures are finite numbers. A run holds every sampler to all but the first.
    """

    @abstractmethod
    def init(self, columns: Columns, rng: np.random.Generator) -> State:
        """Return the belief before anything was seen."""

    @abstractmethod
    def propose(self, state: State, n: int, rng: np.random.Generator) -> tuple[Proposal, State]:
        """The next `n` observations of this iteration, and the state with the cursor moved past them. `rng` is the
        iteration's generator, fresh at each call: a frozen order is drawn at the first call and kept."""

    def observe(self, state: State, wave: Outcome) -> State:
        """Fold one judged wave in (bandits, posteriors). By default nothing is learned before training."""
        return state

    @property
    def lookahead(self) -> int | None:
        """Return how many waves are proposed before an earlier one is observed; None: any, as none is folded in."""
        return None if type(self).observe is Sampler.observe else 0

    def pilots(self, state: State) -> NDArray[np.int64] | None:
        """Return the draws of each observation before the first wave, which nothing is trained on; None: none."""
        return None

    def piloted(self, state: State, outcome: Outcome) -> State:
        """Fold these draws in; the state keeps its entries."""
        return state

    @abstractmethod
    def learn(self, state: State, outcome: Outcome) -> State:
        """After training has succeeded: the only state that is stored."""

    def metrics(self, state: State, outcome: Outcome) -> Metrics:
        """Figures that prove that the method acted; published as `sampler/<name>`. `state` is before `learn`."""
        return {}


class Allocator(Component, ABC):
    """How many rollouts each.

    Laws: non-negative integers, in order of positions, whose sum is exactly the budget, and none above a million;
    figures are finite numbers. A run holds every allocator to all but the sum.
    """

    @abstractmethod
    def allocate(self, proposal: Proposal, state: State, rng: np.random.Generator) -> NDArray[np.int64]:
        """Return rollouts per position; `state`: the facts so far (`Statistics` by name) and the sampler's beliefs."""

    def again(self, attempts: NDArray[np.int64], wins: NDArray[np.int64], number: int) -> NDArray[np.int64]:
        """Return more draws of a wave's observations after round `number` (1: `allocate`'s). Law: all 0 in the end."""
        return np.zeros(len(attempts), np.int64)

    @property
    def apart(self) -> bool:
        """Tell whether `again` looks at each observation by itself, and who gets nothing gets nothing later (law)."""
        return type(self).again is Allocator.again

    def metrics(self, outcome: Outcome) -> Metrics:
        """Figures that prove that the method acted; published as `allocator/<name>`."""
        return {}


class Selector(Component, ABC):
    """Chooses which rationales to learn from, and with what weight.

    Laws: the output is a sub-sequence of the input (weights change where the class says so); weights are finite, and
    below 0 for wrong rationales only; idempotent where the class says so. A run holds every selector to the first two.
    """

    idempotent: ClassVar[bool] = True
    """Whether selecting from what was selected changes nothing."""
    scored: ClassVar[bool] = False
    """Whether it looks at the candidates' scores, so that a scorer must be configured."""
    weighs: ClassVar[bool] = False
    """Whether it gives right rationales different weights, which the trainer must heed."""

    @abstractmethod
    def select(self, candidates: Sequence[Candidate], context: Selection, rng: np.random.Generator) -> list[Candidate]:
        """Return the kept candidates, in their order."""
