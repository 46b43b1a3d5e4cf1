"""A study's results as Markdown and as a plot."""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks.methods.analysis import (
    Interval,
    accuracy_at,
    by_seed,
    cost_to,
    equal_cost,
    first_iteration_costs,
    identity,
    interval,
    paired,
)
from benchmarks.methods.runs import RESULTS, Point, Row, rows
from benchmarks.methods.studies import DEVELOPMENT, MEASURES, STUDIES, Cost, Study

Curves = Mapping[int, list[Point]]


def write(name: str) -> None:
    """`results/<study>.md` and `.svg`, from the rows that are kept; nothing where there are none."""
    study, found = STUDIES[name], [row for row in rows(name) if row.run.seed < DEVELOPMENT]
    if not found:
        print(f"{name}: no results yet")
        return
    plot(name, study, found)
    text = "\n".join(lines(name, study, found))
    (RESULTS / f"{name}.md").write_text(text + "\n", encoding="utf-8")
    print(text)


def lines(name: str, study: Study, found: Sequence[Row]) -> Iterator[str]:
    """The page."""
    curves = {method: by_seed(found, method) for method in study.methods}
    curves = {method: seeds for method, seeds in curves.items() if seeds}
    budget, cost = equal_cost(found, study.cost.key), study.cost
    yield f"# {study.title}\n\n{study.question}\n"
    yield f"`python -m benchmarks.methods run {name}` · {' '.join(f'`{o}`' for o in study.setting)}\n"
    yield f"![accuracy against four costs]({name}.svg)\n"
    equal = f"at {budget / cost.scale:.2f} {cost.unit}"
    yield (
        "Test accuracy in %, means over seeds ± half of the 95 % interval; skills alike: the mean over skills at the "
        f"end; {equal}: the most that every run spent, in proportion between iterations (†: before the end of the "
        "first one, where there is no model).\n"
    )
    targets = [f"{cost.unit} to {percent(target)}" for target in study.targets]
    yield table_head("method", "seeds", "at the end", "skills alike", equal, cost.unit, *targets)
    for method, seeds in curves.items():
        yield table_line(method, *_costs(seeds, budget, study))
    yield ""
    lost = ["loss on golds"] if study.taught else []
    amounts = ("TFLOPs", "of it training", "rollouts", "observations asked", "learned from", "faithful", "seconds")
    yield table_head("method", *amounts, "identity", *lost)
    for method, seeds in curves.items():
        yield table_line(method, *_amounts(seeds), *_losses(seeds, budget, study))
    yield (
        "\nFaithful: share of the last iteration's accepted rationales that are right in every step. Seconds: without "
        "evaluation, one core. Identity: FLOPs saved if generation were charged only up to the rationales trained on.\n"
    )
    yield f"Paired with **{study.control}**, seed by seed; ratios are geometric means.\n"
    yield table_head("method", "at the end", equal, *targets)
    for method, seeds in curves.items():
        if method != study.control and study.control in curves:
            yield table_line(method, *_against(seeds, curves[study.control], budget, study))


def _costs(seeds: Curves, budget: float, study: Study) -> Iterator[str]:
    key, scale = study.cost.key, study.cost.scale
    yield str(len(seeds))
    yield points(interval([curve[-1]["accuracy"] for curve in seeds.values()]))
    alike = [curve[-1].get("skills_alike") for curve in seeds.values()]  # rows from before it was kept lack it
    yield points(None if None in alike else interval([value for value in alike if value is not None]))
    at = [a for curve in seeds.values() if (a := accuracy_at(curve, budget, key)) is not None]
    yield points(interval(at)) + mark(seeds, budget, key)
    yield amount([curve[-1][key] / scale for curve in seeds.values()], len(seeds))
    for target in study.targets:
        reached = [c / scale for curve in seeds.values() if (c := cost_to(curve, target, key)) is not None]
        yield amount(reached, len(seeds))


def mark(seeds: Curves, budget: float, key: str) -> str:
    """† where a figure at the budget lies before the end of a first iteration, on the line from the base to it."""
    return "†" if max(first_iteration_costs(list(seeds.values()), key)) > budget else ""


def _amounts(seeds: Curves) -> Iterator[str]:
    ends = [curve[-1] for curve in seeds.values()]
    yield amount([end["flops"] / 1e12 for end in ends], len(ends))
    yield percent(float(np.mean([end["train"] / end["flops"] for end in ends])))
    for name in ("rollouts", "visited", "trained"):
        yield f"{np.mean([end[name] for end in ends]):,.0f}"
    yield f"{np.mean([end['faithful'] for end in ends]):.3f}"
    yield f"{np.median([end['seconds'] for end in ends]):.0f}"
    saving = float(np.mean([identity(curve) for curve in seeds.values()]))
    yield f"−{percent(saving)}" if saving > 0.005 else "–"


