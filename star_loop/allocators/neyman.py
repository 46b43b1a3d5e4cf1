"""How many rollouts: Neyman allocation (CurES, arXiv 2510.01037, equations 18 to 21) and GVM (arXiv 2505.02391)."""

from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from star_loop.config.component import MOST_DRAWS
from star_loop.protocols import Allocator
from star_loop.records import Metrics, Outcome, Proposal, State
from star_loop.samplers.grouped import column

Floats = NDArray[np.float64]


class Neyman(Allocator):
    """n_i = N σ_i / Σ_j σ_j within a wave (CurES, equation 20), between `least` and `most`, exactly N in all.

    The wave is the paper's batch, and N is `rollouts` times its observations. σ_i rests on the success rate p_i: the
    posterior mean of a sampler that keeps one (`alpha`, `beta`), else that of all un-hinted rollouts of the run under
    a Beta(1, 1) prior.
    """

    rollouts: int = Field(4, ge=1, le=MOST_DRAWS)
    """Mean number of draws of an observation."""
    rule: Literal["deviation", "gradient", "positive", "gvm"] = "deviation"
    """`deviation`: σ = √(p(1-p)), which is equation 21 where right and wrong rationales have gradients of one norm and
    of one mean. The others take what `sampler.energies` remembers: by the logits with `scorer=student` (a proxy, and
    without the last term, which norms do not tell), by the parameters with `scorer=gradient`.
    `gradient`: equation 21. `positive`: σ² = p E_right‖∇ log π‖² - p² ‖E_right ∇ log π‖², the same for a gradient of
    right rationales only (a reconstruction); its last norm is the gap times (1-p)², as ∇ log π has mean 0.
    `gvm`: G/√(p + a/p^(b-1)) with G = E_right‖∇ log π‖, and nothing where p = 0 or G = 0, as in GVM's released code. A
    mean of counts is 0 only without a prior (`sampler.prior=[0,0]`); of the facts alone, p is the share of wins. The
    last two take norms of 1 where the sampler remembers none."""
    gap: Literal["vectors", "norms"] = "vectors"
    """The last term of equation 21. `vectors`: the gap between the mean gradients; `norms`: between their mean norms,
    as CurES's released code has it."""
    least: int = Field(1, ge=0)
    """Draws that every observation gets; the papers have no such floor (0)."""
    most: float | None = Field(4.0, ge=1)
    """Draws that no observation exceeds, as a multiple of `rollouts`; None: any number, as in the papers."""
    gvm_a: float = Field(1e-3, gt=0)
    """a of the rule `gvm`."""
    gvm_b: float = Field(2.0, ge=1)
    """b of the rule `gvm`."""

    @model_validator(mode="after")
    def _floor_is_affordable(self) -> Self:
        if self.least > self.rollouts:
            raise ValueError(f"least={self.least} draws of each cost more than rollouts={self.rollouts} on average")
        return self

    def allocate(self, proposal: Proposal, state: State, rng: np.random.Generator) -> NDArray[np.int64]:
        """`rollouts` times the number of positions, divided."""
        positions = proposal.positions
        weights = self._gvm(state, positions) if self.rule == "gvm" else self._sigma(state, positions)
        total = self.rollouts * len(weights)
        most = total if self.most is None else int(min(self.most * self.rollouts, total))
        return apportion(weights, total, self.least, most)

    def metrics(self, outcome: Outcome) -> Metrics:
        """Return the spread of n_i, and the share of observations whose draws were neither all right nor all wrong."""
        return spread(outcome)

    def _gvm(self, state: State, positions: NDArray[np.int64]) -> Floats:
        p, norms = success(state, positions, prior=0.0), column(state, "right_norm", positions)
        asked = np.maximum(p, 1e-12)
        drawn: Floats = np.where(p > 0, 1 / np.sqrt(asked + self.gvm_a / asked ** (self.gvm_b - 1)), 0.0)
        return drawn if norms is None else drawn * norms

    def _sigma(self, state: State, positions: NDArray[np.int64]) -> Floats:
        p = success(state, positions)
        right = wrong = np.ones_like(p)
        gap = np.zeros_like(p)
        if self.rule == "gradient" or (
            self.rule != "deviation" and column(state, "right_energy", positions) is not None
        ):
            right, wrong, gap = energies(state, positions)
        if self.gap == "norms":
            gap = norm_gap(state, positions)
        if self.rule == "positive":
            variance = positive_variance(p, right, gap)
        else:
            variance = advantage_variance(p, right, wrong, gap)
        sigma: Floats = np.sqrt(np.maximum(variance, 0.0))  # p and norms of other rollouts need not fit together
        return sigma


