"""What the report knows of a run: read from its committed files, complete or not."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from star_loop.accounting.statistics import Statistics
from star_loop.evaluation import Evaluation
from star_loop.records import How, Metrics, Rollout
from star_loop.report.answers import Answers, answers
from star_loop.report.files import table
from star_loop.report.rollouts import Sample, Seen, sample
from star_loop.report.unread import Reason, Reasons
from star_loop.run.directory import IterationDirectory, RunDirectory
from star_loop.run.disk import RunError

Cell = tuple[str, int]
"""A skill and a level of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """Everything on the page."""

    name: str
    config: str
    """The text of `config.yaml`; empty: there is none."""
    settings: Mapping[str, Any]
    """What it says."""
    metrics: Sequence[Metrics]
    """By iteration, from 0."""
    statistics: Statistics | None
    """After the last iteration."""
    questions: Mapping[Cell, int]
    """Test questions by skill and level."""
    rollouts: Sample
    """Some to look at."""
    last: int
    """The last committed iteration."""
    unread: Sequence[Reason]
    """Why no answer was found in rationales of the last iteration."""
    too_long: Sequence[str]
    """Ids of observations whose prompts filled the context."""
    answers: Answers | None
    """Test questions before and after; None: the test split was measured less than twice."""


def read(path: Path) -> Summary:
    """Read the summary of one run.

    Raises:
        RunError: no such run, nothing committed yet, or a file that cannot be read.
    """
    if not path.is_dir():
        raise RunError(f"{path} is not a directory: give a run directory, such as outputs/<name>")
    run = RunDirectory(path)
    last = run.latest()
    if last is None:
        raise RunError(
            f"{path} has no committed iteration (looked for {run.iteration(0).path / 'state.json'}): give a run "
            "directory, such as outputs/<name>, in which at least the base model has been evaluated"
        )
    run.check_committed()
    configuration, settings = path / "config.yaml", run.config()  # which must be sound before its text is read
    metrics = run.committed_metrics()
    unread, base = Reasons(), list[Rollout]()

    def told(rollout: Seen) -> None:
        if rollout.iteration == last.number:
            unread.add(rollout.rollout)
        if rollout.split == "test":
            base.append(rollout.rollout)

    chosen = sample(run, told=told)
    return Summary(
        name=path.resolve().name,
        config=configuration.read_text(encoding="utf-8") if configuration.exists() else "",
        settings=settings,
        metrics=metrics,
        statistics=_statistics(last),
        questions=_questions(path, settings),
        rollouts=chosen,
        last=last.number,
        unread=unread.commonest(),
        too_long=_too_long(run, metrics),
        answers=answers(run, base),
    )


def _statistics(iteration: IterationDirectory) -> Statistics | None:
    import pyarrow as arrow

    path = iteration.path / "statistics.parquet"
    if not path.exists():
        return None
    try:
        return iteration.statistics()
    except (arrow.ArrowException, OSError) as error:
        raise RunError(f"{path} cannot be read ({error}): restore it") from error


_CELL = re.compile(r"evaluation/(?P<skill>.+)/level_(?P<level>-?\d+)")


def by_skill(metrics: Metrics) -> dict[Cell, float]:
    """Test accuracy of each skill and level."""
    matches = ((_CELL.fullmatch(name), value) for name, value in metrics.items())
    return {(match["skill"], int(match["level"])): value for match, value in matches if match}


def total(metrics: Sequence[Metrics], name: str) -> float | None:
    """Return the sum of a metric over the iterations that have it; None: none has."""
    values = [m[name] for m in metrics if name in m]
    return sum(values) if values else None


def histogram(counts: NDArray[np.int32], longest: int, bins: int = 12) -> tuple[list[str], list[int]]:
    """Count how many observations have each count: labels such as `0`, `1`, `2` or `0`, `1–3`, `4–6`, and how many.

    Counts go up to `longest`. Zero is always alone, since "never" is unlike "seldom".
    """
    width = max(1, -(-longest // bins))
    groups = -(-longest // width)
    spans = [(group * width + 1, (group + 1) * width) for group in range(groups)]
    labels = ["0", *(str(last) if first == last else f"{first}–{last}" for first, last in spans)]
    numbers = np.bincount(-(-np.asarray(counts) // width), minlength=groups + 1)
    return labels, numbers.tolist()


def _too_long(run: RunDirectory, metrics: Sequence[Metrics]) -> list[str]:
    """List the ids in the order in which they were met; only iterations whose figures say so are looked through."""
    found: dict[str, None] = {}
    for t, figures in enumerate(metrics):
        if any(figures.get(f"{part}/too_long") for part in ("collect", "validation", "evaluation")):
            iteration = run.iteration(t)
            for name in (*iteration.waves, "validation", "evaluation"):
                found |= {rollout.id: None for rollout in iteration.judged(name) if rollout.how == How.TOO_LONG}
    return list(found)


def _questions(path: Path, settings: Mapping[str, Any]) -> Counter[Cell]:
    rows = table(path, ["skill", "level"], filters=[("split", "=", "test")])
    evaluation = settings.get("evaluation")
    limit = evaluation.get("limit") if isinstance(evaluation, Mapping) else None
    asked = Evaluation.model_validate({"limit": limit}).positions(len(rows))
    return Counter((rows[position]["skill"], rows[position]["level"]) for position in asked)
