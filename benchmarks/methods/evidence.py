"""`docs/evidence.md` from its template: every figure there is computed from the rows that are kept."""

import math
import re
import textwrap
from collections.abc import Collection, Mapping
from functools import cached_property
from pathlib import Path

import jinja2

from benchmarks.methods.analysis import (
    Curve,
    Interval,
    accuracy_at,
    by_seed,
    cost_to,
    equal_cost,
    identity,
    interval,
    paired,
)
from benchmarks.methods.page import mark, percent, points, ratio
from benchmarks.methods.runs import Point, rows
from benchmarks.methods.studies import DEVELOPMENT, STUDIES

TEMPLATE = Path(__file__).with_name("evidence.md.j2")
PAGE = Path(__file__).parents[2] / "docs" / "evidence.md"
Curves = Mapping[int, list[Point]]


class Sheet:
    """What the page may say of a study: figures of its methods, and of a method against another (or the control)."""

    def __init__(self, name: str) -> None:
        self.study = STUDIES[name]
        self.rows = [row for row in rows(name) if row.run.seed < DEVELOPMENT]

    @cached_property
    def budget(self) -> float:
        """The most that every run has spent, in the study's own cost."""
        return equal_cost(self.rows, self.study.cost.key)

    @property
    def spent(self) -> str:
        """The same, in the study's unit."""
        return f"{self.budget / self.study.cost.scale:.2f}"

    def curves(self, method: str, seeds: Collection[int] | None = None) -> Curves:
        """Those of a method, of some seeds or all."""
        found = by_seed(self.rows, method)
        return found if seeds is None else {seed: found[seed] for seed in seeds}

    def seeds(self, method: str) -> int:
        """How many there are."""
        return len(self.curves(method))

    def end(self, method: str, key: str = "accuracy") -> str:
        """Test accuracy at the end, or another share, in percent."""
        return points(interval([curve[-1][key] for curve in self.curves(method).values()]))

    def equal(self, method: str) -> str:
        """Test accuracy at the budget; † where a run's first iteration costs more than that."""
        found = [accuracy_at(curve, self.budget, self.study.cost.key) for curve in self.curves(method).values()]
        known = [accuracy for accuracy in found if accuracy is not None]
        return points(interval(known)) + mark(self.curves(method), self.budget, self.study.cost.key)

    def gain(
        self, method: str, other: str | None = None, at: str = "equal", key: str = "accuracy",
        seeds: Collection[int] | None = None,
    ) -> str:  # fmt: skip
        """Points more than the other method, seed by seed: at the budget (`equal`) or at the `end`."""
        value = paired(self._at(method, at, key, seeds), self._at(other or self.study.control, at, key, seeds))
        return points(value, signed=True)

    def up(self, method: str, seeds: Collection[int]) -> int:
        """In how many of these seeds the method is above the control, at the budget."""
        ours, theirs = (self._at(name, "equal", "accuracy", seeds) for name in (method, self.study.control))
        return sum((ours[seed] or 0.0) > (theirs[seed] or 0.0) for seed in seeds)

    def ratio(self, method: str, target: float, other: str | None = None) -> str:
        """Cost to a test accuracy, over the other method's."""
        return ratio(self._log_ratio(method, target, other))

    def pairs(self, method: str, target: float) -> int:
        """How many seeds that ratio rests on: those in which both reach it."""
        value = self._log_ratio(method, target, None)
        return value.n if value else 0

    def saved(self, method: str, target: float, other: str) -> str:
        """How much less that is than the other's, in percent."""
        return less(self._log_ratio(method, target, other))

    def saved_to_best(self, method: str, other: str) -> str:
        """The same, each to its own best iteration on the test."""
        ours, theirs = (
            {seed: max(curve, key=lambda point: point["accuracy"])["flops"] for seed, curve in self.curves(m).items()}
            for m in (method, other)
        )
        return less(paired(ours, theirs, ratio=True))

    def mean(self, method: str, key: str, iteration: int = -1) -> float:
        """The mean over seeds of what a point holds, of the last iteration or another."""
        found = [curve[iteration][key] for curve in self.curves(method).values()]
        return math.fsum(found) / len(found)

    def times(self, method: str, key: str, other: str | None = None) -> str:
        """The ratio of two such means at the end."""
        return f"{self.mean(method, key) / self.mean(other or self.study.control, key):.1f}"

    def spends(self, method: str, key: str) -> str:
        """What it has spent at the end, over what the control has, seed by seed."""
        ours, theirs = (
            {seed: curve[-1][key] for seed, curve in self.curves(name).items()} for name in (method, self.study.control)
        )
        return ratio(paired(ours, theirs, ratio=True))

    def identity(self, method: str) -> str:
        """What it would save to charge generation only up to the rationales that are trained on."""
        found = [identity(curve) for curve in self.curves(method).values()]
        return percent(math.fsum(found) / len(found))

    def loss(self, method: str) -> str:
        """Loss on golds at the budget, in nats per token."""
        key = self.study.cost.key
        found = [accuracy_at(curve, self.budget, key, "loss") for curve in self.curves(method).values()]
        value = interval([loss for loss in found if loss is not None])
        assert value is not None
        return f"{value.mean:.3f} ± {value.half:.3f}"

    def _log_ratio(self, method: str, target: float, other: str | None) -> Interval | None:
        key, control = self.study.cost.key, other or self.study.control
        ours, theirs = (
            {seed: cost_to(curve, target, key) for seed, curve in self.curves(name).items()}
            for name in (method, control)
        )
        return paired(ours, theirs, ratio=True)

    def _at(self, method: str, at: str, key: str, seeds: Collection[int] | None) -> dict[int, float | None]:
        def accuracy(curve: Curve) -> float | None:
            return curve[-1][key] if at == "end" else accuracy_at(curve, self.budget, self.study.cost.key, key)

        return {seed: accuracy(curve) for seed, curve in self.curves(method, seeds).items()}


def less(value: Interval | None) -> str:
    """By how many percent a cost is less, from a mean log-ratio."""
    assert value is not None
    low, middle, high = (1 - math.exp(value.mean + d) for d in (value.half, 0.0, -value.half))
    return f"{percent(middle)} ({100 * low:.0f}–{100 * high:.0f})"


def rendered() -> str:
    """The page, as the kept rows have it."""
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, keep_trailing_newline=True, autoescape=False)
    sheets = {name: Sheet(name) for name in STUDIES}
    page = environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(
        **{name: sheet for name, sheet in sheets.items() if sheet.rows}
    )
    return "\n\n".join(map(wrapped, page.strip().split("\n\n"))) + "\n"


def wrapped(block: str) -> str:
    """A paragraph or a list, in lines of at most 120 characters that part no figure; tables and headings stay."""
    if block.startswith(("|", "#", "![")):
        return block
    lines = []
    for item in re.split(r"\n(?=- )", block):
        text = re.sub(r"(?<=\d) (?=[±%])|(?<=±) (?=\d)", "\0", " ".join(item.split()))
        indent = "  " if item.startswith("- ") else ""
        lines += textwrap.wrap(text, 120, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
    return "\n".join(lines).replace("\0", " ")


def write() -> None:
    """Write it into the documents."""
    PAGE.write_text(rendered(), encoding="utf-8")
