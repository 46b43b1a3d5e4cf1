"""Wrong rationales kept on purpose, for the losses that use them (`trainer.loss`)."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import ClassVar

import numpy as np
from pydantic import Field

from star_loop.protocols import Selector
from star_loop.records import Candidate, Selection


class Contrast(Selector):
    """Right rationales, and beside them wrong ones, whose weight is negative: what it should write less.

    Each side has selectors of its own. A wrong rationale counts where the model was given no hint and came to an end
    by itself. Which rationales were right, and so every statistic of the loop, is settled before.
    """

    idempotent: ClassVar[bool] = False  # a weight would be multiplied again

    right: Mapping[str, Selector]
    """What chooses among the right ones, in order."""
    wrong: Mapping[str, Selector] = {}
    """What chooses among the wrong ones, in order; {}: all stay."""
    weight: float = Field(1.0, gt=0)
    """Of a wrong rationale, before its sign."""
    paired: bool = False
    """Keep only the observations that have some of both."""

    def select(self, candidates: Sequence[Candidate], context: Selection, rng: np.random.Generator) -> list[Candidate]:
        """Return both sides in the candidates' order."""
        right = [c for c in candidates if c.rollout.correct]
        for selector in self.right.values():
            right = selector.select(right, context, rng)
        wrong = [c for c in candidates if not c.rollout.correct and not c.rollout.hinted and c.rollout.finish == "stop"]
        for selector in self.wrong.values():
            wrong = selector.select(wrong, context, rng)
        kept = [*right, *(replace(c, weight=-self.weight * abs(c.weight)) for c in wrong)]
        if self.paired:
            both = {c.rollout.position for c in right} & {c.rollout.position for c in wrong}
            kept = [c for c in kept if c.rollout.position in both]
        place = {id(c.rollout): k for k, c in enumerate(candidates)}
        return sorted(kept, key=lambda c: place[id(c.rollout)])

    @property
    def parts(self) -> dict[str, Selector]:
        """The selectors of both sides, by name."""
        return {f"{side}.{name}": part for side in ("right", "wrong") for name, part in getattr(self, side).items()}
