"""Orders that are tried in the real loop and belong to no release."""

import numpy as np
from numpy.typing import NDArray

from star_loop.protocols import Sampler
from star_loop.records import Columns, Metrics, Outcome, Proposal, State
from star_loop.samplers.order import following, unread

LONGEST = 30
"""Doublings of a pause: longer than any run."""


class Spaced(Sampler):
    """Hardest first, which asks what it fails at again after 1, 2, 4, 8, … iterations, and not at once.

    As with a learner's flash cards, a pause doubles with each failed visit in a row and ends with the first that is
    solved, so that what is out of reach is asked seldom and never given up. What pauses comes after all else.
    """

    def init(self, columns: Columns, rng: np.random.Generator) -> State:
        """Return `last` (iteration, 0: never), `win` and `misses` in a row of each observation, and the `turn`."""
        n = len(columns["length"])
        return {
            "last": np.zeros(n, np.int32), "win": np.zeros(n, np.float32), "misses": np.zeros(n, np.int32),
            "turn": np.zeros(1, np.int32),
        }  # fmt: skip

    def propose(self, state: State, n: int, rng: np.random.Generator) -> tuple[Proposal, State]:
        """Move a cursor over the order, which is fixed at the iteration's first call."""
        if "sorted" not in state:
            tie = rng.random(len(state["last"]))
            state = {**state, **unread(), "pauses": self._pauses(state), "tie": tie}
        positions, state = following(state, n, ("pauses", "win", "last", "tie"))
        return Proposal(positions=positions), state

    def learn(self, state: State, outcome: Outcome) -> State:
        """Remember every visit."""
        last, misses = (np.array(state[name], np.int32) for name in ("last", "misses"))
        win, visited = np.array(state["win"], np.float32), outcome.positions
        last[visited] = outcome.iteration
        win[visited] = outcome.wins / np.maximum(outcome.attempts, 1)
        misses[visited] = np.where(outcome.wins > 0, 0, misses[visited] + 1)
        return {"last": last, "win": win, "misses": misses, "turn": np.array([outcome.iteration], np.int32)}

    def metrics(self, state: State, outcome: Outcome) -> Metrics:
        """Return the share of all observations that pause."""
        return {"pauses": float(self._pauses(state).mean())}

    @staticmethod
    def _pauses(state: State) -> NDArray[np.bool_]:
        misses = np.minimum(np.asarray(state["misses"], np.int64), LONGEST)
        due = np.asarray(state["last"], np.int64) + np.where(misses > 0, 1 << np.maximum(misses - 1, 0), 0)
        pauses: NDArray[np.bool_] = due > int(state["turn"][0]) + 1
        return pauses
