"""Long runs and large ones, scripted: the thousandth iteration costs what the tenth does, in time and in memory."""

import gc
import sys
import tracemalloc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import process_time

import numpy as np
import pytest

from star_loop.config.build import build
from star_loop.launch import advance
from star_loop.protocols import Session, Task, Tracker, Verifier
from star_loop.records import Metrics, Observation
from star_loop.run.directory import RunDirectory
from star_loop.run.disk import Disk
from star_loop.verifiers.exact import Exact
from tests.quiz import QUIZ, configure

_opened = 0


def _count(event: str, _: tuple) -> None:
    global _opened
    _opened += event in ("open", "os.scandir", "os.listdir")


sys.addaudithook(_count)


class Meter(Tracker):
    """Notes at every commit: processor seconds so far, bytes held, files and folders opened so far."""

    marks: list[tuple[float, int, int]]

    @contextmanager
    def session(self, directory: Path, committed: Sequence[Metrics]) -> Iterator[Session]:
        marks = self.marks

        class Mark(Session):
            def log(self, iteration: int, metrics: Metrics) -> None:
                gc.collect(0)
                marks.append((process_time(), tracemalloc.get_traced_memory()[0], _opened))

        yield Mark()


class Sums(Sequence[Observation]):
    """`n` questions that are made when they are looked at."""

    def __init__(self, split: str, n: int) -> None:
        self.split, self.n = split, n

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, k):
        if isinstance(k, slice):
            return [self[i] for i in range(*k.indices(self.n))]
        return Observation(
            id=f"{self.split}/{k}", question=f"What is {k} + {k} in {self.split}?", answer=str(2 * k), skill="sums",
            level=k % 3 + 1,
        )  # fmt: skip


class Many(Task):
    """A task of as many questions as wanted."""

    verifier: Verifier = Exact()
    n: int

    def train(self) -> Sequence[Observation]:
        return Sums("train", self.n)

    def validation(self) -> Sequence[Observation]:
        return Sums("validation", 8)

    def test(self) -> Sequence[Observation]:
        return Sums("test", 8)

    def prompt(self, observation: Observation, *, hint: bool = False) -> str:
        return f"Q: {observation.question}\nA: "


class Unsynchronised(Disk):
    """Nothing waits for the device: what is measured here is the program."""

    def flush(self, path: Path) -> None:
        return


def soak(directory: Path, iterations: int, n: int) -> list[tuple[float, int, int]]:
    """What the meter notes at each commit from iteration 0 on."""
    many = [option for option in QUIZ if not option.startswith("task.")]
    config = configure(*many, "task._target_=tests.test_soak.Many", f"task.n={n}", f"iterations={iterations}",
                       "keep=best", "schedule.growth=1", "evaluation.patience=1000000",
                       "+tracker.meter={_target_: tests.test_soak.Meter, marks: []}")  # fmt: skip
    experiment = build(config)
    tracemalloc.start()
    try:
        advance(experiment, RunDirectory(directory, Unsynchronised()), config)
    finally:
        tracemalloc.stop()
    return experiment.tracker["meter"].marks  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("iterations", "n"),
    [
        (60, 40),
        pytest.param(1000, 40, marks=pytest.mark.reliability),
        pytest.param(20, 1_000_000, marks=pytest.mark.reliability),
    ],
)
def test_time_memory_and_files_of_an_iteration_do_not_grow(tmp_path: Path, iterations: int, n: int) -> None:
    marks = soak(tmp_path, iterations, n)
    times, memory, opened = np.array(marks).T
    assert len(times) == iterations + 1
    tenth = max(5, iterations // 10)
    first, last = slice(4, 4 + tenth), slice(-tenth, None)
    seconds, opens = np.diff(times), np.diff(opened)
    early, late = memory[first].min() / 2**20, memory[last].min() / 2**20
    print(
        f"{iterations} iterations of {n:,} observations: {1000 * seconds[first].mean():.1f} ms of processor each in the "
        f"first {tenth}, {seconds[last].mean() / seconds[first].mean():.2f} times that in the last; {early:.1f} MiB held, "
        f"{late - early:+.2f} at the end"
    )
    assert late - early < 1 + 0.002 * iterations, "memory"  # a curve of accuracies, a line here and there
    assert np.median(opens[last]) <= np.median(opens[first]) + 2, "files looked at for one iteration"
    assert len(list(tmp_path.glob("iterations/*/adapter"))) <= 4
    sizes = [sum(f.stat().st_size for f in (tmp_path / f"iterations/{t:04d}").rglob("*.*")) for t in (4, iterations)]
    assert sizes[1] < 1.5 * sizes[0], "files of one iteration"
