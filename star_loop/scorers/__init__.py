"""What a model thinks of a rationale that it does not have to generate. Not here: who chooses by it (selectors)."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

from star_loop.config.component import Component
from star_loop.models import Model
from star_loop.protocols import Engine, Progress
from star_loop.records import Rollout, Score


class Scorer(Component, ABC):
    """The current student's opinion of the rationales that it could learn from."""

    passes: ClassVar[int] = 1
    """What a rationale costs, in forward passes."""
    asks_engine: ClassVar[bool] = False
    """Whether the live engine is asked, which then must be one that can tell."""

    diagnose: bool = False
    """Score them again after the round, to see whether what was scored high was learned faster."""

    wrong: bool = False
    """Score incorrect rationales too, for what compares the gradients of right and wrong ones (CurES, equation 21)."""

    @abstractmethod
    def score(
        self,
        rollouts: Sequence[Rollout],
        prompts: Sequence[str],
        model: Model,
        *,
        engine: Engine | None = None,
        progress: Progress | None = None,
    ) -> list[Score]:
        """Scores of the rollouts' texts after these prompts, in order; what cannot be scored is left out.

        `engine` is the generator's: it is asked, or gives an accelerator's memory back before a model is loaded.
        """
