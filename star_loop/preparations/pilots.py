"""How often the base solves each observation: CurES's pilot rollouts N′ (arXiv 2510.01037), SPaCe's difficulty."""

from functools import partial

import numpy as np
from pydantic import Field

from star_loop.config.component import MOST_DRAWS
from star_loop.preparations import Bench, Preparation, Prepared, total
from star_loop.records import Columns
from star_loop.run.preparation import Arrays


class Pilots(Preparation):
    """The columns `pilot_attempts` and `pilot_wins`: `rollouts` draws of every observation, once, by the base model.

    `sampler=cures` begins with these counts; `preparation=[pilots,clusters]` clusters by them. CurES draws pilots anew
    for each subset of the data; here later iterations bring counts of their own. Nothing is trained on a pilot.
    """

    rollouts: int = Field(4, ge=1, le=MOST_DRAWS)
    """N′, draws of each observation."""

    def prepare(self, columns: Columns, bench: Bench) -> Prepared:
        """Return two columns (n,), from a file for each chunk."""
        parts = [
            bench.folder.arrays(f"solved/{number:03d}", partial(self._solve, number, positions, bench))
            for number, positions in enumerate(bench.chunks())
        ]
        wins = np.concatenate([np.asarray(part["wins"], np.int32) for part in parts])
        return Prepared(
            columns={"pilot_attempts": np.full(len(wins), self.rollouts, np.int32), "pilot_wins": wins},
            metrics={"solve_rate": float(wins.mean() / self.rollouts), "rollouts": float(len(wins) * self.rollouts)},
            spent=total(parts),
        )

    def _solve(self, number: int, positions: range, bench: Bench) -> Arrays:
        drawn = bench.ask(f"chunk {number}", dict.fromkeys(positions, self.rollouts))
        right = np.array([r.position - positions.start for r in drawn if r.correct], np.int64)
        return {"wins": np.bincount(right, minlength=len(positions)), "spent": bench.cost.asking(drawn)}
