"""LARK: rationales that the student can learn fast, without leaving the pool (arXiv 2605.30651).

The equations are those of the authors' released code (score_lark.py, select_chi2.py); the derivations are
reconstructions that give the same formulas. Of K candidates of one observation, with mean token cross-entropies L and
Brier scores B of the student:

    ρ_k = B_k / L_k                                    learnability: the relative rate at which L_k falls
    g_k = (L_k / ΣL) (2 ρ_k - Σρ L / ΣL)                LARK score: ∂ρ(q)/∂q_k of the mixture q at uniform q
    q   = argmax ⟨q, g⟩ - τ/2 χ²(q ‖ uniform)          = (g - ν)_+ / (τ K), a projection onto the simplex
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from star_loop.protocols import Selector
from star_loop.records import Candidate, Selection

Floats = NDArray[np.float64]


class Lark(Selector):
    """Weight the rationales of each observation by q; those of weight 0 are dropped.

    Put it after the selectors that keep what is correct and distinct: the score is no sign of correctness. Weights of
    an observation sum to 1. The authors' trainers divide them out again, since they normalise each micro-batch of one
    sequence by its own weight; the trainers here normalise over the whole round.
    """

    idempotent: ClassVar[bool] = False
    scored: ClassVar[bool] = True
    weighs: ClassVar[bool] = True

    budget: int = Field(3, ge=1)
    """B: rationales of an observation that keep a weight."""
    rule: Literal["chi2", "chi2_fixed", "top", "kl"] = "chi2"
    """`chi2`: top B, weighted above the best rejected one, which implies τ. `chi2_fixed`: the projection with `tau`,
    without a budget. The authors' ablations: `top`: 1/B each. `kl`: softmax(g / τ) over all."""
    tau: float = Field(0.5, gt=0)
    """τ of `chi2_fixed` and `kl`."""
    small: Literal["uniform", "shrink", "reference"] = "uniform"
    """`chi2` where there are no more than B candidates. `uniform`: all alike. `shrink`: B = K - 1. `reference`: the
    authors' code, which gives the worst of them practically nothing."""

    def select(self, candidates: Sequence[Candidate], context: Selection, rng: np.random.Generator) -> list[Candidate]:
        """Return candidates with a weight, in their order; one without a score is never kept beside one that has it."""
        groups: dict[int, list[int]] = defaultdict(list)
        for index, candidate in enumerate(candidates):
            groups[candidate.rollout.position].append(index)
        weight = np.zeros(len(candidates))
        for indices in groups.values():
            weight[indices] = self.weights(energies([candidates[index] for index in indices]))
        return [replace(c, weight=float(w)) for c, w in zip(candidates, weight, strict=True) if w > 0]

    def weights(self, g: Floats) -> Floats:
        """Return q of one observation's candidates, in their order; NaN scores get 0, nothing but NaN is uniform."""
        known = np.flatnonzero(np.isfinite(g))
        if not len(known):
            return np.full(len(g), 1 / len(g))
        q = np.zeros(len(g))
        q[known] = self._rule(g[known])
        return q

    def _rule(self, g: Floats) -> Floats:
        if self.rule == "kl":
            p = np.exp((g - g.max()) / self.tau)
            share: Floats = p / p.sum()
            return share
        if self.rule == "chi2_fixed":
            return chi2(g, self.tau)
        if self.rule == "top" or (len(g) <= self.budget and self.small == "uniform"):
            return top(g, self.budget)
        shrunk = len(g) <= self.budget and self.small == "shrink"
        return chi2_top(g, max(len(g) - 1, 1) if shrunk else self.budget)


def energies(candidates: Sequence[Candidate]) -> Floats:
    """Return g of one observation's candidates; NaN of those without a score."""
    missing = float("nan")
    losses, briers = (
        np.array([getattr(c.score, name) if c.score else missing for c in candidates]) for name in ("loss", "brier")
    )
    return lark_scores(losses, briers)


def lark_scores(loss: Floats, brier: Floats) -> Floats:
    """Return g_k = (2 B_k - L_k ΣB/ΣL) / ΣL, over the candidates (K,) that have both; Σ g = ΣB/ΣL.

    NaN where there is no score, or where the student is certain of every candidate (ΣL = 0).
    """
    total = np.nansum(loss)
    if total <= 0:
        return np.full(len(loss), np.nan)
    scores: Floats = (2 * brier - loss * np.nansum(brier) / total) / total
    return scores


def top(g: Floats, budget: int) -> Floats:
    """Return 1/B on the B best (all of them where there are fewer); of equals, the first."""
    q = np.zeros(len(g))
    q[_best(g)[:budget]] = 1 / min(budget, len(g))
    return q


def chi2_top(g: Floats, budget: int) -> Floats:
    """Return q_k = (g_k - g_(B+1)) / (B (mean of the B best - g_(B+1))) on the B best.

    This is `chi2` with the temperature at which candidate B+1 just gets nothing, `implied_temperature`. Where all of
    those are equal, 1/B each. Where there is no candidate B+1, the authors' code puts it 1e-8 below the worst.
    """
    q, best = np.zeros(len(g)), _best(g)[:budget]
    above = g[best] - _threshold(g, budget)
    q[best] = above / above.sum() if above.sum() > 0 else 1 / len(best)
    return q


def implied_temperature(g: Floats, budget: int) -> float:
    """Return τ_B = B (mean of the B best - g_(B+1)) / K."""
    return float((g[_best(g)[:budget]] - _threshold(g, budget)).sum() / len(g))


def chi2(g: Floats, tau: float) -> Floats:
    """Return (g - ν)_+ / (τ K) with the ν that makes it sum to 1: the projection of g/(τK) + 1/K onto the simplex."""
    scaled = g / (tau * len(g))
    descending = np.sort(scaled)[::-1]
    thresholds = (np.cumsum(descending) - 1) / np.arange(1, len(g) + 1)
    nu = thresholds[np.flatnonzero(descending > thresholds)[-1]]
    projection: Floats = np.maximum(scaled - nu, 0.0)
    return projection


def _best(g: Floats) -> NDArray[np.int64]:
    order: NDArray[np.int64] = np.argsort(-g, kind="stable")
    return order


def _threshold(g: Floats, budget: int) -> float:
    return float(np.sort(g)[::-1][budget]) if len(g) > budget else float(g.min()) - 1e-8
