"""SIGKILL at every phase boundary and at random moments, to the main process, the engine, or both.

`make test-reliability`: 60 kills, about 10 minutes on 2 quiet cores; `KILLS=5 make test-reliability` tries fewer. Each
run is killed and launched again until a launch survives; then its bytes are those of an uninterrupted run.
"""

import os
import re
import signal
import subprocess
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from star_loop.generators.vllm import Vllm
from star_loop.models import Pretrained
from star_loop.protocols import Engine, Progress
from star_loop.records import Completion, Request
from star_loop.seeding import rng
from tests.quiz import contents
from tests.test_end_to_end import living, start

pytestmark = [pytest.mark.engine, pytest.mark.reliability]

KILLS = int(os.environ.get("KILLS", "60"))
VICTIMS = ("main", "engine", "both")


class Counted(Vllm):
    """vLLM that writes into a file which calls were begun, and how many of their requests were finished."""

    journal: Path

    @contextmanager
    def engine(self, base: Pretrained, *, workspace: Path, seed: int) -> Iterator[Engine]:
        with super().engine(base, workspace=workspace, seed=seed) as engine:
            yield CountedEngine(engine, self.journal)


class CountedEngine:
    """An engine whose `generate` is counted."""

    def __init__(self, engine: Any, journal: Path) -> None:
        self._engine, self._journal = engine, journal

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def generate(
        self, requests: Sequence[Request], *, seed: int, progress: Progress | None = None
    ) -> list[list[Completion]]:
        def finished(units: int) -> None:
            self._write(f"finished {seed} {units}")
            if progress:
                progress(units)

        self._write(f"begun {seed} {len(requests)}")
        return self._engine.generate(requests, seed=seed, progress=finished)

    def _write(self, line: str) -> None:
        with self._journal.open("a") as journal:
            journal.write(line + "\n")


def begin(directory: Path) -> subprocess.Popen[str]:
    counted = ("generator._target_=tests.test_reliability.Counted", f"+generator.journal={directory / 'journal'}")
    return start(directory, *counted)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    directory = tmp_path_factory.mktemp("whole")
    process = begin(directory)
    said = process.communicate()[0]
    assert process.returncode == 0, said
    return committed(directory)


def committed(directory: Path) -> dict[str, bytes]:
    return {name: data for name, data in contents(directory / "run").items() if name != "config.yaml"}


def launch_and_kill(directory: Path, victim: str, seen: set[str], lines: int, delay: float) -> int:
    """Launch, and kill at the first boundary that is not yet in `seen`; if there is none, after so many and a delay.

    Returns:
        The exit code.
    """
    process = begin(directory)
    assert process.stdout is not None
    for line in process.stdout:
        boundary = re.match(r"(phase iteration=\d+ name=\w+|committed iteration=\d+)", line)
        if boundary is None:
            continue
        lines -= 1
        if boundary[0] not in seen or lines < 0:
            try:
                process.wait(0.0 if boundary[0] not in seen else delay)
            except subprocess.TimeoutExpired:
                workers = [pid for pid in living(directory) if pid != process.pid]
                targets = workers if victim != "main" else []
                targets += [process.pid] if victim != "engine" else []
                for target in targets:
                    os.kill(target, signal.SIGKILL)
            seen.add(boundary[0])
            break
    process.communicate()
    return process.returncode


def generated_twice(journal: Path) -> tuple[int, list[int]]:
    """How many requests were finished in all, and how many in each call that was begun again later."""
    calls: list[list[int]] = []
    for line in journal.read_text().splitlines():
        what, seed, number = line.split()
        if what == "begun":
            calls.append([int(seed), 0])
        else:
            calls[-1][1] += int(number)
    last = {seed: index for index, (seed, _) in enumerate(calls)}
    return sum(n for _, n in calls), [n for index, (seed, n) in enumerate(calls) if last[seed] != index]


def test_killed_anywhere_every_run_ends_with_the_same_bytes(uninterrupted: dict[str, bytes], tmp_path: Path) -> None:
    chance, runs, seen = rng(0, "kills"), 0, set[str]()
    victims, finished, lost = Counter[str](), 0, list[int]()
    while victims.total() < KILLS:
        directory = tmp_path / str(runs)
        directory.mkdir()
        while True:
            victim, lines = str(chance.choice(VICTIMS)), int(chance.integers(0, 6))
            if launch_and_kill(directory, victim, seen, lines, float(chance.uniform(0, 1.5))) == 0:
                break
            victims[victim] += 1
        assert committed(directory) == uninterrupted
        assert living(directory) == []
        assert not list((directory / "run/.engine").glob("tmp/*")) and not list((directory / "tmp").iterdir())
        every, again = generated_twice(directory / "journal")
        finished, lost, runs = finished + every, lost + again, runs + 1
    print(
        f"{victims.total()} kills that ended a launch ({dict(victims)}) in {runs} runs, at {len(seen)} phase boundaries "
        f"and random moments; of {finished} requests {sum(lost)} were generated twice, {max(lost, default=0)} at most in "
        f"one call, {sum(lost) / max(victims.total(), 1):.1f} for a kill"
    )
    assert len(lost) <= 2 * victims.total(), "at most a wave for a kill: its first and its second try"
