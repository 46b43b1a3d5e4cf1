"""Is the plan right? A run is predicted from another run of another size, and then compared with what it took.

python -m benchmarks.plan                    two runs, an iteration of each in turn
python -m benchmarks.plan LIKE RUN …         finished runs: each is predicted from the first

The two runs have one engine, one thread for it and one for training, and are timed in seconds of processor time of both
processes: on a quiet machine that is what a clock shows, and on a busy one it is what can be repeated.
"""

import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from itertools import permutations
from pathlib import Path
from time import process_time

from star_loop.config.build import build
from star_loop.config.hydra import composed
from star_loop.generators.vllm import VllmEngine
from star_loop.launch import launch
from star_loop.models import Model
from star_loop.plan import work
from star_loop.plan.__main__ import arguments, job_of, measurable, slots_of
from star_loop.plan.rates import Growth, habits, measured
from star_loop.run import directory
from star_loop.run.directory import RunDirectory

OUTPUTS = Path("outputs/plan")
PHASES = ("collect", "train", "evaluate")
ITERATIONS = 7
SIZES = {
    "small": ("schedule.steps=15", "schedule.wave=96", "task.test_per_level=5"),
    "large": ("schedule.steps=45", "schedule.wave=288", "task.test_per_level=15"),
}
ALONE = ("generator.threads=1", "trainer.threads=1", "~tracker.console", "~tracker.tensorboard")
UNTIMED = Growth(once=0.0, each=0.0)
"""A run's journal does not time its sampler and its commits: milliseconds here."""


def make() -> list[Path]:
    """The two runs, with one engine; where they exist, they go on."""
    OUTPUTS.mkdir(parents=True, exist_ok=True)
    x = build(composed(["name=engine", *ALONE]))
    with x.generator.engine(x.model, workspace=OUTPUTS / ".engine", seed=x.seed) as engine:
        engine.serve(Model(base=x.model))  # its start belongs to neither run
        assert isinstance(engine, VllmEngine) and engine.pid is not None
        directory.perf_counter = partial(processor_seconds, engine.pid)
        for t in range(ITERATIONS + 1):
            for name, size in SIZES.items():
                launch(composed([f"name={name}", f"iterations={t}", *size, *ALONE]), OUTPUTS / name, engine=engine)
    return [OUTPUTS / name for name in SIZES]


def processor_seconds(worker: int) -> float:
    """Of this process and the engine's."""
    fields = Path(f"/proc/{worker}/stat").read_text().rpartition(")")[2].split()
    return process_time() + sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")


def compare(like: Path, other: Path) -> None:
    """Print a table of both: `other` predicted from all that `like` was, and from its rates alone.

    The latter has the lengths and yields of `other` itself: what is learned is not the machine's.
    """
    before, run = RunDirectory(like), RunDirectory(other)
    x = measurable(run)
    rounds = arguments().parse_args(["--iterations", str(len(run.committed_metrics()) - 1)])
    job = replace(job_of(x, rounds), observations=len(x.task.train()))
    rates, own = measured(before, slots_of(x), stream=x.generator.independent), habits(run)
    known = replace(habits(before), held_out=own.held_out)  # how many are asked is no measurement
    columns = []
    for these in (known, own):
        model = work.Model(rates=rates, habits=these, sampler=UNTIMED, commit=UNTIMED)
        predicted = model.predict(job, gpus=1).phases()
        predicted["evaluate"] += rates.start  # as the journal has it: the first answer is waited for
        columns.append([predicted[phase] for phase in PHASES])
    taken = [sum(m.get(f"seconds/{phase}", 0.0) for m in run.committed_metrics()) for phase in PHASES]
    print(f"{other} from {like}: seconds measured; predicted, ratio; with its own yields, ratio")
    for phase, seconds, *predictions in zip((*PHASES, "total"), *map(_with_sum, (taken, *columns)), strict=True):
        print(
            f"  {phase:9} {seconds:8.1f}" + "".join(f" {p:10.1f} {p / seconds:6.2f}" for p in predictions), flush=True
        )


def _with_sum(seconds: Sequence[float]) -> list[float]:
    return [*seconds, sum(seconds)]


if __name__ == "__main__":
    given = [Path(name) for name in sys.argv[1:]]
    for one, other in [(given[0], run) for run in given[1:]] if given else permutations(make()):
        compare(one, other)
