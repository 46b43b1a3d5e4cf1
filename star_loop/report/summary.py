"""What the report knows of a run: read from its committed files, complete or not."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from star_loop.accounting.statistics import Statistics
from star_loop.records import How, Metrics, Rollout
from star_loop.report.answers import Answers, answers
from star_loop.report.files import table
from star_loop.report.unread import Reason, reasons
from star_loop.run.directory import IterationDirectory, RunDirectory
from star_loop.run.disk import RunError

Cell = tuple[str, int]
"""A skill and a level of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """A rollout to look at, with what it is about."""

    rollout: Rollout
    question: str | None
    answer: str | None
    skill: str | None
    level: int | None


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
    sampled_in: int
    """The iteration that the samples come from."""
    samples: Sequence[Sample]
    unread: Sequence[Reason]
    """Why no answer was found in rationales of that iteration."""
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
    return Summary(
        name=path.resolve().name,
        config=configuration.read_text(encoding="utf-8") if configuration.exists() else "",
        settings=settings,
        metrics=run.committed_metrics(),
        statistics=_statistics(last),
        questions=_questions(path),
        sampled_in=last.number,
        samples=_samples(path, last),
        unread=reasons(_every_rollout(last)),
        too_long=_too_long(run, run.committed_metrics()),
        answers=answers(run),
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
    """The sum of a metric over the iterations that have it; None: none has."""
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


_KINDS = ("right", "right, but not every step", "wrong", "hinted")
_PER_KIND = 3


def kind(rollout: Rollout) -> str:
    """Name what a rollout is an example of: one of `right`, `right, but not every step`, `wrong`, `hinted`."""
    if rollout.hinted:
        return "hinted"
    if not rollout.correct:
        return "wrong"
    return "right" if rollout.score in (None, 1.0) else "right, but not every step"


def _samples(path: Path, iteration: IterationDirectory) -> list[Sample]:
    """The first few rollouts of each kind."""
    kept: dict[str, list[Rollout]] = {name: [] for name in _KINDS}
    for rollout in _rollouts(iteration):
        if len(kept[kind(rollout)]) < _PER_KIND:
            kept[kind(rollout)].append(rollout)
    chosen = [rollout for name in _KINDS for rollout in kept[name]]
    known = _observations(path, [rollout.id for rollout in chosen])
    blank: dict[str, Any] = dict.fromkeys(("question", "answer", "skill", "level"))
    return [Sample(rollout=rollout, **known.get(rollout.id, blank)) for rollout in chosen]


def _rollouts(iteration: IterationDirectory) -> Iterator[Rollout]:
    """Read the iteration's first wave; the base model has none, so there it is its evaluation."""
    return iteration.judged(next(iter(iteration.waves), "evaluation"))


def _every_rollout(iteration: IterationDirectory) -> Iterator[Rollout]:
    """Read all waves; of the base model, its evaluation."""
    return (rollout for name in iteration.waves or ["evaluation"] for rollout in iteration.judged(name))


def _too_long(run: RunDirectory, metrics: Sequence[Metrics]) -> list[str]:
    """List the ids in the order in which they were met; only iterations whose figures say so are looked through."""
    found: dict[str, None] = {}
    for t, figures in enumerate(metrics):
        if any(figures.get(f"{part}/too_long") for part in ("collect", "validation", "evaluation")):
            iteration = run.iteration(t)
            for name in (*iteration.waves, "validation", "evaluation"):
                found |= {rollout.id: None for rollout in iteration.judged(name) if rollout.how == How.TOO_LONG}
    return list(found)


def _observations(path: Path, ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    columns = ["id", "question", "answer", "skill", "level"]
    rows = table(path, columns, filters=[("id", "in", list(ids))]) if ids else []
    return {row.pop("id"): row for row in rows}


def _questions(path: Path) -> Counter[Cell]:
    rows = table(path, ["skill", "level"], filters=[("split", "=", "test")])
    return Counter((row["skill"], row["level"]) for row in rows)
