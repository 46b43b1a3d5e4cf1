"""One run of a study: composed, launched on an engine that outlives it, and reduced to the row that is kept."""

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock

from benchmarks.methods import teachers
from benchmarks.methods.studies import STUDIES, WARM, WARM_GOLDS, WARM_MODEL, WARM_UP, pool_path
from star_loop.config.build import build
from star_loop.config.hydra import composed
from star_loop.experiment import Experiment
from star_loop.export.files import export
from star_loop.launch import launch
from star_loop.models import Model, Pretrained
from star_loop.protocols import Engine, Generator
from star_loop.records import Metrics, Rollout
from star_loop.run.directory import RunDirectory
from star_loop.scorers.student import Student

RESULTS = Path(__file__).parent / "results"
DRAWS = re.compile(r"(collect|pilot|search|prepare/\w+)/rollouts")
"""The metrics that count rollouts: what is asked, and what is drawn to know what to ask and how."""
Point = dict[str, float]
"""One iteration, as it is kept; sums run from the first iteration on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One cell of a study."""

    study: str
    method: str
    seed: int

    @property
    def overrides(self) -> list[str]:
        """What makes it; a row that was made with others does not count."""
        return STUDIES[self.study].overrides(self.method, self.seed)

    @property
    def settings(self) -> frozenset[str]:
        """The same for runs that do the same, whichever study they belong to."""
        return settings(self.overrides)