def _losses(seeds: Curves, budget: float, study: Study) -> Iterator[str]:
    if study.taught:
        key = study.cost.key
        at = [accuracy_at(curve, budget, key, "loss") for curve in seeds.values()]
        value = interval([loss for loss in at if loss is not None])
        assert value is not None
        yield f"{value.mean:.4f}" + ("" if math.isnan(value.half) else f" ± {value.half:.4f}")


def _against(seeds: Curves, control: Curves, budget: float, study: Study) -> Iterator[str]:
    key = study.cost.key

    def of(curves: Curves, value: str, target: float = 0.0) -> dict[int, float | None]:
        ways = {"end": lambda c: c[-1]["accuracy"], "equal": lambda c: accuracy_at(c, budget, key)}
        ways["cost"] = lambda c: cost_to(c, target, key)
        return {seed: ways[value](curve) for seed, curve in curves.items()}

    for value in ("end", "equal"):
        marked = mark(seeds, budget, key) if value == "equal" else ""
        yield points(paired(of(seeds, value), of(control, value)), signed=True) + marked
    for target in study.targets:
        yield ratio(paired(of(seeds, "cost", target), of(control, "cost", target), ratio=True))


def plot(name: str, study: Study, found: Sequence[Row]) -> None:
    """Mean accuracy against what it costs, in four measures, with the 95 % interval of each method."""
    import matplotlib
    from matplotlib.figure import Figure

    style = {"svg.hashsalt": name, "font.size": 9, "axes.spines.top": False, "axes.spines.right": False}
    with matplotlib.rc_context(style):
        figure = Figure(figsize=(9, 6.4), layout="constrained")
        panels = list(figure.subplots(2, 2, sharey=True).flat)
        for axes, cost in zip(panels, (study.cost, *(c for c in MEASURES if c != study.cost)), strict=False):
            for target in study.targets:
                axes.axhline(100 * target, color="0.8", linewidth=0.8, zorder=0)
            for k, method in enumerate(study.methods):
                if curves := list(by_seed(found, method).values()):
                    draw(axes, curves, cost, color=f"C{k}", label=f"{method} ({len(curves)})")
            axes.set(xlabel=cost.unit)
        panels[0].set(title=study.title)
        for axes in (panels[0], panels[2]):
            axes.set(ylabel="test accuracy, %")
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False)
        figure.savefig(RESULTS / f"{name}.svg", metadata={"Date": None})
    path = RESULTS / f"{name}.svg"
    path.write_text(re.sub(r"[ \t]+\n", "\n", path.read_text(encoding="utf-8")), encoding="utf-8")


def draw(axes: Any, curves: Sequence[Sequence[Point]], cost: Cost, **line: str) -> None:
    """A method's mean over seeds up to what its cheapest run spent, and the interval round it."""
    grid = np.linspace(0, min(curve[-1][cost.key] for curve in curves), 40)
    values = [interval([a for c in curves if (a := accuracy_at(c, x, cost.key)) is not None]) for x in grid]
    mean = np.array([100 * v.mean for v in values if v])
    half = np.nan_to_num([100 * v.half for v in values if v])
    axes.plot(grid / cost.scale, mean, **line)
    axes.fill_between(grid / cost.scale, mean - half, mean + half, color=line["color"], alpha=0.12, linewidth=0)


def table_head(*names: str) -> str:
    """Two lines of Markdown; the first column is text, the others are figures."""
    return f"{table_line(*names)}\n|---|{'---:|' * (len(names) - 1)}"


def table_line(*cells: str) -> str:
    """A line of Markdown."""
    return f"| {' | '.join(cells)} |"


def percent(share: float) -> str:
    """Whole percent."""
    return f"{100 * share:.0f} %"


def points(value: Interval | None, signed: bool = False) -> str:
    """An accuracy, or a difference of two, in percentage points."""
    if value is None:
        return "–"
    half = "" if math.isnan(value.half) else f" ± {100 * value.half:.1f}"
    return f"{100 * value.mean:{'+' if signed else ''}.1f}{half}"


def amount(values: Sequence[float], of: int) -> str:
    """The mean, and how many runs of how many have a value, where not all have."""
    value = interval(values)
    if value is None:
        return f"– (0/{of})"
    half = "" if math.isnan(value.half) else f" ± {value.half:.2f}"
    return f"{value.mean:.2f}{half}{'' if len(values) == of else f' ({len(values)}/{of})'}"


def ratio(value: Interval | None) -> str:
    """A ratio with its interval, from a mean log-ratio."""
    if value is None:
        return "–"
    middle = f"{math.exp(value.mean):.2f}"
    if math.isnan(value.half):
        return middle
    return f"{middle} ({math.exp(value.mean - value.half):.2f}–{math.exp(value.mean + value.half):.2f})"
