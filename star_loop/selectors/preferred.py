"""One preference among the rationales of an observation: what LARK is compared with, and RSR."""

from abc import abstractmethod
from collections import defaultdict
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from pydantic import Field

from star_loop.protocols import Selector
from star_loop.records import Candidate, Selection


class Preferred(Selector):
    """The `limit` rationales of each observation that come first; among equals, those drawn first."""

    limit: int = Field(1, ge=1)
    """Rationales of an observation."""

    @abstractmethod
    def key(self, candidate: Candidate) -> float:
        """Ascending."""

    def select(self, candidates: Sequence[Candidate], context: Selection, rng: np.random.Generator) -> list[Candidate]:
        """Drop the others; the candidates' order stays."""
        groups: dict[int, list[Candidate]] = defaultdict(list)
        for candidate in candidates:
            groups[candidate.rollout.position].append(candidate)
        kept = {id(c) for group in groups.values() for c in sorted(group, key=self.key)[: self.limit]}
        return [candidate for candidate in candidates if id(candidate) in kept]


class Shortest(Preferred):
    """Prefers the shortest text, in characters."""

    def key(self, candidate: Candidate) -> float:
        """Return the length; white space that only differs does not count."""
        return float(len(candidate.rollout.wording))


class Confident(Preferred):
    """Prefers the lowest mean cross-entropy of the student; a rationale without a score comes last."""

    scored: ClassVar[bool] = True

    def key(self, candidate: Candidate) -> float:
        """Return the cross-entropy, in nats per token."""
        return candidate.score.loss if candidate.score else float("inf")


class Familiar(Preferred):
    """Prefers the lowest rank-surprisal ratio Σ rank / Σ -log π of the tokens (RSR, arXiv 2601.14249).

    A rationale is worth most whose tokens are improbable and still among the student's first choices. A rationale
    without a score comes last.
    """

    scored: ClassVar[bool] = True

    def key(self, candidate: Candidate) -> float:
        """Return the rank per nat.

        Raises:
            ValueError: the scorer knows no ranks.
        """
        score = candidate.score
        if score is None:
            return float("inf")
        if score.rank is None:
            raise ValueError(
                "selectors.familiar compares the ranks of tokens, which this scorer does not tell: take scorer=student"
            )
        return score.rank / max(score.loss, 1e-12)
