"""Measurements that alternate, and the row of the table that they make."""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

REPETITIONS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One figure with its goal."""

    what: str
    against: str
    """What it is compared with; empty: nothing, the figure is absolute."""
    ours: Sequence[float]
    theirs: Sequence[float] = ()
    unit: str
    """Of `ours` and `theirs`."""
    figures: Sequence[float]
    """What the goal speaks of, once for each repetition."""
    per: str = "×"
    """Unit of `figures`: ratios, or another."""
    goal: float | None
    """None: for the record."""
    at_least: bool = True
    """The figure should be the goal or more; false: or less."""
    obstacle: str = ""
    """What stands in the way where the goal is missed."""
    remark: str = ""

    @property
    def figure(self) -> float:
        """The median."""
        return statistics.median(self.figures)

    @property
    def verdict(self) -> str:
        """Whether the goal is met, or by how much it is missed and why."""
        if self.goal is None:
            return ""
        if (self.figure >= self.goal) if self.at_least else (self.figure <= self.goal):
            return "met"
        apart = abs(self.figure / self.goal - 1)
        return f"misses by {apart:.0%}" + (f": {self.obstacle}" if self.obstacle else "")

    def to_json(self) -> dict[str, Any]:
        """With the medians spelt out."""
        return asdict(self) | {"figure": self.figure, "verdict": self.verdict}

    @classmethod
    def read(cls, fields: Mapping[str, Any]) -> Self:
        """What `to_json` wrote."""
        return cls(**{name: fields[name] for name in cls.__slots__})


def alternated(
    ours: Callable[[], float], theirs: Callable[[], float], times: int = REPETITIONS, *, warm: bool = True
) -> tuple[list[float], list[float]]:
    """What both measure, in turn and taking turns at beginning; with `warm`, after once that does not count."""
    if warm:
        ours(), theirs()
    found: tuple[list[float], list[float]] = ([], [])
    for k in range(times):
        for which in (0, 1) if k % 2 == 0 else (1, 0):
            found[which].append((ours, theirs)[which]())
    return found


def ratios(above: Sequence[float], below: Sequence[float]) -> list[float]:
    """Repetition by repetition."""
    return [a / b for a, b in zip(above, below, strict=True)]


def seconds(act: Callable[[], Any]) -> float:
    """How long it takes."""
    began = time.perf_counter()
    act()
    return time.perf_counter() - began


def in_words(values: Sequence[float], unit: str) -> str:
    """The median with its unit; nothing of nothing."""
    return f"{readable(statistics.median(values))} {unit}" if values else "–"


def readable(value: float) -> str:
    """Three significant digits."""
    return f"{float(f'{value:.3g}'):,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def resident(which: str = "VmRSS") -> float:
    """GB of this process's memory now; `VmHWM`: at most so far. (`ru_maxrss` would begin with the parent's.)"""
    fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(fields[which].split()[0]) / 2**20
