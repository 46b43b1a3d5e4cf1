"""Peers (ours): ask what questions of a like record say, without a setting to choose.

One question's few tries say little of it. Those of all questions with the same record say what becomes of such
questions now: if of those that failed three to six times a tenth is solved by now, the others are worth asking; if none
is, the whole kind sinks below what is mastered, until it has not been asked for so long that it is worth a few draws
again. So rare hard questions come back while their kin revive, and hopeless ones do not.
"""

import numpy as np
from numpy.typing import NDArray

from star_loop.protocols import Sampler
from star_loop.records import Columns, Metrics, Outcome, Proposal, State
from star_loop.samplers.uniform import take

KINDS = 32
"""Numbers of tries are told apart up to a factor of 2, and beyond 2^31 not at all."""
FADING = 0.5
"""What an iteration leaves of what kinds are known by."""


class Peers(Sampler):
    """Every second place by p(1-p), p drawn from the Beta posterior of the observation's kind; the others at random.

    The kind of an observation is (⌊log₂(1 + its failures)⌋, ⌊log₂(1 + its wins)⌋), of un-hinted rollouts; what was
    never asked is a kind too. p(1-p) is the chance of a rationale times what it can still teach. The random half fills
    a quota in at most twice the visits of a random order, whatever the other half does, and keeps every kind known.
    """

    def init(self, columns: Columns, rng: np.random.Generator) -> State:
        """Return `attempts` and `wins` per observation, and (kinds, kinds) what became of them: `right` and `wrong`."""
        n = len(columns["length"])
        counts = {name: np.zeros(n, np.int32) for name in ("attempts", "wins")}
        return {**counts, "right": np.zeros((KINDS, KINDS)), "wrong": np.zeros((KINDS, KINDS))}

    def propose(self, state: State, n: int, rng: np.random.Generator) -> tuple[Proposal, State]:
        """Move a cursor over the order, which is drawn at the iteration's first call."""
        if "order" not in state:
            kinds = kind(state["attempts"], state["wins"])
            right, wrong = (1 + np.asarray(state[name], np.float64)[kinds] for name in ("right", "wrong"))
            p = rng.beta(right, wrong)
            chosen = np.argsort(-p * (1 - p), kind="stable")
            order = interleaved(chosen, rng.permutation(len(chosen)))
            state = {**state, "order": order, "cursor": np.zeros(1, np.int64)}
        return take(state, n)

    def learn(self, state: State, outcome: Outcome) -> State:
        """Halve what was known of every kind, and add what became of the visited ones, by the kind that each had."""
        attempts, wins = (np.array(state[name], np.int32) for name in ("attempts", "wins"))
        visited = outcome.positions
        kinds = kind(attempts[visited], wins[visited])
        learned = {}
        for name, counts in (("right", outcome.wins), ("wrong", outcome.attempts - outcome.wins)):
            learned[name] = FADING * np.asarray(state[name], np.float64)
            np.add.at(learned[name], kinds, counts)
        attempts[visited] += outcome.attempts.astype(np.int32)
        wins[visited] += outcome.wins.astype(np.int32)
        return {"attempts": attempts, "wins": wins, **learned}

    def metrics(self, state: State, outcome: Outcome) -> Metrics:
        """Return the shares of what was asked that were new, and that had been asked and never solved."""
        attempts, wins = (np.asarray(state[name], np.int32)[outcome.positions] for name in ("attempts", "wins"))
        visits = max(len(attempts), 1)
        unsolved = np.count_nonzero((attempts > 0) & (wins == 0))
        return {"new": np.count_nonzero(attempts == 0) / visits, "unsolved": unsolved / visits}


def kind(attempts: NDArray[np.generic], wins: NDArray[np.generic]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return (⌊log₂(1 + failures)⌋, ⌊log₂(1 + wins)⌋) of each observation, exactly, by the exponent of a float."""
    right = np.asarray(wins, np.int64)
    wrong = np.asarray(attempts, np.int64) - right
    first, second = (np.minimum(np.frexp(1.0 + count)[1] - 1, KINDS - 1).astype(np.int64) for count in (wrong, right))
    return first, second


def interleaved(first: NDArray[np.int64], second: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return first[0], second[0], first[1], second[1], …, without what came before; both are orders of 0 … n-1."""
    n = len(first)
    due, places = np.empty(n, np.int64), np.full(2 * n, -1, np.int64)
    due[first] = 2 * np.arange(n)
    due[second] = np.minimum(due[second], 2 * np.arange(n) + 1)
    places[due] = np.arange(n)
    return places[places >= 0]
