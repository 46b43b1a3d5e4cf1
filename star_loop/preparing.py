"""The stage before the first iteration: what a run's preparations learn about the observations, once."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from star_loop import preflight
from star_loop.disk import json_bytes, read_json
from star_loop.experiment import Experiment
from star_loop.flops import inference_flops
from star_loop.generation import Generation
from star_loop.preflight import Splits
from star_loop.preparations import Arrays, Bench, Folder, Preparation
from star_loop.protocols import Columns, Session
from star_loop.records import Example, Metrics, Model, Rollout
from star_loop.seeding import seed_for
from star_loop.store import RunDirectory


class Preparing:
    """Columns of the training observations. Without preparations there are the task's own, and no files."""

    def __init__(
        self, x: Experiment, run: RunDirectory, splits: Splits, generation: Generation, session: Session
    ) -> None:
        self.x, self.run, self.splits, self.generation, self.session = x, run, splits, generation, session

    def __call__(self) -> Columns:
        """The task's columns, and what the preparations add, each after the one before it."""
        columns = preflight.columns(self.splits["train"])
        for name, preparation in self.x.preparation.items():
            bench = self._bench(folder(self.run, name))
            columns = {**columns, **bench.folder.arrays("columns", partial(self._prepare, preparation, columns, bench))}
        return columns

    def metrics(self) -> Metrics:
        """`prepare/<name>/…` of each preparation, and what they cost: `flops/prepare`, by the convention."""
        figures: Metrics = {}
        for name in self.x.preparation:
            found = folder(self.run, name).metrics()
            figures |= {f"prepare/{name}/{key}": value for key, value in found.items()}
            tokens = int(found.get("tokens", 0))
            spent = float(inference_flops(self.x.generator.cost(self.x.model).parameters, tokens))
            figures["flops/prepare"] = figures.get("flops/prepare", 0.0) + spent
        return figures

    def _prepare(self, preparation: Preparation, columns: Columns, bench: Bench) -> Arrays:
        self.session.phase(0, "prepare", None)
        with self.run.timed(0, "prepare"):
            prepared = preparation.prepare(columns, bench)
        bench.folder.metrics(prepared.metrics)
        return prepared.columns

    def _bench(self, into: Folder) -> Bench:
        return Bench(
            task=self.x.task, observations=self.splits["train"], validation=self.splits["validation"],
            base=self.x.model, seed=self.x.seed, chunk=self.x.schedule.wave,
            folder=into, ask=partial(self._ask, into.path.name), train=partial(self._train, into),
            examine=partial(self.generation.examine, 0, "validation"), release=self.generation.engine.release,
        )  # fmt: skip

    def _ask(self, preparation: str, name: str, draws: Mapping[int, int]) -> list[Rollout]:
        return self.generation.survey(f"{preparation} {name}", draws)

    def _train(self, into: Folder, name: str, examples: Sequence[Example], steps: int) -> tuple[Model, int]:
        def fill(path: Path) -> None:
            self.generation.engine.release()
            seed = seed_for(self.x.seed, "preparation", into.path.name, name)
            metrics = self.x.trainer.train(examples, Model(base=self.x.model), path, steps=steps, seed=seed)
            self.run.disk.write(path / "training.json", json_bytes(metrics))

        adapter = into.directory(f"adapters/{name.replace(' ', '_')}", fill)
        tokens = int(read_json(adapter / "training.json").get("tokens", 0))
        return Model(base=self.x.model, adapter=adapter), tokens


def folder(run: RunDirectory, name: str) -> Folder:
    """Where the preparation of this name keeps its files."""
    return Folder(run.path / "preparation" / name, run.disk)


def finished(x: Experiment, run: RunDirectory, splits: Splits) -> Columns | None:
    """All columns, from the files; None: something is still to be prepared."""
    columns: dict[str, NDArray[np.generic]] = dict(preflight.columns(splits["train"]))
    for name in x.preparation:
        there = folder(run, name)
        if not there.has("columns"):
            return None
        columns |= there.arrays("columns", dict)
    return columns
