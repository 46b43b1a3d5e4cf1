"""The page's tables."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from star_loop.accounting.metrics import WITH_EXAMPLES, base_accuracy
from star_loop.records import Metrics
from star_loop.report import quantities
from star_loop.report.summary import Summary, by_skill, total


@dataclass(frozen=True, slots=True, kw_only=True)
class SkillTable:
    """Accuracy of each skill (row) and level (column), first and last."""

    levels: Sequence[int]
    rows: Sequence[tuple[str, Sequence[tuple[float, float] | None]]]
    first: int
    """Iterations that are compared."""
    last: int
    fewest: int | None
    """Questions in the smallest cell; None: not known."""


def skill_table(summary: Summary) -> SkillTable | None:
    """None where the run has no accuracy by skill."""
    measured = [(t, cells) for t, m in enumerate(summary.metrics) if (cells := by_skill(m))]
    if not measured:
        return None
    first, before = measured[0]
    last, after = measured[-1]
    levels = sorted({level for _, level in before})
    skills = dict.fromkeys(skill for skill, _ in before)
    rows = []
    for skill in skills:
        row = [(skill, level) for level in levels]
        rows.append((skill, [(before[c], after[c]) if c in before and c in after else None for c in row]))
    counted = [summary.questions[cell] for cell in before if cell in summary.questions]
    return SkillTable(levels=levels, rows=rows, first=first, last=last, fewest=min(counted, default=None))


def iteration_rows(metrics: Sequence[Metrics]) -> list[dict[str, str]]:
    """Return the table of iterations, column -> text, without empty columns.

    A second baseline has a row below its first.
    """
    changes = [base_accuracy(m) for m in metrics]
    steps = [None, *(b - a if a is not None and b is not None else None for a, b in pairwise(changes))]
    rows = [
        {
            "iteration": str(t),
            "test": quantities.percent(m.get("evaluation/accuracy")),
            "95 %": quantities.interval(m.get("evaluation/accuracy_low"), m.get("evaluation/accuracy_high")),
            "change": quantities.points(steps[t]),
            "validation": quantities.percent(m.get("validation/accuracy")),
            "visited": quantities.count(m.get("collect/observations")),
            "rollouts": quantities.count(m.get("collect/rollouts")),
            "correct": quantities.count(m.get("collect/correct")),
            "accepted": quantities.count(m.get("collect/accepted")),
            "faithful": quantities.percent(m.get("collect/faithful")),
            "labelled": quantities.percent(m.get("collect/labelled")),
            "labels right": quantities.percent(m.get("collect/label_agreement")),
            "judged as by golds": quantities.percent(m.get("collect/judge_agreement")),
            "examples": quantities.count(m.get("train/examples")),
            "loss": f"{m['train/loss']:.4f}" if "train/loss" in m else quantities.MISSING,
            "generated": quantities.count(m.get("tokens/generated")),
            "FLOPs": quantities.scientific(m.get("flops/cumulative")),
            "time": quantities.duration(m.get("seconds/total")),
        }
        for t, m in enumerate(metrics)
    ]
    known = [name for name in rows[0] if any(row[name] != quantities.MISSING for row in rows)]
    rows = [{name: row[name] for name in known} for row in rows]
    return [row for t, own in enumerate(rows) for row in (own, *_with_examples(metrics[t], own))]


def _with_examples(metrics: Metrics, row: Mapping[str, str]) -> list[dict[str, str]]:
    """Return the base model's other baseline: the row below its own."""
    if "evaluation_shots/accuracy" not in metrics:
        return []
    blank = dict.fromkeys(row, quantities.MISSING)
    low, high = metrics.get("evaluation_shots/accuracy_low"), metrics.get("evaluation_shots/accuracy_high")
    measured = {
        "iteration": f"{row['iteration']}, {WITH_EXAMPLES}",
        "test": quantities.percent(metrics["evaluation_shots/accuracy"]),
        "95 %": quantities.interval(low, high),
        "validation": quantities.percent(metrics.get("validation_shots/accuracy")),
    }
    return [{name: measured.get(name, text) for name, text in blank.items()}]


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """The time and work of a phase over the whole run."""

    name: str
    seconds: float | None
    share: float | None
    """Share of the time."""
    flops: float | None
    utilisation: float | None
    """Exact FLOPs over what the machine's peak could have done in this time."""


_PHASE_FLOPS = {
    "prepare": ("prepare",),
    "search": ("shots", "search", "pilot"),
    "collect": ("generate",),
    "score": ("score",),
    "train": ("train",),
    "evaluate": ("validation", "evaluation", "validation_shots", "evaluation_shots"),
}
"""Phase, in the order of an iteration -> what its FLOPs are spent on, as `flops/…` names it."""


