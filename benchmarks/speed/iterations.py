"""A whole iteration beside the loop of fresh processes, and what of ours is the loop's own."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.speed.measuring import Row, alternated, ratios, seconds
from benchmarks.speed.sizes import Size, model
from star_loop.config.build import build
from star_loop.config.hydra import composed
from star_loop.experiment import Experiment
from star_loop.generators.stream import Arriving, More, arriving
from star_loop.loop import begin, iterate
from star_loop.models import Model
from star_loop.protocols import Engine
from star_loop.records import Completion, Request
from star_loop.run.directory import RunDirectory
from star_loop.stages import load
from star_loop.stages.live import LiveRun
from star_loop.stages.prepare import prepare
from star_loop.trackers import fan_out

COMMON = (
    "experiment=star_acc_early_stop", "schedule.growth=1", "iterations=99", "generator.engines=1", "~tracker.console"
)  # fmt: skip
"""Both ask in random order, by one engine, and every iteration is as large as the first."""


def rows(size: Size, work: Path) -> Iterator[Row]:
    """Our iterations run in one launch, which waits while the fresh processes have their turn."""
    base = model(size, work)
    chosen = experiment([*COMMON, f"model.name_or_path={base.name_or_path}", *size.overrides])
    run = RunDirectory(work / "run")
    splits = load.load(chosen.task)
    with ExitStack() as stack:
        engine = Clocked(stack.enter_context(chosen.generator.engine(chosen.model, workspace=work / "engine", seed=0)))
        session = stack.enter_context(fan_out(chosen.tracker, run.path, []))
        ours = Ours(LiveRun(experiment=chosen, run=run, splits=splits, engine=engine, session=session), engine)
        theirs = Fresh(chosen, splits, work / "fresh", base.location)
        took, compared = alternated(ours, theirs, warm=False)
    yield Row(
        what="a whole iteration", against="a fresh vLLM process, then a TRL process that merges",
        ours=took, theirs=compared, unit="s", figures=ratios(compared, took), goal=2.5,
        obstacle="generating and training, not starting processes, take most of it",
        remark=f"{len(splits['validation']) + len(splits['test']):,} questions evaluated",
    )  # fmt: skip
    yield Row(
        what="the loop's own share of an iteration", against="", ours=ours.own, unit="s",
        figures=[100 * share for share in ratios(ours.own, took)], per="%", goal=2.0, at_least=False,
    )  # fmt: skip


def experiment(overrides: Sequence[str]) -> Experiment:
    """What a command with these overrides would run."""
    return build(composed(overrides))


class Clocked:
    """An engine that knows for how long it was asked."""

    def __init__(self, engine: Engine) -> None:
        self.engine, self.seconds = engine, 0.0
        self.release = engine.release

    def serve(self, model: Model) -> None:
        """The engine's."""
        self.seconds += seconds(lambda: self.engine.serve(model))

    def generate(self, requests: Sequence[Request], **how: Any) -> list[list[Completion]]:
        """The engine's."""
        began = time.perf_counter()
        drawn = self.engine.generate(requests, **how)
        self.seconds += time.perf_counter() - began
        return drawn

    def stream(self, more: More) -> Arriving:
        """The engine's; what is done between two yields is not its own."""
        with closing(arriving(self.engine, more)) as stream:
            while True:
                began = time.perf_counter()
                drawn = next(stream, None)
                self.seconds += time.perf_counter() - began
                if drawn is None:
                    return
                yield drawn


class Ours:
    """Each call is an iteration of a live loop; `own` keeps what of it was the loop's own."""

    def __init__(self, live: LiveRun, engine: Clocked) -> None:
        self.live, self.engine = live, engine
        self.checkpoint = begin(live, *prepare(live))
        self.own: list[float] = []

    def __call__(self) -> float:
        """Seconds of the next one."""
        self.engine.seconds = 0.0
        began = time.perf_counter()
        self.checkpoint = iterate(self.live, self.checkpoint, {})
        took = time.perf_counter() - began
        journal = self.live.run.timings(self.checkpoint.iteration)
        trained = sum(entry["seconds"] for entry in journal if entry["phase"] == "train")
        self.own.append(took - self.engine.seconds - trained - self.verifying())
        return took

    def verifying(self) -> float:
        """Seconds of judging the iteration's texts, which is done once more."""
        here, task = self.live.run.iteration(self.checkpoint.iteration).path, self.live.experiment.task
        asked = []
        for path in [*here.glob("waves/*.jsonl"), here / "validation.jsonl", here / "evaluation.jsonl"]:
            split = {"validation": "validation", "evaluation": "test"}.get(path.stem, "train")
            for rollout in map(json.loads, path.read_text(encoding="utf-8").splitlines()):
                asked.append((self.live.splits[split][rollout["position"]], rollout["text"]))
        return seconds(lambda: task.verifier.judge_all(asked))


class Fresh:
    """Each call is an iteration of the loop in `fresh.py`."""

    def __init__(self, experiment: Experiment, splits: load.Splits, work: Path, base: str) -> None:
        self.work, self.model, self.number = work, base, 0
        work.mkdir(parents=True)
        held_out = [*splits["validation"], *splits["test"]]
        for name, observations in (("train", splits["train"]), ("held_out", held_out)):
            lines = [json.dumps(asdict(observation)) + "\n" for observation in observations]
            (work / f"{name}.jsonl").write_text("".join(lines), encoding="utf-8")
        trainer: Any = experiment.trainer
        self.job = {
            "quota": experiment.schedule.beta(1), "steps": experiment.schedule.steps_at(1),
            "batch": experiment.schedule.batch,
            "wave": experiment.schedule.wave, "max_tokens": experiment.generator.max_tokens, "r": trainer.r,
            "lora_alpha": trainer.lora_alpha, "learning_rate": trainer.learning_rate,
            "train": str(work / "train.jsonl"), "held_out": str(work / "held_out.jsonl"),
            "share": getattr(experiment.task.verifier, "share", None),
        }  # fmt: skip

    def __call__(self) -> float:
        """Seconds of the next one."""
        self.number += 1
        into = self.work / str(self.number)
        into.mkdir()
        job = {**self.job, "model": self.model, "into": str(into), "seed": self.number}
        (into / "job.json").write_text(json.dumps(job))
        took = sum(seconds(lambda what=what: self._process(what, into)) for what in ("generate", "train"))
        self.model = str(into / "merged")
        return took

    def _process(self, what: str, into: Path) -> None:
        command = [sys.executable, "-m", "benchmarks.speed.fresh", what, str(into / "job.json")]
        with (into / f"{what}.log").open("w") as log:
            done = subprocess.run(command, stdout=log, stderr=subprocess.STDOUT, check=False)
        if done.returncode:
            end = (into / f"{what}.log").read_text()[-2000:]
            raise RuntimeError(f"the fresh {what} process ended with {done.returncode}:\n{end}")
