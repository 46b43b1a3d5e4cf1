"""B-STaR: sample where exploration and exploitation balance (arXiv 2412.17256)."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from pydantic import Field

from star_loop.config.component import MOST_DRAWS, Component
from star_loop.records import Rollout

Temperature = Annotated[float, Field(ge=0)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """The result of a search for one iteration."""

    temperature: float
    threshold: float | None
    """Rewards above this are selected; None: what is correct is."""
    balance: float
    """Its mean balance score on the pilots, in [0, 1]."""


class Balance(Component):
    """Before an iteration, the temperature (and the reward threshold) with the greatest mean balance score on pilots.

    bs_i = min(n'_i / n*, 1) · n'_i / n_i, where n_i responses to question i are selected and n'_i of them are correct
    and distinct. Without thresholds, what is correct is selected, as AdaSTaR's baseline does it. The authors' code
    hard-codes the denominator 8.
    """

    temperatures: tuple[Temperature, ...] = Field((0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1), min_length=1)
    """What is tried."""
    thresholds: tuple[float, ...] = ()
    """Thresholds of the reward, for verifiers that grade steps; the paper searches -1.0, -0.9, …, 1.0. (): none."""
    questions: int = Field(600, ge=1)
    """Training observations that the pilots ask, at each temperature."""
    rollouts: int = Field(5, ge=1, le=MOST_DRAWS)
    """Draws of each."""
    wanted: float = Field(6.0, gt=0)
    """n*: responses that one question should bring, ⌈wanted in all / questions⌉ in the paper."""

    def settle(self, pilots: Mapping[float, Sequence[Rollout]]) -> tuple[Setting, dict[float, float]]:
        """Return the best setting, and the best mean balance score of each temperature; of equals, the first."""
        thresholds: Sequence[float | None] = self.thresholds or (None,)
        settings = [
            Setting(temperature=t, threshold=threshold, balance=balance_score(rollouts, threshold, self.wanted))
            for t, rollouts in pilots.items()
            for threshold in thresholds
        ]
        best = {t: max(s.balance for s in settings if s.temperature == t) for t in pilots}
        return max(settings, key=lambda setting: setting.balance), best


def reward(rollout: Rollout) -> float:
    """1 if correct, plus the share of right steps mapped to [-1, 1] where steps are graded (the paper: a PRM's)."""
    return float(rollout.correct) + (2 * rollout.score - 1 if rollout.score is not None else 0.0)


def balance_score(rollouts: Sequence[Rollout], threshold: float | None, wanted: float) -> float:
    """Return the mean of bs_i over the questions asked; a question of which nothing is selected counts as 0."""
    questions: dict[int, list[Rollout]] = defaultdict(list)
    for rollout in rollouts:
        chosen = rollout.correct if threshold is None else reward(rollout) > threshold
        questions[rollout.position] += [rollout] if chosen else []
    return float(np.mean([_balance(selected, wanted) for selected in questions.values()])) if questions else math.nan


def _balance(selected: Sequence[Rollout], wanted: float) -> float:
    distinct = len({rollout.wording for rollout in selected if rollout.correct})
    return min(distinct / wanted, 1.0) * distinct / len(selected) if selected else 0.0
