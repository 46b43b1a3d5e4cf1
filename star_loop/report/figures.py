"""The page's figures: what each curve shows, its caption, and its text for those who cannot see it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from star_loop.accounting.metrics import base_accuracy, baselines
from star_loop.accounting.statistics import Statistics
from star_loop.records import Metrics
from star_loop.report import charts, quantities
from star_loop.report.charts import Curve
from star_loop.report.summary import histogram


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A drawing with its caption."""

    title: str
    drawing: Markup
    caption: str


def figures(metrics: Sequence[Metrics], asked: str) -> Iterator[Figure]:
    """Yield the curves for which there are at least two points.

    `asked` is how questions are put (`quantities.asked`).
    """
    yield from _accuracy_by_iteration(metrics, asked)
    yield from _accuracy_by_flops(metrics)
    yield from _yield(metrics)
    yield from _loss(metrics)


def _curve(label: str, metrics: Sequence[Metrics], name: str, x: str | None = None, scale: float = 1) -> Curve:
    """Return a metric by iteration, or by the metric `x`, where both are there."""
    points = [(m.get(x) if x else t, scale * m[name]) for t, m in enumerate(metrics) if name in m]
    known = [(at, value) for at, value in points if at is not None]
    return Curve(label=label, x=[at for at, _ in known], y=[value for _, value in known])


def _said(curve: Curve, unit: str = "") -> str:
    return f"{curve.label} from {curve.y[0]:.3g}{unit} to {curve.y[-1]:.3g}{unit}"


def _accuracy_by_iteration(metrics: Sequence[Metrics], asked: str) -> Iterator[Figure]:
    curves = []
    for label, split in (("test", "evaluation"), ("validation", "validation")):
        low, middle, high = (
            _curve(label, metrics, f"{split}/accuracy{end}", scale=100) for end in ("_low", "", "_high")
        )
        banded = len(low.y) == len(middle.y) == len(high.y)
        ends = (low.y, high.y) if banded else ((), ())
        curves.append(Curve(label=label, x=middle.x, y=middle.y, low=ends[0], high=ends[1]))
    curves = [curve for curve in curves if len(curve.x) > 1]
    if curves:
        said = "; ".join(_said(curve, " %") for curve in curves)
        alt = f"Accuracy by iteration: {said}"
        drawing = charts.lines("accuracy", curves, x="iteration", y="accuracy, %", alt=alt, whole=True)
        caption = f"Greedy, {asked}, on held-out questions; the band is the 95 % Wilson interval."
        yield Figure(title="Accuracy by iteration", drawing=drawing, caption=caption)


def _accuracy_by_flops(metrics: Sequence[Metrics]) -> Iterator[Figure]:
    counted = [m if (best := base_accuracy(m)) is None else {**m, "best": best} for m in metrics]
    curve = _curve("test accuracy", counted, "best", x="flops/cumulative", scale=100)
    if len(curve.x) > 1:
        alt = f"{_said(curve, ' %')} at {quantities.scientific(curve.x[-1])} FLOPs"
        drawing = charts.lines("flops", [curve], x="cumulative FLOPs", y="test accuracy, %", alt=alt)
        caption = "2·P per token read or generated, 6·P per token trained on (P parameters); evaluation apart."
        if len(baselines(metrics[0])) > 1:
            caption += " It begins with the better of the base model's two baselines."
        yield Figure(title="Accuracy for compute", drawing=drawing, caption=caption)


def _yield(metrics: Sequence[Metrics]) -> Iterator[Figure]:
    shares = [
        {**m, "yield": m["collect/correct"] / m["collect/rollouts"]} if m.get("collect/rollouts") else m
        for m in metrics
    ]
    curves = [
        _curve("correct", shares, "yield", scale=100),
        _curve("faithful", shares, "collect/faithful", scale=100),
    ]
    curves = [curve for curve in curves if len(curve.x) > 1]
    if curves:
        alt = "Shares by iteration: " + "; ".join(_said(curve, " %") for curve in curves)
        drawing = charts.lines("yield", curves, x="iteration", y="share, %", alt=alt, whole=True)
        caption = "Correct: of all rollouts that counted. Faithful: of the correct ones, those with every step right."
        yield Figure(title="Yield", drawing=drawing, caption=caption)


def _loss(metrics: Sequence[Metrics]) -> Iterator[Figure]:
    curve = _curve("loss", metrics, "train/loss")
    if len(curve.x) > 1:
        alt = f"Training {_said(curve)}"
        drawing = charts.lines("loss", [curve], x="iteration", y="loss", alt=alt, whole=True)
        yield Figure(title="Training loss", drawing=drawing, caption="Mean over the round, on completions only.")


def sampling(statistics: Statistics | None) -> list[Figure]:
    """Say how the training observations were sampled; nothing before the first iteration."""
    if statistics is None or not statistics.attempts.any():
        return []
    return [_how_often(statistics), _how_long_ago(statistics)]


def _how_often(statistics: Statistics) -> Figure:
    most = int(statistics.attempts.max())
    labels, sampled = histogram(statistics.attempts, most)
    _, solved = histogram(statistics.wins, most)
    n = len(statistics.wins)
    alt = f"{n:,} training observations: {sampled[0]:,} never sampled, {n - solved[0]:,} solved at least once"
    series = {"sampled": sampled, "solved": solved}
    drawing = charts.bars("sampling", labels, series, x="times", y="observations", alt=alt)
    caption = f"How often each observation was sampled, and solved without a hint. {alt}."
    return Figure(title="How often", drawing=drawing, caption=caption)


def _how_long_ago(statistics: Statistics) -> Figure:
    """AdaSTaR's key: the age of the last visit, and the win rate among those of one age."""
    newest, ever = int(statistics.last_sampled.max()), statistics.last_sampled > 0
    mostly = 2 * statistics.wins >= statistics.attempts
    labels, hard = histogram(statistics.last_sampled[ever & ~mostly], newest)
    _, easy = histogram(statistics.last_sampled[ever & mostly], newest)
    never = int(np.count_nonzero(~ever))
    labels[0] = "never"
    series = {"mostly failed": hard, "mostly solved": easy, "never sampled": [never, *[0] * (len(labels) - 1)]}
    alt = f"Last sampled: {never:,} never, {hard[-1] + easy[-1]:,} in iteration {labels[-1]}"
    drawing = charts.bars("age", labels, series, x="last sampled in iteration", y="observations", alt=alt)
    caption = (
        f"How long ago, and how well. {alt}. AdaSTaR begins at the left, with what was solved least, and remembers "
        "of its visits only those that it commits."
    )
    return Figure(title="How long ago", drawing=drawing, caption=caption)
