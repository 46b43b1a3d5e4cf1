"""Every observation is as good as any other: STaR, RFT, ReST-EM, and the control of every sampler."""

from typing import Literal

import numpy as np

from star_loop.protocols import Sampler
from star_loop.records import Columns, Outcome, Proposal, State


class Uniform(Sampler):
    """One pass per iteration, in a fresh random order or in the given one."""

    order: Literal["random", "given"] = "random"
    """`given`: the task's own order, which an early stop always cuts at the same end."""

    def init(self, columns: Columns, rng: np.random.Generator) -> State:
        """Believe nothing but how many observations there are."""
        return {"n": np.array([len(columns["length"])], np.int64)}

    def propose(self, state: State, n: int, rng: np.random.Generator) -> tuple[Proposal, State]:
        """Return the next `n` of this iteration's permutation."""
        if "order" not in state:
            total = int(state["n"][0])
            order = rng.permutation(total) if self.order == "random" else np.arange(total)
            state = {**state, "order": order, "cursor": np.array([0], np.int64)}
        return take(state, n)

    def learn(self, state: State, outcome: Outcome) -> State:
        """Learn nothing."""
        return {"n": state["n"]}


def take(state: State, n: int) -> tuple[Proposal, State]:
    """Return the next `n` positions of a frozen `order`, and the state with its `cursor` moved on."""
    start = int(state["cursor"][0])
    positions = state["order"][start : start + n].astype(np.int64)
    return Proposal(positions=positions), {**state, "cursor": np.array([start + len(positions)], np.int64)}
