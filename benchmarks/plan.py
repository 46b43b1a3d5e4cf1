"""Is the plan right? A run is predicted from another run of another size, and then compared with what it took.

python -m benchmarks.plan                    two runs, an iteration of each in turn
python -m benchmarks.plan LIKE RUN …         finished runs: each is predicted from the first

The two runs have one engine, one thread for it and one for training, and are timed in seconds of processor time of both
processes: on a quiet machine that is what a clock shows, and on a busy one it is what can be repeated.
"""

import os
import sys
from dataclasses import replace
from functools import partial
from itertools import permutations
from pathlib import Path
from time import process_time

from star_loop import store
from star_loop.command_line import composed
from star_loop.configuration import build
from star_loop.generators.vllm import VllmEngine
from star_loop.launch import launch
from star_loop.plan import work
from star_loop.plan.__main__ import arguments, experiment_of, job_of, slots_of
from star_loop.plan.rates import Growth, habits, measured
from star_loop.records import Model
from star_loop.store import RunDirectory

OUTPUTS = Path("outputs/plan")
PHASES = ("collect", "train", "evaluate")
ITERATIONS = 4
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
        store.perf_counter = partial(processor_seconds, engine.pid)
        for t in range(ITERATIONS + 1):
            for name, size in SIZES.items():
                launch(composed([f"name={name}", f"iterations={t}", *size, *ALONE]), OUTPUTS / name, engine=engine)
    return [OUTPUTS / name for name in SIZES]


def processor_seconds(worker: int) -> float:
    """Of this process and the engine's."""
    fields = Path(f"/proc/{worker}/stat").read_text().rpartition(")")[2].split()
    return process_time() + sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")


def compare(like: Path, other: Path) -> float:
    """Print a table of both.

    Returns:
        Predicted over measured seconds of the whole run.
    """
    before, run = RunDirectory(like), RunDirectory(other)
    x = experiment_of(run)
    known = replace(habits(before), held_out=habits(run).held_out)  # how many are asked is no measurement
    model = work.Model(rates=measured(before, slots_of(x)), habits=known, sampler=UNTIMED, commit=UNTIMED)
    rounds = arguments().parse_args(["--iterations", str(len(run.committed_metrics()) - 1)])
    job = replace(job_of(x, rounds), observations=len(x.task.train()))
    predicted = model.predict(job, gpus=1).phases()
    predicted["evaluate"] += model.rates.start  # as the journal has it: the first answer is waited for
    taken = [sum(m.get(f"seconds/{phase}", 0.0) for m in run.committed_metrics()) for phase in PHASES]
    print(f"{other} from {like}: seconds predicted, measured, ratio")
    for phase, seconds in zip(PHASES, taken, strict=True):
        print(f"  {phase:9} {predicted[phase]:8.1f} {seconds:8.1f} {predicted[phase] / seconds:6.2f}")
    total = sum(predicted[phase] for phase in PHASES)
    print(f"  {'total':9} {total:8.1f} {sum(taken):8.1f} {total / sum(taken):6.2f}", flush=True)
    return total / sum(taken)


if __name__ == "__main__":
    given = [Path(name) for name in sys.argv[1:]]
    for one, other in [(given[0], run) for run in given[1:]] if given else permutations(make()):
        compare(one, other)
