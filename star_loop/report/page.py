"""The page: what each part shows, in words and numbers; `report.html.j2` is how it looks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from star_loop.accounting.metrics import WITH_EXAMPLES, base_accuracy
from star_loop.config.target import PACKAGE, component_class
from star_loop.errors import ConfigError, counted
from star_loop.records import Metrics
from star_loop.report import quantities
from star_loop.report.figures import figures, sampling
from star_loop.report.quantities import visible
from star_loop.report.rollouts import kind
from star_loop.report.summary import Summary, total
from star_loop.report.tables import (
    check_rows,
    data_rows,
    external_rows,
    iteration_rows,
    method_rows,
    phase_rows,
    server_rows,
    skill_table,
)


def environment() -> Environment:
    """Load this folder's templates; what they are given is escaped, and a name that they are not given is an error."""
    made = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"visible": visible}
    made.globals |= {"quantities": quantities, "kind": kind, "missing": quantities.MISSING}
    return made


def render(summary: Summary) -> str:
    """Return the page as HTML. Every text that the run brought along is escaped."""
    asked = quantities.asked(summary.settings)
    page = (
        environment()
        .get_template("report.html.j2")
        .render(
            summary=summary,
            subtitle=subtitle(summary.settings),
            notation=notation(summary.settings),
            headline=headline(summary.metrics),
            asked=asked,
            figures=list(figures(summary.metrics, asked)),
            skills=skill_table(summary),
            iterations=iteration_rows(summary.metrics),
            phases=phase_rows(summary.metrics),
            sampling=sampling(summary.statistics),
            external=external_rows(summary.metrics),
            servers=server_rows(summary.metrics),
            checks=check_rows(summary.metrics),
            data=data_rows(summary.metrics),
            sampler=method_rows(summary.metrics),
        )
    )
    return page.encode("utf-8", "replace").decode()


def subtitle(settings: Mapping[str, Any]) -> str:
    """Say in a line what ran: as much of it as the configuration says."""
    found = (settings.get(part) for part in ("model", "task", "sampler"))
    model, task, sampler = (part if isinstance(part, Mapping) else {} for part in found)
    classes = [part["_target_"].rpartition(".")[2] for part in (task, sampler) if "_target_" in part]
    parts = [model.get("name_or_path"), *classes, f"seed {settings['seed']}" if "seed" in settings else None]
    parts += settings["tags"] if isinstance(settings.get("tags"), list) else [settings.get("tags")]
    return visible(" · ".join(str(part) for part in parts if part))


def notation(settings: Mapping[str, Any]) -> str:
    """Say how the questions are written, where a task of this project says that not everybody can read them."""
    task = settings.get("task")
    target = str(task.get("_target_")) if isinstance(task, Mapping) else ""
    if not target.startswith(f"{PACKAGE}."):
        return ""  # a page imports nothing that a run brings along
    try:
        return str(getattr(component_class(target, "task._target_"), "notation", ""))
    except ConfigError:
        return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tile:
    """A large number with its meaning above and a remark below."""

    title: str
    value: str
    remark: str


def headline(metrics: Sequence[Metrics]) -> list[Tile]:
    """Accuracy before and after, and what it took."""
    measured = [(t, m) for t, m in enumerate(metrics) if "evaluation/accuracy" in m]
    tiles = []
    if measured:
        (_, base), (t, last) = measured[0], measured[-1]
        before, after = base_accuracy(base) or 0.0, last["evaluation/accuracy"]
        ends = quantities.interval(last.get("evaluation/accuracy_low"), last.get("evaluation/accuracy_high"))
        grown = quantities.percent(before) + (f" → {quantities.percent(after)}" if t else "")
        over = f" over the base {WITH_EXAMPLES}" if before > base["evaluation/accuracy"] else ""
        gained = f"{quantities.points(after - before)} points{over}; " if t else ""
        remark = f"{gained}95 % interval {ends}"
        tiles.append(Tile(title="Test accuracy", value=grown, remark=remark))
    generated, trained = (total(metrics, f"tokens/{name}") for name in ("generated", "trained"))
    flops = metrics[-1].get("flops/cumulative")
    return [
        *tiles,
        Tile(title="FLOPs", value=quantities.scientific(flops), remark="all that was spent but evaluation"),
        Tile(
            title="Tokens generated",
            value=quantities.count(generated),
            remark=f"in collecting; {quantities.count(trained)} trained on",
        ),
        Tile(
            title="Time",
            value=quantities.duration(total(metrics, "seconds/total")),
            remark=counted(len(metrics) - 1, "iteration"),
        ),
    ]
