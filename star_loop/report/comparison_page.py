"""A comparison as HTML, as Markdown and as CSV: the same tables, rounded for people and exact for programs."""

import csv
import io
import re
from collections.abc import Iterator, Sequence
from typing import Any

from markupsafe import Markup

from star_loop.accounting.metrics import WITH_EXAMPLES, ZERO_SHOT
from star_loop.report import charts, quantities
from star_loop.report.charts import Curve
from star_loop.report.comparison import Comparison, Group, known, shown
from star_loop.report.intervals import Mean
from star_loop.report.page import environment
from star_loop.report.quantities import visible
from star_loop.report.runs import Run

Table = list[list[str]]
"""Rows of texts; the first one holds the titles."""

FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""What a spreadsheet takes for the beginning of a formula."""
EXPLAINED = (
    "Test accuracy, first → last: mean over the seeds with Student's 95 % interval; of one seed, that of the run "
    "(Wilson). Validation: the highest of each run. To an accuracy: FLOPs when the test accuracy was first as high, "
    "the mean of those runs that got there."
)

BASELINES = (
    "The base model before anything was learned, as it is asked afterwards (zero-shot) and with the worked examples of "
    "collecting. Changes are counted from the better one, so the form of the answers is no gain."
)


def as_html(comparison: Comparison) -> str:
    """Write one self-contained page; every text that a run brought along is escaped."""
    page = environment().get_template("comparison.html.j2")
    page.globals["look"] = charts.look
    text = page.render(
        comparison=comparison,
        subtitle=_subtitle(comparison),
        best=best(comparison),
        caution=caution(comparison),
        explained=EXPLAINED,
        about_baselines=BASELINES,
        drawing=drawing(comparison),
        groups=group_table(comparison),
        baselines=baseline_table(comparison),
        benchmarks=benchmark_table(comparison),
        settings=setting_table(comparison),
        runs=run_table(comparison),
    )
    return text.encode("utf-8", "replace").decode()


def as_markdown(comparison: Comparison) -> str:
    """Return the tables for an issue or a paper's repository."""
    parts = [f"# {_plain(comparison.title)}", _subtitle(comparison)]
    parts += [_plain(text) for text in (best(comparison), caution(comparison)) if text]
    parts += ["## Configurations", EXPLAINED, _markdown(group_table(comparison))]
    if len(baselines := baseline_table(comparison)) > 1:
        parts += ["## Baselines", BASELINES, _markdown(baselines)]
    if len(benchmarks := benchmark_table(comparison)) > 1:
        parts += ["## Outside benchmarks", _markdown(benchmarks)]
    if comparison.keys:
        parts += ["## Where they differ", _markdown(setting_table(comparison))]
    parts += ["## Runs", _markdown(run_table(comparison))]
    if comparison.left_out:
        parts += ["## Left out", "\n".join(f"- {_plain(reason)}" for reason in comparison.left_out)]
    return "\n\n".join(parts).encode("utf-8", "replace").decode() + "\n"


def _inert(cell: Any) -> Any:
    """Return a cell that no spreadsheet takes for a formula: a text that would be one has a quote in front."""
    return f"'{cell}" if isinstance(cell, str) and cell[:1] in FORMULA else cell


def as_csv(comparison: Comparison) -> str:
    """Write a row for each configuration and each of its baselines, then one for each run, unrounded.

    A cell without a figure is empty.
    """
    sink = io.StringIO()
    csv.writer(sink, lineterminator="\n").writerows(map(_inert, row) for row in _rows(comparison))
    return sink.getvalue().encode("utf-8", "replace").decode()


