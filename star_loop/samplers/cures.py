"""CurES: curriculum learning with efficient sampling (arXiv 2510.01037), its choice of prompts.

Which prompts: ρ*(x) ∝ exp(√(p(1-p)) / τ), because a trust-region step on x changes the loss by at most √(2δ p(1-p))
(equations 11, 13 and 14). How many rollouts of each is `star_loop.allocators.neyman`.
"""

from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from star_loop.config.component import MOST_DRAWS
from star_loop.protocols import Sampler
from star_loop.records import Columns, Metrics, Outcome, Proposal, State
from star_loop.samplers.order import ascending, following

ENERGIES = ("right_energy", "wrong_energy", "energy_gap", "right_norm", "wrong_norm")
LEVELS = 2**14
"""Distinct values of √(p(1-p)), which lies in [0, 1/2], that the search for τ tells apart."""
COLDEST, HOTTEST = 1e-3, 1e3
"""Bounds of that search: almost the argmax, and almost uniform."""


class Cures(Sampler):
    """Draw observations without replacement in proportion to ρ*, from a Beta posterior of each success rate.

    The posterior mean of p stands for p (equation 23). The paper splits the data into T disjoint subsets, draws N′
    pilots of a whole subset, begins its counts with them and adds those of M steps: `subsets`, `pilot_rollouts` and
    `steps` of `sampler=cures_pilots`. By default there are no pilots: the same observations come back, old counts fade
    (a form known from MoPPS, arXiv 2507.04632; `forget=0` is a reset), and unseen observations have p = 1/2 and come
    first. With `preparation=pilots`, N′ rollouts of all of them by the base model come first, once. The paper draws
    with replacement; a pass of the loop visits an observation once, so the draw is the Gumbel form of drawing without
    replacement, as the authors' code draws too.
    """

    tau: Annotated[float, Field(gt=0)] | Literal["released"] | None = None
    """Temperature τ, which the paper does not state; None: found from `effective`. `released`: 100·(wins + 1) of each
    observation, as the authors' code has it, with which ρ* is practically uniform."""
    effective: float = Field(0.5, gt=0, lt=1)
    """Target of exp(H(ρ*)) / n, the effective share of the observations."""
    prior: tuple[float, float] = (1.0, 1.0)
    """α_0 and β_0 of the Beta prior. (0, 0): p is the share of wins itself, as GVM takes it, and 1/2 before any."""
    forget: float = Field(0.7, ge=0, le=1)
    """λ: what an iteration leaves of the counts, of every observation. 0: only the last counts; 1: all counts."""

    subsets: int = Field(1, ge=1)
    """T, disjoint subsets of the observations at random; an iteration draws from one, in turn (the paper: 15)."""
    steps: int = Field(1, ge=1)
    """M, iterations in a row that draw from a subset (the paper: 10)."""
    pilot_rollouts: int = Field(0, ge=0, le=MOST_DRAWS)
    """N′, draws of each observation of a subset by the current model before its M iterations: the counts begin again
    with these alone, and nothing is trained on them (the paper: 4). 0: none."""
    energies: bool = False
    """Remember how large the gradients of right and wrong rationales were, for `allocator.rule=gradient` and `gvm`."""

    def init(self, columns: Columns, rng: np.random.Generator) -> State:
        """Return `alpha` and `beta` of each observation: the prior, and the counts of the pilots where there are any.

        With `energies`, the latest of each kind; 0: unknown. `turn` counts iterations; with `subsets`, that of each.
        """
        n = len(columns["length"])
        beliefs = dict(zip(("alpha", "beta"), self.prior, strict=True))
        if self.energies:
            beliefs |= dict.fromkeys(ENERGIES, 0.0)
        state: dict[str, NDArray[Any]] = {name: np.full(n, value, np.float32) for name, value in beliefs.items()}
        if "pilot_wins" in columns:
            wins, attempts = (np.asarray(columns[f"pilot_{name}"], np.float32) for name in ("wins", "attempts"))
            state |= {"alpha": state["alpha"] + wins, "beta": state["beta"] + attempts - wins}
        state["turn"] = np.zeros(1, np.int32)
        if self.subsets > 1:
            state["subset"] = rng.permutation(n).astype(np.int32) % min(self.subsets, n)  # others would be empty
        return state

    def pilots(self, state: State) -> NDArray[np.int64] | None:
        """Return N′ of each observation of the subset, before the first of its M iterations."""
        if not self.pilot_rollouts or int(state["turn"][0]) % self.steps:
            return None
        return self._open(state).astype(np.int64) * self.pilot_rollouts

    def piloted(self, state: State, outcome: Outcome) -> State:
        """Return the counts of the pilots, after the prior: the paper's cold start and reset."""
        told = dict(state)
        for name, prior, count in zip(
            ("alpha", "beta"), self.prior, (outcome.wins, outcome.attempts - outcome.wins), strict=True
        ):
            told[name] = np.array(state[name], np.float32)
            told[name][outcome.positions] = prior + count
        return told | {name: _latest(name, state, outcome) for name in ENERGIES if self.energies}

    def propose(self, state: State, n: int, rng: np.random.Generator) -> tuple[Proposal, State]:
        """Move a cursor over one draw of all observations: the largest √(p(1-p))/τ + Gumbel noise first."""
        if "keys" not in state:
            noise = rng.gumbel(size=len(state["alpha"]))
            scores = deviation(success(state))
            noise += scores / self._temperature(state)
            keys = np.negative(noise, out=noise)
            if "subset" in state:
                keys[~self._open(state)] = np.inf
            state = {**state, **ascending(keys)}
        positions, state = following(state, n)
        if "subset" in state:
            positions = positions[self._open(state)[positions]]
        return Proposal(positions=positions), state

    def learn(self, state: State, outcome: Outcome) -> State:
        """Update α ← λα + (1-λ)α_0 + correct, β ← λβ + (1-λ)β_0 + wrong; hinted rollouts say nothing of p."""
        counts = {"alpha": outcome.wins, "beta": outcome.attempts - outcome.wins}
        learned: dict[str, NDArray[np.generic]] = {}
        for (name, count), prior in zip(counts.items(), self.prior, strict=True):
            faded = np.float32(self.forget) * np.asarray(state[name], np.float32) + np.float32(
                (1 - self.forget) * prior
            )
            faded[outcome.positions] += count.astype(np.float32)
            learned[name] = faded
        learned["turn"] = np.asarray(state["turn"], np.int32) + 1
        if "subset" in state:
            learned["subset"] = state["subset"]
        return learned | {name: _latest(name, state, outcome) for name in ENERGIES if self.energies}

    def metrics(self, state: State, outcome: Outcome) -> Metrics:
        """Return τ, the effective share that it gives, and what is believed of all and of the visited observations."""
        believed, asked = success(state), self._asked(state)
        visited, p = deviation(believed[outcome.positions]), believed[asked]
        scores = deviation(p)
        tau = np.broadcast_to(self._temperature(state), believed.shape)[asked]
        return {
            "tau": float(tau.mean()),
            "effective": effective_share(scores, float(tau.mean())),
            "weight_ratio": float(np.exp(min(np.ptp(scores / tau), 50.0))),
            "success": float(p.mean()),
            "deviation": float(scores.mean()),
            "deviation_visited": float(visited.mean()) if len(visited) else 0.0,
            **({"subset": float(self._whose(state))} if "subset" in state else {}),
        }

    def _open(self, state: State) -> NDArray[np.bool_]:
        """Tell of each observation whether it is in the subset whose turn it is."""
        if "subset" not in state:
            return np.ones(len(state["alpha"]), np.bool_)
        return np.asarray(state["subset"] == self._whose(state))

    def _whose(self, state: State) -> int:
        return int(state["turn"][0]) // self.steps % self.subsets

    def _asked(self, state: State) -> Any:
        """Return what picks these out of a column; all of them without a copy. Where none are, all."""
        if "subset" not in state or not (open_ := self._open(state)).any():
            return slice(None)
        return open_

    def _temperature(self, state: State) -> float | NDArray[np.float32]:
        if self.tau == "released":
            wins = np.asarray(state["alpha"], np.float32) - np.float32(self.prior[0])
            return 100 * (wins + 1)
        return self.tau or temperature(deviation(success(state)[self._asked(state)]), self.effective)


