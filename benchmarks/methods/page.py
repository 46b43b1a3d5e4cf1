"""A study's results as Markdown and as a plot."""

import math
import re
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from benchmarks.methods.analysis import (
    Interval,
    accuracy_at,
    by_seed,
    cost_to,
    equal_cost,
    identity,
    interval,
    paired,
)
from benchmarks.methods.runs import RESULTS, Point, Row, rows
from benchmarks.methods.studies import STUDIES, Study

Curves = Mapping[int, list[Point]]


def write(name: str) -> None:
    """`results/<study>.md` and `.svg`, from the rows that are kept; nothing where there are none."""
    study, found = STUDIES[name], [row for row in rows(name) if row.run.seed < STUDIES[name].seeds]
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
    budget = equal_cost(found)
    yield f"# {study.title}\n\n{study.question}\n"
    yield f"`python -m benchmarks.methods run {name}` · {' '.join(f'`{o}`' for o in study.setting)}\n"
    yield f"![accuracy against FLOPs]({name}.svg)\n"
    yield f"Means over seeds ± half of the 95 % interval. Equal FLOPs: {tera(budget)}, the most that every run spent.\n"
    targets = [f"TFLOPs to {percent(target)}" for target in study.targets]
    yield table_head("method", "seeds", "accuracy, end", "at equal FLOPs", "TFLOPs", "of it generation", *targets)
    for method, seeds in curves.items():
        yield table_line(method, *_costs(seeds, budget, study.targets))
    yield ""
    yield table_head("method", "rollouts", "observations asked", "learned from", "faithful", "seconds", "identity")
    for method, seeds in curves.items():
        yield table_line(method, *_amounts(seeds))
    yield (
        "\nFaithful: share of the last iteration's accepted rationales that are right in every step. Seconds: without "
        "evaluation, one core. Identity: FLOPs saved if generation were charged only up to the rationales trained on.\n"
    )
    yield f"Paired with **{study.control}**, seed by seed; ratios are geometric means.\n"
    yield table_head("method", "accuracy, end", "at equal FLOPs", *(f"FLOPs to {percent(t)}" for t in study.targets))
    for method, seeds in curves.items():
        if method != study.control and study.control in curves:
            yield table_line(method, *_against(seeds, curves[study.control], budget, study.targets))


def _costs(seeds: Curves, budget: float, targets: Sequence[float]) -> Iterator[str]:
    ends = [curve[-1] for curve in seeds.values()]
    yield str(len(seeds))
    yield points(interval([end["accuracy"] for end in ends]))
    yield points(interval([a for curve in seeds.values() if (a := accuracy_at(curve, budget)) is not None]))
    yield teras([end["flops"] for end in ends], len(seeds))
    yield percent(float(np.mean([end["generate"] / (end["generate"] + end["train"]) for end in ends])))
    for target in targets:
        yield teras([c for curve in seeds.values() if (c := cost_to(curve, target)) is not None], len(seeds))


def _amounts(seeds: Curves) -> Iterator[str]:
    ends = [curve[-1] for curve in seeds.values()]
    for name in ("rollouts", "visited", "trained"):
        yield f"{np.mean([end[name] for end in ends]):,.0f}"
    yield f"{np.mean([end['faithful'] for end in ends]):.3f}"
    yield f"{np.median([end['seconds'] for end in ends]):.0f}"
    saving = float(np.mean([identity(curve) for curve in seeds.values()]))
    yield f"−{percent(saving)}" if saving > 0.005 else "–"


def _against(seeds: Curves, control: Curves, budget: float, targets: Sequence[float]) -> Iterator[str]:
    def of(curves: Curves, value: str, target: float = 0.0) -> dict[int, float | None]:
        ways = {"end": lambda c: c[-1]["accuracy"], "equal": lambda c: accuracy_at(c, budget)}
        ways["cost"] = lambda c: cost_to(c, target)
        return {seed: ways[value](curve) for seed, curve in curves.items()}

    for value in ("end", "equal"):
        yield points(paired(of(seeds, value), of(control, value)), signed=True)
    for target in targets:
        yield ratio(paired(of(seeds, "cost", target), of(control, "cost", target), ratio=True))


def plot(name: str, study: Study, found: Sequence[Row]) -> None:
    """Mean accuracy against FLOPs, with the 95 % interval of each method."""
    import matplotlib
    from matplotlib.figure import Figure

    style = {"svg.hashsalt": name, "font.size": 10, "axes.spines.top": False, "axes.spines.right": False}
    with matplotlib.rc_context(style):
        figure = Figure(figsize=(7.5, 4.2), layout="constrained")
        axes = figure.add_subplot()
        for k, method in enumerate(study.methods):
            if not (curves := list(by_seed(found, method).values())):
                continue
            grid = np.linspace(0, min(curve[-1]["flops"] for curve in curves), 60)
            values = [interval([a for c in curves if (a := accuracy_at(c, x)) is not None]) for x in grid]
            mean = np.array([100 * v.mean for v in values if v])
            half = np.nan_to_num([100 * v.half for v in values if v])
            axes.plot(grid / 1e12, mean, color=f"C{k}", label=f"{method} ({len(curves)})")
            axes.fill_between(grid / 1e12, mean - half, mean + half, color=f"C{k}", alpha=0.12, linewidth=0)
        for target in study.targets:
            axes.axhline(100 * target, color="0.8", linewidth=0.8, zorder=0)
        axes.set(xlabel="training and generation, TFLOPs", ylabel="test accuracy, %", title=study.title)
        axes.legend(frameon=False, title="method (seeds)")
        figure.savefig(RESULTS / f"{name}.svg", metadata={"Date": None})
    path = RESULTS / f"{name}.svg"
    path.write_text(re.sub(r"[ \t]+\n", "\n", path.read_text(encoding="utf-8")), encoding="utf-8")


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


def tera(flops: float) -> str:
    """TFLOPs."""
    return f"{flops / 1e12:.2f}"


def teras(values: Sequence[float], of: int) -> str:
    """Mean TFLOPs, and how many runs of how many have one, where not all have."""
    if not values:
        return f"– (0/{of})"
    value = interval([v / 1e12 for v in values])
    assert value is not None
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