def _rows(comparison: Comparison) -> Iterator[list[Any]]:
    yield ["row", "number", "label", "seed", "n", "iterations", "first", "last", "last_low", "last_high",
           "validation", "flops", *(f"flops_to_{target:g}" for target in comparison.targets),
           *comparison.keys]  # fmt: skip
    for number, group, label in comparison.numbered:
        ends, validation = (group.last.low, group.last.high), group.validation and group.validation.value
        figures = [group.first.value, group.last.value, *ends, validation, group.flops]
        reached = [group.flops_to(target)[0] for target in comparison.targets]
        row = ["group", number, label, None, len(group.runs), None, *figures, *reached]
        yield row + [group.settings.get(key) for key in comparison.keys]
        for how, accuracy in _both(group).items():
            row = ["baseline", number, f"{label}: base, {how}", None, accuracy.n, 0, accuracy.value]
            yield row + [None] * (5 + len(reached)) + [group.settings.get(key) for key in comparison.keys]
        for name, ends in group.benchmarks.items():
            row = ["benchmark", number, f"{label}: {name}", None, len(group.runs), None, *ends]
            yield row + [None] * (4 + len(reached)) + [group.settings.get(key) for key in comparison.keys]
    for number, group, _ in comparison.numbered:
        for run in group.runs:
            ends = run.accuracy(run.measured[0]), run.accuracy(run.measured[-1])
            figures = [*ends, None, None, run.validation, run.flops]
            reached = [run.flops_to(target) for target in comparison.targets]
            row = ["run", number, run.label, run.seed, 1, len(run.metrics) - 1, *figures, *reached]
            yield row + [group.settings.get(key) for key in comparison.keys]


def best(comparison: Comparison) -> str | None:
    """Say in a sentence which configuration is best by validation; None: there is nothing to choose."""
    if len(comparison.groups) < 2 or not comparison.ranked:
        return None
    found = [
        (label, known(group.validation)) for label, group in zip(comparison.labels, comparison.groups, strict=True)
    ]
    (label, first), (other, second) = found[:2]
    if first.value == second.value:
        tied = [f"{label}, {_mean(mean)}" for label, mean in found if mean.value == first.value]
        return f"A tie on validation: {'; '.join(tied)}."
    said = f"Best by validation: {label}, {_mean(first)}; next: {other}, {_mean(second)}."
    if first.low is None or second.high is None:
        return f"{said} How certain that is takes more than one seed of each."
    overlap = "do not overlap" if first.low > second.high else "overlap"
    if first.n > 1 and second.n > 1:
        return f"{said} Their intervals {overlap}."
    return f"{said} Their intervals {overlap}; of one seed it is the run's own, which does not know how seeds differ."


def caution(comparison: Comparison) -> str | None:
    """Say in a sentence why accuracies may not be comparable; None: all are of the same questions."""
    if not comparison.other_questions:
        return None
    keys = ", ".join(comparison.other_questions)
    return f"Accuracies may be of other questions or judged otherwise: configurations differ in {keys}."


def drawing(comparison: Comparison) -> Markup | None:
    """Accuracy against cumulative FLOPs; None where no configuration has two points."""
    curves = [_curve(str(k), group) for k, group in enumerate(comparison.groups, start=1)]
    if not any(len(curve.x) > 1 for curve in curves):
        return None
    said = (
        f"{curve.label} {label}: {curve.y[-1]:.3g} % at {quantities.scientific(curve.x[-1])} FLOPs"
        for curve, label in zip(curves, comparison.labels, strict=True)
        if curve.x
    )
    alt = visible(f"Test accuracy by cumulative FLOPs. {'; '.join(said)}")
    return charts.lines("comparison", curves, x="cumulative FLOPs", y="test accuracy, %", alt=alt, numbered=True)


def group_table(comparison: Comparison) -> Table:
    """Make one row for each configuration."""
    titles = ["", "configuration", "seeds", "first → last", "95 %", "change", "validation", "FLOPs"]
    rows = [[*titles, *_target_titles(comparison)]]
    for number, group, label in comparison.numbered:
        first, last = group.first, group.last
        row = [str(number), label, str(last.n), f"{quantities.percent(first.value)} → {quantities.percent(last.value)}"]
        row += [quantities.interval(last.low, last.high), quantities.points(last.value - first.value)]
        row += [_mean(group.validation), quantities.scientific(group.flops)]
        rows.append([*row, *(_reached(group, target) for target in comparison.targets)])
    return rows