def spread(outcome: Outcome) -> Metrics:
    """Tell how many draws observations got, and the share of those whose draws were neither all right nor all wrong."""
    n = outcome.first_attempts
    mixed = (outcome.first_wins > 0) & (outcome.first_wins < n)
    return {
        "least": float(n.min()),
        "most": float(n.max()),
        "mean": float(n.mean()),
        "deviation": float(n.std()),
        "mixed": float(mixed.mean()),
    }


def success(state: State, positions: NDArray[np.int64], prior: float = 1.0) -> Floats:
    """Return the believed success rates of some observations; 1/2 of what nothing is known of.

    The posterior mean of a sampler that keeps `alpha` and `beta`, else of the facts under a Beta(prior, prior).
    """
    right, wrong = (column(state, name, positions) for name in ("alpha", "beta"))
    if right is None or wrong is None:
        wins, attempts = (column(state, name, positions) for name in ("wins", "attempts"))
        wins, attempts = (np.zeros(len(positions)) if count is None else count for count in (wins, attempts))
        right, wrong = wins + prior, attempts - wins + prior
    known = right + wrong
    p: Floats = np.divide(right, known, out=np.full(len(known), 0.5), where=known > 0)
    return p


def energies(state: State, positions: NDArray[np.int64]) -> tuple[Floats, Floats, Floats]:
    """Return the remembered E‖∇ log π‖² of right and wrong rationales of some observations, and their gap.

    An energy that is not known is the mean of those that are, or 1; a gap that is not known is 0.

    Raises:
        ValueError: the sampler remembers none.
    """
    found = [column(state, name, positions) for name in ("right_energy", "wrong_energy", "energy_gap")]
    if found[0] is None or found[1] is None:
        raise ValueError(
            "allocator.rule=gradient needs the gradients' norms: add sampler=cures sampler.energies=true "
            "scorer=student scorer.wrong=true, or take allocator.rule=deviation"
        )
    gap = np.zeros(len(positions)) if found[2] is None else found[2]
    return _filled(found[0]), _filled(found[1]), gap


def norm_gap(state: State, positions: NDArray[np.int64]) -> Floats:
    """Return (E_right‖∇ log π‖ - E_wrong‖∇ log π‖)² of some observations; 0 where either is not known."""
    right, wrong = (column(state, name, positions) for name in ("right_norm", "wrong_norm"))
    if right is None or wrong is None:
        return np.zeros(len(positions))
    known: Floats = np.where((right > 0) & (wrong > 0), (right - wrong) ** 2, 0.0)
    return known


def _filled(side: Floats) -> Floats:
    known = side[side > 0]
    filled: Floats = np.where(side > 0, side, known.mean() if known.size else 1.0)
    return filled


def advantage_variance(p: Floats, right: Floats, wrong: Floats, gap: Floats) -> Floats:
    """Return σ² of CurES's gradient estimate (r - p)·∇log π, equation 21.

    Args:
        p: success rates.
        right: E‖∇log π‖² over correct rationales.
        wrong: the same over incorrect ones.
        gap: ‖E_right ∇log π - E_wrong ∇log π‖².
    """
    return p * (1 - p) ** 2 * right + p**2 * (1 - p) * wrong - (p * (1 - p)) ** 2 * gap


def positive_variance(p: Floats, right: Floats, gap: Floats) -> Floats:
    """Return σ² of r·∇log π, the gradient estimate of what trains on right rationales only; arguments as above."""
    return p * right - (p * (1 - p)) ** 2 * gap


def apportion(weights: Floats, total: int, least: int, most: int) -> NDArray[np.int64]:
    """Whole numbers that sum to `total`, within bounds, as nearly in proportion to the weights as that allows.

    The real-valued shares are clip(λ w, least, most) with the λ that spends the total; what rounding down leaves goes
    to the largest remainders, and among equals to the first (Hamilton's method).

    Raises:
        ValueError: the bounds cannot hold the total.
    """
    n = len(weights)
    if not n * least <= total <= n * most:
        raise ValueError(f"{total} rollouts cannot be shared by {n} observations with {least} to {most} each")
    if not n:
        return np.zeros(0, np.int64)
    scaled = np.maximum(weights / weights.max(), 1e-9) if weights.max() > 0 else np.ones(n)
    low, high = 0.0, most / scaled.min()
    for _ in range(120):
        middle = (low + high) / 2
        low, high = (middle, high) if np.clip(middle * scaled, least, most).sum() < total else (low, middle)
    shares = np.clip(high * scaled, least, most)
    whole: NDArray[np.int64] = np.floor(shares + 1e-9).astype(np.int64)
    largest = np.argsort(whole - shares, kind="stable")
    whole[largest[: total - whole.sum()]] += 1
    return whole
