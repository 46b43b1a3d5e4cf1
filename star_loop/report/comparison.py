"""What several runs say together: grouped by all but the seed, best first by validation."""

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from star_loop.report.intervals import Mean, mean
from star_loop.report.runs import Run, directories, read
from star_loop.report.tables import benchmarks
from star_loop.run.disk import RunError

_MOST_TARGETS = 4
_SAME_QUESTIONS = re.compile(
    r"task(\.tasks\.[^.]+)*\.(train_\w+|weights\..+|labels|rationale|exemplars|shots|bare_shots|hint|instruction|before"
    r"|after|turns)"
)
"""Keys of a task, or of one in a mixture, that change what is learned or how is asked, not what, nor who judges."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Runs that differ only in the seed."""

    runs: Sequence[Run]

    @property
    def settings(self) -> Mapping[str, Any]:
        """Return the settings that they have in common."""
        return self.runs[0].settings

    @property
    def first(self) -> Mean:
        """Test accuracy where it was first measured: as a rule the better of the base model's baselines."""
        return self._accuracy([run.measured[0] for run in self.runs])

    def baseline(self, how: str) -> Mean | None:
        """Return the base model's test accuracy when asked so; None: a run did not."""
        values = [run.baselines.get(how) for run in self.runs]
        own = self.runs[0].baseline_interval(how)
        return mean([v for v in values if v is not None], own) if None not in values else None

    @property
    def benchmarks(self) -> Mapping[str, tuple[float, float]]:
        """Return the mean first and last figure of each outside benchmark that every run has measured."""
        names = dict.fromkeys(name for run in self.runs for name in benchmarks(run.metrics))
        ends = {name: [found for run in self.runs if (found := run.benchmark(name)) is not None] for name in names}
        return {
            name: (sum(first for first, _ in found) / len(found), sum(last for _, last in found) / len(found))
            for name, found in ends.items()
            if len(found) == len(self.runs)
        }

    @property
    def last(self) -> Mean:
        """Test accuracy where it was last measured."""
        return self._accuracy([run.measured[-1] for run in self.runs])

    @property
    def validation(self) -> Mean | None:
        """Return the mean of each run's highest validation accuracy; None: a run has none."""
        values = [run.validation for run in self.runs]
        if None in values:
            return None
        return mean([v for v in values if v is not None], self.runs[0].validation_interval)

    @property
    def flops(self) -> float | None:
        """Mean of what the runs spent; None: a run does not say."""
        return _average([run.flops for run in self.runs])

    def flops_to(self, target: float) -> tuple[float | None, int]:
        """Mean over the runs that reached the target, and how many did."""
        reached = [flops for run in self.runs if (flops := run.flops_to(target)) is not None]
        return _average(reached), len(reached)

    def curve(self) -> list[tuple[float, Mean]]:
        """Mean cumulative FLOPs and test accuracy of each iteration that all runs have measured."""
        common = set.intersection(*(set(run.measured) for run in self.runs))
        points = []
        for t in sorted(common):
            flops = _average([run.metrics[t].get("flops/cumulative") for run in self.runs])
            if flops is not None:
                points.append((flops, self._accuracy([t] * len(self.runs))))
        return points

    def _accuracy(self, iterations: Sequence[int]) -> Mean:
        """Average the runs' test accuracies after these iterations, one for each; a single run has its own interval."""
        pairs = list(zip(self.runs, iterations, strict=True))
        return known(mean([run.accuracy(t) for run, t in pairs], pairs[0][0].interval(pairs[0][1])))


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Everything on the page."""

    title: str
    groups: Sequence[Group]
    """The best by validation first; without validation, in the order of the directories."""
    labels: Sequence[str]
    """One for each group."""
    keys: Sequence[str]
    """Those by which the groups differ."""
    targets: Sequence[float]
    """Test accuracies to reach, in [0, 1]."""
    left_out: Sequence[str]
    """Runs that are not compared, and why."""

    @property
    def ranked(self) -> bool:
        """Tell whether every group has a validation accuracy."""
        return all(group.validation is not None for group in self.groups)

    @property
    def other_questions(self) -> list[str]:
        """List the keys, as they are typed, for which accuracies may be of other questions, or judged otherwise."""
        return [
            key.removesuffix("._target_")
            for key in self.keys
            if key == "evaluation.limit" or (key.startswith("task.") and not _SAME_QUESTIONS.fullmatch(key))
        ]

    @property
    def numbered(self) -> list[tuple[int, Group, str]]:
        """List each group with its number on the page, from 1, and its label."""
        return [(k, *pair) for k, pair in enumerate(zip(self.groups, self.labels, strict=True), start=1)]


def compare(folders: Sequence[Path], targets: Sequence[float] = ()) -> Comparison:
    """Compare the runs at or below the folders; without targets, round ones between the first and the best accuracy.

    Raises:
        RunError: there is no run to compare.
    """
    top = common_folder(folders)
    paths = {path.resolve(): path for folder in folders for path in directories(folder)}
    runs, left_out = list[Run](), list[str]()
    for path in paths.values():
        try:
            runs.append(read(path, top))
        except RunError as error:
            left_out.append(str(error))
    groups, repeated = _group(runs)
    if not groups:
        reasons = "".join(f"\n  {reason}" for reason in left_out)
        raise RunError(f"{top} holds no run that can be compared: give a folder of run directories{reasons}")
    if all(group.validation is not None for group in groups):
        groups.sort(key=lambda group: -known(group.validation).value)
    keys = differing([group.settings for group in groups])
    return Comparison(
        title=top.resolve().name,
        groups=groups,
        labels=_labels(groups, keys),
        keys=keys,
        targets=sorted(targets) or round_targets(runs),
        left_out=[*left_out, *repeated],
    )


def common_folder(folders: Sequence[Path]) -> Path:
    """Return the deepest folder that holds all of them."""
    return folders[0] if len(folders) == 1 else Path(os.path.commonpath([folder.resolve() for folder in folders]))


def _group(runs: Sequence[Run]) -> tuple[list[Group], list[str]]:
    """Return the groups, and why a run is in none: it would count one seed twice."""
    found: dict[str, dict[str, Run]] = {}
    repeated = []
    for run in runs:
        seeds = found.setdefault(json.dumps(run.settings, sort_keys=True, default=str), {})
        same = seeds.setdefault(str(run.seed), run)
        if same is not run:
            repeated.append(f"{run.label} has the configuration and the seed of {same.label}, which is in already")
    return [Group(runs=list(seeds.values())) for seeds in found.values()], repeated


def differing(settings: Sequence[Mapping[str, Any]]) -> list[str]:
    """The keys by which they differ, without what follows from it: an own key of a component that only some have.

    Example:
        >>> differing([{"sampler._target_": "Uniform"}, {"sampler._target_": "AdaStar", "sampler.power": 2}])
        ['sampler._target_']
    """
    keys = dict.fromkeys(key for mapping in settings for key in mapping)
    different = [key for key in keys if len({_text(mapping, key) for mapping in settings}) > 1]
    replaced = [key for key in different if key.endswith("._target_")]
    return [key for key in different if key in replaced or not _follows(key, replaced, settings)]


def _follows(key: str, replaced: Sequence[str], settings: Sequence[Mapping[str, Any]]) -> bool:
    """Tell whether a key differs only because some have another component; of equal ones it differs by itself.

    A key that one of two equal components leaves at its default is in the settings of the other alone.
    """
    above = [target for target in replaced if key.startswith(target.removesuffix("_target_"))]
    values: dict[tuple[str | None, ...], set[str | None]] = {}
    for mapping in settings:
        values.setdefault(tuple(_text(mapping, target) for target in above), set()).add(_text(mapping, key))
    written = set().union(*values.values()) - {None}
    return len(written) == 1 and all(len(own) == 1 for own in values.values())


def _text(settings: Mapping[str, Any], key: str) -> str | None:
    return repr(settings[key]) if key in settings else None


def shown(settings: Mapping[str, Any], key: str) -> str:
    """Return a setting for people: of a class its own name; an en dash where there is none."""
    value = settings.get(key, "–")
    text = json.dumps(value, ensure_ascii=False) if isinstance(value, list | dict | bool) or value is None else value
    return str(text).rpartition(".")[2] if key.endswith("_target_") else str(text)


def _labels(groups: Sequence[Group], keys: Sequence[str]) -> list[str]:
    """Return the names that tell the groups apart; else the settings that do, with a run where they read the same."""
    names = [{run.name for run in group.runs} for group in groups]
    if len(set().union(*names)) == len(groups) and all(len(own) == 1 for own in names):
        return [own.pop() for own in names]
    described = [_described(group, keys) for group in groups]
    labels = []
    for text, group in zip(described, groups, strict=True):
        run = group.runs[0].label
        labels.append(text if text and described.count(text) == 1 else f"{text} ({run})" if text else run)
    return labels


def _described(group: Group, keys: Sequence[str]) -> str:
    own = [(key.removesuffix("._target_"), shown(group.settings, key)) for key in keys if key in group.settings]
    return ", ".join(f"{key}={value}" for key, value in own)


def round_targets(runs: Sequence[Run]) -> list[float]:
    """Choose at most four round accuracies above every first one, up to the best.

    Multiples of the smallest of 1, 2, 5, 10, 20, 25 and 50 per cent of which no more than four fit.
    """
    floor = max(run.accuracy(run.measured[0]) for run in runs)
    best = max(run.accuracy(t) for run in runs for t in run.measured)
    for step in (1, 2, 5, 10, 20, 25, 50):
        targets = [k * step / 100 for k in range(1, 100 // step + 1) if floor < k * step / 100 <= best]
        if len(targets) <= _MOST_TARGETS:
            return targets
    raise AssertionError("no more than two multiples of one half fit into [0, 1]")


def _average(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known and len(known) == len(values) else None


def known(value: Mean | None) -> Mean:
    """Return a mean that is there: every run compared has a test accuracy, every group ranked one of validation."""
    assert value is not None, "it was not measured"
    return value