def baseline_table(comparison: Comparison) -> Table:
    """Make one row for each baseline of the configurations whose runs have both; without such, only the titles."""
    rows = [["", "configuration", "base model", "seeds", "accuracy", "95 %"]]
    for number, group, label in comparison.numbered:
        for how, accuracy in _both(group).items():
            ends = quantities.interval(accuracy.low, accuracy.high)
            rows.append([str(number), label, how, str(accuracy.n), quantities.percent(accuracy.value), ends])
    return rows


def benchmark_table(comparison: Comparison) -> Table:
    """Make one row for each outside benchmark of each configuration; without such, only the titles."""
    rows = [["", "configuration", "benchmark", "seeds", "first → last", "change"]]
    for number, group, label in comparison.numbered:
        for name, (first, last) in group.benchmarks.items():
            grown = f"{first:.4g} → {last:.4g}"
            rows.append([str(number), label, name, str(len(group.runs)), grown, f"{last - first:+.4g}"])
    return rows


def _both(group: Group) -> dict[str, Mean]:
    """Return its baselines where there are two of them."""
    found = {how: accuracy for how in (ZERO_SHOT, WITH_EXAMPLES) if (accuracy := group.baseline(how)) is not None}
    return found if len(found) > 1 else {}


def setting_table(comparison: Comparison) -> Table:
    """Make one row for each configuration, one column for each key by which they differ."""
    rows = [["", "configuration", *(key.removesuffix("._target_") for key in comparison.keys)]]
    for number, group, label in comparison.numbered:
        rows.append([str(number), label, *(shown(group.settings, key) for key in comparison.keys)])
    return rows


def run_table(comparison: Comparison) -> Table:
    """Make one row for each run, by configuration."""
    titles = ["", "run", "seed", "iterations", "first → last", "change", "validation", "FLOPs"]
    rows = [[*titles, *_target_titles(comparison)]]
    for number, group in enumerate(comparison.groups, start=1):
        rows += [[str(number), *_run_row(run, comparison.targets)] for run in group.runs]
    return rows


def _run_row(run: Run, targets: Sequence[float]) -> list[str]:
    first, last = run.accuracy(run.measured[0]), run.accuracy(run.measured[-1])
    return [
        run.label,
        str(run.seed),
        str(len(run.metrics) - 1),
        f"{quantities.percent(first)} → {quantities.percent(last)}",
        quantities.points(last - first),
        quantities.percent(run.validation),
        quantities.scientific(run.flops),
        *(quantities.scientific(run.flops_to(target)) for target in targets),
    ]


def _curve(label: str, group: Group) -> Curve:
    points = group.curve()
    ends = [(mean.low, mean.high) for _, mean in points if mean.low is not None and mean.high is not None]
    return Curve(
        label=label,
        x=[flops for flops, _ in points],
        y=[100 * mean.value for _, mean in points],
        low=[100 * low for low, _ in ends],
        high=[100 * high for _, high in ends],
    )


def _target_titles(comparison: Comparison) -> list[str]:
    return [f"to {100 * target:g} %" for target in comparison.targets]


def _reached(group: Group, target: float) -> str:
    flops, runs = group.flops_to(target)
    remark = f" ({runs} of {len(group.runs)})" if 0 < runs < len(group.runs) else ""
    return quantities.scientific(flops) + remark


def _mean(mean: Mean | None) -> str:
    if mean is None:
        return quantities.MISSING
    ends = f" ({quantities.interval(mean.low, mean.high)})" if mean.low is not None else ""
    return quantities.percent(mean.value) + ends


def _subtitle(comparison: Comparison) -> str:
    runs, groups = sum(len(group.runs) for group in comparison.groups), len(comparison.groups)
    return f"{runs} run{'s' * (runs != 1)} of {groups} configuration{'s' * (groups != 1)}"


def _markdown(table: Table) -> str:
    titles, *rows = [[_plain(text) for text in row] for row in table]
    lines = [titles, ["---"] * len(titles), *rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in lines)


def _plain(text: str) -> str:
    """Return a text that Markdown shows as it is."""
    return re.sub(r"([\\`*_{}\[\]<>#|~$])", r"\\\1", " ".join(visible(text).split()))