def phase_rows(metrics: Sequence[Metrics]) -> list[Phase]:
    """Return time and FLOPs of every phase; one that left no figure is left out."""
    spent = total(metrics, "seconds/total")
    timed = sorted({name.removeprefix("seconds/") for m in metrics for name in m if name.startswith("seconds/")})
    rows = []
    for name in dict.fromkeys((*_PHASE_FLOPS, *(name for name in timed if name != "total"))):
        seconds = total(metrics, f"seconds/{name}")
        parts = [f"flops/{part}" for part in _PHASE_FLOPS.get(name, ())]
        known = [flops for part in parts if (flops := total(metrics, part)) is not None]
        if seconds is not None or known:
            share = seconds / spent if seconds is not None and spent else None
            used = _utilisation(metrics, name)
            flops = sum(known) if known else None
            rows.append(Phase(name=name, seconds=seconds, share=share, flops=flops, utilisation=used))
    return rows


def _utilisation(metrics: Sequence[Metrics], phase: str) -> float | None:
    """Return the mean over the seconds of the iterations that say it."""
    name, seconds = f"machine/utilisation_{'generate' if phase == 'collect' else phase}", f"seconds/{phase}"
    said = [m for m in metrics if name in m and seconds in m]
    spent = sum(m[seconds] for m in said)
    return sum(m[name] * m[seconds] for m in said) / spent if spent else None


_LOOP = ("data", "evaluation", "validation", "evaluation_shots", "validation_shots", "collect", "train", "tokens",
         "flops", "flops_exact", "seconds", "machine", "external")  # fmt: skip
"""What every run has; any other figure is the method's own."""


def method_rows(metrics: Sequence[Metrics]) -> list[tuple[str, list[str]]]:
    """Return each figure of the sampler, the allocator, the selection, by iteration."""
    names = dict.fromkeys(name for m in metrics for name in m if name.partition("/")[0] not in _LOOP)
    return [
        (name.removeprefix("sampler/"), [f"{m[name]:.4g}" if name in m else quantities.MISSING for m in metrics])
        for name in names
    ]


def server_rows(metrics: Sequence[Metrics]) -> list[tuple[str, list[str]]]:
    """Return what a teacher and a judge have cost since the run began, by iteration."""
    rows = []
    for who in ("teacher", "judge", "verifier"):
        for what in ("requests", "prompt_tokens", "generated_tokens", "money"):
            found = [m.get(f"machine/{who}_{what}") for m in metrics]
            shown = [_money(value) if what == "money" else quantities.count(value) for value in found]
            rows += [(f"{who}: {what.replace('_', ' ')}", shown)] if any(v is not None for v in found) else []
    return rows


def _money(value: float | None) -> str:
    return quantities.MISSING if value is None else f"{value:,.2f}" if value >= 1 else f"{value:.2g}"


_CHECKS = {
    "no answer found": "collect/unparsed",
    "cut off": "collect/truncated",
    "prompt too long, left out": "collect/too_long",
    "correct, but said before": "collect/duplicates",
    "hinted, and quotes the hint": "collect/hint_leak",
    "test: no answer found": "evaluation/unparsed",
    "test: prompt too long": "evaluation/too_long",
}


def data_rows(metrics: Sequence[Metrics]) -> list[tuple[str, str]]:
    """List what the task found in its data: sizes, and what was left out or rewritten."""
    found = metrics[0] if metrics else {}
    return [
        (
            name.removeprefix("data/").removesuffix("/observations").replace("/", ": ").replace("_", " "),
            quantities.count(value),
        )
        for name, value in found.items()
        if name.startswith("data/")
    ]


def external_rows(metrics: Sequence[Metrics]) -> list[tuple[str, list[str]]]:
    """Return each figure of outside benchmarks, by iteration, with its standard error where there is one."""
    return [
        (name, [external_figure(m.get(f"external/{name}"), m.get(f"external/{name}_stderr")) for m in metrics])
        for name in benchmarks(metrics)
    ]


def benchmarks(metrics: Sequence[Metrics]) -> list[str]:
    """List the figures of outside benchmarks, as `<task>/<metric>`, without their standard errors."""
    names = dict.fromkeys(name.removeprefix("external/") for m in metrics for name in m if name.startswith("external/"))
    return [name for name in names if not name.endswith("_stderr")]


def external_figure(value: float | None, error: float | None = None) -> str:
    """Write a figure, which need not be a share."""
    if value is None:
        return quantities.MISSING
    return f"{value:.4g}" + (f" ± {error:.2g}" if error is not None else "")


def check_rows(metrics: Sequence[Metrics]) -> list[tuple[str, list[str]]]:
    """Return checks on the rationales themselves, in per cent, by iteration."""
    return [
        (label, [quantities.percent(m.get(name)) for m in metrics])
        for label, name in _CHECKS.items()
        if any(name in m for m in metrics)
    ]