def _latest(name: str, state: State, outcome: Outcome) -> NDArray[np.float32]:
    latest, found = np.array(state[name], np.float32), outcome.gradients.get(name)
    if found is not None:
        seen = np.isfinite(found)
        latest[outcome.positions[seen]] = found[seen]
    elif name.endswith("energy"):
        raise ValueError(
            "sampler.energies needs scored rationales, right and wrong: add scorer=student scorer.wrong=true"
        )
    return latest


def success(state: State) -> NDArray[np.float32]:
    """Return the posterior mean of each success rate, α / (α + β); 1/2 where both are 0."""
    right, wrong = (np.asarray(state[name], np.float32) for name in ("alpha", "beta"))
    known = right + wrong
    p: NDArray[np.float32] = np.divide(right, known, out=np.full_like(known, 0.5), where=known > 0)
    return p


def deviation(p: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return √(p(1-p)), the standard deviation of one verdict (equation 11 without its constant)."""
    root: NDArray[np.float32] = np.sqrt(p * (1 - p))
    return root


def effective_share(scores: NDArray[np.float32], tau: float) -> float:
    """Return exp(H(ρ)) / n of ρ ∝ exp(scores / τ): 1 if uniform, 1/n if all mass lies on one observation."""
    return _effective_share(*_histogram(scores), tau)


def temperature(scores: NDArray[np.float32], effective: float) -> float:
    """The τ at which `effective_share` is `effective`, by bisection of log τ; the nearest bound where there is none.

    The share grows with τ. Scores in [0, 1/2] are told apart in steps of 1/32768, so the cost does not grow with the
    number of bisections times n.
    """
    values, counts = _histogram(scores)
    low, high = np.log(COLDEST), np.log(HOTTEST)
    for _ in range(50):
        middle = (low + high) / 2
        if _effective_share(values, counts, float(np.exp(middle))) < effective:
            low = middle
        else:
            high = middle
    return float(np.exp(high))


def _histogram(scores: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    counts = np.bincount(np.rint(scores * (2 * LEVELS)).astype(np.int64), minlength=LEVELS + 1)
    present = np.flatnonzero(counts)
    return present / (2 * LEVELS), counts[present]


def _effective_share(values: NDArray[np.float64], counts: NDArray[np.int64], tau: float) -> float:
    logits = (values - values.max()) / tau
    mass = counts * np.exp(logits)
    total = mass.sum()
    entropy = np.log(total) - (mass * logits).sum() / total
    return float(np.exp(entropy) / counts.sum())
