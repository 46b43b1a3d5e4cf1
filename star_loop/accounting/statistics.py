"""The facts: what happened to every observation, as numpy columns. What a sampler *believes* is its own state."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from star_loop.records import Outcome, Positions, Rollout, Try


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistics:
    """Counts over the whole run, one entry per training observation; rollouts past the quota are not in them."""

    attempts: NDArray[np.int32]
    """Un-hinted rollouts."""
    wins: NDArray[np.int32]
    hinted_attempts: NDArray[np.int32]
    hinted_wins: NDArray[np.int32]
    last_sampled: NDArray[np.int32]
    """Iteration of the latest visit; 0: never."""

    @classmethod
    def empty(cls, n: int) -> Self:
        """Return the facts about `n` observations to which nothing has happened yet."""
        return cls(**{f.name: np.zeros(n, np.int32) for f in fields(cls)})

    def columns(self) -> dict[str, NDArray[np.int32]]:
        """Return the facts by name."""
        return {f.name: getattr(self, f.name) for f in fields(self)}

    def add(self, outcome: Outcome) -> Self:
        """Return these facts and an iteration's outcome. Positions within an outcome are distinct."""
        counted = {}
        for name in ("attempts", "wins", "hinted_attempts", "hinted_wins"):
            column = getattr(self, name).copy()
            column[outcome.positions] += getattr(outcome, name).astype(np.int32)
            counted[name] = column
        last = self.last_sampled.copy()
        last[outcome.positions] = outcome.iteration
        return replace(self, last_sampled=last, **counted)


_COUNTS = ("attempts", "wins", "hinted_attempts", "hinted_wins", "first_attempts", "first_wins")
_COLUMNS = ("positions", *_COUNTS)


def tally(iteration: int, positions: Positions, rollouts: Sequence[Rollout]) -> Outcome:
    """Count the rollouts of each visited observation; rollouts of other observations are not counted."""
    place = {int(position): k for k, position in enumerate(positions)}
    counts: dict[str, NDArray[np.int64]] = {name: np.zeros(len(positions), np.int64) for name in _COUNTS}
    for rollout in rollouts:
        if (k := place.get(rollout.position)) is None:
            continue
        kind = "hinted_" if rollout.hinted else ""
        counts[f"{kind}attempts"][k] += 1
        counts[f"{kind}wins"][k] += rollout.correct
        if rollout.attempt == Try.FIRST:
            counts["first_attempts"][k] += 1
            counts["first_wins"][k] += rollout.correct
    return Outcome(
        iteration=iteration, positions=np.asarray(positions, np.int64), metrics={}, gradients={}, **counts
    )  # fmt: skip


def first(outcome: Outcome, m: int) -> Outcome:
    """Return the outcome of the first `m` visits."""
    return replace(outcome, **{name: getattr(outcome, name)[:m] for name in _COLUMNS})


def concatenate(outcomes: Sequence[Outcome]) -> Outcome:
    """Join the waves of one iteration, one after the other; at least one."""
    joined = {name: np.concatenate([getattr(outcome, name) for outcome in outcomes]) for name in _COLUMNS}
    return replace(outcomes[0], **joined)


def accepted(outcome: Outcome, per_observation: int) -> int:
    """Count the correct rationales that count towards a quota: at most `per_observation` of one observation."""
    return int(_counted(outcome, per_observation).sum())


def filling_prefix(outcome: Outcome, quota: int, per_observation: int) -> int | None:
    """Return the length of the shortest prefix of the visited order with `quota` correct rationales; None: not filled.

    At most `per_observation` rationales of one observation count, so m, α and every state depend neither on the batch
    size nor on the number of engines (AdaSTaR, arXiv 2505.16322, Algorithm 1: sampling stops at β_t).
    """
    full = np.flatnonzero(np.cumsum(_counted(outcome, per_observation)) >= quota)
    return int(full[0]) + 1 if full.size else None


def _counted(outcome: Outcome, per_observation: int) -> NDArray[np.int64]:
    counted: NDArray[np.int64] = np.minimum(outcome.wins + outcome.hinted_wins, per_observation)
    return counted
