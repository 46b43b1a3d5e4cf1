"""AdaSTaR: adaptive data sampling for self-taught reasoners (arXiv 2505.16322, Algorithm 1).

Three separable pieces: the early stop at β_t is the schedule's quota; the priority order (AdaD) and the curriculum
commit (AdaC) are here. The paper keeps a heap and pops what it commits; a sort of the same keys, only as far as it is
read, gives the same order.
"""

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from star_loop.protocols import BootstrapError, Sampler
from star_loop.records import Columns, Metrics, Outcome, Proposal, State
from star_loop.samplers.order import following, unread

Alpha = Literal["accepted", "cold", "train_token_accuracy"]
KEYS = {"last_then_win": ("last", "win", "tie"), "last": ("last", "tie"), "win_then_last": ("win", "last", "tie")}
"""The entries of the state that each priority sorts by, the most important first."""


class AdaStar(Sampler):
    """Visit what was sampled longest ago first, and among those the hardest; commit only ⌊m·α^p⌋ of the visits.

    With a weak model (small α) only the hardest prefix of the visited order is marked as sampled; the easier rest keeps
    its old key and comes back first in the next iteration, which makes the order a curriculum.
    """

    power: float = Field(2.0, ge=0.0)
    """p in ⌊m·α^p⌋. 0 commits every visit: AdaD, the paper's ablation without curriculum."""
    priority: Literal["last_then_win", "last", "win_then_last"] = "last_then_win"
    """The sort key, ascending. `last`: the ablation without win rate; `win_then_last`: priority flipped."""
    alpha: Alpha = "accepted"
    """α, "training accuracy" in the paper. `accepted`: observations with a correct rationale / m, as the authors' code
    computes it, hinted ones included. `cold`: first-try success rate. `train_token_accuracy`: teacher-forced accuracy
    during the round, the literal reading of Algorithm 1."""
    win_rate: Literal["reference", "unhinted"] = "reference"
    """`reference`: 1, 0.5, 0 for solved at the first try, at the second try (hinted or not), never, as in the authors'
    code. `unhinted`: share of correct un-hinted attempts, the paper's words. They differ where a second try is hinted
    or there are several first tries."""
    patience: int = Field(3, ge=1)
    """Iterations in a row that commit nothing before the loop gives up."""

    def init(self, columns: Columns, rng: np.random.Generator) -> State:
        """Return `last` (iteration, 0: never) and `win` in [0, 1] per observation; `frozen`: empty commits in a row."""
        n = len(columns["length"])
        return {"last": np.zeros(n, np.int32), "win": np.zeros(n, np.float32), "frozen": np.zeros(1, np.int32)}

    def propose(self, state: State, n: int, rng: np.random.Generator) -> tuple[Proposal, State]:
        """Move a cursor over the order, which is frozen at the iteration's first call (the paper's `peek_next`)."""
        if "sorted" not in state:
            state = {**state, **self._freeze(state, rng)}
        positions, state = following(state, n, KEYS[self.priority])
        return Proposal(positions=positions), state

    def learn(self, state: State, outcome: Outcome) -> State:
        """Learn by AdaC: (iteration, win rate) for the first ⌊m·α^p⌋ visits, once training has succeeded.

        Raises:
            BootstrapError: nothing was committed `patience` iterations in a row.
        """
        committed = outcome.positions[: self._commit(outcome)]
        last, win = state["last"].copy(), state["win"].copy()
        last[committed] = outcome.iteration
        win[committed] = self._win_rates(outcome)[: len(committed)]
        frozen = 0 if len(committed) else int(state["frozen"][0]) + 1
        if frozen >= self.patience:
            raise BootstrapError(
                f"nothing to learn from: the sampler committed no observation {frozen} iterations in a row "
                f"(m = {len(outcome.positions)}, α = {self._alpha(outcome):.3g}). Take easier observations, a stronger "
                "model, more rollouts, or sampler.power=0"
            )
        return {"last": last, "win": win, "frozen": np.array([frozen], np.int32)}

    def metrics(self, state: State, outcome: Outcome) -> Metrics:
        """Return m, α, how many were committed, and of how many observations no visit was yet committed."""
        new = np.count_nonzero(state["last"][outcome.positions[: self._commit(outcome)]] == 0)
        return {
            "m": float(len(outcome.positions)),
            "alpha": self._alpha(outcome),
            "committed": float(self._commit(outcome)),
            "never_committed": float(np.count_nonzero(state["last"] == 0) - new),
            "win_rate": float(self._win_rates(outcome).mean()) if len(outcome.positions) else 0.0,
        }

    def _freeze(self, state: State, rng: np.random.Generator) -> State:
        total = len(state["last"])
        # An iteration that committed nothing would see the very same order again: jitter it.
        if state["frozen"][0]:
            return {**unread(), "sorted": rng.permutation(total)}
        return {**unread(), "tie": rng.random(total)}

    def _alpha(self, outcome: Outcome) -> float:
        if self.alpha == "train_token_accuracy":
            if "train/token_accuracy" not in outcome.metrics:
                raise ValueError(
                    "sampler.alpha=train_token_accuracy needs a trainer that reports token_accuracy, "
                    f"got {sorted(outcome.metrics)}: take trainer=lora or another alpha"
                )
            return float(outcome.metrics["train/token_accuracy"])
        successes = outcome.accepted if self.alpha == "accepted" else outcome.first_wins > 0
        return float(successes.mean()) if len(outcome.positions) else 0.0

    def _commit(self, outcome: Outcome) -> int:
        # m·α² of 25 observations must not become 24.999… in floating point.
        return int(len(outcome.positions) * self._alpha(outcome) ** self.power + 1e-9)

    def _win_rates(self, outcome: Outcome) -> NDArray[np.float32]:
        if self.win_rate == "reference":
            rates = np.where(outcome.first_wins > 0, 1.0, np.where(outcome.accepted, 0.5, 0.0))
        else:
            rates = outcome.wins / np.maximum(outcome.attempts, 1)
        return rates.astype(np.float32)