def settings(overrides: Sequence[str]) -> frozenset[str]:
    """What these overrides come to, in any order: of two for one key the later counts."""
    return frozenset({override.partition("=")[0]: override for override in overrides}.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What is kept of a run."""

    run: Run
    curve: list[Point]

    def to_json(self) -> str:
        """One line."""
        run = self.run
        head = {"method": run.method, "seed": run.seed, "overrides": run.overrides}
        return json.dumps(head | {"curve": self.curve}, ensure_ascii=False)


def rows(study: str) -> list[Row]:
    """Those that were made with the study's present settings, in order of method and seed.

    A run that another study has made with the same settings counts here too.
    """
    kept = {}
    lines = [line for path in sorted(RESULTS.glob("*.jsonl")) for line in path.read_text(encoding="utf-8").splitlines()]
    for line in map(json.loads, lines):
        made = settings(line["overrides"])
        for method in STUDIES[study].methods:
            run = Run(study=study, method=method, seed=line["seed"])
            if run.settings == made:
                kept[run] = Row(run=run, curve=line["curve"])
    order = list(STUDIES[study].methods)
    return sorted(kept.values(), key=lambda row: (order.index(row.run.method), row.run.seed))


def keep(row: Row) -> None:
    """Append a row to the study's file."""
    RESULTS.mkdir(exist_ok=True)
    with (RESULTS / f"{row.run.study}.jsonl").open("a", encoding="utf-8") as file:
        file.write(row.to_json() + "\n")


class Engines:
    """One live engine at a time, kept as long as the next run wants the same one."""

    def __init__(self, workspace: Path) -> None:
        self.workspace = workspace
        self._live: tuple[tuple[Generator, Pretrained], Engine] | None = None
        self._stack = ExitStack()

    def __call__(self, x: Experiment) -> Engine:
        """The engine for a run of this experiment."""
        wanted = x.generator, x.model
        if self._live is None or self._live[0] != wanted:
            self.close()
            starting = x.generator.engine(x.model, workspace=self.workspace, seed=0)
            self._live = wanted, self._stack.enter_context(starting)
        return self._live[1]

    def close(self) -> None:
        """End it."""
        self._stack.close()
        self._live = None


def configuration(run: Run, more: Sequence[str] = ()) -> dict[str, Any]:
    """The resolved configuration of a run, with more overrides.

    Waves are seeded as wholes, as they were in every row that is kept: rows of one study have one way of sampling.
    """
    config = composed([*run.overrides, *more]) | {"name": run.method}
    for generator in (config["generator"], config["generator"].get("student")):
        if generator and generator["_target_"].endswith(".Vllm"):
            generator["seeding"] = "wave"
    return config


def perform(run: Run, outputs: Path, engines: Engines) -> Row:
    """Launch it, or continue it, or read what a finished one left."""
    config, directory = configuration(run), outputs / run.study / run.method / f"seed={run.seed}"
    if STUDIES[run.study].warm:
        warm_up()
    experiment, taught = build(config), STUDIES[run.study].taught
    if taught:
        teachers.write(pool_path(taught, run.seed), experiment.task, taught, run.seed)
    standing = launch(config, directory, engine=engines(experiment))
    assert standing.iteration == experiment.iterations
    left = RunDirectory(directory)
    points = dict(curve(left))
    if taught:
        for t, point in points.items():
            point["loss"] = loss(experiment, left, t)
    return Row(run=run, curve=list(points.values()))


def warm_up() -> None:
    """Make the model that studies on a real one begin with, where it was not made yet."""
    WARM.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(WARM.with_suffix(".lock")):
        if WARM_MODEL.is_dir():
            return
        config = composed(WARM_UP)
        golds = [{"id": o.id, "source": "gold", "text": o.rationale} for o in build(config).task.train()]
        WARM_GOLDS.write_text("".join(json.dumps(gold) + "\n" for gold in golds), encoding="utf-8")
        launch(config, WARM)
        export(WARM, "last", ["merged"], license="apache-2.0")


def loss(x: Experiment, run: RunDirectory, t: int) -> float:
    """Mean cross-entropy per token, in nats, of the golds of the validation questions after iteration t."""
    golds = [(observation, x.task.bare_prompt(observation)) for observation in x.task.validation()]
    rollouts = [
        Rollout(
            position=k, id=o.id, attempt=0, sample=0, hinted=False, text=x.task.gold_text(o), answer=o.answer,
            correct=True, how="gold", score=None, finish="stop", tokens=0, prompt_tokens=0,
        )
        for k, (o, _) in enumerate(golds)
    ]  # fmt: skip
    adapter = run.iteration(t).state().adapter
    model = Model(base=x.model, adapter=run.path / adapter if adapter else None)
    scores = Student().score(rollouts, [prompt for _, prompt in golds], model)
    return sum(score.loss * score.tokens for score in scores) / sum(score.tokens for score in scores)


def curve(run: RunDirectory) -> Iterator[tuple[int, Point]]:
    """Each committed iteration whose model was tested, and its point: the sums up to it and since the last one."""
    since: Point = {}
    sums = dict.fromkeys(("generate", "train", "rollouts", "tokens", "seconds"), 0.0)
    trained: set[int] = set()
    for t, metrics in enumerate(run.committed_metrics()):
        here = run.iteration(t)
        sums["generate"] += metrics.get("flops_exact/generate", 0.0)
        sums["train"] += metrics.get("flops_exact/train", 0.0)
        sums["rollouts"] += sum(metrics[name] for name in metrics if DRAWS.fullmatch(name))
        sums["tokens"] += metrics.get("tokens/trained", 0.0)
        sums["seconds"] += metrics["seconds/total"] - metrics.get("seconds/evaluate", 0.0)
        if t:
            trained |= {example.position for example in here.examples(list)}
        since = since_tested(since, metrics)
        if "evaluation/accuracy" not in metrics:
            continue
        statistics = here.statistics()
        visited = int(np.count_nonzero(statistics.attempts + statistics.hinted_attempts))
        yield (
            t,
            {
                "accuracy": metrics["evaluation/accuracy"],
                "skills_alike": skills_alike(metrics),
                "validation": metrics["validation/accuracy"],
                "flops": metrics["flops_exact/cumulative"],
                **sums,
                "visited": visited,
                "trained": len(trained),
                **since,
            },
        )
        since = {}


def skills_alike(metrics: Metrics) -> float:
    """Test accuracy as the mean over skills of the mean over their levels, however many levels each has."""
    skills: dict[str, list[float]] = {}
    for name, value in metrics.items():
        if levelled := re.fullmatch(r"evaluation/(\w+)/level_\d+", name):
            skills.setdefault(levelled[1], []).append(value)
    return float(np.mean([np.mean(accuracies) for accuracies in skills.values()]))


def since_tested(before: Point, metrics: Metrics) -> Point:
    """What an iteration did, and those before it whose models were not tested; faithful are the last one's."""
    kept = {
        "observations": "collect/observations",
        "accepted": "collect/accepted",
        "examples": "train/examples",
        "generated_here": "flops_exact/generate",
        "faithful": "collect/faithful",
    }
    here = {name: metrics[key] for name, key in kept.items() if key in metrics}
    return {name: round(here[name] + (name != "faithful") * before.get(name, 0.0), 4) for name in here}
