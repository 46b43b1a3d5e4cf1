"""A task of a user's own making, small enough to follow by hand, and helpers to run experiments on it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from star_loop.config.build import build
from star_loop.config.hydra import composed
from star_loop.launch import advance
from star_loop.protocols import Task, TrainingError, Verifier
from star_loop.records import Metrics, Observation
from star_loop.run.directory import RunDirectory
from star_loop.stages.checkpoint import Checkpoint
from star_loop.trainers.scripted import Scripted
from star_loop.verifiers.exact import Exact

HINT = "(answer: "


class Quiz(Task):
    """`n` observations of levels 1, 2, …, `levels`, 1, 2, …; half as many for validation and test."""

    verifier: Verifier = Exact()
    n: int = 12
    levels: int = 3
    duplicate: bool = False
    wrong_gold: bool = False
    leak: bool = False

    def _some(self, split: str, n: int) -> list[Observation]:
        return [
            Observation(
                id=f"{split}/{k}",
                question=f"What is {k} in {split}?",
                answer=str(k),
                rationale=f"It is {k}.\n#### {k}",
                skill="counting",
                level=k % self.levels + 1,
            )
            for k in range(n)
        ]

    def train(self) -> Sequence[Observation]:
        observations = self._some("train", self.n)
        if self.duplicate:
            observations.append(observations[0])
        if self.leak:
            observations.append(Observation(id="leaked", question="What is 0 in test?", answer="0"))
        if self.wrong_gold:
            observations.append(Observation(id="broken", question="?", answer="1", rationale="#### 2"))
        return observations

    def validation(self) -> Sequence[Observation]:
        return self._some("validation", self.n // 2)

    def test(self) -> Sequence[Observation]:
        return self._some("test", self.n // 2)

    def prompt(self, observation: Observation, *, hint: bool = False) -> str:
        return f"Q: {observation.question}{f' {HINT}{observation.answer})' if hint else ''}\nA: "

    @property
    def hint_marker(self) -> str:
        return HINT


class Fragile(Scripted):
    """A trainer that fails while a file exists."""

    broken: Path

    def train(self, *arguments: Any, **options: Any) -> Metrics:
        if self.broken.exists():
            raise TrainingError("the loss is not finite")
        return super().train(*arguments, **options)


QUIZ = ("experiment=smoke", "task._target_=tests.quiz.Quiz", "schedule.steps=2", "schedule.batch=2", "schedule.wave=4",
        "iterations=3", "~tracker.console", "~tracker.tensorboard")  # fmt: skip


def configure(*overrides: str) -> dict[str, Any]:
    """The resolved configuration, as the command line would give it."""
    return composed(overrides)


def play(directory: Path, *overrides: str) -> Checkpoint:
    """Run the scripted quiz as `launch` does, without the report: its charts take three times as long as the run."""
    config, run = configure(*QUIZ, *overrides), RunDirectory(directory)
    with run.locked():
        return advance(build(config), run, config)


def contents(directory: Path) -> dict[str, bytes]:
    """Every file whose bytes a run promises: not the lock, the journal of times, and what is derived from them.

    Not the run's own checksums either, which cover its configuration: two runs of one experiment have two places.
    """
    skipped = (
        ".lock", "checksums.txt", "timings.jsonl", "metrics.jsonl", "report.html", "attempts/", "tensorboard/", ".engine/",
    )  # fmt: skip
    files = {p.relative_to(directory).as_posix(): p for p in sorted(directory.rglob("*")) if p.is_file()}
    kept = {name: p for name, p in files.items() if not name.startswith(skipped)}
    return {name: _without_times(p) if p.name == "metrics.json" else p.read_bytes() for name, p in kept.items()}


def _without_times(path: Path) -> bytes:
    lines = path.read_text().splitlines()
    return "\n".join(line for line in lines if '"seconds/' not in line and '"machine/' not in line).encode()
