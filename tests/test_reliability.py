"""SIGKILL at every phase boundary and at random moments, to the main process, the engine, or both.

`make test-reliability`: 60 launches of runs that are seeded by waves are killed, and 20 of runs that are seeded by
requests; `KILLS=6 make test-reliability`: 6 and 2. Each run is killed and launched again until a launch survives; then
its bytes are those of an uninterrupted run.
"""

import os
import re
import signal
import subprocess
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from star_loop.generators.stream import Arriving, More
from star_loop.generators.vllm import Vllm, VllmEngine
from star_loop.models import Pretrained
from star_loop.protocols import Engine
from star_loop.records import Request
from star_loop.seeding import rng
from tests.quiz import contents
from tests.test_end_to_end import living, start

pytestmark = [pytest.mark.engine, pytest.mark.reliability]

KILLS = int(os.environ.get("KILLS", "60"))
VICTIMS = ("main", "engine", "both")


class Counted(Vllm):
    """vLLM that writes into `journal`, beside the run, what a worker was given, and how much of it it finished."""

    @contextmanager
    def engine(self, base: Pretrained, *, workspace: Path, seed: int) -> Iterator[Engine]:
        with closing(CountedEngine(self, base, workspace=workspace, seed=seed, environment={})) as engine:
            yield engine


class CountedEngine(VllmEngine):
    """Counts what passes between it and its workers, so that what one has finished in vain is counted too."""

    def _call(self, operation: str, item: Any = None, **arguments: Any) -> Any:
        if operation != "generate":
            return super()._call(operation, item, **arguments)
        seed = arguments["seed"]

        def counted(sent: Any) -> None:
            if sent is not None:
                self._write(f"finished {seed} 1")
            item(sent)

        self._write(f"begun {seed} {len(arguments['requests'])}")
        return super()._call(operation, counted, **arguments)

    def stream(self, more: More) -> Arriving:
        names: dict[int, str] = {}

        def counted(room: int) -> Mapping[int, Request]:
            new = more(room)
            for number, request in new.items():
                names[number] = f"{request.observation.id}/{request.seed}".replace(" ", "_")
                self._write(f"begun {names[number]} 1")
            return new

        with closing(super().stream(counted)) as stream:
            for drawn in stream:
                for number in drawn:
                    self._write(f"finished {names[number]} 1")
                yield drawn

    def _write(self, line: str) -> None:
        with (self.workspace.parent.parent / "journal").open("a") as journal:
            journal.write(line + "\n")


def begin(directory: Path, seeding: str) -> subprocess.Popen[str]:
    return start(directory, f"generator.seeding={seeding}", "generator._target_=tests.test_reliability.Counted")


def uninterrupted(directory: Path, seeding: str) -> dict[str, bytes]:
    directory.mkdir()
    process = begin(directory, seeding)
    said = process.communicate()[0]
    assert process.returncode == 0, said
    return committed(directory)


def committed(directory: Path) -> dict[str, bytes]:
    return {name: data for name, data in contents(directory / "run").items() if name != "config.yaml"}


def launch_and_kill(
    directory: Path, seeding: str, victim: str, seen: set[str], lines: int, delay: float
) -> tuple[bool, bool]:
    """Launch, and kill at the first boundary that is not yet in `seen`; if there is none, after so many and a delay.

    Returns:
        Whether something was killed, and whether that ended the launch: a killed engine may be replaced.
    """
    struck, process = False, begin(directory, seeding)
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
                struck = bool(targets)
            seen.add(boundary[0])
            break
    process.communicate()
    return struck, process.returncode != 0


def generated_twice(journal: Path) -> tuple[int, list[int]]:
    """How many requests were finished in all; and of each call that a kill met, how many in vain."""
    asked, finished = dict[str, int](), Counter[str]()
    for line in journal.read_text().splitlines():
        what, seed, number = line.split()
        if what == "begun":
            asked[seed] = max(int(number), asked.get(seed, 0))
        else:
            finished[seed] += int(number)
    return finished.total(), [finished[seed] - asked[seed] for seed in asked if finished[seed] > asked[seed]]


@pytest.mark.parametrize(("seeding", "kills"), [("wave", KILLS), ("request", -(-KILLS // 3))])
def test_killed_anywhere_every_run_ends_with_the_same_bytes(tmp_path: Path, seeding: str, kills: int) -> None:
    chance, runs, seen = rng(0, "kills"), 0, set[str]()
    whole = uninterrupted(tmp_path / "whole", seeding)
    victims, finished, lost, struck = Counter[str](), 0, list[int](), 0
    while victims.total() < kills:
        directory = tmp_path / str(runs)
        directory.mkdir()
        while True:
            victim, lines = str(chance.choice(VICTIMS)), int(chance.integers(0, 6))
            hit, ended = launch_and_kill(directory, seeding, victim, seen, lines, float(chance.uniform(0, 1.5)))
            struck += hit
            if not ended:
                break
            victims[victim] += 1
        assert committed(directory) == whole
        assert living(directory) == []
        assert not list((directory / "run/.engine").glob("tmp/*")) and not list((directory / "tmp").iterdir())
        every, again = generated_twice(directory / "journal")
        finished, lost, runs = finished + every, lost + again, runs + 1
    print(
        f"seeding={seeding}: {struck} kills, {victims.total()} of which ended a launch ({dict(victims)}), in {runs} runs, at "
        f"{len(seen)} phase boundaries and random moments; of {finished} requests {sum(lost)} were generated twice, "
        f"{max(lost, default=0)} at most of one call, {sum(lost) / max(struck, 1):.1f} for a kill"
    )
    if seeding == "wave":
        assert len(lost) <= 2 * struck, "at most the wave under way for a kill: its first and its second try"
    else:
        assert sum(lost) <= struck, "nothing but what was in flight"
