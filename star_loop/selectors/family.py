"""The selections of the STaR family. Each is idempotent and keeps the candidates' order."""

from collections.abc import Sequence

import numpy as np
from pydantic import Field

from star_loop.protocols import Selection, Selector
from star_loop.records import Candidate
from star_loop.searches.balance import reward


class Correct(Selector):
    """Rejection filtering: only rationales that reach the gold answer (STaR, arXiv 2203.14465, Algorithm 1)."""

    def select(self, candidates: Sequence[Candidate], context: Selection, rng: np.random.Generator) -> list[Candidate]:
        """Drop what is wrong."""
        return [c for c in candidates if c.rollout.correct]


class Cap(Selector):
    """The first `limit` rationales of an observation (ReST-EM, arXiv 2312.06585, section 4: 10 of 32)."""

    limit: int = Field(10, ge=1)
    """Rationales of an observation."""

    def select(self, candidates: Sequence[Candidate], context: Selection, rng: np.random.Generator) -> list[Candidate]:
        """Drop the surplus of each observation."""
        seen: dict[int, int] = {}
        kept = []
        for candidate in candidates:
            position = candidate.rollout.position
            seen[position] = seen.get(position, 0) + 1
            if seen[position] <= self.limit:
                kept.append(candidate)
        return kept


class Deduplicate(Selector):
    """One of each distinct rationale of an observation; texts that differ only in white space are the same."""

    def select(self, candidates: Sequence[Candidate], context: Selection, rng: np.random.Generator) -> list[Candidate]:
        """Keep the first of each."""
        first = {(c.rollout.position, c.rollout.wording): c for c in reversed(candidates)}
        kept = {id(c) for c in first.values()}
        return [c for c in candidates if id(c) in kept]


class Rewarded(Selector):
    """Only what is rewarded above the threshold that B-STaR's search has found (arXiv 2412.17256)."""

    def select(self, candidates: Sequence[Candidate], context: Selection, rng: np.random.Generator) -> list[Candidate]:
        """All of them where no threshold was searched for."""
        if context.threshold is None:
            return list(candidates)
        return [c for c in candidates if reward(c.rollout) > context.threshold]


class Subset(Selector):
    """A random subset of β_t rationales: what STaR trains on after sampling everything (AdaSTaR, section 4.1)."""

    size: int | None = Field(None, ge=1)
    """None: β_t of the schedule."""

    def select(self, candidates: Sequence[Candidate], context: Selection, rng: np.random.Generator) -> list[Candidate]:
        """All of them where there are no more than β_t."""
        size = self.size or context.beta
        if len(candidates) <= size:
            return list(candidates)
        chosen = np.sort(rng.choice(len(candidates), size=size, replace=False))
        return [candidates[k] for k in chosen]
