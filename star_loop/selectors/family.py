"""The selections of the STaR family. Each is idempotent and keeps the candidates' order."""

from collections import defaultdict
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from pydantic import Field

from star_loop.protocols import Selector
from star_loop.records import Candidate, Selection
from star_loop.searches.balance import reward


class Correct(Selector):
    """Rejection filtering: only rationales that reach the gold answer (STaR, arXiv 2203.14465, Algorithm 1)."""

    def select(self, candidates: Sequence[Candidate], context: Selection, rng: np.random.Generator) -> list[Candidate]:
        """Drop what is wrong."""
        return [c for c in candidates if c.rollout.correct]


class Faithful(Selector):
    """Only correct rationales whose every step is right; where the verifier does not grade steps, all correct ones."""

    def select(self, candidates: Sequence[Candidate], context: Selection, rng: np.random.Generator) -> list[Candidate]:
        """Drop what reached the gold answer by a wrong step, or not at all."""
        return [c for c in candidates if c.rollout.correct and (c.rollout.score is None or c.rollout.faithful)]


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
    """Everything that is rewarded above the threshold of B-STaR's search, right or wrong (arXiv 2412.17256)."""

    def select(self, candidates: Sequence[Candidate], context: Selection, rng: np.random.Generator) -> list[Candidate]:
        """Keep what is correct, where no threshold was searched for."""
        if context.threshold is None:
            return Correct().select(candidates, context, rng)
        return [c for c in candidates if reward(c.rollout) > context.threshold]


class Best(Selector):
    """The best rewarded rationales of each observation (B-STaR's released code); among equals, those drawn first."""

    idempotent: ClassVar[bool] = False  # without a limit, which depends on what is there

    limit: int | None = Field(None, ge=1)
    """Rationales of an observation; None: the least number that leaves β_t distinct ones, or all of them."""

    def select(self, candidates: Sequence[Candidate], context: Selection, rng: np.random.Generator) -> list[Candidate]:
        """Drop the others; the candidates' order stays."""
        groups: dict[int, list[Candidate]] = defaultdict(list)
        for candidate in sorted(candidates, key=lambda c: -reward(c.rollout)):
            groups[candidate.rollout.position].append(candidate)
        limit = self.limit or _least_limit(list(groups.values()), context.beta)
        kept = {id(c) for group in groups.values() for c in group[:limit]}
        return [candidate for candidate in candidates if id(candidate) in kept]


def _least_limit(groups: Sequence[Sequence[Candidate]], wanted: int) -> int:
    limits = range(1, max(map(len, groups), default=1) + 1)
    distinct = (sum(len({c.rollout.wording for c in group[:limit]}) for group in groups) for limit in limits)
    return next((limit for limit, found in zip(limits, distinct, strict=True) if found >= wanted), limits[-1])


class Subset(Selector):
    """A random subset of β_t rationales: what STaR trains on after sampling everything (AdaSTaR, section 4.1)."""

    size: int | None = Field(None, ge=1)
    """None: β_t of the schedule."""

    def select(self, candidates: Sequence[Candidate], context: Selection, rng: np.random.Generator) -> list[Candidate]:
        """Select all of them where there are no more than β_t."""
        size = self.size or context.beta
        if len(candidates) <= size:
            return list(candidates)
        chosen = np.sort(rng.choice(len(candidates), size=size, replace=False))
        return [candidates[k] for k in chosen]
