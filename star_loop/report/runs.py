"""The runs of a folder, as far as a comparison needs them: what each was set to, and what it measured."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from star_loop.accounting.metrics import BASELINES, base_accuracy, baselines, best_on_validation
from star_loop.records import Metrics
from star_loop.run.configuration import flatten
from star_loop.run.directory import FREE_KEYS, OWN_FOLDERS, RunDirectory
from star_loop.run.disk import RunError

_PARTS = ("iterations", "attempts")
"""Folders by which a run directory is known; the second also where nothing was committed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run that has measured at least the base model."""

    label: str
    """Its directory, relative to the folder of the comparison."""
    name: str
    seed: Any
    settings: Mapping[str, Any] = field(repr=False)
    """Dotted key -> value, without the seed and what does not matter."""
    metrics: Sequence[Metrics] = field(repr=False)
    """By iteration, from 0."""

    @property
    def measured(self) -> list[int]:
        """Return the iterations with a test accuracy."""
        return [t for t, m in enumerate(self.metrics) if "evaluation/accuracy" in m]

    def accuracy(self, iteration: int) -> float:
        """Return accuracy on test, in [0, 1]; of the base model, the better of bare and after worked examples."""
        return base_accuracy(self.metrics[iteration]) or 0.0

    def interval(self, iteration: int) -> tuple[float, float] | None:
        """Return the ends of that accuracy's own 95 % interval; None: the run does not say."""
        accuracy, metrics = self.accuracy(iteration), self.metrics[iteration]
        return next(
            (_ends(metrics, kind) for kind in BASELINES.values() if metrics.get(f"{kind}/accuracy") == accuracy), None
        )

    @property
    def baselines(self) -> Mapping[str, float]:
        """Return the base model's test accuracies, by how it was asked."""
        return baselines(self.metrics[self.measured[0]])

    def baseline_interval(self, how: str) -> tuple[float, float] | None:
        """Return the ends of such a baseline's own 95 % interval; None: the run does not say."""
        return _ends(self.metrics[self.measured[0]], BASELINES[how])

    def benchmark(self, name: str) -> tuple[float, float] | None:
        """Return the first and the last figure of an outside benchmark; None: it was not measured."""
        values = [m[f"external/{name}"] for m in self.metrics if f"external/{name}" in m]
        return (values[0], values[-1]) if values else None

    @property
    def validated(self) -> int | None:
        """The iteration with the highest validation accuracy, the first of equals; None: there is no validation."""
        return best_on_validation(dict(enumerate(self.metrics)))

    @property
    def validation(self) -> float | None:
        """The accuracy there, on the validation split."""
        return None if self.validated is None else self.metrics[self.validated]["validation/accuracy"]

    @property
    def validation_interval(self) -> tuple[float, float] | None:
        """Return the ends of that accuracy's own 95 % interval; None: the run does not say."""
        return None if self.validated is None else _ends(self.metrics[self.validated], "validation")

    @property
    def flops(self) -> float | None:
        """Return what was spent so far, in the papers' convention; evaluation apart."""
        return self.metrics[-1].get("flops/cumulative")

    def flops_to(self, target: float) -> float | None:
        """Return what was spent when the test accuracy was first at least `target`; None: it never was."""
        reached = (t for t in self.measured if self.accuracy(t) >= target)
        first = next(reached, None)
        return None if first is None else self.metrics[first].get("flops/cumulative")


def directories(folder: Path) -> Iterator[Path]:
    """Find every run directory at or below `folder`, in the order of their names; links are not followed."""
    is_run = _is_run(folder)
    if is_run:
        yield folder
    for child in sorted(folder.iterdir()):
        plain = child.is_dir() and not child.is_symlink() and not child.name.startswith(".")
        if plain and not (is_run and child.name in OWN_FOLDERS):
            yield from directories(child)


def _is_run(folder: Path) -> bool:
    """Tell whether the folder has the parts of a run, which are not runs of such names themselves."""
    parts = [folder / part for part in _PARTS]
    return any(part.is_dir() and not any((part / inner).is_dir() for inner in _PARTS) for part in parts)


def read(path: Path, folder: Path) -> Run:
    """Read what a comparison below `folder` needs of a run.

    Raises:
        RunError: nothing is committed or measured yet, or a file that cannot be read.
    """
    run = RunDirectory(path)
    run.check_committed()
    metrics = run.committed_metrics()
    if not any("evaluation/accuracy" in m for m in metrics):
        raise RunError(f"{path} has no committed iteration with a test accuracy: launch it again to continue it")
    settings = run.config()
    if not (path / "config.yaml").exists():
        raise RunError(f"{path / 'config.yaml'} is missing, so nobody knows what ran there: restore it")
    label = path.resolve().relative_to(folder.resolve()).as_posix()
    kept = {key: value for key, value in flatten(settings).items() if key != "seed" and not _unimportant(key)}
    return Run(
        label=path.resolve().name if label == "." else label,
        name=str(settings.get("name")),
        seed=settings.get("seed"),
        settings=kept,
        metrics=metrics,
    )


def _ends(metrics: Metrics, kind: str) -> tuple[float, float] | None:
    low, high = metrics.get(f"{kind}/accuracy_low"), metrics.get(f"{kind}/accuracy_high")
    return None if low is None or high is None else (low, high)


def _unimportant(key: str) -> bool:
    return any(key == other or key.startswith(f"{other}.") for other in FREE_KEYS)
