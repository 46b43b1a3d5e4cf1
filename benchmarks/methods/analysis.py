"""From curves to figures: cost to a fixed accuracy, accuracy at a fixed cost, intervals over seeds."""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.methods.runs import Point, Row
from star_loop.report.intervals import half_width

Curve = Sequence[Point]


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A mean over seeds and half of its 95 % interval (Student); `half` is NaN with a single value."""

    mean: float
    half: float
    n: int


def interval(values: Sequence[float]) -> Interval | None:
    """None: there are no values.

    Example:
        >>> interval([0.4, 0.5, 0.6])
        Interval(mean=0.5, half=0.248..., n=3)
    """
    n = len(values)
    if not n:
        return None
    return Interval(mean=math.fsum(values) / n, half=half_width(values) if n > 1 else math.nan, n=n)


def accuracy_at(curve: Curve, cost: float, of: str = "flops", what: str = "accuracy") -> float | None:
    """Test accuracy (or the loss) once `cost` is spent, between iterations in proportion; None: the run spent less."""
    costs = [point[of] for point in curve]
    if cost > costs[-1]:
        return None
    return float(np.interp(cost, costs, [point[what] for point in curve]))


def first_iteration_costs(curves: Sequence[Curve], of: str = "flops") -> list[float]:
    """What each run had spent when it had its first model of its own; between 0 and that there is only the base."""
    return [curve[1][of] for curve in curves]


def cost_to(curve: Curve, target: float, of: str = "flops") -> float | None:
    """What had been spent when the test accuracy first was `target`; None: it never was."""
    for before, after in zip([None, *curve], curve, strict=False):
        if after["accuracy"] >= target:
            if before is None:
                return after[of]
            share = (target - before["accuracy"]) / (after["accuracy"] - before["accuracy"])
            return before[of] + share * (after[of] - before[of])
    return None


def paired(
    ours: Mapping[int, float | None], theirs: Mapping[int, float | None], ratio: bool = False
) -> Interval | None:
    """Difference (or log-ratio) over the seeds for which both have a value; what costs nothing has no ratio."""
    both = [
        (mine, other) for seed, mine in ours.items() if mine is not None and (other := theirs.get(seed)) is not None
    ]
    if ratio:
        return interval([math.log(mine / other) for mine, other in both if mine and other])
    return interval([mine - other for mine, other in both])


def identity(curve: Curve) -> float:
    """The saving of FLOPs, were generation charged only up to the β_t rationales that are trained on.

    An accounting identity: the same rollouts, the same examples, the same models. Zero where all accepted rationales
    are trained on, and where collecting already stops there.
    """
    charged = spent = 0.0
    for before, here in itertools.pairwise(curve):
        train = here["train"] - before["train"]
        charged += here["generated_here"] * min(1.0, here["examples"] / here["accepted"]) + train
        spent += here["generated_here"] + train
    return 1 - charged / spent


def by_seed(rows: Sequence[Row], method: str) -> dict[int, list[Point]]:
    """The curves of a method."""
    return {row.run.seed: row.curve for row in rows if row.run.method == method}


def equal_cost(rows: Sequence[Row], of: str = "flops") -> float:
    """The most that every run has spent."""
    return min(row.curve[-1][of] for row in rows)
